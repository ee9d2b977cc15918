/*
 * Making certificates: keys, the private CA, what it issues, PKCS#12 files
 * for devices, revocation lists.  Everything goes in and out as octets; files
 * and the record of serials are the caller's, as is the time, in seconds
 * since 1970.  No OpenSSL type here.  Nothing logs.
 *
 * All keys made here are EC P-256, all signatures are with SHA-256 (or what
 * the key of a CA made elsewhere demands).  Functions that return int return
 * 0, or -1 with a sentence in err, of errlen octets.
 */
#ifndef AUTH_CA_H
#define AUTH_CA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CA_SERIAL_MAX  41  /* octets of a serial in hex and its NUL */
#define CA_DIGEST_MAX  65  /* SHA-256 as lower hex and its NUL */
#define CA_SUBJECT_MAX 256 /* octets of a subject for people and its NUL */

/* Octets, allocated; may hold a secret. */
struct ca_octets {
	unsigned char *p;
	size_t len;
};

/* Wipes and frees; the struct can be used again. */
void ca_octets_free(struct ca_octets *);

/* ---- keys ---- */

struct ca_key;

struct ca_key *ca_key_new(char *err, size_t errlen);
/* A private key in PEM without passphrase, which is not weak. */
struct ca_key *ca_key_read(
    const void *pem, size_t len, char *err, size_t errlen);
/*
 * The public key of a certificate request (PKCS#10) in PEM, which must be
 * signed by it.  Its names are not looked at: who the device is says the
 * administrator.  Weak keys (RSA below 2048 bits, EC below 224) are refused.
 */
struct ca_key *ca_key_of_csr(
    const void *pem, size_t len, char *err, size_t errlen);
/* PKCS#8 in PEM, without passphrase. */
int ca_key_pem(
    const struct ca_key *, struct ca_octets *out, char *err, size_t errlen);
void ca_key_free(struct ca_key **);

/* ---- certificates ---- */

enum ca_use {
	CA_AUTHORITY, /* signs others */
	CA_SERVER,    /* serverAuth, and clientAuth for the way to a
		       * smarthost */
	CA_DEVICE     /* clientAuth */
};

struct ca_wish {
	enum ca_use use;
	const char *cn;          /* at most 64 characters of UTF-8 */
	const char *ou;          /* the same; NULL: none */
	const char *const *host; /* subjectAltName of a server: names, "*.x"
				  * and addresses */
	size_t nhost;
	int64_t not_before, not_after;
};

struct ca_cert {
	struct ca_octets pem, der;
	char serial[CA_SERIAL_MAX]; /* lower hex, an even number of digits */
	char sha256[CA_DIGEST_MAX]; /* of the DER */
	char spki_sha256[CA_DIGEST_MAX];
	char subject[CA_SUBJECT_MAX]; /* "CN = ann, OU = phone" */
	int64_t not_before, not_after;
};

void ca_cert_free(struct ca_cert *);

/* Can it stand in a certificate as a host: a DNS name, "*.x", an address? */
bool ca_is_host(const char *text);

/* A certificate that its own key signs: a CA, or a server's. */
int ca_self_sign(const struct ca_wish *, const struct ca_key *,
    struct ca_cert *out, char *err, size_t errlen);

/* ---- the CA at work ---- */

struct ca;

/*
 * The CA of a certificate and its key, both in PEM; they must fit, and the
 * certificate must be one of a CA.
 */
struct ca *ca_open(const void *cert, size_t cert_len, const void *key,
    size_t key_len, char *err, size_t errlen);
void ca_free(struct ca **);
/* Its own certificate; valid as long as the CA is. */
const struct ca_cert *ca_cert_of(const struct ca *);

/*
 * A certificate for the public part of the key.  It never outlives the CA's
 * own.  An expired CA issues nothing.
 */
int ca_issue(const struct ca *, const struct ca_wish *, const struct ca_key *,
    struct ca_cert *out, char *err, size_t errlen);

/*
 * Key, certificate and the CA's certificate as PKCS#12 under a passphrase.
 * The algorithms are those that all phones can read: 3DES and a MAC by SHA-1.
 * So it is the passphrase that has to be strong.
 */
int ca_pkcs12(const struct ca *, const struct ca_key *, const struct ca_cert *,
    const char *name, const char *passphrase, struct ca_octets *out, char *err,
    size_t errlen);

struct ca_revoked {
	char serial[CA_SERIAL_MAX];
	int64_t at;
	int reason; /* RFC 5280 section 5.3.1; 0 is left out */
};

/* A revocation list (version 2) in PEM. */
int ca_crl(const struct ca *, int64_t number, int64_t this_update,
    int64_t next_update, const struct ca_revoked *, size_t n,
    struct ca_octets *out, char *err, size_t errlen);

#endif
