/* submitd/tls_server.c: session tickets.  What verifies whom is in unit_stream.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "submitd/frames.h"
#include "submitd/tls.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

enum { K = TLS_TICKET_KEY, LIFETIME_S = 3600 };

/* Three generations of keys, the newest first. */
static unsigned char keys[3 * K];
/* A certificate and its key: two that a renewal could replace, and one of the
 * same names with another kind of key. */
static struct pair {
	X509 *cert;
	EVP_PKEY *key;
	struct buf cert_pem, key_pem;
} first_ec, second_ec, rsa;

/* The newest session that the client got, and what the server says that it was
 * shown. */
static SSL_SESSION *session;
static const X509 *own;

static void
bio_to_buf(BIO *bio, struct buf *out)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);

	buf_add(out, p, (size_t)n);
	BIO_free(bio);
}

static void
make_pair(struct pair *p, EVP_PKEY *key, long serial)
{
	X509_EXTENSION *name;
	BIO *bio;

	p->key = key;
	p->cert = X509_new();
	ASN1_INTEGER_set(X509_get_serialNumber(p->cert), serial);
	X509_gmtime_adj(X509_getm_notBefore(p->cert), -86400);
	X509_gmtime_adj(X509_getm_notAfter(p->cert), 86400);
	X509_set_pubkey(p->cert, key);
	name = X509V3_EXT_conf_nid(
	    NULL, NULL, NID_subject_alt_name, "DNS:mail.play.example");
	assert_int_equal(X509_add_ext(p->cert, name, -1), 1);
	X509_EXTENSION_free(name);
	assert_true(X509_sign(p->cert, key, EVP_sha256()) > 0);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, p->cert);
	bio_to_buf(bio, &p->cert_pem);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	bio_to_buf(bio, &p->key_pem);
}

static void
free_pair(struct pair *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
	buf_clear(&p->cert_pem);
	buf_clear(&p->key_pem);
}

/* The second one may be NULL. */
static struct tls_ctx *
new_server_of(const struct pair *one, const struct pair *other,
    const unsigned char *from, size_t len)
{
	const struct pair *const pairs[] = { one, other };
	struct buf certs = { 0 }, pems = { 0 };
	char err[256];
	struct tls_ctx *t;

	for (size_t i = 0; i < N(pairs) && pairs[i] != NULL; i++) {
		const struct pair *p = pairs[i];

		frames_add(&certs, buf_head(&p->cert_pem), p->cert_pem.len);
		frames_add(&pems, buf_head(&p->key_pem), p->key_pem.len);
	}
	t = tls_server_new(&certs, &pems, TLS_MODERN, err, sizeof(err));
	assert_non_null(t);
	buf_clear(&certs);
	buf_clear(&pems);
	tls_set_tickets(t, from, len, LIFETIME_S);
	return t;
}

static struct tls_ctx *
new_server(const unsigned char *from, size_t len)
{
	return new_server_of(&first_ec, NULL, from, len);
}

static int
on_session(SSL *ssl, SSL_SESSION *s)
{
	(void)ssl;
	SSL_SESSION_free(session);
	session = s;
	return 1;
}

static SSL_CTX *
new_client(int version, bool with_certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_max_proto_version(ctx, version);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	if (with_certificate) {
		assert_int_equal(
		    SSL_CTX_use_certificate(ctx, first_ec.cert), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, first_ec.key), 1);
	}
	return ctx;
}

/* One connection, to its end; whether it was resumed. */
static bool
connect_once(SSL_CTX *ctx, struct tls_ctx *server, SSL_SESSION *with)
{
	SSL *c = SSL_new(ctx), *s = tls_new(server, NULL);
	BIO *up, *down;
	char byte;
	int i;
	bool resumed;

	assert_int_equal(BIO_new_bio_pair(&up, 0, &down, 0), 1);
	SSL_set_bio(c, up, up);
	SSL_set_bio(s, down, down);
	SSL_set_connect_state(c);
	SSL_set_tlsext_host_name(c, "mail.play.example");
	if (with != NULL)
		assert_int_equal(SSL_set_session(c, with), 1);
	for (i = 0; i < 20; i++) {
		SSL_do_handshake(c);
		SSL_do_handshake(s);
	}
	assert_true(SSL_is_init_finished(c) && SSL_is_init_finished(s));
	SSL_read(c, &byte, 1); /* TLS 1.3: tickets come after the handshake */
	resumed = SSL_session_reused(c) == 1;
	assert_int_equal(SSL_session_reused(s), resumed);
	if (SSL_version(c) != TLS1_3_VERSION) /* of a resumed one no news */
		on_session(c, SSL_get1_session(c));
	own = tls_own(s);
	SSL_shutdown(c);
	SSL_free(c);
	SSL_free(s);
	return resumed;
}

/* Whether the client holds a ticket, and not the one that it showed. */
static bool
has_new_ticket(const SSL_SESSION *shown)
{
	const unsigned char *a, *b = NULL;
	size_t alen, blen = 0;

	if (session == NULL || !SSL_SESSION_has_ticket(session))
		return false;
	SSL_SESSION_get0_ticket(session, &a, &alen);
	if (shown != NULL)
		SSL_SESSION_get0_ticket(shown, &b, &blen);
	return alen != blen || memcmp(a, b, alen) != 0;
}

static void
forget(void)
{
	SSL_SESSION_free(session);
	session = NULL;
}

/* clang-format off */
static const struct {
	const char *name;
	int version;
	bool with_certificate;
	int first, first_keys;   /* of the server that makes the ticket */
	int second, second_keys; /* of the one that it is shown to */
	bool ticket;  /* there is one */
	bool resumed; /* and it is good */
	bool renewed; /* the second server gives another one */
} cases[] = {
	{ "the same keys, 1.3", TLS1_3_VERSION, false, 0, 1, 0, 1, true, true,
	  true },
	{ "the same keys, 1.2", TLS1_2_VERSION, false, 0, 1, 0, 1, true, true,
	  false },
	{ "the key before, 1.3", TLS1_3_VERSION, false, 1, 2, 0, 2, true, true,
	  true },
	{ "the key before, 1.2", TLS1_2_VERSION, false, 1, 2, 0, 2, true, true,
	  true },
	{ "the key before that, 1.3", TLS1_3_VERSION, false, 2, 1, 0, 2, true,
	  false, true },
	{ "the key before that, 1.2", TLS1_2_VERSION, false, 2, 1, 0, 2, true,
	  false, true },
	{ "no keys, 1.3", TLS1_3_VERSION, false, 0, 0, 0, 0, false, false,
	  false },
	{ "no keys, 1.2", TLS1_2_VERSION, false, 0, 0, 0, 0, false, false,
	  false },
	{ "keys no more, 1.3", TLS1_3_VERSION, false, 0, 1, 0, 0, true, false,
	  false },
	{ "a client certificate, 1.3", TLS1_3_VERSION, true, 0, 1, 0, 1, true,
	  false, true },
	{ "a client certificate, 1.2", TLS1_2_VERSION, true, 0, 1, 0, 1, true,
	  false, true },
};
/* clang-format on */

static void
who_reads_whose_tickets(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct tls_ctx *first, *second;
		SSL_CTX *ctx =
		    new_client(cases[i].version, cases[i].with_certificate);
		SSL_SESSION *shown;
		bool ok;

		first = new_server(
		    keys + cases[i].first * K, (size_t)cases[i].first_keys * K);
		second = new_server(keys + cases[i].second * K,
		    (size_t)cases[i].second_keys * K);
		ok = !connect_once(ctx, first, NULL) &&
		    has_new_ticket(NULL) == cases[i].ticket;
		if ((shown = session) != NULL) {
			SSL_SESSION_up_ref(shown);
			forget();
			ok = ok &&
			    connect_once(ctx, second, shown) ==
				cases[i].resumed &&
			    has_new_ticket(shown) == cases[i].renewed;
			SSL_SESSION_free(shown);
		}
		forget();
		tls_ctx_free(&first);
		tls_ctx_free(&second);
		SSL_CTX_free(ctx);
		if (!ok)
			fail_msg("%s", cases[i].name);
	}
}

static void
keys_are_replaced(void **state)
{
	struct tls_ctx *server = new_server(keys + K, K);
	SSL_CTX *ctx = new_client(TLS1_3_VERSION, false);
	SSL_SESSION *old;

	(void)state;
	assert_false(connect_once(ctx, server, NULL));
	assert_int_equal(
	    SSL_SESSION_get_ticket_lifetime_hint(session), LIFETIME_S);
	old = session;
	session = NULL;
	tls_set_tickets(server, keys, 2 * K, LIFETIME_S);
	assert_true(connect_once(ctx, server, old));
	tls_set_tickets(server, keys, K, LIFETIME_S);
	assert_false(connect_once(ctx, server, old));
	SSL_SESSION_free(old);
	forget();
	SSL_CTX_free(ctx);
	tls_ctx_free(&server);
}

/* A client that resumes would bind to the certificate it was shown. */
static void
a_renewed_certificate(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_ctx *old = new_server(keys, K);
	struct tls_ctx *new = new_server_of(&second_ec, NULL, keys, K);
	struct tls_ctx *both = new_server_of(&second_ec, &rsa, keys, K);

	(void)state;
	for (size_t i = 0; i < N(versions); i++) {
		SSL_CTX *ctx = new_client(versions[i], false);
		SSL_SESSION *shown;

		assert_false(connect_once(ctx, old, NULL));
		shown = session;
		session = NULL;
		assert_true(connect_once(ctx, old, shown));
		assert_false(connect_once(ctx, new, shown));
		assert_true(has_new_ticket(shown));
		assert_false(connect_once(ctx, both, shown));
		SSL_SESSION_free(shown);
		shown = session;
		session = NULL;
		assert_true(connect_once(ctx, new, shown));
		SSL_SESSION_free(shown);
		forget();
		SSL_CTX_free(ctx);
	}
	tls_ctx_free(&old);
	tls_ctx_free(&new);
	tls_ctx_free(&both);
}

/* Of two that it could have been shown, the server knows which it was, also
 * when the session is resumed, and resumed again. */
static void
which_certificate_it_was(void **state)
{
	static const struct {
		const char *name, *signatures;
		int version;
		const struct pair *want;
	} rows[] = {
		{ "RSA, 1.2", "RSA+SHA256:RSA-PSS+SHA256", TLS1_2_VERSION,
		    &rsa },
		{ "RSA, 1.3", "RSA-PSS+SHA256", TLS1_3_VERSION, &rsa },
		{ "ECDSA, 1.2", "ECDSA+SHA256", TLS1_2_VERSION, &first_ec },
		{ "ECDSA, 1.3", "ECDSA+SHA256", TLS1_3_VERSION, &first_ec },
	};
	struct tls_ctx *server = new_server_of(&first_ec, &rsa, keys, K);
	SSL_SESSION *shown;
	bool resumed;

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		SSL_CTX *ctx = new_client(rows[i].version, false);

		assert_int_equal(
		    SSL_CTX_set1_sigalgs_list(ctx, rows[i].signatures), 1);
		for (int visit = 0; visit < 3; visit++) {
			shown = session;
			session = NULL;
			resumed = connect_once(ctx, server, shown);
			SSL_SESSION_free(shown);
			if (resumed != (visit > 0) || own == NULL ||
			    X509_cmp(own, rows[i].want->cert) != 0)
				fail_msg("%s, visit %d", rows[i].name, visit);
		}
		forget();
		SSL_CTX_free(ctx);
	}
	tls_ctx_free(&server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_reads_whose_tickets),
		cmocka_unit_test(keys_are_replaced),
		cmocka_unit_test(a_renewed_certificate),
		cmocka_unit_test(which_certificate_it_was),
	};
	int failed;

	for (size_t i = 0; i < sizeof(keys); i++)
		keys[i] = (unsigned char)(i * 31 + i / K);
	make_pair(&first_ec, EVP_EC_gen("P-256"), 1);
	make_pair(&second_ec, EVP_EC_gen("P-256"), 2);
	make_pair(&rsa, EVP_RSA_gen(2048), 3);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free_pair(&first_ec);
	free_pair(&second_ec);
	free_pair(&rsa);
	return failed;
}
