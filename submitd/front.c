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
#include "front_int.h"
#include "log.h"
#include "mem.h"
#include "stream.h"
#include "tls.h"

enum {
	ACCEPT_BURST = 16,
	ACCEPT_PAUSE_MS = 200,   /* when no descriptor is left */
	LINGER_MS = 3000,        /* for a last reply to arrive */
	SEND_BUFFER = 64 * 1024, /* of the kernel, for a connection */
	OUTPUT_MAX = 16 * 1024,  /* unread replies: then no more commands */
	HELD_MS = 1000, /* between looks whether queue keeps up again */
	NO_SPACE_MS = 10 * 1000, /* queue's word is believed so long */
	LAST_ROUNDS = 64, /* of bursts, when the ports are given up */
};

struct front F;

struct conn *
front_find(uint64_t sid)
{
	struct conn *c;

	LIST_FOREACH(c, &F.table[sid & (FRONT_BUCKETS - 1)], link)
	if (c->sid == sid)
		return c;
	return NULL;
}

void
front_each(void (*fn)(struct conn *, const void *), const void *arg)
{
	struct conn *c, *next;
	int i;

	for (i = 0; i < FRONT_BUCKETS; i++) {
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
	/* of those that were sent away ev=limit tells, and not too often */
	log_event(c->evicted ? LOG_DEBUG : LOG_INFO, c->sid, 0, "session",
	    "addr=%s port=%u via=%s name=%s helo=%s tls=%s cipher=%s user=%s auth=%s "
	    "messages=%u errors=%u ms=%ld",
	    c->client.addr, c->client_port,
	    c->passed != NULL ? c->passed->via : NULL, c->client.name, f.helo,
	    f.tls ? t.version : "none", f.tls ? t.cipher : "none", f.user,
	    f.how, f.messages, f.errors, (long)(clock_ms() - c->began_ms));
}

void
front_conn_free(struct conn *c)
{
	log_session(c);
	front_limit_end(c);
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
	free(c->passed);
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

/* The client has begun: not before is its name worth a question. */
static bool
may_step(void *arg)
{
	struct conn *c = arg;

	if (!c->name_asked)
		front_ask_name(c);
	return front_limit_step(c);
}

static void
start_tls(struct conn *c)
{
	front_limit_handshake(c, true);
	stream_set_gate(c->io, may_step);
	stream_starttls(c->io, F.tls, NULL);
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
 * Takes up what the session asked for and lets the stream read only while the
 * session takes input.
 */
void
front_settle(struct conn *c)
{
	front_limit_progress(c);
	while (!c->closing && !c->want_tls && may_feed(c) &&
	    stream_input(c->io)->len > 0 && feed(c) > 0)
		front_limit_progress(c);
	/* Replies to commands that came together leave together (RFC 2920
	 * section 3.2): those before the one that is under way wait for it. */
	stream_cork(c->io, session_awaits_answer(c->smtp));
	if (c->closing) {
		if (stream_pending(c->io) == 0 && !c->lingering)
			front_conn_free(c);
		return;
	}
	if (c->want_tls) {
		c->want_tls = false;
		start_tls(c);
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
	front_settle(c);
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
	stream_last(c->io);
	stream_deadline(c->io, LINGER_MS);
	/* the client may take its time: its session counts no more */
	if (F.queue != NULL)
		ipc_send(F.queue, M_SESSION_CLOSE, c->sid, NULL);
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
op_now_ms(void *arg, int *tz_minutes)
{
	struct timespec ts;
	struct tm tm;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &ts);
	*tz_minutes =
	    localtime_r(&ts.tv_sec, &tm) != NULL ? (int)(tm.tm_gmtoff / 60) : 0;
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
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

	ipc_leave(); /* what others have said need not wait for the disk */
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

/* ---- queue ---- */

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
	.announce = front_announce,
	.to_auth = front_to_auth,
	.to_queue = op_to_queue,
	.body_write = op_body_write,
	.body_sync = op_body_sync,
	.body_close = op_body_close,
	.random = op_random,
	.now_ms = op_now_ms,
};

/* ---- streams ---- */

static void
tls_up(struct conn *c)
{
	struct session_tls t;
	struct stream_tls info;

	front_limit_handshake(c, false);
	stream_tls_info(c->io, &info);
	t.version = info.version;
	t.cipher = info.cipher;
	session_tls_up(c->smtp, &t);
	front_settle(c);
}

static void
broken(struct conn *c, enum stream_event e)
{
	if (e == STREAM_ERROR)
		log_event(LOG_INFO, c->sid, 0, "lost",
		    "addr=%s during=%s error=%s", c->client.addr,
		    stream_error_is_tls(c->io) ? "tls" : "session",
		    stream_error(c->io));
	front_conn_free(c);
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
			front_settle(c);
		break;
	case STREAM_TLS_UP:
		tls_up(c);
		break;
	case STREAM_DRAINED:
		if (c->closing)
			linger(c);
		else
			front_settle(c); /* it may have been stuck */
		break;
	case STREAM_TIMEOUT:
		if (c->closing) {
			front_conn_free(c);
			break;
		}
		if (session_wants_input(c->smtp) && held_back()) {
			stream_deadline(c->io, HELD_MS);
			break; /* it is we who do not listen */
		}
		session_timeout(c->smtp);
		front_settle(c);
		break;
	default:
		broken(c, e);
	}
}

/* ---- accepting ---- */

static struct conn *
new_conn(int fd, enum listen_kind kind, const struct ends *e)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->io = stream_new(F.setup->base, fd, on_stream, c);
	if (c->io == NULL) {
		close(fd);
		free(c);
		return NULL;
	}
	c->sid = (uint64_t)F.setup->instance << SID_COUNTER_BITS | ++F.counter;
	c->kind = kind;
	c->resolve = RESOLVE_TEMP;
	c->body_fd = -1;
	c->began_ms = clock_ms();
	snprintf(c->client.addr, sizeof(c->client.addr), "%s", e->client);
	c->client_port = e->client_port;
	if (e->via[0] != '\0') {
		c->passed = xmalloc(sizeof(*e));
		*c->passed = *e;
	}
	LIST_INSERT_HEAD(&F.table[c->sid & (FRONT_BUCKETS - 1)], c, link);
	F.conns++;
	return c;
}

void
front_client(int fd, enum listen_kind kind, const struct ends *e)
{
	bool implicit = kind == LISTEN_TLS;
	struct conn *c;
	uint64_t key;

	if (front_limit_admit(fd, kind, e->client, e->balancer, &key) == -1)
		return;
	if ((c = new_conn(fd, kind, e)) == NULL) {
		front_limit_forget(key);
		return;
	}
	c->key = key;
	front_limit_begin(c, e->balancer);
	c->smtp = session_new(&F.conf, &ops, c, &c->client, c->sid, implicit);
	log_event(LOG_DEBUG, c->sid, 0, "connect", "addr=%s port=%u via=%s",
	    e->client, e->client_port, e->via[0] != '\0' ? e->via : NULL);
	session_start(c->smtp);
	if (implicit)
		start_tls(c);
}

/* Without descriptors: true if somebody could be sent away for one. */
static bool
pause_accepting(void)
{
	struct timeval tv = { .tv_usec = ACCEPT_PAUSE_MS * 1000 };
	size_t i;

	if ((errno == EMFILE || errno == ENFILE) && front_limit_make_room())
		return true;

	log_warn("accept", "error=%s", strerror(errno));
	for (i = 0; i < F.setup->listens; i++)
		event_del(F.accepts[i]);
	event_add(F.accept_again, &tv);
	return false;
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
arrived(int fd, enum listen_kind kind, const struct sockaddr_storage *from)
{
	struct ends e = { .balancer = false };

	stream_addr_text(from, e.client, sizeof(e.client), &e.client_port);
	if (front_proxy_is_balancer(e.client))
		front_proxy_new(fd, kind, &e);
	else
		front_client(fd, kind, &e);
}

/* True if there may be more. */
static bool
accept_burst(int fd, size_t which)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int n, s;

	for (n = 0; n < ACCEPT_BURST; n++) {
		len = sizeof(ss);
		s = accept4(fd, (struct sockaddr *)&ss, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (s != -1)
			arrived(s, F.setup->listen[which].kind, &ss);
		else if (errno == EMFILE || errno == ENFILE ||
		    errno == ENOBUFS || errno == ENOMEM) {
			if (!pause_accepting())
				return false;
		} else
			return false; /* EAGAIN, or a client that left again */
	}
	return true;
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	accept_burst(fd, (size_t)(uintptr_t)arg);
}

/* ---- auth and queue speak ---- */

static void
on_queue(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = front_find(in->sid);

	(void)p;
	if ((in->type == M_DATA_READY &&
		in->m->data_ready.reply == R_NO_SPACE) ||
	    (in->type == M_SUBMITTED && in->m->submitted.reply == R_NO_SPACE))
		F.no_space_ms = clock_ms() + NO_SPACE_MS;
	if (c == NULL)
		return;
	session_from_queue(c->smtp, in->type, in->m);
	front_settle(c);
}

/* The file is there, but no descriptor for it was left here. */
static void
no_descriptor(struct conn *c, const struct m_txn *txn)
{
	const union msg m = { .submitted = {
				  .txn = txn->txn, .reply = R_TEMP } };

	log_event(
	    LOG_WARNING, c->sid, 0, "body", "error=%s", "no descriptor left");
	ipc_send(F.queue, M_DATA_ABORT, c->sid, txn);
	session_from_queue(c->smtp, M_SUBMITTED, &m);
	front_settle(c);
}

static void
on_body_fd(struct ipc *p, const struct ipc_in *in)
{
	struct conn *c = front_find(in->sid);

	if (c == NULL || c->file_txn != in->m->txn.txn || c->body_fd != -1) {
		if (in->fd != -1)
			close(in->fd);
		return;
	}
	c->file_txn = 0;
	c->body_fd = in->fd;
	if (in->fd != -1)
		on_queue(p, in);
	else
		no_descriptor(c, &in->m->txn);
}

static void
lost_queue(struct conn *c, const void *arg)
{
	(void)arg;
	session_queue_gone(c->smtp);
	front_settle(c);
}

static void
on_queue_gone(struct ipc *p, const char *why)
{
	if (p != F.queue)
		return; /* its successor came first */
	log_warn("peer", "role=queue error=%s", why);
	F.queue = NULL;
	front_each(lost_queue, NULL);
}

static void
on_queue_resumed(struct ipc *p)
{
	(void)p;
	front_each(settle_conn, NULL);
}

static const struct ipc_rule queue_rules[] = {
	{ M_DATA_READY, on_queue },
	{ M_SUBMITTED, on_queue },
	{ M_BODY_FD, on_body_fd },
	{ 0, NULL },
};

/* A peer there is one of: the new one replaces what may be left of the old. */
void
front_replace_peer(
    struct ipc **slot, int fd, const struct ipc_rule *rules, ipc_gone *gone)
{
	struct ipc *old = *slot;

	if (old != NULL) {
		gone(old, "replaced");
		ipc_free(&old);
	}
	*slot = ipc_new(F.setup->base, fd, rules, gone, NULL);
	ipc_collect(*slot, F.setup->base, IPC_AHEAD);
}

static void
front_peer(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	(void)s, (void)instance;
	if (role == ROLE_AUTH)
		front_auth_peer(fd);
	else if (role == ROLE_QUEUE) {
		front_replace_peer(&F.queue, fd, queue_rules, on_queue_gone);
		ipc_set_resumed(F.queue, on_queue_resumed);
	} else if (role == ROLE_RESOLVER)
		front_resolver_peer(fd);
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
	F.conf.reject_long_lines = c->long_lines == LONG_LINES_REJECT;
	F.conf.max_hold = c->max_hold;
	F.conf.deliver_by_min = c->deliver_by_min;
	F.conf.help_text = c->help_text;
	F.conf.see_url = c->help_url[0] != '\0'
	    ? xasprintf("See %s", c->help_url)
	    : xstrdup("");
	F.conf.help =
	    c->help_text[0] != '\0' ? F.conf.help_text : F.conf.see_url;
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

static void
take_tickets(const struct role_setup *s)
{
	const struct buf *keys = &s->pem[PEM_TICKET_KEYS];
	int64_t lifetime_ms = s->conf.ticket_lifetime;

	tls_set_tickets(F.tls, buf_head(keys), lifetime_ms > 0 ? keys->len : 0,
	    (lifetime_ms + 999) / 1000);
}

/* M_PEM: new keys for session tickets, new OCSP responses. */
static void
front_other(struct role_setup *s, const struct ipc_in *in)
{
	if (in->type == M_PEM && in->m->pem.kind == PEM_TICKET_KEYS)
		take_tickets(s);
	else if (in->type == M_PEM && in->m->pem.kind == PEM_SERVER_OCSP)
		tls_set_staples(F.tls, &s->pem[PEM_SERVER_OCSP]);
	else if (in->fd != -1)
		close(in->fd);
}

static int
front_preload(struct role_setup *s, char *err, size_t errlen)
{
	F.setup = s;
	limit_send_buffers(s);
	take_conf(&s->conf);
	F.tls = tls_server_new(&s->pem[PEM_SERVER_CERT],
	    &s->pem[PEM_SERVER_KEY], (enum tls_policy)s->conf.tls_policy, err,
	    errlen);
	if (F.tls == NULL)
		return -1;
	take_tickets(s);
	tls_set_staples(F.tls, &s->pem[PEM_SERVER_OCSP]);
	return front_limit_attach(s, err, errlen);
}

static int
front_start(struct role_setup *s, char *err, size_t errlen)
{
	size_t i;

	if (front_limit_start() == -1) {
		snprintf(err, errlen, "cannot make a timer");
		return -1;
	}
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
	front_settle(c);
}

static void
drop_conn(struct conn *c, const void *arg)
{
	(void)arg;
	front_conn_free(c);
}

static void
on_grace(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	log_info("drain", "dropped=%u", F.conns);
	front_each(drop_conn, NULL);
}

/* Who came before a port was given up is served still.  At a stop nobody new
 * is taken: the service manager may keep them for the next server. */
static void
accept_the_last(const struct role_setup *s)
{
	int rounds = s->stopping ? 0 : LAST_ROUNDS;
	size_t i;

	for (i = 0; i < s->listens; i++)
		while (rounds-- > 0 && accept_burst(s->listen[i].fd, i))
			continue;
}

static void
front_drain(struct role_setup *s)
{
	struct timeval tv = { .tv_sec = s->grace_ms / 1000,
		.tv_usec = (s->grace_ms % 1000) * 1000 };
	size_t i;

	accept_the_last(s);
	F.draining = true;
	front_limit_drain();
	front_proxy_drain();
	for (i = 0; i < s->listens; i++) {
		event_free(F.accepts[i]);
		close(s->listen[i].fd);
	}
	s->listens = 0;
	front_each(drain_conn, &s->stopping);
	if (F.conns == 0) {
		role_leave(s);
		return;
	}
	F.grace = event_new(s->base, -1, EV_TIMEOUT, on_grace, NULL);
	event_add(F.grace, &tv);
}

const struct role_ops front_ops = {
	.role = ROLE_FRONT,
	.warm = tls_warm,
	.preload = front_preload,
	.start = front_start,
	.peer = front_peer,
	.drain = front_drain,
	.other = front_other,
};
