/*
 * The files whose content the roles were given: when one of them has changed,
 * all are read anew, and if they are good a new set takes over that has them.
 * The configuration is not read, an administrator may be at work on it.
 *
 * A certificate and its key come one after the other: nothing happens before
 * a moment of quiet.  What does not fit together, or is broken, changes
 * nothing, raises an alarm, and is looked at again when it changes and now and
 * then.  File systems that report no changes are looked at from time to time.
 */
#include "parent_int.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "trim.h"

enum {
	QUIET_MS = 500,           /* from the last change to a look */
	UNREST_MAX_MS = 5 * 1000, /* from the first one, if more come */
	RETRY_MS = 60 * 1000,     /* after one that was no good */
	LOOK_MS = 10 * 60 * 1000
};

static void
look_in(int64_t ms)
{
	parent_arm(P.files.timer, ms);
}

static void
on_change(evutil_socket_t fd, short what, void *arg)
{
	int64_t now = clock_ms();

	(void)fd, (void)what, (void)arg;
	if (!filewatch_changed(P.files.watch))
		return;
	if (P.files.since_ms == 0)
		P.files.since_ms = now;
	if (now - P.files.since_ms < UNREST_MAX_MS)
		look_in(QUIET_MS);
}

static void
watch_one(const char *path, bool directory)
{
	if ((directory ? filewatch_add_dir : filewatch_add)(
		P.files.watch, path) == -1)
		log_warn("watch", "file=%s error=%s", path, strerror(errno));
}

static void
watch_all(void)
{
	if (P.files.ev != NULL)
		event_free(P.files.ev);
	P.files.ev = NULL;
	filewatch_free(&P.files.watch);
	if ((P.files.watch = filewatch_new()) == NULL) {
		log_warn("watch", "error=%s", strerror(errno));
		return;
	}
	given_each_file(P.given, watch_one);
	P.files.ev = event_new(P.base, filewatch_fd(P.files.watch),
	    EV_READ | EV_PERSIST, on_change, NULL);
	event_add(P.files.ev, NULL);
}

void
parent_file_refused(const char *why)
{
	log_warn("renewal", "result=refused error=%s", why);
	parent_alarm("files", "renewal", why);
	look_in(RETRY_MS);
}

/* Watched anew before they are read, so that no change is lost in between. */
static void
look(void)
{
	struct given *g;
	char err[1024];

	watch_all();
	P.files.since_ms = 0;
	look_in(LOOK_MS);
	if ((g = given_renew(P.given, err, sizeof(err))) == NULL) {
		parent_file_refused(err);
		return;
	}
	if (g->held != NULL)
		parent_file_refused(g->held);
	if (!given_same(g, P.given)) {
		parent_reload_renew(g);
		return;
	}
	parent_tls_staples(g);
	if (g->held == NULL) {
		log_debug("renewal", "result=%s", "nothing new");
		parent_alarm_over("files", "renewal");
	}
	given_release(&g);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	P.files.pending = true;
	parent_file_resume();
}

/* Not while a reload is under way, nor with too many old sets. */
void
parent_file_resume(void)
{
	if (!P.files.pending || !parent_reload_is_possible())
		return;
	P.files.pending = false;
	look();
	trim_start(); /* it has read as much as a start */
}

/* What changed between reading and watching is seen by a first look. */
void
parent_file_begin(void)
{
	if (P.files.timer == NULL)
		P.files.timer =
		    event_new(P.base, -1, EV_TIMEOUT, on_timer, NULL);
	watch_all();
	parent_tls_policy();
	parent_tls_tell();
	parent_expiry_look();
	look_in(QUIET_MS);
}
