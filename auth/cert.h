/*
 * Client certificates: taken apart, verified against the client CAs, and
 * mapped to a user.  The chain comes as the octets the peer sent in a
 * finished handshake; that the peer holds the key is the TLS layer's word.
 * No OpenSSL type here.  Nothing logs; the time is passed in.
 */
#ifndef AUTH_CERT_H
#define AUTH_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certname.h"

#define CERT_DIGEST_MAX 65  /* SHA-256 as lower hex and its NUL */
#define CERT_EMAIL_MAX  320 /* octets of a SAN e-mail and its NUL */
#define CERT_EMAILS     32  /* SAN e-mails that are looked at */
#define CERT_CHAIN_MAX  16  /* certificates of a chain that are looked at */
#define CERT_USER_MAX   256 /* octets of a user name and its NUL */

/* {verify} of a session that came by TLS. */
enum cert_verify {
	CERT_NO,      /* no certificate */
	CERT_OK,      /* chain, dates, purpose and CRL are right */
	CERT_FAIL,    /* it did not verify */
	CERT_TRUSTED, /* it did not, but it or its key is pinned */
};

/* "NO", "OK", "FAIL", "TRUSTED". */
const char *cert_verify_word(enum cert_verify);

struct cert_facts {
	char sha256[CERT_DIGEST_MAX];      /* of the certificate */
	char spki_sha256[CERT_DIGEST_MAX]; /* of its public key */
	/*
	 * Names as the access map compares them (auth/certname.h).  Kept with
	 * CERT_FAIL, as sendmail does; empty with CERT_TRUSTED.
	 */
	char subject[CERTNAME_SIZE];
	char issuer[CERTNAME_SIZE];
	char cn_subject[CERTNAME_SIZE];
	char cn_issuer[CERTNAME_SIZE];
	/* rfc822Name entries of subjectAltName that are sound addresses */
	char email[CERT_EMAILS][CERT_EMAIL_MAX];
	size_t nemail;
	bool emails_cut; /* there are more than CERT_EMAILS */
	int64_t not_before; /* seconds since 1970 */
	int64_t not_after;
	enum cert_verify verify;
	char reason[160]; /* the first error; "" with CERT_OK */
	bool vague;       /* its names do not tell subjects apart */
	bool in_dates;    /* the certificate itself, at the time asked */
	bool revoked;     /* listed in one of the CRLs */
	bool crl_trouble; /* a CRL is missing or stale: someone must look */
};

/* The CAs and CRLs of client certificates. */
struct cert_trust;

#define CERT_ACCEPT_SERVER 1u /* serverAuth alone is a purpose, too */

/*
 * From PEM text; ca or crl may be NULL.  Without a CA nothing is ever
 * CERT_OK.  With a CRL every certificate of a chain is checked against one of
 * its issuer.  Anything in PEM that is not a certificate (a CRL) is skipped;
 * a text without any is an error.  NULL with a sentence in err.
 */
struct cert_trust *cert_trust_new(const char *ca, size_t ca_len,
    const char *crl, size_t crl_len, unsigned flags, char *err, size_t errlen);
void cert_trust_free(struct cert_trust **);

enum cert_rc {
	CERT_RC_OK,
	CERT_RC_MALFORMED, /* not a certificate: as if there was none */
	CERT_RC_FAILED     /* no memory, or the crypto library failed */
};

/*
 * Examines a chain: the peer's own certificate first, each in DER behind its
 * length as an uint32_t in host order.  trust may be NULL.  now is in seconds
 * since 1970.
 */
enum cert_rc cert_examine(const struct cert_trust *trust,
    const unsigned char *chain, size_t len, int64_t now,
    struct cert_facts *out);

/* What a key of a mapping is, in the order in which they are asked. */
enum cert_key {
	CERT_KEY_SHA256,  /* cert_facts.sha256 */
	CERT_KEY_SPKI,    /* cert_facts.spki_sha256 */
	CERT_KEY_EMAIL,   /* an address, owned by name, not by domain or * */
	CERT_KEY_SUBJECT, /* cert_facts.subject, with its issuer */
	CERT_KEY_NONE
};

/* A short word for the log: "sha256", "spki", "email", "subject", "none". */
const char *cert_key_word(enum cert_key);

struct cert_owner {
	char user[CERT_USER_MAX];
	int64_t device; /* 0: none */
	enum cert_key by;
	char key[CERTNAME_SIZE]; /* the value that was found */
};

enum cert_map {
	CERT_MAP_FOUND,
	CERT_MAP_NONE,      /* nobody's */
	CERT_MAP_UNUSABLE,  /* known, but expired or revoked */
	CERT_MAP_AMBIGUOUS, /* its addresses belong to several users, or are
			     * too many to tell */
	CERT_MAP_TEMP       /* the store can't say now */
};
/* By what a certificate was found, or why it was not; owner is looked at for
 * CERT_MAP_FOUND only. */
const char *cert_map_word(enum cert_map, const struct cert_owner *owner);

/*
 * Asks the store for the owner of one key: CERT_MAP_FOUND (user and device
 * filled), CERT_MAP_NONE, CERT_MAP_UNUSABLE (the row or its device is revoked
 * or expired: no other key is tried then) or CERT_MAP_TEMP.  issuer is given
 * for CERT_KEY_SUBJECT, else NULL.
 */
typedef enum cert_map cert_lookup_fn(void *arg, enum cert_key, const char *key,
    const char *issuer, struct cert_owner *out);

/*
 * Finds the user of a certificate: its digest, its key's digest, and if it
 * verified, its e-mail addresses and its subject.  Sets facts->verify to
 * CERT_TRUSTED and empties the names where a pin stands for verification, or
 * to CERT_FAIL with the reason where a pinned certificate is unusable.
 */
enum cert_map cert_map_user(
    struct cert_facts *, cert_lookup_fn *, void *arg, struct cert_owner *out);

#endif
