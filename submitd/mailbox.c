/*
 * The mailboxes of an address field.
 *
 * A field is a list of elements, and an element a row of words, up to a comma
 * or semicolon (then the only word is an address), an angle bracket (then they
 * are a name) or a colon (the name of a group). A word is what stands together
 * without blank or comment; one that has an @ outside of quotes is an address
 * wherever it stands.
 */
#include "mailbox.h"

#include <stdbool.h>
#include <string.h>

#include "shown.h"
#include "smtp_addr.h"

enum { LIST_MAX = 200 }; /* addresses in one field */

struct scan {
	const char *p, *end;
	mailbox_fn *fn;
	void *arg;
	unsigned n; /* addresses so far */
	bool group; /* inside of one */
};

/* The words of an element. */
struct words {
	unsigned n, addresses;
	enum mailbox_rc bad; /* of the first that has an @ and is no address */
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What a word is made of, outside of quotes and brackets. */
static bool
is_word(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || (c & 0x80) != 0)
		return true;
	return c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.@", c) != NULL;
}

static bool
at(const struct scan *s, char want)
{
	return s->p < s->end && *s->p == want;
}

static void
skip_blanks(struct scan *s)
{
	while (s->p < s->end && is_blank(*s->p))
		s->p++;
}

/* A comment, with those in it; the cursor is at its first parenthesis. */
static enum mailbox_rc
skip_comment(struct scan *s)
{
	size_t depth = 0;

	for (; s->p < s->end; s->p++) {
		if (*s->p == '(') {
			depth++;
		} else if (*s->p == ')') {
			if (--depth == 0) {
				s->p++;
				return MAILBOX_OK;
			}
		} else if (*s->p == '\\' && s->p + 1 < s->end) {
			s->p++;
		}
	}
	return MAILBOX_QUOTES;
}

/* Blanks, folds and comments: RFC 5322 3.2.2. */
static enum mailbox_rc
skip_cfws(struct scan *s)
{
	enum mailbox_rc rc;

	for (;;) {
		skip_blanks(s);
		if (!at(s, '('))
			return MAILBOX_OK;
		if ((rc = skip_comment(s)) != MAILBOX_OK)
			return rc;
	}
}

/* A quoted string; the cursor is at its first quote. */
static enum mailbox_rc
skip_quoted(struct scan *s)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++)
		if (*s->p == '\\' && s->p + 1 < s->end)
			s->p++;
	if (s->p == s->end)
		return MAILBOX_QUOTES;
	s->p++;
	return MAILBOX_OK;
}

/* "[text]": an address literal, or a part of a name. */
static enum mailbox_rc
skip_literal(struct scan *s)
{
	const char *close = memchr(s->p, ']', (size_t)(s->end - s->p));

	if (close == NULL)
		return MAILBOX_BRACKETS;
	for (s->p++; s->p < close; s->p++)
		if (!is_word(*s->p) && *s->p != ':' && *s->p != ' ')
			return MAILBOX_NAME;
	s->p++;
	return MAILBOX_OK;
}

/* One quoted string, literal or character of a word. */
static enum mailbox_rc
skip_part(struct scan *s)
{
	if (*s->p == '"')
		return skip_quoted(s);
	if (*s->p == '[')
		return skip_literal(s);
	s->p++;
	return MAILBOX_OK;
}

static bool
at_word(const struct scan *s)
{
	return s->p < s->end &&
	    (is_word(*s->p) || *s->p == '"' || *s->p == '[');
}

static void
report(struct scan *s, const char *address)
{
	s->n++;
	s->fn(s->arg, address);
}

/* Whether a lenient reader might see an encoded word in it. */
static bool
has_encoded(const char *p, size_t n)
{
	const char *q = p, *end = p + n;

	while ((q = memchr(q, '=', (size_t)(end - q))) != NULL)
		if (++q < end && *q == '?')
			return true;
	return false;
}

static enum mailbox_rc
take_address(struct scan *s, const char *p, size_t n)
{
	struct smtp_addr a;

	if (has_encoded(p, n))
		return MAILBOX_ENCODED;
	switch (smtp_addr_mailbox(p, n, SMTP_ADDR_ALLOW_UTF8, &a)) {
	case SMTP_ADDR_OK:
		report(s, a.text);
		return s->n <= LIST_MAX ? MAILBOX_OK : MAILBOX_LONG;
	case SMTP_ADDR_UNQUALIFIED:
		return MAILBOX_UNQUALIFIED;
	case SMTP_ADDR_DOMAIN:
	case SMTP_ADDR_LITERAL:
		return MAILBOX_DOMAIN;
	case SMTP_ADDR_TOO_LONG:
		return MAILBOX_LONG;
	default:
		return MAILBOX_SYNTAX;
	}
}

static enum mailbox_rc
take_word(struct scan *s, struct words *w)
{
	const char *start = s->p;
	bool has_at = false;
	enum mailbox_rc rc;

	while (at_word(s)) {
		has_at |= *s->p == '@';
		if ((rc = skip_part(s)) != MAILBOX_OK)
			return rc;
	}
	if (s->p == start)
		return *start == '>' ? MAILBOX_BRACKETS
		    : *start == '\\' ? MAILBOX_NAME
				     : MAILBOX_SYNTAX;
	w->n++;
	if (!has_at)
		return MAILBOX_OK;
	w->addresses++;
	rc = take_address(s, start, (size_t)(s->p - start));
	if (w->bad == MAILBOX_OK)
		w->bad = rc;
	return MAILBOX_OK;
}

/* The end of an element without brackets. */
static enum mailbox_rc
end_bare(const struct words *w)
{
	if (w->n > 1)
		return w->addresses > 0 ? MAILBOX_BRACKETS : MAILBOX_NAME;
	return w->addresses > 0 ? w->bad : MAILBOX_UNQUALIFIED;
}

/* Words that turn out to be a name. */
static enum mailbox_rc
end_name(const struct words *w)
{
	return w->bad == MAILBOX_OK || w->bad == MAILBOX_ENCODED ? w->bad
								 : MAILBOX_NAME;
}

/* What is between the angle brackets. */
static enum mailbox_rc
inside_brackets(struct scan *s)
{
	const char *start = s->p;
	enum mailbox_rc rc;
	size_t n;

	while (at_word(s))
		if ((rc = skip_part(s)) != MAILBOX_OK)
			return rc;
	n = (size_t)(s->p - start);
	skip_blanks(s);
	if (n == 0 && at(s, '>'))
		return MAILBOX_NONE;
	if (at(s, '>'))
		return take_address(s, start, n);
	if (s->p == s->end || *s->p == '<')
		return MAILBOX_BRACKETS;
	if (*s->p == '(' || is_blank(s->p[-1]))
		return MAILBOX_BLANK;
	return MAILBOX_SYNTAX;
}

static enum mailbox_rc
take_brackets(struct scan *s)
{
	enum mailbox_rc rc;

	s->p++;
	skip_blanks(s);
	if (at(s, '@'))
		return MAILBOX_ROUTE;
	if ((rc = inside_brackets(s)) != MAILBOX_OK)
		return rc;
	s->p++;
	if ((rc = skip_cfws(s)) != MAILBOX_OK)
		return rc;
	return s->p == s->end || *s->p == ',' || *s->p == ';'
	    ? MAILBOX_OK
	    : MAILBOX_BRACKETS;
}

static enum mailbox_rc
begin_group(struct scan *s, const struct words *w)
{
	if (s->group || w->n == 0)
		return MAILBOX_SYNTAX;
	s->group = true;
	s->p++;
	return end_name(w);
}

static enum mailbox_rc
end_group(struct scan *s)
{
	enum mailbox_rc rc;

	if (!s->group)
		return MAILBOX_SYNTAX;
	s->group = false;
	s->p++;
	if ((rc = skip_cfws(s)) != MAILBOX_OK)
		return rc;
	return s->p == s->end || *s->p == ',' ? MAILBOX_OK : MAILBOX_SYNTAX;
}

/* A mailbox, or what stands before the members of a group. */
static enum mailbox_rc
take_element(struct scan *s)
{
	struct words w = { .n = 0 };
	enum mailbox_rc rc;

	for (;;) {
		if ((rc = skip_cfws(s)) != MAILBOX_OK)
			return rc;
		if (s->p == s->end || *s->p == ',' || *s->p == ';')
			return end_bare(&w);
		if (*s->p == ':')
			return begin_group(s, &w);
		if (*s->p == '<') {
			if ((rc = end_name(&w)) != MAILBOX_OK)
				return rc;
			return take_brackets(s);
		}
		if ((rc = take_word(s, &w)) != MAILBOX_OK)
			return rc;
	}
}

static enum mailbox_rc
take_list(struct scan *s)
{
	enum mailbox_rc rc;

	for (;;) {
		if ((rc = skip_cfws(s)) != MAILBOX_OK)
			return rc;
		if (s->p == s->end)
			return s->group ? MAILBOX_SYNTAX : MAILBOX_OK;
		if (*s->p == ',') /* nothing between two: 4.4 */
			s->p++;
		else if (*s->p == ';')
			rc = end_group(s);
		else
			rc = take_element(s);
		if (rc != MAILBOX_OK)
			return rc;
	}
}

/* No control characters but tabs and folds. */
static bool
is_clean(const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if ((unsigned char)p[i] >= ' ' && p[i] != 0x7f)
			continue;
		if (p[i] == '\t')
			continue;
		if (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n')
			continue;
		if (p[i] == '\n' && i + 1 < n &&
		    (p[i + 1] == ' ' || p[i + 1] == '\t'))
			continue;
		return false;
	}
	return true;
}

static void
on_shown(void *arg, const char *address)
{
	report(arg, address);
}

enum mailbox_rc
mailbox_list(const char *value, size_t len, mailbox_fn *fn, void *arg)
{
	static const enum mailbox_rc of_shown[] = {
		[SHOWN_OK] = MAILBOX_OK,
		[SHOWN_CONTROL] = MAILBOX_CONTROL,
		[SHOWN_WORD] = MAILBOX_WORD,
		[SHOWN_LONG] = MAILBOX_LONG,
	};
	struct scan s = { .p = value, .fn = fn, .arg = arg };
	enum mailbox_rc rc;

	if (len > 0 && value[len - 1] == '\n')
		len--;
	if (len > 0 && value[len - 1] == '\r')
		len--;
	if (len > MAILBOX_VALUE_MAX)
		return MAILBOX_LONG;
	if (!is_clean(value, len))
		return MAILBOX_CONTROL;
	s.end = value + len;
	if ((rc = take_list(&s)) != MAILBOX_OK)
		return rc;
	if (s.n == 0)
		return MAILBOX_NONE;
	return of_shown[shown_addresses(value, len, on_shown, &s)];
}

const char *
mailbox_text(enum mailbox_rc rc)
{
	static const char *const text[MAILBOX_RCS] = {
		[MAILBOX_OK] = "is well",
		[MAILBOX_MISSING] = "is missing",
		[MAILBOX_TWICE] = "stands there more than once",
		[MAILBOX_NONE] = "has no address",
		[MAILBOX_SYNTAX] = "has something that is no address",
		[MAILBOX_NAME] =
		    "has a name with special characters; it needs quotes",
		[MAILBOX_BRACKETS] =
		    "needs the form Name <address>, with nothing behind it",
		[MAILBOX_QUOTES] = "has a quote or comment that does not end",
		[MAILBOX_BLANK] = "has a blank or comment in an address",
		[MAILBOX_UNQUALIFIED] = "has an address without a full domain, "
					"or a name with a comma and no quotes",
		[MAILBOX_DOMAIN] = "has an address whose domain is not valid",
		[MAILBOX_ROUTE] = "has an address with a source route",
		[MAILBOX_ENCODED] = "has an encoded word in an address",
		[MAILBOX_CONTROL] = "has a control character",
		[MAILBOX_WORD] =
		    "has an encoded name in a form that is not known here",
		[MAILBOX_LONG] = "is too long",
	};

	return text[rc];
}
