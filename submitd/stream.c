/* Buffered non-blocking sockets with TLS: see stream.h. */
#include "stream.h"

#include <sys/socket.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls.h"

enum {
	READ_PIECE = 16 * 1024,
	ROUNDS = 4,            /* of filled input before others get a turn */
	INPUT_MAX = 128 * 1024 /* held unread before TCP holds the peer back */
};

enum phase { CONNECTING, OPEN, HANDSHAKE, FINISHED };

struct stream {
	int fd;
	stream_cb *cb;
	void *arg;
	struct event_base *base;
	struct event *ev_read, *ev_write, *ev_time, *ev_kick;

	enum phase phase;
	SSL *ssl;
	struct tls_ctx *tls_next; /* to start when the output has left */
	char *tls_name;
	bool paused, corked;
	bool client;       /* of TLS */
	bool want_drained; /* something was written since the last report */
	bool ssl_wants_write;
	bool (*gate)(void *arg);
	bool gate_open; /* for one step */
	bool held;      /* a step waits at the gate */

	struct buf in, out;
	size_t in_high; /* bytes of in that were ever used */
	size_t in_max;
	char *error; /* a str */
	bool error_is_tls;

	int depth; /* inside callbacks: freeing waits */
	bool dead;
};

/* An input buffer that no stream holds: most hold one for a moment only. */
static struct buf spare;

static void on_io(evutil_socket_t, short, void *);
static void on_time(evutil_socket_t, short, void *);

/* Passwords pass through it: what was in use is wiped. */
static void
give_back_input(struct stream *s)
{
	if (s->in.data == NULL)
		return;
	explicit_bzero(s->in.data, s->in_high);
	if (spare.data == NULL && s->in.size == READ_PIECE)
		spare = s->in;
	else
		free(s->in.data);
	spare.len = spare.off = 0;
	s->in = (struct buf){ 0 };
	s->in_high = 0;
}

static void *
input_room(struct stream *s)
{
	if (s->in.data == NULL) {
		s->in = spare;
		spare = (struct buf){ 0 };
	}
	return buf_room(&s->in, READ_PIECE);
}

static void
input_grew(struct stream *s, size_t n)
{
	size_t end;

	buf_grew(&s->in, n);
	end = s->in.off + s->in.len;
	if (end > s->in_high)
		s->in_high = end;
}

static void
destroy(struct stream *s)
{
	event_free(s->ev_read);
	event_free(s->ev_write);
	event_free(s->ev_time);
	event_free(s->ev_kick);
	SSL_free(s->ssl);
	free(s->tls_name);
	free(s->error);
	give_back_input(s);
	buf_wipe(&s->out);
	close(s->fd);
	free(s);
}

void
stream_free(struct stream **sp)
{
	struct stream *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	if (s->depth > 0)
		s->dead = true;
	else
		destroy(s);
}

/* Tells the owner; false when the stream is gone afterwards. */
static bool
tell(struct stream *s, enum stream_event e)
{
	s->cb(s, e, s->arg);
	return !s->dead;
}

static void
watch(struct event *ev, bool on)
{
	if (on)
		event_add(ev, NULL);
	else
		event_del(ev);
}

static bool
wants_input(const struct stream *s)
{
	return !s->paused && s->in.len < s->in_max && s->phase == OPEN &&
	    s->tls_next == NULL;
}

static bool
wants_output(const struct stream *s)
{
	return s->out.len > 0 && !s->corked;
}

/*
 * Each change costs a system call.  A stream that is paused is mostly resumed
 * before anything comes: so it is still watched until there is input that it
 * does not take (ignored: there was some just now).
 */
static void
rearm(struct stream *s, bool ignored)
{
	switch (s->phase) {
	case FINISHED:
		watch(s->ev_read, false);
		watch(s->ev_write, false);
		break;
	case CONNECTING:
		watch(s->ev_write, true);
		break;
	case HANDSHAKE:
		watch(s->ev_read, !s->held && !s->ssl_wants_write);
		watch(s->ev_write, !s->held && s->ssl_wants_write);
		break;
	case OPEN:
		if (wants_input(s))
			watch(s->ev_read, true);
		else if (ignored)
			watch(s->ev_read, false);
		watch(s->ev_write, wants_output(s));
		break;
	}
}

static struct stream *
make(struct event_base *base, int fd, stream_cb *cb, void *arg)
{
	struct stream *s = xcalloc(1, sizeof(*s));
	int on = 1;

	s->fd = fd;
	s->cb = cb;
	s->arg = arg;
	s->base = base;
	s->phase = OPEN;
	s->in_max = INPUT_MAX;
	s->ev_read = event_new(base, fd, EV_READ | EV_PERSIST, on_io, s);
	s->ev_write = event_new(base, fd, EV_WRITE | EV_PERSIST, on_io, s);
	s->ev_time = event_new(base, -1, EV_TIMEOUT, on_time, s);
	s->ev_kick = event_new(base, -1, 0, on_io, s);
	/* Whole replies are written at once: waiting only costs 40 ms. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1)
		on = 0; /* not TCP (tests use socket pairs) */
	return s;
}

struct stream *
stream_new(struct event_base *base, int fd, stream_cb *cb, void *arg)
{
	struct stream *s;
	int flags = fcntl(fd, F_GETFL);

	if (flags != -1 && (flags & O_NONBLOCK) == 0 &&
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return NULL;
	s = make(base, fd, cb, arg);
	rearm(s, false);
	return s;
}

static int
to_sockaddr(const char *addr, uint16_t port, struct sockaddr_storage *ss,
    socklen_t *len)
{
	struct sockaddr_in *v4 = (void *)ss;
	struct sockaddr_in6 *v6 = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, addr, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, addr, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*len = sizeof(*v6);
		return 0;
	}
	errno = EINVAL;
	return -1;
}

struct stream *
stream_connect(struct event_base *base, const char *addr, uint16_t port,
    stream_cb *cb, void *arg)
{
	struct sockaddr_storage ss;
	struct stream *s;
	socklen_t len;
	int fd, saved;

	if (to_sockaddr(addr, port, &ss, &len) == -1)
		return NULL;
	fd =
	    socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return NULL;
	if (connect(fd, (struct sockaddr *)&ss, len) == -1 &&
	    errno != EINPROGRESS) {
		saved = errno;
		close(fd);
		errno = saved;
		return NULL;
	}
	s = make(base, fd, cb, arg);
	s->phase = CONNECTING;
	rearm(s, false);
	return s;
}

static void
set_error(struct stream *s, const char *text, bool is_tls)
{
	str_set(&s->error, text);
	s->error_is_tls = is_tls;
}

/* The reason the certificate was refused says more than the error queue,
 * which holds only "certificate verify failed" then. */
static void
set_tls_error(struct stream *s)
{
	long verify = SSL_get_verify_result(s->ssl);
	unsigned long e = ERR_peek_error();
	const char *text = NULL;

	if (verify != X509_V_OK && s->client)
		text = X509_verify_cert_error_string(verify);
	else if (e != 0)
		text = ERR_reason_error_string(e);
	set_error(
	    s, text != NULL ? text : "the peer ended the handshake", true);
	ERR_clear_error();
}

static void
report_error(struct stream *s)
{
	s->phase = FINISHED;
	tell(s, STREAM_ERROR);
}

/* ---- moving bytes ---- */

/* What a TLS or system call said: bytes moved (> 0), 0 to wait, -1 at the
 * end of the stream, -2 on an error (recorded). */
static int
ssl_outcome(struct stream *s, int n)
{
	switch (SSL_get_error(s->ssl, n)) {
	case SSL_ERROR_NONE:
		return n;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return -1;
	case SSL_ERROR_SYSCALL:
		if (errno == 0 || errno == ECONNRESET || errno == EPIPE)
			return -1;
		set_error(s, strerror(errno), false);
		return -2;
	default:
		/* An end without close_notify: nothing is lost by it, since
		 * the end of a message is in the message. */
		if (ERR_GET_REASON(ERR_peek_error()) ==
		    SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return -1;
		set_tls_error(s);
		return -2;
	}
}

static int
plain_outcome(struct stream *s, ssize_t n)
{
	if (n > 0)
		return (int)n;
	if (n == 0 || errno == ECONNRESET || errno == EPIPE)
		return -1;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	set_error(s, strerror(errno), false);
	return -2;
}

static int
read_piece(struct stream *s)
{
	void *room = input_room(s);
	int n;

	if (s->ssl != NULL) {
		ERR_clear_error();
		errno = 0;
		n = ssl_outcome(s, SSL_read(s->ssl, room, READ_PIECE));
	} else
		n = plain_outcome(s, recv(s->fd, room, READ_PIECE, 0));
	if (n > 0)
		input_grew(s, (size_t)n);
	return n;
}

/* TLS holds bytes that no event announces. */
static bool
tls_has_more(const struct stream *s)
{
	return s->ssl != NULL && SSL_has_pending(s->ssl) == 1;
}

/*
 * After a piece of n bytes: whether to look for another at once.  A short one
 * was the last: to find that out again would cost a system call, and if it was
 * not, an event says so.
 */
static bool
more_to_read(const struct stream *s, int n)
{
	return n >= READ_PIECE / 2 || (n > 0 && tls_has_more(s));
}

static int
write_piece(struct stream *s)
{
	int len = s->out.len > INT32_MAX ? INT32_MAX : (int)s->out.len;
	int n;

	if (s->ssl != NULL) {
		ERR_clear_error();
		errno = 0;
		n = ssl_outcome(s, SSL_write(s->ssl, buf_head(&s->out), len));
	} else
		n = plain_outcome(s,
		    send(s->fd, buf_head(&s->out), (size_t)len, MSG_NOSIGNAL));
	if (n > 0)
		buf_drop(&s->out, (size_t)n);
	return n;
}

static bool
tell_input(struct stream *s)
{
	bool alive = tell(s, STREAM_INPUT);

	if (alive && s->in.len == 0)
		give_back_input(s); /* an idle session holds no buffer */
	return alive;
}

/*
 * Reads what there is.  Under TLS all that is decrypted already must be taken,
 * since no event announces it; a fast sender gives way to other sessions
 * after some rounds and is taken up again from the loop.
 */
static void
pump_input(struct stream *s)
{
	bool more = true;
	size_t before;
	int n = 1, rounds = 0;

	while (more && wants_input(s)) {
		if (rounds++ == ROUNDS) {
			event_active(s->ev_kick, 0, 0);
			return;
		}
		before = s->in.len;
		while (more && wants_input(s)) {
			n = read_piece(s);
			more = more_to_read(s, n);
		}
		if (s->in.len > before && !tell_input(s))
			return;
	}
	if (s->in.len == 0)
		give_back_input(s);
	if (n == -2)
		report_error(s);
	else if (n == -1 && s->phase != FINISHED) {
		s->phase = FINISHED;
		tell(s, STREAM_EOF);
	}
}

static void
begin_handshake(struct stream *s)
{
	assert(s->in.len == 0);
	s->ssl = tls_new(s->tls_next, s->tls_name);
	if (s->ssl == NULL || SSL_set_fd(s->ssl, s->fd) != 1) {
		set_error(s, "TLS cannot be started (bad host name?)", true);
		report_error(s);
		return;
	}
	s->phase = HANDSHAKE;
	s->ssl_wants_write = s->client = tls_is_client(s->tls_next);
}

/* True when the output buffer is empty and the stream lives. */
static bool
pump_output(struct stream *s)
{
	int n = 1;

	while (n > 0 && s->out.len > 0)
		n = write_piece(s);
	if (n == -2) {
		report_error(s);
		return false;
	}
	if (n == -1) { /* the reading side tells what ended it */
		buf_wipe(&s->out);
		return false;
	}
	if (s->out.len > 0)
		return false;
	buf_clear(&s->out);
	return true;
}

static void
handshake(struct stream *s)
{
	int n;

	s->held = s->gate != NULL && !s->gate_open && !s->gate(s->arg);
	s->gate_open = false;
	if (s->held)
		return;
	ERR_clear_error();
	errno = 0;
	if ((n = SSL_do_handshake(s->ssl)) == 1) {
		s->phase = OPEN;
		s->tls_next = NULL;
		tls_shook_hands(s->ssl);
		if (tell(s, STREAM_TLS_UP) && tls_has_more(s))
			pump_input(s); /* it came with the handshake */
		return;
	}
	s->ssl_wants_write = SSL_get_error(s->ssl, n) == SSL_ERROR_WANT_WRITE;
	n = ssl_outcome(s, n);
	if (n == 0)
		return;
	if (n == -1)
		set_error(s,
		    "the peer closed the connection during the "
		    "handshake",
		    true);
	s->error_is_tls = true;
	report_error(s);
}

static void
connected(struct stream *s)
{
	int e = 0;
	socklen_t len = sizeof(e);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &len) == -1)
		e = errno;
	if (e != 0) {
		set_error(s, strerror(e), false);
		report_error(s);
		return;
	}
	s->phase = OPEN;
	tell(s, STREAM_CONNECTED);
}

static void
write_side(struct stream *s)
{
	if (s->out.len == 0 || !pump_output(s))
		return;
	if (s->tls_next != NULL)
		begin_handshake(s);
	else if (s->want_drained) {
		s->want_drained = false;
		tell(s, STREAM_DRAINED);
	}
}

static void
step(struct stream *s, short what)
{
	if (s->phase == CONNECTING) {
		connected(s);
		return;
	}
	if (s->phase == OPEN && s->ssl == NULL && s->tls_next != NULL &&
	    s->out.len == 0)
		begin_handshake(s);
	if (s->phase == HANDSHAKE) {
		handshake(s);
		return;
	}
	if (wants_output(s))
		write_side(s);
	if (s->dead || s->phase != OPEN)
		return;
	if (what == 0 && s->in.len > 0 && !s->paused && !tell_input(s))
		return;
	if (wants_input(s) && ((what & EV_READ) != 0 || tls_has_more(s)))
		pump_input(s);
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;
	bool ignored = (what & EV_READ) != 0 && !wants_input(s);

	(void)fd;
	s->depth++;
	step(s, what & (EV_READ | EV_WRITE));
	if (!s->dead && wants_output(s) && s->phase == OPEN)
		write_side(s); /* what the owner wrote in its callback */
	if (!s->dead && s->phase == HANDSHAKE && s->ssl_wants_write)
		handshake(s);
	s->depth--;
	if (s->dead)
		destroy(s);
	else
		rearm(s, ignored);
}

static void
on_time(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd, (void)what;
	s->depth++;
	tell(s, STREAM_TIMEOUT);
	s->depth--;
	if (s->dead)
		destroy(s);
	else
		rearm(s, false);
}

/* Calls made outside a callback take effect from the loop. */
static void
kick(struct stream *s)
{
	if (s->depth == 0)
		event_active(s->ev_kick, 0, 0);
}

/* ---- what the owner calls ---- */

void
stream_starttls(struct stream *s, struct tls_ctx *t, const char *name)
{
	assert(s->in.len == 0 && s->ssl == NULL && s->tls_next == NULL);
	s->corked = false;
	s->tls_next = t;
	s->tls_name = name != NULL ? xstrdup(name) : NULL;
	event_active(s->ev_kick, 0, 0);
}

bool
stream_is_tls(const struct stream *s)
{
	return s->ssl != NULL && s->phase != HANDSHAKE;
}

void
stream_set_gate(struct stream *s, bool (*may)(void *arg))
{
	s->gate = may;
}

void
stream_proceed(struct stream *s)
{
	s->gate_open = true;
	event_active(s->ev_kick, 0, 0);
}

void
stream_limit_input(struct stream *s, size_t bytes)
{
	s->in_max = bytes;
	if (s->depth == 0)
		rearm(s, false);
}

struct buf *
stream_input(struct stream *s)
{
	return &s->in;
}

void
stream_pause(struct stream *s)
{
	s->paused = true;
}

void
stream_resume(struct stream *s)
{
	if (!s->paused)
		return;
	s->paused = false;
	event_active(s->ev_kick, 0, 0);
}

void
stream_write(struct stream *s, const void *p, size_t n)
{
	if (s->phase == FINISHED || n == 0)
		return;
	buf_add(&s->out, p, n);
	s->want_drained = true;
	if (!s->corked)
		kick(s);
}

void
stream_cork(struct stream *s, bool on)
{
	if (s->corked && !on && s->out.len > 0)
		kick(s);
	s->corked = on;
}

size_t
stream_pending(const struct stream *s)
{
	return s->out.len;
}

void
stream_flush(struct stream *s)
{
	while (s->phase == OPEN && s->out.len > 0 && write_piece(s) > 0)
		continue;
}

void
stream_deadline(struct stream *s, int64_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	if (ms > 0)
		event_add(s->ev_time, &tv);
	else
		event_del(s->ev_time);
}

void
stream_last(struct stream *s)
{
	int on = 1;

	if (setsockopt(s->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)) == -1)
		return; /* not TCP: more pieces, no harm */
}

void
stream_finish(struct stream *s)
{
	if (s->ssl != NULL && s->phase == OPEN) {
		ERR_clear_error();
		if (SSL_shutdown(s->ssl) < 0)
			ERR_clear_error(); /* the peer is gone already */
	}
	if (shutdown(s->fd, SHUT_WR) == -1)
		return; /* likewise */
}

const char *
stream_error(const struct stream *s)
{
	return str_of(s->error);
}

bool
stream_error_is_tls(const struct stream *s)
{
	return s->error_is_tls;
}

void
stream_addr_text(
    const struct sockaddr_storage *ss, char *addr, size_t len, uint16_t *port)
{
	const struct sockaddr_in *v4 = (const void *)ss;
	const struct sockaddr_in6 *v6 = (const void *)ss;
	struct in_addr mapped;

	addr[0] = '\0';
	*port = 0;
	if (ss->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, addr, (socklen_t)len);
		*port = ntohs(v4->sin_port);
	} else if (ss->ss_family == AF_INET6 &&
	    IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		memcpy(&mapped, v6->sin6_addr.s6_addr + 12, sizeof(mapped));
		inet_ntop(AF_INET, &mapped, addr, (socklen_t)len);
		*port = ntohs(v6->sin6_port);
	} else if (ss->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, addr, (socklen_t)len);
		*port = ntohs(v6->sin6_port);
	}
}

void
stream_local(const struct stream *s, char *addr, size_t len, uint16_t *port)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);

	if (getsockname(s->fd, (struct sockaddr *)&ss, &n) == -1)
		ss.ss_family = AF_UNSPEC;
	stream_addr_text(&ss, addr, len, port);
}

SSL *
stream_ssl(const struct stream *s)
{
	return s->ssl;
}
