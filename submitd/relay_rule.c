/*
 * The access map in the relay: questions to the auth workers, which have the
 * store.  A question goes to one worker, and to another if that one dies; it
 * waits for a worker if there is none.  Who gets no answer in time keeps the
 * mail: without the map nobody knows what it demands.
 */
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "relay.h"

enum {
	ANSWER_MS = 10 * 1000, /* from one answer to the next, at most */
	LOOK_MAX = 16
};

struct relay_worker {
	TAILQ_ENTRY(relay_worker) link;
	struct ipc *ipc;
	bool told; /* it sent M_SERVER_RULES */
	uint8_t kinds;
};

static TAILQ_HEAD(, relay_worker) workers = TAILQ_HEAD_INITIALIZER(workers);
static struct relay_conns asking = TAILQ_HEAD_INITIALIZER(asking);
static uint64_t last_id;
static uint64_t mark; /* of the map, as a worker told last */
static unsigned map;  /* counts its changes */

/* ---- what the workers told ---- */

bool
relay_rule_applies(unsigned kinds)
{
	const struct relay_worker *w;
	unsigned found = 0;
	bool told = false;

	TAILQ_FOREACH(w, &workers, link) {
		told |= w->told;
		found |= w->kinds;
	}
	return !told || (found & kinds) != 0;
}

unsigned
relay_rule_map(void)
{
	return map;
}

/* One look at all of them: hardly ever has one said anything. */
static bool
all_are_silent(void)
{
	struct pollfd pf[LOOK_MAX];
	const struct relay_worker *w;
	nfds_t n = 0;

	TAILQ_FOREACH(w, &workers, link) {
		if (n == LOOK_MAX)
			return false;
		pf[n++] =
		    (struct pollfd){ .fd = ipc_fd(w->ipc), .events = POLLIN };
	}
	return poll(pf, n, 0) == 0;
}

void
relay_rule_refresh(void)
{
	struct relay_worker *w, *next;

	if (all_are_silent())
		return;
	for (w = TAILQ_FIRST(&workers); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		ipc_drain(w->ipc);
	}
}

/* ---- asking ---- */

static void
send_rcpts(const struct relay_conn *c, struct ipc *ipc)
{
	const struct relay_job *j = c->job;
	struct m_server_rcpt m = { .id = c->ask.id };
	size_t i;

	for (i = 0; i < j->rcpts; i++) {
		if (j->rcpt[i].ruled != RULED_OPEN)
			continue;
		m.n = (uint32_t)i;
		m.to = j->rcpt[i].to;
		ipc_send(ipc, M_SERVER_RCPT, j->sid, &m);
	}
}

/* The workers take turns.  NULL: there is none. */
static struct relay_worker *
next_worker(void)
{
	static unsigned turn;
	struct relay_worker *w;
	unsigned n = 0;

	TAILQ_FOREACH(w, &workers, link)
		n++;
	if (n == 0)
		return NULL;
	n = turn++ % n;
	w = TAILQ_FIRST(&workers);
	while (n-- > 0)
		w = TAILQ_NEXT(w, link);
	return w;
}

static void
send_ask(struct relay_conn *c)
{
	struct relay_worker *w = next_worker();
	struct m_server_tls m = { .id = c->ask.id,
		.ask = (uint8_t)c->ask.what };
	struct buf chain = { 0 };

	c->ask.worker = w;
	if (w == NULL)
		return;
	relay_conn_facts(c, &m, &chain);
	ipc_send(w->ipc, M_SERVER_TLS, c->job != NULL ? c->job->sid : 0, &m);
	buf_clear(&chain);
	if (c->ask.what == SERVER_ASK_RCPT)
		send_rcpts(c, w->ipc);
}

void
relay_rule_cancel(struct relay_conn *c)
{
	if (c->ask.id == 0)
		return;
	TAILQ_REMOVE(&asking, c, ask.link);
	event_free(c->ask.timer);
	c->ask = (struct relay_ask){ 0 };
}

static void
arm(const struct relay_conn *c)
{
	int64_t ms =
	    relay.timeout_ms < ANSWER_MS ? relay.timeout_ms : ANSWER_MS;
	const struct timeval limit = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	event_add(c->ask.timer, &limit);
}

/* c may be gone afterwards. */
static void
take_verdict(struct relay_conn *c, const struct m_server_verdict *m)
{
	struct relay_job *j = c->job;

	if (c->ask.what != SERVER_ASK_RCPT) {
		relay_rule_cancel(c);
		relay_conn_ruled(c, m);
		return;
	}
	if (m->n >= j->rcpts || j->rcpt[m->n].ruled != RULED_OPEN)
		return;
	if (m->verdict == SERVER_GO)
		j->rcpt[m->n].ruled = RULED_GO;
	else
		relay_job_rule_out(j, m->n, m, c->mta);
	if (--c->ask.open > 0) {
		arm(c);
		return;
	}
	relay_rule_cancel(c);
	relay_conn_rcpts_ruled(c);
}

/* Late: all that is still open is not known. */
static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	struct relay_conn *c = arg;
	struct m_server_verdict m = { .verdict = SERVER_UNKNOWN,
		.esc = "4.3.0",
		.ruled = "",
		.text = c->ask.worker != NULL
		    ? "the access map can't be asked: no answer from auth"
		    : "the access map can't be asked: no auth worker" };
	size_t left = c->ask.open;

	(void)fd, (void)what;
	log_warn("rule", "error=%s", m.text);
	for (; left > 0; m.n++) { /* the last one ends the question */
		if (c->ask.what == SERVER_ASK_RCPT &&
		    c->job->rcpt[m.n].ruled != RULED_OPEN)
			continue;
		left--;
		take_verdict(c, &m);
	}
}

void
relay_rule_ask(struct relay_conn *c, enum server_ask what)
{
	size_t i;

	c->ask.id = ++last_id;
	c->ask.what = what;
	c->ask.open = 1;
	c->ask.timer = event_new(relay.base, -1, EV_TIMEOUT, on_late, c);
	TAILQ_INSERT_TAIL(&asking, c, ask.link);
	if (what == SERVER_ASK_RCPT) {
		c->ask.open = c->job->rcpts;
		for (i = 0; i < c->job->rcpts; i++)
			c->job->rcpt[i].ruled = RULED_OPEN;
	}
	arm(c);
	send_ask(c);
}

/* ---- the workers ---- */

static void
on_rules(struct ipc *p, const struct ipc_in *in)
{
	const struct m_server_rules *m = &in->m->server_rules;
	struct relay_worker *w = ipc_arg(p);
	bool other = m->mark != mark;

	w->told = true;
	w->kinds = m->kinds;
	mark = m->mark;
	if (!other)
		return;
	map++;
	relay_on_map();
}

static void
on_verdict(struct ipc *p, const struct ipc_in *in)
{
	const struct m_server_verdict *m = &in->m->server_verdict;
	struct relay_conn *c;

	TAILQ_FOREACH(c, &asking, ask.link)
		if (c->ask.id == m->id)
			break;
	if (c != NULL && c->ask.worker == ipc_arg(p))
		take_verdict(c, m);
}

static const struct ipc_rule worker_rules[] = {
	{ M_SERVER_RULES, on_rules },
	{ M_SERVER_VERDICT, on_verdict },
	{ 0, NULL },
};

/* Asks anew what this worker was asked; NULL: what waits for one. */
static void
ask_again(const struct relay_worker *w)
{
	struct relay_conn *c;

	TAILQ_FOREACH(c, &asking, ask.link)
		if (c->ask.worker == w)
			send_ask(c);
}

static void
on_worker_gone(struct ipc *p, const char *why)
{
	struct relay_worker *w = ipc_arg(p);

	log_debug("peer_gone", "role=%s why=%s", "auth", why);
	TAILQ_REMOVE(&workers, w, link);
	ask_again(w);
	free(w);
}

void
relay_rule_peer(struct event_base *base, int fd)
{
	struct relay_worker *w = xcalloc(1, sizeof(*w));

	w->ipc = ipc_new(base, fd, worker_rules, on_worker_gone, w);
	TAILQ_INSERT_TAIL(&workers, w, link);
	ask_again(NULL);
}
