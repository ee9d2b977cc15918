/*
 * Connections that a load balancer passes on: from the networks of
 * proxy_networks each begins with a PROXY header (proxyhdr.h), and from no
 * others.  The header is taken off the socket to its last byte and not beyond:
 * what follows may be the client's TLS.  Until it is there the connection
 * counts, but for no address.
 *
 * Log:
 *	ev=proxy addr= error=	the balancer sent no header, or a bad one
 *				(warning), or left before (debug)
 */
#include "front_int.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/throttle.h"
#include "clock.h"
#include "log.h"
#include "mem.h"
#include "proxyhdr.h"

enum { LOG_MS = 1000, PIECE = 512 };

struct wait {
	TAILQ_ENTRY(wait) link;
	int fd;
	enum listen_kind kind;
	struct ends ends; /* of the socket */
	struct event *readable, *late;
	uint64_t key;
	struct proxyhdr header;
};

static TAILQ_HEAD(, wait) waiting = TAILQ_HEAD_INITIALIZER(waiting);

bool
front_proxy_is_balancer(const char *addr)
{
	const char *bad;
	size_t len;

	return F.setup->conf.proxy_networks[0] != '\0' &&
	    throttle_in_networks(
		F.setup->conf.proxy_networks, addr, &bad, &len) == 1;
}

/* Returns the socket, which goes on living. */
static int
wait_free(struct wait *w)
{
	int fd = w->fd;

	TAILQ_REMOVE(&waiting, w, link);
	event_free(w->readable);
	event_free(w->late);
	front_limit_forget(w->key);
	free(w);
	return fd;
}

static void
give_up(struct wait *w, const char *why)
{
	static int64_t last_ms;
	int64_t now = clock_ms();

	if (last_ms == 0 || now - last_ms >= LOG_MS) {
		last_ms = now;
		log_warn("proxy", "addr=%s error=%s", w->ends.client, why);
	}
	close(wait_free(w));
}

static void
pass_on(struct wait *w)
{
	const struct proxyhdr *h = &w->header;
	enum listen_kind kind = w->kind;
	struct ends e = w->ends;

	e.balancer = h->src[0] == '\0';
	if (!e.balancer) {
		snprintf(e.client, sizeof(e.client), "%s", h->src);
		snprintf(e.server, sizeof(e.server), "%s", h->dst);
		e.client_port = h->src_port;
		e.server_port = h->dst_port;
		snprintf(e.via, sizeof(e.via), "%s", w->ends.client);
	}
	front_client(wait_free(w), kind, &e);
}

/* Looks, and takes what belongs to the header: 1; 0 to wait; -1 the end. */
static int
take(struct wait *w)
{
	unsigned char piece[PIECE];
	ssize_t n;
	size_t used;

	n = recv(w->fd, piece, sizeof(piece), MSG_PEEK);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -1;
	used = proxyhdr_feed(&w->header, piece, (size_t)n);
	return recv(w->fd, piece, used, 0) == (ssize_t)used ? 1 : -1;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct wait *w = arg;
	int rc = 1;

	(void)fd, (void)what;
	while (rc == 1 && w->header.state == PROXYHDR_MORE)
		rc = take(w);
	if (w->header.state == PROXYHDR_DONE)
		pass_on(w);
	else if (w->header.state == PROXYHDR_BAD)
		give_up(w, w->header.why);
	else if (rc == -1) { /* a balancer's look whether we live */
		log_debug("proxy", "addr=%s error=%s", w->ends.client,
		    "closed before the header");
		close(wait_free(w));
	}
}

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	give_up(arg, "no whole PROXY header came in time");
}

void
front_proxy_new(int fd, enum listen_kind kind, const struct ends *balancer)
{
	int64_t ms = F.setup->conf.handshake_timeout;
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };
	struct wait *w;
	uint64_t key;

	if (front_limit_admit(fd, kind, balancer->client, true, &key) == -1)
		return;
	w = xcalloc(1, sizeof(*w));
	w->fd = fd;
	w->kind = kind;
	w->ends = *balancer;
	w->key = key;
	proxyhdr_init(&w->header);
	TAILQ_INSERT_TAIL(&waiting, w, link);
	w->readable =
	    event_new(F.setup->base, fd, EV_READ | EV_PERSIST, on_readable, w);
	w->late = event_new(F.setup->base, -1, 0, on_late, w);
	if (w->readable == NULL || w->late == NULL)
		log_fatal(1, "error=%s", "cannot watch a socket");
	event_add(w->readable, NULL);
	event_add(w->late, &tv);
}

void
front_proxy_drain(void)
{
	while (!TAILQ_EMPTY(&waiting))
		close(wait_free(TAILQ_FIRST(&waiting)));
}
