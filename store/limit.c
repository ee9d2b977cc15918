/*
 * Limits on what may be sent.
 */
#include <stdio.h>
#include <string.h>

#include "access.h"
#include "db_private.h"
#include "limit.h"
#include "text.h"

enum { LIMIT_OBJECT_MAX = STORE_ACCESS_KEY_MAX + 8 }; /* "map:KEY" */

/* clang-format off */
static const struct db_word names[] = {
	{ LIMIT_MESSAGES_HOUR, "messages_hour" },
	{ LIMIT_MESSAGES_DAY, "messages_day" },
	{ LIMIT_RECIPIENTS_HOUR, "recipients_hour" },
	{ LIMIT_RECIPIENTS_DAY, "recipients_day" },
	{ LIMIT_NEW_RECIPIENTS_DAY, "new_recipients_day" },
	{ LIMIT_MESSAGE_SIZE, "message_size" },
	{ LIMIT_SESSIONS, "sessions" },
	{ LIMIT_SUSPEND_NEW, "suspend_new_recipients" },
	{ LIMIT_SUSPEND_FAILED, "suspend_failed_recipients" },
	{ LIMIT_SUSPEND_REFUSED, "suspend_refused_messages" },
};
/* clang-format on */

const char *
limit_name(enum limit limit)
{
	return db_word_text(names, LIMITS, limit);
}

int
limit_parse(const char *word, enum limit *limit)
{
	int value;

	if (db_word_parse(names, LIMITS, word, &value) == -1)
		return -1;
	*limit = value;
	return 0;
}

/* The key as the rows have it, "" for none. */
static enum store_rc
fold_key(struct store *st, const char *key, char out[STORE_ACCESS_KEY_MAX + 1])
{
	size_t n = key != NULL ? strlen(key) : 0;

	if (n > STORE_ACCESS_KEY_MAX || (key != NULL && n == 0) ||
	    (key != NULL && !text_is_clean(key)))
		return db_fail(st, STORE_INVALID,
		    "a key of the access map has 1 to %d bytes of one line",
		    STORE_ACCESS_KEY_MAX);
	memcpy(out, key != NULL ? key : "", n + 1);
	db_fold(out);
	return STORE_OK;
}

/* What the row of the audit is about. */
static enum store_rc
name_of(struct store *st, const struct limit_of *of, const char *key,
    char *out, size_t len)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	if (key[0] != '\0' || of->user_id == 0) {
		snprintf(out, len, "%s%s", key[0] != '\0' ? "map:" : "all",
		    key);
		return STORE_OK;
	}
	rc = db_query(st, &stmt,
	    "SELECT user.name || coalesce('/' || device.label, '')"
	    " FROM user LEFT JOIN device ON device.id = ?2"
	    " AND device.user_id = user.id"
	    " WHERE user.id = ?1 AND (?2 = 0 OR device.id IS NOT NULL)",
	    "ii", of->user_id, of->device_id);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK)
		db_text(stmt, 0, out, len);
	db_done(st, stmt);
	if (rc == STORE_NONE)
		db_fail(st, rc, "no such user or device");
	return rc;
}

#define RULE_OF                                                                \
	" WHERE ifnull(user_id, 0) = ? AND ifnull(device_id, 0) = ?"           \
	" AND ifnull(map_key, '') = ? AND name = ?"

enum store_rc
store_limit_set(struct store *st, const struct limit_of *of, enum limit limit,
    int64_t value)
{
	char key[STORE_ACCESS_KEY_MAX + 1], what[LIMIT_OBJECT_MAX], detail[64];
	enum store_rc rc;

	if (value < 0)
		return db_fail(st, STORE_INVALID, "a limit is not negative");
	if ((rc = fold_key(st, of->map_key, key)) != STORE_OK ||
	    (rc = db_write(st)) != STORE_OK)
		return rc;
	rc = name_of(st, of, key, what, sizeof(what));
	if (rc == STORE_OK)
		rc = db_run(st, "DELETE FROM limit_rule" RULE_OF, "iitt",
		    of->user_id, of->device_id, key, limit_name(limit));
	if (rc == STORE_OK)
		rc = db_run(st,
		    "INSERT INTO limit_rule"
		    " (user_id, device_id, map_key, name, value)"
		    " VALUES (?, ?, ?, ?, ?)",
		    "zztti", of->user_id, of->device_id,
		    key[0] != '\0' ? key : NULL, limit_name(limit), value);
	snprintf(detail, sizeof(detail), "%s=%lld", limit_name(limit),
	    (long long)value);
	return db_written(st, rc, "limit set", what, detail);
}

enum store_rc
store_limit_unset(struct store *st, const struct limit_of *of, enum limit limit)
{
	char key[STORE_ACCESS_KEY_MAX + 1], what[LIMIT_OBJECT_MAX];
	enum store_rc rc;

	if ((rc = fold_key(st, of->map_key, key)) != STORE_OK ||
	    (rc = db_write(st)) != STORE_OK)
		return rc;
	rc = name_of(st, of, key, what, sizeof(what));
	if (rc == STORE_OK &&
	    (rc = db_change(st, "DELETE FROM limit_rule" RULE_OF, "iitt",
		 of->user_id, of->device_id, key, limit_name(limit))) ==
		STORE_NONE)
		db_fail(st, rc, "%s has no rule for %s", what,
		    limit_name(limit));
	return db_written(st, rc, "limit unset", what, limit_name(limit));
}

enum store_rc
store_limit_get(
    struct store *st, const struct limit_of *of, struct limits *limits)
{
	char key[STORE_ACCESS_KEY_MAX + 1], name[64 + 1];
	struct limits found;
	sqlite3_stmt *stmt;
	enum limit limit;
	enum store_rc rc;
	int i;

	for (i = 0; i < LIMITS; i++)
		found.v[i] = LIMIT_UNSET;
	if ((rc = fold_key(st, of->map_key, key)) != STORE_OK)
		return rc;
	rc = db_query(st, &stmt,
	    "SELECT name, value FROM limit_rule"
	    " WHERE ifnull(user_id, 0) = ? AND ifnull(map_key, '') = ?"
	    " AND ifnull(device_id, 0) = ?",
	    "iti", of->user_id, key, of->device_id);
	if (rc != STORE_OK)
		return rc;
	while ((rc = db_step(st, stmt)) == STORE_OK) {
		db_text(stmt, 0, name, sizeof(name));
		if (limit_parse(name, &limit) == 0)
			found.v[limit] = sqlite3_column_int64(stmt, 1);
	}
	db_done(st, stmt);
	if (rc != STORE_NONE)
		return rc;
	*limits = found;
	return STORE_OK;
}
