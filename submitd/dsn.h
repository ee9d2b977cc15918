/*
 * Builds delivery status notifications: multipart/report (RFC 6522) with a text
 * for a person, message/delivery-status (RFC 3464, addresses that are not
 * ASCII as in RFC 6533) and the header or the whole of the original.
 *
 * All strings are taken as hostile: a control character in one becomes a
 * blank, so nothing can begin a field or a part. All but a full original is
 * 7-bit with lines that any server takes. NULL stands for what is not known,
 * except where marked.
 */
#ifndef SUBMITD_DSN_H
#define SUBMITD_DSN_H

#include <stdbool.h>
#include <stddef.h>

#include "mem.h"

enum dsn_action {
	DSN_FAILED,
	DSN_DELAYED,
	DSN_DELIVERED,
	DSN_RELAYED, /* handed to a server that sends no reports */
	DSN_EXPANDED,
};

struct dsn_rcpt {
	const char *final;    /* mailbox; not NULL */
	const char *original; /* "type;address" from smtp_orcpt_decode() */
	enum dsn_action action;
	const char *status; /* "5.1.1"; else a class of its own is written */
	const char *remote_mta;   /* host name */
	const char *diagnostic;   /* reply of the remote server, any lines */
	const char *reason;       /* a sentence of ours when no server spoke */
	const char *last_attempt; /* date */
	const char *retry_until;  /* date; used with DSN_DELAYED */
};

struct dsn {
	const char *host;       /* reporting MTA; not NULL */
	const char *to;         /* mailbox of the sender; not NULL */
	const char *from;       /* mailbox; default MAILER-DAEMON@host */
	const char *date;       /* of the report; not NULL */
	const char *message_id; /* of the report, with <>; not NULL */
	const char *boundary;   /* letters and digits, 1 to 60, not guessable */
	const char *envid;      /* ENVID of the sender, decoded */
	const char *arrival;    /* date the message arrived */
	const char *queue_id;
	const char *contact; /* whom to ask for help */
	const struct dsn_rcpt *rcpt;
	size_t nrcpt; /* at least 1 */

	/*
	 * The original: with `full` the whole message (RET=FULL), else its
	 * header. utf8: it came with SMTPUTF8.
	 */
	const void *original;
	size_t original_len;
	bool full;
	bool utf8;
};

/* What the envelope of the report needs. */
enum {
	DSN_NEEDS_8BIT = 1 << 0, /* BODY=8BITMIME */
	DSN_NEEDS_UTF8 = 1 << 1, /* SMTPUTF8 */
};

/*
 * Appends the whole report to out, lines ending with CRLF, and returns its
 * DSN_NEEDS flags. Send it with the null sender, NOTIFY=NEVER.
 */
unsigned dsn_build(const struct dsn *, struct buf *out);

#endif
