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
 *	draining    finish their sessions and leave; nothing is started again
 */
#include "parent_int.h"

#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>

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
#include "sandbox.h"
#include "tlsmem.h"

enum {
	HEALTHY_MS = 10 * 1000,   /* after it a death counts as the first */
	DELAY_MAX_MS = 60 * 1000, /* between restarts of one proc */
	LOG_EVERY_MS = 500,       /* sockets of the log for one proc */
	KILL_AFTER_MS = 5 * 1000, /* beyond the grace of a drain */
	PARENT_SECRETS = 128 * 1024 /* bytes of memory for secrets */
};

struct parent P;
void (*parent_probe)(void);
static bool secrets_locked;

static void start_proc(struct proc *);
static void advance(void);

void
parent_arm(struct event *e, int64_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	event_add(e, &tv);
}

/* Ends parent; the roles leave when their sockets close. */
static void
give_up(int status, const char *why)
{
	log_warn("stop", "error=%s", why);
	if (!P.up && P.opt->ready_fd != -1)
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

static void
free_proc(struct proc *p)
{
	TAILQ_REMOVE(&P.procs, p, link);
	if (p->again != NULL)
		event_free(p->again);
	parent_peers_forget(p);
	ipc_free(&p->ipc);
	free(p);
}

static void run_role(const struct proc *, int) __attribute__((noreturn));

/* The child's side: a fresh image of this binary with nothing inherited but
 * its socket and an empty environment. */
static void
run_role(const struct proc *p, int fd)
{
	char self[] = "/proc/self/exe", x[] = "-x", d[] = "-d";
	char prog[] = "submitd", role[16];
	char *const argv[] = { prog, x, role, P.opt->log_to_stderr ? d : NULL,
		NULL };
	char *env[4] = { NULL };
	int n = 0;
	static const char *const kept[] = { "TZ=",
#ifdef SANITIZED
		"ASAN_OPTIONS=", "UBSAN_OPTIONS="
#endif
	};
	size_t i, j;
	sigset_t none;

	for (i = 0; environ[i] != NULL; i++)
		for (j = 0; j < sizeof(kept) / sizeof(kept[0]) && n < 3; j++)
			if (strncmp(environ[i], kept[j], strlen(kept[j])) == 0)
				env[n++] = environ[i];
	snprintf(role, sizeof(role), "%s", role_name(p->role));
	if (fd == 3) /* already there, but closed on exec */
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, 3);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(self, argv, env);
	_exit(EX_OSERR);
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

static void
start_proc(struct proc *p)
{
	int fd[2];

	if (ipc_pair(fd) == -1) {
		give_up(EX_OSERR, "cannot make a socket pair");
		return;
	}
	p->instance = P.next_instance++ & 0xffffff;
	p->state = PROC_STARTING;
	p->asked = 0;
	p->refused[0] = '\0';
	p->started_ms = clock_ms();
	if ((p->pid = fork()) == -1) {
		give_up(EX_OSERR, "cannot fork");
		return;
	}
	if (p->pid == 0)
		run_role(p, fd[1]);
	close(fd[1]);
	p->ipc = ipc_new(P.base, fd[0], rules, on_gone, p);
	parent_give_setup(p);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	start_proc(arg);
}

static void
restart_later(struct proc *p)
{
	int64_t delay = 0;

	if (clock_ms() - p->started_ms >= HEALTHY_MS)
		p->failures = 0;
	if (p->failures > 0)
		delay =
		    p->failures < 7 ? 1000 << (p->failures - 1) : DELAY_MAX_MS;
	if (delay > DELAY_MAX_MS)
		delay = DELAY_MAX_MS;
	if (p->failures++ >= 3)
		log_warn("alarm",
		    "what=crash-loop role=%s failures=%u "
		    "next_ms=%ld",
		    role_name(p->role), p->failures, (long)delay);
	p->state = PROC_WAITING;
	if (p->again == NULL)
		p->again = event_new(P.base, -1, EV_TIMEOUT, on_again, p);
	parent_arm(p->again, delay);
}

/* ---- sets ---- */

static bool
set_has(const struct set *s, enum role role)
{
	const struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s && (role == ROLE_COUNT || p->role == role))
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

static void
on_kill(evutil_socket_t fd, short what, void *arg)
{
	const struct set *s = arg;

	(void)fd, (void)what;
	log_warn("drain", "set=%u result=killed", s->number);
	parent_kill_set(s);
}

static void
drain_role(const struct set *s, enum role role, int64_t grace_ms)
{
	struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s && p->role == role)
			parent_give_drain(p, grace_ms);
}

/* Procs that wait to be started again have nobody to say good-bye to. */
void
parent_drop_waiting(const struct set *s)
{
	struct proc *p, *next;

	for (p = TAILQ_FIRST(&P.procs); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->set == s && p->pid == 0)
			free_proc(p);
	}
}

/* Fronts and relay finish; auth leaves when they have, then pam. */
static void
drain_set(struct set *s, int64_t grace_ms)
{
	if (s->state == SET_DRAINING)
		return;
	s->state = SET_DRAINING;
	log_info("drain", "set=%u grace_ms=%ld", s->number, (long)grace_ms);
	parent_drop_waiting(s);
	drain_role(s, ROLE_FRONT, grace_ms);
	if (P.stage == RUNNING)
		drain_role(s, ROLE_RELAY, grace_ms);
	s->kill = event_new(P.base, -1, EV_TIMEOUT, on_kill, s);
	parent_arm(s->kill, grace_ms + KILL_AFTER_MS);
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
	struct proc *p;
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
	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s)
			start_proc(p);
}

static void
free_set(struct set *s)
{
	TAILQ_REMOVE(&P.sets, s, link);
	if (s->kill != NULL)
		event_free(s->kill);
	given_release(&s->given);
	free(s);
}

static void
write_pid_file(void)
{
	const char *path = P.given->conf.pid_file;
	FILE *fp;

	if (path[0] == '\0')
		return;
	if ((fp = fopen(path, "we")) == NULL ||
	    fprintf(fp, "%d\n", (int)getpid()) < 0 || fclose(fp) == EOF)
		log_warn("pid_file", "file=%s error=%s", path, strerror(errno));
}

static void
announce(const struct set *s)
{
	log_info("ready", "set=%u listeners=%zu version=%s", s->number,
	    P.listeners.n, PACKAGE_VERSION);
	if (P.up)
		return;
	P.up = true;
	write_pid_file();
	if (P.opt->ready_fd == -1)
		return;
	/* Who started us may go; the terminal is no longer ours. */
	if (write(P.opt->ready_fd, "", 1) == -1 ||
	    dup2(STDIN_FILENO, STDERR_FILENO) == -1)
		log_warn("ready", "error=%s", strerror(errno));
}

static void
activate(struct set *s)
{
	struct set *old = parent_find_set(SET_ACTIVE);

	s->state = SET_ACTIVE;
	if (P.reload.given != NULL) { /* the new one stands */
		listen_close(&P.reload.listeners);
		given_release(&P.reload.before);
		given_release(&P.reload.given);
		log_info("reload", "result=ok set=%u", s->number);
	}
	announce(s);
	if (old != NULL)
		drain_set(old, old->given->conf.reload_grace);
	advance();
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
static void
check_start(void)
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
		start_proc(new_proc(ROLE_STORE, NULL));
}

/* ---- stopping ---- */

static bool
have_role(enum role role)
{
	const struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->role == role)
			return true;
	return false;
}

static void
drain_all(enum role role)
{
	struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->role == role)
			parent_give_drain(p, P.given->conf.stop_grace);
}

/* The next step of a stop, and of every drain, when something has left. */
static void
advance(void)
{
	struct set *s, *next;

	for (s = TAILQ_FIRST(&P.sets); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->state != SET_DRAINING)
			continue;
		if (!set_has(s, ROLE_FRONT) && !set_has(s, ROLE_RELAY) &&
		    P.stage != STOP_FRONTS)
			drain_role(s, ROLE_AUTH, 0);
		if (!set_has(s, ROLE_AUTH))
			drain_role(s, ROLE_PAM, 0);
		if (!set_has(s, ROLE_COUNT))
			free_set(s);
	}
	if (P.stage == STOP_FRONTS && !have_role(ROLE_FRONT)) {
		P.stage = STOP_REST;
		drain_all(ROLE_RELAY);
	}
	if (P.stage == STOP_REST && !have_role(ROLE_RELAY))
		drain_all(ROLE_AUTH);
	if (P.stage == STOP_REST && !have_role(ROLE_RELAY) &&
	    !have_role(ROLE_AUTH)) {
		drain_all(ROLE_PAM);
		P.stage = STOP_QUEUE;
		drain_all(ROLE_RESOLVER);
		drain_all(ROLE_QUEUE);
	}
	if (P.stage == STOP_QUEUE && TAILQ_EMPTY(&P.procs))
		event_base_loopbreak(P.base);
	parent_reload_resume();
}

static void
on_stop_deadline(evutil_socket_t fd, short what, void *arg)
{
	const struct proc *p;

	(void)fd, (void)what, (void)arg;
	log_warn("stop", "result=%s", "deadline passed, killing the rest");
	TAILQ_FOREACH(p, &P.procs, link)
		if (p->pid != 0)
			kill(p->pid, SIGKILL);
	event_base_loopbreak(P.base);
}

static void
on_term(evutil_socket_t sig, short what, void *arg)
{
	int64_t grace = P.given->conf.stop_grace;
	struct event *deadline;
	struct set *s;

	(void)what, (void)arg;
	if (P.stage != RUNNING || !P.up) { /* the second one is in a hurry */
		event_base_loopbreak(P.base);
		return;
	}
	log_info("stop", "signal=%d grace_ms=%ld", (int)sig, (long)grace);
	P.stage = STOP_FRONTS;
	listen_close(&P.listeners);
	deadline = event_new(P.base, -1, EV_TIMEOUT, on_stop_deadline, NULL);
	parent_arm(deadline, grace + 2 * KILL_AFTER_MS);
	TAILQ_FOREACH(s, &P.sets, link) {
		if (s->state != SET_DRAINING)
			drain_set(s, grace);
	}
	advance();
}

/* ---- what a proc says, and how it ends ---- */

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
	if (p->role == ROLE_QUEUE)
		parent_give_news_all();
	else
		parent_give_news(p, false);
	if (p->role == ROLE_STORE) {
		parent_rehash_give(p);
		parent_give_drain(p, 0);
	}
	if (p->set != NULL)
		check_set(p->set);
	else if (!P.up)
		check_start();
}

static void
on_refused(struct ipc *i, const struct ipc_in *in)
{
	struct proc *p = ipc_arg(i);

	if (p->state == PROC_RUNNING && !takes_answer(i, p))
		return;
	snprintf(p->refused, sizeof(p->refused), "%s: %s", role_name(p->role),
	    in->m->text.text);
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

/* What a filter killed can't say so itself, or would lie. */
static void
log_violation(const struct proc *p)
{
	log_warn("sandbox", "role=%s instance=%u pid=%d action=%s error=%s",
	    role_name(p->role), p->instance, (int)p->pid, "killed",
	    "made a system call that its role never makes");
}

static void
log_death(const struct proc *p, int status)
{
	bool expected = p->state == PROC_DRAINING && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0;

	log_event(expected ? LOG_DEBUG : LOG_WARNING, 0, 0, "role",
	    "role=%s instance=%u pid=%d state=gone %s=%d", role_name(p->role),
	    p->instance, (int)p->pid, WIFSIGNALED(status) ? "signal" : "exit",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_violation(p);
}

static void
start_failed(const struct proc *p)
{
	char why[600];

	snprintf(why, sizeof(why), "%s",
	    p->refused[0] != '\0'
		? p->refused
		: "a role died while the service was starting");
	give_up(p->refused[0] != '\0' ? EX_CONFIG : EX_SOFTWARE, why);
}

static void
on_death(struct proc *p, int status)
{
	log_death(p, status);
	parent_table_back(p);
	parent_give_news(p, true);
	p->pid = 0;
	ipc_free(&p->ipc);
	if (p->state == PROC_DRAINING || p->role == ROLE_STORE) {
		bool store = p->role == ROLE_STORE;
		bool well = p->state == PROC_DRAINING;

		if (store && !well && !P.up) {
			start_failed(p);
			return;
		}
		free_proc(p);
		if (store) {
			parent_map_was_read(well);
			parent_rehash_after(well);
		}
		if (!P.up && P.stage == RUNNING)
			check_start();
		advance();
		return;
	}
	if (!P.up) {
		start_failed(p);
		return;
	}
	if (p->set != NULL && p->set->state == SET_STARTING) {
		char why[600];

		snprintf(why, sizeof(why), "%s",
		    p->refused[0] != '\0' ? p->refused
					  : "a role of the new set died");
		free_proc(p); /* undoing frees all that have no process */
		parent_reload_undo(why);
		advance();
		return;
	}
	if (P.reload.given != NULL && p->set == NULL && P.reload.answers > 0)
		parent_reload_undo("queue or resolver died");
	restart_later(p);
}

static void
on_child(evutil_socket_t sig, short what, void *arg)
{
	struct proc *p;
	pid_t pid;
	int status;

	(void)sig, (void)what, (void)arg;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		TAILQ_FOREACH(p, &P.procs, link)
			if (p->pid == pid)
				break;
		if (p == NULL)
			continue;
		/* What it said last is in the socket still. */
		if (p->ipc != NULL)
			ipc_drain(p->ipc);
		on_death(p, status);
	}
}

/* ---- */

static int
watch_signals(void)
{
	static const struct {
		int sig;
		event_callback_fn fn;
	} watched[] = { { SIGCHLD, on_child }, { SIGHUP, parent_reload_on_hup },
		{ SIGTERM, on_term }, { SIGINT, on_term } };
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
	P.control = listen_control(P.given->conf.control_socket, err, errlen);
	return P.control == -1 ? EX_CONFIG : 0;
}

static void
close_all(void)
{
	if (P.up && P.given->conf.pid_file[0] != '\0')
		unlink(P.given->conf.pid_file);
	unlink(P.given->conf.control_socket);
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
		    "this kernel has no Landlock: files are guarded by users "
		    "only");
	if (!callfilter_is_built_in())
		log_warn("sandbox", "note=%s",
		    "built without system-call filters: not for use");
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
	secrets_locked =
	    tlsmem_init() == 0 && secret_init(PARENT_SECRETS) == 0;
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
	if ((rc = open_all(err, sizeof(err))) != 0) {
		fprintf(stderr, "%s\n", err);
		return rc;
	}
	log_open(
	    "parent", opt->log_to_stderr, log_level(P.given->conf.log_level));
	note_start();
	P.base = event_base_new();
	if (P.base == NULL || watch_signals() == -1 ||
	    getrandom(&P.next_instance, sizeof(P.next_instance), 0) == -1) {
		close_all();
		return EX_OSERR;
	}
	P.map.timer =
	    event_new(P.base, -1, EV_TIMEOUT, parent_map_on_timer, NULL);
	parent_map_watch();
	parent_dns_watch();
	start_proc(new_proc(ROLE_STORE, NULL));
	start_proc(new_proc(ROLE_QUEUE, NULL));
	start_proc(new_proc(ROLE_RESOLVER, NULL));
	if (parent_probe != NULL)
		parent_probe();
	event_base_dispatch(P.base);
	close_all();
	log_info("exit", "status=%d", P.status);
	return P.status;
}
