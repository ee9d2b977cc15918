/* The log daemon's socket: see logsock.h. */
#include "logsock.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

#ifndef LOGSOCK_PATH
#define LOGSOCK_PATH "/dev/log"
#endif

enum {
	KEPT_MAX = 64, /* lines; more are counted */
	HEAD_MAX = 96, /* priority, time, name, process id */
	ASK_EVERY_MS = 1000
};

static int sock = -1;
static void (*on_lost)(void);
static int64_t asked_ms;
static char *kept[KEPT_MAX];
static size_t nkept, nlost;
static char raw_head[HEAD_MAX]; /* snprintf() is not for signal handlers */

int
logsock_connect(void)
{
	const struct sockaddr_un sun = { .sun_family = AF_UNIX,
		.sun_path = LOGSOCK_PATH };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	close(fd);
	return -1;
}

void
logsock_set_lost(void (*lost)(void))
{
	on_lost = lost;
}

/* As RFC 3164 has it, in local time. */
static void
put_head(char out[HEAD_MAX], int level)
{
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t now = time(NULL);
	struct tm tm = { 0 };

	localtime_r(&now, &tm);
	snprintf(out, HEAD_MAX,
	    "<%d>%s %2d %02d:%02d:%02d submitd[%d]: ", LOG_MAIL | level,
	    months[tm.tm_mon % 12], tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)getpid());
}

static int
send_text(const char *text)
{
	if (sock == -1)
		return -1;
	return send(sock, text, strlen(text), MSG_NOSIGNAL) == -1 ? -1 : 0;
}

static void
keep(char *text)
{
	if (nkept < KEPT_MAX) {
		kept[nkept++] = text;
		return;
	}
	nlost++;
	free(text);
}

/* Those that still can't be sent stay. */
static void
send_kept(void)
{
	char head[HEAD_MAX], *text;
	size_t i, n = 0;

	while (n < nkept && send_text(kept[n]) == 0)
		free(kept[n++]);
	for (i = n; i < nkept; i++)
		kept[i - n] = kept[i];
	nkept -= n;
	if (nkept > 0 || nlost == 0)
		return;
	put_head(head, LOG_WARNING);
	text = xasprintf("%sev=log lost=%zu", head, nlost);
	if (send_text(text) == 0)
		nlost = 0;
	free(text);
}

void
logsock_use(int fd)
{
	if (sock != -1)
		close(sock);
	sock = fd;
	snprintf(raw_head, sizeof(raw_head),
	    "<%d>submitd[%d]: ", LOG_MAIL | LOG_WARNING, (int)getpid());
	if (sock != -1)
		send_kept();
}

static void
connect_again(void)
{
	int64_t now = clock_ms();

	if (asked_ms != 0 && now - asked_ms < ASK_EVERY_MS)
		return;
	asked_ms = now;
	if (on_lost != NULL)
		on_lost();
	else
		logsock_use(logsock_connect());
}

void
logsock_send(int level, const char *line)
{
	char head[HEAD_MAX], *text;

	put_head(head, level);
	text = xasprintf("%s%s", head, line);
	if (nkept == 0 && send_text(text) == 0) {
		free(text);
		return;
	}
	keep(text); /* in their order */
	connect_again();
}

void
logsock_send_raw(const char *line, size_t len)
{
	char text[HEAD_MAX + 512];
	size_t n = strlen(raw_head);

	if (len > sizeof(text) - n)
		len = sizeof(text) - n;
	memcpy(text, raw_head, n);
	memcpy(text + n, line, len);
	if (sock != -1 &&
	    send(sock, text, n + len, MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		return;
}
