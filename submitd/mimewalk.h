/*
 * A walk through the structure of a MIME message (RFC 2045, RFC 2046), in
 * pieces of any size and with bounded memory.  Whatever the message holds, the
 * bytes given to field(), data() and glue() are, in this order, those of the
 * message.
 *
 * An entity is the message, a part of a multipart, or the message in a
 * message/rfc822; they are numbered from 0 in the order in which they begin.
 * Lines end with CR LF: another CR or LF is a byte like any other.
 */
#ifndef SUBMITD_MIMEWALK_H
#define SUBMITD_MIMEWALK_H

#include <stdbool.h>
#include <stddef.h>

enum mime_kind {
	MIME_TEXT,      /* a leaf made of lines, with any encoding */
	MIME_DATA,      /* any other leaf that may be encoded */
	MIME_FIXED,     /* a leaf that may not be encoded (RFC 2046 5.2) */
	MIME_MULTIPART, /* the parts are entities */
	MIME_MESSAGE    /* so is the message in it */
};

enum mime_encoding {
	MIME_7BIT, /* also when there is no such field */
	MIME_8BIT,
	MIME_BINARY,
	MIME_QP,
	MIME_BASE64,
	MIME_OTHER
};

struct mime_entity {
	unsigned number;
	enum mime_kind kind;         /* known from header_end() on, */
	enum mime_encoding encoding; /* these too */
	bool has_version, has_type, has_encoding;
	bool frozen; /* signed or encrypted: no byte may change */
};

enum mime_field { MIME_FIELD_OTHER, MIME_FIELD_ENCODING };

struct mime_ops {
	/* A field with its line ends; a very long one comes in pieces. */
	void (*field)(void *arg, const struct mime_entity *, enum mime_field,
	    const void *, size_t len);
	void (*header_end)(void *arg, const struct mime_entity *);
	/* Bytes of a leaf.  The line end before a delimiter is none of them. */
	void (*data)(
	    void *arg, const struct mime_entity *, const void *, size_t len);
	/* A leaf is over; last: and the message with it. */
	void (*data_end)(void *arg, const struct mime_entity *, bool last);
	/* All else: empty lines, delimiters, what is outside of parts. */
	void (*glue)(void *arg, const void *, size_t len);
};

struct mimewalk;

/* ops outlives the walk. */
struct mimewalk *mimewalk_new(const struct mime_ops *ops, void *arg);
void mimewalk_feed(struct mimewalk *, const void *, size_t len);
/* The message is over. */
void mimewalk_end(struct mimewalk *);
/* NULL in is fine; NULL out always. */
void mimewalk_free(struct mimewalk **);

/*
 * Others may read the structure otherwise: a line that only begins like a
 * delimiter, a field that counts twice, and the like.  What was converted by
 * this reading might not be the same message for them.
 */
bool mimewalk_is_doubtful(const struct mimewalk *);

#endif
