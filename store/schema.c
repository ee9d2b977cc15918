/*
 * Tables of the user store. Strict types, CHECKs and foreign keys make the
 * schema refuse by itself what the functions above it should never send.
 *
 * Times are seconds since 1970. AUTOINCREMENT: an id that was deleted does not
 * come back, so that whoever kept one can't meet another user under it.
 *
 * A schema that was released is never edited: a change is a new step below.
 */
#include <stdio.h>

#include "db_private.h"
#include "schema.h"

/* clang-format off */
static const char step_0[] =
"CREATE TABLE user ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64"
"    AND name NOT GLOB '*[^a-z0-9._@+-]*' AND name NOT GLOB '-*'),"
"  state TEXT NOT NULL DEFAULT 'active'"
"    CHECK (state IN ('active', 'suspended', 'disabled')),"
"  reason TEXT NOT NULL DEFAULT '' CHECK (length(CAST(reason AS BLOB)) <= 200"
"    AND (state <> 'active' OR reason = '')),"
"  auth_policy TEXT NOT NULL DEFAULT 'any'"
"    CHECK (auth_policy IN ('any', 'cert', 'password', 'both')),"
"  password_backend TEXT"
"    CHECK (password_backend IN ('store', 'pam', 'saslauthd')),"
"  mechanisms TEXT CHECK (length(mechanisms) BETWEEN 1 AND 128"
"    AND mechanisms NOT GLOB '*[^A-Z0-9_ -]*'),"
"  created INTEGER NOT NULL CHECK (created >= 0)"
") STRICT;"

/* NOCASE folds ASCII only, and so do we. */
"CREATE TABLE address ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,"
"  pattern TEXT NOT NULL COLLATE NOCASE"
"    CHECK (pattern = '*' OR pattern GLOB '?*@?*' OR pattern GLOB '@?*')"
"    CHECK (length(CAST(pattern AS BLOB)) <= 320),"
"  created INTEGER NOT NULL CHECK (created >= 0),"
"  UNIQUE (user_id, pattern)"
") STRICT;"
"CREATE INDEX address_pattern ON address (pattern);"

/* UNIQUE (id, user_id) lets a credential name both, so that it can't point to
 * the device of another user. */
"CREATE TABLE device ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,"
"  label TEXT NOT NULL CHECK (length(CAST(label AS BLOB)) BETWEEN 1 AND 64),"
"  kind TEXT NOT NULL CHECK (kind IN ('password', 'cert')),"
"  created INTEGER NOT NULL CHECK (created >= 0),"
"  expires INTEGER CHECK (expires > 0),"
"  revoked INTEGER CHECK (revoked > 0),"
"  UNIQUE (id, user_id)"
") STRICT;"
"CREATE UNIQUE INDEX device_label ON device (user_id, label)"
"  WHERE revoked IS NULL;"
"CREATE INDEX device_user ON device (user_id, label);"

"CREATE TABLE credential ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,"
"  device_id INTEGER,"
"  kind TEXT NOT NULL"
"    CHECK (kind IN ('scram-sha-256', 'scram-sha-1', 'crypt')),"
"  record TEXT NOT NULL CHECK (length(CAST(record AS BLOB)) BETWEEN 2 AND 511"
"    AND (kind = 'crypt' OR record GLOB upper(kind) || '$*:*$*:*')),"
"  created INTEGER NOT NULL CHECK (created >= 0),"
"  FOREIGN KEY (device_id, user_id) REFERENCES device (id, user_id)"
"    ON DELETE CASCADE"
") STRICT;"
"CREATE UNIQUE INDEX credential_account ON credential (user_id, kind)"
"  WHERE device_id IS NULL;"
"CREATE UNIQUE INDEX credential_device ON credential (device_id, kind)"
"  WHERE device_id IS NOT NULL;"
"CREATE INDEX credential_user ON credential (user_id);"

"CREATE TABLE certificate ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,"
"  device_id INTEGER,"
"  kind TEXT NOT NULL"
"    CHECK (kind IN ('cert-sha256', 'spki-sha256', 'subject', 'san')),"
"  value TEXT NOT NULL CHECK (length(CAST(value AS BLOB)) BETWEEN 1 AND 1023)"
"    CHECK (kind NOT GLOB '*-sha256'"
"      OR (length(value) = 64 AND value NOT GLOB '*[^0-9a-f]*')),"
"  label TEXT NOT NULL DEFAULT '' CHECK (length(CAST(label AS BLOB)) <= 64),"
"  created INTEGER NOT NULL CHECK (created >= 0),"
"  not_after INTEGER CHECK (not_after > 0),"
"  revoked INTEGER CHECK (revoked > 0),"
"  UNIQUE (kind, value),"
"  FOREIGN KEY (device_id, user_id) REFERENCES device (id, user_id)"
"    ON DELETE CASCADE"
") STRICT;"
"CREATE INDEX certificate_user ON certificate (user_id);"
"CREATE INDEX certificate_device ON certificate (device_id);"

/* lower() folds ASCII only, as makemap does. */
"CREATE TABLE access ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  key TEXT NOT NULL CHECK (key = lower(shown)),"
"  shown TEXT NOT NULL CHECK (length(CAST(shown AS BLOB)) BETWEEN 1 AND 1022"
"    AND shown NOT GLOB '*[' || char(1) || '-' || char(32) || ']*'),"
"  value TEXT NOT NULL CHECK (length(CAST(value AS BLOB)) BETWEEN 1 AND 1022"
"    AND value NOT GLOB '*[' || char(10) || char(13) || ']*'),"
"  source TEXT NOT NULL CHECK (source IN ('cli', 'file')),"
"  line INTEGER CHECK (line > 0),"
"  created INTEGER NOT NULL CHECK (created >= 0),"
"  UNIQUE (key, source),"
"  CHECK ((source = 'file') = (line IS NOT NULL))"
") STRICT;"

/* The default has neither user nor key; a key is one of the access map, for
 * those who may relay by the map alone. */
"CREATE TABLE limit_rule ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  user_id INTEGER REFERENCES user (id) ON DELETE CASCADE,"
"  map_key TEXT CHECK (length(map_key) > 0 AND map_key = lower(map_key)),"
"  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64"
"    AND name NOT GLOB '*[^a-z0-9_]*'),"
"  value INTEGER NOT NULL CHECK (value >= 0),"
"  CHECK (user_id IS NULL OR map_key IS NULL)"
") STRICT;"
"CREATE UNIQUE INDEX limit_rule_once"
"  ON limit_rule (ifnull(user_id, 0), ifnull(map_key, ''), name);"

"CREATE TABLE setting ("
"  name TEXT NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64"
"    AND name NOT GLOB '*[^a-z0-9_.]*'),"
"  value TEXT NOT NULL"
") STRICT, WITHOUT ROWID;"
/* Of it auth makes password records for names that are nobody's: they must
 * not change, or the change would tell them from records of users. */
"INSERT INTO setting (name, value)"
"  VALUES ('login_secret', lower(hex(randomblob(32))));"

"CREATE TABLE admin_audit ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  at INTEGER NOT NULL CHECK (at >= 0),"
"  uid INTEGER NOT NULL CHECK (uid >= 0),"
"  actor TEXT NOT NULL,"
"  what TEXT NOT NULL CHECK (length(what) > 0),"
"  object TEXT NOT NULL,"
"  detail TEXT NOT NULL"
") STRICT;"
"CREATE TRIGGER admin_audit_fixed BEFORE UPDATE ON admin_audit"
"  BEGIN SELECT raise(ABORT, 'audit rows do not change'); END;"

/* The private CA: one row, every serial it gave out, what it took back. The
 * serials outlive their users, since a revocation list must name them. */
"CREATE TABLE ca ("
"  id INTEGER PRIMARY KEY CHECK (id = 1),"
"  subject TEXT NOT NULL,"
"  certificate BLOB NOT NULL,"
"  key_file TEXT NOT NULL,"
"  crl_number INTEGER NOT NULL DEFAULT 0 CHECK (crl_number >= 0),"
"  created INTEGER NOT NULL CHECK (created >= 0)"
") STRICT;"
"CREATE TABLE ca_serial ("
"  serial TEXT NOT NULL PRIMARY KEY CHECK (length(serial) BETWEEN 2 AND 40"
"    AND length(serial) % 2 = 0 AND serial NOT GLOB '*[^0-9a-f]*'),"
"  user_id INTEGER REFERENCES user (id) ON DELETE SET NULL,"
"  subject TEXT NOT NULL,"
"  cert_sha256 TEXT NOT NULL UNIQUE CHECK (length(cert_sha256) = 64"
"    AND cert_sha256 NOT GLOB '*[^0-9a-f]*'),"
"  issued INTEGER NOT NULL CHECK (issued >= 0),"
"  not_after INTEGER NOT NULL CHECK (not_after > issued)"
") STRICT, WITHOUT ROWID;"
"CREATE INDEX ca_serial_user ON ca_serial (user_id);"
/* RFC 5280, 5.3.1; 7 is not used. */
"CREATE TABLE ca_revocation ("
"  serial TEXT NOT NULL PRIMARY KEY REFERENCES ca_serial (serial),"
"  at INTEGER NOT NULL CHECK (at >= 0),"
"  reason INTEGER NOT NULL DEFAULT 0"
"    CHECK (reason BETWEEN 0 AND 10 AND reason <> 7)"
") STRICT, WITHOUT ROWID;";

/* A subject stands for a user together with its issuer: another CA may give
 * the same name to somebody else. No command could add one without. */
static const char step_1[] =
"CREATE TABLE certificate_1 ("
"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
"  user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,"
"  device_id INTEGER,"
"  kind TEXT NOT NULL"
"    CHECK (kind IN ('cert-sha256', 'spki-sha256', 'subject', 'san')),"
"  value TEXT NOT NULL CHECK (length(CAST(value AS BLOB)) BETWEEN 1 AND 1023)"
"    CHECK (kind NOT GLOB '*-sha256'"
"      OR (length(value) = 64 AND value NOT GLOB '*[^0-9a-f]*')),"
"  issuer TEXT NOT NULL DEFAULT ''"
"    CHECK (length(CAST(issuer AS BLOB)) <= 1023"
"      AND (kind = 'subject') = (issuer <> '')),"
"  label TEXT NOT NULL DEFAULT '' CHECK (length(CAST(label AS BLOB)) <= 64),"
"  created INTEGER NOT NULL CHECK (created >= 0),"
"  not_after INTEGER CHECK (not_after > 0),"
"  revoked INTEGER CHECK (revoked > 0),"
"  UNIQUE (kind, value, issuer),"
"  FOREIGN KEY (device_id, user_id) REFERENCES device (id, user_id)"
"    ON DELETE CASCADE"
") STRICT;"
"INSERT INTO certificate_1"
"  (id, user_id, device_id, kind, value, label, created, not_after, revoked)"
"  SELECT id, user_id, device_id, kind, value, label, created, not_after,"
"    revoked FROM certificate WHERE kind <> 'subject';"
/* no id comes back, not even one that was deleted before */
"DELETE FROM sqlite_sequence WHERE name = 'certificate_1';"
"INSERT INTO sqlite_sequence (name, seq)"
"  SELECT 'certificate_1', seq FROM sqlite_sequence"
"  WHERE name = 'certificate';"
"DROP TABLE certificate;"
"ALTER TABLE certificate_1 RENAME TO certificate;"
"CREATE INDEX certificate_user ON certificate (user_id);"
"CREATE INDEX certificate_device ON certificate (device_id);";

/* Limits of single devices. */
static const char step_2[] =
"ALTER TABLE limit_rule ADD COLUMN device_id INTEGER"
"  REFERENCES device (id) ON DELETE CASCADE"
"  CHECK (device_id IS NULL OR user_id IS NOT NULL);"
"DROP INDEX limit_rule_once;"
"CREATE UNIQUE INDEX limit_rule_once ON limit_rule"
"  (ifnull(user_id, 0), ifnull(device_id, 0), ifnull(map_key, ''), name);"
"CREATE INDEX limit_rule_device ON limit_rule (device_id)"
"  WHERE device_id IS NOT NULL;";

/* The highest MT-PRIORITY of a user; NULL: as configured. */
static const char step_3[] =
"ALTER TABLE user ADD COLUMN max_priority INTEGER"
"  CHECK (max_priority BETWEEN 0 AND 9);";
/* clang-format on */

static const char *const steps[] = { step_0, step_1, step_2, step_3 };

int
schema_latest(void)
{
	return (int)(sizeof(steps) / sizeof(steps[0]));
}

const char *
schema_step(int from)
{
	return from >= 0 && from < schema_latest() ? steps[from] : NULL;
}

#define TEXT_OF_(x) #x
#define TEXT_OF(x)  TEXT_OF_(x)
static const char set_application_id[] =
    "PRAGMA application_id = " TEXT_OF(SCHEMA_APPLICATION_ID);

static enum store_rc
read_version(struct store *st, int64_t *version)
{
	return db_int(st, version, "PRAGMA user_version", "");
}

/*
 * Takes one step, unless another process took it while we waited for the
 * lock. `*version` is where the file stands afterwards.
 */
static enum store_rc
migrate_one(struct store *st, int64_t *version)
{
	char pragma[64];
	enum store_rc rc;

	if ((rc = store_begin(st)) != STORE_OK)
		return rc;
	rc = read_version(st, version);
	if (rc == STORE_OK && *version < schema_latest()) {
		snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d",
		    (int)*version + 1);
		if ((rc = db_exec(st, steps[*version])) == STORE_OK &&
		    (rc = db_exec(st, pragma)) == STORE_OK &&
		    (rc = db_exec(st, set_application_id)) == STORE_OK)
			(*version)++;
	}
	if (rc == STORE_OK)
		return store_commit(st);
	store_rollback(st);
	return rc;
}

/* A store has our mark; an empty file is one that nobody has filled yet. */
static enum store_rc
check_mark(struct store *st, int64_t version)
{
	int64_t id = 0, objects = 0;
	enum store_rc rc;

	if ((rc = db_int(st, &id, "PRAGMA application_id", "")) != STORE_OK)
		return rc;
	if (id == SCHEMA_APPLICATION_ID)
		return STORE_OK;
	rc = db_int(st, &objects, "SELECT count(*) FROM sqlite_schema", "");
	if (rc != STORE_OK)
		return rc;
	if (id == 0 && version == 0 && objects == 0)
		return STORE_OK;
	return db_fail(st, STORE_DAMAGED,
	    "an SQLite file, but not a user store of submitd");
}

enum store_rc
schema_prepare(struct store *st)
{
	const int latest = schema_latest();
	int64_t version = 0;
	enum store_rc rc;

	if ((rc = read_version(st, &version)) != STORE_OK ||
	    (rc = check_mark(st, version)) != STORE_OK)
		return rc;
	if (version > latest)
		return db_fail(st, STORE_NEWER,
		    "schema version %d was made by a later submitd; this one "
		    "knows versions up to %d",
		    (int)version, latest);
	if (version < latest && st->mode == STORE_RO)
		return db_fail(st, STORE_OLDER,
		    "schema version %d must be brought to %d first; any "
		    "program that opens the store for writing does so",
		    (int)version, latest);
	while (rc == STORE_OK && version < latest)
		rc = migrate_one(st, &version);
	return rc;
}
