/*
 * Replies: the table, and how its rows become lines on the wire.
 */
#include "smtp_reply.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

enum {
	MAX_LINES = 16,
	/*
	 * Of a text from elsewhere. MAX_LINES prefixes and line ends more must
	 * fit into SMTP_REPLY_MAX.
	 */
	MAX_TEXT = 3072,
};

struct row {
	int code;
	const char *status; /* "" for none */
	const char *text;
};

#define NONE                        ""
#define ROW(id, code, status, text) [id] = { code, status, text },
static const struct row table[R_COUNT] = { SMTP_REPLY_TABLE(ROW) };

/* Ids also come from other roles: one that is none is trouble of ours. */
static const struct row *
row_of(enum smtp_reply id)
{
	return &table[(unsigned)id < R_COUNT ? id : R_TEMP];
}

/* Output that is cut at its end; `full` tells. */
struct out {
	char *p;
	size_t size, len;
	bool full;
};

static void
put(struct out *o, const char *s, size_t n)
{
	if (o->full || o->size - o->len <= n) {
		o->full = true;
		return;
	}
	memcpy(o->p + o->len, s, n);
	o->len += n;
	o->p[o->len] = '\0';
}

static struct out
out_init(char *buf, size_t size)
{
	struct out o = { .p = buf, .size = size };

	if (size > 0)
		buf[0] = '\0';
	else
		o.full = true;
	return o;
}

static size_t
out_end(struct out *o)
{
	if (!o->full)
		return o->len;
	if (o->size > 0)
		o->p[0] = '\0';
	return 0;
}

/*
 * Adds at most max bytes of s, NUL or not, with everything replaced that is
 * not a printable character; '\n' stays if lines.
 */
static void
put_clean(struct out *o, const char *s, size_t max, bool lines)
{
	size_t left = strlen(s), n;
	uint32_t c;

	while (left > 0) {
		n = utf8_next(s, left, &c);
		if ((n > 0 ? n : 1) > max)
			return;
		if (n > 0 && ((c >= 0x20 && c < 0x7f) || c >= 0xa0))
			put(o, s, n);
		else if (n > 0 && c == '\n' && lines)
			put(o, "\n", 1);
		else
			put(o, "?", 1);
		if (n == 0)
			n = 1;
		s += n;
		left -= n;
		max -= n;
	}
}

/* How much of n bytes of text goes into one line of at most max bytes. */
static size_t
line_len(const char *s, size_t n, size_t max)
{
	size_t len = max;

	if (n <= max)
		return n;
	while (len > max / 2 && s[len] != ' ')
		len--;
	if (s[len] == ' ')
		return len;
	/* one long word: break it, but not inside a UTF-8 character */
	for (len = max; len > max - 4 && (s[len] & 0xc0) == 0x80;)
		len--;
	return len;
}

/* Adds text as the lines of one reply. */
static void
put_lines(struct out *o, int code, const char *status, const char *text)
{
	char prefix[24]; /* "550-5.123.123 " */
	const char *start[MAX_LINES], *nl;
	size_t len[MAX_LINES], left, max, n = 0, i;
	int prefix_len;

	prefix_len = snprintf(prefix, sizeof(prefix), "%03d-%s%s", code, status,
	    status[0] != '\0' ? " " : "");
	max = SMTP_REPLY_LINE - 2 - (size_t)prefix_len;
	do {
		nl = strchrnul(text, '\n');
		left = (size_t)(nl - text);
		start[n] = text;
		len[n] = line_len(text, left, max);
		text += len[n];
		if (*text == (text < nl ? ' ' : '\n'))
			text++;
		n++;
	} while (*text != '\0' && n < MAX_LINES);

	for (i = 0; i < n; i++) {
		prefix[3] = i + 1 < n ? '-' : ' ';
		put(o, prefix, (size_t)prefix_len);
		put(o, start[i], len[i]);
		put(o, "\r\n", 2);
	}
}

int
smtp_reply_code(enum smtp_reply id)
{
	return row_of(id)->code;
}

const char *
smtp_reply_status(enum smtp_reply id)
{
	return row_of(id)->status;
}

size_t
smtp_reply_format(
    char *buf, size_t size, enum smtp_reply id, const char *a, const char *b)
{
	char text[MAX_TEXT];
	const struct row *r = row_of(id);
	const char *s = r->text, *slot, *arg[2] = { a, b };
	struct out t = out_init(text, sizeof(text)), o = out_init(buf, size);
	size_t i = 0;

	while ((slot = strstr(s, "%s")) != NULL && i < 2) {
		put(&t, s, (size_t)(slot - s));
		put_clean(
		    &t, arg[i] != NULL ? arg[i] : "?", SMTP_REPLY_ARG, false);
		s = slot + 2;
		i++;
	}
	put(&t, s, strlen(s));
	put_lines(&o, r->code, r->status, text);
	return out_end(&o);
}

/* Whether s is "D.D.D" with up to three digits behind each dot. */
static bool
is_status(const char *s)
{
	size_t n;
	int i;

	if (s == NULL || strchr("245", s[0]) == NULL || s[0] == '\0')
		return false;
	s++;
	for (i = 0; i < 2; i++) {
		if (*s++ != '.')
			return false;
		n = strspn(s, "0123456789");
		if (n < 1 || n > 3)
			return false;
		s += n;
	}
	return *s == '\0';
}

size_t
smtp_reply_custom(
    char *buf, size_t size, int code, const char *status, const char *text)
{
	char clean[MAX_TEXT + 1], st[16];
	struct out t = out_init(clean, sizeof(clean)), o = out_init(buf, size);

	if (code < 200 || code > 599 || code / 100 == 3)
		return 0;
	/* '?' for a byte never makes the text longer: it always fits */
	put_clean(&t, text, MAX_TEXT, true);
	snprintf(st, sizeof(st), "%d%s", code / 100,
	    is_status(status) ? status + 1 : ".0.0");
	put_lines(&o, code, st, clean);
	return out_end(&o);
}

size_t
smtp_reply_challenge(char *buf, size_t size, const char *base64)
{
	struct out o = out_init(buf, size);

	put(&o, "334 ", 4);
	put(&o, base64, strlen(base64));
	put(&o, "\r\n", 2);
	return out_end(&o);
}

size_t
smtp_reply_ehlo(char *buf, size_t size, const char *host,
    const char *const *keyword, size_t n)
{
	struct out o = out_init(buf, size);
	const char *line = host;
	size_t i;

	for (i = 0; i <= n; i++) {
		put(&o, i < n ? "250-" : "250 ", 4);
		put(&o, line, strlen(line));
		put(&o, "\r\n", 2);
		if (i < n)
			line = keyword[i];
	}
	return out_end(&o);
}
