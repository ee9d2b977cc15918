/*
 * Domains that are not ASCII, in the form that every server takes: A-labels
 * (IDNA2008 with the mapping of UTS 46, non-transitional).  The one file that
 * knows libidn2.
 */
#ifndef SUBMITD_IDN_H
#define SUBMITD_IDN_H

#include <stdbool.h>
#include <stddef.h>

enum { IDN_DOMAIN_MAX = 255, IDN_MAILBOX_MAX = 320 };

/*
 * Writes the domain with A-labels; one that is ASCII already, and an address
 * literal, stay as they are.  false: it is no name, or too long.
 */
bool idn_domain(const char *domain, char out[IDN_DOMAIN_MAX + 1]);

/*
 * The same for the domain of a mailbox ("" is the null reverse-path and stays).
 * false also when its local part is not ASCII: nothing helps that one.
 */
bool idn_mailbox(const char *mailbox, char out[IDN_MAILBOX_MAX + 1]);

#endif
