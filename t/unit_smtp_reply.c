/* submitd/smtp_reply.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/smtp_reply.h"

#define NONE                        ""
#define ROW(id, code, status, text) { id, #id, code, status, text },
static const struct {
	enum smtp_reply id;
	const char *name;
	int code;
	const char *status;
	const char *text;
} rows[] = { SMTP_REPLY_TABLE(ROW) };

static const size_t nrows = sizeof(rows) / sizeof(rows[0]);

/* RFC 2034 3 and 4 leave out the greeting and the replies to EHLO; a refusal
 * of ours in place of a greeting has a code. */
static bool
is_bare(enum smtp_reply id)
{
	return id == R_GREETING || id == R_GREET_DOWN || id == R_HELO ||
	    id == R_EHLO_ARG;
}

static void
each_row_obeys_the_rfcs(void **state)
{
	const char *st;
	int code;
	size_t i;

	(void)state;
	assert_int_equal(nrows, R_COUNT);
	for (i = 0; i < nrows; i++) {
		code = smtp_reply_code(rows[i].id);
		st = smtp_reply_status(rows[i].id);
		if (code != rows[i].code || strcmp(st, rows[i].status) != 0)
			fail_msg("%s: not in its place", rows[i].name);
		if (code < 211 || code > 555 || code == 521)
			fail_msg("%s: code %d", rows[i].name, code);
		if (code / 100 == 3 || is_bare(rows[i].id)) {
			if (*st != '\0')
				fail_msg("%s: has a status", rows[i].name);
		} else if (st[0] != '0' + code / 100 || st[1] != '.') {
			fail_msg("%s: status %s", rows[i].name, st);
		}
	}
}

/* Whether every line of a reply is well formed and within the limits. */
static const char *
flaw(const char *buf, size_t len, int code, const char *status)
{
	const char *p, *nl;
	char head[32];
	int n;

	if (len != strlen(buf) || len == 0)
		return "length";
	for (p = buf; *p != '\0'; p = nl + 2) {
		nl = strstr(p, "\r\n");
		if (nl == NULL)
			return "no CRLF at the end";
		if (nl + 2 - p > SMTP_REPLY_LINE)
			return "line too long";
		n = snprintf(head, sizeof(head), "%d%c%s%s", code,
		    nl[2] != '\0' ? '-' : ' ', status, *status ? " " : "");
		if (strncmp(p, head, (size_t)n) != 0)
			return "a line begins otherwise";
		for (p += n; p < nl; p++)
			if (*p < ' ' || *p == 0x7f)
				return "control or 8-bit character";
	}
	return NULL;
}

static void
each_row_is_well_formed(void **state)
{
	static const char *const args[] = { NULL, "", "x",
		"with\r\n250 injected", "\xff\x80\xc3", "%s%s%n", NULL };
	char buf[SMTP_REPLY_MAX], longest[2000];
	const char *arg, *why;
	size_t i, j, len;

	(void)state;
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	for (i = 0; i < nrows; i++) {
		for (j = 0; j < sizeof(args) / sizeof(args[0]); j++) {
			arg = j == 6 ? longest : args[j];
			len = smtp_reply_format(
			    buf, sizeof(buf), rows[i].id, arg, arg);
			why = flaw(buf, len, rows[i].code, rows[i].status);
			if (why != NULL)
				fail_msg("%s: %s", rows[i].name, why);
		}
		/* the text is one of plain words and at most two slots */
		if (strchr(rows[i].text, '%') != NULL &&
		    strncmp(strchr(rows[i].text, '%'), "%s", 2) != 0)
			fail_msg("%s: a stray %%", rows[i].name);
	}
}

/* clang-format off */
static const struct {
	const char *name;
	enum smtp_reply id;
	const char *a, *b;
	const char *want;
} formats[] = {
	{ "greeting has no status", R_GREETING, "mail.example.org", NULL,
	  "220 mail.example.org ESMTP\r\n" },
	{ "HELO has no status", R_HELO, "mail.example.org", NULL,
	  "250 mail.example.org\r\n" },
	{ "354 has no status", R_DATA_GO, NULL, NULL,
	  "354 Send the message; a line with a single dot ends it\r\n" },
	{ "TLS needed is 530 5.7.0 (RFC 3207 4)", R_TLS_NEEDED, NULL, NULL,
	  "530 5.7.0 Must issue a STARTTLS command first; choose STARTTLS as"
	  " connection security in your mail program\r\n" },
	{ "slot", R_QUEUED, "0193ab7c00001", NULL,
	  "250 2.0.0 Accepted, queued as 0193ab7c00001\r\n" },
	{ "two slots", R_PARAM_CONFLICT, "HOLDFOR", "HOLDUNTIL",
	  "501 5.5.4 Parameters HOLDFOR and HOLDUNTIL cannot be used together\r\n" },
	{ "missing argument", R_PARAM_UNKNOWN, NULL, NULL,
	  "555 5.5.4 Parameter ? is not known here\r\n" },
	{ "a line end cannot begin a reply", R_PARAM_UNKNOWN, "X\r\n250 2.0.0 OK",
	  NULL, "555 5.5.4 Parameter X??250 2.0.0 OK is not known here\r\n" },
	{ "a slot in an argument is text", R_PARAM_CONFLICT, "%s", "b",
	  "501 5.5.4 Parameters %s and b cannot be used together\r\n" },
	{ "UTF-8 is shown as ASCII, broken UTF-8 is not", R_PARAM_UNKNOWN,
	  "\xc3\xa4\xc3", NULL,
	  "555 5.5.4 Parameter \\x{E4}? is not known here\r\n" },
	{ "largest character", R_PARAM_UNKNOWN, "\xf4\x8f\xbf\xbf", NULL,
	  "555 5.5.4 Parameter \\x{10FFFF} is not known here\r\n" },
	{ "C1 control", R_PARAM_UNKNOWN, "\xc2\x9b", NULL,
	  "555 5.5.4 Parameter ? is not known here\r\n" },
};

static const struct {
	const char *name;
	int code;
	const char *status, *text;
	const char *want; /* "": refused */
} customs[] = {
	{ "as given", 550, "5.7.1", "Access denied", "550 5.7.1 Access denied\r\n" },
	{ "class follows the code", 450, "5.7.1", "Later", "450 4.7.1 Later\r\n" },
	{ "no status", 553, NULL, "No", "553 5.0.0 No\r\n" },
	{ "bad status", 553, "5.7", "No", "553 5.0.0 No\r\n" },
	{ "status with a tail", 553, "5.7.1 x", "No", "553 5.0.0 No\r\n" },
	{ "four digits", 553, "5.7.1234", "No", "553 5.0.0 No\r\n" },
	{ "three digits", 553, "5.777.123", "No", "553 5.777.123 No\r\n" },
	{ "several lines", 554, "5.7.1", "One\nTwo",
	  "554-5.7.1 One\r\n554 5.7.1 Two\r\n" },
	{ "final line end", 554, "5.7.1", "One\n", "554 5.7.1 One\r\n" },
	{ "CR is no line end", 554, "5.7.1", "One\r\nTwo",
	  "554-5.7.1 One?\r\n554 5.7.1 Two\r\n" },
	{ "no text", 421, "4.3.2", "", "421 4.3.2 \r\n" },
	{ "least code", 200, NULL, "x", "200 2.0.0 x\r\n" },
	{ "largest code", 599, NULL, "x", "599 5.0.0 x\r\n" },
	{ "below it", 199, NULL, "x", "" },
	{ "above it", 600, NULL, "x", "" },
	{ "3xx", 354, "5.7.1", "Go", "" },
	{ "no code", 0, "5.7.1", "Go", "" },
	{ "four digits of code", 5500, "5.7.1", "Go", "" },
	{ "negative", -550, "5.7.1", "Go", "" },
};
/* clang-format on */

static void
formatted(void **state)
{
	char buf[SMTP_REPLY_MAX];
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		len = smtp_reply_format(buf, sizeof(buf), formats[i].id,
		    formats[i].a, formats[i].b);
		if (len != strlen(buf) || strcmp(buf, formats[i].want) != 0)
			fail_msg("%s: %s", formats[i].name, buf);
	}
}

static void
custom(void **state)
{
	char buf[SMTP_REPLY_MAX];
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(customs) / sizeof(customs[0]); i++) {
		strcpy(buf, "old");
		len = smtp_reply_custom(buf, sizeof(buf), customs[i].code,
		    customs[i].status, customs[i].text);
		if (len != strlen(customs[i].want) ||
		    (len > 0 && strcmp(buf, customs[i].want) != 0))
			fail_msg("%s: %s", customs[i].name, buf);
	}
}

static void
long_texts_become_lines(void **state)
{
	char buf[SMTP_REPLY_MAX], text[20000];
	size_t i, len, mod;
	const char *why;

	(void)state;
	/* words, one word, line ends only, UTF-8 only */
	for (mod = 0; mod < 4; mod++) {
		for (i = 0; i + 1 < sizeof(text); i++)
			text[i] = mod == 0 ? "abcdefg "[i % 8]
			    : mod == 1     ? 'a'
			    : mod == 2     ? '\n'
					   : "\xe2\x82\xac"[i % 3];
		text[i] = '\0';
		len =
		    smtp_reply_custom(buf, sizeof(buf), 550, "5.123.123", text);
		why = flaw(buf, len, 550, "5.123.123");
		if (why != NULL)
			fail_msg("text %zu: %s", mod, why);
		if (mod != 2)
			assert_in_range(len, 3072, SMTP_REPLY_MAX - 1);
	}
	/* a word that just fits, and one byte more */
	memset(text, 'a', 600);
	text[SMTP_REPLY_LINE - 2 - strlen("550 5.7.1 ")] = '\0';
	len = smtp_reply_custom(buf, sizeof(buf), 550, "5.7.1", text);
	assert_int_equal(len, SMTP_REPLY_LINE);
	assert_null(strstr(buf, "550-"));
	strcat(text, "a");
	len = smtp_reply_custom(buf, sizeof(buf), 550, "5.7.1", text);
	assert_non_null(strstr(buf, "550-"));
	assert_null(flaw(buf, len, 550, "5.7.1"));
}

static void
broken_at_a_blank(void **state)
{
	char buf[SMTP_REPLY_MAX], text[700];
	const char *second;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[450] = ' ';
	text[sizeof(text) - 1] = '\0';
	assert_true(
	    smtp_reply_custom(buf, sizeof(buf), 550, "5.7.1", text) > 0);
	second = strstr(buf, "\r\n550 5.7.1 a");
	assert_non_null(second);
	assert_int_equal(second - buf, 10 + 450);
}

/* clang-format off */
static const struct {
	const char *name;
	int code;
	const char *status, *text, *help;
	const char *want;
} helps[] = {
	{ "in the same line", 550, "5.7.1", "Not yours", "Call 12",
	  "550 5.7.1 Not yours. Call 12\r\n" },
	{ "behind a full stop", 550, "5.7.1", "Not yours.", "Call 12",
	  "550 5.7.1 Not yours. Call 12\r\n" },
	{ "behind several lines", 554, "5.7.1", "One\nTwo", "Call 12",
	  "554-5.7.1 One\r\n554 5.7.1 Two. Call 12\r\n" },
	{ "no help", 550, "5.7.1", "Not yours", "",
	  "550 5.7.1 Not yours\r\n" },
	{ "a success", 250, "2.1.0", "Fine", "Call 12", "250 2.1.0 Fine\r\n" },
	{ "syntax", 501, "5.5.4", "Wrong", "Call 12", "501 5.5.4 Wrong\r\n" },
	{ "order", 503, "5.5.1", "Wrong", "Call 12", "503 5.5.1 Wrong\r\n" },
	{ "parameter", 555, "5.5.4", "Wrong", "Call 12",
	  "555 5.5.4 Wrong\r\n" },
	{ "a login that failed", 535, "5.7.8", "Wrong", "Call 12",
	  "535 5.7.8 Wrong. Call 12\r\n" },
	{ "not now", 452, "4.3.1", "Later", "Call 12",
	  "452 4.3.1 Later. Call 12\r\n" },
	{ "the end, for a limit", 421, "4.7.0", "Too many", "Call 12",
	  "421 4.7.0 Too many. Call 12\r\n" },
	{ "the end, for time", 421, "4.4.2", "Idle", "Call 12",
	  "421 4.4.2 Idle\r\n" },
};
/* clang-format on */

static void
help(void **state)
{
	char buf[SMTP_REPLY_MAX];
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(helps) / sizeof(helps[0]); i++) {
		len = smtp_reply_custom(buf, sizeof(buf), helps[i].code,
		    helps[i].status, helps[i].text);
		len = smtp_reply_help(buf, sizeof(buf), len, helps[i].help);
		if (len != strlen(buf) || strcmp(buf, helps[i].want) != 0)
			fail_msg("%s: %s", helps[i].name, buf);
	}
}

/* Whether the help of 400 bytes goes into the line or below it, every line is
 * within its limit; without room it is left out. */
static void
help_fits(void **state)
{
	char buf[SMTP_REPLY_MAX], text[600], what[401];
	size_t i, len, more;
	const char *why;

	(void)state;
	memset(what, 'h', sizeof(what) - 1);
	what[sizeof(what) - 1] = '\0';
	for (i = 0; i < sizeof(text) - 1; i++) {
		memset(text, 't', i);
		text[i] = '\0';
		len = smtp_reply_custom(
		    buf, sizeof(buf), 550, "5.123.123", text);
		more = smtp_reply_help(buf, len + 10, len, what);
		assert_int_equal(more, len);
		more = smtp_reply_help(buf, sizeof(buf), len, what);
		if ((why = flaw(buf, more, 550, "5.123.123")) != NULL)
			fail_msg("%zu: %s", i, why);
		assert_non_null(strstr(buf, what));
	}
	/* nothing, and a reply that was too long for its buffer */
	assert_int_equal(smtp_reply_help(buf, sizeof(buf), 0, what), 0);
}

static void
more(void **state)
{
	char buf[SMTP_REPLY_MAX];
	size_t len;

	(void)state;
	len = smtp_reply_format(buf, sizeof(buf), R_NOOP, NULL, NULL);
	len = smtp_reply_more(buf, sizeof(buf), len, "Call 12");
	len = smtp_reply_more(buf, sizeof(buf), len, "See there");
	assert_string_equal(buf,
	    "250-2.0.0 OK\r\n250-2.0.0 Call 12\r\n250 2.0.0 See there\r\n");
	assert_int_equal(len, strlen(buf));
	/* a text that only looks like a status is none */
	len = smtp_reply_format(
	    buf, sizeof(buf), R_GREETING, "1.2.3.4 5", NULL);
	len = smtp_reply_more(buf, sizeof(buf), len, "Call 12");
	assert_string_equal(
	    buf, "220-1.2.3.4 5 ESMTP\r\n220 Call 12\r\n");
	assert_int_equal(len, strlen(buf));
}

static void
an_id_that_is_none(void **state)
{
	char buf[SMTP_REPLY_MAX];
	enum smtp_reply none = (enum smtp_reply)(R_COUNT + 7);

	(void)state;
	assert_int_equal(smtp_reply_code(R_COUNT), 451);
	assert_int_equal(smtp_reply_code(none), 451);
	assert_string_equal(smtp_reply_status(none), "4.3.0");
	smtp_reply_format(buf, sizeof(buf), none, NULL, NULL);
	assert_ptr_equal(strstr(buf, "451 4.3.0 "), buf);
}

static void
challenge(void **state)
{
	char buf[20000], b64[12289];

	(void)state;
	assert_int_equal(smtp_reply_challenge(buf, sizeof(buf), ""), 6);
	assert_string_equal(buf, "334 \r\n");
	smtp_reply_challenge(buf, sizeof(buf), "VXNlcm5hbWU6");
	assert_string_equal(buf, "334 VXNlcm5hbWU6\r\n");
	memset(b64, 'A', sizeof(b64) - 1);
	b64[sizeof(b64) - 1] = '\0';
	assert_int_equal(
	    smtp_reply_challenge(buf, sizeof(buf), b64), 12288 + 6);
	assert_int_equal(smtp_reply_challenge(buf, 100, b64), 0);
	assert_string_equal(buf, "");
}

static void
ehlo(void **state)
{
	static const char *const kw[] = { "PIPELINING", "SIZE 26214400",
		"AUTH PLAIN LOGIN" };
	char buf[SMTP_REPLY_MAX];

	(void)state;
	smtp_reply_ehlo(buf, sizeof(buf), "mail.example.org", kw, 3);
	assert_string_equal(buf,
	    "250-mail.example.org\r\n"
	    "250-PIPELINING\r\n"
	    "250-SIZE 26214400\r\n"
	    "250 AUTH PLAIN LOGIN\r\n");
	smtp_reply_ehlo(buf, sizeof(buf), "mail.example.org", NULL, 0);
	assert_string_equal(buf, "250 mail.example.org\r\n");
	assert_int_equal(
	    smtp_reply_ehlo(buf, 30, "mail.example.org", kw, 3), 0);
}

static void
no_size_overflows(void **state)
{
	size_t size, len, full;
	char *buf, whole[SMTP_REPLY_MAX];

	(void)state;
	full = smtp_reply_format(whole, sizeof(whole), R_HELP, NULL, NULL);
	for (size = 0; size <= full + 1; size++) {
		buf = malloc(size > 0 ? size : 1);
		assert_non_null(buf);
		len = smtp_reply_format(buf, size, R_HELP, NULL, NULL);
		assert_int_equal(len, size > full ? full : 0);
		free(buf);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_row_obeys_the_rfcs),
		cmocka_unit_test(each_row_is_well_formed),
		cmocka_unit_test(formatted),
		cmocka_unit_test(custom),
		cmocka_unit_test(long_texts_become_lines),
		cmocka_unit_test(broken_at_a_blank),
		cmocka_unit_test(help),
		cmocka_unit_test(help_fits),
		cmocka_unit_test(more),
		cmocka_unit_test(an_id_that_is_none),
		cmocka_unit_test(challenge),
		cmocka_unit_test(ehlo),
		cmocka_unit_test(no_size_overflows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
