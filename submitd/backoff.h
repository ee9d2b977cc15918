/*
 * How long to wait before an attempt is repeated.
 */
#ifndef SUBMITD_BACKOFF_H
#define SUBMITD_BACKOFF_H

#include <stdint.h>

/*
 * Seconds to wait after `attempts` failures in a row (1 is the first). The base
 * doubles with each, from min_s; up to a quarter of it is added by `random`
 * (any 32 random bits), so that what failed together is not tried together.
 * The result is never below min_s or above max_s (where max_s < min_s, min_s
 * counts for both).
 */
uint32_t backoff_delay_s(
    uint32_t attempts, uint32_t random, uint32_t min_s, uint32_t max_s);

#endif
