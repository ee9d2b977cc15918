/*
 * Devices of users.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "text.h"
#include "user_private.h"

/* clang-format off */
static const struct db_word kinds[] = {
	{ STORE_DEVICE_PASSWORD, "password" },
	{ STORE_DEVICE_CERT, "cert" },
};
/* clang-format on */
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

const char *
store_device_kind_text(enum store_device_kind kind)
{
	return db_word_text(kinds, NKINDS, kind);
}

int
store_device_kind_parse(const char *word, enum store_device_kind *kind)
{
	int value;

	if (db_word_parse(kinds, NKINDS, word, &value) == -1)
		return -1;
	*kind = value;
	return 0;
}

int
store_label(const char *in, const char **why)
{
	size_t len = strlen(in);

	if (len == 0 || len > STORE_LABEL_MAX)
		*why = "a label has 1 to 64 bytes";
	else if (!text_is_clean(in))
		*why = "a label is UTF-8 text of one line";
	else if (in[0] == ' ' || in[len - 1] == ' ')
		*why = "a label does not begin or end with a blank";
	else
		return 0;
	return -1;
}

enum store_rc
store_device_add(struct store *st, int64_t user_id, const char *label,
    enum store_device_kind kind, int64_t expires, int64_t *id)
{
	char name[STORE_NAME_MAX + 1] = "";
	const char *why;
	enum store_rc rc;

	if (store_label(label, &why) == -1)
		return db_fail(st, STORE_INVALID, "%s", why);
	if (expires < 0)
		return db_fail(st, STORE_INVALID, "bad time of expiry");
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = user_name_by_id(st, user_id, name)) == STORE_OK)
		rc = db_run(st,
		    "INSERT INTO device (user_id, label, kind, created,"
		    " expires) VALUES (?, ?, ?, ?, ?)",
		    "ittiz", user_id, label, store_device_kind_text(kind),
		    (int64_t)time(NULL), expires);
	if (rc == STORE_OK && id != NULL)
		*id = sqlite3_last_insert_rowid(st->db);
	if (rc == STORE_EXISTS)
		db_fail(
		    st, rc, "user %s has a device \"%s\" already", name, label);
	return db_written(st, rc, "device add", name, label);
}

#define DEVICE_SELECT                                                          \
	"SELECT d.id, d.user_id, u.name, d.label, d.kind, d.created,"          \
	" d.expires, d.revoked FROM device d JOIN user u ON u.id = d.user_id"

static enum store_rc
device_from_row(
    struct store *st, sqlite3_stmt *stmt, struct store_device *device)
{
	char word[32];

	device->id = sqlite3_column_int64(stmt, 0);
	device->user_id = sqlite3_column_int64(stmt, 1);
	db_text(stmt, 2, device->user, sizeof(device->user));
	db_text(stmt, 3, device->label, sizeof(device->label));
	db_text(stmt, 4, word, sizeof(word));
	if (store_device_kind_parse(word, &device->kind) == -1)
		return db_fail(st, STORE_DAMAGED,
		    "unknown device kind \"%s\" in a row", word);
	device->created = sqlite3_column_int64(stmt, 5);
	device->expires = sqlite3_column_int64(stmt, 6);
	device->revoked = sqlite3_column_int64(stmt, 7);
	return STORE_OK;
}

static enum store_rc
one_device(struct store *st, enum store_rc rc, sqlite3_stmt *stmt,
    struct store_device *device)
{
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK)
		rc = device_from_row(st, stmt, device);
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_device_get(struct store *st, int64_t user_id, const char *label,
    struct store_device *device)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    DEVICE_SELECT " WHERE d.user_id = ? AND d.label = ?"
			  " ORDER BY d.revoked IS NOT NULL, d.revoked DESC,"
			  " d.id DESC LIMIT 1",
	    "it", user_id, label);
	rc = one_device(st, rc, stmt, device);
	if (rc == STORE_NONE)
		db_fail(st, rc, "no device \"%s\"", label);
	return rc;
}

enum store_rc
store_device_by_id(struct store *st, int64_t id, struct store_device *device)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt, DEVICE_SELECT " WHERE d.id = ?", "i", id);
	rc = one_device(st, rc, stmt, device);
	if (rc == STORE_NONE)
		db_fail(st, rc, "no such device");
	return rc;
}

enum store_rc
store_device_list(
    struct store *st, int64_t user_id, store_device_cb *cb, void *arg)
{
	struct store_device device;
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    DEVICE_SELECT " WHERE ?1 = 0 OR d.user_id = ?1"
			  " ORDER BY u.name, d.label, d.id",
	    "i", user_id);
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		if ((rc = device_from_row(st, stmt, &device)) != STORE_OK)
			break;
		if (cb(&device, arg) != 0)
			break;
	}
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

enum store_rc
store_device_revoke(struct store *st, int64_t id, int64_t when)
{
	struct store_device device = { .user = "" };
	enum store_rc rc;

	if (when <= 0)
		return db_fail(st, STORE_INVALID, "bad time of revocation");
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = store_device_by_id(st, id, &device)) == STORE_OK)
		rc = db_run(st,
		    "UPDATE device SET revoked = ?"
		    " WHERE id = ? AND revoked IS NULL",
		    "ii", when, id);
	return db_written(st, rc, "device revoke", device.user, device.label);
}

static enum store_rc
replace_password(struct store *st, const struct store_device *device,
    const struct store_record *records, size_t n)
{
	enum store_rc rc;

	if (device->kind != STORE_DEVICE_PASSWORD)
		return db_fail(st, STORE_INVALID,
		    "device \"%s\" has a certificate, not a password",
		    device->label);
	if (device->revoked != 0)
		return db_fail(st, STORE_INVALID, "device \"%s\" is revoked",
		    device->label);
	if (n == 0)
		return db_fail(st, STORE_INVALID, "no password record");
	rc = db_run(
	    st, "DELETE FROM credential WHERE device_id = ?", "i", device->id);
	if (rc == STORE_OK)
		rc =
		    records_insert(st, device->user_id, device->id, records, n);
	return rc;
}

enum store_rc
store_device_password(
    struct store *st, int64_t id, const struct store_record *records, size_t n)
{
	struct store_device device = { .user = "" };
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = store_device_by_id(st, id, &device)) == STORE_OK)
		rc = replace_password(st, &device, records, n);
	return db_written(st, rc, "device password", device.user, device.label);
}
