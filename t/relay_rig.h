/*
 * The relay role in a child process, as it runs in the server; the test plays
 * queue, the child itself resolver and auth, and t/lib/smarthost.py is the
 * smarthost on loopback.  To be used with cmocka: what goes wrong fails the
 * test.
 *
 * rr_stop_host() reads the smarthost's record: nothing but EHLO and STARTTLS
 * may have been said in clear, and no rule of SMTP broken.
 */
#ifndef T_RELAY_RIG_H
#define T_RELAY_RIG_H

#include <sys/types.h>

#include "submitd/ipc.h"
#include "submitd/mem.h"

struct rr_options {
	const char *host;  /* NULL: 127.0.0.1 */
	const char *addrs; /* what the resolver says; NULL: it is silent */
	enum resolve_status resolved;
	bool implicit, client_cert;
	const char *user, *password;
	int64_t timeout_ms, connections;
	const char *ignore;

	/* auth: the kinds of entries it tells of, and what it says */
	enum {
		AUTH_ANSWERS,
		AUTH_AWAY,
		AUTH_SILENT,
		AUTH_DIES,
		AUTH_KILLS
	} auth;
	unsigned kinds;
	enum server_verdict on_try, on_tls, on_rcpt[2];
};

struct rr_job {
	uint64_t qid;
	const char *from;                /* NULL: s@x.test */
	const char *const *to;           /* NULL: r0@x.test, r1@x.test ... */
	const struct rcpt_options *rcpt; /* NULL: none */
	size_t rcpts;
	struct mail_options opt;
	const void *body; /* len bytes, or the file fd */
	size_t len;
	int fd; /* or -1 */
	uint64_t size;
};

extern char *rr_dir;      /* of this program's files */
extern char *rr_host_dir; /* of the smarthost's record */
extern pid_t rr_host_pid;
extern struct ipc *rr_queue[2]; /* the second one after rr_tell('q') */
extern char
    rr_results[65536];      /* one line each: QID/N KIND TROUBLE CODE ESC TEXT,
				  and "+DSN", "+BY" if they were handed over */
extern char rr_state[2048]; /* the last M_RELAY_STATE: "up", or the reason */
extern unsigned rr_max_connections, rr_connections;

/* Set-up and tear-down of the group: certificates, a directory. */
int rr_make_dir(void **state);
int rr_remove_dir(void **state);

/* Starts smarthost.py with these arguments; its port. */
int rr_start_host(const char *const *args);
void rr_stop_host(const char *row);
bool rr_host_has(const char *file);
/* The n-th message it took has these bytes. */
void rr_check_message(const char *row, unsigned n, const void *, size_t len);
void rr_read_file(const char *path, struct buf *out);

void rr_start_relay(const struct rr_options *, int port);
/* 'd': drain; 'm': another access map; 'q': a new queue comes. */
void rr_tell(char what);
/* The relay, which was told, must leave by itself, with status 0. */
void rr_await_relay(void);
/* Drains it, and awaits that. */
void rr_stop_relay(void);

void rr_send(struct ipc *queue, const struct rr_job *);
/* A text, declared as 8-bit, to so many recipients. */
void rr_send_text(uint64_t qid, size_t rcpts, const char *body);
/* Receives until n jobs are done since the relay started. */
void rr_wait_done(struct ipc *queue, size_t n);
/* Each line of results begins with the line of want at the same place. */
void rr_check_results(const char *row, const char *want);

#endif
