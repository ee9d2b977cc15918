/*
 * submitctl throttle: who guesses passwords, and an end to what was done
 * against it. The running server knows; see queue_login.c.
 */
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "auth/certowner.h"
#include "ctl.h"

static int list_run(struct ctl *);
static int clear_run(struct ctl *);

static const struct ctl_opt clear_opts[] = { { "--all", false },
	{ .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_throttle_verbs[] = {
	{ "throttle", "list", "",
	  "list users and addresses with wrong passwords lately",
	  list_run, CTL_CONF, 0, 0, NULL },
	{ "throttle", "clear", "USER|ADDRESS...|--all",
	  "forget wrong passwords, so that nobody is slowed down or refused",
	  clear_run, CTL_CONF, 0, CTL_WORDS_MAX, clear_opts },
	{ .noun = NULL },
};

static const struct ctl_column columns[] = {
	{ "user", "USER", CTL_TEXT, NULL },
	{ "addr", "ADDRESS", CTL_TEXT, NULL },
	{ "wrong", "WRONG", CTL_NUMBER, NULL },
	{ "last", "LAST", CTL_TIME, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "until", "UNTIL", CTL_TIME, NULL },
	{ .key = NULL },
};
/* clang-format on */

static int
list_run(struct ctl *ctl)
{
	json_t *items = json_array(), *end;
	int status;

	status = ctl_ask(
	    ctl, json_pack("{s:s}", "cmd", "throttle.list"), items, &end);
	if (status != 0) {
		json_decref(items);
		return status;
	}
	if (json_is_true(json_object_get(end, "more")))
		ctl_note("there are more; these are the newest");
	json_decref(end);
	if (json_array_size(items) == 0 && !ctl->json)
		ctl_done(ctl, items, "No wrong passwords lately.");
	else
		ctl_list(ctl, items, columns);
	return 0;
}

/* With a NULL word all is cleared. */
static int
clear(const struct ctl *ctl, const char *word, json_int_t *cleared)
{
	json_t *request = json_pack("{s:s}", "cmd", "throttle.clear"), *end;
	int status;

	if (word != NULL)
		json_object_set_new(request, "what", json_string(word));
	else
		json_object_set_new(request, "all", json_true());
	if ((status = ctl_ask(ctl, request, NULL, &end)) != 0)
		return status;
	*cleared += json_integer_value(json_object_get(end, "cleared"));
	json_decref(end);
	return 0;
}

/* The user one of whose addresses this is; false if the store can't say. */
static bool
owner_of(
    const struct ctl *ctl, const char *address, char out[STORE_NAME_MAX + 1])
{
	struct certowner_only only = { 0 };
	struct store *st = NULL;
	struct store_user u;
	bool found;

	found = store_open(ctl->conf.users_db, STORE_RO, &st) == STORE_OK &&
	    store_user_get(st, address, &u) == STORE_NONE &&
	    certowner_only(st, address, &only) == STORE_OK && only.users == 1;
	store_close(&st);
	if (found)
		strcpy(out, only.user);
	return found;
}

/* What people type: the name, or an address, by which they log in. */
static int
clear_word(const struct ctl *ctl, const char *word, json_int_t *cleared)
{
	char name[STORE_NAME_MAX + 1];
	int status = clear(ctl, word, cleared);

	if (status == 0 && strchr(word, '@') != NULL &&
	    owner_of(ctl, word, name) && strcasecmp(name, word) != 0)
		status = clear(ctl, name, cleared);
	return status;
}

static int
clear_run(struct ctl *ctl)
{
	bool all = ctl_opt(ctl, "--all") != NULL;
	json_int_t n = 0;
	int status = 0;

	if (all == (ctl->words > 0))
		return ctl_usage(
		    ctl, "give either users and addresses or --all");
	if (all)
		status = clear(ctl, NULL, &n);
	for (size_t i = 0; i < ctl->words && status == 0; i++)
		status = clear_word(ctl, ctl->word[i], &n);
	if (status != 0)
		return status;
	ctl_done(ctl, json_pack("{s:I}", "cleared", n),
	    n == 0 ? "There was nothing to forget."
		   : "Forgotten: %lld counter%s.",
	    (long long)n, n == 1 ? "" : "s");
	return 0;
}
