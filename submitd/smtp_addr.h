/*
 * Addresses in the arguments of EHLO, MAIL and RCPT: paths, mailboxes, domains
 * (RFC 5321 4.1.2 and 4.1.3, RFC 6531 3.3).  Parameters are smtp_param.h's.
 *
 * A percent sign or bang in a local part is data, and so is a source route,
 * which is dropped: nothing here is ever taken for routing. All functions
 * take counted bytes that need not end with NUL, and bound what they read.
 */
#ifndef SUBMITD_SMTP_ADDR_H
#define SUBMITD_SMTP_ADDR_H

#include <stdbool.h>
#include <stddef.h>

#include "smtp_reply.h"

/* Bytes, without NUL: RFC 5321 4.5.3.1. A path of 256 has two brackets. */
enum {
	SMTP_LOCAL_MAX = 64,
	SMTP_DOMAIN_MAX = 255,
	SMTP_ADDR_MAX = 254,
};

enum smtp_addr_rc {
	SMTP_ADDR_OK,
	SMTP_ADDR_UNQUALIFIED, /* no domain, or one without a dot */
	SMTP_ADDR_BRACKETS,    /* no < first, or no > that closes it */
	SMTP_ADDR_SYNTAX,      /* local part, source route or something else */
	SMTP_ADDR_DOMAIN,      /* a malformed domain */
	SMTP_ADDR_LITERAL,     /* a malformed or unknown [address] */
	SMTP_ADDR_TOO_LONG,    /* local part, domain or the whole */
	SMTP_ADDR_NEEDS_UTF8,  /* non-ASCII without SMTPUTF8 */
	SMTP_ADDR_NULL,        /* <> where it is not allowed */
};

/* What the caller allows. */
enum {
	SMTP_ADDR_ALLOW_UTF8 = 1 << 0,       /* SMTPUTF8 was given */
	SMTP_ADDR_ALLOW_NULL = 1 << 1,       /* <>: MAIL */
	SMTP_ADDR_ALLOW_POSTMASTER = 1 << 2, /* <Postmaster>: RCPT */
};

/*
 * A mailbox with the least quoting its local part needs: RFC 5321 4.1.2 calls
 * "ann"@example.org and ann@example.org the same. The case of both parts is
 * kept; of an address literal only the tag is rewritten, to "IPv6:".
 */
struct smtp_addr {
	char text[SMTP_ADDR_MAX + 1]; /* "" for <> */
	size_t len;                   /* of text */
	size_t local_len;             /* of the part before @, with quotes */
	bool literal;                 /* the domain is an [address] */
	bool utf8; /* not ASCII: the next server needs SMTPUTF8 */
};

/*
 * Parses "<path>" at the start of arg, the text behind "FROM:" or "TO:"; blanks
 * before the bracket are skipped. *used becomes the number of bytes up to and
 * with the closing bracket; parameters follow there. out is filled
 * for SMTP_ADDR_OK and also for SMTP_ADDR_UNQUALIFIED, which some policy may
 * accept; else its text is "". <Postmaster> has no domain and any case.
 */
enum smtp_addr_rc smtp_addr_path(const char *arg, size_t len, unsigned allow,
    struct smtp_addr *out, size_t *used);

/* The same for a mailbox without brackets or route, which all of s must be. */
enum smtp_addr_rc smtp_addr_mailbox(
    const char *s, size_t len, unsigned allow, struct smtp_addr *out);

/* The reply for rc (not SMTP_ADDR_OK) to MAIL or, with rcpt, to RCPT. */
enum smtp_reply smtp_addr_reply(enum smtp_addr_rc rc, bool rcpt);

/*
 * The domain of a mailbox: what follows the @ behind the local part, or "" if
 * there is none. Points into mailbox.
 */
const char *smtp_addr_domain(const char *mailbox);

/* Whether two domains are the same; ASCII letters match in any case. */
bool smtp_addr_domain_equal(const char *a, const char *b);

/*
 * The argument of EHLO or HELO, without blanks around it. Programs send bare
 * labels, literals in any case and names with blanks or 8-bit letters; all of
 * them pass, since nothing is decided by it. Refused (-1) is what is empty,
 * longer than SMTP_DOMAIN_MAX or has a control character. Whoever shows it
 * must escape it.
 */
int smtp_ehlo_arg(const char *arg, size_t len, char out[SMTP_DOMAIN_MAX + 1]);

#endif
