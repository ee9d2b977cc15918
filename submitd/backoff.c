/* How long to wait before an attempt is repeated. */
#include "backoff.h"

uint32_t
backoff_delay_s(
    uint32_t attempts, uint32_t random, uint32_t min_s, uint32_t max_s)
{
	uint64_t base = min_s, cap, delay;

	if (max_s < min_s)
		max_s = min_s;
	/* room for the jitter, so that it works at the upper end as well */
	cap = (uint64_t)max_s * 4 / 5;
	if (cap < min_s)
		cap = min_s;
	while (attempts-- > 1 && base > 0 && base < cap)
		base *= 2;
	if (base > cap)
		base = cap;
	delay = base + (base / 4 * random >> 32);
	return (uint32_t)(delay < max_s ? delay : max_s);
}
