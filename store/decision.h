/*
 * A decision as it is remembered: what a session asked for, what was known of
 * it, how it was answered and by which rules.  Those of accepted mail are in
 * queue.db (mailq.h), all others in history.db (history.h).
 */
#ifndef STORE_DECISION_H
#define STORE_DECISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strings are never NULL; "" where there is nothing to say. */
struct decision {
	int64_t id; /* order within its database; given by it */
	int64_t at_us; /* since 1970, as all times here */
	uint64_t sid;
	uint64_t qid;       /* 0: no message came of it */
	const char *phase;  /* "connect", "tls", "auth", "mail", "rcpt" */
	const char *result; /* "allow", "refuse", "defer", "discard",
			       "quarantine" */
	const char *why;    /* a word */
	int code;           /* of the reply; 0: success */
	const char *esc, *text;
	const char *user; /* of auth: as claimed, unless it succeeded */
	int64_t device;   /* 0: none */
	const char *how;  /* mechanism, "cert", "map" */
	const char *client_addr, *client_name;
	const char *verify;
	int bits; /* of the cipher; 0: no TLS */
	const char *cn, *subject, *issuer;
	const char *sender, *rcpt;
	const char *key;    /* entry of the access map that decided */
	const char *ladder; /* the rules that were asked */
};

/* Which ones are wanted; 0 or NULL: any. */
struct decision_filter {
	uint64_t sid, qid;
	const char *user, *addr;
	int64_t since_us;
	bool refused; /* only what was refused or deferred */
};

/*
 * A walk from the newest to the oldest.  One call looks at a bounded number
 * of rows, so that a long history does not hold up its owner.
 */
struct decision_walk {
	int64_t before; /* rows below this id are still to be looked at; begin
			   with INT64_MAX */
	bool end;       /* there are no more */
};

/* The strings live until it returns. */
typedef void decision_fn(void *arg, const struct decision *);

#endif
