/*
 * Which limits hold for a sender.  For a user: the rule about the user, else
 * that about all users, else the configuration.  For a device: what a rule
 * about it says, on top of what holds for its user.  Who relays by a key of
 * the access map alone may be a whole site: for them only rules about the key
 * count.
 */
#ifndef SUBMITD_USERLIMIT_H
#define SUBMITD_USERLIMIT_H

#include <stdbool.h>

#include "store/limit.h"

enum userlimit_source { LIMIT_OF_CONF, LIMIT_OF_ALL, LIMIT_OF_SENDER };

struct userlimit {
	struct limits user;   /* LIMIT_NONE: none */
	struct limits device; /* LIMIT_NONE: none */
	enum userlimit_source from[LIMITS]; /* of user */
};

/* A sender as queue knows it, by POLICY's relay_as. */
#define USERLIMIT_MAP "map:" /* and the key: not a user */
bool userlimit_is_map(const char *sender);
/* The reverse: that of a key, in whatever case of letters. Cut to fit. */
void userlimit_map_sender(const char *key, char *out, size_t size);

/*
 * conf is what the configuration says.  user_id 0: sender is "map:KEY", and has
 * no device.  device_id 0: no device.
 */
enum store_rc userlimit_get(struct store *, const struct limits *conf,
    const char *sender, int64_t user_id, int64_t device_id, struct userlimit *);

#endif
