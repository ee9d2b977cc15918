/*
 * Rows of the access map: key and value, as texts. What they mean, and which
 * values are legal, is known to accessmap.h (text) and to the policy. The
 * general rules are in db.h.
 *
 * Rows have one of two sources: `cli` (set by an administrator, one by one)
 * and `file` (mirror of a map file, replaced as a whole). A key may have one
 * row of each; then the cli row wins. Keys are compared without regard to the
 * case of ASCII letters, as makemap folds them.
 */
#ifndef STORE_ACCESS_H
#define STORE_ACCESS_H

#include <stddef.h>
#include <stdint.h>

#include "db.h"

#define STORE_ACCESS_KEY_MAX   1022 /* the longest line makemap takes, for */
#define STORE_ACCESS_VALUE_MAX 1022 /* either part of it */

enum store_access_source { STORE_ACCESS_CLI, STORE_ACCESS_FILE };

struct store_access {
	const char *key;   /* folded to lower case */
	const char *shown; /* the key as it was written */
	const char *value;
	enum store_access_source source;
	int line; /* in the file, from 1; 0: cli */
	int64_t created;
};

const char *store_access_source_text(enum store_access_source source);

/*
 * The value that counts for a key. `value` has room for len bytes,
 * STORE_ACCESS_VALUE_MAX + 1 suffice always. STORE_NONE: no row.
 */
enum store_rc store_access_lookup(
    struct store *st, const char *key, char *value, size_t len);

/*
 * Adds or replaces the cli row of a key. STORE_INVALID: key or value is
 * empty, too long, not UTF-8, or has control characters in it; a key has no
 * blanks either.
 */
enum store_rc store_access_set(
    struct store *st, const char *key, const char *value);

/*
 * Deletes the cli row of a key. STORE_NONE: there is none; the text says so
 * if the map file has one, since that comes from elsewhere.
 */
enum store_rc store_access_del(struct store *st, const char *key);

/*
 * All rows, ordered by key, the cli row of a key before its file row; with
 * `key` not NULL the rows of this key only. The texts of a row are valid
 * during the callback.
 */
typedef int store_access_cb(const struct store_access *row, void *arg);
enum store_rc store_access_list(
    struct store *st, const char *key, store_access_cb *cb, void *arg);

/* One line of a map file, for store_access_mirror(). */
struct store_access_line {
	const char *key; /* as written */
	const char *value;
	int line; /* from 1 */
};

struct store_access_diff {
	size_t added, changed, removed;
};

/*
 * Brings the file rows in step with the lines of a map file: all or nothing,
 * and no write at all where nothing differs but line numbers. Of a key that
 * comes twice the first line stays, as with makemap. STORE_INVALID: a bad
 * key or value; the text names its line. `diff` may be NULL.
 */
enum store_rc store_access_mirror(struct store *st,
    const struct store_access_line *lines, size_t n,
    struct store_access_diff *diff);

#endif
