/*
 * Fuzzes conversations: any mechanism, any lines of a client.  Nobody may get
 * in, since no password is right and no record is known to the client.
 *
 * Input: one octet of mechanism and flags, then lines, each with its length
 * in two octets before it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char record[SCRAM_RECORD_MAX];

static enum sasl_user
resolve(void *arg, const char *name, char out[SASL_USER_MAX + 1])
{
	(void)arg;
	if (strcmp(name, "flaky") == 0)
		return SASL_USER_TEMP;
	if (strncmp(name, "alice", 5) != 0)
		return SASL_USER_UNKNOWN;
	strcpy(out, "alice");
	return SASL_USER_FOUND;
}

static enum sasl_user
lookup(void *arg, const char *user, struct sasl_account *out)
{
	(void)arg;
	(void)user;
	sasl_account_add(out, 0, record);
	return SASL_USER_FOUND;
}

static enum sasl_pw
check(void *arg, struct sasl_conv *conv, const char *user,
    const struct sasl_account *a, const char *password, size_t len,
    int64_t *device)
{
	(void)arg;
	(void)conv;
	(void)user;
	(void)a;
	(void)device;
	return memchr(password, 'l', len) != NULL ? SASL_PW_LATER
						  : SASL_PW_WRONG;
}

static void
init(void)
{
	static const unsigned char secret[32];
	static int done;
	const struct sasl_config cfg = {
		.cb = { resolve, lookup, NULL, check, NULL },
		.fqdn = "mail.example.org",
		.secret = secret,
		.iterations = SCRAM_ITER_MIN,
		.sha1 = true,
	};
	char err[256];

	if (done++ != 0)
		return;
	if (scram_record_make("not to be guessed", 17, SCRAM_SHA_256,
		SCRAM_ITER_MIN, record, sizeof(record)) == -1 ||
	    sasl_global_init(&cfg, err, sizeof(err)) == -1)
		abort();
}

/* The next line; NULL at the end. */
static const uint8_t *
line(const uint8_t **p, size_t *left, size_t *len)
{
	const uint8_t *at;

	if (*left < 2)
		return NULL;
	*len = (size_t)((*p)[0] << 8 | (*p)[1]);
	*p += 2;
	*left -= 2;
	if (*len > *left)
		*len = *left;
	at = *p;
	*p += *len;
	*left -= *len;
	return at;
}

static void
must_not_be_in(const struct sasl_conv *conv, enum sasl_rc rc, bool external)
{
	if (!external && (rc == SASL_RC_OK || sasl_conv_user(conv) != NULL))
		abort();
	/* a certificate stands for its own user only */
	if (external && rc == SASL_RC_OK &&
	    strcmp(sasl_conv_user(conv), "alice") != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct sasl_binding binding = { "tls-exporter",
		(const unsigned char *)"0123456789abcdef0123456789abcdef", 32 };
	struct sasl_params params = {
		.usable = ~0u, .tls_bits = 256, .cert_user = "alice"
	};
	struct sasl_conv *conv;
	const uint8_t *text;
	enum sasl_rc rc;
	size_t n = 0;
	bool external;

	init();
	if (len < 1)
		return 0;
	params.mech = sasl_mech_name(1u << (data[0] & 7) % 7);
	external = strcmp(params.mech, "EXTERNAL") == 0;
	if ((data[0] & 8) != 0) {
		params.binding = &binding;
		params.nbinding = 1;
	}
	text = NULL;
	len--;
	if ((data[0] & 16) != 0) {
		data++;
		text = line(&data, &len, &n);
	} else {
		data++;
	}
	rc = sasl_conv_start(&conv, &params, text, n);
	while (conv != NULL && (rc == SASL_RC_CONTINUE || rc == SASL_RC_WAIT)) {
		must_not_be_in(conv, rc, external);
		if (rc == SASL_RC_WAIT)
			rc = sasl_conv_resume(conv, SASL_PW_WRONG, 0);
		else if ((text = line(&data, &len, &n)) == NULL)
			rc = sasl_conv_cancel(conv);
		else
			rc = sasl_conv_step(conv, text, n);
	}
	if (conv != NULL)
		must_not_be_in(conv, rc, external);
	sasl_conv_free(&conv);
	return 0;
}
