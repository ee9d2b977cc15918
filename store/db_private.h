/*
 * What the files of the user store share and nobody else sees: the handle,
 * statements, write brackets, text checks. The only header here that names
 * SQLite types.
 */
#ifndef STORE_DB_PRIVATE_H
#define STORE_DB_PRIVATE_H

#include <sys/types.h>

#include <sqlite3.h>
#include <stdbool.h>

#include "db.h"

#define DB_STMTS_MAX 64 /* above the number of different SQL texts */
#define DB_ACTOR_MAX 127

struct db_cached {
	const char *sql; /* compared by address: a string literal */
	sqlite3_stmt *stmt;
};

struct store {
	char *path;
	enum store_mode mode;
	sqlite3 *db; /* NULL while open_rc is not STORE_OK */
	enum store_rc open_rc;
	dev_t dev;
	ino_t ino;
	struct db_cached cache[DB_STMTS_MAX];
	size_t ncached;
	bool in_tx; /* between store_begin() and its end */
	bool held;  /* between store_hold() and store_release() */
	uint64_t version;
	int64_t data_version;
	int64_t own_changes;
	char actor[DB_ACTOR_MAX + 1];
	char err[512];
};

/* Sets the error text and returns rc. */
__attribute__((format(printf, 3, 4))) enum store_rc db_fail(
    struct store *st, enum store_rc rc, const char *fmt, ...);
/* The same from what SQLite says of its last call. */
enum store_rc db_error(struct store *st);

/*
 * A statement with its parameters bound: `fmt` has a letter for each, i
 * int64_t, z int64_t with 0 as NULL, t text (NULL as NULL), which must live
 * until db_done(). `sql` must be a string literal: it is prepared once.
 */
enum store_rc db_query(struct store *st, sqlite3_stmt **stmt, const char *sql,
    const char *fmt, ...);
/* STORE_OK: a row; STORE_NONE: no more; else an error. */
enum store_rc db_step(struct store *st, sqlite3_stmt *stmt);
/* Ends a statement of db_query(). NULL is fine. */
void db_done(struct store *st, sqlite3_stmt *stmt);
/* db_query(), step to the end, db_done(). STORE_OK when it ran. */
enum store_rc db_run(struct store *st, const char *sql, const char *fmt, ...);
/* The same; STORE_NONE (without a text) if it changed no row. */
enum store_rc db_change(
    struct store *st, const char *sql, const char *fmt, ...);
/* Runs SQL without parameters or rows, not kept prepared. */
enum store_rc db_exec(struct store *st, const char *sql);
/* The first column of the first row; STORE_NONE without a row. */
enum store_rc db_int(
    struct store *st, int64_t *value, const char *sql, const char *fmt, ...);

/* Column `col` into buf; NULL becomes "". Cut if it doesn't fit. */
void db_text(sqlite3_stmt *stmt, int col, char *buf, size_t len);

/*
 * The bracket around each writing function:
 *	if ((rc = db_write(st)) != STORE_OK)
 *		return rc;
 *	... rc = ...
 *	return db_written(st, rc, "user add", name, detail);
 * db_written() makes the audit row and commits if rc is STORE_OK; else it
 * takes back what was done since db_write() and keeps rc and its text.
 */
enum store_rc db_write(struct store *st);
enum store_rc db_written(struct store *st, enum store_rc rc, const char *what,
    const char *object, const char *detail);
/* Ends a bracket in which there was nothing to write: no audit row. */
enum store_rc db_unwritten(struct store *st);

/* ASCII letters to lower case, whatever the locale says. */
char db_lower(char c);
void db_fold(char *text);

/* A word of an enum that is written to the database as text. */
struct db_word {
	int value;
	const char *word;
};
const char *db_word_text(const struct db_word *words, size_t n, int value);
int db_word_parse(
    const struct db_word *words, size_t n, const char *word, int *value);

#endif
