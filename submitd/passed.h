/*
 * Listening sockets that the service manager has bound and passes to us
 * (sd_listen_fds(3)).  They stay open as long as we live, for each reload
 * takes them anew; who uses one makes a duplicate.
 */
#ifndef SUBMITD_PASSED_H
#define SUBMITD_PASSED_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>

#include "proto.h"

enum { PASSED_MAX = 64, PASSED_TEXT = 64 };

/*
 * Takes what LISTEN_FDS says out of the environment, if it was meant for this
 * process.  To be called before anything else is opened.  0, or -1 with a
 * sentence: one of them is no listening TCP socket, or there are too many.
 */
int passed_init(char *err, size_t errlen);
size_t passed_count(void);

/* Nothing is used: before a configuration is matched. */
void passed_begin(void);

/*
 * The next socket, from *at on, that was named for this kind whatever its
 * address is: "submission" for LISTEN_STARTTLS, "submissions" for LISTEN_TLS.
 * Its descriptor and its address as text, and it is used now; -1 if there is
 * none.
 */
int passed_named(enum listen_kind, size_t *at, char text[PASSED_TEXT]);

/* The socket without such a name at this address; -1 if there is none.  With
 * *both, it serves IPv4 as well as IPv6. */
int passed_find(const struct sockaddr *, bool *both);

/* The first that is not used, in words: "3 (submitd.socket) on 127.0.0.1:25";
 * false if all are. */
bool passed_unused(char *out, size_t size);

#endif
