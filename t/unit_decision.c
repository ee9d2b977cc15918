/* store/decision.c, store/mailq_decision.c, and history.c's decisions: the
 * same in both databases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/history.h"
#include "store/mailq.h"

static char dir[64];
static struct mailq *mq;
static struct history *h;

static int
up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/unit_decision.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(mailq_open(dir, &mq), MAILQ_OK);
	assert_int_equal(history_open(dir, &h), 0);
	return 0;
}

static int
down(void **state)
{
	static const char *const names[] = { "queue.db", "queue.db-wal",
		"history.db", "history.db-wal", "lock" };
	char path[128];
	size_t i;

	(void)state;
	mailq_close(&mq);
	history_close(&h);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

/* ---- both databases in one dress ---- */

enum where { QUEUE, HISTORY, WHERES };
static const char *const where_name[] = { "queue.db", "history.db" };

static void
begin(enum where w)
{
	if (w == QUEUE)
		assert_int_equal(mailq_begin(mq), MAILQ_OK);
	else
		assert_int_equal(history_begin(h), 0);
}

static void
commit(enum where w)
{
	if (w == QUEUE)
		assert_int_equal(mailq_commit(mq), MAILQ_OK);
	else
		assert_int_equal(history_commit(h), 0);
}

static void
add(enum where w, const struct decision *d)
{
	if (w == QUEUE)
		assert_int_equal(mailq_decision_add(mq, d), MAILQ_OK);
	else
		assert_int_equal(history_decision_add(h, d), 0);
}

static bool
prune(enum where w, int64_t before_us, int64_t rows)
{
	bool more = false;

	if (w == QUEUE)
		assert_int_equal(
		    mailq_decisions_prune(mq, before_us, rows, &more),
		    MAILQ_OK);
	else
		assert_int_equal(
		    history_decisions_prune(h, before_us, rows, &more), 0);
	return more;
}

/* What was found: the codes, newest first. */
static struct {
	int code[64];
	unsigned n;
	struct decision last;
	char ladder[64];
} found;

static void
note(void *arg, const struct decision *d)
{
	(void)arg;
	if (found.n < 64)
		found.code[found.n] = d->code;
	found.n++;
	found.last = *d;
	snprintf(found.ladder, sizeof(found.ladder), "%s", d->ladder);
}

/* Returns the number of steps. */
static unsigned
walk(enum where w, const struct decision_filter *f)
{
	struct decision_walk walk = { INT64_MAX, false };
	unsigned steps = 0;

	memset(&found, 0, sizeof(found));
	for (; !walk.end; steps++) {
		if (w == QUEUE)
			assert_int_equal(
			    mailq_decisions(mq, f, &walk, note, NULL),
			    MAILQ_OK);
		else
			assert_int_equal(
			    history_decisions(h, f, &walk, note, NULL), 0);
	}
	return steps;
}

static struct decision
example(int code)
{
	const struct decision d = { .at_us = 1000 + code,
		.sid = UINT64_C(0xffffff0000000001),
		.qid = 7,
		.phase = "rcpt",
		.result = "allow",
		.why = "ok",
		.code = code,
		.esc = "",
		.text = "",
		.user = "ann",
		.how = "PLAIN",
		.client_addr = "192.0.2.7",
		.client_name = "[192.0.2.7]",
		.verify = "NO",
		.bits = 256,
		.cn = "",
		.subject = "",
		.issuer = "",
		.sender = "ann@example.org",
		.rcpt = "bo@example.net",
		.key = "",
		.ladder = "user_relay\trelay\t\t\n" };

	return d;
}

/* ---- the tests ---- */

static void
test_filters(void **state)
{
	static const struct {
		const char *name;
		struct decision_filter f;
		unsigned n;
		int first; /* its code */
	} rows[] = {
		{ "all", { 0 }, 5, 5 },
		{ "session", { .sid = 2 }, 1, 2 },
		{ "session with the highest bit",
		    { .sid = UINT64_C(0xffffff0000000001) }, 4, 5 },
		{ "message", { .qid = 3 }, 1, 3 },
		{ "user", { .user = "bob" }, 1, 4 },
		{ "address", { .addr = "192.0.2.8" }, 1, 5 },
		{ "since", { .since_us = 1004 }, 2, 5 },
		{ "refused", { .refused = true }, 2, 3 },
		{ "two at once", { .refused = true, .sid = 2 }, 1, 2 },
		{ "none", { .user = "ANN" }, 0, 0 },
	};
	struct decision d;
	int w;
	size_t i;

	(void)state;
	for (w = 0; w < WHERES; w++) {
		begin((enum where)w);
		for (int code = 1; code <= 5; code++) {
			d = example(code);
			d.sid = code == 2 ? 2 : d.sid;
			d.qid = code == 3 ? 3 : d.qid;
			d.result = code == 2 ? "refuse"
			    : code == 3      ? "defer"
					     : "allow";
			d.user = code == 4 ? "bob" : d.user;
			d.client_addr = code == 5 ? "192.0.2.8" : d.client_addr;
			add((enum where)w, &d);
		}
		commit((enum where)w);
		for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			walk((enum where)w, &rows[i].f);
			if (found.n != rows[i].n ||
			    (found.n > 0 && found.code[0] != rows[i].first))
				fail_msg("%s: %s: %u rows, first %d",
				    where_name[w], rows[i].name, found.n,
				    found.code[0]);
		}
	}
	d = example(1);
	assert_true(found.n == 0);
	walk(QUEUE, &rows[0].f);
	assert_true(found.last.sid == d.sid);
	assert_int_equal(found.last.at_us, 1001);
	assert_int_equal(found.last.bits, 256);
	assert_string_equal(found.ladder, d.ladder);
}

/* The oldest go first, by age or by number; a long walk has many steps. */
static void
test_bounds(void **state)
{
	const struct decision_filter all = { 0 };
	struct decision d;
	int w;

	(void)state;
	for (w = 0; w < WHERES; w++) {
		begin((enum where)w);
		for (int code = 1; code <= 2500; code++) {
			d = example(code);
			add((enum where)w, &d);
		}
		commit((enum where)w);
		assert_int_equal(walk((enum where)w, &all), 4);
		assert_int_equal(found.n, 2500);
		begin((enum where)w);
		assert_false(prune((enum where)w, 0, 2500));
		assert_true(prune((enum where)w, 0, 40));
		assert_true(prune((enum where)w, 0, 40));
		assert_true(prune((enum where)w, 0, 40));
		assert_false(prune((enum where)w, 0, 40));
		commit((enum where)w);
		walk((enum where)w, &all);
		assert_int_equal(found.n, 40);
		assert_int_equal(found.code[0], 2500);
		assert_int_equal(found.code[39], 2461);
		begin((enum where)w);
		assert_true(prune((enum where)w, 1000 + 2491, 1000));
		commit((enum where)w);
		walk((enum where)w, &all);
		assert_int_equal(found.n, 10);
		assert_int_equal(found.code[9], 2491);
		begin((enum where)w);
		assert_true(prune((enum where)w, INT64_MAX, 1000));
		assert_false(prune((enum where)w, INT64_MAX, 1000));
		commit((enum where)w);
		assert_int_equal(walk((enum where)w, &all), 1);
		assert_int_equal(found.n, 0);
	}
}

/* A message and why it was accepted: both or neither. */
static void
test_one_transaction(void **state)
{
	const struct mailq_rcpt rcpt = { .address = "bo@example.net",
		.state = MAILQ_WAITING };
	const struct mailq_msg msg = { .qid = 7,
		.user = "ann",
		.how = "PLAIN",
		.client_addr = "192.0.2.7",
		.from = "",
		.size = 2 };
	const struct decision_filter all = { 0 };
	const struct decision d = example(1);

	(void)state;
	begin(QUEUE);
	assert_int_equal(mailq_add(mq, &msg, "hi", &rcpt, 1), MAILQ_OK);
	add(QUEUE, &d);
	mailq_rollback(mq);
	walk(QUEUE, &all);
	assert_int_equal(found.n, 0);
	begin(QUEUE);
	assert_int_equal(mailq_add(mq, &msg, "hi", &rcpt, 1), MAILQ_OK);
	add(QUEUE, &d);
	commit(QUEUE);
	assert_int_equal(mailq_delete(mq, 7), MAILQ_OK);
	walk(QUEUE, &all);
	assert_int_equal(found.n, 1); /* it outlives the message */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_filters, up, down),
		cmocka_unit_test_setup_teardown(test_bounds, up, down),
		cmocka_unit_test_setup_teardown(test_one_transaction, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
