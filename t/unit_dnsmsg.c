/* Tests of submitd/dnsmsg.c: answers, compression, malformed messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/dnsmsg.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(s) s, sizeof(s) - 1

/* Header: no error, one question, n answers. */
#define HEAD(n)  "\x12\x34\x81\x80\0\1\0" n "\0\0\0\0"
#define QUESTION "\4mail\4test\0\0\1\0\1"
#define RR(type) "\xc0\x0c\0" type "\0\1\0\0\0\x3c"

static void
join(void *arg, const char *text)
{
	char *out = arg;

	strcat(out, text);
	strcat(out, " ");
}

static const struct row {
	const char *name, *msg;
	size_t len;
	enum dns_type type;
	int rcode;
	const char *found;
} rows[] = {
	/* clang-format off */
	{ "one address", BYTES(HEAD("\1") QUESTION RR("\1")
	    "\0\4\300\0\2\1"), DNS_A, 0, "192.0.2.1 " },
	{ "two addresses", BYTES(HEAD("\2") QUESTION RR("\1")
	    "\0\4\300\0\2\1" RR("\1") "\0\4\300\0\2\2"), DNS_A, 0,
	    "192.0.2.1 192.0.2.2 " },
	{ "other types are passed over", BYTES(HEAD("\2") QUESTION RR("\5")
	    "\0\2\xc0\x0c" RR("\1") "\0\4\300\0\2\2"), DNS_A, 0,
	    "192.0.2.2 " },
	{ "another class is passed over", BYTES(HEAD("\1") QUESTION
	    "\xc0\x0c\0\1\0\3\0\0\0\0\0\4\1\2\3\4"), DNS_A, 0, "" },
	{ "IPv6", BYTES(HEAD("\1") QUESTION RR("\x1c")
	    "\0\x10\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), DNS_AAAA, 0,
	    "2001:db8::1 " },
	{ "an address of a wrong length", BYTES(HEAD("\1") QUESTION RR("\1")
	    "\0\3\1\2\3"), DNS_A, 0, "" },
	{ "a name", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\x0b\4Host\4test\0"), DNS_PTR, 0, "host.test " },
	{ "a compressed name", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\4\1a\xc0\x0c"), DNS_PTR, 0, "a.mail.test " },
	{ "the root is no host name", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\1\0"), DNS_PTR, 0, "" },
	{ "a name with a blank", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\5\3a b\0"), DNS_PTR, 0, "" },
	{ "a name with a line end", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\4\2a\n\0"), DNS_PTR, 0, "" },
	{ "a dot inside a label", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\5\3a.b\0"), DNS_PTR, 0, "" },
	{ "a name that looks like an address", BYTES(HEAD("\1") QUESTION
	    RR("\x0c") "\0\x0a\2" "10\1" "1\1" "2\1" "3\0"), DNS_PTR, 0, "" },
	{ "a number alone", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\4\2" "10\0"), DNS_PTR, 0, "" },
	{ "a number before a name", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\7\2" "10\2" "a1\0"), DNS_PTR, 0, "10.a1 " },
	{ "a pointer to itself", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\2\xc0\x27"), DNS_PTR, 0, "" },
	{ "a pointer past the end", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\2\xff\xff"), DNS_PTR, 0, "" },
	{ "a label past the end", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\2\77a"), DNS_PTR, 0, "" },
	{ "no final root", BYTES(HEAD("\1") QUESTION RR("\x0c")
	    "\0\2\1a"), DNS_PTR, 0, "" },
	{ "NXDOMAIN", BYTES("\0\0\x81\x83\0\1\0\0\0\0\0\0" QUESTION), DNS_A,
	    DNS_NXDOMAIN, "" },
	{ "SERVFAIL", BYTES("\0\0\x81\x82\0\1\0\0\0\0\0\0" QUESTION), DNS_A,
	    DNS_SERVFAIL, "" },
	{ "no bytes", BYTES(""), DNS_A, -1, "" },
	{ "half a header", BYTES("\0\0\x81\x80\0\1"), DNS_A, -1, "" },
	{ "more questions than there are", BYTES(
	    "\0\0\x81\x80\0\2\0\0\0\0\0\0" QUESTION), DNS_A, -1, "" },
	{ "more answers than there are", BYTES(HEAD("\2") QUESTION RR("\1")
	    "\0\4\300\0\2\1"), DNS_A, -1, "192.0.2.1 " },
	{ "data past the end", BYTES(HEAD("\1") QUESTION RR("\1")
	    "\0\5\300\0\2\1"), DNS_A, -1, "" },
	{ "a label of a reserved kind", BYTES(HEAD("\0")
	    "\x80mail\0\0\1\0\1"), DNS_A, -1, "" },
	/* clang-format on */
};

static void
answers(void **state)
{
	char found[256];
	unsigned char *exact;
	size_t i;
	int rcode;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		const struct row *r = &rows[i];

		exact = malloc(r->len + 1); /* sanitizers see its end */
		memcpy(exact, r->msg, r->len);
		found[0] = '\0';
		rcode = dnsmsg_answers(exact, r->len, r->type, join, found);
		free(exact);
		if (rcode != r->rcode || strcmp(found, r->found) != 0)
			fail_msg("%s: %d \"%s\"", r->name, rcode, found);
	}
}

static void
count(void *arg, const char *text)
{
	(void)text;
	++*(int *)arg;
}

static void
records_are_bounded(void **state)
{
	static const char rr[] = "\0\0\1\0\1\0\0\0\0\0\4\1\2\3\4";
	unsigned char msg[12 + 200 * (sizeof(rr) - 1)] = { [6] = 0, [7] = 200 };
	int i, n = 0;

	(void)state;
	for (i = 0; i < 200; i++)
		memcpy(msg + 12 + (size_t)i * (sizeof(rr) - 1), rr,
		    sizeof(rr) - 1);
	assert_int_equal(dnsmsg_answers(msg, sizeof(msg), DNS_A, count, &n), 0);
	assert_int_equal(n, DNSMSG_RECORDS);
}

/* A name of 255 octets is the longest there is; a longer one is dropped. */
static void
long_names(void **state)
{
	unsigned char msg[600];
	char found[600];
	size_t labels, len, i;

	(void)state;
	for (labels = 3; labels <= 5; labels++) {
		memset(msg, 0, sizeof(msg));
		memcpy(msg, "\0\0\x81\x80\0\0\0\1\0\0\0\0", 12);
		memcpy(msg + 12, "\0\0\x0c\0\1\0\0\0\0", 9);
		len = 12 + 9;
		msg[len++] = (unsigned char)((labels * 64 + 1) >> 8);
		msg[len++] = (unsigned char)(labels * 64 + 1);
		for (i = 0; i < labels; i++) {
			msg[len++] = 63;
			memset(msg + len, 'a', 63);
			len += 63;
		}
		msg[len++] = 0;
		found[0] = '\0';
		assert_int_equal(
		    dnsmsg_answers(msg, len, DNS_PTR, join, found), 0);
		assert_int_equal(strlen(found), labels == 3 ? 3 * 64 : 0);
	}
}

static void
reverse_names(void **state)
{
	char out[DNSMSG_REVERSE];

	(void)state;
	assert_int_equal(dnsmsg_reverse("192.0.2.1", out, sizeof(out)), 0);
	assert_string_equal(out, "1.2.0.192.in-addr.arpa");
	assert_int_equal(dnsmsg_reverse("2001:db8::567", out, sizeof(out)), 0);
	assert_string_equal(out,
	    "7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
	    ".ip6.arpa");
	assert_int_equal(dnsmsg_reverse("mail.test", out, sizeof(out)), -1);
	assert_int_equal(dnsmsg_reverse("fe80::1%eth0", out, sizeof(out)), -1);
	assert_int_equal(dnsmsg_reverse("", out, sizeof(out)), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(records_are_bounded),
		cmocka_unit_test(long_names),
		cmocka_unit_test(reverse_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
