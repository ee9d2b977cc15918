/*
 * A PAM module for tests (t/e2e_pam.py, t/unit_pam.c), which build it as a
 * shared object.  What it does hangs on the name of the user.  The password of
 * all is "secret"; the code of those who need one is 123456.
 */
#include <poll.h>
#include <security/pam_appl.h>
#include <security/pam_modules.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
prompt(pam_handle_t *h, int style, const char *text, const char *want)
{
	const struct pam_message m = { style, text };
	const struct pam_message *mp = &m;
	const struct pam_conv *conv;
	struct pam_response *r = NULL;
	const void *item = NULL;
	int rc;

	if (pam_get_item(h, PAM_CONV, &item) != PAM_SUCCESS || item == NULL)
		return PAM_SYSTEM_ERR;
	conv = item;
	rc = conv->conv(1, &mp, &r, conv->appdata_ptr);
	if (rc != PAM_SUCCESS)
		return rc;
	if (want != NULL &&
	    (r == NULL || r->resp == NULL || strcmp(r->resp, want) != 0))
		rc = PAM_AUTH_ERR;
	if (r != NULL)
		free(r->resp);
	free(r);
	return rc;
}

static int
has_item(pam_handle_t *h, int what, const char *want)
{
	const void *item = NULL;

	return pam_get_item(h, what, &item) == PAM_SUCCESS && item != NULL &&
	    strcmp(item, want) == 0;
}

/* Never returns: somebody else must end it. */
static void
hang(const char *note)
{
	FILE *fp = note != NULL ? fopen(note, "w") : NULL;

	if (fp != NULL) {
		fprintf(fp, "%d\n", (int)getpid());
		fclose(fp);
	}
	for (;;)
		pause();
}

static int
after_password(pam_handle_t *h, const char *user, const char *note)
{
	if (strcmp(user, "slow") == 0)
		hang(note);
	if (strcmp(user, "children") == 0 && fork() == 0)
		hang(note);
	if (strcmp(user, "crash") == 0)
		raise(SIGKILL);
	if (strcmp(user, "quits") == 0)
		_exit(0);
	if (strcmp(user, "otp") == 0) {
		prompt(h, PAM_TEXT_INFO, "Now the code", NULL);
		return prompt(h, PAM_PROMPT_ECHO_ON, "OTP: ", "123456");
	}
	if (strcmp(user, "greedy") == 0)
		return prompt(h, PAM_PROMPT_ECHO_OFF, "More: ", "") ==
			PAM_SUCCESS
		    ? PAM_SUCCESS
		    : PAM_AUTH_ERR;
	if (strcmp(user, "rename") == 0)
		return pam_set_item(h, PAM_USER, "ann");
	if (strcmp(user, "rhost") == 0)
		return has_item(h, PAM_RHOST, "127.0.0.1") ? PAM_SUCCESS
							   : PAM_AUTH_ERR;
	if (strcmp(user, "broken") == 0)
		return PAM_AUTHINFO_UNAVAIL;
	return PAM_SUCCESS;
}

int
pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv)
{
	const char *user = NULL;
	int rc;

	(void)flags;
	if (pam_get_user(h, &user, NULL) != PAM_SUCCESS)
		return PAM_SYSTEM_ERR;
	pam_fail_delay(h, 60 * 1000 * 1000);
	if (strcmp(user, "tardy") == 0) /* as a directory far away */
		poll(NULL, 0, 400);
	rc = prompt(h, PAM_PROMPT_ECHO_OFF, "Password: ", "secret");
	if (rc != PAM_SUCCESS)
		return rc;
	return after_password(h, user, argc > 0 ? argv[0] : NULL);
}

int
pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)h, (void)flags, (void)argc, (void)argv;
	return PAM_SUCCESS;
}

int
pam_sm_acct_mgmt(pam_handle_t *h, int flags, int argc, const char **argv)
{
	const char *user = NULL;

	(void)flags, (void)argc, (void)argv;
	if (pam_get_user(h, &user, NULL) != PAM_SUCCESS)
		return PAM_SYSTEM_ERR;
	if (strcmp(user, "expired") == 0)
		return PAM_ACCT_EXPIRED;
	if (strcmp(user, "locked") == 0)
		return PAM_PERM_DENIED;
	if (strcmp(user, "stale") == 0)
		return PAM_NEW_AUTHTOK_REQD;
	if (strcmp(user, "system") == 0)
		return PAM_SYSTEM_ERR;
	return PAM_SUCCESS;
}
