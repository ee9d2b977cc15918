/*
 * What was counted of each sender: in memory, and in the spool, where it is
 * written in the transaction of what it is about.
 *
 * A name may be given to another user when the first one is deleted. They are
 * told apart by the id, which is never used again: a higher one is another
 * user, for whom all begins anew.
 *
 * The clock may run ahead for a while, or be set back: what was counted for the
 * time to come then counts as of now, first in the spool. No limit is lifted by
 * that, and the sums fall as ever.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "queue_quota.h"
#include "store/mailq_quota.h"
#include "userlimit.h"

enum { AHEAD_STEPS = 1 }; /* that the clock may be set back unnoticed */
#define IDLE_MS (25 * USAGE_HOUR_MS) /* then nothing counts any more */

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

void
quota_set_id(struct quota *t, int64_t id)
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
		quota_set_id(t, s->user_id);
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
quota_count(struct queue *q, struct quota_device *d, enum usage_what what,
    int64_t n, int64_t at_ms)
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
	    (rc = mailq_known_prune(q->mq, all->slice++,
		 queue_now_ms() / QUOTA_DAY_MS - QUOTA_KNOWN_DAYS, &known)) !=
		MAILQ_OK)
		return rc;
	all->set_back |= back;
	*any |= sent || known || back;
	return MAILQ_OK;
}
