/*
 * The messages between the roles: one struct each, and the table (proto.c)
 * that packs, bounds and unpacks them.  One or several (ipc.h) travel as a
 * packet of a SOCK_SEQPACKET pair, with at most one descriptor.
 *
 * Message: u16 type, u16 zero, u32 zero, u64 sid, then the fields in the
 * order of the table; integers in host order, strings as u32 length and
 * bytes with a final NUL, blobs as u32 length and bytes.
 *
 * sid names a session: upper 24 bits the instance number of the front that
 * owns it (parent gives each front process its own), lower 40 bits that
 * front's counter.  Messages that belong to no session carry sid 0.
 *
 * Unpacked strings and blobs point into the receive buffer: they live until
 * the handler returns.  A string is never NULL; an absent blob has len 0.
 */
#ifndef SUBMITD_PROTO_H
#define SUBMITD_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/mailopt.h"

enum { PROTO_MAX = 128 * 1024 };	/* bytes of one packet */
enum { BODY_INLINE_MAX = 64 * 1024 };	/* larger bodies are files */
enum { SERVER_CHAIN_MAX = 64 * 1024 }; /* a server's certificates */
enum { SID_COUNTER_BITS = 40 };

static inline uint32_t
sid_instance(uint64_t sid)
{
	return (uint32_t)(sid >> SID_COUNTER_BITS);
}

enum role {
	ROLE_PARENT,
	ROLE_FRONT,
	ROLE_AUTH,
	ROLE_PAM, /* PAM, saslauthd and commands, on behalf of auth */
	ROLE_QUEUE,
	ROLE_RELAY,
	ROLE_RESOLVER,
	ROLE_STORE, /* short-lived: opens users.db read-write, repairs it */
	ROLE_COUNT
};
const char *role_name(enum role);
/* ROLE_COUNT if there is no such name. */
enum role role_by_name(const char *);

struct blob {
	const void *p;
	size_t len;
};

enum msg_type {
	/* parent to a new role, in this order, before it locks itself in */
	M_CONF,	  /* the keys this role may know */
	M_PEM,	  /* certificates, keys, secrets */
	M_LISTEN, /* a listening socket (front) or the control socket (queue) */
	M_TABLE,  /* memory of the table of connections (front, queue) */
	M_PEER,	  /* one end of a pair to another role; also later, anew */
	M_START,  /* all is given: go (queue, resolver: also after a reload) */
	M_DRAIN,  /* finish what runs, take nothing new, leave */
	M_ROLE,	  /* to queue, for `submitctl status`: a role came or went */
	M_LOG,	  /* a socket to the log daemon, after M_LOG_LOST */
	M_PROBE,  /* test builds: try what you must not; else out of turn */

	/* role to parent */
	M_READY,   /* locked in and serving */
	M_REFUSED, /* cannot serve with what was given */
	M_REPAIR,  /* auth: users.db has a hot journal */
	M_REHASH,  /* auth: a password has old records; then to store */
	M_LOG_LOST, /* the log daemon was restarted: answer M_LOG */
	M_BAD_PEER, /* a peer was dropped for what it sent, or is gone */

	/* front to auth */
	M_SESSION,
	M_AUTH_START,
	M_AUTH_STEP,
	M_AUTH_CANCEL,
	M_MAIL,
	M_RCPT,
	M_HEADERS, /* whom the header of the message names */
	M_SESSION_CLOSE, /* also front to queue, auth to queue */

	/* auth to front */
	M_SESSION_FACTS,
	M_AUTH_CHALLENGE,
	M_AUTH_RESULT,
	M_VERDICT,
	M_SESSION_KILL,

	/* auth to pam: is it right?  And the answer */
	M_PAM_CHECK,
	M_TOKEN_CHECK,
	M_PAM_RESULT,

	/* auth to queue: who may, before front hears of it */
	M_GRANT,
	M_ENVELOPE,
	M_ENVELOPE_RCPT,
	M_HEADERS_OK, /* the authors in the header may be named */
	M_DECISION, /* for the history */

	/* auth to queue: logins, against guessing; and the answer to both. A
	 * login that has to wait for others hears a second one in its turn. */
	M_ALARM, /* for the status: an administrator should look */
	M_THROTTLE_ASK,
	M_AUTH_SEEN,
	M_THROTTLE_ANSWER,

	/* front to queue */
	M_DATA_OPEN,   /* DATA was asked: answer M_DATA_READY */
	M_BODY_FILE,   /* the body grows past BODY_INLINE_MAX: M_BODY_FD */
	M_SUBMIT,      /* the dot was seen: answer M_SUBMITTED */
	M_DATA_ABORT,  /* the transaction ends without a message */

	/* queue to front */
	M_DATA_READY,
	M_BODY_FD, /* with descriptor */
	M_SUBMITTED,

	/* queue to relay: M_JOB, M_JOB_RCPT for each, M_JOB_BODY */
	M_JOB,
	M_JOB_RCPT,
	M_JOB_BODY,

	/* relay to queue */
	M_JOB_RESULT, /* one recipient */
	M_JOB_DONE,   /* every recipient of the job has its result */
	M_RELAY_STATE,

	/* relay to auth: what the access map says of the smarthost */
	M_SERVER_TLS,
	M_SERVER_RCPT, /* about the server of the last M_SERVER_TLS */

	/* auth to relay */
	M_SERVER_RULES, /* first, and when the access map has changed */
	M_SERVER_VERDICT,

	/* front and relay to resolver, and back */
	M_RESOLVE,
	M_RESOLVED,

	M_TYPE_COUNT
};

/* ---- parent ---- */

struct m_conf {
	struct blob pairs; /* name NUL value NUL ... (conf.h) */
};

enum pem_kind {
	PEM_SERVER_CERT, /* frames (frames.h): chains, leaf first */
	PEM_SERVER_KEY,	 /* frames: their keys */
	PEM_SERVER_OCSP, /* frames: tls_set_staples(); also new ones later */
	PEM_CLIENT_CA,	 /* CAs of client certificates (auth) */
	PEM_CLIENT_CRL,
	PEM_CLIENT_CERT, /* relay's own chain and key */
	PEM_CLIENT_KEY,
	PEM_SMARTHOST_CA,
	PEM_SMARTHOST_PASSWORD, /* not PEM: the bytes of the password */
	PEM_OAUTH_KEY, /* PEM or JSON: whose tokens auth believes */
	PEM_RESOLV_CONF, /* the texts of /etc/resolv.conf and /etc/hosts, */
	PEM_HOSTS,	 /* also later, when they have changed */
	PEM_TICKET_KEYS, /* tls.h, of session tickets; also new ones later */
	PEM_KIND_COUNT
};

/* Those that are kept in memory for secrets (auth/secret.h). */
static inline bool
pem_is_secret(enum pem_kind kind)
{
	return kind == PEM_SERVER_KEY || kind == PEM_CLIENT_KEY ||
	    kind == PEM_SMARTHOST_PASSWORD || kind == PEM_TICKET_KEYS;
}

struct m_pem {
	uint8_t kind;	  /* enum pem_kind */
	struct blob data; /* or, when a descriptor comes: the file's content */
};

enum listen_kind {
	LISTEN_STARTTLS, /* 587 */
	LISTEN_TLS,	 /* 465 */
	LISTEN_CONTROL	 /* queue's control socket */
};

struct m_listen { /* with descriptor */
	uint8_t kind;
	const char *name; /* as in the configuration */
};

enum table_part {
	TABLE_ALL,   /* to read all of it */
	TABLE_REGION /* to write the front's own region, and the known ones */
};

struct m_table { /* with descriptor; conntable.h */
	uint8_t part; /* enum table_part */
	uint32_t region;
	uint32_t regions;
	uint32_t entries;
	uint64_t seed;
};

struct m_peer { /* with descriptor */
	uint8_t role;
	uint32_t instance; /* of the process at the other end */
};

struct m_start {
	uint32_t instance; /* this process's own number */
};

struct m_drain {
	uint32_t grace_ms; /* what runs may take so long */
	uint8_t stop;	   /* the service ends: idle sessions, too */
};

struct m_role {
	uint8_t role;
	uint32_t instance;
	uint32_t pid;	   /* 0: it is gone */
	const char *state; /* "running", "draining", "gone", "waiting" */
};

struct m_text { /* M_REFUSED, M_SESSION_KILL: a sentence; M_PROBE: what */
	const char *text;
};

struct m_bad_peer {
	uint8_t role;
	uint32_t instance;
	uint8_t rejected;  /* for what it sent; else it has closed */
	const char *error; /* what was wrong with it */
};

struct m_empty { /* M_READY, M_REPAIR, M_AUTH_CANCEL, ... */
	uint8_t unused;
};

/* A password that was right, but whose records are not made as they would be
 * now. The new ones are put in place of the old ones if `old` is there still. */
struct m_rehash {
	const char *user;
	int64_t device;	    /* 0: the account's own password */
	const char *old;    /* the record that it was checked by */
	const char *sha256; /* the new ones */
	const char *sha1;   /* "": none is wanted */
};

/* ---- front and auth ---- */

/* What front knows of a session once its TLS stands (or again when the
 * session moves to another auth worker). */
struct m_session {
	const char *client_addr; /* "192.0.2.7", "2001:db8::1" as inet_ntop */
	uint16_t client_port;
	const char *client_name; /* forward-confirmed, else "" */
	uint8_t resolve;	 /* enum resolve_status of the client's name */
	const char *server_addr;
	uint16_t server_port;
	uint8_t listen_kind;
	const char *helo;
	const char *tls_version; /* "TLSv1.3" */
	const char *tls_cipher;
	uint16_t tls_bits;
	struct blob chain;	  /* DER: u32 length and bytes each, leaf first */
	struct blob tls_exporter; /* channel binding of RFC 9266, or empty */
	struct blob tls_unique;	  /* RFC 5929, TLS 1.2 only, or empty */
	struct blob tls_endpoint; /* tls-server-end-point, RFC 5929 */
};

/* Mechanisms, as bits of m_session_facts.mechs. */
enum {
	MECH_SCRAM_SHA_256_PLUS = 1 << 0,
	MECH_SCRAM_SHA_256 = 1 << 1,
	MECH_SCRAM_SHA_1_PLUS = 1 << 2,
	MECH_SCRAM_SHA_1 = 1 << 3,
	MECH_EXTERNAL = 1 << 4,
	MECH_PLAIN = 1 << 5,
	MECH_LOGIN = 1 << 6,
	MECH_OAUTHBEARER = 1 << 7,
	MECH_XOAUTH2 = 1 << 8
};

struct m_session_facts {
	const char *verify;	   /* sendmail's {verify} word */
	const char *verify_reason; /* why, in words; "" if OK */
	const char *cert_fp;	   /* SHA-256 of the client certificate or "" */
	const char *cert_user;	   /* user the certificate maps to, or "" */
	uint32_t mechs;		   /* what EHLO may offer */
	uint8_t no_pipelining;	   /* EHLO does not offer PIPELINING */
	uint16_t refuse_code;	   /* 0, or: a TLS requirement is not met, or a
				      Connect entry refuses */
	const char *refuse_esc;
	const char *refuse_text;
};

struct m_auth_start {
	const char *mech;    /* upper case, as sent by the client */
	uint8_t has_initial; /* an initial response came ("=" is an empty one) */
	struct blob data;    /* decoded */
	const char *helo;    /* the client's name as in EHLO */
};

struct m_auth_step {
	struct blob data; /* decoded */
};

struct m_auth_challenge {
	struct blob data; /* to be encoded */
};

struct m_auth_result {
	uint16_t reply;	  /* enum reply (smtp_reply.h): R_AUTH_OK, ... */
	const char *user; /* on success */
	const char *mech;
};

struct m_mail {
	uint32_t txn;	  /* front's number of the transaction in the session */
	const char *from; /* "" is the null reverse-path */
	uint64_t size;	  /* SIZE=, 0 if not given */
	struct mail_options opt;
	const char *helo; /* the client's name as in EHLO */
};

struct m_rcpt {
	uint32_t txn;
	const char *to;
	struct rcpt_options opt;
};

/*
 * Asked when the header of a message is over, unless every author in it is the
 * sender of the envelope, which auth knows to be owned.  Front could lie about
 * what it read, here as there: it sees what its sessions send, and is believed
 * about that.  What it can't do is send for another session.
 */
struct m_headers {
	uint32_t txn;
	struct blob authors; /* authors.h */
};

enum verdict_on { VERDICT_MAIL, VERDICT_RCPT, VERDICT_HEADERS };

/* The answer to M_MAIL, M_RCPT or M_HEADERS.  With code 0 reply names a row of
 * the reply table; else code, esc and text are said, which come from the access
 * map. */
struct m_verdict {
	uint32_t txn;
	uint8_t on;	/* enum verdict_on */
	uint8_t allow;
	uint16_t reply; /* enum reply */
	uint16_t code;
	const char *esc;
	const char *text; /* also the argument of the row, where it has one */
	const char *more; /* its second one; VERDICT_HEADERS that allows: what
			     Sender must say, "" if it may stay as it is */
	const char *user; /* who sends, when known ("" else) */
	uint8_t priority; /* on MAIL: what the mail has, as far as allowed */
	uint8_t headers;  /* VERDICT_MAIL: enum policy_from_header, whether
			     M_HEADERS is to be asked */
};

/* ---- auth and pam ---- */

enum pam_how { PAM_BY_PAM, PAM_BY_SASLAUTHD };

/* The ticket tells one question of a session from the next. */
struct m_pam_check {
	uint32_t ticket;
	uint8_t how; /* enum pam_how */
	const char *user;
	struct blob password;
	const char *client_addr;
};

struct m_token_check {
	uint32_t ticket;
	struct blob token;
};

enum pam_verdict { PAM_RIGHT, PAM_WRONG, PAM_TEMP };

struct m_pam_result {
	uint32_t ticket;
	uint8_t verdict;    /* enum pam_verdict */
	const char *user;   /* M_TOKEN_CHECK: whose token it is, "" else */
	const char *detail; /* for the log */
};

/* ---- auth to queue ---- */

/* The session sid may submit as this user.  A new one replaces the old. */
struct m_grant {
	int64_t user_id;  /* 0: the pseudo-user "map:KEY" */
	const char *user; /* its name, for the log and the records */
	const char *how;  /* "PLAIN", "EXTERNAL", "cert", "map" ... */
	const char *client_addr;
	int64_t device;	    /* 0: none */
	struct blob limits; /* two struct limits: of the user, the device */
};

/* Begins the envelope of transaction txn, replacing any earlier one. */
struct m_envelope {
	uint32_t txn;
	const char *from;
	uint64_t size; /* as declared, 0 if not */
	struct mail_options opt;
	uint8_t headers; /* nothing is accepted without M_HEADERS_OK, but mail
			    whose authors are all `from` */
};

enum envelope_flag { ENVELOPE_DISCARD = 1, ENVELOPE_HOLD = 2 };

struct m_envelope_rcpt {
	uint32_t txn;
	const char *to;
	uint8_t flags;	  /* enum envelope_flag, from the access map */
	const char *note; /* reason of a hold, "" else */
	struct rcpt_options opt;
};

/* Also parent to queue: then what and trouble name it, and an empty text says
 * that it is over. */
struct m_alarm {
	const char *what;    /* "crl" */
	const char *trouble; /* "auth" */
	const char *text;    /* a sentence */
};

/* Before a password is looked at.  The user's name, or what was claimed. */
struct m_throttle_ask {
	uint32_t ticket; /* not 0; comes back in the answer */
	const char *user;
	const char *client_addr;
};

enum seen_result {
	SEEN_RIGHT, /* logged in */
	SEEN_WRONG, /* a wrong password, or nobody's name */
	SEEN_OTHER  /* refused for another reason, with the right password */
};

/* What came of a login, before the client hears of it. */
struct m_auth_seen {
	uint32_t ticket; /* 0: no answer is wanted */
	uint8_t result;	 /* enum seen_result */
	const char *user;
	int64_t device; /* 0: none */
	const char *client_addr;
	const char *client; /* its name as in EHLO */
	uint64_t wrong; /* SEEN_WRONG: which password, a keyed digest */
	uint8_t judge;	/* enum pace_judge */
	uint32_t took_ms; /* SEEN_WRONG: so long that one took */
};

struct m_throttle_answer {
	uint32_t ticket;
	uint8_t refuse; /* whatever the password is */
	uint32_t delay_ms;
	uint8_t again; /* ask once more then, unless a better one comes */
	uint32_t pace_ms; /* what a refusal takes at least (auth/pace.h) */
};

enum decision_phase {
	DECISION_CONNECT,
	DECISION_TLS,
	DECISION_AUTH,
	DECISION_MAIL,
	DECISION_RCPT,
	DECISION_HEADERS
};

/* What auth has decided and why.  With txn, and accepted: it belongs to the
 * message that may come of that transaction. */
struct m_decision {
	uint32_t txn;	/* 0: of the session */
	uint8_t phase;	/* enum decision_phase */
	uint8_t result; /* enum policy_decision (auth/policy.h) */
	const char *why;
	uint16_t code;
	const char *esc;
	const char *text;
	const char *user;
	int64_t device;
	const char *how;
	const char *client_addr;
	const char *client_name;
	const char *verify;
	uint16_t bits;
	const char *cn;
	const char *subject;
	const char *issuer;
	const char *sender;
	const char *rcpt;
	const char *key;
	const char *ladder; /* ladder.h */
};

/* ---- front and queue ---- */

struct m_data_open {
	uint32_t txn;
	uint32_t rcpts; /* that auth has allowed */
};

struct m_txn { /* M_BODY_FILE, M_DATA_ABORT, M_BODY_FD, M_HEADERS_OK */
	uint32_t txn;
};

struct m_data_ready {
	uint32_t txn;
	uint16_t reply; /* R_DATA_GO, or a refusal: R_INSUFFICIENT_STORAGE ... */
	uint64_t qid;	/* the queue id the message will have */
	const char *text; /* the argument of the reply, where it has one */
	uint64_t max_size; /* of this message; 0: as of any other */
};

struct m_submit {
	uint32_t txn;
	uint64_t size;	  /* bytes of header and body, CRLF line ends */
	uint8_t body_kind; /* enum body_kind: what it holds */
	uint8_t in_file;  /* written and synced to the descriptor of M_BODY_FD */
	uint8_t has_id;	  /* the client gave it a Message-ID */
	uint8_t own_author; /* every author in its header is the sender */
	struct blob digest; /* SHA-256 of what the client sent, or nothing */
	struct blob body; /* else all of it */
};

struct m_submitted {
	uint32_t txn;
	uint16_t reply; /* R_QUEUED, or R_LOCAL_ERROR, ... */
	uint64_t qid;
};

/* ---- queue and relay ---- */

struct m_job {
	uint64_t qid;
	const char *from; /* "" is the null reverse-path */
	uint64_t size;
	uint32_t rcpts;	  /* so many M_JOB_RCPT follow */
	struct mail_options opt;
};

struct m_job_rcpt {
	uint64_t qid;
	uint32_t n; /* number of the recipient in the message */
	const char *to;
	struct rcpt_options opt;
};

struct m_job_body { /* inline, or with descriptor (read-only) */
	uint64_t qid;
	struct blob body;
};

enum result_kind { RESULT_DELIVERED, RESULT_DEFERRED, RESULT_FAILED };
enum trouble_kind { /* where a deferral came from: what to alarm about */
	TROUBLE_NONE,
	TROUBLE_REPLY,	 /* the smarthost said 4xx or 5xx to this mail */
	TROUBLE_CONNECT, /* address, route, refused, timeout, lost */
	TROUBLE_DNS,
	TROUBLE_TLS,	 /* no STARTTLS, handshake, chain, name, policy */
	TROUBLE_AUTH,	 /* our login was refused */
	TROUBLE_LOCAL	 /* our own: body unreadable, configuration */
};

struct m_job_result {
	uint64_t qid;
	uint32_t n;
	uint8_t result;	     /* enum result_kind */
	uint8_t trouble;     /* enum trouble_kind */
	uint16_t code;	     /* the smarthost's, 0 if it never answered */
	const char *esc;     /* enhanced code, ours or the smarthost's */
	const char *text;    /* the whole reply, or our own sentence */
	const char *mta;     /* name[address]:port of the smarthost, or "" */
	uint8_t alone;	     /* says nothing of the smarthost: a rule keeps
				this recipient or mail back */
	const char *ruled;   /* of m_server_verdict, "" if none */
	uint8_t handed;	     /* enum handed_over, of what was delivered */
};

/* What the smarthost that has it takes care of from now on, as bits. */
enum handed_over {
	HANDED_DSN = 1 << 0, /* reports as the sender asked for (RFC 3461) */
	HANDED_BY = 1 << 1,  /* the time for delivery (RFC 2852) */
	HANDED_ALL = (1 << 2) - 1
};

struct m_job_done {
	uint64_t qid;
};

struct m_relay_state {
	uint8_t up;	 /* the last attempt reached a verified smarthost */
	uint8_t trouble; /* enum trouble_kind */
	uint32_t connections;
	const char *text; /* why it is down, "" else */
};

/* ---- relay and auth ---- */

/* Kinds of entries of the access map about the smarthost, as bits. */
enum {
	SERVER_RULE_TRY = 1 << 0,  /* Try_TLS */
	SERVER_RULE_TLS = 1 << 1,  /* TLS_Srv */
	SERVER_RULE_RCPT = 1 << 2, /* TLS_Rcpt */
	SERVER_RULES = (1 << 3) - 1
};

struct m_server_rules {
	uint8_t kinds;	/* those the map has: of others nothing is asked */
	uint64_t mark;	/* of the map's content: another map, another mark */
};

/* What is asked about a server. */
enum server_ask {
	SERVER_ASK_TRY, /* before TLS: the facts of TLS are empty */
	SERVER_ASK_TLS, /* after the handshake */
	SERVER_ASK_RCPT /* nothing yet: M_SERVER_RCPT follow */
};

struct m_server_tls {
	uint64_t id;	    /* the asker's own, never 0, never used again */
	uint8_t ask;	    /* enum server_ask */
	const char *host;   /* as configured: name or address */
	const char *addr;   /* as inet_ntop() writes it */
	const char *verify; /* sendmail's {verify} word, of its client side */
	uint16_t tls_bits;
	struct blob chain; /* as in m_session */
};

struct m_server_rcpt {
	uint64_t id; /* of the M_SERVER_TLS */
	uint32_t n;  /* the asker's number of the recipient */
	const char *to;
};

enum server_verdict {
	SERVER_GO,
	SERVER_WAIT,   /* an entry says no, for now */
	SERVER_FAIL,   /* an entry says no, for good (PERM+) */
	SERVER_UNKNOWN /* the map can't be asked now */
};

struct m_server_verdict {
	uint64_t id;
	uint32_t n;	  /* of the recipient, 0 if none was asked about */
	uint8_t verdict;  /* enum server_verdict */
	const char *esc;  /* enhanced code, "" with SERVER_GO */
	const char *text; /* a sentence that names the entry, likewise */
	const char *ruled; /* ruled.h; "" if no entry decided */
};

/* ---- resolver ---- */

enum resolve_kind {
	RESOLVE_HOST,  /* name to addresses */
	RESOLVE_CLIENT /* address to its forward-confirmed name */
};
enum resolve_status { /* sendmail's {client_resolve} */
	RESOLVE_OK,
	RESOLVE_FAIL,	/* no such name, no PTR */
	RESOLVE_TEMP,	/* failed for now */
	RESOLVE_FORGED, /* the name does not lead back to the address */
	RESOLVE_PENDING /* no answer yet */
};

struct m_resolve {
	uint64_t id; /* the asker's own */
	uint8_t kind;
	const char *name; /* a host name, or the address */
};

struct m_resolved {
	uint64_t id;
	uint8_t status;
	const char *name;   /* RESOLVE_CLIENT: the name */
	const char *addrs;  /* RESOLVE_HOST: addresses, space between */
	uint8_t secure;	    /* the answer was DNSSEC-validated */
	const char *detail; /* what went wrong */
};

/* ---- packing ---- */

/* Packs msg (its struct belongs to type) into out; returns the length, 0 if
 * a field is longer than its bound: a bug of ours, or text to be cut first. */
size_t proto_pack(enum msg_type type, uint64_t sid, const void *msg,
    unsigned char *out, size_t size);

union msg {
	struct m_conf conf;
	struct m_pem pem;
	struct m_listen listen;
	struct m_table table;
	struct m_peer peer;
	struct m_start start;
	struct m_drain drain;
	struct m_role role;
	struct m_text text;
	struct m_bad_peer bad_peer;
	struct m_empty empty;
	struct m_rehash rehash;
	struct m_session session;
	struct m_session_facts session_facts;
	struct m_auth_start auth_start;
	struct m_auth_step auth_step;
	struct m_auth_challenge auth_challenge;
	struct m_auth_result auth_result;
	struct m_mail mail;
	struct m_rcpt rcpt;
	struct m_headers headers;
	struct m_verdict verdict;
	struct m_pam_check pam_check;
	struct m_token_check token_check;
	struct m_pam_result pam_result;
	struct m_grant grant;
	struct m_envelope envelope;
	struct m_envelope_rcpt envelope_rcpt;
	struct m_alarm alarm;
	struct m_throttle_ask throttle_ask;
	struct m_auth_seen auth_seen;
	struct m_throttle_answer throttle_answer;
	struct m_decision decision;
	struct m_data_open data_open;
	struct m_txn txn;
	struct m_data_ready data_ready;
	struct m_submit submit;
	struct m_submitted submitted;
	struct m_job job;
	struct m_job_rcpt job_rcpt;
	struct m_job_body job_body;
	struct m_job_result job_result;
	struct m_job_done job_done;
	struct m_relay_state relay_state;
	struct m_server_rules server_rules;
	struct m_server_tls server_tls;
	struct m_server_rcpt server_rcpt;
	struct m_server_verdict server_verdict;
	struct m_resolve resolve;
	struct m_resolved resolved;
};

/* Checks and unpacks one packet, which must be writable by nobody else and
 * aligned as malloc aligns.  0, or -1 with *why a constant text. */
int proto_unpack(const unsigned char *in, size_t len, enum msg_type *type,
    uint64_t *sid, union msg *msg, const char **why);

/* Whether a message of this type may bring a descriptor. */
bool proto_may_carry_fd(enum msg_type);
const char *proto_name(enum msg_type);

#endif
