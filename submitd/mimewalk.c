/*
 * The walk.  Only the start of a line is looked at, as far as it may be a
 * delimiter; the rest passes in the largest runs.  A field is put together
 * before it is read.
 */
#include "mimewalk.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mem.h"
#include "mimetype.h"

enum {
	FIELD_MAX = 16 * 1024, /* of a field that is read */
	HEAD_MAX = 2 + MIME_BOUNDARY_MAX + 2 + 100, /* blanks behind it */
	DEPTH_MAX = 32
};

/* An entity with others in it, around the present one. */
struct frame {
	size_t len;  /* of the boundary; 0: a message/rfc822 */
	bool closed; /* the last part is over */
	bool frozen, digest;
	char boundary[MIME_BOUNDARY_MAX + 1];
};

enum place { IN_HEADER, IN_DATA, IN_GLUE };

struct mimewalk {
	const struct mime_ops *ops;
	void *arg;

	enum place place;
	struct mime_entity entity;
	struct mimetype type;
	struct frame frame[DEPTH_MAX];
	size_t depth;
	unsigned entities;
	bool doubtful;

	struct buf field;
	bool field_cut; /* a part of it was given away */

	char head[HEAD_MAX]; /* the start of a line, not yet understood */
	size_t nhead;
	bool inside; /* of a line: its start was understood */
	bool cr;     /* a CR came that may be the line's end */
	bool crlf;   /* of data: a line end that may be a delimiter's */
};

/* ---- giving away ---- */

static void
give_glue(const struct mimewalk *w, const void *p, size_t len)
{
	if (len > 0)
		w->ops->glue(w->arg, p, len);
}

static void
give_data(struct mimewalk *w, const void *p, size_t len)
{
	if (w->crlf)
		w->ops->data(w->arg, &w->entity, "\r\n", 2);
	w->crlf = false;
	if (len > 0)
		w->ops->data(w->arg, &w->entity, p, len);
}

/* ---- fields ---- */

static bool
is_named(const char *p, size_t len, const char *name)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(p, name, n) != 0)
		return false;
	while (n < len && (p[n] == ' ' || p[n] == '\t'))
		n++;
	return n < len && p[n] == ':';
}

static enum mime_field
read_field(struct mimewalk *w, const char *p, size_t len)
{
	const char *colon = memchr(p, ':', len);
	size_t left = colon != NULL ? (size_t)(p + len - colon) - 1 : 0;
	struct mime_entity *e = &w->entity;

	if (is_named(p, len, "MIME-Version")) {
		e->has_version = true;
	} else if (is_named(p, len, "Content-Type")) {
		w->doubtful |= e->has_type;
		e->has_type = true;
		mimetype_parse(colon + 1, left, &w->type);
	} else if (is_named(p, len, "Content-Transfer-Encoding")) {
		w->doubtful |= e->has_encoding;
		e->has_encoding = true;
		e->encoding = mimetype_encoding(colon + 1, left);
		return MIME_FIELD_ENCODING;
	} else if (e->number == 0 && is_named(p, len, "DKIM-Signature")) {
		e->frozen = true; /* somebody else's: we sign nothing */
	}
	return MIME_FIELD_OTHER;
}

static bool
is_structural(const char *p, size_t len)
{
	return is_named(p, len, "Content-Type") ||
	    is_named(p, len, "Content-Transfer-Encoding");
}

static void
end_field(struct mimewalk *w)
{
	const char *p = (const char *)buf_head(&w->field);
	enum mime_field id = MIME_FIELD_OTHER;

	if (w->field.len > 0) {
		if (!w->field_cut)
			id = read_field(w, p, w->field.len);
		w->ops->field(w->arg, &w->entity, id, p, w->field.len);
		buf_drop(&w->field, w->field.len);
	}
	w->field_cut = false;
}

static void
add_field(struct mimewalk *w, const char *p, size_t len)
{
	const char *start;

	buf_add(&w->field, p, len);
	if (w->field.len <= FIELD_MAX)
		return;
	start = (const char *)buf_head(&w->field);
	w->doubtful |= !w->field_cut && is_structural(start, w->field.len);
	w->ops->field(
	    w->arg, &w->entity, MIME_FIELD_OTHER, start, w->field.len);
	buf_drop(&w->field, w->field.len);
	w->field_cut = true;
}

/* ---- entities ---- */

static void
begin_entity(struct mimewalk *w, bool frozen, bool digest)
{
	w->entity =
	    (struct mime_entity){ .number = w->entities++, .frozen = frozen };
	w->type =
	    (struct mimetype){ .kind = digest ? MIME_MESSAGE : MIME_TEXT };
	w->place = IN_HEADER;
}

static void
end_header(struct mimewalk *w)
{
	struct mime_entity *e = &w->entity;

	end_field(w);
	e->kind = w->type.kind;
	e->frozen |= w->type.frozen;
	w->doubtful |= w->type.doubtful;
	/* What has others in it may not be encoded (RFC 2045 6.4); and too
	 * much is too much. */
	if ((e->kind == MIME_MULTIPART || e->kind == MIME_MESSAGE) &&
	    (e->encoding > MIME_BINARY || w->depth == DEPTH_MAX))
		e->kind = MIME_FIXED;
	w->ops->header_end(w->arg, e);
}

/* One of them begins like the other. */
static bool
are_alike(const struct frame *f, const struct frame *g)
{
	size_t n = f->len < g->len ? f->len : g->len;

	return n > 0 && memcmp(f->boundary, g->boundary, n) == 0;
}

static void
enter(struct mimewalk *w)
{
	struct frame *f = &w->frame[w->depth];
	size_t i;

	*f = (struct frame){ .frozen = w->entity.frozen,
		.digest = w->type.digest };
	if (w->entity.kind == MIME_MULTIPART) {
		f->len = strlen(w->type.boundary);
		memcpy(f->boundary, w->type.boundary, f->len + 1);
	}
	for (i = 0; i < w->depth; i++)
		w->doubtful |= are_alike(&w->frame[i], f);
	w->depth++;
	w->place = IN_GLUE;
	if (f->len == 0)
		begin_entity(w, f->frozen, false);
}

static void
begin_body(struct mimewalk *w)
{
	if (w->entity.kind == MIME_MULTIPART || w->entity.kind == MIME_MESSAGE)
		enter(w);
	else
		w->place = IN_DATA;
}

/* The present entity ends before a delimiter, whose line end may be due. */
static void
end_entity(struct mimewalk *w)
{
	if (w->place == IN_HEADER)
		end_header(w);
	else if (w->place == IN_DATA)
		w->ops->data_end(w->arg, &w->entity, false);
	if (w->crlf)
		give_glue(w, "\r\n", 2);
	w->crlf = false;
}

/* ---- delimiters ---- */

/* The line, as far as it is known, begins like this frame's delimiter. */
static bool
may_be(const struct frame *f, const char *p, size_t len)
{
	size_t n = len < f->len + 2 ? len : f->len + 2;

	if (f->len == 0 || n == 0 || p[0] != '-' || (n > 1 && p[1] != '-'))
		return false;
	return n <= 2 || memcmp(p + 2, f->boundary, n - 2) == 0;
}

static bool
may_be_delimiter(const struct mimewalk *w, const char *p, size_t len)
{
	size_t i;

	for (i = 0; i < w->depth; i++)
		if (may_be(&w->frame[i], p, len))
			return true;
	return false;
}

static bool
is_padding(const char *p, size_t len)
{
	if (len >= 2 && p[len - 1] == '\n' && p[len - 2] == '\r')
		len -= 2;
	for (; len > 0; p++, len--)
		if (*p != ' ' && *p != '\t')
			return false;
	return true;
}

/* The innermost frame whose delimiter this line is, depth if it is none.
 * *close: the last of its delimiters. */
static size_t
find_delimiter(struct mimewalk *w, bool *close)
{
	const struct frame *f;
	const char *rest;
	size_t i, left;

	for (i = w->depth; i-- > 0;) {
		f = &w->frame[i];
		if (w->nhead < f->len + 2 || !may_be(f, w->head, w->nhead))
			continue;
		rest = w->head + f->len + 2;
		left = w->nhead - f->len - 2;
		*close = left >= 2 && rest[0] == '-' && rest[1] == '-';
		if (!f->closed &&
		    is_padding(
			rest + (*close ? 2 : 0), left - (*close ? 2 : 0)))
			return i;
		w->doubtful = true;
	}
	return w->depth;
}

static void
at_delimiter(struct mimewalk *w, size_t i, bool close)
{
	struct frame *f = &w->frame[i];

	end_entity(w);
	give_glue(w, w->head, w->nhead);
	w->depth = i + 1;
	if (close) {
		f->closed = true;
		w->place = IN_GLUE;
	} else {
		begin_entity(w, f->frozen, f->digest);
	}
}

/* ---- lines ---- */

static void
put(struct mimewalk *w, const char *p, size_t len)
{
	if (len == 0)
		return;
	if (w->place == IN_HEADER)
		add_field(w, p, len);
	else if (w->place == IN_DATA)
		give_data(w, p, len);
	else
		give_glue(w, p, len);
}

static void
put_line_end(struct mimewalk *w)
{
	if (w->place == IN_DATA) {
		give_data(w, "", 0);
		w->crlf = true;
	} else {
		put(w, "\r\n", 2);
	}
}

/* What is known of the line is no delimiter: it begins with that. */
static void
begin_line(struct mimewalk *w)
{
	bool whole = w->nhead >= 2 && w->head[w->nhead - 1] == '\n' &&
	    w->head[w->nhead - 2] == '\r';
	bool cr = !whole && w->nhead > 0 && w->head[w->nhead - 1] == '\r';
	size_t n = w->nhead - (whole ? 2 : 0) - (cr ? 1 : 0);

	if (w->place == IN_HEADER && whole && n == 0) {
		end_header(w);
		give_glue(w, "\r\n", 2);
		begin_body(w);
	} else {
		if (w->place == IN_HEADER && w->head[0] != ' ' &&
		    w->head[0] != '\t')
			end_field(w);
		put(w, w->head, n);
		if (whole)
			put_line_end(w);
	}
	w->nhead = 0;
	w->inside = !whole;
	w->cr = cr;
}

/* Takes one byte at the start of a line. */
static void
take_head(struct mimewalk *w, char c)
{
	bool close = false;
	size_t i;

	w->head[w->nhead++] = c;
	if (c == '\n' && w->nhead > 1 && w->head[w->nhead - 2] == '\r') {
		i = find_delimiter(w, &close);
		if (i < w->depth) {
			at_delimiter(w, i, close);
			w->nhead = 0;
		} else {
			begin_line(w);
		}
	} else if (w->nhead == HEAD_MAX) {
		find_delimiter(w, &close);
		w->doubtful = true; /* it looks like one so far */
		begin_line(w);
	} else if (!may_be_delimiter(w, w->head, w->nhead) &&
	    (w->nhead > 1 || c != '\r')) {
		begin_line(w);
	}
}

/* Takes the rest of a line, as far as it is there. */
static const char *
take_inside(struct mimewalk *w, const char *p, const char *end)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p)), *stop;
	bool ends = lf != NULL && (lf > p ? lf[-1] == '\r' : w->cr);

	if (w->cr && !(ends && lf == p))
		put(w, "\r", 1); /* it was none */
	w->cr = false;
	if (lf == NULL) {
		w->cr = end[-1] == '\r';
		put(w, p, (size_t)(end - p) - w->cr);
		return end;
	}
	if (!ends) {
		put(w, p, (size_t)(lf + 1 - p));
		return lf + 1;
	}
	stop = lf > p ? lf - 1 : p;
	put(w, p, (size_t)(stop - p));
	put_line_end(w);
	w->inside = false;
	return lf + 1;
}

void
mimewalk_feed(struct mimewalk *w, const void *data, size_t len)
{
	const char *p = data, *end = p + len;

	while (p < end)
		if (w->inside)
			p = take_inside(w, p, end);
		else
			take_head(w, *p++);
}

void
mimewalk_end(struct mimewalk *w)
{
	bool close = false;
	size_t i;

	if (w->nhead > 0) {
		i = find_delimiter(w, &close);
		if (i < w->depth)
			at_delimiter(w, i, close);
		else
			begin_line(w);
	}
	if (w->cr)
		put(w, "\r", 1);
	w->cr = false;
	if (w->place == IN_HEADER) {
		end_header(w);
	} else if (w->place == IN_DATA) {
		give_data(w, "", 0);
		w->ops->data_end(w->arg, &w->entity, true);
	}
	w->place = IN_GLUE;
}

bool
mimewalk_is_doubtful(const struct mimewalk *w)
{
	return w->doubtful;
}

struct mimewalk *
mimewalk_new(const struct mime_ops *ops, void *arg)
{
	struct mimewalk *w = xcalloc(1, sizeof(*w));

	w->ops = ops;
	w->arg = arg;
	begin_entity(w, false, false);
	return w;
}

void
mimewalk_free(struct mimewalk **wp)
{
	if (*wp != NULL)
		buf_clear(&(*wp)->field);
	free(*wp);
	*wp = NULL;
}
