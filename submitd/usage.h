/*
 * What somebody sent lately, in two rings: steps of ten minutes for an hour,
 * hours for a day.  The step that runs counts on top of a whole hour or day,
 * so that within any 60 minutes, and within any 24 hours, no more is counted
 * than the sum says.  Pure: the time comes with the call, in ms since 1970.
 */
#ifndef SUBMITD_USAGE_H
#define SUBMITD_USAGE_H

#include <stdint.h>

enum usage_what {
	USAGE_MESSAGES,
	USAGE_RECIPIENTS,
	USAGE_NEW,    /* recipients nobody has written to before */
	USAGE_FAILED, /* recipients that failed for good */
	USAGE_REFUSED, /* messages refused for a limit */
	USAGES
};

enum { USAGE_STEPS = 7, USAGE_HOURS = 25 };
#define USAGE_STEP_MS (INT64_C(10) * 60 * 1000)
#define USAGE_HOUR_MS (6 * USAGE_STEP_MS)

struct usage { /* all zero is an empty one */
	int64_t step; /* the newest, counted from 1970 */
	uint32_t ten[USAGE_STEPS][USAGES];
	uint32_t hour[USAGE_HOURS][USAGES];
};

/* Counts n more, or less, at this time; at the newest that is known if it is
 * too old for the rings, so that a clock that was set back lifts no limit. */
void usage_add(struct usage *, enum usage_what, int64_t n, int64_t now_ms);
uint64_t usage_hour(const struct usage *, enum usage_what, int64_t now_ms);
uint64_t usage_day(const struct usage *, enum usage_what, int64_t now_ms);

/* When the sum will be no more than `room`, if nothing is added; ms since 1970,
 * now_ms if that is so already. */
int64_t usage_hour_falls(
    const struct usage *, enum usage_what, uint64_t room, int64_t now_ms);
int64_t usage_day_falls(
    const struct usage *, enum usage_what, uint64_t room, int64_t now_ms);

/* What the hour counts is counted no more, in no sum. */
void usage_forgive(struct usage *, enum usage_what);

/* The count of one step, for who stores it; `step` as above. */
uint32_t usage_step(const struct usage *, enum usage_what, int64_t step);

#endif
