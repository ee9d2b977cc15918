/* Owners of certificates: see certowner.h. */
#include "certowner.h"

#include <stdio.h>
#include <string.h>

#include "store/cert.h"

static int
note_owner(const struct store_address *a, void *arg)
{
	struct certowner_only *o = arg;

	if (o->users > 0 && o->id == a->user_id)
		return 0;
	o->users++;
	o->id = a->user_id;
	snprintf(o->user, sizeof(o->user), "%s", a->user);
	return 0;
}

enum store_rc
certowner_only(
    struct store *st, const char *address, struct certowner_only *out)
{
	memset(out, 0, sizeof(*out));
	return store_address_owners(st, address, note_owner, out);
}

/* What a row says, if the store has found one. */
static enum cert_map
judge(const struct store_cert *c, int64_t now, struct cert_owner *out,
    enum store_rc rc)
{
	if (rc == STORE_NONE)
		return CERT_MAP_NONE;
	if (rc != STORE_OK)
		return CERT_MAP_TEMP;
	if (store_cert_state(c, now) != STORE_CERT_USABLE)
		return CERT_MAP_UNUSABLE;
	snprintf(out->user, sizeof(out->user), "%s", c->user);
	out->device = c->device_id;
	return CERT_MAP_FOUND;
}

static enum cert_map
mapped(struct store *st, enum store_cert_kind kind, const char *value,
    int64_t now, struct cert_owner *out, enum store_rc *rc)
{
	struct store_cert c;

	*rc = store_cert_find(st, kind, value, &c, NULL);
	return judge(&c, now, out, *rc);
}

static enum cert_map
mapped_subject(struct store *st, const char *subject, const char *issuer,
    int64_t now, struct cert_owner *out, enum store_rc *rc)
{
	struct store_cert c;

	*rc = store_cert_find_subject(st, subject, issuer, &c, NULL);
	return judge(&c, now, out, *rc);
}

/* An address that a row maps, else one that an active user owns by name. */
static enum cert_map
mapped_email(struct store *st, const char *email, int64_t now,
    struct cert_owner *out, enum store_rc *rc)
{
	enum cert_map map = mapped(st, STORE_CERT_SAN, email, now, out, rc);
	struct certowner_only only;
	struct store_user u;

	if (map != CERT_MAP_NONE)
		return map;
	*rc = certowner_only(st, email, &only);
	if (*rc == STORE_INVALID)
		return CERT_MAP_NONE;
	if (*rc != STORE_OK && *rc != STORE_NONE)
		return CERT_MAP_TEMP;
	if (only.users != 1)
		return only.users == 0 ? CERT_MAP_NONE : CERT_MAP_AMBIGUOUS;
	*rc = store_user_by_id(st, only.id, &u);
	if (*rc != STORE_OK && *rc != STORE_NONE)
		return CERT_MAP_TEMP;
	if (*rc == STORE_NONE || u.state != STORE_USER_ACTIVE)
		return CERT_MAP_NONE;
	snprintf(out->user, sizeof(out->user), "%s", u.name);
	return CERT_MAP_FOUND;
}

enum cert_map
certowner_find(struct store *st, enum cert_key key, const char *value,
    const char *issuer, int64_t now, struct cert_owner *out, enum store_rc *rc)
{
	*rc = STORE_OK;
	switch (key) {
	case CERT_KEY_SHA256:
		return mapped(st, STORE_CERT_SHA256, value, now, out, rc);
	case CERT_KEY_SPKI:
		return mapped(st, STORE_CERT_SPKI, value, now, out, rc);
	case CERT_KEY_EMAIL:
		return mapped_email(st, value, now, out, rc);
	case CERT_KEY_SUBJECT:
		return mapped_subject(st, value, issuer, now, out, rc);
	case CERT_KEY_NONE:
		break;
	}
	return CERT_MAP_NONE;
}
