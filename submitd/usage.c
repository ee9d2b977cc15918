/* What somebody sent lately. */
#include <string.h>

#include "usage.h"

enum { PER_HOUR = 6 }; /* steps */

/* Empties the places that the time has reached since. */
static void
go_to(struct usage *u, int64_t step)
{
	int64_t s, h;

	if (step - u->step >= USAGE_HOURS * PER_HOUR)
		memset(u, 0, sizeof(*u));
	for (s = u->step + 1; s <= step && s <= u->step + USAGE_STEPS; s++)
		memset(u->ten[s % USAGE_STEPS], 0, sizeof(u->ten[0]));
	for (h = u->step / PER_HOUR + 1;
	    h <= step / PER_HOUR && h <= u->step / PER_HOUR + USAGE_HOURS; h++)
		memset(u->hour[h % USAGE_HOURS], 0, sizeof(u->hour[0]));
	u->step = step;
}

static void
change(uint32_t *v, int64_t n)
{
	int64_t sum = (int64_t)*v + n;

	*v = sum < 0 ? 0 : sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

void
usage_add(struct usage *u, enum usage_what what, int64_t n, int64_t now_ms)
{
	int64_t step = now_ms / USAGE_STEP_MS, hour;

	if (step > u->step)
		go_to(u, step);
	hour = u->step / PER_HOUR;
	if (step / PER_HOUR > hour - USAGE_HOURS)
		hour = step / PER_HOUR;
	if (step <= u->step - USAGE_STEPS)
		step = u->step;
	change(&u->ten[step % USAGE_STEPS][what], n);
	change(&u->hour[hour % USAGE_HOURS][what], n);
}

/* Of a ring that ends at `newest`, what counts at `now`. */
static uint64_t
sum(const uint32_t ring[][USAGES], int64_t places, int64_t newest, int64_t now,
    enum usage_what what)
{
	uint64_t n = 0;
	int64_t i;

	for (i = newest; i > newest - places && i > now - places && i >= 0; i--)
		n += ring[i % places][what];
	return n;
}

uint64_t
usage_hour(const struct usage *u, enum usage_what what, int64_t now_ms)
{
	return sum(u->ten, USAGE_STEPS, u->step, now_ms / USAGE_STEP_MS, what);
}

uint64_t
usage_day(const struct usage *u, enum usage_what what, int64_t now_ms)
{
	return sum(u->hour, USAGE_HOURS, u->step / PER_HOUR,
	    now_ms / USAGE_HOUR_MS, what);
}

int64_t
usage_hour_falls(const struct usage *u, enum usage_what what, uint64_t room,
    int64_t now_ms)
{
	int64_t t = now_ms;

	while (usage_hour(u, what, t) > room)
		t = (t / USAGE_STEP_MS + 1) * USAGE_STEP_MS;
	return t;
}

int64_t
usage_day_falls(const struct usage *u, enum usage_what what, uint64_t room,
    int64_t now_ms)
{
	int64_t t = now_ms;

	while (usage_day(u, what, t) > room)
		t = (t / USAGE_HOUR_MS + 1) * USAGE_HOUR_MS;
	return t;
}

void
usage_forgive(struct usage *u, enum usage_what what)
{
	int64_t i;
	uint32_t *n;

	for (i = u->step; i > u->step - USAGE_STEPS && i >= 0; i--) {
		n = &u->ten[i % USAGE_STEPS][what];
		change(&u->hour[i / PER_HOUR % USAGE_HOURS][what],
		    -(int64_t)*n);
		*n = 0;
	}
}

uint32_t
usage_step(const struct usage *u, enum usage_what what, int64_t step)
{
	return step <= u->step && step > u->step - USAGE_STEPS && step >= 0
	    ? u->ten[step % USAGE_STEPS][what]
	    : 0;
}
