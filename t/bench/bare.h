/*
 * bare.h: the parts of the program bare: its command line (bare.c), handshakes
 * (bare_tls.c), commits (bare_commit.c) and the stores these go to
 * (bare_store.c).
 */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>

#include "bench.h"

struct bare_opt {
	const char *listen, *cert, *key; /* handshakes */
	unsigned long processes, count;
	const char *dir, *store; /* commits */
	unsigned long waiting, size, seconds;
};

extern struct bare_opt opt;

/* The modes; each prints its result as a line of JSON. */
void bare_handshakes(void);
void bare_accept(void);
void bare_commits(void);

/* Records of one group, one behind another, each with its number. */
struct bare_group {
	char *data;
	size_t len;    /* of a record */
	size_t n;      /* records */
	uint64_t from; /* the number of the first; they count up */
};

/* Where groups go. put() returns once the group is on the disk, and takes the
 * group before it away, as if it had been delivered meanwhile. */
struct bare_store {
	const char *name;
	void (*open)(const char *dir);
	void (*put)(const struct bare_group *);
	void (*close)(void);
};

/* NULL if there is none of that name. */
const struct bare_store *bare_store_find(const char *name);

#endif
