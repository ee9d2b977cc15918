/*
 * store/access.c: rows by hand, the mirror of a file, which of them wins.
 */
#include "unit_store_fixture.h"

#include <string.h>

#include "store/access.h"
#include "store/audit.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static char big[STORE_ACCESS_KEY_MAX + 2];

/* clang-format off */
static const struct {
	const char *name;
	const char *key, *value;
	enum store_rc want;
} rows[] = {
	{ "plain", "Connect:192.0.2.1", "RELAY", STORE_OK },
	{ "bare tag", "TLS_Clt:", "VERIFY:128", STORE_OK },
	{ "escaped DN", "CertIssuer:/O=A&B+20+28x+29/CN=x", "RELAY", STORE_OK },
	{ "value with blanks", "From:a@b", "ERROR:5.7.1:550 go away", STORE_OK },
	{ "UTF-8 in the key", "From:j\xc3\xb6rg@b", "OK", STORE_OK },
	{ "value with a tab", "From:a@c", "550 a\tb", STORE_INVALID },
	{ "broken UTF-8 in the key", "From:j\xf6rg@b", "OK", STORE_INVALID },
	{ "broken UTF-8 in the value", "To:x", "550 n\xe4", STORE_INVALID },
	{ "empty key", "", "OK", STORE_INVALID },
	{ "empty value", "To:x", "", STORE_INVALID },
	{ "blank in the key", "TLS_Clt: x", "VERIFY", STORE_INVALID },
	{ "tab in the key", "To:\tx", "OK", STORE_INVALID },
	{ "newline in the value", "To:x", "OK\nTo:y OK", STORE_INVALID },
	{ "escape in the value", "To:x", "550 \033[1m", STORE_INVALID },
	{ "key of 1023 bytes", big, "OK", STORE_INVALID },
	{ "value of 1023 bytes", "To:x", big, STORE_INVALID },
	{ "key of 1022 bytes", big + 1, "OK", STORE_OK },
	{ "value of 1022 bytes", "To:big", big + 1, STORE_OK },
};
/* clang-format on */

static void
test_rows(void **state)
{
	char value[STORE_ACCESS_VALUE_MAX + 1];
	struct fixture *fx = *state;
	enum store_rc rc;

	memset(big, 'b', sizeof(big) - 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		rc = store_access_set(fx->st, rows[i].key, rows[i].value);
		if (rc != rows[i].want)
			fail_msg("%s: %s", rows[i].name, store_rc_name(rc));
		rc = store_access_lookup(
		    fx->st, rows[i].key, value, sizeof(value));
		if (rows[i].want != STORE_OK) {
			if (rc != STORE_NONE)
				fail_msg("%s: it is there", rows[i].name);
		} else if (rc != STORE_OK || strcmp(value, rows[i].value) != 0)
			fail_msg("%s: got \"%s\"", rows[i].name, value);
	}
}

static void
test_fold_and_replace(void **state)
{
	struct fixture *fx = *state;
	char value[64];

	assert_rc(fx, store_access_set(fx->st, "Connect:Example.ORG", "OK"),
	    STORE_OK);
	assert_rc(fx,
	    store_access_lookup(
		fx->st, "cONNECT:example.org", value, sizeof(value)),
	    STORE_OK);
	assert_string_equal(value, "OK");
	assert_rc(fx, store_access_set(fx->st, "connect:EXAMPLE.org", "Reject"),
	    STORE_OK);
	assert_rc(fx,
	    store_access_lookup(
		fx->st, "connect:example.org", value, sizeof(value)),
	    STORE_OK);
	assert_string_equal(value, "Reject");
	assert_rc(fx,
	    store_access_lookup(fx->st, "connect:example.org", value, 6),
	    STORE_INVALID);
	assert_rc(
	    fx, store_access_del(fx->st, "CONNECT:example.org"), STORE_OK);
	assert_rc(
	    fx, store_access_del(fx->st, "connect:example.org"), STORE_NONE);
	assert_rc(fx, store_access_del(fx->st, "a b"), STORE_NONE);
}

struct text {
	char text[2048];
};

static int
append_row(const struct store_access *row, void *arg)
{
	struct text *out = arg;
	size_t used = strlen(out->text);

	snprintf(out->text + used, sizeof(out->text) - used, "%s=%s/%s%d ",
	    row->shown, row->value, store_access_source_text(row->source),
	    row->line);
	return 0;
}

static const char *
all_rows(struct fixture *fx, const char *key)
{
	static struct text out;

	out.text[0] = '\0';
	assert_rc(
	    fx, store_access_list(fx->st, key, append_row, &out), STORE_OK);
	return out.text;
}

static int
count_audit(const struct store_audit *row, void *arg)
{
	(void)row;
	++*(int *)arg;
	return 0;
}

static int
audit_rows(struct fixture *fx)
{
	int n = 0;

	assert_rc(fx, store_audit_list(fx->st, 0, count_audit, &n), STORE_OK);
	return n;
}

static void
assert_mirror(struct fixture *fx, const struct store_access_line *lines,
    size_t n, size_t added, size_t changed, size_t removed)
{
	struct store_access_diff diff;

	assert_rc(fx, store_access_mirror(fx->st, lines, n, &diff), STORE_OK);
	assert_int_equal(diff.added, added);
	assert_int_equal(diff.changed, changed);
	assert_int_equal(diff.removed, removed);
}

static void
test_mirror(void **state)
{
	const struct store_access_line one[] = {
		{ "to:B", "REJECT", 4 },
		{ "To:b", "RELAY", 1 },
		{ "Connect:a", "OK", 3 },
		{ "From:z", "REJECT", 9 },
	};
	const struct store_access_line two[] = {
		{ "Connect:a", "OK", 1 },
		{ "Connect:m", "OK", 2 },
		{ "To:b", "OK", 3 },
	};
	const struct store_access_line bad[] = {
		{ "Connect:q", "OK", 1 },
		{ "Connect:r", "", 17 },
	};
	struct fixture *fx = *state;
	uint64_t before, after;
	char value[64];
	int audited;

	assert_rc(fx, store_access_set(fx->st, "to:b", "OK"), STORE_OK);
	assert_rc(fx, store_access_set(fx->st, "to:c", "OK"), STORE_OK);
	assert_mirror(fx, one, COUNT(one), 3, 0, 0);
	/* The first of two lines stays; the cli row comes first. */
	assert_string_equal(all_rows(fx, NULL),
	    "Connect:a=OK/file3 From:z=REJECT/file9 to:b=OK/cli0 "
	    "To:b=RELAY/file1 to:c=OK/cli0 ");
	assert_string_equal(
	    all_rows(fx, "TO:B"), "to:b=OK/cli0 To:b=RELAY/file1 ");
	assert_string_equal(all_rows(fx, "to: b"), "");
	/* The cli row wins until it goes. */
	assert_rc(fx, store_access_lookup(fx->st, "To:B", value, sizeof(value)),
	    STORE_OK);
	assert_string_equal(value, "OK");
	assert_rc(fx, store_access_del(fx->st, "To:B"), STORE_OK);
	assert_rc(fx, store_access_lookup(fx->st, "To:B", value, sizeof(value)),
	    STORE_OK);
	assert_string_equal(value, "RELAY");
	assert_rc(fx, store_access_del(fx->st, "To:B"), STORE_NONE);
	assert_non_null(strstr(store_errtext(fx->st), "line 1 of the map"));

	/* The same again, shifted lines: no write at all. */
	audited = audit_rows(fx);
	assert_rc(fx, store_version(fx->st, &before), STORE_OK);
	assert_mirror(fx, one, COUNT(one), 0, 0, 0);
	assert_rc(fx, store_version(fx->st, &after), STORE_OK);
	assert_int_equal(before, after);
	assert_int_equal(audit_rows(fx), audited);

	/* A bad line: the old rows stay. */
	assert_rc(fx, store_access_mirror(fx->st, bad, COUNT(bad), NULL),
	    STORE_INVALID);
	assert_string_equal(
	    store_errtext(fx->st), "line 17: the value is empty");
	assert_string_equal(all_rows(fx, "connect:a"), "Connect:a=OK/file3 ");
	assert_string_equal(all_rows(fx, "connect:q"), "");

	assert_mirror(fx, two, COUNT(two), 1, 1, 1);
	assert_int_equal(audit_rows(fx), audited + 1);
	assert_string_equal(all_rows(fx, NULL),
	    "Connect:a=OK/file1 Connect:m=OK/file2 To:b=OK/file3 "
	    "to:c=OK/cli0 ");
	assert_mirror(fx, NULL, 0, 0, 0, 3);
	assert_string_equal(all_rows(fx, NULL), "to:c=OK/cli0 ");
}

static void
test_mirror_in_transaction(void **state)
{
	const struct store_access_line line = { "To:b", "RELAY", 1 };
	struct fixture *fx = *state;

	assert_rc(fx, store_begin(fx->st), STORE_OK);
	assert_mirror(fx, &line, 1, 1, 0, 0);
	assert_mirror(fx, &line, 1, 0, 0, 0);
	assert_rc(fx, store_setting_set(fx->st, "x", "y"), STORE_OK);
	assert_rc(fx, store_commit(fx->st), STORE_OK);
	assert_string_equal(all_rows(fx, NULL), "To:b=RELAY/file1 ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_rows),
		FIXTURE_TEST(test_fold_and_replace),
		FIXTURE_TEST(test_mirror),
		FIXTURE_TEST(test_mirror_in_transaction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
