/*
 * Fuzzes the reading, verification and mapping of a client's chain.  Input: a
 * chain as cert_examine() takes it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Its key is not kept anywhere. */
static const char ca[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBdTCCARugAwIBAgIUUAQVVaDZg12zycKDIozLnyhhE9UwCgYIKoZIzj0EAwIw\n"
    "DzENMAsGA1UEAwwERnV6ejAgFw0yNjExMjMyMjM3MDBaGA8yMTI2MTAzMDIyMzcw\n"
    "MFowDzENMAsGA1UEAwwERnV6ejBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABH7i\n"
    "GLAF+8fTEQbNRyt/nD6greP6fwulAiAs9LgBMN4AMb1CkQpPUJlcB6Az0p1HsM26\n"
    "qwpqnzettixwEpjQm3GjUzBRMB0GA1UdDgQWBBQpqDoSQOecJHApr03WwAglN5tW\n"
    "xjAfBgNVHSMEGDAWgBQpqDoSQOecJHApr03WwAglN5tWxjAPBgNVHRMBAf8EBTAD\n"
    "AQH/MAoGCCqGSM49BAMCA0gAMEUCICJbDpGjuHTfQeJkW4ljRbx8b/pDavawBFSQ\n"
    "80WdPpILAiEA4g7OvbZKeg1gLRlK9ViOvfOt94AwqpT5TxQ5UxAI4pc=\n"
    "-----END CERTIFICATE-----\n";

static enum cert_map
lookup(void *arg, enum cert_key key, const char *value, const char *issuer,
    struct cert_owner *out)
{
	const struct cert_facts *f = arg;

	(void)value;
	(void)issuer;
	/* names of what did not verify must never be asked for */
	if (key >= CERT_KEY_EMAIL && f->verify != CERT_OK)
		abort();
	if (key < CERT_KEY_EMAIL && f->sha256[0] != '7')
		return CERT_MAP_NONE;
	strcpy(out->user, "ann");
	return CERT_MAP_FOUND;
}

static void
must_be_text(const char *text, size_t size)
{
	const char *p;

	if (memchr(text, '\0', size) == NULL)
		abort();
	for (p = text; *p != '\0'; p++)
		if (*p <= ' ' || *p >= 0x7f)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct cert_trust *trust;
	static struct cert_facts f;
	struct cert_owner owner;
	char err[200];
	size_t i;

	if (trust == NULL &&
	    (trust = cert_trust_new(ca, sizeof(ca) - 1, NULL, 0,
		 CERT_ACCEPT_SERVER, err, sizeof(err))) == NULL)
		abort();
	if (cert_examine(trust, data, len, INT64_C(1800000000), &f) !=
	    CERT_RC_OK)
		return 0;
	must_be_text(f.subject, sizeof(f.subject));
	must_be_text(f.issuer, sizeof(f.issuer));
	must_be_text(f.cn_subject, sizeof(f.cn_subject));
	must_be_text(f.cn_issuer, sizeof(f.cn_issuer));
	for (i = 0; i < f.nemail; i++)
		must_be_text(f.email[i], sizeof(f.email[i]));
	if (cert_map_user(&f, lookup, &f, &owner) == CERT_MAP_FOUND &&
	    (f.verify == CERT_FAIL || !f.in_dates))
		abort();
	return 0;
}
