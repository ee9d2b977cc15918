/*
 * load_make.c: what all sessions share: the server's address, TLS, the body of
 * every message; and what is made of it for one session: AUTH, header.
 */
#include <netdb.h>

#include <openssl/evp.h>

#include "load.h"

struct load_made made;

void
make_id(char *id, unsigned long session, unsigned long message)
{
	snprintf(id, ID_MAX, "%s-%lu-%lu", opt.run, session, message);
}

/*
 * Header lines are padded to the same length in all messages, so that the
 * shared body makes each one exactly opt.size octets.
 */
void
make_header(struct bench_buf *b, unsigned long session, unsigned long message)
{
	char id[ID_MAX], date[64];
	struct tm tm;
	time_t now = time(NULL);

	make_id(id, session, message);
	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	bench_buf_fmt(b,
	    "From: <%s>\r\nTo: <rcpt-0@%s>\r\nDate: %s\r\n"
	    "Message-ID: <%s@load.example.org>\r\nX-Bench-Id: %s\r\n"
	    "X-Padding: %*s\r\nSubject: bench\r\n\r\n",
	    opt.from, opt.to_domain, date, id, id,
	    2 * (int)(ID_MAX - strlen(id)), "x");
}

/* Lines of text up to opt.size with the header, and the dot. */
static void
make_body(void)
{
	struct bench_buf header = { 0 };
	size_t i, len;

	make_header(&header, 0, 0);
	if (opt.size < header.len + 2)
		bench_die("--size: at least %zu octets", header.len + 2);
	len = opt.size - header.len;
	bench_buf_clear(&header);
	made.bodylen = len + 3;
	if ((made.body = malloc(made.bodylen)) == NULL)
		bench_die("out of memory");
	for (i = 0; i < len; i++)
		made.body[i] = (char)('a' + i % 26);
	for (i = 78; i + 3 < len; i += 78) {
		made.body[i - 2] = '\r';
		made.body[i - 1] = '\n';
	}
	memcpy(made.body + len - 2, "\r\n.\r\n", 5);
}

/* ---- AUTH ---- */

static void
add_base64(struct bench_buf *b, const void *data, size_t len)
{
	unsigned char text[1024];

	if (4 * ((len + 2) / 3) >= sizeof(text))
		bench_die("user and password are too long");
	EVP_EncodeBlock(text, data, (int)len);
	bench_buf_fmt(b, "%s\r\n", text);
}

/* With --users every session is somebody else, until all had their turn. */
static size_t
user_name(char *name, size_t size, unsigned long session)
{
	int n;

	if (opt.users == 0)
		n = snprintf(name, size, "%s", opt.user);
	else
		n = snprintf(
		    name, size, "%s%lu", opt.user, session % opt.users);
	if (n < 0 || (size_t)n >= size)
		bench_die("--user is too long");
	return (size_t)n;
}

void
make_auth_user(struct bench_buf *b, unsigned long session)
{
	char name[256];

	add_base64(b, name, user_name(name, sizeof(name), session));
}

void
make_auth_password(struct bench_buf *b)
{
	add_base64(b, opt.password, strlen(opt.password));
}

static void
make_auth_plain(struct bench_buf *b, unsigned long session)
{
	size_t plen = strlen(opt.password), len;
	char token[512];

	token[0] = '\0';
	len = 1 + user_name(token + 1, 255, session) + 1;
	if (len + plen > sizeof(token))
		bench_die("the password is too long");
	memcpy(token + len, opt.password, plen);
	bench_buf_fmt(b, "AUTH PLAIN ");
	add_base64(b, token, len + plen);
}

void
make_auth(struct bench_buf *b, unsigned long session)
{
	switch (opt.auth) {
	case AUTH_PLAIN:
		make_auth_plain(b, session);
		break;
	case AUTH_LOGIN:
		bench_buf_fmt(b, "AUTH LOGIN\r\n");
		break;
	case AUTH_EXTERNAL: /* the empty name: whom the certificate names */
		bench_buf_fmt(b, "AUTH EXTERNAL =\r\n");
		break;
	case AUTH_NONE:
		break;
	}
}

/* ---- TLS ---- */

/*
 * With TLS 1.3 a ticket is used once (RFC 8446 appendix C.4), and OpenSSL sees
 * to it: a session that is resumed needs one of its own.
 */
static SSL_SESSION *tickets[4096];
static size_t ntickets;

static int
keep_ticket(SSL *ssl, SSL_SESSION *new)
{
	(void)ssl;
	if (ntickets == sizeof(tickets) / sizeof(tickets[0]))
		return 0;
	tickets[ntickets++] = new;
	return 1; /* the reference is ours */
}

SSL_SESSION *
take_ticket(void)
{
	return ntickets > 0 ? tickets[--ntickets] : NULL;
}

static void
make_tls(void)
{
	SSL_CTX *ctx;

	if ((made.ctx = ctx = SSL_CTX_new(TLS_client_method())) == NULL)
		bench_die("SSL_CTX_new failed");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx,
	    opt.resume ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
		       : SSL_SESS_CACHE_OFF);
	if (opt.resume)
		SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
	if (opt.ca != NULL) {
		if (SSL_CTX_load_verify_file(ctx, opt.ca) != 1)
			bench_die("%s: no CA certificates", opt.ca);
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	}
	if (opt.cert == NULL)
		return;
	if (SSL_CTX_use_certificate_chain_file(ctx, opt.cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx,
		opt.key != NULL ? opt.key : opt.cert, SSL_FILETYPE_PEM) != 1)
		bench_die("%s: no certificate with its key", opt.cert);
}

static void
resolve(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *ai;
	int rc;

	if ((rc = getaddrinfo(opt.host, opt.port, &hints, &ai)) != 0)
		bench_die("%s: %s", opt.host, gai_strerror(rc));
	memcpy(&made.server, ai->ai_addr, ai->ai_addrlen);
	made.serverlen = ai->ai_addrlen;
	freeaddrinfo(ai);
}

void
make_all(void)
{
	if ((opt.auth == AUTH_PLAIN || opt.auth == AUTH_LOGIN) &&
	    opt.password == NULL)
		bench_die(
		    "no password: --password-file FILE or BENCH_PASSWORD");
	resolve();
	make_tls();
	make_body();
}
