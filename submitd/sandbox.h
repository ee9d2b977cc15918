/*
 * How a role locks itself in.  What each role may do stands in one place, the
 * table of sandbox.c; from the outside in:
 *
 *	limits		no core, no process, no file beyond a size
 *	user		the role's own, none of the groups before; as root only
 *	root directory	empty, for those that need no file; as root only
 *	Landlock	files, TCP ports, signals (landlock.h)
 *	seccomp		system calls (callfilter.h)
 *
 * All but user and root directory holds without root, too.
 */
#ifndef SUBMITD_SANDBOX_H
#define SUBMITD_SANDBOX_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>

#include "proto.h"

/* The sanitizers' run-time opens files and makes calls of its own. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

struct conf;

/* "name", "name:group", "uid" or "uid:gid" to numbers; 0, or -1 with a
 * sentence, also for root. */
int sandbox_user(const char *text, uid_t *, gid_t *, char *err, size_t errlen);
/* The same, but root is good, too. */
int sandbox_user_or_root(
    const char *text, uid_t *, gid_t *, char *err, size_t errlen);

/* No way back.  The files and ports are those that the configuration names;
 * uid and gid count as root only.  0, or -1 with a sentence in err. */
int sandbox_enter(
    enum role, const struct conf *, uid_t, gid_t, char *err, size_t errlen);

#endif
