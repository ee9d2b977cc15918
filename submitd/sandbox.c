/*
 * The lock-down every role passes, and the table of what each may do: see
 * sandbox.h.  The system calls have a table of their own in callfilter.c.
 */
#include "sandbox.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "callfilter.h"
#include "conf.h"
#include "landlock.h"
#include "mem.h"

/* A file or directory: named here, or by a key of the configuration. */
enum tree_kind {
	NONE,
	ITSELF,
	DIRECTORY_OF /* what it stands in: it may be replaced by another */
};

struct tree {
	enum tree_kind kind;
	enum landlock_rights rights;
	const char *path;
	size_t key; /* if path is NULL: offset of a char * in struct conf */
};

/* How large a file it may make or add to. */
enum file_size { NO_FILE, ONE_MESSAGE, ANY_SIZE };

struct box {
	bool chroot;
	bool modules;       /* runs what is not ours */
	bool keeps_user;    /* remains parent's user, with few capabilities */
	rlim_t descriptors; /* 0: as many as we may */
	enum file_size file_size;
	struct tree tree[LANDLOCK_TREES];
	/* TCP ports it may connect to; returns how many */
	size_t (*ports)(const struct conf *, uint16_t[LANDLOCK_PORTS]);
};

static size_t
port_of_smarthost(const struct conf *cf, uint16_t port[LANDLOCK_PORTS])
{
	port[0] = conf_smarthost_port(cf);
	return 1;
}

static size_t
port_of_resolver(const struct conf *cf, uint16_t port[LANDLOCK_PORTS])
{
	port[0] = conf_resolver_port(cf);
	return 1;
}

/* clang-format off */
#define KEY(name) .key = offsetof(struct conf, name)
#define URANDOM { ITSELF, LANDLOCK_READ, .path = "/dev/urandom" }

static const struct box boxes[ROLE_COUNT] = {
	/* Gets sockets, and files to write to, from others. */
	[ROLE_FRONT] = { .chroot = true, .file_size = ONE_MESSAGE },
	/* Cyrus SASL reads /dev/urandom for each SCRAM login; without it, its
	 * nonces would come from the time. */
	[ROLE_AUTH] = { .descriptors = 1024,
	    .tree = { { DIRECTORY_OF, LANDLOCK_READ, KEY(users_db) },
		URANDOM } },
	/*
	 * PAM modules come from the administrator's choice: they load code,
	 * read and write files anywhere, start helpers, ask servers.  What is
	 * left to forbid: signals and abstract sockets to others, and what
	 * callfilter.c lists.  The token command is of the same kind.
	 */
	[ROLE_PAM] = { .modules = true, .file_size = ANY_SIZE },
	[ROLE_QUEUE] = { .file_size = ANY_SIZE,
	    .tree = { { ITSELF, LANDLOCK_CHANGE, KEY(spool) }, URANDOM } },
	[ROLE_RELAY] = { .chroot = true, .descriptors = 8192,
	    .ports = port_of_smarthost },
	/* Parent tells it what resolv.conf and hosts say. */
	[ROLE_RESOLVER] = { .chroot = true, .descriptors = 4096,
	    .ports = port_of_resolver },
	/* Writes what belongs to parent's user. */
	[ROLE_STORE] = { .keeps_user = true, .descriptors = 256,
	    .file_size = ANY_SIZE,
	    .tree = { { DIRECTORY_OF, LANDLOCK_CHANGE, KEY(users_db) },
		{ ITSELF, LANDLOCK_READ, KEY(access_map) }, URANDOM } },
};
/* clang-format on */

/* Where a sentence goes. */
struct why {
	char *err;
	size_t errlen;
};

static int failed(struct why *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- users ---- */

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

/* ---- limits ---- */

static int
limit(int what, rlim_t n)
{
	const struct rlimit r = { .rlim_cur = n, .rlim_max = n };

	return setrlimit((__rlimit_resource_t)what, &r);
}

static int
limit_descriptors(rlim_t n)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == -1)
		return -1;
	if (n > 0 && n < r.rlim_max)
		r.rlim_max = n;
	r.rlim_cur = r.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &r);
}

/* Not where the log is a file on standard error: it may be larger already. */
static int
limit_file_size(enum file_size size, const struct conf *cf)
{
	struct stat st;

	if (size == ANY_SIZE ||
	    (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode)))
		return 0;
	return limit(RLIMIT_FSIZE,
	    size == NO_FILE ? 0
			    : (rlim_t)cf->max_message_size + CONF_HEADER_SLACK);
}

/* The search for leaks is made by a process that traces this one, and reads
 * /proc. */
#ifdef SANITIZED
enum { PROCESSES = 64, DUMPABLE = 1, CHROOT = 0 };
#else
enum { PROCESSES = 0, DUMPABLE = 0, CHROOT = 1 };
#endif

static int
set_limits(const struct box *box, const struct conf *cf)
{
	if (limit_descriptors(box->descriptors) == -1 ||
	    limit(RLIMIT_CORE, 0) == -1 ||
	    limit_file_size(box->file_size, cf) == -1)
		return -1;
	return box->modules ? 0 : limit(RLIMIT_NPROC, PROCESSES);
}

/* ---- the user ---- */

/* Errno behind the words; -1. */
static int
failed(struct why *w, const char *fmt, ...)
{
	int saved = errno, n;
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(w->err, w->errlen, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < w->errlen)
		snprintf(
		    w->err + n, w->errlen - (size_t)n, ": %s", strerror(saved));
	return -1;
}

static int
enter_directory(const char *dir, struct why *w)
{
	if (chroot(dir) == 0 && chdir("/") == 0)
		return 0;
	return failed(w,
	    "chroot_dir: %s cannot be made the root directory of a role, "
	    "expected a directory, and the right to do so (CAP_SYS_CHROOT)",
	    dir);
}

static int
become(
    const struct box *box, const char *dir, uid_t uid, gid_t gid, struct why *w)
{
	if (setgroups(0, NULL) == -1)
		return failed(w, "cannot leave all groups");
	if (box->chroot && CHROOT && enter_directory(dir, w) == -1)
		return -1;
	if (setresgid(gid, gid, gid) == -1 || setresuid(uid, uid, uid) == -1)
		return failed(w, "cannot become uid %u, gid %u", (unsigned)uid,
		    (unsigned)gid);
	if (uid != 0 && setuid(0) != -1) {
		errno = EPERM;
		return failed(w, "cannot give up root for good");
	}
	return 0;
}

/* Of root's rights those over files: the user store may be another's, and
 * SQLite gives what it makes beside it to the same owner. */
static int
keep_few_capabilities(void)
{
	static const unsigned kept =
	    1u << CAP_DAC_OVERRIDE | 1u << CAP_CHOWN | 1u << CAP_FOWNER;
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { { .effective = kept,
	    .permitted = kept } };

	return (int)syscall(SYS_capset, &h, d);
}

static int
change_user(
    const struct box *box, const char *dir, uid_t uid, gid_t gid, struct why *w)
{
	if (geteuid() != 0)
		return 0;
	if (!box->keeps_user)
		return become(box, dir, uid, gid, w);
	return keep_few_capabilities() == 0
	    ? 0
	    : failed(w, "cannot give up capabilities");
}

/* ---- Landlock ---- */

/* The path of a tree, to be freed; NULL: the key is not set. */
static char *
tree_path(const struct tree *t, const struct conf *cf)
{
	const char *text = t->path;
	char *real, *slash;

	if (text == NULL)
		memcpy(&text, (const char *)cf + t->key, sizeof(text));
	if (text[0] == '\0')
		return NULL;
	if ((real = realpath(text, NULL)) == NULL)
		real = xstrdup(text); /* not there (yet) */
	if (t->kind == ITSELF)
		return real;
	if ((slash = strrchr(real, '/')) == NULL) {
		free(real);
		return xstrdup(".");
	}
	slash[slash == real] = '\0';
	return real;
}

static int
restrict_files(const struct box *box, const struct conf *cf, const char **what)
{
	struct landlock l = { .any_file = box->modules,
		.any_port = box->modules };
	char *path[LANDLOCK_TREES] = { NULL };
	size_t i;
	int rc;

	for (i = 0; i < LANDLOCK_TREES && box->tree[i].kind != NONE; i++) {
		path[i] = tree_path(&box->tree[i], cf);
		if (path[i] == NULL || access(path[i], F_OK) == -1)
			continue; /* its user will say what is wrong */
		l.tree[l.trees].path = path[i];
		l.tree[l.trees++].rights = box->tree[i].rights;
	}
#ifdef SANITIZED
	l.tree[l.trees].path = "/"; /* with maps and symbols, for reports */
	l.tree[l.trees++].rights = LANDLOCK_LIST;
#endif
	if (box->ports != NULL)
		l.ports = box->ports(cf, l.connect);
	rc = landlock_enter(&l, what);
	for (i = 0; i < LANDLOCK_TREES; i++)
		free(path[i]);
	return rc;
}

/* ---- */

int
sandbox_enter(enum role role, const struct conf *cf, uid_t uid, gid_t gid,
    char *err, size_t errlen)
{
	const struct box *box = &boxes[role];
	struct why w = { err, errlen };
	const char *what = "";

	if (set_limits(box, cf) == -1)
		return failed(&w, "cannot set limits");
	if (change_user(box, cf->chroot_dir, uid, gid, &w) == -1)
		return -1;
	if (prctl(PR_SET_DUMPABLE, DUMPABLE, 0, 0, 0) == -1)
		return failed(&w, "cannot forbid to be traced");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return failed(&w, "cannot forbid new privileges");
	if (restrict_files(box, cf, &what) == -1)
		return failed(&w,
		    "cannot restrict files and ports by Landlock: %s", what);
	return callfilter_enter(role, err, errlen);
}
