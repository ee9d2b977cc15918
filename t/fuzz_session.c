/*
 * The session under arbitrary client bytes, under TLS and logged in by
 * certificate, with auth and queue that say yes.  The first byte of the input
 * chooses the size of the pieces the rest is fed in, and whether TLS stands.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/mem.h"
#include "submitd/smtp_reply.h"
#include "submitd/smtp_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static struct {
	struct session *s;
	enum msg_type auth, queue; /* asked, M_TYPE_COUNT: nothing */
	uint32_t txn;
	bool tls, closed;
	int64_t now, due;
	uint64_t stored, claimed;
} P;

static void
op_send(void *arg, const void *p, size_t n)
{
	(void)arg, (void)p;
	if (n < 5) /* no reply is that short */
		abort();
}

static void
op_starttls(void *arg)
{
	(void)arg;
	P.tls = true;
}

static void
op_hangup(void *arg)
{
	(void)arg;
	P.closed = true;
}

static void
op_deadline(void *arg, int64_t ms)
{
	(void)arg;
	if (ms <= 0)
		abort();
	P.due = P.now + ms;
}

/* A second passes with each look, so that deadlines are made and moved. */
static int64_t
op_clock(void *arg)
{
	(void)arg;
	return P.now += 1000;
}

static bool
op_stuck(void *arg)
{
	(void)arg;
	return false;
}

static bool
op_no_space(void *arg)
{
	(void)arg;
	return false;
}

static bool
op_announce(void *arg)
{
	(void)arg;
	return true;
}

static bool
op_to_auth(void *arg, enum msg_type type, const void *m)
{
	static unsigned char packet[PROTO_MAX];

	(void)arg;
	if (proto_pack(type, 1, m != NULL ? m : &(struct m_empty){ 0 }, packet,
		sizeof(packet)) == 0)
		abort(); /* a field beyond its bound */
	P.auth = type;
	if (type == M_MAIL)
		P.txn = ((const struct m_mail *)m)->txn;
	return true;
}

static bool
op_to_queue(void *arg, enum msg_type type, const void *m)
{
	(void)arg;
	if (type == M_DATA_ABORT)
		return true;
	P.queue = type;
	if (type == M_DATA_OPEN)
		P.stored = 0;
	if (type == M_SUBMIT) {
		const struct m_submit *sub = m;

		if (sub->size != P.stored + sub->body.len)
			abort();
		if (!sub->in_file && sub->body.len > BODY_INLINE_MAX)
			abort();
	}
	return true;
}

static int
op_body_write(void *arg, const void *p, size_t n)
{
	(void)arg, (void)p;
	P.stored += n;
	return 0;
}

static int
op_body_sync(void *arg)
{
	(void)arg;
	return 0;
}

static void
op_body_close(void *arg)
{
	(void)arg;
}

static void
op_random(void *arg, void *out, size_t n)
{
	(void)arg;
	memset(out, 1, n);
}

static int64_t
op_now(void *arg, int *tz)
{
	(void)arg;
	*tz = -90;
	return 0;
}

static const struct session_ops ops = { op_send, op_starttls, op_hangup,
	op_deadline, op_clock, op_stuck, op_no_space, op_announce, op_to_auth,
	op_to_queue, op_body_write, op_body_sync, op_body_close, op_random,
	op_now };

static void
answer_auth(void)
{
	union msg m = { 0 };
	enum msg_type asked = P.auth;

	P.auth = M_TYPE_COUNT;
	if (asked == M_AUTH_START || asked == M_AUTH_STEP) {
		m.auth_challenge.data.p = "x";
		m.auth_challenge.data.len = 1;
		session_from_auth(P.s, M_AUTH_CHALLENGE, &m);
	} else if (asked == M_MAIL || asked == M_RCPT) {
		m.verdict.txn = P.txn;
		m.verdict.on = asked == M_MAIL ? VERDICT_MAIL : VERDICT_RCPT;
		m.verdict.allow = 1;
		m.verdict.reply = asked == M_MAIL ? R_MAIL_OK : R_RCPT_OK;
		m.verdict.esc = m.verdict.text = "";
		m.verdict.user = "ann";
		session_from_auth(P.s, M_VERDICT, &m);
	}
}

static void
answer_queue(void)
{
	union msg m = { 0 };
	enum msg_type asked = P.queue;

	P.queue = M_TYPE_COUNT;
	m.txn.txn = P.txn; /* first field of all three */
	if (asked == M_DATA_OPEN) {
		m.data_ready.reply = R_DATA_GO;
		m.data_ready.qid = 7;
		session_from_queue(P.s, M_DATA_READY, &m);
	} else if (asked == M_BODY_FILE)
		session_from_queue(P.s, M_BODY_FD, &m);
	else if (asked == M_SUBMIT) {
		m.submitted.reply = R_QUEUED;
		session_from_queue(P.s, M_SUBMITTED, &m);
	}
}

static void
tls_up(void)
{
	static const struct session_tls t = { "TLSv1.3", "X" };
	union msg m = { .session_facts = { .verify = "NO",
				.verify_reason = "",
				.cert_fp = "",
				.cert_user = "",
				.mechs = MECH_PLAIN | MECH_LOGIN,
				.refuse_esc = "",
				.refuse_text = "" } };

	P.tls = false;
	session_tls_up(P.s, &t);
	session_from_auth(P.s, M_SESSION_FACTS, &m);
}

static void
settle(void)
{
	while (!P.closed && (P.auth != M_TYPE_COUNT ||
	    P.queue != M_TYPE_COUNT || P.tls)) {
		answer_auth();
		answer_queue();
		if (P.tls)
			tls_up();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct session_conf conf = { .hostname = "h.example.org",
		.max_message_size = 100000,
		.max_recipients = 5,
		.max_errors = 50,
		.handshake_timeout = 3600 * 1000,
		.command_timeout = 3600 * 1000,
		.login_timeout = 3600 * 1000,
		.data_timeout = 3600 * 1000,
		.min_data_rate = 500,
		.error_delay = 1000,
		.session_time = 24 * 3600 * 1000,
		.session_messages = 3,
		.trace_client = true,
		.digests = true,
		.max_hold = 30LL * 24 * 3600 * 1000,
		.deliver_by_min = 60 * 1000,
		.max_priority = 3,
		.help = "Call 12",
		.help_text = "Call 12",
		.see_url = "See https://help.example.org/" };
	static const struct session_client client = { .addr = "192.0.2.7" };
	struct buf in = { 0 };
	size_t piece, n, took;

	if (len < 1)
		return 0;
	memset(&P, 0, sizeof(P));
	P.auth = P.queue = M_TYPE_COUNT;
	piece = (data[0] & 0x7f) + 1u;
	P.s = session_new(&conf, &ops, NULL, &client, 1, data[0] & 0x80);
	session_start(P.s);
	if (data[0] & 0x80)
		tls_up();
	for (data++, len--; len > 0 && !P.closed; data += n, len -= n) {
		n = len < piece ? len : piece;
		buf_add(&in, data, n);
		do {
			settle();
			if (P.due != 0 && P.due <= P.now) {
				P.due = 0;
				session_timeout(P.s);
			}
			took = session_wants_input(P.s) && in.len > 0 ?
			    session_input(P.s, buf_head(&in), in.len) : 0;
			buf_drop(&in, took);
		} while (took > 0 && !P.closed);
	}
	session_free(&P.s);
	buf_clear(&in);
	return 0;
}
