/*
 * A few answers that were given lately: of two whose keys meet in one of the
 * places the later one stays.  Whoever keeps them forgets them when the
 * questions may have other answers.
 */
#ifndef SUBMITD_MEMO_H
#define SUBMITD_MEMO_H

#include <stddef.h>

enum { MEMO_PLACES = 256 };

struct memo { /* all zero is an empty one */
	struct memo_entry *place[MEMO_PLACES];
};

/* The value kept for this key, as it was given; NULL: none.  Valid until the
 * next memo_put() or memo_clear(). */
const void *memo_get(const struct memo *, const char *key);
/* Keeps a copy of size bytes. */
void memo_put(struct memo *, const char *key, const void *value, size_t size);
void memo_clear(struct memo *);

#endif
