/*
 * Which certificate stands for which user. The general rules are in db.h.
 * Nothing here looks into a certificate; callers bring digests and names.
 */
#ifndef STORE_CERT_H
#define STORE_CERT_H

#include "device.h"

#define STORE_CERT_VALUE_MAX 1023

enum store_cert_kind {
	STORE_CERT_SHA256,  /* SHA-256 of the certificate's DER */
	STORE_CERT_SPKI,    /* SHA-256 of its SubjectPublicKeyInfo's DER:
			     * survives a renewal with the same key */
	STORE_CERT_SUBJECT, /* subject and issuer of a certificate verified
			     * under a client CA, as the access map has them */
	STORE_CERT_SAN      /* e-mail address in the subject alternative
			     * names of such a certificate */
};

struct store_cert {
	int64_t id;
	int64_t user_id;
	char user[STORE_NAME_MAX + 1];
	int64_t device_id; /* 0: belongs to the user as such */
	enum store_cert_kind kind;
	char value[STORE_CERT_VALUE_MAX + 1];  /* digests: 64 lower-case hex */
	char issuer[STORE_CERT_VALUE_MAX + 1]; /* of a subject, else "" */
	char label[STORE_LABEL_MAX + 1];       /* "" if none */
	int64_t created;
	int64_t not_after;      /* end of validity; 0: not known here */
	int64_t revoked;        /* when; 0: not revoked */
	int64_t device_expires; /* the device's, 0: none */
	int64_t device_revoked; /* the device's, 0: none */
};

/* "cert-sha256", "spki-sha256", "subject", "san". */
const char *store_cert_kind_text(enum store_cert_kind kind);
int store_cert_kind_parse(const char *word, enum store_cert_kind *kind);

enum store_cert_state {
	STORE_CERT_USABLE,
	STORE_CERT_EXPIRED, /* the row's own end, or the device's */
	STORE_CERT_REVOKED  /* the row itself, or its device */
};

/* What the row says about itself at the time `now`. Revoked wins. */
enum store_cert_state store_cert_state(
    const struct store_cert *cert, int64_t now);

/*
 * Adds a row. device_id 0: none; label NULL or "": none; not_after 0: not
 * known. A digest may be written in upper case; it is folded, as is a san's.
 * STORE_EXISTS: this value is mapped already, to whom is in the text (a
 * certificate stands for one user). STORE_NONE: no such user or device.
 * STORE_INVALID: bad value or label, a device of another user, or a subject,
 * which needs its issuer.
 */
enum store_rc store_cert_add(struct store *st, int64_t user_id,
    int64_t device_id, enum store_cert_kind kind, const char *value,
    const char *label, int64_t not_after, int64_t *id);

/* The same for a subject. One subject may stand for two users if two CAs gave
 * it out: they are two certificates. */
enum store_rc store_cert_add_subject(struct store *st, int64_t user_id,
    const char *subject, const char *issuer, const char *label, int64_t *id);

/*
 * The row of this value, and its user where `user` is not NULL. The row is
 * found whether usable or not, and whatever the user's state: both are to be
 * judged by the caller (store_cert_state(), user->state). Folds as add does.
 */
enum store_rc store_cert_find(struct store *st, enum store_cert_kind kind,
    const char *value, struct store_cert *cert, struct store_user *user);
enum store_rc store_cert_find_subject(struct store *st, const char *subject,
    const char *issuer, struct store_cert *cert, struct store_user *user);
enum store_rc store_cert_by_id(
    struct store *st, int64_t id, struct store_cert *cert);

/* Of one user, or of all with user_id 0; ordered by user, then id. */
typedef int store_cert_cb(const struct store_cert *cert, void *arg);
enum store_rc store_cert_list(
    struct store *st, int64_t user_id, store_cert_cb *cb, void *arg);

/* Keeps the row, so that the certificate can't be mapped again unnoticed. */
enum store_rc store_cert_revoke(struct store *st, int64_t id, int64_t when);
enum store_rc store_cert_del(struct store *st, int64_t id);

#endif
