/* submitd/backoff.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "submitd/backoff.h"

/* clang-format off */
static const struct {
	const char *name;
	uint32_t attempts, random, min_s, max_s;
	uint32_t delay;
} rows[] = {
	{ "the first wait is the minimum", 1, 0, 300, 14400, 300 },
	{ "a quarter of jitter at most", 1, UINT32_MAX, 300, 14400, 374 },
	{ "half the jitter", 1, 0x80000000, 300, 14400, 337 },
	{ "doubled", 2, 0, 300, 14400, 600 },
	{ "doubled twice", 3, 0, 300, 14400, 1200 },
	{ "room for jitter at the maximum", 30, 0, 300, 14400, 11520 },
	{ "never above the maximum", 30, UINT32_MAX, 300, 14400, 14399 },
	{ "very many attempts", UINT32_MAX, 0, 300, 14400, 11520 },
	{ "no attempt counts as one", 0, 0, 300, 14400, 300 },
	{ "minimum and maximum equal", 5, UINT32_MAX, 60, 60, 60 },
	{ "maximum below minimum", 5, 0, 60, 30, 60 },
	{ "no delay at all", 9, UINT32_MAX, 0, 0, 0 },
	{ "minimum zero stays zero", 9, UINT32_MAX, 0, 100, 0 },
	{ "largest numbers", UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX,
	  UINT32_MAX },
};
/* clang-format on */

static void
table(void **state)
{
	uint32_t d;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		d = backoff_delay_s(rows[i].attempts, rows[i].random,
		    rows[i].min_s, rows[i].max_s);
		if (d != rows[i].delay)
			fail_msg("%s: %u", rows[i].name, (unsigned)d);
	}
}

static void
always_in_bounds_and_growing(void **state)
{
	uint32_t n, r, d, least, before = 0;

	(void)state;
	for (n = 1; n < 40; n++) {
		least = backoff_delay_s(n, 0, 7, 5000);
		assert_true(least >= before);
		before = least;
		for (r = 0; r < 64; r++) {
			d = backoff_delay_s(n, r << 26, 7, 5000);
			assert_in_range(d, least, 5000);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(always_in_bounds_and_growing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
