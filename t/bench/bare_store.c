/*
 * bare_store.c: where the groups of "bare commits" go.  Each store is in a
 * folder of its own in the directory named, and takes away what it made.
 */
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include <sqlite3.h>

#include "bare.h"
#include "store/mailq.h"

#define FILE_MAX (64 << 20) /* then the file begins anew */

static char folder[4096];

static void
make_folder(const char *dir, const char *name)
{
	int n = snprintf(
	    folder, sizeof(folder), "%s/bare.%s.%d", dir, name, (int)getpid());

	if (n < 0 || (size_t)n >= sizeof(folder) || mkdir(folder, 0700) == -1)
		bench_die("%s: %s", folder, strerror(errno));
	if (chdir(folder) == -1)
		bench_die("%s: %s", folder, strerror(errno));
}

/* Takes the folder away with the files named in it. */
static void
remove_folder(const char *const *names)
{
	for (; *names != NULL; names++)
		unlink(*names);
	if (rmdir(folder) == -1)
		bench_die("%s: %s", folder, strerror(errno));
}

/* ---- a file ---- */

static int file_fd;
static size_t file_len;

static void
file_open(const char *dir)
{
	make_folder(dir, "file");
	if ((file_fd = open("log", O_WRONLY | O_CREAT | O_EXCL, 0600)) == -1)
		bench_die("open: %s", strerror(errno));
}

static void
file_put(const struct bare_group *g)
{
	size_t len = g->n * g->len;

	if (file_len >= FILE_MAX) {
		file_len = 0;
		if (ftruncate(file_fd, 0) == -1 ||
		    lseek(file_fd, 0, SEEK_SET) == -1)
			bench_die("ftruncate: %s", strerror(errno));
	}
	if (write(file_fd, g->data, len) != (ssize_t)len ||
	    fdatasync(file_fd) == -1)
		bench_die("write: %s", strerror(errno));
	file_len += len;
}

static void
file_close(void)
{
	static const char *const names[] = { "log", NULL };

	close(file_fd);
	remove_folder(names);
}

/* ---- one table in SQLite ---- */

static sqlite3 *db;
static sqlite3_stmt *insert, *erase;

static void
sql(const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		bench_die("%s: %s", text, sqlite3_errmsg(db));
}

static void
sqlite_open(const char *dir)
{
	make_folder(dir, "sqlite");
	if (sqlite3_open("db", &db) != SQLITE_OK)
		bench_die("sqlite3_open: %s", sqlite3_errmsg(db));
	sql("PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 4096;"
	    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
	    "PRAGMA cache_size = -4096;"
	    "CREATE TABLE record (n INTEGER PRIMARY KEY, data BLOB NOT NULL)");
	if (sqlite3_prepare_v2(db, "INSERT INTO record VALUES (?, ?)", -1,
		&insert, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "DELETE FROM record WHERE n < ?", -1, &erase,
		NULL) != SQLITE_OK)
		bench_die("prepare: %s", sqlite3_errmsg(db));
}

static void
sqlite_run(sqlite3_stmt *st)
{
	if (sqlite3_step(st) != SQLITE_DONE || sqlite3_reset(st) != SQLITE_OK)
		bench_die("step: %s", sqlite3_errmsg(db));
}

static void
sqlite_put(const struct bare_group *g)
{
	size_t i;

	sql("BEGIN IMMEDIATE");
	for (i = 0; i < g->n; i++) {
		sqlite3_bind_int64(insert, 1, (sqlite3_int64)(g->from + i));
		sqlite3_bind_blob(insert, 2, g->data + i * g->len, (int)g->len,
		    SQLITE_STATIC);
		sqlite_run(insert);
	}
	sqlite3_bind_int64(erase, 1, (sqlite3_int64)g->from);
	sqlite_run(erase);
	sql("COMMIT");
}

static void
sqlite_close(void)
{
	static const char *const names[] = { "db", "db-wal", "db-shm", NULL };

	sqlite3_finalize(insert);
	sqlite3_finalize(erase);
	sqlite3_close(db);
	remove_folder(names);
}

/* ---- the spool of submitd ---- */

static struct mailq *mq;
static uint64_t spool_seen; /* messages up to this one are in it */

static void
spool_check(enum mailq_rc rc)
{
	if (rc != MAILQ_OK)
		bench_die("spool: %s", mailq_errtext(mq));
}

static void
spool_open(const char *dir)
{
	make_folder(dir, "spool");
	spool_check(mailq_open(folder, &mq));
}

static int64_t
wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
spool_add(uint64_t qid, const char *body, size_t len, int64_t now)
{
	const struct mailq_msg msg = { .qid = qid,
		.sid = qid,
		.user_id = 1,
		.user = "bench",
		.how = "PLAIN",
		.client_addr = "127.0.0.1",
		.from = "bench@example.org",
		.size = len,
		.arrived_ms = now,
		.since_ms = now };
	const struct mailq_rcpt rcpt = { .address = "rcpt-0@example.net",
		.state = MAILQ_WAITING,
		.next_ms = now };

	spool_check(mailq_add(mq, &msg, body, &rcpt, 1));
}

static void
spool_remove(uint64_t qid, int64_t now)
{
	const struct mailq_rcpt rcpt = { .state = MAILQ_DELIVERED,
		.last_ms = now,
		.code = 250,
		.esc = "2.0.0",
		.text = "taken",
		.mta = "localhost" };
	bool done;

	spool_check(mailq_result(mq, qid, &rcpt));
	spool_check(mailq_settle(mq, qid, &done));
}

static void
spool_put(const struct bare_group *g)
{
	int64_t now = wall_ms();
	size_t i;

	spool_check(mailq_begin(mq));
	for (i = 0; i < g->n; i++)
		spool_add(g->from + i, g->data + i * g->len, g->len, now);
	while (spool_seen + 1 < g->from)
		spool_remove(++spool_seen, now);
	spool_check(mailq_commit(mq));
}

static void
spool_close(void)
{
	static const char *const names[] = { "queue.db", "queue.db-wal",
		"queue.db-shm", "lock", NULL };

	mailq_close(&mq);
	remove_folder(names);
}

static const struct bare_store stores[] = {
	{ "file", file_open, file_put, file_close },
	{ "sqlite", sqlite_open, sqlite_put, sqlite_close },
	{ "spool", spool_open, spool_put, spool_close },
};

const struct bare_store *
bare_store_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
		if (strcmp(stores[i].name, name) == 0)
			return &stores[i];
	return NULL;
}
