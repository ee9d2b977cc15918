/* The inside of a session: for the smtp_*.c files that make it up. */
#ifndef SUBMITD_SMTP_INT_H
#define SUBMITD_SMTP_INT_H

#include "digest.h"
#include "dotline.h"
#include "header.h"
#include "mem.h"
#include "smtp_addr.h"
#include "smtp_param.h"
#include "smtp_reply.h"
#include "smtp_session.h"

/*
 *	state		waits for
 *	ST_CONNECT	the client (implicit TLS: its handshake)
 *	ST_TLS		the handshake after STARTTLS
 *	ST_COMMAND	a command line
 *	ST_TARPIT	some time, after too many errors: then ST_COMMAND
 *	ST_FACTS	auth: M_SESSION_FACTS, then the EHLO is answered
 *	ST_AUTH_WAIT	auth: a challenge or the result
 *	ST_AUTH_LINE	the client's response to a challenge
 *	ST_VERDICT	auth: on MAIL or RCPT
 *	ST_DATA_WAIT	queue: may the message come
 *	ST_DATA		the message
 *	ST_FILE_WAIT	queue: a file for a large body
 *	ST_SUBMIT_WAIT	queue: the message is on disk
 *	ST_CLOSED	nothing more
 */
enum state {
	ST_CONNECT,
	ST_TLS,
	ST_COMMAND,
	ST_TARPIT,
	ST_FACTS,
	ST_AUTH_WAIT,
	ST_AUTH_LINE,
	ST_VERDICT,
	ST_DATA_WAIT,
	ST_DATA,
	ST_FILE_WAIT,
	ST_SUBMIT_WAIT,
	ST_CLOSED
};

enum { LINE_LIMIT = 2048, AUTH_LINE_LIMIT = 12288 };

/* One transaction, from MAIL to its end. */
struct txn {
	uint32_t number; /* 0: none is open */
	uint32_t asked;  /* recipients */
	uint32_t rcpts;  /* accepted ones */
	uint8_t body;    /* enum body_kind */
	bool lost;       /* queue forgot it */

	/* while the message comes */
	uint64_t qid;
	uint64_t max_size; /* bytes of this message */
	struct dotline_in dots;
	struct header header;
	struct buf out;   /* fixed up, not yet in the file */
	struct digest *digest; /* of what the client sends; NULL: none */
	uint64_t written; /* bytes of the message that are in the file */
	bool in_file;
	bool eightbit;
	enum smtp_reply refuse; /* R_DATA_GO: nothing against it so far */
};

struct session {
	const struct session_conf *conf;
	const struct session_ops *ops;
	void *arg;
	const struct session_client *client;
	uint64_t sid;

	enum state state;
	/* times of ops->clock() */
	int64_t began_ms;
	int64_t due_ms;	   /* the deadline */
	int64_t armed_ms;  /* when session_timeout() is called; 0: never */
	int64_t credit_us; /* ST_DATA: it may last until then; else the rest */
	int64_t heard_ms;  /* the last piece of DATA; 0: none yet */
	int64_t tarpit_ms; /* before the next command is taken */
	unsigned char progress;
	bool partial; /* a command has begun */
	bool implicit;
	bool draining;
	bool skipping;      /* the rest of a line that is too long */
	bool skipping_auth; /* of an AUTH command */

	/* forgotten at STARTTLS */
	bool greeted, esmtp;
	char *helo; /* a str, as the texts below */

	bool tls;
	struct session_tls tls_info;

	bool has_facts;
	uint32_t mechs;
	bool no_pipelining;
	bool cert_known; /* the certificate stands for a user */
	int refuse_code; /* a TLS requirement is not met, or a Connect entry */
	char *refuse_esc, *refuse_text;

	char *user, *how;
	bool authenticated; /* an AUTH succeeded */

	struct txn txn;
	uint32_t txns; /* begun so far */
	unsigned messages, errors;
};

/* Steps of a stranger, for session_progress(). */
enum {
	PROGRESS_HELLO = 1,
	PROGRESS_TLS_BEGUN,
	PROGRESS_TLS,
	PROGRESS_TLS_HELLO,
	PROGRESS_AUTH
};

static inline void
session_reach(struct session *s, unsigned char progress)
{
	if (s->progress < progress)
		s->progress = progress;
}

/* The only place that changes the state: it also sets the deadline. */
void session_enter(struct session *, enum state);
void session_reply(
    struct session *, enum smtp_reply, const char *a, const char *b);
/* Counts as an error of the client; too many end the session. */
void session_error(struct session *, enum smtp_reply, const char *a);
void session_count_error(struct session *);
void session_close(struct session *, enum smtp_reply);
void session_raw(struct session *, const char *, size_t);
/* A reply in words of the access map. */
void session_custom(
    struct session *, int code, const char *esc, const char *text);
/* The refusal that holds for the whole session. */
void session_refuse(struct session *);

/* smtp_verb.c: one line without its CRLF.  more: bytes follow it already. */
void smtp_command(struct session *, const char *line, size_t len, bool more);

/* The verbs; arg is what follows the verb and its blank. */
struct arg {
	const char *p;
	size_t len;
	bool more; /* bytes follow the line already */
};
void smtp_ehlo(struct session *, const struct arg *);
void smtp_helo(struct session *, const struct arg *);
void smtp_starttls(struct session *, const struct arg *);
void smtp_auth(struct session *, const struct arg *);
void smtp_mail(struct session *, const struct arg *);
void smtp_rcpt(struct session *, const struct arg *);
void smtp_data(struct session *, const struct arg *);

/* smtp_hello.c */
void smtp_facts(struct session *, const struct m_session_facts *);
void smtp_ehlo_answer(struct session *);

/* smtp_auth.c */
void smtp_auth_line(struct session *, const char *, size_t);
void smtp_auth_too_long(struct session *);
void smtp_auth_challenge(struct session *, const struct m_auth_challenge *);
void smtp_auth_result(struct session *, const struct m_auth_result *);

/* smtp_mail.c */
void smtp_verdict(struct session *, const struct m_verdict *);
void smtp_txn_end(struct session *);

/* smtp_data.c */
void smtp_data_ready(struct session *, const struct m_data_ready *);
size_t smtp_data_input(struct session *, const void *, size_t);
void smtp_data_file(struct session *, const struct m_txn *);
void smtp_data_no_file(struct session *, const struct m_submitted *);
void smtp_data_submitted(struct session *, const struct m_submitted *);
void smtp_data_queue_gone(struct session *);

#endif
