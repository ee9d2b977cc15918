/*
 * The processes of roles.  Each is a fresh image of this program with nothing
 * inherited but its socket and an empty environment.
 *
 * Several of one role come from one image: it makes the libraries ready, forks
 * once for each of them, tells us their ids and ends; they are our children
 * then.  What the libraries have written for a start they share until one of
 * them changes it: more than half of what a process takes at rest.  Their
 * memory has one layout, but only among those who hold the same secrets and
 * may do the same.  One that is started again later is alone in its image.
 */
#include "parent_int.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

enum {
	FIRST_FD = 3, /* of a role */
	FDS_MAX = PARENT_MANY_MAX + 1,
	SPAWN_MS = 20 * 1000 /* an image has told all ids, or is given up */
};

static void run_role(enum role, const int *, size_t) __attribute__((noreturn));

/* In their places, in two steps: a place may be another's now. */
static int
place(const int *fd, size_t n)
{
	int far[FDS_MAX];
	size_t i;

	for (i = 0; i < n; i++)
		if ((far[i] = fcntl(
			 fd[i], F_DUPFD_CLOEXEC, FIRST_FD + FDS_MAX)) == -1)
			return -1;
	for (i = 0; i < n; i++)
		if (dup2(far[i], FIRST_FD + (int)i) == -1)
			return -1;
	return 0;
}

/* The child's side.  With more than one descriptor the last is a pipe for the
 * ids, the others are the sockets of as many processes. */
static void
run_role(enum role role, const int *fd, size_t n)
{
	char x[] = "-x", k[] = "-k", d[] = "-d";
	char prog[] = "submitd", name[16], count[16];
	char *argv[7] = { prog, x, name };
	char *env[4] = { NULL };
	int m = 0, c = 3, self;
	static const char *const kept[] = { "TZ=",
#ifdef SANITIZED
		"ASAN_OPTIONS=", "UBSAN_OPTIONS="
#endif
	};
	size_t i, j;
	sigset_t none;

	for (i = 0; environ[i] != NULL; i++)
		for (j = 0; j < sizeof(kept) / sizeof(kept[0]) && m < 3; j++)
			if (strncmp(environ[i], kept[j], strlen(kept[j])) == 0)
				env[m++] = environ[i];
	snprintf(name, sizeof(name), "%s", role_name(role));
	snprintf(count, sizeof(count), "%zu", n - 1);
	if (P.opt->log_to_stderr)
		argv[c++] = d;
	if (n > 1) {
		argv[c++] = k;
		argv[c++] = count;
	}
	self = fcntl(P.self, F_DUPFD_CLOEXEC, FIRST_FD + FDS_MAX);
	if (self == -1 || place(fd, n) == -1)
		_exit(EX_OSERR);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fexecve(self, argv, env);
	_exit(EX_OSERR);
}

pid_t
parent_spawn(enum role role, int fd)
{
	pid_t pid = fork();

	if (pid == 0)
		run_role(role, &fd, 1);
	return pid;
}

/* As many as come before the other end is closed, or is overdue. */
static size_t
read_ids(int fd, pid_t *pid, size_t n)
{
	struct pollfd pf = { .fd = fd, .events = POLLIN };
	int64_t end = clock_ms() + SPAWN_MS, left;
	size_t got = 0;
	ssize_t r;

	while (got < n * sizeof(*pid) && (left = end - clock_ms()) > 0) {
		if (poll(&pf, 1, (int)left) == -1 && errno != EINTR)
			break;
		if ((pf.revents & (POLLIN | POLLHUP)) == 0)
			continue;
		if ((r = read(fd, (char *)pid + got, n * sizeof(*pid) - got)) <=
		    0)
			break;
		got += (size_t)r;
	}
	return got / sizeof(*pid);
}

/* Its children become ours when it ends. */
static size_t
breed(enum role role, const int *fd, size_t n, pid_t *pid)
{
	int all[FDS_MAX], ids[2];
	pid_t image;
	size_t got;

	if (pipe2(ids, O_CLOEXEC) == -1)
		return 0;
	memcpy(all, fd, n * sizeof(*fd));
	all[n] = ids[1];
	if ((image = fork()) == 0)
		run_role(role, all, n + 1);
	close(ids[1]);
	got = image != -1 ? read_ids(ids[0], pid, n) : 0;
	close(ids[0]);
	if (image != -1) {
		if (got < n)
			kill(image, SIGKILL);
		while (waitpid(image, NULL, 0) == -1 && errno == EINTR)
			continue;
	}
	return got;
}

void
parent_spawn_many(
    enum role role, const int *fd, size_t n, pid_t pid[PARENT_MANY_MAX])
{
	size_t i = 0;

	if (n > 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0) {
		i = breed(role, fd, n, pid);
		prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
		if (i < n)
			log_warn("role", "role=%s what=%s", role_name(role),
			    "not all came from one image");
	}
	for (; i < n; i++)
		pid[i] = n == 1 ? parent_spawn(role, fd[i]) : -1;
}
