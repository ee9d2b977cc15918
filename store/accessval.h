/*
 * Values (right-hand sides) of the access map, taken apart. Pure: text in,
 * struct out; no memory is allocated.
 *
 * Both the loader, which refuses a malformed value with a reason, and the
 * policy, which must not let a session pass because of one, use these
 * functions, so the two cannot disagree about the grammar.
 *
 * A requirement (TLS_Clt, TLS_Srv, TLS_Rcpt, TLS_User):
 *
 *	value = "OK" / "SKIP" / [ ("PERM" / "TEMP") "+" ] req
 *	req   = "VERIFY" [":" bits] ["+" exts] / "ENCR" ":" bits ["+" exts]
 *	exts  = item *( "++" item )
 *	item  = "CN" / "CN:" name / "CS:" dn / "CI:" dn / "CITag:" word
 *
 * Words may be in any case. sendmail takes any other value as "no
 * requirement"; here it is malformed, and so are blanks, comments, quotes and
 * bits that are not a plain decimal number.
 *
 * A reply (Connect, From, To): OK, RELAY, REJECT, DISCARD, SKIP,
 * QUARANTINE:text, ERROR:D.S.N:text, ERROR:text, or just text.
 */
#ifndef STORE_ACCESSVAL_H
#define STORE_ACCESSVAL_H

#include <stdbool.h>
#include <stddef.h>

#define ACCESSVAL_ITEMS_MAX 16
#define ACCESSVAL_TEXT_SIZE 512

enum accessval_prefix { ACCESSVAL_PLAIN, ACCESSVAL_PERM, ACCESSVAL_TEMP };

enum accessval_item_kind {
	ACCESSVAL_CN_HOST, /* CN: the name of the other side */
	ACCESSVAL_CN,
	ACCESSVAL_CS,
	ACCESSVAL_CI,
	ACCESSVAL_CITAG
};

struct accessval_item {
	enum accessval_item_kind kind;
	const char *arg; /* points into the value; not terminated */
	size_t len;
};

struct accessval_tls {
	bool required; /* false: OK or SKIP, the other members are 0 */
	enum accessval_prefix prefix;
	bool verify;
	bool has_bits;
	long bits;
	size_t nitems;
	struct accessval_item item[ACCESSVAL_ITEMS_MAX];
};

/*
 * Takes a requirement apart; *out points into value. 0, or -1 with a
 * sentence without a final period in *why (static; why may be NULL).
 */
int accessval_tls(
    const char *value, struct accessval_tls *out, const char **why);

enum accessval_kind {
	ACCESSVAL_OK,
	ACCESSVAL_RELAY,
	ACCESSVAL_REJECT,
	ACCESSVAL_DISCARD,
	ACCESSVAL_SKIP,
	ACCESSVAL_QUARANTINE, /* text: why */
	ACCESSVAL_ERROR,      /* code, esc, text */
};

struct accessval_reply {
	enum accessval_kind kind;
	bool plain; /* neither a keyword nor a code: most likely a typo */
	int code;   /* 400 to 599 */
	char esc[16];
	char text[ACCESSVAL_TEXT_SIZE];
};

/*
 * Takes a reply apart. Text outside of quotes is put together the way
 * sendmail does: comments vanish and a blank stays only between two plain
 * words. Malformed: unbalanced quotes, parentheses or angle brackets, octets
 * that are not printable ASCII, a code that is not 4xx or 5xx, a keyword
 * without its text, and a keyword that only equals OK, RELAY, DISCARD or
 * SKIP once its comment is gone. 0, or -1 as above.
 */
int accessval_reply(
    const char *value, struct accessval_reply *out, const char **why);

/*
 * Try_TLS: *forbids if the value is NO, which a comment does not change.
 * Malformed: unbalanced, or NO in quotes, which sendmail takes as nothing.  0,
 * or -1 as above.
 */
int accessval_try_tls(const char *value, bool *forbids, const char **why);

/* Is the value this keyword, spelled as such (any case)? */
bool accessval_is(const char *value, const char *keyword);

/*
 * The tokens of a value, put together as described above, with quotes kept.
 * 0, or -1 if it is unbalanced or does not fit.
 */
int accessval_join(const char *value, char *out, size_t size);

#endif
