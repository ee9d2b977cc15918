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
struct ssl_st;	/* OpenSSL's SSL, for stream.c only */
struct x509_st; /* and its X509 */

/*
 * TLS 1.2 and 1.3 in any case, never renegotiation or compression.  Modern:
 * under 1.2 only ECDHE (a client: DHE, too) with authenticated encryption.
 * Compatible, for old devices: also CBC, and no forward secrecy if the other
 * side knows nothing better.
 */
enum tls_policy { TLS_MODERN, TLS_COMPATIBLE };

enum { TLS_CHAINS_MAX = 32 };

/* Makes ready what all contexts need, before there is one. */
void tls_warm(void);

/*
 * A server: its chains and their keys in PEM, as many of the ones as of the
 * others, in frames (frames.h).  Which chain a client is shown follows from
 * the name it asks for (tlsname.h) and the signatures it knows.  A client that
 * offers protocols by ALPN (RFC 7301), and not that of mail, is refused: it
 * was led here from another service, or leads somebody.
 *
 * A client certificate is asked for with an empty CA list and any is let
 * through the handshake: who it names is decided by auth.  NULL with a
 * sentence in err.
 */
struct tls_ctx *tls_server_new(const struct buf *certs, const struct buf *keys,
    enum tls_policy, char *err, size_t errlen);

/*
 * A client: TLS 1.2 up, chain verified against the CAs in ca (PEM), host name
 * verified by subject alternative names only.  cert and key may be empty.
 * There is no way to switch verification off.  NULL with a sentence in err.
 */
struct tls_ctx *tls_client_new(const struct buf *ca, const struct buf *cert,
    const struct buf *key, enum tls_policy, char *err, size_t errlen);

/*
 * A server: its clients may resume a session for so long, by tickets that the
 * first key makes; the others are read, too.  Every server with the same keys
 * reads them.  The keys are copied; those of before are wiped.  len 0, as at
 * first: no tickets.  A session with a client certificate is never resumed, nor
 * is one whose client was shown a certificate that this server has not (any
 * more): a login could not be bound to it (RFC 5929 section 4).
 */
enum { TLS_TICKET_KEY = 16 + 32 + 32, TLS_TICKET_KEYS = 2 };
void tls_set_tickets(
    struct tls_ctx *, const void *keys, size_t len, int64_t lifetime_s);

/*
 * A server: OCSP responses that go with its chains (RFC 6066 section 8), a
 * frame for each chain in their order: empty, or until when it is good (i64,
 * seconds since 1970) and the DER that tls_check_staple() found to be good.
 * Past that time it is not sent.
 */
void tls_set_staples(struct tls_ctx *, const struct buf *frames);

void tls_ctx_free(struct tls_ctx **);

/* For parent's checks: does this chain and key fit each other, is the leaf
 * within its dates; 0 or -1 with a sentence. */
int tls_check_pair(
    const struct buf *cert, const struct buf *key, char *err, size_t errlen);
/* Does a PEM bundle hold at least one certificate; 0 or -1. */
int tls_check_bundle(const struct buf *ca, char *err, size_t errlen);

/*
 * Is der an OCSP response (RFC 6960) that says of the first certificate of the
 * chain (PEM), now, that it is good, signed by its issuer, which must be in
 * the chain, or in its name?  0 and until when, or -1 with a sentence: "it is
 * not for this certificate".
 */
int tls_check_staple(const struct buf *cert, const struct buf *der, int64_t now,
    int64_t *until, char *err, size_t errlen);
/* Whether clients may refuse it without a response (RFC 7633). */
bool tls_must_staple(const struct buf *cert);

/* For stream.c: once the handshake is over, what only it needed is freed. */
void tls_shook_hands(struct ssl_st *);
/* The certificate that we have shown, or have shown when the session began
 * that was resumed; NULL if there is none.  It stays the context's. */
struct x509_st *tls_own(struct ssl_st *);
/* For stream.c: a new SSL of this context; name as in stream_starttls(). */
struct ssl_st *tls_new(struct tls_ctx *, const char *name);
bool tls_is_client(const struct tls_ctx *);

#endif
