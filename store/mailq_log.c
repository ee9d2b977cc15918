/*
 * The log of queue.db.
 *
 * It gets its full size once, at the start. A commit that makes the file longer
 * has to sync its new length too, which takes a file system twice as long as
 * the commit alone; one that writes over what was there has not. And what the
 * log has, a full disk can't take from the results of deliveries. SQLite finds
 * the end of its log by the checksum of each part: zeros behind it mean
 * nothing.
 *
 * SQLite writes a page in two pieces. Here what follows upon each other is
 * gathered, and written when the log is synced, read, or asked for its length:
 * what was not synced promises nothing.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mailq_private.h"

enum { GATHER_MAX = 64 * 1024 };

/* ---- its size ---- */

/* Blocks that were only reserved would cost as much as a longer file. */
static bool
fill(int fd, off_t from, off_t to)
{
	static const char zeros[65536];

	while (from < to) {
		size_t want = sizeof(zeros);
		ssize_t n;

		if (to - from < (off_t)want)
			want = (size_t)(to - from);
		n = pwrite(fd, zeros, want, from);
		if (n > 0)
			from += n;
		else if (n == 0 || errno != EINTR)
			return false;
	}
	return fdatasync(fd) == 0;
}

enum mailq_rc
mailq_log_extend(struct mailq *mq, off_t size)
{
	bool ok = true;
	struct stat sb;
	int fd = openat(
	    mq->dirfd, "queue.db-wal", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1)
		return mailq_errno(mq, "queue.db-wal");
	/* without room for all of it, it is as it was */
	if (fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode) && sb.st_size < size &&
	    mailq_has_plenty(mq, (uint64_t)size) && !fill(fd, sb.st_size, size))
		ok = ftruncate(fd, sb.st_size) == 0;
	close(fd);
	return ok ? MAILQ_OK : mailq_errno(mq, "queue.db-wal");
}

/* ---- how it is written ---- */

/* SQLite's own file lies behind it. */
struct log_file {
	sqlite3_file file;
	sqlite3_int64 at; /* of what was gathered */
	int len;
	unsigned char *data;
};

static sqlite3_file *
real_of(sqlite3_file *f)
{
	return (sqlite3_file *)((struct log_file *)f + 1);
}

static int
flush(sqlite3_file *f)
{
	struct log_file *l = (struct log_file *)f;
	sqlite3_file *real = real_of(f);
	int len = l->len;

	l->len = 0; /* after a failure the transaction is over */
	return len == 0
	    ? SQLITE_OK
	    : real->pMethods->xWrite(real, l->data, len, l->at);
}

static int
log_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	struct log_file *l = (struct log_file *)f;
	int rc;

	if ((at != l->at + l->len || l->len + n > GATHER_MAX) &&
	    (rc = flush(f)) != SQLITE_OK)
		return rc;
	if (n > GATHER_MAX)
		return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
	if (l->len == 0)
		l->at = at;
	memcpy(l->data + l->len, p, (size_t)n);
	l->len += n;
	return SQLITE_OK;
}

static int
log_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	int rc = flush(f);

	return rc != SQLITE_OK
	    ? rc
	    : real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int
log_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = flush(f);

	return rc != SQLITE_OK
	    ? rc
	    : real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int
log_sync(sqlite3_file *f, int flags)
{
	int rc = flush(f);

	return rc != SQLITE_OK ? rc
			       : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int
log_size(sqlite3_file *f, sqlite3_int64 *size)
{
	int rc = flush(f);

	return rc != SQLITE_OK
	    ? rc
	    : real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int
log_close(sqlite3_file *f)
{
	struct log_file *l = (struct log_file *)f;
	int rc = flush(f), closed;

	closed = real_of(f)->pMethods->xClose(real_of(f));
	sqlite3_free(l->data);
	return rc != SQLITE_OK ? rc : closed;
}

static int
log_lock(sqlite3_file *f, int how)
{
	return real_of(f)->pMethods->xLock(real_of(f), how);
}

static int
log_unlock(sqlite3_file *f, int how)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), how);
}

static int
log_reserved(sqlite3_file *f, int *is)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), is);
}

static int
log_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int
log_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int
log_device(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = log_close,
	.xRead = log_read,
	.xWrite = log_write,
	.xTruncate = log_truncate,
	.xSync = log_sync,
	.xFileSize = log_size,
	.xLock = log_lock,
	.xUnlock = log_unlock,
	.xCheckReservedLock = log_reserved,
	.xFileControl = log_control,
	.xSectorSize = log_sector,
	.xDeviceCharacteristics = log_device,
};

static sqlite3_vfs *real_vfs, vfs;

static int
log_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct log_file *l = (struct log_file *)f;
	int rc;

	(void)v;
	if ((flags & SQLITE_OPEN_WAL) == 0)
		return real_vfs->xOpen(real_vfs, name, f, flags, out);
	*l = (struct log_file){ .data = sqlite3_malloc(GATHER_MAX) };
	if (l->data == NULL)
		return SQLITE_NOMEM;
	rc = real_vfs->xOpen(real_vfs, name, real_of(f), flags, out);
	if (rc == SQLITE_OK)
		l->file.pMethods = &methods;
	else
		sqlite3_free(l->data);
	return rc;
}

const char *
mailq_log_vfs(void)
{
	if (real_vfs == NULL && (real_vfs = sqlite3_vfs_find(NULL)) != NULL) {
		vfs = *real_vfs;
		vfs.zName = "submitd-queue";
		vfs.szOsFile += (int)sizeof(struct log_file);
		vfs.xOpen = log_open;
		sqlite3_vfs_register(&vfs, 0);
	}
	return vfs.zName;
}
