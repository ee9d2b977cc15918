/*
 * What auth does to gather facts for the decision (auth/policy.h) and to make
 * a reply of the verdict, for those who must do it in the same way.  Pure.
 */
#ifndef SUBMITD_FACTS_H
#define SUBMITD_FACTS_H

#include "auth/policy.h"
#include "smtp_reply.h"

/*
 * A numeric address in the form of the access map: IPv6 as "IPv6:" and eight
 * groups, a mapped IPv4 address as IPv4.  The caller frees.
 */
char *facts_addr(const char *addr);

/*
 * The client's name for the access map: `name` without its final dot, or
 * "[map_addr]" where it is empty.  The caller frees.
 */
char *facts_host(const char *name, const char *map_addr);

/* Which kind of RELAY entry this is, POLICY_RELAYS_*, or 0. */
unsigned facts_relays(const char *key, const char *value);

/* The reply to a verdict without a code. */
enum smtp_reply facts_reply(enum policy_why);

#endif
