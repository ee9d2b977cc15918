/*
 * The authors that the header of a message names: do they belong to whoever
 * sends it?  For policy.c only.
 */
#ifndef AUTH_AUTHORCHECK_H
#define AUTH_AUTHORCHECK_H

#include "policy_int.h"

/* As the parts of the ladder in policy.c: true when it is decided. */
bool authorcheck(struct policy_ctx *);

#endif
