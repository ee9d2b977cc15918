/*
 * Plays scripted dialogues against the session code: the same functions that
 * the sockets feed.  Auth and queue are played here by a few fixed rules.
 *
 *	# comment
 *	! directive [argument]
 *	C: line sent by the client (CR LF is added; \r \n \0 \xHH \\ known;
 *	   a final \c leaves CR LF out)
 *	S: reply line expected; * stands for anything
 *	S+ the same of a reply's last line; lines "250-..." may come before it
 *	A: what auth or queue was asked, in order (see note_mail()); * as above
 *	M: line of the message queue got last, in order; * as above
 *
 * C lines up to the next S line are one segment.  Each script is played
 * with whole segments, byte by byte, and in pieces of 7 bytes.
 *
 * Directives: "implicit" (TLS from the start), "tls" (the handshake is done
 * before the first line), "whole" (segments only), "auth down", "queue
 * down|up|full|limit|file|dead", "queue most N" (bytes), "cert USER", "refuse CODE ESC TEXT", "errors N",
 * "no auth", "no pipelining", "size N", "rcpts N", "timeout", "closed" (the
 * server has hung up), "kill", "drain", "trace", "normalize", "long lines"
 * (are refused), "hold N", "by N" (ms), "priority N", "help TEXT", "see URL";
 * "fill N" is N C lines of 100 bytes, "line N" one of N bytes.
 *
 * Time stands still but for: "wait MS" (deadlines that lie in it come),
 * "timeout" (until one is heard of), "drip N MS TEXT" (so often TEXT, without
 * a line end, after so long). "set NAME N": handshake, command, login, data,
 * delay, session in ms, rate in bytes per second; "messages N" in a session.
 * "stuck": the client reads nothing, until "drained"; "no space": queue said
 * so; "evict"; "open", "known", "stranger PROGRESS" are looked at.
 *
 * The user ann has the password "secret" and owns ann@example.org; the
 * recipient no@example.net is refused with 550 5.7.1. "from require|sender|
 * off" is what auth demands of the authors in the header (require, if it is
 * not said); "auth hangs" lets it never answer about them, "auth gone" lets it
 * die.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/authors.h"
#include "submitd/mem.h"
#include "submitd/smtp_reply.h"
#include "submitd/smtp_session.h"

enum { QUEUE_OK, QUEUE_DOWN, QUEUE_FULL, QUEUE_LIMIT, QUEUE_DEAD };

static const struct session_ops ops;

static struct play {
	struct session *s;
	struct session_conf conf;
	struct session_client client;
	struct buf out;	   /* replies not yet expected */
	struct buf in;	   /* client bytes not yet taken */
	struct buf body;   /* what queue got, or gets into its file */
	struct buf question; /* asked of auth, not yet answered */
	struct buf asked;    /* lines about what was asked so far */
	uint8_t max_priority, granted;
	uint64_t most;	     /* bytes that queue lets this user send; 0: any */
	bool want_tls, closed;
	bool stuck, no_space;
	int64_t now, deadline; /* ms; deadline 0: none */
	bool auth_down;
	bool no_auth;
	bool auth_hangs; /* over a header */
	uint8_t from_header;
	int queue;
	char cert[64];
	struct m_session_facts facts;
	char esc[16], text[256];
	char help[200], see[200];
	char user[64], mech[32];
	int login_step;
	uint32_t txn;
	size_t piece;
	int line;
	char why[512];
} P;

/* ---- auth ---- */

static void
from_auth(enum msg_type type, const union msg *m)
{
	session_from_auth(P.s, type, m);
}

static void
say_result(uint16_t reply, const char *user)
{
	union msg m = { .auth_result = { reply, user, P.mech } };

	if (reply == R_AUTH_OK)
		snprintf(P.user, sizeof(P.user), "%s", user);
	from_auth(M_AUTH_RESULT, &m);
}

static void
say_challenge(const char *text)
{
	union msg m = { .auth_challenge = { { text, strlen(text) } } };

	from_auth(M_AUTH_CHALLENGE, &m);
}

static bool
is_bytes(const struct blob *b, const char *text, size_t n)
{
	return b->len == n && memcmp(b->p, text, n) == 0;
}

static void
auth_start(const struct m_auth_start *m)
{
	static const char good[] = "\0ann\0secret";

	snprintf(P.mech, sizeof(P.mech), "%s", m->mech);
	P.login_step = 0;
	if (strcmp(m->mech, "PLAIN") == 0 && m->has_initial)
		say_result(is_bytes(&m->data, good, sizeof(good) - 1) ?
			R_AUTH_OK : R_AUTH_BAD, "ann");
	else if (strcmp(m->mech, "PLAIN") == 0)
		say_challenge("");
	else if (strcmp(m->mech, "LOGIN") == 0)
		say_challenge("Username:");
	else if (strcmp(m->mech, "EXTERNAL") == 0 && P.cert[0] != '\0')
		say_result(R_AUTH_OK, P.cert);
	else
		say_result(R_AUTH_MECHANISM, "");
}

static void
auth_step(const struct m_auth_step *m)
{
	static const char good[] = "\0ann\0secret";

	if (strcmp(P.mech, "LOGIN") == 0 && P.login_step++ == 0)
		say_challenge("Password:");
	else if (strcmp(P.mech, "LOGIN") == 0)
		say_result(is_bytes(&m->data, "secret", 6) ? R_AUTH_OK :
							     R_AUTH_BAD, "ann");
	else
		say_result(is_bytes(&m->data, good, sizeof(good) - 1) ?
			R_AUTH_OK : R_AUTH_BAD, "ann");
}

static void
verdict(uint32_t txn, uint8_t on, uint16_t reply, const char *text)
{
	union msg m = { .verdict = { .txn = txn,
		.on = on,
		.allow = reply == R_MAIL_OK || reply == R_RCPT_OK,
		.reply = reply,
		.esc = "",
		.text = text,
		.more = "",
		.headers = P.from_header,
		.user = P.user[0] != '\0' ? P.user : P.cert,
		.priority = P.granted } };

	from_auth(M_VERDICT, &m);
}

/* ---- what was asked, as text ---- */

static void __attribute__((format(printf, 1, 2)))
note(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_add(&P.asked, text, strlen(text));
}

/* Seconds from now, with milliseconds if they are not whole. */
static const char *
from_now(int64_t when_ms)
{
	static char text[32];
	int tz;
	int64_t ms = when_ms - ops.now_ms(NULL, &tz);

	snprintf(text, sizeof(text), ms % 1000 == 0 ? "%.0f" : "%.3f",
	    (double)ms / 1000);
	return text;
}

/* "MAIL <sender>" and what else was said, "RCPT <recipient>" likewise, "SUBMIT"
 * and what the message holds. Times are seconds from now. */
static void
note_mail(const struct m_mail *m)
{
	const struct mail_options *o = &m->opt;

	note("MAIL <%s>", m->from);
	if (m->size > 0)
		note(" size=%llu", (unsigned long long)m->size);
	if (o->body != BODY_7BIT)
		note(" body=%u", o->body);
	note("%s%s", o->utf8 ? " utf8" : "", o->require_tls ? " tls" : "");
	if (o->ret != RET_NONE)
		note(" ret=%s", o->ret == RET_FULL ? "FULL" : "HDRS");
	if (o->by_mode != BY_NONE)
		note(" by=%s%s%s", from_now(o->by_ms),
		    o->by_mode == BY_RETURN ? "R" : "N",
		    o->by_trace ? "T" : "");
	if (o->hold_ms != 0)
		note(" hold=%s", from_now(o->hold_ms));
	if (o->priority != PRIORITY_NORMAL)
		note(" priority=%d", o->priority - PRIORITY_NORMAL);
	if (o->envid[0] != '\0')
		note(" envid=%s", o->envid);
	if (o->auth[0] != '\0')
		note(" auth=%s", o->auth);
	note("\n");
}

static void
note_rcpt(const struct m_rcpt *m)
{
	note("RCPT <%s>", m->to);
	if (m->opt.notify != 0)
		note(" notify=%u", m->opt.notify);
	if (m->opt.orcpt[0] != '\0')
		note(" orcpt=%s", m->opt.orcpt);
	note("\n");
}

static void
auth_mail(const struct m_mail *m)
{
	uint16_t reply = R_MAIL_OK;

	if (P.user[0] == '\0' && P.cert[0] == '\0')
		reply = R_AUTH_NEEDED;
	else if (m->from[0] != '\0' && strcmp(m->from, "ann@example.org") != 0)
		reply = R_MAIL_NOT_OWNED;
	P.granted = m->opt.priority;
	if (P.granted > PRIORITY_NORMAL + P.max_priority)
		P.granted = PRIORITY_NORMAL + P.max_priority;
	verdict(m->txn, VERDICT_MAIL, reply, m->from);
}

static void
auth_headers(const struct m_headers *m)
{
	struct policy_author a[AUTHORS_MAX + 1];
	union msg v = { .verdict = { .txn = m->txn, .on = VERDICT_HEADERS,
		.allow = 1, .reply = R_DATA_GO, .esc = "", .text = "",
		.more = "", .user = "" } };
	int i, n = authors_read(m->authors.p, m->authors.len, a,
	    AUTHORS_MAX + 1);
	char text[400];

	if (n < 1)
		abort();
	for (i = 0; i < n && v.verdict.allow; i++) {
		if (a[i].wrong == NULL &&
		    strcmp(a[i].address, "ann@example.org") == 0)
			continue;
		if (P.from_header == POLICY_FROM_SENDER) {
			v.verdict.more = "ann@example.org";
			continue;
		}
		v.verdict.allow = 0;
		v.verdict.reply = a[i].wrong != NULL ? R_AUTHOR_FIELD
						     : R_AUTHOR_NOT_OWNED;
		snprintf(text, sizeof(text), "<%s> in the %s field",
		    a[i].address, policy_author_field_name(a[i].field));
		v.verdict.text = a[i].wrong != NULL
		    ? policy_author_field_name(a[i].field)
		    : text;
		v.verdict.more =
		    a[i].wrong != NULL ? a[i].wrong : "<ann@example.org>";
	}
	from_auth(M_VERDICT, &v);
}

static bool
op_to_auth(void *arg, enum msg_type type, const void *m)
{
	(void)arg;
	if (P.auth_down)
		return false;
	/* Answered after the question, as a process would. */
	switch (type) {
	case M_AUTH_START:
	case M_AUTH_STEP:
	case M_MAIL:
	case M_RCPT:
	case M_HEADERS: {
		static unsigned char packet[PROTO_MAX];
		size_t n = proto_pack(type, 1, m, packet, sizeof(packet));

		buf_clear(&P.question);
		buf_add(&P.question, packet, n);
		break;
	}
	default:
		break;
	}
	return true;
}

static void
answer_auth(void)
{
	static unsigned char packet[PROTO_MAX];
	enum msg_type type;
	union msg m;
	const char *why;
	uint64_t sid;
	size_t n = P.question.len;

	if (n == 0 || n > sizeof(packet) || P.auth_hangs)
		return;
	memcpy(packet, buf_head(&P.question), n);
	buf_clear(&P.question);
	if (proto_unpack(packet, n, &type, &sid, &m, &why) == -1)
		abort();
	if (type == M_AUTH_START)
		auth_start(&m.auth_start);
	else if (type == M_AUTH_STEP)
		auth_step(&m.auth_step);
	else if (type == M_MAIL) {
		note_mail(&m.mail);
		auth_mail(&m.mail);
	} else if (type == M_HEADERS) {
		auth_headers(&m.headers);
	} else if (type == M_RCPT) {
		note_rcpt(&m.rcpt);
		verdict(m.rcpt.txn, VERDICT_RCPT,
		    strcmp(m.rcpt.to, "no@example.net") == 0 ? R_RCPT_DENIED :
							       R_RCPT_OK, "");
	}
}

static bool
op_announce(void *arg)
{
	(void)arg;
	return !P.auth_down;
}

static void
say_facts(void)
{
	union msg m = { .session_facts = P.facts };

	m.session_facts.cert_user = P.cert;
	m.session_facts.mechs = MECH_SCRAM_SHA_256 | MECH_PLAIN | MECH_LOGIN |
	    (P.cert[0] != '\0' ? MECH_EXTERNAL : 0);
	if (P.no_auth)
		m.session_facts.mechs = 0;
	from_auth(M_SESSION_FACTS, &m);
}

/* ---- queue ---- */

static enum msg_type queue_asked;

static bool
op_to_queue(void *arg, enum msg_type type, const void *msg)
{
	const struct m_submit *m = msg;

	(void)arg;
	if (P.queue == QUEUE_DOWN)
		return false;
	if (type == M_DATA_ABORT)
		return true;
	queue_asked = type;
	P.txn = *(const uint32_t *)msg; /* all of them begin with it */
	if (type == M_DATA_OPEN)
		buf_clear(&P.body);
	if (type == M_SUBMIT)
		note("SUBMIT %s%s%s\n", m->body_kind == BODY_7BIT ? "7BIT" :
		    m->body_kind == BODY_8BITMIME ? "8BITMIME" : "BINARYMIME",
		    m->in_file ? " file" : "", m->has_id ? "" : " no-id");
	if (type == M_SUBMIT && !m->in_file)
		buf_add(&P.body, m->body.p, m->body.len);
	if (type == M_SUBMIT && m->size != P.body.len)
		snprintf(P.why, sizeof(P.why), "size %llu, but %zu bytes came",
		    (unsigned long long)m->size, P.body.len);
	return true;
}

static void
answer_queue(void)
{
	union msg m = { 0 };
	enum msg_type asked = queue_asked;

	queue_asked = M_TYPE_COUNT;
	if (asked == M_TYPE_COUNT || P.queue == QUEUE_DEAD)
		return;
	if (asked == M_DATA_OPEN) {
		m.data_ready.txn = P.txn;
		m.data_ready.qid = 0x1234;
		m.data_ready.reply = P.queue == QUEUE_FULL ? R_NO_SPACE :
		    P.queue == QUEUE_LIMIT		   ? R_LIMIT_USER :
							     R_DATA_GO;
		m.data_ready.text = P.queue == QUEUE_LIMIT ? "5 a day" : "";
		m.data_ready.max_size = P.most;
		session_from_queue(P.s, M_DATA_READY, &m);
	} else if (asked == M_BODY_FILE && P.queue == QUEUE_FULL) {
		m.submitted.txn = P.txn;
		m.submitted.reply = R_NO_SPACE;
		session_from_queue(P.s, M_SUBMITTED, &m);
	} else if (asked == M_BODY_FILE) {
		m.txn.txn = P.txn;
		session_from_queue(P.s, M_BODY_FD, &m);
	} else {
		m.submitted.txn = P.txn;
		m.submitted.reply = R_QUEUED;
		m.submitted.qid = 0x1234;
		session_from_queue(P.s, M_SUBMITTED, &m);
	}
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

/* ---- the client's side ---- */

static void
op_send(void *arg, const void *p, size_t n)
{
	(void)arg;
	buf_add(&P.out, p, n);
}

static void
op_starttls(void *arg)
{
	(void)arg;
	P.want_tls = true;
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
	P.deadline = P.now + ms;
}

static int64_t
op_clock(void *arg)
{
	(void)arg;
	return P.now;
}

static bool
op_stuck(void *arg)
{
	(void)arg;
	return P.stuck;
}

static bool
op_no_space(void *arg)
{
	(void)arg;
	return P.no_space;
}

static void
op_random(void *arg, void *out, size_t n)
{
	(void)arg;
	memset(out, 0xab, n);
}

static int64_t
op_now_ms(void *arg, int *tz)
{
	(void)arg;
	*tz = 60;
	return 1762160701750;
}

static const struct session_ops ops = { op_send, op_starttls, op_hangup,
	op_deadline, op_clock, op_stuck, op_no_space, op_announce, op_to_auth,
	op_to_queue, op_body_write, op_body_sync, op_body_close, op_random,
	op_now_ms };

static void
tls_up(void)
{
	static const struct session_tls t = { "TLSv1.3",
		"TLS_AES_256_GCM_SHA384" };

	P.want_tls = false;
	session_tls_up(P.s, &t);
	say_facts();
}

/* Lets the session take what has been sent, and the answers it asks for. */
static void
run(void)
{
	size_t n, give;
	bool moved = true;

	while (moved && !P.closed) {
		answer_auth();
		answer_queue();
		n = 0;
		give = P.in.len;
		if (session_wants_input(P.s) && give > 0)
			n = session_input(P.s, buf_head(&P.in), give);
		buf_drop(&P.in, n);
		moved = n > 0 || (P.question.len > 0 && !P.auth_hangs) ||
		    queue_asked != M_TYPE_COUNT;
		if (P.want_tls)
			tls_up();
		if (P.queue == QUEUE_DEAD)
			break;
	}
}

static void
send_segment(const struct buf *seg)
{
	size_t i, n, piece = P.piece > 0 ? P.piece : seg->len;

	for (i = 0; i < seg->len; i += n) {
		n = seg->len - i < piece ? seg->len - i : piece;
		buf_add(&P.in, buf_head(seg) + i, n);
		run();
	}
}

/* ---- the script ---- */

static void
unescape(struct buf *out, const char *p)
{
	unsigned hex;
	char c;

	for (; *p != '\0'; p++) {
		c = *p;
		if (c == '\\' && p[1] != '\0') {
			switch (*++p) {
			case 'r':
				c = '\r';
				break;
			case 'n':
				c = '\n';
				break;
			case '0':
				c = '\0';
				break;
			case 'x':
				if (sscanf(p + 1, "%2x", &hex) != 1)
					abort();
				c = (char)hex;
				p += 2;
				break;
			case 'c':
				return;
			default:
				c = *p;
			}
		}
		buf_add(out, &c, 1);
	}
	buf_add(out, "\r\n", 2);
}

static bool
matches(const char *pat, const char *text)
{
	for (; *pat != '\0' && *pat != '*'; pat++, text++)
		if (*pat != *text)
			return false;
	if (*pat == '\0')
		return *text == '\0';
	while (*pat == '*')
		pat++;
	for (; *text != '\0'; text++)
		if (matches(pat, text))
			return true;
	return *pat == '\0';
}

/* Takes one line out of b; false if there is none. */
static bool
take_line(struct buf *b, char *out, size_t size)
{
	const char *p = (const char *)buf_head(b);
	const char *nl = b->len > 0 ? memchr(p, '\n', b->len) : NULL;
	size_t n;

	if (nl == NULL)
		return false;
	n = (size_t)(nl - p);
	snprintf(out, size, "%.*s", (int)(n > 0 && p[n - 1] == '\r' ? n - 1 : n),
	    p);
	buf_drop(b, n + 1);
	return true;
}

static void
expect(struct buf *b, const char *pat, const char *what)
{
	char got[1024];

	if (P.why[0] != '\0')
		return;
	if (!take_line(b, got, sizeof(got)))
		snprintf(P.why, sizeof(P.why), "expected %s \"%.200s\", got "
		    "nothing", what, pat);
	else if (!matches(pat, got))
		snprintf(P.why, sizeof(P.why), "expected %s \"%.200s\", got "
		    "\"%.200s\"", what, pat, got);
}

/* The rest of a reply whose first lines are of no interest. */
static void
expect_last(struct buf *b, const char *pat)
{
	char got[1024];

	while (b->len > 3 && buf_head(b)[3] == '-' &&
	    take_line(b, got, sizeof(got)))
		continue;
	expect(b, pat, "last line");
}

static const char *
word(const char *text, const char *name)
{
	size_t n = strlen(name);

	if (strncmp(text, name, n) != 0 || (text[n] != '\0' && text[n] != ' '))
		return NULL;
	return text[n] == ' ' ? text + n + 1 : text + n;
}

static void
set_refusal(const char *a)
{
	unsigned code;

	if (sscanf(a, "%u %15s %255[^\n]", &code, P.esc, P.text) != 3)
		abort();
	P.facts.refuse_code = (uint16_t)code;
}

/* Lets time pass, and the deadlines come that lie in it. */
static void
pass_time(int64_t ms, bool until_heard)
{
	int64_t end = P.now + ms;
	size_t heard = P.out.len;

	while (P.deadline != 0 && P.deadline <= end && !P.closed) {
		P.now = P.deadline;
		P.deadline = 0;
		session_timeout(P.s);
		run();
		if (until_heard && (P.closed || P.out.len != heard))
			return;
	}
	P.now = end;
}

/* "command 5000": a time of the configuration, or the rate, in its unit. */
static void
set_time(const char *a)
{
	const struct {
		const char *name;
		int64_t *slot;
	} slots[] = {
		{ "handshake", &P.conf.handshake_timeout },
		{ "command", &P.conf.command_timeout },
		{ "login", &P.conf.login_timeout },
		{ "data", &P.conf.data_timeout },
		{ "rate", &P.conf.min_data_rate },
		{ "delay", &P.conf.error_delay },
		{ "session", &P.conf.session_time },
	};
	const char *v;
	size_t i;

	for (i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		if ((v = word(a, slots[i].name)) != NULL) {
			*slots[i].slot = atoll(v);
			return;
		}
	abort();
}

/* "N MS TEXT": TEXT comes N times, each time after MS. */
static void
drip(const char *a)
{
	char text[1000];
	int n, ms;

	if (sscanf(a, "%d %d %999[^\n]", &n, &ms, text) != 3)
		abort();
	while (n-- > 0 && !P.closed) {
		pass_time(ms, false);
		if (P.closed)
			return;
		buf_add(&P.in, text, strlen(text));
		run();
	}
}

static void
directive(const char *d)
{
	const char *a;

	if (word(d, "auth gone") != NULL) {
		P.auth_hangs = false;
		buf_clear(&P.question);
		session_auth_gone(P.s);
		run();
	} else if (word(d, "auth hangs") != NULL)
		P.auth_hangs = true;
	else if (word(d, "auth") != NULL)
		P.auth_down = true;
	else if (word(d, "from require") != NULL)
		P.from_header = POLICY_FROM_REQUIRE;
	else if (word(d, "from sender") != NULL)
		P.from_header = POLICY_FROM_SENDER;
	else if (word(d, "from off") != NULL)
		P.from_header = POLICY_FROM_OFF;
	else if (word(d, "queue dead") != NULL) {
		P.queue = QUEUE_DEAD;
		session_queue_gone(P.s);
		P.queue = QUEUE_DOWN;
	} else if (word(d, "queue down") != NULL)
		P.queue = QUEUE_DOWN;
	else if (word(d, "queue full") != NULL)
		P.queue = QUEUE_FULL;
	else if (word(d, "queue limit") != NULL)
		P.queue = QUEUE_LIMIT;
	else if ((a = word(d, "queue most")) != NULL)
		P.most = (uint64_t)atoi(a);
	else if (word(d, "queue up") != NULL)
		P.queue = QUEUE_OK;
	else if ((a = word(d, "cert")) != NULL)
		snprintf(P.cert, sizeof(P.cert), "%s", a);
	else if ((a = word(d, "refuse")) != NULL)
		set_refusal(a);
	else if ((a = word(d, "errors")) != NULL)
		P.conf.max_errors = (uint32_t)atoi(a);
	else if ((a = word(d, "size")) != NULL)
		P.conf.max_message_size = (uint64_t)atoi(a);
	else if ((a = word(d, "rcpts")) != NULL)
		P.conf.max_recipients = (uint32_t)atoi(a);
	else if (word(d, "no auth") != NULL)
		P.no_auth = true;
	else if (word(d, "no pipelining") != NULL)
		P.facts.no_pipelining = 1;
	else if (word(d, "timeout") != NULL)
		pass_time(200 * 1000, true);
	else if ((a = word(d, "wait")) != NULL)
		pass_time(atoi(a), false);
	else if ((a = word(d, "set")) != NULL)
		set_time(a);
	else if ((a = word(d, "messages")) != NULL)
		P.conf.session_messages = (uint32_t)atoi(a);
	else if (word(d, "stuck") != NULL)
		P.stuck = true;
	else if (word(d, "drained") != NULL) {
		P.stuck = false;
		run();
	} else if (word(d, "no space") != NULL)
		P.no_space = true;
	else if (word(d, "evict") != NULL)
		session_evict(P.s);
	else if ((a = word(d, "drip")) != NULL)
		drip(a);
	else if (word(d, "open") != NULL) {
		if (P.closed && P.why[0] == '\0')
			snprintf(P.why, sizeof(P.why), "the server hung up");
	} else if (word(d, "known") != NULL) {
		if (!session_is_known(P.s) && P.why[0] == '\0')
			snprintf(P.why, sizeof(P.why), "still a stranger");
	} else if ((a = word(d, "stranger")) != NULL) {
		if ((session_is_known(P.s) ||
			session_progress(P.s) != (unsigned)atoi(a)) &&
		    P.why[0] == '\0')
			snprintf(P.why, sizeof(P.why), "progress is %u",
			    session_progress(P.s));
	}
	else if (word(d, "long lines") != NULL)
		P.conf.reject_long_lines = true;
	else if ((a = word(d, "hold")) != NULL)
		P.conf.max_hold = atoll(a);
	else if ((a = word(d, "by")) != NULL)
		P.conf.deliver_by_min = atoll(a);
	else if ((a = word(d, "priority")) != NULL)
		P.max_priority = (uint8_t)atoi(a);
	else if ((a = word(d, "help")) != NULL)
		snprintf(P.help, sizeof(P.help), "%s", a);
	else if ((a = word(d, "see")) != NULL)
		snprintf(P.see, sizeof(P.see), "See %s", a);
	else if (word(d, "trace") != NULL)
		P.conf.trace_client = true;
	else if (word(d, "normalize") != NULL)
		P.conf.normalize_newlines = true;
	else if (word(d, "drain") != NULL)
		session_drain(P.s, true);
	else if (word(d, "kill") != NULL) {
		union msg m = { .text = { "revoked" } };

		from_auth(M_SESSION_KILL, &m);
	} else if (word(d, "closed") != NULL) {
		if (!P.closed && P.why[0] == '\0')
			snprintf(P.why, sizeof(P.why), "the server did not "
			    "hang up");
	} else if (word(d, "whole") == NULL)
		snprintf(P.why, sizeof(P.why), "unknown directive %.100s",
		    d);
}

static void
begin(const char *first)
{
	bool implicit = first != NULL && strcmp(first, "implicit") == 0;
	bool tls = first != NULL && strcmp(first, "tls") == 0;

	P.s = session_new(&P.conf, &ops, NULL, &P.client,
	    (uint64_t)1 << SID_COUNTER_BITS | 1, implicit);
	session_start(P.s);
	if (implicit)
		tls_up();
	if (tls) {
		buf_add(&P.in, "EHLO x\r\nSTARTTLS\r\n", 18);
		run();
		buf_clear(&P.out);
	}
	run();
}

static void
clear(void)
{
	session_free(&P.s);
	buf_clear(&P.out);
	buf_clear(&P.in);
	buf_clear(&P.body);
	buf_clear(&P.question);
	buf_clear(&P.asked);
	memset(&P, 0, sizeof(P));
}

static void
prepare(size_t piece)
{
	clear();
	queue_asked = M_TYPE_COUNT;
	P.piece = piece;
	P.conf = (struct session_conf){ .hostname = "mail.example.org",
		.max_message_size = 26214400,
		.max_recipients = 100,
		.max_errors = 20,
		.handshake_timeout = 1000,
		.command_timeout = 1000,
		.login_timeout = 60000,
		.data_timeout = 1000,
		.session_time = 3600000,
		.max_hold = 86400000,
		.help = P.help,
		.help_text = P.help,
		.see_url = P.see };
	P.now = 1;
	P.facts = (struct m_session_facts){ .verify = "NO",
		.verify_reason = "",
		.cert_fp = "",
		.cert_user = "",
		.refuse_esc = P.esc,
		.refuse_text = P.text };
	snprintf(P.client.addr, sizeof(P.client.addr), "192.0.2.7");
}

static void
fill(struct buf *seg, int lines)
{
	char line[101];

	memset(line, 'x', sizeof(line));
	memcpy(line + 98, "\r\n", 3);
	while (lines-- > 0)
		buf_add(seg, line, 100);
}

static void
long_line(struct buf *seg, int len)
{
	while (len-- > 0)
		buf_add(seg, "x", 1);
	buf_add(seg, "\r\n", 2);
}

/* One line of the script; seg collects what the client says. */
static void
play_line(char *line, struct buf *seg, bool *begun)
{
	if (line[0] == '#' || line[0] == '\0')
		return;
	if (line[0] == '!' && !*begun &&
	    (strcmp(line, "! tls") == 0 || strcmp(line, "! implicit") == 0)) {
		begin(line + 2);
		*begun = true;
		return;
	}
	if (!*begun && line[0] != '!') {
		begin(NULL);
		*begun = true;
	}
	if (strncmp(line, "C: ", 3) == 0) {
		unescape(seg, line + 3);
		return;
	}
	if (strncmp(line, "! fill ", 7) == 0) {
		fill(seg, atoi(line + 7));
		return;
	}
	if (strncmp(line, "! line ", 7) == 0) {
		long_line(seg, atoi(line + 7));
		return;
	}
	send_segment(seg);
	buf_clear(seg);
	if (strncmp(line, "S: ", 3) == 0)
		expect(&P.out, line + 3, "reply");
	else if (strncmp(line, "S+ ", 3) == 0)
		expect_last(&P.out, line + 3);
	else if (strncmp(line, "A: ", 3) == 0)
		expect(&P.asked, line + 3, "question");
	else if (strncmp(line, "M: ", 3) == 0 || strcmp(line, "M:") == 0)
		expect(&P.body, line[2] == ' ' ? line + 3 : "", "line");
	else if (line[0] == '!')
		directive(line + 2);
	else
		snprintf(P.why, sizeof(P.why), "unknown line");
}

static bool
play(const char *path, size_t piece, bool *whole)
{
	char line[4096], left[256];
	struct buf seg = { 0 };
	FILE *fp = fopen(path, "re");
	bool begun = false;
	int at = 0;

	if (fp == NULL)
		return false;
	prepare(piece);
	while (fgets(line, sizeof(line), fp) != NULL && P.why[0] == '\0') {
		at++;
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "! whole") == 0)
			*whole = true;
		play_line(line, &seg, &begun);
	}
	fclose(fp);
	if (P.why[0] == '\0' && take_line(&P.out, left, sizeof(left)))
		snprintf(P.why, sizeof(P.why), "unexpected reply \"%s\"", left);
	if (P.why[0] == '\0' && seg.len > 0)
		snprintf(P.why, sizeof(P.why), "the script ends with C lines");
	buf_clear(&seg);
	if (P.why[0] != '\0')
		printf("# %s:%d (pieces of %zu): %s\n", path, at, piece, P.why);
	return P.why[0] == '\0';
}

int
main(int argc, char **argv)
{
	static const size_t pieces[] = { 0, 1, 7 };
	bool ok, whole;
	int i, bad = 0;
	size_t k;

	printf("1..%d\n", argc - 1);
	for (i = 1; i < argc; i++) {
		whole = false;
		ok = true;
		for (k = 0; k < 3 && ok && (k == 0 || !whole); k++)
			ok = play(argv[i], pieces[k], &whole);
		printf("%sok %d - %s\n", ok ? "" : "not ", i, argv[i]);
		bad |= !ok;
	}
	clear();
	return bad || argc < 2;
}
