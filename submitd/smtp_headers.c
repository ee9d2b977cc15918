/*
 * Whom a message names as its authors: what the server demands of them is told
 * with the answer to MAIL, and auth is asked about them when the header is
 * over, unless they all are the sender of the envelope, which auth knows.
 *
 * Until it has answered nothing of the message goes into a file, so that the
 * Sender can still be changed.  A refusal is told after the end of the message
 * as any other.
 */
#include <stdio.h>
#include <string.h>

#include "smtp_int.h"
#include "store/utf8.h"

bool
smtp_headers_field(void *arg, const struct header_field *f)
{
	struct session *s = arg;

	if (s->txn.from_header != POLICY_FROM_OFF)
		authors_add(&s->txn.authors, f);
	return true;
}

/* A message without an author is the sender's. */
void
smtp_headers_end(struct session *s, struct buf *out)
{
	struct txn *t = &s->txn;
	struct header_field f = { .id = HEADER_FROM };
	char line[MAILBOX_ADDRESS_MAX + 16];
	const char *from = str_of(t->from);
	int n;

	if (t->header.count[HEADER_FROM] == 0 && from[0] != '\0') {
		n = snprintf(line, sizeof(line), "From: %s\r\n", from);
		buf_add(out, line, (size_t)n);
		t->eightbit |= !utf8_is_ascii_text(from);
		f.value = line + strlen("From:");
		f.value_len = (size_t)n - strlen("From:");
		smtp_headers_field(s, &f);
	}
	if (t->from_header != POLICY_FROM_OFF)
		authors_end(&t->authors);
	t->header_end = out->len;
}

bool
smtp_headers_wait(struct session *s)
{
	struct txn *t = &s->txn;
	struct m_headers m = { .txn = t->number };

	if (t->refuse != R_DATA_GO || !t->header.done || t->headers_known)
		return false;
	t->own_author = authors_are(&t->authors, str_of(t->from));
	/* what has a broken header is refused anyhow */
	if (t->from_header == POLICY_FROM_OFF || t->own_author ||
	    t->header.broken) {
		t->headers_known = true;
		return false;
	}
	m.authors.p = buf_head(&t->authors.list);
	m.authors.len = t->authors.list.len;
	if (!s->ops->to_auth(s->arg, M_HEADERS, &m)) {
		smtp_data_refuse(t, R_AUTH_DOWN);
		return false;
	}
	session_enter(s, ST_HEADERS_WAIT);
	return true;
}

static bool
is_no_sender(void *arg, const struct header_field *f)
{
	(void)arg;
	return f->id != HEADER_SENDER;
}

/* Puts a Sender in the place of what is there. */
static void
replace_sender(struct session *s, const char *sender)
{
	static const struct header_ops ops = { .field = is_no_sender };
	struct txn *t = &s->txn;
	const unsigned char *old = buf_head(&t->out);
	struct buf out = { 0 };
	struct header h;
	char line[MAILBOX_ADDRESS_MAX + 16];

	header_init(&h, &ops, NULL, s->conf->hostname, t->header_end);
	header_feed(&h, old, t->header_end, &out);
	header_finish(&h, &out);
	buf_add(&out, line,
	    (size_t)snprintf(line, sizeof(line), "Sender: %s\r\n", sender));
	buf_add(&out, old + t->header_end, t->out.len - t->header_end);
	buf_clear(&t->out);
	t->out = out;
	t->eightbit |= !utf8_is_ascii_text(sender);
}

static void
refuse(struct txn *t, const struct m_verdict *m)
{
	str_set(&t->refuse_text, m->text);
	str_set(&t->refuse_more, m->code == 0 ? m->more : m->esc);
	t->refuse_code = m->code;
	t->refuse_authors = true;
	smtp_data_refuse(t, (enum smtp_reply)m->reply);
}

void
smtp_headers_verdict(struct session *s, const struct m_verdict *m)
{
	struct txn *t = &s->txn;

	if (m->txn != t->number || m->on != VERDICT_HEADERS)
		return;
	t->headers_known = true;
	if (t->refuse == R_DATA_GO && !m->allow)
		refuse(t, m);
	else if (t->refuse == R_DATA_GO && m->more[0] != '\0')
		replace_sender(s, m->more);
	smtp_data_go_on(s);
}

void
smtp_headers_auth_gone(struct session *s)
{
	smtp_data_refuse(&s->txn, R_AUTH_DOWN);
	smtp_data_go_on(s);
}
