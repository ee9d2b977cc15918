/*
 * The auth role: who is there, and may they.  It runs SASL exchanges, finds
 * the users of certificates and asks the policy; it only reads the user store.
 * What it allows it tells queue before it answers front, so that front can
 * ask but not approve.
 *
 * A session is known by its id, which must belong to the front whose socket
 * the message came on; it ends with that socket.
 */
#include <sys/random.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "authd.h"
#include "digest.h"
#include "facts.h"
#include "log.h"
#include "store/db.h"

_Static_assert((int)MECH_SCRAM_SHA_256_PLUS == SASL_MECH_SCRAM_SHA_256_PLUS &&
	(int)MECH_SCRAM_SHA_256 == SASL_MECH_SCRAM_SHA_256 &&
	(int)MECH_SCRAM_SHA_1_PLUS == SASL_MECH_SCRAM_SHA_1_PLUS &&
	(int)MECH_SCRAM_SHA_1 == SASL_MECH_SCRAM_SHA_1 &&
	(int)MECH_EXTERNAL == SASL_MECH_EXTERNAL &&
	(int)MECH_PLAIN == SASL_MECH_PLAIN &&
	(int)MECH_LOGIN == SASL_MECH_LOGIN &&
	(int)MECH_OAUTHBEARER == SASL_MECH_OAUTHBEARER &&
	(int)MECH_XOAUTH2 == SASL_MECH_XOAUTH2,
    "messages and SASL have the same bits");

enum {
	TICK_MS = 1000,
	JITTER = 5, /* this part of a delay, at most, is added at random */
	CRL_WARN_MS = 60 * 1000 /* at most one warning in this time */
};

struct authd A;

int64_t
authd_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- sessions ---- */

struct authd_session *
authd_find(uint64_t sid)
{
	struct authd_session *s;

	LIST_FOREACH(s, &A.table[sid & (AUTHD_BUCKETS - 1)], link)
	if (s->sid == sid)
		return s;
	return NULL;
}

void
authd_each(void (*fn)(struct authd_session *, void *), void *arg)
{
	struct authd_session *s, *next;
	int i;

	for (i = 0; i < AUTHD_BUCKETS; i++) {
		for (s = LIST_FIRST(&A.table[i]); s != NULL; s = next) {
			next = LIST_NEXT(s, link);
			fn(s, arg);
		}
	}
}

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

static void
facts_clear(struct authd_facts *f)
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

static void
session_free(struct authd_session *s)
{
	sasl_conv_free(&s->conv);
	authd_rehash_clear(s);
	if (s->timer != NULL)
		event_free(s->timer);
	authd_txn_clear(&s->txn);
	facts_clear(&s->facts);
	buf_clear(&s->chain);
	free(s->refuse_text);
	free(s->note);
	free(s->helo);
	free(s->asked.user);
	LIST_REMOVE(s, link);
	freezero(s, sizeof(*s));
	A.sessions--;
	if (A.draining && A.sessions == 0)
		role_leave(A.setup);
}

static struct authd_session *
session_make(struct authd_front *front, uint64_t sid)
{
	struct authd_session *s;

	if (A.sessions >= AUTHD_SESSIONS_MAX)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->sid = sid;
	s->front = front;
	s->txn.from = xstrdup("");
	LIST_INSERT_HEAD(&A.table[sid & (AUTHD_BUCKETS - 1)], s, link);
	A.sessions++;
	return s;
}

/* ---- facts of a session ---- */

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

static const char *
map_word(enum cert_map map, const struct cert_owner *o)
{
	switch (map) {
	case CERT_MAP_FOUND:
		return cert_key_word(o->by);
	case CERT_MAP_UNUSABLE:
		return "unusable";
	case CERT_MAP_AMBIGUOUS:
		return "ambiguous";
	default:
		return "none";
	}
}

static void
log_cert(const struct authd_session *s, enum cert_map map)
{
	const struct authd_facts *f = &s->facts;

	log_event(LOG_INFO, s->sid, 0, "cert",
	    "addr=%s verify=%s reason=%s sha256=%s subject=%s issuer=%s "
	    "user=%s by=%s",
	    f->client_addr, cert_verify_word(f->verify),
	    f->reason, f->fingerprint, f->subject,
	    f->issuer, f->owner != NULL ? f->owner->user : NULL,
	    map_word(map, f->owner));
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
static void
judge(struct authd_session *s)
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
	offer.binding = f->unique.len > 0 || f->exporter.len > 0 ||
	    f->endpoint.len > 0;
	s->usable =
	    (s->features & FACTS_NO_AUTH) == 0 ? sasl_mech_usable(&offer) : 0;
	/* it would be refused, and clients take what looks strongest */
	s->offered = s->usable;
	if (f->owner != NULL && !authd_takes_external(f->owner->user))
		s->offered &= ~(uint32_t)SASL_MECH_EXTERNAL;
}

static void
take_facts(struct authd_session *s, const struct m_session *m)
{
	struct authd_facts *f = &s->facts;

	facts_clear(f);
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
	judge(s);
}

static void
send_facts(const struct authd_session *s)
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

/* ---- AUTH ---- */

static enum smtp_reply
auth_reply(enum sasl_rc rc, uint32_t mech)
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
		return mech == SASL_MECH_EXTERNAL ? R_AUTH_NEEDS_PASSWORD
						  : R_AUTH_TOO_WEAK;
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
	authd_remember_login(s, rc, auth_reply(rc, sasl_mech_bit(mech)), mech,
	    user, device, detail);
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

	if (s->conv != NULL)
		mech = sasl_conv_mech(s->conv);
	log_auth(s, rc, mech != 0 ? sasl_mech_name(mech) : mech_name);
	if (rc == SASL_RC_OK) {
		take_login(s);
		authd_rehash_send(s);
	}
	end_conv(s);
	if (rc == SASL_RC_BAD || rc == SASL_RC_LOCKED ||
	    rc == SASL_RC_TRANSITION)
		refuse_later(s, auth_reply(rc, mech), mech, began_ms);
	else
		send_result(s, auth_reply(rc, mech), mech);
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

/* ---- messages of a front ---- */

static void
drop_session_of(struct authd_session *s, void *front)
{
	if (s->front == front)
		session_free(s);
}

static void
forget_front(struct authd_front *f)
{
	authd_each(drop_session_of, f);
	LIST_REMOVE(f, link);
	free(f);
}

static void
on_front_gone(struct ipc *p, const char *why)
{
	struct authd_front *f = ipc_arg(p);

	log_debug("peer", "role=front instance=%u why=%s", f->instance, why);
	forget_front(f);
}

/* The front that may speak of this session; a liar loses its socket. */
static struct authd_front *
front_of(struct ipc *p, const struct ipc_in *in)
{
	struct authd_front *f = ipc_arg(p);

	if (sid_instance(in->sid) == f->instance)
		return f;
	ipc_reject(p, "session id of another");
	return NULL;
}

/* The session spoken of, NULL if it is not known (any more). */
static struct authd_session *
session_of(struct ipc *p, const struct ipc_in *in)
{
	return front_of(p, in) != NULL ? authd_find(in->sid) : NULL;
}

static void
too_many(struct authd_front *f, uint64_t sid)
{
	const struct m_session_facts m = { .verify = "NO",
		.verify_reason = "",
		.cert_fp = "",
		.cert_user = "",
		.refuse_code = (uint16_t)smtp_reply_code(R_TEMP),
		.refuse_esc = smtp_reply_status(R_TEMP),
		.refuse_text =
		    "Too many sessions; try again in a few minutes" };

	log_warn("sessions", "error=%s", "too many");
	ipc_send(f->ipc, M_SESSION_FACTS, sid, &m);
}

static void
on_session(struct ipc *p, const struct ipc_in *in)
{
	struct authd_front *f = front_of(p, in);
	struct authd_session *s;

	if (f == NULL)
		return;
	s = authd_find(in->sid);
	if (s == NULL && (s = session_make(f, in->sid)) == NULL) {
		too_many(f, in->sid);
		return;
	}
	take_facts(s, &in->m->session);
	send_facts(s);
}

/* A question about a session that is not known here: try again. */
static void
answer_unknown(struct ipc *p, const struct ipc_in *in)
{
	const struct m_auth_result a = {
		.reply = R_AUTH_TEMP, .user = "", .mech = ""
	};
	struct m_verdict v = {
		.reply = R_AUTH_DOWN, .esc = "", .text = "", .user = ""
	};

	switch (in->type) {
	case M_AUTH_START:
	case M_AUTH_STEP:
		ipc_send(p, M_AUTH_RESULT, in->sid, &a);
		break;
	case M_MAIL:
		v.txn = in->m->mail.txn;
		v.on = VERDICT_MAIL;
		ipc_send(p, M_VERDICT, in->sid, &v);
		break;
	case M_HEADERS:
		v.txn = in->m->headers.txn;
		v.on = VERDICT_HEADERS;
		ipc_send(p, M_VERDICT, in->sid, &v);
		break;
	default:
		v.txn = in->m->rcpt.txn;
		v.on = VERDICT_RCPT;
		ipc_send(p, M_VERDICT, in->sid, &v);
	}
}

static void
take_helo(struct authd_session *s, const char *helo)
{
	str_set(&s->helo, helo);
}

static void
on_auth_start(struct authd_session *s, const struct ipc_in *in)
{
	end_conv(s);
	take_helo(s, in->m->auth_start.helo);
	if (s->user[0] != '\0')
		send_result(s, R_AUTH_DONE, s->mech);
	else if (!authd_store_ready() || !s->judged)
		authd_verdict(s, SASL_RC_TEMP, in->m->auth_start.mech, 0);
	else
		begin_auth(s, &in->m->auth_start);
}

static void
on_auth_step(struct authd_session *s, const struct ipc_in *in)
{
	const struct blob *data = &in->m->auth_step.data;
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

/* Ends the session if it rests on what is no more; true if it has ended. */
static bool
ended(struct authd_session *s)
{
	const struct m_text m = { .text = "revoked" };

	if (authd_identity_stands(s))
		return false;
	log_event(LOG_INFO, s->sid, 0, "kill", "addr=%s user=%s reason=%s",
	    s->facts.client_addr,
	    s->user[0] != '\0' ? s->user : s->facts.owner->user,
	    "the credential or its user is no more");
	if (A.queue != NULL)
		ipc_send(A.queue, M_SESSION_CLOSE, s->sid, NULL);
	ipc_send(s->front->ipc, M_SESSION_KILL, s->sid, &m);
	session_free(s);
	return true;
}

static void
on_question(struct ipc *p, const struct ipc_in *in)
{
	struct authd_session *s;

	if (front_of(p, in) == NULL)
		return;
	if ((s = authd_find(in->sid)) == NULL) {
		answer_unknown(p, in);
		return;
	}
	if (!s->judged) {
		judge(s);
		if (s->judged)
			send_facts(s);
	}
	/* A device can expire while it is logged in. */
	if (in->type == M_MAIL && ended(s))
		return;
	if (in->type == M_AUTH_START)
		on_auth_start(s, in);
	else if (in->type == M_AUTH_STEP)
		on_auth_step(s, in);
	else if (in->type == M_MAIL) {
		take_helo(s, in->m->mail.helo);
		authd_on_mail(s, &in->m->mail);
	} else if (in->type == M_RCPT)
		authd_on_rcpt(s, &in->m->rcpt);
	else
		authd_on_headers(s, &in->m->headers);
}

/* Front has answered the client itself. */
static void
on_auth_cancel(struct ipc *p, const struct ipc_in *in)
{
	struct authd_session *s = session_of(p, in);

	if (s == NULL || s->conv == NULL)
		return;
	log_auth(s, sasl_conv_cancel(s->conv),
	    sasl_mech_name(sasl_conv_mech(s->conv)));
	end_conv(s);
}

static void
on_session_close(struct ipc *p, const struct ipc_in *in)
{
	struct authd_session *s = session_of(p, in);

	if (s != NULL)
		session_free(s);
}

static const struct ipc_rule front_rules[] = {
	{ M_SESSION, on_session },
	{ M_AUTH_START, on_question },
	{ M_AUTH_STEP, on_question },
	{ M_AUTH_CANCEL, on_auth_cancel },
	{ M_MAIL, on_question },
	{ M_RCPT, on_question },
	{ M_HEADERS, on_question },
	{ M_SESSION_CLOSE, on_session_close },
	{ 0, NULL },
};

/* Queue listens, and answers about guessing. */
static const struct ipc_rule queue_rules[] = {
	{ M_THROTTLE_ANSWER, authd_guard_answer },
	{ 0, NULL },
};

/* ---- time ---- */

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	authd_store_ready();
}

/* The store has changed. */
static void
check_session(struct authd_session *s, void *arg)
{
	(void)arg;
	ended(s);
}

static void
on_recheck(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	authd_each(check_session, NULL);
}

static void
on_release(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	store_release(A.store);
}

void
authd_recheck_soon(void)
{
	event_active(A.recheck, EV_TIMEOUT, 1);
}

/* ---- peers ---- */

static void
lose_txn(struct authd_session *s, void *arg)
{
	(void)arg;
	s->txn.lost = s->txn.open;
	s->txn.open = s->txn.granted = false;
}

static void
on_queue_gone(struct ipc *p, const char *why)
{
	if (p != A.queue)
		return; /* its successor came first */
	log_warn("peer", "role=queue error=%s", why);
	A.queue = NULL;
	authd_each(lose_txn, NULL);
	authd_each(authd_guard_release, NULL);
}

static void
add_front(struct role_setup *s, uint32_t instance, int fd)
{
	struct authd_front *f = xcalloc(1, sizeof(*f));

	f->instance = instance;
	f->ipc = ipc_new(s->base, fd, front_rules, on_front_gone, f);
	LIST_INSERT_HEAD(&A.fronts, f, link);
}

static void
set_queue(struct role_setup *s, int fd)
{
	struct ipc *old = A.queue;

	if (old != NULL) {
		on_queue_gone(old, "replaced");
		ipc_free(&old);
	}
	A.queue = ipc_new(s->base, fd, queue_rules, on_queue_gone, NULL);
}

static void
auth_peer(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	if (role == ROLE_FRONT)
		add_front(s, instance, fd);
	else if (role == ROLE_QUEUE)
		set_queue(s, fd);
	else if (role == ROLE_PAM)
		authd_set_pam(s, fd);
	else if (role == ROLE_RELAY)
		authd_add_relay(s, instance, fd);
	else
		close(fd);
}

/* ---- the role ---- */

static int
make_trust(struct role_setup *s, char *err, size_t errlen)
{
	const struct buf *ca = &s->pem[PEM_CLIENT_CA];
	const struct buf *crl = &s->pem[PEM_CLIENT_CRL];

	if (ca->len == 0 && crl->len == 0)
		return 0;
	A.trust = cert_trust_new(
	    ca->len > 0 ? (const char *)buf_head(ca) : NULL, ca->len,
	    crl->len > 0 ? (const char *)buf_head(crl) : NULL, crl->len,
	    s->conf.accept_server_certs ? CERT_ACCEPT_SERVER : 0, err, errlen);
	return A.trust != NULL ? 0 : -1;
}

/* Everything that loads code or needs random numbers. */
static int
auth_preload(struct role_setup *s, char *err, size_t errlen)
{
	unsigned char random[PASSCACHE_KEY_LEN + 32];
	struct sasl_config cfg = {
		.cb = authd_sasl_callbacks,
		.fqdn = s->conf.hostname[0] != '\0' ? s->conf.hostname
						    : "localhost",
		/* until the store's own is read */
		.secret = random + PASSCACHE_KEY_LEN,
		.iterations = (unsigned)s->conf.scram_iterations,
		.sha1 = sasl_mech_list_has_sha1(s->conf.mechanisms) ||
		    sasl_mech_list_has_sha1(s->conf.mechanisms_tls),
	};
	int rc = -1;

	A.setup = s;
	A.wants_sha1 = cfg.sha1;
	digest_preload();
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		snprintf(err, errlen, "no random numbers");
	else if ((A.cache = passcache_new(random, PASSCACHE_MAX)) == NULL)
		snprintf(err, errlen, "no memory");
	else if (sasl_global_init(&cfg, err, errlen) == 0)
		rc = make_trust(s, err, errlen);
	if (rc == 0)
		rc = authd_token_start(&s->pem[PEM_OAUTH_KEY], err, errlen);
	explicit_bzero(random, sizeof(random));
	return rc;
}

static int
auth_start(struct role_setup *s, char *err, size_t errlen)
{
	const struct timeval tv = { .tv_sec = TICK_MS / 1000 };

	A.tick = event_new(s->base, -1, EV_PERSIST, on_tick, NULL);
	A.recheck = evtimer_new(s->base, on_recheck, NULL);
	A.release = evtimer_new(s->base, on_release, NULL);
	if (A.tick == NULL || A.recheck == NULL || A.release == NULL ||
	    event_add(A.tick, &tv) == -1) {
		snprintf(err, errlen, "cannot set a timer");
		return -1;
	}
	return authd_store_start(err, errlen);
}

/* Its fronts go first; their sessions end with them. */
static void
auth_drain(struct role_setup *s)
{
	A.draining = true;
	if (A.sessions == 0)
		role_leave(s);
}

const struct role_ops auth_ops = {
	.role = ROLE_AUTH,
	.preload = auth_preload,
	.start = auth_start,
	.peer = auth_peer,
	.drain = auth_drain,
};
