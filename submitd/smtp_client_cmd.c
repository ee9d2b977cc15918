/*
 * MAIL and RCPT with the parameters that a smarthost takes, and what must not
 * be said to one because it lacks something the sender asked for.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "smtp_client_int.h"
#include "smtp_param.h"
#include "store/utf8.h"

static bool
has(const struct smtp_client *c, unsigned offer)
{
	return (smtp_client_offers(c) & offer) != 0;
}

/* ---- commands ---- */

/* Adds strings up to a NULL. */
__attribute__((sentinel)) static void
add(struct buf *b, const char *s, ...)
{
	va_list ap;

	va_start(ap, s);
	for (; s != NULL; s = va_arg(ap, const char *))
		buf_add(b, s, strlen(s));
	va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void
addf(struct buf *b, const char *fmt, ...)
{
	char text[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add(b, text, NULL);
}

/* No parameter may carry a command of its own. */
static bool
is_parameter(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return false;
	return true;
}

static bool
is_given(const char *s)
{
	return s != NULL && s[0] != '\0' && is_parameter(s);
}

static void
add_body(const struct smtp_client *c, struct buf *b)
{
	if (c->now.msg.body == BODY_BINARYMIME)
		add(b, " BODY=BINARYMIME", NULL);
	else if (c->now.msg.body == BODY_8BITMIME)
		add(b, " BODY=8BITMIME", NULL);
}

/* A report has neither (RFC 3461 section 6.1). */
static void
add_dsn(const struct smtp_client *c, struct buf *b)
{
	const struct mail_options *o = &c->now.msg.opt;

	if (c->now.msg.from[0] == '\0')
		return;
	if (o->ret != RET_NONE)
		add(b, " RET=", o->ret == RET_FULL ? "FULL" : "HDRS", NULL);
	if (is_given(o->envid))
		add(b, " ENVID=", o->envid, NULL);
}

/* It is an address that this smarthost can take. */
static bool
is_sayable(const struct smtp_client *c, const char *auth)
{
	char text[MAIL_AUTH_MAX + 1];

	return is_given(auth) &&
	    smtp_xtext_decode(auth, strlen(auth), text, sizeof(text)) == 0 &&
	    (has(c, SMTP_OFFERS_SMTPUTF8) || utf8_is_ascii_text(text));
}

const char *
smtp_client_mail_auth(const struct smtp_client *c)
{
	if ((c->conf->avoid & SMTP_AVOID_MAIL_AUTH) != 0)
		return NULL;
	if (has(c, SMTP_OFFERS_AUTH) && is_sayable(c, c->now.msg.opt.auth))
		return c->now.msg.opt.auth;
	/* Where we are logged in it must not be taken for our own. */
	return c->auth_said ? "<>" : NULL;
}

void
smtp_client_add_mail(const struct smtp_client *c, struct buf *b)
{
	const struct mail_options *o = &c->now.msg.opt;

	add(b, "MAIL FROM:<", c->now.msg.from, ">", NULL);
	if (has(c, SMTP_OFFERS_SIZE))
		addf(b, " SIZE=%llu", (unsigned long long)c->now.msg.size);
	add_body(c, b);
	if (c->now.msg.utf8)
		add(b, " SMTPUTF8", NULL);
	if (has(c, SMTP_OFFERS_DSN))
		add_dsn(c, b);
	if (o->require_tls && has(c, SMTP_OFFERS_REQUIRETLS))
		add(b, " REQUIRETLS", NULL);
	if (o->by_mode != BY_NONE && has(c, SMTP_OFFERS_DELIVERBY))
		addf(b, " BY=%lld;%s%s", (long long)c->now.msg.by_s,
		    o->by_mode == BY_RETURN ? "R" : "N",
		    o->by_trace ? "T" : "");
	if (has(c, SMTP_OFFERS_MT_PRIORITY))
		addf(b, " MT-PRIORITY=%d", (int)o->priority - PRIORITY_NORMAL);
	if (smtp_client_mail_auth(c) != NULL)
		add(b, " AUTH=", smtp_client_mail_auth(c), NULL);
	add(b, "\r\n", NULL);
}

/*
 * Where the time of DELIVERBY is to be watched by a server that only knows of
 * reports, it shall report delays (RFC 2852 section 4.1.4.2).
 */
static unsigned
notify_of(const struct smtp_client *c, const struct rcpt_options *r)
{
	unsigned notify = r->notify;

	if (c->now.msg.opt.by_mode != BY_NOTIFY || c->now.msg.by_s <= 0 ||
	    has(c, SMTP_OFFERS_DELIVERBY))
		return notify;
	if (notify == 0)
		return NOTIFY_FAILURE | NOTIFY_DELAY;
	return notify == NOTIFY_NEVER ? notify : notify | NOTIFY_DELAY;
}

static void
add_notify(struct buf *b, unsigned notify)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {
		{ NOTIFY_NEVER, "NEVER" },
		{ NOTIFY_SUCCESS, "SUCCESS" },
		{ NOTIFY_FAILURE, "FAILURE" },
		{ NOTIFY_DELAY, "DELAY" },
	};
	const char *before = " NOTIFY=";
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if ((notify & words[i].bit) == 0)
			continue;
		add(b, before, words[i].word, NULL);
		before = ",";
	}
}

/* As it came; but UTF-8 in it is for servers with SMTPUTF8 only (RFC 6533
 * section 3). */
static void
add_orcpt(const struct smtp_client *c, const char *orcpt, struct buf *b)
{
	size_t left = strlen(orcpt), n;
	const char *p = orcpt;
	uint32_t cp;

	add(b, " ORCPT=", NULL);
	for (; left > 0; p += n, left -= n) {
		n = utf8_next(p, left, &cp);
		if (n == 0)
			n = 1, cp = '?';
		if (n > 1 && !c->now.msg.utf8)
			addf(b, "\\x{%X}", (unsigned)cp);
		else
			buf_add(b, n == 1 && cp == '?' ? "?" : p, n);
	}
}

void
smtp_client_add_rcpt(const struct smtp_client *c, size_t n, struct buf *b)
{
	const struct rcpt_options *r =
	    c->now.msg.rcpt != NULL ? &c->now.msg.rcpt[n] : NULL;

	add(b, "RCPT TO:<", c->now.msg.to[n], ">", NULL);
	if (r != NULL && has(c, SMTP_OFFERS_DSN)) {
		add_notify(b, notify_of(c, r));
		if (is_given(r->orcpt))
			add_orcpt(c, r->orcpt, b);
	}
	add(b, "\r\n", NULL);
}

/* ---- what must not be said ---- */

/* No address may carry a command of its own. */
static bool
is_sendable(const char *addr)
{
	for (; *addr != '\0'; addr++)
		if ((unsigned char)*addr < ' ' || *addr == 0x7f)
			return false;
	return true;
}

typedef const char *refusal(
    const struct smtp_client *c, char *buf, size_t size, const char **esc);

/* A report goes its way even so (RFC 8689 section 5). */
static const char *
no_tls(const struct smtp_client *c, char *buf, size_t size, const char **esc)
{
	(void)buf, (void)size;
	*esc = "5.7.30";
	return c->now.msg.opt.require_tls && c->now.msg.from[0] != '\0' &&
		!has(c, SMTP_OFFERS_REQUIRETLS)
	    ? "REQUIRETLS support required: the smarthost does not offer "
	      "REQUIRETLS, which the sender asked for"
	    : NULL;
}

/* RFC 2852 section 4.1.4.1. */
static const char *
no_time(const struct smtp_client *c, char *buf, size_t size, const char **esc)
{
	int64_t left = c->now.msg.by_s;

	if (c->now.msg.opt.by_mode != BY_RETURN)
		return NULL;
	*esc = "5.4.7";
	if (left < 1)
		return "the time for delivery that the sender gave is over";
	if (left < (int64_t)c->limits.by_min_s) {
		snprintf(buf, size,
		    "%lld seconds are left of the time for delivery that the "
		    "sender gave, the smarthost needs %lu",
		    (long long)left, (unsigned long)c->limits.by_min_s);
		return buf;
	}
	*esc = "5.3.3";
	return has(c, SMTP_OFFERS_DELIVERBY)
	    ? NULL
	    : "the sender gave a time for delivery, which the smarthost "
	      "cannot keep (it does not offer DELIVERBY)";
}

static const char *
too_large(const struct smtp_client *c, char *buf, size_t size, const char **esc)
{
	if (c->limits.size == 0 || c->now.msg.size <= c->limits.size)
		return NULL;
	*esc = "5.3.4";
	snprintf(buf, size,
	    "the message has %llu bytes, the smarthost takes %llu",
	    (unsigned long long)c->now.msg.size,
	    (unsigned long long)c->limits.size);
	return buf;
}

static const char *
no_body(const struct smtp_client *c, char *buf, size_t size, const char **esc)
{
	(void)buf, (void)size;
	*esc = "5.6.1";
	if (c->now.msg.body == BODY_BINARYMIME &&
	    !(has(c, SMTP_OFFERS_BINARYMIME) && has(c, SMTP_OFFERS_CHUNKING)))
		return "the message holds binary data, which the smarthost "
		       "does not take (it does not offer BINARYMIME)";
	*esc = "5.6.3";
	if (c->now.msg.body == BODY_8BITMIME && !has(c, SMTP_OFFERS_8BITMIME))
		return "the message holds 8-bit text, the smarthost takes "
		       "7-bit only (it does not offer 8BITMIME)";
	return NULL;
}

/* RFC 6531 section 3.5. */
static const char *
no_utf8(const struct smtp_client *c, char *buf, size_t size, const char **esc)
{
	(void)buf, (void)size;
	*esc = "5.6.9";
	if (c->now.msg.utf8 && !has(c, SMTP_OFFERS_SMTPUTF8))
		return "the header of the message is not ASCII, which the "
		       "smarthost does not take (it does not offer SMTPUTF8)";
	*esc = "5.6.7";
	if (!c->now.msg.utf8 && !utf8_is_ascii_text(c->now.msg.from))
		return "the sender's address is not ASCII, which the "
		       "smarthost does not take (it does not offer SMTPUTF8)";
	return NULL;
}

static const char *
bad_sender(
    const struct smtp_client *c, char *buf, size_t size, const char **esc)
{
	(void)buf, (void)size;
	*esc = "5.1.7";
	return is_sendable(c->now.msg.from) ? NULL
					    : "the sender cannot be sent";
}

bool
smtp_client_refuses(const struct smtp_client *c, char *buf, size_t size,
    struct smtp_client_result *r)
{
	static refusal *const all[] = { bad_sender, no_tls, no_time, no_utf8,
		no_body, too_large };
	size_t i;

	*r = (struct smtp_client_result){ .kind = RESULT_FAILED };
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		r->text = all[i](c, buf, size, &r->esc);
		r->trouble =
		    all[i] == bad_sender ? TROUBLE_LOCAL : TROUBLE_REPLY;
		if (r->text != NULL)
			return true;
	}
	return false;
}

bool
smtp_client_refuses_rcpt(
    const struct smtp_client *c, size_t n, struct smtp_client_result *r)
{
	*r = (struct smtp_client_result){ .kind = RESULT_FAILED,
		.trouble = TROUBLE_LOCAL,
		.esc = "5.1.3",
		.text = "the address cannot be sent" };
	if (!is_sendable(c->now.msg.to[n]))
		return true;
	r->trouble = TROUBLE_REPLY;
	r->esc = "5.6.7";
	r->text = "the address is not ASCII, which the smarthost does not take "
		  "(it does not offer SMTPUTF8)";
	return !c->now.msg.utf8 && !utf8_is_ascii_text(c->now.msg.to[n]);
}
