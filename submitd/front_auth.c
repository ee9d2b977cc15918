/*
 * What front tells auth and asks it: a session is announced once its TLS
 * stands and its client's name is known, to the worker that a hash of the
 * session, later of the user, chooses.
 */
#include "front_int.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "stream.h"

enum { CHAIN_BYTES = 64 * 1024 };

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

	if ((c->worker = pick_worker(c->sid)) == NULL)
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

	c->name_asked = true;
	if (F.setup->conf.name_timeout > 0 && F.resolver != NULL &&
	    ipc_send(F.resolver, M_RESOLVE, c->sid, &m) == 0)
		c->resolve = RESOLVE_PENDING;
}

static void
on_resolved(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = front_find(in->m->resolved.id);

	(void)p;
	if (c == NULL || c->resolve != RESOLVE_PENDING)
		return;
	name_is_known(c, (enum resolve_status)in->m->resolved.status,
	    in->m->resolved.name);
}

/* The user in PLAIN's first message (RFC 4616), to find a worker by. */
static bool
plain_user_hash(const struct m_auth_start *m, uint64_t *hash)
{
	const char *p = m->data.p, *end = p + m->data.len;
	const char *user, *nul;

	if (strcmp(m->mech, "PLAIN") != 0 || m->data.len == 0 ||
	    (nul = memchr(p, '\0', m->data.len)) == NULL)
		return false;
	user = nul + 1;
	if ((nul = memchr(user, '\0', (size_t)(end - user))) == NULL)
		return false;
	for (*hash = 5381; user < nul; user++)
		*hash = *hash * 33 + (unsigned char)*user;
	return true;
}

/* One worker serves a user's passwords, so that one cache holds them. */
static void
move_to_user(struct conn *c, const struct m_auth_start *m)
{
	struct worker *w;
	uint64_t hash;

	if (!plain_user_hash(m, &hash) || (w = pick_worker(hash)) == NULL ||
	    w == c->worker)
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
		return;
	}
	close(fd);
}

void
front_resolver_peer(int fd)
{
	front_replace_peer(&F.resolver, fd, resolver_rules, on_resolver_gone);
}
