/*
 * Whom the header of a message names as its authors: the mailboxes of From,
 * Sender, Resent-From and Resent-Sender, and what is wrong with these fields,
 * as a list that front sends to auth. Pure.
 */
#ifndef SUBMITD_AUTHORS_H
#define SUBMITD_AUTHORS_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/policy.h"
#include "header.h"
#include "mailbox.h"
#include "mem.h"

enum {
	AUTHORS_MAX = 200, /* addresses in a list */
	/* bytes of one that has an entry more, of what is wrong */
	AUTHORS_LIST_MAX = (AUTHORS_MAX + 1) * (2 + MAILBOX_ADDRESS_MAX + 1)
};

struct authors { /* all zero before the first field */
	/* entries: a byte for the field, one for what is wrong with it (enum
	 * mailbox_rc), the address and a NUL; each is there once */
	struct buf list;
	unsigned n;
	bool seen[POLICY_AUTHOR_FIELDS];
};

/* Takes a field of the header; others than the four are ignored. */
void authors_add(struct authors *, const struct header_field *);

/* The header is over. */
void authors_end(struct authors *);

/*
 * Whether nothing is wrong and all of them are this address, which is not
 * empty; ASCII letters match in either case, as they do in the user store.
 */
bool authors_are(const struct authors *, const char *address);

/* Frees the list. */
void authors_clear(struct authors *);

/*
 * Reads a list of len bytes at p: fills at most max entries, whose texts point
 * into it or are constants. Returns how many, or -1 if it is none.
 */
int authors_read(
    const void *p, size_t len, struct policy_author *out, size_t max);

#endif
