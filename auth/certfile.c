/*
 * Looking at files of certificates (certfile.h), with OpenSSL.
 */
#include "certfile.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILE_MAX = 8 << 20 };

struct certfile {
	STACK_OF(X509) * list;
	struct certfile_cert *cert;
};

struct certfile_crls {
	STACK_OF(X509_CRL) * list;
};

static BIO *
reader(const void *pem, size_t len)
{
	ERR_clear_error();
	return len > 0 && len <= FILE_MAX ? BIO_new_mem_buf(pem, (int)len)
					  : NULL;
}

/* True if reading PEM stopped because there was no more. */
static bool
pem_ended(void)
{
	unsigned long e = ERR_peek_last_error();
	bool ended = e == 0 ||
	    (ERR_GET_LIB(e) == ERR_LIB_PEM &&
		ERR_GET_REASON(e) == PEM_R_NO_START_LINE);

	ERR_clear_error();
	return ended;
}

static int64_t
seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm)
							 : 0;
}

static void
put_name(const X509_NAME *name, char *out, size_t outlen)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p = NULL;
	long len;

	out[0] = '\0';
	if (bio == NULL)
		return;
	X509_NAME_print_ex(
	    bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
	if ((len = BIO_get_mem_data(bio, &p)) > 0)
		snprintf(out, outlen, "%.*s", (int)len, p);
	BIO_free(bio);
}

static void
put_hex(const unsigned char md[32], char out[65])
{
	for (size_t i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", md[i]);
}

static void
describe(X509 *x, struct certfile_cert *c)
{
	unsigned char md[EVP_MAX_MD_SIZE] = { 0 }, *der = NULL;
	int len;

	put_name(X509_get_subject_name(x), c->subject, sizeof(c->subject));
	put_name(X509_get_issuer_name(x), c->issuer, sizeof(c->issuer));
	X509_digest(x, EVP_sha256(), md, NULL);
	put_hex(md, c->sha256);
	if ((len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der)) > 0) {
		EVP_Digest(der, (size_t)len, md, NULL, EVP_sha256(), NULL);
		put_hex(md, c->spki_sha256);
	}
	OPENSSL_free(der);
	c->not_before = seconds(X509_get0_notBefore(x));
	c->not_after = seconds(X509_get0_notAfter(x));
	c->ca = X509_check_ca(x) == 1;
	c->self_issued = X509_NAME_cmp(X509_get_subject_name(x),
			     X509_get_issuer_name(x)) == 0;
}

static int
read_all(struct certfile *f, BIO *bio)
{
	X509 *x;

	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_push(f->list, x) == 0) {
			X509_free(x);
			return -1;
		}
	}
	return pem_ended() ? 0 : -1;
}

struct certfile *
certfile_read(const void *pem, size_t len, char *err, size_t errlen)
{
	struct certfile *f = calloc(1, sizeof(*f));
	BIO *bio = reader(pem, len);
	int n = 0;

	if (f == NULL || (f->list = sk_X509_new_null()) == NULL)
		snprintf(err, errlen, "no memory");
	else if (bio != NULL && read_all(f, bio) == -1)
		snprintf(err, errlen, "certificate %d is broken",
		    sk_X509_num(f->list) + 1);
	else if ((n = sk_X509_num(f->list)) == 0)
		snprintf(err, errlen, "no certificate in PEM form");
	else if ((f->cert = calloc((size_t)n, sizeof(*f->cert))) == NULL) {
		snprintf(err, errlen, "no memory");
		n = 0;
	}
	for (int i = 0; f != NULL && i < n; i++)
		describe(sk_X509_value(f->list, i), &f->cert[i]);
	BIO_free(bio);
	if (f != NULL && f->cert == NULL)
		certfile_free(&f);
	return f;
}

void
certfile_free(struct certfile **fp)
{
	struct certfile *f = *fp;

	if (f == NULL)
		return;
	sk_X509_pop_free(f->list, X509_free);
	free(f->cert);
	free(f);
	*fp = NULL;
}

size_t
certfile_count(const struct certfile *f)
{
	return (size_t)sk_X509_num(f->list);
}

const struct certfile_cert *
certfile_get(const struct certfile *f, size_t i)
{
	return &f->cert[i];
}

/* ---- names ---- */

bool
certfile_names(const struct certfile *f, const char *host)
{
	X509 *x = sk_X509_value(f->list, 0);
	unsigned char addr[sizeof(struct in6_addr)];
	int ok;

	if (inet_pton(AF_INET, host, addr) == 1 ||
	    inet_pton(AF_INET6, host, addr) == 1)
		ok = X509_check_ip_asc(x, host, 0);
	else
		ok = X509_check_host(x, host, 0,
		    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
			X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
		    NULL);
	ERR_clear_error();
	return ok == 1;
}

static int
host_text(const GENERAL_NAME *g, char *out, size_t outlen)
{
	const unsigned char *p;
	int len;

	if (g->type == GEN_DNS) {
		len = ASN1_STRING_length(g->d.dNSName);
		snprintf(out, outlen, "%.*s", len,
		    (const char *)ASN1_STRING_get0_data(g->d.dNSName));
		return 0;
	}
	if (g->type != GEN_IPADD)
		return -1;
	p = ASN1_STRING_get0_data(g->d.iPAddress);
	len = ASN1_STRING_length(g->d.iPAddress);
	if (len != 4 && len != 16)
		return -1;
	return inet_ntop(len == 4 ? AF_INET : AF_INET6, p, out,
		   (socklen_t)outlen) != NULL
	    ? 0
	    : -1;
}

void
certfile_hosts(const struct certfile *f, char *out, size_t outlen)
{
	GENERAL_NAMES *list = X509_get_ext_d2i(
	    sk_X509_value(f->list, 0), NID_subject_alt_name, NULL, NULL);
	char one[256];
	size_t used = 0;

	out[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(list) && used < outlen; i++) {
		if (host_text(
			sk_GENERAL_NAME_value(list, i), one, sizeof(one)) == -1)
			continue;
		used += (size_t)snprintf(out + used, outlen - used, "%s%s",
		    used > 0 ? ", " : "", one);
	}
	GENERAL_NAMES_free(list);
}

/* ---- key and chain ---- */

static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out, (void)size, (void)writing, (void)arg;
	return -1;
}

int
certfile_fits(const struct certfile *f, const void *key, size_t len, char *err,
    size_t errlen)
{
	BIO *bio = reader(key, len);
	EVP_PKEY *pkey = NULL;
	int rc = -1;

	if (bio != NULL)
		pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	if (pkey == NULL)
		snprintf(err, errlen,
		    "no private key in PEM form without passphrase");
	else if (X509_check_private_key(sk_X509_value(f->list, 0), pkey) != 1)
		snprintf(err, errlen, "it does not belong to the certificate");
	else
		rc = 0;
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	ERR_clear_error();
	return rc;
}

static X509_STORE *
store_of(const struct certfile *roots)
{
	X509_STORE *store = X509_STORE_new();

	for (int i = 0; store != NULL && i < sk_X509_num(roots->list); i++)
		X509_STORE_add_cert(store, sk_X509_value(roots->list, i));
	ERR_clear_error();
	return store;
}

int
certfile_verify(const struct certfile *f, const struct certfile *roots,
    int64_t now, char *err, size_t errlen)
{
	X509_STORE *store = store_of(roots);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int code = X509_V_ERR_UNSPECIFIED;

	if (store != NULL && ctx != NULL &&
	    X509_STORE_CTX_init(
		ctx, store, sk_X509_value(f->list, 0), f->list) == 1) {
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
		X509_VERIFY_PARAM_set_time(
		    X509_STORE_CTX_get0_param(ctx), (time_t)now);
		code = X509_verify_cert(ctx) == 1
		    ? X509_V_OK
		    : X509_STORE_CTX_get_error(ctx);
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	if (code == X509_V_OK)
		return 0;
	snprintf(err, errlen, "%s", X509_verify_cert_error_string(code));
	return -1;
}

/* ---- revocation lists ---- */

struct certfile_crls *
certfile_crls_read(const void *pem, size_t len, char *err, size_t errlen)
{
	struct certfile_crls *c = calloc(1, sizeof(*c));
	BIO *bio = reader(pem, len);
	X509_CRL *crl;
	bool ended = bio == NULL;

	if (c == NULL || (c->list = sk_X509_CRL_new_null()) == NULL) {
		snprintf(err, errlen, "no memory");
		goto bad;
	}
	while (bio != NULL &&
	    (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_CRL_push(c->list, crl) == 0) {
			X509_CRL_free(crl);
			break;
		}
	}
	if (bio != NULL)
		ended = pem_ended();
	if (ended && sk_X509_CRL_num(c->list) > 0) {
		BIO_free(bio);
		return c;
	}
	snprintf(err, errlen, "%s",
	    ended ? "no revocation list in PEM form"
		  : "a revocation list is broken");
bad:
	BIO_free(bio);
	certfile_crls_free(&c);
	return NULL;
}

void
certfile_crls_free(struct certfile_crls **cp)
{
	if (*cp != NULL)
		sk_X509_CRL_pop_free((*cp)->list, X509_CRL_free);
	free(*cp);
	*cp = NULL;
}

enum certfile_crl
certfile_crls_of(const struct certfile_crls *c, const struct certfile *f,
    size_t i, int64_t *next_update)
{
	X509 *ca = sk_X509_value(f->list, (int)i);
	enum certfile_crl found = CERTFILE_CRL_NONE;
	X509_CRL *crl;

	for (int n = 0; n < sk_X509_CRL_num(c->list); n++) {
		crl = sk_X509_CRL_value(c->list, n);
		if (X509_NAME_cmp(X509_CRL_get_issuer(crl),
			X509_get_subject_name(ca)) != 0)
			continue;
		if (X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1) {
			*next_update = seconds(X509_CRL_get0_nextUpdate(crl));
			ERR_clear_error();
			return CERTFILE_CRL_OK;
		}
		found = CERTFILE_CRL_FORGED;
	}
	ERR_clear_error();
	return found;
}
