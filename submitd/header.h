/*
 * A filter for the header section of a message in submission. It takes the
 * message in pieces, hands on each field whole, leaves out those that must
 * not leave, and stops at the body; the caller passes the body on itself.
 *
 * Left out: Bcc, Resent-Bcc, and Authentication-Results that name our host
 * (RFC 8601 5), in any case and with blanks before the colon; a line "From "
 * of a mailbox file (RFC 4155) before the first field; and what the caller
 * wants left out. All other bytes leave as they came.
 *
 * A line that is neither a field nor the continuation of one ends the header
 * without an empty line: an empty line is put before it, so that added fields
 * do not swallow the body. Where that is the first line, the message has no
 * header (`headless`), which is common and harmless. Behind fields it is
 * `broken`: what the author meant as header, a Bcc say, may now stand in the
 * body. A header section above the limit is `too_big`: looking stops, the rest
 * passes unseen and nothing is added. The caller must refuse a too_big message,
 * and should refuse a broken one; both replies are in the table.
 *
 * A line ends with LF, with or without CR; the caller refuses or repairs bare
 * ones beforehand (dotline.h).
 */
#ifndef SUBMITD_HEADER_H
#define SUBMITD_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "mem.h"

enum {
	HEADER_LIMIT = 256 * 1024, /* default bound of the section in bytes */
};

/* Where field names matter; others are HEADER_OTHER. */
enum header_id {
	HEADER_OTHER,
	HEADER_AUTH_RESULTS,
	HEADER_BCC,
	HEADER_DATE,
	HEADER_FROM,
	HEADER_MESSAGE_ID,
	HEADER_RECEIVED,
	HEADER_RESENT_BCC,
	HEADER_RESENT_FROM,
	HEADER_RESENT_SENDER,
	HEADER_SENDER,
	HEADER_IDS /* number of ids */
};

struct header_field {
	enum header_id id;
	const char *name; /* name_len bytes, without blanks or colon */
	size_t name_len;
	const char *value; /* behind the colon; folds and final CRLF included */
	size_t value_len;
	const char *raw; /* all of it */
	size_t raw_len;
};

struct header_ops {
	/* Each field that stays, before it is put out; false leaves it out,
	 * too. May be NULL. */
	bool (*field)(void *arg, const struct header_field *);
	/*
	 * The header is over (not called when too_big): fields put in out, each
	 * with CRLF, become its last. May be NULL.
	 */
	void (*end)(void *arg, struct buf *out);
};

struct header {
	const struct header_ops *ops;
	void *arg;
	const char *host; /* ours, for Authentication-Results */
	size_t limit;     /* bytes of the header section */

	struct buf pend;            /* field so far, then the line so far */
	size_t line;                /* where that line begins in pend */
	size_t total;               /* bytes of the section taken */
	bool mbox;                  /* that line is the mark of a mailbox */
	bool done;                  /* the rest is body */
	bool headless;              /* there was no header */
	bool broken;                /* fields, then a line that is none */
	bool too_big;               /* above the limit; refuse the message */
	unsigned count[HEADER_IDS]; /* fields seen, left-out ones included */
};

/* host and ops must outlive the filter. limit 0 means HEADER_LIMIT. */
void header_init(struct header *, const struct header_ops *, void *arg,
    const char *host, size_t limit);

/*
 * Takes message bytes in order and appends to out what leaves. Returns the
 * bytes taken: all, or fewer when the header ended; once `done` the rest is
 * body and goes on unchanged behind out.
 */
size_t header_feed(
    struct header *, const void *in, size_t len, struct buf *out);

/* The message is over. Needed also when the header was done before. */
void header_finish(struct header *, struct buf *out);

/* Frees what is pending; the flags and counts stay. */
void header_clear(struct header *);

#endif
