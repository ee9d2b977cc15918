/*
 * The user store: users, addresses, devices, passwords, certificates, access
 * rows, limits, settings and the record of what administrators changed.
 *
 * One SQLite file, written by submitctl and by parent's short-lived helper,
 * read by auth. This header is the door: open, close, transactions, result
 * codes, change detection. The tables have headers of their own (user.h,
 * device.h, cert.h, access.h, audit.h). None of them names an SQLite type.
 *
 * Rules for all functions of the store:
 *  - The result is an enum store_rc; store_errtext() says it in a sentence.
 *    Out parameters are set on STORE_OK only, unless stated otherwise.
 *  - Texts are UTF-8 and NUL-terminated. Times are seconds since 1970; 0
 *    stands for "none" (no expiry, not revoked).
 *  - Ids are above 0 and never used again after a deletion; 0 is "none".
 *  - A function that writes is atomic: alone it is its own transaction,
 *    between store_begin() and store_commit() it is a part of that one. Each
 *    write leaves one row in the audit table. On a store opened read-only it
 *    returns STORE_INVALID.
 *  - Callbacks of the list functions get a row that is valid only during the
 *    call. They return 0 to go on; anything else ends the list, which is no
 *    error. They must not write to the store.
 *  - A handle belongs to one process and one thread. It must not be carried
 *    through fork().
 *  - When memory is exhausted the process aborts.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <stddef.h>
#include <stdint.h>

struct store;

enum store_rc {
	STORE_OK,
	STORE_NONE,    /* no such row; at open: no such file */
	STORE_EXISTS,  /* this row (at create: this file) exists already */
	STORE_BUSY,    /* another writer held the lock for 2 s: try again */
	STORE_INVALID, /* refused: bad value, or not possible here */
	STORE_READONLY_HOT, /* a writer died half-way; one read-write open
			     * repairs it, until then nothing can be read */
	STORE_DAMAGED,      /* not a user store, or a broken one */
	STORE_OLDER,        /* read-only, and the schema awaits a migration */
	STORE_NEWER,        /* made by a later version of this program */
	STORE_DENIED,       /* the file's permissions say no */
	STORE_IO            /* disk full, I/O error, or anything else */
};

enum store_mode {
	STORE_RO,     /* read; never writes, not even to repair */
	STORE_RW,     /* read and write; repairs and migrates when opened */
	STORE_CREATE, /* make a new store; STORE_EXISTS if the file is there */
};

/*
 * Opens the store in the file `path`. A new store gets mode 0600 and the
 * caller's uid; its directory must exist.
 *
 * *st is set in every case, so that store_errtext() can tell why it failed;
 * a handle of a failed open is good for store_errtext() and store_close()
 * only. Errors: STORE_NONE, STORE_EXISTS, STORE_READONLY_HOT, STORE_DAMAGED,
 * STORE_OLDER, STORE_NEWER, STORE_DENIED, STORE_BUSY, STORE_IO.
 */
enum store_rc store_open(
    const char *path, enum store_mode mode, struct store **st);

/* Rolls back what was not committed. NULL in is fine; NULL out always. */
void store_close(struct store **st);

/*
 * The last failure on this handle as a sentence without a final period. Valid
 * until the next call with this handle. Does not name the file, and never
 * holds a secret.
 */
const char *store_errtext(const struct store *st);

/* The name of a result code, for logs: "busy", "none", ... Never NULL. */
const char *store_rc_name(enum store_rc rc);

/*
 * A number that grows whenever the store's content may have changed since the
 * last call on this handle: by a commit of any process, or because another
 * file took the place of the one that was open (then that file is opened).
 * Costs some 10 microseconds. Whoever keeps anything read from the store
 * calls this first, and forgets all of it when the number differs.
 */
enum store_rc store_version(struct store *st, uint64_t *version);

/*
 * Begins to read one state of the store, and tells its version as
 * store_version() does: until store_release() all reads see that state, at a
 * tenth of the cost, and no writer can commit. So it must be short. A second
 * store_hold() changes nothing, even when another file has taken the place of
 * the one that is read. Of no use on a handle that writes.
 */
enum store_rc store_hold(struct store *st, uint64_t *version);
/* Harmless where nothing is held; NULL is fine. */
void store_release(struct store *st);

/*
 * Several writes as one transaction, which takes the write lock at once.
 * STORE_BUSY if another writer does not finish within 2 s. store_rollback()
 * is harmless where no transaction is open. Transactions do not nest.
 */
enum store_rc store_begin(struct store *st);
enum store_rc store_commit(struct store *st);
void store_rollback(struct store *st);

/*
 * Who the audit rows name from now on: a short text such as "ann (sudo)".
 * Copied. The row also has the process's real uid, whatever is given here.
 */
void store_set_actor(struct store *st, const char *actor);

/* Settings: free pairs of a name [a-z0-9_.]{1,64} and a text. */
enum store_rc store_setting_get(
    struct store *st, const char *name, char *value, size_t len);
enum store_rc store_setting_set(
    struct store *st, const char *name, const char *value);

#endif
