/*
 * TLS contexts: what a server offers and what a client demands.  stream.c
 * runs the handshakes.  Everything is made from bytes in memory, since the
 * roles that speak TLS can open no file.
 */
#ifndef SUBMITD_TLS_H
#define SUBMITD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"

struct tls_ctx;
struct ssl_st; /* OpenSSL's SSL, for stream.c only */

/*
 * A server: TLS 1.2 and 1.3, its chain and key in PEM.  A client certificate
 * is asked for with an empty CA list and any is let through the handshake:
 * who it names is decided by auth.  NULL with a sentence in err.
 */
struct tls_ctx *tls_server_new(const struct buf *cert, const struct buf *key,
    char *err, size_t errlen);

/*
 * A client: TLS 1.2 up, chain verified against the CAs in ca (PEM), host name
 * verified by subject alternative names only.  cert and key may be empty.
 * There is no way to switch verification off.  NULL with a sentence in err.
 */
struct tls_ctx *tls_client_new(const struct buf *ca, const struct buf *cert,
    const struct buf *key, char *err, size_t errlen);

/*
 * A server: its clients may resume a session for so long, by tickets that the
 * first key makes; the others are read, too.  Every server with the same keys
 * reads them.  The keys are copied; those of before are wiped.  len 0, as at
 * first: no tickets.  A session with a client certificate is never resumed.
 */
enum { TLS_TICKET_KEY = 16 + 32 + 32, TLS_TICKET_KEYS = 2 };
void tls_set_tickets(
    struct tls_ctx *, const void *keys, size_t len, int64_t lifetime_s);

void tls_ctx_free(struct tls_ctx **);

/* For parent's checks: does this chain and key fit each other, is the leaf
 * within its dates; 0 or -1 with a sentence. */
int tls_check_pair(const struct buf *cert, const struct buf *key, char *err,
    size_t errlen);
/* Does a PEM bundle hold at least one certificate; 0 or -1. */
int tls_check_bundle(const struct buf *ca, char *err, size_t errlen);

/* For stream.c: a new SSL of this context; name as in stream_starttls(). */
struct ssl_st *tls_new(struct tls_ctx *, const char *name);
bool tls_is_client(const struct tls_ctx *);

#endif
