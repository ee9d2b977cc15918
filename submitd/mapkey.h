/*
 * Keys of the access map in the form in which they are asked for: domains have
 * A-labels there, whether they came from DNS or, written in letters of any
 * script, from an address.  So they must have them in the store.
 */
#ifndef SUBMITD_MAPKEY_H
#define SUBMITD_MAPKEY_H

#include "mem.h"

/*
 * The key with A-labels in its domain, or a copy of it as it is: if there is
 * no domain in it, or one that has no such form.  The caller frees.
 */
char *mapkey(const char *key);

/* The same for the key of each line in the text of a map, which is replaced;
 * what is wiped with it must be wiped afterwards as before. */
void mapkey_text(struct buf *);

#endif
