/*
 * BDAT beside DATA: a message that comes in chunks, cut anywhere, is the same
 * to queue, and has the same final reply, as when it comes with dots stuffed.
 * session_rig.h says what else is checked.
 *
 * The first byte of the input is the size of the pieces that arrive; the second
 * how the configuration is and whether the last chunk is empty; the third the
 * number of chunks but one, of which each has a byte with its size. The rest is
 * the message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { EMPTY_LAST = 1 << 7, CHUNKS_MAX = 15 };

static void
say(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

static void
say_envelope(struct buf *b)
{
	say(b,
	    "EHLO x\r\nMAIL FROM:<a@example.org> BODY=8BITMIME\r\n"
	    "RCPT TO:<b@example.net>\r\n");
}

/* By DATA; the message ends with CR LF. */
static void
say_data(struct buf *b, const uint8_t *p, size_t len)
{
	bool start = true;
	size_t i;

	say_envelope(b);
	say(b, "DATA\r\n");
	for (i = 0; i < len; i++) {
		if (start && p[i] == '.')
			say(b, ".");
		buf_add(b, p + i, 1);
		start = p[i] == '\n' && i > 0 && p[i - 1] == '\r';
	}
	say(b, ".\r\n");
}

static void
say_chunk(struct buf *b, const uint8_t *p, size_t n, bool last)
{
	char text[40];

	snprintf(text, sizeof(text), "BDAT %zu%s\r\n", n, last ? " LAST" : "");
	say(b, text);
	buf_add(b, p, n);
}

static void
say_bdat(struct buf *b, const uint8_t *p, size_t len, const uint8_t *cut,
    size_t cuts, bool empty_last)
{
	size_t i, n;

	say_envelope(b);
	for (i = 0; i < cuts; i++, p += n, len -= n) {
		n = cut[i] < len ? cut[i] : len;
		say_chunk(b, p, n, false);
	}
	say_chunk(b, p, len, !empty_last);
	if (empty_last)
		say_chunk(b, p, 0, true);
}

static bool
same(const unsigned char *a, size_t alen, const unsigned char *b, size_t blen)
{
	return alen == blen && (alen == 0 || memcmp(a, b, alen) == 0);
}

static void
compare(const struct session_rig_heard *a, const struct session_rig_heard *b)
{
	if (!same(buf_head(&a->mail), a->mail.len, buf_head(&b->mail),
		b->mail.len) ||
	    !same(buf_head(&a->all) + a->last, a->all.len - a->last,
		buf_head(&b->all) + b->last, b->all.len - b->last)) {
		fprintf(stderr, "DATA:\n%.*s\nBDAT:\n%.*s\n", (int)a->all.len,
		    buf_head(&a->all), (int)b->all.len, buf_head(&b->all));
		abort();
	}
}

static struct session_rig_heard
play(const struct buf *b, uint8_t mode, size_t piece)
{
	struct session_rig_input in = { .data = buf_head(b),
		.len = b->len,
		.mode = mode,
		.implicit = true,
		.piece = piece };

	return session_rig_play(&in);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf message = { 0 }, by_data = { 0 }, by_bdat = { 0 };
	struct session_rig_heard a, b;
	const uint8_t *cut = data + 3;
	size_t piece, cuts;
	uint8_t mode;

	if (len < 3 || len < 3u + (data[2] & CHUNKS_MAX))
		return 0;
	piece = data[0] + 1u;
	cuts = data[2] & CHUNKS_MAX;
	/* both ways ask queue alike; but with no room for it the text behind
	 * DATA would be commands */
	mode = SESSION_RIG_CERT |
	    (data[1] & (SESSION_RIG_NORMALIZE | SESSION_RIG_LONG_LINES));
	buf_add(&message, cut + cuts, len - 3 - cuts);
	say(&message, "\r\n");
	say_data(&by_data, buf_head(&message), message.len);
	say_bdat(&by_bdat, buf_head(&message), message.len, cut, cuts,
	    (data[1] & EMPTY_LAST) != 0);
	a = play(&by_data, mode, piece);
	b = play(&by_bdat, mode, piece);
	compare(&a, &b);
	session_rig_clear(&a);
	session_rig_clear(&b);
	buf_clear(&message);
	buf_clear(&by_data);
	buf_clear(&by_bdat);
	return 0;
}
