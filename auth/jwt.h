/*
 * Checks bearer tokens that are JSON Web Tokens (RFC 7519) in the compact form
 * of RFC 7515, signed with RS256 or ES256 (RFC 7518).  Everything else, "none"
 * and the shared-secret algorithms above all, is refused.  No socket, file or
 * clock; nothing here logs.
 */
#ifndef AUTH_JWT_H
#define AUTH_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JWT_USER_MAX  255          /* octets of a user's name */
#define JWT_TOKEN_MAX 12288        /* octets of a token */
#define JWT_LEEWAY    60           /* seconds that clocks may differ */
#define JWT_KEYS_MAX  (256 * 1024) /* octets of a key file */

/* Public keys of those whose tokens are believed. */
struct jwt_keys;

/*
 * text is a JSON Web Key Set (RFC 7517), or public keys or certificates in
 * PEM, one or more.  Keys that can't sign what we take are skipped (RFC 7517
 * section 5); with none left, or with an RSA key below 2048 bits, NULL and a
 * sentence in err.
 */
struct jwt_keys *jwt_keys_new(
    const char *text, size_t len, char *err, size_t errlen);
void jwt_keys_free(struct jwt_keys **);

enum jwt_rc {
	JWT_OK,
	JWT_NOT_ONE,   /* does not look like a JWT: perhaps an opaque token */
	JWT_MALFORMED, /* looks like one, but is not sound */
	JWT_ALGORITHM, /* signed in a way that we do not take */
	JWT_NO_KEY,    /* by a key that is not ours to believe */
	JWT_SIGNATURE,
	JWT_EXPIRED,
	JWT_NOT_YET,
	JWT_ISSUER,
	JWT_AUDIENCE,
	JWT_NO_USER /* the claim that names the user is not there or no text */
};

/* For the log. */
const char *jwt_rc_text(enum jwt_rc);

/* What a token must say; the texts are not empty. */
struct jwt_expect {
	const char *issuer;     /* "iss", exactly */
	const char *audience;   /* "aud", or one of several there */
	const char *user_claim; /* of the top level, as "email" or "sub" */
	int64_t now;            /* seconds since 1970 */
};

/*
 * The signature, then "exp" (which must be there), "nbf", "iss" and "aud".
 * With the claim "email" the address must not be marked as unverified
 * ("email_verified").  Writes the user's name, not checked further.
 */
enum jwt_rc jwt_check(const struct jwt_keys *, const struct jwt_expect *,
    const char *token, size_t len, char user[JWT_USER_MAX + 1]);

#endif
