/*
 * The history of decisions, as auth tells it; those about the smarthost come
 * with the results of relay, if they keep mail back.
 *
 * What accepts mail waits with the envelope and is stored in queue.db, in the
 * transaction of the message.  Everything else goes to history.db, which is
 * committed at most once a second and never synced: strangers can't buy disk
 * syncs by being refused, and what is kept in a second is bounded, too.  Both are kept to a
 * number of rows and an age (history_rows, history_age).
 *
 * Asked over the control socket (control.h):
 *
 *	history.list {"sid":HEX, "qid":HEX, "user":, "addr":, "refused":true,
 *	    "since_s":seconds, "n":number}
 *
 * All are optional; an item for each of the newest n, the oldest first: at,
 * sid, qid, phase, result, why, code, esc, text, user, device, how, addr,
 * name, verify, bits, cn, subject, issuer, from, to, also_to (an array: other
 * recipients of the message that were decided alike), also_more (how many more
 * of them there were), key, ladder (an array of rule, met, key, value).  What
 * there is not is null; without TLS bits is 0.
 *
 * Log:
 *	ev=history lost= error=		decisions that were not kept (warning)
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "auth/policy.h"
#include "control.h"
#include "facts.h"
#include "ladder.h"
#include "log.h"
#include "mem.h"
#include "queue.h"
#include "rcptlist.h"
#include "ruled.h"
#include "store/history.h"

enum {
	SECOND_MS = 1000,
	SECOND_US = 1000000,
	KEPT_MAX = 4096,      /* in one second, of history.db */
	PRUNE_STEPS = 8,      /* at one time, each of DECISION_STEP rows */
	PRUNE_AFTER = 1000,   /* rows added */
	PRUNE_MS = 60 * 1000, /* without those */
	LIST_DEFAULT = 50,
	LIST_MAX = 1000,
};

/* ---- a decision in memory ---- */

static const char *
phase_name(uint8_t phase)
{
	static const char *const names[] = {
		[DECISION_CONNECT] = "connect",
		[DECISION_TLS] = "tls",
		[DECISION_AUTH] = "auth",
		[DECISION_MAIL] = "mail",
		[DECISION_RCPT] = "rcpt",
		[DECISION_HEADERS] = "headers",
	};

	return names[phase];
}

static bool
is_refused(uint8_t result)
{
	return result == POLICY_REFUSE_PERM || result == POLICY_REFUSE_TEMP;
}

/* No two at the same time, so that they stay in order. */
static int64_t
next_us(struct queue *q)
{
	struct timespec ts;
	int64_t now;

	clock_gettime(CLOCK_REALTIME, &ts);
	now = (int64_t)ts.tv_sec * SECOND_US + ts.tv_nsec / 1000;
	q->decided_us = now > q->decided_us || now < q->decided_us - SECOND_US
	    ? now
	    : q->decided_us + 1;
	return q->decided_us;
}

static void
decision_of(struct queue *q, const struct m_decision *m, uint64_t sid,
    struct decision *d)
{
	*d = (struct decision){
		.at_us = next_us(q),
		.sid = sid,
		.phase = phase_name(m->phase),
		.result = policy_decision_name((enum policy_decision)m->result),
		.why = m->why,
		.code = m->code,
		.esc = m->esc,
		.text = m->text,
		.user = m->user,
		.device = m->device,
		.how = m->how,
		.client_addr = m->client_addr,
		.client_name = m->client_name,
		.verify = m->verify,
		.bits = m->bits,
		.cn = m->cn,
		.subject = m->subject,
		.issuer = m->issuer,
		.sender = m->sender,
		.rcpt = m->rcpt,
		.key = m->key,
		.ladder = m->ladder,
	};
}

/* One block: the struct, and behind it its strings; phase and result are
 * constants. */
static struct queue_decision *
copy(const struct decision *d)
{
	const char *const *from[] = { &d->why, &d->esc, &d->text, &d->user,
		&d->how, &d->client_addr, &d->client_name, &d->verify, &d->cn,
		&d->subject, &d->issuer, &d->sender, &d->rcpt, &d->key,
		&d->ladder };
	struct queue_decision *c;
	size_t i, len, size = sizeof(*c);
	char *p;

	for (i = 0; i < sizeof(from) / sizeof(from[0]); i++)
		size += strlen(*from[i]) + 1;
	c = xmalloc(size);
	*c = (struct queue_decision){ .d = *d };
	p = (char *)(c + 1);
	for (i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		const char **to = (const char **)((char *)&c->d +
		    ((const char *)from[i] - (const char *)d));

		len = strlen(*from[i]) + 1;
		memcpy(p, *from[i], len);
		*to = p;
		p += len;
	}
	return c;
}

void
queue_decisions_clear(struct queue_decisions *l)
{
	struct queue_decision *c;

	while ((c = TAILQ_FIRST(l)) != NULL) {
		TAILQ_REMOVE(l, c, link);
		free(c->rcpts);
		free(c);
	}
}

/* ---- writing ---- */

static int64_t
oldest_kept(const struct queue *q)
{
	return (queue_now_ms() - q->setup->conf.history_age) * 1000;
}

/* So many in one second, and no more. */
static bool
has_room(struct queue *q)
{
	int64_t now = queue_now_ms();

	if (now >= q->kept_ms && now - q->kept_ms < SECOND_MS) {
		if (q->nkept < KEPT_MAX) {
			q->nkept++;
			return true;
		}
		q->nlost++;
		return false;
	}
	if (q->nlost > 0)
		log_warn("history", "lost=%u error=%s", q->nlost,
		    "too many decisions in one second");
	q->kept_ms = now;
	q->nkept = 1;
	q->nlost = 0;
	return true;
}

static int
prune_history(struct queue *q, struct history *h)
{
	bool more = true;
	int i;

	for (i = 0; i < PRUNE_STEPS && more; i++)
		if (history_decisions_prune(h, oldest_kept(q),
			q->setup->conf.history_rows, &more) == -1)
			return -1;
	return 0;
}

static void
keep(struct queue *q, const struct decision *d)
{
	struct history *h;

	if (!has_room(q) || (h = queue_history_begin(q)) == NULL)
		return;
	if (history_decision_add(h, d) == -1 ||
	    (++q->nhistory % PRUNE_AFTER == 0 && prune_history(q, h) == -1))
		queue_history_failed(q);
}

void
queue_on_decision(struct ipc *ipc, const struct ipc_in *in)
{
	const struct queue_peer *p = ipc_arg(ipc);
	const struct m_decision *m = &in->m->decision;
	struct queue_decision *c;
	struct queue_envelope *e;
	struct decision d;

	decision_of(p->q, m, in->sid, &d);
	if (is_refused(m->result) || m->txn == 0) {
		keep(p->q, &d);
		return;
	}
	e = queue_envelope_of(p->q, in->sid, m->txn);
	if (e == NULL)
		return;
	if (e->ndecisions >= QUEUE_DECISIONS_MAX &&
	    m->phase != DECISION_HEADERS) {
		if (!e->untold)
			e->told = e->nrcpt;
		e->untold = true;
		return;
	}
	c = copy(&d);
	c->of_rcpt = m->phase == DECISION_RCPT;
	c->first = e->nrcpt; /* it comes before its recipient */
	TAILQ_INSERT_TAIL(&e->decisions, c, link);
	e->ndecisions++;
}

/* "name[address]:port" */
static void
split_mta(const char *mta, char *name, char *addr, size_t size)
{
	size_t n = strcspn(mta, "[");

	snprintf(name, size, "%.*s", (int)n, mta);
	mta += n + (mta[n] == '[');
	snprintf(addr, size, "%.*s", (int)strcspn(mta, "]"), mta);
}

static bool
is_of_relay(const char *rule)
{
	static const enum policy_rule rules[] = { POLICY_RULE_TRY_TLS,
		POLICY_RULE_TLS_SRV, POLICY_RULE_TLS_RCPT };
	size_t i;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (strcmp(rule, policy_rule_name(rules[i])) == 0)
			return true;
	return false;
}

void
queue_decision_ruled(struct queue *q, const struct mailq_mail *mail,
    const struct mailq_rcpt *to, const struct m_job_result *m)
{
	static struct ruled r; /* large */
	char name[256], addr[256];
	enum policy_decision result = m->result == RESULT_FAILED
	    ? POLICY_REFUSE_PERM
	    : POLICY_REFUSE_TEMP;
	struct decision d;

	if (strcmp(to->text, m->text) == 0 || ruled_parse(m->ruled, &r) == -1 ||
	    !is_of_relay(r.last.rule))
		return;
	split_mta(m->mta, name, addr, sizeof(name));
	d = (struct decision){
		.at_us = next_us(q),
		.sid = mail->msg.sid,
		.qid = mail->msg.qid,
		.phase = r.last.rule,
		.result = policy_decision_name(result),
		.why = r.why,
		.esc = m->esc,
		.text = m->text,
		.user = mail->msg.user,
		.how = "",
		.client_addr = addr,
		.client_name = name,
		.verify = r.verify,
		.bits = r.bits,
		.cn = r.cn,
		.subject = r.subject,
		.issuer = r.issuer,
		.sender = mail->msg.from,
		.rcpt = to->address,
		.key = r.last.key,
		.ladder = r.ladder,
	};
	keep(q, &d);
}

void
queue_decision_limit(struct queue *q, const struct queue_session *s,
    int64_t device, bool suspended, const struct facts_reply_said *said)
{
	const struct decision d = {
		.at_us = next_us(q),
		.sid = s->sid,
		.phase = "data",
		.result = policy_decision_name(said->code >= 500
			? POLICY_REFUSE_PERM
			: POLICY_REFUSE_TEMP),
		.why = policy_why_name(
		    suspended ? POLICY_WHY_SUSPENDED : POLICY_WHY_LIMIT),
		.code = said->code,
		.esc = said->esc,
		.text = said->text,
		.user = s->grant.user,
		.device = device,
		.how = s->grant.how,
		.client_addr = s->grant.client_addr,
		.client_name = "",
		.verify = "",
		.cn = "",
		.subject = "",
		.issuer = "",
		.sender = s->next->from,
		.rcpt = "",
		.key = "",
		.ladder = "",
	};

	keep(q, &d);
}

/* Up to the first recipient of the next decision. */
static void
name_rcpts(const struct queue_envelope *e, struct queue_decision *c)
{
	const struct queue_decision *next = TAILQ_NEXT(c, link);
	size_t end = e->untold ? e->told : e->nrcpt, i;
	struct buf list = { 0 };

	while (next != NULL && !next->of_rcpt)
		next = TAILQ_NEXT(next, link);
	if (next != NULL)
		end = next->first;
	if (!c->of_rcpt || c->rcpts != NULL || c->first + 1 >= end)
		return; /* that is said already */
	for (i = c->first; i < end; i++)
		if (!rcptlist_add(&list, e->rcpt[i].address))
			break;
	rcptlist_end(&list, end - i);
	c->d.rcpt = c->rcpts = (char *)buf_head(&list);
}

enum mailq_rc
queue_decisions_apply(struct queue *q, const struct queue_submission *s)
{
	struct queue_decision *c;
	enum mailq_rc rc;

	TAILQ_FOREACH(c, &s->env->decisions, link) {
		c->d.qid = s->qid;
		name_rcpts(s->env, c);
		rc = mailq_decision_add(q->mq, &c->d);
		/* one that can't be stored is no reason to refuse the mail,
		 * which is in the transaction already */
		if (rc != MAILQ_OK && rc != MAILQ_INVALID)
			return rc;
		q->nadded++;
	}
	return MAILQ_OK;
}

/* Some of the oldest go; *any: there was one. */
static enum mailq_rc
prune_queue(struct queue *q, bool *any)
{
	enum mailq_rc rc = MAILQ_OK;
	bool more = true;
	int i;

	*any = false;
	for (i = 0; i < PRUNE_STEPS && more && rc == MAILQ_OK; i++) {
		rc = mailq_decisions_prune(
		    q->mq, oldest_kept(q), q->setup->conf.history_rows, &more);
		*any |= rc == MAILQ_OK && more;
	}
	return rc;
}

enum mailq_rc
queue_decisions_prune(struct queue *q)
{
	bool any;

	if (q->nadded < PRUNE_AFTER)
		return MAILQ_OK;
	q->nadded = 0;
	return prune_queue(q, &any);
}

void
queue_decisions_discarded(struct queue *q, const struct queue_submission *s)
{
	struct queue_decision *c;

	TAILQ_FOREACH(c, &s->env->decisions, link) {
		c->d.qid = s->qid;
		name_rcpts(s->env, c);
		keep(q, &c->d);
	}
}

/* ---- time ---- */

/* Without traffic only age makes rows go. */
static void
on_prune(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;
	struct history *h = queue_history_begin(q);
	bool any = false, again = false, quota = false;

	(void)fd, (void)what;
	if (h != NULL && prune_history(q, h) == -1)
		queue_history_failed(q);
	if (mailq_begin(q->mq) == MAILQ_OK) {
		if (prune_queue(q, &any) == MAILQ_OK &&
		    queue_again_prune(q, &again) == MAILQ_OK &&
		    queue_quota_prune(q, &quota) == MAILQ_OK &&
		    (any || again || quota) && mailq_commit(q->mq) == MAILQ_OK)
			queue_quota_saved(q);
		else
			mailq_rollback(q->mq);
	}
	queue_arm(q->ev_prune, PRUNE_MS);
}

void
queue_history_start(struct queue *q)
{
	q->ev_prune = event_new(q->setup->base, -1, 0, on_prune, q);
	queue_arm(q->ev_prune, 0);
}

void
queue_history_free(struct queue *q)
{
	if (q->ev_prune != NULL)
		event_free(q->ev_prune);
	q->ev_prune = NULL;
}

/* ---- history.list ---- */

enum source { FROM_QUEUE, FROM_HISTORY, SOURCES };

struct listing {
	struct decision_filter filter;
	char *user, *addr;
	size_t n; /* at most */
	enum source source;
	struct decision_walk walk;
	struct {
		json_t **item; /* the newest first */
		int64_t *at_us;
		size_t n;
	} found[SOURCES];
};

static void
listing_free(void *arg)
{
	struct listing *l = arg;
	size_t i;
	int s;

	for (s = 0; s < SOURCES; s++) {
		for (i = 0; i < l->found[s].n; i++)
			json_decref(l->found[s].item[i]);
		free(l->found[s].item);
		free(l->found[s].at_us);
	}
	free(l->user);
	free(l->addr);
	free(l);
}

/* What there is not is null, as in a dry run. */
static json_t *
text_or_null(const char *text)
{
	return text[0] != '\0' ? queue_json_text(text) : json_null();
}

static json_t *
number_or_null(int64_t number)
{
	return number != 0 ? json_integer(number) : json_null();
}

static json_t *
ladder_array(const char *ladder)
{
	json_t *a = json_array();
	struct ladder_step s;

	while ((ladder = ladder_next(ladder, &s)) != NULL) {
		json_t *o = json_object();

		json_object_set_new(o, "rule", queue_json_text(s.rule));
		json_object_set_new(o, "met", queue_json_text(s.met));
		json_object_set_new(o, "key", text_or_null(s.key));
		json_object_set_new(o, "value", text_or_null(s.value));
		json_array_append_new(a, o);
	}
	return a;
}

static void
set_rcpts(json_t *o, const char *list)
{
	json_t *others = json_array();
	size_t more;
	char *address = rcptlist_next(&list, &more);

	json_object_set_new(o, "to", text_or_null(str_of(address)));
	while (address != NULL) {
		free(address);
		if ((address = rcptlist_next(&list, &more)) != NULL)
			json_array_append_new(others, queue_json_text(address));
	}
	json_object_set_new(o, "also_to", others);
	json_object_set_new(o, "also_more", json_integer((json_int_t)more));
}

static json_t *
item_of(const struct decision *d)
{
	const struct {
		const char *key, *value;
	} texts[] = { { "phase", d->phase }, { "result", d->result },
		{ "why", d->why }, { "esc", d->esc }, { "text", d->text },
		{ "user", d->user }, { "how", d->how },
		{ "addr", d->client_addr }, { "name", d->client_name },
		{ "verify", d->verify }, { "cn", d->cn },
		{ "subject", d->subject }, { "issuer", d->issuer },
		{ "from", d->sender }, { "key", d->key } };
	json_t *o = json_object();
	size_t i;

	json_object_set_new(o, "at", queue_json_time(d->at_us / 1000));
	json_object_set_new(
	    o, "sid", json_sprintf("%016llx", (unsigned long long)d->sid));
	json_object_set_new(o, "qid",
	    d->qid != 0 ? json_sprintf("%013llx", (unsigned long long)d->qid)
			: json_null());
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		json_object_set_new(
		    o, texts[i].key, text_or_null(texts[i].value));
	set_rcpts(o, d->rcpt);
	json_object_set_new(o, "code", number_or_null(d->code));
	json_object_set_new(o, "device", number_or_null(d->device));
	json_object_set_new(o, "bits", json_integer(d->bits));
	json_object_set_new(o, "ladder", ladder_array(d->ladder));
	return o;
}

static void
note(void *arg, const struct decision *d)
{
	struct listing *l = arg;
	size_t n = l->found[l->source].n;

	if (n == l->n)
		return;
	l->found[l->source].item[n] = item_of(d);
	l->found[l->source].at_us[n] = d->at_us;
	l->found[l->source].n++;
}

/* Both lists together, the oldest first, without those too many. */
static void
send_listing(struct control_conn *c, struct listing *l)
{
	size_t a = l->found[FROM_QUEUE].n, b = l->found[FROM_HISTORY].n;
	size_t skip = a + b > l->n ? a + b - l->n : 0;
	bool first;

	while (a + b > 0) {
		first = b == 0 ||
		    (a > 0 &&
			l->found[FROM_QUEUE].at_us[a - 1] <=
			    l->found[FROM_HISTORY].at_us[b - 1]);
		if (skip > 0)
			skip--;
		else
			control_item(c,
			    json_incref(first
				    ? l->found[FROM_QUEUE].item[a - 1]
				    : l->found[FROM_HISTORY].item[b - 1]));
		if (first)
			a--;
		else
			b--;
	}
	control_ok(c, NULL);
}

/* -1: the answer was given. */
static int
look(struct control_conn *c, struct queue *q, struct listing *l)
{
	struct history *h = queue_history(q);

	if (l->source == FROM_QUEUE) {
		if (mailq_decisions(q->mq, &l->filter, &l->walk, note, l) ==
		    MAILQ_OK)
			return 0;
		control_fail(c, EX_IOERR, "%s", mailq_errtext(q->mq));
		return -1;
	}
	if (h == NULL)
		l->walk.end = true;
	else if (history_decisions(h, &l->filter, &l->walk, note, l) == -1) {
		control_fail(c, EX_IOERR, "%s", history_errtext(h));
		return -1;
	}
	return 0;
}

static void
list_next(struct control_conn *c)
{
	struct listing *l = control_state(c);

	if (look(c, control_arg(c), l) == -1)
		return;
	if (l->walk.end || l->found[l->source].n == l->n) {
		if (++l->source == SOURCES) {
			send_listing(c, l);
			return;
		}
		l->walk = (struct decision_walk){ INT64_MAX, false };
	}
	control_more(c, list_next, l, listing_free);
}

static bool
get_id(const json_t *request, const char *key, uint64_t *id)
{
	const char *s = json_string_value(json_object_get(request, key));
	size_t n;

	if (json_object_get(request, key) == NULL)
		return true;
	if (s == NULL || (n = strspn(s, "0123456789abcdefABCDEF")) == 0 ||
	    n > 16 || s[n] != '\0')
		return false;
	*id = strtoull(s, NULL, 16);
	return *id != 0;
}

static char *
get_text(const json_t *request, const char *key)
{
	const char *s = json_string_value(json_object_get(request, key));

	return s != NULL ? xstrdup(s) : NULL;
}

void
queue_history_list(struct control_conn *c, const json_t *request)
{
	struct queue *q = control_arg(c);
	struct listing *l = xcalloc(1, sizeof(*l));
	int64_t since = json_integer_value(json_object_get(request, "since_s"));
	int64_t n = json_integer_value(json_object_get(request, "n"));
	int s;

	if (!get_id(request, "sid", &l->filter.sid) ||
	    !get_id(request, "qid", &l->filter.qid)) {
		listing_free(l);
		control_fail(c, EX_USAGE, "an id is up to 16 hex digits");
		return;
	}
	l->n = n <= 0 ? LIST_DEFAULT : n > LIST_MAX ? LIST_MAX : (size_t)n;
	for (s = 0; s < SOURCES; s++) {
		l->found[s].item = xcalloc(l->n, sizeof(json_t *));
		l->found[s].at_us = xcalloc(l->n, sizeof(int64_t));
	}
	l->filter.user = l->user = get_text(request, "user");
	l->filter.addr = l->addr = get_text(request, "addr");
	l->filter.refused = json_is_true(json_object_get(request, "refused"));
	if (since > 0 && since < queue_now_ms() / 1000)
		l->filter.since_us = (queue_now_ms() - since * 1000) * 1000;
	l->walk.before = INT64_MAX;
	queue_read_auths(q);
	control_more(c, list_next, l, listing_free);
}
