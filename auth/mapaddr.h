/*
 * Addresses as the access map sees them: taken apart the way sendmail does,
 * with source routes, "%" and "!" understood, since somebody may try to relay
 * through a domain that may be relayed to.  Pure.
 */
#ifndef AUTH_MAPADDR_H
#define AUTH_MAPADDR_H

#include <stdbool.h>

#include "policy.h"

#define MAPADDR_SIZE POLICY_KEY_SIZE

struct mapaddr {
	char local[MAPADDR_SIZE];
	char domain[MAPADDR_SIZE]; /* without final dots; empty if none */
	bool whole;                /* false: did not fit, both are empty */
	bool dequoted;             /* local stood in quotes, which are gone */
};

/*
 * Splits an address (no angle brackets).  A source route is dropped; without
 * an @ the last "%", or the first "!", stands for it; a quoted local part
 * loses its quotes where it can; an address of a local domain (class w) whose
 * local part names another host is followed to that host.
 */
void mapaddr_parse(
    struct mapaddr *, const char *address, const struct policy_options *);

/* Does the local part name a host of its own ("@", "%" or "!")? */
bool mapaddr_is_routed(const struct mapaddr *);

/* Is the domain in the list (NULL-terminated, may be NULL)? */
bool mapaddr_is_listed(const char *domain, const char *const *list);

/* The same, or below a domain of the list. */
bool mapaddr_is_below(const char *domain, const char *const *list);

#endif
