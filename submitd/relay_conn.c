/*
 * One connection of the relay: from the smarthost's name over an address, TCP
 * and TLS to the dialogue of smtp_client.c, then one message after another.
 * Where the access map may have a word about it, that is asked for first:
 * before an address is tried, once TLS stands, and for the recipients of each
 * message.
 *
 * Log: ev=smarthost host= addr= port=, and for a verified session tls= cipher=
 * verified=ok, for one that failed trouble= error= (warning; info while other
 * addresses are left).
 */
#include <arpa/inet.h>

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "relay.h"
#include "smtp_addr.h"
#include "stream.h"
#include "tls.h"

enum {
	RESOLVE_MS = 15 * 1000, /* the resolver answers sooner by itself */
	CONNECT_MS = 30 * 1000,
	IDLE_MS = 10 * 1000,
	QUIT_MS = 5 * 1000,
	FINAL_MS = 10 * 60 * 1000, /* RFC 5321 section 4.5.3.2.6 */
	PENDING_MAX = 256 * 1024,  /* bytes of a body that wait to be sent */
	EAGER_MS = 1000,           /* who was heard so lately is there */
	DOMAINS_MAX = 1000         /* kept of a connection */
};

static const char *const troubles[] = { "none", "reply", "connect", "dns",
	"tls", "auth", "local" };

static void try_next(struct relay_conn *);
static void follow(struct relay_conn *);
static void send_rest(struct relay_conn *);
static void send_message(struct relay_conn *);

/* ---- reasons ---- */

/* How much a trouble says: a refused login or certificate is news, that
 * another address does not answer is not. */
static int
gravity(enum trouble_kind t, bool final)
{
	if (final)
		return 4;
	return t == TROUBLE_AUTH ? 3 : t == TROUBLE_TLS ? 2 : 1;
}

static const char *
current_addr(const struct relay_conn *c)
{
	return c->next > 0 ? c->addr[c->next - 1] : "";
}

static void
log_trouble(
    int level, const char *addr, enum trouble_kind trouble, const char *text)
{
	log_event(level, 0, 0, "smarthost",
	    "host=%s addr=%s port=%u trouble=%s error=%s", relay.host, addr,
	    relay.port, troubles[trouble], text);
}

static void
note_as(struct relay_conn *c, enum trouble_kind trouble, bool final,
    const char *esc, const char *text, const char *ruled)
{
	struct relay_reason *r = &c->reason;
	const char *addr = current_addr(c);

	if (c->next < c->addrs)
		log_trouble(LOG_INFO, addr, trouble, text);
	if (gravity(trouble, final) < gravity(r->trouble, r->final))
		return;
	r->trouble = trouble;
	r->final = final;
	snprintf(r->esc, sizeof(r->esc), "%s", esc);
	snprintf(r->ruled, sizeof(r->ruled), "%s", ruled);
	snprintf(r->addr, sizeof(r->addr), "%s", addr);
	snprintf(r->mta, sizeof(r->mta), "%s", c->mta);
	snprintf(r->text, sizeof(r->text), "%s%s%s%.600s",
	    trouble == TROUBLE_TLS ? "TLS to " : "", c->mta,
	    c->mta[0] != '\0' ? ": " : "", text);
}

/* An attempt failed by this address; its last word is give_up()'s. */
static void
note(struct relay_conn *c, enum trouble_kind trouble, const char *esc,
    const char *text)
{
	note_as(c, trouble, false, esc, text, "");
}

/* By no address did it become ready. */
static void
give_up(struct relay_conn *c)
{
	const struct relay_reason *r = &c->reason;

	log_trouble(LOG_WARNING, r->addr, r->trouble, r->text);
	relay_on_failed(c);
}

/* ---- the end ---- */

void
relay_conn_free(struct relay_conn *c)
{
	relay_rule_cancel(c);
	stream_free(&c->stream);
	smtp_client_free(&c->client);
	if (c->timer != NULL)
		event_free(c->timer);
	while (c->domains > 0)
		free(c->domain[--c->domains]);
	free(c->domain);
	free(c);
}

/* What is left of it goes elsewhere; but if its queue is gone, the next one
 * sends it anew. */
static void
let_go(struct relay_conn *c)
{
	struct relay_job *j = c->job;

	if (j == NULL)
		return;
	c->job = NULL;
	c->sent++;
	relay_job_prune(j);
	if (j->rcpts == 0 || j->queue == NULL)
		relay_job_done(j);
	else if (j->again)
		relay_on_again(j);
	else
		relay_on_rest(j);
}

/* The message behind was not sent: another connection takes it. */
static void
let_behind_go(struct relay_conn *c)
{
	struct relay_job *j = c->behind;

	if (j == NULL)
		return;
	c->behind = NULL;
	if (j->queue == NULL)
		relay_job_done(j);
	else
		relay_on_unsaid(j);
}

/* It ended before a word of its message was said: another has to take it,
 * once. */
static void
leave_unsaid(struct relay_conn *c)
{
	struct relay_reason why = { .trouble = TROUBLE_CONNECT,
		.esc = "4.4.2",
		.text = "the smarthost closed the connection" };
	struct relay_job *j = c->job;

	relay_rule_cancel(c);
	relay_job_prune(j);
	if (j->rcpts == 0 || !j->retried) {
		j->again = j->rcpts > 0;
		return;
	}
	snprintf(why.mta, sizeof(why.mta), "%s", c->mta);
	c->job = NULL;
	relay_job_defer(j, &why);
}

/* The session is over; the connection is freed or tries its next address. */
static void
session_over(struct relay_conn *c)
{
	const struct smtp_client_result *f = smtp_client_failure(c->client);
	bool locked_out = f != NULL && f->trouble == TROUBLE_AUTH;

	if (c->job != NULL && c->ask.id != 0)
		leave_unsaid(c);
	relay_rule_cancel(c);
	if (c->ready) {
		if (f != NULL && (c->job == NULL || !c->job->again))
			log_trouble(
			    LOG_WARNING, current_addr(c), f->trouble, f->text);
		/* Also those that were to be in a later transaction. */
		if (f != NULL && c->job != NULL && !c->job->again)
			relay_job_result_all(c->job, f, c->mta);
		let_behind_go(c);
		let_go(c);
		relay_on_closed(c);
		return;
	}
	/* It was never up: whatever it answered is no reply to a mail. */
	if (f != NULL)
		note(c,
		    f->trouble == TROUBLE_REPLY ? TROUBLE_CONNECT : f->trouble,
		    f->esc, f->text);
	stream_free(&c->stream);
	smtp_client_free(&c->client);
	/* Too many wrong logins could lock the account. */
	if (locked_out)
		give_up(c);
	else
		try_next(c);
}

/* ---- the dialogue's callbacks ---- */

void
relay_conn_write(void *arg, const void *p, size_t len)
{
	const struct relay_conn *c = arg;

	stream_write(c->stream, p, len);
}

/* A connection that stood idle may have been closed by the smarthost before it
 * heard us: the message is then as good as never sent, unless all of it was. */
static bool
was_dead_before(const struct relay_conn *c, const struct smtp_client_result *r)
{
	return c->sent > 0 && !c->timed_out && !r->unsure &&
	    !smtp_client_answered(c->client) && r->kind == RESULT_DEFERRED;
}

/* From now on it is not asked for what it refused. */
static void
note_avoid(const struct relay_conn *c, const struct smtp_client_result *r)
{
	static const char *const what[] = { "", "BDAT",
		"AUTH=", "BDAT, AUTH=" };

	if ((r->avoid & ~relay.client.avoid) == 0)
		return;
	relay.client.avoid |= r->avoid;
	log_event(LOG_WARNING, c->job->sid, c->job->qid, "smarthost-odd",
	    "mta=%s refuses=%s text=%s", c->mta, what[relay.client.avoid],
	    r->text);
}

static unsigned
handed(const struct relay_conn *c)
{
	unsigned offers = smtp_client_offers(c->client);

	return ((offers & SMTP_OFFERS_DSN) != 0 ? HANDED_DSN : 0) |
	    ((offers & SMTP_OFFERS_DELIVERBY) != 0 ? HANDED_BY : 0);
}

void
relay_conn_result(void *arg, size_t n, const struct smtp_client_result *r)
{
	struct relay_conn *c = arg;
	struct relay_job *j = c->job;

	note_avoid(c, r);
	if (!j->retried && (r->avoid != 0 || was_dead_before(c, r)))
		j->again = true;
	else if (!r->rest)
		relay_job_result(j, j->batch[n], r, c->mta, handed(c));
}

/* The reply to the message before is here. */
void
relay_conn_turn(void *arg)
{
	struct relay_conn *c = arg;

	let_go(c);
	c->job = c->behind;
	c->behind = NULL;
	c->idle_ms = clock_ms();
}

/* ---- deadlines ---- */

static int64_t
reply_ms(const struct relay_conn *c)
{
	int64_t ms = relay.timeout_ms;

	if (smtp_client_is_final(c->client) && ms < FINAL_MS)
		ms = 2 * ms < FINAL_MS ? 2 * ms : FINAL_MS;
	return ms;
}

static void
wait_for_reply(struct relay_conn *c)
{
	c->heard = smtp_client_replies(c->client);
	stream_deadline(c->stream, reply_ms(c));
}

/* ---- the body ---- */

static void
send_body(struct relay_conn *c)
{
	const char *why = NULL;
	const void *p;
	char text[200];
	ssize_t n = 1;

	stream_deadline(c->stream, relay.timeout_ms);
	stream_cork(c->stream, true); /* the end, and what follows, in one */
	while (n > 0 && stream_pending(c->stream) < PENDING_MAX) {
		n = relay_fit_read(c->job, &p, &why);
		if (n > 0)
			smtp_client_body(c->client, p, (size_t)n);
	}
	if (n == 0) {
		smtp_client_body_end(c->client);
		wait_for_reply(c);
		if (smtp_client_may_follow(c->client))
			relay_on_room(c);
	}
	stream_cork(c->stream, false);
	if (n != -1)
		return; /* STREAM_DRAINED comes back here */
	snprintf(text, sizeof(text), "the message cannot be read: %s", why);
	smtp_client_lost(c->client, TROUBLE_LOCAL, text);
}

/* ---- limits of the smarthost: RFC 9422 ---- */

bool
relay_conn_is_used_up(const struct relay_conn *c)
{
	uint32_t max = smtp_client_limits(c->client)->mails;

	return max > 0 && smtp_client_mails(c->client) >= max;
}

static size_t
max_domains(const struct relay_conn *c)
{
	uint32_t max = smtp_client_limits(c->client)->domains;

	return max == 0 || max > DOMAINS_MAX ? DOMAINS_MAX : max;
}

/* The recipient's domain is one of those that this connection has seen, or
 * there may be one more. */
static bool
takes_domain(const struct relay_conn *c, const struct relay_rcpt *r)
{
	const char *domain = smtp_addr_domain(r->to);
	size_t i;

	if (smtp_client_limits(c->client)->domains == 0)
		return true;
	for (i = 0; i < c->domains; i++)
		if (smtp_addr_domain_equal(c->domain[i], domain))
			return true;
	return c->domains < max_domains(c);
}

static void
note_domain(struct relay_conn *c, const struct relay_rcpt *r)
{
	const char *domain = smtp_addr_domain(r->to);
	size_t i;

	if (smtp_client_limits(c->client)->domains == 0)
		return;
	for (i = 0; i < c->domains; i++)
		if (smtp_addr_domain_equal(c->domain[i], domain))
			return;
	c->domain = xrealloc(c->domain, (c->domains + 1) * sizeof(*c->domain));
	c->domain[c->domains++] = xstrdup(domain);
}

bool
relay_conn_takes(const struct relay_conn *c, const struct relay_job *j)
{
	size_t i;

	for (i = 0; i < j->rcpts; i++)
		if (takes_domain(c, &j->rcpt[i]))
			return true;
	return false;
}

/* Chooses the recipients of the next transaction; false: there are none. */
static bool
next_batch(struct relay_conn *c)
{
	uint32_t max = smtp_client_limits(c->client)->rcpts;
	struct relay_job *j = c->job;
	size_t i;

	j->nbatch = 0;
	if (j->again || j->queue == NULL || relay_conn_is_used_up(c))
		return false;
	for (i = 0; i < j->rcpts && (max == 0 || j->nbatch < max); i++) {
		if (j->rcpt[i].done || !takes_domain(c, &j->rcpt[i]))
			continue;
		note_domain(c, &j->rcpt[i]);
		j->batch[j->nbatch++] = i;
	}
	return j->nbatch > 0;
}

/* ---- following the dialogue ---- */

static void
become_idle(struct relay_conn *c)
{
	c->idle_ms = clock_ms();
	stream_deadline(c->stream, IDLE_MS);
	if (!c->ready) {
		c->ready = true;
		relay_on_ready(c);
	}
	let_go(c);
	relay_on_idle(c);
}

/* Its queue went while it was behind another message: the next queue sends
 * it. */
static bool
is_orphan(const struct relay_conn *c)
{
	enum smtp_client_want want = smtp_client_want(c->client);

	return c->job != NULL && c->job->queue == NULL &&
	    !smtp_client_is_final(c->client) &&
	    (want == SMTP_CLIENT_REPLY || want == SMTP_CLIENT_BODY);
}

/* Does what the dialogue wants next; c may be gone afterwards. */
static void
follow(struct relay_conn *c)
{
	if (is_orphan(c)) {
		relay_on_orphan(c);
		return;
	}
	if (smtp_client_want(c->client) == SMTP_CLIENT_BODY)
		send_body(c);
	switch (smtp_client_want(c->client)) {
	case SMTP_CLIENT_TLS:
		stream_starttls(c->stream, relay.tls, relay.host);
		stream_deadline(c->stream, relay.timeout_ms);
		break;
	case SMTP_CLIENT_REPLY:
		if (c->heard != smtp_client_replies(c->client))
			wait_for_reply(c);
		break;
	case SMTP_CLIENT_IDLE:
		if (c->job == NULL)
			become_idle(c);
		else if (c->job->fit.offers != smtp_client_offers(c->client))
			send_message(c); /* another one met a refusal of BDAT */
		else
			send_rest(c);
		break;
	case SMTP_CLIENT_BODY:
		break;
	case SMTP_CLIENT_CLOSE:
		session_over(c);
		break;
	}
}

static int64_t
seconds_left(const struct mail_options *o)
{
	struct timespec ts;
	int64_t ms;

	if (o->by_mode == BY_NONE)
		return 0;
	clock_gettime(CLOCK_REALTIME, &ts);
	ms = o->by_ms - (int64_t)ts.tv_sec * 1000 - ts.tv_nsec / 1000000;
	return ms >= 0 ? ms / 1000 : -((999 - ms) / 1000); /* rounded down */
}

/* Says one transaction, for the recipients of the batch, or asks whether it may
 * be said behind the one that runs. */
static bool
say_batch(struct relay_conn *c, struct relay_job *j, bool behind)
{
	const char **to = xcalloc(j->nbatch, sizeof(*to));
	struct rcpt_options *opt = xcalloc(j->nbatch, sizeof(*opt));
	const struct relay_rcpt *r;
	struct smtp_client_msg m = {
		.from = j->fit.from != NULL ? j->fit.from : j->from,
		.to = to,
		.rcpt = opt,
		.rcpts = j->nbatch,
		.size = j->fit.size,
		.body = j->fit.body,
		.utf8 = j->fit.utf8,
		.eager = clock_ms() - c->idle_ms < EAGER_MS,
		.opt = j->opt,
		.by_s = seconds_left(&j->opt),
	};
	bool said = true;
	size_t i;

	for (i = 0; i < j->nbatch; i++) {
		r = &j->rcpt[j->batch[i]];
		to[i] = relay_fit_to(r);
		opt[i] = r->opt;
		if (r->opt.orcpt == NULL)
			opt[i].orcpt = r->ascii_orcpt;
	}
	relay_fit_rewind(j);
	if (behind)
		said = smtp_client_follow(c->client, &m);
	else
		smtp_client_send(c->client, &m);
	free(to);
	free(opt);
	return said;
}

/* The whole job must fit into one transaction: nothing of it may have to wait
 * for another. */
bool
relay_conn_follow(struct relay_conn *c, struct relay_job *j)
{
	const struct smtp_client_limits *max = smtp_client_limits(c->client);
	const char *esc;
	char text[400];
	size_t i;

	if (j->retried || max->domains > 0 || relay_conn_is_used_up(c) ||
	    (max->rcpts > 0 && j->rcpts > max->rcpts) ||
	    relay_rule_applies(SERVER_RULE_RCPT) ||
	    relay_fit(j, smtp_client_offers(c->client), &esc, text,
		sizeof(text)) != RELAY_FITS)
		return false;
	for (i = 0; i < j->rcpts; i++)
		j->batch[i] = i;
	j->nbatch = j->rcpts;
	if (!say_batch(c, j, true))
		return false;
	c->behind = j;
	return true;
}

/* Commands and a short message leave in one piece. */
static void
send_rest(struct relay_conn *c)
{
	bool said = false;

	stream_cork(c->stream, true);
	while (!said && next_batch(c)) {
		say_batch(c, c->job, false);
		said = smtp_client_want(c->client) != SMTP_CLIENT_IDLE;
	}
	if (said) {
		wait_for_reply(c);
		if (smtp_client_want(c->client) == SMTP_CLIENT_BODY)
			send_body(c);
	}
	stream_cork(c->stream, false);
	if (!said)
		become_idle(c);
	else if (smtp_client_want(c->client) == SMTP_CLIENT_CLOSE)
		session_over(c);
}

static void
refuse_message(struct relay_conn *c, enum relay_fit_rc rc, const char *esc,
    const char *text)
{
	struct smtp_client_result r = { .kind = RESULT_FAILED,
		.trouble = TROUBLE_REPLY,
		.esc = esc,
		.text = text };
	char why[SMTP_CLIENT_TEXT];

	if (rc == RELAY_UNREADABLE) {
		snprintf(why, sizeof(why), "the message cannot be read: %.200s",
		    text);
		r = (struct smtp_client_result){ .kind = RESULT_DEFERRED,
			.trouble = TROUBLE_LOCAL,
			.esc = "4.3.0",
			.text = why };
	}
	relay_job_result_all(c->job, &r, c->mta);
	become_idle(c);
}

static void
send_message(struct relay_conn *c)
{
	const char *esc = "";
	char text[400];
	enum relay_fit_rc rc;

	rc = relay_fit(
	    c->job, smtp_client_offers(c->client), &esc, text, sizeof(text));
	if (rc == RELAY_FITS)
		send_rest(c);
	else
		refuse_message(c, rc, esc, text);
}

void
relay_conn_send(struct relay_conn *c, struct relay_job *j)
{
	c->job = j;
	if (!relay_rule_applies(SERVER_RULE_RCPT)) {
		send_message(c);
		return;
	}
	c->state = RELAY_ASKING;
	stream_deadline(c->stream, 0); /* the question has its own */
	relay_rule_ask(c, SERVER_ASK_RCPT);
}

void
relay_conn_rcpts_ruled(struct relay_conn *c)
{
	c->state = RELAY_TALKING;
	relay_job_prune(c->job);
	if (c->job->rcpts > 0)
		send_message(c);
	else
		become_idle(c);
}

void
relay_conn_quit(struct relay_conn *c)
{
	relay_on_quit(c);
	smtp_client_quit(c->client);
	stream_deadline(c->stream, QUIT_MS);
}

/* ---- the stream ---- */

static void
log_tls(const struct relay_conn *c)
{
	struct stream_tls t;

	stream_tls_info(c->stream, &t);
	log_info("smarthost",
	    "host=%s addr=%s port=%u tls=%s cipher=%s verified=ok", relay.host,
	    current_addr(c), relay.port, t.version, t.cipher);
}

void
relay_conn_facts(
    const struct relay_conn *c, struct m_server_tls *m, struct buf *chain)
{
	struct stream_tls t;

	m->host = relay.host;
	m->addr = current_addr(c);
	m->verify = "";
	if (c->stream == NULL)
		return;
	/* No handshake ends well without chain and name verified. */
	m->verify = "OK";
	stream_tls_info(c->stream, &t);
	m->tls_bits = (uint16_t)t.bits;
	stream_tls_chain(c->stream, chain, SERVER_CHAIN_MAX);
	m->chain = (struct blob){ .p = buf_head(chain), .len = chain->len };
}

static void
talk_under_tls(struct relay_conn *c)
{
	c->state = RELAY_TALKING;
	smtp_client_tls_up(c->client);
	wait_for_reply(c);
}

static void
on_tls_up(struct relay_conn *c)
{
	log_tls(c);
	if (!relay_rule_applies(SERVER_RULE_TLS)) {
		talk_under_tls(c);
		return;
	}
	c->state = RELAY_ASKING;
	stream_pause(c->stream); /* a greeting may come already */
	stream_deadline(c->stream, 0);
	relay_rule_ask(c, SERVER_ASK_TLS);
}

static void
on_connected(struct relay_conn *c)
{
	c->state = RELAY_TALKING;
	wait_for_reply(c);
	follow(c); /* implicit TLS begins at once */
}

static void
on_input(struct relay_conn *c)
{
	struct buf *in = stream_input(c->stream);

	smtp_client_input(c->client, buf_head(in), in->len);
	buf_drop(in, in->len);
	follow(c);
}

/* No dialogue yet: the address does not answer. */
static void
not_connected(struct relay_conn *c, const char *text)
{
	note(c, TROUBLE_CONNECT, "4.4.1", text);
	stream_free(&c->stream);
	smtp_client_free(&c->client);
	try_next(c);
}

static void
lost(struct relay_conn *c, enum trouble_kind trouble, const char *text)
{
	if (c->state == RELAY_CONNECTING) {
		not_connected(c, text);
		return;
	}
	smtp_client_lost(c->client, trouble, text);
	follow(c);
}

static void
on_eof(struct relay_conn *c)
{
	if (c->state == RELAY_TALKING &&
	    smtp_client_want(c->client) == SMTP_CLIENT_TLS)
		lost(c, TROUBLE_TLS,
		    "the smarthost closed the connection during the handshake");
	else
		lost(c, TROUBLE_CONNECT, "the smarthost closed the connection");
}

static void
on_timeout(struct relay_conn *c)
{
	if (c->state == RELAY_TALKING &&
	    smtp_client_want(c->client) == SMTP_CLIENT_IDLE) {
		relay_conn_quit(c);
		return;
	}
	c->timed_out = true;
	lost(c, TROUBLE_CONNECT, "no answer in time");
}

static void
on_stream(struct stream *s, enum stream_event e, void *arg)
{
	struct relay_conn *c = arg;

	switch (e) {
	case STREAM_CONNECTED:
		on_connected(c);
		break;
	case STREAM_INPUT:
		on_input(c);
		break;
	case STREAM_TLS_UP:
		on_tls_up(c);
		break;
	case STREAM_DRAINED:
		if (smtp_client_want(c->client) == SMTP_CLIENT_BODY)
			follow(c);
		break;
	case STREAM_EOF:
		on_eof(c);
		break;
	case STREAM_TIMEOUT:
		on_timeout(c);
		break;
	case STREAM_ERROR:
		lost(c, stream_error_is_tls(s) ? TROUBLE_TLS : TROUBLE_CONNECT,
		    stream_error(s));
		break;
	}
}

/* ---- addresses ---- */

static bool
connect_to(struct relay_conn *c)
{
	int64_t ms =
	    relay.timeout_ms < CONNECT_MS ? relay.timeout_ms : CONNECT_MS;

	c->stream = stream_connect(
	    relay.base, current_addr(c), relay.port, on_stream, c);
	if (c->stream == NULL) {
		note(c, TROUBLE_CONNECT, "4.4.1", strerror(errno));
		return false;
	}
	c->state = RELAY_CONNECTING;
	c->client = smtp_client_new(&relay.client, c);
	stream_deadline(c->stream, ms);
	return true;
}

static void
try_next(struct relay_conn *c)
{
	while (c->next < c->addrs) {
		c->next++;
		snprintf(c->mta, sizeof(c->mta), "%.250s[%s]:%u", relay.host,
		    current_addr(c), relay.port);
		c->map = relay_rule_map();
		if (relay_rule_applies(SERVER_RULE_TRY)) {
			c->state = RELAY_ASKING;
			relay_rule_ask(c, SERVER_ASK_TRY);
			return;
		}
		if (connect_to(c))
			return;
	}
	give_up(c);
}

/* This address may not be used; without an answer no other may. */
static void
rule_out(struct relay_conn *c, const struct m_server_verdict *m)
{
	bool unknown = m->verdict == SERVER_UNKNOWN;

	note_as(c, unknown ? TROUBLE_LOCAL : TROUBLE_TLS,
	    m->verdict == SERVER_FAIL, m->esc, m->text, m->ruled);
	stream_free(&c->stream);
	smtp_client_free(&c->client);
	if (unknown)
		give_up(c);
	else
		try_next(c);
}

void
relay_conn_ruled(struct relay_conn *c, const struct m_server_verdict *m)
{
	if (m->verdict != SERVER_GO) {
		rule_out(c, m);
	} else if (c->stream == NULL) {
		if (!connect_to(c))
			try_next(c);
	} else {
		talk_under_tls(c);
		stream_resume(c->stream);
	}
}

/* Takes the addresses, the one that worked last before all others. */
static void
take_addrs(struct relay_conn *c, const char *list)
{
	const char *good = relay_good_addr();
	size_t len, i;

	for (; *list != '\0' && c->addrs < RELAY_ADDRS;
	     list += len, list += *list == ' ') {
		len = strcspn(list, " ");
		if (len == 0 || len >= RELAY_ADDR)
			continue;
		i = c->addrs++;
		if (len == strlen(good) && strncmp(list, good, len) == 0) {
			memmove(c->addr[1], c->addr[0], i * RELAY_ADDR);
			i = 0;
		}
		snprintf(c->addr[i], RELAY_ADDR, "%.*s", (int)len, list);
	}
}

void
relay_conn_resolved(struct relay_conn *c, const struct m_resolved *m)
{
	char text[300];

	if (c->state != RELAY_RESOLVING)
		return;
	event_del(c->timer);
	take_addrs(c, m->addrs);
	if (m->status == RESOLVE_OK && c->addrs > 0) {
		try_next(c);
		return;
	}
	snprintf(text, sizeof(text),
	    "the address of %.100s is not known: %.150s", relay.host,
	    m->detail);
	note(c, TROUBLE_DNS, "4.4.3", text);
	give_up(c);
}

static void
on_no_resolver(evutil_socket_t fd, short what, void *arg)
{
	struct m_resolved m = { .status = RESOLVE_TEMP,
		.addrs = "",
		.detail = "the resolver gave no answer" };

	(void)fd, (void)what;
	relay_conn_resolved(arg, &m);
}

static bool
is_numeric(const char *host)
{
	unsigned char a[16];

	return inet_pton(AF_INET, host, a) == 1 ||
	    inet_pton(AF_INET6, host, a) == 1;
}

void
relay_conn_begin(struct relay_conn *c)
{
	static const struct timeval limit = { .tv_sec = RESOLVE_MS / 1000 };

	if (is_numeric(relay.host)) {
		take_addrs(c, relay.host);
		try_next(c);
		return;
	}
	c->state = RELAY_RESOLVING;
	c->timer = event_new(relay.base, -1, EV_TIMEOUT, on_no_resolver, c);
	event_add(c->timer, &limit);
	relay_ask(c->id);
}
