/* The inside of the system-call filters: for callfilter.c and its trap. */
#ifndef SUBMITD_CALLFILTER_INT_H
#define SUBMITD_CALLFILTER_INT_H

#include <stdbool.h>
#include <stdint.h>

/* callfilter.c: the name of a call in its tables, and whether it goes on if
 * the kernel lets it. */
const char *callfilter_name(int nr);
bool callfilter_is_watched(int nr);

/*
 * callfilter_trap.c: handles SIGSYS from now on.  The result is a number that
 * must stand in the sixth argument of a watched call to let it pass.
 * CAN_TRAP: only where the processor's registers are known to us; elsewhere
 * what is refused fails silently, and nothing is watched.
 */
#if defined(__x86_64__)
#define CAN_TRAP 1
uint64_t callfilter_trap(void);
#endif

#endif
