/* Socket pairs between roles: see ipc.h. */
#include "ipc.h"

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

enum {
	SEND_BUFFER = 1024 * 1024, /* asked of the kernel; it may give less */
	HIGH_WATER = 256 * 1024,
	BURST = 64 /* messages handled before other events get a turn */
};

struct packet {
	TAILQ_ENTRY(packet) link;
	size_t len;
	int fd;
	unsigned char data[];
};
TAILQ_HEAD(packets, packet);

struct ipc {
	int fd;
	struct event *ev_read, *ev_write;
	const struct ipc_rule *rules;
	ipc_gone *gone;
	void (*resumed)(struct ipc *);
	void *arg;

	struct packets waiting;
	size_t waiting_bytes;
	bool was_congested;

	int depth; /* inside handlers: freeing waits */
	bool dead;
	const char *why_dead;
};

/* One receive buffer for the process: roles have one thread, and a handler
 * that receives again (ipc_drain) gets a buffer of the next depth. */
enum { DEPTH_MAX = 3 };
static unsigned char *rx[DEPTH_MAX];
static int rx_depth;

int
ipc_pair(int fd[2])
{
	int size = SEND_BUFFER, i;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, fd) == -1)
		return -1;
	for (i = 0; i < 2; i++) /* the default also does: only slower */
		if (setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &size,
			sizeof(size)) == -1)
			continue;
	return 0;
}

static void
unlink_packet(struct ipc *p, struct packet *k)
{
	TAILQ_REMOVE(&p->waiting, k, link);
	p->waiting_bytes -= k->len;
	if (k->fd != -1)
		close(k->fd);
	freezero(k, sizeof(*k) + k->len);
}

static void
destroy(struct ipc *p)
{
	struct packet *k;

	while ((k = TAILQ_FIRST(&p->waiting)) != NULL)
		unlink_packet(p, k);
	if (p->ev_read != NULL)
		event_free(p->ev_read);
	if (p->ev_write != NULL)
		event_free(p->ev_write);
	close(p->fd);
	free(p);
}

void
ipc_free(struct ipc **pp)
{
	struct ipc *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	if (p->depth > 0) {
		p->dead = true;
		p->gone = NULL;
		return;
	}
	destroy(p);
}

/* The connection ends: the owner hears of it once, when no handler of this
 * ipc is running. */
static void
fail(struct ipc *p, const char *why)
{
	if (p->dead)
		return;
	p->dead = true;
	p->why_dead = why;
}

static bool
enter(struct ipc *p)
{
	if (p->dead)
		return false;
	p->depth++;
	return true;
}

static void
leave(struct ipc *p)
{
	if (--p->depth > 0 || !p->dead)
		return;
	p->depth++; /* gone() may call ipc_free() */
	if (p->gone != NULL)
		p->gone(p, p->why_dead);
	destroy(p);
}

static int
send_now(struct ipc *p, const void *data, size_t len, int fd)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	memcpy(&iov.iov_base, &data, sizeof(data));
	if (fd != -1) {
		mh.msg_control = control.space;
		mh.msg_controllen = sizeof(control.space);
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		control.h.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
	}
	do
		n = sendmsg(p->fd, &mh, MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	return n == -1 ? -1 : 0;
}

static void
keep(struct ipc *p, const void *data, size_t len, int fd)
{
	struct packet *k = xmalloc(sizeof(*k) + len);

	memcpy(k->data, data, len);
	k->len = len;
	k->fd = fd == -1 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	TAILQ_INSERT_TAIL(&p->waiting, k, link);
	p->waiting_bytes += len;
	if (p->waiting_bytes > HIGH_WATER)
		p->was_congested = true;
	if (p->ev_write != NULL)
		event_add(p->ev_write, NULL);
	if (fd != -1 && k->fd == -1)
		fail(p, "no descriptor left to keep a message");
}

int
ipc_send_fd(
    struct ipc *p, enum msg_type type, uint64_t sid, const void *msg, int fd)
{
	static unsigned char out[PROTO_MAX];
	static const struct m_empty empty = { 0 };
	size_t n;

	n = proto_pack(type, sid, msg != NULL ? msg : &empty, out, sizeof(out));
	if (n == 0)
		return -1;
	if (p->dead)
		return 0; /* the owner is about to hear of it */
	if (!TAILQ_EMPTY(&p->waiting) || send_now(p, out, n, fd) == -1) {
		if (TAILQ_EMPTY(&p->waiting) && errno != EAGAIN &&
		    errno != ENOBUFS && errno != ETOOMANYREFS) {
			/* seen by the reader, which tells the owner */
			shutdown(p->fd, SHUT_RDWR);
			return 0;
		}
		keep(p, out, n, fd);
	}
	explicit_bzero(out, n);
	return 0;
}

int
ipc_send(struct ipc *p, enum msg_type type, uint64_t sid, const void *msg)
{
	return ipc_send_fd(p, type, sid, msg, -1);
}

bool
ipc_congested(const struct ipc *p)
{
	return p->was_congested;
}

void
ipc_set_resumed(struct ipc *p, void (*resumed)(struct ipc *))
{
	p->resumed = resumed;
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *p = arg;
	struct packet *k;

	(void)fd, (void)what;
	if (!enter(p))
		return;
	while ((k = TAILQ_FIRST(&p->waiting)) != NULL) {
		if (send_now(p, k->data, k->len, k->fd) == -1)
			break;
		unlink_packet(p, k);
	}
	if (!TAILQ_EMPTY(&p->waiting)) {
		if (errno == EAGAIN || errno == ENOBUFS)
			event_add(p->ev_write, NULL);
		else
			fail(p, "peer closed");
	}
	if (p->was_congested && p->waiting_bytes <= HIGH_WATER / 2) {
		p->was_congested = false;
		if (p->resumed != NULL)
			p->resumed(p);
	}
	leave(p);
}

static int
take_fd(struct msghdr *mh)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(mh);
	int fd;

	if (c == NULL || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* Receives one packet into buf: 1, 0 when none is there, -1 at the end (*why
 * says how).  A descriptor goes to *fd. */
static int
receive(
    struct ipc *p, unsigned char *data, size_t *len, int *fd, const char **why)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = data, .iov_len = PROTO_MAX };
	/* Not CMSG_SPACE: its padding has room for a second descriptor. */
	struct msghdr mh = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = CMSG_LEN(sizeof(int)) };
	ssize_t n;

	do
		n = recvmsg(p->fd, &mh, MSG_CMSG_CLOEXEC);
	while (n == -1 && errno == EINTR);
	if (n == -1 && errno == EAGAIN)
		return 0;
	*fd = n >= 0 ? take_fd(&mh) : -1;
	*len = n > 0 ? (size_t)n : 0;
	if (n > 0 && (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
		return 1;
	*why = n > 0 ? "packet cut or with more than one descriptor"
		     : "peer closed";
	if (*fd != -1)
		close(*fd);
	*fd = -1;
	return -1;
}

static const char *
decode(const unsigned char *data, size_t len, int fd, struct ipc_in *in,
    union msg *m)
{
	const char *why;

	if (proto_unpack(data, len, &in->type, &in->sid, m, &why) == -1)
		return why;
	if (fd != -1 && !proto_may_carry_fd(in->type))
		return "descriptor with a message that carries none";
	in->fd = fd;
	in->m = m;
	return NULL;
}

static const char *
dispatch(struct ipc *p, const unsigned char *data, size_t len, int fd)
{
	const struct ipc_rule *r;
	struct ipc_in in;
	union msg m;
	const char *why;

	if ((why = decode(data, len, fd, &in, &m)) == NULL) {
		for (r = p->rules; r->handler != NULL; r++) {
			if (r->type == in.type) {
				r->handler(p, &in);
				return NULL;
			}
		}
		why = "message out of turn";
	}
	if (fd != -1)
		close(fd);
	return why;
}

static unsigned char *
rx_buffer(int depth)
{
	if (rx[depth] == NULL)
		rx[depth] = xmalloc(PROTO_MAX);
	return rx[depth];
}

/* Handles up to max messages; true when the socket was found empty. */
static bool
handle(struct ipc *p, int max)
{
	unsigned char *data;
	const char *why = NULL;
	size_t len;
	bool empty;
	int fd, n = 1;

	if (rx_depth == DEPTH_MAX || !enter(p))
		return true;
	data = rx_buffer(rx_depth++);
	while (max-- > 0 && !p->dead && why == NULL) {
		if ((n = receive(p, data, &len, &fd, &why)) != 1)
			break;
		why = dispatch(p, data, len, fd);
		explicit_bzero(data, len);
	}
	rx_depth--;
	if (n == -1 || why != NULL)
		fail(p, why);
	empty = n != 1 || p->dead;
	leave(p);
	return empty;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	handle(arg, BURST);
}

void
ipc_drain(struct ipc *p)
{
	while (!handle(p, BURST))
		continue;
}

struct ipc *
ipc_new(struct event_base *base, int fd, const struct ipc_rule *rules,
    ipc_gone *gone, void *arg)
{
	struct ipc *p = xcalloc(1, sizeof(*p));

	p->fd = fd;
	p->rules = rules;
	p->gone = gone;
	p->arg = arg;
	TAILQ_INIT(&p->waiting);
	if (base != NULL) {
		p->ev_read =
		    event_new(base, fd, EV_READ | EV_PERSIST, on_readable, p);
		p->ev_write = event_new(base, fd, EV_WRITE, on_writable, p);
		event_add(p->ev_read, NULL);
	}
	return p;
}

void *
ipc_arg(const struct ipc *p)
{
	return p->arg;
}

int
ipc_fd(const struct ipc *p)
{
	return p->fd;
}

static int
wait_for(int fd, short what)
{
	struct pollfd pf = { .fd = fd, .events = what };
	int n;

	do
		n = poll(&pf, 1, -1);
	while (n == -1 && errno == EINTR);
	return n == -1 ? -1 : 0;
}

int
ipc_recv_wait(struct ipc *p, struct ipc_in *in, const char **why)
{
	static union msg m;
	size_t len;
	int fd = -1, n;

	while ((n = receive(p, rx_buffer(0), &len, &fd, why)) == 0)
		if (wait_for(p->fd, POLLIN) == -1)
			break;
	if (n == 1 && (*why = decode(rx[0], len, fd, in, &m)) == NULL)
		return 0;
	if (fd != -1)
		close(fd);
	return -1;
}

int
ipc_flush_wait(struct ipc *p)
{
	struct packet *k;

	while ((k = TAILQ_FIRST(&p->waiting)) != NULL) {
		if (send_now(p, k->data, k->len, k->fd) == 0)
			unlink_packet(p, k);
		else if (errno != EAGAIN || wait_for(p->fd, POLLOUT) == -1)
			return -1;
	}
	return 0;
}
