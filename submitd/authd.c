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
#include <unistd.h>

#include "authd.h"
#include "digest.h"
#include "log.h"
#include "store/db.h"
#include "tlsmem.h"

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

enum { TICK_MS = 1000 };

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

static void
session_free(struct authd_session *s)
{
	sasl_conv_free(&s->conv);
	authd_rehash_clear(s);
	if (s->timer != NULL)
		event_free(s->timer);
	authd_txn_clear(&s->txn);
	authd_facts_clear(&s->facts);
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
	authd_take_facts(s, &in->m->session);
	authd_send_facts(s);
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
		authd_judge(s);
		if (s->judged)
			authd_send_facts(s);
	}
	/* A device can expire while it is logged in. */
	if (in->type == M_MAIL && ended(s))
		return;
	if (in->type == M_AUTH_START)
		authd_on_auth_start(s, &in->m->auth_start);
	else if (in->type == M_AUTH_STEP)
		authd_on_auth_step(s, &in->m->auth_step);
	else if (in->type == M_MAIL) {
		str_set(&s->helo, in->m->mail.helo);
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

	if (s != NULL)
		authd_on_auth_cancel(s);
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
	ipc_collect(f->ipc, s->base, IPC_BEHIND);
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
	ipc_collect(A.queue, s->base, IPC_AHEAD); /* grants: see proto.h */
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

static void
auth_warm(void)
{
	if (tlsmem_init() == 0)
		digest_preload();
}

const struct role_ops auth_ops = {
	.role = ROLE_AUTH,
	.warm = auth_warm,
	.preload = auth_preload,
	.start = auth_start,
	.peer = auth_peer,
	.drain = auth_drain,
};
