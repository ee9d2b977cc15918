/*
 * Logins, as auth tells of them: the guard against guessing (auth/throttle.h),
 * and when each device was last used (store/history.h). Auth asks before it
 * looks at a password, and tells what came of it before the client hears of it;
 * since all of auth's processes ask here, guesses that are made side by side
 * are counted one after the other.
 *
 * What changes is written at most once a second, and not synced: strangers
 * must not buy disk writes. Where the history can't be written, the counters in
 * memory still count.
 *
 * For submitctl:
 *
 *	throttle.list			an item for each counter, the newest
 *					first: kind (user, pair, address),
 *					user, addr, wrong, state (counted,
 *					slowed, refused), until, last; "more":
 *					there were too many for one answer
 *	throttle.clear {"what":TEXT} or {"all":true}
 *					TEXT is a user or an address; "cleared":
 *					number of counters
 *	device.seen			an item for each device that logged in:
 *					device (id; 0 the account without one),
 *					user, time, addr, client
 *
 * Log:
 *	ev=throttle what= user= addr= until=	slowed (user), or refused
 *	ev=history error=		history.db can't be used (warning)
 *	ev=admin cmd= what= changed=	an administrator cleared something
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "auth/pace.h"
#include "auth/throttle.h"
#include "control.h"
#include "log.h"
#include "mem.h"
#include "queue.h"
#include "store/history.h"

enum {
	FLUSH_EVERY_MS = 1000,
	WARN_EVERY_MS = 60 * 1000,
	LIST_MAX = 1000,
	STATUS_MAX = 20,
	/* auth repeats it at least so often while it has cause */
	ALARM_MS = 10 * 60 * 1000,
	TURNS_MAX = 1000
};

/*
 * A login from where its user is known. Either it has a place among those under
 * way, until its verdict, or it waits for one; auth asks anew after
 * THROTTLE_WAIT_MS, if its turn has not come by then. A session has one at most,
 * and gives its place back when it asks anew or ends.
 */
struct turn {
	TAILQ_ENTRY(turn) link;
	struct ipc *ipc;
	uint64_t sid;
	uint32_t ticket;
	bool has_place;
	int64_t until_ms; /* of the wait, or of the place */
	char *user;
	char address[THROTTLE_ADDR_MAX];
};

struct queue_login {
	struct throttle *throttle;
	struct history *history; /* NULL: can't be used */
	bool writing;            /* a transaction is open */
	struct pace pace;        /* kept beside the counters */
	bool pace_changed;
	struct event *ev_flush;
	int64_t flushed_ms, warned_ms;
	TAILQ_HEAD(, turn) turns; /* the first to come first */
	unsigned nturns;
	struct {
		char *what, *text;
		int64_t since_ms, last_ms;
	} alarm;
};

static void
turn_end(struct queue_login *l, struct turn *w)
{
	TAILQ_REMOVE(&l->turns, w, link);
	l->nturns--;
	free(w->user);
	free(w);
}

/* ---- keeping ---- */

static void
warn(struct queue_login *l)
{
	int64_t now = queue_now_ms();

	if (now - l->warned_ms < WARN_EVERY_MS)
		return;
	l->warned_ms = now;
	log_warn("history", "error=%s", history_errtext(l->history));
}

/* The pace of a judge is a counter of this kind and higher ones. */
enum { PACE_KIND = 100 };

static int
save_pace(struct queue_login *l)
{
	int i;

	for (i = 0; l->pace_changed && i < PACE_JUDGES; i++) {
		const struct history_counter c = { .kind = PACE_KIND + i,
			.user = "",
			.address = "",
			.last_ms = queue_now_ms(),
			.until_ms = l->pace.ms[i],
			.marks = "" };

		if (history_counter_put(l->history, &c) == -1)
			return -1;
	}
	l->pace_changed = false;
	return 0;
}

static int
save(const struct throttle_entry *e, void *arg)
{
	struct queue_login *l = arg;
	const struct history_counter c = {
		.kind = (int)e->kind,
		.user = e->user,
		.address = e->address,
		.last_ms = e->last_ms,
		.until_ms = e->until_ms,
		.marks = e->marks,
		.len = e->len,
	};

	if (l->history == NULL)
		return 0;
	return e->gone
	    ? history_counter_del(l->history, c.kind, c.user, c.address)
	    : history_counter_put(l->history, &c);
}

/* False: nothing can be written now. */
static bool
begin(struct queue_login *l)
{
	if (l->history == NULL)
		return false;
	if (!l->writing && history_begin(l->history) == -1) {
		warn(l);
		return false;
	}
	l->writing = true;
	return true;
}

static void
flush(struct queue_login *l)
{
	if (!l->writing && !l->pace_changed &&
	    !throttle_is_changed(l->throttle))
		return;
	l->flushed_ms = queue_now_ms();
	if (!begin(l)) {
		/* not to be collected meanwhile: they are in memory */
		if (l->history == NULL)
			throttle_save(l->throttle, save, l);
		return;
	}
	l->writing = false;
	if (throttle_save(l->throttle, save, l) == 0 && save_pace(l) == 0 &&
	    history_commit(l->history) == 0)
		return;
	warn(l);
	history_rollback(l->history);
}

static void
on_flush(evutil_socket_t fd, short what, void *arg)
{
	const struct queue *q = arg;

	(void)fd, (void)what;
	flush(q->login);
}

static void
flush_soon(struct queue_login *l)
{
	int64_t since = queue_now_ms() - l->flushed_ms;

	if (event_pending(l->ev_flush, EV_TIMEOUT, NULL))
		return;
	queue_arm(l->ev_flush,
	    since < 0 || since >= FLUSH_EVERY_MS ? 0 : FLUSH_EVERY_MS - since);
}

struct history *
queue_history(struct queue *q)
{
	return q->login->history;
}

struct history *
queue_history_begin(struct queue *q)
{
	if (!begin(q->login))
		return NULL;
	flush_soon(q->login);
	return q->login->history;
}

void
queue_history_failed(struct queue *q)
{
	warn(q->login);
}

static int
load(const struct history_counter *c, void *arg)
{
	struct queue_login *l = arg;
	const struct throttle_entry e = {
		.kind = (enum throttle_kind)c->kind,
		.user = c->user,
		.address = c->address,
		.last_ms = c->last_ms,
		.until_ms = c->until_ms,
		.marks = c->marks,
		.len = c->len,
	};

	if (c->kind >= PACE_KIND && c->kind < PACE_KIND + PACE_JUDGES)
		l->pace.ms[c->kind - PACE_KIND] = c->until_ms;
	else
		throttle_load(l->throttle, &e);
	return 0;
}

void
queue_login_configure(struct queue *q)
{
	const struct conf *conf = &q->setup->conf;
	const struct throttle_conf c = {
		.user = (unsigned)conf->throttle_user,
		.address = (unsigned)conf->throttle_address,
		.window_ms = conf->throttle_window,
		.refuse_ms = conf->throttle_refuse,
		.trust_ms = conf->throttle_trust,
	};

	throttle_configure(q->login->throttle, &c);
	if (conf->pam_service[0] == '\0')
		pace_forget(&q->login->pace, PACE_PAM);
	if (conf->saslauthd_socket[0] == '\0')
		pace_forget(&q->login->pace, PACE_SASLAUTHD);
}

void
queue_login_start(struct queue *q)
{
	struct queue_login *l = xcalloc(1, sizeof(*l));

	q->login = l;
	TAILQ_INIT(&l->turns);
	l->ev_flush = event_new(q->setup->base, -1, 0, on_flush, q);
	if ((l->throttle = throttle_new()) == NULL)
		log_fatal(1, "error=%s", "no memory");
	queue_login_configure(q);
	if (history_open(q->setup->conf.spool, &l->history) == 0 &&
	    history_counters(l->history, load, l) == 0) {
		queue_login_configure(q); /* forgets what is in use no more */
		return;
	}
	warn(l);
	history_close(&l->history);
}

void
queue_login_free(struct queue *q)
{
	struct queue_login *l = q->login;

	q->login = NULL;
	if (l == NULL)
		return;
	while (!TAILQ_EMPTY(&l->turns))
		turn_end(l, TAILQ_FIRST(&l->turns));
	flush(l);
	history_close(&l->history);
	throttle_free(&l->throttle);
	event_free(l->ev_flush);
	free(l->alarm.what);
	free(l->alarm.text);
	free(l);
}

/* ---- from auth ---- */

static bool
is_exempt(const struct queue *q, const char *address)
{
	const char *bad;
	size_t len;

	return throttle_in_networks(
		   q->setup->conf.throttle_exempt, address, &bad, &len) == 1;
}

static void
answer(struct ipc *ipc, uint64_t sid, uint32_t ticket,
    const struct throttle_verdict *v)
{
	const struct queue_peer *p = ipc_arg(ipc);
	const struct m_throttle_answer m = { .ticket = ticket,
		.refuse = v->refuse,
		.delay_ms = (uint32_t)v->delay_ms,
		.again = v->again,
		.pace_ms = (uint32_t)pace_ms(&p->q->login->pace) };

	if (ticket != 0)
		ipc_send(ipc, M_THROTTLE_ANSWER, sid, &m);
}

static struct turn *
find_turn(const struct queue_login *l, uint64_t sid)
{
	struct turn *w;

	TAILQ_FOREACH(w, &l->turns, link)
		if (w->sid == sid)
			return w;
	return NULL;
}

/* Of those of this user from there that wait: the one that came first. */
static struct turn *
first_waiting(const struct queue_login *l, const char *user, const char *address)
{
	struct turn *w;

	TAILQ_FOREACH(w, &l->turns, link)
		if (!w->has_place && strcmp(w->user, user) == 0 &&
		    strcmp(w->address, address) == 0)
			return w;
	return NULL;
}

static void
has_place(struct turn *w)
{
	w->has_place = true;
	w->until_ms = queue_now_ms() + THROTTLE_ASKED_MS;
}

static void
add_turn(struct ipc *ipc, uint64_t sid, const struct m_throttle_ask *m,
    const char *address, bool place)
{
	const struct queue_peer *p = ipc_arg(ipc);
	struct queue_login *l = p->q->login;
	struct turn *w;

	if (l->nturns == TURNS_MAX)
		return; /* it asks again, or its place is kept for a while */
	w = xcalloc(1, sizeof(*w));
	w->ipc = ipc;
	w->sid = sid;
	w->ticket = m->ticket;
	w->until_ms = queue_now_ms() + THROTTLE_WAIT_MS;
	w->user = xstrdup(m->user);
	snprintf(w->address, sizeof(w->address), "%s", address);
	if (place)
		has_place(w);
	TAILQ_INSERT_TAIL(&l->turns, w, link);
	l->nturns++;
}

/* Those whose turn it is now hear it, and have a place. */
static void
give_turns(struct queue_login *l, const char *user, const char *address)
{
	int64_t now = queue_now_ms();
	struct throttle_verdict v;
	struct turn *w;

	while ((w = first_waiting(l, user, address)) != NULL) {
		if (w->until_ms <= now) {
			turn_end(l, w); /* it is about to ask anew */
			continue;
		}
		v = throttle_ask(l->throttle, user, address, now);
		if (v.again)
			return;
		answer(w->ipc, w->sid, w->ticket, &v);
		if (v.reserved)
			has_place(w);
		else
			turn_end(l, w);
	}
}

/* It is over without a verdict. */
static void
give_up(struct queue_login *l, struct turn *w)
{
	int64_t now = queue_now_ms();

	if (w->has_place && w->until_ms > now)
		throttle_done(l->throttle, w->user, w->address, now);
	turn_end(l, w);
}

void
queue_login_closed(struct queue *q, uint64_t sid)
{
	char address[THROTTLE_ADDR_MAX];
	struct turn *w;
	char *user;

	if (q->login == NULL || (w = find_turn(q->login, sid)) == NULL)
		return;
	user = xstrdup(w->user);
	memcpy(address, w->address, sizeof(address));
	give_up(q->login, w);
	give_turns(q->login, user, address);
	free(user);
}

/* The others from there ask anew by and by. */
void
queue_login_gone(struct queue *q, const struct ipc *auth)
{
	struct turn *w, *next;

	if (q->login == NULL)
		return;
	for (w = TAILQ_FIRST(&q->login->turns); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->ipc == auth)
			give_up(q->login, w);
	}
}

/* Behind those that wait already. */
static struct throttle_verdict
ask(struct queue_login *l, const char *user, const char *address)
{
	const struct throttle_verdict later = { .again = true,
		.delay_ms = THROTTLE_WAIT_MS };

	give_turns(l, user, address);
	return first_waiting(l, user, address) != NULL
	    ? later
	    : throttle_ask(l->throttle, user, address, queue_now_ms());
}

void
queue_on_throttle_ask(struct ipc *ipc, const struct ipc_in *in)
{
	const struct m_throttle_ask *m = &in->m->throttle_ask;
	const struct queue_peer *p = ipc_arg(ipc);
	struct queue_login *l = p->q->login;
	struct throttle_verdict v = { 0 };
	char address[THROTTLE_ADDR_MAX];
	struct turn *old;

	throttle_address(m->client_addr, address);
	/* it waited too long, or its turn came just now */
	if ((old = find_turn(l, in->sid)) != NULL)
		give_up(l, old);
	if (!is_exempt(p->q, m->client_addr))
		v = ask(l, m->user, address);
	if (v.again || v.reserved)
		add_turn(ipc, in->sid, m, address, v.reserved);
	answer(ipc, in->sid, m->ticket, &v);
}

/* The time as submitctl shows it, "" for none. */
static const char *
utc(int64_t ms, char out[32])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	out[0] = '\0';
	if (ms > 0 && gmtime_r(&t, &tm) != NULL)
		strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}

static void
log_one(const char *what, const char *user, const char *address, int64_t until)
{
	char text[32];

	log_info("throttle", "what=%s user=%s addr=%s until=%s", what, user,
	    address, utc(until, text));
}

static void
log_began(const struct queue *q, const struct m_auth_seen *m,
    const struct throttle_verdict *v, const char *address)
{
	int64_t until = queue_now_ms() + q->setup->conf.throttle_refuse;

	if ((v->began & 1u << THROTTLE_USER) != 0)
		log_one("user", m->user, "", 0);
	if ((v->began & 1u << THROTTLE_PAIR) != 0)
		log_one("pair", m->user, address, until);
	if ((v->began & 1u << THROTTLE_ADDRESS) != 0)
		log_one("address", "", address, until);
}

static void
note_use(struct queue_login *l, const struct m_auth_seen *m)
{
	const struct history_use u = { .user = m->user,
		.device = m->device > 0 ? m->device : 0,
		.at_ms = queue_now_ms(),
		.address = m->client_addr,
		.client = m->client };

	if (begin(l) && history_use_put(l->history, &u) == -1)
		warn(l);
}

static void
note_pace(struct queue_login *l, const struct m_auth_seen *m)
{
	const struct pace before = l->pace;

	if (m->result != SEEN_WRONG || m->judge == PACE_NONE)
		return;
	pace_note(&l->pace, m->judge, m->took_ms);
	if (memcmp(&before, &l->pace, sizeof(before)) != 0)
		l->pace_changed = true;
}

static struct throttle_verdict
count(struct queue *q, const struct m_auth_seen *m, const char *address)
{
	struct throttle *t = q->login->throttle;
	int64_t now = queue_now_ms();

	switch ((enum seen_result)m->result) {
	case SEEN_RIGHT:
		return throttle_right(t, m->user, address, now);
	case SEEN_WRONG:
		return throttle_wrong(t, m->user, address, m->wrong, now);
	default:
		return throttle_done(t, m->user, address, now);
	}
}

void
queue_on_auth_seen(struct ipc *ipc, const struct ipc_in *in)
{
	const struct m_auth_seen *m = &in->m->auth_seen;
	const struct queue_peer *p = ipc_arg(ipc);
	struct throttle_verdict v = { 0 };
	char address[THROTTLE_ADDR_MAX];
	struct turn *w = find_turn(p->q->login, in->sid);

	if (w != NULL)
		turn_end(p->q->login, w); /* the verdict takes its place */
	note_pace(p->q->login, m);
	throttle_address(m->client_addr, address);
	if (!is_exempt(p->q, m->client_addr))
		v = count(p->q, m, address);
	answer(ipc, in->sid, m->ticket, &v);
	log_began(p->q, m, &v, address);
	/* without a ticket it is no password that could be refused */
	if (m->result == SEEN_RIGHT && (!v.refuse || m->ticket == 0))
		note_use(p->q->login, m);
	give_turns(p->q->login, m->user, address);
	flush_soon(p->q->login);
}

void
queue_on_alarm(struct ipc *ipc, const struct ipc_in *in)
{
	const struct queue_peer *p = ipc_arg(ipc);
	struct queue_login *l = p->q->login;
	int64_t now = queue_now_ms();

	if (l->alarm.what == NULL || now - l->alarm.last_ms >= ALARM_MS ||
	    strcmp(l->alarm.what, in->m->alarm.what) != 0)
		l->alarm.since_ms = now;
	l->alarm.last_ms = now;
	free(l->alarm.what);
	free(l->alarm.text);
	l->alarm.what = xstrdup(in->m->alarm.what);
	l->alarm.text = xstrdup(in->m->alarm.text);
}

/* ---- submitctl ---- */

json_t *
queue_login_alarm(const struct queue *q)
{
	const struct queue_login *l = q->login;
	json_t *o;

	if (l->alarm.what == NULL ||
	    queue_now_ms() - l->alarm.last_ms >= ALARM_MS)
		return NULL;
	o = json_object();
	json_object_set_new(o, "what", queue_json_text(l->alarm.what));
	json_object_set_new(o, "trouble", json_string("auth"));
	json_object_set_new(o, "text", queue_json_text(l->alarm.text));
	json_object_set_new(o, "since", queue_json_time(l->alarm.since_ms));
	return o;
}

struct listing {
	struct control_conn *conn; /* or */
	json_t *array;             /* and only what is throttled */
	unsigned n, max;
};

static json_t *
item(const struct throttle_entry *e)
{
	static const char *const kinds[] = { [THROTTLE_USER] = "user",
		[THROTTLE_PAIR] = "pair",
		[THROTTLE_ADDRESS] = "address" };
	json_t *o = json_object();

	json_object_set_new(o, "kind", json_string(kinds[e->kind]));
	json_object_set_new(o, "user", queue_json_text(e->user));
	json_object_set_new(o, "addr", queue_json_text(e->address));
	json_object_set_new(o, "wrong", json_integer(e->wrong));
	json_object_set_new(o, "state",
	    json_string(e->refused ? "refused"
		    : e->slowed    ? "slowed"
				   : "counted"));
	json_object_set_new(o, "until", queue_json_time(e->until_ms));
	json_object_set_new(o, "last", queue_json_time(e->last_ms));
	return o;
}

static int
list_one(const struct throttle_entry *e, void *arg)
{
	struct listing *l = arg;

	if (l->array != NULL && !e->refused && !e->slowed)
		return 0;
	if (l->n == l->max) {
		l->n++;
		return 1;
	}
	l->n++;
	if (l->array != NULL)
		json_array_append_new(l->array, item(e));
	else
		control_item(l->conn, item(e));
	return 0;
}

json_t *
queue_login_throttled(struct queue *q)
{
	struct listing l = { .array = json_array(), .max = STATUS_MAX };

	throttle_list(q->login->throttle, queue_now_ms(), list_one, &l);
	return l.array;
}

void
queue_ctl_throttle_list(struct control_conn *c, const json_t *request)
{
	struct queue *q = control_arg(c);
	struct listing l = { .conn = c, .max = LIST_MAX };

	(void)request;
	flush(q->login); /* what was shown is known after a crash, too */
	throttle_list(q->login->throttle, queue_now_ms(), list_one, &l);
	control_ok(c, json_pack("{s:b}", "more", l.n > l.max));
}

void
queue_ctl_throttle_clear(struct control_conn *c, const json_t *request)
{
	const char *what = json_string_value(json_object_get(request, "what"));
	bool all = json_is_true(json_object_get(request, "all"));
	struct queue *q = control_arg(c);
	char address[THROTTLE_ADDR_MAX];
	unsigned n;

	if (all == (what != NULL)) {
		control_fail(c, EX_USAGE, "one of what and all is expected");
		return;
	}
	if (all)
		n = throttle_clear(q->login->throttle, NULL, NULL);
	else if (throttle_address(what, address))
		n = throttle_clear(q->login->throttle, NULL, address);
	else
		n = throttle_clear(q->login->throttle, what, NULL);
	flush(q->login);
	log_info(
	    "admin", "cmd=%s what=%s changed=%u", "throttle.clear", what, n);
	control_ok(c, json_pack("{s:i}", "cleared", (int)n));
}

static int
seen_one(const struct history_use *u, void *arg)
{
	json_t *o = json_object();

	json_object_set_new(o, "device", json_integer(u->device));
	json_object_set_new(o, "user", queue_json_text(u->user));
	json_object_set_new(o, "time", queue_json_time(u->at_ms));
	json_object_set_new(o, "addr", queue_json_text(u->address));
	json_object_set_new(o, "client", queue_json_text(u->client));
	control_item(arg, o);
	return 0;
}

void
queue_ctl_device_seen(struct control_conn *c, const json_t *request)
{
	struct queue_login *l = ((struct queue *)control_arg(c))->login;

	(void)request;
	if (l->history != NULL && history_uses(l->history, seen_one, c) == -1) {
		control_fail(c, EX_IOERR, "%s", history_errtext(l->history));
		return;
	}
	control_ok(c, NULL);
}
