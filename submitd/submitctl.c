/*
 * submitctl: the administrator's command. Finds the verb in the tables of the
 * nouns, takes its arguments apart, opens what it needs, runs it, commits,
 * prints.
 */
#include <sys/stat.h>

#include <locale.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl.h"
#include "mem.h"

#ifndef CONF_FILE
#define CONF_FILE "/etc/submitd/submitd.conf"
#endif

static int help_run(struct ctl *);

static const struct ctl_verb help_verbs[] = {
	{ "help", "", "[NOUN [VERB]]", "show commands and their arguments",
	    help_run, CTL_NOTHING, 0, 2, NULL },
	{ .noun = NULL },
};

static const struct ctl_verb *const tables[] = {
	ctl_init_verbs,
	ctl_user_verbs,
	ctl_import_verbs,
	ctl_address_verbs,
	ctl_device_verbs,
	ctl_cert_verbs,
	ctl_ca_verbs,
	ctl_access_verbs,
	ctl_queue_verbs,
	ctl_limit_verbs,
	ctl_throttle_verbs,
	ctl_status_verbs,
	ctl_log_verbs,
	ctl_explain_verbs,
	ctl_check_verbs,
	help_verbs,
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

/* Messages. */

static void
complain(const char *fmt, va_list ap)
{
	fputs("submitctl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int
ctl_fail(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	return status;
}

void
ctl_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
}

static void
print_verb(FILE *out, const struct ctl_verb *v, const char *before)
{
	fprintf(out, "%ssubmitctl [-f FILE] [--json] %s%s%s%s%s\n", before,
	    v->noun, v->name[0] != '\0' ? " " : "", v->name,
	    v->args[0] != '\0' ? " " : "", v->args);
}

int
ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	print_verb(stderr, ctl->verb, "usage: ");
	return EX_USAGE;
}

static int
store_status(enum store_rc rc)
{
	switch (rc) {
	case STORE_BUSY:
	case STORE_READONLY_HOT:
		return EX_TEMPFAIL;
	case STORE_DENIED:
		return EX_NOPERM;
	case STORE_IO:
		return EX_IOERR;
	default:
		return EX_DATAERR;
	}
}

/* Whether the sentence is about the file, so that it must be named. */
static bool
concerns_file(enum store_rc rc)
{
	return rc != STORE_NONE && rc != STORE_EXISTS && rc != STORE_INVALID;
}

int
ctl_store_fail(const struct ctl *ctl, enum store_rc rc)
{
	if (!concerns_file(rc))
		return ctl_fail(store_status(rc), "%s", store_errtext(ctl->st));
	return ctl_fail(store_status(rc), "%s: %s", ctl->conf.users_db,
	    store_errtext(ctl->st));
}

/* Help. */

static bool
matches(const struct ctl_verb *v, const char *noun, const char *name)
{
	return (noun == NULL || strcmp(v->noun, noun) == 0) &&
	    (name == NULL || strcmp(v->name, name) == 0);
}

/* Prints what matches; the number of verbs that did. */
static size_t
print_help(FILE *out, const char *noun, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < TABLES; i++) {
		for (const struct ctl_verb *v = tables[i]; v->noun != NULL;
		     v++) {
			if (!matches(v, noun, name))
				continue;
			fprintf(out, "  %s%s%s%s%s\n      %s\n", v->noun,
			    v->name[0] != '\0' ? " " : "", v->name,
			    v->args[0] != '\0' ? " " : "", v->args, v->help);
			n++;
		}
	}
	return n;
}

static void
print_head(FILE *out)
{
	fputs("usage: submitctl [-f FILE] [--json] NOUN VERB [ARGUMENT ...]\n"
	      "  -f FILE  configuration of submitd (default " CONF_FILE ")\n"
	      "  --json   print JSON\n\n",
	    out);
}

static int
help_run(struct ctl *ctl)
{
	const char *noun = ctl->words > 0 ? ctl->word[0] : NULL;
	const char *name = ctl->words > 1 ? ctl->word[1] : NULL;

	if (noun == NULL)
		print_head(stdout);
	if (print_help(stdout, noun, name) == 0)
		return ctl_usage(ctl, "there is no command \"%s%s%s\"", noun,
		    name != NULL ? " " : "", name != NULL ? name : "");
	return 0;
}

/* The command line. */

const char *
ctl_opt(const struct ctl *ctl, const char *name)
{
	for (size_t i = ctl->opts; i-- > 0;)
		if (strcmp(ctl->opt[i].name, name) == 0)
			return ctl->opt[i].value;
	return NULL;
}

/* The option that a word such as --label or --label=x names. */
static const struct ctl_opt *
find_opt(const struct ctl_verb *verb, const char *word)
{
	size_t len = strcspn(word, "=");

	for (const struct ctl_opt *o = verb->opts; o != NULL && o->name != NULL;
	     o++)
		if (strlen(o->name) == len && strncmp(o->name, word, len) == 0)
			return o;
	return NULL;
}

/* Takes the option at argv[*i] and its value. */
static int
take_option(struct ctl *ctl, int argc, char **argv, int *i)
{
	const struct ctl_opt *o = find_opt(ctl->verb, argv[*i]);
	const char *equals = strchr(argv[*i], '=');
	const char *value = "";

	if (strcmp(argv[*i], "--json") == 0) {
		ctl->json = true;
		return 0;
	}
	if (o == NULL)
		return ctl_usage(ctl, "unknown option %s", argv[*i]);
	if (!o->takes_value && equals != NULL)
		return ctl_usage(ctl, "%s takes no value", o->name);
	if (o->takes_value && equals != NULL)
		value = equals + 1;
	else if (o->takes_value) {
		if (*i + 1 == argc)
			return ctl_usage(ctl, "%s needs a value", o->name);
		value = argv[++*i];
	}
	ctl->opt[ctl->opts].name = o->name;
	ctl->opt[ctl->opts++].value = value;
	return 0;
}

static int
take_arguments(struct ctl *ctl, int argc, char **argv)
{
	bool options = true;
	int status;

	if (argc > CTL_WORDS_MAX)
		return ctl_usage(ctl, "too many arguments");
	for (int i = 0; i < argc; i++) {
		if (options && strcmp(argv[i], "--") == 0)
			options = false;
		else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
			if ((status = take_option(ctl, argc, argv, &i)) != 0)
				return status;
		} else
			ctl->word[ctl->words++] = argv[i];
	}
	if (ctl->words < ctl->verb->min)
		return ctl_usage(ctl, "too few arguments");
	if (ctl->words > ctl->verb->max)
		return ctl_usage(ctl, "too many arguments");
	return 0;
}

/* Options before the noun. Returns the index of the noun, or -1. */
static int
take_globals(struct ctl *ctl, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--json") == 0)
			ctl->json = true;
		else if (strcmp(argv[i], "-f") == 0 && i + 1 < argc)
			ctl->conf_file = argv[++i];
		else if (strcmp(argv[i], "-h") == 0 ||
		    strcmp(argv[i], "--help") == 0) {
			print_head(stdout);
			print_help(stdout, NULL, NULL);
			exit(EX_OK);
		} else {
			ctl_fail(EX_USAGE,
			    "unknown option %s before the command", argv[i]);
			return -1;
		}
	}
	return i;
}

/* Finds the verb; *used becomes the number of words that name it. */
static const struct ctl_verb *
find_verb(int argc, char **argv, int *used)
{
	const struct ctl_verb *v;

	for (size_t i = 0; i < TABLES; i++) {
		for (v = tables[i]; v->noun != NULL; v++) {
			if (strcmp(v->noun, argv[0]) != 0)
				continue;
			if (v->name[0] == '\0') {
				*used = 1;
				return v;
			}
			if (argc > 1 && strcmp(v->name, argv[1]) == 0) {
				*used = 2;
				return v;
			}
		}
	}
	return NULL;
}

static bool
is_noun(const char *word)
{
	for (size_t i = 0; i < TABLES; i++)
		if (strcmp(tables[i][0].noun, word) == 0)
			return true;
	return false;
}

static int
no_verb(int argc, char **argv)
{
	if (!is_noun(argv[0]))
		return ctl_fail(EX_USAGE,
		    "there is no command \"%s\"; \"submitctl help\" lists "
		    "them all",
		    argv[0]);
	if (argc > 1)
		ctl_fail(EX_USAGE,
		    "there is no command \"%s %s\", but:", argv[0], argv[1]);
	else
		ctl_fail(EX_USAGE, "%s what?", argv[0]);
	print_help(stderr, argv[0], NULL);
	return EX_USAGE;
}

/* What the verb needs. */

static int
load_conf(struct ctl *ctl)
{
	char err[512];

	if (conf_load(&ctl->conf, ctl->conf_file, err, sizeof(err)) == -1)
		return ctl_fail(EX_CONFIG, "%s", err);
	return 0;
}

/* Who is named in the store's record of changes. */
static void
name_actor(struct ctl *ctl)
{
	const char *sudo = getenv("SUDO_USER");
	const struct passwd *pw = getpwuid(getuid());
	char actor[128];

	if (getuid() == 0 && sudo != NULL && sudo[0] != '\0')
		snprintf(actor, sizeof(actor), "%s (sudo)", sudo);
	else
		snprintf(
		    actor, sizeof(actor), "%s", pw != NULL ? pw->pw_name : "");
	store_set_actor(ctl->st, actor);
}

static int
open_failed(struct ctl *ctl, enum store_rc rc)
{
	if (rc == STORE_NONE)
		return ctl_fail(EX_NOINPUT,
		    "%s: no user store; \"submitctl init\" makes one",
		    ctl->conf.users_db);
	return ctl_fail(store_status(rc), "%s: %s", ctl->conf.users_db,
	    store_errtext(ctl->st));
}

/*
 * A store that can't be read before somebody has written to it (hot journal,
 * older schema) is opened for writing where that is allowed.
 */
static int
open_store(struct ctl *ctl)
{
	enum store_mode mode =
	    ctl->verb->needs == CTL_WRITE ? STORE_RW : STORE_RO;
	struct store *writer;
	enum store_rc rc;

	rc = store_open(ctl->conf.users_db, mode, &ctl->st);
	if (rc == STORE_READONLY_HOT || rc == STORE_OLDER) {
		if (store_open(ctl->conf.users_db, STORE_RW, &writer) ==
		    STORE_OK) {
			store_close(&ctl->st);
			ctl->st = writer;
			rc = STORE_OK;
		} else
			store_close(&writer);
	}
	if (rc != STORE_OK)
		return open_failed(ctl, rc);
	name_actor(ctl);
	return 0;
}

static int
prepare(struct ctl *ctl)
{
	int status;

	if (ctl->verb->needs >= CTL_CONF && (status = load_conf(ctl)) != 0)
		return status;
	if (ctl->verb->needs >= CTL_READ)
		return open_store(ctl);
	return 0;
}

int
ctl_begin(struct ctl *ctl)
{
	enum store_rc rc = store_begin(ctl->st);

	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl->changing = true;
	return 0;
}

int
ctl_user(const struct ctl *ctl, const char *name, struct store_user *user)
{
	enum store_rc rc = store_user_get(ctl->st, name, user);

	if (rc == STORE_NONE)
		return ctl_fail(EX_NOUSER, "%s", store_errtext(ctl->st));
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

/* Commits what a verb did, or takes it back. */
static int
finish(struct ctl *ctl, int status)
{
	enum store_rc rc;

	if (!ctl->changing)
		return status;
	if (status != 0) {
		store_rollback(ctl->st);
		return status;
	}
	rc = store_commit(ctl->st);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

static int
run(struct ctl *ctl)
{
	int status;

	if ((status = prepare(ctl)) == 0)
		status = finish(ctl, ctl->verb->run(ctl));
	/* A failing verb may have a result as well: part of the work. */
	if (status == 0 || (ctl->result != NULL && !ctl->changing)) {
		int printed = ctl_print(ctl);

		status = status != 0 ? status : printed;
	}
	store_close(&ctl->st);
	json_decref(ctl->result);
	free(ctl->text);
	conf_clear(&ctl->conf);
	return status;
}

int
main(int argc, char **argv)
{
	struct ctl ctl = { .conf_file = CONF_FILE };
	int noun, used, status;

	umask(077);
	/* For the width of characters; the texts are UTF-8 in any locale. */
	setlocale(LC_CTYPE, "C.UTF-8");
	if ((noun = take_globals(&ctl, argc, argv)) == -1)
		return EX_USAGE;
	argc -= noun;
	argv += noun;
	if (argc == 0) {
		print_head(stderr);
		print_help(stderr, NULL, NULL);
		return EX_USAGE;
	}
	if ((ctl.verb = find_verb(argc, argv, &used)) == NULL)
		return no_verb(argc, argv);
	status = take_arguments(&ctl, argc - used, argv + used);
	return status != 0 ? status : run(&ctl);
}
