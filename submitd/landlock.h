/*
 * Landlock: the kernel refuses a process all files but those below some
 * directories, all TCP ports but some, and (as one who was locked in) signals
 * to and abstract sockets of everybody outside.  Kernels differ in what they
 * can: what this one can't is left out.
 */
#ifndef SUBMITD_LANDLOCK_H
#define SUBMITD_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANDLOCK_TREES = 4, LANDLOCK_PORTS = 2 };

enum landlock_rights {
	LANDLOCK_READ,  /* read files */
	LANDLOCK_LIST,  /* and list directories */
	LANDLOCK_CHANGE /* and make, write and remove files */
};

/* What is allowed; all else is not. */
struct landlock {
	struct {
		const char *path; /* a directory, or a single file */
		enum landlock_rights rights;
	} tree[LANDLOCK_TREES];
	size_t trees;
	uint16_t connect[LANDLOCK_PORTS]; /* TCP; to listen: none */
	size_t ports;
	bool any_file, any_port; /* only signals and abstract sockets count */
};

/* What the kernel can do, as a number that grows; 0: it has no Landlock. */
int landlock_abi(void);

/* For this process and all its children, for good; needs no_new_privs.  0, or
 * -1 with errno, and *what that was.  0, too, without Landlock. */
int landlock_enter(const struct landlock *, const char **what);

#endif
