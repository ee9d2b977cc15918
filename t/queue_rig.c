/* See queue_rig.h. */
#include "queue_rig.h"
#include "submitd/digest.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "submitd/smtp_reply.h"

enum { PATIENCE_S = 10 };

static struct rig *self;

static void
die(const char *what)
{
	printf("Bail out! queue rig: %s\n", what);
	fflush(stdout);
	_exit(99);
}

/* In place of role.c's: the loop belongs to the test. */
void
role_leave(struct role_setup *s)
{
	(void)s;
	self->left = true;
}

/* ---- what the queue says ---- */

static void
on_ready(struct ipc *p, const struct ipc_in *in)
{
	struct rig *r = ipc_arg(p);

	r->ready = in->m->data_ready;
	snprintf(r->ready_text, sizeof(r->ready_text), "%s", r->ready.text);
	r->ready.text = r->ready_text;
	r->ready_sid = in->sid;
	r->nready++;
}

static void
on_submitted(struct ipc *p, const struct ipc_in *in)
{
	struct rig *r = ipc_arg(p);

	r->submitted = in->m->submitted;
	r->submitted_sid = in->sid;
	r->nsubmitted++;
	if (r->submitted.reply == R_QUEUED && r->naccepted < RIG_JOBS)
		r->accepted[r->naccepted++] = r->submitted.qid;
	if (r->on_submitted != NULL)
		r->on_submitted(r, in->sid);
}

static void
on_body_fd(struct ipc *p, const struct ipc_in *in)
{
	struct rig *r = ipc_arg(p);

	if (r->body_fd != -1)
		close(r->body_fd);
	r->body_fd = in->fd;
	r->nbody_fd++;
}

static struct rig_job *
current_job(struct rig *r)
{
	return &r->job[r->njobs % RIG_JOBS];
}

static void
on_job(struct ipc *p, const struct ipc_in *in)
{
	struct rig_job *j = current_job(ipc_arg(p));

	buf_clear(&j->body);
	*j = (struct rig_job){ .qid = in->m->job.qid,
		.size = in->m->job.size,
		.kind = in->m->job.opt.body,
		.opt = in->m->job.opt,
		.rcpts = in->m->job.rcpts };
	snprintf(j->from, sizeof(j->from), "%s", in->m->job.from);
	snprintf(j->envid, sizeof(j->envid), "%s", in->m->job.opt.envid);
}

static void
on_job_rcpt(struct ipc *p, const struct ipc_in *in)
{
	struct rig_job *j = current_job(ipc_arg(p));

	if (j->qid != in->m->job_rcpt.qid)
		die("M_JOB_RCPT of another job");
	if (j->nto == RIG_RCPTS)
		return;
	j->n[j->nto] = in->m->job_rcpt.n;
	j->rcpt[j->nto] = in->m->job_rcpt.opt;
	snprintf(j->to[j->nto++], sizeof(j->to[0]), "%s", in->m->job_rcpt.to);
}

static void
read_file(struct rig_job *j, int fd)
{
	char piece[4096];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) > 0)
		buf_add(&j->body, piece, (size_t)n);
	if (n == -1)
		die("a body cannot be read");
	close(fd);
	j->by_fd = true;
}

static void
on_job_body(struct ipc *p, const struct ipc_in *in)
{
	struct rig *r = ipc_arg(p);
	struct rig_job *j = current_job(r);

	if (j->qid != in->m->job_body.qid)
		die("M_JOB_BODY of another job");
	if (in->fd != -1)
		read_file(j, in->fd);
	else
		buf_add(
		    &j->body, in->m->job_body.body.p, in->m->job_body.body.len);
	j->complete = true;
	r->njobs++;
	if (r->on_job != NULL)
		r->on_job(r, j);
}

static const struct ipc_rule front_rules[] = {
	{ M_DATA_READY, on_ready },
	{ M_SUBMITTED, on_submitted },
	{ M_BODY_FD, on_body_fd },
	{ 0, NULL },
};
static void
on_throttle(struct ipc *p, const struct ipc_in *in)
{
	struct rig *r = ipc_arg(p);

	r->throttle = in->m->throttle_answer;
	r->nthrottle++;
}

static const struct ipc_rule auth_rules[] = {
	{ M_THROTTLE_ANSWER, on_throttle },
	{ 0, NULL },
};
static const struct ipc_rule relay_rules[] = {
	{ M_JOB, on_job },
	{ M_JOB_RCPT, on_job_rcpt },
	{ M_JOB_BODY, on_job_body },
	{ 0, NULL },
};

static void
on_gone(struct ipc *p, const char *why)
{
	struct rig *r = ipc_arg(p);

	(void)why;
	if (p == r->front) {
		r->front = NULL;
		r->front_gone = true;
	} else if (p == r->auth) {
		r->auth = NULL;
		r->auth_gone = true;
	} else if (p == r->relay) {
		r->relay = NULL;
		r->relay_gone = true;
	} else
		r->parent = NULL;
}

/* ---- the loop ---- */

static void
on_patience(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	die(arg);
}

static void
wait_for(struct rig *r, const unsigned *value, unsigned n, const bool *flag)
{
	static char text[] = "waited in vain";
	struct timeval tv = { PATIENCE_S, 0 };
	struct event *ev = evtimer_new(r->setup.base, on_patience, text);

	event_add(ev, &tv);
	while (value != NULL ? *value < n : !*flag)
		event_base_loop(r->setup.base, EVLOOP_ONCE);
	event_free(ev);
}

void
rig_wait(struct rig *r, const unsigned *value, unsigned n)
{
	wait_for(r, value, n, NULL);
}

void
rig_wait_true(struct rig *r, const bool *value)
{
	wait_for(r, NULL, 0, value);
}

void
rig_settle(struct rig *r)
{
	int i;

	/* One turn may be the cause of the next. */
	for (i = 0; i < 8; i++)
		event_base_loop(r->setup.base, EVLOOP_NONBLOCK);
}

/* ---- coming and going ---- */

void
rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->body_fd = -1;
	r->instance = RIG_FRONT;
	snprintf(r->dir, sizeof(r->dir), "/tmp/queue_rig.XXXXXX");
	if (mkdtemp(r->dir) == NULL)
		die("mkdtemp");
	conf_init(&r->setup.conf);
	free(r->setup.conf.spool);
	r->setup.conf.spool = xasprintf("%s/spool", r->dir);
	free(r->setup.conf.hostname);
	r->setup.conf.hostname = xstrdup("mail.example.org");
	/* Made here: root would give it to the role's user. */
	if (mkdir(r->setup.conf.spool, 0700) == -1)
		die("spool");
	r->setup.conf.retry_min = 60 * 1000;
	r->setup.role = ROLE_QUEUE;
	r->setup.instance = 99;
}

static void
listen_control(struct rig *r)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control", r->dir);
	unlink(sun.sun_path);
	if (fd == -1 || bind(fd, (void *)&sun, sizeof(sun)) == -1 ||
	    listen(fd, 8) == -1)
		die("control socket");
	r->setup.listen[0].fd = fd;
	r->setup.listen[0].kind = LISTEN_CONTROL;
	r->setup.listens = 1;
}

static void
close_all(struct rig *r)
{
	unsigned i;

	ipc_free(&r->auth);
	ipc_free(&r->front);
	ipc_free(&r->relay);
	ipc_free(&r->parent);
	ipc_free(&r->setup.parent);
	event_base_free(r->setup.base);
	if (r->body_fd != -1)
		close(r->body_fd);
	r->body_fd = -1;
	for (i = 0; i < RIG_JOBS; i++)
		buf_clear(&r->job[i].body);
	r->njobs = r->nready = r->nsubmitted = r->nbody_fd = r->naccepted = 0;
}

static int
start(struct rig *r, bool orphan, char *err, size_t errlen)
{
	static const struct ipc_rule none[] = { { 0, NULL } };
	int fd[2];

	self = r;
	r->left = r->auth_gone = r->front_gone = r->relay_gone = false;
	r->setup.base = event_base_new();
	if (ipc_pair(fd) == -1)
		die("ipc_pair");
	r->setup.parent = ipc_new(r->setup.base, fd[0], none, on_gone, r);
	r->parent = ipc_new(r->setup.base, fd[1], none, on_gone, r);
	listen_control(r);
	if (orphan)
		ipc_free(&r->parent);
	if (queue_ops.preload(&r->setup, err, errlen) == 0 &&
	    queue_ops.start(&r->setup, err, errlen) == 0) {
		r->running = true;
		return 0;
	}
	close(r->setup.listen[0].fd);
	close_all(r);
	return -1;
}

int
rig_start(struct rig *r, char *err, size_t errlen)
{
	return start(r, false, err, errlen);
}

int
rig_start_orphan(struct rig *r, char *err, size_t errlen)
{
	return start(r, true, err, errlen);
}

static struct ipc **
end_of(struct rig *r, enum role role)
{
	return role == ROLE_FRONT ? &r->front
	    : role == ROLE_AUTH   ? &r->auth
				  : &r->relay;
}

void
rig_connect(struct rig *r, enum role role)
{
	const struct ipc_rule *rules = role == ROLE_FRONT ? front_rules
	    : role == ROLE_AUTH                           ? auth_rules
							  : relay_rules;
	int fd[2];

	if (ipc_pair(fd) == -1)
		die("ipc_pair");
	queue_ops.peer(&r->setup, role, r->instance, fd[0]);
	*end_of(r, role) = ipc_new(r->setup.base, fd[1], rules, on_gone, r);
	*(role == ROLE_FRONT        ? &r->front_gone
		: role == ROLE_AUTH ? &r->auth_gone
				    : &r->relay_gone) = false;
}

void
rig_disconnect(struct rig *r, enum role role)
{
	ipc_free(end_of(r, role));
	rig_settle(r);
}

void
rig_up(struct rig *r)
{
	char err[512] = "";

	if (rig_start(r, err, sizeof(err)) == -1)
		die(err);
	rig_connect(r, ROLE_AUTH);
	rig_connect(r, ROLE_FRONT);
	rig_connect(r, ROLE_RELAY);
}

void
rig_stop(struct rig *r)
{
	if (!r->running)
		return;
	r->running = false;
	r->setup.grace_ms = 0;
	if (!r->left)
		queue_ops.drain(&r->setup);
	rig_wait_true(r, &r->left);
	close_all(r);
}

void
rig_down(struct rig *r)
{
	char cmd[128];

	rig_stop(r);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
	if (system(cmd) != 0)
		die(cmd);
	conf_clear(&r->setup.conf);
}

/* ---- auth and front ---- */

void
rig_grant(struct rig *r, uint64_t sid, const char *user)
{
	struct m_grant m = { .user_id = r->user_id > 0 ? r->user_id : 1,
		.user = user,
		.how = "PLAIN",
		.client_addr = "192.0.2.7" };

	ipc_send(r->auth, M_GRANT, sid, &m);
}

void
rig_grant_limits(struct rig *r, uint64_t sid, const char *user, int64_t device,
    const struct limits *limits)
{
	struct m_grant m = { .user_id = r->user_id > 0 ? r->user_id : 1,
		.user = user,
		.how = "PLAIN",
		.client_addr = "192.0.2.7",
		.device = device,
		.limits = { limits, 2 * sizeof(*limits) } };

	ipc_send(r->auth, M_GRANT, sid, &m);
}

void
rig_envelope_rcpt(
    struct rig *r, uint64_t sid, const struct m_envelope_rcpt *m)
{
	ipc_send(r->auth, M_ENVELOPE_RCPT, sid, m);
	r->allowed[sid % RIG_SESSIONS].rcpts++;
}

void
rig_envelope(struct rig *r, uint64_t sid, uint32_t txn, const char *from,
    const char *to, uint8_t flags)
{
	struct m_envelope e = { .txn = txn, .from = from };
	struct m_envelope_rcpt m = { .txn = txn, .flags = flags, .note = "" };
	char *copy = xstrdup(to), *save = NULL, *t;

	e.opt.priority = PRIORITY_NORMAL;
	if (r->opt != NULL)
		e.opt = *r->opt;
	ipc_send(r->auth, M_ENVELOPE, sid, &e);
	r->allowed[sid % RIG_SESSIONS].sid = sid;
	r->allowed[sid % RIG_SESSIONS].txn = txn;
	r->allowed[sid % RIG_SESSIONS].rcpts = 0;
	for (t = strtok_r(copy, " ", &save); t != NULL;
	     t = strtok_r(NULL, " ", &save)) {
		m.to = t;
		if (r->rcpt_opt != NULL)
			m.opt =
			    r->rcpt_opt[r->allowed[sid % RIG_SESSIONS].rcpts];
		rig_envelope_rcpt(r, sid, &m);
	}
	free(copy);
}

void
rig_throttle_ask(struct rig *r, const char *user, const char *address)
{
	const struct m_throttle_ask m = {
		.ticket = r->nthrottle + 1, .user = user, .client_addr = address
	};

	ipc_send(r->auth, M_THROTTLE_ASK, RIG_SID(1), &m);
	rig_wait(r, &r->nthrottle, m.ticket);
}

void
rig_auth_seen(struct rig *r, const struct m_auth_seen *m)
{
	unsigned n = r->nthrottle + (m->ticket != 0);

	ipc_send(r->auth, M_AUTH_SEEN, RIG_SID(1), m);
	rig_wait(r, &r->nthrottle, n);
	rig_settle(r);
}

void
rig_data_open(struct rig *r, uint64_t sid, uint32_t txn)
{
	uint32_t rcpts = 1; /* of what was never allowed */

	if (r->allowed[sid % RIG_SESSIONS].sid == sid &&
	    r->allowed[sid % RIG_SESSIONS].txn == txn)
		rcpts = r->allowed[sid % RIG_SESSIONS].rcpts;
	rig_data_open_as(r, sid, txn, rcpts);
}

void
rig_data_open_as(struct rig *r, uint64_t sid, uint32_t txn, uint32_t rcpts)
{
	struct m_data_open m = { .txn = txn, .rcpts = rcpts };
	unsigned before = r->nready;

	ipc_send(r->front, M_DATA_OPEN, sid, &m);
	rig_wait(r, &r->nready, before + 1);
}

void
rig_submit(
    struct rig *r, uint64_t sid, uint32_t txn, const void *body, size_t len)
{
	rig_submit_again(r, sid, txn, body, len, false, NULL);
}

void
rig_submit_again(struct rig *r, uint64_t sid, uint32_t txn, const void *body,
    size_t len, bool has_id, const void *digest)
{
	struct m_submit m = { .txn = txn,
		.size = len,
		.has_id = has_id,
		.digest = { digest, digest != NULL ? DIGEST_LEN : 0 },
		.body = { body, len } };

	ipc_send(r->front, M_SUBMIT, sid, &m);
}

void
rig_submit_file(
    struct rig *r, uint64_t sid, uint32_t txn, const void *body, size_t len)
{
	rig_submit_file_as(r, sid, txn, body, len, len);
}

void
rig_submit_file_as(struct rig *r, uint64_t sid, uint32_t txn, const void *body,
    size_t len, size_t announced)
{
	struct m_submit m = { .txn = txn, .size = announced, .in_file = 1 };

	if (write(r->body_fd, body, len) != (ssize_t)len ||
	    fdatasync(r->body_fd) == -1)
		die("a body cannot be written");
	close(r->body_fd);
	r->body_fd = -1;
	ipc_send(r->front, M_SUBMIT, sid, &m);
}

uint64_t
rig_send(struct rig *r, uint64_t sid, uint32_t txn, const char *from,
    const char *to, const char *body)
{
	unsigned before = r->nsubmitted;

	rig_grant(r, sid, "ann");
	rig_envelope(r, sid, txn, from, to, 0);
	rig_data_open(r, sid, txn);
	if (r->ready.reply != R_DATA_GO)
		return 0;
	rig_submit(r, sid, txn, body, strlen(body));
	rig_wait(r, &r->nsubmitted, before + 1);
	return r->submitted.reply == R_QUEUED ? r->submitted.qid : 0;
}

/* ---- relay ---- */

void
rig_result_one(struct rig *r, const struct rig_job *j, unsigned i,
    enum result_kind kind, enum trouble_kind trouble, unsigned code,
    const char *text)
{
	struct m_job_result m = { .qid = j->qid,
		.n = j->n[i],
		.result = (uint8_t)kind,
		.trouble = (uint8_t)trouble,
		.code = (uint16_t)code,
		.esc = kind == RESULT_DELIVERED ? "2.0.0"
		    : kind == RESULT_FAILED     ? "5.1.1"
						: "4.2.0",
		.text = text,
		.mta = "mx.example.net[192.0.2.25]:587",
		.handed = r->handed };

	ipc_send(r->relay, M_JOB_RESULT, 0, &m);
}

void
rig_done(struct rig *r, const struct rig_job *j)
{
	struct m_job_done m = { .qid = j->qid };

	ipc_send(r->relay, M_JOB_DONE, 0, &m);
}

void
rig_result(struct rig *r, const struct rig_job *j, enum result_kind kind,
    enum trouble_kind trouble, unsigned code, const char *text)
{
	unsigned i;

	for (i = 0; i < j->nto; i++)
		rig_result_one(r, j, i, kind, trouble, code, text);
	rig_done(r, j);
}

void
rig_relay_state(
    struct rig *r, bool up, enum trouble_kind trouble, const char *text)
{
	struct m_relay_state m = { .up = up,
		.trouble = (uint8_t)trouble,
		.connections = up ? 3 : 0,
		.text = text };

	ipc_send(r->relay, M_RELAY_STATE, 0, &m);
	rig_settle(r);
}

/* ---- submitctl ---- */

static int
connect_control(const struct rig *r)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control", r->dir);
	if (fd == -1 || connect(fd, (void *)&sun, sizeof(sun)) == -1 ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) == -1)
		die("control socket");
	return fd;
}

char *
rig_ask(struct rig *r, const char *request)
{
	struct buf in = { 0 };
	char piece[4096], *text;
	int fd = connect_control(r), turns = 0;
	ssize_t n;

	if (write(fd, request, strlen(request)) == -1 ||
	    write(fd, "\n", 1) == -1)
		die("control request");
	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n > 0)
			buf_add(&in, piece, (size_t)n);
		else if (errno != EAGAIN || turns++ > 100000)
			die("control answer");
		else
			event_base_loop(r->setup.base, EVLOOP_NONBLOCK);
	}
	close(fd);
	text = xstrndup(in.len > 0 ? (char *)buf_head(&in) : "", in.len);
	buf_clear(&in);
	return text;
}

json_t *
rig_ask_json(struct rig *r, const char *request, json_t **items)
{
	char *text = rig_ask(r, request), *save = NULL, *line;
	json_t *o = NULL, *all = json_array(), *item;

	for (line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		json_decref(o);
		if ((o = json_loads(line, 0, NULL)) == NULL)
			die("control answer");
		if ((item = json_object_get(o, "item")) != NULL)
			json_array_append(all, item);
	}
	free(text);
	if (o == NULL)
		die("no control answer");
	if (items != NULL)
		*items = all;
	else
		json_decref(all);
	return o;
}
