/*
 * BDAT (RFC 3030 section 2): the message comes in chunks, whose size is told
 * first.
 *
 * The bytes of a chunk are taken whatever becomes of them, before TLS and
 * outside of a transaction, too: else they would be read as commands. For the
 * same reason a BDAT without a size ends the session. Its reply follows the
 * chunk. Once a chunk of a message was refused so are the others, with the same
 * words, until the one with LAST or a RSET; LAST ends the transaction in any
 * case, so that no pipelined command behind it falls into the wrong one.
 */
#include <stdio.h>
#include <string.h>

#include "smtp_int.h"

/* What announces more is no program's chunk: nobody waits for its end. */
#define CHUNK_ABSURD (UINT64_C(1) << 40)

static bool
is_refused(const struct txn *t)
{
	return t->refuse != R_DATA_GO;
}

/* Outside of a transaction. */
static void
end_stray(struct session *s)
{
	s->has_credit = false;
	session_enter(s, ST_COMMAND);
	if (smtp_bdat_passes(s, true))
		session_error(s, R_ORDER_MAIL, NULL);
}

static void
end_message(struct session *s)
{
	struct txn *t = &s->txn;

	dotline_in_end(&t->dots);
	if (!t->header.done && t->dots.bare_cr)
		t->bare_header = true;
	smtp_data_finish(s);
}

/* All bytes of the chunk are here. */
static void
end_chunk(struct session *s)
{
	struct txn *t = &s->txn;
	char size[24];

	if (!s->chunk.in_txn) {
		end_stray(s);
	} else if (s->chunk.last) {
		end_message(s);
	} else if (is_refused(t)) {
		smtp_data_say_refused(s);
	} else {
		snprintf(size, sizeof(size), "%llu",
		    (unsigned long long)s->chunk.size);
		session_reply(s, R_BDAT_OK, size, NULL);
		session_enter(s, ST_COMMAND);
	}
}

/* It is known what becomes of the chunk so far; a large one needs a file. */
void
smtp_bdat_go(struct session *s)
{
	struct txn *t = &s->txn;

	if (s->chunk.in_txn && !is_refused(t) && !t->in_file &&
	    t->out.len + s->chunk.left > BODY_INLINE_MAX) {
		smtp_data_ask_file(s);
		if (!is_refused(t))
			return;
	}
	session_enter(s, ST_CHUNK);
	if (s->chunk.left == 0)
		end_chunk(s);
}

/* What is wrong with the transaction, before its first chunk. */
static void
begin_message(struct session *s)
{
	struct txn *t = &s->txn;

	t->bdat = true;
	t->refuse = R_DATA_GO;
	t->max_size = s->conf->max_message_size;
	if (t->asked == 0)
		smtp_data_refuse(t, R_ORDER_RCPT);
	else if (t->rcpts == 0)
		smtp_data_refuse(t, R_NO_RCPTS);
}

static void
begin_chunk(struct session *s, bool syntax)
{
	struct txn *t = &s->txn;
	bool first = !t->bdat;

	if (first)
		begin_message(s);
	if (syntax)
		smtp_data_refuse(t, R_BDAT_SYNTAX);
	if (t->lost)
		smtp_data_refuse(t, R_QUEUE_DOWN);
	/* neither of the two is near the end of its type */
	if (t->dots.size + s->chunk.size > t->max_size)
		smtp_data_refuse(t, R_TOO_BIG);
	if (first && !is_refused(t)) {
		if (smtp_data_open(s))
			return;
		smtp_data_refuse(t, R_QUEUE_DOWN);
	}
	smtp_bdat_go(s);
}

static void
hang_up(struct session *s)
{
	char limit[24];

	snprintf(limit, sizeof(limit), "%llu",
	    (unsigned long long)s->conf->max_message_size);
	session_reply(s, R_TOO_BIG, limit, NULL);
	session_enter(s, ST_CLOSED);
	s->ops->hangup(s->arg);
}

void
smtp_bdat(struct session *s, const struct arg *a)
{
	enum smtp_chunk_rc rc =
	    smtp_chunk_parse(a->p, a->len, &s->chunk.size, &s->chunk.last);

	s->chunk.left = s->chunk.size;
	s->chunk.in_txn = s->txn.number != 0 && smtp_bdat_passes(s, false);
	if (rc == SMTP_CHUNK_NO_SIZE)
		session_close(s, R_BDAT_NO_SIZE);
	else if (s->chunk.size > CHUNK_ABSURD)
		hang_up(s);
	else if (s->chunk.in_txn)
		begin_chunk(s, rc == SMTP_CHUNK_SYNTAX);
	else
		smtp_bdat_go(s);
}

/* How much of n bytes may be looked at in one go: the header of a binary
 * message is text, where it ends anything goes. */
static size_t
text_of(const struct txn *t, const char *p, size_t n)
{
	const char *lf;

	if (t->body != BODY_BINARYMIME || t->header.done)
		return n;
	lf = memchr(p, '\n', n);
	return lf != NULL ? (size_t)(lf - p) + 1 : n;
}

static size_t
feed(struct session *s, const char *p, size_t n)
{
	struct txn *t = &s->txn;
	const struct dotline_in *d = &t->dots;
	bool header = !t->header.done;

	n = smtp_data_feed(s, p, text_of(t, p, n));
	if (header)
		t->bare_header = d->nul || d->bare_cr || d->bare_lf;
	return n;
}

size_t
smtp_chunk_input(struct session *s, const void *p, size_t len)
{
	size_t n = len < s->chunk.left ? len : (size_t)s->chunk.left;

	if (s->chunk.in_txn && !is_refused(&s->txn))
		n = feed(s, p, n);
	session_earn_credit(s, n);
	s->chunk.left -= n;
	if (s->chunk.in_txn && smtp_headers_wait(s))
		return n;
	if (s->chunk.left == 0)
		end_chunk(s);
	return n;
}
