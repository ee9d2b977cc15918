/*
 * One question to saslauthd(8), which Cyrus asks over its socket.  It blocks
 * for as long as saslauthd takes, and starts Cyrus anew: so it is for a
 * process of its own, in which sasl.h is not used.
 */
#ifndef AUTH_SASLAUTHD_H
#define AUTH_SASLAUTHD_H

#include <stddef.h>

#include "sasl.h"

/*
 * Whether it is the user's password; never SASL_PW_LATER.  path names the
 * socket ("/run/saslauthd/mux").  detail becomes what to log, "" if there is
 * nothing to say.
 */
enum sasl_pw saslauthd_check(const char *path, const char *user,
    const char *password, size_t len, char *detail, size_t detaillen);

#endif
