/*
 * The parent: starts the roles, gives them what they need, connects them to
 * each other, starts those anew that die, reloads and stops.  It reads no
 * byte from the network.
 */
#ifndef SUBMITD_PARENT_H
#define SUBMITD_PARENT_H

#include <stdbool.h>

struct parent_options {
	const char *conf_path;
	bool log_to_stderr;
	int ready_fd; /* gets one byte when the service stands; -1: none */
};

/* For t/probe.c, which is no part of this program: called when all is set up,
 * before the loop.  NULL here. */
extern void (*parent_probe)(void);

/* Runs until SIGTERM; returns the exit status. */
int parent_main(const struct parent_options *);

#endif
