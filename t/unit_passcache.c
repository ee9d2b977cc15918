/* Tests of auth/passcache.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "auth/passcache.h"

static const unsigned char key[PASSCACHE_KEY_LEN] = { 1, 2, 3 };

static enum passcache_rc
get(struct passcache *pc, const char *user, const char *password, int64_t now)
{
	int64_t device = -1;

	return passcache_get(
	    pc, user, password, strlen(password), now, &device);
}

static void
put(struct passcache *pc, const char *user, const char *password, bool right,
    int64_t device, int64_t now)
{
	passcache_put(pc, user, password, strlen(password), right, device, now);
}

static void
remembers_both_verdicts(void **state)
{
	struct passcache *pc = passcache_new(key, 10);
	int64_t device = -1;

	(void)state;
	assert_int_equal(get(pc, "ann", "right", 100), PASSCACHE_MISS);
	put(pc, "ann", "right", true, 5, 100);
	put(pc, "ann", "wrong", false, 0, 100);
	assert_int_equal(passcache_get(pc, "ann", "right", 5, 101, &device),
	    PASSCACHE_RIGHT);
	assert_int_equal(device, 5);
	assert_int_equal(get(pc, "ann", "wrong", 101), PASSCACHE_WRONG);
	assert_int_equal(get(pc, "ann", "righ", 101), PASSCACHE_MISS);
	assert_int_equal(get(pc, "bob", "right", 101), PASSCACHE_MISS);
	passcache_free(&pc);
	assert_null(pc);
	passcache_free(&pc);
}

/* The fields of the key may not run into each other. */
static void
name_and_password_are_apart(void **state)
{
	struct passcache *pc = passcache_new(key, 10);

	(void)state;
	put(pc, "ann", "xy", true, 0, 1);
	assert_int_equal(get(pc, "annx", "y", 1), PASSCACHE_MISS);
	assert_int_equal(get(pc, "an", "nxy", 1), PASSCACHE_MISS);
	assert_int_equal(get(pc, "ann", "xy", 1), PASSCACHE_RIGHT);
	passcache_free(&pc);
}

static void
use_does_not_extend(void **state)
{
	static const struct {
		const char *name;
		bool right;
		int64_t at;
		enum passcache_rc rc;
	} rows[] = {
		{ "right, last second", true, PASSCACHE_RIGHT_S - 1,
		    PASSCACHE_RIGHT },
		{ "right, over", true, PASSCACHE_RIGHT_S, PASSCACHE_MISS },
		{ "wrong, last second", false, PASSCACHE_WRONG_S - 1,
		    PASSCACHE_WRONG },
		{ "wrong, over", false, PASSCACHE_WRONG_S, PASSCACHE_MISS },
	};
	struct passcache *pc;
	size_t i;
	int64_t t;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("# %s\n", rows[i].name);
		pc = passcache_new(key, 10);
		put(pc, "ann", "p", rows[i].right, 0, 1000);
		for (t = 0; t < rows[i].at; t += 7)
			assert_int_not_equal(
			    get(pc, "ann", "p", 1000 + t), PASSCACHE_MISS);
		assert_int_equal(
		    get(pc, "ann", "p", 1000 + rows[i].at), rows[i].rc);
		passcache_free(&pc);
	}
}

static void
the_least_used_goes_first(void **state)
{
	struct passcache *pc = passcache_new(key, 3);

	(void)state;
	put(pc, "a", "p", true, 0, 1);
	put(pc, "b", "p", true, 0, 1);
	put(pc, "c", "p", true, 0, 1);
	assert_int_equal(get(pc, "a", "p", 2), PASSCACHE_RIGHT);
	put(pc, "d", "p", true, 0, 2);
	assert_int_equal(passcache_count(pc), 3);
	assert_int_equal(get(pc, "b", "p", 2), PASSCACHE_MISS);
	assert_int_equal(get(pc, "a", "p", 2), PASSCACHE_RIGHT);
	assert_int_equal(get(pc, "c", "p", 2), PASSCACHE_RIGHT);
	assert_int_equal(get(pc, "d", "p", 2), PASSCACHE_RIGHT);
	passcache_free(&pc);
}

static void
a_new_verdict_replaces(void **state)
{
	struct passcache *pc = passcache_new(key, 3);

	(void)state;
	put(pc, "a", "p", false, 0, 1);
	put(pc, "a", "p", true, 0, 1);
	assert_int_equal(passcache_count(pc), 1);
	assert_int_equal(get(pc, "a", "p", 1), PASSCACHE_RIGHT);
	passcache_free(&pc);
}

static void
wipe_forgets_all(void **state)
{
	struct passcache *pc = passcache_new(key, 100);
	char name[16];
	int i;

	(void)state;
	for (i = 0; i < 250; i++) {
		snprintf(name, sizeof(name), "u%d", i);
		put(pc, name, "p", true, 0, 1);
	}
	assert_int_equal(passcache_count(pc), 100);
	passcache_wipe(pc);
	assert_int_equal(passcache_count(pc), 0);
	assert_int_equal(get(pc, "u249", "p", 1), PASSCACHE_MISS);
	put(pc, "u1", "p", true, 0, 1);
	assert_int_equal(get(pc, "u1", "p", 1), PASSCACHE_RIGHT);
	passcache_free(&pc);
}

static void
too_long_is_not_kept(void **state)
{
	static char password[20000];
	struct passcache *pc = passcache_new(key, 3);

	(void)state;
	memset(password, 'x', sizeof(password) - 1);
	put(pc, "a", password, true, 0, 1);
	assert_int_equal(passcache_count(pc), 0);
	assert_int_equal(get(pc, "a", password, 1), PASSCACHE_MISS);
	passcache_free(&pc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(remembers_both_verdicts),
		cmocka_unit_test(name_and_password_are_apart),
		cmocka_unit_test(use_does_not_extend),
		cmocka_unit_test(the_least_used_goes_first),
		cmocka_unit_test(a_new_verdict_replaces),
		cmocka_unit_test(wipe_forgets_all),
		cmocka_unit_test(too_long_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
