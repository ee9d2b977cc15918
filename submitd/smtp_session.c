/* The session: its life, its input, its deadlines, its answers from afar. */
#include "smtp_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp_int.h"

enum {
	ANSWER_TIMEOUT_MS = 100 * 1000, /* RFC 6409 5.3: below 2 minutes */
	LINE_TIMEOUT_MS = 30 * 1000,    /* from the first byte of a command */
	DATA_GRACE_MS = 60 * 1000,      /* of DATA before its rate counts */
	ERRORS_FREE = 4,                /* 1/4 of max_errors comes undelayed */
	DELAY_STEPS = 3,                /* the delay doubles so often */
};

struct session *
session_new(const struct session_conf *conf, const struct session_ops *ops,
    void *arg, const struct session_client *client, uint64_t sid, bool implicit)
{
	struct session *s = xcalloc(1, sizeof(*s));

	s->conf = conf;
	s->ops = ops;
	s->arg = arg;
	s->client = client;
	s->sid = sid;
	s->implicit = implicit;
	s->state = ST_CONNECT;
	s->began_ms = ops->clock(arg);
	return s;
}

void
session_free(struct session **sp)
{
	struct session *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	smtp_txn_end(s);
	free(s->helo);
	free(s->refuse_esc);
	free(s->refuse_text);
	free(s->user);
	free(s->how);
	free(s);
}

static int64_t
state_timeout(const struct session *s, enum state st)
{
	switch (st) {
	case ST_CONNECT:
	case ST_TLS:
		return s->conf->handshake_timeout;
	case ST_COMMAND:
	case ST_AUTH_LINE:
		/* a stranger gets less patience than a client under TLS */
		return s->tls ? s->conf->command_timeout
			      : s->conf->handshake_timeout;
	default:
		return ANSWER_TIMEOUT_MS;
	}
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Most deadlines move on before they come: the timer then stays where it is,
 * and session_timeout() sets it anew. */
static void
set_due(struct session *s, int64_t now, int64_t due)
{
	s->due_ms = due;
	if (s->armed_ms != 0 && s->armed_ms <= due)
		return;
	s->armed_ms = due;
	s->ops->deadline(s->arg, due > now ? due - now : 1);
}

/* What bounds the session as a whole comes first. */
static int64_t
bounded(const struct session *s, int64_t due)
{
	if (!session_is_known(s))
		return earlier(due, s->began_ms + s->conf->login_timeout);
	if (s->state == ST_COMMAND && s->txn.number == 0)
		return earlier(due, s->began_ms + s->conf->session_time);
	return due;
}

static bool
takes_message(enum state st)
{
	return st == ST_DATA || st == ST_CHUNK;
}

/*
 * A message has a credit of time that its bytes earn, at the lowest rate: what
 * comes faster saves up to data_timeout, for a pause. It stands still while
 * queue or auth is waited for, and between the chunks of BDAT.
 */
static void
keep_credit(struct session *s, enum state next, int64_t now)
{
	if (takes_message(s->state))
		s->credit_us -= now * 1000;
	if (!takes_message(next))
		return;
	if (!s->has_credit) {
		s->has_credit = true;
		s->heard_ms = 0;
		s->credit_us =
		    earlier(s->conf->data_timeout, DATA_GRACE_MS) * 1000;
	}
	s->credit_us += now * 1000;
}

void
session_earn_credit(struct session *s, size_t n)
{
	int64_t now = s->ops->clock(s->arg);
	int64_t most = (now + s->conf->data_timeout) * 1000;

	s->heard_ms = now;
	s->credit_us += s->conf->min_data_rate > 0
	    ? (int64_t)n * 1000000 / s->conf->min_data_rate
	    : most;
	s->credit_us = earlier(s->credit_us, most);
	set_due(s, now, bounded(s, s->credit_us / 1000));
}

void
session_enter(struct session *s, enum state next)
{
	int64_t now;

	if (s->state == ST_CLOSED)
		return;
	now = s->ops->clock(s->arg);
	keep_credit(s, next, now);
	s->partial = false;
	s->state = next;
	if (next == ST_CLOSED)
		return; /* the owner has the rest */
	if (next == ST_COMMAND && s->txn.number == 0) {
		if (s->draining) {
			session_close(s, R_CLOSE_SHUTDOWN);
			return;
		}
		if (session_is_known(s) &&
		    now >= s->began_ms + s->conf->session_time) {
			session_close(s, R_CLOSE_SESSION_LIMIT);
			return;
		}
	}
	if (next == ST_COMMAND && s->tarpit_ms > 0) {
		s->state = ST_TARPIT;
		set_due(s, now, now + s->tarpit_ms);
		s->tarpit_ms = 0;
	} else if (takes_message(next))
		set_due(s, now, bounded(s, s->credit_us / 1000));
	else
		set_due(s, now, bounded(s, now + state_timeout(s, next)));
}

bool
session_is_known(const struct session *s)
{
	return *str_of(s->user) != '\0' || s->cert_known;
}

unsigned
session_progress(const struct session *s)
{
	return s->progress;
}

/* ---- replies ---- */

void
session_raw(struct session *s, const char *p, size_t n)
{
	if (s->state != ST_CLOSED)
		s->ops->send(s->arg, p, n);
}

void
session_reply(
    struct session *s, enum smtp_reply id, const char *a, const char *b)
{
	char out[SMTP_REPLY_MAX];
	size_t n = smtp_reply_format(out, sizeof(out), id, a, b);

	session_raw(
	    s, out, smtp_reply_help(out, sizeof(out), n, s->conf->help));
}

void
session_close(struct session *s, enum smtp_reply id)
{
	if (s->state == ST_CLOSED)
		return;
	session_reply(s, id, NULL, NULL);
	session_enter(s, ST_CLOSED);
	s->ops->hangup(s->arg);
}

/* 421 is the end (RFC 5321 section 3.8). */
void
session_custom(struct session *s, int code, const char *esc, const char *text)
{
	char out[SMTP_REPLY_MAX];
	size_t n = smtp_reply_custom(out, sizeof(out), code, esc, text);

	session_raw(
	    s, out, smtp_reply_help(out, sizeof(out), n, s->conf->help));
	if (code != 421 || s->state == ST_CLOSED)
		return;
	session_enter(s, ST_CLOSED);
	s->ops->hangup(s->arg);
}

void
session_refuse(struct session *s)
{
	session_custom(s, s->refuse_code, str_of(s->refuse_esc),
	    str_of(s->refuse_text));
	session_count_error(s);
}

/* The reply is out already; the next command waits. */
void
session_count_error(struct session *s)
{
	uint32_t free = s->conf->max_errors / ERRORS_FREE, over;

	if (++s->errors > s->conf->max_errors) {
		session_close(s, R_CLOSE_ERRORS);
		return;
	}
	if (s->errors <= free || s->conf->error_delay == 0)
		return;
	over = s->errors - free - 1;
	s->tarpit_ms = s->conf->error_delay
	    << (over < DELAY_STEPS ? over : DELAY_STEPS);
	if (s->state == ST_COMMAND)
		session_enter(s, ST_COMMAND);
}

void
session_error(struct session *s, enum smtp_reply id, const char *a)
{
	session_reply(s, id, a, NULL);
	session_count_error(s);
}

/* ---- beginning ---- */

static void
greet(struct session *s)
{
	session_reply(s, R_GREETING, s->conf->hostname, NULL);
	session_enter(s, ST_COMMAND);
}

void
session_start(struct session *s)
{
	if (s->implicit)
		session_enter(s, ST_TLS);
	else
		greet(s);
}

void
session_tls_up(struct session *s, const struct session_tls *t)
{
	if (s->state != ST_TLS)
		return;
	session_reach(s, PROGRESS_TLS);
	s->tls = true;
	s->tls_info = *t;
	if (!s->ops->announce(s->arg)) {
		session_close(s, s->implicit ? R_GREET_DOWN : R_CLOSE_INTERNAL);
		return;
	}
	if (s->implicit)
		greet(s);
	else
		session_enter(s, ST_COMMAND);
}

/* ---- input ---- */

bool
session_wants_input(const struct session *s)
{
	return s->state == ST_COMMAND || s->state == ST_AUTH_LINE ||
	    takes_message(s->state);
}

bool
session_awaits_answer(const struct session *s)
{
	return s->state == ST_FACTS || s->state == ST_AUTH_WAIT ||
	    s->state == ST_VERDICT || s->state == ST_DATA_WAIT ||
	    s->state == ST_HEADERS_WAIT || s->state == ST_FILE_WAIT || s->state == ST_SUBMIT_WAIT;
}

static void
line_too_long(struct session *s)
{
	if (s->state == ST_AUTH_LINE)
		smtp_auth_too_long(s);
	else if (s->skipping_auth && s->tls)
		session_error(s, R_AUTH_TOO_LONG, NULL);
	else
		session_error(s, R_LINE_TOO_LONG, NULL);
}

/* Only CR LF ends a line; what else looks like an end is no command. */
static bool
is_clean(const char *p, size_t n)
{
	return memchr(p, '\0', n) == NULL && memchr(p, '\r', n) == NULL &&
	    memchr(p, '\n', n) == NULL;
}

static void
one_line(struct session *s, const char *p, size_t n, bool more)
{
	if (s->skipping) {
		s->skipping = false;
		line_too_long(s);
		return;
	}
	if (!is_clean(p, n - 2)) {
		if (s->state == ST_AUTH_LINE)
			smtp_auth_line(s, "", 1); /* no base64 */
		else
			session_error(s, R_LINE_BAD, NULL);
	} else if (s->state == ST_AUTH_LINE)
		smtp_auth_line(s, p, n - 2);
	else
		smtp_command(s, p, n - 2, more);
	if (s->state == ST_COMMAND)
		session_enter(s, ST_COMMAND); /* a new one, a new deadline */
}

/* p is the begin of the line, or of what is left of it. */
static void
skip(struct session *s, const char *p, size_t len)
{
	static const char auth[] = "AUTH ";
	size_t n = sizeof(auth) - 1;

	if (!s->skipping)
		s->skipping_auth = len >= n && strncasecmp(p, auth, n) == 0;
	s->skipping = true;
}

/*
 * Only CR LF ends a line.  What a bare LF seems to end is part of the line:
 * were it answered by itself, a second command could hide in an address.
 */
static const char *
line_end(const char *p, size_t len)
{
	const char *lf = p, *end = p + len;

	while ((lf = memchr(lf, '\n', (size_t)(end - lf))) != NULL) {
		if (lf > p && lf[-1] == '\r')
			return lf + 1;
		lf++;
	}
	return NULL;
}

static size_t
line_input(struct session *s, const char *p, size_t len)
{
	const char *end = line_end(p, len);
	size_t n;

	if (end == NULL && len <= AUTH_LINE_LIMIT + 2)
		return 0;
	if (end == NULL) { /* keep the last byte: it may be the CR */
		skip(s, p, len);
		return len - 1;
	}
	n = (size_t)(end - p);
	if (n > AUTH_LINE_LIMIT + 2)
		skip(s, p, n);
	one_line(s, p, n, n < len);
	return n;
}

/* The rest of a command must come soon, however it is dribbled. */
static void
command_begun(struct session *s)
{
	int64_t now = s->ops->clock(s->arg);
	int64_t most = earlier(LINE_TIMEOUT_MS, state_timeout(s, s->state));

	s->partial = true;
	set_due(s, now, bounded(s, now + most));
}

size_t
session_input(struct session *s, const void *in, size_t len)
{
	const char *p = in;
	size_t done = 0, n = 1;

	while (done < len && n > 0 && session_wants_input(s) &&
	    !s->ops->stuck(s->arg)) {
		if (s->state == ST_DATA) {
			n = smtp_data_input(s, p + done, len - done);
			if (s->state == ST_DATA)
				session_earn_credit(s, n);
		} else if (s->state == ST_CHUNK) {
			n = smtp_chunk_input(s, p + done, len - done);
		} else {
			n = line_input(s, p + done, len - done);
			if (n == 0 && !s->partial)
				command_begun(s);
		}
		done += n;
	}
	return s->state == ST_CLOSED ? len : done;
}

static void
too_late(struct session *s, int64_t now)
{
	bool login =
	    !session_is_known(s) && now >= s->began_ms + s->conf->login_timeout;

	switch (s->state) {
	case ST_CONNECT:
	case ST_TLS:
		session_enter(s, ST_CLOSED); /* no reply fits here */
		s->ops->hangup(s->arg);
		break;
	case ST_TARPIT:
		session_enter(s, ST_COMMAND);
		break;
	case ST_COMMAND:
		if (session_is_known(s) &&
		    now >= s->began_ms + s->conf->session_time) {
			session_close(s, R_CLOSE_SESSION_LIMIT);
			break;
		}
		/* fall through */
	case ST_AUTH_LINE:
		session_close(s,
		    s->tls && !login ? R_CLOSE_TIMEOUT : R_CLOSE_TLS_TIMEOUT);
		break;
	case ST_CHUNK:
		if (login) {
			session_close(s, R_CLOSE_TLS_TIMEOUT);
			break;
		}
		/* fall through */
	case ST_DATA:
		session_close(s,
		    s->heard_ms == 0 ||
			    now >= s->heard_ms + s->conf->data_timeout
			? R_CLOSE_TIMEOUT
			: R_CLOSE_SLOW);
		break;
	default: /* one of ours did not answer */
		session_close(
		    s, login ? R_CLOSE_TLS_TIMEOUT : R_CLOSE_INTERNAL);
	}
}

void
session_timeout(struct session *s)
{
	int64_t now = s->ops->clock(s->arg);

	if (s->state == ST_CLOSED)
		return;
	s->armed_ms = 0;
	if (now < s->due_ms)
		set_due(s, now, s->due_ms);
	else
		too_late(s, now);
}

void
session_evict(struct session *s)
{
	if (s->state == ST_CONNECT || s->state == ST_TLS) {
		session_enter(s, ST_CLOSED);
		s->ops->hangup(s->arg);
	} else
		session_close(s, R_CLOSE_OVERLOAD);
}

/* ---- answers ---- */

void
session_from_auth(struct session *s, enum msg_type type, const union msg *m)
{
	if (s->state == ST_CLOSED)
		return;
	if (type == M_SESSION_FACTS)
		smtp_facts(s, &m->session_facts);
	else if (type == M_SESSION_KILL)
		session_close(s, R_CLOSE_REVOKED);
	else if (type == M_AUTH_CHALLENGE && s->state == ST_AUTH_WAIT)
		smtp_auth_challenge(s, &m->auth_challenge);
	else if (type == M_AUTH_RESULT && s->state == ST_AUTH_WAIT)
		smtp_auth_result(s, &m->auth_result);
	else if (type == M_VERDICT && s->state == ST_VERDICT)
		smtp_verdict(s, &m->verdict);
	else if (type == M_VERDICT && s->state == ST_HEADERS_WAIT)
		smtp_headers_verdict(s, &m->verdict);
}

void
session_from_queue(struct session *s, enum msg_type type, const union msg *m)
{
	if (type == M_DATA_READY && s->state == ST_DATA_WAIT)
		smtp_data_ready(s, &m->data_ready);
	else if (type == M_BODY_FD && s->state == ST_FILE_WAIT)
		smtp_data_file(s, &m->txn);
	else if (type == M_SUBMITTED && s->state == ST_FILE_WAIT)
		smtp_data_no_file(s, &m->submitted);
	else if (type == M_SUBMITTED && s->state == ST_SUBMIT_WAIT)
		smtp_data_submitted(s, &m->submitted);
}

void
session_auth_gone(struct session *s)
{
	if (s->state == ST_COMMAND && s->txn.qid != 0) {
		s->draining = true; /* likewise, between two chunks */
		return;
	}
	switch (s->state) {
	case ST_DATA_WAIT:
	case ST_DATA:
	case ST_CHUNK:
	case ST_FILE_WAIT:
	case ST_SUBMIT_WAIT: /* queue has the envelope: let it come */
		s->draining = true;
		break;
	case ST_HEADERS_WAIT:
		s->draining = true;
		smtp_headers_auth_gone(s);
		break;
	case ST_CONNECT:
	case ST_TLS:
	case ST_CLOSED:
		break;
	default:
		if (s->tls)
			session_close(s, R_CLOSE_INTERNAL);
	}
}

void
session_queue_gone(struct session *s)
{
	if (s->txn.number == 0)
		return;
	s->txn.lost = true;
	smtp_data_queue_gone(s);
}

void
session_drain(struct session *s, bool now)
{
	s->draining = now;
	if (now && (s->state == ST_COMMAND || s->state == ST_TARPIT) &&
	    s->txn.number == 0)
		session_close(s, R_CLOSE_SHUTDOWN);
}

void
session_get_facts(const struct session *s, struct session_facts *f)
{
	f->user = str_of(s->user);
	f->how = str_of(s->how);
	f->helo = str_of(s->helo);
	f->messages = s->messages;
	f->errors = s->errors;
	f->tls = s->tls;
	f->closed = s->state == ST_CLOSED;
}
