/*
 * store/db.c: opening, transactions, change detection, writers that die.
 */
#include "unit_store_fixture.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "store/access.h"
#include "store/audit.h"
#include "store/user.h"

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
test_open_errors(void **state)
{
	struct fixture *fx = *state;
	struct store *st;
	char path[128];

	snprintf(path, sizeof(path), "%s/other.db", fx->dir);
	assert_int_equal(store_open(path, STORE_RO, &st), STORE_NONE);
	assert_non_null(strstr(store_errtext(st), "No such file"));
	assert_int_equal(store_user_add(st, "ann", NULL), STORE_NONE);
	store_close(&st);
	assert_null(st);
	assert_int_equal(store_open(path, STORE_RW, &st), STORE_NONE);
	store_close(&st);

	assert_int_equal(store_open(fx->path, STORE_CREATE, &st), STORE_EXISTS);
	store_close(&st);
	assert_int_equal(access(fx->path, F_OK), 0);

	assert_int_equal(store_open(fx->dir, STORE_RO, &st), STORE_DAMAGED);
	store_close(&st);

	write_file(path,
	    "this is no database, but it is long enough to be "
	    "looked at as if it were one, all of its first page");
	assert_int_equal(store_open(path, STORE_RO, &st), STORE_DAMAGED);
	store_close(&st);
	assert_int_equal(store_open(path, STORE_RW, &st), STORE_DAMAGED);
	store_close(&st);
	unlink(path);

	snprintf(path, sizeof(path), "%s/no/such.db", fx->dir);
	assert_int_equal(store_open(path, STORE_CREATE, &st), STORE_NONE);
	store_close(&st);
	store_close(&st);
}

static void
test_open_empty_file(void **state)
{
	struct fixture *fx = *state;
	struct store *st;
	char path[128];

	/* What a killed "init" may leave: a reader refuses, a writer fills. */
	snprintf(path, sizeof(path), "%s/other.db", fx->dir);
	write_file(path, "");
	assert_int_equal(store_open(path, STORE_RO, &st), STORE_OLDER);
	store_close(&st);
	assert_int_equal(store_open(path, STORE_RW, &st), STORE_OK);
	assert_int_equal(store_user_add(st, "ann", NULL), STORE_OK);
	store_close(&st);
	assert_int_equal(store_open(path, STORE_RO, &st), STORE_OK);
	store_close(&st);
	unlink(path);
}

static void
test_open_modes(void **state)
{
	struct fixture *fx = *state;
	struct stat sb;
	struct store *st;

	assert_int_equal(stat(fx->path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	assert_int_equal(store_open(fx->path, STORE_RO, &st), STORE_OK);
	assert_int_equal(store_user_add(st, "ann", NULL), STORE_INVALID);
	assert_int_equal(store_begin(st), STORE_INVALID);
	store_close(&st);
}

/* What a process without any privilege gets from store_open(). */
static enum store_rc
open_as_nobody(const char *path, enum store_mode mode)
{
	struct store *st;
	int status;
	pid_t pid;

	if ((pid = fork()) == 0) {
		if (geteuid() == 0 && setuid(65534) == -1)
			_exit(255);
		_exit((int)store_open(path, mode, &st));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return (enum store_rc)WEXITSTATUS(status);
}

static void
test_open_denied(void **state)
{
	struct fixture *fx = *state;
	char path[128];

	assert_int_equal(chmod(fx->dir, 0755), 0);
	assert_int_equal(chmod(fx->path, 0444), 0);
	assert_int_equal(open_as_nobody(fx->path, STORE_RO), STORE_OK);
	assert_int_equal(open_as_nobody(fx->path, STORE_RW), STORE_DENIED);
	assert_int_equal(chmod(fx->path, 0), 0);
	assert_int_equal(open_as_nobody(fx->path, STORE_RO), STORE_DENIED);
	assert_int_equal(chmod(fx->dir, 0555), 0);
	snprintf(path, sizeof(path), "%s/other.db", fx->dir);
	assert_int_equal(open_as_nobody(path, STORE_CREATE), STORE_DENIED);
	assert_int_equal(chmod(fx->dir, 0700), 0);
}

static void
test_create_fails(void **state)
{
	struct fixture *fx = *state;
	const struct rlimit small = { 4096, 4096 };
	struct store *st;
	char path[128];
	int status;
	pid_t pid;

	/* As if the disk were full: no half-made store is left. */
	snprintf(path, sizeof(path), "%s/other.db", fx->dir);
	if ((pid = fork()) == 0) {
		signal(SIGXFSZ, SIG_IGN);
		if (setrlimit(RLIMIT_FSIZE, &small) == -1)
			_exit(255);
		_exit((int)store_open(path, STORE_CREATE, &st));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), STORE_IO);
	assert_int_equal(access(path, F_OK), -1);
}

static void
test_transaction(void **state)
{
	struct fixture *fx = *state;
	struct store_user user;
	int64_t id;

	assert_rc(fx, store_commit(fx->st), STORE_INVALID);
	assert_rc(fx, store_begin(fx->st), STORE_OK);
	assert_rc(fx, store_begin(fx->st), STORE_INVALID);
	assert_rc(fx, store_user_add(fx->st, "ann", &id), STORE_OK);
	/* A refusal undoes its own write only. */
	assert_rc(fx, store_user_add(fx->st, "ann", NULL), STORE_EXISTS);
	assert_rc(
	    fx, store_address_add(fx->st, id, "ann@example.org"), STORE_OK);
	assert_rc(fx, store_commit(fx->st), STORE_OK);
	assert_rc(fx, store_user_get(fx->st, "ann", &user), STORE_OK);

	assert_rc(fx, store_begin(fx->st), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", NULL), STORE_OK);
	assert_rc(fx, store_user_get(fx->st, "bo", &user), STORE_OK);
	store_rollback(fx->st);
	store_rollback(fx->st);
	assert_rc(fx, store_user_get(fx->st, "bo", &user), STORE_NONE);
	assert_rc(fx, store_user_add(fx->st, "cy", NULL), STORE_OK);
}

static void
test_busy(void **state)
{
	struct fixture *fx = *state;
	struct store_user user;
	struct store *other;

	assert_int_equal(store_open(fx->path, STORE_RW, &other), STORE_OK);
	assert_rc(fx, store_begin(fx->st), STORE_OK);
	assert_int_equal(store_user_add(other, "bo", NULL), STORE_BUSY);
	assert_non_null(strstr(store_errtext(other), "another writer"));
	/* A writer that hasn't committed keeps no reader out. */
	assert_int_equal(store_user_get(other, "bo", &user), STORE_NONE);
	assert_rc(fx, store_commit(fx->st), STORE_OK);
	assert_int_equal(store_user_add(other, "bo", NULL), STORE_OK);
	store_close(&other);
}

struct audit_log {
	int rows;
	char what[64], object[64], detail[64], actor[64];
	int64_t uid;
};

static int
keep_audit(const struct store_audit *row, void *arg)
{
	struct audit_log *log = arg;

	log->rows++;
	log->uid = row->uid;
	snprintf(log->actor, sizeof(log->actor), "%s", row->actor);
	snprintf(log->what, sizeof(log->what), "%s", row->what);
	snprintf(log->object, sizeof(log->object), "%s", row->object);
	snprintf(log->detail, sizeof(log->detail), "%s", row->detail);
	return 0;
}

static void
test_audit(void **state)
{
	struct fixture *fx = *state;
	struct audit_log log = { .rows = 0 };

	store_set_actor(fx->st, "ann (sudo)");
	assert_rc(fx, store_access_set(fx->st, "TLS_Clt:", "VERIFY"), STORE_OK);
	assert_rc(fx, store_access_set(fx->st, "TLS Clt:", "x"), STORE_INVALID);
	assert_rc(fx, store_access_del(fx->st, "To:nobody"), STORE_NONE);
	assert_rc(fx, store_audit_list(fx->st, 0, keep_audit, &log), STORE_OK);
	assert_int_equal(log.rows, 1);
	assert_int_equal(log.uid, getuid());
	assert_string_equal(log.actor, "ann (sudo)");
	assert_string_equal(log.what, "access set");
	assert_string_equal(log.object, "TLS_Clt:");
	assert_string_equal(log.detail, "VERIFY");

	/* The row goes with the write it tells of. */
	assert_rc(fx, store_begin(fx->st), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", NULL), STORE_OK);
	store_rollback(fx->st);
	log.rows = 0;
	assert_rc(fx, store_audit_list(fx->st, 0, keep_audit, &log), STORE_OK);
	assert_int_equal(log.rows, 1);
}

static void
test_settings(void **state)
{
	struct fixture *fx = *state;
	char value[8];

	assert_rc(fx, store_setting_get(fx->st, "realm", value, sizeof(value)),
	    STORE_NONE);
	assert_rc(fx, store_setting_set(fx->st, "realm", "example"), STORE_OK);
	assert_rc(fx, store_setting_get(fx->st, "realm", value, sizeof(value)),
	    STORE_OK);
	assert_string_equal(value, "example");
	assert_rc(fx, store_setting_set(fx->st, "realm", "too long"), STORE_OK);
	assert_rc(fx, store_setting_get(fx->st, "realm", value, sizeof(value)),
	    STORE_INVALID);
	assert_rc(fx, store_setting_set(fx->st, "No Name", "x"), STORE_INVALID);
}

static uint64_t
version_of(struct store *st)
{
	uint64_t version = 0;

	if (store_version(st, &version) != STORE_OK)
		fail_msg("%s", store_errtext(st));
	return version;
}

static void
test_version(void **state)
{
	struct fixture *fx = *state;
	struct store_user user;
	struct store *reader, *fresh;
	char path[128];
	uint64_t before, now;

	assert_int_equal(store_open(fx->path, STORE_RO, &reader), STORE_OK);
	before = version_of(reader);
	assert_int_equal(version_of(reader), before);
	assert_rc(fx, store_user_add(fx->st, "ann", NULL), STORE_OK);
	now = version_of(reader);
	assert_true(now > before);
	assert_int_equal(version_of(reader), now);
	/* What is rolled back is no change. */
	assert_rc(fx, store_begin(fx->st), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", NULL), STORE_OK);
	store_rollback(fx->st);
	assert_int_equal(version_of(reader), now);
	/* The own commits count, too. */
	before = version_of(fx->st);
	assert_rc(fx, store_user_add(fx->st, "bo", NULL), STORE_OK);
	assert_true(version_of(fx->st) > before);

	/* Another file in the place of the one that is open. */
	now = version_of(reader);
	snprintf(path, sizeof(path), "%s/fresh.db", fx->dir);
	assert_int_equal(store_open(path, STORE_CREATE, &fresh), STORE_OK);
	assert_int_equal(store_user_add(fresh, "cy", NULL), STORE_OK);
	store_close(&fresh);
	store_close(&fx->st);
	assert_int_equal(rename(path, fx->path), 0);
	assert_true(version_of(reader) > now);
	assert_int_equal(store_user_get(reader, "cy", &user), STORE_OK);
	assert_int_equal(store_user_get(reader, "ann", &user), STORE_NONE);

	/* Away, broken, and back. */
	now = version_of(reader);
	assert_int_equal(rename(fx->path, path), 0);
	assert_int_equal(store_version(reader, &before), STORE_NONE);
	write_file(fx->path, "no database, by no means, not at all, never was");
	assert_int_equal(store_version(reader, &before), STORE_DAMAGED);
	assert_int_equal(store_user_get(reader, "cy", &user), STORE_DAMAGED);
	assert_int_equal(rename(path, fx->path), 0);
	assert_true(version_of(reader) > now);
	assert_int_equal(store_user_get(reader, "cy", &user), STORE_OK);
	store_close(&reader);
}

static void
test_hold(void **state)
{
	struct fixture *fx = *state;
	struct store_user user;
	struct store *reader, *fresh;
	char path[128];
	uint64_t before, held;

	assert_int_equal(store_open(fx->path, STORE_RO, &reader), STORE_OK);
	store_release(reader); /* nothing is held: harmless */
	before = version_of(reader);
	assert_int_equal(store_hold(reader, &held), STORE_OK);
	assert_int_equal(held, before);
	/* A writer can't commit, so that all that is read fits together. */
	assert_rc(fx, store_user_add(fx->st, "ann", NULL), STORE_BUSY);
	assert_int_equal(store_user_get(reader, "ann", &user), STORE_NONE);
	assert_int_equal(store_hold(reader, &held), STORE_OK);
	assert_int_equal(held, before);
	store_release(reader);
	assert_rc(fx, store_user_add(fx->st, "ann", NULL), STORE_OK);
	/* Seen by the next one. */
	assert_int_equal(store_hold(reader, &held), STORE_OK);
	assert_true(held > before);
	assert_int_equal(store_user_get(reader, "ann", &user), STORE_OK);
	/* Another file in its place is seen by the next one, too. */
	snprintf(path, sizeof(path), "%s/fresh.db", fx->dir);
	assert_int_equal(store_open(path, STORE_CREATE, &fresh), STORE_OK);
	store_close(&fresh);
	before = held;
	assert_int_equal(rename(path, fx->path), 0);
	assert_int_equal(store_hold(reader, &held), STORE_OK);
	assert_int_equal(held, before);
	assert_int_equal(store_user_get(reader, "ann", &user), STORE_OK);
	store_release(reader);
	assert_int_equal(store_hold(reader, &held), STORE_OK);
	assert_true(held > before);
	assert_int_equal(store_user_get(reader, "ann", &user), STORE_NONE);
	store_release(reader);
	assert_int_equal(unlink(fx->path), 0);
	assert_int_equal(store_hold(reader, &held), STORE_NONE);
	store_close(&fx->st);
	assert_int_equal(
	    store_open(fx->path, STORE_CREATE, &fx->st), STORE_OK);
	assert_int_equal(store_hold(reader, &held), STORE_OK);
	store_close(&reader); /* ends it, too */
	assert_rc(fx, store_user_add(fx->st, "bo", NULL), STORE_OK);
}

/* Exits 0 if all went well; a signal if `die` is set. */
static void
child_writer(const char *path, int rounds, bool die)
{
	static char big[100000];
	struct store *st;
	enum store_rc rc;
	char name[32];

	memset(big, 'x', sizeof(big) - 1);
	if (store_open(path, STORE_RW, &st) != STORE_OK)
		_exit(1);
	for (int i = 0; i < rounds; i++) {
		while ((rc = store_begin(st)) == STORE_BUSY)
			continue; /* a slow machine */
		if (rc != STORE_OK)
			_exit(2);
		snprintf(name, sizeof(name), "left%d", i);
		if (store_user_add(st, name, NULL) != STORE_OK)
			_exit(3);
		/* More than the page cache holds: pages reach the file. */
		for (int k = 0; die && k < 60; k++) {
			snprintf(name, sizeof(name), "big%d", k);
			if (store_setting_set(st, name, big) != STORE_OK)
				_exit(4);
		}
		if (die)
			raise(SIGKILL);
		snprintf(name, sizeof(name), "right%d", i);
		if (store_user_add(st, name, NULL) != STORE_OK)
			_exit(5);
		if ((rc = store_commit(st)) == STORE_BUSY)
			i--; /* undone: once more */
		else if (rc != STORE_OK)
			_exit(6);
	}
	store_close(&st);
	_exit(0);
}

static int
count_user(const struct store_user *user, void *arg)
{
	(void)user;
	++*(int *)arg;
	return 0;
}

static void
test_hot_journal(void **state)
{
	struct fixture *fx = *state;
	struct store *reader, *late;
	struct store_user user;
	uint64_t version;
	int status;
	pid_t pid;

	assert_rc(fx, store_user_add(fx->st, "ann", NULL), STORE_OK);
	store_close(&fx->st);
	assert_int_equal(store_open(fx->path, STORE_RO, &reader), STORE_OK);
	if ((pid = fork()) == 0)
		child_writer(fx->path, 1, true);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));

	assert_int_equal(
	    store_user_get(reader, "ann", &user), STORE_READONLY_HOT);
	assert_int_equal(store_version(reader, &version), STORE_READONLY_HOT);
	assert_int_equal(
	    store_open(fx->path, STORE_RO, &late), STORE_READONLY_HOT);
	assert_non_null(strstr(store_errtext(late), "write access"));
	store_close(&late);

	assert_int_equal(store_open(fx->path, STORE_RW, &fx->st), STORE_OK);
	assert_int_equal(store_user_get(reader, "ann", &user), STORE_OK);
	assert_int_equal(store_user_get(reader, "left0", &user), STORE_NONE);
	assert_int_equal(store_version(reader, &version), STORE_OK);
	store_close(&reader);
}

static void
test_reader_beside_writer(void **state)
{
	struct fixture *fx = *state;
	struct store *reader;
	int status, users = 0;
	enum store_rc rc;
	pid_t pid;

	store_close(&fx->st);
	assert_int_equal(store_open(fx->path, STORE_RO, &reader), STORE_OK);
	if ((pid = fork()) == 0)
		child_writer(fx->path, 50, false);
	/* Pairs are committed together: never is a half of one seen. */
	while (waitpid(pid, &status, WNOHANG) == 0) {
		users = 0;
		rc = store_user_list(reader, count_user, &users);
		if (rc == STORE_BUSY)
			continue; /* the writer has slept with its lock */
		if (rc != STORE_OK)
			fail_msg("%s", store_errtext(reader));
		assert_int_equal(users % 2, 0);
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	users = 0;
	assert_int_equal(store_user_list(reader, count_user, &users), STORE_OK);
	assert_int_equal(users, 100);
	store_close(&reader);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_open_errors),
		FIXTURE_TEST(test_open_empty_file),
		FIXTURE_TEST(test_open_modes),
		FIXTURE_TEST(test_open_denied),
		FIXTURE_TEST(test_create_fails),
		FIXTURE_TEST(test_transaction),
		FIXTURE_TEST(test_busy),
		FIXTURE_TEST(test_audit),
		FIXTURE_TEST(test_settings),
		FIXTURE_TEST(test_version),
		FIXTURE_TEST(test_hold),
		FIXTURE_TEST(test_hot_journal),
		FIXTURE_TEST(test_reader_beside_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
