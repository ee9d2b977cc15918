/* A map file and its rows in the user store: see mapfile.h. */
#include "mapfile.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mapkey.h"
#include "mem.h"
#include "store/access.h"

enum { FILE_LIMIT = 64 * 1024 * 1024 };

/* The setting that names the file whose rows these are. */
#define IMPORTED "access_map.imported"

/* ---- reading ---- */

/* Who can write to the map decides who may relay. */
static int
check_owner(int fd, const char *path, char *err, size_t errlen)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		snprintf(err, errlen, "cannot be read: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		snprintf(err, errlen, "is no regular file");
	else if ((st.st_mode & 022) != 0)
		snprintf(err, errlen,
		    "is writable by others (mode %04o): chmod go-w %s",
		    (unsigned)st.st_mode & 07777, path);
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		snprintf(err, errlen,
		    "belongs to uid %u, expected root or the user who "
		    "starts submitd: chown it",
		    (unsigned)st.st_uid);
	else
		return 0;
	return -1;
}

static int
slurp(int fd, struct buf *out, char *err, size_t errlen)
{
	ssize_t n;

	while ((n = read(fd, buf_room(out, 16384), 16384)) > 0) {
		buf_grew(out, (size_t)n);
		if (out->len > FILE_LIMIT) {
			snprintf(err, errlen, "is larger than 64 MiB");
			return -1;
		}
	}
	if (n == 0)
		return 0;
	snprintf(err, errlen, "cannot be read: %s", strerror(errno));
	return -1;
}

static void
blank_tabs(const struct accessmap *map)
{
	char *p;

	for (size_t i = 0; i < map->nentries; i++)
		for (p = map->entry[i].value; (p = strchr(p, '\t')) != NULL;)
			*p = ' ';
}

struct accessmap *
mapfile_read(const char *path, bool strict, char *err, size_t errlen)
{
	struct accessmap *map = NULL;
	struct buf text = { 0 };
	int fd;

	/* Not to wait for the writer of a fifo in place of the file. */
	fd = open(
	    path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (strict ? O_NONBLOCK : 0));
	if (fd == -1) {
		snprintf(err, errlen, "cannot be read: %s", strerror(errno));
		return NULL;
	}
	if ((!strict || check_owner(fd, path, err, errlen) == 0) &&
	    slurp(fd, &text, err, errlen) == 0) {
		mapkey_text(&text);
		map = accessmap_parse((char *)buf_head(&text), text.len);
		blank_tabs(map);
	}
	close(fd);
	buf_wipe(&text); /* AuthInfo entries have passwords */
	return map;
}

bool
mapfile_first_error(
    const struct accessmap *map, const char *path, char *text, size_t size)
{
	for (size_t i = 0; i < map->nnotes; i++) {
		if (map->note[i].level != ACCESSMAP_ERROR)
			continue;
		snprintf(text, size, "%s:%d: %s", path, map->note[i].line,
		    map->note[i].text);
		return true;
	}
	return false;
}

/* ---- differences ---- */

const char *
mapfile_op_name(enum mapfile_op op)
{
	static const char *const names[] = {
		[MAPFILE_ADDED] = "added",
		[MAPFILE_CHANGED] = "changed",
		[MAPFILE_REMOVED] = "removed",
	};

	return names[op];
}

struct line {
	char *key; /* folded */
	const struct accessmap_entry *entry;
};

/* Two lists of keys in the same order: the map's lines and the old rows. */
struct merge {
	struct mapfile_diff *diff;
	size_t room;
	struct line *line;
	size_t nlines;
	size_t next;   /* first line that no old row has reached yet */
	char *cli_key; /* of the last cli row */
};

static int
by_key(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static void
sort_lines(struct merge *m, const struct accessmap *map)
{
	m->line = xcalloc(map->nentries + 1, sizeof(*m->line));
	for (; m->nlines < map->nentries; m->nlines++) {
		m->line[m->nlines].entry = &map->entry[m->nlines];
		m->line[m->nlines].key = xstrdup(map->entry[m->nlines].key);
		accessmap_fold(m->line[m->nlines].key);
	}
	qsort(m->line, m->nlines, sizeof(*m->line), by_key);
}

static bool
is_hidden(const struct merge *m, const char *key)
{
	return m->cli_key != NULL && strcmp(m->cli_key, key) == 0;
}

static void
note(struct merge *m, const struct mapfile_change *change)
{
	struct mapfile_diff *d = m->diff;

	if (d->n == m->room) {
		m->room = m->room * 2 + 16;
		d->change = xrealloc(d->change, m->room * sizeof(*d->change));
	}
	d->change[d->n++] = *change;
	d->count[change->op]++;
}

/* Lines below `key` are new; NULL: all that are left. */
static void
note_added(struct merge *m, const char *key)
{
	for (; m->next < m->nlines; m->next++) {
		const struct line *l = &m->line[m->next];
		struct mapfile_change change = { .op = MAPFILE_ADDED };

		if (key != NULL && strcmp(l->key, key) >= 0)
			return;
		change.key = xstrdup(l->entry->key);
		change.value = xstrdup(l->entry->value);
		change.line = l->entry->line;
		change.hidden = is_hidden(m, l->key);
		note(m, &change);
	}
}

static void
note_removed(struct merge *m, const struct store_access *row)
{
	const struct mapfile_change change = {
		.op = MAPFILE_REMOVED,
		.key = xstrdup(row->shown),
		.old = xstrdup(row->value),
		.line = row->line,
		.hidden = is_hidden(m, row->key),
	};

	note(m, &change);
}

static void
note_changed(struct merge *m, const struct store_access *row,
    const struct accessmap_entry *entry)
{
	const struct mapfile_change change = {
		.op = MAPFILE_CHANGED,
		.key = xstrdup(entry->key),
		.old = xstrdup(row->value),
		.value = xstrdup(entry->value),
		.line = entry->line,
		.hidden = is_hidden(m, row->key),
	};

	note(m, &change);
}

/* Called in the order of keys, with the cli row of a key first. */
static int
merge_row(const struct store_access *row, void *arg)
{
	struct merge *m = arg;
	const struct line *l;

	note_added(m, row->key);
	if (row->source == STORE_ACCESS_CLI) {
		free(m->cli_key);
		m->cli_key = xstrdup(row->key);
		return 0;
	}
	l = m->next < m->nlines ? &m->line[m->next] : NULL;
	if (l == NULL || strcmp(l->key, row->key) != 0) {
		note_removed(m, row);
		return 0;
	}
	if (strcmp(l->entry->value, row->value) != 0)
		note_changed(m, row, l->entry);
	m->next++;
	return 0;
}

enum store_rc
mapfile_diff(
    struct store *st, const struct accessmap *map, struct mapfile_diff *diff)
{
	struct merge m = { .diff = diff };
	enum store_rc rc;

	memset(diff, 0, sizeof(*diff));
	sort_lines(&m, map);
	if ((rc = store_access_list(st, NULL, merge_row, &m)) == STORE_OK)
		note_added(&m, NULL);
	while (m.nlines > 0)
		free(m.line[--m.nlines].key);
	free(m.line);
	free(m.cli_key);
	return rc;
}

void
mapfile_diff_clear(struct mapfile_diff *d)
{
	while (d->n > 0) {
		free(d->change[--d->n].key);
		free(d->change[d->n].old);
		free(d->change[d->n].value);
	}
	free(d->change);
	memset(d, 0, sizeof(*d));
}

/* ---- the store ---- */

bool
mapfile_is_imported(struct store *st, const char *path)
{
	char text[PATH_MAX];

	return store_setting_get(st, IMPORTED, text, sizeof(text)) ==
	    STORE_OK &&
	    strcmp(text, path) == 0;
}

enum store_rc
mapfile_store(struct store *st, const struct accessmap *map, const char *path)
{
	struct store_access_line *lines;
	enum store_rc rc;

	lines = xcalloc(map->nentries + 1, sizeof(*lines));
	for (size_t i = 0; i < map->nentries; i++) {
		lines[i].key = map->entry[i].key;
		lines[i].value = map->entry[i].value;
		lines[i].line = map->entry[i].line;
	}
	rc = store_access_mirror(st, lines, map->nentries, NULL);
	free(lines);
	if (rc == STORE_OK && path != NULL && !mapfile_is_imported(st, path))
		rc = store_setting_set(st, IMPORTED, path);
	return rc;
}

void
mapfile_store_error(
    const struct store *st, const char *path, char *text, size_t size)
{
	const char *why = store_errtext(st);
	int line = 0, skip = 0;

	if (sscanf(why, "line %d: %n", &line, &skip) == 1 && skip > 0)
		snprintf(text, size, "%s:%d: %s", path, line, why + skip);
	else
		snprintf(text, size, "%s: %s", path, why);
}
