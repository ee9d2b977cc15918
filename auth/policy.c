/*
 * The decision: the ladder of each phase.  Contract in policy.h; the rules
 * are in tlsreq.c, mapreply.c, relayright.c and authorcheck.c, the orders of
 * look-ups in walk.c.
 */
#include "policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "authorcheck.h"
#include "mapreply.h"
#include "policy_int.h"
#include "relayright.h"
#include "store/accessmap.h"
#include "store/accessval.h"
#include "tlsreq.h"
#include "walk.h"

#define SHOWN (POLICY_SHOWN_SIZE - 1)

void
policy_step(struct policy_ctx *c, enum policy_rule rule, enum policy_met met,
    const struct policy_hit *hit)
{
	struct policy_verdict *v = c->v;
	struct policy_step *s;

	if (hit != NULL && met == POLICY_MET_REFUSE)
		snprintf(v->key, sizeof(v->key), "%s", hit->key);
	if (v->nsteps == POLICY_STEPS_MAX) {
		v->steps_lost = true;
		return;
	}
	s = &v->steps[v->nsteps++];
	s->rule = rule;
	s->met = met;
	s->key[0] = s->value[0] = '\0';
	if (hit == NULL || hit->found == POLICY_ABSENT)
		return;
	snprintf(s->key, sizeof(s->key), "%.*s", SHOWN, hit->key);
	if (hit->found == POLICY_FOUND)
		snprintf(s->value, sizeof(s->value), "%.*s", SHOWN, hit->value);
}

void
policy_step_asked(struct policy_ctx *c, enum policy_rule rule,
    enum policy_met met, const char *tag, const char *operand)
{
	struct policy_verdict *v = c->v;
	size_t at = v->nsteps;

	policy_step(c, rule, met, NULL);
	if (at == v->nsteps)
		return; /* no room */
	snprintf(
	    v->steps[at].key, sizeof(v->steps[at].key), "%s:%s", tag, operand);
	accessmap_fold(v->steps[at].key);
}

void
policy_set_text(struct policy_ctx *c, const char *text)
{
	char *p = c->v->text;

	snprintf(p, sizeof(c->v->text), "%s", text);
	for (; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
			*p = '?';
	}
}

bool
policy_refuse(struct policy_ctx *c, enum policy_why why, int code,
    const char *esc, const char *fmt, ...)
{
	struct policy_verdict *v = c->v;
	char text[POLICY_TEXT_SIZE];
	va_list ap;

	v->decision = code / 100 == 4 ? POLICY_REFUSE_TEMP : POLICY_REFUSE_PERM;
	v->why = why;
	v->code = code;
	v->relay_as[0] = '\0';
	snprintf(v->esc, sizeof(v->esc), "%s", esc);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	policy_set_text(c, text);
	return true;
}

bool
policy_refuse_own(
    struct policy_ctx *c, enum policy_why why, enum policy_decision decision)
{
	c->v->decision = decision;
	c->v->why = why;
	c->v->relay_as[0] = '\0';
	return true;
}

bool
policy_refuse_lookup(
    struct policy_ctx *c, enum policy_rule rule, const struct policy_hit *hit)
{
	policy_step(c, rule, POLICY_MET_FAIL, hit);
	return policy_refuse(c, POLICY_WHY_LOOKUP, 451, "4.3.0",
	    "Temporary system failure. Please try again later.");
}

bool
policy_refuse_malformed(
    struct policy_ctx *c, enum policy_rule rule, const struct policy_hit *hit)
{
	policy_step(c, rule, POLICY_MET_REFUSE, hit);
	return policy_refuse(c, POLICY_WHY_MALFORMED, 451, "4.3.5",
	    "The access rules of this server have an error. Please tell its "
	    "administrator.");
}

static bool
check_state(struct policy_ctx *c)
{
	if (c->f->user_state == POLICY_USER_ACTIVE) {
		policy_step(c, POLICY_RULE_USER_STATE, POLICY_MET_PASS, NULL);
		return false;
	}
	policy_step(c, POLICY_RULE_USER_STATE, POLICY_MET_REFUSE, NULL);
	return policy_refuse_own(c,
	    c->f->user_state == POLICY_USER_SUSPENDED ? POLICY_WHY_SUSPENDED
						      : POLICY_WHY_DISABLED,
	    POLICY_REFUSE_PERM);
}

/* What the user must show and has not, or POLICY_WHY_OK. */
static enum policy_why
missing_proof(const struct policy_facts *f)
{
	bool cert = (f->how & POLICY_BY_CERT) != 0;
	bool password = (f->how & POLICY_BY_PASSWORD) != 0;

	switch (f->user_auth) {
	case POLICY_AUTH_ANY:
		return cert || password ? POLICY_WHY_OK : POLICY_WHY_NOBODY;
	case POLICY_AUTH_CERT:
		return cert ? POLICY_WHY_OK : POLICY_WHY_NEED_CERT;
	case POLICY_AUTH_PASSWORD:
		return password ? POLICY_WHY_OK : POLICY_WHY_NEED_PASSWORD;
	case POLICY_AUTH_BOTH:
		break;
	}
	return cert && password ? POLICY_WHY_OK : POLICY_WHY_NEED_BOTH;
}

/* The user, if there is one.  A user who is refused gets nothing by the map. */
static bool
check_user(struct policy_ctx *c)
{
	enum policy_why missing;

	if (c->f->user == NULL) {
		policy_step(c, POLICY_RULE_IDENTITY, POLICY_MET_NONE, NULL);
		return false;
	}
	policy_step(c, POLICY_RULE_IDENTITY, POLICY_MET_PASS, NULL);
	if (check_state(c))
		return true;
	missing = missing_proof(c->f);
	policy_step(c, POLICY_RULE_USER_AUTH,
	    missing == POLICY_WHY_OK ? POLICY_MET_PASS : POLICY_MET_REFUSE,
	    NULL);
	if (missing != POLICY_WHY_OK)
		return policy_refuse_own(c, missing, POLICY_REFUSE_PERM);
	return tlsreq_user(c);
}

/*
 * Does whoever relays own the sender?  The null sender is owned by everybody:
 * mail programs send disposition notifications (RFC 8098, section 3) and
 * forwarded bounces with it, and it names nobody who could be wronged.
 */
static bool
check_sender(struct policy_ctx *c)
{
	const char *owner = c->f->user, *sender = policy_str(c->f->sender);
	int owned = 1;

	if (owner == NULL)
		owner = c->o->map_relay_user;
	if (owner == NULL)
		return false;
	if (sender[0] != '\0')
		owned = c->s->owns(c->s->arg, owner, sender);
	policy_step(c, POLICY_RULE_SENDER,
	    owned == 1       ? POLICY_MET_PASS
		: owned == 0 ? POLICY_MET_REFUSE
			     : POLICY_MET_FAIL,
	    NULL);
	if (owned == 1)
		return false;
	if (owned == 0)
		return policy_refuse_own(
		    c, POLICY_WHY_SENDER, POLICY_REFUSE_PERM);
	return policy_refuse_own(
	    c, POLICY_WHY_SENDER_LOOKUP, POLICY_REFUSE_TEMP);
}

/* At MAIL nobody could be found who would relay for this session. */
static bool
refuse_nobody(struct policy_ctx *c)
{
	if (c->any_failed)
		return policy_refuse(c, POLICY_WHY_LOOKUP, 451, "4.3.0",
		    "Temporary system failure. Please try again later.");
	return policy_refuse_own(c, POLICY_WHY_NOBODY, POLICY_REFUSE_PERM);
}

/* Takes a refusal for an unconfirmed name back: it is not what decides. */
static void
forgive_name(struct policy_verdict *v)
{
	v->decision = POLICY_ALLOW;
	v->why = POLICY_WHY_OK;
	v->code = 0;
	v->esc[0] = v->text[0] = '\0';
	if (v->nsteps > 0 &&
	    v->steps[v->nsteps - 1].rule == POLICY_RULE_RESOLVE)
		v->steps[v->nsteps - 1].met = POLICY_MET_NONE;
}

/*
 * The host of a client that is no user and shows no relaying certificate.  A
 * name that is not confirmed is no refusal by itself here: the session lacks
 * an identity, and is told so.  Only where a name could help it later is a
 * failing look-up of that name worth another try.
 */
static bool
check_host(struct policy_ctx *c)
{
	bool by_name = (c->f->map_relays & POLICY_RELAYS_BY_NAME) != 0;

	switch (relayright_host(c)) {
	case RELAYRIGHT_STRONG:
	case RELAYRIGHT_WEAK:
		return false;
	case RELAYRIGHT_DECIDED:
		if (c->v->why != POLICY_WHY_RESOLVE)
			return true;
		if (by_name && c->f->resolve == POLICY_RESOLVE_TEMP)
			return true;
		break;
	case RELAYRIGHT_NONE:
		break;
	}
	forgive_name(c->v);
	if ((c->f->map_relays & POLICY_RELAYS_BY_RCPT) != 0)
		return false;
	return refuse_nobody(c);
}

/* MAIL: is there anybody, or any entry, that may relay for this session? */
static bool
check_right(struct policy_ctx *c)
{
	if (c->o->anonymous_mail)
		return false;
	if (c->f->user != NULL) {
		policy_step(c, POLICY_RULE_USER_RELAY, POLICY_MET_RELAY, NULL);
		snprintf(
		    c->v->relay_as, sizeof(c->v->relay_as), "%s", c->f->user);
		return false;
	}
	return relayright_cert(c) == RELAYRIGHT_NONE && check_host(c);
}

static bool
decide_mail(struct policy_ctx *c)
{
	bool accepted;

	if (c->o->delay_checks != POLICY_DELAY_NONE)
		return false;
	return tlsreq_client(c) || check_user(c) || check_right(c) ||
	    check_sender(c) || mapreply_from(c, &accepted);
}

/*
 * Where the recipient has a say in it: does it want mail that Connect and
 * From refuse?
 */
static bool
check_spam(struct policy_ctx *c, bool *wants)
{
	bool friend = c->o->delay_checks == POLICY_DELAY_FRIEND;
	struct policy_hit hit;
	bool found;

	*wants = false;
	if (c->o->delay_checks == POLICY_DELAY)
		return false;
	mapreply_spam(c, &hit);
	if (hit.found == POLICY_TEMPFAIL)
		return policy_refuse_lookup(c, POLICY_RULE_SPAM, &hit);
	found = hit.found == POLICY_FOUND &&
	    accessval_is(hit.value, friend ? "FRIEND" : "HATER");
	policy_step(c, POLICY_RULE_SPAM,
	    found ? POLICY_MET_PASS : POLICY_MET_NONE, &hit);
	*wants = found == friend;
	return false;
}

/* What delay_checks has put off until the recipient is known. */
static bool
check_delayed(struct policy_ctx *c, enum relayright right)
{
	bool accepted, wants;

	if (c->o->delay_checks == POLICY_DELAY_NONE)
		return false;
	if (tlsreq_client(c))
		return true;
	if (right == RELAYRIGHT_STRONG)
		return false;
	if (check_spam(c, &wants))
		return true;
	return !wants &&
	    (mapreply_from(c, &accepted) || (!accepted && mapreply_connect(c)));
}

static bool
decide_rcpt(struct policy_ctx *c)
{
	enum relayright right;

	if (check_user(c))
		return true;
	right = relayright_rcpt(c);
	if (right == RELAYRIGHT_NONE)
		return relayright_deny(c);
	if (right == RELAYRIGHT_DECIDED)
		return true;
	return check_sender(c) || check_delayed(c, right) || mapreply_fate(c);
}

static bool
decide_try_tls(struct policy_ctx *c)
{
	const char *name = policy_str(c->f->server_name);
	const char *addr = policy_str(c->f->server_addr);
	struct policy_hit hit;
	bool forbids = false;

	walk_host(c, "Try_TLS", name, addr, WALK_TAGGED, &hit);
	if (hit.found == POLICY_ABSENT)
		walk_exact(c, "Try_TLS", "", WALK_TAGGED, &hit);
	if (hit.found == POLICY_TEMPFAIL)
		return policy_refuse_lookup(c, POLICY_RULE_TRY_TLS, &hit);
	if (hit.found == POLICY_FOUND &&
	    accessval_try_tls(hit.value, &forbids, NULL) == -1)
		return policy_refuse_malformed(c, POLICY_RULE_TRY_TLS, &hit);
	if (!forbids) {
		policy_step(c, POLICY_RULE_TRY_TLS, POLICY_MET_NONE, &hit);
		return false;
	}
	policy_step(c, POLICY_RULE_TRY_TLS, POLICY_MET_REFUSE, &hit);
	return policy_refuse(c, POLICY_WHY_MAP, 550, "5.7.1",
	    "do not try TLS with %s [%s]", name, addr);
}

/* A failing look-up leaves the server's own choice in force. */
static bool
decide_srv_features(struct policy_ctx *c)
{
	char letters[POLICY_TEXT_SIZE];
	struct policy_hit hit;

	walk_host(c, "Srv_Features", policy_str(c->f->client_name),
	    policy_str(c->f->client_addr), WALK_TAGGED, &hit);
	if (hit.found == POLICY_ABSENT)
		walk_exact(c, "Srv_Features", "", WALK_TAGGED, &hit);
	if (hit.found != POLICY_FOUND) {
		policy_step(c, POLICY_RULE_SRV_FEATURES,
		    hit.found == POLICY_ABSENT ? POLICY_MET_NONE
					       : POLICY_MET_FAIL,
		    &hit);
		return false;
	}
	policy_step(c, POLICY_RULE_SRV_FEATURES, POLICY_MET_PASS, &hit);
	if (accessval_join(hit.value, letters, sizeof(letters)) == 0)
		policy_set_text(c, letters);
	return false;
}

void
policy_decide(enum policy_phase phase, const struct policy_facts *facts,
    const struct policy_options *options, const struct policy_store *store,
    struct policy_verdict *verdict)
{
	struct policy_ctx c = {
		.f = facts, .o = options, .s = store, .v = verdict
	};

	verdict->decision = POLICY_ALLOW;
	verdict->why = POLICY_WHY_OK;
	verdict->code = 0;
	verdict->esc[0] = verdict->text[0] = '\0';
	verdict->key[0] = verdict->relay_as[0] = '\0';
	verdict->nsteps = 0;
	verdict->steps_lost = false;
	verdict->author = 0;
	verdict->add_sender = false;
	switch (phase) {
	case POLICY_CONNECT:
		if (options->delay_checks == POLICY_DELAY_NONE)
			mapreply_connect(&c);
		break;
	case POLICY_TLS:
		tlsreq_client(&c);
		break;
	case POLICY_MAIL:
		decide_mail(&c);
		break;
	case POLICY_RCPT:
		decide_rcpt(&c);
		break;
	case POLICY_HEADERS:
		authorcheck(&c);
		break;
	case POLICY_TLS_SERVER:
		tlsreq_server(&c);
		break;
	case POLICY_TLS_RCPT:
		tlsreq_rcpt(&c);
		break;
	case POLICY_TRY_TLS:
		decide_try_tls(&c);
		break;
	case POLICY_SRV_FEATURES:
		decide_srv_features(&c);
		break;
	}
}

const char *
policy_decision_name(enum policy_decision decision)
{
	static const char *const names[] = {
		[POLICY_ALLOW] = "allow",
		[POLICY_REFUSE_PERM] = "refuse",
		[POLICY_REFUSE_TEMP] = "defer",
		[POLICY_DISCARD] = "discard",
		[POLICY_QUARANTINE] = "quarantine",
	};

	return names[decision];
}

const char *
policy_why_name(enum policy_why why)
{
	static const char *const names[] = {
		[POLICY_WHY_OK] = "ok",
		[POLICY_WHY_MAP] = "map",
		[POLICY_WHY_TLS] = "tls",
		[POLICY_WHY_RELAY] = "relay",
		[POLICY_WHY_RESOLVE] = "resolve",
		[POLICY_WHY_LOOKUP] = "lookup",
		[POLICY_WHY_MALFORMED] = "malformed",
		[POLICY_WHY_NOBODY] = "nobody",
		[POLICY_WHY_SUSPENDED] = "suspended",
		[POLICY_WHY_DISABLED] = "disabled",
		[POLICY_WHY_NEED_CERT] = "need_cert",
		[POLICY_WHY_NEED_PASSWORD] = "need_password",
		[POLICY_WHY_NEED_BOTH] = "need_both",
		[POLICY_WHY_SENDER] = "sender",
		[POLICY_WHY_SENDER_LOOKUP] = "sender_lookup",
		[POLICY_WHY_RCPT_NO_DOMAIN] = "rcpt_no_domain",
		[POLICY_WHY_LIMIT] = "limit",
		[POLICY_WHY_AUTHOR] = "author",
		[POLICY_WHY_AUTHOR_FIELD] = "author_field",
	};

	return names[why];
}

const char *
policy_rule_name(enum policy_rule rule)
{
	static const char *const names[POLICY_RULE_MAX] = {
		[POLICY_RULE_CONNECT] = "connect",
		[POLICY_RULE_TLS_CLT] = "tls_clt",
		[POLICY_RULE_TLS_USER] = "tls_user",
		[POLICY_RULE_TLS_SRV] = "tls_srv",
		[POLICY_RULE_TLS_RCPT] = "tls_rcpt",
		[POLICY_RULE_TRY_TLS] = "try_tls",
		[POLICY_RULE_SRV_FEATURES] = "srv_features",
		[POLICY_RULE_IDENTITY] = "identity",
		[POLICY_RULE_USER_STATE] = "user_state",
		[POLICY_RULE_USER_AUTH] = "user_auth",
		[POLICY_RULE_RCPT_SYNTAX] = "rcpt_syntax",
		[POLICY_RULE_TO_BLOCK] = "to_block",
		[POLICY_RULE_CERT_ISSUER] = "cert_issuer",
		[POLICY_RULE_CERT_SUBJECT] = "cert_subject",
		[POLICY_RULE_CITAG] = "citag",
		[POLICY_RULE_AUTH_MECH] = "auth_mech",
		[POLICY_RULE_USER_RELAY] = "user_relay",
		[POLICY_RULE_RCPT_LOCAL] = "rcpt_local",
		[POLICY_RULE_TO_RELAY] = "to_relay",
		[POLICY_RULE_CLIENT_LOCAL] = "client_local",
		[POLICY_RULE_ADDR_RELAY] = "addr_relay",
		[POLICY_RULE_FROM_RELAY] = "from_relay",
		[POLICY_RULE_RESOLVE] = "resolve",
		[POLICY_RULE_NAME_RELAY] = "name_relay",
		[POLICY_RULE_SENDER] = "sender",
		[POLICY_RULE_FROM] = "from",
		[POLICY_RULE_SPAM] = "spam",
		[POLICY_RULE_AUTHOR] = "author",
	};

	return names[rule];
}

const char *
policy_met_name(enum policy_met met)
{
	static const char *const names[] = {
		[POLICY_MET_NONE] = "none",
		[POLICY_MET_PASS] = "pass",
		[POLICY_MET_RELAY] = "relay",
		[POLICY_MET_REFUSE] = "refuse",
		[POLICY_MET_FAIL] = "fail",
	};

	return names[met];
}

const char *
policy_author_field_name(enum policy_author_field field)
{
	static const char *const names[POLICY_AUTHOR_FIELDS] = {
		[POLICY_AUTHOR_FROM] = "From",
		[POLICY_AUTHOR_SENDER] = "Sender",
		[POLICY_AUTHOR_RESENT_FROM] = "Resent-From",
		[POLICY_AUTHOR_RESENT_SENDER] = "Resent-Sender",
	};

	return names[field];
}
