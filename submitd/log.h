/*
 * One line an event: identities first, then ev=NAME, then key=value.
 *
 *	sid=5f3a01 ev=auth mech=PLAIN user="ann" peer=192.0.2.7 result=ok
 *
 * The format of log_event() is printf's with d, u, x, s and the sizes l, ll,
 * z (and c, %); every %s is quoted and escaped when it holds anything but
 * plain characters, so text of a stranger can neither break the line nor
 * forge a field.  A NULL %s is written as "-".
 */
#ifndef SUBMITD_LOG_H
#define SUBMITD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

/* Opens the log for this process; to_stderr instead of syslog(3) (mail). */
void log_open(const char *role, int to_stderr, int max_level);
void log_set_level(int max_level); /* LOG_WARNING, LOG_INFO or LOG_DEBUG */
/* "warning", "info", "debug" to a level; -1 if none of these. */
int log_level(const char *name);
/* Whether events of this level are written: for what costs to find out. */
bool log_wants(int level);

/* sid and qid 0: the event belongs to no session or message. */
void log_event(int level, uint64_t sid, uint64_t qid, const char *ev,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#define log_warn(ev, ...) log_event(LOG_WARNING, 0, 0, ev, __VA_ARGS__)
#define log_info(ev, ...) log_event(LOG_INFO, 0, 0, ev, __VA_ARGS__)
#define log_debug(ev, ...) log_event(LOG_DEBUG, 0, 0, ev, __VA_ARGS__)

/* For signal handlers: a warning, complete and escaped by the caller. */
void log_signal(const char *line, size_t len);

/* Logs ev=fatal with the text and ends the process with exit status code. */
void log_fatal(int code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* The formatter alone, for tests: writes the line without newline, cuts at
 * size; returns its length. */
size_t log_format(char *out, size_t size, uint64_t sid, uint64_t qid,
    const char *ev, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#endif
