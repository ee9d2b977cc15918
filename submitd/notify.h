/*
 * What the service manager hears of us: the protocol of sd_notify(3), one
 * datagram for each message.  Without a service manager all of it does
 * nothing.  Only parent speaks; the roles have no such socket.
 */
#ifndef SUBMITD_NOTIFY_H
#define SUBMITD_NOTIFY_H

#include <stdint.h>

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment,
 * so that no child has them. */
void notify_init(void);

/* "READY=1\nSTATUS=serving"; cut at 1 KiB.  Never blocks. */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A text of others as a value: what could end the line becomes a blank. */
const char *notify_text(const char *, char *out, uint32_t size);

/* How often WATCHDOG=1 is to be said, ms: twice in the time allowed; 0 if
 * nobody waits for it. */
int64_t notify_watchdog_ms(void);

#endif
