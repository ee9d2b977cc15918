/*
 * The system-call filters: see callfilter.h.  For each role a list of what it
 * may do, as columns of tables.
 *
 * A call that is allowed whatever its arguments are costs next to nothing, for
 * the kernel keeps a bitmap of those; so only rare calls have conditions.
 */
#include "callfilter.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "callfilter_int.h"
#include "sandbox.h"

#define F (1u << ROLE_FRONT)
#define A (1u << ROLE_AUTH)
#define Q (1u << ROLE_QUEUE)
#define R (1u << ROLE_RELAY)
#define N (1u << ROLE_RESOLVER)
#define S (1u << ROLE_STORE)
#define P (1u << ROLE_PAM)

enum { DISK = A | Q | S, NOFILE = F | R | N, EVERY = DISK | NOFILE };

struct call {
	int nr;
	const char *name;
	unsigned roles;
};
#define C(name) SCMP_SYS(name), #name

/* clang-format off */

/* Whatever the arguments are. */
static const struct call allowed[] = {
	/* the loop, sockets, the clock where it needs a call */
	{ C(epoll_wait), EVERY }, { C(epoll_pwait), EVERY },
	{ C(epoll_ctl), EVERY }, { C(read), EVERY }, { C(write), EVERY },
	{ C(readv), EVERY }, { C(writev), EVERY },
	{ C(recvmsg), EVERY }, { C(sendmsg), EVERY },
	{ C(recvfrom), EVERY }, { C(sendto), EVERY },
	{ C(close), EVERY }, { C(fcntl), EVERY }, { C(lseek), EVERY },
	{ C(poll), EVERY }, { C(ppoll), EVERY },
	{ C(clock_gettime), EVERY }, { C(clock_getres), EVERY },
	{ C(gettimeofday), EVERY }, { C(time), EVERY },
	{ C(getsockopt), EVERY }, { C(setsockopt), EVERY },
	{ C(getsockname), EVERY }, { C(getpeername), EVERY },
	{ C(shutdown), EVERY },
	{ C(accept4), F | Q }, { C(accept), F | Q },

	/* memory, C library, end */
	{ C(brk), EVERY }, { C(munmap), EVERY }, { C(mremap), EVERY },
	{ C(madvise), EVERY }, { C(futex), EVERY }, { C(getrandom), EVERY },
	{ C(getpid), EVERY }, /* by OpenSSL: was it forked? */
	{ C(gettid), EVERY }, { C(getppid), EVERY },
	{ C(getuid), EVERY }, { C(geteuid), EVERY },
	{ C(getgid), EVERY }, { C(getegid), EVERY },
	{ C(rt_sigaction), EVERY }, { C(rt_sigprocmask), EVERY },
	{ C(rt_sigreturn), EVERY }, { C(restart_syscall), EVERY },
	{ C(sched_yield), EVERY },
	{ C(sysinfo), EVERY },  /* by qsort(): how much memory is there? */
	{ C(uname), EVERY },
	{ C(nanosleep), EVERY }, { C(clock_nanosleep), EVERY },
	{ C(exit), EVERY }, { C(exit_group), EVERY },

	/* open files */
	{ C(fstat), EVERY }, { C(pread64), DISK | R },
	{ C(fdatasync), F | Q | S },
	{ C(pwrite64), Q | S }, { C(ftruncate), Q | S }, { C(fsync), Q | S },
	{ C(fallocate), Q | S }, { C(flock), Q | S },
	{ C(fchmod), Q | S }, { C(fchown), Q | S },
	{ C(fstatfs), DISK }, { C(getdents64), Q | S },

	/* by name: Landlock says which */
	{ C(stat), DISK }, { C(lstat), DISK }, { C(newfstatat), DISK },
	{ C(statx), DISK }, { C(access), DISK }, { C(faccessat), DISK },
	{ C(faccessat2), DISK }, { C(readlink), DISK },
	{ C(readlinkat), DISK }, { C(getcwd), DISK }, { C(statfs), DISK },

	/* many questions at once */
	{ C(sendmmsg), N }, { C(recvmmsg), N },
};

/* They go on if the kernel lets them, else the log has a line. */
static const struct call watched[] = {
	{ C(openat), DISK }, { C(unlink), Q | S }, { C(unlinkat), Q | S },
	{ C(rename), Q | S }, { C(renameat), Q | S }, { C(renameat2), Q | S },
	{ C(connect), R | N }, { C(bind), N }, /* UDP has random ports */
};

/* EACCES and a line.  NOFILE: roles that open none. */
static const struct call refused[] = {
	{ C(openat), NOFILE }, { C(open), EVERY }, { C(openat2), EVERY },
	{ C(creat), EVERY }, { C(stat), NOFILE }, { C(lstat), NOFILE },
	{ C(statx), NOFILE }, { C(access), NOFILE }, { C(faccessat), NOFILE },
	{ C(faccessat2), NOFILE }, { C(readlink), NOFILE },
	{ C(readlinkat), NOFILE }, { C(getcwd), NOFILE },
	{ C(statfs), NOFILE }, { C(fstatfs), NOFILE },
	{ C(getdents64), NOFILE | A }, { C(unlink), NOFILE | A },
	{ C(unlinkat), NOFILE | A }, { C(rename), NOFILE | A },
	{ C(renameat), NOFILE | A }, { C(renameat2), NOFILE | A },
	{ C(link), EVERY }, { C(linkat), EVERY }, { C(symlink), EVERY },
	{ C(symlinkat), EVERY }, { C(mkdir), EVERY }, { C(mkdirat), EVERY },
	{ C(rmdir), EVERY }, { C(mknod), EVERY }, { C(mknodat), EVERY },
	{ C(chmod), EVERY }, { C(fchmodat), EVERY }, { C(chown), EVERY },
	{ C(lchown), EVERY }, { C(fchownat), EVERY }, { C(truncate), EVERY },
	{ C(chdir), EVERY }, { C(fchdir), EVERY }, { C(utimensat), EVERY },

	{ C(socket), F | A | Q | S }, { C(connect), F | A | Q | S },
	{ C(bind), EVERY & ~N }, { C(listen), EVERY },
	{ C(socketpair), EVERY },

	{ C(ioctl), EVERY & ~Q }, { C(clone3), EVERY }, { C(prctl), EVERY },
	{ C(pipe), EVERY }, { C(pipe2), EVERY }, { C(eventfd2), EVERY },
	{ C(memfd_create), EVERY }, { C(epoll_create1), EVERY },
	{ C(timerfd_create), EVERY }, { C(inotify_init1), EVERY },
	{ C(getrlimit), EVERY }, { C(setrlimit), EVERY },
	{ C(prlimit64), EVERY }, { C(sched_getaffinity), EVERY },
	{ C(sched_setaffinity), EVERY }, { C(setpriority), EVERY },
	{ C(getrusage), EVERY }, { C(times), EVERY }, { C(umask), EVERY },
};

#ifdef SANITIZED
/* What the sanitizers' run-time needs to watch and to report. */
static const struct call sanitizers[] = {
	{ C(open), EVERY }, { C(openat), EVERY }, { C(newfstatat), EVERY },
	{ C(stat), EVERY }, { C(readlink), EVERY }, { C(readlinkat), EVERY },
	{ C(access), EVERY }, { C(getcwd), EVERY },
	{ C(getdents), EVERY }, { C(getdents64), EVERY },
	{ C(mmap), EVERY }, { C(mprotect), EVERY }, { C(sigaltstack), EVERY },
	{ C(prctl), EVERY }, { C(arch_prctl), EVERY }, { C(prlimit64), EVERY },
	{ C(getrlimit), EVERY }, { C(sched_getaffinity), EVERY },
	{ C(ptrace), EVERY }, { C(clone), EVERY }, { C(wait4), EVERY },
	{ C(pipe), EVERY }, { C(pipe2), EVERY }, { C(kill), EVERY },
	{ C(tgkill), EVERY }, { C(personality), EVERY },
	{ C(set_robust_list), EVERY }, { C(rseq), EVERY },
	{ C(set_tid_address), EVERY }, { C(ioctl), EVERY },
};
#endif

/*
 * The role pam loads modules that the administrator chose, and runs the token
 * command: these may open, read, connect, start and so on, so that no list of
 * what is allowed can be made.  What nobody who checks a password needs fails
 * with EPERM.
 */
static const struct call never_pam[] = {
	{ C(ptrace), P }, { C(process_vm_readv), P }, { C(process_vm_writev), P },
	{ C(pidfd_getfd), P }, { C(kcmp), P }, { C(process_madvise), P },
	{ C(bpf), P }, { C(perf_event_open), P }, { C(userfaultfd), P },
	{ C(io_uring_setup), P }, { C(io_uring_enter), P }, { C(io_uring_register), P },
	{ C(mount), P }, { C(umount2), P }, { C(pivot_root), P }, { C(chroot), P },
	{ C(move_mount), P }, { C(open_tree), P }, { C(fsopen), P }, { C(fsmount), P },
	{ C(fspick), P }, { C(fsconfig), P }, { C(mount_setattr), P },
	{ C(unshare), P }, { C(setns), P }, { C(open_by_handle_at), P },
	{ C(init_module), P }, { C(finit_module), P }, { C(delete_module), P },
	{ C(kexec_load), P }, { C(kexec_file_load), P }, { C(reboot), P },
	{ C(swapon), P }, { C(swapoff), P }, { C(acct), P }, { C(quotactl), P },
	{ C(iopl), P }, { C(ioperm), P }, { C(syslog), P }, { C(sethostname), P },
	{ C(setdomainname), P }, { C(settimeofday), P }, { C(clock_settime), P },
	{ C(adjtimex), P }, { C(clock_adjtime), P }, { C(nfsservctl), P },
	{ C(vhangup), P }, { C(lookup_dcookie), P },
};
/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- rules ---- */

static unsigned self; /* this role's bit */

const char *
callfilter_name(int nr)
{
	size_t i;

	for (i = 0; i < COUNT(refused); i++)
		if (refused[i].nr == nr)
			return refused[i].name;
	return nr == SCMP_SYS(newfstatat) ? "newfstatat" : "other";
}

bool
callfilter_is_watched(int nr)
{
	size_t i;

	for (i = 0; i < COUNT(watched); i++)
		if (watched[i].nr == nr)
			return (watched[i].roles & self) != 0;
	return false;
}

static bool
is_wider(int nr)
{
#ifdef SANITIZED
	for (size_t i = 0; i < COUNT(sanitizers); i++)
		if (sanitizers[i].nr == nr)
			return true;
#endif
	(void)nr;
	return false;
}

/* Rules for the calls of a table that the role may make so. */
static int
add(scmp_filter_ctx ctx, uint32_t action, const struct call *table, size_t n,
    unsigned bit)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n; i++)
		if ((table[i].roles & bit) != 0 && !is_wider(table[i].nr))
			rc = seccomp_rule_add(ctx, action, table[i].nr, 0);
	return rc;
}

static int
add_if(scmp_filter_ctx ctx, uint32_t action, int nr, struct scmp_arg_cmp cond)
{
	return is_wider(nr) ? 0
			    : seccomp_rule_add_array(ctx, action, nr, 1, &cond);
}

#ifdef CAN_TRAP
#define REFUSE SCMP_ACT_TRAP

static int
add_watched(scmp_filter_ctx ctx, unsigned bit)
{
	uint64_t passport = callfilter_trap();
	const struct call *c;
	int rc = 0;

	for (c = watched; rc == 0 && c < watched + COUNT(watched); c++) {
		if ((c->roles & bit) == 0)
			continue;
		rc = add_if(
		    ctx, SCMP_ACT_ALLOW, c->nr, SCMP_A5(SCMP_CMP_EQ, passport));
		if (rc == 0)
			rc = add_if(
			    ctx, REFUSE, c->nr, SCMP_A5(SCMP_CMP_NE, passport));
	}
	return rc;
}
#else
#define REFUSE SCMP_ACT_ERRNO(EACCES)

static int
add_watched(scmp_filter_ctx ctx, unsigned bit)
{
	return add(ctx, SCMP_ACT_ALLOW, watched, COUNT(watched), bit);
}
#endif

/* One value of an argument is allowed, all others are refused. */
static int
add_only(scmp_filter_ctx ctx, int nr, unsigned arg, uint32_t value)
{
	int rc = add_if(
	    ctx, SCMP_ACT_ALLOW, nr, SCMP_CMP32(arg, SCMP_CMP_EQ, value));

	if (rc == 0)
		rc = add_if(
		    ctx, REFUSE, nr, SCMP_CMP32(arg, SCMP_CMP_LT, value));
	if (rc == 0)
		rc = add_if(
		    ctx, REFUSE, nr, SCMP_CMP32(arg, SCMP_CMP_GT, value));
	return rc;
}

static int
allow_sockets(scmp_filter_ctx ctx, uint32_t family, uint32_t type)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
	    SCMP_A0_32(SCMP_CMP_EQ, family),
	    SCMP_A1_32(SCMP_CMP_MASKED_EQ, 0xf, type));
}

/* TCP, for the resolver UDP, too; libraries that look for others go without. */
static int
add_sockets(scmp_filter_ctx ctx, unsigned bit)
{
	int rc = add_if(ctx, REFUSE, SCMP_SYS(socket),
	    SCMP_A0_32(SCMP_CMP_LT, (uint32_t)AF_INET));

	if (rc == 0)
		rc = add_if(ctx, REFUSE, SCMP_SYS(socket),
		    SCMP_A0_32(SCMP_CMP_GT, (uint32_t)AF_INET6));
	if (rc == 0)
		rc = allow_sockets(ctx, AF_INET, SOCK_STREAM);
	if (rc == 0)
		rc = allow_sockets(ctx, AF_INET6, SOCK_STREAM);
	if (rc == 0 && (bit & N) != 0)
		rc = allow_sockets(ctx, AF_INET, SOCK_DGRAM);
	if (rc == 0 && (bit & N) != 0)
		rc = allow_sockets(ctx, AF_INET6, SOCK_DGRAM);
	return rc;
}

/* No memory becomes executable; signals, as of abort(), to ourselves only. */
static int
add_conditions(scmp_filter_ctx ctx, unsigned bit)
{
	const struct scmp_arg_cmp no_exec =
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
				  to_us = SCMP_A0_32(
				      SCMP_CMP_EQ, (uint32_t)getpid());
	int rc = add_if(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), no_exec);

	if (rc == 0)
		rc = add_if(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), no_exec);
	if (rc == 0)
		rc = add_if(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), to_us);
	if (rc == 0)
		rc = add_if(ctx, SCMP_ACT_ALLOW, SCMP_SYS(kill), to_us);
	if (rc == 0 && (bit & NOFILE) != 0) /* fstat() */
		rc = add_only(ctx, SCMP_SYS(newfstatat), 3, AT_EMPTY_PATH);
	if (rc == 0 && (bit & Q) != 0) /* libevent */
		rc = add_only(ctx, SCMP_SYS(ioctl), 1, FIONREAD);
	if (rc == 0 && (bit & (R | N)) != 0)
		rc = add_sockets(ctx, bit);
	return rc;
}

static int
add_role(scmp_filter_ctx ctx, unsigned bit)
{
	int rc = add(ctx, SCMP_ACT_ALLOW, allowed, COUNT(allowed), bit);

	if (rc == 0)
		rc = add_conditions(ctx, bit);
	if (rc == 0)
		rc = add_watched(ctx, bit);
	if (rc == 0)
		rc = add(ctx, REFUSE, refused, COUNT(refused), bit);
#ifdef SANITIZED
	for (size_t i = 0; rc == 0 && i < COUNT(sanitizers); i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, sanitizers[i].nr, 0);
#endif
	return rc;
}

static int
load(scmp_filter_ctx ctx, enum role role)
{
	int rc = seccomp_attr_set(
	    ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (rc == 0) /* a tree, not a list */
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0 && role == ROLE_PAM) /* by the kernel, if it audits */
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	if (rc == 0)
		rc = role == ROLE_PAM
		    ? add(ctx, SCMP_ACT_ERRNO(EPERM), never_pam,
			  COUNT(never_pam), 1u << ROLE_PAM)
		    : add_role(ctx, 1u << role);
	return rc != 0 ? rc : seccomp_load(ctx);
}

bool
callfilter_is_built_in(void)
{
	return true;
}

int
callfilter_enter(enum role role, char *err, size_t errlen)
{
	scmp_filter_ctx ctx = seccomp_init(
	    role == ROLE_PAM ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
	int rc;

	self = 1u << role;
	rc = ctx != NULL ? load(ctx, role) : -ENOMEM;

	seccomp_release(ctx);
	if (rc == 0)
		return 0;
	snprintf(err, errlen,
	    "cannot filter system calls: %s (does the kernel have seccomp?)",
	    strerror(-rc));
	return -1;
}
