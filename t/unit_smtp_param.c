/* submitd/smtp_param.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "submitd/smtp_param.h"

#define A16 "aaaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16
#define A100 A64 A16 A16 "aaaa"

/* A copy that ends where the text ends, so that ASan sees a byte too many. */
static char *
exact(const char *s, size_t len)
{
	char *p = malloc(len > 0 ? len : 1);

	assert_non_null(p);
	memcpy(p, s, len);
	return p;
}

/* Parameters as "KEY=value|KEY|" and how the iteration ended. */
static enum smtp_param_rc
walk(const char *arg, size_t len, char *out, size_t size)
{
	struct smtp_params it;
	struct smtp_param p;
	enum smtp_param_rc rc;
	size_t n = 0;

	out[0] = '\0';
	smtp_params_init(&it, arg, len);
	while ((rc = smtp_params_next(&it, &p)) == SMTP_PARAM_OK) {
		n += (size_t)snprintf(out + n, size - n, "%s%s%.*s|", p.key,
		    p.value != NULL ? "=" : "", (int)p.value_len,
		    p.value != NULL ? p.value : "");
		assert_true(n < size);
	}
	/* it stays at its end */
	assert_int_equal(smtp_params_next(&it, &p), SMTP_PARAM_END);
	return rc;
}

#define V1024 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64

static void
params(void **state)
{
	/* clang-format off */
	static const struct {
		const char *name, *arg;
		enum smtp_param_rc rc;
		const char *want;
	} rows[] = {
		{ "none", "", SMTP_PARAM_END, "" },
		{ "blanks", "  ", SMTP_PARAM_END, "" },
		{ "one", " SIZE=1", SMTP_PARAM_END, "SIZE=1|" },
		{ "key in any case", " bOdy=8BitMime", SMTP_PARAM_END,
		  "BODY=8BitMime|" },
		{ "first and last letters", " az=AZ AZ9-0=1", SMTP_PARAM_END,
		  "AZ=AZ|AZ9-0=1|" },
		{ "without value", " SMTPUTF8", SMTP_PARAM_END, "SMTPUTF8|" },
		{ "several", " SIZE=1 BODY=7BIT RET=HDRS REQUIRETLS",
		  SMTP_PARAM_END, "SIZE=1|BODY=7BIT|RET=HDRS|REQUIRETLS|" },
		{ "more blanks", "   SIZE=1   RET=FULL  ", SMTP_PARAM_END,
		  "SIZE=1|RET=FULL|" },
		{ "= in a value, Thunderbird's ENVID", " ENVID=<a=b@x>",
		  SMTP_PARAM_END, "ENVID=<a=b@x>|" },
		{ "AUTH=<>", " AUTH=<>", SMTP_PARAM_END, "AUTH=<>|" },
		{ "digits and hyphens", " X-2-Y=1", SMTP_PARAM_END, "X-2-Y=1|" },
		{ "no blank behind the path", "SIZE=1", SMTP_PARAM_SYNTAX, "" },
		{ "twice", " SIZE=1 SIZE=1", SMTP_PARAM_TWICE, "SIZE=1|" },
		{ "twice in another case", " SIZE=1 RET=FULL size",
		  SMTP_PARAM_TWICE, "SIZE=1|RET=FULL|" },
		{ "prefix of another", " SIZE=1 SIZ=1 SIZES=1", SMTP_PARAM_END,
		  "SIZE=1|SIZ=1|SIZES=1|" },
		{ "empty value", " SIZE=", SMTP_PARAM_SYNTAX, "" },
		{ "no key", " =1", SMTP_PARAM_SYNTAX, "" },
		{ "hyphen first", " -X=1", SMTP_PARAM_SYNTAX, "" },
		{ "underscore", " X_Y=1", SMTP_PARAM_SYNTAX, "" },
		{ "control character", " X=a\x01", SMTP_PARAM_SYNTAX, "" },
		{ "tab", " X=a\tY=b", SMTP_PARAM_SYNTAX, "" },
		{ "junk", " <x>", SMTP_PARAM_SYNTAX, "" },
		{ "UTF-8 value", " ORCPT=utf-8;\xc3\xb6@x", SMTP_PARAM_END,
		  "ORCPT=utf-8;\xc3\xb6@x|" },
		{ "UTF-8 in a key", " \xc3\xb6=1", SMTP_PARAM_SYNTAX, "" },
		{ "Latin-1 value", " X=\xf6", SMTP_PARAM_SYNTAX, "" },
		{ "C1 control", " X=\xc2\x80", SMTP_PARAM_SYNTAX, "" },
		{ "key of 32", " ABCDEFGHIJKLMNOPQRSTUVWXYZ012345",
		  SMTP_PARAM_END, "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345|" },
		{ "key of 33", " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456",
		  SMTP_PARAM_SYNTAX, "" },
		{ "value of 1024", " X=" V1024, SMTP_PARAM_END, "X=" V1024 "|" },
		{ "value of 1025", " X=" V1024 "a", SMTP_PARAM_SYNTAX, "" },
		{ "24", " A B C D E F G H I J K L M N O P Q R S T U V W X",
		  SMTP_PARAM_END, "A|B|C|D|E|F|G|H|I|J|K|L|M|N|O|P|Q|R|S|T|U|V|W|X|" },
		{ "25", " A B C D E F G H I J K L M N O P Q R S T U V W X Y",
		  SMTP_PARAM_SYNTAX,
		  "A|B|C|D|E|F|G|H|I|J|K|L|M|N|O|P|Q|R|S|T|U|V|W|X|" },
	};
	/* clang-format on */
	enum smtp_param_rc rc;
	char out[2048], *arg;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = strlen(rows[i].arg);
		arg = exact(rows[i].arg, len);
		rc = walk(arg, len, out, sizeof(out));
		if (rc != rows[i].rc || strcmp(out, rows[i].want) != 0)
			fail_msg("%s: %d, %s", rows[i].name, rc, out);
		free(arg);
	}
	assert_int_equal(
	    walk(" X=a\0b", 6, out, sizeof(out)), SMTP_PARAM_SYNTAX);
}

static void
twice_tells_the_key(void **state)
{
	static const char arg[] = " size=1 SIZE=2";
	struct smtp_params it;
	struct smtp_param p;

	(void)state;
	smtp_params_init(&it, arg, sizeof(arg) - 1);
	assert_int_equal(smtp_params_next(&it, &p), SMTP_PARAM_OK);
	assert_int_equal(smtp_params_next(&it, &p), SMTP_PARAM_TWICE);
	assert_string_equal(p.key, "SIZE");
}

static void
xtext(void **state)
{
	static const struct {
		const char *name, *in;
		const char *out; /* NULL: refused */
	} rows[] = {
		{ "plain", "ann@example.org", "ann@example.org" },
		{ "empty", "", "" },
		{ "first and last characters", "!~", "!~" },
		{ "plus", "ann+2Bx@example.org", "ann+x@example.org" },
		{ "equal sign", "a+3Db", "a=b" },
		{ "blank", "a+20b", "a b" },
		{ "lower-case digits", "a+2bb", "a+b" },
		{ "8-bit", "+C3+B6", "\xc3\xb6" },
		{ "AUTH=<>", "<>", "<>" },
		{ "bare plus", "ann+x@example.org", NULL },
		{ "plus at the end", "a+", NULL },
		{ "one digit", "a+2", NULL },
		{ "no digits", "a+GG", NULL },
		{ "bare equal sign", "a=b", NULL },
		{ "bare blank", "a b", NULL },
		{ "bare 8-bit", "\xc3\xb6", NULL },
		{ "NUL", "a+00", NULL },
		{ "line end", "a+0D+0Ab", NULL },
		{ "DEL", "a+7F", NULL },
		{ "bare control character", "a\x01", NULL },
	};
	char out[64], back[64], *in;
	size_t i, len;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = strlen(rows[i].in);
		in = exact(rows[i].in, len);
		rc = smtp_xtext_decode(in, len, out, sizeof(out));
		free(in);
		if (rc != (rows[i].out == NULL ? -1 : 0))
			fail_msg("%s: %d", rows[i].name, rc);
		if (rc != 0)
			continue;
		if (strcmp(out, rows[i].out) != 0)
			fail_msg("%s: %s", rows[i].name, out);
		/* and back */
		assert_int_equal(
		    smtp_xtext_encode(out, strlen(out), back, sizeof(back)), 0);
		if (strcasecmp(back, rows[i].in) != 0)
			fail_msg("%s: back to %s", rows[i].name, back);
	}
	assert_int_equal(smtp_xtext_decode("abc", 3, out, 3), -1);
	assert_int_equal(smtp_xtext_decode("abc", 3, out, 4), 0);
	assert_int_equal(smtp_xtext_decode("", 0, out, 0), -1);
	assert_int_equal(smtp_xtext_encode("a=", 2, out, 4), -1);
	assert_int_equal(smtp_xtext_encode("a=", 2, out, 5), 0);
	assert_string_equal(out, "a+3D");
	assert_int_equal(smtp_xtext_encode("ab", 2, out, 2), -1);
	assert_int_equal(smtp_xtext_encode("ab", 2, out, 3), 0);
	assert_int_equal(smtp_xtext_encode("", 0, out, 0), -1);
}

static void
orcpt(void **state)
{
	/* clang-format off */
	static const struct {
		const char *name, *in;
		bool utf8;
		const char *out; /* NULL: refused */
	} rows[] = {
		{ "rfc822", "rfc822;ann+2Bx@x.y", 0, "rfc822;ann+x@x.y" },
		{ "case of the type is kept", "RFC822;a@x.y", 0, "RFC822;a@x.y" },
		{ "other type", "x400;/C+3DUS/", 0, "x400;/C=US/" },
		{ "no type", ";a@x.y", 0, NULL },
		{ "no semicolon", "a@x.y", 0, NULL },
		{ "no address", "rfc822;", 0, NULL },
		{ "blank in the type", "rfc 822;a", 0, NULL },
		{ "not xtext", "rfc822;a=b@x.y", 0, NULL },
		{ "line end in xtext", "rfc822;a+0Ab", 0, NULL },
		{ "utf-8, ASCII address", "utf-8;a@x.y", 0, "utf-8;a@x.y" },
		{ "utf-8 as hexadecimal", "utf-8;j\\x{F6}rg@x.y", 0,
		  "utf-8;j\xc3\xb6rg@x.y" },
		{ "utf-8 in any case", "UTF-8;\\x{f6}", 0, "UTF-8;\xc3\xb6" },
		{ "utf-8 as it is", "utf-8;j\xc3\xb6rg@x.y", 1,
		  "utf-8;j\xc3\xb6rg@x.y" },
		{ "utf-8 as it is without SMTPUTF8", "utf-8;\xc3\xb6@x.y", 0, NULL },
		{ "largest character", "utf-8;\\x{10FFFF}", 0,
		  "utf-8;\xf4\x8f\xbf\xbf" },
		{ "beyond it", "utf-8;\\x{110000}", 0, NULL },
		{ "surrogate", "utf-8;\\x{D800}", 0, NULL },
		{ "seven digits", "utf-8;\\x{0000041}", 0, NULL },
		{ "line end as hexadecimal", "utf-8;a\\x{0A}b", 0, NULL },
		{ "NUL as hexadecimal", "utf-8;a\\x{00}b", 0, NULL },
		{ "C1 control as hexadecimal", "utf-8;a\\x{85}b", 0, NULL },
		{ "plus and blank as hexadecimal", "utf-8;a\\x{2B}\\x{20}b", 0,
		  "utf-8;a+ b" },
		{ "bare plus", "utf-8;a+2Bb", 0, NULL },
		{ "bare backslash", "utf-8;a\\b", 0, NULL },
		{ "not closed", "utf-8;a\\x{F6", 0, NULL },
		{ "no digits", "utf-8;a\\x{}", 0, NULL },
		{ "blank", "utf-8;a b", 0, NULL },
	};
	/* clang-format on */
	char out[520], *in;
	size_t i, len;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = strlen(rows[i].in);
		in = exact(rows[i].in, len);
		rc = smtp_orcpt_decode(in, len, rows[i].utf8, out, sizeof(out));
		free(in);
		if (rc != (rows[i].out == NULL ? -1 : 0))
			fail_msg("%s: %d", rows[i].name, rc);
		if (rc == 0 && strcmp(out, rows[i].out) != 0)
			fail_msg("%s: %s", rows[i].name, out);
	}
	/* the limit of RFC 3461 4.2 */
	in = malloc(502);
	assert_non_null(in);
	memset(in, 'a', 502);
	memcpy(in, "rfc822;", 7);
	assert_int_equal(smtp_orcpt_decode(in, 500, 0, out, sizeof(out)), 0);
	assert_int_equal(smtp_orcpt_decode(in, 501, 0, out, sizeof(out)), -1);
	assert_int_equal(smtp_orcpt_decode(in, 20, 0, out, 20), -1);
	assert_int_equal(smtp_orcpt_decode(in, 20, 0, out, 21), 0);
	assert_int_equal(smtp_orcpt_decode(in, 20, 0, out, 7), -1);
	free(in);
}

static void
size_value(void **state)
{
	static const struct {
		const char *in;
		int rc;
		uint64_t size;
	} rows[] = {
		{ "0", 0, 0 },
		{ "1", 0, 1 },
		{ "00000000000000000001", 0, 1 },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "9223372036854775808", 0, (uint64_t)INT64_MAX + 1 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", 0, UINT64_MAX },
		{ "99999999999999999999", 0, UINT64_MAX },
		{ "000000000000000000001", -1, 0 },
		{ "100000000000000000000", -1, 0 },
		{ "", -1, 0 },
		{ "-1", -1, 0 },
		{ "+1", -1, 0 },
		{ " 1", -1, 0 },
		{ "1k", -1, 0 },
		{ "0x10", -1, 0 },
	};
	uint64_t v;
	size_t i;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		v = 0;
		rc = smtp_size_parse(rows[i].in, strlen(rows[i].in), &v);
		if (rc != rows[i].rc || v != rows[i].size)
			fail_msg("%s: %d, %llu", rows[i].in, rc,
			    (unsigned long long)v);
	}
}

/* ---- values ---- */

/* Runs a parser on a copy of exactly its length. */
#define ON_EXACT(rc, in, call) \
	do { \
		size_t len = strlen(in); \
		char *copy = exact(in, len); \
		rc = (call); \
		free(copy); \
	} while (0)

static void
words(void **state)
{
	static const struct {
		const char *name;
		int (*parse)(const char *, size_t, uint8_t *);
		const char *in;
		int want; /* -1: refused */
	} rows[] = {
		{ "BODY 7BIT", smtp_body_parse, "7BIT", BODY_7BIT },
		{ "BODY in any case", smtp_body_parse, "8bitMime",
		    BODY_8BITMIME },
		{ "BODY BINARYMIME", smtp_body_parse, "BINARYMIME",
		    BODY_BINARYMIME },
		{ "BODY, something else", smtp_body_parse, "9BIT", -1 },
		{ "BODY, more behind it", smtp_body_parse, "7BITX", -1 },
		{ "BODY, cut", smtp_body_parse, "8BITMIM", -1 },

		{ "RET FULL", smtp_ret_parse, "FULL", RET_FULL },
		{ "RET HDRS in any case", smtp_ret_parse, "hdrs", RET_HDRS },
		{ "RET, something else", smtp_ret_parse, "BODY", -1 },

		{ "NOTIFY NEVER", smtp_notify_parse, "never", NOTIFY_NEVER },
		{ "NOTIFY one", smtp_notify_parse, "SUCCESS", NOTIFY_SUCCESS },
		{ "NOTIFY all", smtp_notify_parse, "delay,SUCCESS,Failure",
		    NOTIFY_DELAY | NOTIFY_SUCCESS | NOTIFY_FAILURE },
		{ "NOTIFY the same again", smtp_notify_parse,
		    "FAILURE,FAILURE", NOTIFY_FAILURE },
		{ "NOTIFY NEVER first", smtp_notify_parse, "NEVER,DELAY", -1 },
		{ "NOTIFY NEVER last", smtp_notify_parse, "DELAY,NEVER", -1 },
		{ "NOTIFY NEVER twice", smtp_notify_parse, "NEVER,NEVER", -1 },
		{ "NOTIFY empty element", smtp_notify_parse, "DELAY,,FAILURE",
		    -1 },
		{ "NOTIFY comma last", smtp_notify_parse, "DELAY,", -1 },
		{ "NOTIFY comma first", smtp_notify_parse, ",DELAY", -1 },
		{ "NOTIFY comma alone", smtp_notify_parse, ",", -1 },
		{ "NOTIFY blank", smtp_notify_parse, "DELAY, FAILURE", -1 },
		{ "NOTIFY prefix", smtp_notify_parse, "SUCC", -1 },

		{ "priority 0", smtp_priority_parse, "0", PRIORITY_NORMAL },
		{ "priority 9", smtp_priority_parse, "9", PRIORITY_MAX },
		{ "priority -9", smtp_priority_parse, "-9", 0 },
		{ "priority -1", smtp_priority_parse, "-1", 8 },
		{ "priority -0", smtp_priority_parse, "-0", -1 },
		{ "priority +1", smtp_priority_parse, "+1", -1 },
		{ "priority 10", smtp_priority_parse, "10", -1 },
		{ "priority -10", smtp_priority_parse, "-10", -1 },
		{ "priority 01", smtp_priority_parse, "01", -1 },
		{ "priority -", smtp_priority_parse, "-", -1 },
		{ "priority word", smtp_priority_parse, "high", -1 },
	};
	uint8_t v;
	size_t i;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		v = 0xff;
		ON_EXACT(rc, rows[i].in, rows[i].parse(copy, len, &v));
		if ((rc == 0 ? v : rc) != rows[i].want)
			fail_msg("%s: %d, %u", rows[i].name, rc, v);
		assert_int_equal(rows[i].parse("", 0, &v), -1);
	}
}

static void
envid(void **state)
{
	static const struct {
		const char *name, *in;
		const char *want; /* NULL: refused */
	} rows[] = {
		{ "plain", "QQ314159", "QQ314159" },
		{ "as it came", "a+2Bb+3Dc", "a+2Bb+3Dc" },
		{ "digits in lower case stay", "a+2bb", "a+2bb" },
		{ "a blank in xtext", "a+20b", "a+20b" },
		{ "= as Thunderbird writes it", "<a=b@x.y>", "<a+3Db@x.y>" },
		{ "100 characters", A100, A100 },
		{ "101 characters", A100 "a", NULL },
		{ "no xtext", "a+b", NULL },
		{ "8-bit in xtext", "a+C3+B6", NULL },
		{ "a line end in xtext", "a+0D+0Ab", NULL },
		{ "UTF-8", "\xc3\xb6", NULL },
	};
	char out[ENVID_MAX + 1], in[400], *p;
	size_t i;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ON_EXACT(rc, rows[i].in, smtp_envid_parse(copy, len, out));
		if (rc != (rows[i].want == NULL ? -1 : 0) ||
		    (rc == 0 && strcmp(out, rows[i].want) != 0))
			fail_msg("%s: %d, %s", rows[i].name, rc, out);
	}
	/* 100 characters, each of three bytes, and one more */
	for (p = in, i = 0; i < 101; i++, p += 3)
		memcpy(p, "+20", 4);
	assert_int_equal(smtp_envid_parse(in, 300, out), 0);
	assert_int_equal(smtp_envid_parse(in, 303, out), -1);
	memset(in, '=', 101);
	assert_int_equal(smtp_envid_parse(in, 100, out), 0);
	assert_int_equal(strlen(out), ENVID_MAX);
	assert_int_equal(smtp_envid_parse(in, 101, out), -1);
}

static void
by(void **state)
{
	static const struct {
		const char *name, *in;
		int64_t seconds;
		uint8_t mode; /* BY_NONE: refused */
		uint8_t trace;
	} rows[] = {
		{ "return", "120;R", 120, BY_RETURN, 0 },
		{ "notify", "120;N", 120, BY_NOTIFY, 0 },
		{ "trace", "+120;rt", 120, BY_RETURN, 1 },
		{ "notify and trace", "1;nT", 1, BY_NOTIFY, 1 },
		{ "notify, in the past", "-60;N", -60, BY_NOTIFY, 0 },
		{ "notify, now", "0;N", 0, BY_NOTIFY, 0 },
		{ "minus nothing", "-0;N", 0, BY_NOTIFY, 0 },
		{ "the longest", "999999999;R", 999999999, BY_RETURN, 0 },
		{ "the longest in the past", "-999999999;NT", -999999999,
		    BY_NOTIFY, 1 },
		{ "return, in the past", "-1;R", 0, BY_NONE, 0 },
		{ "return, now", "0;R", 0, BY_NONE, 0 },
		{ "ten digits", "1000000000;R", 0, BY_NONE, 0 },
		{ "no mode", "120", 0, BY_NONE, 0 },
		{ "empty mode", "120;", 0, BY_NONE, 0 },
		{ "trace alone", "120;T", 0, BY_NONE, 0 },
		{ "trace first", "120;TR", 0, BY_NONE, 0 },
		{ "other mode", "120;X", 0, BY_NONE, 0 },
		{ "two modes", "120;NR", 0, BY_NONE, 0 },
		{ "more behind it", "120;RTX", 0, BY_NONE, 0 },
		{ "no time", ";R", 0, BY_NONE, 0 },
		{ "sign alone", "-;N", 0, BY_NONE, 0 },
		{ "two signs", "--1;N", 0, BY_NONE, 0 },
		{ "no number", "1x;N", 0, BY_NONE, 0 },
		{ "blank", "1 ;N", 0, BY_NONE, 0 },
	};
	struct smtp_by v;
	size_t i;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ON_EXACT(rc, rows[i].in, smtp_by_parse(copy, len, &v));
		if (rc != (rows[i].mode == BY_NONE ? -1 : 0))
			fail_msg("%s: %d", rows[i].name, rc);
		if (rc == 0 &&
		    (v.seconds != rows[i].seconds || v.mode != rows[i].mode ||
			v.trace != rows[i].trace))
			fail_msg("%s: %lld %u %u", rows[i].name,
			    (long long)v.seconds, v.mode, v.trace);
	}
	assert_int_equal(smtp_by_parse("", 0, &v), -1);
}

static void
hold(void **state)
{
	static const struct {
		const char *name;
		int (*parse)(const char *, size_t, int64_t *);
		const char *in;
		int64_t want; /* -1: refused */
	} rows[] = {
		{ "for", smtp_holdfor_parse, "86400", 86400 },
		{ "for the longest", smtp_holdfor_parse, "999999999",
		    999999999 },
		{ "for too long", smtp_holdfor_parse, "1000000000", -1 },
		{ "for nothing", smtp_holdfor_parse, "0", -1 },
		{ "for 0 first", smtp_holdfor_parse, "01", -1 },
		{ "for a negative time", smtp_holdfor_parse, "-5", -1 },
		{ "for what is no number", smtp_holdfor_parse, "5m", -1 },

		{ "until", smtp_holduntil_parse, "2026-11-13T12:00:00Z",
		    1794571200 },
		{ "until, small letters", smtp_holduntil_parse,
		    "2026-11-13t12:00:00z", 1794571200 },
		{ "until, east", smtp_holduntil_parse,
		    "2026-11-13T13:00:00+01:00", 1794571200 },
		{ "until, west", smtp_holduntil_parse,
		    "2026-11-13T06:30:00-05:30", 1794571200 },
		{ "until, unknown offset", smtp_holduntil_parse,
		    "2026-11-13T12:00:00-00:00", 1794571200 },
		{ "until a part of a second", smtp_holduntil_parse,
		    "2026-11-13T12:00:00.001Z", 1794571201 },
		{ "until no part of a second", smtp_holduntil_parse,
		    "2026-11-13T12:00:00.000Z", 1794571200 },
		{ "until the 29th of February", smtp_holduntil_parse,
		    "2028-02-29T00:00:00Z", 1835395200 },
		{ "until one that is none", smtp_holduntil_parse,
		    "2027-02-29T00:00:00Z", -1 },
		{ "until a leap second", smtp_holduntil_parse,
		    "2026-12-31T23:59:60Z", 1798761600 },
		{ "until the epoch", smtp_holduntil_parse,
		    "1970-01-01T00:00:00Z", 0 },
		{ "until the last year", smtp_holduntil_parse,
		    "9999-12-31T23:59:59Z", 253402300799 },
		{ "until month 0", smtp_holduntil_parse,
		    "2026-00-13T12:00:00Z", -1 },
		{ "until month 13", smtp_holduntil_parse,
		    "2026-13-13T12:00:00Z", -1 },
		{ "until day 0", smtp_holduntil_parse,
		    "2026-11-00T12:00:00Z", -1 },
		{ "until day 31 of 30", smtp_holduntil_parse,
		    "2026-11-31T12:00:00Z", -1 },
		{ "until hour 24", smtp_holduntil_parse,
		    "2026-11-13T24:00:00Z", -1 },
		{ "until minute 60", smtp_holduntil_parse,
		    "2026-11-13T12:60:00Z", -1 },
		{ "until second 61", smtp_holduntil_parse,
		    "2026-11-13T12:00:61Z", -1 },
		{ "until, no zone", smtp_holduntil_parse,
		    "2026-11-13T12:00:00", -1 },
		{ "until, offset without colon", smtp_holduntil_parse,
		    "2026-11-13T12:00:00+0100", -1 },
		{ "until, offset out of range", smtp_holduntil_parse,
		    "2026-11-13T12:00:00+24:00", -1 },
		{ "until, empty fraction", smtp_holduntil_parse,
		    "2026-11-13T12:00:00.Z", -1 },
		{ "until, blank", smtp_holduntil_parse,
		    "2026-11-13 12:00:00Z", -1 },
		{ "until, short year", smtp_holduntil_parse,
		    "26-11-13T12:00:00Z", -1 },
		{ "until, more behind it", smtp_holduntil_parse,
		    "2026-11-13T12:00:00ZZ", -1 },
		{ "until, cut", smtp_holduntil_parse, "2026-11-13T12:00:0",
		    -1 },
		{ "until seconds", smtp_holduntil_parse, "1794571200", -1 },
	};
	int64_t v;
	size_t i;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ON_EXACT(rc, rows[i].in, rows[i].parse(copy, len, &v));
		if ((rc == 0 ? v : rc) != rows[i].want)
			fail_msg("%s: %d, %lld", rows[i].name, rc,
			    (long long)v);
		assert_int_equal(rows[i].parse("", 0, &v), -1);
	}
}

static void
chunk(void **state)
{
	static const struct {
		const char *in;
		enum smtp_chunk_rc rc;
		uint64_t size;
		bool last;
	} rows[] = {
		{ "0", SMTP_CHUNK_OK, 0, false },
		{ "86 LAST", SMTP_CHUNK_OK, 86, true },
		{ "0 last", SMTP_CHUNK_OK, 0, true },
		{ "1   LaSt", SMTP_CHUNK_OK, 1, true },
		{ "1 ", SMTP_CHUNK_OK, 1, false },
		{ "0000000000000000000000000000005", SMTP_CHUNK_OK, 5, false },
		{ "9223372036854775807", SMTP_CHUNK_OK, INT64_MAX, false },
		{ "9223372036854775808", SMTP_CHUNK_OK,
		    (uint64_t)INT64_MAX + 1, false },
		{ "18446744073709551615 LAST", SMTP_CHUNK_OK, UINT64_MAX,
		    true },
		{ "18446744073709551616", SMTP_CHUNK_OK, UINT64_MAX, false },
		{ "99999999999999999999999999", SMTP_CHUNK_OK, UINT64_MAX,
		    false },
		{ "5 FIRST", SMTP_CHUNK_SYNTAX, 5, false },
		{ "5 LAST LAST", SMTP_CHUNK_SYNTAX, 5, false },
		{ "5 LASTS", SMTP_CHUNK_SYNTAX, 5, false },
		{ "5 5", SMTP_CHUNK_SYNTAX, 5, false },
		{ "", SMTP_CHUNK_NO_SIZE, 0, false },
		{ "LAST", SMTP_CHUNK_NO_SIZE, 0, false },
		{ "-1", SMTP_CHUNK_NO_SIZE, 0, false },
		{ "+1", SMTP_CHUNK_NO_SIZE, 0, false },
		{ "0x10", SMTP_CHUNK_NO_SIZE, 0, false },
		{ "10k", SMTP_CHUNK_NO_SIZE, 0, false },
		{ "1.5", SMTP_CHUNK_NO_SIZE, 0, false },
		{ "5LAST", SMTP_CHUNK_NO_SIZE, 0, false },
		{ "5\tLAST", SMTP_CHUNK_NO_SIZE, 0, false },
	};
	enum smtp_chunk_rc rc;
	uint64_t v;
	size_t i;
	bool last;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ON_EXACT(rc, rows[i].in,
		    smtp_chunk_parse(copy, len, &v, &last));
		if (rc != rows[i].rc || last != rows[i].last ||
		    (rc != SMTP_CHUNK_NO_SIZE && v != rows[i].size))
			fail_msg("\"%s\": %d, %llu", rows[i].in, rc,
			    (unsigned long long)v);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(params),
		cmocka_unit_test(twice_tells_the_key),
		cmocka_unit_test(xtext),
		cmocka_unit_test(orcpt),
		cmocka_unit_test(size_value),
		cmocka_unit_test(words),
		cmocka_unit_test(envid),
		cmocka_unit_test(by),
		cmocka_unit_test(hold),
		cmocka_unit_test(chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
