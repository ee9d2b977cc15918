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

static int
bind_v4(const char *host, uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_port = htons(port) };

	if (host[0] != '\0' && inet_pton(AF_INET, host, &sa.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	return bind_one((const struct sockaddr *)&sa, sizeof(sa));
}

static int
bind_v6(const char *host, uint16_t port)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6,
		.sin6_port = htons(port) };

	if (host[0] != '\0' && inet_pton(AF_INET6, host, &sa.sin6_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	return bind_one((const struct sockaddr *)&sa, sizeof(sa));
}

static int
add(struct listeners *l, int fd, enum listen_kind kind, const char *name)
{
	if (fd == -1)
		return -1;
	if (l->n == LISTEN_MAX) {
		close(fd);
		errno = EMFILE;
		return -1;
	}
	l->v[l->n].fd = fd;
	l->v[l->n].kind = kind;
	l->v[l->n++].name = xstrdup(name);
	return 0;
}

/* How many sockets of this name were taken over. */
static int
take_over(struct listeners *out, const struct listeners *old,
    enum listen_kind kind, const char *name)
{
	size_t i;
	int n = 0;

	for (i = 0; old != NULL && i < old->n; i++)
		if (old->v[i].kind == kind &&
		    strcmp(old->v[i].name, name) == 0 &&
		    add(out, fcntl(old->v[i].fd, F_DUPFD_CLOEXEC, 0), kind,
			name) == 0)
			n++;
	return n;
}

static int
open_name(struct listeners *out, enum listen_kind kind, const char *name)
{
	char host[INET6_ADDRSTRLEN];
	uint16_t port;

	if (conf_split_listen(name, host, sizeof(host), &port) == -1) {
		errno = EINVAL;
		return -1;
	}
	if (host[0] != '\0')
		return add(out,
		    strchr(host, ':') != NULL ? bind_v6(host, port)
					      : bind_v4(host, port),
		    kind, name);
	if (add(out, bind_v4(host, port), kind, name) == -1)
		return -1;
	if (add(out, bind_v6(host, port), kind, name) == -1 &&
	    errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)
		return -1; /* a kernel without IPv6 is fine */
	return 0;
}

static int
open_list(struct listeners *out, const struct strlist *names,
    enum listen_kind kind, const struct listeners *old, const char *key,
    char *err, size_t errlen)
{
	size_t i;

	for (i = 0; i < names->n; i++) {
		if (take_over(out, old, kind, names->v[i]) > 0 ||
		    open_name(out, kind, names->v[i]) == 0)
			continue;
		snprintf(err, errlen, "%s:%d: %s: cannot listen on %s: %s",
		    conf_path(), conf_line(key), key, names->v[i],
		    strerror(errno));
		return -1;
	}
	return 0;
}

int
listen_open(struct listeners *out, const struct conf *c,
    const struct listeners *old, char *err, size_t errlen)
{
	out->n = 0;
	if (open_list(out, &c->listen, LISTEN_STARTTLS, old, "listen", err,
		errlen) == 0 &&
	    open_list(out, &c->listen_tls, LISTEN_TLS, old, "listen_tls", err,
		errlen) == 0)
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
