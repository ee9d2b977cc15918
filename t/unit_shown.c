/* submitd/shown.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/shown.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* clang-format off */
static const struct {
	const char *name, *text;
	const char *want; /* addresses with a blank behind each */
	enum shown_rc rc;
} rows[] = {
	{ "nothing", "", "", SHOWN_OK },
	{ "a name", "Ann Other", "", SHOWN_OK },
	{ "an address", "ann@x.example", "ann@x.example ", SHOWN_OK },
	{ "two", "ann@x.example, bo@y.example", "ann@x.example bo@y.example ",
	  SHOWN_OK },
	{ "in brackets", "<ann@x.example>", "ann@x.example ", SHOWN_OK },
	{ "in other brackets", "(ann@x.example) [bo@y.example]",
	  "ann@x.example bo@y.example ", SHOWN_OK },
	{ "at the end of a sentence", "write to ann@x.example.", "ann@x.example ",
	  SHOWN_OK },
	{ "behind a scheme", "mailto:ann@x.example?subject=x", "ann@x.example ",
	  SHOWN_OK },
	{ "in single quotes", "'ann@x.example'", "ann@x.example ", SHOWN_OK },
	{ "in other quotes", "\xe2\x80\x9c" "ann@x.example\xe2\x80\x9d",
	  "ann@x.example ", SHOWN_OK },
	{ "in Japanese quotes", "\xe3\x80\x8c" "ann@x.example\xe3\x80\x8d",
	  "ann@x.example ", SHOWN_OK },
	{ "with signs in it", "a.b-c_d+e@x-y.example", "a.b-c_d+e@x-y.example ",
	  SHOWN_OK },
	{ "domain ends at a slash", "ann@x.example/y", "ann@x.example ",
	  SHOWN_OK },
	{ "a number behind the domain", "ann@x.example.1", "ann@x.example ",
	  SHOWN_OK },
	{ "a letter behind the domain", "ann@x.example.a", "ann@x.example ",
	  SHOWN_OK },
	{ "letters of any script", "\xd0\xb0@\xd0\xb1.\xd1\x80\xd1\x84",
	  "\xd0\xb0@\xd0\xb1.\xd1\x80\xd1\x84 ", SHOWN_OK },

	/* what only looks a little like one */
	{ "no dot", "ann@home", "", SHOWN_OK },
	{ "a version", "tool@1.2", "", SHOWN_OK },
	{ "no local part", "@ann @x.example", "", SHOWN_OK },
	{ "signs before the @", "+-@x.example", "", SHOWN_OK },
	{ "blanks around the @", "Ann @ x.example", "", SHOWN_OK },
	{ "a dot only", "ann@.", "", SHOWN_OK },
	{ "the @ alone", "@", "", SHOWN_OK },
	{ "two of them", "ann@@x.example", "", SHOWN_OK },
	{ "one behind the other", "ann@x@y.example", "x@y.example ", SHOWN_OK },

	/* quotes and backslashes */
	{ "quotes", "\"ann@x.example\"", "ann@x.example ", SHOWN_OK },
	{ "quotes within", "\"ann\"@x.example", "ann@x.example ", SHOWN_OK },
	{ "quotes around the @", "ann\"@\"x.example", "ann@x.example ",
	  SHOWN_OK },
	{ "backslash", "\"ann\\@x.example\"", "ann@x.example ", SHOWN_OK },
	{ "backslashes", "\\a\\n\\n@x\\.example", "ann@x.example ", SHOWN_OK },

	/* what nobody sees */
	{ "no width", "ann\xe2\x80\x8b@x\xef\xbb\xbf.exam\xc2\xadple",
	  "ann@x.example ", SHOWN_OK },
	{ "marks of direction", "\xe2\x80\xaa" "ann@x.example\xe2\x80\xac",
	  "ann@x.example ", SHOWN_OK },
	{ "isolates", "\xe2\x81\xa8" "ann@x.example\xe2\x81\xa9",
	  "ann@x.example ", SHOWN_OK },
	{ "tags", "ann\xf3\xa0\x81\xa1@x.example", "ann@x.example ", SHOWN_OK },
	{ "variants", "ann\xef\xb8\x8f@x.example", "ann@x.example ", SHOWN_OK },
	{ "turned around", "\xe2\x80\xae" "elpmaxe.x@nna", "", SHOWN_CONTROL },

	/* what looks the same */
	{ "full width @", "ann\xef\xbc\xa0x.example", "ann@x.example ",
	  SHOWN_OK },
	{ "small @", "ann\xef\xb9\xabx.example", "ann@x.example ", SHOWN_OK },
	{ "full width letters",
	  "\xef\xbd\x81\xef\xbd\x8e\xef\xbd\x8e@\xef\xbd\x98.example",
	  "ann@x.example ", SHOWN_OK },
	{ "dots", "ann@x\xef\xbc\x8e" "a\xe3\x80\x82" "b\xef\xbd\xa1" "example",
	  "ann@x.a.b.example ", SHOWN_OK },

	/* raw bytes */
	{ "not UTF-8", "\xe4nn\xffx ann@x.example", "ann@x.example ", SHOWN_OK },
	{ "not UTF-8 beside it", "\xff" "ann@x.example\xff", "ann@x.example ",
	  SHOWN_OK },
	{ "folded", "Ann\r\n <ann@x.example>", "ann@x.example ", SHOWN_OK },
	{ "a control character", "Ann\x01", "", SHOWN_CONTROL },
	{ "an escape", "\x1b$B@\x1b(B", "", SHOWN_CONTROL },
	{ "DEL", "Ann\x7f", "", SHOWN_CONTROL },
	{ "upper control characters are blanks", "O\xc2\x92" "Brien", "",
	  SHOWN_OK },

	/* encoded words */
	{ "Q", "=?utf-8?Q?ann=40x.example?=", "ann@x.example ", SHOWN_OK },
	{ "Q in small letters", "=?UTF-8?q?ann=40x=2eexample?=",
	  "ann@x.example ", SHOWN_OK },
	{ "Q with blanks", "=?utf-8?q?Ann_ann=40x.example_x?=",
	  "ann@x.example ", SHOWN_OK },
	{ "B", "=?utf-8?B?YW5uQHguZXhhbXBsZQ==?=", "ann@x.example ", SHOWN_OK },
	{ "B without its end", "=?utf-8?b?YW5uQHguZXhhbXBsZQ?=",
	  "ann@x.example ", SHOWN_OK },
	{ "B with blanks", "=?utf-8?b?YW5u QHgu\r\n ZXhhbXBsZQ==?=",
	  "ann@x.example ", SHOWN_OK },
	{ "B with an end in the middle", "=?utf-8?b?YQ==bm5AeC5leGFtcGxl?=",
	  "ann@x.example ", SHOWN_OK },
	{ "a language", "=?utf-8*en?q?ann=40x.example?=", "ann@x.example ",
	  SHOWN_OK },
	{ "in quotes", "\"=?utf-8?q?ann=40x.example?=\"", "ann@x.example ",
	  SHOWN_OK },
	{ "two of them", "=?utf-8?q?ann=40?= =?utf-8?b?eC5leGFtcGxl?=",
	  "ann@x.example ", SHOWN_OK },
	{ "two of them, folded",
	  "=?utf-8?q?ann=40?=\r\n  =?utf-8?b?eC5leGFtcGxl?=", "ann@x.example ",
	  SHOWN_OK },
	{ "beside text", "ann=?utf-8?q?=40?=x.example", "ann@x.example ",
	  SHOWN_OK },
	{ "beside text that others see apart",
	  "x=?utf-8?q?ann=40x.exa?=mple \"y\"ann@x.example",
	  "xann@x.example yann@x.example ann@x.exa ann@x.example ", SHOWN_OK },
	{ "beside text with a blank", "ann =?utf-8?q?=40?= x.example", "",
	  SHOWN_OK },
	{ "a blank behind it is one", "=?utf-8?q?ann?= @x.example", "",
	  SHOWN_OK },
	{ "without its end", "=?utf-8?q?ann=40x.example", "", SHOWN_OK },
	{ "without an end, behind one", "=?utf-8?q?a?= =?utf-8?q?ann=40x.example",
	  "", SHOWN_OK },
	{ "raw in it", "=?utf-8?q?ann@x.example?=",
	  "ann@x.example ", SHOWN_OK },
	{ "neither Q nor B", "=?utf-8?x?ann=40x.example?=", "", SHOWN_OK },
	{ "an unfinished octet", "=?utf-8?q?ann=4?= =?utf-8?q?0x.example?=", "",
	  SHOWN_OK },
	{ "encoded twice is shown once decoded",
	  "=?utf-8?q?=3D=3Futf-8=3Fq=3Fann=3D40x.example=3F=3D?=", "", SHOWN_OK },
	{ "a NUL", "=?utf-8?b?Ym9zc0B4LmV4YW1wbGUA?=", "", SHOWN_CONTROL },
	{ "a line end", "=?utf-8?q?Ann=0D=0ABcc:_x?=", "", SHOWN_CONTROL },

	/* character sets */
	{ "Latin-1", "=?iso-8859-1?q?=E4=E9ann=40x.example?=", "ann@x.example ",
	  SHOWN_OK },
	{ "Latin-15", "=?ISO-8859-15?q?Andr=E9_Ann?=", "", SHOWN_OK },
	{ "Windows", "=?Windows-1252?q?O=92Brien_ann=40x.example?=",
	  "ann@x.example ", SHOWN_OK },
	{ "KOI8", "=?koi8-r?b?4c7OwQ==?=", "", SHOWN_OK },
	{ "the @ is half of a Chinese character",
	  "=?gb18030?q?=81=40x.example?=", "", SHOWN_OK },
	{ "Chinese, then an address", "=?gb2312?q?=D5=C5ann=40x.example?=",
	  "ann@x.example ", SHOWN_OK },
	{ "Big5, a @ inside", "=?big5?q?=A4=40ann=40x.example?=",
	  "ann@x.example ", SHOWN_OK },
	{ "Shift_JIS, half of a character and a small one",
	  "=?shift_jis?q?=83=40=B1ann=40x.example?=", "ann@x.example ",
	  SHOWN_OK },
	{ "EUC-JP", "=?euc-jp?q?=A4=A2ann=40x.example?=", "ann@x.example ",
	  SHOWN_OK },
	{ "ISO-2022-JP: pairs are no text",
	  "=?iso-2022-jp?q?=1B$Bann=40x.example?=", "", SHOWN_OK },
	{ "ISO-2022-JP: pairs that are text to others",
	  "=?iso-2022-jp?q?=1B$Bann@x.example?=", "1B$Bann@x.example ", SHOWN_OK },
	{ "ISO-2022-JP: an address behind pairs",
	  "=?ISO-2022-JP?q?=1B$B$=22=1B(Bann=40x.example?=", "ann@x.example ",
	  SHOWN_OK },
	{ "ISO-2022-JP: an escape cut off", "=?iso-2022-jp?q?Ann=1B?=", "",
	  SHOWN_OK },
	{ "UTF-7", "=?utf-7?q?ann+AEA-x.example?=", "", SHOWN_WORD },
	{ "UTF-16", "=?utf-16?b?AGE=?=", "", SHOWN_WORD },
	{ "not base64", "=?utf-8?b?ann@x.example?=", "", SHOWN_WORD },
	{ "an address for a language",
	  "=?utf-8*ann@x.example?q?a?=", "", SHOWN_WORD },
	{ "none", "=??q?ann=40x.example?=", "", SHOWN_WORD },
};
/* clang-format on */

/* Each address once. */
static void
note(void *arg, const char *address)
{
	char *out = arg, *p;
	size_t n = strlen(out), len = strlen(address);

	for (p = out; (p = strstr(p, address)) != NULL; p++)
		if ((p == out || p[-1] == ' ') && p[len] == ' ')
			return;
	snprintf(out + n, 1000 - n, "%s ", address);
}

static void
table(void **state)
{
	char got[1000];
	enum shown_rc rc;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		got[0] = '\0';
		rc = shown_addresses(
		    rows[i].text, strlen(rows[i].text), note, got);
		if (rc != rows[i].rc || strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %d, %s", rows[i].name, rc, got);
	}
}

/* Counted bytes, not a string: NUL is a control character. */
static void
nul(void **state)
{
	char got[1000] = "";

	(void)state;
	assert_int_equal(
	    shown_addresses("ann@x.example\0", 14, note, got), SHOWN_CONTROL);
	assert_int_equal(
	    shown_addresses("ann@x.exampleYZ", 13, note, got), SHOWN_OK);
	assert_string_equal(got, "ann@x.example ");
}

static void
bounds(void **state)
{
	static char text[3 * SHOWN_TEXT_MAX];
	char got[1000] = "";

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_int_equal(
	    shown_addresses(text, SHOWN_TEXT_MAX, note, got), SHOWN_OK);
	assert_int_equal(
	    shown_addresses(text, SHOWN_TEXT_MAX + 1, note, got), SHOWN_LONG);
	/* an encoded word of that size */
	memcpy(text, "=?utf-8?q?", 10);
	memcpy(text + sizeof(text) - 2, "?=", 2);
	assert_int_equal(
	    shown_addresses(text, sizeof(text), note, got), SHOWN_LONG);
	/* an address just as long as one may be, and a longer one */
	memset(text, 'a', sizeof(text));
	memcpy(text + 300, "@x.example", 10);
	assert_int_equal(shown_addresses(text, 320, note, got), SHOWN_OK);
	assert_int_equal(strlen(got), 320 + 1);
	got[0] = '\0';
	assert_int_equal(shown_addresses(text, 321, note, got), SHOWN_LONG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(nul),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
