/* submitd/queue_history.c: a queue among peers that this test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/policy.h"
#include "queue_rig.h"
#include "submitd/log.h"
#include "submitd/smtp_reply.h"

#define HELLO "Subject: hello\r\n\r\nHello.\r\n"
#define ANN   "ann@example.org"
#define BO    "bo@example.net"

static struct rig rig;

static int
up(void **state)
{
	rig_init(&rig);
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

static void
tell(uint64_t sid, uint32_t txn, enum decision_phase phase,
    enum policy_decision result, const char *text)
{
	const struct m_decision m = { .txn = txn,
		.phase = (uint8_t)phase,
		.result = (uint8_t)result,
		.why = "ok",
		.text = text,
		.user = "ann",
		.client_addr = "192.0.2.7",
		.ladder = "tls_clt\tpass\ttls_clt:\tVERIFY\n"
			  "user_relay\trelay\t\t\n" };

	assert_int_equal(ipc_send(rig.auth, M_DECISION, sid, &m), 0);
}

/* A recipient is accepted. */
static void
tell_of(uint64_t sid, uint32_t txn, const char *rcpt)
{
	const struct m_decision m = { .txn = txn,
		.phase = DECISION_RCPT,
		.result = POLICY_ALLOW,
		.why = "ok",
		.user = "ann",
		.rcpt = rcpt };

	assert_int_equal(ipc_send(rig.auth, M_DECISION, sid, &m), 0);
}

/* The items of an answer. */
static json_t *
list(const char *request)
{
	json_t *all, *o = rig_ask_json(&rig, request, &all);

	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
	return all;
}

static const char *
text_of(json_t *item, const char *key)
{
	const char *s = json_string_value(json_object_get(item, key));

	return s != NULL ? s : "(null)";
}

/* Their texts with blanks between. */
static void
assert_list(const char *request, const char *want)
{
	json_t *items = list(request), *item;
	char got[512] = "";
	size_t i;

	json_array_foreach(items, i, item)
	{
		if (i > 0)
			strncat(got, " ", sizeof(got) - strlen(got) - 1);
		strncat(got, json_string_value(json_object_get(item, "text")),
		    sizeof(got) - strlen(got) - 1);
	}
	if (strcmp(got, want) != 0)
		fail_msg("%s: \"%s\" instead of \"%s\"", request, got, want);
	json_decref(items);
}

#define ALL "{\"cmd\":\"history.list\"}"

/* Refusals and logins at once; what accepts mail with the mail. */
static void
test_with_the_mail(void **state)
{
	char request[96];
	json_t *items, *item, *step;
	uint64_t qid;

	(void)state;
	tell(RIG_SID(1), 0, DECISION_AUTH, POLICY_ALLOW, "login");
	tell(RIG_SID(1), 1, DECISION_MAIL, POLICY_REFUSE_PERM, "no");
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 2, ANN, BO, 0);
	tell(RIG_SID(1), 2, DECISION_MAIL, POLICY_ALLOW, "mail");
	tell(RIG_SID(1), 2, DECISION_RCPT, POLICY_REFUSE_TEMP, "later");
	tell(RIG_SID(1), 2, DECISION_RCPT, POLICY_ALLOW, "rcpt");
	tell(RIG_SID(1), 3, DECISION_MAIL, POLICY_ALLOW, "of-another");
	assert_list(ALL, "login no later");
	rig_data_open(&rig, RIG_SID(1), 2);
	rig_wait(&rig, &rig.nready, 1);
	rig_submit(&rig, RIG_SID(1), 2, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_int_equal(rig.submitted.reply, R_QUEUED);
	qid = rig.submitted.qid;
	assert_list(ALL, "login no mail later rcpt");

	snprintf(request, sizeof(request),
	    "{\"cmd\":\"history.list\",\"qid\":\"%013llx\"}",
	    (unsigned long long)qid);
	assert_list(request, "mail rcpt");
	items = list(request);
	item = json_array_get(items, 0);
	snprintf(request, sizeof(request), "%013llx", (unsigned long long)qid);
	assert_string_equal(
	    json_string_value(json_object_get(item, "qid")), request);
	assert_string_equal(
	    json_string_value(json_object_get(item, "user")), "ann");
	step = json_array_get(json_object_get(item, "ladder"), 0);
	assert_string_equal(
	    json_string_value(json_object_get(step, "rule")), "tls_clt");
	assert_string_equal(
	    json_string_value(json_object_get(step, "value")), "VERIFY");
	assert_int_equal(json_array_size(json_object_get(item, "ladder")), 2);
	json_decref(items);
}

/* Recipients that were decided like the one before are with that one; those of
 * decisions that found no room are with none. */
static void
test_decided_alike(void **state)
{
	static const char *const want[] = { "a@x.y,b@x.y", "c@x.y", "d@x.y",
		"e@x.y", "f@x.y", "g@x.y", "h@x.y,i@x.y" };
	static const bool told[] = { 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0 };
	struct m_envelope_rcpt m = { .txn = 1, .note = "" };
	json_t *items, *item, *also, *one;
	char address[] = "a@x.y", got[64];
	size_t i, k;

	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, "", 0);
	tell(RIG_SID(1), 1, DECISION_MAIL, POLICY_ALLOW, "mail");
	for (i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		address[0] = (char)('a' + i);
		m.to = address;
		if (told[i])
			tell_of(RIG_SID(1), 1, address);
		rig_envelope_rcpt(&rig, RIG_SID(1), &m);
	}
	rig_data_open(&rig, RIG_SID(1), 1);
	rig_submit(&rig, RIG_SID(1), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 1);
	items = list(ALL);
	assert_int_equal(json_array_size(items), 8);
	json_array_foreach(items, i, item)
	{
		if (i == 0)
			continue;
		snprintf(got, sizeof(got), "%s", text_of(item, "to"));
		also = json_object_get(item, "also_to");
		json_array_foreach(also, k, one) snprintf(got + strlen(got),
		    sizeof(got) - strlen(got), ",%s", json_string_value(one));
		assert_string_equal(got, want[i - 1]);
	}
	json_decref(items);
}

/* What is too much for a row is counted. */
static void
test_many_decided_alike(void **state)
{
	enum { RCPTS = 200 };
	struct m_envelope_rcpt m = { .txn = 1, .note = "" };
	char address[64];
	json_t *items, *item;
	long n;
	int i;

	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, "", 0);
	m.to = address;
	for (i = 0; i < RCPTS; i++) {
		snprintf(
		    address, sizeof(address), "recipient-%d@example.net", i);
		if (i == 0)
			tell_of(RIG_SID(1), 1, address);
		rig_envelope_rcpt(&rig, RIG_SID(1), &m);
	}
	rig_data_open(&rig, RIG_SID(1), 1);
	rig_submit(&rig, RIG_SID(1), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 1);
	items = list(ALL);
	item = json_array_get(items, 0);
	assert_string_equal(text_of(item, "to"), "recipient-0@example.net");
	n = (long)json_array_size(json_object_get(item, "also_to"));
	assert_true(n > 40 && n < 100);
	assert_int_equal(json_integer_value(json_object_get(item, "also_more")),
	    RCPTS - 1 - n);
	json_decref(items);
}

/* No message, no reason to have accepted it. */
static void
test_aborted(void **state)
{
	const struct m_txn abort = { .txn = 1 };

	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, 0);
	tell(RIG_SID(1), 1, DECISION_MAIL, POLICY_ALLOW, "mail");
	rig_data_open(&rig, RIG_SID(1), 1);
	rig_wait(&rig, &rig.nready, 1);
	ipc_send(rig.front, M_DATA_ABORT, RIG_SID(1), &abort);
	rig_settle(&rig);
	assert_list(ALL, "");
}

static void
test_discarded(void **state)
{
	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, ENVELOPE_DISCARD);
	tell(RIG_SID(1), 1, DECISION_RCPT, POLICY_DISCARD, "thrown-away");
	rig_data_open(&rig, RIG_SID(1), 1);
	rig_wait(&rig, &rig.nready, 1);
	rig_submit(&rig, RIG_SID(1), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_list(ALL, "thrown-away");
	assert_list("{\"cmd\":\"history.list\",\"refused\":true}", "");
}

/* A message keeps a few of its decisions, however many recipients it has. */
static void
test_bounded_of_one_message(void **state)
{
	int i;

	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, 0);
	for (i = 0; i < 100; i++)
		tell(RIG_SID(1), 1, DECISION_RCPT, POLICY_ALLOW, "r");
	rig_data_open(&rig, RIG_SID(1), 1);
	rig_wait(&rig, &rig.nready, 1);
	rig_submit(&rig, RIG_SID(1), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_list(ALL, "r r r r r r r r");
}

/* The oldest go, in both databases; a second has its limit. */
static void
test_bounded(void **state)
{
	json_t *items;
	int i;

	(void)state;
	rig.setup.conf.history_rows = 1000;
	for (i = 0; i < 5000; i++) {
		tell(RIG_SID(1), 0, DECISION_AUTH, POLICY_ALLOW, "login");
		if (i % 64 == 0)
			rig_settle(&rig);
	}
	rig_settle(&rig);
	items = list("{\"cmd\":\"history.list\",\"n\":1000}");
	assert_int_equal(json_array_size(items), 1000);
	json_decref(items);
	for (i = 0; i < 300; i++) {
		rig_grant(&rig, RIG_SID(2), "ann");
		rig_envelope(&rig, RIG_SID(2), (uint32_t)i + 1, ANN, BO, 0);
		for (int k = 0; k < 8; k++)
			tell(RIG_SID(2), (uint32_t)i + 1, DECISION_RCPT,
			    POLICY_ALLOW, "rcpt");
		rig_data_open(&rig, RIG_SID(2), (uint32_t)i + 1);
		rig_wait(&rig, &rig.nready, (unsigned)i + 1);
		rig_submit(
		    &rig, RIG_SID(2), (uint32_t)i + 1, HELLO, strlen(HELLO));
		rig_wait(&rig, &rig.nsubmitted, (unsigned)i + 1);
	}
	items = list("{\"cmd\":\"history.list\",\"n\":1000,"
		     "\"sid\":\"0000070000000002\"}");
	assert_int_equal(json_array_size(items), 1000);
	json_decref(items);
}

/* One result of the newest job, kept back by an entry. */
static void
keep_back(enum result_kind kind, const char *text, const char *ruled)
{
	const struct rig_job *j = &rig.job[rig.njobs - 1];
	struct m_job_result m = { .qid = j->qid,
		.n = j->n[0],
		.result = (uint8_t)kind,
		.trouble = TROUBLE_TLS,
		.esc = kind == RESULT_FAILED ? "5.7.0" : "4.7.0",
		.text = text,
		.mta = "mx.example.net[192.0.2.25]:587",
		.alone = 1,
		.ruled = ruled };

	ipc_send(rig.relay, M_JOB_RESULT, 0, &m);
	rig_done(&rig, j);
	rig_settle(&rig);
}

/* An entry about the smarthost keeps mail back: told once, until what it says
 * is something else. */
static void
test_of_the_smarthost(void **state)
{
	static const char ruled[] =
	    "tls\tOK\t128\tmx\t/CN=mx\t/CN=ca\n"
	    "tls_rcpt\trefuse\ttls_rcpt:bo@\tENCR:256\n";
	char request[96];
	json_t *items, *item;
	uint64_t qid;

	(void)state;
	rig.setup.conf.retry_min = rig.setup.conf.retry_max = 1;
	qid = rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	assert_true(qid != 0);
	snprintf(request, sizeof(request),
	    "{\"cmd\":\"history.list\",\"qid\":\"%013llx\"}",
	    (unsigned long long)qid);
	rig_wait(&rig, &rig.njobs, 1);
	keep_back(RESULT_DEFERRED, "too-weak", ruled);
	assert_list(request, "too-weak");
	items = list(request);
	item = json_array_get(items, 0);
	assert_string_equal(text_of(item, "phase"), "tls_rcpt");
	assert_string_equal(text_of(item, "result"), "defer");
	assert_string_equal(text_of(item, "why"), "tls");
	assert_string_equal(text_of(item, "name"), "mx.example.net");
	assert_string_equal(text_of(item, "addr"), "192.0.2.25");
	assert_string_equal(text_of(item, "issuer"), "/CN=ca");
	assert_string_equal(text_of(item, "user"), "ann");
	assert_string_equal(text_of(item, "to"), BO);
	assert_string_equal(text_of(item, "key"), "tls_rcpt:bo@");
	assert_int_equal(
	    json_integer_value(json_object_get(item, "bits")), 128);
	json_decref(items);
	rig_wait(&rig, &rig.njobs, 2);
	keep_back(RESULT_DEFERRED, "too-weak", ruled);
	assert_list(request, "too-weak");
	rig_wait(&rig, &rig.njobs, 3);
	keep_back(RESULT_DEFERRED, "nonsense", "connect\n");
	rig_wait(&rig, &rig.njobs, 4);
	keep_back(RESULT_DEFERRED, "not-relays",
	    "map\tOK\t128\t\t\t\nconnect\trefuse\tconnect:\tREJECT\n");
	assert_list(request, "too-weak");
	rig_wait(&rig, &rig.njobs, 5);
	keep_back(RESULT_FAILED, "for-good", ruled);
	assert_list(request, "too-weak for-good");
	items = list(request);
	assert_string_equal(
	    text_of(json_array_get(items, 1), "result"), "refuse");
	json_decref(items);
}

static void
test_outlives(void **state)
{
	(void)state;
	tell(RIG_SID(1), 0, DECISION_CONNECT, POLICY_REFUSE_PERM, "go");
	assert_list(ALL, "go");
	rig_stop(&rig);
	rig_up(&rig);
	assert_list(ALL, "go");
}

/* Lists are cut at the old end, and walk through long histories. */
static void
test_list(void **state)
{
	char text[16];
	int i;

	(void)state;
	for (i = 1; i <= 2500; i++) {
		snprintf(text, sizeof(text), "%d", i);
		tell(RIG_SID(i % 100 == 0 ? 2 : 1), 0, DECISION_AUTH,
		    POLICY_ALLOW, text);
		if (i % 64 == 0)
			rig_settle(&rig);
	}
	assert_list("{\"cmd\":\"history.list\",\"n\":3}", "2498 2499 2500");
	assert_list("{\"cmd\":\"history.list\",\"n\":2,"
		    "\"sid\":\"0000070000000002\"}",
	    "2400 2500");
	assert_list("{\"cmd\":\"history.list\",\"user\":\"bob\"}", "");
}

static void
test_bad_requests(void **state)
{
	static const char *const requests[] = {
		"{\"cmd\":\"history.list\",\"sid\":\"xyz\"}",
		"{\"cmd\":\"history.list\",\"sid\":7}",
		"{\"cmd\":\"history.list\",\"qid\":\"\"}",
		"{\"cmd\":\"history.list\",\"qid\":\"00000000000000001\"}",
		"{\"cmd\":\"history.list\",\"qid\":\"0\"}",
	};
	size_t i;
	char *text;

	(void)state;
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		text = rig_ask(&rig, requests[i]);
		if (strstr(text, "\"exit\":64") == NULL)
			fail_msg("%s: %s", requests[i], text);
		free(text);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_with_the_mail),
		T(test_decided_alike),
		T(test_many_decided_alike),
		T(test_aborted),
		T(test_discarded),
		T(test_bounded_of_one_message),
		T(test_bounded),
		T(test_of_the_smarthost),
		T(test_outlives),
		T(test_list),
		T(test_bad_requests),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
