/* memo.c: what was put last under a key, or nothing. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>

#include "submitd/memo.h"

static void
one_key(void **state)
{
	static struct memo m;
	int64_t v = 1;

	(void)state;
	assert_null(memo_get(&m, "ann"));
	memo_put(&m, "ann", &v, sizeof(v));
	v = 2;
	assert_int_equal(*(const int64_t *)memo_get(&m, "ann"), 1);
	assert_null(memo_get(&m, "an"));
	assert_null(memo_get(&m, ""));
	memo_put(&m, "ann", &v, sizeof(v));
	assert_int_equal(*(const int64_t *)memo_get(&m, "ann"), 2);
	memo_clear(&m);
	assert_null(memo_get(&m, "ann"));
	memo_clear(&m);
}

/* More keys than places: never the answer of another. */
static void
many_keys(void **state)
{
	static struct memo m;
	const unsigned *got;
	unsigned i, kept = 0;
	char key[16];

	(void)state;
	for (i = 0; i < 4 * MEMO_PLACES; i++) {
		snprintf(key, sizeof(key), "user%u", i);
		memo_put(&m, key, &i, sizeof(i));
	}
	for (i = 0; i < 4 * MEMO_PLACES; i++) {
		snprintf(key, sizeof(key), "user%u", i);
		if ((got = memo_get(&m, key)) == NULL)
			continue;
		assert_int_equal(*got, i);
		kept++;
	}
	assert_in_range(kept, MEMO_PLACES / 2, MEMO_PLACES);
	memo_clear(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_key),
		cmocka_unit_test(many_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
