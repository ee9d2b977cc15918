/*
 * TLS requirements: the entries TLS_Clt, TLS_Srv, TLS_Rcpt and TLS_User, and
 * the judgement of a session by one of them.  All return true when the
 * session is refused.
 */
#ifndef AUTH_TLSREQ_H
#define AUTH_TLSREQ_H

#include "policy_int.h"

bool tlsreq_client(struct policy_ctx *);
bool tlsreq_server(struct policy_ctx *);
bool tlsreq_rcpt(struct policy_ctx *);
bool tlsreq_user(struct policy_ctx *);

#endif
