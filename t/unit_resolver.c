/*
 * Tests of submitd/resolver.c against t/lib/dns.py on loopback: the role's own
 * code, asked over a socket pair as front and relay ask it.
 */
#define RESOLVER_DEADLINE 1500
#include "submitd/resolver.c"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const zone[] = {
	"mail.example.org A 192.0.2.1",
	"mail.example.org AAAA 2001:db8::1",
	"v4.example.org A 192.0.2.2",
	"two.example.org A 192.0.2.12",
	"two.example.org A 192.0.2.3",
	"alias.example.org CNAME v4.example.org",
	"empty.example.org MX 10 mail.example.org",
	"sick.example.org SERVFAIL",
	"dead.example.org DROP",
	"big.example.org TRUNCATE",
	"big.example.org A 192.0.2.9",
	"lab.test A 192.0.2.10",
	"nas.home.arpa A 192.168.1.2",
	"192.0.2.1 PTR Mail.Example.org",
	"2001:db8::1 PTR mail.example.org",
	"192.0.2.3 PTR two.example.org",
	"192.0.2.4 PTR mail.example.org",
	"192.0.2.5 PTR nothing.example.org",
	"192.0.2.6 PTR wrong.example.org",
	"192.0.2.6 PTR right.example.org",
	"wrong.example.org A 192.0.2.99",
	"right.example.org A 192.0.2.6",
	"192.0.2.7 PTR sick.example.org",
	"8.2.0.192.in-addr.arpa SERVFAIL",
	"10.1.2.3 PTR lan.example.org",
	"lan.example.org A 10.1.2.3",
	"192.0.2.11 PTR bad name.example.org",
	"192.0.2.12 PTR 10.1.2.3",
	"10.1.2.3 A 192.0.2.12",
};

static const struct row {
	const char *name;
	enum resolve_kind kind;
	const char *question;
	enum resolve_status status;
	const char *addrs; /* or the client's name */
} rows[] = {
	/* clang-format off */
	{ "IPv6 before IPv4", RESOLVE_HOST, "mail.example.org", RESOLVE_OK,
	    "2001:db8::1 192.0.2.1" },
	{ "a final dot", RESOLVE_HOST, "mail.example.org.", RESOLVE_OK,
	    "2001:db8::1 192.0.2.1" },
	{ "an alias", RESOLVE_HOST, "alias.example.org", RESOLVE_OK,
	    "192.0.2.2" },
	{ "an IPv4 address", RESOLVE_HOST, "192.0.2.1", RESOLVE_OK,
	    "192.0.2.1" },
	{ "an IPv6 address", RESOLVE_HOST, "2001:DB8:0::1", RESOLVE_OK,
	    "2001:db8::1" },
	{ "no such name", RESOLVE_HOST, "none.example.org", RESOLVE_FAIL, "" },
	{ "a name without address", RESOLVE_HOST, "empty.example.org",
	    RESOLVE_FAIL, "" },
	{ "the server fails", RESOLVE_HOST, "sick.example.org", RESOLVE_TEMP,
	    "" },
	{ "no answer", RESOLVE_HOST, "dead.example.org", RESOLVE_TEMP, "" },
	{ "truncated: asked again over TCP", RESOLVE_HOST, "big.example.org",
	    RESOLVE_OK, "192.0.2.9" },
	{ "a laboratory's .test", RESOLVE_HOST, "lab.test", RESOLVE_OK,
	    "192.0.2.10" },
	{ "a home network", RESOLVE_HOST, "nas.home.arpa", RESOLVE_OK,
	    "192.168.1.2" },
	{ "no name at all", RESOLVE_HOST, "", RESOLVE_FAIL, "" },
	{ "empty labels", RESOLVE_HOST, "a..b", RESOLVE_FAIL, "" },
	{ "a label too long", RESOLVE_HOST, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example.org", RESOLVE_FAIL,
	    "" },

	{ "a client's name", RESOLVE_CLIENT, "192.0.2.1", RESOLVE_OK,
	    "mail.example.org" },
	{ "a client's name, IPv6", RESOLVE_CLIENT, "2001:db8:0::1", RESOLVE_OK,
	    "mail.example.org" },
	{ "one of two addresses", RESOLVE_CLIENT, "192.0.2.3", RESOLVE_OK,
	    "two.example.org" },
	{ "a private address", RESOLVE_CLIENT, "10.1.2.3", RESOLVE_OK,
	    "lan.example.org" },
	{ "the second name leads back", RESOLVE_CLIENT, "192.0.2.6", RESOLVE_OK,
	    "right.example.org" },
	{ "forged", RESOLVE_CLIENT, "192.0.2.4", RESOLVE_FORGED, "" },
	{ "a name that does not exist", RESOLVE_CLIENT, "192.0.2.5",
	    RESOLVE_FORGED, "" },
	{ "the name's server fails", RESOLVE_CLIENT, "192.0.2.7", RESOLVE_TEMP,
	    "" },
	{ "the reverse zone fails", RESOLVE_CLIENT, "192.0.2.8", RESOLVE_TEMP,
	    "" },
	{ "no PTR", RESOLVE_CLIENT, "192.0.2.200", RESOLVE_FAIL, "" },
	{ "a PTR that is no host name", RESOLVE_CLIENT, "192.0.2.11",
	    RESOLVE_FAIL, "" },
	{ "a PTR that looks like an address", RESOLVE_CLIENT, "192.0.2.12",
	    RESOLVE_FAIL, "" },
	{ "not an address", RESOLVE_CLIENT, "mail.example.org", RESOLVE_FAIL,
	    "" },
	/* clang-format on */
};

static struct role_setup self;
static struct ipc *peer;
static pid_t dns_pid;
static int dns_port;
static bool left;

struct got {
	uint64_t sid, id;
	enum resolve_status status;
	char name[256], addrs[1024], detail[1024];
};
static struct got got[1024];
static size_t ngot, wanted;

void
role_leave(struct role_setup *s)
{
	left = true;
	event_base_loopbreak(s->base);
}

static void
on_resolved(struct ipc *p, const struct ipc_in *in)
{
	const struct m_resolved *m = &in->m->resolved;
	struct got *g = &got[ngot++];

	(void)p;
	g->sid = in->sid;
	g->id = m->id;
	g->status = (enum resolve_status)m->status;
	snprintf(g->name, sizeof(g->name), "%s", m->name);
	snprintf(g->addrs, sizeof(g->addrs), "%s", m->addrs);
	snprintf(g->detail, sizeof(g->detail), "%s", m->detail);
	if (ngot == wanted)
		event_base_loopbreak(self.base);
}

static void
peer_gone(struct ipc *p, const char *why)
{
	(void)p;
	fail_msg("dropped: %s", why);
}

static const struct ipc_rule peer_rules[] = {
	{ M_RESOLVED, on_resolved },
	{ 0, NULL },
};

static struct ipc *
connect_peer(void)
{
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	resolver_ops.peer(&self, ROLE_FRONT, 1, fd[0]);
	return ipc_new(self.base, fd[1], peer_rules, peer_gone, NULL);
}

/* Starts dns.py with the records; returns its port, which is free if 0 is
 * asked for. */
static int
start_dns(const char *const *records, size_t n, const char *addr, int port,
    pid_t *pid)
{
	const char *src = getenv("srcdir");
	char script[512], line[128], addr_arg[64], port_arg[32], *argv[80];
	int out[2];
	size_t i;
	FILE *fp;

	snprintf(
	    script, sizeof(script), "%s/t/lib/dns.py", src != NULL ? src : ".");
	argv[0] = strdup("python3");
	argv[1] = script;
	snprintf(addr_arg, sizeof(addr_arg), "--addr=%s", addr);
	snprintf(port_arg, sizeof(port_arg), "--port=%d", port);
	argv[2] = addr_arg;
	argv[3] = port_arg;
	for (i = 0; i < n; i++)
		argv[4 + i] = strdup(records[i]);
	argv[4 + n] = NULL;
	assert_int_equal(pipe(out), 0);
	if ((*pid = fork()) == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(out[1]);
	fp = fdopen(out[0], "r");
	if (fgets(line, sizeof(line), fp) == NULL ||
	    sscanf(line, "LISTENING %*s %d", &port) != 1)
		fail_msg("dns.py did not start");
	fclose(fp);
	free(argv[0]);
	for (i = 0; i < n; i++)
		free(argv[4 + i]);
	return port;
}

static void
stop_dns(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

static char *
server(const char *addr, int port)
{
	return xasprintf("%s@%d", addr, port);
}

/* A file's text, as parent sends it. */
static void
give_text(enum pem_kind kind, const char *text)
{
	const union msg m = { .pem = { .kind = (uint8_t)kind } };
	const struct ipc_in in = { .type = M_PEM, .fd = -1, .m = &m };

	buf_add(&self.pem[kind], text, strlen(text));
	resolver_ops.other(&self, &in);
	buf_wipe(&self.pem[kind]);
}

static int
setup_all(void **state)
{
	static const char first[] = "192.168.7.1 printer.lan printer\n"
				    "fd00::7:1 printer.lan # the same\n";
	struct event_config *cfg = event_config_new();
	char err[256];

	(void)state;
	log_open("test", 1, LOG_WARNING);
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	self.base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	dns_port = start_dns(zone, COUNT(zone), "127.0.0.1", 0, &dns_pid);
	self.conf.resolver = server("127.0.0.1", dns_port);
	buf_add(&self.pem[PEM_HOSTS], first, strlen(first));
	if (resolver_ops.start(&self, err, sizeof(err)) == -1)
		fail_msg("%s", err);
	buf_wipe(&self.pem[PEM_HOSTS]); /* as role.c does */
	peer = connect_peer();
	return 0;
}

static int
teardown_all(void **state)
{
	struct question *q;
	struct asker *a;
	int i;

	(void)state;
	ipc_free(&peer);
	while ((a = TAILQ_FIRST(&askers)) != NULL) {
		TAILQ_REMOVE(&askers, a, link);
		ipc_free(&a->ipc);
		free(a);
	}
	for (i = 0; i < KINDS; i++)
		dns_close(dns[i]); /* gives back open lookups */
	while ((q = TAILQ_FIRST(&questions)) != NULL)
		question_free(q);
	event_base_free(self.base);
	free(self.conf.resolver);
	stop_dns(dns_pid);
	return 0;
}

static void
ask(struct ipc *p, uint64_t id, enum resolve_kind kind, const char *name)
{
	struct m_resolve m = { .id = id, .kind = (uint8_t)kind, .name = name };

	assert_int_equal(ipc_send(p, M_RESOLVE, id + 1000, &m), 0);
}

static void
wait_for(size_t n)
{
	wanted = n;
	if (ngot < wanted)
		event_base_dispatch(self.base);
	assert_int_equal(ngot, n);
}

static void
check(const struct row *r, const struct got *g)
{
	const char *text = r->kind == RESOLVE_HOST ? g->addrs : g->name;

	if (g->status != r->status || strcmp(text, r->addrs) != 0)
		fail_msg("%s: status %d, \"%s\", %s", r->name, (int)g->status,
		    text, g->detail);
	if (r->status != RESOLVE_OK && g->detail[0] == '\0')
		fail_msg("%s: no reason is given", r->name);
}

static void
one_by_one(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		ngot = 0;
		ask(peer, i, rows[i].kind, rows[i].question);
		wait_for(1);
		assert_int_equal(got[0].id, i);
		assert_int_equal(got[0].sid, i + 1000);
		check(&rows[i], &got[0]);
	}
}

/* Answers come in any order, each under its own number. */
static void
all_at_once(void **state)
{
	size_t i;

	(void)state;
	ngot = 0;
	for (i = 0; i < COUNT(rows); i++)
		ask(peer, i, rows[i].kind, rows[i].question);
	wait_for(COUNT(rows));
	for (i = 0; i < COUNT(rows); i++)
		check(&rows[got[i].id], &got[i]);
}

/* Each kind of question fills its own share only. */
static void
bounded(void **state)
{
	static const struct {
		enum resolve_kind full, other;
		size_t max;
		const char *question[2]; /* by kind */
	} kinds[] = {
		{ RESOLVE_HOST, RESOLVE_CLIENT, HOSTS_MAX,
		    { "mail.example.org", "192.0.2.1" } },
		{ RESOLVE_CLIENT, RESOLVE_HOST, CLIENTS_MAX,
		    { "mail.example.org", "192.0.2.1" } },
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(kinds); i++) {
		size_t *n = &in_flight[kinds[i].full];
		const char *const *question = kinds[i].question;
		size_t before = *n;

		ngot = 0;
		*n = kinds[i].max;
		ask(peer, 1, kinds[i].full, question[kinds[i].full]);
		wait_for(1);
		assert_int_equal(got[0].status, RESOLVE_TEMP);
		assert_non_null(strstr(got[0].detail, "too many"));
		ask(peer, 2, kinds[i].other, question[kinds[i].other]);
		wait_for(2);
		assert_int_equal(got[1].status, RESOLVE_OK);
		*n = kinds[i].max - 1;
		ask(peer, 3, kinds[i].full, question[kinds[i].full]);
		wait_for(3);
		assert_int_equal(got[2].status, RESOLVE_OK);
		*n = before;
	}
}

static void
asker_goes_away(void **state)
{
	struct ipc *other = connect_peer();

	(void)state;
	ngot = 0;
	ask(other, 1, RESOLVE_CLIENT, "192.0.2.8");
	ask(other, 2, RESOLVE_HOST, "gone.example.org");
	ipc_free(&other);
	ask(peer, 3, RESOLVE_HOST, "192.0.2.1");
	wait_for(1);
	assert_int_equal(got[0].id, 3);
}

static void
expect_addrs(const char *name, enum resolve_status status, const char *addrs)
{
	ngot = 0;
	ask(peer, 1, RESOLVE_HOST, name);
	wait_for(1);
	assert_int_equal(got[0].status, status);
	assert_string_equal(got[0].addrs, addrs);
}

/* The hosts file counts before the servers, and anew when it has changed. */
static void
hosts_file(void **state)
{
	struct dns *old = dns[RESOLVE_HOST];

	(void)state;
	expect_addrs("printer.lan", RESOLVE_OK, "fd00::7:1 192.168.7.1");
	expect_addrs("printer", RESOLVE_OK, "192.168.7.1");
	give_text(PEM_HOSTS, "192.168.7.2 printer.lan\n");
	assert_ptr_not_equal(dns[RESOLVE_HOST], old);
	expect_addrs("printer.lan", RESOLVE_OK, "192.168.7.2");
	expect_addrs("mail.example.org", RESOLVE_OK, "2001:db8::1 192.0.2.1");
	old = dns[RESOLVE_HOST];
	give_text(PEM_HOSTS, "192.168.7.2 printer.lan\n");
	assert_ptr_equal(dns[RESOLVE_HOST], old); /* nothing is new */
	give_text(PEM_HOSTS, "");
	expect_addrs("printer.lan", RESOLVE_FAIL, "");
}

/* Servers that can't be used are left out; the key goes before the file. */
static void
resolv_conf_file(void **state)
{
	struct dns *old = dns[RESOLVE_HOST];

	(void)state;
	give_text(PEM_RESOLV_CONF, "nameserver 192.0.2.53\n");
	assert_ptr_not_equal(dns[RESOLVE_HOST], old);
	expect_addrs("mail.example.org", RESOLVE_OK, "2001:db8::1 192.0.2.1");
	give_text(PEM_RESOLV_CONF, "nameserver nonsense\n");
	expect_addrs("mail.example.org", RESOLVE_OK, "2001:db8::1 192.0.2.1");
}

/* A reload asks the new server, though lookups of the old one are open. */
static void
reload(void **state)
{
	static const char *const other[] = {
		"mail.example.org A 198.51.100.1",
	};
	struct conf next = { 0 };
	struct dns *old = dns[RESOLVE_HOST];
	char err[256];
	pid_t pid;

	(void)state;
	ngot = 0;
	start_dns(other, 1, "127.0.0.2", dns_port, &pid);
	next.resolver = server("127.0.0.2", dns_port);
	ask(peer, 1, RESOLVE_HOST, "sick.example.org");
	event_base_loop(self.base, EVLOOP_NONBLOCK);
	assert_int_equal(
	    resolver_ops.reload(&self, &next, err, sizeof(err)), 0);
	assert_ptr_not_equal(dns[RESOLVE_HOST], old);
	ask(peer, 2, RESOLVE_HOST, "mail.example.org");
	wait_for(2);
	assert_string_equal(got[got[0].id == 2 ? 0 : 1].addrs, "198.51.100.1");

	free(next.resolver);
	next.resolver = xasprintf("not an address@%d", dns_port);
	old = dns[RESOLVE_HOST];
	assert_int_equal(
	    resolver_ops.reload(&self, &next, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "not an address"));
	assert_ptr_equal(dns[RESOLVE_HOST], old);

	free(next.resolver);
	next.resolver = server("127.0.0.2", dns_port + 1);
	assert_int_equal(
	    resolver_ops.reload(&self, &next, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "restart"));
	assert_ptr_equal(dns[RESOLVE_HOST], old);
	free(next.resolver);
	stop_dns(pid);
}

/* Leaves once the last question is answered, though its lookup is open. */
static void
drain(void **state)
{
	(void)state;
	ngot = 0;
	wanted = 2;
	ask(peer, 1, RESOLVE_HOST, "dead.example.org");
	while (unanswered == 0)
		event_base_loop(self.base, EVLOOP_ONCE);
	assert_false(left);
	resolver_ops.drain(&self);
	assert_false(left);
	while (!left)
		event_base_loop(self.base, EVLOOP_ONCE);
	while (ngot == 0)
		event_base_loop(self.base, EVLOOP_ONCE);
	assert_int_equal(got[0].status, RESOLVE_TEMP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_by_one),
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(bounded),
		cmocka_unit_test(asker_goes_away),
		cmocka_unit_test(hosts_file),
		cmocka_unit_test(resolv_conf_file),
		cmocka_unit_test(reload),
		cmocka_unit_test(drain),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
