/*
 * What a stranger can see of users before any proof, so that names that are
 * nobody's can be made to look like them. The general rules are in db.h.
 */
#ifndef STORE_LOOKALIKE_H
#define STORE_LOOKALIKE_H

#include "user.h"

/* The iterations and the salt of a SCRAM record stand in the challenge. */
struct store_shape {
	unsigned iterations; /* 0: users that have a password of their own, but
			      * no record of this kind */
	unsigned salt_len;   /* bytes */
	int64_t users;       /* how many show it */
};

/*
 * The shapes that users show for a kind of record, the oldest way of making
 * records first: by iterations, then by salt. A user without a password of
 * the account shows the record of the only device; disabled users, and those
 * whose password others judge, show none.
 */
typedef int store_shape_cb(const struct store_shape *shape, void *arg);
enum store_rc store_lookalike_shapes(
    struct store *st, enum store_cred_kind kind, store_shape_cb *cb, void *arg);

/*
 * The user that a name without a domain resembles: the one of this name, else
 * one whose name or address has it before the @. STORE_NONE: none.
 */
enum store_rc store_lookalike_user(
    struct store *st, const char *local, struct store_user *user);

#endif
