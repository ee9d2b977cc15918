/*
 * submitd/queue_quota.c, queue_suspend.c: the queue role counts what users and
 * devices send, and stops them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/syscall.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "queue_rig.h"
#include "store/limit.h"
#include "submitd/smtp_reply.h"

#define HELLO "Subject: hello\r\n\r\nHello.\r\n"
#define ANN   "ann@example.org"

static struct rig rig;
static struct limits limits[2]; /* of the user, of the device */
static unsigned sessions;
static time_t ahead_s; /* of the true time */

/* In place of libc's: the time of day can be set. */
int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ts);

	if (rc == 0 && id == CLOCK_REALTIME)
		ts->tv_sec += ahead_s;
	return rc;
}

static int
up(void **state)
{
	ahead_s = 0;
	rig.user_id = 0;
	memset(limits, 0, sizeof(limits));
	sessions = 0;
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

/* DATA in a new session of the user; the session's number. */
static unsigned
begin(const char *user, int64_t device, const char *to)
{
	unsigned n = ++sessions;

	rig_grant_limits(&rig, RIG_SID(n), user, device, limits);
	rig_envelope(&rig, RIG_SID(n), 1, ANN, to, 0);
	rig_data_open(&rig, RIG_SID(n), 1);
	return n;
}

static void
end(unsigned session)
{
	ipc_send(rig.front, M_SESSION_CLOSE, RIG_SID(session), NULL);
}

/* A whole session; its reply to DATA. */
static enum smtp_reply
message(const char *user, int64_t device, const char *to)
{
	unsigned before = rig.nsubmitted, n = begin(user, device, to);
	enum smtp_reply reply = (enum smtp_reply)rig.ready.reply;

	if (reply == R_DATA_GO) {
		rig_submit(&rig, RIG_SID(n), 1, HELLO, strlen(HELLO));
		rig_wait(&rig, &rig.nsubmitted, before + 1);
		assert_int_equal(rig.submitted.reply, R_QUEUED);
	}
	end(n);
	return reply;
}

/* How many recipients are in this state. */
static long
recipients(const char *state)
{
	json_t *items,
	    *o = rig_ask_json(&rig, "{\"cmd\":\"queue.stats\"}", &items);
	long n = (long)json_integer_value(json_object_get(
	    json_object_get(o, "recipients"), state));

	json_decref(items);
	json_decref(o);
	return n;
}

/* ---- limits ---- */

static void
says(const char *part)
{
	if (strstr(rig.ready.text, part) == NULL)
		fail_msg("\"%s\" has no \"%s\"", rig.ready.text, part);
}

/* Each of them, with two messages to two recipients allowed. */
static void
test_each(void **state)
{
	static const struct {
		enum limit limit;
		int64_t value;
		const char *text;
	} rows[] = {
		{ LIMIT_MESSAGES_HOUR, 2, "2 messages an hour" },
		{ LIMIT_MESSAGES_DAY, 2, "2 messages a day" },
		{ LIMIT_RECIPIENTS_HOUR, 5, "5 recipients an hour" },
		{ LIMIT_RECIPIENTS_DAY, 4, "4 recipients a day" },
		{ LIMIT_NEW_RECIPIENTS_DAY, 4,
		    "4 recipients a day that you have not written to before" },
	};
	char user[16], other[16];
	size_t i;
	int where;

	(void)state;
	for (where = 0; where < 2; where++) {
		for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			memset(limits, 0, sizeof(limits));
			limits[where].v[rows[i].limit] = rows[i].value;
			snprintf(user, sizeof(user), "u%d%zu", where, i);
			snprintf(other, sizeof(other), "o%d%zu", where, i);
			assert_int_equal(
			    message(user, 7, "a@x.y b@x.y"), R_DATA_GO);
			assert_int_equal(
			    message(user, 7, "c@x.y d@x.y"), R_DATA_GO);
			assert_int_equal(
			    message(user, 7, "e@x.y f@x.y"), R_LIMIT_USER);
			says(rows[i].text);
			says("; try again in ");
			if (where == 1)
				says(" from this device");
			/* another user, and another device, may */
			assert_int_equal(
			    message(other, 7, "a@x.y b@x.y"), R_DATA_GO);
			assert_int_equal(message(user, 8, "g@x.y h@x.y"),
			    where == 1 ? R_DATA_GO : R_LIMIT_USER);
			memset(limits, 0, sizeof(limits));
			assert_int_equal(
			    message(user, 7, "e@x.y f@x.y"), R_DATA_GO);
		}
	}
}

/* Known recipients are not new, in any case of letters; a message to them only
 * passes. */
static void
test_known(void **state)
{
	(void)state;
	limits[0].v[LIMIT_NEW_RECIPIENTS_DAY] = 2;
	assert_int_equal(message("ann", 0, "a@x.y b@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "A@X.Y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "a@x.y c@x.y"), R_LIMIT_USER);
	assert_int_equal(message("bo", 0, "a@x.y b@x.y c@x.y"), R_POLICY);
	says("the message has 3 recipients and the limit is 2");
	/* twice in one message is one */
	assert_int_equal(
	    message("cy", 0, "a@x.y b@x.y A@x.y b@X.y"), R_DATA_GO);
	assert_int_equal(message("cy", 0, "c@x.y"), R_LIMIT_USER);
	rig_stop(&rig); /* and after a restart */
	rig_up(&rig);
	assert_int_equal(message("ann", 0, "b@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "c@x.y"), R_LIMIT_USER);
}

/* Sums outlive the queue. */
static void
test_durable(void **state)
{
	json_t *items, *o;
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_int_equal(message("ann", 7, "a@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "a@x.y b@x.y"), R_DATA_GO);
	rig_stop(&rig);
	rig_up(&rig);
	o = rig_ask_json(
	    &rig, "{\"cmd\":\"limit.usage\",\"user\":\"ann\"}", &items);
	json_decref(o);
	assert_int_equal(json_array_size(items), 3);
	o = json_array_get(items, 0);
#define IS(key, n)                                                             \
	assert_int_equal(json_integer_value(json_object_get(o, key)), n)
	assert_true(json_is_null(json_object_get(o, "device")));
	IS("messages_hour", 4);
	IS("messages_day", 4);
	IS("recipients_hour", 5);
	IS("recipients_day", 5);
	IS("new_recipients_day", 2);
	IS("sessions", 0);
#undef IS
	json_decref(items);
	limits[0].v[LIMIT_MESSAGES_HOUR] = 4;
	assert_int_equal(message("ann", 7, "a@x.y"), R_LIMIT_USER);
}

/* A clock that ran a year ahead for a while, or was right and is set back a
 * year, lifts no limit, and what was counted falls as ever. */
static void
test_clock(void **state)
{
	static const time_t year_s = 365 * 24 * 3600, hours_s = 2 * 3600;
	static const char *const users[] = { "ann", "bo", "cy", "dee" };
	size_t i;

	(void)state;
	limits[0].v[LIMIT_MESSAGES_HOUR] = 3;
	for (i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		time_t then_s = i % 2 == 0 ? year_s : 0;
		time_t back_s = i % 2 == 0 ? 0 : -year_s;

		ahead_s = 0;
		assert_int_equal(message(users[i], 7, "a@x.y"), R_DATA_GO);
		ahead_s = then_s;
		assert_int_equal(message(users[i], 7, "a@x.y"), R_DATA_GO);
		ahead_s = back_s;
		if (i >= 2) {
			rig_stop(&rig);
			rig_up(&rig);
		}
		assert_int_equal(message(users[i], 7, "a@x.y"), R_DATA_GO);
		assert_int_equal(message(users[i], 7, "a@x.y"), R_LIMIT_USER);
		ahead_s = back_s + hours_s;
		assert_int_equal(message(users[i], 7, "a@x.y"), R_DATA_GO);
		assert_int_equal(message(users[i], 7, "a@x.y"), R_DATA_GO);
		assert_int_equal(message(users[i], 7, "a@x.y"), R_DATA_GO);
		assert_int_equal(message(users[i], 7, "a@x.y"), R_LIMIT_USER);
		if (i >= 2) { /* so far it is written */
			rig_stop(&rig);
			rig_up(&rig);
			assert_int_equal(
			    message(users[i], 7, "a@x.y"), R_LIMIT_USER);
		}
	}
}

/* Many at DATA together pass no limit, and what is given up counts no more. */
static void
test_side_by_side(void **state)
{
	const struct m_txn m = { .txn = 1 };
	unsigned first, second;

	(void)state;
	limits[0].v[LIMIT_MESSAGES_HOUR] = 2;
	first = begin("ann", 0, "a@x.y");
	assert_int_equal(rig.ready.reply, R_DATA_GO);
	second = begin("ann", 0, "a@x.y");
	assert_int_equal(rig.ready.reply, R_DATA_GO);
	begin("ann", 0, "a@x.y");
	assert_int_equal(rig.ready.reply, R_LIMIT_USER);
	ipc_send(rig.front, M_DATA_ABORT, RIG_SID(first), &m);
	assert_int_equal(message("ann", 0, "a@x.y"), R_DATA_GO);
	begin("ann", 0, "a@x.y");
	assert_int_equal(rig.ready.reply, R_LIMIT_USER);
	end(second);
	assert_int_equal(message("ann", 0, "a@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "a@x.y"), R_LIMIT_USER);
}

static void
test_sessions(void **state)
{
	unsigned first;

	(void)state;
	limits[0].v[LIMIT_SESSIONS] = 2;
	first = begin("ann", 0, "a@x.y");
	begin("ann", 0, "a@x.y");
	assert_int_equal(rig.ready.reply, R_DATA_GO);
	begin("ann", 0, "a@x.y");
	assert_int_equal(rig.ready.reply, R_LIMIT_USER);
	says("2 sessions at one time; close some");
	end(first);
	end(sessions);
	begin("ann", 0, "a@x.y");
	assert_int_equal(rig.ready.reply, R_DATA_GO);
}

/* DATA in a session that is there already; its reply. */
static enum smtp_reply
again(unsigned n, uint32_t txn)
{
	rig_grant_limits(&rig, RIG_SID(n), "ann", 7, limits);
	rig_envelope(&rig, RIG_SID(n), txn, ANN, "a@x.y", 0);
	rig_data_open(&rig, RIG_SID(n), txn);
	return (enum smtp_reply)rig.ready.reply;
}

/* One too many is no harm to those that were there before, be it the user's or
 * the device's limit; it gets in when there is room. */
static void
test_late_session(void **state)
{
	const struct m_txn m = { .txn = 1 };
	unsigned where, first, second, late;

	(void)state;
	for (where = 0; where < 2; where++) {
		memset(limits, 0, sizeof(limits));
		limits[where].v[LIMIT_SESSIONS] = 2;
		first = begin("ann", 7, "a@x.y");
		second = begin("ann", 7, "a@x.y");
		late = begin("ann", 7, "a@x.y");
		assert_int_equal(rig.ready.reply, R_LIMIT_USER);
		ipc_send(rig.front, M_DATA_ABORT, RIG_SID(first), &m);
		ipc_send(rig.front, M_DATA_ABORT, RIG_SID(second), &m);
		assert_int_equal(again(first, 2), R_DATA_GO);
		assert_int_equal(again(late, 2), R_LIMIT_USER);
		assert_int_equal(again(second, 2), R_DATA_GO);
		end(first);
		assert_int_equal(again(late, 3), R_DATA_GO);
		/* fewer than are there: the next ones to ask stay out */
		limits[where].v[LIMIT_SESSIONS] = 1;
		ipc_send(rig.front, M_DATA_ABORT, RIG_SID(second),
		    &(struct m_txn){ .txn = 2 });
		assert_int_equal(again(second, 3), R_LIMIT_USER);
		end(second);
		end(late);
	}
}

static void
test_size(void **state)
{
	(void)state;
	begin("ann", 7, "a@x.y");
	assert_int_equal(rig.ready.max_size, 0);
	limits[0].v[LIMIT_MESSAGE_SIZE] = 5000;
	begin("ann", 7, "a@x.y");
	assert_int_equal(rig.ready.max_size, 5000);
	limits[1].v[LIMIT_MESSAGE_SIZE] = 3000;
	begin("ann", 7, "a@x.y");
	assert_int_equal(rig.ready.max_size, 3000);
	limits[1].v[LIMIT_MESSAGE_SIZE] = 9000;
	begin("ann", 7, "a@x.y");
	assert_int_equal(rig.ready.max_size, 5000);
}

/* So many bytes in the file of a message; the reply. */
static enum smtp_reply
submit_large(unsigned session, size_t len)
{
	static char body[3000 + CONF_HEADER_SLACK + 1];
	const struct m_txn m = { .txn = 1 };
	unsigned before = rig.nsubmitted, files = rig.nbody_fd;

	assert_true(len <= sizeof(body));
	memset(body, 'x', sizeof(body));
	ipc_send(rig.front, M_BODY_FILE, RIG_SID(session), &m);
	rig_wait(&rig, &rig.nbody_fd, files + 1);
	rig_submit_file(&rig, RIG_SID(session), 1, body, len);
	rig_wait(&rig, &rig.nsubmitted, before + 1);
	return (enum smtp_reply)rig.submitted.reply;
}

/* A front that does not keep to it, though an honest one may add to the
 * header; and neither does a change meanwhile. */
static void
test_size_of_a_front(void **state)
{
	unsigned n;

	(void)state;
	limits[0].v[LIMIT_MESSAGE_SIZE] = 5000;
	limits[1].v[LIMIT_MESSAGE_SIZE] = 3000;
	n = begin("ann", 7, "a@x.y");
	assert_int_equal(submit_large(n, 3000 + CONF_HEADER_SLACK + 1), R_TEMP);
	n = begin("ann", 7, "a@x.y");
	memset(limits, 0, sizeof(limits));
	limits[0].v[LIMIT_MESSAGE_SIZE] = 100;
	begin("ann", 7, "a@x.y");
	assert_int_equal(submit_large(n, 3000 + CONF_HEADER_SLACK), R_QUEUED);
}

/* ---- what looks like a stolen account ---- */

static void
assert_suspended(const char *why)
{
	json_t *items,
	    *o = rig_ask_json(&rig, "{\"cmd\":\"user.suspended\"}", &items);

	json_decref(o);
	assert_int_equal(json_array_size(items), 1);
	o = json_array_get(items, 0);
	assert_string_equal(
	    json_string_value(json_object_get(o, "user")), "ann");
	assert_string_equal(json_string_value(json_object_get(o, "why")), why);
	json_decref(items);
}

static long
changed(const char *request)
{
	json_t *items, *o = rig_ask_json(&rig, request, &items);
	long n = (long)json_integer_value(json_object_get(o, "changed"));

	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(items);
	json_decref(o);
	return n;
}

/* The message that is one too many is held, with what is there already. */
static void
test_new_recipients(void **state)
{
	(void)state;
	limits[0].v[LIMIT_SUSPEND_NEW] = 3;
	rig_relay_state(&rig, false, TROUBLE_CONNECT, "down"); /* mail waits */
	rig_settle(&rig);
	assert_int_equal(message("ann", 0, "a@x.y b@x.y"), R_DATA_GO);
	assert_int_equal(message("bo", 0, "a@x.y b@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "a@x.y b@x.y c@x.y"), R_DATA_GO);
	assert_int_equal(recipients("held"), 0);
	assert_int_equal(message("ann", 0, "d@x.y"), R_DATA_GO);
	assert_int_equal(recipients("held"), 6);
	assert_suspended("it wrote to 4 new recipients within an hour");
	assert_int_equal(message("ann", 0, "a@x.y"), R_USER_SUSPENDED);
	says("it wrote to 4 new recipients within an hour");
	assert_int_equal(message("bo", 0, "a@x.y"), R_DATA_GO);
	rig_stop(&rig); /* and after a restart */
	rig_up(&rig);
	assert_int_equal(message("ann", 0, "a@x.y"), R_USER_SUSPENDED);
	assert_int_equal(recipients("held"), 6);
	/* an administrator sends one on, and throws the rest away */
	assert_int_equal(
	    changed("{\"cmd\":\"user.resume\",\"user\":\"ann\"}"), 1);
	assert_int_equal(
	    changed("{\"cmd\":\"user.resume\",\"user\":\"ann\"}"), 0);
	assert_int_equal(
	    changed("{\"cmd\":\"queue.release\",\"user\":\"ann\"}"), 3);
	assert_int_equal(recipients("held"), 0);
	assert_int_equal(
	    changed("{\"cmd\":\"queue.hold\",\"user\":\"nobody\"}"), 0);
	/* known ones, and a few new ones, are no reason again */
	assert_int_equal(message("ann", 0, "d@x.y e@x.y f@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "g@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "h@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "h@x.y"), R_USER_SUSPENDED);
}

static size_t
suspended(void)
{
	json_t *items,
	    *o = rig_ask_json(&rig, "{\"cmd\":\"user.suspended\"}", &items);
	size_t n = json_array_size(items);

	json_decref(items);
	json_decref(o);
	return n;
}

/* A message that can't be stored suspends nobody and makes nobody known, be it
 * in memory or on disk; one behind it in the same group is not held. */
static void
test_not_stored(void **state)
{
	const struct m_txn m = { .txn = 1 };
	const char *body = HELLO;
	unsigned bad, good;

	(void)state;
	limits[0].v[LIMIT_SUSPEND_NEW] = 2;
	bad = begin("ann", 0, "a@x.y b@x.y c@x.y");
	good = begin("ann", 0, "a@x.y");
	ipc_send(rig.front, M_BODY_FILE, RIG_SID(bad), &m);
	rig_wait(&rig, &rig.nbody_fd, 1);
	rig_submit_file_as(
	    &rig, RIG_SID(bad), 1, body, strlen(body), strlen(body) - 1);
	rig_submit(&rig, RIG_SID(good), 1, body, strlen(body));
	rig_wait(&rig, &rig.nsubmitted, 2);
	assert_int_equal(rig.naccepted, 1);
	assert_int_equal(recipients("held"), 0);
	assert_int_equal(suspended(), 0);
	rig_stop(&rig);
	rig_up(&rig);
	assert_int_equal(suspended(), 0);
	assert_int_equal(message("ann", 0, "b@x.y"), R_DATA_GO);
	assert_int_equal(recipients("held"), 0);
	assert_int_equal(message("ann", 0, "c@x.y"), R_DATA_GO);
	assert_int_equal(recipients("held"), 3);
}

/* Two in one commit group: the second is held as well. */
static void
test_one_group(void **state)
{
	unsigned first, second;

	(void)state;
	limits[0].v[LIMIT_SUSPEND_NEW] = 1;
	first = begin("ann", 0, "a@x.y b@x.y");
	second = begin("ann", 0, "c@x.y");
	assert_int_equal(rig.ready.reply, R_DATA_GO);
	rig_submit(&rig, RIG_SID(first), 1, HELLO, strlen(HELLO));
	rig_submit(&rig, RIG_SID(second), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.naccepted, 2);
	rig_settle(&rig);
	assert_int_equal(recipients("held"), 3);
	assert_int_equal(rig.njobs, 0);
}

static void
test_failures(void **state)
{
	int i;

	(void)state;
	limits[0].v[LIMIT_SUSPEND_FAILED] = 2;
	for (i = 0; i < 3; i++) {
		assert_int_equal(message("ann", 0, "a@x.y"), R_DATA_GO);
		rig_wait(&rig, &rig.njobs, (unsigned)(2 * i + 1));
		rig_result(&rig, &rig.job[2 * i], RESULT_FAILED,
		    TROUBLE_REPLY, 550, "5.1.1 no");
		/* the report about it */
		rig_wait(&rig, &rig.njobs, (unsigned)(2 * i + 2));
		rig_result(&rig, &rig.job[2 * i + 1], RESULT_DELIVERED,
		    TROUBLE_NONE, 250, "ok");
		rig_settle(&rig);
	}
	assert_suspended("its mail failed for 3 recipients within an hour");
	assert_int_equal(message("ann", 0, "a@x.y"), R_USER_SUSPENDED);
}

/* Another user of the same name has nothing of the one who was deleted: neither
 * the suspension nor what was counted ... */
static void
test_same_name(void **state)
{
	int restart;

	(void)state;
	for (restart = 0; restart < 2; restart++) {
		memset(limits, 0, sizeof(limits));
		limits[0].v[LIMIT_SUSPEND_NEW] = 1;
		limits[0].v[LIMIT_SUSPEND_FAILED] = 1;
		rig.user_id += 2;
		assert_int_equal(
		    message("ann", 0, restart ? "b@x.y c@x.y" : "d@x.y e@x.y"),
		    R_DATA_GO);
		assert_int_equal(message("ann", 0, "a@x.y"), R_USER_SUSPENDED);
		assert_int_equal(suspended(), 1);
		if (restart) {
			rig_stop(&rig);
			rig_up(&rig);
		}
		rig.user_id++;
		limits[0].v[LIMIT_MESSAGES_HOUR] = 2;
		assert_int_equal(message("ann", 0, "a@x.y"), R_DATA_GO);
		assert_int_equal(suspended(), 0);
		assert_int_equal(message("ann", 0, "a@x.y"), R_DATA_GO);
		assert_int_equal(message("ann", 0, "a@x.y"), R_LIMIT_USER);
		rig_stop(&rig);
		rig_up(&rig);
		assert_int_equal(suspended(), 0);
		assert_int_equal(message("ann", 0, "a@x.y"), R_LIMIT_USER);
	}
}

/* ... nor what fails of that one's mail. */
static void
test_same_name_failures(void **state)
{
	(void)state;
	limits[0].v[LIMIT_SUSPEND_FAILED] = 1;
	assert_int_equal(message("ann", 0, "a@x.y b@x.y"), R_DATA_GO);
	rig_wait(&rig, &rig.njobs, 1);
	rig.user_id = 2;
	assert_int_equal(message("ann", 0, "a@x.y"), R_DATA_GO);
	rig_result(
	    &rig, &rig.job[0], RESULT_FAILED, TROUBLE_REPLY, 550, "5.1.1 no");
	rig_wait(&rig, &rig.njobs, 3); /* the report about it */
	assert_int_equal(suspended(), 0);
}

static void
test_refused(void **state)
{
	(void)state;
	limits[0].v[LIMIT_SUSPEND_REFUSED] = 2;
	limits[0].v[LIMIT_MESSAGES_HOUR] = 1;
	assert_int_equal(message("ann", 0, "a@x.y"), R_DATA_GO);
	assert_int_equal(message("ann", 0, "a@x.y"), R_LIMIT_USER);
	assert_int_equal(message("ann", 0, "a@x.y"), R_LIMIT_USER);
	assert_int_equal(message("ann", 0, "a@x.y"), R_LIMIT_USER);
	assert_suspended("it went over its limits 3 times within an hour");
	assert_int_equal(message("ann", 0, "a@x.y"), R_USER_SUSPENDED);
}

/* Why, for submitctl log. */
static void
test_history(void **state)
{
	json_t *items, *o;

	(void)state;
	limits[0].v[LIMIT_MESSAGES_HOUR] = 1;
	message("ann", 7, "a@x.y");
	message("ann", 7, "a@x.y");
	o = rig_ask_json(
	    &rig, "{\"cmd\":\"history.list\",\"refused\":true}", &items);
	json_decref(o);
	assert_int_equal(json_array_size(items), 1);
	o = json_array_get(items, 0);
#define IS(key, text)                                                          \
	assert_string_equal(json_string_value(json_object_get(o, key)), text)
	IS("phase", "data");
	IS("result", "defer");
	IS("why", "limit");
	IS("user", "ann");
	IS("from", ANN);
#undef IS
	assert_int_equal(
	    json_integer_value(json_object_get(o, "device")), 7);
	assert_int_equal(
	    json_integer_value(json_object_get(o, "code")), 450);
	json_decref(items);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
	const struct CMUnitTest tests[] = {
		T(test_each),
		T(test_known),
		T(test_durable),
		T(test_clock),
		T(test_side_by_side),
		T(test_sessions),
		T(test_late_session),
		T(test_size),
		T(test_size_of_a_front),
		T(test_new_recipients),
		T(test_not_stored),
		T(test_one_group),
		T(test_failures),
		T(test_same_name),
		T(test_same_name_failures),
		T(test_refused),
		T(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
