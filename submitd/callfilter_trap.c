/*
 * What happens when a role makes a call that is refused or watched: the kernel
 * sends SIGSYS in its place.  The handler gives the call its result, and
 * writes the line.  It may come from anywhere, so it does only what is safe in
 * signal handlers.
 */
#include "callfilter_int.h"

#ifdef CAN_TRAP
#include <sys/random.h>
#include <sys/syscall.h>

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sysexits.h>
#include <ucontext.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

enum { BURST = 20, BURST_MS = 10 * 1000, PATH_SHOWN = 200 };

static uint64_t passport;

static char *
put(char *out, const char *end, const char *text)
{
	while (*text != '\0' && out < end)
		*out++ = *text++;
	return out;
}

static char *
put_path(char *out, const char *end, const char *path)
{
	const char *stop = path + PATH_SHOWN;

	out = put(out, end, " path=");
	for (; *path != '\0' && path < stop && out < end; path++)
		*out++ = *path > ' ' && *path < 0x7f && *path != '"' &&
			*path != '\\' && *path != '='
		    ? *path
		    : '?';
	return out;
}

static char *
put_number(char *out, const char *end, unsigned n)
{
	char digits[10];
	size_t k = 0;

	do
		digits[k++] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	while (k > 0 && out < end)
		*out++ = digits[--k];
	return out;
}

/* So many lines in a while, then only their number. */
static bool
may_tell(unsigned *left_out)
{
	static int64_t since_ms;
	static unsigned told, skipped;
	int64_t now = clock_ms();

	if (since_ms == 0 || now - since_ms >= BURST_MS) {
		since_ms = now;
		told = 0;
	}
	if (told == BURST) {
		skipped++;
		return false;
	}
	told++;
	*left_out = skipped;
	skipped = 0;
	return true;
}

static void
tell(const char *name, const char *path, const char *why)
{
	char line[500], *out = line;
	const char *end = line + sizeof(line);
	unsigned left_out;

	if (!may_tell(&left_out))
		return;
	out = put(out, end, "ev=sandbox syscall=");
	out = put(out, end, name);
	out = put(out, end, " result=EACCES");
	if (path != NULL)
		out = put_path(out, end, path);
	if (left_out > 0) {
		out = put(out, end, " more=");
		out = put_number(out, end, left_out);
	}
	out = put(out, end, " error=\"");
	out = put(out, end, why);
	out = put(out, end, "\"");
	log_signal(line, (size_t)(out - line));
}

/* The same call, with the passport; its result as the kernel gives it. */
static long
go_on(const greg_t *g, int nr)
{
	long rc = syscall(nr, g[REG_RDI], g[REG_RSI], g[REG_RDX], g[REG_R10],
	    g[REG_R8], passport);

	return rc == -1 ? -errno : rc;
}

/* A path that the kernel has refused, so it could be read; NULL: none. */
static const char *
path_of(const greg_t *g, int nr)
{
	switch (nr) {
	case SYS_openat:
	case SYS_unlinkat:
	case SYS_renameat:
	case SYS_renameat2:
		return (const char *)g[REG_RSI];
	case SYS_unlink:
	case SYS_rename:
		return (const char *)g[REG_RDI];
	default:
		return NULL;
	}
}

static void
on_sigsys(int sig, siginfo_t *si, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	int saved = errno, nr = si->si_syscall;
	const char *why = "a system call that its role never makes";
	const char *path = NULL;
	long rc = -EACCES;

	(void)sig;
	if (callfilter_is_watched(nr)) {
		rc = go_on(g, nr);
		path = path_of(g, nr);
		why = "refused by Landlock or by the rights of its user";
	}
	if (rc == -EACCES || rc == -EPERM)
		tell(callfilter_name(nr), path, why);
	g[REG_RAX] = rc;
	errno = saved;
}

uint64_t
callfilter_trap(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys,
		.sa_flags = SA_SIGINFO | SA_NODEFER };

	if (getrandom(&passport, sizeof(passport), 0) !=
		(ssize_t)sizeof(passport) ||
	    sigaction(SIGSYS, &sa, NULL) == -1)
		log_fatal(EX_OSERR, "error=%s", "cannot watch system calls");
	return passport;
}
#endif
