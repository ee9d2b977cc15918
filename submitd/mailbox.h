/*
 * The mailboxes of an address field of the header: From, Sender and the like
 * (RFC 5322 3.4 and 4.4, RFC 6532, groups as in RFC 6854).
 *
 * For deciding who a message claims to be from, so it is strict where mail
 * programs differ: what one of them could take for another mailbox is either
 * reported, too, or an error. Blanks, folds and comments stand around an
 * address, never in it; a source route, encoded words in an address and text
 * behind the closing bracket are errors. Looser than the RFC it is only with
 * names: 8-bit text, dots and brackets need no quotes, and an address may be
 * a name, as in
 *
 *	ann@example.org <ann@example.org>
 *
 * All addresses that the field shows to a person are reported with the others
 * (shown.h).
 */
#ifndef SUBMITD_MAILBOX_H
#define SUBMITD_MAILBOX_H

#include <stddef.h>

enum {
	MAILBOX_VALUE_MAX = 16 * 1024, /* bytes of a field */
	MAILBOX_ADDRESS_MAX = 320,     /* bytes of an address */
};

enum mailbox_rc {
	MAILBOX_OK,
	MAILBOX_MISSING,     /* for the caller's use: there is no such field */
	MAILBOX_TWICE,       /* likewise: more than one, where one may be */
	MAILBOX_NONE,        /* no mailbox in the field */
	MAILBOX_SYNTAX,      /* none of the others */
	MAILBOX_NAME,        /* a name that needs quotes */
	MAILBOX_BRACKETS,    /* < and > do not go together, or text behind > */
	MAILBOX_QUOTES,      /* a quote or comment without end */
	MAILBOX_BLANK,       /* a blank or comment in an address */
	MAILBOX_UNQUALIFIED, /* no domain, or one without a dot */
	MAILBOX_DOMAIN,      /* a malformed domain */
	MAILBOX_ROUTE,       /* <@relay.example:ann@example.org> */
	MAILBOX_ENCODED,     /* an encoded word in an address */
	MAILBOX_CONTROL,     /* a control character, perhaps encoded */
	MAILBOX_WORD,        /* an encoded word that can't be read here */
	MAILBOX_LONG,        /* too long, or too many */
	MAILBOX_RCS          /* number of them */
};

/* An address as smtp_addr.h writes it, or as it is shown. It may come more
 * than once. */
typedef void mailbox_fn(void *arg, const char *address);

/*
 * Reads the value of a field, with its folds and final CR LF. Calls fn for
 * each address; what comes with an error is not all there is.
 */
enum mailbox_rc mailbox_list(
    const char *value, size_t len, mailbox_fn *fn, void *arg);

/* What is wrong, as a person is told: "has a blank in an address". Not for
 * MAILBOX_OK. */
const char *mailbox_text(enum mailbox_rc);

#endif
