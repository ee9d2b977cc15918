/*
 * submitctl queue and status: what the running server knows. The queue has one
 * owner, the server; all of this goes through its control socket.
 *
 * An item of a listing, and the object of `queue show`:
 *	qid		hex digits, the message's name
 *	arrived_ms	ms since 1970, as are all times of the queue
 *	size		bytes
 *	state		of the recipient that has most to do
 *	from, user	envelope sender ("" is the null sender), who sent it
 *	rcpts		a number in listings; in `show` an array of objects:
 *			address, state, attempts, next_ms, code, esc, text
 *	next_ms		of the next attempt
 *	text		of the last reply
 */
#include <ctype.h>
#include <string.h>
#include <sysexits.h>

#include "ctl.h"

static int list_run(struct ctl *);
static int show_run(struct ctl *);
static int stats_run(struct ctl *);
static int change_run(struct ctl *);
static int status_run(struct ctl *);

static const struct ctl_opt all_opts[] = { { "--all", false },
	{ .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_queue_verbs[] = {
	{ "queue", "list", "", "list the messages that wait",
	  list_run, CTL_CONF, 0, 0, NULL },
	{ "queue", "show", "QID", "show a message and its recipients",
	  show_run, CTL_CONF, 1, 1, NULL },
	{ "queue", "stats", "", "count messages, recipients and bytes",
	  stats_run, CTL_CONF, 0, 0, NULL },
	{ "queue", "hold", "QID...|--all", "keep messages from being sent",
	  change_run, CTL_CONF, 0, CTL_WORDS_MAX, all_opts },
	{ "queue", "release", "QID...|--all", "send held messages again",
	  change_run, CTL_CONF, 0, CTL_WORDS_MAX, all_opts },
	{ "queue", "retry", "QID...|--all", "try deferred messages now",
	  change_run, CTL_CONF, 0, CTL_WORDS_MAX, all_opts },
	{ "queue", "del", "QID...|--all",
	  "delete messages, telling nobody",
	  change_run, CTL_CONF, 0, CTL_WORDS_MAX, all_opts },
	{ .noun = NULL },
};

const struct ctl_verb ctl_status_verbs[] = {
	{ "status", "", "", "show how the running server is",
	  status_run, CTL_CONF, 0, 0, NULL },
	{ .noun = NULL },
};

static const struct ctl_column list_columns[] = {
	{ "qid", "QID", CTL_TEXT, NULL },
	{ "arrived_ms", "ARRIVED", CTL_TIME_MS, NULL },
	{ "size", "SIZE", CTL_SIZE, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "next_ms", "NEXT TRY", CTL_TIME_MS, NULL },
	{ "from", "FROM", CTL_TEXT, NULL },
	{ "rcpts", "RCPTS", CTL_NUMBER, NULL },
	{ "text", "LAST REPLY", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column rcpt_columns[] = {
	{ "address", "RECIPIENT", CTL_TEXT, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "attempts", "TRIES", CTL_NUMBER, NULL },
	{ "next_ms", "NEXT TRY", CTL_TIME_MS, NULL },
	{ "code", "CODE", CTL_NUMBER, NULL },
	{ "text", "LAST REPLY", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column show_columns[] = {
	{ "qid", "Queue id", CTL_TEXT, NULL },
	{ "arrived_ms", "Arrived", CTL_TIME_MS, NULL },
	{ "size", "Size", CTL_SIZE, NULL },
	{ "from", "From", CTL_TEXT, NULL },
	{ "user", "User", CTL_TEXT, NULL },
	{ "state", "State", CTL_TEXT, NULL },
	{ "next_ms", "Next try", CTL_TIME_MS, NULL },
	{ "rcpts", "Recipients", CTL_TABLE, rcpt_columns },
	{ .key = NULL },
};
/* clang-format on */

/* A queue id as it is printed: hex digits, below 2^53. */
static bool
is_qid(const char *text)
{
	size_t n = strspn(text, "0123456789abcdefABCDEF");

	return n > 0 && n <= 16 && text[n] == '\0';
}

static int
bad_qid(const char *text)
{
	return ctl_fail(EX_DATAERR,
	    "\"%s\" is no queue id: hex digits are expected, as \"queue list\" "
	    "shows them",
	    text);
}

static int
list_run(struct ctl *ctl)
{
	json_t *items = json_array();
	int status;

	status =
	    ctl_ask(ctl, json_pack("{s:s}", "cmd", "queue.list"), items, NULL);
	if (status != 0) {
		json_decref(items);
		return status;
	}
	if (json_array_size(items) == 0 && !ctl->json) {
		ctl_done(ctl, items, "The queue is empty.");
		return 0;
	}
	ctl_list(ctl, items, list_columns);
	return 0;
}

/* The fields of the last line of an answer, which are the result. */
static int
ask_for_object(
    struct ctl *ctl, json_t *request, const struct ctl_column *columns)
{
	json_t *end;
	int status;

	if ((status = ctl_ask(ctl, request, NULL, &end)) != 0)
		return status;
	json_object_del(end, "ok");
	ctl_show(ctl, end, columns);
	return 0;
}

static int
show_run(struct ctl *ctl)
{
	const char *qid = ctl->word[0];

	if (!is_qid(qid))
		return bad_qid(qid);
	return ask_for_object(ctl,
	    json_pack("{s:s, s:s}", "cmd", "queue.show", "qid", qid),
	    show_columns);
}

static int
stats_run(struct ctl *ctl)
{
	return ask_for_object(
	    ctl, json_pack("{s:s}", "cmd", "queue.stats"), NULL);
}

static int
status_run(struct ctl *ctl)
{
	return ask_for_object(ctl, json_pack("{s:s}", "cmd", "status"), NULL);
}

/* One request for one message, or with a NULL qid for all. */
static int
change(const struct ctl *ctl, const char *qid, json_int_t *changed)
{
	json_t *request, *end;
	int status;

	request = json_pack("{s:s+}", "cmd", "queue.", ctl->verb->name);
	if (qid != NULL)
		json_object_set_new(request, "qid", json_string(qid));
	else
		json_object_set_new(request, "all", json_true());
	if ((status = ctl_ask(ctl, request, NULL, &end)) != 0)
		return status;
	*changed += json_integer_value(json_object_get(end, "changed"));
	json_decref(end);
	return 0;
}

static const char *
past_tense(const char *verb)
{
	static const char *const words[][2] = { { "hold", "held" },
		{ "release", "released" }, { "retry", "to be tried now" },
		{ "del", "deleted" } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i][0], verb) == 0)
			return words[i][1];
	return verb;
}

/*
 * Goes on after a message that is gone already, so that a list of ids can be
 * worked off; the first failure is the exit status.
 */
static int
change_run(struct ctl *ctl)
{
	bool all = ctl_opt(ctl, "--all") != NULL;
	const char *did = past_tense(ctl->verb->name);
	json_int_t n = 0;
	int status = 0;

	if (all == (ctl->words > 0))
		return ctl_usage(ctl, "give either queue ids or --all");
	for (size_t i = 0; i < ctl->words; i++)
		if (!is_qid(ctl->word[i]))
			return bad_qid(ctl->word[i]);
	if (all)
		status = change(ctl, NULL, &n);
	for (size_t i = 0; i < ctl->words; i++) {
		int one = change(ctl, ctl->word[i], &n);

		if (one == EX_UNAVAILABLE)
			return one;
		status = status != 0 ? status : one;
	}
	if (status == 0 || n > 0)
		ctl_done(ctl, json_pack("{s:I}", "changed", n),
		    "%lld message%s %s", (long long)n, n == 1 ? "" : "s", did);
	return status;
}
