/*
 * Looking like users: see lookalike.h. Both questions are asked rarely: for
 * names that are nobody's, and when the store has changed.
 */
#include "lookalike.h"

#include <stdio.h>
#include <string.h>

#include "text.h"
#include "user_private.h"

/* clang-format off */
/* SCRAM-SHA-256$ITERATIONS:SALT$...: `head` is what is before the second "$".
 * Base64 has three bytes in four letters, but for its "=". */
static const char shapes_sql[] =
"WITH"
" may AS (SELECT id FROM user WHERE state <> 'disabled'"
"  AND ifnull(password_backend, 'store') = 'store'),"
" own AS (SELECT user_id, record FROM credential"
"  WHERE kind = ?1 AND device_id IS NULL AND user_id IN may),"
" lone AS (SELECT c.user_id, min(c.record) FROM credential c"
"  JOIN device d ON d.id = c.device_id WHERE c.kind = ?1"
"  AND d.revoked IS NULL AND c.user_id IN may"
"  AND c.user_id NOT IN (SELECT user_id FROM credential"
"   WHERE device_id IS NULL) GROUP BY c.user_id HAVING count(*) = 1),"
" shown AS (SELECT * FROM own UNION ALL SELECT * FROM lone),"
" tail AS (SELECT substr(record, instr(record, '$') + 1) AS text FROM shown),"
" head AS (SELECT substr(text, 1, instr(text, '$') - 1) AS text FROM tail),"
" parts AS (SELECT CAST(text AS INTEGER) AS iterations,"
"  substr(text, instr(text, ':') + 1) AS salt FROM head),"
" lacking AS (SELECT DISTINCT user_id FROM credential"
"  WHERE device_id IS NULL AND user_id IN may"
"  AND user_id NOT IN (SELECT user_id FROM own))"
" SELECT 0, 0, count(*) FROM lacking HAVING count(*) > 0"
" UNION ALL SELECT iterations,"
"  length(salt) / 4 * 3 - length(salt) + length(rtrim(salt, '=')), count(*)"
"  FROM parts GROUP BY 1, 2 ORDER BY 1, 2";
/* clang-format on */

enum store_rc
store_lookalike_shapes(
    struct store *st, enum store_cred_kind kind, store_shape_cb *cb, void *arg)
{
	struct store_shape shape;
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt, shapes_sql, "t", store_cred_kind_text(kind));
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		shape.iterations = (unsigned)sqlite3_column_int64(stmt, 0);
		shape.salt_len = (unsigned)sqlite3_column_int64(stmt, 1);
		shape.users = sqlite3_column_int64(stmt, 2);
		if (cb(&shape, arg) != 0)
			break;
	}
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

static enum store_rc
first_user(struct store *st, const char *sql_row_is_user, const char *local,
    struct store_user *user)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt, sql_row_is_user, "t", local);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK)
		rc = user_from_row(st, stmt, 0, user);
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_lookalike_user(
    struct store *st, const char *local, struct store_user *user)
{
	char folded[STORE_NAME_MAX + 1];
	enum store_rc rc;

	if (local[0] == '\0' || strlen(local) > STORE_NAME_MAX ||
	    !text_is_clean(local))
		return STORE_NONE;
	strcpy(folded, local);
	db_fold(folded);
	rc = store_user_get(st, folded, user);
	/* "A" is the character behind "@" */
	if (rc == STORE_NONE)
		rc = first_user(st,
		    "SELECT " USER_COLUMNS " FROM user u"
		    " WHERE u.name > ?1 || '@' AND u.name < ?1 || 'A'"
		    " ORDER BY u.id LIMIT 1",
		    folded, user);
	if (rc == STORE_NONE)
		rc = first_user(st,
		    "SELECT " USER_COLUMNS " FROM address a"
		    " JOIN user u ON u.id = a.user_id"
		    " WHERE a.pattern > ?1 || '@' AND a.pattern < ?1 || 'a'"
		    " AND substr(a.pattern, length(?1) + 1, 1) = '@'"
		    " ORDER BY u.id LIMIT 1",
		    folded, user);
	return rc;
}
