/*
 * Password records of crypt(3), as they come from other servers: for PLAIN
 * and LOGIN only, since SCRAM can't use them.  Nothing here logs.
 */
#ifndef AUTH_CRYPTPW_H
#define AUTH_CRYPTPW_H

#include <stddef.h>

enum cryptpw_rc {
	CRYPTPW_OK,
	CRYPTPW_WRONG,
	CRYPTPW_FAILED /* no memory */
};

/*
 * Does the password belong to the record?  What crypt(3) does not know as a
 * record matches no password; neither does a password with a NUL in it, or
 * one of more than 511 octets.
 */
enum cryptpw_rc cryptpw_check(
    const char *record, const char *password, size_t len);

/*
 * Can cryptpw_check() use such a record, at a bearable cost?  Returns 0, or
 * -1 with a sentence in *why.
 */
int cryptpw_usable(const char *record, const char **why);

#endif
