/*
 * The relay's side of the access map: may mail go to this server, for this
 * recipient?  The relay can't open the store, so it asks here.
 *
 * Nothing is kept of a server but the facts of the last M_SERVER_TLS of each
 * relay, for the recipients that follow it.
 *
 * Log: ev=decision phase=try_tls|tls_srv|tls_rcpt, as in authd_mail.c.
 */
#include <arpa/inet.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authd.h"
#include "facts.h"
#include "log.h"
#include "ruled.h"
#include "store/access.h"
#include "store/accessmap.h"

struct authd_relay {
	LIST_ENTRY(authd_relay) link;
	struct ipc *ipc;
	uint32_t instance;

	uint64_t id;     /* of the server that was named last, 0: none */
	char *name;      /* as the access map compares it */
	char *addr;      /* likewise */
	char verify[17]; /* {verify} */
	int tls_bits;    /* or POLICY_NO_TLS */
	char subject[CERTNAME_SIZE], issuer[CERTNAME_SIZE];
	char cn_subject[CERTNAME_SIZE], cn_issuer[CERTNAME_SIZE];
};

/* ---- what relays are told of the map ---- */

static uint64_t
mark_text(uint64_t mark, const char *text)
{
	for (;; text++) { /* FNV-1a, with the NUL */
		mark = (mark ^ (unsigned char)*text) * 0x100000001b3u;
		if (*text == '\0')
			return mark;
	}
}

void
authd_rules_add(struct m_server_rules *r, const struct store_access *row)
{
	const char *operand;

	r->mark = mark_text(mark_text(r->mark, row->key), row->value);
	switch (accessmap_tag(row->key, &operand)) {
	case ACCESSMAP_TRY_TLS:
		r->kinds |= SERVER_RULE_TRY;
		break;
	case ACCESSMAP_TLS_SRV:
		r->kinds |= SERVER_RULE_TLS;
		break;
	case ACCESSMAP_TLS_RCPT:
		r->kinds |= SERVER_RULE_RCPT;
		break;
	default: /* of others only the mark matters */
		break;
	}
}

void
authd_rules_set(const struct m_server_rules *rules)
{
	struct authd_relay *r;

	if (A.have_version && A.rules.kinds == rules->kinds &&
	    A.rules.mark == rules->mark)
		return;
	A.rules = *rules;
	LIST_FOREACH(r, &A.relays, link)
	ipc_send(r->ipc, M_SERVER_RULES, 0, &A.rules);
}

/* ---- the server ---- */

static bool
is_numeric(const char *host)
{
	unsigned char a[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, a) == 1 ||
	    inet_pton(AF_INET6, host, a) == 1;
}

/* Names that tell nobody apart equal none, as if they were empty. */
static void
take_chain(struct authd_relay *r, const struct blob *chain)
{
	static struct cert_facts c; /* large, and of one thread */

	r->subject[0] = r->issuer[0] = '\0';
	r->cn_subject[0] = r->cn_issuer[0] = '\0';
	if (chain->len == 0 ||
	    cert_examine(NULL, chain->p, chain->len, time(NULL), &c) !=
		CERT_RC_OK ||
	    c.vague)
		return;
	memcpy(r->subject, c.subject, sizeof(r->subject));
	memcpy(r->issuer, c.issuer, sizeof(r->issuer));
	memcpy(r->cn_subject, c.cn_subject, sizeof(r->cn_subject));
	memcpy(r->cn_issuer, c.cn_issuer, sizeof(r->cn_issuer));
}

static void
take_server(struct authd_relay *r, const struct m_server_tls *m)
{
	free(r->name);
	free(r->addr);
	r->id = m->id;
	r->addr = facts_addr(m->addr);
	r->name = facts_host(is_numeric(m->host) ? "" : m->host, r->addr);
	memcpy(r->verify, m->verify, strlen(m->verify) + 1);
	r->tls_bits = m->tls_bits > 0 ? m->tls_bits : POLICY_NO_TLS;
	take_chain(r, &m->chain);
}

/* ---- questions and answers ---- */

static void
log_decision(const struct authd_relay *r, uint64_t sid, const char *phase,
    const char *rcpt, const struct policy_verdict *v)
{
	log_event(v->decision == POLICY_ALLOW ? LOG_DEBUG : LOG_INFO, sid, 0,
	    "decision",
	    "phase=%s result=%s why=%s server=%s addr=%s verify=%s bits=%d "
	    "to=%s key=%s code=%d text=%s",
	    phase, policy_decision_name(v->decision), policy_why_name(v->why),
	    r->name, r->addr, r->verify, r->tls_bits > 0 ? r->tls_bits : 0,
	    rcpt, v->key[0] != '\0' ? v->key : NULL, v->code,
	    v->text[0] != '\0' ? v->text : NULL);
}

static struct policy_facts
facts_of(const struct authd_relay *r, const char *rcpt)
{
	return (struct policy_facts){
		.server_name = r->name,
		.server_addr = r->addr,
		.verify = r->verify,
		.cipher_bits = r->tls_bits,
		.cert_subject = r->subject,
		.cert_issuer = r->issuer,
		.cn_subject = r->cn_subject,
		.cn_issuer = r->cn_issuer,
		.rcpt = rcpt,
	};
}

static void
answer_unknown(const struct authd_relay *r, uint64_t id, uint32_t n,
    uint64_t sid, const char *text)
{
	const struct m_server_verdict m = { .id = id,
		.n = n,
		.verdict = SERVER_UNKNOWN,
		.esc = "4.3.0",
		.text = text,
		.ruled = "" };

	ipc_send(r->ipc, M_SERVER_VERDICT, sid, &m);
}

static void
judge(const struct authd_relay *r, enum policy_phase phase, const char *name,
    uint32_t n, const char *rcpt, uint64_t sid)
{
	const struct policy_options options = facts_options("", POLICY_FROM_OFF);
	char address[FACTS_ADDRESS_MAX];
	const struct policy_facts facts = facts_of(
	    r, rcpt != NULL ? facts_map_address(rcpt, address) : NULL);
	struct m_server_verdict m = {
		.id = r->id, .n = n, .esc = "", .text = "", .ruled = ""
	};
	struct policy_verdict v;
	char text[1000], ruled[RULED_MAX];

	if (!authd_store_ready()) {
		answer_unknown(
		    r, r->id, n, sid, "the access map can't be read now");
		return;
	}
	policy_decide(phase, &facts, &options, &authd_policy_store, &v);
	log_decision(r, sid, name, rcpt, &v);
	m.verdict = (uint8_t)facts_server_verdict(&v);
	if (m.verdict != SERVER_GO) {
		facts_server_text(&v, text, sizeof(text));
		m.text = text;
		if (m.verdict == SERVER_WAIT)
			v.esc[0] = '4';
		m.esc = v.esc;
		ruled_text(&facts, &v, ruled);
		m.ruled = ruled;
	}
	ipc_send(r->ipc, M_SERVER_VERDICT, sid, &m);
}

static void
on_server_tls(struct ipc *p, const struct ipc_in *in)
{
	struct authd_relay *r = ipc_arg(p);

	take_server(r, &in->m->server_tls);
	switch (in->m->server_tls.ask) {
	case SERVER_ASK_TRY:
		judge(r, POLICY_TRY_TLS, "try_tls", 0, NULL, in->sid);
		break;
	case SERVER_ASK_TLS:
		judge(r, POLICY_TLS_SERVER, "tls_srv", 0, NULL, in->sid);
		break;
	default:
		break;
	}
}

static void
on_server_rcpt(struct ipc *p, const struct ipc_in *in)
{
	const struct m_server_rcpt *m = &in->m->server_rcpt;
	const struct authd_relay *r = ipc_arg(p);

	if (m->id == r->id && r->id != 0)
		judge(r, POLICY_TLS_RCPT, "tls_rcpt", m->n, m->to, in->sid);
	else
		answer_unknown(
		    r, m->id, m->n, in->sid, "its server is not known");
}

static const struct ipc_rule relay_rules[] = {
	{ M_SERVER_TLS, on_server_tls },
	{ M_SERVER_RCPT, on_server_rcpt },
	{ 0, NULL },
};

static void
on_relay_gone(struct ipc *p, const char *why)
{
	struct authd_relay *r = ipc_arg(p);

	log_debug("peer", "role=relay instance=%u why=%s", r->instance, why);
	LIST_REMOVE(r, link);
	free(r->name);
	free(r->addr);
	free(r);
}

void
authd_add_relay(struct role_setup *s, uint32_t instance, int fd)
{
	struct authd_relay *r = xcalloc(1, sizeof(*r));

	r->instance = instance;
	r->ipc = ipc_new(s->base, fd, relay_rules, on_relay_gone, r);
	LIST_INSERT_HEAD(&A.relays, r, link);
	if (A.have_version) /* else it is told once the store can be read */
		ipc_send(r->ipc, M_SERVER_RULES, 0, &A.rules);
}
