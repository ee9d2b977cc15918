/*
 * The handle of the user store: opening, statements, transactions, errors.
 *
 * The file is in journal mode DELETE, so that a reader needs no right to write
 * anything, neither in the file nor in its directory. The price: when a writer
 * is killed in mid-transaction its journal stays ("hot"), and readers fail
 * until somebody opens the store for writing, which rolls it back.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db_private.h"
#include "engine.h"
#include "schema.h"
#include "text.h"

#define BUSY_MS 2000

static void
no_memory(const void *p)
{
	if (p == NULL)
		abort();
}

enum store_rc
db_fail(struct store *st, enum store_rc rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(st->err, sizeof(st->err), fmt, ap);
	va_end(ap);
	return rc;
}

static enum store_rc
constraint_error(struct store *st, int code)
{
	if (code == SQLITE_CONSTRAINT_UNIQUE ||
	    code == SQLITE_CONSTRAINT_PRIMARYKEY)
		return db_fail(st, STORE_EXISTS, "exists already");
	return db_fail(
	    st, STORE_INVALID, "refused: %s", sqlite3_errmsg(st->db));
}

static enum store_rc
cantopen_error(struct store *st)
{
	int e = sqlite3_system_errno(st->db);

	if (e == ENOENT)
		return db_fail(st, STORE_NONE, "No such file or directory");
	if (e == EACCES || e == EPERM || e == EROFS)
		return db_fail(st, STORE_DENIED, "%s", strerror(e));
	return db_fail(
	    st, STORE_IO, "%s", e != 0 ? strerror(e) : sqlite3_errmsg(st->db));
}

enum store_rc
db_error(struct store *st)
{
	int code = sqlite3_extended_errcode(st->db);

	if (code == SQLITE_READONLY_ROLLBACK)
		return db_fail(st, STORE_READONLY_HOT,
		    "a writer died half-way; the store must be opened once "
		    "with write access to repair it");
	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
		return constraint_error(st, code);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return db_fail(
		    st, STORE_BUSY, "locked by another writer, try again");
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return db_fail(st, STORE_DAMAGED, "%s", sqlite3_errmsg(st->db));
	case SQLITE_CANTOPEN:
		return cantopen_error(st);
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return db_fail(st, STORE_DENIED,
		    "no permission to write the file or its directory");
	case SQLITE_NOMEM:
		abort();
	default:
		return db_fail(st, STORE_IO, "%s", sqlite3_errmsg(st->db));
	}
}

const char *
store_errtext(const struct store *st)
{
	return st->err;
}

const char *
store_rc_name(enum store_rc rc)
{
	/* clang-format off */
	static const struct db_word names[] = {
		{ STORE_OK, "ok" },
		{ STORE_NONE, "none" },
		{ STORE_EXISTS, "exists" },
		{ STORE_BUSY, "busy" },
		{ STORE_INVALID, "invalid" },
		{ STORE_READONLY_HOT, "hot-journal" },
		{ STORE_DAMAGED, "damaged" },
		{ STORE_OLDER, "older-schema" },
		{ STORE_NEWER, "newer-schema" },
		{ STORE_DENIED, "denied" },
		{ STORE_IO, "io-error" },
	};
	/* clang-format on */

	return db_word_text(names, sizeof(names) / sizeof(names[0]), rc);
}

/* Statements. */

static enum store_rc
usable(struct store *st)
{
	return st->db != NULL ? STORE_OK : st->open_rc;
}

static enum store_rc
prepare(struct store *st, sqlite3_stmt **stmt, const char *sql)
{
	if (sqlite3_prepare_v2(st->db, sql, -1, stmt, NULL) != SQLITE_OK)
		return db_error(st);
	return STORE_OK;
}

/*
 * A statement that is running already (a list whose callback asks for the same
 * list) is prepared a second time; db_done() sees the difference.
 */
static enum store_rc
cached(struct store *st, sqlite3_stmt **stmt, const char *sql)
{
	enum store_rc rc;

	for (size_t i = 0; i < st->ncached; i++) {
		if (st->cache[i].sql != sql)
			continue;
		if (sqlite3_stmt_busy(st->cache[i].stmt))
			break;
		*stmt = st->cache[i].stmt;
		return STORE_OK;
	}
	if ((rc = prepare(st, stmt, sql)) != STORE_OK)
		return rc;
	for (size_t i = 0; i < st->ncached; i++)
		if (st->cache[i].sql == sql)
			return STORE_OK;
	if (st->ncached < DB_STMTS_MAX)
		st->cache[st->ncached++] =
		    (struct db_cached){ .sql = sql, .stmt = *stmt };
	return STORE_OK;
}

static enum store_rc
bind_all(struct store *st, sqlite3_stmt *stmt, const char *fmt, va_list ap)
{
	int rc = SQLITE_OK;

	for (int n = 1; fmt[n - 1] != '\0' && rc == SQLITE_OK; n++) {
		const char *text;
		int64_t value;

		switch (fmt[n - 1]) {
		case 't':
			text = va_arg(ap, const char *);
			rc =
			    sqlite3_bind_text(stmt, n, text, -1, SQLITE_STATIC);
			break;
		case 'z':
			value = va_arg(ap, int64_t);
			rc = value == 0 ? sqlite3_bind_null(stmt, n)
					: sqlite3_bind_int64(stmt, n, value);
			break;
		default:
			rc = sqlite3_bind_int64(stmt, n, va_arg(ap, int64_t));
			break;
		}
	}
	return rc == SQLITE_OK ? STORE_OK : db_error(st);
}

static enum store_rc
query_v(struct store *st, sqlite3_stmt **stmt, const char *sql, const char *fmt,
    va_list ap)
{
	enum store_rc rc;

	*stmt = NULL;
	if ((rc = usable(st)) != STORE_OK ||
	    (rc = cached(st, stmt, sql)) != STORE_OK)
		return rc;
	if ((rc = bind_all(st, *stmt, fmt, ap)) != STORE_OK) {
		db_done(st, *stmt);
		*stmt = NULL;
	}
	return rc;
}

enum store_rc
db_query(struct store *st, sqlite3_stmt **stmt, const char *sql,
    const char *fmt, ...)
{
	enum store_rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = query_v(st, stmt, sql, fmt, ap);
	va_end(ap);
	return rc;
}

enum store_rc
db_step(struct store *st, sqlite3_stmt *stmt)
{
	switch (sqlite3_step(stmt)) {
	case SQLITE_ROW:
		return STORE_OK;
	case SQLITE_DONE:
		return STORE_NONE;
	default:
		return db_error(st);
	}
}

void
db_done(struct store *st, sqlite3_stmt *stmt)
{
	if (stmt == NULL)
		return;
	for (size_t i = 0; i < st->ncached; i++) {
		if (st->cache[i].stmt == stmt) {
			/* Errors were reported by the step itself. */
			sqlite3_reset(stmt);
			sqlite3_clear_bindings(stmt);
			return;
		}
	}
	sqlite3_finalize(stmt);
}

static enum store_rc
run_v(struct store *st, const char *sql, const char *fmt, va_list ap)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	if ((rc = query_v(st, &stmt, sql, fmt, ap)) != STORE_OK)
		return rc;
	do {
		rc = db_step(st, stmt);
	} while (rc == STORE_OK);
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

enum store_rc
db_run(struct store *st, const char *sql, const char *fmt, ...)
{
	enum store_rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = run_v(st, sql, fmt, ap);
	va_end(ap);
	return rc;
}

enum store_rc
db_change(struct store *st, const char *sql, const char *fmt, ...)
{
	enum store_rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = run_v(st, sql, fmt, ap);
	va_end(ap);
	if (rc == STORE_OK && sqlite3_changes64(st->db) == 0)
		return STORE_NONE;
	return rc;
}

enum store_rc
db_exec(struct store *st, const char *sql)
{
	enum store_rc rc;

	if ((rc = usable(st)) != STORE_OK)
		return rc;
	if (sqlite3_exec(st->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_error(st);
	return STORE_OK;
}

enum store_rc
db_int(struct store *st, int64_t *value, const char *sql, const char *fmt, ...)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = query_v(st, &stmt, sql, fmt, ap);
	va_end(ap);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK)
		*value = sqlite3_column_int64(stmt, 0);
	db_done(st, stmt);
	return rc;
}

void
db_text(sqlite3_stmt *stmt, int col, char *buf, size_t len)
{
	const unsigned char *text = sqlite3_column_text(stmt, col);

	snprintf(buf, len, "%s", text != NULL ? (const char *)text : "");
}

/* Opening and closing. */

static void
drop_db(struct store *st)
{
	for (size_t i = 0; i < st->ncached; i++)
		sqlite3_finalize(st->cache[i].stmt);
	st->ncached = 0;
	sqlite3_close(st->db);
	st->db = NULL;
	st->in_tx = st->held = false;
}

static enum store_rc
create_file(struct store *st)
{
	int fd;

	fd = open(st->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1) {
		enum store_rc rc = errno == EEXIST ? STORE_EXISTS
		    : errno == EACCES || errno == EPERM || errno == EROFS
		    ? STORE_DENIED
		    : errno == ENOENT ? STORE_NONE
				      : STORE_IO;
		return db_fail(st, rc, "%s", strerror(errno));
	}
	close(fd);
	return STORE_OK;
}

static enum store_rc
set_pragmas(struct store *st)
{
	/* Deleted secrets are overwritten; EXTRA also syncs the directory
	 * when the journal goes, which is what makes the commit durable. */
	static const char writing[] = "PRAGMA journal_mode = DELETE;"
				      "PRAGMA synchronous = EXTRA;"
				      "PRAGMA secure_delete = ON;";
	static const char always[] = "PRAGMA foreign_keys = ON;"
				     "PRAGMA trusted_schema = OFF;"
				     "PRAGMA cell_size_check = ON;"
				     "PRAGMA temp_store = MEMORY;";
	enum store_rc rc;

	sqlite3_extended_result_codes(st->db, 1);
	sqlite3_busy_timeout(st->db, BUSY_MS);
	sqlite3_db_config(st->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(
	    st->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
	sqlite3_limit(st->db, SQLITE_LIMIT_ATTACHED, 0);
	if ((rc = db_exec(st, always)) != STORE_OK)
		return rc;
	if (st->mode == STORE_RO)
		return STORE_OK;
	/* SQLite falls back to reading where it must not write. */
	if (sqlite3_db_readonly(st->db, "main") == 1)
		return db_fail(st, STORE_DENIED, "no permission to write it");
	return db_exec(st, writing);
}

/* Notes which file is open; false if it was replaced meanwhile. */
static bool
same_file(struct store *st, const struct stat *before)
{
	struct stat now;

	if (stat(st->path, &now) == -1)
		return false;
	st->dev = now.st_dev;
	st->ino = now.st_ino;
	return before->st_dev == now.st_dev && before->st_ino == now.st_ino;
}

static enum store_rc
stat_error(struct store *st, int e)
{
	return db_fail(st,
	    e == ENOENT       ? STORE_NONE
		: e == EACCES ? STORE_DENIED
			      : STORE_IO,
	    "%s", strerror(e));
}

static enum store_rc
open_db(struct store *st)
{
	int flags = SQLITE_OPEN_NOMUTEX;
	struct stat before;
	enum store_rc rc;

	engine_init();
	flags |=
	    st->mode == STORE_RO ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
	do {
		drop_db(st);
		if (stat(st->path, &before) == -1)
			return stat_error(st, errno);
		if (!S_ISREG(before.st_mode))
			return db_fail(st, STORE_DAMAGED, "not a regular file");
		rc = STORE_OK;
		if (sqlite3_open_v2(st->path, &st->db, flags, NULL) !=
		    SQLITE_OK) {
			no_memory(st->db);
			rc = db_error(st);
		}
	} while (rc == STORE_OK && !same_file(st, &before));
	if (rc == STORE_OK)
		rc = set_pragmas(st);
	if (rc == STORE_OK)
		rc = schema_prepare(st);
	if (rc != STORE_OK)
		drop_db(st);
	return rc;
}

enum store_rc
store_open(const char *path, enum store_mode mode, struct store **out)
{
	struct store *st;

	st = calloc(1, sizeof(*st));
	no_memory(st);
	st->path = strdup(path);
	no_memory(st->path);
	st->mode = mode;
	*out = st;
	if (mode == STORE_CREATE) {
		if ((st->open_rc = create_file(st)) != STORE_OK)
			return st->open_rc;
		st->open_rc = open_db(st);
		if (st->open_rc != STORE_OK)
			unlink(path); /* ours: O_EXCL made it */
		return st->open_rc;
	}
	return st->open_rc = open_db(st);
}

void
store_close(struct store **stp)
{
	struct store *st = *stp;

	if (st == NULL)
		return;
	store_rollback(st);
	drop_db(st);
	free(st->path);
	free(st);
	*stp = NULL;
}

void
store_set_actor(struct store *st, const char *actor)
{
	snprintf(st->actor, sizeof(st->actor), "%s",
	    text_is_clean(actor) ? actor : "");
}

/* Change detection. */

static enum store_rc
reopen_if_replaced(struct store *st)
{
	struct stat sb;

	if (st->in_tx || st->held)
		return STORE_OK;
	if (stat(st->path, &sb) == -1)
		return stat_error(st, errno);
	if (st->db != NULL && sb.st_dev == st->dev && sb.st_ino == st->ino)
		return STORE_OK;
	st->version++;
	return st->open_rc = open_db(st);
}

static enum store_rc
read_version(struct store *st, uint64_t *version)
{
	int64_t data_version = 0, own;
	enum store_rc rc;

	rc = db_int(st, &data_version, "PRAGMA data_version", "");
	if (rc != STORE_OK)
		return rc;
	/* data_version leaves out the handle's own commits. */
	own = sqlite3_total_changes64(st->db);
	if (data_version != st->data_version || own != st->own_changes)
		st->version++;
	st->data_version = data_version;
	st->own_changes = own;
	*version = st->version;
	return STORE_OK;
}

enum store_rc
store_version(struct store *st, uint64_t *version)
{
	enum store_rc rc;

	if ((rc = reopen_if_replaced(st)) != STORE_OK)
		return rc;
	return read_version(st, version);
}

/* The first read after BEGIN takes the lock and finds out the version. */
enum store_rc
store_hold(struct store *st, uint64_t *version)
{
	enum store_rc rc;

	if (st->held) {
		*version = st->version;
		return STORE_OK;
	}
	if ((rc = reopen_if_replaced(st)) != STORE_OK ||
	    (rc = db_run(st, "BEGIN", "")) != STORE_OK)
		return rc;
	st->held = true;
	if ((rc = read_version(st, version)) != STORE_OK)
		store_release(st);
	return rc;
}

void
store_release(struct store *st)
{
	if (st == NULL || !st->held)
		return;
	db_run(st, "ROLLBACK", "");
	st->held = false;
}

/* Transactions. */

static enum store_rc
writable(struct store *st)
{
	enum store_rc rc;

	if ((rc = usable(st)) != STORE_OK)
		return rc;
	if (st->mode == STORE_RO)
		return db_fail(
		    st, STORE_INVALID, "the store was opened for reading only");
	return STORE_OK;
}

/* Disk full and the like make SQLite end the transaction by itself. */
static enum store_rc
tx_alive(struct store *st)
{
	if (!st->in_tx || !sqlite3_get_autocommit(st->db))
		return STORE_OK;
	return db_fail(
	    st, STORE_IO, "an earlier failure has undone the transaction");
}

enum store_rc
store_begin(struct store *st)
{
	enum store_rc rc;

	if ((rc = writable(st)) != STORE_OK)
		return rc;
	if (st->in_tx)
		return db_fail(
		    st, STORE_INVALID, "a transaction is open already");
	rc = db_run(st, "BEGIN IMMEDIATE", "");
	st->in_tx = rc == STORE_OK;
	return rc;
}

enum store_rc
store_commit(struct store *st)
{
	enum store_rc rc;

	if (!st->in_tx)
		return db_fail(st, STORE_INVALID, "no transaction is open");
	if ((rc = tx_alive(st)) == STORE_OK)
		rc = db_run(st, "COMMIT", "");
	if (rc != STORE_OK)
		store_rollback(st);
	st->in_tx = false;
	return rc;
}

/* Leaves the error text alone: it tells why. */
static void
quiet_exec(struct store *st, const char *sql)
{
	sqlite3_exec(st->db, sql, NULL, NULL, NULL);
}

void
store_rollback(struct store *st)
{
	if (st->db != NULL && !sqlite3_get_autocommit(st->db))
		quiet_exec(st, "ROLLBACK");
	st->in_tx = false;
}

enum store_rc
db_write(struct store *st)
{
	enum store_rc rc;

	if ((rc = writable(st)) != STORE_OK || (rc = tx_alive(st)) != STORE_OK)
		return rc;
	return st->in_tx ? db_run(st, "SAVEPOINT w", "")
			 : db_run(st, "BEGIN IMMEDIATE", "");
}

static enum store_rc
audit(
    struct store *st, const char *what, const char *object, const char *detail)
{
	return db_run(st,
	    "INSERT INTO admin_audit (at, uid, actor, what, object, detail)"
	    " VALUES (unixepoch(), ?, ?, ?, ?, ?)",
	    "itttt", (int64_t)getuid(), st->actor, what, object,
	    detail != NULL ? detail : "");
}

enum store_rc
db_written(struct store *st, enum store_rc rc, const char *what,
    const char *object, const char *detail)
{
	if (rc == STORE_OK)
		rc = audit(st, what, object, detail);
	if (rc == STORE_OK)
		rc = st->in_tx ? db_run(st, "RELEASE w", "")
			       : db_run(st, "COMMIT", "");
	if (rc == STORE_OK)
		return rc;
	if (st->in_tx)
		quiet_exec(st, "ROLLBACK TO w; RELEASE w");
	else
		store_rollback(st);
	return rc;
}

enum store_rc
db_unwritten(struct store *st)
{
	return st->in_tx ? db_run(st, "RELEASE w", "")
			 : db_run(st, "ROLLBACK", "");
}

/* Settings. */

enum store_rc
store_setting_get(struct store *st, const char *name, char *value, size_t len)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(
	    st, &stmt, "SELECT value FROM setting WHERE name = ?", "t", name);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		if ((size_t)sqlite3_column_bytes(stmt, 0) >= len)
			rc = db_fail(st, STORE_INVALID,
			    "setting %s is longer than expected", name);
		else
			db_text(stmt, 0, value, len);
	} else if (rc == STORE_NONE)
		db_fail(st, rc, "no setting %s", name);
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_setting_set(struct store *st, const char *name, const char *value)
{
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_run(st,
	    "INSERT INTO setting (name, value) VALUES (?, ?)"
	    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
	    "tt", name, value);
	return db_written(st, rc, "setting set", name, value);
}

/* Texts. */

char
db_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

void
db_fold(char *text)
{
	for (; *text != '\0'; text++)
		*text = db_lower(*text);
}

const char *
db_word_text(const struct db_word *words, size_t n, int value)
{
	for (size_t i = 0; i < n; i++)
		if (words[i].value == value)
			return words[i].word;
	return "unknown";
}

int
db_word_parse(
    const struct db_word *words, size_t n, const char *word, int *value)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i].word, word) == 0) {
			*value = words[i].value;
			return 0;
		}
	}
	return -1;
}
