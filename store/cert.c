/*
 * Certificates of users: digests and names that stand for them.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cert.h"
#include "text.h"
#include "user_private.h"

/* clang-format off */
static const struct db_word kinds[] = {
	{ STORE_CERT_SHA256, "cert-sha256" },
	{ STORE_CERT_SPKI, "spki-sha256" },
	{ STORE_CERT_SUBJECT, "subject" },
	{ STORE_CERT_SAN, "san" },
};
/* clang-format on */
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

const char *
store_cert_kind_text(enum store_cert_kind kind)
{
	return db_word_text(kinds, NKINDS, kind);
}

int
store_cert_kind_parse(const char *word, enum store_cert_kind *kind)
{
	int value;

	if (db_word_parse(kinds, NKINDS, word, &value) == -1)
		return -1;
	*kind = value;
	return 0;
}

enum store_cert_state
store_cert_state(const struct store_cert *cert, int64_t now)
{
	if (cert->revoked != 0 || cert->device_revoked != 0)
		return STORE_CERT_REVOKED;
	if ((cert->not_after != 0 && now > cert->not_after) ||
	    (cert->device_expires != 0 && now >= cert->device_expires))
		return STORE_CERT_EXPIRED;
	return STORE_CERT_USABLE;
}

/* What a row is found by: texts as they are compared. */
struct key {
	enum store_cert_kind kind;
	char value[STORE_CERT_VALUE_MAX + 1];
	char issuer[STORE_CERT_VALUE_MAX + 1]; /* "" but for a subject */
};

static enum store_rc
no_value(struct store *st, enum store_cert_kind kind)
{
	return db_fail(st, STORE_INVALID, "not a value of kind %s",
	    store_cert_kind_text(kind));
}

/* A name as the access map has it, where case does not count. */
static enum store_rc
fold_name(struct store *st, const char *what, const char *name,
    char out[STORE_CERT_VALUE_MAX + 1])
{
	size_t len = strlen(name);

	if (len == 0 || len > STORE_CERT_VALUE_MAX || !text_is_clean(name))
		return no_value(st, STORE_CERT_SUBJECT);
	memcpy(out, name, len + 1);
	db_fold(out);
	if (strpbrk(out, " \"()<>") != NULL || out[0] != '/')
		return db_fail(st, STORE_INVALID,
		    "%s is written as in the access map: "
		    "/C=../O=../CN=.., a blank as +20",
		    what);
	return STORE_OK;
}

/* Checks and folds a value. Digests are hex; a san is an e-mail address. */
static enum store_rc
fold_value(struct store *st, enum store_cert_kind kind, const char *value,
    struct key *key)
{
	size_t len = strlen(value);
	const char *why;

	key->kind = kind;
	key->issuer[0] = '\0';
	if (len == 0 || len > STORE_CERT_VALUE_MAX || !text_is_clean(value))
		return no_value(st, kind);
	memcpy(key->value, value, len + 1);
	switch (kind) {
	case STORE_CERT_SHA256:
	case STORE_CERT_SPKI:
		db_fold(key->value);
		if (len != 64 || strspn(key->value, "0123456789abcdef") != len)
			return db_fail(st, STORE_INVALID,
			    "a SHA-256 digest has 64 hex digits");
		break;
	case STORE_CERT_SUBJECT:
		return db_fail(st, STORE_INVALID, "a subject needs its issuer");
	case STORE_CERT_SAN:
		if (store_address_pattern(value, key->value, &why) == -1)
			return db_fail(st, STORE_INVALID, "%s", why);
		db_fold(key->value);
		if (key->value[0] == '@' || key->value[0] == '*')
			return db_fail(
			    st, STORE_INVALID, "a san is one e-mail address");
		break;
	}
	return STORE_OK;
}

static enum store_rc
fold_subject(
    struct store *st, const char *subject, const char *issuer, struct key *key)
{
	enum store_rc rc = fold_name(st, "a subject", subject, key->value);

	key->kind = STORE_CERT_SUBJECT;
	if (rc == STORE_OK)
		rc = fold_name(st, "an issuer", issuer, key->issuer);
	return rc;
}

/* clang-format off */
#define CERT_SELECT                                                           \
	"SELECT c.id, c.user_id, u.name, c.device_id, c.kind, c.value,"       \
	" c.label, c.created, c.not_after, c.revoked, d.expires, d.revoked," \
	" c.issuer, " USER_COLUMNS                                            \
	" FROM certificate c JOIN user u ON u.id = c.user_id"                 \
	" LEFT JOIN device d ON d.id = c.device_id"
/* clang-format on */
#define CERT_NCOLUMNS 13

static enum store_rc
cert_from_row(struct store *st, sqlite3_stmt *stmt, struct store_cert *cert)
{
	char word[32];

	cert->id = sqlite3_column_int64(stmt, 0);
	cert->user_id = sqlite3_column_int64(stmt, 1);
	db_text(stmt, 2, cert->user, sizeof(cert->user));
	cert->device_id = sqlite3_column_int64(stmt, 3);
	db_text(stmt, 4, word, sizeof(word));
	if (store_cert_kind_parse(word, &cert->kind) == -1)
		return db_fail(st, STORE_DAMAGED,
		    "unknown certificate kind \"%s\" in a row", word);
	db_text(stmt, 5, cert->value, sizeof(cert->value));
	db_text(stmt, 6, cert->label, sizeof(cert->label));
	cert->created = sqlite3_column_int64(stmt, 7);
	cert->not_after = sqlite3_column_int64(stmt, 8);
	cert->revoked = sqlite3_column_int64(stmt, 9);
	cert->device_expires = sqlite3_column_int64(stmt, 10);
	cert->device_revoked = sqlite3_column_int64(stmt, 11);
	db_text(stmt, 12, cert->issuer, sizeof(cert->issuer));
	return STORE_OK;
}

static enum store_rc
find(struct store *st, const struct key *key, struct store_cert *cert,
    struct store_user *user)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    CERT_SELECT " WHERE c.kind = ? AND c.value = ? AND c.issuer = ?",
	    "ttt", store_cert_kind_text(key->kind), key->value, key->issuer);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		rc = cert_from_row(st, stmt, cert);
		if (rc == STORE_OK && user != NULL)
			rc = user_from_row(st, stmt, CERT_NCOLUMNS, user);
	} else if (rc == STORE_NONE)
		db_fail(st, rc, "no certificate with this %s",
		    store_cert_kind_text(key->kind));
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_cert_find(struct store *st, enum store_cert_kind kind, const char *value,
    struct store_cert *cert, struct store_user *user)
{
	struct key key;

	if (fold_value(st, kind, value, &key) != STORE_OK)
		return STORE_NONE;
	return find(st, &key, cert, user);
}

enum store_rc
store_cert_find_subject(struct store *st, const char *subject,
    const char *issuer, struct store_cert *cert, struct store_user *user)
{
	struct key key;

	if (fold_subject(st, subject, issuer, &key) != STORE_OK)
		return STORE_NONE;
	return find(st, &key, cert, user);
}

enum store_rc
store_cert_by_id(struct store *st, int64_t id, struct store_cert *cert)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt, CERT_SELECT " WHERE c.id = ?", "i", id);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK)
		rc = cert_from_row(st, stmt, cert);
	else if (rc == STORE_NONE)
		db_fail(st, rc, "no certificate with this id");
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_cert_list(struct store *st, int64_t user_id, store_cert_cb *cb, void *arg)
{
	struct store_cert cert;
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    CERT_SELECT " WHERE ?1 = 0 OR c.user_id = ?1 ORDER BY u.name, c.id",
	    "i", user_id);
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		if ((rc = cert_from_row(st, stmt, &cert)) != STORE_OK)
			break;
		if (cb(&cert, arg) != 0)
			break;
	}
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

/* Who has the value already. */
static enum store_rc
taken(struct store *st, const struct key *key)
{
	struct store_cert other;

	if (find(st, key, &other, NULL) != STORE_OK)
		return db_fail(st, STORE_EXISTS, "mapped already");
	return db_fail(st, STORE_EXISTS, "this %s stands for user %s already%s",
	    key->kind == STORE_CERT_SUBJECT   ? "subject of this issuer"
		: key->kind == STORE_CERT_SAN ? "address"
					      : "certificate",
	    other.user,
	    other.revoked != 0 || other.device_revoked != 0 ? ", revoked" : "");
}

static enum store_rc
check_device(struct store *st, int64_t user_id, int64_t device_id)
{
	struct store_device device;
	enum store_rc rc;

	if (device_id == 0)
		return STORE_OK;
	if ((rc = store_device_by_id(st, device_id, &device)) != STORE_OK)
		return rc;
	if (device.user_id != user_id)
		return db_fail(st, STORE_INVALID,
		    "device \"%s\" belongs to user %s", device.label,
		    device.user);
	if (device.kind != STORE_DEVICE_CERT)
		return db_fail(st, STORE_INVALID,
		    "device \"%s\" has a password, not a certificate",
		    device.label);
	return STORE_OK;
}

/* What a new row has besides its key. */
struct more {
	const char *label;
	int64_t device_id, not_after;
};

static enum store_rc
add(struct store *st, int64_t user_id, const struct key *key,
    const struct more *more, int64_t *id)
{
	const char *label = more->label != NULL ? more->label : "", *why;
	char name[STORE_NAME_MAX + 1] = "";
	enum store_rc rc;

	if (label[0] != '\0' && store_label(label, &why) == -1)
		return db_fail(st, STORE_INVALID, "%s", why);
	if (more->not_after < 0)
		return db_fail(st, STORE_INVALID, "bad end of validity");
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = user_name_by_id(st, user_id, name)) == STORE_OK &&
	    (rc = check_device(st, user_id, more->device_id)) == STORE_OK)
		rc = db_run(st,
		    "INSERT INTO certificate (user_id, device_id, kind,"
		    " value, issuer, label, created, not_after)"
		    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		    "iztttt"
		    "iz",
		    user_id, more->device_id, store_cert_kind_text(key->kind),
		    key->value, key->issuer, label, (int64_t)time(NULL),
		    more->not_after);
	if (rc == STORE_OK && id != NULL)
		*id = sqlite3_last_insert_rowid(st->db);
	if (rc == STORE_EXISTS)
		taken(st, key);
	return db_written(st, rc, "cert add", name, key->value);
}

enum store_rc
store_cert_add(struct store *st, int64_t user_id, int64_t device_id,
    enum store_cert_kind kind, const char *value, const char *label,
    int64_t not_after, int64_t *id)
{
	const struct more more = { label, device_id, not_after };
	enum store_rc rc;
	struct key key;

	if ((rc = fold_value(st, kind, value, &key)) != STORE_OK)
		return rc;
	return add(st, user_id, &key, &more, id);
}

enum store_rc
store_cert_add_subject(struct store *st, int64_t user_id, const char *subject,
    const char *issuer, const char *label, int64_t *id)
{
	const struct more more = { .label = label };
	enum store_rc rc;
	struct key key;

	if ((rc = fold_subject(st, subject, issuer, &key)) != STORE_OK)
		return rc;
	return add(st, user_id, &key, &more, id);
}

enum store_rc
store_cert_revoke(struct store *st, int64_t id, int64_t when)
{
	struct store_cert cert = { .user = "" };
	enum store_rc rc;

	if (when <= 0)
		return db_fail(st, STORE_INVALID, "bad time of revocation");
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = store_cert_by_id(st, id, &cert)) == STORE_OK)
		rc = db_run(st,
		    "UPDATE certificate SET revoked = ?"
		    " WHERE id = ? AND revoked IS NULL",
		    "ii", when, id);
	return db_written(st, rc, "cert revoke", cert.user, cert.value);
}

enum store_rc
store_cert_del(struct store *st, int64_t id)
{
	struct store_cert cert = { .user = "" };
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = store_cert_by_id(st, id, &cert)) == STORE_OK)
		rc =
		    db_run(st, "DELETE FROM certificate WHERE id = ?", "i", id);
	return db_written(st, rc, "cert del", cert.user, cert.value);
}
