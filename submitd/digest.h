/*
 * SHA-256 of bytes that come in pieces.
 */
#ifndef SUBMITD_DIGEST_H
#define SUBMITD_DIGEST_H

#include <stddef.h>

enum { DIGEST_LEN = 32 };

struct digest;

/* Makes OpenSSL read its configuration now: a role that is locked in can't
 * open it any more.  Hashes of auth/ need that, too. */
void digest_preload(void);

struct digest *digest_new(void);
void digest_add(struct digest *, const void *, size_t);
/* Takes what was begun; NULL out always. */
void digest_end(struct digest **, unsigned char out[DIGEST_LEN]);
void digest_free(struct digest **); /* NULL in is fine */

#endif
