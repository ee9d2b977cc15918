/* submitd/notify.c: both kinds of sockets, the environment, the watchdog. */
#include <sys/socket.h>
#include <sys/un.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "submitd/notify.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static char path[108], abstract[108];

/* A service manager's socket; name as in NOTIFY_SOCKET. */
static int
manager(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	size_t n = strlen(name);

	assert_true(fd != -1);
	memcpy(sa.sun_path, name, n);
	if (name[0] == '@')
		sa.sun_path[0] = '\0';
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&sa,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
	    0);
	return fd;
}

static void
hears(int fd, const char *what)
{
	char text[2048];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, what);
}

static void
both_kinds_of_sockets(void **state)
{
	const char *const names[] = { path, abstract };
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < N(names); i++) {
		fd = manager(names[i]);
		setenv("NOTIFY_SOCKET", names[i], 1);
		notify_init();
		assert_null(getenv("NOTIFY_SOCKET"));
		notify_send("READY=1\nSTATUS=%s, %d", "serving", 2);
		hears(fd, "READY=1\nSTATUS=serving, 2");
		close(fd);
		notify_send("STATUS=nobody hears this");
	}
	unlink(path);
}

static void
no_manager(void **state)
{
	static const char *const names[] = { NULL, "", "relative", "/", "@",
		"/a/name/that/is/longer/than/any/address/of/a/socket/can/be/in/"
		"this/system/because/there/are/108/octets/for/it/only" };
	size_t i;

	(void)state;
	for (i = 0; i < N(names); i++) {
		if (names[i] != NULL)
			setenv("NOTIFY_SOCKET", names[i], 1);
		setenv("WATCHDOG_USEC", "2000000", 1);
		notify_init();
		notify_send("READY=1");
		assert_int_equal(notify_watchdog_ms(), 0);
		assert_null(getenv("NOTIFY_SOCKET"));
	}
}

static void
long_texts_are_cut(void **state)
{
	char text[3000], out[2048];
	int fd = manager(abstract);
	ssize_t n;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	setenv("NOTIFY_SOCKET", abstract, 1);
	notify_init();
	notify_send("STATUS=%s", text);
	n = recv(fd, out, sizeof(out), 0);
	assert_int_equal(n, 1023);
	close(fd);
}

static void
texts_of_others_stay_in_their_line(void **state)
{
	char out[16];

	(void)state;
	assert_string_equal(
	    notify_text("a\nREADY=1", out, sizeof(out)), "a READY=1");
	assert_string_equal(notify_text("0123456789abcdefg", out, sizeof(out)),
	    "0123456789abcde");
}

static void
watchdog(void **state)
{
	static const struct {
		const char *name, *usec;
		int pid; /* 1: ours, 0: none, -1: another's */
		int64_t ms;
	} rows[] = {
		{ "half of the time", "3000000", 1, 1500 },
		{ "for whoever it is", "3000000", 0, 1500 },
		{ "of another process", "3000000", -1, 0 },
		{ "none", NULL, 1, 0 },
		{ "no number", "soon", 1, 0 },
		{ "negative", "-3000000", 1, 0 },
	};
	int fd = manager(abstract);
	char pid[16];
	size_t i;

	(void)state;
	for (i = 0; i < N(rows); i++) {
		setenv("NOTIFY_SOCKET", abstract, 1);
		snprintf(pid, sizeof(pid), "%d",
		    (int)(rows[i].pid == 1 ? getpid() : getppid()));
		if (rows[i].pid != 0)
			setenv("WATCHDOG_PID", pid, 1);
		if (rows[i].usec != NULL)
			setenv("WATCHDOG_USEC", rows[i].usec, 1);
		notify_init();
		if (notify_watchdog_ms() != rows[i].ms)
			fail_msg("%s: %ld", rows[i].name,
			    (long)notify_watchdog_ms());
		assert_null(getenv("WATCHDOG_USEC"));
		assert_null(getenv("WATCHDOG_PID"));
	}
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_manager),
		cmocka_unit_test(both_kinds_of_sockets),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(texts_of_others_stay_in_their_line),
		cmocka_unit_test(watchdog),
	};

	snprintf(path, sizeof(path), "/tmp/unit_notify.%d", (int)getpid());
	snprintf(abstract, sizeof(abstract), "@unit_notify.%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
