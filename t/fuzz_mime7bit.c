/*
 * submitd/mime7bit.c.  The first byte chooses the target and whether the
 * message is BINARYMIME, the second how many bytes come at a time (0: all).
 * What is converted is 7-bit (or 8-bit without binary data) in lines of 998
 * bytes at most, has the same parts, and each of them decodes to the same
 * bytes; however the message was cut into pieces.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/base64.h"
#include "submitd/mem.h"
#include "submitd/mime7bit.h"
#include "submitd/mimewalk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(x)                                                               \
	do {                                                                   \
		if (!(x))                                                      \
			abort();                                               \
	} while (0)

/* ---- what a message consists of ---- */

struct leaf {
	enum mime_encoding encoding;
	struct buf data;
};

struct message {
	struct leaf *leaf;
	size_t leaves;
	struct buf fields, all; /* without the fields that may change */
	unsigned entities;
};

static void
on_field(void *arg, const struct mime_entity *e, enum mime_field id,
    const void *p, size_t len)
{
	struct message *m = arg;

	buf_add(&m->all, p, len);
	if (id != MIME_FIELD_ENCODING && e->number > 0)
		buf_add(&m->fields, p, len);
}

static void
on_header_end(void *arg, const struct mime_entity *e)
{
	struct message *m = arg;

	CHECK(e->number == m->entities);
	m->entities++;
	m->leaf = xrealloc(m->leaf, (m->leaves + 1) * sizeof(*m->leaf));
	m->leaf[m->leaves++] = (struct leaf){ .encoding = e->encoding };
}

static void
on_data(void *arg, const struct mime_entity *e, const void *p, size_t len)
{
	struct message *m = arg;

	(void)e;
	CHECK(len > 0);
	buf_add(&m->all, p, len);
	buf_add(&m->leaf[m->leaves - 1].data, p, len);
}

static void
on_data_end(void *arg, const struct mime_entity *e, bool last)
{
	(void)arg, (void)e, (void)last;
}

static void
on_glue(void *arg, const void *p, size_t len)
{
	struct message *m = arg;

	CHECK(len > 0);
	buf_add(&m->all, p, len);
	buf_add(&m->fields, p, len);
}

static const struct mime_ops ops = { on_field, on_header_end, on_data,
	on_data_end, on_glue };

static void
take_apart(const void *p, size_t len, size_t piece, struct message *m)
{
	struct mimewalk *w = mimewalk_new(&ops, m);
	const uint8_t *at = p;
	size_t left = len, n;

	for (; left > 0; at += n, left -= n) {
		n = piece > 0 && piece < left ? piece : left;
		mimewalk_feed(w, at, n);
	}
	mimewalk_end(w);
	mimewalk_free(&w);
	CHECK(m->all.len == len &&
	    (len == 0 || memcmp(buf_head(&m->all), p, len) == 0));
}

static void
clear(struct message *m)
{
	size_t i;

	for (i = 0; i < m->leaves; i++)
		buf_clear(&m->leaf[i].data);
	free(m->leaf);
	buf_clear(&m->fields);
	buf_clear(&m->all);
}

/* ---- decoders ---- */

static unsigned
hex(uint8_t c)
{
	CHECK((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

static void
decode_qp(const uint8_t *p, size_t len, struct buf *out)
{
	uint8_t c;
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] != '=') {
			buf_add(out, p + i, 1);
			continue;
		}
		CHECK(i + 2 < len);
		if (p[i + 1] != '\r') {
			c = (uint8_t)(hex(p[i + 1]) * 16 + hex(p[i + 2]));
			buf_add(out, &c, 1);
		} else {
			CHECK(p[i + 2] == '\n');
		}
		i += 2;
	}
}

static void
decode_base64(const uint8_t *p, size_t len, struct buf *out)
{
	struct buf text = { 0 };
	size_t i, n = 0;

	for (i = 0; i < len; i++)
		if (p[i] != '\r' && p[i] != '\n')
			buf_add(&text, p + i, 1);
	buf_room(out, text.len + 1);
	CHECK(base64_decode((const char *)buf_head(&text), text.len,
		  buf_head(out), text.len + 1, &n) == 0);
	buf_grew(out, n);
	buf_clear(&text);
}

static void
compare_leaf(const struct leaf *a, const struct leaf *b)
{
	struct buf plain = { 0 };
	const uint8_t *p = buf_head(&b->data);

	if (a->encoding == b->encoding || b->encoding <= MIME_BINARY)
		buf_add(&plain, p, b->data.len);
	else if (b->encoding == MIME_QP)
		decode_qp(p, b->data.len, &plain);
	else
		decode_base64(p, b->data.len, &plain);
	CHECK(plain.len == a->data.len &&
	    (plain.len == 0 ||
		memcmp(buf_head(&plain), buf_head(&a->data), plain.len) == 0));
	buf_clear(&plain);
}

static void
compare(const struct message *a, const struct message *b)
{
	size_t i;

	CHECK(a->entities == b->entities && a->leaves == b->leaves);
	CHECK(a->fields.len == b->fields.len &&
	    memcmp(buf_head(&a->fields), buf_head(&b->fields), a->fields.len) ==
		0);
	for (i = 0; i < a->leaves; i++)
		compare_leaf(&a->leaf[i], &b->leaf[i]);
}

/* ---- what may be sent ---- */

static void
check_bytes(const uint8_t *p, size_t len, bool high, bool long_lines)
{
	size_t i, line = 0;

	for (i = 0; i < len; i++) {
		if (p[i] == '\r' && i + 1 < len && p[i + 1] == '\n') {
			i++;
			line = 0;
			continue;
		}
		CHECK(p[i] != '\0' && p[i] != '\r' && p[i] != '\n');
		CHECK(high || p[i] < 128);
		CHECK(++line <= MIME7_LINE || long_lines);
	}
}

static void
convert(struct mime7 *m, enum mime7_target t, const uint8_t *p, size_t len,
    size_t piece, struct buf *out)
{
	size_t n;

	mime7_begin(m, t);
	for (; len > 0; p += n, len -= n) {
		n = piece > 0 && piece < len ? piece : len;
		mime7_convert(m, p, n, out);
	}
	mime7_convert_end(m, out);
}

static void
check_conversion(struct mime7 *m, enum mime7_target t, const uint8_t *p,
    size_t len, size_t piece)
{
	struct buf out = { 0 }, again = { 0 };
	struct message before = { 0 }, after = { 0 };

	convert(m, t, p, len, piece, &out);
	check_bytes(buf_head(&out), out.len, t == MIME7_8BIT, false);
	take_apart(p, len, 0, &before);
	take_apart(buf_head(&out), out.len, 0, &after);
	compare(&before, &after);
	convert(m, t, p, len, 0, &again);
	CHECK(out.len == again.len &&
	    memcmp(buf_head(&out), buf_head(&again), out.len) == 0);
	clear(&before);
	clear(&after);
	buf_clear(&out);
	buf_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct message whole = { 0 };
	enum mime7_target t;
	const char *why = NULL;
	size_t piece, i, n;
	struct mime7 *m;
	bool binary;

	if (len < 2)
		return 0;
	t = (data[0] & 1) != 0 ? MIME7_8BIT : MIME7_7BIT;
	binary = (data[0] & 2) != 0;
	piece = data[1];
	data += 2;
	len -= 2;
	take_apart(data, len, piece, &whole);
	clear(&whole);
	m = mime7_new();
	for (i = 0; i < len; i += n) {
		n = piece > 0 && piece < len - i ? piece : len - i;
		mime7_scan(m, data + i, n);
	}
	mime7_scan_end(m);
	switch (mime7_judge(m, t, binary, &why)) {
	case MIME7_AS_IS:
		check_bytes(data, len, t == MIME7_8BIT, !binary);
		break;
	case MIME7_CONVERT:
		check_conversion(m, t, data, len, piece);
		break;
	default:
		CHECK(why[0] != '\0');
	}
	mime7_free(&m);
	return 0;
}
