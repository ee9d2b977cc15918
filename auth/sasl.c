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

#include <sasl/saslutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mech.h"
#include "secret.h"

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

static const sasl_callback_t global_callbacks[] = {
	{ SASL_CB_GETOPT, MECH_PROC(mech_getopt), NULL },
	{ SASL_CB_LOG, MECH_PROC(mech_log), NULL },
	{ SASL_CB_VERIFYFILE, MECH_PROC(cb_verifyfile), NULL },
	{ SASL_CB_GETCONFPATH, MECH_PROC(cb_getconfpath), NULL },
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
		rc = sasl_auxprop_add_plugin("submitd", mech_aux_init);
	if (rc == SASL_OK)
		rc = sasl_server_add_plugin("submitd-plain", mech_plain_init);
	if (rc == SASL_OK)
		rc = sasl_server_add_plugin("submitd-login", mech_login_init);
	if (rc == SASL_OK)
		rc = sasl_server_add_plugin("submitd-oauth", mech_oauth_init);
	if (rc != SASL_OK) {
		snprintf(err, errlen, "SASL library: %s",
		    sasl_errstring(rc, NULL, NULL));
		return -1;
	}
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (has_mech(needed[i]) ||
		    (!mech_global.sha1 && strcmp(needed[i], SCRAM_SHA_1) == 0))
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
	if (mech_global.ready || cfg->fqdn[0] == '\0' ||
	    strlen(cfg->fqdn) > FQDN_MAX || cfg->cb.resolve == NULL ||
	    cfg->cb.lookup == NULL) {
		snprintf(err, errlen, "SASL: bad parameters");
		return -1;
	}
	mech_global.cb = cfg->cb;
	strcpy(mech_global.fqdn, cfg->fqdn);
	if ((mech_global.secret = secret_alloc(MECH_SECRET)) == NULL) {
		snprintf(err, errlen, "SASL: no memory");
		return -1;
	}
	memcpy(mech_global.secret, cfg->secret, MECH_SECRET);
	mech_global.iterations =
	    cfg->iterations != 0 ? cfg->iterations : SCRAM_ITER_DEFAULT;
	mech_global.sha1 = cfg->sha1;
	if (global_start(err, errlen) == -1) {
		sasl_global_done();
		return -1;
	}
	mech_global.ready = true;
	return 0;
}

void
sasl_global_secret(const unsigned char secret[32])
{
	memcpy(mech_global.secret, secret, MECH_SECRET);
}

void
sasl_global_shapes(const struct sasl_shape *shapes, size_t n)
{
	if (n > SASL_SHAPES_MAX)
		n = SASL_SHAPES_MAX;
	if (n > 0)
		memcpy(mech_global.shape, shapes, n * sizeof(*shapes));
	mech_global.nshape = n;
}

void
sasl_global_done(void)
{
	sasl_done();
	secret_free(mech_global.secret);
	memset(&mech_global, 0, sizeof(mech_global));
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
		[SASL_RC_TRANSITION] = "transition",
		[SASL_RC_ENCRYPT] = "encrypt",
		[SASL_RC_LOCKED] = "locked",
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
	mech_detail(conv, "%s", why);
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
	if (sasl_mech_is_plaintext(conv->bit) || (conv->bit & OAUTH_BITS) != 0)
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

static bool
allows_only_external(uint32_t mechs)
{
	const uint32_t others = SASL_MECH_PROOFS | SASL_MECH_PLAIN |
	    SASL_MECH_LOGIN | SASL_MECH_TOKENS;

	return (mechs & SASL_MECH_EXTERNAL) != 0 && (mechs & others) == 0;
}

static enum sasl_rc
success(struct sasl_conv *conv)
{
	if (!borne_out(conv))
		return verdict_why(conv, SASL_RC_BAD, "not borne out");
	if (!is_allowed(conv)) {
		conv->needs_cert = allows_only_external(conv->account.mechs);
		return verdict_why(
		    conv, SASL_RC_WEAK, "mechanism not allowed to this user");
	}
	return verdict(conv, SASL_RC_OK);
}

static enum sasl_rc
failure(struct sasl_conv *conv, int rc)
{
	if (is_scram(conv) && rc == SASL_BADAUTH && conv->state == ST_NEXT) {
		mech_detail(conv, "wrong proof");
		conv->guess = true;
	}
	mech_detail(conv, "%s", sasl_errdetail(conv->conn));
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
	if (conv->transition)
		return verdict_why(conv, SASL_RC_TRANSITION,
		    "no record for this mechanism yet");
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
static const struct mech_binding *
find_binding(const struct sasl_conv *conv, const char *name)
{
	size_t i;

	for (i = 0; i < conv->nbinding; i++)
		if (strcmp(conv->binding[i].name, name) == 0)
			return &conv->binding[i];
	return NULL;
}

static int
set_binding(struct sasl_conv *conv, const struct mech_binding *b)
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
    size_t header_len, const struct mech_binding *b)
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
	const struct mech_binding *b = NULL;
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
		struct mech_binding *to = &conv->binding[conv->nbinding];

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
	mech_set_callbacks(conv);
	if (params->cert_user != NULL &&
	    strlen(params->cert_user) <= SASL_USER_MAX)
		strcpy(conv->cert_user, params->cert_user);
	if (copy_bindings(conv, params) == -1 ||
	    sasl_server_new("smtp", mech_global.fqdn, NULL, NULL, NULL,
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
	if (!mech_global.ready || (*out = conv_new(params, bit)) == NULL)
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

/* Clients built on GNU SASL choose -PLUS even where they give it no binding;
 * then they have nothing to say. */
enum sasl_rc
sasl_conv_cancel(struct sasl_conv *conv)
{
	bool mute = conv->state == ST_FIRST && (conv->bit & PLUS_BITS) != 0;

	return verdict_why(conv, SASL_RC_CANCELLED,
	    mute ? "cancelled: the client can't bind to TLS; see mechanisms "
		   "in submitd.conf(5)"
		 : "cancelled");
}

/* Steps the mechanism that waits for what conv->pw says now. */
static enum sasl_rc
step_again(struct sasl_conv *conv)
{
	const char *out = NULL;
	unsigned outlen = 0;
	int r;

	conv->state = ST_ANSWER;
	r = sasl_server_step(conv->conn, "", 0, &out, &outlen);
	return turn(conv, r, out, outlen);
}

enum sasl_rc
sasl_conv_resume(struct sasl_conv *conv, enum sasl_pw pw, int64_t device)
{
	if (conv->state != ST_WAIT)
		return verdict_why(conv, SASL_RC_BAD, "answer out of turn");
	conv->pw =
	    pw == SASL_PW_LATER || pw == SASL_PW_HOLD ? SASL_PW_TEMP : pw;
	conv->device = device;
	return step_again(conv);
}

enum sasl_rc
sasl_conv_again(struct sasl_conv *conv)
{
	if (conv->state != ST_WAIT || conv->pw != SASL_PW_HOLD)
		return verdict_why(conv, SASL_RC_BAD, "question out of turn");
	mech_password_again(conv);
	return conv->pw == SASL_PW_LATER ? SASL_RC_WAIT : step_again(conv);
}

void
sasl_conv_refresh(struct sasl_conv *conv)
{
	if (conv->known == SASL_USER_UNKNOWN)
		return;
	sasl_account_clear(&conv->account);
	conv->known =
	    mech_global.cb.lookup(conv->arg, conv->user, &conv->account);
	if (conv->known == SASL_USER_TEMP)
		conv->temp = true;
}

static bool
same_account(const struct sasl_account *a, const struct sasl_account *b)
{
	size_t i;

	if (a->ncred != b->ncred || a->mechs != b->mechs)
		return false;
	for (i = 0; i < a->ncred; i++)
		if (a->cred[i].device != b->cred[i].device ||
		    strcmp(a->cred[i].record, b->cred[i].record) != 0)
			return false;
	return true;
}

bool
sasl_conv_still_stands(struct sasl_conv *conv)
{
	struct sasl_account before = conv->account;
	bool same;

	memset(&conv->account, 0, sizeof(conv->account));
	sasl_conv_refresh(conv);
	same = conv->known == SASL_USER_FOUND &&
	    same_account(&before, &conv->account);
	sasl_account_clear(&before);
	if (same || conv->known != SASL_USER_FOUND || conv->held == NULL)
		return same;
	mech_password_again(conv);
	return conv->pw == SASL_PW_OK && is_allowed(conv);
}

enum sasl_rc
sasl_conv_resume_token(
    struct sasl_conv *conv, enum sasl_pw pw, const char *user)
{
	snprintf(conv->token_user, sizeof(conv->token_user), "%s",
	    pw == SASL_PW_OK ? user : "");
	return sasl_conv_resume(conv, pw, 0);
}

void
sasl_conv_note(struct sasl_conv *conv, const char *why)
{
	if (why[0] != '\0')
		mech_detail(conv, "%s", why);
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
	mech_forget(conv);
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

bool
sasl_conv_needs_cert(const struct sasl_conv *conv)
{
	return conv->needs_cert;
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

const char *
sasl_conv_name(const struct sasl_conv *conv)
{
	return conv->user;
}

bool
sasl_conv_digest(const struct sasl_conv *conv, uint64_t *digest)
{
	*digest = conv->digest;
	return conv->has_digest;
}
