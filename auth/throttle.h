/*
 * The guard against guessing passwords.  It counts *distinct* wrong passwords
 * in a window of time, so that a phone that repeats an old password counts
 * once, and answers what a login may do now:
 *
 *	per user	slow down only: refusing would let any stranger lock
 *			the owner out
 *	per user and address, and per address
 *			refuse for a while
 *
 * An address where the user succeeded lately is not refused to that user and
 * not slowed down; only wrong passwords from there are answered later and
 * later, and once there were many there is one at a time: a second one is
 * refused until the first has its answer.  Many that come at the same moment
 * wait for each other, since they may be wrong.  IPv6 addresses count by their
 * /64.  Names without an account are counted as those with one, so that nothing
 * shows which is which.
 *
 * A wrong password is a number that its caller makes of it: a keyed HMAC.
 * Where the mechanism does not show the password (SCRAM) each failure is a new
 * number.
 *
 * Pure: the caller passes the time, in ms since 1970; counters are kept by the
 * caller through throttle_save() and throttle_load().  Bounded: the entries
 * used longest ago go first, those of successes apart from those of failures.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THROTTLE_ADDR_MAX     64    /* bytes of an address as it is counted */
#define THROTTLE_COUNTERS     20000 /* entries of failures */
#define THROTTLE_TRUSTS       50000 /* entries of successes */
#define THROTTLE_USER_MAX     100   /* of throttle_conf.user */
#define THROTTLE_ADDRESS_MAX  1000  /* of throttle_conf.address */
#define THROTTLE_DELAY_MS     1000  /* the first; then 2, 4, 8 times as long */
#define THROTTLE_DELAY_MAX_MS 10000
#define THROTTLE_ASKED_MS     60000 /* a login takes no longer */
#define THROTTLE_WAIT_MS      500   /* until others have their verdict */

struct throttle_conf {
	unsigned user;     /* wrong passwords for one user; 0: not counted */
	unsigned address;  /* from one address; 0: not counted */
	int64_t window_ms; /* in this time */
	int64_t refuse_ms; /* so long */
	int64_t trust_ms;  /* after a success its address is trusted so long */
};

enum throttle_kind {
	THROTTLE_USER,    /* slows down */
	THROTTLE_PAIR,    /* user and address: refuses */
	THROTTLE_ADDRESS, /* refuses */
	THROTTLE_TRUST,   /* user and address: a success */
	THROTTLE_KINDS
};

struct throttle;

/* What a login may do. */
struct throttle_verdict {
	bool refuse; /* until until_ms */
	int64_t until_ms;
	int64_t delay_ms; /* before the password is looked at; after a wrong
			   * one: before the answer */
	bool again;       /* ask once more after the delay */
	bool reserved;    /* it has a place among those under way */
	unsigned began;   /* bits 1 << THROTTLE_...: what sets in just now */
};

/* NULL: no memory.  All is allowed before throttle_configure(). */
struct throttle *throttle_new(void);
void throttle_free(struct throttle **);
/* Counters stay; values above their maximum are cut. */
void throttle_configure(struct throttle *, const struct throttle_conf *);

/*
 * An address as it is counted: "192.0.2.7", "2001:db8:0:1::/64"; that of a
 * mapped IPv4 address is the IPv4 address.  Takes its own results, too.
 * False: no address; out then has the text, cut.
 */
bool throttle_address(const char *text, char out[THROTTLE_ADDR_MAX]);

/*
 * Networks separated by blanks: "127.0.0.1 10.0.0.0/8 2001:db8::/32".
 * 1 if address is in one of them, 0 if not; -1 if a word is no network:
 * then *bad is that word and *len its length.  A NULL address asks only
 * whether all are networks.
 */
int throttle_in_networks(
    const char *networks, const char *address, const char **bad, size_t *len);

/*
 * Before a password is looked at.  address is as throttle_address() has it.
 * If it is not refused, one of the next three follows, or it counts as under
 * way for THROTTLE_ASKED_MS.
 */
struct throttle_verdict throttle_ask(
    struct throttle *, const char *user, const char *address, int64_t now_ms);
/* The password was wrong.  One that is refused is not counted. */
struct throttle_verdict throttle_wrong(struct throttle *, const char *user,
    const char *address, uint64_t password, int64_t now_ms);
/* It was right.  If it is refused all the same, no trust comes of it. */
struct throttle_verdict throttle_right(
    struct throttle *, const char *user, const char *address, int64_t now_ms);
/* It ended, and tells nothing about the password. */
struct throttle_verdict throttle_done(
    struct throttle *, const char *user, const char *address, int64_t now_ms);

/*
 * Forgets failures of a user (in any case), of an address, or with NULL for
 * both all of them; returns how many counters that were.  Trust stays.
 */
unsigned throttle_clear(
    struct throttle *, const char *user, const char *address);

/* One entry.  user or address is "" where the kind has none. */
struct throttle_entry {
	enum throttle_kind kind;
	const char *user, *address;
	int64_t last_ms;  /* the last failure or success */
	int64_t until_ms; /* refused until then */
	/* throttle_list() only */
	unsigned wrong; /* distinct passwords in the window */
	bool refused, slowed;
	/* throttle_save() and throttle_load() only */
	bool gone;         /* to be deleted */
	const void *marks; /* opaque, in host order */
	size_t len;
};

/* Calls fn for every counter that counts something, the newest first, until fn
 * returns other than 0. */
void throttle_list(struct throttle *, int64_t now_ms,
    int (*fn)(const struct throttle_entry *, void *arg), void *arg);

/* True if throttle_save() has something to say. */
bool throttle_is_changed(const struct throttle *);
/*
 * Calls fn for each entry that changed since the last call; deleted ones come
 * first.  Stops where fn returns other than 0, and returns that; those left
 * come again.
 */
int throttle_save(struct throttle *,
    int (*fn)(const struct throttle_entry *, void *arg), void *arg);
/* An entry of an earlier process; one that is malformed is left out.  Those
 * used longest ago should come first. */
void throttle_load(struct throttle *, const struct throttle_entry *);

#endif
