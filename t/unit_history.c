/* Tests of store/history.c. */
#include <sys/stat.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/history.h"

static char dir[64], path[96];

static int
up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/unit_history.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/history.db", dir);
	return 0;
}

static int
down(void **state)
{
	static const char *const ends[] = { "", "-wal", "-shm", ".bad",
		".bad-wal" };
	char name[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		unlink(name);
	}
	return rmdir(dir);
}

static struct history *
open_it(void)
{
	struct history *h;

	if (history_open(dir, &h) == -1)
		fail_msg("%s", history_errtext(h));
	return h;
}

static int
note_counter(const struct history_counter *c, void *arg)
{
	char *out = arg;

	snprintf(out + strlen(out), 512 - strlen(out),
	    "%d %s@%s %lld %lld %.*s;", c->kind, c->user, c->address,
	    (long long)c->last_ms, (long long)c->until_ms, (int)c->len,
	    (const char *)c->marks);
	return 0;
}

static int
note_use(const struct history_use *u, void *arg)
{
	char *out = arg;

	snprintf(out + strlen(out), 512 - strlen(out), "%s %lld %lld %s %s;",
	    u->user, (long long)u->device, (long long)u->at_ms, u->address,
	    u->client);
	return 0;
}

static int
stop(const struct history_use *u, void *arg)
{
	(void)u;
	++*(unsigned *)arg;
	return 1;
}

static void
write_all(struct history *h)
{
	const struct history_counter c[] = {
		{ 1, "ann", "192.0.2.7", 50, 60, "marks", 5 },
		{ 2, "", "192.0.2.7", 40, 0, NULL, 0 },
		{ 1, "bob", "192.0.2.7", 30, 0, "x", 1 },
		{ 1, "ann", "192.0.2.7", 55, 70, "more", 4 },
	};
	const struct history_use u[] = {
		{ "bob", 0, 10, "192.0.2.7", "phone" },
		{ "ann", 7, 11, "192.0.2.8", "laptop" },
		{ "ann", 0, 12, "192.0.2.8", "" },
		{ "ann", 7, 13, "2001:db8::1", "other" },
	};
	size_t i;

	assert_int_equal(history_begin(h), 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(history_counter_put(h, &c[i]), 0);
		assert_int_equal(history_use_put(h, &u[i]), 0);
	}
	assert_int_equal(history_counter_del(h, 1, "bob", "192.0.2.7"), 0);
	assert_int_equal(history_counter_del(h, 1, "cid", "192.0.2.7"), 0);
	assert_int_equal(history_commit(h), 0);
}

static void
check_all(struct history *h)
{
	char text[512] = "";

	assert_int_equal(history_counters(h, note_counter, text), 0);
	assert_string_equal(
	    text, "2 @192.0.2.7 40 0 ;1 ann@192.0.2.7 55 70 more;");
	text[0] = '\0';
	assert_int_equal(history_uses(h, note_use, text), 0);
	assert_string_equal(text,
	    "ann 0 12 192.0.2.8 ;ann 7 13 2001:db8::1 other;"
	    "bob 0 10 192.0.2.7 phone;");
}

static void
keeps(void **state)
{
	struct history *h = open_it();
	unsigned n = 0;
	struct stat sb;

	(void)state;
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	write_all(h);
	check_all(h);
	assert_int_equal(history_uses(h, stop, &n), 0);
	assert_int_equal(n, 1);
	history_close(&h);
	assert_null(h);
	history_close(&h);
	h = open_it();
	check_all(h);
	history_close(&h);
}

static void
outlives_its_process(void **state)
{
	struct history *h;
	int status;
	pid_t pid;

	(void)state;
	if ((pid = fork()) == 0) {
		h = open_it();
		write_all(h);
		history_begin(h); /* what is not committed is lost */
		history_counter_del(h, 1, "ann", "192.0.2.7");
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	h = open_it();
	check_all(h);
	history_close(&h);
}

static void
rolls_back(void **state)
{
	struct history *h = open_it();

	(void)state;
	write_all(h);
	assert_int_equal(history_begin(h), 0);
	assert_int_equal(history_counter_del(h, 2, "", "192.0.2.7"), 0);
	history_rollback(h);
	history_rollback(h);
	check_all(h);
	history_close(&h);
}

static void
put_file(const char *bytes)
{
	FILE *fp = fopen(path, "w");

	assert_non_null(fp);
	fputs(bytes, fp);
	assert_int_equal(fclose(fp), 0);
}

static void
broken_one_is_put_aside(void **state)
{
	char name[128], text[512] = "";
	struct history *h;

	(void)state;
	put_file("This is no database, and long enough to be taken for one.");
	h = open_it();
	assert_int_equal(history_counters(h, note_counter, text), 0);
	assert_string_equal(text, "");
	write_all(h);
	check_all(h);
	history_close(&h);
	snprintf(name, sizeof(name), "%s.bad", path);
	assert_int_equal(access(name, F_OK), 0);
}

static void
says_why_it_fails(void **state)
{
	struct history *h = NULL;

	(void)state;
	assert_int_equal(history_open("/nonexistent", &h), -1);
	assert_non_null(
	    strstr(history_errtext(h), "/nonexistent/history.db: No such"));
	history_close(&h);
	h = open_it();
	/* a row the schema refuses */
	assert_int_equal(history_begin(h), 0);
	assert_int_equal(
	    history_use_put(h, &(struct history_use){ "ann", -1, 1, "", "" }),
	    -1);
	assert_non_null(strstr(history_errtext(h), "CHECK"));
	assert_int_equal(history_commit(h), 0);
	history_close(&h);
}

#define T(f) cmocka_unit_test_setup_teardown(f, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(keeps),
		T(outlives_its_process),
		T(rolls_back),
		T(broken_one_is_put_aside),
		T(says_why_it_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
