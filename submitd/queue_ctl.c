/*
 * What submitctl asks of the queue, over the control socket (control.h).
 *
 *	queue.list			an item for each message
 *	queue.show {"qid":HEX}		one item, with more of the envelope
 *	queue.hold, .release, .retry, .del {"qid":HEX}, {"user":TEXT} or
 *	{"all":true}			"changed": number of messages; "later": of
 *					all that were named those that wait for
 *					the time their sender asked for
 *	queue.release ... "now":true	and sends these, too
 *	queue.stats			"messages", "bytes", "oldest",
 *					"recipients": number by state
 *	history.list			see queue_history.c
 *	status				see status() below
 *	throttle.list, throttle.clear, device.seen
 *					see queue_login.c
 *	limit.usage, user.suspended, user.resume
 *					see queue_quota.c
 *
 * An item: qid, from, user, size, arrived, state, next_try (null if nothing is
 * scheduled), rcpts: [to, state, attempts, next_try, last, code, esc, text,
 * mta]. The state of a message is that of the recipient nearest to leaving.
 * Times are ISO 8601 in UTC, or null.  One that is shown alone has more: see
 * message_item().
 *
 * Log:
 *	ev=admin cmd= qid= changed=	an administrator changed something
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "mem.h"
#include "queue.h"

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

enum { LIST_BATCH = 32, ALARMS_MAX = 20 /* for users */ };

/* ---- values ---- */

static void
set(json_t *o, const char *key, json_t *v)
{
	json_object_set_new(o, key, v);
}

/* Replies of strangers are bytes; JSON wants UTF-8. */
json_t *
queue_json_text(const char *s)
{
	char *copy, *p;
	json_t *v = json_string(s);

	if (v != NULL)
		return v;
	copy = xstrdup(s);
	for (p = copy; *p != '\0'; p++)
		if ((unsigned char)*p > 0x7e)
			*p = '?';
	v = json_string(copy);
	free(copy);
	return v;
}

static const char *const body_kinds[] = { "7BIT", "8BITMIME", "BINARYMIME" };

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *
hex(uint64_t qid)
{
	return json_sprintf("%013llx", (unsigned long long)qid);
}

json_t *
queue_json_time(int64_t ms)
{
	time_t t = (time_t)(ms / 1000);
	char buf[32];
	struct tm tm;

	if (ms <= 0 || ms == INT64_MAX || gmtime_r(&t, &tm) == NULL)
		return json_null();
	strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(buf);
}

/* ---- messages ---- */

static bool
in_flight(const struct queue_job *j, const struct mailq_rcpt *r)
{
	size_t i;

	for (i = 0; j != NULL && j->relay != NULL && i < j->nrcpt; i++)
		if (j->mail->rcpt[j->rcpt[i].i].n == r->n)
			return true;
	return false;
}

static json_t *
rcpt_item(const struct queue_job *j, const struct mailq_rcpt *r)
{
	bool open = r->state == MAILQ_WAITING || r->state == MAILQ_DEFERRED;
	json_t *o = json_object();

	set(o, "to", queue_json_text(r->address));
	set(o, "state",
	    json_string(
		in_flight(j, r) ? "in flight" : mailq_state_name(r->state)));
	set(o, "attempts", json_integer(r->attempts));
	set(o, "next_try", open ? queue_json_time(r->next_ms) : json_null());
	set(o, "last", queue_json_time(r->last_ms));
	set(o, "code", json_integer(r->code));
	set(o, "esc", queue_json_text(r->esc));
	set(o, "text", queue_json_text(r->text));
	set(o, "mta", queue_json_text(r->mta));
	return o;
}

/* The recipient nearest to leaving speaks for the message. */
static const char *
message_state(const struct queue_job *j, const struct mailq_mail *mail)
{
	static const enum mailq_state order[] = { MAILQ_WAITING, MAILQ_DEFERRED,
		MAILQ_HELD };
	size_t i, k;

	for (i = 0; i < mail->nrcpt; i++)
		if (in_flight(j, &mail->rcpt[i]))
			return "in flight";
	for (k = 0; k < sizeof(order) / sizeof(order[0]); k++)
		for (i = 0; i < mail->nrcpt; i++)
			if (mail->rcpt[i].state == order[k])
				return mailq_state_name(order[k]);
	return "done";
}

static json_t *
text_or_null(const char *text)
{
	return text != NULL && text[0] != '\0' ? queue_json_text(text)
					       : json_null();
}

/* What the client asked for with MAIL. */
static void
set_options(json_t *o, const struct mail_options *m)
{
	static const char *const by[] = { NULL, "notify", "return" };
	static const char *const ret[] = { NULL, "FULL", "HDRS" };

	set(o, "smtputf8", json_boolean(m->utf8));
	set(o, "requiretls", json_boolean(m->require_tls));
	set(o, "priority", json_integer((int)m->priority - PRIORITY_NORMAL));
	set(o, "not_before", queue_json_time(m->hold_ms));
	set(o, "deliver_by",
	    m->by_mode != BY_NONE ? queue_json_time(m->by_ms) : json_null());
	set(o, "deliver_by_mode",
	    m->by_mode != BY_NONE ? json_string(by[m->by_mode]) : json_null());
	set(o, "ret",
	    m->ret != RET_NONE ? json_string(ret[m->ret]) : json_null());
	set(o, "envid", text_or_null(m->envid));
	set(o, "auth", text_or_null(m->auth));
}

static json_t *
message_item(struct queue *q, const struct mailq_mail *mail, bool all)
{
	const struct queue_job *j = queue_find_job(q, mail->msg.qid);
	const struct mailq_msg *m = &mail->msg;
	json_t *o = json_object(), *rcpts = json_array();
	int64_t next = INT64_MAX;
	size_t i;

	for (i = 0; i < mail->nrcpt; i++) {
		const struct mailq_rcpt *r = &mail->rcpt[i];

		json_array_append_new(rcpts, rcpt_item(j, r));
		if ((r->state == MAILQ_WAITING || r->state == MAILQ_DEFERRED) &&
		    r->next_ms < next)
			next = r->next_ms;
	}
	set(o, "qid", hex(m->qid));
	set(o, "from", queue_json_text(m->from));
	set(o, "user", queue_json_text(m->user));
	set(o, "size", number(m->size));
	set(o, "arrived", queue_json_time(m->arrived_ms));
	set(o, "state", json_string(message_state(j, mail)));
	set(o, "next_try", queue_json_time(next));
	set(o, "rcpts", rcpts);
	if (!all)
		return o;
	set(o, "sid", json_sprintf("%016llx", (unsigned long long)m->sid));
	set(o, "how", queue_json_text(m->how));
	set(o, "client", queue_json_text(m->client_addr));
	set(o, "body", json_string(body_kinds[m->opt.body]));
	set_options(o, &m->opt);
	set(o, "in_file", json_boolean(m->in_file));
	set(o, "since", queue_json_time(m->since_ms));
	set(o, "expires",
	    queue_json_time(m->since_ms + q->setup->conf.bounce_after));
	set(o, "delay_notice_sent", json_boolean(m->delay_sent));
	return o;
}

static void
database_failed(struct control_conn *c, enum mailq_rc rc)
{
	const struct queue *q = control_arg(c);

	control_fail(c,
	    rc == MAILQ_NONE       ? EX_DATAERR
		: rc == MAILQ_FULL ? EX_TEMPFAIL
				   : EX_IOERR,
	    "%s", mailq_errtext(q->mq));
}

static void
list_next(struct control_conn *c)
{
	struct queue *q = control_arg(c);
	uint64_t qid[LIST_BATCH], *last = control_state(c);
	struct mailq_mail *mail;
	enum mailq_rc rc;
	size_t n = 0, i;

	rc = mailq_list(q->mq, *last, qid, LIST_BATCH, &n);
	for (i = 0; i < n && rc == MAILQ_OK; i++) {
		*last = qid[i];
		if ((rc = mailq_load(q->mq, qid[i], &mail)) != MAILQ_OK)
			break;
		control_item(c, message_item(q, mail, false));
		mailq_mail_free(&mail);
	}
	if (rc != MAILQ_OK)
		database_failed(c, rc);
	else if (n < LIST_BATCH)
		control_ok(c, NULL);
	else
		control_more(c, list_next, last, free);
}

static void
queue_list(struct control_conn *c, const json_t *request)
{
	uint64_t *last = xcalloc(1, sizeof(*last));

	(void)request;
	control_more(c, list_next, last, free);
}

/* The message a request names; false, and answered, if it names none. */
static bool
get_qid(struct control_conn *c, const json_t *request, uint64_t *qid)
{
	const char *s = json_string_value(json_object_get(request, "qid"));
	unsigned long long v = 0;
	char *end = NULL;

	if (s != NULL && strspn(s, "0123456789abcdefABCDEF") == strlen(s) &&
	    strlen(s) <= 16)
		v = strtoull(s, &end, 16);
	if (end != NULL && *end == '\0' && v > 0 && v <= INT64_MAX) {
		*qid = v;
		return true;
	}
	control_fail(c, EX_USAGE, "a queue id is up to 16 hex digits");
	return false;
}

static void
queue_show(struct control_conn *c, const json_t *request)
{
	struct queue *q = control_arg(c);
	struct mailq_mail *mail;
	enum mailq_rc rc;
	uint64_t qid;

	if (!get_qid(c, request, &qid))
		return;
	if ((rc = mailq_load(q->mq, qid, &mail)) != MAILQ_OK) {
		database_failed(c, rc);
		return;
	}
	control_item(c, message_item(q, mail, true));
	mailq_mail_free(&mail);
	control_ok(c, NULL);
}

/* ---- changes ---- */

static enum mailq_rc
do_hold(struct queue *q, uint64_t qid, unsigned *n)
{
	return mailq_hold(q->mq, qid, "", n);
}

static enum mailq_rc
do_release(struct queue *q, uint64_t qid, unsigned *n)
{
	return mailq_release(q->mq, qid, queue_now_ms(), n);
}

/* A message counts once, be it held, put off, or both. */
static enum mailq_rc
do_release_now(struct queue *q, uint64_t qid, unsigned *n)
{
	unsigned released = 0, both = 0;
	enum mailq_rc rc;

	rc = mailq_release(q->mq, qid, queue_now_ms(), &released);
	if (rc == MAILQ_OK)
		rc = mailq_hasten(q->mq, qid, queue_now_ms(), &both);
	*n = released > both ? released : both;
	return rc;
}

static enum mailq_rc
do_count_later(struct queue *q, uint64_t qid, unsigned *n)
{
	return mailq_put_off(q->mq, qid, queue_now_ms(), n);
}

static enum mailq_rc
do_retry(struct queue *q, uint64_t qid, unsigned *n)
{
	return mailq_retry(q->mq, qid, queue_now_ms(), n);
}

static enum mailq_rc
do_delete(struct queue *q, uint64_t qid, unsigned *n)
{
	*n = 0;
	if (queue_find_job(q, qid) != NULL)
		return MAILQ_OK; /* being sent: too late for it */
	*n = 1;
	return mailq_delete(q->mq, qid);
}

typedef enum mailq_rc what_fn(struct queue *, uint64_t qid, unsigned *n);

/* One after the other: those of a user, or with NULL all. */
static enum mailq_rc
each(struct queue *q, const char *user, what_fn *what, unsigned *n)
{
	uint64_t qid[LIST_BATCH], last = 0;
	size_t got = 0, i;
	unsigned one = 0;
	enum mailq_rc rc;

	do {
		rc = user != NULL ? mailq_of_user(q->mq, user, last, qid,
					LIST_BATCH, &got)
				  : mailq_list(
					q->mq, last, qid, LIST_BATCH, &got);
		for (i = 0; i < got && rc == MAILQ_OK; i++) {
			last = qid[i];
			rc = what(q, qid[i], &one);
			*n += one;
		}
	} while (rc == MAILQ_OK && got == LIST_BATCH);
	return rc;
}

/* Those of a user, one (qid), or all. */
static enum mailq_rc
run(struct queue *q, const char *user, uint64_t qid, what_fn *what, unsigned *n)
{
	bool takes_all = what != do_delete && what != do_release_now;

	*n = 0;
	if (qid == 0 && (user != NULL || !takes_all))
		return each(q, user, what, n);
	return what(q, qid, n);
}

static void
change(struct control_conn *c, const json_t *request, what_fn *what)
{
	const char *user = json_string_value(json_object_get(request, "user"));
	bool all = json_is_true(json_object_get(request, "all"));
	struct queue *q = control_arg(c);
	uint64_t qid = 0;
	enum mailq_rc rc;
	unsigned n = 0, later = 0;

	if (user == NULL && !all && !get_qid(c, request, &qid))
		return;
	if (what == do_delete && qid != 0 && queue_find_job(q, qid) != NULL) {
		control_fail(c, EX_TEMPFAIL,
		    "message %013llx is being sent right now",
		    (unsigned long long)qid);
		return;
	}
	rc = mailq_begin(q->mq);
	if (rc == MAILQ_OK)
		rc = run(q, user, qid, what, &n);
	if (rc == MAILQ_OK && what != do_delete)
		rc = run(q, user, qid, do_count_later, &later);
	if (rc == MAILQ_OK)
		rc = mailq_commit(q->mq);
	else
		mailq_rollback(q->mq);
	if (rc != MAILQ_OK) {
		database_failed(c, rc);
		return;
	}
	log_event(LOG_INFO, 0, qid, "admin", "cmd=%s user=%s changed=%u",
	    json_string_value(json_object_get(request, "cmd")), user, n);
	control_ok(
	    c, json_pack("{s:i, s:i}", "changed", (int)n, "later", (int)later));
	queue_dest_probe_now(q);
}

static void
queue_hold(struct control_conn *c, const json_t *request)
{
	change(c, request, do_hold);
}

static void
queue_release(struct control_conn *c, const json_t *request)
{
	change(c, request,
	    json_is_true(json_object_get(request, "now")) ? do_release_now
							  : do_release);
}

static void
queue_retry(struct control_conn *c, const json_t *request)
{
	change(c, request, do_retry);
}

static void
queue_del(struct control_conn *c, const json_t *request)
{
	change(c, request, do_delete);
}

/* ---- numbers ---- */

static json_t *
stats_object(struct queue *q, enum mailq_rc *rc)
{
	json_t *o = json_object(), *r = json_object();
	struct mailq_stats s = { 0 };
	int i;

	*rc = mailq_stats(q->mq, &s);
	for (i = 0; i < MAILQ_STATES; i++)
		set(r, mailq_state_name((enum mailq_state)i),
		    number(s.rcpts[i]));
	set(o, "messages", number(s.messages));
	set(o, "bytes", number(s.bytes));
	set(o, "in_flight", json_integer(q->in_flight));
	set(o, "oldest", queue_json_time(s.oldest_ms));
	set(o, "oldest_age_s",
	    json_integer(
		s.oldest_ms == 0 ? 0 : (queue_now_ms() - s.oldest_ms) / 1000));
	set(o, "recipients", r);
	return o;
}

static void
queue_stats(struct control_conn *c, const json_t *request)
{
	enum mailq_rc rc;
	json_t *o = stats_object(control_arg(c), &rc);

	(void)request;
	if (rc == MAILQ_OK) {
		control_ok(c, o);
		return;
	}
	json_decref(o);
	database_failed(c, rc);
}

static json_t *
role_object(
    const char *role, uint32_t instance, uint32_t pid, const char *state)
{
	json_t *o = json_object();

	set(o, "role", json_string(role));
	set(o, "instance", json_integer(instance));
	set(o, "pid", pid != 0 ? json_integer(pid) : json_null());
	set(o, "state", queue_json_text(state));
	return o;
}

static json_t *
roles_array(const struct queue *q)
{
	const struct queue_role *r;
	json_t *a = json_array();
	bool told = false; /* parent may tell of us too */

	TAILQ_FOREACH(r, &q->roles, link) {
		told |= r->role == ROLE_QUEUE && r->pid == (uint32_t)getpid();
		json_array_append_new(a,
		    role_object(
			role_name(r->role), r->instance, r->pid, r->state));
	}
	if (!told)
		json_array_append_new(a,
		    role_object("queue", q->setup->instance, (uint32_t)getpid(),
			q->draining ? "draining" : "running"));
	return a;
}

static json_t *
smarthost_object(const struct queue *q)
{
	static const char *const states[] = { "unknown", "up", "down" };
	const struct queue_dest *d = &q->dest;
	const struct conf *conf = &q->setup->conf;
	const struct queue_peer *p;
	json_t *o = json_object();
	uint32_t connections = 0;

	TAILQ_FOREACH(p, &q->peers, link)
		connections += p->connections;
	set(o, "host", queue_json_text(conf->smarthost_host));
	set(o, "state", json_string(states[d->state]));
	set(o, "since", queue_json_time(d->since_ms));
	set(o, "connections", json_integer(connections));
	set(o, "trouble",
	    d->state == DEST_DOWN ? json_string(queue_trouble_name(d->trouble))
				  : json_null());
	set(o, "text",
	    d->text != NULL ? queue_json_text(d->text) : json_null());
	set(o, "next_try",
	    d->state == DEST_DOWN ? queue_json_time(d->probe_ms) : json_null());
	return o;
}

/* Somebody who is suspended, as an alarm. */
static void
add_suspended(json_t *alarms, const json_t *who)
{
	json_t *o = json_object();

	set(o, "what", json_string("suspended"));
	set(o, "trouble", json_incref(json_object_get(who, "user")));
	set(o, "text", json_incref(json_object_get(who, "why")));
	set(o, "since", json_incref(json_object_get(who, "since")));
	json_array_append_new(alarms, o);
}

static json_t *
alarms_array(const struct queue *q)
{
	const struct queue_dest *d = &q->dest;
	json_t *a = json_array(), *o, *suspended;
	size_t i;

	queue_alarm_list(q, a);
	if ((o = queue_login_alarm(q)) != NULL)
		json_array_append_new(a, o);
	suspended = queue_quota_suspended(q, ALARMS_MAX);
	json_array_foreach(suspended, i, o)
		add_suspended(a, o);
	json_decref(suspended);
	if (!d->alarm)
		return a;
	o = json_object();
	set(o, "what", json_string("smarthost"));
	set(o, "trouble", json_string(queue_trouble_name(d->trouble)));
	set(o, "text", queue_json_text(d->text));
	set(o, "since", queue_json_time(d->since_ms));
	json_array_append_new(a, o);
	return a;
}

/*
 * "version", "uptime_s", "roles": [role, instance, pid, state], "sessions"
 * (those that may submit), "connections": now, limit, strangers,
 * strangers_limit, handshakes, refused, dropped, addresses (at a limit):
 * [addr, connections, strangers], "queue": as queue.stats, "smarthost": host, state
 * (up, down, unknown), since, connections, trouble, text, next_try,
 * "alarms": [what, trouble, text, since], "throttled": the newest of those who
 * are slowed down or refused, as throttle.list (queue_login.c).
 */
static void
status(struct control_conn *c, const json_t *request)
{
	struct queue *q = control_arg(c);
	json_t *o = json_object();
	enum mailq_rc rc;

	(void)request;
	set(o, "version", json_string(PACKAGE_VERSION));
	set(o, "uptime_s",
	    json_integer((queue_now_ms() - q->started_ms) / 1000));
	set(o, "roles", roles_array(q));
	set(o, "sessions", json_integer(q->nsessions));
	set(o, "connections", queue_conns(q));
	set(o, "queue", stats_object(q, &rc));
	set(o, "smarthost", smarthost_object(q));
	set(o, "alarms", alarms_array(q));
	set(o, "throttled", queue_login_throttled(q));
	control_ok(c, o);
}

static const struct control_verb verbs[] = {
	{ "queue.list", queue_list },
	{ "queue.show", queue_show },
	{ "queue.hold", queue_hold },
	{ "queue.release", queue_release },
	{ "queue.retry", queue_retry },
	{ "queue.del", queue_del },
	{ "queue.stats", queue_stats },
	{ "history.list", queue_history_list },
	{ "status", status },
	{ "throttle.list", queue_ctl_throttle_list },
	{ "throttle.clear", queue_ctl_throttle_clear },
	{ "device.seen", queue_ctl_device_seen },
	{ "limit.usage", queue_ctl_limit_usage },
	{ "user.suspended", queue_ctl_user_suspended },
	{ "user.resume", queue_ctl_user_resume },
	{ NULL, NULL },
};

void
queue_ctl_listen(struct queue *q, int fd)
{
	control_free(&q->control);
	q->control = control_new(q->setup->base, fd, verbs, q);
}
