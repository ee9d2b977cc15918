/*
 * What auth knows of a session before anybody logs in: its connection, its
 * certificate and whose that is, what the access map says to it, and by which
 * mechanisms one may log in.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authd.h"
#include "facts.h"
#include "log.h"

enum { CRL_WARN_MS = 60 * 1000 /* at most one warning in this time */ };

/* What an examination of the certificate found. */
static void
cert_clear(struct authd_facts *f)
{
	free(f->reason);
	free(f->fingerprint);
	free(f->subject);
	free(f->issuer);
	free(f->cn_subject);
	free(f->cn_issuer);
	free(f->owner);
	f->reason = f->fingerprint = f->subject = f->issuer = NULL;
	f->cn_subject = f->cn_issuer = NULL;
	f->owner = NULL;
}

void
authd_facts_clear(struct authd_facts *f)
{
	cert_clear(f);
	free(f->client_addr);
	free(f->map_addr);
	free(f->map_name);
	buf_wipe(&f->exporter);
	buf_wipe(&f->unique);
	buf_wipe(&f->endpoint);
	memset(f, 0, sizeof(*f));
}

static enum policy_resolve
map_resolve(uint8_t status)
{
	switch (status) {
	case RESOLVE_OK:
		return POLICY_RESOLVE_OK;
	case RESOLVE_FAIL:
		return POLICY_RESOLVE_FAIL;
	case RESOLVE_FORGED:
		return POLICY_RESOLVE_FORGED;
	default: /* failed for now, or no answer yet */
		return POLICY_RESOLVE_TEMP;
	}
}

static void
warn_of_crl(const char *reason)
{
	const struct m_alarm m = {
		.what = "crl", .trouble = "auth", .text = reason
	};
	static int64_t last_ms;
	int64_t now = authd_now_ms();

	if (last_ms != 0 && now - last_ms < CRL_WARN_MS)
		return;
	last_ms = now;
	log_warn("crl", "error=%s", reason);
	if (A.queue != NULL)
		ipc_send(A.queue, M_ALARM, 0, &m);
}

static void
no_certificate(
    struct authd_facts *f, enum cert_verify verify, const char *reason)
{
	f->verify = verify;
	str_set(&f->reason, reason);
}

static void
log_cert(const struct authd_session *s, enum cert_map map)
{
	const struct authd_facts *f = &s->facts;

	log_event(LOG_INFO, s->sid, 0, "cert",
	    "addr=%s verify=%s reason=%s sha256=%s subject=%s issuer=%s "
	    "user=%s by=%s",
	    f->client_addr, cert_verify_word(f->verify), f->reason,
	    f->fingerprint, f->subject, f->issuer,
	    f->owner != NULL ? f->owner->user : NULL,
	    cert_map_word(map, f->owner));
}

/* False: whose certificate it is can't be said now. */
static bool
take_cert(struct authd_session *s, struct cert_facts *c)
{
	struct authd_facts *f = &s->facts;
	struct cert_owner owner;
	enum cert_map map;

	map = cert_map_user(c, authd_cert_lookup, NULL, &owner);
	if (map == CERT_MAP_FOUND) {
		f->owner = xmalloc(sizeof(owner));
		*f->owner = owner;
	}
	f->verify = c->verify;
	str_set(&f->reason, c->reason);
	str_set(&f->fingerprint, c->sha256);
	str_set(&f->subject, c->subject);
	str_set(&f->issuer, c->issuer);
	str_set(&f->cn_subject, c->cn_subject);
	str_set(&f->cn_issuer, c->cn_issuer);
	if (map == CERT_MAP_TEMP)
		return false;
	if (c->crl_trouble)
		warn_of_crl(c->reason);
	log_cert(s, map);
	return true;
}

static bool
examine(struct authd_session *s)
{
	static struct cert_facts c; /* large, and of one thread */
	bool known = true;

	if (s->chain.len == 0)
		no_certificate(&s->facts, CERT_NO, "no certificate was sent");
	else if (cert_examine(A.trust, buf_head(&s->chain), s->chain.len,
		     time(NULL), &c) == CERT_RC_OK)
		known = take_cert(s, &c);
	else
		no_certificate(
		    &s->facts, CERT_FAIL, "the certificate can't be read");
	memset(&c, 0, sizeof(c));
	return known;
}

/* The names of a key as bits; given.c has checked them. */
static uint32_t
named(const char *text)
{
	const char *bad;
	uint32_t mask;
	size_t len;

	return sasl_mech_list(text, &mask, &bad, &len) == 0 ? mask : 0;
}

/* The mechanisms that can work with this configuration. */
static uint32_t
configured_mechs(enum listen_kind kind)
{
	const struct conf *cf = &A.setup->conf;
	uint32_t mechs = 0;

	if (kind == LISTEN_TLS)
		mechs = named(cf->mechanisms_tls);
	if (mechs == 0)
		mechs = named(cf->mechanisms);
	if (mechs == 0)
		mechs = SASL_MECH_DEFAULT | SASL_MECH_TOKENS;
	/* a proof needs what only the store keeps */
	if (cf->password_backend != BACKEND_STORE)
		mechs &= ~SASL_MECH_PROOFS;
	if (!authd_has_tokens())
		mechs &= ~SASL_MECH_TOKENS;
	return mechs;
}

/* Who the certificate is, and what the connection may; as far as known. */
void
authd_judge(struct authd_session *s)
{
	const struct authd_facts *f = &s->facts;
	struct sasl_offer offer = { .enabled = configured_mechs(f->kind) };
	bool ready = authd_store_ready();

	cert_clear(&s->facts);
	free(s->refuse_text);
	free(s->note);
	s->refuse_text = s->note = NULL;
	s->refuse_esc[0] = '\0';
	s->refuse_code = 0;
	s->features = 0;
	s->flags = 0;
	s->judged = examine(s) && ready && authd_judge_session(s);
	if (s->judged)
		buf_clear(&s->chain);
	offer.tls = f->tls_bits > 0 && s->refuse_code == 0;
	offer.cert = f->owner != NULL;
	/* Without extended master secret that is the end point alone. GNU
	 * SASL's clients, which under TLS 1.2 bind by tls-unique only, have
	 * that extension. */
	offer.binding =
	    f->unique.len > 0 || f->exporter.len > 0 || f->endpoint.len > 0;
	s->usable =
	    (s->features & FACTS_NO_AUTH) == 0 ? sasl_mech_usable(&offer) : 0;
	/* it would be refused, and clients take what looks strongest */
	s->offered = s->usable;
	if (f->owner != NULL && !authd_takes_external(f->owner->user))
		s->offered &= ~(uint32_t)SASL_MECH_EXTERNAL;
}

void
authd_take_facts(struct authd_session *s, const struct m_session *m)
{
	struct authd_facts *f = &s->facts;

	authd_facts_clear(f);
	f->client_addr = xstrdup(m->client_addr);
	f->map_addr = facts_addr(m->client_addr);
	f->map_name = facts_host(
	    m->resolve == RESOLVE_OK ? m->client_name : "", f->map_addr);
	f->resolve = map_resolve(m->resolve);
	f->kind = (enum listen_kind)m->listen_kind;
	f->tls_bits = m->tls_bits;
	buf_add(&f->exporter, m->tls_exporter.p, m->tls_exporter.len);
	buf_add(&f->unique, m->tls_unique.p, m->tls_unique.len);
	buf_add(&f->endpoint, m->tls_endpoint.p, m->tls_endpoint.len);
	buf_clear(&s->chain);
	buf_add(&s->chain, m->chain.p, m->chain.len);
	authd_judge(s);
}

void
authd_send_facts(const struct authd_session *s)
{
	const struct authd_facts *f = &s->facts;
	const struct m_session_facts m = {
		.verify = f->tls_bits > 0 ? cert_verify_word(f->verify) : "",
		.verify_reason = f->reason,
		.cert_fp = f->fingerprint,
		.cert_user = f->owner != NULL ? f->owner->user : "",
		.mechs = s->offered,
		.no_pipelining = (s->features & FACTS_NO_PIPELINING) != 0,
		.refuse_code = s->refuse_code,
		.refuse_esc = s->refuse_esc,
		.refuse_text = s->refuse_text,
	};

	ipc_send(s->front->ipc, M_SESSION_FACTS, s->sid, &m);
}
