/* PLAIN (RFC 4616): [authzid] NUL authcid NUL passwd, in one response. */
#include <string.h>

#include "mech.h"

static int
plain_new(void *glob, sasl_server_params_t *params, const char *challenge,
    unsigned len, void **context)
{
	(void)glob;
	(void)params;
	(void)challenge;
	(void)len;
	*context = NULL; /* all state is in the conversation */
	return SASL_OK;
}

static int
plain_take(struct sasl_conv *conv, sasl_server_params_t *params, const char *in,
    size_t len, sasl_out_params_t *oparams)
{
	const char *end = in + len, *authcid, *password;
	int rc;

	if ((authcid = memchr(in, '\0', len)) == NULL)
		return mech_malformed(conv, "PLAIN: no NUL");
	authcid++;
	password = memchr(authcid, '\0', (size_t)(end - authcid));
	if (password == NULL)
		return mech_malformed(conv, "PLAIN: only one NUL");
	password++;
	if (memchr(password, '\0', (size_t)(end - password)) != NULL)
		return mech_malformed(conv, "PLAIN: NUL in the password");
	rc = mech_identify(params, oparams, in, (size_t)(authcid - 1 - in),
	    authcid, (size_t)(password - 1 - authcid));
	if (rc != SASL_OK)
		return rc;
	return mech_password(conv, password, (size_t)(end - password));
}

static int
plain_step(void *context, sasl_server_params_t *params, const char *in,
    unsigned len, const char **out, unsigned *outlen,
    sasl_out_params_t *oparams)
{
	struct sasl_conv *conv = mech_conv(params->utils);
	int rc;

	(void)context;
	*out = NULL;
	*outlen = 0;
	if (conv == NULL)
		return SASL_FAIL;
	if (mech_waiting(conv))
		rc = mech_answer(conv);
	else
		rc = plain_take(conv, params, in, len, oparams);
	return rc == SASL_OK ? mech_done(oparams) : rc;
}

static sasl_server_plug_t plain = {
	.mech_name = "PLAIN",
	.security_flags = SASL_SEC_NOANONYMOUS | SASL_SEC_PASS_CREDENTIALS,
	.features = SASL_FEAT_WANT_CLIENT_FIRST | SASL_FEAT_ALLOWS_PROXY,
	.mech_new = plain_new,
	.mech_step = plain_step,
};

int
mech_plain_init(const sasl_utils_t *utils, int max_version, int *out_version,
    sasl_server_plug_t **list, int *count)
{
	(void)utils;
	if (max_version < SASL_SERVER_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_SERVER_PLUG_VERSION;
	*list = &plain;
	*count = 1;
	return SASL_OK;
}
