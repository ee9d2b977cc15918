/*
 * submitd/tls_ocsp.c: which OCSP responses are good to be sent; and that
 * tls_server.c sends those, with their certificate, until they are too old.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "submitd/frames.h"
#include "submitd/tls.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

enum { HOUR_S = 3600, NONE = -1 };
enum who { CA, LEAF, OTHER, RESPONDER, USURPER, STRANGE_CA, STRANGER, CERTS };

static const struct {
	enum who issuer;
	const char *usage; /* NULL: a CA */
	bool must_staple;
} makes[] = {
	[CA] = { CA, NULL, false },
	[LEAF] = { CA, "serverAuth", false },
	[OTHER] = { CA, "serverAuth", true },
	[RESPONDER] = { CA, "OCSPSigning", false },
	[USURPER] = { CA, "serverAuth", false },
	[STRANGE_CA] = { STRANGE_CA, NULL, false },
	[STRANGER] = { STRANGE_CA, "OCSPSigning", false },
};

static struct {
	X509 *x;
	EVP_PKEY *key;
} certs[CERTS];
static int64_t now;

static void
extend(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

static void
make(enum who w)
{
	X509 *x = X509_new();
	X509_NAME *name;
	unsigned char cn[] = { 'n', (unsigned char)('0' + (int)w), '\0' };

	certs[w].key = EVP_EC_gen("P-256");
	certs[w].x = x;
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 10 + (long)w);
	X509_gmtime_adj(X509_getm_notBefore(x), -86400);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_set_pubkey(x, certs[w].key);
	name = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, cn, -1, -1, 0);
	X509_set_issuer_name(
	    x, X509_get_subject_name(certs[makes[w].issuer].x));
	if (makes[w].usage == NULL)
		extend(x, NID_basic_constraints, "critical,CA:TRUE");
	else
		extend(x, NID_ext_key_usage, makes[w].usage);
	if (makes[w].must_staple)
		extend(x, NID_tlsfeature, "status_request");
	assert_true(X509_sign(x, certs[makes[w].issuer].key, EVP_sha256()) > 0);
}

static void
take(BIO *bio, struct buf *out)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);

	buf_add(out, p, (size_t)n);
	BIO_free(bio);
}

static void
add_pem(struct buf *out, enum who w)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, certs[w].x);
	take(bio, out);
}

struct row {
	const char *name;
	int about, with; /* enum who; with: another one, before it; NONE */
	enum who signer;
	int status;         /* V_OCSP_CERTSTATUS_ */
	int from_s, next_s; /* from now; next NONE: it does not say */
	bool sha256;        /* in the certificate's id */
	bool lone;          /* the file has no issuer */
	int answer;         /* OCSP_RESPONSE_STATUS_ */
	const char *error;  /* NULL: good */
};

static void
add_single(OCSP_BASICRESP *b, const struct row *r, int about)
{
	OCSP_CERTID *id = OCSP_cert_to_id(r->sha256 ? EVP_sha256() : EVP_sha1(),
	    certs[about].x, certs[makes[about].issuer].x);
	ASN1_TIME *from = ASN1_TIME_adj(NULL, now, 0, r->from_s), *next = NULL,
		  *then = NULL;

	if (r->next_s != NONE)
		next = ASN1_TIME_adj(NULL, now, 0, r->next_s);
	if (r->status == V_OCSP_CERTSTATUS_REVOKED)
		then = ASN1_TIME_adj(NULL, now, 0, -HOUR_S);
	assert_non_null(OCSP_basic_add1_status(
	    b, id, r->status, OCSP_REVOKED_STATUS_NOSTATUS, then, from, next));
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(next);
	ASN1_TIME_free(then);
}

static void
respond(const struct row *r, struct buf *der)
{
	OCSP_BASICRESP *b = OCSP_BASICRESP_new();
	OCSP_RESPONSE *answer;
	unsigned char *p = NULL;
	int n;

	if (r->with != NONE)
		add_single(b, r, r->with);
	add_single(b, r, r->about);
	assert_int_equal(OCSP_basic_sign(b, certs[r->signer].x,
			     certs[r->signer].key, EVP_sha256(), NULL, 0),
	    1);
	answer = OCSP_response_create(r->answer, r->answer == 0 ? b : NULL);
	n = i2d_OCSP_RESPONSE(answer, &p);
	assert_true(n > 0);
	buf_add(der, p, (size_t)n);
	OPENSSL_free(p);
	OCSP_RESPONSE_free(answer);
	OCSP_BASICRESP_free(b);
}

/* clang-format off */
#define GOOD V_OCSP_CERTSTATUS_GOOD
static const struct row rows[] = {
	{ "good", LEAF, NONE, CA, GOOD, -HOUR_S, HOUR_S, false, false, 0, NULL },
	{ "good, by an id of SHA-256", LEAF, NONE, CA, GOOD, -HOUR_S, HOUR_S,
	  true, false, 0, NULL },
	{ "good, beside another", LEAF, OTHER, CA, GOOD, -HOUR_S, HOUR_S,
	  false, false, 0, NULL },
	{ "of an appointed responder", LEAF, NONE, RESPONDER, GOOD, -HOUR_S,
	  HOUR_S, false, false, 0, NULL },
	{ "of one that is not appointed", LEAF, NONE, USURPER, GOOD, -HOUR_S,
	  HOUR_S, false, false, 0, "it is signed neither" },
	{ "of itself", LEAF, NONE, LEAF, GOOD, -HOUR_S, HOUR_S, false, false,
	  0, "it is signed neither" },
	{ "of a stranger", LEAF, NONE, STRANGER, GOOD, -HOUR_S, HOUR_S, false,
	  false, 0, "it is signed neither" },
	{ "of another CA", LEAF, NONE, STRANGE_CA, GOOD, -HOUR_S, HOUR_S,
	  false, false, 0, "it is signed neither" },
	{ "about another", OTHER, NONE, CA, GOOD, -HOUR_S, HOUR_S, false,
	  false, 0, "it is not for this certificate" },
	{ "revoked", LEAF, NONE, CA, V_OCSP_CERTSTATUS_REVOKED, -HOUR_S,
	  HOUR_S, false, false, 0, "it says that the certificate is revoked" },
	{ "unknown", LEAF, NONE, CA, V_OCSP_CERTSTATUS_UNKNOWN, -HOUR_S,
	  HOUR_S, false, false, 0, "its sender knows no such certificate" },
	{ "a second left", LEAF, NONE, CA, GOOD, -HOUR_S, 1, false, false, 0,
	  NULL },
	{ "out of date this second", LEAF, NONE, CA, GOOD, -HOUR_S, 0, false,
	  false, 0, "it is out of date since " },
	{ "out of date", LEAF, NONE, CA, GOOD, -2 * HOUR_S, -HOUR_S, false,
	  false, 0, "it is out of date since " },
	{ "without an end", LEAF, NONE, CA, GOOD, -HOUR_S, NONE, false, false,
	  0, "it does not say until when" },
	{ "of a clock a little ahead", LEAF, NONE, CA, GOOD, 299, HOUR_S,
	  false, false, 0, NULL },
	{ "of a time to come", LEAF, NONE, CA, GOOD, 302, HOUR_S, false, false,
	  0, "it is of a time to come" },
	{ "no issuer in the file", LEAF, NONE, CA, GOOD, -HOUR_S, HOUR_S,
	  false, true, 0, "it cannot be checked: the file" },
	{ "the responder was busy", LEAF, NONE, CA, GOOD, -HOUR_S, HOUR_S,
	  false, false, OCSP_RESPONSE_STATUS_TRYLATER,
	  "its sender had no answer: trylater" },
};
/* clang-format on */

static void
which_are_good(void **state)
{
	struct buf chain = { 0 }, lone = { 0 };
	size_t i;

	(void)state;
	add_pem(&lone, LEAF);
	add_pem(&chain, LEAF);
	add_pem(&chain, OTHER);
	add_pem(&chain, CA);
	for (i = 0; i < N(rows); i++) {
		const struct row *r = &rows[i];
		struct buf der = { 0 };
		char err[256] = "";
		int64_t until = 0;
		int rc;

		respond(r, &der);
		rc = tls_check_staple(r->lone ? &lone : &chain, &der, now,
		    &until, err, sizeof(err));
		if (rc != (r->error == NULL ? 0 : -1) ||
		    (rc == 0 && until != now + r->next_s) ||
		    (rc == -1 && strncmp(err, r->error, strlen(r->error)) != 0))
			fail_msg("%s: %d %s", r->name, rc, err);
		buf_clear(&der);
	}
	buf_clear(&chain);
	buf_clear(&lone);
}

/* Each way to cut or spoil one, and nothing at all. */
static void
broken(void **state)
{
	struct buf chain = { 0 }, der = { 0 }, cut;
	char err[256];
	int64_t until;
	size_t i, good = 0;

	(void)state;
	add_pem(&chain, LEAF);
	add_pem(&chain, CA);
	respond(&rows[0], &der);
	for (i = 0; i < der.len; i++) {
		cut = (struct buf){ .data = der.data, .len = i };
		assert_int_equal(tls_check_staple(&chain, &cut, now, &until,
				     err, sizeof(err)),
		    -1);
	}
	for (i = 0; i < der.len; i++) {
		der.data[i] ^= 1;
		good += tls_check_staple(
			    &chain, &der, now, &until, err, sizeof(err)) == 0;
		der.data[i] ^= 1;
	}
	/* only where it names who signed and how, and beside the signature */
	assert_true(good < der.len / 2);
	assert_int_equal(
	    tls_check_staple(&chain, &der, now, &until, err, sizeof(err)), 0);
	buf_clear(&chain);
	buf_clear(&der);
}

static void
who_demands_one(void **state)
{
	struct buf leaf = { 0 }, must = { 0 }, nothing = { 0 };

	(void)state;
	add_pem(&leaf, LEAF);
	add_pem(&must, OTHER);
	assert_false(tls_must_staple(&leaf));
	assert_true(tls_must_staple(&must));
	assert_false(tls_must_staple(&nothing));
	buf_clear(&leaf);
	buf_clear(&must);
}

/* What a client that asks is sent; the length, or -1. */
static long
sent(struct tls_ctx *server, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *c = SSL_new(ctx), *s = tls_new(server, NULL);
	const unsigned char *got;
	BIO *up, *down;
	long n;
	int i;

	assert_int_equal(BIO_new_bio_pair(&up, 0, &down, 0), 1);
	SSL_set_bio(c, up, up);
	SSL_set_bio(s, down, down);
	SSL_set_max_proto_version(c, version);
	SSL_set_tlsext_status_type(c, TLSEXT_STATUSTYPE_ocsp);
	SSL_set_connect_state(c);
	for (i = 0; i < 20; i++) {
		SSL_do_handshake(c);
		SSL_do_handshake(s);
	}
	assert_true(SSL_is_init_finished(c) && SSL_is_init_finished(s));
	n = SSL_get_tlsext_status_ocsp_resp(c, &got);
	tls_shook_hands(s);
	assert_int_equal(SSL_get_tlsext_status_ocsp_resp(s, &got), -1);
	SSL_free(c);
	SSL_free(s);
	SSL_CTX_free(ctx);
	return n;
}

static void
set_staple(struct tls_ctx *t, int64_t until, const char *der)
{
	struct buf frames = { 0 }, one = { 0 };

	buf_add(&one, &until, sizeof(until));
	buf_add(&one, der, strlen(der));
	frames_add(&frames, buf_head(&one), one.len);
	tls_set_staples(t, &frames);
	buf_clear(&frames);
	buf_clear(&one);
}

static void
sent_until_too_old(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct buf certs_in = { 0 }, keys = { 0 }, pem = { 0 }, key = { 0 };
	struct buf empty = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());
	struct tls_ctx *t;
	char err[256];

	(void)state;
	add_pem(&pem, LEAF);
	PEM_write_bio_PrivateKey(
	    bio, certs[LEAF].key, NULL, NULL, 0, NULL, NULL);
	take(bio, &key);
	frames_add(&certs_in, buf_head(&pem), pem.len);
	frames_add(&keys, buf_head(&key), key.len);
	t = tls_server_new(&certs_in, &keys, TLS_MODERN, err, sizeof(err));
	assert_non_null(t);
	for (size_t i = 0; i < N(versions); i++) {
		assert_int_equal(sent(t, versions[i]), -1);
		set_staple(t, now + HOUR_S, "response");
		assert_int_equal(sent(t, versions[i]), 8);
		set_staple(t, now - 1, "response");
		assert_int_equal(sent(t, versions[i]), -1);
		set_staple(t, now + HOUR_S, "another one");
		assert_int_equal(sent(t, versions[i]), 11);
		tls_set_staples(t, &empty);
	}
	tls_ctx_free(&t);
	buf_clear(&certs_in);
	buf_clear(&keys);
	buf_clear(&pem);
	buf_clear(&key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(which_are_good),
		cmocka_unit_test(broken),
		cmocka_unit_test(who_demands_one),
		cmocka_unit_test(sent_until_too_old),
	};
	int failed, w;

	now = time(NULL);
	for (w = 0; w < CERTS; w++)
		make((enum who)w);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (w = 0; w < CERTS; w++) {
		X509_free(certs[w].x);
		EVP_PKEY_free(certs[w].key);
	}
	return failed;
}
