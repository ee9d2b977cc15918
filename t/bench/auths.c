/*
 * auths.c: how many logins one auth process judges in a second of one core's
 * time.
 *
 *	auths [USERS [ROUNDS]]
 *
 * A real auth role runs in a child, on a user store of USERS (default 200) made
 * for it, with records of the default work; this process plays front and queue
 * over the same socket pairs as in the server, with several logins under way
 * at a time. What is printed is the child's own time (user and system), so that
 * this process's share does not count. Nothing is asserted.
 *
 *	PLAIN, first	each user's first login: a record is checked
 *	PLAIN, cached	ROUNDS (default 50) more: the password is remembered
 *	PLAIN, wrong	wrong passwords, each for the first time
 *	SCRAM-SHA-256	both steps; the client's work is done before
 */
#include <sys/resource.h>
#include <sys/wait.h>

#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auth/scram.h"
#include "store/db.h"
#include "store/user.h"
#include "submitd/base64.h"
#include "submitd/log.h"
#include "submitd/mem.h"
#include "submitd/role.h"
#include "submitd/smtp_reply.h"

enum { FRONT = 7, UNDER_WAY = 16, USERS_MAX = 100000 };
#define PASSWORD "benchmark password"
#define NONCE    "0123456789abcdefghijkl"

static struct {
	char dir[64], db[96];
	unsigned users;
	unsigned char salted[SHA256_DIGEST_LENGTH];
	unsigned char salt[64];
	size_t salt_len;
	pid_t child;
	struct event_base *base;
	struct ipc *front, *queue;

	/* one measurement */
	const char *mech, *password;
	unsigned long begun, done, want, failed;
	enum smtp_reply expect;
} B;

static void
die(const char *what)
{
	fprintf(stderr, "auths: %s\n", what);
	exit(1);
}

/* ---- the store ---- */

/* All users have one record: making them is not what is measured. */
static void
make_store(void)
{
	char text[SCRAM_RECORD_MAX], name[32];
	const struct store_record r = { STORE_CRED_SCRAM_SHA_256, text };
	struct scram_record record;
	struct store *st;
	int64_t id;
	unsigned i;

	snprintf(B.dir, sizeof(B.dir), "/tmp/auths.XXXXXX");
	if (mkdtemp(B.dir) == NULL)
		die("no directory");
	snprintf(B.db, sizeof(B.db), "%s/users.db", B.dir);
	if (scram_record_make(PASSWORD, strlen(PASSWORD), SCRAM_SHA_256,
		SCRAM_ITER_DEFAULT, text, sizeof(text)) == -1 ||
	    scram_record_parse(text, &record) != SCRAM_OK ||
	    store_open(B.db, STORE_CREATE, &st) != STORE_OK ||
	    store_begin(st) != STORE_OK)
		die("no store");
	for (i = 0; i < B.users; i++) {
		snprintf(name, sizeof(name), "user%u", i);
		if (store_user_add(st, name, &id) != STORE_OK ||
		    store_password_set(st, id, &r, 1) != STORE_OK)
			die(store_errtext(st));
	}
	if (store_commit(st) != STORE_OK)
		die(store_errtext(st));
	store_close(&st);
	memcpy(B.salt, record.salt, record.salt_len);
	B.salt_len = record.salt_len;
	PKCS5_PBKDF2_HMAC(PASSWORD, (int)strlen(PASSWORD), B.salt,
	    (int)B.salt_len, SCRAM_ITER_DEFAULT, EVP_sha256(), sizeof(B.salted),
	    B.salted);
}

/* ---- the child: the auth role ---- */

static const struct ipc_rule no_rules[] = { { 0, NULL } };

static void
child_gone(struct ipc *p, const char *why)
{
	(void)p, (void)why;
	_exit(0);
}

static void
run_role(int parent, int front, int queue)
{
	static struct role_setup setup;
	char err[256] = "";

	log_open("auth", 1, LOG_WARNING);
	conf_init(&setup.conf);
	free(setup.conf.users_db);
	setup.conf.users_db = xstrdup(B.db);
	setup.conf.auth_fail_delay = 0;
	setup.base = event_base_new();
	setup.parent = ipc_new(setup.base, parent, no_rules, child_gone, NULL);
	if (auth_ops.preload(&setup, err, sizeof(err)) == -1 ||
	    auth_ops.start(&setup, err, sizeof(err)) == -1)
		die(err);
	auth_ops.peer(&setup, ROLE_QUEUE, 3, queue);
	auth_ops.peer(&setup, ROLE_FRONT, FRONT, front);
	event_base_dispatch(setup.base);
	_exit(0);
}

/* ---- here: front and queue ---- */

static uint64_t
sid_of(unsigned long n)
{
	return (uint64_t)FRONT << SID_COUNTER_BITS | (n + 1);
}

static void
begin_one(void)
{
	const uint64_t sid = sid_of(B.begun);
	struct m_session s = { .client_addr = "192.0.2.7",
		.client_name = "",
		.resolve = RESOLVE_FAIL,
		.server_addr = "192.0.2.1",
		.helo = "",
		.tls_version = "TLSv1.3",
		.tls_cipher = "TLS_AES_256_GCM_SHA384",
		.tls_bits = 256 };
	unsigned user = (unsigned)(B.begun % B.users);
	char text[256];
	struct m_auth_start m = { .mech = B.mech,
		.has_initial = 1,
		.data.p = text,
		.helo = "bench" };

	if (strcmp(B.mech, "PLAIN") == 0)
		m.data.len = (size_t)snprintf(
		    text, sizeof(text), "%cuser%u%c%s", 0, user, 0, B.password);
	else
		m.data.len = (size_t)snprintf(
		    text, sizeof(text), "n,,n=user%u,r=" NONCE, user);
	B.begun++;
	ipc_send(B.front, M_SESSION, sid, &s);
	ipc_send(B.front, M_AUTH_START, sid, &m);
}

static void
hmac(const unsigned char *key, const char *text, unsigned char out[32])
{
	HMAC(EVP_sha256(), key, 32, (const unsigned char *)text, strlen(text),
	    out, NULL);
}

/* RFC 5802 section 3, from the salted password on. */
static void
prove(uint64_t sid, const char *first, size_t len)
{
	unsigned user = (unsigned)(((sid & ((1ull << 40) - 1)) - 1) % B.users);
	unsigned char client[32], stored[32], signature[32];
	char whole[1024], final[512], proof[64];
	struct m_auth_step m = { .data.p = final };
	const char *comma = memchr(first, ',', len);
	int i, bare = comma != NULL ? (int)(comma - first) : 0;

	snprintf(final, sizeof(final), "c=biws,%.*s", bare, first);
	snprintf(whole, sizeof(whole), "n=user%u,r=" NONCE ",%.*s,%s", user,
	    (int)len, first, final);
	hmac(B.salted, "Client Key", client);
	SHA256(client, sizeof(client), stored);
	hmac(stored, whole, signature);
	for (i = 0; i < 32; i++)
		client[i] ^= signature[i];
	base64_encode(client, sizeof(client), proof, sizeof(proof));
	i = (int)strlen(final);
	m.data.len = (size_t)i +
	    (size_t)snprintf(
		final + i, sizeof(final) - (size_t)i, ",p=%s", proof);
	ipc_send(B.front, M_AUTH_STEP, sid, &m);
}

static void
on_challenge(struct ipc *p, const struct ipc_in *in)
{
	const struct blob *b = &in->m->auth_challenge.data;
	const struct m_auth_step empty = { .data = { "", 0 } };

	(void)p;
	if (b->len > 2 && memcmp(b->p, "r=", 2) == 0)
		prove(in->sid, b->p, b->len);
	else /* the server's own proof */
		ipc_send(B.front, M_AUTH_STEP, in->sid, &empty);
}

static void
on_result(struct ipc *p, const struct ipc_in *in)
{
	(void)p;
	B.failed += in->m->auth_result.reply != B.expect;
	ipc_send(B.front, M_SESSION_CLOSE, in->sid, NULL);
	if (++B.done == B.want)
		event_base_loopbreak(B.base);
	else if (B.begun < B.want)
		begin_one();
}

static void
on_facts(struct ipc *p, const struct ipc_in *in)
{
	(void)p, (void)in;
}

static const struct ipc_rule front_rules[] = {
	{ M_SESSION_FACTS, on_facts },
	{ M_AUTH_CHALLENGE, on_challenge },
	{ M_AUTH_RESULT, on_result },
	{ 0, NULL },
};

static void
answer(struct ipc *p, uint64_t sid, uint32_t ticket)
{
	const struct m_throttle_answer m = { .ticket = ticket };

	ipc_send(p, M_THROTTLE_ANSWER, sid, &m);
}

static void
on_ask(struct ipc *p, const struct ipc_in *in)
{
	answer(p, in->sid, in->m->throttle_ask.ticket);
}

static void
on_seen(struct ipc *p, const struct ipc_in *in)
{
	answer(p, in->sid, in->m->auth_seen.ticket);
}

static void
on_decision(struct ipc *p, const struct ipc_in *in)
{
	(void)p, (void)in;
}

static const struct ipc_rule queue_rules[] = {
	{ M_DECISION, on_decision },
	{ M_THROTTLE_ASK, on_ask },
	{ M_AUTH_SEEN, on_seen },
	{ 0, NULL },
};

static void
gone(struct ipc *p, const char *why)
{
	(void)p;
	die(why);
}

static void
start_role(int *parent)
{
	int p[2], f[2], q[2];

	if (ipc_pair(p) == -1 || ipc_pair(f) == -1 || ipc_pair(q) == -1)
		die("no sockets");
	if ((B.child = fork()) == 0) {
		close(p[1]), close(f[1]), close(q[1]);
		run_role(p[0], f[0], q[0]);
	}
	close(p[0]), close(f[0]), close(q[0]);
	*parent = p[1];
	B.base = event_base_new();
	B.front = ipc_new(B.base, f[1], front_rules, gone, NULL);
	B.queue = ipc_new(B.base, q[1], queue_rules, gone, NULL);
}

/* ---- measuring ---- */

/* The child's own time so far, in seconds. */
static double
child_time(void)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(B.child, &clock) != 0 ||
	    clock_gettime(clock, &ts) == -1)
		die("no clock of the child");
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
measure(const char *name, const char *mech, const char *password,
    enum smtp_reply expect, unsigned long n)
{
	double began = child_time(), took;
	unsigned i;

	B.mech = mech;
	B.password = password;
	B.expect = expect;
	B.begun = B.done = B.failed = 0;
	B.want = n;
	for (i = 0; i < UNDER_WAY && B.begun < n; i++)
		begin_one();
	event_base_dispatch(B.base);
	took = child_time() - began;
	printf("%-16s %8lu logins %10.0f us each %10.0f a second and core",
	    name, n, took / (double)n * 1e6, (double)n / took);
	if (B.failed > 0)
		printf("  (%lu unexpected replies)", B.failed);
	putchar('\n');
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 50;
	char journal[128];
	int parent, status;

	B.users = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 200;
	if (B.users == 0 || B.users > USERS_MAX || rounds == 0)
		die("usage: auths [USERS [ROUNDS]]");
	signal(SIGPIPE, SIG_IGN);
	make_store();
	start_role(&parent);
	measure("PLAIN, first", "PLAIN", PASSWORD, R_AUTH_OK, B.users);
	measure(
	    "PLAIN, cached", "PLAIN", PASSWORD, R_AUTH_OK, B.users * rounds);
	measure("PLAIN, wrong", "PLAIN", "wrong", R_AUTH_BAD, B.users);
	measure("SCRAM-SHA-256", "SCRAM-SHA-256", NULL, R_AUTH_OK,
	    B.users * rounds);
	close(parent);
	waitpid(B.child, &status, 0);
	snprintf(journal, sizeof(journal), "%s-journal", B.db);
	unlink(journal);
	unlink(B.db);
	return rmdir(B.dir) == 0 ? 0 : 1;
}
