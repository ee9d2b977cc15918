/*
 * Tokens (jwt.h).  The algorithm is chosen by the key, not by the token: an
 * RSA key checks RS256 and nothing else, a P-256 key ES256 and nothing else.
 */
#include "jwt.h"

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_MAX = 32, KID_MAX = 255, RSA_BITS_MIN = 2048, ES256_HALF = 32 };

struct key {
	EVP_PKEY *pkey;
	bool rsa;
	char kid[KID_MAX + 1]; /* "" if it has none */
};

struct jwt_keys {
	struct key key[KEYS_MAX];
	size_t n;
};

/* ---- base64url (RFC 4648 section 5, no padding) ---- */

static int
digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Length of what was written, or -1; out has room for 3/4 of len. */
static ssize_t
decode(const char *in, size_t len, unsigned char *out)
{
	uint32_t bits = 0;
	unsigned nbits = 0;
	size_t i, n = 0;
	int d;

	if (len % 4 == 1)
		return -1;
	for (i = 0; i < len; i++) {
		if ((d = digit(in[i])) == -1)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		if ((nbits += 6) >= 8) {
			nbits -= 8;
			out[n++] = (unsigned char)(bits >> nbits);
		}
	}
	if ((bits & ((1u << nbits) - 1)) != 0) /* two texts for one value */
		return -1;
	return (ssize_t)n;
}

static json_t *
decode_json(const char *in, size_t len)
{
	unsigned char *text = malloc(len + 1);
	json_t *object = NULL;
	ssize_t n;

	if (text == NULL)
		return NULL;
	if ((n = decode(in, len, text)) > 0)
		object = json_loadb((const char *)text, (size_t)n,
		    JSON_REJECT_DUPLICATES, NULL);
	free(text);
	if (object != NULL && !json_is_object(object)) {
		json_decref(object);
		object = NULL;
	}
	return object;
}

/* The text of a member, or NULL. */
static const char *
text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* ---- keys ---- */

/* Takes pkey.  0, or -1 with a sentence if it is an RSA key that is weak. */
static int
add_key(struct jwt_keys *k, EVP_PKEY *pkey, const char *kid, char *err,
    size_t errlen)
{
	char group[32] = "";
	bool rsa = EVP_PKEY_is_a(pkey, "RSA");
	struct key *key = &k->key[k->n];

	EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL);
	if (rsa && EVP_PKEY_get_bits(pkey) < RSA_BITS_MIN) {
		snprintf(err, errlen, "an RSA key has %d bits, expected %d",
		    EVP_PKEY_get_bits(pkey), RSA_BITS_MIN);
		EVP_PKEY_free(pkey);
		return -1;
	}
	if (k->n == KEYS_MAX || strlen(kid) > KID_MAX ||
	    (!rsa && strcmp(group, "prime256v1") != 0)) {
		EVP_PKEY_free(pkey); /* of no use for what we take */
		return 0;
	}
	key->pkey = pkey;
	key->rsa = rsa;
	strcpy(key->kid, kid);
	k->n++;
	return 0;
}

/* A number of a JWK: bytes, first one highest. */
static BIGNUM *
number_of(const json_t *jwk, const char *name)
{
	const char *text = text_of(jwk, name);
	size_t len = text != NULL ? strlen(text) : 0;
	unsigned char bytes[2048];
	ssize_t n;

	if (len == 0 || len / 4 * 3 + 3 > sizeof(bytes) ||
	    (n = decode(text, len, bytes)) <= 0)
		return NULL;
	return BN_bin2bn(bytes, (int)n, NULL);
}

static EVP_PKEY *
from_params(const char *type, OSSL_PARAM_BLD *bld)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY *pkey = NULL;

	if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static EVP_PKEY *
rsa_key(const json_t *jwk)
{
	BIGNUM *n = number_of(jwk, "n"), *e = number_of(jwk, "e");
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY *pkey = NULL;

	if (bld != NULL && n != NULL && e != NULL &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		pkey = from_params("RSA", bld);
	OSSL_PARAM_BLD_free(bld);
	BN_free(n);
	BN_free(e);
	return pkey;
}

static EVP_PKEY *
p256_key(const json_t *jwk)
{
	const char *crv = text_of(jwk, "crv");
	BIGNUM *x = number_of(jwk, "x"), *y = number_of(jwk, "y");
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	unsigned char point[1 + 2 * ES256_HALF] = { 4 }; /* not compressed */
	EVP_PKEY *pkey = NULL;

	if (bld != NULL && crv != NULL && strcmp(crv, "P-256") == 0 &&
	    x != NULL && y != NULL &&
	    BN_bn2binpad(x, point + 1, ES256_HALF) == ES256_HALF &&
	    BN_bn2binpad(y, point + 1 + ES256_HALF, ES256_HALF) == ES256_HALF &&
	    OSSL_PARAM_BLD_push_utf8_string(
		bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(
		bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1)
		pkey = from_params("EC", bld);
	OSSL_PARAM_BLD_free(bld);
	BN_free(x);
	BN_free(y);
	return pkey;
}

/* NULL for a key that is none of ours: another kind, or for encryption. */
static EVP_PKEY *
jwk_key(const json_t *jwk)
{
	const char *kty = text_of(jwk, "kty"), *use = text_of(jwk, "use");

	if (kty == NULL || (use != NULL && strcmp(use, "sig") != 0))
		return NULL;
	if (strcmp(kty, "RSA") == 0)
		return rsa_key(jwk);
	return strcmp(kty, "EC") == 0 ? p256_key(jwk) : NULL;
}

static int
read_jwks(
    struct jwt_keys *k, const char *text, size_t len, char *err, size_t errlen)
{
	json_t *root = json_loadb(text, len, 0, NULL), *jwk;
	json_t *list = json_object_get(root, "keys");
	const char *kid;
	EVP_PKEY *pkey;
	size_t i;
	int rc = 0;

	if (!json_is_array(list)) {
		snprintf(err, errlen, "no JSON Web Key Set");
		rc = -1;
	}
	json_array_foreach(list, i, jwk)
	{
		kid = text_of(jwk, "kid");
		if (rc == 0 && (pkey = jwk_key(jwk)) != NULL)
			rc = add_key(
			    k, pkey, kid != NULL ? kid : "", err, errlen);
	}
	json_decref(root);
	return rc;
}

static EVP_PKEY *
pem_key(const char *name, const unsigned char *der, long len)
{
	const unsigned char *p = der;
	EVP_PKEY *pkey = NULL;
	X509 *cert;

	if (strcmp(name, PEM_STRING_PUBLIC) == 0)
		return d2i_PUBKEY(NULL, &p, len);
	if (strcmp(name, PEM_STRING_X509) == 0 &&
	    (cert = d2i_X509(NULL, &p, len)) != NULL) {
		pkey = X509_get_pubkey(cert);
		X509_free(cert);
	}
	return pkey;
}

static int
read_pem(
    struct jwt_keys *k, const char *text, size_t len, char *err, size_t errlen)
{
	BIO *bio = BIO_new_mem_buf(text, (int)len);
	char *name, *header;
	unsigned char *der;
	EVP_PKEY *pkey;
	long derlen;
	int rc = 0;

	while (rc == 0 && bio != NULL &&
	    PEM_read_bio(bio, &name, &header, &der, &derlen) == 1) {
		if (strstr(name, "PRIVATE") != NULL) {
			snprintf(err, errlen,
			    "holds a private key, expected public keys only");
			rc = -1;
		} else if ((pkey = pem_key(name, der, derlen)) != NULL)
			rc = add_key(k, pkey, "", err, errlen);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(der, (size_t)derlen);
	}
	BIO_free(bio);
	return rc;
}

struct jwt_keys *
jwt_keys_new(const char *text, size_t len, char *err, size_t errlen)
{
	struct jwt_keys *k = calloc(1, sizeof(*k));
	size_t blank = 0;
	int rc = -1;

	err[0] = '\0';
	while (blank < len && strchr(" \t\r\n", text[blank]) != NULL &&
	    text[blank] != '\0')
		blank++;
	if (k == NULL || len > JWT_KEYS_MAX)
		snprintf(err, errlen, "is too large");
	else if (blank < len && text[blank] == '{')
		rc = read_jwks(k, text, len, err, errlen);
	else
		rc = read_pem(k, text, len, err, errlen);
	if (rc == 0 && k->n == 0)
		snprintf(err, errlen,
		    "has no key, expected RSA or P-256 public keys as PEM or "
		    "JSON Web Key Set");
	if (rc != 0 || k->n == 0)
		jwt_keys_free(&k);
	ERR_clear_error();
	return k;
}

void
jwt_keys_free(struct jwt_keys **kp)
{
	struct jwt_keys *k = *kp;

	*kp = NULL;
	if (k == NULL)
		return;
	while (k->n > 0)
		EVP_PKEY_free(k->key[--k->n].pkey);
	free(k);
}

/* ---- a token ---- */

/* Where its three parts are. */
struct parts {
	const char *header, *payload, *signature;
	size_t header_len, payload_len, signature_len;
};

static bool
split(const char *token, size_t len, struct parts *p)
{
	const char *end = token + len, *dot;

	p->header = token;
	if ((dot = memchr(token, '.', len)) == NULL)
		return false;
	p->header_len = (size_t)(dot - token);
	p->payload = dot + 1;
	dot = memchr(p->payload, '.', (size_t)(end - p->payload));
	if (dot == NULL)
		return false;
	p->payload_len = (size_t)(dot - p->payload);
	p->signature = dot + 1;
	p->signature_len = (size_t)(end - p->signature);
	return memchr(p->signature, '.', p->signature_len) == NULL;
}

/* The signature of a token is r and s, that of OpenSSL is DER. */
static int
es256_der(const unsigned char *raw, unsigned char **der)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, ES256_HALF, NULL);
	BIGNUM *s = BN_bin2bn(raw + ES256_HALF, ES256_HALF, NULL);
	int n = -1;

	*der = NULL;
	if (sig != NULL && r != NULL && s != NULL &&
	    ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* the signature's now */
		n = i2d_ECDSA_SIG(sig, der);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return n;
}

static bool
verifies(const struct key *key, const struct parts *p, const unsigned char *sig,
    size_t siglen)
{
	/* header, dot and payload, as they came */
	size_t signed_len = p->header_len + 1 + p->payload_len;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char *der = NULL;
	int len = (int)siglen;
	bool good;

	if (!key->rsa)
		len = siglen == 2 * ES256_HALF ? es256_der(sig, &der) : -1;
	good = ctx != NULL && len > 0 &&
	    EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) ==
		1 &&
	    EVP_DigestVerify(ctx, key->rsa ? sig : der, (size_t)len,
		(const unsigned char *)p->header, signed_len) == 1;
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	ERR_clear_error();
	return good;
}

/* A key without a name may be any; so may a token that names none. */
static bool
may_be(const struct key *key, const char *kid)
{
	return kid == NULL || key->kid[0] == '\0' || strcmp(key->kid, kid) == 0;
}

static enum jwt_rc
check_signature(
    const struct jwt_keys *k, const json_t *header, const struct parts *p)
{
	const char *alg = text_of(header, "alg"), *kid = text_of(header, "kid");
	unsigned char sig[JWT_TOKEN_MAX];
	enum jwt_rc rc = JWT_NO_KEY;
	ssize_t n;
	bool rsa;
	size_t i;

	if (alg == NULL)
		return JWT_MALFORMED;
	rsa = strcmp(alg, "RS256") == 0;
	if (!rsa && strcmp(alg, "ES256") != 0)
		return JWT_ALGORITHM;
	/* extensions that must be understood: there are none we do */
	if (json_object_get(header, "crit") != NULL ||
	    json_object_get(header, "b64") != NULL)
		return JWT_ALGORITHM;
	if ((n = decode(p->signature, p->signature_len, sig)) <= 0)
		return JWT_MALFORMED;
	for (i = 0; i < k->n; i++) {
		if (k->key[i].rsa != rsa || !may_be(&k->key[i], kid))
			continue;
		if (verifies(&k->key[i], p, sig, (size_t)n))
			return JWT_OK;
		rc = JWT_SIGNATURE;
	}
	return rc;
}

/* RFC 7519 section 2, NumericDate: seconds, perhaps with a fraction. */
static bool
date_of(const json_t *claims, const char *name, double *out)
{
	const json_t *v = json_object_get(claims, name);

	*out = json_number_value(v);
	return json_is_number(v);
}

static bool
is_audience(const json_t *aud, const char *want)
{
	const char *text = json_string_value(aud);
	size_t i;

	if (text != NULL)
		return strcmp(text, want) == 0;
	for (i = 0; i < json_array_size(aud); i++) {
		text = json_string_value(json_array_get(aud, i));
		if (text != NULL && strcmp(text, want) == 0)
			return true;
	}
	return false;
}

/* Not there, true, or "true", which some issuers write. */
static bool
is_verified(const json_t *claims)
{
	const json_t *v = json_object_get(claims, "email_verified");
	const char *text = json_string_value(v);

	return v == NULL || json_is_true(v) ||
	    (text != NULL && strcmp(text, "true") == 0);
}

static enum jwt_rc
take_user(const json_t *claims, const char *name, char user[JWT_USER_MAX + 1])
{
	const json_t *v = json_object_get(claims, name);
	size_t len = json_string_length(v);

	if (len == 0 || len > JWT_USER_MAX ||
	    strlen(json_string_value(v)) != len)
		return JWT_NO_USER;
	if (strcmp(name, "email") == 0 && !is_verified(claims))
		return JWT_NO_USER;
	memcpy(user, json_string_value(v), len + 1);
	return JWT_OK;
}

static enum jwt_rc
check_claims(const json_t *claims, const struct jwt_expect *want,
    char user[JWT_USER_MAX + 1])
{
	const char *iss = text_of(claims, "iss");
	double now = (double)want->now, date;

	if (!date_of(claims, "exp", &date) || now >= date + JWT_LEEWAY)
		return JWT_EXPIRED;
	if (json_object_get(claims, "nbf") != NULL &&
	    (!date_of(claims, "nbf", &date) || now < date - JWT_LEEWAY))
		return JWT_NOT_YET;
	if (iss == NULL || strcmp(iss, want->issuer) != 0)
		return JWT_ISSUER;
	if (!is_audience(json_object_get(claims, "aud"), want->audience))
		return JWT_AUDIENCE;
	return take_user(claims, want->user_claim, user);
}

enum jwt_rc
jwt_check(const struct jwt_keys *k, const struct jwt_expect *want,
    const char *token, size_t len, char user[JWT_USER_MAX + 1])
{
	json_t *header, *claims = NULL;
	enum jwt_rc rc;
	struct parts p;

	user[0] = '\0';
	if (len > JWT_TOKEN_MAX || !split(token, len, &p) ||
	    (header = decode_json(p.header, p.header_len)) == NULL)
		return JWT_NOT_ONE;
	/* nothing that is not signed is looked at */
	rc = check_signature(k, header, &p);
	if (rc == JWT_OK) {
		claims = decode_json(p.payload, p.payload_len);
		rc = claims != NULL ? check_claims(claims, want, user)
				    : JWT_MALFORMED;
	}
	json_decref(claims);
	json_decref(header);
	return rc;
}

const char *
jwt_rc_text(enum jwt_rc rc)
{
	static const char *const texts[] = {
		[JWT_OK] = "good",
		[JWT_NOT_ONE] = "not a JSON Web Token",
		[JWT_MALFORMED] = "malformed",
		[JWT_ALGORITHM] = "algorithm not taken",
		[JWT_NO_KEY] = "unknown key",
		[JWT_SIGNATURE] = "wrong signature",
		[JWT_EXPIRED] = "expired",
		[JWT_NOT_YET] = "not valid yet",
		[JWT_ISSUER] = "another issuer",
		[JWT_AUDIENCE] = "for another audience",
		[JWT_NO_USER] = "names no user",
	};

	return (unsigned)rc < sizeof(texts) / sizeof(texts[0]) ? texts[rc]
							       : "?";
}
