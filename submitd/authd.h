/*
 * The inside of the auth role: sessions and their logins (authd.c), what the
 * user store says (authd_store.c), the decisions on mail (authd_mail.c), what
 * is asked of others (authd_pam.c), tokens (authd_token.c), the guard against
 * guessing (authd_guard.c), what relays ask (authd_server.c).
 */
#ifndef SUBMITD_AUTHD_H
#define SUBMITD_AUTHD_H

#include <sys/queue.h>

#include "auth/cert.h"
#include "auth/pace.h"
#include "auth/passcache.h"
#include "auth/policy.h"
#include "auth/sasl.h"
#include "keyset.h"
#include "memo.h"
#include "role.h"
#include "smtp_reply.h"
#include "store/access.h"
#include "store/user.h"
#include "userlimit.h"

enum {
	AUTHD_BUCKETS = 4096, /* of the table of sessions, a power of two */
	AUTHD_SESSIONS_MAX = 65536, /* known at one time */
	AUTHD_CONV_MS = 60 * 1000,  /* for one AUTH command */
	AUTHD_NAME_MAX = 255        /* of a name in a message */
};

struct authd_relay;  /* authd_server.c */
struct authd_rehash; /* authd_rehash.c */
struct event;

/* A front and its socket. */
struct authd_front {
	LIST_ENTRY(authd_front) link;
	struct ipc *ipc;
	uint32_t instance;
};

/* What the connection shows; all texts are a str (mem.h). */
struct authd_facts {
	char *client_addr; /* as front wrote it, for the log */
	char *map_addr;    /* as the access map compares it */
	char *map_name;    /* confirmed name, or "[address]" */
	enum policy_resolve resolve;
	enum listen_kind kind;
	int tls_bits; /* 0: no TLS */
	enum cert_verify verify;
	char *reason;      /* why the certificate did not verify */
	char *fingerprint; /* SHA-256, "" without certificate */
	char *subject, *issuer, *cn_subject, *cn_issuer;
	struct buf exporter, unique, endpoint; /* channel bindings */
	struct cert_owner *owner; /* whose certificate; NULL: nobody's */
};

/* One transaction, from MAIL to the next MAIL. */
struct authd_txn {
	uint32_t number;
	bool open;    /* MAIL was allowed */
	bool lost;    /* queue went away and forgot it */
	bool granted; /* queue knows who sends */
	char *from;
	char *map_from; /* as the access map is asked for it */
	uint64_t size;
	struct mail_options opt;
	char *envid, *auth; /* in opt */
	uint8_t flags; /* enum envelope_flag, of every recipient */
	char *note;    /* reason of a hold */
	int64_t rcpts;
	uint64_t told; /* tells the last ladder of an accepted recipient */
};

/* Who checks a password (STORE_BACKEND_DEFAULT: a token). */
enum { AUTHD_BACKENDS = STORE_BACKEND_SASLAUTHD + 1 };

/* A question that is not answered yet. */
struct authd_question {
	uint32_t ticket; /* 0: there is none */
	enum store_backend backend;
	char *user; /* a str (mem.h) */
	bool token;
};

/* What waits for queue's answer about guessing, or for a delay. */
enum authd_stage {
	AUTHD_HOLD_NONE,
	AUTHD_HOLD_PASSWORD,  /* the check of a password */
	AUTHD_HOLD_CHALLENGE, /* SCRAM's challenge */
	AUTHD_HOLD_VERDICT    /* what the client will hear */
};

struct authd_hold {
	enum authd_stage stage;
	uint32_t ticket;
	uint64_t version; /* of the store when it began */
	enum sasl_rc rc;  /* the verdict */
	bool delayed;     /* the answer came: slow down */
	bool again;       /* and ask once more then */
	unsigned asks;    /* in this AUTH */
};

struct authd_session {
	LIST_ENTRY(authd_session) link;
	uint64_t sid;
	struct authd_front *front;
	struct authd_facts facts;
	/* The store could not be asked when the session came: what it showed
	 * is kept and judged at its next question. */
	bool judged;
	struct buf chain;
	uint32_t usable, offered; /* mechanisms, enum sasl_mech */

	unsigned features; /* FACTS_* of facts.h, from Srv_Features */

	/* a refusal that holds for the whole session; code 0: none */
	uint16_t refuse_code;
	char refuse_esc[16];
	char *refuse_text;
	uint8_t flags; /* of all its mail, from a Connect entry */
	char *note;

	/* login; user is "" before it */
	char user[STORE_NAME_MAX + 1];
	int64_t device; /* whose password it was; 0: none */
	uint32_t mech;  /* enum sasl_mech */

	/* AUTH under way, or its refusal waiting for its time */
	struct sasl_conv *conv;
	int64_t began_ms; /* the step under way */
	struct authd_question asked;
	struct authd_hold hold;
	bool guarded; /* queue was asked in this AUTH */
	enum pace_judge judge; /* who said that the password is wrong */
	int64_t took_ms;       /* and how long that took */
	bool used;    /* queue knows that the certificate was used */
	char *helo; /* a str (mem.h): the client's name in EHLO */
	struct authd_rehash *rehash; /* NULL: the records are as they should be */
	struct event *timer;
	int64_t due_ms; /* when it is meant to fire */
	bool refusal_waits;
	enum smtp_reply refusal;
	uint32_t refusal_mech;

	struct authd_txn txn;
};

struct authd {
	struct role_setup *setup;
	struct store *store;
	uint64_t version; /* of the store's content */
	bool have_version;
	int64_t repair_ms;   /* when the last repair was asked for */
	unsigned map_relays; /* POLICY_RELAYS_* */
	struct keyset map_keys; /* of the access map */
	bool wants_sha1;        /* records of SCRAM-SHA-1 */
	struct {
		uint64_t version; /* of the store, when they were read */
		int64_t next_ms;  /* not again before */
	} shapes;                 /* of records (sasl.h) */
	struct memo users; /* by name: struct store_user */
	struct memo owned; /* by "user address": bool */
	struct memo limits; /* by "device sender": struct userlimit */
	struct passcache *cache;
	struct cert_trust *trust;

	struct jwt_keys *keys; /* whose tokens are believed; NULL: nobody's */
	struct ipc *pam;       /* NULL: it is not there */
	uint32_t ticket;       /* of the last question */
	bool judge_ill[AUTHD_BACKENDS]; /* its last answer was none */
	int64_t pace_ms; /* what a refusal takes at least, as queue says */

	struct ipc *queue;
	LIST_HEAD(, authd_front) fronts;
	LIST_HEAD(, authd_relay) relays;
	struct m_server_rules rules; /* what relays are told of the map */
	LIST_HEAD(, authd_session) table[AUTHD_BUCKETS];
	unsigned sessions;
	struct event *tick, *recheck;
	struct event *release; /* of the store's lock */
	bool draining;
};

extern struct authd A;

int64_t authd_now_ms(void); /* of a clock that never goes back */

/* From the loop: end the sessions whose identity does not stand any more. */
void authd_recheck_soon(void);

/* NULL: not known (any more). */
struct authd_session *authd_find(uint64_t sid);

/* Calls fn for every session; fn may free the one it gets. */
void authd_each(void (*fn)(struct authd_session *, void *), void *arg);

/* ---- authd_facts.c ---- */

void authd_take_facts(struct authd_session *, const struct m_session *);
/* Who the certificate is, and what the connection may; as far as known. */
void authd_judge(struct authd_session *);
void authd_send_facts(const struct authd_session *);
void authd_facts_clear(struct authd_facts *);

/* ---- authd_login.c ---- */

void authd_on_auth_start(struct authd_session *, const struct m_auth_start *);
void authd_on_auth_step(struct authd_session *, const struct m_auth_step *);
/* Front has answered the client itself. */
void authd_on_auth_cancel(struct authd_session *);

/*
 * The answer to the question of this session, which has one: go on.  user is
 * the owner of a token, "" else.
 */
void authd_resume(struct authd_session *, enum sasl_pw, const char *user);

/* The number of a question, not 0. */
uint32_t authd_ticket(void);

/* What follows a step of the conversation; began_ms is when it began. */
void authd_go_on(
    struct authd_session *, enum sasl_rc, const char *mech, int64_t began_ms);
/* Sends the challenge of the conversation. */
void authd_challenge(struct authd_session *);
/* Ends AUTH. */
void authd_verdict(
    struct authd_session *, enum sasl_rc, const char *mech, int64_t began_ms);
/* Sets the session's one timer. */
void authd_arm(struct authd_session *, int64_t ms);

/* ---- authd_pam.c ---- */

/* Asks pam; SASL_PW_LATER, or SASL_PW_TEMP if it can't be asked. */
enum sasl_pw authd_ask_password(struct authd_session *, enum store_backend,
    const char *user, const char *password, size_t len);

/* What it would say of names that are nobody's, which it is not asked about. */
enum sasl_pw authd_pretend(enum store_backend);

/* Asks pam about a token; as authd_ask_password(). */
enum sasl_pw authd_ask_token(
    struct authd_session *, const char *token, size_t len);

/* A pair to the role pam: takes fd. */
void authd_set_pam(struct role_setup *, int fd);

/* ---- authd_guard.c ---- */

/*
 * Each is true if the login is held until queue answers or a timer ends: then
 * it goes on from there. False: go on now.
 */
bool authd_guard_password(struct authd_session *, const char *user);
bool authd_guard_challenge(struct authd_session *);
bool authd_guard_verdict(struct authd_session *, enum sasl_rc);

/* After authd_guard_password() said true: sets the timer. */
void authd_guard_wait(struct authd_session *);
/* Tells queue that the session's certificate was used, once. */
void authd_guard_used(struct authd_session *);
/* The timer of a session that is held. */
void authd_guard_timer(struct authd_session *);
/* For authd_each(): nobody will answer any more. */
void authd_guard_release(struct authd_session *, void *);
ipc_handler authd_guard_answer;

/* ---- authd_token.c ---- */

/* Reads the keys, if there are any; 0, or -1 with a sentence. */
int authd_token_start(const struct buf *keys, char *err, size_t errlen);

/* Is anybody there to judge tokens? */
bool authd_has_tokens(void);

/* The callback of that name in sasl.h. */
enum sasl_pw authd_token(void *session, struct sasl_conv *, const char *token,
    size_t len, char user[SASL_USER_MAX + 1]);

/* ---- authd_server.c ---- */

/* A pair to a relay: takes fd. */
void authd_add_relay(struct role_setup *, uint32_t instance, int fd);

/* Adds a row of the access map to what relays are told of it; the rows come
 * in the same order in every worker. */
void authd_rules_add(struct m_server_rules *, const struct store_access *);

/* The map has been read anew: tells the relays if it is another. */
void authd_rules_set(const struct m_server_rules *);

/* ---- authd_store.c ---- */

/* store_user_get(), but of what authd_store_ready() found it asks once. */
enum store_rc authd_user_get(const char *name, struct store_user *);

/* What holds for who sends (a verdict's relay_as); valid until the next call.
 * STORE_NONE: the user is not there any more. */
enum store_rc authd_limits_get(const char *sender, int64_t user_id,
    int64_t device, const struct userlimit **);
/* An address that this user owns, or a pattern (addrowner.h); "" if he has none
 * or the store can't say. NULL: whose addresses one may use who relays by the
 * map. */
void authd_own_address(const char *user, char out[STORE_ADDRESS_MAX + 1]);

/* Is the user still there and not disabled?  Yes, if the store can't say. */
bool authd_user_stands(const char *name);

/*
 * Brings what is kept in step with the store; called before each decision.
 * What is read from then on is one state of the store, until the loop goes on
 * later than some ms from now. False: the store can't be read now; parent has
 * been told if it can repair.
 */
bool authd_store_ready(void);

/* Opens it for the first time; 0, or -1 with a sentence. */
int authd_store_start(char *err, size_t errlen);

extern const struct sasl_callbacks authd_sasl_callbacks;
extern const struct policy_store authd_policy_store;
cert_lookup_fn authd_cert_lookup;

/* Is a certificate alone a login of this user? */
bool authd_takes_external(const char *name);

/* Does what the session's identity rests on still stand? */
bool authd_identity_stands(const struct authd_session *);

/* ---- authd_rehash.c ---- */

/* The password belongs to a record of the account: makes new ones if those
 * of this password are not made as they would be now. */
void authd_rehash_make(struct authd_session *, const struct sasl_account *,
    size_t index, const char *password, size_t len);
/* The user has logged in: asks for what was made to be stored. */
void authd_rehash_send(struct authd_session *);
/* Wipes it. */
void authd_rehash_clear(struct authd_session *);

/* ---- authd_history.c ---- */

struct facts_reply_said;

/* Tells queue of a decision; said is not used unless it refuses. */
void authd_remember(struct authd_session *, enum decision_phase,
    const struct policy_verdict *, const struct facts_reply_said *said,
    const char *rcpt);
/* user as claimed, unless it succeeded. */
void authd_remember_login(const struct authd_session *, enum sasl_rc,
    enum smtp_reply, const char *mech, const char *user, int64_t device,
    const char *detail);

/* ---- authd_mail.c ---- */

/* Asks the phases before MAIL and keeps a refusal, or what is to be done with
 * all its mail.  False: the store can't say now. */
bool authd_judge_session(struct authd_session *);

void authd_on_mail(struct authd_session *, const struct m_mail *);
void authd_on_rcpt(struct authd_session *, const struct m_rcpt *);
void authd_on_headers(struct authd_session *, const struct m_headers *);
void authd_txn_clear(struct authd_txn *);

#endif
