/* The PROXY protocol: see proxyhdr.h. */
#include "proxyhdr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

enum {
	SIGNATURE = 12,
	V2_FIXED = 16,
	V1_MAX = 107, /* with CR LF */
	TLV_CRC32C = 3,
};

static const unsigned char signature[SIGNATURE] = { 0x0d, 0x0a, 0x0d, 0x0a, 0,
	0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };
static const char v1_begin[] = "PROXY ";
enum { V1_BEGIN = sizeof(v1_begin) - 1 };

void
proxyhdr_init(struct proxyhdr *h)
{
	memset(h, 0, offsetof(struct proxyhdr, buf));
	h->state = PROXYHDR_MORE;
	h->why = "";
}

static void
bad(struct proxyhdr *h, const char *why)
{
	h->state = PROXYHDR_BAD;
	h->why = why;
	h->src[0] = h->dst[0] = '\0';
}

uint32_t
proxyhdr_crc32c(const void *data, size_t n)
{
	const unsigned char *p = data;
	uint32_t crc = 0xffffffff;
	int bit;

	while (n-- > 0) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0x82f63b78 & -(crc & 1));
	}
	return ~crc;
}

/* ---- addresses ---- */

static void
v4_text(const void *bytes, char out[PROXYHDR_ADDR_MAX])
{
	inet_ntop(AF_INET, bytes, out, PROXYHDR_ADDR_MAX);
}

static void
v6_text(const void *bytes, char out[PROXYHDR_ADDR_MAX])
{
	struct in6_addr a;

	memcpy(&a, bytes, sizeof(a));
	if (IN6_IS_ADDR_V4MAPPED(&a))
		v4_text(a.s6_addr + 12, out);
	else
		inet_ntop(AF_INET6, &a, out, PROXYHDR_ADDR_MAX);
}

/* ---- version 1 ---- */

/* The next word of a line: what one blank, or the end, follows. */
static bool
word(char **line, const char **out)
{
	char *end = *line + strcspn(*line, " ");

	*out = *line;
	if (end == *line)
		return false;
	*line = end;
	if (*end != '\0') {
		*end = '\0';
		*line = end + 1;
	}
	return true;
}

static bool
v1_addr(char **line, int family, char out[PROXYHDR_ADDR_MAX])
{
	unsigned char bytes[sizeof(struct in6_addr)];
	const char *text;

	if (!word(line, &text) || inet_pton(family, text, bytes) != 1)
		return false;
	if (family == AF_INET)
		v4_text(bytes, out);
	else
		v6_text(bytes, out);
	return true;
}

static bool
v1_port(char **line, uint16_t *out)
{
	const char *p;
	unsigned v = 0;

	if (!word(line, &p) || (p[0] == '0' && p[1] != '\0') || strlen(p) > 5)
		return false;
	for (; *p != '\0'; p++) {
		if (!isdigit((unsigned char)*p))
			return false;
		v = v * 10 + (unsigned)(*p - '0');
	}
	*out = (uint16_t)v;
	return v <= 65535;
}

/* The line without CR LF, behind "PROXY ". */
static void
v1_parse(struct proxyhdr *h, char *line)
{
	const char *kind;
	int family;

	h->state = PROXYHDR_DONE;
	if (!word(&line, &kind)) {
		bad(h, "the line names no protocol");
		return;
	}
	if (strcmp(kind, "UNKNOWN") == 0)
		return; /* whatever follows is to be ignored */
	if (strcmp(kind, "TCP4") == 0)
		family = AF_INET;
	else if (strcmp(kind, "TCP6") == 0)
		family = AF_INET6;
	else {
		bad(h, "the line's protocol is none of TCP4, TCP6, UNKNOWN");
		return;
	}
	if (!v1_addr(&line, family, h->src) || !v1_addr(&line, family, h->dst))
		bad(h, "an address of the line is not valid");
	else if (!v1_port(&line, &h->src_port) ||
	    !v1_port(&line, &h->dst_port) || *line != '\0')
		bad(h, "the line does not end with two ports");
}

/* Only CR LF ends the line. */
static size_t
v1_feed(struct proxyhdr *h, const unsigned char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n && h->state == PROXYHDR_MORE; i++) {
		h->buf[h->len++] = p[i];
		if (p[i] == '\n' && h->buf[h->len - 2] != '\r')
			bad(h, "the line ends with LF alone");
		else if (p[i] != '\n' && h->buf[h->len - 2] == '\r')
			bad(h, "the line has a CR without LF");
		else if (p[i] == '\0')
			bad(h, "the line has a NUL");
		else if (p[i] == '\n') {
			h->buf[h->len - 2] = '\0';
			v1_parse(h, (char *)h->buf + V1_BEGIN);
		} else if (h->len >= V1_MAX)
			bad(h, "the line is longer than 107 bytes");
	}
	return i;
}

/* ---- version 2 ---- */

static unsigned
u16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static bool
crc_is_right(struct proxyhdr *h, unsigned char *value)
{
	uint32_t want = (uint32_t)u16(value) << 16 | u16(value + 2);

	memset(value, 0, 4);
	return proxyhdr_crc32c(h->buf, h->len) == want;
}

static void
v2_tlvs(struct proxyhdr *h, size_t at)
{
	bool summed = false;
	unsigned n;

	while (at < h->len && h->state == PROXYHDR_DONE) {
		if (h->len - at < 3 ||
		    (n = u16(h->buf + at + 1)) > h->len - at - 3) {
			bad(h, "a TLV is longer than the header");
			return;
		}
		if (h->buf[at] == TLV_CRC32C) {
			if (n != 4 || summed ||
			    !crc_is_right(h, h->buf + at + 3))
				bad(h, "the checksum is wrong");
			summed = true;
		}
		at += 3 + n;
	}
}

static void
v2_parse(struct proxyhdr *h)
{
	static const size_t sizes[] = { 0, 12, 36, 216 };
	unsigned command = h->buf[12] & 15;
	unsigned family = h->buf[13] >> 4, protocol = h->buf[13] & 15;
	const unsigned char *p = h->buf + V2_FIXED;
	size_t size, have = h->len - V2_FIXED;

	h->state = PROXYHDR_DONE;
	if (command == 0 &&
	    (family > 3 || protocol > 2 || have < sizes[family]))
		return; /* LOCAL: its block is to be skipped unseen */
	if (family > 3 || protocol > 2) {
		bad(h, "the address family or protocol is not known");
		return;
	}
	size = protocol == 0 ? 0 : sizes[family];
	if (have < size) {
		bad(h, "the header is too short for its addresses");
		return;
	}
	if (family != 0 && protocol == 0)
		return; /* where addresses end, and TLVs begin, is not said */
	v2_tlvs(h, V2_FIXED + size);
	if (h->state != PROXYHDR_DONE || command == 0 || protocol != 1)
		return;
	if (family == 1) {
		v4_text(p, h->src);
		v4_text(p + 4, h->dst);
	} else if (family == 2) {
		v6_text(p, h->src);
		v6_text(p + 16, h->dst);
	} else
		return;
	h->src_port = (uint16_t)u16(p + size - 4);
	h->dst_port = (uint16_t)u16(p + size - 2);
}

static size_t
v2_feed(struct proxyhdr *h, const unsigned char *p, size_t n)
{
	size_t whole = V2_FIXED, take, used = 0;

	if (h->len >= V2_FIXED)
		whole += u16(h->buf + 14);
	while (h->state == PROXYHDR_MORE) {
		take = whole - h->len < n - used ? whole - h->len : n - used;
		memcpy(h->buf + h->len, p + used, take);
		h->len += take;
		used += take;
		if (h->len >= 13 && h->buf[12] >> 4 != 2)
			bad(h, "the version is neither 1 nor 2");
		else if (h->len >= 13 && (h->buf[12] & 15) > 1)
			bad(h, "the command is neither LOCAL nor PROXY");
		else if (h->len < whole)
			break;
		else if (whole == V2_FIXED && u16(h->buf + 14) > 0) {
			whole += u16(h->buf + 14);
			if (whole > PROXYHDR_MAX)
				bad(h, "the header is longer than 4096 bytes");
		} else
			v2_parse(h);
	}
	return used;
}

/* ---- */

/* The first bytes tell which version it is. */
static bool
begins(const struct proxyhdr *h, const void *with, size_t n)
{
	return memcmp(h->buf, with, h->len < n ? h->len : n) == 0;
}

size_t
proxyhdr_feed(struct proxyhdr *h, const void *data, size_t n)
{
	const unsigned char *p = data;
	size_t used = 0;

	while (used < n && h->len < V1_BEGIN && h->state == PROXYHDR_MORE) {
		h->buf[h->len++] = p[used++];
		if (!begins(h, v1_begin, V1_BEGIN) &&
		    !begins(h, signature, SIGNATURE))
			bad(h, "no PROXY header came");
	}
	while (used < n && h->buf[0] == signature[0] && h->len < SIGNATURE &&
	    h->state == PROXYHDR_MORE) {
		h->buf[h->len++] = p[used++];
		if (!begins(h, signature, SIGNATURE))
			bad(h, "no PROXY header came");
	}
	if (h->state != PROXYHDR_MORE || used == n)
		return used;
	return used +
	    (h->buf[0] == signature[0] ? v2_feed(h, p + used, n - used)
				       : v1_feed(h, p + used, n - used));
}
