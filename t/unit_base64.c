/* submitd/base64.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/base64.h"

/* clang-format off */
static const struct {
	const char *name;
	const char *text;
	const char *bytes; /* NULL: refused */
	size_t len;
} rows[] = {
	{ "empty", "", "", 0 },
	{ "one byte", "Zg==", "f", 1 },
	{ "two bytes", "Zm8=", "fo", 2 },
	{ "three bytes", "Zm9v", "foo", 3 },
	{ "six bytes", "Zm9vYmFy", "foobar", 6 },
	{ "both last digits", "+/+/", "\xfb\xff\xbf", 3 },
	{ "NUL bytes of PLAIN", "AGFubgBzZWNyZXQ=", "\0ann\0secret", 11 },
	{ "all bits", "////", "\xff\xff\xff", 3 },
	{ "first half of the alphabet", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
	  "\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f"
	  "\x41\x14\x93\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f", 24 },
	{ "second half", "ghijklmnopqrstuvwxyz0123456789+/",
	  "\x82\x18\xa3\x92\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf"
	  "\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf", 24 },
	{ "a lone =, the empty initial response", "=", NULL, 0 },
	{ "padding left out", "Zg", NULL, 0 },
	{ "one padding of two left out", "Zg=", NULL, 0 },
	{ "padding only", "====", NULL, 0 },
	{ "three paddings", "Z===", NULL, 0 },
	{ "padding first", "=Zg=", NULL, 0 },
	{ "padding between digits", "Z=g=", NULL, 0 },
	{ "digit behind padding", "Zg=v", NULL, 0 },
	{ "padding before the end", "Zg==Zm9v", NULL, 0 },
	{ "unused bits set, one byte", "Zh==", NULL, 0 },
	{ "unused bits set, two bytes", "Zm9=", NULL, 0 },
	{ "final CR LF", "Zm9v\r\n", NULL, 0 },
	{ "blank inside", "Zm 9v", NULL, 0 },
	{ "blank in place of a digit", "Zm v", NULL, 0 },
	{ "final blank", "Zm9vYmF ", NULL, 0 },
	{ "URL alphabet", "-_-_", NULL, 0 },
	{ "8-bit", "Zm9\xc3", NULL, 0 },
	{ "the * that cancels", "*", NULL, 0 },
};
/* clang-format on */

static void
decode(void **state)
{
	char out[32];
	size_t i, len;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rc = base64_decode(
		    rows[i].text, strlen(rows[i].text), out, sizeof(out), &len);
		if (rc != (rows[i].bytes == NULL ? -1 : 0))
			fail_msg("%s: returned %d", rows[i].name, rc);
		if (rc == 0 &&
		    (len != rows[i].len || memcmp(out, rows[i].bytes, len)))
			fail_msg("%s: other bytes", rows[i].name);
	}
}

static void
encode(void **state)
{
	char out[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].bytes == NULL)
			continue;
		if (base64_encode(
			rows[i].bytes, rows[i].len, out, sizeof(out)) != 0 ||
		    strcmp(out, rows[i].text) != 0)
			fail_msg("%s: became %s", rows[i].name, out);
	}
}

/* Every text has one value: flipping any digit changes the value or fails. */
static void
text_and_value_are_one_to_one(void **state)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	    "0123456789+/=";
	char text[5] = "AAAA", again[8], out[3];
	size_t a, b, len;

	(void)state;
	for (a = 0; a < 65; a++) {
		for (b = 0; b < 65; b++) {
			text[2] = digits[a];
			text[3] = digits[b];
			if (base64_decode(text, 4, out, sizeof(out), &len) != 0)
				continue;
			assert_int_equal(
			    base64_encode(out, len, again, sizeof(again)), 0);
			assert_string_equal(again, text);
		}
	}
}

static void
too_small(void **state)
{
	char out[8];
	size_t len;

	(void)state;
	assert_int_equal(base64_encode("foo", 3, out, 4), -1);
	assert_int_equal(base64_encode("foo", 3, out, 5), 0);
	assert_int_equal(base64_encode("", 0, out, 0), -1);
	assert_int_equal(base64_encode("x", SIZE_MAX, out, 8), -1);
	assert_int_equal(base64_decode("Zm9v", 4, out, 2, &len), -1);
	assert_int_equal(base64_decode("Zm9v", 4, out, 3, &len), 0);
	assert_int_equal(base64_decode("Zg==", 4, out, 0, &len), -1);
	assert_int_equal(base64_decode("", 0, out, 0, &len), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode),
		cmocka_unit_test(encode),
		cmocka_unit_test(text_and_value_are_one_to_one),
		cmocka_unit_test(too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
