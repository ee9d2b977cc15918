/*
 * Tests of auth/jwt.c: the examples of RFC 7515, and tokens that are signed
 * here with keys made here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jwt.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW      INT64_C(1800000000)

/* ---- making tokens ---- */

static struct {
	EVP_PKEY *rsa, *ec, *other, *p384;
	char pem[8192];  /* rsa and ec, public */
	char jwks[8192]; /* the same, as "r1" and "e1" */
} world;

static size_t
b64url(const void *in, size_t len, char *out)
{
	size_t n = (size_t)EVP_EncodeBlock((unsigned char *)out, in, (int)len);
	size_t i;

	while (n > 0 && out[n - 1] == '=')
		n--;
	for (i = 0; i < n; i++)
		out[i] = (char)(out[i] == '+' ? '-'
			: out[i] == '/'       ? '_'
					      : out[i]);
	out[n] = '\0';
	return n;
}

/* r and s in place of DER. */
static size_t
raw_es256(const unsigned char *der, size_t len, unsigned char raw[64])
{
	const unsigned char *p = der;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)len);

	assert_non_null(sig);
	BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
	ECDSA_SIG_free(sig);
	return 64;
}

static size_t
sign(EVP_PKEY *key, const char *text, unsigned char out[1024])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char der[1024];
	size_t len = sizeof(der);

	assert_int_equal(
	    EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(ctx, der, &len,
			     (const unsigned char *)text, strlen(text)),
	    1);
	EVP_MD_CTX_free(ctx);
	if (EVP_PKEY_is_a(key, "EC"))
		return raw_es256(der, len, out);
	memcpy(out, der, len);
	return len;
}

/* NULL for a key: an empty signature. */
static void
make_token(
    EVP_PKEY *key, const char *header, const char *claims, char out[4096])
{
	unsigned char sig[1024];
	size_t n;

	n = b64url(header, strlen(header), out);
	out[n++] = '.';
	n += b64url(claims, strlen(claims), out + n);
	out[n] = '\0';
	if (key != NULL) {
		size_t len = sign(key, out, sig);

		out[n++] = '.';
		b64url(sig, len, out + n);
	} else
		strcpy(out + n, ".");
}

static void
put_member(char *out, EVP_PKEY *key, const char *param, const char *name)
{
	unsigned char bytes[512];
	char text[1024];
	BIGNUM *bn = NULL;
	int n;

	assert_int_equal(EVP_PKEY_get_bn_param(key, param, &bn), 1);
	n = BN_bn2bin(bn, bytes);
	if (name[0] == 'x' || name[0] == 'y')
		n = BN_bn2binpad(bn, bytes, 32);
	b64url(bytes, (size_t)n, text);
	sprintf(out + strlen(out), ",\"%s\":\"%s\"", name, text);
	BN_free(bn);
}

static void
make_jwks(char *out)
{
	strcpy(out,
	    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},"
	    "{\"kty\":\"RSA\",\"use\":\"sig\",\"kid\":\"r1\"");
	put_member(out, world.rsa, OSSL_PKEY_PARAM_RSA_N, "n");
	put_member(out, world.rsa, OSSL_PKEY_PARAM_RSA_E, "e");
	strcat(out, "},{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e1\"");
	put_member(out, world.ec, OSSL_PKEY_PARAM_EC_PUB_X, "x");
	put_member(out, world.ec, OSSL_PKEY_PARAM_EC_PUB_Y, "y");
	strcat(out, "}]}\n");
}

static void
add_pem(char *out, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	size_t n = strlen(out);
	int len;

	assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
	len = BIO_read(bio, out + n, 4000);
	assert_true(len > 0);
	out[n + (size_t)len] = '\0';
	BIO_free(bio);
}

static int
setup(void **state)
{
	(void)state;
	world.rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	world.other = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	world.ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	world.p384 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
	add_pem(world.pem, world.rsa);
	add_pem(world.pem, world.ec);
	make_jwks(world.jwks);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(world.rsa);
	EVP_PKEY_free(world.other);
	EVP_PKEY_free(world.ec);
	EVP_PKEY_free(world.p384);
	return 0;
}

static struct jwt_keys *
keys_of(const char *text)
{
	char err[200] = "";
	struct jwt_keys *k = jwt_keys_new(text, strlen(text), err, sizeof(err));

	if (k == NULL)
		fail_msg("%s", err);
	return k;
}

static const struct jwt_expect want = { .issuer = "https://id.example.org",
	.audience = "submitd",
	.user_claim = "email",
	.now = NOW };

static enum jwt_rc
check(const struct jwt_keys *k, const char *token, char *user)
{
	return jwt_check(k, &want, token, strlen(token), user);
}

/* ---- tests ---- */

#define RS256 "{\"alg\":\"RS256\",\"typ\":\"JWT\"}"
#define ES256 "{\"alg\":\"ES256\"}"
#define ISS   "\"iss\":\"https://id.example.org\""
#define AUD   "\"aud\":\"submitd\""
#define EXP   "\"exp\":1800000100"
#define EMAIL "\"email\":\"ann@example.org\""
#define GOOD  "{" ISS "," AUD "," EXP "," EMAIL "}"

static void
test_claims(void **state)
{
	static const struct {
		const char *name, *claims;
		enum jwt_rc rc;
	} rows[] = {
		{ "good", GOOD, JWT_OK },
		{ "among several audiences",
		    "{" ISS ",\"aud\":[\"x\",\"submitd\"]," EXP "," EMAIL "}",
		    JWT_OK },
		{ "fractions, dates behind us",
		    "{" ISS "," AUD
		    ",\"exp\":1800000000.5,\"nbf\":1799999999.5,"
		    "\"iat\":1," EMAIL "}",
		    JWT_OK },
		{ "verified address",
		    "{" ISS "," AUD "," EXP "," EMAIL
		    ",\"email_verified\":true}",
		    JWT_OK },
		{ "expired within the leeway",
		    "{" ISS "," AUD ",\"exp\":1799999941," EMAIL "}", JWT_OK },
		{ "expired", "{" ISS "," AUD ",\"exp\":1799999940," EMAIL "}",
		    JWT_EXPIRED },
		{ "without an end", "{" ISS "," AUD "," EMAIL "}",
		    JWT_EXPIRED },
		{ "end as a text",
		    "{" ISS "," AUD ",\"exp\":\"1800000100\"," EMAIL "}",
		    JWT_EXPIRED },
		{ "begins within the leeway",
		    "{" ISS "," AUD "," EXP ",\"nbf\":1800000060," EMAIL "}",
		    JWT_OK },
		{ "begins later",
		    "{" ISS "," AUD "," EXP ",\"nbf\":1800000061," EMAIL "}",
		    JWT_NOT_YET },
		{ "begin as a text",
		    "{" ISS "," AUD "," EXP ",\"nbf\":\"1\"," EMAIL "}",
		    JWT_NOT_YET },
		{ "no issuer", "{" AUD "," EXP "," EMAIL "}", JWT_ISSUER },
		{ "other issuer",
		    "{\"iss\":\"https://id.example.org/\"," AUD "," EXP
		    "," EMAIL "}",
		    JWT_ISSUER },
		{ "no audience", "{" ISS "," EXP "," EMAIL "}", JWT_AUDIENCE },
		{ "other audience",
		    "{" ISS ",\"aud\":\"submit\"," EXP "," EMAIL "}",
		    JWT_AUDIENCE },
		{ "audience as a number",
		    "{" ISS ",\"aud\":[1,{}]," EXP "," EMAIL "}",
		    JWT_AUDIENCE },
		{ "no user", "{" ISS "," AUD "," EXP "}", JWT_NO_USER },
		{ "empty user", "{" ISS "," AUD "," EXP ",\"email\":\"\"}",
		    JWT_NO_USER },
		{ "user as a number", "{" ISS "," AUD "," EXP ",\"email\":7}",
		    JWT_NO_USER },
		{ "NUL in the user",
		    "{" ISS "," AUD "," EXP ",\"email\":\"a\\u0000b\"}",
		    JWT_MALFORMED },
		{ "address that is not verified",
		    "{" ISS "," AUD "," EXP "," EMAIL
		    ",\"email_verified\":false}",
		    JWT_NO_USER },
		{ "address that is not verified, as a text",
		    "{" ISS "," AUD "," EXP "," EMAIL
		    ",\"email_verified\":\"false\"}",
		    JWT_NO_USER },
		{ "verified, in another spelling",
		    "{" ISS "," AUD "," EXP "," EMAIL
		    ",\"email_verified\":\"True\"}",
		    JWT_NO_USER },
		{ "verified as a number",
		    "{" ISS "," AUD "," EXP "," EMAIL
		    ",\"email_verified\":1}",
		    JWT_NO_USER },
		{ "verified is null",
		    "{" ISS "," AUD "," EXP "," EMAIL
		    ",\"email_verified\":null}",
		    JWT_NO_USER },
		{ "verified address, as a text",
		    "{" ISS "," AUD "," EXP "," EMAIL
		    ",\"email_verified\":\"true\"}",
		    JWT_OK },
		{ "the same claim twice",
		    "{" ISS "," AUD "," EXP "," EMAIL
		    ",\"email\":\"bob@example.org\"}",
		    JWT_MALFORMED },
		{ "no object", "[1]", JWT_MALFORMED },
		{ "no JSON", "{\"iss\":", JWT_MALFORMED },
	};
	struct jwt_keys *k = keys_of(world.pem);
	char token[4096], user[JWT_USER_MAX + 1];
	enum jwt_rc rc;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		make_token(world.rsa, RS256, rows[i].claims, token);
		rc = check(k, token, user);
		if (rc != rows[i].rc ||
		    strcmp(user, rc == JWT_OK ? "ann@example.org" : "") != 0)
			fail_msg("%s: %s, user \"%s\"", rows[i].name,
			    jwt_rc_text(rc), user);
	}
	jwt_keys_free(&k);
}

static void
test_signatures(void **state)
{
	const struct {
		const char *name, *header;
		EVP_PKEY *key;
		bool jwks;
		enum jwt_rc rc;
	} rows[] = {
		{ "RS256", RS256, world.rsa, false, JWT_OK },
		{ "ES256", ES256, world.ec, false, JWT_OK },
		{ "RS256, key set", RS256, world.rsa, true, JWT_OK },
		{ "ES256, key set", ES256, world.ec, true, JWT_OK },
		{ "named key", "{\"alg\":\"RS256\",\"kid\":\"r1\"}", world.rsa,
		    true, JWT_OK },
		{ "name of the other key", "{\"alg\":\"RS256\",\"kid\":\"e1\"}",
		    world.rsa, true, JWT_NO_KEY },
		{ "unknown name", "{\"alg\":\"RS256\",\"kid\":\"r2\"}",
		    world.rsa, true, JWT_NO_KEY },
		{ "name, keys without", "{\"alg\":\"RS256\",\"kid\":\"r2\"}",
		    world.rsa, false, JWT_OK },
		{ "key of somebody else", RS256, world.other, false,
		    JWT_SIGNATURE },
		{ "RS256 with the other kind of key", RS256, world.ec, false,
		    JWT_SIGNATURE },
		{ "ES256 with the other kind of key", ES256, world.rsa, false,
		    JWT_SIGNATURE },
		{ "none", "{\"alg\":\"none\"}", NULL, false, JWT_ALGORITHM },
		{ "None", "{\"alg\":\"None\"}", NULL, false, JWT_ALGORITHM },
		{ "no algorithm", "{}", world.rsa, false, JWT_MALFORMED },
		{ "HS256", "{\"alg\":\"HS256\"}", world.rsa, false,
		    JWT_ALGORITHM },
		{ "RS512", "{\"alg\":\"RS512\"}", world.rsa, false,
		    JWT_ALGORITHM },
		{ "algorithm in lower case", "{\"alg\":\"rs256\"}", world.rsa,
		    false, JWT_ALGORITHM },
		{ "critical extension",
		    "{\"alg\":\"RS256\",\"crit\":[\"x\"],\"x\":1}", world.rsa,
		    false, JWT_ALGORITHM },
		{ "no signature", RS256, NULL, false, JWT_MALFORMED },
		{ "two algorithms", "{\"alg\":\"RS256\",\"alg\":\"none\"}",
		    world.rsa, false, JWT_NOT_ONE },
	};
	struct jwt_keys *pem = keys_of(world.pem), *set = keys_of(world.jwks);
	char token[4096], user[JWT_USER_MAX + 1];
	enum jwt_rc rc;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		make_token(rows[i].key, rows[i].header, GOOD, token);
		rc = check(rows[i].jwks ? set : pem, token, user);
		if (rc != rows[i].rc)
			fail_msg("%s: %s", rows[i].name, jwt_rc_text(rc));
	}
	jwt_keys_free(&pem);
	jwt_keys_free(&set);
}

/* The old attack: the public key as the secret of a shared-secret scheme. */
static void
test_public_key_is_no_secret(void **state)
{
	struct jwt_keys *k = keys_of(world.pem);
	char token[4096], user[JWT_USER_MAX + 1];
	unsigned char mac[32];
	unsigned len = sizeof(mac);
	size_t n;

	(void)state;
	make_token(NULL, "{\"alg\":\"HS256\"}", GOOD, token);
	n = strlen(token) - 1;
	HMAC(EVP_sha256(), world.pem, (int)strlen(world.pem),
	    (unsigned char *)token, n, mac, &len);
	b64url(mac, len, token + n + 1);
	assert_int_equal(check(k, token, user), JWT_ALGORITHM);
	jwt_keys_free(&k);
}

/* Each bit counts: no changed token is good, nor one that is cut or longer. */
static void
test_any_change(void **state)
{
	struct jwt_keys *k = keys_of(world.pem);
	char token[4096], user[JWT_USER_MAX + 1];
	size_t i, len;
	char was;

	(void)state;
	make_token(world.ec, ES256, GOOD, token);
	len = strlen(token);
	for (i = 0; i < len; i++) {
		was = token[i];
		token[i] = (char)(was == 'A' ? 'B' : 'A');
		if (check(k, token, user) == JWT_OK)
			fail_msg("byte %zu may be changed", i);
		token[i] = was;
		if (jwt_check(k, &want, token, i, user) == JWT_OK)
			fail_msg("may be cut to %zu bytes", i);
	}
	assert_int_equal(check(k, token, user), JWT_OK);
	strcpy(token + len, "A");
	assert_int_not_equal(check(k, token, user), JWT_OK);
	strcpy(token + len, "=");
	assert_int_not_equal(check(k, token, user), JWT_OK);
	strcpy(token + len, ".");
	assert_int_not_equal(check(k, token, user), JWT_OK);
	jwt_keys_free(&k);
}

static void
test_not_a_token(void **state)
{
	static const char *const rows[] = { "", ".", "..", "...", "opaque",
		"a.b", "a.b.c", "a.b.c.d", "e30", "e30.e30", "W10.e30.AA",
		"eyJ.e30.AA" };
	struct jwt_keys *k = keys_of(world.pem);
	char user[JWT_USER_MAX + 1];
	static char big[JWT_TOKEN_MAX + 2];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++)
		if (check(k, rows[i], user) != JWT_NOT_ONE)
			fail_msg("\"%s\" passes for a token", rows[i]);
	memset(big, 'e', sizeof(big) - 1);
	assert_int_equal(check(k, big, user), JWT_NOT_ONE);
	jwt_keys_free(&k);
}

/* RFC 7515, appendices A.2 and A.3. */
static void
test_rfc7515(void **state)
{
	static const char jwks[] =
	    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
	    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
	    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
	    "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":"
	    "\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHm"
	    "fHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_Yp"
	    "RPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re"
	    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3"
	    "qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2et"
	    "hFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}]}";
	static const char payload[] =
	    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
	    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
	static const struct {
		const char *name, *header, *signature;
	} rows[] = {
		{ "A.2", "eyJhbGciOiJSUzI1NiJ9",
		    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj"
		    "5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ"
		    "cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPv"
		    "kSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-e"
		    "OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6Lb"
		    "gGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw" },
		{ "A.3", "eyJhbGciOiJFUzI1NiJ9",
		    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa"
		    "8ISlSApmWQxfKTUJqPP3-Kg6NU1Q" },
	};
	struct jwt_keys *k = keys_of(jwks);
	struct jwt_expect joe = want;
	char token[2048], user[JWT_USER_MAX + 1];
	enum jwt_rc rc;
	size_t i;

	(void)state;
	joe.issuer = "joe";
	joe.now = 1300819380;
	for (i = 0; i < COUNT(rows); i++) {
		snprintf(token, sizeof(token), "%s.%s.%s", rows[i].header,
		    payload, rows[i].signature);
		/* signature, dates and issuer are good; there is no more */
		rc = jwt_check(k, &joe, token, strlen(token), user);
		if (rc != JWT_AUDIENCE)
			fail_msg("%s: %s", rows[i].name, jwt_rc_text(rc));
	}
	jwt_keys_free(&k);
}

static void
test_keys_refused(void **state)
{
	static char p384[2000], small[2000], priv[4000], big[JWT_KEYS_MAX + 2];
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
	BIO *bio = BIO_new(BIO_s_mem());
	const struct {
		const char *name, *text, *error;
	} rows[] = {
		{ "empty", "", "has no key" },
		{ "no key at all", "hello\n", "has no key" },
		{ "cut PEM", "-----BEGIN PUBLIC KEY-----\nAAAA\n",
		    "has no key" },
		{ "other curve", p384, "has no key" },
		{ "weak", small, "1024 bits, expected 2048" },
		{ "private", priv, "private key" },
		{ "other JSON", "{\"kty\":\"RSA\"}", "no JSON Web Key Set" },
		{ "cut JSON", "{\"keys\":[", "no JSON Web Key Set" },
		{ "no keys in the set", "{\"keys\":[]}", "has no key" },
		{ "keys of other kinds",
		    "{\"keys\":[1,{},{\"kty\":\"oct\",\"k\":\"AA\"},"
		    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\"},"
		    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\","
		    "\"y\":\"AA\"},{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}"
		    "]}",
		    "has no key" },
		{ "too large", big, "too large" },
	};
	struct jwt_keys *k;
	char err[200];
	size_t i;
	int n;

	(void)state;
	add_pem(p384, world.p384);
	add_pem(small, key);
	PEM_write_bio_PrivateKey(bio, world.ec, NULL, NULL, 0, NULL, NULL);
	n = BIO_read(bio, priv, sizeof(priv) - 1);
	priv[n > 0 ? n : 0] = '\0';
	memset(big, ' ', sizeof(big) - 1);
	for (i = 0; i < COUNT(rows); i++) {
		err[0] = '\0';
		k = jwt_keys_new(
		    rows[i].text, strlen(rows[i].text), err, sizeof(err));
		if (k != NULL || strstr(err, rows[i].error) == NULL)
			fail_msg("%s: %s \"%s\"", rows[i].name,
			    k != NULL ? "taken" : "refused", err);
	}
	BIO_free(bio);
	EVP_PKEY_free(key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_public_key_is_no_secret),
		cmocka_unit_test(test_any_change),
		cmocka_unit_test(test_not_a_token),
		cmocka_unit_test(test_rfc7515),
		cmocka_unit_test(test_keys_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
