/* submitd/tlsname.c: who asks for which name is shown which certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/tlsname.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

enum { NAMES = 6 };
#define R TLSNAME_RSA
#define E TLSNAME_EC

struct cert {
	enum tlsname_kind kind;
	const char *name[NAMES];
};

/* clang-format off */
static const struct cert certs[] = {
	{ R, { "mail.example.org", "Example.ORG" } },          /* 0 */
	{ E, { "mail.example.org" } },                         /* 1 */
	{ R, { "*.example.net", "example.net" } },             /* 2 */
	{ E, { "*.example.net" } },                            /* 3 */
	{ E, { "smtp.example.net" } },                         /* 4 */
	{ R, { "mail.example.org", "late.example.org" } },     /* 5 */
	{ R, { "f*.example.com", "*", "*.", "x.*.example.com",
	       "*.*.example.com" } },                          /* 6 */
};

static const struct {
	const char *name, *host;
	int rsa, ec;
} rows[] = {
	{ "a name of two kinds of key", "mail.example.org", 0, 1 },
	{ "of equals the first", "late.example.org", 5, -1 },
	{ "letters of any case", "MAIL.Example.Org", 0, 1 },
	{ "letters of any case in the certificate", "example.org", 0, -1 },
	{ "a dot at the end", "mail.example.org.", 0, 1 },
	{ "a star is one label", "a.example.net", 2, 3 },
	{ "a star is no two labels", "a.b.example.net", 0, 1 },
	{ "a star is not nothing", "example.net", 2, -1 },
	{ "the name itself before a star, by kind", "smtp.example.net", 2, 4 },
	{ "a dot is no name before a star", ".example.net", 0, 1 },
	{ "a star is nobody's name", "*.example.net", 0, 1 },
	{ "a star inside a label is none", "fox.example.com", 0, 1 },
	{ "a star alone is none", "localhost", 0, 1 },
	{ "stars elsewhere are none", "x.y.example.com", 0, 1 },
	{ "no name: the first", NULL, 0, 1 },
	{ "an empty name", "", 0, 1 },
	{ "a dot", ".", 0, 1 },
	{ "an unknown name", "example.com", 0, 1 },
	{ "an address", "192.0.2.1", 0, 1 },
	{ "a name with a blank", "mail.example.org ", 0, 1 },
};
/* clang-format on */

static void
add(struct tlsname *t, int n, const struct cert *c)
{
	tlsname_add(t, n, c->kind, NULL, 0);
	for (size_t i = 0; i < NAMES && c->name[i] != NULL; i++)
		tlsname_add(t, n, c->kind, c->name[i], strlen(c->name[i]));
}

static void
who_gets_what(void **state)
{
	struct tlsname *t = tlsname_new();
	const struct tlsname_pick *p;
	size_t i;

	(void)state;
	for (i = 0; i < N(certs); i++)
		add(t, (int)i, &certs[i]);
	tlsname_seal(t);
	for (i = 0; i < N(rows); i++) {
		p = tlsname_find(t, rows[i].host);
		if (p->of[R] != rows[i].rsa || p->of[E] != rows[i].ec ||
		    p->of[TLSNAME_ED25519] != -1)
			fail_msg("%s: %d %d", rows[i].name, p->of[R], p->of[E]);
	}
	tlsname_free(&t);
	assert_null(t);
}

/* The first has no names at all: it still stands for itself. */
static void
first_without_names(void **state)
{
	static const struct cert two[] = { { R, { NULL } },
		{ E, { "example.org" } } };
	struct tlsname *t = tlsname_new();
	const struct tlsname_pick *p;

	(void)state;
	add(t, 0, &two[0]);
	add(t, 1, &two[1]);
	tlsname_seal(t);
	p = tlsname_find(t, "other.example");
	assert_int_equal(p->of[R], 0);
	assert_int_equal(p->of[E], -1);
	p = tlsname_find(t, "example.org");
	assert_int_equal(p->of[R], -1);
	assert_int_equal(p->of[E], 1);
	tlsname_free(&t);
}

/* Each pick that a name can lead to is told, so that it can be prepared. */
static void
all_picks_are_told(void **state)
{
	struct tlsname *t = tlsname_new();
	const struct tlsname_pick *p, *q;
	size_t i, n;

	(void)state;
	for (i = 0; i < N(certs); i++)
		add(t, (int)i, &certs[i]);
	tlsname_seal(t);
	for (i = 0; i < N(rows); i++) {
		p = tlsname_find(t, rows[i].host);
		for (n = 0; (q = tlsname_pick(t, n)) != NULL; n++)
			if (memcmp(p, q, sizeof(*p)) == 0)
				break;
		assert_non_null(q);
	}
	tlsname_free(&t);
}

/* A name of a length that no host can have. */
static void
long_names(void **state)
{
	struct tlsname *t = tlsname_new();
	char name[300], label[255];

	(void)state;
	memset(name, 'a', sizeof(name));
	memset(label, 'b', sizeof(label) - 1);
	label[sizeof(label) - 1] = '\0';
	tlsname_add(t, 0, R, NULL, 0);
	tlsname_add(t, 0, R, name, sizeof(name));
	tlsname_add(t, 0, R, "\0evil", 5);
	tlsname_seal(t);
	assert_int_equal(tlsname_find(t, label)->of[R], 0);
	assert_null(tlsname_pick(t, 1));
	tlsname_free(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_gets_what),
		cmocka_unit_test(first_without_names),
		cmocka_unit_test(all_picks_are_told),
		cmocka_unit_test(long_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
