/* Who sent how much, to whom, and who was stopped for it. */
#include "mailq_private.h"
#include "mailq_quota.h"

enum { PRUNE_ROWS = 256 };

enum mailq_rc
mailq_sent_put(struct mailq *mq, const struct mailq_sent *s)
{
	/* not OR REPLACE: that would write the index of steps, too */
	return mailq_run(mq, NULL,
	    "INSERT INTO sent"
	    " (user, device, user_id, step, messages, recipients, fresh,"
	    " failed, refused) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
	    " ON CONFLICT DO UPDATE SET user_id = excluded.user_id,"
	    " messages = excluded.messages,"
	    " recipients = excluded.recipients, fresh = excluded.fresh,"
	    " failed = excluded.failed, refused = excluded.refused",
	    "tiiiiiiii", s->user, s->device, s->user_id, s->step,
	    (int64_t)s->n[0], (int64_t)s->n[1], (int64_t)s->n[2],
	    (int64_t)s->n[3], (int64_t)s->n[4]);
}

enum mailq_rc
mailq_sent_list(struct mailq *mq, const char *user, int64_t from_step,
    void (*fn)(const struct mailq_sent *, void *arg), void *arg)
{
	struct mailq_sent s = { .user = user };
	sqlite3_stmt *st;
	enum mailq_rc rc;
	int i;

	rc = mailq_query(mq, &st,
	    "SELECT device, user_id, step, messages, recipients, fresh,"
	    " failed, refused FROM sent WHERE user = ? AND step >= ? ORDER BY step",
	    "ti", user, from_step);
	while (rc == MAILQ_OK && (rc = mailq_step(mq, st)) == MAILQ_OK) {
		s.device = sqlite3_column_int64(st, 0);
		s.user_id = sqlite3_column_int64(st, 1);
		s.step = sqlite3_column_int64(st, 2);
		for (i = 0; i < MAILQ_COUNTS; i++)
			s.n[i] = (uint32_t)sqlite3_column_int64(st, 3 + i);
		fn(&s, arg);
	}
	mailq_done(st);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

enum mailq_rc
mailq_sent_prune(struct mailq *mq, int64_t before_step, bool *any)
{
	unsigned n = 0;
	enum mailq_rc rc;

	rc = mailq_run(mq, &n,
	    "DELETE FROM sent WHERE (user, device, step) IN"
	    " (SELECT user, device, step FROM sent WHERE step < ? LIMIT ?)",
	    "ii", before_step, (int64_t)PRUNE_ROWS);
	if (rc == MAILQ_OK)
		*any = n > 0;
	return rc;
}

enum mailq_rc
mailq_sent_set_back(
    struct mailq *mq, int64_t after_step, int64_t step, bool *any)
{
	unsigned n = 0;
	enum mailq_rc rc;

	rc = mailq_run(mq, &n,
	    "INSERT INTO sent (user, device, user_id, step, messages,"
	    " recipients, fresh, failed, refused)"
	    " SELECT user, device, max(user_id), ?1, sum(messages),"
	    " sum(recipients), sum(fresh), sum(failed), sum(refused)"
	    " FROM sent WHERE step > ?2 GROUP BY user, device"
	    " ON CONFLICT DO UPDATE SET user_id = excluded.user_id,"
	    " messages = messages + excluded.messages,"
	    " recipients = recipients + excluded.recipients,"
	    " fresh = fresh + excluded.fresh,"
	    " failed = failed + excluded.failed,"
	    " refused = refused + excluded.refused",
	    "ii", step, after_step);
	if (rc == MAILQ_OK)
		*any = n > 0;
	return rc == MAILQ_OK && n > 0
	    ? mailq_run(
		  mq, NULL, "DELETE FROM sent WHERE step > ?", "i", after_step)
	    : rc;
}

enum mailq_rc
mailq_known(struct mailq *mq, int64_t digest, int64_t *day)
{
	return mailq_int(
	    mq, day, "SELECT day FROM known WHERE digest = ?", "i", digest);
}

enum mailq_rc
mailq_known_put(struct mailq *mq, int64_t digest, int64_t day)
{
	return mailq_run(mq, NULL,
	    "INSERT OR REPLACE INTO known (digest, day) VALUES (?, ?)", "ii",
	    digest, day);
}

enum mailq_rc
mailq_known_prune(
    struct mailq *mq, uint8_t slice, int64_t before_day, bool *any)
{
	int64_t width = INT64_C(1) << 56, from = (slice - 128) * width;
	unsigned n = 0;
	enum mailq_rc rc;

	rc = mailq_run(mq, &n,
	    "DELETE FROM known WHERE digest BETWEEN ? AND ? AND day < ?", "iii",
	    from, from + (width - 1), before_day);
	if (rc == MAILQ_OK)
		*any = n > 0;
	return rc;
}

enum mailq_rc
mailq_suspend(struct mailq *mq, const struct mailq_suspended *s)
{
	return mailq_run(mq, NULL,
	    "INSERT OR REPLACE INTO suspended (user, user_id, at_ms, why)"
	    " VALUES (?, ?, ?, ?)",
	    "tiit", s->user, s->user_id, s->at_ms, s->why);
}

enum mailq_rc
mailq_resume(struct mailq *mq, const char *user)
{
	unsigned n = 0;
	enum mailq_rc rc;

	rc = mailq_run(
	    mq, &n, "DELETE FROM suspended WHERE user = ?", "t", user);
	if (rc == MAILQ_OK && n == 0)
		return mailq_fail(mq, MAILQ_NONE, "%s is not suspended", user);
	return rc;
}

enum mailq_rc
mailq_suspended_list(struct mailq *mq,
    void (*fn)(const struct mailq_suspended *, void *arg), void *arg)
{
	sqlite3_stmt *st;
	enum mailq_rc rc;

	rc = mailq_query(mq, &st,
	    "SELECT user, user_id, at_ms, why FROM suspended ORDER BY at_ms",
	    "");
	while (rc == MAILQ_OK && (rc = mailq_step(mq, st)) == MAILQ_OK) {
		const struct mailq_suspended s = {
			.user = (const char *)sqlite3_column_text(st, 0),
			.user_id = sqlite3_column_int64(st, 1),
			.at_ms = sqlite3_column_int64(st, 2),
			.why = (const char *)sqlite3_column_text(st, 3),
		};

		fn(&s, arg);
	}
	mailq_done(st);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}
