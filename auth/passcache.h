/*
 * A memory of passwords verified lately, so that clients that log in for
 * every message do not cost a key derivation each.  Only an HMAC under a key
 * of the process is kept.  Pure: the caller passes the time, in seconds of a
 * clock that does not go backwards, and wipes the cache when the user store
 * changes.
 */
#ifndef AUTH_PASSCACHE_H
#define AUTH_PASSCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSCACHE_KEY_LEN 32    /* bytes */
#define PASSCACHE_MAX     10000 /* entries; the least used goes first */
#define PASSCACHE_RIGHT_S 300   /* seconds, not extended by use */
#define PASSCACHE_WRONG_S 60    /* seconds a wrong password is remembered */

enum passcache_rc { PASSCACHE_MISS, PASSCACHE_RIGHT, PASSCACHE_WRONG };

struct passcache;

/* Copies the key, which must be random.  max is 1 or more.  NULL: no memory. */
struct passcache *passcache_new(
    const unsigned char key[PASSCACHE_KEY_LEN], size_t max);
void passcache_free(struct passcache **);

/*
 * Looks a password up.  On PASSCACHE_RIGHT *device is the device whose
 * password it is, 0 for the account's own.
 */
enum passcache_rc passcache_get(struct passcache *, const char *user,
    const char *password, size_t len, int64_t now_s, int64_t *device);

/* Remembers a verdict.  A full cache forgets the entry used longest ago. */
void passcache_put(struct passcache *, const char *user, const char *password,
    size_t len, bool right, int64_t device, int64_t now_s);

/* Forgets everything. */
void passcache_wipe(struct passcache *);

/* Entries held, expired ones included. */
size_t passcache_count(const struct passcache *);

#endif
