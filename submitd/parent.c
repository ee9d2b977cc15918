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
 *
 * A reload: load and check everything; have queue and resolver apply it; start
 * a new set; when all of it is ready drain the old one.  Any step that fails
 * leaves the old set as it was.
 */
#include "clock.h"
#include "parent.h"

#include <sys/mman.h>
#include <sys/queue.h>
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
#include <time.h>
#include <unistd.h>

#include "filewatch.h"
#include "given.h"
#include "ipc.h"
#include "listen.h"
#include "log.h"

enum {
	OLD_SETS_MAX = 3,
	HEALTHY_MS = 10 * 1000,	     /* after it a death counts as the first */
	DELAY_MAX_MS = 60 * 1000,    /* between restarts of one proc */
	MAP_SETTLE_MS = 250,	     /* from a change of the map to its use */
	MAP_RETRY_MS = 5 * 1000,     /* after the store could not be written */
	KILL_AFTER_MS = 5 * 1000,    /* beyond the grace of a drain */
	PEM_BY_MESSAGE_MAX = 48 * 1024
};

enum proc_state { PROC_STARTING, PROC_RUNNING, PROC_DRAINING, PROC_WAITING };
static const char *const state_names[] = { "starting", "running", "draining",
	"waiting" };

struct set;

struct proc {
	TAILQ_ENTRY(proc) link;
	enum role role;
	uint32_t instance;
	pid_t pid; /* 0 while it waits to be started again */
	struct ipc *ipc;
	struct set *set; /* NULL: queue, resolver, store */
	enum proc_state state;
	int64_t started_ms;
	unsigned failures; /* in a row */
	struct event *again;
	bool ignore_answer; /* to a configuration that was taken back */
	char refused[512];
};

enum set_state { SET_STARTING, SET_ACTIVE, SET_DRAINING };

struct set {
	TAILQ_ENTRY(set) link;
	unsigned number;
	enum set_state state;
	struct given *given;
	struct event *kill;
};

enum stop_stage { RUNNING, STOP_FRONTS, STOP_REST, STOP_QUEUE };

static struct parent {
	const struct parent_options *opt;
	struct event_base *base;
	TAILQ_HEAD(, proc) procs;
	TAILQ_HEAD(, set) sets;
	struct given *given; /* of queue and resolver, and of new sets */
	struct listeners listeners;
	int control;
	uint32_t next_instance;
	unsigned next_set;
	bool up; /* the first set has been active */
	enum stop_stage stage;
	int status;

	struct { /* a reload under way */
		struct given *given; /* NULL: none is */
		struct given *before;
		struct listeners listeners;
		unsigned answers; /* still to come */
		bool pending;	  /* another SIGHUP came meanwhile */
	} reload;

	struct { /* the file of the access map */
		struct filewatch *watch;
		struct event *ev;    /* something happened to it */
		struct event *timer; /* and is over, or is tried again */
		bool again;	     /* the store role must run once more */
	} map;
} P;

static void start_proc(struct proc *);
static void advance(void);
static void reload_undo(const char *);
static void reload_begin(void);

static void
arm(struct event *e, int64_t ms)
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

static struct proc *
find_role(enum role role)
{
	struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->role == role && p->set == NULL)
			return p;
	return NULL;
}

static struct set *
find_set(enum set_state state)
{
	struct set *s;

	TAILQ_FOREACH(s, &P.sets, link)
		if (s->state == state)
			return s;
	return NULL;
}

/* ---- what a proc is told ---- */

static const struct given *
given_of(const struct proc *p)
{
	return p->set != NULL ? p->set->given : P.given;
}

static void
give_conf(const struct proc *p)
{
	struct buf pairs = { 0 };
	struct m_conf m;

	conf_pairs(&given_of(p)->conf, p->role, &pairs);
	m.pairs.p = buf_head(&pairs);
	m.pairs.len = pairs.len;
	ipc_send(p->ipc, M_CONF, 0, &m);
	buf_clear(&pairs);
}

/* A bundle that fits no message travels as a file in memory. */
static void
give_big_pem(const struct proc *p, enum pem_kind kind, const struct buf *b)
{
	struct m_pem m = { .kind = (uint8_t)kind };
	int fd = memfd_create("pem", MFD_CLOEXEC);

	if (fd != -1 && write(fd, buf_head(b), b->len) == (ssize_t)b->len &&
	    lseek(fd, 0, SEEK_SET) == 0)
		ipc_send_fd(p->ipc, M_PEM, 0, &m, fd);
	else
		log_warn("give", "error=%s", strerror(errno));
	if (fd != -1)
		close(fd);
}

static void
give_pem(const struct proc *p, enum pem_kind kind)
{
	const struct buf *b = &given_of(p)->pem[kind];
	struct m_pem m = { .kind = (uint8_t)kind };

	if (b->len == 0)
		return;
	if (b->len > PEM_BY_MESSAGE_MAX) {
		give_big_pem(p, kind, b);
		return;
	}
	m.data.p = buf_head(b);
	m.data.len = b->len;
	ipc_send(p->ipc, M_PEM, 0, &m);
}

static void
give_files(const struct proc *p)
{
	if (p->role == ROLE_FRONT) {
		give_pem(p, PEM_SERVER_CERT);
		give_pem(p, PEM_SERVER_KEY);
	} else if (p->role == ROLE_AUTH) {
		give_pem(p, PEM_CLIENT_CA);
		give_pem(p, PEM_CLIENT_CRL);
		give_pem(p, PEM_OAUTH_KEY);
	} else if (p->role == ROLE_RELAY) {
		give_pem(p, PEM_SMARTHOST_CA);
		give_pem(p, PEM_SMARTHOST_PASSWORD);
		give_pem(p, PEM_CLIENT_CERT);
		give_pem(p, PEM_CLIENT_KEY);
	}
}

static void
give_listeners(const struct proc *p)
{
	struct m_listen m;
	size_t i;

	if (p->role == ROLE_QUEUE) {
		m.kind = LISTEN_CONTROL;
		m.name = P.given->conf.control_socket;
		ipc_send_fd(p->ipc, M_LISTEN, 0, &m, P.control);
	}
	for (i = 0; p->role == ROLE_FRONT && i < P.listeners.n; i++) {
		m.kind = (uint8_t)P.listeners.v[i].kind;
		m.name = P.listeners.v[i].name;
		ipc_send_fd(p->ipc, M_LISTEN, 0, &m, P.listeners.v[i].fd);
	}
}

/* Who talks to whom: DESIGN's picture, in the README. */
static bool
are_peers(const struct proc *a, const struct proc *b)
{
	static const enum role pairs[][2] = { { ROLE_QUEUE, ROLE_AUTH },
		{ ROLE_QUEUE, ROLE_FRONT }, { ROLE_QUEUE, ROLE_RELAY },
		{ ROLE_RESOLVER, ROLE_FRONT }, { ROLE_RESOLVER, ROLE_RELAY },
		{ ROLE_PAM, ROLE_AUTH }, { ROLE_AUTH, ROLE_FRONT },
		{ ROLE_AUTH, ROLE_RELAY } };
	size_t i;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (pairs[i][0] == a->role && pairs[i][1] == b->role)
			return a->set == NULL || a->set == b->set;
	return false;
}

static void
give_peer(const struct proc *to, const struct proc *other, int fd)
{
	struct m_peer m = { .role = (uint8_t)other->role,
		.instance = other->instance };

	ipc_send_fd(to->ipc, M_PEER, 0, &m, fd);
}

/*
 * The serving side (the first of a pair) hears first: when the other side can
 * send, parent's message is already there to be read.
 */
static void
connect_procs(const struct proc *server, const struct proc *client)
{
	int fd[2];

	if (ipc_pair(fd) == -1) {
		log_warn("connect", "error=%s", strerror(errno));
		return;
	}
	give_peer(server, client, fd[0]);
	give_peer(client, server, fd[1]);
	close(fd[0]);
	close(fd[1]);
}

static void
introduce(const struct proc *p)
{
	const struct proc *q;

	TAILQ_FOREACH(q, &P.procs, link) {
		if (q == p || q->ipc == NULL)
			continue;
		if (are_peers(p, q))
			connect_procs(p, q);
		else if (are_peers(q, p))
			connect_procs(q, p);
	}
}

static void
give_start(const struct proc *p)
{
	struct m_start m = { .instance = p->instance };

	ipc_send(p->ipc, M_START, 0, &m);
}

/* For `submitctl status`, which asks queue. */
static void
tell_queue(const struct proc *p, bool gone)
{
	const struct proc *queue = find_role(ROLE_QUEUE);
	struct m_role m = { .role = (uint8_t)p->role,
		.instance = p->instance,
		.pid = gone ? 0 : (uint32_t)p->pid,
		.state = gone ? "gone" : state_names[p->state] };

	if (queue != NULL && queue->ipc != NULL)
		ipc_send(queue->ipc, M_ROLE, 0, &m);
}

static void
tell_queue_all(void)
{
	const struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->pid != 0)
			tell_queue(p, false);
}

static void
give_drain(struct proc *p, int64_t grace_ms)
{
	struct m_drain m = { .grace_ms = (uint32_t)grace_ms,
		.stop = P.stage != RUNNING };

	if (p->state == PROC_DRAINING)
		return;
	p->state = PROC_DRAINING;
	if (p->ipc != NULL)
		ipc_send(p->ipc, M_DRAIN, 0, &m);
	if (p->again != NULL)
		event_del(p->again);
	tell_queue(p, false);
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
	char *const argv[] = { prog, x, role,
		P.opt->log_to_stderr ? d : NULL, NULL };
	char *env[4] = { NULL };
	int n = 0;
	static const char *const kept[] = { "TZ=", "ASAN_OPTIONS=",
		"UBSAN_OPTIONS=" };
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

	(void)why; /* SIGCHLD tells the rest */
	p->ipc = NULL;
	if (p->pid != 0)
		kill(p->pid, SIGTERM);
}

static void on_ready(struct ipc *, const struct ipc_in *);
static void on_refused(struct ipc *, const struct ipc_in *);
static void on_repair(struct ipc *, const struct ipc_in *);

static const struct ipc_rule rules[] = {
	{ M_READY, on_ready },
	{ M_REFUSED, on_refused },
	{ M_REPAIR, on_repair },
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
	give_conf(p);
	give_files(p);
	give_listeners(p);
	introduce(p);
	give_start(p);
	tell_queue(p, false);
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
		delay = p->failures < 7 ? 1000 << (p->failures - 1) :
					  DELAY_MAX_MS;
	if (delay > DELAY_MAX_MS)
		delay = DELAY_MAX_MS;
	if (p->failures++ >= 3)
		log_warn("alarm", "what=crash-loop role=%s failures=%u "
		    "next_ms=%ld", role_name(p->role), p->failures,
		    (long)delay);
	p->state = PROC_WAITING;
	if (p->again == NULL)
		p->again = event_new(P.base, -1, EV_TIMEOUT, on_again, p);
	arm(p->again, delay);
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

static void
kill_set(const struct set *s)
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
	kill_set(s);
}

static void
drain_role(const struct set *s, enum role role, int64_t grace_ms)
{
	struct proc *p;

	TAILQ_FOREACH(p, &P.procs, link)
		if (p->set == s && p->role == role)
			give_drain(p, grace_ms);
}

/* Procs that wait to be started again have nobody to say good-bye to. */
static void
drop_waiting(const struct set *s)
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
	drop_waiting(s);
	drain_role(s, ROLE_FRONT, grace_ms);
	if (P.stage == RUNNING)
		drain_role(s, ROLE_RELAY, grace_ms);
	s->kill = event_new(P.base, -1, EV_TIMEOUT, on_kill, s);
	arm(s->kill, grace_ms + KILL_AFTER_MS);
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

static void
start_set(struct given *g)
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
		log_warn("pid_file", "file=%s error=%s", path,
		    strerror(errno));
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
	struct set *old = find_set(SET_ACTIVE);

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

/* ---- start and reload ---- */

/* The first set waits until the store is sound and queue has its spool. */
static void
check_start(void)
{
	const struct proc *queue = find_role(ROLE_QUEUE);
	const struct proc *resolver = find_role(ROLE_RESOLVER);

	if (TAILQ_EMPTY(&P.sets) && find_role(ROLE_STORE) == NULL &&
	    queue->state == PROC_RUNNING && resolver->state == PROC_RUNNING)
		start_set(P.given);
}

static void
repair_store(void)
{
	if (find_role(ROLE_STORE) == NULL)
		start_proc(new_proc(ROLE_STORE, NULL));
}

/* ---- the access map: read by the store role whenever its file changes ---- */

/* Not before this moment: a store role that runs may have read it already. */
static void
read_map(void)
{
	if (P.stage != RUNNING)
		return;
	if (find_role(ROLE_STORE) != NULL)
		P.map.again = true;
	else
		repair_store();
}

static void
on_map_change(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (filewatch_changed(P.map.watch) &&
	    !event_pending(P.map.timer, EV_TIMEOUT, NULL))
		arm(P.map.timer, MAP_SETTLE_MS);
}

static void
watch_map(void)
{
	const char *path = P.given->conf.access_map;

	if (P.map.ev != NULL)
		event_free(P.map.ev);
	P.map.ev = NULL;
	filewatch_free(&P.map.watch);
	if (path[0] == '\0')
		return;
	if ((P.map.watch = filewatch_new(path)) == NULL) {
		log_warn("access-map", "file=%s error=%s action=%s", path,
		    strerror(errno), "changes are seen at SIGHUP only");
		return;
	}
	P.map.ev = event_new(P.base, filewatch_fd(P.map.watch),
	    EV_READ | EV_PERSIST, on_map_change, NULL);
	event_add(P.map.ev, NULL);
}

/* Watched anew before it is read, so that no change is lost in between. */
static void
on_map_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	watch_map();
	read_map();
}

/* The store role has ended. */
static void
map_was_read(bool well)
{
	if (!well && P.given->conf.access_map[0] != '\0')
		arm(P.map.timer, MAP_RETRY_MS);
	if (!P.map.again)
		return;
	P.map.again = false;
	read_map();
}

static void
apply_conf(enum role role)
{
	struct proc *p = find_role(role);

	if (p != NULL && p->ipc != NULL)
		give_conf(p);
}

/* P.given is already the new one: give_conf() sends it. */
static void
reload_apply(void)
{
	P.reload.answers = 2;
	apply_conf(ROLE_QUEUE);
	apply_conf(ROLE_RESOLVER);
}

static void
reload_begin(void)
{
	struct proc *queue = find_role(ROLE_QUEUE);
	struct proc *resolver = find_role(ROLE_RESOLVER);
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
	watch_map();
	read_map();
	reload_apply();
}

static void
reload_answered(void)
{
	struct listeners old;

	if (P.reload.given == NULL || P.reload.answers == 0 ||
	    --P.reload.answers > 0)
		return;
	old = P.listeners;
	P.listeners = P.reload.listeners;
	P.reload.listeners = old; /* closed when the new set stands */
	start_set(P.given);
}

/* Back to what was before; the old set never noticed. */
static void
reload_undo(const char *why)
{
	struct set *s = find_set(SET_STARTING);
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
		drop_waiting(s);
		TAILQ_FOREACH(p, &P.procs, link)
			if (p->set == s)
				p->state = PROC_DRAINING;
		kill_set(s);
	}
	listen_close(&P.reload.listeners);
	given_release(&P.reload.given);
	given_release(&P.given);
	P.given = P.reload.before;
	P.reload.before = NULL;
	watch_map();
	read_map();
	TAILQ_FOREACH(p, &P.procs, link) {
		if (p->set != NULL || p->role == ROLE_STORE || p->ipc == NULL)
			continue;
		p->ignore_answer = p->state == PROC_RUNNING;
		give_conf(p);
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

static void
on_hup(evutil_socket_t sig, short what, void *arg)
{
	(void)sig, (void)what, (void)arg;
	if (P.stage != RUNNING)
		return;
	if (!P.up || P.reload.given != NULL || old_sets() >= OLD_SETS_MAX) {
		P.reload.pending = true;
		return;
	}
	reload_begin();
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
			give_drain(p, P.given->conf.stop_grace);
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
	if (P.reload.pending && P.stage == RUNNING && P.up &&
	    P.reload.given == NULL && old_sets() < OLD_SETS_MAX) {
		P.reload.pending = false;
		reload_begin();
	}
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
	arm(deadline, grace + 2 * KILL_AFTER_MS);
	TAILQ_FOREACH(s, &P.sets, link) {
		if (s->state != SET_DRAINING)
			drain_set(s, grace);
	}
	advance();
}

/* ---- what a proc says, and how it ends ---- */

static void
on_ready(struct ipc *i, const struct ipc_in *in)
{
	struct proc *p = ipc_arg(i);

	(void)in;
	if (p->state == PROC_RUNNING) { /* a configuration was applied */
		if (p->ignore_answer)
			p->ignore_answer = false;
		else
			reload_answered();
		return;
	}
	if (p->state != PROC_STARTING)
		return;
	p->state = PROC_RUNNING;
	log_debug("role", "role=%s instance=%u pid=%d state=running",
	    role_name(p->role), p->instance, (int)p->pid);
	if (p->role == ROLE_QUEUE)
		tell_queue_all();
	else
		tell_queue(p, false);
	if (p->role == ROLE_STORE)
		give_drain(p, 0);
	if (p->set != NULL)
		check_set(p->set);
	else if (!P.up)
		check_start();
}

static void
on_refused(struct ipc *i, const struct ipc_in *in)
{
	struct proc *p = ipc_arg(i);

	snprintf(p->refused, sizeof(p->refused), "%s: %s", role_name(p->role),
	    in->m->text.text);
	if (p->state != PROC_RUNNING)
		return; /* it ends now; its death decides */
	p->ignore_answer = false;
	reload_undo(p->refused);
}

static void
on_repair(struct ipc *i, const struct ipc_in *in)
{
	(void)i, (void)in;
	repair_store();
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
}

static void
start_failed(const struct proc *p)
{
	char why[600];

	snprintf(why, sizeof(why), "%s", p->refused[0] != '\0' ? p->refused :
		"a role died while the service was starting");
	give_up(p->refused[0] != '\0' ? EX_CONFIG : EX_SOFTWARE, why);
}

static void
on_death(struct proc *p, int status)
{
	log_death(p, status);
	tell_queue(p, true);
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
		if (store)
			map_was_read(well);
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

		snprintf(why, sizeof(why), "%s", p->refused[0] != '\0' ?
			p->refused : "a role of the new set died");
		p->state = PROC_DRAINING;
		reload_undo(why);
		free_proc(p);
		advance();
		return;
	}
	if (P.reload.given != NULL && p->set == NULL && P.reload.answers > 0)
		reload_undo("queue or resolver died");
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
	} watched[] = { { SIGCHLD, on_child }, { SIGHUP, on_hup },
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

int
parent_main(const struct parent_options *opt)
{
	char err[1024] = "";
	int rc;

	P.opt = opt;
	TAILQ_INIT(&P.procs);
	TAILQ_INIT(&P.sets);
	if ((rc = open_all(err, sizeof(err))) != 0) {
		fprintf(stderr, "%s\n", err);
		return rc;
	}
	log_open("parent", opt->log_to_stderr,
	    log_level(P.given->conf.log_level));
	if (geteuid() != 0)
		log_info("start", "note=%s",
		    "not root: all roles share this user");
	P.base = event_base_new();
	if (P.base == NULL || watch_signals() == -1 ||
	    getrandom(&P.next_instance, sizeof(P.next_instance), 0) == -1) {
		close_all();
		return EX_OSERR;
	}
	P.map.timer = event_new(P.base, -1, EV_TIMEOUT, on_map_timer, NULL);
	watch_map();
	start_proc(new_proc(ROLE_STORE, NULL));
	start_proc(new_proc(ROLE_QUEUE, NULL));
	start_proc(new_proc(ROLE_RESOLVER, NULL));
	event_base_dispatch(P.base);
	close_all();
	log_info("exit", "status=%d", P.status);
	return P.status;
}
