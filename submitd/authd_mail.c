/*
 * The decisions on a session, its senders and recipients: gathers the facts
 * for policy.h, tells queue what is allowed, and only then answers front.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addrowner.h"
#include "authd.h"
#include "authors.h"
#include "facts.h"
#include "log.h"
#include "smtp_param.h"

/* Who the session is, from its login or its certificate. */
struct who {
	const char *name; /* NULL: nobody */
	struct store_user user;
	unsigned how; /* POLICY_BY_* */
};

/* The priority a sender may give: the user's, else as configured. Who relays by
 * the map alone is bound by map_relay_user, as with addresses. */
static int
most_priority(const struct who *w)
{
	const struct conf *c = &A.setup->conf;
	struct store_user u = w->user;

	if (w->name == NULL &&
	    (c->map_relay_user[0] == '\0' ||
		authd_user_get(c->map_relay_user, &u) != STORE_OK))
		u.max_priority = STORE_PRIORITY_CONF;
	return u.max_priority != STORE_PRIORITY_CONF ? u.max_priority
						     : (int)c->max_priority;
}

static void
clamp_priority(struct authd_session *s, const struct who *w)
{
	int most = most_priority(w);

	if (s->txn.opt.priority > PRIORITY_NORMAL + most)
		s->txn.opt.priority = (uint8_t)(PRIORITY_NORMAL + most);
}

/* RFC 4954 section 5: a user is believed about addresses of his own; whatever
 * else AUTH of MAIL says is as if "<>" stood there, but for the log. */
static void
believe_auth(struct authd_session *s, const struct who *w)
{
	char *auth = s->txn.auth, text[MAIL_AUTH_MAX + 1];

	if (auth[0] == '\0')
		return;
	if (w->name != NULL &&
	    smtp_xtext_decode(auth, strlen(auth), text, sizeof(text)) == 0 &&
	    authd_policy_store.owns(NULL, w->name, text) == 1)
		return;
	log_event(LOG_INFO, s->sid, 0, "mail-auth", "user=%s from=%s auth=%s",
	    w->name, s->txn.from, auth);
	auth[0] = '\0';
}

/* False: the store can't say now. */
static bool
identify(const struct authd_session *s, struct who *w)
{
	const struct cert_owner *o = s->facts.owner;
	enum store_rc rc;

	memset(w, 0, sizeof(*w));
	if (s->user[0] != '\0') {
		w->name = s->user;
		w->how = s->mech == SASL_MECH_EXTERNAL ? POLICY_BY_CERT
						       : POLICY_BY_PASSWORD;
		if (o != NULL && strcmp(o->user, s->user) == 0)
			w->how |= POLICY_BY_CERT;
	} else if (o != NULL) {
		w->name = o->user;
		w->how = POLICY_BY_CERT;
	} else {
		return true;
	}
	rc = authd_user_get(w->name, &w->user);
	if (rc == STORE_NONE)
		w->name = NULL; /* deleted meanwhile */
	return rc == STORE_OK || rc == STORE_NONE;
}

static enum policy_user_state
state_of(const struct store_user *u)
{
	switch (u->state) {
	case STORE_USER_ACTIVE:
		return POLICY_USER_ACTIVE;
	case STORE_USER_SUSPENDED:
		return POLICY_USER_SUSPENDED;
	case STORE_USER_DISABLED:
		break;
	}
	return POLICY_USER_DISABLED;
}

static enum policy_user_auth
auth_of(const struct store_user *u)
{
	switch (u->policy) {
	case STORE_AUTH_ANY:
		return POLICY_AUTH_ANY;
	case STORE_AUTH_CERT:
		return POLICY_AUTH_CERT;
	case STORE_AUTH_PASSWORD:
		return POLICY_AUTH_PASSWORD;
	case STORE_AUTH_BOTH:
		break;
	}
	return POLICY_AUTH_BOTH;
}

static struct policy_options
options_now(void)
{
	const struct conf *c = &A.setup->conf;

	return facts_options(
	    c->map_relay_user, (enum policy_from_header)c->from_header);
}

static struct policy_facts
facts_of(const struct authd_session *s, const struct who *w)
{
	const struct authd_facts *f = &s->facts;
	const struct policy_facts facts = {
		.client_name = f->map_name,
		.client_addr = f->map_addr,
		.resolve = f->resolve,
		.verify = f->tls_bits > 0 ? cert_verify_word(f->verify) : "",
		.cipher_bits = f->tls_bits > 0 ? f->tls_bits : POLICY_NO_TLS,
		.cert_subject = f->subject,
		.cert_issuer = f->issuer,
		.cn_subject = f->cn_subject,
		.cn_issuer = f->cn_issuer,
		.user = w->name,
		.user_state = state_of(&w->user),
		.user_auth = auth_of(&w->user),
		.how = w->how,
		.auth_mech =
		    s->user[0] != '\0' ? sasl_mech_name(s->mech) : NULL,
		.sender = s->txn.map_from,
		.map_relays = A.map_relays,
	};

	return facts;
}

static void
decide(const struct authd_session *s, enum policy_phase phase,
    const struct who *w, const char *rcpt, struct policy_verdict *v)
{
	const struct policy_options options = options_now();
	struct policy_facts facts = facts_of(s, w);
	char address[FACTS_ADDRESS_MAX];

	facts.rcpt = rcpt != NULL ? facts_map_address(rcpt, address) : NULL;
	policy_decide(phase, &facts, &options, &authd_policy_store, v);
}

/* "rule:met rule:met ...", for the log. */
static void
steps_text(const struct policy_verdict *v, char *out, size_t size)
{
	size_t i, n = 0;

	out[0] = '\0';
	for (i = 0; i < v->nsteps && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s:%s",
		    i > 0 ? " " : "", policy_rule_name(v->steps[i].rule),
		    policy_met_name(v->steps[i].met));
}

static bool
is_refusal(const struct policy_verdict *v)
{
	return v->decision == POLICY_REFUSE_PERM ||
	    v->decision == POLICY_REFUSE_TEMP;
}

/* rcpt and author: NULL if it is not about them. */
static void
log_decision(const struct authd_session *s, const char *phase,
    const struct who *w, const char *rcpt, const char *author,
    const struct policy_verdict *v)
{
	int level = v->decision == POLICY_ALLOW ? LOG_DEBUG : LOG_INFO;
	char steps[POLICY_STEPS_MAX * 32];

	if (!log_wants(level))
		return;
	steps_text(v, steps, sizeof(steps));
	log_event(level, s->sid, 0, "decision",
	    "phase=%s result=%s why=%s addr=%s user=%s from=%s to=%s "
	    "author=%s key=%s code=%d text=%s steps=%s",
	    phase, policy_decision_name(v->decision), policy_why_name(v->why),
	    s->facts.client_addr, w->name, s->txn.from, rcpt, author,
	    v->key[0] != '\0' ? v->key : NULL, v->code,
	    v->text[0] != '\0' ? v->text : NULL, steps);
}

/* What a refusal is about; author is NULL before POLICY_HEADERS. */
static void
reply_args(const struct authd_session *s, const struct who *w,
    const struct policy_author *author, const struct policy_verdict *v,
    struct facts_reply_args *args)
{
	char own[STORE_ADDRESS_MAX + 1] = "";
	const struct facts_about about = { .sender = s->txn.from,
		.reason = w->user.reason,
		.author = author,
		.own = own };

	if (v->why == POLICY_WHY_AUTHOR)
		authd_own_address(w->name, own);
	facts_reply_args(v->why, &about, args);
}

static void
remember(struct authd_session *s, enum decision_phase phase,
    const struct who *w, const char *rcpt, const struct policy_verdict *v)
{
	struct facts_reply_args args;
	struct facts_reply_said said;

	if (is_refusal(v)) {
		reply_args(s, w, NULL, v, &args);
		facts_said(v, &args, &said);
	}
	authd_remember(s, phase, v, &said, rcpt);
}

/* ---- before MAIL ---- */

static void
keep_refusal(struct authd_session *s, const struct policy_verdict *v)
{
	s->refuse_code = (uint16_t)v->code;
	snprintf(s->refuse_esc, sizeof(s->refuse_esc), "%s", v->esc);
	s->refuse_text = xstrdup(v->text);
}

/* A Connect entry may throw away or hold all that the session sends. */
static void
keep_flags(const struct policy_verdict *v, uint8_t *flags, char **note)
{
	if (v->decision == POLICY_DISCARD)
		*flags |= ENVELOPE_DISCARD;
	if (v->decision != POLICY_QUARANTINE || (*flags & ENVELOPE_HOLD) != 0)
		return;
	*flags |= ENVELOPE_HOLD;
	free(*note);
	*note = xstrdup(v->text);
}

bool
authd_judge_session(struct authd_session *s)
{
	static const struct {
		enum policy_phase phase;
		enum decision_phase told;
		const char *name;
	} phases[] = { { POLICY_CONNECT, DECISION_CONNECT, "connect" },
		{ POLICY_TLS, DECISION_TLS, "tls" } };
	struct policy_verdict v;
	struct who w;
	size_t i;

	if (!identify(s, &w))
		return false;
	decide(s, POLICY_SRV_FEATURES, &w, NULL, &v);
	s->features = facts_features(v.text);
	for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		decide(s, phases[i].phase, &w, NULL, &v);
		if (v.why == POLICY_WHY_LOOKUP)
			return false;
		if (v.decision != POLICY_ALLOW)
			log_decision(s, phases[i].name, &w, NULL, NULL, &v);
		if (v.decision != POLICY_ALLOW)
			remember(s, phases[i].told, &w, "", &v);
		if (is_refusal(&v)) {
			keep_refusal(s, &v);
			return true;
		}
		keep_flags(&v, &s->flags, &s->note);
	}
	return true;
}

/* ---- answers ---- */

/* A name as it fits a message; "map:KEY" can be longer. */
static void
cut(char out[AUTHD_NAME_MAX + 1], const char *name)
{
	size_t n = strnlen(name, AUTHD_NAME_MAX);

	memcpy(out, name, n);
	out[n] = '\0';
}

static void
answer(const struct authd_session *s, uint32_t txn, enum verdict_on on,
    enum smtp_reply reply)
{
	const struct m_verdict m = { .txn = txn,
		.on = (uint8_t)on,
		.reply = (uint16_t)reply };

	ipc_send(s->front->ipc, M_VERDICT, s->sid, &m);
}

/* The command is accepted; m has what else is to be said. */
static void
answer_yes(const struct authd_session *s, enum verdict_on on,
    enum smtp_reply reply, const char *user, struct m_verdict m)
{
	char name[AUTHD_NAME_MAX + 1];

	cut(name, user);
	m.txn = s->txn.number;
	m.on = (uint8_t)on;
	m.allow = 1;
	m.reply = (uint16_t)reply;
	m.user = name;
	m.priority = s->txn.opt.priority;
	ipc_send(s->front->ipc, M_VERDICT, s->sid, &m);
}

static void
answer_code(const struct authd_session *s, uint32_t txn, enum verdict_on on,
    int code, const char *esc, const char *text)
{
	struct m_verdict m = { .txn = txn,
		.on = (uint8_t)on,
		.code = (uint16_t)code,
		.esc = esc,
		.text = text,
		.user = "" };

	ipc_send(s->front->ipc, M_VERDICT, s->sid, &m);
}

static void
refuse_row(const struct authd_session *s, enum verdict_on on,
    enum smtp_reply reply, const char *a, const char *b)
{
	const struct m_verdict m = { .txn = s->txn.number,
		.on = (uint8_t)on,
		.reply = (uint16_t)reply,
		.text = a,
		.more = b };

	ipc_send(s->front->ipc, M_VERDICT, s->sid, &m);
}

static void
refuse(const struct authd_session *s, enum verdict_on on, const struct who *w,
    const struct policy_verdict *v)
{
	struct facts_reply_args args;

	if (v->code != 0) {
		answer_code(s, s->txn.number, on, v->code, v->esc, v->text);
		return;
	}
	reply_args(s, w, NULL, v, &args);
	refuse_row(s, on, facts_reply(v->why), args.a, args.b);
}

/* ---- what queue is told ---- */

static const char *
how_text(const struct authd_session *s, const struct who *w)
{
	if (w->name == NULL)
		return "map";
	return s->user[0] != '\0' ? sasl_mech_name(s->mech) : "cert";
}

/* Whose device this is, 0 for none. */
static int64_t
device_of(const struct authd_session *s)
{
	if (s->user[0] != '\0')
		return s->device;
	return s->facts.owner != NULL ? s->facts.owner->device : 0;
}

/* Who sends, once that is known; the first answer of a transaction stays. */
static void
grant(struct authd_session *s, const struct who *w, const char *relay_as,
    const struct userlimit *l)
{
	struct limits limits[2];
	char name[AUTHD_NAME_MAX + 1];
	struct m_grant m = { .user_id = w->name != NULL ? w->user.id : 0,
		.user = name,
		.how = how_text(s, w),
		.client_addr = s->facts.client_addr,
		.device = w->name != NULL ? device_of(s) : 0,
		.limits = { limits, sizeof(limits) } };

	if (l == NULL)
		return;
	limits[0] = l->user;
	limits[1] = l->device;
	cut(name, relay_as);
	s->txn.granted = ipc_send(A.queue, M_GRANT, s->sid, &m) == 0;
	if (w->name != NULL && s->user[0] == '\0')
		authd_guard_used(s);
}

static void
send_envelope(const struct authd_session *s, enum policy_from_header headers)
{
	const struct m_envelope m = { .txn = s->txn.number,
		.from = s->txn.from,
		.size = s->txn.size,
		.opt = s->txn.opt,
		.headers = headers != POLICY_FROM_OFF };

	ipc_send(A.queue, M_ENVELOPE, s->sid, &m);
}

static void
send_rcpt(const struct authd_session *s, const struct m_rcpt *rcpt,
    uint8_t flags, const char *note)
{
	const struct m_envelope_rcpt m = { .txn = s->txn.number,
		.to = rcpt->to,
		.opt = rcpt->opt,
		.flags = flags,
		.note = note != NULL ? note : "" };

	ipc_send(A.queue, M_ENVELOPE_RCPT, s->sid, &m);
}

/* ---- MAIL and RCPT ---- */

void
authd_txn_clear(struct authd_txn *t)
{
	free(t->from);
	free(t->map_from);
	free(t->note);
	free(t->envid);
	free(t->auth);
	memset(t, 0, sizeof(*t));
}

static void
begin_txn(struct authd_session *s, const struct m_mail *m)
{
	char address[FACTS_ADDRESS_MAX];

	authd_txn_clear(&s->txn);
	s->txn.number = m->txn;
	s->txn.from = xstrdup(m->from);
	s->txn.map_from = xstrdup(facts_map_address(m->from, address));
	s->txn.envid = xstrdup(str_of(m->opt.envid));
	s->txn.opt = m->opt;
	s->txn.opt.envid = s->txn.envid;
	s->txn.auth = xstrdup(str_of(m->opt.auth));
	s->txn.opt.auth = s->txn.auth;
	s->txn.size = m->size;
	s->txn.flags = s->flags;
	if (s->note != NULL)
		s->txn.note = xstrdup(s->note);
}

/* The store could not be asked: no rule was. */
static void
remember_down(struct authd_session *s, enum verdict_on on, const char *rcpt)
{
	const struct policy_verdict v = { .decision = POLICY_REFUSE_TEMP,
		.why = POLICY_WHY_LOOKUP,
		.code = smtp_reply_code(R_AUTH_DOWN) };
	static const enum decision_phase phases[] = {
		[VERDICT_MAIL] = DECISION_MAIL,
		[VERDICT_RCPT] = DECISION_RCPT,
		[VERDICT_HEADERS] = DECISION_HEADERS,
	};
	struct facts_reply_said said = { .code = v.code };

	snprintf(
	    said.esc, sizeof(said.esc), "%s", smtp_reply_status(R_AUTH_DOWN));
	authd_remember(s, phases[on], &v, &said, rcpt);
}

/* What stops a command before the policy is asked; true if it was answered. */
static bool
stopped(struct authd_session *s, enum verdict_on on, const char *rcpt,
    struct who *w)
{
	if (s->refuse_code != 0) {
		answer_code(s, s->txn.number, on, s->refuse_code, s->refuse_esc,
		    s->refuse_text);
		return true;
	}
	if (A.queue == NULL) {
		answer(s, s->txn.number, on, R_QUEUE_DOWN);
		return true;
	}
	if (!authd_store_ready() || !s->judged || !identify(s, w)) {
		remember_down(s, on, rcpt);
		answer(s, s->txn.number, on, R_AUTH_DOWN);
		return true;
	}
	return false;
}

/* Srv_Features may ask for an AUTH, where a certificate would do else. */
static bool
lacks_login(const struct authd_session *s, const struct who *w,
    struct policy_verdict *v)
{
	if ((s->features & FACTS_NEED_AUTH) == 0 || s->user[0] != '\0')
		return false;
	decide(s, POLICY_SRV_FEATURES, w, NULL, v);
	return facts_needs_login(v);
}

/* The limits of who sends, NULL if that is not known yet or known to queue.
 * False: they can't be said now, and that was answered. */
static bool
limits_of(struct authd_session *s, enum verdict_on on, const char *rcpt,
    const struct who *w, const struct policy_verdict *v,
    const struct userlimit **limits)
{
	int64_t user = w->name != NULL ? w->user.id : 0;
	int64_t device = w->name != NULL ? device_of(s) : 0;

	*limits = NULL;
	if (s->txn.granted || v->relay_as[0] == '\0' ||
	    authd_limits_get(v->relay_as, user, device, limits) == STORE_OK)
		return true;
	remember_down(s, on, rcpt);
	answer(s, s->txn.number, on, R_AUTH_DOWN);
	return false;
}

static int64_t
smaller(int64_t a, int64_t b)
{
	return a == LIMIT_NONE || (b != LIMIT_NONE && b < a) ? b : a;
}

/* A size was declared that this user may not send; true if it was answered. */
static bool
is_too_big(struct authd_session *s, const struct userlimit *l)
{
	int64_t max = l != NULL ? smaller(l->user.v[LIMIT_MESSAGE_SIZE],
				      l->device.v[LIMIT_MESSAGE_SIZE])
				: LIMIT_NONE;
	const struct policy_verdict v = { .decision = POLICY_REFUSE_PERM,
		.why = POLICY_WHY_LIMIT };
	struct facts_reply_said said;
	char text[24];

	if (max == LIMIT_NONE || s->txn.size <= (uint64_t)max)
		return false;
	snprintf(text, sizeof(text), "%lld", (long long)max);
	facts_said_reply(R_TOO_BIG, text, "", &said);
	authd_remember(s, DECISION_MAIL, &v, &said, "");
	refuse_row(s, VERDICT_MAIL, R_TOO_BIG, text, "");
	return true;
}

void
authd_on_mail(struct authd_session *s, const struct m_mail *m)
{
	const struct userlimit *limits;
	const struct policy_options options = options_now();
	enum policy_from_header headers;
	struct policy_verdict v;
	struct who w;

	begin_txn(s, m);
	if (stopped(s, VERDICT_MAIL, "", &w))
		return;
	if (!lacks_login(s, &w, &v))
		decide(s, POLICY_MAIL, &w, NULL, &v);
	log_decision(s, "mail", &w, NULL, NULL, &v);
	if (is_refusal(&v)) {
		remember(s, DECISION_MAIL, &w, "", &v);
		refuse(s, VERDICT_MAIL, &w, &v);
		return;
	}
	if (!limits_of(s, VERDICT_MAIL, "", &w, &v, &limits) ||
	    is_too_big(s, limits))
		return;
	keep_flags(&v, &s->txn.flags, &s->txn.note);
	clamp_priority(s, &w);
	believe_auth(s, &w);
	s->txn.open = true;
	headers = facts_from_header(&options, w.name);
	grant(s, &w, v.relay_as, limits);
	send_envelope(s, headers);
	remember(s, DECISION_MAIL, &w, "", &v);
	answer_yes(s, VERDICT_MAIL, R_MAIL_OK, v.relay_as,
	    (struct m_verdict){ .headers = (uint8_t)headers });
}

static void
accept_rcpt(struct authd_session *s, const struct who *w,
    const struct m_rcpt *m, const struct policy_verdict *v,
    const struct userlimit *limits)
{
	uint8_t flags = s->txn.flags;
	char *note = s->txn.note != NULL ? xstrdup(s->txn.note) : NULL;

	keep_flags(v, &flags, &note);
	s->txn.rcpts++;
	remember(s, DECISION_RCPT, w, m->to, v);
	grant(s, w, v->relay_as, limits);
	send_rcpt(s, m, flags, note);
	free(note);
	answer_yes(s, VERDICT_RCPT, R_RCPT_OK, v->relay_as,
	    (struct m_verdict){ .more = "" });
}

void
authd_on_rcpt(struct authd_session *s, const struct m_rcpt *m)
{
	const struct userlimit *limits;
	struct policy_verdict v;
	struct who w;

	if (!s->txn.open || m->txn != s->txn.number) {
		answer(s, m->txn, VERDICT_RCPT,
		    s->txn.lost ? R_QUEUE_DOWN : R_ORDER_MAIL);
		return;
	}
	if (s->txn.rcpts >= A.setup->conf.max_recipients) {
		answer(s, m->txn, VERDICT_RCPT, R_RCPT_TOO_MANY);
		return;
	}
	if (stopped(s, VERDICT_RCPT, m->to, &w))
		return;
	decide(s, POLICY_RCPT, &w, m->to, &v);
	log_decision(s, "rcpt", &w, m->to, NULL, &v);
	if (is_refusal(&v)) {
		remember(s, DECISION_RCPT, &w, m->to, &v);
		refuse(s, VERDICT_RCPT, &w, &v);
		return;
	}
	if (limits_of(s, VERDICT_RCPT, m->to, &w, &v, &limits))
		accept_rcpt(s, &w, m, &v, limits);
}

/* ---- the header ---- */

static void
refuse_headers(struct authd_session *s, const struct who *w,
    const struct policy_author *author, const struct policy_verdict *v)
{
	struct facts_reply_args args;
	struct facts_reply_said said;

	reply_args(s, w, author, v, &args);
	facts_said(v, &args, &said);
	authd_remember(s, DECISION_HEADERS, v, &said, "");
	refuse_row(s, VERDICT_HEADERS, facts_reply(v->why), args.a, args.b);
}

/* own: an address of the user, where one was looked for. */
static void
accept_headers(
    struct authd_session *s, const char *own, struct policy_verdict *v)
{
	const struct m_txn ok = { .txn = s->txn.number };
	const char *from = s->txn.from; /* owned, or refused at MAIL */
	struct m_verdict m = { .more = "" };

	if (v->add_sender) {
		m.more = facts_new_sender(from, own);
		facts_sender_text(from, own, v->text, sizeof(v->text));
	}
	authd_remember(s, DECISION_HEADERS, v, NULL, "");
	ipc_send(A.queue, M_HEADERS_OK, s->sid, &ok);
	answer_yes(s, VERDICT_HEADERS, R_DATA_GO, "", m);
}

void
authd_on_headers(struct authd_session *s, const struct m_headers *m)
{
	static struct policy_author authors[AUTHORS_MAX + 1];
	const struct policy_options options = options_now();
	struct policy_facts facts;
	struct policy_verdict v;
	struct who w;
	char own[STORE_ADDRESS_MAX + 1] = "";
	int n = authors_read(m->authors.p, m->authors.len, authors,
	    sizeof(authors) / sizeof(authors[0]));

	if (!s->txn.open || m->txn != s->txn.number || n == -1) {
		answer(s, m->txn, VERDICT_HEADERS,
		    s->txn.lost ? R_QUEUE_DOWN : R_TEMP);
		return;
	}
	if (stopped(s, VERDICT_HEADERS, "", &w))
		return;
	facts = facts_of(s, &w);
	facts.authors = authors;
	facts.nauthors = (size_t)n;
	policy_decide(
	    POLICY_HEADERS, &facts, &options, &authd_policy_store, &v);
	log_decision(s, "headers", &w, NULL,
	    is_refusal(&v) ? authors[v.author].address : NULL, &v);
	if (v.add_sender && s->txn.from[0] == '\0')
		authd_own_address(w.name, own);
	if (v.add_sender && facts_new_sender(s->txn.from, own)[0] == '\0') {
		v.decision = POLICY_REFUSE_PERM; /* Sender would stay foreign */
		v.why = POLICY_WHY_AUTHOR;
	}
	if (is_refusal(&v))
		refuse_headers(s, &w, &authors[v.author], &v);
	else
		accept_headers(s, own, &v);
}
