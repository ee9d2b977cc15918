/* Addresses: paths, mailboxes, domains, the argument of EHLO. */
#include "smtp_addr.h"

#include <arpa/inet.h>
#include <string.h>

#include "store/utf8.h"

enum {
	LABEL_MAX = 63,
	LITERAL_MAX = 64,
};

/* What is left of the input. */
struct cursor {
	const char *p, *end;
	unsigned allow;
	bool utf8; /* a non-ASCII character was taken */
};

static bool
is_alpha(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char
fold(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool
equal_fold(const char *a, const char *b, size_t len)
{
	for (; len > 0; a++, b++, len--)
		if (fold(*a) != fold(*b))
			return false;
	return true;
}

/* RFC 5322 atext, ASCII only. */
static bool
is_atext(char c)
{
	return is_alpha(c) || is_digit(c) ||
	    (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
at(const struct cursor *c, char want)
{
	return c->p < c->end && *c->p == want;
}

/*
 * The length of the non-ASCII character at the cursor: SMTP_ADDR_OK and *n, or
 * why not. Control characters of the upper half are no text.
 */
static enum smtp_addr_rc
take_utf8(struct cursor *c, size_t *n, uint32_t *cp)
{
	if (!(c->allow & SMTP_ADDR_ALLOW_UTF8))
		return SMTP_ADDR_NEEDS_UTF8;
	*n = utf8_next(c->p, (size_t)(c->end - c->p), cp);
	if (*n == 0 || *cp < 0xa0)
		return SMTP_ADDR_SYNTAX;
	c->utf8 = true;
	return SMTP_ADDR_OK;
}

/* A local part without quotes and backslashes. */
struct local {
	char text[SMTP_LOCAL_MAX];
	size_t len;
};

static enum smtp_addr_rc
local_add(struct cursor *c, size_t n, struct local *l)
{
	if (n > sizeof(l->text) - l->len)
		return SMTP_ADDR_TOO_LONG;
	memcpy(l->text + l->len, c->p, n);
	l->len += n;
	c->p += n;
	return SMTP_ADDR_OK;
}

/* Quoted-string, RFC 5321 4.1.2; the cursor is behind the first quote. */
static enum smtp_addr_rc
parse_quoted(struct cursor *c, struct local *l)
{
	enum smtp_addr_rc rc;
	uint32_t cp;
	size_t n;

	while (!at(c, '"')) {
		if (at(c, '\\'))
			c->p++;
		if (c->p == c->end)
			return SMTP_ADDR_SYNTAX;
		n = 1;
		if ((unsigned char)*c->p >= 0x80) {
			if ((rc = take_utf8(c, &n, &cp)) != SMTP_ADDR_OK)
				return rc;
		} else if (*c->p < ' ' || *c->p == 0x7f) {
			return SMTP_ADDR_SYNTAX;
		}
		if ((rc = local_add(c, n, l)) != SMTP_ADDR_OK)
			return rc;
	}
	c->p++;
	return SMTP_ADDR_OK;
}

/* Dot-string: atoms with single dots between them. */
static enum smtp_addr_rc
parse_dot_string(struct cursor *c, struct local *l)
{
	enum smtp_addr_rc rc;
	uint32_t cp;
	size_t n;
	bool dot = true; /* a dot may not come next */

	for (; c->p < c->end; dot = *(c->p - 1) == '.') {
		n = 1;
		if ((unsigned char)*c->p >= 0x80) {
			if ((rc = take_utf8(c, &n, &cp)) != SMTP_ADDR_OK)
				return rc;
		} else if (*c->p == '.') {
			if (dot)
				return SMTP_ADDR_SYNTAX;
		} else if (!is_atext(*c->p)) {
			break;
		}
		if ((rc = local_add(c, n, l)) != SMTP_ADDR_OK)
			return rc;
	}
	return dot ? SMTP_ADDR_SYNTAX : SMTP_ADDR_OK;
}

/* Whether text stands as a dot-string; it is UTF-8 if not ASCII. */
static bool
is_dot_string(const char *s, size_t len)
{
	size_t i;
	bool dot = true;

	for (i = 0; i < len; i++) {
		if (s[i] == '.' ? dot
				: (unsigned char)s[i] < 0x80 && !is_atext(s[i]))
			return false;
		dot = s[i] == '.';
	}
	return !dot;
}

static enum smtp_addr_rc
parse_local(struct cursor *c, struct smtp_addr *out)
{
	struct local l = { .len = 0 };
	enum smtp_addr_rc rc;
	size_t i, n = 0;

	if (at(c, '"')) {
		c->p++;
		rc = parse_quoted(c, &l);
	} else {
		rc = parse_dot_string(c, &l);
	}
	if (rc != SMTP_ADDR_OK)
		return rc;
	if (is_dot_string(l.text, l.len)) {
		memcpy(out->text, l.text, l.len);
		out->local_len = l.len;
		return SMTP_ADDR_OK;
	}
	/* text has room for each byte with its backslash */
	out->text[n++] = '"';
	for (i = 0; i < l.len; i++) {
		if (l.text[i] == '"' || l.text[i] == '\\')
			out->text[n++] = '\\';
		out->text[n++] = l.text[i];
	}
	out->text[n++] = '"';
	out->local_len = n;
	return n > SMTP_LOCAL_MAX ? SMTP_ADDR_TOO_LONG : SMTP_ADDR_OK;
}

/* Appends to the text what lies in the input from start to the cursor. */
static enum smtp_addr_rc
text_add(struct cursor *c, const char *start, struct smtp_addr *out)
{
	size_t n = (size_t)(c->p - start);

	if (n > SMTP_DOMAIN_MAX || n > SMTP_ADDR_MAX - out->len)
		return SMTP_ADDR_TOO_LONG;
	memcpy(out->text + out->len, start, n);
	out->len += n;
	return SMTP_ADDR_OK;
}

/* An address literal, RFC 5321 4.1.3; the cursor is at the bracket. */
static enum smtp_addr_rc
parse_literal(struct cursor *c, struct smtp_addr *out)
{
	static const char tag[] = "IPv6:";
	const char *start = c->p, *close;
	const size_t tag_len = sizeof(tag) - 1;
	char addr[LITERAL_MAX];
	unsigned char bin[16];
	size_t n, skip = 0, pos = out->len;
	bool v6;

	close = memchr(start, ']', (size_t)(c->end - start));
	if (close == NULL)
		return SMTP_ADDR_LITERAL;
	c->p = close + 1;
	n = (size_t)(close - start) - 1;
	v6 = n >= tag_len && equal_fold(start + 1, tag, tag_len);
	if (v6)
		skip = tag_len;
	/* a NUL would hide from inet_pton what comes behind it */
	if (n - skip >= sizeof(addr) || memchr(start, '\0', n + 1) != NULL)
		return SMTP_ADDR_LITERAL;
	memcpy(addr, start + 1 + skip, n - skip);
	addr[n - skip] = '\0';
	if (inet_pton(v6 ? AF_INET6 : AF_INET, addr, bin) != 1)
		return SMTP_ADDR_LITERAL;
	out->literal = true;
	if (text_add(c, start, out) != SMTP_ADDR_OK)
		return SMTP_ADDR_TOO_LONG;
	if (v6)
		memcpy(out->text + pos + 1, tag, tag_len);
	return SMTP_ADDR_OK;
}

/* Characters that IDNA tables turn into a dot: a domain must not hide one. */
static bool
is_dot_like(uint32_t cp)
{
	return cp == 0x3002 || cp == 0xff0e || cp == 0xff61;
}

/*
 * One label. Underscores pass, since such names are in the DNS. *numeric says
 * whether it has digits only.
 */
static enum smtp_addr_rc
parse_label(struct cursor *c, bool *numeric)
{
	const char *start = c->p;
	enum smtp_addr_rc rc;
	bool ascii = true;
	uint32_t cp;
	size_t n;

	*numeric = true;
	for (; c->p < c->end; c->p += n) {
		n = 1;
		if ((unsigned char)*c->p >= 0x80) {
			rc = take_utf8(c, &n, &cp);
			if (rc == SMTP_ADDR_NEEDS_UTF8)
				return rc;
			if (rc != SMTP_ADDR_OK || is_dot_like(cp))
				return SMTP_ADDR_DOMAIN;
			ascii = false;
		} else if (!is_alpha(*c->p) && !is_digit(*c->p) &&
		    *c->p != '-' && *c->p != '_') {
			break;
		}
		*numeric = *numeric && is_digit(*c->p);
	}
	n = (size_t)(c->p - start);
	if (n == 0 || *start == '-' || *(c->p - 1) == '-')
		return SMTP_ADDR_DOMAIN;
	return ascii && n > LABEL_MAX ? SMTP_ADDR_DOMAIN : SMTP_ADDR_OK;
}

/* A name; SMTP_ADDR_UNQUALIFIED if it has one label only. */
static enum smtp_addr_rc
parse_name(struct cursor *c)
{
	enum smtp_addr_rc rc;
	size_t labels = 0;
	bool numeric;

	for (;;) {
		if ((rc = parse_label(c, &numeric)) != SMTP_ADDR_OK)
			return rc;
		labels++;
		if (!at(c, '.'))
			break;
		c->p++;
	}
	/* 192.0.2.1 without brackets: no top-level domain is a number */
	if (numeric)
		return SMTP_ADDR_DOMAIN;
	return labels > 1 ? SMTP_ADDR_OK : SMTP_ADDR_UNQUALIFIED;
}

static enum smtp_addr_rc
parse_domain(struct cursor *c, struct smtp_addr *out)
{
	const char *start = c->p;
	enum smtp_addr_rc rc;

	if (at(c, '['))
		return parse_literal(c, out);
	rc = parse_name(c);
	if ((rc == SMTP_ADDR_OK || rc == SMTP_ADDR_UNQUALIFIED) &&
	    text_add(c, start, out) != SMTP_ADDR_OK)
		return SMTP_ADDR_TOO_LONG;
	return rc;
}

static enum smtp_addr_rc
parse_mailbox(struct cursor *c, struct smtp_addr *out)
{
	static const char postmaster[] = "Postmaster";
	enum smtp_addr_rc rc;

	if ((rc = parse_local(c, out)) != SMTP_ADDR_OK)
		return rc;
	out->len = out->local_len;
	if (at(c, '@')) {
		out->text[out->len++] = '@';
		c->p++;
		rc = parse_domain(c, out);
	} else if (!(c->allow & SMTP_ADDR_ALLOW_POSTMASTER) ||
	    out->len != sizeof(postmaster) - 1 ||
	    !equal_fold(out->text, postmaster, out->len)) {
		rc = SMTP_ADDR_UNQUALIFIED;
	}
	out->text[out->len] = '\0';
	out->utf8 = c->utf8;
	return rc;
}

/* Drops "@a,@b:", RFC 5321 appendix C; the cursor is at the first @. */
static enum smtp_addr_rc
skip_route(struct cursor *c)
{
	struct smtp_addr hop;
	enum smtp_addr_rc rc;

	for (;;) {
		if (!at(c, '@'))
			return SMTP_ADDR_SYNTAX;
		c->p++;
		memset(&hop, 0, sizeof(hop));
		rc = parse_domain(c, &hop);
		if (rc == SMTP_ADDR_NEEDS_UTF8)
			return rc;
		if (rc != SMTP_ADDR_OK && rc != SMTP_ADDR_UNQUALIFIED)
			return SMTP_ADDR_SYNTAX;
		if (!at(c, ','))
			break;
		c->p++;
	}
	if (!at(c, ':'))
		return SMTP_ADDR_SYNTAX;
	c->p++;
	c->utf8 = false; /* of what is dropped */
	return SMTP_ADDR_OK;
}

static enum smtp_addr_rc
parse_path(struct cursor *c, struct smtp_addr *out)
{
	enum smtp_addr_rc rc;

	while (at(c, ' '))
		c->p++;
	if (!at(c, '<'))
		return SMTP_ADDR_BRACKETS;
	c->p++;
	if (at(c, '>')) {
		c->p++;
		return c->allow & SMTP_ADDR_ALLOW_NULL ? SMTP_ADDR_OK
						       : SMTP_ADDR_NULL;
	}
	if (at(c, '@') && (rc = skip_route(c)) != SMTP_ADDR_OK)
		return rc;
	rc = parse_mailbox(c, out);
	if (rc != SMTP_ADDR_OK && rc != SMTP_ADDR_UNQUALIFIED)
		return rc;
	if (c->p == c->end)
		return SMTP_ADDR_BRACKETS;
	if (*c->p++ != '>')
		return out->len > out->local_len ? SMTP_ADDR_DOMAIN
						 : SMTP_ADDR_SYNTAX;
	return rc;
}

static enum smtp_addr_rc
settle(enum smtp_addr_rc rc, struct smtp_addr *out)
{
	if (rc != SMTP_ADDR_OK && rc != SMTP_ADDR_UNQUALIFIED)
		memset(out, 0, sizeof(*out));
	return rc;
}

enum smtp_addr_rc
smtp_addr_path(const char *arg, size_t len, unsigned allow,
    struct smtp_addr *out, size_t *used)
{
	struct cursor c = { .p = arg, .end = arg + len, .allow = allow };
	enum smtp_addr_rc rc;

	memset(out, 0, sizeof(*out));
	rc = parse_path(&c, out);
	*used = (size_t)(c.p - arg);
	return settle(rc, out);
}

enum smtp_addr_rc
smtp_addr_mailbox(
    const char *s, size_t len, unsigned allow, struct smtp_addr *out)
{
	struct cursor c = { .p = s, .end = s + len, .allow = allow };
	enum smtp_addr_rc rc;

	memset(out, 0, sizeof(*out));
	if (len == 0)
		return allow & SMTP_ADDR_ALLOW_NULL ? SMTP_ADDR_OK
						    : SMTP_ADDR_NULL;
	rc = parse_mailbox(&c, out);
	if ((rc == SMTP_ADDR_OK || rc == SMTP_ADDR_UNQUALIFIED) && c.p != c.end)
		rc = out->len > out->local_len ? SMTP_ADDR_DOMAIN
					       : SMTP_ADDR_SYNTAX;
	return settle(rc, out);
}

enum smtp_reply
smtp_addr_reply(enum smtp_addr_rc rc, bool rcpt)
{
	static const enum smtp_reply reply[][2] = {
		[SMTP_ADDR_OK] = { R_MAIL_OK, R_RCPT_OK },
		[SMTP_ADDR_UNQUALIFIED] = { R_MAIL_UNQUALIFIED,
		    R_RCPT_UNQUALIFIED },
		[SMTP_ADDR_BRACKETS] = { R_MAIL_BRACKETS, R_RCPT_BRACKETS },
		[SMTP_ADDR_SYNTAX] = { R_MAIL_SYNTAX, R_RCPT_SYNTAX },
		[SMTP_ADDR_DOMAIN] = { R_MAIL_DOMAIN, R_RCPT_DOMAIN },
		[SMTP_ADDR_LITERAL] = { R_MAIL_LITERAL, R_RCPT_LITERAL },
		[SMTP_ADDR_TOO_LONG] = { R_MAIL_TOO_LONG, R_RCPT_TOO_LONG },
		[SMTP_ADDR_NEEDS_UTF8] = { R_MAIL_UTF8, R_RCPT_UTF8 },
		[SMTP_ADDR_NULL] = { R_MAIL_SYNTAX, R_RCPT_NULL },
	};

	return reply[rc][rcpt];
}

const char *
smtp_addr_domain(const char *mailbox)
{
	const char *p = mailbox;

	if (*p == '"') {
		for (p++; *p != '"' && *p != '\0'; p++)
			if (*p == '\\' && p[1] != '\0')
				p++;
	}
	p = strchr(p, '@');
	return p != NULL ? p + 1 : "";
}

bool
smtp_addr_domain_equal(const char *a, const char *b)
{
	size_t len = strlen(a);

	return len == strlen(b) && equal_fold(a, b, len);
}

int
smtp_ehlo_arg(const char *arg, size_t len, char out[SMTP_DOMAIN_MAX + 1])
{
	size_t i;

	out[0] = '\0';
	for (; len > 0 && *arg == ' '; arg++)
		len--;
	while (len > 0 && arg[len - 1] == ' ')
		len--;
	if (len == 0 || len > SMTP_DOMAIN_MAX)
		return -1;
	for (i = 0; i < len; i++)
		if ((unsigned char)arg[i] < ' ' || arg[i] == 0x7f)
			return -1;
	memcpy(out, arg, len);
	out[len] = '\0';
	return 0;
}
