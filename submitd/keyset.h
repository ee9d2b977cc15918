/*
 * Which keys are certainly not there: a set of the hashes of some keys, 8 to
 * 16 bytes each.  It spares the question about a key that is in no table,
 * which is what most questions about the access map are.
 */
#ifndef SUBMITD_KEYSET_H
#define SUBMITD_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keyset { /* all zero is the empty set */
	uint64_t *slot; /* 0: free */
	size_t size;    /* a power of two */
	size_t n;
};

/* Keys are compared byte by byte: whoever folds them does so before. */
void keyset_add(struct keyset *, const char *key);
/* False: it was not added.  True: it was, or another one of its hash. */
bool keyset_may_have(const struct keyset *, const char *key);
void keyset_clear(struct keyset *);

#endif
