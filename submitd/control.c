/*
 * The control socket: see control.h for the lines.
 *
 * Log:
 *	ev=control uid= pid= cmd=	a request (debug)
 *	ev=control-refused uid= pid=	a peer that is nobody here (warning)
 */
#include "control.h"

#include <sys/queue.h>
#include <sys/socket.h>

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

enum { LOW_WATER = 16 * 1024 }; /* more is made when less waits to be sent */

struct control_conn {
	LIST_ENTRY(control_conn) link;
	struct control *server;
	struct bufferevent *bev;
	struct ucred peer;
	void (*next)(struct control_conn *);
	void *state;
	void (*free_state)(void *);
	bool asked; /* the request was read */
	bool ended; /* the last line was written */
};

struct control {
	struct event_base *base;
	int fd;
	struct event *ev_accept;
	const struct control_verb *verbs;
	void *arg;
	LIST_HEAD(control_conns, control_conn) conns;
	unsigned nconns;
};

static void
drop_state(struct control_conn *c)
{
	if (c->free_state != NULL)
		c->free_state(c->state);
	c->state = NULL;
	c->free_state = NULL;
	c->next = NULL;
}

static void
conn_free(struct control_conn *c)
{
	drop_state(c);
	LIST_REMOVE(c, link);
	c->server->nconns--;
	bufferevent_free(c->bev);
	free(c);
}

/* ---- answering ---- */

static void
put_line(struct control_conn *c, json_t *o)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);

	json_decref(o);
	if (text == NULL) /* not UTF-8: the caller's bug; end visibly */
		text = xstrdup("{\"ok\":false,\"exit\":70,"
			       "\"error\":\"answer is not UTF-8\"}");
	evbuffer_add(out, text, strlen(text));
	evbuffer_add(out, "\n", 1);
	free(text);
}

void
control_item(struct control_conn *c, json_t *item)
{
	json_t *o = json_object();

	json_object_set_new(o, "item", item);
	put_line(c, o);
}

static void
end(struct control_conn *c, json_t *last)
{
	drop_state(c);
	c->ended = true;
	put_line(c, last);
}

void
control_ok(struct control_conn *c, json_t *fields)
{
	json_t *o = json_object();

	json_object_set_new(o, "ok", json_true());
	if (fields != NULL)
		json_object_update(o, fields);
	json_decref(fields);
	end(c, o);
}

void
control_fail(struct control_conn *c, int exit_status, const char *fmt, ...)
{
	json_t *o = json_object();
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) == -1)
		text = NULL;
	va_end(ap);
	json_object_set_new(o, "ok", json_false());
	json_object_set_new(o, "exit", json_integer(exit_status));
	json_object_set_new(
	    o, "error", json_string(text != NULL ? text : "internal error"));
	free(text);
	end(c, o);
}

void
control_more(struct control_conn *c, void (*next)(struct control_conn *),
    void *state, void (*free_state)(void *))
{
	if (state != c->state)
		drop_state(c);
	c->next = next;
	c->state = state;
	c->free_state = free_state;
	bufferevent_trigger(c->bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
}

void *
control_state(const struct control_conn *c)
{
	return c->state;
}

void *
control_arg(const struct control_conn *c)
{
	return c->server->arg;
}

/* ---- asking ---- */

static void
dispatch(struct control_conn *c, const json_t *request)
{
	const char *cmd = json_string_value(json_object_get(request, "cmd"));
	const struct control_verb *v;

	if (cmd == NULL) {
		control_fail(
		    c, EX_USAGE, "a request is an object with \"cmd\"");
		return;
	}
	log_debug("control", "uid=%u pid=%d cmd=%s", (unsigned)c->peer.uid,
	    (int)c->peer.pid, cmd);
	for (v = c->server->verbs; v->cmd != NULL; v++) {
		if (strcmp(v->cmd, cmd) == 0) {
			v->handler(c, request);
			return;
		}
	}
	control_fail(c, EX_USAGE, "no such command");
}

static void
on_line(struct control_conn *c, const char *line, size_t len)
{
	json_error_t e;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &e);

	c->asked = true;
	bufferevent_disable(c->bev, EV_READ);
	if (request == NULL)
		control_fail(c, EX_USAGE, "not JSON: %s", e.text);
	else
		dispatch(c, request);
	json_decref(request);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct control_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len;
	char *line;

	if (c->asked)
		return;
	line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);
	if (line != NULL && len <= CONTROL_LINE_MAX) {
		on_line(c, line, len);
	} else if (line != NULL || evbuffer_get_length(in) > CONTROL_LINE_MAX) {
		c->asked = true;
		bufferevent_disable(bev, EV_READ);
		control_fail(c, EX_USAGE, "the request is too long");
	}
	free(line);
}

static void
on_write(struct bufferevent *bev, void *arg)
{
	struct control_conn *c = arg;
	size_t left = evbuffer_get_length(bufferevent_get_output(bev));

	if (c->ended && left == 0)
		conn_free(c);
	else if (c->next != NULL && left <= LOW_WATER)
		c->next(c);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev,
	    (void)what; /* end of file, error or deadline: all the same */
	conn_free(arg);
}

/* ---- accepting ---- */

static bool
welcome(int fd, struct ucred *peer)
{
	socklen_t len = sizeof(*peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len) == -1)
		return false;
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	log_warn("control-refused", "uid=%u pid=%d", (unsigned)peer->uid,
	    (int)peer->pid);
	return false;
}

static void
conn_new(struct control *s, int fd, const struct ucred *peer)
{
	static const struct timeval deadline = { CONTROL_DEADLINE_S, 0 };
	struct control_conn *c = xcalloc(1, sizeof(*c));

	c->server = s;
	c->peer = *peer;
	c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL) {
		close(fd);
		free(c);
		return;
	}
	LIST_INSERT_HEAD(&s->conns, c, link);
	s->nconns++;
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_WRITE, LOW_WATER, 0);
	bufferevent_setwatermark(c->bev, EV_READ, 0, 2 * CONTROL_LINE_MAX);
	bufferevent_set_timeouts(c->bev, &deadline, &deadline);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

static void
on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct control *s = arg;
	struct ucred peer;
	int fd;

	(void)what;
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd == -1)
		return; /* gone again, or out of descriptors: later */
	if (s->nconns < CONTROL_CONNS_MAX && welcome(fd, &peer))
		conn_new(s, fd, &peer);
	else
		close(fd);
}

struct control *
control_new(struct event_base *base, int listen_fd,
    const struct control_verb *verbs, void *arg)
{
	struct control *s = xcalloc(1, sizeof(*s));

	evutil_make_socket_nonblocking(listen_fd);
	s->base = base;
	s->fd = listen_fd;
	s->verbs = verbs;
	s->arg = arg;
	LIST_INIT(&s->conns);
	s->ev_accept =
	    event_new(base, listen_fd, EV_READ | EV_PERSIST, on_accept, s);
	event_add(s->ev_accept, NULL);
	return s;
}

void
control_free(struct control **sp)
{
	struct control *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	while (!LIST_EMPTY(&s->conns))
		conn_free(LIST_FIRST(&s->conns));
	event_free(s->ev_accept);
	close(s->fd);
	free(s);
}
