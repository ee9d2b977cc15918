/* TLS contexts, made from PEM in memory. */
#include "tls_int.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tlsmem.h"

/*
 * Under TLS 1.2; 1.3 has its own.  Modern: forward secrecy and authenticated
 * encryption.  Compatible: also CBC and, in the last place, keys that are sent
 * under the server's RSA key.
 */
static const char *const client_ciphers[] = {
	[TLS_MODERN] = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!PSK",
	[TLS_COMPATIBLE] = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:ECDHE+AES:"
			   "DHE+AES:kRSA+AESGCM:kRSA+AES:!aNULL:!PSK",
};

int
tls_fail(char *err, size_t errlen, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;

	snprintf(err, errlen, "%s%s%s", what, reason != NULL ? ": " : "",
	    reason != NULL ? reason : "");
	ERR_clear_error();
	return -1;
}

static BIO *
reader(const struct buf *b)
{
	if (b->len == 0 || b->len > 64 * 1024 * 1024)
		return NULL;
	return BIO_new_mem_buf(buf_head(b), (int)b->len);
}

/* A passphrase cannot be asked for here. */
static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out, (void)size, (void)writing, (void)arg;
	return -1;
}

static int
kind_of(const X509 *leaf)
{
	switch (EVP_PKEY_get_base_id(X509_get0_pubkey(leaf))) {
	case EVP_PKEY_RSA:
		return TLSNAME_RSA;
	case EVP_PKEY_RSA_PSS:
		return TLSNAME_PSS;
	case EVP_PKEY_EC:
		return TLSNAME_EC;
	case EVP_PKEY_ED25519:
		return TLSNAME_ED25519;
	case EVP_PKEY_ED448:
		return TLSNAME_ED448;
	default:
		return -1;
	}
}

int
tls_chain_read(
    struct tls_chain *c, const struct buf *pem, char *err, size_t errlen)
{
	BIO *bio = reader(pem);
	X509 *x;
	int kind = -1;

	*c = (struct tls_chain){ .more = sk_X509_new_null() };
	if (bio != NULL && c->more != NULL)
		c->leaf = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
	while (c->leaf != NULL &&
	    (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		if (sk_X509_push(c->more, x) <= 0)
			X509_free(x);
	}
	BIO_free(bio);
	if (c->leaf == NULL)
		return tls_fail(
		    err, errlen, "no usable certificate in PEM form");
	ERR_clear_error(); /* the end of the bundle looks like one */
	if ((kind = kind_of(c->leaf)) == -1)
		return tls_fail(err, errlen,
		    "the certificate is for a kind of key that TLS does not "
		    "know, expected RSA, ECDSA or EdDSA");
	c->kind = (enum tlsname_kind)kind;
	return 0;
}

void
tls_chain_clear(struct tls_chain *c)
{
	X509_free(c->leaf);
	sk_X509_pop_free(c->more, X509_free);
	EVP_PKEY_free(c->key);
	free(c->staple);
	*c = (struct tls_chain){ .leaf = NULL };
}

/* What a first signature prepares of the key lies beside it. */
static void
warm_up(EVP_PKEY *key)
{
	static const unsigned char text[1];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[1024];
	size_t len = sizeof(sig);

	/* a key with a digest of its own (Ed25519) has nothing to prepare */
	if (ctx != NULL &&
	    EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1)
		EVP_DigestSign(ctx, sig, &len, text, sizeof(text));
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
}

static EVP_PKEY *
read_key(const struct buf *pem)
{
	EVP_PKEY *key = NULL;
	BIO *bio;

	tlsmem_guard(true);
	if ((bio = reader(pem)) != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	tlsmem_guard(false);
	return key;
}

int
tls_chain_read_pair(struct tls_chain *c, const struct buf *cert,
    const struct buf *key, char *err, size_t errlen)
{
	bool fits;

	if (tls_chain_read(c, cert, err, errlen) == -1)
		return -1;
	if ((c->key = read_key(key)) == NULL)
		return tls_fail(err, errlen,
		    "no usable private key in PEM form without passphrase");
	tlsmem_guard(true);
	if ((fits = X509_check_private_key(c->leaf, c->key) == 1))
		warm_up(c->key);
	tlsmem_guard(false);
	if (!fits)
		return tls_fail(err, errlen,
		    "the private key does not belong to the certificate");
	return 0;
}

int
tls_chain_use(SSL_CTX *ctx, const struct tls_chain *c, char *err, size_t errlen)
{
	bool ok;

	tlsmem_guard(true);
	ok = SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->more, 1) == 1;
	tlsmem_guard(false);
	return ok ? 0 : tls_fail(err, errlen, "the certificate can't be used");
}

static int
use_pair(SSL_CTX *ctx, const struct buf *cert, const struct buf *key, char *err,
    size_t errlen)
{
	struct tls_chain c;
	int rc;

	if ((rc = tls_chain_read_pair(&c, cert, key, err, errlen)) == 0)
		rc = tls_chain_use(ctx, &c, err, errlen);
	tls_chain_clear(&c);
	return rc;
}

static int
trust(SSL_CTX *ctx, const struct buf *pem, int *count)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = reader(pem);
	X509 *x;
	int ok = bio != NULL;

	*count = 0;
	while (ok &&
	    (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		ok = X509_STORE_add_cert(store, x) == 1;
		*count += ok;
		X509_free(x);
	}
	if (ok)
		ERR_clear_error();
	BIO_free(bio);
	return ok && *count > 0 ? 0 : -1;
}

SSL_CTX *
tls_context(const SSL_METHOD *method, const char *ciphers)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx,
	    SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

void
tls_warm(void)
{
	if (tlsmem_init() == 0)
		SSL_CTX_free(
		    tls_context(TLS_server_method(), client_ciphers[0]));
}

struct tls_ctx *
tls_client_new(const struct buf *ca, const struct buf *cert,
    const struct buf *key, enum tls_policy policy, char *err, size_t errlen)
{
	SSL_CTX *ctx = tls_context(TLS_client_method(), client_ciphers[policy]);
	struct tls_ctx *t;
	int count;

	if (ctx == NULL) {
		tls_fail(err, errlen, "TLS cannot be set up");
		return NULL;
	}
	if (trust(ctx, ca, &count) == -1) {
		tls_fail(err, errlen, "no usable CA certificate in PEM form");
		goto bad;
	}
	if (cert->len > 0 && use_pair(ctx, cert, key, err, errlen) == -1)
		goto bad;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	t = xcalloc(1, sizeof(*t));
	t->ssl = ctx;
	t->client = true;
	return t;
bad:
	SSL_CTX_free(ctx);
	return NULL;
}

bool
tls_is_client(const struct tls_ctx *t)
{
	return t->client;
}

/* Name and chain are checked inside the handshake (RFC 9525: alternative
 * names only, no partial wildcards). */
static int
expect_name(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	unsigned char addr[sizeof(struct in6_addr)];
	char host[256];
	size_t n = strlen(name);

	if (inet_pton(AF_INET, name, addr) == 1 ||
	    inet_pton(AF_INET6, name, addr) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(param, name);
	if (n == 0 || n >= sizeof(host))
		return 0;
	memcpy(host, name, n + 1);
	if (host[n - 1] == '.') /* would match no certificate */
		host[n - 1] = '\0';
	SSL_set_hostflags(ssl,
	    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
		X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return SSL_set1_host(ssl, host) == 1 &&
	    SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct ssl_st *
tls_new(struct tls_ctx *t, const char *name)
{
	SSL *ssl = SSL_new(t->ssl);

	if (ssl == NULL)
		return NULL;
	if (!t->client) {
		SSL_set_accept_state(ssl);
		return ssl;
	}
	SSL_set_connect_state(ssl);
	if (name != NULL && expect_name(ssl, name) == 1)
		return ssl;
	SSL_free(ssl);
	return NULL;
}

int
tls_check_pair(
    const struct buf *cert, const struct buf *key, char *err, size_t errlen)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	struct tls_chain c;
	int rc;

	if (ctx == NULL)
		return tls_fail(err, errlen, "TLS cannot be set up");
	if ((rc = tls_chain_read_pair(&c, cert, key, err, errlen)) == 0)
		rc = tls_chain_use(ctx, &c, err, errlen);
	if (rc == -1)
		; /* said */
	else if (X509_cmp_current_time(X509_get0_notAfter(c.leaf)) < 0) {
		snprintf(err, errlen, "the certificate has expired");
		rc = -1;
	} else if (X509_cmp_current_time(X509_get0_notBefore(c.leaf)) > 0) {
		snprintf(err, errlen, "the certificate is not yet valid");
		rc = -1;
	}
	tls_chain_clear(&c);
	SSL_CTX_free(ctx);
	return rc;
}

int
tls_check_bundle(const struct buf *ca, char *err, size_t errlen)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	int count, rc;

	rc = ctx != NULL ? trust(ctx, ca, &count) : -1;
	SSL_CTX_free(ctx);
	return rc == 0
	    ? 0
	    : tls_fail(err, errlen, "no usable certificate in PEM form");
}
