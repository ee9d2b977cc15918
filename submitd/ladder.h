/*
 * The ladder of rules of a verdict as compact text, to be kept and to be
 * shown later.  Pure.
 *
 * A line for each rule that was asked, in order: its name, what came of it
 * (names of policy.h), the key and the value of the entry, if there was one;
 * tabs between, control characters replaced.  Where not all fits the first
 * ones are left out, for it is the last ones that decide, and "..." stands in
 * their place.
 */
#ifndef SUBMITD_LADDER_H
#define SUBMITD_LADDER_H

#include "auth/policy.h"

enum { LADDER_MAX = 4096 }; /* bytes with the final NUL */

void ladder_text(const struct policy_verdict *, char out[LADDER_MAX]);

struct ladder_step {
	char rule[32], met[16];
	char key[POLICY_SHOWN_SIZE], value[POLICY_SHOWN_SIZE];
};

/* Takes a line; what follows it, or NULL if there is none any more.  A "..."
 * is a step whose rule is that. */
const char *ladder_next(const char *text, struct ladder_step *);

#endif
