/* The decisions on accepted mail; they stay when their message has left. */
#include "decision_private.h"
#include "mailq_private.h"

static enum mailq_rc
bound(struct mailq *mq, int rc)
{
	return rc == SQLITE_OK ? MAILQ_OK : mailq_sql_error(mq);
}

enum mailq_rc
mailq_decision_add(struct mailq *mq, const struct decision *d)
{
	sqlite3_stmt *stmt;
	enum mailq_rc rc;

	if ((rc = mailq_query(mq, &stmt, DECISION_ADD, "")) != MAILQ_OK)
		return rc;
	rc = bound(mq, decision_bind(stmt, d));
	if (rc == MAILQ_OK)
		rc = mailq_step(mq, stmt);
	mailq_done(stmt);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

enum mailq_rc
mailq_decisions_prune(
    struct mailq *mq, int64_t before_us, int64_t rows, bool *more)
{
	unsigned n = 0;
	enum mailq_rc rc;

	rc = mailq_run(mq, &n, DECISION_PRUNE, "iii", before_us, rows,
	    (int64_t)DECISION_STEP);
	if (rc == MAILQ_OK)
		*more = n > 0;
	return rc;
}

enum mailq_rc
mailq_decisions(struct mailq *mq, const struct decision_filter *f,
    struct decision_walk *w, decision_fn *fn, void *arg)
{
	sqlite3_stmt *stmt;
	struct decision d;
	int64_t last = 0;
	enum mailq_rc rc;

	rc = mailq_int(mq, &last, DECISION_LAST, "i", w->before);
	w->end = rc == MAILQ_NONE;
	if (rc != MAILQ_OK)
		return rc == MAILQ_NONE ? MAILQ_OK : rc;
	w->before = last - DECISION_STEP + 1;
	if ((rc = mailq_query(mq, &stmt, DECISION_SCAN, "")) != MAILQ_OK)
		return rc;
	rc = bound(mq, decision_bind_scan(stmt, w->before, last, f));
	while (rc == MAILQ_OK && (rc = mailq_step(mq, stmt)) == MAILQ_OK) {
		decision_row(stmt, &d);
		fn(arg, &d);
	}
	mailq_done(stmt);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}
