/*
 * load_session.c: one client and its dialogue with the server, as a chain of
 * steps driven by what the socket has.
 */
#include <sys/epoll.h>

#include <ctype.h>
#include <signal.h>
#include <strings.h>
#include <unistd.h>

#include <openssl/err.h>

#include "load.h"

#define ONE_RECORD 16384 /* octets of the largest TLS record */
#define REPLY_MAX  4096

enum step {
	STEP_CONNECT,
	STEP_TLS,
	STEP_GREETING,
	STEP_EHLO,
	STEP_STARTTLS,
	STEP_AUTH,
	STEP_AUTH_USER,
	STEP_AUTH_PASSWORD,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_DOT,
	STEP_QUIT,
	STEP_CLOSE, /* all is done: the server closes first */
	STEP_HELD,
	STEP_COUNT
};

/* The reply that each step waits for. */
static const int expected[STEP_COUNT] = {
	[STEP_GREETING] = 220,
	[STEP_EHLO] = 250,
	[STEP_STARTTLS] = 220,
	[STEP_AUTH] = 235,
	[STEP_AUTH_USER] = 334,
	[STEP_AUTH_PASSWORD] = 334,
	[STEP_MAIL] = 250,
	[STEP_RCPT] = 250,
	[STEP_DATA] = 354,
	[STEP_DOT] = 250,
	[STEP_QUIT] = 221,
};

struct session {
	unsigned long number; /* counted from 0 over the whole run */
	int fd;
	SSL *ssl; /* NULL in the clear */
	enum step step;
	bool wants_write; /* as epoll knows it */
	bool offers_starttls, offers_pipelining;
	struct bench_buf out;
	const char *body; /* rest of a long message, behind out */
	size_t body_left;
	char in[REPLY_MAX];
	size_t inlen;
	unsigned long message; /* messages acknowledged so far */
	unsigned long rcpt;    /* recipients answered, or sent if one by one */
	uint64_t started, dot_at;
	struct session *prev, *next; /* in the list of live sessions */
};

static int epfd;
static struct session *live;
static FILE *ids;

static void session_step(struct session *);

static void
session_free(struct session *s)
{
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		live = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	run.live--;
	run.ended++;
	if (s->ssl != NULL) {
		/* Else the library marks the ticket of the session as bad. */
		SSL_set_quiet_shutdown(s->ssl, 1);
		SSL_shutdown(s->ssl);
		SSL_free(s->ssl);
	}
	close(s->fd);
	bench_buf_clear(&s->out);
	free(s);
}

/* Counts a failure and ends the session; what is an SMTP code or a failure. */
static void
session_fail(struct session *s, unsigned int what, const char *text)
{
	struct errors *e = &run.errors[what];
	char *c;

	if (e->count++ == 0) {
		snprintf(e->first, sizeof(e->first), "%s", text);
		for (c = e->first; *c != '\0'; c++)
			if (!isprint((unsigned char)*c) || strchr("\"\\", *c))
				*c = '?';
	}
	run.failures++;
	if (s->step == STEP_HELD)
		run.held--;
	session_free(s);
}

static void
session_fail_tls(struct session *s)
{
	char text[200] = "";

	ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
	session_fail(s, FAIL_TLS, text);
}

static void
session_watch(struct session *s, bool wants_write)
{
	struct epoll_event ev = { .data.ptr = s };

	if (s->wants_write == wants_write)
		return;
	s->wants_write = wants_write;
	ev.events = EPOLLIN | (wants_write ? EPOLLOUT : 0u);
	if (epoll_ctl(epfd, EPOLL_CTL_MOD, s->fd, &ev) == -1)
		bench_die("epoll_ctl: %s", strerror(errno));
}

void
session_start(void)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT };
	struct session *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		bench_die("out of memory");
	s->number = run.started++;
	s->fd = socket(made.server.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (s->fd == -1)
		bench_die("socket: %s", strerror(errno));
	bench_nodelay(s->fd);
	if ((s->next = live) != NULL)
		live->prev = s;
	live = s;
	run.live++;
	s->started = bench_now();
	s->wants_write = true;
	ev.data.ptr = s;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, s->fd, &ev) == -1)
		bench_die("epoll_ctl: %s", strerror(errno));
	if (connect(s->fd, (struct sockaddr *)&made.server, made.serverlen) ==
		-1 &&
	    errno != EINPROGRESS)
		session_fail(s, FAIL_CONNECT, strerror(errno));
}

/* Writes at most one record; -1 if it would block, 0 if the session is gone. */
static ssize_t
session_write(struct session *s, const char *data, size_t len)
{
	ssize_t n;
	int rc;

	if (s->ssl == NULL) {
		n = send(s->fd, data, len, MSG_NOSIGNAL);
		if (n == -1 && errno != EAGAIN) {
			session_fail(s, FAIL_CLOSED, strerror(errno));
			return 0;
		}
		return n;
	}
	ERR_clear_error();
	rc = SSL_write(s->ssl, data, len > ONE_RECORD ? ONE_RECORD : (int)len);
	if (rc > 0)
		return rc;
	switch (SSL_get_error(s->ssl, rc)) {
	case SSL_ERROR_WANT_WRITE:
	case SSL_ERROR_WANT_READ:
		return -1;
	default:
		session_fail(s, FAIL_CLOSED, "connection lost while writing");
		return 0;
	}
}

/* Sends what waits; false if the session is gone. */
static bool
session_flush(struct session *s)
{
	ssize_t n;

	while (s->out.off < s->out.len) {
		n = session_write(
		    s, s->out.data + s->out.off, s->out.len - s->out.off);
		if (n == 0)
			return false;
		if (n == -1) {
			session_watch(s, true);
			return true;
		}
		s->out.off += (size_t)n;
	}
	s->out.off = s->out.len = 0;
	while (s->body_left > 0) {
		n = session_write(s, s->body, s->body_left);
		if (n == 0)
			return false;
		if (n == -1) {
			session_watch(s, true);
			return true;
		}
		s->body += n;
		s->body_left -= (size_t)n;
		if (s->body_left == 0)
			s->dot_at = bench_now();
	}
	session_watch(s, false);
	return true;
}

static void
session_ehlo(struct session *s)
{
	s->step = STEP_EHLO;
	s->offers_starttls = s->offers_pipelining = false;
	bench_buf_fmt(&s->out, "EHLO load.example.org\r\n");
}

static void
session_rcpt(struct session *s, unsigned long n)
{
	bench_buf_fmt(&s->out, "RCPT TO:<rcpt-%lu@%s>\r\n", n, opt.to_domain);
}

/* Begins the next transaction, or ends the session when all are done. */
static void
session_message(struct session *s)
{
	unsigned long n;

	if (opt.idle > 0) {
		s->step = STEP_HELD;
		run.held++;
		run.opened++;
		bench_buf_clear(&s->out);
		return;
	}
	if (s->message == opt.messages) {
		s->step = STEP_QUIT;
		bench_buf_fmt(&s->out, "QUIT\r\n");
		return;
	}
	s->step = STEP_MAIL;
	s->rcpt = 0;
	bench_buf_fmt(&s->out, "MAIL FROM:<%s>\r\n", opt.from);
	if (!opt.pipelining)
		return;
	for (n = 0; n < opt.rcpts; n++)
		session_rcpt(s, n);
	bench_buf_fmt(&s->out, "DATA\r\n");
}

static void
session_content(struct session *s)
{
	s->step = STEP_DOT;
	make_header(&s->out, s->number, s->message);
	if (s->out.len + made.bodylen <= ONE_RECORD) {
		bench_buf_add(&s->out, made.body, made.bodylen);
		s->dot_at = bench_now();
		return;
	}
	s->body = made.body;
	s->body_left = made.bodylen;
}

/* The server has taken a message. */
static void
session_acknowledged(struct session *s)
{
	char id[ID_MAX];

	sample_add(&run.dot, bench_now() - s->dot_at);
	if (ids != NULL) {
		make_id(id, s->number, s->message);
		fprintf(ids, "%s\n", id);
	}
	run.messages++;
	run.octets += opt.size;
	s->message++;
	session_message(s);
}

/* STARTTLS, AUTH or the first message, whichever is due after EHLO. */
static void
session_greeted(struct session *s)
{
	if (s->ssl == NULL) {
		s->step = STEP_STARTTLS;
		bench_buf_fmt(&s->out, "STARTTLS\r\n");
		return;
	}
	switch (opt.auth) {
	case AUTH_NONE:
		session_message(s);
		return;
	case AUTH_LOGIN:
		s->step = STEP_AUTH_USER;
		break;
	case AUTH_PLAIN:
	case AUTH_EXTERNAL:
		s->step = STEP_AUTH;
		break;
	}
	make_auth(&s->out, s->number);
}

static void
session_tls_start(struct session *s)
{
	SSL_SESSION *ticket;

	s->step = STEP_TLS;
	if ((s->ssl = SSL_new(made.ctx)) == NULL ||
	    SSL_set_fd(s->ssl, s->fd) != 1)
		bench_die("SSL_new failed");
	SSL_set_tlsext_host_name(s->ssl, opt.name);
	if (opt.ca != NULL && SSL_set1_host(s->ssl, opt.name) != 1)
		bench_die("SSL_set1_host failed");
	if ((ticket = take_ticket()) != NULL) {
		SSL_set_session(s->ssl, ticket);
		SSL_SESSION_free(ticket);
	}
	SSL_set_connect_state(s->ssl);
	session_step(s);
}

/* Nothing is left to do but to wait for the server to close. */
static void
session_served(struct session *s)
{
	s->step = STEP_CLOSE;
	run.good++;
	sample_add(&run.session, bench_now() - s->started);
}

/* Acts on a reply that was expected. */
static void
session_proceed(struct session *s)
{
	switch (s->step) {
	case STEP_GREETING:
		session_ehlo(s);
		break;
	case STEP_EHLO:
		session_greeted(s);
		break;
	case STEP_AUTH_USER:
		s->step = STEP_AUTH_PASSWORD;
		make_auth_user(&s->out, s->number);
		break;
	case STEP_AUTH_PASSWORD:
		s->step = STEP_AUTH;
		make_auth_password(&s->out);
		break;
	case STEP_AUTH:
		session_message(s);
		break;
	case STEP_MAIL:
		s->step = STEP_RCPT;
		if (!opt.pipelining)
			session_rcpt(s, 0);
		break;
	case STEP_RCPT:
		if (++s->rcpt == opt.rcpts)
			s->step = STEP_DATA;
		if (!opt.pipelining && s->rcpt < opt.rcpts)
			session_rcpt(s, s->rcpt);
		else if (!opt.pipelining)
			bench_buf_fmt(&s->out, "DATA\r\n");
		break;
	case STEP_DATA:
		session_content(s);
		break;
	case STEP_DOT:
		session_acknowledged(s);
		break;
	case STEP_QUIT:
		session_served(s);
		break;
	default:
		bench_die("reply in step %d", s->step);
	}
}

/* Notes what EHLO offers. */
static void
session_extension(struct session *s, const char *word)
{
	s->offers_starttls |= strcasecmp(word, "STARTTLS") == 0;
	s->offers_pipelining |= strcasecmp(word, "PIPELINING") == 0;
}

/* True if the session can go on with them. */
static bool
session_has_extensions(const struct session *s)
{
	if (s->ssl == NULL) /* what else is offered counts under TLS only */
		return s->offers_starttls;
	return !opt.pipelining || s->offers_pipelining;
}

/* One reply line, without CRLF.  False if the session is gone. */
static bool
session_line(struct session *s, char *line)
{
	unsigned long code;
	char *end;

	code = strtoul(line, &end, 10);
	if (end != line + 3 || code < 200 || code > 599 ||
	    (*end != ' ' && *end != '-' && *end != '\0')) {
		session_fail(s, FAIL_PROTOCOL, line);
		return false;
	}
	if (expected[s->step] != (int)code) {
		session_fail(s, (unsigned int)code, line);
		return false;
	}
	if (s->step == STEP_EHLO && *end != '\0')
		session_extension(s, end + 1);
	if (*end == '-')
		return true;
	if (s->step == STEP_EHLO && !session_has_extensions(s)) {
		session_fail(s, FAIL_EXTENSION, "EHLO lacks a needed keyword");
		return false;
	}
	if (s->step == STEP_STARTTLS) {
		if (s->inlen > 0) {
			session_fail(s, FAIL_PROTOCOL, "data before TLS");
			return false;
		}
		session_tls_start(s);
		return false; /* it has run on from there */
	}
	session_proceed(s);
	return true;
}

/* Acts on all complete lines; false if the session is gone. */
static bool
session_lines(struct session *s)
{
	char line[REPLY_MAX], *nl;
	size_t len;

	while ((nl = memchr(s->in, '\n', s->inlen)) != NULL) {
		len = (size_t)(nl - s->in) + 1;
		memcpy(line, s->in, len);
		line[len - 1] = '\0';
		if (len > 1 && line[len - 2] == '\r')
			line[len - 2] = '\0';
		s->inlen -= len;
		memmove(s->in, s->in + len, s->inlen);
		if (!session_line(s, line))
			return false;
	}
	if (s->inlen == sizeof(s->in)) {
		session_fail(s, FAIL_PROTOCOL, "reply line too long");
		return false;
	}
	return true;
}

/* Reads once; 1 = got something, 0 = nothing now, -1 = session is gone. */
static int
session_read(struct session *s)
{
	size_t room = sizeof(s->in) - s->inlen;
	ssize_t n;
	int err;

	if (s->ssl == NULL) {
		n = recv(s->fd, s->in + s->inlen, room, 0);
		if (n == -1 && errno == EAGAIN)
			return 0;
	} else {
		ERR_clear_error();
		n = SSL_read(s->ssl, s->in + s->inlen, (int)room);
		err = SSL_get_error(s->ssl, (int)n);
		if (n <= 0 &&
		    (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE))
			return 0;
	}
	if (n > 0) {
		s->inlen += (size_t)n;
		return 1;
	}
	if (s->step == STEP_CLOSE)
		session_free(s);
	else
		session_fail(s, FAIL_CLOSED, "server closed the connection");
	return -1;
}

/* Handshake; true once it is done. */
static bool
session_handshake(struct session *s)
{
	int rc;

	ERR_clear_error();
	if ((rc = SSL_do_handshake(s->ssl)) == 1) {
		run.resumed += SSL_session_reused(s->ssl) ? 1u : 0u;
		run.tls = SSL_get_version(s->ssl);
		if (opt.handshakes)
			session_served(s);
		else if (opt.implicit)
			s->step = STEP_GREETING;
		else
			session_ehlo(s);
		return true;
	}
	switch (SSL_get_error(s->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		session_watch(s, false);
		break;
	case SSL_ERROR_WANT_WRITE:
		session_watch(s, true);
		break;
	default:
		session_fail_tls(s);
	}
	return false;
}

/* Goes as far as the socket allows. */
static void
session_step(struct session *s)
{
	int rc;

	if (s->step == STEP_TLS && !session_handshake(s))
		return;
	if (!session_flush(s))
		return;
	while ((rc = session_read(s)) == 1) {
		if (s->step == STEP_HELD) {
			session_fail(
			    s, FAIL_PROTOCOL, "held session spoken to");
			return;
		}
		if (!session_lines(s) || !session_flush(s))
			return;
	}
}

static void
session_connected(struct session *s)
{
	socklen_t len = sizeof(int);
	int err = 0;

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err != 0) {
		session_fail(s, FAIL_CONNECT, strerror(err));
		return;
	}
	session_watch(s, false);
	if (opt.implicit) {
		session_tls_start(s);
		return;
	}
	s->step = STEP_GREETING;
	session_step(s);
}

void
session_expire(void)
{
	uint64_t now = bench_now();
	struct session *s, *next;

	for (s = live; s != NULL; s = next) {
		next = s->next;
		if (s->step != STEP_HELD &&
		    now - s->started > opt.timeout_s * 1000000000u)
			session_fail(s, FAIL_TIMEOUT, "no end in time");
	}
}

void
session_prepare(void)
{
	signal(SIGPIPE, SIG_IGN);
	bench_raise_files();
	make_all();
	if (opt.ids != NULL && (ids = fopen(opt.ids, "w")) == NULL)
		bench_die("%s: %s", opt.ids, strerror(errno));
	if ((epfd = epoll_create1(EPOLL_CLOEXEC)) == -1)
		bench_die("epoll_create1: %s", strerror(errno));
}

void
session_event(void *session)
{
	struct session *s = session;

	if (s->step == STEP_CONNECT)
		session_connected(s);
	else
		session_step(s);
}

int
session_epoll(void)
{
	return epfd;
}

void
session_finish(void)
{
	if (ids != NULL && fclose(ids) != 0)
		bench_die("%s: %s", opt.ids, strerror(errno));
}
