/*
 * What our own Cyrus mechanisms (mech_plain.c, mech_login.c) share with
 * sasl.c: the conversation behind a Cyrus connection, and the check of a
 * password.  A verdict is kept in the conversation, since Cyrus turns the
 * codes of its own password check into others.
 */
#ifndef AUTH_MECH_H
#define AUTH_MECH_H

#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdbool.h>

#include "sasl.h"

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

/* True in the step that follows SASL_CONTINUE of mech_password(). */
bool mech_waiting(const struct sasl_conv *);

/* The code that stands for the answer; mech_waiting() was true. */
int mech_answer(struct sasl_conv *);

/* The response breaks the mechanism's syntax: returns the code. */
int mech_malformed(struct sasl_conv *, const char *why);

/* Fills the out parameters of a finished exchange; returns SASL_OK. */
int mech_done(sasl_out_params_t *);

sasl_server_plug_init_t mech_plain_init, mech_login_init;

#endif
