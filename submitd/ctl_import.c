/*
 * submitctl user import: users with their passwords from files of other
 * servers, all of them or none.
 *
 *  passwd   NAME:HASH[:...]            crypt(3), as /etc/shadow or htpasswd
 *  dovecot  NAME:[{SCHEME}]SECRET[:...]   a passwd-file; without {SCHEME} it
 *                                      is crypt(3)
 *  postfix  NAME  {SCHEME}SECRET       a text for postmap: name, blanks, value
 *  sasldb   what db_dump -p prints of /etc/sasldb2
 *
 * Passwords that are there in clear are made into records and forgotten.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "auth/cryptpw.h"
#include "ctl_file.h"

enum {
	FILE_MAX = 64 << 20,
	ERRORS_SHOWN = 50 /* of a file that is no such file at all */
};

static int import_run(struct ctl *);

static const struct ctl_opt opts[] = { { "--format", true }, { .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_import_verbs[] = {
	{ "user", "import", "--format passwd|sasldb|dovecot|postfix FILE",
	  "add users with their passwords from a file of another server",
	  import_run, CTL_WRITE, 1, 1, opts },
	{ .noun = NULL },
};
/* clang-format on */

/* One user of the file. Its texts are wiped at the end. */
struct entry {
	size_t line;
	char name[STORE_NAME_MAX + 1];
	enum store_cred_kind kind;
	char record[STORE_RECORD_MAX + 1];
};

struct import {
	struct ctl *ctl;
	const char *path;
	size_t line;
	struct entry *v;
	size_t n, size;
	size_t errors;
	size_t rehashed; /* were in clear */
	size_t skipped;  /* records of sasldb that are no passwords */
};

/* ---- complaints ---- */

static void wrong(struct import *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Never with what stands in the file but for a user's name. */
static void
wrong(struct import *im, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (++im->errors > ERRORS_SHOWN)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ctl_note("%s:%zu: %s", im->path, im->line, text);
}

/* What a stranger's file has as a name, to be shown. */
static const char *
shown(const char *text, char out[80])
{
	size_t n = 0;

	for (; *text != '\0' && n < 70; text++)
		out[n++] = *text > ' ' && *text < 0x7f ? *text : '?';
	out[n] = '\0';
	return out;
}

/* ---- entries ---- */

/* A new entry, not yet counted; NULL if the name is none. */
static struct entry *
begin_entry(struct import *im, const char *name)
{
	struct entry *e;
	const char *why;
	char text[80];

	if (im->n == im->size) {
		size_t size = im->size == 0 ? 64 : im->size * 2;
		struct entry *grown = xcalloc(size, sizeof(*grown));

		/* not realloc(): it would leave an unwiped copy behind */
		if (im->n > 0)
			memcpy(grown, im->v, im->n * sizeof(*grown));
		freezero(im->v, im->size * sizeof(*grown));
		im->v = grown;
		im->size = size;
	}
	e = &im->v[im->n];
	memset(e, 0, sizeof(*e));
	e->line = im->line;
	if (store_user_name(name, e->name, &why) == 0)
		return e;
	wrong(im, "\"%s\": %s", shown(name, text), why);
	return NULL;
}

static int
by_name(const void *a, const void *b)
{
	const struct entry *const *x = a, *const *y = b;
	int d = strcmp((*x)->name, (*y)->name);

	return d != 0 ? d : (*x)->line < (*y)->line ? -1 : 1;
}

/* Two lines of one user: which would count is nobody's guess. */
static void
find_doubles(struct import *im)
{
	struct entry **sorted = xcalloc(im->n + 1, sizeof(*sorted));

	for (size_t i = 0; i < im->n; i++)
		sorted[i] = &im->v[i];
	qsort(sorted, im->n, sizeof(*sorted), by_name);
	for (size_t i = 1; i < im->n; i++) {
		if (strcmp(sorted[i]->name, sorted[i - 1]->name) != 0)
			continue;
		im->line = sorted[i]->line;
		wrong(im, "user %s stands in line %zu already, expected once",
		    sorted[i]->name, sorted[i - 1]->line);
	}
	free(sorted);
}

/* ---- secrets ---- */

static int
set_record(struct import *im, struct entry *e, enum store_cred_kind kind,
    const char *record)
{
	if (strlen(record) >= sizeof(e->record)) {
		wrong(im, "user %s: the record is longer than %d bytes",
		    e->name, STORE_RECORD_MAX);
		return -1;
	}
	e->kind = kind;
	strcpy(e->record, record);
	return 0;
}

static int
take_crypt(struct import *im, struct entry *e, const char *hash)
{
	const char *why;

	if (hash[0] == '\0' || hash[0] == '*' || hash[0] == '!') {
		wrong(im,
		    "user %s has no password that could be right (empty, or "
		    "locked by ! or *), expected a crypt(3) hash: take the "
		    "line out",
		    e->name);
		return -1;
	}
	if (cryptpw_usable(hash, &why) == -1) {
		wrong(im, "user %s: not a usable crypt(3) hash: %s", e->name,
		    why);
		return -1;
	}
	return set_record(im, e, STORE_CRED_CRYPT, hash);
}

static int
take_plain(struct import *im, struct entry *e, const char *password, size_t len)
{
	const char *why = ctl_bad_password(password, len, NULL);
	char record[SCRAM_RECORD_MAX];
	int rc;

	if (why != NULL) {
		wrong(im, "user %s: %s", e->name, why);
		return -1;
	}
	if (scram_record_make(password, len, SCRAM_SHA_256,
		(unsigned)im->ctl->conf.scram_iterations, record,
		sizeof(record)) == -1) {
		wrong(im, "the crypto library failed");
		return -1;
	}
	im->rehashed++;
	rc = set_record(im, e, STORE_CRED_SCRAM_SHA_256, record);
	explicit_bzero(record, sizeof(record));
	return rc;
}

/* Both numbers show in the challenge to anybody who asks for the name. */
static void
warn_of_shape(const struct import *im, const struct entry *e,
    const struct scram_record *r)
{
	long iterations = (long)im->ctl->conf.scram_iterations;

	if ((long)r->iterations != iterations || r->salt_len != SCRAM_SALT_LEN)
		ctl_note("%s:%zu: warning: user %s: the record has %u "
			 "iterations and a salt of %zu bytes, not %ld and %d: "
			 "strangers can see that until the user logs in by "
			 "PLAIN or LOGIN",
		    im->path, im->line, e->name, r->iterations, r->salt_len,
		    iterations, SCRAM_SALT_LEN);
}

/*
 * Dovecot writes iterations,salt,StoredKey,ServerKey; others write what we
 * do: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey.
 */
static int
take_scram(struct import *im, struct entry *e, const char *mech,
    enum store_cred_kind kind, const char *text)
{
	static const char after[] = { ':', '$', ':' };
	char record[STORE_RECORD_MAX + 1], *p;
	struct scram_record r;
	size_t commas = 0;

	if (strncmp(text, "SCRAM-", 6) == 0)
		snprintf(record, sizeof(record), "%s", text);
	else {
		snprintf(record, sizeof(record), "%s$%s", mech, text);
		for (p = record; (p = strchr(p, ',')) != NULL; commas++)
			*p = commas < 3 ? after[commas] : ',';
	}
	if (strncmp(record, mech, strlen(mech)) == 0 &&
	    record[strlen(mech)] == '$' &&
	    scram_record_parse(record, &r) == SCRAM_OK) {
		warn_of_shape(im, e, &r);
		explicit_bzero(&r, sizeof(r));
		return set_record(im, e, kind, record);
	}
	wrong(im,
	    "user %s: not a record of %s, expected "
	    "iterations,salt,StoredKey,ServerKey in base64, with %u to %u "
	    "iterations",
	    e->name, mech, SCRAM_ITER_MIN, SCRAM_ITER_MAX);
	return -1;
}

static bool
is_crypt_scheme(const char *scheme)
{
	static const char *const names[] = { "CRYPT", "SHA512-CRYPT",
		"SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "DES-CRYPT" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(scheme, names[i]) == 0)
			return true;
	return false;
}

static int
take_scheme(
    struct import *im, struct entry *e, const char *scheme, const char *secret)
{
	char text[80];

	if (is_crypt_scheme(scheme))
		return take_crypt(im, e, secret);
	if (strcasecmp(scheme, "PLAIN") == 0 ||
	    strcasecmp(scheme, "CLEARTEXT") == 0 ||
	    strcasecmp(scheme, "CLEAR") == 0)
		return take_plain(im, e, secret, strlen(secret));
	if (strcasecmp(scheme, SCRAM_SHA_256) == 0)
		return take_scram(
		    im, e, SCRAM_SHA_256, STORE_CRED_SCRAM_SHA_256, secret);
	if (strcasecmp(scheme, SCRAM_SHA_1) == 0)
		return take_scram(
		    im, e, SCRAM_SHA_1, STORE_CRED_SCRAM_SHA_1, secret);
	wrong(im,
	    "user %s: {%s} can't be taken, expected {SCRAM-SHA-256}, "
	    "{SCRAM-SHA-1}, {CRYPT}, {SHA512-CRYPT}, {SHA256-CRYPT}, "
	    "{BLF-CRYPT} or {PLAIN}",
	    e->name, shown(scheme, text));
	return -1;
}

/* {SCHEME}SECRET; without a scheme it is crypt(3). */
static int
take_secret(struct import *im, struct entry *e, char *text)
{
	char *end;

	if (text[0] != '{')
		return take_crypt(im, e, text);
	if ((end = strchr(text, '}')) == NULL) {
		wrong(im, "user %s: the scheme is not closed by }", e->name);
		return -1;
	}
	*end = '\0';
	return take_scheme(im, e, text + 1, end + 1);
}

/* ---- files of lines ---- */

/* The next line without its end; NULL at the end of the text. */
static char *
next_line(struct import *im, char **rest)
{
	char *line = strsep(rest, "\n");
	size_t len;

	if (line == NULL || (*rest == NULL && *line == '\0'))
		return NULL;
	im->line++;
	len = strlen(line);
	if (len > 0 && line[len - 1] == '\r')
		line[len - 1] = '\0';
	return line;
}

/* NAME:SECRET[:...] */
static void
colon_line(struct import *im, char *line, bool schemes)
{
	char *rest = line, *name = strsep(&rest, ":");
	const char *scheme = rest;
	struct entry *e;
	int rc;

	if (rest == NULL) {
		wrong(im, "no \":\", expected NAME:PASSWORD");
		return;
	}
	/* A password in clear may have colons; what is behind it is lost to
	 * us then, as it is to the server the file is from. */
	rest[strcspn(rest, ":")] = '\0';
	if ((e = begin_entry(im, name)) == NULL)
		return;
	if (!schemes && scheme[0] == '{') {
		wrong(im,
		    "user %s: a scheme in braces, expected a crypt(3) hash "
		    "(is it --format dovecot?)",
		    e->name);
		return;
	}
	rc = schemes ? take_secret(im, e, rest) : take_crypt(im, e, rest);
	im->n += rc == 0;
}

/* NAME blanks {SCHEME}SECRET, as the left and right side of a table. */
static void
blank_line(struct import *im, char *line)
{
	char *name = line, *value;
	struct entry *e;
	size_t len;

	if (isblank((unsigned char)line[0])) {
		wrong(im,
		    "a blank at the beginning, expected NAME {SCHEME}"
		    "PASSWORD on one line");
		return;
	}
	line += strcspn(line, " \t");
	value = line + strspn(line, " \t");
	*line = '\0';
	for (len = strlen(value);
	     len > 0 && isblank((unsigned char)value[len - 1]); len--)
		value[len - 1] = '\0';
	if (value[0] == '\0') {
		wrong(im, "no value, expected NAME {SCHEME}PASSWORD");
		return;
	}
	if ((e = begin_entry(im, name)) != NULL)
		im->n += take_secret(im, e, value) == 0;
}

enum format { PASSWD, SASLDB, DOVECOT, POSTFIX, FORMATS };

static const char *const format_names[] = { "passwd", "sasldb", "dovecot",
	"postfix" };

static void
read_lines(struct import *im, char *text, enum format format)
{
	char *line;

	while ((line = next_line(im, &text)) != NULL) {
		size_t blanks = strspn(line, " \t");

		if (line[blanks] == '\0' || line[blanks] == '#')
			continue;
		if (format == POSTFIX)
			blank_line(im, line);
		else
			colon_line(im, line, format == DOVECOT);
	}
}

/* ---- sasldb ---- */

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int
hex_byte(const char *p, char *out)
{
	int high = hex_value(p[0]), low = high < 0 ? -1 : hex_value(p[1]);

	if (low < 0)
		return -1;
	*out = (char)(high * 16 + low);
	return 0;
}

/*
 * A datum of db_dump in place: behind one blank, printable with \hh and \\
 * for the rest, or all in hex. Its length, or -1.
 */
static long
undump(char *line, bool printable)
{
	char *from = line + 1, *to = line;

	if (line[0] != ' ')
		return -1;
	while (*from != '\0') {
		if (printable && *from != '\\')
			*to++ = *from++;
		else if (printable && from[1] == '\\') {
			*to++ = '\\';
			from += 2;
		} else {
			from += printable;
			if (hex_byte(from, to++) == -1)
				return -1;
			from += 2;
		}
	}
	*to = '\0';
	return to - line;
}

/* Reads the head; -1 if the text is no dump. */
static int
dump_head(struct import *im, char **rest, bool *printable)
{
	char *line;

	if (strncmp(*rest, "VERSION=", 8) != 0)
		return -1;
	*printable = false;
	while ((line = next_line(im, rest)) != NULL) {
		if (strcmp(line, "format=print") == 0)
			*printable = true;
		if (strcmp(line, "HEADER=END") == 0)
			return 0;
	}
	return -1;
}

/*
 * A user's realm is a part of the name, but for the realm that is our own
 * name: there people log in without it.
 */
static void
sasldb_name(const struct import *im, const char *user, const char *realm,
    char *out, size_t outlen)
{
	const char *own = im->ctl->conf.hostname;
	char host[256] = "";

	if (own[0] == '\0' && gethostname(host, sizeof(host) - 1) == 0)
		own = host;
	if (realm[0] == '\0' || strcasecmp(realm, own) == 0 ||
	    strchr(user, '@') != NULL)
		snprintf(out, outlen, "%s", user);
	else
		snprintf(out, outlen, "%s@%s", user, realm);
}

/* Key: user NUL realm NUL property. */
static void
sasldb_pair(struct import *im, const char *key, size_t keylen,
    const char *value, size_t len)
{
	const char *realm, *property;
	char name[512];
	struct entry *e;

	realm = key + strlen(key) + 1;
	property = realm <= key + keylen ? realm + strlen(realm) + 1 : realm;
	if (property > key + keylen) {
		wrong(im,
		    "not a key of sasldb, expected user, realm and "
		    "property with \\00 between");
		return;
	}
	if (strcmp(property, "userPassword") != 0) {
		im->skipped++;
		return;
	}
	sasldb_name(im, key, realm, name, sizeof(name));
	if ((e = begin_entry(im, name)) != NULL)
		im->n += take_plain(im, e, value, len) == 0;
}

static void
sasldb_pairs(struct import *im, char *text, bool printable)
{
	char *key, *value;
	long keylen, len;

	while ((key = next_line(im, &text)) != NULL) {
		if (strcmp(key, "DATA=END") == 0)
			return;
		if ((value = next_line(im, &text)) == NULL)
			break;
		keylen = undump(key, printable);
		len = undump(value, printable);
		if (keylen < 0 || len < 0)
			wrong(im, "not a pair of lines as db_dump prints it");
		else
			sasldb_pair(
			    im, key, (size_t)keylen, value, (size_t)len);
	}
	wrong(im, "the dump is cut off, expected DATA=END");
}

static void
read_sasldb(struct import *im, char *text)
{
	bool printable;

	if (dump_head(im, &text, &printable) == 0) {
		sasldb_pairs(im, text, printable);
		return;
	}
	im->line = 1;
	wrong(im,
	    "not a dump of a database, expected the output of "
	    "\"db_dump -p /etc/sasldb2\" (also db5.3_dump, of Debian's "
	    "db-util)");
}

/* ---- into the store ---- */

static enum store_rc
add_address(
    const struct ctl *ctl, const struct entry *e, int64_t id, size_t *homeless)
{
	char pattern[STORE_ADDRESS_MAX + 1];
	const char *why;

	/* as `user add` does */
	if (e->name[0] != '@' && strchr(e->name, '@') != NULL &&
	    store_address_pattern(e->name, pattern, &why) == 0)
		return store_address_add(ctl->st, id, pattern);
	(*homeless)++;
	return STORE_OK;
}

static void
add_entry(struct import *im, const struct entry *e, size_t *homeless)
{
	const struct store_record record = { e->kind, e->record };
	struct store *st = im->ctl->st;
	enum store_rc rc;
	int64_t id = 0;

	im->line = e->line;
	rc = store_user_add(st, e->name, &id);
	if (rc == STORE_OK)
		rc = store_password_set(st, id, &record, 1);
	if (rc == STORE_OK)
		rc = add_address(im->ctl, e, id, homeless);
	if (rc == STORE_OK)
		return;
	wrong(im, "%s%s", store_errtext(st),
	    rc == STORE_EXISTS ? ", expected a new one" : "");
}

static int
failed(const struct import *im)
{
	if (im->errors > ERRORS_SHOWN)
		ctl_note(
		    "%s: %zu more errors", im->path, im->errors - ERRORS_SHOWN);
	return ctl_fail(EX_DATAERR, "%s: %zu error%s; nobody was added",
	    im->path, im->errors, im->errors == 1 ? "" : "s");
}

static int
add_all(struct import *im)
{
	struct ctl *ctl = im->ctl;
	size_t homeless = 0, crypt = 0;
	int status;

	if ((status = ctl_begin(ctl)) != 0)
		return status;
	for (size_t i = 0; i < im->n; i++) {
		add_entry(im, &im->v[i], &homeless);
		crypt += im->v[i].kind == STORE_CRED_CRYPT;
	}
	if (im->errors > 0)
		return failed(im);
	if (homeless > 0)
		ctl_note("note: %zu of them own no address and can't send "
			 "mail yet: submitctl address add NAME ADDRESS",
		    homeless);
	if (crypt > 0)
		ctl_note("note: %zu have a crypt(3) hash and can log in with "
			 "SCRAM only after a login with PLAIN or LOGIN",
		    crypt);
	if (im->skipped > 0)
		ctl_note("note: %zu records that are no passwords were left "
			 "out",
		    im->skipped);
	ctl_done(ctl,
	    json_pack("{s:I, s:I, s:I, s:I}", "users", (json_int_t)im->n,
		"crypt", (json_int_t)crypt, "rehashed",
		(json_int_t)im->rehashed, "without_address",
		(json_int_t)homeless),
	    "%zu user%s added", im->n, im->n == 1 ? " is" : "s are");
	return 0;
}

static int
parse(struct import *im, struct buf *text, enum format format)
{
	char *p = (char *)buf_head(text);

	if (format == SASLDB && text->len > 16 &&
	    memchr(p, '\0', text->len) != NULL)
		return ctl_fail(EX_DATAERR,
		    "%s: the database itself; give its text: db_dump -p %s | "
		    "submitctl user import --format sasldb -",
		    im->path, im->path);
	if (memchr(p, '\0', text->len) != NULL)
		return ctl_fail(EX_DATAERR, "%s: no text file", im->path);
	if (format == SASLDB)
		read_sasldb(im, p);
	else
		read_lines(im, p, format);
	find_doubles(im);
	if (im->errors > 0)
		return failed(im);
	if (im->n == 0)
		return ctl_fail(
		    EX_DATAERR, "%s: there is no user in it", im->path);
	return 0;
}

static int
take_format(const struct ctl *ctl, enum format *format)
{
	const char *word = ctl_opt(ctl, "--format");

	for (int i = 0; word != NULL && i < FORMATS; i++) {
		if (strcmp(word, format_names[i]) == 0) {
			*format = (enum format)i;
			return 0;
		}
	}
	return ctl_usage(
	    ctl, "give --format, one of passwd, sasldb, dovecot and postfix");
}

static int
import_run(struct ctl *ctl)
{
	struct import im = { .ctl = ctl, .path = ctl->word[0] };
	struct buf text = { 0 };
	enum format format = PASSWD;
	int status;

	if ((status = take_format(ctl, &format)) == 0 &&
	    (status = ctl_read_file(im.path, FILE_MAX, &text)) == 0 &&
	    (status = parse(&im, &text, format)) == 0)
		status = add_all(&im);
	buf_wipe(&text);
	freezero(im.v, im.size * sizeof(*im.v));
	return status;
}
