/*
 * One SMTP session of a client, as a state machine without socket, clock or
 * process: bytes and the answers of auth and queue go in, replies and
 * questions come out through the ops.  front.c runs it on streams, the
 * dialogue tests and the fuzzer on scripts.
 *
 * After each call the owner must look at session_wants_input(): while the
 * session waits for an answer it takes no input, so that a pipelining client
 * is answered in order and held back by TCP.
 */
#ifndef SUBMITD_SMTP_SESSION_H
#define SUBMITD_SMTP_SESSION_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto.h"

struct session;

/* Settings shared by all sessions; outlives them.  Times in ms. */
struct session_conf {
	const char *hostname;
	uint64_t max_message_size; /* bytes */
	uint32_t max_recipients;
	uint32_t max_errors;
	int64_t handshake_timeout; /* TLS, and from connect to STARTTLS */
	int64_t command_timeout;
	int64_t login_timeout; /* from the beginning */
	int64_t data_timeout;
	int64_t min_data_rate;	/* bytes per second; 0: any */
	int64_t error_delay;	/* the first; 0: none */
	int64_t session_time;	/* of those who logged in */
	uint32_t session_messages; /* 0: any number */
	bool trace_client;
	bool normalize_newlines;
	bool reject_long_lines;	    /* beyond 998 bytes */
	int64_t max_hold;	    /* of FUTURERELEASE; 0: not offered */
	int64_t deliver_by_min;	    /* of BY=...;R; 0: any */
	const char *help;	    /* behind refusals; "" none */
	const char *help_text, *see_url; /* in HELP; "" none */
	bool digests; /* of messages: queue wants to know one again */
};

struct session_ops {
	/* To the client, after all that was sent before. */
	void (*send)(void *arg, const void *, size_t);
	/* Handshake, after all that was sent; session_tls_up() follows. */
	void (*starttls)(void *arg);
	/* Close after all that was sent.  The session does nothing more. */
	void (*hangup)(void *arg);
	/* Call session_timeout() in ms from now; replaces the last one. It
	 * is set anew only for an earlier time: the session itself sees when
	 * it was too early. */
	void (*deadline)(void *arg, int64_t ms);
	int64_t (*clock)(void *arg); /* monotonic, in ms */
	/* The client does not read what was sent: take no more commands. */
	bool (*stuck)(void *arg);
	/* Queue said lately that its disk is full. */
	bool (*no_space)(void *arg);

	/* Tell auth of the session (M_SESSION); M_SESSION_FACTS answers. */
	bool (*announce)(void *arg);
	/* A question to auth or queue; false: it is away. */
	bool (*to_auth)(void *arg, enum msg_type, const void *msg);
	bool (*to_queue)(void *arg, enum msg_type, const void *msg);

	/* The body file of this message, after session_body_file(). */
	int (*body_write)(void *arg, const void *, size_t);
	int (*body_sync)(void *arg);
	void (*body_close)(void *arg);

	void (*random)(void *arg, void *, size_t);
	int64_t (*now_ms)(void *arg, int *tz_minutes); /* since 1970 */
};

/* What of the client is written into Received or the log. */
struct session_client {
	char addr[INET6_ADDRSTRLEN];
	char *name; /* a str (mem.h): "" unless confirmed */
};

/* What the handshake agreed on; the texts outlive the session. */
struct session_tls {
	const char *version, *cipher;
};

/* conf, ops and client outlive the session.  implicit: TLS comes first. */
struct session *session_new(const struct session_conf *,
    const struct session_ops *, void *arg, const struct session_client *,
    uint64_t sid, bool implicit);
void session_free(struct session **);

/* The connection stands: greets, or waits for TLS when it is implicit. */
void session_start(struct session *);
/* Takes bytes; returns how many.  The rest must be given again, with more
 * behind it, when session_wants_input() is true. */
size_t session_input(struct session *, const void *, size_t);
bool session_wants_input(const struct session *);
/* Auth or queue is to answer before it goes on. */
bool session_awaits_answer(const struct session *);
void session_tls_up(struct session *, const struct session_tls *);
void session_timeout(struct session *);

/* The client has shown who it is: by a login, a certificate, or the access
 * map. Others are strangers. */
bool session_is_known(const struct session *);
/* How far a stranger has come: grows with each step toward a login. */
unsigned session_progress(const struct session *);
/* A stranger must go, to make room: says so, where that is possible. */
void session_evict(struct session *);

/* Answers.  Those that come too late or were never asked for are dropped. */
void session_from_auth(struct session *, enum msg_type, const union msg *);
void session_from_queue(struct session *, enum msg_type, const union msg *);

/* auth's worker died: what it knew of the session is lost. */
void session_auth_gone(struct session *);
/* queue died: the transaction is lost, the login is not. */
void session_queue_gone(struct session *);
/* Say 421 as soon as no transaction is open; now: also in an idle one. */
void session_drain(struct session *, bool now);

/* For the log. */
struct session_facts {
	const char *user; /* "" without login */
	const char *how;  /* mechanism, "cert", "" */
	const char *helo;
	unsigned messages, errors;
	bool tls, closed;
};
void session_get_facts(const struct session *, struct session_facts *);

#endif
