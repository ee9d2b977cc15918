/*
 * The table of connections, which all fronts share: how many there are, and
 * how many from each address (IPv6: from each /64).  It lies in memory that
 * parent makes (parent_table.c); this file knows only its layout.
 *
 * Each front writes a region of its own and reads those of the others: a
 * number is the sum over the regions.  So nothing is locked, and nothing is
 * lost or left over when a front dies in the middle of a write: parent empties
 * its region, and its counts are given back at once.  A front counts first and
 * looks at the sum then; two that do so at the same time may both refuse, but
 * never pass a limit.  An entry that a front moves while another reads may be
 * missed in that moment, which the next look corrects.
 *
 * What other fronts wrote is not believed further than that: a broken one can
 * make the numbers wrong, but not a reader leave the table.
 *
 * Beside the regions lies a memory of addresses from which somebody logged in
 * lately. It is a cache that all write: a place for each hash, the last one
 * stays.
 */
#ifndef SUBMITD_CONNTABLE_H
#define SUBMITD_CONNTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONNTABLE_REGIONS_MAX = 1024 };

/* What all who use one table must agree on; parent says it. */
struct conntable_shape {
	uint32_t regions;
	uint32_t entries; /* in a region, a power of two */
	uint64_t seed;    /* of the hash: strangers can't choose collisions */
};

/* For so many regions and connections; 0, or -1 if that is too much. */
int conntable_shape_for(struct conntable_shape *, size_t regions,
    size_t connections, uint64_t seed);
/* The same table does for these, too. */
bool conntable_fits(
    const struct conntable_shape *, size_t regions, size_t connections);
/* False for what no conntable_shape_for() made. */
bool conntable_shape_ok(const struct conntable_shape *);
size_t conntable_bytes(const struct conntable_shape *);
/* Parts of it, each of whole pages. */
size_t conntable_known_bytes(const struct conntable_shape *); /* at 0 */
size_t conntable_region_bytes(const struct conntable_shape *);
size_t conntable_region_at(const struct conntable_shape *, size_t region);

/* How an address is counted: a number, never 0. text is as inet_ntop() writes
 * it; 0 for what is no address. */
uint64_t conntable_key(const char *text);
/* Back: "192.0.2.7", "2001:db8:0:1::/64". */
void conntable_key_text(uint64_t key, char *out, size_t len);

/* How many strangers there may be: as configured, but at most half of all. */
static inline int64_t
conntable_strangers_max(int64_t strangers, int64_t connections)
{
	int64_t half = (connections + 1) / 2;

	return strangers < half ? strangers : half;
}

enum { CONNTABLE_OFF, CONNTABLE_ACCEPTING, CONNTABLE_DRAINING };

struct conntable_known;
struct conntable_region;

/* One process's view. known and own are NULL for who only reads. */
struct conntable {
	struct conntable_shape shape;
	const unsigned char *all; /* read only */
	struct conntable_known *known;
	struct conntable_region *own;
};

struct conntable_counts {
	uint32_t conns;      /* connections */
	uint32_t strangers;  /* of these without a login */
	uint32_t handshakes; /* of these in the TLS handshake */
};

struct conntable_sum {
	struct conntable_counts now;
	uint64_t refused; /* since the fronts began */
	uint64_t dropped;
	unsigned accepting; /* fronts */
};

/*
 * What the own front does. A key of 0 is counted in the sums, but for no
 * address.
 */
void conntable_state(struct conntable *, int state);
/* A stranger came. False: the region is full; nothing was counted. */
bool conntable_enter(struct conntable *, uint64_t key);
/* It logged in, and will be known. */
void conntable_login(struct conntable *, uint64_t key, int64_t now_ms);
void conntable_leave(struct conntable *, uint64_t key, bool stranger);
void conntable_handshake(struct conntable *, int change); /* +1 or -1 */
void conntable_refused(struct conntable *);
void conntable_dropped(struct conntable *);
struct conntable_counts conntable_own(const struct conntable *);

/* What all fronts have. */
struct conntable_sum conntable_sum(const struct conntable *);
/* From one address; handshakes is 0. */
struct conntable_counts conntable_address(
    const struct conntable *, uint64_t key);
/* Somebody logged in from there, at most max_ms ago. */
bool conntable_is_known(
    const struct conntable *, uint64_t key, int64_t now_ms, int64_t max_ms);

/* Calls fn for each address of any front, with its sum over all, until fn
 * returns other than 0. */
void conntable_each(const struct conntable *,
    int (*fn)(uint64_t key, const struct conntable_counts *, void *arg),
    void *arg);

#endif
