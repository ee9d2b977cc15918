/*
 * The guard against guessing, as far as auth has a part in it: queue counts
 * (queue_login.c), auth asks and holds a login until the answer.
 *
 *	before a password or a proof is looked at	M_THROTTLE_ASK
 *	before the client hears the verdict		M_AUTH_SEEN
 *
 * The first saves the work where a login is refused anyhow, and slows it down
 * where that is due; one that has to wait for others is answered twice, if its
 * turn comes soon. The second makes guesses side by side count one after the
 * other: a right one behind too many wrong ones is refused like them. Without
 * queue, or when its answer is late, logins go on without it.
 *
 * What a login rests on may change while it is held: then the password is
 * checked by what is there now, or, after the check, the login has to begin
 * again.
 */
#include <sys/random.h>

#include <stdio.h>
#include <string.h>

#include "authd.h"
#include "log.h"

enum {
	ANSWER_MS = 1000, /* queue is near: a first answer is at once there */
	ASKS_MAX = 20,    /* of one login, while others are under way */
	WARN_EVERY_MS = 60 * 1000
};

/* Mechanisms by which one can guess. */
#define GUESS_BITS                                                             \
	(SASL_MECH_PROOFS | (uint32_t)(SASL_MECH_PLAIN | SASL_MECH_LOGIN))

static void
hold(struct authd_session *s, enum authd_stage stage, uint32_t ticket)
{
	s->hold = (struct authd_hold){
		.stage = stage, .ticket = ticket, .version = A.version
	};
}

/* The number of the question; 0: it can't be asked. */
static uint32_t
send_ask(struct authd_session *s, const char *user)
{
	const struct m_throttle_ask m = { .ticket = authd_ticket(),
		.user = user,
		.client_addr = s->facts.client_addr };

	if (A.queue == NULL ||
	    ipc_send(A.queue, M_THROTTLE_ASK, s->sid, &m) == -1)
		return 0;
	return m.ticket;
}

/* Asks whether this name may try a password; false: go on. */
static bool
ask(struct authd_session *s, const char *user, enum authd_stage stage)
{
	uint32_t ticket;

	if (s->guarded || (ticket = send_ask(s, user)) == 0)
		return false;
	s->guarded = true; /* once in each AUTH command */
	hold(s, stage, ticket);
	return true;
}

/* Others are under way: asks once more. */
static bool
ask_again(struct authd_session *s)
{
	uint32_t ticket;

	if (!s->hold.again ||
	    (ticket = send_ask(s, sasl_conv_name(s->conv))) == 0)
		return false;
	s->hold.ticket = ticket;
	s->hold.delayed = s->hold.again = false;
	s->hold.asks++;
	authd_arm(s, ANSWER_MS);
	return true;
}

bool
authd_guard_password(struct authd_session *s, const char *user)
{
	return ask(s, user, AUTHD_HOLD_PASSWORD);
}

bool
authd_guard_challenge(struct authd_session *s)
{
	const char *user = sasl_conv_name(s->conv);

	if ((sasl_conv_mech(s->conv) & GUESS_BITS) == 0 || user[0] == '\0' ||
	    !ask(s, user, AUTHD_HOLD_CHALLENGE))
		return false;
	authd_arm(s, ANSWER_MS);
	return true;
}

void
authd_guard_wait(struct authd_session *s)
{
	authd_arm(s, ANSWER_MS);
}

/* A proof does not show its password: each is taken for another. */
static uint64_t
which_password(const struct authd_session *s)
{
	uint64_t n = 0;

	if (!sasl_conv_digest(s->conv, &n) &&
	    getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
		log_fatal(1, "error=%s", "no random numbers");
	return n;
}

bool
authd_guard_verdict(struct authd_session *s, enum sasl_rc rc)
{
	struct m_auth_seen m = { .client_addr = s->facts.client_addr,
		.client = str_of(s->helo),
		.result = SEEN_OTHER,
		.judge = PACE_NONE };

	if (s->conv == NULL || A.queue == NULL)
		return false;
	m.user = sasl_conv_name(s->conv);
	if (rc == SASL_RC_OK) {
		m.result = SEEN_RIGHT;
		m.device = sasl_conv_mech(s->conv) == SASL_MECH_EXTERNAL &&
			s->facts.owner != NULL
		    ? s->facts.owner->device
		    : sasl_conv_device(s->conv);
	} else if (rc == SASL_RC_BAD && sasl_conv_is_guess(s->conv)) {
		m.result = SEEN_WRONG;
		m.wrong = which_password(s);
		m.judge = (uint8_t)s->judge;
		m.took_ms = (uint32_t)s->took_ms;
	} else if (rc != SASL_RC_WEAK)
		return false;
	if ((sasl_conv_mech(s->conv) & GUESS_BITS) != 0)
		m.ticket = authd_ticket();
	if (ipc_send(A.queue, M_AUTH_SEEN, s->sid, &m) == -1 || m.ticket == 0)
		return false;
	hold(s, AUTHD_HOLD_VERDICT, m.ticket);
	s->hold.rc = rc;
	authd_arm(s, ANSWER_MS);
	return true;
}

void
authd_guard_used(struct authd_session *s)
{
	const struct m_auth_seen m = { .result = SEEN_RIGHT,
		.judge = PACE_NONE,
		.user = s->facts.owner->user,
		.device = s->facts.owner->device,
		.client_addr = s->facts.client_addr,
		.client = str_of(s->helo) };

	if (!s->used && A.queue != NULL)
		s->used = ipc_send(A.queue, M_AUTH_SEEN, s->sid, &m) == 0;
}

/* ---- going on ---- */

/* What the store has become meanwhile. */
enum meanwhile { SAME, CHANGED, ILL };

static enum meanwhile
look_at_store(const struct authd_hold *h)
{
	if (!authd_store_ready())
		return ILL;
	return A.version == h->version ? SAME : CHANGED;
}

static enum sasl_rc
check_password(struct authd_session *s, enum meanwhile store)
{
	if (store == ILL)
		return sasl_conv_resume(s->conv, SASL_PW_TEMP, 0);
	if (store == CHANGED)
		sasl_conv_refresh(s->conv);
	return sasl_conv_again(s->conv);
}

static bool
is_overtaken(const struct authd_session *s, enum meanwhile store)
{
	return store == ILL ||
	    (store == CHANGED && !sasl_conv_still_stands(s->conv));
}

static void
go_on(struct authd_session *s, int64_t delayed_ms)
{
	const char *mech = sasl_mech_name(sasl_conv_mech(s->conv));
	const struct authd_hold h = s->hold;
	int64_t began = s->began_ms;
	enum meanwhile store = look_at_store(&h);
	enum sasl_rc rc = h.rc;

	s->hold = (struct authd_hold){ 0 };
	switch (h.stage) {
	case AUTHD_HOLD_PASSWORD:
		/* the time of a check must not show behind the delay */
		if (delayed_ms > 0)
			began = authd_now_ms();
		rc = check_password(s, store);
		authd_go_on(s, rc, mech, began);
		break;
	case AUTHD_HOLD_CHALLENGE:
		authd_challenge(s);
		break;
	case AUTHD_HOLD_VERDICT:
		if (rc == SASL_RC_OK && is_overtaken(s, store))
			rc = SASL_RC_TEMP;
		authd_verdict(s, rc, mech, began + delayed_ms);
		break;
	case AUTHD_HOLD_NONE:
		break;
	}
}

void
authd_guard_timer(struct authd_session *s)
{
	static int64_t last_ms;
	int64_t now = authd_now_ms();

	if (!s->hold.delayed &&
	    (last_ms == 0 || now - last_ms >= WARN_EVERY_MS)) {
		last_ms = now;
		log_warn("throttle", "error=%s", "queue does not answer");
	}
	if (!ask_again(s))
		go_on(s, s->hold.delayed || s->hold.asks > 0);
}

void
authd_guard_release(struct authd_session *s, void *arg)
{
	(void)arg;
	if (s->hold.stage != AUTHD_HOLD_NONE && !s->hold.delayed)
		go_on(s, 0);
}

void
authd_guard_answer(struct ipc *p, const struct ipc_in *in)
{
	const struct m_throttle_answer *m = &in->m->throttle_answer;
	struct authd_session *s = authd_find(in->sid);

	(void)p;
	A.pace_ms = m->pace_ms;
	if (s == NULL || s->hold.stage == AUTHD_HOLD_NONE ||
	    s->hold.ticket != m->ticket ||
	    (s->hold.delayed && !s->hold.again))
		return; /* the client has left, or it was too late */
	if (s->hold.delayed)
		s->hold.asks++; /* its turn has come before it asked again */
	if (m->refuse || (m->again && s->hold.asks >= ASKS_MAX)) {
		s->hold = (struct authd_hold){ 0 };
		authd_verdict(s, SASL_RC_LOCKED,
		    sasl_mech_name(sasl_conv_mech(s->conv)), s->began_ms);
	} else if (m->delay_ms > 0 && s->hold.stage != AUTHD_HOLD_VERDICT) {
		s->hold.delayed = true;
		s->hold.again = m->again;
		authd_arm(s, m->delay_ms);
	} else
		/* a check behind a wait must not show in the time, either */
		go_on(s, s->hold.asks > 0 ? 1 : m->delay_ms);
}
