/*
 * submitd/relay_fit.c, and what relay_conn.c makes of the smarthost's offers:
 * messages, a smarthost that offers this and that, what arrives there and what
 * queue is told.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay_rig.h"
#include "submitd/mem.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BODY     "Subject: test\r\n\r\n.dot\r\n..\r\nend\r\n" /* 33 bytes */
#define UE       "\xc3\xbc"
#define UE_JSON  "\\u00c3\\u00bc"
#define MIME                                                                   \
	"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
#define TEXT8                                                                  \
	MIME "Content-Transfer-Encoding: 8bit\r\n\r\nGr" UE "n und blau\r\n"
#define TEXT7                                                                  \
	MIME "Content-Transfer-Encoding: quoted-printable\r\n\r\n"             \
	     "Gr=C3=BCn und blau\r\n"
#define BINARY MIME "Content-Transfer-Encoding: binary\r\n\r\naaaaaaaa\nb"
#define BINARY7                                                                \
	MIME "Content-Transfer-Encoding: quoted-printable\r\n\r\n"             \
	     "aaaaaaaa=0Ab=\r\n"
#define SIGNED                                                                 \
	"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n"  \
	"\r\n--b\r\n\r\n" UE "\r\n--b--\r\n"
#define HEAD8 "Subject: " UE "\r\n\r\nx\r\n"
#define BUCH  "b" UE "cher.example"
#define ALL                                                                    \
	"--ehlo", "DSN", "--ehlo", "SMTPUTF8", "--ehlo", "REQUIRETLS",         \
	    "--ehlo", "DELIVERBY", "--ehlo", "MT-PRIORITY"
#define TAKEN "delivered none 250 2.0.0 250 2.0.0 taken as 1"

enum { ARGS_MAX = 14, RCPTS_MAX = 3, HAS_MAX = 4 };

static const struct row {
	const char *name;
	const char *args[ARGS_MAX];
	struct rr_options o;
	struct mail_options opt;
	int by_s; /* from now on */
	const char *from, *to[RCPTS_MAX];
	struct rcpt_options rcpt[RCPTS_MAX];
	const char *body;         /* NULL: BODY */
	const char *arrives;      /* NULL: as body; "": nothing does */
	const char *results;      /* as of rr_check_results() */
	const char *has[HAS_MAX]; /* in the record of the message */
} rows[] = {
	/* clang-format off */
	{ .name = "nothing is asked, all is offered", .args = { ALL },
	  .opt = { .priority = PRIORITY_NORMAL },
	  .results = "1/100 " TAKEN " +DSN +BY\n",
	  .has = { "\"mail_params\": \"MT-PRIORITY=0\"",
		   "\"rcpt_params\": [\"\"]" } },
	{ .name = "all is asked and offered, by BDAT",
	  .args = { ALL, "--chunking", "--size", "100000" },
	  .opt = { .body = BODY_8BITMIME, .utf8 = 1, .require_tls = 1,
		   .ret = RET_HDRS, .by_mode = BY_RETURN, .by_trace = 1,
		   .priority = 12, .envid = "e+2B1" },
	  .by_s = 3600, .from = UE "@x.test", .to = { "bo@" BUCH, "c@x.test" },
	  .rcpt = { { NOTIFY_SUCCESS | NOTIFY_FAILURE, "rfc822;bo@b" },
		    { NOTIFY_NEVER, NULL } },
	  .body = TEXT8,
	  .results = "1/100 " TAKEN " +DSN +BY\n1/101 " TAKEN " +DSN +BY\n",
	  .has = { "\"from\": \"" UE_JSON "@x.test\", \"mail_params\": \"SIZE="
		   "111 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e+2B1 REQUIRETLS"
		   " BY=35", ";RT MT-PRIORITY=3\"",
		   "\"rcpts\": [\"bo@b" UE_JSON "cher.example\", \"c@x.test\"]",
		   "\"rcpt_params\": [\"NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bo@b"
		   "\", \"NOTIFY=NEVER\"]" } },
	{ .name = "all is asked that may be, nothing is offered",
	  .opt = { .ret = RET_FULL, .by_mode = BY_NOTIFY, .envid = "e",
		   .priority = 1 }, .by_s = 60,
	  .rcpt = { { NOTIFY_SUCCESS, "rfc822;a@b" } },
	  .results = "1/100 " TAKEN "\n",
	  .has = { "\"mail_params\": \"\"", "\"rcpt_params\": [\"\"]" } },
	{ .name = "ignored: as if not offered",
	  .args = { ALL }, .o = { .ignore = "DSN MT-PRIORITY" },
	  .opt = { .ret = RET_FULL }, .rcpt = { { NOTIFY_SUCCESS, NULL } },
	  .results = "1/100 " TAKEN " +BY\n",
	  .has = { "\"mail_params\": \"\"", "\"rcpt_params\": [\"\"]" } },

	/* the body */
	{ .name = "8-bit text for a 7-bit smarthost",
	  .args = { "--no-8bitmime", "--size", "1000" }, .body = TEXT8,
	  .opt = { .body = BODY_8BITMIME }, .arrives = TEXT7,
	  .results = "1/100 " TAKEN "\n",
	  .has = { "\"mail_params\": \"SIZE=127\"" } },
	{ .name = "8-bit text for a 7-bit smarthost, by BDAT",
	  .args = { "--no-8bitmime", "--chunking" }, .body = TEXT8,
	  .opt = { .body = BODY_8BITMIME }, .arrives = TEXT7,
	  .results = "1/100 " TAKEN "\n" },
	{ .name = "7-bit text for a 7-bit smarthost, whatever was declared",
	  .args = { "--no-8bitmime" }, .opt = { .body = BODY_8BITMIME },
	  .results = "1/100 " TAKEN "\n" },
	{ .name = "what becomes too large by it",
	  .args = { "--no-8bitmime", "--size", "126" }, .body = TEXT8,
	  .opt = { .body = BODY_8BITMIME }, .arrives = "",
	  .results = "1/100 failed reply 0 5.3.4 the message has 127 bytes, "
		     "the smarthost takes 126\n" },
	{ .name = "signed 8-bit text for a 7-bit smarthost",
	  .args = { "--no-8bitmime" }, .opt = { .body = BODY_8BITMIME },
	  .body = SIGNED, .arrives = "",
	  .results = "1/100 failed reply 0 5.6.3 the message holds 8-bit text, "
		     "which the smarthost does not take (it does not offer "
		     "8BITMIME) and which cannot be converted: it is signed or "
		     "encrypted\n" },
	{ .name = "binary data", .args = { "--chunking", "--ehlo", "BINARYMIME" },
	  .opt = { .body = BODY_BINARYMIME }, .body = BINARY,
	  .results = "1/100 " TAKEN "\n",
	  .has = { "\"mail_params\": \"BODY=BINARYMIME\"" } },
	{ .name = "binary data for an 8-bit smarthost", .args = { "--chunking" },
	  .opt = { .body = BODY_BINARYMIME }, .body = BINARY,
	  .arrives = BINARY7, .results = "1/100 " TAKEN "\n" },
	{ .name = "binary data for a smarthost without BDAT",
	  .args = { "--ehlo", "BINARYMIME" },
	  .opt = { .body = BODY_BINARYMIME }, .body = BINARY,
	  .arrives = BINARY7, .results = "1/100 " TAKEN "\n" },
	{ .name = "binary by its name only", .args = { "--no-8bitmime" },
	  .opt = { .body = BODY_BINARYMIME }, .results = "1/100 " TAKEN "\n",
	  .has = { "\"mail_params\": \"\"" } },
	{ .name = "8-bit text as BINARYMIME, for an 8-bit smarthost",
	  .opt = { .body = BODY_BINARYMIME }, .body = TEXT8,
	  .results = "1/100 " TAKEN "\n",
	  .has = { "\"mail_params\": \"BODY=8BITMIME\"" } },
	{ .name = "signed binary data for an 8-bit smarthost",
	  .opt = { .body = BODY_BINARYMIME },
	  .body = "DKIM-Signature: x\r\n" BINARY, .arrives = "",
	  .results = "1/100 failed reply 0 5.6.1 the message holds binary data,"
	  },

	/* SMTPUTF8 */
	{ .name = "SMTPUTF8 said for nothing", .args = { ALL },
	  .opt = { .utf8 = 1, .priority = PRIORITY_NORMAL },
	  .results = "1/100 " TAKEN " +DSN +BY\n",
	  .has = { "\"mail_params\": \"MT-PRIORITY=0\"" } },
	{ .name = "SMTPUTF8 for a header", .args = { ALL },
	  .opt = { .utf8 = 1, .priority = PRIORITY_NORMAL }, .body = HEAD8,
	  .results = "1/100 " TAKEN " +DSN +BY\n",
	  .has = { "\"mail_params\": \"BODY=8BITMIME SMTPUTF8 MT-PRIORITY=0\"" }
	},
	{ .name = "domains only: A-labels", .opt = { .utf8 = 1 },
	  .from = "ann@" BUCH, .to = { "bo@" BUCH, "r1@x.test" },
	  .results = "1/100 " TAKEN "\n1/101 " TAKEN "\n",
	  .has = { "\"from\": \"ann@xn--bcher-kva.example\", "
		   "\"mail_params\": \"\"",
		   "\"rcpts\": [\"bo@xn--bcher-kva.example\", \"r1@x.test\"]" }
	},
	{ .name = "domains only: ORCPT keeps what was said",
	  .args = { "--ehlo", "DSN" }, .opt = { .utf8 = 1 },
	  .to = { "b+o@" BUCH, "bo@" BUCH },
	  .rcpt = { { 0, NULL }, { 0, "rfc822;x@y" } },
	  .results = "1/100 " TAKEN " +DSN\n1/101 " TAKEN " +DSN\n",
	  .has = { "\"rcpt_params\": [\"ORCPT=utf-8;b\\\\x{2B}o@b\\\\x{FC}"
		   "cher.example\", \"ORCPT=rfc822;x@y\"]" } },
	{ .name = "a local part: that recipient fails", .opt = { .utf8 = 1 },
	  .to = { UE "@x.test", "r1@x.test" },
	  .results = "1/100 failed reply 0 5.6.7 the address is not ASCII\n"
		     "1/101 " TAKEN "\n" },
	{ .name = "a sender's local part", .opt = { .utf8 = 1 },
	  .from = UE "@x.test", .arrives = "",
	  .results = "1/100 failed reply 0 5.6.7 the sender's address\n" },
	{ .name = "a domain that is none", .opt = { .utf8 = 1 },
	  .to = { "a@\xe2\x98\x83.example" }, .arrives = "",
	  .results = "1/100 failed reply 0 5.6.7 the address is not ASCII\n" },
	{ .name = "a header, and domains", .opt = { .utf8 = 1 },
	  .to = { "bo@" BUCH }, .body = HEAD8, .arrives = "",
	  .results = "1/100 failed reply 0 5.6.9 the header of the message\n" },

	/* REQUIRETLS, DELIVERBY */
	{ .name = "REQUIRETLS is not offered", .opt = { .require_tls = 1 },
	  .arrives = "",
	  .results = "1/100 failed reply 0 5.7.30 REQUIRETLS support required\n"
	},
	{ .name = "REQUIRETLS is not offered, for a report", .from = "",
	  .opt = { .require_tls = 1 }, .results = "1/100 " TAKEN "\n",
	  .has = { "\"mail_params\": \"\"" } },
	{ .name = "DELIVERBY is not offered, but needed",
	  .opt = { .by_mode = BY_RETURN }, .by_s = 60, .arrives = "",
	  .results = "1/100 failed reply 0 5.3.3 the sender gave a time\n" },
	{ .name = "the time is over", .args = { ALL },
	  .opt = { .by_mode = BY_RETURN }, .by_s = -10, .arrives = "",
	  .results = "1/100 failed reply 0 5.4.7 the time for delivery\n" },
	{ .name = "the time to notify is over", .args = { ALL },
	  .opt = { .by_mode = BY_NOTIFY, .priority = PRIORITY_NORMAL },
	  .by_s = -10, .results = "1/100 " TAKEN " +DSN +BY\n",
	  .has = { "\"mail_params\": \"BY=-1", ";N MT-PRIORITY=0\"" } },

	/* oddities */
	{ .name = "CHUNKING offered, BDAT not known",
	  .args = { "--chunking", "--refuse", "bdat-unknown=502 5.5.1 what?" },
	  .to = { "r0@x.test", "r1@x.test" },
	  .results = "1/100 " TAKEN "\n1/101 " TAKEN "\n" },
	{ .name = "one recipient is refused before BDAT turns out to be unknown",
	  .args = { "--chunking", "--refuse", "bdat-unknown=500 what?",
		    "--refuse", "rcpt:r0@x.test/1=550 5.1.1 no" },
	  .to = { "r0@x.test", "r1@x.test" },
	  .results = "1/100 failed reply 550 5.1.1\n1/101 " TAKEN "\n",
	  .has = { "\"rcpts\": [\"r1@x.test\"]" } },
	{ .name = "AUTH=<>", .o = { .user = "u", .password = "p" },
	  .args = { "--auth", "u:p" }, .results = "1/100 " TAKEN "\n",
	  .has = { "\"mail_params\": \"AUTH=<>\"" } },
	{ .name = "AUTH: who it was", .o = { .user = "u", .password = "p" },
	  .opt = { .auth = "ann+2Bx@x.test" },
	  .args = { "--auth", "u:p" }, .results = "1/100 " TAKEN "\n",
	  .has = { "\"mail_params\": \"AUTH=ann+2Bx@x.test\"" } },
	{ .name = "AUTH: who it was, refused", .o = { .user = "u", .password = "p" },
	  .opt = { .auth = "ann@x.test" },
	  .args = { "--auth", "u:p", "--refuse", "mail/1=555 5.5.4 what?" },
	  .results = "1/100 " TAKEN "\n", .has = { "\"mail_params\": \"\"" } },
	{ .name = "AUTH=<> is refused", .o = { .user = "u", .password = "p" },
	  .args = { "--auth", "u:p", "--refuse", "mail/1=555 5.5.4 what?" },
	  .results = "1/100 " TAKEN "\n", .has = { "\"mail_params\": \"\"" } },
	{ .name = "one recipient too many: it goes at once",
	  .args = { "--refuse", "rcpt:r1@x.test/1=452 4.5.3 too many" },
	  .to = { "r0@x.test", "r1@x.test", "r2@x.test" },
	  .results = "1/100 " TAKEN "\n1/102 " TAKEN "\n"
		     "1/101 delivered none 250 2.0.0 250 2.0.0 taken as 2\n" },
	/* clang-format on */
};

static int64_t
in_seconds(int s)
{
	return ((int64_t)time(NULL) + s) * 1000;
}

static size_t
rcpts_of(const struct row *r)
{
	size_t n = 1;

	while (n < RCPTS_MAX && r->to[n] != NULL)
		n++;
	return n;
}

static void
check_record(const struct row *r)
{
	char *path = xasprintf("%s/msg-000001.json", rr_host_dir);
	struct buf b = { 0 };
	size_t i;

	rr_read_file(path, &b);
	buf_add(&b, "", 1);
	for (i = 0; i < HAS_MAX && r->has[i] != NULL; i++)
		if (strstr((const char *)buf_head(&b), r->has[i]) == NULL)
			fail_msg("%s: not %s in\n%s", r->name, r->has[i],
			    (const char *)buf_head(&b));
	buf_clear(&b);
	free(path);
}

static void
one_row(const struct row *r)
{
	const char *text = r->body != NULL ? r->body : BODY;
	const char *arrives = r->arrives != NULL ? r->arrives : text;
	struct rr_job j = { .qid = 1,
		.from = r->from,
		.to = r->to[0] != NULL ? r->to : NULL,
		.rcpt = r->rcpt,
		.rcpts = rcpts_of(r),
		.opt = r->opt,
		.body = text,
		.len = strlen(text),
		.size = strlen(text),
		.fd = -1 };

	rr_start_relay(&r->o, rr_start_host(r->args));
	if (r->opt.by_mode != BY_NONE)
		j.opt.by_ms = in_seconds(r->by_s);
	rr_send(rr_queue[0], &j);
	rr_wait_done(rr_queue[0], 1);
	rr_check_results(r->name, r->results);
	rr_stop_relay();
	if (arrives[0] != '\0') {
		rr_check_message(r->name, 1, arrives, strlen(arrives));
		check_record(r);
	} else if (rr_host_has("msg-000001.eml")) {
		fail_msg("%s: it arrived", r->name);
	}
	rr_stop_host(r->name);
}

static void
one_message(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++)
		one_row(&rows[i]);
}

/* ---- BDAT is refused on another connection ---- */

static void
wait_for_file(const char *file)
{
	struct timespec step = { .tv_nsec = 10 * 1000 * 1000 };
	unsigned i;

	for (i = 0; !rr_host_has(file); i++) {
		if (i == 6000)
			fail_msg("no %s", file);
		nanosleep(&step, NULL);
	}
}

/* Binary data for two recipients, who each need a transaction.  While the
 * first runs, another message learns that BDAT is refused. */
static void
bdat_is_avoided_meanwhile(void **state)
{
	static const char *const args[] = { "--chunking", "--ehlo",
		"BINARYMIME", "--ehlo", "LIMITS RCPTMAX=1", "--hold",
		"rcpt:a@x.test", "--refuse", "bdat-unknown/1=502 5.5.1 what?",
		NULL };
	static const char *const ab[] = { "a@x.test", "b@x.test" };
	static const char *const c[] = { "c@x.test" };
	struct rr_options o = { 0 };
	struct rr_job j = { .qid = 1,
		.to = ab,
		.rcpts = 2,
		.opt = { .body = BODY_BINARYMIME },
		.body = BINARY,
		.len = strlen(BINARY),
		.size = strlen(BINARY),
		.fd = -1 };

	(void)state;
	rr_start_relay(&o, rr_start_host(args));
	rr_send(rr_queue[0], &j);
	wait_for_file("hung-rcpt:a@x.test");
	j = (struct rr_job){ .qid = 2,
		.to = c,
		.rcpts = 1,
		.body = BODY,
		.len = strlen(BODY),
		.size = strlen(BODY),
		.fd = -1 };
	rr_send(rr_queue[0], &j);
	rr_wait_done(rr_queue[0], 1);
	kill(rr_host_pid, SIGUSR1);
	rr_wait_done(rr_queue[0], 2);
	rr_check_results("avoided meanwhile",
	    "2/100 " TAKEN "\n"
	    "1/100 delivered none 250 2.0.0 250 2.0.0 taken as 2\n"
	    "1/101 delivered none 250 2.0.0 250 2.0.0 taken as 3\n");
	rr_stop_relay();
	rr_check_message("by DATA", 1, BODY, strlen(BODY));
	rr_check_message("by BDAT", 2, BINARY, strlen(BINARY));
	rr_check_message("converted", 3, BINARY7, strlen(BINARY7));
	rr_stop_host("avoided meanwhile");
}

/* ---- limits ---- */

static unsigned
connections_used(void)
{
	char name[32];
	unsigned n = 0;

	do
		snprintf(name, sizeof(name), "raw-%u.bin", n + 1);
	while (rr_host_has(name) && ++n < 100);
	return n;
}

/* What LIMITS says is heeded (smarthost.py would complain), and all of it
 * arrives as one job. */
static void
limits(void **state)
{
	static const struct {
		const char *name, *limits;
		const char *to[4];
		unsigned messages, connections;
	} cases[] = {
		{ "two of three recipients", "LIMITS RCPTMAX=2",
		    { "a@x", "b@x", "c@x" }, 2, 1 },
		{ "one message a session", "LIMITS RCPTMAX=2 MAILMAX=1",
		    { "a@x", "b@x", "c@x", "d@x" }, 2, 2 },
		{ "one domain a session", "LIMITS RCPTDOMAINMAX=1",
		    { "a@x", "b@y", "c@X", "d@z" }, 3, 3 },
		{ "two domains a session", "LIMITS RCPTDOMAINMAX=2",
		    { "a@x", "b@y", "c@X", "d@z" }, 2, 2 },
	};
	struct rr_options o = { .connections = 1 };
	struct rr_job j = { .qid = 1,
		.body = BODY,
		.len = strlen(BODY),
		.size = strlen(BODY),
		.fd = -1 };
	const char *args[] = { "--ehlo", NULL, "--chunking", NULL };
	char last[32], next[32];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		args[1] = cases[i].limits;
		rr_start_relay(&o, rr_start_host(args));
		j.to = cases[i].to;
		for (j.rcpts = 0; j.rcpts < 4 && j.to[j.rcpts] != NULL;)
			j.rcpts++;
		rr_send(rr_queue[0], &j);
		rr_wait_done(rr_queue[0], 1);
		assert_null(strstr(rr_results, "deferred"));
		assert_null(strstr(rr_results, "failed"));
		rr_stop_relay();
		snprintf(last, sizeof(last), "msg-%06u.eml", cases[i].messages);
		snprintf(
		    next, sizeof(next), "msg-%06u.eml", cases[i].messages + 1);
		if (!rr_host_has(last) || rr_host_has(next) ||
		    connections_used() != cases[i].connections)
			fail_msg("%s: see %s", cases[i].name, rr_host_dir);
		rr_stop_host(cases[i].name);
	}
}

/* Messages share a session as far as MAILMAX allows. */
static void
mailmax(void **state)
{
	static const char *const args[] = { "--ehlo", "LIMITS MAILMAX=3",
		NULL };
	struct rr_options o = { .connections = 1 };
	uint64_t i;

	(void)state;
	rr_start_relay(&o, rr_start_host(args));
	for (i = 1; i <= 7; i++)
		rr_send_text(i, 1, BODY);
	rr_wait_done(rr_queue[0], 7);
	assert_null(strstr(rr_results, "deferred"));
	rr_stop_relay();
	assert_true(rr_host_has("msg-000007.eml"));
	assert_int_equal(connections_used(), 3);
	rr_stop_host("MAILMAX");
}

/* The smarthost goes between two transactions of a message: those that were
 * not yet tried are deferred, too, and nobody gets it twice. */
static void
lost_between(void **state)
{
	static const char *const args[] = { "--ehlo", "LIMITS RCPTMAX=1",
		"--drop", "mail#2/1", NULL };
	static const char *const to[] = { "a@x", "b@x", "c@x" };
	struct rr_options o = { .connections = 1 };
	struct rr_job j = { .qid = 1,
		.to = to,
		.rcpts = 3,
		.body = BODY,
		.len = strlen(BODY),
		.size = strlen(BODY),
		.fd = -1 };

	(void)state;
	rr_start_relay(&o, rr_start_host(args));
	rr_send(rr_queue[0], &j);
	rr_wait_done(rr_queue[0], 1);
	rr_check_results("lost between",
	    "1/100 delivered none 250\n"
	    "1/101 deferred connect 0 4.4.2\n1/102 deferred connect 0 4.4.2\n");
	rr_stop_relay();
	assert_false(rr_host_has("msg-000002.eml"));
	rr_stop_host("lost between");
}

/* A file, in pieces, to a smarthost that takes 7-bit only. */
static void
large_file(void **state)
{
	static const char *const args[][3] = {
		{ "--no-8bitmime", NULL, NULL },
		{ "--no-8bitmime", "--chunking", NULL },
	};
	static const char line8[] = "line " UE " of the file\r\n";
	static const char line7[] = "line =C3=BC of the file\r\n";
	char *path = xasprintf("%s/large", rr_dir);
	struct buf file = { 0 }, want = { 0 };
	struct rr_options o = { 0 };
	struct rr_job j = { .qid = 1,
		.rcpts = 2,
		.opt = { .body = BODY_8BITMIME } };
	size_t i;

	(void)state;
	buf_add(&file, MIME "\r\n", strlen(MIME) + 2);
	buf_add(&want,
	    MIME "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
	    strlen(MIME) + 47);
	for (i = 0; i < 50000; i++) {
		buf_add(&file, line8, strlen(line8));
		buf_add(&want, line7, strlen(line7));
	}
	j.size = file.len;
	j.fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(j.fd, buf_head(&file), file.len), file.len);
	for (i = 0; i < COUNT(args); i++) {
		rr_start_relay(&o, rr_start_host(args[i]));
		rr_send(rr_queue[0], &j);
		rr_wait_done(rr_queue[0], 1);
		rr_check_results("large file",
		    "1/100 delivered none 250\n1/101 delivered none 250\n");
		rr_stop_relay();
		rr_check_message(
		    "large file", 1, buf_head(&want), want.len);
		rr_stop_host("large file");
	}

	/* a file that is cut is nobody's fault */
	j.size++;
	rr_start_relay(&o, rr_start_host(args[0]));
	rr_send(rr_queue[0], &j);
	rr_wait_done(rr_queue[0], 1);
	rr_check_results("cut file",
	    "1/100 deferred local 0 4.3.0 the message cannot be read: the file "
	    "is cut\n1/101 deferred local 0 4.3.0\n");
	rr_stop_relay();
	rr_stop_host("cut file");
	close(j.fd);
	unlink(path);
	free(path);
	buf_clear(&file);
	buf_clear(&want);
}

/* What a smarthost refused once it is not asked for again. */
static void
bdat_once(void **state)
{
	static const char *const args[] = { "--chunking", "--refuse",
		"bdat-unknown/1=502 5.5.1 what?", NULL };
	struct rr_options o = { .connections = 1 };

	(void)state;
	rr_start_relay(&o, rr_start_host(args));
	rr_send_text(1, 1, BODY);
	rr_wait_done(rr_queue[0], 1);
	rr_send_text(2, 1, BODY);
	rr_wait_done(rr_queue[0], 2);
	rr_check_results("BDAT once",
	    "1/100 delivered none 250\n2/100 delivered none 250\n");
	rr_stop_relay();
	/* by DATA: of BDAT one "bdat-unknown" alone is gone */
	assert_int_equal(connections_used(), 2);
	rr_check_message("BDAT once", 2, BODY, strlen(BODY));
	rr_stop_host("BDAT once");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_message),
		cmocka_unit_test(bdat_is_avoided_meanwhile),
		cmocka_unit_test(limits),
		cmocka_unit_test(mailmax),
		cmocka_unit_test(lost_between),
		cmocka_unit_test(large_file),
		cmocka_unit_test(bdat_once),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, rr_make_dir, rr_remove_dir);
}
