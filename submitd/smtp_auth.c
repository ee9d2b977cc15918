/* AUTH (RFC 4954): lines and base64 here, the exchange itself in auth. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base64.h"
#include "smtp_int.h"

enum { MECH_MAX = 32 }; /* bytes of a mechanism's name, with its end */

static void
auth_failed(struct session *s, enum smtp_reply id)
{
	session_reply(s, id, NULL, NULL);
	session_enter(s, ST_COMMAND);
	session_count_error(s);
}

static void
cancel(struct session *s, enum smtp_reply id)
{
	s->ops->to_auth(s->arg, M_AUTH_CANCEL, NULL);
	auth_failed(s, id);
}

static bool
take_mech(const struct arg *a, size_t n, char mech[MECH_MAX])
{
	size_t i;

	if (n == 0 || n >= MECH_MAX)
		return false;
	for (i = 0; i < n; i++) {
		mech[i] = (char)toupper((unsigned char)a->p[i]);
		if (!isalnum((unsigned char)a->p[i]) && a->p[i] != '-' &&
		    a->p[i] != '_')
			return false;
	}
	mech[n] = '\0';
	return true;
}

/* Decodes and sends; *p is base64, or "=" for an empty initial response. */
static void
start(struct session *s, const char *mech, const char *p, size_t n,
    bool initial)
{
	unsigned char data[AUTH_LINE_LIMIT];
	struct m_auth_start m = {
		.mech = mech, .has_initial = initial, .helo = str_of(s->helo)
	};
	bool sent;

	if (initial && n == 1 && p[0] == '=')
		n = 0;
	if (base64_decode(p, n, data, sizeof(data), &m.data.len) == -1) {
		session_error(s, R_AUTH_BASE64, NULL);
		return;
	}
	m.data.p = data;
	sent = s->ops->to_auth(s->arg, M_AUTH_START, &m);
	explicit_bzero(data, sizeof(data));
	session_reach(s, PROGRESS_AUTH);
	if (sent)
		session_enter(s, ST_AUTH_WAIT);
	else
		session_reply(s, R_AUTH_TEMP, NULL, NULL);
}

void
smtp_auth(struct session *s, const struct arg *a)
{
	const char *blank = memchr(a->p, ' ', a->len);
	size_t n = blank != NULL ? (size_t)(blank - a->p) : a->len;
	size_t rest = a->len - n;
	const char *p = a->p + n;
	char mech[MECH_MAX];

	if (s->authenticated) {
		session_error(s, R_AUTH_DONE, NULL);
		return;
	}
	if (s->txn.number != 0) {
		session_error(s, R_AUTH_IN_MAIL, NULL);
		return;
	}
	if (!take_mech(a, n, mech)) {
		session_error(s, R_AUTH_MECHANISM, NULL);
		return;
	}
	/* "EXTERNAL " with nothing behind the blank means an empty response:
	 * some phones write it so. */
	while (rest > 0 && *p == ' ') {
		p++;
		rest--;
	}
	while (rest > 0 && p[rest - 1] == ' ')
		rest--;
	if (rest > AUTH_LINE_LIMIT)
		session_error(s, R_AUTH_TOO_LONG, NULL);
	else
		start(s, mech, p, rest, blank != NULL);
}

void
smtp_auth_line(struct session *s, const char *p, size_t n)
{
	unsigned char data[AUTH_LINE_LIMIT];
	struct m_auth_step m = { .data.p = data };
	bool sent;

	if (n == 1 && p[0] == '*') {
		cancel(s, R_AUTH_CANCELLED);
		return;
	}
	if (n > AUTH_LINE_LIMIT) {
		cancel(s, R_AUTH_TOO_LONG);
		return;
	}
	if (base64_decode(p, n, data, sizeof(data), &m.data.len) == -1) {
		cancel(s, R_AUTH_BASE64);
		return;
	}
	sent = s->ops->to_auth(s->arg, M_AUTH_STEP, &m);
	explicit_bzero(data, sizeof(data));
	if (sent)
		session_enter(s, ST_AUTH_WAIT);
	else
		auth_failed(s, R_AUTH_TEMP);
}

void
smtp_auth_too_long(struct session *s)
{
	cancel(s, R_AUTH_TOO_LONG);
}

void
smtp_auth_challenge(struct session *s, const struct m_auth_challenge *m)
{
	char text[BASE64_LEN(AUTH_LINE_LIMIT) + 1];
	char out[sizeof(text) + 16];

	if (base64_encode(m->data.p, m->data.len, text, sizeof(text)) == -1) {
		cancel(s, R_AUTH_TEMP);
		return;
	}
	session_raw(s, out, smtp_reply_challenge(out, sizeof(out), text));
	session_enter(s, ST_AUTH_LINE);
}

void
smtp_auth_result(struct session *s, const struct m_auth_result *m)
{
	if (m->reply != R_AUTH_OK) {
		auth_failed(s, (enum smtp_reply)m->reply);
		return;
	}
	s->authenticated = true;
	str_set(&s->user, m->user);
	str_set(&s->how, m->mech);
	session_reply(s, R_AUTH_OK, NULL, NULL);
	session_enter(s, ST_COMMAND);
}
