/*
 * submitctl log: the decisions that the running server remembers. What an
 * item has is said in queue_history.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl.h"
#include "ctl_file.h"

enum { MAX_LINES = 1000 };

static int log_run(struct ctl *);

static const struct ctl_opt opts[] = { { "--user", true }, { "--addr", true },
	{ "--sid", true }, { "--qid", true }, { "--refused", false },
	{ "--since", true }, { "-n", true }, { .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_log_verbs[] = {
	{ "log", "", "[--user USER] [--addr ADDRESS] [--sid SID] [--qid QID]"
	  " [--refused] [--since SPAN] [-n NUMBER]",
	  "list what was decided, the newest last",
	  log_run, CTL_CONF, 0, 0, opts },
	{ .noun = NULL },
};

/* "reply" is made here: see add_reply(). */
static const struct ctl_column columns[] = {
	{ "at", "TIME", CTL_TIME, NULL },
	{ "sid", "SESSION", CTL_TEXT, NULL },
	{ "qid", "QID", CTL_TEXT, NULL },
	{ "phase", "PHASE", CTL_TEXT, NULL },
	{ "result", "RESULT", CTL_TEXT, NULL },
	{ "user", "USER", CTL_TEXT, NULL },
	{ "addr", "ADDRESS", CTL_TEXT, NULL },
	{ "from", "FROM", CTL_TEXT, NULL },
	{ "to", "TO", CTL_TEXT, NULL },
	{ "key", "ENTRY", CTL_TEXT, NULL },
	{ "reply", "REPLY", CTL_TEXT, NULL },
	{ .key = NULL },
};
/* clang-format on */

static int
take_number(const struct ctl *ctl, json_t *request)
{
	const char *text = ctl_opt(ctl, "-n");
	char *end;
	long n;

	if (text == NULL)
		return 0;
	errno = 0;
	n = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < 1 || n > MAX_LINES)
		return ctl_usage(ctl,
		    "-n: \"%s\", expected a number from 1 to %d", text,
		    MAX_LINES);
	json_object_set_new(request, "n", json_integer(n));
	return 0;
}

static int
take_options(const struct ctl *ctl, json_t *request)
{
	static const char *const texts[] = { "user", "addr", "sid", "qid" };
	int64_t since = 0;
	char name[16];
	size_t i;
	int status;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		snprintf(name, sizeof(name), "--%s", texts[i]);
		if (ctl_opt(ctl, name) != NULL)
			json_object_set_new(
			    request, texts[i], json_string(ctl_opt(ctl, name)));
	}
	if (ctl_opt(ctl, "--refused") != NULL)
		json_object_set_new(request, "refused", json_true());
	if ((status = ctl_span(ctl, "--since", &since)) != 0)
		return status;
	if (since > 0)
		json_object_set_new(request, "since_s", json_integer(since));
	return take_number(ctl, request);
}

/* For people: the first recipient, and how many were decided alike. */
static void
add_others(json_t *item)
{
	const char *to = json_string_value(json_object_get(item, "to"));
	json_int_t others =
	    (json_int_t)json_array_size(json_object_get(item, "also_to")) +
	    json_integer_value(json_object_get(item, "also_more"));

	if (to != NULL && others > 0)
		json_object_set_new(item, "to",
		    json_sprintf("%s (+%lld)", to, (long long)others));
}

/* For people: the reply in one line. */
static void
add_reply(json_t *item)
{
	json_int_t code = json_integer_value(json_object_get(item, "code"));
	const char *esc = json_string_value(json_object_get(item, "esc"));
	const char *text = json_string_value(json_object_get(item, "text"));

	if (code != 0 && esc != NULL && text != NULL)
		json_object_set_new(item, "reply",
		    json_sprintf("%d %s%s%s", (int)code, esc,
			text[0] != '\0' ? " " : "", text));
	else if (text != NULL)
		json_object_set_new(item, "reply", json_string(text));
}

static int
log_run(struct ctl *ctl)
{
	json_t *request = json_pack("{s:s}", "cmd", "history.list");
	json_t *items = json_array(), *item;
	size_t i;
	int status;

	if ((status = take_options(ctl, request)) != 0)
		json_decref(request);
	else
		status = ctl_ask(ctl, request, items, NULL);
	if (status != 0) {
		json_decref(items);
		return status;
	}
	if (ctl->json) {
		ctl_list(ctl, items, columns);
		return 0;
	}
	json_array_foreach(items, i, item)
	{
		add_reply(item);
		add_others(item);
	}
	if (json_array_size(items) == 0)
		ctl_done(ctl, items, "No such decision is remembered.");
	else
		ctl_list(ctl, items, columns);
	return 0;
}
