/*
 * A role in the fuzzer's process, and its peers as scripts: the input is a
 * list of things that happen, of which most are messages.  What a message has
 * in its fields comes from the input, from words that the target knows, or is
 * left as it is; some are cut, or bytes as they are.
 */
#ifndef T_FUZZ_RIG_H
#define T_FUZZ_RIG_H

#include "submitd/role.h"

struct fuzz_in {
	const uint8_t *p, *end;
};

/* The next byte, 0 at the end; the next two. */
unsigned fuzz_byte(struct fuzz_in *);
unsigned fuzz_word(struct fuzz_in *);
/* Up to max bytes; they stay where they are. */
struct blob fuzz_bytes(struct fuzz_in *, size_t max);

/* A peer of the role: its end is ours. */
struct fuzz_peer {
	enum role role;
	uint32_t instance;
	int fd; /* -1: not connected (any more) */
};

/* What the role's fields may be filled with, ended by NULL; each as a string
 * and as bytes. */
struct fuzz_words {
	const char *const *text;
	const struct blob *blob;
	size_t blobs;
};

/* A role: started by its operations, with no parent behind it. */
struct fuzz_rig {
	const struct role_ops *ops;
	struct role_setup setup;
	struct fuzz_words words;
	/* An answer of the role to a peer, with its packet; NULL: of no
	 * interest. */
	void (*heard)(const struct fuzz_peer *, enum msg_type, uint64_t sid,
	    const union msg *);
	/* Before a message goes to the role, which may be malformed. */
	void (*said)(const struct fuzz_peer *, enum msg_type, uint64_t sid,
	    const union msg *);
};

/* A base without locks, defaults, a parent's end that nobody reads. */
void fuzz_rig_init(struct fuzz_rig *, const struct role_ops *);
/* preload() and start(); ends the program if the role refuses. */
void fuzz_rig_start(struct fuzz_rig *);

void fuzz_connect(struct fuzz_rig *, struct fuzz_peer *);
void fuzz_disconnect(struct fuzz_peer *);
/* Sends a message of one of these types, or of any: the input says which, and
 * what is in it. */
void fuzz_say(struct fuzz_rig *, struct fuzz_peer *, struct fuzz_in *,
    const enum msg_type *types, size_t n, uint64_t sid);
/* Bytes as they are. */
void fuzz_say_raw(struct fuzz_peer *, struct fuzz_in *);
/* Lets the role handle what has come, and hears all that it answers. */
void fuzz_turn(struct fuzz_rig *, struct fuzz_peer *, size_t n);

#endif
