/*
 * A map file and the rows of the user store that come from it: reads and
 * checks the file, says what differs, brings the rows in step.  For the
 * store role (key access_map), for the check at start, and for submitctl.
 */
#ifndef SUBMITD_MAPFILE_H
#define SUBMITD_MAPFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "store/accessmap.h"
#include "store/db.h"

/*
 * Reads a map file.  Tabs in values become blanks, which mean the same, and
 * domains in keys get A-labels (mapkey.h).  A
 * map that was read may still have errors: see nerrors.  NULL: it can't be
 * read, with a sentence in err that does not name it.
 *
 * `strict`: as it is read again and again without anybody looking on, it must
 * be a file that only its owner can write to, who is root or the caller.
 */
struct accessmap *mapfile_read(
    const char *path, bool strict, char *err, size_t errlen);

/* "FILE:LINE: TEXT" of a map's first error; false if it has none. */
bool mapfile_first_error(
    const struct accessmap *, const char *path, char *text, size_t size);

enum mapfile_op { MAPFILE_ADDED, MAPFILE_CHANGED, MAPFILE_REMOVED };
enum { MAPFILE_OPS = MAPFILE_REMOVED + 1 };

const char *mapfile_op_name(enum mapfile_op);

struct mapfile_change {
	enum mapfile_op op;
	char *key;   /* as written; of a removed row as it was written */
	char *old;   /* NULL if added */
	char *value; /* NULL if removed */
	int line;    /* in the file, of a removed row where it was */
	bool hidden; /* without effect: a cli row has the same key */
};

/* In order of the folded keys. */
struct mapfile_diff {
	struct mapfile_change *change;
	size_t n;
	size_t count[MAPFILE_OPS];
};

/* What mapfile_store() would change.  Clear it also after an error. */
enum store_rc mapfile_diff(
    struct store *, const struct accessmap *, struct mapfile_diff *);
void mapfile_diff_clear(struct mapfile_diff *);

/*
 * Brings the file rows in step with a map without errors, and notes that this
 * file was imported; path may be NULL for one that can't be read again.
 * Writes nothing where nothing differs.
 */
enum store_rc mapfile_store(
    struct store *, const struct accessmap *, const char *path);

/* What the store says of a failed mapfile_store(): "FILE:LINE: TEXT" where a
 * line is to blame, else "FILE: TEXT". */
void mapfile_store_error(
    const struct store *, const char *path, char *text, size_t size);

/* Whether the file rows come from this file; false if that can't be read. */
bool mapfile_is_imported(struct store *, const char *path);

#endif
