/*
 * What auth says of an entry of the access map that keeps mail back: a text
 * that relay passes on to queue, whose history of decisions wants to know.
 * Pure.
 *
 * A line of the reason, the word of {verify}, the bits of the cipher and the
 * names of the smarthost's certificate, tabs between; then the ladder
 * (ladder.h).
 */
#ifndef SUBMITD_RULED_H
#define SUBMITD_RULED_H

#include "auth/certname.h"
#include "ladder.h"

enum { RULED_MAX = LADDER_MAX + 3 * CERTNAME_SIZE + 128 };

/* Of a decision on these facts, of which the server's side is used. */
void ruled_text(const struct policy_facts *, const struct policy_verdict *,
    char out[RULED_MAX]);

struct ruled {
	char why[33], verify[17];
	int bits;
	char cn[CERTNAME_SIZE], subject[CERTNAME_SIZE], issuer[CERTNAME_SIZE];
	struct ladder_step last; /* its rule is what was asked */
	const char *ladder;      /* points into the text */
};

/* -1: it is none. */
int ruled_parse(const char *text, struct ruled *);

#endif
