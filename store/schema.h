/*
 * The tables of the user store and the steps from each version of them to the
 * next. Known to the store's own files only.
 */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include "db.h"

/* PRAGMA application_id: tells a user store from any other SQLite file. */
#define SCHEMA_APPLICATION_ID 0x73626d75 /* "sbmu" */

/* The version this program writes. */
int schema_latest(void);

/* SQL that leads from version `from` (0: an empty file) to from + 1. */
const char *schema_step(int from);

/*
 * Checks that the open file is a user store of a version we know, and brings
 * it to the latest if it was opened for writing. Each step is a transaction
 * of its own: a kill leaves the version before it or the one after it.
 */
enum store_rc schema_prepare(struct store *st);

#endif
