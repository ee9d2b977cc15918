/*
 * store/cert.c: which certificate stands for whom, and until when.
 */
#include "unit_store_fixture.h"

#include <string.h>

#include "store/cert.h"

#define HEX1 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEX1UP                                                                 \
	"00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"
#define HEX2 "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* clang-format off */
static const struct {
	const char *name;
	enum store_cert_kind kind;
	const char *in;
	const char *out; /* NULL: refused */
} values[] = {
	{ "digest", STORE_CERT_SHA256, HEX1, HEX1 },
	{ "digest in upper case", STORE_CERT_SPKI, HEX1UP, HEX1 },
	{ "63 digits", STORE_CERT_SHA256, HEX1 + 1, NULL },
	{ "65 digits", STORE_CERT_SHA256, HEX1 "0", NULL },
	{ "colons are the caller's", STORE_CERT_SHA256, "00:11", NULL },
	{ "no hex", STORE_CERT_SHA256,
	  "g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
	  NULL },
	{ "empty", STORE_CERT_SHA256, "", NULL },
	{ "subject without an issuer", STORE_CERT_SUBJECT, "/CN=Ann", NULL },
	{ "san", STORE_CERT_SAN, "Ann@Example.org", "ann@example.org" },
	{ "san of a whole domain", STORE_CERT_SAN, "@example.org", NULL },
	{ "san of everything", STORE_CERT_SAN, "*", NULL },
	{ "san without @", STORE_CERT_SAN, "ann", NULL },
};
/* clang-format on */

static void
test_values(void **state)
{
	struct fixture *fx = *state;
	struct store_cert cert;
	enum store_rc rc;
	int64_t user, id;

	assert_rc(fx, store_user_add(fx->st, "ann", &user), STORE_OK);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		rc = store_cert_add(fx->st, user, 0, values[i].kind,
		    values[i].in, NULL, 0, &id);
		if ((rc == STORE_OK) != (values[i].out != NULL))
			fail_msg(
			    "%s: %s", values[i].name, store_errtext(fx->st));
		if (rc != STORE_OK) {
			if (rc != STORE_INVALID ||
			    store_cert_find(fx->st, values[i].kind,
				values[i].in, &cert, NULL) != STORE_NONE)
				fail_msg("%s", values[i].name);
			continue;
		}
		if (store_cert_find(fx->st, values[i].kind, values[i].in, &cert,
			NULL) != STORE_OK ||
		    cert.id != id || strcmp(cert.value, values[i].out) != 0)
			fail_msg("%s: \"%s\"", values[i].name, cert.value);
	}
}

/* clang-format off */
static const struct {
	const char *name, *subject, *issuer;
	enum store_rc rc;
} subjects[] = {
	{ "both", "/C=DE/CN=Ann+20B", "/CN=One", STORE_OK },
	{ "the same in another case", "/c=de/cn=ANN+20b", "/cn=one",
	  STORE_EXISTS },
	{ "the same of another issuer", "/C=DE/CN=Ann+20B", "/CN=Two",
	  STORE_OK },
	{ "a blank", "/CN=Ann B", "/CN=One", STORE_INVALID },
	{ "a blank in the issuer", "/CN=Ann", "/CN=One B", STORE_INVALID },
	{ "another notation", "CN=Ann", "/CN=One", STORE_INVALID },
	{ "no issuer", "/CN=Ann", "", STORE_INVALID },
	{ "no subject", "", "/CN=One", STORE_INVALID },
};
/* clang-format on */

/* A subject is one's own under one issuer only. */
static void
test_subjects(void **state)
{
	struct fixture *fx = *state;
	struct store_cert cert;
	int64_t ann, bo, id;

	assert_rc(fx, store_user_add(fx->st, "ann", &ann), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", &bo), STORE_OK);
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		enum store_rc rc =
		    store_cert_add_subject(fx->st, i == 0 ? ann : bo,
			subjects[i].subject, subjects[i].issuer, NULL, &id);

		if (rc != subjects[i].rc)
			fail_msg(
			    "%s: %s", subjects[i].name, store_errtext(fx->st));
	}
	assert_rc(fx,
	    store_cert_find_subject(
		fx->st, "/C=de/CN=ann+20b", "/CN=ONE", &cert, NULL),
	    STORE_OK);
	assert_string_equal(cert.user, "ann");
	assert_string_equal(cert.value, "/c=de/cn=ann+20b");
	assert_string_equal(cert.issuer, "/cn=one");
	assert_rc(fx,
	    store_cert_find_subject(
		fx->st, "/C=DE/CN=Ann+20B", "/CN=two", &cert, NULL),
	    STORE_OK);
	assert_string_equal(cert.user, "bo");
	assert_rc(fx,
	    store_cert_find_subject(
		fx->st, "/C=DE/CN=Ann+20B", "/CN=Three", &cert, NULL),
	    STORE_NONE);
	assert_rc(fx,
	    store_cert_add_subject(
		fx->st, bo, "/CN=Ann", "/CN=One", "a label", &id),
	    STORE_OK);
	assert_rc(fx, store_cert_by_id(fx->st, id, &cert), STORE_OK);
	assert_string_equal(cert.label, "a label");
}

/* clang-format off */
static const struct {
	const char *name;
	struct store_cert cert;
	enum store_cert_state want; /* at the time 1000 */
} states[] = {
	{ "no dates", { .not_after = 0 }, STORE_CERT_USABLE },
	{ "last second", { .not_after = 1000 }, STORE_CERT_USABLE },
	{ "past", { .not_after = 999 }, STORE_CERT_EXPIRED },
	{ "device goes on", { .device_expires = 1001 }, STORE_CERT_USABLE },
	{ "device ends", { .device_expires = 1000 }, STORE_CERT_EXPIRED },
	{ "revoked", { .revoked = 1 }, STORE_CERT_REVOKED },
	{ "device revoked", { .device_revoked = 1 }, STORE_CERT_REVOKED },
	{ "revoked and past", { .revoked = 1, .not_after = 1 },
	  STORE_CERT_REVOKED },
};
/* clang-format on */

static void
test_states(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (store_cert_state(&states[i].cert, 1000) != states[i].want)
			fail_msg("%s", states[i].name);
}

static int
count(const struct store_cert *cert, void *arg)
{
	(void)cert;
	++*(int *)arg;
	return 0;
}

static void
test_certs(void **state)
{
	struct fixture *fx = *state;
	struct store_user user;
	struct store_cert cert;
	int64_t ann, bo, first, second;
	int n = 0;

	assert_rc(fx, store_user_add(fx->st, "ann", &ann), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", &bo), STORE_OK);
	assert_rc(fx,
	    store_cert_add(fx->st, ann, 0, STORE_CERT_SHA256, HEX1, "laptop",
		5000, &first),
	    STORE_OK);
	assert_rc(fx,
	    store_cert_add(
		fx->st, bo, 0, STORE_CERT_SHA256, HEX1UP, NULL, 0, NULL),
	    STORE_EXISTS);
	assert_string_equal(store_errtext(fx->st),
	    "this certificate stands for user ann already");
	/* The same digits as a key's digest are another thing. */
	assert_rc(fx,
	    store_cert_add(
		fx->st, bo, 0, STORE_CERT_SPKI, HEX1, NULL, 0, &second),
	    STORE_OK);
	assert_rc(fx,
	    store_cert_add(
		fx->st, 99, 0, STORE_CERT_SHA256, HEX2, NULL, 0, NULL),
	    STORE_NONE);
	assert_rc(fx,
	    store_cert_add(
		fx->st, ann, 0, STORE_CERT_SHA256, HEX2, "a\nb", 0, NULL),
	    STORE_INVALID);

	assert_rc(fx,
	    store_cert_find(fx->st, STORE_CERT_SHA256, HEX1, &cert, &user),
	    STORE_OK);
	assert_int_equal(cert.id, first);
	assert_int_equal(cert.user_id, ann);
	assert_string_equal(cert.user, "ann");
	assert_string_equal(cert.label, "laptop");
	assert_int_equal(cert.not_after, 5000);
	assert_int_equal(cert.device_id, 0);
	assert_int_equal(user.id, ann);
	assert_string_equal(user.name, "ann");
	assert_int_equal(user.state, STORE_USER_ACTIVE);
	assert_rc(fx,
	    store_cert_find(fx->st, STORE_CERT_SHA256, HEX2, &cert, NULL),
	    STORE_NONE);

	assert_rc(fx, store_cert_list(fx->st, 0, count, &n), STORE_OK);
	assert_int_equal(n, 2);
	assert_rc(fx, store_cert_list(fx->st, bo, count, &n), STORE_OK);
	assert_int_equal(n, 3);

	assert_rc(fx, store_cert_revoke(fx->st, first, 1234), STORE_OK);
	assert_rc(fx, store_cert_revoke(fx->st, first, 9999), STORE_OK);
	assert_rc(fx, store_cert_by_id(fx->st, first, &cert), STORE_OK);
	assert_int_equal(cert.revoked, 1234);
	assert_rc(fx,
	    store_cert_add(
		fx->st, ann, 0, STORE_CERT_SHA256, HEX1, NULL, 0, NULL),
	    STORE_EXISTS);
	assert_non_null(strstr(store_errtext(fx->st), "revoked"));
	assert_rc(fx, store_cert_revoke(fx->st, 99, 1), STORE_NONE);

	assert_rc(fx, store_cert_del(fx->st, first), STORE_OK);
	assert_rc(fx, store_cert_del(fx->st, first), STORE_NONE);
	assert_rc(fx, store_cert_by_id(fx->st, first, &cert), STORE_NONE);
	assert_rc(fx, store_user_del(fx->st, bo), STORE_OK);
	assert_rc(fx, store_cert_by_id(fx->st, second, &cert), STORE_NONE);
	/* What stood for the one may stand for another now. */
	assert_rc(fx,
	    store_cert_add(
		fx->st, ann, 0, STORE_CERT_SPKI, HEX1, NULL, 0, NULL),
	    STORE_OK);
}

static void
test_cert_of_device(void **state)
{
	struct fixture *fx = *state;
	struct store_cert cert;
	int64_t ann, bo, laptop, phone;

	assert_rc(fx, store_user_add(fx->st, "ann", &ann), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", &bo), STORE_OK);
	assert_rc(fx,
	    store_device_add(
		fx->st, ann, "laptop", STORE_DEVICE_CERT, 3000, &laptop),
	    STORE_OK);
	assert_rc(fx,
	    store_device_add(
		fx->st, ann, "phone", STORE_DEVICE_PASSWORD, 0, &phone),
	    STORE_OK);
	assert_rc(fx,
	    store_cert_add(
		fx->st, bo, laptop, STORE_CERT_SHA256, HEX1, NULL, 0, NULL),
	    STORE_INVALID);
	assert_string_equal(
	    store_errtext(fx->st), "device \"laptop\" belongs to user ann");
	assert_rc(fx,
	    store_cert_add(
		fx->st, ann, phone, STORE_CERT_SHA256, HEX1, NULL, 0, NULL),
	    STORE_INVALID);
	assert_rc(fx,
	    store_cert_add(
		fx->st, ann, 99, STORE_CERT_SHA256, HEX1, NULL, 0, NULL),
	    STORE_NONE);
	assert_rc(fx,
	    store_cert_add(
		fx->st, ann, laptop, STORE_CERT_SHA256, HEX1, NULL, 0, NULL),
	    STORE_OK);
	assert_rc(fx, store_device_revoke(fx->st, laptop, 2000), STORE_OK);
	assert_rc(fx,
	    store_cert_find(fx->st, STORE_CERT_SHA256, HEX1, &cert, NULL),
	    STORE_OK);
	assert_int_equal(cert.device_id, laptop);
	assert_int_equal(cert.device_expires, 3000);
	assert_int_equal(cert.device_revoked, 2000);
	assert_int_equal(store_cert_state(&cert, 1), STORE_CERT_REVOKED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_values),
		FIXTURE_TEST(test_subjects),
		cmocka_unit_test(test_states),
		FIXTURE_TEST(test_certs),
		FIXTURE_TEST(test_cert_of_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
