/* The log daemon's socket: what arrives, and what becomes of lines while
 * nobody listens. */
#define LOGSOCK_PATH "log" /* below the test's directory */
#include "submitd/logsock.c"

#include <sys/wait.h>

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static char dir[64];
static int daemon_fd = -1;
static unsigned lost;
static int wait_ms;
static char got[2048];

static void
daemon_up(void)
{
	const struct sockaddr_un sun = { .sun_family = AF_UNIX,
		.sun_path = LOGSOCK_PATH };

	daemon_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_not_equal(daemon_fd, -1);
	assert_int_equal(
	    bind(daemon_fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
}

static void
daemon_down(void)
{
	close(daemon_fd);
	daemon_fd = -1;
	assert_int_equal(unlink(LOGSOCK_PATH), 0);
}

/* The next line; "" if there is none and none will come. */
static const char *
next(void)
{
	struct pollfd pf = { .fd = daemon_fd, .events = POLLIN };
	ssize_t n = 0;

	if (poll(&pf, 1, wait_ms) == 1)
		n = recv(daemon_fd, got, sizeof(got) - 1, 0);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

static void
expect(const char *end)
{
	const char *line = next();

	assert_non_null(strstr(line, "submitd["));
	assert_string_equal(strstr(line, "]: ") + 3, end);
}

static void
note_loss(void)
{
	lost++;
}

static int
up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/unit_logsock.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	daemon_up();
	lost = 0;
	wait_ms = 0;
	asked_ms = 0;
	logsock_set_lost(note_loss);
	logsock_use(logsock_connect());
	return 0;
}

static int
down(void **state)
{
	(void)state;
	logsock_use(-1);
	while (nkept > 0)
		free(kept[--nkept]);
	nlost = 0;
	daemon_down();
	assert_int_equal(chdir("/"), 0);
	return rmdir(dir);
}

static void
test_line(void **state)
{
	int day, pid;
	char month[4];

	(void)state;
	logsock_send(LOG_INFO, "ev=x v=1");
	/* LOG_MAIL is 2 << 3, LOG_INFO 6 */
	assert_int_equal(sscanf(next(), "<22>%3s %d %*d:%*d:%*d submitd[%d]: ",
			     month, &day, &pid),
	    3);
	assert_int_equal(pid, getpid());
	assert_true(day >= 1 && day <= 31);
	assert_string_equal(strstr(got, "]: "), "]: ev=x v=1");
	logsock_send(LOG_WARNING, "ev=y");
	assert_memory_equal(next(), "<20>", 4);
	assert_string_equal(next(), "");
}

static void
test_signal(void **state)
{
	char want[64];

	(void)state;
	snprintf(want, sizeof(want), "<20>submitd[%d]: ev=z", (int)getpid());
	logsock_send_raw("ev=z", 4);
	assert_string_equal(next(), want);
	daemon_down();
	logsock_send_raw("ev=z", 4);
	daemon_up();
	assert_int_equal(lost, 0);
	assert_string_equal(next(), "");
}

static void
test_restart(void **state)
{
	(void)state;
	daemon_down();
	logsock_send(LOG_INFO, "ev=one");
	logsock_send(LOG_INFO, "ev=two");
	assert_int_equal(lost, 1); /* not for each line */
	daemon_up();
	logsock_send(LOG_INFO, "ev=three");
	assert_string_equal(next(), ""); /* the old socket leads nowhere */
	logsock_use(logsock_connect());
	expect("ev=one");
	expect("ev=two");
	expect("ev=three");
	logsock_send(LOG_INFO, "ev=four");
	expect("ev=four");
	assert_string_equal(next(), "");
}

static void
test_too_many(void **state)
{
	char text[32];
	pid_t pid;
	int i;

	(void)state;
	daemon_down();
	for (i = 0; i < KEPT_MAX + 5; i++) {
		snprintf(text, sizeof(text), "ev=n%d", i);
		logsock_send(LOG_INFO, text);
	}
	daemon_up();
	/* the kernel queues a few datagrams only: one sends, one reads */
	if ((pid = fork()) == 0) {
		logsock_use(logsock_connect());
		_exit(nkept == 0 && nlost == 0 ? 0 : 1);
	}
	wait_ms = 10 * 1000;
	for (i = 0; i < KEPT_MAX; i++) {
		snprintf(text, sizeof(text), "ev=n%d", i);
		expect(text);
	}
	expect("ev=log lost=5");
	assert_int_equal(waitpid(pid, &i, 0), pid);
	assert_int_equal(i, 0);
	wait_ms = 0;
	assert_string_equal(next(), "");
}

static void
test_alone(void **state)
{
	(void)state;
	logsock_set_lost(NULL);
	daemon_down();
	logsock_send(LOG_INFO, "ev=one");
	daemon_up();
	asked_ms = 0;
	logsock_send(LOG_INFO, "ev=two");
	expect("ev=one");
	expect("ev=two");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_line, up, down),
		cmocka_unit_test_setup_teardown(test_signal, up, down),
		cmocka_unit_test_setup_teardown(test_restart, up, down),
		cmocka_unit_test_setup_teardown(test_too_many, up, down),
		cmocka_unit_test_setup_teardown(test_alone, up, down),
	};

	return cmocka_run_group_tests_name("logsock", tests, NULL, NULL);
}
