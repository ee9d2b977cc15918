/*
 * Memory that is always there: when the system has none left the role ends
 * (its parent starts it again), so callers never see NULL.  Peer input must be
 * bounded before it gets here.
 */
#ifndef SUBMITD_MEM_H
#define SUBMITD_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *xmalloc(size_t);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *, size_t);
char *xstrdup(const char *);
char *xstrndup(const char *, size_t max);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A text that is mostly empty, and then takes no memory: NULL stands for "".
 * Puts a copy of text in the place of the one before. */
void str_set(char **, const char *text);
const char *str_of(const char *);

/* Wipes len bytes, then frees; NULL is fine. */
void freezero(void *, size_t len);
/* Wipes and frees a string; NULL is fine. */
void freezero_str(char *);

/*
 * A growing byte buffer.  `data` may be NULL while `len` is 0.  Consumed
 * bytes at the front are dropped lazily; read from buf_head().
 */
struct buf {
	unsigned char *data;
	size_t len;  /* bytes in use, from data[off] on */
	size_t off;  /* consumed bytes before them */
	size_t size; /* allocated */
	bool secret; /* in auth/secret.h's memory: to be set while empty */
};

void buf_add(struct buf *, const void *, size_t);
/* Room for at least n more bytes; returns where they go (see buf_grew). */
void *buf_room(struct buf *, size_t n);
void buf_grew(struct buf *, size_t n);
void buf_drop(struct buf *, size_t n); /* from the front; n <= len */
unsigned char *buf_head(const struct buf *);
void buf_clear(struct buf *); /* frees */
void buf_wipe(struct buf *);  /* wipes what it held, frees */

#endif
