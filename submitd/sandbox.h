/*
 * How a role locks itself in: user and groups, empty root directory, limits,
 * no new privileges.  System-call and file filters (seccomp, Landlock) belong
 * in sandbox_enter() too, so that each role has one place to look at.
 */
#ifndef SUBMITD_SANDBOX_H
#define SUBMITD_SANDBOX_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>

struct sandbox {
	bool chroot;	      /* into the empty directory */
	bool no_new_process;  /* RLIMIT_NPROC 0: neither fork nor thread */
	int descriptors;      /* RLIMIT_NOFILE; 0 leaves the hard limit */
};

/* "name", "name:group", "uid" or "uid:gid" to numbers; 0, or -1 with a
 * sentence, also for root. */
int sandbox_user(const char *text, uid_t *, gid_t *, char *err, size_t errlen);
/* The same, but root is good, too. */
int sandbox_user_or_root(
    const char *text, uid_t *, gid_t *, char *err, size_t errlen);

/*
 * No way back.  As root: supplementary groups dropped, chroot to dir when
 * the box says so, then gid and uid.  As anybody: rlimits, no core dump,
 * not dumpable, no_new_privs.  0, or -1 with a sentence in err.
 */
int sandbox_enter(const struct sandbox *, const char *dir, uid_t, gid_t,
    char *err, size_t errlen);

#endif
