/*
 * Whose certificate is it: what the user store says of one key of a mapping
 * (cert.h).  For the server and for those who explain it.
 */
#ifndef AUTH_CERTOWNER_H
#define AUTH_CERTOWNER_H

#include "cert.h"
#include "store/user.h"

/*
 * As cert_lookup_fn.  `now` is in seconds since 1970.  *rc is what the store
 * said last: with CERT_MAP_TEMP why it can't say.
 */
enum cert_map certowner_find(struct store *, enum cert_key, const char *value,
    const char *issuer, int64_t now, struct cert_owner *out, enum store_rc *rc);

/* Who owns an address by its name, not by domain or *. */
struct certowner_only {
	unsigned users; /* how many */
	int64_t id;     /* of one of them */
	char user[STORE_NAME_MAX + 1];
};
enum store_rc certowner_only(
    struct store *, const char *address, struct certowner_only *);

#endif
