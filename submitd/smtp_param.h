/*
 * Parameters of MAIL and RCPT, one by one, and the values that they and BDAT
 * can have.  Syntax only: nothing here knows what the server offers, what time
 * it is, or what a user may.
 *
 * All functions take counted bytes that need not end with NUL, and bound what
 * they read.  Keywords in values are taken in any case.  Each parser returns 0
 * and sets its results, or -1.
 */
#ifndef SUBMITD_SMTP_PARAM_H
#define SUBMITD_SMTP_PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/mailopt.h"

enum {
	SMTP_PARAM_KEY_MAX = 32,
	SMTP_PARAM_VALUE_MAX = 1024,
	SMTP_PARAMS_MAX = 24, /* in one command */
};

/* One parameter of MAIL or RCPT; value points into the command line. */
struct smtp_param {
	char key[SMTP_PARAM_KEY_MAX + 1]; /* upper case */
	const char *value;                /* NULL without '=' */
	size_t value_len;
};

/* Where an iteration stands; begin with smtp_params_init(). */
struct smtp_params {
	const char *next, *end;
	struct {
		const char *p;
		size_t len;
	} seen[SMTP_PARAMS_MAX];
	size_t nseen;
};

enum smtp_param_rc {
	SMTP_PARAM_OK,
	SMTP_PARAM_END,
	SMTP_PARAM_SYNTAX, /* also: too many or too long */
	SMTP_PARAM_TWICE,  /* the keyword stood before; key is set */
};

/* arg must outlive the use. */
void smtp_params_init(struct smtp_params *, const char *arg, size_t len);

/*
 * The next parameter. A value may hold '=', which the RFCs want encoded but
 * programs send in ENVID, and UTF-8 (RFC 6531 3.3): what takes it must know
 * whether it may. After anything but SMTP_PARAM_OK the iteration is over.
 */
enum smtp_param_rc smtp_params_next(struct smtp_params *, struct smtp_param *);

/*
 * xtext (RFC 3461 4). Decoding takes hexadecimal digits of both cases and
 * refuses text that decodes to a control character. Both write a NUL and
 * return 0, or -1 when in is not valid or does not fit into size.
 */
int smtp_xtext_decode(const char *in, size_t len, char *out, size_t size);
int smtp_xtext_encode(const char *in, size_t len, char *out, size_t size);

/*
 * The value of ORCPT, "rfc822;xtext" or "utf-8;..." in each form of RFC 6533
 * section 3, decoded to "type;address" with the type as written. The address
 * of an unknown type is xtext. utf8: UTF-8 may stand as it is.
 */
int smtp_orcpt_decode(
    const char *in, size_t len, bool utf8, char *out, size_t size);

/*
 * The value of SIZE: 1 to 20 digits. What is beyond 64 bits is UINT64_MAX, so
 * that it is refused as too large and not as malformed.
 */
int smtp_size_parse(const char *in, size_t len, uint64_t *size);

/* BODY (RFC 6152, RFC 3030). */
int smtp_body_parse(const char *in, size_t len, uint8_t *body);

/* NOTIFY, to bits (RFC 3461 4.1): NEVER alone, or a list of the others. */
int smtp_notify_parse(const char *in, size_t len, uint8_t *notify);

/* RET (RFC 3461 4.3). */
int smtp_ret_parse(const char *in, size_t len, uint8_t *ret);

/*
 * ENVID (RFC 3461 4.4), xtext of at most 100 printable characters. A bare '=',
 * which programs send, becomes its code; all else stays as it came.
 */
int smtp_envid_parse(const char *in, size_t len, char out[ENVID_MAX + 1]);

/*
 * BY (RFC 2852 4). The time may be negative or 0 with BY_NOTIFY only.
 */
struct smtp_by {
	int64_t seconds;
	uint8_t mode; /* enum mail_by */
	uint8_t trace;
};
int smtp_by_parse(const char *in, size_t len, struct smtp_by *by);

/* HOLDFOR (RFC 4865 3): 1 to 999999999 seconds. */
int smtp_holdfor_parse(const char *in, size_t len, int64_t *seconds);

/*
 * HOLDUNTIL: a date-time of RFC 3339, in UTC as RFC 4865 wants it or with an
 * offset, as seconds since 1970; a part of a second counts as a whole one.
 */
int smtp_holduntil_parse(const char *in, size_t len, int64_t *when);

/* MT-PRIORITY (RFC 6710 7): -9 to 9, here 0 to PRIORITY_MAX. */
int smtp_priority_parse(const char *in, size_t len, uint8_t *priority);

enum smtp_chunk_rc {
	SMTP_CHUNK_OK,
	SMTP_CHUNK_SYNTAX, /* something else than LAST; *size is set */
	SMTP_CHUNK_NO_SIZE /* no one can say where the chunk ends */
};

/*
 * The argument of BDAT (RFC 3030 2): a number and perhaps LAST. A number
 * beyond 64 bits is UINT64_MAX.
 */
enum smtp_chunk_rc smtp_chunk_parse(
    const char *in, size_t len, uint64_t *size, bool *last);

#endif
