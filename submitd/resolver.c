/*
 * The resolver role: all DNS of the server.  front asks for forward-confirmed
 * names of its clients, relay for the smarthost's addresses.
 *
 * libunbound runs inside our own loop (its event interface): it needs neither
 * a thread nor a child, so that nothing escapes the lock-down.  It asks the
 * servers of resolv.conf, knows the hosts file and keeps the cache.  Parent
 * sends the text of both, at start and when one has changed: then questions go
 * to a new context; the old one goes once its last lookup has come back.
 *
 * Every question is answered within RESOLVER_DEADLINE.  Each kind of question
 * has its own context and its own bound: strangers whose reverse names never
 * resolve make libunbound think that the servers are slow, and must not delay
 * the smarthost's name by that.
 */
#include <sys/queue.h>

#include <arpa/inet.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unbound-event.h>
#include <unbound.h>

#include "dnsmsg.h"
#include "log.h"
#include "netfiles.h"
#include "role.h"

#ifndef RESOLVER_DEADLINE
#define RESOLVER_DEADLINE 10000 /* ms for one question */
#endif

enum {
	HOSTS_MAX = 64,    /* RESOLVE_HOST questions in flight */
	CLIENTS_MAX = 512, /* RESOLVE_CLIENT */
	PTRS_MAX = 5,      /* names of an address that are confirmed */
	ADDRS_MAX = 900,   /* bytes of addresses in one answer */
	KINDS = RESOLVE_CLIENT + 1,
	CLASS_IN = 1
};

/* One libunbound context. */
struct dns {
	struct ub_ctx *ctx;
	size_t lookups; /* that have not come back */
	bool retired;
};

struct question {
	TAILQ_ENTRY(question) link;
	struct ipc *asker; /* NULL: answered, or the asker is gone */
	uint64_t sid, id;
	enum resolve_kind kind;
	char name[DNSMSG_NAME];
	struct event *step, *deadline;
	size_t lookups; /* that have not come back */

	bool temp;   /* a lookup failed for now */
	bool exists; /* a lookup found the name, if not an address */
	char v6[ADDRS_MAX + 1], v4[ADDRS_MAX + 1]; /* blank between */

	char ptr[PTRS_MAX][DNSMSG_NAME];
	size_t ptrs;
	bool asked_ptr;
	const char *confirmed; /* into ptr[] */
};

struct lookup {
	struct dns *dns;
	struct question *q;
	enum dns_type type;
	const char *name; /* of question or ptr */
};

struct asker {
	TAILQ_ENTRY(asker) link;
	struct ipc *ipc;
};

static struct role_setup *setup;
static struct dns *dns[KINDS]; /* by enum resolve_kind */
static struct buf resolv_conf, hosts; /* their text */
static TAILQ_HEAD(, question) questions = TAILQ_HEAD_INITIALIZER(questions);
static TAILQ_HEAD(, asker) askers = TAILQ_HEAD_INITIALIZER(askers);
static size_t in_flight[KINDS];
static size_t unanswered;
static bool draining;

/* ---- contexts ---- */

static void
dns_close(struct dns *d)
{
	ub_ctx_delete(d->ctx);
	free(d);
}

static void
on_close(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	dns_close(arg);
}

/* Not at once: the last lookup may be returning just now. */
static void
dns_retire(struct dns *d)
{
	static const struct timeval now = { 0 };

	d->retired = true;
	if (d->lookups == 0)
		event_base_once(setup->base, -1, EV_TIMEOUT, on_close, d, &now);
}

static int
set_options(struct ub_ctx *ctx)
{
	static const char *const options[][2] = {
		/* reverse names of private networks are the servers' to
		 * know, not ours to deny */
		{ "unblock-lan-zones:", "yes" },
		{ "insecure-lan-zones:", "yes" },
		/* a server that was away is asked again soon */
		{ "infra-keep-probing:", "yes" },
		{ "outgoing-range:", "128" },
		{ "num-queries-per-thread:", "1024" },
	};
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < sizeof(options) / sizeof(options[0]); i++)
		rc = ub_ctx_set_option(ctx, options[i][0], options[i][1]);
	return rc;
}

static void
add_server(void *ctx, const char *addr)
{
	int rc = ub_ctx_set_fwd(ctx, addr);

	if (rc != 0)
		log_warn("resolver", "server=%s error=%s", addr,
		    ub_strerror(rc));
}

static void
add_host(void *ctx, const char *name, const char *addr)
{
	char record[2 * NETFILES_NAME + 16];

	snprintf(record, sizeof(record), "%s %s %s", name,
	    strchr(addr, ':') != NULL ? "AAAA" : "A", addr);
	if (ub_ctx_set_option(ctx, "local-data:", record) != 0)
		log_debug("resolver", "host=%s error=%s", name, "not taken");
}

/* server: "ADDR" or "ADDR@PORT"; "" means what resolv.conf says. */
static int
set_servers(struct ub_ctx *ctx, const char *server)
{
	if (server[0] != '\0')
		return ub_ctx_set_fwd(ctx, server);
	/* resolv.conf(5): without any the server is this machine */
	if (netfiles_servers(buf_head(&resolv_conf), resolv_conf.len,
		add_server, ctx) == 0)
		return ub_ctx_set_fwd(ctx, "127.0.0.1");
	return 0;
}

static struct dns *
dns_open(const char *server, char *err, size_t errlen)
{
	/* zones that libunbound denies, but a network's servers may have */
	static const char *const zones[] = { "test.", "home.arpa." };
	struct ub_ctx *ctx = ub_ctx_create_event(setup->base);
	struct dns *d;
	size_t i;
	int rc;

	if (ctx == NULL) {
		snprintf(err, errlen, "cannot make a DNS resolver");
		return NULL;
	}
	ub_ctx_debugout(ctx, NULL);
	if ((rc = set_options(ctx)) != 0 ||
	    (rc = set_servers(ctx, server)) != 0) {
		snprintf(err, errlen,
		    "resolver: \"%s\": %s, expected ADDRESS or ADDRESS@PORT",
		    server, ub_strerror(rc));
		ub_ctx_delete(ctx);
		return NULL;
	}
	netfiles_hosts(buf_head(&hosts), hosts.len, add_host, ctx);
	for (i = 0; i < sizeof(zones) / sizeof(zones[0]); i++)
		ub_ctx_zone_remove(ctx, zones[i]);
	d = xcalloc(1, sizeof(*d));
	d->ctx = ctx;
	return d;
}

/* Puts contexts with these servers in place; 0, or -1: nothing changed. */
static int
use_servers(const char *server, char *err, size_t errlen)
{
	struct dns *fresh[KINDS] = { NULL };
	int i;

	for (i = 0; i < KINDS; i++) {
		if ((fresh[i] = dns_open(server, err, errlen)) != NULL)
			continue;
		while (--i >= 0)
			dns_close(fresh[i]);
		return -1;
	}
	for (i = 0; i < KINDS; i++) {
		if (dns[i] != NULL)
			dns_retire(dns[i]);
		dns[i] = fresh[i];
	}
	return 0;
}

/* The text that parent has sent; false: it is the same as before. */
static bool
take_text(struct buf *to, const struct buf *from)
{
	if (to->len == from->len &&
	    (from->len == 0 ||
		memcmp(buf_head(to), buf_head(from), from->len) == 0))
		return false;
	buf_clear(to);
	buf_add(to, buf_head(from), from->len);
	return true;
}

/* ---- questions ---- */

static void
question_free(struct question *q)
{
	TAILQ_REMOVE(&questions, q, link);
	in_flight[q->kind]--;
	event_free(q->step);
	event_free(q->deadline);
	free(q);
}

/* Nobody waits for it any more; it stays until its lookups are back. */
static void
settle(struct question *q)
{
	if (q->asker == NULL)
		return;
	q->asker = NULL;
	event_del(q->deadline);
	if (--unanswered == 0 && draining)
		role_leave(setup);
}

static void
reply(struct ipc *asker, uint64_t sid, const struct m_resolved *m)
{
	ipc_send(asker, M_RESOLVED, sid, m);
	log_debug("resolved", "id=%lu status=%u name=%s addrs=%s detail=%s",
	    (unsigned long)m->id, (unsigned)m->status, m->name, m->addrs,
	    m->detail);
}

static void
answer(struct question *q, enum resolve_status status, const char *name,
    const char *addrs, const char *detail)
{
	struct m_resolved m = { .id = q->id,
		.status = (uint8_t)status,
		.name = name,
		.addrs = addrs,
		.detail = detail };

	if (q->asker != NULL)
		reply(q->asker, q->sid, &m);
	settle(q);
}

static void
add_addr(char *list, const char *addr)
{
	size_t len = strlen(list), n = strlen(addr);

	if (len + 1 + n <= ADDRS_MAX)
		snprintf(list + len, ADDRS_MAX + 1 - len, "%s%s",
		    len > 0 ? " " : "", addr);
}

static void
found(void *arg, const char *text)
{
	const struct lookup *l = arg;
	struct question *q = l->q;

	if (l->type == DNS_PTR) {
		if (q->ptrs < PTRS_MAX)
			snprintf(q->ptr[q->ptrs++], DNSMSG_NAME, "%s", text);
	} else if (q->kind == RESOLVE_CLIENT) {
		if (q->confirmed == NULL && strcmp(text, q->name) == 0)
			q->confirmed = l->name;
	} else {
		add_addr(l->type == DNS_A ? q->v4 : q->v6, text);
	}
}

static void
on_lookup(void *arg, int rcode, void *packet, int len, int secure, char *bogus,
    int limited)
{
	struct lookup *l = arg;
	struct question *q = l->q;

	(void)secure, (void)bogus, (void)limited;
	if (rcode == DNS_NOERROR)
		rcode = packet != NULL && len > 0
		    ? dnsmsg_answers(packet, (size_t)len, l->type, found, l)
		    : DNS_SERVFAIL;
	if (rcode == DNS_NOERROR)
		q->exists = true;
	else if (rcode != DNS_NXDOMAIN)
		q->temp = true;
	if (--l->dns->lookups == 0 && l->dns->retired)
		dns_retire(l->dns);
	free(l);
	/* From the loop, since libunbound is in the middle of something. */
	if (--q->lookups == 0)
		event_active(q->step, 0, 0);
}

static void
look_up(struct question *q, const char *name, enum dns_type type)
{
	struct lookup *l = xmalloc(sizeof(*l));
	struct dns *d = dns[q->kind];

	*l = (struct lookup){ .dns = d, .q = q, .type = type, .name = name };
	d->lookups++;
	q->lookups++;
	/* The hosts file's names are answered before this returns. */
	if (ub_resolve_event(
		d->ctx, name, (int)type, CLASS_IN, l, on_lookup, NULL) == 0)
		return;
	d->lookups--; /* a name that cannot be asked does not exist */
	q->lookups--;
	free(l);
}

/* The lookups of RESOLVE_HOST are all back. */
static void
conclude_host(struct question *q)
{
	char all[sizeof(q->v6) + sizeof(q->v4)];

	snprintf(all, sizeof(all), "%s%s%s", q->v6,
	    q->v6[0] != '\0' && q->v4[0] != '\0' ? " " : "", q->v4);
	if (all[0] != '\0')
		answer(q, RESOLVE_OK, q->name, all, "");
	else if (q->temp)
		answer(
		    q, RESOLVE_TEMP, "", "", "the DNS servers gave no answer");
	else
		answer(q, RESOLVE_FAIL, "", "",
		    q->exists ? "the name has no address"
			      : "there is no such name");
}

static void
conclude_client(struct question *q)
{
	char text[DNSMSG_NAME + 64];

	if (q->confirmed != NULL) {
		answer(q, RESOLVE_OK, q->confirmed, "", "");
	} else if (q->temp) {
		answer(
		    q, RESOLVE_TEMP, "", "", "the DNS servers gave no answer");
	} else if (q->ptrs == 0) {
		answer(q, RESOLVE_FAIL, "", "", "the address has no name");
	} else {
		snprintf(text, sizeof(text),
		    "the name %s does not lead back to the address", q->ptr[0]);
		answer(q, RESOLVE_FORGED, "", "", text);
	}
}

static void
begin_client(struct question *q)
{
	char reverse[DNSMSG_REVERSE];

	q->asked_ptr = true;
	if (dnsmsg_reverse(q->name, reverse, sizeof(reverse)) == 0)
		look_up(q, reverse, DNS_PTR);
}

/* Each name of the address must have the address. */
static void
confirm_client(struct question *q)
{
	enum dns_type type = strchr(q->name, ':') != NULL ? DNS_AAAA : DNS_A;
	size_t i, n = q->ptrs;

	for (i = 0; i < n; i++)
		look_up(q, q->ptr[i], type);
}

/* All lookups of a round are back. */
static void
on_step(evutil_socket_t fd, short what, void *arg)
{
	struct question *q = arg;

	(void)fd, (void)what;
	if (q->lookups > 0)
		return;
	if (q->asker != NULL && q->asked_ptr) {
		q->asked_ptr = false;
		confirm_client(q);
		if (q->lookups > 0)
			return;
		event_active(q->step, 0, 0);
		return;
	}
	if (q->asker != NULL && q->kind == RESOLVE_HOST)
		conclude_host(q);
	else if (q->asker != NULL)
		conclude_client(q);
	question_free(q);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	answer(arg, RESOLVE_TEMP, "", "", "no answer came in time");
}

static struct question *
question_new(struct ipc *asker, const struct ipc_in *in, const char *name)
{
	static const struct timeval limit = { RESOLVER_DEADLINE / 1000,
		RESOLVER_DEADLINE % 1000 * 1000L };
	struct question *q = xcalloc(1, sizeof(*q));

	q->asker = asker;
	q->sid = in->sid;
	q->id = in->m->resolve.id;
	q->kind = (enum resolve_kind)in->m->resolve.kind;
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->step = event_new(setup->base, -1, 0, on_step, q);
	q->deadline = event_new(setup->base, -1, EV_TIMEOUT, on_deadline, q);
	event_add(q->deadline, &limit);
	TAILQ_INSERT_TAIL(&questions, q, link);
	in_flight[q->kind]++;
	unanswered++;
	return q;
}

/* An address as inet_ntop() writes it, to compare with answers. */
static bool
canonical(const char *text, char *out, size_t size)
{
	unsigned char a[16];
	int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;

	return inet_pton(family, text, a) == 1 &&
	    inet_ntop(family, a, out, (socklen_t)size) != NULL;
}

/* What needs no DNS; true if it is answered. */
static bool
answer_at_once(
    struct ipc *asker, const struct ipc_in *in, bool numeric, const char *addr)
{
	const struct m_resolve *r = &in->m->resolve;
	size_t max = r->kind == RESOLVE_HOST ? HOSTS_MAX : CLIENTS_MAX;
	struct m_resolved m = { .id = r->id, .name = "", .addrs = "" };

	m.detail = "";
	if (numeric && r->kind == RESOLVE_HOST) {
		m.status = RESOLVE_OK;
		m.name = m.addrs = addr;
	} else if (!numeric && r->kind == RESOLVE_CLIENT) {
		m.status = RESOLVE_FAIL;
		m.detail = "no numeric address was given";
	} else if (in_flight[r->kind] >= max) {
		m.status = RESOLVE_TEMP;
		m.detail = "too many questions wait for the DNS servers";
	} else {
		return false;
	}
	reply(asker, in->sid, &m);
	return true;
}

static void
on_resolve(struct ipc *asker, const struct ipc_in *in)
{
	char addr[DNSMSG_NAME];
	const char *name = in->m->resolve.name;
	bool numeric = canonical(name, addr, sizeof(addr));
	struct question *q;

	if (answer_at_once(asker, in, numeric, addr))
		return;
	q = question_new(asker, in, numeric ? addr : name);
	if (q->kind == RESOLVE_CLIENT) {
		begin_client(q);
	} else {
		look_up(q, q->name, DNS_AAAA);
		look_up(q, q->name, DNS_A);
	}
	if (q->lookups == 0)
		event_active(q->step, 0, 0);
}

/* ---- the role ---- */

static void
on_gone(struct ipc *p, const char *why)
{
	struct asker *a = ipc_arg(p);
	struct question *q;

	log_debug("peer_gone", "why=%s", why);
	TAILQ_FOREACH(q, &questions, link)
		if (q->asker == p)
			settle(q);
	TAILQ_REMOVE(&askers, a, link);
	free(a);
}

static const struct ipc_rule rules[] = {
	{ M_RESOLVE, on_resolve },
	{ 0, NULL },
};

static void
resolver_peer(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	struct asker *a = xcalloc(1, sizeof(*a));

	(void)role, (void)instance;
	a->ipc = ipc_new(s->base, fd, rules, on_gone, a);
	TAILQ_INSERT_TAIL(&askers, a, link);
}

static int
resolver_start(struct role_setup *s, char *err, size_t errlen)
{
	setup = s;
	take_text(&resolv_conf, &s->pem[PEM_RESOLV_CONF]);
	take_text(&hosts, &s->pem[PEM_HOSTS]);
	return use_servers(s->conf.resolver, err, errlen);
}

/* M_PEM */
static void
resolver_other(struct role_setup *s, const struct ipc_in *in)
{
	enum pem_kind kind = (enum pem_kind)in->m->pem.kind;
	char err[256];

	if (in->type != M_PEM ||
	    (kind != PEM_RESOLV_CONF && kind != PEM_HOSTS) ||
	    !take_text(kind == PEM_HOSTS ? &hosts : &resolv_conf, &s->pem[kind]))
		return;
	if (use_servers(s->conf.resolver, err, sizeof(err)) == -1)
		log_warn("resolver", "error=%s", err);
	else
		log_info("resolver", "changed=%s",
		    kind == PEM_HOSTS ? "/etc/hosts" : "/etc/resolv.conf");
}

/* Landlock has locked the port of TCP; without it, this is the same rule. */
static int
resolver_reload(
    struct role_setup *s, const struct conf *next, char *err, size_t errlen)
{
	if (conf_resolver_port(&s->conf) != conf_resolver_port(next)) {
		snprintf(err, errlen,
		    "resolver: \"%s\": the port can be changed by a restart "
		    "only",
		    next->resolver);
		return -1;
	}
	return use_servers(next->resolver, err, errlen);
}

static void
resolver_drain(struct role_setup *s)
{
	draining = true;
	if (unanswered == 0)
		role_leave(s);
}

const struct role_ops resolver_ops = {
	.role = ROLE_RESOLVER,
	.start = resolver_start,
	.peer = resolver_peer,
	.drain = resolver_drain,
	.reload = resolver_reload,
	.other = resolver_other,
};
