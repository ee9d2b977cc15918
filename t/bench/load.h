/*
 * load.h: the parts of the load program: what it was told (load_opt.c), what
 * its sessions share (load_make.c), the sessions (load_session.c), the report
 * (load_report.c), the loop (load.c).
 */
#ifndef LOAD_H
#define LOAD_H

#include <sys/epoll.h>

#include <stdbool.h>

#include <openssl/ssl.h>

#include "bench.h"

#define ID_MAX 64

enum auth { AUTH_NONE, AUTH_PLAIN, AUTH_LOGIN, AUTH_EXTERNAL };

/* Failures that have no SMTP code; they follow the codes in errors[]. */
enum failure {
	FAIL_CONNECT = 1000,
	FAIL_TLS,
	FAIL_CLOSED,
	FAIL_TIMEOUT,
	FAIL_PROTOCOL,
	FAIL_EXTENSION,
	FAIL_COUNT
};

struct errors {
	unsigned long count;
	char first[200]; /* what the first one said */
};

struct samples {
	uint64_t *ns;
	size_t len, cap;
};

struct load_opt {
	const char *host, *port, *name;
	bool implicit, pipelining, resume, handshakes, json;
	enum auth auth;
	const char *user, *from, *to_domain;
	char *password;
	const char *cert, *key, *ca, *ids;
	char run[ID_MAX / 2];
	unsigned long concurrency, sessions, messages, size, rcpts, idle;
	unsigned long users; /* 0: one, else user0, user1, ... */
	unsigned long timeout_s;
};

struct load_made {
	struct sockaddr_storage server;
	socklen_t serverlen;
	SSL_CTX *ctx;
	char *body; /* of all messages, with the end dot */
	size_t bodylen;
};

struct load_run {
	struct samples session, dot;
	struct errors errors[FAIL_COUNT];
	unsigned long started, ended, good, resumed;
	unsigned long live;   /* sessions that are connected now */
	unsigned long held;   /* those of them that --idle holds */
	unsigned long opened; /* those that ever were held */
	unsigned long messages, octets, failures;
	uint64_t from_ns, until_ns;
	const char *tls;
};

/* What the command line says, and what has happened so far. */
extern struct load_opt opt;
extern struct load_made made;
extern struct load_run run;

/* Reads the command line; ends the program if it makes no sense. */
void opt_parse(int argc, char **argv);

/* Address, TLS, the body. */
void make_all(void);
/* A ticket nobody has used yet, with --resume; NULL if there is none. The
 * caller frees. */
SSL_SESSION *take_ticket(void);
/* What a session sends: the AUTH command, answers to LOGIN's challenges, the
 * header of one of its messages. */
void make_auth(struct bench_buf *, unsigned long session);
void make_auth_user(struct bench_buf *, unsigned long session);
void make_auth_password(struct bench_buf *);
void make_header(
    struct bench_buf *, unsigned long session, unsigned long message);
/* The id of a message, ID_MAX octets at most. */
void make_id(char *id, unsigned long session, unsigned long message);

/* Makes ready for sessions. */
void session_prepare(void);
/* Connects one more. */
void session_start(void);
/* Goes on with the session that an event belongs to. */
void session_event(void *session);
/* Ends the sessions that take too long. */
void session_expire(void);
/* For epoll_wait(); the events carry sessions, NULL is free for others. */
int session_epoll(void);
/* Closes the file of ids. */
void session_finish(void);

void sample_add(struct samples *, uint64_t ns);
/* Prints what has happened up to now. */
void report(void);

#endif
