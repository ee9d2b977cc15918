/*
 * submitd/queue_job.c, queue_bounce.c, queue_front.c: what the queue role does
 * with the parameters of MAIL and RCPT.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue_rig.h"
#include "submitd/queue.h"

#define HELLO "Subject: hello\r\n\r\nHello.\r\n"
#define ANN   "ann@example.org"
#define BO    "bo@example.net"
#define CY    "cy@example.net"

enum { LONG_MS = 60 * 60 * 1000, SOON_MS = 40 };

static struct rig rig;
static struct mail_options opt;
static struct rcpt_options rcpt[RIG_RCPTS];
static unsigned sessions;

static int
up(void **state)
{
	memset(rcpt, 0, sizeof(rcpt));
	opt = (struct mail_options){ .priority = PRIORITY_NORMAL };
	sessions = 0;
	rig_init(&rig);
	rig.opt = &opt;
	rig.rcpt_opt = rcpt;
	*state = &rig;
	rig_up(&rig);
	return 0;
}

static int
down(void **state)
{
	rig_down(*state);
	return 0;
}

static uint64_t
message_from(const char *from, const char *to, const char *body)
{
	uint64_t qid = rig_send(&rig, RIG_SID(++sessions), 1, from, to, body);

	assert_int_not_equal(qid, 0);
	return qid;
}

static uint64_t
message(const char *to)
{
	return message_from(ANN, to, HELLO);
}

static struct rig_job *
job(unsigned n)
{
	rig_wait(&rig, &rig.njobs, n + 1);
	return &rig.job[n];
}

static bool
has_text(const struct rig_job *j, const char *text)
{
	return memmem(buf_head(&j->body), j->body.len, text, strlen(text)) !=
	    NULL;
}

static void
sweep(void)
{
	queue_ops.reload(&rig.setup, &rig.setup.conf, NULL, 0);
	rig_settle(&rig);
}

static void
defer(const struct rig_job *j)
{
	rig_result(&rig, j, RESULT_DEFERRED, TROUBLE_REPLY, 450, "450 later");
	rig_settle(&rig);
}

/* The answer to a request, or the first item of it. */
static json_t *
ask(const char *request)
{
	char *text = rig_ask(&rig, request), *save = NULL;
	json_t *o = json_loads(strtok_r(text, "\n", &save), 0, NULL), *item;

	free(text);
	assert_non_null(o);
	if ((item = json_object_get(o, "item")) == NULL)
		return o;
	json_incref(item);
	json_decref(o);
	return item;
}

static long
changed(const char *request)
{
	json_t *o = ask(request);
	long n;

	assert_true(json_is_true(json_object_get(o, "ok")));
	n = (long)json_integer_value(json_object_get(o, "changed"));
	json_decref(o);
	return n;
}

static long
messages(void)
{
	json_t *o = ask("{\"cmd\":\"queue.stats\"}");
	long n = (long)json_integer_value(json_object_get(o, "messages"));

	json_decref(o);
	return n;
}

/* ---- reports ---- */

static void
test_who_is_told(void **state)
{
	enum { F = NOTIFY_FAILURE, S = NOTIFY_SUCCESS, D = NOTIFY_DELAY };
	static const struct {
		const char *name;
		uint8_t notify, by_mode, by_trace;
		int64_t by_ms; /* from now */
		enum result_kind kind;
		uint8_t handed;
		const char *action; /* NULL: no report */
	} row[] = {
		{ "failed, nothing said", 0, 0, 0, 0, RESULT_FAILED, 0,
		    "failed" },
		{ "failed, FAILURE", F, 0, 0, 0, RESULT_FAILED, 0, "failed" },
		{ "failed, SUCCESS", S, 0, 0, 0, RESULT_FAILED, 0, NULL },
		{ "failed, DELAY", D, 0, 0, 0, RESULT_FAILED, 0, NULL },
		{ "failed, NEVER", NOTIFY_NEVER, 0, 0, 0, RESULT_FAILED, 0,
		    NULL },
		{ "relayed, nothing said", 0, 0, 0, 0, RESULT_DELIVERED, 0,
		    NULL },
		{ "relayed, SUCCESS", S, 0, 0, 0, RESULT_DELIVERED, 0,
		    "relayed" },
		{ "relayed with DSN, SUCCESS", S, 0, 0, 0, RESULT_DELIVERED,
		    HANDED_DSN, NULL },
		{ "relayed, FAILURE", F, 0, 0, 0, RESULT_DELIVERED, 0, NULL },
		{ "relayed, NEVER", NOTIFY_NEVER, 0, 0, 0, RESULT_DELIVERED, 0,
		    NULL },
		{ "BY trace, with all", 0, BY_RETURN, 1, LONG_MS,
		    RESULT_DELIVERED, HANDED_ALL, "relayed" },
		{ "BY trace, NEVER", NOTIFY_NEVER, BY_RETURN, 1, LONG_MS,
		    RESULT_DELIVERED, HANDED_ALL, NULL },
		{ "BY N without DELIVERBY", F, BY_NOTIFY, 0, LONG_MS,
		    RESULT_DELIVERED, HANDED_DSN, "relayed" },
		{ "BY N without DELIVERBY, NEVER", NOTIFY_NEVER, BY_NOTIFY, 0,
		    LONG_MS, RESULT_DELIVERED, HANDED_DSN, NULL },
		{ "BY N without DELIVERBY, too late", NOTIFY_FAILURE, BY_NOTIFY,
		    0, -LONG_MS, RESULT_DELIVERED, HANDED_DSN, NULL },
		{ "BY N with DELIVERBY", 0, BY_NOTIFY, 0, LONG_MS,
		    RESULT_DELIVERED, HANDED_BY, NULL },
	};
	const struct rig_job *j;
	char text[64];
	unsigned n;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		print_message("  %s\n", row[i].name);
		rcpt[0].notify = row[i].notify;
		opt.by_mode = row[i].by_mode;
		opt.by_trace = row[i].by_trace;
		opt.by_ms =
		    row[i].by_mode != 0 ? queue_now_ms() + row[i].by_ms : 0;
		n = rig.njobs;
		message(BO);
		rig.handed = row[i].handed;
		rig_result(&rig, job(n), row[i].kind, TROUBLE_REPLY,
		    row[i].kind == RESULT_FAILED ? 550 : 250, "as it is");
		rig_settle(&rig);
		if (row[i].action == NULL) {
			assert_int_equal(rig.njobs, n + 1);
			assert_int_equal(messages(), 0);
			continue;
		}
		j = job(n + 1);
		snprintf(text, sizeof(text), "Action: %s\r\n", row[i].action);
		assert_true(has_text(j, text));
		assert_string_equal(j->from, "");
		assert_string_equal(j->to[0], ANN);
		assert_int_equal(j->rcpt[0].notify, NOTIFY_NEVER);
		rig_result(
		    &rig, j, RESULT_DELIVERED, TROUBLE_NONE, 250, "250 ok");
		rig_settle(&rig);
		assert_int_equal(messages(), 0);
	}
}

static void
test_one_report_for_all(void **state)
{
	const struct rig_job *j, *b;

	(void)state;
	rcpt[0].notify = NOTIFY_SUCCESS;
	rcpt[2].notify = NOTIFY_NEVER;
	message(BO " " CY " dan@example.net");
	j = job(0);
	rig_result_one(&rig, j, 0, RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
	rig_result_one(&rig, j, 1, RESULT_FAILED, TROUBLE_REPLY, 550, "no");
	rig_result_one(&rig, j, 2, RESULT_FAILED, TROUBLE_REPLY, 550, "no");
	rig_done(&rig, j);
	b = job(1);
	assert_true(has_text(b,
	    "rfc822; " BO "\r\nAction: relayed\r\n"
	    "Status: 2.0.0\r\n"));
	assert_true(has_text(b, "rfc822; " CY "\r\nAction: failed\r\n"));
	assert_false(has_text(b, "dan@"));
	assert_int_equal(messages(), 1);
}

static void
test_envid_and_orcpt(void **state)
{
	const struct rig_job *b;

	(void)state;
	opt.envid = "id+3D7+2B8";
	rcpt[0].orcpt = "rfc822;Bo+2Bx@example.net";
	message(BO);
	assert_string_equal(job(0)->envid, "id+3D7+2B8");
	rig_result(&rig, job(0), RESULT_FAILED, TROUBLE_REPLY, 550, "no");
	b = job(1);
	assert_true(has_text(b, "Original-Envelope-Id: id=7+8\r\n"));
	assert_true(
	    has_text(b, "Original-Recipient: rfc822; Bo+x@example.net\r\n"));
	assert_string_equal(b->envid, "");
}

static void
test_what_is_returned(void **state)
{
	static const struct {
		const char *name;
		enum mail_ret ret;
		bool require_tls;
		enum result_kind kind;
		bool full;
	} row[] = {
		{ "nothing said", RET_NONE, false, RESULT_FAILED, false },
		{ "HDRS", RET_HDRS, false, RESULT_FAILED, false },
		{ "FULL", RET_FULL, false, RESULT_FAILED, true },
		{ "FULL, REQUIRETLS", RET_FULL, true, RESULT_FAILED, false },
		{ "FULL, relayed", RET_FULL, false, RESULT_DELIVERED, false },
	};
	const struct rig_job *b;
	unsigned n;
	size_t i;

	(void)state;
	rcpt[0].notify = NOTIFY_SUCCESS | NOTIFY_FAILURE;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		print_message("  %s\n", row[i].name);
		opt.ret = (uint8_t)row[i].ret;
		opt.require_tls = row[i].require_tls;
		n = rig.njobs;
		message_from(ANN, BO, "Subject: x\r\n\r\nH\303\244llo.\r\n");
		rig_result(&rig, job(n), row[i].kind, TROUBLE_REPLY, 550, "?");
		b = job(n + 1);
		assert_true(has_text(b, "Subject: x\r\n"));
		assert_int_equal(has_text(b, "H\303\244llo."), row[i].full);
		assert_int_equal(
		    has_text(b, "Content-Type: message/rfc822"), row[i].full);
		assert_int_equal(
		    b->kind, row[i].full ? BODY_8BITMIME : BODY_7BIT);
		assert_int_equal(b->opt.require_tls, row[i].require_tls);
	}
}

static void
test_utf8_sender(void **state)
{
	const struct rig_job *b;

	(void)state;
	opt.utf8 = 1;
	message_from("\303\244nn@example.org", BO, HELLO);
	assert_int_equal(job(0)->opt.utf8, 1);
	rig_result(&rig, job(0), RESULT_FAILED, TROUBLE_REPLY, 550, "no");
	b = job(1);
	assert_int_equal(b->opt.utf8, 1);
	assert_int_equal(b->kind, BODY_8BITMIME);
	assert_true(has_text(b, "message/global-headers"));
}

static void
test_delay_is_for_those_who_want(void **state)
{
	const struct rig_job *n;

	(void)state;
	rig.setup.conf.delay_notice = 1;
	rcpt[0].notify = NOTIFY_FAILURE;
	rcpt[1].notify = NOTIFY_FAILURE | NOTIFY_DELAY;
	message(BO " " CY);
	defer(job(0));
	sweep();
	n = job(1);
	assert_true(has_text(n, "rfc822; " CY "\r\nAction: delayed"));
	assert_false(has_text(n, BO));
}

static void
test_expires_in_silence(void **state)
{
	(void)state;
	rcpt[0].notify = NOTIFY_NEVER;
	message(BO);
	defer(job(0));
	rig.setup.conf.bounce_after = 0;
	sweep();
	assert_int_equal(messages(), 0);
	assert_int_equal(rig.njobs, 1);
}

/* ---- DELIVERBY ---- */

static void
test_by_return(void **state)
{
	const struct rig_job *b;

	(void)state;
	opt.by_mode = BY_RETURN;
	opt.by_ms = queue_now_ms() + SOON_MS;
	message(BO);
	assert_int_equal(job(0)->opt.by_ms, opt.by_ms);
	defer(job(0));
	b = job(1); /* by the timer */
	assert_true(queue_now_ms() >= opt.by_ms);
	assert_true(has_text(b, "Action: failed\r\nStatus: 5.4.7\r\n"));
	assert_int_equal(messages(), 1);
}

static void
test_by_return_in_flight(void **state)
{
	(void)state;
	opt.by_mode = BY_RETURN;
	opt.by_ms = queue_now_ms() - 1;
	message(BO);
	job(0);
	sweep();
	assert_int_equal(rig.njobs, 1); /* the relay's word counts */
	defer(&rig.job[0]);
	assert_true(has_text(job(1), "Status: 5.4.7\r\n"));
	assert_int_equal(messages(), 1);
}

static void
test_by_notify(void **state)
{
	(void)state;
	rig.setup.conf.delay_notice = 1; /* his time goes before ours */
	opt.by_mode = BY_NOTIFY;
	opt.by_ms = queue_now_ms() + LONG_MS;
	rcpt[1].notify = NOTIFY_FAILURE;
	message(BO " " CY);
	defer(job(0));
	sweep();
	assert_int_equal(rig.njobs, 1);

	opt.by_ms = queue_now_ms() + SOON_MS;
	message(BO " " CY);
	defer(job(1));
	assert_true(has_text(
	    job(2), "rfc822; " BO "\r\nAction: delayed\r\nStatus: 4.4.7\r\n"));
	assert_false(has_text(job(2), CY));
	sweep();
	assert_int_equal(rig.njobs, 3); /* once */
	assert_int_equal(messages(), 3);
}

/* ---- MT-PRIORITY ---- */

static void
test_priority(void **state)
{
	static const int sent[] = { 0, -9, 3, 9, -1, 3, 0 };
	static const int order[] = { 3, 2, 5, 0, 6, 4, 1 };
	uint64_t qid[7];
	unsigned i;

	(void)state;
	rig_disconnect(&rig, ROLE_RELAY);
	for (i = 0; i < 7; i++) {
		opt.priority = (uint8_t)(PRIORITY_NORMAL + sent[i]);
		qid[i] = message(BO);
	}
	rig_connect(&rig, ROLE_RELAY);
	for (i = 0; i < 7; i++) {
		assert_int_equal(job(i)->qid, qid[order[i]]);
		assert_int_equal(
		    job(i)->opt.priority, PRIORITY_NORMAL + sent[order[i]]);
	}
}

/* ---- FUTURERELEASE ---- */

static void
test_future(void **state)
{
	json_t *o;
	char text[64], when[32];
	int64_t at = queue_now_ms() + LONG_MS;
	time_t t = (time_t)(at / 1000);
	struct tm tm;

	(void)state;
	opt.hold_ms = at;
	snprintf(text, sizeof(text),
	    "{\"cmd\":\"queue.show\",\"qid\":"
	    "\"%013llx\"}",
	    (unsigned long long)message(BO));
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	o = ask(text);
	assert_string_equal(
	    json_string_value(json_object_get(o, "not_before")), when);
	assert_string_equal(
	    json_string_value(json_object_get(o, "next_try")), when);
	json_decref(o);

	/* An administrator keeps or frees it, but sends nothing too early. */
	assert_int_equal(changed("{\"cmd\":\"queue.retry\",\"all\":true}"), 0);
	assert_int_equal(changed("{\"cmd\":\"queue.hold\",\"all\":true}"), 1);
	assert_int_equal(
	    changed("{\"cmd\":\"queue.release\",\"all\":true}"), 1);
	rig_settle(&rig);
	assert_int_equal(rig.njobs, 0);
	o = ask(text);
	assert_string_equal(
	    json_string_value(json_object_get(o, "next_try")), when);
	json_decref(o);
}

/* A number of the answer about a message, or (0) ann's, or (1) all. */
static long
said(const char *cmd, uint64_t qid, const char *key)
{
	char which[32] = "\"user\":\"ann\"", text[96];
	json_t *o;
	long n;

	if (qid == 1)
		snprintf(which, sizeof(which), "\"all\":true");
	else if (qid > 1)
		snprintf(which, sizeof(which), "\"qid\":\"%013llx\"",
		    (unsigned long long)qid);
	snprintf(text, sizeof(text), "{%s,\"cmd\":\"queue.%s\"}", which, cmd);
	o = rig_ask_json(&rig, text, NULL);
	n = (long)json_integer_value(json_object_get(o, key));
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
	return n;
}

/* The answer tells of those that wait for their sender's time, and an
 * administrator can let them go before: held ones or not, single ones, a
 * user's, or all. */
static void
test_future_now(void **state)
{
	uint64_t qid, which;
	unsigned i;

	(void)state;
	for (i = 0; i < 6; i++) {
		opt.hold_ms = queue_now_ms() + LONG_MS;
		qid = message(BO);
		which = i % 3 == 2 ? qid : i % 3;
		if (i >= 3)
			assert_int_equal(said("hold", which, "changed"), 1);
		assert_int_equal(said("release", which, "later"), 1);
		assert_int_equal(said("retry", which, "later"), 1);
		if (i >= 3)
			assert_int_equal(said("hold", which, "changed"), 1);
		rig_settle(&rig);
		assert_int_equal(rig.njobs, i);
		assert_int_equal(
		    said("release\",\"now\":true,\"x\":\"", which, "changed"),
		    1);
		rig_result(
		    &rig, job(i), RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
		rig_settle(&rig);
	}
}

static void
test_future_comes(void **state)
{
	(void)state;
	opt.hold_ms = queue_now_ms() + SOON_MS;
	message(BO);
	job(0);
	assert_true(queue_now_ms() >= opt.hold_ms);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
	const struct CMUnitTest tests[] = {
		T(test_who_is_told),
		T(test_one_report_for_all),
		T(test_envid_and_orcpt),
		T(test_what_is_returned),
		T(test_utf8_sender),
		T(test_delay_is_for_those_who_want),
		T(test_expires_in_silence),
		T(test_by_return),
		T(test_by_return_in_flight),
		T(test_by_notify),
		T(test_priority),
		T(test_future),
		T(test_future_now),
		T(test_future_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
