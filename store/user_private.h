/*
 * Parts of user.c that its sisters in the store use.
 */
#ifndef STORE_USER_PRIVATE_H
#define STORE_USER_PRIVATE_H

#include "db_private.h"
#include "user.h"

/* The columns that user_from_row() reads, of a table with the alias u. */
#define USER_COLUMNS                                                           \
	"u.id, u.name, u.state, u.reason, u.auth_policy,"                      \
	" u.password_backend, u.mechanisms, u.created, u.max_priority"

/* A user from the columns USER_COLUMNS, the first of which is number col. */
enum store_rc user_from_row(
    struct store *st, sqlite3_stmt *stmt, int col, struct store_user *user);

/* The user's name; STORE_NONE with its text if there is no such user. */
enum store_rc user_name_by_id(
    struct store *st, int64_t id, char name[STORE_NAME_MAX + 1]);

/*
 * Adds password records within a write bracket; device_id 0: the account
 * password. Refuses what is no record of its kind.
 */
enum store_rc records_insert(struct store *st, int64_t user_id,
    int64_t device_id, const struct store_record *records, size_t n);

#endif
