/*
 * How many clients there may be, and who must go when there are too many.
 *
 *	of all			max_connections
 *	without a login		max_strangers, but at most half of them
 *	from an address		address_connections, address_strangers
 *
 * Whoever comes is let in if somebody else can go: of the strangers the one
 * whose last step toward a login is longest ago, those from addresses where
 * nobody logged in lately before the others.  Logging in takes an honest client
 * a second, each step a part of it: he is not the one unless thousands come in
 * that time.  Who sits, dribbles or keeps half a handshake is.  One that logged
 * in is never sent away for another.  Only where an address has too many is the
 * newcomer refused, unless an older one of the same has sat for some seconds.
 *
 * Fronts share the sums, but each can send away only its own. While there are
 * too many strangers each goes down to its share of them.
 *
 * The handshake of TLS is the dear step: a bounded number is made in a round
 * of the loop, in the order they came, so that sessions that have one go on.
 *
 * Log, at most once in LOG_MS for each `what`:
 *	ev=limit what= addr= count= limit= action= more=
 */
#include "front_int.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/throttle.h"
#include "clock.h"
#include "conntable.h"
#include "log.h"
#include "stream.h"

enum {
	LOG_MS = 10 * 1000,
	SAT_MS = 5 * 1000, /* then a stranger gives way to its own address */
	TICK_MS = 100,     /* between looks while there are too many */
	STEPS = 8,         /* of handshakes in one round: some milliseconds */
	STRANGER_INPUT = 16 * 1024, /* the longest line is below it */
	KNOWN_INPUT = 128 * 1024,
	DESCRIPTORS = 64, /* that are no clients */
};
#define KNOWN_MS ((int64_t)30 * 24 * 3600 * 1000) /* of a login */

enum what { ADDRESS, ADDRESS_STRANGERS, STRANGERS, CONNECTIONS, FILES, WHATS };

static const char *const names[WHATS] = { "address", "address-strangers",
	"strangers", "connections", "descriptors" };

static struct front_limits {
	struct conntable table;
	struct conns strangers[2]; /* of known addresses the second */
	struct conns turns;        /* handshakes that wait for a step */
	struct event *tick, *round;
	unsigned steps; /* left in this round */
	struct {
		int64_t last_ms;
		unsigned more;
	} logged[WHATS];
} L;

/* ---- the table ---- */

static void *
map(int fd, int prot, size_t at, size_t len)
{
	void *p = mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)at);

	return p == MAP_FAILED ? NULL : p;
}

/* The lock-down will take as many as there may be. */
static void
check_descriptors(const struct role_setup *s)
{
	int64_t need = s->conf.max_connections + DESCRIPTORS;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_max != RLIM_INFINITY &&
	    r.rlim_max < (rlim_t)need)
		log_warn("limit", "what=%s count=%lu limit=%ld error=%s",
		    names[FILES], (unsigned long)r.rlim_max, (long)need,
		    "fewer descriptors are allowed than max_connections needs");
}

int
front_limit_attach(struct role_setup *s, char *err, size_t errlen)
{
	const struct m_table *m = &s->table.shape;
	struct conntable *t = &L.table;
	int all = s->table.fd[TABLE_ALL], own = s->table.fd[TABLE_REGION];

	t->shape = (struct conntable_shape){ m->regions, m->entries, m->seed };
	if (all == -1 || own == -1 || !conntable_shape_ok(&t->shape) ||
	    m->region >= m->regions) {
		snprintf(err, errlen, "start-up: no table of connections came");
		return -1;
	}
	t->all = map(all, PROT_READ, 0, conntable_bytes(&t->shape));
	t->known = map(
	    own, PROT_READ | PROT_WRITE, 0, conntable_known_bytes(&t->shape));
	t->own = map(own, PROT_READ | PROT_WRITE,
	    conntable_region_at(&t->shape, m->region),
	    conntable_region_bytes(&t->shape));
	close(all); /* the mappings stay; with the second, more could be had */
	close(own);
	check_descriptors(s);
	if (t->all != NULL && t->known != NULL && t->own != NULL)
		return 0;
	snprintf(err, errlen, "cannot map the table of connections: %s",
	    strerror(errno));
	return -1;
}

/* ---- the log ---- */

static void
log_limit(enum what what, const char *addr, uint32_t count, int64_t limit,
    const char *action)
{
	int64_t now = clock_ms();

	if (L.logged[what].last_ms != 0 &&
	    now - L.logged[what].last_ms < LOG_MS) {
		L.logged[what].more++;
		return;
	}
	log_warn("limit",
	    "what=%s addr=%s count=%u limit=%ld action=%s more=%u", names[what],
	    addr, count, (long)limit, action, L.logged[what].more);
	L.logged[what].last_ms = now;
	L.logged[what].more = 0;
}

/* ---- sending away ---- */

static int64_t
max_strangers(void)
{
	const struct conf *c = &F.setup->conf;

	return conntable_strangers_max(c->max_strangers, c->max_connections);
}

static void
drop(struct conn *c)
{
	conntable_dropped(&L.table);
	c->evicted = true;
	session_evict(c->smtp);
	stream_flush(c->io);
	front_conn_free(c);
}

/* The one to go, or NULL. */
static struct conn *
slowest(void)
{
	struct conn *c = TAILQ_FIRST(&L.strangers[0]);

	return c != NULL ? c : TAILQ_FIRST(&L.strangers[1]);
}

bool
front_limit_make_room(void)
{
	struct conn *c = slowest();

	if (c == NULL)
		return false;
	log_limit(FILES, c->client.addr, F.conns, F.conns, "dropped");
	drop(c);
	return true;
}

/* What this front may have of the strangers while there are too many. */
static int64_t
share(const struct conntable_sum *s)
{
	return max_strangers() / (s->accepting > 0 ? s->accepting : 1);
}

/* True: this front has more than its share, which others may come to need. */
static bool
go_down(void)
{
	struct conntable_sum s = conntable_sum(&L.table);
	struct conn *c;

	while (s.now.strangers > max_strangers() &&
	    conntable_own(&L.table).strangers > share(&s)) {
		if ((c = slowest()) == NULL)
			return false; /* those that wait for a PROXY header */
		log_limit(STRANGERS, c->client.addr, s.now.strangers,
		    max_strangers(), "dropped");
		drop(c);
		s = conntable_sum(&L.table);
	}
	return conntable_own(&L.table).strangers > share(&s);
}

/* Another front may let more in, and this one has to go down for it. */
static void
look_again(void)
{
	const struct timeval tv = { .tv_usec = TICK_MS * 1000 };

	if (!event_pending(L.tick, EV_TIMEOUT, NULL))
		event_add(L.tick, &tv);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (go_down())
		look_again();
}

/* An older stranger of the same address that has sat for some time. */
static struct conn *
sitter(uint64_t key)
{
	int64_t before = clock_ms() - SAT_MS;
	struct conn *c;
	int i;

	for (i = 0; i < 2; i++) {
		TAILQ_FOREACH(c, &L.strangers[i], stranger) {
			if (c->progress_ms > before)
				break;
			if (c->key == key)
				return c;
		}
	}
	return NULL;
}

/* ---- coming ---- */

/* A courtesy only. Where TLS comes first nobody could read it. */
static void
refuse(int fd, enum listen_kind kind, enum smtp_reply why, const char *addr)
{
	char out[SMTP_REPLY_MAX];
	size_t n;

	n = smtp_reply_format(out, sizeof(out), why, addr, NULL);
	n = smtp_reply_help(out, sizeof(out), n, F.conf.help);
	if (kind == LISTEN_STARTTLS &&
	    send(fd, out, n, MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		errno = 0;
	close(fd);
}

/* R_GREETING: nothing against it. */
static enum smtp_reply
check_address(uint64_t key, const char *addr)
{
	const struct conf *cf = &F.setup->conf;
	struct conntable_counts n = conntable_address(&L.table, key);
	struct conn *c;

	if (cf->address_connections > 0 && n.conns > cf->address_connections) {
		log_limit(
		    ADDRESS, addr, n.conns, cf->address_connections, "refused");
		return R_GREET_TOO_MANY;
	}
	if (cf->address_strangers == 0 || n.strangers <= cf->address_strangers)
		return R_GREETING;
	if ((c = sitter(key)) == NULL) {
		log_limit(ADDRESS_STRANGERS, addr, n.strangers,
		    cf->address_strangers, "refused");
		return R_GREET_STRANGERS;
	}
	log_limit(ADDRESS_STRANGERS, addr, n.strangers, cf->address_strangers,
	    "dropped");
	drop(c);
	return R_GREETING;
}

static enum smtp_reply
check_all(const char *addr)
{
	int64_t limit = F.setup->conf.max_connections;
	struct conntable_sum s = conntable_sum(&L.table);
	struct conn *c;

	if (s.now.conns > limit) {
		c = slowest();
		log_limit(CONNECTIONS, c != NULL ? c->client.addr : addr,
		    s.now.conns, limit, c != NULL ? "dropped" : "refused");
		if (c == NULL)
			return R_GREET_BUSY;
		drop(c);
	}
	if (go_down())
		look_again();
	return R_GREETING;
}

static bool
is_exempt(const char *addr)
{
	const char *bad;
	size_t len;

	return throttle_in_networks(
		   F.setup->conf.address_exempt, addr, &bad, &len) == 1;
}

int
front_limit_admit(
    int fd, enum listen_kind kind, const char *addr, bool exempt, uint64_t *key)
{
	enum smtp_reply why = R_GREETING;

	*key = exempt || is_exempt(addr) ? 0 : conntable_key(addr);
	if (!conntable_enter(&L.table, *key)) {
		conntable_refused(&L.table);
		refuse(fd, kind, R_GREET_BUSY, addr);
		return -1;
	}
	if (*key != 0)
		why = check_address(*key, addr);
	if (why == R_GREETING)
		why = check_all(addr);
	if (why == R_GREETING)
		return 0;
	conntable_leave(&L.table, *key, true);
	conntable_refused(&L.table);
	refuse(fd, kind, why, addr);
	return -1;
}

void
front_limit_forget(uint64_t key)
{
	conntable_leave(&L.table, key, true);
}

static void
join(struct conn *c)
{
	TAILQ_INSERT_TAIL(&L.strangers[c->known_addr], c, stranger);
}

static void
part(struct conn *c)
{
	TAILQ_REMOVE(&L.strangers[c->known_addr], c, stranger);
}

void
front_limit_begin(struct conn *c, bool exempt)
{
	c->progress_ms = c->began_ms;
	c->known_addr = exempt || c->key == 0 ||
	    conntable_is_known(&L.table, c->key, c->began_ms, KNOWN_MS);
	c->is_stranger = true;
	join(c);
	stream_limit_input(c->io, STRANGER_INPUT);
}

void
front_limit_progress(struct conn *c)
{
	unsigned now;

	if (!c->is_stranger)
		return;
	if (session_is_known(c->smtp)) {
		part(c);
		c->is_stranger = false;
		conntable_login(&L.table, c->key, clock_ms());
		stream_limit_input(c->io, KNOWN_INPUT);
	} else if ((now = session_progress(c->smtp)) > c->progress) {
		c->progress = (uint8_t)now;
		c->progress_ms = clock_ms();
		part(c);
		join(c);
	}
}

void
front_limit_end(struct conn *c)
{
	front_limit_handshake(c, false);
	if (c->in_turn)
		TAILQ_REMOVE(&L.turns, c, turn);
	if (c->is_stranger)
		part(c);
	conntable_leave(&L.table, c->key, c->is_stranger);
}

/* ---- handshakes ---- */

static void
next_round(void)
{
	const struct timeval at_once = { 0 };

	if (!event_pending(L.round, EV_TIMEOUT, NULL))
		event_add(L.round, &at_once);
}

bool
front_limit_step(struct conn *c)
{
	next_round();
	if (L.steps > 0 && TAILQ_EMPTY(&L.turns)) {
		L.steps--;
		return true;
	}
	if (!c->in_turn) {
		TAILQ_INSERT_TAIL(&L.turns, c, turn);
		c->in_turn = true;
	}
	return false;
}

/* Comes after the loop has looked for what else there is. */
static void
on_round(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c;

	(void)fd, (void)what, (void)arg;
	for (L.steps = STEPS; L.steps > 0; L.steps--) {
		if ((c = TAILQ_FIRST(&L.turns)) == NULL)
			return;
		TAILQ_REMOVE(&L.turns, c, turn);
		c->in_turn = false;
		stream_proceed(c->io);
	}
	next_round();
}

void
front_limit_handshake(struct conn *c, bool begins)
{
	if (c->shaking == begins)
		return;
	c->shaking = begins;
	conntable_handshake(&L.table, begins ? 1 : -1);
}

/* ---- the role ---- */

int
front_limit_start(void)
{
	TAILQ_INIT(&L.strangers[0]);
	TAILQ_INIT(&L.strangers[1]);
	TAILQ_INIT(&L.turns);
	L.steps = STEPS;
	L.tick = event_new(F.setup->base, -1, 0, on_tick, NULL);
	L.round = event_new(F.setup->base, -1, 0, on_round, NULL);
	if (L.tick == NULL || L.round == NULL)
		return -1;
	conntable_state(&L.table, CONNTABLE_ACCEPTING);
	return 0;
}

void
front_limit_drain(void)
{
	conntable_state(&L.table, CONNTABLE_DRAINING);
}
