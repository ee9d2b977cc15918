/*
 * The parts of the relay role: relay.c has the peers and shares the jobs out
 * to connections, relay_conn.c is one connection, relay_job.c one message,
 * relay_fit.c makes a message fit for a smarthost that lacks something,
 * relay_rule.c what auth says of the access map.
 */
#ifndef SUBMITD_RELAY_H
#define SUBMITD_RELAY_H

#include <sys/queue.h>
#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc.h"
#include "mem.h"
#include "proto.h"
#include "ruled.h"
#include "smtp_client.h"

struct event;
struct event_base;
struct stream;
struct tls_ctx;

/* What all connections share. */
struct relay {
	struct event_base *base;
	const char *host; /* as configured: name or address */
	uint16_t port;
	int64_t timeout_ms; /* for one reply */
	struct tls_ctx *tls;
	struct smtp_client_conf client;
};
extern struct relay relay;

enum {
	RELAY_ADDRS = 16, /* addresses of the smarthost that are tried */
	RELAY_ADDR = 64,  /* room for one */
	RELAY_MTA = 400   /* room for name[address]:port */
};

/* Why the smarthost can't be used. */
struct relay_reason {
	enum trouble_kind trouble;
	char esc[12], text[SMTP_CLIENT_TEXT + 1];
	char addr[RELAY_ADDR], mta[RELAY_MTA]; /* "" if none was tried */
	bool final; /* an entry of the access map says so with PERM+ */
	char ruled[RULED_MAX]; /* what auth tells queue of such an entry */
};

/* ---- one message: relay_job.c ---- */

/* What the access map says of a recipient. */
enum relay_ruled { RULED_OPEN, RULED_GO, RULED_OUT };

struct relay_rcpt {
	char *to;
	uint32_t n;              /* queue's number of it */
	struct rcpt_options opt; /* its string is owned */
	unsigned char ruled;     /* enum relay_ruled */
	bool done;               /* queue has its result */
	/* as it is said to a smarthost without SMTPUTF8, or NULL */
	char *ascii, *ascii_orcpt;
};

/* How the message goes to a smarthost: relay_fit.c. */
struct relay_fit {
	unsigned offers;    /* what it was made fit for */
	struct mime7 *mime; /* scanned, if it had to be */
	char *from;         /* as relay_rcpt.ascii */
	uint8_t body;       /* enum body_kind, as it is sent */
	bool utf8;          /* its header or an address is not ASCII */
	bool convert;
	uint8_t target;    /* enum mime7_target */
	uint64_t size;     /* as it is sent */
	struct buf pieces; /* converted, not yet handed out */
	bool ended;
};

struct relay_job {
	TAILQ_ENTRY(relay_job) link;
	struct ipc *queue; /* NULL: gone, results reach nobody */
	uint64_t qid, sid;
	char *from, *envid, *auth;
	struct mail_options opt;
	struct relay_rcpt *rcpt;
	size_t rcpts, have;
	size_t *batch; /* those of the transaction that runs, as indices */
	size_t nbatch;
	uint64_t size, off; /* off: bytes already read */
	struct buf body;
	int fd; /* or -1: all is in body */
	struct relay_fit fit;
	bool again, retried;
};
TAILQ_HEAD(relay_jobs, relay_job);

/* What queue may send. */
extern const struct ipc_rule relay_job_rules[];
/* Jobs that have not all come yet are forgotten. */
void relay_job_queue_gone(struct ipc *);
size_t relay_job_count(void); /* jobs that live, in any state */

/* Hands out the next piece of the body: its length, 0 at the end, -1 with why
 * when it can't be read.  *p lives until the next call. */
ssize_t relay_job_read(struct relay_job *, const void **p, const char **why);

/* handed: what the smarthost takes care of (enum handed_over). */
void relay_job_result(struct relay_job *, size_t i,
    const struct smtp_client_result *, const char *mta, unsigned handed);
/* The same result for all that have none. */
void relay_job_result_all(
    struct relay_job *, const struct smtp_client_result *, const char *mta);
/* A recipient is kept back by the access map. */
void relay_job_rule_out(struct relay_job *, size_t i,
    const struct m_server_verdict *, const char *mta);
/* Forgets those that have their result; the numbers of the others change. */
void relay_job_prune(struct relay_job *);
/* After its results: tells queue, frees. */
void relay_job_done(struct relay_job *);
/* Defers all recipients that have no result, or fails them if the reason is
 * final; then as relay_job_done(). */
void relay_job_defer(struct relay_job *, const struct relay_reason *);

/* ---- making it fit: relay_fit.c ---- */

enum relay_fit_rc {
	RELAY_FITS,
	RELAY_CANNOT,    /* the smarthost can't get it: esc and text say why */
	RELAY_UNREADABLE /* neither can we: text says why */
};

/* For a smarthost that offers this (SMTP_OFFERS_): decides what is sent, and
 * how.  text is that of a result. */
enum relay_fit_rc relay_fit(struct relay_job *, unsigned offers,
    const char **esc, char *text, size_t size);
/* As relay_job_read(), of what is sent; the first call begins after
 * relay_fit_rewind(). */
void relay_fit_rewind(struct relay_job *);
ssize_t relay_fit_read(struct relay_job *, const void **p, const char **why);
/* What is said for a recipient. */
const char *relay_fit_to(const struct relay_rcpt *);
void relay_fit_clear(struct relay_job *);

/* ---- one connection: relay_conn.c ---- */

enum relay_conn_state {
	RELAY_RESOLVING,
	RELAY_ASKING, /* auth, about the access map */
	RELAY_CONNECTING,
	RELAY_TALKING
};

struct relay_worker;

/* A question to auth. */
struct relay_ask {
	TAILQ_ENTRY(relay_conn) link;
	uint64_t id; /* 0: nothing is asked */
	enum server_ask what;
	struct relay_worker *worker; /* NULL: none is there, one may come */
	struct event *timer;
	size_t open; /* answers to come */
};

struct relay_conn {
	TAILQ_ENTRY(relay_conn) link; /* in one of relay.c's lists */
	uint64_t id;                  /* of its question to the resolver */
	enum relay_conn_state state;
	struct stream *stream;
	struct smtp_client *client;
	struct event *timer; /* for the resolver's answer */
	struct relay_job *job;
	struct relay_job *behind; /* said already, but for its body */
	struct relay_ask ask;
	unsigned map; /* relay_rule_map() when it was last asked about */

	char addr[RELAY_ADDRS][RELAY_ADDR];
	size_t addrs, next;  /* addr[next - 1] is the one in use */
	char mta[RELAY_MTA]; /* name[address]:port */

	bool ready;         /* it was once */
	bool idle;          /* relay.c's: which list it is in */
	unsigned long sent; /* messages before the present one */
	bool timed_out;     /* it stays silent, and may have taken all */
	char **domain;      /* of recipients, where they are limited */
	size_t domains;
	int64_t idle_ms;            /* since when (clock_ms()) */
	unsigned long heard;        /* replies when the deadline was set */
	struct relay_reason reason; /* the gravest so far */
};
TAILQ_HEAD(relay_conns, relay_conn);

/* Begins: asks for the addresses, tries them in order.  relay_on_ready() or
 * relay_on_failed() follows, perhaps before this returns. */
void relay_conn_begin(struct relay_conn *);
void relay_conn_free(struct relay_conn *);
/* For relay.client; arg is the connection. */
void relay_conn_write(void *arg, const void *, size_t len);
void relay_conn_result(void *arg, size_t n, const struct smtp_client_result *);
void relay_conn_turn(void *arg);
/* The resolver's answer to c->id. */
void relay_conn_resolved(struct relay_conn *, const struct m_resolved *);
/* The facts of its question to auth; names and chain live until chain is
 * cleared. */
void relay_conn_facts(
    const struct relay_conn *, struct m_server_tls *, struct buf *chain);
/* The answer to SERVER_ASK_TRY and SERVER_ASK_TLS. */
void relay_conn_ruled(struct relay_conn *, const struct m_server_verdict *);
/* The last answer to SERVER_ASK_RCPT; the job has them all. */
void relay_conn_rcpts_ruled(struct relay_conn *);
/* Sends a message; the connection must be idle.  Takes the job. */
void relay_conn_send(struct relay_conn *, struct relay_job *);
/* Says a message behind the one whose body has just left, and takes the job;
 * false if this one has to wait until the connection is idle. */
bool relay_conn_follow(struct relay_conn *, struct relay_job *);
/* It may send this message, or a part of it: no limit is reached. */
bool relay_conn_takes(const struct relay_conn *, const struct relay_job *);
/* It may send no message any more. */
bool relay_conn_is_used_up(const struct relay_conn *);
/* Says QUIT; the connection must be idle. */
void relay_conn_quit(struct relay_conn *);

/* ---- the access map: relay_rule.c ---- */

/* A pair to an auth worker: takes fd. */
void relay_rule_peer(struct event_base *, int fd);
/* Takes what the workers have said already: it was before what queue says. */
void relay_rule_refresh(void);
/* Has the map entries of these kinds (SERVER_RULE_*)?  Yes, if no worker has
 * told. */
bool relay_rule_applies(unsigned kinds);
/* Changes with the map. */
unsigned relay_rule_map(void);
/* The connection asks; the answer comes from the loop, also if there is no
 * worker, or none answers in time. */
void relay_rule_ask(struct relay_conn *, enum server_ask);
/* It does not want to know any more. */
void relay_rule_cancel(struct relay_conn *);

/* ---- what they tell relay.c ---- */

/* The map has changed. */
void relay_on_map(void);

/* A message came whole. */
void relay_on_job(struct relay_job *);
/* Asks the resolver for relay.host; nothing comes while it is away. */
void relay_ask(uint64_t id);
/* The address that worked last, "" if none did. */
const char *relay_good_addr(void);
/* The session is ready for its first message; relay_on_idle() follows. */
void relay_on_ready(struct relay_conn *);
void relay_on_idle(struct relay_conn *);
/* Its message must not be sent any more.  Frees both. */
void relay_on_orphan(struct relay_conn *);
/* All of a message has left; another may be said behind it. */
void relay_on_room(struct relay_conn *);
/* The session ended with a message behind another: not a byte of it left. */
void relay_on_unsaid(struct relay_job *);
/* An idle connection says QUIT. */
void relay_on_quit(struct relay_conn *);
/* By no address did it become ready.  Frees it. */
void relay_on_failed(struct relay_conn *);
/* It was ready and is over.  Frees it. */
void relay_on_closed(struct relay_conn *);
/* The connection was dead before the message was heard, or refused what it
 * offers: to be tried once more. */
void relay_on_again(struct relay_job *);
/* It may send no more of the message: what is left goes elsewhere at once. */
void relay_on_rest(struct relay_job *);

#endif
