/*
 * An AUTH command in auth: the exchange with the SASL library, held where
 * somebody else has to be asked, and its verdict, which takes the same time
 * whatever was wrong.
 */
#include <sys/random.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authd.h"
#include "log.h"

enum { JITTER = 5 /* this part of a delay, at most, is added at random */ };

static enum smtp_reply
weak_reply(const struct authd_session *s, uint32_t mech)
{
	if (mech == SASL_MECH_EXTERNAL)
		return R_AUTH_NEEDS_PASSWORD;
	return s->conv != NULL && sasl_conv_needs_cert(s->conv)
	    ? R_AUTH_NEEDS_CERT
	    : R_AUTH_TOO_WEAK;
}

static enum smtp_reply
auth_reply(const struct authd_session *s, enum sasl_rc rc, uint32_t mech)
{
	switch (rc) {
	case SASL_RC_OK:
		return R_AUTH_OK;
	case SASL_RC_BAD:
		return mech == SASL_MECH_EXTERNAL ? R_AUTH_CERT_BAD
						  : R_AUTH_BAD;
	case SASL_RC_MALFORMED:
		return R_AUTH_MALFORMED;
	case SASL_RC_CANCELLED:
		return R_AUTH_CANCELLED;
	case SASL_RC_NOMECH:
		return R_AUTH_MECHANISM;
	case SASL_RC_WEAK:
		return weak_reply(s, mech);
	case SASL_RC_TRANSITION:
		return R_AUTH_TRANSITION;
	case SASL_RC_ENCRYPT:
		return R_AUTH_NEEDS_TLS;
	case SASL_RC_LOCKED:
		return R_AUTH_LOCKED;
	default:
		return R_AUTH_TEMP;
	}
}

static void
send_result(const struct authd_session *s, enum smtp_reply reply, uint32_t mech)
{
	const struct m_auth_result m = { .reply = (uint16_t)reply,
		.user = reply == R_AUTH_OK ? s->user : "",
		.mech = sasl_mech_name(mech) };

	ipc_send(s->front->ipc, M_AUTH_RESULT, s->sid, &m);
}

/* The one line about a login, also for fail2ban (submitd(8)). */
static void
log_auth(const struct authd_session *s, enum sasl_rc rc, const char *mech)
{
	const char *detail = "", *user = "";
	long device = 0;

	if (s->conv != NULL) {
		detail = sasl_conv_detail(s->conv);
		user = rc == SASL_RC_OK ? sasl_conv_user(s->conv)
					: sasl_conv_claimed(s->conv);
		device = (long)sasl_conv_device(s->conv);
	}
	log_event(LOG_INFO, s->sid, 0, "auth",
	    "result=%s mech=%s user=%s addr=%s verify=%s device=%ld "
	    "reason=%s",
	    sasl_rc_word(rc), mech, user[0] != '\0' ? user : NULL,
	    s->facts.client_addr, cert_verify_word(s->facts.verify), device,
	    detail[0] != '\0' ? detail : NULL);
	authd_remember_login(s, rc, auth_reply(s, rc, sasl_mech_bit(mech)),
	    mech, user, device, detail);
}

static void
forget_question(struct authd_session *s)
{
	free(s->asked.user);
	memset(&s->asked, 0, sizeof(s->asked));
}

static void
end_conv(struct authd_session *s)
{
	sasl_conv_free(&s->conv);
	authd_rehash_clear(s);
	s->refusal_waits = false;
	forget_question(s);
	s->hold = (struct authd_hold){ 0 };
	s->guarded = false;
	s->judge = PACE_NONE;
	s->took_ms = 0;
	if (s->timer != NULL)
		event_free(s->timer);
	s->timer = NULL;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct authd_session *s = arg;
	int64_t left = s->due_ms - authd_now_ms();

	(void)fd, (void)what;
	/* the loop's clock is coarse, and some milliseconds behind */
	if (left > 0)
		authd_arm(s, left);
	else if (s->refusal_waits) {
		end_conv(s);
		send_result(s, s->refusal, s->refusal_mech);
	} else if (s->hold.stage != AUTHD_HOLD_NONE) {
		authd_guard_timer(s);
	} else if (s->asked.ticket != 0) {
		authd_resume(s, SASL_PW_TEMP, "");
	} else if (s->conv != NULL) {
		/* the next line of the client finds none: 454 */
		log_auth(
		    s, SASL_RC_TEMP, sasl_mech_name(sasl_conv_mech(s->conv)));
		end_conv(s);
	}
}

void
authd_arm(struct authd_session *s, int64_t ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	/* libevent counts from the begin of the loop's round: the work since
	 * then would shorten the time, and so tell how much it was */
	event_base_update_cache_time(A.setup->base);
	s->due_ms = authd_now_ms() + ms;
	if (s->timer == NULL)
		s->timer = evtimer_new(A.setup->base, on_timer, s);
	if (s->timer == NULL || event_add(s->timer, &tv) == -1)
		log_fatal(1, "error=%s", "cannot set a timer");
}

static int64_t
jitter(int64_t ms)
{
	uint32_t n = 0;

	if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
		log_fatal(1, "error=%s", "no random numbers");
	return n % (ms / JITTER + 1);
}

/*
 * All failures take the same time, whatever the check of a password cost, who
 * made it, or that there was none; the jitter hides the rest, also where this
 * one took longer than all before.
 */
static void
refuse_later(struct authd_session *s, enum smtp_reply reply, uint32_t mech,
    int64_t began_ms)
{
	int64_t delay = A.setup->conf.auth_fail_delay, left;

	if (delay < A.pace_ms)
		delay = A.pace_ms;
	/* one more: both are cut to whole milliseconds */
	left = began_ms + delay + 1 - authd_now_ms();
	left = (left > 0 ? left : 0) + jitter(delay);
	if (left == 0) {
		send_result(s, reply, mech);
		return;
	}
	s->refusal_waits = true;
	s->refusal = reply;
	s->refusal_mech = mech;
	authd_arm(s, left);
}

static void
take_login(struct authd_session *s)
{
	snprintf(s->user, sizeof(s->user), "%s", sasl_conv_user(s->conv));
	s->device = sasl_conv_device(s->conv);
	s->mech = sasl_conv_mech(s->conv);
	/* there is no second login that could be bound */
	buf_wipe(&s->facts.exporter);
	buf_wipe(&s->facts.unique);
	buf_wipe(&s->facts.endpoint);
}

void
authd_verdict(struct authd_session *s, enum sasl_rc rc, const char *mech_name,
    int64_t began_ms)
{
	uint32_t mech = sasl_mech_bit(mech_name);
	enum smtp_reply reply;

	if (s->conv != NULL)
		mech = sasl_conv_mech(s->conv);
	reply = auth_reply(s, rc, mech);
	log_auth(s, rc, mech != 0 ? sasl_mech_name(mech) : mech_name);
	if (rc == SASL_RC_OK) {
		take_login(s);
		authd_rehash_send(s);
	}
	end_conv(s);
	if (rc == SASL_RC_BAD || rc == SASL_RC_LOCKED ||
	    rc == SASL_RC_TRANSITION)
		refuse_later(s, reply, mech, began_ms);
	else
		send_result(s, reply, mech);
}

void
authd_challenge(struct authd_session *s)
{
	struct m_auth_challenge m;

	m.data.p = sasl_conv_challenge(s->conv, &m.data.len);
	ipc_send(s->front->ipc, M_AUTH_CHALLENGE, s->sid, &m);
	authd_arm(s, AUTHD_CONV_MS);
}

void
authd_go_on(struct authd_session *s, enum sasl_rc rc, const char *mech,
    int64_t began_ms)
{
	s->began_ms = began_ms;
	if (rc == SASL_RC_WAIT) {
		if (s->hold.stage != AUTHD_HOLD_NONE)
			authd_guard_wait(s);
		else
			authd_arm(s, AUTHD_CONV_MS);
	} else if (rc == SASL_RC_CONTINUE) {
		if (!authd_guard_challenge(s))
			authd_challenge(s);
	} else if (!authd_guard_verdict(s, rc))
		authd_verdict(s, rc, mech, began_ms);
}

/* Much may have happened to the user while somebody thought. */
void
authd_resume(struct authd_session *s, enum sasl_pw pw, const char *user)
{
	const char *mech = sasl_mech_name(sasl_conv_mech(s->conv));
	bool token = s->asked.token;
	enum sasl_rc rc;

	if (pw == SASL_PW_OK && !authd_store_ready())
		pw = SASL_PW_TEMP;
	if (pw == SASL_PW_OK && !token &&
	    !authd_user_stands(str_of(s->asked.user)))
		pw = SASL_PW_WRONG;
	forget_question(s);
	if (token)
		rc = sasl_conv_resume_token(s->conv, pw, user);
	else
		rc = sasl_conv_resume(s->conv, pw, 0);
	authd_go_on(s, rc, mech, s->began_ms);
}

static void
begin_auth(struct authd_session *s, const struct m_auth_start *m)
{
	const struct authd_facts *f = &s->facts;
	const struct sasl_binding bindings[] = {
		{ "tls-exporter", buf_head(&f->exporter), f->exporter.len },
		{ "tls-unique", buf_head(&f->unique), f->unique.len },
		{ "tls-server-end-point", buf_head(&f->endpoint),
		    f->endpoint.len },
	};
	const struct sasl_params params = {
		.mech = m->mech,
		.usable = s->usable,
		.tls_bits = (unsigned)f->tls_bits,
		.cert_user = f->owner != NULL ? f->owner->user : NULL,
		.binding = bindings,
		.nbinding = sizeof(bindings) / sizeof(bindings[0]),
		.arg = s,
	};
	static const unsigned char empty[1];
	const unsigned char *data = NULL;
	int64_t began_ms = authd_now_ms();

	if (m->has_initial)
		data = m->data.len > 0 ? m->data.p : empty;
	authd_go_on(s, sasl_conv_start(&s->conv, &params, data, m->data.len),
	    m->mech, began_ms);
}

void
authd_on_auth_start(struct authd_session *s, const struct m_auth_start *m)
{
	end_conv(s);
	str_set(&s->helo, m->helo);
	if (s->user[0] != '\0')
		send_result(s, R_AUTH_DONE, s->mech);
	else if (!authd_store_ready() || !s->judged)
		authd_verdict(s, SASL_RC_TEMP, m->mech, 0);
	else
		begin_auth(s, m);
}

void
authd_on_auth_step(struct authd_session *s, const struct m_auth_step *m)
{
	const struct blob *data = &m->data;
	static const unsigned char empty[1];
	int64_t began_ms = authd_now_ms();
	enum sasl_rc rc = SASL_RC_TEMP;
	const char *mech;

	if (s->hold.stage != AUTHD_HOLD_NONE)
		end_conv(s);   /* no client was asked for a line */
	if (s->conv == NULL) { /* it took too long */
		send_result(s, R_AUTH_TEMP, 0);
		return;
	}
	event_del(s->timer);
	mech = sasl_mech_name(sasl_conv_mech(s->conv));
	if (authd_store_ready())
		rc = sasl_conv_step(
		    s->conv, data->len > 0 ? data->p : empty, data->len);
	authd_go_on(s, rc, mech, began_ms);
}

void
authd_on_auth_cancel(struct authd_session *s)
{
	if (s->conv == NULL)
		return;
	log_auth(s, sasl_conv_cancel(s->conv),
	    sasl_mech_name(sasl_conv_mech(s->conv)));
	end_conv(s);
}
