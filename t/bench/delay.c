/*
 * delay.c: a TCP proxy that puts a server far away.
 *
 *	delay --to ADDRESS:PORT [--listen ADDRESS:PORT] [--ms N]
 *
 * Every byte, and the end of a direction, arrives N ms (default 25) after it
 * came, either way, so that a round trip takes 2 N ms longer.  Bandwidth is not
 * limited, nothing is lost, and nothing waits for anything but its time.
 *
 * The client's connect() succeeds at once, for it is the kernel that answers.
 * To make up for that the server hears of the connection only after 3 N ms, as
 * long as the three packets of a TCP handshake would travel: who waits for a
 * greeting gets it after 4 N ms, as from a server that far away, and a client
 * that speaks first is not heard earlier than there.
 *
 * A direction that ends is ended towards the receiver, and the other goes on
 * (RFC 9293 section 3.6); a reset is passed on as one.  The port is printed
 * first, counters upon SIGTERM, which is the end.
 */
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "bench.h"

#define CHUNK   65536
#define BACKLOG (16 << 20) /* octets of a direction: then reading stops */

/* A socket, with the direction that ends here. */
struct end {
	struct link *link;
	struct end *other;
	int fd; /* -1: not connected yet, or over */
	uint32_t events;
	bool silent;          /* it has sent its last byte */
	bool end_due, ended;  /* so has the other; passed on */
	struct bench_buf out; /* due, but the socket has no room for it */
	size_t pending;       /* octets on their way here, or in out */
};

struct link {
	struct end client, server;
	bool broken;            /* by a reset */
	bool dead;              /* in the list of those to be freed */
	unsigned long underway; /* parcels */
	struct link *next_dead;
};

/* Something that is under way. */
struct parcel {
	uint64_t due_ns;
	struct end *to;
	enum { PARCEL_CALL, PARCEL_DATA, PARCEL_END, PARCEL_RESET } what;
	struct parcel *next;
	size_t len;
	char data[];
};

/* Of one delay, therefore in order. */
struct belt {
	uint64_t delay_ns;
	struct parcel *first, **last;
};

static struct belt calls = { 0, NULL, &calls.first };
static struct belt goods = { 0, NULL, &goods.first };
static struct link *dead;
static struct sockaddr_storage target;
static socklen_t targetlen;
static int epfd, listener, signals, timer;
static struct {
	unsigned long links, open, octets, resets;
} count;

/* ---- what is under way ---- */

static void
belt_add(struct belt *b, struct end *to, int what, const void *data, size_t len)
{
	struct parcel *p = malloc(sizeof(*p) + len);

	if (p == NULL)
		bench_die("out of memory");
	p->due_ns = bench_now() + b->delay_ns;
	p->to = to;
	p->what = what;
	p->next = NULL;
	p->len = len;
	if (len > 0)
		memcpy(p->data, data, len);
	*b->last = p;
	b->last = &p->next;
	to->link->underway++;
	to->pending += len;
}

/* The first parcel if it is due. */
static struct parcel *
belt_take(struct belt *b, uint64_t now)
{
	struct parcel *p = b->first;

	if (p == NULL || p->due_ns > now)
		return NULL;
	if ((b->first = p->next) == NULL)
		b->last = &b->first;
	p->to->link->underway--;
	return p;
}

static void
set_timer(void)
{
	struct itimerspec at = { 0 };
	uint64_t due = 0;

	if (goods.first != NULL)
		due = goods.first->due_ns;
	if (calls.first != NULL && (due == 0 || calls.first->due_ns < due))
		due = calls.first->due_ns;
	at.it_value.tv_sec = (time_t)(due / 1000000000u);
	at.it_value.tv_nsec = (long)(due % 1000000000u);
	if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) == -1)
		bench_die("timerfd_settime: %s", strerror(errno));
}

/* ---- ends ---- */

static void
end_open(struct end *e, int fd)
{
	struct epoll_event ev = { .events = 0, .data.ptr = e };

	bench_nodelay(fd);
	e->fd = fd;
	e->events = 0;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) == -1)
		bench_die("epoll_ctl: %s", strerror(errno));
}

static void
end_close(struct end *e)
{
	if (e->fd != -1)
		close(e->fd);
	e->fd = -1;
}

static void
end_reset(struct end *e)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (e->fd != -1)
		setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	end_close(e);
}

static void
link_reset(struct link *l)
{
	l->broken = true;
	end_reset(&l->client);
	end_reset(&l->server);
	count.resets++;
}

/* Passes on what is due, as far as the socket has room. */
static void
end_flush(struct end *e)
{
	struct bench_buf *b = &e->out;
	ssize_t n;

	while (e->fd != -1 && b->off < b->len) {
		n = send(
		    e->fd, b->data + b->off, b->len - b->off, MSG_NOSIGNAL);
		if (n == -1 && errno == EAGAIN)
			return;
		if (n == -1) {
			link_reset(e->link);
			return;
		}
		b->off += (size_t)n;
		e->pending -= (size_t)n;
		count.octets += (size_t)n;
	}
	if (e->fd == -1)
		return;
	bench_buf_clear(b);
	if (e->end_due && !e->ended) {
		e->ended = true;
		shutdown(e->fd, SHUT_WR);
	}
}

static void
end_take(struct end *e, const char *data, size_t len)
{
	struct bench_buf *b = &e->out;

	if (b->off > b->len / 2) {
		memmove(b->data, b->data + b->off, b->len - b->off);
		b->len -= b->off;
		b->off = 0;
	}
	bench_buf_add(b, data, len);
}

/* Reads what there is, unless the other end has enough to do. */
static void
end_read(struct end *e)
{
	char data[CHUNK];
	ssize_t n;

	while (e->other->pending < BACKLOG) {
		n = recv(e->fd, data, sizeof(data), 0);
		if (n == -1 && errno == EAGAIN)
			return;
		if (n > 0) {
			belt_add(
			    &goods, e->other, PARCEL_DATA, data, (size_t)n);
			continue;
		}
		e->silent = true;
		belt_add(&goods, e->other, n == 0 ? PARCEL_END : PARCEL_RESET,
		    NULL, 0);
		if (n == -1)
			end_close(e);
		return;
	}
}

/* What an end waits for follows from its state. */
static void
end_watch(struct end *e)
{
	struct epoll_event ev = { .data.ptr = e };

	if (e->fd == -1)
		return;
	if (e->silent && e->ended) {
		/* All is said; it would be reported as a hang-up for ever. */
		end_close(e);
		return;
	}
	if (!e->silent && e->other->pending < BACKLOG)
		ev.events |= EPOLLIN;
	if (e->out.off < e->out.len)
		ev.events |= EPOLLOUT;
	if (ev.events == e->events)
		return;
	e->events = ev.events;
	if (epoll_ctl(epfd, EPOLL_CTL_MOD, e->fd, &ev) == -1)
		bench_die("epoll_ctl: %s", strerror(errno));
}

static bool
end_over(const struct end *e)
{
	return e->silent && e->ended;
}

/* To be called after anything that happened to a link. */
static void
link_update(struct link *l)
{
	end_watch(&l->client);
	end_watch(&l->server);
	if (l->dead || l->underway > 0 ||
	    !(l->broken || (end_over(&l->client) && end_over(&l->server))))
		return;
	/* Events that were fetched already may still name it. */
	l->dead = true;
	l->next_dead = dead;
	dead = l;
}

static void
bury_dead(void)
{
	struct link *l;

	while ((l = dead) != NULL) {
		dead = l->next_dead;
		end_close(&l->client);
		end_close(&l->server);
		bench_buf_clear(&l->client.out);
		bench_buf_clear(&l->server.out);
		free(l);
		count.open--;
	}
}

/* ---- links ---- */

/* Whether it will succeed, reading and writing will tell. */
static void
server_connect(struct end *e)
{
	int fd = socket(
	    target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		bench_die("socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&target, targetlen) == -1 &&
	    errno != EINPROGRESS) {
		close(fd);
		e->silent = true;
		belt_add(&goods, e->other, PARCEL_RESET, NULL, 0);
		return;
	}
	end_open(e, fd);
}

static void
parcel_deliver(const struct parcel *p)
{
	switch (p->what) {
	case PARCEL_CALL:
		server_connect(p->to);
		break;
	case PARCEL_DATA:
		end_take(p->to, p->data, p->len);
		break;
	case PARCEL_END:
		p->to->end_due = true;
		break;
	case PARCEL_RESET:
		link_reset(p->to->link);
		return;
	}
	end_flush(p->to);
}

static void
belt_run(struct belt *b, uint64_t now)
{
	struct parcel *p;
	struct link *l;

	while ((p = belt_take(b, now)) != NULL) {
		l = p->to->link;
		if (!l->broken)
			parcel_deliver(p);
		free(p);
		link_update(l);
	}
}

static void
accept_all(void)
{
	struct link *l;
	int fd;

	while ((fd = accept4(listener, NULL, NULL,
		    SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
		if ((l = calloc(1, sizeof(*l))) == NULL)
			bench_die("out of memory");
		l->client.link = l->server.link = l;
		l->client.other = &l->server;
		l->server.other = &l->client;
		l->server.fd = -1;
		count.links++;
		count.open++;
		end_open(&l->client, fd);
		belt_add(&calls, &l->server, PARCEL_CALL, NULL, 0);
		link_update(l);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		bench_die("accept: %s", strerror(errno));
}

static void
end_event(struct end *e, uint32_t events)
{
	if (e->fd == -1)
		return; /* closed by an event before this one */
	if (events & EPOLLOUT)
		end_flush(e);
	if (e->fd != -1 && !e->silent &&
	    events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		end_read(e);
	else if (e->fd != -1 && events & (EPOLLHUP | EPOLLERR))
		link_reset(e->link); /* it does not listen any more */
	link_update(e->link);
}

static void
loop(void)
{
	struct epoll_event ev[256];
	uint64_t expired;
	int i, n;

	for (;;) {
		set_timer();
		n = epoll_wait(epfd, ev, 256, -1);
		for (i = 0; i < n; i++) {
			if (ev[i].data.ptr == &listener)
				accept_all();
			else if (ev[i].data.ptr == &signals)
				return;
			else if (ev[i].data.ptr == &timer) {
				if (read(timer, &expired, sizeof(expired)) ==
				    -1)
					continue; /* set anew meanwhile */
			} else
				end_event(ev[i].data.ptr, ev[i].events);
		}
		belt_run(&calls, bench_now());
		belt_run(&goods, bench_now());
		bury_dead();
	}
}

static void
watch(int *fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = fd };

	if (*fd == -1 || epoll_ctl(epfd, EPOLL_CTL_ADD, *fd, &ev) == -1)
		bench_die("epoll_ctl: %s", strerror(errno));
}

static void
make_events(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if ((epfd = epoll_create1(EPOLL_CLOEXEC)) == -1)
		bench_die("epoll_create1: %s", strerror(errno));
	watch(&listener);
	watch(&signals);
	watch(&timer);
}

__attribute__((noreturn)) static void
usage(void)
{
	bench_die("usage: delay --to ADDRESS:PORT [--listen ADDRESS:PORT] "
		  "[--ms N]");
}

int
main(int argc, char **argv)
{
	static const struct option table[] = { { "to", 1, NULL, 't' },
		{ "listen", 1, NULL, 'l' }, { "ms", 1, NULL, 'm' },
		{ NULL, 0, NULL, 0 } };
	const char *to = NULL, *listen_on = "127.0.0.1:0";
	unsigned long ms = 25;
	int o;

	while ((o = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (o == 't')
			to = optarg;
		else if (o == 'l')
			listen_on = optarg;
		else if (o == 'm')
			ms = bench_number("--ms", optarg, 60000);
		else
			usage();
	}
	if (optind != argc || to == NULL)
		usage();
	goods.delay_ns = ms * 1000000u;
	calls.delay_ns = 3 * goods.delay_ns;
	bench_raise_files();
	bench_address(to, &target, &targetlen);
	listener = bench_listen(listen_on);
	make_events();
	loop();
	printf("{\"links\": %lu, \"open\": %lu, \"octets\": %lu, "
	       "\"resets\": %lu, \"cpu_s\": %.3f}\n",
	    count.links, count.open, count.octets, count.resets, bench_cpu());
	return 0;
}
