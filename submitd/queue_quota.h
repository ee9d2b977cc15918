/*
 * What queue_sums.c, queue_quota.c (limits) and queue_suspend.c (an end to what
 * looks like a stolen account) share: what was counted of each sender.
 */
#ifndef SUBMITD_QUEUE_QUOTA_H
#define SUBMITD_QUEUE_QUOTA_H

#include "queue.h"
#include "store/limit.h"
#include "usage.h"

enum {
	QUOTA_BUCKETS = 1024,
	QUOTA_KNOWN_DAYS = 365 /* a recipient is known so long */
};
#define QUOTA_DAY_MS (24 * USAGE_HOUR_MS)

/* What is counted of a user, or of one of the devices. */
struct quota_part {
	struct limits limits;
	struct usage usage;
	unsigned sessions;     /* that have a place */
	uint64_t open[USAGES]; /* at DATA, not committed yet */
};

struct quota_device {
	LIST_ENTRY(quota_device) link;
	LIST_ENTRY(quota_device) dirty;
	struct quota *of;
	int64_t id; /* 0: the account itself */
	struct quota_part part;
	bool is_dirty;
	int64_t dirty_step; /* from this one on */
};

struct quota {
	LIST_ENTRY(quota) link;
	char *user;
	int64_t id; /* of the user; 0: not known, or of no user */
	struct quota_part part;
	LIST_HEAD(, quota_device) devices;
	char *why; /* it is suspended; NULL: it is not */
	int64_t suspended_ms;
	int64_t used_ms;
	unsigned refs;
};

struct queue_quota {
	LIST_HEAD(, quota) table[QUOTA_BUCKETS];
	LIST_HEAD(, quota_device) dirty;
	uint8_t slice; /* of the known recipients, to be pruned */
	bool set_back; /* what the spool has was changed behind the sums */
};

/* ---- queue_sums.c ---- */

/* NULL: nothing is known of the user now. */
struct quota *quota_find(const struct queue *, const char *user);
/* With what the spool knows of the user. */
struct quota *quota_get(struct queue *, const char *user);
struct quota_device *quota_device(struct quota *, int64_t id);
/* From now on it is that of this user; what was counted before anybody told
 * whose it is stays. */
void quota_set_id(struct quota *, int64_t id);
void quota_count(struct queue *, struct quota_device *, enum usage_what,
    int64_t n, int64_t at_ms);
/* Its sums are written with the next group: those from this step on. */
void quota_mark(struct queue *, struct quota_device *, int64_t step);
/* The spool could not be asked. */
void quota_warn(const struct queue *);

/* ---- queue_quota.c ---- */

/* The user a request names, or NULL, and answered, if it names none. */
const char *quota_user(struct control_conn *, const json_t *request);

/* ---- queue_suspend.c ---- */

void suspend_load(struct queue *);
/* Suspends who is suspect, in memory; true: so it was. Undo it when it can't be
 * written. */
bool suspend_suspect(struct quota *);
void suspend_undo(struct quota *);
/* In the transaction that is open: writes it, and holds what is there: *held
 * messages. */
enum mailq_rc suspend_write(
    struct queue *, const struct quota *, unsigned *held);
/* After its COMMIT. */
void suspend_log(const struct quota *, unsigned held);
/* All of that in a transaction of its own. */
void suspend_judge(struct queue *, struct quota *);
/* It is suspended no more; in a transaction of its own. */
enum mailq_rc suspend_end(struct queue *, struct quota *);
/* Why mail is held; the caller frees. */
char *suspend_note(const struct quota *);

#endif
