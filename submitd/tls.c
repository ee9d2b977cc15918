/* TLS contexts, made from PEM in memory. */
#include "tls.h"

#include <arpa/inet.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tlsmem.h"

struct ticket_key {
	unsigned char name[16], cipher[32], mac[32];
};
_Static_assert(sizeof(struct ticket_key) == TLS_TICKET_KEY, "as it travels");

struct tls_ctx {
	SSL_CTX *ssl;
	bool client;
	struct ticket_key ticket[TLS_TICKET_KEYS]; /* the first makes them */
	size_t tickets;
};

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

/* -1: not read; -2: read, but OpenSSL does not take it, e.g. a weak key. */
static int
use_chain(SSL_CTX *ctx, const struct buf *pem)
{
	BIO *bio = reader(pem);
	X509 *x = NULL;
	int ok, bad = -1;

	ok = bio != NULL &&
	    (x = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL)) != NULL;
	if (ok && (ok = SSL_CTX_use_certificate(ctx, x) == 1) == 0)
		bad = -2;
	X509_free(x);
	while (ok &&
	    (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		if ((ok = SSL_CTX_add0_chain_cert(ctx, x) == 1) == 0)
			X509_free(x);
	}
	if (ok)
		ERR_clear_error(); /* the end of the bundle looks like one */
	BIO_free(bio);
	return ok ? 0 : bad;
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

static bool
use_key(SSL_CTX *ctx, EVP_PKEY *key)
{
	bool ok;

	tlsmem_guard(true);
	ok = SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
	    SSL_CTX_check_private_key(ctx) == 1;
	if (ok)
		warm_up(key);
	tlsmem_guard(false);
	return ok;
}

static int
use_pair(SSL_CTX *ctx, const struct buf *cert, const struct buf *key, char *err,
    size_t errlen)
{
	int rc = use_chain(ctx, cert);
	EVP_PKEY *pkey;
	bool ok;

	if (rc != 0)
		return fail(err, errlen,
		    rc == -1 ? "no usable certificate in PEM form"
			     : "the certificate can't be used");
	if ((pkey = read_key(key)) == NULL)
		return fail(err, errlen,
		    "no usable private key in PEM form without passphrase");
	ok = use_key(ctx, pkey);
	EVP_PKEY_free(pkey);
	if (!ok)
		return fail(err, errlen,
		    "the private key does not belong to the certificate");
	return 0;
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

static SSL_CTX *
context(const SSL_METHOD *method)
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
	/* Forward secrecy and authenticated encryption, also under 1.2. */
	if (SSL_CTX_set_cipher_list(ctx,
		"ECDHE+AESGCM:ECDHE+CHACHA20:"
		"DHE+AESGCM:!aNULL") != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

/* Any certificate passes the handshake; auth judges it from its bytes. */
static int
let_through(X509_STORE_CTX *store, void *arg)
{
	(void)store, (void)arg;
	return 1;
}

/*
 * Tickets are left out for a session with a client certificate: a resumed
 * session would skip revocation and expiry.
 */
static SSL_TICKET_RETURN
on_ticket(SSL *ssl, SSL_SESSION *ss, const unsigned char *name, size_t len,
    SSL_TICKET_STATUS status, void *arg)
{
	(void)ssl, (void)name, (void)len, (void)arg;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (SSL_SESSION_get0_peer(ss) != NULL)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE
					    : SSL_TICKET_RETURN_USE_RENEW;
}

static int
begin_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(
				    OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
		OSSL_PARAM_construct_utf8_string(
		    OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end() };

	return EVP_MAC_CTX_set_params(mac, params);
}

static int
make_ticket(struct tls_ctx *t, unsigned char *name, unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct ticket_key *k = &t->ticket[0];

	if (t->tickets == 0)
		return 0;
	memcpy(name, k->name, sizeof(k->name));
	if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1 ||
	    EVP_EncryptInit_ex(
		cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv) != 1)
		return -1;
	return begin_mac(mac, k) == 1 ? 1 : -1;
}

/*
 * 2 asks for a new ticket: after the last key's time, and always in TLS 1.3,
 * where a ticket is to be used once and there would be no other.
 */
static int
read_ticket(struct tls_ctx *t, bool tls13, const unsigned char *name,
    const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct ticket_key *k;
	size_t i;

	for (i = 0; i < t->tickets; i++)
		if (memcmp(t->ticket[i].name, name, sizeof(k->name)) == 0)
			break;
	if (i == t->tickets)
		return 0;
	k = &t->ticket[i];
	if (begin_mac(mac, k) != 1 ||
	    EVP_DecryptInit_ex(
		cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv) != 1)
		return -1;
	return i == 0 && !tls13 ? 1 : 2;
}

static int
on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int make)
{
	struct tls_ctx *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	return make ? make_ticket(t, name, iv, cipher, mac)
		    : read_ticket(t, SSL_version(ssl) == TLS1_3_VERSION, name,
			  iv, cipher, mac);
}

void
tls_set_tickets(
    struct tls_ctx *t, const void *keys, size_t len, int64_t lifetime_s)
{
	size_t n = len / sizeof(t->ticket[0]);

	OPENSSL_cleanse(t->ticket, sizeof(t->ticket));
	t->tickets = n < TLS_TICKET_KEYS ? n : TLS_TICKET_KEYS;
	if (t->tickets == 0) {
		SSL_CTX_set_options(t->ssl, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(t->ssl, 0);
		return;
	}
	memcpy(t->ticket, keys, t->tickets * sizeof(t->ticket[0]));
	SSL_CTX_clear_options(t->ssl, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(t->ssl, 1);
	SSL_CTX_set_timeout(t->ssl, lifetime_s);
}

static struct tls_ctx *
wrap(SSL_CTX *ctx, bool client)
{
	struct tls_ctx *t = xcalloc(1, sizeof(*t));

	t->ssl = ctx;
	t->client = client;
	return t;
}

struct tls_ctx *
tls_server_new(
    const struct buf *cert, const struct buf *key, char *err, size_t errlen)
{
	SSL_CTX *ctx = context(TLS_server_method());
	struct tls_ctx *t;

	if (ctx == NULL) {
		fail(err, errlen, "TLS cannot be set up");
		return NULL;
	}
	if (use_pair(ctx, cert, key, err, errlen) == -1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, let_through, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* Without it every resumption attempt would be a fatal error. */
	SSL_CTX_set_session_id_context(
	    ctx, (const unsigned char *)"submitd", 7);
	SSL_CTX_set_session_ticket_cb(ctx, NULL, on_ticket, NULL);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key);
	t = wrap(ctx, false);
	SSL_CTX_set_app_data(ctx, t);
	tls_set_tickets(t, NULL, 0, 0);
	return t;
}

struct tls_ctx *
tls_client_new(const struct buf *ca, const struct buf *cert,
    const struct buf *key, char *err, size_t errlen)
{
	SSL_CTX *ctx = context(TLS_client_method());
	int count;

	if (ctx == NULL) {
		fail(err, errlen, "TLS cannot be set up");
		return NULL;
	}
	if (trust(ctx, ca, &count) == -1) {
		fail(err, errlen, "no usable CA certificate in PEM form");
		goto bad;
	}
	if (cert->len > 0 && use_pair(ctx, cert, key, err, errlen) == -1)
		goto bad;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return wrap(ctx, true);
bad:
	SSL_CTX_free(ctx);
	return NULL;
}

void
tls_ctx_free(struct tls_ctx **tp)
{
	if (*tp != NULL) {
		SSL_CTX_free((*tp)->ssl);
		freezero(*tp, sizeof(**tp));
	}
	*tp = NULL;
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
	struct tls_ctx *t = tls_server_new(cert, key, err, errlen);
	const X509 *x;
	int rc = 0;

	if (t == NULL)
		return -1;
	x = SSL_CTX_get0_certificate(t->ssl);
	if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0) {
		snprintf(err, errlen, "the certificate has expired");
		rc = -1;
	} else if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0) {
		snprintf(err, errlen, "the certificate is not yet valid");
		rc = -1;
	}
	tls_ctx_free(&t);
	return rc;
}

int
tls_check_bundle(const struct buf *ca, char *err, size_t errlen)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	int count, rc;

	rc = ctx != NULL ? trust(ctx, ca, &count) : -1;
	SSL_CTX_free(ctx);
	return rc == 0 ? 0
		       : fail(err, errlen, "no usable certificate in PEM form");
}
