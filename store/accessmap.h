/*
 * Text of the access map: lines of "key white-space value", as sendmail's
 * makemap reads them, both ways. Pure: works on memory, knows no file and no
 * database.
 *
 * Lines that begin with '#' and empty lines are skipped. A key is folded to
 * lower case and may not begin with white space; the value is the rest of the
 * line without trailing blanks. A line has less than 1023 octets. Of a key
 * that comes twice the first stays. A byte order mark before the text is an
 * error, which does not spoil the first key.
 *
 * Beyond what makemap does, each entry is checked (accesscheck.h).
 */
#ifndef STORE_ACCESSMAP_H
#define STORE_ACCESSMAP_H

#include <stdbool.h>
#include <stddef.h>

#define ACCESSMAP_LINE_MAX 1022           /* octets of a line, key or value */
#define ACCESSMAP_MARK     "\xef\xbb\xbf" /* byte order mark, in UTF-8 */

enum accessmap_tag {
	ACCESSMAP_TLS_CLT,
	ACCESSMAP_TLS_SRV,
	ACCESSMAP_TLS_RCPT,
	ACCESSMAP_TLS_USER, /* our own: TLS_User:NAME */
	ACCESSMAP_TRY_TLS,
	ACCESSMAP_SRV_FEATURES,
	ACCESSMAP_CERT_ISSUER,
	ACCESSMAP_CERT_SUBJECT,
	ACCESSMAP_CONNECT,
	ACCESSMAP_FROM,
	ACCESSMAP_TO,
	ACCESSMAP_UNTAGGED, /* means Connect, From and To */
	ACCESSMAP_WORD,     /* another word: meant for CITag */
	ACCESSMAP_FOREIGN,  /* a tag of sendmail that has no meaning here */
};

/*
 * The tag of a key, in any case, and its operand (what follows the colon; all
 * of the key if it is untagged), which points into key.
 */
enum accessmap_tag accessmap_tag(const char *key, const char **operand);

/* "TLS_Clt", ...; "" for an untagged key, a word or a foreign tag. */
const char *accessmap_tag_name(enum accessmap_tag tag);

/* Folds a key in place: ASCII letters to lower case. */
void accessmap_fold(char *key);

enum accessmap_level {
	ACCESSMAP_NOTICE,  /* skipped on purpose */
	ACCESSMAP_WARNING, /* accepted, but hardly what was meant */
	ACCESSMAP_ERROR    /* refused */
};

#define ACCESSMAP_NOTE_SIZE 256

struct accessmap_note {
	int line; /* from 1 */
	enum accessmap_level level;
	char text[ACCESSMAP_NOTE_SIZE]; /* a sentence without final period;
					   printable ASCII, no secrets */
};

struct accessmap_entry {
	char *key; /* as written */
	char *value;
	int line;
	enum accessmap_tag tag;
	bool malformed; /* the key or value must be refused */
};

struct accessmap {
	struct accessmap_entry *entry; /* in order of the lines */
	size_t nentries;
	struct accessmap_note *note; /* in order of the lines */
	size_t nnotes;
	size_t nerrors; /* notes of level error */
};

/*
 * Reads a whole map. Entries that makemap would keep are kept, malformed ones
 * marked; a caller that wants all or nothing refuses the map if nerrors is
 * not 0. Entries of foreign tags are dropped with a notice, so secrets such
 * as those of AuthInfo are not kept. Never NULL: when memory is exhausted the
 * process aborts. The caller frees.
 */
struct accessmap *accessmap_parse(const char *text, size_t len);
void accessmap_free(struct accessmap **); /* NULL in is fine; NULL out */

/*
 * Writes one entry as a line of text that makemap takes, without newline:
 * key, tab, value. -1 if it does not fit into size octets, or cannot be said
 * in this syntax (blank in the key, '#' or white space at its start, too
 * long).
 */
int accessmap_format(
    const char *key, const char *value, char *line, size_t size);

#endif
