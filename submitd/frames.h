/*
 * Several files in one buffer, each as its length (u32 in the machine's
 * order) and its bytes: what parent gives a role where there can be more than
 * one of a kind.
 */
#ifndef SUBMITD_FRAMES_H
#define SUBMITD_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "mem.h"

/* At most 4 GiB. */
void frames_add(struct buf *, const void *, size_t);

/*
 * The next one, from *at on (0 at first): out then shows bytes of the buffer
 * and is not to be freed.  False behind the last, and at one that is cut.
 */
bool frames_next(const struct buf *, size_t *at, struct buf *out);

#endif
