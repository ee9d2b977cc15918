/* submitd/conntable.c: fronts as views of one piece of memory. */
#include <sys/mman.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "submitd/conntable.h"

enum { FRONTS = 3 };

static struct conntable_shape shape;
static unsigned char *memory;
static struct conntable front[FRONTS];

static unsigned char *
region(size_t i)
{
	return memory + conntable_region_at(&shape, i);
}

static int
setup(void **state)
{
	size_t i;

	(void)state;
	assert_int_equal(conntable_shape_for(&shape, FRONTS, 700, 42), 0);
	memory = mmap(NULL, conntable_bytes(&shape), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	for (i = 0; i < FRONTS; i++) {
		front[i] = (struct conntable){ .shape = shape,
			.all = memory,
			.known = (void *)memory,
			.own = (void *)region(i) };
		conntable_state(&front[i], CONNTABLE_ACCEPTING);
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return munmap(memory, conntable_bytes(&shape));
}

static void
expect(const char *addr, uint32_t conns, uint32_t strangers)
{
	struct conntable_counts c;
	size_t i;

	for (i = 0; i < FRONTS; i++) {
		c = conntable_address(&front[i], conntable_key(addr));
		if (c.conns != conns || c.strangers != strangers)
			fail_msg("%s: %u and %u, expected %u and %u", addr,
			    c.conns, c.strangers, conns, strangers);
	}
}

/* ---- keys ---- */

static void
keys(void **state)
{
	static const struct {
		const char *addr, *text; /* NULL: no address */
	} rows[] = {
		{ "192.0.2.7", "192.0.2.7" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::ffff:192.0.2.7", "192.0.2.7" },
		{ "2001:db8:0:1::5", "2001:db8:0:1::/64" },
		{ "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64" },
		{ "fe80::1", "fe80::/64" },
		{ "::1", "::/64" },
		{ "", NULL },
		{ "example.org", NULL },
		{ "192.0.2.7/32", NULL },
	};
	char text[64];
	uint64_t key;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		key = conntable_key(rows[i].addr);
		if ((key == 0) != (rows[i].text == NULL))
			fail_msg("%s: key %llx", rows[i].addr,
			    (unsigned long long)key);
		if (key == 0)
			continue;
		conntable_key_text(key, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
	assert_true(conntable_key("2001:db8:0:1::1") ==
	    conntable_key("2001:db8:0:1::2"));
	assert_true(conntable_key("2001:db8:0:1::1") !=
	    conntable_key("2001:db8:0:2::1"));
}

static void
shapes(void **state)
{
	struct conntable_shape s;

	(void)state;
	assert_int_equal(conntable_shape_for(&s, 10, 10000, 1), 0);
	assert_int_equal(s.entries, 16384);
	assert_int_equal(conntable_bytes(&s) % 4096, 0);
	assert_int_equal(conntable_region_at(&s, 3) % 4096, 0);
	assert_int_equal(conntable_bytes(&s), conntable_region_at(&s, 10));
	assert_true(conntable_fits(&s, 10, 12288));
	assert_true(conntable_fits(&s, 1, 1));
	assert_false(conntable_fits(&s, 11, 10));
	assert_false(conntable_fits(&s, 10, 12289));
	assert_int_equal(conntable_shape_for(&s, 320, 1000000, 1), 0);
	assert_int_equal(
	    conntable_shape_for(&s, CONNTABLE_REGIONS_MAX + 1, 1, 1), -1);
	assert_int_equal(conntable_shape_for(&s, 1, 100000000, 1), -1);
	s = (struct conntable_shape){ 1, 1000, 1 };
	assert_false(conntable_shape_ok(&s));
	s = (struct conntable_shape){ 0, 1024, 1 };
	assert_false(conntable_shape_ok(&s));
	assert_int_equal(conntable_strangers_max(1000, 10000), 1000);
	assert_int_equal(conntable_strangers_max(1000, 100), 50);
	assert_int_equal(conntable_strangers_max(1000, 1), 1);
}

/* ---- counting ---- */

static void
sums(void **state)
{
	const char *a = "192.0.2.7", *b = "2001:db8::1";
	uint64_t ka = conntable_key(a), kb = conntable_key(b);
	struct conntable_sum s;

	(void)state;
	assert_true(conntable_enter(&front[0], ka));
	assert_true(conntable_enter(&front[1], ka));
	assert_true(conntable_enter(&front[1], kb));
	assert_true(conntable_enter(&front[2], 0)); /* exempt */
	expect(a, 2, 2);
	expect(b, 1, 1);
	conntable_login(&front[1], ka, 1);
	expect(a, 2, 1);
	conntable_handshake(&front[0], 1);
	conntable_refused(&front[0]);
	conntable_dropped(&front[1]);
	conntable_dropped(&front[2]);
	s = conntable_sum(&front[2]);
	assert_int_equal(s.now.conns, 4);
	assert_int_equal(s.now.strangers, 3);
	assert_int_equal(s.now.handshakes, 1);
	assert_int_equal(s.refused, 1);
	assert_int_equal(s.dropped, 2);
	assert_int_equal(s.accepting, 3);
	conntable_state(&front[0], CONNTABLE_DRAINING);
	assert_int_equal(conntable_sum(&front[1]).accepting, 2);
	conntable_handshake(&front[0], -1);
	conntable_leave(&front[0], ka, true);
	conntable_leave(&front[1], ka, false);
	conntable_leave(&front[1], kb, true);
	conntable_leave(&front[2], 0, true);
	expect(a, 0, 0);
	s = conntable_sum(&front[0]);
	assert_int_equal(s.now.conns, 0);
	assert_int_equal(s.now.strangers, 0);
	assert_int_equal(conntable_own(&front[1]).conns, 0);
}

/* Many addresses come and go, in the order of a generator; a plain array says
 * what the table must say. */
static void
model(void **state)
{
	enum { ADDRS = 700, STEPS = 60000 };
	static uint8_t conns[FRONTS][ADDRS], strangers[FRONTS][ADDRS];
	uint64_t key[ADDRS];
	uint32_t rnd = 1, f, a, i, c, s;
	struct conntable_counts got;
	char text[32];

	(void)state;
	memset(conns, 0, sizeof(conns));
	memset(strangers, 0, sizeof(strangers));
	for (a = 0; a < ADDRS; a++) {
		snprintf(text, sizeof(text), "10.0.%u.%u", a / 256, a % 256);
		key[a] = conntable_key(text);
	}
	for (i = 0; i < STEPS; i++) {
		rnd = rnd * 1664525 + 1013904223;
		f = (rnd >> 8) % FRONTS;
		a = (rnd >> 12) % ADDRS;
		if (rnd >> 31 == 0 && conns[f][a] < 200) {
			assert_true(conntable_enter(&front[f], key[a]));
			conns[f][a]++;
			strangers[f][a]++;
		} else if ((rnd >> 30) % 2 == 0 && strangers[f][a] > 0) {
			conntable_login(&front[f], key[a], i);
			strangers[f][a]--;
		} else if (conns[f][a] > 0) {
			bool is = strangers[f][a] == conns[f][a];

			conntable_leave(&front[f], key[a], is);
			conns[f][a]--;
			strangers[f][a] -= is;
		}
		if (i % 97 != 0 && i < STEPS - ADDRS)
			continue;
		a = i % ADDRS;
		for (c = s = f = 0; f < FRONTS; f++) {
			c += conns[f][a];
			s += strangers[f][a];
		}
		got = conntable_address(&front[i % FRONTS], key[a]);
		if (got.conns != c || got.strangers != s)
			fail_msg("step %u: %u and %u, expected %u and %u", i,
			    got.conns, got.strangers, c, s);
	}
}

/* A region that is full says so and counts nothing. */
static void
full(void **state)
{
	uint32_t n = 0;
	char text[32];
	uint64_t key = 1;

	(void)state;
	for (; n < 2000; n++) {
		snprintf(text, sizeof(text), "10.1.%u.%u", n / 256, n % 256);
		key = conntable_key(text);
		if (!conntable_enter(&front[0], key))
			break;
	}
	assert_int_equal(n, shape.entries / 4 * 3);
	assert_int_equal(conntable_sum(&front[0]).now.conns, n);
	assert_int_equal(conntable_address(&front[0], key).conns, 0);
	assert_true(conntable_enter(&front[0], conntable_key("10.1.0.0")));
	assert_true(conntable_enter(&front[1], key));
	conntable_leave(&front[0], conntable_key("10.1.0.1"), true);
	assert_true(conntable_enter(&front[0], key));
	assert_int_equal(conntable_address(&front[2], key).conns, 2);
}

/* ---- deaths and lies ---- */

/* Emptying the region is all there is to do, whatever its front was at. */
static void
dead_front(void **state)
{
	const char *a = "192.0.2.7";
	uint64_t key = conntable_key(a);

	(void)state;
	conntable_enter(&front[0], key);
	conntable_enter(&front[1], key);
	conntable_enter(&front[1], key);
	memset(region(1), 0, conntable_region_bytes(&shape));
	expect(a, 1, 1);
	assert_int_equal(conntable_sum(&front[0]).now.conns, 1);
	assert_int_equal(conntable_sum(&front[0]).accepting, 2);
}

/* Really killed, in the middle of what it counts. */
static void
killed_front(void **state)
{
	uint64_t key = conntable_key("192.0.2.7");
	struct conntable_counts c;
	unsigned i;
	int round;
	pid_t pid;

	(void)state;
	conntable_enter(&front[0], key);
	for (round = 0; round < 20; round++) {
		if ((pid = fork()) == 0)
			for (i = 0;; i++) {
				conntable_enter(&front[1], key);
				conntable_enter(&front[1], 5 + i % 300);
				conntable_leave(&front[1], 5 + i % 300, true);
				conntable_leave(&front[1], key, true);
			}
		assert_true(pid > 0);
		for (i = 0; i < 2000; i++) {
			c = conntable_address(&front[0], key);
			assert_true(c.conns == 1 || c.conns == 2);
			assert_true(conntable_sum(&front[0]).now.conns <= 4);
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		memset(region(1), 0, conntable_region_bytes(&shape));
		assert_int_equal(conntable_address(&front[0], key).conns, 1);
		assert_int_equal(conntable_sum(&front[0]).now.conns, 1);
		conntable_state(&front[1], CONNTABLE_ACCEPTING);
	}
}

static int
count(uint64_t key, const struct conntable_counts *c, void *arg)
{
	(void)key, (void)c;
	return ++*(unsigned *)arg >= 100000;
}

/* Whatever a broken front writes, the others read to an end. */
static void
lies(void **state)
{
	static const int fill[] = { 0xff, 0x01, 0x55, 0x80 };
	uint64_t key = conntable_key("192.0.2.7");
	unsigned n = 0;
	size_t i;

	(void)state;
	conntable_enter(&front[0], key);
	for (i = 0; i < sizeof(fill) / sizeof(fill[0]); i++) {
		memset(region(1), fill[i], conntable_region_bytes(&shape));
		memset(memory, fill[i], conntable_known_bytes(&shape));
		assert_true(conntable_address(&front[0], key).conns >= 1);
		(void)conntable_sum(&front[0]);
		conntable_each(&front[0], count, &n);
		assert_false(conntable_is_known(&front[0], key, 10, 5));
	}
	memset(region(1), 0, conntable_region_bytes(&shape));
	expect("192.0.2.7", 1, 1);
}

/* ---- known addresses, lists ---- */

static void
known(void **state)
{
	uint64_t a = conntable_key("192.0.2.7"), b = conntable_key("192.0.2.8");

	(void)state;
	assert_false(conntable_is_known(&front[0], a, 1000, 500));
	conntable_enter(&front[1], a);
	conntable_login(&front[1], a, 1000);
	assert_true(conntable_is_known(&front[0], a, 1000, 500));
	assert_true(conntable_is_known(&front[2], a, 1500, 500));
	assert_false(conntable_is_known(&front[2], a, 1501, 500));
	assert_false(conntable_is_known(&front[2], a, 999, 500)); /* a lie */
	assert_false(conntable_is_known(&front[0], b, 1000, 500));
	assert_false(conntable_is_known(&front[0], 0, 1000, 500));
	conntable_leave(&front[1], a, false);
	memset(region(1), 0, conntable_region_bytes(&shape));
	assert_true(conntable_is_known(&front[0], a, 1200, 500));
}

struct seen {
	uint64_t key[8];
	struct conntable_counts c[8];
	unsigned n;
};

static int
note(uint64_t key, const struct conntable_counts *c, void *arg)
{
	struct seen *s = arg;

	s->key[s->n] = key;
	s->c[s->n++] = *c;
	return s->n == 8;
}

static void
each(void **state)
{
	uint64_t a = conntable_key("192.0.2.7"), b = conntable_key("192.0.2.8");
	struct seen s = { .n = 0 };

	(void)state;
	conntable_enter(&front[0], a);
	conntable_enter(&front[1], a);
	conntable_enter(&front[2], b);
	conntable_enter(&front[2], 0);
	conntable_each(&front[0], note, &s);
	assert_int_equal(s.n, 2);
	assert_true(s.key[0] == a && s.key[1] == b);
	assert_int_equal(s.c[0].conns, 2);
	assert_int_equal(s.c[1].conns, 1);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(shapes),
		T(sums),
		T(model),
		T(full),
		T(dead_front),
		T(killed_front),
		T(lies),
		T(known),
		T(each),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
