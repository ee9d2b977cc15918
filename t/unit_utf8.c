/* store/utf8.c, and store/text.c, which asks it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/text.h"
#include "store/utf8.h"

/* clang-format off */
static const struct {
	const char *name;
	const char *bytes;
	size_t len; /* of the character, 0: refused */
	uint32_t cp;
} rows[] = {
	{ "ASCII", "a", 1, 'a' },
	{ "two bytes", "\xc3\xa4", 2, 0xe4 },
	{ "three bytes", "\xe2\x82\xac", 3, 0x20ac },
	{ "four bytes", "\xf0\x9f\x93\xa7", 4, 0x1f4e7 },
	{ "the last character", "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
	{ "behind the last character", "\xf4\x90\x80\x80", 0, 0 },
	{ "overlong slash", "\xc0\xaf", 0, 0 },
	{ "overlong in three bytes", "\xe0\x80\xaf", 0, 0 },
	{ "overlong in four bytes", "\xf0\x82\x82\xac", 0, 0 },
	{ "surrogate", "\xed\xa0\x80", 0, 0 },
	{ "lone continuation", "\x80", 0, 0 },
	{ "Latin-1", "\xe4nn", 0, 0 },
	{ "cut", "\xe2\x82", 0, 0 },
	{ "five bytes", "\xf8\x88\x80\x80\x80", 0, 0 },
	{ "0xff", "\xff", 0, 0 },
	{ "nothing", "", 0, 0 },
};
/* clang-format on */

static void
next(void **state)
{
	uint32_t cp;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		n = utf8_next(rows[i].bytes, strlen(rows[i].bytes), &cp);
		if (n != rows[i].len || (n > 0 && cp != rows[i].cp))
			fail_msg("%s: %zu bytes", rows[i].name, n);
	}
}

static void
put_is_the_inverse(void **state)
{
	char out[4];
	uint32_t cp, again;
	size_t n;

	(void)state;
	for (cp = 0; cp <= 0x10ffff; cp++) {
		n = utf8_put(cp, out);
		if (cp >= 0xd800 && cp <= 0xdfff) {
			assert_int_equal(utf8_next(out, n, &again), 0);
			continue;
		}
		if (utf8_next(out, n, &again) != n || again != cp)
			fail_msg("U+%04X", (unsigned)cp);
	}
}

static void
is_ascii(void **state)
{
	(void)state;
	assert_true(utf8_is_ascii("", 0));
	assert_true(utf8_is_ascii("a\0\x7f", 3));
	assert_false(utf8_is_ascii("a\x80", 2));
	assert_true(utf8_is_ascii("a\x80", 1));
}

static void
clean_text(void **state)
{
	static const struct {
		const char *name, *text;
		bool clean;
	} texts[] = {
		{ "nothing", "", true },
		{ "letters of all lengths",
		    "a\xc3\xbc\xe4\xbd\xa0\xf0\x9f\x98\x80", true },
		{ "a line end", "a\nb", false },
		{ "DEL", "a\x7f", false },
		{ "a C1 control", "a\xc2\x9f", false },
		{ "no-break space", "a\xc2\xa0", true },
		{ "Latin-1", "\xfc", false },
		{ "cut", "a\xe4\xbd", false },
		{ "overlong", "\xc0\x80", false },
		{ "a surrogate", "\xed\xa0\x80", false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (text_is_clean(texts[i].text) != texts[i].clean)
			fail_msg("%s", texts[i].name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next),
		cmocka_unit_test(put_is_the_inverse),
		cmocka_unit_test(is_ascii),
		cmocka_unit_test(clean_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
