/*
 * store/lookalike.c: what users show, and whom a name resembles.
 */
#include "unit_store_fixture.h"

#include <stdio.h>
#include <string.h>

#include "store/device.h"
#include "store/lookalike.h"

/* clang-format off */
#define KEYS "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" \
	     ":AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define NOW  "SCRAM-SHA-256$32768:AAAAAAAAAAAAAAAAAAAAAA==" KEYS /* 16 bytes */
#define OLD  "SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==" KEYS
#define SALT "SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAA" KEYS		 /* 12 bytes */
/* clang-format on */
#define CRYPT "$6$saltstring$svn8UoSVapNtMu"

static int64_t
add_user(struct fixture *fx, const char *name, const char *record)
{
	const struct store_record r = { record != NULL && record[0] == 'S'
		    ? STORE_CRED_SCRAM_SHA_256
		    : STORE_CRED_CRYPT,
		record };
	int64_t id = 0;

	assert_rc(fx, store_user_add(fx->st, name, &id), STORE_OK);
	if (record != NULL)
		assert_rc(fx, store_password_set(fx->st, id, &r, 1), STORE_OK);
	return id;
}

static int64_t
add_device(struct fixture *fx, int64_t user, const char *label)
{
	const struct store_record r = { STORE_CRED_SCRAM_SHA_256, OLD };
	int64_t id;

	assert_rc(fx,
	    store_device_add(
		fx->st, user, label, STORE_DEVICE_PASSWORD, 0, &id),
	    STORE_OK);
	assert_rc(fx, store_device_password(fx->st, id, &r, 1), STORE_OK);
	return id;
}

static int
print_shape(const struct store_shape *s, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%u/%u:%d ", s->iterations, s->salt_len,
	    (int)s->users);
	return 0;
}

static void
assert_shapes(struct fixture *fx, enum store_cred_kind kind, const char *want)
{
	char got[256] = "";

	assert_rc(fx, store_lookalike_shapes(fx->st, kind, print_shape, got),
	    STORE_OK);
	assert_string_equal(got, want);
}

static void
test_shapes(void **state)
{
	struct fixture *fx = *state;
	int64_t id, device;

	assert_shapes(fx, STORE_CRED_SCRAM_SHA_256, "");
	add_user(fx, "a", NOW);
	add_user(fx, "b", NOW);
	add_user(fx, "c", OLD);
	add_user(fx, "d", SALT);
	assert_shapes(
	    fx, STORE_CRED_SCRAM_SHA_256, "4096/12:1 4096/16:1 32768/16:2 ");
	print_message("# a password, but no such record\n");
	add_user(fx, "e", CRYPT);
	assert_shapes(fx, STORE_CRED_SCRAM_SHA_256,
	    "0/0:1 4096/12:1 4096/16:1 32768/16:2 ");
	assert_shapes(fx, STORE_CRED_SCRAM_SHA_1, "0/0:5 ");
	print_message("# no password at all\n");
	id = add_user(fx, "f", NULL);
	assert_shapes(fx, STORE_CRED_SCRAM_SHA_256,
	    "0/0:1 4096/12:1 4096/16:1 32768/16:2 ");
	print_message("# the only device of a user\n");
	device = add_device(fx, id, "phone");
	assert_shapes(fx, STORE_CRED_SCRAM_SHA_256,
	    "0/0:1 4096/12:1 4096/16:2 32768/16:2 ");
	print_message("# one of two devices is not shown\n");
	add_device(fx, id, "laptop");
	assert_shapes(fx, STORE_CRED_SCRAM_SHA_256,
	    "0/0:1 4096/12:1 4096/16:1 32768/16:2 ");
	print_message("# unless the other is revoked\n");
	assert_rc(fx, store_device_revoke(fx->st, device, 1), STORE_OK);
	assert_shapes(fx, STORE_CRED_SCRAM_SHA_256,
	    "0/0:1 4096/12:1 4096/16:2 32768/16:2 ");
	print_message("# users who show nothing\n");
	id = add_user(fx, "g", NOW);
	assert_rc(fx, store_user_set_backend(fx->st, id, STORE_BACKEND_PAM),
	    STORE_OK);
	id = add_user(fx, "h", NOW);
	assert_rc(fx,
	    store_user_set_state(fx->st, id, STORE_USER_DISABLED, NULL),
	    STORE_OK);
	assert_shapes(fx, STORE_CRED_SCRAM_SHA_256,
	    "0/0:1 4096/12:1 4096/16:2 32768/16:2 ");
}

static void
assert_like(struct fixture *fx, const char *local, const char *want)
{
	struct store_user u = { .name = "" };
	enum store_rc rc = store_lookalike_user(fx->st, local, &u);

	if (rc != (want != NULL ? STORE_OK : STORE_NONE) ||
	    (want != NULL && strcmp(u.name, want) != 0))
		fail_msg(
		    "\"%s\": %s, \"%s\"", local, store_rc_name(rc), u.name);
}

static void
test_users(void **state)
{
	static char long_name[STORE_NAME_MAX + 2];
	struct fixture *fx = *state;
	int64_t ann, bob, cid;

	ann = add_user(fx, "ann", NULL);
	bob = add_user(fx, "bob@example.org", NULL);
	cid = add_user(fx, "cid", NULL);
	store_address_add(fx->st, ann, "Ann.Smith@example.org");
	store_address_add(fx->st, ann, "bob@other.example");
	store_address_add(fx->st, bob, "dan_x@example.org");
	store_address_add(fx->st, cid, "@example.org");
	store_address_add(fx->st, cid, "*");
	assert_like(fx, "ann", "ann");
	assert_like(fx, "ANN", "ann");
	assert_like(fx, "bob", "bob@example.org");
	assert_like(fx, "BOB", "bob@example.org");
	assert_like(fx, "ann.smith", "ann");
	assert_like(fx, "aNN.smith", "ann");
	assert_like(fx, "dan_x", "bob@example.org");
	assert_like(fx, "dan", NULL);
	assert_like(fx, "an", NULL);
	assert_like(fx, "ann.smit", NULL);
	assert_like(fx, "", NULL);
	assert_like(fx, "*", NULL);
	assert_like(fx, "%", NULL);
	memset(long_name, 'a', sizeof(long_name) - 1);
	assert_like(fx, long_name, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_shapes),
		FIXTURE_TEST(test_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
