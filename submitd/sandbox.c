/* The lock-down every role passes: see sandbox.h. */
#include "sandbox.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
numeric(const char *text, uid_t *uid, gid_t *gid)
{
	unsigned long u, g;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -1;
	errno = 0;
	g = u = strtoul(text, &end, 10);
	if (*end == ':' && isdigit((unsigned char)end[1]))
		g = strtoul(end + 1, &end, 10);
	if (errno != 0 || *end != '\0' || u > 0xfffffffe || g > 0xfffffffe)
		return -1;
	*uid = (uid_t)u;
	*gid = (gid_t)g;
	return 0;
}

static int
named(const char *text, uid_t *uid, gid_t *gid)
{
	size_t n = strcspn(text, ":");
	const struct passwd *pw;
	const struct group *gr;
	char name[64];

	if (n >= sizeof(name))
		return -1;
	memcpy(name, text, n);
	name[n] = '\0';
	if ((pw = getpwnam(name)) == NULL)
		return -1;
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	if (text[n] == '\0')
		return 0;
	if ((gr = getgrnam(text + n + 1)) == NULL)
		return -1;
	*gid = gr->gr_gid;
	return 0;
}

int
sandbox_user_or_root(
    const char *text, uid_t *uid, gid_t *gid, char *err, size_t errlen)
{
	if (numeric(text, uid, gid) == 0 || named(text, uid, gid) == 0)
		return 0;
	snprintf(err, errlen,
	    "no user \"%s\", expected the name of one, NAME:GROUP or "
	    "UID[:GID]",
	    text);
	return -1;
}

int
sandbox_user(const char *text, uid_t *uid, gid_t *gid, char *err, size_t errlen)
{
	if (sandbox_user_or_root(text, uid, gid, err, errlen) == -1)
		return -1;
	if (*uid != 0)
		return 0;
	snprintf(err, errlen, "\"%s\" is root, expected a user without rights",
	    text);
	return -1;
}

static int
limit(int what, rlim_t n)
{
	const struct rlimit r = { .rlim_cur = n, .rlim_max = n };

	return setrlimit((__rlimit_resource_t)what, &r);
}

static int
limit_descriptors(int n)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == -1)
		return -1;
	if (n > 0 && (rlim_t)n < r.rlim_max)
		r.rlim_max = (rlim_t)n;
	r.rlim_cur = r.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &r);
}

static int
become(const char *dir, bool to_dir, uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) == -1)
		return -1;
	if (to_dir && (chroot(dir) == -1 || chdir("/") == -1))
		return -1;
	if (setresgid(gid, gid, gid) == -1 || setresuid(uid, uid, uid) == -1)
		return -1;
	if (uid != 0 && setuid(0) != -1) { /* the way back must be shut */
		errno = EPERM;
		return -1;
	}
	return 0;
}

int
sandbox_enter(const struct sandbox *box, const char *dir, uid_t uid, gid_t gid,
    char *err, size_t errlen)
{
	const char *step = "limit the descriptors";

	if (limit_descriptors(box->descriptors) == -1)
		goto fail;
	step = "switch to the role's user";
	if (geteuid() == 0 && become(dir, box->chroot, uid, gid) == -1)
		goto fail;
	step = "forbid core dumps";
	if (limit(RLIMIT_CORE, 0) == -1 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		goto fail;
	step = "forbid new processes";
	if (box->no_new_process && limit(RLIMIT_NPROC, 0) == -1)
		goto fail;
	step = "forbid new privileges";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		goto fail;
	return 0;
fail:
	snprintf(err, errlen, "cannot %s: %s (directory %s, uid %u)", step,
	    strerror(errno), dir, (unsigned)uid);
	return -1;
}
