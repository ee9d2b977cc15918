/* Parameters of MAIL and RCPT, and their values. */
#include "smtp_param.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "store/utf8.h"

enum {
	ENVID_TEXT_MAX = 100, /* RFC 3461 4.4 */
	BY_DIGITS = 9,        /* RFC 2852 4 */
	HOLD_DIGITS = 9,      /* RFC 4865 3 */
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

/* RFC 5322 atext, ASCII only. */
static bool
is_atext(char c)
{
	return is_alpha(c) || is_digit(c) ||
	    (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_word(const char *p, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(p, word, len) == 0;
}

void
smtp_params_init(struct smtp_params *it, const char *arg, size_t len)
{
	it->next = arg;
	it->end = arg + len;
	it->nseen = 0;
}

/* esmtp-keyword, RFC 5321 4.1.2; upper-cased into out. Its length or 0. */
static size_t
take_key(const char *p, const char *end, char out[SMTP_PARAM_KEY_MAX + 1])
{
	size_t n = 0;

	while (p + n < end &&
	    (is_alpha(p[n]) || is_digit(p[n]) || (p[n] == '-' && n > 0))) {
		if (n == SMTP_PARAM_KEY_MAX)
			return 0;
		out[n] = (char)(p[n] >= 'a' && p[n] <= 'z' ? p[n] - 'a' + 'A'
							   : p[n]);
		n++;
	}
	out[n] = '\0';
	return n;
}

/* esmtp-value, more generous by '='. Its length or 0. */
static size_t
take_value(const char *p, const char *end)
{
	const char *start = p;
	uint32_t cp;
	size_t n;

	for (; p < end && *p != ' '; p += n) {
		n = utf8_next(p, (size_t)(end - p), &cp);
		if (n == 0 || cp < '!' || (cp >= 0x7f && cp < 0xa0))
			return 0;
	}
	n = (size_t)(p - start);
	return n <= SMTP_PARAM_VALUE_MAX ? n : 0;
}

static bool
seen_before(const struct smtp_params *it, const char *key, size_t len)
{
	size_t i;

	for (i = 0; i < it->nseen; i++)
		if (it->seen[i].len == len &&
		    strncasecmp(it->seen[i].p, key, len) == 0)
			return true;
	return false;
}

enum smtp_param_rc
smtp_params_next(struct smtp_params *it, struct smtp_param *out)
{
	const char *p = it->next, *key;
	size_t n;

	memset(out, 0, sizeof(*out));
	it->next = it->end; /* unless all is well */
	key = p;
	while (p < it->end && *p == ' ')
		p++;
	if (p == it->end)
		return SMTP_PARAM_END;
	if (p == key || it->nseen == SMTP_PARAMS_MAX)
		return SMTP_PARAM_SYNTAX;
	key = p;
	if ((n = take_key(p, it->end, out->key)) == 0)
		return SMTP_PARAM_SYNTAX;
	p += n;
	if (seen_before(it, key, n))
		return SMTP_PARAM_TWICE;
	it->seen[it->nseen].p = key;
	it->seen[it->nseen++].len = n;
	if (p < it->end && *p == '=') {
		out->value = ++p;
		out->value_len = take_value(p, it->end);
		if (out->value_len == 0)
			return SMTP_PARAM_SYNTAX;
		p += out->value_len;
	}
	if (p < it->end && *p != ' ')
		return SMTP_PARAM_SYNTAX;
	it->next = p;
	return SMTP_PARAM_OK;
}

/* The value of a hexadecimal digit, or -1. */
static int
hex(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
smtp_xtext_decode(const char *in, size_t len, char *out, size_t size)
{
	size_t i, n = 0;
	int c;

	for (i = 0; i < len; i++) {
		c = (unsigned char)in[i];
		if (c == '+') {
			if (len - i < 3 || hex(in[i + 1]) < 0 ||
			    hex(in[i + 2]) < 0)
				return -1;
			c = hex(in[i + 1]) * 16 + hex(in[i + 2]);
			i += 2;
			if (c < ' ')
				return -1;
		} else if (c <= ' ' || c > '~' || c == '=') {
			return -1;
		}
		if (c == 0x7f || n + 1 >= size)
			return -1;
		out[n++] = (char)c;
	}
	if (size == 0)
		return -1;
	out[n] = '\0';
	return 0;
}

int
smtp_xtext_encode(const char *in, size_t len, char *out, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t i, n = 0;
	unsigned char c;
	bool plain;

	for (i = 0; i < len; i++) {
		c = (unsigned char)in[i];
		plain = c > ' ' && c <= '~' && c != '+' && c != '=';
		if (size <= n + (plain ? 1 : 3))
			return -1;
		if (plain) {
			out[n++] = (char)c;
		} else {
			out[n++] = '+';
			out[n++] = digits[c >> 4];
			out[n++] = digits[c & 15];
		}
	}
	if (n >= size)
		return -1;
	out[n] = '\0';
	return 0;
}

/*
 * One character of a utf-8 address: itself or "\x{HEX}" (RFC 6533 3). Returns
 * the bytes of input and sets *cp, or 0.
 */
static size_t
utf8_addr_next(const char *in, size_t len, bool utf8, uint32_t *cp)
{
	size_t i, n;

	if (*in != '\\') {
		n = utf8_next(in, len, cp);
		return (n > 1 && !utf8) || *in == '+' || *in == '=' ? 0 : n;
	}
	if (len < 5 || in[1] != 'x' || in[2] != '{')
		return 0;
	*cp = 0;
	for (i = 3; i < len && i < 9 && hex(in[i]) >= 0; i++)
		*cp = *cp * 16 + (uint32_t)hex(in[i]);
	if (i == 3 || i == len || in[i] != '}')
		return 0;
	if (*cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
		return 0;
	return i + 1;
}

static int
utf8_addr_decode(const char *in, size_t len, bool utf8, char *out, size_t size)
{
	uint32_t cp;
	size_t i, n, used = 0;

	for (i = 0; i < len; i += n) {
		n = utf8_addr_next(in + i, len - i, utf8, &cp);
		/* a blank is for "\x{20}" only */
		if (n == 0 || cp < ' ' || (cp >= 0x7f && cp < 0xa0) ||
		    in[i] == ' ')
			return -1;
		if (size - used < 5)
			return -1;
		used += utf8_put(cp, out + used);
	}
	out[used] = '\0';
	return 0;
}

int
smtp_orcpt_decode(const char *in, size_t len, bool utf8, char *out, size_t size)
{
	const char *semi = memchr(in, ';', len);
	size_t n, i;

	if (semi == NULL || len > ORCPT_MAX)
		return -1;
	n = (size_t)(semi - in) + 1;
	if (n == 1 || n == len || n >= size)
		return -1;
	for (i = 0; i < n - 1; i++)
		if (!is_atext(in[i]))
			return -1;
	memcpy(out, in, n);
	in += n;
	len -= n;
	if (n == 6 && strncasecmp(out, "utf-8", 5) == 0)
		return utf8_addr_decode(in, len, utf8, out + n, size - n);
	return smtp_xtext_decode(in, len, out + n, size - n);
}

/* Appends a digit to a number that stays at its end once it is there. */
static void
add_digit(uint64_t *v, char digit)
{
	if (__builtin_mul_overflow(*v, 10, v) ||
	    __builtin_add_overflow(*v, (uint64_t)(digit - '0'), v))
		*v = UINT64_MAX;
}

int
smtp_size_parse(const char *in, size_t len, uint64_t *size)
{
	uint64_t v = 0;
	size_t i;

	if (len < 1 || len > 20)
		return -1;
	for (i = 0; i < len; i++) {
		if (!is_digit(in[i]))
			return -1;
		add_digit(&v, in[i]);
	}
	*size = v;
	return 0;
}

/* A number of at most max digits, at least one; -1 if it has others. */
static int
take_number(const char *p, size_t len, size_t max, int64_t *out)
{
	size_t i;

	if (len < 1 || len > max)
		return -1;
	*out = 0;
	for (i = 0; i < len; i++) {
		if (!is_digit(p[i]))
			return -1;
		*out = *out * 10 + (p[i] - '0');
	}
	return 0;
}

int
smtp_body_parse(const char *in, size_t len, uint8_t *body)
{
	static const char *const words[] = { [BODY_7BIT] = "7BIT",
		[BODY_8BITMIME] = "8BITMIME",
		[BODY_BINARYMIME] = "BINARYMIME" };
	uint8_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (is_word(in, len, words[i])) {
			*body = i;
			return 0;
		}
	}
	return -1;
}

int
smtp_notify_parse(const char *in, size_t len, uint8_t *notify)
{
	static const struct {
		const char *word;
		uint8_t bit;
	} words[] = { { "SUCCESS", NOTIFY_SUCCESS },
		{ "FAILURE", NOTIFY_FAILURE }, { "DELAY", NOTIFY_DELAY } };
	const char *p = in, *end = in + len, *comma;
	uint8_t bits = 0, bit;
	size_t i, n;

	if (is_word(in, len, "NEVER")) {
		*notify = NOTIFY_NEVER;
		return 0;
	}
	do {
		comma = memchr(p, ',', (size_t)(end - p));
		n = (size_t)((comma != NULL ? comma : end) - p);
		bit = 0;
		for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (is_word(p, n, words[i].word))
				bit = words[i].bit;
		if (bit == 0)
			return -1;
		bits |= bit;
		p += n + 1;
	} while (comma != NULL);
	*notify = bits;
	return 0;
}

int
smtp_ret_parse(const char *in, size_t len, uint8_t *ret)
{
	if (is_word(in, len, "FULL"))
		*ret = RET_FULL;
	else if (is_word(in, len, "HDRS"))
		*ret = RET_HDRS;
	else
		return -1;
	return 0;
}

int
smtp_envid_parse(const char *in, size_t len, char out[ENVID_MAX + 1])
{
	char text[ENVID_TEXT_MAX + 1];
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		if (ENVID_MAX - n < (in[i] == '=' ? 3u : 1u))
			return -1;
		if (in[i] == '=') {
			memcpy(out + n, "+3D", 3);
			n += 3;
		} else {
			out[n++] = in[i];
		}
	}
	out[n] = '\0';
	if (smtp_xtext_decode(out, n, text, sizeof(text)) == -1)
		return -1;
	return utf8_is_ascii_text(text) ? 0 : -1;
}

int
smtp_by_parse(const char *in, size_t len, struct smtp_by *by)
{
	const char *semi = memchr(in, ';', len), *p = in, *end = in + len;
	bool negative = false;

	if (semi == NULL)
		return -1;
	if (*p == '+' || *p == '-')
		negative = *p++ == '-';
	if (take_number(p, (size_t)(semi - p), BY_DIGITS, &by->seconds) == -1)
		return -1;
	if (negative)
		by->seconds = -by->seconds;
	p = semi + 1;
	by->trace = end - p == 2 && (p[1] == 'T' || p[1] == 't');
	if (end - p != 1 + by->trace)
		return -1;
	if (*p == 'N' || *p == 'n')
		by->mode = BY_NOTIFY;
	else if ((*p == 'R' || *p == 'r') && by->seconds > 0)
		by->mode = BY_RETURN;
	else
		return -1;
	return 0;
}

int
smtp_holdfor_parse(const char *in, size_t len, int64_t *seconds)
{
	return len > 0 && *in != '0'
	    ? take_number(in, len, HOLD_DIGITS, seconds)
	    : -1;
}

/* What is left of a date. */
struct cursor {
	const char *p, *end;
};

static bool
skip_char(struct cursor *c, const char *any)
{
	if (c->p == c->end || *c->p == '\0' || strchr(any, *c->p) == NULL)
		return false;
	c->p++;
	return true;
}

/* Exactly so many digits, and a character of `any` behind them, if given. */
static bool
take_field(struct cursor *c, size_t digits, const char *any, int *out)
{
	int64_t v;

	if ((size_t)(c->end - c->p) < digits ||
	    take_number(c->p, digits, digits, &v) == -1)
		return false;
	*out = (int)v;
	c->p += digits;
	return any == NULL || skip_char(c, any);
}

/* The fraction of a second, if there is one; *some: it is not 0. */
static bool
take_fraction(struct cursor *c, bool *some)
{
	const char *start;

	*some = false;
	if (!skip_char(c, "."))
		return true;
	for (start = c->p; c->p < c->end && is_digit(*c->p); c->p++)
		if (*c->p != '0')
			*some = true;
	return c->p > start;
}

/* "Z" or "+02:00", to seconds east of UTC. */
static bool
take_offset(struct cursor *c, int *seconds)
{
	int hours, minutes;
	bool west;

	*seconds = 0;
	if (skip_char(c, "Zz"))
		return true;
	west = c->p < c->end && *c->p == '-';
	if (!skip_char(c, "+-") || !take_field(c, 2, ":", &hours) ||
	    !take_field(c, 2, NULL, &minutes) || hours > 23 || minutes > 59)
		return false;
	*seconds = (west ? -60 : 60) * (hours * 60 + minutes);
	return true;
}

int
smtp_holduntil_parse(const char *in, size_t len, int64_t *when)
{
	struct cursor c = { in, in + len };
	struct tm tm = { 0 };
	int year, month, day, offset;
	bool some;

	if (!take_field(&c, 4, "-", &year) || !take_field(&c, 2, "-", &month) ||
	    !take_field(&c, 2, "Tt", &day) ||
	    !take_field(&c, 2, ":", &tm.tm_hour) ||
	    !take_field(&c, 2, ":", &tm.tm_min) ||
	    !take_field(&c, 2, NULL, &tm.tm_sec) || !take_fraction(&c, &some) ||
	    !take_offset(&c, &offset) || c.p != c.end)
		return -1;
	if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return -1;
	if (tm.tm_sec == 60) { /* a leap second: this clock has none */
		tm.tm_sec = 59;
		some = true;
	}
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	*when = timegm(&tm) - offset + some;
	/* the calendar would have moved on from a day that it does not have */
	return tm.tm_year == year - 1900 && tm.tm_mon == month - 1 &&
		tm.tm_mday == day
	    ? 0
	    : -1;
}

int
smtp_priority_parse(const char *in, size_t len, uint8_t *priority)
{
	bool negative = len > 0 && *in == '-';

	if (negative)
		in++, len--;
	if (len != 1 || !is_digit(*in) || (negative && *in == '0'))
		return -1;
	*priority = (uint8_t)(negative ? PRIORITY_NORMAL - (*in - '0')
				       : PRIORITY_NORMAL + (*in - '0'));
	return 0;
}

enum smtp_chunk_rc
smtp_chunk_parse(const char *in, size_t len, uint64_t *size, bool *last)
{
	const char *p = in, *end = in + len;

	*last = false;
	for (*size = 0; p < end && is_digit(*p); p++)
		add_digit(size, *p);
	if (p == in || (p < end && *p != ' '))
		return SMTP_CHUNK_NO_SIZE;
	while (p < end && *p == ' ')
		p++;
	if (p == end)
		return SMTP_CHUNK_OK;
	*last = is_word(p, (size_t)(end - p), "LAST");
	return *last ? SMTP_CHUNK_OK : SMTP_CHUNK_SYNTAX;
}
