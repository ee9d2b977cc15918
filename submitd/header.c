/*
 * The header filter. Input is collected line by line in `pend`: the field so
 * far (all complete lines of it) and behind it, from `line` on, the line that
 * is still coming. A field is over when a line comes that does not continue
 * it; only then is it judged and put out or left out.
 */
#include "header.h"

#include <string.h>

static const struct {
	const char *name;
	enum header_id id;
} known[] = {
	{ "Authentication-Results", HEADER_AUTH_RESULTS },
	{ "Bcc", HEADER_BCC },
	{ "Date", HEADER_DATE },
	{ "From", HEADER_FROM },
	{ "Message-ID", HEADER_MESSAGE_ID },
	{ "Received", HEADER_RECEIVED },
	{ "Resent-Bcc", HEADER_RESENT_BCC },
	{ "Resent-From", HEADER_RESENT_FROM },
	{ "Resent-Sender", HEADER_RESENT_SENDER },
	{ "Sender", HEADER_SENDER },
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
equal_fold(const char *a, const char *b, size_t len)
{
	char x, y;

	for (; len > 0; a++, b++, len--) {
		x = (char)(*a >= 'A' && *a <= 'Z' ? *a | 0x20 : *a);
		y = (char)(*b >= 'A' && *b <= 'Z' ? *b | 0x20 : *b);
		if (x != y)
			return false;
	}
	return true;
}

/*
 * The length of the field name that s begins with (RFC 5322 2.2), with *colon
 * set to where the colon is; blanks between them are obsolete but read (4.5).
 * 0 if s is no field.
 */
static size_t
name_len(const char *s, size_t len, size_t *colon)
{
	size_t n = 0;

	while (n < len && s[n] > ' ' && s[n] < 0x7f && s[n] != ':')
		n++;
	*colon = n;
	while (*colon < len && is_blank(s[*colon]))
		++*colon;
	return *colon < len && s[*colon] == ':' ? n : 0;
}

static enum header_id
identify(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len &&
		    equal_fold(known[i].name, name, len))
			return known[i].id;
	return HEADER_OTHER;
}

/* Skips blanks, folds and comments (RFC 5322 3.2.2). */
static const char *
skip_cfws(const char *p, const char *end)
{
	size_t depth = 0;

	for (; p < end; p++) {
		if (*p == '(')
			depth++;
		else if (*p == ')' && depth > 0)
			depth--;
		else if (*p == '\\' && depth > 0 && p + 1 < end)
			p++;
		else if (depth == 0 && !is_blank(*p) && *p != '\r' &&
		    *p != '\n')
			break;
	}
	return p;
}

/*
 * Whether the authserv-id of Authentication-Results (RFC 8601 2.2) is host. It
 * is a token or a quoted string; what stands behind it matters to no reader.
 */
static bool
results_name_host(const struct header_field *f, const char *host)
{
	const char *end = f->value + f->value_len;
	const char *p = skip_cfws(f->value, end);
	bool quoted = p < end && *p == '"';

	if (quoted)
		p++;
	for (; *host != '\0'; host++, p++) {
		if (quoted && p < end && *p == '\\')
			p++;
		if (p == end || !equal_fold(p, host, 1))
			return false;
	}
	/* one final dot does not make another host */
	if (p < end && *p == '.')
		p++;
	return p == end || strchr("()<>@,;:\\\"/[]?= \t\r\n", *p) != NULL;
}

void
header_init(struct header *h, const struct header_ops *ops, void *arg,
    const char *host, size_t limit)
{
	memset(h, 0, sizeof(*h));
	h->ops = ops;
	h->arg = arg;
	h->host = host;
	h->limit = limit > 0 ? limit : HEADER_LIMIT;
}

void
header_clear(struct header *h)
{
	buf_clear(&h->pend);
	h->line = 0;
}

/* Judges the field in the first `line` bytes of pend and takes it out. */
static void
flush_field(struct header *h, struct buf *out)
{
	struct header_field f = { .raw_len = h->line };
	size_t colon;
	bool leaves;

	if (h->line == 0)
		return;
	if (h->mbox) {
		h->mbox = false;
		buf_drop(&h->pend, h->line);
		h->line = 0;
		return;
	}
	f.raw = f.name = (const char *)buf_head(&h->pend);
	f.name_len = name_len(f.raw, f.raw_len, &colon);
	f.value = f.raw + colon + 1;
	f.value_len = f.raw_len - colon - 1;
	f.id = identify(f.name, f.name_len);
	h->count[f.id]++;
	leaves = f.id != HEADER_BCC && f.id != HEADER_RESENT_BCC &&
	    !(f.id == HEADER_AUTH_RESULTS && results_name_host(&f, h->host));
	if (leaves && h->ops->field != NULL)
		leaves = h->ops->field(h->arg, &f);
	if (leaves)
		buf_add(out, f.raw, f.raw_len);
	buf_drop(&h->pend, h->line);
	h->line = 0;
}

/* The header is over; what is pending belongs behind it. */
static void
end_header(struct header *h, bool empty_line, struct buf *out)
{
	if (h->ops->end != NULL)
		h->ops->end(h->arg, out);
	if (empty_line)
		buf_add(out, "\r\n", 2);
	buf_add(out, buf_head(&h->pend), h->pend.len);
	h->done = true;
	header_clear(h);
}

/* Whether no field has come yet, not even the beginning of one. */
static bool
is_headless(const struct header *h)
{
	size_t i;

	for (i = 0; i < HEADER_IDS; i++)
		if (h->count[i] > 0)
			return false;
	return h->line == 0 || h->mbox;
}

/* The pending line is neither field nor continuation. Where no field was, a
 * line "From " before it is text. */
static void
end_at_body(struct header *h, struct buf *out)
{
	h->headless = is_headless(h);
	h->broken = !h->headless;
	if (!h->headless)
		flush_field(h, out);
	end_header(h, true, out);
}

/* What a line, which has at least one byte, is to the header. */
enum kind {
	FIELD,
	MBOX,
	CONTINUATION,
	EMPTY,
	NO_FIELD,
};

/*
 * "From ann@example.org Mon Nov  3 09:05:01 2025". ">From " is one that was
 * quoted; without a time of the day it is text.
 */
static bool
is_mbox(const char *line, size_t len)
{
	const char *end = line + len, *p;

	while (line < end && *line == '>')
		line++;
	if (end - line < 8 || memcmp(line, "From ", 5) != 0)
		return false;
	for (p = line + 6; p + 1 < end; p++)
		if (*p == ':' && is_digit(p[-1]) && is_digit(p[1]))
			return true;
	return false;
}

static enum kind
line_kind(const struct header *h)
{
	const char *line = (const char *)buf_head(&h->pend) + h->line;
	size_t len = h->pend.len - h->line, colon;

	if (line[0] == '\n' || (len == 2 && line[0] == '\r' && line[1] == '\n'))
		return EMPTY;
	if (is_blank(line[0]))
		return h->line > 0 && !h->mbox ? CONTINUATION : NO_FIELD;
	if (name_len(line, len, &colon) > 0)
		return FIELD;
	/* only the very first line is one */
	return h->line == 0 && h->total == h->pend.len && is_mbox(line, len)
	    ? MBOX
	    : NO_FIELD;
}

/* The line at the end of pend is complete. */
static void
take_line(struct header *h, struct buf *out)
{
	switch (line_kind(h)) {
	case FIELD:
		flush_field(h, out);
		break;
	case MBOX:
		h->mbox = true;
		break;
	case CONTINUATION:
		break;
	case EMPTY:
		if (h->mbox) { /* a text of one line */
			end_at_body(h, out);
			return;
		}
		flush_field(h, out);
		end_header(h, false, out);
		return;
	case NO_FIELD:
		end_at_body(h, out);
		return;
	}
	h->line = h->pend.len;
}

/*
 * The section is too large, unless it is none: a text without header whose
 * first line is very long.
 */
static void
over_limit(struct header *h, struct buf *out)
{
	if (is_headless(h) && line_kind(h) != FIELD) {
		end_at_body(h, out);
		return;
	}
	h->too_big = h->done = true;
	buf_add(out, buf_head(&h->pend), h->pend.len);
	header_clear(h);
}

size_t
header_feed(struct header *h, const void *in, size_t len, struct buf *out)
{
	const char *start = in, *p = start, *lf;
	size_t n, left;

	while (!h->done && (left = len - (size_t)(p - start)) > 0) {
		if (h->total == h->limit) {
			over_limit(h, out);
			break;
		}
		n = h->limit - h->total < left ? h->limit - h->total : left;
		lf = memchr(p, '\n', n);
		if (lf != NULL)
			n = (size_t)(lf - p) + 1;
		buf_add(&h->pend, p, n);
		h->total += n;
		p += n;
		if (lf != NULL)
			take_line(h, out);
	}
	return (size_t)(p - start);
}

void
header_finish(struct header *h, struct buf *out)
{
	bool unended = h->pend.len > h->line; /* the last line */
	enum kind kind;

	if (h->done)
		return;
	kind = unended ? line_kind(h) : h->mbox ? MBOX : EMPTY;
	if (kind == NO_FIELD || kind == MBOX) {
		end_at_body(h, out);
		return;
	}
	if (unended) {
		buf_add(&h->pend, "\r\n", 2);
		take_line(h, out);
	}
	if (!h->done) {
		flush_field(h, out);
		end_header(h, false, out);
	}
}
