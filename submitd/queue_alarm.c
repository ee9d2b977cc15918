/*
 * What parent wants an administrator to look at: a role that dies again and
 * again, a configuration or a certificate that can't be used.  Kept for the
 * status; parent says when it is over, and all of it again to a new queue.
 */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "queue.h"

struct queue_alarm {
	TAILQ_ENTRY(queue_alarm) link;
	char *what, *trouble, *text;
	int64_t since_ms;
};

static void
free_alarm(struct queue *q, struct queue_alarm *a)
{
	TAILQ_REMOVE(&q->alarms, a, link);
	free(a->what);
	free(a->trouble);
	free(a->text);
	free(a);
}

static struct queue_alarm *
find(const struct queue *q, const struct m_alarm *m)
{
	struct queue_alarm *a;

	TAILQ_FOREACH(a, &q->alarms, link)
		if (strcmp(a->what, m->what) == 0 &&
		    strcmp(a->trouble, m->trouble) == 0)
			break;
	return a;
}

void
queue_alarm_told(struct queue *q, const struct m_alarm *m)
{
	struct queue_alarm *a = find(q, m);

	if (m->text[0] == '\0') {
		if (a != NULL)
			free_alarm(q, a);
		return;
	}
	if (a == NULL) {
		a = xcalloc(1, sizeof(*a));
		a->what = xstrdup(m->what);
		a->trouble = xstrdup(m->trouble);
		a->since_ms = queue_now_ms();
		TAILQ_INSERT_TAIL(&q->alarms, a, link);
	}
	free(a->text);
	a->text = xstrdup(m->text);
}

void
queue_alarm_list(const struct queue *q, json_t *array)
{
	const struct queue_alarm *a;
	json_t *o;

	TAILQ_FOREACH(a, &q->alarms, link) {
		o = json_object();
		json_object_set_new(o, "what", queue_json_text(a->what));
		json_object_set_new(o, "trouble", queue_json_text(a->trouble));
		json_object_set_new(o, "text", queue_json_text(a->text));
		json_object_set_new(o, "since", queue_json_time(a->since_ms));
		json_array_append_new(array, o);
	}
}

void
queue_alarm_free(struct queue *q)
{
	while (!TAILQ_EMPTY(&q->alarms))
		free_alarm(q, TAILQ_FIRST(&q->alarms));
}
