/*
 * What becomes of a message that the smarthost doesn't take as it is.
 *
 * The body is converted where 8BITMIME or BINARYMIME is missing (mime7bit.h).
 * Where SMTPUTF8 is missing, addresses get A-labels; a local part or a header
 * field that is not ASCII can't be helped, and smtp_client.c refuses it.  The
 * body is read to the end only if one of these is missing, or if the sender
 * said SMTPUTF8: whether he meant it is for the header to tell (RFC 6531
 * section 3.4).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idn.h"
#include "mime7bit.h"
#include "relay.h"
#include "store/utf8.h"

static void
set_text(char **p, char *text)
{
	free(*p);
	*p = text;
}

/* ---- the body ---- */

/* What it holds: its bytes, where they are at hand, know best. */
static enum body_kind
kind_of(const struct relay_job *j)
{
	if (j->fd != -1 || j->opt.body == BODY_BINARYMIME)
		return (enum body_kind)j->opt.body;
	return utf8_is_ascii(buf_head(&j->body), j->body.len) ? BODY_7BIT
							      : BODY_8BITMIME;
}

static bool
takes(unsigned offers, enum body_kind kind)
{
	const unsigned binary = SMTP_OFFERS_BINARYMIME | SMTP_OFFERS_CHUNKING;

	return kind == BODY_7BIT ||
	    (kind == BODY_8BITMIME && (offers & SMTP_OFFERS_8BITMIME) != 0) ||
	    (kind == BODY_BINARYMIME && (offers & binary) == binary);
}

/* Once for a message.  -1: it can't be read. */
static int
scan(struct relay_job *j, const char **why)
{
	struct mime7 *m;
	const void *p;
	ssize_t n;

	if (j->fit.mime != NULL)
		return 0;
	m = mime7_new();
	j->off = 0;
	while ((n = relay_job_read(j, &p, why)) > 0)
		mime7_scan(m, p, (size_t)n);
	j->off = 0;
	if (n == -1) {
		mime7_free(&m);
		return -1;
	}
	mime7_scan_end(m);
	j->fit.mime = m;
	return 0;
}

/* The size of what it is converted to. */
static int
measure(struct relay_job *j, const char **why)
{
	const void *p;
	ssize_t n;

	j->fit.size = 0;
	relay_fit_rewind(j);
	while ((n = relay_fit_read(j, &p, why)) > 0)
		j->fit.size += (uint64_t)n;
	relay_fit_rewind(j);
	return n == -1 ? -1 : 0;
}

/* Sent to a target that lacks something, without any change. */
static enum body_kind
kind_as_is(const struct relay_job *j, enum mime7_target t)
{
	const char *why;

	if (t == MIME7_7BIT ||
	    mime7_judge(j->fit.mime, MIME7_7BIT, false, &why) == MIME7_AS_IS)
		return BODY_7BIT;
	return BODY_8BITMIME;
}

static enum relay_fit_rc
fit_body(struct relay_job *j, unsigned offers, enum body_kind kind,
    const char **esc, char *text, size_t size)
{
	bool binary = kind == BODY_BINARYMIME;
	enum mime7_target t =
	    (offers & SMTP_OFFERS_8BITMIME) != 0 ? MIME7_8BIT : MIME7_7BIT;
	const char *why = "";

	switch (mime7_judge(j->fit.mime, t, binary, &why)) {
	case MIME7_AS_IS:
		j->fit.body = kind_as_is(j, t);
		return RELAY_FITS;
	case MIME7_CONVERT:
		j->fit.body = t == MIME7_7BIT ? BODY_7BIT : BODY_8BITMIME;
		j->fit.convert = true;
		j->fit.target = t;
		if (measure(j, &why) == 0)
			return RELAY_FITS;
		snprintf(text, size, "%s", why);
		return RELAY_UNREADABLE;
	default:
		*esc = binary ? "5.6.1" : "5.6.3";
		snprintf(text, size,
		    "the message holds %s, which the smarthost does not take "
		    "(it does not offer %s) and which cannot be converted: %s",
		    binary ? "binary data" : "8-bit text",
		    binary ? "BINARYMIME" : "8BITMIME", why);
		return RELAY_CANNOT;
	}
}

/* ---- addresses ---- */

/* ORCPT of a recipient that is said in another form (RFC 3461 section 5.2.1,
 * RFC 6533 section 3).  UTF-8 in it is written as the smarthost takes it. */
static char *
orcpt_of(const char *to)
{
	struct buf b = { 0 };
	char hex[8];
	char *s;

	buf_add(&b, "utf-8;", 6);
	for (; *to != '\0'; to++) {
		if (strchr(" +=\\", *to) == NULL) {
			buf_add(&b, to, 1);
			continue;
		}
		snprintf(hex, sizeof(hex), "\\x{%02X}", (unsigned char)*to);
		buf_add(&b, hex, strlen(hex));
	}
	s = xstrndup((const char *)buf_head(&b), b.len);
	buf_clear(&b);
	return s;
}

static char *
ascii_of(const char *mailbox)
{
	char out[IDN_MAILBOX_MAX + 1];

	if (utf8_is_ascii_text(mailbox) || !idn_mailbox(mailbox, out))
		return NULL;
	return xstrdup(out);
}

/* With A-labels, where that is enough. */
static void
use_ascii(struct relay_job *j)
{
	struct relay_rcpt *r;

	set_text(&j->fit.from, ascii_of(j->from));
	for (r = j->rcpt; r < j->rcpt + j->rcpts; r++) {
		set_text(&r->ascii, ascii_of(r->to));
		set_text(
		    &r->ascii_orcpt, r->ascii != NULL ? orcpt_of(r->to) : NULL);
	}
}

static void
use_as_is(struct relay_job *j)
{
	struct relay_rcpt *r;

	set_text(&j->fit.from, NULL);
	for (r = j->rcpt; r < j->rcpt + j->rcpts; r++) {
		set_text(&r->ascii, NULL);
		set_text(&r->ascii_orcpt, NULL);
	}
}

static bool
has_utf8_address(const struct relay_job *j)
{
	const struct relay_rcpt *r;

	if (!utf8_is_ascii_text(j->from))
		return true;
	for (r = j->rcpt; r < j->rcpt + j->rcpts; r++)
		if (!utf8_is_ascii_text(r->to))
			return true;
	return false;
}

static int
fit_addresses(struct relay_job *j, unsigned offers, const char **why)
{
	if ((offers & SMTP_OFFERS_SMTPUTF8) != 0) {
		use_as_is(j);
		if (has_utf8_address(j)) {
			j->fit.utf8 = true;
			return 0;
		}
	} else {
		use_ascii(j);
	}
	if (scan(j, why) == -1)
		return -1;
	j->fit.utf8 = mime7_has_utf8_header(j->fit.mime);
	return 0;
}

/* ---- both ---- */

enum relay_fit_rc
relay_fit(struct relay_job *j, unsigned offers, const char **esc, char *text,
    size_t size)
{
	enum body_kind kind = kind_of(j);
	const char *why = "";

	j->fit.offers = offers;
	j->fit.body = kind;
	j->fit.size = j->size;
	j->fit.convert = j->fit.utf8 = false;
	relay_fit_rewind(j);
	if ((j->opt.utf8 && fit_addresses(j, offers, &why) == -1) ||
	    (!takes(offers, kind) && scan(j, &why) == -1)) {
		snprintf(text, size, "%s", why);
		return RELAY_UNREADABLE;
	}
	if (takes(offers, kind))
		return RELAY_FITS;
	return fit_body(j, offers, kind, esc, text, size);
}

const char *
relay_fit_to(const struct relay_rcpt *r)
{
	return r->ascii != NULL ? r->ascii : r->to;
}

void
relay_fit_rewind(struct relay_job *j)
{
	j->off = 0;
	j->fit.ended = false;
	buf_drop(&j->fit.pieces, j->fit.pieces.len);
	if (j->fit.convert)
		mime7_begin(j->fit.mime, (enum mime7_target)j->fit.target);
}

ssize_t
relay_fit_read(struct relay_job *j, const void **p, const char **why)
{
	struct relay_fit *f = &j->fit;
	ssize_t n;

	if (!f->convert)
		return relay_job_read(j, p, why);
	buf_drop(&f->pieces, f->pieces.len);
	while (f->pieces.len == 0 && !f->ended) {
		if ((n = relay_job_read(j, p, why)) == -1)
			return -1;
		if (n > 0)
			mime7_convert(f->mime, *p, (size_t)n, &f->pieces);
		else
			mime7_convert_end(f->mime, &f->pieces);
		f->ended = n == 0;
	}
	*p = buf_head(&f->pieces);
	return (ssize_t)f->pieces.len;
}

void
relay_fit_clear(struct relay_job *j)
{
	use_as_is(j);
	mime7_free(&j->fit.mime);
	buf_clear(&j->fit.pieces);
}
