/*
 * The tables of queue.db and the steps from each version of them to the next.
 * A schema that was released is never edited: a change is a new step.
 *
 * Inline bodies are apart from their messages, so that a change of a message's
 * row doesn't write its body again. due_ms is what the schedule reads: the
 * earliest next_ms of a recipient waiting or deferred, NULL if there is none.
 */
#include "decision_private.h"
#include "mailq_private.h"

/* PRAGMA application_id: tells a queue from any other SQLite file. */
#define APPLICATION_ID 0x73626d71 /* "sbmq" */

/* clang-format off */
static const char step_0[] =
"CREATE TABLE message ("
"  qid INTEGER PRIMARY KEY CHECK (qid > 0),"
"  sid INTEGER NOT NULL,"
"  user_id INTEGER NOT NULL CHECK (user_id >= 0),"
"  user TEXT NOT NULL,"
"  how TEXT NOT NULL,"
"  client_addr TEXT NOT NULL,"
"  sender TEXT NOT NULL CHECK (length(CAST(sender AS BLOB)) <= 320),"
"  body_kind INTEGER NOT NULL CHECK (body_kind IN (0, 1)),"
"  in_file INTEGER NOT NULL CHECK (in_file IN (0, 1)),"
"  size INTEGER NOT NULL CHECK (size >= 0),"
"  arrived_ms INTEGER NOT NULL,"
"  since_ms INTEGER NOT NULL,"
"  due_ms INTEGER,"
"  tried INTEGER NOT NULL DEFAULT 0 CHECK (tried IN (0, 1)),"
"  delay_sent INTEGER NOT NULL DEFAULT 0 CHECK (delay_sent IN (0, 1)),"
"  ret TEXT CHECK (ret IN ('full', 'hdrs')),"
"  envid TEXT,"
"  utf8 INTEGER NOT NULL DEFAULT 0 CHECK (utf8 IN (0, 1)),"
"  require_tls INTEGER NOT NULL DEFAULT 0 CHECK (require_tls IN (0, 1)),"
"  hold_until_ms INTEGER,"
"  deliver_by_ms INTEGER,"
"  deliver_by_mode TEXT CHECK (deliver_by_mode IN ('notify', 'return')),"
"  priority INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -9 AND 9)"
") STRICT;"
"CREATE INDEX message_due ON message (tried, due_ms)"
"  WHERE due_ms IS NOT NULL;"

"CREATE TABLE body ("
"  qid INTEGER PRIMARY KEY REFERENCES message (qid) ON DELETE CASCADE,"
"  data BLOB NOT NULL"
") STRICT;"

/* state: enum mailq_state */
"CREATE TABLE recipient ("
"  qid INTEGER NOT NULL REFERENCES message (qid) ON DELETE CASCADE,"
"  n INTEGER NOT NULL CHECK (n >= 0),"
"  address TEXT NOT NULL CHECK (length(CAST(address AS BLOB))"
"    BETWEEN 1 AND 320),"
"  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),"
"  attempts INTEGER NOT NULL DEFAULT 0,"
"  next_ms INTEGER NOT NULL,"
"  last_ms INTEGER NOT NULL DEFAULT 0,"
"  code INTEGER NOT NULL DEFAULT 0,"
"  esc TEXT NOT NULL DEFAULT '',"
"  text TEXT NOT NULL DEFAULT '',"
"  mta TEXT NOT NULL DEFAULT '',"
"  notify INTEGER,"
"  orcpt TEXT,"
"  PRIMARY KEY (qid, n)"
") STRICT, WITHOUT ROWID;"

/* Numbers the queue remembers: qid_high. */
"CREATE TABLE number ("
"  name TEXT PRIMARY KEY,"
"  value INTEGER NOT NULL"
") STRICT, WITHOUT ROWID;"

"CREATE TABLE counter ("
"  user TEXT NOT NULL,"
"  kind TEXT NOT NULL,"
"  slot INTEGER NOT NULL,"
"  n INTEGER NOT NULL,"
"  PRIMARY KEY (user, kind, slot)"
") STRICT, WITHOUT ROWID;"

"CREATE TABLE duplicate ("
"  key BLOB PRIMARY KEY,"
"  qid INTEGER NOT NULL,"
"  at_ms INTEGER NOT NULL"
") STRICT, WITHOUT ROWID;"
"CREATE INDEX duplicate_at ON duplicate (at_ms);";

/* No reference to the message: a decision outlives it. */
static const char step_1[] = DECISION_TABLE;

/* The key in `duplicate`, for when the message fails or is deleted.  What is old
 * there is looked for key by key: an index of times would cost every message. */
static const char step_2[] = "ALTER TABLE message ADD COLUMN again BLOB;"
			     "DROP INDEX duplicate_at;"
/* body_kind 1 and this: BINARYMIME, which the CHECK of step 0 did not know */
			     "ALTER TABLE message ADD COLUMN binary INTEGER"
			     "  NOT NULL DEFAULT 0;"
			     "ALTER TABLE message ADD COLUMN by_trace INTEGER"
			     "  NOT NULL DEFAULT 0;"
/* for limits: mailq_quota.h; counter had no use */
			     "DROP TABLE counter;"
			     "CREATE TABLE sent ("
			     "  user TEXT NOT NULL,"
			     "  device INTEGER NOT NULL,"
			     "  step INTEGER NOT NULL,"
			     "  messages INTEGER NOT NULL,"
			     "  recipients INTEGER NOT NULL,"
			     "  fresh INTEGER NOT NULL,"
			     "  failed INTEGER NOT NULL,"
			     "  refused INTEGER NOT NULL,"
			     "  PRIMARY KEY (user, device, step)"
			     ") STRICT, WITHOUT ROWID;"
			     "CREATE INDEX sent_step ON sent (step);"
			     "CREATE TABLE known ("
			     "  digest INTEGER PRIMARY KEY,"
			     "  day INTEGER NOT NULL"
			     ") STRICT;"
			     "CREATE TABLE suspended ("
			     "  user TEXT PRIMARY KEY,"
			     "  at_ms INTEGER NOT NULL,"
			     "  why TEXT NOT NULL"
			     ") STRICT, WITHOUT ROWID;";

/* Neither costs anything for mail that asks for nothing. */
static const char step_3[] =
"CREATE INDEX message_priority ON message (tried, priority DESC, due_ms)"
"  WHERE due_ms IS NOT NULL AND priority <> 0;"
"CREATE INDEX message_by ON message (deliver_by_ms)"
"  WHERE deliver_by_ms IS NOT NULL;";

/* Spools of before the first release took step 2 while it said less. */
static const char step_4[] =
"DROP TABLE IF EXISTS counter;"
"CREATE TABLE IF NOT EXISTS sent ("
"  user TEXT NOT NULL,"
"  device INTEGER NOT NULL,"
"  step INTEGER NOT NULL,"
"  messages INTEGER NOT NULL,"
"  recipients INTEGER NOT NULL,"
"  fresh INTEGER NOT NULL,"
"  failed INTEGER NOT NULL,"
"  refused INTEGER NOT NULL,"
"  PRIMARY KEY (user, device, step)"
") STRICT, WITHOUT ROWID;"
"CREATE INDEX IF NOT EXISTS sent_step ON sent (step);"
"CREATE TABLE IF NOT EXISTS known ("
"  digest INTEGER PRIMARY KEY,"
"  day INTEGER NOT NULL"
") STRICT;"
"CREATE TABLE IF NOT EXISTS suspended ("
"  user TEXT PRIMARY KEY,"
"  at_ms INTEGER NOT NULL,"
"  why TEXT NOT NULL"
") STRICT, WITHOUT ROWID;";

/* A name may come back as another user's: by the id they are told apart. */
static const char step_5[] =
"ALTER TABLE sent ADD COLUMN user_id INTEGER NOT NULL DEFAULT 0;"
"ALTER TABLE suspended ADD COLUMN user_id INTEGER NOT NULL DEFAULT 0;";

/* xtext, RFC 4954 section 5 */
static const char step_6[] = "ALTER TABLE message ADD COLUMN auth TEXT;";

static const char *const steps[] = { step_0, step_1, step_2, step_3, step_4,
	step_5, step_6 };
/* clang-format on */

enum { LATEST = sizeof(steps) / sizeof(steps[0]) };

static enum mailq_rc
exec(struct mailq *mq, const char *sql)
{
	if (sqlite3_exec(mq->db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return MAILQ_OK;
	return mailq_sql_error(mq);
}

static enum mailq_rc
take_step(struct mailq *mq, int from)
{
	char tail[128];
	enum mailq_rc rc;

	sqlite3_snprintf(sizeof(tail), tail,
	    "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
	    APPLICATION_ID, from + 1);
	if ((rc = exec(mq, "BEGIN IMMEDIATE")) != MAILQ_OK)
		return rc;
	if ((rc = exec(mq, steps[from])) == MAILQ_OK)
		rc = exec(mq, tail);
	if (rc != MAILQ_OK)
		mailq_rollback(mq);
	return rc;
}

enum mailq_rc
mailq_schema(struct mailq *mq)
{
	int64_t app = 0, version = 0, tables = 0;
	enum mailq_rc rc;

	if ((rc = mailq_int(mq, &app, "PRAGMA application_id", "")) !=
		MAILQ_OK ||
	    (rc = mailq_int(mq, &version, "PRAGMA user_version", "")) !=
		MAILQ_OK ||
	    (rc = mailq_int(mq, &tables, "SELECT count(*) FROM sqlite_schema",
		 "")) != MAILQ_OK)
		return rc;
	if (app != APPLICATION_ID && (app != 0 || version != 0 || tables != 0))
		return mailq_fail(mq, MAILQ_DAMAGED,
		    "%s/queue.db is not a queue of this program", mq->dir);
	if (version > LATEST)
		return mailq_fail(mq, MAILQ_NEWER,
		    "%s/queue.db was made by a later version of this program",
		    mq->dir);
	for (; version < LATEST; version++)
		if ((rc = take_step(mq, (int)version)) != MAILQ_OK)
			return rc;
	return MAILQ_OK;
}
