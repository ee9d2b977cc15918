/*
 * The keys of TLS session tickets: made here, given to all fronts, so that a
 * session begun with one can be resumed with any, also after a reload.  They
 * live in memory only.  After ticket_lifetime there is a new one; the one
 * before it can still be read, the one before that is wiped.
 */
#include "parent_int.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "log.h"
#include "tls.h"

static struct {
	unsigned char key[TLS_TICKET_KEYS][TLS_TICKET_KEY]; /* newest first */
	size_t keys;
	struct event *timer;
	int64_t lifetime_ms;
} T;

int
parent_ticket_give(const struct proc *front)
{
	return parent_give_bytes(
	    front, PEM_TICKET_KEYS, T.key, T.keys * sizeof(T.key[0]));
}

void
parent_ticket_wipe(void)
{
	explicit_bzero(T.key, sizeof(T.key));
	T.keys = 0;
}

static void
rotate(void)
{
	const struct proc *p;

	memmove(T.key[1], T.key[0], sizeof(T.key) - sizeof(T.key[0]));
	if (getrandom(T.key[0], sizeof(T.key[0]), 0) !=
	    (ssize_t)sizeof(T.key[0])) {
		log_warn("tickets", "error=%s", strerror(errno));
		parent_ticket_wipe(); /* better none than a known one */
	} else if (T.keys < TLS_TICKET_KEYS)
		T.keys++;
	TAILQ_FOREACH(p, &P.procs, link)
		if (p->role == ROLE_FRONT && p->state != PROC_DRAINING)
			parent_ticket_give(p);
}

static void
on_rotate(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	rotate();
	parent_arm(T.timer, T.lifetime_ms);
}

void
parent_ticket_begin(void)
{
	int64_t lifetime_ms = P.given->conf.ticket_lifetime;

	if (T.timer == NULL) {
		T.timer = event_new(P.base, -1, EV_TIMEOUT, on_rotate, NULL);
		if (mlock(&T, sizeof(T)) == -1)
			log_debug("tickets", "error=%s", strerror(errno));
	}
	if (lifetime_ms == T.lifetime_ms)
		return;
	T.lifetime_ms = lifetime_ms;
	event_del(T.timer);
	if (lifetime_ms == 0)
		parent_ticket_wipe();
	else
		on_rotate(-1, 0, NULL);
}
