/*
 * Delivery status notifications. Text from elsewhere enters only through
 * clean(), which leaves neither control characters nor broken UTF-8.
 */
#include "dsn.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "smtp_reply.h"
#include "store/utf8.h"

enum {
	WRAP = 72,         /* where lines are folded at a blank */
	QP_LINE = 76,      /* RFC 2045 6.7 */
	WORD_MAX = 900,    /* where a word without blanks is broken */
	LINE_LIMIT = 998,  /* RFC 5322 2.1.1 */
	TEXT_MAX = 4096,   /* bytes of one string that are shown */
	ADDRESS_MAX = 900, /* the same for an address, which is not folded */
	BOUNDARY_MAX = 60,
};

/* What becomes of characters that are not ASCII. */
enum charset {
	ASCII, /* '?' */
	UTF8,  /* they stay */
	XTEXT, /* "\x{HEX}", RFC 6533 3; some of ASCII, too */
};

/* Adds strings up to a NULL. */
__attribute__((sentinel)) static void
add(struct buf *out, const char *s, ...)
{
	va_list ap;

	va_start(ap, s);
	for (; s != NULL; s = va_arg(ap, const char *))
		buf_add(out, s, strlen(s));
	va_end(ap);
}

/* Adds s, cleaned; what would go beyond max bytes is cut. */
static void
clean(struct buf *out, const char *s, enum charset charset, size_t max)
{
	size_t left = strlen(s), used = 0, n, len;
	const char *what;
	char hex[16];
	uint32_t c;

	for (; left > 0; s += n, left -= n) {
		n = utf8_next(s, left, &c);
		what = s;
		len = n;
		if (n == 0) {
			what = "?";
			n = len = 1;
		} else if (c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0)) {
			what = " ";
			len = 1;
		} else if (charset == XTEXT &&
		    (c >= 0x80 || strchr(" +=\\", (int)c) != NULL)) {
			len = (size_t)snprintf(
			    hex, sizeof(hex), "\\x{%02X}", (unsigned)c);
			what = hex;
		} else if (charset == ASCII && c >= 0x80) {
			what = "?";
			len = 1;
		}
		if (len > max - used)
			return;
		buf_add(out, what, len);
		used += len;
	}
}

/*
 * Adds len bytes of text that are clean, folded at blanks: a new line begins
 * with CRLF and indent. col is the length of the line so far.
 */
static void
fold(struct buf *out, const char *text, size_t len, const char *indent,
    size_t col)
{
	const char *end, *word;
	size_t n, i;
	bool first = true;

	if (len == 0)
		return; /* text may be NULL */
	end = text + len;
	for (;; first = false) {
		while (text < end && *text == ' ')
			text++;
		if (text == end)
			return;
		word = text;
		while (text < end && *text != ' ' && text - word < WORD_MAX)
			text++;
		/* a broken word must not be broken inside a character */
		for (i = 0; i < 3 && text < end && (*text & 0xc0) == 0x80; i++)
			text--;
		n = (size_t)(text - word);
		if (!first && col + 1 + n > WRAP) {
			add(out, "\r\n", indent, NULL);
			col = strlen(indent);
		} else if (!first) {
			add(out, " ", NULL);
			col++;
		}
		buf_add(out, word, n);
		col += n;
	}
}

/* Adds "name: value" to a header or the status part; nothing for NULL. */
static void
field(struct buf *out, const char *name, const char *type, const char *value)
{
	struct buf v = { 0 };

	if (value == NULL)
		return;
	clean(&v, value, ASCII, TEXT_MAX);
	add(out, name, ": ", type, NULL);
	fold(out, (char *)buf_head(&v), v.len, " ",
	    strlen(name) + 2 + strlen(type));
	add(out, "\r\n", NULL);
	buf_clear(&v);
}

/* Adds "name: type; address"; the address is neither folded nor guessed at. */
static void
address_field(
    struct buf *out, const char *name, const char *type, const char *address)
{
	bool utf8 = !utf8_is_ascii_text(address) ||
	    strcasecmp(type, "utf-8") == 0;

	add(out, name, ": ", utf8 ? "utf-8" : type, "; ", NULL);
	clean(out, address, utf8 ? XTEXT : ASCII, ADDRESS_MAX);
	add(out, "\r\n", NULL);
}

/* Adds ORCPT, "type;address". */
static void
original_field(struct buf *out, const char *orcpt)
{
	struct buf type = { 0 };
	const char *semi = orcpt != NULL ? strchr(orcpt, ';') : NULL;
	char *t;

	if (semi == NULL || semi - orcpt > WRAP)
		return;
	t = xstrndup(orcpt, (size_t)(semi - orcpt));
	clean(&type, t, ASCII, WRAP);
	buf_add(&type, "", 1);
	address_field(
	    out, "Original-Recipient", (char *)buf_head(&type), semi + 1);
	buf_clear(&type);
	freezero_str(t);
}

static const char *
status_of(const struct dsn_rcpt *r)
{
	if (smtp_reply_is_status(r->status))
		return r->status;
	if (r->action == DSN_FAILED)
		return "5.0.0";
	return r->action == DSN_DELAYED ? "4.0.0" : "2.0.0";
}

/* Quoted-printable (RFC 2045 6.7) of text with CRLFs. */
static void
quoted_printable(struct buf *out, const unsigned char *p, size_t len)
{
	size_t i, col = 0;
	char hex[4];
	bool plain, last;

	for (i = 0; i < len; i++) {
		if (p[i] == '\r' && i + 1 < len && p[i + 1] == '\n') {
			add(out, "\r\n", NULL);
			i++;
			col = 0;
			continue;
		}
		last = i + 1 == len || p[i + 1] == '\r';
		plain = (p[i] > ' ' && p[i] < 0x7f && p[i] != '=') ||
		    ((p[i] == ' ' || p[i] == '\t') && !last);
		if (col + (plain ? 1 : 3) > QP_LINE - 1) {
			add(out, "=\r\n", NULL);
			col = 0;
		}
		if (plain) {
			buf_add(out, p + i, 1);
			col++;
		} else {
			snprintf(hex, sizeof(hex), "=%02X", p[i]);
			add(out, hex, NULL);
			col += 3;
		}
	}
}

/* Whether bytes can go as 7bit (RFC 2045 2.7); controls are better encoded. */
static bool
is_7bit(const unsigned char *p, size_t len)
{
	size_t i, line = 0;

	for (i = 0; i < len; i++) {
		if (p[i] == '\r' && i + 1 < len && p[i + 1] == '\n') {
			i++;
			line = 0;
			continue;
		}
		if (p[i] >= 0x7f || (p[i] < ' ' && p[i] != '\t') ||
		    ++line > LINE_LIMIT)
			return false;
	}
	return true;
}

/* Adds a text as the body of a part, behind "Content-Type: TYPE" CRLF. */
static void
text_body(struct buf *out, const unsigned char *p, size_t len)
{
	if (is_7bit(p, len)) {
		add(out, "\r\n", NULL);
		buf_add(out, p, len);
	} else {
		add(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
		    NULL);
		quoted_printable(out, p, len);
	}
	if (len == 0 || p[len - 1] != '\n')
		add(out, "\r\n", NULL);
}

/*
 * What a person can do, by subject and detail of the status. The first that
 * the status begins with counts.
 */
/* clang-format off */
static const struct {
	const char *status; /* behind the class */
	const char *text;
} advice[] = {
	{ ".1.1", "There is no such mailbox. Check how the address is written." },
	{ ".1.2", "There is no such domain. Check how the address is written." },
	{ ".1.3", "The address is not valid. Check how it is written." },
	{ ".1.6", "The mailbox has moved. Ask the recipient for the new address." },
	{ ".1.10", "This domain takes no mail. Check how the address is written." },
	{ ".2.1", "The mailbox is switched off. Ask the recipient for another address." },
	{ ".2.2", "The mailbox is full. Tell the recipient by other means." },
	{ ".2.3", "The message is too large for this mailbox. Send a smaller one or a link." },
	{ ".3.4", "The message is too large. Send a smaller one or a link." },
	{ ".4.6", "The message goes around in a loop of forwarding. Tell the recipient by other means." },
	{ ".4.7", "It could not be delivered in time." },
	{ ".6.7", "The address is not plain ASCII, which a server on the way does not support. Ask the recipient for another address." },
	{ ".7.30", "You asked for TLS on the whole way, which a server on the way does not support." },
	{ ".7.", "The server refuses it by a rule of its own. Ask the recipient or its postmaster." },
};

/* Instead of the last of these, where no other server has spoken. */
static const char own_rule[] = "This is a rule of this server.";

static const struct {
	enum dsn_action action;
	const char *name;    /* RFC 3464 2.3.3 */
	const char *subject;
	const char *text;
} actions[] = { /* the most important first: it gives the subject */
	{ DSN_FAILED, "failed", "Your message could not be delivered",
	    "Your message could not be delivered to the recipients below and will"
	    " not be tried again. The reason stands with each." },
	{ DSN_DELAYED, "delayed", "Your message is delayed",
	    "Your message could not yet be delivered to the recipients below. You"
	    " need not send it again: it is kept here and tried again, and you"
	    " will be told if it has to be given up." },
	{ DSN_RELAYED, "relayed", "Your message was passed on",
	    "Your message was passed on to a server that does not report"
	    " deliveries. You will hear of these recipients again only if"
	    " something goes wrong." },
	{ DSN_EXPANDED, "expanded", "Your message was passed on",
	    "Your message was passed on to the members of the lists below." },
	{ DSN_DELIVERED, "delivered", "Your message was delivered",
	    "Your message was delivered to the recipients below." },
};
/* clang-format on */

enum {
	NACTIONS = sizeof(actions) / sizeof(actions[0]),
	NADVICE = sizeof(advice) / sizeof(advice[0]),
};

static bool
has_action(const struct dsn *d, enum dsn_action action)
{
	size_t i;

	for (i = 0; i < d->nrcpt; i++)
		if (d->rcpt[i].action == action)
			return true;
	return false;
}

static const char *
subject_of(const struct dsn *d)
{
	size_t i = 0;

	while (i < NACTIONS - 1 && !has_action(d, actions[i].action))
		i++;
	return actions[i].subject;
}

/* Adds a paragraph of the text for a person: indent, then pre and value. */
static void
paragraph(struct buf *out, const char *indent, const char *pre,
    const char *value, const char *post)
{
	struct buf v = { 0 };

	add(&v, pre, NULL);
	clean(&v, value, UTF8, TEXT_MAX);
	add(&v, post, NULL);
	add(out, indent, NULL);
	fold(out, (char *)buf_head(&v), v.len, indent, strlen(indent));
	add(out, "\r\n", NULL);
	buf_clear(&v);
}

/* NULL: none. */
static const char *
advice_of(const struct dsn_rcpt *r)
{
	const char *status = status_of(r);
	bool ours = r->diagnostic == NULL && r->reason != NULL;
	size_t i;

	if (*status++ != '5')
		return NULL;
	for (i = 0; i < NADVICE - 1; i++)
		if (strcmp(status, advice[i].status) == 0)
			return advice[i].text;
	if (strncmp(status, advice[i].status, strlen(advice[i].status)) != 0)
		return NULL;
	return ours ? own_rule : advice[i].text;
}

static void
text_rcpt(struct buf *out, const struct dsn_rcpt *r)
{
	static const char deep[] = "      ";

	paragraph(out, "  ", "<", r->final, ">");
	if (r->diagnostic != NULL) {
		if (r->remote_mta != NULL)
			paragraph(out, deep, "The server ", r->remote_mta,
			    " answered:");
		else
			paragraph(out, deep, "The server answered:", "", "");
		paragraph(out, deep, "", r->diagnostic, "");
	}
	if (r->reason != NULL)
		paragraph(out, deep, "", r->reason, "");
	if (advice_of(r) != NULL)
		paragraph(out, deep, "", advice_of(r), "");
	if (r->action == DSN_DELAYED && r->retry_until != NULL)
		paragraph(out, deep, "It is tried until ", r->retry_until, ".");
	add(out, "\r\n", NULL);
}

static void
text_part(const struct dsn *d, struct buf *out)
{
	struct buf t = { 0 };
	size_t i, j;

	paragraph(&t, "", "This is the mail server ", d->host, ".");
	add(&t, "\r\n", NULL);
	for (i = 0; i < NACTIONS; i++) {
		if (!has_action(d, actions[i].action))
			continue;
		paragraph(&t, "", actions[i].text, "", "");
		add(&t, "\r\n", NULL);
		for (j = 0; j < d->nrcpt; j++)
			if (d->rcpt[j].action == actions[i].action)
				text_rcpt(&t, &d->rcpt[j]);
	}
	if (d->contact != NULL)
		paragraph(&t, "", "If you need help, ask ", d->contact, ".");
	if (d->queue_id != NULL)
		paragraph(
		    &t, "", "The message is known here as ", d->queue_id, ".");
	paragraph(&t, "", "A report for programs and ",
	    d->full ? "your message" : "the header of your message",
	    " are attached.");
	text_body(out, buf_head(&t), t.len);
	buf_clear(&t);
}

static const char *
action_name(enum dsn_action action)
{
	size_t i = 0;

	while (i < NACTIONS - 1 && actions[i].action != action)
		i++;
	return actions[i].name;
}

static void
status_part(const struct dsn *d, struct buf *out)
{
	const struct dsn_rcpt *r;

	field(out, "Reporting-MTA", "dns; ", d->host);
	field(out, "Original-Envelope-Id", "", d->envid);
	field(out, "Arrival-Date", "", d->arrival);
	for (r = d->rcpt; r < d->rcpt + d->nrcpt; r++) {
		add(out, "\r\n", NULL);
		original_field(out, r->original);
		address_field(out, "Final-Recipient", "rfc822", r->final);
		field(out, "Action", "", action_name(r->action));
		field(out, "Status", "", status_of(r));
		field(out, "Remote-MTA", "dns; ", r->remote_mta);
		field(out, "Diagnostic-Code", "smtp; ", r->diagnostic);
		field(out, "Last-Attempt-Date", "", r->last_attempt);
		field(out, "Final-Log-ID", "", d->queue_id);
		if (r->action == DSN_DELAYED)
			field(out, "Will-Retry-Until", "", r->retry_until);
	}
}

/* The original; returns the DSN_NEEDS flags. */
static unsigned
original_part(const struct dsn *d, struct buf *out)
{
	const unsigned char *p = d->original;
	bool ascii;

	if (!d->full) {
		add(out, "Content-Type: ",
		    d->utf8 ? "message/global-headers" : "text/rfc822-headers",
		    "\r\n", NULL);
		text_body(out, p, d->original_len);
		return 0;
	}
	/* RFC 2046 5.2.1: a message may not be encoded again */
	ascii = utf8_is_ascii(d->original, d->original_len);
	add(out,
	    "Content-Type: ", d->utf8 ? "message/global" : "message/rfc822",
	    "\r\n", ascii ? "\r\n" : "Content-Transfer-Encoding: 8bit\r\n\r\n",
	    NULL);
	buf_add(out, p, d->original_len);
	if (d->original_len == 0 || p[d->original_len - 1] != '\n')
		add(out, "\r\n", NULL);
	return ascii ? 0 : DSN_NEEDS_8BIT;
}

/* Adds "<mailbox>" as it stands in From and To; may be UTF-8 (RFC 6532). */
static void
mailbox(struct buf *out, const char *name, const char *display,
    const char *local, const char *address)
{
	add(out, name, ": ", display, "<", local, NULL);
	clean(out, address, UTF8, ADDRESS_MAX);
	add(out, ">\r\n", NULL);
}

static unsigned
report_header(const struct dsn *d, const char *boundary, struct buf *out)
{
	field(out, "Date", "", d->date);
	if (d->from != NULL)
		mailbox(out, "From", "Mail Delivery System ", "", d->from);
	else
		mailbox(out, "From", "Mail Delivery System ", "MAILER-DAEMON@",
		    d->host);
	mailbox(out, "To", "", "", d->to);
	field(out, "Subject", "", subject_of(d));
	field(out, "Message-ID", "", d->message_id);
	/* RFC 3834 5: no robot may answer it */
	field(out, "Auto-Submitted", "", "auto-replied");
	add(out, "MIME-Version: 1.0\r\n",
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    " boundary=\"",
	    boundary, "\"\r\n\r\n", NULL);
	if (!utf8_is_ascii_text(d->to) ||
	    (d->from != NULL && !utf8_is_ascii_text(d->from)))
		return DSN_NEEDS_UTF8 | DSN_NEEDS_8BIT;
	return 0;
}

unsigned
dsn_build(const struct dsn *d, struct buf *out)
{
	char boundary[BOUNDARY_MAX + 1];
	unsigned needs;

	snprintf(boundary, sizeof(boundary), "%s", d->boundary);
	needs = report_header(d, boundary, out);
	add(out, "This is a report in MIME format.\r\n\r\n", "--", boundary,
	    "\r\nContent-Description: Notification\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n",
	    NULL);
	text_part(d, out);
	add(out, "\r\n--", boundary,
	    "\r\nContent-Description: Delivery report\r\n"
	    "Content-Type: message/delivery-status\r\n\r\n",
	    NULL);
	status_part(d, out);
	add(out, "\r\n--", boundary, "\r\nContent-Description: ",
	    d->full ? "Original message" : "Header of the original message",
	    "\r\n", NULL);
	needs |= original_part(d, out);
	add(out, "\r\n--", boundary, "--\r\n", NULL);
	return needs;
}
