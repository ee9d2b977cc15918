/*
 * What roles say of each other.  Who was dropped by a peer for what it sent is
 * not ours any more: it is replaced, and so is who has closed a socket and
 * runs on, since it would serve nobody.
 *
 * A role that was taken over could have others killed by complaints.  Who
 * complains of one that is trusted more may do so a few times; then it is
 * replaced itself.
 */
#include "parent_int.h"

#include <event2/event.h>
#include <signal.h>

#include "clock.h"
#include "log.h"

enum {
	COMPLAINTS_MAX = 3, /* in this time */
	COMPLAINTS_MS = 60 * 1000,
	LEAVE_MS = 1000 /* from a closed socket to the end of its process */
};

/* By how much a stranger has to do with it; of two peers one is more. */
static const int trust[ROLE_COUNT] = {
	[ROLE_FRONT] = 0,
	[ROLE_RELAY] = 0,
	[ROLE_RESOLVER] = 1,
	[ROLE_PAM] = 1,
	[ROLE_AUTH] = 2,
	[ROLE_QUEUE] = 3,
};

static void
replace(struct proc *p, const char *why)
{
	if (p->pid == 0)
		return;
	log_warn("replace", "role=%s instance=%u pid=%d reason=%s",
	    role_name(p->role), p->instance, (int)p->pid, why);
	kill(p->pid, SIGKILL); /* SIGCHLD does the rest */
}

static struct proc *
find_instance(enum role role, uint32_t instance)
{
	struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->role == role && p->instance == instance && p->pid != 0)
			return p;
	return NULL;
}

/* True if it is one too many. */
static bool
count_complaint(struct proc *by)
{
	int64_t now = clock_ms();

	if (by->complaints == 0 || now - by->complaint_ms >= COMPLAINTS_MS) {
		by->complaint_ms = now;
		by->complaints = 0;
	}
	return ++by->complaints > COMPLAINTS_MAX;
}

/* Both say that the other has closed: it was the one that is trusted less. */
static bool
is_innocent(const struct proc *p, const struct proc *by)
{
	return by->lost_instance == by->instance &&
	    by->lost_by.role == p->role &&
	    by->lost_by.instance == p->instance &&
	    trust[by->role] < trust[p->role];
}

static void
on_still_there(evutil_socket_t fd, short what, void *arg)
{
	struct proc *p = arg, *by;

	(void)fd, (void)what;
	/* who was dropped also sees a closed socket, and is gone by now */
	by = find_instance(p->lost_by.role, p->lost_by.instance);
	if (p->state == PROC_RUNNING && p->instance == p->lost_instance &&
	    by != NULL && !is_innocent(p, by))
		replace(p, "it has closed the socket of a peer");
}

/* Mostly it has died, and we hear of that in a moment. */
static void
look_again(struct proc *p, const struct proc *by)
{
	if (p->state != PROC_RUNNING)
		return;
	if (p->lost == NULL)
		p->lost = event_new(P.base, -1, EV_TIMEOUT, on_still_there, p);
	p->lost_instance = p->instance;
	p->lost_by.role = by->role;
	p->lost_by.instance = by->instance;
	parent_arm(p->lost, LEAVE_MS);
}

void
parent_on_bad_peer(struct ipc *i, const struct ipc_in *in)
{
	const struct m_bad_peer *m = &in->m->bad_peer;
	struct proc *by = ipc_arg(i);
	struct proc *p = find_instance((enum role)m->role, m->instance);

	if (p == NULL) /* it is gone already */
		return;
	if (!parent_are_peers(by, p)) {
		ipc_reject(i, "complaint about one that is no peer");
		return;
	}
	if (trust[p->role] > trust[by->role] && m->rejected != 0 &&
	    count_complaint(by)) {
		replace(by, "it complains too often");
		return;
	}
	if (m->rejected != 0)
		replace(p, m->error);
	else
		look_again(p, by);
}

void
parent_peers_forget(struct proc *p)
{
	if (p->lost != NULL)
		event_free(p->lost);
	p->lost = NULL;
}
