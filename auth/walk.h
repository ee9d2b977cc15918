/*
 * The orders in which keys of the access map are asked.  Each walk stops at
 * the first key that is found or whose look-up fails for now.
 */
#ifndef AUTH_WALK_H
#define AUTH_WALK_H

#include <stddef.h>

#include "mapaddr.h"
#include "policy_int.h"

/*
 * A tag is "TLS_Clt" and the like.  With WALK_UNTAGGED each step asks the key
 * with its tag and then without, before the walk goes on.
 */
enum walk_keys { WALK_TAGGED, WALK_UNTAGGED };

/* Exactly one key (or two, with WALK_UNTAGGED). */
void walk_exact(struct policy_ctx *, const char *tag, const char *operand,
    enum walk_keys, struct policy_hit *);

/*
 * a.b.c, b.c, c; for "[192.0.2.1]" or "[IPv6:...]" the last part goes each
 * time.  The value SKIP ends the walk as not found, if that option is on.
 */
void walk_name(struct policy_ctx *, const char *tag, const char *name,
    enum walk_keys, struct policy_hit *);

/* 192.0.2.1, 192.0.2, 192.0, 192; IPv6 likewise.  SKIP as above. */
void walk_addr(struct policy_ctx *, const char *tag, const char *addr,
    enum walk_keys, struct policy_hit *);

/* Name walk, then address walk. */
void walk_host(struct policy_ctx *, const char *tag, const char *name,
    const char *addr, enum walk_keys, struct policy_hit *);

/* user+detail@domain, user+*@domain, user@domain; domain may be empty. */
void walk_user(struct policy_ctx *, const char *tag, const char *local,
    const char *domain, enum walk_keys, struct policy_hit *);

/*
 * The same for the local part of an address, with its domain or none.  To
 * sendmail a quoted one is one word without detail, except in a local domain
 * and for the To entries, where it takes the quotes off first.
 */
void walk_mailbox(struct policy_ctx *, const char *tag, const struct mapaddr *,
    const char *domain, enum walk_keys, struct policy_hit *);

#endif
