/*
 * The socket of the system's log, and what becomes of lines while the log
 * daemon is away.  syslog(3) would open the socket again by itself; a role
 * that has locked itself in can't, and must not be able to.  It asks its
 * parent for another socket (M_LOG_LOST) and keeps some lines meanwhile.
 */
#ifndef SUBMITD_LOGSOCK_H
#define SUBMITD_LOGSOCK_H

#include <stddef.h>

/* A socket that is connected to the log daemon, close-on-exec; -1: none. */
int logsock_connect(void);

/* Lines go to fd from now on (taken; -1: to nowhere yet): first those that
 * were kept. */
void logsock_use(int fd);

/*
 * What to do when the daemon does not listen any more: called at most once in
 * a second, from inside logsock_send(), it must lead to logsock_use(), now or
 * later.  Without it logsock_send() connects again by itself.
 */
void logsock_set_lost(void (*lost)(void));

/* Sends one line, as syslog(3) with the facility mail does. */
void logsock_send(int level, const char *line);

/* The same for signal handlers: a warning without the time; a line that can't
 * be sent now is lost. */
void logsock_send_raw(const char *line, size_t len);

#endif
