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
static int
give_big(const struct proc *p, enum pem_kind kind, const void *data, size_t len)
{
	struct m_pem m = { .kind = (uint8_t)kind };
	int fd = memfd_create("pem", MFD_CLOEXEC);
	int rc = -1;

	if (fd != -1 && write(fd, data, len) == (ssize_t)len &&
	    lseek(fd, 0, SEEK_SET) == 0)
		rc = ipc_send_fd(p->ipc, M_PEM, 0, &m, fd);
	if (rc == -1)
		log_warn("give", "error=%s", strerror(errno));
	if (fd != -1)
		close(fd);
	return rc;
}

int
parent_give_bytes(
    const struct proc *p, enum pem_kind kind, const void *data, size_t len)
{
	const struct m_pem m = { .kind = (uint8_t)kind,
		.data = { .p = data, .len = len } };

	if (p->ipc == NULL)
		return -1;
	if (len > PEM_BY_MESSAGE_MAX)
		return give_big(p, kind, data, len);
	return ipc_send(p->ipc, M_PEM, 0, &m);
}

static int
give_pem(const struct proc *p, enum pem_kind kind)
{
	const struct buf *b = &given_of(p)->pem[kind];

	return b->len > 0 ? parent_give_bytes(p, kind, buf_head(b), b->len) : 0;
}

static int
give_files(const struct proc *p)
{
	/* clang-format off */
	static const struct {
		enum role role;
		enum pem_kind kind;
	} who[] = {
		{ ROLE_FRONT, PEM_SERVER_CERT },
		{ ROLE_FRONT, PEM_SERVER_KEY },
		{ ROLE_FRONT, PEM_SERVER_OCSP },
		{ ROLE_AUTH, PEM_CLIENT_CA },
		{ ROLE_AUTH, PEM_CLIENT_CRL },
		{ ROLE_AUTH, PEM_OAUTH_KEY },
		{ ROLE_RELAY, PEM_SMARTHOST_CA },
		{ ROLE_RELAY, PEM_SMARTHOST_PASSWORD },
		{ ROLE_RELAY, PEM_CLIENT_CERT },
		{ ROLE_RELAY, PEM_CLIENT_KEY },
	};
	/* clang-format on */
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < sizeof(who) / sizeof(who[0]); i++)
		if (who[i].role == p->role)
			rc = give_pem(p, who[i].kind);
	if (p->role == ROLE_FRONT)
		rc |= parent_ticket_give(p);
	if (p->role == ROLE_RESOLVER)
		rc |= parent_dns_give(p);
	return rc;
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
static int
connect_procs(const struct proc *server, const struct proc *client)
{
	int fd[2];

	if (ipc_pair(fd) == -1) {
		log_warn("connect", "error=%s", strerror(errno));
		return -1;
	}
	give_peer(server, client, fd[0]);
	give_peer(client, server, fd[1]);
	close(fd[0]);
	close(fd[1]);
	return 0;
}

/* Without one of its peers it would be of no use for ever. */
static int
introduce(const struct proc *p)
{
	const struct proc *q;
	int rc = 0;

	TAILQ_FOREACH(q, &P.procs, link) {
		if (q == p || q->ipc == NULL)
			continue;
		if (are_peers(p, q))
			rc |= connect_procs(p, q);
		else if (are_peers(q, p))
			rc |= connect_procs(q, p);
	}
	return rc;
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

int
parent_give_setup(struct proc *p)
{
	parent_give_conf(p);
	parent_table_give(p);
	if (give_files(p) == -1)
		return -1;
	give_listeners(p);
	if (introduce(p) == -1)
		return -1;
	give_start(p);
	parent_give_news(p, false);
	return 0;
}
