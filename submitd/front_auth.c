/*
 * What front tells auth and asks it: a session is announced once its TLS
 * stands and its client's name is known, to the worker that is likely to have
 * its user's password in its cache: that of whoever logged in last from the
 * same address.  A login by another user moves it to the worker of that one.
 *
 * A client that comes again soon has the name that it had: it is not asked for
 * anew within NAME_MS.
 */
#include "front_int.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "stream.h"

enum {
	CHAIN_BYTES = 64 * 1024,
	PLACES = 1024, /* of remembered addresses, a power of two */
	NAME_MS = 30 * 1000,
};

/*
 * What is remembered of an address: a place for each hash, the last one stays.
 * The user is a guess that costs a message when it is wrong; the name has to
 * be that of this very address.
 */
struct place {
	uint64_t user; /* a hash; 0: none */
	char *addr, *name;
	int64_t until_ms;
};

static struct place places[PLACES];

static uint64_t
hash_text(const char *p, size_t n)
{
	uint64_t h = 5381;

	while (n-- > 0)
		h = h * 33 + (unsigned char)*p++;
	return h;
}

static struct place *
place_of(const struct conn *c)
{
	const char *addr = c->client.addr;

	return &places[hash_text(addr, strlen(addr)) & (PLACES - 1)];
}

/* ---- workers ---- */

static struct worker *
pick_worker(uint64_t hash)
{
	struct worker *live[FRONT_WORKERS_MAX];
	size_t n = 0, i;

	for (i = 0; i < FRONT_WORKERS_MAX; i++)
		if (F.workers[i].ipc != NULL)
			live[n++] = &F.workers[i];
	return n > 0 ? live[hash % n] : NULL;
}

static bool
introduce(struct conn *c)
{
	struct m_session m = { .client_addr = c->client.addr,
		.client_port = c->client_port,
		.client_name = str_of(c->client.name),
		.resolve = (uint8_t)c->resolve,
		.listen_kind = (uint8_t)c->kind };
	unsigned char exporter[32], unique[64], endpoint[64];
	char server[64];
	struct session_facts f;
	struct stream_tls t;
	struct buf chain = { 0 };
	int rc;

	session_get_facts(c->smtp, &f);
	stream_tls_info(c->io, &t);
	if (c->passed != NULL && c->passed->server[0] != '\0') {
		snprintf(server, sizeof(server), "%s", c->passed->server);
		m.server_port = c->passed->server_port;
	} else
		stream_local(c->io, server, sizeof(server), &m.server_port);
	stream_tls_chain(c->io, &chain, CHAIN_BYTES);
	stream_tls_exporter(c->io, exporter, &m.tls_exporter.len);
	stream_tls_unique(c->io, unique, &m.tls_unique.len);
	stream_tls_endpoint(c->io, endpoint, &m.tls_endpoint.len);
	m.server_addr = server;
	m.helo = f.helo;
	m.tls_version = t.version;
	m.tls_cipher = t.cipher;
	m.tls_bits = (uint16_t)t.bits;
	m.chain.p = buf_head(&chain);
	m.chain.len = chain.len;
	m.tls_exporter.p = exporter;
	m.tls_unique.p = unique;
	m.tls_endpoint.p = endpoint;
	rc = ipc_send(c->worker->ipc, M_SESSION, c->sid, &m);
	buf_clear(&chain);
	return rc == 0;
}

/* The name has come, or will not: auth can be told of the session. */
static void
name_is_known(struct conn *c, enum resolve_status status, const char *name)
{
	bool waited = c->name_wait != NULL;

	c->resolve = status;
	if (status == RESOLVE_OK)
		str_set(&c->client.name, name);
	if (!waited)
		return;
	event_free(c->name_wait);
	c->name_wait = NULL;
	if (c->worker != NULL && c->worker->ipc != NULL)
		introduce(c);
}

static void
on_name_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	name_is_known(arg, RESOLVE_TEMP, "");
}

bool
front_announce(void *arg)
{
	struct conn *c = arg;
	int64_t ms = F.setup->conf.name_timeout;
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	uint64_t user = place_of(c)->user;

	if ((c->worker = pick_worker(user != 0 ? user : c->sid)) == NULL)
		return false;
	if (c->resolve != RESOLVE_PENDING)
		return introduce(c);
	c->name_wait =
	    event_new(F.setup->base, -1, EV_TIMEOUT, on_name_late, c);
	return c->name_wait != NULL && event_add(c->name_wait, &tv) == 0;
}

/* Asks for the client's name, so that it is there after TLS. */
void
front_ask_name(struct conn *c)
{
	const struct m_resolve m = {
		.id = c->sid, .kind = RESOLVE_CLIENT, .name = c->client.addr
	};
	const struct place *p = place_of(c);

	c->name_asked = true;
	if (p->addr != NULL && strcmp(p->addr, c->client.addr) == 0 &&
	    clock_ms() < p->until_ms) {
		c->resolve = RESOLVE_OK;
		str_set(&c->client.name, p->name);
		return;
	}
	if (F.setup->conf.name_timeout > 0 && F.resolver != NULL &&
	    ipc_send(F.resolver, M_RESOLVE, c->sid, &m) == 0)
		c->resolve = RESOLVE_PENDING;
}

static void
remember_name(const struct conn *c, const char *name)
{
	struct place *p = place_of(c);

	str_set(&p->addr, c->client.addr);
	str_set(&p->name, name);
	p->until_ms = clock_ms() + NAME_MS;
}

static void
on_resolved(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = front_find(in->m->resolved.id);

	(void)p;
	if (c == NULL || c->resolve != RESOLVE_PENDING)
		return;
	if (in->m->resolved.status == RESOLVE_OK)
		remember_name(c, in->m->resolved.name);
	name_is_known(c, (enum resolve_status)in->m->resolved.status,
	    in->m->resolved.name);
}

/* The user in PLAIN's first message (RFC 4616), to find a worker by; 0 for
 * what is none. */
static uint64_t
plain_user_hash(const struct m_auth_start *m)
{
	const char *p = m->data.p, *end = p + m->data.len;
	const char *user, *nul;

	if (strcmp(m->mech, "PLAIN") != 0 || m->data.len == 0 ||
	    (nul = memchr(p, '\0', m->data.len)) == NULL)
		return 0;
	user = nul + 1;
	if ((nul = memchr(user, '\0', (size_t)(end - user))) == NULL)
		return 0;
	return hash_text(user, (size_t)(nul - user));
}

/* One worker serves a user's passwords, so that one cache holds them. */
static void
move_to_user(struct conn *c, const struct m_auth_start *m)
{
	uint64_t hash = plain_user_hash(m);
	struct worker *w;

	if (hash == 0)
		return;
	place_of(c)->user = hash;
	if ((w = pick_worker(hash)) == NULL || w == c->worker)
		return;
	ipc_send(c->worker->ipc, M_SESSION_CLOSE, c->sid, NULL);
	c->worker = w;
	introduce(c);
}

bool
front_to_auth(void *arg, enum msg_type type, const void *m)
{
	struct conn *c = arg;

	if (c->worker == NULL || c->worker->ipc == NULL)
		return false;
	if (type == M_AUTH_START)
		move_to_user(c, m);
	return ipc_send(c->worker->ipc, type, c->sid, m) == 0;
}

/* ---- what auth and resolver say ---- */

static void
on_auth(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = front_find(in->sid);

	if (c == NULL || c->worker == NULL || c->worker->ipc != p)
		return; /* gone, or moved to another worker meanwhile */
	session_from_auth(c->smtp, in->type, in->m);
	front_settle(c);
}

static void
lost_worker(struct conn *c, const void *w)
{
	if (c->worker != w)
		return;
	c->worker = NULL;
	session_auth_gone(c->smtp);
	front_settle(c);
}

static void
on_auth_gone(struct ipc *p, const char *why)
{
	struct worker *w = ipc_arg(p);

	log_warn("peer", "role=auth error=%s", why);
	w->ipc = NULL;
	front_each(lost_worker, w);
}

static void
no_more_names(struct conn *c, const void *arg)
{
	(void)arg;
	if (c->resolve == RESOLVE_PENDING)
		name_is_known(c, RESOLVE_TEMP, "");
}

static void
on_resolver_gone(struct ipc *p, const char *why)
{
	if (p != F.resolver)
		return;
	log_warn("peer", "role=resolver error=%s", why);
	F.resolver = NULL;
	front_each(no_more_names, NULL);
}

static const struct ipc_rule auth_rules[] = {
	{ M_SESSION_FACTS, on_auth },
	{ M_AUTH_CHALLENGE, on_auth },
	{ M_AUTH_RESULT, on_auth },
	{ M_VERDICT, on_auth },
	{ M_SESSION_KILL, on_auth },
	{ 0, NULL },
};

static const struct ipc_rule resolver_rules[] = {
	{ M_RESOLVED, on_resolved },
	{ 0, NULL },
};

void
front_auth_peer(int fd)
{
	size_t i;

	for (i = 0; i < FRONT_WORKERS_MAX; i++) {
		if (F.workers[i].ipc != NULL)
			continue;
		F.workers[i].ipc = ipc_new(
		    F.setup->base, fd, auth_rules, on_auth_gone, &F.workers[i]);
		ipc_collect(F.workers[i].ipc, F.setup->base, IPC_BEHIND);
		return;
	}
	close(fd);
}

void
front_resolver_peer(int fd)
{
	front_replace_peer(&F.resolver, fd, resolver_rules, on_resolver_gone);
}
