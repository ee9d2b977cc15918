/*
 * The system's resolv.conf and hosts, on behalf of the resolver, which has no
 * files: it gets their text at its start, and again a moment after one of them
 * has changed.
 */
#include "parent_int.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

enum { SETTLE_MS = 250, FILE_LIMIT = 8 * 1024 * 1024 };

static struct netfile {
	const char *path;
	enum pem_kind kind;
	struct filewatch *watch;
	struct event *ev, *timer;
} netfiles[] = {
	{ .path = "/etc/resolv.conf", .kind = PEM_RESOLV_CONF },
	{ .path = "/etc/hosts", .kind = PEM_HOSTS },
};
enum { NETFILES = sizeof(netfiles) / sizeof(netfiles[0]) };

/* A file that is not there has an empty text: both may be missing. */
static void
read_text(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = 0;

	if (fd == -1) {
		if (errno != ENOENT)
			log_warn("resolver", "file=%s error=%s", path,
			    strerror(errno));
		return;
	}
	while (out->len <= FILE_LIMIT &&
	    (n = read(fd, buf_room(out, 16384), 16384)) > 0)
		buf_grew(out, (size_t)n);
	if (n != 0) { /* too long, too */
		log_warn("resolver", "file=%s error=%s", path,
		    n > 0 ? "is too large" : strerror(errno));
		buf_clear(out);
	}
	close(fd);
}

static int
give(const struct proc *p, const struct netfile *f)
{
	struct buf text = { 0 };
	int rc;

	read_text(f->path, &text);
	rc = parent_give_bytes(p, f->kind, buf_head(&text), text.len);
	buf_clear(&text);
	return rc;
}

static void
on_change(evutil_socket_t fd, short what, void *arg)
{
	struct netfile *f = arg;

	(void)fd, (void)what;
	if (filewatch_changed(f->watch) &&
	    !event_pending(f->timer, EV_TIMEOUT, NULL))
		parent_arm(f->timer, SETTLE_MS);
}

static void
watch(struct netfile *f)
{
	if (f->ev != NULL)
		event_free(f->ev);
	f->ev = NULL;
	filewatch_free(&f->watch);
	f->watch = filewatch_new();
	if (f->watch == NULL || filewatch_add(f->watch, f->path) == -1) {
		log_warn("resolver", "file=%s error=%s action=%s", f->path,
		    strerror(errno), "changes are not seen");
		return;
	}
	f->ev = event_new(
	    P.base, filewatch_fd(f->watch), EV_READ | EV_PERSIST, on_change, f);
	event_add(f->ev, NULL);
}

/* Watched anew before it is read, so that no change is lost in between. */
static void
on_settled(evutil_socket_t fd, short what, void *arg)
{
	struct netfile *f = arg;
	const struct proc *p = parent_find_role(ROLE_RESOLVER);

	(void)fd, (void)what;
	watch(f);
	if (p != NULL && p->ipc != NULL)
		give(p, f);
}

void
parent_dns_watch(void)
{
	size_t i;

	for (i = 0; i < NETFILES; i++) {
		netfiles[i].timer =
		    event_new(P.base, -1, EV_TIMEOUT, on_settled, &netfiles[i]);
		watch(&netfiles[i]);
	}
}

int
parent_dns_give(const struct proc *p)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < NETFILES; i++)
		rc |= give(p, &netfiles[i]);
	return rc;
}
