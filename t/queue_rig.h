/*
 * A real queue role in this process, with parent, auth, front and relay played
 * by the test over socket pairs on the same loop. One rig at a time.
 */
#ifndef T_QUEUE_RIG_H
#define T_QUEUE_RIG_H

#include <jansson.h>

#include "submitd/mem.h"
#include "submitd/role.h"

enum {
	RIG_FRONT = 7, /* instance of the first front */
	RIG_RCPTS = 16,
	RIG_JOBS = 512,
	RIG_SESSIONS = 1024
};
#define RIG_SID(n) ((uint64_t)RIG_FRONT << SID_COUNTER_BITS | (n))

/* What the relay got. */
struct rig_job {
	uint64_t qid, size;
	char from[321];
	uint8_t kind;
	struct mail_options opt; /* but its envid */
	char envid[ENVID_MAX + 1];
	struct rcpt_options rcpt[RIG_RCPTS]; /* but their orcpt */
	uint32_t rcpts; /* announced */
	uint32_t n[RIG_RCPTS];
	char to[RIG_RCPTS][321];
	unsigned nto;
	struct buf body;
	bool complete; /* the body came */
	bool by_fd;
};

struct rig {
	char dir[64];
	struct role_setup setup;
	struct ipc *parent; /* parent's end */
	struct ipc *auth, *front, *relay;
	uint32_t instance; /* of the next peer that connects */

	/* for the next envelope, its recipients and results; NULL, 0: none */
	const struct mail_options *opt;
	const struct rcpt_options *rcpt_opt; /* of each */
	uint8_t handed;
	int64_t user_id; /* for the next grant; 0: 1 */

	bool running, left;
	bool auth_gone, front_gone, relay_gone; /* dropped by the queue */

	/* what auth allowed last, by the number of the session */
	struct {
		uint64_t sid;
		uint32_t txn, rcpts;
	} allowed[RIG_SESSIONS];

	/* the last answers to front, and how many there were */
	struct m_data_ready ready;
	char ready_text[512];
	uint64_t ready_sid;
	unsigned nready;
	struct m_submitted submitted;
	uint64_t submitted_sid;
	unsigned nsubmitted;
	uint64_t accepted[RIG_JOBS]; /* qids answered with R_QUEUED */
	unsigned naccepted;
	int body_fd;
	unsigned nbody_fd;

	struct rig_job job[RIG_JOBS];
	unsigned njobs; /* complete ones */

	/* the last answer to auth, and how many there were */
	struct m_throttle_answer throttle;
	unsigned nthrottle;

	/* called for each complete job and each answer, if set */
	void (*on_job)(struct rig *, struct rig_job *);
	void (*on_submitted)(struct rig *, uint64_t sid);
	void *arg;
};

/* Makes a spool directory; the setup may be changed before rig_start(). */
void rig_init(struct rig *);
/* Starts the role without peers; 0, or -1 with the role's sentence. */
int rig_start(struct rig *, char *err, size_t errlen);
/* The same with a parent that is gone already. */
int rig_start_orphan(struct rig *, char *err, size_t errlen);
void rig_connect(struct rig *, enum role);
/* Closes the test's end, as if that process had died. */
void rig_disconnect(struct rig *, enum role);
/* rig_start() and one peer of each kind; ends the process on failure. */
void rig_up(struct rig *);
/* Drains the queue with no grace. The spool stays. */
void rig_stop(struct rig *);
/* rig_stop(), and the spool goes. */
void rig_down(struct rig *);

/* Runs the loop until *value is at least n; ends the process after 10 s. */
void rig_wait(struct rig *, const unsigned *value, unsigned n);
void rig_wait_true(struct rig *, const bool *value);
/* Handles all that can be handled without waiting. */
void rig_settle(struct rig *);

/* auth: all that a submission needs; to is separated by blanks. */
void rig_grant(struct rig *, uint64_t sid, const char *user);
/* limits: two, of the user and of the device. */
void rig_grant_limits(struct rig *, uint64_t sid, const char *user,
    int64_t device, const struct limits *limits);
void rig_envelope(struct rig *, uint64_t sid, uint32_t txn, const char *from,
    const char *to, uint8_t flags);
/* One more recipient of it. */
void rig_envelope_rcpt(
    struct rig *, uint64_t sid, const struct m_envelope_rcpt *);
/* auth: asks for, or tells of, a login; the answer is in throttle. */
void rig_throttle_ask(struct rig *, const char *user, const char *address);
void rig_auth_seen(struct rig *, const struct m_auth_seen *);
/* front; the second one says how many recipients it was allowed */
void rig_data_open(struct rig *, uint64_t sid, uint32_t txn);
void rig_data_open_as(
    struct rig *, uint64_t sid, uint32_t txn, uint32_t rcpts);
void rig_submit(
    struct rig *, uint64_t sid, uint32_t txn, const void *body, size_t len);
/* The same with a Message-ID and the digest of what the client sent. */
void rig_submit_again(struct rig *, uint64_t sid, uint32_t txn,
    const void *body, size_t len, bool has_id, const void *digest);
/* The body goes to the file of the last M_BODY_FD. */
void rig_submit_file(
    struct rig *, uint64_t sid, uint32_t txn, const void *body, size_t len);
/* The same by a front that says another size. */
void rig_submit_file_as(struct rig *, uint64_t sid, uint32_t txn,
    const void *body, size_t len, size_t announced);
/* All of it up to the answer; returns the qid, 0 if refused. */
uint64_t rig_send(struct rig *, uint64_t sid, uint32_t txn, const char *from,
    const char *to, const char *body);

/* relay: the same result for all recipients of a job, and its end. */
void rig_result(struct rig *, const struct rig_job *, enum result_kind,
    enum trouble_kind, unsigned code, const char *text);
void rig_result_one(struct rig *, const struct rig_job *, unsigned i,
    enum result_kind, enum trouble_kind, unsigned code, const char *text);
void rig_done(struct rig *, const struct rig_job *);
void rig_relay_state(struct rig *, bool up, enum trouble_kind, const char *);

/* One request to the control socket; the lines of the answer, to be freed. */
char *rig_ask(struct rig *, const char *request);
/* The same, parsed: the last line; the items of the others go to *items, if it
 * isn't NULL.  Both are to be released. */
json_t *rig_ask_json(struct rig *, const char *request, json_t **items);

#endif
