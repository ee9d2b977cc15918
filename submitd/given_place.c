/*
 * The places the server works in: user store, spool, chroots, sockets.  Whether
 * each is there, is whose it should be, can be used by the role whose it is,
 * and can be changed by nobody else.
 */
#include <sys/stat.h>
#include <sys/un.h>

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asuser.h"
#include "given_int.h"
#include "sandbox.h"
#include "store/db.h"

struct user {
	uid_t uid;
	gid_t gid;
};

/* check_users() has found them good. */
static struct user
user_of(const char *text)
{
	struct user u = { geteuid(), getegid() };
	char err[256];

	if (geteuid() == 0)
		sandbox_user(text, &u.uid, &u.gid, err, sizeof(err));
	return u;
}

static unsigned
mode_of(const struct stat *st)
{
	return (unsigned)st->st_mode & 07777;
}

/* What a path stands in; free it. */
static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? xstrdup("/")
			     : xstrndup(path, (size_t)(slash - path));
}

/* A directory that exists, and that only its owner can change. */
static int
check_mode(const struct check *c, const char *key, const char *path,
    const struct stat *st)
{
	if (!S_ISDIR(st->st_mode))
		return given_wrong(
		    c, key, "%s is no directory, expected one", path);
	if ((st->st_mode & 022) != 0)
		return given_wrong(c, key,
		    "%s is writable by others (mode %04o), expected a "
		    "directory that its owner alone can change: chmod go-w %s",
		    path, mode_of(st), path);
	return 0;
}

/* Whether the user of a role can come to what stands in a directory. */
static int
check_way(const struct check *c, const char *key, const char *dir,
    const char *user_key, const char *user)
{
	const struct user u = user_of(user);
	int why = asuser_access(u.uid, u.gid, dir, X_OK);

	if (why == 0)
		return 0;
	return given_wrong(c, key,
	    "%s can't be entered by %s (%s): %s, expected rights to pass it "
	    "and all directories above it",
	    dir, user_key, user, strerror(why));
}

/* ---- chroot_dir ---- */

static int
check_empty(const struct check *c, const char *key, const char *path)
{
	struct dirent *e;
	DIR *d = opendir(path);
	int n = 0;

	if (d == NULL)
		return given_wrong(c, key,
		    "%s: %s, expected an empty directory", path,
		    strerror(errno));
	while ((e = readdir(d)) != NULL)
		n +=
		    strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n == 0
	    ? 0
	    : given_wrong(
		  c, key, "%s is not empty, expected an empty directory", path);
}

/* Where roles are locked in; made by given_prepare() if it is not there. */
static int
check_chroot(const struct check *c)
{
	const char *path = c->g->conf.chroot_dir;
	struct stat st;

	if (geteuid() != 0 || (stat(path, &st) == -1 && errno == ENOENT))
		return 0;
	if (stat(path, &st) == -1)
		return given_wrong(c, "chroot_dir",
		    "%s: %s, expected an empty directory", path,
		    strerror(errno));
	if (check_mode(c, "chroot_dir", path, &st) == -1)
		return -1;
	if (st.st_uid != 0)
		return given_wrong(c, "chroot_dir",
		    "%s belongs to uid %u, expected a directory of root: "
		    "chown root %s",
		    path, (unsigned)st.st_uid, path);
	return check_empty(c, "chroot_dir", path);
}

/* ---- spool ---- */

/* Another one's directory would be given to queue, with all that is in it. */
static bool
is_foreign(const char *path)
{
	struct dirent *e;
	DIR *d = opendir(path);
	bool other = false, spool = false;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, "queue.db") == 0)
			spool = true;
		else if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0 &&
		    strcmp(e->d_name, "lost+found") != 0)
			other = true;
	}
	if (d != NULL)
		closedir(d);
	return other && !spool;
}

/* Of a queue that ran as another user. */
static int
check_spool_file(const struct check *c, const struct user *u, const char *name)
{
	const struct conf *cf = &c->g->conf;
	char *path = xasprintf("%s/%s", cf->spool, name);
	struct stat st;
	int rc = 0;

	if (stat(path, &st) == 0 &&
	    (st.st_uid != u->uid || (st.st_mode & 0600) != 0600))
		rc = given_wrong(c, "spool",
		    "%s belongs to uid %u (mode %04o), expected a file of "
		    "user_queue (%s): chown -R %u:%u %s",
		    path, (unsigned)st.st_uid, mode_of(&st), cf->user_queue,
		    (unsigned)u->uid, (unsigned)u->gid, cf->spool);
	free(path);
	return rc;
}

static int
check_spool_owner(
    const struct check *c, const struct user *u, const struct stat *st)
{
	const char *path = c->g->conf.spool;

	if (st->st_uid == u->uid)
		return 0;
	if (st->st_uid != 0 || geteuid() != 0)
		return given_wrong(c, "spool",
		    "%s belongs to uid %u, expected a directory of %s", path,
		    (unsigned)st->st_uid,
		    geteuid() == 0 ? "user_queue, or an empty one of root"
				   : "the user who starts submitd");
	if (is_foreign(path))
		return given_wrong(c, "spool",
		    "%s holds other files, expected a directory for the spool "
		    "alone",
		    path);
	return 0;
}

/* given_prepare() makes it, and what it stands in, and gives it to queue. */
static int
check_new_spool(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	char *dir = directory_of(cf->spool), *up;
	int rc;

	while (access(dir, F_OK) == -1 && strcmp(dir, "/") != 0) {
		up = directory_of(dir);
		free(dir);
		dir = up;
	}
	rc = check_way(c, "spool", dir, "user_queue", cf->user_queue);
	free(dir);
	return rc;
}

static int
check_spool(const struct check *c)
{
	static const char *const files[] = { "lock", "queue.db", "queue.db-wal",
		"queue.db-shm", "history.db", "history.db-wal",
		"history.db-shm" };
	const struct conf *cf = &c->g->conf;
	const struct user u = user_of(cf->user_queue);
	char *dir;
	struct stat st;
	size_t i;
	int rc;

	if (stat(cf->spool, &st) == -1)
		return geteuid() == 0 && errno == ENOENT
		    ? check_new_spool(c)
		    : given_wrong(c, "spool", "%s: %s, expected a directory",
			  cf->spool, strerror(errno));
	if (check_mode(c, "spool", cf->spool, &st) == -1 ||
	    check_spool_owner(c, &u, &st) == -1)
		return -1;
	if (geteuid() != 0 && access(cf->spool, R_OK | W_OK | X_OK) == -1)
		return given_wrong(c, "spool",
		    "%s can't be written: %s, expected a directory that its "
		    "owner can change: chmod 700 %s",
		    cf->spool, strerror(errno), cf->spool);
	dir = directory_of(cf->spool);
	rc = check_way(c, "spool", dir, "user_queue", cf->user_queue);
	free(dir);
	for (i = 0; rc == 0 && i < sizeof(files) / sizeof(files[0]); i++)
		rc = check_spool_file(c, &u, files[i]);
	return rc;
}

/* ---- users_db ---- */

/* One that could change the store could be anybody. */
static int
check_no_role(const struct check *c, const char *path, uid_t owner)
{
	const struct conf *cf = &c->g->conf;
	const struct {
		const char *key, *user;
	} roles[] = { { "user_front", cf->user_front },
		{ "user_auth", cf->user_auth },
		{ "user_queue", cf->user_queue },
		{ "user_relay", cf->user_relay },
		{ "user_resolver", cf->user_resolver } };
	size_t i;

	for (i = 0; geteuid() == 0 && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (user_of(roles[i].user).uid == owner)
			return given_wrong(c, "users_db",
			    "%s belongs to %s (%s), which could change it, "
			    "expected root: chown root %s",
			    path, roles[i].key, roles[i].user, path);
	return 0;
}

/* Who can change it can put another store there. */
static int
check_store_dir(const struct check *c, const char *dir, uid_t store_owner)
{
	struct stat st;

	if (stat(dir, &st) == -1)
		return given_wrong(c, "users_db",
		    "%s: %s, expected a directory", dir, strerror(errno));
	if (check_mode(c, "users_db", dir, &st) == -1 ||
	    check_no_role(c, dir, st.st_uid) == -1)
		return -1;
	if (st.st_uid != 0 && st.st_uid != geteuid() &&
	    st.st_uid != store_owner)
		return given_wrong(c, "users_db",
		    "%s belongs to uid %u, expected a directory of root: "
		    "chown root %s",
		    dir, (unsigned)st.st_uid, dir);
	return check_way(c, "users_db", dir, "user_auth", c->g->conf.user_auth);
}

static int
check_store_file(const struct check *c, const char *path, const struct stat *st)
{
	const char *user = c->g->conf.user_auth;
	const struct user auth = user_of(user);
	int why;

	if ((st->st_mode & 027) != 0)
		return given_wrong(c, "users_db",
		    "%s is open to others (mode %04o), expected mode 0640: "
		    "chmod 640 %s",
		    path, mode_of(st), path);
	if (check_no_role(c, path, st->st_uid) == -1)
		return -1;
	why = asuser_access(auth.uid, auth.gid, path, R_OK);
	if (why == 0)
		return 0;
	return given_wrong(c, "users_db",
	    "%s can't be read by user_auth (%s): %s, expected a file its group "
	    "can read: chgrp %u %s && chmod 640 %s",
	    path, user, strerror(why), (unsigned)auth.gid, path, path);
}

static int
check_store_rights(const struct check *c)
{
	const char *path = c->g->conf.users_db;
	char *real = realpath(path, NULL), *dir;
	struct stat st;
	int rc;

	if (real == NULL || stat(real, &st) == -1) {
		free(real);
		return given_wrong(c, "users_db",
		    "%s: %s, expected a user store", path, strerror(errno));
	}
	dir = directory_of(real);
	rc = check_store_dir(c, dir, st.st_uid);
	if (rc == 0)
		rc = check_store_file(c, real, &st);
	free(dir);
	free(real);
	return rc;
}

static int
check_store(const struct check *c)
{
	const char *path = c->g->conf.users_db;
	struct store *st = NULL;
	enum store_rc rc;
	char why[256];

	rc = store_open(path, STORE_RO, &st);
	snprintf(why, sizeof(why), "%s", store_errtext(st));
	store_close(&st);
	switch (rc) {
	case STORE_OK:
	case STORE_OLDER: /* these three are the store role's to mend */
	case STORE_READONLY_HOT:
	case STORE_BUSY:
		return check_store_rights(c);
	case STORE_NONE:
		return given_wrong(c, "users_db",
		    "%s does not exist, expected a "
		    "user store: submitctl init makes one",
		    path);
	default:
		return given_wrong(c, "users_db",
		    "%s: %s, expected a user store that can be read", path,
		    why);
	}
}

/* ---- control_socket, pid_file ---- */

/* listen_control() makes the directory, not what that stands in. */
static int
check_control_dir(const struct check *c, const char *dir)
{
	struct stat st;
	char *up;
	int rc = 0;

	if (stat(dir, &st) == -1) {
		up = directory_of(dir);
		if (errno != ENOENT || access(up, W_OK | X_OK) == -1)
			rc = given_wrong(c, "control_socket",
			    "%s cannot be made: %s: %s, expected a directory "
			    "that can be written",
			    dir, up, strerror(errno));
		free(up);
		return rc;
	}
	/* of a directory such as /tmp nobody can take what is another's */
	if ((st.st_mode & S_ISVTX) == 0 &&
	    check_mode(c, "control_socket", dir, &st) == -1)
		return -1;
	if (access(dir, W_OK | X_OK) == -1)
		return given_wrong(c, "control_socket",
		    "%s cannot be written: %s, expected a directory of who "
		    "starts submitd",
		    dir, strerror(errno));
	return 0;
}

static int
check_control(const struct check *c)
{
	const char *path = c->g->conf.control_socket;
	const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	struct stat st;
	char *dir;
	int rc;

	if (strlen(path) > max)
		return given_wrong(c, "control_socket",
		    "%s is too long for the name of a socket, expected at "
		    "most %zu bytes",
		    path, max);
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return given_wrong(c, "control_socket",
		    "%s is there and no socket, expected a path for one", path);
	dir = directory_of(path);
	rc = check_control_dir(c, dir);
	free(dir);
	return rc;
}

static int
check_pid_file(const struct check *c)
{
	const char *path = c->g->conf.pid_file;
	struct stat st;

	if (path[0] == '\0' || stat(path, &st) == -1 || !S_ISDIR(st.st_mode))
		return 0;
	return given_wrong(
	    c, "pid_file", "%s is a directory, expected a file", path);
}

/* ---- all of them ---- */

/* clang-format off */
#define PLACE(name, such, needed, fn) \
	{ #name, offsetof(struct conf, name), such, needed, fn }

static const struct place {
	const char *key;
	size_t path; /* offset of a char * in struct conf */
	const char *such;
	bool needed; /* not empty */
	int (*fn)(const struct check *); /* NULL: looked at elsewhere */
} places[] = {
	PLACE(chroot_dir, "/run/submitd/empty", true, check_chroot),
	PLACE(spool, "/var/spool/submitd", true, check_spool),
	PLACE(users_db, "/var/lib/submitd/users.db", true, check_store),
	PLACE(control_socket, "/run/submitd/control", true, check_control),
	PLACE(pid_file, "/run/submitd.pid", false, check_pid_file),
	PLACE(cert_dir, "/etc/submitd/certs", true, NULL),
	PLACE(pam_confdir, "/etc/pam.d", false, NULL),
};
/* clang-format on */
enum { PLACES = sizeof(places) / sizeof(places[0]) };

/* Without -d the server works in "/". */
static int
check_path(const struct check *c, const struct place *p)
{
	const char *path;

	memcpy(&path, (const char *)&c->g->conf + p->path, sizeof(path));
	if (path[0] == '/' || (path[0] == '\0' && !p->needed))
		return 0;
	return given_wrong(c, p->key,
	    "\"%s\" is not valid, expected an absolute path such as %s", path,
	    p->such);
}

int
given_check_paths(const struct check *c)
{
	size_t i;

	for (i = 0; i < PLACES; i++)
		if (check_path(c, &places[i]) == -1)
			return -1;
	return 0;
}

int
given_check_places(const struct check *c)
{
	size_t i;

	for (i = 0; i < PLACES; i++)
		if (places[i].fn != NULL && places[i].fn(c) == -1)
			return -1;
	return 0;
}

int
given_place(const struct conf *cf, const char *key, char *err, size_t errlen)
{
	struct given g = { .conf = *cf };
	const struct check c = { .g = &g, .err = err, .errlen = errlen };
	const struct place *p = places;

	while (strcmp(p->key, key) != 0)
		p++;
	return check_path(&c, p) == -1 ? -1 : p->fn(&c);
}
