/*
 * What the parameters of MAIL and RCPT say about a message, from the session
 * that took them to the spool and to the smarthost.  All zero, with "" or NULL
 * for texts, is what a client means that says nothing; but see priority.
 */
#ifndef STORE_MAILOPT_H
#define STORE_MAILOPT_H

#include <stdint.h>

enum body_kind { /* RFC 6152, RFC 3030 */
	BODY_7BIT,
	BODY_8BITMIME,
	BODY_BINARYMIME
};

enum mail_ret { RET_NONE, RET_FULL, RET_HDRS }; /* RFC 3461 section 4.3 */

enum mail_by { /* RFC 2852 section 4 */
	BY_NONE,
	BY_NOTIFY, /* N: tell the sender when the time is over */
	BY_RETURN  /* R: give up then */
};

enum {
	PRIORITY_NORMAL = 9, /* 0 is -9, 18 is 9 (RFC 6710) */
	PRIORITY_MAX = 18,
	ENVID_MAX = 300,     /* bytes as xtext; 100 as text */
	MAIL_AUTH_MAX = 500, /* likewise (RFC 4954 section 5) */
	ORCPT_MAX = 500      /* type;xtext (RFC 3461 section 4.2) */
};

struct mail_options {
	uint8_t body;        /* enum body_kind, as declared or found */
	uint8_t utf8;        /* SMTPUTF8 (RFC 6531) */
	uint8_t require_tls; /* RFC 8689 */
	uint8_t ret;         /* enum mail_ret */
	uint8_t by_mode;     /* enum mail_by */
	uint8_t by_trace;    /* its T: the sender wants to hear of relaying */
	uint8_t priority;
	int64_t by_ms;   /* by this time, ms since 1970; 0: none */
	int64_t hold_ms; /* not before (RFC 4865), ms since 1970; 0: at once */
	const char *envid; /* as it came, in xtext */
	/* AUTH, likewise: who submitted it, by an address of his own.  None if
	 * that was not said, or nobody vouches for it: then it is "<>". */
	const char *auth;
};

enum { /* bits of rcpt_options.notify (RFC 3461 section 4.1) */
	NOTIFY_NEVER = 1, /* alone */
	NOTIFY_SUCCESS = 2,
	NOTIFY_FAILURE = 4,
	NOTIFY_DELAY = 8
};

struct rcpt_options {
	uint8_t notify;    /* 0: not said */
	const char *orcpt; /* as it came */
};

#endif
