/*
 * Submissions: what auth allowed, and what fronts bring.
 *
 * A front may only use what auth has sent for the session: a grant (who) and
 * an envelope (this transaction), each envelope once. The session's id must
 * belong to the front whose socket the message came on. Front says how many
 * recipients it was allowed: if they are not all there yet, what auth sent
 * before it answered front is read first (the sockets have no order of their
 * own). The same goes for the authors that the header names: auth must have
 * approved, unless front says that all are the sender it was allowed (front is
 * believed about what it read, there as here: proto.h).
 *
 * Whatever a front says about a body is checked: the size of the bytes sent
 * or of the file, and the limit. A descriptor stays open in front after the
 * mail was accepted; the size is checked again when it is sent.
 *
 * M_SUBMITTED can come at any time after M_DATA_READY, also unasked when the
 * body can't be taken (M_BODY_FILE without space): then the transaction is over
 * with that reply, and what front still sends for it is ignored.
 *
 * Log:
 *	ev=accepted qid= sid= user= how= client= from= size= rcpts=
 *		the message is on disk and the client gets 250
 *	ev=discarded qid= sid= user= from= rcpt=
 *		accepted, but a DISCARD of the access map throws it away
 *	ev=refused qid= sid= error=
 *		not accepted; the client gets 4xx (warning)
 *	ev=not-allowed sid= front= asked=
 *		a front asked for what nobody allowed (warning)
 *	ev=sessions front= error=
 *		auth granted more sessions of a front than are kept (warning)
 *	ev=space free= needed=
 *		submissions are refused for lack of disk space (warning)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "queue.h"

enum { WARN_EVERY_MS = 10 * 1000 };
#define SPACE_SHARE_MAX ((uint64_t)1024 * 1024 * 1024)

static bool
may_warn(int64_t *last_ms)
{
	int64_t now = queue_now_ms();

	if (now - *last_ms < WARN_EVERY_MS)
		return false;
	*last_ms = now;
	return true;
}

/* ---- sessions ---- */

static struct queue_sessions *
bucket(struct queue *q, uint64_t sid)
{
	return &q->sessions[(sid * 0x9e3779b97f4a7c15u) >> 54];
}

static struct queue_session *
find_session(struct queue *q, uint64_t sid)
{
	struct queue_session *s;

	LIST_FOREACH(s, bucket(q, sid), link)
	if (s->sid == sid)
		return s;
	return NULL;
}

static void
envelope_free(struct queue_envelope **ep)
{
	struct queue_envelope *e = *ep;
	size_t i;

	*ep = NULL;
	if (e == NULL)
		return;
	for (i = 0; i < e->nrcpt; i++) {
		free(e->rcpt[i].address);
		free(e->rcpt[i].note);
		free(e->rcpt[i].orcpt);
	}
	queue_decisions_clear(&e->decisions);
	queue_quota_release(e);
	free(e->rcpt);
	free(e->from);
	free(e->envid);
	free(e->auth);
	free(e);
}

static void
grant_clear(struct queue_grant *g)
{
	queue_quota_part(g);
	free(g->user);
	free(g->how);
	free(g->client_addr);
	*g = (struct queue_grant){ 0 };
}

/* The transaction ends without a message. */
static void
txn_abort(struct queue *q, struct queue_session *s)
{
	if (s->open == NULL)
		return;
	if (s->open->in_file)
		mailq_body_discard(q->mq, s->open->qid);
	envelope_free(&s->open->env);
	free(s->open);
	s->open = NULL;
}

static void
session_free(struct queue *q, struct queue_session *s)
{
	struct queue_peer *front =
	    queue_find_peer(q, ROLE_FRONT, sid_instance(s->sid));

	txn_abort(q, s);
	envelope_free(&s->next);
	grant_clear(&s->grant);
	LIST_REMOVE(s, link);
	q->nsessions--;
	if (front != NULL && front->sessions > 0)
		front->sessions--;
	free(s);
}

static bool
front_is_gone(const struct queue *q, uint32_t instance)
{
	size_t i;

	for (i = 0; i < q->ngone_fronts; i++)
		if (q->gone_fronts[i] == instance)
			return true;
	return false;
}

void
queue_front_gone(struct queue *q, uint32_t instance)
{
	struct queue_session *s, *next;
	size_t i;

	for (i = 0; i < QUEUE_BUCKETS; i++) {
		for (s = LIST_FIRST(&q->sessions[i]); s != NULL; s = next) {
			next = LIST_NEXT(s, link);
			if (sid_instance(s->sid) == instance)
				session_free(q, s);
		}
	}
	/* An auth may still grant something to it. */
	q->gone_fronts = xrealloc(
	    q->gone_fronts, (q->ngone_fronts + 1) * sizeof(*q->gone_fronts));
	q->gone_fronts[q->ngone_fronts++] = instance;
}

void
queue_sessions_clear(struct queue *q)
{
	size_t i;

	for (i = 0; i < QUEUE_BUCKETS; i++)
		while (!LIST_EMPTY(&q->sessions[i]))
			session_free(q, LIST_FIRST(&q->sessions[i]));
}

bool
queue_has_open_txn(const struct queue *q)
{
	const struct queue_session *s;
	size_t i;

	for (i = 0; i < QUEUE_BUCKETS; i++)
		LIST_FOREACH(s, &q->sessions[i], link)
	if (s->open != NULL)
		return true;
	return false;
}

/* The session a front's message is about, NULL if it has no say over it. */
static struct queue_session *
session_of(const struct queue_peer *front, const struct ipc_in *in)
{
	if (sid_instance(in->sid) == front->instance)
		return find_session(front->q, in->sid);
	ipc_reject(front->ipc, "session id of another");
	return NULL;
}

static void
on_session_close(struct ipc *ipc, const struct ipc_in *in)
{
	struct queue_peer *p = ipc_arg(ipc);
	struct queue_session *s = p->role == ROLE_FRONT
	    ? session_of(p, in)
	    : find_session(p->q, in->sid);

	queue_login_closed(p->q, in->sid);
	if (s == NULL)
		return;
	session_free(p->q, s);
	queue_leave_if_done(p->q);
}

/* ---- from auth ---- */

/* The session, made if need be; NULL when its front is gone or has too many. */
static struct queue_session *
need_session(struct queue *q, uint64_t sid)
{
	static int64_t warned_ms;
	struct queue_session *s = find_session(q, sid);
	struct queue_peer *front;

	if (s != NULL)
		return s;
	if (front_is_gone(q, sid_instance(sid)))
		return NULL;
	front = queue_find_peer(q, ROLE_FRONT, sid_instance(sid));
	if (front != NULL && front->sessions >= QUEUE_SESSIONS_MAX) {
		if (may_warn(&warned_ms))
			log_warn("sessions", "front=%u error=%s",
			    front->instance, "too many sessions");
		return NULL;
	}
	s = xcalloc(1, sizeof(*s));
	s->sid = sid;
	LIST_INSERT_HEAD(bucket(q, sid), s, link);
	q->nsessions++;
	if (front != NULL)
		front->sessions++;
	return s;
}

struct queue_envelope *
queue_envelope_of(struct queue *q, uint64_t sid, uint32_t txn)
{
	struct queue_session *s = find_session(q, sid);

	if (s != NULL && s->next != NULL && s->next->txn == txn)
		return s->next;
	if (s != NULL && s->open != NULL && s->open->env->txn == txn)
		return s->open->env;
	return NULL;
}

static void
on_grant(struct ipc *ipc, const struct ipc_in *in)
{
	const struct queue_peer *p = ipc_arg(ipc);
	const struct m_grant *m = &in->m->grant;
	struct queue_session *s = need_session(p->q, in->sid);

	if (s == NULL)
		return;
	grant_clear(&s->grant);
	s->grant = (struct queue_grant){
		.user_id = m->user_id > 0 ? m->user_id : 0,
		.user = xstrdup(m->user),
		.how = xstrdup(m->how),
		.client_addr = xstrdup(m->client_addr),
	};
	queue_quota_join(p->q, &s->grant, m);
}

static void
on_envelope(struct ipc *ipc, const struct ipc_in *in)
{
	const struct queue_peer *p = ipc_arg(ipc);
	const struct m_envelope *m = &in->m->envelope;
	struct queue_session *s = need_session(p->q, in->sid);

	if (s == NULL)
		return;
	envelope_free(&s->next);
	s->next = xcalloc(1, sizeof(*s->next));
	s->next->txn = m->txn;
	s->next->from = xstrdup(m->from);
	s->next->envid = xstrdup(m->opt.envid);
	s->next->opt = m->opt;
	s->next->opt.envid = s->next->envid;
	s->next->auth = xstrdup(m->opt.auth);
	s->next->opt.auth = s->next->auth;
	s->next->check_headers = m->headers != 0;
	TAILQ_INIT(&s->next->decisions);
}

static void
on_envelope_rcpt(struct ipc *ipc, const struct ipc_in *in)
{
	const struct queue_peer *p = ipc_arg(ipc);
	const struct m_envelope_rcpt *m = &in->m->envelope_rcpt;
	struct queue_session *s = find_session(p->q, in->sid);
	struct queue_envelope *e = s != NULL ? s->next : NULL;

	if (e == NULL || e->txn != m->txn)
		return; /* of a transaction that is over */
	if (e->nrcpt == QUEUE_RCPTS_MAX) {
		e->refused = true;
		return;
	}
	if (e->nrcpt == e->size) {
		e->size = e->size > 0 ? e->size * 2 : 4;
		e->rcpt = xrealloc(e->rcpt, e->size * sizeof(*e->rcpt));
	}
	e->rcpt[e->nrcpt++] = (struct queue_rcpt){
		.address = xstrdup(m->to),
		.note = m->note[0] != '\0' ? xstrdup(m->note) : NULL,
		.orcpt =
		    m->opt.orcpt[0] != '\0' ? xstrdup(m->opt.orcpt) : NULL,
		.notify = m->opt.notify,
		.flags = m->flags,
	};
}

static void
on_headers_ok(struct ipc *ipc, const struct ipc_in *in)
{
	const struct queue_peer *p = ipc_arg(ipc);
	struct queue_envelope *e =
	    queue_envelope_of(p->q, in->sid, in->m->txn.txn);

	if (e != NULL)
		e->headers_ok = true;
}

const struct ipc_rule queue_auth_rules[] = {
	{ M_GRANT, on_grant },
	{ M_ENVELOPE, on_envelope },
	{ M_ENVELOPE_RCPT, on_envelope_rcpt },
	{ M_HEADERS_OK, on_headers_ok },
	{ M_DECISION, queue_on_decision },
	{ M_ALARM, queue_on_alarm },
	{ M_THROTTLE_ASK, queue_on_throttle_ask },
	{ M_AUTH_SEEN, queue_on_auth_seen },
	{ M_SESSION_CLOSE, on_session_close },
	{ 0, NULL },
};

/* ---- from front ---- */

void
queue_read_auths(struct queue *q)
{
	struct queue_peer *p, *next;

	/* Draining one may remove it, but no other. */
	for (p = TAILQ_FIRST(&q->peers); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->role == ROLE_AUTH)
			ipc_drain(p->ipc);
	}
}

/* The session has all that front was told of this transaction. */
static bool
is_complete(const struct queue_session *s, const struct m_data_open *m)
{
	return s != NULL && s->grant.user != NULL && s->next != NULL &&
	    s->next->txn == m->txn && s->next->nrcpt == m->rcpts &&
	    !s->next->refused;
}

/* The session, when all that auth has said of it was read. */
static struct queue_session *
complete_session(const struct queue_peer *front, const struct ipc_in *in)
{
	const struct m_data_open *m = &in->m->data_open;
	struct queue_session *s = session_of(front, in);
	struct queue *q = front->q;

	if (is_complete(s, m) || sid_instance(in->sid) != front->instance)
		return s;
	queue_read_auths(q);
	s = find_session(q, in->sid);
	if (is_complete(s, m) || q->setup->parent == NULL)
		return s;
	/* The auth that allowed it may be so new that parent's word of it is
	 * still to be read. */
	ipc_drain(q->setup->parent);
	queue_read_auths(q);
	return find_session(q, in->sid);
}

static void
not_allowed(const struct queue_peer *front, uint64_t sid, const char *asked)
{
	static int64_t warned_ms;

	if (may_warn(&warned_ms))
		log_event(LOG_WARNING, sid, 0, "not-allowed",
		    "front=%u asked=%s", front->instance, asked);
}

/* Free bytes that mail must leave: a message, or a part of the disk. */
static uint64_t
reserve(const struct queue *q, uint64_t total)
{
	uint64_t message = (uint64_t)q->setup->conf.max_message_size;
	uint64_t share = total / 20;

	if (share > SPACE_SHARE_MAX)
		share = SPACE_SHARE_MAX;
	return message > share ? message : share;
}

static bool
has_space(struct queue *q)
{
	static int64_t warned_ms;
	struct mailq_space space;
	uint64_t need;

	if (mailq_has_plenty(q->mq, reserve(q, UINT64_MAX)))
		return true;
	if (mailq_space(q->mq, &space) != MAILQ_OK)
		return false;
	need = reserve(q, space.total);
	if (space.rows >= need)
		return true;
	if (may_warn(&warned_ms))
		log_warn("space", "free=%lu needed=%lu",
		    (unsigned long)space.rows, (unsigned long)need);
	return false;
}

/*
 * Space within the database is none for a body in a file. What others write at
 * the same time counts too: so it is asked again when the file is complete.
 */
static bool
has_space_for_file(struct queue *q)
{
	static int64_t warned_ms;
	struct mailq_space space;

	if (mailq_has_plenty(q->mq, 0))
		return true;
	if (mailq_space(q->mq, &space) != MAILQ_OK)
		return false;
	if (space.files > 0)
		return true;
	if (may_warn(&warned_ms))
		log_warn("space", "free=0 needed=1");
	return false;
}

static enum smtp_reply
open_txn(const struct queue_peer *p, struct queue_session *s,
    const struct ipc_in *in, struct queue_refusal *r)
{
	const struct m_data_open *m = &in->m->data_open;

	if (p->q->draining)
		return R_QUEUE_DOWN;
	if (!is_complete(s, m) || m->rcpts == 0 || s->open != NULL) {
		not_allowed(p, in->sid, proto_name(in->type));
		return R_TEMP;
	}
	if (!has_space(p->q))
		return R_NO_SPACE;
	if (!queue_quota_open(p->q, s, r))
		return r->reply;
	s->open = xcalloc(1, sizeof(*s->open));
	s->open->env = s->next;
	s->open->qid = queue_new_qid(p->q);
	s->open->max_size = queue_quota_size(&s->grant);
	s->next = NULL;
	return R_DATA_GO;
}

static void
on_data_open(struct ipc *ipc, const struct ipc_in *in)
{
	struct queue_peer *p = ipc_arg(ipc);
	struct queue_session *s = complete_session(p, in);
	struct queue_refusal r = { .text = "" };
	struct m_data_ready m = { .txn = in->m->data_open.txn,
		.text = r.text };

	m.reply = open_txn(p, s, in, &r);
	if (m.reply == R_DATA_GO) {
		m.qid = s->open->qid;
		m.max_size = s->open->max_size;
	}
	ipc_send(p->ipc, M_DATA_READY, in->sid, &m);
}

static void
answer(struct queue *q, uint64_t sid, uint32_t txn, enum smtp_reply reply,
    uint64_t qid)
{
	struct m_submitted m = { .txn = txn, .reply = reply, .qid = qid };
	struct queue_peer *p =
	    queue_find_peer(q, ROLE_FRONT, sid_instance(sid));

	if (p != NULL) /* else nobody is left to tell */
		ipc_send(p->ipc, M_SUBMITTED, sid, &m);
}

/* The open transaction that a message names, or NULL. */
static struct queue_txn *
open_of(struct queue_session *s, uint32_t txn)
{
	return s != NULL && s->open != NULL && s->open->env->txn == txn
	    ? s->open
	    : NULL;
}

static enum smtp_reply
reply_of(enum mailq_rc rc)
{
	return rc == MAILQ_OK  ? R_QUEUED
	    : rc == MAILQ_FULL ? R_NO_SPACE
			       : R_TEMP;
}

static void
on_body_file(struct ipc *ipc, const struct ipc_in *in)
{
	struct queue_peer *p = ipc_arg(ipc);
	struct queue_session *s = session_of(p, in);
	struct queue_txn *t = open_of(s, in->m->txn.txn);
	enum mailq_rc rc;
	int fd;

	if (t == NULL || t->in_file) {
		not_allowed(p, in->sid, proto_name(in->type));
		answer(p->q, in->sid, in->m->txn.txn, R_TEMP, 0);
		return;
	}
	if (!has_space_for_file(p->q)) {
		txn_abort(p->q, s);
		answer(p->q, in->sid, in->m->txn.txn, R_NO_SPACE, 0);
		return;
	}
	rc = mailq_body_create(p->q->mq, t->qid, &fd);
	if (rc == MAILQ_OK) {
		t->in_file = true;
		ipc_send_fd(p->ipc, M_BODY_FD, in->sid, &in->m->txn, fd);
		close(fd);
		return;
	}
	log_event(LOG_WARNING, in->sid, t->qid, "refused", "error=%s",
	    mailq_errtext(p->q->mq));
	txn_abort(p->q, s);
	answer(p->q, in->sid, in->m->txn.txn, reply_of(rc), 0);
}

static void
on_data_abort(struct ipc *ipc, const struct ipc_in *in)
{
	struct queue_peer *p = ipc_arg(ipc);
	struct queue_session *s = session_of(p, in);

	if (open_of(s, in->m->txn.txn) != NULL)
		txn_abort(p->q, s);
	if (s != NULL && s->next != NULL && s->next->txn == in->m->txn.txn)
		envelope_free(&s->next);
	queue_leave_if_done(p->q);
}

static bool
is_sane(
    const struct queue *q, const struct queue_txn *t, const struct m_submit *m)
{
	uint64_t max = (uint64_t)q->setup->conf.max_message_size;

	if (t->max_size > 0 && t->max_size < max)
		max = t->max_size;
	if (m->size > max + CONF_HEADER_SLACK ||
	    (m->in_file != 0) != t->in_file)
		return false;
	return m->in_file ? m->body.len == 0 : m->body.len == m->size;
}

/* Whether its header may name the authors that it names. */
static bool
is_approved(const struct queue_envelope *e, const struct m_submit *m)
{
	return !e->check_headers || e->headers_ok ||
	    (m->own_author && e->from[0] != '\0');
}

/* The session that submits, when auth's word on the header was read. */
static struct queue_session *
submitting_session(const struct queue_peer *front, const struct ipc_in *in)
{
	const struct m_submit *m = &in->m->submit;
	struct queue_session *s = session_of(front, in);
	const struct queue_txn *t = open_of(s, m->txn);

	if (t == NULL || is_approved(t->env, m))
		return s;
	queue_read_auths(front->q); /* which may end the session, too */
	return find_session(front->q, in->sid);
}

static bool
all_discarded(const struct queue_envelope *e)
{
	size_t i;

	for (i = 0; i < e->nrcpt; i++)
		if ((e->rcpt[i].flags & ENVELOPE_DISCARD) == 0)
			return false;
	return true;
}

static struct queue_submission *
submission_new(
    struct queue *q, struct queue_session *s, const struct m_submit *m)
{
	struct queue_submission *sub = xcalloc(1, sizeof(*sub));

	sub->sid = s->sid;
	sub->txn = m->txn;
	sub->qid = s->open->qid;
	sub->size = m->size;
	sub->body = m->body_kind;
	sub->in_file = m->in_file != 0;
	if (!sub->in_file && m->body.len > 0) {
		sub->data = xmalloc(m->body.len);
		memcpy(sub->data, m->body.p, m->body.len);
	}
	sub->env = s->open->env;
	sub->grant = (struct queue_grant){
		.user_id = s->grant.user_id,
		.user = xstrdup(s->grant.user),
		.how = xstrdup(s->grant.how),
		.client_addr = xstrdup(s->grant.client_addr),
	};
	sub->arrived_ms = queue_now_ms();
	queue_again_key(q, sub, m);
	free(s->open);
	s->open = NULL;
	return sub;
}

static void
on_submit(struct ipc *ipc, const struct ipc_in *in)
{
	struct queue_peer *p = ipc_arg(ipc);
	const struct m_submit *m = &in->m->submit;
	struct queue_session *s = submitting_session(p, in);
	struct queue_txn *t = open_of(s, m->txn);
	struct queue_submission *sub;

	if (t == NULL || !is_sane(p->q, t, m) || !is_approved(t->env, m)) {
		not_allowed(p, in->sid, proto_name(in->type));
		if (t != NULL)
			txn_abort(p->q, s);
		answer(p->q, in->sid, m->txn, R_TEMP, 0);
		return;
	}
	if (t->in_file && !has_space_for_file(p->q)) {
		txn_abort(p->q, s);
		answer(p->q, in->sid, m->txn, R_NO_SPACE, 0);
		return;
	}
	sub = submission_new(p->q, s, m);
	if (all_discarded(sub->env)) {
		if (sub->in_file)
			mailq_body_discard(p->q->mq, sub->qid);
		queue_decisions_discarded(p->q, sub);
		queue_submission_end(p->q, &sub, MAILQ_OK);
		return;
	}
	queue_commit_submission(p->q, sub);
}

const struct ipc_rule queue_front_rules[] = {
	{ M_DATA_OPEN, on_data_open },
	{ M_BODY_FILE, on_body_file },
	{ M_SUBMIT, on_submit },
	{ M_DATA_ABORT, on_data_abort },
	{ M_SESSION_CLOSE, on_session_close },
	{ 0, NULL },
};

/* ---- in the commit group ---- */

/* Its time to live begins when it may be sent (RFC 4865 section 4.1). */
static int64_t
first_try(const struct queue_submission *s)
{
	int64_t hold = s->env->opt.hold_ms;

	return hold > s->arrived_ms ? hold : s->arrived_ms;
}

static size_t
recipients_of(const struct queue_submission *s, struct mailq_rcpt *out)
{
	const struct queue_rcpt *r;
	size_t i, n = 0;

	for (i = 0; i < s->env->nrcpt; i++) {
		r = &s->env->rcpt[i];
		if ((r->flags & ENVELOPE_DISCARD) != 0)
			continue;
		out[n++] = (struct mailq_rcpt){
			.address = r->address,
			.state = (r->flags & ENVELOPE_HOLD) != 0 ||
				s->note != NULL
			    ? MAILQ_HELD
			    : MAILQ_WAITING,
			.next_ms = first_try(s),
			.text = s->note != NULL ? s->note : r->note,
			.opt = { r->notify, r->orcpt },
		};
	}
	return n;
}

static struct mailq_msg
message_of(const struct queue_submission *s)
{
	int64_t begin_ms = first_try(s);
	struct mailq_msg m = {
		.qid = s->qid,
		.sid = s->sid,
		.user_id = s->grant.user_id,
		.user = s->grant.user,
		.how = s->grant.how,
		.client_addr = s->grant.client_addr,
		.from = s->env->from,
		.opt = s->env->opt,
		.in_file = s->in_file,
		.size = s->size,
		.arrived_ms = s->arrived_ms,
		.since_ms = begin_ms,
		.again = s->has_key ? s->key : NULL,
	};

	m.opt.body = s->body; /* what it holds, whatever was declared */
	return m;
}

enum mailq_rc
queue_submission_apply(struct queue *q, struct queue_submission *s)
{
	struct mailq_msg m = message_of(s);
	struct mailq_rcpt *r;
	enum mailq_rc rc;

	if ((rc = queue_again_find(q, s)) != MAILQ_OK || s->first_qid != 0)
		return rc;
	queue_quota_judge(q, s);
	r = xcalloc(s->env->nrcpt, sizeof(*r));
	rc = mailq_add(q->mq, &m, s->data, r, recipients_of(s, r));
	free(r);
	if (rc == MAILQ_OK && (rc = queue_quota_apply(q, s)) == MAILQ_OK)
		rc = queue_decisions_apply(q, s);
	if (rc != MAILQ_OK) /* the next one of the group is judged without it */
		queue_quota_undo(q, s);
	return rc;
}

static void
send_it(struct queue *q, const struct queue_submission *s)
{
	struct mailq_msg m = message_of(s);
	struct mailq_rcpt *r = xcalloc(s->env->nrcpt, sizeof(*r));
	size_t n = recipients_of(s, r);

	if (n > 0) /* else it was thrown away */
		queue_send_new(q, &m, r, n, s->data);
	if (n > 0 && m.opt.by_mode != BY_NONE)
		queue_sweep_by(q, m.opt.by_ms);
	free(r);
}

static void
log_accepted(const struct queue_submission *s)
{
	size_t i;

	log_event(LOG_INFO, s->sid, s->qid, "accepted",
	    "user=%s how=%s client=%s from=%s size=%lu rcpts=%zu",
	    s->grant.user, s->grant.how, s->grant.client_addr, s->env->from,
	    (unsigned long)s->size, s->env->nrcpt);
	for (i = 0; i < s->env->nrcpt; i++)
		if ((s->env->rcpt[i].flags & ENVELOPE_DISCARD) != 0)
			log_event(LOG_INFO, s->sid, s->qid, "discarded",
			    "user=%s from=%s rcpt=%s", s->grant.user,
			    s->env->from, s->env->rcpt[i].address);
}

void
queue_submission_answer(
    struct queue *q, struct queue_submission *s, enum mailq_rc rc)
{
	s->answered = true;
	if (rc != MAILQ_OK)
		answer(q, s->sid, s->txn, reply_of(rc), 0);
	else
		answer(q, s->sid, s->txn, R_QUEUED,
		    s->first_qid != 0 ? s->first_qid : s->qid);
}

void
queue_submission_end(
    struct queue *q, struct queue_submission **sp, enum mailq_rc rc)
{
	struct queue_submission *s = *sp;

	*sp = NULL;
	if (rc != MAILQ_OK)
		queue_quota_undo(q, s);
	if (s->in_file && (rc != MAILQ_OK || s->first_qid != 0))
		mailq_body_discard(q->mq, s->qid); /* if it has its old name */
	if (!s->answered)
		queue_submission_answer(q, s, rc);
	if (rc == MAILQ_OK && s->first_qid != 0)
		queue_again_log(s);
	else if (rc == MAILQ_OK) {
		log_accepted(s);
		queue_quota_end(s);
		send_it(q, s);
	}
	envelope_free(&s->env);
	grant_clear(&s->grant);
	free(s->data);
	free(s->note);
	free(s);
}
