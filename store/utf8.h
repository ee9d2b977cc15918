/*
 * UTF-8 (RFC 3629) as it is met in addresses and shown in replies and reports.
 */
#ifndef STORE_UTF8_H
#define STORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The character at s, of which len bytes are there: returns its length, 1 to
 * 4, and sets *cp (which may be NULL). 0 when len is 0 or the bytes are not
 * UTF-8: overlong, a surrogate, above U+10FFFF or cut.
 */
size_t utf8_next(const char *s, size_t len, uint32_t *cp);

/* Writes the character cp, which must be one, and returns its length. */
size_t utf8_put(uint32_t cp, char out[4]);

/* Whether all bytes are ASCII; the second: of a string. */
bool utf8_is_ascii(const void *, size_t len);
bool utf8_is_ascii_text(const char *);

#endif
