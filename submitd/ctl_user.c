/*
 * submitctl user: who may submit mail, and how they prove who they are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "auth/sasl.h"
#include "ctl.h"
#include "ctl_cert.h"
#include "mem.h"
#include "store/access.h"
#include "store/ca.h"
#include "store/cert.h"
#include "store/device.h"
#include "userlimit.h"

static int add_run(struct ctl *);
static int passwd_run(struct ctl *);
static int set_run(struct ctl *);
static int list_run(struct ctl *);
static int show_run(struct ctl *);
static int suspend_run(struct ctl *);
static int resume_run(struct ctl *);
static int del_run(struct ctl *);

static const struct ctl_opt add_opts[] = { CTL_PASSWORD_OPTS,
	{ "--address", true }, { "--policy", true }, { .name = NULL } };
static const struct ctl_opt passwd_opts[] = { CTL_PASSWORD_OPTS,
	{ .name = NULL } };
static const struct ctl_opt set_opts[] = { { "--policy", true },
	{ "--state", true }, { "--backend", true }, { "--mechanisms", true },
	{ "--max-priority", true }, { .name = NULL } };
static const struct ctl_opt suspend_opts[] = { { "--reason", true },
	{ .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_user_verbs[] = {
	{ "user", "add",
	  "NAME " CTL_PASSWORD_ARGS " [--address ADDRESS]... [--policy POLICY]",
	  "add a user", add_run, CTL_WRITE, 1, 1, add_opts },
	{ "user", "passwd", "NAME " CTL_PASSWORD_ARGS,
	  "set the password of a user, or take it away",
	  passwd_run, CTL_WRITE, 1, 1, passwd_opts },
	{ "user", "set",
	  "NAME [--policy any|cert|password|both]"
	  " [--state active|suspended|disabled]"
	  " [--backend default|store|pam|saslauthd] [--mechanisms LIST]"
	  " [--max-priority 0..9|default]",
	  "change how a user must log in, or what a user may",
	  set_run, CTL_WRITE, 1, 1, set_opts },
	{ "user", "list", "", "list all users",
	  list_run, CTL_READ, 0, 0, NULL },
	{ "user", "show", "NAME", "show all about a user",
	  show_run, CTL_READ, 1, 1, NULL },
	{ "user", "suspend", "NAME [--reason TEXT]",
	  "keep a user from logging in for now",
	  suspend_run, CTL_WRITE, 1, 1, suspend_opts },
	{ "user", "resume", "NAME", "end a suspension",
	  resume_run, CTL_WRITE, 1, 1, NULL },
	{ "user", "del", "NAME",
	  "delete a user with addresses, certificates and passwords",
	  del_run, CTL_WRITE, 1, 1, NULL },
	{ .noun = NULL },
};

static const struct ctl_column list_columns[] = {
	{ "name", "NAME", CTL_TEXT, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "policy", "POLICY", CTL_TEXT, NULL },
	{ "password", "PASSWORD", CTL_WORDS, NULL },
	{ "certificates", "CERTS", CTL_NUMBER, NULL },
	{ "addresses", "ADDRESSES", CTL_WORDS, NULL },
	{ .key = NULL },
};

static const struct ctl_column device_columns[] = {
	{ "label", "LABEL", CTL_TEXT, NULL },
	{ "kind", "KIND", CTL_TEXT, NULL },
	{ "created", "CREATED", CTL_TIME, NULL },
	{ "expires", "EXPIRES", CTL_TIME, NULL },
	{ "revoked", "REVOKED", CTL_TIME, NULL },
	{ .key = NULL },
};

static const struct ctl_column show_columns[] = {
	{ "name", "Name", CTL_TEXT, NULL },
	{ "state", "State", CTL_TEXT, NULL },
	{ "suspended", "By the server since", CTL_TIME, NULL },
	{ "reason", "Reason", CTL_TEXT, NULL },
	{ "suspended_why", "The server says", CTL_TEXT, NULL },
	{ "policy", "Policy", CTL_TEXT, NULL },
	{ "backend", "Backend", CTL_TEXT, NULL },
	{ "mechanisms", "Mechanisms", CTL_TEXT, NULL },
	{ "max_priority", "Highest priority", CTL_NUMBER, NULL },
	{ "password", "Password kept as", CTL_WORDS, NULL },
	{ "created", "Created", CTL_TIME, NULL },
	{ "addresses", "Addresses", CTL_WORDS, NULL },
	{ "certificates", "Certificates", CTL_TABLE, ctl_cert_columns },
	{ "devices", "Devices", CTL_TABLE, device_columns },
	{ .key = NULL },
};
/* clang-format on */

/* Users as JSON. */

static int
add_address(const struct store_address *address, void *arg)
{
	json_array_append_new(arg, json_string(address->pattern));
	return 0;
}

static int
add_account_kind(const struct store_cred *cred, void *arg)
{
	if (cred->device_id == 0)
		json_array_append_new(
		    arg, json_string(store_cred_kind_text(cred->kind)));
	return 0;
}

static int
add_cert(const struct store_cert *cert, void *arg)
{
	json_array_append_new(arg, ctl_cert_json(cert));
	return 0;
}

static int
add_device(const struct store_device *device, void *arg)
{
	json_array_append_new(arg,
	    json_pack("{s:s, s:s, s:o, s:o, s:o}", "label", device->label,
		"kind", store_device_kind_text(device->kind), "created",
		ctl_json_time(device->created), "expires",
		ctl_json_time(device->expires), "revoked",
		ctl_json_time(device->revoked)));
	return 0;
}

/* Everything the store knows of a user. */
static enum store_rc
user_json(const struct ctl *ctl, const struct store_user *user, json_t **out)
{
	json_t *addresses = json_array(), *password = json_array();
	json_t *certs = json_array(), *devices = json_array();
	enum store_rc rc;

	rc = store_address_list(ctl->st, user->id, add_address, addresses);
	if (rc == STORE_OK)
		rc = store_cred_list(
		    ctl->st, user->id, add_account_kind, password);
	if (rc == STORE_OK)
		rc = store_cert_list(ctl->st, user->id, add_cert, certs);
	if (rc == STORE_OK)
		rc = store_device_list(ctl->st, user->id, add_device, devices);
	*out = json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "name",
	    user->name, "state", store_user_state_text(user->state), "reason",
	    user->reason, "policy", store_auth_policy_text(user->policy),
	    "backend", store_backend_text(user->backend), "mechanisms",
	    user->mechanisms, "password", password, "created",
	    ctl_json_time(user->created), "addresses", addresses,
	    "certificates", certs, "devices", devices);
	json_object_set_new(*out, "max_priority",
	    user->max_priority == STORE_PRIORITY_CONF
		? json_null()
		: json_integer(user->max_priority));
	return rc;
}

/*
 * Who behaved like a stolen account is suspended by the running server. What an
 * administrator has said before, or since, stays.
 */
static void
add_suspended(const struct ctl *ctl, json_t *rows)
{
	json_t *list = ctl_suspended(ctl), *row;
	const json_t *found;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		found = ctl_suspended_find(
		    list, json_string_value(json_object_get(row, "name")));
		if (found == NULL)
			continue;
		if (strcmp(json_string_value(json_object_get(row, "state")),
			"active") == 0) {
			json_object_set_new(
			    row, "state", json_string("suspended"));
			json_object_set(
			    row, "reason", json_object_get(found, "why"));
		}
		json_object_set(
		    row, "suspended", json_object_get(found, "since"));
		json_object_set(
		    row, "suspended_why", json_object_get(found, "why"));
	}
	json_decref(list);
}

struct listing {
	const struct ctl *ctl;
	json_t *rows;
	enum store_rc rc;
};

/* In a listing certificates and devices are numbers. */
static int
list_user(const struct store_user *user, void *arg)
{
	static const char *const counted[] = { "certificates", "devices" };
	struct listing *l = arg;
	json_t *row;

	l->rc = user_json(l->ctl, user, &row);
	for (size_t i = 0; i < 2; i++) {
		size_t n = json_array_size(json_object_get(row, counted[i]));

		json_object_set_new(
		    row, counted[i], json_integer((json_int_t)n));
	}
	json_array_append_new(l->rows, row);
	return l->rc != STORE_OK;
}

static int
list_run(struct ctl *ctl)
{
	struct listing l = { ctl, json_array(), STORE_OK };
	enum store_rc rc = store_user_list(ctl->st, list_user, &l);

	add_suspended(ctl, l.rows);
	ctl_list(ctl, l.rows, list_columns);
	if (rc == STORE_OK)
		rc = l.rc;
	if (rc == STORE_OK)
		return 0;
	ctl_list(ctl, NULL, NULL);
	return ctl_store_fail(ctl, rc);
}

static int
show_run(struct ctl *ctl)
{
	struct store_user user;
	json_t *object, *rows;
	enum store_rc rc;
	int status;

	if ((status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	if ((rc = user_json(ctl, &user, &object)) != STORE_OK) {
		json_decref(object);
		return ctl_store_fail(ctl, rc);
	}
	rows = json_pack("[O]", object);
	add_suspended(ctl, rows);
	json_decref(rows);
	if (json_string_length(json_object_get(object, "reason")) == 0 &&
	    !ctl->json)
		json_object_del(object, "reason");
	if (!ctl->json &&
	    json_equal(json_object_get(object, "reason"),
		json_object_get(object, "suspended_why")))
		json_object_del(object, "suspended_why");
	if (user.mechanisms[0] == '\0' && !ctl->json)
		json_object_del(object, "mechanisms");
	if (user.max_priority == STORE_PRIORITY_CONF && !ctl->json)
		json_object_del(object, "max_priority");
	ctl_show(ctl, object, show_columns);
	return 0;
}

/* Adding. */

struct new_user {
	char name[STORE_NAME_MAX + 1];
	enum store_auth_policy policy;
	struct ctl_records password;
};

static int
take_policy(
    const struct ctl *ctl, const char *word, enum store_auth_policy *policy)
{
	if (store_auth_policy_parse(word, policy) == -1)
		return ctl_usage(ctl,
		    "\"%s\" is no policy, expected any, cert, password or "
		    "both",
		    word);
	return 0;
}

/* What is wrong is said before anybody is asked for a password. */
static int
check_new_user(const struct ctl *ctl, struct new_user *new)
{
	const char *policy = ctl_opt(ctl, "--policy");
	char pattern[STORE_ADDRESS_MAX + 1];
	struct store_user user;
	const char *why;

	if (store_user_name(ctl->word[0], new->name, &why) == -1)
		return ctl_fail(EX_DATAERR, "\"%s\": %s", ctl->word[0], why);
	new->policy = STORE_AUTH_ANY;
	if (policy != NULL && take_policy(ctl, policy, &new->policy) != 0)
		return EX_USAGE;
	for (size_t i = 0; i < ctl->opts; i++)
		if (strcmp(ctl->opt[i].name, "--address") == 0 &&
		    store_address_pattern(ctl->opt[i].value, pattern, &why) ==
			-1)
			return ctl_fail(EX_DATAERR, "address \"%s\": %s",
			    ctl->opt[i].value, why);
	if (store_user_get(ctl->st, new->name, &user) == STORE_OK)
		return ctl_fail(
		    EX_DATAERR, "user %s exists already", new->name);
	return 0;
}

/* The addresses asked for, or the name itself if it is one. */
static enum store_rc
add_addresses(const struct ctl *ctl, const struct new_user *new, int64_t id)
{
	char pattern[STORE_ADDRESS_MAX + 1];
	enum store_rc rc = STORE_OK;
	const char *why;

	for (size_t i = 0; i < ctl->opts && rc == STORE_OK; i++)
		if (strcmp(ctl->opt[i].name, "--address") == 0)
			rc = store_address_add(ctl->st, id, ctl->opt[i].value);
	/* A name such as @example.org must not open a whole domain. */
	if (ctl_opt(ctl, "--address") == NULL && new->name[0] != '@' &&
	    strchr(new->name, '@') != NULL &&
	    store_address_pattern(new->name, pattern, &why) == 0)
		rc = store_address_add(ctl->st, id, pattern);
	return rc;
}

static enum store_rc
add_user(const struct ctl *ctl, const struct new_user *new, int64_t *id)
{
	enum store_rc rc;

	if ((rc = store_user_add(ctl->st, new->name, id)) != STORE_OK)
		return rc;
	if (new->policy != STORE_AUTH_ANY)
		rc = store_user_set_policy(ctl->st, *id, new->policy);
	if (rc == STORE_OK)
		rc = add_addresses(ctl, new, *id);
	if (rc == STORE_OK && new->password.n > 0)
		rc = store_password_set(
		    ctl->st, *id, new->password.record, new->password.n);
	return rc;
}

static int
tell_added(struct ctl *ctl, int64_t id)
{
	struct store_user user;
	json_t *object = NULL;
	enum store_rc rc;

	if ((rc = store_user_by_id(ctl->st, id, &user)) == STORE_OK)
		rc = user_json(ctl, &user, &object);
	if (rc != STORE_OK) {
		json_decref(object);
		return ctl_store_fail(ctl, rc);
	}
	if (json_array_size(json_object_get(object, "addresses")) == 0)
		ctl_note("note: %s owns no address and can't send mail yet: "
			 "submitctl address add %s ADDRESS",
		    user.name, user.name);
	ctl_done(ctl, object, "user %s is added", user.name);
	return 0;
}

static int
add_run(struct ctl *ctl)
{
	struct new_user new = { .name = "" };
	enum store_rc rc;
	int64_t id = 0;
	int status;

	if ((status = check_new_user(ctl, &new)) != 0 ||
	    (status = ctl_password(ctl, new.name, &new.password)) != 0 ||
	    (status = ctl_begin(ctl)) != 0)
		return status;
	rc = add_user(ctl, &new, &id);
	explicit_bzero(&new.password, sizeof(new.password));
	return rc == STORE_OK ? tell_added(ctl, id) : ctl_store_fail(ctl, rc);
}

/* Changing. */

static int
passwd_run(struct ctl *ctl)
{
	struct ctl_records password;
	struct store_user user;
	enum store_rc rc;
	bool none;
	int status;

	if ((status = ctl_user(ctl, ctl->word[0], &user)) != 0 ||
	    (status = ctl_password(ctl, user.name, &password)) != 0 ||
	    (status = ctl_begin(ctl)) != 0)
		return status;
	none = password.n == 0;
	rc = store_password_set(ctl->st, user.id, password.record, password.n);
	explicit_bzero(&password, sizeof(password));
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl_done(ctl,
	    json_pack("{s:s, s:b}", "name", user.name, "password", !none),
	    none ? "user %s has no password now" : "user %s has a new password",
	    user.name);
	return 0;
}

struct changes {
	enum store_auth_policy policy;
	enum store_user_state state;
	enum store_backend backend;
	const char *mechanisms; /* NULL: as they are; "": any */
	int priority;           /* or STORE_PRIORITY_CONF */
};

/* Names that nothing here knows would lock the user out. */
static int
take_mechanisms(const struct ctl *ctl, struct changes *c)
{
	const char *list = ctl_opt(ctl, "--mechanisms");
	char *copy, *rest, *word;
	int status = 0;

	if (list == NULL)
		return 0;
	c->mechanisms = strcmp(list, "any") == 0 ? "" : list;
	copy = rest = xstrdup(c->mechanisms);
	while (status == 0 && (word = strsep(&rest, " ,")) != NULL)
		if (word[0] != '\0' && sasl_mech_bit(word) == 0)
			status = ctl_usage(ctl,
			    "\"%s\" is no mechanism, expected names such as "
			    "SCRAM-SHA-256,PLAIN or \"any\"",
			    word);
	free(copy);
	return status;
}

static int
take_priority(const struct ctl *ctl, struct changes *c)
{
	const char *text = ctl_opt(ctl, "--max-priority");

	c->priority = STORE_PRIORITY_CONF;
	if (text == NULL || strcmp(text, "default") == 0)
		return 0;
	if (text[0] < '0' || text[0] > '9' || text[1] != '\0')
		return ctl_usage(ctl,
		    "\"%s\" is no highest priority, expected 0 to 9 or "
		    "\"default\"",
		    text);
	c->priority = text[0] - '0';
	return 0;
}

/* Options to values; the words are checked before anything is changed. */
static int
take_changes(const struct ctl *ctl, struct changes *c)
{
	const char *policy = ctl_opt(ctl, "--policy");
	const char *state = ctl_opt(ctl, "--state");
	const char *backend = ctl_opt(ctl, "--backend");

	if (ctl->opts == 0)
		return ctl_usage(ctl, "nothing to set");
	if (policy != NULL && take_policy(ctl, policy, &c->policy) != 0)
		return EX_USAGE;
	if (state != NULL && store_user_state_parse(state, &c->state) == -1)
		return ctl_usage(ctl,
		    "\"%s\" is no state, expected active, suspended or "
		    "disabled",
		    state);
	if (backend != NULL && store_backend_parse(backend, &c->backend) == -1)
		return ctl_usage(ctl,
		    "\"%s\" is no backend, expected default, store, pam or "
		    "saslauthd",
		    backend);
	if (take_priority(ctl, c) != 0)
		return EX_USAGE;
	return take_mechanisms(ctl, c);
}

static enum store_rc
apply_changes(const struct ctl *ctl, const struct changes *c, int64_t id)
{
	enum store_rc rc = STORE_OK;

	if (ctl_opt(ctl, "--policy") != NULL)
		rc = store_user_set_policy(ctl->st, id, c->policy);
	if (rc == STORE_OK && ctl_opt(ctl, "--state") != NULL)
		rc = store_user_set_state(ctl->st, id, c->state, NULL);
	if (rc == STORE_OK && ctl_opt(ctl, "--backend") != NULL)
		rc = store_user_set_backend(ctl->st, id, c->backend);
	if (rc == STORE_OK && c->mechanisms != NULL)
		rc = store_user_set_mechanisms(ctl->st, id, c->mechanisms);
	if (rc == STORE_OK && ctl_opt(ctl, "--max-priority") != NULL)
		rc = store_user_set_priority(ctl->st, id, c->priority);
	return rc;
}

static int
tell_changed(struct ctl *ctl, int64_t id, const char *what)
{
	struct store_user user;
	json_t *object = NULL;
	enum store_rc rc;

	if ((rc = store_user_by_id(ctl->st, id, &user)) == STORE_OK)
		rc = user_json(ctl, &user, &object);
	if (rc != STORE_OK) {
		json_decref(object);
		return ctl_store_fail(ctl, rc);
	}
	ctl_done(ctl, object, "user %s %s", user.name, what);
	return 0;
}

/* The suspension that the running server may have made. */
static void
end_suspension(const struct ctl *ctl, const char *user)
{
	if (ctl_try(ctl,
		json_pack("{s:s, s:s}", "cmd", "user.resume", "user", user),
		NULL) == -1)
		ctl_note("note: the server does not answer; if it had "
			 "suspended %s, that goes on",
		    user);
}

static int
set_run(struct ctl *ctl)
{
	struct changes c = { .policy = STORE_AUTH_ANY };
	struct store_user user;
	enum store_rc rc;
	int status;

	if ((status = take_changes(ctl, &c)) != 0 ||
	    (status = ctl_begin(ctl)) != 0 ||
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	if ((rc = apply_changes(ctl, &c, user.id)) != STORE_OK)
		return ctl_store_fail(ctl, rc);
	if ((status = tell_changed(ctl, user.id, "is changed")) == 0 &&
	    ctl_opt(ctl, "--state") != NULL && c.state == STORE_USER_ACTIVE)
		end_suspension(ctl, user.name);
	return status;
}

static int
change_state(struct ctl *ctl, enum store_user_state state, const char *reason,
    const char *what)
{
	struct store_user user;
	enum store_rc rc;
	int status;

	if ((status = ctl_begin(ctl)) != 0 ||
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	rc = store_user_set_state(ctl->st, user.id, state, reason);
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	return tell_changed(ctl, user.id, what);
}

static int
suspend_run(struct ctl *ctl)
{
	return change_state(ctl, STORE_USER_SUSPENDED, ctl_opt(ctl, "--reason"),
	    "is suspended");
}

/* Ends the suspension of somebody who is no user, or no more. */
static int
resume_sender(struct ctl *ctl, const char *sender, json_t **end)
{
	return ctl_ask(ctl,
	    json_pack("{s:s, s:s}", "cmd", "user.resume", "user", sender), NULL,
	    end);
}

static int
resume_key(struct ctl *ctl, const char *key)
{
	char sender[sizeof(USERLIMIT_MAP) + STORE_ACCESS_KEY_MAX];
	char value[STORE_ACCESS_VALUE_MAX + 1];
	json_t *end = NULL;
	int status;

	userlimit_map_sender(key, sender, sizeof(sender));
	if ((status = resume_sender(ctl, sender, &end)) != 0)
		return status;
	if (json_integer_value(json_object_get(end, "changed")) == 0 &&
	    store_access_lookup(ctl->st, key, value, sizeof(value)) ==
		STORE_NONE) {
		json_decref(end);
		return ctl_fail(
		    EX_NOUSER, "the access map has no entry %s", key);
	}
	ctl_done(ctl, end, "%s is active", sender);
	return 0;
}

/* A user who was deleted while the server did not run. */
static bool
is_left_over(const struct ctl *ctl, const char *name)
{
	json_t *list = ctl_suspended(ctl);
	struct store_user user;
	bool yes = ctl_suspended_find(list, name) != NULL &&
	    store_user_get(ctl->st, name, &user) == STORE_NONE;

	json_decref(list);
	return yes;
}

/* Both suspensions end: by an administrator, and by the running server. */
static int
resume_run(struct ctl *ctl)
{
	const char *name = ctl->word[0];
	json_t *end = NULL;
	int status;

	if (userlimit_is_map(name))
		return resume_key(ctl, name + strlen(USERLIMIT_MAP));
	if (is_left_over(ctl, name)) {
		if ((status = resume_sender(ctl, name, &end)) == 0)
			ctl_done(ctl, end,
			    "%s, who is no user, is not "
			    "suspended any more",
			    name);
		return status;
	}
	status = change_state(ctl, STORE_USER_ACTIVE, NULL, "is active");
	if (status == 0)
		end_suspension(ctl, name);
	return status;
}

static int
del_run(struct ctl *ctl)
{
	struct store_user user;
	enum store_rc rc;
	int status;

	if ((status = ctl_begin(ctl)) != 0 ||
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	rc = store_ca_revoke_user(
	    ctl->st, user.id, time(NULL), STORE_CA_CESSATION, NULL);
	if (rc == STORE_OK)
		rc = store_user_del(ctl->st, user.id);
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	/* if the running server had suspended the user, that ends, too */
	ctl_try(ctl,
	    json_pack("{s:s, s:s}", "cmd", "user.resume", "user", user.name),
	    NULL);
	ctl_done(ctl, json_pack("{s:s, s:b}", "name", user.name, "deleted", 1),
	    "user %s is deleted", user.name);
	return 0;
}
