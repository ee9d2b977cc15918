/* Tests of auth/cryptpw.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "auth/cryptpw.h"
#include "auth/sasl.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char sha512[] =
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI"
    "68u4OTLiBFdcbYEdFCoEOfaS35inz1";
static const char bcrypt[] =
    "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

static const struct {
	const char *name, *record, *password;
	size_t len; /* 0: up to the NUL */
	enum cryptpw_rc rc;
} checks[] = {
	{ "SHA-512, right", sha512, "Hello world!", 0, CRYPTPW_OK },
	{ "SHA-512, wrong", sha512, "Hello world", 0, CRYPTPW_WRONG },
	{ "SHA-512, a NUL behind the right one", sha512, "Hello world!\0x", 14,
	    CRYPTPW_WRONG },
	{ "bcrypt, right", bcrypt, "U*U", 0, CRYPTPW_OK },
	{ "bcrypt, wrong", bcrypt, "U*V", 0, CRYPTPW_WRONG },
	{ "traditional DES, right", "rl.3StKT.4T8M", "rasmuslerdorf", 0,
	    CRYPTPW_OK },
	{ "a hash cut short", "$6$saltstring$svn8UoSVapNtMu", "Hello world!", 0,
	    CRYPTPW_WRONG },
	{ "a setting without hash", "$6$saltstring", "Hello world!", 0,
	    CRYPTPW_WRONG },
	{ "locked", "!", "!", 0, CRYPTPW_WRONG },
	{ "crypt's own failure", "*0", "*1", 0, CRYPTPW_WRONG },
	{ "no record", "", "", 0, CRYPTPW_WRONG },
};

static void
test_check(void **state)
{
	char longest[600];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(checks); i++) {
		size_t len = checks[i].len != 0 ? checks[i].len
						: strlen(checks[i].password);
		enum cryptpw_rc rc =
		    cryptpw_check(checks[i].record, checks[i].password, len);

		if (rc != checks[i].rc)
			fail_msg("%s: %d", checks[i].name, rc);
	}
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(
	    cryptpw_check(sha512, longest, sizeof(longest)), CRYPTPW_WRONG);
}

static const struct {
	const char *name, *record;
	int rc;
} usables[] = {
	{ "SHA-512", sha512, 0 },
	{ "bcrypt of cost 5", bcrypt, 0 },
	{ "traditional DES", "rl.3StKT.4T8M", 0 },
	{ "extended DES", "_J9..rasmBYk8r9AiWNc", 0 },
	{ "a word that is no hash", "topsecret", -1 },
	{ "SHA-512, cut off", "$6$saltstring$svn8UoSVapNtMu", -1 },
	{ "bcrypt, cut off", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9", -1 },
	{ "SHA-512 with a foreign character",
	    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjn"
	    "JQJuesI68OTLiBFdcbYEdFCoEOfaS35in:1",
	    -1 },
	{ "bcrypt of cost 20",
	    "$2b$20$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	    -1 },
	{ "bcrypt of cost 13",
	    "$2b$13$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", 0 },
	{ "bcrypt of cost 14",
	    "$2b$14$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	    -1 },
	{ "yescrypt of a high cost",
	    "$y$jET$AAt9R641xPvCI9nXw1HHW/$cuQRBMN3N/f8IcmVN.4YrZ1bHMOiLOoz9/"
	    "XQMKV/v0A",
	    -1 },
	{ "SHA-256 with many rounds",
	    "$5$rounds=900000000$saltstring$3xv.VbSCBX41eDL9L3voEdMN", -1 },
	{ "yescrypt",
	    "$y$j9T$AAt9R641xPvCI9nXw1HHW/$cuQRBMN3N/f8IcmVN.4YrZ1bHMOiLOoz9/"
	    "XQMKV/v0A",
	    0 },
	{ "yescrypt of the least cost",
	    "$y$j75$AAt9R641xPvCI9nXw1HHW/$cuQRBMN3N/f8IcmVN.4YrZ1bHMOiLOoz9/"
	    "XQMKV/v0A",
	    0 },
	{ "yescrypt with blocks of another size",
	    "$y$j9z$AAt9R641xPvCI9nXw1HHW/$cuQRBMN3N/f8IcmVN.4YrZ1bHMOiLOoz9/"
	    "XQMKV/v0A",
	    -1 },
	{ "yescrypt with more parameters",
	    "$y$j9T.$AAt9R641xPvCI9nXw1HHW/$cuQRBMN3N/f8IcmVN.4YrZ1bHMOiLOoz9/"
	    "XQMKV/v0A",
	    -1 },
	{ "yescrypt of another flavour",
	    "$y$/9T$AAt9R641xPvCI9nXw1HHW/$cuQRBMN3N/f8IcmVN.4YrZ1bHMOiLOoz9/"
	    "XQMKV/v0A",
	    -1 },
	{ "gost-yescrypt",
	    "$gy$j9T$AAt9R641xPvCI9nXw1HHW/$cuQRBMN3N/f8IcmVN.4YrZ1bHMOiLOoz9/"
	    "XQMKV/v0A",
	    0 },
	{ "gost-yescrypt of a high cost",
	    "$gy$jFT$AAt9R641xPvCI9nXw1HHW/$cuQRBMN3N/f8IcmVN.4YrZ1bHMOiLOoz9/"
	    "XQMKV/v0A",
	    -1 },
	{ "scrypt",
	    "$7$CU..../....2Q9obwLhin8qvQl6sisAO/$sR3bKrpFzkPmbiEkPB8T5Ed0lIyW"
	    "tXeUyMC3GUKhh7C",
	    -1 },
	{ "Sun's MD5 with many rounds",
	    "$md5,rounds=4000000000$GUBv0xjJ$$mSwgIswdjlTY0YxV7HBVm0", -1 },
	{ "SHA-1 with many rounds",
	    "$sha1$4000000000$Xcp4xrqA$BPvCEHhOYnClrVOAvIkKB9qnt5cX", -1 },
	{ "NT", "$3$$8846f7eaee8fb117ad06bdd830b7586c", -1 },
	{ "extended DES with many rounds", "_zzzzrasmBYk8r9AiWNc", -1 },
	{ "SHA-512 with a million rounds",
	    "$6$rounds=1000000$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO"
	    "/O817G3uBnIFNjnJQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1",
	    0 },
	{ "SHA-512 with more",
	    "$6$rounds=1000001$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO"
	    "/O817G3uBnIFNjnJQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1",
	    -1 },
	{ "a number that is too large for one",
	    "$6$rounds=18446744073709556616$saltstring$svn8UoSVapNtMuq1ukKS4tP"
	    "Qd8iKwSMHWjlO/O817G3uBnIFNjnJQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1",
	    -1 },
	{ "an unknown method", "$9$xxxxxxxxxxxxxxxxxxxxxxxxx", -1 },
	{ "locked", "!!", -1 },
};

static void
test_usable(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(usables); i++) {
		const char *why = NULL;
		int rc = cryptpw_usable(usables[i].record, &why);

		if (rc != usables[i].rc)
			fail_msg("%s: %d", usables[i].name, rc);
		if ((why != NULL) != (rc == -1))
			fail_msg("%s: reason", usables[i].name);
	}
}

/* An account with both kinds of records: the one that matches says whose. */
static void
test_account(void **state)
{
	struct sasl_account a = { 0 };
	char record[SCRAM_RECORD_MAX];
	int64_t device = 0;

	(void)state;
	assert_int_equal(scram_record_make("app", 3, SCRAM_SHA_256, 4096,
			     record, sizeof(record)),
	    0);
	assert_int_equal(sasl_account_add(&a, 0, sha512), 0);
	assert_int_equal(sasl_account_add(&a, 7, record), 0);
	assert_int_equal(sasl_account_check(&a, "app", 3, &device), SASL_PW_OK);
	assert_int_equal(device, 7);
	assert_int_equal(
	    sasl_account_check(&a, "Hello world!", 12, &device), SASL_PW_OK);
	assert_int_equal(device, 0);
	assert_int_equal(
	    sasl_account_check(&a, "neither", 7, &device), SASL_PW_WRONG);
	sasl_account_clear(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_usable),
		cmocka_unit_test(test_account),
	};

	return cmocka_run_group_tests_name("cryptpw", tests, NULL, NULL);
}
