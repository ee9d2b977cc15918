/*
 * store/mailq.c, mailq_msg.c, mailq_body.c, mailq_schema.c: the spool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <unistd.h>

#include "store/mailq.h"

#define QID 0x193ab7c00001u
#define MIB UINT64_C(1048576)

struct fixture {
	char dir[64];
	struct mailq *mq;
	unsigned lost; /* reports of mailq_tidy() */
};

#define assert_rc(fx, got, want)                                               \
	do {                                                                   \
		enum mailq_rc got_ = (got);                                    \
		if (got_ != (want))                                            \
			fail_msg("%s: got %d (%s), want %d", #got, got_,       \
			    mailq_errtext((fx)->mq), want);                    \
	} while (0)
#define OK(call) assert_rc(fx, call, MAILQ_OK)

static int
fixture_up(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	snprintf(fx->dir, sizeof(fx->dir), "/tmp/unit_mailq.XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	OK(mailq_open(fx->dir, &fx->mq));
	*state = fx;
	return 0;
}

static int
fixture_down(void **state)
{
	struct fixture *fx = *state;
	char cmd[128];

	mailq_close(&fx->mq);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", fx->dir);
	assert_int_equal(system(cmd), 0);
	free(fx);
	return 0;
}

static void
reopen(struct fixture *fx)
{
	mailq_close(&fx->mq);
	OK(mailq_open(fx->dir, &fx->mq));
}

static bool
there(const struct fixture *fx, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", fx->dir, name);
	return access(path, F_OK) == 0;
}

static void
make_file(const struct fixture *fx, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", fx->dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* ---- messages to work with ---- */

static struct mailq_msg
message(uint64_t qid, const char *body)
{
	struct mailq_msg m = {
		.qid = qid,
		.sid = UINT64_C(0xffffff0000000007),
		.user_id = 3,
		.user = "ann",
		.how = "PLAIN",
		.client_addr = "192.0.2.7",
		.from = "ann@example.org",
		.opt = { .body = BODY_8BITMIME,
			.utf8 = 1,
			.require_tls = 1,
			.ret = RET_HDRS,
			.by_mode = BY_RETURN,
			.by_trace = 1,
			.priority = PRIORITY_NORMAL + 3,
			.by_ms = 77000,
			.hold_ms = 500,
			.envid = "QQ+3D1",
			.auth = "ann+2Bx@example.org" },
		.size = strlen(body),
		.arrived_ms = 1000,
		.since_ms = 1000,
	};

	return m;
}

static const struct mailq_rcpt two[] = {
	{ .address = "bo@example.net", .next_ms = 1000 },
	{ .address = "cy@example.com",
	    .next_ms = 1000,
	    .opt = { NOTIFY_SUCCESS | NOTIFY_DELAY, "rfc822;c+2By@example.com" } },
};

static enum mailq_rc
add(struct fixture *fx, uint64_t qid, const char *body)
{
	struct mailq_msg m = message(qid, body);

	return mailq_add(fx->mq, &m, body, two, 2);
}

static void
add_committed(struct fixture *fx, uint64_t qid, const char *body)
{
	OK(mailq_begin(fx->mq));
	OK(add(fx, qid, body));
	OK(mailq_commit(fx->mq));
}

static void
write_body(struct fixture *fx, uint64_t qid, const char *body)
{
	int fd;

	OK(mailq_body_create(fx->mq, qid, &fd));
	assert_int_equal(write(fd, body, strlen(body)), strlen(body));
	assert_int_equal(close(fd), 0);
}

static enum mailq_rc
add_file(struct fixture *fx, uint64_t qid, const char *body)
{
	struct mailq_msg m = message(qid, body);

	m.in_file = true;
	return mailq_add(fx->mq, &m, NULL, two, 2);
}

static enum mailq_rc
result(struct fixture *fx, uint64_t qid, uint32_t n, enum mailq_state state,
    int64_t next_ms)
{
	struct mailq_rcpt r = {
		.n = n,
		.state = state,
		.next_ms = next_ms,
		.last_ms = 2000,
		.code = 451,
		.esc = "4.3.0",
		.text = "later",
		.mta = "mx[192.0.2.1]:25",
	};

	return mailq_result(fx->mq, qid, &r);
}

/* Results of both recipients and what follows from them; true: it is over. */
static bool
results(struct fixture *fx, uint64_t qid, enum mailq_state first,
    enum mailq_state second, int64_t next_ms)
{
	bool done = false;

	OK(mailq_begin(fx->mq));
	OK(result(fx, qid, 0, first, next_ms));
	OK(result(fx, qid, 1, second, next_ms));
	OK(mailq_settle(fx->mq, qid, &done));
	OK(mailq_commit(fx->mq));
	return done;
}

static size_t
due(struct fixture *fx, bool tried, int64_t now)
{
	uint64_t qid[16];
	size_t n;

	OK(mailq_due(fx->mq, tried, now, qid, 16, &n));
	return n;
}

static enum mailq_state
state_of(struct fixture *fx, uint64_t qid, size_t i)
{
	struct mailq_mail *mail;
	enum mailq_state s;

	OK(mailq_load(fx->mq, qid, &mail));
	s = mail->rcpt[i].state;
	mailq_mail_free(&mail);
	return s;
}

/* ---- opening ---- */

static void
test_dir_must_be_private(void **state)
{
	struct fixture *fx = *state;
	struct mailq *mq;

	mailq_close(&fx->mq);
	assert_int_equal(chmod(fx->dir, 0750), 0);
	assert_int_equal(mailq_open(fx->dir, &mq), MAILQ_DENIED);
	assert_non_null(strstr(mailq_errtext(mq), "0700"));
	mailq_close(&mq);
	assert_null(mq);
	assert_int_equal(chmod(fx->dir, 0700), 0);
	assert_int_equal(mailq_open("/nonexistent/spool", &mq), MAILQ_IO);
	mailq_close(&mq);
	mailq_close(&mq);
}

static void
test_lock(void **state)
{
	struct fixture *fx = *state;
	struct mailq *other;

	assert_int_equal(mailq_open(fx->dir, &other), MAILQ_BUSY);
	assert_int_equal(mailq_reopen(other), MAILQ_BUSY);
	mailq_close(&fx->mq);
	assert_int_equal(mailq_reopen(other), MAILQ_OK);
	assert_int_equal(mailq_open(fx->dir, &fx->mq), MAILQ_BUSY);
	mailq_close(&other);
}

static void
test_not_a_queue(void **state)
{
	struct fixture *fx = *state;
	char text[1024];

	mailq_close(&fx->mq);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	make_file(fx, "queue.db", text);
	assert_int_equal(mailq_open(fx->dir, &fx->mq), MAILQ_DAMAGED);
}

/* Bytes 60 to 63 of the header are user_version (SQLite file format 1.3). */
static void
test_newer(void **state)
{
	struct fixture *fx = *state;
	char path[128];
	int fd;

	mailq_close(&fx->mq);
	snprintf(path, sizeof(path), "%s/queue.db", fx->dir);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "\0\0\0\x63", 4, 60), 4);
	close(fd);
	assert_int_equal(mailq_open(fx->dir, &fx->mq), MAILQ_NEWER);
}

/* A spool of before the first release: its version says more than it has. */
static void
test_early(void **state)
{
	struct fixture *fx = *state;
	char path[128];
	sqlite3 *db;

	mailq_close(&fx->mq);
	snprintf(path, sizeof(path), "%s/queue.db", fx->dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
			     "DROP TABLE sent; DROP TABLE known;"
			     "DROP TABLE suspended; DROP INDEX message_by;"
			     "DROP INDEX message_priority;"
			     "CREATE TABLE counter (user TEXT);"
			     "ALTER TABLE message DROP COLUMN auth;"
			     "PRAGMA user_version = 3;",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(mailq_open(fx->dir, &fx->mq), MAILQ_OK);
	mailq_close(&fx->mq);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
			     "SELECT user_id FROM sent; SELECT * FROM known;"
			     "SELECT user_id FROM suspended;"
			     "SELECT auth FROM message;",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	assert_int_not_equal(
	    sqlite3_exec(db, "SELECT * FROM counter", NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(mailq_open(fx->dir, &fx->mq), MAILQ_OK);
}

/* ---- adding ---- */

static void
test_add_and_load(void **state)
{
	struct fixture *fx = *state;
	struct mailq_mail *m;
	char body[16];
	size_t len;

	add_committed(fx, QID, "hello\r\n");
	reopen(fx);
	OK(mailq_load(fx->mq, QID, &m));
	assert_true(m->msg.sid == UINT64_C(0xffffff0000000007));
	assert_int_equal(m->msg.user_id, 3);
	assert_string_equal(m->msg.user, "ann");
	assert_string_equal(m->msg.how, "PLAIN");
	assert_string_equal(m->msg.client_addr, "192.0.2.7");
	assert_string_equal(m->msg.from, "ann@example.org");
	assert_int_equal(m->msg.opt.body, BODY_8BITMIME);
	assert_int_equal(m->msg.opt.utf8, 1);
	assert_int_equal(m->msg.opt.require_tls, 1);
	assert_int_equal(m->msg.opt.ret, RET_HDRS);
	assert_int_equal(m->msg.opt.by_mode, BY_RETURN);
	assert_int_equal(m->msg.opt.by_trace, 1);
	assert_int_equal(m->msg.opt.priority, PRIORITY_NORMAL + 3);
	assert_int_equal(m->msg.opt.by_ms, 77000);
	assert_int_equal(m->msg.opt.hold_ms, 500);
	assert_string_equal(m->msg.opt.envid, "QQ+3D1");
	assert_string_equal(m->msg.opt.auth, "ann+2Bx@example.org");
	assert_int_equal(m->rcpt[0].opt.notify, 0);
	assert_string_equal(m->rcpt[0].opt.orcpt, "");
	assert_int_equal(
	    m->rcpt[1].opt.notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
	assert_string_equal(m->rcpt[1].opt.orcpt, "rfc822;c+2By@example.com");
	assert_int_equal(m->msg.size, 7);
	assert_false(m->msg.in_file);
	assert_false(m->msg.tried);
	assert_int_equal(m->msg.arrived_ms, 1000);
	assert_int_equal(m->nrcpt, 2);
	assert_int_equal(m->rcpt[1].n, 1);
	assert_string_equal(m->rcpt[1].address, "cy@example.com");
	assert_int_equal(m->rcpt[1].state, MAILQ_WAITING);
	assert_int_equal(m->rcpt[1].attempts, 0);
	OK(mailq_body_read(fx->mq, &m->msg, body, sizeof(body), &len));
	assert_int_equal(len, 7);
	assert_memory_equal(body, "hello\r\n", 7);
	OK(mailq_body_read(fx->mq, &m->msg, body, 3, &len));
	assert_int_equal(len, 3);
	mailq_mail_free(&m);
	assert_null(m);
	assert_rc(fx, mailq_load(fx->mq, QID + 1, &m), MAILQ_NONE);
	assert_non_null(strstr(mailq_errtext(fx->mq), "193ab7c00002"));
}

static void
test_empty_body(void **state)
{
	struct fixture *fx = *state;
	struct mailq_msg m = message(QID, "");
	char body[4];
	size_t len = 9;

	add_committed(fx, QID, "");
	OK(mailq_body_read(fx->mq, &m, body, sizeof(body), &len));
	assert_int_equal(len, 0);
}

/* What one item does wrong concerns no other of its transaction. */
static void
test_refused_item(void **state)
{
	struct fixture *fx = *state;
	struct mailq_msg m = message(QID + 1, "x");
	struct mailq_rcpt bad[] = { two[0], { .address = "" } };
	size_t n;
	uint64_t qid[4];

	OK(mailq_begin(fx->mq));
	OK(add(fx, QID, "one"));
	assert_rc(fx, mailq_add(fx->mq, &m, "x", bad, 2), MAILQ_INVALID);
	assert_rc(fx, mailq_add(fx->mq, &m, "x", NULL, 0), MAILQ_INVALID);
	assert_rc(fx, add(fx, QID, "the same id"), MAILQ_INVALID);
	m.qid = 0;
	assert_rc(fx, mailq_add(fx->mq, &m, "x", two, 2), MAILQ_INVALID);
	assert_rc(fx, result(fx, QID + 5, 0, MAILQ_DELIVERED, 0), MAILQ_NONE);
	OK(add(fx, QID + 2, "two"));
	OK(mailq_commit(fx->mq));
	OK(mailq_list(fx->mq, 0, qid, 4, &n));
	assert_int_equal(n, 2);
	assert_true(qid[0] == QID && qid[1] == QID + 2);
}

static void
test_rollback(void **state)
{
	struct fixture *fx = *state;
	struct mailq_stats s;

	OK(mailq_begin(fx->mq));
	OK(add(fx, QID, "one"));
	mailq_rollback(fx->mq);
	mailq_rollback(fx->mq);
	OK(mailq_stats(fx->mq, &s));
	assert_int_equal(s.messages, 0);
	assert_rc(fx, mailq_commit(fx->mq), MAILQ_IO);
}

/* ---- bodies in files ---- */

static void
test_file_body(void **state)
{
	struct fixture *fx = *state;
	struct mailq_msg m = message(QID, "large");
	char body[16];
	size_t len;
	int fd;

	write_body(fx, QID, "large");
	assert_true(there(fx, "tmp.0193ab7c00001"));
	OK(mailq_begin(fx->mq));
	OK(add_file(fx, QID, "large"));
	OK(mailq_commit(fx->mq));
	assert_false(there(fx, "tmp.0193ab7c00001"));
	assert_true(there(fx, "0193ab7c00001.msg"));

	OK(mailq_body_open(fx->mq, QID, 5, &fd));
	assert_int_equal(read(fd, body, sizeof(body)), 5);
	assert_memory_equal(body, "large", 5);
	assert_int_equal(write(fd, "x", 1), -1); /* for reading only */
	close(fd);
	m.in_file = true;
	OK(mailq_body_read(fx->mq, &m, body, 3, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(body, "lar", 3);

	assert_rc(fx, mailq_body_open(fx->mq, QID, 6, &fd), MAILQ_INVALID);
	assert_rc(fx, mailq_body_open(fx->mq, QID + 1, 5, &fd), MAILQ_INVALID);

	assert_true(results(fx, QID, MAILQ_DELIVERED, MAILQ_FAILED, 0));
	assert_false(there(fx, "0193ab7c00001.msg"));
}

static void
test_file_refused(void **state)
{
	struct fixture *fx = *state;
	int fd;

	write_body(fx, QID, "large");
	assert_rc(fx, mailq_body_create(fx->mq, QID, &fd), MAILQ_IO);
	OK(mailq_begin(fx->mq));
	assert_rc(fx, add_file(fx, QID, "larger than"), MAILQ_INVALID);
	assert_rc(fx, add_file(fx, QID + 1, "none"), MAILQ_INVALID);
	OK(mailq_commit(fx->mq));
	assert_false(there(fx, "tmp.0193ab7c00001"));
	assert_false(there(fx, "0193ab7c00001.msg"));

	write_body(fx, QID, "large");
	mailq_body_discard(fx->mq, QID);
	mailq_body_discard(fx->mq, QID);
	assert_false(there(fx, "tmp.0193ab7c00001"));
}

static void
test_file_is_no_file(void **state)
{
	struct fixture *fx = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/tmp.0193ab7c00001", fx->dir);
	make_file(fx, "lock2", "large");
	assert_int_equal(symlink("lock2", path), 0);
	OK(mailq_begin(fx->mq));
	assert_rc(fx, add_file(fx, QID, "large"), MAILQ_INVALID);
	mailq_rollback(fx->mq);
}

static void
test_file_rollback(void **state)
{
	struct fixture *fx = *state;

	write_body(fx, QID, "large");
	OK(mailq_begin(fx->mq));
	OK(add_file(fx, QID, "large"));
	mailq_rollback(fx->mq);
	assert_false(there(fx, "0193ab7c00001.msg"));

	/* A rollback of a deletion keeps the file. */
	write_body(fx, QID, "large");
	OK(mailq_begin(fx->mq));
	OK(add_file(fx, QID, "large"));
	OK(mailq_commit(fx->mq));
	OK(mailq_begin(fx->mq));
	OK(mailq_delete(fx->mq, QID));
	mailq_rollback(fx->mq);
	assert_true(there(fx, "0193ab7c00001.msg"));
	OK(mailq_begin(fx->mq));
	OK(mailq_delete(fx->mq, QID));
	OK(mailq_commit(fx->mq));
	assert_false(there(fx, "0193ab7c00001.msg"));
}

static void
on_lost(void *arg, uint64_t qid, const char *what)
{
	struct fixture *fx = arg;

	assert_true(qid == QID || qid == QID + 1);
	assert_non_null(strstr(what, "missing"));
	fx->lost++;
}

static void
test_tidy(void **state)
{
	struct fixture *fx = *state;
	unsigned removed;
	char path[128];

	for (uint64_t i = 0; i < 3; i++) {
		write_body(fx, QID + i, "large");
		OK(mailq_begin(fx->mq));
		OK(add_file(fx, QID + i, "large"));
		OK(mailq_commit(fx->mq));
	}
	add_committed(fx, QID + 9, "inline");
	make_file(fx, "tmp.0193ab7c0000f", "half");
	make_file(fx, "0193ab7c0000e.msg", "no row");
	make_file(fx, "0193ab7c0000a.msg", "its row says inline");
	make_file(fx, "README", "not ours");
	make_file(fx, "193ab7c00001.msg", "not a name we make");
	snprintf(path, sizeof(path), "%s/0193ab7c00001.msg", fx->dir);
	assert_int_equal(unlink(path), 0);
	make_file(fx, "0193ab7c00002.msg", "other size");

	reopen(fx);
	OK(mailq_tidy(fx->mq, &removed, on_lost, fx));
	assert_int_equal(removed, 3);
	assert_int_equal(fx->lost, 2);
	assert_int_equal(state_of(fx, QID, 0), MAILQ_HELD);
	assert_int_equal(state_of(fx, QID + 1, 1), MAILQ_HELD);
	assert_int_equal(state_of(fx, QID + 2, 0), MAILQ_WAITING);
	assert_int_equal(state_of(fx, QID + 9, 0), MAILQ_WAITING);
	assert_true(there(fx, "0193ab7c00003.msg"));
	assert_true(there(fx, "README"));
	assert_true(there(fx, "193ab7c00001.msg"));
	assert_int_equal(due(fx, false, 1000), 2);
}

/* ---- schedule ---- */

static void
test_due_order(void **state)
{
	struct fixture *fx = *state;
	struct mailq_msg m = message(QID, "x");
	struct mailq_rcpt r = { .address = "bo@example.net" };
	static const int64_t next[] = { 300, 100, 200, 5000 };
	uint64_t qid[8];
	int64_t at;
	size_t n;

	OK(mailq_next_due(fx->mq, 0, &at));
	assert_true(at == INT64_MAX);
	OK(mailq_begin(fx->mq));
	for (size_t i = 0; i < 4; i++) {
		m.qid = QID + i;
		r.next_ms = next[i];
		OK(mailq_add(fx->mq, &m, "x", &r, 1));
	}
	OK(mailq_commit(fx->mq));
	OK(mailq_due(fx->mq, false, 1000, qid, 8, &n));
	assert_int_equal(n, 3);
	assert_true(
	    qid[0] == QID + 1 && qid[1] == QID + 2 && qid[2] == QID + 0);
	OK(mailq_due(fx->mq, false, 1000, qid, 2, &n));
	assert_int_equal(n, 2);
	OK(mailq_due(fx->mq, false, 99, qid, 8, &n));
	assert_int_equal(n, 0);
	OK(mailq_due(fx->mq, true, 9999, qid, 8, &n));
	assert_int_equal(n, 0);
	OK(mailq_next_due(fx->mq, 1000, &at));
	assert_int_equal(at, 5000);
	OK(mailq_next_due(fx->mq, 5000, &at));
	assert_true(at == INT64_MAX);
}

static void
test_results(void **state)
{
	struct fixture *fx = *state;
	struct mailq_mail *m;
	bool done;

	add_committed(fx, QID, "x");
	assert_false(results(fx, QID, MAILQ_DELIVERED, MAILQ_DEFERRED, 7000));
	assert_int_equal(due(fx, false, 9999), 0);
	assert_int_equal(due(fx, true, 6999), 0);
	assert_int_equal(due(fx, true, 7000), 1);
	OK(mailq_load(fx->mq, QID, &m));
	assert_true(m->msg.tried);
	assert_int_equal(m->rcpt[0].state, MAILQ_DELIVERED);
	assert_int_equal(m->rcpt[1].state, MAILQ_DEFERRED);
	assert_int_equal(m->rcpt[1].attempts, 1);
	assert_int_equal(m->rcpt[1].next_ms, 7000);
	assert_int_equal(m->rcpt[1].last_ms, 2000);
	assert_int_equal(m->rcpt[1].code, 451);
	assert_string_equal(m->rcpt[1].esc, "4.3.0");
	assert_string_equal(m->rcpt[1].text, "later");
	assert_string_equal(m->rcpt[1].mta, "mx[192.0.2.1]:25");
	mailq_mail_free(&m);

	/* One that is delivered has no more results. */
	OK(mailq_begin(fx->mq));
	assert_rc(fx, result(fx, QID, 0, MAILQ_DEFERRED, 1), MAILQ_NONE);
	OK(result(fx, QID, 1, MAILQ_DELIVERED, 1));
	OK(mailq_settle(fx->mq, QID, &done));
	assert_true(done);
	OK(mailq_commit(fx->mq));
	assert_rc(fx, mailq_load(fx->mq, QID, &m), MAILQ_NONE);
}

static void
test_due_is_the_earliest(void **state)
{
	struct fixture *fx = *state;
	bool done;

	add_committed(fx, QID, "x");
	OK(mailq_begin(fx->mq));
	OK(result(fx, QID, 0, MAILQ_DEFERRED, 9000));
	OK(result(fx, QID, 1, MAILQ_DEFERRED, 8000));
	OK(mailq_settle(fx->mq, QID, &done));
	OK(mailq_commit(fx->mq));
	assert_int_equal(due(fx, true, 7999), 0);
	assert_int_equal(due(fx, true, 8000), 1);
}

static void
test_expire(void **state)
{
	struct fixture *fx = *state;
	struct mailq_rcpt end = { .n = 1, .esc = "5.4.7", .text = "too old" };
	struct mailq_mail *m;
	uint64_t qid[4];
	bool done;
	size_t n;

	add_committed(fx, QID, "x");
	OK(mailq_old(fx->mq, 0, 999, false, qid, 4, &n));
	assert_int_equal(n, 0);
	OK(mailq_old(fx->mq, 0, 1000, false, qid, 4, &n));
	assert_int_equal(n, 1);
	OK(mailq_old(fx->mq, QID, 1000, false, qid, 4, &n));
	assert_int_equal(n, 0);
	OK(mailq_begin(fx->mq));
	OK(mailq_set_delay_sent(fx->mq, QID));
	OK(mailq_expire(fx->mq, QID, &end));
	assert_rc(fx, mailq_expire(fx->mq, QID, &end), MAILQ_NONE);
	OK(mailq_settle(fx->mq, QID, &done));
	assert_false(done);
	OK(mailq_commit(fx->mq));
	OK(mailq_old(fx->mq, 0, 1000, true, qid, 4, &n));
	assert_int_equal(n, 0);
	OK(mailq_old(fx->mq, 0, 1000, false, qid, 4, &n));
	assert_int_equal(n, 1);
	OK(mailq_load(fx->mq, QID, &m));
	assert_int_equal(m->rcpt[1].state, MAILQ_FAILED);
	assert_int_equal(m->rcpt[1].attempts, 0);
	assert_true(m->msg.delay_sent);
	mailq_mail_free(&m);
}

/* What was delivered at once leaves without its results. */
static void
test_delivered(void **state)
{
	struct fixture *fx = *state;
	struct mailq_mail *m;
	int fd;

	add_committed(fx, QID, "x");
	write_body(fx, QID + 1, "large");
	OK(mailq_begin(fx->mq));
	OK(add_file(fx, QID + 1, "large"));
	OK(mailq_commit(fx->mq));
	OK(mailq_begin(fx->mq));
	assert_rc(fx, mailq_delivered(fx->mq, QID + 2, false), MAILQ_NONE);
	OK(mailq_delivered(fx->mq, QID, false));
	OK(mailq_delivered(fx->mq, QID + 1, true));
	OK(mailq_body_open(fx->mq, QID + 1, 5, &fd)); /* until the COMMIT */
	close(fd);
	OK(mailq_commit(fx->mq));
	assert_rc(fx, mailq_load(fx->mq, QID, &m), MAILQ_NONE);
	assert_rc(fx, mailq_load(fx->mq, QID + 1, &m), MAILQ_NONE);
	assert_rc(
	    fx, mailq_body_open(fx->mq, QID + 1, 5, &fd), MAILQ_INVALID);
}

/* The same without the database. */
static void
test_mail_new(void **state)
{
	struct fixture *fx = *state;
	struct mailq_msg msg = message(QID, "x");
	struct mailq_mail *a, *b;

	add_committed(fx, QID, "x");
	OK(mailq_load(fx->mq, QID, &a));
	b = mailq_mail_new(&msg, two, 2);
	assert_string_equal(a->msg.user, b->msg.user);
	assert_string_equal(a->msg.how, b->msg.how);
	assert_string_equal(a->msg.client_addr, b->msg.client_addr);
	assert_string_equal(a->msg.from, b->msg.from);
	assert_true(a->msg.qid == b->msg.qid && a->msg.sid == b->msg.sid);
	assert_true(a->msg.user_id == b->msg.user_id);
	assert_true(a->msg.size == b->msg.size);
	assert_true(a->msg.opt.body == b->msg.opt.body &&
	    a->msg.opt.utf8 == b->msg.opt.utf8 &&
	    a->msg.opt.require_tls == b->msg.opt.require_tls &&
	    a->msg.opt.ret == b->msg.opt.ret &&
	    a->msg.opt.by_mode == b->msg.opt.by_mode &&
	    a->msg.opt.by_trace == b->msg.opt.by_trace &&
	    a->msg.opt.priority == b->msg.opt.priority &&
	    a->msg.opt.by_ms == b->msg.opt.by_ms &&
	    a->msg.opt.hold_ms == b->msg.opt.hold_ms);
	assert_string_equal(a->msg.opt.envid, b->msg.opt.envid);
	assert_string_equal(a->msg.opt.auth, b->msg.opt.auth);
	assert_true(a->msg.in_file == b->msg.in_file);
	assert_true(a->msg.arrived_ms == b->msg.arrived_ms);
	assert_true(a->msg.since_ms == b->msg.since_ms);
	assert_true(a->msg.tried == b->msg.tried);
	assert_int_equal(a->nrcpt, b->nrcpt);
	for (size_t i = 0; i < a->nrcpt; i++) {
		assert_int_equal(a->rcpt[i].n, b->rcpt[i].n);
		assert_int_equal(a->rcpt[i].state, b->rcpt[i].state);
		assert_true(a->rcpt[i].next_ms == b->rcpt[i].next_ms);
		assert_int_equal(a->rcpt[i].attempts, b->rcpt[i].attempts);
		assert_string_equal(a->rcpt[i].address, b->rcpt[i].address);
		assert_string_equal(a->rcpt[i].esc, b->rcpt[i].esc);
		assert_string_equal(a->rcpt[i].text, b->rcpt[i].text);
		assert_string_equal(a->rcpt[i].mta, b->rcpt[i].mta);
		assert_int_equal(
		    a->rcpt[i].opt.notify, b->rcpt[i].opt.notify);
		assert_string_equal(
		    a->rcpt[i].opt.orcpt, b->rcpt[i].opt.orcpt);
	}
	mailq_mail_free(&a);
	mailq_mail_free(&b);
}

static const unsigned char key_a[MAILQ_AGAIN_LEN] = "a",
			   key_b[MAILQ_AGAIN_LEN] = "b";

static void
add_known(struct fixture *fx, uint64_t qid, const void *key)
{
	struct mailq_msg m = message(qid, "x");

	m.again = key;
	OK(mailq_begin(fx->mq));
	OK(mailq_add(fx->mq, &m, "x", two, 2));
	OK(mailq_commit(fx->mq));
}

/* The id of the message with this key, 0: none. */
static uint64_t
known(struct fixture *fx, const void *key, int64_t since_ms)
{
	uint64_t qid = 0;
	enum mailq_rc rc = mailq_again(fx->mq, key, since_ms, &qid);

	assert_rc(fx, rc, qid != 0 ? MAILQ_OK : MAILQ_NONE);
	return qid;
}

static void
test_again(void **state)
{
	struct fixture *fx = *state;
	int64_t at = message(QID, "x").arrived_ms;
	bool any;

	assert_true(known(fx, key_a, 0) == 0);
	add_known(fx, QID, key_a);
	add_known(fx, QID + 1, NULL);
	assert_true(known(fx, key_a, 0) == QID);
	assert_true(known(fx, key_a, at) == QID);
	assert_true(known(fx, key_a, at + 1) == 0);
	assert_true(known(fx, key_b, 0) == 0);
	/* delivered: still known */
	OK(mailq_begin(fx->mq));
	OK(mailq_delivered(fx->mq, QID, false));
	OK(mailq_commit(fx->mq));
	assert_true(known(fx, key_a, 0) == QID);
	/* a later one takes its place */
	add_known(fx, QID + 2, key_a);
	assert_true(known(fx, key_a, 0) == QID + 2);
	/* too old */
	add_known(fx, QID + 3, key_b);
	OK(mailq_begin(fx->mq));
	OK(mailq_again_prune(fx->mq, 'a', at, &any));
	assert_false(any);
	OK(mailq_again_prune(fx->mq, 'a', at + 1, &any));
	assert_true(any);
	OK(mailq_commit(fx->mq));
	assert_true(known(fx, key_a, 0) == 0);
	assert_true(known(fx, key_b, 0) == QID + 3); /* of another part */
}

/* What did not reach everybody is not known any more. */
static void
test_again_failed(void **state)
{
	struct fixture *fx = *state;
	struct mailq_rcpt end = { .n = 1, .esc = "5.4.7", .text = "too old" };
	struct mailq_msg bad = message(QID + 9, "x");
	struct mailq_rcpt none = { .address = "" };

	add_known(fx, QID, key_a);
	OK(mailq_begin(fx->mq));
	OK(result(fx, QID, 0, MAILQ_DEFERRED, 9000));
	OK(mailq_commit(fx->mq));
	assert_true(known(fx, key_a, 0) == QID);
	OK(mailq_begin(fx->mq));
	OK(result(fx, QID, 0, MAILQ_FAILED, 0));
	OK(mailq_commit(fx->mq));
	assert_true(known(fx, key_a, 0) == 0);

	add_known(fx, QID + 1, key_a);
	OK(mailq_begin(fx->mq));
	OK(mailq_expire(fx->mq, QID + 1, &end));
	OK(mailq_commit(fx->mq));
	assert_true(known(fx, key_a, 0) == 0);

	add_known(fx, QID + 2, key_a);
	OK(mailq_begin(fx->mq));
	OK(mailq_delete(fx->mq, QID + 2));
	OK(mailq_commit(fx->mq));
	assert_true(known(fx, key_a, 0) == 0);

	/* refused, within a transaction that goes on */
	bad.again = key_b;
	OK(mailq_begin(fx->mq));
	assert_rc(fx, mailq_add(fx->mq, &bad, "x", &none, 1), MAILQ_INVALID);
	OK(mailq_commit(fx->mq));
	assert_true(known(fx, key_b, 0) == 0);

	/* that an older copy fails is no matter of the newer one */
	add_known(fx, QID + 3, key_a);
	add_known(fx, QID + 4, key_a);
	OK(mailq_begin(fx->mq));
	OK(mailq_delete(fx->mq, QID + 3));
	OK(mailq_commit(fx->mq));
	assert_true(known(fx, key_a, 0) == QID + 4);
}

/* ---- administration ---- */

static void
test_hold_and_release(void **state)
{
	struct fixture *fx = *state;
	struct mailq_mail *m;
	uint64_t qid[4];
	unsigned n;
	size_t k;

	add_committed(fx, QID, "x");
	add_committed(fx, QID + 1, "x");
	OK(mailq_begin(fx->mq));
	assert_rc(fx, mailq_hold(fx->mq, QID + 7, "why", &n), MAILQ_NONE);
	OK(mailq_hold(fx->mq, QID, "why", &n));
	assert_int_equal(n, 1);
	OK(mailq_hold(fx->mq, QID, "why", &n));
	assert_int_equal(n, 0);
	OK(mailq_commit(fx->mq));
	assert_int_equal(due(fx, false, 9999), 1);
	OK(mailq_old(fx->mq, 0, 1000, false, qid, 4, &k));
	assert_int_equal(k, 1); /* what is held doesn't grow old */

	/* A result that comes late leaves it held; but delivered is final. */
	assert_false(results(fx, QID, MAILQ_DEFERRED, MAILQ_DELIVERED, 1));
	assert_int_equal(state_of(fx, QID, 0), MAILQ_HELD);
	assert_int_equal(state_of(fx, QID, 1), MAILQ_DELIVERED);
	assert_int_equal(due(fx, true, 9999), 0);

	OK(mailq_begin(fx->mq));
	OK(mailq_release(fx->mq, 0, 5000, &n));
	OK(mailq_commit(fx->mq));
	assert_int_equal(n, 1);
	assert_int_equal(state_of(fx, QID, 0), MAILQ_WAITING);
	assert_int_equal(state_of(fx, QID, 1), MAILQ_DELIVERED);
	assert_int_equal(due(fx, true, 5000), 1);
	OK(mailq_load(fx->mq, QID, &m));
	assert_int_equal(m->msg.since_ms, 5000);
	assert_int_equal(m->msg.arrived_ms, 1000);
	mailq_mail_free(&m);
}

static void
test_retry(void **state)
{
	struct fixture *fx = *state;
	unsigned n;

	add_committed(fx, QID, "x");
	assert_false(results(fx, QID, MAILQ_DEFERRED, MAILQ_DEFERRED, 90000));
	assert_int_equal(due(fx, true, 3000), 0);
	OK(mailq_begin(fx->mq));
	OK(mailq_retry(fx->mq, 0, 3000, &n));
	OK(mailq_commit(fx->mq));
	assert_int_equal(n, 1);
	assert_int_equal(due(fx, true, 3000), 1);
}

static void
test_delete(void **state)
{
	struct fixture *fx = *state;
	struct mailq_stats s;

	add_committed(fx, QID, "x");
	add_committed(fx, QID + 1, "xyz");
	OK(mailq_stats(fx->mq, &s));
	assert_int_equal(s.messages, 2);
	assert_int_equal(s.bytes, 4);
	assert_int_equal(s.rcpts[MAILQ_WAITING], 4);
	assert_int_equal(s.oldest_ms, 1000);
	OK(mailq_begin(fx->mq));
	assert_rc(fx, mailq_delete(fx->mq, QID + 7), MAILQ_NONE);
	OK(mailq_delete(fx->mq, QID));
	OK(mailq_commit(fx->mq));
	OK(mailq_stats(fx->mq, &s));
	assert_int_equal(s.messages, 1);
	assert_int_equal(s.rcpts[MAILQ_WAITING], 2);
}

static void
test_high(void **state)
{
	struct fixture *fx = *state;
	uint64_t high;
	bool done;

	OK(mailq_high(fx->mq, &high));
	assert_true(high == 0);
	add_committed(fx, QID, "x");
	OK(mailq_high(fx->mq, &high));
	assert_true(high == QID);
	OK(mailq_begin(fx->mq));
	OK(mailq_save_high(fx->mq, QID + 10));
	OK(mailq_save_high(fx->mq, QID + 20));
	OK(mailq_commit(fx->mq));
	done = results(fx, QID, MAILQ_DELIVERED, MAILQ_DELIVERED, 0);
	assert_true(done);
	reopen(fx);
	OK(mailq_high(fx->mq, &high));
	assert_true(high == QID + 20);
}

/* ---- trouble with the disk ---- */

/*
 * RLIMIT_FSIZE stands in for a full disk: writes fail with EFBIG. What was
 * committed stays, what was not is undone, and all works again afterwards.
 */
static void
test_no_space(void **state)
{
	struct fixture *fx = *state;
	struct rlimit old, small = { 0, 0 };
	static char body[60000];
	struct mailq_stats s;
	enum mailq_rc rc;
	int n;

	add_committed(fx, QID, "kept");
	memset(body, 'x', sizeof(body) - 1);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_cur = 512 * 1024;
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	rc = MAILQ_OK;
	for (n = 1; n < 40 && rc == MAILQ_OK; n++) {
		rc = mailq_begin(fx->mq);
		if (rc == MAILQ_OK)
			rc = add(fx, QID + (uint64_t)n, body);
		if (rc == MAILQ_OK)
			rc = mailq_commit(fx->mq);
	}
	mailq_rollback(fx->mq);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(rc == MAILQ_IO || rc == MAILQ_FULL);
	assert_in_range(n, 3, 20);

	OK(mailq_stats(fx->mq, &s));
	assert_int_equal(s.messages, n - 1); /* with the first */
	add_committed(fx, QID + 50, "after");
	reopen(fx);
	OK(mailq_stats(fx->mq, &s));
	assert_int_equal(s.messages, n);
}

/* Takes the place of the system's: a disk of 1 GiB with so much free that the
 * database may take. */
static uint64_t disk_free = 512 * MIB;
static unsigned files_free = 1;

static uint64_t
size_at(int fd, const char *name)
{
	struct stat sb;

	return fstatat(fd, name, &sb, 0) == 0 ? (uint64_t)sb.st_size : 0;
}

int
fstatvfs(int fd, struct statvfs *v)
{
	uint64_t used = size_at(fd, "queue.db") + size_at(fd, "queue.db-wal");
	uint64_t left = used < disk_free ? (disk_free - used) / 4096 : 0;

	*v = (struct statvfs){
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = 1024 * MIB / 4096,
		.f_bfree = left,
		.f_bavail = left,
		.f_files = 1000,
		.f_favail = files_free,
	};
	return 0;
}

static uint64_t
log_size(const struct fixture *fx)
{
	char path[128];
	struct stat sb;

	snprintf(path, sizeof(path), "%s/queue.db-wal", fx->dir);
	assert_int_equal(stat(path, &sb), 0);
	return (uint64_t)sb.st_size;
}

/* What the log of the database may still grow by is not for mail. */
static void
test_space(void **state)
{
	static const struct {
		const char *name;
		uint64_t free;
		unsigned nfiles;
		uint64_t above; /* the reserve */
	} rows[] = {
		{ "full", 0, 1, 0 },
		{ "less than the reserve", MAILQ_LOG_ROOM - MIB, 1, 0 },
		{ "more than the reserve", MAILQ_LOG_ROOM + MIB, 1, MIB },
		{ "no file can be made", 512 * MIB, 0, 0 },
	};
	struct fixture *fx = *state;
	struct mailq_space s;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		disk_free = rows[i].free;
		files_free = rows[i].nfiles;
		OK(mailq_space(fx->mq, &s));
		/* The new file's pages are still in the log, or just there. */
		if (s.total != 1024 * MIB || s.files > rows[i].above + MIB ||
		    s.files + MIB / 2 < rows[i].above || s.rows < s.files ||
		    (rows[i].above == 0 && s.rows != 0))
			fail_msg("%s: files %lu rows %lu", rows[i].name,
			    (unsigned long)s.files, (unsigned long)s.rows);
	}
	disk_free = 512 * MIB;
	files_free = 1;
}

/* The quick look never promises more than there is. */
static void
expect_honest(struct fixture *fx)
{
	struct mailq_space s;
	unsigned yes = 0;

	for (disk_free = 0; disk_free < 512 * MIB; disk_free += MIB) {
		OK(mailq_space(fx->mq, &s));
		if (!mailq_has_plenty(fx->mq, 20 * MIB))
			continue;
		yes++;
		assert_true(s.files >= 20 * MIB && s.rows >= 20 * MIB);
	}
	assert_true(yes > 300);
	files_free = 0;
	assert_false(mailq_has_plenty(fx->mq, 0));
	files_free = 1;
	disk_free = 512 * MIB;
}

static void
fill_from(struct fixture *fx, unsigned from, unsigned n)
{
	static char body[60000];

	memset(body, 'x', sizeof(body) - 1);
	OK(mailq_begin(fx->mq));
	for (unsigned i = 0; i < n; i++)
		OK(add(fx, QID + from + i, body));
	OK(mailq_commit(fx->mq));
}

static void
fill(struct fixture *fx, unsigned n)
{
	fill_from(fx, 0, n);
}

/* The database does not shrink: what left it is space for the next. */
static void
test_space_is_used_again(void **state)
{
	enum { MANY = 40 };
	struct fixture *fx = *state;
	struct mailq_space before, after;

	fill(fx, MANY);
	OK(mailq_space(fx->mq, &before));
	OK(mailq_begin(fx->mq));
	for (unsigned i = 0; i < MANY; i++)
		OK(mailq_delete(fx->mq, QID + i));
	OK(mailq_commit(fx->mq));
	OK(mailq_space(fx->mq, &after));
	assert_true(after.rows > before.rows + MANY * 55000);
	/* Not for files: their bytes are the disk's. */
	assert_true(after.files < before.files + MIB);
}

/* What commits put into the log takes none of the disk: it has its size from
 * the start, and the database takes the pages later. */
static void
test_space_is_taken_by_log(void **state)
{
	struct fixture *fx = *state;
	struct mailq_space before, after;
	uint64_t log = log_size(fx);

	assert_true(log == 8 * MIB);
	OK(mailq_space(fx->mq, &before));
	fill(fx, 100);
	assert_true(log_size(fx) == log);
	OK(mailq_space(fx->mq, &after));
	assert_true(after.files + 100 * 55000 < before.files);
	assert_true(after.files + 100 * 80000 > before.files);
	expect_honest(fx);
	fill_from(fx, 100, 200); /* a part of it is in the database now */
	expect_honest(fx);
}

/* Takes the place of the system's, and counts. */
static unsigned writes;

ssize_t
pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	writes++;
	return syscall(SYS_pwrite64, fd, data, n, at);
}

/* A page is two pieces for SQLite, and a message changes about ten. */
static void
test_log_in_few_pieces(void **state)
{
	static char body[20000];
	struct fixture *fx = *state;
	struct mailq_stats s;
	unsigned n;

	memset(body, 'x', sizeof(body) - 1);
	add_committed(fx, QID, "the head of the log");
	n = writes;
	add_committed(fx, QID + 1, "small");
	assert_int_equal(writes - n, 1);
	n = writes;
	OK(mailq_begin(fx->mq));
	OK(add(fx, QID + 2, body));
	OK(add(fx, QID + 3, body));
	OK(add(fx, QID + 4, body));
	OK(mailq_commit(fx->mq));
	assert_in_range(writes - n, 2, 3);
	OK(mailq_stats(fx->mq, &s)); /* it reads what it wrote */
	reopen(fx);
	OK(mailq_stats(fx->mq, &s));
	assert_int_equal(s.messages, 5);
}

/* One commit can make it longer; the next after it was copied cuts it. */
static void
test_log_shrinks(void **state)
{
	struct fixture *fx = *state;
	uint64_t log = log_size(fx);

	fill(fx, 400);
	assert_true(log_size(fx) > log + MIB);
	add_committed(fx, QID + 400, "x");
	assert_true(log_size(fx) == log);
	reopen(fx);
	assert_true(log_size(fx) == log);
}

/* Where a disk has no room for all of the log, it grows as mail comes. */
static void
test_log_without_room(void **state)
{
	struct fixture *fx = *state;
	struct rlimit old, small;
	struct mailq_stats s;

	add_committed(fx, QID, "kept");
	mailq_close(&fx->mq);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 4 * MIB;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	OK(mailq_open(fx->dir, &fx->mq));
	assert_true(log_size(fx) < 64 * 1024);
	add_committed(fx, QID + 1, "more");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	reopen(fx);
	assert_true(log_size(fx) == 8 * MIB);
	OK(mailq_stats(fx->mq, &s));
	assert_int_equal(s.messages, 2);
}

/* A process that is killed in mid-transaction leaves nothing of it. */
static void
test_killed_in_transaction(void **state)
{
	struct fixture *fx = *state;
	struct mailq_stats s;
	unsigned removed;
	pid_t pid;
	int status;

	mailq_close(&fx->mq);
	if ((pid = fork()) == 0) {
		if (mailq_open(fx->dir, &fx->mq) != MAILQ_OK)
			_exit(1);
		add_committed(fx, QID, "kept");
		write_body(fx, QID + 1, "large");
		write_body(fx, QID + 2, "large");
		OK(mailq_begin(fx->mq));
		OK(add(fx, QID + 3, "lost"));
		OK(add_file(fx, QID + 1, "large"));
		raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(there(fx, "0193ab7c00002.msg"));
	OK(mailq_open(fx->dir, &fx->mq));
	OK(mailq_tidy(fx->mq, &removed, on_lost, fx));
	assert_int_equal(removed, 2);
	assert_int_equal(fx->lost, 0);
	OK(mailq_stats(fx->mq, &s));
	assert_int_equal(s.messages, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fixture_up, fixture_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_dir_must_be_private),
		T(test_lock),
		T(test_not_a_queue),
		T(test_newer),
		T(test_early),
		T(test_add_and_load),
		T(test_empty_body),
		T(test_refused_item),
		T(test_rollback),
		T(test_file_body),
		T(test_file_refused),
		T(test_file_is_no_file),
		T(test_file_rollback),
		T(test_tidy),
		T(test_due_order),
		T(test_results),
		T(test_due_is_the_earliest),
		T(test_expire),
		T(test_delivered),
		T(test_again),
		T(test_again_failed),
		T(test_mail_new),
		T(test_hold_and_release),
		T(test_retry),
		T(test_delete),
		T(test_high),
		T(test_no_space),
		T(test_space),
		T(test_space_is_used_again),
		T(test_space_is_taken_by_log),
		T(test_log_in_few_pieces),
		T(test_log_shrinks),
		T(test_log_without_room),
		T(test_killed_in_transaction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
