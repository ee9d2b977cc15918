/*
 * Addresses in texts: the text is decoded into one buffer of plain UTF-8 in
 * which everything that could not be a part of an address is a blank, then
 * each @ in it is looked at.
 */
#include "shown.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base64.h"
#include "store/utf8.h"

/* Readers differ in what they make of quotes and encoded words. */
enum way {
	GLUED, /* they vanish, and what is beside them belongs together */
	APART, /* there is a blank in their place, or around them */
	RAW,   /* nothing is decoded */
};

/* The text as it is shown. */
struct text {
	char s[SHOWN_TEXT_MAX];
	size_t len;
	enum way way;
	enum shown_rc rc;
};

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	    (c >= 'a' && c <= 'z');
}

static bool
is_high(char c)
{
	return (c & 0x80) != 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char
fold(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool
begins(const char *s, size_t len, const char *word)
{
	for (; *word != '\0'; word++, s++, len--)
		if (len == 0 || fold(*s) != *word)
			return false;
	return true;
}

/* ---- characters ---- */

enum look { AS_IS, NOTHING, BLANK, DOT, AT, CONTROL, FULLWIDTH };

/* What a person sees of a character beyond ASCII. */
static enum look
look_of(uint32_t c)
{
	/* clang-format off */
	static const struct {
		uint32_t first, last;
		enum look look;
	} ranges[] = {
		{ 0x80, 0xa0, BLANK },
		{ 0xad, 0xad, NOTHING },      /* soft hyphen */
		{ 0x34f, 0x34f, NOTHING },
		{ 0x61c, 0x61c, NOTHING },    /* marks of direction */
		{ 0x115f, 0x1160, NOTHING },  /* Hangul fillers */
		{ 0x17b4, 0x17b5, NOTHING },
		{ 0x180b, 0x180f, NOTHING },
		{ 0x200b, 0x200f, NOTHING },  /* of no width */
		{ 0x2024, 0x2024, DOT },
		{ 0x202d, 0x202e, CONTROL },  /* turn what follows around */
		{ 0x202a, 0x202c, NOTHING },
		{ 0x2060, 0x206f, NOTHING },
		{ 0x2000, 0x205f, BLANK },    /* punctuation */
		{ 0x3002, 0x3002, DOT },
		{ 0x3164, 0x3164, NOTHING },
		{ 0x3000, 0x303f, BLANK },    /* punctuation */
		{ 0xfe00, 0xfe0f, NOTHING },  /* selectors of variants */
		{ 0xfe52, 0xfe52, DOT },
		{ 0xfe6b, 0xfe6b, AT },
		{ 0xfeff, 0xfeff, NOTHING },
		{ 0xff01, 0xff5e, FULLWIDTH },
		{ 0xff61, 0xff61, DOT },
		{ 0xffa0, 0xffa0, NOTHING },
		{ 0xfff0, 0xffff, BLANK },
		{ 0xe0000, 0xe0fff, NOTHING },  /* tags, more selectors */
	};
	/* clang-format on */
	size_t i;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return ranges[i].look;
	return AS_IS;
}

static void
put(struct text *t, const char *s, size_t n)
{
	if (t->rc != SHOWN_OK)
		return;
	if (n > sizeof(t->s) - t->len) {
		t->rc = SHOWN_LONG;
		return;
	}
	memcpy(t->s + t->len, s, n);
	t->len += n;
}

/* Where something begins or ends that is not shown. */
static void
put_border(struct text *t)
{
	if (t->way == APART)
		put(t, " ", 1);
}

/* An ASCII character. */
static void
put_ascii(struct text *t, char c)
{
	if (c == '"') {
		put_border(t);
		return;
	}
	if ((unsigned char)c < ' ' || c == 0x7f) {
		if (t->rc == SHOWN_OK)
			t->rc = SHOWN_CONTROL;
		return;
	}
	put(t, &c, 1);
}

/* A character beyond ASCII. */
static void
put_cp(struct text *t, uint32_t cp)
{
	char utf8[4];

	switch (look_of(cp)) {
	case AS_IS:
		put(t, utf8, utf8_put(cp, utf8));
		break;
	case NOTHING:
		break;
	case BLANK:
		put(t, " ", 1);
		break;
	case DOT:
		put(t, ".", 1);
		break;
	case AT:
		put(t, "@", 1);
		break;
	case FULLWIDTH:
		put_ascii(t, (char)(cp - 0xfee0));
		break;
	case CONTROL:
		if (t->rc == SHOWN_OK)
			t->rc = SHOWN_CONTROL;
	}
}

/* ---- character sets ---- */

/*
 * How the bytes of a set relate to ASCII. What is not ASCII in sets other
 * than UTF-8 is a blank here: an address is ASCII or UTF-8.
 */
enum kind {
	UTF8,
	SINGLE,    /* one byte a character */
	PAIR_HIGH, /* two, both above 0x7f: EUC */
	PAIR_ANY,  /* two, the second perhaps ASCII: Big5, GBK */
	PAIR_SJIS, /* as above, but some high ones stand alone */
	JIS,       /* escapes switch to pairs of ASCII bytes */
	UNKNOWN
};

static enum kind
kind_of(const char *name, size_t len)
{
	/* clang-format off */
	static const struct {
		const char *prefix; /* no other set begins so */
		enum kind kind;
	} sets[] = {
		{ "utf-8", UTF8 }, { "utf8", UTF8 },
		{ "us-ascii", UTF8 }, { "ascii", UTF8 },
		{ "ansi_x3.4", UTF8 }, { "unknown-8bit", UTF8 },
		{ "iso-8859-", SINGLE }, { "iso8859-", SINGLE },
		{ "iso_8859-", SINGLE }, { "latin", SINGLE },
		{ "windows-125", SINGLE }, { "cp125", SINGLE },
		{ "windows-874", SINGLE }, { "tis-620", SINGLE },
		{ "koi8-", SINGLE }, { "macintosh", SINGLE },
		{ "x-mac-", SINGLE }, { "ibm8", SINGLE }, { "cp8", SINGLE },
		{ "viscii", SINGLE },
		{ "euc-", PAIR_HIGH }, { "x-euc-", PAIR_HIGH },
		{ "ks_c_5601", PAIR_ANY }, { "cp949", PAIR_ANY },
		{ "gb2312", PAIR_ANY }, { "gbk", PAIR_ANY },
		{ "gb18030", PAIR_ANY }, { "cp936", PAIR_ANY },
		{ "windows-936", PAIR_ANY },
		{ "big5", PAIR_ANY }, { "cp950", PAIR_ANY },
		{ "shift_jis", PAIR_SJIS }, { "shift-jis", PAIR_SJIS },
		{ "sjis", PAIR_SJIS }, { "x-sjis", PAIR_SJIS },
		{ "cp932", PAIR_SJIS }, { "windows-31j", PAIR_SJIS },
		{ "iso-2022-jp", JIS },
	};
	/* clang-format on */
	size_t i;

	for (i = 0; i < len; i++) /* "*" begins a language: RFC 2231 5 */
		if (!is_alnum(name[i]) && strchr("-_.:*", name[i]) == NULL)
			return UNKNOWN;
	for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (begins(name, len, sets[i].prefix))
			return sets[i].kind;
	return UNKNOWN;
}

/* Whether the byte after this high one belongs to it. */
static bool
takes_next(enum kind kind, unsigned char c, unsigned char next)
{
	switch (kind) {
	case PAIR_HIGH:
		return next >= 0x80;
	case PAIR_ANY:
		return c >= 0x81 && c <= 0xfe && next >= 0x40;
	case PAIR_SJIS:
		return ((c >= 0x81 && c <= 0x9f) || (c >= 0xe0 && c <= 0xfc)) &&
		    next >= 0x40;
	default:
		return false;
	}
}

/* Behind the ESC of ISO-2022-JP: its length; *pairs says what follows. */
static size_t
escape_len(const char *s, size_t len, bool *pairs)
{
	if (len >= 2 && s[0] == '$') {
		*pairs = true;
		return s[1] == '(' || s[1] == ')' ? 3 : 2;
	}
	*pairs = false;
	return 2;
}

/* Bytes of a set, as they come out of an encoded word or stand in the raw. */
static void
put_bytes(struct text *t, const char *s, size_t len, enum kind kind)
{
	bool pairs = false;
	uint32_t cp;
	size_t n;

	for (; len > 0; s += n, len -= n) {
		n = 1;
		if (kind == JIS && *s == 0x1b) {
			n += escape_len(s + 1, len - 1, &pairs);
			if (n > len)
				n = len;
		} else if (pairs && len > 1 && *s > ' ') {
			n = 2;
			put(t, " ", 1);
		} else if (!is_high(*s)) {
			put_ascii(t, *s);
		} else if (kind == UTF8 && (n = utf8_next(s, len, &cp)) > 0) {
			put_cp(t, cp);
		} else {
			n = len > 1 &&
				takes_next(kind, (unsigned char)s[0],
				    (unsigned char)s[1])
			    ? 2
			    : 1;
			put(t, " ", 1);
		}
	}
}

/* ---- encoded words ---- */

struct word {
	const char *charset, *data;
	size_t charset_len, data_len;
	size_t len; /* of all of it */
	bool base64;
};

/*
 * Whether s begins with "=?charset?B?data?=". end is behind the last "?=" of
 * the text, so that none is looked for in vain again and again.
 */
static bool
find_word(const char *s, const char *end, struct word *w)
{
	const char *p, *q;

	if (end - s < 8 || s[0] != '=' || s[1] != '?')
		return false;
	w->charset = s + 2;
	p = memchr(w->charset, '?', (size_t)(end - w->charset));
	if (p == NULL || end - p < 3 || p[2] != '?' ||
	    (fold(p[1]) != 'b' && fold(p[1]) != 'q'))
		return false;
	w->charset_len = (size_t)(p - w->charset);
	w->base64 = fold(p[1]) == 'b';
	w->data = p + 3;
	for (q = w->data; (q = memchr(q, '?', (size_t)(end - q))) != NULL; q++)
		if (q + 1 < end && q[1] == '=')
			break;
	if (q == NULL)
		return false;
	w->data_len = (size_t)(q - w->data);
	w->len = (size_t)(q - s) + 2;
	return true;
}

static int
hex(char c)
{
	c = fold(c);
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Both write at most in_len bytes, and are as lenient as readers are. */
static size_t
decode_q(const char *in, size_t in_len, char *out)
{
	size_t i, n = 0;

	for (i = 0; i < in_len; i++) {
		out[n] = (char)(in[i] == '_' || is_blank(in[i]) ? ' ' : in[i]);
		if (in[i] == '=' && in_len - i >= 3 && hex(in[i + 1]) >= 0 &&
		    hex(in[i + 2]) >= 0) {
			out[n] = (char)(hex(in[i + 1]) * 16 + hex(in[i + 2]));
			i += 2;
		}
		n++;
	}
	return n;
}

static size_t
decode_b(const char *in, size_t in_len, char *out)
{
	uint32_t bits = 0;
	unsigned held = 0;
	size_t i, n = 0;
	int digit;

	for (i = 0; i < in_len; i++) {
		if (in[i] == '=')
			held = 0;
		if ((digit = base64_digit(in[i])) == -1)
			continue;
		bits = bits << 6 | (uint32_t)digit;
		held += 6;
		if (held >= 8) {
			held -= 8;
			out[n++] = (char)(bits >> held);
		}
	}
	return n;
}

/* Whether base64 has nothing else in it, that a reader might show instead. */
static bool
is_base64(const char *s, size_t len)
{
	for (; len > 0; s++, len--)
		if (base64_digit(*s) == -1 && *s != '=' && !is_blank(*s))
			return false;
	return true;
}

static void
put_word(struct text *t, const struct word *w)
{
	enum kind kind = kind_of(w->charset, w->charset_len);
	char data[SHOWN_TEXT_MAX];
	size_t n;

	if (w->data_len > sizeof(data)) {
		t->rc = SHOWN_LONG;
		return;
	}
	if (kind == UNKNOWN || (w->base64 && !is_base64(w->data, w->data_len)))
		t->rc = SHOWN_WORD;
	n = w->base64 ? decode_b(w->data, w->data_len, data)
		      : decode_q(w->data, w->data_len, data);
	put_border(t);
	put_bytes(t, data, n, kind);
	put_border(t);
}

/* ---- the text ---- */

/* The blanks at s, if an encoded word follows them; else 0. */
static size_t
blanks_before_word(const char *s, const char *end)
{
	const char *p = s;
	struct word w;

	while (p < end && is_blank(*p))
		p++;
	return find_word(p, end, &w) ? (size_t)(p - s) : 0;
}

/* Behind the last encoded word there could be. */
static const char *
end_of_words(const char *s, size_t len)
{
	for (; len >= 2; len--)
		if (s[len - 2] == '?' && s[len - 1] == '=')
			return s + len;
	return s;
}

/* The length of what is neither an encoded word nor special in any way. */
static size_t
plain_len(const char *s, size_t len)
{
	size_t n;

	for (n = 0; n < len; n++)
		if (is_blank(s[n]) || s[n] == '\\' || (n > 0 && s[n] == '='))
			break;
	return n;
}

/* No encoded word ends behind `end`. */
static void
show(struct text *t, const char *s, size_t len, const char *end)
{
	struct word w;
	size_t n;

	for (; len > 0 && t->rc == SHOWN_OK; s += n, len -= n) {
		n = 1;
		if (find_word(s, end, &w)) {
			put_word(t, &w);
			/* blanks between two of them are not shown */
			n = w.len + blanks_before_word(s + w.len, end);
		} else if (is_blank(*s)) {
			put(t, " ", 1);
		} else if (*s != '\\') {
			n = plain_len(s, len);
			put_bytes(t, s, n, UTF8);
		}
	}
}

/* ---- addresses ---- */

/* A question mark is rather the end of something else. */
static bool
is_local(char c)
{
	return is_alnum(c) || is_high(c) ||
	    (c != '\0' && strchr("!#$%&'*+-/=^_`{|}~.", c) != NULL);
}

static bool
is_domain(char c)
{
	return is_alnum(c) || is_high(c) || c == '-' || c == '.' || c == '_';
}

/*
 * How much of s looks like a domain: names with dots between, the last of two
 * letters or more. 0: nothing does.
 */
static size_t
domain_len(const char *s, size_t len)
{
	const char *dot;
	size_t last;

	while ((dot = memrchr(s, '.', len)) != NULL && dot > s) {
		last = len - (size_t)(dot - s) - 1;
		if (last >= 2 &&
		    (is_high(dot[1]) ||
			(fold(dot[1]) >= 'a' && fold(dot[1]) <= 'z')))
			return len;
		len = (size_t)(dot - s);
	}
	return 0;
}

/* Reports what is around the @ at `at`, if it is an address. */
static void
look_at(struct text *t, size_t at, shown_fn *fn, void *arg)
{
	char address[SHOWN_ADDRESS_MAX + 1];
	size_t first = at, end = at + 1, n;

	while (first > 0 && is_local(t->s[first - 1]))
		first--;
	while (first < at && !is_alnum(t->s[first]) && !is_high(t->s[first]))
		first++;
	while (end < t->len && is_domain(t->s[end]))
		end++;
	n = domain_len(t->s + at + 1, end - at - 1);
	if (first == at || n == 0)
		return;
	n += at + 1 - first;
	if (n > SHOWN_ADDRESS_MAX) {
		t->rc = SHOWN_LONG;
		return;
	}
	memcpy(address, t->s + first, n);
	address[n] = '\0';
	fn(arg, address);
}

static enum shown_rc
look(const char *text, size_t len, enum way way, shown_fn *fn, void *arg)
{
	struct text t;
	size_t i;

	t.way = way;
	t.len = 0;
	t.rc = SHOWN_OK;
	show(&t, text, len, way == RAW ? text : end_of_words(text, len));
	for (i = 0; i < t.len && t.rc == SHOWN_OK; i++)
		if (t.s[i] == '@')
			look_at(&t, i, fn, arg);
	return t.rc;
}

enum shown_rc
shown_addresses(const char *text, size_t len, shown_fn *fn, void *arg)
{
	bool words = end_of_words(text, len) != text;
	bool borders = words || memchr(text, '"', len) != NULL;
	enum shown_rc rc;

	rc = look(text, len, GLUED, fn, arg);
	if (rc == SHOWN_OK && borders)
		rc = look(text, len, APART, fn, arg);
	if (rc == SHOWN_OK && words)
		rc = look(text, len, RAW, fn, arg);
	return rc;
}
