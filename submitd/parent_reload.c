/*
 * A reload: load and check everything; have queue and resolver apply it; start
 * a new set; when all of it is ready drain the old one.  Any step that fails
 * leaves the old set as it was.
 *
 * When only files were renewed (parent_file.c) the configuration is the same:
 * nobody has to apply it, and the new set is all there is.
 */
#include "parent_int.h"

#include <event2/event.h>

#include "clock.h"
#include "log.h"
#include "notify.h"

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

static void
refused(const char *why)
{
	log_warn("reload", "result=refused error=%s", why);
	parent_alarm("configuration", "reload", why);
	parent_tell_manager("READY=1");
}

/* Reads and checks all; P.reload.listeners are there then, too. */
static struct given *
load(char *err, size_t errlen)
{
	struct given *g = given_load(P.opt->conf_path, err, errlen);

	if (g != NULL && given_prepare(g, err, errlen) == 0 &&
	    listen_open(
		&P.reload.listeners, &g->conf, &P.listeners, err, errlen) == 0)
		return g;
	given_release(&g);
	return NULL;
}

/* Takes g; from here on it is in force, unless it is taken back. */
static void
put_in_force(struct given *g, bool renewal)
{
	P.reload.given = g;
	given_hold(g);
	P.reload.before = P.given;
	P.given = g;
	P.reload.renewal = renewal;
}

void
parent_reload_begin(void)
{
	const struct proc *queue = parent_find_role(ROLE_QUEUE);
	const struct proc *resolver = parent_find_role(ROLE_RESOLVER);
	struct given *g;
	char err[1024];

	notify_send("RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=Reloading",
	    (long long)clock_us());
	if (queue->state != PROC_RUNNING || resolver->state != PROC_RUNNING) {
		refused("queue or resolver is just being started: try again");
		return;
	}
	if ((g = load(err, sizeof(err))) == NULL) {
		refused(err);
		return;
	}
	put_in_force(g, false);
	parent_map_watch();
	parent_map_read();
	reload_apply();
}

static void
swap_listeners(void)
{
	struct listeners l = P.listeners;

	P.listeners = P.reload.listeners;
	P.reload.listeners = l; /* closed when the new set stands */
}

void
parent_reload_answered(void)
{
	if (P.reload.given == NULL || P.reload.answers == 0 ||
	    --P.reload.answers > 0)
		return;
	swap_listeners();
	parent_start_set(P.given);
}

void
parent_reload_renew(struct given *g)
{
	char err[1024];

	if (listen_open(&P.reload.listeners, &g->conf, &P.listeners, err,
		sizeof(err)) == -1) {
		parent_file_refused(err);
		given_release(&g);
		return;
	}
	put_in_force(g, true);
	swap_listeners();
	parent_start_set(P.given);
}

void
parent_reload_done(const struct set *s)
{
	listen_close(&P.reload.listeners);
	given_release(&P.reload.before);
	given_release(&P.reload.given);
	if (P.given->held == NULL)
		parent_alarm_over("files", "renewal"); /* read, too */
	if (P.reload.renewal) {
		parent_tls_tell();
		parent_expiry_look();
		log_info("renewal", "result=ok set=%u", s->number);
		return;
	}
	log_info("reload", "result=ok set=%u", s->number);
	log_set_level(log_level(P.given->conf.log_level));
	parent_alarm_over("configuration", "reload");
	parent_ticket_begin();
	parent_file_begin();
	parent_tell_manager("READY=1");
}

/* The configuration that queue and resolver have now is the old one. */
static void
take_back(void)
{
	struct proc *p;

	parent_map_watch();
	parent_map_read();
	TAILQ_FOREACH(p, &P.procs, link) {
		if (p->set != NULL || p->role == ROLE_STORE || p->ipc == NULL)
			continue;
		p->ignore_answer = p->state == PROC_RUNNING;
		parent_ask_conf(p);
	}
}

static void
kill_new_set(struct set *s)
{
	struct proc *p;

	s->state = SET_DRAINING;
	parent_drop_waiting(s);
	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s)
			p->state = PROC_DRAINING;
	parent_kill_set(s);
}

/* Back to what was before; the old set never noticed. */
void
parent_reload_undo(const char *why)
{
	struct set *s = parent_find_set(SET_STARTING);

	if (P.reload.given == NULL)
		return;
	if (s != NULL) {
		swap_listeners();
		kill_new_set(s);
	}
	listen_close(&P.reload.listeners);
	given_release(&P.reload.given);
	given_release(&P.given);
	P.given = P.reload.before;
	P.reload.before = NULL;
	if (P.reload.renewal) {
		parent_file_refused(why);
		return;
	}
	take_back();
	refused(why);
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

bool
parent_reload_is_possible(void)
{
	return P.stage == RUNNING && P.up && P.reload.given == NULL &&
	    old_sets() < OLD_SETS_MAX;
}

void
parent_reload_on_hup(evutil_socket_t sig, short what, void *arg)
{
	(void)sig, (void)what, (void)arg;
	if (P.stage != RUNNING)
		return;
	if (parent_reload_is_possible()) {
		parent_reload_begin();
		return;
	}
	P.reload.pending = true;
	parent_tell_manager("");
}

void
parent_reload_resume(void)
{
	if (parent_reload_is_possible() && P.reload.pending) {
		P.reload.pending = false;
		parent_reload_begin();
	}
	parent_file_resume();
}
