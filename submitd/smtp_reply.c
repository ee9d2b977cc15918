/*
 * Replies: the table, and how its rows become lines on the wire.
 */
#include "smtp_reply.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/utf8.h"

enum {
	MAX_LINES = 16,
	/*
	 * Of a text from elsewhere. MAX_LINES prefixes and line ends more must
	 * fit into SMTP_REPLY_MAX.
	 */
	MAX_TEXT = 3072,
	SHOWN_MAX = 12, /* "\x{10FFFF}", and some */
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
 * The next character of s as it is shown, at most SHOWN_MAX bytes of ASCII;
 * '\n' stays if lines. Returns the bytes of s that it took.
 */
static size_t
show(const char *s, size_t left, bool lines, char out[SHOWN_MAX + 1])
{
	uint32_t c;
	size_t n = utf8_next(s, left, &c);

	out[0] = '?';
	out[1] = '\0';
	if (n == 1 && ((c >= 0x20 && c < 0x7f) || (c == '\n' && lines)))
		out[0] = (char)c;
	else if (n > 1 && c >= 0xa0)
		snprintf(out, SHOWN_MAX + 1, "\\x{%X}", (unsigned)c);
	return n > 0 ? n : 1;
}

/* Adds s as it is shown, at most max bytes of it. */
static void
put_clean(struct out *o, const char *s, size_t max, bool lines)
{
	const char *end = s + strlen(s);
	char shown[SHOWN_MAX + 1];
	size_t n;

	while (s < end) {
		s += show(s, (size_t)(end - s), lines, shown);
		if ((n = strlen(shown)) > max)
			return;
		put(o, shown, n);
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
	return max; /* one long word */
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

bool
smtp_reply_is_status(const char *s)
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
	put_clean(&t, text, MAX_TEXT, true);
	snprintf(st, sizeof(st), "%d%s", code / 100,
	    smtp_reply_is_status(status) ? status + 1 : ".0.0");
	put_lines(&o, code, st, clean);
	return out_end(&o);
}

/* The first byte of the last line of a reply. */
static char *
last_line(char *buf, size_t len)
{
	char *lf = memrchr(buf, '\n', len - 1);

	return lf != NULL ? lf + 1 : buf;
}

/* The length of "550-5.7.1 " at the start of a line. */
static size_t
prefix_len(const char *line)
{
	size_t n = strspn(line + 4, "0123456789.");
	char st[16];

	if (n == 0 || n >= sizeof(st) || line[4 + n] != ' ')
		return 4;
	memcpy(st, line + 4, n);
	st[n] = '\0';
	return smtp_reply_is_status(st) ? 4 + n + 1 : 4;
}

size_t
smtp_reply_more(char *buf, size_t size, size_t len, const char *text)
{
	char *line = last_line(buf, len), prefix[24];
	size_t n = prefix_len(line), more = n + strlen(text) + 2;

	if (more > SMTP_REPLY_LINE || size - len <= more || n > sizeof(prefix))
		return len;
	memcpy(prefix, line, n);
	line[3] = '-';
	memcpy(buf + len, prefix, n);
	snprintf(buf + len + n, size - len - n, "%s\r\n", text);
	return len + more;
}

/*
 * Programs read that a command is wrong or comes too early, and nobody reads
 * that a connection was idle.
 */
static bool
is_for_person(const char *reply)
{
	int code = atoi(reply);

	switch (code) {
	case 421:
		return strncmp(reply + 4, "4.7.", 4) == 0;
	case 500:
	case 501:
	case 502:
	case 503:
	case 504:
	case 555:
		return false;
	default:
		return code >= 400;
	}
}

size_t
smtp_reply_help(char *buf, size_t size, size_t len, const char *help)
{
	size_t line, n = strlen(help);
	const char *stop;

	if (n == 0 || len < 6 || !is_for_person(buf))
		return len;
	line = len - (size_t)(last_line(buf, len) - buf);
	stop = strchr(".!?:", buf[len - 3]) != NULL ? " " : ". ";
	n += strlen(stop);
	if (line + n > SMTP_REPLY_LINE || size - len <= n)
		return smtp_reply_more(buf, size, len, help);
	snprintf(buf + len - 2, size - len + 2, "%s%s\r\n", stop, help);
	return len + n;
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
