/*
 * How long a refused login waits for its answer at least, so that who judges a
 * password, and whether anybody does, can't be told by the time: as long as
 * the slowest judge in use takes for a wrong password.  Pure; times in ms.
 */
#ifndef AUTH_PACE_H
#define AUTH_PACE_H

#include <stdint.h>

enum pace_judge {
	PACE_RECORDS, /* the records of the store; time of the processor */
	PACE_PAM,
	PACE_SASLAUTHD,
	PACE_JUDGES,
	PACE_NONE = PACE_JUDGES /* nobody was asked */
};

#define PACE_MAX_MS 10000 /* what takes longer does show */

struct pace {
	int64_t ms[PACE_JUDGES];
};

/*
 * A wrong password of a user took so long.  A slower judge counts at once.
 * What PAM and saslauthd take may change: there a faster answer lets the time
 * sink a little.  Records differ from each other for good, so that the
 * slowest counts.
 */
void pace_note(struct pace *, enum pace_judge, int64_t took_ms);

/* A judge that is in use no more. */
void pace_forget(struct pace *, enum pace_judge);

/* The time of the slowest; 0: none was seen. */
int64_t pace_ms(const struct pace *);

#endif
