/* keyset.c: no key that was added is denied. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>

#include "submitd/keyset.h"

enum { KEYS = 5000 };

static void
empty(void **state)
{
	struct keyset s = { 0 };

	(void)state;
	assert_false(keyset_may_have(&s, "connect:192.0.2.1"));
	assert_false(keyset_may_have(&s, ""));
	keyset_clear(&s); /* harmless */
}

static void
nothing_is_lost(void **state)
{
	struct keyset s = { 0 };
	unsigned i, mistaken = 0;
	char key[32];

	(void)state;
	for (i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "connect:host%u.example", i);
		keyset_add(&s, key);
		keyset_add(&s, key); /* twice is once */
	}
	assert_true(s.n <= KEYS);
	for (i = 0; i < 2 * KEYS; i++) {
		snprintf(key, sizeof(key), "connect:host%u.example", i);
		if (i < KEYS)
			assert_true(keyset_may_have(&s, key));
		else
			mistaken += keyset_may_have(&s, key);
	}
	assert_true(mistaken < KEYS / 100);
	assert_true(s.size <= 4 * KEYS); /* memory: 32 bytes a key at most */
	keyset_add(&s, "");
	assert_true(keyset_may_have(&s, ""));
	keyset_clear(&s);
	assert_false(keyset_may_have(&s, "connect:host1.example"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
