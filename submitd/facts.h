/*
 * What auth does to gather facts for the decision (auth/policy.h) and to make
 * a reply of the verdict, for those who must do it in the same way.  Pure.
 */
#ifndef SUBMITD_FACTS_H
#define SUBMITD_FACTS_H

#include "auth/policy.h"
#include "proto.h"
#include "smtp_reply.h"

/*
 * A numeric address in the form of the access map: IPv6 as "IPv6:" and eight
 * groups, a mapped IPv4 address as IPv4.  The caller frees.
 */
char *facts_addr(const char *addr);

/*
 * The client's name for the access map: `name` without its final dot, or
 * "[map_addr]" where it is empty.  The caller frees.
 */
char *facts_host(const char *name, const char *map_addr);

/*
 * An address as the access map has its keys: the domain with A-labels, for a
 * key must stand for the domain however it is written.  Returns the address
 * itself where there is nothing to change, else out.
 */
enum { FACTS_ADDRESS_MAX = 1024 };
const char *facts_map_address(
    const char *address, char out[FACTS_ADDRESS_MAX]);

/* Which kind of RELAY entry this is, POLICY_RELAYS_*, or 0. */
unsigned facts_relays(const char *key, const char *value);

/* The reply to a verdict without a code. */
enum smtp_reply facts_reply(enum policy_why);

/* What of a refusal is said. */
struct facts_reply_said {
	int code;
	char esc[16];
	char text[SMTP_REPLY_MAX]; /* without code and enhanced code */
};

/* Of what the reply to a refusal can be about. */
struct facts_about {
	const char *sender; /* of the envelope */
	const char *reason; /* of a suspension; "": nobody said why */
	const struct policy_author *author; /* POLICY_HEADERS, NULL else */
	const char *own; /* an address of the user, or a pattern, or "" */
};

/* The arguments of a reply. */
struct facts_reply_args {
	char a[400], b[400]; /* "" without */
};

void facts_reply_args(
    enum policy_why, const struct facts_about *, struct facts_reply_args *);

/* The Sender that a message gets: the sender of its envelope, or, if that is
 * null, an address that the user owns; "" if that is a pattern or none. */
const char *facts_new_sender(const char *sender, const char *own);
/* That as a text of the verdict; empty without. */
void facts_sender_text(
    const char *sender, const char *own, char *out, size_t size);

/* A row of the reply table with its arguments. */
void facts_said_reply(enum smtp_reply, const char *a, const char *b,
    struct facts_reply_said *);

/* The reply to a verdict that refuses, whoever has its words. */
void facts_said(const struct policy_verdict *, const struct facts_reply_args *,
    struct facts_reply_said *);

/*
 * The options of the decision in this server: blocklist_recipients and skip
 * are on, nothing else (submitd.8, Access map).  map_relay_user as in the
 * configuration, "" for none; it must outlive the options.
 */
struct policy_options facts_options(
    const char *map_relay_user, enum policy_from_header);

/* What is demanded of the authors in the header of this user's mail; NULL:
 * who relays by the map alone. */
enum policy_from_header facts_from_header(
    const struct policy_options *, const char *user);

/* Srv_Features: the letters that mean something here, as bits.  Of letters
 * that contradict each other the last one counts. */
#define FACTS_NO_AUTH       1u /* A: AUTH is not offered and not taken */
#define FACTS_NEED_AUTH     2u /* l: MAIL needs an AUTH before it */
#define FACTS_NO_PIPELINING 4u /* P: PIPELINING is not offered */
unsigned facts_features(const char *letters);

/*
 * What is wrong with the smarthost, to a verdict that is no POLICY_ALLOW of
 * POLICY_TRY_TLS, POLICY_TLS_SERVER or POLICY_TLS_RCPT: a sentence without
 * final period, of printable ASCII, that names the entry.
 */
void facts_server_text(const struct policy_verdict *, char *out, size_t size);

/* What these verdicts make of mail.  A mere Try_TLS:NO waits: it forbids the
 * only way out, but the mail is not at fault. */
enum server_verdict facts_server_verdict(const struct policy_verdict *);

/*
 * Makes the verdict on POLICY_SRV_FEATURES of a client that has not logged in
 * a refusal of MAIL, if that is what the letters say.
 */
bool facts_needs_login(struct policy_verdict *);

/* The same for one that logs in: makes it the refusal of AUTH. */
bool facts_forbids_login(struct policy_verdict *);

#endif
