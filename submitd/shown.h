/*
 * Addresses that a text of the header shows to a person: many mail programs
 * show the name of an author only, so that
 *
 *	From: "boss@corp.example" <me@example.net>
 *
 * looks as if the boss had written it.
 *
 * The text is taken as the mail programs take it, each in its way, which is not
 * always as the RFCs want it: encoded words (RFC 2047) count anywhere, also in
 * quotes and next to other text, and for what they are undecoded, too; quotes
 * vanish or part what is beside them; backslashes and invisible characters
 * vanish; full-width letters, dots and @ signs are what they look like.
 * Letters of other scripts that look like Latin ones are not.
 */
#ifndef SUBMITD_SHOWN_H
#define SUBMITD_SHOWN_H

#include <stddef.h>

enum {
	SHOWN_TEXT_MAX = 4096, /* bytes of a text once it is decoded */
	SHOWN_ADDRESS_MAX = 320,
};

enum shown_rc {
	SHOWN_OK,
	SHOWN_CONTROL, /* a control character: who knows what is shown */
	SHOWN_WORD,    /* an encoded word in a character set that is not known
			  here, or of characters that have no place in one */
	SHOWN_LONG,    /* more than SHOWN_TEXT_MAX or SHOWN_ADDRESS_MAX */
};

typedef void shown_fn(void *arg, const char *address);

/*
 * Calls fn for everything in the text that looks like local@domain.example,
 * as often as it is there. What comes with an error is not all there is.
 * Folds in the text are CR LF or LF and a blank.
 */
enum shown_rc shown_addresses(
    const char *text, size_t len, shown_fn *fn, void *arg);

#endif
