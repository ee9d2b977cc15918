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
#include "smtp_param.h"

enum {
	HEADER_MAX = 64 * 1024, /* of the original, in a report */
	FULL_MAX = 1024 * 1024, /* an original that RET=FULL returns */
	SWEEP_BATCH = 256,
	SWEEP_MIN_MS = 100,
	SWEEP_MAX_MS = 60 * 1000,
	LATE_MS = 1000, /* it is late, but in flight */
	HEX_BYTES = 16
};

/* ---- the text of a report ---- */

struct texts { /* what a struct dsn borrows */
	char from[320 + 16];
	char date[RECEIVED_DATE_MAX], arrival[RECEIVED_DATE_MAX];
	char last[RECEIVED_DATE_MAX], until[RECEIVED_DATE_MAX];
	char message_id[MESSAGE_ID_MAX], boundary[2 * HEX_BYTES + 1];
	char queue_id[32];
	char envid[ENVID_MAX + 1];
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

/* "type;address" of an ORCPT; free it.  NULL if there is none. */
static char *
original_of(const struct queue_report *r)
{
	char text[ORCPT_MAX + 1];

	if (r->orcpt == NULL || r->orcpt[0] == '\0' ||
	    smtp_orcpt_decode(
		r->orcpt, strlen(r->orcpt), true, text, sizeof(text)) == -1)
		return NULL;
	return xstrdup(text);
}

static void
fill_rcpt(
    struct dsn_rcpt *d, const struct queue_report *r, const struct texts *t)
{
	*d = (struct dsn_rcpt){
		.final = r->address,
		.original = original_of(r),
		.action = r->action,
		.status = r->status,
		.remote_mta = host_of(r->mta),
		.diagnostic = reply_of(r),
		.reason = reason_of(r),
		.last_attempt = r->last_ms != 0 ? t->last : NULL,
		.retry_until = r->action == DSN_DELAYED ? t->until : NULL,
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
	if (smtp_xtext_decode(or_empty(mail->msg.opt.envid),
		strlen(or_empty(mail->msg.opt.envid)), t->envid,
		sizeof(t->envid)) == -1)
		t->envid[0] = '\0';
	return 0;
}

/* RET=FULL is about failures only (RFC 3461 section 4.3).  What must not go
 * without TLS is not repeated (RFC 8689 section 5), and binary data would need
 * a way of its own. */
static bool
is_full(const struct mailq_msg *m, const struct queue_report *r, size_t n)
{
	size_t i;

	if (m->opt.ret != RET_FULL || m->opt.require_tls ||
	    m->opt.body == BODY_BINARYMIME || m->size > FULL_MAX)
		return false;
	for (i = 0; i < n; i++)
		if (r[i].action == DSN_FAILED)
			return true;
	return false;
}

/* The original, or its header, for the report; a report without it is better
 * than none. */
static char *
read_original(struct queue *q, const struct mailq_msg *m, struct dsn *d)
{
	size_t max = d->full ? (size_t)m->size : HEADER_MAX, len = 0;
	char *p = xmalloc(max > 0 ? max : 1);

	if (mailq_body_read(q->mq, m, p, max, &len) != MAILQ_OK)
		len = 0;
	d->original = p;
	d->original_len = d->full ? len : header_len(p, len);
	return p;
}

/* Appends the report to out; its DSN_NEEDS flags, or -1. */
static int
build(struct queue *q, const struct mailq_mail *mail,
    const struct queue_report *r, size_t n, int64_t until_ms, struct buf *out)
{
	struct texts t;
	struct dsn d = { .nrcpt = n };
	struct dsn_rcpt *rcpt;
	char *original;
	size_t i;
	int needs;

	if (fill_texts(q, mail, r, until_ms, &t) == -1)
		return -1;
	d.full = is_full(&mail->msg, r, n);
	d.utf8 = mail->msg.opt.utf8;
	original = read_original(q, &mail->msg, &d);
	rcpt = xcalloc(n, sizeof(*rcpt));
	for (i = 0; i < n; i++)
		fill_rcpt(&rcpt[i], &r[i], &t);
	d.host = q->setup->conf.hostname;
	d.to = mail->msg.from;
	d.from = d.contact = t.from;
	d.date = t.date;
	d.message_id = t.message_id;
	d.boundary = t.boundary;
	d.arrival = t.arrival;
	d.queue_id = t.queue_id;
	d.envid = t.envid[0] != '\0' ? t.envid : NULL;
	d.rcpt = rcpt;
	needs = (int)dsn_build(&d, out);
	for (i = 0; i < n; i++) {
		drop(rcpt[i].original);
		drop(rcpt[i].remote_mta);
		drop(rcpt[i].diagnostic);
	}
	free(rcpt);
	free(original);
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
enqueue(struct queue *q, const struct mailq_msg *about, const struct buf *b,
    int needs, uint64_t *qid)
{
	int64_t now = queue_now_ms();
	struct mailq_msg m = {
		.qid = queue_new_qid(q),
		.user = "",
		.how = "bounce",
		.client_addr = "",
		.from = "",
		.opt.priority = PRIORITY_NORMAL,
		.opt.utf8 = (needs & DSN_NEEDS_UTF8) != 0,
		.opt.require_tls = about->opt.require_tls,
		.opt.body =
		    (needs & DSN_NEEDS_8BIT) != 0 ? BODY_8BITMIME : BODY_7BIT,
		.in_file = b->len > BODY_INLINE_MAX,
		.size = b->len,
		.arrived_ms = now,
		.since_ms = now,
	};
	struct mailq_rcpt r = {
		.address = about->from,
		.state = MAILQ_WAITING,
		.next_ms = now,
		.opt.notify = NOTIFY_NEVER,
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
		rc = enqueue(q, &mail->msg, &b, needs, qid);
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

bool
queue_wants(const struct rcpt_options *o, enum dsn_action action)
{
	unsigned bit = action == DSN_FAILED ? NOTIFY_FAILURE : NOTIFY_DELAY;

	return o->notify == 0 || (o->notify & bit) != 0;
}

/* Reports about the recipients that are still to be sent. */
static size_t
reports_of(const struct queue *q, const struct mailq_mail *mail,
    enum dsn_action action, struct queue_report *out)
{
	const char *why = q->dest.text != NULL ? q->dest.text : "";
	const struct mailq_rcpt *r;
	size_t i, n = 0;

	for (i = 0; i < mail->nrcpt; i++) {
		r = &mail->rcpt[i];
		if (!is_open(r) || !queue_wants(&r->opt, action))
			continue;
		out[n++] = (struct queue_report){
			.address = r->address,
			.orcpt = r->opt.orcpt,
			.action = action,
			.status = action == DSN_FAILED ? "5.4.7" : "4.4.7",
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
	else if (m->from[0] == '\0')
		log_event(LOG_WARNING, m->sid, m->qid, "double-bounce",
		    "rcpts=%u", n);
}

static enum mailq_rc
expire(struct queue *q, const struct mailq_mail *mail, uint64_t *bounce)
{
	struct queue_report *rep = xcalloc(mail->nrcpt, sizeof(*rep));
	struct mailq_rcpt end = { .esc = "5.4.7" };
	enum mailq_rc rc = MAILQ_OK;
	size_t n, i;
	bool done;

	n = reports_of(q, mail, DSN_FAILED, rep);
	if (n > 0)
		rc = queue_bounce(q, mail, rep, n, 0, bounce);
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

	n = reports_of(q, mail, DSN_DELAYED, rep);
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

enum age { EXPIRED, DELAYED, LATE /* by the time that the sender gave */ };

/* One message, one transaction; what is in flight is left to its result. */
static enum mailq_rc
sweep_one(struct queue *q, uint64_t qid, enum age age)
{
	struct mailq_mail *mail = NULL;
	uint64_t report = 0;
	enum mailq_rc rc;
	bool expired;

	if (queue_find_job(q, qid) != NULL)
		return MAILQ_OK;
	if ((rc = mailq_load(q->mq, qid, &mail)) != MAILQ_OK)
		return rc;
	expired = age == EXPIRED ||
	    (age == LATE && mail->msg.opt.by_mode == BY_RETURN);
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
sweep(struct queue *q, int64_t before_ms, enum age age)
{
	static uint64_t qid[SWEEP_BATCH];
	enum mailq_rc rc;
	size_t n = 0, i;

	if (age == LATE)
		rc = mailq_late(q->mq, before_ms, qid, SWEEP_BATCH, &n);
	else
		rc = mailq_old(
		    q->mq, 0, before_ms, age == DELAYED, qid, SWEEP_BATCH, &n);
	for (i = 0; i < n && rc == MAILQ_OK; i++)
		rc = sweep_one(q, qid[i], age);
	if (rc != MAILQ_OK)
		log_warn("database", "error=%s", mailq_errtext(q->mq));
	return rc == MAILQ_OK && n == SWEEP_BATCH;
}

/* At the latest: the next time for delivery ends. */
static int64_t
until_late(struct queue *q, int64_t now, int64_t ms)
{
	int64_t at;

	if (mailq_next_late(q->mq, &at) != MAILQ_OK || at == INT64_MAX)
		return ms;
	at = at > now ? at - now : LATE_MS;
	return at < ms ? at : ms;
}

static int64_t
sweep_all(struct queue *q, int64_t now)
{
	const struct conf *c = &q->setup->conf;
	int64_t period = c->bounce_after / 16;
	bool more = sweep(q, now - c->bounce_after, EXPIRED);

	more |= sweep(q, now, LATE);
	if (c->delay_notice > 0 && c->delay_notice < c->bounce_after) {
		more |= sweep(q, now - c->delay_notice, DELAYED);
		if (period > c->delay_notice / 16)
			period = c->delay_notice / 16;
	}
	if (more || period < SWEEP_MIN_MS)
		return SWEEP_MIN_MS;
	return period < SWEEP_MAX_MS ? period : SWEEP_MAX_MS;
}

int64_t
queue_sweep(struct queue *q)
{
	int64_t now = queue_now_ms();
	int64_t ms = until_late(q, now, sweep_all(q, now));

	q->sweep_ms = now + ms;
	return ms;
}

void
queue_sweep_by(struct queue *q, int64_t by_ms)
{
	int64_t now = queue_now_ms();

	if (by_ms >= q->sweep_ms)
		return;
	q->sweep_ms = by_ms > now ? by_ms : now;
	queue_arm(q->ev_sweep, q->sweep_ms - now);
}
