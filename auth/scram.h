/*
 * Password records for SCRAM (RFC 5802, RFC 7677), in the text form
 *
 *	SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
 *
 * with base64 salt and keys.  One record serves SCRAM, where the proof is
 * checked against its keys, and PLAIN and LOGIN, where the password itself is
 * checked.  Pure but for the random salt of a new record; nothing here logs.
 */
#ifndef AUTH_SCRAM_H
#define AUTH_SCRAM_H

#include <stdbool.h>
#include <stddef.h>

#define SCRAM_SHA_256 "SCRAM-SHA-256"
#define SCRAM_SHA_1   "SCRAM-SHA-1"

/*
 * RFC 7677 section 4 asks for 4096 iterations at least; Cyrus SASL clients
 * refuse more than 65536.
 */
#define SCRAM_ITER_MIN     4096u
#define SCRAM_ITER_MAX     65536u
#define SCRAM_ITER_DEFAULT 32768u

#define SCRAM_SALT_LEN   16 /* bytes, of a new record */
#define SCRAM_SALT_MIN   8  /* bytes, of a record from elsewhere */
#define SCRAM_SALT_MAX   64 /* bytes */
#define SCRAM_KEY_MAX    32 /* bytes of the longest digest */
#define SCRAM_SECRET_LEN 32
#define SCRAM_RECORD_MAX 256 /* octets of the longest record and its NUL */

enum scram_rc {
	SCRAM_OK,
	SCRAM_WRONG,      /* a sound record, another password */
	SCRAM_BAD_RECORD, /* not a SCRAM record, or out of range */
	SCRAM_FAILED      /* the crypto library failed */
};

/* A record taken apart; mech points to a constant. */
struct scram_record {
	const char *mech;
	unsigned iterations;
	unsigned char salt[SCRAM_SALT_MAX];
	size_t salt_len;
	unsigned char stored_key[SCRAM_KEY_MAX];
	unsigned char server_key[SCRAM_KEY_MAX];
	size_t key_len;
};

/*
 * Makes a record with a random salt.  Returns -1 for an unknown mechanism,
 * an empty password, iterations out of range, a short buffer (give
 * SCRAM_RECORD_MAX), or a failure of the crypto library.
 */
int scram_record_make(const char *password, size_t len, const char *mech,
    unsigned iterations, char *out, size_t outlen);

/* The same with a given salt, of SCRAM_SALT_MIN to SCRAM_SALT_MAX bytes. */
int scram_record_make_salt(const char *password, size_t len, const char *mech,
    unsigned iterations, const unsigned char *salt, size_t salt_len, char *out,
    size_t outlen);

/*
 * Takes a record apart and checks every field: mechanism, iteration and salt
 * range, strict base64, key lengths, nothing behind.  Returns SCRAM_OK or
 * SCRAM_BAD_RECORD.  out may be NULL.  Wipe out after use.
 */
enum scram_rc scram_record_parse(const char *record, struct scram_record *out);

/*
 * Does the password belong to the record?  Derives the key and compares in
 * constant time; costs one PBKDF2 whatever the answer.
 */
enum scram_rc scram_record_check(
    const char *record, const char *password, size_t len);

/*
 * The keys of a password by the mechanism, salt and iterations of `like`;
 * costs one PBKDF2.  out may be wiped after use.  Returns SCRAM_OK, or
 * SCRAM_WRONG for an empty password, or SCRAM_FAILED.
 */
enum scram_rc scram_record_derive(const struct scram_record *like,
    const char *password, size_t len, struct scram_record *out);

/* Would one password have the same keys in both? */
bool scram_record_same_way(
    const struct scram_record *, const struct scram_record *);

/* Are the stored keys the same?  In constant time. */
bool scram_record_same_key(
    const struct scram_record *, const struct scram_record *);

/*
 * The record of a user who does not exist: the same for the same secret,
 * name, mechanism and numbers, and matching no password (RFC 5802 section 9
 * speaks of the need).  The secret stays on the server and has
 * SCRAM_SECRET_LEN bytes.  Returns 0, or -1 as scram_record_make().
 */
int scram_record_fake(const unsigned char *secret, const char *user,
    const char *mech, unsigned iterations, size_t salt_len, char *out,
    size_t outlen);

/* The same with mechanism, iterations and salt of another record. */
int scram_record_mask(const unsigned char *secret, const char *user,
    const char *record, char *out, size_t outlen);

/* HMAC-SHA-256, for the password cache.  Returns 0, or -1. */
int scram_hmac256(const unsigned char *key, size_t key_len,
    const unsigned char *data, size_t len, unsigned char out[32]);

#endif
