/*
 * What the parts of submitctl share. A verb is a row of a table: its name, its
 * arguments, what must be open when it runs, and its function. The function
 * leaves its result in struct ctl; submitctl.c commits and then prints, so
 * that nothing is told which was not done.
 */
#ifndef SUBMITD_CTL_H
#define SUBMITD_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/records.h"
#include "conf.h"
#include "store/db.h"
#include "store/user.h"

enum { CTL_WORDS_MAX = 64 }; /* arguments of one command */

/* What a verb needs before it runs. */
enum ctl_needs {
	CTL_NOTHING,
	CTL_CONF,  /* the configuration */
	CTL_READ,  /* and the store, to read */
	CTL_WRITE, /* and the store, to write: see ctl_begin() */
};

struct ctl_opt {
	const char *name; /* "--label" */
	bool takes_value;
};

struct ctl;

struct ctl_verb {
	const char *noun;
	const char *name; /* "" where the noun is all */
	const char *args; /* for the usage line */
	const char *help; /* one line */
	int (*run)(struct ctl *);
	enum ctl_needs needs;
	size_t min, max;            /* number of words that are no options */
	const struct ctl_opt *opts; /* up to a NULL name; may be NULL */
};

/* Each ends with a row whose noun is NULL. */
extern const struct ctl_verb ctl_init_verbs[], ctl_user_verbs[],
    ctl_address_verbs[], ctl_cert_verbs[], ctl_access_verbs[],
    ctl_queue_verbs[], ctl_throttle_verbs[], ctl_status_verbs[],
    ctl_device_verbs[], ctl_ca_verbs[], ctl_check_verbs[], ctl_import_verbs[],
    ctl_limit_verbs[], ctl_log_verbs[],
    ctl_explain_verbs[];

/* How a value of a result is shown to people. */
enum ctl_kind {
	CTL_TEXT,
	CTL_NUMBER, /* to the right */
	CTL_BOOL,   /* yes, no */
	CTL_SIZE,   /* bytes as 12K */
	CTL_TIME,   /* ISO 8601 in UTC, or null; shown in local time */
	CTL_SPAN,   /* seconds */
	CTL_WORDS,  /* an array of texts */
	CTL_TABLE   /* an array of objects; ctl_show() only */
};

struct ctl_column {
	const char *key; /* in the JSON object; "a.b" is b in the object a */
	const char *title;
	enum ctl_kind kind;
	const struct ctl_column *columns; /* of CTL_TABLE */
};

struct ctl {
	const char *conf_file;
	bool json; /* --json */
	const struct ctl_verb *verb;

	const char *word[CTL_WORDS_MAX];
	size_t words;
	struct {
		const char *name, *value;
	} opt[CTL_WORDS_MAX];
	size_t opts;

	struct conf conf;
	struct store *st;
	bool changing; /* a transaction is open */

	json_t *result;
	const struct ctl_column *columns; /* of a listing or object */
	bool each;                        /* objects, not a listing */
	char *text;                       /* instead of columns */
};

/* The last value of an option, "" for one that takes none; NULL if it was not
 * given. */
const char *ctl_opt(const struct ctl *, const char *name);

/* ---- failing: all print "submitctl: ..." and return an exit status ---- */

int ctl_fail(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A mistake in the command line: adds the usage line. */
int ctl_usage(const struct ctl *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* What the store says of the call that returned rc. */
int ctl_store_fail(const struct ctl *, enum store_rc rc);
/* Something to know, on stderr; the command goes on. */
void ctl_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- the store ---- */

/*
 * Begins the command's one transaction; called when all input was read and
 * nobody has to be waited for. submitctl.c commits if the verb returns 0, and
 * rolls back if not. 0 or an exit status.
 */
int ctl_begin(struct ctl *);

/* A user by name; EX_NOUSER if there is none. 0 or an exit status. */
int ctl_user(const struct ctl *, const char *name, struct store_user *);

/* ---- results (each takes the json_t) ---- */

/* A listing: an array of objects. */
void ctl_list(struct ctl *, json_t *rows, const struct ctl_column *);
/* One object, shown line by line. */
void ctl_show(struct ctl *, json_t *object, const struct ctl_column *);
/* Several objects, each shown line by line. */
void ctl_show_each(
    struct ctl *, json_t *objects, const struct ctl_column *);
/* What was done: an object for --json, a sentence for people. */
void ctl_done(struct ctl *, json_t *object, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints the result; 0 or EX_IOERR. */
int ctl_print(struct ctl *);

/* A time of the store as JSON has it: ISO 8601 in UTC, null for 0. */
json_t *ctl_json_time(int64_t when);

/* ---- passwords ---- */

/* The records of one password: of SHA-1, too, where the configuration names
 * such a mechanism. */
struct ctl_records {
	struct store_record record[2];
	size_t n; /* 0: no password */
	struct records text;
};

/*
 * user_id is that of the owner of a new device, whose devices share a salt
 * (auth/records.h); 0 for all other passwords. 0 or an exit status.
 */
int ctl_make_records(const struct ctl *, int64_t user_id, const char *password,
    size_t len, struct ctl_records *);

/*
 * Gets the new password of a user as the options --password-stdin and
 * --no-password say, or asks for it at the terminal, and makes its records;
 * none with --no-password. 0 or an exit status.
 */
int ctl_password(const struct ctl *, const char *user, struct ctl_records *);

/*
 * What is wrong with a password of so many bytes, NULL if nothing is. *ascii,
 * which may be NULL, is whether it has no letters beyond ASCII.
 */
const char *ctl_bad_password(const char *password, size_t len, bool *ascii);

/* Options for verbs that call ctl_password(). */
#define CTL_PASSWORD_OPTS                                                      \
	{ "--password-stdin", false },                                         \
	{                                                                      \
		"--no-password", false                                         \
	}
#define CTL_PASSWORD_ARGS "[--password-stdin | --no-password]"

/* ---- the running server ---- */

/*
 * Sends one request to the control socket; takes it. Items of the answer are
 * appended to `items` if that is not NULL, the last line becomes *end (the
 * caller's). 0, the status the server gave with its sentence printed, or
 * EX_UNAVAILABLE.
 */
int ctl_ask(const struct ctl *, json_t *request, json_t *items, json_t **end);

/*
 * The same where the server need not run: says nothing if there is no answer,
 * or none that helps. Takes the request. 0, or -1.
 */
int ctl_try(const struct ctl *, json_t *request, json_t *items);

/* Whom the running server has suspended by itself: an array of user, since and
 * why; empty where none runs. */
json_t *ctl_suspended(const struct ctl *);
/* The one of this sender, or NULL. */
const json_t *ctl_suspended_find(const json_t *suspended, const char *sender);

#endif
