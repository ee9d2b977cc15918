/*
 * What every role does first: take what parent sends, lock itself in, tell
 * parent it is ready, and run its loop.  The order is in role_main() and the
 * same for all; a role brings the functions.
 */
#ifndef SUBMITD_ROLE_H
#define SUBMITD_ROLE_H

#include <sys/types.h>

#include "conf.h"
#include "ipc.h"
#include "proto.h"

struct event_base;

enum { ROLE_LISTEN_MAX = 64 };

/* What a role was given before M_START; the same struct for all roles. */
struct role_setup {
	enum role role;
	uint32_t instance;	 /* this process's number */
	struct event_base *base;
	struct ipc *parent;
	struct conf conf;
	/* Empty if not given; wiped after start(): copy what is needed on. */
	struct buf pem[PEM_KIND_COUNT];
	struct {
		int fd;
		enum listen_kind kind;
		char *name;
	} listen[ROLE_LISTEN_MAX];
	size_t listens;
	struct { /* of connections: conntable.h; front keeps the mappings */
		int fd[2]; /* enum table_part; -1: not given */
		struct m_table shape;
	} table;
	int64_t grace_ms; /* drain: how long what runs may still take */
	bool stopping;	  /* drain: the whole service ends, no new set came */
};

struct role_ops {
	enum role role;
	/* The first of all, or NULL: makes libraries ready, before there are
	 * several processes of the same image, for them to share.  It has
	 * neither a configuration nor a secret. */
	void (*warm)(void);
	/* After the configuration is there and before the lock-down: load
	 * what needs paths.  0, or -1 with a sentence for M_REFUSED: "KEY:
	 * what was wrong, what is expected" if it is about a key. */
	int (*preload)(struct role_setup *, char *err, size_t errlen);
	/* After the lock-down: begin to serve.  Same results. */
	int (*start)(struct role_setup *, char *err, size_t errlen);
	/* A new pair to another role: takes fd. */
	void (*peer)(struct role_setup *, enum role, uint32_t instance,
	    int fd);
	/* Finish what runs, then call role_leave(). */
	void (*drain)(struct role_setup *);
	/* queue and resolver only: a checked configuration to apply at once.
	 * 0, or -1 with a sentence: then nothing has changed. */
	int (*reload)(struct role_setup *, const struct conf *, char *err,
	    size_t errlen);
	/* More messages from parent (M_ROLE, M_PEM), or NULL.  What M_PEM
	 * brought is in pem[] as long as this runs. */
	void (*other)(struct role_setup *, const struct ipc_in *);
};

/*
 * For t/probe.c, which is no part of this program: what M_PROBE calls, NULL
 * here; and the descriptor and number of the peer of that role that came last,
 * or -1.
 */
extern void (*role_probe)(struct role_setup *, const char *what);
int role_peer(enum role, uint32_t *instance);

/* Runs a role on descriptor 3 until it leaves; returns its exit status. */
int role_main(const struct role_ops *);

/* Ends the loop: the role's work is done. */
void role_leave(struct role_setup *);

/* The roles, each in its own file. */
extern const struct role_ops front_ops, auth_ops, pam_ops, queue_ops, relay_ops,
    resolver_ops, store_ops;

#endif
