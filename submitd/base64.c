/* Base64, RFC 4648 section 4, strict. */
#include "base64.h"

#include <limits.h>
#include <stdint.h>

static const char alphabet[64] = { 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I',
	'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W',
	'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k',
	'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y',
	'z', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '/' };

int
base64_digit(char c)
{
	int v = -1;

	v += (c >= 'A' && c <= 'Z') * (c - 'A' + 1);
	v += (c >= 'a' && c <= 'z') * (c - 'a' + 27);
	v += (c >= '0' && c <= '9') * (c - '0' + 53);
	v += (c == '+') * 63;
	v += (c == '/') * 64;
	return v;
}

int
base64_encode(const void *in, size_t len, char *out, size_t size)
{
	const unsigned char *p = in;
	uint32_t v;
	size_t i;

	/* the first test keeps BASE64_LEN from overflowing */
	if (len > SIZE_MAX / 2 || size <= BASE64_LEN(len))
		return -1;
	for (i = 0; i + 3 <= len; i += 3) {
		v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = alphabet[v >> 6 & 63];
		*out++ = alphabet[v & 63];
	}
	if (i < len) {
		v = (uint32_t)p[i] << 16;
		if (i + 1 < len)
			v |= (uint32_t)p[i + 1] << 8;
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
		*out++ = '=';
	}
	*out = '\0';
	return 0;
}

/* Decodes one group of n digits (2 to 4) to n - 1 bytes of v; 0 or -1. */
static int
group(const char *in, size_t n, unsigned char v[3])
{
	uint32_t bits = 0;
	size_t i;
	int d;

	for (i = 0; i < 4; i++) {
		d = i < n ? base64_digit(in[i]) : 0;
		if (d == -1)
			return -1;
		bits = bits << 6 | (uint32_t)d;
	}
	v[0] = (unsigned char)(bits >> 16);
	v[1] = (unsigned char)(bits >> 8);
	v[2] = (unsigned char)bits;
	/* RFC 4648 3.5: bits behind the last byte are zero */
	return (bits & (0xffffffU >> ((n - 1) * 8))) != 0 ? -1 : 0;
}

int
base64_decode(
    const char *in, size_t len, void *out, size_t size, size_t *out_len)
{
	unsigned char *o = out, v[3];
	size_t i, j, n, used = 0;

	*out_len = 0;
	if (len % 4 != 0)
		return -1;
	for (i = 0; i < len; i += 4) {
		n = 4;
		if (i + 4 == len && in[i + 3] == '=')
			n = in[i + 2] == '=' ? 2 : 3;
		if (group(in + i, n, v) != 0 || size - used < n - 1)
			return -1;
		for (j = 0; j < n - 1; j++)
			o[used++] = v[j];
	}
	*out_len = used;
	return 0;
}
