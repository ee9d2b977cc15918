/* submitd/ipc.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "submitd/ipc.h"

/* One end under test, and what it was told. */
struct end {
	struct ipc *ipc;
	unsigned got, gone, resumed;
	uint64_t sid; /* of the last message */
	char text[64];
	char why[128];
	bool rejected; /* at the end */
	int fd;
	struct end *other; /* on_free, on_drain: whom it concerns */
};

struct fixture {
	struct event_base *base;
	int raw; /* the peer's end where a test speaks bytes itself */
	struct end a, b;
};

static void
on_text(struct ipc *p, const struct ipc_in *in)
{
	struct end *e = ipc_arg(p);

	e->got++;
	e->sid = in->sid;
	snprintf(e->text, sizeof(e->text), "%s", in->m->text.text);
}

static void
on_listen(struct ipc *p, const struct ipc_in *in)
{
	struct end *e = ipc_arg(p);

	e->got++;
	e->fd = in->fd;
}

static void
on_free(struct ipc *p, const struct ipc_in *in)
{
	struct end *e = ipc_arg(p);

	(void)in;
	e->got++;
	ipc_free(&e->ipc);
}

/* A handler that looks at another socket first. */
static void
on_drain(struct ipc *p, const struct ipc_in *in)
{
	struct end *e = ipc_arg(p);

	(void)in;
	ipc_drain(e->other->ipc);
	e->sid = e->other->got;
}

static void
on_reject(struct ipc *p, const struct ipc_in *in)
{
	struct end *e = ipc_arg(p);

	(void)in;
	e->got++;
	ipc_reject(p, "not from you");
}

static const struct ipc_rule rules[] = {
	{ M_REPAIR, on_reject },
	{ M_SESSION_KILL, on_text },
	{ M_LISTEN, on_listen },
	{ M_AUTH_CANCEL, on_free },
	{ M_READY, on_drain },
	{ 0, NULL },
};

static void
on_gone(struct ipc *p, const char *why)
{
	struct end *e = ipc_arg(p);

	e->gone++;
	e->rejected = ipc_is_rejected(p);
	snprintf(e->why, sizeof(e->why), "%s", why);
	e->ipc = NULL;
}

static void
on_resumed(struct ipc *p)
{
	((struct end *)ipc_arg(p))->resumed++;
}

static int
up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd[2];

	assert_non_null(f);
	assert_int_equal(ipc_pair(fd), 0);
	f->base = event_base_new();
	f->raw = -1;
	f->a.fd = f->b.fd = -1;
	f->a.ipc = ipc_new(f->base, fd[0], rules, on_gone, &f->a);
	f->b.ipc = ipc_new(f->base, fd[1], rules, on_gone, &f->b);
	*state = f;
	return 0;
}

/* b is bytes of the test's own. */
static int
up_raw(void **state)
{
	struct fixture *f;

	up(state);
	f = *state;
	f->raw = dup(ipc_fd(f->b.ipc));
	ipc_free(&f->b.ipc);
	return 0;
}

static int
down(void **state)
{
	struct fixture *f = *state;

	ipc_free(&f->a.ipc);
	ipc_free(&f->b.ipc);
	if (f->raw != -1)
		close(f->raw);
	event_base_free(f->base);
	free(f);
	return 0;
}

/* Until there is nothing to do. */
static void
turn(struct fixture *f)
{
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void
say(struct end *e, uint64_t sid, const char *text)
{
	struct m_text m = { .text = text };

	assert_int_equal(ipc_send(e->ipc, M_SESSION_KILL, sid, &m), 0);
}

static unsigned
open_descriptors(void)
{
	unsigned n = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

/* ---- messages ---- */

static void
test_both_ways(void **state)
{
	struct fixture *f = *state;

	say(&f->a, 5, "to b");
	say(&f->b, 6, "to a");
	turn(f);
	assert_int_equal(f->b.got, 1);
	assert_true(f->b.sid == 5);
	assert_string_equal(f->b.text, "to b");
	assert_int_equal(f->a.got, 1);
	assert_string_equal(f->a.text, "to a");
}

static void
test_too_long_is_not_sent(void **state)
{
	struct fixture *f = *state;
	static char big[4000];
	struct m_text m = { .text = big };

	memset(big, 'x', sizeof(big) - 1);
	assert_int_equal(ipc_send(f->a.ipc, M_SESSION_KILL, 0, &m), -1);
	say(&f->a, 1, "after");
	turn(f);
	assert_int_equal(f->b.got, 1);
	assert_string_equal(f->b.text, "after");
}

static void
test_descriptor(void **state)
{
	struct fixture *f = *state;
	struct m_listen m = { .kind = LISTEN_TLS, .name = "x" };
	unsigned before = open_descriptors();
	int p[2];
	char c = 0;

	assert_int_equal(pipe(p), 0);
	assert_int_equal(ipc_send_fd(f->a.ipc, M_LISTEN, 0, &m, p[1]), 0);
	turn(f);
	assert_int_equal(f->b.got, 1);
	assert_int_not_equal(f->b.fd, -1);
	assert_int_not_equal(f->b.fd, p[1]); /* the sender keeps its own */
	assert_int_equal(fcntl(f->b.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(write(f->b.fd, "y", 1), 1);
	assert_int_equal(read(p[0], &c, 1), 1);
	assert_int_equal(c, 'y');
	close(p[0]);
	close(p[1]);
	close(f->b.fd);
	/* one that could come, but didn't */
	assert_int_equal(ipc_send(f->a.ipc, M_LISTEN, 0, &m), 0);
	turn(f);
	assert_int_equal(f->b.fd, -1);
	assert_int_equal(open_descriptors(), before);
}

static void
test_descriptor_out_of_place(void **state)
{
	struct fixture *f = *state;
	struct m_text m = { .text = "with a descriptor" };
	unsigned before = open_descriptors();

	assert_int_equal(ipc_send_fd(f->a.ipc, M_SESSION_KILL, 0, &m, 0), 0);
	turn(f);
	assert_int_equal(f->b.got, 0);
	assert_int_equal(f->b.gone, 1);
	assert_non_null(strstr(f->b.why, "descriptor"));
	assert_int_equal(open_descriptors(), before - 2); /* both ends */
}

/* ---- peers that break the rules ---- */

static void
test_out_of_turn(void **state)
{
	struct fixture *f = *state;
	struct m_text m = { .text = "" };
	unsigned before = open_descriptors();

	assert_int_equal(ipc_send(f->a.ipc, M_REFUSED, 0, &m), 0);
	say(&f->a, 1, "too late");
	turn(f);
	assert_int_equal(f->b.got, 0);
	assert_int_equal(f->b.gone, 1);
	assert_string_equal(f->b.why, "message out of turn");
	assert_true(f->b.rejected);
	assert_int_equal(f->a.gone, 1);
	assert_string_equal(f->a.why, "peer closed");
	assert_int_equal(open_descriptors(), before - 2);
}

/* A descriptor with a message that isn't listed is closed as well. */
static void
test_out_of_turn_with_descriptor(void **state)
{
	struct fixture *f = *state;
	struct m_peer m = { .role = ROLE_FRONT };
	unsigned before = open_descriptors();

	assert_int_equal(ipc_send_fd(f->a.ipc, M_PEER, 0, &m, 0), 0);
	turn(f);
	assert_int_equal(f->b.gone, 1);
	assert_int_equal(open_descriptors(), before - 2);
}

static void
test_garbage(void **state)
{
	static const struct {
		const char *name;
		size_t len;
		const char *why;
	} rows[] = {
		{ "one byte", 1, "packet too short" },
		{ "a header of zeroes and no fields", 16, "packet too short" },
		{ "larger than any packet", PROTO_MAX + 1, "packet cut" },
	};
	static unsigned char zeroes[PROTO_MAX + 1];
	struct fixture *f;
	void *s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		up_raw(&s);
		f = s;
		assert_int_equal(
		    send(f->raw, zeroes, rows[i].len, 0), (ssize_t)rows[i].len);
		turn(f);
		if (f->a.gone != 1 || strstr(f->a.why, rows[i].why) == NULL)
			fail_msg("%s: %s", rows[i].name, f->a.why);
		down(&s);
	}
}

static rlim_t
limit_descriptors(rlim_t n)
{
	struct rlimit r;
	rlim_t before;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
	before = r.rlim_cur;
	r.rlim_cur = n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
	return before;
}

/* The receiver has none left: its own trouble, no reason to part. */
static void
test_no_descriptor_left(void **state)
{
	struct fixture *f = *state;
	const struct m_listen m = { .name = "x" };
	int fd = dup(0), next = dup(0);
	rlim_t before;

	close(next);
	before = limit_descriptors((rlim_t)next);
	f->b.fd = 99;
	assert_int_equal(ipc_send_fd(f->a.ipc, M_LISTEN, 0, &m, fd), 0);
	turn(f);
	limit_descriptors(before);
	assert_int_equal(f->b.got, 1);
	assert_int_equal(f->b.fd, -1);
	assert_int_equal(f->b.gone, 0);
	assert_int_equal(ipc_send_fd(f->a.ipc, M_LISTEN, 0, &m, fd), 0);
	turn(f);
	assert_int_equal(f->b.got, 2);
	assert_true(f->b.fd != -1);
	close(f->b.fd);
	close(fd);
}

/* The sender has none left to keep a message that has to wait. */
static void
test_no_descriptor_to_keep(void **state)
{
	struct fixture *f = *state;
	const struct m_listen m = { .name = "x" };
	int fd = dup(0), next = dup(0);
	rlim_t before;
	unsigned n = 0;

	close(next);
	fcntl(ipc_fd(f->b.ipc), F_SETFL, O_NONBLOCK);
	while (!ipc_congested(f->a.ipc)) {
		const struct m_text t = { .text = "filler" };

		ipc_send(f->a.ipc, M_SESSION_KILL, 0, &t);
		n++;
	}
	before = limit_descriptors((rlim_t)next);
	f->b.fd = 99;
	assert_int_equal(ipc_send_fd(f->a.ipc, M_LISTEN, 0, &m, fd), 0);
	limit_descriptors(before);
	while (f->b.got < n + 1 && f->a.gone + f->b.gone == 0)
		turn(f);
	assert_int_equal(f->a.gone + f->b.gone, 0);
	assert_int_equal(f->b.fd, -1);
	close(fd);
}

static void
test_two_descriptors(void **state)
{
	struct fixture *f = *state;
	struct m_listen m = { .name = "x" };
	unsigned char data[256];
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = data,
		.iov_len = proto_pack(M_LISTEN, 0, &m, data, sizeof(data)) };
	struct msghdr mh = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	int fds[2] = { 0, 1 };
	unsigned before = open_descriptors();

	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	control.h.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.h), fds, sizeof(fds));
	assert_true(sendmsg(f->raw, &mh, 0) > 0);
	turn(f);
	assert_int_equal(f->a.got, 0);
	assert_int_equal(f->a.gone, 1);
	assert_int_equal(open_descriptors(), before - 1);
}

/* A descriptor doesn't stay that comes with what is no packet. */
static void
test_descriptor_without_packet(void **state)
{
	static const size_t lengths[] = { 0, 1, PROTO_MAX + 1 };
	static unsigned char data[PROTO_MAX + 1];
	struct fixture *f;
	void *s;
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = data };
	struct msghdr mh = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	unsigned before;
	size_t i;

	(void)state;
	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	control.h.cmsg_len = CMSG_LEN(sizeof(int));
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		up_raw(&s);
		f = s;
		before = open_descriptors();
		iov.iov_len = lengths[i];
		assert_int_equal(sendmsg(f->raw, &mh, 0), lengths[i]);
		turn(f);
		if (f->a.gone != 1 || open_descriptors() != before - 1)
			fail_msg("%zu bytes: %u descriptors, %u before",
			    lengths[i], open_descriptors(), before);
		down(&s);
	}
}

/* It reads like the end, but the peer is still there. */
static void
test_empty_packet_is_not_the_end(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send(f->raw, "", 0, 0), 0);
	turn(f);
	assert_int_equal(f->a.gone, 1);
	assert_true(f->a.rejected);
	assert_string_equal(f->a.why, "empty packet");
}

/* What the watcher of all ends was told last. */
static struct {
	unsigned n;
	int fd;
	bool rejected;
	char why[64];
} ended;

static void
on_end(int fd, bool rejected, const char *why)
{
	ended.n++;
	ended.fd = fd;
	ended.rejected = rejected;
	snprintf(ended.why, sizeof(ended.why), "%s", why);
}

/* A handler's no: it was the last message of this peer. */
static void
test_reject(void **state)
{
	struct fixture *f = *state;
	int fd = ipc_fd(f->b.ipc);

	memset(&ended, 0, sizeof(ended));
	ipc_watch_ends(on_end);
	ipc_collect(f->a.ipc, f->base, IPC_BEHIND); /* in one packet */
	ipc_send(f->a.ipc, M_REPAIR, 1, NULL);
	say(&f->a, 1, "too late");
	ipc_leave();
	event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(f->b.got, 1);
	assert_int_equal(f->b.gone, 1);
	assert_true(f->b.rejected);
	assert_string_equal(f->b.why, "not from you");
	assert_int_equal(ended.n, 1);
	assert_int_equal(ended.fd, fd);
	assert_true(ended.rejected);
	assert_string_equal(ended.why, "not from you");
	turn(f); /* for the other it is a common end */
	assert_int_equal(f->a.gone, 1);
	assert_false(f->a.rejected);
	assert_int_equal(ended.n, 2);
	assert_false(ended.rejected);
	ipc_watch_ends(NULL);
}

/* ---- the end ---- */

static void
test_peer_closes(void **state)
{
	struct fixture *f = *state;

	say(&f->a, 1, "last words");
	ipc_free(&f->a.ipc);
	assert_null(f->a.ipc);
	ipc_free(&f->a.ipc);
	turn(f);
	assert_int_equal(f->b.got, 1);
	assert_int_equal(f->b.gone, 1);
	assert_string_equal(f->b.why, "peer closed");
	assert_false(f->b.rejected);
	assert_int_equal(f->a.gone, 0); /* who frees is not told */
}

/* It has not read all that we sent: the kernel then tells of the reset before
 * it gives what the peer sent. */
static void
test_peer_closes_unread(void **state)
{
	struct fixture *f = *state;

	say(&f->a, 1, "never read");
	say(&f->b, 2, "last words");
	ipc_free(&f->b.ipc);
	turn(f);
	assert_int_equal(f->a.got, 1);
	assert_string_equal(f->a.text, "last words");
	assert_int_equal(f->a.gone, 1);
	assert_string_equal(f->a.why, "peer closed");
}

static void
test_send_to_nobody(void **state)
{
	struct fixture *f = *state;

	ipc_free(&f->b.ipc);
	say(&f->a, 1, "anybody?");
	assert_int_equal(f->a.gone, 0); /* not from inside ipc_send() */
	say(&f->a, 2, "hello?");
	turn(f);
	assert_int_equal(f->a.gone, 1);
}

static void
test_free_in_handler(void **state)
{
	struct fixture *f = *state;

	ipc_send(f->a.ipc, M_AUTH_CANCEL, 0, NULL);
	say(&f->a, 1, "not seen any more");
	turn(f);
	assert_null(f->b.ipc);
	assert_int_equal(f->b.got, 1);
	assert_int_equal(f->b.gone, 0);
}

/* ---- when the socket is full ---- */

static void
fill(struct fixture *f, unsigned n)
{
	static char text[900];
	struct m_text m = { .text = text };
	unsigned i;

	memset(text, 'x', sizeof(text) - 1);
	for (i = 0; i < n; i++)
		assert_int_equal(ipc_send(f->a.ipc, M_SESSION_KILL, i, &m), 0);
}

static void
test_congestion(void **state)
{
	struct fixture *f = *state;
	enum { MANY = 4000 }; /* 3.6 MB: more than any socket takes */

	ipc_set_resumed(f->a.ipc, on_resumed);
	assert_false(ipc_congested(f->a.ipc));
	fill(f, MANY);
	assert_true(ipc_congested(f->a.ipc));
	assert_int_equal(f->a.resumed, 0);
	while (f->b.got < MANY) {
		unsigned before = f->b.got;

		turn(f);
		assert_true(f->b.got > before);
	}
	assert_int_equal(f->b.got, MANY);
	assert_true(f->b.sid == MANY - 1);
	assert_false(ipc_congested(f->a.ipc));
	assert_int_equal(f->a.resumed, 1);
}

/* What waits keeps its descriptor, though the sender closes its own. */
static void
test_descriptor_waits(void **state)
{
	struct fixture *f = *state;
	struct m_listen m = { .name = "x" };
	unsigned before = open_descriptors();
	int p[2];

	fill(f, 4000);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(ipc_send_fd(f->a.ipc, M_LISTEN, 0, &m, p[1]), 0);
	close(p[1]);
	while (f->b.fd == -1)
		turn(f);
	assert_int_equal(f->b.got, 4001);
	assert_int_equal(write(f->b.fd, "y", 1), 1);
	close(p[0]);
	close(f->b.fd);
	assert_int_equal(open_descriptors(), before);
}

static void
test_freed_while_waiting(void **state)
{
	struct fixture *f = *state;
	struct m_listen m = { .name = "x" };
	unsigned before = open_descriptors();

	fill(f, 4000);
	assert_int_equal(ipc_send_fd(f->a.ipc, M_LISTEN, 0, &m, 0), 0);
	ipc_free(&f->a.ipc);
	assert_int_equal(open_descriptors(), before - 1);
}

/* One peer doesn't keep the loop from others for ever. */
static void
test_burst_is_bounded(void **state)
{
	struct fixture *f = *state;

	fill(f, 150);
	event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_in_range(f->b.got, 1, 100);
	ipc_drain(f->b.ipc);
	assert_int_equal(f->b.got, 150);
}

/* ---- ipc_drain ---- */

static void
test_drain_in_handler(void **state)
{
	struct fixture *f = *state;
	struct end c = { .fd = -1, .other = &f->b }, d = { .fd = -1 };
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	c.ipc = ipc_new(f->base, fd[0], rules, on_gone, &c);
	d.ipc = ipc_new(f->base, fd[1], rules, on_gone, &d);
	fill(f, 150);
	ipc_send(d.ipc, M_READY, 0, NULL);
	ipc_drain(c.ipc); /* handles M_READY: looks at b first */
	assert_int_equal(c.sid, 150);
	/* The one that is drained goes away meanwhile. */
	ipc_send(f->a.ipc, M_AUTH_CANCEL, 0, NULL);
	fill(f, 3);
	ipc_send(d.ipc, M_READY, 0, NULL);
	ipc_drain(c.ipc);
	assert_null(f->b.ipc);
	assert_int_equal(c.sid, 151);
	ipc_free(&c.ipc);
	ipc_free(&d.ipc);
}

static void
test_drain_to_the_end(void **state)
{
	struct fixture *f = *state;

	say(&f->a, 1, "last");
	ipc_free(&f->a.ipc);
	ipc_drain(f->b.ipc);
	assert_int_equal(f->b.got, 1);
	assert_int_equal(f->b.gone, 1);
	assert_null(f->b.ipc);
}

/* ---- before the loop runs ---- */

static void
test_blocking(void **state)
{
	struct fixture *f = *state;
	struct m_text m = { .text = "hello" };
	struct ipc *p, *o;
	struct ipc_in in;
	const char *why = NULL;
	int fd[2];

	(void)f;
	assert_int_equal(ipc_pair(fd), 0);
	p = ipc_new(NULL, fd[0], rules, on_gone, NULL);
	o = ipc_new(NULL, fd[1], rules, on_gone, NULL);
	assert_int_equal(ipc_send(p, M_SESSION_KILL, 7, &m), 0);
	assert_int_equal(ipc_flush_wait(p), 0);
	assert_int_equal(ipc_recv_wait(o, &in, &why), 0);
	assert_int_equal(in.type, M_SESSION_KILL);
	assert_true(in.sid == 7);
	assert_string_equal(in.m->text.text, "hello");
	assert_int_equal(in.fd, -1);
	assert_int_equal(send(fd[0], "x", 1, 0), 1);
	assert_int_equal(ipc_recv_wait(o, &in, &why), -1);
	assert_string_equal(why, "packet too short");
	ipc_free(&p);
	assert_int_equal(ipc_recv_wait(o, &in, &why), -1);
	assert_string_equal(why, "peer closed");
	ipc_free(&o);
}

/* ---- several messages in a packet ---- */

/* Packets that wait at b, which are taken away. */
static unsigned
packets_at(const struct end *e)
{
	static char data[PROTO_MAX];
	unsigned n = 0;

	while (recv(ipc_fd(e->ipc), data, sizeof(data), MSG_DONTWAIT) > 0)
		n++;
	return n;
}

/* They leave after what is being handled, those of others at once. */
static void
test_collected(void **state)
{
	struct fixture *f = *state;

	ipc_collect(f->a.ipc, f->base, IPC_BEHIND);
	say(&f->a, 1, "one");
	say(&f->a, 2, "twenty-two");
	say(&f->b, 9, "another peer's do not wait");
	assert_int_equal(packets_at(&f->a), 1);
	assert_int_equal(packets_at(&f->b), 0);
	turn(f);
	turn(f);
	assert_int_equal(f->b.got, 2);
	assert_true(f->b.sid == 2);
	assert_string_equal(f->b.text, "twenty-two");

	say(&f->a, 3, "three");
	say(&f->a, 4, "four");
	ipc_leave();
	ipc_leave(); /* nothing is left */
	say(&f->a, 5, "five");
	ipc_leave();
	assert_int_equal(packets_at(&f->b), 2);
}

static void
test_collected_descriptor(void **state)
{
	struct fixture *f = *state;
	struct m_listen m = { .name = "x" };
	unsigned before = open_descriptors();

	ipc_collect(f->a.ipc, f->base, IPC_BEHIND);
	say(&f->a, 1, "before");
	assert_int_equal(ipc_send_fd(f->a.ipc, M_LISTEN, 0, &m, 0), 0);
	say(&f->a, 2, "after");
	ipc_drain(f->b.ipc); /* the descriptor does not wait */
	assert_int_equal(f->b.got, 2);
	assert_string_equal(f->b.text, "before");
	assert_int_not_equal(f->b.fd, -1);
	close(f->b.fd);
	ipc_leave();
	turn(f);
	assert_int_equal(f->b.got, 3);
	assert_string_equal(f->b.text, "after");
	/* It is the last message's, which must be one that may bring it. */
	assert_int_equal(ipc_send(f->a.ipc, M_LISTEN, 0, &m), 0);
	assert_int_equal(
	    ipc_send_fd(f->a.ipc, M_SESSION_KILL, 0,
		&(struct m_text){ .text = "" }, 0),
	    0);
	turn(f);
	assert_int_equal(f->b.gone, 1);
	assert_int_equal(open_descriptors(), before - 2);
}

/* More than a packet takes leaves in several, a large message alone, in order. */
static void
test_collected_too_much(void **state)
{
	static char big[1000], large[32768];
	struct fixture *f = *state;
	struct m_submit m = { .txn = 1, .body = { large, sizeof(large) } };
	unsigned i;

	memset(big, 'x', sizeof(big) - 1);
	ipc_collect(f->a.ipc, f->base, IPC_BEHIND);
	for (i = 0; i < 40; i++)
		say(&f->a, i, big);
	ipc_leave();
	assert_int_equal(packets_at(&f->b), 3);
	say(&f->a, 1, "small");
	assert_int_equal(ipc_send(f->a.ipc, M_SUBMIT, 2, &m), 0);
	assert_int_equal(packets_at(&f->b), 2);
	for (i = 0; i < 300; i++)
		say(&f->a, i, big);
	ipc_leave();
	turn(f);
	assert_int_equal(f->b.got, 300);
	assert_true(f->b.sid == 299);
}

static bool
same_tick(const struct timespec *then)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec == then->tv_sec && now.tv_nsec == then->tv_nsec;
}

/* The first of many that are long handled need not wait for the last. */
static void
test_collected_long_ago(void **state)
{
	struct fixture *f = *state;
	struct timespec then;

	ipc_collect(f->a.ipc, f->base, IPC_BEHIND);
	say(&f->a, 1, "early");
	clock_gettime(CLOCK_MONOTONIC_COARSE, &then);
	while (same_tick(&then))
		continue;
	assert_int_equal(packets_at(&f->b), 0);
	say(&f->a, 2, "late");
	assert_int_equal(packets_at(&f->b), 1);
	ipc_leave();
	assert_int_equal(packets_at(&f->b), 1);
}

/* In its own handler, too: what it said before still leaves. */
static void
test_freed_in_handler_while_collecting(void **state)
{
	struct fixture *f = *state;

	ipc_collect(f->b.ipc, f->base, IPC_BEHIND);
	say(&f->b, 1, "the last word");
	assert_int_equal(ipc_send(f->a.ipc, M_AUTH_CANCEL, 0, NULL), 0);
	ipc_drain(f->b.ipc);
	assert_null(f->b.ipc);
	turn(f);
	assert_int_equal(f->a.got, 1);
	assert_int_equal(f->a.gone, 1);
}

/* Who is ahead has his before the others have theirs, whoever causes it. */
static void
test_collected_ahead(void **state)
{
	static const char large[9000];
	struct m_submit m = { .txn = 1, .body = { large, sizeof(large) } };
	struct fixture *f = *state;
	struct end c = { .fd = -1 }, d = { .fd = -1, .other = &f->b };
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	c.ipc = ipc_new(f->base, fd[0], rules, on_gone, &c);
	d.ipc = ipc_new(f->base, fd[1], rules, on_gone, &d);
	ipc_collect(c.ipc, f->base, IPC_BEHIND);
	ipc_collect(f->a.ipc, f->base, IPC_AHEAD);
	ipc_send(c.ipc, M_READY, 1, NULL); /* d looks at b then */
	say(&f->a, 1, "first");
	turn(f);
	assert_true(d.sid == 1);

	say(&f->a, 2, "first again");
	assert_int_equal(ipc_send(c.ipc, M_SUBMIT, 1, &m), 0);
	assert_int_equal(packets_at(&f->b), 1);
	ipc_free(&c.ipc);
	ipc_free(&d.ipc);
}

/* What was said before the end arrives, as if it had left at once. */
static void
test_freed_while_collecting(void **state)
{
	struct fixture *f = *state;

	ipc_collect(f->a.ipc, f->base, IPC_BEHIND);
	say(&f->a, 1, "the last word");
	ipc_free(&f->a.ipc);
	turn(f);
	assert_int_equal(f->b.got, 1);
	assert_int_equal(f->b.gone, 1);
}

static void
test_freed_by_the_first(void **state)
{
	struct fixture *f = *state;

	ipc_collect(f->a.ipc, f->base, IPC_BEHIND);
	assert_int_equal(ipc_send(f->a.ipc, M_AUTH_CANCEL, 0, NULL), 0);
	say(&f->a, 1, "to nobody");
	turn(f);
	turn(f);
	assert_int_equal(f->b.got, 1);
	assert_null(f->b.ipc);
	assert_int_equal(f->b.gone, 0);
}

static void
test_bad_frames(void **state)
{
	enum { MARK = 0xffff };
	/* the packet has this frame, then a good message of 32 bytes with
	 * this length before it, then `more` bytes */
	static const struct {
		const char *name;
		uint16_t mark, zero16;
		uint32_t len, zero32;
		size_t more;
		unsigned got;
		const char *why;
	} rows[] = {
		{ "good", MARK, 0, 32, 0, 0, 1, "" },
		{ "filled up to 8 bytes", MARK, 0, 32, 0, 7, 1, "packet cut" },
		{ "a second one of no bytes", MARK, 0, 32, 0, 8, 1,
		    "packet too short" },
		{ "longer than the packet", MARK, 0, 33, 0, 0, 0, "packet cut" },
		{ "as long as can be said", MARK, 0, UINT32_MAX, 0, 0, 0,
		    "packet cut" },
		{ "cut", MARK, 0, 31, 0, 0, 0, "packet too short" },
		{ "no zero before it", MARK, 0, 32, 1, 0, 0, "packet cut" },
		{ "no zero in the frame", MARK, 1, 32, 0, 0, 0,
		    "unknown type" },
		{ "another mark", MARK - 1, 0, 32, 0, 0, 0, "unknown type" },
	};
	struct m_text m = { .text = "12345678901" };
	unsigned char data[64];
	uint32_t zero32 = 0;
	struct fixture *f;
	void *s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(data, 0, sizeof(data));
		memcpy(data, &rows[i].mark, 2);
		memcpy(data + 2, &rows[i].zero16, 2);
		memcpy(data + 4, &zero32, 4);
		memcpy(data + 8, &rows[i].len, 4);
		memcpy(data + 12, &rows[i].zero32, 4);
		assert_int_equal(
		    proto_pack(M_SESSION_KILL, 1, &m, data + 16, 48), 32);
		up_raw(&s);
		f = s;
		assert_true(send(f->raw, data, 48 + rows[i].more, 0) > 0);
		turn(f);
		if (f->a.got != rows[i].got ||
		    f->a.gone != (rows[i].why[0] != '\0') ||
		    strcmp(f->a.why, rows[i].why) != 0)
			fail_msg("%s: %u %s", rows[i].name, f->a.got, f->a.why);
		down(&s);
	}
}

/* Each of them, by the blocking way. */
static void
test_blocking_several(void **state)
{
	struct fixture *f = *state;
	struct m_text m = { .text = "first" };
	struct m_listen l = { .name = "x" };
	unsigned before = open_descriptors();
	struct ipc *p, *o;
	struct ipc_in in;
	const char *why = NULL;
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	p = ipc_new(NULL, fd[0], rules, on_gone, NULL);
	o = ipc_new(NULL, fd[1], rules, on_gone, NULL);
	ipc_collect(p, f->base, IPC_BEHIND);
	assert_false(ipc_readable(o));
	assert_int_equal(ipc_send(p, M_SESSION_KILL, 7, &m), 0);
	assert_int_equal(ipc_send_fd(p, M_LISTEN, 8, &l, 0), 0);
	assert_true(ipc_readable(o));
	assert_int_equal(ipc_recv_wait(o, &in, &why), 0);
	assert_true(in.sid == 7);
	assert_string_equal(in.m->text.text, "first");
	assert_int_equal(in.fd, -1);
	assert_true(ipc_readable(o));
	assert_int_equal(ipc_recv_wait(o, &in, &why), 0);
	assert_true(in.sid == 8);
	assert_int_not_equal(in.fd, -1);
	close(in.fd);
	assert_false(ipc_readable(o));
	/* and one that nobody takes */
	assert_int_equal(ipc_send(p, M_SESSION_KILL, 7, &m), 0);
	assert_int_equal(ipc_send_fd(p, M_LISTEN, 8, &l, 0), 0);
	assert_int_equal(ipc_recv_wait(o, &in, &why), 0);
	ipc_free(&p);
	ipc_free(&o);
	assert_int_equal(open_descriptors(), before);
}

#define T(f)   cmocka_unit_test_setup_teardown(f, up, down)
#define RAW(f) cmocka_unit_test_setup_teardown(f, up_raw, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_both_ways),
		T(test_too_long_is_not_sent),
		T(test_descriptor),
		T(test_descriptor_out_of_place),
		T(test_out_of_turn),
		T(test_out_of_turn_with_descriptor),
		cmocka_unit_test(test_garbage),
		T(test_no_descriptor_left),
		T(test_no_descriptor_to_keep),
		RAW(test_two_descriptors),
		cmocka_unit_test(test_descriptor_without_packet),
		RAW(test_empty_packet_is_not_the_end),
		T(test_reject),
		T(test_peer_closes),
		T(test_peer_closes_unread),
		T(test_send_to_nobody),
		T(test_free_in_handler),
		T(test_congestion),
		T(test_descriptor_waits),
		T(test_freed_while_waiting),
		T(test_burst_is_bounded),
		T(test_drain_in_handler),
		T(test_drain_to_the_end),
		T(test_blocking),
		T(test_collected),
		T(test_collected_descriptor),
		T(test_collected_too_much),
		T(test_collected_ahead),
		T(test_collected_long_ago),
		T(test_freed_in_handler_while_collecting),
		T(test_freed_while_collecting),
		T(test_freed_by_the_first),
		cmocka_unit_test(test_bad_frames),
		T(test_blocking_several),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
