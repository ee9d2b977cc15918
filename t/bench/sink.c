/*
 * sink.c: a smarthost that takes every message and throws it away, to measure
 * what stands before it.
 *
 * It speaks SMTP over TLS (STARTTLS or implicit) with the extensions named by
 * --ext, accepts any AUTH, sender and recipient, and counts.  For each message
 * it writes a line "ID RECIPIENTS OCTETS" into --ids FILE, ID being the value
 * of its X-Bench-Id field ("-" without one) and OCTETS its size as it went
 * over the wire; the file is complete whenever the sink is idle.  Statistics
 * are one line of JSON on stdout, upon SIGUSR1 and at the end (SIGTERM).  The
 * port is printed first, for --listen ADDRESS:0.
 *
 * A mail command in the clear is answered with 530 and counted.
 */
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <ctype.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <strings.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "bench.h"

#define IN_MAX 32768 /* holds any line and a TLS record */
#define ID_MAX 128

enum mode {
	MODE_COMMAND,
	MODE_TLS,  /* in the handshake */
	MODE_AUTH, /* any answer to a challenge is good */
	MODE_DATA,
	MODE_BDAT,
	MODE_CLOSE /* ends as soon as the replies are out */
};

/* What is known of the message that is being received. */
struct message {
	unsigned long rcpts;
	unsigned long octets;
	char id[ID_MAX];
	bool in_header, mid_line; /* mid_line: its start is gone already */
	char line[ID_MAX + 32];   /* a header line that BDAT may cut */
	size_t linelen;
};

struct conn {
	int fd;
	SSL *ssl; /* NULL in the clear */
	enum mode mode;
	bool wants_write;       /* as epoll knows it */
	unsigned int auth_left; /* answers that AUTH still waits for */
	bool bdat_last;
	unsigned long bdat_left;
	struct message msg;
	struct bench_buf out;
	size_t inlen;
	char *in; /* IN_MAX octets; NULL when nothing is in it */
};

static struct {
	const char *listen, *cert, *key, *ids, *ext;
	bool implicit;
	unsigned long size;
} opt = {
	.listen = "127.0.0.1:0",
	.ext = "PIPELINING,8BITMIME,SIZE,ENHANCEDSTATUSCODES,DSN,SMTPUTF8",
	.size = 1000000000,
};

static struct {
	unsigned long connections, handshakes, open, messages, rcpts, octets;
	unsigned long aborted; /* messages cut off by a lost connection */
	unsigned long refused; /* mail commands in the clear */
	unsigned long bad;     /* commands not understood */
	uint64_t first_ns, last_ns;
} count;

static SSL_CTX *ctx;
static int epfd, listener, signals;
static FILE *ids;

static void
print_statistics(void)
{
	printf("{\"connections\": %lu, \"open\": %lu, \"handshakes\": %lu, "
	       "\"messages\": %lu, \"recipients\": %lu, \"octets\": %lu, "
	       "\"aborted\": %lu, \"refused\": %lu, \"bad\": %lu, "
	       "\"first_ns\": %llu, \"last_ns\": %llu, \"cpu_s\": %.3f}\n",
	    count.connections, count.open, count.handshakes, count.messages,
	    count.rcpts, count.octets, count.aborted, count.refused, count.bad,
	    (unsigned long long)count.first_ns,
	    (unsigned long long)count.last_ns, bench_cpu());
	fflush(stdout);
}

static void
conn_free(struct conn *c)
{
	if (c->mode == MODE_DATA || c->mode == MODE_BDAT)
		count.aborted++;
	if (c->ssl != NULL) {
		/* Says goodbye, so that a client may resume the session. */
		ERR_clear_error();
		if (c->mode != MODE_TLS)
			SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	close(c->fd);
	bench_buf_clear(&c->out);
	free(c->in);
	free(c);
	count.open--;
}

static void
conn_watch(struct conn *c, bool wants_write)
{
	struct epoll_event ev = { .data.ptr = c };

	if (c->wants_write == wants_write)
		return;
	c->wants_write = wants_write;
	ev.events = EPOLLIN | (wants_write ? EPOLLOUT : 0u);
	if (epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &ev) == -1)
		bench_die("epoll_ctl: %s", strerror(errno));
}

static void
reply(struct conn *c, const char *text)
{
	bench_buf_add(&c->out, text, strlen(text));
	bench_buf_add(&c->out, "\r\n", 2);
}

static void
message_start(struct message *m)
{
	*m = (struct message){ .id = "-", .in_header = true };
}

/* A header line, without its end. */
static void
message_header_line(struct message *m, const char *line, size_t len)
{
	static const char name[] = "X-Bench-Id:";
	size_t nlen = sizeof(name) - 1;

	if (len == 0) {
		m->in_header = false;
		return;
	}
	if (len <= nlen || strncasecmp(line, name, nlen) != 0)
		return;
	while (nlen < len && isblank((unsigned char)line[nlen]))
		nlen++;
	while (len > nlen && isblank((unsigned char)line[len - 1]))
		len--;
	if (len - nlen >= ID_MAX)
		return;
	memcpy(m->id, line + nlen, len - nlen);
	m->id[len - nlen] = '\0';
}

/* Content in any portions: collects header lines until the header ends. */
static void
message_content(struct message *m, const char *data, size_t len)
{
	size_t i;

	m->octets += len;
	for (i = 0; i < len && m->in_header; i++) {
		if (data[i] == '\n') {
			if (m->linelen > 0 && m->line[m->linelen - 1] == '\r')
				m->linelen--;
			message_header_line(m, m->line, m->linelen);
			m->linelen = 0;
		} else if (m->linelen < sizeof(m->line)) {
			m->line[m->linelen++] = data[i];
		}
	}
}

static void
message_end(struct conn *c)
{
	struct message *m = &c->msg;

	c->mode = MODE_COMMAND;
	if (ids != NULL)
		fprintf(ids, "%s %lu %lu\n", m->id, m->rcpts, m->octets);
	count.last_ns = bench_now();
	if (count.messages++ == 0)
		count.first_ns = count.last_ns;
	count.rcpts += m->rcpts;
	count.octets += m->octets;
	message_start(m);
	reply(c, "250 2.0.0 taken");
}

static void
cmd_ehlo(struct conn *c, const char *arg)
{
	const char *word = opt.ext;
	size_t len;

	(void)arg;
	message_start(&c->msg);
	bench_buf_fmt(&c->out, "250-sink.example.org\r\n");
	for (; *word != '\0'; word += len + (word[len] == ',')) {
		len = strcspn(word, ",");
		if (len == 4 && strncmp(word, "SIZE", 4) == 0)
			bench_buf_fmt(&c->out, "250-SIZE %lu\r\n", opt.size);
		else
			bench_buf_fmt(&c->out, "250-%.*s\r\n", (int)len, word);
	}
	reply(c, c->ssl == NULL ? "250 STARTTLS" : "250 AUTH PLAIN LOGIN");
}

static void
cmd_helo(struct conn *c, const char *arg)
{
	(void)arg;
	message_start(&c->msg);
	reply(c, "250 sink.example.org");
}

static void
cmd_auth(struct conn *c, const char *arg)
{
	const char *initial = strchr(arg, ' ');

	if (initial != NULL) {
		reply(c, "235 2.7.0 welcome");
		return;
	}
	c->mode = MODE_AUTH;
	c->auth_left = strcasecmp(arg, "LOGIN") == 0 ? 2 : 1;
	reply(c, "334 ");
}

static void
cmd_mail(struct conn *c, const char *arg)
{
	(void)arg;
	message_start(&c->msg);
	reply(c, "250 2.1.0 sender ok");
}

static void
cmd_rcpt(struct conn *c, const char *arg)
{
	(void)arg;
	c->msg.rcpts++;
	reply(c, "250 2.1.5 recipient ok");
}

static void
cmd_data(struct conn *c, const char *arg)
{
	(void)arg;
	if (c->msg.rcpts == 0) {
		reply(c, "503 5.5.1 no recipient");
		return;
	}
	c->mode = MODE_DATA;
	reply(c, "354 go on");
}

static void
bdat_end(struct conn *c)
{
	c->mode = MODE_COMMAND;
	if (c->msg.rcpts == 0)
		reply(c, "503 5.5.1 no recipient");
	else if (c->bdat_last)
		message_end(c);
	else
		reply(c, "250 2.0.0 chunk taken");
}

static void
cmd_bdat(struct conn *c, const char *arg)
{
	char *end;

	c->bdat_left = strtoul(arg, &end, 10);
	c->bdat_last = strcasecmp(end, " LAST") == 0;
	c->mode = MODE_BDAT;
	if (c->bdat_left == 0)
		bdat_end(c);
}

static void
cmd_rset(struct conn *c, const char *arg)
{
	(void)arg;
	message_start(&c->msg);
	reply(c, "250 2.0.0 ok");
}

static void
cmd_noop(struct conn *c, const char *arg)
{
	(void)arg;
	reply(c, "250 2.0.0 ok");
}

static void
cmd_quit(struct conn *c, const char *arg)
{
	(void)arg;
	c->mode = MODE_CLOSE;
	reply(c, "221 2.0.0 bye");
}

static void
cmd_starttls(struct conn *c, const char *arg)
{
	(void)arg;
	c->mode = MODE_TLS;
	reply(c, "220 2.0.0 go on");
}

static const struct {
	const char *verb;
	void (*run)(struct conn *, const char *arg);
	bool in_clear;
} commands[] = {
	{ "EHLO", cmd_ehlo, true },
	{ "HELO", cmd_helo, true },
	{ "STARTTLS", cmd_starttls, true },
	{ "AUTH", cmd_auth, false },
	{ "MAIL", cmd_mail, false },
	{ "RCPT", cmd_rcpt, false },
	{ "DATA", cmd_data, false },
	{ "BDAT", cmd_bdat, false },
	{ "RSET", cmd_rset, true },
	{ "NOOP", cmd_noop, true },
	{ "QUIT", cmd_quit, true },
};

/* A command line, without its end. */
static void
conn_command(struct conn *c, const char *line)
{
	size_t i, len = strcspn(line, " ");

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strncasecmp(line, commands[i].verb, len) != 0 ||
		    commands[i].verb[len] != '\0')
			continue;
		if (c->ssl == NULL && !commands[i].in_clear) {
			count.refused++;
			reply(c, "530 5.7.0 STARTTLS first");
			return;
		}
		commands[i].run(c, line + len + (line[len] == ' '));
		return;
	}
	count.bad++;
	reply(c, "500 5.5.2 no such command");
}

/* A line of input; len includes its end. */
static void
conn_line(struct conn *c, char *line, size_t len)
{
	bool whole = !c->msg.mid_line;

	switch (c->mode) {
	case MODE_DATA:
		c->msg.mid_line = false;
		if (whole && len == 3 && memcmp(line, ".\r\n", 3) == 0)
			message_end(c);
		else
			message_content(&c->msg, line, len);
		break;
	case MODE_AUTH:
		if (--c->auth_left > 0) {
			reply(c, "334 ");
			break;
		}
		c->mode = MODE_COMMAND;
		reply(c, "235 2.7.0 welcome");
		break;
	default:
		line[len - 1] = '\0';
		if (len > 1 && line[len - 2] == '\r')
			line[len - 2] = '\0';
		conn_command(c, line);
	}
}

/* Takes one piece of input at data; 0 if there is not enough of it yet. */
static size_t
conn_take(struct conn *c, char *data, size_t len)
{
	char *nl;
	size_t n;

	if (c->mode == MODE_BDAT) {
		n = len < c->bdat_left ? len : c->bdat_left;
		message_content(&c->msg, data, n);
		if ((c->bdat_left -= n) == 0)
			bdat_end(c);
		return n;
	}
	if ((nl = memchr(data, '\n', len)) != NULL) {
		n = (size_t)(nl - data) + 1;
		conn_line(c, data, n);
		return n;
	}
	if (len < IN_MAX)
		return 0;
	if (c->mode != MODE_DATA) {
		count.bad++;
		c->mode = MODE_CLOSE;
		return len;
	}
	message_content(&c->msg, data, len);
	c->msg.mid_line = true;
	return len;
}

static void
conn_input(struct conn *c)
{
	size_t pos = 0, n;

	while (pos < c->inlen && c->mode != MODE_TLS && c->mode != MODE_CLOSE) {
		if ((n = conn_take(c, c->in + pos, c->inlen - pos)) == 0)
			break;
		pos += n;
	}
	c->inlen -= pos;
	memmove(c->in, c->in + pos, c->inlen);
	if (c->mode == MODE_TLS && c->inlen > 0)
		c->mode = MODE_CLOSE; /* bytes behind STARTTLS */
}

/* 1 = all is out, 0 = would block, -1 = connection lost. */
static int
conn_flush(struct conn *c)
{
	struct bench_buf *b = &c->out;
	ssize_t n;

	while (b->off < b->len) {
		if (c->ssl == NULL) {
			n = send(c->fd, b->data + b->off, b->len - b->off, 0);
			if (n == -1 && errno == EAGAIN)
				n = 0;
		} else {
			ERR_clear_error();
			n = SSL_write(
			    c->ssl, b->data + b->off, (int)(b->len - b->off));
			if (n <= 0 &&
			    SSL_get_error(c->ssl, (int)n) ==
				SSL_ERROR_WANT_WRITE)
				n = 0;
		}
		if (n < 0 || (n == 0 && c->mode == MODE_CLOSE))
			return -1;
		conn_watch(c, n == 0);
		if (n == 0)
			return 0;
		b->off += (size_t)n;
	}
	b->len = b->off = 0;
	return 1;
}

/* 1 = got something, 0 = nothing now, -1 = connection lost. */
static int
conn_read(struct conn *c)
{
	size_t room = IN_MAX - c->inlen;
	ssize_t n;

	if (c->in == NULL && (c->in = malloc(IN_MAX)) == NULL)
		bench_die("out of memory");
	if (c->ssl == NULL) {
		n = recv(c->fd, c->in + c->inlen, room, 0);
		if (n == -1 && errno == EAGAIN)
			return 0;
	} else {
		ERR_clear_error();
		n = SSL_read(c->ssl, c->in + c->inlen, (int)room);
		if (n <= 0 &&
		    SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ)
			return 0;
	}
	if (n <= 0)
		return -1;
	c->inlen += (size_t)n;
	return 1;
}

static void
conn_tls_start(struct conn *c)
{
	c->mode = MODE_TLS;
	if ((c->ssl = SSL_new(ctx)) == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
		bench_die("SSL_new failed");
	SSL_set_accept_state(c->ssl);
}

/* 1 = done, 0 = would block, -1 = failed. */
static int
conn_handshake(struct conn *c)
{
	int rc, err;

	ERR_clear_error();
	if ((rc = SSL_do_handshake(c->ssl)) == 1) {
		count.handshakes++;
		c->mode = MODE_COMMAND;
		if (opt.implicit)
			reply(c, "220 sink.example.org ESMTP");
		return 1;
	}
	err = SSL_get_error(c->ssl, rc);
	return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? 0
									 : -1;
}

/* Goes as far as the socket allows; -1 once the connection is over. */
static int
conn_run(struct conn *c)
{
	int rc;

	for (;;) {
		if (c->mode == MODE_TLS && c->ssl != NULL &&
		    (rc = conn_handshake(c)) != 1)
			return rc;
		if ((rc = conn_flush(c)) != 1)
			return rc;
		if (c->mode == MODE_CLOSE)
			return -1;
		if (c->mode == MODE_TLS) {
			conn_tls_start(c);
			continue;
		}
		if ((rc = conn_read(c)) != 1)
			return rc;
		conn_input(c);
	}
}

/* The same, and an idle connection gives its buffers back. */
static int
conn_step(struct conn *c)
{
	int rc = conn_run(c);

	if (c->inlen == 0) {
		free(c->in);
		c->in = NULL;
	}
	if (c->out.len == 0)
		bench_buf_clear(&c->out);
	return rc;
}

static void
accept_all(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct conn *c;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) != -1) {
		bench_nodelay(fd);
		if ((c = calloc(1, sizeof(*c))) == NULL)
			bench_die("out of memory");
		c->fd = fd;
		message_start(&c->msg);
		count.connections++;
		count.open++;
		ev.data.ptr = c;
		if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) == -1)
			bench_die("epoll_ctl: %s", strerror(errno));
		if (opt.implicit)
			conn_tls_start(c);
		else
			reply(c, "220 sink.example.org ESMTP");
		if (conn_step(c) == -1)
			conn_free(c);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		bench_die("accept: %s", strerror(errno));
}

/* True if the signal means the end. */
static bool
take_signal(void)
{
	struct signalfd_siginfo si;

	if (read(signals, &si, sizeof(si)) != sizeof(si))
		return false;
	if (ids != NULL)
		fflush(ids);
	print_statistics();
	return si.ssi_signo != SIGUSR1;
}

static void
loop(void)
{
	struct epoll_event ev[256];
	bool busy = false;
	int i, n;

	for (;;) {
		n = epoll_wait(epfd, ev, 256, busy ? 0 : -1);
		if (n == 0 && ids != NULL)
			fflush(ids);
		busy = n > 0;
		for (i = 0; i < n; i++) {
			if (ev[i].data.ptr == &listener)
				accept_all();
			else if (ev[i].data.ptr == &signals) {
				if (take_signal())
					return;
			} else if (conn_step(ev[i].data.ptr) == -1)
				conn_free(ev[i].data.ptr);
		}
	}
}

static void
make_tls(void)
{
	if ((ctx = SSL_CTX_new(TLS_server_method())) == NULL)
		bench_die("SSL_CTX_new failed");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	if (SSL_CTX_use_certificate_chain_file(ctx, opt.cert) != 1)
		bench_die("%s: no certificate", opt.cert);
	if (SSL_CTX_use_PrivateKey_file(ctx, opt.key, SSL_FILETYPE_PEM) != 1)
		bench_die("%s: no key of %s", opt.key, opt.cert);
}

static void
make_events(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if ((signals = signalfd(-1, &set, SFD_CLOEXEC)) == -1 ||
	    (epfd = epoll_create1(EPOLL_CLOEXEC)) == -1)
		bench_die("signalfd or epoll: %s", strerror(errno));
	ev.data.ptr = &listener;
	epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &ev);
	ev.data.ptr = &signals;
	epoll_ctl(epfd, EPOLL_CTL_ADD, signals, &ev);
}

static void
usage(void)
{
	bench_die("usage: sink --cert FILE --key FILE [--listen ADDRESS:PORT] "
		  "[--tls starttls|implicit]\n"
		  "  [--ids FILE] [--ext KEYWORD,...] [--size OCTETS]");
}

static void
parse_options(int argc, char **argv)
{
	static const struct option table[] = { { "listen", 1, NULL, 'l' },
		{ "cert", 1, NULL, 'c' }, { "key", 1, NULL, 'k' },
		{ "ids", 1, NULL, 'i' }, { "ext", 1, NULL, 'e' },
		{ "size", 1, NULL, 's' }, { "tls", 1, NULL, 't' },
		{ NULL, 0, NULL, 0 } };
	int o;

	while ((o = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (o) {
		case 'l':
			opt.listen = optarg;
			break;
		case 'c':
			opt.cert = optarg;
			break;
		case 'k':
			opt.key = optarg;
			break;
		case 'i':
			opt.ids = optarg;
			break;
		case 'e':
			opt.ext = optarg;
			break;
		case 's':
			opt.size = bench_number("--size", optarg, 1UL << 40);
			break;
		case 't':
			opt.implicit = strcmp(optarg, "implicit") == 0;
			if (!opt.implicit && strcmp(optarg, "starttls") != 0)
				usage();
			break;
		default:
			usage();
		}
	}
	if (optind != argc || opt.cert == NULL || opt.key == NULL)
		usage();
}

int
main(int argc, char **argv)
{
	parse_options(argc, argv);
	bench_raise_files();
	make_tls();
	if (opt.ids != NULL && (ids = fopen(opt.ids, "w")) == NULL)
		bench_die("%s: %s", opt.ids, strerror(errno));
	listener = bench_listen(opt.listen);
	make_events();
	loop();
	if (ids != NULL && fclose(ids) != 0)
		bench_die("%s: %s", opt.ids, strerror(errno));
	return 0;
}
