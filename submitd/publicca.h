/*
 * Is a CA one of the system's public ones, under whatever file name?  They
 * sign for anybody: as CAs of clients they would let anybody in.
 */
#ifndef SUBMITD_PUBLICCA_H
#define SUBMITD_PUBLICCA_H

#include "auth/certfile.h"

/* Where a system has them. */
struct publicca_paths {
	const char *const
	    *bundles;      /* the first that is there; ends with NULL */
	const char *local; /* a directory of those that its administrator has
			    * added, which are not public */
};

/* NULL: those of this system. */
const struct certfile_cert *publicca_find(
    const struct certfile *, const struct publicca_paths *);

/* The same for the certificates of a PEM text.  Writes the name of one, or
 * returns false; also if there is no certificate in it, or a broken one. */
bool publicca_find_pem(const void *pem, size_t len, char *name, size_t size);

#endif
