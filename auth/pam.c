/*
 * PAM (pam.h).  The conversation answers prompts by their order alone: what
 * a prompt says is a module's choice and a translator's.  A module that asks
 * for more than there is ends the login.
 */
#include "pam.h"

#include <ctype.h>
#include <security/pam_appl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES_MAX = 16 }; /* texts and prompts of one login */

struct conv {
	const char *secret[2];
	size_t len[2];
	unsigned secrets, asked, messages;
	bool exhausted; /* there was a prompt without an answer */
};

static char *
next_secret(struct conv *c)
{
	unsigned n = c->asked++;

	if (n >= c->secrets) {
		c->exhausted = true;
		return NULL;
	}
	return strndup(c->secret[n], c->len[n]);
}

/* Modules free what they get; so the answers are theirs only on success. */
static void
drop_answers(struct pam_response *r, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		if (r[i].resp == NULL)
			continue;
		explicit_bzero(r[i].resp, strlen(r[i].resp));
		free(r[i].resp);
	}
	free(r);
}

static int
converse(
    int n, const struct pam_message **msg, struct pam_response **out, void *arg)
{
	struct conv *c = arg;
	struct pam_response *r;
	int i;

	*out = NULL;
	if (n <= 0 || n > PAM_MAX_NUM_MSG ||
	    (c->messages += (unsigned)n) > MESSAGES_MAX)
		return PAM_CONV_ERR;
	if ((r = calloc((size_t)n, sizeof(*r))) == NULL)
		return PAM_BUF_ERR;
	for (i = 0; i < n; i++) {
		switch (msg[i]->msg_style) {
		case PAM_PROMPT_ECHO_OFF:
		case PAM_PROMPT_ECHO_ON:
			if ((r[i].resp = next_secret(c)) == NULL)
				goto fail;
			break;
		case PAM_TEXT_INFO:
		case PAM_ERROR_MSG:
			break;
		default:
			goto fail;
		}
	}
	*out = r;
	return PAM_SUCCESS;
fail:
	drop_answers(r, n);
	return PAM_CONV_ERR;
}

/* Modules want to punish failures by sleeping; the reply is delayed anyway. */
static void
no_delay(int rc, unsigned usec, void *arg)
{
	(void)rc, (void)usec, (void)arg;
}

static enum pam_rc
meaning(int rc)
{
	switch (rc) {
	case PAM_SUCCESS:
		return PAM_RC_OK;
	case PAM_AUTH_ERR:
	case PAM_USER_UNKNOWN:
	case PAM_MAXTRIES:
	case PAM_PERM_DENIED:
	case PAM_ACCT_EXPIRED:
	case PAM_CRED_EXPIRED:
	case PAM_AUTHTOK_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD:
		return PAM_RC_REFUSED;
	default:
		return PAM_RC_TEMP;
	}
}

static int
set_items(pam_handle_t *h, const char *rhost)
{
	union { /* the item is a function, but passes as a pointer to data */
		void (*fn)(int, unsigned, void *);
		const void *p;
	} delay = { no_delay };
	int rc = pam_set_item(h, PAM_RHOST, rhost);

	if (rc == PAM_SUCCESS)
		rc = pam_set_item(h, PAM_TTY, "submitd");
	if (rc == PAM_SUCCESS)
		rc = pam_set_item(h, PAM_FAIL_DELAY, delay.p);
	return rc;
}

/* A module may say that the login is another user's; here it is not. */
static bool
same_user(pam_handle_t *h, const char *user)
{
	const void *now = NULL;

	return pam_get_item(h, PAM_USER, &now) == PAM_SUCCESS && now != NULL &&
	    strcmp(now, user) == 0;
}

/* False: the password can't hold a code. */
static bool
split(const struct pam_login *l, struct conv *c)
{
	size_t n = l->otp_digits, i;

	c->secret[0] = l->password;
	c->len[0] = l->len;
	c->secrets = 1;
	if (n == 0)
		return true;
	if (l->len <= n)
		return false;
	for (i = l->len - n; i < l->len; i++)
		if (!isdigit((unsigned char)l->password[i]))
			return false;
	c->len[0] -= n;
	c->secret[1] = l->password + c->len[0];
	c->len[1] = n;
	c->secrets = 2;
	return true;
}

static int
run(pam_handle_t *h, const char **phase)
{
	int rc;

	*phase = "authentication";
	rc = pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (rc != PAM_SUCCESS)
		return rc;
	*phase = "account";
	return pam_acct_mgmt(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
}

static enum pam_rc
judge(pam_handle_t *h, const struct pam_login *l, const struct conv *c,
    int pam_rc, const char *phase, char detail[PAM_DETAIL_MAX])
{
	enum pam_rc rc = meaning(pam_rc);

	if (rc == PAM_RC_OK && !same_user(h, l->user)) {
		snprintf(detail, PAM_DETAIL_MAX, "PAM changed the user");
		return PAM_RC_REFUSED;
	}
	if (rc == PAM_RC_OK)
		return rc;
	snprintf(detail, PAM_DETAIL_MAX, "PAM %s: %s (%d)", phase,
	    pam_strerror(h, pam_rc), pam_rc);
	if (c->exhausted) {
		snprintf(detail, PAM_DETAIL_MAX,
		    "PAM asked for more than %s; see pam_otp",
		    c->secrets == 1 ? "a password" : "a password and a code");
		return PAM_RC_TEMP;
	}
	return rc;
}

enum pam_rc
pam_login(const struct pam_login *l, char detail[PAM_DETAIL_MAX])
{
	struct conv c = { .asked = 0 };
	const struct pam_conv conv = { converse, &c };
	const char *dir =
	    l->confdir != NULL && l->confdir[0] != '\0' ? l->confdir : NULL;
	const char *phase = "start";
	pam_handle_t *h = NULL;
	enum pam_rc verdict;
	int rc;

	detail[0] = '\0';
	if (l->len == 0 || l->len > PAM_PASSWORD_MAX ||
	    memchr(l->password, '\0', l->len) != NULL || !split(l, &c)) {
		snprintf(detail, PAM_DETAIL_MAX, "no such password can be");
		return PAM_RC_REFUSED;
	}
	rc = pam_start_confdir(l->service, l->user, &conv, dir, &h);
	if (rc != PAM_SUCCESS) {
		snprintf(detail, PAM_DETAIL_MAX, "PAM service %.64s: error %d",
		    l->service, rc);
		return PAM_RC_TEMP;
	}
	if ((rc = set_items(h, l->rhost)) == PAM_SUCCESS)
		rc = run(h, &phase);
	verdict = judge(h, l, &c, rc, phase, detail);
	pam_end(h, rc);
	return verdict;
}
