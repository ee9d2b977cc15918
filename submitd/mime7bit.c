/*
 * Down-conversion.  The first walk leaves one byte for each entity: how it has
 * to be encoded for each target.  The second walk does that.
 */
#include "mime7bit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "mimewalk.h"
#include "store/utf8.h"

enum {
	ENTITIES_MAX = 10000,
	QP_LINE = 76,   /* RFC 2045 6.7 */
	BASE64_IN = 57, /* bytes that make a line of 76 */
	BASE64_OUT = 76
};

/* RELABEL: nothing to encode, but its label speaks of more than there is. */
enum action { KEEP, TO_QP, TO_BASE64, RELABEL };

/* What bytes were seen, somewhere. */
struct bytes {
	bool high;      /* above 127 */
	bool control;   /* NUL, CR or LF alone */
	bool long_line; /* above MIME7_LINE */
	size_t line;    /* of the line so far */
	bool cr;        /* behind CR */
};

/* The leaf that is being scanned. */
struct leaf {
	struct bytes seen;
	size_t size, special; /* those that quoted-printable writes as =XX */
};

/* Why some entity cannot be converted, if it has to be. */
enum trouble {
	NO_TROUBLE,
	T_HEADER,
	T_SIGNED,
	T_ENCODED,
	T_TYPE,
	T_OUTSIDE,
	T_DOUBTFUL,
	T_MANY
};

static const char *const troubles[] = {
	[NO_TROUBLE] = "",
	[T_HEADER] = "a header field holds it",
	[T_SIGNED] = "it is signed or encrypted",
	[T_ENCODED] = "it is in a part that says it is encoded",
	[T_TYPE] = "it is in a part of a type that may not be encoded",
	[T_OUTSIDE] = "it is outside of the parts",
	[T_DOUBTFUL] = "its MIME structure is not clear",
	[T_MANY] = "it has too many parts",
};

struct mime7 {
	struct mimewalk *walk;

	/* of the scan */
	struct bytes header, glue, body; /* of all together */
	struct leaf leaf;
	struct buf action; /* a byte for each entity: action by target */
	enum trouble trouble[MIME7_TARGETS];
	bool doubtful, headless_type; /* the message has no MIME fields */
	bool utf8;    /* the only leaf of such a message is UTF-8 */
	char part[4]; /* the start of a character */
	size_t npart;

	/* of the conversion */
	enum mime7_target target;
	struct buf *out;
	unsigned char raw[BASE64_IN]; /* not yet encoded */
	size_t nraw;
	size_t col; /* of the line of quoted-printable */
	bool soft;  /* that line begins behind a soft break */
	char blank; /* a blank that may end a line, or 0 */
	bool cr, wrote;
};

/* ---- looking at bytes ---- */

static void
end_line(struct bytes *b)
{
	b->line = 0;
	b->cr = false;
}

static void
look_at(struct bytes *b, const unsigned char *p, size_t len)
{
	for (; len > 0; p++, len--) {
		if (b->cr && *p == '\n') {
			end_line(b);
			continue;
		}
		if (b->cr || *p == '\n' || *p == '\0')
			b->control = true;
		b->cr = *p == '\r';
		b->high |= *p > 127;
		if (!b->cr && ++b->line > MIME7_LINE)
			b->long_line = true;
	}
}

/* No more bytes come: a CR that is last stands alone. */
static void
look_end(struct bytes *b)
{
	b->control |= b->cr;
	end_line(b);
}

static void
add_bytes(struct bytes *to, const struct bytes *b)
{
	to->high |= b->high;
	to->control |= b->control;
	to->long_line |= b->long_line;
}

/* These bytes may not be sent to the target as they are. */
static bool
is_bad(const struct bytes *b, enum mime7_target t)
{
	return b->control || b->long_line || (b->high && t == MIME7_7BIT);
}

/* ---- the scan ---- */

static void
set_action(struct mime7 *m, unsigned number, enum mime7_target t, enum action a)
{
	unsigned char *p;

	if (number >= m->action.len) {
		if (a != RELABEL)
			m->trouble[t] = T_MANY;
		return;
	}
	p = buf_head(&m->action) + number;
	*p = (unsigned char)((*p & ~(15u << (4 * t))) |
	    ((unsigned)a << (4 * t)));
}

static enum action
action_of(const struct mime7 *m, unsigned number, enum mime7_target t)
{
	return number < m->action.len
	    ? (enum action)((buf_head(&m->action)[number] >> (4 * t)) & 15)
	    : KEEP;
}

static void
scan_field(void *arg, const struct mime_entity *e, enum mime_field id,
    const void *p, size_t len)
{
	struct mime7 *m = arg;

	(void)e, (void)id;
	look_at(&m->header, p, len);
}

/* Where all becomes 7-bit no label may speak of more, and where nothing is
 * binary any more none of that. */
static bool
is_relabelled(const struct mime_entity *e, enum mime7_target t)
{
	if (e->frozen)
		return false;
	return e->encoding == MIME_BINARY ||
	    (e->encoding == MIME_8BIT && t == MIME7_7BIT);
}

static void
scan_header_end(void *arg, const struct mime_entity *e)
{
	struct mime7 *m = arg;
	int t;

	look_end(&m->header);
	if (e->number < ENTITIES_MAX)
		buf_add(&m->action, "", 1);
	for (t = 0; t < MIME7_TARGETS; t++)
		if (is_relabelled(e, (enum mime7_target)t))
			set_action(m, e->number, (enum mime7_target)t, RELABEL);
	if (e->number == 0)
		m->headless_type = !e->has_version && !e->has_type;
	m->leaf = (struct leaf){ 0 };
}

/* Whether the bytes go on as UTF-8; a character may come in pieces. */
static void
check_utf8(struct mime7 *m, const unsigned char *p, size_t len)
{
	size_t n;

	while (m->utf8 && len > 0) {
		if (m->npart == 0 && *p < 0x80) {
			p++;
			len--;
			continue;
		}
		m->part[m->npart++] = (char)*p++;
		len--;
		n = utf8_next(m->part, m->npart, NULL);
		if (n == 0 && m->npart == sizeof(m->part))
			m->utf8 = false;
		else if (n > 0)
			m->npart = 0;
	}
}

static bool
is_special(unsigned char c)
{
	return c > '~' || c == '=' || (c < ' ' && c != '\t');
}

static void
scan_data(void *arg, const struct mime_entity *e, const void *data, size_t len)
{
	const unsigned char *p = data;
	struct mime7 *m = arg;
	struct leaf *l = &m->leaf;
	size_t i;

	look_at(&l->seen, p, len);
	l->size += len;
	for (i = 0; i < len; i++)
		l->special += is_special(p[i]) && p[i] != '\r' && p[i] != '\n';
	if (e->number == 0)
		check_utf8(m, p, len);
}

static enum trouble
trouble_of(const struct mime_entity *e)
{
	if (e->frozen)
		return T_SIGNED;
	if (e->encoding > MIME_BINARY)
		return T_ENCODED;
	if (e->kind != MIME_TEXT && e->kind != MIME_DATA)
		return T_TYPE;
	return NO_TROUBLE;
}

/* The shorter one for text, which needs its lines; base64 for all else. */
static enum action
best_action(const struct mime_entity *e, const struct leaf *l)
{
	return e->kind == MIME_TEXT && 2 * l->special <= l->size / 3
	    ? TO_QP
	    : TO_BASE64;
}

static void
scan_data_end(void *arg, const struct mime_entity *e, bool last)
{
	struct mime7 *m = arg;
	struct leaf *l = &m->leaf;
	int t;

	(void)last;
	look_end(&l->seen);
	add_bytes(&m->body, &l->seen);
	if (e->number == 0)
		m->utf8 &= m->npart == 0;
	for (t = 0; t < MIME7_TARGETS; t++) {
		if (!is_bad(&l->seen, (enum mime7_target)t))
			continue;
		set_action(
		    m, e->number, (enum mime7_target)t, best_action(e, l));
		if (trouble_of(e) != NO_TROUBLE)
			m->trouble[t] = trouble_of(e);
	}
}

static void
scan_glue(void *arg, const void *p, size_t len)
{
	struct mime7 *m = arg;

	look_at(&m->glue, p, len);
}

static const struct mime_ops scan_ops = { scan_field, scan_header_end,
	scan_data, scan_data_end, scan_glue };

struct mime7 *
mime7_new(void)
{
	struct mime7 *m = xcalloc(1, sizeof(*m));

	m->utf8 = true;
	m->walk = mimewalk_new(&scan_ops, m);
	return m;
}

void
mime7_free(struct mime7 **mp)
{
	struct mime7 *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	mimewalk_free(&m->walk);
	buf_clear(&m->action);
	free(m);
}

void
mime7_scan(struct mime7 *m, const void *p, size_t len)
{
	mimewalk_feed(m->walk, p, len);
}

void
mime7_scan_end(struct mime7 *m)
{
	mimewalk_end(m->walk);
	look_end(&m->glue);
	m->doubtful = mimewalk_is_doubtful(m->walk);
	mimewalk_free(&m->walk);
}

bool
mime7_has_utf8_header(const struct mime7 *m)
{
	return m->header.high;
}

enum mime7_rc
mime7_judge(
    const struct mime7 *m, enum mime7_target t, bool binary, const char **why)
{
	struct bytes all = m->header;
	enum trouble trouble = m->trouble[t];

	add_bytes(&all, &m->glue);
	add_bytes(&all, &m->body);
	all.long_line &= binary;
	*why = "";
	if (!is_bad(&all, t))
		return MIME7_AS_IS;
	if (is_bad(&m->header, t))
		trouble = T_HEADER;
	else if (is_bad(&m->glue, t))
		trouble = T_OUTSIDE;
	else if (m->doubtful && trouble == NO_TROUBLE)
		trouble = T_DOUBTFUL;
	*why = troubles[trouble];
	return trouble == NO_TROUBLE ? MIME7_CONVERT : MIME7_CANNOT;
}

/* ---- encoders ---- */

static void
put(struct mime7 *m, const char *text)
{
	buf_add(m->out, text, strlen(text));
}

static void
flush_base64(struct mime7 *m)
{
	char line[BASE64_OUT + 1];

	if (m->nraw == 0)
		return;
	if (m->wrote)
		put(m, "\r\n");
	if (base64_encode(m->raw, m->nraw, line, sizeof(line)) == -1)
		abort(); /* the size is right by construction */
	put(m, line);
	m->wrote = true;
	m->nraw = 0;
}

static void
to_base64(struct mime7 *m, const unsigned char *p, size_t len)
{
	size_t n;

	while (len > 0) {
		n = sizeof(m->raw) - m->nraw;
		n = n < len ? n : len;
		memcpy(m->raw + m->nraw, p, n);
		m->nraw += n;
		p += n;
		len -= n;
		if (m->nraw == sizeof(m->raw))
			flush_base64(m);
	}
}

/* One unit of text that must not be broken. A line that begins here and not
 * in the message must not look like a delimiter. */
static void
put_unit(struct mime7 *m, unsigned char c, bool quote)
{
	char hex[4];

	if (m->col + (quote ? 3 : 1) > QP_LINE - 1) {
		put(m, "=\r\n");
		m->col = 0;
		m->soft = true;
	}
	if (quote || (c == '-' && m->soft && m->col == 0)) {
		snprintf(hex, sizeof(hex), "=%02X", c);
		put(m, hex);
		m->col += 3;
	} else {
		buf_add(m->out, &c, 1);
		m->col++;
	}
}

/* The blank that was kept, which ends the line or does not. */
static void
flush_blank(struct mime7 *m, bool ends)
{
	if (m->blank != 0)
		put_unit(m, (unsigned char)m->blank, ends);
	m->blank = 0;
}

static void
flush_cr(struct mime7 *m)
{
	if (!m->cr)
		return;
	m->cr = false;
	flush_blank(m, false);
	put_unit(m, '\r', true);
}

static void
qp_byte(struct mime7 *m, unsigned char c)
{
	if (m->cr && c == '\n') {
		m->cr = false;
		flush_blank(m, true);
		put(m, "\r\n");
		m->col = 0;
		m->soft = false;
		return;
	}
	flush_cr(m);
	if (c == '\r') {
		m->cr = true;
		return;
	}
	flush_blank(m, false);
	if (c == ' ' || c == '\t')
		m->blank = (char)c;
	else
		put_unit(m, c, is_special(c));
}

static void
encode(struct mime7 *m, enum action a, const unsigned char *p, size_t len)
{
	if (a == TO_BASE64) {
		to_base64(m, p, len);
		return;
	}
	for (; len > 0; p++, len--)
		qp_byte(m, *p);
}

static void
end_encoder(struct mime7 *m, enum action a, bool last)
{
	if (a == TO_BASE64) {
		flush_base64(m);
		if (last)
			put(m, "\r\n");
	} else if (a == TO_QP) {
		flush_cr(m);
		flush_blank(m, true);
		/* a soft break: no line end is added to what it holds */
		if (last && m->col > 0)
			put(m, "=\r\n");
	}
	m->col = 0;
	m->soft = m->wrote = false;
}

/* ---- the conversion ---- */

static enum action
action_now(const struct mime7 *m, const struct mime_entity *e)
{
	return action_of(m, e->number, m->target);
}

static const char *
label_of(const struct mime7 *m, const struct mime_entity *e)
{
	switch (action_now(m, e)) {
	case TO_QP:
		return "quoted-printable";
	case TO_BASE64:
		return "base64";
	case RELABEL:
		return m->target == MIME7_7BIT ? "7bit" : "8bit";
	default:
		return NULL;
	}
}

static void
convert_field(void *arg, const struct mime_entity *e, enum mime_field id,
    const void *p, size_t len)
{
	struct mime7 *m = arg;

	if (id != MIME_FIELD_ENCODING || label_of(m, e) == NULL)
		buf_add(m->out, p, len);
}

static void
convert_header_end(void *arg, const struct mime_entity *e)
{
	struct mime7 *m = arg;
	const char *label = label_of(m, e);

	if (e->number == 0 && !e->has_version)
		put(m, "MIME-Version: 1.0\r\n");
	if (e->number == 0 && m->headless_type && label != NULL) {
		put(m, "Content-Type: text/plain; charset=");
		put(m, m->utf8 ? "utf-8\r\n" : "unknown-8bit\r\n");
	}
	if (label != NULL) {
		put(m, "Content-Transfer-Encoding: ");
		put(m, label);
		put(m, "\r\n");
	}
}

static void
convert_data(void *arg, const struct mime_entity *e, const void *p, size_t len)
{
	struct mime7 *m = arg;
	enum action a = action_now(m, e);

	if (a == TO_QP || a == TO_BASE64)
		encode(m, a, p, len);
	else
		buf_add(m->out, p, len);
}

static void
convert_data_end(void *arg, const struct mime_entity *e, bool last)
{
	struct mime7 *m = arg;

	end_encoder(m, action_now(m, e), last);
}

static void
convert_glue(void *arg, const void *p, size_t len)
{
	struct mime7 *m = arg;

	buf_add(m->out, p, len);
}

static const struct mime_ops convert_ops = { convert_field, convert_header_end,
	convert_data, convert_data_end, convert_glue };

void
mime7_begin(struct mime7 *m, enum mime7_target t)
{
	mimewalk_free(&m->walk);
	m->target = t;
	m->walk = mimewalk_new(&convert_ops, m);
	m->nraw = m->col = 0;
	m->soft = m->cr = m->wrote = false;
	m->blank = 0;
}

void
mime7_convert(struct mime7 *m, const void *p, size_t len, struct buf *out)
{
	m->out = out;
	mimewalk_feed(m->walk, p, len);
	m->out = NULL;
}

void
mime7_convert_end(struct mime7 *m, struct buf *out)
{
	m->out = out;
	mimewalk_end(m->walk);
	m->out = NULL;
	mimewalk_free(&m->walk);
}
