/*
 * A front that was taken over, against real auth and queue.  It has nothing
 * but its two sockets, and says on them whatever it likes.  It must not send
 * a mail that nobody allowed, nor read one, nor harm the others.
 *
 * HOSTILE_SEED and HOSTILE_COUNT change the storm at the end.
 */
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hostile_rig.h"

static struct front evil, honest;

static int
up(void **state)
{
	(void)state;
	front_new(&evil);
	front_new(&honest);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	front_free(&evil);
	front_free(&honest);
	return 0;
}

/* All that one mail needs; true if it was accepted. */
static bool
send_one(struct front *f, uint64_t sid, uint32_t txn)
{
	return front_mail(f, sid, txn, ANN) && front_rcpt(f, sid, txn, BO) &&
	    front_open(f, sid, txn, 1) == R_DATA_GO &&
	    front_submit(f, sid, txn, HELLO, strlen(HELLO)) == R_QUEUED;
}

/* The service is as good as before: an honest session gets a mail through. */
static void
assert_service(void)
{
	struct front f;
	long before = hostile_messages();
	uint64_t sid;

	front_new(&f);
	sid = front_sid(&f, 1);
	assert_true(front_arrive(&f, sid, NULL, 0));
	assert_int_equal(front_login(&f, sid, "ann", ANN_PASSWORD), R_AUTH_OK);
	assert_true(send_one(&f, sid, 1));
	assert_int_equal(hostile_messages(), before + 1);
	front_free(&f);
	assert_true(hostile_lives(&H.auth));
	assert_true(hostile_lives(&H.queue));
}

/* It was dropped by a role, which has told parent. */
static void
assert_dropped(struct front *f, struct child *by, struct ipc **from)
{
	assert_true(front_is_dropped(from));
	assert_true(hostile_complained(by, f));
	front_free(f);
	front_new(f);
}

/* What all the rest is compared with. */
static void
test_honest(void **state)
{
	(void)state;
	assert_int_equal(hostile_messages(), 0);
	assert_service();
}

/* ---- who may ---- */

static void
test_nobody(void **state)
{
	uint64_t sid = front_sid(&evil, 1);
	long before = hostile_messages();

	(void)state;
	/* queue has never heard of it */
	assert_int_equal(front_open(&evil, sid, 1, 1), R_TEMP);
	assert_int_equal(
	    front_submit(&evil, sid, 1, HELLO, strlen(HELLO)), R_TEMP);
	/* auth neither */
	assert_false(front_mail(&evil, sid, 1, ANN));
	assert_false(front_rcpt(&evil, sid, 1, BO));
	/* a session without login */
	assert_true(front_arrive(&evil, sid, NULL, 0));
	assert_false(front_mail(&evil, sid, 2, ANN));
	assert_false(front_rcpt(&evil, sid, 2, BO));
	assert_int_equal(front_open(&evil, sid, 2, 1), R_TEMP);
	/* a wrong password, nobody's name, no name */
	assert_int_equal(front_login(&evil, sid, "ann", "wrong"), R_AUTH_BAD);
	assert_int_equal(
	    front_login(&evil, sid, "root", ANN_PASSWORD), R_AUTH_BAD);
	assert_int_not_equal(front_login(&evil, sid, "", ""), R_AUTH_OK);
	assert_false(front_mail(&evil, sid, 3, ANN));
	assert_int_equal(front_open(&evil, sid, 3, 1), R_TEMP);
	assert_int_equal(
	    front_submit(&evil, sid, 3, HELLO, strlen(HELLO)), R_TEMP);
	assert_int_equal(hostile_messages(), before);
	assert_service();
}

static void
test_certificates(void **state)
{
	static const struct {
		const char *name;
		size_t cut;  /* bytes left out at the end */
		size_t flip; /* in percent: a byte that is another, 0: none */
		bool length; /* its length says more than there is */
	} rows[] = {
		{ "cut", 1, 0, false },
		{ "much cut", 200, 0, false },
		{ "only a length", 0, 0, true },
		{ "another serial", 0, 7, false },
		{ "another key", 0, 60, false },
		{ "another signature", 0, 98, false },
	};
	unsigned char chain[sizeof(H.cert)];
	uint64_t sid = front_sid(&evil, 10);
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++, sid++) {
		memcpy(chain, H.cert, H.cert_len);
		len = H.cert_len - rows[i].cut;
		if (rows[i].flip != 0)
			chain[H.cert_len * rows[i].flip / 100] ^= 1;
		if (rows[i].length)
			memset(chain, 0xff, 4);
		if (!front_arrive(&evil, sid, chain, len)) {
			/* not even well-formed: it is gone */
			front_free(&evil);
			front_new(&evil);
			sid = front_sid(&evil, 10);
			continue;
		}
		if (front_mail(&evil, sid, 1, ANN))
			fail_msg("%s: taken for ann's", rows[i].name);
		assert_int_equal(front_open(&evil, sid, 1, 1), R_TEMP);
	}
	/* This is what auth must believe a front: that the client has the key
	 * of the certificate it shows (DESIGN, promise 6). */
	assert_true(front_arrive(&evil, sid, H.cert, H.cert_len));
	assert_true(send_one(&evil, sid, 1));
	/* but even so only as ann */
	assert_false(front_mail(&evil, sid, 2, "root@example.org"));
	assert_int_equal(front_open(&evil, sid, 2, 1), R_TEMP);
	assert_service();
}

/* ---- whose session, which transaction ---- */

static void
test_session_of_another(void **state)
{
	static const enum msg_type at_queue[] = { M_DATA_OPEN, M_BODY_FILE,
		M_SUBMIT, M_DATA_ABORT, M_SESSION_CLOSE };
	static const enum msg_type at_auth[] = { M_SESSION, M_AUTH_START,
		M_AUTH_STEP, M_AUTH_CANCEL, M_MAIL, M_RCPT, M_HEADERS,
		M_SESSION_CLOSE };
	static const union msg empty;
	uint64_t sid = front_sid(&honest, 1);
	size_t i;

	(void)state;
	assert_true(front_arrive(&honest, sid, NULL, 0));
	assert_int_equal(
	    front_login(&honest, sid, "ann", ANN_PASSWORD), R_AUTH_OK);
	assert_true(front_mail(&honest, sid, 1, ANN));
	assert_true(front_rcpt(&honest, sid, 1, BO));
	for (i = 0; i < sizeof(at_queue) / sizeof(at_queue[0]); i++) {
		ipc_send(evil.queue, at_queue[i], sid, &empty);
		assert_dropped(&evil, &H.queue, &evil.queue);
	}
	for (i = 0; i < sizeof(at_auth) / sizeof(at_auth[0]); i++) {
		ipc_send(evil.auth, at_auth[i], sid, &empty);
		assert_dropped(&evil, &H.auth, &evil.auth);
	}
	/* whose it is has lost nothing */
	assert_int_equal(front_open(&honest, sid, 1, 1), R_DATA_GO);
	assert_int_equal(
	    front_submit(&honest, sid, 1, HELLO, strlen(HELLO)), R_QUEUED);
	assert_true(send_one(&honest, sid, 2));
}

static void
test_envelopes(void **state)
{
	uint64_t sid = front_sid(&evil, 1), other = front_sid(&evil, 2);

	(void)state;
	assert_true(front_arrive(&evil, sid, NULL, 0));
	assert_int_equal(
	    front_login(&evil, sid, "ann", ANN_PASSWORD), R_AUTH_OK);
	assert_true(front_mail(&evil, sid, 1, ANN));
	assert_true(front_rcpt(&evil, sid, 1, BO));
	/* another transaction, another session, other recipients */
	assert_int_equal(front_open(&evil, sid, 2, 1), R_TEMP);
	assert_int_equal(front_open(&evil, other, 1, 1), R_TEMP);
	assert_int_equal(front_open(&evil, sid, 1, 2), R_TEMP);
	assert_int_equal(front_open(&evil, sid, 1, 0), R_TEMP);
	/* not without M_DATA_OPEN */
	assert_int_equal(
	    front_submit(&evil, sid, 1, HELLO, strlen(HELLO)), R_TEMP);
	/* once, and no more */
	assert_int_equal(front_open(&evil, sid, 1, 1), R_DATA_GO);
	assert_int_equal(front_open(&evil, sid, 1, 1), R_TEMP);
	assert_int_equal(
	    front_submit(&evil, sid, 1, HELLO, strlen(HELLO)), R_QUEUED);
	assert_int_equal(
	    front_submit(&evil, sid, 1, HELLO, strlen(HELLO)), R_TEMP);
	assert_int_equal(front_open(&evil, sid, 1, 1), R_TEMP);
	/* an envelope that auth refused in part is what it allowed */
	assert_true(front_mail(&evil, sid, 3, ANN));
	assert_false(front_rcpt(&evil, sid, 3, "not an address"));
	assert_int_equal(front_open(&evil, sid, 3, 1), R_TEMP);
	assert_service();
}

static void
login(struct front *f, uint64_t sid)
{
	assert_true(front_arrive(f, sid, NULL, 0));
	assert_int_equal(front_login(f, sid, "ann", ANN_PASSWORD), R_AUTH_OK);
}

static void
begin_mail(struct front *f, uint64_t sid, uint32_t txn)
{
	assert_true(front_mail(f, sid, txn, ANN));
	assert_true(front_rcpt(f, sid, txn, BO));
	assert_int_equal(front_open(f, sid, txn, 1), R_DATA_GO);
}

/* A header that names others must have been shown to auth. */
static void
test_authors(void **state)
{
	struct m_submit m = { .size = strlen(HELLO),
		.body = { HELLO, strlen(HELLO) } };
	uint64_t sid = front_sid(&evil, 1);
	long before = hostile_messages();
	const union msg *a;
	uint32_t txn;

	(void)state;
	login(&evil, sid);
	for (txn = 1; txn <= 3; txn++) {
		begin_mail(&evil, sid, txn);
		if (txn == 2 &&
		    front_headers(&evil, sid, txn, "root@example.org"))
			fail_msg("ann may write as root");
		if (txn == 3)
			assert_true(front_headers(&evil, sid, txn, ANN));
		m.txn = txn;
		ipc_send(evil.queue, M_SUBMIT, sid, &m);
		a = front_wait(&evil.queue, M_SUBMITTED, sid);
		assert_non_null(a);
		assert_int_equal(a->submitted.reply == R_QUEUED, txn == 3);
		assert_int_equal(hostile_messages(), before + (txn == 3));
	}
	assert_service();
}

/* ---- bodies ---- */

/* The descriptor for a large body; -1: it was refused. */
static int
ask_for_file(struct front *f, uint64_t sid, uint32_t txn)
{
	const struct m_txn m = { .txn = txn };
	struct ipc_in in;
	const char *why;

	ipc_send(f->queue, M_BODY_FILE, sid, &m);
	if (ipc_recv_wait(f->queue, &in, &why) == -1)
		fail_msg("dropped: %s", why);
	return in.type == M_BODY_FD ? in.fd : -1;
}

/* What it says of a body is compared with the body. */
static void
test_sizes(void **state)
{
	static const struct {
		const char *name;
		uint64_t size, body;
		bool in_file;
	} rows[] = {
		{ "more than there is", 1000, 10, false },
		{ "less than there is", 5, 10, false },
		{ "beyond max_message_size", (uint64_t)1 << 40, 10, false },
		{ "a file that it never had", 10, 0, true },
		{ "a file and a body", 10, 10, true },
		{ "no size at all", 0, 10, false },
	};
	static const char body[1000] = "Subject: x\r\n\r\n";
	uint64_t sid = front_sid(&evil, 1);
	long before = hostile_messages();
	const union msg *a;
	struct m_submit m;
	uint32_t txn;
	size_t i;

	(void)state;
	login(&evil, sid);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		txn = (uint32_t)i + 1;
		begin_mail(&evil, sid, txn);
		m = (struct m_submit){ .txn = txn,
			.size = rows[i].size,
			.in_file = rows[i].in_file,
			.own_author = 1,
			.body = { body, rows[i].body } };
		ipc_send(evil.queue, M_SUBMIT, sid, &m);
		a = front_wait(&evil.queue, M_SUBMITTED, sid);
		if (a == NULL || a->submitted.reply == R_QUEUED)
			fail_msg("%s: taken", rows[i].name);
	}
	assert_int_equal(hostile_messages(), before);
	assert_service();
}

static void
test_files(void **state)
{
	static const char body[200 * 1024] = "Subject: x\r\n\r\n";
	struct m_submit m = {
		.txn = 1, .size = sizeof(body), .in_file = 1, .own_author = 1
	};
	uint64_t sid = front_sid(&evil, 1);
	long before = hostile_messages();
	const union msg *a;
	int fd;

	(void)state;
	login(&evil, sid);
	assert_int_equal(ask_for_file(&evil, sid, 1), -1); /* no transaction */
	begin_mail(&evil, sid, 1);
	fd = ask_for_file(&evil, sid, 1);
	assert_int_not_equal(fd, -1);
	assert_int_equal(ask_for_file(&evil, sid, 1), -1); /* one is enough */
	close(fd);
	ipc_send(evil.queue, M_DATA_ABORT, sid, &(struct m_txn){ .txn = 1 });
	/* larger than a mail may be, with the right and with a wrong size */
	begin_mail(&evil, sid, 2);
	fd = ask_for_file(&evil, sid, 2);
	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, body, sizeof(body)), sizeof(body));
	m.txn = 2;
	ipc_send(evil.queue, M_SUBMIT, sid, &m);
	a = front_wait(&evil.queue, M_SUBMITTED, sid);
	assert_non_null(a);
	assert_int_not_equal(a->submitted.reply, R_QUEUED);
	close(fd);
	begin_mail(&evil, sid, 3);
	fd = ask_for_file(&evil, sid, 3);
	assert_int_equal(write(fd, body, sizeof(body)), sizeof(body));
	m.txn = 3;
	m.size = 1000;
	ipc_send(evil.queue, M_SUBMIT, sid, &m);
	a = front_wait(&evil.queue, M_SUBMITTED, sid);
	assert_non_null(a);
	assert_int_not_equal(a->submitted.reply, R_QUEUED);
	close(fd);
	assert_int_equal(hostile_messages(), before);
	assert_service();
}

/* Whatever it asks, no byte of a mail comes back: not from the sockets, not by
 * a descriptor, which shows its own body at most. */
static void
test_read_mail(void **state)
{
	static const union msg empty;
	uint64_t sid = front_sid(&evil, 1);
	char text[4096];
	int t, fd;

	(void)state;
	assert_service(); /* there is one to be read */
	login(&evil, sid);
	begin_mail(&evil, sid, 1);
	fd = ask_for_file(&evil, sid, 1);
	assert_int_not_equal(fd, -1);
	assert_true(read(fd, text, sizeof(text)) <= 0);
	assert_int_equal(openat(fd, "..", O_RDONLY | O_DIRECTORY), -1);
	close(fd);
	for (t = 0; t < M_TYPE_COUNT; t++) {
		if (evil.queue == NULL) {
			front_free(&evil);
			front_new(&evil);
		}
		ipc_send(
		    evil.queue, (enum msg_type)t, front_sid(&evil, 1), &empty);
		/* its answers, until it is dropped or says no more */
		ipc_send(evil.queue, M_DATA_OPEN, front_sid(&evil, 7), &empty);
		(void)front_wait(
		    &evil.queue, M_DATA_READY, front_sid(&evil, 7));
	}
	assert_service();
}

/* ---- nonsense ---- */

static uint64_t seed;

static uint64_t
chance(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n > 0 ? seed % n : 0;
}

static const char *
some_text(void)
{
	static const char *const texts[] = { "", "ann", ANN, BO, "\xff\xfe",
		"a@b", "PLAIN", "SCRAM-SHA-256", "EXTERNAL", "192.0.2.7", "::1",
		"%s%n", "x' OR 1=1 --", "\r\nMAIL FROM:<>", "OAUTHBEARER",
		"XOAUTH2", "LOGIN", "TLSv1.3" };
	static char longest[321];

	if (chance(10) == 0) {
		memset(longest, 'a', sizeof(longest) - 1);
		return longest;
	}
	return texts[chance(sizeof(texts) / sizeof(texts[0]))];
}

/* Never the right password, nor ann's certificate as it is. */
static struct blob
some_bytes(void)
{
	static unsigned char bytes[70 * 1024];
	size_t len = chance(4) == 0 ? chance(sizeof(bytes)) : chance(300);
	size_t i;

	for (i = 0; i < len; i++)
		bytes[i] = (unsigned char)chance(256);
	if (chance(3) == 0) {
		len = H.cert_len;
		memcpy(bytes, H.cert, len);
		bytes[4 + chance(len - 4)] ^= 1 << chance(8);
	} else if (chance(3) == 0) {
		len = (size_t)snprintf((char *)bytes, 300, "%c%s%c%s", 0,
		    some_text(), 0, some_text());
	}
	return (struct blob){ bytes, len };
}

/* A message of some type a front may send, with fields of some sense. */
static enum msg_type
some_message(union msg *m)
{
	memset(m, 0, sizeof(*m));
	switch (chance(12)) {
	case 0:
		m->session = (struct m_session){ some_text(), 1, some_text(),
			(uint8_t)chance(5), some_text(), 2, (uint8_t)chance(2),
			some_text(), "TLSv1.3", "x", (uint16_t)chance(300),
			some_bytes(), { "e", 1 }, { 0 }, { 0 } };
		return M_SESSION;
	case 1:
		m->auth_start = (struct m_auth_start){ some_text(),
			(uint8_t)chance(2), some_bytes(), some_text() };
		return M_AUTH_START;
	case 2:
		m->auth_step.data = some_bytes();
		return M_AUTH_STEP;
	case 3:
		m->mail.txn = (uint32_t)chance(4);
		m->mail.from = some_text();
		m->mail.size = chance(2) ? UINT64_MAX : chance(100000);
		m->mail.helo = some_text();
		return M_MAIL;
	case 4:
		m->rcpt.txn = (uint32_t)chance(4);
		m->rcpt.to = some_text();
		return M_RCPT;
	case 11:
		m->headers.txn = (uint32_t)chance(4);
		m->headers.authors = some_bytes();
		return M_HEADERS;
	case 5:
		m->data_open.txn = (uint32_t)chance(4);
		m->data_open.rcpts = (uint32_t)chance(3);
		return M_DATA_OPEN;
	case 6:
		m->submit = (struct m_submit){ .txn = (uint32_t)chance(4),
			.size = chance(300),
			.in_file = (uint8_t)chance(2),
			.own_author = (uint8_t)chance(2),
			.body = some_bytes() };
		return M_SUBMIT;
	case 7:
		m->txn.txn = (uint32_t)chance(4);
		return chance(2) ? M_BODY_FILE : M_DATA_ABORT;
	case 8:
		return M_AUTH_CANCEL;
	case 9:
		return M_SESSION_CLOSE;
	default: /* mostly out of turn */
		return (enum msg_type)chance(M_TYPE_COUNT);
	}
}

static void
swallow(struct ipc *p)
{
	struct ipc_in in;
	const char *why;

	while (p != NULL && ipc_readable(p) && ipc_recv_wait(p, &in, &why) == 0)
		if (in.fd != -1)
			close(in.fd);
}

/* Whether it has hung up: then this front is done with. */
static bool
has_hung_up(const struct ipc *p)
{
	char byte;

	return recv(ipc_fd(p), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* One message: well-formed, or with some bytes changed, cut, or frayed. */
static void
send_some(struct front *f)
{
	static unsigned char packet[PROTO_MAX];
	union msg m;
	enum msg_type type = some_message(&m);
	struct ipc *to = chance(2) ? f->auth : f->queue;
	uint64_t sid = front_sid(f, chance(8));
	size_t len, n;

	if (chance(200) == 0)
		sid ^= (uint64_t)1 << SID_COUNTER_BITS;
	if ((len = proto_pack(type, sid, &m, packet, sizeof(packet))) == 0)
		return; /* beyond a bound: can't be said */
	if (chance(12) == 0)
		for (n = chance(4) + 1; n > 0; n--)
			packet[chance(len)] = (unsigned char)chance(256);
	if (chance(40) == 0)
		len = chance(len + 1);
	if (send(ipc_fd(to), packet, len, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 &&
	    errno == EAGAIN) { /* they are slower than we are */
		swallow(f->auth);
		swallow(f->queue);
	}
}

/* Parent reads what they say of us, or they would keep it. */
static void
hear_complaints(void)
{
	swallow(H.auth.ipc);
	swallow(H.queue.ipc);
}

static void
test_storm(void **state)
{
	const char *given = getenv("HOSTILE_SEED");
	const char *count = getenv("HOSTILE_COUNT");
	long n = count != NULL ? atol(count) : 20000, i, fronts = 1;
	long before = hostile_messages(), auth_kib, queue_kib;

	(void)state;
	seed = given != NULL ? strtoull(given, NULL, 10) : 88172645463325252u;
	auth_kib = hostile_memory_kib(&H.auth);
	queue_kib = hostile_memory_kib(&H.queue);
	for (i = 0; i < n; i++) {
		send_some(&evil);
		if (i % 8 == 0) {
			swallow(evil.auth);
			swallow(evil.queue);
		}
		if (has_hung_up(evil.auth) || has_hung_up(evil.queue)) {
			front_free(&evil);
			front_new(&evil);
			fronts++;
			hear_complaints();
		}
	}
	front_free(&evil);
	front_new(&evil);
	assert_service(); /* which also waits until all of it is handled */
	assert_int_equal(hostile_messages(), before + 1);
	auth_kib = hostile_memory_kib(&H.auth) - auth_kib;
	queue_kib = hostile_memory_kib(&H.queue) - queue_kib;
	print_message("# %ld messages, %ld fronts, auth +%ld KiB, queue +%ld "
		      "KiB\n",
	    n, fronts, auth_kib, queue_kib);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
	assert_true(auth_kib < 8 * 1024);
	assert_true(queue_kib < 8 * 1024);
#endif
}

#define T(f) cmocka_unit_test_setup_teardown(f, up, down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_honest),
		T(test_nobody),
		T(test_certificates),
		T(test_session_of_another),
		T(test_envelopes),
		T(test_authors),
		T(test_sizes),
		T(test_files),
		T(test_read_mail),
		T(test_storm),
	};
	int rc;

	hostile_up();
	rc = cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
	hostile_down();
	return rc;
}
