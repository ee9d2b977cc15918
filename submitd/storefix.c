/*
 * The store role: a short-lived child that opens users.db read-write once.
 * That rolls back what a killed writer left, and migrates an older schema;
 * auth, which may only read, can do neither.  Then it brings the rows of the
 * access map in step with the file that the key access_map names.
 *
 * A map that can't be taken leaves the rows as they are, and the log says
 * why.  Only where no rows came from that file yet the role refuses: to go on
 * would be to go on without the rules.
 *
 * Last, it writes the password records that auth has made anew.  It takes none
 * but for passwords whose records are not made as the configuration says, and
 * none that are not: so a broken auth can't change any other.
 */
#include <stdio.h>
#include <string.h>

#include "auth/records.h"
#include "log.h"
#include "mapfile.h"
#include "role.h"
#include "store/db.h"
#include "store/renew.h"

/* Of notes about one map, and of bytes for the keys that have changed. */
enum { NOTES_LOGGED_MAX = 50, KEYS_LOGGED_MAX = 1000 };

static const char *
level_word(enum accessmap_level level)
{
	static const char *const words[] = {
		[ACCESSMAP_NOTICE] = "notice",
		[ACCESSMAP_WARNING] = "warning",
		[ACCESSMAP_ERROR] = "error",
	};

	return words[level];
}

static void
log_notes(const char *path, const struct accessmap *map)
{
	size_t shown = 0;

	for (size_t i = 0; i < map->nnotes; i++) {
		const struct accessmap_note *n = &map->note[i];

		/* Errors are what the reader needs: nothing else beside. */
		if (map->nerrors > 0 && n->level != ACCESSMAP_ERROR)
			continue;
		if (shown++ == NOTES_LOGGED_MAX)
			break;
		log_event(n->level == ACCESSMAP_NOTICE ? LOG_INFO : LOG_WARNING,
		    0, 0, "access-map", "file=%s line=%d %s=%s", path, n->line,
		    level_word(n->level), n->text);
	}
}

/* "+KEY ~KEY -KEY": added, changed, removed. */
static void
keys_text(const struct mapfile_diff *d, char *out, size_t size)
{
	static const char marks[] = "+~-";
	size_t n = 0, len;

	out[0] = '\0';
	for (size_t i = 0; i < d->n; i++) {
		len = strlen(d->change[i].key) + 2;
		if (n + len + sizeof(" ...") > size) {
			snprintf(out + n, size - n, " ...");
			return;
		}
		n += (size_t)snprintf(out + n, size - n, "%s%c%s",
		    i > 0 ? " " : "", marks[d->change[i].op], d->change[i].key);
	}
}

static void
log_change(
    const char *path, const struct accessmap *map, const struct mapfile_diff *d)
{
	char keys[KEYS_LOGGED_MAX];

	keys_text(d, keys, sizeof(keys));
	log_info("access-map",
	    "file=%s result=ok entries=%zu added=%zu changed=%zu removed=%zu "
	    "keys=%s",
	    path, map->nentries, d->count[MAPFILE_ADDED],
	    d->count[MAPFILE_CHANGED], d->count[MAPFILE_REMOVED],
	    keys[0] != '\0' ? keys : NULL);
}

/* Differences are found and removed in one transaction. */
static enum store_rc
replace_rows(struct store *st, const struct accessmap *map, const char *path)
{
	struct mapfile_diff diff = { 0 };
	enum store_rc rc;

	if ((rc = store_begin(st)) != STORE_OK)
		return rc;
	if ((rc = mapfile_diff(st, map, &diff)) == STORE_OK &&
	    (rc = mapfile_store(st, map, path)) == STORE_OK)
		rc = store_commit(st);
	if (rc == STORE_OK)
		log_change(path, map, &diff);
	mapfile_diff_clear(&diff);
	return rc;
}

/* The map has no use: -1 if there are no rows of before, either. */
static int
keep_rows(struct store *st, const char *path, const char *why, char *err,
    size_t errlen)
{
	if (!mapfile_is_imported(st, path)) {
		snprintf(err, errlen, "access_map: %s", why);
		return -1;
	}
	log_warn("access-map", "file=%s result=refused error=%s action=%s",
	    path, why, "the entries of before stay");
	return 0;
}

static int
mirror(struct store *st, const char *path, char *err, size_t errlen)
{
	struct accessmap *map;
	char why[768], text[512];
	enum store_rc rc = STORE_INVALID;

	if ((map = mapfile_read(path, true, text, sizeof(text))) == NULL) {
		snprintf(why, sizeof(why), "%s %s", path, text);
		return keep_rows(st, path, why, err, errlen);
	}
	log_notes(path, map);
	if (!mapfile_first_error(map, path, why, sizeof(why))) {
		rc = replace_rows(st, map, path);
		mapfile_store_error(st, path, why, sizeof(why));
	}
	accessmap_free(&map);
	if (rc == STORE_OK)
		return 0;
	store_rollback(st);
	if (rc == STORE_INVALID)
		return keep_rows(st, path, why, err, errlen);
	snprintf(err, errlen, "access_map: %s", why);
	return -1; /* parent tries again */
}

/* A store that can only be read, as in the image of a container, is fine if
 * there is nothing to mend. */
static int
only_read(const struct role_setup *s, char *err, size_t errlen)
{
	const char *path = s->conf.users_db, *map = s->conf.access_map;
	struct store *st = NULL;
	enum store_rc rc = store_open(path, STORE_RO, &st);
	int result = -1;

	if (rc != STORE_OK)
		snprintf(err, errlen,
		    "users_db: %s: %s, and it can't be written, expected a "
		    "user store that can be mended",
		    path, store_errtext(st));
	else if (map[0] != '\0')
		result = keep_rows(
		    st, map, "the user store can't be written", err, errlen);
	else
		result = 0;
	if (result == 0)
		log_info(
		    "store", "file=%s note=%s", path, "it can be read only");
	store_close(&st);
	return result;
}

static int
storefix_start(struct role_setup *s, char *err, size_t errlen)
{
	struct store *st = NULL;
	enum store_rc rc = store_open(s->conf.users_db, STORE_RW, &st);
	int result = rc == STORE_OK ? 0 : -1;

	if (rc == STORE_DENIED)
		result = only_read(s, err, errlen);
	else if (rc != STORE_OK)
		snprintf(err, errlen, "users_db: %s: %s", s->conf.users_db,
		    store_errtext(st));
	else if (s->conf.access_map[0] != '\0') {
		store_set_actor(st, "submitd");
		result = mirror(st, s->conf.access_map, err, errlen);
	}
	store_close(&st);
	return result;
}

/* ---- passwords ---- */

struct found {
	struct sasl_account account;
	int64_t device;
};

static int
note_cred(const struct store_cred *c, void *arg)
{
	struct found *f = arg;

	if (c->device_id == f->device)
		sasl_account_add(&f->account, c->device_id, c->record);
	return 0;
}

/* As they should be?  Whoever asks for others is not what it was. */
static bool
is_wanted(const struct m_rehash *m, const struct records_want *want)
{
	return records_is_current(m->sha256, SCRAM_SHA_256, want->iterations) &&
	    want->sha1 == (m->sha1[0] != '\0') &&
	    (!want->sha1 ||
		records_is_current(m->sha1, SCRAM_SHA_1, want->iterations));
}

static enum store_rc
is_due(struct store *st, const struct m_rehash *m,
    const struct records_want *want, bool *due)
{
	struct found f = { .device = m->device };
	struct store_user u;
	enum store_rc rc;

	if ((rc = store_user_get(st, m->user, &u)) == STORE_OK)
		rc = store_cred_list(st, u.id, note_cred, &f);
	*due = rc == STORE_OK && records_due(&f.account, m->device, want);
	sasl_account_clear(&f.account);
	return rc;
}

/* STORE_NONE: somebody else was faster. */
static enum store_rc
renew(
    struct store *st, const struct m_rehash *m, const struct records_want *want)
{
	const struct store_record records[] = {
		{ STORE_CRED_SCRAM_SHA_256, m->sha256 },
		{ STORE_CRED_SCRAM_SHA_1, m->sha1 },
	};
	enum store_rc rc;
	bool due;

	if (!is_wanted(m, want))
		return STORE_INVALID;
	if ((rc = is_due(st, m, want, &due)) != STORE_OK || !due)
		return rc == STORE_OK ? STORE_NONE : rc;
	return store_password_renew(
	    st, m->user, m->device, m->old, records, want->sha1 ? 2 : 1);
}

static void
storefix_other(struct role_setup *s, const struct ipc_in *in)
{
	const struct m_rehash *m = &in->m->rehash;
	const struct records_want want = {
		.iterations = (unsigned)s->conf.scram_iterations,
		.sha1 = sasl_mech_list_has_sha1(s->conf.mechanisms) ||
		    sasl_mech_list_has_sha1(s->conf.mechanisms_tls)
	};
	struct store *st = NULL;
	enum store_rc rc;

	if (in->type != M_REHASH)
		return;
	if ((rc = store_open(s->conf.users_db, STORE_RW, &st)) == STORE_OK) {
		store_set_actor(st, "submitd");
		rc = renew(st, m, &want);
	}
	log_event(rc == STORE_OK || rc == STORE_NONE ? LOG_INFO : LOG_WARNING,
	    0, 0, "rehash", "result=%s user=%s device=%ld error=%s",
	    rc == STORE_OK         ? "ok"
		: rc == STORE_NONE ? "late"
				   : "refused",
	    m->user, (long)m->device,
	    rc == STORE_OK || rc == STORE_NONE ? NULL
		: rc == STORE_INVALID          ? "not as the configuration says"
					       : store_errtext(st));
	store_close(&st);
}

static void
storefix_peer(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	(void)s, (void)role, (void)instance, (void)fd; /* it has none */
}

static void
storefix_drain(struct role_setup *s)
{
	role_leave(s);
}

const struct role_ops store_ops = {
	.role = ROLE_STORE,
	.start = storefix_start,
	.peer = storefix_peer,
	.drain = storefix_drain,
	.other = storefix_other,
};
