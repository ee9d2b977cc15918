/* The command line of submitd, and where each role begins. */
#include <sys/stat.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "given.h"
#include "log.h"
#include "parent.h"
#include "passed.h"
#include "role.h"

#ifndef CONF_FILE
#define CONF_FILE "/etc/submitd/submitd.conf"
#endif

static void usage(void) __attribute__((noreturn));

static void
usage(void)
{
	fprintf(stderr, "usage: submitd [-f FILE] [-dn]\n"
	    "       submitd -V\n"
	    "  -f FILE  configuration (default %s)\n"
	    "  -n       check the configuration and leave\n"
	    "  -d       stay in the foreground, log to stderr\n"
	    "  -V       print the version\n", CONF_FILE);
	exit(EX_USAGE);
}

/* Nothing of a terminal, or of whatever parent inherited, stays with a role. */
static void
drop_descriptors(bool keep_stderr)
{
	int null = open("/dev/null", O_RDWR);

	if (null == -1 || dup2(null, STDIN_FILENO) == -1 ||
	    dup2(null, STDOUT_FILENO) == -1 ||
	    (!keep_stderr && dup2(null, STDERR_FILENO) == -1))
		exit(EX_OSERR);
	close_range(4, ~0U, 0); /* 3 is parent's */
}

/* Makes the others of a role, of which parent has sent the sockets: 3 and so
 * on, behind them a pipe for their ids.  Returns in each of them. */
static void
multiply(int count)
{
	pid_t pid;
	int i;

	for (i = 0; i < count; i++) {
		if ((pid = fork()) == 0) {
			if (i > 0 && dup2(3 + i, 3) == -1)
				_exit(EX_OSERR);
			return;
		}
		if (pid == -1 ||
		    write(3 + count, &pid, sizeof(pid)) != sizeof(pid))
			_exit(EX_OSERR);
	}
	_exit(0);
}

static int
run_role(const char *name, int count, bool to_stderr)
{
	static const struct role_ops *const all[ROLE_COUNT] = {
		[ROLE_FRONT] = &front_ops,
		[ROLE_AUTH] = &auth_ops,
		[ROLE_PAM] = &pam_ops,
		[ROLE_QUEUE] = &queue_ops,
		[ROLE_RELAY] = &relay_ops,
		[ROLE_RESOLVER] = &resolver_ops,
		[ROLE_STORE] = &store_ops,
	};
	enum role role = role_by_name(name);

	if (role == ROLE_COUNT || all[role] == NULL)
		usage();
	if (fcntl(3, F_GETFD) == -1) {
		fprintf(stderr, "submitd: -x is for submitd's own use\n");
		return EX_USAGE;
	}
	if (all[role]->warm != NULL)
		all[role]->warm();
	if (count > 0)
		multiply(count);
	drop_descriptors(to_stderr);
	log_open(role_name(role), to_stderr, LOG_INFO);
	return role_main(all[role]);
}

static int
check_only(const char *path)
{
	struct given *g;
	char err[1024];

	if ((g = given_load(path, err, sizeof(err))) == NULL) {
		fprintf(stderr, "%s\n", err);
		return EX_CONFIG;
	}
	printf("%s: good\n", path);
	given_release(&g);
	return 0;
}

/* The first process waits until the service stands and reports how it went. */
static int
wait_for_service(pid_t pid, int fd)
{
	char byte;
	int status;

	if (read(fd, &byte, 1) == 1)
		return 0;
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		return WEXITSTATUS(status);
	return EX_SOFTWARE;
}

static void
leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR);

	/* stderr stays until the service stands: errors are told there */
	if (setsid() == -1 || chdir("/") == -1 || fd == -1 ||
	    dup2(fd, STDIN_FILENO) == -1 || dup2(fd, STDOUT_FILENO) == -1)
		exit(EX_OSERR);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int
run_service(const char *path, bool foreground)
{
	struct parent_options opt = { .conf_path = path,
		.log_to_stderr = foreground,
		.ready_fd = -1 };
	char err[512], *full;
	int fd[2], rc;
	pid_t pid;

	if (passed_init(err, sizeof(err)) == -1) {
		fprintf(stderr, "%s\n", err);
		return EX_CONFIG;
	}
	if (foreground)
		return parent_main(&opt);
	if (pipe2(fd, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		return EX_OSERR;
	if (pid > 0) {
		close(fd[1]);
		return wait_for_service(pid, fd[0]);
	}
	close(fd[0]);
	if ((full = realpath(path, NULL)) != NULL)
		opt.conf_path = full; /* else parent says what is wrong */
	leave_terminal();
	opt.ready_fd = fd[1];
	rc = parent_main(&opt);
	free(full);
	return rc;
}

int
main(int argc, char **argv)
{
	const char *path = CONF_FILE, *role = NULL;
	bool foreground = false, check = false;
	int c, count = 0;

	umask(022);
	while ((c = getopt(argc, argv, "f:dnVx:k:")) != -1) {
		switch (c) {
		case 'f':
			path = optarg;
			break;
		case 'd':
			foreground = true;
			break;
		case 'n':
			check = true;
			break;
		case 'V':
			printf("submitd %s\n", PACKAGE_VERSION);
			return 0;
		case 'x':
			role = optarg;
			break;
		case 'k':
			count = atoi(optarg);
			break;
		default:
			usage();
		}
	}
	if (role != NULL)
		return run_role(role, count, foreground);
	if (optind != argc)
		usage();
	return check ? check_only(path) : run_service(path, foreground);
}
