/*
 * bare_tls.c: nothing but TLS handshakes, in memory or behind an accept loop.
 * The server's context is set up as that of submitd's front: a client's
 * certificate is asked for, there is one ticket, no cache.
 */
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <signal.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "bare.h"

static SSL_CTX *server;
static volatile sig_atomic_t ended;

static int
let_through(X509_STORE_CTX *store, void *arg)
{
	(void)store;
	(void)arg;
	return 1;
}

static void
make_server(void)
{
	if ((server = SSL_CTX_new(TLS_server_method())) == NULL)
		bench_die("SSL_CTX_new failed");
	SSL_CTX_set_min_proto_version(server, TLS1_2_VERSION);
	SSL_CTX_set_mode(server,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(server, 1);
	SSL_CTX_set_options(server, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(server, 1);
	SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(server, let_through, NULL);
	SSL_CTX_set_session_id_context(
	    server, (const unsigned char *)"bare", 4);
	if (SSL_CTX_use_certificate_chain_file(server, opt.cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(server, opt.key, SSL_FILETYPE_PEM) != 1)
		bench_die(
		    "%s, %s: no certificate with its key", opt.cert, opt.key);
}

/* ---- in memory ---- */

static uint64_t
cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* One end goes as far as it can; true once it is done. */
static bool
half_handshake(SSL *ssl, uint64_t *spent)
{
	uint64_t began = cpu_now();
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(ssl);
	if (rc != 1 && SSL_get_error(ssl, rc) != SSL_ERROR_WANT_READ)
		bench_die("handshake: %s",
		    ERR_reason_error_string(ERR_peek_last_error()));
	*spent += cpu_now() - began;
	return rc == 1;
}

/* Making and freeing the SSL counts: a connection needs both. */
static SSL *
half_new(SSL_CTX *ctx, BIO *in, BIO *out, uint64_t *spent)
{
	uint64_t began = cpu_now();
	SSL *ssl = SSL_new(ctx);

	if (ssl == NULL)
		bench_die("SSL_new failed");
	BIO_up_ref(in);
	BIO_up_ref(out);
	SSL_set_bio(ssl, in, out);
	*spent += cpu_now() - began;
	return ssl;
}

static void
half_free(SSL *ssl, uint64_t *spent)
{
	uint64_t began = cpu_now();

	SSL_free(ssl);
	*spent += cpu_now() - began;
}

static void
one_handshake(SSL_CTX *client, uint64_t *mine, uint64_t *theirs)
{
	BIO *there = BIO_new(BIO_s_mem()), *back = BIO_new(BIO_s_mem());
	bool done = false, client_done = false;
	SSL *s, *c;

	if (there == NULL || back == NULL)
		bench_die("out of memory");
	s = half_new(server, there, back, mine);
	c = half_new(client, back, there, theirs);
	SSL_set_accept_state(s);
	SSL_set_connect_state(c);
	while (!done) {
		if (!client_done)
			client_done = half_handshake(c, theirs);
		done = half_handshake(s, mine);
	}
	half_free(c, theirs);
	half_free(s, mine);
	BIO_free(there);
	BIO_free(back);
}

void
bare_handshakes(void)
{
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	uint64_t mine = 0, theirs = 0, warm = 0;
	unsigned long i;

	make_server();
	if (client == NULL)
		bench_die("SSL_CTX_new failed");
	one_handshake(client, &warm, &warm);
	for (i = 0; i < opt.count; i++)
		one_handshake(client, &mine, &theirs);
	printf("{\"handshakes\": %lu, \"server_us\": %.1f, "
	       "\"client_us\": %.1f}\n",
	    opt.count, (double)mine / (double)opt.count / 1e3,
	    (double)theirs / (double)opt.count / 1e3);
	SSL_CTX_free(client);
	SSL_CTX_free(server);
}

/* ---- behind an accept loop ---- */

struct peer {
	int fd;
	SSL *ssl;
};

static unsigned long handshakes, failures;

static void
peer_free(struct peer *p)
{
	ERR_clear_error();
	if (SSL_is_init_finished(p->ssl))
		SSL_shutdown(p->ssl);
	SSL_free(p->ssl);
	close(p->fd);
	free(p);
}

static void
peer_step(struct peer *p)
{
	int rc, err;

	ERR_clear_error();
	if ((rc = SSL_do_handshake(p->ssl)) == 1) {
		handshakes++;
		peer_free(p);
		return;
	}
	err = SSL_get_error(p->ssl, rc);
	if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE)
		return;
	failures++;
	peer_free(p);
}

static void
accept_all(int listener, int epfd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct peer *p;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) != -1) {
		bench_nodelay(fd);
		if ((p = calloc(1, sizeof(*p))) == NULL ||
		    (p->ssl = SSL_new(server)) == NULL ||
		    SSL_set_fd(p->ssl, fd) != 1)
			bench_die("SSL_new failed");
		p->fd = fd;
		SSL_set_accept_state(p->ssl);
		ev.data.ptr = p;
		if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) == -1)
			bench_die("epoll_ctl: %s", strerror(errno));
		peer_step(p);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		bench_die("accept: %s", strerror(errno));
}

static void
on_end(int sig)
{
	(void)sig;
	ended = 1;
}

/* Takes SIGTERM and SIGINT only while it waits. */
static void
serve(int listener)
{
	struct epoll_event ev[64], in = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	sigset_t none;
	int epfd = epoll_create1(EPOLL_CLOEXEC), i, n;

	sigemptyset(&none);
	if (epfd == -1 || epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &in) == -1)
		bench_die("epoll: %s", strerror(errno));
	while (!ended) {
		n = epoll_pwait(epfd, ev, 64, -1, &none);
		for (i = 0; i < n; i++) {
			if (ev[i].data.ptr == NULL)
				accept_all(listener, epfd);
			else
				peer_step(ev[i].data.ptr);
		}
	}
	close(epfd);
}

struct result {
	unsigned long handshakes, failures;
	double cpu_s;
};

static pid_t
start_child(int listener, int out)
{
	struct result r;
	pid_t pid = fork();

	if (pid == -1)
		bench_die("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	serve(listener);
	r = (struct result){ handshakes, failures, bench_cpu() };
	if (write(out, &r, sizeof(r)) != (ssize_t)sizeof(r))
		_exit(1);
	_exit(0);
}

static void
block_signals(sigset_t *old)
{
	struct sigaction sa = { .sa_handler = on_end };
	sigset_t set;

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, old);
}

void
bare_accept(void)
{
	struct result r, sum = { 0 };
	int listener, fds[2];
	unsigned long i;
	pid_t child[64];
	sigset_t old;

	make_server();
	listener = bench_listen(opt.listen);
	if (pipe(fds) == -1)
		bench_die("pipe: %s", strerror(errno));
	block_signals(&old);
	for (i = 0; i < opt.processes; i++)
		child[i] = start_child(listener, fds[1]);
	close(fds[1]);
	while (!ended)
		sigsuspend(&old);
	for (i = 0; i < opt.processes; i++)
		kill(child[i], SIGTERM);
	while (read(fds[0], &r, sizeof(r)) == (ssize_t)sizeof(r)) {
		sum.handshakes += r.handshakes;
		sum.failures += r.failures;
		sum.cpu_s += r.cpu_s;
	}
	for (i = 0; i < opt.processes; i++)
		waitpid(child[i], NULL, 0);
	printf("{\"handshakes\": %lu, \"failures\": %lu, \"cpu_s\": %.3f}\n",
	    sum.handshakes, sum.failures, sum.cpu_s);
	SSL_CTX_free(server);
}
