/*
 * Reports to senders, and mail that is too old.
 *
 * A report is a message of our own with the null sender, put into the queue in
 * the same transaction that ends (or marks) the message it is about: there is
 * never one without the other. A report about a report is not made.
 *
 * Log:
 *	ev=failed qid= sid= rcpt= code= esc= text= mta= delay= attempts=
 *		a recipient whose time is over without another attempt
 *	ev=bounce qid= sid= bounce= to= rcpts=	as in queue_job.c
 *	ev=double-bounce qid= sid= rcpts=	as there
 *	ev=delay-notice qid= sid= notice= to=	the sender was told of a delay
 *	ev=database error=	old mail cannot be looked for (warning)
 *	ev=bounce-lost qid= error=	no report can be made (warning)
 */
#include <sys/random.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dsn.h"
#include "log.h"
#include "mem.h"
#include "queue.h"
#include "received.h"

enum {
	HEADER_MAX = 64 * 1024, /* of the original, in a report */
	SWEEP_BATCH = 256,
	SWEEP_MIN_MS = 100,
	SWEEP_MAX_MS = 60 * 1000,
	HEX_BYTES = 16
};

/* ---- the text of a report ---- */

struct texts { /* what a struct dsn borrows */
	char from[320 + 16];
	char date[RECEIVED_DATE_MAX], arrival[RECEIVED_DATE_MAX];
	char last[RECEIVED_DATE_MAX], until[RECEIVED_DATE_MAX];
	char message_id[MESSAGE_ID_MAX], boundary[2 * HEX_BYTES + 1];
	char queue_id[32];
};

static void
date_of(int64_t ms, char *buf, size_t size)
{
	received_date((time_t)(ms / 1000), 0, buf, size);
}

static int
random_texts(struct texts *t, const char *host)
{
	unsigned char rnd[2][HEX_BYTES];
	size_t i;

	if (getrandom(rnd, sizeof(rnd), 0) != sizeof(rnd))
		return -1;
	message_id_make(
	    rnd[0], HEX_BYTES, host, t->message_id, sizeof(t->message_id));
	for (i = 0; i < HEX_BYTES; i++)
		snprintf(t->boundary + 2 * i, 3, "%02x", rnd[1][i]);
	return 0;
}

/* "name[address]:port" without what follows the name; free it. */
static char *
host_of(const char *mta)
{
	size_t n = mta != NULL ? strcspn(mta, "[: ") : 0;

	return n > 0 ? xstrndup(mta, n) : NULL;
}

static const char *
or_empty(const char *text)
{
	return text != NULL ? text : "";
}

/* The reply of the smarthost as it came; free it. NULL if it said nothing. */
static char *
reply_of(const struct queue_report *r)
{
	return r->code != 0 ? xstrdup(or_empty(r->text)) : NULL;
}

/* Our own words, where the smarthost has none. */
static const char *
reason_of(const struct queue_report *r)
{
	return r->code == 0 && or_empty(r->text)[0] != '\0' ? r->text : NULL;
}

static void
fill_rcpt(struct dsn_rcpt *d, const struct queue_report *r,
    const struct texts *t, bool delayed)
{
	*d = (struct dsn_rcpt){
		.final = r->address,
		.action = delayed ? DSN_DELAYED : DSN_FAILED,
		.status = r->status,
		.remote_mta = host_of(r->mta),
		.diagnostic = reply_of(r),
		.reason = reason_of(r),
		.last_attempt = r->last_ms != 0 ? t->last : NULL,
		.retry_until = delayed ? t->until : NULL,
	};
}

static void
drop(const char *text)
{
	void *p;

	memcpy(&p, &text, sizeof(p));
	free(p);
}

/* Bytes of the header section, its last line end included. */
static size_t
header_len(const char *p, size_t len)
{
	const char *end = memmem(p, len, "\r\n\r\n", 4);

	if (end != NULL)
		return (size_t)(end - p) + 2;
	while (len > 0 && p[len - 1] != '\n') /* cut, but not inside a line */
		len--;
	return len;
}

static int
fill_texts(struct queue *q, const struct mailq_mail *mail,
    const struct queue_report *r, int64_t until_ms, struct texts *t)
{
	const struct conf *c = &q->setup->conf;

	if (random_texts(t, c->hostname) == -1)
		return -1;
	if (c->postmaster[0] != '\0')
		snprintf(t->from, sizeof(t->from), "%s", c->postmaster);
	else
		snprintf(
		    t->from, sizeof(t->from), "postmaster@%s", c->hostname);
	date_of(queue_now_ms(), t->date, sizeof(t->date));
	date_of(mail->msg.arrived_ms, t->arrival, sizeof(t->arrival));
	date_of(r->last_ms, t->last, sizeof(t->last));
	date_of(until_ms, t->until, sizeof(t->until));
	snprintf(t->queue_id, sizeof(t->queue_id), "%013llx",
	    (unsigned long long)mail->msg.qid);
	return 0;
}

/* Appends the report to out; its DSN_NEEDS flags, or -1. */
static int
build(struct queue *q, const struct mailq_mail *mail,
    const struct queue_report *r, size_t n, int64_t until_ms, struct buf *out)
{
	static char header[HEADER_MAX];
	struct texts t;
	struct dsn d = { .nrcpt = n };
	struct dsn_rcpt *rcpt;
	size_t len = 0, i;
	int needs;

	if (fill_texts(q, mail, r, until_ms, &t) == -1)
		return -1;
	if (mailq_body_read(q->mq, &mail->msg, header, sizeof(header), &len) !=
	    MAILQ_OK)
		len = 0; /* a report without it is better than none */
	rcpt = xcalloc(n, sizeof(*rcpt));
	for (i = 0; i < n; i++)
		fill_rcpt(&rcpt[i], &r[i], &t, until_ms != 0);
	d.host = q->setup->conf.hostname;
	d.to = mail->msg.from;
	d.from = d.contact = t.from;
	d.date = t.date;
	d.message_id = t.message_id;
	d.boundary = t.boundary;
	d.arrival = t.arrival;
	d.queue_id = t.queue_id;
	d.rcpt = rcpt;
	d.original = header;
	d.original_len = header_len(header, len);
	needs = (int)dsn_build(&d, out);
	for (i = 0; i < n; i++) {
		drop(rcpt[i].remote_mta);
		drop(rcpt[i].diagnostic);
	}
	free(rcpt);
	return needs;
}

/* ---- into the queue ---- */

static int
write_all(int fd, const unsigned char *p, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Reports about many recipients can be long; they are rare. */
static enum mailq_rc
write_file(struct queue *q, uint64_t qid, const struct buf *b)
{
	enum mailq_rc rc;
	int fd, bad;

	if ((rc = mailq_body_create(q->mq, qid, &fd)) != MAILQ_OK)
		return rc;
	bad = write_all(fd, buf_head(b), b->len) == -1 || fdatasync(fd) == -1;
	bad |= close(fd) == -1;
	if (!bad)
		return MAILQ_OK;
	rc = errno == ENOSPC ? MAILQ_FULL : MAILQ_IO;
	mailq_body_discard(q->mq, qid);
	return rc;
}

static enum mailq_rc
enqueue(struct queue *q, const char *to, const struct buf *b, int needs,
    uint64_t *qid)
{
	int64_t now = queue_now_ms();
	struct mailq_msg m = {
		.qid = queue_new_qid(q),
		.user = "",
		.how = "bounce",
		.client_addr = "",
		.from = "",
		.opt.priority = PRIORITY_NORMAL,
		.opt.body =
		    (needs & DSN_NEEDS_8BIT) != 0 ? BODY_8BITMIME : BODY_7BIT,
		.in_file = b->len > BODY_INLINE_MAX,
		.size = b->len,
		.arrived_ms = now,
		.since_ms = now,
	};
	struct mailq_rcpt r = {
		.address = to,
		.state = MAILQ_WAITING,
		.next_ms = now,
	};
	enum mailq_rc rc = MAILQ_OK;

	if (m.in_file)
		rc = write_file(q, m.qid, b);
	if (rc == MAILQ_OK)
		rc = mailq_add(q->mq, &m, buf_head(b), &r, 1);
	if (rc == MAILQ_OK)
		*qid = m.qid;
	return rc;
}

enum mailq_rc
queue_bounce(struct queue *q, const struct mailq_mail *mail,
    const struct queue_report *r, size_t n, int64_t retry_until_ms,
    uint64_t *qid)
{
	struct buf b = { 0 };
	enum mailq_rc rc;
	int needs;

	*qid = 0;
	if (mail->msg.from[0] == '\0')
		return MAILQ_OK;
	if ((needs = build(q, mail, r, n, retry_until_ms, &b)) == -1)
		rc = MAILQ_IO;
	else
		rc = enqueue(q, mail->msg.from, &b, needs, qid);
	buf_clear(&b);
	if (rc == MAILQ_INVALID) {
		/* It won't get better: rather no report than a message that
		 * can never end. */
		log_event(LOG_WARNING, mail->msg.sid, mail->msg.qid,
		    "bounce-lost", "error=%s", mailq_errtext(q->mq));
		rc = MAILQ_OK;
	}
	return rc;
}

/* ---- mail that is too old ---- */

static bool
is_open(const struct mailq_rcpt *r)
{
	return r->state == MAILQ_WAITING || r->state == MAILQ_DEFERRED;
}

/* Reports about the recipients that are still to be sent. */
static size_t
reports_of(const struct queue *q, const struct mailq_mail *mail, bool expired,
    struct queue_report *out)
{
	const char *why = q->dest.text != NULL ? q->dest.text : "";
	const struct mailq_rcpt *r;
	size_t i, n = 0;

	for (i = 0; i < mail->nrcpt; i++) {
		r = &mail->rcpt[i];
		if (!is_open(r))
			continue;
		out[n++] = (struct queue_report){
			.address = r->address,
			.status = expired ? "5.4.7" : "4.4.7",
			.esc = r->esc,
			/* New mail behind a smarthost that is down. */
			.text = r->attempts > 0 ? r->text : why,
			.mta = r->mta,
			.code = r->code,
			.last_ms = r->last_ms,
		};
	}
	return n;
}

static void
log_expired(const struct mailq_mail *mail, uint64_t bounce)
{
	const struct mailq_msg *m = &mail->msg;
	const struct mailq_rcpt *r;
	char hex[32], delay[32];
	unsigned n = 0;
	size_t i;

	snprintf(delay, sizeof(delay), "%lld",
	    (long long)((queue_now_ms() - m->arrived_ms) / 1000));
	for (i = 0; i < mail->nrcpt; i++) {
		r = &mail->rcpt[i];
		if (!is_open(r))
			continue;
		n++;
		log_event(LOG_INFO, m->sid, m->qid, "failed",
		    "rcpt=%s code=%d esc=%s text=%s mta=%s delay=%s "
		    "attempts=%u",
		    r->address, r->code, "5.4.7", r->text, r->mta, delay,
		    r->attempts);
	}
	snprintf(hex, sizeof(hex), "%013llx", (unsigned long long)bounce);
	if (bounce != 0)
		log_event(LOG_INFO, m->sid, m->qid, "bounce",
		    "bounce=%s to=%s rcpts=%u", hex, m->from, n);
	else
		log_event(LOG_WARNING, m->sid, m->qid, "double-bounce",
		    "rcpts=%u", n);
}

static enum mailq_rc
expire(struct queue *q, const struct mailq_mail *mail, uint64_t *bounce)
{
	struct queue_report *rep = xcalloc(mail->nrcpt, sizeof(*rep));
	struct mailq_rcpt end = { .esc = "5.4.7" };
	enum mailq_rc rc;
	size_t n, i;
	bool done;

	n = reports_of(q, mail, true, rep);
	rc = n > 0 ? queue_bounce(q, mail, rep, n, 0, bounce) : MAILQ_NONE;
	free(rep);
	for (i = 0; i < mail->nrcpt && rc == MAILQ_OK; i++) {
		if (!is_open(&mail->rcpt[i]))
			continue;
		end.n = mail->rcpt[i].n;
		end.code = mail->rcpt[i].code;
		end.text = mail->rcpt[i].text;
		rc = mailq_expire(q->mq, mail->msg.qid, &end);
	}
	if (rc == MAILQ_OK)
		rc = mailq_settle(q->mq, mail->msg.qid, &done);
	return rc;
}

static enum mailq_rc
tell_delay(struct queue *q, const struct mailq_mail *mail, uint64_t *notice)
{
	struct queue_report *rep = xcalloc(mail->nrcpt, sizeof(*rep));
	int64_t until = mail->msg.since_ms + q->setup->conf.bounce_after;
	enum mailq_rc rc = MAILQ_OK;
	size_t n;

	n = reports_of(q, mail, false, rep);
	if (n > 0)
		rc = queue_bounce(q, mail, rep, n, until, notice);
	free(rep);
	if (rc == MAILQ_OK)
		rc = mailq_set_delay_sent(q->mq, mail->msg.qid);
	return rc;
}

static void
log_notice(const struct mailq_mail *mail, uint64_t notice)
{
	char hex[32];

	if (notice == 0)
		return;
	snprintf(hex, sizeof(hex), "%013llx", (unsigned long long)notice);
	log_event(LOG_INFO, mail->msg.sid, mail->msg.qid, "delay-notice",
	    "notice=%s to=%s", hex, mail->msg.from);
}

/* One message, one transaction; what is in flight is left to its result. */
static enum mailq_rc
sweep_one(struct queue *q, uint64_t qid, bool expired)
{
	struct mailq_mail *mail = NULL;
	uint64_t report = 0;
	enum mailq_rc rc;

	if (queue_find_job(q, qid) != NULL)
		return MAILQ_OK;
	if ((rc = mailq_load(q->mq, qid, &mail)) != MAILQ_OK)
		return rc;
	rc = mailq_begin(q->mq);
	if (rc == MAILQ_OK)
		rc = expired ? expire(q, mail, &report)
			     : tell_delay(q, mail, &report);
	if (rc == MAILQ_OK)
		rc = mailq_commit(q->mq);
	else
		mailq_rollback(q->mq);
	if (rc == MAILQ_OK && expired)
		log_expired(mail, report);
	else if (rc == MAILQ_OK)
		log_notice(mail, report);
	mailq_mail_free(&mail);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

/* Returns whether there may be more. */
static bool
sweep(struct queue *q, int64_t age_ms, bool expired)
{
	static uint64_t qid[SWEEP_BATCH];
	enum mailq_rc rc;
	size_t n = 0, i;

	rc = mailq_old(
	    q->mq, 0, queue_now_ms() - age_ms, !expired, qid, SWEEP_BATCH, &n);
	for (i = 0; i < n && rc == MAILQ_OK; i++)
		rc = sweep_one(q, qid[i], expired);
	if (rc != MAILQ_OK)
		log_warn("database", "error=%s", mailq_errtext(q->mq));
	return rc == MAILQ_OK && n == SWEEP_BATCH;
}

int64_t
queue_sweep(struct queue *q)
{
	const struct conf *c = &q->setup->conf;
	int64_t period = c->bounce_after / 16;
	bool more = sweep(q, c->bounce_after, true);

	if (c->delay_notice > 0 && c->delay_notice < c->bounce_after) {
		more |= sweep(q, c->delay_notice, false);
		if (period > c->delay_notice / 16)
			period = c->delay_notice / 16;
	}
	if (more || period < SWEEP_MIN_MS)
		return SWEEP_MIN_MS;
	return period < SWEEP_MAX_MS ? period : SWEEP_MAX_MS;
}
