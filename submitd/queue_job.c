/*
 * The schedule: which mail goes to a relay when, and what becomes of it.
 *
 * A job is one message with its recipients that are due. New mail goes first,
 * then what is due longest. Each relay has a window of jobs, which keeps its
 * connections busy and memory bounded.
 *
 * Log, for each recipient of a job once its result is stored:
 *	ev=delivered qid= sid= rcpt= code= esc= text= mta= delay= attempts=
 *	ev=deferred  the same, and trouble= next= (seconds until due; 0: as soon
 *		as the smarthost is there)
 *	ev=failed    as delivered; the sender is told
 *		code 0: the smarthost never answered; delay: seconds since arrival
 *	ev=bounce qid= sid= bounce= to= rcpts=	the report that was enqueued
 *	ev=report qid= sid= report= to= rcpts=	a report that was enqueued: the
 *		smarthost has these, and will not report itself
 *	ev=double-bounce qid= rcpts=	a report failed, there is nobody to tell;
 *		it is dropped (warning)
 *	ev=body-lost qid= error=
 *		held: its body cannot be had (warning)
 *	ev=database error=
 *		the schedule cannot be read; again in a second (warning)
 *	ev=relay-result instance= qid= error=	a relay spoke out of turn (warning)
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "queue.h"

enum { DATABASE_RETRY_MS = 1000 };

/* ---- the table of jobs ---- */

static struct queue_jobs *
bucket(struct queue *q, uint64_t qid)
{
	return &q->jobs[(qid * 0x9e3779b97f4a7c15u) >> 54];
}

struct queue_job *
queue_find_job(struct queue *q, uint64_t qid)
{
	struct queue_job *j;

	LIST_FOREACH(j, bucket(q, qid), link)
	if (j->qid == qid)
		return j;
	return NULL;
}

static void
drop(const char *text)
{
	void *p;

	memcpy(&p, &text, sizeof(p)); /* const for everybody else */
	free(p);
}

static void
result_clear(struct queue_result *r)
{
	drop(r->now.esc);
	drop(r->now.text);
	drop(r->now.mta);
	r->now = (struct mailq_rcpt){ 0 };
	r->has = false;
}

static void
job_free(struct queue_job *j)
{
	size_t i;

	for (i = 0; i < j->nrcpt; i++)
		result_clear(&j->rcpt[i]);
	free(j->rcpt);
	mailq_mail_free(&j->mail);
	free(j);
}

static void
leave_table(struct queue *q, struct queue_job *j)
{
	LIST_REMOVE(j, link);
	q->njobs--;
}

void
queue_jobs_clear(struct queue *q)
{
	struct queue_job *j;
	size_t i;

	for (i = 0; i < QUEUE_BUCKETS; i++) {
		while ((j = LIST_FIRST(&q->jobs[i])) != NULL) {
			leave_table(q, j);
			job_free(j);
		}
	}
}

/* No relay works on it any more. */
static void
land(struct queue *q, struct queue_job *j)
{
	j->relay->jobs--;
	j->relay = NULL;
	q->in_flight--;
}

static struct queue_job *
job_new(struct queue *q, struct mailq_mail *mail, int64_t now)
{
	struct queue_job *j = xcalloc(1, sizeof(*j));
	const struct mailq_rcpt *r;
	size_t i;

	j->qid = mail->msg.qid;
	j->mail = mail;
	j->proof = q->proof;
	j->rcpt = xcalloc(mail->nrcpt, sizeof(*j->rcpt));
	for (i = 0; i < mail->nrcpt; i++) {
		r = &mail->rcpt[i];
		if ((r->state == MAILQ_WAITING || r->state == MAILQ_DEFERRED) &&
		    r->next_ms <= now)
			j->rcpt[j->nrcpt++].i = i;
	}
	return j;
}

/* ---- sending ---- */

static unsigned
window(const struct queue *q)
{
	return (unsigned)(2 * q->setup->conf.smarthost_connections + 8);
}

static bool
takes_jobs(const struct queue *q, const struct queue_peer *p)
{
	return p->role == ROLE_RELAY && !p->draining && p->jobs < window(q) &&
	    !ipc_congested(p->ipc);
}

/* Instances are numbered round a circle of 2^24: was a started after b? */
static bool
is_newer(uint32_t a, uint32_t b)
{
	return ((a - b) & 0xffffff) < 0x800000;
}

/* The newest, since the others are about to be replaced by it. */
static struct queue_peer *
free_relay(struct queue *q)
{
	struct queue_peer *p, *best = NULL;

	TAILQ_FOREACH(p, &q->peers, link)
		if (takes_jobs(q, p) &&
		    (best == NULL || is_newer(p->instance, best->instance)))
			best = p;
	return best;
}

static unsigned
room(struct queue *q)
{
	struct queue_peer *p;
	unsigned n = 0;

	TAILQ_FOREACH(p, &q->peers, link)
		if (takes_jobs(q, p))
			n += window(q) - p->jobs;
	return n;
}

static void
send_job(const struct queue_job *j, const void *body, size_t len, int fd)
{
	const struct mailq_msg *msg = &j->mail->msg;
	struct m_job m = { .qid = j->qid,
		.from = msg->from,
		.opt = msg->opt,
		.size = msg->size,
		.rcpts = (uint32_t)j->nrcpt };
	struct m_job_body b = { .qid = j->qid, .body = { body, len } };
	struct m_job_rcpt r = { .qid = j->qid };
	size_t i;

	ipc_send(j->relay->ipc, M_JOB, msg->sid, &m);
	for (i = 0; i < j->nrcpt; i++) {
		r.n = j->mail->rcpt[j->rcpt[i].i].n;
		r.to = j->mail->rcpt[j->rcpt[i].i].address;
		r.opt = j->mail->rcpt[j->rcpt[i].i].opt;
		ipc_send(j->relay->ipc, M_JOB_RCPT, msg->sid, &r);
	}
	ipc_send_fd(j->relay->ipc, M_JOB_BODY, msg->sid, &b, fd);
}

/* The body can't be had: never guess, somebody must look. */
static void
hold_bodiless(struct queue *q, uint64_t qid)
{
	char why[512];
	unsigned n;

	snprintf(why, sizeof(why), "%s", mailq_errtext(q->mq));
	log_event(LOG_WARNING, 0, qid, "body-lost", "error=%s", why);
	if (mailq_begin(q->mq) != MAILQ_OK)
		return;
	if (mailq_hold(q->mq, qid, why, &n) != MAILQ_OK ||
	    mailq_commit(q->mq) != MAILQ_OK)
		mailq_rollback(q->mq);
}

static void
launch(struct queue *q, struct queue_peer *relay, struct queue_job *j,
    const void *body, size_t len, int fd)
{
	j->relay = relay;
	relay->jobs++;
	q->in_flight++;
	LIST_INSERT_HEAD(bucket(q, j->qid), j, link);
	q->njobs++;
	send_job(j, body, len, fd);
	if (fd != -1)
		close(fd);
}

static enum mailq_rc
start_job(struct queue *q, struct queue_peer *relay, struct queue_job *j)
{
	static unsigned char body[BODY_INLINE_MAX];
	const struct mailq_msg *msg = &j->mail->msg;
	enum mailq_rc rc;
	size_t len = 0;
	int fd = -1;

	if (msg->in_file)
		rc = mailq_body_open(q->mq, j->qid, msg->size, &fd);
	else
		rc = mailq_body_read(q->mq, msg, body, sizeof(body), &len);
	if (rc == MAILQ_OK)
		launch(q, relay, j, body, len, fd);
	return rc;
}

/* Begins the job of a message that is due. false: the database is ill. */
static bool
start_mail(struct queue *q, uint64_t qid, int64_t now)
{
	struct queue_peer *relay = free_relay(q);
	struct mailq_mail *mail;
	struct queue_job *j;
	enum mailq_rc rc;

	if (relay == NULL)
		return true;
	if (mailq_load(q->mq, qid, &mail) != MAILQ_OK)
		return false;
	j = job_new(q, mail, now);
	rc = j->nrcpt > 0 ? start_job(q, relay, j) : MAILQ_OK;
	if (rc == MAILQ_OK && j->nrcpt > 0)
		return true;
	job_free(j);
	if (rc == MAILQ_INVALID || rc == MAILQ_NONE)
		hold_bodiless(q, qid);
	return rc == MAILQ_OK || rc == MAILQ_INVALID || rc == MAILQ_NONE;
}

/* Starts up to max jobs of new mail, or of mail tried before; returns how many,
 * or -1 when the database is ill. */
static int
start_due(struct queue *q, bool tried, int64_t now, unsigned max)
{
	size_t size = (size_t)max + q->njobs, n = 0, i;
	uint64_t *qid;
	int started = 0;

	if (max == 0)
		return 0;
	qid = xcalloc(size, sizeof(*qid));
	if (mailq_due(q->mq, tried, now, qid, size, &n) != MAILQ_OK)
		started = -1;
	for (i = 0; i < n && started >= 0 && (unsigned)started < max; i++) {
		if (queue_find_job(q, qid[i]) != NULL)
			continue;
		started = start_mail(q, qid[i], now) ? started + 1 : -1;
	}
	free(qid);
	return started;
}

static void
arm_due(struct queue *q, int64_t now)
{
	int64_t at;

	if (mailq_next_due(q->mq, now, &at) == MAILQ_OK)
		queue_arm(q->ev_due, at == INT64_MAX ? at : at - now);
}

void
queue_schedule_rest(struct queue *q)
{
	int64_t now = queue_now_ms();
	unsigned max = room(q);
	int fresh, old = 0;

	if (!q->look || q->draining || q->mq == NULL || max == 0)
		return; /* a result, or a new relay, comes back here */
	if (q->dest.state == DEST_DOWN) {
		if (q->in_flight > 0)
			return;
		if (now < q->dest.probe_ms) {
			queue_arm(q->ev_due, q->dest.probe_ms - now);
			return;
		}
		max = 1;
	}
	fresh = start_due(q, false, now, max);
	if (fresh >= 0)
		old = start_due(q, true, now, max - (unsigned)fresh);
	if (fresh >= 0 && old >= 0) {
		q->look = (unsigned)(fresh + old) == max;
		arm_due(q, now);
		return;
	}
	log_warn("database", "error=%s", mailq_errtext(q->mq));
	queue_arm(q->ev_due, DATABASE_RETRY_MS);
}

void
queue_schedule(struct queue *q)
{
	q->look = true;
	queue_schedule_rest(q);
}

void
queue_send_new(struct queue *q, const struct mailq_msg *msg,
    const struct mailq_rcpt *rcpt, size_t nrcpt, const void *body)
{
	struct queue_peer *relay = free_relay(q);
	struct queue_job *j;
	int fd = -1;

	/* Mail that waits already is older; for what is not yet due there is
	 * the timer. */
	if (q->look || msg->since_ms > msg->arrived_ms || q->draining || relay == NULL ||
	    q->dest.state == DEST_DOWN ||
	    (msg->in_file &&
		mailq_body_open(q->mq, msg->qid, msg->size, &fd) != MAILQ_OK)) {
		q->look = true;
		return;
	}
	j = job_new(q, mailq_mail_new(msg, rcpt, nrcpt), msg->arrived_ms);
	if (j->nrcpt > 0) {
		launch(q, relay, j, body, msg->in_file ? 0 : msg->size, fd);
		return;
	}
	job_free(j); /* all of them are held */
	if (fd != -1)
		close(fd);
}

/* ---- results ---- */

/* The time is over, ours or the one that the sender gave (RFC 2852). */
static bool
is_over(const struct queue *q, const struct mailq_msg *m, int64_t now)
{
	return now - m->since_ms >= q->setup->conf.bounce_after ||
	    (m->opt.by_mode == BY_RETURN && now >= m->opt.by_ms);
}

/* What is stored for a recipient, from what the relay said. */
static void
decide(
    struct queue *q, struct queue_job *j, struct queue_result *r, int64_t now)
{
	const struct mailq_rcpt *before = &j->mail->rcpt[r->i];
	uint32_t attempts = before->attempts + 1;

	r->now.n = before->n;
	r->now.address = before->address;
	r->now.attempts = attempts;
	r->now.last_ms = r->now.next_ms = now;
	if (r->now.state != MAILQ_DEFERRED)
		return;
	if (is_over(q, &j->mail->msg, now)) {
		r->now.state = MAILQ_FAILED;
		r->expired = true;
	} else if (q->dest.state != DEST_DOWN || r->alone ||
	    r->trouble == TROUBLE_LOCAL) {
		r->now.next_ms = now +
		    (int64_t)queue_delay_s(q, attempts, UINT32_MAX) * 1000;
	} /* else due, as soon as the smarthost is there */
}

static void
finish(struct queue *q, struct queue_job *j)
{
	int64_t now = queue_now_ms();
	size_t i;

	queue_dest_learn(q, j);
	for (i = 0; i < j->nrcpt; i++)
		if (j->rcpt[i].has)
			decide(q, j, &j->rcpt[i], now);
	land(q, j);
	queue_commit_job(q, j);
}

static void
set_result(struct queue_result *r, const struct m_job_result *m)
{
	static const enum mailq_state states[] = {
		[RESULT_DELIVERED] = MAILQ_DELIVERED,
		[RESULT_DEFERRED] = MAILQ_DEFERRED,
		[RESULT_FAILED] = MAILQ_FAILED,
	};

	result_clear(r); /* said twice: the last word counts */
	r->has = true;
	r->trouble = m->trouble;
	r->alone = m->alone;
	r->handed = m->handed;
	r->now.state = states[m->result];
	r->now.code = m->code;
	r->now.esc = xstrdup(m->esc);
	r->now.text = xstrdup(m->text);
	r->now.mta = xstrdup(m->mta);
}

/* The job that a relay's message is about, NULL if it isn't its own. */
static struct queue_job *
job_of(const struct queue_peer *p, uint64_t qid)
{
	struct queue_job *j = queue_find_job(p->q, qid);

	if (j != NULL && j->relay == p)
		return j;
	log_event(LOG_WARNING, 0, qid, "relay-result", "instance=%u error=%s",
	    p->instance, "no such job in flight");
	return NULL;
}

static struct queue_result *
result_of(const struct queue_job *j, uint32_t n)
{
	size_t lo = 0, hi = j->nrcpt, mid;

	while (lo < hi) { /* recipients are in the order of n */
		mid = lo + (hi - lo) / 2;
		if (j->mail->rcpt[j->rcpt[mid].i].n < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < j->nrcpt && j->mail->rcpt[j->rcpt[lo].i].n == n
	    ? &j->rcpt[lo]
	    : NULL;
}

static void
on_job_result(struct ipc *ipc, const struct ipc_in *in)
{
	const struct queue_peer *p = ipc_arg(ipc);
	const struct m_job_result *m = &in->m->job_result;
	struct queue_job *j = job_of(p, m->qid);
	struct queue_result *r;

	if (j == NULL)
		return;
	if ((r = result_of(j, m->n)) == NULL) {
		ipc_reject(ipc, "result for a recipient that is none");
		return;
	}
	set_result(r, m);
	if (m->ruled[0] != '\0')
		queue_decision_ruled(p->q, j->mail, &j->mail->rcpt[r->i], m);
}

static void
on_job_done(struct ipc *ipc, const struct ipc_in *in)
{
	static const struct m_job_result none = { .result = RESULT_DEFERRED,
		.trouble = TROUBLE_LOCAL,
		.esc = "4.3.0",
		.text = "the relay gave no result",
		.mta = "",
		.ruled = "" };
	const struct queue_peer *p = ipc_arg(ipc);
	struct queue_job *j = job_of(p, in->m->job_done.qid);
	size_t i;

	if (j == NULL)
		return;
	for (i = 0; i < j->nrcpt; i++)
		if (!j->rcpt[i].has)
			set_result(&j->rcpt[i], &none);
	finish(p->q, j);
}

static void
on_relay_state(struct ipc *ipc, const struct ipc_in *in)
{
	struct queue_peer *p = ipc_arg(ipc);
	const struct m_relay_state *m = &in->m->relay_state;

	p->connections = m->connections;
	queue_dest_told(p->q, m);
	queue_schedule(p->q);
}

const struct ipc_rule queue_relay_rules[] = {
	{ M_JOB_RESULT, on_job_result },
	{ M_JOB_DONE, on_job_done },
	{ M_RELAY_STATE, on_relay_state },
	{ 0, NULL },
};

static bool
has_result(const struct queue_job *j)
{
	size_t i;

	for (i = 0; i < j->nrcpt; i++)
		if (j->rcpt[i].has)
			return true;
	return false;
}

/* Its jobs wait again; what it said of some recipients before holds. */
void
queue_relay_gone(struct queue *q, struct queue_peer *p)
{
	struct queue_job *j, *next;
	size_t i;

	for (i = 0; i < QUEUE_BUCKETS; i++) {
		for (j = LIST_FIRST(&q->jobs[i]); j != NULL; j = next) {
			next = LIST_NEXT(j, link);
			if (j->relay != p)
				continue;
			if (has_result(j)) {
				finish(q, j);
				continue;
			}
			land(q, j);
			leave_table(q, j);
			job_free(j);
		}
	}
	queue_arm(q->ev_due, 0);
}

/* ---- in the commit group ---- */

/* Nobody after us will tell the sender what he wants to hear: RFC 3461 section
 * 5.2.2, RFC 2852 sections 4.1.4 and 4.1.4.2. */
static bool
reports_relayed(const struct queue_job *j, const struct queue_result *r)
{
	const struct rcpt_options *o = &j->mail->rcpt[r->i].opt;
	const struct mail_options *m = &j->mail->msg.opt;

	if (o->notify == NOTIFY_NEVER)
		return false;
	return ((o->notify & NOTIFY_SUCCESS) != 0 &&
		   (r->handed & HANDED_DSN) == 0) ||
	    (m->by_mode != BY_NONE && m->by_trace) ||
	    (m->by_mode == BY_NOTIFY && (r->handed & HANDED_BY) == 0 &&
		r->now.last_ms < m->by_ms);
}

static bool
reports(const struct queue_job *j, const struct queue_result *r)
{
	if (!r->has)
		return false;
	if (r->now.state == MAILQ_FAILED)
		return queue_wants(&j->mail->rcpt[r->i].opt, DSN_FAILED);
	return r->now.state == MAILQ_DELIVERED && reports_relayed(j, r);
}

static enum mailq_rc
report_results(struct queue *q, struct queue_job *j)
{
	struct queue_report *rep = xcalloc(j->nrcpt, sizeof(*rep));
	enum mailq_rc rc = MAILQ_OK;
	size_t i, n = 0;

	j->relayed = 0;
	for (i = 0; i < j->nrcpt; i++) {
		const struct queue_result *r = &j->rcpt[i];

		if (!reports(j, r))
			continue;
		j->relayed += r->now.state == MAILQ_DELIVERED;
		rep[n++] = (struct queue_report){
			.address = r->now.address,
			.orcpt = j->mail->rcpt[r->i].opt.orcpt,
			.action = r->now.state == MAILQ_FAILED ? DSN_FAILED
							       : DSN_RELAYED,
			.status = r->expired ? "5.4.7" : r->now.esc,
			.esc = r->now.esc,
			.text = r->now.text,
			.mta = r->now.mta,
			.code = r->now.code,
			.last_ms = r->now.last_ms,
		};
	}
	if (n > 0)
		rc = queue_bounce(q, j->mail, rep, n, 0, &j->bounce_qid);
	j->double_bounce =
	    n > j->relayed && rc == MAILQ_OK && j->mail->msg.from[0] == '\0';
	free(rep);
	return rc;
}

/* Every recipient of the message has it. */
static bool
is_delivered(const struct queue_job *j)
{
	size_t i;

	for (i = 0; i < j->nrcpt; i++)
		if (!j->rcpt[i].has || j->rcpt[i].now.state != MAILQ_DELIVERED)
			return false;
	return j->nrcpt == j->mail->nrcpt;
}

enum mailq_rc
queue_job_apply(struct queue *q, struct queue_job *j)
{
	enum mailq_rc rc = MAILQ_OK;
	bool done;
	size_t i;

	j->bounce_qid = 0;
	if ((rc = report_results(q, j)) != MAILQ_OK)
		return rc;
	if (is_delivered(j))
		return mailq_delivered(q->mq, j->qid, j->mail->msg.in_file);
	for (i = 0; i < j->nrcpt && rc == MAILQ_OK; i++)
		if (j->rcpt[i].has)
			rc = mailq_result(q->mq, j->qid, &j->rcpt[i].now);
	if (rc == MAILQ_OK)
		rc = mailq_settle(q->mq, j->qid, &done);
	return rc;
}

static void
log_result(const struct queue_job *j, const struct queue_result *r)
{
	static const char *const ev[MAILQ_STATES] = {
		[MAILQ_DEFERRED] = "deferred",
		[MAILQ_DELIVERED] = "delivered",
		[MAILQ_FAILED] = "failed",
	};
	const struct mailq_msg *msg = &j->mail->msg;
	int64_t delay = r->now.last_ms - msg->arrived_ms;
	char sec[32];

	snprintf(sec, sizeof(sec), "%lld.%03lld", (long long)(delay / 1000),
	    (long long)(delay % 1000));
	if (r->now.state == MAILQ_DEFERRED)
		log_event(LOG_INFO, msg->sid, j->qid, ev[r->now.state],
		    "rcpt=%s code=%d esc=%s text=%s mta=%s delay=%s "
		    "attempts=%u trouble=%s next=%ld",
		    r->now.address, r->now.code, r->now.esc, r->now.text,
		    r->now.mta, sec, r->now.attempts,
		    queue_trouble_name(r->trouble),
		    (long)((r->now.next_ms - r->now.last_ms) / 1000));
	else
		log_event(LOG_INFO, msg->sid, j->qid, ev[r->now.state],
		    "rcpt=%s code=%d esc=%s text=%s mta=%s delay=%s "
		    "attempts=%u",
		    r->now.address, r->now.code, r->now.esc, r->now.text,
		    r->now.mta, sec, r->now.attempts);
}

void
queue_job_end(struct queue *q, struct queue_job **jp)
{
	struct queue_job *j = *jp;
	unsigned failed = 0;
	char bounce[32];
	size_t i;

	*jp = NULL;
	for (i = 0; i < j->nrcpt; i++) {
		if (!j->rcpt[i].has)
			continue;
		log_result(j, &j->rcpt[i]);
		q->look |= j->rcpt[i].now.state == MAILQ_DEFERRED;
		failed += j->rcpt[i].now.state == MAILQ_FAILED;
	}
	if (failed > 0)
		queue_quota_failed(q, &j->mail->msg, failed);
	snprintf(bounce, sizeof(bounce), "%013llx",
	    (unsigned long long)j->bounce_qid);
	q->look |= j->bounce_qid != 0;
	if (j->bounce_qid != 0 && failed > 0)
		log_event(LOG_INFO, j->mail->msg.sid, j->qid, "bounce",
		    "bounce=%s to=%s rcpts=%u", bounce, j->mail->msg.from,
		    failed);
	else if (j->bounce_qid != 0)
		log_event(LOG_INFO, j->mail->msg.sid, j->qid, "report",
		    "report=%s to=%s rcpts=%u", bounce, j->mail->msg.from,
		    j->relayed);
	if (j->double_bounce)
		log_event(LOG_WARNING, j->mail->msg.sid, j->qid,
		    "double-bounce", "rcpts=%u", failed);
	leave_table(q, j);
	job_free(j);
}
