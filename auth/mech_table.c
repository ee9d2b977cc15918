/*
 * The mechanisms: what each needs, and the text that offers them.  Cyrus has
 * such a list too, but it can't name the -PLUS forms, and the function that
 * prints it writes past its buffer when all listed mechanisms can bind.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "sasl.h"

enum {
	NEEDS_CERT = 1,    /* a certificate that names a user */
	NEEDS_BINDING = 2, /* a channel binding value */
	PLAINTEXT = 4      /* the password goes over the wire */
};

static const struct row {
	uint32_t bit;
	const char *name;
	unsigned flags;
} rows[] = {
	/* clang-format off */
	{ SASL_MECH_SCRAM_SHA_256_PLUS,	"SCRAM-SHA-256-PLUS",	NEEDS_BINDING },
	{ SASL_MECH_SCRAM_SHA_256,	"SCRAM-SHA-256",	0 },
	{ SASL_MECH_SCRAM_SHA_1_PLUS,	"SCRAM-SHA-1-PLUS",	NEEDS_BINDING },
	{ SASL_MECH_SCRAM_SHA_1,	"SCRAM-SHA-1",		0 },
	{ SASL_MECH_EXTERNAL,		"EXTERNAL",		NEEDS_CERT },
	{ SASL_MECH_PLAIN,		"PLAIN",		PLAINTEXT },
	{ SASL_MECH_LOGIN,		"LOGIN",		PLAINTEXT },
	{ SASL_MECH_OAUTHBEARER,	"OAUTHBEARER",		0 },
	{ SASL_MECH_XOAUTH2,		"XOAUTH2",		0 },
	/* clang-format on */
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

uint32_t
sasl_mech_usable(const struct sasl_offer *offer)
{
	uint32_t mask = 0;
	size_t i;

	if (!offer->tls)
		return 0;
	for (i = 0; i < ROWS; i++)
		if ((offer->enabled & rows[i].bit) != 0 &&
		    (offer->cert || (rows[i].flags & NEEDS_CERT) == 0) &&
		    (offer->binding || (rows[i].flags & NEEDS_BINDING) == 0))
			mask |= rows[i].bit;
	return mask;
}

size_t
sasl_mech_names(uint32_t mask, char *out, size_t outlen)
{
	size_t i, len = 0;

	if (outlen > 0)
		out[0] = '\0';
	if (outlen < SASL_NAMES_MAX)
		return 0;
	for (i = 0; i < ROWS; i++)
		if ((mask & rows[i].bit) != 0)
			len += (size_t)snprintf(out + len, outlen - len, "%s%s",
			    len > 0 ? " " : "", rows[i].name);
	return len;
}

uint32_t
sasl_mech_bit(const char *name)
{
	size_t i;

	for (i = 0; i < ROWS; i++)
		if (strcasecmp(name, rows[i].name) == 0)
			return rows[i].bit;
	return 0;
}

int
sasl_mech_list(const char *text, uint32_t *mask, const char **bad, size_t *len)
{
	static const char between[] = " ,\t";
	char name[SASL_NAMES_MAX];
	uint32_t bit;
	const char *p;
	size_t n;

	*mask = 0;
	for (p = text + strspn(text, between); *p != '\0';
	     p += n, p += strspn(p, between)) {
		n = strcspn(p, between);
		snprintf(name, sizeof(name), "%.*s", (int)n, p);
		if ((bit = sasl_mech_bit(name)) == 0) {
			*bad = p;
			*len = n;
			return -1;
		}
		*mask |= bit;
	}
	return 0;
}

bool
sasl_mech_list_has_sha1(const char *text)
{
	const char *bad;
	uint32_t mask;
	size_t len;

	return sasl_mech_list(text, &mask, &bad, &len) == 0 &&
	    (mask & SASL_MECH_SHA_1) != 0;
}

const char *
sasl_mech_name(uint32_t bit)
{
	size_t i;

	for (i = 0; i < ROWS; i++)
		if (rows[i].bit == bit)
			return rows[i].name;
	return "";
}

bool
sasl_mech_is_plaintext(uint32_t bit)
{
	size_t i;

	for (i = 0; i < ROWS; i++)
		if (rows[i].bit == bit)
			return (rows[i].flags & PLAINTEXT) != 0;
	return false;
}
