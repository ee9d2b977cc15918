/*
 * The first message of a SCRAM client as far as it concerns channel binding
 * (GS2 header, RFC 5801 section 4) and as far as Cyrus SASL does not check
 * it.  Pure.
 */
#ifndef AUTH_GS2_H
#define AUTH_GS2_H

#include <stddef.h>

#define GS2_NAME_MAX    64   /* octets of a binding's name and its NUL */
#define GS2_MESSAGE_MAX 2048 /* octets of a message */

enum gs2_flag {
	GS2_NONE = 'n',   /* the client can't bind */
	GS2_UNSEEN = 'y', /* it can, and thinks that the server can't */
	GS2_BOUND = 'p'   /* it binds */
};

struct gs2 {
	enum gs2_flag flag;
	char binding[GS2_NAME_MAX]; /* its name, with GS2_BOUND; else "" */
	size_t header_len;          /* octets of the header, commas included */
};

/*
 * Reads gs2-header, username and nonce of RFC 5802 section 7.  Returns NULL,
 * or what is wrong, as a constant text.
 */
const char *gs2_parse(const unsigned char *msg, size_t len, struct gs2 *out);

#endif
