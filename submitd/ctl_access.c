/*
 * submitctl access: entries of the access map, one by one. Entries that come
 * from a map file are shown but not changed; an entry set here wins over one
 * of the file with the same key.
 */
#include "ctl_access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl_facts.h"
#include "mapkey.h"
#include "mem.h"
#include "store/access.h"
#include "store/accesscheck.h"
#include "store/accessmap.h"

static int set_run(struct ctl *);
static int get_run(struct ctl *);
static int list_run(struct ctl *);
static int del_run(struct ctl *);
static int test_run(struct ctl *);

/* clang-format off */
static const struct ctl_opt list_opts[] = { { "--source", true },
	{ .name = NULL } };
static const struct ctl_opt export_opts[] = { { "--force", false },
	{ .name = NULL } };
static const struct ctl_opt test_opts[] = { { "--phase", true },
	CTL_FACTS_OPTS, { .name = NULL } };

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
	{ "access", "test", "--phase PHASE " CTL_FACTS_ARGS,
	  "say what would be decided, by which entry, and why",
	  test_run, CTL_READ, 0, 0, test_opts },
	{ "access", "import", "FILE",
	  "take the entries of a map file in place of those of the last",
	  ctl_access_import, CTL_WRITE, 1, 1, NULL },
	{ "access", "export", "[--force] [FILE]",
	  "write all entries as a map file",
	  ctl_access_export, CTL_READ, 0, 1, export_opts },
	{ "access", "diff", "FILE", "say what import would change",
	  ctl_access_diff, CTL_READ, 1, 1, NULL },
	{ .noun = NULL },
};

static const struct ctl_column columns[] = {
	{ "key", "KEY", CTL_TEXT, NULL },
	{ "value", "VALUE", CTL_TEXT, NULL },
	{ "source", "SOURCE", CTL_TEXT, NULL },
	{ "line", "LINE", CTL_NUMBER, NULL },
	{ "created", "CREATED", CTL_TIME, NULL },
	{ "note", "NOTE", CTL_TEXT, NULL },
	{ .key = NULL },
};
/* clang-format on */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * The words after the key, with blanks between: no need to quote a text. Like
 * a line of a map file a value neither begins nor ends with a blank.
 */
static char *
join_value(const struct ctl *ctl)
{
	struct buf out = { 0 };
	char *value;

	for (size_t i = 1; i < ctl->words; i++) {
		if (i > 1)
			buf_add(&out, " ", 1);
		buf_add(&out, ctl->word[i], strlen(ctl->word[i]));
	}
	while (out.len > 0 && is_blank((char)buf_head(&out)[0]))
		buf_drop(&out, 1);
	while (out.len > 0 && is_blank((char)buf_head(&out)[out.len - 1]))
		out.len--;
	buf_add(&out, "", 1);
	value = xstrdup((char *)buf_head(&out));
	buf_clear(&out);
	return value;
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

/*
 * A client can break its own reverse DNS. Whether that evades this entry is
 * seen beside the default, so both are looked at as a map of two lines.
 */
static void
warn_of_evasion(const struct ctl *ctl, const char *key, const char *value)
{
	char def[STORE_ACCESS_VALUE_MAX + 1] = "OK";
	struct accessmap *map;
	const char *operand;
	char *text;

	if (accessmap_tag(key, &operand) != ACCESSMAP_TLS_CLT ||
	    operand[0] == '\0')
		return;
	store_access_lookup(ctl->st, "TLS_Clt:", def, sizeof(def));
	text = xasprintf("TLS_Clt: %s\n%s %s\n", def, key, value);
	map = accessmap_parse(text, strlen(text));
	for (size_t i = 0; i < map->nnotes; i++)
		if (map->note[i].line == 2)
			tell_finding(
			    NULL, map->note[i].level, map->note[i].text);
	accessmap_free(&map);
	free(text);
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
	warn_of_evasion(ctl, key, value);
	ctl_done(ctl,
	    json_pack(
		"{s:s, s:s, s:s}", "key", key, "value", value, "source", "cli"),
	    "%s is %s now", key, value);
	return 0;
}

static int
set_run(struct ctl *ctl)
{
	char *value = join_value(ctl), *key = mapkey(ctl->word[0]);
	int status = set_entry(ctl, key, value);

	free(key);
	free(value);
	return status;
}

static int
get_run(struct ctl *ctl)
{
	char value[STORE_ACCESS_VALUE_MAX + 1], *key = mapkey(ctl->word[0]);
	enum store_rc rc;

	rc = store_access_lookup(ctl->st, key, value, sizeof(value));
	if (rc == STORE_OK)
		ctl_done(ctl,
		    json_pack("{s:s, s:s}", "key", key, "value", value), "%s",
		    value);
	free(key);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

struct listing {
	const char *source; /* NULL: both */
	json_t *rows;
	json_t *cli; /* the last cli row */
	char *key;   /* and its folded key */
};

/* The row of a file behind the cli row of the same key. */
static void
note_hidden(struct listing *l, const struct store_access *row, json_t *json)
{
	if (l->key == NULL || strcmp(l->key, row->key) != 0)
		return;
	json_object_set_new(json, "note",
	    json_string("without effect: hidden by the entry of cli"));
	json_object_set_new(l->cli, "note",
	    json_sprintf("hides line %d of the file", row->line));
}

static int
list_one(const struct store_access *row, void *arg)
{
	const char *source = store_access_source_text(row->source);
	struct listing *l = arg;
	json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:n}", "key",
	    row->shown, "value", row->value, "source", source, "line",
	    row->line > 0 ? json_integer(row->line) : json_null(), "created",
	    ctl_json_time(row->created), "note");

	if (row->source == STORE_ACCESS_CLI) {
		free(l->key);
		l->key = xstrdup(row->key);
		json_decref(l->cli);
		l->cli = json_incref(json);
	} else
		note_hidden(l, row, json);
	if (l->source == NULL || strcmp(l->source, source) == 0)
		json_array_append(l->rows, json);
	json_decref(json);
	return 0;
}

static int
list_run(struct ctl *ctl)
{
	struct listing l = { .source = ctl_opt(ctl, "--source") };
	enum store_rc rc;
	char *key;

	if (l.source != NULL && strcmp(l.source, "cli") != 0 &&
	    strcmp(l.source, "file") != 0)
		return ctl_usage(
		    ctl, "\"%s\" is no source, expected cli or file", l.source);
	l.rows = json_array();
	key = ctl->words > 0 ? mapkey(ctl->word[0]) : NULL;
	rc = store_access_list(ctl->st, key, list_one, &l);
	free(key);
	json_decref(l.cli);
	free(l.key);
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
	enum store_rc rc;
	int status;
	char *key;

	if ((status = ctl_begin(ctl)) != 0)
		return status;
	key = mapkey(ctl->word[0]);
	if ((rc = store_access_del(ctl->st, key)) == STORE_OK)
		ctl_done(ctl, json_pack("{s:s, s:b}", "key", key, "deleted", 1),
		    "%s is deleted", key);
	free(key);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

static int
test_run(struct ctl *ctl)
{
	const char *word = ctl_opt(ctl, "--phase");
	struct policy_verdict verdict;
	enum policy_phase phase;
	struct ctl_facts facts;
	int status;

	if (word == NULL)
		return ctl_usage(ctl, "--phase is needed");
	if ((status = ctl_facts_phase(ctl, word, &phase)) != 0)
		return status;
	if ((status = ctl_facts_take(ctl, false, &facts)) == 0 &&
	    (status = ctl_facts_decide(ctl, phase, &facts, &verdict)) == 0)
		ctl_show(ctl, ctl_facts_verdict(phase, &facts, &verdict),
		    ctl_facts_columns);
	ctl_facts_clear(&facts);
	return status;
}
