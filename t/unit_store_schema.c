/*
 * store/schema.c: every migration, and what the tables refuse by themselves.
 */
#include "unit_store_fixture.h"

#include <sqlite3.h>
#include <string.h>

#include "store/cert.h"
#include "store/schema.h"

static void
run_sql(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

static sqlite3 *
open_raw(const char *path)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	run_sql(db, "PRAGMA foreign_keys = ON");
	return db;
}

/* All CREATE statements of a file, in one text. */
static char *
dump(const char *path)
{
	sqlite3 *db = open_raw(path);
	sqlite3_stmt *stmt;
	char *text;

	assert_int_equal(
	    sqlite3_prepare_v2(db,
		"SELECT group_concat(sql, char(10)) FROM (SELECT sql FROM"
		" sqlite_schema WHERE sql IS NOT NULL ORDER BY name)",
		-1, &stmt, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	text = strdup((const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return text;
}

/* A file as a program of schema version `version` has left it. */
static void
make_version(const char *path, int version)
{
	sqlite3 *db = open_raw(path);
	char pragma[128];

	for (int from = 0; from < version; from++)
		run_sql(db, schema_step(from));
	if (version > 0) {
		snprintf(pragma, sizeof(pragma),
		    "PRAGMA user_version = %d; PRAGMA application_id = %d",
		    version, SCHEMA_APPLICATION_ID);
		run_sql(db, pragma);
	} else {
		run_sql(db, "VACUUM"); /* a file with a header, no tables */
	}
	sqlite3_close(db);
}

static void
test_migrations(void **state)
{
	struct fixture *fx = *state;
	char *fresh = dump(fx->path), *migrated;
	struct store *st;
	char path[128];

	snprintf(path, sizeof(path), "%s/old.db", fx->dir);
	for (int version = 0; version < schema_latest(); version++) {
		make_version(path, version);
		if (store_open(path, STORE_RO, &st) != STORE_OLDER)
			fail_msg("version %d: a reader took it", version);
		store_close(&st);
		if (store_open(path, STORE_RW, &st) != STORE_OK)
			fail_msg("version %d: %s", version, store_errtext(st));
		store_close(&st);
		migrated = dump(path);
		assert_string_equal(migrated, fresh);
		free(migrated);
		if (store_open(path, STORE_RO, &st) != STORE_OK)
			fail_msg("version %d: %s", version, store_errtext(st));
		store_close(&st);
		unlink(path);
	}
	free(fresh);
	assert_null(schema_step(schema_latest()));
	assert_null(schema_step(-1));
}

/* What a store of the first version has must be there afterwards. */
static void
test_rows_survive(void **state)
{
	struct fixture *fx = *state;
	struct store_cert cert;
	struct store *st;
	char path[128];
	sqlite3 *db;
	int64_t id;

	snprintf(path, sizeof(path), "%s/old.db", fx->dir);
	make_version(path, 1);
	db = open_raw(path);
	run_sql(db,
	    "INSERT INTO user (id, name, created) VALUES (1, 'ann', 1);"
	    "INSERT INTO certificate (id, user_id, kind, value, label, created,"
	    " not_after) VALUES (3, 1, 'san', 'a@b.c', 'mine', 1, 9),"
	    " (4, 1, 'san', 'd@b.c', '', 1, NULL);"
	    "DELETE FROM certificate WHERE id = 4");
	sqlite3_close(db);
	assert_int_equal(store_open(path, STORE_RW, &st), STORE_OK);
	assert_int_equal(store_cert_by_id(st, 3, &cert), STORE_OK);
	assert_string_equal(cert.value, "a@b.c");
	assert_string_equal(cert.label, "mine");
	assert_string_equal(cert.issuer, "");
	assert_int_equal(cert.not_after, 9);
	assert_int_equal(
	    store_cert_add(st, 1, 0, STORE_CERT_SAN, "e@b.c", NULL, 0, &id),
	    STORE_OK);
	assert_int_equal(id, 5);
	store_close(&st);
	unlink(path);
}

static void
test_newer(void **state)
{
	struct fixture *fx = *state;
	struct store *st;
	char pragma[64];
	sqlite3 *db = open_raw(fx->path);

	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d",
	    schema_latest() + 1);
	run_sql(db, pragma);
	sqlite3_close(db);
	assert_int_equal(store_open(fx->path, STORE_RW, &st), STORE_NEWER);
	assert_non_null(strstr(store_errtext(st), "later submitd"));
	store_close(&st);
	assert_int_equal(store_open(fx->path, STORE_RO, &st), STORE_NEWER);
	store_close(&st);
}

static void
test_foreign_file(void **state)
{
	struct fixture *fx = *state;
	struct store *st;
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/old.db", fx->dir);
	db = open_raw(path);
	run_sql(db, "CREATE TABLE user (id INTEGER PRIMARY KEY)");
	sqlite3_close(db);
	assert_int_equal(store_open(path, STORE_RW, &st), STORE_DAMAGED);
	assert_non_null(strstr(store_errtext(st), "not a user store"));
	store_close(&st);
	unlink(path);
}

static void
test_secrets_are_overwritten(void **state)
{
	struct fixture *fx = *state;
	static char content[1 << 20];
	size_t len;
	FILE *f;

	assert_rc(fx, store_setting_set(fx->st, "x", "needle-in-a-haystack"),
	    STORE_OK);
	assert_rc(fx, store_setting_set(fx->st, "x", "gone"), STORE_OK);
	store_close(&fx->st);
	assert_non_null(f = fopen(fx->path, "r"));
	len = fread(content, 1, sizeof(content), f);
	fclose(f);
	/* The audit row has the value; the setting's old cell must not. */
	char *first = memmem(content, len, "needle-in-a-haystack", 20);
	assert_non_null(first);
	assert_null(memmem(first + 1, len - (size_t)(first + 1 - content),
	    "needle-in-a-haystack", 20));
}

#define HEX64  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define RECORD "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"

/* clang-format off */
static const char base[] =
	"INSERT INTO user (id, name, created) VALUES (1, 'ann', 1), (2, 'bo', 1);"
	"INSERT INTO device (id, user_id, label, kind, created)"
	"  VALUES (1, 1, 'phone', 'password', 1);"
	"INSERT INTO address (user_id, pattern, created) VALUES (1, 'a@b.c', 1);"
	"INSERT INTO certificate (user_id, kind, value, created)"
	"  VALUES (1, 'cert-sha256', '" HEX64 "', 1);"
	"INSERT INTO credential (user_id, kind, record, created)"
	"  VALUES (1, 'scram-sha-256', '" RECORD "', 1);"
	"INSERT INTO access (key, shown, value, source, created)"
	"  VALUES ('to:x', 'To:x', 'RELAY', 'cli', 1);"
	"INSERT INTO limit_rule (name, value) VALUES ('rcpts_per_day', 100);"
	"INSERT INTO limit_rule (user_id, name, value) VALUES (1, 'rcpts_per_day', 5);"
	"INSERT INTO admin_audit (at, uid, actor, what, object, detail)"
	"  VALUES (1, 0, '', 'x', '', '');"
	"INSERT INTO ca_serial (serial, user_id, subject, cert_sha256, issued, not_after)"
	"  VALUES ('0a', 2, '/CN=x', '" HEX64 "', 1, 2);";

static const struct {
	const char *name;
	const char *sql;
} refused[] = {
	{ "user name in upper case",
	  "INSERT INTO user (name, created) VALUES ('Ann', 1)" },
	{ "user name with a blank",
	  "INSERT INTO user (name, created) VALUES ('a b', 1)" },
	{ "user name begins with -",
	  "INSERT INTO user (name, created) VALUES ('-a', 1)" },
	{ "empty user name",
	  "INSERT INTO user (name, created) VALUES ('', 1)" },
	{ "user name twice",
	  "INSERT INTO user (name, created) VALUES ('ann', 1)" },
	{ "unknown state", "UPDATE user SET state = 'asleep'" },
	{ "active with a reason", "UPDATE user SET reason = 'spam'" },
	{ "unknown policy", "UPDATE user SET auth_policy = 'none'" },
	{ "unknown backend", "UPDATE user SET password_backend = 'ldap'" },
	{ "empty list of mechanisms", "UPDATE user SET mechanisms = ''" },
	{ "text as a time", "UPDATE user SET created = 'today'" },
	{ "address of nobody",
	  "INSERT INTO address (user_id, pattern, created) VALUES (9, 'a@b', 1)" },
	{ "address without @",
	  "INSERT INTO address (user_id, pattern, created) VALUES (1, 'ab', 1)" },
	{ "address in another case twice",
	  "INSERT INTO address (user_id, pattern, created) VALUES (1, 'A@B.C', 1)" },
	{ "device label twice",
	  "INSERT INTO device (user_id, label, kind, created)"
	  " VALUES (1, 'phone', 'cert', 1)" },
	{ "unknown device kind",
	  "INSERT INTO device (user_id, label, kind, created)"
	  " VALUES (1, 'tv', 'magic', 1)" },
	{ "second account password of a kind",
	  "INSERT INTO credential (user_id, kind, record, created)"
	  " VALUES (1, 'scram-sha-256', '" RECORD "', 1)" },
	{ "record of another kind",
	  "INSERT INTO credential (user_id, kind, record, created)"
	  " VALUES (2, 'scram-sha-1', '" RECORD "', 1)" },
	{ "credential at the device of another user",
	  "INSERT INTO credential (user_id, device_id, kind, record, created)"
	  " VALUES (2, 1, 'scram-sha-256', '" RECORD "', 1)" },
	{ "certificate at the device of another user",
	  "INSERT INTO certificate (user_id, device_id, kind, value, created)"
	  " VALUES (2, 1, 'san', 'b@b', 1)" },
	{ "certificate twice",
	  "INSERT INTO certificate (user_id, kind, value, created)"
	  " VALUES (2, 'cert-sha256', '" HEX64 "', 1)" },
	{ "subject without its issuer",
	  "INSERT INTO certificate (user_id, kind, value, created)"
	  " VALUES (2, 'subject', '/cn=bo', 1)" },
	{ "digest with an issuer",
	  "UPDATE certificate SET issuer = '/cn=x'" },
	{ "short digest",
	  "INSERT INTO certificate (user_id, kind, value, created)"
	  " VALUES (2, 'spki-sha256', 'abcd', 1)" },
	{ "digest in upper case",
	  "INSERT INTO certificate (user_id, kind, value, created)"
	  " VALUES (2, 'spki-sha256', upper('" HEX64 "'), 1)" },
	{ "access key not folded",
	  "INSERT INTO access (key, shown, value, source, created)"
	  " VALUES ('To:y', 'To:y', 'RELAY', 'cli', 1)" },
	{ "access key with a blank",
	  "INSERT INTO access (key, shown, value, source, created)"
	  " VALUES ('to: y', 'to: y', 'RELAY', 'cli', 1)" },
	{ "access value of two lines",
	  "UPDATE access SET value = 'a' || char(10) || 'b'" },
	{ "file row without a line",
	  "INSERT INTO access (key, shown, value, source, created)"
	  " VALUES ('to:y', 'to:y', 'RELAY', 'file', 1)" },
	{ "cli row with a line", "UPDATE access SET line = 3" },
	{ "access key twice in one source",
	  "INSERT INTO access (key, shown, value, source, created)"
	  " VALUES ('to:x', 'to:x', 'OK', 'cli', 1)" },
	{ "default limit twice",
	  "INSERT INTO limit_rule (name, value) VALUES ('rcpts_per_day', 1)" },
	{ "limit of user and key at once",
	  "INSERT INTO limit_rule (user_id, map_key, name, value)"
	  " VALUES (1, 'x', 'a', 1)" },
	{ "negative limit", "UPDATE limit_rule SET value = -1" },
	{ "changed audit row", "UPDATE admin_audit SET what = 'y'" },
	{ "revoked serial nobody gave out",
	  "INSERT INTO ca_revocation (serial, at) VALUES ('0b', 1)" },
	{ "revocation reason 7",
	  "INSERT INTO ca_revocation (serial, at, reason) VALUES ('0a', 1, 7)" },
	{ "odd number of hex digits in a serial",
	  "UPDATE ca_serial SET serial = 'abc'" },
	{ "second private CA",
	  "INSERT INTO ca (id, subject, certificate, key_file, created)"
	  " VALUES (2, 'x', x'00', 'k', 1)" },
};
/* clang-format on */

static void
test_constraints(void **state)
{
	struct fixture *fx = *state;
	sqlite3 *db = open_raw(fx->path);

	run_sql(db, base);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		int rc = sqlite3_exec(db, refused[i].sql, NULL, NULL, NULL);

		if (rc != SQLITE_CONSTRAINT)
			fail_msg("%s: result %d (%s)", refused[i].name, rc,
			    sqlite3_errmsg(db));
	}
	/* Who goes takes everything along but the serials. */
	run_sql(db, "DELETE FROM user");
	static const char left[] =
	    "SELECT (SELECT count(*) FROM address) + (SELECT count(*) FROM"
	    " device) + (SELECT count(*) FROM credential) + (SELECT count(*)"
	    " FROM certificate) + (SELECT count(*) FROM limit_rule WHERE"
	    " user_id IS NOT NULL) + 10 * (SELECT count(*) FROM ca_serial"
	    " WHERE user_id IS NULL)";
	sqlite3_stmt *stmt;
	assert_int_equal(
	    sqlite3_prepare_v2(db, left, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(stmt, 0), 10);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_migrations),
		FIXTURE_TEST(test_rows_survive),
		FIXTURE_TEST(test_newer),
		FIXTURE_TEST(test_foreign_file),
		FIXTURE_TEST(test_secrets_are_overwritten),
		FIXTURE_TEST(test_constraints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
