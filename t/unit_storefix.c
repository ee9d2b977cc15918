/*
 * Tests of submitd/storefix.c: which password records auth may have written.
 * What else the role does is seen end to end.
 */
#include "unit_store_fixture.h"

#include <stdio.h>
#include <string.h>

#include "auth/scram.h"
#include "store/user.h"
#include "submitd/mem.h"
#include "submitd/role.h"

#define ITER 8192

static int64_t ann;
static char old[SCRAM_RECORD_MAX], new[SCRAM_RECORD_MAX];
static char few[SCRAM_RECORD_MAX], other[SCRAM_RECORD_MAX];

static void
make(const char *password, unsigned iterations, char out[SCRAM_RECORD_MAX])
{
	assert_int_equal(scram_record_make(password, strlen(password),
			     SCRAM_SHA_256, iterations, out, SCRAM_RECORD_MAX),
	    0);
}

static void
set(struct fixture *fx, const char *record)
{
	const struct store_record r = { STORE_CRED_SCRAM_SHA_256, record };

	assert_rc(fx, store_password_set(fx->st, ann, &r, 1), STORE_OK);
}

static int
take(const struct store_cred *c, void *arg)
{
	memcpy(arg, c->record, STORE_RECORD_MAX + 1);
	return 0;
}

/* Asks the role, and looks at what is in the store then. */
static void
ask(struct fixture *fx, struct role_setup *setup, const char *name,
    const struct m_rehash *m, const char *want)
{
	union msg msg = { .rehash = *m };
	const struct ipc_in in = { .type = M_REHASH, .m = &msg, .fd = -1 };
	char got[STORE_RECORD_MAX + 1] = "";

	print_message("# %s\n", name);
	store_ops.other(setup, &in);
	assert_rc(fx, store_cred_list(fx->st, ann, take, got), STORE_OK);
	assert_string_equal(got, want);
}

static void
test_renew(void **state)
{
	struct fixture *fx = *state;
	struct role_setup setup = { 0 };
	struct m_rehash m = {
		.user = "ann", .old = old, .sha256 = new, .sha1 = ""
	};

	assert_rc(fx, store_user_add(fx->st, "ann", &ann), STORE_OK);
	make("pencil", 4096, old);
	make("pencil", ITER, new);
	make("pencil", 4097, few);
	make("eraser", ITER, other);
	conf_init(&setup.conf);
	free(setup.conf.users_db);
	setup.conf.users_db = xstrdup(fx->path);
	setup.conf.scram_iterations = ITER;

	set(fx, old);
	m.sha256 = few;
	ask(fx, &setup, "not what the configuration says", &m, old);
	m.sha256 = "$6$x$y";
	ask(fx, &setup, "no record", &m, old);
	m.sha256 = new;
	m.sha1 = new;
	ask(fx, &setup, "one that is not wanted besides", &m, old);
	m.sha1 = "";
	m.old = few;
	ask(fx, &setup, "another record stands there now", &m, old);
	m.old = old;
	m.device = 9;
	ask(fx, &setup, "of a device that is not there", &m, old);
	m.device = 0;
	m.user = "bob";
	ask(fx, &setup, "no such user", &m, old);
	m.user = "ann";
	ask(fx, &setup, "as it should be", &m, new);
	ask(fx, &setup, "a second time", &m, new);
	m.old = new;
	m.sha256 = other;
	ask(fx, &setup, "a record that needs no renewal", &m, new);
	conf_clear(&setup.conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_renew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
