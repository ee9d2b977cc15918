/* See relay_rig.h. */
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

#include "relay_rig.h"
#include "submitd/log.h"
#include "submitd/mem.h"
#include "submitd/role.h"

enum { GUARD_S = 300, ARGS = 24 };

/* ---- the relay in its child ---- */

static pid_t relay_pid;
pid_t rr_host_pid;
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

static const struct rr_options *opt;
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
		kill(rr_host_pid, SIGTERM);
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

void
rr_read_file(const char *path, struct buf *out)
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

char *rr_dir;

static void
read_cert(const char *name, enum pem_kind kind)
{
	char *path = xasprintf("%s/certs/%s", rr_dir, name);

	rr_read_file(path, &self.pem[kind]);
	free(path);
}

static char *
copy(const char *s)
{
	return xstrdup(s != NULL ? s : "");
}

static void
configure(const struct rr_options *o, int port)
{
	self.conf.hostname = copy("me.test");
	self.conf.smarthost_host =
	    copy(o->host != NULL ? o->host : "127.0.0.1");
	self.conf.smarthost_port = port;
	self.conf.smarthost_tls =
	    o->implicit ? SMARTHOST_IMPLICIT : SMARTHOST_STARTTLS;
	self.conf.smarthost_user = copy(o->user);
	self.conf.smarthost_ignore = copy(o->ignore);
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
run_relay(const struct rr_options *o, int port, int control, int queue[2])
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
struct ipc *rr_queue[2];
char *rr_host_dir;
char rr_results[65536];
char rr_state[2048];
unsigned rr_max_connections, rr_connections;
static size_t done;

/* Starts smarthost.py; returns its port. */
int
rr_start_host(const char *const *args)
{
	const char *src = getenv("srcdir");
	static int number;
	char script[512], line[128], certs[512];
	const char *argv[ARGS] = { "python3", script, "--dir", NULL, "--certs",
		certs, "--cert-name", "sh.test" };
	int out[2], port = 0, n = 8;
	FILE *fp;

	rr_host_dir = xasprintf("%s/host-%d", rr_dir, number++);
	argv[3] = rr_host_dir;
	snprintf(script, sizeof(script), "%s/t/lib/smarthost.py",
	    src != NULL ? src : ".");
	snprintf(certs, sizeof(certs), "%s/certs", rr_dir);
	while (*args != NULL && n < ARGS - 1)
		argv[n++] = *args++;
	assert_int_equal(pipe(out), 0);
	if ((rr_host_pid = fork()) == 0) {
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

void
rr_start_relay(const struct rr_options *o, int port)
{
	static const struct ipc_rule none[] = { { 0, NULL } };
	int a[2], b[2], c[2], theirs[2], i;

	rr_results[0] = rr_state[0] = '\0';
	rr_max_connections = 0;
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
	rr_queue[0] = ipc_new(NULL, a[1], none, on_gone, NULL);
	rr_queue[1] = ipc_new(NULL, b[1], none, on_gone, NULL);
}

void
rr_tell(char what)
{
	assert_int_equal(write(control, &what, 1), 1);
}

void
rr_await_relay(void)
{
	int status, i;

	assert_int_equal(waitpid(relay_pid, &status, 0), relay_pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the relay ended with status %#x", status);
	close(control);
	for (i = 0; i < 2; i++)
		ipc_free(&rr_queue[i]);
}

void
rr_stop_relay(void)
{
	rr_tell('d');
	rr_await_relay();
}

bool
rr_host_has(const char *name)
{
	char *path = xasprintf("%s/%s", rr_host_dir, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

/* What was said in clear must be this and no more. */
static void
check_clear(const char *row)
{
	char *path = xasprintf("%s/heard.jsonl", rr_host_dir), line[70000],
	     *text;
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

void
rr_stop_host(const char *row)
{
	kill(rr_host_pid, SIGTERM);
	assert_int_equal(waitpid(rr_host_pid, NULL, 0), rr_host_pid);
	if (rr_host_has("violations"))
		fail_msg("%s: see %s/violations", row, rr_host_dir);
	check_clear(row);
	free(rr_host_dir);
	rr_host_dir = NULL;
}

void
rr_check_message(const char *row, unsigned n, const void *want, size_t len)
{
	char *path = xasprintf("%s/msg-%06u.eml", rr_host_dir, n);
	struct buf b = { 0 };

	rr_read_file(path, &b);
	if (b.len != len || (len > 0 && memcmp(b.data, want, len) != 0))
		fail_msg("%s: %s is not what was sent", row, path);
	buf_clear(&b);
	free(path);
}

void
rr_send(struct ipc *q, const struct rr_job *j)
{
	struct m_job m = { .qid = j->qid,
		.from = j->from != NULL ? j->from : "s@x.test",
		.opt = j->opt,
		.size = j->size,
		.rcpts = (uint32_t)j->rcpts };
	struct m_job_body b = { .qid = j->qid, .body = { j->body, j->len } };
	struct m_job_rcpt r = { .qid = j->qid };
	char to[64];
	size_t i;

	assert_int_equal(ipc_send(q, M_JOB, 7, &m), 0);
	for (i = 0; i < j->rcpts; i++) {
		snprintf(to, sizeof(to), "r%zu@x.test", i);
		r.n = (uint32_t)(100 + i);
		r.to = j->to != NULL ? j->to[i] : to;
		if (j->rcpt != NULL)
			r.opt = j->rcpt[i];
		assert_int_equal(ipc_send(q, M_JOB_RCPT, 7, &r), 0);
	}
	assert_int_equal(ipc_send_fd(q, M_JOB_BODY, 7, &b, j->fd), 0);
	assert_int_equal(ipc_flush_wait(q), 0);
}

void
rr_send_text(uint64_t qid, size_t rcpts, const char *body)
{
	struct rr_job j = { .qid = qid,
		.rcpts = rcpts,
		.opt = { .body = BODY_8BITMIME, .priority = PRIORITY_NORMAL },
		.body = body,
		.len = strlen(body),
		.size = strlen(body),
		.fd = -1 };

	rr_send(rr_queue[0], &j);
}

static void
note_result(const struct m_job_result *m)
{
	static const char *const kinds[] = { "delivered", "deferred",
		"failed" };
	static const char *const troubles[] = { "none", "reply", "connect",
		"dns", "tls", "auth", "local" };
	size_t len = strlen(rr_results);

	assert_string_equal(
	    m->ruled, strstr(m->text, "as auth says") != NULL ? RULED : "");
	snprintf(rr_results + len, sizeof(rr_results) - len,
	    "%lu/%u %s %s %u %s %s%s%s\n", (unsigned long)m->qid, m->n,
	    kinds[m->result], troubles[m->trouble], m->code, m->esc, m->text,
	    (m->handed & HANDED_DSN) != 0 ? " +DSN" : "",
	    (m->handed & HANDED_BY) != 0 ? " +BY" : "");
}

/* Receives until n jobs are done. */
void
rr_wait_done(struct ipc *q, size_t n)
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
			snprintf(rr_state, sizeof(rr_state), "%s",
			    in.m->relay_state.up ? "up"
						 : in.m->relay_state.text);
			rr_connections = in.m->relay_state.connections;
			if (rr_connections > rr_max_connections)
				rr_max_connections = rr_connections;
		} else {
			fail_msg("unexpected %s", proto_name(in.type));
		}
	}
}

/* Each line of results begins with the line of want at the same place. */
void
rr_check_results(const char *row, const char *want)
{
	const char *r = rr_results, *w;
	size_t n;

	for (w = want; *w != '\0'; w += n + (w[n] == '\n')) {
		n = strcspn(w, "\n");
		if (strncmp(r, w, n) != 0)
			fail_msg(
			    "%s: got\n%sexpected\n%s", row, rr_results, want);
		r += strcspn(r, "\n");
		r += *r == '\n';
	}
	if (*r != '\0')
		fail_msg("%s: too many results\n%s", row, rr_results);
}

int
rr_make_dir(void **st)
{
	char template[] = "/tmp/unit_relay.XXXXXX";
	const char *src = getenv("srcdir");
	char *cmd;
	int rc;

	(void)st;
	alarm(10 * GUARD_S);
	rr_dir = strdup(mkdtemp(template));
	cmd = xasprintf("python3 %s/t/lib/smarthost.py --make-certs %s/certs "
			"--cert-name sh.test",
	    src != NULL ? src : ".", rr_dir);
	rc = system(cmd);
	free(cmd);
	return rc;
}

int
rr_remove_dir(void **st)
{
	char *cmd = xasprintf("rm -rf %s", rr_dir);
	int rc = system(cmd);

	(void)st;
	free(cmd);
	free(rr_dir);
	return rc;
}
