/*
 * submitctl limit: how much users, devices and keys of the access map may
 * send, and how much they did lately. What was sent is known to the running
 * server; see queue_quota.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl.h"
#include "mem.h"
#include "store/device.h"
#include "store/limit.h"
#include "userlimit.h"

static int set_run(struct ctl *);
static int show_run(struct ctl *);

#define WHOSE_ARGS "[--user NAME [--device LABEL] | --map KEY]"

static const struct ctl_opt whose_opts[] = { { "--user", true },
	{ "--device", true }, { "--map", true }, { .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_limit_verbs[] = {
	{ "limit", "set", WHOSE_ARGS " LIMIT=NUMBER|none|default...",
	  "limit what may be sent, by all users or by one",
	  set_run, CTL_WRITE, 1, CTL_WORDS_MAX, whose_opts },
	{ "limit", "show", WHOSE_ARGS,
	  "show the limits, and what was sent lately",
	  show_run, CTL_READ, 0, 0, whose_opts },
	{ .noun = NULL },
};

static const struct ctl_column columns[] = {
	{ "limit", "LIMIT", CTL_TEXT, NULL },
	{ "shown", "AT MOST", CTL_TEXT, NULL },
	{ "now", "NOW", CTL_NUMBER, NULL },
	{ "from", "FROM", CTL_TEXT, NULL },
	{ "device", "DEVICE", CTL_TEXT, NULL },
	{ .key = NULL },
};
/* clang-format on */

/* Whom the options name. */
struct whose {
	struct limit_of of;
	struct store_user user;
	struct store_device device;
	char sender[sizeof(USERLIMIT_MAP) + 1024];
};

static int
take_device(const struct ctl *ctl, const char *label, struct whose *w)
{
	enum store_rc rc =
	    store_device_get(ctl->st, w->user.id, label, &w->device);

	if (rc == STORE_NONE)
		return ctl_fail(EX_DATAERR, "user %s has no device \"%s\"",
		    w->user.name, label);
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	w->of.device_id = w->device.id;
	return 0;
}

static int
take_whose(const struct ctl *ctl, struct whose *w)
{
	const char *user = ctl_opt(ctl, "--user");
	const char *device = ctl_opt(ctl, "--device");
	int status;

	memset(w, 0, sizeof(*w));
	w->of.map_key = ctl_opt(ctl, "--map");
	if (device != NULL && user == NULL)
		return ctl_usage(ctl, "--device needs --user");
	if (w->of.map_key != NULL && user != NULL)
		return ctl_usage(ctl, "--user and --map exclude each other");
	if (w->of.map_key != NULL)
		userlimit_map_sender(
		    w->of.map_key, w->sender, sizeof(w->sender));
	if (user == NULL)
		return 0;
	if ((status = ctl_user(ctl, user, &w->user)) != 0)
		return status;
	w->of.user_id = w->user.id;
	snprintf(w->sender, sizeof(w->sender), "%s", w->user.name);
	return device != NULL ? take_device(ctl, device, w) : 0;
}

/* ---- limit set ---- */

static int
unknown(const struct ctl *ctl, const char *word)
{
	char list[512] = "";
	size_t n = 0;
	int i;

	for (i = 0; i < LIMITS; i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
		    i > 0 ? ", " : "", limit_name((enum limit)i));
	return ctl_usage(
	    ctl, "\"%s\" is no limit, expected one of: %s", word, list);
}

/* A value as the configuration takes it; LIMIT_UNSET for "default". */
static int
take_value(struct ctl *ctl, enum limit limit, const char *text, int64_t *value)
{
	char key[64], err[256];

	*value = LIMIT_UNSET;
	if (strcmp(text, "default") == 0)
		return 0;
	snprintf(key, sizeof(key), "limit_%s", limit_name(limit));
	if (conf_set(&ctl->conf, key, strcmp(text, "none") == 0 ? "0" : text,
		err, sizeof(err)) == -1)
		return ctl_fail(EX_DATAERR, "%s: %s", limit_name(limit), err);
	*value = ctl->conf.limit.v[limit];
	return 0;
}

/* A device has no suspension of its own. */
static bool
is_of_user(enum limit limit)
{
	return limit >= LIMIT_SUSPEND_NEW;
}

static int
take_word(struct ctl *ctl, const struct whose *w, const char *word,
    enum limit *limit, int64_t *value)
{
	const char *equal = strchr(word, '=');
	char *name;
	int rc;

	if (equal == NULL)
		return ctl_usage(
		    ctl, "\"%s\": LIMIT=NUMBER is expected", word);
	name = xstrndup(word, (size_t)(equal - word));
	rc = limit_parse(name, limit);
	free(name);
	if (rc == -1)
		return unknown(ctl, word);
	if (w->of.device_id != 0 && is_of_user(*limit))
		return ctl_usage(ctl, "%s is of users, not of a device",
		    limit_name(*limit));
	return take_value(ctl, *limit, equal + 1, value);
}

static int
set_run(struct ctl *ctl)
{
	int64_t value[CTL_WORDS_MAX];
	enum limit limit[CTL_WORDS_MAX];
	struct whose w;
	enum store_rc rc = STORE_OK;
	int status;
	size_t i;

	if ((status = ctl_begin(ctl)) != 0 ||
	    (status = take_whose(ctl, &w)) != 0)
		return status;
	for (i = 0; i < ctl->words; i++)
		if ((status = take_word(ctl, &w, ctl->word[i], &limit[i],
			 &value[i])) != 0)
			return status;
	for (i = 0; i < ctl->words && rc == STORE_OK; i++) {
		if (value[i] != LIMIT_UNSET)
			rc = store_limit_set(
			    ctl->st, &w.of, limit[i], value[i]);
		else if ((rc = store_limit_unset(
			      ctl->st, &w.of, limit[i])) == STORE_NONE)
			rc = STORE_OK; /* as it was */
	}
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl_done(ctl, json_pack("{s:i}", "changed", (int)ctl->words),
	    "%zu limit%s set", ctl->words, ctl->words == 1 ? "" : "s");
	return 0;
}

/* ---- limit show ---- */

static void
add_row(json_t *rows, enum limit limit, int64_t value, const char *from,
    const char *device)
{
	json_t *o = json_object();

	json_object_set_new(o, "limit", json_string(limit_name(limit)));
	json_object_set_new(o, "value",
	    value != LIMIT_NONE ? json_integer(value) : json_null());
	json_object_set_new(o, "now", json_null());
	json_object_set_new(o, "from", json_string(from));
	json_object_set_new(o, "device",
	    device != NULL ? json_string(device) : json_null());
	json_array_append_new(rows, o);
}

/* What was sent, where the server runs. */
static void
add_usage(const struct ctl *ctl, const struct whose *w, int64_t device,
    json_t *rows)
{
	json_t *items = json_array(), *item, *row, *now;
	size_t i, k;

	ctl_try(ctl,
	    json_pack("{s:s, s:s}", "cmd", "limit.usage", "user", w->sender),
	    items);
	json_array_foreach(items, i, item)
	{
		now = json_object_get(item, "device");
		if (device != 0 ? json_integer_value(now) != device
				: !json_is_null(now))
			continue;
		json_array_foreach(rows, k, row)
		{
			now = json_object_get(item,
			    json_string_value(json_object_get(row, "limit")));
			if (now != NULL)
				json_object_set(row, "now", now);
		}
	}
	json_decref(items);
}

/* For people: the number, or "none". */
static void
add_shown(json_t *rows)
{
	json_t *row, *value;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		value = json_object_get(row, "value");
		json_object_set_new(row, "shown",
		    json_is_null(value)
			? json_string("none")
			: json_sprintf(
			      "%lld", (long long)json_integer_value(value)));
	}
}

static enum store_rc
collect(const struct ctl *ctl, const struct whose *w, json_t *rows)
{
	static const char *const from[] = { [LIMIT_OF_CONF] = "configuration",
		[LIMIT_OF_ALL] = "all users",
		[LIMIT_OF_SENDER] = "own rule" };
	bool map = w->of.map_key != NULL;
	struct userlimit u;
	enum store_rc rc;
	int i;

	/* of nobody, whom no rule can be about: those of all users */
	rc = userlimit_get(ctl->st, &ctl->conf.limit, w->sender,
	    map			 ? 0
		: w->user.id > 0 ? w->user.id
				 : -1,
	    w->device.id, &u);
	for (i = 0; i < LIMITS && rc == STORE_OK; i++) {
		if (w->device.id == 0)
			add_row(rows, (enum limit)i, u.user.v[i],
			    map && u.from[i] == LIMIT_OF_CONF ? "no rule"
							      : from[u.from[i]],
			    NULL);
		else if (!is_of_user((enum limit)i))
			add_row(rows, (enum limit)i, u.device.v[i],
			    u.device.v[i] != LIMIT_NONE ? "own rule"
							: "no rule",
			    w->device.label);
	}
	return rc;
}

static int
show_run(struct ctl *ctl)
{
	json_t *rows = json_array();
	struct whose w;
	enum store_rc rc;
	int status;

	if ((status = take_whose(ctl, &w)) != 0) {
		json_decref(rows);
		return status;
	}
	if ((rc = collect(ctl, &w, rows)) != STORE_OK) {
		json_decref(rows);
		return ctl_store_fail(ctl, rc);
	}
	if (w.sender[0] != '\0')
		add_usage(ctl, &w, w.device.id, rows);
	if (!ctl->json)
		add_shown(rows);
	ctl_list(ctl, rows, columns);
	return 0;
}
