/* Messages and recipients: writing, reading, and what administrators do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailq_private.h"

/* The range of ids an administrator names: one, or with 0 all. */
static int64_t
lowest(uint64_t qid)
{
	return (int64_t)qid;
}

static int64_t
highest(uint64_t qid)
{
	return qid != 0 ? (int64_t)qid : INT64_MAX;
}

static enum mailq_rc
must_exist(struct mailq *mq, uint64_t qid)
{
	int64_t one;
	enum mailq_rc rc;

	if (qid == 0)
		return MAILQ_OK;
	rc = mailq_int(
	    mq, &one, "SELECT 1 FROM message WHERE qid = ?", "i", (int64_t)qid);
	if (rc == MAILQ_NONE)
		mailq_fail(mq, rc, "no message %013llx in the queue",
		    (unsigned long long)qid);
	return rc;
}

/* ---- writing ---- */

enum mailq_rc
mailq_high(struct mailq *mq, uint64_t *qid)
{
	int64_t v = 0;
	enum mailq_rc rc;

	rc = mailq_int(mq, &v,
	    "SELECT max(coalesce((SELECT max(qid) FROM message), 0),"
	    " coalesce((SELECT value FROM number WHERE name = 'qid_high'), 0))",
	    "");
	if (rc == MAILQ_OK)
		*qid = (uint64_t)v;
	return rc;
}

enum mailq_rc
mailq_save_high(struct mailq *mq, uint64_t qid)
{
	return mailq_run(mq, NULL,
	    "INSERT INTO number (name, value) VALUES ('qid_high', ?)"
	    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
	    "i", (int64_t)qid);
}

static const char *
or_empty(const char *text)
{
	return text != NULL ? text : "";
}

static int64_t
earliest(const struct mailq_rcpt *rcpt, size_t nrcpt)
{
	int64_t due = INT64_MAX;

	for (size_t i = 0; i < nrcpt; i++)
		if (rcpt[i].state != MAILQ_HELD && rcpt[i].next_ms < due)
			due = rcpt[i].next_ms;
	return due;
}

static const char *
null_if_empty(const char *text)
{
	return text != NULL && text[0] != '\0' ? text : NULL;
}

/* Words of the database; the first value of each enum is NULL there. */
static const char *const rets[] = { NULL, "full", "hdrs" };
static const char *const by_modes[] = { NULL, "notify", "return" };
enum { WORDS = 3 };

static const char *
word_of(const char *const *words, unsigned value)
{
	return value < WORDS ? words[value] : NULL;
}

static uint8_t
value_of(const char *const *words, const unsigned char *text)
{
	uint8_t i;

	for (i = 1; text != NULL && i < WORDS; i++)
		if (strcmp(words[i], (const char *)text) == 0)
			return i;
	return 0;
}

static enum mailq_rc
insert_message(struct mailq *mq, const struct mailq_msg *m, int64_t due)
{
	const struct mail_options *o = &m->opt;

	return mailq_run(mq, NULL,
	    "INSERT INTO message (qid, sid, user_id, user, how, client_addr,"
	    " sender, body_kind, in_file, size, arrived_ms, since_ms, due_ms,"
	    " again, binary, utf8, require_tls, ret, envid, hold_until_ms,"
	    " deliver_by_ms, deliver_by_mode, by_trace, priority, auth)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, ?),"
	    " nullif(?, x''), ?, ?, ?, ?, ?, nullif(?, 0), nullif(?, 0),"
	    " ?, ?, ?, ?)",
	    "iiittttiiiiiiibiiittiitiit", (int64_t)m->qid, (int64_t)m->sid,
	    m->user_id, m->user, m->how, m->client_addr, m->from,
	    (int64_t)(o->body != BODY_7BIT), (int64_t)m->in_file,
	    (int64_t)m->size, m->arrived_ms, m->since_ms, due, INT64_MAX,
	    m->again, (size_t)(m->again != NULL ? MAILQ_AGAIN_LEN : 0),
	    (int64_t)(o->body == BODY_BINARYMIME), (int64_t)o->utf8,
	    (int64_t)o->require_tls, word_of(rets, o->ret),
	    null_if_empty(o->envid), o->hold_ms, o->by_ms,
	    word_of(by_modes, o->by_mode), (int64_t)o->by_trace,
	    (int64_t)o->priority - PRIORITY_NORMAL, null_if_empty(o->auth));
}

static enum mailq_rc
insert_rcpts(
    struct mailq *mq, uint64_t qid, const struct mailq_rcpt *r, size_t nrcpt)
{
	enum mailq_rc rc = MAILQ_OK;

	for (size_t i = 0; i < nrcpt && rc == MAILQ_OK; i++)
		rc = mailq_run(mq, NULL,
		    "INSERT INTO recipient (qid, n, address, state, next_ms,"
		    " text, notify, orcpt)"
		    " VALUES (?, ?, ?, ?, ?, ?, nullif(?, 0), ?)",
		    "iitiitit", (int64_t)qid, (int64_t)i, r[i].address,
		    (int64_t)r[i].state, r[i].next_ms, or_empty(r[i].text),
		    (int64_t)r[i].opt.notify, null_if_empty(r[i].opt.orcpt));
	return rc;
}

static enum mailq_rc
insert_again(struct mailq *mq, const struct mailq_msg *m)
{
	if (m->again == NULL)
		return MAILQ_OK;
	return mailq_run(mq, NULL,
	    "INSERT OR REPLACE INTO duplicate (key, qid, at_ms)"
	    " VALUES (?, ?, ?)",
	    "bii", m->again, (size_t)MAILQ_AGAIN_LEN, (int64_t)m->qid,
	    m->arrived_ms);
}

enum mailq_rc
mailq_again(
    struct mailq *mq, const void *again, int64_t since_ms, uint64_t *qid)
{
	int64_t v = 0;
	enum mailq_rc rc;

	rc = mailq_int(mq, &v,
	    "SELECT qid FROM duplicate WHERE key = ? AND at_ms >= ?", "bi",
	    again, (size_t)MAILQ_AGAIN_LEN, since_ms);
	if (rc == MAILQ_OK)
		*qid = (uint64_t)v;
	return rc;
}

enum mailq_rc
mailq_again_prune(struct mailq *mq, uint8_t first, int64_t before_ms, bool *any)
{
	unsigned char from[MAILQ_AGAIN_LEN] = { first }, to[MAILQ_AGAIN_LEN];
	unsigned n = 0;
	enum mailq_rc rc;

	memset(to, 0xff, sizeof(to));
	to[0] = first;
	rc = mailq_run(mq, &n,
	    "DELETE FROM duplicate WHERE key BETWEEN ? AND ? AND at_ms < ?",
	    "bbi", from, sizeof(from), to, sizeof(to), before_ms);
	if (rc == MAILQ_OK)
		*any = n > 0;
	return rc;
}

/* It did not reach everybody: the next copy must be sent. */
static enum mailq_rc
forget_again(struct mailq *mq, uint64_t qid)
{
	return mailq_run(mq, NULL,
	    "DELETE FROM duplicate WHERE qid = ?1 AND key ="
	    " (SELECT again FROM message WHERE qid = ?1)",
	    "i", (int64_t)qid);
}

/* All but the row of the message. */
static enum mailq_rc
insert_rest(struct mailq *mq, const struct mailq_msg *msg, const void *body,
    const struct mailq_rcpt *rcpt, size_t nrcpt)
{
	enum mailq_rc rc = insert_rcpts(mq, msg->qid, rcpt, nrcpt);

	if (rc == MAILQ_OK)
		rc = insert_again(mq, msg);
	if (rc == MAILQ_OK && !msg->in_file)
		rc = mailq_run(mq, NULL,
		    "INSERT INTO body (qid, data) VALUES (?, ?)", "ib",
		    (int64_t)msg->qid, body, (size_t)msg->size);
	/* Last, so that a refusal of the database touches no file. */
	if (rc == MAILQ_OK && msg->in_file)
		rc = mailq_body_place(mq, msg->qid, msg->size);
	return rc;
}

/* A message that is refused is taken back, and the transaction goes on.  (A
 * savepoint for each would copy every page that one changes.) */
static enum mailq_rc
take_back(struct mailq *mq, uint64_t qid, enum mailq_rc why)
{
	char keep[sizeof(mq->err)];
	enum mailq_rc rc;

	memcpy(keep, mq->err, sizeof(keep));
	if ((rc = forget_again(mq, qid)) != MAILQ_OK)
		return rc;
	rc = mailq_run(
	    mq, NULL, "DELETE FROM message WHERE qid = ?", "i", (int64_t)qid);
	if (rc != MAILQ_OK)
		return rc;
	memcpy(mq->err, keep, sizeof(keep));
	return why;
}

enum mailq_rc
mailq_add(struct mailq *mq, const struct mailq_msg *msg, const void *body,
    const struct mailq_rcpt *rcpt, size_t nrcpt)
{
	enum mailq_rc rc;

	if (!mq->in_tx)
		abort(); /* our bug */
	if (nrcpt == 0)
		return mailq_fail(mq, MAILQ_INVALID, "no recipients");
	rc = insert_message(mq, msg, earliest(rcpt, nrcpt));
	if (rc != MAILQ_OK)
		return rc;
	rc = insert_rest(mq, msg, body, rcpt, nrcpt);
	if (rc == MAILQ_INVALID || rc == MAILQ_NONE)
		return take_back(mq, msg->qid, rc);
	return rc;
}

static enum mailq_rc
changed_one(struct mailq *mq, enum mailq_rc rc, unsigned n, uint64_t qid)
{
	if (rc != MAILQ_OK || n > 0)
		return rc;
	return mailq_fail(mq, MAILQ_NONE, "no such recipient of %013llx to try",
	    (unsigned long long)qid);
}

enum mailq_rc
mailq_result(struct mailq *mq, uint64_t qid, const struct mailq_rcpt *r)
{
	unsigned n = 0;
	enum mailq_rc rc;

	rc = mailq_run(mq, &n,
	    "UPDATE recipient SET state ="
	    "  CASE WHEN state = 2 AND ?1 IN (0, 1) THEN 2 ELSE ?1 END,"
	    " attempts = attempts + 1, next_ms = ?2, last_ms = ?3, code = ?4,"
	    " esc = ?5, text = ?6, mta = ?7"
	    " WHERE qid = ?8 AND n = ?9 AND state IN (0, 1, 2)",
	    "iiiitttii", (int64_t)r->state, r->next_ms, r->last_ms,
	    (int64_t)r->code, or_empty(r->esc), or_empty(r->text),
	    or_empty(r->mta), (int64_t)qid, (int64_t)r->n);
	if (rc == MAILQ_OK && r->state == MAILQ_FAILED)
		rc = forget_again(mq, qid);
	return changed_one(mq, rc, n, qid);
}

enum mailq_rc
mailq_expire(struct mailq *mq, uint64_t qid, const struct mailq_rcpt *r)
{
	unsigned n = 0;
	enum mailq_rc rc;

	rc = mailq_run(mq, &n,
	    "UPDATE recipient SET state = 4, code = ?, esc = ?, text = ?"
	    " WHERE qid = ? AND n = ? AND state IN " MAILQ_STATE_OPEN,
	    "ittii", (int64_t)r->code, or_empty(r->esc), or_empty(r->text),
	    (int64_t)qid, (int64_t)r->n);
	if (rc == MAILQ_OK)
		rc = forget_again(mq, qid);
	return changed_one(mq, rc, n, qid);
}

static enum mailq_rc
remove_message(struct mailq *mq, uint64_t qid)
{
	int64_t in_file = 0;
	enum mailq_rc rc;

	rc = mailq_int(mq, &in_file,
	    "SELECT in_file FROM message WHERE qid = ?", "i", (int64_t)qid);
	if (rc == MAILQ_OK)
		rc = mailq_run(mq, NULL, "DELETE FROM message WHERE qid = ?",
		    "i", (int64_t)qid);
	if (rc == MAILQ_OK && in_file != 0)
		mailq_ids_add(&mq->doomed, qid);
	return rc;
}

enum mailq_rc
mailq_delivered(struct mailq *mq, uint64_t qid, bool in_file)
{
	unsigned n = 0;
	enum mailq_rc rc;

	rc = mailq_run(
	    mq, &n, "DELETE FROM message WHERE qid = ?", "i", (int64_t)qid);
	if (rc == MAILQ_OK && n == 0)
		return mailq_fail(mq, MAILQ_NONE,
		    "no message %013llx in the queue", (unsigned long long)qid);
	if (rc == MAILQ_OK && in_file)
		mailq_ids_add(&mq->doomed, qid);
	return rc;
}

enum mailq_rc
mailq_settle(struct mailq *mq, uint64_t qid, bool *done)
{
	int64_t unfinished = 0;
	enum mailq_rc rc;

	rc = mailq_int(mq, &unfinished,
	    "SELECT count(*) FROM recipient WHERE qid = ?"
	    " AND state IN (0, 1, 2)",
	    "i", (int64_t)qid);
	if (rc != MAILQ_OK)
		return rc;
	*done = unfinished == 0;
	if (*done)
		return remove_message(mq, qid);
	return mailq_run(mq, NULL,
	    "UPDATE message SET (due_ms, tried) = ("
	    "  SELECT min(next_ms) FILTER (WHERE state IN " MAILQ_STATE_OPEN
	    "), max(attempts) > 0 FROM recipient WHERE qid = ?1)"
	    " WHERE qid = ?1",
	    "i", (int64_t)qid);
}

enum mailq_rc
mailq_set_delay_sent(struct mailq *mq, uint64_t qid)
{
	return mailq_run(mq, NULL,
	    "UPDATE message SET delay_sent = 1 WHERE qid = ?", "i",
	    (int64_t)qid);
}

/* ---- reading ---- */

static char *
text_of(sqlite3_stmt *stmt, int col)
{
	const unsigned char *t = sqlite3_column_text(stmt, col);
	char *s = strdup(t != NULL ? (const char *)t : "");

	mailq_no_memory(s);
	return s;
}

/* From columns: body_kind, and from binary on. */
static struct mail_options
options_of(sqlite3_stmt *st, int kind, int rest)
{
	return (struct mail_options){
		.body = sqlite3_column_int(st, rest) != 0 ? BODY_BINARYMIME
		    : sqlite3_column_int(st, kind) != 0   ? BODY_8BITMIME
							  : BODY_7BIT,
		.utf8 = sqlite3_column_int(st, rest + 1) != 0,
		.require_tls = sqlite3_column_int(st, rest + 2) != 0,
		.ret = value_of(rets, sqlite3_column_text(st, rest + 3)),
		.envid = text_of(st, rest + 4),
		.hold_ms = sqlite3_column_int64(st, rest + 5),
		.by_ms = sqlite3_column_int64(st, rest + 6),
		.by_mode =
		    value_of(by_modes, sqlite3_column_text(st, rest + 7)),
		.by_trace = sqlite3_column_int(st, rest + 8) != 0,
		.priority = (uint8_t)(sqlite3_column_int(st, rest + 9) +
		    PRIORITY_NORMAL),
		.auth = text_of(st, rest + 10),
	};
}

static enum mailq_rc
load_message(struct mailq *mq, uint64_t qid, struct mailq_msg *m)
{
	sqlite3_stmt *st;
	enum mailq_rc rc;

	rc = mailq_query(mq, &st,
	    "SELECT sid, user_id, user, how, client_addr, sender, body_kind,"
	    " in_file, size, arrived_ms, since_ms, tried, delay_sent,"
	    " binary, utf8, require_tls, ret, envid, hold_until_ms,"
	    " deliver_by_ms, deliver_by_mode, by_trace, priority, auth"
	    " FROM message WHERE qid = ?",
	    "i", (int64_t)qid);
	if (rc == MAILQ_OK && (rc = mailq_step(mq, st)) == MAILQ_OK)
		*m = (struct mailq_msg){
			.qid = qid,
			.sid = (uint64_t)sqlite3_column_int64(st, 0),
			.user_id = sqlite3_column_int64(st, 1),
			.user = text_of(st, 2),
			.how = text_of(st, 3),
			.client_addr = text_of(st, 4),
			.from = text_of(st, 5),
			.in_file = sqlite3_column_int(st, 7) != 0,
			.size = (uint64_t)sqlite3_column_int64(st, 8),
			.arrived_ms = sqlite3_column_int64(st, 9),
			.since_ms = sqlite3_column_int64(st, 10),
			.tried = sqlite3_column_int(st, 11) != 0,
			.delay_sent = sqlite3_column_int(st, 12) != 0,
			.opt = options_of(st, 6, 13),
		};
	mailq_done(st);
	return rc;
}

static void
add_rcpt(struct mailq_mail *mail, size_t *size, const struct mailq_rcpt *r)
{
	if (mail->nrcpt == *size) {
		*size = *size > 0 ? *size * 2 : 4;
		mail->rcpt = realloc(mail->rcpt, *size * sizeof(*mail->rcpt));
		mailq_no_memory(mail->rcpt);
	}
	mail->rcpt[mail->nrcpt++] = *r;
}

static enum mailq_rc
load_rcpts(struct mailq *mq, struct mailq_mail *mail)
{
	struct mailq_rcpt r;
	sqlite3_stmt *st;
	enum mailq_rc rc;
	size_t size = 0;

	rc = mailq_query(mq, &st,
	    "SELECT n, address, state, attempts, next_ms, last_ms, code, esc,"
	    " text, mta, notify, orcpt FROM recipient WHERE qid = ? ORDER BY n",
	    "i", (int64_t)mail->msg.qid);
	while (rc == MAILQ_OK && (rc = mailq_step(mq, st)) == MAILQ_OK) {
		r = (struct mailq_rcpt){
			.n = (uint32_t)sqlite3_column_int64(st, 0),
			.address = text_of(st, 1),
			.state = (enum mailq_state)sqlite3_column_int(st, 2),
			.attempts = (uint32_t)sqlite3_column_int64(st, 3),
			.next_ms = sqlite3_column_int64(st, 4),
			.last_ms = sqlite3_column_int64(st, 5),
			.code = (uint16_t)sqlite3_column_int(st, 6),
			.esc = text_of(st, 7),
			.text = text_of(st, 8),
			.mta = text_of(st, 9),
			.opt = { (uint8_t)sqlite3_column_int(st, 10),
			    text_of(st, 11) },
		};
		add_rcpt(mail, &size, &r);
	}
	mailq_done(st);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

enum mailq_rc
mailq_load(struct mailq *mq, uint64_t qid, struct mailq_mail **out)
{
	struct mailq_mail *mail = calloc(1, sizeof(*mail));
	enum mailq_rc rc;

	mailq_no_memory(mail);
	rc = load_message(mq, qid, &mail->msg);
	if (rc == MAILQ_OK)
		rc = load_rcpts(mq, mail);
	if (rc == MAILQ_NONE)
		mailq_fail(mq, rc, "no message %013llx in the queue",
		    (unsigned long long)qid);
	if (rc == MAILQ_OK)
		*out = mail;
	else
		mailq_mail_free(&mail);
	return rc;
}

static char *
copy_of(const char *text)
{
	char *s = strdup(or_empty(text));

	mailq_no_memory(s);
	return s;
}

struct mailq_mail *
mailq_mail_new(
    const struct mailq_msg *msg, const struct mailq_rcpt *rcpt, size_t nrcpt)
{
	struct mailq_mail *mail = calloc(1, sizeof(*mail));
	struct mailq_rcpt *r;

	mailq_no_memory(mail);
	mail->msg = *msg;
	mail->msg.user = copy_of(msg->user);
	mail->msg.how = copy_of(msg->how);
	mail->msg.client_addr = copy_of(msg->client_addr);
	mail->msg.from = copy_of(msg->from);
	mail->msg.opt.envid = copy_of(msg->opt.envid);
	mail->msg.opt.auth = copy_of(msg->opt.auth);
	mail->rcpt = r = calloc(nrcpt, sizeof(*r));
	mailq_no_memory(r);
	mail->nrcpt = nrcpt;
	for (size_t i = 0; i < nrcpt; i++) {
		r[i] = rcpt[i];
		r[i].n = (uint32_t)i;
		r[i].address = copy_of(rcpt[i].address);
		r[i].esc = copy_of(rcpt[i].esc);
		r[i].text = copy_of(rcpt[i].text);
		r[i].mta = copy_of(rcpt[i].mta);
		r[i].opt.orcpt = copy_of(rcpt[i].opt.orcpt);
	}
	return mail;
}

/* The strings are const for everybody but their owner. */
static void
drop(const char *text)
{
	void *p;

	memcpy(&p, &text, sizeof(p));
	free(p);
}

void
mailq_mail_free(struct mailq_mail **mp)
{
	struct mailq_mail *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	drop(m->msg.user);
	drop(m->msg.how);
	drop(m->msg.client_addr);
	drop(m->msg.from);
	drop(m->msg.opt.envid);
	drop(m->msg.opt.auth);
	for (size_t i = 0; i < m->nrcpt; i++) {
		drop(m->rcpt[i].address);
		drop(m->rcpt[i].esc);
		drop(m->rcpt[i].text);
		drop(m->rcpt[i].mta);
		drop(m->rcpt[i].opt.orcpt);
	}
	free(m->rcpt);
	free(m);
}

/* Takes rows of one column, behind the *n that are there; rc is of
 * mailq_query(). */
static enum mailq_rc
take_ids(struct mailq *mq, enum mailq_rc rc, sqlite3_stmt *st, uint64_t *qid,
    size_t max, size_t *n)
{
	while (
	    rc == MAILQ_OK && *n < max && (rc = mailq_step(mq, st)) == MAILQ_OK)
		qid[(*n)++] = (uint64_t)sqlite3_column_int64(st, 0);
	mailq_done(st);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

enum mailq_rc
mailq_due(struct mailq *mq, bool tried, int64_t now_ms, uint64_t *qid,
    size_t max, size_t *n)
{
	/* The priorities above normal, normal, and below. */
	static const char *const sql[] = {
		"SELECT qid FROM message INDEXED BY message_priority"
		" WHERE tried = ? AND priority > 0 AND priority <> 0"
		" AND due_ms <= ? ORDER BY priority DESC, due_ms, qid LIMIT ?",
		"SELECT qid FROM message WHERE tried = ? AND due_ms <= ?"
		" AND priority = 0 ORDER BY due_ms, qid LIMIT ?",
		"SELECT qid FROM message INDEXED BY message_priority"
		" WHERE tried = ? AND priority < 0 AND priority <> 0"
		" AND due_ms <= ? ORDER BY priority DESC, due_ms, qid LIMIT ?"
	};
	enum mailq_rc rc = MAILQ_OK;
	sqlite3_stmt *st;
	size_t i;

	*n = 0;
	for (i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
		if (rc != MAILQ_OK || *n == max)
			break;
		rc = mailq_query(mq, &st, sql[i], "iii", (int64_t)tried, now_ms,
		    (int64_t)(max - *n));
		rc = take_ids(mq, rc, st, qid, max, n);
	}
	return rc;
}

enum mailq_rc
mailq_next_due(struct mailq *mq, int64_t now_ms, int64_t *at)
{
	enum mailq_rc rc = mailq_int(mq, at,
	    "SELECT min(at) FROM ("
	    "SELECT min(due_ms) AS at FROM message"
	    " WHERE tried = 0 AND due_ms > ?1 UNION ALL "
	    "SELECT min(due_ms) AS at FROM message"
	    " WHERE tried = 1 AND due_ms > ?1)",
	    "i", now_ms);

	if (rc == MAILQ_NONE)
		*at = INT64_MAX;
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

enum mailq_rc
mailq_list(
    struct mailq *mq, uint64_t after, uint64_t *qid, size_t max, size_t *n)
{
	sqlite3_stmt *st;
	enum mailq_rc rc = mailq_query(mq, &st,
	    "SELECT qid FROM message WHERE qid > ? ORDER BY qid LIMIT ?", "ii",
	    (int64_t)after, (int64_t)max);

	*n = 0;
	return take_ids(mq, rc, st, qid, max, n);
}

enum mailq_rc
mailq_of_user(struct mailq *mq, const char *user, uint64_t after, uint64_t *qid,
    size_t max, size_t *n)
{
	sqlite3_stmt *st;
	enum mailq_rc rc = mailq_query(mq, &st,
	    "SELECT qid FROM message WHERE qid > ? AND user = ?"
	    " ORDER BY qid LIMIT ?",
	    "iti", (int64_t)after, user, (int64_t)max);

	*n = 0;
	return take_ids(mq, rc, st, qid, max, n);
}

enum mailq_rc
mailq_old(struct mailq *mq, uint64_t after, int64_t before_ms, bool undelayed,
    uint64_t *qid, size_t max, size_t *n)
{
	sqlite3_stmt *st;
	enum mailq_rc rc = mailq_query(mq, &st,
	    "SELECT qid FROM message WHERE qid > ? AND since_ms <= ?"
	    " AND due_ms IS NOT NULL AND (?3 = 0 OR (delay_sent = 0"
	    " AND deliver_by_mode IS NOT 'notify')) ORDER BY qid LIMIT ?",
	    "iiii", (int64_t)after, before_ms, (int64_t)undelayed,
	    (int64_t)max);

	*n = 0;
	return take_ids(mq, rc, st, qid, max, n);
}

/* Those whose time for delivery still has a consequence. */
#define LATE                                                                   \
	" deliver_by_ms IS NOT NULL AND due_ms IS NOT NULL"                    \
	" AND (deliver_by_mode = 'return' OR delay_sent = 0)"

enum mailq_rc
mailq_late(
    struct mailq *mq, int64_t now_ms, uint64_t *qid, size_t max, size_t *n)
{
	sqlite3_stmt *st;
	enum mailq_rc rc = mailq_query(mq, &st,
	    "SELECT qid FROM message WHERE deliver_by_ms <= ? AND" LATE
	    " ORDER BY deliver_by_ms LIMIT ?",
	    "ii", now_ms, (int64_t)max);

	*n = 0;
	return take_ids(mq, rc, st, qid, max, n);
}

enum mailq_rc
mailq_next_late(struct mailq *mq, int64_t *at)
{
	enum mailq_rc rc = mailq_int(mq, at,
	    "SELECT deliver_by_ms FROM message WHERE" LATE
	    " ORDER BY deliver_by_ms LIMIT 1",
	    "");

	if (rc == MAILQ_NONE)
		*at = INT64_MAX;
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

static enum mailq_rc
count_rcpts(struct mailq *mq, struct mailq_stats *s)
{
	sqlite3_stmt *st;
	enum mailq_rc rc;
	int state;

	rc = mailq_query(mq, &st,
	    "SELECT state, count(*) FROM recipient GROUP BY state", "");
	while (rc == MAILQ_OK && (rc = mailq_step(mq, st)) == MAILQ_OK) {
		state = sqlite3_column_int(st, 0);
		s->rcpts[state] = (uint64_t)sqlite3_column_int64(st, 1);
	}
	mailq_done(st);
	return rc == MAILQ_NONE ? MAILQ_OK : rc;
}

enum mailq_rc
mailq_stats(struct mailq *mq, struct mailq_stats *out)
{
	struct mailq_stats s = { 0 };
	sqlite3_stmt *st;
	enum mailq_rc rc;

	rc = mailq_query(mq, &st,
	    "SELECT count(*), coalesce(sum(size), 0),"
	    " coalesce(min(arrived_ms), 0) FROM message",
	    "");
	if (rc == MAILQ_OK && (rc = mailq_step(mq, st)) == MAILQ_OK) {
		s.messages = (uint64_t)sqlite3_column_int64(st, 0);
		s.bytes = (uint64_t)sqlite3_column_int64(st, 1);
		s.oldest_ms = sqlite3_column_int64(st, 2);
	}
	mailq_done(st);
	if (rc == MAILQ_OK)
		rc = count_rcpts(mq, &s);
	if (rc == MAILQ_OK)
		*out = s;
	return rc;
}

/* ---- what administrators do ---- */

enum mailq_rc
mailq_hold(struct mailq *mq, uint64_t qid, const char *why, unsigned *n)
{
	enum mailq_rc rc;

	if ((rc = must_exist(mq, qid)) != MAILQ_OK)
		return rc;
	rc = mailq_run(mq, n,
	    "UPDATE message SET due_ms = NULL"
	    " WHERE qid BETWEEN ? AND ? AND due_ms IS NOT NULL",
	    "ii", lowest(qid), highest(qid));
	if (rc != MAILQ_OK)
		return rc;
	return mailq_run(mq, NULL,
	    "UPDATE recipient SET state = 2,"
	    " text = CASE WHEN ?1 = '' THEN text ELSE ?1 END"
	    " WHERE qid BETWEEN ?2 AND ?3 AND state IN " MAILQ_STATE_OPEN,
	    "tii", why, lowest(qid), highest(qid));
}

enum mailq_rc
mailq_release(struct mailq *mq, uint64_t qid, int64_t now_ms, unsigned *n)
{
	enum mailq_rc rc;

	if ((rc = must_exist(mq, qid)) != MAILQ_OK)
		return rc;
	rc = mailq_run(mq, n,
	    "UPDATE message SET delay_sent = 0,"
	    " since_ms = max(?1, coalesce(hold_until_ms, 0)),"
	    " due_ms = max(?1, coalesce(hold_until_ms, 0))"
	    " WHERE qid IN (SELECT qid FROM recipient"
	    " WHERE qid BETWEEN ?2 AND ?3 AND state = 2)",
	    "iii", now_ms, lowest(qid), highest(qid));
	if (rc != MAILQ_OK)
		return rc;
	return mailq_run(mq, NULL,
	    "UPDATE recipient SET state = 0, next_ms = (SELECT since_ms"
	    " FROM message WHERE message.qid = recipient.qid)"
	    " WHERE qid BETWEEN ? AND ? AND state = 2",
	    "ii", lowest(qid), highest(qid));
}

enum mailq_rc
mailq_retry(struct mailq *mq, uint64_t qid, int64_t now_ms, unsigned *n)
{
	enum mailq_rc rc;

	if ((rc = must_exist(mq, qid)) != MAILQ_OK)
		return rc;
	rc = mailq_run(mq, n,
	    "UPDATE message SET due_ms = min(due_ms, ?1)"
	    " WHERE qid BETWEEN ?2 AND ?3 AND due_ms IS NOT NULL"
	    " AND qid IN (SELECT qid FROM recipient"
	    " WHERE qid BETWEEN ?2 AND ?3 AND state = 1)",
	    "iii", now_ms, lowest(qid), highest(qid));
	if (rc != MAILQ_OK)
		return rc;
	return mailq_run(mq, NULL,
	    "UPDATE recipient SET next_ms = min(next_ms, ?1)"
	    " WHERE qid BETWEEN ?2 AND ?3 AND state = 1",
	    "iii", now_ms, lowest(qid), highest(qid));
}

enum mailq_rc
mailq_hasten(struct mailq *mq, uint64_t qid, int64_t now_ms, unsigned *n)
{
	enum mailq_rc rc;

	if ((rc = must_exist(mq, qid)) != MAILQ_OK)
		return rc;
	rc = mailq_run(mq, NULL,
	    "UPDATE recipient SET next_ms = ?1"
	    " WHERE qid BETWEEN ?2 AND ?3 AND state = 0 AND qid IN"
	    " (SELECT qid FROM message"
	    " WHERE qid BETWEEN ?2 AND ?3 AND hold_until_ms > ?1)",
	    "iii", now_ms, lowest(qid), highest(qid));
	if (rc != MAILQ_OK)
		return rc;
	return mailq_run(mq, n,
	    "UPDATE message SET hold_until_ms = NULL, since_ms = ?1,"
	    " due_ms = min(due_ms, ?1)"
	    " WHERE qid BETWEEN ?2 AND ?3 AND hold_until_ms > ?1",
	    "iii", now_ms, lowest(qid), highest(qid));
}

enum mailq_rc
mailq_put_off(struct mailq *mq, uint64_t qid, int64_t now_ms, unsigned *n)
{
	int64_t count = 0;
	enum mailq_rc rc;

	rc = mailq_int(mq, &count,
	    "SELECT count(*) FROM message"
	    " WHERE qid BETWEEN ? AND ? AND hold_until_ms > ?",
	    "iii", lowest(qid), highest(qid), now_ms);
	*n = (unsigned)count;
	return rc;
}

enum mailq_rc
mailq_delete(struct mailq *mq, uint64_t qid)
{
	enum mailq_rc rc = must_exist(mq, qid);

	if (rc == MAILQ_OK)
		rc = forget_again(mq, qid);
	return rc == MAILQ_OK ? remove_message(mq, qid) : rc;
}
