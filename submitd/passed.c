/* Sockets from the service manager: see passed.h. */
#include "passed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

enum {
	FIRST_FD = 3,    /* as sd_listen_fds(3) has it */
	LOWEST_KEPT = 10 /* a role finds its own socket at 3 */
};

struct passed {
	int fd;
	int number; /* as it was passed */
	char *name; /* FileDescriptorName= */
	struct sockaddr_storage addr;
	bool v6only, used;
};

static struct passed all[PASSED_MAX];
static size_t count;

static void
address_text(const struct sockaddr_storage *ss, char text[PASSED_TEXT])
{
	const struct sockaddr_in *v4 = (const void *)ss;
	const struct sockaddr_in6 *v6 = (const void *)ss;
	char host[INET6_ADDRSTRLEN] = "?";

	if (ss->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(text, PASSED_TEXT, "%s:%u", host,
		    (unsigned)ntohs(v4->sin_port));
	} else {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(text, PASSED_TEXT, "[%s]:%u", host,
		    (unsigned)ntohs(v6->sin6_port));
	}
}

static bool
option_is_set(int fd, int level, int what)
{
	int on = 0;
	socklen_t n = sizeof(on);

	return getsockopt(fd, level, what, &on, &n) == 0 && on != 0;
}

/* NULL, or what is wrong with it. */
static const char *
examine(struct passed *p)
{
	socklen_t n = sizeof(p->addr);
	int type = 0, flags;

	if (getsockname(p->fd, (struct sockaddr *)&p->addr, &n) == -1)
		return strerror(errno);
	n = sizeof(type);
	if (getsockopt(p->fd, SOL_SOCKET, SO_TYPE, &type, &n) == -1)
		return strerror(errno);
	if ((p->addr.ss_family != AF_INET && p->addr.ss_family != AF_INET6) ||
	    type != SOCK_STREAM)
		return "is no TCP socket";
	if (!option_is_set(p->fd, SOL_SOCKET, SO_ACCEPTCONN))
		return "does not listen: is there Accept=yes in its unit?";
	p->v6only = p->addr.ss_family == AF_INET6 &&
	    option_is_set(p->fd, IPPROTO_IPV6, IPV6_V6ONLY);
	flags = fcntl(p->fd, F_GETFL);
	if (flags == -1 || fcntl(p->fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return strerror(errno);
	return NULL;
}

/* One of them moves out of the way of what a role finds at 3. */
static int
take(int number, const char *name, size_t len, char *err, size_t errlen)
{
	struct passed *p = &all[count];
	const char *why;

	p->fd = fcntl(number, F_DUPFD_CLOEXEC, LOWEST_KEPT);
	why = p->fd == -1 ? strerror(errno) : examine(p);
	close(number);
	if (why != NULL) {
		snprintf(err, errlen,
		    "socket %d (%.*s) passed by the service manager: %s",
		    number, (int)len, name, why);
		if (p->fd != -1)
			close(p->fd);
		return -1;
	}
	p->number = number;
	p->name = xstrndup(name, len);
	count++;
	return 0;
}

static int
take_all(long n, const char *names, char *err, size_t errlen)
{
	size_t len;
	long i;

	if (n > PASSED_MAX) {
		snprintf(err, errlen,
		    "%ld sockets passed by the service manager, expected %d "
		    "at most",
		    n, PASSED_MAX);
		return -1;
	}
	for (i = 0; i < n; i++) {
		len = strcspn(names, ":");
		if (take(FIRST_FD + (int)i, names, len, err, errlen) == -1)
			return -1;
		names += len + (names[len] == ':');
	}
	return 0;
}

static long
number_of(const char *name)
{
	const char *text = getenv(name);
	char *end = NULL;
	long n = 0;

	if (text != NULL)
		n = strtol(text, &end, 10);
	return end != NULL && end != text && *end == '\0' ? n : -1;
}

int
passed_init(char *err, size_t errlen)
{
	const char *names = getenv("LISTEN_FDNAMES");
	int rc = 0;

	if (number_of("LISTEN_PID") == getpid() && number_of("LISTEN_FDS") > 0)
		rc = take_all(number_of("LISTEN_FDS"),
		    names != NULL ? names : "", err, errlen);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return rc;
}

size_t
passed_count(void)
{
	return count;
}

void
passed_begin(void)
{
	size_t i;

	for (i = 0; i < count; i++)
		all[i].used = false;
}

static bool
is_named(const struct passed *p, enum listen_kind kind)
{
	return strcmp(p->name,
		   kind == LISTEN_TLS ? "submissions" : "submission") == 0;
}

int
passed_named(enum listen_kind kind, size_t *at, char text[PASSED_TEXT])
{
	struct passed *p;

	while (*at < count) {
		p = &all[(*at)++];
		if (!is_named(p, kind))
			continue;
		p->used = true;
		address_text(&p->addr, text);
		return p->fd;
	}
	return -1;
}

static bool
same_address(const struct sockaddr_storage *a, const struct sockaddr *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

	if (a->ss_family != b->sa_family)
		return false;
	if (b->sa_family == AF_INET)
		return a4->sin_port == b4->sin_port &&
		    a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return a6->sin6_port == b6->sin6_port &&
	    memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

int
passed_find(const struct sockaddr *sa, bool *both)
{
	struct passed *p;

	for (p = all; p < all + count; p++) {
		if (p->used || is_named(p, LISTEN_STARTTLS) ||
		    is_named(p, LISTEN_TLS) || !same_address(&p->addr, sa))
			continue;
		p->used = true;
		*both = p->addr.ss_family == AF_INET6 && !p->v6only;
		return p->fd;
	}
	return -1;
}

bool
passed_unused(char *out, size_t size)
{
	const struct passed *p;
	char text[PASSED_TEXT];

	for (p = all; p < all + count; p++) {
		if (p->used)
			continue;
		address_text(&p->addr, text);
		snprintf(out, size, "%d (%s) on %s", p->number, p->name, text);
		return true;
	}
	return false;
}
