/*
 * The handle of the spool: lock, opening, statements, transactions, errors.
 *
 * The database is opened in exclusive locking mode: there is one owner, and
 * the index of the log then lives in its memory, not in a shared file.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "mailq_private.h"

/* MAILQ_LOG_ROOM has more. The log keeps room for a large commit behind the mark
 * from which on it is copied to the database. */
enum {
	CHECKPOINT_BYTES = 4 * 1024 * 1024,
	LOG_BYTES = 8 * 1024 * 1024
};

void
mailq_ids_add(struct mailq_ids *ids, uint64_t qid)
{
	if (ids->n == ids->size) {
		ids->size = ids->size > 0 ? ids->size * 2 : 16;
		ids->v = realloc(ids->v, ids->size * sizeof(*ids->v));
		mailq_no_memory(ids->v);
	}
	ids->v[ids->n++] = qid;
}

/* Errors. */

enum mailq_rc
mailq_fail(struct mailq *mq, enum mailq_rc rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(mq->err, sizeof(mq->err), fmt, ap);
	va_end(ap);
	return rc;
}

enum mailq_rc
mailq_errno(struct mailq *mq, const char *what)
{
	int e = errno;
	enum mailq_rc rc = MAILQ_IO;

	if (e == ENOSPC || e == EDQUOT)
		rc = MAILQ_FULL;
	else if (e == EACCES || e == EPERM || e == EROFS)
		rc = MAILQ_DENIED;
	return mailq_fail(mq, rc, "%s: %s: %s", mq->dir, what, strerror(e));
}

enum mailq_rc
mailq_sql_error(struct mailq *mq)
{
	static const struct {
		int code;
		enum mailq_rc rc;
	} map[] = {
		{ SQLITE_FULL, MAILQ_FULL },
		{ SQLITE_CONSTRAINT, MAILQ_INVALID },
		{ SQLITE_MISMATCH, MAILQ_INVALID },
		{ SQLITE_TOOBIG, MAILQ_INVALID },
		{ SQLITE_CORRUPT, MAILQ_DAMAGED },
		{ SQLITE_NOTADB, MAILQ_DAMAGED },
		{ SQLITE_PERM, MAILQ_DENIED },
		{ SQLITE_READONLY, MAILQ_DENIED },
		{ SQLITE_AUTH, MAILQ_DENIED },
	};
	int code = sqlite3_errcode(mq->db) & 0xff;
	int e = sqlite3_system_errno(mq->db);
	enum mailq_rc rc = MAILQ_IO;

	if (code == SQLITE_NOMEM)
		abort();
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (map[i].code == code)
			rc = map[i].rc;
	if (rc == MAILQ_IO && (e == ENOSPC || e == EDQUOT))
		rc = MAILQ_FULL;
	return mailq_fail(mq, rc, "%s/queue.db: %s%s%s", mq->dir,
	    sqlite3_errmsg(mq->db), rc == MAILQ_IO && e != 0 ? ": " : "",
	    rc == MAILQ_IO && e != 0 ? strerror(e) : "");
}

const char *
mailq_errtext(const struct mailq *mq)
{
	return mq->err;
}

const char *
mailq_state_name(enum mailq_state s)
{
	static const char *const names[MAILQ_STATES] = { "waiting", "deferred",
		"held", "delivered", "failed" };

	return (unsigned)s < MAILQ_STATES ? names[s] : "unknown";
}

/* Statements. */

static enum mailq_rc
cached(struct mailq *mq, sqlite3_stmt **stmt, const char *sql)
{
	for (size_t i = 0; i < mq->ncached; i++) {
		if (mq->cache[i].sql == sql) {
			*stmt = mq->cache[i].stmt;
			return MAILQ_OK;
		}
	}
	if (mq->ncached == MAILQ_STMTS_MAX)
		abort(); /* raise the number: our bug */
	if (sqlite3_prepare_v3(mq->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt,
		NULL) != SQLITE_OK)
		return mailq_sql_error(mq);
	mq->cache[mq->ncached++] =
	    (struct mailq_cached){ .sql = sql, .stmt = *stmt };
	return MAILQ_OK;
}

static int
bind_blob(sqlite3_stmt *stmt, int n, const void *p, size_t len)
{
	return len == 0 ? sqlite3_bind_zeroblob(stmt, n, 0)
			: sqlite3_bind_blob64(stmt, n, p, len, SQLITE_STATIC);
}

static enum mailq_rc
bind_all(struct mailq *mq, sqlite3_stmt *stmt, const char *fmt, va_list ap)
{
	int rc = SQLITE_OK;

	for (int n = 1; fmt[n - 1] != '\0' && rc == SQLITE_OK; n++) {
		const void *p;

		if (fmt[n - 1] == 'i') {
			rc = sqlite3_bind_int64(stmt, n, va_arg(ap, int64_t));
		} else if (fmt[n - 1] == 't') {
			p = va_arg(ap, const char *);
			rc = sqlite3_bind_text(stmt, n, p, -1, SQLITE_STATIC);
		} else {
			p = va_arg(ap, const void *);
			rc = bind_blob(stmt, n, p, va_arg(ap, size_t));
		}
	}
	return rc == SQLITE_OK ? MAILQ_OK : mailq_sql_error(mq);
}

static enum mailq_rc
query_v(struct mailq *mq, sqlite3_stmt **stmt, const char *sql, const char *fmt,
    va_list ap)
{
	enum mailq_rc rc;

	*stmt = NULL;
	if ((rc = cached(mq, stmt, sql)) != MAILQ_OK)
		return rc;
	if ((rc = bind_all(mq, *stmt, fmt, ap)) != MAILQ_OK) {
		mailq_done(*stmt);
		*stmt = NULL;
	}
	return rc;
}

enum mailq_rc
mailq_query(struct mailq *mq, sqlite3_stmt **stmt, const char *sql,
    const char *fmt, ...)
{
	enum mailq_rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = query_v(mq, stmt, sql, fmt, ap);
	va_end(ap);
	return rc;
}

enum mailq_rc
mailq_step(struct mailq *mq, sqlite3_stmt *stmt)
{
	switch (sqlite3_step(stmt)) {
	case SQLITE_ROW:
		return MAILQ_OK;
	case SQLITE_DONE:
		return MAILQ_NONE;
	default:
		return mailq_sql_error(mq);
	}
}

void
mailq_done(sqlite3_stmt *stmt)
{
	if (stmt == NULL)
		return;
	sqlite3_reset(stmt); /* the step itself reported errors */
	sqlite3_clear_bindings(stmt);
}

enum mailq_rc
mailq_run(
    struct mailq *mq, unsigned *changes, const char *sql, const char *fmt, ...)
{
	sqlite3_stmt *stmt;
	enum mailq_rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = query_v(mq, &stmt, sql, fmt, ap);
	va_end(ap);
	if (rc != MAILQ_OK)
		return rc;
	do
		rc = mailq_step(mq, stmt);
	while (rc == MAILQ_OK);
	mailq_done(stmt);
	if (rc != MAILQ_NONE)
		return rc;
	if (changes != NULL)
		*changes = (unsigned)sqlite3_changes(mq->db);
	return MAILQ_OK;
}

enum mailq_rc
mailq_int(
    struct mailq *mq, int64_t *value, const char *sql, const char *fmt, ...)
{
	sqlite3_stmt *stmt;
	enum mailq_rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = query_v(mq, &stmt, sql, fmt, ap);
	va_end(ap);
	if (rc != MAILQ_OK)
		return rc;
	rc = mailq_step(mq, stmt);
	if (rc == MAILQ_OK && sqlite3_column_type(stmt, 0) == SQLITE_NULL)
		rc = MAILQ_NONE;
	if (rc == MAILQ_OK)
		*value = sqlite3_column_int64(stmt, 0);
	mailq_done(stmt);
	return rc;
}

/* Opening and closing. */

static enum mailq_rc
open_dir(struct mailq *mq)
{
	struct stat sb;

	mq->dirfd =
	    open(mq->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (mq->dirfd == -1)
		return mailq_errno(mq, "cannot open the spool");
	if (fstat(mq->dirfd, &sb) == -1)
		return mailq_errno(mq, "stat");
	if (sb.st_uid != geteuid() || (sb.st_mode & 077) != 0)
		return mailq_fail(mq, MAILQ_DENIED,
		    "%s: must belong to uid %u and have mode 0700", mq->dir,
		    (unsigned)geteuid());
	return MAILQ_OK;
}

static enum mailq_rc
take_lock(struct mailq *mq)
{
	if (mq->lockfd == -1)
		mq->lockfd = openat(mq->dirfd, "lock",
		    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (mq->lockfd == -1)
		return mailq_errno(mq, "lock");
	if (flock(mq->lockfd, LOCK_EX | LOCK_NB) == 0)
		return MAILQ_OK;
	if (errno == EWOULDBLOCK)
		return mailq_fail(mq, MAILQ_BUSY,
		    "%s: another process owns the spool", mq->dir);
	return mailq_errno(mq, "lock");
}

/* Small pages: most of what a small message costs is to write those that it
 * changes; large ones are no slower by it. */
static enum mailq_rc
set_pragmas(struct mailq *mq)
{
	char limit[64];
	int64_t page = 0;
	enum mailq_rc rc;
	static const char sql[] = "PRAGMA locking_mode = EXCLUSIVE;"
				  "PRAGMA page_size = 4096;"
				  "PRAGMA journal_mode = WAL;"
				  "PRAGMA synchronous = FULL;"
				  "PRAGMA cache_size = -4096;"
				  "PRAGMA secure_delete = FAST;"
				  "PRAGMA foreign_keys = ON;"
				  "PRAGMA trusted_schema = OFF;"
				  "PRAGMA cell_size_check = ON;"
				  "PRAGMA temp_store = MEMORY;";

	sqlite3_extended_result_codes(mq->db, 1);
	sqlite3_db_config(mq->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_limit(mq->db, SQLITE_LIMIT_ATTACHED, 0);
	if (sqlite3_exec(mq->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return mailq_sql_error(mq);
	/* a queue.db keeps the size of pages it was made with */
	if ((rc = mailq_int(mq, &page, "PRAGMA page_size", "")) != MAILQ_OK)
		return rc;
	sqlite3_wal_autocheckpoint(mq->db, (int)(CHECKPOINT_BYTES / page));
	snprintf(limit, sizeof(limit), "PRAGMA journal_size_limit = %d",
	    LOG_BYTES);
	if (sqlite3_exec(mq->db, limit, NULL, NULL, NULL) != SQLITE_OK)
		return mailq_sql_error(mq);
	return MAILQ_OK;
}

/* Made here and not by SQLite, so that nobody else may ever read it. */
static enum mailq_rc
make_file(struct mailq *mq)
{
	int fd = openat(mq->dirfd, "queue.db",
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd == -1)
		return mailq_errno(mq, "queue.db");
	if (close(fd) == -1)
		return mailq_errno(mq, "queue.db");
	return mailq_body_sync(mq);
}

static enum mailq_rc
open_db(struct mailq *mq)
{
	char *path = sqlite3_mprintf("%s/queue.db", mq->dir);
	enum mailq_rc rc;

	engine_init();
	mailq_no_memory(path);
	if ((rc = make_file(mq)) == MAILQ_OK) {
		if (sqlite3_open_v2(path, &mq->db,
			SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			mailq_log_vfs()) != SQLITE_OK) {
			mailq_no_memory(mq->db);
			rc = mailq_sql_error(mq);
		}
	}
	sqlite3_free(path);
	if (rc == MAILQ_OK)
		rc = set_pragmas(mq);
	if (rc == MAILQ_OK)
		rc = mailq_schema(mq);
	if (rc == MAILQ_OK)
		rc = mailq_log_extend(mq, LOG_BYTES);
	return rc;
}

/* The order matters: the database is closed before its lock goes. */
static void
close_all(struct mailq *mq)
{
	mailq_rollback(mq);
	for (size_t i = 0; i < mq->ncached; i++)
		sqlite3_finalize(mq->cache[i].stmt);
	mq->ncached = 0;
	sqlite3_close(mq->db);
	mq->db = NULL;
	if (mq->lockfd != -1)
		close(mq->lockfd);
	if (mq->dirfd != -1)
		close(mq->dirfd);
	mq->lockfd = mq->dirfd = -1;
}

enum mailq_rc
mailq_reopen(struct mailq *mq)
{
	enum mailq_rc rc;

	if (mq->dirfd == -1 && (rc = open_dir(mq)) != MAILQ_OK)
		goto fail;
	if ((rc = take_lock(mq)) == MAILQ_BUSY)
		return rc;
	if (rc == MAILQ_OK && (rc = open_db(mq)) == MAILQ_OK)
		return rc;
fail:
	close_all(mq);
	return rc;
}

enum mailq_rc
mailq_open(const char *dir, struct mailq **out)
{
	struct mailq *mq = calloc(1, sizeof(*mq));

	mailq_no_memory(mq);
	mq->dir = strdup(dir);
	mailq_no_memory(mq->dir);
	mq->dirfd = mq->lockfd = -1;
	*out = mq;
	return mailq_reopen(mq);
}

void
mailq_close(struct mailq **mqp)
{
	struct mailq *mq = *mqp;

	*mqp = NULL;
	if (mq == NULL)
		return;
	close_all(mq);
	free(mq->placed.v);
	free(mq->doomed.v);
	free(mq->dir);
	free(mq);
}

/* Transactions. */

enum mailq_rc
mailq_begin(struct mailq *mq)
{
	enum mailq_rc rc;

	if (mq->in_tx)
		abort(); /* they do not nest: our bug */
	rc = mailq_run(mq, NULL, "BEGIN IMMEDIATE", "");
	mq->in_tx = rc == MAILQ_OK;
	return rc;
}

enum mailq_rc
mailq_commit(struct mailq *mq)
{
	enum mailq_rc rc = MAILQ_OK;

	/* Disk full and the like make SQLite end a transaction by itself. */
	if (!mq->in_tx || sqlite3_get_autocommit(mq->db))
		rc = mailq_fail(mq, MAILQ_IO,
		    "%s: an earlier failure has undone the transaction",
		    mq->dir);
	if (rc == MAILQ_OK && mq->placed.n > 0)
		rc = mailq_body_sync(mq);
	if (rc == MAILQ_OK) {
		rc = mailq_run(mq, NULL, "COMMIT", "");
		/* A failed sync leaves the commit in the log for a recovery to
		 * find: its files must then be there. mailq_tidy() takes what
		 * stays behind for nothing. */
		if (rc == MAILQ_IO)
			mq->placed.n = 0;
	}
	if (rc != MAILQ_OK) {
		mailq_rollback(mq);
		return rc;
	}
	mq->in_tx = false;
	mq->placed.n = 0;
	while (mq->doomed.n > 0)
		mailq_body_remove(mq, mq->doomed.v[--mq->doomed.n]);
	return MAILQ_OK;
}

void
mailq_rollback(struct mailq *mq)
{
	if (mq->db != NULL && !sqlite3_get_autocommit(mq->db))
		sqlite3_exec(mq->db, "ROLLBACK", NULL, NULL, NULL);
	mq->in_tx = false;
	mq->doomed.n = 0;
	while (mq->placed.n > 0)
		mailq_body_remove(mq, mq->placed.v[--mq->placed.n]);
}
