/*
 * Tests of submitd/authd*.c: a real auth role in this process, with parent,
 * two fronts and queue played by the test over socket pairs.
 */
#include <sys/socket.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "store/access.h"
#include "store/cert.h"
#include "store/device.h"
#include "submitd/authd.h"
#include "submitd/mailbox.h"
#include "submitd/log.h"
#include "submitd/ruled.h"

#define FRONT  7
#define SID(n) ((uint64_t)FRONT << SID_COUNTER_BITS | (n))
#define ITER   4096u

/* ---- the rig ---- */

static struct {
	char dir[64], db[128];
	struct role_setup setup;
	struct ipc *front, *other, *queue, *parent;
	int queue_fd;
	/* a message of queue's that the test has not asked for yet */
	bool has_kept;
	struct ipc_in kept;
	union msg kept_msg;
	struct store *rw;
	int64_t ann, bob;
	X509 *cert; /* ann's, self-signed and pinned */
	EVP_PKEY *key;

	/* what queue says about guessing, and what it was asked and told */
	struct {
		bool mute;
		enum msg_type refuse; /* M_THROTTLE_ASK or M_AUTH_SEEN */
		uint32_t delay_ms;
		unsigned again; /* so many questions come too early */
		bool had_again;
		unsigned asks, seen;
		char user[256], client[256], addr[64];
		uint8_t result;
		uint64_t wrong;
		int64_t device;
		uint32_t ticket;
	} guard;

	/* the last decision, and how many there were */
	struct {
		unsigned n, phase, result, code;
		uint32_t txn;
		int64_t device;
		char line[2048]; /* why|user|how|verify|sender|rcpt|key */
		char ladder[4096];
	} told;
} R;

static const struct ipc_rule any_rules[] = { { 0, NULL } };

static void
end_gone(struct ipc *p, const char *why)
{
	(void)p, (void)why;
}

/* A pair: one end to the role, the other for blocking calls here. */
static struct ipc *
pair(int *role_end, int *mine)
{
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	*role_end = fd[0];
	if (mine != NULL)
		*mine = fd[1];
	return ipc_new(NULL, fd[1], any_rules, end_gone, NULL);
}

static void
take_seen(const struct m_auth_seen *m)
{
	R.guard.seen++;
	R.guard.result = m->result;
	R.guard.wrong = m->wrong;
	R.guard.device = m->device;
	R.guard.ticket = m->ticket;
	snprintf(R.guard.user, sizeof(R.guard.user), "%s", m->user);
	snprintf(R.guard.client, sizeof(R.guard.client), "%s", m->client);
	snprintf(R.guard.addr, sizeof(R.guard.addr), "%s", m->client_addr);
}

static void
take_decision(const struct m_decision *m)
{
	R.told.n++;
	R.told.txn = m->txn;
	R.told.phase = m->phase;
	R.told.result = m->result;
	R.told.code = m->code;
	R.told.device = m->device;
	snprintf(R.told.line, sizeof(R.told.line), "%s|%s|%s|%s|%s|%s|%s",
	    m->why, m->user, m->how, m->verify, m->sender, m->rcpt, m->key);
	snprintf(R.told.ladder, sizeof(R.told.ladder), "%s", m->ladder);
}

static void
answer_guard(const struct ipc_in *in)
{
	struct m_throttle_answer a = { 0 };

	if (in->type == M_AUTH_SEEN) {
		take_seen(&in->m->auth_seen);
		a.ticket = in->m->auth_seen.ticket;
	} else {
		R.guard.asks++;
		R.guard.ticket = a.ticket = in->m->throttle_ask.ticket;
		snprintf(R.guard.user, sizeof(R.guard.user), "%s",
		    in->m->throttle_ask.user);
	}
	a.refuse = in->type == R.guard.refuse;
	a.delay_ms = R.guard.delay_ms;
	a.again = in->type == M_THROTTLE_ASK && R.guard.again > 0;
	if (a.again) {
		R.guard.again--;
		R.guard.had_again = true;
	} else if (R.guard.had_again) /* the last one is let in at once */
		a.delay_ms = 0;
	if (a.ticket != 0 && !R.guard.mute)
		ipc_send(R.queue, M_THROTTLE_ANSWER, in->sid, &a);
}

/* Queue's part in logins: takes and answers what is of them.  Takes what is
 * for the history as well.  True: something else is there, in R.kept. */
static bool
serve_queue(void)
{
	const char *why = "";

	while (!R.has_kept && R.queue != NULL && ipc_readable(R.queue)) {
		if (ipc_recv_wait(R.queue, &R.kept, &why) == -1)
			fail_msg("queue's socket: %s", why);
		if (R.kept.type == M_DECISION)
			take_decision(&R.kept.m->decision);
		else if (R.kept.type == M_AUTH_SEEN ||
		    R.kept.type == M_THROTTLE_ASK)
			answer_guard(&R.kept);
		else
			R.has_kept = true;
		R.kept_msg = *R.kept.m; /* the next one takes its place */
		R.kept.m = &R.kept_msg;
	}
	return R.has_kept;
}

/* Something for p is there. */
static bool
has_message(const struct ipc *p)
{
	bool queue = serve_queue();

	return p == R.queue ? queue : ipc_readable(p);
}

static struct ipc_in
take_message(struct ipc *p)
{
	const char *why = "";
	struct ipc_in in;

	if (p == R.queue) {
		assert_true(R.has_kept);
		R.has_kept = false;
		return R.kept;
	}
	if (ipc_recv_wait(p, &in, &why) == -1)
		fail_msg("instead of a message: %s", why);
	return in;
}

/* Runs the role until something for p is there. */
static const union msg *
next(struct ipc *p, enum msg_type type, uint64_t sid)
{
	struct ipc_in in;

	while (!has_message(p))
		event_base_loop(R.setup.base, EVLOOP_ONCE);
	in = take_message(p);
	if (in.type != type)
		fail_msg(
		    "%s instead of %s", proto_name(in.type), proto_name(type));
	assert_int_equal(in.sid, sid);
	return in.m;
}

/* The role handles all that has arrived; nothing is there for p after it. */
static void
nothing(struct ipc *p)
{
	event_base_loop(R.setup.base, EVLOOP_NONBLOCK);
	event_base_loop(R.setup.base, EVLOOP_NONBLOCK);
	assert_false(has_message(p));
}

/* The store, when what the role reads of it in one round is read. */
static struct store *
writer(void)
{
	store_release(A.store);
	return R.rw;
}

static void
put_password(int64_t user, const char *password)
{
	char text[SCRAM_RECORD_MAX];
	const struct store_record r = { STORE_CRED_SCRAM_SHA_256, text };

	assert_int_equal(scram_record_make(password, strlen(password),
			     SCRAM_SHA_256, ITER, text, sizeof(text)),
	    0);
	assert_int_equal(store_password_set(writer(), user, &r, 1), STORE_OK);
}

static int64_t
put_user(const char *name, const char *password)
{
	char address[64];
	int64_t id = 0;

	assert_int_equal(store_user_add(writer(), name, &id), STORE_OK);
	snprintf(address, sizeof(address), "%s@example.org", name);
	assert_int_equal(store_address_add(writer(), id, address), STORE_OK);
	if (password != NULL)
		put_password(id, password);
	return id;
}

static void
make_cert(void)
{
	X509_NAME *name;

	R.key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	R.cert = X509_new();
	X509_set_version(R.cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(R.cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(R.cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(R.cert), 3600);
	name = X509_get_subject_name(R.cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	    (const unsigned char *)"laptop", -1, -1, 0);
	X509_set_issuer_name(R.cert, name);
	X509_set_pubkey(R.cert, R.key);
	assert_true(X509_sign(R.cert, R.key, EVP_sha256()) > 0);
}

static void
pin_cert(int64_t user, int64_t device)
{
	unsigned char md[32];
	char hex[65];
	size_t i;

	X509_digest(R.cert, EVP_sha256(), md, NULL);
	for (i = 0; i < sizeof(md); i++)
		snprintf(hex + 2 * i, 3, "%02x", md[i]);
	assert_int_equal(store_cert_add(writer(), user, device, STORE_CERT_SHA256,
			     hex, "laptop", 0, NULL),
	    STORE_OK);
}

static int
up(void **state)
{
	int role_end;
	char err[256] = "";

	(void)state;
	memset(&R, 0, sizeof(R));
	memset(&A, 0, sizeof(A));
	snprintf(R.dir, sizeof(R.dir), "/tmp/unit_authd.XXXXXX");
	assert_non_null(mkdtemp(R.dir));
	snprintf(R.db, sizeof(R.db), "%s/users.db", R.dir);
	assert_int_equal(store_open(R.db, STORE_CREATE, &R.rw), STORE_OK);
	R.ann = put_user("ann", "pencil");
	R.bob = put_user("bob", "bobby");
	make_cert();
	conf_init(&R.setup.conf);
	free(R.setup.conf.users_db);
	R.setup.conf.users_db = xstrdup(R.db);
	R.setup.conf.scram_iterations = ITER;
	R.setup.conf.auth_fail_delay = 0;
	R.setup.conf.max_recipients = 3;
	R.setup.base = event_base_new();
	R.parent = pair(&role_end, NULL);
	R.setup.parent =
	    ipc_new(R.setup.base, role_end, any_rules, end_gone, NULL);
	if (auth_ops.preload(&R.setup, err, sizeof(err)) == -1 ||
	    auth_ops.start(&R.setup, err, sizeof(err)) == -1)
		fail_msg("%s", err);
	R.queue = pair(&role_end, &R.queue_fd);
	auth_ops.peer(&R.setup, ROLE_QUEUE, 3, role_end);
	R.front = pair(&role_end, NULL);
	auth_ops.peer(&R.setup, ROLE_FRONT, FRONT, role_end);
	R.other = pair(&role_end, NULL);
	auth_ops.peer(&R.setup, ROLE_FRONT, FRONT + 1, role_end);
	return 0;
}

static int
down(void **state)
{
	char journal[160];

	(void)state;
	ipc_free(&R.front);
	ipc_free(&R.other);
	ipc_free(&R.queue);
	R.has_kept = false;
	/* the role hears of it and frees what it had */
	event_base_loop(R.setup.base, EVLOOP_NONBLOCK);
	event_base_loop(R.setup.base, EVLOOP_NONBLOCK);
	assert_int_equal(A.sessions, 0);
	event_free(A.tick);
	event_free(A.recheck);
	event_free(A.release);
	passcache_free(&A.cache);
	keyset_clear(&A.map_keys);
	memo_clear(&A.users);
	memo_clear(&A.owned);
	memo_clear(&A.limits);
	cert_trust_free(&A.trust);
	store_close(&A.store);
	keyset_clear(&A.map_keys);
	memo_clear(&A.users);
	memo_clear(&A.owned);
	sasl_global_done();
	ipc_free(&R.setup.parent);
	ipc_free(&R.parent);
	event_base_free(R.setup.base);
	conf_clear(&R.setup.conf);
	store_close(&R.rw);
	X509_free(R.cert);
	EVP_PKEY_free(R.key);
	snprintf(journal, sizeof(journal), "%s-journal", R.db);
	unlink(journal);
	unlink(R.db);
	rmdir(R.dir);
	return 0;
}

/* ---- what a front says ---- */

struct arrival {
	const char *addr;
	int no_tls;
	int cert;
	int binding;
	int endpoint;
	int unique;
	enum listen_kind kind;
};

static const struct m_session_facts *
arrive(uint64_t sid, const struct arrival *a)
{
	unsigned char chain[4096], *der = chain + 4;
	struct m_session m = { .client_addr =
				   a->addr != NULL ? a->addr : "192.0.2.7",
		.client_port = 4000,
		.listen_kind = (uint8_t)a->kind,
		.client_name = "",
		.resolve = RESOLVE_FAIL,
		.server_addr = "127.0.0.1",
		.helo = "laptop",
		.tls_version = "TLSv1.3",
		.tls_cipher = "TLS_AES_256_GCM_SHA384",
		.tls_bits = a->no_tls ? 0 : 256 };
	uint32_t n;

	if (a->cert) {
		n = (uint32_t)i2d_X509(R.cert, &der);
		memcpy(chain, &n, sizeof(n));
		m.chain.p = chain;
		m.chain.len = n + 4;
	}
	if (a->binding) {
		m.tls_exporter.p = "0123456789abcdef0123456789abcdef";
		m.tls_exporter.len = 32;
	}
	if (a->unique) {
		m.tls_unique.p = "0123456789ab";
		m.tls_unique.len = 12;
	}
	if (a->endpoint) {
		m.tls_endpoint.p = "fedcba9876543210fedcba9876543210";
		m.tls_endpoint.len = 32;
	}
	ipc_send(R.front, M_SESSION, sid, &m);
	return &next(R.front, M_SESSION_FACTS, sid)->session_facts;
}

static void
come(uint64_t sid)
{
	const struct arrival a = { 0 };

	arrive(sid, &a);
}

static void
come_with_cert(uint64_t sid)
{
	const struct arrival a = { .cert = 1 };

	arrive(sid, &a);
}

static void
start_auth(
    uint64_t sid, const char *mech, const char *data, size_t len, bool initial)
{
	const struct m_auth_start m = {
		.mech = mech, .has_initial = initial, .data = { data, len }
	};

	ipc_send(R.front, M_AUTH_START, sid, &m);
}

static enum smtp_reply
result(uint64_t sid)
{
	return (enum smtp_reply)next(R.front, M_AUTH_RESULT, sid)
	    ->auth_result.reply;
}

static enum smtp_reply
plain(uint64_t sid, const char *user, const char *password)
{
	char msg[600];
	int n = snprintf(msg, sizeof(msg), "%c%s%c%s", 0, user, 0, password);

	start_auth(sid, "PLAIN", msg, (size_t)n, true);
	return result(sid);
}

static const struct m_verdict *
mail(uint64_t sid, uint32_t txn, const char *from)
{
	const struct m_mail m = {
		.txn = txn, .from = from, .size = 1000, .opt.body = BODY_8BITMIME
	};
	const struct m_verdict *v;

	ipc_send(R.front, M_MAIL, sid, &m);
	v = &next(R.front, M_VERDICT, sid)->verdict;
	assert_int_equal(v->txn, txn);
	assert_int_equal(v->on, VERDICT_MAIL);
	return v;
}

static const struct m_verdict *
rcpt(uint64_t sid, uint32_t txn, const char *to)
{
	const struct m_rcpt m = { .txn = txn, .to = to };
	const struct m_verdict *v;

	ipc_send(R.front, M_RCPT, sid, &m);
	v = &next(R.front, M_VERDICT, sid)->verdict;
	assert_int_equal(v->txn, txn);
	assert_int_equal(v->on, VERDICT_RCPT);
	return v;
}

/* The list of one author, as front sends it. */
static const struct m_verdict *
headers(uint64_t sid, uint32_t txn, const char *author)
{
	struct m_headers m = { .txn = txn };
	const struct m_verdict *v;
	char list[2 + 321] = { POLICY_AUTHOR_FROM, MAILBOX_OK };

	snprintf(list + 2, sizeof(list) - 2, "%s", author);
	m.authors = (struct blob){ list, strlen(author) + 3 };
	ipc_send(R.front, M_HEADERS, sid, &m);
	v = &next(R.front, M_VERDICT, sid)->verdict;
	assert_int_equal(v->txn, txn);
	assert_int_equal(v->on, VERDICT_HEADERS);
	return v;
}

/*
 * What queue has got when front is answered: looks without running the role,
 * so that it must have been sent before.
 */
static const union msg *
queued(enum msg_type type, uint64_t sid)
{
	struct ipc_in in;

	assert_true(serve_queue());
	in = take_message(R.queue);
	if (in.type != type)
		fail_msg(
		    "%s instead of %s", proto_name(in.type), proto_name(type));
	assert_int_equal(in.sid, sid);
	return in.m;
}

static void
queued_grant(uint64_t sid, int64_t id, const char *user, const char *how)
{
	const struct m_grant *g = &queued(M_GRANT, sid)->grant;

	assert_int_equal(g->user_id, id);
	assert_string_equal(g->user, user);
	assert_string_equal(g->how, how);
	assert_string_equal(g->client_addr, "192.0.2.7");
}

/* The device that auth noted for a session. */
static int64_t
find_device(uint64_t sid)
{
	const struct authd_session *s;

	LIST_FOREACH(s, &A.table[sid & (AUTHD_BUCKETS - 1)], link)
	if (s->sid == sid)
		return s->device;
	return -1;
}

/* ---- the tests ---- */

static void
facts_of_sessions(void **state)
{
	const struct arrival plain_tls = { 0 }, no_tls = { .no_tls = 1 };
	const struct arrival bound = { .binding = 1 }, cert = { .cert = 1 };
	const struct arrival older = { .endpoint = 1 };
	const struct arrival unique = { .unique = 1 };
	const uint32_t passwords = MECH_SCRAM_SHA_256 | MECH_PLAIN | MECH_LOGIN;
	const struct m_session_facts *f;

	(void)state;
	print_message("# TLS only\n");
	f = arrive(SID(1), &plain_tls);
	assert_string_equal(f->verify, "NO");
	assert_string_equal(f->cert_user, "");
	assert_string_equal(f->cert_fp, "");
	assert_int_equal(f->mechs, passwords);
	assert_int_equal(f->refuse_code, 0);
	print_message("# no TLS: no AUTH\n");
	f = arrive(SID(2), &no_tls);
	assert_string_equal(f->verify, "");
	assert_int_equal(f->mechs, 0);
	print_message("# with a channel to bind to\n");
	f = arrive(SID(3), &bound);
	assert_int_equal(f->mechs, passwords | MECH_SCRAM_SHA_256_PLUS);
	print_message("# the end point alone\n");
	f = arrive(SID(6), &older);
	assert_int_equal(f->mechs, passwords | MECH_SCRAM_SHA_256_PLUS);
	print_message("# TLS 1.2 with tls-unique\n");
	f = arrive(SID(7), &unique);
	assert_int_equal(f->mechs, passwords | MECH_SCRAM_SHA_256_PLUS);
	print_message("# a certificate nobody knows\n");
	f = arrive(SID(4), &cert);
	assert_string_equal(f->verify, "FAIL");
	assert_non_null(strstr(f->verify_reason, "no CA"));
	assert_int_equal(strlen(f->cert_fp), 64);
	assert_string_equal(f->cert_user, "");
	assert_int_equal(f->mechs, passwords);
	print_message("# a pinned one\n");
	pin_cert(R.ann, 0);
	f = arrive(SID(5), &cert);
	assert_string_equal(f->verify, "TRUSTED");
	assert_string_equal(f->cert_user, "ann");
	assert_int_equal(f->mechs, passwords | MECH_EXTERNAL);
}

/* What is offered to a session on a port of this kind. */
static uint32_t
offered(uint64_t sid, enum listen_kind kind)
{
	const struct arrival a = { .binding = 1, .kind = kind };

	return arrive(sid, &a)->mechs;
}

static void
set_text(char **key, const char *text)
{
	free(*key);
	*key = xstrdup(text);
}

static void
mechanisms_by_port(void **state)
{
	const uint32_t usual = MECH_SCRAM_SHA_256_PLUS | MECH_SCRAM_SHA_256 |
	    MECH_PLAIN | MECH_LOGIN;
	struct conf *conf = &R.setup.conf;

	(void)state;
	assert_int_equal(offered(SID(1), LISTEN_STARTTLS), usual);
	assert_int_equal(offered(SID(2), LISTEN_TLS), usual);
	print_message("# one list for both\n");
	set_text(&conf->mechanisms, "SCRAM-SHA-256 OAUTHBEARER");
	assert_int_equal(offered(SID(3), LISTEN_STARTTLS), MECH_SCRAM_SHA_256);
	assert_int_equal(offered(SID(4), LISTEN_TLS), MECH_SCRAM_SHA_256);
	assert_int_equal(plain(SID(4), "ann", "pencil"), R_AUTH_MECHANISM);
	print_message("# another at the second\n");
	set_text(&conf->mechanisms_tls, "plain, scram-sha-1");
	assert_int_equal(offered(SID(5), LISTEN_STARTTLS), MECH_SCRAM_SHA_256);
	assert_int_equal(
	    offered(SID(6), LISTEN_TLS), MECH_PLAIN | MECH_SCRAM_SHA_1);
	assert_int_equal(plain(SID(6), "ann", "pencil"), R_AUTH_OK);
	print_message("# proofs need the store's passwords\n");
	conf->password_backend = BACKEND_PAM;
	assert_int_equal(offered(SID(7), LISTEN_STARTTLS), 0);
	assert_int_equal(offered(SID(8), LISTEN_TLS), MECH_PLAIN);
	conf->password_backend = BACKEND_STORE;
}

static void
login_and_mail(void **state)
{
	const struct m_verdict *v;
	const struct m_envelope *e;
	const struct m_envelope_rcpt *r;

	(void)state;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	nothing(R.queue);
	v = mail(SID(1), 1, "Ann@example.org");
	assert_true(v->allow);
	assert_int_equal(v->reply, R_MAIL_OK);
	assert_string_equal(v->user, "ann");
	queued_grant(SID(1), R.ann, "ann", "PLAIN");
	e = &queued(M_ENVELOPE, SID(1))->envelope;
	assert_int_equal(e->txn, 1);
	assert_string_equal(e->from, "Ann@example.org");
	assert_int_equal(e->opt.body, BODY_8BITMIME);
	assert_int_equal(e->size, 1000);
	v = rcpt(SID(1), 1, "x@example.net");
	assert_true(v->allow);
	assert_int_equal(v->reply, R_RCPT_OK);
	r = &queued(M_ENVELOPE_RCPT, SID(1))->envelope_rcpt;
	assert_string_equal(r->to, "x@example.net");
	assert_int_equal(r->flags, 0);

	print_message("# somebody else's address\n");
	v = mail(SID(1), 2, "bob@example.org");
	assert_false(v->allow);
	assert_int_equal(v->reply, R_MAIL_NOT_OWNED);
	assert_string_equal(v->text, "bob@example.org");
	nothing(R.queue);
	v = rcpt(SID(1), 2, "x@example.net");
	assert_false(v->allow);
	nothing(R.queue);

	print_message("# recipients of another transaction, and too many\n");
	assert_true(mail(SID(1), 3, "ann@example.org")->allow);
	assert_int_equal(rcpt(SID(1), 2, "x@example.net")->reply, R_ORDER_MAIL);
	assert_true(rcpt(SID(1), 3, "a@example.net")->allow);
	assert_true(rcpt(SID(1), 3, "b@example.net")->allow);
	assert_true(rcpt(SID(1), 3, "c@example.net")->allow);
	assert_int_equal(
	    rcpt(SID(1), 3, "d@example.net")->reply, R_RCPT_TOO_MANY);
	assert_int_equal(rcpt(SID(1), 3, "nodomain")->reply, R_RCPT_TOO_MANY);

	print_message("# a recipient without domain\n");
	assert_true(mail(SID(1), 4, "ann@example.org")->allow);
	v = rcpt(SID(1), 4, "nodomain");
	assert_false(v->allow);
	assert_int_equal(v->reply, R_RCPT_UNQUALIFIED);
}

static void
nobody_is_refused(void **state)
{
	const struct m_verdict *v;

	(void)state;
	come(SID(1));
	v = mail(SID(1), 1, "ann@example.org");
	assert_false(v->allow);
	assert_int_equal(v->code, 0);
	assert_int_equal(v->reply, R_AUTH_NEEDED);
	assert_string_equal(v->user, "");
	nothing(R.queue);
	assert_int_equal(rcpt(SID(1), 1, "x@example.net")->reply, R_ORDER_MAIL);
	print_message("# also after a wrong password\n");
	assert_int_equal(plain(SID(1), "ann", "wrong"), R_AUTH_BAD);
	assert_int_equal(
	    mail(SID(1), 2, "ann@example.org")->reply, R_AUTH_NEEDED);
	nothing(R.queue);
}

static void
replies_to_auth(void **state)
{
	(void)state;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "wrong"), R_AUTH_BAD);
	assert_int_equal(plain(SID(1), "nobody", "pencil"), R_AUTH_BAD);
	assert_int_equal(plain(SID(1), "ann", ""), R_AUTH_BAD);
	start_auth(SID(1), "PLAIN", "junk", 4, true);
	assert_int_equal(result(SID(1)), R_AUTH_MALFORMED);
	start_auth(SID(1), "CRAM-MD5", NULL, 0, false);
	assert_int_equal(result(SID(1)), R_AUTH_MECHANISM);
	start_auth(SID(1), "EXTERNAL", NULL, 0, true);
	assert_int_equal(result(SID(1)), R_AUTH_MECHANISM);
	print_message("# login by address\n");
	assert_int_equal(plain(SID(1), "ann@example.org", "pencil"), R_AUTH_OK);
	print_message("# a second AUTH\n");
	assert_int_equal(plain(SID(1), "bob", "bobby"), R_AUTH_DONE);
	assert_string_equal(mail(SID(1), 1, "ann@example.org")->user, "ann");
}

static void
steps_of_auth(void **state)
{
	const struct m_auth_step name = { .data = { "ann", 3 } };
	const struct m_auth_step pass = { .data = { "pencil", 6 } };
	const union msg *m;

	(void)state;
	come(SID(1));
	start_auth(SID(1), "LOGIN", NULL, 0, false);
	m = next(R.front, M_AUTH_CHALLENGE, SID(1));
	assert_int_equal(m->auth_challenge.data.len, 9);
	assert_memory_equal(m->auth_challenge.data.p, "Username:", 9);
	ipc_send(R.front, M_AUTH_STEP, SID(1), &name);
	next(R.front, M_AUTH_CHALLENGE, SID(1));
	print_message("# cancelled: the next line finds nothing\n");
	ipc_send(R.front, M_AUTH_CANCEL, SID(1), NULL);
	ipc_send(R.front, M_AUTH_STEP, SID(1), &pass);
	assert_int_equal(result(SID(1)), R_AUTH_TEMP);
	print_message("# a new start ends the old one\n");
	start_auth(SID(1), "LOGIN", "ann", 3, true);
	next(R.front, M_AUTH_CHALLENGE, SID(1));
	start_auth(SID(1), "LOGIN", "ann", 3, true);
	next(R.front, M_AUTH_CHALLENGE, SID(1));
	ipc_send(R.front, M_AUTH_STEP, SID(1), &pass);
	assert_int_equal(result(SID(1)), R_AUTH_OK);
	print_message("# an empty challenge, and an empty answer\n");
	come(SID(2));
	start_auth(SID(2), "PLAIN", NULL, 0, false);
	assert_int_equal(
	    next(R.front, M_AUTH_CHALLENGE, SID(2))->auth_challenge.data.len,
	    0);
	ipc_send(R.front, M_AUTH_STEP, SID(2),
	    &(struct m_auth_step){ .data = { NULL, 0 } });
	assert_int_equal(result(SID(2)), R_AUTH_MALFORMED);
}

/* All refusals of a login take at least so long, with and without a user. */
static void
failures_wait(void **state)
{
	static const char *const users[] = { "ann", "nobody" };
	int64_t began;
	size_t i;

	(void)state;
	R.setup.conf.auth_fail_delay = 120;
	come(SID(1));
	for (i = 0; i < 2; i++) {
		print_message("# %s\n", users[i]);
		began = authd_now_ms();
		assert_int_equal(plain(SID(1), users[i], "wrong"), R_AUTH_BAD);
		assert_true(authd_now_ms() - began >= 120);
	}
	print_message("# a right password does not\n");
	R.setup.conf.auth_fail_delay = 60 * 1000;
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	print_message("# a session that ends while it waits\n");
	come(SID(2));
	start_auth(SID(2), "PLAIN", "\0x\0y", 4, true);
	ipc_send(R.front, M_SESSION_CLOSE, SID(2), NULL);
	nothing(R.front);
	assert_int_equal(A.sessions, 1);
}

static void
certificate_logs_in_by_itself(void **state)
{
	const struct m_verdict *v;

	(void)state;
	pin_cert(R.ann, 0);
	come_with_cert(SID(1));
	v = mail(SID(1), 1, "ann@example.org");
	assert_true(v->allow);
	assert_string_equal(v->user, "ann");
	queued_grant(SID(1), R.ann, "ann", "cert");
	queued(M_ENVELOPE, SID(1));
	assert_int_equal(
	    mail(SID(1), 2, "bob@example.org")->reply, R_MAIL_NOT_OWNED);
	nothing(R.queue);
}

static void
external(void **state)
{
	static const struct {
		const char *name, *text;
		enum smtp_reply reply;
	} rows[] = {
		{ "empty", "", R_AUTH_OK },
		{ "the user", "ann", R_AUTH_OK },
		{ "an address", "ann@example.org", R_AUTH_OK },
		{ "another user", "bob", R_AUTH_CERT_BAD },
		{ "nobody", "nobody", R_AUTH_CERT_BAD },
	};
	size_t i;

	(void)state;
	pin_cert(R.ann, 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("# %s\n", rows[i].name);
		come_with_cert(SID(i));
		start_auth(SID(i), "EXTERNAL", rows[i].text,
		    strlen(rows[i].text), true);
		assert_int_equal(result(SID(i)), rows[i].reply);
		if (rows[i].reply != R_AUTH_OK)
			continue;
		assert_true(mail(SID(i), 1, "ann@example.org")->allow);
		queued_grant(SID(i), R.ann, "ann", "EXTERNAL");
		queued(M_ENVELOPE, SID(i));
	}
	print_message("# a password beats the certificate\n");
	come_with_cert(SID(9));
	assert_int_equal(plain(SID(9), "bob", "bobby"), R_AUTH_OK);
	assert_int_equal(
	    mail(SID(9), 1, "ann@example.org")->reply, R_MAIL_NOT_OWNED);
	assert_true(mail(SID(9), 2, "bob@example.org")->allow);
	queued_grant(SID(9), R.bob, "bob", "PLAIN");
}

static void
states_and_policies(void **state)
{
	const struct m_verdict *v;

	(void)state;
	pin_cert(R.ann, 0);
	print_message("# suspended: may log in, and hears why\n");
	store_user_set_state(
	    writer(), R.ann, STORE_USER_SUSPENDED, "spam was sent");
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	v = mail(SID(1), 1, "ann@example.org");
	assert_int_equal(v->reply, R_USER_SUSPENDED);
	assert_string_equal(v->text, "spam was sent");
	print_message("# disabled: like a wrong password\n");
	store_user_set_state(writer(), R.ann, STORE_USER_DISABLED, NULL);
	come(SID(2));
	next(R.front, M_SESSION_KILL, SID(1));
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_BAD);
	store_user_set_state(writer(), R.ann, STORE_USER_ACTIVE, NULL);
	print_message("# certificates only\n");
	store_user_set_policy(writer(), R.ann, STORE_AUTH_CERT);
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_NEEDS_CERT);
	assert_int_equal(plain(SID(2), "ann", "wrong"), R_AUTH_BAD);
	come_with_cert(SID(3));
	assert_true(mail(SID(3), 1, "ann@example.org")->allow);
	print_message("# passwords only\n");
	store_user_set_policy(writer(), R.ann, STORE_AUTH_PASSWORD);
	assert_int_equal(
	    mail(SID(3), 2, "ann@example.org")->reply, R_AUTH_NEEDED);
	start_auth(SID(3), "EXTERNAL", NULL, 0, true);
	assert_int_equal(result(SID(3)), R_AUTH_NEEDS_PASSWORD);
	print_message("# both\n");
	store_user_set_policy(writer(), R.ann, STORE_AUTH_BOTH);
	assert_int_equal(
	    mail(SID(3), 3, "ann@example.org")->reply, R_AUTH_NEEDED_BOTH);
	assert_int_equal(plain(SID(3), "ann", "pencil"), R_AUTH_OK);
	assert_true(mail(SID(3), 4, "ann@example.org")->allow);
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_OK);
	assert_int_equal(
	    mail(SID(2), 1, "ann@example.org")->reply, R_AUTH_NEEDED_BOTH);
	print_message("# one mechanism\n");
	store_user_set_mechanisms(writer(), R.bob, "SCRAM-SHA-256");
	come(SID(4));
	assert_int_equal(plain(SID(4), "bob", "bobby"), R_AUTH_TOO_WEAK);
}

static void
a_changed_password_counts_at_once(void **state)
{
	(void)state;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "new"), R_AUTH_BAD);
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	assert_int_equal(passcache_count(A.cache), 2);
	put_password(R.ann, "new");
	come(SID(2));
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_BAD);
	assert_int_equal(plain(SID(2), "ann", "new"), R_AUTH_OK);
}

static struct authd_session *
find_session(uint64_t sid)
{
	struct authd_session *s;

	LIST_FOREACH(s, &A.table[sid & (AUTHD_BUCKETS - 1)], link)
	if (s->sid == sid)
		return s;
	fail_msg("no such session");
	abort();
}

/* The loop's clock is a coarse one: its timers may be early. */
static void
an_early_timer_is_no_answer(void **state)
{
	const struct m_auth_start m = { .mech = "PLAIN",
		.has_initial = true,
		.data = { "\0ann\0wrong", 10 } };
	int64_t began = authd_now_ms();
	struct authd_session *s;

	(void)state;
	R.setup.conf.auth_fail_delay = 200;
	come(SID(1));
	ipc_send(R.front, M_AUTH_START, SID(1), &m);
	s = find_session(SID(1));
	while (!s->refusal_waits) {
		serve_queue();
		event_base_loop(R.setup.base, EVLOOP_NONBLOCK);
	}
	event_active(s->timer, EV_TIMEOUT, 1);
	nothing(R.front);
	assert_int_equal(result(SID(1)), R_AUTH_BAD);
	assert_true(authd_now_ms() - began >= 200);
}

/* New records are asked for once the client is in, and only then. */
static void
old_records_are_made_anew(void **state)
{
	const struct m_rehash *m;
	char old[SCRAM_RECORD_MAX];
	const struct store_record r = { STORE_CRED_SCRAM_SHA_256, old };

	(void)state;
	scram_record_make(
	    "pencil", 6, SCRAM_SHA_256, ITER + 1, old, sizeof(old));
	store_password_set(writer(), R.ann, &r, 1);
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "wrong"), R_AUTH_BAD);
	nothing(R.parent);
	print_message("# refused for other reasons: nothing may show\n");
	R.guard.refuse = M_AUTH_SEEN;
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_LOCKED);
	nothing(R.parent);
	R.guard.refuse = 0;
	store_user_set_mechanisms(writer(), R.ann, "LOGIN");
	come(SID(2));
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_TOO_WEAK);
	nothing(R.parent);
	store_user_set_mechanisms(writer(), R.ann, "");
	print_message("# logged in\n");
	come(SID(3));
	assert_int_equal(plain(SID(3), "ann", "pencil"), R_AUTH_OK);
	m = &next(R.parent, M_REHASH, SID(3))->rehash;
	assert_string_equal(m->user, "ann");
	assert_int_equal(m->device, 0);
	assert_string_equal(m->old, old);
	assert_int_equal(scram_record_check(m->sha256, "pencil", 6), SCRAM_OK);
	assert_string_equal(m->sha1, "");
	print_message("# a record as it should be\n");
	come(SID(4));
	assert_int_equal(plain(SID(4), "bob", "bobby"), R_AUTH_OK);
	nothing(R.parent);
}

/* A password, but no record for SCRAM: an answer of its own. */
static void
transition(void **state)
{
	const struct store_record r = { STORE_CRED_CRYPT, "$6$abcdefgh$hash" };
	static const char first[] = "n,,n=ann,r=abcdefghijkl";

	(void)state;
	assert_int_equal(store_password_set(writer(), R.ann, &r, 1), STORE_OK);
	come(SID(1));
	start_auth(
	    SID(1), "SCRAM-SHA-256", first, sizeof(first) - 1, true);
	assert_int_equal(result(SID(1)), R_AUTH_TRANSITION);
	assert_int_equal(R.guard.seen, 0);
}

static void
password_of_a_device(void **state)
{
	char text[SCRAM_RECORD_MAX];
	const struct store_record r = { STORE_CRED_SCRAM_SHA_256, text };
	int64_t id;

	(void)state;
	scram_record_make(
	    "abcd-efgh", 9, SCRAM_SHA_256, ITER, text, sizeof(text));
	assert_int_equal(store_device_add(writer(), R.ann, "phone",
			     STORE_DEVICE_PASSWORD, 0, &id),
	    STORE_OK);
	assert_int_equal(store_device_password(writer(), id, &r, 1), STORE_OK);
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "abcd-efgh"), R_AUTH_OK);
	come(SID(2));
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_OK);
	assert_int_equal(find_device(SID(1)), id);
	print_message("# revoked: its session ends, the other stays\n");
	assert_int_equal(
	    store_device_revoke(writer(), id, (int64_t)time(NULL)), STORE_OK);
	next(R.front, M_SESSION_KILL, SID(1));
	next(R.queue, M_SESSION_CLOSE, SID(1));
	assert_true(mail(SID(2), 1, "ann@example.org")->allow);
	come(SID(3));
	assert_int_equal(plain(SID(3), "ann", "abcd-efgh"), R_AUTH_BAD);
}

static void
revoked_certificate_ends_sessions(void **state)
{
	const struct arrival cert = { .cert = 1 };
	const struct m_session_facts *f;
	int64_t id;

	(void)state;
	assert_int_equal(
	    store_device_add(writer(), R.ann, "laptop", STORE_DEVICE_CERT, 0, &id),
	    STORE_OK);
	pin_cert(R.ann, id);
	come_with_cert(SID(1));
	assert_true(mail(SID(1), 1, "ann@example.org")->allow);
	queued(M_GRANT, SID(1));
	queued(M_ENVELOPE, SID(1));
	assert_int_equal(
	    store_device_revoke(writer(), id, (int64_t)time(NULL)), STORE_OK);
	/* the tick of one second sees it */
	next(R.front, M_SESSION_KILL, SID(1));
	queued(M_SESSION_CLOSE, SID(1));
	f = arrive(SID(2), &cert);
	assert_string_equal(f->verify, "FAIL");
	assert_string_equal(f->cert_user, "");
	assert_int_equal(
	    mail(SID(2), 1, "ann@example.org")->reply, R_AUTH_NEEDED);
}

static void
requirement_on_tls(void **state)
{
	const struct arrival none = { 0 }, cert = { .cert = 1 };
	const struct m_session_facts *f;
	const struct m_verdict *v;

	(void)state;
	pin_cert(R.ann, 0);
	assert_int_equal(
	    store_access_set(writer(), "TLS_Clt:192.0.2.7", "PERM+VERIFY:128"),
	    STORE_OK);
	f = arrive(SID(1), &none);
	assert_int_equal(f->refuse_code, 503);
	assert_string_equal(f->refuse_esc, "5.7.0");
	assert_int_equal(f->mechs, 0);
	print_message("# a front that asks nevertheless\n");
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_MECHANISM);
	v = mail(SID(1), 1, "ann@example.org");
	assert_false(v->allow);
	assert_int_equal(v->code, 503);
	nothing(R.queue);
	print_message("# a pinned certificate meets it\n");
	f = arrive(SID(2), &cert);
	assert_int_equal(f->refuse_code, 0);
	assert_true(mail(SID(2), 1, "ann@example.org")->allow);
	print_message("# by IPv6 address\n");
	assert_int_equal(store_access_set(writer(), "Connect:IPv6:2001:db8:0:0",
			     "ERROR:5.7.1:550 go away"),
	    STORE_OK);
	f = arrive(SID(3), &(struct arrival){ .addr = "2001:db8::1" });
	assert_int_equal(f->refuse_code, 550);
	assert_string_equal(f->refuse_text, "go away");
	f = arrive(SID(4), &(struct arrival){ .addr = "::ffff:192.0.2.8" });
	assert_int_equal(f->refuse_code, 0);
}

static void
relay_by_the_map(void **state)
{
	const struct m_verdict *v;

	(void)state;
	assert_int_equal(
	    store_access_set(writer(), "Connect:192.0.2.7", "RELAY"), STORE_OK);
	come(SID(1));
	v = mail(SID(1), 1, "anybody@example.com");
	assert_true(v->allow);
	assert_string_equal(v->user, "map:connect:192.0.2.7");
	queued_grant(SID(1), 0, "map:connect:192.0.2.7", "map");
	queued(M_ENVELOPE, SID(1));
	assert_true(rcpt(SID(1), 1, "x@example.net")->allow);
	queued(M_ENVELOPE_RCPT, SID(1));

	print_message("# by sender, whose domain is asked for as A-label\n");
	store_access_set(
	    writer(), "From:xn--bcher-kva.example", "550 no books");
	v = mail(SID(1), 2,
	    "x@b\xc3\xbc"
	    "cher.example");
	assert_false(v->allow);
	assert_string_equal(v->text, "no books");
	store_access_del(writer(), "From:xn--bcher-kva.example");

	print_message("# by recipient: known at RCPT only\n");
	store_access_del(writer(), "Connect:192.0.2.7");
	store_access_set(writer(), "To:example.net", "RELAY");
	come(SID(2));
	v = mail(SID(2), 1, "anybody@example.com");
	assert_true(v->allow);
	assert_string_equal(v->user, "");
	queued(M_ENVELOPE, SID(2));
	v = rcpt(SID(2), 1, "x@example.com");
	assert_false(v->allow);
	assert_int_equal(v->code, 550);
	nothing(R.queue);
	assert_true(rcpt(SID(2), 1, "x@example.net")->allow);
	queued_grant(SID(2), 0, "map:to:example.net", "map");
	queued(M_ENVELOPE_RCPT, SID(2));
}

/* The last decision that queue was told. */
static void
told(unsigned n, enum decision_phase phase, enum policy_decision result,
    const char *line)
{
	serve_queue();
	assert_int_equal(R.told.n, n);
	assert_int_equal(R.told.phase, phase);
	assert_int_equal(R.told.result, result);
	assert_string_equal(R.told.line, line);
}

/* Takes what an accepted command makes queue know, and the decision. */
static void
take_mail(uint64_t sid)
{
	queued(M_GRANT, sid);
	queued(M_ENVELOPE, sid);
}

static void
history_is_told(void **state)
{
	(void)state;
	print_message("# a session\n");
	store_access_set(writer(), "TLS_Clt:", "VERIFY");
	come(SID(1));
	told(1, DECISION_TLS, POLICY_REFUSE_TEMP, "tls|||NO|||tls_clt:");
	assert_int_equal(R.told.code, 454);
	assert_string_equal(
	    R.told.ladder, "tls_clt\trefuse\ttls_clt:\tVERIFY\n");
	store_access_del(writer(), "TLS_Clt:");
	print_message("# a sender, before front hears of it\n");
	come(SID(2));
	assert_false(mail(SID(2), 1, "ann@example.org")->allow);
	told(2, DECISION_MAIL, POLICY_REFUSE_PERM,
	    "nobody|||NO|ann@example.org||");
	assert_int_equal(R.told.code, 530);
	print_message("# logins\n");
	assert_int_equal(plain(SID(2), "ann", "wrong"), R_AUTH_BAD);
	told(3, DECISION_AUTH, POLICY_REFUSE_PERM, "bad|ann|PLAIN|NO|||");
	assert_int_equal(R.told.code, 535);
	assert_int_equal(R.told.txn, 0);
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_OK);
	told(4, DECISION_AUTH, POLICY_ALLOW, "ok|ann|PLAIN|NO|||");
	print_message("# an accepted sender, behind its envelope\n");
	assert_true(mail(SID(2), 2, "ann@example.org")->allow);
	take_mail(SID(2));
	told(5, DECISION_MAIL, POLICY_ALLOW,
	    "ok|ann|PLAIN|NO|ann@example.org||");
	assert_int_equal(R.told.txn, 2);
	print_message("# recipients, but not each of them\n");
	store_access_set(writer(), "To:void.example", "DISCARD");
	assert_true(rcpt(SID(2), 2, "x@example.net")->allow);
	told(6, DECISION_RCPT, POLICY_ALLOW,
	    "ok|ann|PLAIN|NO|ann@example.org|x@example.net|");
	queued(M_ENVELOPE_RCPT, SID(2));
	assert_true(rcpt(SID(2), 2, "y@example.net")->allow);
	queued(M_ENVELOPE_RCPT, SID(2));
	assert_int_equal(R.told.n, 6);
	assert_false(rcpt(SID(2), 2, "unqualified")->allow);
	told(7, DECISION_RCPT, POLICY_REFUSE_PERM,
	    "rcpt_no_domain|ann|PLAIN|NO|ann@example.org|unqualified|");
	assert_true(rcpt(SID(2), 2, "x@void.example")->allow);
	told(8, DECISION_RCPT, POLICY_DISCARD,
	    "map|ann|PLAIN|NO|ann@example.org|x@void.example|"
	    "to:void.example");
	queued(M_ENVELOPE_RCPT, SID(2));
	print_message("# a new transaction begins anew\n");
	assert_true(mail(SID(2), 3, "ann@example.org")->allow);
	take_mail(SID(2));
	assert_true(rcpt(SID(2), 3, "x@example.net")->allow);
	queued(M_ENVELOPE_RCPT, SID(2));
	assert_int_equal(R.told.n, 10);
}

static void
features_of_a_client(void **state)
{
	const struct arrival plain_tls = { 0 }, cert = { .cert = 1 };
	const struct m_session_facts *f;
	int64_t id = 0;

	(void)state;
	assert_int_equal(
	    store_device_add(writer(), R.ann, "laptop", STORE_DEVICE_CERT, 0, &id),
	    STORE_OK);
	pin_cert(R.ann, id);
	f = arrive(SID(1), &plain_tls);
	assert_int_equal(f->no_pipelining, 0);
	assert_int_not_equal(f->mechs, 0);
	store_access_set(writer(), "Srv_Features:192.0.2.7", "A P");
	f = arrive(SID(2), &plain_tls);
	assert_int_equal(f->no_pipelining, 1);
	assert_int_equal(f->mechs, 0);
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_MECHANISM);
	store_access_set(writer(), "Srv_Features:192.0.2.7", "l");
	arrive(SID(3), &cert);
	assert_int_equal(
	    mail(SID(3), 1, "ann@example.org")->reply, R_AUTH_NEEDED);
	serve_queue();
	assert_string_equal(R.told.line,
	    "nobody|ann|cert|TRUSTED|ann@example.org||"
	    "srv_features:192.0.2.7");
	assert_string_equal(
	    R.told.ladder, "srv_features\trefuse\tsrv_features:192.0.2.7\tl\n");
	assert_int_equal(R.told.device, id);
	assert_int_equal(plain(SID(3), "ann", "pencil"), R_AUTH_OK);
	assert_true(mail(SID(3), 2, "ann@example.org")->allow);
}

static void
senders_of_the_map(void **state)
{
	(void)state;
	free(R.setup.conf.map_relay_user);
	R.setup.conf.map_relay_user = xstrdup("bob");
	store_access_set(writer(), "Connect:192.0.2.7", "RELAY");
	come(SID(1));
	assert_int_equal(
	    mail(SID(1), 1, "ann@example.org")->reply, R_MAIL_NOT_OWNED);
	assert_true(mail(SID(1), 2, "bob@example.org")->allow);
	queued_grant(SID(1), 0, "map:connect:192.0.2.7", "map");
	queued(M_ENVELOPE, SID(1));
}

/* They are bound by that user's right to a priority as by the addresses. */
static void
priorities_of_the_map(void **state)
{
	static const struct {
		const char *user;
		int of_user;
		unsigned got;
	} rows[] = { { "", STORE_PRIORITY_CONF, 2 },
		{ "bob", STORE_PRIORITY_CONF, 2 }, { "bob", 0, 0 },
		{ "bob", 5, 5 }, { "", 5, 2 } };
	struct m_mail m = { .from = "bob@example.org",
		.opt = { .priority = PRIORITY_MAX, .envid = "" } };
	const struct m_verdict *v;
	size_t i;

	(void)state;
	R.setup.conf.max_priority = 2;
	store_access_set(writer(), "Connect:192.0.2.7", "RELAY");
	come(SID(1));
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		free(R.setup.conf.map_relay_user);
		R.setup.conf.map_relay_user = xstrdup(rows[i].user);
		store_user_set_priority(writer(), R.bob, rows[i].of_user);
		authd_store_ready();
		m.txn = (uint32_t)i + 1;
		ipc_send(R.front, M_MAIL, SID(1), &m);
		v = &next(R.front, M_VERDICT, SID(1))->verdict;
		assert_true(v->allow);
		assert_int_equal(v->priority, PRIORITY_NORMAL + rows[i].got);
	}
}

/* Queue hears of it before front, and only of what is allowed. */
static void
authors_of_a_header(void **state)
{
	const struct m_verdict *v;

	(void)state;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	v = mail(SID(1), 1, "ann@example.org");
	assert_true(v->allow);
	assert_int_equal(v->headers, POLICY_FROM_REQUIRE);
	queued(M_GRANT, SID(1));
	assert_int_equal(queued(M_ENVELOPE, SID(1))->envelope.headers, 1);
	v = headers(SID(1), 1, "bob@example.org");
	assert_false(v->allow);
	assert_int_equal(v->reply, R_AUTHOR_NOT_OWNED);
	assert_string_equal(v->text, "<bob@example.org> in the From field");
	assert_string_equal(v->more, "<ann@example.org>");
	assert_int_equal(R.told.phase, DECISION_HEADERS);
	v = headers(SID(1), 1, "ANN@example.org");
	assert_true(v->allow);
	assert_string_equal(v->more, "");
	assert_int_equal(queued(M_HEADERS_OK, SID(1))->txn.txn, 1);
	/* of no message, or of another */
	assert_false(headers(SID(1), 2, "ann@example.org")->allow);
	R.setup.conf.plus_addressing = true;
	assert_true(headers(SID(1), 1, "ann+x@example.org")->allow);
	queued(M_HEADERS_OK, SID(1));

	R.setup.conf.from_header = POLICY_FROM_SENDER;
	v = mail(SID(1), 3, "ann@example.org");
	assert_int_equal(v->headers, POLICY_FROM_SENDER);
	queued(M_GRANT, SID(1));
	queued(M_ENVELOPE, SID(1));
	v = headers(SID(1), 3, "bob@example.org");
	assert_true(v->allow);
	assert_string_equal(v->more, "ann@example.org");
	queued(M_HEADERS_OK, SID(1));

	R.setup.conf.from_header = POLICY_FROM_OFF;
	v = mail(SID(1), 4, "ann@example.org");
	assert_int_equal(v->headers, POLICY_FROM_OFF);
	queued(M_GRANT, SID(1));
	assert_int_equal(queued(M_ENVELOPE, SID(1))->envelope.headers, 0);
}

static void
thrown_away_and_held(void **state)
{
	const struct m_envelope_rcpt *r;

	(void)state;
	store_access_set(writer(), "Connect:192.0.2.7", "QUARANTINE:look at it");
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	assert_true(mail(SID(1), 1, "ann@example.org")->allow);
	queued(M_GRANT, SID(1));
	queued(M_ENVELOPE, SID(1));
	assert_true(rcpt(SID(1), 1, "x@example.net")->allow);
	r = &queued(M_ENVELOPE_RCPT, SID(1))->envelope_rcpt;
	assert_int_equal(r->flags, ENVELOPE_HOLD);
	assert_string_equal(r->note, "look at it");

	store_access_set(writer(), "Connect:192.0.2.7", "DISCARD");
	come(SID(2));
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_OK);
	assert_true(mail(SID(2), 1, "ann@example.org")->allow);
	queued(M_GRANT, SID(2));
	queued(M_ENVELOPE, SID(2));
	assert_true(rcpt(SID(2), 1, "x@example.net")->allow);
	r = &queued(M_ENVELOPE_RCPT, SID(2))->envelope_rcpt;
	assert_int_equal(r->flags, ENVELOPE_DISCARD);
}

static void
queue_goes_away(void **state)
{
	int role_end;

	(void)state;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	assert_true(mail(SID(1), 1, "ann@example.org")->allow);
	ipc_free(&R.queue);
	R.has_kept = false;
	nothing(R.front);
	assert_int_equal(rcpt(SID(1), 1, "x@example.net")->reply, R_QUEUE_DOWN);
	assert_int_equal(
	    mail(SID(1), 2, "ann@example.org")->reply, R_QUEUE_DOWN);
	print_message("# its successor hears all anew\n");
	R.queue = pair(&role_end, &R.queue_fd);
	auth_ops.peer(&R.setup, ROLE_QUEUE, 4, role_end);
	assert_true(mail(SID(1), 3, "ann@example.org")->allow);
	queued_grant(SID(1), R.ann, "ann", "PLAIN");
	queued(M_ENVELOPE, SID(1));
	print_message("# replaced in the middle of a transaction\n");
	ipc_free(&R.queue);
	R.has_kept = false;
	R.queue = pair(&role_end, &R.queue_fd);
	auth_ops.peer(&R.setup, ROLE_QUEUE, 5, role_end);
	assert_int_equal(rcpt(SID(1), 3, "x@example.net")->reply, R_QUEUE_DOWN);
	nothing(R.queue);
}

/* A front that speaks of another's sessions is broken. */
static void
foreign_sessions(void **state)
{
	const struct m_mail m = { .txn = 1, .from = "ann@example.org" };
	struct ipc_in in;
	const char *why;

	(void)state;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	ipc_send(R.other, M_MAIL, SID(1), &m);
	while (!ipc_readable(R.other))
		event_base_loop(R.setup.base, EVLOOP_ONCE);
	assert_int_equal(ipc_recv_wait(R.other, &in, &why), -1);
	nothing(R.queue);
	assert_true(mail(SID(1), 1, "ann@example.org")->allow);
	print_message("# sessions end with the socket of their front\n");
	ipc_free(&R.front);
	while (A.sessions > 0)
		event_base_loop(R.setup.base, EVLOOP_ONCE);
	R.front = NULL;
}

static void
unknown_sessions(void **state)
{
	const struct m_auth_step step = { .data = { "x", 1 } };

	(void)state;
	assert_int_equal(plain(SID(5), "ann", "pencil"), R_AUTH_TEMP);
	ipc_send(R.front, M_AUTH_STEP, SID(5), &step);
	assert_int_equal(result(SID(5)), R_AUTH_TEMP);
	assert_int_equal(
	    mail(SID(5), 1, "ann@example.org")->reply, R_AUTH_DOWN);
	assert_int_equal(
	    rcpt(SID(5), 1, "ann@example.org")->reply, R_AUTH_DOWN);
	ipc_send(R.front, M_AUTH_CANCEL, SID(5), NULL);
	ipc_send(R.front, M_SESSION_CLOSE, SID(5), NULL);
	nothing(R.front);
	print_message("# closed: known no more\n");
	come(SID(6));
	assert_int_equal(plain(SID(6), "ann", "pencil"), R_AUTH_OK);
	ipc_send(R.front, M_SESSION_CLOSE, SID(6), NULL);
	assert_int_equal(
	    mail(SID(6), 1, "ann@example.org")->reply, R_AUTH_DOWN);
	come(SID(6));
	assert_int_equal(
	    mail(SID(6), 1, "ann@example.org")->reply, R_AUTH_NEEDED);
}

/* Facts may come again, e.g. with the client's name: the login stays. */
static void
facts_again(void **state)
{
	(void)state;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	come(SID(1));
	assert_int_equal(A.sessions, 1);
	assert_true(mail(SID(1), 1, "ann@example.org")->allow);
}

/* Killed in mid-write, with pages in the file: a hot journal. */
static void
die_writing(void)
{
	static char big[100000];
	struct store *st;
	char name[32];
	int i;

	memset(big, 'x', sizeof(big) - 1);
	if (store_open(R.db, STORE_RW, &st) != STORE_OK ||
	    store_begin(st) != STORE_OK)
		_exit(1);
	for (i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "big%d", i);
		if (store_setting_set(st, name, big) != STORE_OK)
			_exit(2);
	}
	raise(SIGKILL);
	_exit(3);
}

static void
a_writer_was_killed(void **state)
{
	const struct m_mail m = { .txn = 2, .from = "ann@example.org" };
	int status;
	pid_t pid;

	(void)state;
	pin_cert(R.ann, 0);
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	writer();
	store_close(&R.rw);
	if ((pid = fork()) == 0)
		die_writing();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(
	    mail(SID(1), 1, "ann@example.org")->reply, R_AUTH_DOWN);
	next(R.parent, M_REPAIR, 0);
	come_with_cert(SID(2));
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_TEMP);
	assert_int_equal(
	    mail(SID(2), 1, "ann@example.org")->reply, R_AUTH_DOWN);
	nothing(R.queue);
	print_message("# parent has repaired it\n");
	assert_int_equal(store_open(R.db, STORE_RW, &R.rw), STORE_OK);
	assert_true(mail(SID(1), 2, "ann@example.org")->allow);
	queued_grant(SID(1), R.ann, "ann", "PLAIN");
	queued(M_ENVELOPE, SID(1));
	print_message("# what came meanwhile is judged now\n");
	ipc_send(R.front, M_MAIL, SID(2), &m);
	assert_string_equal(
	    next(R.front, M_SESSION_FACTS, SID(2))->session_facts.cert_user,
	    "ann");
	assert_true(next(R.front, M_VERDICT, SID(2))->verdict.allow);
	queued_grant(SID(2), R.ann, "ann", "cert");
}

static void
drains_when_sessions_end(void **state)
{
	(void)state;
	come(SID(1));
	auth_ops.drain(&R.setup);
	event_base_loop(R.setup.base, EVLOOP_NONBLOCK);
	assert_false(event_base_got_break(R.setup.base));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	ipc_send(R.front, M_SESSION_CLOSE, SID(1), NULL);
	while (A.sessions > 0)
		event_base_loop(R.setup.base, EVLOOP_ONCE);
	assert_true(event_base_got_break(R.setup.base));
}

/* ---- passwords that pam judges ---- */

static struct ipc *
pam_comes(void)
{
	struct ipc *mine;
	int role_end;

	mine = pair(&role_end, NULL);
	auth_ops.peer(&R.setup, ROLE_PAM, 9, role_end);
	return mine;
}

/* What pam is asked; the ticket to answer with. */
static uint32_t
asked(struct ipc *pam, uint64_t sid, const char *user, const char *password)
{
	const struct m_pam_check *m = &next(pam, M_PAM_CHECK, sid)->pam_check;

	assert_int_equal(m->how, PAM_BY_PAM);
	assert_string_equal(m->user, user);
	assert_string_equal(m->client_addr, "192.0.2.7");
	assert_int_equal(m->password.len, strlen(password));
	assert_memory_equal(m->password.p, password, m->password.len);
	return m->ticket;
}

static void
pam_says(struct ipc *pam, uint64_t sid, uint32_t ticket, enum pam_verdict v)
{
	const struct m_pam_result m = { .ticket = ticket,
		.verdict = (uint8_t)v,
		.user = "",
		.detail = v == PAM_RIGHT ? "" : "because" };

	ipc_send(pam, M_PAM_RESULT, sid, &m);
}

static void
start_plain(uint64_t sid, const char *user, const char *password)
{
	char msg[600];
	int n = snprintf(msg, sizeof(msg), "%c%s%c%s", 0, user, 0, password);

	start_auth(sid, "PLAIN", msg, (size_t)n, true);
}

static void
pam_judges(void **state)
{
	static const struct {
		enum pam_verdict verdict;
		enum smtp_reply reply;
	} rows[] = { { PAM_WRONG, R_AUTH_BAD }, { PAM_TEMP, R_AUTH_TEMP },
		{ PAM_RIGHT, R_AUTH_OK } };
	struct ipc *pam = pam_comes();
	uint32_t ticket, other;
	size_t i;

	(void)state;
	R.setup.conf.password_backend = BACKEND_PAM;
	come(SID(1));
	come(SID(2));
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		start_plain(SID(1), "ann@example.org", "secret");
		ticket = asked(pam, SID(1), "ann", "secret");
		print_message("# answers to other questions\n");
		pam_says(pam, SID(1), ticket + 1, PAM_RIGHT);
		pam_says(pam, SID(1), ticket - 1, PAM_RIGHT);
		pam_says(pam, SID(2), ticket, PAM_RIGHT);
		pam_says(pam, SID(3), ticket, PAM_RIGHT);
		nothing(R.front);
		pam_says(pam, SID(1), ticket, rows[i].verdict);
		assert_int_equal(result(SID(1)), rows[i].reply);
		pam_says(pam, SID(1), ticket, PAM_RIGHT);
		nothing(R.front);
	}
	print_message("# two at one time, answered the other way round\n");
	come(SID(3));
	start_plain(SID(2), "ann", "one");
	ticket = asked(pam, SID(2), "ann", "one");
	start_plain(SID(3), "bob", "two");
	other = asked(pam, SID(3), "bob", "two");
	pam_says(pam, SID(3), other, PAM_RIGHT);
	assert_int_equal(result(SID(3)), R_AUTH_OK);
	pam_says(pam, SID(2), ticket, PAM_WRONG);
	assert_int_equal(result(SID(2)), R_AUTH_BAD);
	ipc_free(&pam);
}

static void
pam_is_not_asked(void **state)
{
	struct ipc *pam = pam_comes();

	(void)state;
	R.setup.conf.password_backend = BACKEND_PAM;
	come(SID(1));
	print_message("# nobody, and a user who is closed\n");
	assert_int_equal(plain(SID(1), "root", "secret"), R_AUTH_BAD);
	assert_int_equal(
	    store_user_set_state(writer(), R.bob, STORE_USER_DISABLED, NULL),
	    STORE_OK);
	assert_int_equal(plain(SID(1), "bob", "bobby"), R_AUTH_BAD);
	print_message("# a user whose password is the store's\n");
	assert_int_equal(
	    store_user_set_backend(writer(), R.ann, STORE_BACKEND_STORE), STORE_OK);
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	nothing(pam);
	ipc_free(&pam);
}

static void
pam_goes_away(void **state)
{
	struct ipc *pam = pam_comes();
	uint32_t ticket;

	(void)state;
	R.setup.conf.password_backend = BACKEND_PAM;
	come(SID(1));
	print_message("# its user is closed while it thinks\n");
	start_plain(SID(1), "bob", "secret");
	ticket = asked(pam, SID(1), "bob", "secret");
	assert_int_equal(
	    store_user_set_state(writer(), R.bob, STORE_USER_DISABLED, NULL),
	    STORE_OK);
	pam_says(pam, SID(1), ticket, PAM_RIGHT);
	assert_int_equal(result(SID(1)), R_AUTH_BAD);
	print_message("# it dies\n");
	start_plain(SID(1), "ann", "secret");
	asked(pam, SID(1), "ann", "secret");
	ipc_free(&pam);
	assert_int_equal(result(SID(1)), R_AUTH_TEMP);
	assert_int_equal(plain(SID(1), "ann", "secret"), R_AUTH_TEMP);
	print_message("# the next one\n");
	pam = pam_comes();
	start_plain(SID(1), "ann", "secret");
	pam_says(pam, SID(1), asked(pam, SID(1), "ann", "secret"), PAM_RIGHT);
	assert_int_equal(result(SID(1)), R_AUTH_OK);
	ipc_free(&pam);
}

/* ---- guessing ---- */

static void
queue_hears_of_logins(void **state)
{
	struct m_auth_start m = { .mech = "PLAIN",
		.has_initial = 1,
		.data = { "\0bob\0bobby", 10 },
		.helo = "phone.lan" };
	uint64_t first;

	(void)state;
	come(SID(1));
	print_message("# wrong\n");
	assert_int_equal(plain(SID(1), "ann", "wrong"), R_AUTH_BAD);
	assert_int_equal(R.guard.asks, 1);
	assert_int_equal(R.guard.seen, 1);
	assert_int_equal(R.guard.result, SEEN_WRONG);
	assert_string_equal(R.guard.user, "ann");
	assert_string_equal(R.guard.addr, "192.0.2.7");
	first = R.guard.wrong;
	print_message("# another one, by her address: the same user\n");
	assert_int_equal(plain(SID(1), "ann@example.org", "other"), R_AUTH_BAD);
	assert_string_equal(R.guard.user, "ann");
	assert_true(R.guard.wrong != first);
	print_message("# the first again: the same number\n");
	assert_int_equal(plain(SID(1), "ann@example.org", "wrong"), R_AUTH_BAD);
	assert_true(R.guard.wrong == first);
	print_message("# the same password of another: another number\n");
	assert_int_equal(plain(SID(1), "nobody", "wrong"), R_AUTH_BAD);
	assert_string_equal(R.guard.user, "nobody");
	assert_int_equal(R.guard.result, SEEN_WRONG);
	assert_true(R.guard.wrong != first);
	print_message("# nothing to guess in these\n");
	R.guard.seen = 0;
	assert_int_equal(plain(SID(1), "ann", ""), R_AUTH_BAD);
	assert_int_equal(plain(SID(1), " ann", "x"), R_AUTH_BAD);
	start_auth(SID(1), "PLAIN", "junk", 4, true);
	assert_int_equal(result(SID(1)), R_AUTH_MALFORMED);
	assert_int_equal(R.guard.seen, 0);
	print_message("# right\n");
	ipc_send(R.front, M_AUTH_START, SID(1), &m);
	assert_int_equal(result(SID(1)), R_AUTH_OK);
	assert_int_equal(R.guard.seen, 1);
	assert_int_equal(R.guard.result, SEEN_RIGHT);
	assert_string_equal(R.guard.user, "bob");
	assert_string_equal(R.guard.client, "phone.lan");
	assert_int_equal(R.guard.device, 0);
}

static void
queue_refuses(void **state)
{
	(void)state;
	come(SID(1));
	print_message("# before the password is looked at\n");
	R.guard.refuse = M_THROTTLE_ASK;
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_LOCKED);
	assert_int_equal(plain(SID(1), "ann", "wrong"), R_AUTH_LOCKED);
	assert_int_equal(plain(SID(1), "nobody", "wrong"), R_AUTH_LOCKED);
	assert_int_equal(R.guard.seen, 0);
	assert_int_equal(passcache_count(A.cache), 0);
	print_message("# behind others: right or wrong\n");
	R.guard.refuse = M_AUTH_SEEN;
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_LOCKED);
	assert_int_equal(R.guard.result, SEEN_RIGHT);
	assert_int_equal(plain(SID(1), "ann", "wrong"), R_AUTH_LOCKED);
	assert_int_equal(
	    mail(SID(1), 1, "ann@example.org")->reply, R_AUTH_NEEDED);
	print_message("# not any more\n");
	R.guard.refuse = 0;
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
}

static void
refusals_take_as_long_as_failures(void **state)
{
	int64_t began = authd_now_ms();

	(void)state;
	R.setup.conf.auth_fail_delay = 120;
	R.guard.refuse = M_THROTTLE_ASK;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_LOCKED);
	assert_true(authd_now_ms() - began >= 120);
}

static void
scram_is_refused_before_its_challenge(void **state)
{
	static const char first[] = "n,,n=ann,r=0123456789abcdef";

	(void)state;
	come(SID(1));
	R.guard.refuse = M_THROTTLE_ASK;
	start_auth(SID(1), "SCRAM-SHA-256", first, sizeof(first) - 1, true);
	assert_int_equal(result(SID(1)), R_AUTH_LOCKED);
	assert_string_equal(R.guard.user, "ann");
	R.guard.refuse = 0;
	start_auth(SID(1), "SCRAM-SHA-256", first, sizeof(first) - 1, true);
	next(R.front, M_AUTH_CHALLENGE, SID(1));
	assert_int_equal(R.guard.asks, 2);
}

static void
queue_slows_down(void **state)
{
	int64_t began = authd_now_ms();

	(void)state;
	R.guard.delay_ms = 150;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	assert_true(authd_now_ms() - began >= 150);
	print_message("# the right one is not slowed down twice\n");
	assert_true(authd_now_ms() - began < 5000);
	print_message("# the floor begins behind the delay\n");
	R.setup.conf.auth_fail_delay = 100;
	come(SID(2));
	began = authd_now_ms();
	assert_int_equal(plain(SID(2), "ann", "wrong"), R_AUTH_BAD);
	assert_true(authd_now_ms() - began >= 250);
}

/* A login until queue has had its question about it, the first or second. */
static void
start_held(uint64_t sid, const char *user, const char *password, bool verdict)
{
	const unsigned *n = verdict ? &R.guard.seen : &R.guard.asks;

	R.guard.asks = R.guard.seen = 0;
	come(sid);
	start_plain(sid, user, password);
	while (*n == 0) {
		event_base_loop(R.setup.base, EVLOOP_ONCE);
		serve_queue();
	}
}

/* Others are under way: the question is put again, not the login let in. */
static void
asks_again(void **state)
{
	(void)state;
	R.guard.delay_ms = 20;
	R.guard.again = 3;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	assert_int_equal(R.guard.asks, 4);
	print_message("# not for ever\n");
	R.guard.delay_ms = 1;
	R.guard.again = 1000;
	come(SID(2));
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_LOCKED);
	assert_in_range(R.guard.asks, 10, 40);
}

/* Queue says of itself when those before it are through. */
static void
its_turn_comes(void **state)
{
	struct m_throttle_answer a = { 0 };
	int64_t began = authd_now_ms();

	(void)state;
	R.guard.delay_ms = 60000;
	R.guard.again = 2;
	start_held(SID(1), "ann", "pencil", false);
	a.ticket = R.guard.ticket;
	a.ticket++; /* of another question */
	ipc_send(R.queue, M_THROTTLE_ANSWER, SID(1), &a);
	a.ticket--;
	a.again = true; /* still not */
	a.delay_ms = 60000;
	ipc_send(R.queue, M_THROTTLE_ANSWER, SID(1), &a);
	a.again = false;
	a.delay_ms = 0;
	ipc_send(R.queue, M_THROTTLE_ANSWER, SID(1), &a);
	assert_int_equal(result(SID(1)), R_AUTH_OK);
	assert_int_equal(R.guard.asks, 1);

	print_message("# or that they were wrong\n");
	start_held(SID(2), "ann", "pencil", false);
	a.ticket = R.guard.ticket;
	a.refuse = true;
	ipc_send(R.queue, M_THROTTLE_ANSWER, SID(2), &a);
	assert_int_equal(result(SID(2)), R_AUTH_LOCKED);
	assert_true(authd_now_ms() - began < 50000);
}

/* Even after the last question there would be. */
static void
its_turn_comes_late(void **state)
{
	struct m_throttle_answer a = { 0 };

	(void)state;
	R.guard.delay_ms = 1;
	R.guard.again = 1000;
	start_held(SID(1), "ann", "pencil", false);
	while (R.guard.asks < 19) {
		event_base_loop(R.setup.base, EVLOOP_ONCE);
		serve_queue();
	}
	R.guard.delay_ms = 60000;
	while (R.guard.asks < 20) {
		event_base_loop(R.setup.base, EVLOOP_ONCE);
		serve_queue();
	}
	a.ticket = R.guard.ticket;
	ipc_send(R.queue, M_THROTTLE_ANSWER, SID(1), &a);
	assert_int_equal(result(SID(1)), R_AUTH_OK);
}

/* Front answers 530 before it asks; one that asks all the same hears 538. */
static void
no_auth_without_tls(void **state)
{
	const struct arrival no_tls = { .no_tls = 1 };

	(void)state;
	arrive(SID(1), &no_tls);
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_NEEDS_TLS);
	assert_int_equal(plain(SID(1), "nobody", "pencil"), R_AUTH_NEEDS_TLS);
	assert_int_equal(R.guard.asks, 0);
}

static void
changes_while_it_is_held(void **state)
{
	uint64_t i;

	(void)state;
	print_message("# another user's password\n");
	start_held(SID(1), "ann", "pencil", false);
	put_password(R.bob, "other");
	assert_int_equal(result(SID(1)), R_AUTH_OK);
	start_held(SID(2), "ann", "pencil", true);
	put_password(R.bob, "another");
	assert_int_equal(result(SID(2)), R_AUTH_OK);
	start_held(SID(3), "ann", "wrong", false);
	put_password(R.bob, "bobby");
	assert_int_equal(result(SID(3)), R_AUTH_BAD);
	print_message("# the user's own: it is checked by the new record\n");
	start_held(SID(4), "ann", "pencil", false);
	put_password(R.ann, "new password");
	assert_int_equal(result(SID(4)), R_AUTH_BAD);
	start_held(SID(5), "ann", "newer", false);
	put_password(R.ann, "newer");
	assert_int_equal(result(SID(5)), R_AUTH_OK);
	print_message("# after the check: to be done again\n");
	start_held(SID(6), "ann", "newer", true);
	put_password(R.ann, "last");
	assert_int_equal(result(SID(6)), R_AUTH_TEMP);
	assert_int_equal(plain(SID(6), "ann", "newer"), R_AUTH_BAD);
	print_message("# another record of the same password\n");
	put_password(R.ann, "newer");
	start_held(SID(7), "ann", "newer", true);
	put_password(R.ann, "newer");
	assert_int_equal(result(SID(7)), R_AUTH_OK);
	print_message("# the user's mechanisms, or the user\n");
	for (i = 1; i < 8; i++)
		ipc_send(R.front, M_SESSION_CLOSE, SID(i), NULL);
	start_held(SID(8), "ann", "newer", true);
	store_user_set_policy(writer(), R.ann, STORE_AUTH_CERT);
	assert_int_equal(result(SID(8)), R_AUTH_TEMP);
	store_user_set_policy(writer(), R.ann, STORE_AUTH_ANY);
	start_held(SID(9), "ann", "newer", false);
	store_user_set_state(writer(), R.ann, STORE_USER_DISABLED, NULL);
	assert_int_equal(result(SID(9)), R_AUTH_BAD);
	store_user_set_state(writer(), R.ann, STORE_USER_ACTIVE, NULL);
	start_held(SID(10), "ann", "newer", false);
	store_user_del(writer(), R.ann);
	assert_int_equal(result(SID(10)), R_AUTH_BAD);
}

/* A front that sends lines nobody asked for gets around nothing. */
static void
lines_while_it_is_held(void **state)
{
	static const char first[] = "n,,n=ann,r=0123456789abcdef";
	const struct m_auth_step step = { .data = { "x", 1 } };

	(void)state;
	R.guard.mute = true;
	come(SID(1));
	start_auth(SID(1), "SCRAM-SHA-256", first, sizeof(first) - 1, true);
	ipc_send(R.front, M_AUTH_STEP, SID(1), &step);
	assert_int_equal(result(SID(1)), R_AUTH_TEMP);
	ipc_send(R.front, M_AUTH_STEP, SID(1), &step);
	assert_int_equal(result(SID(1)), R_AUTH_TEMP);
	print_message("# a session that ends while it is held\n");
	start_plain(SID(1), "ann", "pencil");
	ipc_send(R.front, M_SESSION_CLOSE, SID(1), NULL);
	nothing(R.front);
	assert_int_equal(A.sessions, 0);
}

static void
queue_does_not_answer(void **state)
{
	int role_end;

	(void)state;
	R.guard.mute = true;
	come(SID(1));
	print_message("# late: go on without it\n");
	assert_int_equal(plain(SID(1), "ann", "wrong"), R_AUTH_BAD);
	print_message("# it dies meanwhile\n");
	start_plain(SID(1), "ann", "pencil");
	R.guard.asks = 0;
	while (R.guard.asks == 0) {
		event_base_loop(R.setup.base, EVLOOP_ONCE);
		serve_queue();
	}
	ipc_free(&R.queue);
	R.has_kept = false;
	assert_int_equal(result(SID(1)), R_AUTH_OK);
	print_message("# it is away\n");
	come(SID(2));
	assert_int_equal(plain(SID(2), "ann", "wrong"), R_AUTH_BAD);
	assert_int_equal(plain(SID(2), "ann", "pencil"), R_AUTH_OK);
	R.queue = pair(&role_end, &R.queue_fd);
	auth_ops.peer(&R.setup, ROLE_QUEUE, 4, role_end);
}

static void
queue_hears_of_certificates(void **state)
{
	struct m_mail m = {
		.txn = 1, .from = "ann@example.org", .helo = "laptop.lan"
	};
	int64_t device = 0;

	(void)state;
	assert_int_equal(store_device_add(writer(), R.ann, "laptop",
			     STORE_DEVICE_CERT, 0, &device),
	    STORE_OK);
	pin_cert(R.ann, device);
	come_with_cert(SID(1));
	ipc_send(R.front, M_MAIL, SID(1), &m);
	assert_true(next(R.front, M_VERDICT, SID(1))->verdict.allow);
	serve_queue();
	queued_grant(SID(1), R.ann, "ann", "cert");
	queued(M_ENVELOPE, SID(1));
	assert_int_equal(R.guard.asks, 0);
	assert_int_equal(R.guard.seen, 1);
	assert_int_equal(R.guard.result, SEEN_RIGHT);
	assert_int_equal(R.guard.device, device);
	assert_int_equal(R.guard.ticket, 0);
	assert_string_equal(R.guard.client, "laptop.lan");
	print_message("# once in a session\n");
	assert_true(mail(SID(1), 2, "ann@example.org")->allow);
	queued(M_GRANT, SID(1));
	queued(M_ENVELOPE, SID(1));
	assert_int_equal(R.guard.seen, 1);
	print_message("# EXTERNAL\n");
	come_with_cert(SID(2));
	R.guard.refuse = M_AUTH_SEEN; /* nothing to refuse: not a password */
	start_auth(SID(2), "EXTERNAL", NULL, 0, true);
	assert_int_equal(result(SID(2)), R_AUTH_OK);
	serve_queue();
	assert_int_equal(R.guard.seen, 2);
	assert_int_equal(R.guard.device, device);
}

static void
no_store_no_start(void **state)
{
	char err[256] = "";

	(void)state;
	store_close(&A.store);
	free(R.setup.conf.users_db);
	R.setup.conf.users_db = xasprintf("%s/none.db", R.dir);
	assert_int_equal(authd_store_start(err, sizeof(err)), -1);
	assert_non_null(strstr(err, "submitctl init"));
}

/* ---- what relays ask ---- */

static void
set_rule(const char *key, const char *value)
{
	if (value != NULL)
		assert_int_equal(store_access_set(writer(), key, value), STORE_OK);
	else
		assert_int_equal(store_access_del(writer(), key), STORE_OK);
}

static void
ask_server(struct ipc *relay, uint64_t id, enum server_ask ask,
    const char *host, const char *addr, unsigned bits)
{
	unsigned char chain[4096], *der = chain + 4;
	struct m_server_tls m = { .id = id,
		.ask = (uint8_t)ask,
		.host = host,
		.addr = addr,
		.verify = bits > 0 ? "OK" : "",
		.tls_bits = (uint16_t)bits };
	uint32_t n = (uint32_t)i2d_X509(R.cert, &der);

	memcpy(chain, &n, sizeof(n));
	if (bits > 0)
		m.chain = (struct blob){ chain, n + 4 };
	ipc_send(relay, M_SERVER_TLS, 0, &m);
}

/* The rules are told first and when they change, not otherwise. */
static void
relays_are_told(void **state)
{
	static const struct {
		const char *name, *key, *value;
		unsigned kinds;
	} rows[] = {
		{ "Try_TLS", "Try_TLS:mx.example.org", "NO", SERVER_RULE_TRY },
		{ "TLS_Srv", "TLS_Srv:", "VERIFY",
		    SERVER_RULE_TRY | SERVER_RULE_TLS },
		{ "TLS_Rcpt", "TLS_Rcpt:b@example.net", "ENCR:128",
		    SERVER_RULES },
		{ "another value", "TLS_Rcpt:b@example.net", "ENCR:256",
		    SERVER_RULES },
		{ "of no kind, but CITag may need it", "ours:/CN=ca", "OK",
		    SERVER_RULES },
		{ "TLS_Srv deleted", "TLS_Srv:", NULL,
		    SERVER_RULE_TRY | SERVER_RULE_RCPT },
	};
	const struct m_server_rules *m;
	struct ipc *relay;
	uint64_t mark;
	int role_end;
	size_t i;

	(void)state;
	relay = pair(&role_end, NULL);
	auth_ops.peer(&R.setup, ROLE_RELAY, 9, role_end);
	m = &next(relay, M_SERVER_RULES, 0)->server_rules;
	assert_int_equal(m->kinds, 0);
	mark = m->mark;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set_rule(rows[i].key, rows[i].value);
		authd_store_ready();
		m = &next(relay, M_SERVER_RULES, 0)->server_rules;
		if (m->kinds != rows[i].kinds || m->mark == mark)
			fail_msg("%s: kinds %u", rows[i].name, m->kinds);
		mark = m->mark;
	}
	put_user("cy", "password");
	authd_store_ready();
	nothing(relay);
	ipc_free(&relay);
	event_base_loop(R.setup.base, EVLOOP_NONBLOCK);
}

static void
relays_ask(void **state)
{
	static const struct {
		const char *name, *key, *value;
		enum server_ask ask;
		const char *host, *addr;
		unsigned bits;
		const char *to;
		enum server_verdict verdict;
		const char *esc, *says;
	} rows[] = {
		{ "nothing said", "TLS_Srv:other.example", "VERIFY:512",
		    SERVER_ASK_TLS, "mx.example.org", "192.0.2.1", 128, NULL,
		    SERVER_GO, "", "" },
		{ "met, with names", "TLS_Srv:mx.example.org",
		    "VERIFY:128+CN:laptop++CS:/CN=laptop", SERVER_ASK_TLS,
		    "MX.example.org.", "192.0.2.1", 128, NULL, SERVER_GO, "",
		    "" },
		{ "too weak", "TLS_Srv:example.org", "ENCR:256", SERVER_ASK_TLS,
		    "mx.example.org", "192.0.2.1", 128, NULL, SERVER_WAIT,
		    "4.7.0",
		    "demands TLS_Srv:example.org ENCR:256: encryption too "
		    "weak 128 less than 256" },
		{ "too weak, for good", "TLS_Srv:192.0.2", "PERM+VERIFY:256",
		    SERVER_ASK_TLS, "mx.example.org", "192.0.2.1", 128, NULL,
		    SERVER_FAIL, "5.7.0", "TLS_Srv:192.0.2 PERM+VERIFY:256" },
		{ "the default", "TLS_Srv:", "VERIFY+CN:other", SERVER_ASK_TLS,
		    "mx.example.org", "192.0.2.1", 128, NULL, SERVER_WAIT,
		    "4.7.0",
		    "TLS_Srv: VERIFY+CN:other: CN laptop does not match" },
		{ "an address as host", "TLS_Srv:[192.0.2.1]", "ENCR:256",
		    SERVER_ASK_TLS, "192.0.2.1", "192.0.2.1", 128, NULL,
		    SERVER_WAIT, "4.7.0", "TLS_Srv:[192.0.2.1]" },
		{ "IPv6", "TLS_Srv:IPv6:2001:db8:0:0:0:0:0:1", "ENCR:256",
		    SERVER_ASK_TLS, "mx.example.org", "2001:db8::1", 128, NULL,
		    SERVER_WAIT, "4.7.0", "ENCR:256" },
		{ "malformed", "TLS_Srv:mx.example.org", "VERIFY 128",
		    SERVER_ASK_TLS, "mx.example.org", "192.0.2.1", 128, NULL,
		    SERVER_WAIT, "4.3.5",
		    "an error: TLS_Srv:mx.example.org VERIFY 128" },
		{ "no TLS", "Try_TLS:mx.example.org", "NO", SERVER_ASK_TRY,
		    "mx.example.org", "192.0.2.1", 0, NULL, SERVER_WAIT,
		    "4.7.1", "forbids TLS: Try_TLS:mx.example.org NO" },
		{ "no TLS, another host", "Try_TLS:mx2.example.org", "NO",
		    SERVER_ASK_TRY, "mx.example.org", "192.0.2.1", 0, NULL,
		    SERVER_GO, "", "" },
		{ "a recipient", "TLS_Rcpt:example.net", "PERM+ENCR:256",
		    SERVER_ASK_RCPT, "mx.example.org", "192.0.2.1", 128,
		    "bo@example.net", SERVER_FAIL, "5.7.0",
		    "demands TLS_Rcpt:example.net PERM+ENCR:256" },
		{ "another recipient", "TLS_Rcpt:example.net", "ENCR:256",
		    SERVER_ASK_RCPT, "mx.example.org", "192.0.2.1", 128,
		    "bo@example.com", SERVER_GO, "", "" },
	};
	const struct m_server_verdict *v;
	struct m_server_rcpt r = { .n = 5 };
	struct ruled ruled;
	struct ipc *relay;
	int role_end;
	size_t i;

	(void)state;
	relay = pair(&role_end, NULL);
	auth_ops.peer(&R.setup, ROLE_RELAY, 9, role_end);
	next(relay, M_SERVER_RULES, 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set_rule(rows[i].key, rows[i].value);
		authd_store_ready();
		next(relay, M_SERVER_RULES, 0);
		ask_server(relay, i + 1, rows[i].ask, rows[i].host,
		    rows[i].addr, rows[i].bits);
		r.id = i + 1;
		r.to = rows[i].to;
		if (r.to != NULL)
			ipc_send(relay, M_SERVER_RCPT, 0, &r);
		v = &next(relay, M_SERVER_VERDICT, 0)->server_verdict;
		if (v->id != i + 1 || v->n != (r.to != NULL ? 5 : 0) ||
		    v->verdict != rows[i].verdict ||
		    strcmp(v->esc, rows[i].esc) != 0 ||
		    strstr(v->text, rows[i].says) == NULL)
			fail_msg("%s: %u %s %s", rows[i].name, v->verdict,
			    v->esc, v->text);
		if (v->verdict == SERVER_GO)
			assert_string_equal(v->ruled, "");
		else if (ruled_parse(v->ruled, &ruled) == -1 ||
		    strcasecmp(ruled.last.key, rows[i].key) != 0 ||
		    strcmp(ruled.last.value, rows[i].value) != 0 ||
		    ruled.bits != (int)rows[i].bits)
			fail_msg("%s: ruled %s", rows[i].name, v->ruled);
		set_rule(rows[i].key, NULL);
		authd_store_ready();
		next(relay, M_SERVER_RULES, 0);
	}
	r.id = 99; /* a server that was not named */
	ipc_send(relay, M_SERVER_RCPT, 0, &r);
	v = &next(relay, M_SERVER_VERDICT, 0)->server_verdict;
	assert_int_equal(v->verdict, SERVER_UNKNOWN);
	ipc_free(&relay);
	event_base_loop(R.setup.base, EVLOOP_NONBLOCK);
}

/* What the parameters of MAIL and RCPT say goes to queue as it came; but who
 * may give which priority is not for front to say. */
static void
options_go_to_queue(void **state)
{
	struct m_mail m = { .txn = 1,
		.from = "ann@example.org",
		.opt = { .body = BODY_BINARYMIME,
		    .utf8 = 1,
		    .require_tls = 1,
		    .ret = RET_HDRS,
		    .by_mode = BY_NOTIFY,
		    .by_trace = 1,
		    .by_ms = 60000,
		    .hold_ms = 50000,
		    .envid = "a+2Bb" } };
	static const struct {
		int of_user;
		uint8_t asked, got;
	} rows[] = { { STORE_PRIORITY_CONF, 0, 0 },
		{ STORE_PRIORITY_CONF, PRIORITY_NORMAL, PRIORITY_NORMAL },
		{ STORE_PRIORITY_CONF, PRIORITY_NORMAL + 2,
		    PRIORITY_NORMAL + 2 },
		{ STORE_PRIORITY_CONF, PRIORITY_NORMAL + 3,
		    PRIORITY_NORMAL + 2 },
		{ STORE_PRIORITY_CONF, PRIORITY_MAX, PRIORITY_NORMAL + 2 },
		{ 0, PRIORITY_NORMAL + 1, PRIORITY_NORMAL },
		{ 0, PRIORITY_NORMAL - 1, PRIORITY_NORMAL - 1 },
		{ 5, PRIORITY_MAX, PRIORITY_NORMAL + 5 },
		{ 9, PRIORITY_MAX, PRIORITY_MAX } };
	const struct m_verdict *v;
	const struct mail_options *o;
	size_t i;

	(void)state;
	R.setup.conf.max_priority = 2;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		m.txn = (uint32_t)i + 1;
		m.opt.priority = rows[i].asked;
		store_user_set_priority(writer(), R.ann, rows[i].of_user);
		authd_store_ready();
		ipc_send(R.front, M_MAIL, SID(1), &m);
		v = &next(R.front, M_VERDICT, SID(1))->verdict;
		assert_true(v->allow);
		assert_int_equal(v->priority, rows[i].got);
		queued_grant(SID(1), R.ann, "ann", "PLAIN");
		o = &queued(M_ENVELOPE, SID(1))->envelope.opt;
		assert_int_equal(o->priority, rows[i].got);
		assert_int_equal(o->body, BODY_BINARYMIME);
		assert_int_equal(o->utf8, 1);
		assert_int_equal(o->require_tls, 1);
		assert_int_equal(o->ret, RET_HDRS);
		assert_int_equal(o->by_mode, BY_NOTIFY);
		assert_int_equal(o->by_trace, 1);
		assert_int_equal(o->by_ms, 60000);
		assert_int_equal(o->hold_ms, 50000);
		assert_string_equal(o->envid, "a+2Bb");
	}
}

/* RFC 4954 section 5: who it was is for a user to say of himself only. */
static void
auth_of_mail(void **state)
{
	static const struct {
		const char *said, *believed;
	} rows[] = { { "", "" }, { "ann@example.org", "ann@example.org" },
		{ "ANN@example.org", "ANN@example.org" },
		{ "+61nn@example.org", "+61nn@example.org" },
		{ "bob@example.org", "" }, { "ann", "" }, { "+zz", "" } };
	struct m_mail m = { .from = "ann@example.org" };
	const struct m_verdict *v;
	size_t i;

	(void)state;
	come(SID(1));
	assert_int_equal(plain(SID(1), "ann", "pencil"), R_AUTH_OK);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		m.txn = (uint32_t)i + 1;
		m.opt.auth = rows[i].said;
		ipc_send(R.front, M_MAIL, SID(1), &m);
		v = &next(R.front, M_VERDICT, SID(1))->verdict;
		assert_true(v->allow);
		queued_grant(SID(1), R.ann, "ann", "PLAIN");
		assert_string_equal(
		    queued(M_ENVELOPE, SID(1))->envelope.opt.auth,
		    rows[i].believed);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(facts_of_sessions),
		TEST(mechanisms_by_port),
		TEST(login_and_mail),
		TEST(options_go_to_queue),
		TEST(auth_of_mail),
		TEST(nobody_is_refused),
		TEST(replies_to_auth),
		TEST(steps_of_auth),
		TEST(failures_wait),
		TEST(certificate_logs_in_by_itself),
		TEST(external),
		TEST(states_and_policies),
		TEST(a_changed_password_counts_at_once),
		TEST(an_early_timer_is_no_answer),
		TEST(old_records_are_made_anew),
		TEST(transition),
		TEST(password_of_a_device),
		TEST(revoked_certificate_ends_sessions),
		TEST(requirement_on_tls),
		TEST(relay_by_the_map),
		TEST(history_is_told),
		TEST(features_of_a_client),
		TEST(authors_of_a_header),
		TEST(senders_of_the_map),
		TEST(priorities_of_the_map),
		TEST(thrown_away_and_held),
		TEST(queue_goes_away),
		TEST(foreign_sessions),
		TEST(unknown_sessions),
		TEST(facts_again),
		TEST(a_writer_was_killed),
		TEST(drains_when_sessions_end),
		TEST(pam_judges),
		TEST(pam_is_not_asked),
		TEST(pam_goes_away),
		TEST(queue_hears_of_logins),
		TEST(queue_refuses),
		TEST(refusals_take_as_long_as_failures),
		TEST(scram_is_refused_before_its_challenge),
		TEST(queue_slows_down),
		TEST(asks_again),
		TEST(its_turn_comes),
		TEST(its_turn_comes_late),
		TEST(no_auth_without_tls),
		TEST(changes_while_it_is_held),
		TEST(lines_while_it_is_held),
		TEST(queue_does_not_answer),
		TEST(queue_hears_of_certificates),
		TEST(no_store_no_start),
		TEST(relays_are_told),
		TEST(relays_ask),
	};

	signal(SIGPIPE, SIG_IGN);
	log_open("auth", 1, LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
