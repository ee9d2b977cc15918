/*
 * submitctl address: what a user may send as.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "ctl.h"

static int add_run(struct ctl *);
static int del_run(struct ctl *);
static int list_run(struct ctl *);

/* clang-format off */
const struct ctl_verb ctl_address_verbs[] = {
	{ "address", "add", "USER ADDRESS...",
	  "let a user send as an address, as @DOMAIN, or as anything (*)",
	  add_run, CTL_WRITE, 2, CTL_WORDS_MAX, NULL },
	{ "address", "del", "USER ADDRESS...",
	  "take addresses away from a user",
	  del_run, CTL_WRITE, 2, CTL_WORDS_MAX, NULL },
	{ "address", "list", "[USER]", "list addresses and their owners",
	  list_run, CTL_READ, 0, 1, NULL },
	{ .noun = NULL },
};

static const struct ctl_column columns[] = {
	{ "user", "USER", CTL_TEXT, NULL },
	{ "address", "ADDRESS", CTL_TEXT, NULL },
	{ "created", "CREATED", CTL_TIME, NULL },
	{ .key = NULL },
};
/* clang-format on */

static int
list_one(const struct store_address *address, void *arg)
{
	json_array_append_new(arg,
	    json_pack("{s:s, s:s, s:o}", "user", address->user, "address",
		address->pattern, "created", ctl_json_time(address->created)));
	return 0;
}

static int
list_run(struct ctl *ctl)
{
	struct store_user user = { .id = 0 };
	json_t *rows;
	enum store_rc rc;
	int status;

	if (ctl->words > 0 &&
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	rows = json_array();
	rc = store_address_list(ctl->st, user.id, list_one, rows);
	if (rc != STORE_OK) {
		json_decref(rows);
		return ctl_store_fail(ctl, rc);
	}
	ctl_list(ctl, rows, columns);
	return 0;
}

/* Applies one of the store's functions to each of the addresses. */
static int
change(struct ctl *ctl,
    enum store_rc (*apply)(struct store *, int64_t, const char *),
    const char *what)
{
	struct store_user user;
	json_t *addresses;
	enum store_rc rc;
	int status;

	if ((status = ctl_begin(ctl)) != 0 ||
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	addresses = json_array();
	for (size_t i = 1; i < ctl->words; i++) {
		rc = apply(ctl->st, user.id, ctl->word[i]);
		if (rc == STORE_INVALID) {
			json_decref(addresses);
			return ctl_fail(EX_DATAERR, "address \"%s\": %s",
			    ctl->word[i], store_errtext(ctl->st));
		}
		if (rc != STORE_OK) {
			json_decref(addresses);
			return ctl_store_fail(ctl, rc);
		}
		json_array_append_new(addresses, json_string(ctl->word[i]));
	}
	ctl_done(ctl,
	    json_pack("{s:s, s:o}", "user", user.name, what, addresses),
	    "user %s: %zu address%s %s", user.name, ctl->words - 1,
	    ctl->words == 2 ? "" : "es", what);
	return 0;
}

static int
add_run(struct ctl *ctl)
{
	return change(ctl, store_address_add, "added");
}

static int
del_run(struct ctl *ctl)
{
	return change(ctl, store_address_del, "deleted");
}
