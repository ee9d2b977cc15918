/*
 * The store role: a short-lived child that opens users.db read-write once.
 * That rolls back what a killed writer left, and migrates an older schema;
 * auth, which may only read, can do neither.
 */
#include <stdio.h>

#include "role.h"
#include "store/db.h"

static int
storefix_start(struct role_setup *s, char *err, size_t errlen)
{
	struct store *st = NULL;
	enum store_rc rc = store_open(s->conf.users_db, STORE_RW, &st);

	if (rc != STORE_OK)
		snprintf(
		    err, errlen, "%s: %s", s->conf.users_db, store_errtext(st));
	store_close(&st);
	return rc == STORE_OK ? 0 : -1;
}

static void
storefix_peer(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	(void)s, (void)role, (void)instance, (void)fd; /* it has none */
}

static void
storefix_drain(struct role_setup *s)
{
	role_leave(s);
}

const struct role_ops store_ops = {
	.role = ROLE_STORE,
	.start = storefix_start,
	.peer = storefix_peer,
	.drain = storefix_drain,
};
