/*
 * SASL conversations (sasl.h) on top of Cyrus SASL.
 *
 * Cyrus runs the exchanges and their rules; what decides is kept here, since
 * its result codes do not say enough: whose account was looked up, what the
 * password check said, whether a real record was behind a SCRAM exchange.  A
 * success of Cyrus that these facts do not bear out is a failure.
 *
 * One conversation owns one Cyrus connection and ends with the first verdict.
 * A connection that had come to its last step once would say "OK" to anything
 * that is started on it later, without looking at a password.
 */
#include "sasl.h"

#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <sasl/saslutil.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gs2.h"
#include "mech.h"

#define SCRAM_BITS                                                             \
	((uint32_t)(SASL_MECH_SCRAM_SHA_256_PLUS | SASL_MECH_SCRAM_SHA_256 |   \
	    SASL_MECH_SCRAM_SHA_1_PLUS | SASL_MECH_SCRAM_SHA_1))
#define PLUS_BITS                                                              \
	((uint32_t)(SASL_MECH_SCRAM_SHA_256_PLUS | SASL_MECH_SCRAM_SHA_1_PLUS))
#define BINDING_MAX 64 /* octets of a value */
#define FQDN_MAX    255

enum state {
	ST_NEW,   /* Cyrus has not been started */
	ST_FIRST, /* it waits for the client's first message */
	ST_NEXT,  /* it waits for a later one */
	ST_WAIT,  /* it waits for sasl_conv_resume() */
	ST_LAST,  /* SCRAM: the server's proof is sent, an empty line is due */
	ST_DONE   /* there was a verdict */
};

struct binding {
	char name[GS2_NAME_MAX];
	unsigned char data[BINDING_MAX];
	size_t len;
};

struct sasl_conv {
	uint32_t bit, usable;
	char mech[24]; /* as Cyrus calls it: without -PLUS */
	sasl_conn_t *conn;
	sasl_callback_t callbacks[5];
	void *arg;
	char cert_user[SASL_USER_MAX + 1];
	struct binding binding[SASL_BINDINGS_MAX];
	size_t nbinding;
	sasl_channel_binding_t cyrus_binding; /* Cyrus keeps its address */

	enum state state;
	const char *challenge;
	size_t challenge_len;
	char expect_c[512]; /* SCRAM: "c=" and its value, as it must come */

	char claimed[SASL_USER_MAX + 1];
	char user[SASL_USER_MAX + 1]; /* canonical; "" before it is known */
	enum sasl_user known;
	struct sasl_account account;
	enum sasl_pw pw;  /* SASL_PW_WRONG until a check said otherwise */
	bool real_record; /* SCRAM runs on the account's own record */
	int64_t device;

	bool temp, malformed, guess;
	enum sasl_rc verdict;
	char detail[200];
};

static struct {
	bool ready;
	struct sasl_callbacks cb;
	char fqdn[FQDN_MAX + 1];
	unsigned char secret[32];
	unsigned iterations;
	bool sha1;
} global;

/* The first detail stays: it is nearest to the cause. */
__attribute__((format(printf, 2, 3))) static void
detail(struct sasl_conv *conv, const char *fmt, ...)
{
	va_list ap;

	if (conv->detail[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(conv->detail, sizeof(conv->detail), fmt, ap);
	va_end(ap);
}

/* ---- accounts ---- */

int
sasl_account_add(struct sasl_account *a, int64_t device, const char *record)
{
	struct sasl_cred *grown;

	if (a->ncred >= SASL_CREDS_MAX || strlen(record) >= SASL_RECORD_MAX)
		return -1;
	/* not realloc(): it would leave an unwiped copy behind */
	if ((grown = calloc(a->ncred + 1, sizeof(*grown))) == NULL)
		return -1;
	if (a->ncred > 0)
		memcpy(grown, a->cred, a->ncred * sizeof(*grown));
	grown[a->ncred].device = device;
	strcpy(grown[a->ncred].record, record);
	if (a->ncred > 0)
		explicit_bzero(a->cred, a->ncred * sizeof(*grown));
	free(a->cred);
	a->cred = grown;
	a->ncred++;
	return 0;
}

void
sasl_account_clear(struct sasl_account *a)
{
	if (a->ncred > 0)
		explicit_bzero(a->cred, a->ncred * sizeof(*a->cred));
	free(a->cred);
	memset(a, 0, sizeof(*a));
}

enum sasl_pw
sasl_account_check(const struct sasl_account *a, const char *password,
    size_t len, int64_t *device)
{
	enum sasl_pw pw = SASL_PW_WRONG;
	size_t i;

	for (i = 0; i < a->ncred; i++)
		switch (scram_record_check(a->cred[i].record, password, len)) {
		case SCRAM_OK:
			*device = a->cred[i].device;
			return SASL_PW_OK;
		case SCRAM_FAILED:
			pw = SASL_PW_TEMP;
			break;
		case SCRAM_WRONG:
		case SCRAM_BAD_RECORD:
			break;
		}
	return pw;
}

/* A record of the name that no password matches. */
static int
fake_record(const char *user, const char *mech, char out[SCRAM_RECORD_MAX])
{
	return scram_record_fake(global.secret, sizeof(global.secret), user,
	    mech, global.iterations, out, SCRAM_RECORD_MAX);
}

/* ---- names ---- */

/* Length of the UTF-8 character at p (RFC 3629), 0 if it is none. */
static size_t
utf8_len(const unsigned char *p, size_t left)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	size_t i;

	if ((p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4 || n > left)
		return 0;
	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/*
 * Cyrus trims blanks at both ends of a name, which would make two spellings
 * of one login, and leaks memory with names of 1024 octets and more.
 */
static bool
is_user_name(const char *name, size_t len)
{
	const unsigned char *p = (const unsigned char *)name;
	size_t i, n;

	if (len == 0 || len > SASL_USER_MAX)
		return false;
	for (i = 0; i < len; i += n) {
		if ((n = utf8_len(p + i, len - i)) == 0)
			return false;
		if (p[i] <= ' ' || p[i] == 0x7f ||
		    (p[i] == 0xc2 && p[i + 1] <= 0xa0))
			return false; /* blank, no-break space, control */
	}
	return true;
}

/* SASL_OK with the canonical name in out; an unknown name stays as it is. */
static int
resolve(struct sasl_conv *conv, const char *name, size_t len,
    char out[SASL_USER_MAX + 1], enum sasl_user *known)
{
	char text[SASL_USER_MAX + 1];

	if (!is_user_name(name, len)) {
		detail(conv, "not a user name");
		return SASL_BADAUTH;
	}
	memcpy(text, name, len);
	text[len] = '\0';
	strcpy(out, text);
	*known = global.cb.resolve(conv->arg, text, out);
	if (*known != SASL_USER_TEMP)
		return SASL_OK;
	detail(conv, "user store failed for now");
	conv->temp = true;
	return SASL_UNAVAIL;
}

/* Who logs in: the account behind a claimed name. */
static int
identify(struct sasl_conv *conv, const char *name, size_t len)
{
	int rc;

	if (len <= SASL_USER_MAX && memchr(name, '\0', len) == NULL) {
		memcpy(conv->claimed, name, len);
		conv->claimed[len] = '\0';
	}
	sasl_account_clear(&conv->account);
	rc = resolve(conv, name, len, conv->user, &conv->known);
	if (rc != SASL_OK)
		return rc;
	if (conv->known != SASL_USER_UNKNOWN)
		conv->known =
		    global.cb.lookup(conv->arg, conv->user, &conv->account);
	switch (conv->known) {
	case SASL_USER_FOUND:
		break;
	case SASL_USER_UNKNOWN:
		detail(conv, "no such user");
		break;
	case SASL_USER_DISABLED:
		detail(conv, "user may not log in");
		break;
	case SASL_USER_TEMP:
		detail(conv, "user store failed for now");
		conv->temp = true;
		return SASL_UNAVAIL;
	}
	return SASL_OK;
}

static int
cb_canon(sasl_conn_t *conn, void *context, const char *in, unsigned inlen,
    unsigned flags, const char *realm, char *out, unsigned max, unsigned *len)
{
	struct sasl_conv *conv = context;
	char name[SASL_USER_MAX + 1];
	enum sasl_user known;
	int rc;

	(void)conn;
	(void)realm;
	if ((flags & SASL_CU_AUTHID) != 0) {
		if ((rc = identify(conv, in, inlen)) != SASL_OK)
			return rc;
		strcpy(name, conv->user);
	} else if ((rc = resolve(conv, in, inlen, name, &known)) != SASL_OK) {
		return rc;
	}
	if (strlen(name) >= max)
		return SASL_BUFOVER;
	strcpy(out, name);
	*len = (unsigned)strlen(name);
	return SASL_OK;
}

/* Asked after the proof, for every mechanism; also with equal names. */
static int
cb_proxy(sasl_conn_t *conn, void *context, const char *user, unsigned userlen,
    const char *authid, unsigned authlen, const char *realm, unsigned realmlen,
    struct propctx *props)
{
	struct sasl_conv *conv = context;

	(void)conn;
	(void)realm;
	(void)realmlen;
	(void)props;
	if (userlen == authlen && memcmp(user, authid, userlen) == 0)
		return SASL_OK;
	detail(conv, "authorization identity is another user");
	return SASL_NOAUTHZ;
}

static int
cb_getopt(void *context, const char *plugin, const char *option,
    const char **result, unsigned *len)
{
	static const char *const fixed[][2] = {
		{ "auxprop_plugin", "submitd" },
		{ "pwcheck_method", "auxprop" },
		{ "canon_user_plugin", "INTERNAL" },
		{ "log_level", "0" },
	};
	const struct sasl_conv *conv = context;
	size_t i;

	(void)plugin;
	*result = NULL;
	if (conv != NULL && strcmp(option, "mech_list") == 0)
		*result = conv->mech;
	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (strcmp(option, fixed[i][0]) == 0)
			*result = fixed[i][1];
	if (*result == NULL)
		return SASL_FAIL;
	if (len != NULL)
		*len = (unsigned)strlen(*result);
	return SASL_OK;
}

/* Without it Cyrus writes to syslog; the verdict has what is worth saying. */
static int
cb_log(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

/* ---- what the mechanisms call ---- */

struct sasl_conv *
mech_conv(const sasl_utils_t *utils)
{
	sasl_callback_ft proc;
	void *context;

	if (utils->getcallback(utils->conn, SASL_CB_PROXY_POLICY, &proc,
		&context) != SASL_OK ||
	    proc != (sasl_callback_ft)(void (*)(void))cb_proxy)
		return NULL;
	return context;
}

int
mech_malformed(struct sasl_conv *conv, const char *why)
{
	detail(conv, "%s", why);
	conv->malformed = true;
	return SASL_BADPROT;
}

int
mech_identify(sasl_server_params_t *params, sasl_out_params_t *oparams,
    const char *authzid, size_t zlen, const char *authcid, size_t clen)
{
	struct sasl_conv *conv = mech_conv(params->utils);
	unsigned both = zlen == 0 ? SASL_CU_AUTHZID : 0;
	int rc;

	/* Cyrus takes a length of 0 as "measure it". */
	if (clen == 0)
		return mech_malformed(conv, "empty user name");
	rc = params->canon_user(params->utils->conn, authcid, (unsigned)clen,
	    SASL_CU_AUTHID | SASL_CU_EXTERNALLY_VERIFIED | both, oparams);
	if (rc == SASL_OK && zlen > 0)
		rc = params->canon_user(params->utils->conn, authzid,
		    (unsigned)zlen,
		    SASL_CU_AUTHZID | SASL_CU_EXTERNALLY_VERIFIED, oparams);
	return rc;
}

static enum sasl_pw
default_check(const struct sasl_account *a, const char *password, size_t len,
    int64_t *device)
{
	return sasl_account_check(a, password, len, device);
}

/* Asks the caller's check; users without records get one of nobody. */
static enum sasl_pw
ask_password(struct sasl_conv *conv, const char *password, size_t len)
{
	struct sasl_account nobody = { 0 };
	const struct sasl_account *a = &conv->account;
	char record[SCRAM_RECORD_MAX];
	enum sasl_pw pw = SASL_PW_TEMP;

	if (conv->known != SASL_USER_FOUND || a->ncred == 0) {
		if (fake_record(conv->user, SCRAM_SHA_256, record) == -1 ||
		    sasl_account_add(&nobody, 0, record) == -1)
			goto out;
		a = &nobody;
	}
	if (global.cb.check != NULL)
		pw = global.cb.check(conv->arg, conv, conv->user, a, password,
		    len, &conv->device);
	else
		pw = default_check(a, password, len, &conv->device);
out:
	sasl_account_clear(&nobody);
	return pw;
}

int
mech_answer(struct sasl_conv *conv)
{
	if (conv->known != SASL_USER_FOUND && conv->pw == SASL_PW_OK)
		conv->pw = SASL_PW_WRONG;
	switch (conv->pw) {
	case SASL_PW_OK:
		return SASL_OK;
	case SASL_PW_LATER:
		conv->state = ST_WAIT;
		return SASL_CONTINUE;
	case SASL_PW_TEMP:
		detail(conv, "password can't be checked for now");
		conv->temp = true;
		return SASL_UNAVAIL;
	case SASL_PW_WRONG:
		break;
	}
	detail(conv, "wrong password");
	conv->guess = true;
	return SASL_BADAUTH;
}

int
mech_password(struct sasl_conv *conv, const char *password, size_t len)
{
	if (len == 0) {
		detail(conv, "empty password");
		return SASL_BADAUTH;
	}
	conv->pw = ask_password(conv, password, len);
	return mech_answer(conv);
}

bool
mech_waiting(const struct sasl_conv *conv)
{
	return conv->state == ST_WAIT;
}

int
mech_done(sasl_out_params_t *oparams)
{
	oparams->doneflag = 1;
	oparams->mech_ssf = 0;
	oparams->maxoutbuf = 0;
	oparams->encode_context = NULL;
	oparams->encode = NULL;
	oparams->decode_context = NULL;
	oparams->decode = NULL;
	oparams->param_version = 0;
	return SASL_OK;
}

/* ---- the record for SCRAM ---- */

/*
 * The account's own record of the running mechanism, or one of nobody: a
 * user without a record must not end the exchange a step earlier.
 */
static int
scram_value(struct sasl_conv *conv, char out[SCRAM_RECORD_MAX])
{
	struct scram_record r;
	size_t i;

	if (fake_record(conv->user, conv->mech, out) == -1)
		return -1;
	conv->real_record = false;
	if (conv->known != SASL_USER_FOUND)
		return 0;
	for (i = 0; i < conv->account.ncred; i++) {
		const struct sasl_cred *c = &conv->account.cred[i];

		if (c->device != 0 ||
		    scram_record_parse(c->record, &r) != SCRAM_OK ||
		    strcmp(r.mech, conv->mech) != 0)
			continue;
		/* what parses is shorter than SCRAM_RECORD_MAX */
		memcpy(out, c->record, strlen(c->record) + 1);
		conv->real_record = true;
		break;
	}
	explicit_bzero(&r, sizeof(r));
	return 0;
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

static int
aux_init(const sasl_utils_t *utils, int max_version, int *out_version,
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

/* ---- once per process ---- */

/* No configuration file, and of all plugins on the disk only libscram. */
static int
cb_verifyfile(void *context, const char *file, sasl_verify_type_t type)
{
	const char *base = strrchr(file, '/');

	(void)context;
	base = base != NULL ? base + 1 : file;
	if (type == SASL_VRFY_PLUGIN && strcmp(base, "libscram.so") == 0)
		return SASL_OK;
	return SASL_CONTINUE;
}

/* Cyrus does not free it. */
static int
cb_getconfpath(void *context, char **path)
{
	static char nowhere[] = "/nonexistent";

	(void)context;
	*path = nowhere;
	return SASL_OK;
}

/* One thread: nothing to lock. */
static void *
mutex_new(void)
{
	static char one;

	return &one;
}

static int
mutex_nothing(void *mutex)
{
	(void)mutex;
	return 0;
}

static void
mutex_free(void *mutex)
{
	(void)mutex;
}

#define PROC(f) ((sasl_callback_ft)(void (*)(void))(f))

static const sasl_callback_t global_callbacks[] = {
	{ SASL_CB_GETOPT, PROC(cb_getopt), NULL },
	{ SASL_CB_LOG, PROC(cb_log), NULL },
	{ SASL_CB_VERIFYFILE, PROC(cb_verifyfile), NULL },
	{ SASL_CB_GETCONFPATH, PROC(cb_getconfpath), NULL },
	{ SASL_CB_LIST_END, NULL, NULL },
};

static void
cb_found(
    server_sasl_mechanism_t *m, sasl_info_callback_stage_t stage, void *found)
{
	if (stage == SASL_INFO_LIST_MECH && m != NULL)
		*(bool *)found = true;
}

static bool
has_mech(const char *name)
{
	bool found = false;

	sasl_server_plugin_info(name, cb_found, &found);
	return found;
}

static int
global_start(char *err, size_t errlen)
{
	static const char *const needed[] = { SCRAM_SHA_256, SCRAM_SHA_1,
		"EXTERNAL", "PLAIN", "LOGIN" };
	size_t i;
	int rc;

	unsetenv("SASL_PATH");
	unsetenv("SASL_CONF_PATH");
	sasl_set_mutex(mutex_new, mutex_nothing, mutex_nothing, mutex_free);
	rc = sasl_server_init(global_callbacks, "submitd");
	if (rc == SASL_OK)
		rc = sasl_auxprop_add_plugin("submitd", aux_init);
	if (rc == SASL_OK)
		rc = sasl_server_add_plugin("submitd-plain", mech_plain_init);
	if (rc == SASL_OK)
		rc = sasl_server_add_plugin("submitd-login", mech_login_init);
	if (rc != SASL_OK) {
		snprintf(err, errlen, "SASL library: %s",
		    sasl_errstring(rc, NULL, NULL));
		return -1;
	}
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (has_mech(needed[i]) ||
		    (!global.sha1 && strcmp(needed[i], SCRAM_SHA_1) == 0))
			continue;
		snprintf(err, errlen,
		    "SASL mechanism %s is missing; install the package "
		    "libsasl2-modules",
		    needed[i]);
		return -1;
	}
	return 0;
}

int
sasl_global_init(const struct sasl_config *cfg, char *err, size_t errlen)
{
	if (global.ready || cfg->fqdn[0] == '\0' ||
	    strlen(cfg->fqdn) > FQDN_MAX || cfg->cb.resolve == NULL ||
	    cfg->cb.lookup == NULL) {
		snprintf(err, errlen, "SASL: bad parameters");
		return -1;
	}
	global.cb = cfg->cb;
	strcpy(global.fqdn, cfg->fqdn);
	memcpy(global.secret, cfg->secret, sizeof(global.secret));
	global.iterations =
	    cfg->iterations != 0 ? cfg->iterations : SCRAM_ITER_DEFAULT;
	global.sha1 = cfg->sha1;
	if (global_start(err, errlen) == -1) {
		sasl_global_done();
		return -1;
	}
	global.ready = true;
	return 0;
}

void
sasl_global_secret(const unsigned char secret[32])
{
	memcpy(global.secret, secret, sizeof(global.secret));
}

void
sasl_global_done(void)
{
	sasl_done();
	explicit_bzero(&global, sizeof(global));
}

/* ---- a conversation ---- */

const char *
sasl_rc_word(enum sasl_rc rc)
{
	static const char *const words[] = {
		[SASL_RC_OK] = "ok",
		[SASL_RC_CONTINUE] = "continue",
		[SASL_RC_WAIT] = "wait",
		[SASL_RC_BAD] = "bad",
		[SASL_RC_TEMP] = "temp",
		[SASL_RC_MALFORMED] = "malformed",
		[SASL_RC_CANCELLED] = "cancelled",
		[SASL_RC_NOMECH] = "nomech",
		[SASL_RC_WEAK] = "weak",
		[SASL_RC_ENCRYPT] = "encrypt",
	};

	return (unsigned)rc < sizeof(words) / sizeof(words[0]) ? words[rc]
							       : "?";
}

/* Ends the conversation; the first verdict stays. */
static enum sasl_rc
verdict(struct sasl_conv *conv, enum sasl_rc rc)
{
	if (conv->state == ST_DONE)
		return SASL_RC_BAD;
	conv->state = ST_DONE;
	conv->verdict = rc;
	conv->challenge = NULL;
	conv->challenge_len = 0;
	return rc;
}

static enum sasl_rc
verdict_why(struct sasl_conv *conv, enum sasl_rc rc, const char *why)
{
	detail(conv, "%s", why);
	return verdict(conv, rc);
}

static bool
is_scram(const struct sasl_conv *conv)
{
	return (conv->bit & SCRAM_BITS) != 0;
}

/* What must be true of a success besides Cyrus saying so. */
static bool
borne_out(const struct sasl_conv *conv)
{
	const void *user, *authid;

	if (conv->known != SASL_USER_FOUND || conv->user[0] == '\0')
		return false;
	if (sasl_getprop(conv->conn, SASL_USERNAME, &user) != SASL_OK ||
	    sasl_getprop(conv->conn, SASL_AUTHUSER, &authid) != SASL_OK ||
	    strcmp(user, conv->user) != 0 || strcmp(authid, conv->user) != 0)
		return false;
	if (is_scram(conv))
		return conv->real_record && conv->state == ST_LAST;
	if (sasl_mech_is_plaintext(conv->bit))
		return conv->pw == SASL_PW_OK;
	return conv->bit == SASL_MECH_EXTERNAL && conv->cert_user[0] != '\0';
}

/* Who may use a SCRAM mechanism may bind it to the channel, too. */
static bool
is_allowed(const struct sasl_conv *conv)
{
	uint32_t mechs = conv->account.mechs;

	if ((mechs & SASL_MECH_SCRAM_SHA_256) != 0)
		mechs |= SASL_MECH_SCRAM_SHA_256_PLUS;
	if ((mechs & SASL_MECH_SCRAM_SHA_1) != 0)
		mechs |= SASL_MECH_SCRAM_SHA_1_PLUS;
	return mechs == 0 || (mechs & conv->bit) != 0;
}

static enum sasl_rc
success(struct sasl_conv *conv)
{
	if (!borne_out(conv))
		return verdict_why(conv, SASL_RC_BAD, "not borne out");
	if (!is_allowed(conv))
		return verdict_why(
		    conv, SASL_RC_WEAK, "mechanism not allowed to this user");
	return verdict(conv, SASL_RC_OK);
}

static enum sasl_rc
failure(struct sasl_conv *conv, int rc)
{
	if (is_scram(conv) && rc == SASL_BADAUTH && conv->state == ST_NEXT) {
		detail(conv, "wrong proof");
		conv->guess = true;
	}
	detail(conv, "%s", sasl_errdetail(conv->conn));
	if (conv->temp)
		return verdict(conv, SASL_RC_TEMP);
	if (conv->malformed || rc == SASL_BADPROT)
		return verdict(conv, SASL_RC_MALFORMED);
	if (rc == SASL_ENCRYPT)
		return verdict(conv, SASL_RC_ENCRYPT);
	/* A client can provoke all other codes, "no memory" among them. */
	return verdict(conv, SASL_RC_BAD);
}

/* Turns what Cyrus said into what we say. */
static enum sasl_rc
turn(struct sasl_conv *conv, int rc, const char *out, unsigned outlen)
{
	bool second = conv->state == ST_NEXT;

	if (rc == SASL_OK)
		return success(conv);
	if (rc != SASL_CONTINUE)
		return failure(conv, rc);
	if (conv->state == ST_WAIT)
		return SASL_RC_WAIT;
	conv->state = is_scram(conv) && second ? ST_LAST : ST_NEXT;
	/* out is good with SASL_OK and SASL_CONTINUE only */
	conv->challenge = out != NULL ? out : "";
	conv->challenge_len = out != NULL ? outlen : 0;
	return SASL_RC_CONTINUE;
}

static uint32_t
plus_of(uint32_t bit)
{
	return (bit & (SASL_MECH_SCRAM_SHA_256 | SASL_MECH_SCRAM_SHA_256_PLUS))
	    ? SASL_MECH_SCRAM_SHA_256_PLUS
	    : SASL_MECH_SCRAM_SHA_1_PLUS;
}

/* Chooses the binding value that the client names. */
static const struct binding *
find_binding(const struct sasl_conv *conv, const char *name)
{
	size_t i;

	for (i = 0; i < conv->nbinding; i++)
		if (strcmp(conv->binding[i].name, name) == 0)
			return &conv->binding[i];
	return NULL;
}

static int
set_binding(struct sasl_conv *conv, const struct binding *b)
{
	conv->cyrus_binding.name = b->name;
	conv->cyrus_binding.critical = 0; /* or even EXTERNAL must bind */
	conv->cyrus_binding.len = b->len;
	conv->cyrus_binding.data = b->data;
	return sasl_setprop(
	    conv->conn, SASL_CHANNEL_BINDING, &conv->cyrus_binding);
}

/* "c=" of the client's final message: header and binding (RFC 5802, 7). */
static int
expect_binding(struct sasl_conv *conv, const unsigned char *msg,
    size_t header_len, const struct binding *b)
{
	char raw[320];
	size_t len = header_len + (b != NULL ? b->len : 0);

	if (len > sizeof(raw))
		return -1;
	memcpy(raw, msg, header_len);
	if (b != NULL)
		memcpy(raw + header_len, b->data, b->len);
	strcpy(conv->expect_c, "c=");
	return sasl_encode64(raw, (unsigned)len, conv->expect_c + 2,
		   sizeof(conv->expect_c) - 2, NULL) == SASL_OK
	    ? 0
	    : -1;
}

/*
 * What Cyrus lets pass: -PLUS without a binding, and "y" where we did offer
 * -PLUS but the client did not see it, which is the mark of somebody in
 * between (RFC 5802 section 6).  A binding under the plain name is good:
 * that is what clients built on Cyrus send, and it counts as -PLUS.
 */
static enum sasl_rc
scram_first(struct sasl_conv *conv, const unsigned char *msg, size_t len)
{
	const struct binding *b = NULL;
	struct gs2 gs2;
	const char *why;

	if ((why = gs2_parse(msg, len, &gs2)) != NULL)
		return verdict_why(conv, SASL_RC_MALFORMED, why);
	if ((conv->bit & PLUS_BITS) != 0 && gs2.flag != GS2_BOUND)
		return verdict_why(
		    conv, SASL_RC_BAD, "-PLUS without channel binding");
	if (gs2.flag == GS2_UNSEEN && (conv->usable & PLUS_BITS) != 0)
		return verdict_why(conv, SASL_RC_BAD,
		    "client did not see that -PLUS is offered");
	if (gs2.flag == GS2_BOUND) {
		if ((b = find_binding(conv, gs2.binding)) == NULL)
			return verdict_why(
			    conv, SASL_RC_BAD, "unknown channel binding type");
		if (set_binding(conv, b) != SASL_OK)
			return verdict_why(conv, SASL_RC_TEMP, "can't bind");
		conv->bit = plus_of(conv->bit);
	}
	if (expect_binding(conv, msg, gs2.header_len, b) == -1)
		return verdict_why(
		    conv, SASL_RC_MALFORMED, "GS2 header too long");
	return SASL_RC_CONTINUE;
}

/* The binding is compared here: Cyrus calls a wrong one malformed. */
static bool
scram_bound(const struct sasl_conv *conv, const char *msg, size_t len)
{
	const char *comma = memchr(msg, ',', len);
	size_t n = comma != NULL ? (size_t)(comma - msg) : len;

	return n == strlen(conv->expect_c) &&
	    memcmp(msg, conv->expect_c, n) == 0;
}

static enum sasl_rc
first(struct sasl_conv *conv, const char *in, size_t len)
{
	const char *out = NULL;
	unsigned outlen = 0;
	enum sasl_rc rc;
	int r;

	if (is_scram(conv)) {
		rc = scram_first(conv, (const unsigned char *)in, len);
		if (rc != SASL_RC_CONTINUE)
			return rc;
	}
	/* any challenge it gives to this is not the SCRAM server's last */
	conv->state = ST_FIRST;
	r = sasl_server_start(
	    conv->conn, conv->mech, in, (unsigned)len, &out, &outlen);
	return turn(conv, r, out, outlen);
}

static enum sasl_rc
next(struct sasl_conv *conv, const char *in, size_t len)
{
	const char *out = NULL;
	unsigned outlen = 0;
	int r;

	if (conv->state == ST_LAST && len > 0)
		return verdict_why(conv, SASL_RC_MALFORMED,
		    "text where an empty line was due");
	if (is_scram(conv) && conv->state == ST_NEXT &&
	    strncmp(in, "c=", 2) == 0 && !scram_bound(conv, in, len))
		return verdict_why(
		    conv, SASL_RC_BAD, "channel binding does not match");
	r = sasl_server_step(conv->conn, in, (unsigned)len, &out, &outlen);
	return turn(conv, r, out, outlen);
}

/* Cyrus wants input with a NUL behind it. */
static enum sasl_rc
feed(struct sasl_conv *conv, const unsigned char *response, size_t len)
{
	char in[SASL_LINE_MAX + 1];
	enum sasl_rc rc;

	if (len > SASL_LINE_MAX)
		return verdict_why(
		    conv, SASL_RC_MALFORMED, "response too long");
	if (len > 0)
		memcpy(in, response, len);
	in[len] = '\0';
	if (conv->state == ST_NEW || conv->state == ST_FIRST)
		rc = first(conv, in, len);
	else
		rc = next(conv, in, len);
	explicit_bzero(in, len);
	return rc;
}

static int
set_properties(struct sasl_conv *conv, unsigned tls_bits)
{
	const sasl_security_properties_t props = {
		.max_ssf = 0, /* no layer of its own under TLS */
		.maxbufsize = 0,
		.security_flags = SASL_SEC_NOPLAINTEXT | SASL_SEC_NOANONYMOUS,
	};
	const sasl_ssf_t ssf = tls_bits;

	if (sasl_setprop(conv->conn, SASL_SEC_PROPS, &props) != SASL_OK ||
	    sasl_setprop(conv->conn, SASL_SSF_EXTERNAL, &ssf) != SASL_OK)
		return -1;
	if (conv->bit == SASL_MECH_EXTERNAL &&
	    sasl_setprop(conv->conn, SASL_AUTH_EXTERNAL, conv->cert_user) !=
		SASL_OK)
		return -1;
	return 0;
}

static int
copy_bindings(struct sasl_conv *conv, const struct sasl_params *params)
{
	size_t i;

	for (i = 0; i < params->nbinding; i++) {
		const struct sasl_binding *from = &params->binding[i];
		struct binding *to = &conv->binding[conv->nbinding];

		if (from->len == 0)
			continue;
		if (conv->nbinding == SASL_BINDINGS_MAX ||
		    from->len > sizeof(to->data) ||
		    strlen(from->name) >= sizeof(to->name))
			return -1;
		strcpy(to->name, from->name);
		memcpy(to->data, from->data, from->len);
		to->len = from->len;
		conv->nbinding++;
	}
	return 0;
}

static struct sasl_conv *
conv_new(const struct sasl_params *params, uint32_t bit)
{
	struct sasl_conv *conv = calloc(1, sizeof(*conv));
	const char *name = sasl_mech_name(bit);
	size_t len = strlen(name);

	if (conv == NULL)
		return NULL;
	if ((bit & PLUS_BITS) != 0)
		len -= sizeof("-PLUS") - 1;
	memcpy(conv->mech, name, len);
	conv->bit = bit;
	conv->usable = params->usable;
	conv->arg = params->arg;
	conv->known = SASL_USER_UNKNOWN;
	conv->pw = SASL_PW_WRONG;
	conv->callbacks[0] =
	    (sasl_callback_t){ SASL_CB_GETOPT, PROC(cb_getopt), conv };
	conv->callbacks[1] =
	    (sasl_callback_t){ SASL_CB_CANON_USER, PROC(cb_canon), conv };
	conv->callbacks[2] =
	    (sasl_callback_t){ SASL_CB_PROXY_POLICY, PROC(cb_proxy), conv };
	conv->callbacks[3] =
	    (sasl_callback_t){ SASL_CB_LOG, PROC(cb_log), conv };
	conv->callbacks[4] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
	if (params->cert_user != NULL &&
	    strlen(params->cert_user) <= SASL_USER_MAX)
		strcpy(conv->cert_user, params->cert_user);
	if (copy_bindings(conv, params) == -1 ||
	    sasl_server_new("smtp", global.fqdn, NULL, NULL, NULL,
		conv->callbacks, 0, &conv->conn) != SASL_OK ||
	    set_properties(conv, params->tls_bits) == -1)
		sasl_conv_free(&conv);
	return conv;
}

static enum sasl_rc
open_conv(struct sasl_conv *conv, const unsigned char *response, size_t len)
{
	const char *out = NULL;
	unsigned outlen = 0;
	int r;

	if (response != NULL)
		return feed(conv, response, len);
	conv->state = ST_FIRST;
	if (conv->bit == SASL_MECH_LOGIN) {
		r = sasl_server_start(
		    conv->conn, conv->mech, NULL, 0, &out, &outlen);
		return turn(conv, r, out, outlen);
	}
	/* all others: the client speaks first, after an empty challenge */
	conv->challenge = "";
	return SASL_RC_CONTINUE;
}

enum sasl_rc
sasl_conv_start(struct sasl_conv **out, const struct sasl_params *params,
    const unsigned char *response, size_t len)
{
	uint32_t bit = sasl_mech_bit(params->mech);

	*out = NULL;
	if (bit == 0)
		return SASL_RC_NOMECH;
	if (params->tls_bits == 0)
		return SASL_RC_ENCRYPT;
	if ((params->usable & bit) == 0 ||
	    (bit == SASL_MECH_EXTERNAL && params->cert_user == NULL))
		return SASL_RC_NOMECH;
	if (!global.ready || (*out = conv_new(params, bit)) == NULL)
		return SASL_RC_TEMP;
	return open_conv(*out, response, len);
}

enum sasl_rc
sasl_conv_step(
    struct sasl_conv *conv, const unsigned char *response, size_t len)
{
	if (conv->state != ST_FIRST && conv->state != ST_NEXT &&
	    conv->state != ST_LAST)
		return verdict_why(conv, SASL_RC_BAD, "step out of turn");
	return feed(conv, response, len);
}

enum sasl_rc
sasl_conv_cancel(struct sasl_conv *conv)
{
	return verdict_why(conv, SASL_RC_CANCELLED, "cancelled");
}

enum sasl_rc
sasl_conv_resume(struct sasl_conv *conv, enum sasl_pw pw, int64_t device)
{
	const char *out = NULL;
	unsigned outlen = 0;
	int r;

	if (conv->state != ST_WAIT)
		return verdict_why(conv, SASL_RC_BAD, "answer out of turn");
	conv->pw = pw == SASL_PW_LATER ? SASL_PW_TEMP : pw;
	conv->device = device;
	r = sasl_server_step(conv->conn, "", 0, &out, &outlen);
	return turn(conv, r, out, outlen);
}

void
sasl_conv_free(struct sasl_conv **convp)
{
	struct sasl_conv *conv = *convp;

	if (conv == NULL)
		return;
	if (conv->conn != NULL)
		sasl_dispose(&conv->conn);
	sasl_account_clear(&conv->account);
	explicit_bzero(conv, sizeof(*conv));
	free(conv);
	*convp = NULL;
}

const unsigned char *
sasl_conv_challenge(const struct sasl_conv *conv, size_t *len)
{
	*len = conv->challenge_len;
	return (const unsigned char *)conv->challenge;
}

const char *
sasl_conv_user(const struct sasl_conv *conv)
{
	return conv->state == ST_DONE && conv->verdict == SASL_RC_OK
	    ? conv->user
	    : NULL;
}

int64_t
sasl_conv_device(const struct sasl_conv *conv)
{
	return sasl_conv_user(conv) != NULL ? conv->device : 0;
}

uint32_t
sasl_conv_mech(const struct sasl_conv *conv)
{
	return conv->bit;
}

const char *
sasl_conv_claimed(const struct sasl_conv *conv)
{
	return conv->claimed;
}

const char *
sasl_conv_detail(const struct sasl_conv *conv)
{
	return conv->detail;
}

bool
sasl_conv_is_guess(const struct sasl_conv *conv)
{
	return conv->guess;
}
