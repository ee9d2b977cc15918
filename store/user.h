/*
 * Users of the store, the addresses they own, and their passwords' records.
 * The general rules are in db.h.
 */
#ifndef STORE_USER_H
#define STORE_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db.h"

#define STORE_NAME_MAX    64  /* bytes of a user name */
#define STORE_REASON_MAX  200 /* bytes of the reason of a suspension */
#define STORE_MECHS_MAX   128 /* bytes of a list of mechanisms */
#define STORE_ADDRESS_MAX 320 /* bytes of an address: 64 + @ + 255 */
#define STORE_RECORD_MAX  511 /* bytes of a password's record */

enum store_user_state {
	STORE_USER_ACTIVE,
	STORE_USER_SUSPENDED, /* for a reason, expected to come back */
	STORE_USER_DISABLED   /* closed */
};

/* How a user must prove who they are. */
enum store_auth_policy {
	STORE_AUTH_ANY,      /* a certificate or a password */
	STORE_AUTH_CERT,     /* a certificate; passwords are not taken */
	STORE_AUTH_PASSWORD, /* a password; certificates are not taken */
	STORE_AUTH_BOTH      /* certificate and password of the same user */
};

/* Who checks the user's password. */
enum store_backend {
	STORE_BACKEND_DEFAULT, /* as the configuration says */
	STORE_BACKEND_STORE,
	STORE_BACKEND_PAM,
	STORE_BACKEND_SASLAUTHD
};

#define STORE_PRIORITY_CONF (-1) /* as the configuration says */

struct store_user {
	int64_t id;
	char name[STORE_NAME_MAX + 1]; /* folded to lower case */
	enum store_user_state state;
	char reason[STORE_REASON_MAX + 1]; /* "" if none was given */
	enum store_auth_policy policy;
	enum store_backend backend;
	char mechanisms[STORE_MECHS_MAX + 1]; /* separated by one blank; ""
					       * allows what is configured */
	int64_t created;
	int max_priority; /* 0 to 9 (RFC 6710), or STORE_PRIORITY_CONF */
};

/* The words of the enums ("active", "both", "saslauthd", "default"). */
const char *store_user_state_text(enum store_user_state state);
const char *store_auth_policy_text(enum store_auth_policy policy);
const char *store_backend_text(enum store_backend backend);
/* The reverse; -1 for an unknown word. */
int store_user_state_parse(const char *word, enum store_user_state *state);
int store_auth_policy_parse(const char *word, enum store_auth_policy *policy);
int store_backend_parse(const char *word, enum store_backend *backend);

/*
 * The one place that says what a user name is: 1 to 64 of a-z 0-9 . _ @ + -,
 * not beginning with "-"; upper case is folded. Writes the folded name, or
 * returns -1 and sets *why to a static sentence.
 */
int store_user_name(
    const char *in, char out[STORE_NAME_MAX + 1], const char **why);

/* STORE_INVALID: not a name; STORE_EXISTS. `id` may be NULL. */
enum store_rc store_user_add(struct store *st, const char *name, int64_t *id);

/* By name in any case. STORE_NONE also for what can't be a name at all. */
enum store_rc store_user_get(
    struct store *st, const char *name, struct store_user *user);
enum store_rc store_user_by_id(
    struct store *st, int64_t id, struct store_user *user);

/* All users, ordered by name. */
typedef int store_user_cb(const struct store_user *user, void *arg);
enum store_rc store_user_list(struct store *st, store_user_cb *cb, void *arg);

/* Deletes the user with all addresses, devices, passwords, certificates. */
enum store_rc store_user_del(struct store *st, int64_t id);

/* `reason` may be NULL; an active user has none. STORE_NONE: no such id. */
enum store_rc store_user_set_state(struct store *st, int64_t id,
    enum store_user_state state, const char *reason);
enum store_rc store_user_set_policy(
    struct store *st, int64_t id, enum store_auth_policy policy);
enum store_rc store_user_set_backend(
    struct store *st, int64_t id, enum store_backend backend);
/* Names of mechanisms with blanks or commas between; "" or NULL: no list. */
enum store_rc store_user_set_mechanisms(
    struct store *st, int64_t id, const char *mechanisms);
/* STORE_INVALID: out of range. */
enum store_rc store_user_set_priority(struct store *st, int64_t id, int most);

/*
 * Addresses. A pattern is an address `local@domain`, all of a domain
 * `@domain`, or `*` for every address. Parent domains are not implied.
 * Several users may own the same address.
 */
struct store_address {
	int64_t user_id;
	char user[STORE_NAME_MAX + 1];
	char pattern[STORE_ADDRESS_MAX + 1]; /* the domain in lower case */
	int64_t created;
};

/*
 * The one place that says what a pattern is. The local part is a dot-string
 * of RFC 5321 (UTF-8 allowed, RFC 6531), the domain is made of LDH labels
 * (an international one in its xn-- form) or is an address literal. Writes
 * the pattern with its domain folded, or returns -1 and sets *why.
 */
int store_address_pattern(
    const char *in, char out[STORE_ADDRESS_MAX + 1], const char **why);

/* STORE_INVALID: malformed; STORE_EXISTS; STORE_NONE: no such user. */
enum store_rc store_address_add(
    struct store *st, int64_t user_id, const char *pattern);
/* STORE_NONE: the user does not own this very pattern. */
enum store_rc store_address_del(
    struct store *st, int64_t user_id, const char *pattern);

/* Of one user, or of all with user_id 0; ordered by user, then pattern. */
typedef int store_address_cb(const struct store_address *address, void *arg);
enum store_rc store_address_list(
    struct store *st, int64_t user_id, store_address_cb *cb, void *arg);

/*
 * All users that own this very address, not only by `@domain` or `*`;
 * compared as in store_user_owns().
 */
enum store_rc store_address_owners(
    struct store *st, const char *address, store_address_cb *cb, void *arg);

/*
 * Whether the user may send as `address` (no angle brackets): one of the
 * user's patterns matches it. ASCII letters match in either case, on both
 * sides of the @. RFC 5321, 2.4 leaves the case of a local part to its host,
 * but phones capitalise the first letter of what people type, and no known
 * provider gives Ann@ and ann@ to different people: an exact comparison
 * would only refuse people their own address. A quoted local part is
 * compared as it stands. The null sender (""), and whatever is no address,
 * is owned by nobody, not even by `*`.
 */
enum store_rc store_user_owns(
    struct store *st, int64_t user_id, const char *address, bool *owns);

/*
 * Passwords. Only a record is stored from which the password can't be read:
 *   scram-sha-256  SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey
 *   scram-sha-1    SCRAM-SHA-1$iterations:salt$StoredKey:ServerKey
 *   crypt          a text of crypt(3)
 * A user has one account password (which may be kept in several kinds) and
 * one more for each device that got its own.
 */
enum store_cred_kind {
	STORE_CRED_SCRAM_SHA_256,
	STORE_CRED_SCRAM_SHA_1,
	STORE_CRED_CRYPT
};

struct store_record {
	enum store_cred_kind kind;
	const char *text;
};

struct store_cred {
	int64_t id;
	int64_t user_id;
	int64_t device_id; /* 0: the account password */
	enum store_cred_kind kind;
	char record[STORE_RECORD_MAX + 1];
	int64_t created;
	int64_t expires; /* the device's; 0: never */
	int64_t revoked; /* the device's; 0: not revoked */
};

const char *store_cred_kind_text(enum store_cred_kind kind);

/*
 * Makes the records the user's account password, in place of all there were;
 * n = 0 leaves the user without one. At most one record of a kind.
 * STORE_NONE: no such user; STORE_INVALID: not a record of its kind.
 */
enum store_rc store_password_set(struct store *st, int64_t user_id,
    const struct store_record *records, size_t n);

/*
 * All records of a user: the account password's first, then the devices' by
 * id. Expired and revoked ones are included; see store_cred_usable(). The row
 * is wiped after the callback returns.
 */
typedef int store_cred_cb(const struct store_cred *cred, void *arg);
enum store_rc store_cred_list(
    struct store *st, int64_t user_id, store_cred_cb *cb, void *arg);

/* Neither revoked nor expired at the time `now`. */
bool store_cred_usable(const struct store_cred *cred, int64_t now);

#endif
