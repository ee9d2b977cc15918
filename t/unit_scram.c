/* Tests of auth/scram.c: RFC vectors, PBKDF2, record syntax, fake records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "auth/scram.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static size_t
unb64(const char *text, unsigned char *out)
{
	int n = EVP_DecodeBlock(
	    out, (const unsigned char *)text, (int)strlen(text));
	size_t pad = strlen(text) - strcspn(text, "=");

	assert_true(n >= 0);
	return (size_t)n - pad;
}

/* The exchanges printed in RFC 5802 section 5 and RFC 7677 section 3. */
static const struct vector {
	const char *name, *mech, *salt, *auth_message, *proof, *signature;
	const EVP_MD *(*md)(void);
} vectors[] = {
	{ "RFC 5802 section 5", SCRAM_SHA_1, "QSXCR+Q6sek8bf92",
	    "n=user,r=fyko+d2lbbFgONRv9qkxdawL,"
	    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
	    "s=QSXCR+Q6sek8bf92,i=4096,"
	    "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
	    "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	    EVP_sha1 },
	{ "RFC 7677 section 3", SCRAM_SHA_256, "W22ZaJ0SNY7soEsUEjb6gQ==",
	    "n=user,r=rOprNGfwEbeRWgbNEkqO,"
	    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
	    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
	    "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	    "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", EVP_sha256 },
};

/* The record must accept the RFC's proof and give the RFC's signature. */
static void
check_vector(const struct vector *v, const struct scram_record *r)
{
	unsigned char mac[64], proof[64], want[64], digest[64];
	const unsigned char *msg = (const unsigned char *)v->auth_message;
	size_t i;

	HMAC(v->md(), r->stored_key, (int)r->key_len, msg,
	    strlen(v->auth_message), mac, NULL);
	assert_int_equal(unb64(v->proof, proof), r->key_len);
	for (i = 0; i < r->key_len; i++)
		mac[i] ^= proof[i];
	EVP_Digest(mac, r->key_len, digest, NULL, v->md(), NULL);
	assert_memory_equal(digest, r->stored_key, r->key_len);
	HMAC(v->md(), r->server_key, (int)r->key_len, msg,
	    strlen(v->auth_message), mac, NULL);
	assert_int_equal(unb64(v->signature, want), r->key_len);
	assert_memory_equal(mac, want, r->key_len);
}

static void
rfc_vectors(void **state)
{
	char record[SCRAM_RECORD_MAX];
	unsigned char salt[64];
	struct scram_record r;
	size_t i, n;

	(void)state;
	for (i = 0; i < COUNT(vectors); i++) {
		print_message("# %s\n", vectors[i].name);
		n = unb64(vectors[i].salt, salt);
		assert_int_equal(
		    scram_record_make_salt("pencil", 6, vectors[i].mech, 4096,
			salt, n, record, sizeof(record)),
		    0);
		assert_int_equal(scram_record_parse(record, &r), SCRAM_OK);
		assert_string_equal(r.mech, vectors[i].mech);
		assert_int_equal(r.iterations, 4096);
		assert_int_equal(r.salt_len, n);
		check_vector(&vectors[i], &r);
	}
}

/* Our own loop against the library's, around the block size of the hash. */
static void
pbkdf2_equals_library(void **state)
{
	static const size_t lengths[] = { 1, 31, 63, 64, 65, 127, 128, 300 };
	unsigned char salt[64], salted[32], client[32], stored[32];
	char password[300], record[SCRAM_RECORD_MAX];
	struct scram_record r;
	size_t i, salt_len;

	(void)state;
	for (i = 0; i < sizeof(password); i++)
		password[i] = (char)(i * 7 + 1);
	for (i = 0; i < sizeof(salt); i++)
		salt[i] = (unsigned char)(i * 13);
	for (i = 0; i < COUNT(lengths); i++) {
		salt_len = i % 2 == 0 ? 8 + i : 64;
		print_message("# password of %zu, salt of %zu octets\n",
		    lengths[i], salt_len);
		assert_int_equal(scram_record_make_salt(password, lengths[i],
				     SCRAM_SHA_256, 4096 + (unsigned)i, salt,
				     salt_len, record, sizeof(record)),
		    0);
		assert_int_equal(scram_record_parse(record, &r), SCRAM_OK);
		PKCS5_PBKDF2_HMAC(password, (int)lengths[i], salt,
		    (int)salt_len, 4096 + (int)i, EVP_sha256(), 32, salted);
		HMAC(EVP_sha256(), salted, 32,
		    (const unsigned char *)"Client Key", 10, client, NULL);
		EVP_Digest(client, 32, stored, NULL, EVP_sha256(), NULL);
		assert_memory_equal(stored, r.stored_key, 32);
	}
}

static void
make_and_check(void **state)
{
	static const char *const mechs[] = { SCRAM_SHA_256, SCRAM_SHA_1 };
	char a[SCRAM_RECORD_MAX], b[SCRAM_RECORD_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(mechs); i++) {
		print_message("# %s\n", mechs[i]);
		assert_int_equal(scram_record_make("correct horse", 13,
				     mechs[i], 4096, a, sizeof(a)),
		    0);
		assert_int_equal(scram_record_make("correct horse", 13,
				     mechs[i], 4096, b, sizeof(b)),
		    0);
		assert_string_not_equal(a, b); /* the salt is random */
		assert_int_equal(
		    scram_record_check(a, "correct horse", 13), SCRAM_OK);
		assert_int_equal(
		    scram_record_check(b, "correct horse", 13), SCRAM_OK);
		assert_int_equal(
		    scram_record_check(a, "correct horsE", 13), SCRAM_WRONG);
		assert_int_equal(
		    scram_record_check(a, "correct horse", 12), SCRAM_WRONG);
		assert_int_equal(scram_record_check(a, "", 0), SCRAM_WRONG);
	}
}

static void
make_refuses(void **state)
{
	char out[SCRAM_RECORD_MAX];

	(void)state;
	assert_int_equal(
	    scram_record_make("", 0, SCRAM_SHA_256, 4096, out, sizeof(out)),
	    -1);
	assert_int_equal(
	    scram_record_make("x", 1, "SCRAM-MD5", 4096, out, sizeof(out)), -1);
	assert_int_equal(
	    scram_record_make("x", 1, SCRAM_SHA_256, 4095, out, sizeof(out)),
	    -1);
	assert_int_equal(
	    scram_record_make("x", 1, SCRAM_SHA_256, 65537, out, sizeof(out)),
	    -1);
	assert_int_equal(
	    scram_record_make("x", 1, SCRAM_SHA_256, 4096, out, 100), -1);
}

#define SALT  "W22ZaJ0SNY7soEsUEjb6gQ=="
#define KEY   "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
#define KEY20 "6dlGYMOdZcOPutkcNY8U2g7vK9Y="
#define KEY31 "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4g=="
#define LOOSE "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qZ="
#define SALT64                                                                 \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"          \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define SALT66                                                                 \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"          \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static const struct {
	const char *name, *record;
	enum scram_rc rc;
} syntax[] = {
	{ "sound", "SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY, SCRAM_OK },
	{ "most iterations", "SCRAM-SHA-256$65536:" SALT "$" KEY ":" KEY,
	    SCRAM_OK },
	{ "longest salt", "SCRAM-SHA-256$4096:" SALT64 "$" KEY ":" KEY,
	    SCRAM_OK },
	{ "SHA-1", "SCRAM-SHA-1$4096:" SALT "$" KEY20 ":" KEY20, SCRAM_OK },
	{ "empty", "", SCRAM_BAD_RECORD },
	{ "a password", "pencil", SCRAM_BAD_RECORD },
	{ "crypt(3) text", "$6$salt$abc", SCRAM_BAD_RECORD },
	{ "unknown hash", "SCRAM-SHA-512$4096:" SALT "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "mechanism with -PLUS",
	    "SCRAM-SHA-256-PLUS$4096:" SALT "$" KEY ":" KEY, SCRAM_BAD_RECORD },
	{ "lower-case mechanism", "scram-sha-256$4096:" SALT "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "too few iterations", "SCRAM-SHA-256$4095:" SALT "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "too many iterations", "SCRAM-SHA-256$65537:" SALT "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "iterations of 2^32 + 4096",
	    "SCRAM-SHA-256$4294971392:" SALT "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "leading zero", "SCRAM-SHA-256$04096:" SALT "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "sign", "SCRAM-SHA-256$+4096:" SALT "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "no iterations", "SCRAM-SHA-256$:" SALT "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "short salt", "SCRAM-SHA-256$4096:AAAA$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "long salt", "SCRAM-SHA-256$4096:" SALT66 "$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "salt no base64",
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsU*jb6gQ==$" KEY ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "key of 31 octets", "SCRAM-SHA-256$4096:" SALT "$" KEY31 ":" KEY,
	    SCRAM_BAD_RECORD },
	{ "key with spare bits set",
	    "SCRAM-SHA-256$4096:" SALT "$" LOOSE ":" KEY, SCRAM_BAD_RECORD },
	{ "keys of the other hash",
	    "SCRAM-SHA-256$4096:" SALT "$" KEY20 ":" KEY20, SCRAM_BAD_RECORD },
	{ "no server key", "SCRAM-SHA-256$4096:" SALT "$" KEY,
	    SCRAM_BAD_RECORD },
	{ "text behind", "SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY "x",
	    SCRAM_BAD_RECORD },
	{ "blank behind", "SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY " ",
	    SCRAM_BAD_RECORD },
	{ "line end behind", "SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY "\n",
	    SCRAM_BAD_RECORD },
};

static void
record_syntax(void **state)
{
	struct scram_record r;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(syntax); i++) {
		print_message("# %s\n", syntax[i].name);
		assert_int_equal(
		    scram_record_parse(syntax[i].record, &r), syntax[i].rc);
		assert_int_equal(
		    scram_record_parse(syntax[i].record, NULL), syntax[i].rc);
		assert_int_equal(scram_record_check(syntax[i].record, "x", 1),
		    syntax[i].rc == SCRAM_OK ? SCRAM_WRONG : syntax[i].rc);
	}
}

static void
fake_is_stable_and_own(void **state)
{
	static const unsigned char one[32] = { 1 }, two[32] = { 2 };
	char a[SCRAM_RECORD_MAX], b[SCRAM_RECORD_MAX];
	struct scram_record r, other;

	(void)state;
	assert_int_equal(scram_record_fake(one, "nobody", SCRAM_SHA_256,
			     SCRAM_ITER_DEFAULT, SCRAM_SALT_LEN, a, sizeof(a)),
	    0);
	assert_int_equal(scram_record_parse(a, &r), SCRAM_OK);
	assert_int_equal(r.salt_len, SCRAM_SALT_LEN);
	assert_int_equal(r.iterations, SCRAM_ITER_DEFAULT);
	assert_int_equal(scram_record_fake(one, "nobody", SCRAM_SHA_256,
			     SCRAM_ITER_DEFAULT, SCRAM_SALT_LEN, b, sizeof(b)),
	    0);
	assert_string_equal(a, b);
	assert_int_equal(scram_record_fake(one, "nobodx", SCRAM_SHA_256,
			     SCRAM_ITER_DEFAULT, SCRAM_SALT_LEN, b, sizeof(b)),
	    0);
	assert_string_not_equal(a, b);
	assert_int_equal(scram_record_fake(two, "nobody", SCRAM_SHA_256,
			     SCRAM_ITER_DEFAULT, SCRAM_SALT_LEN, b, sizeof(b)),
	    0);
	assert_string_not_equal(a, b);
	assert_int_equal(scram_record_fake(one, "nobody", SCRAM_SHA_1,
			     SCRAM_ITER_DEFAULT, SCRAM_SALT_LEN, b, sizeof(b)),
	    0);
	assert_int_equal(scram_record_parse(b, NULL), SCRAM_OK);
	print_message("# with another salt\n");
	assert_int_equal(scram_record_fake(one, "nobody", SCRAM_SHA_256, 4096,
			     SCRAM_SALT_MAX, b, sizeof(b)),
	    0);
	assert_int_equal(scram_record_parse(b, &r), SCRAM_OK);
	assert_int_equal(r.salt_len, SCRAM_SALT_MAX);
	assert_int_equal(r.iterations, 4096);
	assert_memory_not_equal(r.salt, r.salt + 32, 32);
	print_message("# as long, of other iterations\n");
	assert_int_equal(scram_record_fake(one, "nobody", SCRAM_SHA_256, 4096,
			     SCRAM_SALT_LEN, b, sizeof(b)),
	    0);
	assert_int_equal(scram_record_parse(a, &r), SCRAM_OK);
	assert_int_equal(scram_record_parse(b, &other), SCRAM_OK);
	assert_memory_not_equal(r.salt, other.salt, SCRAM_SALT_LEN);
}

/* The parameters of another record, but no key of it. */
static void
mask(void **state)
{
	static const unsigned char secret[32] = { 1 };
	char real[SCRAM_RECORD_MAX], out[SCRAM_RECORD_MAX];
	struct scram_record a, b;

	(void)state;
	assert_int_equal(
	    scram_record_make("x", 1, SCRAM_SHA_256, 4096, real, sizeof(real)),
	    0);
	assert_int_equal(
	    scram_record_mask(secret, "nobody", real, out, sizeof(out)), 0);
	assert_int_equal(scram_record_parse(real, &a), SCRAM_OK);
	assert_int_equal(scram_record_parse(out, &b), SCRAM_OK);
	assert_true(scram_record_same_way(&a, &b));
	assert_memory_not_equal(a.stored_key, b.stored_key, 32);
	assert_memory_not_equal(a.server_key, b.server_key, 32);
	assert_memory_not_equal(b.stored_key, b.server_key, 32);
	assert_int_equal(
	    scram_record_mask(secret, "nobody", "$6$x$y", out, sizeof(out)),
	    -1);
}

/* RFC 4231 test case 2. */
static void
hmac_vector(void **state)
{
	static const unsigned char want[32] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf,
		0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75,
		0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d,
		0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43 };
	unsigned char out[32];

	(void)state;
	assert_int_equal(
	    scram_hmac256((const unsigned char *)"Jefe", 4,
		(const unsigned char *)"what do ya want for nothing?", 28, out),
	    0);
	assert_memory_equal(out, want, sizeof(want));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_vectors),
		cmocka_unit_test(pbkdf2_equals_library),
		cmocka_unit_test(make_and_check),
		cmocka_unit_test(make_refuses),
		cmocka_unit_test(record_syntax),
		cmocka_unit_test(fake_is_stable_and_own),
		cmocka_unit_test(mask),
		cmocka_unit_test(hmac_vector),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
