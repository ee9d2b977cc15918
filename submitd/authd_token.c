/*
 * Bearer tokens: those that are JSON Web Tokens are checked here by the keys
 * of oauth_key_file; others, and all without such a file, by oauth_command in
 * the role pam.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "auth/jwt.h"
#include "authd.h"

int
authd_token_start(const struct buf *keys, char *err, size_t errlen)
{
	if (keys->len == 0)
		return 0;
	A.keys =
	    jwt_keys_new((const char *)buf_head(keys), keys->len, err, errlen);
	return A.keys != NULL ? 0 : -1;
}

bool
authd_has_tokens(void)
{
	return A.keys != NULL || A.setup->conf.oauth_command[0] != '\0';
}

static enum jwt_rc
check(const char *token, size_t len, char user[SASL_USER_MAX + 1])
{
	const struct conf *cf = &A.setup->conf;
	const struct jwt_expect want = { .issuer = cf->oauth_issuer,
		.audience = cf->oauth_audience,
		.user_claim = cf->oauth_user_claim,
		.now = time(NULL) };

	_Static_assert(JWT_USER_MAX == SASL_USER_MAX, "names of one length");
	return jwt_check(A.keys, &want, token, len, user);
}

enum sasl_pw
authd_token(void *arg, struct sasl_conv *conv, const char *token, size_t len,
    char user[SASL_USER_MAX + 1])
{
	bool command = A.setup->conf.oauth_command[0] != '\0';
	char why[80];
	enum jwt_rc rc;

	if (A.keys != NULL) {
		rc = check(token, len, user);
		if (rc == JWT_OK)
			return SASL_PW_OK;
		if (rc != JWT_NOT_ONE || !command) {
			snprintf(
			    why, sizeof(why), "token: %s", jwt_rc_text(rc));
			sasl_conv_note(conv, why);
			return SASL_PW_WRONG;
		}
	}
	return authd_ask_token(arg, token, len);
}
