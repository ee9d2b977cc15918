/*
 * The record of writes: who changed what in the store, and when. Rows are
 * made by the writing functions themselves and are never changed. The general
 * rules are in db.h.
 */
#ifndef STORE_AUDIT_H
#define STORE_AUDIT_H

#include "db.h"

struct store_audit {
	int64_t id; /* grows with time */
	int64_t at;
	int64_t uid;        /* real uid of the process */
	const char *actor;  /* as set by store_set_actor(), or "" */
	const char *what;   /* "user add", "cert del", ... */
	const char *object; /* name of the user, key of the row, ... */
	const char *detail; /* new value where that is no secret, or "" */
};

/* Rows with an id above `after`, oldest first. Texts: during the callback. */
typedef int store_audit_cb(const struct store_audit *row, void *arg);
enum store_rc store_audit_list(
    struct store *st, int64_t after, store_audit_cb *cb, void *arg);

#endif
