/*
 * The file of the access map: the store role reads it at start, at SIGHUP and
 * a moment after it has changed.
 */
#include "parent_int.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "log.h"

enum {
	MAP_SETTLE_MS = 250,    /* from a change of the map to its use */
	MAP_RETRY_MS = 5 * 1000 /* after the store could not be written */
};

/* Not before this moment: a store role that runs may have read it already. */
void
parent_map_read(void)
{
	if (P.stage != RUNNING)
		return;
	if (parent_find_role(ROLE_STORE) != NULL)
		P.map.again = true;
	else
		parent_run_store();
}

static void
on_map_change(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (filewatch_changed(P.map.watch) &&
	    !event_pending(P.map.timer, EV_TIMEOUT, NULL))
		parent_arm(P.map.timer, MAP_SETTLE_MS);
}

void
parent_map_watch(void)
{
	const char *path = P.given->conf.access_map;

	if (P.map.ev != NULL)
		event_free(P.map.ev);
	P.map.ev = NULL;
	filewatch_free(&P.map.watch);
	if (path[0] == '\0')
		return;
	P.map.watch = filewatch_new();
	if (P.map.watch == NULL || filewatch_add(P.map.watch, path) == -1) {
		log_warn("access-map", "file=%s error=%s action=%s", path,
		    strerror(errno), "changes are seen at SIGHUP only");
		return;
	}
	P.map.ev = event_new(P.base, filewatch_fd(P.map.watch),
	    EV_READ | EV_PERSIST, on_map_change, NULL);
	event_add(P.map.ev, NULL);
}

/* Watched anew before it is read, so that no change is lost in between. */
void
parent_map_on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	parent_map_watch();
	parent_map_read();
}

/* The store role has ended. */
void
parent_map_was_read(bool well)
{
	if (!well && P.given->conf.access_map[0] != '\0')
		parent_arm(P.map.timer, MAP_RETRY_MS);
	if (!P.map.again)
		return;
	P.map.again = false;
	parent_map_read();
}
