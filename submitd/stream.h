/*
 * A connected TCP socket in the event loop: buffered, non-blocking, in clear
 * at first and under TLS after stream_starttls().
 *
 * Events reach the owner from the loop only, never from inside a stream_*()
 * call.  The owner may free the stream in its callback.
 */
#ifndef SUBMITD_STREAM_H
#define SUBMITD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"

struct event_base;
struct stream;
struct tls_ctx; /* tls.h */

enum stream_event {
	STREAM_CONNECTED, /* stream_connect() succeeded */
	STREAM_INPUT,     /* there are bytes in stream_input() */
	STREAM_TLS_UP,    /* the handshake is done */
	STREAM_DRAINED,   /* everything written has left */
	STREAM_EOF,       /* the peer closed, with or without close_notify */
	STREAM_TIMEOUT,   /* the deadline passed */
	STREAM_ERROR      /* stream_error() says what */
};

typedef void stream_cb(struct stream *, enum stream_event, void *arg);

/* Takes a connected fd (made non-blocking, TCP_NODELAY). */
struct stream *stream_new(struct event_base *, int fd, stream_cb *, void *arg);
/* Begins to connect to a numeric address; NULL with errno if that cannot even
 * be tried.  STREAM_CONNECTED or STREAM_ERROR follows. */
struct stream *stream_connect(struct event_base *, const char *addr,
    uint16_t port, stream_cb *, void *arg);
/* Closes at once; NULL in is fine; NULL out always. */
void stream_free(struct stream **);

/*
 * Handshake from here on: plaintext is never read again on this descriptor.
 * What is still to be written goes out first, in clear; the input buffer must
 * be empty (assert), since bytes behind STARTTLS are an injection.  name: NULL
 * for a server; else the server's name, for SNI and verification (a numeric
 * address is matched as such, without SNI).
 */
void stream_starttls(struct stream *, struct tls_ctx *, const char *name);
bool stream_is_tls(const struct stream *);

/*
 * A handshake costs a thousand times what a line costs. With a gate each of
 * its steps asks first; false puts the step off until stream_proceed(), and
 * nothing is read meanwhile.
 */
void stream_set_gate(struct stream *, bool (*may)(void *arg));
void stream_proceed(struct stream *);

/* What has arrived; the owner takes from it with buf_drop(). */
struct buf *stream_input(struct stream *);
/* So much is held unread before TCP holds the peer back (128 KiB at first). */
void stream_limit_input(struct stream *, size_t bytes);
/* No more input events until resumed; the peer is then held back by TCP. */
void stream_pause(struct stream *);
/* If the input buffer is not empty, STREAM_INPUT comes from the loop. */
void stream_resume(struct stream *);

void stream_write(struct stream *, const void *, size_t);
/* What is written waits until this is called with false, or for a handshake to
 * begin: it then leaves in one piece. */
void stream_cork(struct stream *, bool on);
/* Bytes not yet handed to the kernel. */
size_t stream_pending(const struct stream *);
/* Before stream_free(): hands over what the kernel takes now. */
void stream_flush(struct stream *);

/* What is written now is the last: it leaves together with the end that
 * stream_finish() tells. */
void stream_last(struct stream *);

/* STREAM_TIMEOUT in ms from now unless set anew; 0: none. */
void stream_deadline(struct stream *, int64_t ms);

/* After STREAM_DRAINED tells the peer that nothing more comes (close_notify
 * and a half close), so that a last reply is not lost in a reset. */
void stream_finish(struct stream *);

/* A sentence about the last error: system call, TLS alert, or why the peer's
 * certificate was refused.  Valid until the stream is freed. */
const char *stream_error(const struct stream *);
/* The error came from TLS: handshake, chain, name. */
bool stream_error_is_tls(const struct stream *);

/* An address as text, a mapped IPv4 address as IPv4; "" if unknown. */
struct sockaddr_storage;
void stream_addr_text(
    const struct sockaddr_storage *, char *addr, size_t len, uint16_t *port);
/* That of our end. */
void stream_local(
    const struct stream *, char *addr, size_t len, uint16_t *port);

/* What the handshake agreed on; the strings are constants. */
struct stream_tls {
	const char *version; /* "TLSv1.3" */
	const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
	int bits;
	bool resumed;
};
void stream_tls_info(const struct stream *, struct stream_tls *);
/* For stream_tls.c: NULL without TLS. */
struct ssl_st *stream_ssl(const struct stream *);
/* The peer's chain as DER, u32 length (host order) and bytes each, leaf
 * first; at most max bytes: certificates that do not fit are left out. */
void stream_tls_chain(const struct stream *, struct buf *out, size_t max);
/* Channel bindings: tls-exporter (RFC 9266; TLS 1.3, or 1.2 with extended
 * master secret), tls-unique (RFC 5929; TLS 1.2 with it) and
 * tls-server-end-point (RFC 5929) of our own certificate; len is 0 where there
 * is none. */
void stream_tls_exporter(
    const struct stream *, unsigned char out[32], size_t *len);
void stream_tls_unique(
    const struct stream *, unsigned char out[64], size_t *len);
void stream_tls_endpoint(
    const struct stream *, unsigned char out[64], size_t *len);

#endif
