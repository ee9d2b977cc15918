/*
 * A reload: load and check everything; have queue and resolver apply it; start
 * a new set; when all of it is ready drain the old one.  Any step that fails
 * leaves the old set as it was.
 */
#include "parent_int.h"

#include <event2/event.h>

#include "log.h"

enum { OLD_SETS_MAX = 3 };

static void
apply_conf(enum role role)
{
	struct proc *p = parent_find_role(role);

	if (p != NULL && p->ipc != NULL)
		parent_ask_conf(p);
}

/* P.given is already the new one: parent_give_conf() sends it. */
static void
reload_apply(void)
{
	P.reload.answers = 2;
	apply_conf(ROLE_QUEUE);
	apply_conf(ROLE_RESOLVER);
}

void
parent_reload_begin(void)
{
	struct proc *queue = parent_find_role(ROLE_QUEUE);
	struct proc *resolver = parent_find_role(ROLE_RESOLVER);
	struct given *g;
	char err[1024];

	if ((g = given_load(P.opt->conf_path, err, sizeof(err))) == NULL ||
	    given_prepare(g, err, sizeof(err)) == -1 ||
	    listen_open(&P.reload.listeners, &g->conf, &P.listeners, err,
		sizeof(err)) == -1) {
		log_warn("reload", "result=refused error=%s", err);
		given_release(&g);
		return;
	}
	if (queue->state != PROC_RUNNING || resolver->state != PROC_RUNNING) {
		log_warn("reload", "result=refused error=%s",
		    "queue or resolver is just being started: try again");
		listen_close(&P.reload.listeners);
		given_release(&g);
		return;
	}
	P.reload.given = g;
	given_hold(g);
	P.reload.before = P.given;
	P.given = g;
	parent_map_watch();
	parent_map_read();
	reload_apply();
}

void
parent_reload_answered(void)
{
	struct listeners old;

	if (P.reload.given == NULL || P.reload.answers == 0 ||
	    --P.reload.answers > 0)
		return;
	old = P.listeners;
	P.listeners = P.reload.listeners;
	P.reload.listeners = old; /* closed when the new set stands */
	parent_start_set(P.given);
}

/* Back to what was before; the old set never noticed. */
void
parent_reload_undo(const char *why)
{
	struct set *s = parent_find_set(SET_STARTING);
	struct listeners tried;
	struct proc *p;

	if (P.reload.given == NULL)
		return;
	log_warn("reload", "result=refused error=%s", why);
	if (s != NULL) {
		tried = P.listeners;
		P.listeners = P.reload.listeners;
		P.reload.listeners = tried;
		s->state = SET_DRAINING;
		parent_drop_waiting(s);
		TAILQ_FOREACH(p, &P.procs, link)
			if (p->set == s)
				p->state = PROC_DRAINING;
		parent_kill_set(s);
	}
	listen_close(&P.reload.listeners);
	given_release(&P.reload.given);
	given_release(&P.given);
	P.given = P.reload.before;
	P.reload.before = NULL;
	parent_map_watch();
	parent_map_read();
	TAILQ_FOREACH(p, &P.procs, link) {
		if (p->set != NULL || p->role == ROLE_STORE || p->ipc == NULL)
			continue;
		p->ignore_answer = p->state == PROC_RUNNING;
		parent_ask_conf(p);
	}
}

static unsigned
old_sets(void)
{
	const struct set *s;
	unsigned n = 0;

	TAILQ_FOREACH(s, &P.sets, link)
		n += s->state == SET_DRAINING;
	return n;
}

void
parent_reload_on_hup(evutil_socket_t sig, short what, void *arg)
{
	(void)sig, (void)what, (void)arg;
	if (P.stage != RUNNING)
		return;
	if (!P.up || P.reload.given != NULL || old_sets() >= OLD_SETS_MAX) {
		P.reload.pending = true;
		return;
	}
	parent_reload_begin();
}

void
parent_reload_resume(void)
{
	if (!P.reload.pending || P.stage != RUNNING || !P.up ||
	    P.reload.given != NULL || old_sets() >= OLD_SETS_MAX)
		return;
	P.reload.pending = false;
	parent_reload_begin();
}
