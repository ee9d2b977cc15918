/*
 * DATA: the message comes, is fixed up (RFC 6409 section 8) and handed to
 * queue.  Up to BODY_INLINE_MAX bytes it is held in memory; beyond that queue
 * gives a file.  Whatever is wrong with a message is told after its end: until
 * then its bytes are taken and dropped.  BDAT (smtp_bdat.c) brings its message
 * here in chunks.
 *
 * Header fields in raw UTF-8, or any other eight-bit text, are accepted with
 * and without SMTPUTF8: programs that know of it ask for it, scripts that do
 * not would lose their mail.  Such a message counts as 8BITMIME, and relay sees
 * in its header what a smarthost without 8BITMIME could not take.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "received.h"
#include "smtp_int.h"
#include "store/utf8.h"

enum {
	FEED = 64 * 1024, /* bytes decoded in one go: bounds the overshoot */
	HOPS_MAX = 100	  /* Received fields: a loop (RFC 5321 6.3) */
};

static void
qid_text(uint64_t qid, char out[24])
{
	snprintf(out, 24, "%013llx", (unsigned long long)qid);
}

bool
smtp_data_open(struct session *s)
{
	struct m_data_open m = { .txn = s->txn.number,
		.rcpts = s->txn.rcpts };

	if (s->txn.lost || !s->ops->to_queue(s->arg, M_DATA_OPEN, &m))
		return false;
	session_enter(s, ST_DATA_WAIT);
	return true;
}

void
smtp_data(struct session *s, const struct arg *a)
{
	(void)a;
	if (s->txn.number == 0)
		session_error(s, R_ORDER_MAIL, NULL);
	else if (s->txn.bdat)
		session_error(s, R_ORDER_BDAT, NULL);
	else if (s->txn.body == BODY_BINARYMIME)
		session_error(s, R_ORDER_BINARY, NULL);
	else if (s->txn.asked == 0)
		session_error(s, R_ORDER_RCPT, NULL);
	else if (s->txn.rcpts == 0)
		session_error(s, R_NO_RCPTS, NULL);
	else if (!smtp_data_open(s)) {
		smtp_txn_end(s);
		session_reply(s, R_QUEUE_DOWN, NULL, NULL);
	}
}

/* ---- fix-ups ---- */

static size_t
date_text(const struct session *s, char *out, size_t size)
{
	int tz;
	int64_t now = s->ops->now_ms(s->arg, &tz);

	return received_date((time_t)(now / 1000), tz, out, size);
}

static void
add_missing(void *arg, struct buf *out)
{
	struct session *s = arg;
	char date[RECEIVED_DATE_MAX], id[MESSAGE_ID_MAX], line[400];
	unsigned char rnd[16];

	if (s->txn.header.count[HEADER_DATE] == 0) {
		date_text(s, date, sizeof(date));
		buf_add(out, line, (size_t)snprintf(line, sizeof(line),
		    "Date: %s\r\n", date));
	}
	if (s->txn.header.count[HEADER_MESSAGE_ID] == 0) {
		s->ops->random(s->arg, rnd, sizeof(rnd));
		message_id_make(rnd, sizeof(rnd), s->conf->hostname, id,
		    sizeof(id));
		buf_add(out, line, (size_t)snprintf(line, sizeof(line),
		    "Message-ID: %s\r\n", id));
	}
	smtp_headers_end(s, out);
}

static const struct header_ops fixups = {
	.field = smtp_headers_field,
	.end = add_missing,
};

static void
add_received(struct session *s)
{
	char text[RECEIVED_MAX], date[RECEIVED_DATE_MAX], id[24], priority[8];
	struct received r = { .ehlo = str_of(s->helo),
		.host = s->conf->hostname,
		.id = id,
		.date = date,
		.client_name = str_of(s->client->name),
		.client_addr = s->client->addr,
		.login = str_of(s->user),
		.trace_client = s->conf->trace_client,
		.esmtp = s->esmtp,
		.tls = s->tls,
		.auth = s->user != NULL,
		.utf8 = s->txn.utf8,
		.priority = s->txn.has_priority ? priority : NULL,
		.tls_cipher = str_of(s->tls_info.cipher) };

	qid_text(s->txn.qid, id);
	date_text(s, date, sizeof(date));
	snprintf(priority, sizeof(priority), "%d",
	    s->txn.priority - PRIORITY_NORMAL);
	buf_add(&s->txn.out, text, received_make(&r, text, sizeof(text)));
}

/* ---- receiving ---- */

static void
begin_message(struct session *s, const struct m_data_ready *m)
{
	struct txn *t = &s->txn;
	bool normalize = s->conf->normalize_newlines;

	t->qid = m->qid;
	t->max_size = s->conf->max_message_size;
	if (m->max_size > 0 && m->max_size < t->max_size)
		t->max_size = m->max_size;
	t->refuse = R_DATA_GO;
	if (t->bdat)
		dotline_in_init_chunks(
		    &t->dots, normalize && t->body != BODY_BINARYMIME);
	else
		dotline_in_init(&t->dots, normalize);
	header_init(&t->header, &fixups, s, s->conf->hostname, 0);
	if (s->conf->digests)
		t->digest = digest_new();
	add_received(s);
}

/* The first chunk has been announced; it may be more than this sender may send.
 * A refusal is told behind the chunk, with its argument. */
static void
chunk_ready(struct session *s, const struct m_data_ready *m)
{
	struct txn *t = &s->txn;

	if (m->reply != R_DATA_GO) {
		str_set(&t->refuse_text, m->text);
		smtp_data_refuse(t, (enum smtp_reply)m->reply);
	} else if (s->chunk.size > t->max_size)
		smtp_data_refuse(t, R_TOO_BIG);
	smtp_bdat_go(s);
}

void
smtp_data_ready(struct session *s, const struct m_data_ready *m)
{
	struct txn *t = &s->txn;
	bool go = m->reply == R_DATA_GO;

	if (m->txn != t->number)
		return;
	if (go)
		begin_message(s, m);
	if (t->bdat) {
		chunk_ready(s, m);
		return;
	}
	if (!go)
		smtp_txn_end(s);
	session_reply(s, (enum smtp_reply)m->reply, m->text, NULL);
	session_enter(s, go ? ST_DATA : ST_COMMAND);
}

void
smtp_data_refuse(struct txn *t, enum smtp_reply why)
{
	if (t->refuse == R_DATA_GO)
		t->refuse = why;
	buf_clear(&t->out);
}

static void
take_decoded(void *arg, const void *data, size_t len)
{
	struct session *s = arg;
	struct txn *t = &s->txn;
	size_t used = 0;

	if (t->refuse != R_DATA_GO)
		return;
	if (t->dots.size > t->max_size) {
		smtp_data_refuse(t, R_TOO_BIG);
		return;
	}
	if (t->digest != NULL)
		digest_add(t->digest, data, len);
	if (!t->eightbit)
		t->eightbit = !utf8_is_ascii(data, len);
	if (!t->header.done) {
		used = header_feed(&t->header, data, len, &t->out);
		if (t->header.too_big) {
			smtp_data_refuse(t, R_HEADER_TOO_BIG);
			return;
		}
	}
	buf_add(&t->out, (const char *)data + used, len - used);
}

static void
flush_file(struct session *s)
{
	struct txn *t = &s->txn;

	if (!t->in_file || t->refuse != R_DATA_GO || t->out.len == 0 ||
	    !t->headers_known)
		return;
	if (s->ops->body_write(s->arg, buf_head(&t->out), t->out.len) == -1) {
		smtp_data_refuse(t, R_NO_SPACE);
		return;
	}
	t->written += t->out.len;
	buf_drop(&t->out, t->out.len);
}

void
smtp_data_ask_file(struct session *s)
{
	struct m_txn m = { .txn = s->txn.number };

	if (s->ops->to_queue(s->arg, M_BODY_FILE, &m))
		session_enter(s, ST_FILE_WAIT);
	else
		smtp_data_refuse(&s->txn, R_QUEUE_DOWN);
}

void
smtp_data_say_refused(struct session *s)
{
	struct txn *t = &s->txn;
	int code =
	    t->refuse_code != 0 ? t->refuse_code : smtp_reply_code(t->refuse);
	unsigned long long limit =
	    t->refuse == R_HEADER_TOO_BIG ? HEADER_LIMIT : t->max_size;
	bool counts = !t->told && code >= 500;
	char number[24];

	snprintf(number, sizeof(number), "%llu", limit);
	t->told = true;
	if (t->refuse_code != 0)
		session_custom(
		    s, code, str_of(t->refuse_more), str_of(t->refuse_text));
	else
		session_reply(s, t->refuse,
		    t->refuse_text != NULL ? t->refuse_text : number,
		    str_of(t->refuse_more));
	if (t->complete)
		smtp_txn_end(s);
	session_enter(s, ST_COMMAND);
	if (counts)
		session_count_error(s);
}

/* Line ends that are none, and NULs; of a binary message in its header. */
static bool
has_bare(const struct dotline_in *d)
{
	return d->nul || d->bare_cr || (d->bare_lf && !d->normalize);
}

/* What is wrong with the whole message, if anything. */
static void
judge(struct session *s)
{
	struct txn *t = &s->txn;
	bool binary = t->body == BODY_BINARYMIME;

	if (t->dots.size > t->max_size)
		smtp_data_refuse(t, R_TOO_BIG);
	else if (binary ? t->bare_header : has_bare(&t->dots))
		smtp_data_refuse(t,
		    t->dots.nul           ? R_NUL
			: t->dots.bare_cr ? R_BARE_CR
					  : R_BARE_LF);
	else if (t->dots.long_line && s->conf->reject_long_lines && !binary)
		smtp_data_refuse(t, R_LONG_LINE);
	else if (t->header.broken)
		smtp_data_refuse(t, R_HEADER_BROKEN);
	else if (t->header.count[HEADER_RECEIVED] > HOPS_MAX)
		smtp_data_refuse(t, R_HOPS);
}

/* Auth refused the authors while the message came. What is wrong with its form
 * is told instead, as if all had come in one piece: the reply must not depend
 * on how the bytes were cut. */
static void
judge_refused(struct session *s)
{
	struct txn *t = &s->txn;
	enum smtp_reply why = t->refuse;

	t->refuse = R_DATA_GO;
	judge(s);
	if (t->refuse == R_DATA_GO) {
		t->refuse = why;
		return;
	}
	t->refuse_code = 0;
	free(t->refuse_text);
	free(t->refuse_more);
	t->refuse_text = t->refuse_more = NULL;
}

/* What the message holds, whatever was declared. */
static enum body_kind
kind_of(const struct txn *t)
{
	if (t->body == BODY_BINARYMIME &&
	    (has_bare(&t->dots) || t->dots.long_line))
		return BODY_BINARYMIME;
	return t->eightbit ? BODY_8BITMIME : BODY_7BIT;
}

static void
submit(struct session *s)
{
	struct txn *t = &s->txn;
	struct m_submit m = { .txn = t->number,
		.body_kind = kind_of(t),
		.in_file = t->in_file,
		.has_id = t->header.count[HEADER_MESSAGE_ID] > 0,
		.own_author = t->own_author };
	unsigned char digest[DIGEST_LEN];

	if (t->digest != NULL) {
		digest_end(&t->digest, digest);
		m.digest = (struct blob){ digest, sizeof(digest) };
	}
	flush_file(s);
	if (t->in_file && t->refuse == R_DATA_GO &&
	    s->ops->body_sync(s->arg) == -1)
		smtp_data_refuse(t, R_NO_SPACE);
	if (t->refuse == R_DATA_GO) {
		m.size = t->written + t->out.len;
		m.body.p = buf_head(&t->out);
		m.body.len = t->out.len;
		if (!s->ops->to_queue(s->arg, M_SUBMIT, &m))
			smtp_data_refuse(t, R_QUEUE_DOWN);
	}
	if (t->refuse != R_DATA_GO)
		smtp_data_say_refused(s);
	else
		session_enter(s, ST_SUBMIT_WAIT);
}

/* All has come, and is known: keep it. */
static void
store(struct session *s)
{
	struct txn *t = &s->txn;

	if (t->refuse == R_DATA_GO && !t->in_file &&
	    t->out.len > BODY_INLINE_MAX) {
		smtp_data_ask_file(s);
		if (t->refuse == R_DATA_GO)
			return;
	}
	if (t->refuse != R_DATA_GO)
		smtp_data_say_refused(s);
	else
		submit(s);
}

void
smtp_data_finish(struct session *s)
{
	struct txn *t = &s->txn;

	t->complete = true;
	if (t->refuse == R_DATA_GO) {
		header_finish(&t->header, &t->out);
		judge(s);
	} else if (t->refuse_authors && !t->bdat) /* BDAT has told it */
		judge_refused(s);
	if (!smtp_headers_wait(s))
		store(s);
}

size_t
smtp_data_feed(struct session *s, const void *p, size_t len)
{
	struct txn *t = &s->txn;
	size_t n;

	n = dotline_in_feed(&t->dots, p, len < FEED ? len : FEED, take_decoded,
	    s);
	if (t->in_file && t->out.len >= FEED)
		flush_file(s);
	return n;
}

size_t
smtp_data_input(struct session *s, const void *p, size_t len)
{
	struct txn *t = &s->txn;
	size_t n = smtp_data_feed(s, p, len);

	if (t->dots.done)
		smtp_data_finish(s);
	else if (!smtp_headers_wait(s) && t->headers_known && !t->in_file &&
	    t->out.len > BODY_INLINE_MAX)
		smtp_data_ask_file(s);
	return n;
}

void
smtp_data_go_on(struct session *s)
{
	if (s->txn.complete)
		store(s);
	else if (s->txn.bdat)
		smtp_bdat_go(s);
	else
		session_enter(s, ST_DATA);
}

void
smtp_data_file(struct session *s, const struct m_txn *m)
{
	struct txn *t = &s->txn;

	if (m->txn != t->number)
		return;
	t->in_file = true;
	flush_file(s);
	smtp_data_go_on(s);
}

/* Queue has no file for the body: the transaction is over with its reply, the
 * rest of the message is only consumed. */
void
smtp_data_no_file(struct session *s, const struct m_submitted *m)
{
	struct txn *t = &s->txn;

	if (m->txn != t->number)
		return;
	t->qid = 0; /* nothing is left to abort */
	smtp_data_refuse(t, (enum smtp_reply)m->reply);
	smtp_data_go_on(s);
}

void
smtp_data_submitted(struct session *s, const struct m_submitted *m)
{
	char id[24];

	if (m->txn != s->txn.number)
		return;
	qid_text(m->qid, id);
	s->txn.qid = 0; /* nothing is left to abort */
	smtp_txn_end(s);
	if (m->reply == R_QUEUED)
		s->messages++;
	session_reply(s, (enum smtp_reply)m->reply, id, NULL);
	session_enter(s, ST_COMMAND);
}

void
smtp_data_queue_gone(struct session *s)
{
	struct txn *t = &s->txn;

	switch (s->state) {
	case ST_DATA_WAIT:
		if (t->bdat) {
			smtp_data_refuse(t, R_QUEUE_DOWN);
			smtp_data_go_on(s);
			break;
		}
		/* fall through */
	case ST_SUBMIT_WAIT:
		smtp_txn_end(s);
		session_reply(s, R_QUEUE_DOWN, NULL, NULL);
		session_enter(s, ST_COMMAND);
		break;
	case ST_DATA:
	case ST_CHUNK:
	case ST_HEADERS_WAIT:
		smtp_data_refuse(t, R_QUEUE_DOWN);
		break;
	case ST_FILE_WAIT:
		smtp_data_refuse(t, R_QUEUE_DOWN);
		smtp_data_go_on(s);
		break;
	default:
		break; /* DATA or BDAT will be refused */
	}
}
