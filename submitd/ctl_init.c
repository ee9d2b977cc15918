/*
 * submitctl init: makes the user store. As root it belongs to root and is
 * readable for the group of the auth role only; as anybody else to them alone.
 * Makes the server's certificate as well if that is asked for.
 */
#include <sys/stat.h>

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_server.h"
#include "mem.h"
#include "sandbox.h"

static int init_run(struct ctl *);

static const struct ctl_opt init_opts[] = { CTL_SERVER_OPTS, { .name = NULL } };

const struct ctl_verb ctl_init_verbs[] = {
	{ "init", "", CTL_SERVER_ARGS,
	    "make the user store, and the server's certificate", init_run,
	    CTL_CONF, 0, 0, init_opts },
	{ .noun = NULL },
};

/* Who may read the store besides its owner. */
struct reader {
	uid_t uid;
	gid_t gid;
};

static int
find_reader(const struct ctl *ctl, struct reader *reader)
{
	char err[256];

	if (sandbox_user(ctl->conf.user_auth, &reader->uid, &reader->gid, err,
		sizeof(err)) == -1)
		return ctl_fail(
		    EX_CONFIG, "%s: user_auth: %s", ctl->conf_file, err);
	return 0;
}

/* An existing directory is left as it is; say so if auth can't enter it. */
static void
judge_directory(
    const char *dir, const struct stat *sb, const struct reader *reader)
{
	mode_t need = sb->st_gid == reader->gid ? S_IXGRP : S_IXOTH;

	if (sb->st_uid != reader->uid && (sb->st_mode & need) == 0)
		ctl_note("note: %s can't be entered by the role that reads "
			 "the store: chgrp %u %s && chmod g+x %s",
		    dir, (unsigned)reader->gid, dir, dir);
}

static int
make_directory(const char *dir, const struct reader *reader)
{
	mode_t mode = reader != NULL ? 0750 : 0700;
	struct stat sb;

	if (mkdir(dir, 0700) == 0) {
		if ((reader != NULL && chown(dir, 0, reader->gid) == -1) ||
		    chmod(dir, mode) == -1)
			return ctl_fail(
			    EX_CANTCREAT, "%s: %s", dir, strerror(errno));
		return 0;
	}
	if (errno != EEXIST)
		return ctl_fail(errno == EACCES ? EX_NOPERM : EX_CANTCREAT,
		    "%s: cannot make the directory: %s", dir, strerror(errno));
	if (reader != NULL && stat(dir, &sb) == 0)
		judge_directory(dir, &sb, reader);
	return 0;
}

static int
give_to_reader(const char *path, const struct reader *reader)
{
	if (chown(path, 0, reader->gid) == -1 || chmod(path, 0640) == -1)
		return ctl_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
	return 0;
}

static int
create_failed(const struct ctl *ctl, enum store_rc rc)
{
	return ctl_fail(rc == STORE_DENIED ? EX_NOPERM : EX_CANTCREAT, "%s: %s",
	    ctl->conf.users_db, store_errtext(ctl->st));
}

/*
 * The store is there: that is what was asked for, if it is one. Opening it for
 * writing completes one that was left empty.
 */
static int
already_there(struct ctl *ctl)
{
	enum store_rc rc;

	store_close(&ctl->st);
	rc = store_open(ctl->conf.users_db, STORE_RW, &ctl->st);
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl_done(ctl,
	    json_pack(
		"{s:s, s:b}", "users_db", ctl->conf.users_db, "created", 0),
	    "%s is there already; nothing was changed", ctl->conf.users_db);
	return 0;
}

static int
make_store(struct ctl *ctl)
{
	const char *path = ctl->conf.users_db;
	struct reader reader = { 0 }, *group = geteuid() == 0 ? &reader : NULL;
	char *copy = xstrdup(path);
	enum store_rc rc;
	int status = 0;

	if (group != NULL)
		status = find_reader(ctl, group);
	if (status == 0)
		status = make_directory(dirname(copy), group);
	free(copy);
	if (status != 0)
		return status;
	rc = store_open(path, STORE_CREATE, &ctl->st);
	if (rc == STORE_EXISTS)
		return already_there(ctl);
	if (rc != STORE_OK)
		return create_failed(ctl, rc);
	if (group != NULL && (status = give_to_reader(path, group)) != 0)
		return status;
	ctl_done(ctl, json_pack("{s:s, s:b}", "users_db", path, "created", 1),
	    "%s is made, with no user in it.\n"
	    "Next: submitctl user add NAME --address ADDRESS",
	    path);
	return 0;
}

static int
init_run(struct ctl *ctl)
{
	bool certificate = ctl_server_wanted(ctl);
	int status;

	if (ctl->opts > 0 && !certificate)
		return ctl_usage(
		    ctl, "these options need --self-signed or --from-ca");
	if (certificate && (status = ctl_server_check(ctl)) != 0)
		return status;
	if ((status = make_store(ctl)) != 0 || !certificate)
		return status;
	return ctl_server_make(ctl);
}
