/*
 * What an administrator should look at: kept while it lasts, so that queue can
 * be told again when it is started anew, and said to the service manager
 * together with what the service does.
 */
#include "parent_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "notify.h"
#include "passed.h"

enum { ALARM_TEXT_MAX = 1000 };

struct alarm {
	TAILQ_ENTRY(alarm) link;
	char *what, *trouble, *text;
};

static TAILQ_HEAD(, alarm) alarms = TAILQ_HEAD_INITIALIZER(alarms);

static struct alarm *
find(const char *what, const char *trouble)
{
	struct alarm *a;

	TAILQ_FOREACH(a, &alarms, link)
		if (strcmp(a->what, what) == 0 &&
		    strcmp(a->trouble, trouble) == 0)
			return a;
	return NULL;
}

/* An empty text ends it. */
static void
tell_queue(const struct proc *queue, const struct alarm *a, const char *text)
{
	const struct m_alarm m = {
		.what = a->what, .trouble = a->trouble, .text = text
	};

	if (queue != NULL && queue->ipc != NULL && queue->state == PROC_RUNNING)
		ipc_send(queue->ipc, M_ALARM, 0, &m);
}

void
parent_alarm(const char *what, const char *trouble, const char *text)
{
	struct alarm *a = find(what, trouble);

	if (a == NULL) {
		a = xcalloc(1, sizeof(*a));
		a->what = xstrdup(what);
		a->trouble = xstrdup(trouble);
		TAILQ_INSERT_TAIL(&alarms, a, link);
	}
	free(a->text);
	a->text = xstrndup(text, ALARM_TEXT_MAX);
	tell_queue(parent_find_role(ROLE_QUEUE), a, a->text);
	parent_tell_manager("");
}

void
parent_alarm_over(const char *what, const char *trouble)
{
	struct alarm *a = find(what, trouble);

	if (a == NULL)
		return;
	log_info("alarm-over", "what=%s trouble=%s", what, trouble);
	tell_queue(parent_find_role(ROLE_QUEUE), a, "");
	TAILQ_REMOVE(&alarms, a, link);
	free(a->what);
	free(a->trouble);
	free(a->text);
	free(a);
	parent_tell_manager("");
}

void
parent_alarm_give(const struct proc *queue)
{
	const struct alarm *a;

	TAILQ_FOREACH(a, &alarms, link)
		tell_queue(queue, a, a->text);
}

/* ---- the service manager ---- */

static size_t
describe_service(char *out, size_t size)
{
	const struct set *s = parent_find_set(SET_ACTIVE);
	const char *waits =
	    P.reload.pending ? ", a reload waits for an old set to end" : "";
	int n;

	if (!P.up)
		n = snprintf(out, size, "Starting");
	else if (P.stage != RUNNING || s == NULL)
		n = snprintf(out, size, "Stopping");
	else
		n = snprintf(out, size, "Serving on %zu sockets, set %u%s",
		    P.listeners.n, s->number, waits);
	return n > 0 && (size_t)n < size ? (size_t)n : size - 1;
}

void
parent_tell_manager(const char *words)
{
	char text[900], line[900];
	size_t n = describe_service(text, sizeof(text));
	const struct alarm *a;
	int more;

	TAILQ_FOREACH(a, &alarms, link) {
		more = snprintf(text + n, sizeof(text) - n, "; ALARM: %s: %s",
		    a->what, a->text);
		if (more < 0 || (size_t)more >= sizeof(text) - n)
			break; /* cut: the log has it all */
		n += (size_t)more;
	}
	notify_send("%s%sMAINPID=%d\nSTATUS=%s", words,
	    words[0] != '\0' ? "\n" : "", (int)getpid(),
	    notify_text(text, line, sizeof(line)));
}
