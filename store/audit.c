/*
 * Reading the record of writes; db_written() in db.c makes the rows.
 */
#include "audit.h"
#include "db_private.h"

enum store_rc
store_audit_list(struct store *st, int64_t after, store_audit_cb *cb, void *arg)
{
	struct store_audit row;
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    "SELECT id, at, uid, actor, what, object, detail"
	    " FROM admin_audit WHERE id > ? ORDER BY id",
	    "i", after);
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		row.id = sqlite3_column_int64(stmt, 0);
		row.at = sqlite3_column_int64(stmt, 1);
		row.uid = sqlite3_column_int64(stmt, 2);
		row.actor = (const char *)sqlite3_column_text(stmt, 3);
		row.what = (const char *)sqlite3_column_text(stmt, 4);
		row.object = (const char *)sqlite3_column_text(stmt, 5);
		row.detail = (const char *)sqlite3_column_text(stmt, 6);
		if (cb(&row, arg) != 0)
			break;
	}
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}
