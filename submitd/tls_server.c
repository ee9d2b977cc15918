/*
 * A server's contexts: one for each set of chains that a name leads to, shared
 * by all connections; session tickets; what a client may ask for in its hello.
 */
#include "tls_int.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frames.h"

/* As those of clients in tls.c. */
static const char *const ciphers[] = {
	[TLS_MODERN] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK",
	[TLS_COMPATIBLE] = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:"
			   "kRSA+AESGCM:kRSA+AES:!aNULL:!PSK",
};

/* Any certificate passes the handshake; auth judges it from its bytes. */
static int
let_through(X509_STORE_CTX *store, void *arg)
{
	(void)store, (void)arg;
	return 1;
}

static const struct tls_ctx *
context_of_ssl(SSL *ssl)
{
	return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

static const struct tls_chain *
chain_of(const struct tls_ctx *t, const X509 *leaf)
{
	size_t i;

	for (i = 0; i < t->chains; i++)
		if (t->chain[i].leaf == leaf)
			return &t->chain[i];
	return NULL;
}

/* That whose mark the session's ticket has. */
static const struct tls_chain *
chain_of_session(const struct tls_ctx *t, SSL_SESSION *ss)
{
	void *mark;
	size_t len, i;

	if (SSL_SESSION_get0_ticket_appdata(ss, &mark, &len) != 1 ||
	    len != TLS_MARK)
		return NULL;
	for (i = 0; i < t->chains; i++)
		if (memcmp(t->chain[i].mark, mark, len) == 0)
			return &t->chain[i];
	return NULL;
}

static const struct tls_chain *
chain_shown(const struct tls_ctx *t, SSL *ssl)
{
	return SSL_session_reused(ssl) == 1
	    ? chain_of_session(t, SSL_get_session(ssl))
	    : chain_of(t, SSL_get_certificate(ssl));
}

X509 *
tls_own(SSL *ssl)
{
	const struct tls_ctx *t = context_of_ssl(ssl);
	const struct tls_chain *c;

	if (t == NULL) /* a client's */
		return SSL_get_certificate(ssl);
	c = chain_shown(t, ssl);
	return c != NULL ? c->leaf : NULL;
}

/* A ticket is made: it remembers what its client was shown. */
static int
on_new_ticket(SSL *ssl, void *arg)
{
	const struct tls_chain *c = chain_shown(context_of_ssl(ssl), ssl);

	(void)arg;
	return c == NULL ? 1 /* it will not be taken */
			 : SSL_SESSION_set1_ticket_appdata(
			       SSL_get_session(ssl), c->mark, sizeof(c->mark));
}

/*
 * Tickets are left out for a session with a client certificate: a resumed
 * session would skip revocation and expiry.  So are those of a certificate
 * that was renewed.
 */
static SSL_TICKET_RETURN
on_ticket(SSL *ssl, SSL_SESSION *ss, const unsigned char *name, size_t len,
    SSL_TICKET_STATUS status, void *arg)
{
	(void)name, (void)len, (void)arg;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (SSL_SESSION_get0_peer(ss) != NULL ||
	    chain_of_session(context_of_ssl(ssl), ss) == NULL)
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

static void
allow_tickets(SSL_CTX *ctx, bool yes, int64_t lifetime_s)
{
	if (!yes) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(ctx, 0);
		return;
	}
	SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_timeout(ctx, lifetime_s);
}

void
tls_set_tickets(
    struct tls_ctx *t, const void *keys, size_t len, int64_t lifetime_s)
{
	size_t n = len / sizeof(t->ticket[0]), i;

	OPENSSL_cleanse(t->ticket, sizeof(t->ticket));
	t->tickets = n < TLS_TICKET_KEYS ? n : TLS_TICKET_KEYS;
	if (t->tickets > 0)
		memcpy(t->ticket, keys, t->tickets * sizeof(t->ticket[0]));
	for (i = 0; i < t->groups; i++)
		allow_tickets(t->group[i].ssl, t->tickets > 0, lifetime_s);
}

/* ---- what a hello asks for ---- */

static SSL_CTX *
context_of(const struct tls_ctx *t, const struct tlsname_pick *pick)
{
	size_t i;

	for (i = 0; i < t->groups; i++)
		if (memcmp(t->group[i].pick, pick, sizeof(*pick)) == 0)
			return t->group[i].ssl;
	return NULL;
}

/* A name that nobody has is no reason to part: the client compares, too. */
static int
on_name(SSL *ssl, int *alert, void *arg)
{
	struct tls_ctx *t = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	SSL_CTX *ctx = context_of(t, tlsname_find(t->names, name));

	(void)alert;
	if (name == NULL || ctx == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	if (ctx != SSL_get_SSL_CTX(ssl))
		SSL_set_SSL_CTX(ssl, ctx);
	return SSL_TLSEXT_ERR_OK;
}

/*
 * "smtp" or "esmtp".  A client that offers others only speaks another
 * protocol: it was redirected to this port (the ALPACA attack; RFC 7301
 * section 3.2 wants the alert).
 */
static int
on_protocols(SSL *ssl, const unsigned char **out, unsigned char *outlen,
    const unsigned char *in, unsigned int inlen, void *arg)
{
	static const char *const ours[] = { "smtp", "esmtp" };
	unsigned int at, n;
	size_t i;

	(void)ssl, (void)arg;
	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		for (at = 0; at < inlen; at += 1 + n) {
			n = in[at];
			if (n > inlen - at - 1)
				break;
			if (n != strlen(ours[i]) ||
			    memcmp(in + at + 1, ours[i], n) != 0)
				continue;
			*out = in + at + 1;
			*outlen = (unsigned char)n;
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* OpenSSL frees the copy, which tls_shook_hands() does not wait for. */
static int
on_status(SSL *ssl, void *arg)
{
	const struct tls_chain *c = chain_of(arg, SSL_get_certificate(ssl));
	unsigned char *copy;

	if (c == NULL || c->staple == NULL || time(NULL) >= c->staple_until ||
	    (copy = OPENSSL_memdup(c->staple, c->staple_len)) == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)c->staple_len);
	return SSL_TLSEXT_ERR_OK;
}

void
tls_shook_hands(struct ssl_st *ssl)
{
	if (SSL_is_server(ssl) == 1)
		SSL_set_tlsext_status_ocsp_resp(ssl, NULL, 0);
}

void
tls_set_staples(struct tls_ctx *t, const struct buf *frames)
{
	struct buf one;
	size_t at = 0, i;

	for (i = 0; i < t->chains; i++) {
		struct tls_chain *c = &t->chain[i];

		free(c->staple);
		c->staple = NULL;
		if (!frames_next(frames, &at, &one) ||
		    one.len <= sizeof(c->staple_until))
			continue;
		memcpy(&c->staple_until, one.data, sizeof(c->staple_until));
		c->staple_len = one.len - sizeof(c->staple_until);
		c->staple = xmalloc(c->staple_len);
		memcpy(c->staple, one.data + sizeof(c->staple_until),
		    c->staple_len);
	}
}

/* ---- making it ---- */

static int
read_chain(struct tls_chain *c, const struct buf *cert, const struct buf *key,
    char *err, size_t errlen)
{
	if (tls_chain_read_pair(c, cert, key, err, errlen) == -1)
		return -1;
	if (X509_digest(c->leaf, EVP_sha256(), c->mark, NULL) == 1)
		return 0;
	return tls_fail(err, errlen, "the certificate cannot be digested");
}

static int
read_chains(struct tls_ctx *t, const struct buf *certs, const struct buf *keys,
    char *err, size_t errlen)
{
	size_t at = 0, key_at = 0;
	struct buf cert, key;

	while (frames_next(certs, &at, &cert)) {
		if (t->chains == TLS_CHAINS_MAX ||
		    !frames_next(keys, &key_at, &key)) {
			snprintf(err, errlen,
			    "there are not as many keys as "
			    "certificates, or too many");
			return -1;
		}
		if (read_chain(
			&t->chain[t->chains++], &cert, &key, err, errlen) == -1)
			return -1;
	}
	if (t->chains > 0)
		return 0;
	snprintf(err, errlen, "there is no certificate");
	return -1;
}

static void
add_names(struct tls_ctx *t, int n)
{
	const struct tls_chain *c = &t->chain[n];
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	int i;

	tlsname_add(t->names, n, c->kind, NULL, 0);
	for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		if (g->type != GEN_DNS)
			continue;
		tlsname_add(t->names, n, c->kind,
		    (const char *)ASN1_STRING_get0_data(g->d.dNSName),
		    (size_t)ASN1_STRING_length(g->d.dNSName));
	}
	GENERAL_NAMES_free(names);
}

static SSL_CTX *
server_context(struct tls_ctx *t, const struct tlsname_pick *pick,
    enum tls_policy policy, char *err, size_t errlen)
{
	SSL_CTX *ctx = tls_context(TLS_server_method(), ciphers[policy]);
	int k;

	if (ctx == NULL) {
		tls_fail(err, errlen, "TLS cannot be set up");
		return NULL;
	}
	for (k = 0; k < TLSNAME_KINDS; k++) {
		if (pick->of[k] == -1 ||
		    tls_chain_use(ctx, &t->chain[pick->of[k]], err, errlen) ==
			0)
			continue;
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, let_through, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* Without it every resumption attempt would be a fatal error. */
	SSL_CTX_set_session_id_context(
	    ctx, (const unsigned char *)"submitd", 7);
	SSL_CTX_set_session_ticket_cb(ctx, on_new_ticket, on_ticket, NULL);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
	SSL_CTX_set_tlsext_servername_arg(ctx, t);
	SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
	SSL_CTX_set_tlsext_status_cb(ctx, on_status);
	SSL_CTX_set_tlsext_status_arg(ctx, t);
	SSL_CTX_set_app_data(ctx, t);
	return ctx;
}

/* The first pick is that of clients without a name. */
static int
make_groups(struct tls_ctx *t, enum tls_policy policy, char *err, size_t errlen)
{
	const struct tlsname_pick *pick;
	struct tls_group *g;
	size_t n;

	for (n = 0; (pick = tlsname_pick(t->names, n)) != NULL; n++) {
		if (context_of(t, pick) != NULL)
			continue;
		t->group =
		    xrealloc(t->group, (t->groups + 1) * sizeof(*t->group));
		g = &t->group[t->groups];
		g->pick = pick;
		g->ssl = server_context(t, pick, policy, err, errlen);
		if (g->ssl == NULL)
			return -1;
		t->groups++;
	}
	t->ssl = t->group[0].ssl;
	return 0;
}

struct tls_ctx *
tls_server_new(const struct buf *certs, const struct buf *keys,
    enum tls_policy policy, char *err, size_t errlen)
{
	struct tls_ctx *t = xcalloc(1, sizeof(*t));
	size_t i;

	t->chain = xcalloc(TLS_CHAINS_MAX, sizeof(*t->chain));
	t->names = tlsname_new();
	if (read_chains(t, certs, keys, err, errlen) == -1) {
		tls_ctx_free(&t);
		return NULL;
	}
	for (i = 0; i < t->chains; i++)
		add_names(t, (int)i);
	tlsname_seal(t->names);
	if (make_groups(t, policy, err, errlen) == -1)
		tls_ctx_free(&t);
	else
		tls_set_tickets(t, NULL, 0, 0);
	return t;
}

void
tls_ctx_free(struct tls_ctx **tp)
{
	struct tls_ctx *t = *tp;
	size_t i;

	*tp = NULL;
	if (t == NULL)
		return;
	if (t->client)
		SSL_CTX_free(t->ssl);
	for (i = 0; i < t->groups; i++)
		SSL_CTX_free(t->group[i].ssl);
	for (i = 0; i < t->chains; i++)
		tls_chain_clear(&t->chain[i]);
	free(t->group);
	free(t->chain);
	tlsname_free(&t->names);
	freezero(t, sizeof(*t));
}
