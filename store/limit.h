/*
 * Limits on what may be sent: rules for all users, for one user, for one
 * device, or for those who may relay by one key of the access map alone. How
 * they come together is said in submitd/userlimit.h; what was sent is counted
 * by the queue. The general rules are in db.h.
 */
#ifndef STORE_LIMIT_H
#define STORE_LIMIT_H

#include <stdint.h>

#include "db.h"

enum limit {
	LIMIT_MESSAGES_HOUR,
	LIMIT_MESSAGES_DAY,
	LIMIT_RECIPIENTS_HOUR,
	LIMIT_RECIPIENTS_DAY,
	LIMIT_NEW_RECIPIENTS_DAY, /* nobody the user has written to before */
	LIMIT_MESSAGE_SIZE,       /* bytes, as they come from the client */
	LIMIT_SESSIONS,           /* at one time */
	/* What no honest user does within an hour: the account is suspended. */
	LIMIT_SUSPEND_NEW,     /* recipients, new as above */
	LIMIT_SUSPEND_FAILED,  /* recipients that failed for good */
	LIMIT_SUSPEND_REFUSED, /* messages refused for a limit */
	LIMITS
};

/* "messages_hour" ... */
const char *limit_name(enum limit limit);
/* The reverse; -1 for an unknown word. */
int limit_parse(const char *word, enum limit *limit);

#define LIMIT_NONE  0    /* no limit */
#define LIMIT_UNSET (-1) /* no rule says anything */

struct limits {
	int64_t v[LIMITS];
};

/* Whom a rule is about; with neither of them all users. */
struct limit_of {
	int64_t user_id;
	int64_t device_id;   /* with the id of its user */
	const char *map_key; /* without user; NULL: none */
};

/* Replaces an earlier value. STORE_INVALID: a bad key, a negative value, or a
 * device of somebody else; STORE_NONE: no such user or device. */
enum store_rc store_limit_set(struct store *st, const struct limit_of *of,
    enum limit limit, int64_t value);
/* STORE_NONE: there is no such rule. */
enum store_rc store_limit_unset(
    struct store *st, const struct limit_of *of, enum limit limit);

/* What the rules about exactly this say; LIMIT_UNSET where they say nothing. */
enum store_rc store_limit_get(
    struct store *st, const struct limit_of *of, struct limits *limits);

#endif
