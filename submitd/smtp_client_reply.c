/* Reply lines of a smarthost, and what it offers. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "smtp_client_int.h"

/* ---- EHLO ---- */

struct word {
	const char *p;
	size_t len;
};

/* Takes the next word off a line; len 0: there is none. */
static struct word
next_word(const char **p, size_t *len)
{
	struct word w;

	while (*len > 0 && **p == ' ')
		(*p)++, (*len)--;
	w.p = *p;
	while (*len > 0 && **p != ' ')
		(*p)++, (*len)--;
	w.len = (size_t)(*p - w.p);
	return w;
}

static bool
is_word(struct word w, const char *text)
{
	return w.len == strlen(text) && strncasecmp(w.p, text, w.len) == 0;
}

static bool
is_among(struct word w, const char *list)
{
	size_t len = list != NULL ? strlen(list) : 0;
	struct word one;

	while ((one = next_word(&list, &len)).len > 0)
		if (one.len == w.len && strncasecmp(one.p, w.p, w.len) == 0)
			return true;
	return false;
}

/* Digits, as far as they go; 0 also for what is more than anything. */
static uint64_t
number(struct word w)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < w.len && isdigit((unsigned char)w.p[i]); i++) {
		if (n > UINT64_MAX / 10 - 1)
			return 0;
		n = n * 10 + (uint64_t)(w.p[i] - '0');
	}
	return n;
}

static void
take_size(struct smtp_client *c, const char *p, size_t len)
{
	c->limits.size = number(next_word(&p, &len));
}

/* The minimum is a number of seconds, nine digits at most. */
static void
take_deliverby(struct smtp_client *c, const char *p, size_t len)
{
	uint64_t n = number(next_word(&p, &len));

	c->limits.by_min_s = n <= 999999999 ? (uint32_t)n : 999999999;
}

static void
take_auth(struct smtp_client *c, const char *p, size_t len)
{
	struct word w;

	while ((w = next_word(&p, &len)).len > 0)
		if (is_word(w, "PLAIN"))
			c->offers |= SMTP_OFFERS_AUTH_PLAIN;
}

/* "RCPTMAX=20": one to six digits, not 0; what is not so is as if not there
 * (RFC 9422 section 3.7). */
static void
take_limit(struct smtp_client_limits *l, struct word w)
{
	static const struct {
		const char *name;
		size_t offset;
	} names[] = {
		{ "MAILMAX=", offsetof(struct smtp_client_limits, mails) },
		{ "RCPTMAX=", offsetof(struct smtp_client_limits, rcpts) },
		{ "RCPTDOMAINMAX=",
		    offsetof(struct smtp_client_limits, domains) },
	};
	struct word digits;
	uint32_t n = 0;
	size_t i, k, len;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		len = strlen(names[i].name);
		if (w.len <= len || strncasecmp(w.p, names[i].name, len) != 0)
			continue;
		digits = (struct word){ w.p + len, w.len - len };
		for (k = 0; k < digits.len; k++)
			if (!isdigit((unsigned char)digits.p[k]))
				return;
		if (digits.len > 6 || digits.p[0] == '0')
			return;
		n = (uint32_t)number(digits);
		memcpy((char *)l + names[i].offset, &n, sizeof(n));
	}
}

static void
take_limits(struct smtp_client *c, const char *p, size_t len)
{
	struct word w;

	while ((w = next_word(&p, &len)).len > 0)
		take_limit(&c->limits, w);
}

/* One line of the reply to EHLO, but the first. */
static void
take_keyword(struct smtp_client *c, const char *p, size_t len)
{
	static const struct {
		const char *word;
		unsigned offers;
		void (*args)(struct smtp_client *, const char *, size_t);
	} keywords[] = {
		{ "PIPELINING", SMTP_OFFERS_PIPELINING, NULL },
		{ "8BITMIME", SMTP_OFFERS_8BITMIME, NULL },
		{ "STARTTLS", SMTP_OFFERS_STARTTLS, NULL },
		{ "SIZE", SMTP_OFFERS_SIZE, take_size },
		{ "CHUNKING", SMTP_OFFERS_CHUNKING, NULL },
		{ "BINARYMIME", SMTP_OFFERS_BINARYMIME, NULL },
		{ "DSN", SMTP_OFFERS_DSN, NULL },
		{ "SMTPUTF8", SMTP_OFFERS_SMTPUTF8, NULL },
		{ "REQUIRETLS", SMTP_OFFERS_REQUIRETLS, NULL },
		{ "DELIVERBY", SMTP_OFFERS_DELIVERBY, take_deliverby },
		{ "MT-PRIORITY", SMTP_OFFERS_MT_PRIORITY, NULL },
		{ "LIMITS", 0, take_limits },
		{ "AUTH", SMTP_OFFERS_AUTH, take_auth },
	};
	struct word w = next_word(&p, &len);
	size_t i;

	/* Old servers also write AUTH=PLAIN. */
	if (w.len > 5 && strncasecmp(w.p, "AUTH=", 5) == 0) {
		len += w.len - 5;
		p -= w.len - 5;
		w.len = 4;
	}
	if (is_among(w, c->conf->ignore))
		return;
	for (i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		if (!is_word(w, keywords[i].word))
			continue;
		c->offers |= keywords[i].offers;
		if (keywords[i].args != NULL)
			keywords[i].args(c, p, len);
	}
}

void
smtp_client_forget_offers(struct smtp_client *c)
{
	c->offers = 0;
	c->limits = (struct smtp_client_limits){ 0 };
}

/* ---- lines ---- */

/* Bytes of an enhanced code and the blank behind it at s, 0 if there is none
 * of this class (RFC 2034 section 4). */
static size_t
esc_len(const char *s, size_t len, char class)
{
	size_t i = 1, part, digits;

	if (len < 5 || s[0] != class)
		return 0;
	for (part = 0; part < 2; part++) {
		if (i >= len || s[i++] != '.')
			return 0;
		for (digits = 0; i < len && isdigit((unsigned char)s[i]); i++)
			digits++;
		if (digits < 1 || digits > 3)
			return 0;
	}
	if (i == len)
		return i;
	return s[i] == ' ' ? i + 1 : 0;
}

static char
printable(char ch)
{
	if (ch == '\t')
		return ' ';
	return ch >= ' ' && ch <= '~' ? ch : '?';
}

/* Appends text, printable and cut. */
static void
add_text(struct reply *r, const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len && r->len < SMTP_CLIENT_TEXT; i++)
		r->text[r->len++] = printable(s[i]);
	r->text[r->len] = '\0';
}

static void
begin_reply(struct reply *r, const char *line, size_t esc, uint16_t code)
{
	*r = (struct reply){ .code = code };
	if (esc > 0)
		snprintf(r->esc, sizeof(r->esc), "%.*s",
		    (int)strcspn(line + 4, " "), line + 4);
	add_text(r, line, 3);
}

/* The line's code, 0 if it is no reply line. */
static uint16_t
line_code(const char *s, size_t len)
{
	if (len < 3 || s[0] < '2' || s[0] > '5' ||
	    !isdigit((unsigned char)s[1]) || !isdigit((unsigned char)s[2]) ||
	    (len > 3 && s[3] != ' ' && s[3] != '-'))
		return 0;
	return (
	    uint16_t)((s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0'));
}

void
smtp_client_take_line(struct smtp_client *c, const char *line, size_t len)
{
	struct reply *r = &c->reply;
	uint16_t code = line_code(line, len);
	const char *text = len > 4 ? line + 4 : "";
	size_t text_len = len > 4 ? len - 4 : 0, esc;

	if (code == 0 || (r->lines > 0 && code != r->code)) {
		smtp_client_fail_garbage(
		    c, "a line that is no SMTP reply came");
		return;
	}
	esc = esc_len(text, text_len, line[0]);
	if (r->lines == 0)
		begin_reply(r, line, esc, code);
	else if (c->stage == EHLO)
		take_keyword(c, text, text_len);
	if (r->lines > 0) { /* the enhanced code is said once */
		text += esc;
		text_len -= esc;
	}
	if (text_len > 0)
		add_text(r, " ", 1);
	add_text(r, text, text_len);
	if (++r->lines > SMTP_CLIENT_LINES) {
		smtp_client_fail_garbage(c, "a reply of too many lines came");
	} else if (len == 3 || line[3] == ' ') {
		smtp_client_take_reply(c);
		r->lines = 0;
	}
}
