/*
 * Down-conversion of a message for a server that takes no 8-bit text (RFC 6152
 * section 3) or no binary data (RFC 3030 section 3).
 *
 * The message is given twice: first to find out what it holds and what has to
 * be done, then to do it.  Leaves that need it are encoded anew as
 * quoted-printable or base64, by content; multiparts and messages in messages
 * are gone through.  Nothing else changes: only the field
 * Content-Transfer-Encoding is another, and a message without any MIME fields
 * gets them.  Memory is bounded, whatever comes.
 */
#ifndef SUBMITD_MIME7BIT_H
#define SUBMITD_MIME7BIT_H

#include <stdbool.h>
#include <stddef.h>

#include "mem.h"

enum { MIME7_LINE = 998 }; /* longest line of what is converted */

enum mime7_target {
	MIME7_7BIT, /* the server has no 8BITMIME */
	MIME7_8BIT, /* it has, but no BINARYMIME */
	MIME7_TARGETS
};

enum mime7_rc {
	MIME7_AS_IS,   /* it can go as it is */
	MIME7_CONVERT, /* it can be converted */
	MIME7_CANNOT   /* no conversion keeps its meaning */
};

struct mime7;

struct mime7 *mime7_new(void);
/* NULL in is fine; NULL out always. */
void mime7_free(struct mime7 **);

/* The message, for the first time. */
void mime7_scan(struct mime7 *, const void *, size_t len);
void mime7_scan_end(struct mime7 *);

/* After that: some field of the message, of a part or of a message in it is
 * not ASCII (RFC 6532). */
bool mime7_has_utf8_header(const struct mime7 *);
/*
 * What there is to do.  binary: the message came as BINARYMIME, so long lines
 * are meant to be one piece; else they may go as they are.  *why is a part of
 * a sentence for MIME7_CANNOT.
 */
enum mime7_rc mime7_judge(
    const struct mime7 *, enum mime7_target, bool binary, const char **why);

/* The message again, if it can be converted: what it becomes is added to out.
 * May be done several times. */
void mime7_begin(struct mime7 *, enum mime7_target);
void mime7_convert(struct mime7 *, const void *, size_t len, struct buf *out);
void mime7_convert_end(struct mime7 *, struct buf *out);

#endif
