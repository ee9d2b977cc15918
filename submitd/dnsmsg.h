/*
 * What a DNS answer says (RFC 1035 section 4), as text.  Pure; the message may
 * hold anything.
 */
#ifndef SUBMITD_DNSMSG_H
#define SUBMITD_DNSMSG_H

#include <stddef.h>

enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28 };
enum dns_rcode { DNS_NOERROR = 0, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3 };

enum {
	DNSMSG_NAME = 256,   /* room for any name and its NUL */
	DNSMSG_REVERSE = 80, /* room for any reverse name */
	DNSMSG_RECORDS = 64  /* records that are looked at */
};

typedef void dnsmsg_each(void *arg, const char *text);

/*
 * Calls each for every record of the type in the answer section: an address as
 * inet_ntop() writes it, or a host name in lower case without its final dot.
 * Names that are no host names (letters, digits, "-", "_" and dots, and no
 * number at the end) are left out.  Returns the message's rcode, or -1 if it is malformed; each may then
 * have been called before.
 */
int dnsmsg_answers(
    const void *msg, size_t len, enum dns_type, dnsmsg_each *, void *arg);

/* The name under which the PTR of a numeric address stands.  0, or -1 if addr
 * is no address. */
int dnsmsg_reverse(const char *addr, char *out, size_t size);

#endif
