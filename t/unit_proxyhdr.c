/* submitd/proxyhdr.c: each row whole, byte by byte, and with bytes behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "submitd/proxyhdr.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4  "\xc0\x00\x02\x07\xcb\x00\x71\x09\xdb\x9d\x02\x4b"
#define V6_SRC                                                                 \
	"\x20\x01\x0d\xb8\x00\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00\x09"
#define V6_DST                                                                 \
	"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
#define MAPPED                                                                 \
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc6\x33\x64\x05"
#define PORTS "\xdb\x9d\x02\x4b"
#define X16   "xxxxxxxxxxxxxxxx"
#define X96   X16 X16 X16 X16 X16 X16
#define X108  X96 "xxxxxxxxxxxx"

struct row {
	const char *name;
	const char *bytes;
	size_t len;
	const char *src, *dst; /* src NULL: it is bad */
	uint16_t src_port, dst_port;
	const char *why;
};

/* clang-format off */
#define B(s) s, sizeof(s) - 1
static const struct row rows[] = {
	/* version 1 */
	{ "TCP4", B("PROXY TCP4 192.0.2.7 203.0.113.9 56221 587\r\n"),
	  "192.0.2.7", "203.0.113.9", 56221, 587, "" },
	{ "TCP6", B("PROXY TCP6 2001:db8::7 2001:DB8::1 1 65535\r\n"),
	  "2001:db8::7", "2001:db8::1", 1, 65535, "" },
	{ "the longest TCP6", B("PROXY TCP6 "
	  "2001:0db8:aaaa:bbbb:cccc:dddd:eeee:ffff "
	  "2001:0db8:aaaa:bbbb:cccc:dddd:eeee:0001 65535 65535\r\n"),
	  "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
	  "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1", 65535, 65535, "" },
	{ "TCP6 of a mapped address is IPv4",
	  B("PROXY TCP6 ::ffff:198.51.100.5 2001:db8::1 5 465\r\n"),
	  "198.51.100.5", "2001:db8::1", 5, 465, "" },
	{ "port 0", B("PROXY TCP4 192.0.2.7 203.0.113.9 0 0\r\n"),
	  "192.0.2.7", "203.0.113.9", 0, 0, "" },
	{ "UNKNOWN", B("PROXY UNKNOWN\r\n"), "", "", 0, 0, "" },
	{ "UNKNOWN with whatever", B("PROXY UNKNOWN ff:ff  x 99999 \r\n"),
	  "", "", 0, 0, "" },
	{ "no word", B("PROXY \r\n"), NULL, NULL, 0, 0, "no protocol" },
	{ "UNKNOWNX", B("PROXY UNKNOWNX\r\n"), NULL, NULL, 0, 0, "none of" },
	{ "lower case", B("PROXY tcp4 192.0.2.7 203.0.113.9 1 2\r\n"),
	  NULL, NULL, 0, 0, "none of" },
	{ "UDP4", B("PROXY UDP4 192.0.2.7 203.0.113.9 1 2\r\n"),
	  NULL, NULL, 0, 0, "none of" },
	{ "TCP4 with IPv6", B("PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n"),
	  NULL, NULL, 0, 0, "an address" },
	{ "TCP6 with IPv4", B("PROXY TCP6 192.0.2.7 203.0.113.9 1 2\r\n"),
	  NULL, NULL, 0, 0, "an address" },
	{ "octal octet", B("PROXY TCP4 192.0.2.07 203.0.113.9 1 2\r\n"),
	  NULL, NULL, 0, 0, "an address" },
	{ "octet above 255", B("PROXY TCP4 192.0.2.256 203.0.113.9 1 2\r\n"),
	  NULL, NULL, 0, 0, "an address" },
	{ "a name", B("PROXY TCP4 localhost 203.0.113.9 1 2\r\n"),
	  NULL, NULL, 0, 0, "an address" },
	{ "two blanks", B("PROXY TCP4  192.0.2.7 203.0.113.9 1 2\r\n"),
	  NULL, NULL, 0, 0, "an address" },
	{ "one address", B("PROXY TCP4 192.0.2.7\r\n"),
	  NULL, NULL, 0, 0, "an address" },
	{ "one port", B("PROXY TCP4 192.0.2.7 203.0.113.9 1\r\n"),
	  NULL, NULL, 0, 0, "two ports" },
	{ "three ports", B("PROXY TCP4 192.0.2.7 203.0.113.9 1 2 3\r\n"),
	  NULL, NULL, 0, 0, "two ports" },
	{ "no port", B("PROXY TCP4 192.0.2.7 203.0.113.9\r\n"),
	  NULL, NULL, 0, 0, "two ports" },
	{ "port with a leading zero",
	  B("PROXY TCP4 192.0.2.7 203.0.113.9 01 2\r\n"),
	  NULL, NULL, 0, 0, "two ports" },
	{ "port above 65535", B("PROXY TCP4 192.0.2.7 203.0.113.9 65536 2\r\n"),
	  NULL, NULL, 0, 0, "two ports" },
	{ "port beyond any number",
	  B("PROXY TCP4 192.0.2.7 203.0.113.9 4294967297 2\r\n"),
	  NULL, NULL, 0, 0, "two ports" },
	{ "negative port", B("PROXY TCP4 192.0.2.7 203.0.113.9 -1 2\r\n"),
	  NULL, NULL, 0, 0, "two ports" },
	{ "tab for a blank", B("PROXY TCP4 192.0.2.7\t203.0.113.9 1 2\r\n"),
	  NULL, NULL, 0, 0, "an address" },
	{ "LF alone", B("PROXY UNKNOWN\n"), NULL, NULL, 0, 0, "LF alone" },
	{ "CR alone", B("PROXY UNKNOWN\rx"), NULL, NULL, 0, 0, "without LF" },
	{ "NUL", B("PROXY UNKNOWN\0"), NULL, NULL, 0, 0, "a NUL" },
	{ "107 bytes", B("PROXY UNKNOWN " X16 X16 X16 X16 X16 "xxxxxxxxxxx\r\n"),
	  "", "", 0, 0, "" },
	{ "more than 107 bytes",
	  B("PROXY UNKNOWN " X16 X16 X16 X16 X16 "xxxxxxxxxxxxx"),
	  NULL, NULL, 0, 0, "longer than 107" },

	/* neither */
	{ "a client of SMTP", B("EHLO"), NULL, NULL, 0, 0, "no PROXY" },
	{ "a client of TLS", B("\x16\x03\x01"), NULL, NULL, 0, 0, "no PROXY" },
	{ "nearly version 1", B("PROXX"), NULL, NULL, 0, 0, "no PROXY" },
	{ "nearly version 2", B("\r\n\r\n\0\r\nQUIP"), NULL, NULL, 0, 0,
	  "no PROXY" },

	/* version 2 */
	{ "v2 TCP4", B(SIG "\x21\x11\x00\x0c" V4),
	  "192.0.2.7", "203.0.113.9", 56221, 587, "" },
	{ "v2 TCP6", B(SIG "\x21\x21\x00\x24" V6_SRC V6_DST PORTS),
	  "2001:db8:1:2::9", "2001:db8::1", 56221, 587, "" },
	{ "v2 TCP6, mapped", B(SIG "\x21\x21\x00\x24" MAPPED V6_DST PORTS),
	  "198.51.100.5", "2001:db8::1", 56221, 587, "" },
	{ "v2 LOCAL", B(SIG "\x20\x00\x00\x00"), "", "", 0, 0, "" },
	{ "v2 LOCAL with addresses", B(SIG "\x20\x11\x00\x0c" V4),
	  "", "", 0, 0, "" },
	{ "v2 LOCAL with some bytes", B(SIG "\x20\x11\x00\x05" "abcde"),
	  "", "", 0, 0, "" },
	{ "v2 LOCAL of a family of the future",
	  B(SIG "\x20\xf1\x00\x02" "ab"), "", "", 0, 0, "" },
	{ "v2 UNSPEC", B(SIG "\x21\x00\x00\x00"), "", "", 0, 0, "" },
	{ "v2 IPv4, UNSPEC protocol", B(SIG "\x21\x10\x00\x03" "abc"),
	  "", "", 0, 0, "" },
	{ "v2 UDP", B(SIG "\x21\x12\x00\x0c" V4), "", "", 0, 0, "" },
	{ "v2 AF_UNIX", B(SIG "\x21\x31\x00\xd8" X108 X108), "", "", 0, 0, "" },
	{ "v2 TLVs", B(SIG "\x21\x11\x00\x18" V4
	  "\x04\x00\x00" "\x01\x00\x01" "h" "\xe0\x00\x02" "ab"),
	  "192.0.2.7", "203.0.113.9", 56221, 587, "" },
	{ "v2 checksum", B(SIG "\x21\x11\x00\x13" V4
	  "\x03\x00\x04" "\xc0\x94\x8f\x73"),
	  "192.0.2.7", "203.0.113.9", 56221, 587, "" },
	{ "v2 wrong checksum", B(SIG "\x21\x11\x00\x13" V4
	  "\x03\x00\x04" "\xc0\x94\x8f\x72"),
	  NULL, NULL, 0, 0, "checksum" },
	{ "v2 checksum of three bytes", B(SIG "\x21\x11\x00\x12" V4
	  "\x03\x00\x03" "abc"), NULL, NULL, 0, 0, "checksum" },
	{ "v2 wrong checksum of UNSPEC", B(SIG "\x21\x00\x00\x07"
	  "\x03\x00\x04" "abcd"), NULL, NULL, 0, 0, "checksum" },
	{ "v2 TLV beyond the end", B(SIG "\x21\x11\x00\x10" V4
	  "\x04\x00\x02" "a"), NULL, NULL, 0, 0, "TLV" },
	{ "v2 half a TLV", B(SIG "\x21\x11\x00\x0e" V4 "\x04\x00"),
	  NULL, NULL, 0, 0, "TLV" },
	{ "v2 too short for IPv4", B(SIG "\x21\x11\x00\x0b" "abcdefghijk"),
	  NULL, NULL, 0, 0, "too short" },
	{ "v2 too short for IPv6", B(SIG "\x21\x21\x00\x0c" V4),
	  NULL, NULL, 0, 0, "too short" },
	{ "v2 version 3", B(SIG "\x31"), NULL, NULL, 0, 0, "version" },
	{ "v2 version 1", B(SIG "\x11"), NULL, NULL, 0, 0, "version" },
	{ "v2 command 2", B(SIG "\x22"), NULL, NULL, 0, 0, "command" },
	{ "v2 family 4", B(SIG "\x21\x41\x00\x00"), NULL, NULL, 0, 0, "family" },
	{ "v2 protocol 3", B(SIG "\x21\x13\x00\x0c" V4), NULL, NULL, 0, 0,
	  "family or protocol" },
	{ "v2 of 4096 bytes", B(SIG "\x21\x00\x0f\xf1"), NULL, NULL, 0, 0,
	  "4096" },
	{ "v2 of 65551 bytes", B(SIG "\x21\x11\xff\xff"), NULL, NULL, 0, 0,
	  "4096" },
};
/* clang-format on */

/* Feeds the row in pieces, with more behind it; returns how many bytes the
 * header took. */
static size_t
feed(const struct row *r, size_t piece, struct proxyhdr *h)
{
	unsigned char all[600];
	size_t at = 0, n, used;

	memcpy(all, r->bytes, r->len);
	memcpy(all + r->len, "EHLO laptop\r\n", 13);
	proxyhdr_init(h);
	while (h->state == PROXYHDR_MORE && at < r->len + 13) {
		n = r->len + 13 - at < piece ? r->len + 13 - at : piece;
		used = proxyhdr_feed(h, all + at, n);
		if (h->state == PROXYHDR_MORE && used != n)
			fail_msg("%s: took %zu of %zu", r->name, used, n);
		assert_true(used <= n);
		at += used;
	}
	return at;
}

static void
check(const struct row *r, size_t piece)
{
	struct proxyhdr h;
	size_t used = feed(r, piece, &h);

	if (r->src == NULL) {
		if (h.state != PROXYHDR_BAD || strstr(h.why, r->why) == NULL)
			fail_msg(
			    "%s: state %d, \"%s\"", r->name, h.state, h.why);
		assert_string_equal(h.src, "");
		return;
	}
	if (h.state != PROXYHDR_DONE)
		fail_msg("%s: state %d, \"%s\"", r->name, h.state, h.why);
	if (used != r->len)
		fail_msg("%s: took %zu bytes of %zu", r->name, used, r->len);
	if (strcmp(h.src, r->src) != 0 || strcmp(h.dst, r->dst) != 0 ||
	    h.src_port != r->src_port || h.dst_port != r->dst_port)
		fail_msg("%s: %s %u to %s %u", r->name, h.src, h.src_port,
		    h.dst, h.dst_port);
}

static void
table(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		check(&rows[i], 600);
		check(&rows[i], 1);
		check(&rows[i], 7);
	}
}

/* A header of the largest size is taken, TLV and all. */
static void
largest(void **state)
{
	static unsigned char all[PROXYHDR_MAX + 1];
	struct proxyhdr h;
	unsigned len = PROXYHDR_MAX - 16, tlv = len - 12 - 3;

	(void)state;
	memcpy(all, SIG "\x21\x11", 14);
	all[14] = (unsigned char)(len >> 8);
	all[15] = (unsigned char)len;
	memcpy(all + 16, V4, 12);
	all[28] = 0x20;
	all[29] = (unsigned char)(tlv >> 8);
	all[30] = (unsigned char)tlv;
	proxyhdr_init(&h);
	assert_int_equal(proxyhdr_feed(&h, all, sizeof(all)), PROXYHDR_MAX);
	assert_int_equal(h.state, PROXYHDR_DONE);
	assert_string_equal(h.src, "192.0.2.7");
}

/* Values that others have computed: RFC 3720 appendix B.4. */
static void
crc(void **state)
{
	unsigned char b[32];
	int i;

	(void)state;
	memset(b, 0, sizeof(b));
	assert_int_equal(proxyhdr_crc32c(b, sizeof(b)), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	assert_int_equal(proxyhdr_crc32c(b, sizeof(b)), 0x62a8ab43);
	for (i = 0; i < 32; i++)
		b[i] = (unsigned char)i;
	assert_int_equal(proxyhdr_crc32c(b, sizeof(b)), 0x46dd794e);
	assert_int_equal(proxyhdr_crc32c("123456789", 9), 0xe3069283);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(largest),
		cmocka_unit_test(crc),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
