/*
 * Who owns an address: what the store says of it (store/user.h), for an
 * address as it stands in an envelope or a header.
 */
#ifndef SUBMITD_ADDROWNER_H
#define SUBMITD_ADDROWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "store/user.h"

/*
 * As store_user_owns(), but a domain may be written in letters of any script
 * (the store has its xn-- form); and with plus ann+anything@example.org is
 * owned by whoever owns ann@example.org.
 */
enum store_rc addrowner_owns(struct store *, int64_t user_id,
    const char *address, bool plus, bool *owns);

/*
 * An address to name to a user as his own: the first by the alphabet, or, if
 * all are patterns, "@example.org" or "*"; "" if there is none.
 */
enum store_rc addrowner_first(
    struct store *, int64_t user_id, char out[STORE_ADDRESS_MAX + 1]);

#endif
