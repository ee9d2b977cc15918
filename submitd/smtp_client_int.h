/* Shared by smtp_client*.c. */
#ifndef SUBMITD_SMTP_CLIENT_INT_H
#define SUBMITD_SMTP_CLIENT_INT_H

#include "dotline.h"
#include "mem.h"
#include "smtp_client.h"

enum { SMTP_ESC_LEN = 12 };

enum stage { /* the reply that is due */
	HANDSHAKE,
	GREETING,
	EHLO,
	STARTTLS,
	AUTH,
	IDLE,
	RSET,
	MAIL,
	RCPT,
	DATA,
	BODY, /* none: the message is being sent by DATA */
	DOT,
	BDAT,
	LONE_DOT, /* 354 came though no recipient was taken */
	QUIT,
	CLOSED
};

struct reply {
	uint16_t code;
	char esc[SMTP_ESC_LEN];          /* "" if none was given */
	char text[SMTP_CLIENT_TEXT + 1]; /* code, then the text of all lines */
	size_t len;
	size_t lines;
};

enum rcpt_state {
	RCPT_WAITING,
	RCPT_ACCEPTED,
	RCPT_DONE,  /* it has its result */
	RCPT_UNSENT /* likewise, and no RCPT is said for it */
};

/* One message; msg.to and msg.rcpt are copies. */
struct message {
	struct smtp_client_msg msg;
	const char **to;
	struct rcpt_options *options;
	unsigned char *rcpt; /* enum rcpt_state of each */
	size_t next, accepted;
	bool grouped, mail_ok, answered;
	bool by_bdat;   /* BDAT in place of DATA */
	bool bdat_said; /* and it is said */
	bool sending;   /* its bytes are being given */
	bool whole;     /* the message has left, its end included */
	uint64_t given; /* bytes of it, with BDAT */
	struct dotline_out dots;
};

struct smtp_client {
	const struct smtp_client_conf *conf;
	void *arg;

	enum stage stage;
	bool tls;
	bool auth_said; /* the response with the password has left */
	bool was_ready;
	bool dirty; /* the smarthost may still be inside a transaction */
	unsigned offers;
	struct smtp_client_limits limits;
	uint32_t mails;
	unsigned long replies;

	char line[SMTP_CLIENT_LINE];
	size_t line_len;
	struct reply reply;

	struct message now;    /* that is being sent */
	struct message behind; /* said ahead of the reply to now's dot */
	bool has_behind;

	struct smtp_client_result failure;
	bool failed;
	char failure_esc[SMTP_ESC_LEN], failure_text[SMTP_CLIENT_TEXT + 1];
};

/* ---- smtp_client.c ---- */

/* A whole reply is in c->reply. */
void smtp_client_take_reply(struct smtp_client *);
/* What came is no reply; the session ends.  what begins the sentence. */
void smtp_client_fail_garbage(struct smtp_client *, const char *what);

/* ---- smtp_client_cmd.c ---- */

void smtp_client_add_mail(const struct smtp_client *, struct buf *);
void smtp_client_add_rcpt(const struct smtp_client *, size_t n, struct buf *);
/* What MAIL says as AUTH (RFC 4954 section 5); NULL: nothing. */
const char *smtp_client_mail_auth(const struct smtp_client *);
/*
 * What keeps the message from being said to this smarthost at all: fills
 * *result with text in buf; false if nothing does.  The second one is about a
 * single recipient.
 */
bool smtp_client_refuses(const struct smtp_client *, char *buf, size_t size,
    struct smtp_client_result *result);
bool smtp_client_refuses_rcpt(
    const struct smtp_client *, size_t n, struct smtp_client_result *result);

/* ---- smtp_client_reply.c ---- */

/* One line without its end; line[len] is NUL. */
void smtp_client_take_line(struct smtp_client *, const char *line, size_t len);
/* Forgets what an earlier EHLO offered. */
void smtp_client_forget_offers(struct smtp_client *);

#endif
