/*
 * The system calls of each role, enforced by the kernel (seccomp):
 *
 *	allowed		what the role does, and what its libraries do rarely
 *	refused		what libraries try and can do without: fails with
 *			EACCES, and the log says so
 *	all else	kills the process at once; parent logs that
 *
 * Calls that open files or connections are looked at when they come back: if
 * Landlock or the user's rights refuse them, the log has a line, too.  Lines
 * of this kind:
 *
 *	ev=sandbox syscall= result=EACCES [path=] [more=]	(warning)
 *
 * are bounded in number; more counts those that were left out before.
 */
#ifndef SUBMITD_CALLFILTER_H
#define SUBMITD_CALLFILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "proto.h"

/* Whether this program was built with filters. */
bool callfilter_is_built_in(void);

/* For this process, for good.  0, or -1 with a sentence in err. */
int callfilter_enter(enum role, char *err, size_t errlen);

#endif
