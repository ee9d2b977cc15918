/*
 * What auth can't judge itself and must not wait for: passwords of users
 * whose password_backend is PAM or saslauthd, and tokens for a command.  The
 * role pam is asked, and the login goes on when its answer comes.
 *
 * Names that are nobody's are not asked about: a stranger could lock out
 * accounts of the system that have no business with mail.  Their refusal
 * takes as long as any (auth/pace.h), and where users hear that there is
 * trouble, so do they.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "authd.h"
#include "log.h"

uint32_t
authd_ticket(void)
{
	if (++A.ticket == 0) /* which means none */
		A.ticket = 1;
	return A.ticket;
}

enum sasl_pw
authd_ask_password(struct authd_session *s, enum store_backend backend,
    const char *user, const char *password, size_t len)
{
	const struct m_pam_check m = {
		.ticket = authd_ticket(),
		.how = backend == STORE_BACKEND_PAM ? PAM_BY_PAM
						    : PAM_BY_SASLAUTHD,
		.user = user,
		.password = { password, len },
		.client_addr = s->facts.client_addr,
	};

	if (A.pam == NULL) {
		log_warn("pam", "user=%s error=%s", user,
		    "password_backend asks for a role that does not run; are "
		    "pam_service and saslauthd_socket set?");
		return SASL_PW_TEMP;
	}
	if (ipc_send(A.pam, M_PAM_CHECK, s->sid, &m) == -1)
		return SASL_PW_WRONG; /* longer than a password can be */
	s->asked.ticket = m.ticket;
	s->asked.backend = backend;
	str_set(&s->asked.user, user);
	return SASL_PW_LATER;
}

enum sasl_pw
authd_ask_token(struct authd_session *s, const char *token, size_t len)
{
	const struct m_token_check m = { .ticket = authd_ticket(),
		.token = { token, len } };

	if (A.pam == NULL || ipc_send(A.pam, M_TOKEN_CHECK, s->sid, &m) == -1)
		return SASL_PW_TEMP;
	s->asked.ticket = m.ticket;
	s->asked.token = true;
	return SASL_PW_LATER;
}

enum sasl_pw
authd_pretend(enum store_backend backend)
{
	return A.pam == NULL || A.judge_ill[backend] ? SASL_PW_TEMP
						     : SASL_PW_WRONG;
}

/* ---- answers ---- */

static void
log_answer(const struct authd_session *s, const struct m_pam_result *m)
{
	static const char *const words[] = { "ok", "bad", "temp" };

	log_event(m->verdict == PAM_TEMP ? LOG_WARNING : LOG_INFO, s->sid, 0,
	    "pam", "result=%s user=%s ms=%lld detail=%s", words[m->verdict],
	    s->asked.token              ? m->user
		: s->asked.user != NULL ? s->asked.user
					: NULL,
	    (long long)(authd_now_ms() - s->began_ms),
	    m->detail[0] != '\0' ? m->detail : NULL);
}

/* Counts if the password is wrong. */
static void
note_pace(struct authd_session *s, enum store_backend backend)
{
	s->judge = backend == STORE_BACKEND_PAM ? PACE_PAM : PACE_SASLAUTHD;
	s->took_ms = authd_now_ms() - s->began_ms;
	if (s->took_ms < 0)
		s->took_ms = 0;
}

static void
on_result(struct ipc *p, const struct ipc_in *in)
{
	const struct m_pam_result *m = &in->m->pam_result;
	struct authd_session *s = authd_find(in->sid);

	(void)p;
	if (s == NULL || s->asked.ticket == 0 || s->asked.ticket != m->ticket)
		return; /* the client has left, or gave up this login */
	log_answer(s, m);
	sasl_conv_note(s->conv, m->detail);
	A.judge_ill[s->asked.backend] = m->verdict == PAM_TEMP;
	if (!s->asked.token)
		note_pace(s, s->asked.backend);
	authd_resume(s,
	    m->verdict == PAM_RIGHT       ? SASL_PW_OK
		: m->verdict == PAM_WRONG ? SASL_PW_WRONG
					  : SASL_PW_TEMP,
	    m->user);
}

static const struct ipc_rule rules[] = {
	{ M_PAM_RESULT, on_result },
	{ 0, NULL },
};

/* Nobody will answer what was asked. */
static void
give_up(struct authd_session *s, void *arg)
{
	(void)arg;
	if (s->asked.ticket != 0)
		authd_resume(s, SASL_PW_TEMP, "");
}

static void
on_gone(struct ipc *p, const char *why)
{
	if (p != A.pam)
		return; /* its successor came first */
	log_warn("peer", "role=pam error=%s", why);
	A.pam = NULL;
	authd_each(give_up, NULL);
}

void
authd_set_pam(struct role_setup *setup, int fd)
{
	struct ipc *old = A.pam;

	if (old != NULL) {
		on_gone(old, "replaced");
		ipc_free(&old);
	}
	A.pam = ipc_new(setup->base, fd, rules, on_gone, NULL);
}
