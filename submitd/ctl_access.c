/*
 * submitctl access: entries of the access map, one by one. Entries that come
 * from a map file are shown but not changed; an entry set here wins over one
 * of the file with the same key.
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl.h"
#include "mem.h"
#include "store/access.h"
#include "store/accesscheck.h"
#include "store/accessmap.h"

static int set_run(struct ctl *);
static int get_run(struct ctl *);
static int list_run(struct ctl *);
static int del_run(struct ctl *);

static const struct ctl_opt list_opts[] = { { "--source", true },
	{ .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_access_verbs[] = {
	{ "access", "set", "KEY VALUE...",
	  "add an entry, or replace the one with this key",
	  set_run, CTL_WRITE, 2, CTL_WORDS_MAX, NULL },
	{ "access", "get", "KEY", "print the value that counts for a key",
	  get_run, CTL_READ, 1, 1, NULL },
	{ "access", "list", "[--source cli|file] [KEY]", "list entries",
	  list_run, CTL_READ, 0, 1, list_opts },
	{ "access", "del", "KEY", "delete an entry that was set here",
	  del_run, CTL_WRITE, 1, 1, NULL },
	{ .noun = NULL },
};

static const struct ctl_column columns[] = {
	{ "key", "KEY", CTL_TEXT, NULL },
	{ "value", "VALUE", CTL_TEXT, NULL },
	{ "source", "SOURCE", CTL_TEXT, NULL },
	{ "line", "LINE", CTL_NUMBER, NULL },
	{ "created", "CREATED", CTL_TIME, NULL },
	{ .key = NULL },
};
/* clang-format on */

/* The words after the key, with blanks between: no need to quote a text. */
static char *
join_value(const struct ctl *ctl)
{
	struct buf out = { 0 };

	for (size_t i = 1; i < ctl->words; i++) {
		if (i > 1)
			buf_add(&out, " ", 1);
		buf_add(&out, ctl->word[i], strlen(ctl->word[i]));
	}
	buf_add(&out, "", 1);
	return (char *)buf_head(&out);
}

static void
tell_finding(void *arg, enum accessmap_level level, const char *text)
{
	static const char *const words[] = {
		[ACCESSMAP_NOTICE] = "note: ",
		[ACCESSMAP_WARNING] = "warning: ",
		[ACCESSMAP_ERROR] = "",
	};

	(void)arg;
	ctl_note("%s%s", words[level], text);
}

static int
check_entry(const char *key, const char *value)
{
	const char *operand;

	if (accessmap_tag(key, &operand) == ACCESSMAP_FOREIGN)
		return ctl_fail(EX_DATAERR,
		    "the tag of \"%.*s\" has no meaning here",
		    (int)(operand - key), key);
	return accesscheck_entry(key, value, tell_finding, NULL) == -1
	    ? EX_DATAERR
	    : 0;
}

static int
set_entry(struct ctl *ctl, const char *key, const char *value)
{
	enum store_rc rc;
	int status;

	if ((status = check_entry(key, value)) != 0 ||
	    (status = ctl_begin(ctl)) != 0)
		return status;
	if ((rc = store_access_set(ctl->st, key, value)) != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl_done(ctl,
	    json_pack(
		"{s:s, s:s, s:s}", "key", key, "value", value, "source", "cli"),
	    "%s is %s now", key, value);
	return 0;
}

static int
set_run(struct ctl *ctl)
{
	char *value = join_value(ctl);
	int status = set_entry(ctl, ctl->word[0], value);

	free(value);
	return status;
}

static int
get_run(struct ctl *ctl)
{
	char value[STORE_ACCESS_VALUE_MAX + 1];
	enum store_rc rc;

	rc = store_access_lookup(ctl->st, ctl->word[0], value, sizeof(value));
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl_done(ctl,
	    json_pack("{s:s, s:s}", "key", ctl->word[0], "value", value), "%s",
	    value);
	return 0;
}

struct listing {
	const char *source; /* NULL: both */
	json_t *rows;
};

static int
list_one(const struct store_access *row, void *arg)
{
	const char *source = store_access_source_text(row->source);
	struct listing *l = arg;

	if (l->source != NULL && strcmp(l->source, source) != 0)
		return 0;
	json_array_append_new(l->rows,
	    json_pack("{s:s, s:s, s:s, s:o, s:o}", "key", row->shown, "value",
		row->value, "source", source, "line",
		row->line > 0 ? json_integer(row->line) : json_null(),
		"created", ctl_json_time(row->created)));
	return 0;
}

static int
list_run(struct ctl *ctl)
{
	struct listing l = { ctl_opt(ctl, "--source"), NULL };
	const char *key = ctl->words > 0 ? ctl->word[0] : NULL;
	enum store_rc rc;

	if (l.source != NULL && strcmp(l.source, "cli") != 0 &&
	    strcmp(l.source, "file") != 0)
		return ctl_usage(
		    ctl, "\"%s\" is no source, expected cli or file", l.source);
	l.rows = json_array();
	rc = store_access_list(ctl->st, key, list_one, &l);
	if (rc != STORE_OK) {
		json_decref(l.rows);
		return ctl_store_fail(ctl, rc);
	}
	ctl_list(ctl, l.rows, columns);
	return 0;
}

static int
del_run(struct ctl *ctl)
{
	const char *key = ctl->word[0];
	enum store_rc rc;
	int status;

	if ((status = ctl_begin(ctl)) != 0)
		return status;
	if ((rc = store_access_del(ctl->st, key)) != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl_done(ctl, json_pack("{s:s, s:b}", "key", key, "deleted", 1),
	    "%s is deleted", key);
	return 0;
}
