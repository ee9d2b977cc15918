/*
 * What the files of the spool share and nobody else sees: the handle,
 * statements, errors. The only header here that names SQLite types.
 */
#ifndef STORE_MAILQ_PRIVATE_H
#define STORE_MAILQ_PRIVATE_H

#include <sqlite3.h>
#include <stdlib.h>

#include "mailq.h"

#define MAILQ_STMTS_MAX  64       /* above the number of different SQL texts */
#define MAILQ_BODY_NAME  32       /* a buffer for the name of a body's file */
#define MAILQ_STATE_OPEN "(0, 1)" /* waiting, deferred */

struct mailq_cached {
	const char *sql; /* compared by address: a string literal */
	sqlite3_stmt *stmt;
};

struct mailq_ids {
	uint64_t *v;
	size_t n, size;
};

struct mailq {
	char *dir;
	int dirfd, lockfd; /* -1 while closed */
	sqlite3 *db;       /* NULL while not open */
	struct mailq_cached cache[MAILQ_STMTS_MAX];
	size_t ncached;
	bool in_tx;
	struct mailq_ids placed; /* files renamed in this transaction */
	struct mailq_ids doomed; /* files to remove after its commit */
	char err[512];
};

/* Sets the error text and returns rc. */
__attribute__((format(printf, 3, 4))) enum mailq_rc mailq_fail(
    struct mailq *mq, enum mailq_rc rc, const char *fmt, ...);
/* The same from errno, after doing `what`. */
enum mailq_rc mailq_errno(struct mailq *mq, const char *what);
/* The same from what SQLite says of its last call. */
enum mailq_rc mailq_sql_error(struct mailq *mq);

/*
 * A statement with its parameters bound: `fmt` has a letter for each, i int64_t,
 * t text, b a blob as const void * and size_t; both must live until
 * mailq_done(). `sql` must be a string literal: it is prepared once.
 */
enum mailq_rc mailq_query(struct mailq *mq, sqlite3_stmt **stmt,
    const char *sql, const char *fmt, ...);
/* MAILQ_OK: a row; MAILQ_NONE: no more; else an error. */
enum mailq_rc mailq_step(struct mailq *mq, sqlite3_stmt *stmt);
/* Ends a statement of mailq_query(). NULL is fine. */
void mailq_done(sqlite3_stmt *stmt);
/* All of it; *changes (may be NULL) counts the rows it changed. */
enum mailq_rc mailq_run(
    struct mailq *mq, unsigned *changes, const char *sql, const char *fmt, ...);
/* The first column of the first row; MAILQ_NONE without a row or if NULL. */
enum mailq_rc mailq_int(
    struct mailq *mq, int64_t *value, const char *sql, const char *fmt, ...);

void mailq_ids_add(struct mailq_ids *ids, uint64_t qid);

static inline void
mailq_no_memory(const void *p)
{
	if (p == NULL)
		abort();
}

/* mailq_schema.c: checks what the file is and brings it to the latest version;
 * each step is a transaction of its own. */
enum mailq_rc mailq_schema(struct mailq *mq);

/* mailq_log.c: makes the log `size` bytes long, if it is shorter and there is
 * room; with an open database, outside of transactions. */
enum mailq_rc mailq_log_extend(struct mailq *mq, off_t size);
/* The name of the VFS that writes the log in few pieces; else it is SQLite's
 * own. */
const char *mailq_log_vfs(void);

/* mailq_body.c: renames tmp.<qid>, if it is a regular file of `size` bytes. */
enum mailq_rc mailq_body_place(struct mailq *mq, uint64_t qid, uint64_t size);
/* Syncs the directory. */
enum mailq_rc mailq_body_sync(struct mailq *mq);
/* Removes <qid>.msg. */
void mailq_body_remove(struct mailq *mq, uint64_t qid);

#endif
