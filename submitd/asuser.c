/* A child that is another user, for one question: see asuser.h. */
#include "asuser.h"

#include <sys/wait.h>

#include <errno.h>
#include <grp.h>
#include <unistd.h>

static void ask(uid_t, gid_t, const char *, int) __attribute__((noreturn));

/* It has parent's memory: nothing but system calls. */
static void
ask(uid_t uid, gid_t gid, const char *path, int mode)
{
	if (setgroups(0, NULL) == -1 || setresgid(gid, gid, gid) == -1 ||
	    setresuid(uid, uid, uid) == -1)
		_exit(0); /* the role will say it */
	_exit(access(path, mode) == 0 ? 0 : errno);
}

int
asuser_access(uid_t uid, gid_t gid, const char *path, int mode)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		return access(path, mode) == 0 ? 0 : errno;
	if ((pid = fork()) == 0)
		ask(uid, gid, path, mode);
	if (pid == -1)
		return 0;
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}
