/*
 * Base64, RFC 4648 section 4, strict: no line breaks, no other alphabet, full
 * padding, and the unused bits of the last group are zero, so that one text
 * has one decoding and one value one text.
 */
#ifndef SUBMITD_BASE64_H
#define SUBMITD_BASE64_H

#include <stddef.h>

/* Bytes of text that n bytes become, without the NUL. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* The value of a digit, 0 to 63, or -1. It takes the same time for all. */
int base64_digit(char c);

/*
 * Writes the text and a NUL to out. Returns 0, or -1 when size is less than
 * BASE64_LEN(len) + 1; out is then untouched.
 */
int base64_encode(const void *in, size_t len, char *out, size_t size);

/*
 * Writes the decoded bytes to out and their number to out_len. An empty text
 * is no bytes. Returns 0, or -1 when in is not base64 or size is too small;
 * out may then hold part of it. len / 4 * 3 bytes are always enough.
 */
int base64_decode(
    const char *in, size_t len, void *out, size_t size, size_t *out_len);

#endif
