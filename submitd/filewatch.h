/*
 * Tells when a file has changed: written and closed, renamed into place or
 * away, deleted, given to another owner or mode, or reached through a symbolic
 * link that did.  Watches directories by
 * inotify(7), since editors and tools put a new file in place of the old one.
 */
#ifndef SUBMITD_FILEWATCH_H
#define SUBMITD_FILEWATCH_H

#include <stdbool.h>

struct filewatch;

/* NULL with errno if the directory can't be watched. */
struct filewatch *filewatch_new(const char *path);
void filewatch_free(struct filewatch **); /* NULL in is fine; NULL out */

/* A descriptor that becomes readable when something happened. */
int filewatch_fd(const struct filewatch *);

/*
 * Takes what was reported: whether the file may be another one, or the
 * directory has gone, now.  The caller then makes a new watch, for a link may
 * lead elsewhere.
 */
bool filewatch_changed(struct filewatch *);

#endif
