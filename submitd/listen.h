/*
 * Parent's listening sockets: bound before any role starts, kept over a
 * reload, so that no connection is refused in between.  The service manager
 * may have bound them.
 */
#ifndef SUBMITD_LISTEN_H
#define SUBMITD_LISTEN_H

#include "conf.h"
#include "proto.h"

enum { LISTEN_MAX = 64 };

struct listener {
	int fd;
	int family; /* AF_UNSPEC: passed by name */
	enum listen_kind kind;
	char *name; /* as in the configuration, or its address */
};

struct listeners {
	struct listener v[LISTEN_MAX];
	size_t n;
};

/*
 * The sockets that conf asks for: those that the service manager passed
 * (passed.h), else those of `old` (may be NULL) with the same name, taken over
 * as duplicates, else new ones.  0, or -1 with a sentence: then *out is empty.
 */
int listen_open(struct listeners *out, const struct conf *,
    const struct listeners *old, char *err, size_t errlen);
void listen_close(struct listeners *);

/* The control socket: mode 0600, a stale file of the name is replaced; its
 * directory is made if missing.  The descriptor, or -1 with a sentence. */
int listen_control(const char *path, char *err, size_t errlen);

#endif
