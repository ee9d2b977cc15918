/*
 * submitctl access import, export, diff: the access map as a file in
 * sendmail's syntax. Import replaces the file rows as a whole, as the server
 * does with the file of the key access_map; rows that were set one by one
 * stay, and win.
 */
#include "ctl_access.h"

#include <sys/stat.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl_file.h"
#include "mapfile.h"
#include "mem.h"
#include "store/access.h"

/* ---- reading ---- */

static const char *
shown_path(const char *path)
{
	return strcmp(path, "-") == 0 ? "/dev/stdin" : path;
}

/* A map without errors, whose findings have been told; or an exit status. */
static int
read_map(const char *path, struct accessmap **out)
{
	static const char *const words[] = {
		[ACCESSMAP_NOTICE] = "note: ",
		[ACCESSMAP_WARNING] = "warning: ",
		[ACCESSMAP_ERROR] = "",
	};
	struct accessmap *map;
	char err[512];
	size_t errors;

	if ((map = mapfile_read(path, false, err, sizeof(err))) == NULL)
		return ctl_fail(EX_NOINPUT, "%s %s", path, err);
	for (size_t i = 0; i < map->nnotes; i++)
		ctl_note("%s:%d: %s%s", path, map->note[i].line,
		    words[map->note[i].level], map->note[i].text);
	*out = map;
	if ((errors = map->nerrors) == 0)
		return 0;
	accessmap_free(out);
	return ctl_fail(EX_DATAERR, "%s: %zu error%s, nothing was done", path,
	    errors, errors == 1 ? "" : "s");
}

/* ---- import ---- */

/* The path under which the server would know it; NULL: none. */
static char *
lasting_path(const struct ctl *ctl, const char *path)
{
	const char *own = ctl->conf.access_map;
	struct stat st, st_own;

	if (stat(path, &st) == -1 || !S_ISREG(st.st_mode))
		return NULL;
	if (own[0] != '\0' && stat(own, &st_own) == 0 &&
	    st.st_dev == st_own.st_dev && st.st_ino == st_own.st_ino)
		return xstrdup(own);
	return realpath(path, NULL);
}

/* The server copies its own file over this one. */
static void
warn_of_mirror(const struct ctl *ctl, const char *lasting)
{
	const char *own = ctl->conf.access_map;

	if (own[0] != '\0' && (lasting == NULL || strcmp(own, lasting) != 0))
		ctl_note("warning: the key access_map names %s: the server "
			 "puts its entries in place of these when it starts",
		    own);
}

static void
import_done(
    struct ctl *ctl, const struct accessmap *map, const struct mapfile_diff *d)
{
	const size_t *n = d->count;

	ctl_done(ctl,
	    json_pack("{s:I, s:I, s:I, s:I}", "entries",
		(json_int_t)map->nentries, "added",
		(json_int_t)n[MAPFILE_ADDED], "changed",
		(json_int_t)n[MAPFILE_CHANGED], "removed",
		(json_int_t)n[MAPFILE_REMOVED]),
	    "%zu entr%s: %zu added, %zu changed, %zu removed", map->nentries,
	    map->nentries == 1 ? "y" : "ies", n[MAPFILE_ADDED],
	    n[MAPFILE_CHANGED], n[MAPFILE_REMOVED]);
}

static int
import_map(struct ctl *ctl, const struct accessmap *map, const char *path)
{
	char *lasting = lasting_path(ctl, path),
	     why[STORE_ACCESS_KEY_MAX + 512];
	struct mapfile_diff diff = { 0 };
	enum store_rc rc;
	int status;

	if ((status = ctl_begin(ctl)) == 0) {
		if ((rc = mapfile_diff(ctl->st, map, &diff)) == STORE_OK)
			rc = mapfile_store(ctl->st, map, lasting);
		if (rc == STORE_INVALID) {
			mapfile_store_error(ctl->st, path, why, sizeof(why));
			status = ctl_fail(EX_DATAERR, "%s", why);
		} else if (rc != STORE_OK)
			status = ctl_store_fail(ctl, rc);
	}
	if (status == 0) {
		warn_of_mirror(ctl, lasting);
		import_done(ctl, map, &diff);
	}
	mapfile_diff_clear(&diff);
	free(lasting);
	return status;
}

int
ctl_access_import(struct ctl *ctl)
{
	const char *path = shown_path(ctl->word[0]);
	struct accessmap *map = NULL;
	int status = read_map(path, &map);

	if (status == 0)
		status = import_map(ctl, map, path);
	accessmap_free(&map);
	return status;
}

/* ---- diff ---- */

static const struct ctl_column diff_columns[] = {
	{ "change", "CHANGE", CTL_TEXT, NULL },
	{ "key", "KEY", CTL_TEXT, NULL },
	{ "old", "NOW", CTL_TEXT, NULL },
	{ "new", "IN FILE", CTL_TEXT, NULL },
	{ "line", "LINE", CTL_NUMBER, NULL },
	{ "note", "NOTE", CTL_TEXT, NULL },
	{ .key = NULL },
};

static json_t *
text_or_null(const char *text)
{
	return text != NULL ? json_string(text) : json_null();
}

static json_t *
diff_rows(const struct mapfile_diff *d)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < d->n; i++) {
		const struct mapfile_change *c = &d->change[i];

		json_array_append_new(rows,
		    json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "change",
			mapfile_op_name(c->op), "key", c->key, "old",
			text_or_null(c->old), "new", text_or_null(c->value),
			"line",
			c->op == MAPFILE_REMOVED ? json_null()
						 : json_integer(c->line),
			"note",
			text_or_null(c->hidden
				? "without effect: hidden by an entry of cli"
				: NULL)));
	}
	return rows;
}

int
ctl_access_diff(struct ctl *ctl)
{
	struct mapfile_diff diff = { 0 };
	struct accessmap *map = NULL;
	enum store_rc rc = STORE_OK;
	int status;

	if ((status = read_map(shown_path(ctl->word[0]), &map)) == 0) {
		if ((rc = mapfile_diff(ctl->st, map, &diff)) != STORE_OK)
			status = ctl_store_fail(ctl, rc);
		else
			ctl_list(ctl, diff_rows(&diff), diff_columns);
	}
	mapfile_diff_clear(&diff);
	accessmap_free(&map);
	return status;
}

/* ---- export ---- */

struct writing {
	struct buf text;
	json_t *rows;
	char *last; /* folded key of the row before */
	size_t n;
	char *unfit; /* a key that the syntax can't express */
};

/* Of a key with two rows the first one counts. */
static int
export_row(const struct store_access *row, void *arg)
{
	char line[STORE_ACCESS_KEY_MAX + STORE_ACCESS_VALUE_MAX + 2];
	struct writing *e = arg;

	if (e->last != NULL && strcmp(e->last, row->key) == 0)
		return 0;
	free(e->last);
	e->last = xstrdup(row->key);
	if (accessmap_format(row->shown, row->value, line, sizeof(line)) ==
	    -1) {
		e->unfit = xstrdup(row->shown);
		return 1;
	}
	buf_add(&e->text, line, strlen(line));
	buf_add(&e->text, "\n", 1);
	json_array_append_new(e->rows,
	    json_pack("{s:s, s:s}", "key", row->shown, "value", row->value));
	e->n++;
	return 0;
}

static int
export_done(struct ctl *ctl, struct writing *e)
{
	const char *path = ctl->words > 0 ? ctl->word[0] : "-";
	int status;

	if (e->unfit != NULL)
		return ctl_fail(EX_DATAERR,
		    "the entry %s cannot be written as a line of a map file",
		    e->unfit);
	if (strcmp(path, "-") != 0) {
		status = ctl_write_file(path, buf_head(&e->text), e->text.len,
		    0600, ctl_opt(ctl, "--force") != NULL);
		if (status == 0)
			ctl_done(ctl,
			    json_pack("{s:s, s:I}", "file", path, "entries",
				(json_int_t)e->n),
			    "%zu entr%s written to %s", e->n,
			    e->n == 1 ? "y" : "ies", path);
		return status;
	}
	if (e->text.len > 0) /* the last newline is added again */
		ctl_done(ctl, json_incref(e->rows), "%.*s",
		    (int)e->text.len - 1, (char *)buf_head(&e->text));
	else if (ctl->json)
		ctl_done(ctl, json_incref(e->rows), "-");
	return 0;
}

int
ctl_access_export(struct ctl *ctl)
{
	struct writing e = { .rows = json_array() };
	enum store_rc rc = store_access_list(ctl->st, NULL, export_row, &e);
	int status;

	status =
	    rc == STORE_OK ? export_done(ctl, &e) : ctl_store_fail(ctl, rc);
	buf_clear(&e.text);
	json_decref(e.rows);
	free(e.last);
	free(e.unfit);
	return status;
}
