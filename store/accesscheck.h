/*
 * Checks one entry of the access map before it is stored: the value against
 * the grammar of its tag (accessval.h), the key for spellings that can never
 * match, and both for combinations that do not do what they seem to. Pure.
 */
#ifndef STORE_ACCESSCHECK_H
#define STORE_ACCESSCHECK_H

#include "accessmap.h"

/*
 * Called for each finding: a sentence without final period, valid during the
 * call, printable ASCII, without the value where that may be a secret.
 */
typedef void accesscheck_cb(
    void *arg, enum accessmap_level level, const char *text);

/*
 * 0, or -1 if the entry must be refused; then cb has been told an error. cb
 * may be NULL.
 */
int accesscheck_entry(
    const char *key, const char *value, accesscheck_cb *cb, void *arg);

#endif
