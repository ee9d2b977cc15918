/*
 * Any bytes as a PROXY header: whole and in pieces the same comes out; what is
 * taken as an address is one; nothing beyond the header is taken.  The first
 * byte of the input is the size of the pieces.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/proxyhdr.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static size_t
feed(struct proxyhdr *h, const uint8_t *data, size_t len, size_t piece)
{
	size_t at = 0, n, used;

	proxyhdr_init(h);
	while (at < len && h->state == PROXYHDR_MORE) {
		n = len - at < piece ? len - at : piece;
		used = proxyhdr_feed(h, data + at, n);
		if (used > n || (h->state == PROXYHDR_MORE && used != n))
			abort();
		at += used;
	}
	return at;
}

static void
check_address(const char *text)
{
	unsigned char bytes[16];

	if (text[0] != '\0' && inet_pton(AF_INET, text, bytes) != 1 &&
	    inet_pton(AF_INET6, text, bytes) != 1)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct proxyhdr a, b;
	size_t used;

	if (len < 1)
		return 0;
	used = feed(&a, data + 1, len - 1, SIZE_MAX);
	if ((feed(&b, data + 1, len - 1, data[0] + 1u) != used &&
		a.state != PROXYHDR_BAD) ||
	    a.state != b.state || strcmp(a.why, b.why) != 0 ||
	    strcmp(a.src, b.src) != 0 || strcmp(a.dst, b.dst) != 0 ||
	    a.src_port != b.src_port || a.dst_port != b.dst_port)
		abort();
	if (used > PROXYHDR_MAX || (a.state == PROXYHDR_BAD) != (*a.why != 0))
		abort();
	check_address(a.src);
	check_address(a.dst);
	if ((a.src[0] == '\0') != (a.dst[0] == '\0'))
		abort();
	return 0;
}
