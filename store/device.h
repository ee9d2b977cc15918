/*
 * Devices: a phone, a laptop or a script of a user, with one credential of its
 * own (a certificate or a password), so that it can be revoked alone. The
 * general rules are in db.h. When a device was last used is not known here:
 * that lives with the queue's data.
 */
#ifndef STORE_DEVICE_H
#define STORE_DEVICE_H

#include "user.h"

#define STORE_LABEL_MAX 64 /* bytes of a label */

enum store_device_kind { STORE_DEVICE_PASSWORD, STORE_DEVICE_CERT };

struct store_device {
	int64_t id;
	int64_t user_id;
	char user[STORE_NAME_MAX + 1];
	char label[STORE_LABEL_MAX + 1];
	enum store_device_kind kind;
	int64_t created;
	int64_t expires; /* 0: never */
	int64_t revoked; /* when; 0: not revoked */
};

const char *store_device_kind_text(enum store_device_kind kind);
int store_device_kind_parse(const char *word, enum store_device_kind *kind);

/*
 * What a label is: 1 to 64 bytes of UTF-8 without control characters, no
 * blank at either end. Returns -1 and sets *why if this is none.
 */
int store_label(const char *in, const char **why);

/*
 * STORE_EXISTS: the user has a device of this label that is not revoked.
 * STORE_NONE: no such user. STORE_INVALID: bad label or expiry.
 */
enum store_rc store_device_add(struct store *st, int64_t user_id,
    const char *label, enum store_device_kind kind, int64_t expires,
    int64_t *id);

/* By label: the one that is not revoked, else the last revoked one. */
enum store_rc store_device_get(struct store *st, int64_t user_id,
    const char *label, struct store_device *device);
enum store_rc store_device_by_id(
    struct store *st, int64_t id, struct store_device *device);

/* Of one user, or of all with user_id 0; ordered by user, label, id. */
typedef int store_device_cb(const struct store_device *device, void *arg);
enum store_rc store_device_list(
    struct store *st, int64_t user_id, store_device_cb *cb, void *arg);

/*
 * Revokes the device and with it its password and certificates. A device
 * that is revoked keeps its first time of revocation.
 */
enum store_rc store_device_revoke(struct store *st, int64_t id, int64_t when);

/*
 * Makes the records the password of a device of kind STORE_DEVICE_PASSWORD,
 * in place of what there was. STORE_INVALID: device of another kind, revoked
 * device, bad record, none at all.
 */
enum store_rc store_device_password(
    struct store *st, int64_t id, const struct store_record *records, size_t n);

#endif
