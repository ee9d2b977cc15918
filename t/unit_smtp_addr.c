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
		{ SMTP_ADDR_NEEDS_UTF8, 550, 553, "5.6.7", "5.6.7" },
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
