/* submitd/smtp_addr.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/smtp_addr.h"

#define A16 "aaaaaaaaaaaaaaaa"
#define A63 A16 A16 A16 "aaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16

/* What most rows allow. */
#define U SMTP_ADDR_ALLOW_UTF8
#define N SMTP_ADDR_ALLOW_NULL
#define P SMTP_ADDR_ALLOW_POSTMASTER

/* clang-format off */
static const struct {
	const char *name;
	const char *arg;
	unsigned allow;
	enum smtp_addr_rc rc;
	const char *text; /* of the address */
	const char *rest; /* behind the path */
} paths[] = {
	/* plain ones */
	{ "plain", "<ann@example.org>", 0, SMTP_ADDR_OK, "ann@example.org", "" },
	{ "parameters follow", "<ann@example.org> SIZE=1", 0, SMTP_ADDR_OK,
	  "ann@example.org", " SIZE=1" },
	{ "blanks before the bracket", "  <ann@example.org>", 0, SMTP_ADDR_OK,
	  "ann@example.org", "" },
	{ "case is kept", "<Ann@Example.ORG>", 0, SMTP_ADDR_OK,
	  "Ann@Example.ORG", "" },
	{ "all of atext", "<!#$%&'*+-/=?^_`{|}~@x.y>", 0, SMTP_ADDR_OK,
	  "!#$%&'*+-/=?^_`{|}~@x.y", "" },
	{ "dots", "<a.b.c@x.y>", 0, SMTP_ADDR_OK, "a.b.c@x.y", "" },
	{ "percent hack is data", "<far%x.y@example.org>", 0, SMTP_ADDR_OK,
	  "far%x.y@example.org", "" },
	{ "bang path is data", "<a!b!c@example.org>", 0, SMTP_ADDR_OK,
	  "a!b!c@example.org", "" },
	{ "underscore in the domain", "<a@my_host.example.org>", 0, SMTP_ADDR_OK,
	  "a@my_host.example.org", "" },
	{ "A-label", "<a@xn--mnchen-3ya.de>", 0, SMTP_ADDR_OK,
	  "a@xn--mnchen-3ya.de", "" },
	{ "digits in a label", "<a@1.example.org>", 0, SMTP_ADDR_OK,
	  "a@1.example.org", "" },

	/* null path, Postmaster, no domain */
	{ "null sender", "<>", N, SMTP_ADDR_OK, "", "" },
	{ "null sender with parameter", "<> RET=HDRS", N, SMTP_ADDR_OK, "",
	  " RET=HDRS" },
	{ "null recipient", "<>", 0, SMTP_ADDR_NULL, "", NULL },
	{ "blank is not null", "< >", N, SMTP_ADDR_SYNTAX, "", NULL },
	{ "Postmaster", "<Postmaster>", P, SMTP_ADDR_OK, "Postmaster", "" },
	{ "postmaster in any case", "<pOSTmaster>", P, SMTP_ADDR_OK,
	  "pOSTmaster", "" },
	{ "Postmaster as sender", "<Postmaster>", N, SMTP_ADDR_UNQUALIFIED,
	  "Postmaster", "" },
	{ "Postmaster with domain", "<Postmaster@example.org>", P, SMTP_ADDR_OK,
	  "Postmaster@example.org", "" },
	{ "not quite Postmaster", "<Postmasters>", P, SMTP_ADDR_UNQUALIFIED,
	  "Postmasters", "" },
	{ "no domain", "<ann>", N | P, SMTP_ADDR_UNQUALIFIED, "ann", "" },
	{ "no dot", "<ann@localhost>", 0, SMTP_ADDR_UNQUALIFIED, "ann@localhost",
	  "" },

	/* brackets */
	{ "no brackets", "ann@example.org", 0, SMTP_ADDR_BRACKETS, "", NULL },
	{ "nothing", "", N, SMTP_ADDR_BRACKETS, "", NULL },
	{ "blanks only", "   ", N, SMTP_ADDR_BRACKETS, "", NULL },
	{ "not closed", "<ann@example.org", 0, SMTP_ADDR_BRACKETS, "", NULL },
	{ "not closed, no domain", "<ann", P, SMTP_ADDR_BRACKETS, "", NULL },
	{ "not opened", "ann@example.org>", 0, SMTP_ADDR_BRACKETS, "", NULL },
	{ "display name", "Ann <ann@example.org>", 0, SMTP_ADDR_BRACKETS, "",
	  NULL },
	{ "doubled", "<<ann@example.org>>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "parameters not closed off", "<ann@example.org SIZE=1", 0,
	  SMTP_ADDR_DOMAIN, "", NULL },

	/* local parts */
	{ "two @ signs", "<a@b@example.org>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "dot first", "<.a@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "dot last", "<a.@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "two dots", "<a..b@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "no local part", "<\"@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "blank in the local part", "<a b@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "comment", "<a(b)@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "list", "<a@x.y,b@x.y>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "control character", "<a\x01@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "local part of 64", "<" A64 "@x.y>", 0, SMTP_ADDR_OK, A64 "@x.y", "" },
	{ "local part of 65", "<" A64 "a@x.y>", 0, SMTP_ADDR_TOO_LONG, "", NULL },

	/* quoted ones */
	{ "needless quotes go", "<\"ann\"@x.y>", 0, SMTP_ADDR_OK, "ann@x.y", "" },
	{ "needless backslash goes", "<\"a\\nn\"@x.y>", 0, SMTP_ADDR_OK,
	  "ann@x.y", "" },
	{ "quotes that are needed", "<\"a b\"@x.y>", 0, SMTP_ADDR_OK,
	  "\"a b\"@x.y", "" },
	{ "@ inside quotes", "<\"a@b\"@x.y>", 0, SMTP_ADDR_OK, "\"a@b\"@x.y", "" },
	{ "> inside quotes", "<\"a>b\"@x.y> X", 0, SMTP_ADDR_OK,
	  "\"a>b\"@x.y", " X" },
	{ "escaped quote and backslash", "<\"a\\\"\\\\b\"@x.y>", 0, SMTP_ADDR_OK,
	  "\"a\\\"\\\\b\"@x.y", "" },
	{ "dot at the end needs quotes", "<\"a.\"@x.y>", 0, SMTP_ADDR_OK,
	  "\"a.\"@x.y", "" },
	{ "empty quotes", "<\"\"@x.y>", 0, SMTP_ADDR_OK, "\"\"@x.y", "" },
	{ "quote not closed", "<\"a@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "ends behind a backslash", "<\"a\\", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "half quoted", "<\"a\"b@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "control character in quotes", "<\"a\x1f\"@x.y>", 0, SMTP_ADDR_SYNTAX,
	  "", NULL },
	{ "tab in quotes", "<\"a\tb\"@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },
	{ "escaped control character", "<\"a\\\x01\"@x.y>", 0, SMTP_ADDR_SYNTAX,
	  "", NULL },
	{ "quoted with 64 in all", "<\" " A16 A16 A16 A16 "\"@x.y>", 0,
	  SMTP_ADDR_TOO_LONG, "", NULL },
	{ "quoted with 64 in all, quotes included",
	  "<\" " A16 A16 A16 "aaaaaaaaaaaaa" "\"@x.y>", 0, SMTP_ADDR_OK,
	  "\" " A16 A16 A16 "aaaaaaaaaaaaa" "\"@x.y", "" },
	{ "64 without their quotes", "<\"" A64 "\"@x.y>", 0, SMTP_ADDR_OK,
	  A64 "@x.y", "" },

	/* domains */
	{ "empty domain", "<a@>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "dot first in the domain", "<a@.x.y>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "final dot", "<a@x.y.>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "two dots in the domain", "<a@x..y>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "hyphen first", "<a@-x.y>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "hyphen last", "<a@x-.y>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "address without brackets", "<a@192.0.2.1>", 0, SMTP_ADDR_DOMAIN, "",
	  NULL },
	{ "colon", "<a@x.y:25>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "label of 63", "<a@" A63 ".y>", 0, SMTP_ADDR_OK, "a@" A63 ".y", "" },
	{ "label of 64", "<a@" A64 ".y>", 0, SMTP_ADDR_DOMAIN, "", NULL },
	{ "254 in all", "<a@" A63 "." A63 "." A63 "." A16 A16 A16 "aaaaaaaaaaaa>",
	  0, SMTP_ADDR_OK,
	  "a@" A63 "." A63 "." A63 "." A16 A16 A16 "aaaaaaaaaaaa", "" },
	{ "255 in all", "<a@" A63 "." A63 "." A63 "." A16 A16 A16 "aaaaaaaaaaaaa>",
	  0, SMTP_ADDR_TOO_LONG, "", NULL },
	{ "domain of 256", "<a@" A63 "." A63 "." A63 "." A63 ".a>", 0,
	  SMTP_ADDR_TOO_LONG, "", NULL },

	/* literals */
	{ "IPv4", "<a@[192.0.2.1]>", 0, SMTP_ADDR_OK, "a@[192.0.2.1]", "" },
	{ "IPv6", "<a@[IPv6:2001:db8::1]>", 0, SMTP_ADDR_OK,
	  "a@[IPv6:2001:db8::1]", "" },
	{ "IPV6 as Thunderbird writes", "<a@[IPV6:2001:DB8::1]>", 0, SMTP_ADDR_OK,
	  "a@[IPv6:2001:DB8::1]", "" },
	{ "mapped", "<a@[IPv6:::ffff:192.0.2.1]>", 0, SMTP_ADDR_OK,
	  "a@[IPv6:::ffff:192.0.2.1]", "" },
	{ "IPv6 without tag", "<a@[2001:db8::1]>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "zone", "<a@[IPv6:fe80::1%eth0]>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "out of range", "<a@[192.0.2.256]>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "three numbers", "<a@[192.0.2]>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "octal", "<a@[192.0.2.010]>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "empty literal", "<a@[]>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "tag only", "<a@[IPv6:]>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "other tag", "<a@[x:y]>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "literal not closed", "<a@[192.0.2.1>", 0, SMTP_ADDR_LITERAL, "", NULL },
	{ "text behind the literal", "<a@[192.0.2.1]x>", 0, SMTP_ADDR_DOMAIN, "",
	  NULL },
	{ "long literal", "<a@[" A64 A64 "]>", 0, SMTP_ADDR_LITERAL, "", NULL },

	/* source routes: RFC 5321 appendix C */
	{ "route", "<@a.b,@c.d:ann@x.y>", 0, SMTP_ADDR_OK, "ann@x.y", "" },
	{ "route of one", "<@a.b:ann@x.y> X", 0, SMTP_ADDR_OK, "ann@x.y", " X" },
	{ "route over a literal", "<@[IPv6:::1]:ann@x.y>", 0, SMTP_ADDR_OK,
	  "ann@x.y", "" },
	{ "route over one label", "<@a:ann@x.y>", 0, SMTP_ADDR_OK, "ann@x.y", "" },
	{ "route to Postmaster", "<@a.b:Postmaster>", P, SMTP_ADDR_OK,
	  "Postmaster", "" },
	{ "route without mailbox", "<@a.b:>", N, SMTP_ADDR_SYNTAX, "", NULL },
	{ "route without colon", "<@a.b>", N, SMTP_ADDR_SYNTAX, "", NULL },
	{ "route with empty hop", "<@a.b,,@c.d:ann@x.y>", 0, SMTP_ADDR_SYNTAX, "",
	  NULL },
	{ "route with mailbox", "<@a.b,c@d.e:ann@x.y>", 0, SMTP_ADDR_SYNTAX, "",
	  NULL },
	{ "two routes", "<@a.b:@c.d:ann@x.y>", 0, SMTP_ADDR_SYNTAX, "", NULL },

	/* UTF-8: RFC 6531 */
	{ "UTF-8 local part", "<j\xc3\xb6rg@x.y>", U, SMTP_ADDR_OK,
	  "j\xc3\xb6rg@x.y", "" },
	{ "UTF-8 domain", "<a@m\xc3\xbcnchen.de>", U, SMTP_ADDR_OK,
	  "a@m\xc3\xbcnchen.de", "" },
	{ "UTF-8 in quotes", "<\"\xc3\xb6 x\"@x.y>", U, SMTP_ADDR_OK,
	  "\"\xc3\xb6 x\"@x.y", "" },
	{ "needless quotes around UTF-8", "<\"\xc3\xb6\"@x.y>", U, SMTP_ADDR_OK,
	  "\xc3\xb6@x.y", "" },
	{ "UTF-8 not asked for", "<j\xc3\xb6rg@x.y>", 0, SMTP_ADDR_NEEDS_UTF8, "",
	  NULL },
	{ "UTF-8 domain not asked for", "<a@m\xc3\xbcnchen.de>", 0,
	  SMTP_ADDR_NEEDS_UTF8, "", NULL },
	{ "UTF-8 in quotes not asked for", "<\"\xc3\xb6\"@x.y>", 0,
	  SMTP_ADDR_NEEDS_UTF8, "", NULL },
	{ "Latin-1", "<j\xf6rg@x.y>", U, SMTP_ADDR_SYNTAX, "", NULL },
	{ "Latin-1 domain", "<a@m\xfcnchen.de>", U, SMTP_ADDR_DOMAIN, "", NULL },
	{ "overlong @", "<a\xc1\x80x.y>", U, SMTP_ADDR_SYNTAX, "", NULL },
	{ "C1 control", "<a\xc2\x85@x.y>", U, SMTP_ADDR_SYNTAX, "", NULL },
	{ "C1 control in the domain", "<a@\xc2\x85.y>", U, SMTP_ADDR_DOMAIN, "",
	  NULL },
	{ "ideographic full stop", "<a@x\xe3\x80\x82y.z>", U, SMTP_ADDR_DOMAIN,
	  "", NULL },
	{ "fullwidth full stop", "<a@x\xef\xbc\x8ey.z>", U, SMTP_ADDR_DOMAIN, "",
	  NULL },
	{ "halfwidth full stop", "<a@x\xef\xbd\xa1y.z>", U, SMTP_ADDR_DOMAIN, "",
	  NULL },
	{ "character cut by the limit", "<" A63 "\xc3\xb6@x.y>", U,
	  SMTP_ADDR_TOO_LONG, "", NULL },
};

static const struct {
	const char *name;
	const char *arg;
	unsigned allow;
	enum smtp_addr_rc rc;
	const char *text;
} mailboxes[] = {
	{ "plain", "ann@example.org", 0, SMTP_ADDR_OK, "ann@example.org" },
	{ "brackets", "<ann@example.org>", 0, SMTP_ADDR_SYNTAX, "" },
	{ "final blank", "ann@example.org ", 0, SMTP_ADDR_DOMAIN, "" },
	{ "blank first", " ann@example.org", 0, SMTP_ADDR_SYNTAX, "" },
	{ "two", "ann@x.y,bo@x.y", 0, SMTP_ADDR_DOMAIN, "" },
	{ "route", "@a.b:ann@x.y", 0, SMTP_ADDR_SYNTAX, "" },
	{ "nothing", "", 0, SMTP_ADDR_NULL, "" },
	{ "nothing where allowed", "", N, SMTP_ADDR_OK, "" },
	{ "no domain", "ann", 0, SMTP_ADDR_UNQUALIFIED, "ann" },
	{ "no domain and a tail", "ann bo", 0, SMTP_ADDR_SYNTAX, "" },
	{ "literal", "ann@[192.0.2.1]", 0, SMTP_ADDR_OK, "ann@[192.0.2.1]" },
};
/* clang-format on */

/* A copy that ends where the text ends, so that ASan sees a byte too many. */
static char *
exact(const char *s, size_t len)
{
	char *p = malloc(len > 0 ? len : 1);

	assert_non_null(p);
	memcpy(p, s, len);
	return p;
}

static void
path(void **state)
{
	struct smtp_addr a;
	enum smtp_addr_rc rc;
	size_t i, len, used;
	char *arg;

	(void)state;
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		len = strlen(paths[i].arg);
		arg = exact(paths[i].arg, len);
		rc = smtp_addr_path(arg, len, paths[i].allow, &a, &used);
		if (rc != paths[i].rc)
			fail_msg("%s: rc %d", paths[i].name, rc);
		if (strcmp(a.text, paths[i].text) != 0 ||
		    a.len != strlen(a.text))
			fail_msg("%s: text %s", paths[i].name, a.text);
		if (paths[i].rest != NULL &&
		    strcmp(paths[i].arg + used, paths[i].rest) != 0)
			fail_msg("%s: used %zu", paths[i].name, used);
		free(arg);
	}
}

static void
mailbox(void **state)
{
	struct smtp_addr a;
	enum smtp_addr_rc rc;
	size_t i, len;
	char *arg;

	(void)state;
	for (i = 0; i < sizeof(mailboxes) / sizeof(mailboxes[0]); i++) {
		len = strlen(mailboxes[i].arg);
		arg = exact(mailboxes[i].arg, len);
		rc = smtp_addr_mailbox(arg, len, mailboxes[i].allow, &a);
		if (rc != mailboxes[i].rc ||
		    strcmp(a.text, mailboxes[i].text) != 0)
			fail_msg(
			    "%s: rc %d, %s", mailboxes[i].name, rc, a.text);
		free(arg);
	}
}

static void
nul_is_no_end(void **state)
{
	static const char hidden[] = "<a@x.y\0.evil.example>";
	static const char literal[] = "<a@[192.0.2.1\0]>";
	struct smtp_addr a;
	size_t used;

	(void)state;
	assert_int_equal(
	    smtp_addr_path(hidden, sizeof(hidden) - 1, 0, &a, &used),
	    SMTP_ADDR_DOMAIN);
	assert_int_equal(
	    smtp_addr_path(literal, sizeof(literal) - 1, 0, &a, &used),
	    SMTP_ADDR_LITERAL);
	assert_int_equal(
	    smtp_addr_mailbox("\"a\0b\"@x.y", 9, 0, &a), SMTP_ADDR_SYNTAX);
}

static void
facts(void **state)
{
	struct smtp_addr a;
	size_t used;

	(void)state;
	smtp_addr_path("<ann@example.org>", 17, 0, &a, &used);
	assert_int_equal(a.local_len, 3);
	assert_false(a.literal || a.utf8);
	smtp_addr_path("<\"a@b\"@[192.0.2.1]>", 19, 0, &a, &used);
	assert_int_equal(a.local_len, 5);
	assert_true(a.literal);
	smtp_addr_path("<a@\xc3\xbc.de>", 9, U, &a, &used);
	assert_true(a.utf8);
	/* only what goes on decides whether the next server needs SMTPUTF8 */
	smtp_addr_path("<@\xc3\xbc.de:a@x.y>", 14, U, &a, &used);
	assert_string_equal(a.text, "a@x.y");
	assert_false(a.utf8);
}

static void
replies(void **state)
{
	static const struct {
		enum smtp_addr_rc rc;
		int mail, rcpt;
		const char *mail_status, *rcpt_status;
	} want[] = {
		{ SMTP_ADDR_OK, 250, 250, "2.1.0", "2.1.5" },
		{ SMTP_ADDR_UNQUALIFIED, 554, 554, "5.1.8", "5.1.2" },
		{ SMTP_ADDR_BRACKETS, 501, 501, "5.1.7", "5.1.3" },
		{ SMTP_ADDR_SYNTAX, 501, 501, "5.1.7", "5.1.3" },
		{ SMTP_ADDR_DOMAIN, 501, 501, "5.1.7", "5.1.3" },
		{ SMTP_ADDR_LITERAL, 501, 501, "5.1.7", "5.1.3" },
		{ SMTP_ADDR_TOO_LONG, 501, 501, "5.1.7", "5.1.3" },
		{ SMTP_ADDR_NEEDS_UTF8, 553, 553, "5.6.7", "5.6.7" },
		{ SMTP_ADDR_NULL, 501, 501, "5.1.7", "5.1.3" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		enum smtp_reply m = smtp_addr_reply(want[i].rc, false);
		enum smtp_reply r = smtp_addr_reply(want[i].rc, true);

		assert_int_equal(smtp_reply_code(m), want[i].mail);
		assert_int_equal(smtp_reply_code(r), want[i].rcpt);
		assert_string_equal(smtp_reply_status(m), want[i].mail_status);
		assert_string_equal(smtp_reply_status(r), want[i].rcpt_status);
	}
}

static void
domain(void **state)
{
	static const char *const rows[][2] = {
		{ "ann@example.org", "example.org" },
		{ "\"a@b\"@example.org", "example.org" },
		{ "\"a\\\"@b\"@example.org", "example.org" },
		{ "ann", "" },
		{ "\"a@b\"", "" },
		{ "\"a@b", "" },
		{ "\"a@b\\", "" },
		{ "", "" },
		{ "ann@", "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(smtp_addr_domain(rows[i][0]), rows[i][1]) != 0)
			fail_msg(
			    "%s: %s", rows[i][0], smtp_addr_domain(rows[i][0]));
}

static void
domain_equal(void **state)
{
	(void)state;
	assert_true(smtp_addr_domain_equal("Example.ORG", "eXample.org"));
	assert_true(smtp_addr_domain_equal("", ""));
	assert_false(smtp_addr_domain_equal("example.org", "example.or"));
	assert_false(smtp_addr_domain_equal("example.or", "example.org"));
	/* only letters fold: @ and ` differ by the same bit */
	assert_false(smtp_addr_domain_equal("a@b", "a`b"));
	assert_false(smtp_addr_domain_equal("[x", "{x"));
	assert_false(smtp_addr_domain_equal("\xc3\x84.de", "\xc3\xa4.de"));
}

static void
ehlo(void **state)
{
	static const struct {
		const char *name, *arg;
		const char *want; /* NULL: refused */
	} rows[] = {
		{ "domain", "laptop.example.org", "laptop.example.org" },
		{ "bare label, Outlook", "LAPTOP7", "LAPTOP7" },
		{ "IPv4, Thunderbird", "[192.168.1.5]", "[192.168.1.5]" },
		{ "IPV6, Thunderbird", "[IPV6:2001:db8::5]",
		    "[IPV6:2001:db8::5]" },
		{ "IPv6", "[IPv6:2001:db8::5]", "[IPv6:2001:db8::5]" },
		{ "address without brackets", "192.168.1.5", "192.168.1.5" },
		{ "underscore", "my_pc", "my_pc" },
		{ "final dot", "pc.", "pc." },
		{ "blank inside", "Ann's PC", "Ann's PC" },
		{ "UTF-8", "j\xc3\xb6rg", "j\xc3\xb6rg" },
		{ "Latin-1", "j\xf6rg", "j\xf6rg" },
		{ "blanks around", "  pc  ", "pc" },
		{ "empty", "", NULL },
		{ "blanks only", "   ", NULL },
		{ "control character",
		    "p\x01"
		    "c",
		    NULL },
		{ "tab", "p\tc", NULL },
		{ "DEL", "pc\x7f", NULL },
		{ "CR", "pc\r", NULL },
		{ "255 bytes", A63 "." A63 "." A63 "." A63,
		    A63 "." A63 "." A63 "." A63 },
		{ "256 bytes", A63 "." A63 "." A63 "." A63 ".", NULL },
	};
	char out[SMTP_DOMAIN_MAX + 1];
	size_t i, len;
	char *arg;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = strlen(rows[i].arg);
		arg = exact(rows[i].arg, len);
		rc = smtp_ehlo_arg(arg, len, out);
		if (rc != (rows[i].want == NULL ? -1 : 0))
			fail_msg("%s: %d", rows[i].name, rc);
		if (strcmp(out, rows[i].want != NULL ? rows[i].want : "") != 0)
			fail_msg("%s: %s", rows[i].name, out);
		free(arg);
	}
	assert_int_equal(smtp_ehlo_arg("p\0c", 3, out), -1);
}

/* Parameters as "KEY=value|KEY|" and how the iteration ended. */
static enum smtp_param_rc
walk(const char *arg, size_t len, bool utf8, char *out, size_t size)
{
	struct smtp_params it;
	struct smtp_param p;
	enum smtp_param_rc rc;
	size_t n = 0;

	out[0] = '\0';
	smtp_params_init(&it, arg, len, utf8);
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
		bool utf8;
		enum smtp_param_rc rc;
		const char *want;
	} rows[] = {
		{ "none", "", 0, SMTP_PARAM_END, "" },
		{ "blanks", "  ", 0, SMTP_PARAM_END, "" },
		{ "one", " SIZE=1", 0, SMTP_PARAM_END, "SIZE=1|" },
		{ "key in any case", " bOdy=8BitMime", 0, SMTP_PARAM_END,
		  "BODY=8BitMime|" },
		{ "first and last letters", " az=AZ AZ9-0=1", 0, SMTP_PARAM_END,
		  "AZ=AZ|AZ9-0=1|" },
		{ "without value", " SMTPUTF8", 0, SMTP_PARAM_END, "SMTPUTF8|" },
		{ "several", " SIZE=1 BODY=7BIT RET=HDRS REQUIRETLS", 0,
		  SMTP_PARAM_END, "SIZE=1|BODY=7BIT|RET=HDRS|REQUIRETLS|" },
		{ "more blanks", "   SIZE=1   RET=FULL  ", 0, SMTP_PARAM_END,
		  "SIZE=1|RET=FULL|" },
		{ "= in a value, Thunderbird's ENVID", " ENVID=<a=b@x>", 0,
		  SMTP_PARAM_END, "ENVID=<a=b@x>|" },
		{ "AUTH=<>", " AUTH=<>", 0, SMTP_PARAM_END, "AUTH=<>|" },
		{ "digits and hyphens", " X-2-Y=1", 0, SMTP_PARAM_END, "X-2-Y=1|" },
		{ "no blank behind the path", "SIZE=1", 0, SMTP_PARAM_SYNTAX, "" },
		{ "twice", " SIZE=1 SIZE=1", 0, SMTP_PARAM_TWICE, "SIZE=1|" },
		{ "twice in another case", " SIZE=1 RET=FULL size", 0,
		  SMTP_PARAM_TWICE, "SIZE=1|RET=FULL|" },
		{ "prefix of another", " SIZE=1 SIZ=1 SIZES=1", 0, SMTP_PARAM_END,
		  "SIZE=1|SIZ=1|SIZES=1|" },
		{ "empty value", " SIZE=", 0, SMTP_PARAM_SYNTAX, "" },
		{ "no key", " =1", 0, SMTP_PARAM_SYNTAX, "" },
		{ "hyphen first", " -X=1", 0, SMTP_PARAM_SYNTAX, "" },
		{ "underscore", " X_Y=1", 0, SMTP_PARAM_SYNTAX, "" },
		{ "control character", " X=a\x01", 0, SMTP_PARAM_SYNTAX, "" },
		{ "tab", " X=a\tY=b", 0, SMTP_PARAM_SYNTAX, "" },
		{ "junk", " <x>", 0, SMTP_PARAM_SYNTAX, "" },
		{ "UTF-8 value", " ORCPT=utf-8;\xc3\xb6@x", 1, SMTP_PARAM_END,
		  "ORCPT=utf-8;\xc3\xb6@x|" },
		{ "UTF-8 value not asked for", " X=\xc3\xb6", 0, SMTP_PARAM_SYNTAX,
		  "" },
		{ "Latin-1 value", " X=\xf6", 1, SMTP_PARAM_SYNTAX, "" },
		{ "C1 control", " X=\xc2\x80", 1, SMTP_PARAM_SYNTAX, "" },
		{ "key of 32", " ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", 0,
		  SMTP_PARAM_END, "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345|" },
		{ "key of 33", " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456", 0,
		  SMTP_PARAM_SYNTAX, "" },
		{ "value of 1024", " X=" V1024, 0, SMTP_PARAM_END, "X=" V1024 "|" },
		{ "value of 1025", " X=" V1024 "a", 0, SMTP_PARAM_SYNTAX, "" },
		{ "24", " A B C D E F G H I J K L M N O P Q R S T U V W X", 0,
		  SMTP_PARAM_END, "A|B|C|D|E|F|G|H|I|J|K|L|M|N|O|P|Q|R|S|T|U|V|W|X|" },
		{ "25", " A B C D E F G H I J K L M N O P Q R S T U V W X Y", 0,
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
		rc = walk(arg, len, rows[i].utf8, out, sizeof(out));
		if (rc != rows[i].rc || strcmp(out, rows[i].want) != 0)
			fail_msg("%s: %d, %s", rows[i].name, rc, out);
		free(arg);
	}
	assert_int_equal(
	    walk(" X=a\0b", 6, false, out, sizeof(out)), SMTP_PARAM_SYNTAX);
}

static void
twice_tells_the_key(void **state)
{
	static const char arg[] = " size=1 SIZE=2";
	struct smtp_params it;
	struct smtp_param p;

	(void)state;
	smtp_params_init(&it, arg, sizeof(arg) - 1, false);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(path),
		cmocka_unit_test(mailbox),
		cmocka_unit_test(nul_is_no_end),
		cmocka_unit_test(facts),
		cmocka_unit_test(replies),
		cmocka_unit_test(domain),
		cmocka_unit_test(domain_equal),
		cmocka_unit_test(ehlo),
		cmocka_unit_test(params),
		cmocka_unit_test(twice_tells_the_key),
		cmocka_unit_test(xtext),
		cmocka_unit_test(orcpt),
		cmocka_unit_test(size_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
