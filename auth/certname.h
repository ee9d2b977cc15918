/*
 * Names of certificates in the form the access map knows: what sendmail has
 * as {cert_subject}, {cert_issuer}, {cn_subject} and {cn_issuer}.  Pure: works
 * on attributes that somebody else took out of the certificate.
 *
 * A distinguished name becomes one line, "/C=US/O=Example/CN=ann": "/" before
 * the first attribute of an RDN and "+" before a further one, the short name
 * OpenSSL has for the type (else the dotted OID), "=", the octets of the
 * value.  Octets below 0x20 or above 0x7e become \xHH, "/" and "+" get a
 * backslash; a backslash itself does not.  The line has at most 255
 * characters; the first attribute that does not fit is left out, with all that
 * follow.  Then each octet below 0x21 or above 0x7e and each of + \ ( ) < > "
 * becomes +HH.
 */
#ifndef AUTH_CERTNAME_H
#define AUTH_CERTNAME_H

#include <stddef.h>

#define CERTNAME_LINE_MAX 255
#define CERTNAME_SIZE     (3 * CERTNAME_LINE_MAX + 1) /* of an escaped name */

struct certname_attr {
	unsigned int rdn; /* index of its RDN, from 0, never falling */
	const char *type; /* short name ("CN") or dotted OID */
	const unsigned char *value;
	size_t len;
};

/*
 * Why a name should not be trusted to tell two subjects apart, as bits.  A
 * caller that decides by name treats such a certificate as not verified.
 */
#define CERTNAME_CUT 1u /* something was left out */
#define CERTNAME_NUL 2u /* a value contains a NUL octet */
#define CERTNAME_BACKSLASH                                                     \
	4u /* a value ends in a backslash, which makes the
				 line ambiguous */

/* The escaped line; out has CERTNAME_SIZE octets.  Returns CERTNAME_* bits. */
unsigned int certname_dn(const struct certname_attr *attr, size_t n, char *out);

/*
 * The first CN, its octets escaped; out has CERTNAME_SIZE octets.  Without a
 * usable CN it is sendmail's word for that: BadCertificateUnknown (none),
 * BadCertificateTooLong (255 octets or more), BadCertificateContainsNUL.
 */
void certname_cn(const struct certname_attr *attr, size_t n, char *out);

#endif
