/*
 * The relay role: takes messages from queue and gives each recipient's result
 * back.  Here are the peers and the pool: which message goes to which
 * connection, when one is opened, what happens when the smarthost can't be
 * reached.
 *
 * A smarthost of which nothing good is known gets one attempt at a time; once
 * it is up, as many connections are opened as messages wait, up to
 * smarthost.connections.  When an attempt fails and no connection stands, all
 * that waits is deferred with the reason: queue has the schedule.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "relay.h"
#include "role.h"
#include "tls.h"

enum {
	/* What comes this long after a failed attempt shares its reason. */
	DOWN_MS = 1000,
	/* A smarthost that serves some connections but refused one more is
	 * left alone for so long. */
	FULL_MS = 10 * 1000,
	/* When a session has ended with a message said behind another, so
	 * long none is: the smarthost may not bear it. */
	ALONE_MS = 10 * 60 * 1000
};

struct relay relay;

static struct role_setup *setup;
static struct ipc *queue, *resolver;
static struct buf password = { .secret = true };

static struct relay_jobs waiting = TAILQ_HEAD_INITIALIZER(waiting);
static struct relay_conns idle = TAILQ_HEAD_INITIALIZER(idle);
static struct relay_conns busy = TAILQ_HEAD_INITIALIZER(busy);
static size_t waiting_count, conns, attempts; /* attempts: not yet ready */
static uint64_t last_id;
static char good_addr[RELAY_ADDR];

static bool up;
static struct relay_reason down; /* the last failure */
static int64_t down_until, full_until, room_from;
static bool draining;

static void dispatch(void);

static void
tell_state(void)
{
	struct m_relay_state m = { .up = up,
		.trouble = (uint8_t)(up ? TROUBLE_NONE : down.trouble),
		.connections = (uint32_t)(conns - attempts),
		.text = up ? "" : down.text };

	if (queue != NULL)
		ipc_send(queue, M_RELAY_STATE, 0, &m);
}

/* ---- leaving ---- */

static void
maybe_leave(void)
{
	if (!draining || relay_job_count() > 0 || conns > 0)
		return;
	if (queue != NULL)
		ipc_flush_wait(queue); /* the last results */
	draining = false;
	role_leave(setup);
}

static void
relay_drain(struct role_setup *s)
{
	struct relay_conn *c;

	(void)s;
	draining = true;
	while ((c = TAILQ_FIRST(&idle)) != NULL)
		relay_conn_quit(c);
	maybe_leave();
}

/* ---- the pool ---- */

static void
make_busy(struct relay_conn *c)
{
	if (!c->idle)
		return;
	c->idle = false;
	TAILQ_REMOVE(&idle, c, link);
	TAILQ_INSERT_TAIL(&busy, c, link);
}

static void
defer_waiting(const struct relay_reason *why)
{
	struct relay_job *j;

	while ((j = TAILQ_FIRST(&waiting)) != NULL) {
		TAILQ_REMOVE(&waiting, j, link);
		waiting_count--;
		relay_job_defer(j, why);
	}
}

static void
open_conn(void)
{
	struct relay_conn *c = xcalloc(1, sizeof(*c));

	c->id = ++last_id;
	conns++;
	attempts++;
	TAILQ_INSERT_TAIL(&busy, c, link);
	relay_conn_begin(c);
}

static bool
may_open(void)
{
	if (TAILQ_EMPTY(&waiting) || attempts >= waiting_count ||
	    conns >= (size_t)setup->conf.smarthost_connections)
		return false;
	if (conns == attempts) /* none stands */
		return attempts == 0 || up;
	return clock_ms() >= full_until;
}

/* The idle connection used last that may send some of it.  If there is none,
 * and no other can be opened, one has to go. */
static struct relay_conn *
conn_for(const struct relay_job *j)
{
	struct relay_conn *c;

	TAILQ_FOREACH(c, &idle, link)
		if (relay_conn_takes(c, j))
			return c;
	if (!TAILQ_EMPTY(&idle) &&
	    conns >= (size_t)setup->conf.smarthost_connections)
		relay_conn_quit(TAILQ_LAST(&idle, relay_conns));
	return NULL;
}

/* Gives waiting messages to idle connections, the one used last first, and
 * opens more.  What it calls comes back here: once is enough. */
static void
dispatch(void)
{
	static bool running;
	struct relay_conn *c;
	struct relay_job *j;

	if (running)
		return;
	running = true;
	while (
	    (j = TAILQ_FIRST(&waiting)) != NULL && (c = conn_for(j)) != NULL) {
		TAILQ_REMOVE(&waiting, j, link);
		waiting_count--;
		make_busy(c);
		relay_conn_send(c, j);
	}
	if (conns == 0 && clock_ms() < down_until)
		defer_waiting(&down);
	while (may_open())
		open_conn();
	running = false;
	maybe_leave();
}

void
relay_on_job(struct relay_job *j)
{
	/* What an administrator changed before this mail came counts. */
	relay_rule_refresh();
	TAILQ_INSERT_TAIL(&waiting, j, link);
	waiting_count++;
	dispatch();
}

void
relay_on_again(struct relay_job *j)
{
	j->again = false;
	j->retried = true;
	TAILQ_INSERT_HEAD(&waiting, j, link);
	waiting_count++;
}

void
relay_on_rest(struct relay_job *j)
{
	TAILQ_INSERT_HEAD(&waiting, j, link);
	waiting_count++;
}

void
relay_on_unsaid(struct relay_job *j)
{
	TAILQ_INSERT_HEAD(&waiting, j, link);
	waiting_count++;
	room_from = clock_ms() + ALONE_MS;
}

void
relay_on_ready(struct relay_conn *c)
{
	attempts--;
	snprintf(good_addr, sizeof(good_addr), "%s", c->addr[c->next - 1]);
	up = true;
	down_until = 0;
	tell_state();
}

/* Judged by a map that has changed: it gets no more messages. */
static bool
is_stale(const struct relay_conn *c)
{
	return c->map != relay_rule_map() &&
	    relay_rule_applies(SERVER_RULE_TRY | SERVER_RULE_TLS);
}

void
relay_on_idle(struct relay_conn *c)
{
	if (is_stale(c) || relay_conn_is_used_up(c)) {
		relay_conn_quit(c);
		dispatch();
		return;
	}
	c->idle = true;
	TAILQ_REMOVE(&busy, c, link);
	TAILQ_INSERT_HEAD(&idle, c, link);
	dispatch();
	if (draining && TAILQ_EMPTY(&waiting))
		while ((c = TAILQ_FIRST(&idle)) != NULL)
			relay_conn_quit(c);
}

void
relay_on_room(struct relay_conn *c)
{
	struct relay_job *j = TAILQ_FIRST(&waiting);

	/* What will have a connection of its own is sooner sent by that. */
	if (j == NULL || waiting_count <= attempts || is_stale(c) ||
	    clock_ms() < room_from || !relay_conn_follow(c, j))
		return;
	TAILQ_REMOVE(&waiting, j, link);
	waiting_count--;
}

void
relay_on_quit(struct relay_conn *c)
{
	make_busy(c);
}

void
relay_on_map(void)
{
	struct relay_conn *c, *next;

	down_until = 0;
	for (c = TAILQ_FIRST(&idle); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (is_stale(c))
			relay_conn_quit(c);
	}
	dispatch();
}

static void
forget(struct relay_conn *c)
{
	make_busy(c);
	TAILQ_REMOVE(&busy, c, link);
	relay_conn_free(c);
	conns--;
}

void
relay_on_failed(struct relay_conn *c)
{
	int64_t now = clock_ms();

	attempts--;
	if (conns - 1 > attempts) {
		full_until = now + FULL_MS; /* others stand and will do */
		forget(c);
	} else if (c->reason.final) {
		/* The mail's fate, not the smarthost's: nothing is down. */
		const struct relay_reason why = c->reason;

		down = (struct relay_reason){ 0 };
		up = false;
		forget(c);
		if (conns == 0)
			defer_waiting(&why);
	} else {
		down = c->reason;
		up = false;
		down_until = now + DOWN_MS;
		forget(c);
		tell_state();
		if (conns == 0)
			defer_waiting(&down);
	}
	dispatch();
}

void
relay_on_closed(struct relay_conn *c)
{
	forget(c);
	tell_state();
	dispatch();
}

void
relay_on_orphan(struct relay_conn *c)
{
	relay_job_done(c->job);
	relay_on_closed(c);
}

const char *
relay_good_addr(void)
{
	return good_addr;
}

/* ---- peers ---- */

/* Takes back what is on its way for a queue that is gone, or the next one
 * would send it twice.  Once its end of data is said it runs on: the smarthost
 * has it. */
static void
take_back(const struct ipc *p)
{
	struct relay_conn *c, *next;

	for (c = TAILQ_FIRST(&busy); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->behind != NULL && c->behind->queue == p)
			c->behind->queue = NULL;
		if (c->job == NULL || c->job->queue != p)
			continue;
		c->job->queue = NULL;
		if (smtp_client_is_final(c->client))
			continue;
		relay_job_done(c->job);
		forget(c);
	}
}

static void
on_queue_gone(struct ipc *p, const char *why)
{
	struct relay_job *j, *next;

	log_debug("peer_gone", "role=%s why=%s", "queue", why);
	relay_job_queue_gone(p);
	for (j = TAILQ_FIRST(&waiting); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (j->queue != p)
			continue;
		/* Nobody waits for it: the next queue sends it anew. */
		TAILQ_REMOVE(&waiting, j, link);
		waiting_count--;
		j->queue = NULL;
		relay_job_done(j);
	}
	take_back(p);
	if (queue == p)
		queue = NULL;
	tell_state();
	dispatch();
}

static void
on_resolved(struct ipc *p, const struct ipc_in *in)
{
	struct relay_conn *c;

	(void)p;
	TAILQ_FOREACH(c, &busy, link)
		if (c->id == in->m->resolved.id)
			break;
	if (c != NULL)
		relay_conn_resolved(c, &in->m->resolved);
}

static void
on_resolver_gone(struct ipc *p, const char *why)
{
	log_debug("peer_gone", "role=%s why=%s", "resolver", why);
	if (resolver == p)
		resolver = NULL;
}

static const struct ipc_rule resolver_rules[] = {
	{ M_RESOLVED, on_resolved },
	{ 0, NULL },
};

void
relay_ask(uint64_t id)
{
	struct m_resolve m = {
		.id = id, .kind = RESOLVE_HOST, .name = relay.host
	};

	if (resolver != NULL)
		ipc_send(resolver, M_RESOLVE, 0, &m);
}

static void
relay_peer(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	struct relay_conn *c;

	(void)instance;
	if (role == ROLE_AUTH) {
		relay_rule_peer(s->base, fd);
		return;
	}
	if (role == ROLE_QUEUE) {
		queue =
		    ipc_new(s->base, fd, relay_job_rules, on_queue_gone, NULL);
		ipc_collect(queue, s->base, IPC_AHEAD);
		tell_state();
		return;
	}
	ipc_free(&resolver);
	resolver = ipc_new(s->base, fd, resolver_rules, on_resolver_gone, NULL);
	TAILQ_FOREACH(c, &busy, link)
		if (c->state == RELAY_RESOLVING)
			relay_ask(c->id);
}

/* ---- start ---- */

static int
relay_preload(struct role_setup *s, char *err, size_t errlen)
{
	static const struct buf none;
	const struct conf *cf = &s->conf;
	bool with = cf->smarthost_client_cert;

	if (cf->smarthost_host[0] == '\0') {
		snprintf(err, errlen, "smarthost.host is not set");
		return -1;
	}
	relay.tls = tls_client_new(&s->pem[PEM_SMARTHOST_CA],
	    with ? &s->pem[PEM_CLIENT_CERT] : &none,
	    with ? &s->pem[PEM_CLIENT_KEY] : &none,
	    (enum tls_policy)cf->smarthost_tls_policy, err, errlen);
	return relay.tls != NULL ? 0 : -1;
}

static int
relay_start(struct role_setup *s, char *err, size_t errlen)
{
	const struct conf *cf = &s->conf;
	bool implicit = cf->smarthost_tls == SMARTHOST_IMPLICIT;

	(void)err, (void)errlen;
	setup = s;
	/* The set-up's own copy is wiped once we serve. */
	buf_add(&password, buf_head(&s->pem[PEM_SMARTHOST_PASSWORD]),
	    s->pem[PEM_SMARTHOST_PASSWORD].len);
	relay.base = s->base;
	relay.host = cf->smarthost_host;
	relay.port = conf_smarthost_port(cf);
	relay.timeout_ms = cf->smarthost_timeout;
	relay.client.helo = cf->hostname;
	relay.client.implicit_tls = implicit;
	relay.client.user = cf->smarthost_user;
	relay.client.ignore = cf->smarthost_ignore;
	relay.client.password =
	    (struct blob){ .p = buf_head(&password), .len = password.len };
	relay.client.write = relay_conn_write;
	relay.client.result = relay_conn_result;
	relay.client.turn = relay_conn_turn;
	return 0;
}

const struct role_ops relay_ops = {
	.role = ROLE_RELAY,
	.warm = tls_warm,
	.preload = relay_preload,
	.start = relay_start,
	.peer = relay_peer,
	.drain = relay_drain,
};
