/* Tests of auth/pace.c: how long a refusal takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/pace.h"

static void
slowest_counts(void **state)
{
	struct pace p = { { 0 } };

	(void)state;
	assert_int_equal(pace_ms(&p), 0);
	pace_note(&p, PACE_RECORDS, 30);
	assert_int_equal(pace_ms(&p), 30);
	pace_note(&p, PACE_PAM, 2000);
	assert_int_equal(pace_ms(&p), 2000);
	pace_note(&p, PACE_SASLAUTHD, 700);
	assert_int_equal(pace_ms(&p), 2000);
	pace_forget(&p, PACE_PAM);
	assert_int_equal(pace_ms(&p), 700);
	print_message("# records of other users don't make it less\n");
	pace_note(&p, PACE_RECORDS, 900);
	pace_note(&p, PACE_RECORDS, 10);
	assert_int_equal(pace_ms(&p), 900);
}

static void
sinks_slowly(void **state)
{
	struct pace p = { { 0 } };
	int i;

	(void)state;
	pace_note(&p, PACE_PAM, 3200);
	pace_note(&p, PACE_PAM, 0);
	assert_int_equal(pace_ms(&p), 3000);
	pace_note(&p, PACE_PAM, 3100);
	assert_int_equal(pace_ms(&p), 3100);
	for (i = 0; i < 200; i++)
		pace_note(&p, PACE_PAM, 500);
	assert_in_range(pace_ms(&p), 500, 520);
}

static void
bounded(void **state)
{
	struct pace p = { { 0 } };

	(void)state;
	pace_note(&p, PACE_PAM, 45000);
	assert_int_equal(pace_ms(&p), PACE_MAX_MS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slowest_counts),
		cmocka_unit_test(sinks_slowly),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
