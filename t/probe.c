/*
 * The probe (t/probe.h), on both sides.
 *
 * In parent: takes datagrams "ROLE ATTEMPT [ARGUMENT ...]" from the UNIX
 * socket that SUBMITD_PROBE names and passes them on to a process of that
 * role as M_PROBE.  It also forgives all that the roles have done before, so
 * that a test needs not wait for the delays that parent gives to those who die
 * often; the attempt "keep" leaves that out.
 *
 * In a role: tries, and logs ev=probe attempt= result=, if it lives.
 */
#include "probe.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "submitd/log.h"
#include "submitd/parent_int.h"

enum { REQUEST_MAX = 1000 };

/* ---- what a role tries: -1 with errno, or it was allowed ---- */

static int
opened(int fd)
{
	if (fd == -1)
		return -1;
	close(fd);
	return 0;
}

static int
try_read(const char *path)
{
	return opened(open(path, O_RDONLY | O_CLOEXEC));
}

static int
try_write(const char *path)
{
	return opened(open(path, O_RDWR | O_CLOEXEC));
}

static int
try_make(const char *path)
{
	return opened(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

static int
try_unlink(const char *path)
{
	return unlink(path);
}

static int
try_memory_file(const char *pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/mem", pid);
	return try_read(path);
}

static int
try_tcp(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc, saved;

	if (fd == -1)
		return -1;
	rc = connect(fd, (const struct sockaddr *)&a, sizeof(a));
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

static int
try_udp(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	if (sendto(fd, "", 0, 0, (const struct sockaddr *)&a, sizeof(a)) == -1)
		return -1;
	return opened(fd);
}

static int
try_listen(const char *unused)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unused;
	if (fd == -1 ||
	    bind(fd, (const struct sockaddr *)&a, sizeof(a)) == -1 ||
	    listen(fd, 1) == -1)
		return -1;
	return opened(fd);
}

static int
try_unix(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc, saved;

	if (fd == -1)
		return -1;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	rc = connect(fd, (const struct sockaddr *)&a, sizeof(a));
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

/* The name is the path, behind a NUL. */
static int
try_abstract(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc, saved;
	size_t n = strlen(path);

	if (fd == -1)
		return -1;
	if (n > sizeof(a.sun_path) - 1)
		n = sizeof(a.sun_path) - 1;
	memcpy(a.sun_path + 1, path, n);
	rc = connect(fd, (const struct sockaddr *)&a,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n));
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

static int
try_fork(const char *unused)
{
	pid_t pid = fork();

	(void)unused;
	if (pid == 0)
		_exit(0);
	return pid == -1 ? -1 : 0;
}

static int
try_thread(const char *unused)
{
	(void)unused;
	return (int)syscall(SYS_clone3, NULL, 0);
}

static int
try_exec(const char *path)
{
	char *name = strdup(path);
	char *const argv[] = { name, NULL }, *const env[] = { NULL };

	return execve(path, argv, env);
}

static int
try_ptrace(const char *pid)
{
	return ptrace(PTRACE_ATTACH, (pid_t)atoi(pid), NULL, NULL) == -1 ? -1
									 : 0;
}

static int
try_vm_read(const char *pid)
{
	char byte;
	struct iovec mine = { &byte, 1 }, theirs = { &byte, 1 };

	return process_vm_readv((pid_t)atoi(pid), &mine, 1, &theirs, 1, 0) == -1
	    ? -1
	    : 0;
}

static int
try_kill(const char *pid)
{
	return kill((pid_t)atoi(pid), SIGTERM);
}

static int
try_tgkill(const char *pid)
{
	return (int)syscall(SYS_tgkill, atoi(pid), atoi(pid), SIGTERM);
}

static int
try_pidfd(const char *pid)
{
	int fd = (int)syscall(SYS_pidfd_open, atoi(pid), 0);

	if (fd == -1)
		return -1;
	return (int)syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
}

static int
try_mmap_exec(const char *unused)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)unused;
	return p == MAP_FAILED ? -1 : 0;
}

static int
try_mprotect_exec(const char *unused)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)unused;
	return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int
try_setuid(const char *unused)
{
	(void)unused;
	return setresuid(0, 0, 0);
}

static int
try_dumpable(const char *unused)
{
	(void)unused;
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int
try_rlimit(const char *unused)
{
	const struct rlimit r = { 1000, 1000 };

	(void)unused;
	return setrlimit(RLIMIT_NPROC, &r);
}

static int
try_io_uring(const char *unused)
{
	char params[120] = { 0 };

	(void)unused;
	return (int)syscall(SYS_io_uring_setup, 8, params);
}

static int
try_bpf(const char *unused)
{
	(void)unused;
	return (int)syscall(SYS_bpf, 0, NULL, 0);
}

static int
try_keyctl(const char *unused)
{
	(void)unused;
	return (int)syscall(SYS_keyctl, 0, -3, 0);
}

static int
try_mount(const char *path)
{
	return mount("none", path, "tmpfs", 0, NULL);
}

static int
try_unshare(const char *unused)
{
	(void)unused;
	return unshare(CLONE_NEWUSER);
}

static int
try_chroot(const char *path)
{
	return chroot(path);
}

static const struct attempt {
	const char *name;
	int (*fn)(const char *arg);
} attempts[] = {
	{ "read", try_read },
	{ "write", try_write },
	{ "make", try_make },
	{ "unlink", try_unlink },
	{ "memory-file", try_memory_file },
	{ "tcp", try_tcp },
	{ "udp", try_udp },
	{ "listen", try_listen },
	{ "unix", try_unix },
	{ "abstract", try_abstract },
	{ "fork", try_fork },
	{ "thread", try_thread },
	{ "exec", try_exec },
	{ "ptrace", try_ptrace },
	{ "vm-read", try_vm_read },
	{ "kill", try_kill },
	{ "tgkill", try_tgkill },
	{ "pidfd", try_pidfd },
	{ "mmap-exec", try_mmap_exec },
	{ "mprotect-exec", try_mprotect_exec },
	{ "setuid", try_setuid },
	{ "dumpable", try_dumpable },
	{ "rlimit", try_rlimit },
	{ "io_uring", try_io_uring },
	{ "bpf", try_bpf },
	{ "keyctl", try_keyctl },
	{ "mount", try_mount },
	{ "unshare", try_unshare },
	{ "chroot", try_chroot },
};

static const struct attempt *
find_attempt(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		if (strlen(attempts[i].name) == len &&
		    memcmp(attempts[i].name, name, len) == 0)
			return &attempts[i];
	return NULL;
}

/* In a role: "ATTEMPT ARGUMENT". */
static void
on_probe(struct role_setup *s, const char *what)
{
	size_t n = strcspn(what, " ");
	const char *arg = what + n + (what[n] != '\0');
	const struct attempt *a = find_attempt(what, n);
	const char *result;

	if (n == 3 && memcmp(what, "ipc", 3) == 0)
		result = probe_ipc(s, arg);
	else if (a == NULL)
		result = "unknown";
	else
		result = a->fn(arg) == -1 ? strerrorname_np(errno) : "allowed";
	log_info("probe", "attempt=%s result=%s", what,
	    result != NULL ? result : "sent");
}

/* ---- in parent ---- */

static void
forgive(void)
{
	struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		p->failures = p->complaints = 0;
}

static struct proc *
find_proc(enum role role)
{
	struct proc *p, *found = NULL;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->role == role && p->ipc != NULL &&
		    (found == NULL || p->state == PROC_RUNNING))
			found = p;
	return found;
}

static void
pass_on(const char *text)
{
	char name[16] = "";
	size_t n = strcspn(text, " ");
	struct m_text m = { .text = text + n + (text[n] != '\0') };
	struct proc *p;

	if (n >= sizeof(name))
		return;
	memcpy(name, text, n);
	if (strncmp(m.text, "keep ", 5) == 0)
		m.text += 5;
	else
		forgive();
	if (strcmp(name, "store") == 0)
		parent_run_store();
	if ((p = find_proc(role_by_name(name))) != NULL)
		ipc_send(p->ipc, M_PROBE, 0, &m);
	else
		log_warn("probe", "role=%s error=%s", name, "does not run");
}

static void
on_request(evutil_socket_t fd, short what, void *arg)
{
	char text[REQUEST_MAX + 1];
	ssize_t n = recv(fd, text, REQUEST_MAX, 0);

	(void)what, (void)arg;
	if (n <= 0)
		return;
	text[n] = '\0';
	pass_on(text);
}

static void
begin(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *path = getenv("SUBMITD_PROBE");
	int fd;

	if (path == NULL)
		return;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) == -1)
		log_fatal(1, "probe=%s error=%s", path, strerror(errno));
	event_add(event_new(P.base, fd, EV_READ | EV_PERSIST, on_request, NULL),
	    NULL);
}

__attribute__((constructor)) static void
fill(void)
{
	role_probe = on_probe;
	parent_probe = begin;
}
