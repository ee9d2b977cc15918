/*
 * Limits on what a user and a device may send.
 *
 * auth says with each grant which limits hold.  A message counts from DATA on,
 * so that many sessions at once pass no limit together, and for good when it is
 * committed; the sums are written in the same transaction.  A sum of an hour
 * goes over 60 to 70 minutes, one of a day over 24 to 25 hours (usage.h).
 *
 * The clock may run ahead for a while, or be set back: what was counted for the
 * time to come then counts as of now. No limit is lifted by that, and the sums
 * fall as ever.
 *
 * A session takes a place among those of its user and its device when it says
 * MAIL, and keeps it to its end; one that found none tries again at DATA.  So
 * the late one waits, and not those that were there before.
 *
 * A recipient is new when this user has not written to it within a year; kept
 * is a digest of both.
 *
 * Asked over the control socket (control.h):
 *
 *	limit.usage {"user":TEXT}	an item for the user (device null) and
 *					for each device: messages_hour,
 *					messages_day, recipients_hour,
 *					recipients_day, new_recipients_day,
 *					sessions
 *
 * Log:
 *	ev=limit-user sid= user= device= what= of= limit= wait=
 *		a message was refused; wait: seconds, -1 for ever
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "control.h"
#include "facts.h"
#include "log.h"
#include "mem.h"
#include "queue_quota.h"
#include "store/mailq_quota.h"
#include "userlimit.h"

enum {
	KNOWN_DAYS = 365,  /* a recipient is known so long */
	REFRESH_DAYS = 30, /* its day is written again */
	AHEAD_STEPS = 1    /* that the clock may be set back unnoticed */
};
#define DAY_MS  (24 * USAGE_HOUR_MS)
#define IDLE_MS (25 * USAGE_HOUR_MS) /* then nothing counts any more */

/*
 * A name may be given to another user when the first one is deleted. By the id
 * they are told apart: a later user has a higher one (AUTOINCREMENT).
 */

/* What a limit counts, and over which time. */
static const struct {
	enum usage_what what;
	bool day;
	const char *text; /* behind a number */
} counted[LIMITS] = {
	[LIMIT_MESSAGES_HOUR] = { USAGE_MESSAGES, false, "messages an hour" },
	[LIMIT_MESSAGES_DAY] = { USAGE_MESSAGES, true, "messages a day" },
	[LIMIT_RECIPIENTS_HOUR] = { USAGE_RECIPIENTS, false,
	    "recipients an hour" },
	[LIMIT_RECIPIENTS_DAY] = { USAGE_RECIPIENTS, true,
	    "recipients a day" },
	[LIMIT_NEW_RECIPIENTS_DAY] = { USAGE_NEW, true,
	    "recipients a day that you have not written to before" },
};

static uint64_t
usage_of(const struct quota_part *p, enum limit l, int64_t now)
{
	return counted[l].day ? usage_day(&p->usage, counted[l].what, now)
			      : usage_hour(&p->usage, counted[l].what, now);
}

/* ---- the table ---- */

static unsigned
bucket(const char *user)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

	for (; *user != '\0'; user++)
		h = (h ^ (unsigned char)*user) * 0x100000001b3u;
	return (unsigned)(h >> 54);
}

struct quota_device *
quota_device(struct quota *of, int64_t id)
{
	struct quota_device *d;

	LIST_FOREACH(d, &of->devices, link)
	if (d->id == id)
		return d;
	d = xcalloc(1, sizeof(*d));
	d->of = of;
	d->id = id;
	LIST_INSERT_HEAD(&of->devices, d, link);
	return d;
}

static void
clear(struct quota *t)
{
	struct quota_device *d;

	memset(&t->part.usage, 0, sizeof(t->part.usage));
	LIST_FOREACH(d, &t->devices, link)
	memset(&d->part.usage, 0, sizeof(d->part.usage));
}

/* From now on it is that of this user; what was counted before anybody told
 * whose it is stays. */
static void
set_id(struct quota *t, int64_t id)
{
	if (t->id != 0)
		clear(t);
	t->id = id;
}

static void
load_step(const struct mailq_sent *s, void *arg)
{
	struct quota *t = arg;
	struct quota_device *d = quota_device(t, s->device);
	int64_t at = s->step * USAGE_STEP_MS;
	int i;

	if (s->user_id < t->id)
		return; /* of another one who had the name */
	if (s->user_id > t->id)
		set_id(t, s->user_id);
	for (i = 0; i < USAGES; i++) {
		usage_add(&t->part.usage, (enum usage_what)i, s->n[i], at);
		usage_add(&d->part.usage, (enum usage_what)i, s->n[i], at);
	}
}

struct quota *
quota_find(const struct queue *q, const char *user)
{
	struct quota *t;

	LIST_FOREACH(t, &q->quota->table[bucket(user)], link)
	if (strcmp(t->user, user) == 0)
		return t;
	return NULL;
}

static struct quota *
make(struct queue *q, const char *user)
{
	struct quota *t = xcalloc(1, sizeof(*t));

	t->user = xstrdup(user);
	LIST_INIT(&t->devices);
	LIST_INSERT_HEAD(&q->quota->table[bucket(user)], t, link);
	return t;
}

void
quota_warn(const struct queue *q)
{
	log_warn("database", "error=%s", mailq_errtext(q->mq));
}

static int64_t
step_now(void)
{
	return queue_now_ms() / USAGE_STEP_MS;
}

static bool
is_ahead(const struct quota *t)
{
	return t->part.usage.step > step_now() + AHEAD_STEPS;
}

static void
load(struct queue *q, struct quota *t)
{
	if (mailq_sent_list(q->mq, t->user,
		(queue_now_ms() - IDLE_MS) / USAGE_STEP_MS, load_step,
		t) != MAILQ_OK)
		quota_warn(q);
}

/* With what the spool knows of it. */
struct quota *
quota_get(struct queue *q, const char *user)
{
	struct quota *t = quota_find(q, user);

	if (t == NULL) {
		t = make(q, user);
		if (!userlimit_is_map(user)) /* until a grant says more */
			t->part.limits = q->setup->conf.limit;
		load(q, t);
	}
	if (is_ahead(t) && q->ev_prune != NULL)
		event_active(q->ev_prune, EV_TIMEOUT, 0);
	t->used_ms = queue_now_ms();
	return t;
}

static void
device_free(struct quota_device *d)
{
	if (d->is_dirty)
		LIST_REMOVE(d, dirty);
	LIST_REMOVE(d, link);
	free(d);
}

static void
quota_free(struct quota *t)
{
	while (!LIST_EMPTY(&t->devices))
		device_free(LIST_FIRST(&t->devices));
	LIST_REMOVE(t, link);
	free(t->user);
	free(t->why);
	free(t);
}

void
queue_quota_start(struct queue *q)
{
	q->quota = xcalloc(1, sizeof(*q->quota));
	suspend_load(q);
}

void
queue_quota_free(struct queue *q)
{
	struct queue_quota *all = q->quota;
	unsigned i;

	q->quota = NULL;
	if (all == NULL)
		return;
	for (i = 0; i < QUOTA_BUCKETS; i++)
		while (!LIST_EMPTY(&all->table[i]))
			quota_free(LIST_FIRST(&all->table[i]));
	free(all);
}

/* ---- sessions ---- */

static bool
has_place(const struct quota_part *p)
{
	int64_t limit = p->limits.v[LIMIT_SESSIONS];

	return limit == LIMIT_NONE || (int64_t)p->sessions < limit;
}

static void
take_place(struct queue_grant *g)
{
	struct quota_device *d = g->sender;

	if (g->placed || !has_place(&d->of->part) || !has_place(&d->part))
		return;
	d->of->part.sessions++;
	d->part.sessions++;
	g->placed = true;
}

void
queue_quota_join(struct queue *q, struct queue_grant *g, const struct m_grant *m)
{
	struct limits limits[2] = { { { 0 } } };
	struct quota *t = quota_get(q, g->user);
	struct quota_device *d;

	if (g->user_id > t->id) {
		if (t->id != 0 && t->why != NULL &&
		    suspend_end(q, t) != MAILQ_OK)
			suspend_undo(t); /* the spool has the other's id */
		set_id(t, g->user_id);
	}
	if (m->limits.len == sizeof(limits))
		memcpy(limits, m->limits.p, sizeof(limits));
	d = quota_device(t, m->device > 0 ? m->device : 0);
	d->of->part.limits = limits[0];
	d->part.limits = limits[1];
	d->of->refs++;
	g->sender = d;
	take_place(g);
}

void
queue_quota_part(struct queue_grant *g)
{
	struct quota_device *d = g->sender;

	g->sender = NULL;
	if (d == NULL)
		return;
	d->of->refs--;
	if (g->placed) {
		d->of->part.sessions--;
		d->part.sessions--;
	}
	g->placed = false;
}

/* ---- recipients ---- */

static int64_t
today(void)
{
	return queue_now_ms() / DAY_MS;
}

static int64_t
digest_of(const char *user, const char *address)
{
	unsigned char sum[DIGEST_LEN];
	char low[320 + 1];
	struct digest *d = digest_new();
	int64_t out;
	size_t i;

	for (i = 0; address[i] != '\0' && i < sizeof(low) - 1; i++)
		low[i] = address[i] >= 'A' && address[i] <= 'Z'
		    ? (char)(address[i] - 'A' + 'a')
		    : address[i];
	digest_add(d, user, strlen(user) + 1);
	digest_add(d, low, i);
	digest_end(&d, sum);
	memcpy(&out, sum, sizeof(out));
	return out;
}

/* Marks those that are new, and counts them. */
static unsigned
look_up(struct queue *q, const char *user, struct queue_envelope *e)
{
	struct queue_rcpt *r;
	int64_t day = 0;
	unsigned fresh = 0;
	size_t i;

	for (i = 0; i < e->nrcpt; i++) {
		r = &e->rcpt[i];
		r->digest = digest_of(user, r->address);
		switch (mailq_known(q->mq, r->digest, &day)) {
		case MAILQ_OK:
			r->remember =
			    today() - day >= REFRESH_DAYS || day > today() + 1;
			break;
		case MAILQ_NONE:
			r->remember = true;
			fresh++;
			break;
		default:
			quota_warn(q);
		}
	}
	return fresh;
}

/* ---- may it be sent? ---- */

static void
wait_text(char *out, size_t size, int64_t ms)
{
	int64_t minutes = ms / (60 * 1000) + 1;

	if (minutes <= 120)
		snprintf(out, size, "%lld minutes", (long long)minutes);
	else
		snprintf(
		    out, size, "%lld hours", (long long)(minutes + 59) / 60);
}

static void
remember(struct queue *q, const struct queue_session *s,
    const struct queue_refusal *r)
{
	struct facts_reply_said said;

	facts_said_reply(r->reply, r->text, "", &said);
	queue_decision_limit(q, s, s->grant.sender->id, &said);
}

/* The first limit that this would pass; LIMITS if there is none.  placed: the
 * session has its place. */
static enum limit
first_over(const struct quota_part *p, const uint64_t more[USAGES], bool placed,
    int64_t now)
{
	enum usage_what what;
	int l;

	for (l = 0; l < LIMIT_MESSAGE_SIZE; l++) {
		what = counted[l].what;
		if (p->limits.v[l] != LIMIT_NONE && more[what] > 0 &&
		    usage_of(p, (enum limit)l, now) + p->open[what] +
			    more[what] >
			(uint64_t)p->limits.v[l])
			return (enum limit)l;
	}
	return placed || has_place(p) ? LIMITS : LIMIT_SESSIONS;
}

/* When so much more passes again, in ms from now. */
static int64_t
wait_for(const struct quota_part *p, enum limit l, uint64_t more, int64_t now)
{
	uint64_t room = (uint64_t)p->limits.v[l] - more;

	return (counted[l].day
		? usage_day_falls(&p->usage, counted[l].what, room, now)
		: usage_hour_falls(&p->usage, counted[l].what, room, now)) -
	    now;
}

static void
describe(const struct quota_part *p, enum limit l, uint64_t more, const char *whose,
    int64_t now, struct queue_refusal *r)
{
	long limit = (long)p->limits.v[l];
	char wait[32];

	r->reply = R_LIMIT_USER;
	r->wait_ms = 0;
	if (l == LIMIT_SESSIONS) {
		snprintf(r->text, sizeof(r->text),
		    "%ld sessions at one time%s; close some and try again",
		    limit, whose);
	} else if (more > (uint64_t)limit) { /* it never will */
		r->reply = R_POLICY;
		r->wait_ms = -1;
		snprintf(r->text, sizeof(r->text),
		    "the message has %lu recipients and the limit is %ld %s%s;"
		    " send it to fewer people",
		    (unsigned long)more, limit, counted[l].text, whose);
	} else {
		r->wait_ms = wait_for(p, l, more, now);
		wait_text(wait, sizeof(wait), r->wait_ms);
		snprintf(r->text, sizeof(r->text), "%ld %s%s; try again in %s",
		    limit, counted[l].text, whose, wait);
	}
}

/* What is more than the limits allow; true: refused. */
static bool
is_over(const struct queue_grant *g, const uint64_t more[USAGES], uint64_t sid,
    struct queue_refusal *r)
{
	const struct quota_device *d = g->sender;
	const struct quota_part *p = &d->of->part;
	int64_t now = queue_now_ms();
	const char *whose = "";
	enum limit l = first_over(p, more, g->placed, now);

	if (l == LIMITS) {
		p = &d->part;
		whose = " from this device";
		l = first_over(p, more, g->placed, now);
	}
	if (l == LIMITS)
		return false;
	describe(p, l, l == LIMIT_SESSIONS ? 0 : more[counted[l].what], whose,
	    now, r);
	log_event(LOG_INFO, sid, 0, "limit-user",
	    "user=%s device=%ld what=%s of=%s limit=%ld wait=%ld", d->of->user,
	    (long)d->id, limit_name(l), p == &d->part ? "device" : "user",
	    (long)p->limits.v[l],
	    r->wait_ms < 0 ? -1L : (long)(r->wait_ms / 1000));
	return true;
}

/* ---- counting ---- */

void
quota_mark(struct queue *q, struct quota_device *d, int64_t step)
{
	if (!d->is_dirty || step < d->dirty_step)
		d->dirty_step = step;
	if (d->is_dirty)
		return;
	d->is_dirty = true;
	LIST_INSERT_HEAD(&q->quota->dirty, d, dirty);
}

void
quota_count(struct queue *q, struct quota_device *d, enum usage_what what, int64_t n,
    int64_t at_ms)
{
	quota_mark(q, d, at_ms / USAGE_STEP_MS);
	usage_add(&d->of->part.usage, what, n, at_ms);
	usage_add(&d->part.usage, what, n, at_ms);
}

static enum mailq_rc
save_device(struct queue *q, const struct quota_device *d)
{
	const struct usage *u = &d->part.usage;
	struct mailq_sent row = {
		.user = d->of->user, .device = d->id, .user_id = d->of->id
	};
	enum mailq_rc rc = MAILQ_OK;
	int64_t s = d->dirty_step;
	int i;

	if (s <= u->step - USAGE_STEPS)
		s = u->step - USAGE_STEPS + 1;
	for (; s <= u->step && rc == MAILQ_OK; s++) {
		row.step = s;
		for (i = 0; i < USAGES; i++)
			row.n[i] = usage_step(u, (enum usage_what)i, s);
		rc = mailq_sent_put(q->mq, &row);
	}
	return rc;
}

enum mailq_rc
queue_quota_save(struct queue *q)
{
	const struct quota_device *d;
	enum mailq_rc rc = MAILQ_OK;

	LIST_FOREACH(d, &q->quota->dirty, dirty)
	if ((rc = save_device(q, d)) != MAILQ_OK)
		break;
	return rc;
}

static void
reload(struct queue *q, struct quota *t)
{
	clear(t);
	load(q, t);
}

static void
reload_ahead(struct queue *q)
{
	struct quota *t;
	unsigned i;

	for (i = 0; i < QUOTA_BUCKETS; i++)
		LIST_FOREACH(t, &q->quota->table[i], link)
	if (is_ahead(t))
		reload(q, t);
}

void
queue_quota_saved(struct queue *q)
{
	struct quota_device *d;

	while ((d = LIST_FIRST(&q->quota->dirty)) != NULL) {
		LIST_REMOVE(d, dirty);
		d->is_dirty = false;
	}
	if (q->quota->set_back)
		reload_ahead(q);
	q->quota->set_back = false;
}

/* ---- a transaction ---- */

static void
reserve(struct queue_envelope *e, struct quota_device *d,
    const uint64_t more[USAGES])
{
	int i;

	e->sender = d;
	e->fresh = (unsigned)more[USAGE_NEW];
	d->of->refs++;
	for (i = 0; i < USAGES; i++) {
		d->of->part.open[i] += more[i];
		d->part.open[i] += more[i];
	}
}

void
queue_quota_release(struct queue_envelope *e)
{
	struct quota_device *d = e->sender;
	const uint64_t less[USAGES] = { [USAGE_MESSAGES] = 1,
		[USAGE_RECIPIENTS] = e->nrcpt,
		[USAGE_NEW] = e->fresh };
	int i;

	e->sender = NULL;
	if (d == NULL)
		return;
	d->of->refs--;
	for (i = 0; i < USAGES; i++) {
		d->of->part.open[i] -= less[i];
		d->part.open[i] -= less[i];
	}
}

bool
queue_quota_open(
    struct queue *q, struct queue_session *s, struct queue_refusal *r)
{
	struct quota_device *d = s->grant.sender;
	uint64_t more[USAGES] = { [USAGE_MESSAGES] = 1,
		[USAGE_RECIPIENTS] = s->next->nrcpt };

	if (d->of->why != NULL) {
		r->reply = R_USER_SUSPENDED;
		snprintf(r->text, sizeof(r->text), "%s", d->of->why);
		remember(q, s, r);
		return false;
	}
	more[USAGE_NEW] = look_up(q, d->of->user, s->next);
	take_place(&s->grant);
	if (!is_over(&s->grant, more, s->sid, r)) {
		reserve(s->next, d, more);
		return true;
	}
	remember(q, s, r);
	quota_count(q, d, USAGE_REFUSED, 1, queue_now_ms());
	suspend_judge(q, d->of);
	return false;
}

uint64_t
queue_quota_size(const struct queue_grant *g)
{
	int64_t a = g->sender->of->part.limits.v[LIMIT_MESSAGE_SIZE];
	int64_t b = g->sender->part.limits.v[LIMIT_MESSAGE_SIZE];

	return (uint64_t)(a == LIMIT_NONE || (b != LIMIT_NONE && b < a) ? b
									: a);
}

void
queue_quota_judge(struct queue *q, struct queue_submission *s)
{
	struct queue_envelope *e = s->env;
	struct quota *t = e->sender->of;

	quota_count(q, e->sender, USAGE_MESSAGES, 1, s->arrived_ms);
	quota_count(q, e->sender, USAGE_RECIPIENTS, (int64_t)e->nrcpt,
	    s->arrived_ms);
	quota_count(q, e->sender, USAGE_NEW, e->fresh, s->arrived_ms);
	s->counted = true;
	s->suspends = suspend_suspect(t);
	if (t->why != NULL)
		s->note = suspend_note(t);
}

enum mailq_rc
queue_quota_apply(struct queue *q, struct queue_submission *s)
{
	const struct queue_envelope *e = s->env;
	enum mailq_rc rc = MAILQ_OK;
	size_t i;

	for (i = 0; i < e->nrcpt && rc == MAILQ_OK; i++)
		if (e->rcpt[i].remember)
			rc = mailq_known_put(q->mq, e->rcpt[i].digest, today());
	return rc == MAILQ_OK && s->suspends
	    ? suspend_write(q, e->sender->of, &s->held)
	    : rc;
}

void
queue_quota_end(const struct queue_submission *s)
{
	if (s->suspends)
		suspend_log(s->env->sender->of, s->held + 1);
}

void
queue_quota_undo(struct queue *q, struct queue_submission *s)
{
	struct queue_envelope *e = s->env;

	if (!s->counted)
		return;
	quota_count(q, e->sender, USAGE_MESSAGES, -1, s->arrived_ms);
	quota_count(q, e->sender, USAGE_RECIPIENTS, -(int64_t)e->nrcpt,
	    s->arrived_ms);
	quota_count(q, e->sender, USAGE_NEW, -(int64_t)e->fresh, s->arrived_ms);
	if (s->suspends)
		suspend_undo(e->sender->of);
	s->counted = s->suspends = false;
	free(s->note);
	s->note = NULL;
}

void
queue_quota_failed(struct queue *q, const struct mailq_msg *m, unsigned rcpts)
{
	struct quota *t;

	if (m->user[0] == '\0') /* a report of ours */
		return;
	t = quota_get(q, m->user);
	if (m->user_id < t->id)
		return; /* of another one who had the name */
	quota_count(q, quota_device(t, 0), USAGE_FAILED, rcpts, queue_now_ms());
	suspend_judge(q, t);
}

/* ---- time ---- */

static void
forget_idle(struct queue_quota *all)
{
	int64_t now = queue_now_ms(), before = now - IDLE_MS;
	struct quota_device *d;
	struct quota *t, *next;
	unsigned i;

	for (i = 0; i < QUOTA_BUCKETS; i++) {
		for (t = LIST_FIRST(&all->table[i]); t != NULL; t = next) {
			next = LIST_NEXT(t, link);
			if (t->used_ms > now)
				t->used_ms = now;
			if (t->refs > 0 || t->why != NULL ||
			    t->used_ms > before)
				continue;
			LIST_FOREACH(d, &t->devices, link)
			if (d->is_dirty)
				break;
			if (d == NULL)
				quota_free(t);
		}
	}
}

enum mailq_rc
queue_quota_prune(struct queue *q, bool *any)
{
	struct queue_quota *all = q->quota;
	bool sent = false, known = false, back = false;
	enum mailq_rc rc;

	forget_idle(all);
	*any = !LIST_EMPTY(&all->dirty);
	if ((rc = queue_quota_save(q)) != MAILQ_OK ||
	    (rc = mailq_sent_set_back(q->mq, step_now() + AHEAD_STEPS,
		 step_now(), &back)) != MAILQ_OK ||
	    (rc = mailq_sent_prune(
		 q->mq, (queue_now_ms() - IDLE_MS) / USAGE_STEP_MS, &sent)) !=
		MAILQ_OK ||
	    (rc = mailq_known_prune(q->mq, all->slice++, today() - KNOWN_DAYS,
		 &known)) != MAILQ_OK)
		return rc;
	all->set_back |= back;
	*any |= sent || known || back;
	return MAILQ_OK;
}

/* ---- submitctl ---- */

static void
usage_item(struct control_conn *c, const struct quota_part *p, json_t *device)
{
	int64_t now = queue_now_ms();
	json_t *o = json_object();
	int l;

	json_object_set_new(o, "device", device);
	for (l = 0; l < LIMIT_MESSAGE_SIZE; l++)
		json_object_set_new(o, limit_name((enum limit)l),
		    json_integer((json_int_t)usage_of(p, (enum limit)l, now)));
	json_object_set_new(
		o, limit_name(LIMIT_SESSIONS), json_integer(p->sessions));
	control_item(c, o);
}

/* The user a request names, or NULL, and answered, if it names none. */
const char *
quota_user(struct control_conn *c, const json_t *request)
{
	const char *user =
	    json_string_value(json_object_get(request, "user"));

	if (user == NULL || user[0] == '\0') {
		control_fail(c, EX_USAGE, "a user is expected");
		return NULL;
	}
	return user;
}

void
queue_ctl_limit_usage(struct control_conn *c, const json_t *request)
{
	const char *user = quota_user(c, request);
	const struct quota_device *d;
	const struct quota *t;

	if (user == NULL)
		return;
	t = quota_get(control_arg(c), user);
	usage_item(c, &t->part, json_null());
	LIST_FOREACH(d, &t->devices, link)
	usage_item(c, &d->part, json_integer(d->id));
	control_ok(c, NULL);
}

