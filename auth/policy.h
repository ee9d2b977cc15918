/*
 * The decision: may this session do what it asks, and by which rule.
 *
 * One pure function over plain facts.  It knows no clock, socket, database,
 * log or TLS library; whoever calls it has gathered the facts before and
 * answers two questions while it runs: look up a key of the access map, and
 * does a user own an address.  The meaning of the access map is sendmail's
 * (8.17); where sendmail lets a session pass for a typing error or a failing
 * look-up, this function refuses.
 *
 * Ladder: Connect entries, TLS requirement, identity, state of the user and
 * way of authentication, right to relay, envelope sender, From and To
 * entries, recipient.
 *
 *	phase               asked                           facts needed
 *	POLICY_CONNECT      at accept, once the name of     client_*
 *	                    the client is known
 *	POLICY_TLS          after the handshake             + verify, cipher_bits,
 *	                                                    cert_*, cn_*
 *	POLICY_MAIL         at each MAIL; asks the TLS      + user, how, auth_ssf,
 *	                    requirement again               sender
 *	POLICY_RCPT         at each RCPT                    + rcpt
 *	POLICY_HEADERS      when the header of a message    user, authors
 *	                    is there
 *	POLICY_TLS_SERVER   relay side, after the handshake server_*, verify,
 *	                    with the smarthost (or without  cipher_bits, cert_*,
 *	                    one)                            cn_*
 *	POLICY_TLS_RCPT     relay side, for each recipient  the same + rcpt
 *	POLICY_TRY_TLS      relay side, before STARTTLS     server_*
 *	POLICY_SRV_FEATURES before the greeting             client_*
 *
 * A fact that a phase does not need may be NULL or 0.  A needed string that
 * is NULL counts as empty.  Where a TLS requirement is asked an empty name is
 * a temporary refusal, for the caller always has at least "[address]".
 */
#ifndef AUTH_POLICY_H
#define AUTH_POLICY_H

#include <stdbool.h>
#include <stddef.h>

enum policy_phase {
	POLICY_CONNECT,
	POLICY_TLS,
	POLICY_MAIL,
	POLICY_RCPT,
	POLICY_HEADERS,
	POLICY_TLS_SERVER,
	POLICY_TLS_RCPT,
	POLICY_TRY_TLS,
	POLICY_SRV_FEATURES
};

/* How the name of the client was found. */
enum policy_resolve {
	POLICY_RESOLVE_OK,   /* reverse name, confirmed by a forward look-up */
	POLICY_RESOLVE_FAIL, /* the address has no name */
	POLICY_RESOLVE_TEMP, /* a look-up failed for now */
	POLICY_RESOLVE_FORGED, /* the name does not lead back to the address */
};

enum policy_user_state {
	POLICY_USER_ACTIVE,
	POLICY_USER_SUSPENDED,
	POLICY_USER_DISABLED
};

/* What a user must show. */
enum policy_user_auth {
	POLICY_AUTH_ANY, /* a certificate or a password */
	POLICY_AUTH_CERT,
	POLICY_AUTH_PASSWORD,
	POLICY_AUTH_BOTH
};

/*
 * What the session has shown, as bits.  EXTERNAL is a certificate.  Both
 * bits only when certificate and login name the same user.
 */
#define POLICY_BY_CERT     1u
#define POLICY_BY_PASSWORD 2u

/*
 * Kinds of RELAY entries the map holds, as bits.  They let a session that is
 * nobody yet go on from MAIL to RCPT.  0 is the safe answer: 530 at MAIL.
 */
#define POLICY_RELAYS_BY_NAME 1u /* a Connect: or untagged key has RELAY */
#define POLICY_RELAYS_BY_RCPT 2u /* a To: or untagged key has RELAY */

#define POLICY_NO_TLS (-1) /* cipher_bits of a session without TLS */

/* The fields that name authors. */
enum policy_author_field {
	POLICY_AUTHOR_FROM,
	POLICY_AUTHOR_SENDER,
	POLICY_AUTHOR_RESENT_FROM,
	POLICY_AUTHOR_RESENT_SENDER,
	POLICY_AUTHOR_FIELDS /* number of them */
};

/* A mailbox in one of them; or, with an empty address, what is wrong with the
 * field, as a person is told. */
struct policy_author {
	enum policy_author_field field;
	const char *wrong; /* NULL: nothing */
	const char *address;
};

struct policy_facts {
	/* The connection, for client phases. */
	const char *client_name; /* confirmed name without final dot, or
				    "[client_addr]" */
	const char *client_addr; /* "192.0.2.1"; "IPv6:" and eight groups in
				    lower-case hex, no leading zeros, no "::";
				    a mapped IPv4 address as IPv4 */
	enum policy_resolve resolve;

	/* The smarthost, for relay-side phases; same forms. */
	const char *server_name;
	const char *server_addr;

	/*
	 * TLS.  verify is sendmail's word: OK, TRUSTED (a pinned key), NO (no
	 * certificate sent), NOT (none asked for), FAIL, "" (client side of
	 * us has no TLS), NONE (smarthost offers none), SOFTWARE, PROTOCOL,
	 * CONFIG, TEMP.  The four names come from certname.h, escaped; all
	 * are empty for a pin.
	 */
	const char *verify;
	int cipher_bits; /* or POLICY_NO_TLS */
	const char *cert_subject;
	const char *cert_issuer;
	const char *cn_subject;
	const char *cn_issuer;

	/* Who it is. */
	const char *user; /* canonical name, NULL for nobody */
	enum policy_user_state user_state;
	enum policy_user_auth user_auth;
	unsigned int how;      /* POLICY_BY_* */
	const char *auth_mech; /* SASL mechanism used, NULL for none */
	int auth_ssf;          /* bits of a SASL security layer, mostly 0 */

	/* The envelope: bare addresses, no angle brackets. */
	const char *sender; /* "" is the null sender */
	const char *rcpt;

	unsigned int map_relays; /* POLICY_RELAYS_* */

	/* Whom the header names. */
	const struct policy_author *authors;
	size_t nauthors;
};

/* What is demanded of the authors in the header. */
enum policy_from_header {
	POLICY_FROM_REQUIRE, /* the user owns them all */
	POLICY_FROM_SENDER,  /* he does, or there is a Sender that he owns */
	POLICY_FROM_OFF
};

/* Connect and MAIL rules are asked at RCPT. */
enum policy_delay {
	POLICY_DELAY_NONE,
	POLICY_DELAY,
	POLICY_DELAY_FRIEND, /* Connect and From not if Spam:rcpt is FRIEND */
	POLICY_DELAY_HATER,  /* and only if it is HATER */
};

/*
 * Options sendmail has in its configuration.  Those of the server are in
 * submitd/facts.c; it leaves most of them off.  Lists end with NULL and may be
 * NULL themselves.
 */
struct policy_options {
	const char *const *local_domains; /* class w */
	const char *const *relay_domains; /* class R */
	const char *const *trusted_mechs; /* AUTH with one of them relays */
	bool tls_perm_err;
	enum policy_delay delay_checks;
	bool blocklist_recipients;
	bool relay_hosts_only;
	bool relaytofulladdress;
	bool relay_mail_from;        /* From:user@domain RELAY counts */
	bool relay_mail_from_domain; /* and From:domain RELAY */
	bool skip;
	bool lookupdotdomain;
	bool loopback_relays;    /* 127.0.0.1 and ::1 may relay */
	bool unqualified_relays; /* a recipient without domain is local */
	bool anonymous_mail;  /* MAIL needs no identity, RCPT decides; DISCARD
				    and QUARANTINE of To entries need none */
	bool verified_passes; /* a verified peer passes where the look-up of
				 its TLS requirement fails for now */

	/* Ours: user who must own the sender of what the map lets relay. */
	const char *map_relay_user;
	enum policy_from_header from_header;
};

enum policy_found { POLICY_FOUND, POLICY_ABSENT, POLICY_TEMPFAIL };

/*
 * Answers.  lookup gets a whole key, folded to lower case ("tls_clt:a.b"),
 * and writes a value with its NUL; a value that does not fit is
 * POLICY_TEMPFAIL.  owns says 1, 0, or -1 when it cannot tell for now.
 */
struct policy_store {
	enum policy_found (*lookup)(
	    void *arg, const char *key, char *value, size_t size);
	int (*owns)(void *arg, const char *user, const char *address);
	void *arg;
};

enum policy_decision {
	POLICY_ALLOW,
	POLICY_REFUSE_PERM,
	POLICY_REFUSE_TEMP,
	POLICY_DISCARD,    /* commands succeed, the message is thrown away */
	POLICY_QUARANTINE, /* accepted, held; text says why */
};

/*
 * Why.  With POLICY_WHY_MAP, _TLS, _RELAY, _RESOLVE, _LOOKUP and _MALFORMED
 * the verdict carries code, enhanced code and text.  The others are situations
 * of our own: code is 0 and the role takes the reply from its table.
 */
enum policy_why {
	POLICY_WHY_OK,
	POLICY_WHY_MAP,       /* a Connect, From, To or Try_TLS entry */
	POLICY_WHY_TLS,       /* a TLS requirement is not met */
	POLICY_WHY_RELAY,     /* nothing gives the right to relay */
	POLICY_WHY_RESOLVE,   /* the client's name could not be confirmed */
	POLICY_WHY_LOOKUP,    /* the map could not be asked; 451 4.3.0 */
	POLICY_WHY_MALFORMED, /* the entry that decides makes no sense; 451
				 4.3.5 */

	POLICY_WHY_NOBODY,         /* 530 5.7.0: authenticate first */
	POLICY_WHY_SUSPENDED,      /* the user is suspended */
	POLICY_WHY_DISABLED,       /* the user is disabled */
	POLICY_WHY_NEED_CERT,      /* this user must show a certificate */
	POLICY_WHY_NEED_PASSWORD,  /* this user must log in with a password */
	POLICY_WHY_NEED_BOTH,      /* one of the two is missing or differs */
	POLICY_WHY_SENDER,         /* envelope sender not owned */
	POLICY_WHY_SENDER_LOOKUP,  /* ownership not known for now; 451 4.3.0 */
	POLICY_WHY_RCPT_NO_DOMAIN, /* a user's recipient without domain */
	POLICY_WHY_LIMIT, /* not by this function: queue and auth count */
	POLICY_WHY_AUTHOR,         /* a mailbox of the header is not owned */
	POLICY_WHY_AUTHOR_FIELD,   /* a field that can't tell whose mail it is */
};

/* The rules, for the ladder. */
enum policy_rule {
	POLICY_RULE_CONNECT,
	POLICY_RULE_TLS_CLT,
	POLICY_RULE_TLS_USER,
	POLICY_RULE_TLS_SRV,
	POLICY_RULE_TLS_RCPT,
	POLICY_RULE_TRY_TLS,
	POLICY_RULE_SRV_FEATURES,
	POLICY_RULE_IDENTITY,
	POLICY_RULE_USER_STATE,
	POLICY_RULE_USER_AUTH,
	POLICY_RULE_RCPT_SYNTAX,
	POLICY_RULE_TO_BLOCK,
	POLICY_RULE_CERT_ISSUER,
	POLICY_RULE_CERT_SUBJECT,
	POLICY_RULE_CITAG,
	POLICY_RULE_AUTH_MECH,
	POLICY_RULE_USER_RELAY,
	POLICY_RULE_RCPT_LOCAL,
	POLICY_RULE_TO_RELAY,
	POLICY_RULE_CLIENT_LOCAL,
	POLICY_RULE_ADDR_RELAY,
	POLICY_RULE_FROM_RELAY,
	POLICY_RULE_RESOLVE,
	POLICY_RULE_NAME_RELAY,
	POLICY_RULE_SENDER,
	POLICY_RULE_FROM,
	POLICY_RULE_SPAM,
	POLICY_RULE_AUTHOR, /* its key is an address, its value the field */
	POLICY_RULE_MAX
};

enum policy_met {
	POLICY_MET_NONE,   /* no entry, or the rule does not apply: go on */
	POLICY_MET_PASS,   /* satisfied: go on */
	POLICY_MET_RELAY,  /* gives the right to relay */
	POLICY_MET_REFUSE, /* decides: refused, discarded or held */
	POLICY_MET_FAIL,   /* look-up failed for now */
};

#define POLICY_KEY_SIZE   1024 /* longest line of a map source and NUL */
#define POLICY_VALUE_SIZE 1024
#define POLICY_TEXT_SIZE  512
#define POLICY_STEPS_MAX  32
#define POLICY_SHOWN_SIZE 256 /* of a key or value in a step, cut off */

/*
 * One rule asked, in order; key and value are empty if no entry was met.  Of
 * the rules CERT_ISSUER, CERT_SUBJECT and CITAG, which ask for one key, it is
 * then told all the same.
 */
struct policy_step {
	enum policy_rule rule;
	enum policy_met met;
	char key[POLICY_SHOWN_SIZE];
	char value[POLICY_SHOWN_SIZE];
};

struct policy_verdict {
	enum policy_decision decision;
	enum policy_why why;
	int code;                    /* 0: see why */
	char esc[16];                /* "5.7.1", empty if none */
	char text[POLICY_TEXT_SIZE]; /* reply, quarantine reason, or letters of
					Srv_Features; printable ASCII */
	char key[POLICY_KEY_SIZE];   /* entry that decided, empty if none */

	/*
	 * POLICY_MAIL and POLICY_RCPT: who relays, "ann" or "map:KEY".  Empty
	 * if that is not known yet (MAIL of a session that a To entry may
	 * help) or nobody needs to.
	 */
	char relay_as[POLICY_KEY_SIZE + 4];

	/* POLICY_HEADERS */
	size_t author;   /* refused: which of facts.authors is at fault */
	bool add_sender; /* allowed, if a Sender of the user's stands there in
			    place of what does now */

	size_t nsteps;
	bool steps_lost; /* there were more than POLICY_STEPS_MAX */
	struct policy_step steps[POLICY_STEPS_MAX];
};

/* Fills *verdict whole; never fails.  Reentrant. */
void policy_decide(enum policy_phase, const struct policy_facts *,
    const struct policy_options *, const struct policy_store *,
    struct policy_verdict *verdict);

/* Stable words for logs and for explain: "allow", "suspended", "tls_clt"... */
const char *policy_decision_name(enum policy_decision);
const char *policy_why_name(enum policy_why);
const char *policy_rule_name(enum policy_rule);
const char *policy_met_name(enum policy_met);
/* "From", "Sender"... */
const char *policy_author_field_name(enum policy_author_field);

#endif
