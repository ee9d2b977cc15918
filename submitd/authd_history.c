/*
 * What auth tells queue for the history of decisions, before front hears of
 * them: refusals of sessions, senders and recipients, logins, and why a
 * transaction was accepted.
 */
#include <string.h>

#include "authd.h"
#include "facts.h"
#include "ladder.h"

/* Not for secrets: tells two ladders apart (FNV-1a). */
static uint64_t
hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return h | 1; /* 0 is none */
}

/* A copy that fits the field of a message. */
static const char *
fit(char *out, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);

	memcpy(out, text, n);
	out[n] = '\0';
	return out;
}
#define FIT(out, text) fit(out, sizeof(out), text)

/* What is known of the session. */
static struct m_decision
facts_of(const struct authd_session *s)
{
	const struct authd_facts *f = &s->facts;
	struct m_decision m = { .client_addr = f->client_addr,
		.client_name = f->map_name,
		.verify = f->tls_bits > 0 ? cert_verify_word(f->verify) : "",
		.bits = (uint16_t)f->tls_bits,
		.cn = f->cn_subject,
		.subject = f->subject,
		.issuer = f->issuer };

	if (s->user[0] != '\0') {
		m.user = s->user;
		m.how = sasl_mech_name(s->mech);
		m.device = s->device;
	} else if (f->owner != NULL) {
		m.user = f->owner->user;
		m.how = "cert";
		m.device = f->owner->device;
	}
	return m;
}

void
authd_remember(struct authd_session *s, enum decision_phase phase,
    const struct policy_verdict *v, const struct facts_reply_said *said,
    const char *rcpt)
{
	bool session = phase == DECISION_CONNECT || phase == DECISION_TLS;
	bool refused = v->decision == POLICY_REFUSE_PERM ||
	    v->decision == POLICY_REFUSE_TEMP;
	char ladder[LADDER_MAX], user[AUTHD_NAME_MAX + 1];
	char name[AUTHD_NAME_MAX + 1];
	struct m_decision m = facts_of(s);

	if (A.queue == NULL)
		return;
	ladder_text(v, ladder);
	if (phase == DECISION_RCPT && !refused) {
		if (s->txn.told == hash(ladder))
			return; /* as the recipient before */
		s->txn.told = hash(ladder);
	}
	m.txn = session ? 0 : s->txn.number;
	m.phase = (uint8_t)phase;
	m.result = (uint8_t)v->decision;
	m.why = policy_why_name(v->why);
	m.code = (uint16_t)(refused ? said->code : 0);
	m.esc = refused ? said->esc : "";
	m.text = refused ? said->text : v->text;
	m.client_name = FIT(name, m.client_name);
	if (v->relay_as[0] != '\0')
		m.user = FIT(user, v->relay_as);
	if (m.how == NULL && v->relay_as[0] != '\0')
		m.how = "map";
	m.sender = session ? "" : s->txn.from;
	m.rcpt = rcpt;
	m.key = v->key;
	m.ladder = ladder;
	ipc_send(A.queue, M_DECISION, s->sid, &m);
}

void
authd_remember_login(const struct authd_session *s, enum sasl_rc rc,
    enum smtp_reply reply, const char *mech, const char *user, int64_t device,
    const char *detail)
{
	char name[AUTHD_NAME_MAX + 1], claimed[AUTHD_NAME_MAX + 1];
	char how[33], text[1024 + 1];
	struct m_decision m = facts_of(s);

	if (A.queue == NULL)
		return;
	m.phase = DECISION_AUTH;
	m.result = (uint8_t)(rc == SASL_RC_OK ? POLICY_ALLOW
		: rc == SASL_RC_TEMP          ? POLICY_REFUSE_TEMP
					      : POLICY_REFUSE_PERM);
	m.why = sasl_rc_word(rc);
	if (rc != SASL_RC_OK) {
		m.code = (uint16_t)smtp_reply_code(reply);
		m.esc = smtp_reply_status(reply);
	}
	m.client_name = FIT(name, m.client_name);
	m.user = FIT(claimed, user);
	m.device = device;
	m.how = FIT(how, mech);
	m.text = FIT(text, detail);
	ipc_send(A.queue, M_DECISION, s->sid, &m);
}
