/*
 * The private CA's certificate, serials and revocations.
 */
#include "ca.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "db_private.h"

static enum store_rc
put_ca(struct store *st, const char *subject, const unsigned char *certificate,
    size_t len, const char *key_file)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    "INSERT INTO ca (id, subject, key_file, created, certificate)"
	    " VALUES (1, ?1, ?2, ?3, ?4)"
	    " ON CONFLICT (id) DO UPDATE SET subject = ?1, key_file = ?2,"
	    " created = ?3, certificate = ?4",
	    "tti", subject, key_file, (int64_t)time(NULL));
	if (rc == STORE_OK &&
	    sqlite3_bind_blob(stmt, 4, certificate, (int)len, SQLITE_STATIC) !=
		SQLITE_OK)
		rc = db_error(st);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_NONE)
		rc = STORE_OK;
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_ca_set(struct store *st, const char *subject,
    const unsigned char *certificate, size_t len, const char *key_file)
{
	enum store_rc rc;

	if (len == 0 || len > STORE_CA_CERT_MAX)
		return db_fail(st, STORE_INVALID,
		    "a CA's certificate has 1 to %d bytes", STORE_CA_CERT_MAX);
	if (strlen(subject) > STORE_CA_SUBJECT_MAX ||
	    strlen(key_file) > STORE_CA_FILE_MAX)
		return db_fail(st, STORE_INVALID, "name or file is too long");
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = put_ca(st, subject, certificate, len, key_file);
	return db_written(st, rc, "ca init", subject, key_file);
}

enum store_rc
store_ca_get(struct store *st, struct store_ca *ca)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;
	int len;

	rc = db_query(st, &stmt,
	    "SELECT subject, key_file, crl_number, created, certificate"
	    " FROM ca",
	    "");
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		db_text(stmt, 0, ca->subject, sizeof(ca->subject));
		db_text(stmt, 1, ca->key_file, sizeof(ca->key_file));
		ca->crl_number = sqlite3_column_int64(stmt, 2);
		ca->created = sqlite3_column_int64(stmt, 3);
		len = sqlite3_column_bytes(stmt, 4);
		if (len < 1 || (size_t)len > sizeof(ca->certificate))
			rc = db_fail(st, STORE_DAMAGED,
			    "the CA's certificate has %d bytes", len);
		else {
			ca->certificate_len = (size_t)len;
			memcpy(ca->certificate, sqlite3_column_blob(stmt, 4),
			    (size_t)len);
		}
	} else if (rc == STORE_NONE)
		db_fail(st, rc, "there is no CA");
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_ca_issued(struct store *st, const char *serial, int64_t user_id,
    const char *subject, const char *cert_sha256, int64_t not_after)
{
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_run(st,
	    "INSERT INTO ca_serial (serial, user_id, subject, cert_sha256,"
	    " issued, not_after) VALUES (?, ?, ?, ?, ?, ?)",
	    "tzttii", serial, user_id, subject, cert_sha256,
	    (int64_t)time(NULL), not_after);
	if (rc == STORE_EXISTS)
		db_fail(st, rc, "this serial was given out already");
	return db_written(st, rc, "ca issue", subject, serial);
}

/* The statement that was run put so many rows into ca_revocation. */
static enum store_rc
revoked(struct store *st, enum store_rc rc, const char *object, int64_t *n)
{
	int64_t changed = rc == STORE_OK ? sqlite3_changes64(st->db) : 0;
	char detail[32];

	if (n != NULL)
		*n = changed;
	if (rc == STORE_OK && changed == 0)
		return db_unwritten(st);
	snprintf(detail, sizeof(detail), "%lld", (long long)changed);
	return db_written(st, rc, "ca revoke", object, detail);
}

#define INTO_REVOCATION                                                        \
	"INSERT OR IGNORE INTO ca_revocation (serial, at, reason)"             \
	" SELECT serial, ?1, ?2 FROM ca_serial WHERE "

enum store_rc
store_ca_revoke_device(struct store *st, int64_t device_id, int64_t at,
    enum store_ca_reason reason, int64_t *n)
{
	char object[32];
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_run(st,
	    INTO_REVOCATION "cert_sha256 IN (SELECT value FROM certificate"
			    " WHERE device_id = ?3 AND kind = 'cert-sha256')",
	    "iii", at, (int64_t)reason, device_id);
	snprintf(object, sizeof(object), "device %lld", (long long)device_id);
	return revoked(st, rc, object, n);
}

enum store_rc
store_ca_revoke_user(struct store *st, int64_t user_id, int64_t at,
    enum store_ca_reason reason, int64_t *n)
{
	char object[32];
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_run(st, INTO_REVOCATION "user_id = ?3", "iii", at,
	    (int64_t)reason, user_id);
	snprintf(object, sizeof(object), "user %lld", (long long)user_id);
	return revoked(st, rc, object, n);
}

enum store_rc
store_ca_revoke_cert(struct store *st, const char *cert_sha256, int64_t at,
    enum store_ca_reason reason, int64_t *n)
{
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_run(st, INTO_REVOCATION "cert_sha256 = ?3", "iit", at,
	    (int64_t)reason, cert_sha256);
	return revoked(st, rc, cert_sha256, n);
}

enum store_rc
store_ca_revoked_list(struct store *st, int64_t now, store_ca_cb *cb, void *arg)
{
	struct store_ca_revoked row;
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    "SELECT r.serial, r.at, r.reason FROM ca_revocation r"
	    " JOIN ca_serial s ON s.serial = r.serial"
	    " WHERE s.not_after >= ? ORDER BY r.serial",
	    "i", now);
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		db_text(stmt, 0, row.serial, sizeof(row.serial));
		row.at = sqlite3_column_int64(stmt, 1);
		row.reason = sqlite3_column_int(stmt, 2);
		if (cb(&row, arg) != 0)
			break;
	}
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

enum store_rc
store_ca_next_crl(struct store *st, int64_t *number)
{
	char detail[32] = "";
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_change(st, "UPDATE ca SET crl_number = crl_number + 1", "");
	if (rc == STORE_NONE)
		db_fail(st, rc, "there is no CA");
	if (rc == STORE_OK)
		rc = db_int(st, number, "SELECT crl_number FROM ca", "");
	if (rc == STORE_OK)
		snprintf(detail, sizeof(detail), "%lld", (long long)*number);
	return db_written(st, rc, "ca crl", "", detail);
}
