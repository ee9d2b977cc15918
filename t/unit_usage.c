/* usage.c: sums of an hour and of a day, as time goes by. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "submitd/usage.h"

#define MIN   INT64_C(60000)
#define HOUR  (60 * MIN)
#define DAY   (24 * HOUR)
#define START (INT64_C(20000) * DAY) /* a full hour */

/* Counted at a time, asked for at another. */
/* clang-format off */
static const struct {
	const char *name;
	int64_t at, asked;
	uint64_t hour, day;
} rows[] = {
	{ "at once", 0, 0, 1, 1 },
	{ "59 minutes later", 0, 59 * MIN, 1, 1 },
	{ "just within 60 minutes, at the end of a step", 10 * MIN - 1,
	  70 * MIN - 1, 1, 1 },
	{ "70 minutes later", 0, 70 * MIN, 0, 1 },
	{ "over the hour", 59 * MIN, 61 * MIN, 1, 1 },
	{ "just within a day, at the end of an hour", HOUR - 1,
	  DAY + HOUR - 1, 0, 1 },
	{ "25 hours later", 0, 25 * HOUR, 0, 0 },
	{ "a year later", 0, 365 * DAY, 0, 0 },
	{ "the clock was set back an hour", 0, -HOUR, 1, 1 },
	{ "the clock was set back a year", 0, -365 * DAY, 1, 1 },
};
/* clang-format on */

static void
windows(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct usage u = { 0 };
		int64_t now = START + rows[i].asked;

		usage_add(&u, USAGE_MESSAGES, 1, START + rows[i].at);
		if (usage_hour(&u, USAGE_MESSAGES, now) != rows[i].hour ||
		    usage_day(&u, USAGE_MESSAGES, now) != rows[i].day)
			fail_msg("%s: %d %d", rows[i].name,
			    (int)usage_hour(&u, USAGE_MESSAGES, now),
			    (int)usage_day(&u, USAGE_MESSAGES, now));
		/* The rings go on: nothing comes back, nothing counts twice. */
		usage_add(&u, USAGE_MESSAGES, 1, now);
		assert_int_equal(
		    usage_hour(&u, USAGE_MESSAGES, now), rows[i].hour + 1);
		assert_int_equal(
		    usage_day(&u, USAGE_MESSAGES, now), rows[i].day + 1);
		assert_int_equal(usage_day(&u, USAGE_NEW, now), 0);
	}
}

/* Each minute for three days: against a sum made the slow way. */
static void
against_all(void **state)
{
	enum { N = 3 * 24 * 60 };
	static uint64_t sent[N];
	struct usage u = { 0 };
	unsigned x = 1, i, k;
	uint64_t least, most, got;

	(void)state;
	for (i = 0; i < N; i++) {
		x = x * 1103515245 + 12345;
		if ((x >> 20 & 63) == 0) /* a rest of up to 17 hours */
			i += x >> 8 & 1023;
		if (i >= N)
			break;
		sent[i] = x >> 16 & 7;
		usage_add(&u, USAGE_RECIPIENTS, (int64_t)sent[i],
		    START + i * MIN);
		for (least = 0, k = i; k + 60 > i; k--) {
			least += sent[k];
			if (k == 0)
				break;
		}
		for (most = 0, k = i; k + 70 > i; k--) {
			most += sent[k];
			if (k == 0)
				break;
		}
		got = usage_hour(&u, USAGE_RECIPIENTS, START + i * MIN);
		if (got < least || got > most)
			fail_msg("hour at %u: %d, not %d to %d", i, (int)got,
			    (int)least, (int)most);
		for (least = 0, k = i; k + 24 * 60 > i; k--) {
			least += sent[k];
			if (k == 0)
				break;
		}
		for (most = 0, k = i; k + 25 * 60 > i; k--) {
			most += sent[k];
			if (k == 0)
				break;
		}
		got = usage_day(&u, USAGE_RECIPIENTS, START + i * MIN);
		if (got < least || got > most)
			fail_msg("day at %u: %d, not %d to %d", i, (int)got,
			    (int)least, (int)most);
	}
}

static void
falls(void **state)
{
	struct usage u = { 0 };

	(void)state;
	usage_add(&u, USAGE_MESSAGES, 2, START);
	usage_add(&u, USAGE_MESSAGES, 1, START + 30 * MIN);
#define AT(room) usage_hour_falls(&u, USAGE_MESSAGES, room, START + 31 * MIN)
	assert_true(AT(3) == START + 31 * MIN);
	assert_true(AT(2) == START + 70 * MIN);
	assert_true(AT(1) == START + 70 * MIN);
	assert_true(AT(0) == START + 100 * MIN);
#undef AT
	assert_true(usage_day_falls(&u, USAGE_MESSAGES, 2, START + HOUR) ==
	    START + 25 * HOUR);
}

static void
less(void **state)
{
	struct usage u = { 0 };
	int64_t now = START + 3 * HOUR;

	(void)state;
	usage_add(&u, USAGE_NEW, 5, START);
	usage_add(&u, USAGE_NEW, 7, now - 30 * MIN);
	usage_add(&u, USAGE_NEW, 2, now);
	usage_add(&u, USAGE_NEW, -1, now);
	assert_int_equal(usage_hour(&u, USAGE_NEW, now), 8);
	usage_add(&u, USAGE_NEW, -9, now);
	assert_int_equal(usage_hour(&u, USAGE_NEW, now), 7); /* not below 0 */
	usage_add(&u, USAGE_MESSAGES, 4, now);
	usage_forgive(&u, USAGE_NEW);
	assert_int_equal(usage_hour(&u, USAGE_NEW, now), 0);
	assert_int_equal(usage_day(&u, USAGE_NEW, now), 5);
	assert_int_equal(usage_hour(&u, USAGE_MESSAGES, now), 4);
}

static void
steps(void **state)
{
	int64_t step = START / USAGE_STEP_MS;
	struct usage u = { 0 };

	(void)state;
	usage_add(&u, USAGE_FAILED, 3, START);
	usage_add(&u, USAGE_FAILED, 4, START + 60 * MIN);
	assert_int_equal(usage_step(&u, USAGE_FAILED, step), 3);
	assert_int_equal(usage_step(&u, USAGE_FAILED, step + 1), 0);
	assert_int_equal(usage_step(&u, USAGE_FAILED, step + 6), 4);
	assert_int_equal(usage_step(&u, USAGE_FAILED, step + 7), 0);
	assert_int_equal(usage_step(&u, USAGE_FAILED, step - 1), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows),
		cmocka_unit_test(against_all),
		cmocka_unit_test(falls),
		cmocka_unit_test(less),
		cmocka_unit_test(steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
