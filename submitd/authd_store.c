/*
 * What auth asks the user store: accounts for logins, owners of
 * certificates, rows of the access map.  Nothing read is kept past a change
 * of the store, but for the cache of passwords, which ends with it.
 */
#include <sys/random.h>

#include <event2/event.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "addrowner.h"
#include "auth/certowner.h"
#include "authd.h"
#include "facts.h"
#include "log.h"
#include "store/access.h"
#include "store/cert.h"
#include "store/device.h"
#include "store/lookalike.h"

enum {
	REPAIR_EVERY_MS = 5000,
	WARN_EVERY_MS = 1000,
	/* The lock is kept so long: a writer waits for it, and nothing that
	 * was read can change meanwhile. */
	HOLD_MS = 5,
	SHAPES_REST = 100 /* see read_shapes() */
};

/* ---- the store as a whole ---- */

static void
ask_for_repair(void)
{
	int64_t now = authd_now_ms();

	if (A.repair_ms != 0 && now - A.repair_ms < REPAIR_EVERY_MS)
		return;
	A.repair_ms = now;
	log_warn(
	    "store", "error=%s action=%s", store_errtext(A.store), "repair");
	if (A.setup->parent != NULL)
		ipc_send(A.setup->parent, M_REPAIR, 0, NULL);
}

static void
warn(enum store_rc rc)
{
	static int64_t last_ms;
	int64_t now = authd_now_ms();

	if (last_ms != 0 && now - last_ms < WARN_EVERY_MS)
		return;
	last_ms = now;
	log_warn("store", "rc=%s error=%s", store_rc_name(rc),
	    store_errtext(A.store));
}

/* Notes a failure; true if rc is none. */
static bool
fine(enum store_rc rc)
{
	if (rc == STORE_OK || rc == STORE_NONE)
		return true;
	if (rc == STORE_READONLY_HOT || rc == STORE_OLDER)
		ask_for_repair();
	else
		warn(rc);
	return false;
}

/* What is kept of the access map. */
struct map_view {
	struct keyset keys;
	unsigned relays; /* POLICY_RELAYS_* */
	struct m_server_rules rules;
};

static int
note_row(const struct store_access *row, void *arg)
{
	struct map_view *m = arg;

	keyset_add(&m->keys, row->key);
	m->relays |= facts_relays(row->key, row->value);
	authd_rules_add(&m->rules, row);
	return 0;
}

/* For records of users who do not exist: the same in every worker. */
static void
read_secret(void)
{
	unsigned char secret[32];
	char hex[2 * sizeof(secret) + 1];
	unsigned octet;
	size_t i;

	if (store_setting_get(A.store, "login_secret", hex, sizeof(hex)) !=
		STORE_OK ||
	    strlen(hex) != 2 * sizeof(secret))
		return;
	for (i = 0; i < sizeof(secret); i++) {
		if (sscanf(hex + 2 * i, "%2x", &octet) != 1)
			return;
		secret[i] = (unsigned char)octet;
	}
	sasl_global_secret(secret);
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(hex, sizeof(hex));
}

/* Each question about a mail begins with its user. */
enum store_rc
authd_user_get(const char *name, struct store_user *u)
{
	const struct store_user *known = memo_get(&A.users, name);
	enum store_rc rc;

	if (known != NULL) {
		*u = *known;
		return STORE_OK;
	}
	rc = store_user_get(A.store, name, u);
	if (rc == STORE_OK)
		memo_put(&A.users, name, u, sizeof(*u));
	return rc;
}

/* What users show by SCRAM; of the shapes those that go out of use first. */
struct shapes {
	struct sasl_shape v[SASL_SHAPES_MAX];
	size_t n;
	bool sha1;
	struct sasl_shape last; /* as records are made now */
};

static int
note_shape(const struct store_shape *s, void *arg)
{
	struct shapes *all = arg;
	const struct sasl_shape shape = { .sha1 = all->sha1,
		.iterations = s->iterations,
		.salt_len = s->salt_len,
		.users = (uint64_t)s->users };

	if (s->iterations == (unsigned)A.setup->conf.scram_iterations &&
	    s->salt_len == SCRAM_SALT_LEN)
		all->last = shape;
	else if (all->n < SASL_SHAPES_MAX - 2) /* of both digests: the last */
		all->v[all->n++] = shape;
	return 0;
}

static int64_t
cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* With many users it takes some 20 ms: then not after each of many changes,
 * but when it has been done a hundred times as long ago. */
static void
read_shapes(void)
{
	static const enum store_cred_kind kinds[] = { STORE_CRED_SCRAM_SHA_256,
		STORE_CRED_SCRAM_SHA_1 };
	struct shapes all = { .n = 0 };
	int64_t now = authd_now_ms(), began = cpu_us();
	size_t i;

	if (now < A.shapes.next_ms)
		return;
	for (i = 0; i < (A.wants_sha1 ? 2 : 1); i++) {
		all.sha1 = kinds[i] == STORE_CRED_SCRAM_SHA_1;
		all.last.users = 0;
		if (!fine(store_lookalike_shapes(
			A.store, kinds[i], note_shape, &all)))
			return;
		if (all.last.users > 0)
			all.v[all.n++] = all.last;
	}
	sasl_global_shapes(all.v, all.n);
	A.shapes.version = A.version;
	A.shapes.next_ms = now + SHAPES_REST * (cpu_us() - began) / 1000;
}

enum store_rc
authd_limits_get(const char *sender, int64_t user_id, int64_t device,
    const struct userlimit **limits)
{
	char key[sizeof(((struct policy_verdict *)0)->relay_as) + 32];
	struct userlimit found;
	struct store_user u;
	enum store_rc rc = STORE_OK;

	snprintf(key, sizeof(key), "%lld %s", (long long)device, sender);
	if ((*limits = memo_get(&A.limits, key)) != NULL)
		return STORE_OK;
	if (user_id == 0 && !userlimit_is_map(sender)) { /* map_relay_user */
		rc = authd_user_get(sender, &u);
		user_id = rc == STORE_OK ? u.id : 0;
	}
	if (rc == STORE_OK)
		rc = userlimit_get(A.store, &A.setup->conf.limit, sender,
		    user_id, device, &found);
	if (rc != STORE_OK)
		return rc;
	memo_put(&A.limits, key, &found, sizeof(found));
	*limits = memo_get(&A.limits, key);
	return STORE_OK;
}

static bool
take_change(uint64_t version)
{
	struct map_view map = { 0 };

	if (!fine(store_access_list(A.store, NULL, note_row, &map))) {
		keyset_clear(&map.keys);
		return false;
	}
	memo_clear(&A.users);
	memo_clear(&A.owned);
	memo_clear(&A.limits);
	keyset_clear(&A.map_keys);
	A.map_keys = map.keys;
	A.map_relays = map.relays;
	authd_rules_set(&map.rules);
	passcache_wipe(A.cache);
	read_secret();
	if (A.have_version) /* sessions are looked at outside of a decision */
		authd_recheck_soon();
	A.version = version;
	A.have_version = true;
	read_shapes();
	return true;
}

static enum store_rc
reopen(void)
{
	store_close(&A.store);
	return store_open(A.setup->conf.users_db, STORE_RO, &A.store);
}

static void
release_later(void)
{
	static const struct timeval tv = { .tv_usec = HOLD_MS * 1000 };

	if (!event_pending(A.release, EV_TIMEOUT, NULL))
		event_add(A.release, &tv);
}

bool
authd_store_ready(void)
{
	enum store_rc rc;
	uint64_t version;

	rc = store_hold(A.store, &version);
	if (rc != STORE_OK) {
		/* a handle that never opened stays closed */
		rc = reopen();
		if (rc == STORE_OK)
			rc = store_hold(A.store, &version);
		if (rc == STORE_NONE) /* the file is gone */
			warn(rc);
		if (rc != STORE_OK) {
			fine(rc);
			return false;
		}
		A.have_version = false;
		authd_recheck_soon();
	}
	release_later();
	if (!A.have_version || version != A.version)
		return take_change(version);
	if (A.shapes.version != A.version)
		read_shapes();
	return true;
}

int
authd_store_start(char *err, size_t errlen)
{
	enum store_rc rc =
	    store_open(A.setup->conf.users_db, STORE_RO, &A.store);

	switch (rc) {
	case STORE_OK:
	case STORE_BUSY:
	case STORE_READONLY_HOT: /* parent repairs it */
		authd_store_ready();
		return 0;
	default:
		snprintf(err, errlen, "users_db: %s: %s, expected %s",
		    A.setup->conf.users_db, store_errtext(A.store),
		    rc == STORE_NONE ? "a user store: submitctl init makes one"
				     : "a user store that user_auth can read");
		return -1;
	}
}

/* ---- accounts for logins ---- */

static enum sasl_user
resolve(void *arg, const char *name, char out[SASL_USER_MAX + 1])
{
	struct certowner_only only = { 0 };
	struct store_user u;
	enum store_rc rc;

	(void)arg;
	rc = authd_user_get(name, &u);
	if (rc == STORE_OK) {
		memcpy(out, u.name, strlen(u.name) + 1);
		return SASL_USER_FOUND;
	}
	if (rc == STORE_NONE && strchr(name, '@') != NULL)
		rc = certowner_only(A.store, name, &only);
	if (!fine(rc))
		return SASL_USER_TEMP;
	if (only.users != 1)
		return SASL_USER_UNKNOWN;
	memcpy(out, only.user, strlen(only.user) + 1);
	return SASL_USER_FOUND;
}

/* Mechanisms this user may log in by; 0 means any. */
static uint32_t
allowed_mechs(const struct store_user *u)
{
	/* no mechanism has it: a list of unknown words allows nothing */
	uint32_t mask = u->mechanisms[0] != '\0' ? 1u << 31 : ~0u;
	char list[STORE_MECHS_MAX + 1], *word, *rest = list;

	memcpy(list, u->mechanisms, sizeof(list));
	while ((word = strsep(&rest, " ")) != NULL)
		mask |= sasl_mech_bit(word);
	if (u->policy == STORE_AUTH_CERT)
		mask &= (uint32_t)SASL_MECH_EXTERNAL | 1u << 31;
	else if (u->policy == STORE_AUTH_PASSWORD ||
	    u->policy == STORE_AUTH_BOTH)
		/* with both, a login by EXTERNAL would be the only one there
		 * can be, and no password could follow */
		mask &= ~(uint32_t)SASL_MECH_EXTERNAL;
	return mask;
}

bool
authd_takes_external(const char *name)
{
	struct store_user u;

	return authd_user_get(name, &u) == STORE_OK &&
	    (allowed_mechs(&u) & SASL_MECH_EXTERNAL) != 0;
}

/* Who checks this user's password; NULL stands for names of nobody. */
static enum store_backend
backend_of(const struct store_user *u)
{
	if (u != NULL && u->backend != STORE_BACKEND_DEFAULT)
		return u->backend;
	switch (A.setup->conf.password_backend) {
	case BACKEND_PAM:
		return STORE_BACKEND_PAM;
	case BACKEND_SASLAUTHD:
		return STORE_BACKEND_SASLAUTHD;
	default:
		return STORE_BACKEND_STORE;
	}
}

/* What of the records of a user counts. */
struct records {
	struct sasl_account *account;
	bool own; /* the account's password, not only those of devices */
};

static int
add_cred(const struct store_cred *c, void *arg)
{
	const struct records *r = arg;

	if (store_cred_usable(c, time(NULL)) && (r->own || c->device_id != 0))
		sasl_account_add(r->account, c->device_id, c->record);
	return 0;
}

/* A suspended user logs in, and hears the reason at MAIL. */
static enum sasl_user
lookup(void *arg, const char *user, struct sasl_account *out)
{
	struct records records = { .account = out };
	struct store_user u;
	enum store_rc rc;

	(void)arg;
	rc = authd_user_get(user, &u);
	if (rc == STORE_OK) {
		/* a password that others judge is not judged here, too */
		records.own = backend_of(&u) == STORE_BACKEND_STORE;
		rc = store_cred_list(A.store, u.id, add_cred, &records);
	}
	if (!fine(rc))
		return SASL_USER_TEMP;
	if (rc == STORE_NONE)
		return SASL_USER_UNKNOWN;
	out->mechs = allowed_mechs(&u);
	return u.state == STORE_USER_DISABLED ? SASL_USER_DISABLED
					      : SASL_USER_FOUND;
}

static enum sasl_user
alike(void *arg, const char *name, char out[SASL_USER_MAX + 1],
    struct sasl_account *account)
{
	char local[SASL_USER_MAX + 1];
	struct store_user u;
	enum store_rc rc;
	char *at;

	snprintf(local, sizeof(local), "%s", name);
	if ((at = strrchr(local, '@')) != NULL)
		*at = '\0';
	rc = store_lookalike_user(A.store, local, &u);
	if (!fine(rc) || rc == STORE_NONE)
		return SASL_USER_UNKNOWN;
	memcpy(out, u.name, strlen(u.name) + 1);
	return lookup(arg, u.name, account);
}

/* A device can expire while its password is still in the cache. */
static bool
has_device(const struct sasl_account *a, int64_t device)
{
	size_t i;

	for (i = 0; i < a->ncred; i++)
		if (a->cred[i].device == device)
			return true;
	return false;
}

static enum sasl_pw
check_records(struct authd_session *s, const char *user,
    const struct sasl_account *a, const char *password, size_t len,
    int64_t *device)
{
	int64_t now_s = authd_now_ms() / 1000, began;
	enum sasl_pw pw;
	size_t index;

	switch (passcache_get(A.cache, user, password, len, now_s, device)) {
	case PASSCACHE_RIGHT:
		if (has_device(a, *device))
			return SASL_PW_OK;
		*device = 0;
		break;
	case PASSCACHE_WRONG:
		return SASL_PW_WRONG;
	case PASSCACHE_MISS:
		break;
	}
	ipc_leave(); /* it takes many milliseconds */
	began = cpu_us();
	pw = sasl_account_match(a, password, len, &index);
	if (pw == SASL_PW_WRONG) {
		s->judge = PACE_RECORDS;
		s->took_ms = (cpu_us() - began) / 1000 + 1;
	}
	if (pw == SASL_PW_OK) {
		*device = a->cred[index].device;
		authd_rehash_make(s, a, index, password, len);
	}
	if (pw != SASL_PW_TEMP)
		passcache_put(A.cache, user, password, len, pw == SASL_PW_OK,
		    *device, now_s);
	return pw;
}

/* Passwords of devices are always ours; a lone record of no device is a fake. */
static enum sasl_pw
check(void *arg, struct sasl_conv *conv, const char *user,
    const struct sasl_account *a, const char *password, size_t len,
    int64_t *device)
{
	enum store_backend backend;
	struct store_user u;
	enum store_rc rc;
	enum sasl_pw pw;
	bool known;

	(void)conv;
	if (authd_guard_password(arg, user))
		return SASL_PW_HOLD;
	rc = authd_user_get(user, &u);
	if (!fine(rc))
		return SASL_PW_TEMP;
	known = rc == STORE_OK && u.state != STORE_USER_DISABLED;
	backend = backend_of(rc == STORE_OK ? &u : NULL);
	if (backend == STORE_BACKEND_STORE)
		return check_records(arg, user, a, password, len, device);
	if (!known)
		return authd_pretend(backend);
	if (a->ncred > 0 && a->cred[0].device != 0) {
		pw = check_records(arg, user, a, password, len, device);
		if (pw != SASL_PW_WRONG)
			return pw;
	}
	return authd_ask_password(arg, backend, u.name, password, len);
}

const struct sasl_callbacks authd_sasl_callbacks = { resolve, lookup, alike,
	check, authd_token };

/* ---- owners of certificates ---- */

enum cert_map
authd_cert_lookup(void *arg, enum cert_key key, const char *value,
    const char *issuer, struct cert_owner *out)
{
	enum cert_map map;
	enum store_rc rc;

	(void)arg;
	map = certowner_find(A.store, key, value, issuer, time(NULL), out, &rc);
	if (map == CERT_MAP_TEMP)
		fine(rc);
	return map;
}

/* ---- the access map and owned addresses ---- */

static enum policy_found
access_lookup(void *arg, const char *key, char *value, size_t size)
{
	enum store_rc rc;

	(void)arg;
	if (!keyset_may_have(&A.map_keys, key)) /* policy.h: it is folded */
		return POLICY_ABSENT;
	rc = store_access_lookup(A.store, key, value, size);
	if (rc == STORE_OK)
		return POLICY_FOUND;
	return fine(rc) ? POLICY_ABSENT : POLICY_TEMPFAIL;
}

static int
owns(void *arg, const char *user, const char *address)
{
	char key[STORE_NAME_MAX + 1 + STORE_ADDRESS_MAX + 1];
	const bool *known;
	bool yes = false;
	struct store_user u;
	enum store_rc rc;

	(void)arg;
	/* no name has a blank in it */
	if ((size_t)snprintf(key, sizeof(key), "%s %s", user, address) >=
	    sizeof(key))
		return 0;
	if ((known = memo_get(&A.owned, key)) != NULL)
		return *known;
	rc = authd_user_get(user, &u);
	if (rc == STORE_OK)
		rc = addrowner_owns(A.store, u.id, address,
		    A.setup->conf.plus_addressing, &yes);
	if (!fine(rc))
		return -1;
	yes = rc == STORE_OK && yes;
	memo_put(&A.owned, key, &yes, sizeof(yes));
	return yes;
}

void
authd_own_address(const char *user, char out[STORE_ADDRESS_MAX + 1])
{
	struct store_user u;
	enum store_rc rc;

	out[0] = '\0';
	if (user == NULL)
		user = A.setup->conf.map_relay_user;
	rc = authd_user_get(user, &u);
	if (rc == STORE_OK)
		rc = addrowner_first(A.store, u.id, out);
	fine(rc);
}

const struct policy_store authd_policy_store = { access_lookup, owns, NULL };

/* ---- after a change ---- */

static bool
device_stands(int64_t id)
{
	struct store_device d;
	enum store_rc rc;

	if (id == 0)
		return true;
	rc = store_device_by_id(A.store, id, &d);
	if (rc == STORE_NONE)
		return false;
	return !fine(rc) ||
	    (d.revoked == 0 && (d.expires == 0 || d.expires > time(NULL)));
}

bool
authd_user_stands(const char *name)
{
	struct store_user u;
	enum store_rc rc = authd_user_get(name, &u);

	if (rc == STORE_NONE)
		return false;
	return !fine(rc) || u.state != STORE_USER_DISABLED;
}

static bool
owner_stands(const struct cert_owner *o, const char *issuer)
{
	struct cert_owner now = { .by = o->by };

	switch (authd_cert_lookup(NULL, o->by, o->key, issuer, &now)) {
	case CERT_MAP_FOUND:
		return strcmp(now.user, o->user) == 0;
	case CERT_MAP_TEMP:
		return true;
	default:
		return false;
	}
}

bool
authd_identity_stands(const struct authd_session *s)
{
	const struct cert_owner *o = s->facts.owner;

	if (s->user[0] != '\0' &&
	    (!authd_user_stands(s->user) || !device_stands(s->device)))
		return false;
	return o == NULL ||
	    (authd_user_stands(o->user) && owner_stands(o, s->facts.issuer));
}
