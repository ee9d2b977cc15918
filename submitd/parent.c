/*
 * Parent.  Terms:
 *
 *	proc	one child process in its role
 *	set	fronts, auths, a relay and perhaps a pam that were started
 *		together with one configuration; queue and resolver belong to no set
 *
 *	set state   procs
 *	starting    not all have said READY; its failure undoes the reload
 *	active      serving; a proc that dies is started again
 *	draining    finish their sessions and leave; fronts and relays that die
 *		    are not started again
 */
#include "parent_int.h"

#include <sys/prctl.h>
#include <sys/random.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "auth/secret.h"
#include "callfilter.h"
#include "clock.h"
#include "landlock.h"
#include "log.h"
#include "logsock.h"
#include "notify.h"
#include "passed.h"
#include "pidfile.h"
#include "sandbox.h"
#include "tlsmem.h"
#include "trim.h"

enum {
	LOG_EVERY_MS = 500,          /* sockets of the log for one proc */
	PARENT_SECRETS = 1024 * 1024 /* bytes of memory for secrets */
};

struct parent P;
void (*parent_probe)(void);
static bool secrets_locked;
static char *control_path; /* of the first configuration, for good */

void
parent_arm(struct event *e, int64_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	event_add(e, &tv);
}

/* The start has failed.  Who dies next has died of that. */
void
parent_give_up(int status, const char *why)
{
	if (P.status != 0)
		return;
	log_warn("stop", "error=%s", why);
	if (P.opt->ready_fd != -1)
		fprintf(stderr, "%s\n", why);
	P.status = status;
	event_base_loopbreak(P.base);
}

struct proc *
parent_find_role(enum role role)
{
	struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->role == role && p->set == NULL)
			return p;
	return NULL;
}

struct set *
parent_find_set(enum set_state state)
{
	struct set *s;

	TAILQ_FOREACH(s, &P.sets, link)
		if (s->state == state)
			return s;
	return NULL;
}

/* ---- procs ---- */

static struct proc *
new_proc(enum role role, struct set *set)
{
	struct proc *p = xcalloc(1, sizeof(*p));

	p->role = role;
	p->set = set;
	TAILQ_INSERT_TAIL(&P.procs, p, link);
	return p;
}

void
parent_free_proc(struct proc *p)
{
	TAILQ_REMOVE(&P.procs, p, link);
	parent_crash_over(p);
	if (p->again != NULL)
		event_free(p->again);
	if (p->healthy != NULL)
		event_free(p->healthy);
	parent_peers_forget(p);
	ipc_free(&p->ipc);
	free(p);
}

static void
on_gone(struct ipc *i, const char *why)
{
	struct proc *p = ipc_arg(i);

	if (ipc_is_rejected(i))
		log_warn("peer-dropped", "role=%s instance=%u error=%s",
		    role_name(p->role), p->instance, why);
	p->ipc = NULL; /* SIGCHLD tells the rest */
	if (p->pid != 0)
		kill(p->pid, SIGKILL);
}

static void on_ready(struct ipc *, const struct ipc_in *);
static void on_refused(struct ipc *, const struct ipc_in *);
static void on_repair(struct ipc *, const struct ipc_in *);
static void on_log_lost(struct ipc *, const struct ipc_in *);

static const struct ipc_rule rules[] = {
	{ M_READY, on_ready },
	{ M_REFUSED, on_refused },
	{ M_REPAIR, on_repair },
	{ M_REHASH, parent_rehash_take },
	{ M_LOG_LOST, on_log_lost },
	{ M_BAD_PEER, parent_on_bad_peer },
	{ 0, NULL },
};

/* Its number, and a socket with two ends: ours and its. */
static int
make_ready(struct proc *p, int fd[2])
{
	fd[0] = fd[1] = -1;
	if (ipc_pair(fd) == -1) {
		log_warn("role", "role=%s error=%s what=%s", role_name(p->role),
		    strerror(errno), "cannot make a socket pair");
		return -1;
	}
	p->instance = P.next_instance++ & 0xffffff;
	p->state = PROC_STARTING;
	p->asked = 0;
	p->refused[0] = '\0';
	return 0;
}

/* It runs: what it needs is on its way. */
static int
begin_proc(struct proc *p, int ours, pid_t pid)
{
	if (pid == -1) {
		log_warn("role", "role=%s error=%s what=%s", role_name(p->role),
		    strerror(errno), "cannot fork");
		close(ours);
		return -1;
	}
	p->pid = pid;
	p->ipc = ipc_new(P.base, ours, rules, on_gone, p);
	if (parent_give_setup(p) == -1)
		kill(p->pid, SIGKILL); /* SIGCHLD tells the rest */
	return 0;
}

static int
try_start(struct proc *p)
{
	int fd[2];
	pid_t pid;

	if (make_ready(p, fd) == -1)
		return -1;
	pid = parent_spawn(p->role, fd[1]);
	close(fd[1]);
	return begin_proc(p, fd[0], pid);
}

/* The service goes on without it, if it goes on at all, and it is tried again:
 * descriptors and processes may run out for a while. */
void
parent_start_proc(struct proc *p)
{
	if (try_start(p) == 0)
		return;
	if (!P.up)
		parent_give_up(EX_OSERR, "a role cannot be started");
	else
		parent_restart_later(p, "the system");
}

/* Those of a role in a new set. */
static void
start_all(const struct set *s, enum role role)
{
	struct proc *all[PARENT_MANY_MAX], *p;
	int fd[2], ours[PARENT_MANY_MAX], theirs[PARENT_MANY_MAX] = { 0 };
	pid_t pid[PARENT_MANY_MAX];
	size_t n = 0, i;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s && p->role == role && n < PARENT_MANY_MAX &&
		    make_ready(p, fd) == 0) {
			ours[n] = fd[0];
			theirs[n] = fd[1];
			all[n++] = p;
		}
	parent_spawn_many(role, theirs, n, pid);
	for (i = 0; i < n; i++) {
		close(theirs[i]);
		if (pid[i] != -1)
			begin_proc(all[i], ours[i], pid[i]);
		else
			close(ours[i]);
	}
	/* whoever has no process by now gets one of its own */
	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s && p->role == role && p->pid == 0)
			parent_start_proc(p);
}

/* ---- sets ---- */

bool
parent_has_role(const struct set *s, enum role role)
{
	const struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if ((s == NULL || p->set == s) &&
		    (role == ROLE_COUNT || p->role == role))
			return true;
	return false;
}

void
parent_kill_set(const struct set *s)
{
	const struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s && p->pid != 0)
			kill(p->pid, SIGKILL);
}

/* Procs that wait to be started again have nobody to say good-bye to. */
void
parent_drop_waiting(const struct set *s)
{
	struct proc *p, *next;

	for (p = TAILQ_FIRST(&P.procs); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->set == s && p->pid == 0)
			parent_free_proc(p);
	}
}

static int64_t
count_of(int64_t wanted, long beyond_cores)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (wanted > 0)
		return wanted;
	cores = cores < 1 ? 1 : cores > 32 ? 32 : cores;
	return cores + beyond_cores;
}

void
parent_start_set(struct given *g)
{
	struct set *s = xcalloc(1, sizeof(*s));
	static const enum role order[] = { ROLE_RELAY, ROLE_PAM, ROLE_AUTH,
		ROLE_FRONT };
	int64_t i;

	s->number = P.next_set++;
	s->given = g;
	given_hold(g);
	TAILQ_INSERT_TAIL(&P.sets, s, link);
	new_proc(ROLE_RELAY, s);
	if (given_wants_pam(g))
		new_proc(ROLE_PAM, s);
	for (i = count_of(g->conf.auth_workers, 1); i > 0; i--)
		new_proc(ROLE_AUTH, s);
	for (i = count_of(g->conf.fronts, 0); i > 0; i--)
		new_proc(ROLE_FRONT, s);
	for (i = 0; i < (int64_t)(sizeof(order) / sizeof(order[0])); i++)
		start_all(s, order[i]);
}

void
parent_free_set(struct set *s)
{
	TAILQ_REMOVE(&P.sets, s, link);
	if (s->kill != NULL)
		event_free(s->kill);
	given_release(&s->given);
	free(s);
}

/* Who started us may go; the terminal is no longer ours. */
static void
leave_terminal(void)
{
	if (P.opt->ready_fd == -1)
		return;
	if (write(P.opt->ready_fd, "", 1) == -1 ||
	    dup2(STDIN_FILENO, STDERR_FILENO) == -1)
		log_warn("ready", "error=%s", strerror(errno));
}

static void
announce(const struct set *s)
{
	pidfile_move(P.given->conf.pid_file);
	log_info("ready", "set=%u listeners=%zu passed=%zu version=%s",
	    s->number, P.listeners.n, passed_count(), PACKAGE_VERSION);
	if (P.up)
		return;
	P.up = true;
	parent_file_begin();
	parent_tell_manager("READY=1");
	leave_terminal();
}

static void
activate(struct set *s)
{
	struct set *old = parent_find_set(SET_ACTIVE);

	s->state = SET_ACTIVE;
	if (old != NULL)
		parent_drain_set(old, old->given->conf.reload_grace);
	if (P.reload.given != NULL)
		parent_reload_done(s);
	announce(s);
	parent_advance();
	trim_start();
}

static void
check_set(struct set *s)
{
	const struct proc *p;

	if (s->state != SET_STARTING)
		return;
	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s && p->state != PROC_RUNNING)
			return;
	activate(s);
}

/* ---- start ---- */

/* The first set waits until the store is sound and queue has its spool. */
void
parent_check_start(void)
{
	const struct proc *queue = parent_find_role(ROLE_QUEUE);
	const struct proc *resolver = parent_find_role(ROLE_RESOLVER);

	if (TAILQ_EMPTY(&P.sets) && parent_find_role(ROLE_STORE) == NULL &&
	    queue->state == PROC_RUNNING && resolver->state == PROC_RUNNING)
		parent_start_set(P.given);
}

void
parent_run_store(void)
{
	if (parent_find_role(ROLE_STORE) == NULL)
		parent_start_proc(new_proc(ROLE_STORE, NULL));
}

/* ---- what a proc says ---- */

/* Only who was asked may answer: a role could undo any reload. */
static bool
takes_answer(struct ipc *i, struct proc *p)
{
	if (p->asked == 0) {
		ipc_reject(i, "an answer to nothing");
		return false;
	}
	p->asked--;
	return true;
}

static void
on_ready(struct ipc *i, const struct ipc_in *in)
{
	struct proc *p = ipc_arg(i);

	(void)in;
	if (p->state == PROC_RUNNING) { /* a configuration was applied */
		if (!takes_answer(i, p))
			return;
		if (p->ignore_answer)
			p->ignore_answer = false;
		else
			parent_reload_answered();
		return;
	}
	if (p->state != PROC_STARTING)
		return;
	p->state = PROC_RUNNING;
	log_debug("role", "role=%s instance=%u pid=%d state=running",
	    role_name(p->role), p->instance, (int)p->pid);
	if (p->failures > 0)
		parent_is_healthy(p);
	if (p->role == ROLE_QUEUE) {
		parent_give_news_all();
		parent_alarm_give(p);
	} else
		parent_give_news(p, false);
	if (p->role == ROLE_STORE) {
		parent_rehash_give(p);
		parent_give_drain(p, 0);
	}
	if (p->set != NULL)
		check_set(p->set);
	else if (!P.up)
		parent_check_start();
}

/* What begins with a key is said as by parent's own checks, as long as the
 * file that was read last is the one that it is about. */
static void
keep_refusal(struct proc *p, const char *text)
{
	bool fresh = !P.up || (P.reload.given != NULL && !P.reload.renewal);
	size_t n = strcspn(text, ":");
	char *key = xstrndup(text, n);

	if (fresh && text[n] == ':' && conf_is_key(key))
		snprintf(p->refused, sizeof(p->refused), "%s:%d: %s (role %s)",
		    conf_path(), conf_line(key), text, role_name(p->role));
	else
		snprintf(p->refused, sizeof(p->refused), "%s: %s",
		    role_name(p->role), text);
	free(key);
}

static void
on_refused(struct ipc *i, const struct ipc_in *in)
{
	struct proc *p = ipc_arg(i);

	if (p->state == PROC_RUNNING && !takes_answer(i, p))
		return;
	keep_refusal(p, in->m->text.text);
	if (p->state != PROC_RUNNING)
		return; /* it ends now; its death decides */
	p->ignore_answer = false;
	parent_reload_undo(p->refused);
}

static void
on_repair(struct ipc *i, const struct ipc_in *in)
{
	const struct proc *p = ipc_arg(i);

	(void)in;
	if (p->role == ROLE_AUTH)
		parent_run_store();
	else
		ipc_reject(i, "no business of this role");
}

/* A role can't reach the log daemon any more; silent while nobody is there:
 * it asks again. */
static void
on_log_lost(struct ipc *i, const struct ipc_in *in)
{
	struct proc *p = ipc_arg(i);
	int64_t now = clock_ms();
	int fd;

	(void)in;
	if (p->log_ms != 0 && now - p->log_ms < LOG_EVERY_MS)
		return;
	p->log_ms = now;
	if ((fd = logsock_connect()) == -1)
		return;
	ipc_send_fd(i, M_LOG, 0, NULL, fd);
	close(fd);
}

/* ---- */

static int
watch_signals(void)
{
	static const struct {
		int sig;
		event_callback_fn fn;
	} watched[] = { { SIGCHLD, parent_on_child },
		{ SIGHUP, parent_reload_on_hup }, { SIGTERM, parent_on_term },
		{ SIGINT, parent_on_term } };
	struct event *e;
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < sizeof(watched) / sizeof(watched[0]); i++) {
		e = evsignal_new(P.base, watched[i].sig, watched[i].fn, NULL);
		if (e == NULL || event_add(e, NULL) == -1)
			return -1;
	}
	return 0;
}

static int
open_all(char *err, size_t errlen)
{
	if ((P.given = given_load(P.opt->conf_path, err, errlen)) == NULL ||
	    given_prepare(P.given, err, errlen) == -1)
		return EX_CONFIG;
	if (listen_open(&P.listeners, &P.given->conf, NULL, err, errlen) == -1)
		return EX_CONFIG;
	control_path = xstrdup(P.given->conf.control_socket);
	P.control = listen_control(control_path, err, errlen);
	return P.control == -1 ? EX_CONFIG : 0;
}

static void
close_all(void)
{
	pidfile_move("");
	unlink(control_path);
	parent_ticket_wipe();
}

static void
on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	notify_send("WATCHDOG=1");
}

/* The service manager hears regularly that this loop runs. */
static int
begin_watchdog(void)
{
	int64_t ms = notify_watchdog_ms();
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };
	struct event *e;

	if (ms == 0)
		return 0;
	e = event_new(P.base, -1, EV_TIMEOUT | EV_PERSIST, on_watchdog, NULL);
	return e != NULL ? event_add(e, &tv) : -1;
}

/* This very program, also when another version has taken its place on disk.
 * Out of the way of 3, where a role finds its socket. */
static int
open_self(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return -1;
	P.self = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	close(fd);
	return P.self == -1 ? -1 : 0;
}

static int
begin(void)
{
	if (open_self() == -1) {
		log_warn("stop", "file=%s error=%s", "/proc/self/exe",
		    strerror(errno));
		return -1;
	}
	P.base = event_base_new();
	if (P.base == NULL || watch_signals() == -1 || begin_watchdog() == -1 ||
	    getrandom(&P.next_instance, sizeof(P.next_instance), 0) == -1)
		return -1;
	P.map.timer =
	    event_new(P.base, -1, EV_TIMEOUT, parent_map_on_timer, NULL);
	parent_map_watch();
	parent_dns_watch();
	parent_ticket_begin();
	return 0;
}

/* What holds the roles, for whoever wonders later. */
static void
note_start(void)
{
	int abi = landlock_abi();

	log_info("start", "version=%s landlock=%d seccomp=%s", PACKAGE_VERSION,
	    abi, callfilter_is_built_in() ? "yes" : "no");
	if (abi == 0)
		log_warn("sandbox", "note=%s",
		    "this kernel has no Landlock: nothing but the rights of "
		    "its user keeps a role from files");
	if (!callfilter_is_built_in())
		log_warn("sandbox", "note=%s",
		    "built without system-call filters, for tests only: a "
		    "role may make any call");
	if (!secrets_locked)
		log_warn("secrets", "locked=no note=%s",
		    "RLIMIT_MEMLOCK is too small: keys and passwords can be "
		    "swapped out");
	if (geteuid() != 0)
		log_info(
		    "start", "note=%s", "not root: all roles share this user");
}

/* Before OpenSSL is used.  Who shares our user must not read our memory. */
static void
guard_secrets(void)
{
	secrets_locked = tlsmem_init() == 0 && secret_init(PARENT_SECRETS) == 0;
#ifndef SANITIZED
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		secrets_locked = false;
#endif
}

int
parent_main(const struct parent_options *opt)
{
	char err[1024] = "";
	int rc;

	P.opt = opt;
	guard_secrets();
	TAILQ_INIT(&P.procs);
	TAILQ_INIT(&P.sets);
	STAILQ_INIT(&P.rehash);
	notify_init();
	if ((rc = open_all(err, sizeof(err))) != 0) {
		fprintf(stderr, "%s\n", err);
		notify_send("STATUS=%s", notify_text(err, err, sizeof(err)));
		return rc;
	}
	log_open(
	    "parent", opt->log_to_stderr, log_level(P.given->conf.log_level));
	note_start();
	if (begin() == -1) {
		close_all();
		return EX_OSERR;
	}
	parent_tell_manager("");
	parent_start_proc(new_proc(ROLE_STORE, NULL));
	parent_start_proc(new_proc(ROLE_QUEUE, NULL));
	parent_start_proc(new_proc(ROLE_RESOLVER, NULL));
	if (parent_probe != NULL)
		parent_probe();
	event_base_dispatch(P.base);
	if (!P.up)
		parent_kill_all();
	close_all();
	log_info("exit", "status=%d", P.status);
	return P.status;
}
