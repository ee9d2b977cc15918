/* Streams and TLS: both ends in one loop over a socket pair. */
#include <sys/socket.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "submitd/stream.h"
#include "submitd/frames.h"
#include "submitd/tls.h"

struct end {
	struct stream *io;
	struct buf got;
	unsigned inputs;
	bool up, eof, failed, drained, timeout;
	char error[256];
};

static struct event_base *base;
static struct end client, server;

static void
on_event(struct stream *io, enum stream_event e, void *arg)
{
	struct end *x = arg;
	struct buf *in = stream_input(io);

	switch (e) {
	case STREAM_INPUT:
		x->inputs++;
		buf_add(&x->got, buf_head(in), in->len);
		buf_drop(in, in->len);
		break;
	case STREAM_TLS_UP:
		x->up = true;
		break;
	case STREAM_DRAINED:
		x->drained = true;
		break;
	case STREAM_EOF:
		x->eof = true;
		break;
	case STREAM_TIMEOUT:
		x->timeout = true;
		break;
	case STREAM_ERROR:
		x->failed = true;
		snprintf(x->error, sizeof(x->error), "%s", stream_error(io));
		break;
	default:
		break;
	}
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	*(bool *)arg = true;
}

/* Runs the loop until one of the flags is set; false after 10 seconds. */
static bool
run_until(const bool *a, const bool *b)
{
	struct timeval tv = { .tv_sec = 10 };
	bool late = false;
	struct event *e = event_new(base, -1, EV_TIMEOUT, on_deadline, &late);

	event_add(e, &tv);
	while (!*a && !(b != NULL && *b) && !late)
		event_base_loop(base, EVLOOP_ONCE);
	event_free(e);
	return !late;
}

static EVP_PKEY *
new_key(void)
{
	return EVP_EC_gen("P-256");
}

struct cert {
	X509 *x;
	EVP_PKEY *key;
};

static void
add_ext(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/* issuer NULL: self-signed.  days: from now to the end, may be negative. */
static struct cert
make_cert(const char *name, const struct cert *issuer, bool ca, int days)
{
	struct cert c = { X509_new(), new_key() };
	X509_NAME *n = X509_get_subject_name(c.x);
	char san[100];

	X509_set_version(c.x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c.x), ca ? 1 : 2);
	X509_gmtime_adj(X509_getm_notBefore(c.x), -3 * 86400L);
	X509_gmtime_adj(X509_getm_notAfter(c.x), days * 86400L);
	X509_NAME_add_entry_by_txt(
	    n, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(
	    c.x, issuer != NULL ? X509_get_subject_name(issuer->x) : n);
	X509_set_pubkey(c.x, c.key);
	snprintf(san, sizeof(san), "DNS:%s", name);
	add_ext(c.x, NID_subject_alt_name, san);
	if (ca)
		add_ext(c.x, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(c.x, issuer != NULL ? issuer->key : c.key,
			EVP_sha256()) > 0);
	return c;
}

static void
free_cert(struct cert *c)
{
	X509_free(c->x);
	EVP_PKEY_free(c->key);
}

static void
bio_to_buf(BIO *bio, struct buf *out)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);

	buf_add(out, p, (size_t)n);
	BIO_free(bio);
}

static void
pem_of(const struct cert *c, struct buf *cert, struct buf *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, c->x);
	bio_to_buf(bio, cert);
	if (key == NULL)
		return;
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL);
	bio_to_buf(bio, key);
}

static struct tls_ctx *
new_server(
    const struct buf *cert, const struct buf *key, char *err, size_t errlen)
{
	struct buf certs = { 0 }, keys = { 0 };
	struct tls_ctx *t;

	frames_add(&certs, buf_head(cert), cert->len);
	frames_add(&keys, buf_head(key), key->len);
	t = tls_server_new(&certs, &keys, TLS_MODERN, err, errlen);
	buf_clear(&certs);
	buf_clear(&keys);
	return t;
}

static void
open_pair(void)
{
	int fd[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	base = event_base_new();
	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	client.io = stream_new(base, fd[0], on_event, &client);
	server.io = stream_new(base, fd[1], on_event, &server);
}

static void
close_pair(void)
{
	stream_free(&client.io);
	stream_free(&server.io);
	buf_clear(&client.got);
	buf_clear(&server.got);
	event_base_free(base);
}

static struct cert ca;
static struct buf ca_pem;

/* A handshake with a server whose certificate is `leaf`; the client expects
 * `name` and shows `mine` if it is not NULL. */
static void
handshake(const struct cert *leaf, const char *name, const struct cert *mine,
    struct tls_ctx **sctx, struct tls_ctx **cctx)
{
	struct buf cert = { 0 }, key = { 0 }, mcert = { 0 }, mkey = { 0 };
	char err[256] = "";

	pem_of(leaf, &cert, &key);
	if (mine != NULL)
		pem_of(mine, &mcert, &mkey);
	*sctx = new_server(&cert, &key, err, sizeof(err));
	if (*sctx == NULL)
		fail_msg("%s", err);
	*cctx = tls_client_new(
	    &ca_pem, &mcert, &mkey, TLS_MODERN, err, sizeof(err));
	if (*cctx == NULL)
		fail_msg("%s", err);
	open_pair();
	stream_starttls(server.io, *sctx, NULL);
	stream_starttls(client.io, *cctx, name);
	assert_true(run_until(&client.up, &client.failed));
	buf_clear(&cert);
	buf_clear(&key);
	buf_clear(&mcert);
	buf_clear(&mkey);
}

static void
test_verification(void **state)
{
	static const struct {
		const char *name, *host, *expect;
		int days;
		bool self;
		const char *error; /* NULL: the handshake succeeds */
	} rows[] = {
		{ "good", "a.example.org", "a.example.org", 30, false, NULL },
		{ "case of the name", "a.example.org", "A.Example.ORG", 30,
		    false, NULL },
		{ "trailing dot", "a.example.org", "a.example.org.", 30, false,
		    NULL },
		{ "other name", "a.example.org", "b.example.org", 30, false,
		    "hostname mismatch" },
		{ "address instead", "a.example.org", "127.0.0.1", 30, false,
		    "IP address mismatch" },
		{ "wildcard", "*.example.org", "a.example.org", 30, false,
		    NULL },
		{ "partial wildcard", "a*.example.org", "ab.example.org", 30,
		    false, "hostname mismatch" },
		{ "expired", "a.example.org", "a.example.org", -1, false,
		    "certificate has expired" },
		{ "self-signed", "a.example.org", "a.example.org", 30, true,
		    "self-signed certificate" },
	};
	struct tls_ctx *sctx, *cctx;
	struct cert leaf;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		leaf = make_cert(rows[i].host, rows[i].self ? NULL : &ca, false,
		    rows[i].days);
		handshake(&leaf, rows[i].expect, NULL, &sctx, &cctx);
		if (client.up != (rows[i].error == NULL))
			fail_msg("%s: %s", rows[i].name, client.error);
		if (rows[i].error != NULL &&
		    strcmp(client.error, rows[i].error) != 0)
			fail_msg("%s: %s", rows[i].name, client.error);
		if (rows[i].error != NULL && !stream_error_is_tls(client.io))
			fail_msg("%s: not said to be TLS", rows[i].name);
		close_pair();
		tls_ctx_free(&sctx);
		tls_ctx_free(&cctx);
		free_cert(&leaf);
	}
}

/* Any client certificate passes the handshake, and its bytes are seen. */
static void
test_client_certificate(void **state)
{
	struct cert leaf = make_cert("a.example.org", &ca, false, 30);
	struct cert mine = make_cert("laptop", NULL, false, -1);
	struct tls_ctx *sctx, *cctx;
	struct buf chain = { 0 };
	unsigned char exported[2][32], endpoint[64];
	struct stream_tls t;
	uint32_t n;
	size_t len[2];

	(void)state;
	handshake(&leaf, "a.example.org", &mine, &sctx, &cctx);
	assert_true(client.up);
	assert_true(run_until(&server.up, &server.failed));
	assert_true(server.up);
	stream_tls_chain(server.io, &chain, 65536);
	assert_true(chain.len > sizeof(n));
	memcpy(&n, buf_head(&chain), sizeof(n));
	assert_int_equal(n, i2d_X509(mine.x, NULL));
	stream_tls_exporter(server.io, exported[0], &len[0]);
	stream_tls_exporter(client.io, exported[1], &len[1]);
	assert_int_equal(len[0], 32);
	assert_memory_equal(exported[0], exported[1], 32);
	stream_tls_endpoint(server.io, endpoint, &len[0]);
	assert_int_equal(len[0], 32);
	stream_tls_unique(server.io, endpoint, &len[0]);
	assert_int_equal(len[0], 0); /* of TLS 1.2 only */
	stream_tls_info(server.io, &t);
	assert_string_equal(t.version, "TLSv1.3");
	assert_true(t.bits >= 128);
	buf_clear(&chain);
	/* a bound that it does not fit leaves it out */
	stream_tls_chain(server.io, &chain, 100);
	assert_int_equal(chain.len, 0);
	close_pair();
	tls_ctx_free(&sctx);
	tls_ctx_free(&cctx);
	free_cert(&leaf);
	free_cert(&mine);
}

static void
test_bulk_and_end(void **state)
{
	struct cert leaf = make_cert("a.example.org", &ca, false, 30);
	struct tls_ctx *sctx, *cctx;
	static unsigned char data[3 * 1024 * 1024];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7 + i / 251);
	handshake(&leaf, "a.example.org", NULL, &sctx, &cctx);
	stream_write(client.io, data, sizeof(data));
	assert_true(run_until(&client.drained, &client.failed));
	stream_finish(client.io);
	assert_true(run_until(&server.eof, &server.failed));
	assert_int_equal(server.got.len, sizeof(data));
	assert_memory_equal(buf_head(&server.got), data, sizeof(data));
	close_pair();
	tls_ctx_free(&sctx);
	tls_ctx_free(&cctx);
	free_cert(&leaf);
}

static void
test_pause(void **state)
{
	bool never = false;

	(void)state;
	open_pair();
	stream_pause(server.io);
	stream_write(client.io, "hello", 5);
	stream_deadline(client.io, 50);
	assert_true(run_until(&client.timeout, &never));
	assert_int_equal(server.got.len, 0);
	stream_resume(server.io);
	while (server.got.len < 5)
		event_base_loop(base, EVLOOP_ONCE);
	assert_memory_equal(buf_head(&server.got), "hello", 5);
	close_pair();
}

/* What comes in clear after the switch is no TLS record: the end. */
static void
test_plaintext_after_switch(void **state)
{
	struct cert leaf = make_cert("a.example.org", &ca, false, 30);
	struct buf cert = { 0 }, key = { 0 };
	struct tls_ctx *sctx;
	char err[256];

	(void)state;
	pem_of(&leaf, &cert, &key);
	sctx = new_server(&cert, &key, err, sizeof(err));
	assert_non_null(sctx);
	open_pair();
	stream_starttls(server.io, sctx, NULL);
	stream_write(client.io, "MAIL FROM:<eve@example.org>\r\n", 29);
	assert_true(run_until(&server.failed, &server.up));
	assert_false(server.up);
	assert_int_equal(server.got.len, 0);
	close_pair();
	tls_ctx_free(&sctx);
	buf_clear(&cert);
	buf_clear(&key);
	free_cert(&leaf);
}

/* The owner of the server's end, at its gate. */
static unsigned asked;
static bool gate_is_open;

static bool
at_gate(void *arg)
{
	assert_ptr_equal(arg, &server);
	asked++;
	return gate_is_open;
}

static void
wait_ms(int64_t ms)
{
	bool never = false;

	client.timeout = false;
	stream_deadline(client.io, ms);
	assert_true(run_until(&client.timeout, &never));
}

/* Each step of a handshake waits until it is let through, and costs nothing
 * meanwhile; an open gate is not felt. */
static void
test_gate(void **state)
{
	struct cert leaf = make_cert("a.example.org", &ca, false, 30);
	struct buf cert = { 0 }, key = { 0 }, none = { 0 };
	struct tls_ctx *sctx, *cctx;
	unsigned steps = 0;
	char err[256];
	int open;

	(void)state;
	pem_of(&leaf, &cert, &key);
	sctx = new_server(&cert, &key, err, sizeof(err));
	cctx = tls_client_new(
	    &ca_pem, &none, &none, TLS_MODERN, err, sizeof(err));
	for (open = 0; open < 2; open++) {
		asked = 0;
		gate_is_open = open;
		open_pair();
		stream_set_gate(server.io, at_gate);
		stream_starttls(server.io, sctx, NULL);
		stream_starttls(client.io, cctx, "a.example.org");
		while (!open && !server.up) {
			wait_ms(20);
			assert_int_equal(asked, steps + 1);
			assert_false(server.up);
			steps++;
			stream_proceed(server.io);
			event_base_loop(base, EVLOOP_NONBLOCK);
			assert_true(steps < 10);
		}
		assert_true(run_until(&server.up, &server.failed));
		assert_true(server.up);
		assert_true(asked >= 2);
		assert_true(run_until(&client.up, &client.failed));
		stream_write(client.io, "hello", 5);
		while (server.got.len < 5)
			event_base_loop(base, EVLOOP_ONCE);
		close_pair();
	}
	assert_true(steps >= 2);
	tls_ctx_free(&sctx);
	tls_ctx_free(&cctx);
	buf_clear(&cert);
	buf_clear(&key);
	free_cert(&leaf);
}

/* One that waits at its gate may be freed. */
static void
test_free_at_gate(void **state)
{
	struct cert leaf = make_cert("a.example.org", &ca, false, 30);
	struct tls_ctx *sctx;
	struct buf cert = { 0 }, key = { 0 };
	char err[256];

	(void)state;
	pem_of(&leaf, &cert, &key);
	sctx = new_server(&cert, &key, err, sizeof(err));
	gate_is_open = false;
	open_pair();
	stream_set_gate(server.io, at_gate);
	stream_starttls(server.io, sctx, NULL);
	stream_write(client.io, "\x16\x03\x01\x02\x00\x01", 6);
	wait_ms(20);
	stream_proceed(server.io);
	close_pair();
	tls_ctx_free(&sctx);
	buf_clear(&cert);
	buf_clear(&key);
	free_cert(&leaf);
}

/* An owner that takes nothing holds a bounded piece; the rest stays away. */
static size_t held;

static void
on_event_lazy(struct stream *io, enum stream_event e, void *arg)
{
	if (e == STREAM_INPUT)
		held = stream_input(io)->len;
	else
		on_event(io, e, arg);
}

static void
test_limited_input(void **state)
{
	static unsigned char data[4 * 1024 * 1024];
	int fd[2];

	(void)state;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	base = event_base_new();
	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	client.io = stream_new(base, fd[0], on_event, &client);
	server.io = stream_new(base, fd[1], on_event_lazy, &server);
	stream_limit_input(server.io, 16 * 1024);
	stream_write(client.io, data, sizeof(data));
	wait_ms(50);
	assert_in_range(held, 16 * 1024, 2 * 16 * 1024 - 1);
	assert_true(stream_pending(client.io) > 0);
	stream_limit_input(server.io, 128 * 1024);
	wait_ms(50);
	assert_in_range(held, 128 * 1024, 144 * 1024 - 1);
	close_pair();
}

static void
test_flush(void **state)
{
	(void)state;
	open_pair();
	stream_write(server.io, "421 bye\r\n", 9);
	stream_flush(server.io);
	assert_int_equal(stream_pending(server.io), 0);
	stream_free(&server.io);
	assert_true(run_until(&client.eof, &client.failed));
	assert_int_equal(client.got.len, 9);
	close_pair();
}

static void
test_pairs(void **state)
{
	struct cert one = make_cert("a.example.org", &ca, false, 30);
	struct cert old = make_cert("a.example.org", &ca, false, -1);
	struct cert two = make_cert("b.example.org", &ca, false, 30);
	struct buf c1 = { 0 }, k1 = { 0 }, c2 = { 0 }, k2 = { 0 };
	struct buf c3 = { 0 }, k3 = { 0 }, none = { 0 };
	char err[256];

	(void)state;
	pem_of(&one, &c1, &k1);
	pem_of(&two, &c2, &k2);
	pem_of(&old, &c3, &k3);
	assert_int_equal(tls_check_pair(&c1, &k1, err, sizeof(err)), 0);
	assert_int_equal(tls_check_pair(&c1, &k2, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "key"));
	assert_int_equal(tls_check_pair(&c3, &k3, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "expired"));
	assert_int_equal(tls_check_pair(&none, &k1, err, sizeof(err)), -1);
	assert_int_equal(tls_check_pair(&c1, &none, err, sizeof(err)), -1);
	assert_int_equal(tls_check_bundle(&c1, err, sizeof(err)), 0);
	assert_int_equal(tls_check_bundle(&k1, err, sizeof(err)), -1);
	free_cert(&one);
	free_cert(&two);
	free_cert(&old);
	buf_clear(&c1);
	buf_clear(&k1);
	buf_clear(&c2);
	buf_clear(&k2);
	buf_clear(&c3);
	buf_clear(&k3);
}

/* All that can be done now is done. */
static void
run_now(void)
{
	int i;

	for (i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void
test_cork(void **state)
{
	(void)state;
	open_pair();
	stream_cork(server.io, true);
	stream_write(server.io, "one ", 4);
	run_now();
	stream_write(server.io, "two", 3);
	run_now();
	assert_int_equal(stream_pending(server.io), 7);
	assert_false(server.drained);
	assert_int_equal(client.inputs, 0);
	stream_cork(server.io, false);
	run_now();
	assert_true(server.drained);
	assert_int_equal(client.inputs, 1);
	assert_int_equal(client.got.len, 7);
	assert_memory_equal(buf_head(&client.got), "one two", 7);
	close_pair();
}

/* A paused stream is woken once at most by what it does not take. */
static void
test_pause_sleeps(void **state)
{
	struct timeval tv = { .tv_usec = 1000 };
	bool late = false;
	struct event *e;

	(void)state;
	open_pair();
	e = event_new(base, -1, EV_TIMEOUT, on_deadline, &late);
	stream_pause(server.io);
	stream_write(client.io, "early", 5);
	run_now();
	assert_int_equal(server.inputs, 0);
	event_add(e, &tv);
	event_base_loop(base, EVLOOP_ONCE); /* would return at once */
	assert_true(late);
	stream_resume(server.io);
	run_now();
	assert_int_equal(server.got.len, 5);
	stream_pause(server.io);
	stream_resume(server.io);
	stream_write(client.io, " late", 5);
	run_now();
	assert_int_equal(server.got.len, 10);
	event_free(e);
	close_pair();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verification),
		cmocka_unit_test(test_client_certificate),
		cmocka_unit_test(test_bulk_and_end),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_pause_sleeps),
		cmocka_unit_test(test_cork),
		cmocka_unit_test(test_plaintext_after_switch),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_free_at_gate),
		cmocka_unit_test(test_limited_input),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_pairs),
	};
	int rc;

	ca = make_cert("test CA", NULL, true, 30);
	pem_of(&ca, &ca_pem, NULL);
	rc = cmocka_run_group_tests_name("stream", tests, NULL, NULL);
	free_cert(&ca);
	buf_clear(&ca_pem);
	return rc;
}
