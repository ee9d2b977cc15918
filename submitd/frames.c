/* Several files in one buffer: see frames.h. */
#include "frames.h"

#include <stdint.h>
#include <string.h>

void
frames_add(struct buf *b, const void *p, size_t len)
{
	uint32_t n = (uint32_t)len;

	/* in one step: a secret buffer grows by no more than it must */
	buf_room(b, sizeof(n) + len);
	buf_add(b, &n, sizeof(n));
	if (len > 0)
		buf_add(b, p, len);
}

bool
frames_next(const struct buf *b, size_t *at, struct buf *out)
{
	uint32_t n;

	if (*at > b->len || b->len - *at < sizeof(n))
		return false;
	memcpy(&n, buf_head(b) + *at, sizeof(n));
	if (n > b->len - *at - sizeof(n))
		return false;
	*out = (struct buf){ .data = buf_head(b) + *at + sizeof(n), .len = n };
	*at += sizeof(n) + n;
	return true;
}
