/*
 * OAUTHBEARER (RFC 7628) and XOAUTH2, its forerunner without an RFC: the client
 * sends a bearer token in its first message.
 *
 *	OAUTHBEARER	n,a=NAME,^Ahost=...^Aport=...^Aauth=Bearer TOKEN^A^A
 *	XOAUTH2		user=NAME^Aauth=Bearer TOKEN^A^A
 *
 * The token says who it is; a name beside it must mean the same user.  A
 * refusal is told in JSON by a challenge, whatever its reason; the client
 * answers with something that means nothing, and then the exchange fails.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mech.h"

enum { SEPARATOR = '\001' };

/* What one of the two has of its own. */
struct kind {
	bool gs2; /* a GS2 header comes first */
	const char *error;
};

static struct kind bearer_kind = { true,
	"{\"status\":\"invalid_token\",\"schemes\":\"bearer\"}" };
static struct kind xoauth2_kind = { false,
	"{\"status\":\"401\",\"schemes\":\"bearer\"}" };

struct oauth {
	const struct kind *kind;
	bool refused; /* the challenge with the error is sent */
	char authzid[SASL_USER_MAX + 1];
};

/* A part of the message. */
struct span {
	const char *p;
	size_t len;
};

static int
oauth_new(void *glob, sasl_server_params_t *params, const char *challenge,
    unsigned len, void **context)
{
	struct oauth *o = calloc(1, sizeof(*o));

	(void)params;
	(void)challenge;
	(void)len;
	if (o != NULL)
		o->kind = glob;
	*context = o;
	return o != NULL ? SASL_OK : SASL_NOMEM;
}

static void
oauth_dispose(void *context, const sasl_utils_t *utils)
{
	(void)utils;
	free(context);
}

/* ---- the message ---- */

/* Cuts what is before c off; false if there is no c. */
static bool
cut(struct span *rest, char c, struct span *before)
{
	const char *end = memchr(rest->p, c, rest->len);

	if (end == NULL)
		return false;
	before->p = rest->p;
	before->len = (size_t)(end - rest->p);
	rest->p = end + 1;
	rest->len -= before->len + 1;
	return true;
}

static bool
begins(const struct span *s, const char *word)
{
	size_t n = strlen(word);

	return s->len >= n && strncasecmp(s->p, word, n) == 0;
}

/* saslname of RFC 5801 section 4: "=2C" is a comma, "=3D" an equals sign. */
static bool
take_saslname(const struct span *in, char out[SASL_USER_MAX + 1])
{
	size_t i, n = 0;

	for (i = 0; i < in->len; i++) {
		if (n == SASL_USER_MAX || in->p[i] == '\0')
			return false;
		if (in->p[i] != '=') {
			out[n++] = in->p[i];
			continue;
		}
		if (in->len - i < 3)
			return false;
		if (strncasecmp(in->p + i, "=2C", 3) == 0)
			out[n++] = ',';
		else if (strncasecmp(in->p + i, "=3D", 3) == 0)
			out[n++] = '=';
		else
			return false;
		i += 2;
	}
	out[n] = '\0';
	return true;
}

static bool
take_name(const struct span *in, char out[SASL_USER_MAX + 1])
{
	if (in->len == 0 || in->len > SASL_USER_MAX ||
	    memchr(in->p, '\0', in->len) != NULL)
		return false;
	memcpy(out, in->p, in->len);
	out[in->len] = '\0';
	return true;
}

/* What is before the first separator; NULL, or what is wrong with it. */
static const char *
take_head(struct oauth *o, struct span head)
{
	struct span flag, name;

	if (!o->kind->gs2) {
		if (!begins(&head, "user="))
			return "no user=";
		name.p = head.p + 5;
		name.len = head.len - 5;
		return take_name(&name, o->authzid) ? NULL : "bad user name";
	}
	if (!cut(&head, ',', &flag) || !cut(&head, ',', &name) ||
	    head.len != 0 || flag.len != 1)
		return "bad GS2 header";
	if (flag.p[0] != 'n' && flag.p[0] != 'y')
		return "channel binding without -PLUS";
	if (name.len == 0)
		return NULL;
	if (!begins(&name, "a=") || name.len == 2)
		return "bad authorization identity";
	name.p += 2;
	name.len -= 2;
	return take_saslname(&name, o->authzid) ? NULL
						: "bad authorization identity";
}

/* b64token of RFC 6750 section 2.1. */
static bool
is_token(const struct span *s)
{
	size_t i = 0;

	while (i < s->len &&
	    (isalnum((unsigned char)s->p[i]) ||
		(s->p[i] != '\0' && strchr("-._~+/", s->p[i]) != NULL)))
		i++;
	if (i == 0)
		return false;
	while (i < s->len && s->p[i] == '=')
		i++;
	return i == s->len;
}

/* NULL, or what is wrong; token is empty if there was none. */
static const char *
parse(struct oauth *o, const char *in, size_t len, struct span *token)
{
	struct span rest = { in, len }, pair;
	bool found = false;
	const char *why;

	token->len = 0;
	if (!cut(&rest, SEPARATOR, &pair))
		return "no separator";
	if ((why = take_head(o, pair)) != NULL)
		return why;
	while (cut(&rest, SEPARATOR, &pair) && pair.len > 0) {
		if (!begins(&pair, "auth="))
			continue; /* host, port and what may come: not needed */
		if (found)
			return "two tokens";
		found = true;
		pair.p += 5;
		pair.len -= 5;
		/* section 4.3 of the RFC: it wants to know what we take */
		if (pair.len == 0)
			continue;
		if (!begins(&pair, "bearer "))
			return "not a bearer token";
		for (pair.p += 7, pair.len -= 7; pair.len > 0 && *pair.p == ' ';
		     pair.p++)
			pair.len--;
		if (!is_token(&pair))
			return "not a bearer token";
		*token = pair;
	}
	return rest.len == 0 && in[len - 1] == SEPARATOR &&
		in[len - 2] == SEPARATOR
	    ? NULL
	    : "no end";
}

/* ---- the exchange ---- */

/* Whose token it is: must be somebody, and whom the client says. */
static int
take_owner(struct oauth *o, struct sasl_conv *conv,
    sasl_server_params_t *params, sasl_out_params_t *oparams)
{
	int rc = mech_identify(params, oparams, o->authzid, strlen(o->authzid),
	    conv->token_user, strlen(conv->token_user));

	if (rc != SASL_OK)
		return rc;
	if (strcmp(oparams->user, oparams->authid) != 0) {
		mech_detail(conv, "the token is another user's");
		return SASL_BADAUTH;
	}
	return conv->known == SASL_USER_FOUND ? SASL_OK : SASL_BADAUTH;
}

static int
take_first(struct oauth *o, struct sasl_conv *conv, const char *in, size_t len)
{
	struct span token;
	const char *why;

	if ((why = parse(o, in, len, &token)) != NULL)
		return mech_malformed(conv, why);
	if (token.len == 0) { /* it wants to know what we take */
		mech_detail(conv, "no token");
		return SASL_BADAUTH;
	}
	return mech_token(conv, token.p, token.len);
}

static int
oauth_step(void *context, sasl_server_params_t *params, const char *in,
    unsigned len, const char **out, unsigned *outlen,
    sasl_out_params_t *oparams)
{
	struct sasl_conv *conv = mech_conv(params->utils);
	struct oauth *o = context;
	int rc;

	*out = NULL;
	*outlen = 0;
	if (conv == NULL || o == NULL)
		return SASL_FAIL;
	if (o->refused)
		return SASL_BADAUTH;
	if (mech_waiting(conv))
		rc = mech_token_answer(conv);
	else
		rc = take_first(o, conv, in, len);
	if (rc == SASL_OK)
		rc = take_owner(o, conv, params, oparams);
	if (rc == SASL_OK)
		return mech_done(oparams);
	if (rc != SASL_BADAUTH)
		return rc;
	o->refused = true;
	conv->pw = SASL_PW_WRONG;
	*out = o->kind->error;
	*outlen = (unsigned)strlen(*out);
	return SASL_CONTINUE;
}

#define OAUTH_PLUG(name, kind)                                                 \
	{                                                                      \
		.mech_name = (name),                                           \
		.security_flags =                                              \
		    SASL_SEC_NOANONYMOUS | SASL_SEC_PASS_CREDENTIALS,          \
		.features =                                                    \
		    SASL_FEAT_WANT_CLIENT_FIRST | SASL_FEAT_ALLOWS_PROXY,      \
		.glob_context = (kind), .mech_new = oauth_new,                 \
		.mech_step = oauth_step, .mech_dispose = oauth_dispose,        \
	}

static sasl_server_plug_t plugs[] = {
	OAUTH_PLUG("OAUTHBEARER", &bearer_kind),
	OAUTH_PLUG("XOAUTH2", &xoauth2_kind),
};

int
mech_oauth_init(const sasl_utils_t *utils, int max_version, int *out_version,
    sasl_server_plug_t **list, int *count)
{
	(void)utils;
	if (max_version < SASL_SERVER_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_SERVER_PLUG_VERSION;
	*list = plugs;
	*count = (int)(sizeof(plugs) / sizeof(plugs[0]));
	return SASL_OK;
}
