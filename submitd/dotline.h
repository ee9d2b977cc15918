/*
 * The lines of a message: transparency (RFC 5321 4.5.2) in both directions,
 * and what no line may hold.
 *
 * Only CR LF "." CR LF ends a message of DATA. A bare CR, bare LF or NUL never
 * does and never begins a line on the wire; it is flagged, the caller refuses
 * the message once its real end has come. In the chunks of BDAT a dot has no
 * meaning, and nothing in them is an end; the same is flagged. Bytes are handed
 * to a sink in the largest runs that need no change, straight out of the input.
 */
#ifndef SUBMITD_DOTLINE_H
#define SUBMITD_DOTLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes len > 0 bytes; they are valid only during the call. */
typedef void dotline_sink(void *arg, const void *data, size_t len);

enum { DOTLINE_LINE_MAX = 998 }; /* bytes without CR LF (RFC 5322 2.1.1) */

/* Receiving. */
struct dotline_in {
	int state;      /* private */
	bool chunks;    /* of BDAT */
	bool normalize; /* a bare LF becomes CR LF, and is no error */
	bool done;      /* the end of the message has been taken */
	bool bare_cr;
	bool bare_lf; /* also set when it was normalized */
	bool nul;
	bool long_line; /* above DOTLINE_LINE_MAX */
	uint64_t line;  /* private: bytes of the line so far */
	uint64_t size;  /* bytes given to the sink: RFC 1870 counts these */
};

void dotline_in_init(struct dotline_in *, bool normalize);

/* The same for BDAT: dotline_in_feed() then takes all, and the caller says by
 * dotline_in_end() that the last chunk was the last. */
void dotline_in_init_chunks(struct dotline_in *, bool normalize);
void dotline_in_end(struct dotline_in *);

/*
 * Decodes len bytes and returns how many were taken: all of them, or fewer
 * when the message ended and commands follow. Once done nothing is taken.
 */
size_t dotline_in_feed(struct dotline_in *, const void *in, size_t len,
    dotline_sink *sink, void *arg);

/* Sending. */
struct dotline_out {
	bool line_start; /* private: behind LF */
	bool crlf;       /* behind CR LF */
	bool cr;         /* behind CR */
};

void dotline_out_init(struct dotline_out *);

/*
 * Encodes len bytes of a message. A dot behind a bare LF is doubled, too: no
 * such message is accepted here, but were there one, no lax server may take it
 * for two.
 */
void dotline_out_feed(struct dotline_out *, const void *in, size_t len,
    dotline_sink *sink, void *arg);

/* Ends the message: the CR LF that may be missing, then "." CR LF. */
void dotline_out_end(struct dotline_out *, dotline_sink *sink, void *arg);

#endif
