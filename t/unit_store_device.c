/*
 * store/device.c: devices, their passwords, revocation.
 */
#include "unit_store_fixture.h"

#include <string.h>

#include "store/device.h"

#define KEY32  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define RECORD "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$" KEY32 ":" KEY32

/* clang-format off */
static const struct {
	const char *name;
	const char *in;
	int rc;
} labels[] = {
	{ "plain", "phone", 0 },
	{ "blanks inside", "ann's old phone", 0 },
	{ "UTF-8", "t\xc3\xa9l\xc3\xa9phone", 0 },
	{ "empty", "", -1 },
	{ "blank first", " phone", -1 },
	{ "blank last", "phone ", -1 },
	{ "newline", "pho\nne", -1 },
	{ "escape character", "pho\033[1mne", -1 },
	{ "broken UTF-8", "t\xe9l", -1 },
	{ "65 bytes",
	  "12345678901234567890123456789012345678901234567890123456789012345",
	  -1 },
};
/* clang-format on */

static void
test_labels(void **state)
{
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		if (store_label(labels[i].in, &why) != labels[i].rc)
			fail_msg("%s", labels[i].name);
}

static int
count(const struct store_device *device, void *arg)
{
	(void)device;
	++*(int *)arg;
	return 0;
}

static void
test_devices(void **state)
{
	struct fixture *fx = *state;
	struct store_device device;
	int64_t ann, bo, first, second;
	int n = 0;

	assert_rc(fx, store_user_add(fx->st, "ann", &ann), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", &bo), STORE_OK);
	assert_rc(fx,
	    store_device_add(
		fx->st, ann, "phone", STORE_DEVICE_PASSWORD, 0, &first),
	    STORE_OK);
	assert_rc(fx,
	    store_device_add(fx->st, ann, "phone", STORE_DEVICE_CERT, 0, NULL),
	    STORE_EXISTS);
	assert_rc(fx,
	    store_device_add(
		fx->st, bo, "phone", STORE_DEVICE_CERT, 2000, NULL),
	    STORE_OK);
	assert_rc(fx,
	    store_device_add(fx->st, 99, "phone", STORE_DEVICE_CERT, 0, NULL),
	    STORE_NONE);
	assert_rc(fx,
	    store_device_add(fx->st, bo, "", STORE_DEVICE_CERT, 0, NULL),
	    STORE_INVALID);
	assert_rc(fx,
	    store_device_add(fx->st, bo, "x", STORE_DEVICE_CERT, -1, NULL),
	    STORE_INVALID);

	assert_rc(
	    fx, store_device_get(fx->st, ann, "phone", &device), STORE_OK);
	assert_int_equal(device.id, first);
	assert_string_equal(device.user, "ann");
	assert_int_equal(device.kind, STORE_DEVICE_PASSWORD);
	assert_int_equal(device.expires, 0);
	assert_int_equal(device.revoked, 0);
	assert_rc(
	    fx, store_device_get(fx->st, ann, "pad", &device), STORE_NONE);

	/* A label is free again once its device is revoked. */
	assert_rc(fx, store_device_revoke(fx->st, first, 1000), STORE_OK);
	assert_rc(fx, store_device_revoke(fx->st, first, 2000), STORE_OK);
	assert_rc(
	    fx, store_device_get(fx->st, ann, "phone", &device), STORE_OK);
	assert_int_equal(device.revoked, 1000);
	assert_rc(fx,
	    store_device_add(
		fx->st, ann, "phone", STORE_DEVICE_CERT, 0, &second),
	    STORE_OK);
	assert_rc(
	    fx, store_device_get(fx->st, ann, "phone", &device), STORE_OK);
	assert_int_equal(device.id, second);
	assert_rc(fx, store_device_by_id(fx->st, first, &device), STORE_OK);
	assert_rc(fx, store_device_by_id(fx->st, 99, &device), STORE_NONE);
	assert_rc(fx, store_device_revoke(fx->st, 99, 1000), STORE_NONE);
	assert_rc(fx, store_device_revoke(fx->st, first, 0), STORE_INVALID);

	assert_rc(fx, store_device_list(fx->st, 0, count, &n), STORE_OK);
	assert_int_equal(n, 3);
	assert_rc(fx, store_device_list(fx->st, bo, count, &n), STORE_OK);
	assert_int_equal(n, 4);
}

static void
test_device_password(void **state)
{
	const struct store_record record = { STORE_CRED_SCRAM_SHA_256, RECORD };
	const struct store_record bad = { STORE_CRED_SCRAM_SHA_256, "x" };
	struct fixture *fx = *state;
	int64_t user, phone, laptop;

	assert_rc(fx, store_user_add(fx->st, "ann", &user), STORE_OK);
	assert_rc(fx,
	    store_device_add(
		fx->st, user, "phone", STORE_DEVICE_PASSWORD, 0, &phone),
	    STORE_OK);
	assert_rc(fx,
	    store_device_add(
		fx->st, user, "laptop", STORE_DEVICE_CERT, 0, &laptop),
	    STORE_OK);
	assert_rc(
	    fx, store_device_password(fx->st, phone, &record, 1), STORE_OK);
	assert_rc(
	    fx, store_device_password(fx->st, phone, &record, 1), STORE_OK);
	assert_rc(
	    fx, store_device_password(fx->st, phone, &bad, 1), STORE_INVALID);
	assert_rc(
	    fx, store_device_password(fx->st, phone, NULL, 0), STORE_INVALID);
	assert_rc(fx, store_device_password(fx->st, laptop, &record, 1),
	    STORE_INVALID);
	assert_rc(
	    fx, store_device_password(fx->st, 99, &record, 1), STORE_NONE);
	assert_rc(fx, store_device_revoke(fx->st, phone, 1000), STORE_OK);
	assert_rc(fx, store_device_password(fx->st, phone, &record, 1),
	    STORE_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels),
		FIXTURE_TEST(test_devices),
		FIXTURE_TEST(test_device_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
