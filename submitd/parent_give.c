/*
 * What parent tells a proc: its configuration, the files it needs, its sockets,
 * its peers, and when to leave; and what it tells queue of the others.
 */
#include "parent_int.h"

#include <sys/mman.h>

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

enum { PEM_BY_MESSAGE_MAX = 48 * 1024 };

static const char *const state_names[] = { "starting", "running", "draining",
	"waiting" };

static const struct given *
given_of(const struct proc *p)
{
	return p->set != NULL ? p->set->given : P.given;
}

void
parent_give_conf(const struct proc *p)
{
	struct buf pairs = { 0 };
	struct m_conf m;

	conf_pairs(&given_of(p)->conf, p->role, &pairs);
	m.pairs.p = buf_head(&pairs);
	m.pairs.len = pairs.len;
	ipc_send(p->ipc, M_CONF, 0, &m);
	buf_clear(&pairs);
}

void
parent_ask_conf(struct proc *p)
{
	parent_give_conf(p);
	p->asked++;
}

/* A bundle that fits no message travels as a file in memory. */
static void
give_big_pem(const struct proc *p, enum pem_kind kind, const struct buf *b)
{
	struct m_pem m = { .kind = (uint8_t)kind };
	int fd = memfd_create("pem", MFD_CLOEXEC);

	if (fd != -1 && write(fd, buf_head(b), b->len) == (ssize_t)b->len &&
	    lseek(fd, 0, SEEK_SET) == 0)
		ipc_send_fd(p->ipc, M_PEM, 0, &m, fd);
	else
		log_warn("give", "error=%s", strerror(errno));
	if (fd != -1)
		close(fd);
}

void
parent_give_bytes(
    const struct proc *p, enum pem_kind kind, const struct buf *b)
{
	struct m_pem m = { .kind = (uint8_t)kind };

	if (b->len > PEM_BY_MESSAGE_MAX) {
		give_big_pem(p, kind, b);
		return;
	}
	m.data.p = buf_head(b);
	m.data.len = b->len;
	ipc_send(p->ipc, M_PEM, 0, &m);
}

static void
give_pem(const struct proc *p, enum pem_kind kind)
{
	const struct buf *b = &given_of(p)->pem[kind];

	if (b->len > 0)
		parent_give_bytes(p, kind, b);
}

static void
give_files(const struct proc *p)
{
	if (p->role == ROLE_FRONT) {
		give_pem(p, PEM_SERVER_CERT);
		give_pem(p, PEM_SERVER_KEY);
	} else if (p->role == ROLE_AUTH) {
		give_pem(p, PEM_CLIENT_CA);
		give_pem(p, PEM_CLIENT_CRL);
		give_pem(p, PEM_OAUTH_KEY);
	} else if (p->role == ROLE_RELAY) {
		give_pem(p, PEM_SMARTHOST_CA);
		give_pem(p, PEM_SMARTHOST_PASSWORD);
		give_pem(p, PEM_CLIENT_CERT);
		give_pem(p, PEM_CLIENT_KEY);
	} else if (p->role == ROLE_RESOLVER)
		parent_dns_give(p);
}

static void
give_listeners(const struct proc *p)
{
	struct m_listen m;
	size_t i;

	if (p->role == ROLE_QUEUE) {
		m.kind = LISTEN_CONTROL;
		m.name = P.given->conf.control_socket;
		ipc_send_fd(p->ipc, M_LISTEN, 0, &m, P.control);
	}
	for (i = 0; p->role == ROLE_FRONT && i < P.listeners.n; i++) {
		m.kind = (uint8_t)P.listeners.v[i].kind;
		m.name = P.listeners.v[i].name;
		ipc_send_fd(p->ipc, M_LISTEN, 0, &m, P.listeners.v[i].fd);
	}
}

/* Who talks to whom: DESIGN's picture, in the README. */
static bool
are_peers(const struct proc *a, const struct proc *b)
{
	static const enum role pairs[][2] = { { ROLE_QUEUE, ROLE_AUTH },
		{ ROLE_QUEUE, ROLE_FRONT }, { ROLE_QUEUE, ROLE_RELAY },
		{ ROLE_RESOLVER, ROLE_FRONT }, { ROLE_RESOLVER, ROLE_RELAY },
		{ ROLE_PAM, ROLE_AUTH }, { ROLE_AUTH, ROLE_FRONT },
		{ ROLE_AUTH, ROLE_RELAY } };
	size_t i;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (pairs[i][0] == a->role && pairs[i][1] == b->role)
			return a->set == NULL || a->set == b->set;
	return false;
}

bool
parent_are_peers(const struct proc *a, const struct proc *b)
{
	return are_peers(a, b) || are_peers(b, a);
}

static void
give_peer(const struct proc *to, const struct proc *other, int fd)
{
	struct m_peer m = { .role = (uint8_t)other->role,
		.instance = other->instance };

	ipc_send_fd(to->ipc, M_PEER, 0, &m, fd);
}

/*
 * The serving side (the first of a pair) hears first: when the other side can
 * send, parent's message is already there to be read.
 */
static void
connect_procs(const struct proc *server, const struct proc *client)
{
	int fd[2];

	if (ipc_pair(fd) == -1) {
		log_warn("connect", "error=%s", strerror(errno));
		return;
	}
	give_peer(server, client, fd[0]);
	give_peer(client, server, fd[1]);
	close(fd[0]);
	close(fd[1]);
}

static void
introduce(const struct proc *p)
{
	const struct proc *q;

	TAILQ_FOREACH(q, &P.procs, link) {
		if (q == p || q->ipc == NULL)
			continue;
		if (are_peers(p, q))
			connect_procs(p, q);
		else if (are_peers(q, p))
			connect_procs(q, p);
	}
}

static void
give_start(const struct proc *p)
{
	struct m_start m = { .instance = p->instance };

	ipc_send(p->ipc, M_START, 0, &m);
}

/* For `submitctl status`, which asks queue. */
void
parent_give_news(const struct proc *p, bool gone)
{
	const struct proc *queue = parent_find_role(ROLE_QUEUE);
	struct m_role m = { .role = (uint8_t)p->role,
		.instance = p->instance,
		.pid = gone ? 0 : (uint32_t)p->pid,
		.state = gone ? "gone" : state_names[p->state] };

	if (queue != NULL && queue->ipc != NULL)
		ipc_send(queue->ipc, M_ROLE, 0, &m);
}

void
parent_give_news_all(void)
{
	const struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->pid != 0)
			parent_give_news(p, false);
}

void
parent_give_drain(struct proc *p, int64_t grace_ms)
{
	struct m_drain m = { .grace_ms = (uint32_t)grace_ms,
		.stop = P.stage != RUNNING };

	if (p->state == PROC_DRAINING)
		return;
	p->state = PROC_DRAINING;
	if (p->ipc != NULL)
		ipc_send(p->ipc, M_DRAIN, 0, &m);
	if (p->again != NULL)
		event_del(p->again);
	parent_give_news(p, false);
}

void
parent_give_setup(struct proc *p)
{
	parent_give_conf(p);
	parent_table_give(p);
	give_files(p);
	give_listeners(p);
	introduce(p);
	give_start(p);
	parent_give_news(p, false);
}
