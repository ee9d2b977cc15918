/*
 * load.c: many mail clients in one process, to measure a submission server.
 *
 * A fixed number of sessions runs at a time; each one that ends makes room for
 * the next, until --sessions are done.  A session connects, does TLS and AUTH
 * as told, sends its messages and quits.  Commands of a transaction leave in
 * one write with --pipelining, a small message always does; Nagle is off.  So
 * what is measured is the server, not delayed acknowledgements.
 *
 * Times: a session counts from connect() to the reply to QUIT; the final dot
 * from the write that ends the message to its reply.  A reply other than the
 * expected one, a lost connection, a failed handshake or a timeout ends the
 * session, is counted under its code or name, and makes the exit status 1.
 *
 * --idle N instead opens N sessions up to the end of AUTH, prints the report,
 * holds them until stdin closes and reports again; a session that ends in
 * between is an error.
 *
 * --handshakes leaves out SMTP: TLS, and the server closes ("bare accept").
 *
 * --resume resumes the TLS session of one that has ended, each ticket once; the
 * report counts how often the server agreed.
 *
 * --users N logs in as USER0, USER1, ... in turn, all with one password.
 *
 * Every message has an id, in Message-ID and X-Bench-Id: RUN-SESSION-MESSAGE.
 * --ids FILE gets the ids of acknowledged messages, one a line, to compare
 * with what the smarthost saw.
 */
#include <unistd.h>

#include "load.h"

struct load_run run;

static unsigned long
wanted(void)
{
	return opt.idle > 0 ? opt.idle : opt.sessions;
}

/* Handles what is ready; a NULL pointer in an event stands for stdin. */
static bool
events_handle(const struct epoll_event *ev, int n)
{
	bool stdin_closed = false;
	char junk[256];
	int i;

	for (i = 0; i < n; i++) {
		if (ev[i].data.ptr != NULL)
			session_event(ev[i].data.ptr);
		else
			stdin_closed =
			    read(STDIN_FILENO, junk, sizeof(junk)) <= 0;
	}
	return stdin_closed;
}

/* Runs until every session has ended, or with --idle is held. */
static void
run_sessions(void)
{
	struct epoll_event ev[256];
	uint64_t checked = bench_now();
	int n;

	run.from_ns = bench_now();
	while (run.ended + run.held < wanted()) {
		while (run.started < wanted() &&
		    run.live - run.held < opt.concurrency)
			session_start();
		n = epoll_wait(session_epoll(), ev, 256, 1000);
		events_handle(ev, n);
		if (bench_now() - checked > 1000000000u) {
			checked = bench_now();
			session_expire();
		}
	}
	run.until_ns = bench_now();
}

static void
run_hold(void)
{
	struct epoll_event ev[256], in = { .events = EPOLLIN };
	int n;

	if (epoll_ctl(session_epoll(), EPOLL_CTL_ADD, STDIN_FILENO, &in) == -1)
		return; /* a file or /dev/null: as good as closed */
	do
		n = epoll_wait(session_epoll(), ev, 256, -1);
	while (!events_handle(ev, n));
}

int
main(int argc, char **argv)
{
	unsigned long want;

	opt_parse(argc, argv);
	session_prepare();
	run_sessions();
	if (opt.idle > 0) {
		report();
		run_hold();
	}
	report();
	session_finish();
	want = opt.idle > 0 ? 0 : opt.sessions * opt.messages;
	return run.failures > 0 || run.messages != want || run.held != opt.idle
	    ? 1
	    : 0;
}
