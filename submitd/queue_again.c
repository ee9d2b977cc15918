/*
 * The same mail again.  A client that lost our reply sends its message once
 * more: it gets the same answer, and the message is not mailed twice.
 *
 * The same is: the same user, sender and set of recipients, and the same bytes
 * from the client.  A message without Message-ID may well be sent twice on
 * purpose (by cron, by a monitor): it counts only if duplicate_without_id says
 * for how long.  What had failed for a recipient, or was deleted, is no reason
 * to throw the next copy away: the store then forgets it (mailq.h).
 *
 * Log:
 *	ev=duplicate qid= sid= user= from= rcpts=
 *		the client got 250 with this id of the first copy; nothing was
 *		stored
 */
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "queue.h"

static int64_t
window(const struct queue *q, const struct queue_submission *s)
{
	const struct conf *c = &q->setup->conf;

	return s->has_id ? c->duplicate_window : c->duplicate_without_id;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
add_text(struct digest *d, const char *text)
{
	digest_add(d, text, strlen(text) + 1);
}

void
queue_again_key(struct queue *q, struct queue_submission *s,
    const struct m_submit *m)
{
	const struct queue_envelope *e = s->env;
	const char **to;
	struct digest *d;
	size_t i;

	s->has_id = m->has_id;
	if (m->digest.len != DIGEST_LEN || window(q, s) == 0)
		return;
	to = xcalloc(e->nrcpt, sizeof(*to));
	for (i = 0; i < e->nrcpt; i++)
		to[i] = e->rcpt[i].address;
	qsort(to, e->nrcpt, sizeof(*to), compare);
	d = digest_new();
	digest_add(d, m->digest.p, DIGEST_LEN);
	add_text(d, s->grant.user);
	add_text(d, e->from);
	for (i = 0; i < e->nrcpt; i++)
		if (i == 0 || strcmp(to[i], to[i - 1]) != 0)
			add_text(d, to[i]);
	digest_end(&d, s->key);
	s->has_key = true;
	free(to);
}

enum mailq_rc
queue_again_find(struct queue *q, struct queue_submission *s)
{
	enum mailq_rc rc;

	s->first_qid = 0;
	if (!s->has_key)
		return MAILQ_OK;
	rc = mailq_again(
	    q->mq, s->key, s->arrived_ms - window(q, s), &s->first_qid);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

void
queue_again_log(const struct queue_submission *s)
{
	log_event(LOG_INFO, s->sid, s->first_qid, "duplicate",
	    "user=%s from=%s rcpts=%zu", s->grant.user, s->env->from,
	    s->env->nrcpt);
}

enum mailq_rc
queue_again_prune(struct queue *q, bool *any)
{
	const struct conf *c = &q->setup->conf;
	int64_t longest = c->duplicate_window > c->duplicate_without_id
	    ? c->duplicate_window
	    : c->duplicate_without_id;

	/* a part of them each time: all of them in a few hours */
	return mailq_again_prune(
	    q->mq, q->again_slice++, queue_now_ms() - longest, any);
}
