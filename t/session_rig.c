/* A session under a fuzz target: see session_rig.h. */
#include "session_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/policy.h"
#include "submitd/dotline.h"
#include "submitd/smtp_reply.h"
#include "submitd/smtp_session.h"

static struct {
	struct session *s;
	enum msg_type auth, queue; /* asked, M_TYPE_COUNT: nothing */
	uint32_t txn;
	bool deny;
	uint8_t mode, declared, priority;
	unsigned asked;
	bool tls, closed;
	uint8_t from_header; /* another with each MAIL */
	int64_t now, step, due;
	struct session_rig_heard heard;
	struct buf body;
} P;

static void
check(bool ok)
{
	if (!ok)
		abort();
}

/* Lines of up to 512 bytes of ASCII, each with its code. */
static void
op_send(void *arg, const void *p, size_t n)
{
	const char *line = p, *end = line + n, *lf;

	(void)arg;
	check(n > 5);
	for (; line < end; line = lf + 1) {
		lf = memchr(line, '\n', (size_t)(end - line));
		check(lf != NULL && lf - line > 4 && lf[-1] == '\r');
		check(line[0] >= '2' && line[0] <= '5');
		check(line[3] == ' ' || (line[3] == '-' && lf + 1 < end));
		check(lf + 1 - line <= SMTP_REPLY_LINE ||
		    strncmp(line, "334 ", 4) == 0);
		for (; line < lf - 1; line++)
			check(*line >= ' ' && *line <= '~');
	}
	buf_add(&P.heard.all, p, n);
	P.heard.last = P.heard.all.len - n;
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
	check(ms > 0);
	P.due = P.now + ms;
}

static int64_t
op_clock(void *arg)
{
	(void)arg;
	return P.now += P.step;
}

static bool
op_never(void *arg)
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

/* ---- what auth and queue are asked ---- */

static void
pack(enum msg_type type, const void *m)
{
	static unsigned char packet[PROTO_MAX];
	static const struct m_empty empty;

	/* 0: a field beyond its bound */
	check(proto_pack(
		  type, 1, m != NULL ? m : &empty, packet, sizeof(packet)) > 0);
}

static bool
op_to_auth(void *arg, enum msg_type type, const void *m)
{
	(void)arg;
	pack(type, m);
	P.auth = type;
	P.deny = false;
	if (type == M_MAIL) {
		P.txn = ((const struct m_mail *)m)->txn;
		P.declared = ((const struct m_mail *)m)->opt.body;
		P.priority = ((const struct m_mail *)m)->opt.priority;
	} else if (type == M_RCPT)
		P.deny = (P.mode & SESSION_RIG_PICKY) != 0 &&
		    strchr(((const struct m_rcpt *)m)->to, 'z') != NULL;
	return true;
}

/* What the message holds, looked at byte by byte. */
static void
check_message(const struct m_submit *m)
{
	const unsigned char *p = buf_head(&P.body);
	const char *end;
	size_t len = P.body.len, header, i, line = 0;
	bool bare = false, high = false, is_long = false;

	check(m->size == len && len > 10);
	check(memcmp(p, "Received:", 9) == 0); /* a long one is folded */
	end = memmem(p, len, "\r\n\r\n", 4);
	header = end != NULL ? (size_t)(end - (const char *)p) : len;
	for (i = 0; i < len; i++) {
		high |= p[i] >= 0x80;
		if (p[i] == '\0' ||
		    (p[i] == '\r' && (i + 1 == len || p[i + 1] != '\n')) ||
		    (p[i] == '\n' && (i == 0 || p[i - 1] != '\r'))) {
			check(i > header);
			bare = true;
		}
		is_long |=
		    p[i] != '\r' && p[i] != '\n' && ++line > DOTLINE_LINE_MAX;
		if (p[i] == '\n')
			line = 0;
	}
	if (m->body_kind != BODY_BINARYMIME) {
		check(!bare);
		check(!is_long || P.declared != BODY_BINARYMIME);
		check(!is_long || (P.mode & SESSION_RIG_LONG_LINES) == 0);
		/* not vice versa: Bcc is dropped, whatever it held */
		check(!high || m->body_kind == BODY_8BITMIME);
	} else
		check(P.declared == BODY_BINARYMIME);
}

static void
submit(const struct m_submit *m)
{
	char text[40];

	check(m->in_file || m->body.len <= BODY_INLINE_MAX);
	check(!m->in_file || m->body.len == 0);
	if (!m->in_file)
		buf_add(&P.body, m->body.p, m->body.len);
	check_message(m);
	snprintf(
	    text, sizeof(text), "SUBMIT %u %u\r\n", m->body_kind, m->has_id);
	buf_add(&P.heard.all, text, strlen(text));
	buf_add(&P.heard.all, buf_head(&P.body), P.body.len);
	buf_add(&P.heard.mail, text, strlen(text));
	buf_add(&P.heard.mail, buf_head(&P.body), P.body.len);
}

static bool
op_to_queue(void *arg, enum msg_type type, const void *m)
{
	(void)arg;
	pack(type, m);
	if (type == M_DATA_ABORT)
		return true;
	if (type == M_DATA_OPEN) {
		check(((const struct m_data_open *)m)->rcpts > 0);
		buf_clear(&P.body);
	}
	P.queue = type;
	if (type == M_SUBMIT)
		submit(m);
	return true;
}

static int
op_body_write(void *arg, const void *p, size_t n)
{
	(void)arg;
	buf_add(&P.body, p, n);
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
op_now_ms(void *arg, int *tz)
{
	(void)arg;
	*tz = -90;
	return 1762160701999;
}

static const struct session_ops ops = { op_send, op_starttls, op_hangup,
	op_deadline, op_clock, op_never, op_never, op_announce, op_to_auth,
	op_to_queue, op_body_write, op_body_sync, op_body_close, op_random,
	op_now_ms };

/* ---- and what they answer ---- */

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
		m.verdict.allow = !P.deny;
		if (asked == M_MAIL)
			P.from_header = (uint8_t)((P.from_header + 1) % 3);
		m.verdict.reply = asked == M_MAIL ? R_MAIL_OK
		    : P.deny                      ? R_RCPT_DENIED
						  : R_RCPT_OK;
		m.verdict.esc = m.verdict.text = m.verdict.more = "";
		m.verdict.user = "ann";
		m.verdict.headers = P.from_header;
		m.verdict.priority = P.priority < PRIORITY_NORMAL + 3
		    ? P.priority
		    : PRIORITY_NORMAL + 3;
		session_from_auth(P.s, M_VERDICT, &m);
	} else if (asked == M_HEADERS) {
		m.verdict.txn = P.txn;
		m.verdict.on = VERDICT_HEADERS;
		m.verdict.allow = P.from_header == POLICY_FROM_SENDER;
		m.verdict.reply =
		    m.verdict.allow ? R_DATA_GO : R_AUTHOR_NOT_OWNED;
		m.verdict.esc = m.verdict.user = "";
		m.verdict.text = "<x@example.org> in the From field";
		m.verdict.more = "ann@example.org";
		session_from_auth(P.s, M_VERDICT, &m);
	}
}

static void
answer_queue(void)
{
	union msg m = { 0 };
	enum msg_type asked = P.queue;

	P.queue = M_TYPE_COUNT;
	if (asked == M_TYPE_COUNT)
		return;
	if ((P.mode & SESSION_RIG_QUEUE_GONE) != 0 && ++P.asked % 3 == 0) {
		session_queue_gone(P.s);
		return;
	}
	m.txn.txn = P.txn; /* first field of all three */
	if (asked == M_DATA_OPEN) {
		m.data_ready.reply =
		    P.mode & SESSION_RIG_NO_SPACE ? R_NO_SPACE : R_DATA_GO;
		m.data_ready.qid = 7;
		m.data_ready.text = "";
		session_from_queue(P.s, M_DATA_READY, &m);
	} else if (asked == M_BODY_FILE && (P.mode & SESSION_RIG_NO_FILE) == 0)
		session_from_queue(P.s, M_BODY_FD, &m);
	else {
		m.submitted.reply =
		    asked == M_BODY_FILE ? R_NO_SPACE : R_QUEUED;
		m.submitted.qid = 7;
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
			    .cert_user = P.mode & SESSION_RIG_CERT ? "ann" : "",
			    .mechs = MECH_PLAIN | MECH_LOGIN,
			    .refuse_code =
				P.mode & SESSION_RIG_REFUSED ? 550 : 0,
			    .refuse_esc = "5.7.1",
			    .refuse_text = "Go away" } };

	P.tls = false;
	session_tls_up(P.s, &t);
	session_from_auth(P.s, M_SESSION_FACTS, &m);
}

static void
settle(void)
{
	while (!P.closed &&
	    (P.auth != M_TYPE_COUNT || P.queue != M_TYPE_COUNT || P.tls)) {
		answer_auth();
		answer_queue();
		if (P.tls)
			tls_up();
	}
	if (P.due != 0 && P.due <= P.now) {
		P.due = 0;
		session_timeout(P.s);
	}
}

/* ---- one dialogue ---- */

static struct session_conf
conf_of(uint8_t mode)
{
	return (struct session_conf){ .hostname = "h.example.org",
		.max_message_size = 100000,
		.max_recipients = 5,
		.max_errors = 50,
		.handshake_timeout = 3600 * 1000,
		.command_timeout = 3600 * 1000,
		.login_timeout = 3600 * 1000,
		.data_timeout = 3600 * 1000,
		.min_data_rate = 500,
		.error_delay = 0,
		.session_time = 24 * 3600 * 1000,
		.session_messages = 3,
		.normalize_newlines = mode & SESSION_RIG_NORMALIZE,
		.reject_long_lines = mode & SESSION_RIG_LONG_LINES,
		.trace_client = true,
		.digests = true,
		.max_hold = 30LL * 24 * 3600 * 1000,
		.deliver_by_min = 60 * 1000,
		.help = "Call 12",
		.help_text = "Call 12",
		.see_url = "See https://help.example.org/" };
}

struct session_rig_heard
session_rig_play(const struct session_rig_input *i)
{
	static const struct session_client client = { .addr = "192.0.2.7" };
	struct session_conf conf = conf_of(i->mode);
	const uint8_t *data = i->data;
	struct buf in = { 0 };
	size_t len = i->len, n, took;

	memset(&P, 0, sizeof(P));
	P.auth = P.queue = M_TYPE_COUNT;
	P.mode = i->mode;
	P.now = 1;
	P.step = i->step;
	if (i->step > 0)
		conf.error_delay = 1000;
	P.s = session_new(&conf, &ops, NULL, &client, 1, i->implicit);
	session_start(P.s);
	if (i->implicit)
		tls_up();
	for (; len > 0 && !P.closed; data += n, len -= n) {
		n = len < i->piece ? len : i->piece;
		buf_add(&in, data, n);
		do {
			settle();
			took = session_wants_input(P.s) && in.len > 0
			    ? session_input(P.s, buf_head(&in), in.len)
			    : 0;
			buf_drop(&in, took);
		} while (took > 0 && !P.closed);
	}
	if (!P.closed)
		settle();
	session_free(&P.s);
	buf_clear(&in);
	buf_clear(&P.body);
	return P.heard;
}

void
session_rig_clear(struct session_rig_heard *h)
{
	buf_clear(&h->all);
	buf_clear(&h->mail);
}
