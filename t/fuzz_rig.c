/* See fuzz_rig.h.  The table of messages is private, so it is included. */
#include "submitd/proto.c"

#include "fuzz_rig.h"

#include <sys/socket.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "submitd/log.h"

enum { TURNS = 6 };

static void die(const char *) __attribute__((noreturn));

static void
die(const char *why)
{
	printf("Bail out! fuzz rig: %s\n", why);
	exit(1);
}

/* ---- the input ---- */

unsigned
fuzz_byte(struct fuzz_in *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

unsigned
fuzz_word(struct fuzz_in *in)
{
	unsigned high = fuzz_byte(in);

	return high << 8 | fuzz_byte(in);
}

struct blob
fuzz_bytes(struct fuzz_in *in, size_t max)
{
	struct blob b = { .p = in->p, .len = (size_t)(in->end - in->p) };

	if (b.len > max)
		b.len = max;
	in->p += b.len;
	return b;
}

/* ---- messages ---- */

/* A number within its bound, mostly small. */
static void
put_number(struct writer *w, const struct field *f, struct fuzz_in *in)
{
	unsigned how = fuzz_byte(in);
	uint64_t v = how < 240 ? how & 15
	    : how < 250        ? fuzz_word(in)
			       : UINT64_MAX - fuzz_byte(in);

	if (f->kind == U8 && f->max < 255)
		v %= (uint64_t)f->max + 1;
	put(w, &v, width((enum kind)f->kind)); /* little end first */
}

static void
put_text(struct writer *w, const struct field *f, const struct fuzz_words *k,
    struct fuzz_in *in)
{
	size_t i = fuzz_byte(in), n = 0, len;
	static char text[PROTO_MAX];
	struct blob b;

	while (k->text[n] != NULL)
		n++;
	if (i < 200 && n > 0) {
		len = strlen(k->text[i % n]);
		put_bytes(w, k->text[i % n], len < f->max ? len : f->max,
		    f->max, true);
		return;
	}
	b = fuzz_bytes(in, i < 250 ? i % 16 : f->max);
	for (len = 0; len < b.len; len++)
		text[len] = ((const char *)b.p)[len] != '\0'
		    ? ((const char *)b.p)[len]
		    : '0';
	put_bytes(w, text, len, f->max, true);
}

static void
put_blob(struct writer *w, const struct field *f, const struct fuzz_words *k,
    struct fuzz_in *in)
{
	size_t i = fuzz_byte(in);
	struct blob b;

	if (i < 200 && k->blobs > 0)
		b = k->blob[i % k->blobs];
	else
		b = fuzz_bytes(in, i < 250 ? i % 64 : f->max);
	put_bytes(w, b.p, b.len < f->max ? b.len : f->max, f->max, false);
}

static size_t
make(const struct fuzz_rig *r, enum msg_type type, uint64_t sid,
    struct fuzz_in *in, unsigned char out[PROTO_MAX])
{
	struct packet h = { .type = (uint16_t)type, .sid = sid };
	struct writer w = { .out = out, .size = PROTO_MAX };
	const struct field *f;

	put(&w, &h, sizeof(h));
	for (f = types[type].fields; f->kind != END; f++) {
		if (f->kind == STR)
			put_text(&w, f, &r->words, in);
		else if (f->kind == BLOB)
			put_blob(&w, f, &r->words, in);
		else
			put_number(&w, f, in);
	}
	return w.bad ? 0 : w.len;
}

/* ---- the role ---- */

static void
on_gone(struct ipc *p, const char *why)
{
	(void)p, (void)why;
}

void
fuzz_rig_init(struct fuzz_rig *r, const struct role_ops *ops)
{
	static const struct ipc_rule none[] = { { 0, NULL } };
	struct event_config *cfg = event_config_new();
	int fd[2];

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_CRIT);
	memset(r, 0, sizeof(*r));
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	r->setup.base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	r->ops = ops;
	r->setup.role = ops->role;
	r->setup.instance = 7;
	conf_init(&r->setup.conf);
	if (ipc_pair(fd) == -1)
		die("pair");
	r->setup.parent = ipc_new(r->setup.base, fd[0], none, on_gone, NULL);
	/* parent listens, and says nothing; what it is told gets lost */
	if (shutdown(fd[1], SHUT_RD) == -1)
		die("shutdown");
}

void
fuzz_rig_start(struct fuzz_rig *r)
{
	char err[512] = "";

	if ((r->ops->preload != NULL &&
		r->ops->preload(&r->setup, err, sizeof(err)) == -1) ||
	    r->ops->start(&r->setup, err, sizeof(err)) == -1)
		die(err);
}

void
fuzz_connect(struct fuzz_rig *r, struct fuzz_peer *p)
{
	int fd[2];

	fuzz_disconnect(p);
	if (ipc_pair(fd) == -1)
		die("pair");
	p->fd = fd[1];
	r->ops->peer(&r->setup, p->role, p->instance, fd[0]);
}

void
fuzz_disconnect(struct fuzz_peer *p)
{
	if (p->fd != -1)
		close(p->fd);
	p->fd = -1;
}

static void
send_to(struct fuzz_peer *p, const void *data, size_t len)
{
	if (p->fd != -1 && send(p->fd, data, len, MSG_NOSIGNAL) == -1 &&
	    errno != EAGAIN)
		fuzz_disconnect(p);
}

void
fuzz_say(struct fuzz_rig *r, struct fuzz_peer *p, struct fuzz_in *in,
    const enum msg_type *wanted, size_t n, uint64_t sid)
{
	static unsigned char packet[PROTO_MAX];
	unsigned which = fuzz_byte(in), cut;
	enum msg_type type = which < 240
	    ? wanted[which % n]
	    : (enum msg_type)(fuzz_byte(in) % M_TYPE_COUNT);
	const char *why;
	union msg m;
	size_t len;

	if ((len = make(r, type, sid, in, packet)) == 0)
		return;
	if ((cut = fuzz_byte(in)) >= 250)
		len -= (len - 1) * (cut - 249) / 7;
	else if (r->said != NULL &&
	    proto_unpack(packet, len, &type, &sid, &m, &why) == 0)
		r->said(p, type, sid, &m);
	send_to(p, packet, len);
}

void
fuzz_say_raw(struct fuzz_peer *p, struct fuzz_in *in)
{
	struct blob b = fuzz_bytes(in, fuzz_byte(in));

	send_to(p, b.p, b.len);
}

/* One packet may hold several messages (ipc.h); the role's are well-formed. */
static void
hear_packet(const struct fuzz_rig *r, const struct fuzz_peer *p,
    const unsigned char *data, size_t len)
{
	enum msg_type type;
	const char *why;
	uint64_t sid;
	uint32_t one;
	union msg m;
	size_t at = 8;

	if (len < 8 || data[0] != 0xff || data[1] != 0xff) {
		if (proto_unpack(data, len, &type, &sid, &m, &why) == -1)
			abort();
		r->heard(p, type, sid, &m);
		return;
	}
	while (at + 8 <= len) {
		memcpy(&one, data + at, sizeof(one));
		at += 8;
		if (one > len - at ||
		    proto_unpack(data + at, one, &type, &sid, &m, &why) == -1)
			abort();
		r->heard(p, type, sid, &m);
		at = (at + one + 7) / 8 * 8;
	}
}

static void
hear(const struct fuzz_rig *r, struct fuzz_peer *p)
{
	static _Alignas(16) unsigned char packet[PROTO_MAX];
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { packet, sizeof(packet) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;
	int fd;

	while (p->fd != -1) {
		mh.msg_control = control.space;
		mh.msg_controllen = sizeof(control.space);
		if ((n = recvmsg(p->fd, &mh, MSG_DONTWAIT)) == -1 &&
		    errno == EAGAIN)
			return;
		if (n <= 0) {
			fuzz_disconnect(p); /* it was dropped */
			return;
		}
		if (mh.msg_controllen > 0) {
			memcpy(&fd, CMSG_DATA(&control.h), sizeof(fd));
			close(fd);
		}
		if (r->heard != NULL)
			hear_packet(r, p, packet, (size_t)n);
	}
}

void
fuzz_turn(struct fuzz_rig *r, struct fuzz_peer *p, size_t n)
{
	size_t i;
	int turn;

	for (turn = 0; turn < TURNS; turn++) {
		event_base_loop(r->setup.base, EVLOOP_NONBLOCK);
		for (i = 0; i < n; i++)
			hear(r, &p[i]);
	}
}
