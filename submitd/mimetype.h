/*
 * The values of Content-Type and Content-Transfer-Encoding (RFC 2045).
 */
#ifndef SUBMITD_MIMETYPE_H
#define SUBMITD_MIMETYPE_H

#include <stdbool.h>
#include <stddef.h>

#include "mimewalk.h"

enum { MIME_BOUNDARY_MAX = 200 }; /* RFC 2046 allows 70 */

struct mimetype {
	enum mime_kind kind;
	bool frozen; /* multipart/signed, multipart/encrypted */
	bool digest; /* multipart/digest: its parts are messages */
	bool doubtful;
	char boundary[MIME_BOUNDARY_MAX + 1]; /* of MIME_MULTIPART */
};

/* len bytes behind the colon, folded as they are.  A type that cannot be read
 * is MIME_DATA, a multipart without a good boundary MIME_FIXED. */
void mimetype_parse(const char *value, size_t len, struct mimetype *);
enum mime_encoding mimetype_encoding(const char *value, size_t len);

#endif
