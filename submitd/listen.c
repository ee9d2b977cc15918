/* Binding: see listen.h. */
#include "listen.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "passed.h"

static int
bind_one(const struct sockaddr *sa, socklen_t len)
{
	int fd, on = 1, saved;

	fd = socket(
	    sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    (sa->sa_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) ==
		    -1) ||
	    bind(fd, sa, len) == -1 || listen(fd, 1024) == -1) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static socklen_t
make_address(
    int family, const char *host, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in *v4 = (void *)ss;
	struct sockaddr_in6 *v6 = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		v4->sin_port = htons(port);
		if (host[0] != '\0')
			inet_pton(AF_INET, host, &v4->sin_addr);
		return sizeof(*v4);
	}
	v6->sin6_port = htons(port);
	if (host[0] != '\0')
		inet_pton(AF_INET6, host, &v6->sin6_addr);
	return sizeof(*v6);
}

/* Takes fd. */
static int
add(struct listeners *l, int fd, int family, enum listen_kind kind,
    const char *name)
{
	if (fd == -1)
		return -1;
	if (l->n == LISTEN_MAX) {
		close(fd);
		errno = EMFILE;
		return -1;
	}
	l->v[l->n].fd = fd;
	l->v[l->n].family = family;
	l->v[l->n].kind = kind;
	l->v[l->n++].name = xstrdup(name);
	return 0;
}

static int
duplicate(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* What one key asks for. */
struct wish {
	const struct listeners *old; /* or NULL */
	const char *key;
	enum listen_kind kind;
	bool bind; /* addresses that were not passed */
};

static int
take_over(const struct wish *w, int family, const char *name)
{
	size_t i;

	for (i = 0; w->old != NULL && i < w->old->n; i++)
		if (w->old->v[i].kind == w->kind &&
		    w->old->v[i].family == family &&
		    strcmp(w->old->v[i].name, name) == 0)
			return duplicate(w->old->v[i].fd);
	return -1;
}

/* One address of one family: passed, ours already, or bound now.  *both says
 * that the other family came with it. */
static int
open_address(struct listeners *out, const struct wish *w, int family,
    const char *host, uint16_t port, const char *name, bool *both)
{
	struct sockaddr_storage ss;
	socklen_t len = make_address(family, host, port, &ss);
	int fd = passed_find((struct sockaddr *)&ss, both);

	if (fd != -1)
		return add(out, duplicate(fd), family, w->kind, name);
	if (!w->bind)
		return 0;
	if ((fd = take_over(w, family, name)) == -1)
		fd = bind_one((struct sockaddr *)&ss, len);
	return add(out, fd, family, w->kind, name);
}

static int
open_name(struct listeners *out, const struct wish *w, const char *name)
{
	char host[INET6_ADDRSTRLEN];
	bool both = false;
	uint16_t port;

	if (conf_split_listen(name, host, sizeof(host), &port) == -1) {
		errno = EINVAL;
		return -1;
	}
	if (host[0] != '\0')
		return open_address(out, w,
		    strchr(host, ':') != NULL ? AF_INET6 : AF_INET, host, port,
		    name, &both);
	/* IPv6 first: a passed socket may serve both. */
	if (open_address(out, w, AF_INET6, host, port, name, &both) == -1 &&
	    errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)
		return -1; /* a kernel without IPv6 is fine */
	if (both)
		return 0;
	return open_address(out, w, AF_INET, host, port, name, &both);
}

/* Sockets that bear the name of the key are all that it has, besides those
 * that were passed for one of its addresses. */
static int
open_named(struct listeners *out, struct wish *w)
{
	char text[PASSED_TEXT];
	size_t at = 0;
	int fd;

	w->bind = true;
	while ((fd = passed_named(w->kind, &at, text)) != -1) {
		if (add(out, duplicate(fd), AF_UNSPEC, w->kind, text) == -1)
			return -1;
		w->bind = false;
	}
	return 0;
}

static int
open_key(struct listeners *out, struct wish *w, const struct strlist *names,
    char *err, size_t errlen)
{
	size_t i;

	if (open_named(out, w) == -1) {
		snprintf(err, errlen, "%s: %s", w->key, strerror(errno));
		return -1;
	}
	for (i = 0; i < names->n; i++) {
		if (open_name(out, w, names->v[i]) == 0)
			continue;
		snprintf(err, errlen, "%s:%d: %s: cannot listen on %s: %s",
		    conf_path(), conf_line(w->key), w->key, names->v[i],
		    strerror(errno));
		return -1;
	}
	return 0;
}

/* It would keep clients waiting for ever. */
static int
refuse_unused(char *err, size_t errlen)
{
	char text[128];

	if (!passed_unused(text, sizeof(text)))
		return 0;
	snprintf(err, errlen,
	    "socket %s passed by the service manager is in neither listen nor "
	    "listen_tls: add its address there, or give it the name "
	    "submission or submissions (FileDescriptorName=)",
	    text);
	return -1;
}

int
listen_open(struct listeners *out, const struct conf *c,
    const struct listeners *old, char *err, size_t errlen)
{
	struct wish starttls = {
		.old = old, .key = "listen", .kind = LISTEN_STARTTLS
	};
	struct wish tls = {
		.old = old, .key = "listen_tls", .kind = LISTEN_TLS
	};

	out->n = 0;
	passed_begin();
	if (open_key(out, &starttls, &c->listen, err, errlen) == 0 &&
	    open_key(out, &tls, &c->listen_tls, err, errlen) == 0 &&
	    refuse_unused(err, errlen) == 0)
		return 0;
	listen_close(out);
	return -1;
}

void
listen_close(struct listeners *l)
{
	while (l->n > 0) {
		l->n--;
		close(l->v[l->n].fd);
		free(l->v[l->n].name);
	}
}

/* Only a socket that nobody answers on may be replaced. */
static bool
is_alive(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool alive;

	if (fd == -1)
		return false;
	alive = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0;
	close(fd);
	return alive;
}

int
listen_control(const char *path, char *err, size_t errlen)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char dir[sizeof(sa.sun_path)], *slash;
	mode_t mask;
	int fd = -1, rc;

	errno = ENAMETOOLONG;
	if (strlen(path) >= sizeof(sa.sun_path))
		goto fail;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	memcpy(dir, path, strlen(path) + 1);
	if ((slash = strrchr(dir, '/')) != NULL && slash != dir) {
		*slash = '\0';
		if (mkdir(dir, 0755) == -1 && errno != EEXIST)
			goto fail;
	}
	errno = EADDRINUSE;
	if (is_alive(&sa))
		goto fail;
	if (unlink(path) == -1 && errno != ENOENT)
		goto fail;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		goto fail;
	mask = umask(0177);
	rc = bind(fd, (const struct sockaddr *)&sa, sizeof(sa));
	umask(mask);
	if (rc == 0 && listen(fd, 64) == 0)
		return fd;
fail:
	snprintf(err, errlen, "%s:%d: control_socket: %s: %s", conf_path(),
	    conf_line("control_socket"), path, strerror(errno));
	if (fd != -1)
		close(fd);
	return -1;
}
