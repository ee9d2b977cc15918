/*
 * The queue role, for its own files only:
 *
 *	queue.c		the role: spool, peers, and the commit group
 *	queue_front.c	who may submit what, and what fronts bring
 *	queue_again.c	the same mail again
 *	queue_job.c	the schedule, jobs for the relay, results
 *	queue_dest.c	whether the smarthost can be used at all
 *	queue_bounce.c	reports to senders; mail that is too old
 *	queue_history.c	why mail was accepted or refused
 *	queue_ctl.c	what submitctl asks
 *	queue_login.c	logins: guessing, last use of devices
 *	queue_conns.c	how many clients the fronts have
 *	queue_sums.c	what users and devices sent lately
 *	queue_quota.c	limits on it
 *	queue_suspend.c	an end to what looks like a stolen account
 *	queue_alarm.c	what parent wants to be looked at
 *
 * Everything that changes the database on its way in or out is an operation
 * (struct queue_op) and waits for the commit group: all that is there when the
 * loop has handled its events goes into one transaction, at most
 * QUEUE_GROUP_MAX of them, and whoever waits for an answer gets it after the
 * COMMIT. Commands of an administrator are transactions of their own.
 */
#ifndef SUBMITD_QUEUE_H
#define SUBMITD_QUEUE_H

#include <sys/queue.h>

#include <jansson.h>

#include "digest.h"
#include "dsn.h"
#include "ipc.h"
#include "role.h"
#include "smtp_reply.h"
#include "store/mailq.h"

struct control;
struct control_conn;
struct event;
struct queue;

enum {
	QUEUE_GROUP_MAX = 128,      /* operations of one transaction */
	QUEUE_BUCKETS = 1024,       /* of the hash tables */
	QUEUE_SESSIONS_MAX = 65536, /* of one front */
	QUEUE_RCPTS_MAX = 100000,   /* of one envelope */
	QUEUE_DECISIONS_MAX = 8     /* kept of one envelope */
};

/* The socket pair to a front, an auth or a relay. */
struct queue_peer {
	TAILQ_ENTRY(queue_peer) link;
	struct queue *q;
	struct ipc *ipc;
	enum role role;
	uint32_t instance;
	unsigned sessions;    /* front: sessions granted */
	unsigned jobs;        /* relay: in flight */
	uint32_t connections; /* relay: as it said last */
	bool draining;        /* relay: it gets no new jobs */
};
TAILQ_HEAD(queue_peers, queue_peer);

/* What auth allowed: one transaction of one session. Used once. */
struct queue_rcpt {
	char *address;
	char *note;
	char *orcpt;
	uint8_t notify;
	uint8_t flags; /* enum envelope_flag */
	bool remember;  /* the digest is to be stored */
	int64_t digest; /* of user and address */
};

/* One decision and, behind it in the same block, its strings. Auth tells one on
 * a recipient only where it is not as the one before. */
struct queue_decision {
	TAILQ_ENTRY(queue_decision) link;
	bool of_rcpt;
	size_t first; /* of the envelope's recipients, if so */
	char *rcpts;  /* rcptlist.h; NULL: as told */
	struct decision d;
};
TAILQ_HEAD(queue_decisions, queue_decision);

struct queue_envelope {
	uint32_t txn;
	char *from;
	struct mail_options opt;
	char *envid, *auth; /* in opt */
	bool check_headers; /* auth must approve of the authors ... */
	bool headers_ok;    /* ... and has, or they are all `from` */
	struct queue_rcpt *rcpt;
	size_t nrcpt, size;
	struct queue_decisions decisions; /* why it was accepted */
	unsigned ndecisions;
	size_t told;  /* recipients, until one found no room */
	bool untold;  /* one did not */
	bool refused; /* too many recipients: may not be used */
	struct quota_device *sender; /* it counts for; NULL: not yet */
	unsigned fresh;              /* of its recipients */
};

struct queue_grant {
	int64_t user_id;
	char *user, *how, *client_addr;
	struct quota_device *sender; /* queue_quota.c; NULL in a submission */
	bool placed; /* among the sessions that it may have at one time */
};

/* DATA was answered with 354: the envelope is in use. */
struct queue_txn {
	uint64_t qid;
	struct queue_envelope *env;
	uint64_t max_size; /* bytes from the client; 0: as of any other */
	bool in_file;
};

struct queue_session {
	LIST_ENTRY(queue_session) link;
	uint64_t sid;
	struct queue_grant grant;    /* user NULL: none */
	struct queue_envelope *next; /* allowed, not yet used */
	struct queue_txn *open;
};
LIST_HEAD(queue_sessions, queue_session);

/* A message on its way to be committed. */
struct queue_submission {
	/* queue_again.c: what it is known by, and the first copy's id or 0 */
	bool has_id, has_key;
	unsigned char key[DIGEST_LEN];
	uint64_t first_qid;
	/* queue_quota.c */
	bool counted, suspends;
	unsigned held; /* messages, as it suspends */
	char *note; /* why it must be held; NULL: it need not */

	uint64_t sid;
	uint32_t txn;
	uint64_t qid, size;
	uint8_t body;
	bool in_file;
	void *data; /* inline body */
	struct queue_envelope *env;
	struct queue_grant grant;
	int64_t arrived_ms;
	bool answered;
};

/* One recipient of a job, and what became of it. */
struct queue_result {
	size_t i;     /* index in mail->rcpt */
	bool has;     /* the relay said something */
	bool expired; /* deferred once too often */
	bool alone;   /* by a rule: the smarthost has no part in it */
	uint8_t handed; /* enum handed_over */
	uint8_t trouble;
	struct mailq_rcpt now; /* as it is stored; strings owned */
};

/* A message in flight. It stays in the table of jobs until its results are
 * committed, so that it isn't sent meanwhile. */
struct queue_job {
	LIST_ENTRY(queue_job) link;
	uint64_t qid;
	struct queue_peer *relay; /* NULL: over, results wait for the commit */
	struct mailq_mail *mail;
	struct queue_result *rcpt;
	size_t nrcpt;
	uint64_t proof;      /* queue.proof when it began */
	uint64_t bounce_qid; /* of the report about it; 0 none */
	unsigned relayed;    /* recipients that it calls relayed */
	bool double_bounce;  /* failed, and there is no sender to tell */
};
LIST_HEAD(queue_jobs, queue_job);

struct queue_op {
	TAILQ_ENTRY(queue_op) link;
	struct queue_submission *sub; /* one of both */
	struct queue_job *job;
	enum mailq_rc rc;
};
TAILQ_HEAD(queue_ops_list, queue_op);

/* What is known of the smarthost. */
enum queue_dest_state { DEST_UNKNOWN, DEST_UP, DEST_DOWN };

struct queue_dest {
	enum queue_dest_state state;
	uint8_t trouble;   /* enum trouble_kind, while down */
	char *text;        /* why, while down */
	int64_t since_ms;  /* of the state */
	uint32_t failures; /* probes that failed in a row */
	int64_t probe_ms;  /* while down: not before */
	uint64_t lost_qid; /* the last mail whose connection was lost, or 0 */
	bool alarm;        /* an administrator should look */
	int64_t alarm_ms;  /* logged last */
	char *rule;        /* what keeps single mails back, as logged last */
	int64_t rule_ms;   /* when that was, 0: never */
};

/* A process as parent told of it. */
struct queue_role {
	TAILQ_ENTRY(queue_role) link;
	enum role role;
	uint32_t instance, pid;
	char *state;
};

struct queue {
	struct role_setup *setup;
	struct mailq *mq;
	struct control *control;
	struct event *ev_commit; /* activated while operations wait */
	struct event *ev_due;    /* something becomes due, or a probe may go */
	struct event *ev_sweep;  /* old mail */
	struct event *ev_leave;  /* end of a drain */
	struct event *ev_prune;  /* old decisions */

	struct queue_peers peers;
	TAILQ_HEAD(queue_roles, queue_role) roles;
	struct queue_sessions sessions[QUEUE_BUCKETS];
	unsigned nsessions;
	uint32_t *gone_fronts; /* instances that never come again */
	size_t ngone_fronts;

	struct queue_ops_list ops;
	size_t nops;
	struct queue_jobs jobs[QUEUE_BUCKETS];
	unsigned njobs;     /* in the table */
	unsigned in_flight; /* of these with a relay */
	bool look;	    /* there may be mail to send that has no job */
	struct queue_dest dest;
	int64_t sweep_ms; /* when ev_sweep comes */
	struct queue_login *login;
	struct queue_conns *conns;
	struct queue_quota *quota;
	uint64_t proof; /* counts signs of life of the smarthost */

	int64_t decided_us;    /* time of the last decision */
	int64_t kept_ms;       /* begin of a second of decisions */
	unsigned nkept, nlost; /* in it */
	unsigned nhistory;     /* decisions added to history.db */
	unsigned nadded;       /* to queue.db since some were removed */
	uint8_t again_slice;   /* queue_again_prune() */

	TAILQ_HEAD(queue_alarms, queue_alarm) alarms; /* of parent */
	uint64_t last_qid;
	int64_t high_saved_ms; /* when last_qid was saved */
	int64_t started_ms;
	int64_t commit_warned_ms;
	bool draining;
};

/* ---- queue.c ---- */

int64_t queue_now_ms(void);
/* A new id, above all that were ever given and near the time. */
uint64_t queue_new_qid(struct queue *);
struct queue_peer *queue_find_peer(
    struct queue *, enum role, uint32_t instance);
/* Both put an operation into the commit group, and take what they get. */
void queue_commit_submission(struct queue *, struct queue_submission *);
void queue_commit_job(struct queue *, struct queue_job *);
/* While draining: leaves when nothing is left to wait for. */
void queue_leave_if_done(struct queue *);
/* The event in ms from now; INT64_MAX never. */
void queue_arm(struct event *, int64_t ms);

/* ---- queue_front.c ---- */

extern const struct ipc_rule queue_front_rules[], queue_auth_rules[];
/* Forgets the sessions of a front that went. */
void queue_front_gone(struct queue *, uint32_t instance);
void queue_sessions_clear(struct queue *);
bool queue_has_open_txn(const struct queue *);
/* Handles all that auths have sent. */
void queue_read_auths(struct queue *);
/* What auth allowed for this transaction of the session, or NULL. */
struct queue_envelope *queue_envelope_of(
    struct queue *, uint64_t sid, uint32_t txn);
/* A part of the group's transaction. */
enum mailq_rc queue_submission_apply(
    struct queue *, struct queue_submission *);
/* After COMMIT (MAILQ_OK), or its failure: tells front. */
void queue_submission_answer(
    struct queue *, struct queue_submission *, enum mailq_rc);
/* Then: answers if that's still to be done, logs, sends, frees. */
void queue_submission_end(
    struct queue *, struct queue_submission **, enum mailq_rc);

/* ---- queue_again.c ---- */

/* Before the commit group: what the submission is known by. */
void queue_again_key(
    struct queue *, struct queue_submission *, const struct m_submit *);
/* A part of the group's transaction: sets first_qid. */
enum mailq_rc queue_again_find(struct queue *, struct queue_submission *);
void queue_again_log(const struct queue_submission *);
/* Forgets some of what is too old; *any: there was some. */
enum mailq_rc queue_again_prune(struct queue *, bool *any);

/* ---- queue_sums.c ---- */

/* After the spool was opened, and before it is closed. */
void queue_quota_start(struct queue *);
void queue_quota_free(struct queue *);
/* The sums of a group, in its transaction, and after its COMMIT. */
enum mailq_rc queue_quota_save(struct queue *);
void queue_quota_saved(struct queue *);
/* In a transaction: forgets some of what is too old; *any: there was some. */
enum mailq_rc queue_quota_prune(struct queue *, bool *any);

/* ---- queue_quota.c, queue_suspend.c ---- */

enum { QUEUE_REFUSAL_MAX = 256 };

struct queue_refusal {
	enum smtp_reply reply;
	int64_t wait_ms; /* then it may be sent; -1: never */
	char text[QUEUE_REFUSAL_MAX]; /* the argument of the reply */
};

/* A session sends for this grant, and ends. */
void queue_quota_join(
    struct queue *, struct queue_grant *, const struct m_grant *);
void queue_quota_part(struct queue_grant *);
/* May the next envelope of the session be sent?  It counts from then on, until
 * it is released. */
bool queue_quota_open(
    struct queue *, struct queue_session *, struct queue_refusal *);
void queue_quota_release(struct queue_envelope *);
/* Bytes of a message, 0: no limit. */
uint64_t queue_quota_size(const struct queue_grant *);
/* Before the message is added: counts it. Sets note. */
void queue_quota_judge(struct queue *, struct queue_submission *);
/* A part of the group's transaction, after the message was added. */
enum mailq_rc queue_quota_apply(struct queue *, struct queue_submission *);
/* After COMMIT: logs. */
void queue_quota_end(const struct queue_submission *);
/* It was not added, or not committed. */
void queue_quota_undo(struct queue *, struct queue_submission *);
/* So many recipients of a user's mail failed for good. */
void queue_quota_failed(
    struct queue *, const struct mailq_msg *, unsigned rcpts);
/* Those who are suspended, at most max. */
json_t *queue_quota_suspended(const struct queue *, size_t max);
void queue_ctl_limit_usage(struct control_conn *, const json_t *);
void queue_ctl_user_suspended(struct control_conn *, const json_t *);
void queue_ctl_user_resume(struct control_conn *, const json_t *);

/* ---- queue_job.c ---- */

extern const struct ipc_rule queue_relay_rules[];
/* Sends what is due, as far as relays and the smarthost allow. */
void queue_schedule(struct queue *);
/* The same, if there may be something that has no job. */
void queue_schedule_rest(struct queue *);
/* A message was committed: sends it without reading it back, if its turn is
 * now.  body is that of queue_submission. */
void queue_send_new(struct queue *, const struct mailq_msg *,
    const struct mailq_rcpt *, size_t nrcpt, const void *body);
void queue_relay_gone(struct queue *, struct queue_peer *);
void queue_jobs_clear(struct queue *);
struct queue_job *queue_find_job(struct queue *, uint64_t qid);
enum mailq_rc queue_job_apply(struct queue *, struct queue_job *);
/* After COMMIT: logs; frees. */
void queue_job_end(struct queue *, struct queue_job **);
/* ---- queue_dest.c ---- */

/* What the relay says, and what a job says that is over. */
void queue_dest_told(struct queue *, const struct m_relay_state *);
void queue_dest_learn(struct queue *, const struct queue_job *);
/* An administrator wants to see mail go: the next probe is due. */
void queue_dest_probe_now(struct queue *);
/* How long to wait after so many failures in a row, but max_s at most. */
uint32_t queue_delay_s(const struct queue *, uint32_t attempts, uint32_t max_s);
const char *queue_trouble_name(unsigned trouble);

/* ---- queue_bounce.c ---- */

/* What a report says about one recipient; strings are borrowed. */
struct queue_report {
	const char *address;
	const char *orcpt;            /* as it came; NULL or "" none */
	enum dsn_action action;
	const char *status;           /* of the report: "5.1.1", "4.4.7" */
	const char *esc, *text, *mta; /* of the last attempt */
	uint16_t code;
	int64_t last_ms;
};
/*
 * Enqueues a report to the sender of mail in the transaction that is open.
 * retry_until_ms is for what is delayed. *qid is its id; 0 with MAILQ_OK if
 * there is no sender to tell.
 */
enum mailq_rc queue_bounce(struct queue *, const struct mailq_mail *mail,
    const struct queue_report *, size_t n, int64_t retry_until_ms,
    uint64_t *qid);
/* Bounces what is too old and tells of delays. Returns when it wants to be
 * called again, in ms. */
int64_t queue_sweep(struct queue *);
/* The same at by_ms, if that comes before. */
void queue_sweep_by(struct queue *, int64_t by_ms);
/* Whether the sender wants to hear of it (RFC 3461 section 4.1). */
bool queue_wants(const struct rcpt_options *, enum dsn_action);

struct history;

/* history.db; NULL: it can't be used.  The second is for writing: what is
 * written is committed within a second. */
struct history *queue_history(struct queue *);
struct history *queue_history_begin(struct queue *);
/* Logs the failure of a call, but not too often. */
void queue_history_failed(struct queue *);

/* ---- queue_history.c ---- */

void queue_history_start(struct queue *); /* the spool is ours */
void queue_history_free(struct queue *);
ipc_handler queue_on_decision;
void queue_decisions_clear(struct queue_decisions *);
/* Parts of the group's transaction: those of a message, and room for them. */
enum mailq_rc queue_decisions_apply(
    struct queue *, const struct queue_submission *);
enum mailq_rc queue_decisions_prune(struct queue *);
/* The same for a message that is thrown away. */
void queue_decisions_discarded(struct queue *, const struct queue_submission *);
/* An entry of the access map has kept this recipient back; told once, however
 * often it is tried. */
void queue_decision_ruled(struct queue *, const struct mailq_mail *,
    const struct mailq_rcpt *, const struct m_job_result *);
/* The command history.list. */
void queue_history_list(struct control_conn *, const json_t *request);
/* The next envelope of the session was refused for a limit. */
struct facts_reply_said;
void queue_decision_limit(struct queue *, const struct queue_session *,
    int64_t device, bool suspended, const struct facts_reply_said *);

/* ---- queue_alarm.c ---- */

void queue_alarm_told(struct queue *, const struct m_alarm *);
/* For the status: an item for each. */
void queue_alarm_list(const struct queue *, json_t *array);
void queue_alarm_free(struct queue *);

/* ---- queue_ctl.c ---- */

void queue_ctl_listen(struct queue *, int fd);
/* A text of strangers, and a time (null for 0), as values of an answer. */
json_t *queue_json_text(const char *);
json_t *queue_json_time(int64_t ms);

/* ---- queue_conns.c ---- */

/* Maps the fronts' table of connections; takes fd. */
void queue_conns_table(struct queue *, const struct m_table *, int fd);
void queue_conns_free(struct queue *);
/* For the status; null before the first front. */
json_t *queue_conns(const struct queue *);

/* ---- queue_login.c ---- */

/* After the spool: reads what earlier processes counted. */
void queue_login_start(struct queue *);
/* Takes over the keys of the configuration. */
void queue_login_configure(struct queue *);
void queue_login_free(struct queue *);
ipc_handler queue_on_throttle_ask, queue_on_auth_seen, queue_on_alarm;
/* A session ended, or all of an auth: their logins are not under way. */
void queue_login_closed(struct queue *, uint64_t sid);
void queue_login_gone(struct queue *, const struct ipc *auth);
/* The alarm of auth as the status has it; NULL: there is none. */
json_t *queue_login_alarm(const struct queue *);
/* Who is slowed down or refused, for the status. */
json_t *queue_login_throttled(struct queue *);
/* Answers to submitctl (control.h). */
void queue_ctl_throttle_list(struct control_conn *, const json_t *request);
void queue_ctl_throttle_clear(struct control_conn *, const json_t *request);
void queue_ctl_device_seen(struct control_conn *, const json_t *request);

#endif
