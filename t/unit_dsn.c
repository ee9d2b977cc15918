/* submitd/dsn.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/dsn.h"

#define DATE1 "Mon, 3 Nov 2025 09:05:00 +0100"
#define DATE2 "Mon, 3 Nov 2025 09:05:02 +0100"
#define HEADER                                                                 \
	"Received: from x by y\r\nFrom: <ann@example.org>\r\n"                 \
	"To: bo@example.net\r\n"

static const struct dsn_rcpt bo = {
	.final = "bo@example.net",
	.original = "rfc822;bob@example.com",
	.action = DSN_FAILED,
	.status = "5.1.1",
	.remote_mta = "mx.example.net",
	.diagnostic = "550-5.1.1 No such user\r\n550 5.1.1 here",
	.last_attempt = DATE2,
};

static const struct dsn plain = {
	.host = "mail.example.org",
	.to = "ann@example.org",
	.date = DATE2,
	.message_id = "<1@mail.example.org>",
	.boundary = "b0undary",
	.envid = "QQ314159",
	.arrival = DATE1,
	.queue_id = "0193ab7c00001",
	.contact = "postmaster@example.org",
	.rcpt = &bo,
	.nrcpt = 1,
	.original = HEADER,
	.original_len = sizeof(HEADER) - 1,
};

static char *
build(const struct dsn *d, unsigned *needs)
{
	struct buf out = { 0 };
	unsigned n = dsn_build(d, &out);
	char *s;

	if (needs != NULL)
		*needs = n;
	/* the text has no NUL unless the original has */
	s = xstrndup((char *)buf_head(&out), out.len);
	buf_clear(&out);
	return s;
}

static void
whole_report(void **state)
{
	static const char want[] =
	    "Date: " DATE2 "\r\n"
	    "From: Mail Delivery System <MAILER-DAEMON@mail.example.org>\r\n"
	    "To: <ann@example.org>\r\n"
	    "Subject: Your message could not be delivered\r\n"
	    "Message-ID: <1@mail.example.org>\r\n"
	    "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    " boundary=\"b0undary\"\r\n"
	    "\r\n"
	    "This is a report in MIME format.\r\n"
	    "\r\n"
	    "--b0undary\r\n"
	    "Content-Description: Notification\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "\r\n"
	    "This is the mail server mail.example.org.\r\n"
	    "\r\n"
	    "Your message could not be delivered to the recipients below and will not\r\n"
	    "be tried again. The reason stands with each.\r\n"
	    "\r\n"
	    "  <bo@example.net>\r\n"
	    "      The server mx.example.net answered:\r\n"
	    "      550-5.1.1 No such user 550 5.1.1 here\r\n"
	    "      There is no such mailbox. Check how the address is written.\r\n"
	    "\r\n"
	    "If you need help, ask postmaster@example.org.\r\n"
	    "The message is known here as 0193ab7c00001.\r\n"
	    "A report for programs and the header of your message are attached.\r\n"
	    "\r\n"
	    "--b0undary\r\n"
	    "Content-Description: Delivery report\r\n"
	    "Content-Type: message/delivery-status\r\n"
	    "\r\n"
	    "Reporting-MTA: dns; mail.example.org\r\n"
	    "Original-Envelope-Id: QQ314159\r\n"
	    "Arrival-Date: " DATE1 "\r\n"
	    "\r\n"
	    "Original-Recipient: rfc822; bob@example.com\r\n"
	    "Final-Recipient: rfc822; bo@example.net\r\n"
	    "Action: failed\r\n"
	    "Status: 5.1.1\r\n"
	    "Remote-MTA: dns; mx.example.net\r\n"
	    "Diagnostic-Code: smtp; 550-5.1.1 No such user 550 5.1.1 here\r\n"
	    "Last-Attempt-Date: " DATE2 "\r\n"
	    "Final-Log-ID: 0193ab7c00001\r\n"
	    "\r\n"
	    "--b0undary\r\n"
	    "Content-Description: Header of the original message\r\n"
	    "Content-Type: text/rfc822-headers\r\n"
	    "\r\n" HEADER "\r\n"
	    "--b0undary--\r\n";
	unsigned needs;
	char *s = build(&plain, &needs);

	(void)state;
	assert_string_equal(s, want);
	assert_int_equal(needs, 0);
	free(s);
}

/* clang-format off */
static const struct {
	const char *name;
	struct dsn_rcpt r;
	const char *has[6]; /* what the report has */
	const char *lacks;
} rcpts[] = {
	{ "nothing but the address",
	  { .final = "a@x.y", .action = DSN_FAILED },
	  { "\r\nFinal-Recipient: rfc822; a@x.y\r\nAction: failed\r\n"
	    "Status: 5.0.0\r\nFinal-Log-ID: ", "  <a@x.y>\r\n\r\n" },
	  "answered" },
	{ "delayed",
	  { .final = "a@x.y", .action = DSN_DELAYED, .retry_until = DATE1,
	    .reason = "The server could not be reached." },
	  { "Subject: Your message is delayed\r\n", "Action: delayed\r\n",
	    "Status: 4.0.0\r\n", "Will-Retry-Until: " DATE1 "\r\n",
	    "      The server could not be reached.\r\n",
	    "      It is tried until " DATE1 ".\r\n" }, "could not be delivered" },
	{ "relayed",
	  { .final = "a@x.y", .action = DSN_RELAYED, .status = "2.1.9" },
	  { "Subject: Your message was passed on\r\n", "Action: relayed\r\n",
	    "Status: 2.1.9\r\n" }, "Will-Retry" },
	{ "delivered",
	  { .final = "a@x.y", .action = DSN_DELIVERED },
	  { "Subject: Your message was delivered\r\n", "Action: delivered\r\n",
	    "Status: 2.0.0\r\n" }, NULL },
	{ "expanded",
	  { .final = "a@x.y", .action = DSN_EXPANDED },
	  { "Action: expanded\r\n", "Status: 2.0.0\r\n" }, NULL },
	{ "Will-Retry-Until is for delays only",
	  { .final = "a@x.y", .action = DSN_FAILED, .retry_until = DATE1 },
	  { "Action: failed\r\n" }, "Will-Retry" },
	{ "status is not one",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "5.1.1\r\nX: y" },
	  { "Status: 5.0.0\r\n" }, "X: y" },
	{ "status with four digits",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "5.1.1111" },
	  { "Status: 5.0.0\r\n" }, "5.1.1" },
	{ "status without dots",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "5-1-1" },
	  { "Status: 5.0.0\r\n" }, "5-1" },
	{ "status cut short",
	  { .final = "a@x.y", .action = DSN_DELAYED, .status = "4.2." },
	  { "Status: 4.0.0\r\n" }, "4.2" },
	{ "status of class 3",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "3.1.1" },
	  { "Status: 5.0.0\r\n" }, "3.1.1" },
	{ "expired keeps its 4",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "4.4.7" },
	  { "Status: 4.4.7\r\n" }, NULL },
	{ "advice for a status with more digits",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "5.1.10" },
	  { "This domain takes no mail." }, "no such mailbox" },
	{ "advice for any 5.7",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "5.7.26" },
	  { "by a rule of its own" }, NULL },
	{ "a rule of ours is not the recipient's",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "5.7.0",
	    .remote_mta = "mx.x.y", .reason = "The map demands more" },
	  { "      The map demands more\r\n",
	    "This is a rule of this server." }, "Ask the recipient" },
	{ "advice for 5.7.30",
	  { .final = "a@x.y", .action = DSN_FAILED, .status = "5.7.30" },
	  { "You asked for TLS" }, "by a rule of its own" },
	{ "no advice while it is tried",
	  { .final = "a@x.y", .action = DSN_DELAYED, .status = "4.2.2" },
	  { "Status: 4.2.2\r\n" }, "The mailbox is full" },
	{ "UTF-8 address (RFC 6533)",
	  { .final = "j\xc3\xb6rg+a\\=@\xe2\x82\xac.de", .action = DSN_FAILED,
	    .original = "utf-8;\xf0\x9f\x93\xa7@x.y" },
	  { "Final-Recipient: utf-8; j\\x{F6}rg\\x{2B}a\\x{5C}\\x{3D}@\\x{20AC}.de"
	    "\r\n", "Original-Recipient: utf-8; \\x{1F4E7}@x.y\r\n",
	    "quoted-printable\r\n", "  <j=C3=B6rg+a\\=3D@=E2=82=AC.de>\r\n" },
	  NULL },
	{ "ASCII address of type utf-8",
	  { .final = "a@x.y", .action = DSN_FAILED, .original = "UTF-8;a+b@x.y" },
	  { "Original-Recipient: utf-8; a\\x{2B}b@x.y\r\n" }, NULL },
	{ "address of another type",
	  { .final = "a@x.y", .action = DSN_FAILED, .original = "x400;/C=US/" },
	  { "Original-Recipient: x400; /C=US/\r\n" }, NULL },
	{ "original without type",
	  { .final = "a@x.y", .action = DSN_FAILED, .original = "a@x.y" },
	  { "Action: failed\r\n" }, "Original-Recipient" },
	{ "a server cannot add fields, parts or recipients",
	  { .final = "a@x.y", .action = DSN_FAILED, .remote_mta = "m\r\nA: b",
	    .diagnostic = "550 x\r\n\r\nFinal-Recipient: rfc822; b@x.y\r\n"
	    "\r\n--b0undary\r\nContent-Type: text/html\r\n\r\n<b>",
	    .last_attempt = "x\nB: c" },
	  { "Remote-MTA: dns; m A: b\r\n",
	    "Diagnostic-Code: smtp; 550 x Final-Recipient: rfc822; b@x.y --b0undary\r\n"
	    " Content-Type: text/html <b>\r\n",
	    "Last-Attempt-Date: x B: c\r\n" },
	  "\r\nContent-Type: text/html" },
	{ "a recipient cannot add fields",
	  { .final = "a\r\nB: c@x.y", .original = "rfc822;a\r\nC: d\r\n",
	    .action = DSN_FAILED },
	  { "Final-Recipient: rfc822; a  B: c@x.y\r\n",
	    "Original-Recipient: rfc822; a  C: d  \r\n" }, "\r\nB: c" },
	{ "no 8-bit and no NUL in the diagnostic",
	  { .final = "a@x.y", .action = DSN_FAILED,
	    .diagnostic = "550 \xc3\xb6 \xff \x1b[2J" },
	  { "Diagnostic-Code: smtp; 550 ? ? [2J\r\n",
	    "      550 =C3=B6 ? [2J\r\n" }, NULL },
};
/* clang-format on */

static void
recipients(void **state)
{
	size_t i, j;
	char *s;

	(void)state;
	for (i = 0; i < sizeof(rcpts) / sizeof(rcpts[0]); i++) {
		struct dsn d = plain;

		d.rcpt = &rcpts[i].r;
		s = build(&d, NULL);
		for (j = 0; j < 6 && rcpts[i].has[j] != NULL; j++)
			if (strstr(s, rcpts[i].has[j]) == NULL)
				fail_msg("%s: no \"%s\" in %s", rcpts[i].name,
				    rcpts[i].has[j], s);
		if (rcpts[i].lacks != NULL && strstr(s, rcpts[i].lacks) != NULL)
			fail_msg("%s: \"%s\" in %s", rcpts[i].name,
			    rcpts[i].lacks, s);
		free(s);
	}
}

static void
several_recipients(void **state)
{
	struct dsn_rcpt r[] = {
		{ .final = "a@x.y", .action = DSN_RELAYED },
		{ .final = "b@x.y", .action = DSN_DELAYED },
		{ .final = "c@x.y", .action = DSN_FAILED },
		{ .final = "d@x.y", .action = DSN_RELAYED },
	};
	struct dsn d = plain;
	const char *a, *b, *c, *e;
	char *s;

	(void)state;
	d.rcpt = r;
	d.nrcpt = 4;
	s = build(&d, NULL);
	/* the worst gives the subject and comes first in the text */
	assert_non_null(strstr(s, "Subject: Your message could not be"));
	a = strstr(s, "  <a@x.y>");
	b = strstr(s, "  <b@x.y>");
	c = strstr(s, "  <c@x.y>");
	e = strstr(s, "  <d@x.y>");
	assert_true(c != NULL && b > c && a > b && e > a);
	/* the status part keeps their order */
	a = strstr(s, "\r\n\r\nFinal-Recipient: rfc822; a@x.y");
	b = strstr(s, "\r\n\r\nFinal-Recipient: rfc822; b@x.y");
	c = strstr(s, "\r\n\r\nFinal-Recipient: rfc822; c@x.y");
	assert_true(a != NULL && b > a && c > b);
	free(s);
	/* without the failure the delay is the worst */
	r[2].action = DSN_RELAYED;
	s = build(&d, NULL);
	assert_non_null(strstr(s, "Subject: Your message is delayed"));
	free(s);
}

/* clang-format off */
static const struct {
	const char *name;
	const char *original;
	size_t len;
	bool full, utf8;
	unsigned needs;
	const char *part; /* the third, behind its description */
} originals[] = {
#define S(s) s, sizeof(s) - 1
	{ "header", S("A: b\r\n"), 0, 0, 0,
	  "Content-Type: text/rfc822-headers\r\n\r\nA: b\r\n" },
	{ "8-bit header", S("A: \xe4=\r\n"), 0, 0, 0,
	  "Content-Type: text/rfc822-headers\r\n"
	  "Content-Transfer-Encoding: quoted-printable\r\n\r\nA: =E4=3D\r\n" },
	{ "UTF-8 header", S("A: \xc3\xb6\r\n"), 0, 1, 0,
	  "Content-Type: message/global-headers\r\n"
	  "Content-Transfer-Encoding: quoted-printable\r\n\r\nA: =C3=B6\r\n" },
	{ "header not ended", S("A: b"), 0, 0, 0,
	  "Content-Type: text/rfc822-headers\r\n\r\nA: b\r\n" },
	{ "no header", S(""), 0, 0, 0,
	  "Content-Type: text/rfc822-headers\r\n\r\n\r\n" },
	{ "blank at the end of an 8-bit line", S("A: \xe4 \r\nB: \t\r\n"), 0, 0, 0,
	  "Content-Type: text/rfc822-headers\r\n"
	  "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
	  "A: =E4=20\r\nB: =09\r\n" },
	{ "bare line ends", S("A: b\nC: d\r"), 0, 0, 0,
	  "Content-Type: text/rfc822-headers\r\n"
	  "Content-Transfer-Encoding: quoted-printable\r\n\r\nA: b=0AC: d=0D\r\n" },
	{ "control characters", S("A: \x1b[2J\r\n"), 0, 0, 0,
	  "Content-Type: text/rfc822-headers\r\n"
	  "Content-Transfer-Encoding: quoted-printable\r\n\r\nA: =1B[2J\r\n" },
	{ "message", S("A: b\r\n\r\nc\r\n"), 1, 0, 0,
	  "Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nc\r\n" },
	{ "8-bit message", S("A: b\r\n\r\n\xe4\r\n"), 1, 0, DSN_NEEDS_8BIT,
	  "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n"
	  "\r\nA: b\r\n\r\n\xe4\r\n" },
	{ "UTF-8 message", S("A: \xc3\xb6\r\n\r\nc\r\n"), 1, 1, DSN_NEEDS_8BIT,
	  "Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n"
	  "\r\nA: \xc3\xb6\r\n\r\nc\r\n" },
};
/* clang-format on */

static void
original(void **state)
{
	char *s, *part;
	size_t i, n;
	unsigned needs;

	(void)state;
	for (i = 0; i < sizeof(originals) / sizeof(originals[0]); i++) {
		struct dsn d = plain;

		d.original = originals[i].original;
		d.original_len = originals[i].len;
		d.full = originals[i].full;
		d.utf8 = originals[i].utf8;
		s = build(&d, &needs);
		part = strstr(s,
		    d.full ? "Content-Description: Original message\r\n"
			   : "Content-Description: Header of the original "
			     "message\r\n");
		assert_non_null(part);
		part = strstr(part, "\r\n") + 2;
		n = strlen(originals[i].part);
		if (strncmp(part, originals[i].part, n) != 0 ||
		    strcmp(part + n, "\r\n--b0undary--\r\n") != 0)
			fail_msg("%s: %s", originals[i].name, part);
		if (needs != originals[i].needs)
			fail_msg("%s: needs %u", originals[i].name, needs);
		free(s);
	}
}

/* Encoded lines are of 76 bytes where there is enough text, and never more. */
static void
quoted_lines(void **state)
{
	char text[2000], *s, *p, *nl;
	struct dsn d = plain;
	size_t longest = 0, n;

	(void)state;
	memset(text, 'a', sizeof(text));
	for (n = 0; n < 20; n++)
		text[n * 99] = '\xe4';
	d.original = text;
	d.original_len = sizeof(text);
	s = build(&d, NULL);
	p = strstr(s, "quoted-printable\r\n\r\n");
	assert_non_null(p);
	for (p += 20; *p != '\0'; p = nl + 2) {
		nl = strstr(p, "\r\n");
		assert_non_null(nl);
		n = (size_t)(nl - p);
		longest = n > longest ? n : longest;
	}
	assert_int_equal(longest, 76);
	free(s);
}

static void
utf8_sender(void **state)
{
	struct dsn d = plain;
	unsigned needs;
	char *s;

	(void)state;
	d.to = "j\xc3\xb6rg@x.y\r\nBcc: z";
	s = build(&d, &needs);
	assert_non_null(strstr(s, "\r\nTo: <j\xc3\xb6rg@x.y  Bcc: z>\r\n"));
	assert_int_equal(needs, DSN_NEEDS_UTF8 | DSN_NEEDS_8BIT);
	free(s);
	d.to = "ann@x.y";
	d.from = "postmaster@x.y";
	s = build(&d, &needs);
	assert_non_null(strstr(s,
	    "\r\nFrom: Mail Delivery System "
	    "<postmaster@x.y>\r\n"));
	assert_int_equal(needs, 0);
	free(s);
}

/* However long and odd the strings are: 7-bit, CRLF, 998 bytes at most. */
static void
lines_are_safe(void **state)
{
	static const char *const fills[] = { "a", "a b", "\xc3\xb6", "\xff",
		"\r\n", " ", "\xe2\x82\xac ", "\\", "--b0undary\r\n", "=" };
	struct dsn_rcpt r = { .action = DSN_DELAYED };
	struct dsn d = plain;
	char big[6000], orcpt[6100], *s, *p, *nl;
	size_t i, n;
	unsigned needs;

	(void)state;
	d.rcpt = &r;
	for (i = 0; i < sizeof(fills) / sizeof(fills[0]); i++) {
		for (n = 0; n + strlen(fills[i]) < sizeof(big);
		     n += strlen(fills[i]))
			memcpy(big + n, fills[i], strlen(fills[i]));
		big[n] = '\0';
		strcpy(orcpt, "rfc822;");
		strcat(orcpt, big);
		r.final = r.remote_mta = r.diagnostic = r.reason =
		    r.last_attempt = r.retry_until = big;
		r.original = orcpt;
		d.envid = d.arrival = d.queue_id = d.contact = d.host = big;
		d.original = big;
		d.original_len = n;
		s = build(&d, &needs);
		assert_int_equal(needs, 0);
		/* From carries the host as it is */
		for (p = strstr(s, "\r\nTo: ") + 2; *p != '\0'; p = nl + 2) {
			nl = strstr(p, "\r\n");
			assert_non_null(nl);
			if (nl - p > 998)
				fail_msg(
				    "fill %zu: a line of %zd bytes", i, nl - p);
			for (; p < nl; p++)
				if ((unsigned char)*p >= 0x7f ||
				    (*p < ' ' && *p != '\t'))
					fail_msg("fill %zu: byte %02x", i,
					    (unsigned char)*p);
		}
		free(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_report),
		cmocka_unit_test(recipients),
		cmocka_unit_test(several_recipients),
		cmocka_unit_test(original),
		cmocka_unit_test(quoted_lines),
		cmocka_unit_test(utf8_sender),
		cmocka_unit_test(lines_are_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
