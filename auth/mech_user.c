/*
 * Whose login it is: what Cyrus calls back in a conversation, and what the
 * mechanisms ask for.  Names become accounts here, and passwords are checked;
 * mech_scram.c has what SCRAM needs of an account.
 *
 * Names that are nobody's take the same way as those of users, with a record
 * made up for them, up to the proof that fails.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mech.h"
#include "secret.h"
#include "store/utf8.h"

struct mech_global mech_global;

/* The first detail stays: it is nearest to the cause. */
__attribute__((format(printf, 2, 3))) void
mech_detail(struct sasl_conv *conv, const char *fmt, ...)
{
	va_list ap;

	if (conv->detail[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(conv->detail, sizeof(conv->detail), fmt, ap);
	va_end(ap);
}

/* ---- names ---- */

/*
 * Cyrus trims blanks at both ends of a name, which would make two spellings
 * of one login, and leaks memory with names of 1024 octets and more.
 */
static bool
is_user_name(const char *name, size_t len)
{
	uint32_t cp;
	size_t n;

	if (len == 0 || len > SASL_USER_MAX)
		return false;
	for (; len > 0; name += n, len -= n) {
		n = utf8_next(name, len, &cp);
		if (n == 0 || cp <= ' ' || (cp >= 0x7f && cp <= 0xa0))
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
		mech_detail(conv, "not a user name");
		return SASL_BADAUTH;
	}
	memcpy(text, name, len);
	text[len] = '\0';
	strcpy(out, text);
	*known = mech_global.cb.resolve(conv->arg, text, out);
	if (*known != SASL_USER_TEMP)
		return SASL_OK;
	mech_detail(conv, "user store failed for now");
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
		conv->known = mech_global.cb.lookup(
		    conv->arg, conv->user, &conv->account);
	switch (conv->known) {
	case SASL_USER_FOUND:
		break;
	case SASL_USER_UNKNOWN:
		mech_detail(conv, "no such user");
		break;
	case SASL_USER_DISABLED:
		mech_detail(conv, "user may not log in");
		break;
	case SASL_USER_TEMP:
		mech_detail(conv, "user store failed for now");
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
	mech_detail(conv, "authorization identity is another user");
	return SASL_NOAUTHZ;
}

int
mech_getopt(void *context, const char *plugin, const char *option,
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
int
mech_log(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

void
mech_set_callbacks(struct sasl_conv *conv)
{
	const sasl_callback_t list[] = {
		{ SASL_CB_GETOPT, MECH_PROC(mech_getopt), conv },
		{ SASL_CB_CANON_USER, MECH_PROC(cb_canon), conv },
		{ SASL_CB_PROXY_POLICY, MECH_PROC(cb_proxy), conv },
		{ SASL_CB_LOG, MECH_PROC(mech_log), conv },
		{ SASL_CB_LIST_END, NULL, NULL },
	};

	_Static_assert(sizeof(list) == sizeof(conv->callbacks), "all fit");
	memcpy(conv->callbacks, list, sizeof(list));
}

/* ---- what the mechanisms call ---- */

struct sasl_conv *
mech_conv(const sasl_utils_t *utils)
{
	sasl_callback_ft proc;
	void *context;

	if (utils->getcallback(utils->conn, SASL_CB_PROXY_POLICY, &proc,
		&context) != SASL_OK ||
	    proc != MECH_PROC(cb_proxy))
		return NULL;
	return context;
}

int
mech_malformed(struct sasl_conv *conv, const char *why)
{
	mech_detail(conv, "%s", why);
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
	bool lacking;

	if (conv->known != SASL_USER_FOUND || a->ncred == 0) {
		if (mech_fake_record(conv->user, SCRAM_SHA_256, record,
			&lacking) == -1 ||
		    sasl_account_add(&nobody, 0, record) == -1)
			goto out;
		a = &nobody;
	}
	if (mech_global.cb.check != NULL)
		pw = mech_global.cb.check(conv->arg, conv, conv->user, a,
		    password, len, &conv->device);
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
	case SASL_PW_HOLD:
		conv->state = ST_WAIT;
		return SASL_CONTINUE;
	case SASL_PW_TEMP:
		mech_detail(conv, "password can't be checked for now");
		conv->temp = true;
		return SASL_UNAVAIL;
	case SASL_PW_WRONG:
		break;
	}
	mech_detail(conv, "wrong password");
	conv->guess = true;
	return SASL_BADAUTH;
}

/* HMAC("guess" NUL user NUL password), cut. */
static void
make_digest(struct sasl_conv *conv, const char *password, size_t len)
{
	static const char what[] = "guess";
	size_t n = strlen(conv->user) + 1, all = sizeof(what) + n + len;
	unsigned char tag[32], *text = malloc(all);

	if (text == NULL)
		return;
	memcpy(text, what, sizeof(what));
	memcpy(text + sizeof(what), conv->user, n);
	memcpy(text + sizeof(what) + n, password, len);
	if (scram_hmac256(mech_global.secret, MECH_SECRET, text,
		all, tag) == 0) {
		memcpy(&conv->digest, tag, sizeof(conv->digest));
		conv->has_digest = true;
	}
	explicit_bzero(text, all);
	free(text);
}

static int
hold(struct sasl_conv *conv, const char *password, size_t len)
{
	if ((conv->held = secret_alloc(len)) == NULL)
		return -1;
	memcpy(conv->held, password, len);
	conv->held_len = len;
	return 0;
}

void
mech_forget(struct sasl_conv *conv)
{
	secret_free(conv->held);
	conv->held = NULL;
	conv->held_len = 0;
}

int
mech_password(struct sasl_conv *conv, const char *password, size_t len)
{
	if (len == 0) {
		mech_detail(conv, "empty password");
		return SASL_BADAUTH;
	}
	make_digest(conv, password, len);
	conv->pw = SASL_PW_TEMP;
	if (hold(conv, password, len) == 0)
		conv->pw = ask_password(conv, password, len);
	return mech_answer(conv);
}

void
mech_password_again(struct sasl_conv *conv)
{
	conv->device = 0;
	conv->pw = ask_password(conv, conv->held, conv->held_len);
	if (conv->pw == SASL_PW_HOLD)
		conv->pw = SASL_PW_TEMP;
}

int
mech_token_answer(struct sasl_conv *conv)
{
	switch (conv->pw) {
	case SASL_PW_OK:
		if (conv->token_user[0] != '\0')
			return SASL_OK;
		break;
	case SASL_PW_LATER:
		conv->state = ST_WAIT;
		return SASL_CONTINUE;
	case SASL_PW_HOLD: /* a token is never held */
	case SASL_PW_TEMP:
		mech_detail(conv, "token can't be checked for now");
		conv->temp = true;
		return SASL_UNAVAIL;
	case SASL_PW_WRONG:
		break;
	}
	mech_detail(conv, "token refused");
	return SASL_BADAUTH;
}

int
mech_token(struct sasl_conv *conv, const char *token, size_t len)
{
	conv->pw = SASL_PW_WRONG;
	if (mech_global.cb.token != NULL)
		conv->pw = mech_global.cb.token(
		    conv->arg, conv, token, len, conv->token_user);
	return mech_token_answer(conv);
}

bool
mech_waiting(const struct sasl_conv *conv)
{
	return conv->state == ST_ANSWER;
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
