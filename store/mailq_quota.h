/*
 * What the spool remembers of who sent how much, to whom, and who was stopped
 * for it. The general rules are in mailq.h; what writes is a part of the
 * transaction that is open.
 */
#ifndef STORE_MAILQ_QUOTA_H
#define STORE_MAILQ_QUOTA_H

#include "mailq.h"

enum { MAILQ_COUNTS = 5 }; /* of a step, in the order of the caller */

/* What a device of a user (0: none) did in one step of time. */
struct mailq_sent {
	const char *user;
	int64_t device;
	int64_t user_id; /* 0: none, or not known */
	int64_t step;
	uint32_t n[MAILQ_COUNTS];
};

/* Replaces what was there. */
enum mailq_rc mailq_sent_put(struct mailq *mq, const struct mailq_sent *);
/* Of one user, from this step on, the earliest first. */
enum mailq_rc mailq_sent_list(struct mailq *mq, const char *user,
    int64_t from_step, void (*fn)(const struct mailq_sent *, void *arg),
    void *arg);
/* Forgets some of those before this step; *any: there was one. */
enum mailq_rc mailq_sent_prune(struct mailq *mq, int64_t before_step, bool *any);

/* What was counted for steps after this one counts for `step`, as the clock
 * was set back; *any: there was something. */
enum mailq_rc mailq_sent_set_back(
    struct mailq *mq, int64_t after_step, int64_t step, bool *any);

/* Recipients somebody has written to, by a digest of both. *day is when last,
 * in days since 1970. MAILQ_NONE: not known. */
enum mailq_rc mailq_known(struct mailq *mq, int64_t digest, int64_t *day);
enum mailq_rc mailq_known_put(struct mailq *mq, int64_t digest, int64_t day);
/* Forgets those of one of 256 slices that were not written to since. */
enum mailq_rc mailq_known_prune(
    struct mailq *mq, uint8_t slice, int64_t before_day, bool *any);

/* Who is suspended, and why. */
struct mailq_suspended {
	const char *user;
	int64_t user_id; /* as above */
	int64_t at_ms;
	const char *why;
};
enum mailq_rc mailq_suspend(struct mailq *mq, const struct mailq_suspended *);
/* MAILQ_NONE: was not suspended. */
enum mailq_rc mailq_resume(struct mailq *mq, const char *user);
enum mailq_rc mailq_suspended_list(struct mailq *mq,
    void (*fn)(const struct mailq_suspended *, void *arg), void *arg);

#endif
