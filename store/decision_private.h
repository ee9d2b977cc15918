/*
 * The table of decisions, the same in queue.db and history.db.  Rows are
 * added at the end and removed at the beginning, in steps of DECISION_STEP
 * ids; nothing but the id is indexed, so that adding one is cheap.
 */
#ifndef STORE_DECISION_PRIVATE_H
#define STORE_DECISION_PRIVATE_H

#include <sqlite3.h>

#include "decision.h"

/* Both files have steps from version to version: never edit this one. */
#define DECISION_TABLE                                                         \
	"CREATE TABLE decision ("                                              \
	"  id INTEGER PRIMARY KEY,"                                            \
	"  at_us INTEGER NOT NULL,"                                            \
	"  sid INTEGER NOT NULL,"                                              \
	"  qid INTEGER NOT NULL,"                                              \
	"  phase TEXT NOT NULL,"                                               \
	"  result TEXT NOT NULL,"                                              \
	"  why TEXT NOT NULL,"                                                 \
	"  code INTEGER NOT NULL,"                                             \
	"  esc TEXT NOT NULL,"                                                 \
	"  text TEXT NOT NULL,"                                                \
	"  user TEXT NOT NULL,"                                                \
	"  device INTEGER NOT NULL,"                                           \
	"  how TEXT NOT NULL,"                                                 \
	"  client_addr TEXT NOT NULL,"                                         \
	"  client_name TEXT NOT NULL,"                                         \
	"  verify TEXT NOT NULL,"                                              \
	"  bits INTEGER NOT NULL,"                                             \
	"  cn TEXT NOT NULL,"                                                  \
	"  subject TEXT NOT NULL,"                                             \
	"  issuer TEXT NOT NULL,"                                              \
	"  sender TEXT NOT NULL,"                                              \
	"  rcpt TEXT NOT NULL,"                                                \
	"  key TEXT NOT NULL,"                                                 \
	"  ladder TEXT NOT NULL"                                               \
	") STRICT;"

#define DECISION_COLUMNS                                                       \
	"at_us, sid, qid, phase, result, why, code, esc, text, user, device,"  \
	" how, client_addr, client_name, verify, bits, cn, subject, issuer,"   \
	" sender, rcpt, key, ladder"

/* decision_bind() gives all parameters. */
#define DECISION_ADD                                                           \
	"INSERT INTO decision (" DECISION_COLUMNS ") VALUES (?1, ?2, ?3, ?4,"  \
	" ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"    \
	" ?19, ?20, ?21, ?22, ?23)"

enum { DECISION_STEP = 1000 };

/* ?1: older than this go; ?2: so many stay; ?3: DECISION_STEP. */
#define DECISION_PRUNE                                                         \
	"DELETE FROM decision"                                                 \
	" WHERE id < (SELECT min(id) FROM decision) + ?3"                      \
	" AND (at_us < ?1 OR id <= (SELECT max(id) FROM decision) - ?2)"

/* The last id below ?1, or NULL. */
#define DECISION_LAST "SELECT max(id) FROM decision WHERE id < ?1"

/* decision_bind_scan() gives all parameters. */
#define DECISION_SCAN                                                          \
	"SELECT id, " DECISION_COLUMNS " FROM decision"                        \
	" WHERE id BETWEEN ?1 AND ?2"                                          \
	" AND (?3 = 0 OR sid = ?3) AND (?4 = 0 OR qid = ?4)"                   \
	" AND (?5 IS NULL OR user = ?5)"                                       \
	" AND (?6 IS NULL OR client_addr = ?6) AND at_us >= ?7"                \
	" AND (?8 = 0 OR result IN ('refuse', 'defer'))"                       \
	" ORDER BY id DESC"

/* SQLite's code.  The strings must live until the statement was run. */
int decision_bind(sqlite3_stmt *, const struct decision *);
/* The rows from first to last. */
int decision_bind_scan(sqlite3_stmt *, int64_t first, int64_t last,
    const struct decision_filter *);
/* From a row of DECISION_SCAN; the strings live until the next step. */
void decision_row(sqlite3_stmt *, struct decision *);

#endif
