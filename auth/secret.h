/*
 * Memory for secrets: private keys, passwords, keys of caches.
 *
 * It lies in one piece between two pages that nobody may touch, is never
 * swapped out, is left out of core dumps, reads as zeros in children, and is
 * wiped when it is freed.  Where the system does not allow all of that, or
 * when the piece is full, it works the same with less protection: what is
 * freed is wiped in any case.
 *
 * What passes through the stack, the socket buffers of the kernel and the
 * working memory of libraries is not here: that is short-lived, and wiped by
 * whoever holds it.
 */
#ifndef AUTH_SECRET_H
#define AUTH_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Makes the piece, once in a process, before the first allocation.  0, or -1
 * with errno: secrets can be swapped out. */
int secret_init(size_t size);

/* NULL if there is no memory at all; 16-byte aligned. */
void *secret_alloc(size_t);
/* The old block is wiped; NULL in is fine, and NULL out leaves it as it was. */
void *secret_realloc(void *, size_t);
/* Wipes and frees; NULL is fine. */
void secret_free(void *);

/* For other allocators: from the piece or not at all (NULL); whether p is in
 * it; and how large a block is, at least as asked for. */
void *secret_alloc_inside(size_t);
bool secret_owns(const void *p);
size_t secret_size(const void *p);

/* Bytes of the piece that were in use at most. */
size_t secret_peak(void);

#endif
