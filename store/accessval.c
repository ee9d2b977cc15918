/*
 * Values of the access map, taken apart. The grammar is in accessval.h.
 */
#include "accessval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BITS_DIGITS_MAX 9 /* fits a long anywhere */

static const char unbalanced[] =
    "unbalanced quotes, parentheses or angle brackets, or too long";

static int
malformed(const char **why, const char *text)
{
	if (why != NULL)
		*why = text;
	return -1;
}

bool
accessval_is(const char *value, const char *keyword)
{
	return strcasecmp(value, keyword) == 0;
}

/* Steps over a word that stands at *p, whatever its case. */
static bool
take(const char **p, const char *word)
{
	size_t len = strlen(word);

	if (strncasecmp(*p, word, len) != 0)
		return false;
	*p += len;
	return true;
}

/* Octets that can stand in the escaped form of a name. */
static bool
is_name_octet(unsigned char c)
{
	return c > 0x20 && c < 0x7f && strchr("\"()<>\\", c) == NULL;
}

static int
parse_bits(const char **p, struct accessval_tls *out, const char **why)
{
	size_t digits = strspn(*p, "0123456789");

	if (digits == 0)
		return malformed(why, "a number of bits is missing after ':'");
	if (digits > BITS_DIGITS_MAX)
		return malformed(why, "the number of bits is too large");
	if (digits > 1 && **p == '0')
		return malformed(
		    why, "a leading zero would make the bits octal");
	out->has_bits = true;
	out->bits = strtol(*p, NULL, 10);
	*p += digits;
	return 0;
}

/* One item without its separators, at p with len octets. */
static int
parse_item(
    const char *p, size_t len, struct accessval_item *item, const char **why)
{
	static const struct {
		const char *word;
		enum accessval_item_kind kind;
	} kinds[] = {
		{ "CN:", ACCESSVAL_CN },
		{ "CS:", ACCESSVAL_CS },
		{ "CI:", ACCESSVAL_CI },
		{ "CITag:", ACCESSVAL_CITAG },
	};

	if (len == 2 && strncasecmp(p, "CN", 2) == 0) {
		*item = (struct accessval_item){ .kind = ACCESSVAL_CN_HOST };
		return 0;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].word);

		if (len < n || strncasecmp(p, kinds[i].word, n) != 0)
			continue;
		*item =
		    (struct accessval_item){ kinds[i].kind, p + n, len - n };
		if (item->len == 0)
			return malformed(why, "an item has no name after ':'");
		return 0;
	}
	return malformed(
	    why, "items are CN, CN:name, CS:dn, CI:dn or CITag:word");
}

static int
check_item(const struct accessval_item *item, const char **why)
{
	for (size_t i = 0; i < item->len; i++) {
		unsigned char c = (unsigned char)item->arg[i];

		if (!is_name_octet(c))
			return malformed(why,
			    "a name has a character that must be written "
			    "as + and two hex digits");
		if (item->kind == ACCESSVAL_CITAG &&
		    strchr(".:%@!^/[]+,;", c) != NULL)
			return malformed(why, "CITag wants a plain word");
	}
	return 0;
}

/* The items behind the "+" that has been taken. */
static int
parse_items(const char *p, struct accessval_tls *out, const char **why)
{
	for (;;) {
		const char *end = strstr(p, "++");
		size_t len = end != NULL ? (size_t)(end - p) : strlen(p);
		struct accessval_item *item;

		if (out->nitems == ACCESSVAL_ITEMS_MAX)
			return malformed(why, "too many items");
		item = &out->item[out->nitems++];
		if (parse_item(p, len, item, why) == -1 ||
		    check_item(item, why) == -1)
			return -1;
		if (end == NULL)
			return 0;
		p = end + 2;
	}
}

static int
parse_requirement(const char *p, struct accessval_tls *out, const char **why)
{
	if (take(&p, "PERM+"))
		out->prefix = ACCESSVAL_PERM;
	else if (take(&p, "TEMP+"))
		out->prefix = ACCESSVAL_TEMP;
	out->required = true;
	if (take(&p, "VERIFY"))
		out->verify = true;
	else if (!take(&p, "ENCR"))
		return malformed(
		    why, "expected OK, SKIP, VERIFY, VERIFY:bits or ENCR:bits");
	if (*p == ':') {
		p++;
		if (parse_bits(&p, out, why) == -1)
			return -1;
	} else if (!out->verify)
		return malformed(why, "ENCR needs a number of bits: ENCR:128");
	if (*p == '\0')
		return 0;
	if (*p != '+')
		return malformed(
		    why, "only +CN, +CN:, +CS:, +CI: or +CITag: may follow");
	return parse_items(p + 1, out, why);
}

int
accessval_tls(const char *value, struct accessval_tls *out, const char **why)
{
	*out = (struct accessval_tls){ 0 };
	if (accessval_is(value, "OK") || accessval_is(value, "SKIP"))
		return 0;
	return parse_requirement(value, out, why);
}

/*
 * Tokens. An operator is a token of its own, a quoted string too, and blanks
 * and comments part plain words.
 */
struct joiner {
	char *out;
	size_t size, len;
	int parens, angles;
	bool word;  /* the last token was a plain word */
	bool ended; /* and something ended it */
};

static int
put(struct joiner *j, char c)
{
	if (j->len + 1 >= j->size)
		return -1;
	j->out[j->len++] = c;
	return 0;
}

/* A quoted string at *p, with its quotes. */
static int
join_quoted(struct joiner *j, const char **p)
{
	const char *s = *p;

	j->word = false;
	if (put(j, *s++) == -1)
		return -1;
	while (*s != '"') {
		if (*s == '\\' && put(j, *s++) == -1)
			return -1;
		if (*s == '\0' || put(j, *s++) == -1)
			return -1;
	}
	*p = s + 1;
	return put(j, '"');
}

static int
join_comment(struct joiner *j, const char **p)
{
	const char *s = *p;
	int depth = 0;

	do {
		if (*s == '\\' && s[1] != '\0')
			s++;
		else if (*s == '(')
			depth++;
		else if (*s == ')')
			depth--;
		else if (*s == '\0')
			return -1;
		s++;
	} while (depth > 0);
	*p = s;
	j->ended = true;
	return 0;
}

static int
join_operator(struct joiner *j, const char **p)
{
	char c = *(*p)++;

	if (c == '<')
		j->angles++;
	if (c == '>' && --j->angles < 0)
		return -1;
	j->word = false;
	return put(j, c);
}

/* One octet of a plain word, or two with a backslash. */
static int
join_plain(struct joiner *j, const char **p)
{
	if (j->word && j->ended && put(j, ' ') == -1)
		return -1;
	j->word = true;
	j->ended = false;
	if (**p == '\\' && put(j, *(*p)++) == -1)
		return -1;
	if (**p == '\0')
		return -1;
	return put(j, *(*p)++);
}

static int
join_token(struct joiner *j, const char **p)
{
	switch (**p) {
	case ' ':
	case '\t':
		(*p)++;
		j->ended = true;
		return 0;
	case '"':
		return join_quoted(j, p);
	case '(':
		return join_comment(j, p);
	case ')':
		return -1;
	default:
		if (strchr(".:%@!^/[]+<>,;", **p) != NULL)
			return join_operator(j, p);
		return join_plain(j, p);
	}
}

int
accessval_join(const char *value, char *out, size_t size)
{
	struct joiner j = { .out = out, .size = size };

	while (*value != '\0') {
		if (join_token(&j, &value) == -1)
			return -1;
	}
	if (j.angles != 0 || size == 0)
		return -1;
	out[j.len] = '\0';
	return 0;
}

/* Takes quotes away, and the backslash before a character. */
static void
strip_quotes(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		if (*s == '"')
			continue;
		if (*s == '\\' && *++s == '\0')
			break;
		*to++ = *s;
	}
	*to = '\0';
}

/* Length of an enhanced status code (RFC 3463) that ends at stop, or 0. */
static size_t
esc_length(const char *s, char stop)
{
	const char *p = s;

	if (strchr("245", *p) == NULL || *p == '\0')
		return 0;
	p++;
	for (int part = 0; part < 2; part++) {
		size_t digits;

		if (*p++ != '.')
			return 0;
		digits = strspn(p, "0123456789");
		if (digits < 1 || digits > 3)
			return 0;
		p += digits;
	}
	return *p == stop ? (size_t)(p - s) : 0;
}

/* The three words between dots and the colon of ERROR:D.S.N: at p, or 0. */
static size_t
dsn_length(const char *p)
{
	size_t at = 0;

	for (int part = 0; part < 3; part++) {
		size_t n = strcspn(p + at, ".:%@!^/[]+<>,;\" ");

		if (n == 0 || p[at + n] != (part < 2 ? '.' : ':'))
			return 0;
		at += n + 1;
	}
	return p[at] != '\0' ? at : 0;
}

static void
set_esc(struct accessval_reply *out, const char *s, size_t len)
{
	if (len >= sizeof(out->esc))
		len = 0;
	memcpy(out->esc, s, len);
	out->esc[len] = '\0';
}

/*
 * The text of a refusal: a code, an enhanced code, a sentence. dsn is what
 * stood before it ("5.7.1:"), dlen octets, or 0.
 */
static int
parse_error(char *text, const char *dsn, size_t dlen,
    struct accessval_reply *out, const char **why)
{
	size_t esc;

	out->kind = ACCESSVAL_ERROR;
	strip_quotes(text);
	if (strspn(text, "0123456789") < 3 || text[3] != ' ') {
		out->code = 553;
		set_esc(out, "5.3.0", 5);
		snprintf(out->text, sizeof(out->text), "%s", text);
		return 0;
	}
	if (text[0] != '4' && text[0] != '5')
		return malformed(why, "the reply code must be 4xx or 5xx");
	out->code = atoi(text);
	esc = esc_length(text + 4, ' ');
	if (esc > 0) {
		set_esc(out, text + 4, esc);
		text += esc + 1;
	} else if (dlen > 0 && esc_length(dsn, ':') == dlen - 1)
		set_esc(out, dsn, dlen - 1);
	else
		snprintf(out->esc, sizeof(out->esc), "%c.0.0", text[0]);
	snprintf(out->text, sizeof(out->text), "%s", text + 4);
	return 0;
}

static bool
is_printable(const char *s)
{
	for (; *s != '\0'; s++) {
		if (((unsigned char)*s < 0x20 && *s != '\t') ||
		    (unsigned char)*s > 0x7e)
			return false;
	}
	return true;
}

static const struct {
	const char *word;
	enum accessval_kind kind;
} keywords[] = {
	{ "OK", ACCESSVAL_OK },
	{ "RELAY", ACCESSVAL_RELAY },
	{ "DISCARD", ACCESSVAL_DISCARD },
	{ "SKIP", ACCESSVAL_SKIP },
	{ "REJECT", ACCESSVAL_REJECT },
};

/* Index of the keyword that s equals, or -1. */
static int
find_keyword(const char *s)
{
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		if (accessval_is(s, keywords[i].word))
			return (int)i;
	}
	return -1;
}

static int
parse_joined(char *text, struct accessval_reply *out, const char **why)
{
	const char *p = text;
	size_t dsn;

	if (take(&p, "QUARANTINE:")) {
		if (*p == '\0')
			return malformed(why, "QUARANTINE: needs a text");
		out->kind = ACCESSVAL_QUARANTINE;
		snprintf(out->text, sizeof(out->text), "%s", p);
		return 0;
	}
	if (!take(&p, "ERROR:")) {
		if (parse_error(text, NULL, 0, out, why) == -1)
			return -1;
		out->plain = out->code == 553 && strcmp(out->esc, "5.3.0") == 0;
		return 0;
	}
	if (*p == '\0')
		return malformed(why, "ERROR: needs a text");
	dsn = dsn_length(p);
	return parse_error(text + (p - text) + dsn, p, dsn, out, why);
}

int
accessval_reply(
    const char *value, struct accessval_reply *out, const char **why)
{
	char text[ACCESSVAL_TEXT_SIZE];
	int word;

	*out = (struct accessval_reply){ 0 };
	if ((word = find_keyword(value)) != -1) {
		out->kind = keywords[word].kind;
		return 0;
	}
	if (!is_printable(value))
		return malformed(why, "only printable ASCII may be in a value");
	if (accessval_join(value, text, sizeof(text)) == -1)
		return malformed(why, unbalanced);
	if (text[0] == '\0')
		return malformed(why, "the value is empty");
	if ((word = find_keyword(text)) != -1) {
		out->kind = keywords[word].kind;
		if (out->kind != ACCESSVAL_REJECT)
			return malformed(
			    why, "nothing may stand beside the keyword");
		return 0;
	}
	return parse_joined(text, out, why);
}

int
accessval_try_tls(const char *value, bool *forbids, const char **why)
{
	char text[ACCESSVAL_TEXT_SIZE];

	*forbids = false;
	if (accessval_join(value, text, sizeof(text)) == -1)
		return malformed(why, unbalanced);
	*forbids = accessval_is(text, "NO");
	if (*forbids)
		return 0;
	strip_quotes(text);
	if (accessval_is(text, "NO"))
		return malformed(why, "NO stands without quotes");
	return 0;
}
