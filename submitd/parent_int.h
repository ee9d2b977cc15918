/* The inside of parent: for the parent*.c files that make it up. */
#ifndef SUBMITD_PARENT_INT_H
#define SUBMITD_PARENT_INT_H

#include <sys/queue.h>
#include <sys/types.h>

#include "conntable.h"
#include "filewatch.h"
#include "given.h"
#include "ipc.h"
#include "listen.h"
#include "parent.h"

struct event;
struct event_base;

enum proc_state { PROC_STARTING, PROC_RUNNING, PROC_DRAINING, PROC_WAITING };
struct set;
struct table; /* parent_table.c */

struct proc {
	TAILQ_ENTRY(proc) link;
	enum role role;
	uint32_t instance;
	pid_t pid; /* 0 while it waits to be started again */
	struct ipc *ipc;
	struct set *set; /* NULL: queue, resolver, store */
	enum proc_state state;
	unsigned failures;     /* in a row: deaths before it was healthy */
	struct event *again;   /* it is started then */
	struct event *healthy; /* its failures are forgotten then */
	struct table *table;   /* front: its region, until it is dead */
	uint32_t region;
	bool ignore_answer;    /* to a configuration that was taken back */
	unsigned asked;        /* configurations it has still to answer */
	int64_t log_ms;        /* when it asked for the log's socket last */

	/* parent_peers.c */
	unsigned complaints;  /* about roles that are trusted more */
	int64_t complaint_ms; /* of the first of these */
	struct event *lost;   /* it has closed a socket: does it live on? */
	uint32_t lost_instance;
	struct { /* who said so */
		enum role role;
		uint32_t instance;
	} lost_by;

	char refused[700]; /* why it does not serve; "" */
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

struct rehash; /* parent_rehash.c */

struct parent {
	const struct parent_options *opt;
	struct event_base *base;
	TAILQ_HEAD(, proc) procs;
	TAILQ_HEAD(, set) sets;
	struct given *given; /* of queue and resolver, and of new sets */
	struct listeners listeners;
	struct table *table; /* of the next fronts */
	int control;
	int self; /* the program, for roles */
	uint32_t next_instance;
	unsigned next_set;
	bool up; /* the first set has been active */
	enum stop_stage stage;
	int status;

	struct {                     /* a reload under way */
		struct given *given; /* NULL: none is */
		struct given *before;
		struct listeners listeners;
		unsigned answers; /* still to come */
		bool renewal;     /* of files: the configuration stays */
		bool pending;     /* another SIGHUP came meanwhile */
	} reload;

	STAILQ_HEAD(, rehash) rehash; /* for the next store role */
	unsigned rehashes;

	struct { /* certificates, keys and the like */
		struct filewatch *watch;
		struct event *ev;    /* something happened to them */
		struct event *timer; /* they are looked at then */
		int64_t since_ms;    /* of the first change not looked at; 0 */
		bool pending;        /* something was in the way */
	} files;

	struct { /* the file of the access map */
		struct filewatch *watch;
		struct event *ev;    /* something happened to it */
		struct event *timer; /* and is over, or is tried again */
		bool again;          /* the store role must run once more */
	} map;
};

extern struct parent P;

/* parent.c: procs and sets */
void parent_arm(struct event *, int64_t ms);
void parent_give_up(int status, const char *why);
struct proc *parent_find_role(enum role); /* of those in no set */
struct set *parent_find_set(enum set_state);
bool parent_has_role(const struct set *, enum role); /* NULL: any set */
void parent_start_proc(struct proc *);
void parent_free_proc(struct proc *);
void parent_check_start(void); /* the next step, until the service stands */
void parent_start_set(struct given *);
void parent_kill_set(const struct set *);
void parent_drop_waiting(const struct set *);
void parent_free_set(struct set *);
void parent_run_store(void); /* unless it runs already */

/* parent_spawn.c: processes. -1: there is none, errno says why. */
enum { PARENT_MANY_MAX = 64 };
pid_t parent_spawn(enum role, int fd);
void parent_spawn_many(
    enum role, const int *fd, size_t n, pid_t pid[PARENT_MANY_MAX]);

/* parent_end.c: procs that die, sets that drain, the stop of all */
void parent_on_child(int, short, void *);
void parent_on_term(int, short, void *);
void parent_drain_set(struct set *, int64_t grace_ms);
void parent_advance(void); /* the next step of drains and of the stop */
void parent_restart_later(struct proc *, const char *how);
void parent_is_healthy(struct proc *); /* in a while, if it lives so long */
void parent_crash_over(const struct proc *);
void parent_kill_all(void); /* and waits for them */

/* parent_give.c: what a proc is told */
int parent_give_setup(struct proc *); /* all it needs to start; or -1 */
void parent_give_conf(const struct proc *);
/* To one that runs: it has to answer. */
void parent_ask_conf(struct proc *);
/* The bytes of a file, or of a secret, whole, however many; 0 or -1. */
int parent_give_bytes(
    const struct proc *, enum pem_kind, const void *, size_t len);
void parent_give_drain(struct proc *, int64_t grace_ms);
/* To queue, for `submitctl status`: a proc has this state now, or is gone. */
void parent_give_news(const struct proc *, bool gone);
void parent_give_news_all(void);
/* Whether they have a socket to each other. */
bool parent_are_peers(const struct proc *, const struct proc *);

/* parent_table.c: the table of connections */
void parent_table_give(struct proc *);
/* The process is dead: what it counted is forgotten. */
void parent_table_back(struct proc *);
/* parent_dns.c: resolv.conf and hosts */
void parent_dns_watch(void);
int parent_dns_give(const struct proc *); /* to the resolver; 0 or -1 */

/* parent_peers.c: what roles say of each other */
ipc_handler parent_on_bad_peer;
void parent_peers_forget(struct proc *);

/* parent_alarm.c: what an administrator should look at, by who and what it is
 * about; for `submitctl status` and the service manager.  The caller logs. */
void parent_alarm(const char *what, const char *trouble, const char *text);
void parent_alarm_over(const char *what, const char *trouble);
void parent_alarm_give(const struct proc *queue);
/* Tells the service manager how we are, after the words (or ""). */
void parent_tell_manager(const char *words);

/* parent_file.c: files whose content the roles have */
void parent_file_begin(void); /* of the configuration in force: watch, look */
void parent_file_refused(const char *why);
void parent_file_resume(void);

/* parent_tls.c: OCSP responses and TLS policy of the configuration in force */
void parent_tls_tell(void);   /* the log and alarms, what is news */
void parent_tls_policy(void); /* the log */
void parent_tls_staples(struct given *from); /* renewed, for all fronts */

/* parent_expiry.c: certificates that end soon, of the configuration in force;
 * looks again by itself */
void parent_expiry_look(void);

/* parent_ticket.c: keys of TLS session tickets */
void parent_ticket_begin(void); /* as the configuration in force says */
int parent_ticket_give(const struct proc *front);
void parent_ticket_wipe(void);

/* parent_map.c: the file of the access map */
void parent_map_read(void);
void parent_map_watch(void);
void parent_map_was_read(bool well);
void parent_map_on_timer(int, short, void *);

/* parent_rehash.c: new records of passwords, from auth to store */
ipc_handler parent_rehash_take;
void parent_rehash_give(const struct proc *store);
/* The store role has ended. */
void parent_rehash_after(bool well);

/* parent_reload.c: SIGHUP, and files that were renewed */
void parent_reload_begin(void);
bool parent_reload_is_possible(void);
void parent_reload_renew(struct given *); /* takes it */
void parent_reload_on_hup(int, short, void *);
void parent_reload_answered(void);
void parent_reload_done(const struct set *); /* the new set stands */
void parent_reload_undo(const char *why);
/* What came while a reload, or too many old sets, were in the way. */
void parent_reload_resume(void);

#endif
