/* submitd/authors.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/authors.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* Fields as "id value" lines, and what is read of their list: "field address"
 * or "field !" where something is wrong. own: all are ann@x.example. */
/* clang-format off */
static const struct {
	const char *name;
	struct { enum header_id id; const char *value; } f[4];
	const char *want;
	bool own;
} rows[] = {
	{ "own", { { HEADER_FROM, " Ann <ann@x.example>\r\n" } }, "From ann@x.example|", true },
	{ "own in capitals", { { HEADER_FROM, "ANN@X.example" } }, "From ANN@X.example|", true },
	{ "another", { { HEADER_FROM, "bo@x.example" } }, "From bo@x.example|", false },
	{ "own and another", { { HEADER_FROM, "ann@x.example, bo@x.example" } },
	  "From ann@x.example|From bo@x.example|", false },
	{ "one twice", { { HEADER_FROM, "ann@x.example, ann@x.example" } }, "From ann@x.example|", true },
	{ "two From", { { HEADER_FROM, "ann@x.example" }, { HEADER_FROM, "ann@x.example" } },
	  "From ann@x.example|From !|", false },
	{ "two Sender", { { HEADER_FROM, "ann@x.example" }, { HEADER_SENDER, "ann@x.example" },
	  { HEADER_SENDER, "ann@x.example" } }, "From ann@x.example|Sender ann@x.example|Sender !|", false },
	{ "resent twice", { { HEADER_FROM, "ann@x.example" }, { HEADER_RESENT_FROM, "ann@x.example" },
	  { HEADER_RESENT_FROM, "ann@x.example" } }, "From ann@x.example|Resent-From ann@x.example|", true },
	{ "resent by another", { { HEADER_FROM, "ann@x.example" }, { HEADER_RESENT_SENDER, "bo@x.example" } },
	  "From ann@x.example|Resent-Sender bo@x.example|", false },
	{ "none", { { HEADER_OTHER, "ann@x.example" } }, "From !|", false },
	{ "a Sender alone", { { HEADER_SENDER, "ann@x.example" } }, "Sender ann@x.example|From !|", false },
	{ "no address", { { HEADER_FROM, "Ann" } }, "From !|", false },
	{ "empty", { { HEADER_FROM, "\r\n" } }, "From !|", false },
};
/* clang-format on */

static void
take(struct authors *a, enum header_id id, const char *value)
{
	const struct header_field f = {
		.id = id, .value = value, .value_len = strlen(value)
	};

	authors_add(a, &f);
}

static void
fields(void **state)
{
	struct policy_author out[8];
	struct authors a;
	char got[512];
	int n;

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		memset(&a, 0, sizeof(a));
		for (size_t k = 0; k < 4 && rows[i].f[k].value != NULL; k++)
			take(&a, rows[i].f[k].id, rows[i].f[k].value);
		authors_end(&a);
		n = authors_read(buf_head(&a.list), a.list.len, out, 8);
		assert_int_equal(n, a.n);
		got[0] = '\0';
		for (int k = 0; k < n; k++)
			snprintf(got + strlen(got), sizeof(got) - strlen(got),
			    "%s %s|", policy_author_field_name(out[k].field),
			    out[k].wrong != NULL ? "!" : out[k].address);
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, got);
		if (authors_are(&a, "ann@x.example") != rows[i].own)
			fail_msg("%s: own", rows[i].name);
		assert_false(authors_are(&a, ""));
		authors_clear(&a);
	}
}

/* Nobody gets through because he stands behind too many others. */
static void
too_many(void **state)
{
	static struct policy_author out[AUTHORS_MAX + 1];
	struct authors a = { 0 };
	char address[64];
	int n;

	(void)state;
	for (int i = 0; i < 2 * AUTHORS_MAX; i++) {
		snprintf(address, sizeof(address), "a%d@x.example", i);
		take(&a, HEADER_RESENT_FROM, address);
	}
	take(&a, HEADER_FROM, "ann@x.example");
	authors_end(&a);
	assert_true(a.list.len <= AUTHORS_LIST_MAX);
	n = authors_read(buf_head(&a.list), a.list.len, out, N(out));
	assert_int_equal(n, AUTHORS_MAX + 1);
	assert_non_null(out[AUTHORS_MAX].wrong);
	authors_clear(&a);
}

/* Lists as a broken front could send them. */
static void
lists(void **state)
{
	static const struct {
		const char *p;
		size_t len;
		int want;
	} cases[] = {
		{ "", 0, 0 },
		{ "\0\0a@b\0", 6, 1 },
		{ "\0\0a@b\0\1\0c@d\0", 12, 2 },
		{ "\0\0a@b\0\1\0c@d\0\2\0e@f\0", 18, -1 }, /* above max */
		{ "\0\0a@b", 5, -1 },
		{ "\0\0a@b\0\1", 7, -1 },
		{ "\4\0a@b\0", 6, -1 },
		{ "\0\xff"
		  "a@b\0",
		    6, -1 },
		{ "\0\0\0", 3, -1 },    /* no address */
		{ "\0\1a@b\0", 6, -1 }, /* an address, and something wrong */
		{ "\0\1\0", 3, 1 },
	};
	char big[2 + MAILBOX_ADDRESS_MAX + 2];
	struct policy_author out[2];

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		if (authors_read(cases[i].p, cases[i].len, out, 2) !=
		    cases[i].want)
			fail_msg("list %zu", i);
	memset(big, 'x', sizeof(big));
	big[0] = big[1] = big[sizeof(big) - 1] = '\0';
	assert_int_equal(authors_read(big, sizeof(big), out, 2), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(too_many),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests_name("authors", tests, NULL, NULL);
}
