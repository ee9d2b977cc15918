/*
 * sd_notify(3) without libsystemd: that library would be mapped into every
 * role, with the libraries for compression and cryptography that it brings,
 * for one sendto() that only parent makes.
 */
#include "notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static struct {
	int fd; /* -1: nobody listens */
	struct sockaddr_un to;
	socklen_t len;
	int64_t watchdog_ms;
} notify = { .fd = -1 };

/* A path, or with "@" the name of an abstract socket. */
static int
set_address(const char *name)
{
	size_t n = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || n < 2 ||
	    n >= sizeof(notify.to.sun_path)) {
		errno = EINVAL;
		return -1;
	}
	notify.to.sun_family = AF_UNIX;
	memcpy(notify.to.sun_path, name, n + 1);
	if (name[0] == '@')
		notify.to.sun_path[0] = '\0';
	notify.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n +
	    (name[0] == '/'));
	return 0;
}

static int64_t
number_of(const char *name)
{
	const char *text = getenv(name);
	char *end = NULL;
	long long n = 0;

	if (text != NULL)
		n = strtoll(text, &end, 10);
	return end != NULL && end != text && *end == '\0' && n > 0 ? n : 0;
}

void
notify_init(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	int64_t pid = number_of("WATCHDOG_PID");

	if (notify.fd != -1)
		close(notify.fd);
	notify.fd = -1;
	if (name != NULL && name[0] != '\0') {
		if (set_address(name) == 0)
			notify.fd =
			    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (notify.fd == -1)
			log_warn("notify", "socket=%s error=%s", name,
			    strerror(errno));
	}
	notify.watchdog_ms = 0;
	if (getenv("WATCHDOG_PID") == NULL || pid == getpid())
		notify.watchdog_ms = number_of("WATCHDOG_USEC") / 2000;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void
notify_send(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	if (notify.fd == -1)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(text))
		n = sizeof(text) - 1;
	if (sendto(notify.fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT,
		(const struct sockaddr *)&notify.to, notify.len) == -1)
		log_debug("notify", "error=%s", strerror(errno));
}

const char *
notify_text(const char *text, char *out, uint32_t size)
{
	size_t i;

	for (i = 0; text[i] != '\0' && i + 1 < size; i++)
		out[i] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
	out[i] = '\0';
	return out;
}

int64_t
notify_watchdog_ms(void)
{
	return notify.fd != -1 ? notify.watchdog_ms : 0;
}
