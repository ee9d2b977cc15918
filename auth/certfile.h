/*
 * What files of certificates hold, for a look by the administrator: dates,
 * names, whether key and chain fit, how old a revocation list is.  Whether a
 * client is let in is decided in cert.h.  The time is passed in, in seconds
 * since 1970.  No OpenSSL type here.  Nothing logs.
 */
#ifndef AUTH_CERTFILE_H
#define AUTH_CERTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct certfile_cert {
	char subject[256], issuer[256]; /* for people, cut if need be */
	char sha256[65], spki_sha256[65];
	int64_t not_before, not_after;
	bool ca;
	bool self_issued; /* subject and issuer are the same */
};

struct certfile;

/*
 * All certificates of a PEM text; other blocks are skipped.  NULL with a
 * sentence in err if one is broken or there is none.
 */
struct certfile *certfile_read(
    const void *pem, size_t len, char *err, size_t errlen);
void certfile_free(struct certfile **);
size_t certfile_count(const struct certfile *);
/* i below the count; valid as long as the file is. */
const struct certfile_cert *certfile_get(const struct certfile *, size_t i);

/* Is the host in the first certificate's subjectAltName (RFC 9525)? */
bool certfile_names(const struct certfile *, const char *host);
/* The names and addresses there, as "a, b, 192.0.2.1"; cut if need be. */
void certfile_hosts(const struct certfile *, char *out, size_t outlen);

/* Does a private key in PEM fit the first certificate?  0, or -1. */
int certfile_fits(const struct certfile *, const void *key, size_t len,
    char *err, size_t errlen);

/*
 * Verifies the first certificate as a server's with the others as
 * intermediates, under the CAs of roots.  0, or -1 with the first error.
 */
int certfile_verify(const struct certfile *, const struct certfile *roots,
    int64_t now, char *err, size_t errlen);

enum certfile_crl {
	CERTFILE_CRL_OK,
	CERTFILE_CRL_NONE,  /* no list of this CA */
	CERTFILE_CRL_FORGED /* a list of its name, not signed by its key */
};

struct certfile_crls;

/* All revocation lists of a PEM text, as certfile_read(). */
struct certfile_crls *certfile_crls_read(
    const void *pem, size_t len, char *err, size_t errlen);
void certfile_crls_free(struct certfile_crls **);
/*
 * The list of the CA that is number i of the file, and with CERTFILE_CRL_OK
 * until when it is good (0: it does not say).
 */
enum certfile_crl certfile_crls_of(const struct certfile_crls *,
    const struct certfile *, size_t i, int64_t *next_update);

#endif
