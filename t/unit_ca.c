/* Tests of auth/ca.c, what it makes looked at by auth/certfile.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/ca.h"
#include "auth/cert.h"
#include "auth/certfile.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW      INT64_C(1750000000)
#define DAY      86400

static char err[256];

/* ---- a CA for all tests ---- */

static struct ca_octets ca_pem, ca_key_pem_;
static struct ca *ca;

static int
setup(void **state)
{
	const struct ca_wish wish = { .use = CA_AUTHORITY,
		.cn = "Test CA",
		.not_before = NOW - DAY,
		.not_after = NOW + 100 * DAY };
	struct ca_key *key = ca_key_new(err, sizeof(err));
	struct ca_cert cert;

	(void)state;
	assert_non_null(key);
	assert_int_equal(ca_self_sign(&wish, key, &cert, err, sizeof(err)), 0);
	assert_int_equal(ca_key_pem(key, &ca_key_pem_, err, sizeof(err)), 0);
	ca_pem = cert.pem;
	cert.pem.p = NULL;
	ca_cert_free(&cert);
	ca_key_free(&key);
	ca = ca_open(ca_pem.p, ca_pem.len, ca_key_pem_.p, ca_key_pem_.len, err,
	    sizeof(err));
	return ca != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	ca_free(&ca);
	ca_octets_free(&ca_pem);
	ca_octets_free(&ca_key_pem_);
	return 0;
}

/* A certificate of the CA for a new key. */
static struct ca_key *
issue(const struct ca_wish *wish, struct ca_cert *out)
{
	struct ca_key *key = ca_key_new(err, sizeof(err));

	assert_non_null(key);
	if (ca_issue(ca, wish, key, out, err, sizeof(err)) != 0)
		fail_msg("issue: %s", err);
	return key;
}

static const struct ca_wish device = { .use = CA_DEVICE,
	.cn = "ann",
	.ou = "H\xc3\xa4ndi",
	.not_before = NOW - 300,
	.not_after = NOW + 10 * DAY };

/* What the server says of a chain of one. */
static void
examine(const struct ca_cert *cert, const char *crl, size_t crl_len,
    int64_t now, struct cert_facts *facts)
{
	struct cert_trust *trust = cert_trust_new((const char *)ca_pem.p,
	    ca_pem.len, crl, crl_len, 0, err, sizeof(err));
	uint32_t n = (uint32_t)cert->der.len;
	unsigned char chain[4096];

	assert_non_null(trust);
	memcpy(chain, &n, sizeof(n));
	memcpy(chain + sizeof(n), cert->der.p, n);
	assert_int_equal(
	    cert_examine(trust, chain, n + sizeof(n), now, facts), CERT_RC_OK);
	cert_trust_free(&trust);
}

/* ---- what is issued ---- */

static void
test_device(void **state)
{
	static struct cert_facts facts;
	struct ca_cert cert;
	struct ca_key *key = issue(&device, &cert);

	(void)state;
	examine(&cert, NULL, 0, NOW, &facts);
	assert_int_equal(facts.verify, CERT_OK);
	assert_string_equal(facts.sha256, cert.sha256);
	assert_string_equal(facts.spki_sha256, cert.spki_sha256);
	assert_string_equal(facts.subject, "/CN=ann/OU=H+5CxC3+5CxA4ndi");
	assert_int_equal(facts.nemail, 0);
	assert_int_equal(facts.not_after, NOW + 10 * DAY);
	assert_int_equal(cert.not_after, NOW + 10 * DAY);
	assert_int_equal(strlen(cert.serial), 32);
	assert_string_equal(cert.subject, "CN = ann, OU = H\xc3\xa4ndi");
	examine(&cert, NULL, 0, NOW + 11 * DAY, &facts);
	assert_int_equal(facts.verify, CERT_FAIL);
	ca_cert_free(&cert);
	ca_key_free(&key);
}

/* Is the text in what openssl would print of the certificate? */
static bool
prints(const struct ca_cert *cert, const char *text)
{
	const unsigned char *p = cert->der.p;
	X509 *x = d2i_X509(NULL, &p, (long)cert->der.len);
	BIO *bio = BIO_new(BIO_s_mem());
	char *out;
	long len;
	bool found;

	assert_non_null(x);
	X509_print(bio, x);
	len = BIO_get_mem_data(bio, &out);
	found = memmem(out, (size_t)len, text, strlen(text)) != NULL;
	BIO_free(bio);
	X509_free(x);
	return found;
}

static void
test_extensions(void **state)
{
	static const char *const hosts[] = { "mail.example.org",
		"*.example.net", "192.0.2.1", "2001:db8::1" };
	const struct ca_wish server = { .use = CA_SERVER,
		.cn = "mail.example.org",
		.host = hosts,
		.nhost = COUNT(hosts),
		.not_before = NOW,
		.not_after = NOW + DAY };
	struct ca_cert cert;
	struct ca_key *key = issue(&server, &cert);

	(void)state;
	assert_true(prints(&cert,
	    "DNS:mail.example.org, DNS:*.example.net, "
	    "IP Address:192.0.2.1, IP "
	    "Address:2001:DB8:0:0:0:0:0:1"));
	assert_true(prints(&cert,
	    "TLS Web Server Authentication, TLS Web "
	    "Client Authentication"));
	assert_true(prints(&cert, "CA:FALSE"));
	assert_true(prints(&cert, "ecdsa-with-SHA256"));
	assert_true(prints(&cert, "prime256v1"));
	ca_cert_free(&cert);
	ca_key_free(&key);
	key = issue(&device, &cert);
	assert_true(prints(&cert, "TLS Web Client Authentication"));
	assert_false(prints(&cert, "TLS Web Server Authentication"));
	assert_false(prints(&cert, "Subject Alternative Name"));
	ca_cert_free(&cert);
	ca_key_free(&key);
	assert_true(prints(ca_cert_of(ca), "CA:TRUE, pathlen:0"));
	assert_true(prints(ca_cert_of(ca), "Certificate Sign, CRL Sign"));
}

static void
test_serials(void **state)
{
	struct ca_cert a, b;
	struct ca_key *ka = issue(&device, &a), *kb = issue(&device, &b);

	(void)state;
	assert_string_not_equal(a.serial, b.serial);
	assert_string_not_equal(a.spki_sha256, b.spki_sha256);
	ca_cert_free(&a);
	ca_cert_free(&b);
	ca_key_free(&ka);
	ca_key_free(&kb);
}

/* Nothing outlives the CA. */
static void
test_dates(void **state)
{
	struct ca_wish wish = device;
	struct ca_cert cert;
	struct ca_key *key;

	(void)state;
	wish.not_after = NOW + 1000 * DAY;
	key = issue(&wish, &cert);
	assert_int_equal(cert.not_after, NOW + 100 * DAY);
	ca_cert_free(&cert);
	wish.not_before = NOW + 101 * DAY;
	assert_int_equal(ca_issue(ca, &wish, key, &cert, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "expired"));
	wish = device;
	wish.not_after = wish.not_before;
	assert_int_equal(ca_issue(ca, &wish, key, &cert, err, sizeof(err)), -1);
	ca_key_free(&key);
}

static const struct {
	const char *name, *host;
	bool ok;
} hosts[] = {
	{ "a name", "mail.example.org", true },
	{ "one label", "localhost", true },
	{ "wildcard", "*.example.org", true },
	{ "IPv4", "192.0.2.1", true },
	{ "IPv6", "::1", true },
	{ "nothing", "", false },
	{ "wildcard alone", "*", false },
	{ "wildcard inside", "mail.*.org", false },
	{ "empty label", "mail..org", false },
	{ "a dot at the end", "mail.example.org.", false },
	{ "hyphen first", "-mail.org", false },
	{ "blank", "mail example.org", false },
	{ "address with a port", "192.0.2.1:25", false },
	{ "letters beyond ASCII", "m\xc3\xa4il.org", false },
};

static void
test_hosts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hosts); i++)
		if (ca_is_host(hosts[i].host) != hosts[i].ok)
			fail_msg("%s", hosts[i].name);
}

/* Too long a name makes no certificate. */
static void
test_long_name(void **state)
{
	struct ca_key *key = ca_key_new(err, sizeof(err));
	struct ca_wish wish = device;
	struct ca_cert cert;
	char name[80];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	wish.cn = name;
	assert_int_equal(ca_issue(ca, &wish, key, &cert, err, sizeof(err)), -1);
	assert_true(err[0] != '\0');
	ca_key_free(&key);
}

/* ---- what can't be a CA ---- */

static void
test_open(void **state)
{
	struct ca_octets key_pem = { 0 };
	struct ca_cert cert;
	struct ca_key *key = issue(&device, &cert);

	(void)state;
	assert_int_equal(ca_key_pem(key, &key_pem, err, sizeof(err)), 0);
	assert_null(ca_open(
	    ca_pem.p, ca_pem.len, key_pem.p, key_pem.len, err, sizeof(err)));
	assert_non_null(strstr(err, "does not belong"));
	assert_null(ca_open(cert.pem.p, cert.pem.len, key_pem.p, key_pem.len,
	    err, sizeof(err)));
	assert_non_null(strstr(err, "not one of a CA"));
	assert_null(ca_open("x", 1, key_pem.p, key_pem.len, err, sizeof(err)));
	assert_non_null(strstr(err, "no certificate"));
	assert_null(ca_open(ca_pem.p, ca_pem.len, "", 0, err, sizeof(err)));
	assert_non_null(strstr(err, "no usable private key"));
	ca_octets_free(&key_pem);
	ca_cert_free(&cert);
	ca_key_free(&key);
}

/* ---- requests ---- */

/* A request; signed by another key if `forged`. */
static size_t
request(EVP_PKEY *pkey, bool forged, char *out, size_t outlen)
{
	EVP_PKEY *other = EVP_EC_gen("P-256");
	X509_REQ *req = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	size_t len;

	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN",
	    MBSTRING_UTF8, (const unsigned char *)"root", -1, -1, 0);
	X509_REQ_set_pubkey(req, pkey);
	assert_true(
	    X509_REQ_sign(req, forged ? other : pkey, EVP_sha256()) > 0);
	PEM_write_bio_X509_REQ(bio, req);
	len = (size_t)BIO_read(bio, out, (int)outlen);
	BIO_free(bio);
	X509_REQ_free(req);
	EVP_PKEY_free(other);
	return len;
}

static const struct {
	const char *name;
	int rsa_bits; /* 0: EC P-256 */
	bool forged;
	const char *complaint; /* NULL: it is taken */
} requests[] = {
	{ "EC", 0, false, NULL },
	{ "RSA of 2048 bits", 2048, false, NULL },
	{ "RSA of 1024 bits", 1024, false, "too weak" },
	{ "signed by another key", 0, true, "not signed by its own key" },
};

static void
test_csr(void **state)
{
	char pem[4096];

	(void)state;
	for (size_t i = 0; i < COUNT(requests); i++) {
		EVP_PKEY *pkey = requests[i].rsa_bits != 0
		    ? EVP_RSA_gen((size_t)requests[i].rsa_bits)
		    : EVP_EC_gen("P-256");
		size_t len =
		    request(pkey, requests[i].forged, pem, sizeof(pem));
		struct ca_key *key = ca_key_of_csr(pem, len, err, sizeof(err));
		struct ca_cert cert;

		if ((key != NULL) != (requests[i].complaint == NULL))
			fail_msg("%s: %s", requests[i].name, err);
		if (key == NULL && strstr(err, requests[i].complaint) == NULL)
			fail_msg("%s: %s", requests[i].name, err);
		if (key != NULL) {
			assert_int_equal(
			    ca_issue(ca, &device, key, &cert, err, sizeof(err)),
			    0);
			/* the names are ours, not those of the request */
			assert_false(prints(&cert, "root"));
			ca_cert_free(&cert);
		}
		ca_key_free(&key);
		EVP_PKEY_free(pkey);
	}
	assert_null(ca_key_of_csr("x", 1, err, sizeof(err)));
	assert_null(ca_key_of_csr(ca_pem.p, ca_pem.len, err, sizeof(err)));
}

/* ---- PKCS#12 ---- */

static void
test_pkcs12(void **state)
{
	struct ca_octets out = { 0 };
	STACK_OF(X509) *others = NULL;
	const ASN1_INTEGER *rounds;
	const X509_ALGOR *mac;
	const ASN1_OBJECT *digest;
	const unsigned char *p;
	struct ca_cert cert;
	struct ca_key *key = issue(&device, &cert);
	EVP_PKEY *pkey = NULL;
	X509 *x = NULL;
	PKCS12 *p12;

	(void)state;
	assert_int_equal(ca_pkcs12(ca, key, &cert, "phone", "abcd-efgh", &out,
			     err, sizeof(err)),
	    0);
	p = out.p;
	p12 = d2i_PKCS12(NULL, &p, (long)out.len);
	assert_non_null(p12);
	PKCS12_get0_mac(NULL, &mac, NULL, &rounds, p12);
	X509_ALGOR_get0(&digest, NULL, NULL, mac);
	assert_int_equal(OBJ_obj2nid(digest), NID_sha1);
	assert_int_equal(PKCS12_parse(p12, "wrong", &pkey, &x, &others), 0);
	assert_int_equal(PKCS12_parse(p12, "abcd-efgh", &pkey, &x, &others), 1);
	assert_int_equal(X509_check_private_key(x, pkey), 1);
	assert_int_equal(sk_X509_num(others), 1);
	X509_free(x);
	EVP_PKEY_free(pkey);
	sk_X509_pop_free(others, X509_free);
	PKCS12_free(p12);
	ca_octets_free(&out);
	ca_cert_free(&cert);
	ca_key_free(&key);
}

/* ---- revocation lists ---- */

static void
test_crl(void **state)
{
	static struct cert_facts facts;
	struct ca_cert good, bad;
	struct ca_key *kg = issue(&device, &good), *kb = issue(&device, &bad);
	struct ca_revoked revoked[2] = { { .at = NOW - 100, .reason = 0 },
		{ .serial = "01", .at = NOW - 50, .reason = 5 } };
	struct ca_octets crl = { 0 };

	(void)state;
	memcpy(revoked[0].serial, bad.serial, sizeof(bad.serial));
	assert_int_equal(ca_crl(ca, 7, NOW - 10, NOW + DAY, revoked, 2, &crl,
			     err, sizeof(err)),
	    0);
	examine(&good, (char *)crl.p, crl.len, NOW, &facts);
	assert_int_equal(facts.verify, CERT_OK);
	examine(&bad, (char *)crl.p, crl.len, NOW, &facts);
	assert_int_equal(facts.verify, CERT_FAIL);
	assert_true(facts.revoked);
	/* a stale list */
	examine(&good, (char *)crl.p, crl.len, NOW + 2 * DAY, &facts);
	assert_int_equal(facts.verify, CERT_FAIL);
	assert_true(facts.crl_trouble);
	ca_octets_free(&crl);
	/* an empty one */
	assert_int_equal(
	    ca_crl(ca, 8, NOW, NOW + DAY, NULL, 0, &crl, err, sizeof(err)), 0);
	examine(&bad, (char *)crl.p, crl.len, NOW + 10, &facts);
	assert_int_equal(facts.verify, CERT_OK);
	ca_octets_free(&crl);
	ca_cert_free(&good);
	ca_cert_free(&bad);
	ca_key_free(&kg);
	ca_key_free(&kb);
}

/* ---- certfile.c ---- */

static void
test_file(void **state)
{
	static const char *const names[] = { "mail.example.org", "::1" };
	const struct ca_wish wish = { .use = CA_SERVER,
		.cn = "other.example.org",
		.host = names,
		.nhost = 2,
		.not_before = NOW,
		.not_after = NOW + DAY };
	struct ca_cert cert;
	struct ca_key *key = issue(&wish, &cert);
	struct ca_octets pem = { 0 };
	struct certfile *f, *roots;
	char text[100];

	(void)state;
	assert_int_equal(ca_key_pem(key, &pem, err, sizeof(err)), 0);
	f = certfile_read(cert.pem.p, cert.pem.len, err, sizeof(err));
	roots = certfile_read(ca_pem.p, ca_pem.len, err, sizeof(err));
	assert_non_null(f);
	assert_non_null(roots);
	assert_int_equal(certfile_count(f), 1);
	assert_string_equal(certfile_get(f, 0)->sha256, cert.sha256);
	assert_false(certfile_get(f, 0)->ca);
	assert_false(certfile_get(f, 0)->self_issued);
	assert_true(certfile_get(roots, 0)->ca);
	assert_true(certfile_get(roots, 0)->self_issued);
	assert_true(certfile_names(f, "mail.example.org"));
	assert_true(certfile_names(f, "::1"));
	assert_false(certfile_names(f, "127.0.0.1"));
	/* the common name is none of its hosts (RFC 9525) */
	assert_false(certfile_names(f, "other.example.org"));
	certfile_hosts(f, text, sizeof(text));
	assert_string_equal(text, "mail.example.org, ::1");
	certfile_hosts(f, text, 8);
	assert_string_equal(text, "mail.ex");
	assert_int_equal(certfile_fits(f, pem.p, pem.len, err, sizeof(err)), 0);
	assert_int_equal(
	    certfile_fits(f, ca_key_pem_.p, ca_key_pem_.len, err, sizeof(err)),
	    -1);
	assert_int_equal(
	    certfile_verify(f, roots, NOW + 1, err, sizeof(err)), 0);
	assert_int_equal(
	    certfile_verify(f, roots, NOW + 2 * DAY, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "expired"));
	assert_int_equal(certfile_verify(f, f, NOW + 1, err, sizeof(err)), -1);
	certfile_free(&f);
	certfile_free(&roots);
	assert_null(certfile_read(pem.p, pem.len, err, sizeof(err)));
	assert_non_null(strstr(err, "no certificate"));
	ca_octets_free(&pem);
	ca_cert_free(&cert);
	ca_key_free(&key);
}

/* A broken certificate behind a good one is no end of the file. */
static void
test_broken_file(void **state)
{
	static const char broken[] = "-----BEGIN CERTIFICATE-----\nMIIB\n"
				     "-----END CERTIFICATE-----\n";
	char text[8192];
	int len = snprintf(
	    text, sizeof(text), "%s%s", (const char *)ca_pem.p, broken);

	(void)state;
	assert_null(certfile_read(text, (size_t)len, err, sizeof(err)));
	assert_string_equal(err, "certificate 2 is broken");
	assert_null(certfile_crls_read(text, (size_t)len, err, sizeof(err)));
}

static void
test_file_crl(void **state)
{
	const struct ca_wish wish = { .use = CA_AUTHORITY,
		.cn = "Test CA",
		.not_before = NOW,
		.not_after = NOW + DAY };
	struct ca_key *key = ca_key_new(err, sizeof(err));
	struct certfile *own, *twin, *other;
	struct ca_octets pem = { 0 };
	struct ca_cert same_name, leaf;
	struct certfile_crls *crls;
	struct ca_key *leaf_key = issue(&device, &leaf);
	int64_t next = 0;

	(void)state;
	assert_int_equal(
	    ca_self_sign(&wish, key, &same_name, err, sizeof(err)), 0);
	assert_int_equal(
	    ca_crl(ca, 1, NOW, NOW + 5 * DAY, NULL, 0, &pem, err, sizeof(err)),
	    0);
	crls = certfile_crls_read(pem.p, pem.len, err, sizeof(err));
	own = certfile_read(ca_pem.p, ca_pem.len, err, sizeof(err));
	twin =
	    certfile_read(same_name.pem.p, same_name.pem.len, err, sizeof(err));
	other = certfile_read(leaf.pem.p, leaf.pem.len, err, sizeof(err));
	assert_int_equal(
	    certfile_crls_of(crls, own, 0, &next), CERTFILE_CRL_OK);
	assert_int_equal(next, NOW + 5 * DAY);
	assert_int_equal(
	    certfile_crls_of(crls, twin, 0, &next), CERTFILE_CRL_FORGED);
	assert_int_equal(
	    certfile_crls_of(crls, other, 0, &next), CERTFILE_CRL_NONE);
	certfile_free(&own);
	certfile_free(&twin);
	certfile_free(&other);
	certfile_crls_free(&crls);
	ca_octets_free(&pem);
	ca_cert_free(&same_name);
	ca_cert_free(&leaf);
	ca_key_free(&key);
	ca_key_free(&leaf_key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_serials),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_csr),
		cmocka_unit_test(test_pkcs12),
		cmocka_unit_test(test_crl),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_broken_file),
		cmocka_unit_test(test_file_crl),
	};

	return cmocka_run_group_tests_name("ca", tests, setup, teardown);
}
