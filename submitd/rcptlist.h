/*
 * Recipients that were decided alike, as one text to be kept: one a line, as
 * many as there is room for, and how many there are beside. Pure.
 */
#ifndef SUBMITD_RCPTLIST_H
#define SUBMITD_RCPTLIST_H

#include <stdbool.h>

#include "mem.h"

enum { RCPTLIST_MAX = 2048 }; /* bytes with the final NUL */

/* To an empty list at first, which takes one in any case. False: no room. */
bool rcptlist_add(struct buf *list, const char *address);
/* Ends the list, with the number of those that had no room. */
void rcptlist_end(struct buf *list, size_t more);

/*
 * Takes the next address, the caller's to free; NULL at the end, when *more
 * is set. A text that is one address only is a list, too; "" is an empty one.
 */
char *rcptlist_next(const char **list, size_t *more);

#endif
