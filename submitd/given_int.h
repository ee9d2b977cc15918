/* The inside of given.c, given_file.c, given_chain.c and given_place.c. */
#ifndef SUBMITD_GIVEN_INT_H
#define SUBMITD_GIVEN_INT_H

#include "given.h"

/* What is checked, and where a complaint goes. */
struct check {
	struct given *g;
	char *err;
	size_t errlen;
	int line; /* of the key; 0: conf_line() knows it */
	const struct given *old; /* at a renewal: what is in force */
	bool renewal; /* of files: the lines of conf_line() may be others now */
};

/* "FILE:LINE: KEY: sentence", a key that stands at its default has line 0; at
 * a renewal "KEY: sentence".  -1. */
int given_wrong(const struct check *, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* All files that the configuration names, into g->pem; 0 or -1. */
int given_read_files(const struct check *);

/* Whether a key that must name a file does; 0 or -1. */
int given_check_name(const struct check *, const char *key, const char *file);

/* One file, a secret only if nobody else can read it. */
int given_read_file(const struct check *, const char *key, const char *path,
    bool secret, struct buf *out);

/* given_place.c: paths as texts, then what is there; 0 or -1 */
int given_check_paths(const struct check *);
int given_check_places(const struct check *);

/* given_chain.c: the server's own chains */
int given_load_chains(const struct check *);
void given_free_chains(struct given *);

#endif
