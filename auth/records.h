/*
 * The records of one password: which there should be, and making them.  An
 * account can have several: for each mechanism one, and one password more for
 * each device.  Those of one user may share a salt, so that a check of PLAIN
 * derives one key for all of them.  Nothing here logs.
 */
#ifndef AUTH_RECORDS_H
#define AUTH_RECORDS_H

#include "sasl.h"

/* As the configuration asks for. */
struct records_want {
	unsigned iterations;
	bool sha1; /* a record of SCRAM-SHA-1, too */
};

struct records {
	char sha256[SCRAM_RECORD_MAX];
	char sha1[SCRAM_RECORD_MAX]; /* "": none is wanted */
};

/* Is it a record of its mechanism as it would be made now? */
bool records_is_current(
    const char *record, const char *mech, unsigned iterations);

/*
 * Is a wanted record of the device (0: of the account's own password) not
 * there, or not as it would be made now?
 */
bool records_due(
    const struct sasl_account *, int64_t device, const struct records_want *);

/*
 * Makes the records of a password.  The salt is that of a device's record in
 * `like`, if there is one of as many iterations; else, and with NULL, it is
 * random.  Returns 0, or -1 if the crypto library failed.
 */
int records_make(const struct sasl_account *like, const struct records_want *,
    const char *password, size_t len, struct records *out);

#endif
