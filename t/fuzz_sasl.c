/*
 * Fuzzes conversations: any mechanism, any lines of a client.  Nobody may get
 * in but with the certificate of a user, or with a good token as its owner:
 * no password is right and no record is known to the client.
 *
 * Input: one octet of mechanism, one of flags, then lines, each with its length
 * in two octets before it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	MECHS = 9,
	/* flags */
	BINDING = 1, /* there is one */
	INITIAL = 2, /* the first line is an initial response */
	SHAPES = 4,  /* users' records have several */
	REFRESH = 8, /* the account is looked up again for a held password */
	LATER = 16,  /* a password that was held is judged by others */
	PROOFS = 32  /* nothing but SCRAM is offered */
};

static char record[SCRAM_RECORD_MAX];
static uint8_t flags;
static bool held, token_good;

/* alice has a record of SCRAM-SHA-256, carol one of crypt(3). */
static enum sasl_user
resolve(void *arg, const char *name, char out[SASL_USER_MAX + 1])
{
	(void)arg;
	if (strcmp(name, "flaky") == 0)
		return SASL_USER_TEMP;
	if (strncmp(name, "alice", 5) == 0)
		strcpy(out, "alice");
	else if (strncmp(name, "carol", 5) == 0)
		strcpy(out, "carol");
	else
		return SASL_USER_UNKNOWN;
	return SASL_USER_FOUND;
}

static enum sasl_user
lookup(void *arg, const char *user, struct sasl_account *out)
{
	(void)arg;
	sasl_account_add(
	    out, 0, strcmp(user, "carol") == 0 ? "$6$abcdefgh$x" : record);
	return SASL_USER_FOUND;
}

static enum sasl_user
alike(void *arg, const char *name, char out[SASL_USER_MAX + 1],
    struct sasl_account *account)
{
	if (name[0] != 'z')
		return SASL_USER_UNKNOWN;
	strcpy(out, "alice");
	return lookup(arg, "alice", account);
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
	if (memchr(password, 'h', len) != NULL && !held) {
		held = true;
		return SASL_PW_HOLD;
	}
	if (held && (flags & LATER) != 0)
		return SASL_PW_LATER;
	if (memchr(password, 't', len) != NULL)
		return SASL_PW_TEMP;
	return memchr(password, 'l', len) != NULL ? SASL_PW_LATER
						  : SASL_PW_WRONG;
}

/* "ok-NAME" is a good token of that name. */
static enum sasl_pw
token(void *arg, struct sasl_conv *conv, const char *text, size_t len,
    char user[SASL_USER_MAX + 1])
{
	(void)arg;
	(void)conv;
	if (len > 3 && len <= SASL_USER_MAX + 3 &&
	    memcmp(text, "ok-", 3) == 0) {
		memcpy(user, text + 3, len - 3);
		user[len - 3] = '\0';
		token_good = true;
		return SASL_PW_OK;
	}
	if (memchr(text, 't', len) != NULL)
		return SASL_PW_TEMP;
	return memchr(text, 'l', len) != NULL ? SASL_PW_LATER : SASL_PW_WRONG;
}

static void
init(void)
{
	static const unsigned char secret[32];
	static int done;
	const struct sasl_config cfg = {
		.cb = { resolve, lookup, alike, check, token },
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

/* Who is in is whom the certificate or the token stands for. */
static void
must_not_be_in(const struct sasl_conv *conv, enum sasl_rc rc, uint32_t mech)
{
	const char *user = sasl_conv_user(conv);

	if (user == NULL && rc != SASL_RC_OK)
		return;
	if (user == NULL || rc != SASL_RC_OK)
		abort();
	if (mech == SASL_MECH_EXTERNAL && strcmp(user, "alice") == 0)
		return;
	if ((mech & SASL_MECH_TOKENS) == 0 || !token_good)
		abort();
}

/* What others say of a password or token. */
static enum sasl_rc
answer(struct sasl_conv *conv, bool was_held, uint32_t mech)
{
	if (was_held) {
		if ((flags & REFRESH) != 0)
			sasl_conv_refresh(conv);
		return sasl_conv_again(conv);
	}
	if ((mech & SASL_MECH_TOKENS) != 0)
		return sasl_conv_resume_token(conv, SASL_PW_OK, "nobody");
	return sasl_conv_resume(conv, SASL_PW_WRONG, 0);
}

static void
converse(const struct sasl_params *params, const uint8_t *data, size_t len)
{
	uint32_t mech = sasl_mech_bit(params->mech);
	const uint8_t *text = NULL;
	struct sasl_conv *conv;
	bool was_held = false;
	enum sasl_rc rc;
	size_t n = 0;

	if ((flags & INITIAL) != 0)
		text = line(&data, &len, &n);
	rc = sasl_conv_start(&conv, params, text, n);
	while (conv != NULL && (rc == SASL_RC_CONTINUE || rc == SASL_RC_WAIT)) {
		must_not_be_in(conv, rc, mech);
		if (rc == SASL_RC_WAIT) {
			rc = answer(conv, held && !was_held, mech);
			was_held = held;
		} else if ((text = line(&data, &len, &n)) == NULL)
			rc = sasl_conv_cancel(conv);
		else
			rc = sasl_conv_step(conv, text, n);
	}
	if (conv != NULL) {
		must_not_be_in(conv, rc, mech);
		if (rc == SASL_RC_OK)
			sasl_conv_still_stands(conv);
	}
	sasl_conv_free(&conv);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct sasl_binding binding = { "tls-exporter",
		(const unsigned char *)"0123456789abcdef0123456789abcdef", 32 };
	static const struct sasl_shape shapes[] = { { false, 0, 0, 1 },
		{ false, SCRAM_ITER_MIN, 12, 1 }, { true, 0, 0, 1 } };
	struct sasl_params params = {
		.usable = ~0u, .tls_bits = 256, .cert_user = "alice"
	};

	init();
	if (len < 2)
		return 0;
	params.mech = sasl_mech_name(1u << data[0] % MECHS);
	flags = data[1];
	held = token_good = false;
	if ((flags & BINDING) != 0) {
		params.binding = &binding;
		params.nbinding = 1;
	}
	if ((flags & PROOFS) != 0)
		params.usable = SASL_MECH_PROOFS;
	sasl_global_shapes(shapes,
	    (flags & SHAPES) != 0 ? sizeof(shapes) / sizeof(shapes[0]) : 0);
	converse(&params, data + 2, len - 2);
	return 0;
}
