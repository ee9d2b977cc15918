/*
 * Fields a submission server adds to a message: Received (RFC 5321 4.4, with
 * the tls clause of RFC 8314 4.3), and values for Date and Message-ID.
 */
#ifndef SUBMITD_RECEIVED_H
#define SUBMITD_RECEIVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
	RECEIVED_MAX = 2048,    /* a buffer that holds any Received field */
	RECEIVED_DATE_MAX = 40, /* a buffer that holds any date */
	MESSAGE_ID_MAX = 336,   /* a buffer that holds any Message-ID */
};

struct received {
	const char *host; /* ours */
	const char *id;   /* of the queue */
	const char *date; /* from received_date() */

	/* Shown only with trace_client; each but the first may be NULL. */
	const char *ehlo;        /* as the client wrote it */
	const char *client_name; /* verified name */
	const char *client_addr; /* "192.0.2.1", "2001:db8::1" */
	const char *login;
	bool trace_client;

	/* The protocol: SMTP, ESMTP, ESMTPS, ESMTPSA, UTF8SMTPSA... */
	bool esmtp; /* EHLO, not HELO */
	bool tls;
	bool auth;
	bool utf8;              /* the transaction has SMTPUTF8 */
	const char *priority;   /* of RFC 6710, "-9" to "9"; NULL: not given */
	const char *tls_cipher; /* IANA name, as of TLS_AES_256_GCM_SHA384 */
};

/*
 * Writes the whole field with its final CRLF and a NUL, folded so that lines
 * stay below 78 bytes where words allow: no word is cut, and none has over 260.
 * The first line is more than the name of the field. Whatever in the strings
 * could end a word, a comment or the line becomes '?'. Unless trace_client the
 * field begins "from unknown": what programs say in EHLO is the name that
 * somebody gave to his computer, or its address. RFC 5321 wants a from clause.
 * Returns the length, or 0 if size is too small (RECEIVED_MAX never is).
 */
size_t received_make(const struct received *, char *buf, size_t size);

/*
 * "Mon, 3 Nov 2025 09:05:01 +0100" (RFC 5322 3.3). tz_min: minutes east of UTC.
 * Returns the length, or 0 if size is too small (RECEIVED_DATE_MAX never is)
 * or no calendar holds t; buf is then no date but ends with NUL.
 */
size_t received_date(time_t t, int tz_min, char *buf, size_t size);

/*
 * "<hex digits of rnd@host>": nothing of the client, the user or the time
 * leaks. len is at most 32; 16 random bytes are enough. Returns the length, or
 * 0 if size is too small (MESSAGE_ID_MAX never is).
 */
size_t message_id_make(
    const void *rnd, size_t len, const char *host, char *buf, size_t size);

#endif
