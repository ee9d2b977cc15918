/* Tests of submitd/queue_login.c: the queue role among peers that this test
 * plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "queue_rig.h"
#include "submitd/log.h"

static struct rig rig;

static int
up(void **state)
{
	rig_init(&rig);
	*state = &rig;
	rig.setup.conf.throttle_user = 3;
	rig.setup.conf.throttle_address = 5;
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
restart(void)
{
	rig_stop(&rig);
	rig_up(&rig);
}

/* The items of an answer, the last line in *end (which may be NULL). */
static json_t *
ask(const char *request, json_t **end)
{
	json_t *all, *o = rig_ask_json(&rig, request, &all);

	if (end != NULL)
		*end = json_incref(o);
	json_decref(o);
	return all;
}

static const char *
member(const json_t *items, size_t i, const char *key)
{
	const char *s =
	    json_string_value(json_object_get(json_array_get(items, i), key));

	return s != NULL ? s : "";
}

static json_int_t
cleared(const char *request)
{
	json_t *end;
	json_int_t n;

	json_decref(ask(request, &end));
	assert_true(json_is_true(json_object_get(end, "ok")));
	n = json_integer_value(json_object_get(end, "cleared"));
	json_decref(end);
	return n;
}

static void
wrong(const char *user, const char *address, uint64_t password)
{
	const struct m_auth_seen m = { .ticket = 9,
		.result = SEEN_WRONG,
		.user = user,
		.client_addr = address,
		.client = "laptop",
		.wrong = password };

	rig_auth_seen(&rig, &m);
	assert_int_equal(rig.throttle.ticket, 9);
}

static void
right(const char *user, int64_t device, const char *address, const char *client,
    uint32_t ticket)
{
	const struct m_auth_seen m = { .ticket = ticket,
		.result = SEEN_RIGHT,
		.user = user,
		.device = device,
		.client_addr = address,
		.client = client };

	rig_auth_seen(&rig, &m);
}

static bool
refused(const char *user, const char *address)
{
	rig_throttle_ask(&rig, user, address);
	return rig.throttle.refuse;
}

static void
guesses(const char *user, const char *address, uint64_t n)
{
	while (n > 0)
		wrong(user, address, n--);
}

static void
refuses_after_too_many(void **state)
{
	(void)state;
	assert_false(refused("ann", "192.0.2.7"));
	guesses("ann", "192.0.2.7", 2);
	wrong("ann", "192.0.2.7", 2); /* again: counts once */
	assert_false(refused("ann", "192.0.2.7"));
	wrong("ann", "192.0.2.7", 7);
	assert_false(rig.throttle.refuse);
	assert_true(refused("ann", "192.0.2.7"));
	assert_false(refused("bob", "192.0.2.7"));
	/* others only slow the user down */
	assert_false(refused("ann", "192.0.2.8"));
	assert_int_equal(rig.throttle.delay_ms, 1000);
	/* a right guess is refused, too, and makes no trust */
	right("ann", 0, "192.0.2.7", "laptop", 4);
	assert_true(rig.throttle.refuse);
	assert_true(refused("ann", "192.0.2.7"));
}

/* As one of several sessions. */
static bool
refused_to(unsigned session, uint32_t ticket)
{
	const struct m_throttle_ask m = { .ticket = ticket,
		.user = "ann",
		.client_addr = "192.0.2.7" };
	unsigned n = rig.nthrottle;

	ipc_send(rig.auth, M_THROTTLE_ASK, RIG_SID(session), &m);
	rig_wait(&rig, &rig.nthrottle, n + 1);
	assert_int_equal(rig.throttle.ticket, ticket);
	return rig.throttle.refuse;
}

/* True if it has to wait for others. */
static bool
waits(unsigned session, uint32_t ticket)
{
	assert_false(refused_to(session, ticket));
	assert_true(rig.throttle.again == (rig.throttle.delay_ms > 0));
	return rig.throttle.again;
}

/* Sessions 1 to 3 from a place that is known by then, and 4. */
static void
three_go_and_one_waits(void)
{
	right("ann", 0, "192.0.2.7", "laptop", 1);
	assert_false(waits(1, 11));
	assert_false(waits(2, 12));
	assert_false(waits(3, 13));
	assert_true(waits(4, 14));
}

/* A login of session `of` ends; who hears of it gets the answer of its turn. */
static void
ends(unsigned of, enum seen_result result, uint64_t password, unsigned hear)
{
	const struct m_auth_seen m = { .ticket = 99,
		.result = (uint8_t)result,
		.user = "ann",
		.client_addr = "192.0.2.7",
		.client = "laptop",
		.wrong = password };
	unsigned n = rig.nthrottle + 1 + hear;

	ipc_send(rig.auth, M_AUTH_SEEN, RIG_SID(of), &m);
	rig_wait(&rig, &rig.nthrottle, n);
	rig_settle(&rig);
	assert_int_equal(rig.nthrottle, n);
}

/* The guard has room for three wrong passwords: so many logins may be under
 * way from a place that is known, and the others come one after the other. */
static void
waits_in_turn(void **state)
{
	(void)state;
	three_go_and_one_waits();
	assert_true(waits(5, 15));
	assert_true(waits(4, 24)); /* anew: behind the other now */
	print_message("# one through, one in: the first that came\n");
	ends(1, SEEN_RIGHT, 0, 1);
	assert_int_equal(rig.throttle.ticket, 15);
	assert_false(rig.throttle.again);
	assert_true(waits(6, 16)); /* behind the one that waits */
	print_message("# others are not concerned\n");
	assert_false(refused("bob", "192.0.2.7")); /* session 1 */
	assert_int_equal(rig.throttle.delay_ms, 0);
	ends(2, SEEN_OTHER, 0, 1);
	assert_int_equal(rig.throttle.ticket, 24);
	print_message("# a wrong one takes a place for good\n");
	ends(3, SEEN_WRONG, 1, 0);
	ends(5, SEEN_WRONG, 2, 0);
	ends(4, SEEN_OTHER, 0, 1);
	assert_int_equal(rig.throttle.ticket, 16);
	assert_true(waits(7, 17));
	print_message("# and too many are answered later\n");
	ends(6, SEEN_WRONG, 3, 1);
	assert_int_equal(rig.throttle.ticket, 17);
	assert_false(rig.throttle.again);
	assert_int_not_equal(rig.throttle.delay_ms, 0);
}

static void
leaves(unsigned session)
{
	ipc_send(rig.front, M_SESSION_CLOSE, RIG_SID(session), NULL);
	rig_settle(&rig);
}

/* Who hangs up takes neither a turn nor a place. */
static void
leaves_without_verdict(void **state)
{
	(void)state;
	three_go_and_one_waits();
	assert_true(waits(5, 15));
	assert_true(waits(6, 16));
	leaves(4);
	print_message("# a place of one that leaves is the next one's\n");
	leaves(3);
	assert_int_equal(rig.throttle.ticket, 15);
	assert_false(rig.throttle.again);
	leaves(6);
	ends(1, SEEN_RIGHT, 0, 0);
	ends(2, SEEN_RIGHT, 0, 0);
	leaves(5); /* it had its turn */
	leaves(5);
	print_message("# nobody is under way now\n");
	assert_false(waits(7, 17));
	assert_false(waits(8, 18));
	assert_false(waits(9, 19));
	assert_true(waits(10, 20));
}

/* Auth asks anew while the answer of the turn is on its way. */
static void
asks_anew_in_its_turn(void **state)
{
	(void)state;
	three_go_and_one_waits();
	ends(1, SEEN_RIGHT, 0, 1);
	assert_int_equal(rig.throttle.ticket, 14);
	assert_false(waits(4, 24)); /* it is not in its own way */
	ends(2, SEEN_RIGHT, 0, 0);
	ends(3, SEEN_RIGHT, 0, 0);
	ends(4, SEEN_RIGHT, 0, 0);
	assert_false(waits(5, 15));
	assert_false(waits(6, 16));
	assert_false(waits(7, 17));
	assert_true(waits(8, 18));
}

/* The same when there were too many wrong ones: a place is all there is. */
static void
asks_anew_at_the_limit(void **state)
{
	(void)state;
	three_go_and_one_waits();
	ends(1, SEEN_WRONG, 1, 0);
	ends(2, SEEN_WRONG, 2, 0);
	ends(3, SEEN_WRONG, 3, 1);
	assert_int_equal(rig.throttle.ticket, 14);
	assert_false(refused_to(4, 24));
	assert_true(refused_to(5, 15)); /* one at a time */
}

/* An auth takes its waiting logins with it. */
static void
who_is_gone_waits_no_more(void **state)
{
	(void)state;
	three_go_and_one_waits();
	rig_disconnect(&rig, ROLE_AUTH);
	rig_connect(&rig, ROLE_AUTH);
	ends(1, SEEN_RIGHT, 0, 0);
	assert_false(waits(5, 15));
}

static void
counts_networks(void **state)
{
	(void)state;
	wrong("ann", "2001:db8:0:1::1", 1);
	wrong("ann", "2001:db8:0:1::2", 2);
	wrong("ann", "2001:db8:0:1:ffff::3", 3);
	assert_true(refused("ann", "2001:db8:0:1:abcd::"));
	assert_false(refused("ann", "2001:db8:0:2::1"));
	wrong("bob", "::ffff:192.0.2.7", 1);
	wrong("bob", "192.0.2.7", 2);
	wrong("bob", "192.0.2.7", 3);
	assert_true(refused("bob", "::ffff:192.0.2.7"));
}

static void
exempt_networks_count_nothing(void **state)
{
	(void)state;
	free(rig.setup.conf.throttle_exempt);
	rig.setup.conf.throttle_exempt = xstrdup("192.0.2.0/24 ::1");
	guesses("ann", "192.0.2.7", 9);
	assert_false(refused("ann", "192.0.2.7"));
	guesses("ann", "198.51.100.1", 3);
	assert_true(refused("ann", "198.51.100.1"));
}

static void
survives_a_restart(void **state)
{
	(void)state;
	guesses("ann", "192.0.2.7", 3);
	wrong("cid", "192.0.2.7", 1);
	right("bob", 0, "192.0.2.9", "phone", 1);
	restart();
	assert_true(refused("ann", "192.0.2.7"));
	guesses("bob", "192.0.2.9", 9); /* trusted */
	assert_false(refused("bob", "192.0.2.9"));
	wrong("cid", "192.0.2.7", 1); /* the same one */
	assert_int_equal(cleared("{\"cmd\":\"throttle.clear\","
				 "\"what\":\"ann\"}"),
	    2);
	restart();
	assert_false(refused("ann", "192.0.2.7"));
}

static void
lists_and_clears(void **state)
{
	json_t *items, *end;

	(void)state;
	items = ask("{\"cmd\":\"throttle.list\"}", &end);
	assert_int_equal(json_array_size(items), 0);
	assert_true(json_is_false(json_object_get(end, "more")));
	json_decref(items);
	json_decref(end);
	guesses("ann", "192.0.2.7", 3);
	items = ask("{\"cmd\":\"throttle.list\"}", NULL);
	assert_int_equal(json_array_size(items), 3);
	assert_string_equal(member(items, 0, "kind"), "address");
	assert_string_equal(member(items, 0, "addr"), "192.0.2.7");
	assert_string_equal(member(items, 0, "state"), "counted");
	assert_string_equal(member(items, 1, "kind"), "pair");
	assert_string_equal(member(items, 1, "user"), "ann");
	assert_string_equal(member(items, 1, "state"), "refused");
	assert_int_equal(strlen(member(items, 1, "until")), 20);
	assert_int_equal(strlen(member(items, 1, "last")), 20);
	assert_string_equal(member(items, 2, "kind"), "user");
	assert_string_equal(member(items, 2, "state"), "slowed");
	assert_string_equal(member(items, 2, "until"), "");
	json_decref(items);
	json_decref(ask("{\"cmd\":\"status\"}", &end));
	items = json_object_get(end, "throttled");
	assert_int_equal(json_array_size(items), 2);
	assert_string_equal(member(items, 0, "kind"), "pair");
	json_decref(end);
	assert_int_equal(cleared("{\"cmd\":\"throttle.clear\","
				 "\"what\":\"192.0.2.8\"}"),
	    0);
	assert_int_equal(cleared("{\"cmd\":\"throttle.clear\","
				 "\"what\":\"::ffff:192.0.2.7\"}"),
	    2);
	assert_false(refused("ann", "192.0.2.7"));
	assert_int_equal(
	    cleared("{\"cmd\":\"throttle.clear\",\"all\":true}"), 1);
	assert_false(refused("ann", "192.0.2.7"));
	assert_int_equal(rig.throttle.delay_ms, 0);
}

static void
clear_wants_one_of_both(void **state)
{
	static const char *const requests[] = {
		"{\"cmd\":\"throttle.clear\"}",
		"{\"cmd\":\"throttle.clear\",\"what\":1}",
		"{\"cmd\":\"throttle.clear\",\"what\":\"ann\",\"all\":true}",
	};
	json_t *end;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		json_decref(ask(requests[i], &end));
		if (json_integer_value(json_object_get(end, "exit")) !=
		    EX_USAGE)
			fail_msg("%s", requests[i]);
		json_decref(end);
	}
}

static void
knows_the_last_use(void **state)
{
	json_t *items;
	int i;

	(void)state;
	right("ann", 7, "192.0.2.7", "phone.local", 1);
	right("ann", 7, "2001:db8::1", "phone.lan", 0); /* a certificate */
	right("bob", 0, "192.0.2.8", "\xff\"", 0);
	guesses("cid", "192.0.2.9", 3);
	right("cid", 8, "192.0.2.9", "robot", 1); /* refused */
	for (i = 0; i < 2; i++) {
		items = ask("{\"cmd\":\"device.seen\"}", NULL);
		assert_int_equal(json_array_size(items), 2);
		assert_int_equal(json_integer_value(json_object_get(
				     json_array_get(items, 0), "device")),
		    7);
		assert_string_equal(member(items, 0, "user"), "ann");
		assert_string_equal(member(items, 0, "addr"), "2001:db8::1");
		assert_string_equal(member(items, 0, "client"), "phone.lan");
		assert_int_equal(strlen(member(items, 0, "time")), 20);
		assert_string_equal(member(items, 1, "user"), "bob");
		assert_string_equal(member(items, 1, "client"), "?\"");
		json_decref(items);
		restart();
	}
}

/* Mail goes on without a history. */
static void
counts_without_a_file(void **state)
{
	static const char *const dirs[] = { "history.db", "history.db.bad",
		"history.db.bad/full" };
	char path[128];
	size_t i;

	(void)state;
	rig_stop(&rig);
	snprintf(path, sizeof(path), "%s/history.db", rig.setup.conf.spool);
	assert_int_equal(remove(path), 0);
	/* it can't be opened, and not be put aside */
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(
		    path, sizeof(path), "%s/%s", rig.setup.conf.spool, dirs[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	rig_up(&rig);
	guesses("ann", "192.0.2.7", 3);
	assert_true(refused("ann", "192.0.2.7"));
	right("bob", 7, "192.0.2.8", "phone", 1);
	json_decref(ask("{\"cmd\":\"device.seen\"}", NULL));
}

#define T(f) cmocka_unit_test_setup_teardown(f, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(refuses_after_too_many),
		T(waits_in_turn),
		T(leaves_without_verdict),
		T(asks_anew_in_its_turn),
		T(asks_anew_at_the_limit),
		T(who_is_gone_waits_no_more),
		T(counts_networks),
		T(exempt_networks_count_nothing),
		T(survives_a_restart),
		T(lists_and_clears),
		T(clear_wants_one_of_both),
		T(knows_the_last_use),
		T(counts_without_a_file),
	};

	log_set_level(LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
