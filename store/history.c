/*
 * history.db (history.h). WAL with synchronous=OFF: a commit is in the
 * kernel's hands when it returns, which outlives the process, and no more.
 */
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decision_private.h"
#include "engine.h"

/* PRAGMA application_id: tells it from any other SQLite file. */
#define APPLICATION_ID 0x73626868 /* "sbhh" */
#define SCHEMA_VERSION 1

/* clang-format off */
static const char schema[] =
"CREATE TABLE counter ("
"  kind INTEGER NOT NULL,"
"  user TEXT NOT NULL,"
"  address TEXT NOT NULL,"
"  last_ms INTEGER NOT NULL,"
"  until_ms INTEGER NOT NULL,"
"  marks BLOB NOT NULL,"
"  PRIMARY KEY (kind, user, address)"
") STRICT, WITHOUT ROWID;"
"CREATE TABLE last_use ("
"  user TEXT NOT NULL,"
"  device INTEGER NOT NULL CHECK (device >= 0),"
"  at_ms INTEGER NOT NULL,"
"  address TEXT NOT NULL,"
"  client TEXT NOT NULL,"
"  PRIMARY KEY (user, device)"
") STRICT, WITHOUT ROWID;"
DECISION_TABLE;

static const char *const texts[] = {
	"INSERT INTO counter VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
	" ON CONFLICT DO UPDATE SET last_ms = ?4, until_ms = ?5, marks = ?6",
	"DELETE FROM counter WHERE kind = ?1 AND user = ?2 AND address = ?3",
	"INSERT INTO last_use VALUES (?1, ?2, ?3, ?4, ?5)"
	" ON CONFLICT DO UPDATE SET at_ms = ?3, address = ?4, client = ?5",
	DECISION_ADD,
	DECISION_PRUNE,
	DECISION_LAST,
	DECISION_SCAN,
};
/* clang-format on */
enum {
	COUNTER_PUT,
	COUNTER_DEL,
	USE_PUT,
	ADD,
	PRUNE,
	LAST,
	SCAN,
	STMTS
};

struct history {
	char *path;
	sqlite3 *db;
	sqlite3_stmt *stmt[STMTS];
	char err[512];
};

static void
no_memory(const void *p)
{
	if (p == NULL)
		abort();
}

__attribute__((format(printf, 2, 3))) static int
failed(struct history *h, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(h->err, sizeof(h->err), fmt, ap);
	va_end(ap);
	return -1;
}

static int
sql_failed(struct history *h)
{
	if (sqlite3_errcode(h->db) == SQLITE_NOMEM)
		abort();
	return failed(h, "%s: %s", h->path, sqlite3_errmsg(h->db));
}

static int
exec(struct history *h, const char *sql)
{
	return sqlite3_exec(h->db, sql, NULL, NULL, NULL) == SQLITE_OK
	    ? 0
	    : sql_failed(h);
}

/* ---- opening ---- */

static int64_t
pragma(struct history *h, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	int64_t v = -1;

	if (sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL) == SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW)
		v = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return v;
}

static int
make_schema(struct history *h)
{
	char tail[128];

	snprintf(tail, sizeof(tail),
	    "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
	    APPLICATION_ID, SCHEMA_VERSION);
	return exec(h, "BEGIN IMMEDIATE") == -1 || exec(h, schema) == -1
	    ? -1
	    : exec(h, tail);
}

static int
check_schema(struct history *h)
{
	if (pragma(h, "SELECT count(*) FROM sqlite_schema") == 0)
		return make_schema(h);
	if (pragma(h, "PRAGMA application_id") != APPLICATION_ID ||
	    pragma(h, "PRAGMA user_version") != SCHEMA_VERSION ||
	    pragma(h,
		"SELECT count(*) FROM pragma_quick_check"
		" WHERE quick_check = 'ok'") != 1)
		return failed(h, "%s: not of this program, or broken", h->path);
	return 0;
}

static int
open_db(struct history *h)
{
	static const char pragmas[] = "PRAGMA locking_mode = EXCLUSIVE;"
				      "PRAGMA journal_mode = WAL;"
				      "PRAGMA synchronous = OFF;"
				      "PRAGMA journal_size_limit = 4194304;"
				      "PRAGMA secure_delete = FAST;"
				      "PRAGMA trusted_schema = OFF;"
				      "PRAGMA temp_store = MEMORY;";
	size_t i;
	int fd;

	/* made here and not by SQLite, so that nobody else may ever read it */
	fd = open(h->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1 || close(fd) == -1)
		return failed(h, "%s: %s", h->path, strerror(errno));
	engine_init();
	if (sqlite3_open_v2(h->path, &h->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
		NULL) != SQLITE_OK) {
		no_memory(h->db);
		return sql_failed(h);
	}
	sqlite3_db_config(h->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_limit(h->db, SQLITE_LIMIT_ATTACHED, 0);
	if (exec(h, pragmas) == -1 || check_schema(h) == -1)
		return -1;
	for (i = 0; i < STMTS; i++)
		if (sqlite3_prepare_v3(h->db, texts[i], -1,
			SQLITE_PREPARE_PERSISTENT, &h->stmt[i],
			NULL) != SQLITE_OK)
			return sql_failed(h);
	return 0;
}

static void
close_db(struct history *h)
{
	size_t i;

	for (i = 0; i < STMTS; i++) {
		sqlite3_finalize(h->stmt[i]);
		h->stmt[i] = NULL;
	}
	sqlite3_close(h->db);
	h->db = NULL;
}

/* With its log, which belongs to it. */
static int
put_aside(struct history *h)
{
	static const char *const ends[] = { "", "-wal" };
	char *from, *to;
	size_t i;
	int rc = 0;

	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		from = sqlite3_mprintf("%s%s", h->path, ends[i]);
		to = sqlite3_mprintf("%s.bad%s", h->path, ends[i]);
		no_memory(from);
		no_memory(to);
		if (rename(from, to) == -1 && errno != ENOENT)
			rc = -1;
		sqlite3_free(from);
		sqlite3_free(to);
	}
	return rc;
}

int
history_open(const char *dir, struct history **out)
{
	struct history *h = calloc(1, sizeof(*h));

	no_memory(h);
	*out = h;
	h->path = sqlite3_mprintf("%s/history.db", dir);
	no_memory(h->path);
	if (open_db(h) == 0)
		return 0;
	close_db(h);
	if (access(dir, W_OK) == 0 && put_aside(h) == 0 && open_db(h) == 0)
		return 0;
	close_db(h);
	return -1;
}

void
history_close(struct history **hp)
{
	struct history *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	history_rollback(h);
	close_db(h);
	sqlite3_free(h->path);
	free(h);
}

const char *
history_errtext(const struct history *h)
{
	return h->err;
}

/* ---- writing ---- */

int
history_begin(struct history *h)
{
	return exec(h, "BEGIN IMMEDIATE");
}

int
history_commit(struct history *h)
{
	if (exec(h, "COMMIT") == 0)
		return 0;
	history_rollback(h);
	return -1;
}

void
history_rollback(struct history *h)
{
	if (h->db != NULL && !sqlite3_get_autocommit(h->db))
		sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Runs a statement whose parameters `fmt` tells: i int64_t, t text, b a blob
 * as const void * and size_t. */
static int
run(struct history *h, int which, const char *fmt, ...)
{
	sqlite3_stmt *stmt = h->stmt[which];
	const void *p;
	va_list ap;
	int rc = SQLITE_OK, n;

	va_start(ap, fmt);
	for (n = 1; fmt[n - 1] != '\0' && rc == SQLITE_OK; n++) {
		if (fmt[n - 1] == 'i') {
			rc = sqlite3_bind_int64(stmt, n, va_arg(ap, int64_t));
		} else if (fmt[n - 1] == 't') {
			p = va_arg(ap, const char *);
			rc = sqlite3_bind_text(stmt, n, p, -1, SQLITE_STATIC);
		} else {
			p = va_arg(ap, const void *);
			/* a NULL pointer would be an SQL NULL */
			rc = sqlite3_bind_blob64(stmt, n, p != NULL ? p : "",
			    va_arg(ap, size_t), SQLITE_STATIC);
		}
	}
	va_end(ap);
	if (rc == SQLITE_OK && sqlite3_step(stmt) != SQLITE_DONE)
		rc = SQLITE_ERROR;
	if (rc != SQLITE_OK)
		sql_failed(h);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return rc == SQLITE_OK ? 0 : -1;
}

int
history_counter_put(struct history *h, const struct history_counter *c)
{
	return run(h, COUNTER_PUT, "ittiib", (int64_t)c->kind, c->user,
	    c->address, c->last_ms, c->until_ms, c->marks, c->len);
}

int
history_counter_del(
    struct history *h, int kind, const char *user, const char *address)
{
	return run(h, COUNTER_DEL, "itt", (int64_t)kind, user, address);
}

int
history_use_put(struct history *h, const struct history_use *u)
{
	return run(h, USE_PUT, "tiitt", u->user, u->device, u->at_ms,
	    u->address, u->client);
}

/* ---- reading ---- */

static const char *
text(sqlite3_stmt *stmt, int col)
{
	const char *s = (const char *)sqlite3_column_text(stmt, col);

	no_memory(s); /* no column may be NULL */
	return s;
}

static int
counter_row(sqlite3_stmt *stmt, const void *fn, void *arg)
{
	int (*const *call)(const struct history_counter *, void *) = fn;
	const struct history_counter c = {
		.kind = sqlite3_column_int(stmt, 0),
		.user = text(stmt, 1),
		.address = text(stmt, 2),
		.last_ms = sqlite3_column_int64(stmt, 3),
		.until_ms = sqlite3_column_int64(stmt, 4),
		.marks = sqlite3_column_blob(stmt, 5),
		.len = (size_t)sqlite3_column_bytes(stmt, 5),
	};

	return (*call)(&c, arg);
}

static int
use_row(sqlite3_stmt *stmt, const void *fn, void *arg)
{
	int (*const *call)(const struct history_use *, void *) = fn;
	const struct history_use u = {
		.user = text(stmt, 0),
		.device = sqlite3_column_int64(stmt, 1),
		.at_ms = sqlite3_column_int64(stmt, 2),
		.address = text(stmt, 3),
		.client = text(stmt, 4),
	};

	return (*call)(&u, arg);
}

/* fn points to the caller's function. */
static int
each(struct history *h, const char *sql,
    int (*row)(sqlite3_stmt *, const void *fn, void *arg), const void *fn,
    void *arg)
{
	sqlite3_stmt *stmt = NULL;
	int rc;

	if (sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return sql_failed(h);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		if (row(stmt, fn, arg) != 0)
			break;
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		sql_failed(h);
	sqlite3_finalize(stmt);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}

int
history_counters(struct history *h,
    int (*fn)(const struct history_counter *, void *arg), void *arg)
{
	return each(h,
	    "SELECT kind, user, address, last_ms, until_ms, marks"
	    " FROM counter ORDER BY last_ms",
	    counter_row, &fn, arg);
}

int
history_uses(struct history *h,
    int (*fn)(const struct history_use *, void *arg), void *arg)
{
	return each(h,
	    "SELECT user, device, at_ms, address, client"
	    " FROM last_use ORDER BY user, device",
	    use_row, &fn, arg);
}

/* ---- decisions ---- */

static int
done(struct history *h, sqlite3_stmt *stmt, int rc)
{
	if (rc != SQLITE_OK && rc != SQLITE_DONE)
		sql_failed(h);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return rc == SQLITE_OK || rc == SQLITE_DONE ? 0 : -1;
}

int
history_decision_add(struct history *h, const struct decision *d)
{
	sqlite3_stmt *stmt = h->stmt[ADD];
	int rc = decision_bind(stmt, d);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	return done(h, stmt, rc);
}

int
history_decisions_prune(
    struct history *h, int64_t before_us, int64_t rows, bool *more)
{
	if (run(h, PRUNE, "iii", before_us, rows, (int64_t)DECISION_STEP) == -1)
		return -1;
	*more = sqlite3_changes(h->db) > 0;
	return 0;
}

/* The last id below *id becomes *id, if there is one. */
static int
last_below(struct history *h, int64_t *id, bool *none)
{
	sqlite3_stmt *stmt = h->stmt[LAST];
	int rc;

	*none = true;
	if ((rc = sqlite3_bind_int64(stmt, 1, *id)) == SQLITE_OK &&
	    (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		*none = sqlite3_column_type(stmt, 0) == SQLITE_NULL;
		*id = sqlite3_column_int64(stmt, 0);
		rc = SQLITE_DONE;
	}
	return done(h, stmt, rc);
}

int
history_decisions(struct history *h, const struct decision_filter *f,
    struct decision_walk *w, decision_fn *fn, void *arg)
{
	sqlite3_stmt *stmt = h->stmt[SCAN];
	int64_t last = w->before;
	struct decision d;
	int rc;

	if (last_below(h, &last, &w->end) == -1)
		return -1;
	if (w->end)
		return 0;
	w->before = last - DECISION_STEP + 1;
	rc = decision_bind_scan(stmt, w->before, last, f);
	while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		decision_row(stmt, &d);
		fn(arg, &d);
		rc = SQLITE_OK;
	}
	return done(h, stmt, rc);
}
