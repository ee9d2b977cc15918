/*
 * An end to what looks like a stolen account.
 *
 * An account is suspended when within an hour it writes to more new recipients,
 * has more recipients that fail for good, or has more messages refused for a
 * limit, than honest people do (limit_suspend_*): from then on its mail is
 * refused, and what it has in the queue is held, with the message that was one
 * too many.  An administrator looks, ends it (user.resume), and releases or
 * deletes what is held.  Who relays by the access map alone is not suspended
 * unless a rule about the key says when.
 *
 * Asked over the control socket (control.h):
 *
 *	user.suspended			an item for each: user, since, why
 *	user.resume {"user":TEXT}	"changed": 0 or 1; what made it suspect
 *					within the last hour counts no more
 *
 * Log:
 *	ev=suspended user= why= held=	(warning)
 *	ev=admin cmd= user= changed=	an administrator ended a suspension
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "control.h"
#include "log.h"
#include "mem.h"
#include "queue_quota.h"
#include "store/mailq_quota.h"

enum { HOLD_BATCH = 64, WHY_MAX = 128 };

static void
load_suspended(const struct mailq_suspended *s, void *arg)
{
	struct quota *t = quota_get(arg, s->user);

	if (s->user_id < t->id)
		return; /* of another one who had the name */
	t->id = s->user_id;
	t->why = xstrdup(s->why);
	t->suspended_ms = s->at_ms;
}

void
suspend_load(struct queue *q)
{
	if (mailq_suspended_list(q->mq, load_suspended, q) != MAILQ_OK)
		quota_warn(q);
}

/* Why it should be suspended; false: it should not, or is already. */
static bool
is_suspect(const struct quota *t, char *why, size_t size)
{
	static const struct {
		enum limit limit;
		enum usage_what what;
		const char *before, *after; /* the number */
	} rules[] = {
		{ LIMIT_SUSPEND_NEW, USAGE_NEW, "it wrote to",
		    "new recipients" },
		{ LIMIT_SUSPEND_FAILED, USAGE_FAILED, "its mail failed for",
		    "recipients" },
		{ LIMIT_SUSPEND_REFUSED, USAGE_REFUSED,
		    "it went over its limits", "times" },
	};
	int64_t limit;
	uint64_t n;
	size_t i;

	for (i = 0; t->why == NULL && i < sizeof(rules) / sizeof(rules[0]);
	    i++) {
		limit = t->part.limits.v[rules[i].limit];
		n = usage_hour(&t->part.usage, rules[i].what, queue_now_ms());
		if (limit == LIMIT_NONE || n <= (uint64_t)limit)
			continue;
		snprintf(why, size, "%s %lu %s within an hour",
		    rules[i].before, (unsigned long)n, rules[i].after);
		return true;
	}
	return false;
}

char *
suspend_note(const struct quota *t)
{
	return xasprintf("%s is suspended: %s", t->user, t->why);
}

/* In the transaction that is open. */
static enum mailq_rc
hold_all(struct queue *q, const struct quota *t, unsigned *held)
{
	uint64_t qid[HOLD_BATCH], last = 0;
	char *note = suspend_note(t);
	enum mailq_rc rc;
	size_t n = 0, i;
	unsigned one;

	do {
		rc = mailq_of_user(
		    q->mq, t->user, last, qid, HOLD_BATCH, &n);
		for (i = 0; i < n && rc == MAILQ_OK; i++) {
			last = qid[i];
			rc = mailq_hold(q->mq, qid[i], note, &one);
			*held += one;
		}
	} while (rc == MAILQ_OK && n == HOLD_BATCH);
	free(note);
	return rc;
}

void
suspend_undo(struct quota *t)
{
	free(t->why);
	t->why = NULL;
}

bool
suspend_suspect(struct quota *t)
{
	char why[WHY_MAX];

	if (!is_suspect(t, why, sizeof(why)))
		return false;
	t->why = xstrdup(why);
	t->suspended_ms = queue_now_ms();
	return true;
}

enum mailq_rc
suspend_write(struct queue *q, const struct quota *t, unsigned *held)
{
	const struct mailq_suspended row = { t->user, t->id, t->suspended_ms,
		t->why };
	enum mailq_rc rc = mailq_suspend(q->mq, &row);

	*held = 0;
	return rc == MAILQ_OK ? hold_all(q, t, held) : rc;
}

void
suspend_log(const struct quota *t, unsigned held)
{
	log_warn("suspended", "user=%s why=%s held=%u", t->user, t->why, held);
}

void
suspend_judge(struct queue *q, struct quota *t)
{
	unsigned held;
	enum mailq_rc rc;

	if (!suspend_suspect(t))
		return;
	rc = mailq_begin(q->mq);
	if (rc == MAILQ_OK && (rc = suspend_write(q, t, &held)) == MAILQ_OK)
		rc = mailq_commit(q->mq);
	else
		mailq_rollback(q->mq);
	if (rc == MAILQ_OK) {
		suspend_log(t, held);
		return;
	}
	quota_warn(q); /* the next one tries again */
	suspend_undo(t);
}

enum mailq_rc
suspend_end(struct queue *q, struct quota *t)
{
	enum mailq_rc rc = mailq_begin(q->mq);

	if (rc == MAILQ_OK && (rc = mailq_resume(q->mq, t->user)) == MAILQ_OK &&
	    (rc = queue_quota_save(q)) == MAILQ_OK)
		rc = mailq_commit(q->mq);
	else
		mailq_rollback(q->mq);
	if (rc != MAILQ_OK) {
		quota_warn(q);
		return rc;
	}
	queue_quota_saved(q);
	suspend_undo(t);
	return MAILQ_OK;
}

/* ---- submitctl ---- */

static json_t *
suspended_object(const struct quota *t)
{
	json_t *o = json_object();

	json_object_set_new(o, "user", queue_json_text(t->user));
	json_object_set_new(o, "since", queue_json_time(t->suspended_ms));
	json_object_set_new(o, "why", queue_json_text(t->why));
	return o;
}

json_t *
queue_quota_suspended(const struct queue *q, size_t max)
{
	json_t *a = json_array();
	const struct quota *t;
	unsigned i;

	for (i = 0; i < QUOTA_BUCKETS; i++)
		LIST_FOREACH(t, &q->quota->table[i], link)
	if (t->why != NULL && json_array_size(a) < max)
		json_array_append_new(a, suspended_object(t));
	return a;
}

void
queue_ctl_user_suspended(struct control_conn *c, const json_t *request)
{
	json_t *a = queue_quota_suspended(control_arg(c), SIZE_MAX), *o;
	size_t i;

	(void)request;
	json_array_foreach(a, i, o)
		control_item(c, json_incref(o));
	json_decref(a);
	control_ok(c, NULL);
}

/* What made it suspect counts no more. */
static void
forgive(struct queue *q, struct quota *t)
{
	static const enum usage_what whats[] = { USAGE_NEW, USAGE_FAILED,
		USAGE_REFUSED };
	struct quota_device *d;
	size_t i;

	for (i = 0; i < sizeof(whats) / sizeof(whats[0]); i++) {
		usage_forgive(&t->part.usage, whats[i]);
		LIST_FOREACH(d, &t->devices, link)
		usage_forgive(&d->part.usage, whats[i]);
	}
	LIST_FOREACH(d, &t->devices, link)
	quota_mark(q, d, 0); /* all that the rings have */
}

void
queue_ctl_user_resume(struct control_conn *c, const json_t *request)
{
	const char *user = quota_user(c, request);
	struct queue *q = control_arg(c);
	struct quota *t = user != NULL ? quota_find(q, user) : NULL;

	if (user == NULL)
		return;
	if (t == NULL || t->why == NULL) {
		control_ok(c, json_pack("{s:i}", "changed", 0));
		return;
	}
	forgive(q, t);
	if (suspend_end(q, t) != MAILQ_OK) {
		control_fail(c, EX_IOERR, "%s", mailq_errtext(q->mq));
		return;
	}
	log_info("admin", "cmd=%s user=%s changed=%d", "user.resume", user, 1);
	control_ok(c, json_pack("{s:i}", "changed", 1));
}
