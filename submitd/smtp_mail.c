/* MAIL and RCPT: syntax here, the decision in auth. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "smtp_int.h"

/* What MAIL's parameters say. */
struct mail_params {
	uint64_t size;
	struct mail_options opt;
};

void
smtp_txn_end(struct session *s)
{
	struct txn *t = &s->txn;
	struct m_txn m = { .txn = t->number };

	if (t->number == 0)
		return;
	if (t->in_file)
		s->ops->body_close(s->arg);
	if (t->qid != 0 && !t->lost)
		s->ops->to_queue(s->arg, M_DATA_ABORT, &m);
	header_clear(&t->header);
	digest_free(&t->digest);
	buf_clear(&t->out);
	memset(t, 0, sizeof(*t));
}

static bool
is_word(const struct smtp_param *p, const char *word)
{
	return p->value_len == strlen(word) &&
	    strncasecmp(p->value, word, p->value_len) == 0;
}

/* One parameter of MAIL; a reply id, or R_MAIL_OK. */
static enum smtp_reply
mail_param(const struct smtp_param *p, struct mail_params *out)
{
	char who[SMTP_PARAM_VALUE_MAX + 1];

	if (strcmp(p->key, "SIZE") == 0) {
		if (p->value == NULL ||
		    smtp_size_parse(p->value, p->value_len, &out->size) == -1)
			return R_PARAM_VALUE;
		return R_MAIL_OK;
	}
	if (strcmp(p->key, "BODY") == 0) {
		if (p->value == NULL)
			return R_PARAM_VALUE;
		if (is_word(p, "8BITMIME"))
			out->opt.body = BODY_8BITMIME;
		else if (!is_word(p, "7BIT"))
			return R_PARAM_VALUE;
		return R_MAIL_OK;
	}
	if (strcmp(p->key, "AUTH") == 0) /* RFC 4954 5: taken, not trusted */
		return p->value != NULL &&
			smtp_xtext_decode(
			    p->value, p->value_len, who, sizeof(who)) == 0
		    ? R_MAIL_OK
		    : R_PARAM_VALUE;
	return R_PARAM_UNKNOWN;
}

/* All parameters; replies itself and returns -1 when one is wrong. */
static int
mail_params(struct session *s, const char *p, size_t n, struct mail_params *out)
{
	struct smtp_params it;
	struct smtp_param one;
	enum smtp_param_rc rc;
	enum smtp_reply reply = R_MAIL_OK;

	smtp_params_init(&it, p, n);
	while (reply == R_MAIL_OK &&
	    (rc = smtp_params_next(&it, &one)) != SMTP_PARAM_END) {
		if (rc == SMTP_PARAM_OK)
			reply = mail_param(&one, out);
		else
			reply = rc == SMTP_PARAM_TWICE ? R_PARAM_TWICE
						       : R_PARAM_SYNTAX;
	}
	if (reply == R_MAIL_OK)
		return 0;
	session_error(s, reply, one.key);
	return -1;
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

static bool
size_fits(struct session *s, uint64_t size)
{
	char limit[24];

	if (size <= s->conf->max_message_size)
		return true;
	snprintf(limit, sizeof(limit), "%llu",
	    (unsigned long long)s->conf->max_message_size);
	session_error(s, R_TOO_BIG, limit);
	return false;
}

static void
ask_mail(struct session *s, const char *from, const struct mail_params *p)
{
	struct m_mail m = { .from = from,
		.size = p->size,
		.opt = p->opt,
		.helo = str_of(s->helo) };

	if (++s->txns == 0)
		s->txns = 1; /* 0 means: no transaction */
	m.txn = s->txns;
	s->txn.number = m.txn;
	s->txn.body = p->opt.body;
	if (s->ops->to_auth(s->arg, M_MAIL, &m)) {
		session_enter(s, ST_VERDICT);
		return;
	}
	smtp_txn_end(s);
	session_reply(s, R_AUTH_DOWN, NULL, NULL);
}

void
smtp_mail(struct session *s, const struct arg *a)
{
	struct mail_params params = { .opt.priority = PRIORITY_NORMAL };
	struct smtp_addr from;
	enum smtp_addr_rc rc;
	size_t n, used = 0;
	const char *p = after_keyword(a, "FROM:", &n);

	if (s->conf->session_messages > 0 &&
	    s->messages >= s->conf->session_messages)
		session_close(s, R_CLOSE_SESSION_LIMIT);
	else if (s->txn.number != 0)
		session_error(s, R_ORDER_NESTED, NULL);
	else if (p == NULL)
		session_error(s, R_MAIL_KEYWORD, NULL);
	else if ((rc = smtp_addr_path(p, n, SMTP_ADDR_ALLOW_NULL, &from,
		      &used)) != SMTP_ADDR_OK)
		session_error(s, smtp_addr_reply(rc, false), NULL);
	else if (mail_params(s, p + used, n - used, &params) == 0 &&
	    size_fits(s, params.size))
		ask_mail(s, from.text, &params);
}

void
smtp_rcpt(struct session *s, const struct arg *a)
{
	struct m_rcpt m = { .txn = s->txn.number };
	struct smtp_params it;
	struct smtp_param one;
	struct smtp_addr to;
	enum smtp_addr_rc rc;
	enum smtp_param_rc prc;
	size_t n, used = 0;
	const char *p = after_keyword(a, "TO:", &n);

	if (s->txn.number == 0) {
		session_error(s, R_ORDER_MAIL, NULL);
		return;
	}
	if (p == NULL) {
		session_error(s, R_RCPT_KEYWORD, NULL);
		return;
	}
	rc = smtp_addr_path(p, n, 0, &to, &used);
	if (rc != SMTP_ADDR_OK) {
		s->txn.asked++;
		session_error(s, smtp_addr_reply(rc, true), NULL);
		return;
	}
	smtp_params_init(&it, p + used, n - used);
	if ((prc = smtp_params_next(&it, &one)) != SMTP_PARAM_END) {
		session_error(s,
		    prc == SMTP_PARAM_OK ? R_PARAM_UNKNOWN : R_PARAM_SYNTAX,
		    one.key);
		return;
	}
	if (s->txn.rcpts >= s->conf->max_recipients) {
		session_reply(s, R_RCPT_TOO_MANY, NULL, NULL);
		return;
	}
	s->txn.asked++;
	m.to = to.text;
	if (s->ops->to_auth(s->arg, M_RCPT, &m))
		session_enter(s, ST_VERDICT);
	else
		session_reply(s, R_AUTH_DOWN, NULL, NULL);
}

static void
say_verdict(struct session *s, const struct m_verdict *m)
{
	int code = m->code;

	if (code == 0) {
		code = smtp_reply_code((enum smtp_reply)m->reply);
		session_reply(s, (enum smtp_reply)m->reply, m->text, NULL);
	} else
		session_custom(s, code, m->esc, m->text);
	if (code >= 500)
		session_count_error(s);
}

void
smtp_verdict(struct session *s, const struct m_verdict *m)
{
	if (m->txn != s->txn.number)
		return;
	if (m->allow && m->user[0] != '\0')
		str_set(&s->user, m->user);
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
