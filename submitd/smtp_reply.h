/*
 * Every reply the server gives: one row per situation, with its code, its
 * enhanced code (RFC 3463, RFC 5248) and a sentence that says what went wrong
 * and what the person at the other end can do about it.
 *
 * RFC 2034: the enhanced code stands on every line of a 2xx, 4xx or 5xx reply
 * except the greeting (one that refuses with 421 has a code here) and replies
 * to HELO and EHLO; 3xx replies have none.
 * Rows without one say NONE. RFC 6409 allows neither 521 nor 556 here.
 *
 * "%s" in a sentence is a slot: the first takes argument a, the second b.
 * Arguments may come from the peer: control characters and broken UTF-8 become
 * '?', other characters beyond ASCII are shown as \x{F6} (a server that offers
 * SMTPUTF8 must not reply with them, RFC 6531 3.7.4), and what takes more than
 * SMTP_REPLY_ARG bytes is cut. "\n" in a sentence begins a new line of the
 * reply.
 */
#ifndef SUBMITD_SMTP_REPLY_H
#define SUBMITD_SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

enum {
	SMTP_REPLY_ARG = 256,  /* bytes of a slot's argument that are shown */
	SMTP_REPLY_LINE = 512, /* one line with CRLF, RFC 5321 4.5.3.1.5 */
	SMTP_REPLY_MAX = 4096, /* a buffer that holds any reply of the table */
};

/* clang-format off */
#define SMTP_REPLY_TABLE(X) \
/* Session */ \
X(R_GREETING, 220, NONE, "%s ESMTP") \
X(R_HELO, 250, NONE, "%s") \
X(R_BYE, 221, "2.0.0", "Goodbye") \
X(R_NOOP, 250, "2.0.0", "OK") \
X(R_RSET, 250, "2.0.0", "Forgotten; begin again with MAIL") \
X(R_VRFY, 252, "2.5.2", "Addresses are not verified here; send the message and it will be tried") \
X(R_HELP, 214, "2.0.0", \
    "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\n" \
    "This server takes mail from its own users only, over TLS and with a login\n" \
    "or a client certificate. Ask your administrator for the settings") \
\
/* 421: the server says goodbye. The GREET rows stand in place of 220 */ \
X(R_GREET_BUSY, 421, "4.3.2", "The server has too many connections; try again in a few minutes") \
X(R_GREET_TOO_MANY, 421, "4.7.0", "Too many connections from %s; close some or try again in a few minutes") \
X(R_GREET_STRANGERS, 421, "4.7.0", "Too many connections from %s that did not log in; close them, or wait a minute and connect again") \
X(R_GREET_DOWN, 421, NONE, "The server is starting or stopping; try again in a minute") \
X(R_CLOSE_SHUTDOWN, 421, "4.3.2", "The server is being stopped; connect again in a minute") \
X(R_CLOSE_INTERNAL, 421, "4.3.0", "Internal error, closing; connect again in a minute") \
X(R_CLOSE_TIMEOUT, 421, "4.4.2", "Nothing was heard for too long, closing; connect again") \
X(R_CLOSE_SLOW, 421, "4.4.2", "The data comes too slowly, closing; try again over a better network") \
X(R_CLOSE_TLS_TIMEOUT, 421, "4.4.2", "Neither TLS nor a login in time, closing; connect again and log in") \
X(R_CLOSE_OVERLOAD, 421, "4.3.2", "Too many clients are waiting and you were not logged in, closing; connect again and log in at once") \
X(R_CLOSE_ERRORS, 421, "4.7.0", "Too many errors, closing") \
X(R_CLOSE_SESSION_LIMIT, 421, "4.7.0", "This session has reached its limit, closing; connect again to go on") \
X(R_CLOSE_REVOKED, 421, "4.7.0", "The credential of this session was revoked, closing; ask your administrator") \
\
/* Commands: syntax and order */ \
X(R_COMMAND_UNKNOWN, 500, "5.5.1", "Command not recognized; HELP lists what is offered") \
X(R_COMMAND_REFUSED, 502, "5.5.1", "%s is not offered here") \
X(R_LINE_TOO_LONG, 500, "5.5.2", "Line too long") \
X(R_LINE_BAD, 500, "5.5.2", "Commands are text and end with CR LF; a bare CR, bare LF or NUL is refused") \
X(R_ARG_NONE, 501, "5.5.4", "%s takes no argument") \
X(R_ARG_MISSING, 501, "5.5.4", "%s needs an argument") \
X(R_EHLO_ARG, 501, NONE, "EHLO and HELO need the name or [address] of your computer") \
X(R_ORDER_EHLO, 503, "5.5.1", "Say EHLO first") \
X(R_ORDER_MAIL, 503, "5.5.1", "Say MAIL first") \
X(R_ORDER_RCPT, 503, "5.5.1", "Say RCPT first") \
X(R_ORDER_NESTED, 503, "5.5.1", "A sender was already given; RSET forgets it") \
X(R_ORDER_BDAT, 503, "5.5.1", "DATA and BDAT cannot be mixed; RSET begins again") \
X(R_ORDER_BEGUN, 503, "5.5.1", "The message has begun; BDAT with LAST ends it, RSET forgets it") \
X(R_ORDER_BINARY, 503, "5.5.1", "A message with BODY=BINARYMIME comes by BDAT, not by DATA") \
\
/* STARTTLS and what needs TLS: RFC 3207 */ \
X(R_TLS_GO, 220, "2.0.0", "Begin TLS now") \
X(R_TLS_NEEDED, 530, "5.7.0", "Must issue a STARTTLS command first; choose STARTTLS as connection security in your mail program") \
X(R_TLS_ACTIVE, 503, "5.5.1", "TLS is already active") \
X(R_TLS_UNAVAILABLE, 454, "4.7.0", "TLS is not available due to a temporary reason; try again later") \
X(R_TLS_PIPELINED, 554, "5.5.1", "Data came behind STARTTLS before TLS began, closing") \
X(R_TLS_WEAK, 454, "4.7.0", "The security of this connection does not meet the policy: %s") \
\
/* AUTH: RFC 4954. 334 is made by smtp_reply_challenge(). What is not here: a \
 * disabled account looks like a wrong password, and no mechanism but LOGIN lets \
 * the server begin, whose clients may send the name at once all the same */ \
X(R_AUTH_OK, 235, "2.7.0", "Authentication succeeded") \
X(R_AUTH_NEEDED, 530, "5.7.0", "Authentication required; set user name and password for outgoing mail, or a client certificate, in your mail program") \
X(R_AUTH_NEEDED_BOTH, 530, "5.7.0", "Your account needs both a client certificate and a password; set both in your mail program") \
X(R_AUTH_BAD, 535, "5.7.8", "Authentication failed; check user name and password in your mail program") \
X(R_AUTH_CERT_BAD, 535, "5.7.8", "Authentication failed; the client certificate is missing, not known here or belongs to somebody else") \
X(R_AUTH_TEMP, 454, "4.7.0", "Authentication is not possible right now; try again in a few minutes") \
X(R_AUTH_LOCKED, 454, "4.7.0", "Too many failed logins; check the password in your mail program and try again later") \
X(R_AUTH_TRANSITION, 432, "4.7.12", "This mechanism works after one login with PLAIN or LOGIN; choose \"normal password\" in your mail program") \
X(R_AUTH_TOO_WEAK, 534, "5.7.9", "This mechanism is too weak for your account; choose another in your mail program") \
X(R_AUTH_NEEDS_CERT, 534, "5.7.9", "Your account needs a client certificate, nothing else is taken; set up your certificate in your mail program and choose it as authentication method") \
X(R_AUTH_NEEDS_PASSWORD, 534, "5.7.9", "Your account needs a password, not the certificate alone; choose a password as authentication method in your mail program") \
X(R_AUTH_NEEDS_TLS, 538, "5.7.11", "This mechanism needs an encrypted connection; choose STARTTLS or SSL/TLS in your mail program") \
X(R_AUTH_MECHANISM, 504, "5.5.4", "This mechanism is not offered; EHLO lists those that are") \
X(R_AUTH_CANCELLED, 501, "5.7.0", "Authentication cancelled") \
X(R_AUTH_BASE64, 501, "5.5.2", "Not valid base64") \
X(R_AUTH_MALFORMED, 501, "5.5.2", "The response does not fit the mechanism; begin the login again") \
X(R_AUTH_TOO_LONG, 500, "5.5.6", "Authentication line too long") \
X(R_AUTH_DONE, 503, "5.5.1", "Already authenticated") \
X(R_AUTH_IN_MAIL, 503, "5.5.1", "AUTH is not allowed after MAIL; RSET forgets it") \
\
/* MAIL */ \
X(R_MAIL_OK, 250, "2.1.0", "Sender accepted") \
X(R_MAIL_KEYWORD, 501, "5.5.4", "Write MAIL FROM:<address>") \
X(R_MAIL_BRACKETS, 501, "5.1.7", "The sender must stand in angle brackets: MAIL FROM:<you@example.org>") \
X(R_MAIL_SYNTAX, 501, "5.1.7", "The sender is not a valid address; check the account settings of your mail program") \
X(R_MAIL_DOMAIN, 501, "5.1.7", "The domain of the sender is not valid; check the account settings of your mail program") \
X(R_MAIL_LITERAL, 501, "5.1.7", "The bracketed IP address of the sender is not valid") \
X(R_MAIL_TOO_LONG, 501, "5.1.7", "The sender is too long: at most 64 bytes before the @ sign and 255 after it") \
X(R_MAIL_PRIORITY, 250, "2.3.6", "%s is the priority of this mail, the highest you may give; sender accepted") \
X(R_MAIL_UTF8, 550, "5.6.7", "The sender is not plain ASCII; your mail program must ask for SMTPUTF8") \
X(R_MAIL_UNQUALIFIED, 554, "5.1.8", "The sender needs a full domain, as in you@example.org; check the account settings of your mail program") \
X(R_MAIL_NOT_OWNED, 550, "5.7.1", "You may not send as <%s>; choose one of your own addresses or ask your administrator") \
X(R_USER_SUSPENDED, 550, "5.7.13", "Your account is suspended: %s; ask your administrator") \
X(R_USER_DISABLED, 550, "5.7.13", "Your account is disabled; ask your administrator") \
X(R_LIMIT_USER, 450, "4.7.0", "You have reached a limit: %s; ask your administrator if that is too little") \
\
/* Parameters of MAIL and RCPT */ \
X(R_PARAM_UNKNOWN, 555, "5.5.4", "Parameter %s is not known here") \
X(R_PARAM_VALUE, 501, "5.5.4", "The value of parameter %s is not valid") \
X(R_PARAM_VALUE_NEEDED, 501, "5.5.4", "Parameter %s needs a value") \
X(R_PARAM_VALUE_NONE, 501, "5.5.4", "Parameter %s takes no value") \
X(R_PARAM_BODY, 504, "5.5.4", "BODY can be 7BIT, 8BITMIME or BINARYMIME") \
X(R_PARAM_TWICE, 501, "5.5.4", "Parameter %s was given twice") \
X(R_PARAM_SYNTAX, 501, "5.5.4", "After the address come parameters as KEYWORD or KEYWORD=value, each after one blank") \
X(R_PARAM_CONFLICT, 501, "5.5.4", "Parameters %s and %s cannot be used together") \
X(R_PARAM_BY_SHORT, 555, "5.5.4", "BY with mode R needs at least %s seconds") \
X(R_PARAM_HOLD_LONG, 501, "5.5.4", "Mail can be held back for at most %s seconds") \
X(R_PARAM_HOLD_PAST, 501, "5.5.4", "HOLDUNTIL has passed already; check clock and time zone of your computer") \
X(R_PARAM_HOLD_BY, 501, "5.5.4", "BY ends before the mail may leave; give it more time or hold it back for less") \
\
/* RCPT */ \
X(R_RCPT_OK, 250, "2.1.5", "Recipient accepted") \
X(R_RCPT_KEYWORD, 501, "5.5.4", "Write RCPT TO:<address>") \
X(R_RCPT_BRACKETS, 501, "5.1.3", "The recipient must stand in angle brackets: RCPT TO:<somebody@example.org>") \
X(R_RCPT_SYNTAX, 501, "5.1.3", "The recipient is not a valid address; check how it is written") \
X(R_RCPT_DOMAIN, 501, "5.1.3", "The domain of the recipient is not valid; check how it is written") \
X(R_RCPT_LITERAL, 501, "5.1.3", "The bracketed IP address of the recipient is not valid") \
X(R_RCPT_TOO_LONG, 501, "5.1.3", "The recipient is too long: at most 64 bytes before the @ sign and 255 after it") \
X(R_RCPT_UTF8, 553, "5.6.7", "The recipient is not plain ASCII; your mail program must ask for SMTPUTF8") \
X(R_RCPT_UNQUALIFIED, 554, "5.1.2", "The recipient needs a full domain, as in somebody@example.org") \
X(R_RCPT_NULL, 501, "5.1.3", "The recipient is empty") \
X(R_RCPT_TOO_MANY, 452, "4.5.3", "Too many recipients; send the message to the others separately") \
X(R_RCPT_DENIED, 550, "5.7.1", "Relaying denied; you may not send to this recipient") \
X(R_POLICY, 550, "5.7.0", "Refused by the policy of this site: %s") \
\
/* DATA, BDAT and the message */ \
X(R_DATA_GO, 354, NONE, "Send the message; a line with a single dot ends it") \
X(R_BDAT_OK, 250, "2.0.0", "%s bytes received") \
X(R_BDAT_SYNTAX, 501, "5.5.4", "Write BDAT size or BDAT size LAST") \
X(R_BDAT_NO_SIZE, 501, "5.5.4", "BDAT needs the size of its data; without it nobody knows where they end, closing") \
X(R_QUEUED, 250, "2.0.0", "Accepted, queued as %s") \
X(R_NO_RCPTS, 554, "5.5.1", "No valid recipients") \
X(R_TOO_BIG, 552, "5.3.4", "The message is larger than the limit of %s bytes; send a smaller attachment or a link") \
X(R_NO_SPACE, 452, "4.3.1", "The server is short of disk space; try again later") \
X(R_BARE_CR, 550, "5.5.2", "The message has a CR without LF, which can hide forged mail; repair or update your mail program") \
X(R_BARE_LF, 550, "5.5.2", "The message has a LF without CR, which can hide forged mail; repair or update your mail program") \
X(R_NUL, 550, "5.5.2", "The message has a NUL byte; send binary data as an attachment") \
X(R_LONG_LINE, 550, "5.6.0", "The message has a line of more than 998 bytes; let your mail program encode it, or send it as an attachment") \
X(R_HEADER_TOO_BIG, 554, "5.6.0", "The header of the message is larger than the limit of %s bytes") \
X(R_HEADER_BROKEN, 554, "5.6.0", "The header of the message has a line that is no field; an empty line must end the header") \
X(R_HOPS, 554, "5.4.6", "The message has passed too many servers; it goes around in a loop") \
X(R_AUTHOR_NOT_OWNED, 550, "5.7.1", "You may not write %s; your account may use %s; choose that in your mail program or ask your administrator") \
X(R_AUTHOR_FIELD, 550, "5.6.0", "The %s field of the message %s; it must tell whose mail this is") \
\
/* Trouble of ours: the client keeps the message and tries again */ \
X(R_TEMP, 451, "4.3.0", "Temporary failure here; try again in a few minutes") \
X(R_QUEUE_DOWN, 451, "4.3.0", "The queue is not available right now; try again in a few minutes") \
X(R_AUTH_DOWN, 451, "4.3.0", "The user database is not available right now; try again in a few minutes")

#define SMTP_REPLY_ENUM(id, code, status, text) id,
enum smtp_reply {
	SMTP_REPLY_TABLE(SMTP_REPLY_ENUM)
	R_COUNT /* number of rows, not a reply */
};
/* clang-format on */

/*
 * The three-digit code, 220 to 555. An id outside the table means R_TEMP, here
 * and below.
 */
int smtp_reply_code(enum smtp_reply id);

/* The enhanced code as text, "" for rows without. */
const char *smtp_reply_status(enum smtp_reply id);

/* Whether s, which may be NULL, is an enhanced code: "5.1.1" (RFC 3463 2). */
bool smtp_reply_is_status(const char *s);

/*
 * Writes the whole reply with CRLFs and a final NUL into buf. Slots take a
 * and b; NULL shows as "?". Lines longer than SMTP_REPLY_LINE are broken at a
 * blank into several lines of one reply. Returns the length without the NUL;
 * 0, with buf empty, when size is too small (SMTP_REPLY_MAX never is).
 */
size_t smtp_reply_format(
    char *buf, size_t size, enum smtp_reply id, const char *a, const char *b);

/*
 * The same for a reply decided elsewhere, such as the text of an access map
 * entry. code is 200 to 599 (not 3xx; else 0 is returned). status is
 * "class.subject.detail"; its class is replaced with the first digit of code
 * (RFC 2034 4), and NULL or what is no status becomes class.0.0. text is
 * cleaned like a slot and cut to what SMTP_REPLY_MAX holds; "\n" begins a new
 * line.
 */
size_t smtp_reply_custom(
    char *buf, size_t size, int code, const char *status, const char *text);

/*
 * Adds help, one line of ASCII, to the reply of len bytes in buf if a person
 * is to read it: a refusal for a reason other than syntax, order or time.
 * It stands behind the sentence where the line has room, so that mail programs
 * that show one line show both, and on a line of its own else. Returns the new
 * length; what does not fit is left out.
 */
size_t smtp_reply_help(char *buf, size_t size, size_t len, const char *help);

/* Adds text as a further line of the reply in buf; likewise. */
size_t smtp_reply_more(char *buf, size_t size, size_t len, const char *text);

/*
 * "334 " and the base64 text of a SASL challenge, "" for an empty one. Not cut
 * to SMTP_REPLY_LINE: RFC 4954 4 allows 12288 bytes. Returns as above.
 */
size_t smtp_reply_challenge(char *buf, size_t size, const char *base64);

/*
 * The reply to EHLO: the host name, then one line for each of n keyword lines
 * ("SIZE 26214400"). Keywords are the server's own text and are not cleaned.
 * Returns as above.
 */
size_t smtp_reply_ehlo(char *buf, size_t size, const char *host,
    const char *const *keyword, size_t n);

#endif
