/*
 * The queue role: its spool, its peers, and the commit group.
 *
 * Log:
 *	ev=spool-wait dir=		another process still owns the spool
 *	ev=spool dir= messages= removed=	opened; removed: files of mail that
 *					was never accepted
 *	ev=body-lost qid= error=	held: its file is missing (warning)
 *	ev=commit-failed ops= error=	nothing of the group was stored; clients
 *					got 4xx, results are tried again (warning)
 *	ev=result-refused qid= error=	a result can't be stored; the message is
 *					not sent again before a restart (warning)
 */
#include "queue.h"

#include <sys/stat.h>

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "digest.h"
#include "log.h"
#include "mem.h"
#include "sandbox.h"

enum {
	LOCK_POLL_MS = 100,
	RETRY_COMMIT_MS = 1000,
	SAVE_HIGH_MS = 60 * 1000,
	WARN_EVERY_MS = 10 * 1000,
	DRAIN_MAX_MS = 10 * 1000,
	TIMER_MAX_MS = 60 * 1000 /* the clock may be set meanwhile */
};

/* The role's functions get no argument of their own. */
static struct queue *self;

int64_t
queue_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t
queue_new_qid(struct queue *q)
{
	uint64_t by_time = (uint64_t)queue_now_ms() << 10;

	q->last_qid = by_time > q->last_qid ? by_time : q->last_qid + 1;
	return q->last_qid;
}

void
queue_arm(struct event *ev, int64_t ms)
{
	struct timeval tv;

	if (ms == INT64_MAX) {
		event_del(ev);
		return;
	}
	if (ms > TIMER_MAX_MS)
		ms = TIMER_MAX_MS;
	if (ms < 0)
		ms = 0;
	tv = (struct timeval){ ms / 1000, ms % 1000 * 1000 };
	event_add(ev, &tv);
}

/* ---- the commit group ---- */

static bool
is_own_fault(enum mailq_rc rc)
{
	return rc == MAILQ_INVALID || rc == MAILQ_NONE;
}

static enum mailq_rc
run_group(struct queue *q, struct queue_ops_list *group)
{
	int64_t now = queue_now_ms();
	struct queue_op *op;
	enum mailq_rc rc;

	ipc_leave(); /* what doesn't wait for the disk */
	if ((rc = mailq_begin(q->mq)) != MAILQ_OK)
		return rc;
	TAILQ_FOREACH(op, group, link) {
		op->rc = op->sub != NULL ? queue_submission_apply(q, op->sub)
					 : queue_job_apply(q, op->job);
		if (op->rc != MAILQ_OK && !is_own_fault(op->rc))
			return op->rc;
		if (op->rc != MAILQ_OK)
			log_event(LOG_WARNING, 0,
			    op->sub != NULL ? op->sub->qid : op->job->qid,
			    op->sub != NULL ? "refused" : "result-refused",
			    "error=%s", mailq_errtext(q->mq));
	}
	if ((rc = queue_decisions_prune(q)) != MAILQ_OK ||
	    (rc = queue_quota_save(q)) != MAILQ_OK)
		return rc;
	if (now - q->high_saved_ms >= SAVE_HIGH_MS) {
		if ((rc = mailq_save_high(q->mq, q->last_qid)) != MAILQ_OK)
			return rc;
		q->high_saved_ms = now;
	}
	return mailq_commit(q->mq);
}

static void
end_group(struct queue *q, struct queue_ops_list *group)
{
	struct queue_op *op;

	queue_quota_saved(q);
	/* the log and the smarthost can wait for the clients, not they for them */
	TAILQ_FOREACH(op, group, link)
		if (op->sub != NULL)
			queue_submission_answer(q, op->sub, op->rc);
	ipc_leave();
	while ((op = TAILQ_FIRST(group)) != NULL) {
		TAILQ_REMOVE(group, op, link);
		if (op->sub != NULL)
			queue_submission_end(q, &op->sub, op->rc);
		else if (op->rc == MAILQ_OK)
			queue_job_end(q, &op->job);
		/* else the job stays in the table, which keeps the schedule
		 * from sending again what may have been delivered */
		free(op);
	}
}

/* Submissions are refused; results come again, before all that is newer. */
static void
undo_group(
    struct queue *q, struct queue_ops_list *group, unsigned n, enum mailq_rc rc)
{
	int64_t now = queue_now_ms();
	struct queue_op *op;

	if (now - q->commit_warned_ms >= WARN_EVERY_MS) {
		q->commit_warned_ms = now;
		log_warn("commit-failed", "ops=%u error=%s", n,
		    mailq_errtext(q->mq));
	}
	mailq_rollback(q->mq);
	q->high_saved_ms = 0;
	while ((op = TAILQ_LAST(group, queue_ops_list)) != NULL) {
		TAILQ_REMOVE(group, op, link);
		if (op->job != NULL) {
			TAILQ_INSERT_HEAD(&q->ops, op, link);
			q->nops++;
			continue;
		}
		queue_submission_end(q, &op->sub, rc);
		free(op);
	}
}

static enum mailq_rc
commit_group(struct queue *q)
{
	struct queue_ops_list group = TAILQ_HEAD_INITIALIZER(group);
	struct queue_op *op;
	enum mailq_rc rc;
	unsigned n = 0;

	while (n < QUEUE_GROUP_MAX && (op = TAILQ_FIRST(&q->ops)) != NULL) {
		TAILQ_REMOVE(&q->ops, op, link);
		TAILQ_INSERT_TAIL(&group, op, link);
		q->nops--;
		n++;
	}
	if ((rc = run_group(q, &group)) == MAILQ_OK)
		end_group(q, &group);
	else
		undo_group(q, &group, n, rc);
	return rc;
}

static void
commit_all(struct queue *q)
{
	enum mailq_rc rc = MAILQ_OK;

	while (rc == MAILQ_OK && q->nops > 0)
		rc = commit_group(q);
	if (rc != MAILQ_OK && q->nops > 0)
		queue_arm(q->ev_commit, RETRY_COMMIT_MS);
}

static void
on_commit(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;

	(void)fd, (void)what;
	commit_all(q);
	queue_schedule_rest(q);
	queue_leave_if_done(q);
}

static void
add_op(struct queue *q, struct queue_submission *sub, struct queue_job *job)
{
	struct queue_op *op = xcalloc(1, sizeof(*op));

	op->sub = sub;
	op->job = job;
	TAILQ_INSERT_TAIL(&q->ops, op, link);
	q->nops++;
	/* The event runs after those that are active already: what they bring
	 * joins the group. */
	event_active(q->ev_commit, EV_TIMEOUT, 0);
}

void
queue_commit_submission(struct queue *q, struct queue_submission *sub)
{
	add_op(q, sub, NULL);
	if (q->nops >= QUEUE_GROUP_MAX) /* no waiting: bodies take memory */
		commit_all(q);
}

void
queue_commit_job(struct queue *q, struct queue_job *job)
{
	add_op(q, NULL, job);
}

/* ---- peers ---- */

struct queue_peer *
queue_find_peer(struct queue *q, enum role role, uint32_t instance)
{
	struct queue_peer *p;

	TAILQ_FOREACH(p, &q->peers, link)
		if (p->role == role && p->instance == instance)
			return p;
	return NULL;
}

static void
on_gone(struct ipc *ipc, const char *why)
{
	struct queue_peer *p = ipc_arg(ipc);
	struct queue *q = p->q;

	(void)why; /* role.c has logged it */
	TAILQ_REMOVE(&q->peers, p, link);
	if (p->role == ROLE_FRONT)
		queue_front_gone(q, p->instance);
	else if (p->role == ROLE_RELAY)
		queue_relay_gone(q, p);
	else if (p->role == ROLE_AUTH)
		queue_login_gone(q, ipc);
	free(p);
	queue_leave_if_done(q);
}

static const struct ipc_rule *
rules_of(enum role role)
{
	switch (role) {
	case ROLE_FRONT:
		return queue_front_rules;
	case ROLE_AUTH:
		return queue_auth_rules;
	case ROLE_RELAY:
		return queue_relay_rules;
	default:
		return NULL;
	}
}

static void
on_resumed(struct ipc *ipc)
{
	queue_schedule(((struct queue_peer *)ipc_arg(ipc))->q);
}

static void
queue_peer_new(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	const struct ipc_rule *rules = rules_of(role);
	struct queue *q = self;
	struct queue_peer *p;

	if (rules == NULL) {
		close(fd);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->q = q;
	p->role = role;
	p->instance = instance;
	p->ipc = ipc_new(s->base, fd, rules, on_gone, p);
	ipc_set_resumed(p->ipc, on_resumed);
	ipc_collect(p->ipc, s->base, IPC_BEHIND);
	TAILQ_INSERT_TAIL(&q->peers, p, link);
	if (role == ROLE_RELAY) /* it may be configured otherwise */
		queue_dest_probe_now(q);
}

/* ---- leaving ---- */

static void
free_peers(struct queue *q)
{
	struct queue_peer *p;

	while ((p = TAILQ_FIRST(&q->peers)) != NULL) {
		TAILQ_REMOVE(&q->peers, p, link);
		ipc_free(&p->ipc);
		free(p);
	}
}

static void
free_role(struct queue *q, struct queue_role *r)
{
	TAILQ_REMOVE(&q->roles, r, link);
	free(r->state);
	free(r);
}

/* What could not be committed is refused; results of it are lost, and that
 * mail is sent again. */
static void
free_ops(struct queue *q)
{
	struct queue_op *op;

	while ((op = TAILQ_FIRST(&q->ops)) != NULL) {
		TAILQ_REMOVE(&q->ops, op, link);
		if (op->sub != NULL)
			queue_submission_end(q, &op->sub, MAILQ_IO);
		free(op);
	}
}

static void
queue_free(struct queue *q)
{
	control_free(&q->control);
	free_ops(q);
	queue_jobs_clear(q);
	queue_sessions_clear(q);
	free_peers(q);
	while (!TAILQ_EMPTY(&q->roles))
		free_role(q, TAILQ_FIRST(&q->roles));
	event_free(q->ev_commit);
	event_free(q->ev_due);
	event_free(q->ev_sweep);
	event_free(q->ev_leave);
	queue_alarm_free(q);
	queue_history_free(q);
	queue_quota_free(q);
	queue_conns_free(q);
	queue_login_free(q); /* before the lock of the spool goes */
	mailq_close(&q->mq);
	free(q->gone_fronts);
	free(q->dest.text);
	free(q->dest.rule);
	free(q);
	self = NULL;
}

static void
on_leave(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;
	struct role_setup *s = q->setup;

	(void)fd, (void)what;
	commit_all(q);
	queue_free(q);
	role_leave(s);
}

void
queue_leave_if_done(struct queue *q)
{
	/* By an event: the caller may be a handler with more to handle. */
	if (q->draining && q->nops == 0 && q->in_flight == 0 &&
	    !queue_has_open_txn(q))
		event_active(q->ev_leave, EV_TIMEOUT, 0);
}

static void
queue_drain(struct role_setup *s)
{
	struct queue *q = self;

	q->draining = true;
	queue_arm(q->ev_leave,
	    s->grace_ms < DRAIN_MAX_MS ? s->grace_ms : DRAIN_MAX_MS);
	queue_leave_if_done(q);
}

/* ---- starting ---- */

/* As root the spool is made for its user; otherwise this is its user. */
static int
queue_preload(struct role_setup *s, char *err, size_t errlen)
{
	const char *dir = s->conf.spool;
	uid_t uid;
	gid_t gid;

	digest_preload();
	if (mkdir(dir, 0700) == -1) {
		if (errno == EEXIST)
			return 0;
		snprintf(err, errlen, "spool: %s: %s", dir, strerror(errno));
		return -1;
	}
	if (geteuid() != 0)
		return 0;
	if (sandbox_user(s->conf.user_queue, &uid, &gid, err, errlen) == -1)
		return -1;
	if (chown(dir, uid, gid) == -1) {
		snprintf(err, errlen, "spool: %s: %s", dir, strerror(errno));
		return -1;
	}
	return 0;
}

/* The queue of the parent before this one may still be finishing. */
static int
wait_for_lock(struct queue *q, char *err, size_t errlen)
{
	struct pollfd pf = { .fd = ipc_fd(q->setup->parent) };

	log_info("spool-wait", "dir=%s", q->setup->conf.spool);
	for (;;) {
		if (poll(&pf, 1, LOCK_POLL_MS) == 1) {
			snprintf(err, errlen, "parent is gone");
			return -1;
		}
		switch (mailq_reopen(q->mq)) {
		case MAILQ_BUSY:
			continue;
		case MAILQ_OK:
			return 0;
		default:
			snprintf(
			    err, errlen, "spool: %s", mailq_errtext(q->mq));
			return -1;
		}
	}
}

static void
on_lost(void *arg, uint64_t qid, const char *what)
{
	(void)arg;
	log_event(LOG_WARNING, 0, qid, "body-lost", "error=%s", what);
}

static int
open_spool(struct queue *q, char *err, size_t errlen)
{
	struct mailq_stats st;
	unsigned removed = 0;
	enum mailq_rc rc = mailq_open(q->setup->conf.spool, &q->mq);

	if (rc == MAILQ_BUSY && wait_for_lock(q, err, errlen) == -1)
		return -1;
	if (rc == MAILQ_BUSY)
		rc = MAILQ_OK;
	if (rc == MAILQ_OK)
		rc = mailq_tidy(q->mq, &removed, on_lost, q);
	if (rc == MAILQ_OK)
		rc = mailq_high(q->mq, &q->last_qid);
	if (rc == MAILQ_OK)
		rc = mailq_stats(q->mq, &st);
	if (rc != MAILQ_OK) {
		snprintf(err, errlen, "spool: %s", mailq_errtext(q->mq));
		return -1;
	}
	log_info("spool", "dir=%s messages=%lu removed=%u",
	    q->setup->conf.spool, (unsigned long)st.messages, removed);
	return 0;
}

static void
on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	queue_schedule(arg);
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;

	(void)fd, (void)what;
	queue_login_configure(q); /* after a reload */
	queue_arm(q->ev_sweep, queue_sweep(q));
	queue_schedule(q);
}

static struct queue *
queue_new(struct role_setup *s)
{
	struct queue *q = xcalloc(1, sizeof(*q));
	size_t i;

	q->setup = s;
	q->started_ms = queue_now_ms();
	TAILQ_INIT(&q->peers);
	TAILQ_INIT(&q->roles);
	TAILQ_INIT(&q->ops);
	TAILQ_INIT(&q->alarms);
	for (i = 0; i < QUEUE_BUCKETS; i++) {
		LIST_INIT(&q->sessions[i]);
		LIST_INIT(&q->jobs[i]);
	}
	q->ev_commit = event_new(s->base, -1, 0, on_commit, q);
	q->ev_due = event_new(s->base, -1, 0, on_due, q);
	q->ev_sweep = event_new(s->base, -1, 0, on_sweep, q);
	q->ev_leave = event_new(s->base, -1, 0, on_leave, q);
	return q;
}

static int
queue_start(struct role_setup *s, char *err, size_t errlen)
{
	struct queue *q = queue_new(s);
	size_t i;

	self = q;
	if (open_spool(q, err, errlen) == -1) {
		queue_free(q);
		return -1;
	}
	queue_login_start(q);
	queue_quota_start(q);
	queue_history_start(q);
	if (s->table.shape.regions > 0) /* else it comes with a front */
		queue_conns_table(
		    q, &s->table.shape, s->table.fd[TABLE_ALL]);
	for (i = 0; i < s->listens; i++)
		if (s->listen[i].kind == LISTEN_CONTROL)
			queue_ctl_listen(q, s->listen[i].fd);
	queue_arm(q->ev_sweep, 0);
	return 0;
}

static int
queue_reload(
    struct role_setup *s, const struct conf *next, char *err, size_t errlen)
{
	if (strcmp(s->conf.spool, next->spool) != 0) {
		snprintf(err, errlen,
		    "spool: %s: the spool can be changed by a restart only",
		    next->spool);
		return -1;
	}
	queue_arm(self->ev_sweep, 0); /* runs once next is in force */
	return 0;
}

/* M_ROLE: what parent says of the other processes. */
static void
on_role(struct queue *q, const struct m_role *m)
{
	struct queue_peer *p;
	struct queue_role *r;

	p = queue_find_peer(q, (enum role)m->role, m->instance);
	if (p != NULL)
		p->draining = strcmp(m->state, "draining") == 0;
	TAILQ_FOREACH(r, &q->roles, link)
		if (r->role == (enum role)m->role && r->instance == m->instance)
			break;
	if (r == NULL && strcmp(m->state, "gone") == 0)
		return;
	if (r == NULL) {
		r = xcalloc(1, sizeof(*r));
		r->role = (enum role)m->role;
		r->instance = m->instance;
		TAILQ_INSERT_TAIL(&q->roles, r, link);
	}
	free(r->state);
	r->state = xstrdup(m->state);
	r->pid = m->pid;
	if (r->pid == 0 && strcmp(r->state, "gone") == 0)
		free_role(q, r);
}

static void
queue_other(struct role_setup *s, const struct ipc_in *in)
{
	(void)s;
	if (in->type == M_ROLE)
		on_role(self, &in->m->role);
	else if (in->type == M_TABLE)
		queue_conns_table(self, &in->m->table, in->fd);
	else if (in->type == M_ALARM)
		queue_alarm_told(self, &in->m->alarm);
}

const struct role_ops queue_ops = {
	.role = ROLE_QUEUE,
	.preload = queue_preload,
	.start = queue_start,
	.peer = queue_peer_new,
	.drain = queue_drain,
	.reload = queue_reload,
	.other = queue_other,
};
