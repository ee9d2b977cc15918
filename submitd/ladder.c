/* The ladder of rules as text: see ladder.h. */
#include "ladder.h"

#include <stdio.h>
#include <string.h>

enum { LINE_SIZE = 2 * POLICY_SHOWN_SIZE + 64 };
static const char mark[] = "...\n";

static size_t
step_line(const struct policy_step *s, char out[LINE_SIZE])
{
	size_t n, i;

	n = (size_t)snprintf(out, LINE_SIZE, "%s\t%s\t",
	    policy_rule_name(s->rule), policy_met_name(s->met));
	i = n;
	n += (size_t)snprintf(out + n, LINE_SIZE - n, "%s", s->key);
	for (; i < n; i++)
		if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
			out[i] = '?';
	i = n + 1;
	n += (size_t)snprintf(out + n, LINE_SIZE - n, "\t%s", s->value);
	for (; i < n; i++)
		if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
			out[i] = '?';
	out[n++] = '\n';
	return n;
}

void
ladder_text(const struct policy_verdict *v, char out[LADDER_MAX])
{
	char line[LINE_SIZE];
	size_t first = v->nsteps, room = LADDER_MAX - sizeof(mark), n = 0;

	while (
	    first > 0 && (n = step_line(&v->steps[first - 1], line)) <= room) {
		room -= n;
		first--;
	}
	n = 0;
	if (first > 0) {
		memcpy(out, mark, sizeof(mark) - 1);
		n = sizeof(mark) - 1;
	}
	for (; first < v->nsteps; first++) {
		room = step_line(&v->steps[first], line);
		memcpy(out + n, line, room);
		n += room;
	}
	if (v->steps_lost && LADDER_MAX - n >= sizeof(mark)) {
		memcpy(out + n, mark, sizeof(mark) - 1);
		n += sizeof(mark) - 1;
	}
	out[n] = '\0';
}

/* Copies up to a tab or the end of the line; what follows it. */
static const char *
take_field(const char *p, char *out, size_t size)
{
	size_t n = strcspn(p, "\t\n");

	snprintf(out, size, "%.*s", (int)n, p);
	return p[n] == '\t' ? p + n + 1 : p + n;
}

const char *
ladder_next(const char *text, struct ladder_step *s)
{
	if (*text == '\0')
		return NULL;
	text = take_field(text, s->rule, sizeof(s->rule));
	text = take_field(text, s->met, sizeof(s->met));
	text = take_field(text, s->key, sizeof(s->key));
	text = take_field(text, s->value, sizeof(s->value));
	text += strcspn(text, "\n");
	return *text == '\n' ? text + 1 : text;
}
