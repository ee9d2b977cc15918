/*
 * Compares the names of certificates with those sendmail makes of them.
 *
 *	cert_names FILE
 *
 * Each line of FILE is a JSON object with a certificate ("pem") and the names
 * recorded for it ("result").  The certificate is examined as one that a peer
 * has sent.  Every disagreement is printed, then "agree A of N, quirk B
 * refused"; B counts vectors with "quirk" whose names differ, so that no entry
 * made for sendmail's matches.  Exit status 0 if all N without quirk agree.
 */
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/cert.h"

#define DER_MAX 65536

/* A chain of one, as cert_examine() wants it; 0 if pem is no certificate. */
static size_t
chain_of(const char *pem, unsigned char *chain)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	int len = cert != NULL ? i2d_X509(cert, NULL) : 0;
	unsigned char *der = chain + sizeof(uint32_t);
	uint32_t n = 0;

	if (len > 0 && len <= DER_MAX) {
		n = (uint32_t)len;
		memcpy(chain, &n, sizeof(n));
		i2d_X509(cert, &der);
	}
	X509_free(cert);
	BIO_free(bio);
	return n > 0 ? n + sizeof(n) : 0;
}

static void
set(json_t *got, const char *key, const char *text)
{
	json_object_set_new(got, key, json_string(text));
}

/* No CA is given, so nothing verifies; the names are there all the same. */
static json_t *
names_of(const char *pem)
{
	static struct cert_facts facts;
	static unsigned char chain[sizeof(uint32_t) + DER_MAX];
	size_t len = chain_of(pem, chain);
	json_t *got = json_object();

	if (len == 0 || cert_examine(NULL, chain, len, 0, &facts) != CERT_RC_OK)
		return got;
	set(got, "cert_subject", facts.subject);
	set(got, "cert_issuer", facts.issuer);
	set(got, "cn_subject", facts.cn_subject);
	set(got, "cn_issuer", facts.cn_issuer);
	return got;
}

struct counts {
	int agree, plain, refused;
};

static void
print_difference(json_t *vector, json_t *got)
{
	const char *id = json_string_value(json_object_get(vector, "id"));
	char *a = json_dumps(json_object_get(vector, "result"), JSON_SORT_KEYS);
	char *b = json_dumps(got, JSON_SORT_KEYS);

	printf("%s: expected %s, got %s\n", id != NULL ? id : "?", a, b);
	free(a);
	free(b);
}

static void
run_vector(json_t *json, struct counts *n)
{
	const char *pem = json_string_value(json_object_get(json, "pem"));
	json_t *got = names_of(pem != NULL ? pem : "");
	bool equal = json_equal(json_object_get(json, "result"), got);

	if (json_object_get(json, "quirk") != NULL) {
		n->refused += !equal;
	} else {
		n->plain++;
		n->agree += equal;
	}
	if (!equal)
		print_difference(json, got);
	json_decref(got);
}

static int
run_file(FILE *f, struct counts *n)
{
	char *line = NULL;
	size_t size = 0;
	int rc = 0, lineno = 0;

	while (getline(&line, &size, f) != -1) {
		json_error_t error;
		json_t *json;

		lineno++;
		if (line[strspn(line, " \t\r\n")] == '\0')
			continue;
		if ((json = json_loads(line, 0, &error)) == NULL) {
			fprintf(stderr, "line %d: %s\n", lineno, error.text);
			rc = -1;
			continue;
		}
		run_vector(json, n);
		json_decref(json);
	}
	free(line);
	return ferror(f) ? -1 : rc;
}

int
main(int argc, char **argv)
{
	struct counts n = { 0 };
	FILE *f;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "usage: cert_names FILE\n");
		return 64;
	}
	if ((f = fopen(argv[1], "r")) == NULL) {
		perror(argv[1]);
		return 66;
	}
	rc = run_file(f, &n);
	fclose(f);
	printf(
	    "agree %d of %d, quirk %d refused\n", n.agree, n.plain, n.refused);
	return rc == 0 && n.plain + n.refused > 0 && n.agree == n.plain ? 0 : 1;
}
