/* auth/certname.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/certname.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define A10  "aaaaaaaaaa"
#define A50  A10 A10 A10 A10 A10
#define A250 A50 A50 A50 A50 A50

/* A value with its length, for NUL octets in it. */
#define V(s) (const unsigned char *)(s), sizeof(s) - 1

/* clang-format off */
static const struct {
	const char *name;
	struct certname_attr attr[4];
	size_t n;
	const char *dn, *cn;
	unsigned int bits;
} rows[] = {
	{ "empty name", { { 0 } }, 0, "", "BadCertificateUnknown", 0 },
	{ "plain", { { 0, "C", V("US") }, { 1, "CN", V("ann") } }, 2,
	  "/C=US/CN=ann", "ann", 0 },
	{ "several in one RDN", { { 0, "O", V("x") }, { 0, "CN", V("ann") } }, 2,
	  "/O=x+2BCN=ann", "ann", 0 },
	{ "dotted OID", { { 0, "1.2.3", V("x") } }, 1, "/1.2.3=x",
	  "BadCertificateUnknown", 0 },
	{ "the first CN counts", { { 0, "CN", V("a") }, { 1, "CN", V("b") } }, 2,
	  "/CN=a/CN=b", "a", 0 },
	{ "no CN in another's clothes", { { 0, "cn", V("a") } }, 1, "/cn=a",
	  "BadCertificateUnknown", 0 },
	{ "empty value", { { 0, "CN", V("") } }, 1, "/CN=", "", 0 },
	{ "slash cannot start an attribute", { { 0, "O", V("x/CN=a") } }, 1,
	  "/O=x+5C/CN=a", "BadCertificateUnknown", 0 },
	{ "plus", { { 0, "CN", V("joe+a") } }, 1, "/CN=joe+5C+2Ba", "joe+2Ba",
	  0 },
	{ "backslash is not doubled", { { 0, "CN", V("a\\b") } }, 1,
	  "/CN=a+5Cb", "a+5Cb", 0 },
	{ "backslash at the end", { { 0, "O", V("x\\") }, { 1, "CN", V("a") } },
	  2, "/O=x+5C/CN=a", "a", CERTNAME_BACKSLASH },
	{ "the escaped set", { { 0, "CN", V(" ()<>\"!~") } }, 1,
	  "/CN=+20+28+29+3C+3E+22!~", "+20+28+29+3C+3E+22!~", 0 },
	{ "UTF-8", { { 0, "CN", V("\xc3\xa9") } }, 1, "/CN=+5CxC3+5CxA9",
	  "+C3+A9", 0 },
	{ "control characters", { { 0, "CN", V("\x01\x1f\x7f") } }, 1,
	  "/CN=+5Cx01+5Cx1F+5Cx7F", "+01+1F+7F", 0 },
	{ "NUL", { { 0, "CN", V("a\0b") } }, 1, "/CN=a+5Cx00b",
	  "BadCertificateContainsNUL", CERTNAME_NUL },
	{ "NUL elsewhere", { { 0, "O", V("a\0b") }, { 1, "CN", V("c") } }, 2,
	  "/O=a+5Cx00b/CN=c", "c", CERTNAME_NUL },
	{ "255 characters fit", { { 0, "CN", V(A250 "a") } }, 1,
	  "/CN=" A250 "a", A250 "a", 0 },
	{ "256 do not", { { 0, "CN", V(A250 "ab") } }, 1, "", A250 "ab",
	  CERTNAME_CUT },
	{ "CN of 254 octets", { { 0, "CN", V(A250 "abcd") } }, 1, "",
	  A250 "abcd", CERTNAME_CUT },
	{ "CN of 255 octets", { { 0, "CN", V(A250 "abcde") } }, 1, "",
	  "BadCertificateTooLong", CERTNAME_CUT },
	{ "too long before NUL", { { 0, "CN", V(A250 "abcd\0") } }, 1, "",
	  "BadCertificateTooLong", CERTNAME_CUT | CERTNAME_NUL },
	{ "what follows is left out too",
	  { { 0, "O", V("x") }, { 1, "OU", V(A250) }, { 2, "C", V("US") } }, 3,
	  "/O=x", "BadCertificateUnknown", CERTNAME_CUT },
	{ "an octet that needs four is not cut",
	  { { 0, "CN", V(A50 A50 A50 A50 A10 A10 A10 A10 "aaaaaaa\xff") } }, 1,
	  "/CN=" A50 A50 A50 A50 A10 A10 A10 A10 "aaaaaaa+5CxFF",
	  A50 A50 A50 A50 A10 A10 A10 A10 "aaaaaaa+FF", 0 },
	{ "and left out where it does not fit",
	  { { 0, "CN", V(A50 A50 A50 A50 A10 A10 A10 A10 "aaaaaaa\xff") },
	    { 1, "O", V("") } }, 2,
	  "/CN=" A50 A50 A50 A50 A10 A10 A10 A10 "aaaaaaa+5CxFF",
	  A50 A50 A50 A50 A10 A10 A10 A10 "aaaaaaa+FF", CERTNAME_CUT },
};
/* clang-format on */

static void
table(void **state)
{
	char text[CERTNAME_SIZE];

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		unsigned int bits = certname_dn(rows[i].attr, rows[i].n, text);

		if (strcmp(text, rows[i].dn) != 0)
			fail_msg("%s: %s", rows[i].name, text);
		if (bits != rows[i].bits)
			fail_msg("%s: bits %u", rows[i].name, bits);
		certname_cn(rows[i].attr, rows[i].n, text);
		if (strcmp(text, rows[i].cn) != 0)
			fail_msg("%s: CN %s", rows[i].name, text);
	}
}

/* The longest results there can be stay inside of CERTNAME_SIZE. */
static void
longest(void **state)
{
	unsigned char value[CERTNAME_LINE_MAX];
	struct certname_attr a = { 0, "CN", value, 254 };
	char *out = malloc(CERTNAME_SIZE);

	(void)state;
	assert_non_null(out);
	memset(value, 0xff, sizeof(value));
	certname_cn(&a, 1, out);
	assert_int_equal(strlen(out), 3 * 254);
	memset(value, '"', sizeof(value));
	a.len = CERTNAME_LINE_MAX - 4;
	assert_int_equal(certname_dn(&a, 1, out), 0);
	assert_int_equal(strlen(out), 4 + 3 * (CERTNAME_LINE_MAX - 4));
	free(out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
