/* Tests of auth/throttle.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/throttle.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define T0     INT64_C(1800000000000) /* the tests' first moment */

static const struct throttle_conf conf = {
	.user = 3,
	.address = 5,
	.window_ms = HOUR,
	.refuse_ms = 10 * MINUTE,
	.trust_ms = 24 * HOUR,
};
static struct throttle *t;

static int
up(void **state)
{
	(void)state;
	t = throttle_new();
	assert_non_null(t);
	throttle_configure(t, &conf);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	throttle_free(&t);
	assert_null(t);
	throttle_free(&t);
	return 0;
}

static bool
refused(const char *user, const char *address, int64_t now)
{
	return throttle_ask(t, user, address, now).refuse;
}

static int64_t
delay(const char *user, const char *address, int64_t now)
{
	return throttle_ask(t, user, address, now).delay_ms;
}

static bool
again(const char *user, const char *address, int64_t now)
{
	const struct throttle_verdict v = throttle_ask(t, user, address, now);

	return v.again || v.refuse;
}

/* n different passwords, a second apart, from now on. */
static void
guess(const char *user, const char *address, unsigned n, int64_t now)
{
	static uint64_t password = 1000;

	while (n-- > 0)
		throttle_wrong(
		    t, user, address, password++, now + (int64_t)n * SECOND);
}

static void
pair_is_refused_for_a_while(void **state)
{
	struct throttle_verdict v;

	(void)state;
	throttle_wrong(t, "ann", "192.0.2.7", 1, T0);
	v = throttle_wrong(t, "ann", "192.0.2.7", 2, T0);
	assert_int_equal(v.began, 0);
	assert_false(refused("ann", "192.0.2.7", T0));
	v = throttle_wrong(t, "ann", "192.0.2.7", 3, T0);
	assert_false(v.refuse); /* this one was still looked at */
	assert_int_equal(v.began, 1u << THROTTLE_PAIR | 1u << THROTTLE_USER);
	v = throttle_ask(t, "ann", "192.0.2.7", T0 + 1);
	assert_true(v.refuse);
	assert_int_equal(v.until_ms, T0 + 10 * MINUTE);
	assert_true(refused("ann", "192.0.2.7", T0 + 10 * MINUTE - 1));
	assert_false(refused("ann", "192.0.2.7", T0 + 10 * MINUTE));
	/* others at this address, and this user elsewhere, are not */
	assert_false(refused("bob", "192.0.2.7", T0 + 1));
	assert_false(refused("ann", "192.0.2.8", T0 + 1));
}

static void
same_password_counts_once(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		throttle_wrong(t, "ann", "192.0.2.7", 1, T0 + i * SECOND);
	assert_false(refused("ann", "192.0.2.7", T0 + 200 * SECOND));
	assert_int_equal(delay("ann", "192.0.2.8", T0 + 200 * SECOND), 0);
	/* an old one that is repeated after a refusal does not begin another */
	guess("ann", "192.0.2.7", 2, T0 + 200 * SECOND);
	assert_true(refused("ann", "192.0.2.7", T0 + 203 * SECOND));
	throttle_wrong(t, "ann", "192.0.2.7", 1, T0 + 20 * MINUTE);
	assert_false(refused("ann", "192.0.2.7", T0 + 20 * MINUTE + 1));
}

static void
one_more_guess_begins_a_refusal_again(void **state)
{
	struct throttle_verdict v;

	(void)state;
	guess("ann", "192.0.2.7", 3, T0);
	assert_false(refused("ann", "192.0.2.7", T0 + 11 * MINUTE));
	v = throttle_wrong(t, "ann", "192.0.2.7", 9, T0 + 11 * MINUTE);
	assert_true((v.began & 1u << THROTTLE_PAIR) != 0);
	assert_true(refused("ann", "192.0.2.7", T0 + 20 * MINUTE));
	/* a window later nothing of it counts */
	v = throttle_wrong(t, "ann", "192.0.2.7", 10, T0 + 72 * MINUTE);
	assert_int_equal(v.began, 0);
	assert_false(refused("ann", "192.0.2.7", T0 + 72 * MINUTE));
}

static void
address_is_refused_to_all(void **state)
{
	struct throttle_verdict v = { 0 };
	char user[8];
	int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		assert_false(refused("zoe", "192.0.2.7", T0));
		snprintf(user, sizeof(user), "u%d", i);
		v = throttle_wrong(t, user, "192.0.2.7", (uint64_t)i, T0);
	}
	assert_int_equal(v.began, 1u << THROTTLE_ADDRESS);
	assert_true(refused("zoe", "192.0.2.7", T0));
	assert_false(refused("zoe", "192.0.2.8", T0));
	/* what is refused is not counted */
	v = throttle_wrong(t, "zoe", "192.0.2.7", 99, T0 + MINUTE);
	assert_true(v.refuse);
	assert_false(refused("zoe", "192.0.2.7", T0 + 10 * MINUTE));
}

static void
user_is_slowed_and_never_refused(void **state)
{
	static const int64_t want[] = { 0, 0, 0, 1000, 2000, 4000, 8000, 10000,
		10000 };
	char address[32];
	size_t i;

	(void)state;
	/* a stranger with many addresses */
	for (i = 0; i < 200; i++) {
		snprintf(address, sizeof(address), "198.51.100.%zu", i);
		if (i < sizeof(want) / sizeof(want[0]))
			assert_int_equal(delay("ann", address, T0), want[i]);
		assert_false(refused("ann", address, T0));
		guess("ann", address, 1, T0);
	}
	assert_false(refused("ann", "192.0.2.7", T0));
	assert_int_equal(delay("ann", "192.0.2.7", T0), THROTTLE_DELAY_MAX_MS);
	assert_int_equal(delay("bob", "192.0.2.7", T0), 0);
	assert_int_equal(delay("ann", "192.0.2.7", T0 + HOUR), 0);
}

static void
trusted_address_is_never_refused(void **state)
{
	struct throttle_verdict v = { 0 };
	uint64_t i;

	(void)state;
	assert_false(throttle_right(t, "ann", "192.0.2.7", T0).refuse);
	guess("ann", "198.51.100.1", 3, T0); /* slowed elsewhere */
	for (i = 0; i < 50; i++)
		v = throttle_wrong(t, "ann", "192.0.2.7", i, T0 + 1);
	/* only the answer to a wrong one comes later and later */
	assert_int_equal(v.delay_ms, THROTTLE_DELAY_MAX_MS);
	assert_false(refused("ann", "192.0.2.7", T0 + 1 + v.delay_ms));
	throttle_wrong(t, "ann", "192.0.2.7", 0, T0 + 1 + v.delay_ms);
	assert_int_equal(v.began, 0);
	/* and nobody else at this address has to suffer from it */
	assert_false(refused("bob", "192.0.2.7", T0 + 2));
	/* nor does it vouch for anybody else */
	guess("bob", "192.0.2.7", 3, T0 + 3);
	assert_true(refused("bob", "192.0.2.7", T0 + 3 * SECOND));
	/* trust ends */
	guess("ann", "192.0.2.7", 3, T0 + 25 * HOUR);
	assert_true(refused("ann", "192.0.2.7", T0 + 25 * HOUR + 3 * SECOND));
}

/* Side by side there are no more guesses than one after the other. */
static void
trusted_address_guesses_one_by_one(void **state)
{
	struct throttle_verdict v;
	int64_t now = T0 + 1;
	int i;

	(void)state;
	throttle_right(t, "ann", "192.0.2.7", T0);
	print_message("# as many at once as make no difference\n");
	for (i = 0; i < 80; i++) {
		v = throttle_ask(t, "ann", "192.0.2.7", now);
		assert_false(v.refuse);
		assert_int_equal(v.again, i >= 3);
		assert_int_equal(v.delay_ms, i >= 3 ? THROTTLE_WAIT_MS : 0);
	}
	print_message("# all three were wrong\n");
	for (i = 0; i < 3; i++)
		v = throttle_wrong(t, "ann", "192.0.2.7", (uint64_t)i, now);
	assert_int_equal(v.delay_ms, 1000);
	assert_false(v.refuse);
	print_message("# one more waits until the answer is out\n");
	v = throttle_ask(t, "ann", "192.0.2.7", now + 400);
	assert_false(v.refuse || v.again);
	assert_int_equal(v.delay_ms, 600);
	for (i = 0; i < 80; i++)
		assert_true(refused("ann", "192.0.2.7", now + 500));
	assert_false(refused("bob", "192.0.2.7", now + 500));
	print_message("# it was right\n");
	assert_false(throttle_right(t, "ann", "192.0.2.7", now + 1000).refuse);
	v = throttle_ask(t, "ann", "192.0.2.7", now + 1000);
	assert_false(v.refuse);
	assert_int_equal(v.delay_ms, 0);
	throttle_right(t, "ann", "192.0.2.7", now + 1000);
	print_message("# what is never answered is forgotten\n");
	for (i = 0; i < 3; i++)
		assert_false(again("ann", "192.0.2.7", now + 2000));
	assert_true(again("ann", "192.0.2.7", now + MINUTE));
	assert_false(again("ann", "192.0.2.7", now + 2000 + MINUTE));
	throttle_done(t, "ann", "192.0.2.7", now + 2000 + MINUTE);
	print_message("# many right ones side by side\n");
	for (i = 0; i < 80; i++) {
		now += 10 * SECOND;
		assert_false(again("ann", "192.0.2.7", now));
		assert_false(again("ann", "192.0.2.7", now));
		throttle_right(t, "ann", "192.0.2.7", now);
		throttle_right(t, "ann", "192.0.2.7", now);
	}
}

static void
trust_does_not_end_while_used(void **state)
{
	int64_t now = T0;
	int i;

	(void)state;
	for (i = 0; i < 48; i++, now += HOUR)
		throttle_right(t, "ann", "192.0.2.7", now);
	guess("ann", "192.0.2.7", 3, now);
	assert_false(refused("ann", "192.0.2.7", now + 3 * SECOND));
}

static void
refused_stays_refused_with_the_right_password(void **state)
{
	(void)state;
	guess("ann", "192.0.2.7", 3, T0);
	assert_true(
	    throttle_right(t, "ann", "192.0.2.7", T0 + 3 * SECOND).refuse);
	assert_true(refused("ann", "192.0.2.7", T0 + 4 * SECOND));
}

static void
success_forgets_failures_of_the_pair(void **state)
{
	(void)state;
	guess("ann", "192.0.2.7", 2, T0);
	throttle_right(t, "ann", "192.0.2.7", T0 + 3 * SECOND);
	assert_int_equal(
	    throttle_wrong(t, "ann", "192.0.2.7", 5, T0 + 4 * SECOND).delay_ms,
	    0);
	assert_false(refused("ann", "192.0.2.7", T0 + 5 * SECOND));
}

static void
zero_counts_nothing(void **state)
{
	struct throttle_conf c = conf;

	(void)state;
	c.user = c.address = 0;
	throttle_configure(t, &c);
	guess("ann", "192.0.2.7", 50, T0);
	assert_false(refused("ann", "192.0.2.7", T0 + MINUTE));
	assert_false(throttle_is_changed(t));
	/* turned off, earlier counters don't matter any more */
	throttle_configure(t, &conf);
	guess("ann", "192.0.2.7", 9, T0);
	assert_true(refused("ann", "192.0.2.7", T0 + MINUTE));
	throttle_configure(t, &c);
	assert_false(refused("ann", "192.0.2.7", T0 + MINUTE));
	assert_int_equal(delay("ann", "192.0.2.8", T0 + MINUTE), 0);
}

static void
clock_that_goes_back(void **state)
{
	(void)state;
	guess("ann", "192.0.2.7", 3, T0);
	/* a refusal or a mark of the far future is no refusal for ever */
	assert_false(refused("ann", "192.0.2.7", T0 - 24 * HOUR));
	assert_int_equal(delay("ann", "192.0.2.8", T0 - 24 * HOUR), 0);
}

static void
addresses(void **state)
{
	static const struct {
		const char *name, *text, *want;
		bool is;
	} rows[] = {
		{ "IPv4", "192.0.2.7", "192.0.2.7", true },
		{ "mapped IPv4", "::ffff:192.0.2.7", "192.0.2.7", true },
		{ "IPv6: its /64", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64",
		    true },
		{ "another of the same /64", "2001:db8:1:2::1",
		    "2001:db8:1:2::/64", true },
		{ "the next /64", "2001:db8:1:3::1", "2001:db8:1:3::/64",
		    true },
		{ "a /64 itself", "2001:db8:1:2::/64", "2001:db8:1:2::/64",
		    true },
		{ "loopback", "::1", "::/64", true },
		{ "another prefix", "2001:db8::/32", "2001:db8::/32", false },
		{ "a name", "ann", "ann", false },
		{ "empty", "", "", false },
		{ "cut",
		    "1234567890123456789012345678901234567890123456789012345678"
		    "9012345678901234567890",
		    "1234567890123456789012345678901234567890123456789012345678"
		    "90123",
		    false },
	};
	char out[THROTTLE_ADDR_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (throttle_address(rows[i].text, out) != rows[i].is ||
		    strcmp(out, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, out);
}

static void
networks(void **state)
{
	static const char list[] =
	    " 127.0.0.1  10.0.0.0/8 2001:db8::/33 192.0.2.4/30 ";
	static const struct {
		const char *name, *list, *address;
		int want;
		const char *bad;
	} rows[] = {
		{ "one address", list, "127.0.0.1", 1, NULL },
		{ "its neighbour", list, "127.0.0.2", 0, NULL },
		{ "a network", list, "10.255.0.1", 1, NULL },
		{ "outside", list, "11.0.0.1", 0, NULL },
		{ "last of a /30", list, "192.0.2.7", 1, NULL },
		{ "behind a /30", list, "192.0.2.8", 0, NULL },
		{ "mapped", list, "::ffff:10.1.1.1", 1, NULL },
		{ "IPv6", list, "2001:db8:7fff::1", 1, NULL },
		{ "IPv6 outside, bit 33", list, "2001:db8:8000::1", 0, NULL },
		{ "no address", list, "ann", 0, NULL },
		{ "empty list", "", "127.0.0.1", 0, NULL },
		{ "all of IPv4", "0.0.0.0/0", "198.51.100.1", 1, NULL },
		{ "IPv4 is not all of it", "0.0.0.0/0", "2001:db8::1", 0,
		    NULL },
		{ "check only", list, NULL, 0, NULL },
		{ "a name", "127.0.0.1 localhost", NULL, -1, "localhost" },
		{ "prefix too long", "10.0.0.0/33", NULL, -1, "10.0.0.0/33" },
		{ "no prefix", "10.0.0.0/", NULL, -1, "10.0.0.0/" },
		{ "signed prefix", "10.0.0.0/+8", NULL, -1, "10.0.0.0/+8" },
		{ "not a number", "10.0.0.0/8x", NULL, -1, "10.0.0.0/8x" },
		{ "part of an address", "10/8 ", NULL, -1, "10/8" },
		{ "comma", "10.0.0.1,10.0.0.2", NULL, -1, "10.0.0.1,10.0.0.2" },
	};
	const char *bad;
	size_t i, len;
	int got;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bad = NULL;
		len = 0;
		got = throttle_in_networks(
		    rows[i].list, rows[i].address, &bad, &len);
		if (got != rows[i].want)
			fail_msg("%s: %d", rows[i].name, got);
		if (got == -1 &&
		    (len != strlen(rows[i].bad) ||
			memcmp(bad, rows[i].bad, len) != 0))
			fail_msg("%s: %s", rows[i].name, bad);
	}
}

/* ---- listing and clearing ---- */

struct listing {
	char text[1024];
	unsigned n, stop;
};

static int
take(const struct throttle_entry *e, void *arg)
{
	struct listing *l = arg;
	size_t len = strlen(l->text);

	snprintf(l->text + len, sizeof(l->text) - len, "%s%d %s@%s %u%s%s",
	    len > 0 ? ", " : "", e->kind, e->user, e->address, e->wrong,
	    e->refused ? " refused" : "", e->slowed ? " slowed" : "");
	return ++l->n == l->stop;
}

static void
lists_the_newest_first(void **state)
{
	struct listing l = { 0 };

	(void)state;
	guess("ann", "192.0.2.7", 3, T0);
	throttle_wrong(t, "bob", "192.0.2.8", 1, T0);
	throttle_right(t, "cid", "192.0.2.9", T0);
	throttle_list(t, T0 + MINUTE, take, &l);
	assert_string_equal(l.text,
	    "2 @192.0.2.8 1, 1 bob@192.0.2.8 1, 0 bob@ 1, 2 @192.0.2.7 3, "
	    "1 ann@192.0.2.7 3 refused, 0 ann@ 3 slowed");
	l = (struct listing){ .stop = 2 };
	throttle_list(t, T0 + MINUTE, take, &l);
	assert_int_equal(l.n, 2);
	l = (struct listing){ 0 };
	throttle_list(t, T0 + 2 * HOUR, take, &l);
	assert_string_equal(l.text, "");
}

static void
clears(void **state)
{
	(void)state;
	throttle_right(t, "cid", "192.0.2.9", T0);
	guess("ann", "192.0.2.7", 3, T0);
	guess("bob", "192.0.2.7", 2, T0); /* now the address is refused */
	assert_true(refused("bob", "192.0.2.7", T0 + MINUTE));
	assert_int_equal(throttle_clear(t, NULL, "192.0.2.7"), 3);
	assert_false(refused("ann", "192.0.2.7", T0 + MINUTE));
	assert_false(refused("bob", "192.0.2.7", T0 + MINUTE));
	assert_int_equal(delay("ann", "192.0.2.7", T0 + MINUTE), 1000);
	assert_int_equal(throttle_clear(t, "ANN", NULL), 1);
	assert_int_equal(delay("ann", "192.0.2.7", T0 + MINUTE), 0);
	guess("ann", "192.0.2.7", 3, T0 + MINUTE);
	assert_int_equal(throttle_clear(t, NULL, NULL), 4);
	assert_false(refused("ann", "192.0.2.7", T0 + 2 * MINUTE));
	/* trust stays */
	guess("cid", "192.0.2.9", 9, T0 + MINUTE);
	assert_false(refused("cid", "192.0.2.9", T0 + 2 * MINUTE));
}

/* ---- bounds ---- */

static void
forgets_the_oldest(void **state)
{
	char address[32];
	int i;

	(void)state;
	throttle_right(t, "ann", "192.0.2.7", T0);
	guess("bob", "192.0.2.8", 3, T0);
	for (i = 0; i < THROTTLE_COUNTERS; i++) {
		snprintf(address, sizeof(address), "10.%d.%d.%d", i >> 16,
		    i >> 8 & 255, i & 255);
		throttle_wrong(t, "zoe", address, 1, T0 + 1);
	}
	assert_false(refused("bob", "192.0.2.8", T0 + MINUTE));
	/* failures of strangers never push out what users did */
	guess("ann", "192.0.2.7", 5, T0 + MINUTE);
	assert_false(refused("ann", "192.0.2.7", T0 + 2 * MINUTE));
}

/* ---- keeping ---- */

struct saved {
	struct throttle_entry e[16];
	char user[16][16], address[16][32];
	char marks[16][256];
	unsigned n, gone, fail_at;
};

static int
save(const struct throttle_entry *e, void *arg)
{
	struct saved *s = arg;

	if (s->n + s->gone == s->fail_at)
		return 7;
	if (e->gone) {
		s->gone++;
		return 0;
	}
	assert_true(s->n < 16 && e->len <= 256);
	s->e[s->n] = *e;
	snprintf(s->user[s->n], 16, "%s", e->user);
	snprintf(s->address[s->n], 32, "%s", e->address);
	if (e->len > 0)
		memcpy(s->marks[s->n], e->marks, e->len);
	s->e[s->n].user = s->user[s->n];
	s->e[s->n].address = s->address[s->n];
	s->e[s->n].marks = s->marks[s->n];
	s->n++;
	return 0;
}

static void
survives_its_process(void **state)
{
	struct saved s = { .fail_at = 99 };
	unsigned i;

	(void)state;
	guess("ann", "192.0.2.7", 3, T0);
	throttle_wrong(t, "bob", "192.0.2.7", 77, T0);
	throttle_right(t, "ann", "192.0.2.8", T0);
	assert_true(throttle_is_changed(t));
	assert_int_equal(throttle_save(t, save, &s), 0);
	assert_int_equal(s.n, 6);
	assert_int_equal(s.gone, 0);
	assert_false(throttle_is_changed(t));
	down(NULL);
	up(NULL);
	for (i = 0; i < s.n; i++)
		throttle_load(t, &s.e[i]);
	assert_false(throttle_is_changed(t));
	assert_true(refused("ann", "192.0.2.7", T0 + MINUTE));
	assert_int_equal(delay("ann", "192.0.2.9", T0 + MINUTE), 1000);
	guess("ann", "192.0.2.8", 9, T0 + MINUTE); /* trusted */
	assert_false(refused("ann", "192.0.2.8", T0 + 2 * MINUTE));
	/* the same password is known again: two more are refused, not one */
	throttle_wrong(t, "bob", "192.0.2.7", 77, T0 + 11 * MINUTE);
	throttle_wrong(t, "bob", "192.0.2.7", 78, T0 + 11 * MINUTE);
	assert_false(
	    throttle_wrong(t, "bob", "192.0.2.7", 77, T0 + 11 * MINUTE).began);
}

static void
saves_changes_only(void **state)
{
	struct saved s = { .fail_at = 99 };

	(void)state;
	guess("ann", "192.0.2.7", 1, T0);
	throttle_save(t, save, &s);
	s.n = 0;
	guess("bob", "192.0.2.9", 1, T0);
	throttle_save(t, save, &s);
	assert_int_equal(s.n, 3);
	s.n = 0;
	throttle_clear(t, "bob", NULL);
	guess("cid", "192.0.2.8", 1, T0);
	throttle_clear(t, "cid", NULL); /* never saved: nothing to delete */
	throttle_save(t, save, &s);
	assert_int_equal(s.gone, 2);
	assert_int_equal(s.n, 1);
}

static void
failed_save_comes_again(void **state)
{
	struct saved s = { .fail_at = 1 };

	(void)state;
	guess("ann", "192.0.2.7", 1, T0);
	assert_int_equal(throttle_save(t, save, &s), 7);
	assert_true(throttle_is_changed(t));
	s.fail_at = 99;
	assert_int_equal(throttle_save(t, save, &s), 0);
	assert_int_equal(s.n, 3);
	assert_false(throttle_is_changed(t));
}

static void
malformed_entries_are_left_out(void **state)
{
	static const char marks[20] = "";
	struct throttle_entry e = { .kind = THROTTLE_USER,
		.user = "ann",
		.address = "",
		.marks = marks,
		.len = 17 };
	struct listing l = { 0 };

	(void)state;
	throttle_load(t, &e);
	e.len = 16;
	e.kind = THROTTLE_KINDS;
	throttle_load(t, &e);
	throttle_list(t, 1, take, &l);
	assert_string_equal(l.text, "");
	e.kind = THROTTLE_USER;
	throttle_load(t, &e);
	throttle_load(t, &e); /* twice */
	throttle_list(t, 1, take, &l);
	assert_string_equal(l.text, "0 ann@ 1");
}

#define T(f) cmocka_unit_test_setup_teardown(f, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(pair_is_refused_for_a_while),
		T(same_password_counts_once),
		T(one_more_guess_begins_a_refusal_again),
		T(address_is_refused_to_all),
		T(user_is_slowed_and_never_refused),
		T(trusted_address_is_never_refused),
		T(trusted_address_guesses_one_by_one),
		T(trust_does_not_end_while_used),
		T(refused_stays_refused_with_the_right_password),
		T(success_forgets_failures_of_the_pair),
		T(zero_counts_nothing),
		T(clock_that_goes_back),
		T(addresses),
		T(networks),
		T(lists_the_newest_first),
		T(clears),
		T(forgets_the_oldest),
		T(survives_its_process),
		T(saves_changes_only),
		T(failed_save_comes_again),
		T(malformed_entries_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
