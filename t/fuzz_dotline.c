/*
 * submitd/dotline.c. The first byte says how to split, the rest is the wire.
 * Any split gives the same; and what was decoded, encoded again, ends where
 * the encoder ended it. The same bytes as chunks of BDAT are judged as a look
 * at each of them would.
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

/* All is taken and nothing changed, but for what normalizing adds. */
static void
as_chunks(bool normalize, const char *in, size_t len, size_t step)
{
	bool cr = false, lf = false, nul = false, is_long = false;
	size_t i, line = 0, used, n;
	struct dotline_in d;
	struct out o;

	for (i = 0; i < len; i++) {
		nul |= in[i] == '\0';
		cr |= in[i] == '\r' && (i + 1 == len || in[i + 1] != '\n');
		lf |= in[i] == '\n' && (i == 0 || in[i - 1] != '\r');
		is_long |= in[i] == '\n' &&
		    line - (i > 0 && in[i - 1] == '\r') > DOTLINE_LINE_MAX;
		line = in[i] == '\n' ? 0 : line + 1;
	}
	is_long |= line > DOTLINE_LINE_MAX;
	out_init(&o, 2 * len);
	dotline_in_init_chunks(&d, normalize);
	for (used = 0; used < len; used += n) {
		n = step < len - used ? step : len - used;
		if (dotline_in_feed(&d, in + used, n, collect, &o) != n)
			abort();
		step = step % 7 + 1;
	}
	dotline_in_end(&d);
	if (d.bare_cr != cr || d.bare_lf != lf || d.nul != nul ||
	    d.long_line != is_long || d.size != o.len)
		abort();
	if (!(normalize && lf) &&
	    (o.len != len || memcmp(o.data, in, len) != 0))
		abort();
	free(o.data);
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
	as_chunks(normalize, in, len, step);
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
