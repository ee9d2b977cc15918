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
job_free(struct relay_job *j)
{
	size_t i;

	for (i = 0; i < j->have; i++)
		free(j->to[i]);
	free(j->to);
	free(j->n);
	free(j->ruled);
	free(j->from);
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
	j->rcpts = m->rcpts;
	j->to = xcalloc(j->rcpts, sizeof(*j->to));
	j->n = xcalloc(j->rcpts, sizeof(*j->n));
	j->ruled = xcalloc(j->rcpts, sizeof(*j->ruled));
	j->size = m->size;
	j->eightbit = m->opt.body != BODY_7BIT;
	j->fd = -1;
	TAILQ_INSERT_TAIL(&coming, j, link);
}

static void
on_job_rcpt(struct ipc *p, const struct ipc_in *in)
{
	const struct m_job_rcpt *m = &in->m->job_rcpt;
	struct relay_job *j = find_coming(p, m->qid);

	if (j == NULL)
		return; /* refused, and told so */
	if (j->have == j->rcpts) {
		bad_job(m->qid, "more recipients than were announced", j);
		return;
	}
	j->n[j->have] = m->n;
	j->to[j->have++] = xstrdup(m->to);
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

static bool
has_high_byte(const unsigned char *p, size_t len)
{
	uint64_t word;
	size_t i;

	for (i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		if ((word & 0x8080808080808080u) != 0)
			return true;
	}
	for (; i < len; i++)
		if (p[i] > 127)
			return true;
	return false;
}

bool
relay_job_is_eightbit(const struct relay_job *j, bool read_all)
{
	static unsigned char piece[PIECE];
	off_t off = 0;
	ssize_t n;

	if (j->fd == -1)
		return has_high_byte(buf_head(&j->body), j->body.len);
	if (!read_all)
		return j->eightbit;
	while ((n = pread(j->fd, piece, sizeof(piece), off)) > 0) {
		if (has_high_byte(piece, (size_t)n))
			return true;
		off += n;
	}
	return false;
}

/* ---- to queue ---- */

static void
send_result(const struct relay_job *j, size_t i,
    const struct smtp_client_result *r, const char *mta, bool alone,
    const char *ruled)
{
	struct m_job_result m = { .qid = j->qid,
		.n = j->n[i],
		.result = (uint8_t)r->kind,
		.trouble = (uint8_t)r->trouble,
		.code = r->code,
		.esc = r->esc,
		.text = r->text,
		.mta = mta,
		.alone = alone,
		.ruled = ruled };

	if (r->unsure)
		log_event(LOG_WARNING, j->sid, j->qid, "unsure",
		    "rcpt=%s mta=%s error=%s note=%s", j->to[i], mta, r->text,
		    "the smarthost may have taken it: a duplicate is possible");
	if (j->queue != NULL)
		ipc_send(j->queue, M_JOB_RESULT, j->sid, &m);
}

void
relay_job_result(struct relay_job *j, size_t i,
    const struct smtp_client_result *r, const char *mta)
{
	send_result(j, i, r, mta, false, "");
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
	send_result(j, i, &r, why->mta, alone, why->ruled);
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
	j->ruled[i] = RULED_OUT;
	keep_back(j, i, &why, true);
}

void
relay_job_prune(struct relay_job *j)
{
	size_t i, kept = 0;

	for (i = 0; i < j->rcpts; i++) {
		if (j->ruled[i] == RULED_OUT) {
			free(j->to[i]);
			continue;
		}
		j->to[kept] = j->to[i];
		j->n[kept++] = j->n[i];
	}
	j->rcpts = j->have = kept;
	memset(j->ruled, RULED_OPEN, kept);
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
		keep_back(j, i, why, why->final);
	relay_job_done(j);
}
