/*
 * What is known of the smarthost as a whole.
 *
 * When it can't be reached, or its TLS or our login fails, that is no property
 * of one mail. Mail then stays due, and one job at a time probes, with growing
 * delay; the first sign of life opens the gate for all. A connection that is
 * lost while one mail is sent may be that mail's doing: it alone is deferred,
 * until a second mail fares likewise or the relay says that the smarthost is
 * down.
 *
 * Log:
 *	ev=smarthost-down trouble= text=
 *	ev=smarthost-up down_s=
 *	ev=alarm trouble= text=		somebody must look: names, TLS, our login or
 *		our configuration (warning; at most every ten minutes, or each
 *		minute if the reason changes)
 *	ev=alarm-over
 */
#include <sys/random.h>

#include <stdlib.h>
#include <string.h>

#include "backoff.h"
#include "log.h"
#include "mem.h"
#include "queue.h"

enum {
	PROBE_MAX_S = 600,
	ALARM_AGAIN_MS = 10 * 60 * 1000,
	ALARM_CHANGED_MS = 60 * 1000
};

const char *
queue_trouble_name(unsigned trouble)
{
	static const char *const names[] = { "none", "reply", "connect", "dns",
		"tls", "auth", "local" };

	return trouble < sizeof(names) / sizeof(names[0]) ? names[trouble]
							  : "unknown";
}

uint32_t
queue_delay_s(const struct queue *q, uint32_t attempts, uint32_t max_s)
{
	const struct conf *c = &q->setup->conf;
	uint32_t r = 0, longest = (uint32_t)(c->retry_max / 1000);

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		r = attempts; /* no jitter then */
	return backoff_delay_s(attempts, r, (uint32_t)(c->retry_min / 1000),
	    longest < max_s ? longest : max_s);
}

static bool
is_alarming(unsigned trouble)
{
	return trouble == TROUBLE_DNS || trouble == TROUBLE_TLS ||
	    trouble == TROUBLE_AUTH || trouble == TROUBLE_LOCAL;
}

static void
alarm_over(struct queue *q)
{
	if (q->dest.alarm)
		log_info("alarm-over", " ");
	q->dest.alarm = false;
	q->dest.alarm_ms = 0;
}

static void
raise_alarm(struct queue *q, bool changed)
{
	struct queue_dest *d = &q->dest;
	int64_t now = queue_now_ms();

	if (!is_alarming(d->trouble)) {
		alarm_over(q);
		return;
	}
	if (d->alarm &&
	    now - d->alarm_ms < (changed ? ALARM_CHANGED_MS : ALARM_AGAIN_MS))
		return;
	d->alarm = true;
	d->alarm_ms = now;
	log_warn("alarm", "trouble=%s text=%s", queue_trouble_name(d->trouble),
	    d->text);
}

static void
dest_down(struct queue *q, uint8_t trouble, const char *text)
{
	struct queue_dest *d = &q->dest;
	int64_t now = queue_now_ms();
	bool changed = d->state != DEST_DOWN || d->trouble != trouble ||
	    strcmp(d->text, text) != 0;

	if (d->state != DEST_DOWN) {
		log_info("smarthost-down", "trouble=%s text=%s",
		    queue_trouble_name(trouble), text);
		d->state = DEST_DOWN;
		d->since_ms = now;
		d->failures = 0;
		d->probe_ms = now;
	}
	d->trouble = trouble;
	if (changed) {
		free(d->text);
		d->text = xstrdup(text);
	}
	/* One failure is told by several: by the relay, by each job. */
	if (now >= d->probe_ms)
		d->probe_ms = now +
		    (int64_t)queue_delay_s(q, ++d->failures, PROBE_MAX_S) *
			1000;
	raise_alarm(q, changed);
}

static void
dest_up(struct queue *q)
{
	struct queue_dest *d = &q->dest;
	int64_t now = queue_now_ms();

	q->proof++;
	d->lost_qid = 0;
	if (d->state == DEST_UP)
		return;
	if (d->state == DEST_DOWN)
		log_info("smarthost-up", "down_s=%ld",
		    (long)((now - d->since_ms) / 1000));
	d->state = DEST_UP;
	d->since_ms = now;
	d->trouble = TROUBLE_NONE;
	free(d->text);
	d->text = NULL;
	alarm_over(q);
}

void
queue_dest_probe_now(struct queue *q)
{
	q->dest.probe_ms = queue_now_ms();
	q->dest.failures = 0;
	queue_arm(q->ev_due, 0);
}

void
queue_dest_told(struct queue *q, const struct m_relay_state *m)
{
	if (m->up)
		dest_up(q);
	else if (m->trouble != TROUBLE_NONE)
		dest_down(q, m->trouble, m->text);
}

/* An entry of the access map keeps a mail back, the smarthost is well. */
static void
rule_alarm(struct queue *q, const struct queue_result *r)
{
	struct queue_dest *d = &q->dest;
	int64_t now = queue_now_ms();
	bool changed = d->rule == NULL || strcmp(d->rule, r->now.text) != 0;

	if (d->rule_ms != 0 &&
	    now - d->rule_ms < (changed ? ALARM_CHANGED_MS : ALARM_AGAIN_MS))
		return;
	if (changed) {
		free(d->rule);
		d->rule = xstrdup(r->now.text);
	}
	d->rule_ms = now;
	log_warn("alarm", "trouble=%s text=%s", queue_trouble_name(r->trouble),
	    r->now.text);
}

void
queue_dest_learn(struct queue *q, const struct queue_job *j)
{
	const struct queue_result *r, *bad = NULL;
	size_t i;

	for (i = 0; i < j->nrcpt; i++) {
		r = &j->rcpt[i];
		if (r->has && r->alone)
			rule_alarm(q, r);
		if (!r->has || r->alone || r->trouble == TROUBLE_LOCAL)
			continue;
		if (r->trouble == TROUBLE_NONE || r->trouble == TROUBLE_REPLY) {
			dest_up(q);
			return;
		}
		bad = r;
	}
	if (bad == NULL)
		return;
	if (bad->trouble != TROUBLE_CONNECT || q->dest.state == DEST_DOWN ||
	    (j->proof == q->proof && q->dest.lost_qid != 0 &&
		q->dest.lost_qid != j->qid))
		dest_down(q, bad->trouble, bad->now.text);
	else
		q->dest.lost_qid = j->qid;
}
