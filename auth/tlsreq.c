/*
 * TLS requirements.  The grammar of the values is in store/accessval.h; here
 * is what they demand and how a refusal is worded.
 */
#include "tlsreq.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mapaddr.h"
#include "store/accessval.h"
#include "walk.h"

/* What is judged, and the code a refusal gets. */
struct tlsreq {
	struct policy_ctx *c;
	enum policy_rule rule;
	const struct policy_hit *hit;
	const char *name; /* of the other side */
	struct accessval_tls want;
	int code;
	const char *esc;
};

static bool
refuse(struct tlsreq *t, const char *text)
{
	policy_step(t->c, t->rule, POLICY_MET_REFUSE, t->hit);
	return policy_refuse(t->c, POLICY_WHY_TLS, t->code, t->esc, "%s", text);
}

static void
set_code(struct tlsreq *t)
{
	switch (t->want.prefix) {
	case ACCESSVAL_PERM:
		t->code = 503;
		t->esc = "5.7.0";
		break;
	case ACCESSVAL_TEMP:
		t->code = 403;
		t->esc = "4.7.0";
		break;
	case ACCESSVAL_PLAIN:
		t->code = t->c->o->tls_perm_err ? 554 : 454;
		t->esc = t->c->o->tls_perm_err ? "5.7.0" : "4.7.0";
		break;
	}
}

/* The text for a word of {verify}, NULL if the table does not have it. */
static const char *
text_of(const char *const table[][2], size_t n, const char *verify)
{
	for (size_t i = 0; i < n; i++) {
		if (strcasecmp(verify, table[i][0]) == 0)
			return table[i][1];
	}
	return NULL;
}

/* Broken handshakes are refused whatever the map says. */
static const char *
handshake_text(const char *verify)
{
	static const char *const table[][2] = {
		{ "SOFTWARE", "TLS handshake failed." },
		{ "PROTOCOL", "STARTTLS failed." },
		{ "DANE_FAIL", "DANE check failed." },
		{ "CONFIG", "STARTTLS temporarily not possible." },
	};

	return text_of(table, sizeof(table) / sizeof(table[0]), verify);
}

static const char *
unverified_text(const char *verify)
{
	static const char *const table[][2] = {
		{ "", "authentication required" },
		{ "FAIL", "authentication failed" },
		{ "NO", "not authenticated" },
		{ "NOT", "no authentication requested" },
		{ "NONE", "other side does not support STARTTLS" },
		{ "CLEAR", "STARTTLS disabled locally" },
	};
	const char *text =
	    text_of(table, sizeof(table) / sizeof(table[0]), verify);

	/* sendmail has the items of the entry behind the blank */
	return text != NULL ? text : "authentication failure ";
}

static bool
is_verified(const char *verify)
{
	return strcasecmp(verify, "OK") == 0 ||
	    strcasecmp(verify, "TRUSTED") == 0;
}

static bool
judge_bits(struct tlsreq *t)
{
	char text[POLICY_TEXT_SIZE];
	long have = t->c->f->cipher_bits;

	if (have < t->c->f->auth_ssf)
		have = t->c->f->auth_ssf;
	if (have < 0)
		have = 0;
	if (!t->want.has_bits || have >= t->want.bits)
		return false;
	snprintf(text, sizeof(text), "encryption too weak %ld less than %ld",
	    have, t->want.bits);
	return refuse(t, text);
}

/* Names are compared in their escaped forms; an empty one equals nothing. */
static bool
judge_name(struct tlsreq *t, const char *what, const char *have,
    const char *want, size_t len)
{
	char text[POLICY_TEXT_SIZE];

	if (have[0] != '\0' && strlen(have) == len &&
	    strncasecmp(have, want, len) == 0)
		return false;
	snprintf(text, sizeof(text), "%s %s does not match %.*s", what, have,
	    (int)len, want);
	return refuse(t, text);
}

static bool
judge_citag(struct tlsreq *t, const struct accessval_item *item)
{
	const char *issuer = policy_str(t->c->f->cert_issuer);
	char tag[POLICY_VALUE_SIZE], text[POLICY_TEXT_SIZE];
	struct policy_hit hit = { .found = POLICY_ABSENT };

	snprintf(tag, sizeof(tag), "%.*s", (int)item->len, item->arg);
	if (issuer[0] != '\0')
		walk_exact(t->c, tag, issuer, WALK_TAGGED, &hit);
	if (hit.found == POLICY_TEMPFAIL)
		return policy_refuse_lookup(t->c, POLICY_RULE_CITAG, &hit);
	if (hit.found == POLICY_FOUND && accessval_is(hit.value, "OK")) {
		policy_step(t->c, POLICY_RULE_CITAG, POLICY_MET_PASS, &hit);
		return false;
	}
	if (hit.found == POLICY_FOUND || issuer[0] == '\0')
		policy_step(t->c, POLICY_RULE_CITAG, POLICY_MET_REFUSE, &hit);
	else
		policy_step_asked(
		    t->c, POLICY_RULE_CITAG, POLICY_MET_REFUSE, tag, issuer);
	snprintf(text, sizeof(text), "Cert Issuer %s not acceptable", issuer);
	return refuse(t, text);
}

static bool
judge_item(struct tlsreq *t, const struct accessval_item *item)
{
	const struct policy_facts *f = t->c->f;

	switch (item->kind) {
	case ACCESSVAL_CN_HOST:
		return judge_name(t, "CN", policy_str(f->cn_subject), t->name,
		    strlen(t->name));
	case ACCESSVAL_CN:
		return judge_name(
		    t, "CN", policy_str(f->cn_subject), item->arg, item->len);
	case ACCESSVAL_CS:
		return judge_name(t, "Cert Subject",
		    policy_str(f->cert_subject), item->arg, item->len);
	case ACCESSVAL_CI:
		return judge_name(t, "Cert Issuer", policy_str(f->cert_issuer),
		    item->arg, item->len);
	case ACCESSVAL_CITAG:
		return judge_citag(t, item);
	}
	return true;
}

/* The requirement itself, once it is known to be one. */
static bool
judge_requirement(struct tlsreq *t, const char *verify)
{
	if (t->want.verify && !is_verified(verify))
		return refuse(t, unverified_text(verify));
	if (judge_bits(t))
		return true;
	for (size_t i = 0; i < t->want.nitems; i++) {
		if (judge_item(t, &t->want.item[i]))
			return true;
	}
	return false;
}

static bool
judge(struct policy_ctx *c, enum policy_rule rule, const struct policy_hit *hit,
    const char *name)
{
	struct tlsreq t = { .c = c, .rule = rule, .hit = hit, .name = name };
	const char *verify = policy_str(c->f->verify);
	int rc = 0;

	if (hit->found == POLICY_TEMPFAIL)
		return policy_refuse_lookup(c, rule, hit);
	if (hit->found == POLICY_FOUND)
		rc = accessval_tls(hit->value, &t.want, NULL);
	if (rc == -1)
		t.want = (struct accessval_tls){ 0 };
	set_code(&t);
	if (handshake_text(verify) != NULL)
		return refuse(&t, handshake_text(verify));
	if (rc == -1)
		return policy_refuse_malformed(c, rule, hit);
	if (t.want.required && judge_requirement(&t, verify))
		return true;
	policy_step(c, rule,
	    hit->found == POLICY_FOUND ? POLICY_MET_PASS : POLICY_MET_NONE,
	    hit);
	return false;
}

/*
 * A look-up of the walk failed, so the requirement is not known.  A broken
 * handshake is refused all the same.
 */
static bool
judge_unknown(struct policy_ctx *c, enum policy_rule rule,
    const struct policy_hit *failed)
{
	static const struct policy_hit none = { .found = POLICY_ABSENT };
	const char *verify = policy_str(c->f->verify);

	if (handshake_text(verify) != NULL)
		return judge(c, rule, &none, "");
	if (!c->o->verified_passes || !is_verified(verify))
		return policy_refuse_lookup(c, rule, failed);
	policy_step(c, rule, POLICY_MET_FAIL, failed);
	return false;
}

/* An entry for a host: its name, its address, or the tag alone. */
static bool
judge_host(struct policy_ctx *c, enum policy_rule rule, const char *tag,
    const char *name, const char *addr)
{
	struct policy_hit hit;

	if (name[0] == '\0')
		return policy_refuse_lookup(c, rule, NULL);
	walk_host(c, tag, name, addr, WALK_TAGGED, &hit);
	if (hit.found == POLICY_TEMPFAIL)
		return judge_unknown(c, rule, &hit);
	if (hit.found == POLICY_ABSENT)
		walk_exact(c, tag, "", WALK_TAGGED, &hit);
	return judge(c, rule, &hit, name);
}

bool
tlsreq_client(struct policy_ctx *c)
{
	return judge_host(c, POLICY_RULE_TLS_CLT, "TLS_Clt",
	    policy_str(c->f->client_name), policy_str(c->f->client_addr));
}

bool
tlsreq_server(struct policy_ctx *c)
{
	return judge_host(c, POLICY_RULE_TLS_SRV, "TLS_Srv",
	    policy_str(c->f->server_name), policy_str(c->f->server_addr));
}

static void
walk_rcpt(struct policy_ctx *c, const struct mapaddr *a, struct policy_hit *hit)
{
	const char *tag = "TLS_Rcpt";

	hit->found = POLICY_ABSENT;
	if (a->domain[0] != '\0')
		walk_mailbox(c, tag, a, a->domain, WALK_TAGGED, hit);
	if (hit->found == POLICY_ABSENT)
		walk_mailbox(c, tag, a, "", WALK_TAGGED, hit);
	if (hit->found == POLICY_ABSENT)
		walk_name(c, tag, a->domain, WALK_TAGGED, hit);
	if (hit->found == POLICY_ABSENT)
		walk_exact(c, tag, "", WALK_TAGGED, hit);
}

/* Without any entry even a broken handshake is none of this rule's. */
bool
tlsreq_rcpt(struct policy_ctx *c)
{
	struct mapaddr rcpt;
	struct policy_hit hit;

	mapaddr_parse(&rcpt, policy_str(c->f->rcpt), c->o);
	walk_rcpt(c, &rcpt, &hit);
	if (hit.found == POLICY_ABSENT) {
		policy_step(c, POLICY_RULE_TLS_RCPT, POLICY_MET_NONE, NULL);
		return false;
	}
	return judge(
	    c, POLICY_RULE_TLS_RCPT, &hit, policy_str(c->f->server_name));
}

bool
tlsreq_user(struct policy_ctx *c)
{
	struct policy_hit hit;

	walk_exact(c, "TLS_User", c->f->user, WALK_TAGGED, &hit);
	return judge(
	    c, POLICY_RULE_TLS_USER, &hit, policy_str(c->f->client_name));
}
