/*
 * SASL for AUTH (RFC 4954, RFC 4422) through Cyrus SASL, which is not named
 * here.  One struct sasl_conv is one AUTH command, from its first line to its
 * verdict; it is never used again.  Buffers are plain octets: base64 is the
 * caller's.  For one thread.  Nothing here logs, waits or opens a file after
 * sasl_global_init(), but for the random device.
 *
 * Credentials come from callbacks.  They are called from inside
 * sasl_conv_start(), sasl_conv_step() and sasl_conv_resume().
 */
#ifndef AUTH_SASL_H
#define AUTH_SASL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/scram.h"

#define SASL_USER_MAX   255  /* octets of a user name */
#define SASL_CREDS_MAX  64   /* records of one user that are tried */
#define SASL_LINE_MAX   9216 /* octets of a decoded response */
#define SASL_RECORD_MAX 512  /* octets of a password record and its NUL */
#define SASL_NAMES_MAX  160  /* octets of all mechanism names and the NUL */

/* Mechanisms as bits, in the order in which they are offered. */
enum sasl_mech {
	SASL_MECH_SCRAM_SHA_256_PLUS = 1u << 0,
	SASL_MECH_SCRAM_SHA_256 = 1u << 1,
	SASL_MECH_SCRAM_SHA_1_PLUS = 1u << 2,
	SASL_MECH_SCRAM_SHA_1 = 1u << 3,
	SASL_MECH_EXTERNAL = 1u << 4,
	SASL_MECH_PLAIN = 1u << 5,
	SASL_MECH_LOGIN = 1u << 6,
	SASL_MECH_OAUTHBEARER = 1u << 7,
	SASL_MECH_XOAUTH2 = 1u << 8
};

/* All but SHA-1, and tokens, which an administrator must ask for. */
#define SASL_MECH_DEFAULT                                                      \
	((uint32_t)(SASL_MECH_SCRAM_SHA_256_PLUS | SASL_MECH_SCRAM_SHA_256 |   \
	    SASL_MECH_EXTERNAL | SASL_MECH_PLAIN | SASL_MECH_LOGIN))

/* Those by which a password is proved; those that take tokens. */
#define SASL_MECH_PROOFS                                                       \
	((uint32_t)(SASL_MECH_SCRAM_SHA_256_PLUS | SASL_MECH_SCRAM_SHA_256 |   \
	    SASL_MECH_SCRAM_SHA_1_PLUS | SASL_MECH_SCRAM_SHA_1))
#define SASL_MECH_TOKENS ((uint32_t)(SASL_MECH_OAUTHBEARER | SASL_MECH_XOAUTH2))
/* Those for which the store must have records of SHA-1. */
#define SASL_MECH_SHA_1                                                        \
	((uint32_t)(SASL_MECH_SCRAM_SHA_1_PLUS | SASL_MECH_SCRAM_SHA_1))

/* What a session has to show; decides which mechanisms can be offered. */
struct sasl_offer {
	uint32_t enabled; /* bits the configuration allows here */
	bool tls;         /* without it there is no AUTH at all */
	bool cert;        /* a certificate that is mapped to a user */
	bool binding;     /* one channel binding value at least */
};

/* The mechanisms usable in such a session. */
uint32_t sasl_mech_usable(const struct sasl_offer *);

/*
 * Names of the mechanisms in mask, best first, blank separated: the text
 * behind "AUTH " in the EHLO reply.  Returns its length; 0 for an empty mask
 * or a buffer shorter than SASL_NAMES_MAX.
 */
size_t sasl_mech_names(uint32_t mask, char *out, size_t outlen);

/* The bit of a name in any case; 0 if there is no such mechanism. */
uint32_t sasl_mech_bit(const char *name);

/*
 * The bits of names with blanks or commas between.  -1 if a word is none:
 * *bad is that word then, *len its length.
 */
int sasl_mech_list(
    const char *text, uint32_t *mask, const char **bad, size_t *len);

/* Is a mechanism with SHA-1 among the names?  False if a word is none. */
bool sasl_mech_list_has_sha1(const char *text);

/* The name of one bit; "" if it is none. */
const char *sasl_mech_name(uint32_t bit);

/* True where the client sends the password itself. */
bool sasl_mech_is_plaintext(uint32_t bit);

/* What an account lookup found. */
enum sasl_user {
	SASL_USER_FOUND,
	SASL_USER_UNKNOWN,
	SASL_USER_DISABLED, /* known, must not log in */
	SASL_USER_TEMP      /* the store can't say now */
};

/* One password record and whose it is. */
struct sasl_cred {
	int64_t device; /* 0: the account's own, which serves SCRAM too */
	char record[SASL_RECORD_MAX];
};

/* An account as the lookup callback fills it. */
struct sasl_account {
	uint32_t mechs; /* bits this user may log in by; 0: any */
	struct sasl_cred *cred;
	size_t ncred;
};

/*
 * For the lookup callback: adds a record.  Returns -1 if there are
 * SASL_CREDS_MAX already, the text is too long, or there is no memory.
 */
int sasl_account_add(struct sasl_account *, int64_t device, const char *record);

/* Wipes and frees the records; the struct can be used again. */
void sasl_account_clear(struct sasl_account *);

/* What a password check found. */
enum sasl_pw {
	SASL_PW_OK,
	SASL_PW_WRONG,
	SASL_PW_TEMP,
	SASL_PW_LATER, /* the answer comes by sasl_conv_resume() */
	SASL_PW_HOLD   /* keep it: sasl_conv_again() asks once more */
};

struct sasl_conv;

struct sasl_callbacks {
	/*
	 * The user a login name means (plain name, or an address of the
	 * user): writes the user's one canonical name to out.  For an unknown
	 * name out is left alone and SASL_USER_UNKNOWN returned.  The name is
	 * valid UTF-8 of 1 to SASL_USER_MAX octets without blanks and
	 * controls.
	 */
	enum sasl_user (*resolve)(
	    void *arg, const char *name, char out[SASL_USER_MAX + 1]);
	/* The account of a canonical name; fills the zeroed struct. */
	enum sasl_user (*lookup)(
	    void *arg, const char *user, struct sasl_account *out);
	/*
	 * Whom a name that is nobody's resembles: the user of the same name
	 * before the "@", say.  Writes this user's canonical name to out and
	 * fills the zeroed account, or returns SASL_USER_UNKNOWN.  Else to ask
	 * for a name with and without a domain would tell users from others.
	 * NULL: nobody resembles anybody.
	 */
	enum sasl_user (*alike)(void *arg, const char *name,
	    char out[SASL_USER_MAX + 1], struct sasl_account *account);
	/*
	 * Checks a password (PLAIN, LOGIN).  NULL: sasl_account_check().  Is
	 * called for unknown and disabled users as well, with an account of
	 * one record that no password matches, so that they cost the same;
	 * what it says of them is overruled.  *device is 0 at the call.
	 * arg is the conversation's.
	 */
	enum sasl_pw (*check)(void *arg, struct sasl_conv *, const char *user,
	    const struct sasl_account *, const char *password, size_t len,
	    int64_t *device);
	/*
	 * Checks a bearer token (OAUTHBEARER, XOAUTH2): SASL_PW_OK with the
	 * name of its owner, as it would be typed at a login.  NULL: there
	 * are no tokens.
	 */
	enum sasl_pw (*token)(void *arg, struct sasl_conv *, const char *token,
	    size_t len, char user[SASL_USER_MAX + 1]);
};

/*
 * Tries the password against each record.  *index becomes the place of the
 * first that matches.  Neighbours that share salt and iterations cost one
 * derivation together.
 */
enum sasl_pw sasl_account_match(const struct sasl_account *,
    const char *password, size_t len, size_t *index);
/* The same; *device becomes the owner's. */
enum sasl_pw sasl_account_check(const struct sasl_account *,
    const char *password, size_t len, int64_t *device);

struct sasl_config {
	struct sasl_callbacks cb;
	const char *fqdn;            /* this host's name, not empty */
	const unsigned char *secret; /* of 32 bytes, for records of nobody */
	unsigned iterations; /* of those without shapes; 0: SCRAM_ITER_DEFAULT */
	bool sha1; /* records of SCRAM-SHA-1 are in the store */
};

/*
 * Once per process, before any conversation.  Copies what it needs.  Loads
 * libscram and nothing else: no configuration file, no sasldb.  Environment
 * variables SASL_PATH and SASL_CONF_PATH are cleared.  Returns 0, or -1 with
 * a sentence in err, e.g. if libsasl2-modules is not installed.
 */
int sasl_global_init(const struct sasl_config *, char *err, size_t errlen);

/* Replaces the secret of sasl_config, for one that is known only later. */
void sasl_global_secret(const unsigned char secret[32]);

/*
 * What SCRAM shows of users before any proof.  Names that are nobody's are
 * spread over these shapes by a keyed hash, in proportion; without any they
 * look as the configuration makes records.
 */
struct sasl_shape {
	bool sha1;           /* of SCRAM-SHA-1, else of SCRAM-SHA-256 */
	unsigned iterations; /* 0: a user who has no such record yet */
	unsigned salt_len;
	uint64_t users;
};
#define SASL_SHAPES_MAX 32

/*
 * Copied.  Order matters: shapes that go out of use come first.  As users
 * leave them, names that are nobody's move on to later ones, never back.
 */
void sasl_global_shapes(const struct sasl_shape *, size_t n);

void sasl_global_done(void);

/* Verdicts, with the SMTP reply each stands for (RFC 4954 sections 4, 6). */
enum sasl_rc {
	SASL_RC_OK,        /* 235 2.7.0 */
	SASL_RC_CONTINUE,  /* 334 challenge */
	SASL_RC_WAIT,      /* none yet: sasl_conv_resume() will say */
	SASL_RC_BAD,       /* 535 5.7.8 */
	SASL_RC_TEMP,      /* 454 4.7.0 */
	SASL_RC_MALFORMED, /* 501 5.5.2 */
	SASL_RC_CANCELLED, /* 501 5.7.0 */
	SASL_RC_NOMECH,    /* 504 5.5.4 */
	SASL_RC_WEAK,      /* 534 5.7.9: not good enough for this user */
	/*
	 * 432 4.7.12: a login by PLAIN or LOGIN, which are offered, must come
	 * first.  Said of a user with a password but no record for this SCRAM,
	 * and of names that are nobody's in proportion (sasl_shape).
	 */
	SASL_RC_TRANSITION,
	SASL_RC_ENCRYPT,   /* 538 5.7.11 */
	SASL_RC_LOCKED     /* 454 4.7.0: too many guesses; the caller's own */
};

/* A short word for the log: "ok", "bad", "temp"... */
const char *sasl_rc_word(enum sasl_rc);

/* A channel binding value (RFC 5929, RFC 9266). */
struct sasl_binding {
	const char *name; /* "tls-exporter", "tls-server-end-point" */
	const unsigned char *data;
	size_t len;
};

#define SASL_BINDINGS_MAX 4

/* One AUTH command.  Everything is copied. */
struct sasl_params {
	const char *mech;      /* as the client wrote it */
	uint32_t usable;       /* what this session was offered */
	unsigned tls_bits;     /* strength of the cipher; 0: no TLS */
	const char *cert_user; /* NULL, or the user of the certificate */
	const struct sasl_binding *binding;
	size_t nbinding;
	void *arg; /* for the callbacks */
};

/*
 * Begins.  response is the decoded initial response; NULL if the command had
 * none ("=" is an empty one).  *out is a conversation with SASL_RC_CONTINUE
 * and SASL_RC_WAIT, and also after a verdict, for the facts below; NULL only
 * with SASL_RC_NOMECH, SASL_RC_ENCRYPT and SASL_RC_TEMP.
 */
enum sasl_rc sasl_conv_start(struct sasl_conv **out, const struct sasl_params *,
    const unsigned char *response, size_t len);

/*
 * The client's next line, decoded.  After any other verdict than
 * SASL_RC_CONTINUE there is no next step: SASL_RC_BAD.
 */
enum sasl_rc sasl_conv_step(
    struct sasl_conv *, const unsigned char *response, size_t len);

/* The client sent "*", or a line that is no base64.  Ends the conversation. */
enum sasl_rc sasl_conv_cancel(struct sasl_conv *);

/* The answer after SASL_RC_WAIT; SASL_PW_LATER is not one. */
enum sasl_rc sasl_conv_resume(struct sasl_conv *, enum sasl_pw, int64_t device);

/*
 * After SASL_RC_WAIT for SASL_PW_HOLD: calls the check with the same password
 * again, which may not say SASL_PW_HOLD this time.
 */
enum sasl_rc sasl_conv_again(struct sasl_conv *);

/*
 * The accounts have changed since.  Before sasl_conv_again(): looks the
 * account up again.
 */
void sasl_conv_refresh(struct sasl_conv *);
/*
 * The same after a verdict of SASL_RC_OK: true if the account is what it was,
 * or the password that was sent is right by what it is now.
 */
bool sasl_conv_still_stands(struct sasl_conv *);

/* As sasl_conv_resume(), after the check of a token; user is its owner with SASL_PW_OK. */
enum sasl_rc sasl_conv_resume_token(
    struct sasl_conv *, enum sasl_pw, const char *user);

/* Says why it will fail, if nothing has been said yet: for the log. */
void sasl_conv_note(struct sasl_conv *, const char *why);

/* Wipes what is secret.  NULL in is fine; NULL out always. */
void sasl_conv_free(struct sasl_conv **);

/* With SASL_RC_CONTINUE: the challenge, valid until the next call. */
const unsigned char *sasl_conv_challenge(const struct sasl_conv *, size_t *len);

/* With SASL_RC_OK: who it is; else NULL. */
const char *sasl_conv_user(const struct sasl_conv *);

/* With SASL_RC_OK: the device whose password was used; 0 for none. */
int64_t sasl_conv_device(const struct sasl_conv *);

/* The mechanism's bit; that of -PLUS where a binding was used. */
uint32_t sasl_conv_mech(const struct sasl_conv *);

/* With SASL_RC_WEAK: nothing but a certificate is taken of this user. */
bool sasl_conv_needs_cert(const struct sasl_conv *);

/*
 * The name the client claimed, "" before it is known: for the log and for
 * counting failures, and untrusted.
 */
const char *sasl_conv_claimed(const struct sasl_conv *);

/* Why it failed, for the log only; "" if there is nothing to say. */
const char *sasl_conv_detail(const struct sasl_conv *);

/*
 * True if a failure was a wrong password or proof, or a name without an
 * account: what counts as guessing.
 */
bool sasl_conv_is_guess(const struct sasl_conv *);

/*
 * Whose login it is about: the user's canonical name, or the name claimed if it
 * is nobody's; "" before it is known.
 */
const char *sasl_conv_name(const struct sasl_conv *);

/*
 * A number for the password that was sent, by an HMAC with the secret of
 * sasl_config and the name: the same for the same wrong password of a user.
 * False where the mechanism does not show it.
 */
bool sasl_conv_digest(const struct sasl_conv *, uint64_t *digest);

#endif
