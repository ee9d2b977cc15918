/*
 * Looking like users: see lookalike.h. Both questions are asked rarely: for
 * names that are nobody's, and when the store has changed. Records are taken
 * apart here, since SQL takes ten times as long.
 */
#include "lookalike.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "user_private.h"

/* Who logs in by a password of this store. */
#define MAY_LOG_IN                                                             \
	"u.state <> 'disabled' AND ifnull(u.password_backend, 'store') = 'store'"

enum { SHAPES_MAX = 64 }; /* seldom more than two; others are left out */

struct shapes {
	struct store_shape v[SHAPES_MAX];
	size_t n;
};

static int
order(const struct store_shape *a, const struct store_shape *b)
{
	if (a->iterations != b->iterations)
		return a->iterations < b->iterations ? -1 : 1;
	return a->salt_len < b->salt_len ? -1 : a->salt_len > b->salt_len;
}

static void
count(struct shapes *s, const struct store_shape *one)
{
	size_t i = 0;

	while (i < s->n && order(&s->v[i], one) < 0)
		i++;
	if (i < s->n && order(&s->v[i], one) == 0) {
		s->v[i].users += one->users;
		return;
	}
	if (s->n == SHAPES_MAX)
		return;
	memmove(&s->v[i + 1], &s->v[i], (s->n - i) * sizeof(s->v[0]));
	s->v[i] = *one;
	s->n++;
}

/* MECHANISM$ITERATIONS:SALT$...: base64 has three bytes in four letters, but
 * for its "=". */
static void
count_record(struct shapes *s, const char *record)
{
	struct store_shape one = { .users = 1 };
	const char *p = strchr(record, '$');
	char *salt;
	size_t len;

	if (p == NULL)
		return;
	one.iterations = (unsigned)strtoul(p + 1, &salt, 10);
	if (one.iterations == 0 || *salt++ != ':')
		return;
	len = strcspn(salt, "$");
	one.salt_len = (unsigned)(len / 4 * 3 - (len - strcspn(salt, "=$")));
	count(s, &one);
}

static enum store_rc
count_rows(
    struct store *st, const char *sql, const char *kind, struct shapes *s)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt, sql, "t", kind);
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK)
		count_record(s, (const char *)sqlite3_column_text(stmt, 0));
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

static enum store_rc
count_all(struct store *st, const char *kind, struct shapes *s)
{
	struct store_shape none = { .iterations = 0 };
	enum store_rc rc;

	rc = count_rows(st,
	    "SELECT c.record FROM credential c JOIN user u ON u.id = c.user_id"
	    " WHERE c.kind = ? AND c.device_id IS NULL AND " MAY_LOG_IN,
	    kind, s);
	if (rc == STORE_OK)
		rc = count_rows(st,
		    "SELECT min(c.record) FROM credential c"
		    " JOIN device d ON d.id = c.device_id"
		    " JOIN user u ON u.id = c.user_id"
		    " WHERE c.kind = ? AND d.revoked IS NULL AND " MAY_LOG_IN
		    " AND NOT EXISTS (SELECT 1 FROM credential o"
		    "  WHERE o.user_id = c.user_id AND o.device_id IS NULL)"
		    " GROUP BY c.user_id HAVING count(*) = 1",
		    kind, s);
	if (rc == STORE_OK)
		rc = db_int(st, &none.users,
		    "SELECT count(DISTINCT c.user_id) FROM credential c"
		    " JOIN user u ON u.id = c.user_id"
		    " WHERE c.device_id IS NULL AND c.kind <> ?1"
		    " AND " MAY_LOG_IN
		    " AND NOT EXISTS (SELECT 1 FROM credential o"
		    "  WHERE o.user_id = c.user_id AND o.device_id IS NULL"
		    "  AND o.kind = ?1)",
		    "t", kind);
	if (rc == STORE_OK && none.users > 0)
		count(s, &none);
	return rc;
}

enum store_rc
store_lookalike_shapes(
    struct store *st, enum store_cred_kind kind, store_shape_cb *cb, void *arg)
{
	struct shapes s = { .n = 0 };
	enum store_rc rc = count_all(st, store_cred_kind_text(kind), &s);

	for (size_t i = 0; rc == STORE_OK && i < s.n; i++)
		if (cb(&s.v[i], arg) != 0)
			break;
	return rc;
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
