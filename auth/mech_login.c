/*
 * LOGIN, which has no RFC: the server asks for the name and then for the
 * password, by the two prompts that clients look for.  Some clients send the
 * name with the command; then only the password is asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "mech.h"

struct login {
	enum { LOGIN_START, LOGIN_NAME, LOGIN_PASSWORD } next;
	char name[SASL_USER_MAX];
	size_t len;
};

static const char name_prompt[] = "Username:";
static const char password_prompt[] = "Password:";

static int
login_new(void *glob, sasl_server_params_t *params, const char *challenge,
    unsigned len, void **context)
{
	(void)glob;
	(void)params;
	(void)challenge;
	(void)len;
	*context = calloc(1, sizeof(struct login));
	return *context != NULL ? SASL_OK : SASL_NOMEM;
}

static void
login_dispose(void *context, const sasl_utils_t *utils)
{
	(void)utils;
	free(context);
}

static int
prompt(struct login *l, int next, const char *text, const char **out,
    unsigned *outlen)
{
	l->next = next;
	*out = text;
	*outlen = (unsigned)strlen(text);
	return SASL_CONTINUE;
}

static int
take_name(struct login *l, struct sasl_conv *conv, const char *in, size_t len)
{
	if (len == 0)
		return mech_malformed(conv, "LOGIN: empty name");
	if (len > sizeof(l->name))
		return mech_malformed(conv, "LOGIN: name too long");
	memcpy(l->name, in, len);
	l->len = len;
	return SASL_OK;
}

static int
take_password(struct login *l, struct sasl_conv *conv,
    sasl_server_params_t *params, const char *in, size_t len,
    sasl_out_params_t *oparams)
{
	int rc;

	if (len > 0 && memchr(in, '\0', len) != NULL)
		return mech_malformed(conv, "LOGIN: NUL in the password");
	rc = mech_identify(params, oparams, "", 0, l->name, l->len);
	if (rc != SASL_OK)
		return rc;
	return mech_password(conv, in, len);
}

static int
login_step(void *context, sasl_server_params_t *params, const char *in,
    unsigned len, const char **out, unsigned *outlen,
    sasl_out_params_t *oparams)
{
	struct sasl_conv *conv = mech_conv(params->utils);
	struct login *l = context;
	int rc;

	*out = NULL;
	*outlen = 0;
	if (conv == NULL || l == NULL)
		return SASL_FAIL;
	if (mech_waiting(conv)) {
		rc = mech_answer(conv);
	} else if (l->next == LOGIN_START && in == NULL) {
		return prompt(l, LOGIN_NAME, name_prompt, out, outlen);
	} else if (l->next != LOGIN_PASSWORD) {
		if ((rc = take_name(l, conv, in, len)) != SASL_OK)
			return rc;
		return prompt(l, LOGIN_PASSWORD, password_prompt, out, outlen);
	} else {
		rc = take_password(l, conv, params, in, len, oparams);
	}
	return rc == SASL_OK ? mech_done(oparams) : rc;
}

static sasl_server_plug_t login = {
	.mech_name = "LOGIN",
	.security_flags = SASL_SEC_NOANONYMOUS | SASL_SEC_PASS_CREDENTIALS,
	.mech_new = login_new,
	.mech_step = login_step,
	.mech_dispose = login_dispose,
};

int
mech_login_init(const sasl_utils_t *utils, int max_version, int *out_version,
    sasl_server_plug_t **list, int *count)
{
	(void)utils;
	if (max_version < SASL_SERVER_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_SERVER_PLUG_VERSION;
	*list = &login;
	*count = 1;
	return SASL_OK;
}
