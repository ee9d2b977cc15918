/*
 * The server of the control socket: one request, one answer, in lines of JSON.
 *
 *	{"cmd":"queue.list"}
 *	{"item":{...}}			none, one or many
 *	{"ok":true,...}			or
 *	{"ok":false,"exit":65,"error":"no message 0193... in the queue"}
 *
 * `exit` is the status submitctl should end with (sysexits). A peer must be
 * root or have the uid of this process; a request has a bounded line and all
 * has a deadline. Long lists are made piece by piece as the peer reads.
 */
#ifndef SUBMITD_CONTROL_H
#define SUBMITD_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

struct event_base;
struct control;
struct control_conn;

/* Answers one request: sends items and ends with control_ok() or
 * control_fail(), or asks with control_more() to be called again. */
typedef void control_handler(struct control_conn *, const json_t *request);

struct control_verb {
	const char *cmd;
	control_handler *handler;
};

enum {
	CONTROL_LINE_MAX = 16 * 1024, /* bytes of a request */
	CONTROL_CONNS_MAX = 16,
	CONTROL_DEADLINE_S = 30 /* without progress */
};

/* Takes the listening descriptor. verbs ends with a NULL cmd and outlives the
 * server. */
struct control *control_new(struct event_base *, int listen_fd,
    const struct control_verb *verbs, void *arg);
/* Closes all; NULL in is fine. */
void control_free(struct control **);

/* The arg of control_new(). */
void *control_arg(const struct control_conn *);

/* Takes item. */
void control_item(struct control_conn *, json_t *item);
/* Ends the answer; takes fields (an object, or NULL). */
void control_ok(struct control_conn *, json_t *fields);
void control_fail(struct control_conn *, int exit_status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Calls next once the peer has read what was sent so far, from the loop. It
 * does as a handler does. state belongs to the connection: free_state (may be
 * NULL) is called when the answer ends or the peer goes.
 */
void control_more(struct control_conn *, void (*next)(struct control_conn *),
    void *state, void (*free_state)(void *));
void *control_state(const struct control_conn *);

#endif
