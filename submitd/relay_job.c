/*
 * One message of the relay: put together from what queue sends, read piece by
 * piece, its results sent back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "relay.h"

enum { PIECE = 64 * 1024 };

static struct relay_jobs coming = TAILQ_HEAD_INITIALIZER(coming);
static size_t count;

static void
drop(const char *text)
{
	void *p;

	memcpy(&p, &text, sizeof(p)); /* const for everybody else */
	free(p);
}

static void
rcpt_clear(struct relay_rcpt *r)
{
	free(r->to);
	drop(r->opt.orcpt);
	free(r->ascii);
	free(r->ascii_orcpt);
}

static void
job_free(struct relay_job *j)
{
	size_t i;

	relay_fit_clear(j);
	for (i = 0; i < j->rcpts; i++)
		rcpt_clear(&j->rcpt[i]);
	free(j->rcpt);
	free(j->batch);
	free(j->from);
	free(j->envid);
	free(j->auth);
	buf_clear(&j->body);
	if (j->fd != -1)
		close(j->fd);
	free(j);
	count--;
}

size_t
relay_job_count(void)
{
	return count;
}

/* ---- from queue ---- */

static struct relay_job *
find_coming(const struct ipc *queue, uint64_t qid)
{
	struct relay_job *j;

	TAILQ_FOREACH(j, &coming, link)
		if (j->queue == queue && j->qid == qid)
			return j;
	return NULL;
}

/* Not what queue does: without all of it no result would be right. */
static void
bad_job(uint64_t qid, const char *why, struct relay_job *j)
{
	log_event(LOG_WARNING, 0, qid, "job", "error=%s", why);
	if (j == NULL)
		return;
	TAILQ_REMOVE(&coming, j, link);
	relay_job_done(j);
}

static void
on_job(struct ipc *p, const struct ipc_in *in)
{
	const struct m_job *m = &in->m->job;
	struct m_job_done done = { .qid = m->qid };
	struct relay_job *j;

	if (m->rcpts == 0 || m->rcpts > SMTP_CLIENT_RCPTS ||
	    find_coming(p, m->qid) != NULL) {
		bad_job(
		    m->qid, "no, or too many, recipients; or sent twice", NULL);
		ipc_send(p, M_JOB_DONE, in->sid, &done);
		return;
	}
	j = xcalloc(1, sizeof(*j));
	count++;
	j->queue = p;
	j->qid = m->qid;
	j->sid = in->sid;
	j->from = xstrdup(m->from);
	j->envid = xstrdup(m->opt.envid);
	j->opt = m->opt;
	j->opt.envid = j->envid;
	j->auth = xstrdup(m->opt.auth);
	j->opt.auth = j->auth;
	j->rcpts = m->rcpts;
	j->rcpt = xcalloc(j->rcpts, sizeof(*j->rcpt));
	j->batch = xcalloc(j->rcpts, sizeof(*j->batch));
	j->size = m->size;
	j->fd = -1;
	TAILQ_INSERT_TAIL(&coming, j, link);
}

static void
on_job_rcpt(struct ipc *p, const struct ipc_in *in)
{
	const struct m_job_rcpt *m = &in->m->job_rcpt;
	struct relay_job *j = find_coming(p, m->qid);
	struct relay_rcpt *r;

	if (j == NULL)
		return; /* refused, and told so */
	if (j->have == j->rcpts) {
		bad_job(m->qid, "more recipients than were announced", j);
		return;
	}
	r = &j->rcpt[j->have++];
	r->n = m->n;
	r->to = xstrdup(m->to);
	r->opt = m->opt;
	r->opt.orcpt = m->opt.orcpt[0] != '\0' ? xstrdup(m->opt.orcpt) : NULL;
}

static void
on_job_body(struct ipc *p, const struct ipc_in *in)
{
	const struct m_job_body *m = &in->m->job_body;
	struct relay_job *j = find_coming(p, m->qid);

	if (j == NULL || j->have != j->rcpts) {
		if (in->fd != -1)
			close(in->fd);
		if (j != NULL)
			bad_job(m->qid, "fewer recipients than announced", j);
		return;
	}
	if (in->fd == -1 && m->body.len == 0 && j->size > 0) {
		bad_job(m->qid, "no descriptor left for its body", j);
		return;
	}
	j->fd = in->fd;
	if (j->fd == -1)
		buf_add(&j->body, m->body.p, m->body.len);
	TAILQ_REMOVE(&coming, j, link);
	relay_on_job(j);
}

const struct ipc_rule relay_job_rules[] = {
	{ M_JOB, on_job },
	{ M_JOB_RCPT, on_job_rcpt },
	{ M_JOB_BODY, on_job_body },
	{ 0, NULL },
};

void
relay_job_queue_gone(struct ipc *p)
{
	struct relay_job *j, *next;

	for (j = TAILQ_FIRST(&coming); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (j->queue != p)
			continue;
		TAILQ_REMOVE(&coming, j, link);
		job_free(j);
	}
}

/* ---- the body ---- */

ssize_t
relay_job_read(struct relay_job *j, const void **p, const char **why)
{
	static unsigned char piece[PIECE];
	uint64_t left = j->size - j->off;
	ssize_t n;

	*p = piece;
	if (j->fd == -1) {
		*why = "its size is not the announced one";
		if (j->body.len != j->size)
			return -1;
		if (left == 0)
			return 0;
		*p = buf_head(&j->body) + j->off;
		n = (ssize_t)left;
	} else {
		n = pread(j->fd, piece, left < PIECE ? (size_t)left : PIECE,
		    (off_t)j->off);
		*why = n == -1 ? strerror(errno) : "the file is cut";
		if (n == -1 || (n == 0 && left > 0))
			return -1;
	}
	j->off += (uint64_t)n;
	return n;
}

/* ---- to queue ---- */

static void
send_result(const struct relay_job *j, size_t i,
    const struct smtp_client_result *r, const char *mta, bool alone,
    const char *ruled, unsigned handed)
{
	struct m_job_result m = { .qid = j->qid,
		.n = j->rcpt[i].n,
		.result = (uint8_t)r->kind,
		.trouble = (uint8_t)r->trouble,
		.code = r->code,
		.esc = r->esc,
		.text = r->text,
		.mta = mta,
		.alone = alone,
		.ruled = ruled,
		.handed = (uint8_t)handed };

	if (r->unsure)
		log_event(LOG_WARNING, j->sid, j->qid, "unsure",
		    "rcpt=%s mta=%s error=%s note=%s", j->rcpt[i].to, mta,
		    r->text,
		    "the smarthost may have taken it: a duplicate is possible");
	j->rcpt[i].done = true;
	if (j->queue != NULL)
		ipc_send(j->queue, M_JOB_RESULT, j->sid, &m);
}

void
relay_job_result(struct relay_job *j, size_t i,
    const struct smtp_client_result *r, const char *mta, unsigned handed)
{
	send_result(j, i, r, mta, false, "",
	    r->kind == RESULT_DELIVERED ? handed : 0);
}

void
relay_job_result_all(
    struct relay_job *j, const struct smtp_client_result *r, const char *mta)
{
	size_t i;

	for (i = 0; i < j->rcpts; i++)
		if (!j->rcpt[i].done)
			send_result(j, i, r, mta, false, "", 0);
}

/* A result of our own.  A report, of whose failure nobody can be told, waits
 * even if the reason is final. */
static void
keep_back(const struct relay_job *j, size_t i, const struct relay_reason *why,
    bool alone)
{
	struct smtp_client_result r = { .kind = RESULT_DEFERRED,
		.trouble = why->trouble,
		.text = why->text };
	char esc[sizeof(why->esc)];

	snprintf(esc, sizeof(esc), "%s", why->esc);
	r.esc = esc;
	if (why->final && j->from[0] != '\0')
		r.kind = RESULT_FAILED;
	else
		esc[0] = '4';
	send_result(j, i, &r, why->mta, alone, why->ruled, 0);
}

void
relay_job_rule_out(struct relay_job *j, size_t i,
    const struct m_server_verdict *m, const char *mta)
{
	struct relay_reason why = {
		.trouble =
		    m->verdict == SERVER_UNKNOWN ? TROUBLE_LOCAL : TROUBLE_TLS,
		.final = m->verdict == SERVER_FAIL,
	};

	snprintf(why.esc, sizeof(why.esc), "%s", m->esc);
	snprintf(why.text, sizeof(why.text), "%s", m->text);
	snprintf(why.mta, sizeof(why.mta), "%s", mta);
	snprintf(why.ruled, sizeof(why.ruled), "%s", m->ruled);
	j->rcpt[i].ruled = RULED_OUT;
	keep_back(j, i, &why, true);
}

void
relay_job_prune(struct relay_job *j)
{
	size_t i, kept = 0;

	for (i = 0; i < j->rcpts; i++) {
		if (j->rcpt[i].done) {
			rcpt_clear(&j->rcpt[i]);
			continue;
		}
		j->rcpt[i].ruled = RULED_OPEN;
		j->rcpt[kept++] = j->rcpt[i];
	}
	j->rcpts = j->have = kept;
	j->nbatch = 0;
}

void
relay_job_done(struct relay_job *j)
{
	struct m_job_done m = { .qid = j->qid };

	if (j->queue != NULL)
		ipc_send(j->queue, M_JOB_DONE, j->sid, &m);
	job_free(j);
}

void
relay_job_defer(struct relay_job *j, const struct relay_reason *why)
{
	size_t i;

	for (i = 0; i < j->rcpts; i++)
		if (!j->rcpt[i].done)
			keep_back(j, i, why, why->final);
	relay_job_done(j);
}
