/*
 * Bodies in files: tmp.<qid> while they are written, <qid>.msg from then on;
 * qid as 13 or more lower-case hex digits. What a crash leaves is cleared by
 * mailq_tidy().
 */
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailq_private.h"

static const char *
tmp_name(char *buf, uint64_t qid)
{
	snprintf(buf, MAILQ_BODY_NAME, "tmp.%013llx", (unsigned long long)qid);
	return buf;
}

static const char *
msg_name(char *buf, uint64_t qid)
{
	snprintf(buf, MAILQ_BODY_NAME, "%013llx.msg", (unsigned long long)qid);
	return buf;
}

/* The qid of a name that msg_name() makes, 0 for any other. */
static uint64_t
qid_of_name(const char *name)
{
	char back[MAILQ_BODY_NAME];
	uint64_t qid = strtoull(name, NULL, 16);

	return strcmp(msg_name(back, qid), name) == 0 ? qid : 0;
}

/* 0 if there is none. */
static uint64_t
file_size(struct mailq *mq, const char *name)
{
	struct stat sb;

	if (fstatat(mq->dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) == -1)
		return 0;
	return (uint64_t)sb.st_size;
}

/* What the log has of the disk: zeros may have none. */
static uint64_t
log_taken(struct mailq *mq)
{
	struct stat sb;
	uint64_t blocks;

	if (fstatat(mq->dirfd, "queue.db-wal", &sb, AT_SYMLINK_NOFOLLOW) == -1)
		return 0;
	blocks = (uint64_t)sb.st_blocks * 512;
	return blocks < (uint64_t)sb.st_size ? blocks : (uint64_t)sb.st_size;
}

/* Bytes of the pages of queue.db, those still in the log included. */
static enum mailq_rc
count_pages(struct mailq *mq, uint64_t *unused, uint64_t *all)
{
	sqlite3_stmt *stmt;
	enum mailq_rc rc;

	rc = mailq_query(mq, &stmt,
	    "SELECT freelist_count * page_size, page_count * page_size"
	    " FROM pragma_freelist_count, pragma_page_count, pragma_page_size",
	    "");
	if (rc == MAILQ_OK && (rc = mailq_step(mq, stmt)) == MAILQ_OK) {
		*unused = (uint64_t)sqlite3_column_int64(stmt, 0);
		*all = (uint64_t)sqlite3_column_int64(stmt, 1);
	}
	mailq_done(stmt);
	return rc;
}

enum mailq_rc
mailq_space(struct mailq *mq, struct mailq_space *space)
{
	uint64_t unused = 0, all = 0, have, taken = MAILQ_LOG_ROOM, n;
	struct statvfs v;
	enum mailq_rc rc;

	if (fstatvfs(mq->dirfd, &v) == -1)
		return mailq_errno(mq, "statvfs");
	if ((rc = count_pages(mq, &unused, &all)) != MAILQ_OK)
		return rc;
	*space = (struct mailq_space){
		.total = (uint64_t)v.f_blocks * v.f_frsize,
	};
	/* The log is written over from its start: what it has, it keeps. */
	n = log_taken(mq);
	taken -= n < MAILQ_LOG_ROOM ? n : MAILQ_LOG_ROOM;
	/* Pages that so far are in the log only. */
	n = file_size(mq, "queue.db");
	taken += all > n ? all - n : 0;
	have = (uint64_t)v.f_bavail * v.f_frsize;
	if (have < taken || (v.f_files > 0 && v.f_favail == 0))
		return MAILQ_OK; /* some systems count no files */
	space->files = have - taken;
	space->rows = space->files + unused;
	return MAILQ_OK;
}

/* Beside the room for the log there can be as much in it that the database has
 * still to take. */
bool
mailq_has_plenty(struct mailq *mq, uint64_t need)
{
	struct statvfs v;

	if (fstatvfs(mq->dirfd, &v) == -1 || (v.f_files > 0 && v.f_favail == 0))
		return false;
	return (uint64_t)v.f_bavail * v.f_frsize > need + 2 * MAILQ_LOG_ROOM;
}

enum mailq_rc
mailq_body_create(struct mailq *mq, uint64_t qid, int *fd)
{
	char name[MAILQ_BODY_NAME];
	int new = openat(mq->dirfd, tmp_name(name, qid),
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (new == -1)
		return mailq_errno(mq, "cannot make a file for a body");
	*fd = new;
	return MAILQ_OK;
}

void
mailq_body_discard(struct mailq *mq, uint64_t qid)
{
	char name[MAILQ_BODY_NAME];

	/* What can't be removed now is garbage for mailq_tidy(). */
	(void)unlinkat(mq->dirfd, tmp_name(name, qid), 0);
}

void
mailq_body_remove(struct mailq *mq, uint64_t qid)
{
	char name[MAILQ_BODY_NAME];

	(void)unlinkat(mq->dirfd, msg_name(name, qid), 0); /* the same */
}

static bool
has_size(struct mailq *mq, const char *name, uint64_t size)
{
	struct stat sb;

	return fstatat(mq->dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(sb.st_mode) && sb.st_size >= 0 &&
	    (uint64_t)sb.st_size == size;
}

enum mailq_rc
mailq_body_place(struct mailq *mq, uint64_t qid, uint64_t size)
{
	char from[MAILQ_BODY_NAME], to[MAILQ_BODY_NAME];

	tmp_name(from, qid);
	if (!has_size(mq, from, size)) {
		mailq_body_discard(mq, qid);
		return mailq_fail(mq, MAILQ_INVALID,
		    "%s/%s: the body was announced with %llu bytes", mq->dir,
		    from, (unsigned long long)size);
	}
	if (renameat(mq->dirfd, from, mq->dirfd, msg_name(to, qid)) == -1)
		return mailq_errno(mq, "rename");
	mailq_ids_add(&mq->placed, qid);
	return MAILQ_OK;
}

enum mailq_rc
mailq_body_sync(struct mailq *mq)
{
	return fsync(mq->dirfd) == 0 ? MAILQ_OK : mailq_errno(mq, "fsync");
}

enum mailq_rc
mailq_body_open(struct mailq *mq, uint64_t qid, uint64_t size, int *out)
{
	char name[MAILQ_BODY_NAME];
	int fd;

	fd = openat(
	    mq->dirfd, msg_name(name, qid), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 && errno == ENOENT)
		return mailq_fail(
		    mq, MAILQ_INVALID, "body file %s is missing", name);
	if (fd == -1)
		return mailq_errno(mq, "cannot open a body");
	if (!has_size(mq, name, size)) {
		close(fd);
		return mailq_fail(mq, MAILQ_INVALID,
		    "body file %s has not the size it had", name);
	}
	*out = fd;
	return MAILQ_OK;
}

static enum mailq_rc
read_file(struct mailq *mq, const struct mailq_msg *msg, void *buf, size_t max,
    size_t *len)
{
	size_t have = 0;
	ssize_t n = 1;
	enum mailq_rc rc;
	int fd;

	if ((rc = mailq_body_open(mq, msg->qid, msg->size, &fd)) != MAILQ_OK)
		return rc;
	while (have < max && n > 0) {
		n = read(fd, (char *)buf + have, max - have);
		if (n == -1 && errno == EINTR)
			n = 1;
		else if (n > 0)
			have += (size_t)n;
	}
	if (n == -1)
		rc = mailq_errno(mq, "cannot read a body");
	close(fd);
	*len = have;
	return rc;
}

static enum mailq_rc
read_inline(struct mailq *mq, uint64_t qid, void *buf, size_t max, size_t *len)
{
	sqlite3_stmt *stmt;
	enum mailq_rc rc;
	const void *p;
	size_t n;

	rc = mailq_query(mq, &stmt, "SELECT data FROM body WHERE qid = ?", "i",
	    (int64_t)qid);
	if (rc == MAILQ_OK && (rc = mailq_step(mq, stmt)) == MAILQ_OK) {
		p = sqlite3_column_blob(stmt, 0);
		n = (size_t)sqlite3_column_bytes(stmt, 0);
		n = n < max ? n : max;
		if (n > 0)
			memcpy(buf, p, n);
		*len = n;
	}
	mailq_done(stmt);
	return rc;
}

enum mailq_rc
mailq_body_read(struct mailq *mq, const struct mailq_msg *msg, void *buf,
    size_t max, size_t *len)
{
	return msg->in_file ? read_file(mq, msg, buf, max, len)
			    : read_inline(mq, msg->qid, buf, max, len);
}

/* After a restart. */

static enum mailq_rc
is_named(struct mailq *mq, uint64_t qid, bool *named)
{
	int64_t one;
	enum mailq_rc rc = mailq_int(mq, &one,
	    "SELECT 1 FROM message WHERE qid = ? AND in_file = 1", "i",
	    (int64_t)qid);

	*named = rc == MAILQ_OK;
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

static enum mailq_rc
clear_files(struct mailq *mq, DIR *d, unsigned *removed)
{
	enum mailq_rc rc = MAILQ_OK;
	struct dirent *e;
	uint64_t qid;
	bool named;

	while (rc == MAILQ_OK && (e = readdir(d)) != NULL) {
		qid = qid_of_name(e->d_name);
		if (qid == 0 && strncmp(e->d_name, "tmp.", 4) != 0)
			continue;
		named = false;
		if (qid != 0)
			rc = is_named(mq, qid, &named);
		if (rc != MAILQ_OK || named)
			continue;
		if (unlinkat(mq->dirfd, e->d_name, 0) == -1)
			rc = mailq_errno(mq, e->d_name);
		else
			++*removed;
	}
	return rc;
}

static enum mailq_rc
hold_lost(struct mailq *mq, const struct mailq_ids *lost, const char *what)
{
	enum mailq_rc rc = MAILQ_OK;
	unsigned n;

	if (lost->n == 0)
		return rc;
	if ((rc = mailq_begin(mq)) != MAILQ_OK)
		return rc;
	for (size_t i = 0; i < lost->n && rc == MAILQ_OK; i++)
		rc = mailq_hold(mq, lost->v[i], what, &n);
	if (rc == MAILQ_OK)
		return mailq_commit(mq);
	mailq_rollback(mq);
	return rc;
}

static enum mailq_rc
find_lost(struct mailq *mq, struct mailq_ids *lost)
{
	char name[MAILQ_BODY_NAME];
	sqlite3_stmt *stmt;
	enum mailq_rc rc;
	uint64_t qid;

	rc = mailq_query(
	    mq, &stmt, "SELECT qid, size FROM message WHERE in_file = 1", "");
	while (rc == MAILQ_OK && (rc = mailq_step(mq, stmt)) == MAILQ_OK) {
		qid = (uint64_t)sqlite3_column_int64(stmt, 0);
		if (!has_size(mq, msg_name(name, qid),
			(uint64_t)sqlite3_column_int64(stmt, 1)))
			mailq_ids_add(lost, qid);
	}
	mailq_done(stmt);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

enum mailq_rc
mailq_tidy(struct mailq *mq, unsigned *removed,
    void (*report)(void *arg, uint64_t qid, const char *what), void *arg)
{
	static const char what[] = "the file of the body is missing or damaged";
	struct mailq_ids lost = { 0 };
	enum mailq_rc rc;
	DIR *d;
	int fd;

	*removed = 0;
	fd = openat(mq->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || (d = fdopendir(fd)) == NULL) {
		rc = mailq_errno(mq, "cannot list the spool");
		if (fd != -1)
			close(fd);
		return rc;
	}
	rc = clear_files(mq, d, removed);
	closedir(d);
	if (rc == MAILQ_OK)
		rc = find_lost(mq, &lost);
	if (rc == MAILQ_OK)
		rc = hold_lost(mq, &lost, what);
	for (size_t i = 0; i < lost.n && rc == MAILQ_OK; i++)
		report(arg, lost.v[i], what);
	free(lost.v);
	return rc;
}
