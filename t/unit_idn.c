/* submitd/idn.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "submitd/idn.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TEN      "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
#define FIFTY    TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct row {
	const char *name, *in, *out; /* NULL: refused */
} domains[] = {
	/* clang-format off */
	{ "ASCII stays, its case too", "Mail.Example.ORG", "Mail.Example.ORG" },
	{ "an underscore of ASCII stays", "a_b.example", "a_b.example" },
	{ "an address literal stays", "[IPv6:2001:db8::1]",
	    "[IPv6:2001:db8::1]" },
	{ "a U-label", "b\xc3\xbc" "cher.example", "xn--bcher-kva.example" },
	{ "mapped to small letters", "B\xc3\x9c" "CHER.Example",
	    "xn--bcher-kva.example" },
	{ "sharp s is a letter of its own", "fa\xc3\x9f.example",
	    "xn--fa-hia.example" },
	{ "composed first", "bu\xcc\x88" "cher.example",
	    "xn--bcher-kva.example" },
	{ "the ideographic full stop",
	    "\xe4\xbe\x8b\xe3\x81\x88\xe3\x80\x82\xe3\x83\x86\xe3\x82\xb9"
	    "\xe3\x83\x88", "xn--r8jz45g.xn--zckzah" },
	{ "A-labels beside U-labels", "xn--bcher-kva.\xc3\xbc.example",
	    "xn--bcher-kva.xn--tda.example" },
	{ "no letter", "\xe2\x98\x83.example", NULL },
	{ "a joiner out of place", "a\xe2\x80\x8d" "b.example", NULL },
	{ "an empty label", "\xc3\xbc..example", NULL },
	{ "an empty label last", "\xc3\xbc.example.", NULL },
	{ "a blank", "\xc3\xbc b.example", NULL },
	{ "a hyphen first", "-\xc3\xbc.example", NULL },
	{ "not UTF-8", "\xff.example", NULL },
	{ "a label too long", FIFTY FIFTY ".example", NULL },
	/* clang-format on */
};

static const struct row mailboxes[] = {
	/* clang-format off */
	{ "the null reverse-path", "", "" },
	{ "ASCII", "Ann@Example.org", "Ann@Example.org" },
	{ "the domain only", "ann@b\xc3\xbc" "cher.example",
	    "ann@xn--bcher-kva.example" },
	{ "a quoted local part with an at sign",
	    "\"a@b\"@b\xc3\xbc" "cher.example",
	    "\"a@b\"@xn--bcher-kva.example" },
	{ "the local part is no domain", "\xc3\xbc@example.org", NULL },
	{ "neither part is ASCII", "\xc3\xbc@\xc3\xbc.example", NULL },
	{ "no name behind the at sign", "ann@\xe2\x98\x83.example", NULL },
	/* clang-format on */
};

static void
check(const struct row *r, bool done, const char *out)
{
	if (done != (r->out != NULL))
		fail_msg("%s: %s", r->name, done ? out : "refused");
	if (done && strcmp(out, r->out) != 0)
		fail_msg("%s: %s", r->name, out);
}

static void
domain_names(void **state)
{
	char out[IDN_DOMAIN_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(domains); i++)
		check(&domains[i], idn_domain(domains[i].in, out), out);
}

static void
mailbox_names(void **state)
{
	char out[IDN_MAILBOX_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(mailboxes); i++)
		check(&mailboxes[i], idn_mailbox(mailboxes[i].in, out), out);
}

/* 255 bytes fit, also when they have become longer. */
static void
lengths(void **state)
{
	char in[400] = "", out[IDN_DOMAIN_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < 63; i++)
		strcat(in, "a12.");
	strcat(in, "abc");
	assert_int_equal(strlen(in), 255);
	assert_true(idn_domain(in, out));
	strcat(in, "d");
	assert_false(idn_domain(in, out));
	in[0] = '\0';
	for (i = 0; i < 40; i++)
		strcat(in, "\xc3\xbc.");
	strcat(in, "x");
	assert_false(idn_domain(in, out)); /* 40 times xn--tda. */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(domain_names),
		cmocka_unit_test(mailbox_names),
		cmocka_unit_test(lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
