/*
 * Tells when files may have changed: written and closed, renamed into place or
 * away, deleted, given to another owner or mode, or reached through a symbolic
 * link that now leads elsewhere.  Watches directories by inotify(7), since
 * editors and tools put a new file in place of the old one; all directories and
 * links on the way are watched, so that it does not matter which of them is
 * replaced.
 */
#ifndef SUBMITD_FILEWATCH_H
#define SUBMITD_FILEWATCH_H

#include <stdbool.h>

struct filewatch;

struct filewatch *filewatch_new(void);	  /* NULL with errno */
void filewatch_free(struct filewatch **); /* NULL in is fine; NULL out */

/* What is missing on the way is waited for.  -1 with errno if the last
 * directory that is there can't be watched. */
int filewatch_add(struct filewatch *, const char *path);
/* All that is in a directory, also what goes; links in it are followed. */
int filewatch_add_dir(struct filewatch *, const char *path);

/* A descriptor that becomes readable when something happened. */
int filewatch_fd(const struct filewatch *);

/*
 * Takes what was reported: whether one of the files may be another one now.
 * The caller then makes a new watch, for a link may lead elsewhere.
 */
bool filewatch_changed(struct filewatch *);

#endif
