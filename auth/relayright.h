/*
 * The right to relay: who or which entry gives it.
 */
#ifndef AUTH_RELAYRIGHT_H
#define AUTH_RELAYRIGHT_H

#include "policy_int.h"

enum relayright {
	RELAYRIGHT_NONE,    /* nothing gives it */
	RELAYRIGHT_DECIDED, /* refused; the verdict is filled */
	RELAYRIGHT_STRONG,  /* a user, a certificate or a login gives it */
	RELAYRIGHT_WEAK,    /* the recipient or the client's host gives it */
};

/* A certificate whose issuer, or issuer and subject, have RELAY. */
enum relayright relayright_cert(struct policy_ctx *);

/* The host of the client: its address, then its name. */
enum relayright relayright_host(struct policy_ctx *);

/* Everything, for the recipient in the facts. */
enum relayright relayright_rcpt(struct policy_ctx *);

/* "550 Relaying denied", or 451 if a look-up for the recipient failed. */
bool relayright_deny(struct policy_ctx *);

#endif
