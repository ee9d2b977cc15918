/*
 * Which certificates a client is shown, by the name it asks for (SNI, RFC 6066
 * section 3).  Of each kind of key there can be one, the client's signature
 * algorithms choose among these.
 *
 * A name is matched as RFC 9525 does: letters of any case, a "*" stands for
 * the whole first label and for one only; a certificate that has the name
 * itself comes before one that has it by "*", and of equals the first counts.
 * Who asks for nothing, or for a name that no certificate has, gets what the
 * first name of the first certificate gets.
 */
#ifndef SUBMITD_TLSNAME_H
#define SUBMITD_TLSNAME_H

#include <stdbool.h>
#include <stddef.h>

enum tlsname_kind {
	TLSNAME_RSA,
	TLSNAME_PSS,
	TLSNAME_EC,
	TLSNAME_ED25519,
	TLSNAME_ED448,
	TLSNAME_KINDS
};

/* Numbers of certificates, or -1. */
struct tlsname_pick {
	int of[TLSNAME_KINDS];
};

struct tlsname;

struct tlsname *tlsname_new(void);
void tlsname_free(struct tlsname **);

/* The names of certificate number cert, which has a key of this kind: in the
 * order of the certificates, one call without a name (NULL) first.  What can
 * be no host's name is left out. */
void tlsname_add(struct tlsname *, int cert, enum tlsname_kind,
    const char *name, size_t len);
/* After the last of them, before the first question. */
void tlsname_seal(struct tlsname *);

/* host: NULL if none was asked for. */
const struct tlsname_pick *tlsname_find(
    const struct tlsname *, const char *host);
/* All there can be; NULL from n on. */
const struct tlsname_pick *tlsname_pick(const struct tlsname *, size_t n);

#endif
