/*
 * One end of a socket pair to another role (proto.h).  A packet is a message,
 * or several: then u16 IPC_SEVERAL and 6 zero bytes, and before each of them
 * its length as u32 and a u32 of zero; each is filled up to a multiple of 8
 * bytes.  A descriptor belongs to the last.
 *
 * Sending never blocks: what the socket does not take is kept and sent when
 * it can be; ipc_congested() tells a caller to stop making more.  Receiving
 * is by a table: a message that is malformed, or not listed, or brings a
 * descriptor it should not, ends the connection (the `gone` callback), since
 * the peer is broken or hostile.
 */
#ifndef SUBMITD_IPC_H
#define SUBMITD_IPC_H

#include "proto.h"

struct event_base;
struct ipc;

/* A received message: valid until the handler returns, except that fd (-1 if
 * none came, or one of the two processes had none left for it) belongs to the
 * handler, which must close or keep it. */
struct ipc_in {
	enum msg_type type;
	uint64_t sid;
	int fd;
	const union msg *m;
};

typedef void ipc_handler(struct ipc *, const struct ipc_in *);

struct ipc_rule {
	enum msg_type type;
	ipc_handler *handler;
};

/* The peer closed, or was dropped for what it sent (why says so, for the
 * log).  The ipc is freed right after this returns: forget it. */
typedef void ipc_gone(struct ipc *, const char *why);

/*
 * For whoever has to know of all of them: called when a peer is gone, before
 * its owner hears of it; rejected if it was dropped for what it sent.
 */
void ipc_watch_ends(void (*)(int fd, bool rejected, const char *why));

/* From a handler: the peer may not say this.  The connection ends once the
 * handler has returned, as after a malformed message. */
void ipc_reject(struct ipc *, const char *why);
/* In gone(): it was dropped for what it sent. */
bool ipc_is_rejected(const struct ipc *);

/* Takes fd.  rules ends with a NULL handler and outlives the ipc.  A NULL
 * base makes an end for the blocking calls below only. */
struct ipc *ipc_new(struct event_base *, int fd, const struct ipc_rule *rules,
    ipc_gone *, void *arg);
/* Closes and frees; safe inside its own handlers; NULL in is fine. */
void ipc_free(struct ipc **);
void *ipc_arg(const struct ipc *);
int ipc_fd(const struct ipc *);

/* Packs and sends; with fd (kept by the caller, duplicated by the kernel) if
 * it is not -1.  0, or -1 when a field passes its bound: nothing is sent. */
int ipc_send(struct ipc *, enum msg_type, uint64_t sid, const void *msg);
int ipc_send_fd(struct ipc *, enum msg_type, uint64_t sid, const void *msg,
    int fd);

/*
 * From now on what is sent to this peer is collected while the events at hand
 * are handled, to leave then in as few packets as it fits: a packet costs more
 * than a message.  What is for peers ahead leaves first, so that they know what
 * the others are told; a large message, or one with a descriptor, takes all
 * that is collected with it.  When the events take long, what was said some
 * milliseconds ago leaves with the next message.  ipc_leave() is for whoever is
 * about to be long in one handler.
 */
enum ipc_order {
	IPC_AHEAD,
	IPC_BEHIND
};
void ipc_collect(struct ipc *, struct event_base *, enum ipc_order);
void ipc_leave(void);

/* More than 256 KiB wait to be sent: make no more until resumed() is called. */
bool ipc_congested(const struct ipc *);
void ipc_set_resumed(struct ipc *, void (*resumed)(struct ipc *));

/* Handles everything that has already arrived, then returns: what the peer
 * sent before a third party told us something has then been seen. */
void ipc_drain(struct ipc *);

/* For the time before the loop runs: waits for one message.  0, or -1 at the
 * end of file or a bad packet (*why).  The message lives until the next call. */
int ipc_recv_wait(struct ipc *, struct ipc_in *, const char **why);
/* It would not wait. */
bool ipc_readable(const struct ipc *);
/* Sends all that waits; 0 or -1. */
int ipc_flush_wait(struct ipc *);

/* A pair of connected sockets, close-on-exec, non-blocking; 0 or -1. */
int ipc_pair(int fd[2]);

#endif
