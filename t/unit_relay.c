/*
 * Tests of the relay role: submitd/relay*.c run in a child process as they
 * run in the server, this program plays queue, resolver and auth over socket
 * pairs, and t/lib/smarthost.py is the smarthost on loopback.
 *
 * After every scenario the smarthost's record is read: nothing but EHLO and
 * STARTTLS may have been said in clear, and no rule of SMTP broken.
 */
#include <sys/prctl.h>
#include <sys/wait.h>

#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "submitd/ipc.h"
#include "submitd/log.h"
#include "submitd/mem.h"
#include "submitd/role.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BODY     "Subject: test\r\n\r\n.dot\r\n..\r\nend\r\n"
#define HIGH     "Subject: caf\xe9\r\n\r\n"

enum { GUARD_S = 60, ARGS = 24 };

/* ---- the relay in its child ---- */

struct options {
	const char *host;  /* NULL: 127.0.0.1 */
	const char *addrs; /* what the resolver says; NULL: it is silent */
	enum resolve_status resolved;
	bool implicit, client_cert;
	const char *user, *password;
	int64_t timeout_ms, connections;

	/* auth: the kinds of entries it tells of, and what it says */
	enum {
		AUTH_ANSWERS,
		AUTH_AWAY,
		AUTH_SILENT,
		AUTH_DIES,
		AUTH_KILLS
	} auth;
	unsigned kinds;
	enum server_verdict on_try, on_tls, on_rcpt[2];
};

static pid_t relay_pid, host_pid;
static struct role_setup self;
static const char *answer_addrs;
static enum resolve_status answer_status;

void
role_leave(struct role_setup *s)
{
	event_base_loopbreak(s->base);
}

static void
on_resolve(struct ipc *p, const struct ipc_in *in)
{
	struct m_resolved m = { .id = in->m->resolve.id,
		.status = (uint8_t)answer_status,
		.name = "",
		.addrs = answer_addrs,
		.detail = "as the test says" };

	ipc_send(p, M_RESOLVED, 0, &m);
}

static void
on_gone(struct ipc *p, const char *why)
{
	(void)p, (void)why;
}

static const struct ipc_rule resolver_side[] = {
	{ M_RESOLVE, on_resolve },
	{ 0, NULL },
};

static const struct options *opt;
static struct m_server_tls last; /* its strings are not kept */
static void new_auth(void);

/* What relay passes on; it does not look at it. */
#define RULED "what auth tells queue"

static void
say_verdict(struct ipc *p, uint64_t id, uint32_t n, enum server_verdict verdict)
{
	static const char *const esc[] = { "", "4.7.0", "5.7.0", "4.3.0" };
	struct m_server_verdict m = { .id = id,
		.n = n,
		.verdict = (uint8_t)verdict,
		.esc = esc[verdict],
		.text = verdict == SERVER_GO ? "" : "as auth says",
		.ruled = verdict == SERVER_GO ? "" : RULED };

	ipc_send(p, M_SERVER_VERDICT, 0, &m);
}

/* The facts must be there when they should. */
static bool
are_facts(const struct m_server_tls *m)
{
	bool tls = m->ask != SERVER_ASK_TRY;

	return m->id > last.id && m->host[0] != '\0' && m->addr[0] != '\0' &&
	    strcmp(m->verify, tls ? "OK" : "") == 0 &&
	    (m->tls_bits >= 128) == tls && (m->chain.len > 100) == tls;
}

static void
on_server_tls(struct ipc *p, const struct ipc_in *in)
{
	const struct m_server_tls *m = &in->m->server_tls;
	static bool died;

	if (opt->auth == AUTH_DIES && !died) {
		died = true;
		ipc_free(&p);
		new_auth();
		return;
	}
	if (opt->auth == AUTH_KILLS && m->ask == SERVER_ASK_RCPT)
		kill(host_pid, SIGTERM);
	if (opt->auth == AUTH_SILENT || opt->auth == AUTH_KILLS)
		return;
	if (!are_facts(m) && opt->auth != AUTH_DIES)
		exit(4);
	last = *m;
	if (m->ask == SERVER_ASK_TRY)
		say_verdict(p, m->id, 0, opt->on_try);
	else if (m->ask == SERVER_ASK_TLS)
		say_verdict(p, m->id, 0, opt->on_tls);
}

static void
on_server_rcpt(struct ipc *p, const struct ipc_in *in)
{
	const struct m_server_rcpt *m = &in->m->server_rcpt;
	char to[32];

	snprintf(to, sizeof(to), "r%u@x.test", m->n);
	if (opt->auth == AUTH_SILENT || opt->auth == AUTH_KILLS)
		return;
	if (m->id != last.id || m->n > 1 || strcmp(m->to, to) != 0)
		exit(5);
	say_verdict(p, m->id, m->n, opt->on_rcpt[m->n]);
}

static const struct ipc_rule auth_side[] = {
	{ M_SERVER_TLS, on_server_tls },
	{ M_SERVER_RCPT, on_server_rcpt },
	{ 0, NULL },
};

static struct ipc *auth;

static void
say_rules(uint64_t mark)
{
	struct m_server_rules m = { .kinds = (uint8_t)opt->kinds,
		.mark = mark };

	ipc_send(auth, M_SERVER_RULES, 0, &m);
}

static void
new_auth(void)
{
	int fd[2];

	if (ipc_pair(fd) == -1)
		exit(6);
	auth = ipc_new(self.base, fd[0], auth_side, on_gone, NULL);
	relay_ops.peer(&self, ROLE_AUTH, 1, fd[1]);
	say_rules(1);
}

/* One byte of the test: 'd' drains, 'm' is another access map, anything else a
 * new queue. */
static void
on_control(evutil_socket_t fd, short what, void *arg)
{
	const int *queue = arg;
	char c;

	(void)what;
	if (read(fd, &c, 1) != 1)
		exit(3);
	if (c == 'd')
		relay_ops.drain(&self);
	else if (c == 'm')
		say_rules(2);
	else
		relay_ops.peer(&self, ROLE_QUEUE, 2, queue[1]);
}

static void
read_file(const char *path, struct buf *out)
{
	char piece[4096];
	size_t n;
	FILE *fp = fopen(path, "rb");

	if (fp == NULL)
		return;
	while ((n = fread(piece, 1, sizeof(piece), fp)) > 0)
		buf_add(out, piece, n);
	fclose(fp);
}

static char *dir; /* of this program's files */

static void
read_cert(const char *name, enum pem_kind kind)
{
	char *path = xasprintf("%s/certs/%s", dir, name);

	read_file(path, &self.pem[kind]);
	free(path);
}

static char *
copy(const char *s)
{
	return xstrdup(s != NULL ? s : "");
}

static void
configure(const struct options *o, int port)
{
	self.conf.hostname = copy("me.test");
	self.conf.smarthost_host =
	    copy(o->host != NULL ? o->host : "127.0.0.1");
	self.conf.smarthost_port = port;
	self.conf.smarthost_tls =
	    o->implicit ? SMARTHOST_IMPLICIT : SMARTHOST_STARTTLS;
	self.conf.smarthost_user = copy(o->user);
	self.conf.smarthost_client_cert = o->client_cert;
	self.conf.smarthost_connections =
	    o->connections > 0 ? o->connections : 4;
	self.conf.smarthost_timeout =
	    o->timeout_ms > 0 ? o->timeout_ms : GUARD_S * 1000;
	if (o->password != NULL)
		buf_add(&self.pem[PEM_SMARTHOST_PASSWORD], o->password,
		    strlen(o->password));
	read_cert("ca.pem", PEM_SMARTHOST_CA);
	read_cert("client.pem", PEM_CLIENT_CERT);
	read_cert("client.key", PEM_CLIENT_KEY);
}

static int
run_relay(const struct options *o, int port, int control, int queue[2])
{
	struct event_config *cfg = event_config_new();
	struct event *ev;
	struct ipc *res;
	char err[256];
	int fd[2], i;

	alarm(GUARD_S);
	log_open(
	    "relay", 1, getenv("UNIT_RELAY_LOG") != NULL ? LOG_DEBUG : LOG_ERR);
	signal(SIGPIPE, SIG_IGN);
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	self.base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	configure(o, port);
	if (relay_ops.preload(&self, err, sizeof(err)) == -1 ||
	    relay_ops.start(&self, err, sizeof(err)) == -1)
		return 2;
	for (i = 0; i < PEM_KIND_COUNT; i++)
		buf_wipe(&self.pem[i]);
	ev = event_new(
	    self.base, control, EV_READ | EV_PERSIST, on_control, queue);
	event_add(ev, NULL);
	relay_ops.peer(&self, ROLE_QUEUE, 1, queue[0]);
	opt = o;
	if (o->auth != AUTH_AWAY)
		new_auth();
	if (o->addrs != NULL && ipc_pair(fd) == 0) {
		answer_addrs = o->addrs;
		answer_status = o->resolved;
		res = ipc_new(self.base, fd[0], resolver_side, on_gone, NULL);
		relay_ops.peer(&self, ROLE_RESOLVER, 1, fd[1]);
		(void)res;
	}
	event_base_dispatch(self.base);
	return 0;
}

/* ---- the test's side ---- */

static int control;
static struct ipc *queue[2];
static char *host_dir;
static char results[65536]; /* one line each */
static char state[2048];    /* the last M_RELAY_STATE */
static unsigned max_connections, connections;
static size_t done;

/* Starts smarthost.py; returns its port. */
static int
start_host(const char *const *args)
{
	const char *src = getenv("srcdir");
	static int number;
	char script[512], line[128], certs[512];
	const char *argv[ARGS] = { "python3", script, "--dir", NULL, "--certs",
		certs, "--cert-name", "sh.test" };
	int out[2], port = 0, n = 8;
	FILE *fp;

	host_dir = xasprintf("%s/host-%d", dir, number++);
	argv[3] = host_dir;
	snprintf(script, sizeof(script), "%s/t/lib/smarthost.py",
	    src != NULL ? src : ".");
	snprintf(certs, sizeof(certs), "%s/certs", dir);
	while (*args != NULL && n < ARGS - 1)
		argv[n++] = *args++;
	assert_int_equal(pipe(out), 0);
	if ((host_pid = fork()) == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execvp("python3", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(out[1]);
	fp = fdopen(out[0], "r");
	if (fgets(line, sizeof(line), fp) == NULL ||
	    sscanf(line, "LISTENING %*s %d", &port) != 1)
		fail_msg("smarthost.py did not start");
	fclose(fp);
	return port;
}

static void
start_relay(const struct options *o, int port)
{
	static const struct ipc_rule none[] = { { 0, NULL } };
	int a[2], b[2], c[2], theirs[2], i;

	results[0] = state[0] = '\0';
	max_connections = 0;
	done = 0;
	assert_int_equal(ipc_pair(a), 0);
	assert_int_equal(ipc_pair(b), 0);
	assert_int_equal(pipe(c), 0);
	theirs[0] = a[0];
	theirs[1] = b[0];
	if ((relay_pid = fork()) == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(a[1]);
		close(b[1]);
		close(c[1]);
		exit(run_relay(o, port, c[0], theirs));
	}
	close(c[0]);
	control = c[1];
	for (i = 0; i < 2; i++)
		close(theirs[i]);
	queue[0] = ipc_new(NULL, a[1], none, on_gone, NULL);
	queue[1] = ipc_new(NULL, b[1], none, on_gone, NULL);
}

static void
tell_relay(char what)
{
	assert_int_equal(write(control, &what, 1), 1);
}

/* The relay, which was told, must leave by itself, with status 0. */
static void
await_relay(void)
{
	int status, i;

	assert_int_equal(waitpid(relay_pid, &status, 0), relay_pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the relay ended with status %#x", status);
	close(control);
	for (i = 0; i < 2; i++)
		ipc_free(&queue[i]);
}

static void
stop_relay(void)
{
	tell_relay('d');
	await_relay();
}

static bool
host_has(const char *name)
{
	char *path = xasprintf("%s/%s", host_dir, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

/* What was said in clear must be this and no more. */
static void
check_clear(const char *row)
{
	char *path = xasprintf("%s/heard.jsonl", host_dir), line[70000], *text;
	FILE *fp = fopen(path, "r");

	free(path);
	if (fp == NULL)
		return; /* nothing was heard */
	while (fgets(line, sizeof(line), fp) != NULL) {
		if (strstr(line, "\"tls\": false") == NULL)
			continue;
		text = strstr(line, "\"text\": \"");
		assert_non_null(text);
		text += strlen("\"text\": \"");
		if (strcmp(text, "EHLO me.test\\r\\n\"}\n") != 0 &&
		    strcmp(text, "STARTTLS\\r\\n\"}\n") != 0)
			fail_msg("%s: said in clear: %s", row, text);
	}
	fclose(fp);
}

static void
stop_host(const char *row)
{
	kill(host_pid, SIGTERM);
	assert_int_equal(waitpid(host_pid, NULL, 0), host_pid);
	if (host_has("violations"))
		fail_msg("%s: see %s/violations", row, host_dir);
	check_clear(row);
	free(host_dir);
	host_dir = NULL;
}

static void
check_message(const char *row, unsigned n, const void *want, size_t len)
{
	char *path = xasprintf("%s/msg-%06u.eml", host_dir, n);
	struct buf b = { 0 };

	read_file(path, &b);
	if (b.len != len || (len > 0 && memcmp(b.data, want, len) != 0))
		fail_msg("%s: %s is not what was sent", row, path);
	buf_clear(&b);
	free(path);
}

static void
send_job(struct ipc *q, uint64_t qid, size_t rcpts, enum body_kind kind,
    const void *body, size_t len, int fd, uint64_t size)
{
	struct m_job m = { .qid = qid,
		.from = "s@x.test",
		.opt.body = (uint8_t)kind,
		.size = size,
		.rcpts = (uint32_t)rcpts };
	struct m_job_body b = { .qid = qid, .body = { body, len } };
	struct m_job_rcpt r = { .qid = qid };
	char to[64];
	size_t i;

	assert_int_equal(ipc_send(q, M_JOB, 7, &m), 0);
	for (i = 0; i < rcpts; i++) {
		snprintf(to, sizeof(to), "r%zu@x.test", i);
		r.n = (uint32_t)(100 + i);
		r.to = to;
		assert_int_equal(ipc_send(q, M_JOB_RCPT, 7, &r), 0);
	}
	assert_int_equal(ipc_send_fd(q, M_JOB_BODY, 7, &b, fd), 0);
	assert_int_equal(ipc_flush_wait(q), 0);
}

static void
send_text(uint64_t qid, size_t rcpts, const char *body)
{
	send_job(queue[0], qid, rcpts, BODY_8BITMIME, body, strlen(body), -1,
	    strlen(body));
}

static void
note_result(const struct m_job_result *m)
{
	static const char *const kinds[] = { "delivered", "deferred",
		"failed" };
	static const char *const troubles[] = { "none", "reply", "connect",
		"dns", "tls", "auth", "local" };
	size_t len = strlen(results);

	assert_string_equal(
	    m->ruled, strstr(m->text, "as auth says") != NULL ? RULED : "");
	snprintf(results + len, sizeof(results) - len,
	    "%lu/%u %s %s %u %s %s\n", (unsigned long)m->qid, m->n,
	    kinds[m->result], troubles[m->trouble], m->code, m->esc, m->text);
}

/* Receives until n jobs are done. */
static void
wait_done(struct ipc *q, size_t n)
{
	struct ipc_in in;
	const char *why;

	while (done < n) {
		if (ipc_recv_wait(q, &in, &why) == -1)
			fail_msg("the relay is gone: %s", why);
		if (in.type == M_JOB_RESULT) {
			assert_int_equal(in.sid, 7);
			note_result(&in.m->job_result);
		} else if (in.type == M_JOB_DONE) {
			done++;
		} else if (in.type == M_RELAY_STATE) {
			snprintf(state, sizeof(state), "%s",
			    in.m->relay_state.up ? "up"
						 : in.m->relay_state.text);
			connections = in.m->relay_state.connections;
			if (connections > max_connections)
				max_connections = connections;
		} else {
			fail_msg("unexpected %s", proto_name(in.type));
		}
	}
}

/* ---- scenarios of one message to two recipients ---- */

static const struct scenario {
	const char *name;
	struct options o;
	const char *args[12];
	const char *body;
	const char *results; /* each line must begin with its line here */
	const char *state;   /* "up", or what the reason must hold */
	bool arrives;
} scenarios[] = {
	/* clang-format off */
	{ "STARTTLS, a group", { 0 }, { NULL }, BODY,
	    "1/100 delivered none 250 2.0.0 250 2.0.0 taken\n"
	    "1/101 delivered none 250 2.0.0 250 2.0.0 taken\n", "up", true },
	{ "TLS 1.2", { 0 }, { "--tls-max", "1.2" }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "implicit TLS", { .implicit = true }, { "--implicit" }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "step by step, byte by byte", { 0 },
	    { "--no-pipelining", "--trickle" }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "a name, IPv6 first, IPv4 answers",
	    { .host = "sh.test", .addrs = "::1 127.0.0.1" }, { NULL }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "IPv6", { .host = "::1" }, { "--addr", "::1" }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "AUTH PLAIN", { .user = "u", .password = "p\xc3\xa4ss w:rd" },
	    { "--auth", "u:p\xc3\xa4ss w:rd" }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "a client certificate", { .client_cert = true },
	    { "--client-ca", "CA", "--require-client-cert" }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "8-bit", { 0 }, { NULL }, HIGH,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "an empty message", { 0 }, { NULL }, "",
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "declared 8-bit but 7-bit, without 8BITMIME", { 0 },
	    { "--no-8bitmime" }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },

	/* the session is no good: all waits, nothing leaves */
	{ "wrong name", { 0 }, { "--cert-kind", "wrong-name" }, BODY,
	    "1/100 deferred tls 0 4.7.5 TLS to 127.0.0.1[127.0.0.1]:\n"
	    "1/101 deferred tls 0 4.7.5 TLS to 127.0.0.1[127.0.0.1]:\n",
	    "IP address mismatch", false },
	{ "wrong host name",
	    { .host = "sh.test", .addrs = "127.0.0.1" },
	    { "--cert-kind", "wrong-name" }, BODY,
	    "1/100 deferred tls 0 4.7.5 TLS to sh.test[127.0.0.1]:\n"
	    "1/101 deferred tls 0 4.7.5 TLS to sh.test[127.0.0.1]:\n",
	    "hostname mismatch", false },
	{ "the name as CN only", { .host = "sh.test", .addrs = "127.0.0.1" },
	    { "--cert-kind", "no-san" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    "hostname mismatch", false },
	{ "expired", { 0 }, { "--cert-kind", "expired" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    ": certificate has expired", false },
	{ "self-signed", { 0 }, { "--cert-kind", "self-signed" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    ": self-signed certificate", false },
	{ "a foreign CA", { 0 }, { "--cert-kind", "other-ca" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    ": unable to get local issuer certificate", false },
	{ "a bad certificate under implicit TLS", { .implicit = true },
	    { "--implicit", "--cert-kind", "expired" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    ": certificate has expired", false },
	{ "no STARTTLS", { 0 }, { "--no-starttls" }, BODY,
	    "1/100 deferred tls 0 4.7.4\n1/101 deferred tls 0 4.7.4\n",
	    "does not offer STARTTLS", false },
	{ "STARTTLS refused", { 0 }, { "--refuse", "starttls=554 5.7.1 no" },
	    BODY, "1/100 deferred tls 0 4.7.4\n1/101 deferred tls 0 4.7.4\n",
	    "refused STARTTLS: 554 5.7.1 no", false },
	{ "a reply injected behind 220", { 0 },
	    { "--inject", "250 CHEAT" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    "injected", false },
	{ "hung up in the handshake", { 0 }, { "--drop", "handshake" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    "closed the connection during the handshake", false },
	{ "silent in the handshake", { .timeout_ms = 1000 },
	    { "--hang", "handshake" }, BODY,
	    "1/100 deferred connect 0 4.4.2\n1/101 deferred connect 0 4.4.2\n",
	    "no answer in time while waiting for the TLS handshake", false },
	{ "no client certificate where one is demanded", { 0 },
	    { "--client-ca", "CA", "--require-client-cert" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    "certificate required", false },
	{ "greeting 554", { 0 }, { "--refuse", "connect=554 5.3.2 no" }, BODY,
	    "1/100 deferred connect 0 4.3.2\n"
	    "1/101 deferred connect 0 4.3.2\n",
	    "refused the connection: 554 5.3.2 no", false },
	{ "garbage as greeting", { 0 }, { "--refuse", "connect=hello" }, BODY,
	    "1/100 deferred connect 0 4.5.0\n"
	    "1/101 deferred connect 0 4.5.0\n",
	    "no SMTP reply came as the greeting", false },
	{ "garbage as reply to EHLO under TLS", { 0 },
	    { "--refuse", "ehlo-tls=hello" }, BODY,
	    "1/100 deferred connect 0 4.5.0\n"
	    "1/101 deferred connect 0 4.5.0\n",
	    "no SMTP reply came as the reply to EHLO", false },
	{ "a silent smarthost", { .timeout_ms = 1000 }, { "--hang", "connect" },
	    BODY,
	    "1/100 deferred connect 0 4.4.2\n1/101 deferred connect 0 4.4.2\n",
	    "no answer in time while waiting for the greeting", false },
	{ "EHLO refused under TLS", { 0 },
	    { "--refuse", "ehlo-tls=550 5.7.1 unknown host" }, BODY,
	    "1/100 deferred connect 0 4.3.2\n"
	    "1/101 deferred connect 0 4.3.2\n", "refused EHLO", false },
	{ "a wrong password", { .user = "u", .password = "wrong" },
	    { "--auth", "u:right" }, BODY,
	    "1/100 deferred auth 0 4.7.8\n1/101 deferred auth 0 4.7.8\n",
	    "refused the login: 535 5.7.8", false },
	{ "no AUTH offered", { .user = "u", .password = "p" }, { NULL }, BODY,
	    "1/100 deferred auth 0 4.7.4\n1/101 deferred auth 0 4.7.4\n",
	    "does not offer AUTH PLAIN", false },
	{ "no login where one is needed", { 0 }, { "--auth", "u:p" }, BODY,
	    "1/100 deferred auth 530 4.7.0\n1/101 deferred auth 530 4.7.0\n",
	    "up", false },
	{ "the name does not resolve",
	    { .host = "sh.test", .addrs = "", .resolved = RESOLVE_FAIL },
	    { NULL }, BODY,
	    "1/100 deferred dns 0 4.4.3 the address of sh.test\n"
	    "1/101 deferred dns 0 4.4.3 the address of sh.test\n",
	    "as the test says", false },
	{ "the gravest reason of several addresses",
	    { .host = "sh.test", .addrs = "127.0.0.1 ::1" },
	    { "--cert-kind", "expired" }, BODY,
	    "1/100 deferred tls 0 4.7.5\n1/101 deferred tls 0 4.7.5\n",
	    "sh.test[127.0.0.1]", false },

	/* the access map */
	{ "no entries: auth is not asked",
	    { .auth = AUTH_SILENT, .kinds = 0 }, { NULL }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "entries of all kinds, all met", { .kinds = SERVER_RULES },
	    { NULL }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "entries of all kinds, implicit TLS",
	    { .kinds = SERVER_RULES, .implicit = true }, { "--implicit" },
	    BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "a worker dies: another is asked",
	    { .kinds = SERVER_RULES, .auth = AUTH_DIES }, { NULL }, BODY,
	    "1/100 delivered none 250\n1/101 delivered none 250\n", "up",
	    true },
	{ "Try_TLS says no",
	    { .kinds = SERVER_RULE_TRY, .on_try = SERVER_WAIT }, { NULL },
	    BODY,
	    "1/100 deferred tls 0 4.7.0 TLS to 127.0.0.1[127.0.0.1]:\n"
	    "1/101 deferred tls 0 4.7.0\n", ": as auth says", false },
	{ "TLS_Srv is not met",
	    { .kinds = SERVER_RULE_TLS, .on_tls = SERVER_WAIT }, { NULL },
	    BODY,
	    "1/100 deferred tls 0 4.7.0 TLS to 127.0.0.1[127.0.0.1]:\n"
	    "1/101 deferred tls 0 4.7.0\n", ": as auth says", false },
	{ "TLS_Srv is not met under implicit TLS",
	    { .kinds = SERVER_RULE_TLS, .on_tls = SERVER_WAIT,
		.implicit = true }, { "--implicit" }, BODY,
	    "1/100 deferred tls 0 4.7.0\n1/101 deferred tls 0 4.7.0\n",
	    ": as auth says", false },
	{ "TLS_Srv is not met, PERM+",
	    { .kinds = SERVER_RULE_TLS, .on_tls = SERVER_FAIL }, { NULL },
	    BODY,
	    "1/100 failed tls 0 5.7.0 TLS to 127.0.0.1[127.0.0.1]:\n"
	    "1/101 failed tls 0 5.7.0\n", "", false },
	{ "PERM+ at one address, nobody at the other",
	    { .host = "sh.test", .addrs = "127.0.0.1 ::1",
		.kinds = SERVER_RULE_TLS, .on_tls = SERVER_FAIL }, { NULL },
	    BODY,
	    "1/100 failed tls 0 5.7.0 TLS to sh.test[127.0.0.1]:\n"
	    "1/101 failed tls 0 5.7.0\n", "", false },
	{ "TLS_Rcpt of one is not met",
	    { .kinds = SERVER_RULE_RCPT, .on_rcpt = { SERVER_WAIT } },
	    { NULL }, BODY,
	    "1/100 deferred tls 0 4.7.0 as auth says\n"
	    "1/101 delivered none 250\n", "up", true },
	{ "TLS_Rcpt of one is not met, PERM+",
	    { .kinds = SERVER_RULE_RCPT,
		.on_rcpt = { SERVER_GO, SERVER_FAIL } }, { NULL }, BODY,
	    "1/101 failed tls 0 5.7.0 as auth says\n"
	    "1/100 delivered none 250\n", "up", true },
	{ "TLS_Rcpt of both is not met",
	    { .kinds = SERVER_RULE_RCPT,
		.on_rcpt = { SERVER_FAIL, SERVER_WAIT } }, { NULL }, BODY,
	    "1/100 failed tls 0 5.7.0\n1/101 deferred tls 0 4.7.0\n", "up",
	    false },
	{ "the map can't be read for a recipient",
	    { .kinds = SERVER_RULE_RCPT, .on_rcpt = { SERVER_UNKNOWN } },
	    { NULL }, BODY,
	    "1/100 deferred local 0 4.3.0 as auth says\n"
	    "1/101 delivered none 250\n", "up", true },
	{ "the map can't be read",
	    { .kinds = SERVER_RULE_TRY, .on_try = SERVER_UNKNOWN }, { NULL },
	    BODY,
	    "1/100 deferred local 0 4.3.0\n1/101 deferred local 0 4.3.0\n",
	    "as auth says", false },
	{ "auth is silent",
	    { .kinds = SERVER_RULE_TLS, .auth = AUTH_SILENT,
		.timeout_ms = 1000 }, { NULL }, BODY,
	    "1/100 deferred local 0 4.3.0\n1/101 deferred local 0 4.3.0\n",
	    "no answer from auth", false },
	{ "auth is silent about recipients",
	    { .kinds = SERVER_RULE_RCPT, .auth = AUTH_SILENT,
		.timeout_ms = 1000 }, { NULL }, BODY,
	    "1/100 deferred local 0 4.3.0 the access map can't be asked: no\n"
	    "1/101 deferred local 0 4.3.0 the access map can't be asked: no\n",
	    "up", false },
	{ "auth is away", { .auth = AUTH_AWAY, .timeout_ms = 1000 },
	    { NULL }, BODY,
	    "1/100 deferred local 0 4.3.0\n1/101 deferred local 0 4.3.0\n",
	    "no auth worker", false },

	/* this message is no good */
	{ "one recipient refused", { 0 },
	    { "--refuse", "rcpt:r0@x.test=550 5.1.1 who" }, BODY,
	    "1/100 failed reply 550 5.1.1 550 5.1.1 who\n"
	    "1/101 delivered none 250\n", "up", true },
	{ "all recipients refused, 354 nevertheless", { 0 },
	    { "--refuse", "rcpt=550 5.1.1 who", "--data-without-rcpt" }, BODY,
	    "1/100 failed reply 550 5.1.1\n1/101 failed reply 550 5.1.1\n",
	    "up", false },
	{ "the sender refused", { 0 },
	    { "--refuse", "mail=553 5.1.8 no" }, BODY,
	    "1/100 failed reply 553 5.1.8\n1/101 failed reply 553 5.1.8\n",
	    "up", false },
	{ "deferred at the dot", { 0 },
	    { "--refuse", "dot=452 4.3.1 full" }, BODY,
	    "1/100 deferred reply 452 4.3.1\n1/101 deferred reply 452 4.3.1\n",
	    "up", false },
	{ "refused at the dot", { 0 },
	    { "--refuse", "dot=554 5.6.0 spam" }, BODY,
	    "1/100 failed reply 554 5.6.0\n1/101 failed reply 554 5.6.0\n",
	    "up", false },
	{ "421 at MAIL of a new connection", { 0 },
	    { "--refuse", "mail/1=421 4.3.2 later" }, BODY,
	    "1/100 deferred reply 0 4.3.2\n1/101 deferred reply 0 4.3.2\n",
	    "up", false },
	{ "lost after the dot", { 0 }, { "--drop", "dot" }, BODY,
	    "1/100 deferred connect 0 4.4.2 the smarthost closed\n"
	    "1/101 deferred connect 0 4.4.2 the smarthost closed\n",
	    "up", true },
	{ "silent after the dot", { .timeout_ms = 1000 }, { "--hang", "dot" },
	    BODY,
	    "1/100 deferred connect 0 4.4.2 no answer in time\n"
	    "1/101 deferred connect 0 4.4.2 no answer in time\n",
	    "up", true },
	{ "larger than SIZE", { 0 }, { "--size", "10" }, BODY,
	    "1/100 failed reply 0 5.3.4\n1/101 failed reply 0 5.3.4\n", "up",
	    false },
	{ "8-bit without 8BITMIME", { 0 }, { "--no-8bitmime" }, HIGH,
	    "1/100 failed reply 0 5.6.3\n1/101 failed reply 0 5.6.3\n", "up",
	    false },
	/* clang-format on */
};

/* Each line of results begins with the line of want at the same place. */
static void
check_results(const char *row, const char *want)
{
	const char *r = results, *w;
	size_t n;

	for (w = want; *w != '\0'; w += n + 1) {
		n = strcspn(w, "\n");
		if (strncmp(r, w, n) != 0)
			fail_msg("%s: got\n%sexpected\n%s", row, results, want);
		r += strcspn(r, "\n") + 1;
	}
	if (*r != '\0')
		fail_msg("%s: too many results\n%s", row, results);
}

static void
one_scenario(const struct scenario *s)
{
	const char *args[COUNT(s->args) + 1] = { NULL };
	char *ca = xasprintf("%s/certs/ca.pem", dir);
	size_t i;

	for (i = 0; s->args[i] != NULL; i++)
		args[i] = strcmp(s->args[i], "CA") == 0 ? ca : s->args[i];
	start_relay(&s->o, start_host(args));
	free(ca);
	send_text(1, 2, s->body);
	wait_done(queue[0], 1);
	check_results(s->name, s->results);
	if (strstr(state, s->state) == NULL)
		fail_msg("%s: state \"%s\"", s->name, state);
	stop_relay();
	if (s->arrives)
		check_message(s->name, 1, s->body, strlen(s->body));
	if (host_has(s->arrives ? "msg-000002.eml" : "msg-000001.eml"))
		fail_msg("%s: arrived, or twice", s->name);
	stop_host(s->name);
}

static void
one_message(void **st)
{
	size_t i;

	(void)st;
	for (i = 0; i < COUNT(scenarios); i++)
		one_scenario(&scenarios[i]);
}

/* ---- more than one message ---- */

static const char *const no_args[] = { NULL };

static void
many_messages(void **st)
{
	struct options o = { .connections = 3 };
	char text[64], name[32], want[64];
	unsigned i;

	(void)st;
	start_relay(&o, start_host(no_args));
	for (i = 1; i <= 60; i++) {
		snprintf(text, sizeof(text), "X: %u\r\n\r\n", i);
		send_text(i, 1, text);
	}
	wait_done(queue[0], 60);
	for (i = 1; i <= 60; i++) {
		snprintf(want, sizeof(want), "%u/100 delivered", i);
		assert_non_null(strstr(results, want));
	}
	assert_true(max_connections >= 1 && max_connections <= 3);
	stop_relay();
	assert_true(host_has("msg-000060.eml"));
	/* so few connections that they must have been used again */
	snprintf(name, sizeof(name), "raw-%d.bin", 4);
	assert_true(host_has("raw-1.bin"));
	assert_false(host_has(name));
	stop_host("many messages");
}

/* A connection that another access map allowed gets no more messages. */
static void
map_changes(void **st)
{
	struct options o = { .kinds = SERVER_RULE_TLS };
	struct ipc_in in;
	const char *why;

	(void)st;
	start_relay(&o, start_host(no_args));
	send_text(1, 1, BODY);
	wait_done(queue[0], 1);
	tell_relay('m');
	while (connections > 0) {
		assert_int_equal(ipc_recv_wait(queue[0], &in, &why), 0);
		assert_int_equal(in.type, M_RELAY_STATE);
		connections = in.m->relay_state.connections;
	}
	send_text(2, 1, BODY);
	wait_done(queue[0], 2);
	check_results("another map",
	    "1/100 delivered none 250\n2/100 delivered none 250\n");
	stop_relay();
	assert_true(host_has("raw-2.bin"));
	assert_false(host_has("raw-3.bin"));
	stop_host("another map");
}

/* The smarthost goes while auth thinks: the message is tried elsewhere. */
static void
host_goes(void **st)
{
	struct options o = { .kinds = SERVER_RULE_RCPT, .auth = AUTH_KILLS };

	(void)st;
	start_relay(&o, start_host(no_args));
	send_text(1, 2, BODY);
	wait_done(queue[0], 1);
	check_results("gone",
	    "1/100 deferred connect 0 4.4.1\n1/101 deferred connect 0 4.4.1\n");
	stop_relay();
	assert_false(host_has("msg-000001.eml"));
	stop_host("gone");
}

/* A report waits where other mail would fail. */
static void
report_waits(void **st)
{
	static const struct options rows[] = {
		{ .kinds = SERVER_RULE_TLS, .on_tls = SERVER_FAIL },
		{ .kinds = SERVER_RULE_RCPT, .on_rcpt = { SERVER_FAIL } },
	};
	struct m_job m = { .qid = 1, .from = "", .size = 2, .rcpts = 1 };
	struct m_job_rcpt r = { .qid = 1, .n = 100, .to = "r0@x.test" };
	struct m_job_body b = { .qid = 1, .body = { "\r\n", 2 } };
	size_t i;

	(void)st;
	for (i = 0; i < COUNT(rows); i++) {
		start_relay(&rows[i], start_host(no_args));
		ipc_send(queue[0], M_JOB, 7, &m);
		ipc_send(queue[0], M_JOB_RCPT, 7, &r);
		ipc_send(queue[0], M_JOB_BODY, 7, &b);
		wait_done(queue[0], 1);
		check_results("report", "1/100 deferred tls 0 4.7.0\n");
		stop_relay();
		stop_host("report");
	}
}

static int
temp_file(size_t len, struct buf *content)
{
	char *path = xasprintf("%s/body", dir), line[80];
	unsigned i = 0;
	FILE *fp = fopen(path, "w+b");
	int fd;

	while (content->len < len) {
		snprintf(line, sizeof(line), "%sline %u of the body\r\n",
		    i % 3 == 0 ? "." : "", i);
		i++;
		buf_add(content, line, strlen(line));
	}
	assert_int_equal(
	    fwrite(content->data, 1, content->len, fp), content->len);
	fclose(fp);
	fd = open(path, O_RDONLY);
	unlink(path);
	free(path);
	assert_true(fd != -1);
	return fd;
}

static void
body_by_descriptor(void **st)
{
	static const char *const sevenbit[] = { "--no-8bitmime", NULL };
	struct options o = { 0 };
	struct buf b = { 0 };
	int fd = temp_file(5 * 1024 * 1024, &b);

	(void)st;
	start_relay(&o, start_host(no_args));
	send_job(queue[0], 1, 1, BODY_7BIT, NULL, 0, fd, b.len);
	wait_done(queue[0], 1);
	check_results("by descriptor", "1/100 delivered none 250\n");
	/* a file that is shorter than it should be never looks whole */
	send_job(queue[0], 2, 1, BODY_7BIT, NULL, 0, fd, b.len + 1);
	wait_done(queue[0], 2);
	check_results("a cut file",
	    "1/100 delivered none 250\n"
	    "2/100 deferred local 0 4.3.0 the message cannot be read\n");
	stop_relay();
	check_message("by descriptor", 1, b.data, b.len);
	assert_false(host_has("msg-000002.eml"));
	stop_host("by descriptor");

	/* declared 8-bit, without 8BITMIME: its bytes decide */
	start_relay(&o, start_host(sevenbit));
	send_job(queue[0], 3, 1, BODY_8BITMIME, NULL, 0, fd, b.len);
	wait_done(queue[0], 1);
	check_results("7-bit file", "3/100 delivered none 250\n");
	stop_relay();
	stop_host("7-bit file");
	close(fd);
	buf_clear(&b);
}

/* A connection that the smarthost gave up is no reason to wait: the message
 * goes over a new one at once. */
static void
idle_connection_was_dead(void **st)
{
	static const char *const args[][3] = {
		{ "--refuse", "mail#2/1=421 4.4.2 idle for too long", NULL },
		{ "--drop", "mail#2/1", NULL },
	};
	struct options o = { 0 };
	size_t i;

	(void)st;
	for (i = 0; i < COUNT(args); i++) {
		start_relay(&o, start_host(args[i]));
		send_text(1, 1, BODY);
		wait_done(queue[0], 1);
		send_text(2, 1, BODY);
		wait_done(queue[0], 2);
		check_results(args[i][1],
		    "1/100 delivered none 250\n2/100 delivered none 250\n");
		stop_relay();
		assert_true(host_has("raw-2.bin"));
		assert_true(host_has("msg-000002.eml"));
		assert_false(host_has("msg-000003.eml"));
		stop_host(args[i][1]);
	}
}

/* After a refused recipient the next message begins with RSET. */
static void
next_after_refusal(void **st)
{
	static const char *const args[] = { "--refuse", "rcpt/1=550 5.1.1 who",
		NULL };
	struct options o = { .connections = 1 };

	(void)st;
	start_relay(&o, start_host(args));
	send_text(1, 1, BODY);
	send_text(2, 1, BODY);
	wait_done(queue[0], 2);
	check_results("refusal",
	    "1/100 failed reply 550 5.1.1\n2/100 delivered none 250\n");
	stop_relay();
	assert_false(host_has("raw-2.bin"));
	stop_host("refusal");
}

/* All that waits gets the reason of the one attempt. */
static void
nobody_there(void **st)
{
	struct options o = { .connections = 5 };
	int port = start_host(no_args);
	uint64_t i;

	(void)st;
	kill(host_pid, SIGTERM);
	waitpid(host_pid, NULL, 0);
	free(host_dir);
	start_relay(&o, port);
	for (i = 1; i <= 10; i++)
		send_text(i, 1, BODY);
	wait_done(queue[0], 10);
	check_results("nobody there",
	    "1/100 deferred connect 0 4.4.1 127.0.0.1[127.0.0.1]:\n"
	    "2/100 deferred connect 0 4.4.1\n3/100 deferred connect 0 4.4.1\n"
	    "4/100 deferred connect 0 4.4.1\n5/100 deferred connect 0 4.4.1\n"
	    "6/100 deferred connect 0 4.4.1\n7/100 deferred connect 0 4.4.1\n"
	    "8/100 deferred connect 0 4.4.1\n9/100 deferred connect 0 4.4.1\n"
	    "10/100 deferred connect 0 4.4.1\n");
	assert_non_null(strstr(state, "Connection refused"));
	stop_relay();
}

/* What was asked for before the drain is still done. */
static void
drain_finishes_jobs(void **st)
{
	struct options o = { .connections = 2 };
	uint64_t i;

	(void)st;
	start_relay(&o, start_host(no_args));
	for (i = 1; i <= 8; i++)
		send_text(i, 1, BODY);
	wait_done(queue[0], 1);
	tell_relay('d');
	wait_done(queue[0], 8);
	await_relay();
	assert_true(host_has("msg-000008.eml"));
	stop_host("drain");
}

/* A new queue gets results only of its own jobs. */
static void
queue_comes_back(void **st)
{
	static const char *const args[] = { "--hang", "dot/1", NULL };
	struct options o = { .connections = 1, .timeout_ms = 1000 };

	(void)st;
	start_relay(&o, start_host(args));
	send_text(1, 1, BODY);
	send_text(2, 1, BODY);
	while (!host_has("msg-000001.json")) /* it hangs behind the dot */
		assert_int_equal(kill(host_pid, 0), 0);
	ipc_free(&queue[0]);
	tell_relay('q');
	send_job(
	    queue[1], 1, 1, BODY_7BIT, BODY, strlen(BODY), -1, strlen(BODY));
	wait_done(queue[1], 1);
	check_results("new queue", "1/100 delivered none 250\n");
	stop_relay();
	/* the old queue's second message was never begun */
	assert_true(host_has("msg-000002.json"));
	assert_false(host_has("msg-000003.json"));
	stop_host("new queue");
}

/* Until the end of data is sent, a message of a queue that is gone is taken
 * back: the new queue sends it again, and it arrives once. */
static void
queue_goes_before_dot(void **st)
{
	static const char *const args[] = { "--hang", "data/1", NULL };
	struct options o = { .connections = 1 };

	(void)st;
	start_relay(&o, start_host(args));
	send_text(1, 1, BODY);
	while (!host_has("hung-data"))
		assert_int_equal(kill(host_pid, 0), 0);
	ipc_free(&queue[0]);
	tell_relay('q');
	/* The only connection hangs: it must be given up. */
	send_job(
	    queue[1], 1, 1, BODY_7BIT, BODY, strlen(BODY), -1, strlen(BODY));
	wait_done(queue[1], 1);
	check_results("before the dot", "1/100 delivered none 250\n");
	stop_relay();
	assert_true(host_has("msg-000001.eml"));
	assert_false(host_has("msg-000002.eml"));
	stop_host("before the dot");
}

/* Nonsense of a broken queue is answered, not obeyed. */
static void
broken_jobs(void **st)
{
	struct options o = { 0 };
	struct m_job m = { .qid = 5, .from = "", .rcpts = 0 };
	struct m_job_rcpt r = { .qid = 6, .n = 1, .to = "a@x.test" };
	struct m_job_body b = { .qid = 6 };

	(void)st;
	start_relay(&o, start_host(no_args));
	ipc_send(queue[0], M_JOB, 7, &m); /* no recipients: done at once */
	m.qid = 6;
	m.rcpts = 2;
	ipc_send(queue[0], M_JOB, 7, &m);
	ipc_send(queue[0], M_JOB_RCPT, 7, &r);
	ipc_send(queue[0], M_JOB_BODY, 7, &b); /* one is missing */
	ipc_send(queue[0], M_JOB_BODY, 7, &b); /* of no job */
	wait_done(queue[0], 2);
	m.qid = r.qid = b.qid = 8;
	m.rcpts = 1;
	m.size = 70000;
	ipc_send(queue[0], M_JOB, 7, &m);
	ipc_send(queue[0], M_JOB_RCPT, 7, &r);
	ipc_send(queue[0], M_JOB_BODY, 7, &b); /* no descriptor was left */
	wait_done(queue[0], 3);
	assert_string_equal(results, "");
	send_text(7, 1, BODY);
	wait_done(queue[0], 4);
	check_results("after nonsense", "7/100 delivered none 250\n");
	stop_relay();
	stop_host("broken jobs");
}

static int
make_dir(void **st)
{
	char template[] = "/tmp/unit_relay.XXXXXX";
	const char *src = getenv("srcdir");
	char *cmd;
	int rc;

	(void)st;
	alarm(4 * GUARD_S);
	dir = strdup(mkdtemp(template));
	cmd = xasprintf("python3 %s/t/lib/smarthost.py --make-certs %s/certs "
			"--cert-name sh.test",
	    src != NULL ? src : ".", dir);
	rc = system(cmd);
	free(cmd);
	return rc;
}

static int
remove_dir(void **st)
{
	char *cmd = xasprintf("rm -rf %s", dir);
	int rc = system(cmd);

	(void)st;
	free(cmd);
	free(dir);
	return rc;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_message),
		cmocka_unit_test(many_messages),
		cmocka_unit_test(map_changes),
		cmocka_unit_test(report_waits),
		cmocka_unit_test(host_goes),
		cmocka_unit_test(body_by_descriptor),
		cmocka_unit_test(idle_connection_was_dead),
		cmocka_unit_test(next_after_refusal),
		cmocka_unit_test(nobody_there),
		cmocka_unit_test(drain_finishes_jobs),
		cmocka_unit_test(queue_comes_back),
		cmocka_unit_test(queue_goes_before_dot),
		cmocka_unit_test(broken_jobs),
	};

	/* A smarthost or relay that went first must fail a test, not end it. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
