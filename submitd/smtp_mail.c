/* MAIL and RCPT: syntax here, the decision in auth. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp_int.h"

void
smtp_txn_end(struct session *s)
{
	struct txn *t = &s->txn;
	struct m_txn m = { .txn = t->number };

	s->has_credit = false;
	if (t->number == 0)
		return;
	if (t->in_file)
		s->ops->body_close(s->arg);
	if (t->qid != 0 && !t->lost)
		s->ops->to_queue(s->arg, M_DATA_ABORT, &m);
	header_clear(&t->header);
	digest_free(&t->digest);
	buf_clear(&t->out);
	authors_clear(&t->authors);
	free(t->from);
	free(t->refuse_text);
	free(t->refuse_more);
	memset(t, 0, sizeof(*t));
}

/* What follows "FROM:" or "TO:"; NULL if the keyword is another. */
static const char *
after_keyword(const struct arg *a, const char *keyword, size_t *n)
{
	size_t k = strlen(keyword);

	if (a->len < k || strncasecmp(a->p, keyword, k) != 0)
		return NULL;
	*n = a->len - k;
	return a->p + k;
}

static void
ask_mail(struct session *s, const char *from, const struct mail_args *args)
{
	struct m_mail m = { .from = from,
		.size = args->size,
		.opt = args->opt,
		.helo = str_of(s->helo) };

	if (++s->txns == 0)
		s->txns = 1; /* 0 means: no transaction */
	m.txn = s->txns;
	s->txn.number = m.txn;
	str_set(&s->txn.from, from);
	s->txn.body = args->opt.body;
	s->txn.utf8 = args->opt.utf8;
	s->txn.priority = args->opt.priority;
	s->txn.has_priority = args->has_priority;
	if (s->ops->to_auth(s->arg, M_MAIL, &m)) {
		session_enter(s, ST_VERDICT);
		return;
	}
	smtp_txn_end(s);
	session_reply(s, R_AUTH_DOWN, NULL, NULL);
}

/* SMTPUTF8 may stand behind the address that needs it. */
static void
take_mail(struct session *s, const char *p, size_t n)
{
	const unsigned allow = SMTP_ADDR_ALLOW_NULL | SMTP_ADDR_ALLOW_UTF8;
	struct mail_args args;
	struct smtp_addr from;
	enum smtp_addr_rc rc;
	size_t used = 0;

	rc = smtp_addr_path(p, n, allow, &from, &used);
	if (rc != SMTP_ADDR_OK) {
		session_error(s, smtp_addr_reply(rc, false), NULL);
		return;
	}
	if (!smtp_mail_args(s, p + used, n - used, &args))
		return;
	if (from.utf8 && !args.opt.utf8)
		session_error(s, R_MAIL_UTF8, NULL);
	else
		ask_mail(s, from.text, &args);
}

void
smtp_mail(struct session *s, const struct arg *a)
{
	size_t n;
	const char *p = after_keyword(a, "FROM:", &n);

	if (s->conf->session_messages > 0 &&
	    s->messages >= s->conf->session_messages)
		session_close(s, R_CLOSE_SESSION_LIMIT);
	else if (s->txn.number != 0)
		session_error(s, R_ORDER_NESTED, NULL);
	else if (p == NULL)
		session_error(s, R_MAIL_KEYWORD, NULL);
	else
		take_mail(s, p, n);
}

static void
take_rcpt(struct session *s, const char *p, size_t n)
{
	struct m_rcpt m = { .txn = s->txn.number };
	struct mail_args args;
	struct smtp_addr to;
	enum smtp_addr_rc rc;
	size_t used = 0;

	rc = smtp_addr_path(
	    p, n, s->txn.utf8 ? SMTP_ADDR_ALLOW_UTF8 : 0, &to, &used);
	if (rc != SMTP_ADDR_OK) {
		s->txn.asked++;
		session_error(s, smtp_addr_reply(rc, true), NULL);
		return;
	}
	if (!smtp_rcpt_args(s, p + used, n - used, &args))
		return;
	if (s->txn.rcpts >= s->conf->max_recipients) {
		session_reply(s, R_RCPT_TOO_MANY, NULL, NULL);
		return;
	}
	s->txn.asked++;
	m.to = to.text;
	m.opt = args.rcpt;
	if (s->ops->to_auth(s->arg, M_RCPT, &m))
		session_enter(s, ST_VERDICT);
	else
		session_reply(s, R_AUTH_DOWN, NULL, NULL);
}

void
smtp_rcpt(struct session *s, const struct arg *a)
{
	size_t n;
	const char *p = after_keyword(a, "TO:", &n);

	if (s->txn.number == 0)
		session_error(s, R_ORDER_MAIL, NULL);
	else if (s->txn.bdat)
		session_error(s, R_ORDER_BEGUN, NULL);
	else if (p == NULL)
		session_error(s, R_RCPT_KEYWORD, NULL);
	else
		take_rcpt(s, p, n);
}

/* RFC 6710 section 4.1: a client hears what became of its priority. */
static void
say_priority(struct session *s, uint8_t granted)
{
	char number[8];

	s->txn.priority = granted;
	snprintf(number, sizeof(number), "%d", granted - PRIORITY_NORMAL);
	session_reply(s, R_MAIL_PRIORITY, number, NULL);
}

static void
say_verdict(struct session *s, const struct m_verdict *m)
{
	int code = m->code;

	if (m->allow && m->on == VERDICT_MAIL && m->priority < s->txn.priority)
		say_priority(s, m->priority);
	else if (code == 0) {
		code = smtp_reply_code((enum smtp_reply)m->reply);
		session_reply(s, (enum smtp_reply)m->reply, m->text, m->more);
	} else
		session_custom(s, code, m->esc, m->text);
	if (code >= 500)
		session_count_error(s);
}

void
smtp_verdict(struct session *s, const struct m_verdict *m)
{
	if (m->txn != s->txn.number || m->on == VERDICT_HEADERS)
		return;
	if (m->allow && m->user[0] != '\0')
		str_set(&s->user, m->user);
	if (m->on == VERDICT_MAIL)
		s->txn.from_header = m->headers;
	if (m->on == VERDICT_RCPT)
		s->txn.rcpts += m->allow;
	else if (!m->allow)
		smtp_txn_end(s);
	if (m->on == VERDICT_MAIL && m->allow && s->ops->no_space(s->arg)) {
		smtp_txn_end(s); /* DATA would hear the same from queue */
		session_reply(s, R_NO_SPACE, NULL, NULL);
	} else
		say_verdict(s, m);
	session_enter(s, ST_COMMAND);
}
