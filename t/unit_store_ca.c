/*
 * store/ca.c: the CA's row, serials, revocations.
 */
#include "unit_store_fixture.h"

#include <string.h>

#include "store/audit.h"
#include "store/ca.h"
#include "store/cert.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define FAR   INT64_C(9000000000)

static const unsigned char der[] = { 0x30, 0x00, 0xff, 0x00 };

static void
test_row(void **state)
{
	struct fixture *fx = *state;
	static struct store_ca ca;
	static unsigned char large[STORE_CA_CERT_MAX + 1];
	int64_t number = 0;

	assert_rc(fx, store_ca_get(fx->st, &ca), STORE_NONE);
	assert_rc(fx, store_ca_next_crl(fx->st, &number), STORE_NONE);
	assert_rc(
	    fx, store_ca_set(fx->st, "CN = x", der, 0, "f"), STORE_INVALID);
	assert_rc(fx, store_ca_set(fx->st, "CN = x", large, sizeof(large), "f"),
	    STORE_INVALID);
	assert_rc(fx,
	    store_ca_set(fx->st, "CN = x", der, sizeof(der), "/d/ca.key"),
	    STORE_OK);
	assert_rc(fx, store_ca_get(fx->st, &ca), STORE_OK);
	assert_string_equal(ca.subject, "CN = x");
	assert_string_equal(ca.key_file, "/d/ca.key");
	assert_int_equal(ca.certificate_len, sizeof(der));
	assert_memory_equal(ca.certificate, der, sizeof(der));
	assert_true(ca.created > 0);
	assert_rc(fx, store_ca_next_crl(fx->st, &number), STORE_OK);
	assert_int_equal(number, 1);
	/* another CA: the count goes on */
	assert_rc(fx, store_ca_set(fx->st, "CN = y", der, 2, "k"), STORE_OK);
	assert_rc(fx, store_ca_next_crl(fx->st, &number), STORE_OK);
	assert_int_equal(number, 2);
	assert_rc(fx, store_ca_get(fx->st, &ca), STORE_OK);
	assert_string_equal(ca.subject, "CN = y");
	assert_int_equal(ca.certificate_len, 2);
	assert_int_equal(ca.crl_number, 2);
}

/* Serials of the rows, blanks between. */
static int
note(const struct store_ca_revoked *row, void *arg)
{
	char *text = arg;

	snprintf(text + strlen(text), 64, "%s:%d ", row->serial, row->reason);
	return 0;
}

static void
listed(struct fixture *fx, int64_t now, const char *want)
{
	char text[256] = "";

	assert_rc(fx, store_ca_revoked_list(fx->st, now, note, text), STORE_OK);
	assert_string_equal(text, want);
}

static int
count_revocations(const struct store_audit *row, void *arg)
{
	*(int *)arg += strcmp(row->what, "ca revoke") == 0;
	return 0;
}

static void
test_revocation(void **state)
{
	struct fixture *fx = *state;
	int64_t ann, phone, laptop, n = -1;
	int audited = 0;

	assert_rc(fx, store_user_add(fx->st, "ann", &ann), STORE_OK);
	assert_rc(fx,
	    store_device_add(
		fx->st, ann, "phone", STORE_DEVICE_CERT, 0, &phone),
	    STORE_OK);
	assert_rc(fx,
	    store_device_add(
		fx->st, ann, "laptop", STORE_DEVICE_CERT, 0, &laptop),
	    STORE_OK);
	assert_rc(fx,
	    store_cert_add(
		fx->st, ann, phone, STORE_CERT_SHA256, HEX_A, "", 0, NULL),
	    STORE_OK);
	assert_rc(fx,
	    store_ca_issued(fx->st, "4a01", ann, "CN = ann", HEX_A, FAR),
	    STORE_OK);
	assert_rc(fx,
	    store_ca_issued(fx->st, "4a02", ann, "CN = ann", HEX_B, FAR + 9),
	    STORE_OK);
	assert_rc(fx, store_ca_issued(fx->st, "4a01", 0, "CN = x", HEX_A, FAR),
	    STORE_EXISTS);
	listed(fx, 1, "");

	/* a device without a certificate of ours */
	assert_rc(fx,
	    store_ca_revoke_device(
		fx->st, laptop, 100, STORE_CA_UNSPECIFIED, &n),
	    STORE_OK);
	assert_int_equal(n, 0);
	assert_rc(fx,
	    store_ca_revoke_device(
		fx->st, phone, 100, STORE_CA_UNSPECIFIED, &n),
	    STORE_OK);
	assert_int_equal(n, 1);
	listed(fx, 1, "4a01:0 ");

	/* what was taken back stays as it was */
	assert_rc(fx,
	    store_ca_revoke_user(fx->st, ann, 200, STORE_CA_CESSATION, &n),
	    STORE_OK);
	assert_int_equal(n, 1);
	listed(fx, 1, "4a01:0 4a02:5 ");
	assert_rc(fx,
	    store_ca_revoke_cert(fx->st, HEX_B, 300, STORE_CA_UNSPECIFIED, &n),
	    STORE_OK);
	assert_int_equal(n, 0);

	/* it outlives the user, and ends with the certificate */
	assert_rc(fx, store_user_del(fx->st, ann), STORE_OK);
	listed(fx, FAR, "4a01:0 4a02:5 ");
	listed(fx, FAR + 1, "4a02:5 ");
	listed(fx, FAR + 10, "");

	assert_rc(fx, store_audit_list(fx->st, 0, count_revocations, &audited),
	    STORE_OK);
	assert_int_equal(audited, 2);
}

static void
test_bad_serials(void **state)
{
	static const struct {
		const char *name, *serial, *sha256;
	} rows[] = {
		{ "upper case", "4A01", HEX_A },
		{ "odd", "4a0", HEX_A },
		{ "empty", "", HEX_A },
		{ "no digest", "4a01", "aa" },
	};
	struct fixture *fx = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (store_ca_issued(fx->st, rows[i].serial, 0, "CN = x",
			rows[i].sha256, FAR) == STORE_OK)
			fail_msg("%s", rows[i].name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_row),
		FIXTURE_TEST(test_revocation),
		FIXTURE_TEST(test_bad_serials),
	};

	return cmocka_run_group_tests_name("store_ca", tests, NULL, NULL);
}
