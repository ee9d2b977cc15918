/*
 * submitd/dotline.c. The first byte says how to split, the rest is the wire.
 * Any split gives the same; and what was decoded, encoded again, ends where
 * the encoder ended it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/dotline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct out {
	char *data;
	size_t len, size;
};

static void
collect(void *arg, const void *data, size_t len)
{
	struct out *o = arg;

	if (len == 0 || len > o->size - o->len)
		abort();
	memcpy(o->data + o->len, data, len);
	o->len += len;
}

static void
out_init(struct out *o, size_t size)
{
	*o = (struct out){ .data = malloc(size + 1), .size = size };
	if (o->data == NULL)
		abort();
}

static size_t
decode(struct dotline_in *d, bool normalize, const char *in, size_t len,
    size_t step, struct out *o)
{
	size_t used = 0, n, got;

	out_init(o, 2 * len);
	dotline_in_init(d, normalize);
	while (used < len && !d->done) {
		n = step < len - used ? step : len - used;
		got = dotline_in_feed(d, in + used, n, collect, o);
		if (got != n && !d->done)
			abort();
		used += got;
		step = step % 7 + 1;
	}
	if (d->size != o->len)
		abort();
	return used;
}

static void
encode(const struct out *m, size_t step, struct out *o)
{
	struct dotline_out e;
	size_t used, n;

	out_init(o, 2 * m->len + 5);
	dotline_out_init(&e);
	for (used = 0; used < m->len; used += n) {
		n = step < m->len - used ? step : m->len - used;
		dotline_out_feed(&e, m->data + used, n, collect, o);
		step = step % 5 + 1;
	}
	dotline_out_end(&e, collect, o);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct out whole, split, wire, back;
	struct dotline_in a, b, c;
	const char *in = (const char *)data + 1;
	bool normalize;
	size_t step;

	if (len-- == 0)
		return 0;
	normalize = data[0] & 1;
	step = data[0] / 2 + 1;
	if (decode(&a, normalize, in, len, len + 1, &whole) !=
	    decode(&b, normalize, in, len, step, &split))
		abort();
	if (a.done != b.done || a.bare_cr != b.bare_cr ||
	    a.bare_lf != b.bare_lf || a.nul != b.nul ||
	    whole.len != split.len ||
	    memcmp(whole.data, split.data, whole.len) != 0)
		abort();

	encode(&whole, step, &wire);
	if (decode(&c, false, wire.data, wire.len, step + 1, &back) !=
		wire.len ||
	    !c.done)
		abort();
	/* a whole clean message comes back as it was */
	if (a.done && !a.bare_cr && (!a.bare_lf || normalize) &&
	    (back.len != whole.len ||
		memcmp(back.data, whole.data, whole.len) != 0 || c.bare_cr ||
		c.bare_lf))
		abort();
	free(whole.data);
	free(split.data);
	free(wire.data);
	free(back.data);
	return 0;
}
