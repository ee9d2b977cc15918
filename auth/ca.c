/*
 * Making certificates (ca.h), with OpenSSL.
 */
#include "ca.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	SERIAL_LEN = 16, /* octets, random: RFC 5280 allows 20 */
	RSA_BITS_MIN = 2048,
	EC_BITS_MIN = 224,
	PKCS12_ROUNDS = 2048, /* the passphrase is random: no need for more */
	PEM_MAX = 1 << 20
};

struct ca_key {
	EVP_PKEY *pkey;
};

struct ca {
	X509 *x;
	EVP_PKEY *pkey;
	struct ca_cert cert;
};

/* ---- common ---- */

/* Always -1; with the reason of the library, if it has one. */
static int
fail(char *err, size_t errlen, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;

	snprintf(err, errlen, "%s%s%s", what, reason != NULL ? ": " : "",
	    reason != NULL ? reason : "");
	ERR_clear_error();
	return -1;
}

void
ca_octets_free(struct ca_octets *o)
{
	if (o->p != NULL)
		explicit_bzero(o->p, o->len);
	free(o->p);
	o->p = NULL;
	o->len = 0;
}

static int
copy_octets(struct ca_octets *out, const void *p, size_t len)
{
	/* one more, so that a text in it ends */
	if ((out->p = malloc(len + 1)) == NULL)
		return -1;
	memcpy(out->p, p, len);
	out->p[len] = '\0';
	out->len = len;
	return 0;
}

static int
take_bio(struct ca_octets *out, BIO *bio)
{
	char *p;
	long len = BIO_get_mem_data(bio, &p);

	return len > 0 ? copy_octets(out, p, (size_t)len) : -1;
}

static BIO *
reader(const void *pem, size_t len)
{
	ERR_clear_error();
	if (len == 0 || len > PEM_MAX)
		return NULL;
	return BIO_new_mem_buf(pem, (int)len);
}

/* A passphrase can't be asked for here. */
static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out, (void)size, (void)writing, (void)arg;
	return -1;
}

static void
put_hex(const unsigned char *p, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static int64_t
seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* ---- keys ---- */

static struct ca_key *
wrap_key(EVP_PKEY *pkey)
{
	struct ca_key *key = malloc(sizeof(*key));

	if (key == NULL)
		EVP_PKEY_free(pkey);
	else
		key->pkey = pkey;
	return key;
}

void
ca_key_free(struct ca_key **kp)
{
	if (*kp != NULL)
		EVP_PKEY_free((*kp)->pkey);
	free(*kp);
	*kp = NULL;
}

struct ca_key *
ca_key_new(char *err, size_t errlen)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");

	if (pkey != NULL)
		return wrap_key(pkey);
	fail(err, errlen, "no key can be made");
	return NULL;
}

/* What nobody should rely on for years any more. */
static bool
is_weak(const EVP_PKEY *pkey)
{
	int bits = EVP_PKEY_get_bits(pkey);

	switch (EVP_PKEY_get_base_id(pkey)) {
	case EVP_PKEY_RSA:
	case EVP_PKEY_RSA_PSS:
		return bits < RSA_BITS_MIN;
	case EVP_PKEY_EC:
		return bits < EC_BITS_MIN;
	case EVP_PKEY_ED25519:
	case EVP_PKEY_ED448:
		return false;
	default:
		return true;
	}
}

/* Says so and returns -1 for a key that is not taken. */
static int
judge_key(const EVP_PKEY *pkey, char *err, size_t errlen)
{
	if (!is_weak(pkey))
		return 0;
	snprintf(err, errlen,
	    "the key is too weak, or of a kind that is not taken: EC P-256 "
	    "and RSA from %d bits are",
	    RSA_BITS_MIN);
	return -1;
}

struct ca_key *
ca_key_read(const void *pem, size_t len, char *err, size_t errlen)
{
	BIO *bio = reader(pem, len);
	EVP_PKEY *pkey = NULL;

	if (bio != NULL)
		pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (pkey == NULL)
		fail(err, errlen,
		    "no usable private key in PEM form without passphrase");
	else if (judge_key(pkey, err, errlen) == 0)
		return wrap_key(pkey);
	EVP_PKEY_free(pkey);
	return NULL;
}

static EVP_PKEY *
key_of_request(X509_REQ *req, char *err, size_t errlen)
{
	EVP_PKEY *pkey = X509_REQ_get_pubkey(req);

	if (pkey == NULL || X509_REQ_verify(req, pkey) != 1)
		fail(err, errlen, "the request is not signed by its own key");
	else if (judge_key(pkey, err, errlen) == 0)
		return pkey;
	EVP_PKEY_free(pkey);
	return NULL;
}

struct ca_key *
ca_key_of_csr(const void *pem, size_t len, char *err, size_t errlen)
{
	BIO *bio = reader(pem, len);
	X509_REQ *req = NULL;
	EVP_PKEY *pkey;

	if (bio != NULL)
		req = PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (req == NULL) {
		fail(err, errlen, "no certificate request in PEM form");
		return NULL;
	}
	pkey = key_of_request(req, err, errlen);
	X509_REQ_free(req);
	return pkey != NULL ? wrap_key(pkey) : NULL;
}

int
ca_key_pem(
    const struct ca_key *key, struct ca_octets *out, char *err, size_t errlen)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	int rc = -1;

	if (bio != NULL &&
	    PEM_write_bio_PKCS8PrivateKey(
		bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1)
		rc = take_bio(out, bio);
	BIO_free(bio);
	return rc == 0 ? 0 : fail(err, errlen, "the key can't be written");
}

/* ---- names ---- */

static int
add_name(X509_NAME *name, const char *type, const char *value)
{
	if (value == NULL)
		return 1;
	return X509_NAME_add_entry_by_txt(
	    name, type, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0);
}

static int
set_subject(X509 *x, const struct ca_wish *w)
{
	X509_NAME *name = X509_get_subject_name(x);

	return add_name(name, "CN", w->cn) == 1 &&
	    add_name(name, "OU", w->ou) == 1;
}

static bool
is_address(const char *text)
{
	unsigned char addr[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, addr) == 1 ||
	    inet_pton(AF_INET6, text, addr) == 1;
}

bool
ca_is_host(const char *text)
{
	static const char ldh[] = "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
	size_t n;

	if (is_address(text))
		return true;
	if (strlen(text) > 253)
		return false;
	if (strncmp(text, "*.", 2) == 0)
		text += 2;
	for (;; text += n + 1) {
		n = strspn(text, ldh);
		if (n == 0 || n > 63 || text[0] == '-' || text[n - 1] == '-')
			return false;
		if (text[n] == '\0')
			return true;
		if (text[n] != '.')
			return false;
	}
}

static GENERAL_NAME *
host_name(const char *text)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_STRING *s;

	if (g == NULL)
		return NULL;
	if (is_address(text)) {
		s = a2i_IPADDRESS(text);
		g->type = GEN_IPADD;
		g->d.iPAddress = s;
	} else {
		s = ASN1_IA5STRING_new();
		if (s != NULL && ASN1_STRING_set(s, text, -1) != 1) {
			ASN1_STRING_free(s);
			s = NULL;
		}
		g->type = GEN_DNS;
		g->d.dNSName = s;
	}
	if (s != NULL)
		return g;
	g->type = GEN_DNS; /* nothing to free inside */
	GENERAL_NAME_free(g);
	return NULL;
}

/* 1 or 0, as the library's functions. */
static int
add_hosts(X509 *x, const struct ca_wish *w)
{
	GENERAL_NAMES *list;
	GENERAL_NAME *g;
	int ok = 1;

	if (w->nhost == 0)
		return 1;
	if ((list = GENERAL_NAMES_new()) == NULL)
		return 0;
	for (size_t i = 0; ok && i < w->nhost; i++) {
		g = host_name(w->host[i]);
		ok = g != NULL && sk_GENERAL_NAME_push(list, g) > 0;
	}
	ok = ok &&
	    X509_add1_ext_i2d(
		x, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(list);
	return ok;
}

/* ---- certificates ---- */

static int
add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *e;
	X509V3_CTX ctx;
	int ok;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	if ((e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value)) == NULL)
		return 0;
	ok = X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	return ok;
}

/* RFC 5280 section 4.2.1. */
static const struct profile {
	const char *constraints, *usage, *extended; /* NULL: none */
} profiles[] = {
	[CA_AUTHORITY] = { "critical,CA:TRUE,pathlen:0",
	    "critical,keyCertSign,cRLSign", NULL },
	[CA_SERVER] = { "critical,CA:FALSE", "critical,digitalSignature",
	    "serverAuth,clientAuth" },
	[CA_DEVICE] = { "critical,CA:FALSE", "critical,digitalSignature",
	    "clientAuth" },
};

static int
add_extensions(X509 *x, X509 *issuer, const struct ca_wish *w)
{
	const struct profile *p = &profiles[w->use];

	return add_extension(
		   x, issuer, NID_basic_constraints, p->constraints) == 1 &&
	    add_extension(x, issuer, NID_key_usage, p->usage) == 1 &&
	    (p->extended == NULL ||
		add_extension(x, issuer, NID_ext_key_usage, p->extended) ==
		    1) &&
	    add_hosts(x, w) == 1 &&
	    add_extension(x, issuer, NID_subject_key_identifier, "hash") == 1 &&
	    add_extension(
		x, issuer, NID_authority_key_identifier, "keyid:always") == 1;
}

/* Positive, of full length, and not to be guessed. */
static int
set_serial(X509 *x)
{
	unsigned char serial[SERIAL_LEN];
	BIGNUM *n;
	int ok;

	if (RAND_bytes(serial, sizeof(serial)) != 1)
		return 0;
	serial[0] = (unsigned char)((serial[0] & 0x3f) | 0x40);
	n = BN_bin2bn(serial, sizeof(serial), NULL);
	ok = n != NULL &&
	    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
	BN_free(n);
	return ok;
}

/* Keys of the EdDSA kind have their digest inside. */
static const EVP_MD *
digest_for(const EVP_PKEY *pkey)
{
	int type = EVP_PKEY_get_base_id(pkey);

	return type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448
	    ? NULL
	    : EVP_sha256();
}

/* issuer NULL: itself. */
static X509 *
make(const struct ca_wish *w, EVP_PKEY *pub, X509 *issuer, EVP_PKEY *signer)
{
	X509 *x = X509_new();

	if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 &&
	    set_serial(x) == 1 && set_subject(x, w) == 1 &&
	    X509_set_issuer_name(
		x, X509_get_subject_name(issuer != NULL ? issuer : x)) == 1 &&
	    ASN1_TIME_set(X509_getm_notBefore(x), (time_t)w->not_before) !=
		NULL &&
	    ASN1_TIME_set(X509_getm_notAfter(x), (time_t)w->not_after) !=
		NULL &&
	    X509_set_pubkey(x, pub) == 1 &&
	    add_extensions(x, issuer != NULL ? issuer : x, w) == 1 &&
	    X509_sign(x, signer, digest_for(signer)) > 0)
		return x;
	X509_free(x);
	return NULL;
}

static int
put_serial(const X509 *x, char out[CA_SERIAL_MAX])
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
	int len = ASN1_STRING_length(serial);

	if (len < 1 || 2 * len >= CA_SERIAL_MAX)
		return -1;
	put_hex(ASN1_STRING_get0_data(serial), (size_t)len, out);
	return 0;
}

static int
put_digests(X509 *x, struct ca_cert *out)
{
	unsigned char md[EVP_MAX_MD_SIZE], *der = NULL;
	int len;

	if (X509_digest(x, EVP_sha256(), md, NULL) != 1)
		return -1;
	put_hex(md, 32, out->sha256);
	if ((len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der)) <= 0)
		return -1;
	EVP_Digest(der, (size_t)len, md, NULL, EVP_sha256(), NULL);
	put_hex(md, 32, out->spki_sha256);
	OPENSSL_free(der);
	return 0;
}

static int
put_subject(const X509 *x, char out[CA_SUBJECT_MAX])
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long len;

	if (bio == NULL)
		return -1;
	X509_NAME_print_ex(bio, X509_get_subject_name(x), 0,
	    XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
	len = BIO_get_mem_data(bio, &p);
	snprintf(out, CA_SUBJECT_MAX, "%.*s", (int)len, p);
	BIO_free(bio);
	return 0;
}

static int
put_der(X509 *x, struct ca_octets *out)
{
	unsigned char *der = NULL;
	int len = i2d_X509(x, &der), rc;

	rc = len > 0 ? copy_octets(out, der, (size_t)len) : -1;
	OPENSSL_free(der);
	return rc;
}

static int
put_pem(X509 *x, struct ca_octets *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int rc = -1;

	if (bio != NULL && PEM_write_bio_X509(bio, x) == 1)
		rc = take_bio(out, bio);
	BIO_free(bio);
	return rc;
}

void
ca_cert_free(struct ca_cert *cert)
{
	ca_octets_free(&cert->pem);
	ca_octets_free(&cert->der);
}

/* All that ca.h tells of a certificate. */
static int
describe(X509 *x, struct ca_cert *out)
{
	memset(out, 0, sizeof(*out));
	out->not_before = seconds(X509_get0_notBefore(x));
	out->not_after = seconds(X509_get0_notAfter(x));
	if (put_serial(x, out->serial) == 0 && put_digests(x, out) == 0 &&
	    put_subject(x, out->subject) == 0 && put_der(x, &out->der) == 0 &&
	    put_pem(x, &out->pem) == 0)
		return 0;
	ca_cert_free(out);
	return -1;
}

/* Takes x, which may be NULL. */
static int
deliver(X509 *x, struct ca_cert *out, char *err, size_t errlen)
{
	int rc = x != NULL ? describe(x, out) : -1;

	X509_free(x);
	return rc == 0 ? 0 : fail(err, errlen, "the certificate can't be made");
}

static int
check_wish(const struct ca_wish *w, char *err, size_t errlen)
{
	for (size_t i = 0; i < w->nhost; i++) {
		if (ca_is_host(w->host[i]))
			continue;
		snprintf(err, errlen,
		    "\"%s\" is neither a host name nor an address", w->host[i]);
		return -1;
	}
	if (w->not_after > w->not_before)
		return 0;
	snprintf(err, errlen, "the certificate would end before it begins");
	return -1;
}

int
ca_self_sign(const struct ca_wish *w, const struct ca_key *key,
    struct ca_cert *out, char *err, size_t errlen)
{
	ERR_clear_error();
	if (check_wish(w, err, errlen) == -1)
		return -1;
	return deliver(make(w, key->pkey, NULL, key->pkey), out, err, errlen);
}

/* ---- the CA at work ---- */

static int
check_ca(const struct ca *ca, char *err, size_t errlen)
{
	if (X509_check_private_key(ca->x, ca->pkey) != 1)
		return fail(err, errlen,
		    "the private key does not belong to the certificate");
	if (X509_check_ca(ca->x) == 1)
		return 0;
	snprintf(err, errlen, "the certificate is not one of a CA");
	return -1;
}

struct ca *
ca_open(const void *cert, size_t cert_len, const void *key, size_t key_len,
    char *err, size_t errlen)
{
	struct ca *ca = calloc(1, sizeof(*ca));
	BIO *bio = reader(cert, cert_len);
	struct ca_key *k;

	if (ca != NULL && bio != NULL)
		ca->x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (ca == NULL || ca->x == NULL) {
		fail(err, errlen, "no certificate in PEM form");
		goto bad;
	}
	if ((k = ca_key_read(key, key_len, err, errlen)) == NULL)
		goto bad;
	ca->pkey = k->pkey;
	free(k);
	if (check_ca(ca, err, errlen) == -1)
		goto bad;
	if (describe(ca->x, &ca->cert) == 0)
		return ca;
	fail(err, errlen, "the certificate can't be read");
bad:
	ca_free(&ca);
	return NULL;
}

void
ca_free(struct ca **cp)
{
	struct ca *ca = *cp;

	if (ca == NULL)
		return;
	X509_free(ca->x);
	EVP_PKEY_free(ca->pkey);
	ca_cert_free(&ca->cert);
	free(ca);
	*cp = NULL;
}

const struct ca_cert *
ca_cert_of(const struct ca *ca)
{
	return &ca->cert;
}

int
ca_issue(const struct ca *ca, const struct ca_wish *wish,
    const struct ca_key *key, struct ca_cert *out, char *err, size_t errlen)
{
	struct ca_wish w = *wish;

	ERR_clear_error();
	if (w.not_after > ca->cert.not_after)
		w.not_after = ca->cert.not_after;
	if (w.not_before < ca->cert.not_before)
		w.not_before = ca->cert.not_before;
	if (w.not_before >= ca->cert.not_after) {
		snprintf(err, errlen, "the CA's own certificate has expired");
		return -1;
	}
	if (check_wish(&w, err, errlen) == -1)
		return -1;
	return deliver(make(&w, key->pkey, ca->x, ca->pkey), out, err, errlen);
}

/* ---- PKCS#12 ---- */

static PKCS12 *
make_pkcs12(const struct ca *ca, const struct ca_key *key, X509 *x,
    const char *name, const char *passphrase)
{
	const int pbe = NID_pbe_WithSHA1And3_Key_TripleDES_CBC;
	STACK_OF(X509) *others = sk_X509_new_null();
	PKCS12 *p12 = NULL;

	if (others == NULL)
		return NULL;
	/* The MAC comes apart: by itself it would be one with SHA-256, which
	 * many phones take for a wrong passphrase. */
	if (sk_X509_push(others, ca->x) > 0)
		p12 = PKCS12_create(passphrase, name, key->pkey, x, others, pbe,
		    pbe, PKCS12_ROUNDS, -1, 0);
	sk_X509_free(others);
	if (p12 == NULL ||
	    PKCS12_set_mac(
		p12, passphrase, -1, NULL, 0, PKCS12_ROUNDS, EVP_sha1()) == 1)
		return p12;
	PKCS12_free(p12);
	return NULL;
}

int
ca_pkcs12(const struct ca *ca, const struct ca_key *key,
    const struct ca_cert *cert, const char *name, const char *passphrase,
    struct ca_octets *out, char *err, size_t errlen)
{
	const unsigned char *p = cert->der.p;
	unsigned char *der = NULL;
	X509 *x = d2i_X509(NULL, &p, (long)cert->der.len);
	PKCS12 *p12 = NULL;
	int len = 0, rc = -1;

	ERR_clear_error();
	if (x != NULL)
		p12 = make_pkcs12(ca, key, x, name, passphrase);
	if (p12 != NULL && (len = i2d_PKCS12(p12, &der)) > 0)
		rc = copy_octets(out, der, (size_t)len);
	OPENSSL_free(der);
	PKCS12_free(p12);
	X509_free(x);
	return rc == 0 ? 0
		       : fail(err, errlen, "the PKCS#12 file can't be made");
}

/* ---- revocation lists ---- */

static int
set_reason(X509_REVOKED *r, int reason)
{
	ASN1_ENUMERATED *e;
	int ok;

	if (reason == 0) /* RFC 5280 section 5.3.1: then without the field */
		return 1;
	if ((e = ASN1_ENUMERATED_new()) == NULL)
		return 0;
	ok = ASN1_ENUMERATED_set(e, reason) == 1 &&
	    X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, e, 0, 0) == 1;
	ASN1_ENUMERATED_free(e);
	return ok;
}

static int
set_revoked_serial(X509_REVOKED *r, const char *hex)
{
	BIGNUM *n = NULL;
	ASN1_INTEGER *serial;
	int ok;

	if (BN_hex2bn(&n, hex) == 0)
		return 0;
	serial = BN_to_ASN1_INTEGER(n, NULL);
	ok = serial != NULL && X509_REVOKED_set_serialNumber(r, serial) == 1;
	ASN1_INTEGER_free(serial);
	BN_free(n);
	return ok;
}

static int
add_revoked(X509_CRL *crl, const struct ca_revoked *from)
{
	ASN1_TIME *at = ASN1_TIME_set(NULL, (time_t)from->at);
	X509_REVOKED *r = X509_REVOKED_new();
	int ok;

	ok = at != NULL && r != NULL &&
	    set_revoked_serial(r, from->serial) == 1 &&
	    X509_REVOKED_set_revocationDate(r, at) == 1 &&
	    set_reason(r, from->reason) == 1 &&
	    X509_CRL_add0_revoked(crl, r) == 1;
	if (!ok)
		X509_REVOKED_free(r);
	ASN1_TIME_free(at);
	return ok;
}

static int
set_crl_times(X509_CRL *crl, int64_t from, int64_t to)
{
	ASN1_TIME *a = ASN1_TIME_set(NULL, (time_t)from);
	ASN1_TIME *b = ASN1_TIME_set(NULL, (time_t)to);
	int ok;

	ok = a != NULL && b != NULL && X509_CRL_set1_lastUpdate(crl, a) == 1 &&
	    X509_CRL_set1_nextUpdate(crl, b) == 1;
	ASN1_TIME_free(a);
	ASN1_TIME_free(b);
	return ok;
}

static int
add_crl_extensions(const struct ca *ca, X509_CRL *crl, int64_t number)
{
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	X509_EXTENSION *e;
	X509V3_CTX ctx;
	int ok;

	ok = n != NULL && ASN1_INTEGER_set_int64(n, number) == 1 &&
	    X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;
	ASN1_INTEGER_free(n);
	X509V3_set_ctx(&ctx, ca->x, NULL, NULL, crl, 0);
	e = X509V3_EXT_conf_nid(
	    NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	ok = ok && e != NULL && X509_CRL_add_ext(crl, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

static int
fill_crl(const struct ca *ca, X509_CRL *crl, int64_t number,
    const struct ca_revoked *revoked, size_t n)
{
	int ok = X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
	    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x)) == 1;

	for (size_t i = 0; ok && i < n; i++)
		ok = add_revoked(crl, &revoked[i]);
	return ok && X509_CRL_sort(crl) == 1 &&
	    add_crl_extensions(ca, crl, number) == 1;
}

int
ca_crl(const struct ca *ca, int64_t number, int64_t this_update,
    int64_t next_update, const struct ca_revoked *revoked, size_t n,
    struct ca_octets *out, char *err, size_t errlen)
{
	X509_CRL *crl = X509_CRL_new();
	BIO *bio = BIO_new(BIO_s_mem());
	int rc = -1;

	ERR_clear_error();
	if (crl != NULL && bio != NULL &&
	    set_crl_times(crl, this_update, next_update) == 1 &&
	    fill_crl(ca, crl, number, revoked, n) == 1 &&
	    X509_CRL_sign(crl, ca->pkey, digest_for(ca->pkey)) > 0 &&
	    PEM_write_bio_X509_CRL(bio, crl) == 1)
		rc = take_bio(out, bio);
	BIO_free(bio);
	X509_CRL_free(crl);
	return rc == 0 ? 0
		       : fail(err, errlen, "the revocation list can't be made");
}
