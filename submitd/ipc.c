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
#include <time.h>
#include <unistd.h>

#include "mem.h"

enum {
	SEND_BUFFER = 1024 * 1024, /* asked of the kernel; it may give less */
	HIGH_WATER = 256 * 1024,
	BURST = 64, /* packets handled before other events get a turn */
	COLLECT_MAX = 16 * 1024,
	IPC_SEVERAL = 0xffff /* in the place of a message's type */
};

/* Before several messages in a packet, and before each of them. */
struct several {
	uint16_t mark, zero16;
	uint32_t zero32;
};
struct one_of_several {
	uint32_t len, zero32;
};

struct packet {
	TAILQ_ENTRY(packet) link;
	size_t len;
	int fd;
	unsigned char data[];
};
TAILQ_HEAD(packets, packet);

/* A packet that was received, and which of its messages comes next. */
struct arrived {
	const unsigned char *data;
	size_t len, at;
	int fd; /* or -1; of the last message */
	bool several;
};

/* What is collected for a peer. */
struct collected {
	unsigned char *data; /* COLLECT_MAX bytes, or NULL */
	size_t len;
	unsigned n;
	int fd; /* or -1; leaves with the last, the caller has it */
};

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

	enum ipc_order order; /* of what is collected, with ev_leave only */
	struct event *ev_leave;
	struct collected held;
	TAILQ_ENTRY(ipc) link; /* in `collecting` while held has something */

	struct arrived wait; /* of ipc_recv_wait(), in a buffer of its own */
	unsigned char *wait_data;
	size_t wait_most; /* bytes of it that ever had something */

	int depth; /* inside handlers: freeing waits */
	bool dead, rejected;
	const char *why_dead;
};

/* The ends that have collected something, by when it leaves. */
TAILQ_HEAD(ends, ipc);
static struct ends collecting[2] = {
	[IPC_AHEAD] = TAILQ_HEAD_INITIALIZER(collecting[IPC_AHEAD]),
	[IPC_BEHIND] = TAILQ_HEAD_INITIALIZER(collecting[IPC_BEHIND]),
};

/* One receive buffer for the process: roles have one thread, and a handler
 * that receives again (ipc_drain) gets a buffer of the next depth. */
enum { DEPTH_MAX = 3 };
static unsigned char *rx[DEPTH_MAX];
static void (*on_end)(int fd, bool rejected, const char *why);
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
arrived_clear(struct arrived *a)
{
	if (a->len > 0 && a->fd != -1)
		close(a->fd);
	a->at = a->len = 0;
}

static void send_held(struct ipc *);

/* Keys of certificates have been in it.  What nothing was in is left alone:
 * the kernel has no memory for it yet. */
static void
drop_wait_data(struct ipc *p)
{
	arrived_clear(&p->wait);
	freezero(p->wait_data, p->wait_most);
	p->wait_data = NULL;
	p->wait_most = 0;
}

static void
destroy(struct ipc *p)
{
	struct packet *k;

	send_held(p);
	if (p->ev_leave != NULL)
		event_free(p->ev_leave);
	while ((k = TAILQ_FIRST(&p->waiting)) != NULL)
		unlink_packet(p, k);
	if (p->ev_read != NULL)
		event_free(p->ev_read);
	if (p->ev_write != NULL)
		event_free(p->ev_write);
	drop_wait_data(p);
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
	send_held(p); /* what was said before the end counts */
	if (p->depth > 0) {
		p->dead = true;
		p->gone = NULL;
		return;
	}
	destroy(p);
}

static const char closed[] = "peer closed";

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

void
ipc_reject(struct ipc *p, const char *why)
{
	if (!p->dead)
		p->rejected = true;
	fail(p, why);
}

bool
ipc_is_rejected(const struct ipc *p)
{
	return p->rejected;
}

void
ipc_watch_ends(void (*fn)(int fd, bool rejected, const char *why))
{
	on_end = fn;
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
	if (p->gone != NULL && on_end != NULL)
		on_end(p->fd, p->rejected, p->why_dead);
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
}

/* Takes a packet: sends it, or keeps it until it can be sent. */
static void
send_packet(struct ipc *p, const void *data, size_t n, int fd)
{
	if (p->dead)
		return; /* the owner is about to hear of it */
	if (TAILQ_EMPTY(&p->waiting)) {
		if (send_now(p, data, n, fd) == 0)
			return;
		if (errno != EAGAIN && errno != ENOBUFS &&
		    errno != ETOOMANYREFS) {
			/* seen by the reader, which tells the owner */
			shutdown(p->fd, SHUT_RDWR);
			return;
		}
	}
	keep(p, data, n, fd);
}

static void
send_held(struct ipc *p)
{
	struct collected *h = &p->held;
	/* a message alone needs no frame */
	size_t skip = h->n == 1
	    ? sizeof(struct several) + sizeof(struct one_of_several)
	    : 0;

	if (h->n == 0)
		return;
	TAILQ_REMOVE(&collecting[p->order], p, link);
	send_packet(p, h->data + skip, h->len - skip, h->fd);
	freezero(h->data, h->len);
	*h = (struct collected){ .data = NULL };
}

void
ipc_leave(void)
{
	int i;

	for (i = IPC_AHEAD; i <= IPC_BEHIND; i++)
		while (!TAILQ_EMPTY(&collecting[i]))
			send_held(TAILQ_FIRST(&collecting[i]));
}

static void
on_leave(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	ipc_leave();
}

/* While many have something to say, it leaves at each tick of the clock. */
static void
leave_in_time(void)
{
	static struct timespec last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_nsec != last.tv_nsec || now.tv_sec != last.tv_sec)
		ipc_leave();
	last = now;
}

void
ipc_collect(struct ipc *p, struct event_base *base, enum ipc_order order)
{
	p->ev_leave = event_new(base, -1, 0, on_leave, NULL);
	p->order = order;
}

static size_t
padded(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* Adds a message to those that are held; false: they have no room for it. */
static bool
hold_message(struct ipc *p, const void *msg, size_t n)
{
	static const struct several frame = { .mark = IPC_SEVERAL };
	struct one_of_several one = { .len = (uint32_t)n };
	struct collected *h = &p->held;
	size_t at = h->n == 0 ? sizeof(frame) : padded(h->len);

	if (at + sizeof(one) + n > COLLECT_MAX)
		return false;
	if (h->n == 0) {
		h->data = xmalloc(COLLECT_MAX);
		memcpy(h->data, &frame, sizeof(frame));
		h->fd = -1;
		TAILQ_INSERT_TAIL(&collecting[p->order], p, link);
		event_active(p->ev_leave, 0, 0);
	} else
		memset(h->data + h->len, 0, at - h->len);
	memcpy(h->data + at, &one, sizeof(one));
	memcpy(h->data + at + sizeof(one), msg, n);
	h->len = at + sizeof(one) + n;
	h->n++;
	return true;
}

/* A large message gains nothing by company. */
static bool
collects(const struct ipc *p, size_t n)
{
	return p->ev_leave != NULL && n < COLLECT_MAX / 2 && !p->dead;
}

int
ipc_send_fd(
    struct ipc *p, enum msg_type type, uint64_t sid, const void *msg, int fd)
{
	static unsigned char out[PROTO_MAX];
	static const struct m_empty empty = { 0 };
	size_t n;

	n = proto_pack(
	    type, sid, msg != NULL ? msg : &empty, out, sizeof(out));
	if (n == 0)
		return -1;
	if (collects(p, n)) {
		leave_in_time();
		if (!hold_message(p, out, n)) {
			ipc_leave();
			hold_message(p, out, n);
		}
		p->held.fd = fd;
		if (fd != -1)
			ipc_leave();
	} else {
		if (p->ev_leave != NULL)
			ipc_leave(); /* it must not overtake */
		send_packet(p, out, n, fd);
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
			fail(p, closed);
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

/* A packet of no bytes looks like the end. */
static bool
is_shut(int fd)
{
	struct pollfd pf = { .fd = fd, .events = POLLRDHUP };

	return poll(&pf, 1, 0) == 1;
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

	/* A peer that closes with our messages unread makes one ECONNRESET,
	 * before what it has sent. */
	do
		n = recvmsg(p->fd, &mh, MSG_CMSG_CLOEXEC);
	while (n == -1 && (errno == EINTR || errno == ECONNRESET));
	if (n == -1 && errno == EAGAIN)
		return 0;
	*fd = n >= 0 ? take_fd(&mh) : -1;
	*len = n > 0 ? (size_t)n : 0;
	/* Cut, and none is here: this process has no descriptor left, which
	 * is not the peer's fault. */
	if (n > 0 && (mh.msg_flags & MSG_TRUNC) == 0 &&
	    ((mh.msg_flags & MSG_CTRUNC) == 0 || *fd == -1))
		return 1;
	if (n > 0)
		*why = "packet cut or with more than one descriptor";
	else
		*why = n == 0 && !is_shut(p->fd) ? "empty packet" : closed;
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

static bool
is_several(const unsigned char *data, size_t len)
{
	struct several frame;

	if (len < sizeof(frame))
		return false;
	memcpy(&frame, data, sizeof(frame));
	return frame.mark == IPC_SEVERAL && frame.zero16 == 0 &&
	    frame.zero32 == 0;
}

static void
arrived_init(struct arrived *a, const unsigned char *data, size_t len, int fd)
{
	a->data = data;
	a->len = len;
	a->several = is_several(data, len);
	a->at = a->several ? sizeof(struct several) : 0;
	a->fd = fd;
}

static bool
arrived_is_empty(const struct arrived *a)
{
	return a->at >= a->len;
}

/* The next message; there must be one.  NULL, or what is wrong with it. */
static const char *
arrived_next(struct arrived *a, struct ipc_in *in, union msg *m)
{
	struct one_of_several one = { .len = (uint32_t)a->len };
	const unsigned char *data;
	const char *why;
	bool last;

	if (a->several) {
		if (a->len - a->at < sizeof(one))
			return "packet cut";
		memcpy(&one, a->data + a->at, sizeof(one));
		a->at += sizeof(one);
		if (one.zero32 != 0 || one.len > a->len - a->at)
			return "packet cut";
	}
	data = a->data + a->at;
	last = one.len == a->len - a->at;
	a->at = last ? a->len : padded(a->at + one.len);
	why = decode(data, one.len, last ? a->fd : -1, in, m);
	if (last && why == NULL)
		a->fd = -1; /* the receiver's now */
	return why;
}

static const char *
dispatch(struct ipc *p, const struct ipc_in *in)
{
	const struct ipc_rule *r;

	for (r = p->rules; r->handler != NULL; r++) {
		if (r->type == in->type) {
			r->handler(p, in);
			return NULL;
		}
	}
	if (in->fd != -1)
		close(in->fd);
	return "message out of turn";
}

/* All messages of a packet, unless one of them ends the connection. */
static const char *
dispatch_all(struct ipc *p, const unsigned char *data, size_t len, int fd)
{
	const char *why = NULL;
	struct arrived a;
	struct ipc_in in;
	union msg m;

	arrived_init(&a, data, len, fd);
	while (why == NULL && !p->dead && !arrived_is_empty(&a))
		if ((why = arrived_next(&a, &in, &m)) == NULL)
			why = dispatch(p, &in);
	arrived_clear(&a);
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
	drop_wait_data(p); /* the loop has taken over */
	data = rx_buffer(rx_depth++);
	while (max-- > 0 && !p->dead && why == NULL) {
		if ((n = receive(p, data, &len, &fd, &why)) != 1)
			break;
		why = dispatch_all(p, data, len, fd);
		explicit_bzero(data, len);
	}
	rx_depth--;
	if (why == closed)
		fail(p, why);
	else if (why != NULL)
		ipc_reject(p, why);
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

bool
ipc_readable(const struct ipc *p)
{
	struct pollfd pf = { .fd = p->fd, .events = POLLIN };

	return !arrived_is_empty(&p->wait) || poll(&pf, 1, 0) == 1;
}

int
ipc_recv_wait(struct ipc *p, struct ipc_in *in, const char **why)
{
	static union msg m;
	size_t len;
	int fd = -1, n = 1;

	if (p->wait_data == NULL)
		p->wait_data = xmalloc(PROTO_MAX);
	if (arrived_is_empty(&p->wait)) {
		while ((n = receive(p, p->wait_data, &len, &fd, why)) == 0)
			if (wait_for(p->fd, POLLIN) == -1)
				break;
		if (n != 1)
			return -1;
		if (len > p->wait_most)
			p->wait_most = len;
		arrived_init(&p->wait, p->wait_data, len, fd);
	}
	if ((*why = arrived_next(&p->wait, in, &m)) == NULL)
		return 0;
	arrived_clear(&p->wait);
	return -1;
}

int
ipc_flush_wait(struct ipc *p)
{
	struct packet *k;

	ipc_leave();
	while ((k = TAILQ_FIRST(&p->waiting)) != NULL) {
		if (send_now(p, k->data, k->len, k->fd) == 0)
			unlink_packet(p, k);
		else if (errno != EAGAIN || wait_for(p->fd, POLLOUT) == -1)
			return -1;
	}
	return 0;
}
