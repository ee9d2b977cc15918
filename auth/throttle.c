/*
 * Counters of wrong passwords: see throttle.h.
 *
 * An entry is found by kind, user and address.  A counter keeps a mark (which
 * password, when) for each distinct wrong password, at most as many as matter;
 * a mark counts while it is inside the window.  Entries are in a list by last
 * use, of which the oldest is dropped for a new one; those that differ from
 * what was saved are in a second list.
 */
#include "throttle.h"

#include <sys/queue.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	BUCKETS = 8192,  /* a power of two */
	DELAY_STEPS = 8, /* marks kept above the limit, for the delay */
	TRUST_AGAIN_MS = 60 * 1000, /* a newer success is not worth a write */
	SWEEP = 4                   /* old entries looked at for each new one */
};

struct mark {
	uint64_t password;
	int64_t at_ms;
};

struct entry {
	struct entry *chain;
	TAILQ_ENTRY(entry) use;   /* t->uses of its class */
	TAILQ_ENTRY(entry) dirty; /* t->dirty, or t->gone */
	enum throttle_kind kind;
	bool is_dirty, is_saved;
	int64_t last_ms, until_ms;
	struct mark *mark; /* the oldest first */
	size_t n;
	/* THROTTLE_TRUST, not saved: logins under way, the oldest first, and
	 * until when the last wrong one waits for its answer */
	int64_t *asked_ms;
	size_t nasked;
	int64_t busy_ms;
	const char *user, *address; /* behind the struct */
};
TAILQ_HEAD(entries, entry);

enum class { FAILURES, SUCCESSES, CLASSES };

struct throttle {
	struct throttle_conf conf;
	struct entry *table[BUCKETS];
	struct entries uses[CLASSES]; /* used longest ago first */
	size_t count[CLASSES];
	struct entries dirty;
	struct entries gone; /* dropped, and to be deleted where saved */
};

/* ---- addresses ---- */

bool
throttle_address(const char *text, char out[THROTTLE_ADDR_MAX])
{
	static const char mask[] = "/64";
	char copy[INET6_ADDRSTRLEN];
	struct in6_addr in6;
	struct in_addr in4;
	size_t len = strlen(text);

	snprintf(out, THROTTLE_ADDR_MAX, "%s", text);
	if (inet_pton(AF_INET, text, &in4) == 1)
		return inet_ntop(AF_INET, &in4, out, THROTTLE_ADDR_MAX) != NULL;
	if (len > 3 && strcmp(text + len - 3, mask) == 0)
		len -= 3;
	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET6, copy, &in6) != 1)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&in6))
		return inet_ntop(AF_INET, &in6.s6_addr[12], out,
			   THROTTLE_ADDR_MAX) != NULL;
	memset(&in6.s6_addr[8], 0, 8);
	inet_ntop(AF_INET6, &in6, out, THROTTLE_ADDR_MAX - sizeof(mask));
	strcat(out, mask);
	return true;
}

/* An address as 16 bytes, IPv4 as mapped; *bits is the length of its own. */
static bool
parse_address(const char *text, unsigned char out[16], unsigned *bits)
{
	memset(out, 0, 10);
	memset(out + 10, 0xff, 2);
	*bits = 32;
	if (inet_pton(AF_INET, text, out + 12) == 1)
		return true;
	*bits = 128;
	return inet_pton(AF_INET6, text, out) == 1;
}

static bool
parse_network(
    const char *word, size_t len, unsigned char out[16], unsigned *prefix)
{
	char text[THROTTLE_ADDR_MAX], *slash, *end = NULL;
	unsigned long n;
	unsigned bits;

	if (len >= sizeof(text))
		return false;
	memcpy(text, word, len);
	text[len] = '\0';
	if ((slash = strchr(text, '/')) != NULL)
		*slash++ = '\0';
	if (!parse_address(text, out, &bits))
		return false;
	n = bits;
	if (slash != NULL && (*slash < '0' || *slash > '9'))
		return false;
	if (slash != NULL)
		n = strtoul(slash, &end, 10);
	if (n > bits || (end != NULL && *end != '\0'))
		return false;
	*prefix = (unsigned)n + (128 - bits);
	return true;
}

static bool
same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	unsigned rest = bits % 8;

	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return rest == 0 ||
	    ((a[bits / 8] ^ b[bits / 8]) & (0xff << (8 - rest)) & 0xff) == 0;
}

int
throttle_in_networks(
    const char *networks, const char *address, const char **bad, size_t *len)
{
	unsigned char net[16], addr[16];
	unsigned prefix, bits;
	bool found = false;
	const char *p;
	size_t n;

	if (address != NULL && !parse_address(address, addr, &bits))
		address = NULL;
	for (p = networks + strspn(networks, " "); *p != '\0';
	     p += n, p += strspn(p, " ")) {
		n = strcspn(p, " ");
		if (!parse_network(p, n, net, &prefix)) {
			*bad = p;
			*len = n;
			return -1;
		}
		if (address != NULL && same_bits(net, addr, prefix))
			found = true;
	}
	return found;
}

/* ---- entries ---- */

static enum class class_of(enum throttle_kind kind) {
	return kind == THROTTLE_TRUST ? SUCCESSES : FAILURES;
}

static struct entry **
bucket(struct throttle *t, enum throttle_kind kind, const char *user,
    const char *address)
{
	uint64_t h = 0xcbf29ce484222325u + kind; /* FNV-1a */
	const char *p;

	for (p = user; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3u;
	h *= 0x100000001b3u;
	for (p = address; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3u;
	return &t->table[(h ^ h >> 32) & (BUCKETS - 1)];
}

static struct entry *
find(struct throttle *t, enum throttle_kind kind, const char *user,
    const char *address)
{
	struct entry *e;

	for (e = *bucket(t, kind, user, address); e != NULL; e = e->chain)
		if (e->kind == kind && strcmp(e->user, user) == 0 &&
		    strcmp(e->address, address) == 0)
			return e;
	return NULL;
}

static void
set_dirty(struct throttle *t, struct entry *e)
{
	if (e->is_dirty)
		return;
	e->is_dirty = true;
	TAILQ_INSERT_TAIL(&t->dirty, e, dirty);
}

static void
entry_free(struct entry *e)
{
	free(e->mark);
	free(e->asked_ms);
	free(e);
}

static void
drop(struct throttle *t, struct entry *e)
{
	struct entry **p = bucket(t, e->kind, e->user, e->address);
	enum class class = class_of(e->kind);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
	TAILQ_REMOVE(&t->uses[class], e, use);
	t->count[class]--;
	if (e->is_dirty)
		TAILQ_REMOVE(&t->dirty, e, dirty);
	if (e->is_saved)
		TAILQ_INSERT_TAIL(&t->gone, e, dirty);
	else
		entry_free(e);
}

/* How many marks of a counter can matter. */
static size_t
marks_max(const struct throttle *t, enum throttle_kind kind)
{
	return kind == THROTTLE_ADDRESS ? t->conf.address
					: t->conf.user + DELAY_STEPS;
}

static bool
is_live(const struct throttle *t, const struct mark *m, int64_t now_ms)
{
	/* a clock that was set back must not keep a mark for ever */
	return m->at_ms <= now_ms + t->conf.window_ms &&
	    now_ms - m->at_ms < t->conf.window_ms;
}

static unsigned
live_marks(const struct throttle *t, const struct entry *e, int64_t now_ms)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < e->n; i++)
		n += is_live(t, &e->mark[i], now_ms);
	return n;
}

static bool
is_refused(const struct throttle *t, const struct entry *e, int64_t now_ms)
{
	return e != NULL && e->until_ms > now_ms &&
	    e->until_ms - now_ms <= t->conf.refuse_ms;
}

static bool
is_expired(const struct throttle *t, const struct entry *e, int64_t now_ms)
{
	if (e->kind == THROTTLE_TRUST)
		return now_ms - e->last_ms >= t->conf.trust_ms;
	return !is_refused(t, e, now_ms) && live_marks(t, e, now_ms) == 0;
}

/* Drops what is old, and the oldest where there is no room for one more. */
static void
make_room(struct throttle *t, enum class class, int64_t now_ms)
{
	const size_t max[CLASSES] = { THROTTLE_COUNTERS, THROTTLE_TRUSTS };
	struct entry *e, *next;
	int i = 0;

	for (e = TAILQ_FIRST(&t->uses[class]); e != NULL && i < SWEEP;
	     e = next, i++) {
		next = TAILQ_NEXT(e, use);
		if (is_expired(t, e, now_ms))
			drop(t, e);
	}
	while (t->count[class] >= max[class])
		drop(t, TAILQ_FIRST(&t->uses[class]));
}

/* NULL: no memory. */
static struct entry *
add(struct throttle *t, enum throttle_kind kind, const char *user,
    const char *address, int64_t now_ms)
{
	size_t ulen = strlen(user) + 1, alen = strlen(address) + 1;
	struct entry *e = calloc(1, sizeof(*e) + ulen + alen);
	struct entry **p = bucket(t, kind, user, address);
	char *text;

	if (e == NULL)
		return NULL;
	make_room(t, class_of(kind), now_ms);
	text = (char *)(e + 1);
	e->user = memcpy(text, user, ulen);
	e->address = memcpy(text + ulen, address, alen);
	e->kind = kind;
	e->chain = *p;
	*p = e;
	TAILQ_INSERT_TAIL(&t->uses[class_of(kind)], e, use);
	t->count[class_of(kind)]++;
	return e;
}

static struct entry *
need(struct throttle *t, enum throttle_kind kind, const char *user,
    const char *address, int64_t now_ms)
{
	struct entry *e = find(t, kind, user, address);

	if (e == NULL)
		return add(t, kind, user, address, now_ms);
	TAILQ_REMOVE(&t->uses[class_of(kind)], e, use);
	TAILQ_INSERT_TAIL(&t->uses[class_of(kind)], e, use);
	return e;
}

/* Counts a password; true if it is not in the window yet. */
static bool
note(struct throttle *t, struct entry *e, uint64_t password, int64_t now_ms)
{
	size_t max = marks_max(t, e->kind), i, n = 0;
	struct mark *grown;
	bool is_new = true;

	for (i = 0; i < e->n; i++) {
		if (!is_live(t, &e->mark[i], now_ms))
			continue;
		if (e->mark[i].password == password)
			is_new = false;
		else
			e->mark[n++] = e->mark[i];
	}
	e->n = n;
	while (e->n >= max && e->n > 0)
		memmove(e->mark, e->mark + 1, --e->n * sizeof(*e->mark));
	grown = realloc(e->mark, (e->n + 1) * sizeof(*grown));
	if (grown != NULL) {
		e->mark = grown;
		e->mark[e->n++] = (struct mark){ password, now_ms };
	}
	e->last_ms = now_ms;
	set_dirty(t, e);
	return is_new;
}

/* ---- verdicts ---- */

static int64_t
delay_of(unsigned wrong, unsigned limit)
{
	int64_t delay = THROTTLE_DELAY_MS;
	unsigned i;

	if (limit == 0 || wrong < limit)
		return 0;
	for (i = limit; i < wrong && delay < THROTTLE_DELAY_MAX_MS; i++)
		delay *= 2;
	return delay < THROTTLE_DELAY_MAX_MS ? delay : THROTTLE_DELAY_MAX_MS;
}

/* NULL: it is not, or no more. */
static struct entry *
find_trust(
    struct throttle *t, const char *user, const char *address, int64_t now_ms)
{
	struct entry *e = find(t, THROTTLE_TRUST, user, address);

	return e != NULL && !is_expired(t, e, now_ms) ? e : NULL;
}

/* Without a reservation. */
static struct throttle_verdict
look(struct throttle *t, const char *user, const char *address, int64_t now_ms)
{
	struct throttle_verdict v = { 0 };
	const struct entry *e[] = { find(t, THROTTLE_PAIR, user, address),
		find(t, THROTTLE_ADDRESS, "", address) };
	const struct entry *u = find(t, THROTTLE_USER, user, "");
	size_t i;

	if (find_trust(t, user, address, now_ms) != NULL)
		return v;
	if (t->conf.user == 0)
		e[0] = u = NULL;
	if (t->conf.address == 0)
		e[1] = NULL;
	for (i = 0; i < sizeof(e) / sizeof(e[0]); i++) {
		if (!is_refused(t, e[i], now_ms))
			continue;
		v.refuse = true;
		if (v.until_ms < e[i]->until_ms)
			v.until_ms = e[i]->until_ms;
	}
	if (!v.refuse && u != NULL)
		v.delay_ms = delay_of(live_marks(t, u, now_ms), t->conf.user);
	return v;
}

/* ---- logins under way from a trusted address ---- */

static void
drop_asked(struct entry *trust)
{
	if (trust->nasked == 0)
		return;
	trust->nasked--;
	memmove(trust->asked_ms, trust->asked_ms + 1,
	    trust->nasked * sizeof(*trust->asked_ms));
}

static void
drop_old_asked(struct entry *trust, int64_t now_ms)
{
	while (trust->nasked > 0 &&
	    (now_ms - trust->asked_ms[0] >= THROTTLE_ASKED_MS ||
		trust->asked_ms[0] > now_ms)) /* the clock was set back */
		drop_asked(trust);
}

static bool
add_asked(struct entry *trust, int64_t now_ms)
{
	int64_t *grown = realloc(
	    trust->asked_ms, (trust->nasked + 1) * sizeof(*trust->asked_ms));

	if (grown == NULL)
		return false;
	trust->asked_ms = grown;
	trust->asked_ms[trust->nasked++] = now_ms;
	return true;
}

static struct throttle_verdict
ask_trusted(struct throttle *t, struct entry *trust, int64_t now_ms)
{
	const struct entry *pair =
	    find(t, THROTTLE_PAIR, trust->user, trust->address);
	unsigned wrong = pair != NULL ? live_marks(t, pair, now_ms) : 0;
	struct throttle_verdict v = { 0 };

	if (t->conf.user == 0)
		return v;
	drop_old_asked(trust, now_ms);
	if (wrong >= t->conf.user) {
		v.refuse = trust->nasked > 0;
		v.until_ms = now_ms + THROTTLE_DELAY_MAX_MS;
		if (!v.refuse && trust->busy_ms > now_ms &&
		    trust->busy_ms - now_ms <= THROTTLE_DELAY_MAX_MS)
			v.delay_ms = trust->busy_ms - now_ms;
	} else if (wrong + trust->nasked >= t->conf.user) {
		v.again = true;
		v.delay_ms = THROTTLE_WAIT_MS;
	}
	if (!v.refuse && !v.again)
		v.reserved = add_asked(trust, now_ms);
	return v;
}

/* The end of one that was asked about, if it is from a trusted address. */
static struct entry *
end_asked(
    struct throttle *t, const char *user, const char *address, int64_t now_ms)
{
	struct entry *trust = find_trust(t, user, address, now_ms);

	if (trust != NULL)
		drop_asked(trust);
	return trust;
}

struct throttle_verdict
throttle_ask(
    struct throttle *t, const char *user, const char *address, int64_t now_ms)
{
	struct entry *trust = find_trust(t, user, address, now_ms);

	return trust != NULL ? ask_trusted(t, trust, now_ms)
			     : look(t, user, address, now_ms);
}

struct throttle_verdict
throttle_done(
    struct throttle *t, const char *user, const char *address, int64_t now_ms)
{
	end_asked(t, user, address, now_ms);
	return look(t, user, address, now_ms);
}

/* A failure for one counter; bits for throttle_verdict.began. */
static unsigned
count_wrong(struct throttle *t, enum throttle_kind kind, const char *user,
    const char *address, uint64_t password, int64_t now_ms)
{
	unsigned limit =
	    kind == THROTTLE_ADDRESS ? t->conf.address : t->conf.user;
	struct entry *e;

	if (limit == 0 || (e = need(t, kind, user, address, now_ms)) == NULL ||
	    !note(t, e, password, now_ms) || e->n < limit)
		return 0;
	/* with more than the limit a refusal is over: it begins again */
	if (kind == THROTTLE_USER)
		return e->n == limit ? 1u << kind : 0;
	e->until_ms = now_ms + t->conf.refuse_ms;
	return 1u << kind;
}

/* From a trusted address: nothing but a later answer. */
static struct throttle_verdict
wrong_but_trusted(
    struct throttle *t, struct entry *trust, uint64_t password, int64_t now_ms)
{
	struct throttle_verdict v = { 0 };
	struct entry *e;

	if (t->conf.user == 0 ||
	    (e = need(t, THROTTLE_PAIR, trust->user, trust->address, now_ms)) ==
		NULL)
		return v;
	note(t, e, password, now_ms);
	v.delay_ms = delay_of((unsigned)e->n, t->conf.user);
	trust->busy_ms = now_ms + v.delay_ms;
	return v;
}

struct throttle_verdict
throttle_wrong(struct throttle *t, const char *user, const char *address,
    uint64_t password, int64_t now_ms)
{
	struct entry *trust = end_asked(t, user, address, now_ms);
	struct throttle_verdict v;

	if (trust != NULL)
		return wrong_but_trusted(t, trust, password, now_ms);
	v = look(t, user, address, now_ms);
	v.delay_ms = 0; /* it was waited for already */
	if (v.refuse)
		return v;
	v.began |= count_wrong(t, THROTTLE_USER, user, "", password, now_ms);
	v.began |=
	    count_wrong(t, THROTTLE_PAIR, user, address, password, now_ms);
	v.began |=
	    count_wrong(t, THROTTLE_ADDRESS, "", address, password, now_ms);
	return v;
}

struct throttle_verdict
throttle_right(
    struct throttle *t, const char *user, const char *address, int64_t now_ms)
{
	struct throttle_verdict v = look(t, user, address, now_ms);
	struct entry *e;

	end_asked(t, user, address, now_ms);
	v.delay_ms = 0;
	if (v.refuse)
		return v;
	if ((e = find(t, THROTTLE_PAIR, user, address)) != NULL)
		drop(t, e);
	if ((e = need(t, THROTTLE_TRUST, user, address, now_ms)) == NULL)
		return v;
	e->busy_ms = 0;
	if (e->last_ms > now_ms || now_ms - e->last_ms >= TRUST_AGAIN_MS) {
		e->last_ms = now_ms;
		set_dirty(t, e);
	}
	return v;
}

/* ---- administrators ---- */

unsigned
throttle_clear(struct throttle *t, const char *user, const char *address)
{
	struct entry *e, *next;
	unsigned n = 0;

	for (e = TAILQ_FIRST(&t->uses[FAILURES]); e != NULL; e = next) {
		next = TAILQ_NEXT(e, use);
		if ((user != NULL && strcasecmp(e->user, user) != 0) ||
		    (address != NULL && strcmp(e->address, address) != 0))
			continue;
		drop(t, e);
		n++;
	}
	return n;
}

static struct throttle_entry
view(const struct entry *e)
{
	return (struct throttle_entry){
		.kind = e->kind,
		.user = e->user,
		.address = e->address,
		.last_ms = e->last_ms,
		.until_ms = e->until_ms,
		.marks = e->mark,
		.len = e->n * sizeof(*e->mark),
	};
}

void
throttle_list(struct throttle *t, int64_t now_ms,
    int (*fn)(const struct throttle_entry *, void *arg), void *arg)
{
	struct throttle_entry v;
	struct entry *e;

	TAILQ_FOREACH_REVERSE(e, &t->uses[FAILURES], entries, use)
	{
		v = view(e);
		v.wrong = live_marks(t, e, now_ms);
		v.refused = is_refused(t, e, now_ms);
		v.slowed = e->kind == THROTTLE_USER && t->conf.user > 0 &&
		    v.wrong >= t->conf.user;
		if (!v.refused)
			v.until_ms = 0;
		if ((v.wrong > 0 || v.refused) && fn(&v, arg) != 0)
			return;
	}
}

/* ---- keeping ---- */

bool
throttle_is_changed(const struct throttle *t)
{
	return !TAILQ_EMPTY(&t->dirty) || !TAILQ_EMPTY(&t->gone);
}

int
throttle_save(struct throttle *t,
    int (*fn)(const struct throttle_entry *, void *arg), void *arg)
{
	struct throttle_entry v;
	struct entry *e;
	int rc;

	while ((e = TAILQ_FIRST(&t->gone)) != NULL) {
		v = view(e);
		v.gone = true;
		if ((rc = fn(&v, arg)) != 0)
			return rc;
		TAILQ_REMOVE(&t->gone, e, dirty);
		entry_free(e);
	}
	while ((e = TAILQ_FIRST(&t->dirty)) != NULL) {
		v = view(e);
		if ((rc = fn(&v, arg)) != 0)
			return rc;
		TAILQ_REMOVE(&t->dirty, e, dirty);
		e->is_dirty = false;
		e->is_saved = true;
	}
	return 0;
}

void
throttle_load(struct throttle *t, const struct throttle_entry *v)
{
	size_t n = v->len / sizeof(struct mark);
	struct entry *e;

	if ((unsigned)v->kind >= THROTTLE_KINDS ||
	    v->len % sizeof(struct mark) || n > THROTTLE_ADDRESS_MAX ||
	    strlen(v->address) >= THROTTLE_ADDR_MAX ||
	    find(t, v->kind, v->user, v->address) != NULL ||
	    (e = add(t, v->kind, v->user, v->address, v->last_ms)) == NULL)
		return;
	e->last_ms = v->last_ms;
	e->until_ms = v->until_ms;
	e->is_saved = true;
	if (n > 0 && (e->mark = malloc(v->len)) != NULL) {
		memcpy(e->mark, v->marks, v->len);
		e->n = n;
	}
}

struct throttle *
throttle_new(void)
{
	struct throttle *t = calloc(1, sizeof(*t));
	int i;

	if (t == NULL)
		return NULL;
	for (i = 0; i < CLASSES; i++)
		TAILQ_INIT(&t->uses[i]);
	TAILQ_INIT(&t->dirty);
	TAILQ_INIT(&t->gone);
	return t;
}

void
throttle_free(struct throttle **tp)
{
	struct throttle *t = *tp;
	struct entry *e;
	int i;

	*tp = NULL;
	if (t == NULL)
		return;
	for (i = 0; i < CLASSES; i++) {
		while ((e = TAILQ_FIRST(&t->uses[i])) != NULL) {
			e->is_saved = false;
			drop(t, e);
		}
	}
	while ((e = TAILQ_FIRST(&t->gone)) != NULL) {
		TAILQ_REMOVE(&t->gone, e, dirty);
		entry_free(e);
	}
	free(t);
}

void
throttle_configure(struct throttle *t, const struct throttle_conf *conf)
{
	t->conf = *conf;
	if (t->conf.user > THROTTLE_USER_MAX)
		t->conf.user = THROTTLE_USER_MAX;
	if (t->conf.address > THROTTLE_ADDRESS_MAX)
		t->conf.address = THROTTLE_ADDRESS_MAX;
}
