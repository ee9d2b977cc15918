/*
 * The table of connections: see conntable.h.
 *
 * A region is a header and a hash table with open addressing and linear
 * probing, of which at most three quarters are used. Deleting moves later
 * entries of the run back, so that there are no graves. Its only writer makes
 * `turn` odd while it moves entries; a reader that meets an odd or another
 * turn looks again, a few times.
 */
#include "conntable.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum {
	PAGE = 4096,
	ENTRIES_MIN = 1024,
	ENTRIES_MAX = 1 << 22,
	LOOKS = 4, /* at a region that is being changed */
};

struct entry {
	uint64_t key;    /* 0: free */
	uint64_t counts; /* connections << 32 | strangers */
};

struct conntable_region {
	uint32_t turn;
	uint32_t state;
	uint32_t used; /* entries */
	uint32_t conns, strangers, handshakes;
	uint64_t refused, dropped;
	uint64_t unused[11]; /* the entries begin on a line of their own */
	struct entry entry[];
};

struct conntable_known {
	uint64_t key;
	int64_t login_ms;
};

#define GET(p)    __atomic_load_n((p), __ATOMIC_RELAXED)
#define SET(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
/* Only one writer: no other can come between the two. */
#define ADD(p, n) SET(p, GET(p) + (n))

/* ---- shape ---- */

static size_t
pages(size_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE;
}

/* Three quarters of the entries hold one address for each connection. */
static size_t
entries_for(size_t connections)
{
	size_t n = ENTRIES_MIN;

	while (n / 4 * 3 < connections && n <= ENTRIES_MAX)
		n *= 2;
	return n;
}

int
conntable_shape_for(struct conntable_shape *s, size_t regions,
    size_t connections, uint64_t seed)
{
	s->regions = (uint32_t)regions;
	s->entries = (uint32_t)entries_for(connections);
	s->seed = seed;
	return regions <= CONNTABLE_REGIONS_MAX && conntable_shape_ok(s) ? 0
									 : -1;
}

bool
conntable_fits(
    const struct conntable_shape *s, size_t regions, size_t connections)
{
	return s->regions >= regions && s->entries >= entries_for(connections);
}

bool
conntable_shape_ok(const struct conntable_shape *s)
{
	return s->regions >= 1 && s->regions <= CONNTABLE_REGIONS_MAX &&
	    s->entries >= ENTRIES_MIN && s->entries <= ENTRIES_MAX &&
	    (s->entries & (s->entries - 1)) == 0;
}

static size_t
known_places(const struct conntable_shape *s)
{
	return s->entries / 2;
}

size_t
conntable_known_bytes(const struct conntable_shape *s)
{
	return pages(known_places(s) * sizeof(struct conntable_known));
}

size_t
conntable_region_bytes(const struct conntable_shape *s)
{
	return pages(sizeof(struct conntable_region) +
	    s->entries * sizeof(struct entry));
}

size_t
conntable_region_at(const struct conntable_shape *s, size_t region)
{
	return conntable_known_bytes(s) + region * conntable_region_bytes(s);
}

size_t
conntable_bytes(const struct conntable_shape *s)
{
	return conntable_region_at(s, s->regions);
}

/* ---- keys ---- */

/* IPv4 stands where no /64 of IPv6 can be: the bytes of a mapped address,
 * moved up. The /64 of ::1 would be 0. */
#define V4_KEYS  UINT64_C(0x0000ffff00000000)
#define ZERO_KEY UINT64_C(1)

static uint64_t
big_endian(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

uint64_t
conntable_key(const char *text)
{
	struct in6_addr a;
	unsigned char v4[4];
	uint64_t key;

	if (inet_pton(AF_INET, text, v4) == 1)
		return V4_KEYS | big_endian(v4, sizeof(v4));
	if (inet_pton(AF_INET6, text, &a) != 1)
		return 0;
	if (IN6_IS_ADDR_V4MAPPED(&a))
		return V4_KEYS | big_endian(a.s6_addr + 12, 4);
	key = big_endian(a.s6_addr, 8);
	return key != 0 ? key : ZERO_KEY;
}

void
conntable_key_text(uint64_t key, char *out, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16] = { 0 };
	int i;

	if (key == ZERO_KEY)
		key = 0;
	for (i = 0; i < 8; i++)
		bytes[i] = (unsigned char)(key >> (56 - 8 * i));
	if (key >> 32 == V4_KEYS >> 32) {
		inet_ntop(AF_INET, bytes + 4, text, sizeof(text));
		snprintf(out, len, "%s", text);
	} else {
		inet_ntop(AF_INET6, bytes, text, sizeof(text));
		snprintf(out, len, "%s/64", text);
	}
}

static uint32_t
hash(const struct conntable_shape *s, uint64_t key)
{
	uint64_t h = (key ^ s->seed) * UINT64_C(0x9e3779b97f4a7c15);

	h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(h >> 32);
}

/* ---- one region ---- */

static const struct conntable_region *
region(const struct conntable *t, size_t i)
{
	return (const void *)(t->all + conntable_region_at(&t->shape, i));
}

/* The place of a key, or the free one where its run ends; at most one round,
 * though a run never is that long. */
static uint32_t
find(const struct conntable_shape *s, const struct conntable_region *r,
    uint64_t key)
{
	uint32_t mask = s->entries - 1, i = hash(s, key) & mask, n;
	uint64_t have;

	for (n = 0; n < mask; n++, i = (i + 1) & mask) {
		have = GET(&r->entry[i].key);
		if (have == key || have == 0)
			break;
	}
	return i;
}

static uint64_t
look_up(const struct conntable_shape *s, const struct conntable_region *r,
    uint64_t key)
{
	const struct entry *e;
	uint64_t counts = 0;
	uint32_t turn;
	int looks;

	for (looks = 0; looks < LOOKS; looks++) {
		turn = __atomic_load_n(&r->turn, __ATOMIC_ACQUIRE);
		e = &r->entry[find(s, r, key)];
		counts = GET(&e->key) == key ? GET(&e->counts) : 0;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (turn % 2 == 0 && GET(&r->turn) == turn)
			break;
	}
	return counts;
}

static void
begin_change(struct conntable_region *r)
{
	ADD(&r->turn, 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void
end_change(struct conntable_region *r)
{
	__atomic_store_n(&r->turn, r->turn + 1, __ATOMIC_RELEASE);
}

/* Empties place i: what follows in its run and may stand there moves up. */
static void
remove_at(
    const struct conntable_shape *s, struct conntable_region *r, uint32_t i)
{
	uint32_t mask = s->entries - 1, j = i, home;

	begin_change(r);
	for (;;) {
		j = (j + 1) & mask;
		if (r->entry[j].key == 0)
			break;
		home = hash(s, r->entry[j].key) & mask;
		if (((j - home) & mask) < ((j - i) & mask))
			continue; /* its home lies behind i */
		SET(&r->entry[i].key, r->entry[j].key);
		SET(&r->entry[i].counts, r->entry[j].counts);
		i = j;
	}
	SET(&r->entry[i].key, 0);
	SET(&r->entry[i].counts, 0);
	end_change(r);
	ADD(&r->used, (uint32_t)-1);
}

/* ---- the own front ---- */

void
conntable_state(struct conntable *t, int state)
{
	SET(&t->own->state, (uint32_t)state);
}

static bool
count_address(struct conntable *t, uint64_t key)
{
	struct entry *e = &t->own->entry[find(&t->shape, t->own, key)];

	if (e->key == 0) {
		if (t->own->used >= t->shape.entries / 4 * 3)
			return false;
		SET(&e->counts, 0);
		SET(&e->key, key);
		ADD(&t->own->used, 1);
	}
	ADD(&e->counts, (uint64_t)1 << 32 | 1);
	return true;
}

bool
conntable_enter(struct conntable *t, uint64_t key)
{
	if (key != 0 && !count_address(t, key))
		return false;
	ADD(&t->own->conns, 1);
	ADD(&t->own->strangers, 1);
	/* ours first, then a look at the others */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return true;
}

void
conntable_login(struct conntable *t, uint64_t key, int64_t now_ms)
{
	struct conntable_known *k;
	struct entry *e;

	ADD(&t->own->strangers, (uint32_t)-1);
	if (key == 0)
		return;
	e = &t->own->entry[find(&t->shape, t->own, key)];
	if (e->key == key)
		ADD(&e->counts, (uint64_t)-1);
	k = &t->known[hash(&t->shape, key) % known_places(&t->shape)];
	SET(&k->key, key);
	SET(&k->login_ms, now_ms);
}

void
conntable_leave(struct conntable *t, uint64_t key, bool stranger)
{
	struct entry *e;
	uint32_t i;

	ADD(&t->own->conns, (uint32_t)-1);
	if (stranger)
		ADD(&t->own->strangers, (uint32_t)-1);
	if (key == 0)
		return;
	i = find(&t->shape, t->own, key);
	e = &t->own->entry[i];
	if (e->key != key)
		return;
	ADD(&e->counts, (uint64_t) - ((uint64_t)1 << 32 | stranger));
	if (e->counts >> 32 == 0)
		remove_at(&t->shape, t->own, i);
}

void
conntable_handshake(struct conntable *t, int change)
{
	ADD(&t->own->handshakes, (uint32_t)change);
}

void
conntable_refused(struct conntable *t)
{
	ADD(&t->own->refused, 1);
}

void
conntable_dropped(struct conntable *t)
{
	ADD(&t->own->dropped, 1);
}

static struct conntable_counts
counts_of(const struct conntable_region *r)
{
	return (struct conntable_counts){ GET(&r->conns), GET(&r->strangers),
		GET(&r->handshakes) };
}

struct conntable_counts
conntable_own(const struct conntable *t)
{
	return counts_of(t->own);
}

/* ---- all fronts ---- */

struct conntable_sum
conntable_sum(const struct conntable *t)
{
	struct conntable_sum s = { .accepting = 0 };
	const struct conntable_region *r;
	struct conntable_counts c;
	uint32_t i;

	for (i = 0; i < t->shape.regions; i++) {
		r = region(t, i);
		if (GET(&r->state) == CONNTABLE_OFF)
			continue;
		s.accepting += GET(&r->state) == CONNTABLE_ACCEPTING;
		c = counts_of(r);
		s.now.conns += c.conns;
		s.now.strangers += c.strangers;
		s.now.handshakes += c.handshakes;
		s.refused += GET(&r->refused);
		s.dropped += GET(&r->dropped);
	}
	return s;
}

static void
add_region(const struct conntable *t, uint32_t i, uint64_t key,
    struct conntable_counts *out)
{
	const struct conntable_region *r = region(t, i);
	uint64_t counts;

	/* what was never used is not touched: memory costs */
	if (GET(&r->state) == CONNTABLE_OFF || GET(&r->used) == 0)
		return;
	counts = look_up(&t->shape, r, key);
	out->conns += (uint32_t)(counts >> 32);
	out->strangers += (uint32_t)counts;
}

struct conntable_counts
conntable_address(const struct conntable *t, uint64_t key)
{
	struct conntable_counts c = { 0 };
	uint32_t i;

	for (i = 0; i < t->shape.regions; i++)
		add_region(t, i, key, &c);
	return c;
}

bool
conntable_is_known(
    const struct conntable *t, uint64_t key, int64_t now_ms, int64_t max_ms)
{
	const struct conntable_known *k = (const void *)t->all;
	int64_t login_ms;

	k += hash(&t->shape, key) % known_places(&t->shape);
	login_ms = GET(&k->login_ms);
	return key != 0 && GET(&k->key) == key && login_ms <= now_ms &&
	    now_ms - login_ms <= max_ms;
}

/* Whether a region before this one has the key: then it was told already. */
static bool
told(const struct conntable *t, uint32_t before, uint64_t key)
{
	struct conntable_counts c = { 0 };
	uint32_t i;

	for (i = 0; i < before && c.conns == 0; i++)
		add_region(t, i, key, &c);
	return c.conns > 0;
}

void
conntable_each(const struct conntable *t,
    int (*fn)(uint64_t key, const struct conntable_counts *, void *arg),
    void *arg)
{
	const struct conntable_region *r;
	struct conntable_counts c;
	uint32_t i, j;
	uint64_t key;

	for (i = 0; i < t->shape.regions; i++) {
		r = region(t, i);
		if (GET(&r->state) == CONNTABLE_OFF || GET(&r->used) == 0)
			continue;
		for (j = 0; j < t->shape.entries; j++) {
			key = GET(&r->entry[j].key);
			if (key == 0 || told(t, i, key))
				continue;
			c = conntable_address(t, key);
			if (c.conns > 0 && fn(key, &c, arg) != 0)
				return;
		}
	}
}

_Static_assert(sizeof(struct conntable_region) == 128, "the entries' line");
