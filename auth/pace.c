/* How long refused logins take: see pace.h. */
#include "pace.h"

enum { SINK = 16 }; /* a faster answer lets it sink by this part */

void
pace_note(struct pace *p, enum pace_judge judge, int64_t took)
{
	int64_t *ms = &p->ms[judge];

	if (took > PACE_MAX_MS)
		took = PACE_MAX_MS;
	if (took > *ms)
		*ms = took;
	else if (judge != PACE_RECORDS)
		*ms -= (*ms - took) / SINK;
}

void
pace_forget(struct pace *p, enum pace_judge judge)
{
	p->ms[judge] = 0;
}

int64_t
pace_ms(const struct pace *p)
{
	int64_t ms = 0;
	int i;

	for (i = 0; i < PACE_JUDGES; i++)
		if (p->ms[i] > ms)
			ms = p->ms[i];
	return ms;
}
