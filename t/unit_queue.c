/*
 * submitd/queue.c, queue_front.c, queue_job.c, queue_dest.c, queue_bounce.c,
 * queue_ctl.c, control.c: the queue role among peers that this test plays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue_rig.h"
#include "store/mailq.h"
#include "submitd/digest.h"
#include "submitd/log.h"
#include "submitd/smtp_reply.h"

#define HELLO "Subject: hello\r\n\r\nHello.\r\n"
#define ANN   "ann@example.org"
#define BO    "bo@example.net"

#define MIB UINT64_C(1048576)

static struct rig rig;

/* Takes the place of the system's: a disk of 1 GiB with so much free that the
 * database may take. */
static uint64_t disk_free = 512 * MIB;

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
	};
	return 0;
}

static int
up(void **state)
{
	disk_free = 512 * MIB;
	rig_init(&rig);
	*state = &rig;
	rig_up(&rig);
	return 0;
}

static int
down(void **state)
{
	rig_down(*state);
	return 0;
}

/* ---- asking the queue ---- */

static long
messages(void)
{
	json_t *o = rig_ask_json(&rig, "{\"cmd\":\"queue.stats\"}", NULL);
	long n;

	assert_true(json_is_true(json_object_get(o, "ok")));
	n = (long)json_integer_value(json_object_get(o, "messages"));
	json_decref(o);
	return n;
}

/* The state of the only message in the queue. */
static void
assert_state(const char *state)
{
	json_t *items,
	    *o = rig_ask_json(&rig, "{\"cmd\":\"queue.list\"}", &items);

	assert_int_equal(json_array_size(items), 1);
	assert_string_equal(json_string_value(json_object_get(
				json_array_get(items, 0), "state")),
	    state);
	json_decref(items);
	json_decref(o);
}

static void
assert_refused(const char *request, int status, const char *says)
{
	json_t *o = rig_ask_json(&rig, request, NULL);

	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_int_equal(
	    json_integer_value(json_object_get(o, "exit")), status);
	assert_non_null(
	    strstr(json_string_value(json_object_get(o, "error")), says));
	json_decref(o);
}

static void
assert_changed(const char *request, int n)
{
	json_t *o = rig_ask_json(&rig, request, NULL);

	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_int_equal(json_integer_value(json_object_get(o, "changed")), n);
	json_decref(o);
}

static json_t *
smarthost(void)
{
	json_t *o = rig_ask_json(&rig, "{\"cmd\":\"status\"}", NULL);
	json_t *s = json_incref(json_object_get(o, "smarthost"));

	json_decref(o);
	return s;
}

static void
assert_smarthost(const char *state, const char *trouble)
{
	json_t *s = smarthost();
	const char *t = json_string_value(json_object_get(s, "trouble"));

	assert_string_equal(
	    json_string_value(json_object_get(s, "state")), state);
	if (trouble == NULL)
		assert_null(t);
	else
		assert_string_equal(t, trouble);
	json_decref(s);
}

static unsigned
files(const char *part)
{
	char path[128];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/spool", rig.dir);
	assert_non_null(d = opendir(path));
	while ((e = readdir(d)) != NULL)
		n += strstr(e->d_name, part) != NULL;
	closedir(d);
	return n;
}

/* The job of number i, once it came. */
static struct rig_job *
job(unsigned i)
{
	rig_wait(&rig, &rig.njobs, i + 1);
	return &rig.job[i];
}

static bool
has_text(const struct rig_job *j, const char *text)
{
	return memmem(buf_head(&j->body), j->body.len, text, strlen(text)) !=
	    NULL;
}

static void
deliver(unsigned i)
{
	rig_result(&rig, job(i), RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
	rig_settle(&rig);
}

/* ---- submissions ---- */

static void
test_accept_and_deliver(void **state)
{
	uint64_t qid = rig_send(&rig, RIG_SID(1), 1, ANN, BO " cy@x.y", HELLO);
	const struct rig_job *j = job(0);

	(void)state;
	assert_true(qid != 0);
	assert_true(qid == rig.ready.qid);
	assert_true(rig.submitted_sid == RIG_SID(1));
	assert_int_equal(rig.submitted.txn, 1);
	assert_true(j->qid == qid);
	assert_string_equal(j->from, ANN);
	assert_int_equal(j->kind, BODY_7BIT);
	assert_int_equal(j->size, strlen(HELLO));
	assert_int_equal(j->rcpts, 2);
	assert_string_equal(j->to[0], BO);
	assert_string_equal(j->to[1], "cy@x.y");
	assert_int_equal(j->body.len, strlen(HELLO));
	assert_memory_equal(buf_head(&j->body), HELLO, strlen(HELLO));
	assert_state("in flight");
	deliver(0);
	assert_int_equal(messages(), 0);
	assert_int_equal(rig.njobs, 1);
}

static void
test_ids_grow(void **state)
{
	uint64_t a, b;

	(void)state;
	a = rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	b = rig_send(&rig, RIG_SID(1), 2, ANN, BO, HELLO);
	assert_true(b > a);
	assert_true(b < UINT64_C(1) << 53);
	deliver(0);
	deliver(1);
	rig_stop(&rig);
	rig_up(&rig);
	assert_true(rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO) > b);
}

/* Whatever front asks for and auth has not allowed. */
static void
test_not_allowed(void **state)
{
	(void)state;
	/* nothing at all */
	rig_data_open(&rig, RIG_SID(1), 1);
	assert_int_equal(rig.ready.reply, R_TEMP);
	/* an envelope, but no grant */
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(1), 1);
	assert_int_equal(rig.ready.reply, R_TEMP);
	/* a grant, but no envelope */
	rig_grant(&rig, RIG_SID(2), "ann");
	rig_data_open(&rig, RIG_SID(2), 1);
	assert_int_equal(rig.ready.reply, R_TEMP);
	/* another transaction */
	rig_envelope(&rig, RIG_SID(2), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(2), 2);
	assert_int_equal(rig.ready.reply, R_TEMP);
	/* no recipient */
	rig_envelope(&rig, RIG_SID(2), 3, ANN, "", 0);
	rig_data_open(&rig, RIG_SID(2), 3);
	assert_int_equal(rig.ready.reply, R_TEMP);
	/* fewer or more recipients than were allowed */
	rig_envelope(&rig, RIG_SID(2), 3, ANN, BO " " BO, 0);
	rig_data_open_as(&rig, RIG_SID(2), 3, 1);
	assert_int_equal(rig.ready.reply, R_TEMP);
	rig_data_open_as(&rig, RIG_SID(2), 3, 3);
	assert_int_equal(rig.ready.reply, R_TEMP);
	/* a submission without M_DATA_OPEN */
	rig_envelope(&rig, RIG_SID(2), 4, ANN, BO, 0);
	rig_submit(&rig, RIG_SID(2), 4, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_int_equal(rig.submitted.reply, R_TEMP);
	assert_int_equal(messages(), 0);
	/* and what is allowed */
	rig_data_open(&rig, RIG_SID(2), 4);
	assert_int_equal(rig.ready.reply, R_DATA_GO);
}

static void
test_envelope_is_used_once(void **state)
{
	(void)state;
	assert_true(rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO) != 0);
	rig_submit(&rig, RIG_SID(1), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 2);
	assert_int_equal(rig.submitted.reply, R_TEMP);
	rig_data_open(&rig, RIG_SID(1), 1);
	assert_int_equal(rig.ready.reply, R_TEMP);
	assert_int_equal(messages(), 1);
}

/* The next envelope may be there before the dot of this one is handled. */
static void
test_next_envelope_early(void **state)
{
	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(1), 1);
	rig_submit(&rig, RIG_SID(1), 1, HELLO, strlen(HELLO));
	rig_envelope(&rig, RIG_SID(1), 2, ANN, BO, 0);
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_int_equal(rig.submitted.reply, R_QUEUED);
	rig_data_open(&rig, RIG_SID(1), 2);
	assert_int_equal(rig.ready.reply, R_DATA_GO);
}

/* More from auth than is read in one turn of the loop. */
static void
test_auth_is_read_first(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 150; i++)
		rig_grant(&rig, RIG_SID(100 + i), "ann");
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(1), 1);
	assert_int_equal(rig.ready.reply, R_DATA_GO);
}

static void
test_session_close(void **state)
{
	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, 0);
	rig_settle(&rig);
	ipc_send(rig.front, M_SESSION_CLOSE, RIG_SID(1), NULL);
	rig_data_open(&rig, RIG_SID(1), 1);
	assert_int_equal(rig.ready.reply, R_TEMP);

	rig_grant(&rig, RIG_SID(2), "ann");
	rig_envelope(&rig, RIG_SID(2), 1, ANN, BO, 0);
	ipc_send(rig.auth, M_SESSION_CLOSE, RIG_SID(2), NULL);
	rig_data_open(&rig, RIG_SID(2), 1);
	assert_int_equal(rig.ready.reply, R_TEMP);
}

static void
test_front_gone(void **state)
{
	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(1), 1);
	ipc_send(
	    rig.front, M_BODY_FILE, RIG_SID(1), &(struct m_txn){ .txn = 1 });
	rig_wait(&rig, &rig.nbody_fd, 1);
	assert_int_equal(files("tmp."), 1);
	rig_disconnect(&rig, ROLE_FRONT);
	assert_int_equal(files("tmp."), 0);
	/* What auth still says to it is not kept for whoever comes next. */
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 2, ANN, BO, 0);
	rig_settle(&rig);
	rig_connect(&rig, ROLE_FRONT);
	rig_data_open(&rig, RIG_SID(1), 2);
	assert_int_equal(rig.ready.reply, R_TEMP);
}

/* A message that no front may send ends its connection. */
static void
test_out_of_turn(void **state)
{
	(void)state;
	ipc_send(rig.front, M_GRANT, RIG_SID(1),
	    &(struct m_grant){ .user = "ann", .how = "", .client_addr = "" });
	rig_wait_true(&rig, &rig.front_gone);
	rig_connect(&rig, ROLE_FRONT);
	rig_data_open(&rig, RIG_SID(1), 1);
	assert_int_equal(rig.ready.reply, R_TEMP);
}

/* So does a word about the session of another front. */
static void
test_foreign_session(void **state)
{
	static const uint64_t foreign = (uint64_t)8 << SID_COUNTER_BITS | 1;
	static const struct {
		enum msg_type type;
		union {
			struct m_txn txn;
			struct m_data_open open;
			struct m_submit submit;
			struct m_empty empty;
		} m;
	} rows[] = {
		{ M_DATA_OPEN, { .open = { .txn = 1, .rcpts = 1 } } },
		{ M_BODY_FILE, { .txn = { .txn = 1 } } },
		{ M_SUBMIT, { .submit = { .txn = 1 } } },
		{ M_DATA_ABORT, { .txn = { .txn = 1 } } },
		{ M_SESSION_CLOSE, { .empty = { 0 } } },
	};
	size_t i;

	(void)state;
	rig_grant(&rig, foreign, "ann");
	rig_envelope(&rig, foreign, 1, ANN, BO, 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ipc_send(rig.front, rows[i].type, foreign, &rows[i].m);
		rig_wait_true(&rig, &rig.front_gone);
		rig.instance += 2; /* not that of the session */
		rig_connect(&rig, ROLE_FRONT);
	}
	assert_int_equal(messages(), 0);
}

/* ---- bodies ---- */

static void
open_file(uint64_t sid, uint32_t txn)
{
	unsigned before = rig.nbody_fd;

	rig_grant(&rig, sid, "ann");
	rig_envelope(&rig, sid, txn, ANN, BO, 0);
	rig_data_open(&rig, sid, txn);
	assert_int_equal(rig.ready.reply, R_DATA_GO);
	ipc_send(rig.front, M_BODY_FILE, sid, &(struct m_txn){ .txn = txn });
	rig_wait(&rig, &rig.nbody_fd, before + 1);
	assert_int_not_equal(rig.body_fd, -1);
}

static void
test_body_file(void **state)
{
	static char body[100000];
	const struct rig_job *j;

	(void)state;
	memset(body, 'x', sizeof(body));
	open_file(RIG_SID(1), 1);
	rig_submit_file(&rig, RIG_SID(1), 1, body, sizeof(body));
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_int_equal(rig.submitted.reply, R_QUEUED);
	assert_int_equal(files("tmp."), 0);
	assert_int_equal(files(".msg"), 1);
	j = job(0);
	assert_true(j->by_fd);
	assert_int_equal(j->size, sizeof(body));
	assert_int_equal(j->body.len, sizeof(body));
	assert_memory_equal(buf_head(&j->body), body, sizeof(body));
	deliver(0);
	assert_int_equal(files(".msg"), 0);
	assert_int_equal(messages(), 0);
}

/* What front says of a body and isn't so. */
static void
test_body_lies(void **state)
{
	static const struct {
		const char *name;
		bool file;        /* M_BODY_FILE was sent */
		const char *body; /* written to the file */
		struct m_submit m;
	} rows[] = {
		{ "inline shorter than said", false, "",
		    { .txn = 1, .size = 9, .body = { "12345678", 8 } } },
		{ "inline longer than said", false, "",
		    { .txn = 1, .size = 7, .body = { "12345678", 8 } } },
		{ "a file that was never opened", false, "",
		    { .txn = 1, .size = 8, .in_file = 1 } },
		{ "file shorter than said", true, "1234",
		    { .txn = 1, .size = 5, .in_file = 1 } },
		{ "file longer than said", true, "1234",
		    { .txn = 1, .size = 3, .in_file = 1 } },
		{ "inline after a file", true, "1234",
		    { .txn = 1, .size = 4, .body = { "1234", 4 } } },
		{ "file and inline", true, "1234",
		    { .txn = 1, .size = 4, .in_file = 1, .body = { "1", 1 } } },
		{ "larger than allowed", true, "1234",
		    { .txn = 1, .size = UINT64_MAX, .in_file = 1 } },
	};
	unsigned before;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		before = rig.nsubmitted;
		if (rows[i].file) {
			open_file(RIG_SID(i), 1);
			assert_int_equal(write(rig.body_fd, rows[i].body,
					     strlen(rows[i].body)),
			    strlen(rows[i].body));
		} else {
			rig_grant(&rig, RIG_SID(i), "ann");
			rig_envelope(&rig, RIG_SID(i), 1, ANN, BO, 0);
			rig_data_open(&rig, RIG_SID(i), 1);
		}
		ipc_send(rig.front, M_SUBMIT, RIG_SID(i), &rows[i].m);
		rig_wait(&rig, &rig.nsubmitted, before + 1);
		if (rig.submitted.reply != R_TEMP || files("tmp.") != 0 ||
		    files(".msg") != 0 || messages() != 0)
			fail_msg(
			    "%s: reply %d", rows[i].name, rig.submitted.reply);
	}
}

static void
test_abort(void **state)
{
	(void)state;
	open_file(RIG_SID(1), 1);
	ipc_send(
	    rig.front, M_DATA_ABORT, RIG_SID(1), &(struct m_txn){ .txn = 1 });
	rig_settle(&rig);
	assert_int_equal(files("tmp."), 0);
	rig_data_open(&rig, RIG_SID(1), 1);
	assert_int_equal(rig.ready.reply, R_TEMP);
	/* RSET before DATA: the envelope is void. */
	rig_envelope(&rig, RIG_SID(1), 2, ANN, BO, 0);
	ipc_send(
	    rig.front, M_DATA_ABORT, RIG_SID(1), &(struct m_txn){ .txn = 2 });
	rig_data_open(&rig, RIG_SID(1), 2);
	assert_int_equal(rig.ready.reply, R_TEMP);
}

static void
test_body_file_twice(void **state)
{
	(void)state;
	open_file(RIG_SID(1), 1);
	ipc_send(
	    rig.front, M_BODY_FILE, RIG_SID(1), &(struct m_txn){ .txn = 1 });
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_int_equal(rig.submitted.reply, R_TEMP);
	assert_int_equal(rig.nbody_fd, 1);
}

static void
test_eightbit(void **state)
{
	struct m_submit m = {
		.txn = 1, .size = 3, .body_kind = BODY_8BITMIME, .body = { "\xc3\xa4\n", 3 }
	};

	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(1), 1);
	ipc_send(rig.front, M_SUBMIT, RIG_SID(1), &m);
	assert_int_equal(job(0)->kind, BODY_8BITMIME);
}

/* Auth asks for a look at the header: who has no word of it sends nothing. */
static void
test_headers(void **state)
{
	static const struct {
		const char *from;
		uint8_t check, own;
		uint32_t ok; /* for this transaction */
		bool accepted;
	} rows[] = {
		{ ANN, 0, 0, 0, true },
		{ ANN, 1, 0, 0, false },
		{ ANN, 1, 1, 0, true },
		{ "", 1, 1, 0, false }, /* nobody's own */
		{ ANN, 1, 0, 1, true },
		{ "", 1, 0, 1, true },
		{ ANN, 1, 0, 2, false }, /* of another message */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t sid = RIG_SID(i + 1);
		const struct m_envelope e = { .txn = 1,
			.from = rows[i].from,
			.headers = rows[i].check };
		const struct m_envelope_rcpt to = { .txn = 1,
			.to = BO,
			.note = "" };
		const struct m_txn ok = { .txn = rows[i].ok };
		const struct m_submit m = { .txn = 1,
			.size = 3,
			.own_author = rows[i].own,
			.body = { "x\r\n", 3 } };
		unsigned n = rig.nsubmitted, accepted = rig.naccepted;

		rig_grant(&rig, sid, "ann");
		ipc_send(rig.auth, M_ENVELOPE, sid, &e);
		rig.allowed[sid % RIG_SESSIONS].sid = sid;
		rig.allowed[sid % RIG_SESSIONS].txn = 1;
		rig.allowed[sid % RIG_SESSIONS].rcpts = 0;
		rig_envelope_rcpt(&rig, sid, &to);
		rig_data_open(&rig, sid, 1);
		if (rows[i].ok != 0)
			ipc_send(rig.auth, M_HEADERS_OK, sid, &ok);
		ipc_send(rig.front, M_SUBMIT, sid, &m);
		rig_wait(&rig, &rig.nsubmitted, n + 1);
		if ((rig.naccepted > accepted) != rows[i].accepted)
			fail_msg("row %zu", i);
		if (!rows[i].accepted)
			assert_int_equal(rig.submitted.reply, R_TEMP);
	}
}

/* ---- the same mail again ---- */

static const unsigned char digest_a[DIGEST_LEN] = "a",
			   digest_b[DIGEST_LEN] = "b";

/* A whole submission; the id the client was told, 0: refused. */
static uint64_t
send_known(uint64_t sid, uint32_t txn, const char *user, const char *from,
    const char *to, bool has_id, const void *digest)
{
	unsigned n = rig.nsubmitted + 1;

	rig_grant(&rig, sid, user);
	rig_envelope(&rig, sid, txn, from, to, 0);
	rig_data_open(&rig, sid, txn);
	rig_submit_again(
	    &rig, sid, txn, HELLO, strlen(HELLO), has_id, digest);
	rig_wait(&rig, &rig.nsubmitted, n);
	return rig.submitted.reply == R_QUEUED ? rig.submitted.qid : 0;
}

static void
test_again(void **state)
{
	static const struct {
		const char *name, *user, *from, *to;
		bool has_id;
		const unsigned char *digest;
		bool again; /* as the first one: ann, to bo and cy */
	} rows[] = {
		{ "the same", "ann", ANN, BO " cy@x.y", true, digest_a, true },
		{ "in another order", "ann", ANN, "cy@x.y " BO, true, digest_a,
		    true },
		{ "one named twice", "ann", ANN, BO " cy@x.y " BO, true,
		    digest_a, true },
		{ "another user", "bob", ANN, BO " cy@x.y", true, digest_a,
		    false },
		{ "another sender", "ann", "", BO " cy@x.y", true, digest_a,
		    false },
		{ "a recipient less", "ann", ANN, BO, true, digest_a, false },
		{ "a recipient more", "ann", ANN, BO " cy@x.y di@x.y", true,
		    digest_a, false },
		{ "other bytes", "ann", ANN, BO " cy@x.y", true, digest_b,
		    false },
		{ "without Message-ID", "ann", ANN, BO " cy@x.y", false,
		    digest_a, false },
		{ "without digest", "ann", ANN, BO " cy@x.y", true, NULL,
		    false },
	};
	uint64_t first, qid;
	unsigned i, news = 1;

	(void)state;
	rig.setup.conf.duplicate_window = 3600 * 1000;
	first = send_known(
	    RIG_SID(1), 1, "ann", ANN, BO " cy@x.y", true, digest_a);
	assert_true(first != 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		qid = send_known(RIG_SID(2), i + 1, rows[i].user, rows[i].from,
		    rows[i].to, rows[i].has_id, rows[i].digest);
		if (qid == 0 || (qid == first) != rows[i].again)
			fail_msg("%s: %lx", rows[i].name, (unsigned long)qid);
		news += !rows[i].again;
	}
	assert_int_equal(messages(), (int)news);
}

/* Wherever the first copy is. */
static void
test_again_whenever(void **state)
{
	uint64_t first;

	(void)state;
	rig.setup.conf.duplicate_window = 3600 * 1000;
#define SEND(n) send_known(RIG_SID(n), 1, "ann", ANN, BO, true, digest_a)
	first = SEND(1);
	job(0); /* in flight */
	assert_true(SEND(2) == first);
	deliver(0);
	assert_int_equal(messages(), 0);
	assert_true(SEND(3) == first);
	rig_stop(&rig); /* and after a restart */
	rig_up(&rig);
	assert_true(SEND(4) == first);
	rig_settle(&rig);
	assert_int_equal(messages(), 0);
	/* Off: it is a new one. */
	rig.setup.conf.duplicate_window = 0;
	assert_true(SEND(5) != first);
#undef SEND
}

/* A copy that failed, or was deleted, stands in nobody's way. */
static void
test_again_after_failure(void **state)
{
	char request[128];
	uint64_t first, second, third;

	(void)state;
	rig.setup.conf.duplicate_window = 3600 * 1000;
#define SEND(n) send_known(RIG_SID(n), 1, "ann", ANN, BO, true, digest_a)
	first = SEND(1);
	rig_result(
	    &rig, job(0), RESULT_FAILED, TROUBLE_REPLY, 550, "5.1.1 no");
	rig_settle(&rig);
	second = SEND(2);
	assert_true(second != 0 && second != first);
	rig_result(&rig, job(2), RESULT_DEFERRED, TROUBLE_REPLY, 450, "later");
	rig_settle(&rig);
	assert_true(SEND(3) == second);
	snprintf(request, sizeof(request),
	    "{\"cmd\":\"queue.del\",\"qid\":\"%013lx\"}",
	    (unsigned long)second);
	free(rig_ask(&rig, request));
	third = SEND(4);
	assert_true(third != 0 && third != second && third != first);
#undef SEND
}

/* Two of them before the commit, one with its body in a file. */
static void
test_again_in_one_group(void **state)
{
	unsigned i;

	(void)state;
	rig.setup.conf.duplicate_window = 3600 * 1000;
	for (i = 1; i <= 2; i++) {
		rig_grant(&rig, RIG_SID(i), "ann");
		rig_envelope(&rig, RIG_SID(i), 1, ANN, BO, 0);
		rig_data_open(&rig, RIG_SID(i), 1);
	}
	for (i = 1; i <= 2; i++)
		rig_submit_again(&rig, RIG_SID(i), 1, HELLO, strlen(HELLO),
		    true, digest_a);
	rig_wait(&rig, &rig.naccepted, 2);
	assert_true(rig.accepted[0] == rig.accepted[1]);
	assert_int_equal(messages(), 1);
	rig_settle(&rig);
	assert_int_equal(rig.njobs, 1);
}

/* Without a Message-ID only if it was asked for, and not for long. */
static void
test_again_without_id(void **state)
{
	uint64_t first;

	(void)state;
	rig.setup.conf.duplicate_window = 3600 * 1000;
	rig.setup.conf.duplicate_without_id = 60 * 1000;
	first = send_known(RIG_SID(1), 1, "ann", ANN, BO, false, digest_a);
	assert_true(send_known(RIG_SID(2), 1, "ann", ANN, BO, false,
			digest_a) == first);
	rig.setup.conf.duplicate_without_id = 1;
	while (send_known(
		   RIG_SID(3), 1, "ann", ANN, BO, false, digest_a) == first)
		continue; /* until the millisecond is over */
}

/* ---- the commit group ---- */

static void
test_many_at_once(void **state)
{
	enum { MANY = 300 };
	unsigned i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		rig_grant(&rig, RIG_SID(i), "ann");
		rig_envelope(&rig, RIG_SID(i), 1, ANN, BO, 0);
		rig_data_open(&rig, RIG_SID(i), 1);
	}
	for (i = 0; i < MANY; i++)
		rig_submit(&rig, RIG_SID(i), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.naccepted, MANY);
	assert_int_equal(messages(), MANY);
	/* No more in flight than the window. */
	assert_int_equal(
	    rig.njobs, 2 * rig.setup.conf.smarthost_connections + 8);
	for (i = 0; i < MANY; i++) {
		/* In the order in which they came, whether they waited. */
		assert_true(i == 0 || job(i)->qid > rig.job[i - 1].qid);
		rig_result(
		    &rig, job(i), RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
	}
	rig_settle(&rig);
	assert_int_equal(messages(), 0);
}

static void
test_no_space(void **state)
{
	(void)state;
	rig.setup.conf.max_message_size = INT64_C(1) << 60;
	assert_true(rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO) == 0);
	assert_int_equal(rig.ready.reply, R_NO_SPACE);
	/* The envelope was not used up: there may be space at once again. */
	rig.setup.conf.max_message_size = 1 << 20;
	rig_data_open(&rig, RIG_SID(1), 1);
	assert_int_equal(rig.ready.reply, R_DATA_GO);
}

/* The room for the log of the database comes on top of that for mail. */
static void
test_space_for_results(void **state)
{
	static const struct {
		const char *name;
		uint64_t free;
		enum smtp_reply reply;
	} rows[] = {
		{ "full", 0, R_NO_SPACE },
		{ "mail only", 60 * MIB, R_NO_SPACE },
		{ "log only", MAILQ_LOG_ROOM, R_NO_SPACE },
		{ "both", MAILQ_LOG_ROOM + 60 * MIB, R_DATA_GO },
	};
	size_t i;

	(void)state;
	/* A twentieth of the disk is more than this. */
	rig.setup.conf.max_message_size = 1 << 20;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		disk_free = rows[i].free;
		rig_grant(&rig, RIG_SID(i), "ann");
		rig_envelope(&rig, RIG_SID(i), 1, ANN, BO, 0);
		rig_data_open(&rig, RIG_SID(i), 1);
		if (rig.ready.reply != rows[i].reply)
			fail_msg("%s: reply %d", rows[i].name, rig.ready.reply);
	}
}

/* Space in the database is for bodies in it, and comes back with them. */
static void
test_space_after_drain(void **state)
{
	enum { MANY = 100, LEN = 60000 };
	static char body[LEN + 1];
	unsigned i;

	(void)state;
	rig.setup.conf.max_message_size = 1 << 20;
	memset(body, 'x', LEN);
	for (i = 0; i < MANY; i++)
		assert_true(rig_send(&rig, RIG_SID(i), 1, ANN, BO, body) != 0);
	/* A twentieth of the disk, but for what these took. */
	disk_free = MAILQ_LOG_ROOM + 1024 * MIB / 20 + 3 * MIB;
	rig_grant(&rig, RIG_SID(MANY), "ann");
	rig_envelope(&rig, RIG_SID(MANY), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(MANY), 1);
	assert_int_equal(rig.ready.reply, R_NO_SPACE);
	for (i = 0; i < MANY; i++)
		deliver(i);
	assert_int_equal(messages(), 0);
	rig_data_open(&rig, RIG_SID(MANY), 1);
	assert_int_equal(rig.ready.reply, R_DATA_GO);
}

/* A file that leaves no room for the log is not taken. */
static void
test_file_takes_room(void **state)
{
	struct m_submit m = { .txn = 1, .size = 3, .in_file = 1 };

	(void)state;
	open_file(RIG_SID(1), 1);
	assert_int_equal(write(rig.body_fd, "x\r\n", 3), 3);
	disk_free = 0;
	ipc_send(rig.front, M_SUBMIT, RIG_SID(1), &m);
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_int_equal(rig.submitted.reply, R_NO_SPACE);
	assert_int_equal(files("tmp."), 0);
	assert_int_equal(files(".msg"), 0);
	assert_int_equal(messages(), 0);
}

/*
 * Nothing can be written: what comes in is refused, what went out is not
 * forgotten.
 */
static void
test_commit_fails(void **state)
{
	struct rlimit old, none = { 0, 0 };

	(void)state;
	assert_true(rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO) != 0);
	job(0);
	rig_grant(&rig, RIG_SID(2), "ann");
	rig_envelope(&rig, RIG_SID(2), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(2), 1);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	rig_submit(&rig, RIG_SID(2), 1, HELLO, strlen(HELLO));
	rig_result(&rig, &rig.job[0], RESULT_DELIVERED, TROUBLE_NONE, 250, "");
	rig_wait(&rig, &rig.nsubmitted, 2);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(
	    rig.submitted.reply == R_TEMP || rig.submitted.reply == R_NO_SPACE);
	rig_settle(&rig);
	assert_int_equal(messages(), 1); /* delivered, but not yet written */
	assert_int_equal(rig.njobs, 1);  /* and not sent again */
	while (messages() != 0)
		rig_settle(&rig);
	assert_int_equal(rig.njobs, 1);
}

/* ---- DISCARD and hold of the access map ---- */

static void
test_discard(void **state)
{
	struct m_envelope_rcpt m = { .txn = 2, .to = "cy@x.y", .note = "" };

	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, BO, ENVELOPE_DISCARD);
	rig_data_open(&rig, RIG_SID(1), 1);
	rig_submit(&rig, RIG_SID(1), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 1);
	assert_int_equal(rig.submitted.reply, R_QUEUED);
	assert_int_equal(messages(), 0);

	rig_envelope(&rig, RIG_SID(1), 2, ANN, BO, ENVELOPE_DISCARD);
	rig_envelope_rcpt(&rig, RIG_SID(1), &m);
	rig_data_open(&rig, RIG_SID(1), 2);
	rig_submit(&rig, RIG_SID(1), 2, HELLO, strlen(HELLO));
	assert_int_equal(job(0)->nto, 1);
	assert_string_equal(rig.job[0].to[0], "cy@x.y");
}

static void
test_hold_by_map(void **state)
{
	struct m_envelope_rcpt m = { .txn = 1,
		.to = "cy@x.y",
		.flags = ENVELOPE_HOLD,
		.note = "look at it first" };
	json_t *items, *o;

	(void)state;
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 1, ANN, "", 0);
	rig_envelope_rcpt(&rig, RIG_SID(1), &m);
	rig_data_open(&rig, RIG_SID(1), 1);
	rig_submit(&rig, RIG_SID(1), 1, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.naccepted, 1);
	rig_settle(&rig);
	assert_int_equal(rig.njobs, 0);
	o = rig_ask_json(&rig, "{\"cmd\":\"queue.list\"}", &items);
	assert_string_equal(
	    json_string_value(json_object_get(
		json_array_get(
		    json_object_get(json_array_get(items, 0), "rcpts"), 0),
		"text")),
	    "look at it first");
	json_decref(items);
	json_decref(o);
	assert_changed("{\"cmd\":\"queue.release\",\"all\":true}", 1);
	deliver(0);
	assert_int_equal(messages(), 0);
}

/* ---- results ---- */

static void
test_bounce(void **state)
{
	const struct rig_job *j, *b;

	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO " cy@x.y dan@x.y", HELLO);
	j = job(0);
	rig_result_one(&rig, j, 0, RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
	rig_result_one(&rig, j, 1, RESULT_FAILED, TROUBLE_REPLY, 550,
	    "550 5.1.1 No such user here");
	rig_result_one(
	    &rig, j, 2, RESULT_DEFERRED, TROUBLE_REPLY, 450, "later");
	rig_done(&rig, j);
	b = job(1);
	assert_string_equal(b->from, "");
	assert_int_equal(b->nto, 1);
	assert_string_equal(b->to[0], ANN);
	assert_int_equal(b->size, b->body.len);
	assert_true(has_text(b, "Final-Recipient: rfc822; cy@x.y"));
	assert_true(has_text(b, "Status: 5.1.1"));
	assert_true(has_text(b, "smtp; 550 5.1.1 No such user here"));
	assert_true(has_text(b, "Subject: hello"));
	assert_true(has_text(b, "Remote-MTA: dns; mx.example.net\r\n"));
	assert_false(has_text(b, "dan@x.y"));
	assert_false(has_text(b, "Hello."));
	assert_int_equal(messages(), 2);

	/* A report that fails makes no other. */
	rig_result(&rig, b, RESULT_FAILED, TROUBLE_REPLY, 550, "no");
	rig_settle(&rig);
	assert_int_equal(messages(), 1);
	assert_int_equal(rig.njobs, 2);
	assert_state("deferred");
}

static void
test_bounce_of_many(void **state)
{
	enum { MANY = 400 };
	struct m_job_result m = { .result = RESULT_FAILED,
		.trouble = TROUBLE_REPLY,
		.code = 550,
		.esc = "5.1.1",
		.text = "a rather long sentence about a user who is not here",
		.mta = "mx.example.net[192.0.2.25]:587" };
	char to[MANY * 24] = "";
	size_t len = 0;
	unsigned i;

	(void)state;
	for (i = 0; i < MANY; i++)
		len += (size_t)snprintf(
		    to + len, sizeof(to) - len, "user%u@example.net ", i);
	rig_send(&rig, RIG_SID(1), 1, ANN, to, HELLO);
	m.qid = job(0)->qid;
	assert_int_equal(rig.job[0].rcpts, MANY);
	for (i = 0; i < MANY; i++) {
		m.n = i;
		ipc_send(rig.relay, M_JOB_RESULT, 0, &m);
	}
	rig_done(&rig, &rig.job[0]);
	job(1);
	assert_true(rig.job[1].by_fd);
	assert_int_equal(rig.job[1].size, rig.job[1].body.len);
	assert_true(has_text(&rig.job[1], "rfc822; user399@example.net"));
	deliver(1);
	assert_int_equal(messages(), 0);
	assert_int_equal(files(".msg"), 0);
}

static void
test_defer_and_retry(void **state)
{
	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	rig_result(
	    &rig, job(0), RESULT_DEFERRED, TROUBLE_REPLY, 450, "try later");
	rig_settle(&rig);
	assert_int_equal(rig.njobs, 1);
	assert_state("deferred");
	assert_changed("{\"cmd\":\"queue.retry\",\"all\":true}", 1);
	rig_result(
	    &rig, job(1), RESULT_DEFERRED, TROUBLE_REPLY, 450, "try later");
	rig_settle(&rig);
	assert_state("deferred");
	rig.setup.conf.retry_min = rig.setup.conf.retry_max = 0;
	assert_changed("{\"cmd\":\"queue.retry\",\"all\":true}", 1);
	rig_result(
	    &rig, job(2), RESULT_DEFERRED, TROUBLE_REPLY, 450, "try later");
	deliver(3); /* the delay was 0 */
	assert_int_equal(messages(), 0);
}

/* New mail goes before what was tried. */
static void
test_new_mail_first(void **state)
{
	uint64_t old, new;

	(void)state;
	rig_disconnect(&rig, ROLE_RELAY);
	old = rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	rig.setup.conf.retry_min = rig.setup.conf.retry_max = 0;
	rig_connect(&rig, ROLE_RELAY);
	rig_relay_state(&rig, true, TROUBLE_NONE, "");
	job(0);
	rig_result_one(
	    &rig, &rig.job[0], 0, RESULT_DEFERRED, TROUBLE_REPLY, 450, "later");
	rig_disconnect(&rig, ROLE_RELAY);
	new = rig_send(&rig, RIG_SID(1), 2, ANN, BO, HELLO);
	rig_connect(&rig, ROLE_RELAY);
	assert_true(job(1)->qid == new);
	assert_true(job(2)->qid == old);
}

static void
test_relay_without_result(void **state)
{
	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	rig_done(&rig, job(0));
	rig_settle(&rig);
	assert_state("deferred");
	assert_int_equal(rig.njobs, 1);
}

/* Results for what isn't in flight, and for nobody. */
static void
test_relay_lies(void **state)
{
	struct rig_job other = { .qid = 12345, .nto = 1 };
	struct rig_job nobody;

	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	/* a job it hasn't (any more) */
	rig_result(&rig, &other, RESULT_FAILED, TROUBLE_REPLY, 550, "no");
	rig_settle(&rig);
	assert_int_equal(messages(), 1);
	assert_state("in flight");
	assert_false(rig.relay_gone);
	/* a recipient the mail never had */
	nobody = *job(0);
	nobody.n[0] = 7;
	rig_result_one(
	    &rig, &nobody, 0, RESULT_FAILED, TROUBLE_REPLY, 550, "no");
	rig_wait_true(&rig, &rig.relay_gone);
	assert_state("waiting");
	rig_connect(&rig, ROLE_RELAY);
	job(1);
	deliver(1);
	assert_int_equal(messages(), 0);
	rig_done(&rig, &rig.job[1]);
	rig_settle(&rig);
	assert_false(rig.relay_gone);
}

static void
test_relay_gone(void **state)
{
	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO " cy@x.y", HELLO);
	rig_result_one(
	    &rig, job(0), 0, RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
	rig_disconnect(&rig, ROLE_RELAY);
	assert_state("waiting");
	rig_connect(&rig, ROLE_RELAY);
	/* What was delivered before is not sent again. */
	assert_int_equal(job(1)->nto, 1);
	assert_string_equal(rig.job[1].to[0], "cy@x.y");
	deliver(1);
	assert_int_equal(messages(), 0);
}

static void tell_role(enum role, uint32_t, uint32_t, const char *);

/* A relay that is being replaced finishes what it has and gets no more. */
static void
test_relay_draining(void **state)
{
	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	job(0);
	tell_role(ROLE_RELAY, RIG_FRONT, 100, "draining");
	rig_send(&rig, RIG_SID(1), 2, ANN, BO, HELLO);
	deliver(0);
	assert_int_equal(rig.njobs, 1);
	assert_state("waiting");
	rig_disconnect(&rig, ROLE_RELAY);
	rig_connect(&rig, ROLE_RELAY);
	deliver(1);
	assert_int_equal(messages(), 0);
}

/* Of two relays the one that was started last gets the mail. */
static void
test_newest_relay(void **state)
{
	static const struct {
		const char *name;
		uint32_t instance; /* of the second; the first is RIG_FRONT */
		bool second;
	} rows[] = {
		{ "a higher number", RIG_FRONT + 1, true },
		{ "a lower number", RIG_FRONT - 1, false },
		{ "the highest number, before the first", 0xffffff, false },
		{ "half round the circle", RIG_FRONT + 0x7fffff, true },
		{ "more than half", RIG_FRONT + 0x800000, false },
	};
	struct ipc *first = rig.relay, *second;
	uint32_t txn = 0;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rig.instance = rows[i].instance;
		rig_connect(&rig, ROLE_RELAY);
		second = rig.relay;
		rig.instance = RIG_FRONT;
		rig_settle(&rig);
		for (n = 0; n < 2; n++)
			rig_send(&rig, RIG_SID(1), ++txn, ANN, BO, HELLO);
		rig.relay = rows[i].second ? second : first;
		for (n = 0; n < 2; n++)
			deliver((unsigned)(2 * i + n));
		if (messages() != 0) /* the other one has it */
			fail_msg("%s", rows[i].name);
		rig.relay = second;
		rig_disconnect(&rig, ROLE_RELAY);
		rig.relay = first;
	}
}

/* ---- the smarthost ---- */

static void
result_alone(const struct rig_job *j, enum result_kind kind)
{
	struct m_job_result m = { .qid = j->qid,
		.n = j->n[0],
		.result = (uint8_t)kind,
		.trouble = TROUBLE_TLS,
		.esc = kind == RESULT_FAILED ? "5.7.0" : "4.7.0",
		.text =
		    "the access map demands TLS_Rcpt:example.net VERIFY:256",
		.mta = "",
		.alone = 1 };

	ipc_send(rig.relay, M_JOB_RESULT, 0, &m);
	rig_done(&rig, j);
	rig_settle(&rig);
}

/* A rule that keeps a mail back is nothing the smarthost did. */
static void
test_rule_alone(void **state)
{
	(void)state;
	rig_relay_state(&rig, true, TROUBLE_NONE, "");
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	result_alone(job(0), RESULT_DEFERRED);
	assert_state("deferred");
	assert_smarthost("up", NULL);
	rig_send(&rig, RIG_SID(1), 2, ANN, BO, HELLO);
	deliver(1); /* other mail goes at once */
	assert_state("deferred");
	rig_send(&rig, RIG_SID(1), 3, ANN, BO, HELLO);
	result_alone(job(2), RESULT_FAILED);
	assert_string_equal(job(3)->from, ""); /* so does the bounce */
	assert_true(has_text(job(3), "TLS_Rcpt:example.net"));
	assert_smarthost("up", NULL);
}

static void
test_smarthost_down(void **state)
{
	unsigned i;

	(void)state;
	assert_smarthost("unknown", NULL);
	rig_relay_state(&rig, false, TROUBLE_TLS, "certificate has expired");
	assert_smarthost("down", "tls");
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	rig_settle(&rig);
	assert_int_equal(rig.njobs, 0);
	assert_state("waiting");
	rig_relay_state(&rig, true, TROUBLE_NONE, "");
	assert_smarthost("up", NULL);
	deliver(0);

	/* Troubles that jobs tell of. */
	for (i = 0; i < 3; i++)
		rig_send(&rig, RIG_SID(1), 2 + i, ANN, BO, HELLO);
	for (i = 0; i < 3; i++)
		rig_result(&rig, job(1 + i), RESULT_DEFERRED, TROUBLE_AUTH, 535,
		    "login refused");
	rig_settle(&rig);
	assert_smarthost("down", "auth");
	assert_int_equal(rig.njobs, 4);
	/* One job probes, all follow. */
	assert_changed("{\"cmd\":\"queue.retry\",\"all\":true}", 3);
	job(4);
	rig_settle(&rig);
	assert_int_equal(rig.njobs, 5);
	deliver(4);
	deliver(5);
	deliver(6);
	assert_smarthost("up", NULL);
	assert_int_equal(messages(), 0);
}

static void
test_alarm(void **state)
{
	json_t *o, *a;

	(void)state;
	rig_relay_state(&rig, false, TROUBLE_CONNECT, "connection refused");
	o = rig_ask_json(&rig, "{\"cmd\":\"status\"}", NULL);
	assert_int_equal(json_array_size(json_object_get(o, "alarms")), 0);
	json_decref(o);
	rig_relay_state(&rig, false, TROUBLE_TLS, "hostname mismatch");
	o = rig_ask_json(&rig, "{\"cmd\":\"status\"}", NULL);
	a = json_array_get(json_object_get(o, "alarms"), 0);
	assert_string_equal(
	    json_string_value(json_object_get(a, "text")), "hostname mismatch");
	json_decref(o);
	rig_relay_state(&rig, true, TROUBLE_NONE, "");
	o = rig_ask_json(&rig, "{\"cmd\":\"status\"}", NULL);
	assert_int_equal(json_array_size(json_object_get(o, "alarms")), 0);
	assert_int_equal(json_integer_value(json_object_get(
			     json_object_get(o, "smarthost"), "connections")),
	    3);
	json_decref(o);
}

/* A mail on which connections break doesn't stop the others. */
static void
test_poisonous_mail(void **state)
{
	(void)state;
	rig_relay_state(&rig, true, TROUBLE_NONE, "");
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	rig_result(
	    &rig, job(0), RESULT_DEFERRED, TROUBLE_CONNECT, 0, "reset by peer");
	rig_settle(&rig);
	assert_smarthost("up", NULL);
	assert_state("deferred");
	rig_send(&rig, RIG_SID(1), 2, ANN, BO, HELLO);
	deliver(1);
	assert_int_equal(messages(), 1);
	/* Again the same mail: still no reason to doubt the smarthost. */
	assert_changed("{\"cmd\":\"queue.retry\",\"all\":true}", 1);
	rig_result(
	    &rig, job(2), RESULT_DEFERRED, TROUBLE_CONNECT, 0, "reset by peer");
	rig_settle(&rig);
	assert_smarthost("up", NULL);
	/* A second mail fares likewise, and none went through between. */
	rig_send(&rig, RIG_SID(1), 3, ANN, BO, HELLO);
	rig_result(
	    &rig, job(3), RESULT_DEFERRED, TROUBLE_CONNECT, 0, "reset by peer");
	rig_settle(&rig);
	assert_smarthost("down", "connect");
}

/* ---- time ---- */

static void
test_expired(void **state)
{
	const struct rig_job *b;

	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	job(0);
	rig.setup.conf.bounce_after = 0;
	rig_result(&rig, &rig.job[0], RESULT_DEFERRED, TROUBLE_REPLY, 450,
	    "450 4.2.0 later");
	b = job(1);
	assert_string_equal(b->to[0], ANN);
	assert_true(has_text(b, "Status: 5.4.7"));
	assert_true(has_text(b, "450 4.2.0 later"));
	deliver(1);
	assert_int_equal(messages(), 0);
}

/* Mail that never could be tried ends as well. */
static void
test_expired_untried(void **state)
{
	const struct rig_job *b;

	(void)state;
	rig_relay_state(&rig, false, TROUBLE_TLS, "certificate has expired");
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	rig.setup.conf.bounce_after = 0;
	queue_ops.reload(&rig.setup, &rig.setup.conf, NULL, 0); /* sweep now */
	rig_settle(&rig);
	rig.setup.conf.bounce_after = 60000;
	rig_relay_state(&rig, true, TROUBLE_NONE, "");
	b = job(0);
	assert_string_equal(b->from, "");
	assert_true(has_text(b, "Status: 5.4.7"));
	assert_true(has_text(b, "certificate has expired"));
	deliver(0);
	assert_int_equal(messages(), 0);
}

static void
test_delay_notice(void **state)
{
	const struct rig_job *n;
	unsigned i;

	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	rig_result(&rig, job(0), RESULT_DEFERRED, TROUBLE_REPLY, 450,
	    "450 4.2.0 busy now");
	rig_settle(&rig);
	rig.setup.conf.delay_notice = 1;
	queue_ops.reload(&rig.setup, &rig.setup.conf, NULL, 0); /* sweep now */
	n = job(1);
	assert_string_equal(n->from, "");
	assert_string_equal(n->to[0], ANN);
	assert_true(has_text(n, "Action: delayed"));
	assert_true(has_text(n, "Status: 4.4.7"));
	assert_true(has_text(n, "Will-Retry-Until: "));
	assert_true(has_text(n, "450 4.2.0 busy now"));
	deliver(1);
	/* Once is enough, and there is none about a report. */
	for (i = 0; i < 3; i++) {
		queue_ops.reload(&rig.setup, &rig.setup.conf, NULL, 0);
		rig_settle(&rig);
	}
	assert_int_equal(rig.njobs, 2);
	assert_state("deferred");
}

/* ---- restart and end ---- */

static void
test_restart(void **state)
{
	uint64_t qid;

	(void)state;
	qid = rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	job(0);
	open_file(RIG_SID(2), 1);
	rig_stop(&rig); /* in flight, and a body half received */
	rig_up(&rig);
	assert_true(job(0)->qid == qid);
	assert_int_equal(rig.job[0].body.len, strlen(HELLO));
	assert_int_equal(files("tmp."), 0);
	deliver(0);
	rig_stop(&rig);
	rig_up(&rig);
	rig_settle(&rig);
	assert_int_equal(rig.njobs, 0);
}

static void
test_drain(void **state)
{
	(void)state;
	rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	job(0);
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_envelope(&rig, RIG_SID(1), 2, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(1), 2);
	rig.setup.grace_ms = 60 * 1000;
	queue_ops.drain(&rig.setup);
	rig_settle(&rig);
	assert_false(rig.left);
	rig_envelope(&rig, RIG_SID(2), 1, ANN, BO, 0);
	rig_data_open(&rig, RIG_SID(2), 1);
	assert_int_equal(rig.ready.reply, R_QUEUE_DOWN);
	/* What has begun may end. */
	rig_submit(&rig, RIG_SID(1), 2, HELLO, strlen(HELLO));
	rig_wait(&rig, &rig.nsubmitted, 2);
	assert_int_equal(rig.submitted.reply, R_QUEUED);
	rig_settle(&rig);
	assert_false(rig.left);
	rig_result(
	    &rig, &rig.job[0], RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
	rig_wait_true(&rig, &rig.left);
	assert_int_equal(rig.njobs, 1); /* and nothing new began */
}

/* Another process holds the lock until the role says that it waits. */
static void
hold_lock(const char *dir, int log_fd, int ready_fd)
{
	struct mailq *mq;
	char text[4096];
	size_t have = 0;
	ssize_t n;

	if (mailq_open(dir, &mq) != MAILQ_OK || write(ready_fd, "x", 1) != 1)
		_exit(1);
	while (have < sizeof(text) - 1 &&
	    (n = read(log_fd, text + have, sizeof(text) - 1 - have)) > 0) {
		have += (size_t)n;
		text[have] = '\0';
		if (strstr(text, "ev=spool-wait") != NULL)
			break;
	}
	mailq_close(&mq);
	_exit(have > 0 ? 0 : 1);
}

static void
test_waits_for_the_lock(void **state)
{
	int log_pipe[2], ready[2], saved, status;
	char err[256] = "", c;
	pid_t pid;

	(void)state;
	rig_stop(&rig);
	assert_int_equal(pipe(log_pipe), 0);
	assert_int_equal(pipe(ready), 0);
	if ((pid = fork()) == 0)
		hold_lock(rig.setup.conf.spool, log_pipe[0], ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	saved = dup(STDERR_FILENO);
	dup2(log_pipe[1], STDERR_FILENO);
	log_set_level(LOG_INFO);
	status = rig_start(&rig, err, sizeof(err));
	log_set_level(LOG_ERR);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_string_equal(err, "");
	assert_int_equal(status, 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(log_pipe[0]), close(log_pipe[1]);
	close(ready[0]), close(ready[1]);
}

static void
test_parent_goes_while_waiting(void **state)
{
	struct mailq *mq;
	char err[256];
	struct rig *r = &rig;

	(void)state;
	rig_stop(r);
	assert_int_equal(mailq_open(r->setup.conf.spool, &mq), MAILQ_OK);
	assert_int_equal(rig_start_orphan(r, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "parent is gone"));
	mailq_close(&mq);
}

static void
test_start_refused(void **state)
{
	char err[256], path[128];

	(void)state;
	rig_stop(&rig);
	snprintf(path, sizeof(path), "%s/spool", rig.dir);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(rig_start(&rig, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "mode 0700"));
	assert_int_equal(chmod(path, 0700), 0);
}

static void
test_reload(void **state)
{
	struct conf next;
	char err[256] = "", spool[] = "/elsewhere";

	(void)state;
	next = rig.setup.conf;
	next.retry_max = 1;
	assert_int_equal(
	    queue_ops.reload(&rig.setup, &next, err, sizeof(err)), 0);
	next.spool = spool;
	assert_int_equal(
	    queue_ops.reload(&rig.setup, &next, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "restart"));
}

/* ---- the control socket ---- */

static void
test_control_errors(void **state)
{
	static char big[20000];

	(void)state;
	assert_refused("no json", 64, "not JSON");
	assert_refused("[1]", 64, "cmd");
	assert_refused("{\"cmd\":1}", 64, "cmd");
	assert_refused("{\"cmd\":\"queue.burn\"}", 64, "no such command");
	assert_refused("{\"cmd\":\"status\",\"cmd\":\"status\"}", 64, "JSON");
	assert_refused("{\"cmd\":\"queue.show\"}", 64, "hex");
	assert_refused("{\"cmd\":\"queue.show\",\"qid\":7}", 64, "hex");
	assert_refused("{\"cmd\":\"queue.show\",\"qid\":\"-1\"}", 64, "hex");
	assert_refused("{\"cmd\":\"queue.show\",\"qid\":\"0\"}", 64, "hex");
	assert_refused("{\"cmd\":\"queue.show\",\"qid\":"
		       "\"ffffffffffffffff\"}",
	    64, "hex");
	assert_refused("{\"cmd\":\"queue.show\",\"qid\":\"1f\"}", 65,
	    "no message 000000000001f");
	assert_refused(
	    "{\"cmd\":\"queue.hold\",\"qid\":\"1f\"}", 65, "no message");
	assert_refused("{\"cmd\":\"queue.del\"}", 64, "hex");
	assert_refused("{\"cmd\":\"queue.del\",\"all\":1}", 64, "hex");
	memset(big, ' ', sizeof(big) - 1);
	assert_refused(big, 64, "too long");
}

static void
test_control_changes(void **state)
{
	char request[128];
	uint64_t qid;
	json_t *items, *o;

	(void)state;
	rig_disconnect(&rig, ROLE_RELAY);
	qid = rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	rig_send(&rig, RIG_SID(1), 2, "", BO, HELLO);
#define ASK(cmd)                                                               \
	(snprintf(request, sizeof(request),                                    \
	     "{\"cmd\":\"queue." cmd "\",\"qid\":\"%lx\"}",                    \
	     (unsigned long)qid),                                              \
	    request)
	assert_changed(ASK("hold"), 1);
	o = rig_ask_json(&rig, ASK("show"), &items);
	o = (json_decref(o), json_array_get(items, 0));
	assert_string_equal(
	    json_string_value(json_object_get(o, "state")), "held");
	assert_string_equal(
	    json_string_value(json_object_get(o, "user")), "ann");
	assert_string_equal(json_string_value(json_object_get(o, "from")), ANN);
	assert_string_equal(
	    json_string_value(json_object_get(o, "how")), "PLAIN");
	assert_true(json_is_null(json_object_get(o, "next_try")));
	assert_int_equal(
	    json_integer_value(json_object_get(o, "size")), strlen(HELLO));
	assert_int_equal(
	    strlen(json_string_value(json_object_get(o, "arrived"))), 20);
	json_decref(items);
	assert_changed(ASK("release"), 1);
	assert_changed(ASK("release"), 0);
	assert_changed(ASK("del"), 1);
	assert_refused(ASK("del"), 65, "no message");
	assert_changed("{\"cmd\":\"queue.del\",\"all\":true}", 1);
	assert_int_equal(messages(), 0);
}

static void
test_control_in_flight(void **state)
{
	char request[128];
	uint64_t qid;

	(void)state;
	qid = rig_send(&rig, RIG_SID(1), 1, ANN, BO, HELLO);
	job(0);
	assert_refused(ASK("del"), 75, "being sent");
	assert_changed("{\"cmd\":\"queue.del\",\"all\":true}", 0);
	/* Held while in flight: a deferral leaves it held. */
	assert_changed(ASK("hold"), 1);
	rig_result(
	    &rig, &rig.job[0], RESULT_DEFERRED, TROUBLE_REPLY, 450, "later");
	rig_settle(&rig);
	assert_state("held");
}

/* A list longer than one piece, and a text that is not UTF-8. */
static void
test_control_list(void **state)
{
	enum { MANY = 200 };
	json_t *items, *o, *item;
	const char *s, *last = "";
	unsigned i;

	(void)state;
	rig_send(&rig, RIG_SID(1), 0, ANN, BO, HELLO);
	rig_result(
	    &rig, job(0), RESULT_DEFERRED, TROUBLE_REPLY, 450, "sp\xe4ter");
	rig_settle(&rig);
	rig_disconnect(&rig, ROLE_RELAY);
	for (i = 1; i < MANY; i++)
		assert_true(rig_send(&rig, RIG_SID(1), i, ANN, BO, HELLO) != 0);
	o = rig_ask_json(&rig, "{\"cmd\":\"queue.list\"}", &items);
	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_int_equal(json_array_size(items), MANY);
	for (i = 0; i < MANY; i++) {
		item = json_array_get(items, i);
		s = json_string_value(json_object_get(item, "qid"));
		assert_true(strcmp(s, last) > 0);
		last = s;
	}
	item = json_array_get(
	    json_object_get(json_array_get(items, 0), "rcpts"), 0);
	assert_string_equal(
	    json_string_value(json_object_get(item, "text")), "sp?ter");
	json_decref(items);
	json_decref(o);
}

static void
tell_role(enum role role, uint32_t instance, uint32_t pid, const char *st)
{
	union msg m = { .role = { .role = (uint8_t)role,
			    .instance = instance,
			    .pid = pid,
			    .state = st } };
	struct ipc_in in = { .type = M_ROLE, .fd = -1, .m = &m };

	queue_ops.other(&rig.setup, &in);
}

static void
test_status(void **state)
{
	json_t *o, *roles;

	(void)state;
	tell_role(ROLE_FRONT, 7, 100, "running");
	tell_role(ROLE_FRONT, 8, 101, "running");
	tell_role(ROLE_FRONT, 7, 100, "draining");
	tell_role(ROLE_FRONT, 8, 0, "gone");
	tell_role(ROLE_FRONT, 9, 0, "gone");
	rig_grant(&rig, RIG_SID(1), "ann");
	rig_settle(&rig);
	o = rig_ask_json(&rig, "{\"cmd\":\"status\"}", NULL);
	roles = json_object_get(o, "roles");
	assert_int_equal(json_array_size(roles), 2);
	assert_string_equal(json_string_value(json_object_get(
				json_array_get(roles, 0), "state")),
	    "draining");
	assert_string_equal(json_string_value(json_object_get(
				json_array_get(roles, 1), "role")),
	    "queue");
	assert_int_equal(json_integer_value(json_object_get(o, "sessions")), 1);
	assert_non_null(json_object_get(o, "version"));
	assert_non_null(json_object_get(o, "uptime_s"));
	assert_int_equal(json_integer_value(json_object_get(
			     json_object_get(o, "queue"), "messages")),
	    0);
	json_decref(o);
}

#define T(f) cmocka_unit_test_setup_teardown(f, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_accept_and_deliver),
		T(test_ids_grow),
		T(test_not_allowed),
		T(test_envelope_is_used_once),
		T(test_next_envelope_early),
		T(test_auth_is_read_first),
		T(test_session_close),
		T(test_front_gone),
		T(test_out_of_turn),
		T(test_foreign_session),
		T(test_body_file),
		T(test_body_lies),
		T(test_abort),
		T(test_body_file_twice),
		T(test_eightbit),
		T(test_headers),
		T(test_again),
		T(test_again_whenever),
		T(test_again_after_failure),
		T(test_again_in_one_group),
		T(test_again_without_id),
		T(test_many_at_once),
		T(test_no_space),
		T(test_space_for_results),
		T(test_space_after_drain),
		T(test_file_takes_room),
		T(test_commit_fails),
		T(test_discard),
		T(test_hold_by_map),
		T(test_bounce),
		T(test_bounce_of_many),
		T(test_defer_and_retry),
		T(test_new_mail_first),
		T(test_relay_without_result),
		T(test_relay_lies),
		T(test_relay_gone),
		T(test_relay_draining),
		T(test_newest_relay),
		T(test_rule_alone),
		T(test_smarthost_down),
		T(test_alarm),
		T(test_poisonous_mail),
		T(test_expired),
		T(test_expired_untried),
		T(test_delay_notice),
		T(test_restart),
		T(test_drain),
		T(test_waits_for_the_lock),
		T(test_parent_goes_while_waiting),
		T(test_start_refused),
		T(test_reload),
		T(test_control_errors),
		T(test_control_changes),
		T(test_control_in_flight),
		T(test_control_list),
		T(test_status),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
