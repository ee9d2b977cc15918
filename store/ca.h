/*
 * The private CA: its certificate, every serial it gave out, and what it took
 * back. Its key is a file, not here. The general rules are in db.h. Nothing
 * here looks into a certificate.
 */
#ifndef STORE_CA_H
#define STORE_CA_H

#include "db.h"

#define STORE_CA_SUBJECT_MAX 255
#define STORE_CA_CERT_MAX    4096 /* bytes of its certificate in DER */
#define STORE_CA_FILE_MAX    1023
#define STORE_CA_SERIAL_MAX  40 /* hex digits */

struct store_ca {
	char subject[STORE_CA_SUBJECT_MAX + 1];
	unsigned char certificate[STORE_CA_CERT_MAX];
	size_t certificate_len;
	char key_file[STORE_CA_FILE_MAX + 1]; /* where its key was put */
	int64_t crl_number;                   /* of the last list */
	int64_t created;
};

/*
 * There is one CA. Setting another one in its place keeps the serials and the
 * count of lists. STORE_INVALID: a certificate longer than above, or none.
 */
enum store_rc store_ca_set(struct store *st, const char *subject,
    const unsigned char *certificate, size_t len, const char *key_file);
enum store_rc store_ca_get(struct store *st, struct store_ca *ca);

/*
 * Notes a serial that was given out: lower hex, an even number of digits.
 * user_id 0: no user's (a server). STORE_EXISTS: serial or certificate known.
 */
enum store_rc store_ca_issued(struct store *st, const char *serial,
    int64_t user_id, const char *subject, const char *cert_sha256,
    int64_t not_after);

/* Reasons of RFC 5280 section 5.3.1 that are used here. */
enum store_ca_reason {
	STORE_CA_UNSPECIFIED = 0,
	STORE_CA_CESSATION = 5 /* the user is gone */
};

/*
 * Takes back the certificates of a device, or all of a user; to be called
 * while the rows still exist. Those of other CAs, and those taken back
 * already, are left alone. *n, which may be NULL, is how many it were.
 */
enum store_rc store_ca_revoke_device(struct store *st, int64_t device_id,
    int64_t at, enum store_ca_reason reason, int64_t *n);
enum store_rc store_ca_revoke_user(struct store *st, int64_t user_id,
    int64_t at, enum store_ca_reason reason, int64_t *n);
/* The same for one certificate, by its SHA-256. */
enum store_rc store_ca_revoke_cert(struct store *st, const char *cert_sha256,
    int64_t at, enum store_ca_reason reason, int64_t *n);

struct store_ca_revoked {
	char serial[STORE_CA_SERIAL_MAX + 1];
	int64_t at;
	int reason;
};

/* What was taken back and would still be valid at `now`, by serial. */
typedef int store_ca_cb(const struct store_ca_revoked *row, void *arg);
enum store_rc store_ca_revoked_list(
    struct store *st, int64_t now, store_ca_cb *cb, void *arg);

/* The number of the next revocation list. STORE_NONE: no CA. */
enum store_rc store_ca_next_crl(struct store *st, int64_t *number);

#endif
