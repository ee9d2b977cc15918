/*
 * Arguments of EHLO, MAIL and RCPT: paths, parameters and what is in them
 * (RFC 5321 4.1.2 and 4.1.3, RFC 6531 3.3, RFC 3461 4, RFC 1870).
 *
 * A percent sign or bang in a local part is data, and so is a source route,
 * which is dropped: nothing here is ever taken for routing. All functions
 * take counted bytes that need not end with NUL, and bound what they read.
 */
#ifndef SUBMITD_SMTP_ADDR_H
#define SUBMITD_SMTP_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp_reply.h"

/* Bytes, without NUL: RFC 5321 4.5.3.1. A path of 256 has two brackets. */
enum {
	SMTP_LOCAL_MAX = 64,
	SMTP_DOMAIN_MAX = 255,
	SMTP_ADDR_MAX = 254,
	SMTP_PARAM_KEY_MAX = 32,
	SMTP_PARAM_VALUE_MAX = 1024,
	SMTP_PARAMS_MAX = 24, /* in one command */
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

/* One parameter of MAIL or RCPT; value points into the command line. */
struct smtp_param {
	char key[SMTP_PARAM_KEY_MAX + 1]; /* upper case */
	const char *value;                /* NULL without '=' */
	size_t value_len;
};

/* Where an iteration stands; begin with smtp_params_init(). */
struct smtp_params {
	const char *next, *end;
	struct {
		const char *p;
		size_t len;
	} seen[SMTP_PARAMS_MAX];
	size_t nseen;
	bool utf8;
};

enum smtp_param_rc {
	SMTP_PARAM_OK,
	SMTP_PARAM_END,
	SMTP_PARAM_SYNTAX, /* also: too many or too long */
	SMTP_PARAM_TWICE,  /* the keyword stood before; key is set */
};

/* utf8: values may hold UTF-8 (RFC 6531 3.3); arg must outlive the use. */
void smtp_params_init(
    struct smtp_params *, const char *arg, size_t len, bool utf8);

/*
 * The next parameter. A value may hold '=', which the RFCs want encoded but
 * programs send in ENVID. After anything but SMTP_PARAM_OK the iteration is
 * over.
 */
enum smtp_param_rc smtp_params_next(struct smtp_params *, struct smtp_param *);

/*
 * xtext (RFC 3461 4). Decoding takes hexadecimal digits of both cases and
 * refuses text that decodes to a control character. Both write a NUL and
 * return 0, or -1 when in is not valid or does not fit into size.
 */
int smtp_xtext_decode(const char *in, size_t len, char *out, size_t size);
int smtp_xtext_encode(const char *in, size_t len, char *out, size_t size);

/*
 * The value of ORCPT, "rfc822;xtext" or "utf-8;..." in each form of RFC 6533
 * section 3, decoded to "type;address" with the type as written. The address
 * of an unknown type is xtext. utf8 as above. Returns 0 or -1.
 */
int smtp_orcpt_decode(
    const char *in, size_t len, bool utf8, char *out, size_t size);

/*
 * The value of SIZE: 1 to 20 digits. What is beyond 64 bits is UINT64_MAX, so
 * that it is refused as too large and not as malformed. Returns 0 or -1.
 */
int smtp_size_parse(const char *in, size_t len, uint64_t *size);

#endif
