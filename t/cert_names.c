/*
 * Compares the names of certificates with those sendmail makes of them.
 *
 *	cert_names FILE
 *
 * Each line of FILE is a JSON object with a certificate ("pem") and the names
 * recorded for it ("result").  Every disagreement is printed, then "agree A of
 * N, quirk B refused"; vectors with "quirk" are those whose names must raise a
 * doubt (CERTNAME_*).  Exit status 0 if all N without quirk agree.
 */
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/certname.h"

#define ATTRS_MAX 64
#define OID_SIZE  128

struct name {
	struct certname_attr attr[ATTRS_MAX];
	char oid[ATTRS_MAX][OID_SIZE];
	size_t n;
};

static void
take_entry(struct name *name, const X509_NAME_ENTRY *entry)
{
	const ASN1_OBJECT *type = X509_NAME_ENTRY_get_object(entry);
	const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
	struct certname_attr *a = &name->attr[name->n];
	int nid = OBJ_obj2nid(type);

	a->type = nid != NID_undef ? OBJ_nid2sn(nid) : NULL;
	if (a->type == NULL) {
		OBJ_obj2txt(name->oid[name->n], OID_SIZE, type, 1);
		a->type = name->oid[name->n];
	}
	a->rdn = (unsigned int)X509_NAME_ENTRY_set(entry);
	a->value = ASN1_STRING_get0_data(value);
	a->len = (size_t)ASN1_STRING_length(value);
	name->n++;
}

static void
take_name(struct name *name, const X509_NAME *from)
{
	int entries = X509_NAME_entry_count(from);

	name->n = 0;
	for (int i = 0; i < entries && i < ATTRS_MAX; i++)
		take_entry(name, X509_NAME_get_entry(from, i));
}

static void
set_names(json_t *got, const char *dn_key, const char *cn_key,
    const X509_NAME *from, unsigned int *doubt)
{
	static struct name name;
	char text[CERTNAME_SIZE];

	take_name(&name, from);
	*doubt |= certname_dn(name.attr, name.n, text);
	json_object_set_new(got, dn_key, json_string(text));
	certname_cn(name.attr, name.n, text);
	json_object_set_new(got, cn_key, json_string(text));
}

static json_t *
names_of(const char *pem, unsigned int *doubt)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	json_t *got = json_object();

	if (cert != NULL) {
		set_names(got, "cert_subject", "cn_subject",
		    X509_get_subject_name(cert), doubt);
		set_names(got, "cert_issuer", "cn_issuer",
		    X509_get_issuer_name(cert), doubt);
	}
	X509_free(cert);
	BIO_free(bio);
	return got;
}

struct counts {
	int agree, plain, refused;
};

static void
run_vector(json_t *json, struct counts *n)
{
	const char *pem = json_string_value(json_object_get(json, "pem"));
	json_t *want = json_object_get(json, "result"), *got;
	unsigned int doubt = 0;

	got = names_of(pem != NULL ? pem : "", &doubt);
	if (json_object_get(json, "quirk") != NULL) {
		n->refused += doubt != 0;
	} else {
		n->plain++;
		n->agree += json_equal(want, got);
	}
	if (!json_equal(want, got)) {
		const char *id = json_string_value(json_object_get(json, "id"));
		char *a = json_dumps(want, JSON_SORT_KEYS);
		char *b = json_dumps(got, JSON_SORT_KEYS);

		printf(
		    "%s: expected %s, got %s\n", id != NULL ? id : "?", a, b);
		free(a);
		free(b);
	}
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
