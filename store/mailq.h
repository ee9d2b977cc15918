/*
 * The spool: mail that was accepted and has not left yet.
 *
 * One directory (mode 0700), owned by one process at a time (the lock). It
 * holds queue.db, an SQLite database in WAL mode with synchronous=FULL, and
 * bodies too large for it as files:
 *
 *	tmp.<qid>	a body being written; no row names it
 *	<qid>.msg	a body whose row was committed, or is about to be
 *
 *	file  row   meaning
 *	tmp   -     being received; garbage after a restart
 *	.msg  -     its commit did not happen; garbage after a restart
 *	.msg  yes   ours: never lose it
 *	-     yes   impossible; reported, recipients held, nothing guessed
 *
 * What makes a commit durable is inside mailq_commit(), so that no caller can
 * get the order wrong: bytes of a file (synced by who wrote them), its new
 * name (renamed in mailq_add()), the directory, and only then the COMMIT, which
 * SQLite syncs. Files of deleted messages go after the COMMIT. A rollback
 * removes the files that were renamed.
 *
 * A recipient is waiting, deferred, held, delivered or failed. "In flight" is
 * known to the running queue only: after a crash such a recipient is what it
 * was before, and is sent again.
 *
 * Rules: results are an enum mailq_rc; mailq_errtext() says it in a sentence.
 * Out parameters are set on MAILQ_OK only. Times are ms since 1970. A handle
 * belongs to one process and one thread. When memory is exhausted the process
 * aborts.
 */
#ifndef STORE_MAILQ_H
#define STORE_MAILQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decision.h"
#include "mailopt.h"

struct mailq;

enum mailq_rc {
	MAILQ_OK,
	MAILQ_NONE,    /* no such message or recipient */
	MAILQ_BUSY,    /* the lock is held: another process owns the spool */
	MAILQ_FULL,    /* no disk space */
	MAILQ_INVALID, /* this one item is refused; others are not concerned */
	MAILQ_DAMAGED, /* not a queue, or a broken one */
	MAILQ_NEWER,   /* made by a later version of this program */
	MAILQ_DENIED,  /* owner or permissions say no */
	MAILQ_IO       /* I/O error, or anything else */
};

enum mailq_state {
	MAILQ_WAITING,   /* to be sent as soon as possible */
	MAILQ_DEFERRED,  /* tried; again at next_ms */
	MAILQ_HELD,      /* until somebody releases it */
	MAILQ_DELIVERED, /* the smarthost has it */
	MAILQ_FAILED,    /* the sender was told, or there is none */
	MAILQ_STATES
};
/* "waiting", "deferred", "held", "delivered", "failed". */
const char *mailq_state_name(enum mailq_state);

enum { MAILQ_AGAIN_LEN = 32 };

struct mailq_rcpt {
	uint32_t n; /* its number in the message, from 0 */
	const char *address;
	enum mailq_state state;
	uint32_t attempts;
	int64_t next_ms;              /* waiting, deferred: not before */
	int64_t last_ms;              /* of the last attempt; 0 none */
	uint16_t code;                /* of the last reply; 0 none */
	const char *esc, *text, *mta; /* of the last attempt, or why held */
	struct rcpt_options opt;
};

struct mailq_msg {
	uint64_t qid, sid;
	int64_t user_id; /* 0: the map's pseudo-user, or a bounce of ours */
	const char *user, *how, *client_addr;
	const char *from; /* "" is the null reverse-path */
	struct mail_options opt;
	bool in_file;
	uint64_t size; /* bytes of the body */
	int64_t arrived_ms;
	int64_t since_ms; /* from here the time to live counts */
	bool tried;       /* at least one attempt is over */
	bool delay_sent;  /* the sender knows of the delay */
	/* MAILQ_AGAIN_LEN bytes that tell it from others, or NULL: for
	 * mailq_add() and mailq_again(). */
	const void *again;
};

/* A message with all its recipients; the strings belong to it. */
struct mailq_mail {
	struct mailq_msg msg;
	struct mailq_rcpt *rcpt;
	size_t nrcpt;
};

/*
 * Opens the spool in directory dir, which must exist and belong to the caller
 * with no right for anybody else; takes its lock; makes or migrates queue.db.
 * *mq is set in every case, for mailq_errtext(); after a failure it is good
 * for mailq_errtext(), another mailq_reopen() and mailq_close() only.
 * MAILQ_BUSY: the lock is held; mailq_reopen() tries again.
 */
enum mailq_rc mailq_open(const char *dir, struct mailq **mq);
enum mailq_rc mailq_reopen(struct mailq *mq);
/* Rolls back what was not committed. NULL in is fine; NULL out always. */
void mailq_close(struct mailq **mq);

/* The last failure as a sentence without period; until the next call. */
const char *mailq_errtext(const struct mailq *mq);

/*
 * The most that the log of queue.db takes, with some to spare: it has 8 MiB from
 * the start, and is copied to the database from 4 MiB on, after the commit that
 * made it so large. A commit group of 128 bodies of 64 KiB and their rows comes
 * on top.
 */
#define MAILQ_LOG_ROOM (UINT64_C(32) * 1024 * 1024)

/*
 * What mail may take, in bytes. Both are 0 when the log could not grow to
 * MAILQ_LOG_ROOM any more, for the results of deliveries must find room in it,
 * or when no file can be made.
 */
struct mailq_space {
	uint64_t files; /* bodies in files: free on the disk */
	uint64_t rows;  /* the same and what is free within queue.db */
	uint64_t total; /* the size of the disk */
};

enum mailq_rc mailq_space(struct mailq *mq, struct mailq_space *space);
/* A quicker look: true if `need` bytes are free without doubt, for rows and
 * for files.  False: mailq_space() knows. */
bool mailq_has_plenty(struct mailq *mq, uint64_t need);

/*
 * After opening: removes files that no row names (*removed counts them), and
 * holds the recipients of messages whose file is missing or has another size
 * than it had, each reported to lost().
 */
enum mailq_rc mailq_tidy(struct mailq *mq, unsigned *removed,
    void (*lost)(void *arg, uint64_t qid, const char *what), void *arg);

/* The highest qid known: of rows, or saved by mailq_save_high(). */
enum mailq_rc mailq_high(struct mailq *mq, uint64_t *qid);
/* Part of a transaction: ids up to this one have been given away. */
enum mailq_rc mailq_save_high(struct mailq *mq, uint64_t qid);

/* ---- bodies in files ---- */

/* Makes tmp.<qid> and opens it for writing. */
enum mailq_rc mailq_body_create(struct mailq *mq, uint64_t qid, int *fd);
/* Removes tmp.<qid>; none is fine. */
void mailq_body_discard(struct mailq *mq, uint64_t qid);
/* Opens <qid>.msg for reading; MAILQ_INVALID if its size is not `size`. */
enum mailq_rc mailq_body_open(
    struct mailq *mq, uint64_t qid, uint64_t size, int *fd);

/* ---- transactions ---- */

enum mailq_rc mailq_begin(struct mailq *mq);
/* A failure has rolled back already. */
enum mailq_rc mailq_commit(struct mailq *mq);
/* Harmless where no transaction is open. Keeps the error text. */
void mailq_rollback(struct mailq *mq);

/*
 * Each of these is a part of the transaction that must be open, and is done
 * wholly or, with MAILQ_INVALID or MAILQ_NONE, not at all; then the transaction
 * goes on. After any other error it has to be rolled back.
 */

/*
 * A new message. Its body is `body` (msg->size bytes), or with msg->in_file
 * the file tmp.<qid>: MAILQ_INVALID if that is not a regular file of msg->size
 * bytes. Recipients get the numbers 0, 1, ... and their state (waiting or
 * held), address, next_ms and text from rcpt.
 */
enum mailq_rc mailq_add(struct mailq *mq, const struct mailq_msg *msg,
    const void *body, const struct mailq_rcpt *rcpt, size_t nrcpt);

/*
 * The message that was added with these bytes, at since_ms or later, whether it
 * is still there or was delivered. MAILQ_NONE: there is none, or it failed for
 * one of its recipients, or was deleted.
 */
enum mailq_rc mailq_again(
    struct mailq *mq, const void *again, int64_t since_ms, uint64_t *qid);
/* Forgets those added before before_ms whose bytes begin with this one; *any:
 * there was one. */
enum mailq_rc mailq_again_prune(
    struct mailq *mq, uint8_t first, int64_t before_ms, bool *any);

/*
 * The result of an attempt for recipient rcpt->n of qid: state, next_ms,
 * last_ms, code, esc, text, mta are stored, attempts counts up. A recipient
 * that somebody holds stays held unless delivered or failed.
 */
enum mailq_rc mailq_result(
    struct mailq *mq, uint64_t qid, const struct mailq_rcpt *rcpt);
/* Ends a recipient without another attempt: failed, with code, esc, text. */
enum mailq_rc mailq_expire(
    struct mailq *mq, uint64_t qid, const struct mailq_rcpt *rcpt);
/* After the results of a message: when it is due next, or, with all its
 * recipients delivered or failed, its end (*done). */
enum mailq_rc mailq_settle(struct mailq *mq, uint64_t qid, bool *done);
/* The same when all its recipients have been delivered by one attempt, whose
 * results need not be stored then. */
enum mailq_rc mailq_delivered(struct mailq *mq, uint64_t qid, bool in_file);
/* The sender was told of the delay. */
enum mailq_rc mailq_set_delay_sent(struct mailq *mq, uint64_t qid);

/* Why a message of this transaction was accepted; d->qid is its id. */
enum mailq_rc mailq_decision_add(struct mailq *mq, const struct decision *d);
/* Removes some of the oldest decisions: made before before_us, or not among
 * the last `rows`.  *more: there may be more of them. */
enum mailq_rc mailq_decisions_prune(
    struct mailq *mq, int64_t before_us, int64_t rows, bool *more);

/* ---- reading ---- */

/* One step of a walk through the decisions. */
enum mailq_rc mailq_decisions(struct mailq *mq, const struct decision_filter *,
    struct decision_walk *, decision_fn *, void *arg);

/* The whole message but its body; free with mailq_mail_free(). */
enum mailq_rc mailq_load(
    struct mailq *mq, uint64_t qid, struct mailq_mail **mail);
void mailq_mail_free(struct mailq_mail **mail);
/* What mailq_load() would give after mailq_add() of the same. */
struct mailq_mail *mailq_mail_new(const struct mailq_msg *msg,
    const struct mailq_rcpt *rcpt, size_t nrcpt);
/* Up to max bytes of the body from its begin, inline or in a file, into buf. */
enum mailq_rc mailq_body_read(struct mailq *mq, const struct mailq_msg *msg,
    void *buf, size_t max, size_t *len);

/* Lists of ids, at most max of them, with the number found in *n. */

/* Those of one user above `after`, in order. */
enum mailq_rc mailq_of_user(struct mailq *mq, const char *user, uint64_t after,
    uint64_t *qid, size_t max, size_t *n);
/* Messages with a recipient to be sent: never tried (tried false) or tried,
 * by priority (RFC 6710), then the oldest first, none due later than now_ms. */
enum mailq_rc mailq_due(struct mailq *mq, bool tried, int64_t now_ms,
    uint64_t *qid, size_t max, size_t *n);
/* When the next message becomes due after now_ms; INT64_MAX if none does. */
enum mailq_rc mailq_next_due(struct mailq *mq, int64_t now_ms, int64_t *at);
/* All messages above `after`, in order. */
enum mailq_rc mailq_list(
    struct mailq *mq, uint64_t after, uint64_t *qid, size_t max, size_t *n);
/* Messages above `after` with a recipient waiting or deferred and a
 * since_ms of before_ms or less; with undelayed only those whose sender was
 * not told of the delay, and did not say himself when he wants to be. */
enum mailq_rc mailq_old(struct mailq *mq, uint64_t after, int64_t before_ms,
    bool undelayed, uint64_t *qid, size_t max, size_t *n);

/* Messages with a recipient waiting or deferred whose time for delivery
 * (opt.by_ms) is over, the first that ended first; but not those with BY_NOTIFY
 * whose sender was told. */
enum mailq_rc mailq_late(
    struct mailq *mq, int64_t now_ms, uint64_t *qid, size_t max, size_t *n);
/* When that of the next one ends, or has; INT64_MAX if there is none. */
enum mailq_rc mailq_next_late(struct mailq *mq, int64_t *at);

struct mailq_stats {
	uint64_t messages, bytes;
	uint64_t rcpts[MAILQ_STATES];
	int64_t oldest_ms; /* arrival of the oldest; 0 if empty */
};
enum mailq_rc mailq_stats(struct mailq *mq, struct mailq_stats *);

/* ---- what administrators do; qid 0 is every message ---- */

/* Parts of a transaction as above; *n counts the messages changed. MAILQ_NONE
 * if there is no such message. A hold without a reason ("") keeps the text of
 * the last reply. */
enum mailq_rc mailq_hold(
    struct mailq *mq, uint64_t qid, const char *why, unsigned *n);
/* Held recipients wait again, those of mail that its sender put off until then
 * (opt.hold_ms); their time to live begins anew. */
enum mailq_rc mailq_release(
    struct mailq *mq, uint64_t qid, int64_t now_ms, unsigned *n);
/* Deferred recipients are due now; those never tried keep their time. */
enum mailq_rc mailq_retry(
    struct mailq *mq, uint64_t qid, int64_t now_ms, unsigned *n);
/* Mail that its sender put off need not wait, be it held or not; its time to
 * live begins. */
enum mailq_rc mailq_hasten(
    struct mailq *mq, uint64_t qid, int64_t now_ms, unsigned *n);
/* How many there are that their senders have put off. */
enum mailq_rc mailq_put_off(
    struct mailq *mq, uint64_t qid, int64_t now_ms, unsigned *n);
/* Removes one message for good, with nobody told. */
enum mailq_rc mailq_delete(struct mailq *mq, uint64_t qid);

#endif
