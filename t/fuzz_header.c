/*
 * submitd/header.c. The first two bytes choose split and limit, the rest is a
 * message. Any split gives the same; and in what was not flagged a second pass
 * finds nothing more to leave out.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool
on_field(void *arg, const struct header_field *f)
{
	(void)arg;
	if (f->name_len == 0 ||
	    f->value + f->value_len != f->raw + f->raw_len ||
	    f->value[-1] != ':' || f->raw[f->raw_len - 1] != '\n' ||
	    f->id == HEADER_BCC || f->id == HEADER_RESENT_BCC)
		abort();
	return true;
}

static void
on_end(void *arg, struct buf *out)
{
	size_t *at = arg;

	*at = out->len;
}

static void
filter(struct header *h, const unsigned char *in, size_t len, size_t step,
    size_t limit, struct buf *out)
{
	static const struct header_ops ops = { on_field, on_end };
	size_t used = 0, n, got, at = 0;

	header_init(h, &ops, &at, "h.x", limit);
	while (used < len) {
		n = step < len - used ? step : len - used;
		got = header_feed(h, in + used, n, out);
		if (got != n && !h->done)
			abort();
		buf_add(out, in + used + got, n - got);
		used += n;
		step = step % 7 + 1;
	}
	header_finish(h, out);
	if (!h->done || h->total > h->limit ||
	    h->headless + h->broken + h->too_big > 1)
		abort();
	header_clear(h);
}

static void
same(const struct buf *a, const struct buf *b)
{
	if (a->len != b->len ||
	    (a->len > 0 && memcmp(buf_head(a), buf_head(b), a->len) != 0))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf whole = { 0 }, split = { 0 }, again = { 0 };
	struct header a, b, c;
	size_t step, limit;

	if (len < 2)
		return 0;
	step = data[0] / 2 + 1;
	limit = (size_t)data[1] * 4 + 1;
	data += 2;
	len -= 2;
	filter(&a, data, len, len + 1, limit, &whole);
	filter(&b, data, len, step, limit, &split);
	same(&whole, &split);
	if (a.headless != b.headless || a.broken != b.broken ||
	    a.too_big != b.too_big ||
	    memcmp(a.count, b.count, sizeof(a.count)) != 0)
		abort();
	if (a.too_big &&
	    (whole.len > len ||
		memcmp(buf_head(&whole) + whole.len - (len - a.total),
		    data + a.total, len - a.total) != 0))
		abort();
	if (!a.too_big) {
		filter(&c, buf_head(&whole), whole.len, step, 0, &again);
		same(&whole, &again);
		if (c.count[HEADER_BCC] + c.count[HEADER_RESENT_BCC] > 0 ||
		    c.headless || c.broken)
			abort();
	}
	buf_clear(&whole);
	buf_clear(&split);
	buf_clear(&again);
	return 0;
}
