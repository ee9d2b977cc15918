/*
 * Users, their addresses and the records of their passwords.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db_private.h"
#include "text.h"
#include "user.h"
#include "user_private.h"

#define N(table) (sizeof(table) / sizeof((table)[0]))

/* clang-format off */
static const struct db_word states[] = {
	{ STORE_USER_ACTIVE, "active" },
	{ STORE_USER_SUSPENDED, "suspended" },
	{ STORE_USER_DISABLED, "disabled" },
};
static const struct db_word policies[] = {
	{ STORE_AUTH_ANY, "any" },
	{ STORE_AUTH_CERT, "cert" },
	{ STORE_AUTH_PASSWORD, "password" },
	{ STORE_AUTH_BOTH, "both" },
};
static const struct db_word backends[] = {
	{ STORE_BACKEND_DEFAULT, "default" },
	{ STORE_BACKEND_STORE, "store" },
	{ STORE_BACKEND_PAM, "pam" },
	{ STORE_BACKEND_SASLAUTHD, "saslauthd" },
};
static const struct db_word cred_kinds[] = {
	{ STORE_CRED_SCRAM_SHA_256, "scram-sha-256" },
	{ STORE_CRED_SCRAM_SHA_1, "scram-sha-1" },
	{ STORE_CRED_CRYPT, "crypt" },
};
/* clang-format on */

const char *
store_user_state_text(enum store_user_state state)
{
	return db_word_text(states, N(states), state);
}

const char *
store_auth_policy_text(enum store_auth_policy policy)
{
	return db_word_text(policies, N(policies), policy);
}

const char *
store_backend_text(enum store_backend backend)
{
	return db_word_text(backends, N(backends), backend);
}

const char *
store_cred_kind_text(enum store_cred_kind kind)
{
	return db_word_text(cred_kinds, N(cred_kinds), kind);
}

int
store_user_state_parse(const char *word, enum store_user_state *state)
{
	int value;

	if (db_word_parse(states, N(states), word, &value) == -1)
		return -1;
	*state = value;
	return 0;
}

int
store_auth_policy_parse(const char *word, enum store_auth_policy *policy)
{
	int value;

	if (db_word_parse(policies, N(policies), word, &value) == -1)
		return -1;
	*policy = value;
	return 0;
}

int
store_backend_parse(const char *word, enum store_backend *backend)
{
	int value;

	if (db_word_parse(backends, N(backends), word, &value) == -1)
		return -1;
	*backend = value;
	return 0;
}

/* Names. */

int
store_user_name(const char *in, char out[STORE_NAME_MAX + 1], const char **why)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789"
				      "._@+-";
	size_t len = strlen(in);

	if (len == 0 || len > STORE_NAME_MAX) {
		*why = "a user name has 1 to 64 characters";
		return -1;
	}
	if (in[0] == '-') {
		*why = "a user name does not begin with \"-\"";
		return -1;
	}
	memcpy(out, in, len + 1);
	db_fold(out);
	if (strspn(out, allowed) != len) {
		*why = "a user name is made of a-z 0-9 . _ @ + -";
		return -1;
	}
	return 0;
}

/* Users. */

static enum store_rc
bad_word(struct store *st, const char *column, const char *word)
{
	return db_fail(
	    st, STORE_DAMAGED, "unknown %s \"%s\" in a row", column, word);
}

enum store_rc
user_from_row(
    struct store *st, sqlite3_stmt *stmt, int col, struct store_user *user)
{
	char word[32];

	user->id = sqlite3_column_int64(stmt, col);
	db_text(stmt, col + 1, user->name, sizeof(user->name));
	db_text(stmt, col + 2, word, sizeof(word));
	if (store_user_state_parse(word, &user->state) == -1)
		return bad_word(st, "state", word);
	db_text(stmt, col + 3, user->reason, sizeof(user->reason));
	db_text(stmt, col + 4, word, sizeof(word));
	if (store_auth_policy_parse(word, &user->policy) == -1)
		return bad_word(st, "policy", word);
	db_text(stmt, col + 5, word, sizeof(word));
	if (store_backend_parse(
		word[0] != '\0' ? word : "default", &user->backend) == -1)
		return bad_word(st, "backend", word);
	db_text(stmt, col + 6, user->mechanisms, sizeof(user->mechanisms));
	user->created = sqlite3_column_int64(stmt, col + 7);
	user->max_priority = STORE_PRIORITY_CONF;
	if (sqlite3_column_type(stmt, col + 8) != SQLITE_NULL)
		user->max_priority = sqlite3_column_int(stmt, col + 8);
	return STORE_OK;
}

enum store_rc
user_name_by_id(struct store *st, int64_t id, char name[STORE_NAME_MAX + 1])
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt, "SELECT name FROM user WHERE id = ?", "i", id);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK)
		db_text(stmt, 0, name, STORE_NAME_MAX + 1);
	else if (rc == STORE_NONE)
		db_fail(st, rc, "no such user");
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_user_add(struct store *st, const char *name, int64_t *id)
{
	char folded[STORE_NAME_MAX + 1];
	const char *why;
	enum store_rc rc;

	if (store_user_name(name, folded, &why) == -1)
		return db_fail(st, STORE_INVALID, "%s", why);
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_run(st, "INSERT INTO user (name, created) VALUES (?, ?)", "ti",
	    folded, (int64_t)time(NULL));
	if (rc == STORE_OK && id != NULL)
		*id = sqlite3_last_insert_rowid(st->db);
	if (rc == STORE_EXISTS)
		db_fail(st, rc, "user %s exists already", folded);
	return db_written(st, rc, "user add", folded, NULL);
}

static enum store_rc
one_user(struct store *st, enum store_rc rc, sqlite3_stmt *stmt,
    struct store_user *user)
{
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK)
		rc = user_from_row(st, stmt, 0, user);
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_user_get(struct store *st, const char *name, struct store_user *user)
{
	char folded[STORE_NAME_MAX + 1];
	sqlite3_stmt *stmt;
	const char *why;
	enum store_rc rc;

	if (store_user_name(name, folded, &why) == -1)
		return db_fail(st, STORE_NONE, "no such user: %s", why);
	rc = db_query(st, &stmt,
	    "SELECT " USER_COLUMNS " FROM user u WHERE u.name = ?", "t",
	    folded);
	rc = one_user(st, rc, stmt, user);
	if (rc == STORE_NONE)
		db_fail(st, rc, "no user %s", folded);
	return rc;
}

enum store_rc
store_user_by_id(struct store *st, int64_t id, struct store_user *user)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    "SELECT " USER_COLUMNS " FROM user u WHERE u.id = ?", "i", id);
	rc = one_user(st, rc, stmt, user);
	if (rc == STORE_NONE)
		db_fail(st, rc, "no such user");
	return rc;
}

enum store_rc
store_user_list(struct store *st, store_user_cb *cb, void *arg)
{
	struct store_user user;
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    "SELECT " USER_COLUMNS " FROM user u ORDER BY u.name", "");
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		if ((rc = user_from_row(st, stmt, 0, &user)) != STORE_OK)
			break;
		if (cb(&user, arg) != 0)
			break;
	}
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

enum store_rc
store_user_del(struct store *st, int64_t id)
{
	char name[STORE_NAME_MAX + 1] = "";
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = user_name_by_id(st, id, name)) == STORE_OK)
		rc = db_run(st, "DELETE FROM user WHERE id = ?", "i", id);
	return db_written(st, rc, "user del", name, NULL);
}

/* One column of a user; `sql` has the parameters ?1 value, ?2 id. */
static enum store_rc
set_column(struct store *st, int64_t id, const char *sql, const char *value,
    const char *what)
{
	char name[STORE_NAME_MAX + 1] = "";
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = user_name_by_id(st, id, name)) == STORE_OK)
		rc = db_run(st, sql, "ti", value, id);
	return db_written(st, rc, what, name, value);
}

enum store_rc
store_user_set_state(struct store *st, int64_t id, enum store_user_state state,
    const char *reason)
{
	const char *word = store_user_state_text(state);
	char name[STORE_NAME_MAX + 1] = "";
	char detail[STORE_REASON_MAX + 32];
	enum store_rc rc;

	if (reason == NULL || state == STORE_USER_ACTIVE)
		reason = "";
	if (strlen(reason) > STORE_REASON_MAX)
		return db_fail(st, STORE_INVALID,
		    "the reason is longer than %d bytes", STORE_REASON_MAX);
	if (!text_is_clean(reason))
		return db_fail(st, STORE_INVALID,
		    "the reason is not plain UTF-8 text of one line");
	snprintf(detail, sizeof(detail), "%s%s%s", word,
	    reason[0] != '\0' ? ": " : "", reason);
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = user_name_by_id(st, id, name)) == STORE_OK)
		rc = db_run(st,
		    "UPDATE user SET state = ?, reason = ? WHERE id = ?", "tti",
		    word, reason, id);
	return db_written(st, rc, "user state", name, detail);
}

enum store_rc
store_user_set_policy(
    struct store *st, int64_t id, enum store_auth_policy policy)
{
	return set_column(st, id,
	    "UPDATE user SET auth_policy = ? WHERE id = ?",
	    store_auth_policy_text(policy), "user policy");
}

enum store_rc
store_user_set_backend(struct store *st, int64_t id, enum store_backend backend)
{
	return set_column(st, id,
	    "UPDATE user SET password_backend = ? WHERE id = ?",
	    backend == STORE_BACKEND_DEFAULT ? NULL
					     : store_backend_text(backend),
	    "user backend");
}

/*
 * Upper case, one blank between. SASL names are A-Z 0-9 - _, at most 20
 * (RFC 4422, 3.1).
 */
static int
fold_mechanisms(const char *in, char out[STORE_MECHS_MAX + 1])
{
	static const char separators[] = " ,";
	size_t used = 0, len;

	for (in += strspn(in, separators); *in != '\0';
	     in += len, in += strspn(in, separators)) {
		len = strcspn(in, separators);
		if (len > 20 || used + 1 + len > STORE_MECHS_MAX)
			return -1;
		if (used > 0)
			out[used++] = ' ';
		for (size_t i = 0; i < len; i++) {
			char c = in[i];

			if (c >= 'a' && c <= 'z')
				c = (char)(c - 'a' + 'A');
			if (!(c >= 'A' && c <= 'Z') &&
			    !(c >= '0' && c <= '9') && c != '-' && c != '_')
				return -1;
			out[used++] = c;
		}
	}
	out[used] = '\0';
	return 0;
}

enum store_rc
store_user_set_mechanisms(struct store *st, int64_t id, const char *mechanisms)
{
	char folded[STORE_MECHS_MAX + 1];

	if (fold_mechanisms(mechanisms != NULL ? mechanisms : "", folded) == -1)
		return db_fail(st, STORE_INVALID,
		    "not a list of SASL mechanisms (at most %d bytes)",
		    STORE_MECHS_MAX);
	return set_column(st, id, "UPDATE user SET mechanisms = ? WHERE id = ?",
	    folded[0] != '\0' ? folded : NULL, "user mechanisms");
}

enum store_rc
store_user_set_priority(struct store *st, int64_t id, int most)
{
	char digit[2] = { (char)('0' + most), '\0' };

	if (most < STORE_PRIORITY_CONF || most > 9)
		return db_fail(st, STORE_INVALID,
		    "the highest priority is a number from 0 to 9");
	return set_column(st, id,
	    "UPDATE user SET max_priority = CAST(?1 AS INTEGER) WHERE id = ?2",
	    most != STORE_PRIORITY_CONF ? digit : NULL, "user priority");
}

/* Addresses. */

/* RFC 5321 Dot-string with the UTF-8 of RFC 6531. */
static const char *
bad_local(const char *local, size_t len)
{
	static const char atext[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "!#$%&'*+-/=?^_`{|}~";

	if (len > 64)
		return "the part before the @ is longer than 64 bytes";
	for (size_t i = 0; i < len; i++) {
		if (local[i] == '.') {
			if (i == 0 || i == len - 1 || local[i - 1] == '.')
				return "a dot stands first, last or beside "
				       "another before the @";
		} else if ((local[i] & 0x80) == 0 &&
		    strchr(atext, local[i]) == NULL)
			return "a character before the @ is not allowed in "
			       "an address";
	}
	return NULL;
}

/* LDH labels, or an address literal. */
static const char *
bad_domain(const char *domain)
{
	static const char ldh[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t len = strlen(domain), n;

	if (len == 0 || len > 255)
		return "the domain has 1 to 255 bytes";
	if (domain[0] == '[') {
		n = 1 + strspn(domain + 1, "0123456789abcdef.:ipv");
		if (n < 4 || domain[n] != ']' || domain[n + 1] != '\0')
			return "the address literal is not closed by \"]\" "
			       "or holds more than an address";
		return NULL;
	}
	for (;; domain += n + 1) {
		n = strspn(domain, ldh);
		if (domain[n] & 0x80)
			return "an international domain is written in its "
			       "xn-- form";
		if (domain[n] != '.' && domain[n] != '\0')
			return "a domain is made of letters, digits, \"-\" "
			       "and dots";
		if (n == 0 || n > 63 || domain[0] == '-' ||
		    domain[n - 1] == '-')
			return "a label of the domain is empty, longer than "
			       "63 bytes, or begins or ends with \"-\"";
		if (domain[n] == '\0')
			return NULL;
	}
}

int
store_address_pattern(
    const char *in, char out[STORE_ADDRESS_MAX + 1], const char **why)
{
	size_t len = strlen(in);
	char *at;

	if (len == 0 || len > STORE_ADDRESS_MAX) {
		*why = "an address has 1 to 320 bytes";
		return -1;
	}
	memcpy(out, in, len + 1);
	if (strcmp(in, "*") == 0)
		return 0;
	if (!text_is_clean(in)) {
		*why = "it is not UTF-8, or it has control characters in it";
		return -1;
	}
	if ((at = strrchr(out, '@')) == NULL) {
		*why = "it has no @ (a whole domain is written @domain)";
		return -1;
	}
	if (at == out + 1 && out[0] == '*') {
		*why = "a whole domain is written @domain";
		return -1;
	}
	db_fold(at + 1);
	if ((*why = bad_local(out, (size_t)(at - out))) != NULL ||
	    (*why = bad_domain(at + 1)) != NULL)
		return -1;
	return 0;
}

enum store_rc
store_address_add(struct store *st, int64_t user_id, const char *pattern)
{
	char folded[STORE_ADDRESS_MAX + 1], name[STORE_NAME_MAX + 1] = "";
	const char *why;
	enum store_rc rc;

	if (store_address_pattern(pattern, folded, &why) == -1)
		return db_fail(st, STORE_INVALID, "%s", why);
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = user_name_by_id(st, user_id, name)) == STORE_OK)
		rc = db_run(st,
		    "INSERT INTO address (user_id, pattern, created)"
		    " VALUES (?, ?, ?)",
		    "iti", user_id, folded, (int64_t)time(NULL));
	if (rc == STORE_EXISTS)
		db_fail(st, rc, "user %s owns %s already", name, folded);
	return db_written(st, rc, "address add", name, folded);
}

enum store_rc
store_address_del(struct store *st, int64_t user_id, const char *pattern)
{
	char name[STORE_NAME_MAX + 1] = "";
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = user_name_by_id(st, user_id, name)) == STORE_OK) {
		rc = db_change(st,
		    "DELETE FROM address WHERE user_id = ? AND pattern = ?",
		    "it", user_id, pattern);
		if (rc == STORE_NONE)
			db_fail(
			    st, rc, "user %s has no address %s", name, pattern);
	}
	return db_written(st, rc, "address del", name, pattern);
}

#define ADDRESS_SELECT                                                         \
	"SELECT a.user_id, u.name, a.pattern, a.created"                       \
	" FROM address a JOIN user u ON u.id = a.user_id"

/* Calls back for each row, then ends the statement. */
static enum store_rc
each_address(struct store *st, enum store_rc rc, sqlite3_stmt *stmt,
    store_address_cb *cb, void *arg)
{
	struct store_address row;

	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		row.user_id = sqlite3_column_int64(stmt, 0);
		db_text(stmt, 1, row.user, sizeof(row.user));
		db_text(stmt, 2, row.pattern, sizeof(row.pattern));
		row.created = sqlite3_column_int64(stmt, 3);
		if (cb(&row, arg) != 0)
			break;
	}
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

enum store_rc
store_address_list(
    struct store *st, int64_t user_id, store_address_cb *cb, void *arg)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    ADDRESS_SELECT " WHERE ?1 = 0 OR a.user_id = ?1"
			   " ORDER BY u.name, a.pattern",
	    "i", user_id);
	return each_address(st, rc, stmt, cb, arg);
}

enum store_rc
store_address_owners(
    struct store *st, const char *address, store_address_cb *cb, void *arg)
{
	sqlite3_stmt *stmt;
	enum store_rc rc;

	if (address[0] == '@' || strchr(address, '@') == NULL)
		return STORE_OK;
	rc = db_query(st, &stmt,
	    ADDRESS_SELECT " WHERE a.pattern = ? ORDER BY u.name", "t",
	    address);
	return each_address(st, rc, stmt, cb, arg);
}

enum store_rc
store_user_owns(
    struct store *st, int64_t user_id, const char *address, bool *owns)
{
	const char *at = strrchr(address, '@');
	int64_t found = 0;
	enum store_rc rc;

	*owns = false;
	if (at == NULL || at == address || at[1] == '\0')
		return STORE_OK;
	/* The column's NOCASE folds ASCII letters. */
	rc = db_int(st, &found,
	    "SELECT EXISTS (SELECT 1 FROM address WHERE user_id = ?"
	    " AND pattern IN ('*', ?, ?))",
	    "itt", user_id, at, address);
	if (rc == STORE_OK)
		*owns = found != 0;
	return rc;
}

/* Passwords. */

/* Whether [p, end) is the base64 of exactly `bytes` bytes. */
static bool
is_base64_of(const char *p, const char *end, size_t bytes)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = (size_t)(end - p), pad = (3 - bytes % 3) % 3;

	return len == (bytes + 2) / 3 * 4 && strspn(p, digits) == len - pad &&
	    strncmp(p + len - pad, "==", pad) == 0;
}

static bool
is_base64(const char *p, const char *end)
{
	size_t len = (size_t)(end - p), pad = 0;

	if (len == 0 || len % 4 != 0)
		return false;
	if (end[-1] == '=')
		pad = end[-2] == '=' ? 2 : 1;
	return is_base64_of(p, end, len / 4 * 3 - pad);
}

/* `head`$iterations:salt$StoredKey:ServerKey with keys of keylen bytes. */
static bool
is_scram(const char *text, const char *head, size_t keylen)
{
	const char *salt, *stored, *server, *p = text + strlen(head);
	char *end;
	unsigned long n;

	if (strncmp(text, head, strlen(head)) != 0 || *p < '1' || *p > '9')
		return false;
	n = strtoul(p, &end, 10);
	/* The upper end keeps a record from stopping whoever checks it. */
	if (n > 10 * 1000 * 1000 || *end != ':')
		return false;
	salt = end + 1;
	if ((stored = strchr(salt, '$')) == NULL ||
	    (server = strchr(stored, ':')) == NULL)
		return false;
	return is_base64(salt, stored) &&
	    is_base64_of(stored + 1, server, keylen) &&
	    is_base64_of(server + 1, server + strlen(server), keylen);
}

static bool
is_crypt(const char *text)
{
	size_t len = strlen(text);

	/* No hash of crypt(3) is shorter than that of DES, and "*" or "!"
	 * begin the texts that mean "no password". */
	if (len < 13 || text[0] == '*' || text[0] == '!')
		return false;
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text > '~' || *text == ':')
			return false;
	return true;
}

static bool
record_is_valid(const struct store_record *record)
{
	if (strlen(record->text) > STORE_RECORD_MAX)
		return false;
	switch (record->kind) {
	case STORE_CRED_SCRAM_SHA_256:
		return is_scram(record->text, "SCRAM-SHA-256$", 32);
	case STORE_CRED_SCRAM_SHA_1:
		return is_scram(record->text, "SCRAM-SHA-1$", 20);
	case STORE_CRED_CRYPT:
		return is_crypt(record->text);
	}
	return false;
}

enum store_rc
records_insert(struct store *st, int64_t user_id, int64_t device_id,
    const struct store_record *records, size_t n)
{
	enum store_rc rc = STORE_OK;

	for (size_t i = 0; i < n && rc == STORE_OK; i++) {
		const char *kind = store_cred_kind_text(records[i].kind);

		if (!record_is_valid(&records[i]))
			return db_fail(st, STORE_INVALID,
			    "not a password record of kind %s", kind);
		rc = db_run(st,
		    "INSERT INTO credential"
		    " (user_id, device_id, kind, record, created)"
		    " VALUES (?, ?, ?, ?, ?)",
		    "iztti", user_id, device_id, kind, records[i].text,
		    (int64_t)time(NULL));
		if (rc == STORE_EXISTS)
			return db_fail(st, STORE_INVALID,
			    "two password records of kind %s", kind);
	}
	return rc;
}

enum store_rc
store_password_set(struct store *st, int64_t user_id,
    const struct store_record *records, size_t n)
{
	char name[STORE_NAME_MAX + 1] = "";
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = user_name_by_id(st, user_id, name)) == STORE_OK)
		rc = db_run(st,
		    "DELETE FROM credential"
		    " WHERE user_id = ? AND device_id IS NULL",
		    "i", user_id);
	if (rc == STORE_OK)
		rc = records_insert(st, user_id, 0, records, n);
	return db_written(
	    st, rc, n > 0 ? "user password" : "user no-password", name, NULL);
}

static enum store_rc
cred_from_row(struct store *st, sqlite3_stmt *stmt, struct store_cred *cred)
{
	char word[32];
	int kind;

	cred->id = sqlite3_column_int64(stmt, 0);
	cred->user_id = sqlite3_column_int64(stmt, 1);
	cred->device_id = sqlite3_column_int64(stmt, 2);
	db_text(stmt, 3, word, sizeof(word));
	if (db_word_parse(cred_kinds, N(cred_kinds), word, &kind) == -1)
		return bad_word(st, "kind", word);
	cred->kind = kind;
	db_text(stmt, 4, cred->record, sizeof(cred->record));
	cred->created = sqlite3_column_int64(stmt, 5);
	cred->expires = sqlite3_column_int64(stmt, 6);
	cred->revoked = sqlite3_column_int64(stmt, 7);
	return STORE_OK;
}

enum store_rc
store_cred_list(struct store *st, int64_t user_id, store_cred_cb *cb, void *arg)
{
	struct store_cred cred;
	sqlite3_stmt *stmt;
	enum store_rc rc;

	rc = db_query(st, &stmt,
	    "SELECT c.id, c.user_id, c.device_id, c.kind, c.record,"
	    " c.created, d.expires, d.revoked"
	    " FROM credential c LEFT JOIN device d ON d.id = c.device_id"
	    " WHERE c.user_id = ? ORDER BY c.device_id, c.id",
	    "i", user_id);
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		if ((rc = cred_from_row(st, stmt, &cred)) != STORE_OK)
			break;
		if (cb(&cred, arg) != 0)
			break;
	}
	explicit_bzero(&cred, sizeof(cred));
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

bool
store_cred_usable(const struct store_cred *cred, int64_t now)
{
	return cred->revoked == 0 &&
	    (cred->expires == 0 || now < cred->expires);
}
