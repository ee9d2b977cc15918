/*
 * SCRAM password records (scram.h).  The key derivation is the cost of every
 * password login, so the loop of PBKDF2-HMAC-SHA-256 is our own: it keeps the
 * two padded key blocks as hash states and feeds whole blocks to OpenSSL's
 * compression function, which halves the time of its generic routine.
 */

/* SHA256_Transform() is declared deprecated and has no successor. */
#define OPENSSL_API_COMPAT 0x10100000L

#include "scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BLOCK   SHA256_CBLOCK
#define B64_MAX 92 /* of SCRAM_SALT_MAX octets, with NUL and spare */

struct scram_hash {
	const char *mech;
	size_t mech_len;
	size_t len; /* of a digest, in octets */
	const EVP_MD *(*md)(void);
};

static const struct scram_hash hashes[] = {
	{ SCRAM_SHA_256, sizeof(SCRAM_SHA_256) - 1, 32, EVP_sha256 },
	{ SCRAM_SHA_1, sizeof(SCRAM_SHA_1) - 1, 20, EVP_sha1 },
};

static const struct scram_hash *
hash_of(const char *mech, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		if (hashes[i].mech_len == len &&
		    memcmp(hashes[i].mech, mech, len) == 0)
			return &hashes[i];
	return NULL;
}

/* Hash states after the block of key ^ ipad, and of key ^ opad (RFC 2104). */
struct hmac_key {
	SHA256_CTX inner, outer;
};

static void
hmac_key(struct hmac_key *k, const char *key, size_t len)
{
	unsigned char pad[BLOCK] = { 0 };
	size_t i;

	if (len > BLOCK)
		SHA256((const unsigned char *)key, len, pad);
	else
		memcpy(pad, key, len);
	for (i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36;
	SHA256_Init(&k->inner);
	SHA256_Update(&k->inner, pad, BLOCK);
	for (i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&k->outer);
	SHA256_Update(&k->outer, pad, BLOCK);
	OPENSSL_cleanse(pad, sizeof(pad));
}

static void
put_be32(unsigned char *p, uint32_t v)
{
	p[0] = (unsigned char)(v >> 24);
	p[1] = (unsigned char)(v >> 16);
	p[2] = (unsigned char)(v >> 8);
	p[3] = (unsigned char)v;
}

static void
put_state(unsigned char *block, const SHA256_CTX *c)
{
	size_t i;

	for (i = 0; i < 8; i++)
		put_be32(block + 4 * i, (uint32_t)c->h[i]);
}

/* The first value of the chain: HMAC(password, salt || 1). */
static void
pbkdf2_first(const struct hmac_key *k, const unsigned char *salt,
    size_t salt_len, unsigned char out[32])
{
	static const unsigned char one[4] = { 0, 0, 0, 1 };
	SHA256_CTX c = k->inner;

	SHA256_Update(&c, salt, salt_len);
	SHA256_Update(&c, one, sizeof(one));
	SHA256_Final(out, &c);
	c = k->outer;
	SHA256_Update(&c, out, 32);
	SHA256_Final(out, &c);
}

/* PBKDF2 (RFC 8018 section 5.2) with one block of output. */
static void
pbkdf2_sha256(const char *password, size_t len, const unsigned char *salt,
    size_t salt_len, unsigned iterations, unsigned char out[32])
{
	/* A 32 octet text behind one block, padded as its second block. */
	unsigned char block[BLOCK] = { [32] = 0x80, [62] = 0x03 };
	struct hmac_key k;
	SHA256_CTX c;
	unsigned i;
	size_t j;

	hmac_key(&k, password, len);
	pbkdf2_first(&k, salt, salt_len, block);
	memcpy(out, block, 32);
	c = k.inner;
	for (i = 1; i < iterations; i++) {
		memcpy(c.h, k.inner.h, sizeof(c.h));
		SHA256_Transform(&c, block);
		put_state(block, &c);
		memcpy(c.h, k.outer.h, sizeof(c.h));
		SHA256_Transform(&c, block);
		put_state(block, &c);
		for (j = 0; j < 32; j++)
			out[j] ^= block[j];
	}
	OPENSSL_cleanse(&k, sizeof(k));
	OPENSSL_cleanse(&c, sizeof(c));
	OPENSSL_cleanse(block, sizeof(block));
}

/* SaltedPassword of RFC 5802 section 3. */
static int
salted_password(const struct scram_hash *h, const char *password, size_t len,
    const struct scram_record *r, unsigned char *out)
{
	if (len == 0 || len > INT32_MAX)
		return -1;
	if (h->md == EVP_sha256) {
		pbkdf2_sha256(
		    password, len, r->salt, r->salt_len, r->iterations, out);
		return 0;
	}
	return PKCS5_PBKDF2_HMAC(password, (int)len, r->salt, (int)r->salt_len,
		   (int)r->iterations, h->md(), (int)h->len, out) == 1
	    ? 0
	    : -1;
}

static int
hmac(const struct scram_hash *h, const unsigned char *key, size_t key_len,
    const void *data, size_t len, unsigned char *out)
{
	return HMAC(h->md(), key, (int)key_len, data, len, out, NULL) != NULL
	    ? 0
	    : -1;
}

/* Fills both keys of a record whose salt and iterations are set. */
static int
derive(struct scram_record *r, const char *password, size_t len)
{
	const struct scram_hash *h = hash_of(r->mech, strlen(r->mech));
	unsigned char salted[SCRAM_KEY_MAX], client[SCRAM_KEY_MAX];
	int rc = -1;

	if (salted_password(h, password, len, r, salted) == 0 &&
	    hmac(h, salted, h->len, "Client Key", 10, client) == 0 &&
	    EVP_Digest(client, h->len, r->stored_key, NULL, h->md(), NULL) ==
		1 &&
	    hmac(h, salted, h->len, "Server Key", 10, r->server_key) == 0)
		rc = 0;
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(client, sizeof(client));
	return rc;
}

static int
record_init(struct scram_record *r, const char *mech, unsigned iterations,
    const unsigned char *salt, size_t salt_len)
{
	const struct scram_hash *h = hash_of(mech, strlen(mech));

	if (h == NULL || iterations < SCRAM_ITER_MIN ||
	    iterations > SCRAM_ITER_MAX || salt_len < SCRAM_SALT_MIN ||
	    salt_len > SCRAM_SALT_MAX)
		return -1;
	memset(r, 0, sizeof(*r));
	r->mech = h->mech;
	r->key_len = h->len;
	r->iterations = iterations;
	memcpy(r->salt, salt, salt_len);
	r->salt_len = salt_len;
	return 0;
}

static int
record_print(const struct scram_record *r, char *out, size_t outlen)
{
	unsigned char salt[B64_MAX], stored[B64_MAX], server[B64_MAX];
	int n;

	EVP_EncodeBlock(salt, r->salt, (int)r->salt_len);
	EVP_EncodeBlock(stored, r->stored_key, (int)r->key_len);
	EVP_EncodeBlock(server, r->server_key, (int)r->key_len);
	n = snprintf(out, outlen, "%s$%u:%s$%s:%s", r->mech, r->iterations,
	    (char *)salt, (char *)stored, (char *)server);
	OPENSSL_cleanse(stored, sizeof(stored));
	OPENSSL_cleanse(server, sizeof(server));
	return n < 0 || (size_t)n >= outlen ? -1 : 0;
}

int
scram_record_make_salt(const char *password, size_t len, const char *mech,
    unsigned iterations, const unsigned char *salt, size_t salt_len, char *out,
    size_t outlen)
{
	struct scram_record r;
	int rc = -1;

	if (record_init(&r, mech, iterations, salt, salt_len) == 0 &&
	    derive(&r, password, len) == 0)
		rc = record_print(&r, out, outlen);
	OPENSSL_cleanse(&r, sizeof(r));
	return rc;
}

int
scram_record_make(const char *password, size_t len, const char *mech,
    unsigned iterations, char *out, size_t outlen)
{
	unsigned char salt[SCRAM_SALT_LEN];

	if (RAND_bytes(salt, sizeof(salt)) != 1)
		return -1;
	return scram_record_make_salt(
	    password, len, mech, iterations, salt, sizeof(salt), out, outlen);
}

/*
 * Base64 of exactly len octets in strict form: what encoding them gives again.
 * Returns the number of octets, or 0.
 */
static size_t
b64_strict(const char *text, size_t len, unsigned char *out, size_t max)
{
	unsigned char raw[B64_MAX], again[B64_MAX];
	size_t n, pad = 0;

	if (len == 0 || len % 4 != 0 || len >= sizeof(raw))
		return 0;
	if (EVP_DecodeBlock(raw, (const unsigned char *)text, (int)len) < 0)
		return 0;
	while (pad < 2 && text[len - 1 - pad] == '=')
		pad++;
	n = len / 4 * 3 - pad;
	EVP_EncodeBlock(again, raw, (int)n);
	if (n > max || memcmp(again, text, len) != 0)
		n = 0;
	else
		memcpy(out, raw, n);
	OPENSSL_cleanse(raw, sizeof(raw));
	OPENSSL_cleanse(again, sizeof(again));
	return n;
}

/* The text before the next c, whose place *p moves behind; -1 without one. */
static int
field(const char **p, char c, const char **text, size_t *len)
{
	const char *end = strchr(*p, c);

	if (end == NULL)
		return -1;
	*text = *p;
	*len = (size_t)(end - *p);
	*p = end + (c != '\0');
	return 0;
}

/* A decimal number in range without sign or leading zero; else 0. */
static unsigned
number(const char *text, size_t len)
{
	unsigned v = 0;
	size_t i;

	if (len == 0 || len > 6 || text[0] == '0')
		return 0;
	for (i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	return v;
}

static enum scram_rc
record_read(const char *p, struct scram_record *r)
{
	unsigned char salt[SCRAM_SALT_MAX];
	const struct scram_hash *h;
	const char *text;
	unsigned iterations;
	size_t len;

	if (field(&p, '$', &text, &len) == -1 ||
	    (h = hash_of(text, len)) == NULL)
		return SCRAM_BAD_RECORD;
	if (field(&p, ':', &text, &len) == -1)
		return SCRAM_BAD_RECORD;
	iterations = number(text, len);
	if (field(&p, '$', &text, &len) == -1)
		return SCRAM_BAD_RECORD;
	len = b64_strict(text, len, salt, sizeof(salt));
	if (record_init(r, h->mech, iterations, salt, len) == -1)
		return SCRAM_BAD_RECORD;
	if (field(&p, ':', &text, &len) == -1 ||
	    b64_strict(text, len, r->stored_key, h->len) != h->len)
		return SCRAM_BAD_RECORD;
	if (field(&p, '\0', &text, &len) == -1 ||
	    b64_strict(text, len, r->server_key, h->len) != h->len)
		return SCRAM_BAD_RECORD;
	return SCRAM_OK;
}

enum scram_rc
scram_record_parse(const char *record, struct scram_record *out)
{
	struct scram_record r = { 0 };
	enum scram_rc rc = record_read(record, &r);

	if (rc == SCRAM_OK && out != NULL)
		*out = r;
	OPENSSL_cleanse(&r, sizeof(r));
	return rc;
}

enum scram_rc
scram_record_derive(const struct scram_record *like, const char *password,
    size_t len, struct scram_record *out)
{
	*out = *like;
	if (len == 0)
		return SCRAM_WRONG;
	return derive(out, password, len) == 0 ? SCRAM_OK : SCRAM_FAILED;
}

bool
scram_record_same_way(
    const struct scram_record *a, const struct scram_record *b)
{
	return a->mech == b->mech && a->iterations == b->iterations &&
	    a->salt_len == b->salt_len &&
	    memcmp(a->salt, b->salt, a->salt_len) == 0;
}

bool
scram_record_same_key(
    const struct scram_record *a, const struct scram_record *b)
{
	return a->key_len == b->key_len &&
	    CRYPTO_memcmp(a->stored_key, b->stored_key, a->key_len) == 0;
}

enum scram_rc
scram_record_check(const char *record, const char *password, size_t len)
{
	struct scram_record r = { 0 }, mine = { 0 };
	enum scram_rc rc = record_read(record, &r);

	if (rc == SCRAM_OK)
		rc = scram_record_derive(&r, password, len, &mine);
	if (rc == SCRAM_OK && !scram_record_same_key(&mine, &r))
		rc = SCRAM_WRONG;
	OPENSSL_cleanse(&mine, sizeof(mine));
	OPENSSL_cleanse(&r, sizeof(r));
	return rc;
}

/* HMAC-SHA-256(secret, what NUL mech NUL user). */
static int
fake_bytes(const unsigned char *secret, const char *what, const char *mech,
    const char *user, unsigned char out[32])
{
	char text[512];
	int n;

	/* %c with 0 keeps the fields apart; names hold no NUL. */
	n = snprintf(text, sizeof(text), "%s%c%s%c%s", what, 0, mech, 0, user);
	if (n < 0 || (size_t)n >= sizeof(text))
		return -1;
	return scram_hmac256(secret, SCRAM_SECRET_LEN,
	    (const unsigned char *)text, (size_t)n, out);
}

static int
fake_keys(const unsigned char *secret, const char *user, struct scram_record *r)
{
	return fake_bytes(secret, "stored", r->mech, user, r->stored_key) |
	    fake_bytes(secret, "server", r->mech, user, r->server_key);
}

int
scram_record_fake(const unsigned char *secret, const char *user,
    const char *mech, unsigned iterations, size_t salt_len, char *out,
    size_t outlen)
{
	unsigned char salt[SCRAM_SALT_MAX];
	struct scram_record r;
	char what[32];
	size_t half;

	_Static_assert(SCRAM_SALT_MAX == 2 * 32, "two digests");
	/* a salt of a record that is made anew is another one, too */
	for (half = 0; half < 2; half++) {
		snprintf(what, sizeof(what), "salt%zu:%u:%zu", half, iterations,
		    salt_len);
		if (fake_bytes(secret, what, mech, user, salt + 32 * half) ==
		    -1)
			return -1;
	}
	if (record_init(&r, mech, iterations, salt, salt_len) == -1 ||
	    fake_keys(secret, user, &r) != 0)
		return -1;
	return record_print(&r, out, outlen);
}

int
scram_record_mask(const unsigned char *secret, const char *user,
    const char *record, char *out, size_t outlen)
{
	struct scram_record r;
	int rc = -1;

	if (scram_record_parse(record, &r) == SCRAM_OK &&
	    fake_keys(secret, user, &r) == 0)
		rc = record_print(&r, out, outlen);
	OPENSSL_cleanse(&r, sizeof(r));
	return rc;
}

int
scram_hmac256(const unsigned char *key, size_t key_len,
    const unsigned char *data, size_t len, unsigned char out[32])
{
	return hmac(&hashes[0], key, key_len, data, len, out);
}
