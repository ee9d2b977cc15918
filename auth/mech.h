/*
 * What is behind sasl.h: a conversation from the inside, shared by sasl.c,
 * by what Cyrus calls back (mech_user.c, mech_scram.c) and by our own
 * mechanisms (mech_plain.c, mech_login.c, mech_oauth.c).  A verdict is kept in
 * the conversation, since Cyrus turns the codes of its own password check into
 * others.
 */
#ifndef AUTH_MECH_H
#define AUTH_MECH_H

#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdbool.h>

#include "gs2.h"
#include "sasl.h"

#define SCRAM_BITS SASL_MECH_PROOFS
#define PLUS_BITS                                                              \
	((uint32_t)(SASL_MECH_SCRAM_SHA_256_PLUS | SASL_MECH_SCRAM_SHA_1_PLUS))
#define OAUTH_BITS  SASL_MECH_TOKENS
#define BINDING_MAX 64 /* octets of a value */
#define FQDN_MAX    255

enum mech_state {
	ST_NEW,    /* Cyrus has not been started */
	ST_FIRST,  /* it waits for the client's first message */
	ST_NEXT,   /* it waits for a later one */
	ST_WAIT,   /* it waits for sasl_conv_resume() */
	ST_ANSWER, /* which was called: the mechanism is stepped again */
	ST_LAST,   /* SCRAM: the server's proof is sent, an empty line is due */
	ST_DONE    /* there was a verdict */
};

struct mech_binding {
	char name[GS2_NAME_MAX];
	unsigned char data[BINDING_MAX];
	size_t len;
};

struct sasl_conv {
	uint32_t bit, usable;
	char mech[24]; /* as Cyrus calls it: without -PLUS */
	sasl_conn_t *conn;
	sasl_callback_t callbacks[5];
	void *arg;
	char cert_user[SASL_USER_MAX + 1];
	struct mech_binding binding[SASL_BINDINGS_MAX];
	size_t nbinding;
	sasl_channel_binding_t cyrus_binding; /* Cyrus keeps its address */

	enum mech_state state;
	const char *challenge;
	size_t challenge_len;
	char expect_c[512]; /* SCRAM: "c=" and its value, as it must come */

	char claimed[SASL_USER_MAX + 1];
	char user[SASL_USER_MAX + 1]; /* canonical; "" before it is known */
	enum sasl_user known;
	struct sasl_account account;
	enum sasl_pw pw; /* SASL_PW_WRONG until a check said otherwise */
	char token_user[SASL_USER_MAX + 1]; /* whose token it is */
	bool real_record; /* SCRAM runs on the account's own record */
	bool transition;  /* it has none for it, but another */
	int64_t device;

	char *held; /* the password, to be checked again; wiped at the end */
	size_t held_len;
	uint64_t digest; /* of the password that was sent */
	bool has_digest;

	bool temp, malformed, guess;
	bool needs_cert; /* weak: of this user a certificate only */
	enum sasl_rc verdict;
	char detail[200];
};

enum { MECH_SECRET = 32 };

/* What sasl_global_init() was given. */
struct mech_global {
	bool ready;
	struct sasl_callbacks cb;
	char fqdn[FQDN_MAX + 1];
	unsigned char *secret; /* MECH_SECRET bytes of secret.h */
	unsigned iterations;
	bool sha1;
	struct sasl_shape shape[SASL_SHAPES_MAX];
	size_t nshape;
};

extern struct mech_global mech_global;

/* Notes why it failed.  The first detail stays: it is nearest to the cause. */
__attribute__((format(printf, 2, 3))) void mech_detail(
    struct sasl_conv *, const char *fmt, ...);

/* ---- for sasl.c ---- */

/* Names of options, with no conversation behind it: for the whole library. */
int mech_getopt(void *conv, const char *plugin, const char *option,
    const char **result, unsigned *len);
int mech_log(void *, int level, const char *message);

/* The callbacks of one conversation, ended by SASL_CB_LIST_END. */
void mech_set_callbacks(struct sasl_conv *);

/* The plugin that hands the record of an account to SCRAM (mech_scram.c). */
sasl_auxprop_init_t mech_aux_init;

/*
 * A record that no password matches, for a name that is nobody's; *lacking is
 * whether the name looks like a user who has none of this mechanism.
 */
int mech_fake_record(const char *user, const char *mech,
    char out[SCRAM_RECORD_MAX], bool *lacking);

#define MECH_PROC(f) ((sasl_callback_ft)(void (*)(void))(f))

/* ---- for the mechanisms ---- */

/* The conversation; NULL only for a connection that is not ours. */
struct sasl_conv *mech_conv(const sasl_utils_t *);

/*
 * Makes both names canonical.  An empty authzid stands for the user itself.
 * Returns SASL_OK, or the code to return from the step.
 */
int mech_identify(sasl_server_params_t *, sasl_out_params_t *,
    const char *authzid, size_t zlen, const char *authcid, size_t clen);

/*
 * Checks the password of the user found by mech_identify().  SASL_CONTINUE:
 * the answer comes later; return it with no output, and the mechanism is
 * stepped again once it is there (mech_waiting()).
 */
int mech_password(struct sasl_conv *, const char *password, size_t len);

/* Checks the password that was held; sets conv->pw. */
void mech_password_again(struct sasl_conv *);

/* Wipes it. */
void mech_forget(struct sasl_conv *);

/* True in the step that follows SASL_CONTINUE of mech_password(). */
bool mech_waiting(const struct sasl_conv *);

/* The code that stands for the answer; mech_waiting() was true. */
int mech_answer(struct sasl_conv *);

/* The same two for a token; with SASL_OK token_user says whose it is. */
int mech_token(struct sasl_conv *, const char *token, size_t len);
int mech_token_answer(struct sasl_conv *);

/* The response breaks the mechanism's syntax: returns the code. */
int mech_malformed(struct sasl_conv *, const char *why);

/* Fills the out parameters of a finished exchange; returns SASL_OK. */
int mech_done(sasl_out_params_t *);

sasl_server_plug_init_t mech_plain_init, mech_login_init, mech_oauth_init;

#endif
