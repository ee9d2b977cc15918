/*
 * The inside of front: for the front*.c files that make it up.
 *
 * A conn is one client's connection. It is in the table of connections
 * (conntable.h) from its accept to conn_free(), and a stranger there until its
 * session is known.
 */
#ifndef SUBMITD_FRONT_INT_H
#define SUBMITD_FRONT_INT_H

#include <sys/queue.h>

#include "ipc.h"
#include "role.h"
#include "smtp_reply.h"
#include "smtp_session.h"

struct event;
struct stream;
struct tls_ctx;

enum {
	FRONT_WORKERS_MAX = 64,
	FRONT_BUCKETS = 4096, /* of the table of sessions, a power of two */
};

struct worker {
	struct ipc *ipc; /* NULL: the slot is free */
};

/* The ends of a connection; of one that a balancer passes on, the client's. */
struct ends {
	char client[INET6_ADDRSTRLEN];
	uint16_t client_port;
	char server[INET6_ADDRSTRLEN]; /* "": as the socket has it */
	uint16_t server_port;
	char via[INET6_ADDRSTRLEN]; /* the balancer's address; "": none */
	bool balancer; /* client is the balancer itself */
};

struct conn {
	LIST_ENTRY(conn) link;
	uint64_t sid;
	struct stream *io;
	struct session *smtp;
	struct session_client client;
	uint16_t client_port;
	enum listen_kind kind;
	struct ends *passed;   /* by a balancer; NULL: none */
	struct worker *worker; /* where auth knows this session */
	enum resolve_status resolve;
	struct event *name_wait; /* the session waits for its name until then */
	int body_fd;
	uint32_t file_txn; /* the transaction a file was asked for */
	int64_t began_ms;
	bool want_tls, closing, lingering, name_asked;

	/* front_limit.c */
	TAILQ_ENTRY(conn) stranger, turn;
	uint64_t key;	     /* of the table; 0: its address is not counted */
	int64_t progress_ms; /* of the last step toward a login */
	uint8_t progress;
	bool is_stranger, known_addr;
	bool shaking; /* hands, in TLS */
	bool in_turn; /* waits for the next step of that */
	bool evicted;
};
TAILQ_HEAD(conns, conn);

struct front {
	struct role_setup *setup;
	struct session_conf conf;
	struct tls_ctx *tls;
	struct worker workers[FRONT_WORKERS_MAX];
	struct ipc *queue, *resolver;
	LIST_HEAD(, conn) table[FRONT_BUCKETS];
	struct event *accepts[ROLE_LISTEN_MAX];
	struct event *accept_again, *grace;
	unsigned conns;
	uint64_t counter;
	int64_t no_space_ms; /* queue said so; believed until then */
	bool draining;
};

extern struct front F;

/* ---- front.c ---- */

/* Takes fd; the client may be refused at once. */
void front_client(int fd, enum listen_kind, const struct ends *);
struct conn *front_find(uint64_t sid);
/* Calls fn for every connection; fn may free the one it gets. */
void front_each(void (*fn)(struct conn *, const void *), const void *arg);
/* After everything that may have moved a session; it may be gone then. */
void front_settle(struct conn *);
void front_conn_free(struct conn *);
/* A peer there is one of: the new one replaces what may be left of the old. */
void front_replace_peer(
    struct ipc **slot, int fd, const struct ipc_rule *, ipc_gone *);

/* ---- front_auth.c: what auth is told and asked, and the client's name ---- */

bool front_announce(void *conn);
bool front_to_auth(void *conn, enum msg_type, const void *m);
void front_ask_name(struct conn *);
void front_auth_peer(int fd);
void front_resolver_peer(int fd);

/* ---- front_limit.c: how many there may be ---- */

/* Maps the table; before the lock-down. 0, or -1 with a sentence. */
int front_limit_attach(struct role_setup *, char *err, size_t errlen);
int front_limit_start(void);
void front_limit_drain(void);
/*
 * Counts a client, and makes room for it if it can. 0; or -1: fd was told why
 * and closed. *key is then what conn.key wants. front_limit_begin() follows,
 * or front_limit_forget().
 */
int front_limit_admit(
    int fd, enum listen_kind, const char *addr, bool exempt, uint64_t *key);
void front_limit_begin(struct conn *, bool exempt);
void front_limit_forget(uint64_t key);
void front_limit_end(struct conn *);
/* The session may have come further. */
void front_limit_progress(struct conn *);
void front_limit_handshake(struct conn *, bool begins);
/* The gate of its stream: whether a step of the handshake may be made now. */
bool front_limit_step(struct conn *);
/* No descriptor is left: whether somebody could be sent away. */
bool front_limit_make_room(void);

/* ---- front_proxy.c: connections that a balancer passes on ---- */

bool front_proxy_is_balancer(const char *addr);
/* Takes fd; front_client() follows once the header is there. */
void front_proxy_new(int fd, enum listen_kind, const struct ends *balancer);
void front_proxy_drain(void);

#endif
