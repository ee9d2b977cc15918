/*
 * Tests of the relay role: submitd/relay*.c run in a child process as they
 * run in the server, this program plays queue, resolver and auth over socket
 * pairs, and t/lib/smarthost.py is the smarthost on loopback.
 *
 * After every scenario the smarthost's record is read: nothing but EHLO and
 * STARTTLS may have been said in clear, and no rule of SMTP broken.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay_rig.h"
#include "submitd/mem.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BODY     "Subject: test\r\n\r\n.dot\r\n..\r\nend\r\n"
#define HIGH     "Subject: caf\xe9\r\n\r\n"

/* ---- scenarios of one message to two recipients ---- */

static const struct scenario {
	const char *name;
	struct rr_options o;
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

static void
one_scenario(const struct scenario *s)
{
	const char *args[COUNT(s->args) + 1] = { NULL };
	char *ca = xasprintf("%s/certs/ca.pem", rr_dir);
	size_t i;

	for (i = 0; s->args[i] != NULL; i++)
		args[i] = strcmp(s->args[i], "CA") == 0 ? ca : s->args[i];
	rr_start_relay(&s->o, rr_start_host(args));
	free(ca);
	rr_send_text(1, 2, s->body);
	rr_wait_done(rr_queue[0], 1);
	rr_check_results(s->name, s->results);
	if (strstr(rr_state, s->state) == NULL)
		fail_msg("%s: state \"%s\"", s->name, rr_state);
	rr_stop_relay();
	if (s->arrives)
		rr_check_message(s->name, 1, s->body, strlen(s->body));
	if (rr_host_has(s->arrives ? "msg-000002.eml" : "msg-000001.eml"))
		fail_msg("%s: arrived, or twice", s->name);
	rr_stop_host(s->name);
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

static const struct rr_job plain = { .qid = 1,
	.rcpts = 1,
	.body = BODY,
	.len = sizeof(BODY) - 1,
	.size = sizeof(BODY) - 1,
	.fd = -1 };

static void
many_messages(void **st)
{
	struct rr_options o = { .connections = 3 };
	char text[64], name[32], want[64];
	unsigned i;

	(void)st;
	rr_start_relay(&o, rr_start_host(no_args));
	for (i = 1; i <= 60; i++) {
		snprintf(text, sizeof(text), "X: %u\r\n\r\n", i);
		rr_send_text(i, 1, text);
	}
	rr_wait_done(rr_queue[0], 60);
	for (i = 1; i <= 60; i++) {
		snprintf(want, sizeof(want), "%u/100 delivered", i);
		assert_non_null(strstr(rr_results, want));
	}
	assert_true(rr_max_connections >= 1 && rr_max_connections <= 3);
	rr_stop_relay();
	assert_true(rr_host_has("msg-000060.eml"));
	/* so few connections that they must have been used again */
	snprintf(name, sizeof(name), "raw-%d.bin", 4);
	assert_true(rr_host_has("raw-1.bin"));
	assert_false(rr_host_has(name));
	rr_stop_host("many messages");
}

/* A connection that another access map allowed gets no more messages. */
static void
map_changes(void **st)
{
	struct rr_options o = { .kinds = SERVER_RULE_TLS };
	struct ipc_in in;
	const char *why;

	(void)st;
	rr_start_relay(&o, rr_start_host(no_args));
	rr_send_text(1, 1, BODY);
	rr_wait_done(rr_queue[0], 1);
	rr_tell('m');
	while (rr_connections > 0) {
		assert_int_equal(ipc_recv_wait(rr_queue[0], &in, &why), 0);
		assert_int_equal(in.type, M_RELAY_STATE);
		rr_connections = in.m->relay_state.connections;
	}
	rr_send_text(2, 1, BODY);
	rr_wait_done(rr_queue[0], 2);
	rr_check_results("another map",
	    "1/100 delivered none 250\n2/100 delivered none 250\n");
	rr_stop_relay();
	assert_true(rr_host_has("raw-2.bin"));
	assert_false(rr_host_has("raw-3.bin"));
	rr_stop_host("another map");
}

/* The smarthost goes while auth thinks: the message is tried elsewhere. */
static void
host_goes(void **st)
{
	struct rr_options o = { .kinds = SERVER_RULE_RCPT, .auth = AUTH_KILLS };

	(void)st;
	rr_start_relay(&o, rr_start_host(no_args));
	rr_send_text(1, 2, BODY);
	rr_wait_done(rr_queue[0], 1);
	rr_check_results("gone",
	    "1/100 deferred connect 0 4.4.1\n1/101 deferred connect 0 4.4.1\n");
	rr_stop_relay();
	assert_false(rr_host_has("msg-000001.eml"));
	rr_stop_host("gone");
}

/* A report waits where other mail would fail. */
static void
report_waits(void **st)
{
	static const struct rr_options rows[] = {
		{ .kinds = SERVER_RULE_TLS, .on_tls = SERVER_FAIL },
		{ .kinds = SERVER_RULE_RCPT, .on_rcpt = { SERVER_FAIL } },
	};
	struct m_job m = { .qid = 1, .from = "", .size = 2, .rcpts = 1 };
	struct m_job_rcpt r = { .qid = 1, .n = 100, .to = "r0@x.test" };
	struct m_job_body b = { .qid = 1, .body = { "\r\n", 2 } };
	size_t i;

	(void)st;
	for (i = 0; i < COUNT(rows); i++) {
		rr_start_relay(&rows[i], rr_start_host(no_args));
		ipc_send(rr_queue[0], M_JOB, 7, &m);
		ipc_send(rr_queue[0], M_JOB_RCPT, 7, &r);
		ipc_send(rr_queue[0], M_JOB_BODY, 7, &b);
		rr_wait_done(rr_queue[0], 1);
		rr_check_results("report", "1/100 deferred tls 0 4.7.0\n");
		rr_stop_relay();
		rr_stop_host("report");
	}
}

static int
temp_file(size_t len, struct buf *content)
{
	char *path = xasprintf("%s/body", rr_dir), line[80];
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
	struct rr_options o = { 0 };
	struct buf b = { 0 };
	int fd = temp_file(5 * 1024 * 1024, &b);
	struct rr_job j = { .qid = 1, .rcpts = 1, .fd = fd, .size = b.len };

	(void)st;
	rr_start_relay(&o, rr_start_host(no_args));
	rr_send(rr_queue[0], &j);
	rr_wait_done(rr_queue[0], 1);
	rr_check_results("by descriptor", "1/100 delivered none 250\n");
	/* a file that is shorter than it should be never looks whole */
	j.qid = 2;
	j.size = b.len + 1;
	rr_send(rr_queue[0], &j);
	rr_wait_done(rr_queue[0], 2);
	rr_check_results("a cut file",
	    "1/100 delivered none 250\n"
	    "2/100 deferred local 0 4.3.0 the message cannot be read\n");
	rr_stop_relay();
	rr_check_message("by descriptor", 1, b.data, b.len);
	assert_false(rr_host_has("msg-000002.eml"));
	rr_stop_host("by descriptor");

	/* declared 8-bit, without 8BITMIME: its bytes decide */
	rr_start_relay(&o, rr_start_host(sevenbit));
	j.qid = 3;
	j.size = b.len;
	j.opt.body = BODY_8BITMIME;
	rr_send(rr_queue[0], &j);
	rr_wait_done(rr_queue[0], 1);
	rr_check_results("7-bit file", "3/100 delivered none 250\n");
	rr_stop_relay();
	rr_stop_host("7-bit file");
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
	struct rr_options o = { 0 };
	size_t i;

	(void)st;
	for (i = 0; i < COUNT(args); i++) {
		rr_start_relay(&o, rr_start_host(args[i]));
		rr_send_text(1, 1, BODY);
		rr_wait_done(rr_queue[0], 1);
		rr_send_text(2, 1, BODY);
		rr_wait_done(rr_queue[0], 2);
		rr_check_results(args[i][1],
		    "1/100 delivered none 250\n2/100 delivered none 250\n");
		rr_stop_relay();
		assert_true(rr_host_has("raw-2.bin"));
		assert_true(rr_host_has("msg-000002.eml"));
		assert_false(rr_host_has("msg-000003.eml"));
		rr_stop_host(args[i][1]);
	}
}

/* But where all of a message had left, it may have been taken: it is tried
 * again later, as after a dot that was not answered. */
static void
lost_with_the_message(void **st)
{
	static const char *const args[][4] = {
		{ "--chunking", "--drop", "mail#2/1", NULL },
		{ "--chunking", "--hang", "mail#2/1", NULL },
	};
	static const char *const why[] = { "", /* closed, or a reset */
		"no answer in time" };
	struct rr_options o = { .connections = 1, .timeout_ms = 1000 };
	char want[200];
	size_t i;

	(void)st;
	for (i = 0; i < COUNT(args); i++) {
		rr_start_relay(&o, rr_start_host(args[i]));
		/* One behind the other: the second leaves all at once. */
		rr_send_text(1, 1, BODY);
		rr_send_text(2, 1, BODY);
		rr_wait_done(rr_queue[0], 2);
		snprintf(want, sizeof(want),
		    "1/100 delivered none 250\n"
		    "2/100 deferred connect 0 4.4.2 %s\n",
		    why[i]);
		rr_check_results(args[i][1], want);
		rr_stop_relay();
		assert_false(rr_host_has("raw-2.bin"));
		rr_stop_host(args[i][1]);
	}
}

/* After a refused recipient the next message begins with RSET. */
static void
next_after_refusal(void **st)
{
	static const char *const args[] = { "--refuse", "rcpt/1=550 5.1.1 who",
		NULL };
	struct rr_options o = { .connections = 1 };

	(void)st;
	rr_start_relay(&o, rr_start_host(args));
	rr_send_text(1, 1, BODY);
	rr_send_text(2, 1, BODY);
	rr_wait_done(rr_queue[0], 2);
	rr_check_results("refusal",
	    "1/100 failed reply 550 5.1.1\n2/100 delivered none 250\n");
	rr_stop_relay();
	assert_false(rr_host_has("raw-2.bin"));
	rr_stop_host("refusal");
}

/* All that waits gets the reason of the one attempt. */
static void
nobody_there(void **st)
{
	struct rr_options o = { .connections = 5 };
	int port = rr_start_host(no_args);
	uint64_t i;

	(void)st;
	kill(rr_host_pid, SIGTERM);
	waitpid(rr_host_pid, NULL, 0);
	free(rr_host_dir);
	rr_start_relay(&o, port);
	for (i = 1; i <= 10; i++)
		rr_send_text(i, 1, BODY);
	rr_wait_done(rr_queue[0], 10);
	rr_check_results("nobody there",
	    "1/100 deferred connect 0 4.4.1 127.0.0.1[127.0.0.1]:\n"
	    "2/100 deferred connect 0 4.4.1\n3/100 deferred connect 0 4.4.1\n"
	    "4/100 deferred connect 0 4.4.1\n5/100 deferred connect 0 4.4.1\n"
	    "6/100 deferred connect 0 4.4.1\n7/100 deferred connect 0 4.4.1\n"
	    "8/100 deferred connect 0 4.4.1\n9/100 deferred connect 0 4.4.1\n"
	    "10/100 deferred connect 0 4.4.1\n");
	assert_non_null(strstr(rr_state, "Connection refused"));
	rr_stop_relay();
}

/* What was asked for before the drain is still done. */
static void
drain_finishes_jobs(void **st)
{
	struct rr_options o = { .connections = 2 };
	uint64_t i;

	(void)st;
	rr_start_relay(&o, rr_start_host(no_args));
	for (i = 1; i <= 8; i++)
		rr_send_text(i, 1, BODY);
	rr_wait_done(rr_queue[0], 1);
	rr_tell('d');
	rr_wait_done(rr_queue[0], 8);
	rr_await_relay();
	assert_true(rr_host_has("msg-000008.eml"));
	rr_stop_host("drain");
}

/* A new queue gets results only of its own jobs. */
static void
queue_comes_back(void **st)
{
	static const char *const args[] = { "--hang", "dot/1", NULL };
	struct rr_options o = { .connections = 1, .timeout_ms = 1000 };

	(void)st;
	rr_start_relay(&o, rr_start_host(args));
	rr_send_text(1, 1, BODY);
	rr_send_text(2, 1, BODY);
	while (!rr_host_has("msg-000001.json")) /* it hangs behind the dot */
		assert_int_equal(kill(rr_host_pid, 0), 0);
	ipc_free(&rr_queue[0]);
	rr_tell('q');
	rr_send(rr_queue[1], &plain);
	rr_wait_done(rr_queue[1], 1);
	rr_check_results("new queue", "1/100 delivered none 250\n");
	rr_stop_relay();
	/* the old queue's second message was never begun */
	assert_true(rr_host_has("msg-000002.json"));
	assert_false(rr_host_has("msg-000003.json"));
	rr_stop_host("new queue");
}

/* Until the end of data is sent, a message of a queue that is gone is taken
 * back: the new queue sends it again, and it arrives once. */
static void
queue_goes_before_dot(void **st)
{
	static const char *const args[] = { "--hang", "data/1", NULL };
	struct rr_options o = { .connections = 1 };

	(void)st;
	rr_start_relay(&o, rr_start_host(args));
	rr_send_text(1, 1, BODY);
	while (!rr_host_has("hung-data"))
		assert_int_equal(kill(rr_host_pid, 0), 0);
	ipc_free(&rr_queue[0]);
	rr_tell('q');
	/* The only connection hangs: it must be given up. */
	rr_send(rr_queue[1], &plain);
	rr_wait_done(rr_queue[1], 1);
	rr_check_results("before the dot", "1/100 delivered none 250\n");
	rr_stop_relay();
	assert_true(rr_host_has("msg-000001.eml"));
	assert_false(rr_host_has("msg-000002.eml"));
	rr_stop_host("before the dot");
}

/* ---- one message behind another ---- */

static void
await_hung(const char *stage)
{
	while (!rr_host_has(stage))
		assert_int_equal(kill(rr_host_pid, 0), 0);
}

/* Whether what was heard in one piece holds text. */
static bool
was_heard(const char *text)
{
	char *path = xasprintf("%s/heard.jsonl", rr_host_dir);
	struct buf all = { 0 };
	bool found;

	rr_read_file(path, &all);
	found = memmem(buf_head(&all), all.len, text, strlen(text)) != NULL;
	buf_clear(&all);
	free(path);
	return found;
}

#define DOT_AND_MAIL "\\r\\n.\\r\\nMAIL FROM:<s@x.test>"

static const char *const three[] = { "X: 1\r\n\r\n.one\r\n",
	"X: 2\r\n\r\n.two\r\n", "X: 3\r\n\r\n.three\r\n" };

/* A relay with one connection, whose smarthost has heard MAIL of the first of
 * three messages: the others wait. */
static void
begin_three(const char *const *args)
{
	struct rr_options o = { .connections = 1 };
	unsigned i;

	rr_start_relay(&o, rr_start_host(args));
	for (i = 0; i < COUNT(three); i++)
		rr_send_text(i + 1, i == 1 ? 2 : 1, three[i]);
	await_hung("hung-mail");
	kill(rr_host_pid, SIGUSR1);
}

/* The commands of each leave with the end of the one before. */
static void
behind_another(void **st)
{
	static const char *const args[] = { "--hold", "mail/1", "--refuse",
		"rcpt:r0@x.test#2/1=550 5.1.1 no", NULL };
	unsigned i;

	(void)st;
	begin_three(args);
	rr_wait_done(rr_queue[0], 3);
	rr_check_results("behind",
	    "1/100 delivered none 250\n2/100 failed reply 550 5.1.1\n"
	    "2/101 delivered none 250\n3/100 delivered none 250\n");
	rr_stop_relay();
	for (i = 0; i < COUNT(three); i++)
		rr_check_message("behind", i + 1, three[i], strlen(three[i]));
	assert_true(was_heard(DOT_AND_MAIL));
	assert_false(rr_host_has("raw-2.bin"));
	rr_stop_host("behind");
}

/* The smarthost goes before it answers: the one behind was not sent and goes
 * by another connection, and none is said so for a while. */
static void
behind_the_lost(void **st)
{
	static const char *const args[] = { "--hold", "mail/1", "--drop",
		"dot/1", NULL };

	(void)st;
	begin_three(args);
	rr_wait_done(rr_queue[0], 3);
	rr_check_results("lost before",
	    "1/100 deferred connect 0 4.4.2\n2/100 delivered none 250\n"
	    "2/101 delivered none 250\n3/100 delivered none 250\n");
	rr_stop_relay();
	assert_true(rr_host_has("msg-000003.eml"));
	assert_false(rr_host_has("msg-000004.eml"));
	assert_true(rr_host_has("raw-2.bin"));
	assert_false(rr_host_has("raw-3.bin"));
	rr_stop_host("lost before");
}

/* Its queue goes before its turn: the new queue sends it, and it arrives
 * once. */
static void
behind_queue_goes(void **st)
{
	static const char *const args[] = { "--hold", "dot/1", NULL };
	struct rr_options o = { .connections = 1 };

	(void)st;
	rr_start_relay(&o, rr_start_host(args));
	rr_send_text(1, 1, BODY);
	rr_send_text(2, 1, "X: 2\r\n\r\n");
	await_hung("hung-dot");
	ipc_free(&rr_queue[0]);
	rr_tell('q');
	rr_send(rr_queue[1], &plain);
	kill(rr_host_pid, SIGUSR1);
	rr_wait_done(rr_queue[1], 1);
	rr_check_results("queue goes", "1/100 delivered none 250\n");
	rr_stop_relay();
	/* both are the first one */
	rr_check_message("queue goes", 2, BODY, sizeof(BODY) - 1);
	assert_false(rr_host_has("msg-000003.eml"));
	rr_stop_host("queue goes");
}

/* Nonsense of a broken queue is answered, not obeyed. */
static void
broken_jobs(void **st)
{
	struct rr_options o = { 0 };
	struct m_job m = { .qid = 5, .from = "", .rcpts = 0 };
	struct m_job_rcpt r = { .qid = 6, .n = 1, .to = "a@x.test" };
	struct m_job_body b = { .qid = 6 };

	(void)st;
	rr_start_relay(&o, rr_start_host(no_args));
	ipc_send(rr_queue[0], M_JOB, 7, &m); /* no recipients: done at once */
	m.qid = 6;
	m.rcpts = 2;
	ipc_send(rr_queue[0], M_JOB, 7, &m);
	ipc_send(rr_queue[0], M_JOB_RCPT, 7, &r);
	ipc_send(rr_queue[0], M_JOB_BODY, 7, &b); /* one is missing */
	ipc_send(rr_queue[0], M_JOB_BODY, 7, &b); /* of no job */
	rr_wait_done(rr_queue[0], 2);
	m.qid = r.qid = b.qid = 8;
	m.rcpts = 1;
	m.size = 70000;
	ipc_send(rr_queue[0], M_JOB, 7, &m);
	ipc_send(rr_queue[0], M_JOB_RCPT, 7, &r);
	ipc_send(rr_queue[0], M_JOB_BODY, 7, &b); /* no descriptor was left */
	rr_wait_done(rr_queue[0], 3);
	assert_string_equal(rr_results, "");
	rr_send_text(7, 1, BODY);
	rr_wait_done(rr_queue[0], 4);
	rr_check_results("after nonsense", "7/100 delivered none 250\n");
	rr_stop_relay();
	rr_stop_host("broken jobs");
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
		cmocka_unit_test(lost_with_the_message),
		cmocka_unit_test(next_after_refusal),
		cmocka_unit_test(nobody_there),
		cmocka_unit_test(drain_finishes_jobs),
		cmocka_unit_test(queue_comes_back),
		cmocka_unit_test(queue_goes_before_dot),
		cmocka_unit_test(behind_another),
		cmocka_unit_test(behind_the_lost),
		cmocka_unit_test(behind_queue_goes),
		cmocka_unit_test(broken_jobs),
	};

	/* A smarthost or relay that went first must fail a test, not end it. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, rr_make_dir, rr_remove_dir);
}
