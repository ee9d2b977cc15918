/*
 * Rows of the access map.
 *
 * The audit rows hold keys and values of access rows: the map is policy, not
 * secret. Tags that carry secrets (AuthInfo) never come here.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "access.h"
#include "db_private.h"
#include "text.h"

const char *
store_access_source_text(enum store_access_source source)
{
	return source == STORE_ACCESS_FILE ? "file" : "cli";
}

/* Folds a key; NULL, or what is wrong with it. */
static const char *
fold_key(const char *key, char out[STORE_ACCESS_KEY_MAX + 1])
{
	size_t len = strlen(key);

	if (len == 0)
		return "the key is empty";
	if (len > STORE_ACCESS_KEY_MAX)
		return "the key is longer than 1022 bytes";
	if (!text_is_clean(key) || strchr(key, ' ') != NULL)
		return "the key is not UTF-8, or has a blank or a control "
		       "character in it";
	memcpy(out, key, len + 1);
	db_fold(out);
	return NULL;
}

static const char *
bad_value(const char *value)
{
	size_t len = strlen(value);

	if (len == 0)
		return "the value is empty";
	if (len > STORE_ACCESS_VALUE_MAX)
		return "the value is longer than 1022 bytes";
	if (!text_is_clean(value))
		return "the value is not UTF-8 text of one line";
	return NULL;
}

enum store_rc
store_access_lookup(struct store *st, const char *key, char *value, size_t len)
{
	char folded[STORE_ACCESS_KEY_MAX + 1];
	sqlite3_stmt *stmt;
	enum store_rc rc;

	if (fold_key(key, folded) != NULL)
		return db_fail(st, STORE_NONE, "no such key");
	/* "cli" sorts before "file". */
	rc = db_query(st, &stmt,
	    "SELECT value FROM access WHERE key = ? ORDER BY source LIMIT 1",
	    "t", folded);
	if (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		if ((size_t)sqlite3_column_bytes(stmt, 0) >= len)
			rc = db_fail(st, STORE_INVALID,
			    "the value of %s is longer than %zu bytes", folded,
			    len - 1);
		else
			db_text(stmt, 0, value, len);
	} else if (rc == STORE_NONE)
		db_fail(st, rc, "no access entry %s", folded);
	db_done(st, stmt);
	return rc;
}

enum store_rc
store_access_set(struct store *st, const char *key, const char *value)
{
	char folded[STORE_ACCESS_KEY_MAX + 1];
	const char *why;
	enum store_rc rc;

	if ((why = fold_key(key, folded)) != NULL ||
	    (why = bad_value(value)) != NULL)
		return db_fail(st, STORE_INVALID, "%s", why);
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_run(st,
	    "INSERT INTO access (key, shown, value, source, created)"
	    " VALUES (?, ?, ?, 'cli', ?) ON CONFLICT (key, source) DO UPDATE"
	    " SET shown = excluded.shown, value = excluded.value,"
	    " created = excluded.created",
	    "ttti", folded, key, value, (int64_t)time(NULL));
	return db_written(st, rc, "access set", key, value);
}

/* Nothing deleted: is it the file's? */
static enum store_rc
no_cli_row(struct store *st, const char *folded)
{
	int64_t line = 0;

	if (db_int(st, &line,
		"SELECT line FROM access WHERE key = ? AND source = 'file'",
		"t", folded) == STORE_OK)
		return db_fail(st, STORE_NONE,
		    "the entry %s comes from line %d of the map file: "
		    "change it there, or set another value over it",
		    folded, (int)line);
	return db_fail(st, STORE_NONE, "no access entry %s", folded);
}

enum store_rc
store_access_del(struct store *st, const char *key)
{
	char folded[STORE_ACCESS_KEY_MAX + 1];
	const char *why;
	enum store_rc rc;

	if ((why = fold_key(key, folded)) != NULL)
		return db_fail(st, STORE_NONE, "%s", why);
	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	rc = db_change(st,
	    "DELETE FROM access WHERE key = ? AND source = 'cli'", "t", folded);
	if (rc == STORE_NONE)
		rc = no_cli_row(st, folded);
	return db_written(st, rc, "access del", folded, NULL);
}

static void
access_from_row(sqlite3_stmt *stmt, struct store_access *row)
{
	row->key = (const char *)sqlite3_column_text(stmt, 0);
	row->shown = (const char *)sqlite3_column_text(stmt, 1);
	row->value = (const char *)sqlite3_column_text(stmt, 2);
	row->line = sqlite3_column_int(stmt, 3);
	row->source = row->line > 0 ? STORE_ACCESS_FILE : STORE_ACCESS_CLI;
	row->created = sqlite3_column_int64(stmt, 4);
}

enum store_rc
store_access_list(
    struct store *st, const char *key, store_access_cb *cb, void *arg)
{
	char folded[STORE_ACCESS_KEY_MAX + 1];
	struct store_access row;
	sqlite3_stmt *stmt;
	enum store_rc rc;

	if (key != NULL && fold_key(key, folded) != NULL)
		return STORE_OK;
	rc = db_query(st, &stmt,
	    "SELECT key, shown, value, line, created FROM access"
	    " WHERE ?1 IS NULL OR key = ?1 ORDER BY key, source",
	    "t", key != NULL ? folded : NULL);
	while (rc == STORE_OK && (rc = db_step(st, stmt)) == STORE_OK) {
		access_from_row(stmt, &row);
		if (cb(&row, arg) != 0)
			break;
	}
	db_done(st, stmt);
	return rc == STORE_NONE ? STORE_OK : rc;
}

/*
 * Mirror of a map file. The new lines and the old rows are merged like two
 * sorted lists of keys, so that only what differs is written.
 */

struct line {
	char *key; /* folded */
	const struct store_access_line *in;
};

struct mirror {
	struct line *lines;
	size_t n;
	size_t next; /* first line that no old row has reached yet */
	struct store_access_diff diff;
	struct line *todo; /* added or changed */
	size_t ntodo;
	char **gone; /* keys to delete */
	size_t ngone, gone_room;
};

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* By key, then by line: of a key that comes twice the first line is first. */
static int
by_key(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int d = strcmp(x->key, y->key);

	return d != 0
	    ? d
	    : (x->in->line > y->in->line) - (x->in->line < y->in->line);
}

static enum store_rc
take_lines(struct store *st, struct mirror *m,
    const struct store_access_line *lines, size_t n)
{
	char folded[STORE_ACCESS_KEY_MAX + 1];
	const char *why;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (lines[i].line <= 0)
			why = "lines are counted from 1";
		else if ((why = fold_key(lines[i].key, folded)) == NULL)
			why = bad_value(lines[i].value);
		if (why != NULL)
			return db_fail(st, STORE_INVALID, "line %d: %s",
			    lines[i].line, why);
		m->lines[m->n].key = need(strdup(folded));
		m->lines[m->n++].in = &lines[i];
	}
	qsort(m->lines, m->n, sizeof(*m->lines), by_key);
	for (size_t i = 0; i < m->n; i++) {
		if (kept > 0 &&
		    strcmp(m->lines[kept - 1].key, m->lines[i].key) == 0)
			free(m->lines[i].key);
		else
			m->lines[kept++] = m->lines[i];
	}
	m->n = kept;
	return STORE_OK;
}

static void
note_gone(struct mirror *m, const char *key)
{
	if (m->ngone == m->gone_room) {
		m->gone_room = m->gone_room * 2 + 16;
		m->gone =
		    need(realloc(m->gone, m->gone_room * sizeof(*m->gone)));
	}
	m->gone[m->ngone++] = need(strdup(key));
	m->diff.removed++;
}

/* Lines below `key` are new; NULL: all that are left. */
static void
note_added(struct mirror *m, const char *key)
{
	while (m->next < m->n &&
	    (key == NULL || strcmp(m->lines[m->next].key, key) < 0)) {
		m->todo[m->ntodo++] = m->lines[m->next++];
		m->diff.added++;
	}
}

/* Called with the old rows in the order of their keys. */
static int
merge_row(const struct store_access *row, void *arg)
{
	struct mirror *m = arg;

	if (row->source != STORE_ACCESS_FILE)
		return 0;
	note_added(m, row->key);
	if (m->next == m->n || strcmp(m->lines[m->next].key, row->key) != 0) {
		note_gone(m, row->key);
		return 0;
	}
	if (strcmp(m->lines[m->next].in->value, row->value) != 0) {
		m->todo[m->ntodo++] = m->lines[m->next];
		m->diff.changed++;
	}
	m->next++;
	return 0;
}

static enum store_rc
apply(struct store *st, const struct mirror *m)
{
	enum store_rc rc = STORE_OK;

	for (size_t i = 0; i < m->ngone && rc == STORE_OK; i++)
		rc = db_run(st,
		    "DELETE FROM access WHERE key = ? AND source = 'file'", "t",
		    m->gone[i]);
	for (size_t i = 0; i < m->ntodo && rc == STORE_OK; i++)
		rc = db_run(st,
		    "INSERT INTO access (key, shown, value, source, line,"
		    " created) VALUES (?, ?, ?, 'file', ?, ?)"
		    " ON CONFLICT (key, source) DO UPDATE SET"
		    " shown = excluded.shown, value = excluded.value,"
		    " created = excluded.created",
		    "tttii", m->todo[i].key, m->todo[i].in->key,
		    m->todo[i].in->value, (int64_t)m->todo[i].in->line,
		    (int64_t)time(NULL));
	/* Something is written anyway: let all line numbers be right. */
	for (size_t i = 0; i < m->n && rc == STORE_OK; i++)
		rc = db_run(st,
		    "UPDATE access SET line = ?1"
		    " WHERE key = ?2 AND source = 'file' AND line <> ?1",
		    "it", (int64_t)m->lines[i].in->line, m->lines[i].key);
	return rc;
}

static enum store_rc
merge_and_apply(struct store *st, struct mirror *m)
{
	char detail[96] = "";
	enum store_rc rc;

	if ((rc = db_write(st)) != STORE_OK)
		return rc;
	if ((rc = store_access_list(st, NULL, merge_row, m)) == STORE_OK) {
		note_added(m, NULL);
		if (m->ntodo == 0 && m->ngone == 0) {
			/* Nothing to write, so nothing to audit either. */
			return db_unwritten(st);
		}
		snprintf(detail, sizeof(detail),
		    "%zu added, %zu changed, %zu removed", m->diff.added,
		    m->diff.changed, m->diff.removed);
		rc = apply(st, m);
	}
	return db_written(st, rc, "access mirror", "map file", detail);
}

enum store_rc
store_access_mirror(struct store *st, const struct store_access_line *lines,
    size_t n, struct store_access_diff *diff)
{
	struct mirror m = { 0 };
	enum store_rc rc;

	m.lines = need(calloc(n + 1, sizeof(*m.lines)));
	m.todo = need(calloc(n + 1, sizeof(*m.todo)));
	if ((rc = take_lines(st, &m, lines, n)) == STORE_OK)
		rc = merge_and_apply(st, &m);
	if (rc == STORE_OK && diff != NULL)
		*diff = m.diff;
	for (size_t i = 0; i < m.n; i++)
		free(m.lines[i].key);
	for (size_t i = 0; i < m.ngone; i++)
		free(m.gone[i]);
	free(m.gone);
	free(m.lines);
	free(m.todo);
	return rc;
}
