/* Tests of auth/records.c: which records are due, and what is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "auth/records.h"

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define PASSWORD  "pencil"
#define OTHER     "eraser"
#define CRYPT     "$6$saltstring$svn8UoSVapNtMu"
#define LONG_SALT "0123456789abcdef0123456789abcdef"

static char now256[SCRAM_RECORD_MAX], now1[SCRAM_RECORD_MAX];
static char old256[SCRAM_RECORD_MAX], salt256[SCRAM_RECORD_MAX];

static int
setup(void **state)
{
	(void)state;
	return scram_record_make(
		   PASSWORD, 6, SCRAM_SHA_256, 8192, now256, sizeof(now256)) |
	    scram_record_make(
		PASSWORD, 6, SCRAM_SHA_1, 8192, now1, sizeof(now1)) |
	    scram_record_make(
		PASSWORD, 6, SCRAM_SHA_256, 4096, old256, sizeof(old256)) |
	    scram_record_make_salt(PASSWORD, 6, SCRAM_SHA_256, 8192,
		(const unsigned char *)LONG_SALT, 32, salt256, sizeof(salt256));
}

static void
due(void **state)
{
	const struct {
		const char *name;
		const char *own[2], *of_device;
		bool sha1;
		bool due, device_due;
	} rows[] = {
		{ "nothing", { NULL, NULL }, NULL, false, true, true },
		{ "as it is made now", { now256, NULL }, NULL, false, false,
		    true },
		{ "fewer iterations", { old256, NULL }, NULL, false, true,
		    true },
		{ "a longer salt", { salt256, NULL }, NULL, false, true, true },
		{ "crypt(3)", { CRYPT, NULL }, NULL, false, true, true },
		{ "crypt(3) besides", { CRYPT, now256 }, NULL, false, false,
		    true },
		{ "SHA-1 only", { now1, NULL }, NULL, false, true, true },
		{ "SHA-1 is wanted", { now256, NULL }, NULL, true, true, true },
		{ "both", { now256, now1 }, NULL, true, false, true },
		{ "a device's", { NULL, NULL }, now256, false, true, false },
		{ "an old device's", { now256, NULL }, old256, false, false,
		    true },
	};
	struct sasl_account a = { 0 };
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		const struct records_want want = { 8192, rows[i].sha1 };

		for (j = 0; j < 2 && rows[i].own[j] != NULL; j++)
			sasl_account_add(&a, 0, rows[i].own[j]);
		if (rows[i].of_device != NULL)
			sasl_account_add(&a, 7, rows[i].of_device);
		if (records_due(&a, 0, &want) != rows[i].due ||
		    records_due(&a, 7, &want) != rows[i].device_due)
			fail_msg("%s", rows[i].name);
		sasl_account_clear(&a);
	}
}

/* The salt of a record, as text. */
static const char *
salt_of(const char *record, char out[128])
{
	const char *colon = strchr(record, ':');

	snprintf(out, 128, "%.*s", (int)strcspn(colon + 1, "$"), colon + 1);
	return out;
}

static void
makes(void **state)
{
	const struct records_want one = { 8192, false }, both = { 8192, true };
	struct sasl_account a = { 0 };
	struct records r, again;
	char x[128], y[128];

	(void)state;
	assert_int_equal(records_make(NULL, &one, PASSWORD, 6, &r), 0);
	assert_true(records_is_current(r.sha256, SCRAM_SHA_256, 8192));
	assert_string_equal(r.sha1, "");
	assert_int_equal(records_make(NULL, &both, PASSWORD, 6, &again), 0);
	assert_true(records_is_current(again.sha1, SCRAM_SHA_1, 8192));
	assert_int_equal(scram_record_check(again.sha1, PASSWORD, 6), SCRAM_OK);
	assert_string_not_equal(salt_of(r.sha256, x), salt_of(again.sha256, y));

	print_message("# not the salt of the account's own password\n");
	sasl_account_add(&a, 0, now256);
	sasl_account_add(&a, 5, old256);
	assert_int_equal(records_make(&a, &one, OTHER, 6, &r), 0);
	assert_string_not_equal(salt_of(r.sha256, x), salt_of(now256, y));
	assert_string_not_equal(salt_of(r.sha256, x), salt_of(old256, y));

	print_message("# but that of another device\n");
	sasl_account_add(&a, 7, again.sha256);
	sasl_account_add(&a, 7, again.sha1);
	assert_int_equal(records_make(&a, &both, OTHER, 6, &r), 0);
	assert_string_equal(salt_of(r.sha256, x), salt_of(again.sha256, y));
	assert_string_equal(salt_of(r.sha1, x), salt_of(again.sha1, y));
	assert_int_equal(scram_record_check(r.sha256, OTHER, 6), SCRAM_OK);
	assert_int_equal(
	    scram_record_check(r.sha256, PASSWORD, 6), SCRAM_WRONG);
	sasl_account_clear(&a);
}

static double
seconds_of_a_check(const struct sasl_account *a)
{
	clock_t began = clock();
	size_t index;

	assert_int_equal(
	    sasl_account_match(a, "neither", 7, &index), SASL_PW_WRONG);
	return (double)(clock() - began) / CLOCKS_PER_SEC;
}

/* Twenty devices of one user cost little more than one. */
static void
shared_salt_is_cheap(void **state)
{
	const struct records_want want = { SCRAM_ITER_MAX, true };
	struct sasl_account one = { 0 }, many = { 0 };
	char text[16];
	struct records r;
	double alone, together;
	size_t index;
	int i;

	(void)state;
	for (i = 1; i <= 20; i++) {
		snprintf(text, sizeof(text), "device %d", i);
		assert_int_equal(
		    records_make(&many, &want, text, strlen(text), &r), 0);
		assert_int_equal(sasl_account_add(&many, i, r.sha256), 0);
		assert_int_equal(sasl_account_add(&many, i, r.sha1), 0);
	}
	assert_int_equal(sasl_account_add(&one, 1, r.sha256), 0);
	assert_int_equal(sasl_account_add(&one, 1, r.sha1), 0);
	alone = seconds_of_a_check(&one);
	together = seconds_of_a_check(&many);
	print_message(
	    "# one %.1f ms, twenty %.1f ms\n", alone * 1000, together * 1000);
	assert_true(together < 5 * alone);
	assert_int_equal(
	    sasl_account_match(&many, "device 20", 9, &index), SASL_PW_OK);
	assert_int_equal(many.cred[index].device, 20);
	assert_int_equal(
	    sasl_account_match(&many, "device 1", 8, &index), SASL_PW_OK);
	assert_int_equal(many.cred[index].device, 1);
	sasl_account_clear(&one);
	sasl_account_clear(&many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(due),
		cmocka_unit_test(makes),
		cmocka_unit_test(shared_salt_is_cheap),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
