/* The inside of a session: for the smtp_*.c files that make it up. */
#ifndef SUBMITD_SMTP_INT_H
#define SUBMITD_SMTP_INT_H

#include "authors.h"
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
 *	ST_CHUNK	bytes of BDAT, perhaps to be dropped
 *	ST_HEADERS_WAIT	auth: may the header name these authors
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
	ST_CHUNK,
	ST_HEADERS_WAIT,
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
	uint8_t body;    /* enum body_kind, as declared */
	uint8_t priority;
	bool has_priority;   /* it was asked for */
	bool utf8;           /* SMTPUTF8 was asked for */
	bool lost;           /* queue forgot it */
	uint8_t from_header; /* enum policy_from_header */
	char *from;          /* the sender, a str */

	/* while the message comes */
	bool bdat; /* in chunks: one has come */
	uint64_t qid;
	uint64_t max_size; /* bytes of this message */
	struct dotline_in dots;
	struct header header;
	struct buf out;   /* fixed up, not yet in the file */
	struct digest *digest; /* of what the client sends; NULL: none */
	uint64_t written; /* bytes of the message that are in the file */
	bool in_file;
	bool eightbit;
	bool bare_header; /* of BODY_BINARYMIME: what no header may hold */
	struct authors authors;
	size_t header_end;  /* in out, until headers_known */
	bool headers_known; /* nothing is demanded of its authors, or allowed */
	bool own_author;    /* all are the sender */
	bool complete;      /* all of the message has come */
	bool told;          /* the client, that it is refused */
	enum smtp_reply refuse; /* R_DATA_GO: nothing against it so far */
	/* the arguments of its reply, strs (NULL: a size); or with a code all of
	 * it, with its enhanced code in refuse_more */
	char *refuse_text, *refuse_more;
	bool refuse_authors; /* auth did */
	uint16_t refuse_code;
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
	int64_t credit_us; /* of a message: it may last until then; else the
			      rest */
	int64_t heard_ms;  /* the last piece of a message; 0: none yet */
	int64_t tarpit_ms; /* before the next command is taken */
	bool has_credit;   /* the message has begun */
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

	struct { /* of BDAT */
		uint64_t size;
		uint64_t left; /* bytes to come */
		bool last;
		bool in_txn; /* else they are dropped */
	} chunk;

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
/* n bytes of a message have come. */
void session_earn_credit(struct session *, size_t n);
/* A reply in words of the access map. */
void session_custom(
    struct session *, int code, const char *esc, const char *text);
/* The refusal that holds for the whole session. */
void session_refuse(struct session *);

/* smtp_verb.c: one line without its CRLF.  more: bytes follow it already. */
void smtp_command(struct session *, const char *line, size_t len, bool more);
/* Whether BDAT works in this session now; say: the reply is sent if not. */
bool smtp_bdat_passes(struct session *, bool say);

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
void smtp_bdat(struct session *, const struct arg *);

/* Extensions, as EHLO offers them. */
enum ext {
	EXT_PIPELINING,
	EXT_SIZE,
	EXT_8BITMIME,
	EXT_AUTH,
	EXT_DSN,
	EXT_CHUNKING,
	EXT_BINARYMIME,
	EXT_SMTPUTF8,
	EXT_DELIVERBY,
	EXT_FUTURERELEASE,
	EXT_MT_PRIORITY,
	EXT_REQUIRETLS,
	EXT_LIMITS,
	EXT_STATUSCODES
};

/* smtp_hello.c */
/* Under TLS, in a session that is not refused. */
bool smtp_offers(const struct session *, enum ext);
void smtp_facts(struct session *, const struct m_session_facts *);
void smtp_ehlo_answer(struct session *);

/* smtp_mailarg.c: what the parameters of MAIL and RCPT say. */
struct mail_args {
	struct session *session;
	uint64_t size; /* SIZE; 0: not given */
	struct mail_options opt;
	struct rcpt_options rcpt;
	bool has_priority;        /* MT-PRIORITY was given */
	char text[ORCPT_MAX + 1];   /* of ENVID or ORCPT; opt points here */
	char auth[MAIL_AUTH_MAX + 1]; /* and here, of AUTH */
	struct smtp_param param;    /* the one that is looked at */
	/* for a reply */
	const char *arg, *arg2;
	char number[24];
};
/* False: the reply has been sent. */
bool smtp_mail_args(
    struct session *, const char *, size_t, struct mail_args *);
bool smtp_rcpt_args(
    struct session *, const char *, size_t, struct mail_args *);

/* smtp_auth.c */
void smtp_auth_line(struct session *, const char *, size_t);
void smtp_auth_too_long(struct session *);
void smtp_auth_challenge(struct session *, const struct m_auth_challenge *);
void smtp_auth_result(struct session *, const struct m_auth_result *);

/* smtp_mail.c */
void smtp_verdict(struct session *, const struct m_verdict *);
void smtp_txn_end(struct session *);

/* smtp_headers.c */
/* As header_ops has it; arg is the session. */
bool smtp_headers_field(void *arg, const struct header_field *);
/* The header is over: adds what names the author to its fields in out. */
void smtp_headers_end(struct session *, struct buf *out);
/* With the header there: true when auth is asked, and must answer first. */
bool smtp_headers_wait(struct session *);
void smtp_headers_verdict(struct session *, const struct m_verdict *);
void smtp_headers_auth_gone(struct session *);

/* smtp_bdat.c */
size_t smtp_chunk_input(struct session *, const void *, size_t);
/* Goes on with the chunk, after an answer of queue. */
void smtp_bdat_go(struct session *);

/* smtp_data.c */
/* Asks queue for a message; false: it is away. */
bool smtp_data_open(struct session *);
/* From here on the message is only consumed. */
void smtp_data_refuse(struct txn *, enum smtp_reply why);
/* The reply of a refused message; a complete one ends the transaction. */
void smtp_data_say_refused(struct session *);
/* Asks for a file for a large body. */
void smtp_data_ask_file(struct session *);
/* Takes bytes of the message; returns how many. */
size_t smtp_data_feed(struct session *, const void *, size_t);
/* All of the message has come. */
void smtp_data_finish(struct session *);
/* After the answer of another role in the middle of the message. */
void smtp_data_go_on(struct session *);
void smtp_data_ready(struct session *, const struct m_data_ready *);
size_t smtp_data_input(struct session *, const void *, size_t);
void smtp_data_file(struct session *, const struct m_txn *);
void smtp_data_no_file(struct session *, const struct m_submitted *);
void smtp_data_submitted(struct session *, const struct m_submitted *);
void smtp_data_queue_gone(struct session *);

#endif
