/*
 * submitctl queue and status: what the running server knows. The queue has one
 * owner, the server; all of this goes through its control socket. Which fields
 * an answer has is said in queue_ctl.c.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "ctl.h"

static int list_run(struct ctl *);
static int show_run(struct ctl *);
static int stats_run(struct ctl *);
static int change_run(struct ctl *);
static int status_run(struct ctl *);

static const struct ctl_opt all_opts[] = { { "--all", false },
	{ "--user", true }, { .name = NULL } };
static const struct ctl_opt release_opts[] = { { "--all", false },
	{ "--user", true }, { "--now", false }, { .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_queue_verbs[] = {
	{ "queue", "list", "", "list the messages that wait",
	  list_run, CTL_CONF, 0, 0, NULL },
	{ "queue", "show", "QID", "show a message and its recipients",
	  show_run, CTL_CONF, 1, 1, NULL },
	{ "queue", "stats", "", "count messages, recipients and bytes",
	  stats_run, CTL_CONF, 0, 0, NULL },
	{ "queue", "hold", "QID...|--user NAME|--all", "keep messages from being sent",
	  change_run, CTL_CONF, 0, CTL_WORDS_MAX, all_opts },
	{ "queue", "release", "[--now] QID...|--user NAME|--all",
	  "send held messages again",
	  change_run, CTL_CONF, 0, CTL_WORDS_MAX, release_opts },
	{ "queue", "retry", "QID...|--user NAME|--all", "try deferred messages now",
	  change_run, CTL_CONF, 0, CTL_WORDS_MAX, all_opts },
	{ "queue", "del", "QID...|--user NAME|--all",
	  "delete messages, telling nobody",
	  change_run, CTL_CONF, 0, CTL_WORDS_MAX, all_opts },
	{ .noun = NULL },
};

const struct ctl_verb ctl_status_verbs[] = {
	{ "status", "", "", "show how the running server is",
	  status_run, CTL_CONF, 0, 0, NULL },
	{ .noun = NULL },
};

/* "to" and "reply" are made here: see add_digest(). */
static const struct ctl_column list_columns[] = {
	{ "qid", "QID", CTL_TEXT, NULL },
	{ "arrived", "ARRIVED", CTL_TIME, NULL },
	{ "size", "SIZE", CTL_SIZE, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "next_try", "NEXT TRY", CTL_TIME, NULL },
	{ "from", "FROM", CTL_TEXT, NULL },
	{ "to", "TO", CTL_TEXT, NULL },
	{ "reply", "LAST REPLY", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column rcpt_columns[] = {
	{ "to", "TO", CTL_TEXT, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "attempts", "TRIES", CTL_NUMBER, NULL },
	{ "last", "LAST TRY", CTL_TIME, NULL },
	{ "next_try", "NEXT TRY", CTL_TIME, NULL },
	{ "reply", "LAST REPLY", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column show_columns[] = {
	{ "qid", "Queue id", CTL_TEXT, NULL },
	{ "sid", "Session", CTL_TEXT, NULL },
	{ "from", "From", CTL_TEXT, NULL },
	{ "user", "User", CTL_TEXT, NULL },
	{ "how", "Logged in by", CTL_TEXT, NULL },
	{ "client", "Client", CTL_TEXT, NULL },
	{ "size", "Size", CTL_SIZE, NULL },
	{ "body", "Body", CTL_TEXT, NULL },
	{ "priority", "Priority", CTL_NUMBER, NULL },
	{ "not_before", "Not before", CTL_TIME, NULL },
	{ "deliver_by", "Deliver by", CTL_TIME, NULL },
	{ "arrived", "Arrived", CTL_TIME, NULL },
	{ "expires", "Bounces after", CTL_TIME, NULL },
	{ "state", "State", CTL_TEXT, NULL },
	{ "next_try", "Next try", CTL_TIME, NULL },
	{ "rcpts", "Recipients", CTL_TABLE, rcpt_columns },
	{ .key = NULL },
};

static const struct ctl_column stats_columns[] = {
	{ "messages", "Messages", CTL_NUMBER, NULL },
	{ "bytes", "Size", CTL_SIZE, NULL },
	{ "in_flight", "In flight", CTL_NUMBER, NULL },
	{ "oldest", "Oldest", CTL_TIME, NULL },
	{ "recipients.waiting", "Recipients waiting", CTL_NUMBER, NULL },
	{ "recipients.deferred", "Recipients deferred", CTL_NUMBER, NULL },
	{ "recipients.held", "Recipients held", CTL_NUMBER, NULL },
	{ "recipients.delivered", "Recipients delivered", CTL_NUMBER, NULL },
	{ "recipients.failed", "Recipients failed", CTL_NUMBER, NULL },
	{ .key = NULL },
};

static const struct ctl_column role_columns[] = {
	{ "role", "ROLE", CTL_TEXT, NULL },
	{ "instance", "INSTANCE", CTL_NUMBER, NULL },
	{ "pid", "PID", CTL_NUMBER, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column alarm_columns[] = {
	{ "what", "WHAT", CTL_TEXT, NULL },
	{ "trouble", "TROUBLE", CTL_TEXT, NULL },
	{ "since", "SINCE", CTL_TIME, NULL },
	{ "text", "TEXT", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column throttled_columns[] = {
	{ "user", "USER", CTL_TEXT, NULL },
	{ "addr", "ADDRESS", CTL_TEXT, NULL },
	{ "wrong", "WRONG", CTL_NUMBER, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "until", "UNTIL", CTL_TIME, NULL },
	{ .key = NULL },
};

static const struct ctl_column address_columns[] = {
	{ "addr", "ADDRESS", CTL_TEXT, NULL },
	{ "connections", "CONNECTIONS", CTL_NUMBER, NULL },
	{ "strangers", "NOT LOGGED IN", CTL_NUMBER, NULL },
	{ .key = NULL },
};

static const struct ctl_column status_columns[] = {
	{ "version", "Version", CTL_TEXT, NULL },
	{ "uptime_s", "Up for", CTL_SPAN, NULL },
	{ "sessions", "Sessions", CTL_NUMBER, NULL },
	{ "connections.now", "Connections", CTL_NUMBER, NULL },
	{ "connections.strangers", "Not logged in", CTL_NUMBER, NULL },
	{ "connections.handshakes", "In TLS handshakes", CTL_NUMBER, NULL },
	{ "connections.refused", "Connections refused", CTL_NUMBER, NULL },
	{ "connections.dropped", "Dropped to make room", CTL_NUMBER, NULL },
	{ "queue.messages", "Messages queued", CTL_NUMBER, NULL },
	{ "queue.bytes", "Size", CTL_SIZE, NULL },
	{ "queue.in_flight", "In flight", CTL_NUMBER, NULL },
	{ "queue.oldest", "Oldest", CTL_TIME, NULL },
	{ "smarthost.host", "Smarthost", CTL_TEXT, NULL },
	{ "smarthost.state", "Smarthost is", CTL_TEXT, NULL },
	{ "smarthost.since", "Since", CTL_TIME, NULL },
	{ "smarthost.trouble", "Trouble", CTL_TEXT, NULL },
	{ "smarthost.text", "It said", CTL_TEXT, NULL },
	{ "smarthost.next_try", "Next try", CTL_TIME, NULL },
	{ "smarthost.connections", "Connections to it", CTL_NUMBER, NULL },
	{ "roles", "Roles", CTL_TABLE, role_columns },
	{ "connections.addresses", "Addresses at the limit", CTL_TABLE,
	  address_columns },
	{ "alarms", "Alarms", CTL_TABLE, alarm_columns },
	{ "throttled", "Throttled", CTL_TABLE, throttled_columns },
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

/* The last reply to a recipient in one line; NULL if there was none. */
static json_t *
reply_of(const json_t *rcpt)
{
	json_int_t code = json_integer_value(json_object_get(rcpt, "code"));
	const char *esc = json_string_value(json_object_get(rcpt, "esc"));
	const char *text = json_string_value(json_object_get(rcpt, "text"));

	if (text == NULL)
		text = "";
	if (code == 0)
		return text[0] != '\0' ? json_string(text) : NULL;
	if (esc == NULL || esc[0] == '\0')
		return json_sprintf("%d %s", (int)code, text);
	return json_sprintf("%d %s %s", (int)code, esc, text);
}

static bool
is_done(const json_t *rcpt)
{
	const char *state = json_string_value(json_object_get(rcpt, "state"));

	return state != NULL &&
	    (strcmp(state, "delivered") == 0 || strcmp(state, "failed") == 0);
}

/* The recipients that still keep the message: the first, how many others. */
static void
add_open_rcpts(json_t *item, json_t *rcpts)
{
	const char *to = NULL;
	size_t n = 0, i;
	json_t *rcpt;

	json_array_foreach(rcpts, i, rcpt)
	{
		if (is_done(rcpt))
			continue;
		if (n++ > 0)
			continue;
		to = json_string_value(json_object_get(rcpt, "to"));
		json_object_set(item, "reply", json_object_get(rcpt, "reply"));
	}
	if (to != NULL && n > 1)
		json_object_set_new(
		    item, "to", json_sprintf("%s (+%zu)", to, n - 1));
	else if (to != NULL)
		json_object_set_new(item, "to", json_string(to));
}

/* For people: replies in one line, recipients in a word, <> for nobody. */
static void
add_digest(json_t *item)
{
	json_t *rcpts = json_object_get(item, "rcpts"), *rcpt, *reply;
	const char *from = json_string_value(json_object_get(item, "from"));
	size_t i;

	json_array_foreach(rcpts, i, rcpt)
	{
		if ((reply = reply_of(rcpt)) != NULL)
			json_object_set_new(rcpt, "reply", reply);
	}
	add_open_rcpts(item, rcpts);
	if (from != NULL && from[0] == '\0')
		json_object_set_new(item, "from", json_string("<>"));
}

/* Asks for items; those for people get their digest. */
static int
ask_for_items(const struct ctl *ctl, json_t *request, json_t **items)
{
	json_t *item;
	size_t i;
	int status;

	*items = json_array();
	if ((status = ctl_ask(ctl, request, *items, NULL)) != 0) {
		json_decref(*items);
		return status;
	}
	json_array_foreach(*items, i, item)
	{
		if (!ctl->json)
			add_digest(item);
	}
	return 0;
}

static int
list_run(struct ctl *ctl)
{
	json_t *items;
	int status;

	status =
	    ask_for_items(ctl, json_pack("{s:s}", "cmd", "queue.list"), &items);
	if (status != 0)
		return status;
	if (json_array_size(items) == 0 && !ctl->json)
		ctl_done(ctl, items, "The queue is empty.");
	else
		ctl_list(ctl, items, list_columns);
	return 0;
}

static int
show_run(struct ctl *ctl)
{
	const char *qid = ctl->word[0];
	json_t *items;
	int status;

	if (!is_qid(qid))
		return bad_qid(qid);
	status = ask_for_items(ctl,
	    json_pack("{s:s, s:s}", "cmd", "queue.show", "qid", qid), &items);
	if (status != 0)
		return status;
	if (json_array_size(items) == 1)
		ctl_show(
		    ctl, json_incref(json_array_get(items, 0)), show_columns);
	else
		status =
		    ctl_fail(EX_PROTOCOL, "%s: the answer is not understood",
			ctl->conf.control_socket);
	json_decref(items);
	return status;
}

/* The fields of the last line of an answer, which are the result. */
static int
ask_for_object(
    struct ctl *ctl, const char *cmd, const struct ctl_column *columns)
{
	json_t *end;
	int status;

	status = ctl_ask(ctl, json_pack("{s:s}", "cmd", cmd), NULL, &end);
	if (status != 0)
		return status;
	json_object_del(end, "ok");
	ctl_show(ctl, end, columns);
	return 0;
}

static int
stats_run(struct ctl *ctl)
{
	return ask_for_object(ctl, "queue.stats", stats_columns);
}

static int
status_run(struct ctl *ctl)
{
	return ask_for_object(ctl, "status", status_columns);
}

struct tally {
	json_int_t changed;
	json_int_t later; /* that wait for the time their sender asked for */
};

/* One request: about a message ("qid"), a user's ("user"), or all ("all"). */
static int
change(const struct ctl *ctl, const char *which, json_t *value, struct tally *n)
{
	json_t *request, *end;
	int status;

	request = json_pack("{s:s+}", "cmd", "queue.", ctl->verb->name);
	json_object_set_new(request, which, value);
	if (ctl_opt(ctl, "--now") != NULL)
		json_object_set_new(request, "now", json_true());
	if ((status = ctl_ask(ctl, request, NULL, &end)) != 0)
		return status;
	n->changed += json_integer_value(json_object_get(end, "changed"));
	n->later += json_integer_value(json_object_get(end, "later"));
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

static void
tell_changed(struct ctl *ctl, const struct tally *n)
{
	const char *verb = ctl->verb->name;
	json_t *o = json_pack("{s:I}", "changed", n->changed);
	char text[128] = "";

	if (strcmp(verb, "release") == 0 || strcmp(verb, "retry") == 0) {
		json_object_set_new(o, "later", json_integer(n->later));
		if (n->later > 0)
			snprintf(text, sizeof(text),
			    "; %lld wait%s for the time the sender asked for "
			    "(queue release --now sends %s at once)",
			    (long long)n->later, n->later == 1 ? "s" : "",
			    n->later == 1 ? "it" : "them");
	}
	ctl_done(ctl, o, "%lld message%s %s%s", (long long)n->changed,
	    n->changed == 1 ? "" : "s", past_tense(verb), text);
}

/*
 * Goes on after a message that is gone already, so that a list of ids can be
 * worked off; the first failure is the exit status.
 */
static int
change_run(struct ctl *ctl)
{
	bool all = ctl_opt(ctl, "--all") != NULL;
	const char *user = ctl_opt(ctl, "--user");
	struct tally n = { 0 };
	int status = 0;

	if (all + (user != NULL) + (ctl->words > 0) != 1)
		return ctl_usage(
		    ctl, "give either queue ids, --user NAME or --all");
	for (size_t i = 0; i < ctl->words; i++)
		if (!is_qid(ctl->word[i]))
			return bad_qid(ctl->word[i]);
	if (all)
		status = change(ctl, "all", json_true(), &n);
	if (user != NULL)
		status = change(ctl, "user", json_string(user), &n);
	for (size_t i = 0; i < ctl->words; i++) {
		int one = change(ctl, "qid", json_string(ctl->word[i]), &n);

		if (one == EX_UNAVAILABLE)
			return one;
		status = status != 0 ? status : one;
	}
	if (status == 0 || n.changed > 0)
		tell_changed(ctl, &n);
	return status;
}
