/*
 * What logins leave behind: counters of wrong passwords, the last use of each
 * device, and decisions that no accepted mail stands for. history.db lies in the spool and belongs to the process that
 * holds the spool's lock. It is expendable: nothing is synced to the disk, so
 * that strangers can't buy disk writes; a transaction that was committed
 * survives the process, and a power failure can lose all of it.
 *
 * Rules: results are 0 or -1, and then history_errtext() says why. Times are
 * ms since 1970. A handle belongs to one process and one thread. When memory
 * is exhausted the process aborts.
 */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include "decision.h"

struct history;

/*
 * Opens history.db in directory dir; makes it if there is none. One that is
 * broken or of another program's version is put aside as history.db.bad and a
 * new one made. *h is set in every case; after a failure it is good for
 * history_errtext() and history_close() only.
 */
int history_open(const char *dir, struct history **h);
/* Rolls back what was not committed. NULL in is fine; NULL out always. */
void history_close(struct history **h);
/* The last failure as a sentence without period; until the next call. */
const char *history_errtext(const struct history *h);

/* All writing belongs to a transaction. A failed commit has rolled back. */
int history_begin(struct history *h);
int history_commit(struct history *h);
/* Harmless where no transaction is open. Keeps the error text. */
void history_rollback(struct history *h);

/* A counter, found by kind, user and address; replaces what was there. */
struct history_counter {
	int kind;
	const char *user, *address; /* "" where the kind has none */
	int64_t last_ms, until_ms;
	const void *marks; /* opaque */
	size_t len;
};
int history_counter_put(struct history *h, const struct history_counter *);
int history_counter_del(
    struct history *h, int kind, const char *user, const char *address);
/* All of them, that changed longest ago first. fn returns 0 to go on. */
int history_counters(struct history *h,
    int (*fn)(const struct history_counter *, void *arg), void *arg);

/* The last use of a device of a user; 0 is the account without a device. */
struct history_use {
	const char *user;
	int64_t device;
	int64_t at_ms;
	const char *address, *client;
};
int history_use_put(struct history *h, const struct history_use *);
/* All of them, by user and device. */
int history_uses(struct history *h,
    int (*fn)(const struct history_use *, void *arg), void *arg);

int history_decision_add(struct history *h, const struct decision *);
/* Removes some of the oldest: made before before_us, or not among the last
 * `rows`.  *more: there may be more of them. */
int history_decisions_prune(
    struct history *h, int64_t before_us, int64_t rows, bool *more);
/* One step of a walk. Needs no transaction. */
int history_decisions(struct history *h, const struct decision_filter *,
    struct decision_walk *, decision_fn *, void *arg);

#endif
