/*
 * The front role: accepts clients, runs TLS and the sessions, and passes
 * questions to auth and queue.  It opens no file, sees neither the user store
 * nor the queue, and can approve nothing by itself.
 */
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "role.h"
#include "smtp_reply.h"
#include "smtp_session.h"
#include "stream.h"
#include "tls.h"

enum {
	WORKERS_MAX = 64,
	BUCKETS = 4096, /* of the table of sessions, a power of two */
	ACCEPT_BURST = 16,
	ACCEPT_PAUSE_MS = 200, /* when no descriptor is left */
	LINGER_MS = 3000,      /* for a last reply to arrive */
	CHAIN_BYTES = 64 * 1024,
	SEND_BUFFER = 64 * 1024, /* of the kernel, for a connection */
	OUTPUT_MAX = 16 * 1024,  /* unread replies: then no more commands */
	HELD_MS = 1000, /* between looks whether queue keeps up again */
	NO_SPACE_MS = 10 * 1000, /* queue's word is believed so long */
};

struct worker {
	struct ipc *ipc; /* NULL: the slot is free */
};

struct conn {
	LIST_ENTRY(conn) link;
	uint64_t sid;
	struct stream *io;
	struct session *smtp;
	struct session_client client;
	uint16_t client_port;
	enum listen_kind kind;
	struct worker *worker; /* where auth knows this session */
	enum resolve_status resolve;
	struct event *name_wait; /* the session waits for its name until then */
	int body_fd;
	uint32_t file_txn; /* the transaction a file was asked for */
	int64_t began_ms;
	bool want_tls, closing, lingering;
};

static struct front {
	struct role_setup *setup;
	struct session_conf conf;
	struct tls_ctx *tls;
	struct worker workers[WORKERS_MAX];
	struct ipc *queue, *resolver;
	LIST_HEAD(, conn) table[BUCKETS];
	struct event *accepts[ROLE_LISTEN_MAX];
	struct event *accept_again, *grace;
	unsigned conns;
	uint64_t counter;
	int64_t no_space_ms; /* queue said so; believed until then */
	bool draining;
} F;

static struct conn *
find(uint64_t sid)
{
	struct conn *c;

	LIST_FOREACH(c, &F.table[sid & (BUCKETS - 1)], link)
	if (c->sid == sid)
		return c;
	return NULL;
}

/* Calls fn for every connection; fn may free the one it gets. */
static void
each_conn(void (*fn)(struct conn *, const void *), const void *arg)
{
	struct conn *c, *next;
	int i;

	for (i = 0; i < BUCKETS; i++) {
		for (c = LIST_FIRST(&F.table[i]); c != NULL; c = next) {
			next = LIST_NEXT(c, link);
			fn(c, arg);
		}
	}
}

/* ---- the end of a connection ---- */

static void
log_session(const struct conn *c)
{
	struct session_facts f;
	struct stream_tls t;

	session_get_facts(c->smtp, &f);
	stream_tls_info(c->io, &t);
	log_event(LOG_INFO, c->sid, 0, "session",
	    "addr=%s port=%u name=%s helo=%s tls=%s cipher=%s user=%s auth=%s "
	    "messages=%u errors=%u ms=%ld",
	    c->client.addr, c->client_port,
	    c->client.name, f.helo,
	    f.tls ? t.version : "none", f.tls ? t.cipher : "none", f.user,
	    f.how, f.messages, f.errors, (long)(clock_ms() - c->began_ms));
}

static void
conn_free(struct conn *c)
{
	log_session(c);
	session_free(&c->smtp); /* may still tell queue of an abort */
	if (c->worker != NULL && c->worker->ipc != NULL)
		ipc_send(c->worker->ipc, M_SESSION_CLOSE, c->sid, NULL);
	if (F.queue != NULL)
		ipc_send(F.queue, M_SESSION_CLOSE, c->sid, NULL);
	if (c->body_fd != -1)
		close(c->body_fd);
	if (c->name_wait != NULL)
		event_free(c->name_wait);
	stream_free(&c->io);
	LIST_REMOVE(c, link);
	free(c->client.name);
	free(c);
	F.conns--;
	if (F.draining && F.conns == 0)
		role_leave(F.setup);
}

/* The last reply is out: wait a little for the client to hang up, so that a
 * reset does not overtake it. */
static void
linger(struct conn *c)
{
	if (c->lingering)
		return;
	c->lingering = true;
	stream_finish(c->io);
	stream_deadline(c->io, LINGER_MS);
	stream_resume(c->io); /* for the end of the stream */
}

/* ---- input ---- */

static bool
held_back(void)
{
	return F.queue != NULL && ipc_congested(F.queue);
}

static size_t
feed(struct conn *c)
{
	struct buf *in = stream_input(c->io);
	size_t n = session_input(c->smtp, buf_head(in), in->len);

	buf_drop(in, n);
	return n;
}

static bool
is_stuck(const struct conn *c)
{
	return stream_pending(c->io) > OUTPUT_MAX;
}

static bool
may_feed(const struct conn *c)
{
	return session_wants_input(c->smtp) && !held_back() && !is_stuck(c);
}

/*
 * After everything that may have moved a session: takes up what it asked for
 * and lets the stream read only while the session takes input.  The connection
 * may be gone afterwards.
 */
static void
settle(struct conn *c)
{
	while (!c->closing && !c->want_tls && may_feed(c) &&
	    stream_input(c->io)->len > 0 && feed(c) > 0)
		continue;
	/* Replies to commands that came together leave together (RFC 2920
	 * section 3.2): those before the one that is under way wait for it. */
	stream_cork(c->io, session_awaits_answer(c->smtp));
	if (c->closing) {
		if (stream_pending(c->io) == 0 && !c->lingering)
			conn_free(c);
		return;
	}
	if (c->want_tls) {
		c->want_tls = false;
		stream_starttls(c->io, F.tls, NULL);
		stream_resume(c->io);
	} else if (may_feed(c))
		stream_resume(c->io);
	else
		stream_pause(c->io);
}

static void
settle_conn(struct conn *c, const void *arg)
{
	(void)arg;
	settle(c);
}

/* ---- what a session asks for ---- */

static void
op_send(void *arg, const void *p, size_t n)
{
	struct conn *c = arg;

	stream_write(c->io, p, n);
}

static void
op_starttls(void *arg)
{
	struct conn *c = arg;

	c->want_tls = true;
}

static void
op_hangup(void *arg)
{
	struct conn *c = arg;

	c->closing = true;
	stream_deadline(c->io, LINGER_MS);
}

static void
op_deadline(void *arg, int64_t ms)
{
	struct conn *c = arg;

	stream_deadline(c->io, ms);
}

static int64_t
op_clock(void *arg)
{
	(void)arg;
	return clock_ms();
}

static bool
op_stuck(void *arg)
{
	return is_stuck(arg);
}

static bool
op_no_space(void *arg)
{
	(void)arg;
	return F.no_space_ms != 0 && clock_ms() < F.no_space_ms;
}

static void
op_random(void *arg, void *out, size_t n)
{
	(void)arg;
	if (getrandom(out, n, 0) != (ssize_t)n)
		log_fatal(1, "error=%s", "no random numbers");
}

static int64_t
op_now(void *arg, int *tz_minutes)
{
	time_t t = time(NULL);
	struct tm tm;

	(void)arg;
	*tz_minutes =
	    localtime_r(&t, &tm) != NULL ? (int)(tm.tm_gmtoff / 60) : 0;
	return t;
}

static int
op_body_write(void *arg, const void *p, size_t n)
{
	struct conn *c = arg;
	const char *from = p;
	ssize_t done;

	while (n > 0) {
		if ((done = write(c->body_fd, from, n)) == -1) {
			if (errno == EINTR)
				continue;
			log_event(LOG_WARNING, c->sid, 0, "body", "error=%s",
			    strerror(errno));
			return -1;
		}
		from += done;
		n -= (size_t)done;
	}
	return 0;
}

static int
op_body_sync(void *arg)
{
	struct conn *c = arg;

	if (fdatasync(c->body_fd) == 0)
		return 0;
	log_event(LOG_WARNING, c->sid, 0, "body", "error=%s", strerror(errno));
	return -1;
}

static void
op_body_close(void *arg)
{
	struct conn *c = arg;

	if (c->body_fd != -1)
		close(c->body_fd);
	c->body_fd = -1;
}

/* ---- auth ---- */

static struct worker *
pick_worker(uint64_t hash)
{
	struct worker *live[WORKERS_MAX];
	size_t n = 0, i;

	for (i = 0; i < WORKERS_MAX; i++)
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

static bool
op_announce(void *arg)
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

/* Asks for the client's name at once, so that it is there after TLS. */
static void
ask_name(struct conn *c)
{
	const struct m_resolve m = {
		.id = c->sid, .kind = RESOLVE_CLIENT, .name = c->client.addr
	};

	c->resolve = RESOLVE_TEMP;
	if (F.setup->conf.name_timeout > 0 && F.resolver != NULL &&
	    ipc_send(F.resolver, M_RESOLVE, c->sid, &m) == 0)
		c->resolve = RESOLVE_PENDING;
}

static void
on_resolved(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = find(in->m->resolved.id);

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

static bool
op_to_auth(void *arg, enum msg_type type, const void *m)
{
	struct conn *c = arg;

	if (c->worker == NULL || c->worker->ipc == NULL)
		return false;
	if (type == M_AUTH_START)
		move_to_user(c, m);
	return ipc_send(c->worker->ipc, type, c->sid, m) == 0;
}

static bool
op_to_queue(void *arg, enum msg_type type, const void *m)
{
	struct conn *c = arg;

	if (F.queue == NULL)
		return false;
	if (type == M_BODY_FILE)
		c->file_txn = ((const struct m_txn *)m)->txn;
	return ipc_send(F.queue, type, c->sid, m) == 0;
}

static const struct session_ops ops = {
	.send = op_send,
	.starttls = op_starttls,
	.hangup = op_hangup,
	.deadline = op_deadline,
	.clock = op_clock,
	.stuck = op_stuck,
	.no_space = op_no_space,
	.announce = op_announce,
	.to_auth = op_to_auth,
	.to_queue = op_to_queue,
	.body_write = op_body_write,
	.body_sync = op_body_sync,
	.body_close = op_body_close,
	.random = op_random,
	.now = op_now,
};

/* ---- streams ---- */

static void
tls_up(struct conn *c)
{
	struct session_tls t;
	struct stream_tls info;

	stream_tls_info(c->io, &info);
	t.version = info.version;
	t.cipher = info.cipher;
	session_tls_up(c->smtp, &t);
	settle(c);
}

static void
broken(struct conn *c, enum stream_event e)
{
	if (e == STREAM_ERROR)
		log_event(LOG_INFO, c->sid, 0, "lost",
		    "addr=%s during=%s error=%s", c->client.addr,
		    stream_error_is_tls(c->io) ? "tls" : "session",
		    stream_error(c->io));
	conn_free(c);
}

static void
on_stream(struct stream *io, enum stream_event e, void *arg)
{
	struct conn *c = arg;

	(void)io;
	switch (e) {
	case STREAM_INPUT:
		if (c->closing) /* nobody listens any more */
			buf_drop(stream_input(c->io), stream_input(c->io)->len);
		else
			settle(c);
		break;
	case STREAM_TLS_UP:
		tls_up(c);
		break;
	case STREAM_DRAINED:
		if (c->closing)
			linger(c);
		else
			settle(c); /* it may have been stuck */
		break;
	case STREAM_TIMEOUT:
		if (c->closing) {
			conn_free(c);
			break;
		}
		if (session_wants_input(c->smtp) && held_back()) {
			stream_deadline(c->io, HELD_MS);
			break; /* it is we who do not listen */
		}
		session_timeout(c->smtp);
		settle(c);
		break;
	default:
		broken(c, e);
	}
}

/* ---- accepting ---- */

static void
too_many(int fd)
{
	char out[SMTP_REPLY_MAX];
	size_t n;

	n = smtp_reply_format(out, sizeof(out), R_GREET_BUSY, NULL, NULL);
	if (send(fd, out, n, MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		errno = 0; /* a courtesy only */
	close(fd);
}

static void
new_conn(int fd, enum listen_kind kind)
{
	struct conn *c = xcalloc(1, sizeof(*c));
	bool implicit = kind == LISTEN_TLS;

	c->io = stream_new(F.setup->base, fd, on_stream, c);
	if (c->io == NULL) {
		close(fd);
		free(c);
		return;
	}
	c->sid = (uint64_t)F.setup->instance << SID_COUNTER_BITS | ++F.counter;
	c->kind = kind;
	c->body_fd = -1;
	c->began_ms = clock_ms();
	stream_peer(
	    c->io, c->client.addr, sizeof(c->client.addr), &c->client_port);
	LIST_INSERT_HEAD(&F.table[c->sid & (BUCKETS - 1)], c, link);
	F.conns++;
	c->smtp = session_new(&F.conf, &ops, c, &c->client, c->sid, implicit);
	log_event(LOG_DEBUG, c->sid, 0, "connect", "addr=%s port=%u",
	    c->client.addr, c->client_port);
	ask_name(c);
	session_start(c->smtp);
	if (implicit)
		stream_starttls(c->io, F.tls, NULL);
}

static void
pause_accepting(void)
{
	struct timeval tv = { .tv_usec = ACCEPT_PAUSE_MS * 1000 };
	size_t i;

	log_warn("accept", "error=%s", strerror(errno));
	for (i = 0; i < F.setup->listens; i++)
		event_del(F.accepts[i]);
	event_add(F.accept_again, &tv);
}

static void
on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	size_t i;

	(void)fd, (void)what, (void)arg;
	for (i = 0; i < F.setup->listens && !F.draining; i++)
		event_add(F.accepts[i], NULL);
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	size_t which = (size_t)(uintptr_t)arg;
	int n, s;

	(void)what;
	for (n = 0; n < ACCEPT_BURST; n++) {
		s = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (s == -1) {
			if (errno == EMFILE || errno == ENFILE ||
			    errno == ENOBUFS || errno == ENOMEM)
				pause_accepting();
			return; /* EAGAIN, or a client that left again */
		}
		if (F.conns >= (unsigned)F.setup->conf.max_connections)
			too_many(s);
		else
			new_conn(s, F.setup->listen[which].kind);
	}
}

/* ---- auth and queue speak ---- */

static void
on_auth(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = find(in->sid);

	if (c == NULL || c->worker == NULL || c->worker->ipc != p)
		return; /* gone, or moved to another worker meanwhile */
	session_from_auth(c->smtp, in->type, in->m);
	settle(c);
}

static void
on_queue(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = find(in->sid);

	(void)p;
	if ((in->type == M_DATA_READY &&
		in->m->data_ready.reply == R_NO_SPACE) ||
	    (in->type == M_SUBMITTED && in->m->submitted.reply == R_NO_SPACE))
		F.no_space_ms = clock_ms() + NO_SPACE_MS;
	if (c == NULL)
		return;
	session_from_queue(c->smtp, in->type, in->m);
	settle(c);
}

static void
on_body_fd(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = find(in->sid);

	if (c == NULL || c->file_txn != in->m->txn.txn || c->body_fd != -1 ||
	    in->fd == -1) {
		if (in->fd != -1)
			close(in->fd);
		return;
	}
	c->file_txn = 0;
	c->body_fd = in->fd;
	on_queue(p, in);
}

static void
lost_worker(struct conn *c, const void *w)
{
	if (c->worker != w)
		return;
	c->worker = NULL;
	session_auth_gone(c->smtp);
	settle(c);
}

static void
on_auth_gone(struct ipc *p, const char *why)
{
	struct worker *w = ipc_arg(p);

	log_warn("peer", "role=auth error=%s", why);
	w->ipc = NULL;
	each_conn(lost_worker, w);
}

static void
lost_queue(struct conn *c, const void *arg)
{
	(void)arg;
	session_queue_gone(c->smtp);
	settle(c);
}

static void
on_queue_gone(struct ipc *p, const char *why)
{
	if (p != F.queue)
		return; /* its successor came first */
	log_warn("peer", "role=queue error=%s", why);
	F.queue = NULL;
	each_conn(lost_queue, NULL);
}

static void
on_queue_resumed(struct ipc *p)
{
	(void)p;
	each_conn(settle_conn, NULL);
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
	each_conn(no_more_names, NULL);
}

static const struct ipc_rule auth_rules[] = {
	{ M_SESSION_FACTS, on_auth },
	{ M_AUTH_CHALLENGE, on_auth },
	{ M_AUTH_RESULT, on_auth },
	{ M_VERDICT, on_auth },
	{ M_SESSION_KILL, on_auth },
	{ 0, NULL },
};

static const struct ipc_rule queue_rules[] = {
	{ M_DATA_READY, on_queue },
	{ M_SUBMITTED, on_queue },
	{ M_BODY_FD, on_body_fd },
	{ 0, NULL },
};

static const struct ipc_rule resolver_rules[] = {
	{ M_RESOLVED, on_resolved },
	{ 0, NULL },
};

static void
add_worker(int fd)
{
	size_t i;

	for (i = 0; i < WORKERS_MAX; i++) {
		if (F.workers[i].ipc != NULL)
			continue;
		F.workers[i].ipc = ipc_new(
		    F.setup->base, fd, auth_rules, on_auth_gone, &F.workers[i]);
		return;
	}
	close(fd);
}

/* A peer there is one of: the new one replaces what may be left of the old. */
static void
replace_peer(
    struct ipc **slot, int fd, const struct ipc_rule *rules, ipc_gone *gone)
{
	struct ipc *old = *slot;

	if (old != NULL) {
		gone(old, "replaced");
		ipc_free(&old);
	}
	*slot = ipc_new(F.setup->base, fd, rules, gone, NULL);
}

static void
front_peer(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	(void)s, (void)instance;
	if (role == ROLE_AUTH)
		add_worker(fd);
	else if (role == ROLE_QUEUE) {
		replace_peer(&F.queue, fd, queue_rules, on_queue_gone);
		ipc_set_resumed(F.queue, on_queue_resumed);
	} else if (role == ROLE_RESOLVER)
		replace_peer(&F.resolver, fd, resolver_rules, on_resolver_gone);
	else
		close(fd);
}

/* ---- the role ---- */

static void
take_conf(const struct conf *c)
{
	F.conf.hostname = c->hostname;
	F.conf.max_message_size = (uint64_t)c->max_message_size;
	F.conf.max_recipients = (uint32_t)c->max_recipients;
	F.conf.max_errors = (uint32_t)c->max_errors;
	F.conf.handshake_timeout = c->handshake_timeout;
	F.conf.command_timeout = c->command_timeout;
	F.conf.data_timeout = c->data_timeout;
	F.conf.login_timeout = c->login_timeout;
	F.conf.min_data_rate = c->min_data_rate;
	F.conf.error_delay = c->error_delay;
	F.conf.session_time = c->session_time;
	F.conf.session_messages = (uint32_t)c->session_messages;
	F.conf.trace_client = c->trace_client;
	F.conf.digests =
	    c->duplicate_window > 0 || c->duplicate_without_id > 0;
	F.conf.normalize_newlines = c->bare_newline == BARE_NEWLINE_NORMALIZE;
}

/* Accepted sockets inherit it.  The system's default would let a client that
 * reads nothing have megabytes of replies kept. */
static void
limit_send_buffers(const struct role_setup *s)
{
	static const int bytes = SEND_BUFFER;
	size_t i;

	for (i = 0; i < s->listens; i++)
		if (setsockopt(s->listen[i].fd, SOL_SOCKET, SO_SNDBUF, &bytes,
			sizeof(bytes)) == -1)
			log_warn("accept", "error=%s", strerror(errno));
}

static int
front_preload(struct role_setup *s, char *err, size_t errlen)
{
	F.setup = s;
	limit_send_buffers(s);
	tzset(); /* the zone's file is out of reach later */
	take_conf(&s->conf);
	F.tls = tls_server_new(
	    &s->pem[PEM_SERVER_CERT], &s->pem[PEM_SERVER_KEY], err, errlen);
	return F.tls != NULL ? 0 : -1;
}

static int
front_start(struct role_setup *s, char *err, size_t errlen)
{
	size_t i;

	for (i = 0; i < s->listens; i++) {
		F.accepts[i] = event_new(s->base, s->listen[i].fd,
		    EV_READ | EV_PERSIST, on_accept, (void *)(uintptr_t)i);
		if (F.accepts[i] == NULL ||
		    event_add(F.accepts[i], NULL) == -1) {
			snprintf(err, errlen, "cannot watch a socket");
			return -1;
		}
	}
	F.accept_again =
	    event_new(s->base, -1, EV_TIMEOUT, on_accept_again, NULL);
	return 0;
}

static void
drain_conn(struct conn *c, const void *now)
{
	session_drain(c->smtp, *(const bool *)now);
	settle(c);
}

static void
drop_conn(struct conn *c, const void *arg)
{
	(void)arg;
	conn_free(c);
}

static void
on_grace(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	log_info("drain", "dropped=%u", F.conns);
	each_conn(drop_conn, NULL);
}

static void
front_drain(struct role_setup *s)
{
	struct timeval tv = { .tv_sec = s->grace_ms / 1000,
		.tv_usec = (s->grace_ms % 1000) * 1000 };
	size_t i;

	F.draining = true;
	for (i = 0; i < s->listens; i++) {
		event_free(F.accepts[i]);
		close(s->listen[i].fd);
	}
	s->listens = 0;
	each_conn(drain_conn, &s->stopping);
	if (F.conns == 0) {
		role_leave(s);
		return;
	}
	F.grace = event_new(s->base, -1, EV_TIMEOUT, on_grace, NULL);
	event_add(F.grace, &tv);
}

const struct role_ops front_ops = {
	.role = ROLE_FRONT,
	.box = { .chroot = true, .no_new_process = true },
	.preload = front_preload,
	.start = front_start,
	.peer = front_peer,
	.drain = front_drain,
};
