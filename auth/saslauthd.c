/* saslauthd as the judge of passwords, through Cyrus: see saslauthd.h. */
#include "saslauthd.h"

#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROC(f) ((sasl_callback_ft)(void (*)(void))(f))

static int
cb_getopt(void *path, const char *plugin, const char *option,
    const char **result, unsigned *len)
{
	(void)plugin;
	*result = NULL;
	if (strcmp(option, "pwcheck_method") == 0)
		*result = "saslauthd";
	else if (strcmp(option, "saslauthd_path") == 0)
		*result = path;
	else if (strcmp(option, "log_level") == 0)
		*result = "0";
	if (*result == NULL)
		return SASL_FAIL;
	if (len != NULL)
		*len = (unsigned)strlen(*result);
	return SASL_OK;
}

/* Without it Cyrus writes to syslog. */
static int
cb_log(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

/* Neither plugins nor configuration files are needed. */
static int
cb_verifyfile(void *context, const char *file, sasl_verify_type_t type)
{
	(void)context;
	(void)file;
	(void)type;
	return SASL_CONTINUE;
}

static int
cb_getconfpath(void *context, char **path)
{
	static char nowhere[] = "/nonexistent";

	(void)context;
	*path = nowhere;
	return SASL_OK;
}

/* Cyrus takes the length of a password, but sends what comes before a NUL. */
static int
ask(const char *user, const char *password, size_t len)
{
	sasl_conn_t *conn = NULL;
	char *text;
	int rc;

	if (memchr(password, '\0', len) != NULL)
		return SASL_BADAUTH;
	if ((text = strndup(password, len)) == NULL)
		return SASL_NOMEM;
	rc = sasl_server_new(
	    "smtp", "localhost", NULL, NULL, NULL, NULL, 0, &conn);
	if (rc == SASL_OK)
		rc = sasl_checkpass(
		    conn, user, (unsigned)strlen(user), text, (unsigned)len);
	if (conn != NULL)
		sasl_dispose(&conn);
	explicit_bzero(text, len);
	free(text);
	return rc;
}

enum sasl_pw
saslauthd_check(const char *path, const char *user, const char *password,
    size_t len, char *detail, size_t detaillen)
{
	char *copy = strdup(path);
	const sasl_callback_t callbacks[] = {
		{ SASL_CB_GETOPT, PROC(cb_getopt), copy },
		{ SASL_CB_LOG, PROC(cb_log), NULL },
		{ SASL_CB_VERIFYFILE, PROC(cb_verifyfile), NULL },
		{ SASL_CB_GETCONFPATH, PROC(cb_getconfpath), NULL },
		{ SASL_CB_LIST_END, NULL, NULL },
	};
	int rc = SASL_NOMEM;

	detail[0] = '\0';
	unsetenv("SASL_PATH");
	unsetenv("SASL_CONF_PATH");
	if (copy != NULL)
		rc = sasl_server_init(callbacks, "submitd");
	if (rc == SASL_OK)
		rc = ask(user, password, len);
	if (rc != SASL_OK)
		snprintf(detail, detaillen, "saslauthd: %s (%d)",
		    sasl_errstring(rc, NULL, NULL), rc);
	sasl_done();
	free(copy);
	switch (rc) {
	case SASL_OK:
		return SASL_PW_OK;
	case SASL_BADAUTH:
	case SASL_NOUSER:
		return SASL_PW_WRONG;
	default:
		return SASL_PW_TEMP;
	}
}
