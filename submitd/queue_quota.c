/*
 * Limits on what a user and a device may send.
 *
 * auth says with each grant which limits hold.  A message counts from DATA on,
 * so that many sessions at once pass no limit together, and for good when it is
 * committed; the sums are written in the same transaction.  A sum of an hour
 * goes over 60 to 70 minutes, one of a day over 24 to 25 hours (usage.h).
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

enum { REFRESH_DAYS = 30 }; /* the day of a known recipient is written again */

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
		quota_set_id(t, g->user_id);
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
	return queue_now_ms() / QUOTA_DAY_MS;
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

static int
compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Marks those that are new, and counts them: each once, however often the
 * envelope has it. */
static unsigned
look_up(struct queue *q, const char *user, struct queue_envelope *e)
{
	int64_t *new = xcalloc(e->nrcpt, sizeof(*new)), day = 0;
	struct queue_rcpt *r;
	unsigned fresh = 0;
	size_t n = 0, i;

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
			new[n++] = r->digest;
			break;
		default:
			quota_warn(q);
		}
	}
	qsort(new, n, sizeof(*new), compare);
	for (i = 0; i < n; i++)
		fresh += i == 0 || new[i] != new[i - 1];
	free(new);
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
	queue_decision_limit(
	    q, s, s->grant.sender->id, r->reply == R_USER_SUSPENDED, &said);
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

