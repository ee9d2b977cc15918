/*
 * Real auth and queue roles, each the program itself in a process of its own
 * with all that holds it, between a parent and fronts that the test plays.
 */
#ifndef T_HOSTILE_RIG_H
#define T_HOSTILE_RIG_H

#include <sys/types.h>

#include <stdbool.h>

#include "submitd/ipc.h"
#include "submitd/smtp_reply.h"

#define ANN_PASSWORD "correct horse"
#define ANN          "ann@example.org"
#define BO           "bo@example.net"
#define HELLO        "Subject: hello\r\n\r\nHello\r\n"

/* One front and its sockets. */
struct front {
	uint32_t instance;
	struct ipc *auth, *queue;
};

/* One role and parent's end of its socket. */
struct child {
	pid_t pid;
	struct ipc *ipc;
};

struct hostile {
	char dir[64];
	struct child auth, queue;
	uint32_t next;            /* instance of the next front */
	unsigned char cert[2048]; /* ann's, as m_session.chain has it */
	size_t cert_len;
};

extern struct hostile H;

/* Makes store and spool, with user ann, and starts both; ends the program
 * with a sentence if that does not work. */
void hostile_up(void);
void hostile_down(void);

/* A front that both have never seen. */
void front_new(struct front *);
void front_free(struct front *);
uint64_t front_sid(const struct front *, uint64_t n);

/* The next message of that type, others are passed over; NULL: the socket was
 * closed by the other side.  Ends the program after some seconds. */
const union msg *front_wait(struct ipc **, enum msg_type, uint64_t sid);
/* Whether the other side drops it, within some seconds. */
bool front_is_dropped(struct ipc **);

/* What an honest front says, and the answer.  0: the other side hung up. */
bool front_arrive(struct front *, uint64_t sid, const void *chain, size_t len);
enum smtp_reply front_login(
    struct front *, uint64_t sid, const char *user, const char *password);
bool front_mail(struct front *, uint64_t sid, uint32_t txn, const char *from);
bool front_rcpt(struct front *, uint64_t sid, uint32_t txn, const char *to);
/* That the header names just this author. */
bool front_headers(
    struct front *, uint64_t sid, uint32_t txn, const char *author);
enum smtp_reply front_open(
    struct front *, uint64_t sid, uint32_t txn, uint32_t rcpts);
/* Says that the header names the sender only. */
enum smtp_reply front_submit(
    struct front *, uint64_t sid, uint32_t txn, const void *body, size_t len);

/* A complaint about this front was sent to parent by this role. */
bool hostile_complained(struct child *, const struct front *);
/* The role is the process that it was at first. */
bool hostile_lives(const struct child *);
long hostile_memory_kib(const struct child *);
/* Messages in the queue, as submitctl would hear. */
long hostile_messages(void);

#endif
