/*
 * The queue role and a hostile front: the input is a script of what auth,
 * front, relay and submitctl do, well-formed and not, in any order.
 *
 * Beside "nothing crashes", one thing must hold: a message is accepted only if
 * auth had granted the session and sent that envelope with a recipient, and
 * each envelope only once.
 *
 * A byte of the script: the action in the low five bits, one of eight sessions
 * in the others. Each action takes what it needs from the bytes behind.
 */
#include <sys/socket.h>

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue_rig.h"
#include "submitd/log.h"
#include "submitd/smtp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { SESSIONS = 8, TXNS = 4, ACTIONS_MAX = 64, FRONTS_MAX = 1000 };

static struct rig rig;

/* What auth said, and what may therefore be accepted. */
static struct {
	bool granted;
	uint32_t txn; /* of the envelope */
	unsigned rcpts;
	bool counted;           /* the envelope is in allowed[] */
	unsigned allowed[TXNS]; /* envelopes, each good for one message */
} model[SESSIONS];

struct script {
	const uint8_t *p, *end;
};

/* Disks are slow; what they keep is no matter here. */
int
fsync(int fd)
{
	(void)fd;
	return 0;
}

int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

static uint64_t
sid_of(unsigned n)
{
	return (uint64_t)rig.instance << SID_COUNTER_BITS | n;
}

static unsigned
byte(struct script *s)
{
	return s->p < s->end ? *s->p++ : 0;
}

static void
on_submitted(struct rig *r, uint64_t sid)
{
	uint64_t n = sid - sid_of(0);

	if (r->submitted.reply != R_QUEUED)
		return;
	if (n >= SESSIONS || r->submitted.txn >= TXNS ||
	    model[n].allowed[r->submitted.txn]-- == 0)
		abort(); /* nobody allowed it */
}

static void
allow(unsigned n)
{
	if (!model[n].granted || model[n].rcpts == 0 || model[n].counted)
		return;
	model[n].counted = true;
	model[n].allowed[model[n].txn]++;
}

/* ---- auth ---- */

static void
do_grant(unsigned n, struct script *s)
{
	(void)s;
	rig_grant(&rig, sid_of(n), "ann");
	model[n].granted = true;
	allow(n);
}

static void
do_envelope(unsigned n, struct script *s)
{
	static const char *const from[] = { "", "ann@example.org" };
	uint32_t txn = byte(s) % TXNS;

	rig_envelope(&rig, sid_of(n), txn, from[byte(s) % 2], "", 0);
	model[n].txn = txn;
	model[n].rcpts = 0;
	model[n].counted = false;
}

static void
do_rcpt(unsigned n, struct script *s)
{
	struct m_envelope_rcpt m = { .txn = byte(s) % TXNS,
		.to = "bo@example.net",
		.flags = byte(s) % 4,
		.note = "" };

	ipc_send(rig.auth, M_ENVELOPE_RCPT, sid_of(n), &m);
	if (m.txn != model[n].txn)
		return;
	model[n].rcpts++;
	allow(n);
}

/* For the history: of the session, of the envelope, or of none. */
static void
do_decision(unsigned n, struct script *s)
{
	struct m_decision m = { .txn = byte(s) % TXNS,
		.phase = byte(s) % 5,
		.result = byte(s) % 5,
		.why = "ok",
		.user = "ann",
		.text = "\xff",
		.ladder = byte(s) % 2 ? "sender\trefuse\t\t\n" : "\t\t..." };

	ipc_send(rig.auth, M_DECISION, sid_of(n), &m);
}

static void
do_auth_close(unsigned n, struct script *s)
{
	(void)s;
	ipc_send(rig.auth, M_SESSION_CLOSE, sid_of(n), NULL);
	model[n].granted = false;
	model[n].rcpts = 0;
}

/* ---- front ---- */

static void
do_txn(enum msg_type type, unsigned n, struct script *s)
{
	struct m_txn m = { .txn = byte(s) % TXNS };

	ipc_send(rig.front, type, sid_of(n), &m);
}

/* With as many recipients as were allowed, or any number. */
static void
do_open(unsigned n, struct script *s)
{
	struct m_data_open m = { .txn = byte(s) % TXNS, .rcpts = byte(s) };

	if (m.rcpts % 8 != 0)
		m.rcpts = model[n].rcpts;
	ipc_send(rig.front, M_DATA_OPEN, sid_of(n), &m);
}

static void
do_body_file(unsigned n, struct script *s)
{
	do_txn(M_BODY_FILE, n, s);
}

static void
do_abort(unsigned n, struct script *s)
{
	do_txn(M_DATA_ABORT, n, s);
}

static void
do_front_close(unsigned n, struct script *s)
{
	(void)s;
	ipc_send(rig.front, M_SESSION_CLOSE, sid_of(n), NULL);
}

static void
do_submit(unsigned n, struct script *s)
{
	struct m_submit m = { .txn = byte(s) % TXNS };
	unsigned how = byte(s);

	m.body.len = byte(s);
	if (m.body.len > (size_t)(s->end - s->p))
		m.body.len = (size_t)(s->end - s->p);
	m.body.p = s->p;
	m.size = m.body.len + (how & 1);
	m.in_file = (how & 2) != 0;
	m.body_kind = (uint8_t)(how >> 2) % 3;
	if (m.in_file && rig.body_fd != -1) {
		if (write(rig.body_fd, m.body.p, m.body.len) == -1)
			abort();
		m.body.len = 0;
	}
	ipc_send(rig.front, M_SUBMIT, sid_of(n), &m);
}

/* Bytes as they are, from front or relay. */
static void
send_raw(struct ipc *p, struct script *s)
{
	size_t len = byte(s);

	if (len > (size_t)(s->end - s->p))
		len = (size_t)(s->end - s->p);
	if (send(ipc_fd(p), s->p, len, MSG_NOSIGNAL) == -1)
		return; /* full, or closed meanwhile */
	s->p += len;
}

static void
do_front_raw(unsigned n, struct script *s)
{
	(void)n;
	send_raw(rig.front, s);
}

static void
do_front_dies(unsigned n, struct script *s)
{
	(void)n, (void)s;
	rig_disconnect(&rig, ROLE_FRONT);
}

/* ---- relay ---- */

static void
do_result(unsigned n, struct script *s)
{
	unsigned kind = byte(s) % 3, trouble = byte(s) % (TROUBLE_LOCAL + 1);
	unsigned i = byte(s);

	(void)n;
	if (rig.njobs == 0)
		return;
	i %= rig.njobs < RIG_JOBS ? rig.njobs : RIG_JOBS;
	rig_result_one(&rig, &rig.job[i], 0, (enum result_kind)kind,
	    (enum trouble_kind)trouble, byte(s), "text");
	if (byte(s) % 2 == 0)
		rig_done(&rig, &rig.job[i]);
}

static void
do_relay_state(unsigned n, struct script *s)
{
	unsigned up = byte(s) % 2, trouble = byte(s) % (TROUBLE_LOCAL + 1);

	(void)n;
	rig_relay_state(&rig, up != 0, (enum trouble_kind)trouble, "why");
}

static void
do_relay_raw(unsigned n, struct script *s)
{
	(void)n;
	send_raw(rig.relay, s);
}

static void
do_relay_dies(unsigned n, struct script *s)
{
	(void)n, (void)s;
	rig_disconnect(&rig, ROLE_RELAY);
}

/* ---- submitctl ---- */

static void
do_ask(unsigned n, struct script *s)
{
	static const char *const verbs[] = { "status", "queue.list",
		"queue.stats", "queue.hold", "queue.release", "queue.retry",
		"queue.del", "queue.show", "history.list" };
	char *request = xasprintf("{\"cmd\":\"%s\",\"all\":true}",
	    verbs[byte(s) % (sizeof(verbs) / sizeof(verbs[0]))]);

	(void)n;
	free(rig_ask(&rig, request));
	free(request);
}

static void
do_ask_raw(unsigned n, struct script *s)
{
	size_t len = byte(s);
	char *request;

	(void)n;
	if (len > (size_t)(s->end - s->p))
		len = (size_t)(s->end - s->p);
	request = xmalloc(len + 1);
	memcpy(request, s->p, len);
	request[len] = '\0';
	s->p += len;
	free(rig_ask(&rig, request));
	free(request);
}

static void
do_settle(unsigned n, struct script *s)
{
	(void)n, (void)s;
	rig_settle(&rig);
}

static void (*const actions[])(unsigned, struct script *) = { do_settle,
	do_grant, do_envelope, do_rcpt, do_auth_close, do_open, do_body_file,
	do_abort, do_front_close, do_submit, do_front_raw, do_front_dies,
	do_result, do_relay_state, do_relay_raw, do_relay_dies, do_ask,
	do_ask_raw, do_decision };

/* ---- */

static void
stop(void)
{
	rig_down(&rig);
}

static void
begin(void)
{
	static bool begun;

	memset(model, 0, sizeof(model));
	if (begun && rig.instance > FRONTS_MAX) {
		rig_stop(&rig); /* it remembers all that died */
		rig.instance = RIG_FRONT;
		rig_up(&rig);
	}
	if (begun)
		return;
	begun = true;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_CRIT);
	rig_init(&rig);
	rig.setup.conf.retry_min = rig.setup.conf.retry_max = 1000;
	rig.on_submitted = on_submitted;
	rig_up(&rig);
	atexit(stop);
}

/* Peers that were dropped, or died, come back with new numbers. */
static void
reconnect(void)
{
	rig_settle(&rig);
	if (rig.relay == NULL)
		rig_connect(&rig, ROLE_RELAY);
	if (rig.front == NULL) {
		memset(model, 0, sizeof(model));
		rig.instance++;
		rig_connect(&rig, ROLE_FRONT);
	}
}

/* Nothing of one input is left for the next. */
static void
clean(void)
{
	unsigned n;

	rig_settle(&rig);
	for (n = 0; n < SESSIONS; n++)
		ipc_send(rig.auth, M_SESSION_CLOSE, sid_of(n), NULL);
	rig_disconnect(&rig, ROLE_RELAY);
	free(rig_ask(&rig, "{\"cmd\":\"queue.del\",\"all\":true}"));
	rig_connect(&rig, ROLE_RELAY);
	rig_relay_state(&rig, true, TROUBLE_NONE, "");
	rig.njobs = rig.nready = rig.nsubmitted = rig.naccepted = 0;
	if (rig.body_fd != -1)
		close(rig.body_fd);
	rig.body_fd = -1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct script s = { data, data + len };
	unsigned b, n = 0;

	begin();
	while (s.p < s.end && n++ < ACTIONS_MAX) {
		b = byte(&s);
		reconnect();
		actions[(b & 31) % (sizeof(actions) / sizeof(actions[0]))](
		    b >> 5, &s);
	}
	reconnect();
	clean();
	return 0;
}
