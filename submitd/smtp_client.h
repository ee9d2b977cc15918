/*
 * The dialogue with a smarthost (RFC 5321; 3207 STARTTLS, 4954 AUTH, 2920
 * pipelining, 1870 SIZE, 6152 8BITMIME, 3030 CHUNKING and BINARYMIME, 3461 DSN,
 * 6531 SMTPUTF8, 8689 REQUIRETLS, 2852 DELIVERBY, 6710 MT-PRIORITY, 9422
 * LIMITS).  Pure: it is fed with the bytes of replies and says commands through
 * a callback; the owner has the socket, TLS and the clock.  After every call
 * smtp_client_want() says what comes next.
 *
 * smtp_client.c has the dialogue, smtp_client_cmd.c its commands and what
 * cannot be asked of a smarthost, smtp_client_reply.c the replies.
 *
 * Nothing but EHLO and STARTTLS is ever said before smtp_client_tls_up().
 * Whatever goes wrong with the session itself (greeting, EHLO, STARTTLS, TLS,
 * AUTH, a lost connection, 421) defers: no message fails because of it.
 */
#ifndef SUBMITD_SMTP_CLIENT_H
#define SUBMITD_SMTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto.h"

struct smtp_client;

enum {
	SMTP_CLIENT_LINE = 2048,  /* longer reply lines end the session */
	SMTP_CLIENT_LINES = 256,  /* so do replies of more lines */
	SMTP_CLIENT_TEXT = 1024,  /* bytes of a result's text */
	SMTP_CLIENT_RCPTS = 10000 /* recipients of one message */
};

enum smtp_client_want {
	SMTP_CLIENT_TLS,   /* start the handshake, then smtp_client_tls_up() */
	SMTP_CLIENT_REPLY, /* a reply is due: smtp_client_input() */
	SMTP_CLIENT_IDLE,  /* smtp_client_send() or smtp_client_quit() */
	SMTP_CLIENT_BODY,  /* smtp_client_body() and smtp_client_body_end();
			      replies may come meanwhile */
	SMTP_CLIENT_CLOSE  /* it is over: smtp_client_failure() */
};

/*
 * What became of a recipient, or of the session.  Lives until the callback
 * returns (or the client is freed).  esc agrees with kind: 2.y.z, 4.y.z or
 * 5.y.z, the smarthost's where it gave one.  With a code, text is the
 * whole reply to this mail, codes included, its lines joined; with code 0 it is
 * a sentence of ours, which may quote a reply.  It is printable ASCII.
 */
struct smtp_client_result {
	enum result_kind kind;
	enum trouble_kind trouble;
	uint16_t code; /* of the reply to this mail, or 0 */
	const char *esc;
	const char *text;
	bool unsure; /* all was sent and no reply came: it may arrive twice */
	bool rest;   /* deferred: too many for one transaction that goes on
			with others; the next one may take it at once */
	unsigned
	    avoid; /* deferred: this it offers, but refuses (SMTP_AVOID_) */
};

/* What may be left out, though the smarthost offers it. */
enum {
	SMTP_AVOID_BDAT = 1 << 0,      /* it refuses the command */
	SMTP_AVOID_MAIL_AUTH = 1 << 1, /* it refuses AUTH= of MAIL */
};

/* Shared by all connections; everything in it outlives them. */
struct smtp_client_conf {
	const char *helo;
	bool implicit_tls; /* TLS comes before the greeting */
	const char *user;  /* AUTH PLAIN is required; NULL or "": none */
	struct blob password;
	/* Keywords of EHLO that count as not offered, blanks between; NULL or
	 * "": none. */
	const char *ignore;
	unsigned avoid; /* heeded when a message begins */
	/* Takes len > 0 bytes for the smarthost. */
	void (*write)(void *arg, const void *, size_t len);
	/* Once for each recipient of a message: its index in to[]. */
	void (*result)(void *arg, size_t n, const struct smtp_client_result *);
	/* The message of smtp_client_follow() has its turn: results are its
	 * own from now on.  NULL if none is ever said so. */
	void (*turn)(void *arg);
};

struct smtp_client *smtp_client_new(const struct smtp_client_conf *, void *arg);
/* Not from inside a callback.  NULL in is fine. */
void smtp_client_free(struct smtp_client **);

enum smtp_client_want smtp_client_want(const struct smtp_client *);

/* Bytes from the smarthost: all are taken.  Anything that comes between the
 * reply to STARTTLS and smtp_client_tls_up() is an injection and ends the
 * session. */
void smtp_client_input(struct smtp_client *, const void *, size_t len);

/* The handshake is done and the smarthost's name and chain are verified. */
void smtp_client_tls_up(struct smtp_client *);

/* The connection is gone, or a deadline passed; text says how. */
void smtp_client_lost(
    struct smtp_client *, enum trouble_kind, const char *text);

/* What EHLO offered under TLS. */
enum {
	SMTP_OFFERS_PIPELINING = 1 << 0,
	SMTP_OFFERS_8BITMIME = 1 << 1,
	SMTP_OFFERS_SIZE = 1 << 2,
	SMTP_OFFERS_STARTTLS = 1 << 3,
	SMTP_OFFERS_AUTH_PLAIN = 1 << 4,
	SMTP_OFFERS_CHUNKING = 1 << 5,
	SMTP_OFFERS_BINARYMIME = 1 << 6, /* with CHUNKING only */
	SMTP_OFFERS_DSN = 1 << 7,
	SMTP_OFFERS_SMTPUTF8 = 1 << 8,
	SMTP_OFFERS_REQUIRETLS = 1 << 9,
	SMTP_OFFERS_DELIVERBY = 1 << 10,
	SMTP_OFFERS_MT_PRIORITY = 1 << 11,
	SMTP_OFFERS_AUTH = 1 << 12 /* with any mechanism */
};
/* Without what the configuration ignores or avoids. */
unsigned smtp_client_offers(const struct smtp_client *);

/* 0: none. */
struct smtp_client_limits {
	uint64_t size;     /* bytes of a message */
	uint32_t by_min_s; /* the shortest time of DELIVERBY */
	/* RFC 9422 */
	uint32_t mails;   /* MAIL commands in a session */
	uint32_t rcpts;   /* RCPT commands for a message */
	uint32_t domains; /* of recipients in a session */
};
const struct smtp_client_limits *smtp_client_limits(const struct smtp_client *);
/* MAIL commands said in this session. */
uint32_t smtp_client_mails(const struct smtp_client *);

struct smtp_client_msg {
	const char *from;      /* "" is the null reverse-path */
	const char *const *to; /* the strings outlive the message's results */
	/* of each recipient, or NULL; the same for its strings */
	const struct rcpt_options *rcpt;
	size_t rcpts;  /* 1 to SMTP_CLIENT_RCPTS */
	uint64_t size; /* bytes of the message before dot-stuffing */
	uint8_t body;  /* enum body_kind: what it holds */
	bool utf8;     /* its header or an address in it is not ASCII */
	/* The smarthost was heard just now: all may leave before it answers. */
	bool eager;
	/* The rest of what its sender asked for; body and utf8 don't count. */
	struct mail_options opt;
	int64_t by_s; /* seconds left until opt.by_ms; negative: over */
};

/* Begins a message; when SMTP_CLIENT_IDLE only.  The arrays may go after the
 * call, the strings may not.  Results can come at once, when the smarthost's
 * offers or limits forbid the message: it is then idle again. */
void smtp_client_send(struct smtp_client *, const struct smtp_client_msg *);
/* The message's bytes, in any pieces; dots are stuffed here.  Both do nothing
 * when the body is no longer wanted. */
void smtp_client_body(struct smtp_client *, const void *, size_t len);
void smtp_client_body_end(struct smtp_client *);

/*
 * Says the commands of another message right behind the end of the present
 * one, whose reply is still to come: RFC 2920 section 3.1 has this, which saves
 * a round trip.  Only when it may follow; false, and nothing was said, if this
 * one may not.  If the session ends before its turn it gets no result, for it
 * was not sent.
 */
bool smtp_client_may_follow(const struct smtp_client *);
bool smtp_client_follow(struct smtp_client *, const struct smtp_client_msg *);

/* Says QUIT; when SMTP_CLIENT_IDLE only. */
void smtp_client_quit(struct smtp_client *);

/* Why the session ended, NULL if nothing went wrong: after QUIT, or when the
 * smarthost closed an idle connection. */
const struct smtp_client_result *smtp_client_failure(
    const struct smtp_client *);

/* Number of replies so far: a change is progress. */
unsigned long smtp_client_replies(const struct smtp_client *);
/* The smarthost has the whole message and takes its time (RFC 5321 section
 * 4.5.3.2.6: ten minutes). */
bool smtp_client_is_final(const struct smtp_client *);
/* A reply other than 421 came since smtp_client_send(): if not, the
 * connection was dead before and the message can be tried on another; but not
 * at once if the result is unsure. */
bool smtp_client_answered(const struct smtp_client *);
/* MAIL may follow: the session was never ready before this is true. */
bool smtp_client_was_ready(const struct smtp_client *);

#endif
