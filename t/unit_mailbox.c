/* submitd/mailbox.c */
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

#include "submitd/mailbox.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BOSS     "boss@corp.example"
#define ANN      "ann@x.example"

/* clang-format off */
static const struct {
	const char *name, *value;
	const char *want; /* each address once, a blank behind it; NULL: not
			     looked at, for it is not all */
	enum mailbox_rc rc;
} rows[] = {
	/* what people and programs write */
	{ "address", " " ANN "\r\n", ANN " ", MAILBOX_OK },
	{ "address in brackets", "<" ANN ">", ANN " ", MAILBOX_OK },
	{ "name", "Ann Other <" ANN ">", ANN " ", MAILBOX_OK },
	{ "name without blank", "Ann<" ANN ">", ANN " ", MAILBOX_OK },
	{ "name in quotes", "\"Other, Ann (home)\" <" ANN ">", ANN " ",
	  MAILBOX_OK },
	{ "name with dots", "Ann B. Other Jr. <" ANN ">", ANN " ", MAILBOX_OK },
	{ "name in single quotes", "'Ann' <" ANN ">", ANN " ", MAILBOX_OK },
	{ "name with signs", "Ann & Bo = us! <" ANN ">", ANN " ", MAILBOX_OK },
	{ "name with brackets", "[List] Ann <" ANN ">", ANN " ", MAILBOX_OK },
	{ "name with a number in brackets", "Ticket [A-17: new] <" ANN ">",
	  ANN " ", MAILBOX_OK },
	{ "name of two quoted parts", "\"Ann\" \"Other\" <" ANN ">", ANN " ",
	  MAILBOX_OK },
	{ "name with an escaped quote", "\"Ann \\\"A\\\" Other\" <" ANN ">",
	  ANN " ", MAILBOX_OK },
	{ "empty name", "\"\" <" ANN ">", ANN " ", MAILBOX_OK },
	{ "comment behind", ANN " (Ann Other)", ANN " ", MAILBOX_OK },
	{ "comment before", "(Ann Other) " ANN, ANN " ", MAILBOX_OK },
	{ "comments in comments", ANN " (Ann (at (home)) \\) )", ANN " ",
	  MAILBOX_OK },
	{ "comment between name and brackets", "Ann (home) <" ANN "> (x)",
	  ANN " ", MAILBOX_OK },
	{ "encoded name", "=?utf-8?q?Ann_=C3=96?= <" ANN ">", ANN " ",
	  MAILBOX_OK },
	{ "encoded name in two words",
	  "=?utf-8?q?Ann?= =?utf-8?b?w5Y=?= <" ANN ">", ANN " ", MAILBOX_OK },
	{ "8-bit name", "J\xc3\xb6rg <" ANN ">", ANN " ", MAILBOX_OK },
	{ "8-bit name that is not UTF-8", "J\xf6rg <" ANN ">", ANN " ",
	  MAILBOX_OK },
	{ "blanks in the brackets", "Ann < " ANN " >", ANN " ", MAILBOX_OK },
	{ "folded", "Ann\r\n\tOther\r\n <" ANN ">\r\n", ANN " ", MAILBOX_OK },
	{ "folded before anything", "\r\n " ANN "\r\n", ANN " ", MAILBOX_OK },
	{ "folded with LF only", "Ann\n <" ANN ">\n", ANN " ", MAILBOX_OK },
	{ "two", ANN ", Bo <bo@y.example>", ANN " bo@y.example ", MAILBOX_OK },
	{ "empty elements", ", " ANN ",, ,bo@y.example,", ANN " bo@y.example ",
	  MAILBOX_OK },
	{ "the same twice", ANN ", " ANN, ANN " ", MAILBOX_OK },

	/* addresses */
	{ "needless quotes", "<\"ann\"@x.example>", ANN " ", MAILBOX_OK },
	{ "quotes that are needed", "\"a b\"@x.example",
	  "\"a b\"@x.example b@x.example ", MAILBOX_OK },
	{ "a bracket in quotes", "<\"a>b\"@x.example>",
	  "\"a>b\"@x.example b@x.example ", MAILBOX_OK },
	{ "plus", "<ann+tag@x.example>", "ann+tag@x.example ", MAILBOX_OK },
	{ "address literal", "ann@[192.0.2.1]", "ann@[192.0.2.1] ",
	  MAILBOX_OK },
	{ "IPv6 literal", "Ann <ann@[IPV6:2001:db8::1]>",
	  "ann@[IPv6:2001:db8::1] ", MAILBOX_OK },
	{ "8-bit address", "<j\xc3\xb6rg@b\xc3\xbc.example>",
	  "j\xc3\xb6rg@b\xc3\xbc.example ", MAILBOX_OK },
	{ "case is kept", "Ann@X.Example", "Ann@X.Example ", MAILBOX_OK },
	{ "address as name", ANN " <" ANN ">", ANN " ", MAILBOX_OK },
	{ "address in quotes as name", "\"" ANN "\" <" ANN ">", ANN " ",
	  MAILBOX_OK },

	/* groups */
	{ "group", "We: " ANN ", bo@y.example;", ANN " bo@y.example ",
	  MAILBOX_OK },
	{ "group with names", "\"We, all\": Ann <" ANN ">; (x)", ANN " ",
	  MAILBOX_OK },
	{ "groups and others", "a@x.example, We: b@x.example;, c@x.example",
	  "a@x.example b@x.example c@x.example ", MAILBOX_OK },
	{ "two groups", "A:a@x.example;,B:b@x.example;",
	  "a@x.example b@x.example ", MAILBOX_OK },
	{ "empty group beside an address", "We:;, " ANN, ANN " ", MAILBOX_OK },
	{ "empty group", "undisclosed: ;", "", MAILBOX_NONE },
	{ "group without end", "We: " ANN, NULL, MAILBOX_SYNTAX },
	{ "group in a group", "We: They: " ANN ";;", NULL, MAILBOX_SYNTAX },
	{ "group without name", ": " ANN ";", NULL, MAILBOX_SYNTAX },
	{ "end of no group", ANN ";", NULL, MAILBOX_SYNTAX },
	{ "semicolon instead of comma", ANN "; bo@y.example", NULL,
	  MAILBOX_SYNTAX },
	{ "text behind a group", "We: " ANN "; you", NULL, MAILBOX_SYNTAX },
	{ "an address names the group", BOSS ": " ANN ";", BOSS " " ANN " ",
	  MAILBOX_OK },

	/* the name shows another address */
	{ "in quotes", "\"" BOSS "\" <" ANN ">", ANN " " BOSS " ", MAILBOX_OK },
	{ "without quotes", BOSS " <" ANN ">", BOSS " " ANN " ", MAILBOX_OK },
	{ "in quotes and brackets", "\"Boss <" BOSS ">\" <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "in a comment", ANN " (" BOSS ")", ANN " " BOSS " ", MAILBOX_OK },
	{ "in a comment before", "(" BOSS ") <" ANN ">", ANN " " BOSS " ",
	  MAILBOX_OK },
	{ "in a comment of a comment", ANN " (a (" BOSS "))",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "with backslashes", "\"boss\\@corp\\.example\" <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "half in quotes", "\"boss\"@corp.example <" ANN ">",
	  BOSS " " ANN " ", MAILBOX_OK },
	{ "encoded", "=?utf-8?q?boss=40corp.example?= <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "encoded with brackets",
	  "=?utf-8?q?=3Cboss=40corp.example=3E?= <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "encoded in quotes",
	  "\"=?utf-8?b?Ym9zc0Bjb3JwLmV4YW1wbGU=?=\" <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "encoded in a comment", ANN " (=?utf-8?q?boss=40corp.example?=)",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "encoded in two words",
	  "=?utf-8?q?boss=40?=\r\n =?utf-8?q?corp.example?= <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "full width", "boss\xef\xbc\xa0" "corp.example <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "with something of no width",
	  "\"boss@\xe2\x80\x8b" "corp.example\" <" ANN ">", ANN " " BOSS " ",
	  MAILBOX_OK },
	{ "with more text", "\"The boss " BOSS " himself\" <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "in brackets of a name", "[" BOSS "] <" ANN ">", ANN " " BOSS " ",
	  MAILBOX_OK },
	{ "as a group's name in quotes", "\"" BOSS "\": " ANN ";",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "behind a comma in quotes", "\"Boss\" <" ANN ">, \"x, " BOSS "\" <"
	  ANN ">", ANN " " BOSS " ", MAILBOX_OK },
	{ "hidden by blanks",
	  "\"" BOSS "                                             \" <" ANN ">",
	  ANN " " BOSS " ", MAILBOX_OK },
	{ "hidden by folds", BOSS "\r\n \r\n\t\r\n <" ANN ">",
	  BOSS " " ANN " ", MAILBOX_OK },

	/* more than one mailbox, for some readers at least */
	{ "comma in a name", "Boss, <" ANN ">", NULL, MAILBOX_UNQUALIFIED },
	{ "comma in a name behind an address", BOSS ", <" ANN ">",
	  BOSS " " ANN " ", MAILBOX_OK },
	{ "brackets twice", "<" BOSS "> <" ANN ">", NULL, MAILBOX_BRACKETS },
	{ "brackets twice without blank", "<" BOSS "><" ANN ">", NULL,
	  MAILBOX_BRACKETS },
	{ "brackets in brackets", "<" BOSS "<" ANN ">>", NULL,
	  MAILBOX_BRACKETS },
	{ "brackets in empty brackets", "<<" ANN ">>", NULL, MAILBOX_BRACKETS },
	{ "text behind the brackets", "<" ANN "> " BOSS, NULL,
	  MAILBOX_BRACKETS },
	{ "name behind the brackets", "<" ANN "> Ann", NULL, MAILBOX_BRACKETS },
	{ "no closing bracket", "Ann <" ANN, NULL, MAILBOX_BRACKETS },
	{ "no opening bracket", "Ann " ANN ">", NULL, MAILBOX_BRACKETS },
	{ "a closing bracket only", ANN ">", NULL, MAILBOX_BRACKETS },
	{ "no brackets", "Ann " ANN, NULL, MAILBOX_BRACKETS },
	{ "name behind the address", ANN " Ann", NULL, MAILBOX_BRACKETS },
	{ "two addresses without comma", BOSS " " ANN, NULL,
	  MAILBOX_BRACKETS },
	{ "comma in the brackets", "<" BOSS "," ANN ">", NULL, MAILBOX_SYNTAX },
	{ "semicolon in the brackets", "<" BOSS ";" ANN ">", NULL,
	  MAILBOX_SYNTAX },
	{ "colon in the brackets", "<mailto:" ANN ">", NULL, MAILBOX_SYNTAX },
	{ "two @ signs", "boss@corp.example@x.example", NULL, MAILBOX_DOMAIN },
	{ "quote in the middle", "\"" BOSS "\"" ANN, NULL, MAILBOX_SYNTAX },
	{ "quoted, then dotted", "\"" BOSS "\".a@x.example", NULL,
	  MAILBOX_SYNTAX },
	{ "quoted address as local part", "\"" BOSS "\"@x.example",
	  "\"" BOSS "\"@x.example " BOSS " corp.example@x.example ", MAILBOX_OK },

	/* obsolete, or what hides something in an address */
	{ "source route", "<@corp.example,@y.example:" ANN ">", NULL,
	  MAILBOX_ROUTE },
	{ "source route behind a blank", "Ann < @corp.example:" ANN ">", NULL,
	  MAILBOX_ROUTE },
	{ "empty source route", "<@:" ANN ">", NULL, MAILBOX_ROUTE },
	{ "comment in an address", "ann(boss)@x.example", NULL,
	  MAILBOX_BRACKETS },
	{ "comment in brackets", "<ann(" BOSS ")@x.example>", NULL,
	  MAILBOX_BLANK },
	{ "comment before it in brackets", "<(" BOSS ")" ANN ">", NULL,
	  MAILBOX_BLANK },
	{ "comment behind it in brackets", "<" ANN "(" BOSS ")>", NULL,
	  MAILBOX_BLANK },
	{ "blanks in an address", "ann @ x.example", NULL, MAILBOX_BRACKETS },
	{ "blank in brackets", "<ann @x.example>", NULL, MAILBOX_BLANK },
	{ "blank before the second", "<" BOSS " @x.example>", NULL,
	  MAILBOX_BLANK },
	{ "blank in the domain", "<ann@x. example>", NULL, MAILBOX_BLANK },
	{ "fold in an address", "<ann@\r\n x.example>", NULL, MAILBOX_BLANK },
	{ "fold behind a dot", "<ann@x.\r\n\texample>", NULL, MAILBOX_BLANK },
	{ "obsolete local part", "ann.(x)b@x.example", NULL, MAILBOX_BRACKETS },
	{ "encoded local part", "=?utf-8?q?boss=40corp.example?=@x.example",
	  NULL, MAILBOX_ENCODED },
	{ "encoded local part in brackets",
	  "<=?utf-8?b?Ym9zc0Bjb3JwLmV4YW1wbGUA?=@x.example>", NULL,
	  MAILBOX_ENCODED },
	{ "encoded local part in quotes",
	  "<\"=?utf-8?q?boss=40corp.example?=\"@x.example>", NULL,
	  MAILBOX_ENCODED },
	{ "encoded, split",
	  "=?utf-8?b?Ym9zc0Bjb3JwLmV4YW1wbGU=?==?utf-8?Q?=00?=" ANN, NULL,
	  MAILBOX_ENCODED },
	{ "encoded address as name, split",
	  "=?utf-8?q?a?=@x.example <" ANN ">", NULL, MAILBOX_ENCODED },
	{ "a NUL in an encoded name", "=?utf-8?q?boss=00?= <" ANN ">", NULL,
	  MAILBOX_CONTROL },
	{ "a line end in an encoded name", "=?utf-8?b?Ym9zcwo=?= <" ANN ">",
	  NULL, MAILBOX_CONTROL },
	{ "a name turned around", "\"\xe2\x80\xae" "ssob\" <" ANN ">", NULL,
	  MAILBOX_CONTROL },
	{ "a character set nobody knows", "=?x-own?q?boss?= <" ANN ">", NULL,
	  MAILBOX_WORD },
	{ "a control character", "Ann\x08 <" ANN ">", NULL, MAILBOX_CONTROL },
	{ "a CR", "Ann\r <" ANN ">", NULL, MAILBOX_CONTROL },
	{ "a LF without blank", "Ann\n<" ANN ">", NULL, MAILBOX_CONTROL },
	{ "an escape", "\x1b$B<\x1b(B <" ANN ">", NULL, MAILBOX_CONTROL },
	{ "DEL", "Ann\x7f <" ANN ">", NULL, MAILBOX_CONTROL },
	{ "a dot of another script",
	  "<ann@x\xe3\x80\x82" "example>", NULL, MAILBOX_DOMAIN },

	/* no address */
	{ "nothing", "", "", MAILBOX_NONE },
	{ "blanks", " \r\n \t\r\n", "", MAILBOX_NONE },
	{ "a comma", ",", "", MAILBOX_NONE },
	{ "a comment", " (Ann)", "", MAILBOX_NONE },
	{ "empty brackets", "<>", NULL, MAILBOX_NONE },
	{ "empty brackets behind a name", "Ann < >", NULL, MAILBOX_NONE },
	{ "a login", "root", NULL, MAILBOX_UNQUALIFIED },
	{ "as cron writes it", "root (Cron Daemon)", NULL,
	  MAILBOX_UNQUALIFIED },
	{ "a login in brackets", "root <root>", NULL, MAILBOX_UNQUALIFIED },
	{ "a host without domain", "root@localhost", NULL,
	  MAILBOX_UNQUALIFIED },
	{ "a name", "Ann Other", NULL, MAILBOX_NAME },
	{ "a name in quotes", "\"Ann\"", NULL, MAILBOX_UNQUALIFIED },
	{ "@ in a name", "Ann @ home <" ANN ">", NULL, MAILBOX_NAME },
	{ "half an address in a name", "Ann @home <" ANN ">", NULL,
	  MAILBOX_NAME },
	{ "a backslash in a name", "Ann\\Other <" ANN ">", NULL, MAILBOX_NAME },
	{ "a colon in a name", "Re: Ann <" ANN ">", NULL, MAILBOX_SYNTAX },
	{ "quote without end", "\"Ann <" ANN ">", NULL, MAILBOX_QUOTES },
	{ "quote that escapes its end", "\"Ann\\\" <" ANN ">", NULL,
	  MAILBOX_QUOTES },
	{ "quote without end in brackets", "<\"ann@x.example>", NULL,
	  MAILBOX_QUOTES },
	{ "comment without end", "(Ann <" ANN ">", NULL, MAILBOX_QUOTES },
	{ "comment that escapes its end", ANN " (\\)", NULL, MAILBOX_QUOTES },
	{ "comment of too few ends", ANN " (()", NULL, MAILBOX_QUOTES },
	{ "end of no comment", ANN " )", NULL, MAILBOX_SYNTAX },
	{ "literal without end", "ann@[192.0.2.1", NULL, MAILBOX_BRACKETS },
	{ "end of no literal", "Ann] <" ANN ">", NULL, MAILBOX_SYNTAX },
	{ "something else in a literal", "[a(b)] <" ANN ">", NULL,
	  MAILBOX_NAME },
	{ "no literal", "ann@[x]", NULL, MAILBOX_DOMAIN },
	{ "no local part", "@x.example", NULL, MAILBOX_SYNTAX },
	{ "no domain", "ann@", NULL, MAILBOX_DOMAIN },
	{ "a dot first", ".ann@x.example", NULL, MAILBOX_SYNTAX },
	{ "two dots", "a..b@x.example", NULL, MAILBOX_SYNTAX },
	{ "a final dot", "<ann@x.example.>", NULL, MAILBOX_DOMAIN },
	{ "an address for a domain", "ann@192.0.2.1", NULL, MAILBOX_DOMAIN },
	{ "a hyphen first in the domain", "ann@-x.example", NULL,
	  MAILBOX_DOMAIN },
	{ "not UTF-8 in the address", "j\xf6@x.example", NULL,
	  MAILBOX_SYNTAX },
};
/* clang-format on */

/* Each address once. */
static void
note(void *arg, const char *address)
{
	char *out = arg, *p;
	size_t n = strlen(out), len = strlen(address);

	for (p = out; (p = strcasestr(p, address)) != NULL; p++)
		if ((p == out || p[-1] == ' ') && p[len] == ' ')
			return;
	snprintf(out + n, 1000 - n, "%s ", address);
}

static void
table(void **state)
{
	char got[1000];
	enum mailbox_rc rc;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		got[0] = '\0';
		rc = mailbox_list(
		    rows[i].value, strlen(rows[i].value), note, got);
		if (rc != rows[i].rc)
			fail_msg("%s: %s", rows[i].name, mailbox_text(rc));
		if (rows[i].want != NULL && strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, got);
	}
}

/* Every prefix is read within its bounds, from memory of just that size. */
static void
cut_anywhere(void **state)
{
	char got[1000], *copy;
	size_t i, len;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		for (len = strlen(rows[i].value); len > 0; len--) {
			copy = malloc(len);
			assert_non_null(copy);
			memcpy(copy, rows[i].value, len);
			got[0] = '\0';
			mailbox_list(copy, len, note, got);
			free(copy);
		}
	}
}

static void
nul(void **state)
{
	static const char value[] = ANN "\0, " BOSS;
	char got[1000] = "";

	(void)state;
	assert_int_equal(
	    mailbox_list(value, sizeof(value) - 1, note, got), MAILBOX_CONTROL);
}

static void
bounds(void **state)
{
	static char big[MAILBOX_VALUE_MAX + 2];
	char got[1000] = "";
	size_t n = 0, i;

	(void)state;
	/* comments within comments */
	memset(big, '(', sizeof(big));
	assert_int_equal(
	    mailbox_list(big, MAILBOX_VALUE_MAX, note, got), MAILBOX_QUOTES);
	assert_int_equal(
	    mailbox_list(big, MAILBOX_VALUE_MAX + 1, note, got), MAILBOX_LONG);
	/* so many addresses pass, and one more does not */
	for (i = 0; i < 200; i++)
		n += (size_t)sprintf(big + n, "a@b.cd,");
	assert_int_equal(mailbox_list(big, n, note, got), MAILBOX_OK);
	n += (size_t)sprintf(big + n, "a@b.cd,");
	assert_int_equal(mailbox_list(big, n, note, got), MAILBOX_LONG);
	/* a name that is longer than what is shown of any */
	memset(big, 'a', 5000);
	n = 5000 + (size_t)sprintf(big + 5000, " <" ANN ">");
	assert_int_equal(mailbox_list(big, n, note, got), MAILBOX_LONG);
	/* an address that is too long */
	memset(big, 'a', 65);
	n = 65 + (size_t)sprintf(big + 65, "@x.example");
	assert_int_equal(mailbox_list(big, n, note, got), MAILBOX_LONG);
}

static void
every_problem_has_its_words(void **state)
{
	int rc;

	(void)state;
	for (rc = 0; rc < MAILBOX_RCS; rc++)
		assert_true(strlen(mailbox_text((enum mailbox_rc)rc)) > 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(nul),
		cmocka_unit_test(bounds),
		cmocka_unit_test(every_problem_has_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
