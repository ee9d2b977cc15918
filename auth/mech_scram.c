/*
 * What SCRAM runs on: the record of an account, handed to Cyrus' plugin as the
 * property it asks for.  The server's first message shows the record's salt
 * and iterations to anybody who names a user, so there is one for every name.
 *
 * What a name that is nobody's shows:
 *  - the salt of the user whom it resembles, if there is one (sasl.h): a name
 *    and an address of the same person show the same;
 *  - else salt and iterations made of a keyed hash of the name before the
 *    "@", in the shapes that records of users have, each in its share.
 * Users without a record show that, too.  All of them take the way of a wrong
 * proof.
 */
#include <string.h>

#include "mech.h"

/* ---- names of nobody ---- */

/* What is hashed of a name: letters in either case are the same to users, and
 * so are a name and its address. */
static void
stem_of(const char *name, char out[SASL_USER_MAX + 1])
{
	const char *at = strrchr(name, '@');
	size_t i, len = at != NULL ? (size_t)(at - name) : strlen(name);

	for (i = 0; i < len; i++)
		out[i] = name[i] >= 'A' && name[i] <= 'Z'
		    ? (char)(name[i] - 'A' + 'a')
		    : name[i];
	out[len] = '\0';
}

/* Where a name stands among all: 0 to 2^32 - 1, always the same. */
static int
place_of(const char *stem, const char *mech, uint32_t *place)
{
	char text[SASL_USER_MAX + 64];
	unsigned char tag[32];
	size_t m = strlen(mech) + 1, n = strlen(stem) + 1;

	memcpy(text, mech, m);
	memcpy(text + m, stem, n);
	if (scram_hmac256(mech_global.secret, MECH_SECRET,
		(const unsigned char *)text, m + n, tag) == -1)
		return -1;
	memcpy(place, tag, sizeof(*place));
	return 0;
}

/* The shape at this place; NULL: no user shows any. */
static const struct sasl_shape *
shape_at(uint32_t place, bool sha1)
{
	const struct sasl_shape *s = mech_global.shape;
	uint64_t total = 0, at;
	size_t i;

	for (i = 0; i < mech_global.nshape; i++)
		total += s[i].sha1 == sha1 ? s[i].users : 0;
	at = (uint64_t)(((unsigned __int128)place * total) >> 32);
	for (i = 0; i < mech_global.nshape; i++) {
		if (s[i].sha1 != sha1)
			continue;
		if (at < s[i].users)
			return &s[i];
		at -= s[i].users;
	}
	return NULL;
}

int
mech_fake_record(const char *user, const char *mech, char out[SCRAM_RECORD_MAX],
    bool *lacking)
{
	const struct sasl_shape *s;
	char stem[SASL_USER_MAX + 1];
	unsigned iterations = mech_global.iterations;
	size_t salt_len = SCRAM_SALT_LEN;
	uint32_t place;

	stem_of(user, stem);
	if (place_of(stem, mech, &place) == -1)
		return -1;
	s = shape_at(place, strcmp(mech, SCRAM_SHA_1) == 0);
	*lacking = s != NULL && s->iterations == 0;
	if (s != NULL && s->iterations != 0) {
		iterations = s->iterations;
		salt_len = s->salt_len;
	}
	return scram_record_fake(mech_global.secret, stem, mech, iterations,
	    salt_len, out, SCRAM_RECORD_MAX);
}

/* ---- the record ---- */

/*
 * The account's own record of the running mechanism, else that of its only
 * device with a password: of several nothing says which one is meant.
 */
static const struct sasl_cred *
scram_cred(const struct sasl_account *a, const char *mech)
{
	const struct sasl_cred *found = NULL;
	struct scram_record r;
	size_t i, devices = 0;

	for (i = 0; i < a->ncred; i++) {
		const struct sasl_cred *c = &a->cred[i];

		if (scram_record_parse(c->record, &r) != SCRAM_OK ||
		    strcmp(r.mech, mech) != 0)
			continue;
		found = c;
		if (c->device == 0)
			break;
		devices++;
	}
	explicit_bzero(&r, sizeof(r));
	return found != NULL && found->device != 0 && devices > 1 ? NULL
								  : found;
}

static bool
has_own_password(const struct sasl_account *a)
{
	size_t i;

	for (i = 0; i < a->ncred; i++)
		if (a->cred[i].device == 0)
			return true;
	return false;
}

/* The record an account shows: of its own if the user is real, else with
 * keys that match nothing. */
static int
show_record(struct sasl_conv *conv, const char *name,
    const struct sasl_account *a, char out[SCRAM_RECORD_MAX])
{
	const struct sasl_cred *c = scram_cred(a, conv->mech);
	bool lacking = false;
	int rc = 0;

	conv->real_record = c != NULL && conv->known == SASL_USER_FOUND;
	conv->device = conv->real_record ? c->device : 0;
	if (c == NULL)
		rc = mech_fake_record(name, conv->mech, out, &lacking);
	else if (conv->real_record)
		/* what parses is shorter than SCRAM_RECORD_MAX */
		memcpy(out, c->record, strlen(c->record) + 1);
	else
		rc = scram_record_mask(
		    mech_global.secret, name, c->record, out, SCRAM_RECORD_MAX);
	if (c == NULL && has_own_password(a))
		lacking = true;
	/* without these there is nothing to be said that would help */
	conv->transition = lacking &&
	    (conv->usable & (SASL_MECH_PLAIN | SASL_MECH_LOGIN)) != 0;
	return rc;
}

/*
 * What to check a proof by; a user without a record, or a name that is
 * nobody's, must not end the exchange a step earlier.
 */
static int
scram_value(struct sasl_conv *conv, char out[SCRAM_RECORD_MAX])
{
	struct sasl_account other = { 0 };
	const struct sasl_account *a = &conv->account;
	char name[SASL_USER_MAX + 1];
	int rc;

	strcpy(name, conv->user);
	if (conv->known == SASL_USER_UNKNOWN && mech_global.cb.alike != NULL &&
	    mech_global.cb.alike(conv->arg, conv->user, name, &other) !=
		SASL_USER_UNKNOWN)
		a = &other;
	rc = show_record(conv, name, a, out);
	sasl_account_clear(&other);
	return rc;
}

/*
 * Called for both identities; the authorization identity is judged after the
 * proof, so that nothing shows whether it exists.
 */
static int
aux_lookup(void *glob, sasl_server_params_t *params, unsigned flags,
    const char *user, unsigned len)
{
	struct sasl_conv *conv = mech_conv(params->utils);
	char record[SCRAM_RECORD_MAX];
	const struct propval *p;
	int rc = SASL_OK;

	(void)glob;
	(void)user;
	(void)len;
	if ((flags & SASL_AUXPROP_AUTHZID) != 0 || conv == NULL ||
	    (conv->bit & SCRAM_BITS) == 0)
		return SASL_OK;
	if ((p = params->utils->prop_get(params->propctx)) == NULL)
		return SASL_OK;
	for (; p->name != NULL; p++) {
		/* the star marks a property of the authentication identity */
		if (strcmp(p->name, "*authPassword") != 0 || p->values != NULL)
			continue;
		if (scram_value(conv, record) == -1) {
			conv->temp = true;
			rc = SASL_FAIL;
			break;
		}
		rc = params->utils->prop_set(
		    params->propctx, p->name, record, -1);
		break;
	}
	explicit_bzero(record, sizeof(record));
	return rc;
}

int
mech_aux_init(const sasl_utils_t *utils, int max_version, int *out_version,
    sasl_auxprop_plug_t **plug, const char *name)
{
	static char plugin_name[] = "submitd";
	static sasl_auxprop_plug_t aux = {
		.auxprop_lookup = aux_lookup,
		.name = plugin_name,
	};

	(void)utils;
	(void)name;
	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &aux;
	return SASL_OK;
}
