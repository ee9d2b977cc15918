/*
 * Password records made anew: see renew.h.
 */
#include "renew.h"

#include "user_private.h"

static enum store_rc
has_record(
    struct store *st, int64_t user_id, int64_t device_id, const char *record)
{
	int64_t n = 0;
	enum store_rc rc;

	rc = db_int(st, &n,
	    "SELECT count(*) FROM credential WHERE user_id = ?"
	    " AND ifnull(device_id, 0) = ? AND record = ?",
	    "iit", user_id, device_id, record);
	if (rc == STORE_OK && n == 0)
		return db_fail(st, STORE_NONE, "the password was changed");
	return rc;
}

enum store_rc
store_password_renew(struct store *st, const char *user, int64_t device_id,
    const char *old, const struct store_record *records, size_t n)
{
	struct store_user u = { .name = "" };
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = store_user_get(st, user, &u)) == STORE_OK &&
	    (rc = has_record(st, u.id, device_id, old)) == STORE_OK &&
	    (rc = db_run(st,
		 "DELETE FROM credential WHERE user_id = ?"
		 " AND ifnull(device_id, 0) = ?",
		 "ii", u.id, device_id)) == STORE_OK)
		rc = records_insert(st, u.id, device_id, records, n);
	return db_written(st, rc, "password renew", u.name, NULL);
}
