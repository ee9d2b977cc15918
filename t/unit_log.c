/* The log line: what a stranger writes can neither break nor forge it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/log.h"

static void
test_values(void **state)
{
	static const struct {
		const char *name, *value, *line;
	} rows[] = {
		{ "plain text stays", "ann", "ev=x v=ann" },
		{ "address stays", "192.0.2.7", "ev=x v=192.0.2.7" },
		{ "blank is quoted", "a b", "ev=x v=\"a b\"" },
		{ "empty is quoted", "", "ev=x v=\"\"" },
		{ "quote is escaped", "a\"b", "ev=x v=\"a\\\"b\"" },
		{ "backslash is escaped", "a\\b", "ev=x v=\"a\\\\b\"" },
		{ "newline cannot begin a line", "a\nev=auth",
		    "ev=x v=\"a\\x0aev=auth\"" },
		{ "equals sign cannot forge a field", "a=b", "ev=x v=\"a=b\"" },
		{ "8-bit is hex", "\xc3\xa9", "ev=x v=\"\\xc3\\xa9\"" },
		{ "terminal escape is hex", "\x1b[2J", "ev=x v=\"\\x1b[2J\"" },
		{ "none is a dash", NULL, "ev=x v=-" },
	};
	char out[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		log_format(out, sizeof(out), 0, 0, "x", "v=%s", rows[i].value);
		if (strcmp(out, rows[i].line) != 0)
			fail_msg("%s: %s", rows[i].name, out);
	}
}

static void
test_ids_and_numbers(void **state)
{
	char out[200];

	(void)state;
	log_format(out, sizeof(out), 0x10000000001, 0x1234, "queue",
	    "n=%d u=%u l=%ld z=%zu x=%lx p=%c %%", -1, 2u, -3L, (size_t)4,
	    0xabcUL, 'c');
	assert_string_equal(out, "qid=0000000001234 sid=0000010000000001 "
	    "ev=queue n=-1 u=2 l=-3 z=4 x=abc p=c %");
}

static void
test_cut(void **state)
{
	char out[16], big[100];

	(void)state;
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(log_format(out, sizeof(out), 0, 0, "x", "v=%s", big),
	    15);
	assert_string_equal(out, "ev=x v=aaaaaaaa");
}

static void
test_levels(void **state)
{
	(void)state;
	assert_int_equal(log_level("warning"), LOG_WARNING);
	assert_int_equal(log_level("info"), LOG_INFO);
	assert_int_equal(log_level("debug"), LOG_DEBUG);
	assert_int_equal(log_level("loud"), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_ids_and_numbers),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
