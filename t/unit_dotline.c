/* submitd/dotline.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/dotline.h"

enum { ROOM = 4096 };

struct out {
	char data[ROOM];
	size_t len;
	size_t calls;
};

static void
collect(void *arg, const void *data, size_t len)
{
	struct out *o = arg;

	assert_true(len > 0);
	assert_true(len <= sizeof(o->data) - o->len);
	memcpy(o->data + o->len, data, len);
	o->len += len;
	o->calls++;
}

enum {
	CR = 1,
	LF = 2,
	NUL = 4,
};

/* clang-format off */
#define S(s) s, sizeof(s) - 1
static const struct {
	const char *name;
	const char *in; size_t in_len;
	const char *out; size_t out_len;
	const char *rest; size_t rest_len; /* not taken; NULL: no end came */
	int flags;
	const char *norm; size_t norm_len; /* with bare LF rewritten; NULL: as out */
} rows[] = {
	{ "plain", S("a\r\nb\r\n.\r\n"), S("a\r\nb\r\n"), S(""), 0, NULL, 0 },
	{ "empty message", S(".\r\n"), S(""), S(""), 0, NULL, 0 },
	{ "empty line", S("\r\n.\r\n"), S("\r\n"), S(""), 0, NULL, 0 },
	{ "commands behind it", S("a\r\n.\r\nQUIT\r\n"), S("a\r\n"),
	  S("QUIT\r\n"), 0, NULL, 0 },
	{ "a second end is a command", S(".\r\n.\r\n"), S(""), S(".\r\n"), 0,
	  NULL, 0 },
	{ "no end yet", S("a\r\n"), S("a\r\n"), NULL, 0, 0, NULL, 0 },
	{ "stuffed dot", S("..\r\n.\r\n"), S(".\r\n"), S(""), 0, NULL, 0 },
	{ "stuffed text", S("..a\r\n..b\r\n.\r\n"), S(".a\r\n.b\r\n"), S(""), 0,
	  NULL, 0 },
	{ "two stuffed dots", S("...\r\n.\r\n"), S("..\r\n"), S(""), 0, NULL, 0 },
	{ "dot not stuffed", S(".a\r\n.\r\n"), S("a\r\n"), S(""), 0, NULL, 0 },
	{ "dot and blank", S(". \r\n.\r\n"), S(" \r\n"), S(""), 0, NULL, 0 },
	{ "dots inside a line", S("a.b..\r\n.\r\n"), S("a.b..\r\n"), S(""), 0,
	  NULL, 0 },
	{ "dot at the end of a line", S("a.\r\n.\r\n"), S("a.\r\n"), S(""), 0,
	  NULL, 0 },
	{ "8-bit", S("\xff\x80\r\n.\r\n"), S("\xff\x80\r\n"), S(""), 0, NULL, 0 },
	{ "NUL", S("a\0b\r\n.\r\n"), S("a\0b\r\n"), S(""), NUL, NULL, 0 },
	{ "NUL behind the end is no concern", S(".\r\n\0"), S(""), S("\0"), 0,
	  NULL, 0 },

	/* bare ones; none of them ends a message */
	{ "LF . LF", S("a\n.\nb\r\n.\r\n"), S("a\n.\nb\r\n"), S(""), LF,
	  S("a\r\n.\r\nb\r\n") },
	{ "LF . CR LF", S("a\n.\r\nb\r\n.\r\n"), S("a\n.\r\nb\r\n"), S(""), LF,
	  S("a\r\n.\r\nb\r\n") },
	{ "CR LF . LF", S("a\r\n.\nb\r\n.\r\n"), S("a\r\n\nb\r\n"), S(""), LF,
	  S("a\r\n\r\nb\r\n") },
	{ "CR LF . CR", S("a\r\n.\rb\r\n.\r\n"), S("a\r\n\rb\r\n"), S(""), CR,
	  NULL, 0 },
	{ "CR . CR", S("a\r.\rb\r\n.\r\n"), S("a\r.\rb\r\n"), S(""), CR, NULL, 0 },
	{ "CR . CR LF", S("a\r.\r\nb\r\n.\r\n"), S("a\r.\r\nb\r\n"), S(""), CR,
	  NULL, 0 },
	{ "LF . CR", S("a\n.\rb\r\n.\r\n"), S("a\n.\rb\r\n"), S(""), CR | LF,
	  S("a\r\n.\rb\r\n") },
	{ "CR . LF", S("a\r.\nb\r\n.\r\n"), S("a\r.\nb\r\n"), S(""), CR | LF,
	  S("a\r.\r\nb\r\n") },
	{ "CR CR LF . CR LF", S("a\r\r\n.\r\n"), S("a\r\r\n"), S(""), CR, NULL, 0 },
	{ "CR LF . CR CR LF", S("a\r\n.\r\r\n.\r\n"), S("a\r\n\r\r\n"), S(""), CR,
	  NULL, 0 },
	{ "CR LF . CR . CR LF", S("\r\n.\r.\r\n.\r\n"), S("\r\n\r.\r\n"), S(""),
	  CR, NULL, 0 },
	{ "NUL hidden in the end", S("a\r\n.\0\r\n.\r\n"), S("a\r\n\0\r\n"), S(""),
	  NUL, NULL, 0 },
	{ "LF CR LF", S("a\n\r\n.\r\n"), S("a\n\r\n"), S(""), LF,
	  S("a\r\n\r\n") },
	{ "LF only", S("\n.\n\n.\r\n\r\n.\r\n"), S("\n.\n\n.\r\n\r\n"), S(""), LF,
	  S("\r\n.\r\n\r\n.\r\n\r\n") },
	{ "LF first", S("\na\r\n.\r\n"), S("\na\r\n"), S(""), LF,
	  S("\r\na\r\n") },
	{ "LF . . CR LF keeps both dots", S("a\n..\r\n.\r\n"), S("a\n..\r\n"),
	  S(""), LF, S("a\r\n..\r\n") },
	{ "CR first", S("\ra\r\n.\r\n"), S("\ra\r\n"), S(""), CR, NULL, 0 },
	{ "CRs", S("\r\r\r\r\n.\r\n"), S("\r\r\r\r\n"), S(""), CR, NULL, 0 },
	{ "ends in the middle of the end", S("a\r\n.\r"), S("a\r\n"), NULL, 0, 0,
	  NULL, 0 },
	{ "ends behind the dot", S("a\r\n."), S("a\r\n"), NULL, 0, 0, NULL, 0 },
	{ "last CR is not yet bare", S("a\r"), S("a\r"), NULL, 0, 0, NULL, 0 },
};
/* clang-format on */

/* Feeds in pieces of the sizes that seed makes; 0 feeds all at once. */
static size_t
feed(struct dotline_in *d, const char *in, size_t len, unsigned seed,
    struct out *o)
{
	size_t used = 0, n, got;
	char *piece;

	while (used < len && !d->done) {
		n = len - used;
		if (seed > 0) {
			seed = seed * 1103515245U + 12345U;
			n = 1 + (seed >> 16) % 4;
			if (n > len - used)
				n = len - used;
		}
		piece = malloc(n);
		assert_non_null(piece);
		memcpy(piece, in + used, n);
		got = dotline_in_feed(d, piece, n, collect, o);
		free(piece);
		assert_true(got == n || d->done);
		used += got;
	}
	return used;
}

static void
check_row(size_t i, bool normalize, unsigned seed)
{
	const char *want = rows[i].out, *name = rows[i].name;
	size_t want_len = rows[i].out_len, used;
	struct out o = { .len = 0 };
	struct dotline_in d;
	int flags;

	if (normalize && rows[i].norm != NULL) {
		want = rows[i].norm;
		want_len = rows[i].norm_len;
	}
	dotline_in_init(&d, normalize);
	used = feed(&d, rows[i].in, rows[i].in_len, seed, &o);
	flags = (d.bare_cr ? CR : 0) | (d.bare_lf ? LF : 0) | (d.nul ? NUL : 0);
	if (o.len != want_len || memcmp(o.data, want, want_len) != 0)
		fail_msg("%s, seed %u: other bytes", name, seed);
	if (flags != rows[i].flags)
		fail_msg("%s, seed %u: flags %d", name, seed, flags);
	if (d.size != o.len)
		fail_msg("%s, seed %u: size", name, seed);
	if (d.done != (rows[i].rest != NULL) ||
	    rows[i].in_len - used != rows[i].rest_len)
		fail_msg("%s, seed %u: end at %zu", name, seed, used);
	if (d.done)
		assert_int_equal(dotline_in_feed(&d, "x", 1, collect, &o), 0);
}

static void
table(void **state)
{
	unsigned seed;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (seed = 0; seed < 40; seed++) {
			check_row(i, false, seed);
			check_row(i, true, seed);
		}
	}
}

/* clang-format off */
/* What comes in chunks: all of it is taken, whatever it is. */
static const struct {
	const char *name;
	const char *in; size_t in_len;
	int flags;
	const char *norm; size_t norm_len; /* with bare LF rewritten; NULL: as in */
} chunked[] = {
	{ "plain", S("a\r\nb\r\n"), 0, NULL, 0 },
	{ "nothing", S(""), 0, NULL, 0 },
	{ "no final CR LF", S("a\r\nb"), 0, NULL, 0 },
	{ "dots are text", S(".\r\n..\r\n.a\r\n\r\n.\r\n"), 0, NULL, 0 },
	{ "empty lines", S("\r\n\r\n"), 0, NULL, 0 },
	{ "8-bit", S("\xff\x80\r\n"), 0, NULL, 0 },
	{ "NUL", S("a\0b"), NUL, NULL, 0 },
	{ "LF . LF", S("a\n.\nb"), LF, S("a\r\n.\r\nb") },
	{ "LF . CR LF", S("a\n.\r\n"), LF, S("a\r\n.\r\n") },
	{ "CR LF . LF", S("\r\n.\n"), LF, S("\r\n.\r\n") },
	{ "CR . CR", S("a\r.\rb"), CR, NULL, 0 },
	{ "CR CR LF", S("a\r\r\n"), CR, NULL, 0 },
	{ "LF CR", S("\n\r"), CR | LF, S("\r\n\r") },
	{ "final CR", S("a\r"), CR, NULL, 0 },
	{ "final LF", S("a\n"), LF, S("a\r\n") },
	{ "LF only", S("\n\n"), LF, S("\r\n\r\n") },
};
/* clang-format on */

static void
check_chunk(size_t i, bool normalize, unsigned seed)
{
	bool norm = normalize && chunked[i].norm != NULL;
	const char *want = norm ? chunked[i].norm : chunked[i].in;
	size_t want_len = norm ? chunked[i].norm_len : chunked[i].in_len;
	struct out o = { .len = 0 };
	struct dotline_in d;
	int flags;

	dotline_in_init_chunks(&d, normalize);
	if (feed(&d, chunked[i].in, chunked[i].in_len, seed, &o) !=
		chunked[i].in_len ||
	    d.done)
		fail_msg(
		    "%s, seed %u: not all was taken", chunked[i].name, seed);
	dotline_in_end(&d);
	flags = (d.bare_cr ? CR : 0) | (d.bare_lf ? LF : 0) | (d.nul ? NUL : 0);
	if (o.len != want_len || memcmp(o.data, want, want_len) != 0)
		fail_msg("%s, seed %u: other bytes", chunked[i].name, seed);
	if (flags != chunked[i].flags || d.size != o.len || !d.done)
		fail_msg("%s, seed %u: flags %d", chunked[i].name, seed, flags);
}

static void
chunks(void **state)
{
	unsigned seed;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(chunked) / sizeof(chunked[0]); i++) {
		for (seed = 0; seed < 40; seed++) {
			check_chunk(i, false, seed);
			check_chunk(i, true, seed);
		}
	}
}

/* Whether a line of n bytes, what comes before and behind it, is too long. */
static bool
is_long(const char *before, size_t n, const char *behind, bool in_chunks,
    unsigned seed)
{
	char m[1100];
	size_t len = strlen(before);
	struct out o = { .len = 0 };
	struct dotline_in d;

	memcpy(m, before, len);
	memset(m + len, 'x', n);
	strcpy(m + len + n, behind);
	if (in_chunks)
		dotline_in_init_chunks(&d, seed % 2);
	else
		dotline_in_init(&d, seed % 2);
	feed(&d, m, len + n + strlen(behind), seed, &o);
	if (in_chunks)
		dotline_in_end(&d);
	assert_true(d.done);
	return d.long_line;
}

/* 998 bytes are the most, without CR LF and without the dot that was put
 * before them; RFC 5321 4.5.3.1.6. */
static void
long_lines(void **state)
{
	static const struct {
		const char *before, *behind;
		bool chunks;
		size_t most;
	} lines[] = {
		{ "", "\r\n.\r\n", false, 998 },
		{ "a\r\n", "\r\nb\r\n.\r\n", false, 998 },
		{ "..", "\r\n.\r\n", false, 997 },
		{ "", "\n\r\n.\r\n", false, 998 },
		{ "", "\r\n", true, 998 },
		{ "a\r\n", "\r\nb\r\n", true, 998 },
		{ "..", "\r\n", true, 996 },
		{ "a\r\n", "", true, 998 },
		{ "", "\nb", true, 998 },
	};
	unsigned seed;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		for (seed = 0; seed < 10; seed++) {
			if (is_long(lines[i].before, lines[i].most,
				lines[i].behind, lines[i].chunks, seed))
				fail_msg("%zu, seed %u: too long", i, seed);
			if (!is_long(lines[i].before, lines[i].most + 1,
				lines[i].behind, lines[i].chunks, seed))
				fail_msg("%zu, seed %u: fine", i, seed);
		}
	}
}

/* clang-format off */
static const struct {
	const char *name;
	const char *in; size_t in_len;
	const char *out; size_t out_len;
} encoded[] = {
	{ "plain", S("a\r\nb\r\n"), S("a\r\nb\r\n.\r\n") },
	{ "nothing", S(""), S(".\r\n") },
	{ "dot first", S(".\r\n"), S("..\r\n.\r\n") },
	{ "dots", S(".a\r\n..\r\nb.\r\n"), S("..a\r\n...\r\nb.\r\n.\r\n") },
	{ "no final CR LF", S("a"), S("a\r\n.\r\n") },
	{ "final dot", S("a\r\n."), S("a\r\n..\r\n.\r\n") },
	{ "dot behind a bare LF", S("a\n.\r\n"), S("a\n..\r\n.\r\n") },
	{ "dots inside", S("a.b\r\n"), S("a.b\r\n.\r\n") },
	{ "final bare LF", S("a\n"), S("a\n\r\n.\r\n") },
	{ "LF only", S("\n"), S("\n\r\n.\r\n") },
	{ "final CR", S("a\r"), S("a\r\r\n.\r\n") },
};
/* clang-format on */

static void
encode(const char *in, size_t len, unsigned seed, struct out *o)
{
	struct dotline_out e;
	size_t used, n;

	dotline_out_init(&e);
	for (used = 0; used < len; used += n) {
		n = len - used;
		if (seed > 0) {
			seed = seed * 1103515245U + 12345U;
			n = 1 + (seed >> 16) % 4;
			if (n > len - used)
				n = len - used;
		}
		dotline_out_feed(&e, in + used, n, collect, o);
	}
	dotline_out_end(&e, collect, o);
}

static void
encoder(void **state)
{
	struct out o;
	unsigned seed;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(encoded) / sizeof(encoded[0]); i++) {
		for (seed = 0; seed < 20; seed++) {
			o.len = 0;
			encode(encoded[i].in, encoded[i].in_len, seed, &o);
			if (o.len != encoded[i].out_len ||
			    memcmp(o.data, encoded[i].out, o.len) != 0)
				fail_msg("%s, seed %u: other bytes",
				    encoded[i].name, seed);
		}
	}
}

/* Makes a message of lines that dots, CRs and letters crowd. */
static size_t
make_message(unsigned seed, char *m, size_t size)
{
	size_t n = 0, lines = seed % 13, len;

	for (; lines > 0; lines--) {
		seed = seed * 1103515245U + 12345U;
		len = (seed >> 16) % 6;
		while (len-- > 0 && n + 3 < size) {
			seed = seed * 1103515245U + 12345U;
			m[n++] = ".a. .\xc3"[(seed >> 16) % 6];
		}
		m[n++] = '\r';
		m[n++] = '\n';
	}
	return n;
}

static void
encoder_then_decoder_is_the_identity(void **state)
{
	struct out wire, back;
	struct dotline_in d;
	char m[512];
	unsigned seed;
	size_t n;

	(void)state;
	for (seed = 1; seed < 3000; seed++) {
		n = make_message(seed, m, sizeof(m));
		wire.len = back.len = 0;
		encode(m, n, seed, &wire);
		dotline_in_init(&d, false);
		assert_int_equal(
		    feed(&d, wire.data, wire.len, seed * 7, &back), wire.len);
		assert_true(d.done);
		assert_false(d.bare_cr || d.bare_lf || d.nul);
		if (back.len != n || memcmp(back.data, m, n) != 0)
			fail_msg("seed %u", seed);
	}
}

/* Any bytes, however wild, end where the encoder ended them and not before. */
static void
nothing_ends_early(void **state)
{
	struct out wire, back;
	struct dotline_in d;
	char m[64];
	unsigned seed, r;
	size_t n, i;

	(void)state;
	for (seed = 1; seed < 20000; seed++) {
		r = seed;
		n = seed % sizeof(m);
		for (i = 0; i < n; i++) {
			r = r * 1103515245U + 12345U;
			m[i] = "\r\n.\0a\r\n."[(r >> 16) % 8];
		}
		wire.len = back.len = 0;
		encode(m, n, seed, &wire);
		dotline_in_init(&d, seed & 1);
		if (feed(&d, wire.data, wire.len, seed & 2 ? seed : 0, &back) !=
			wire.len ||
		    !d.done)
			fail_msg("seed %u", seed);
	}
}

static void
bytes_go_in_few_runs(void **state)
{
	struct out o = { .len = 0 };
	struct dotline_in d;
	struct dotline_out e;
	char m[4000];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(m); i++)
		m[i] = i % 80 == 78 ? '\r' : i % 80 == 79 ? '\n' : 'a';
	dotline_in_init(&d, false);
	dotline_in_feed(&d, m, sizeof(m), collect, &o);
	assert_int_equal(o.calls, 1);
	o.len = o.calls = 0;
	dotline_in_init_chunks(&d, false);
	dotline_in_feed(&d, m, sizeof(m), collect, &o);
	assert_int_equal(o.calls, 1);
	o.len = o.calls = 0;
	dotline_out_init(&e);
	dotline_out_feed(&e, m, sizeof(m), collect, &o);
	assert_int_equal(o.calls, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(chunks),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(encoder),
		cmocka_unit_test(encoder_then_decoder_is_the_identity),
		cmocka_unit_test(nothing_ends_early),
		cmocka_unit_test(bytes_go_in_few_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
