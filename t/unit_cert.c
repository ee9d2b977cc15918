/* Tests of auth/cert.c, with certificates made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/cert.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW      INT64_C(1750000000)
#define DAY      86400

/* ---- making certificates ---- */

struct made {
	X509 *x;
	EVP_PKEY *key;
};

struct wish {
	const char *cn;
	int bits; /* 0: EC P-256, else RSA */
	int ca;
	const char *eku, *san;
	int64_t from, to; /* days from NOW; 0, 0: -1 and +10 */
	const EVP_MD *(*md)(void);
};

static EVP_PKEY *
make_key(int bits)
{
	return bits == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
			 : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
}

static void
add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *e;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

static void
add_name(X509_NAME *name, const char *type, const char *value, int len)
{
	assert_int_equal(X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8,
			     (const unsigned char *)value, len, -1, 0),
	    1);
}

/* Unsigned; sign() ends it. */
static struct made
draft(const struct wish *w, const struct made *issuer)
{
	static long serial = 100;
	struct made m = { X509_new(), make_key(w->bits) };
	int64_t from = w->from == 0 && w->to == 0 ? -1 : w->from;
	int64_t to = w->from == 0 && w->to == 0 ? 10 : w->to;

	assert_non_null(m.key);
	X509_set_version(m.x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(m.x), serial++);
	ASN1_TIME_set(X509_getm_notBefore(m.x), (time_t)(NOW + from * DAY));
	ASN1_TIME_set(X509_getm_notAfter(m.x), (time_t)(NOW + to * DAY));
	X509_set_pubkey(m.x, m.key);
	if (w->cn != NULL)
		add_name(X509_get_subject_name(m.x), "CN", w->cn, -1);
	X509_set_issuer_name(
	    m.x, X509_get_subject_name(issuer != NULL ? issuer->x : m.x));
	add_ext(m.x, m.x, NID_basic_constraints,
	    w->ca ? "critical,CA:TRUE" : "CA:FALSE");
	if (w->eku != NULL)
		add_ext(m.x, m.x, NID_ext_key_usage, w->eku);
	if (w->san != NULL)
		add_ext(m.x, m.x, NID_subject_alt_name, w->san);
	return m;
}

static void
sign(const struct made *m, const struct made *issuer, const EVP_MD *md)
{
	assert_true(
	    X509_sign(m->x, issuer != NULL ? issuer->key : m->key, md) > 0);
}

static struct made
make(const struct wish *w, const struct made *issuer)
{
	struct made m = draft(w, issuer);

	sign(&m, issuer, w->md != NULL ? w->md() : EVP_sha256());
	return m;
}

static void
drop(struct made *m)
{
	X509_free(m->x);
	EVP_PKEY_free(m->key);
}

/* ---- the forms that cert.h takes ---- */

struct bytes {
	unsigned char p[65536];
	size_t len;
};

static void
add_cert(struct bytes *b, X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	uint32_t n32 = (uint32_t)n;

	assert_true(n > 0);
	memcpy(b->p + b->len, &n32, sizeof(n32));
	memcpy(b->p + b->len + 4, der, (size_t)n);
	b->len += (size_t)n + 4;
	OPENSSL_free(der);
}

static void
add_pem(struct bytes *b, X509 *x, X509_CRL *crl)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long n;

	if (x != NULL)
		PEM_write_bio_X509(bio, x);
	else
		PEM_write_bio_X509_CRL(bio, crl);
	n = BIO_get_mem_data(bio, &text);
	memcpy(b->p + b->len, text, (size_t)n);
	b->len += (size_t)n;
	BIO_free(bio);
}

static X509_CRL *
make_crl(const struct made *ca, X509 *revoked, int64_t from, int64_t to)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_new();
	X509_REVOKED *r;

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x));
	ASN1_TIME_set(t, (time_t)(NOW + from * DAY));
	X509_CRL_set1_lastUpdate(crl, t);
	ASN1_TIME_set(t, (time_t)(NOW + to * DAY));
	X509_CRL_set1_nextUpdate(crl, t);
	if (revoked != NULL) {
		r = X509_REVOKED_new();
		ASN1_TIME_set(t, (time_t)(NOW - DAY));
		X509_REVOKED_set_revocationDate(r, t);
		X509_REVOKED_set_serialNumber(
		    r, X509_get_serialNumber(revoked));
		X509_CRL_add0_revoked(crl, r);
	}
	ASN1_TIME_free(t);
	assert_true(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0);
	return crl;
}

static struct made root, middle, other;

static int
setup(void **state)
{
	const struct wish ca = { .cn = "Root", .ca = 1, .from = -9, .to = 99 };
	const struct wish sub = {
		.cn = "Middle", .ca = 1, .from = -9, .to = 99
	};
	const struct wish foreign = {
		.cn = "Foreign", .ca = 1, .from = -9, .to = 99
	};

	(void)state;
	root = make(&ca, NULL);
	middle = make(&sub, &root);
	other = make(&foreign, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	drop(&root);
	drop(&middle);
	drop(&other);
	return 0;
}

static struct cert_trust *
trust_root(X509_CRL *crl, unsigned flags)
{
	static struct bytes ca, list;
	struct cert_trust *t;
	char err[200] = "";

	ca.len = list.len = 0;
	add_pem(&ca, root.x, NULL);
	if (crl != NULL)
		add_pem(&list, NULL, crl);
	t = cert_trust_new((char *)ca.p, ca.len,
	    crl != NULL ? (char *)list.p : NULL, list.len, flags, err,
	    sizeof(err));
	if (t == NULL)
		fail_msg("%s", err);
	return t;
}

static enum cert_rc
examine(const struct cert_trust *t, X509 *x, X509 *more, struct cert_facts *f)
{
	static struct bytes chain;

	chain.len = 0;
	add_cert(&chain, x);
	if (more != NULL)
		add_cert(&chain, more);
	return cert_examine(t, chain.p, chain.len, NOW, f);
}

/* ---- verification ---- */

enum from { BY_ROOT, BY_MIDDLE, BY_OTHER, BY_SELF };

static void
verify_words(void **state)
{
	static const struct {
		const char *name;
		struct wish w;
		enum from by;
		int send_middle;
		unsigned flags;
		enum cert_verify word;
		const char *reason; /* a part of it */
	} rows[] = {
		{ "client certificate of the CA",
		    { .cn = "ann", .eku = "clientAuth" }, BY_ROOT, 0, 0,
		    CERT_OK, "" },
		{ "no extended key usage", { .cn = "ann" }, BY_ROOT, 0, 0,
		    CERT_OK, "" },
		{ "RSA", { .cn = "ann", .bits = 2048 }, BY_ROOT, 0, 0, CERT_OK,
		    "" },
		{ "by an intermediate that was sent", { .cn = "ann" },
		    BY_MIDDLE, 1, 0, CERT_OK, "" },
		{ "by an intermediate that was not sent", { .cn = "ann" },
		    BY_MIDDLE, 0, 0, CERT_FAIL, "local issuer" },
		{ "of another CA", { .cn = "ann" }, BY_OTHER, 0, 0, CERT_FAIL,
		    "local issuer" },
		{ "self-signed", { .cn = "ann" }, BY_SELF, 0, 0, CERT_FAIL,
		    "self-signed" },
		{ "expired", { .cn = "ann", .from = -9, .to = -1 }, BY_ROOT, 0,
		    0, CERT_FAIL, "expired" },
		{ "not yet valid", { .cn = "ann", .from = 1, .to = 9 }, BY_ROOT,
		    0, 0, CERT_FAIL, "not yet valid" },
		{ "for servers only", { .cn = "ann", .eku = "serverAuth" },
		    BY_ROOT, 0, 0, CERT_FAIL, "purpose" },
		{ "for servers only, accepted",
		    { .cn = "ann", .eku = "serverAuth" }, BY_ROOT, 0,
		    CERT_ACCEPT_SERVER, CERT_OK, "" },
		{ "for mail only, servers accepted",
		    { .cn = "ann", .eku = "emailProtection" }, BY_ROOT, 0,
		    CERT_ACCEPT_SERVER, CERT_FAIL, "purpose" },
		{ "short RSA key", { .cn = "ann", .bits = 1024 }, BY_ROOT, 0, 0,
		    CERT_FAIL, "too weak" },
		{ "signed with SHA-1", { .cn = "ann", .md = EVP_sha1 }, BY_ROOT,
		    0, 0, CERT_FAIL, "too weak" },
		{ "expired, and of another CA: the first error stays",
		    { .cn = "ann", .from = -9, .to = -1 }, BY_OTHER, 0, 0,
		    CERT_FAIL, "local issuer" },
	};
	struct cert_trust *t;
	struct cert_facts f;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		const struct made *ca = rows[i].by == BY_ROOT ? &root
		    : rows[i].by == BY_MIDDLE                 ? &middle
		    : rows[i].by == BY_OTHER                  ? &other
							      : NULL;
		struct made m = make(&rows[i].w, ca);

		print_message("# %s\n", rows[i].name);
		t = trust_root(NULL, rows[i].flags);
		assert_int_equal(
		    examine(t, m.x, rows[i].send_middle ? middle.x : NULL, &f),
		    CERT_RC_OK);
		print_message(
		    "# %s %s\n", cert_verify_word(f.verify), f.reason);
		assert_int_equal(f.verify, rows[i].word);
		assert_non_null(strstr(f.reason, rows[i].reason));
		if (rows[i].word == CERT_OK)
			assert_string_equal(f.reason, "");
		assert_string_equal(f.cn_subject, "ann");
		assert_string_equal(f.subject, "/CN=ann");
		assert_false(f.crl_trouble);
		cert_trust_free(&t);
		drop(&m);
	}
}

static void
without_a_ca_nothing_is_ok(void **state)
{
	const struct wish w = { .cn = "ann" };
	struct made m = make(&w, &root);
	struct cert_trust *t;
	struct cert_facts f;
	char err[100];

	(void)state;
	assert_int_equal(examine(NULL, m.x, NULL, &f), CERT_RC_OK);
	assert_int_equal(f.verify, CERT_FAIL);
	t = cert_trust_new(NULL, 0, NULL, 0, 0, err, sizeof(err));
	assert_non_null(t);
	assert_int_equal(examine(t, m.x, root.x, &f), CERT_RC_OK);
	assert_int_equal(f.verify, CERT_FAIL);
	cert_trust_free(&t);
	drop(&m);
}

static void
crl_of_the_ca(void **state)
{
	static const struct {
		const char *name;
		int64_t from, to;
		bool list_it, by_other;
		enum cert_verify word;
		bool revoked, trouble;
	} rows[] = {
		{ "not listed", -1, 1, false, false, CERT_OK, false, false },
		{ "listed", -1, 1, true, false, CERT_FAIL, true, false },
		{ "stale", -5, -1, false, false, CERT_FAIL, false, true },
		{ "stale and listed", -5, -1, true, false, CERT_FAIL, true,
		    true },
		{ "not yet valid", 1, 5, false, false, CERT_FAIL, false, true },
		{ "of another CA: none for ours", -1, 1, false, true, CERT_FAIL,
		    false, true },
	};
	const struct wish w = { .cn = "ann" };
	struct made m = make(&w, &root);
	struct cert_trust *t;
	struct cert_facts f;
	X509_CRL *crl;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		print_message("# %s\n", rows[i].name);
		crl = make_crl(rows[i].by_other ? &other : &root,
		    rows[i].list_it ? m.x : NULL, rows[i].from, rows[i].to);
		t = trust_root(crl, 0);
		assert_int_equal(examine(t, m.x, NULL, &f), CERT_RC_OK);
		print_message("# %s\n", f.reason);
		assert_int_equal(f.verify, rows[i].word);
		assert_int_equal(f.revoked, rows[i].revoked);
		if (!rows[i].revoked)
			assert_int_equal(f.crl_trouble, rows[i].trouble);
		cert_trust_free(&t);
		X509_CRL_free(crl);
	}
	drop(&m);
}

/* ---- facts ---- */

static void
digests_and_dates(void **state)
{
	const struct wish w = { .cn = "ann", .from = -3, .to = 4 };
	struct made m = make(&w, &root);
	unsigned char md[32], *der = NULL;
	char want[65];
	struct cert_facts f;
	size_t i;
	int n;

	(void)state;
	assert_int_equal(examine(NULL, m.x, root.x, &f), CERT_RC_OK);
	n = i2d_X509(m.x, &der);
	EVP_Digest(der, (size_t)n, md, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	for (i = 0; i < 32; i++)
		snprintf(want + 2 * i, 3, "%02x", md[i]);
	assert_string_equal(f.sha256, want);
	der = NULL;
	n = i2d_PUBKEY(m.key, &der);
	EVP_Digest(der, (size_t)n, md, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	for (i = 0; i < 32; i++)
		snprintf(want + 2 * i, 3, "%02x", md[i]);
	assert_string_equal(f.spki_sha256, want);
	assert_int_equal(f.not_before, NOW - 3 * DAY);
	assert_int_equal(f.not_after, NOW + 4 * DAY);
	assert_true(f.in_dates);
	assert_string_equal(f.issuer, "/CN=Root");
	assert_string_equal(f.cn_issuer, "Root");
	drop(&m);
}

static void
odd_names(void **state)
{
	static char longer[600];
	static const struct {
		const char *name, *value;
		int len;
		const char *reason, *cn;
	} rows[] = {
		{ "not ASCII", "J\xc3\xbcrgen", -1, "", NULL },
		{ "slash and equals sign", "ann/CN=bob", -1, "", NULL },
		{ "NUL", "ann\0.evil", 9, "NUL", "BadCertificateContainsNUL" },
		{ "backslash at the end", "ann\\", -1, "ambiguous", NULL },
		{ "blank only", " ", -1, "", "+20" },
	};
	const struct wish w = { .eku = "clientAuth" };
	struct cert_trust *t = trust_root(NULL, 0);
	struct cert_facts f;
	struct made m;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		print_message("# %s\n", rows[i].name);
		m = draft(&w, &root);
		add_name(X509_get_subject_name(m.x), "CN", rows[i].value,
		    rows[i].len);
		sign(&m, &root, EVP_sha256());
		assert_int_equal(examine(t, m.x, NULL, &f), CERT_RC_OK);
		print_message(
		    "# %s %s %s\n", f.subject, f.cn_subject, f.reason);
		assert_int_equal(
		    f.verify, rows[i].reason[0] == '\0' ? CERT_OK : CERT_FAIL);
		assert_non_null(strstr(f.reason, rows[i].reason));
		if (rows[i].cn != NULL)
			assert_string_equal(f.cn_subject, rows[i].cn);
		drop(&m);
	}

	print_message("# many and long attributes\n");
	memset(longer, 'x', 60);
	m = draft(&w, &root);
	for (i = 0; i < 200; i++)
		add_name(X509_get_subject_name(m.x), "OU", longer, 60);
	sign(&m, &root, EVP_sha256());
	assert_int_equal(examine(t, m.x, NULL, &f), CERT_RC_OK);
	assert_int_equal(f.verify, CERT_FAIL);
	assert_non_null(strstr(f.reason, "too long"));
	drop(&m);

	print_message("# no subject at all\n");
	m = make(&w, &root);
	assert_int_equal(examine(t, m.x, NULL, &f), CERT_RC_OK);
	assert_string_equal(f.subject, "");
	assert_string_equal(f.cn_subject, "BadCertificateUnknown");
	drop(&m);
	cert_trust_free(&t);
}

/* An unknown type is written as dotted numbers. */
static void
unknown_attribute_type(void **state)
{
	const struct wish w = { .cn = "ann" };
	struct cert_facts f;
	struct made m = draft(&w, &root);

	(void)state;
	add_name(X509_get_subject_name(m.x), "1.3.6.1.4.1.99999.7", "v", -1);
	sign(&m, &root, EVP_sha256());
	assert_int_equal(examine(NULL, m.x, NULL, &f), CERT_RC_OK);
	assert_string_equal(f.subject, "/CN=ann/1.3.6.1.4.1.99999.7=v");
	drop(&m);
}

static void
add_raw_emails(X509 *x, const char *const *value, const int *len, size_t n)
{
	GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
	size_t i;

	for (i = 0; i < n; i++) {
		GENERAL_NAME *g = GENERAL_NAME_new();
		ASN1_IA5STRING *s = ASN1_IA5STRING_new();

		ASN1_STRING_set(s, value[i], len[i]);
		GENERAL_NAME_set0_value(g, GEN_EMAIL, s);
		sk_GENERAL_NAME_push(list, g);
	}
	X509_add1_ext_i2d(x, NID_subject_alt_name, list, 0, 0);
	GENERAL_NAMES_free(list);
}

static void
san_emails(void **state)
{
	static const char *const values[] = { "ann@example.org",
		"ann@example.org\0.evil.example", "", "@", "no-at-sign",
		"a@b@c", "with blank@example.org", "j\xc3\xbcrgen@example.org",
		"ann@example.org\r\nRCPT", "@example.org", "ann@",
		"bob@example.net" };
	static const int lens[] = { 15, 29, 0, 1, 10, 5, 22, 19, 21, 12, 4,
		15 };
	static char big[400];
	const struct wish w = { .cn = "ann" };
	const struct wish mixed = { .cn = "ann",
		.san = "DNS:example.org,email:ann@example.org,"
		       "URI:mailto:bob@example.org,IP:192.0.2.1" };
	struct cert_facts f;
	struct made m;
	const char *many[60];
	int many_len[60], i;

	(void)state;
	m = draft(&w, &root);
	add_raw_emails(m.x, values, lens, COUNT(values));
	sign(&m, &root, EVP_sha256());
	assert_int_equal(examine(NULL, m.x, NULL, &f), CERT_RC_OK);
	assert_int_equal(f.nemail, 2);
	assert_string_equal(f.email[0], "ann@example.org");
	assert_string_equal(f.email[1], "bob@example.net");
	drop(&m);

	print_message("# other kinds of names\n");
	m = make(&mixed, &root);
	assert_int_equal(examine(NULL, m.x, NULL, &f), CERT_RC_OK);
	assert_int_equal(f.nemail, 1);
	assert_string_equal(f.email[0], "ann@example.org");
	drop(&m);

	print_message("# too many, and too long\n");
	memset(big, 'a', sizeof(big));
	big[50] = '@';
	for (i = 0; i < 60; i++) {
		many[i] = big;
		many_len[i] = i % 2 == 0 ? CERT_EMAIL_MAX : CERT_EMAIL_MAX - 1;
	}
	m = draft(&w, &root);
	add_raw_emails(m.x, many, many_len, 60);
	sign(&m, &root, EVP_sha256());
	assert_int_equal(examine(NULL, m.x, NULL, &f), CERT_RC_OK);
	assert_int_equal(f.nemail, 30);
	assert_false(f.emails_cut);
	assert_int_equal(strlen(f.email[0]), CERT_EMAIL_MAX - 1);
	drop(&m);
	for (i = 0; i < 60; i++)
		many_len[i] = CERT_EMAIL_MAX - 1;
	for (i = CERT_EMAILS; i <= CERT_EMAILS + 1; i++) {
		m = draft(&w, &root);
		add_raw_emails(m.x, many, many_len, (size_t)i);
		sign(&m, &root, EVP_sha256());
		assert_int_equal(examine(NULL, m.x, NULL, &f), CERT_RC_OK);
		assert_int_equal(f.nemail, CERT_EMAILS);
		assert_int_equal(f.emails_cut, i > CERT_EMAILS);
		drop(&m);
	}
}

static void
malformed_chains(void **state)
{
	const struct wish w = { .cn = "ann" };
	static struct bytes chain;
	struct cert_facts f;
	struct made m = make(&w, &root);
	size_t cut;
	uint32_t n;

	(void)state;
	print_message("# empty\n");
	assert_int_equal(
	    cert_examine(NULL, chain.p, 0, NOW, &f), CERT_RC_MALFORMED);
	add_cert(&chain, m.x);
	for (cut = 1; cut < chain.len; cut += 7)
		assert_int_equal(cert_examine(NULL, chain.p, cut, NOW, &f),
		    CERT_RC_MALFORMED);
	print_message("# junk behind the certificate, within its length\n");
	memcpy(&n, chain.p, sizeof(n));
	n += 2;
	memcpy(chain.p, &n, sizeof(n));
	assert_int_equal(cert_examine(NULL, chain.p, chain.len + 2, NOW, &f),
	    CERT_RC_MALFORMED);
	print_message("# junk as a second certificate\n");
	chain.len = 0;
	add_cert(&chain, m.x);
	memset(chain.p + chain.len, 0xff, 10);
	assert_int_equal(cert_examine(NULL, chain.p, chain.len + 10, NOW, &f),
	    CERT_RC_MALFORMED);
	drop(&m);
}

static void
trust_from_pem(void **state)
{
	static struct bytes two;
	struct cert_trust *t;
	char err[200];

	(void)state;
	add_pem(&two, root.x, NULL);
	memcpy(two.p + two.len, "some text between\n", 18);
	two.len += 18;
	add_pem(&two, other.x, NULL);
	t = cert_trust_new(
	    (char *)two.p, two.len, NULL, 0, 0, err, sizeof(err));
	assert_non_null(t);
	cert_trust_free(&t);
	cert_trust_free(&t);

	print_message("# the same certificate twice is no error\n");
	add_pem(&two, root.x, NULL);
	t = cert_trust_new(
	    (char *)two.p, two.len, NULL, 0, 0, err, sizeof(err));
	assert_non_null(t);
	cert_trust_free(&t);

	print_message("# nothing in it\n");
	assert_null(cert_trust_new("hello\n", 6, NULL, 0, 0, err, sizeof(err)));
	assert_non_null(strstr(err, "no certificate"));
	print_message("# broken base64\n");
	two.p[100] = '!';
	assert_null(cert_trust_new(
	    (char *)two.p, two.len, NULL, 0, 0, err, sizeof(err)));
	assert_non_null(strstr(err, "certificate 1 is broken"));
	print_message("# a certificate where a CRL belongs\n");
	two.len = 0;
	add_pem(&two, root.x, NULL);
	assert_null(cert_trust_new((char *)two.p, two.len, (char *)two.p,
	    two.len, 0, err, sizeof(err)));
	assert_non_null(strstr(err, "no CRL"));
}

/* ---- mapping ---- */

static struct {
	const char *sha256, *spki, *email, *email2, *subject; /* users */
	enum cert_map row; /* what the pin's row says */
	bool temp;
	int asked;
} store;

static enum cert_map
lookup(void *arg, enum cert_key key, const char *value, const char *issuer,
    struct cert_owner *out)
{
	const char *user = NULL;

	assert_ptr_equal(arg, &store);
	store.asked++;
	if (store.temp)
		return CERT_MAP_TEMP;
	switch (key) {
	case CERT_KEY_SHA256:
		assert_int_equal(strlen(value), 64);
		user = store.sha256;
		break;
	case CERT_KEY_SPKI:
		user = store.spki;
		break;
	case CERT_KEY_EMAIL:
		user = strcmp(value, "ann@example.org") == 0 ? store.email
							     : store.email2;
		break;
	case CERT_KEY_SUBJECT:
		assert_string_equal(value, "/CN=ann");
		assert_string_equal(issuer, "/CN=Root");
		user = store.subject;
		break;
	case CERT_KEY_NONE:
		break;
	}
	if (user == NULL)
		return CERT_MAP_NONE;
	strcpy(out->user, user);
	out->device = 4;
	return key <= CERT_KEY_SPKI && store.row != 0 ? store.row
						      : CERT_MAP_FOUND;
}

static void
mapping(void **state)
{
	static const struct {
		const char *name;
		const char *sha256, *spki, *email, *email2, *subject;
		enum from by;
		int expired, revoked;
		enum cert_map row;
		enum cert_map rc;
		const char *user;
		enum cert_key key;
		enum cert_verify word;
	} rows[] = {
		{ "nobody's", NULL, NULL, NULL, NULL, NULL, BY_ROOT, 0, 0, 0,
		    CERT_MAP_NONE, "", CERT_KEY_NONE, CERT_OK },
		{ "certificate before all others", "a", "b", "c", "d", "e",
		    BY_ROOT, 0, 0, 0, CERT_MAP_FOUND, "a", CERT_KEY_SHA256,
		    CERT_OK },
		{ "key before the names", NULL, "b", "c", "d", "e", BY_ROOT, 0,
		    0, 0, CERT_MAP_FOUND, "b", CERT_KEY_SPKI, CERT_OK },
		{ "e-mail before the subject", NULL, NULL, "c", NULL, "e",
		    BY_ROOT, 0, 0, 0, CERT_MAP_FOUND, "c", CERT_KEY_EMAIL,
		    CERT_OK },
		{ "second e-mail", NULL, NULL, NULL, "d", "e", BY_ROOT, 0, 0, 0,
		    CERT_MAP_FOUND, "d", CERT_KEY_EMAIL, CERT_OK },
		{ "both e-mails of one user", NULL, NULL, "c", "c", NULL,
		    BY_ROOT, 0, 0, 0, CERT_MAP_FOUND, "c", CERT_KEY_EMAIL,
		    CERT_OK },
		{ "e-mails of two users", NULL, NULL, "c", "d", "e", BY_ROOT, 0,
		    0, 0, CERT_MAP_AMBIGUOUS, "", CERT_KEY_NONE, CERT_OK },
		{ "subject", NULL, NULL, NULL, NULL, "e", BY_ROOT, 0, 0, 0,
		    CERT_MAP_FOUND, "e", CERT_KEY_SUBJECT, CERT_OK },
		{ "names of a foreign CA say nothing", NULL, NULL, "c", "d",
		    "e", BY_OTHER, 0, 0, 0, CERT_MAP_NONE, "", CERT_KEY_NONE,
		    CERT_FAIL },
		{ "names of an expired certificate say nothing", NULL, NULL,
		    "c", "d", "e", BY_ROOT, 1, 0, 0, CERT_MAP_NONE, "",
		    CERT_KEY_NONE, CERT_FAIL },
		{ "pinned and self-signed", "a", NULL, NULL, NULL, NULL,
		    BY_SELF, 0, 0, 0, CERT_MAP_FOUND, "a", CERT_KEY_SHA256,
		    CERT_TRUSTED },
		{ "pinned key, foreign CA", NULL, "b", NULL, NULL, NULL,
		    BY_OTHER, 0, 0, 0, CERT_MAP_FOUND, "b", CERT_KEY_SPKI,
		    CERT_TRUSTED },
		{ "pinned and expired", "a", NULL, "c", NULL, "e", BY_SELF, 1,
		    0, 0, CERT_MAP_UNUSABLE, "", CERT_KEY_NONE, CERT_FAIL },
		{ "pinned key, expired certificate", NULL, "b", "c", NULL, "e",
		    BY_ROOT, 1, 0, 0, CERT_MAP_UNUSABLE, "", CERT_KEY_NONE,
		    CERT_FAIL },
		{ "pinned and on the CRL", "a", NULL, NULL, NULL, NULL, BY_ROOT,
		    0, 1, 0, CERT_MAP_UNUSABLE, "", CERT_KEY_NONE, CERT_FAIL },
		{ "revoked in the store: its names say nothing", "a", NULL, "c",
		    "d", "e", BY_ROOT, 0, 0, CERT_MAP_UNUSABLE,
		    CERT_MAP_UNUSABLE, "", CERT_KEY_NONE, CERT_FAIL },
	};
	struct cert_owner owner;
	struct cert_trust *t;
	struct cert_facts f;
	X509_CRL *crl;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		const struct wish w = { .cn = "ann",
			.san = "email:ann@example.org,email:x@example.org",
			.from = -5,
			.to = rows[i].expired ? -1 : 5 };
		const struct made *ca = rows[i].by == BY_ROOT ? &root
		    : rows[i].by == BY_OTHER                  ? &other
							      : NULL;
		struct made m = make(&w, ca);

		print_message("# %s\n", rows[i].name);
		crl = make_crl(&root, rows[i].revoked ? m.x : NULL, -1, 1);
		t = trust_root(crl, 0);
		memset(&store, 0, sizeof(store));
		store.sha256 = rows[i].sha256;
		store.spki = rows[i].spki;
		store.email = rows[i].email;
		store.email2 = rows[i].email2;
		store.subject = rows[i].subject;
		store.row = rows[i].row;
		assert_int_equal(examine(t, m.x, NULL, &f), CERT_RC_OK);
		assert_int_equal(
		    cert_map_user(&f, lookup, &store, &owner), rows[i].rc);
		assert_string_equal(owner.user, rows[i].user);
		assert_int_equal(owner.by, rows[i].key);
		assert_int_equal(
		    owner.key[0] == '\0', rows[i].rc != CERT_MAP_FOUND);
		assert_int_equal(f.verify, rows[i].word);
		assert_int_equal(
		    f.subject[0] == '\0', rows[i].word == CERT_TRUSTED);
		assert_int_equal(
		    f.issuer[0] == '\0', rows[i].word == CERT_TRUSTED);
		assert_int_equal(
		    f.cn_issuer[0] == '\0', rows[i].word == CERT_TRUSTED);
		if (rows[i].word == CERT_FAIL)
			assert_string_not_equal(f.reason, "");
		cert_trust_free(&t);
		X509_CRL_free(crl);
		drop(&m);
	}
}

/* Behind the last that is looked at could be another user's. */
static void
too_many_emails(void **state)
{
	char san[1200] = "email:ann@example.org";
	struct cert_owner owner;
	struct cert_trust *t;
	struct cert_facts f;
	struct made m;
	int i;

	(void)state;
	for (i = 1; i < CERT_EMAILS; i++)
		snprintf(san + strlen(san), sizeof(san) - strlen(san),
		    ",email:x%d@example.org", i);
	for (i = 0; i < 2; i++) {
		const struct wish w = { .cn = "ann", .san = san };

		m = make(&w, &root);
		t = trust_root(NULL, 0);
		memset(&store, 0, sizeof(store));
		store.email = "ann";
		store.subject = "ann";
		assert_int_equal(examine(t, m.x, NULL, &f), CERT_RC_OK);
		assert_int_equal(cert_map_user(&f, lookup, &store, &owner),
		    i == 0 ? CERT_MAP_FOUND : CERT_MAP_AMBIGUOUS);
		cert_trust_free(&t);
		drop(&m);
		strcat(san, ",email:bob@example.org");
	}
}

static void
store_failure_ends_the_search(void **state)
{
	const struct wish w = { .cn = "ann" };
	struct made m = make(&w, NULL);
	struct cert_owner owner;
	struct cert_facts f;

	(void)state;
	memset(&store, 0, sizeof(store));
	store.temp = true;
	assert_int_equal(examine(NULL, m.x, NULL, &f), CERT_RC_OK);
	assert_int_equal(
	    cert_map_user(&f, lookup, &store, &owner), CERT_MAP_TEMP);
	assert_int_equal(store.asked, 1);
	assert_string_equal(owner.user, "");
	drop(&m);
}

static void
words(void **state)
{
	(void)state;
	assert_string_equal(cert_verify_word(CERT_NO), "NO");
	assert_string_equal(cert_verify_word(CERT_OK), "OK");
	assert_string_equal(cert_verify_word(CERT_FAIL), "FAIL");
	assert_string_equal(cert_verify_word(CERT_TRUSTED), "TRUSTED");
	assert_string_equal(cert_key_word(CERT_KEY_SPKI), "spki");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verify_words),
		cmocka_unit_test(without_a_ca_nothing_is_ok),
		cmocka_unit_test(crl_of_the_ca),
		cmocka_unit_test(digests_and_dates),
		cmocka_unit_test(odd_names),
		cmocka_unit_test(unknown_attribute_type),
		cmocka_unit_test(san_emails),
		cmocka_unit_test(malformed_chains),
		cmocka_unit_test(trust_from_pem),
		cmocka_unit_test(mapping),
		cmocka_unit_test(too_many_emails),
		cmocka_unit_test(store_failure_ends_the_search),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
