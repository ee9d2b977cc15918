/*
 * How things end: a proc that dies is started again, with growing delay if it
 * does so often; a set drains; the service stops.
 *
 *	stop stage	what leaves
 *	STOP_FRONTS	fronts finish what is coming in
 *	STOP_REST	relays finish what is going out, then auths
 *	STOP_QUEUE	pams, resolver and queue
 */
#include "parent_int.h"

#include <sys/wait.h>

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "log.h"
#include "notify.h"

enum {
	HEALTHY_MS = 10 * 1000,   /* after it a death counts as the first */
	DELAY_MAX_MS = 60 * 1000, /* between restarts of one proc */
	LOOPING = 3,              /* deaths in a row that are alarming */
	KILL_AFTER_MS = 5 * 1000, /* beyond the grace of a drain */
	MANAGER_SPARE_MS = 5 * 1000
};

/* ---- restarts ---- */

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct proc *p = arg;

	(void)fd, (void)what;
	parent_give_news(p, true); /* with another number it comes again */
	parent_start_proc(p);
}

static int64_t
delay_after(unsigned failures)
{
	int64_t ms;

	if (failures == 0)
		return 0;
	ms = failures < 7 ? 1000 << (failures - 1) : DELAY_MAX_MS;
	return ms < DELAY_MAX_MS ? ms : DELAY_MAX_MS;
}

static void
is_looping(const struct proc *p, int64_t delay_ms, const char *how)
{
	char text[900];

	log_warn("alarm",
	    "what=%s trouble=crash-loop failures=%u next_ms=%ld last=%s",
	    role_name(p->role), p->failures, (long)delay_ms,
	    p->refused[0] != '\0' ? p->refused : how);
	snprintf(text, sizeof(text),
	    "has died %u times in a row, last by %s; it is started again in "
	    "%ld s",
	    p->failures, p->refused[0] != '\0' ? p->refused : how,
	    (long)(delay_ms / 1000));
	parent_alarm(role_name(p->role), "crash-loop", text);
}

/* The first time it is started again at once. */
void
parent_restart_later(struct proc *p, const char *how)
{
	int64_t delay = delay_after(p->failures++);

	p->state = PROC_WAITING;
	if (p->healthy != NULL)
		event_del(p->healthy);
	if (p->failures >= LOOPING && p->set != NULL &&
	    p->set->state == SET_STARTING) {
		parent_reload_undo("a role of the new set cannot be started");
		parent_advance();
		return; /* p is no more */
	}
	if (p->failures >= LOOPING)
		is_looping(p, delay, how);
	if (p->again == NULL)
		p->again = event_new(P.base, -1, EV_TIMEOUT, on_again, p);
	parent_arm(p->again, delay);
	if (delay > 0)
		parent_give_news(p, false);
}

/* Its alarm is over, unless another one of its role has the same trouble. */
void
parent_crash_over(const struct proc *p)
{
	const struct proc *other;

	if (p->failures < LOOPING)
		return;
	TAILQ_FOREACH(other, &P.procs, link)
		if (other != p && other->role == p->role &&
		    other->failures >= LOOPING)
			return;
	parent_alarm_over(role_name(p->role), "crash-loop");
}

static void
on_healthy(evutil_socket_t fd, short what, void *arg)
{
	struct proc *p = arg;

	(void)fd, (void)what;
	parent_crash_over(p);
	p->failures = 0;
}

void
parent_is_healthy(struct proc *p)
{
	if (p->healthy == NULL)
		p->healthy = event_new(P.base, -1, EV_TIMEOUT, on_healthy, p);
	parent_arm(p->healthy, HEALTHY_MS);
}

/* ---- sets ---- */

static void
on_kill(evutil_socket_t fd, short what, void *arg)
{
	const struct set *s = arg;

	(void)fd, (void)what;
	log_warn("drain", "set=%u result=killed", s->number);
	parent_kill_set(s);
}

/* NULL: of any set, or none.  What waits to be started has nothing to end. */
static void
drain_role(const struct set *s, enum role role, int64_t grace_ms)
{
	struct proc *p, *next;

	for (p = TAILQ_FIRST(&P.procs); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if ((s != NULL && p->set != s) || p->role != role)
			continue;
		if (p->pid != 0)
			parent_give_drain(p, grace_ms);
		else
			parent_free_proc(p);
	}
}

/* Fronts and relay finish; auth leaves when they have, then pam. */
void
parent_drain_set(struct set *s, int64_t grace_ms)
{
	if (s->state == SET_DRAINING)
		return;
	s->state = SET_DRAINING;
	log_info("drain", "set=%u grace_ms=%ld", s->number, (long)grace_ms);
	parent_drop_waiting(s);
	drain_role(s, ROLE_FRONT, grace_ms);
	if (P.stage == RUNNING)
		drain_role(s, ROLE_RELAY, grace_ms);
	s->kill = event_new(P.base, -1, EV_TIMEOUT, on_kill, s);
	parent_arm(s->kill, grace_ms + KILL_AFTER_MS);
}

/* ---- the stop ---- */

static void
drain_all(enum role role)
{
	drain_role(NULL, role, P.given->conf.stop_grace);
}

static void
advance_sets(void)
{
	struct set *s, *next;

	for (s = TAILQ_FIRST(&P.sets); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->state != SET_DRAINING)
			continue;
		if (!parent_has_role(s, ROLE_FRONT) &&
		    !parent_has_role(s, ROLE_RELAY) && P.stage != STOP_FRONTS)
			drain_role(s, ROLE_AUTH, 0);
		if (!parent_has_role(s, ROLE_AUTH))
			drain_role(s, ROLE_PAM, 0);
		if (!parent_has_role(s, ROLE_COUNT))
			parent_free_set(s);
	}
}

static void
advance_stop(void)
{
	if (P.stage == STOP_FRONTS && !parent_has_role(NULL, ROLE_FRONT)) {
		P.stage = STOP_REST;
		drain_all(ROLE_RELAY);
	}
	if (P.stage == STOP_REST && !parent_has_role(NULL, ROLE_RELAY))
		drain_all(ROLE_AUTH);
	if (P.stage == STOP_REST && !parent_has_role(NULL, ROLE_RELAY) &&
	    !parent_has_role(NULL, ROLE_AUTH)) {
		drain_all(ROLE_PAM);
		P.stage = STOP_QUEUE;
		drain_all(ROLE_RESOLVER);
		drain_all(ROLE_QUEUE);
	}
	if (P.stage == STOP_QUEUE && TAILQ_EMPTY(&P.procs))
		event_base_loopbreak(P.base);
}

void
parent_advance(void)
{
	advance_sets();
	advance_stop();
	parent_reload_resume();
}

/* Of a service that never stood; nobody had anything of it to finish.  When
 * parent is gone the ports are free. */
void
parent_kill_all(void)
{
	const struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->pid != 0)
			kill(p->pid, SIGKILL);
	TAILQ_FOREACH(p, &P.procs, link)
		while (p->pid != 0 && waitpid(p->pid, NULL, 0) == -1 &&
		    errno == EINTR)
			continue;
}

static void
on_stop_deadline(evutil_socket_t fd, short what, void *arg)
{
	const struct proc *p;

	(void)fd, (void)what, (void)arg;
	log_warn("stop", "result=%s", "deadline passed, killing the rest");
	TAILQ_FOREACH(p, &P.procs, link)
		if (p->pid != 0)
			kill(p->pid, SIGKILL);
	event_base_loopbreak(P.base);
}

void
parent_on_term(evutil_socket_t sig, short what, void *arg)
{
	int64_t grace = P.given->conf.stop_grace;
	int64_t deadline_ms = grace + 2 * KILL_AFTER_MS;
	struct event *deadline;
	struct set *s;

	(void)what, (void)arg;
	if (P.stage != RUNNING || !P.up) { /* the second one is in a hurry */
		event_base_loopbreak(P.base);
		return;
	}
	log_info("stop", "signal=%d grace_ms=%ld", (int)sig, (long)grace);
	P.stage = STOP_FRONTS;
	notify_send("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld\nSTATUS=Finishing "
		    "what is coming in and going out",
	    (long long)(deadline_ms + MANAGER_SPARE_MS) * 1000);
	listen_close(&P.listeners);
	deadline = event_new(P.base, -1, EV_TIMEOUT, on_stop_deadline, NULL);
	parent_arm(deadline, deadline_ms);
	TAILQ_FOREACH(s, &P.sets, link)
		if (s->state != SET_DRAINING)
			parent_drain_set(s, grace);
	parent_advance();
}

/* ---- deaths ---- */

static const char *
how_it_died(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(out, size, "signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		snprintf(out, size, "exit status %d", WEXITSTATUS(status));
	return out;
}

/* What a filter killed can't say so itself, or would lie. */
static void
log_violation(const struct proc *p)
{
	log_warn("sandbox", "role=%s instance=%u pid=%d action=%s error=%s",
	    role_name(p->role), p->instance, (int)p->pid, "killed",
	    "a system call that its role never makes");
}

static void
log_death(const struct proc *p, int status)
{
	bool expected = p->state == PROC_DRAINING && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0;

	log_event(expected ? LOG_DEBUG : LOG_WARNING, 0, 0, "role",
	    "role=%s instance=%u pid=%d state=gone %s=%d", role_name(p->role),
	    p->instance, (int)p->pid, WIFSIGNALED(status) ? "signal" : "exit",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_violation(p);
}

static void
start_failed(const struct proc *p, int status)
{
	char how[80], why[160];

	if (p->refused[0] != '\0') {
		parent_give_up(EX_CONFIG, p->refused);
		return;
	}
	snprintf(why, sizeof(why),
	    "the role %s died while the service was starting: %s",
	    role_name(p->role), how_it_died(status, how, sizeof(how)));
	parent_give_up(EX_SOFTWARE, why);
}

/* It has left as it should; or it was the store role, which always leaves. */
static void
has_left(struct proc *p, int status)
{
	bool store = p->role == ROLE_STORE;
	bool well = p->state == PROC_DRAINING;

	if (store && !well && !P.up) {
		start_failed(p, status);
		return;
	}
	parent_free_proc(p);
	if (store) {
		parent_map_was_read(well);
		parent_rehash_after(well);
	}
	if (!P.up && P.stage == RUNNING)
		parent_check_start();
	parent_advance();
}

static void
new_set_failed(struct proc *p)
{
	char why[sizeof(p->refused)];

	snprintf(why, sizeof(why), "%s",
	    p->refused[0] != '\0' ? p->refused : "a role of the new set died");
	parent_free_proc(p); /* undoing frees all that have no process */
	parent_reload_undo(why);
	parent_advance();
}

static void
on_death(struct proc *p, int status)
{
	char how[80];

	log_death(p, status);
	parent_table_back(p);
	parent_give_news(p, true);
	p->pid = 0;
	ipc_free(&p->ipc);
	if (p->state == PROC_DRAINING || p->role == ROLE_STORE)
		has_left(p, status);
	else if (!P.up)
		start_failed(p, status);
	else if (p->set != NULL && p->set->state == SET_STARTING)
		new_set_failed(p);
	else {
		if (P.reload.given != NULL && p->set == NULL &&
		    P.reload.answers > 0)
			parent_reload_undo("queue or resolver died");
		parent_restart_later(p, how_it_died(status, how, sizeof(how)));
	}
}

void
parent_on_child(evutil_socket_t sig, short what, void *arg)
{
	struct proc *p;
	pid_t pid;
	int status;

	(void)sig, (void)what, (void)arg;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		TAILQ_FOREACH(p, &P.procs, link)
			if (p->pid == pid)
				break;
		if (p == NULL)
			continue;
		/* What it said last is in the socket still. */
		if (p->ipc != NULL)
			ipc_drain(p->ipc);
		on_death(p, status);
	}
}
