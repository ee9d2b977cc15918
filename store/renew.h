/*
 * New records for a password that stays the same. The general rules are in
 * db.h.
 */
#ifndef STORE_RENEW_H
#define STORE_RENEW_H

#include "user.h"

/*
 * Puts the records in place of all that the user's password has, of a device
 * or with device_id 0 of the account, if `old` is one of them still.
 * STORE_NONE if not: the password, or the user, is another meanwhile.
 * STORE_INVALID: not a record of its kind.
 */
enum store_rc store_password_renew(struct store *st, const char *user,
    int64_t device_id, const char *old, const struct store_record *records,
    size_t n);

#endif
