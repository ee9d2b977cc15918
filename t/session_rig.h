/*
 * A session that is fed with arbitrary client bytes, for fuzz targets. Auth and
 * queue are played by a few rules.
 *
 * What is checked on the way, by abort(): every reply is well formed; a message
 * that queue gets holds no line end, NUL or eight-bit byte that it should not;
 * what is asked of auth and queue fits into a packet.
 */
#ifndef T_SESSION_RIG_H
#define T_SESSION_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "submitd/mem.h"

/* How auth, queue and the configuration are. */
enum {
	SESSION_RIG_NORMALIZE = 1 << 0,
	SESSION_RIG_LONG_LINES = 1 << 1, /* are refused */
	SESSION_RIG_NO_SPACE = 1 << 2,   /* queue takes nothing */
	SESSION_RIG_NO_FILE = 1 << 3,    /* nor large bodies */
	SESSION_RIG_QUEUE_GONE = 1 << 4, /* upon each third question */
	SESSION_RIG_REFUSED = 1 << 5,    /* the session, by the access map */
	SESSION_RIG_CERT = 1 << 6,       /* stands for the user */
	SESSION_RIG_PICKY = 1 << 7,      /* auth refuses recipients with a z */
};

struct session_rig_input {
	const uint8_t *data;
	size_t len;
	uint8_t mode;  /* SESSION_RIG_* */
	bool implicit; /* TLS stands from the start */
	size_t piece;  /* bytes that arrive at a time, at least 1 */
	int64_t step;  /* ms that pass with each look at the clock */
};

struct session_rig_heard {
	struct buf all;  /* replies, and messages when queue gets them */
	struct buf mail; /* the messages alone, each below a line on it */
	size_t last;     /* where the last replies of all begin */
};

/* One dialogue, until the input ends or the server hangs up. */
struct session_rig_heard session_rig_play(const struct session_rig_input *);
void session_rig_clear(struct session_rig_heard *);

#endif
