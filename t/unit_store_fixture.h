/*
 * A fresh user store in a temporary directory for each test.
 */
#ifndef T_UNIT_STORE_FIXTURE_H
#define T_UNIT_STORE_FIXTURE_H

/* cmocka.h needs the four before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/db.h"

struct fixture {
	char dir[64];
	char path[96];
	struct store *st;
};

static int
fixture_up(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	snprintf(fx->dir, sizeof(fx->dir), "/tmp/unit_store.XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	snprintf(fx->path, sizeof(fx->path), "%s/users.db", fx->dir);
	if (store_open(fx->path, STORE_CREATE, &fx->st) != STORE_OK)
		fail_msg("%s", store_errtext(fx->st));
	*state = fx;
	return 0;
}

static int
fixture_down(void **state)
{
	struct fixture *fx = *state;
	char journal[128];

	store_close(&fx->st);
	snprintf(journal, sizeof(journal), "%s-journal", fx->path);
	unlink(journal);
	unlink(fx->path);
	rmdir(fx->dir);
	free(fx);
	return 0;
}

#define FIXTURE_TEST(f)                                                        \
	cmocka_unit_test_setup_teardown(f, fixture_up, fixture_down)

/* The result code with the sentence that belongs to it. */
#define assert_rc(fx, got, want)                                               \
	do {                                                                   \
		enum store_rc got_ = (got);                                    \
		if (got_ != (want))                                            \
			fail_msg("%s: got %s (%s), want %s", #got,             \
			    store_rc_name(got_), store_errtext((fx)->st),      \
			    store_rc_name(want));                              \
	} while (0)

#endif
