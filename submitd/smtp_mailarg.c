/*
 * What the parameters of MAIL and RCPT mean in a session: which are offered,
 * what a user may ask for, which exclude each other.  Their syntax is
 * smtp_param.c's.
 */
#include <stdio.h>
#include <string.h>

#include "smtp_int.h"

/* R_MAIL_OK, or what is wrong with the parameter. */
typedef enum smtp_reply take_param(
    struct mail_args *, const struct smtp_param *);

struct param {
	const char *key;
	enum ext ext;
	bool has_value;
	take_param *take;
};

static int64_t
now_ms(const struct mail_args *m)
{
	int tz;

	return m->session->ops->now_ms(m->session->arg, &tz);
}

static enum smtp_reply
with_number(struct mail_args *m, enum smtp_reply id, int64_t number)
{
	snprintf(m->number, sizeof(m->number), "%lld", (long long)number);
	m->arg = m->number;
	return id;
}

/* ---- MAIL ---- */

static enum smtp_reply
take_size(struct mail_args *m, const struct smtp_param *p)
{
	return smtp_size_parse(p->value, p->value_len, &m->size) == 0
	    ? R_MAIL_OK
	    : R_PARAM_VALUE;
}

static enum smtp_reply
take_body(struct mail_args *m, const struct smtp_param *p)
{
	return smtp_body_parse(p->value, p->value_len, &m->opt.body) == 0
	    ? R_MAIL_OK
	    : R_PARAM_BODY;
}

/* RFC 4954 section 5.  Whether it may be believed is for auth to say. */
static enum smtp_reply
take_auth(struct mail_args *m, const struct smtp_param *p)
{
	char who[MAIL_AUTH_MAX + 1];

	if (p->value_len > MAIL_AUTH_MAX ||
	    smtp_xtext_decode(p->value, p->value_len, who, sizeof(who)) == -1)
		return R_PARAM_VALUE;
	if (strcmp(who, "<>") == 0)
		return R_MAIL_OK; /* as if nothing was said */
	memcpy(m->auth, p->value, p->value_len);
	m->auth[p->value_len] = '\0';
	m->opt.auth = m->auth;
	return R_MAIL_OK;
}

static enum smtp_reply
take_ret(struct mail_args *m, const struct smtp_param *p)
{
	return smtp_ret_parse(p->value, p->value_len, &m->opt.ret) == 0
	    ? R_MAIL_OK
	    : R_PARAM_VALUE;
}

static enum smtp_reply
take_envid(struct mail_args *m, const struct smtp_param *p)
{
	if (smtp_envid_parse(p->value, p->value_len, m->text) == -1)
		return R_PARAM_VALUE;
	m->opt.envid = m->text;
	return R_MAIL_OK;
}

static enum smtp_reply
take_utf8(struct mail_args *m, const struct smtp_param *p)
{
	(void)p;
	m->opt.utf8 = true;
	return R_MAIL_OK;
}

static enum smtp_reply
take_requiretls(struct mail_args *m, const struct smtp_param *p)
{
	(void)p;
	m->opt.require_tls = true;
	return R_MAIL_OK;
}

static enum smtp_reply
take_by(struct mail_args *m, const struct smtp_param *p)
{
	int64_t least = m->session->conf->deliver_by_min / 1000;
	struct smtp_by by;

	if (smtp_by_parse(p->value, p->value_len, &by) == -1)
		return R_PARAM_VALUE;
	if (by.mode == BY_RETURN && by.seconds < least)
		return with_number(m, R_PARAM_BY_SHORT, least);
	m->opt.by_mode = by.mode;
	m->opt.by_trace = by.trace;
	m->opt.by_ms = now_ms(m) + by.seconds * 1000;
	return R_MAIL_OK;
}

static enum smtp_reply
hold_until(struct mail_args *m, int64_t when_ms)
{
	int64_t longest = m->session->conf->max_hold / 1000;
	int64_t now = now_ms(m);

	if (m->opt.hold_ms != 0) {
		m->arg = "HOLDFOR";
		m->arg2 = "HOLDUNTIL";
		return R_PARAM_CONFLICT;
	}
	if (when_ms <= now)
		return R_PARAM_HOLD_PAST;
	if (when_ms - now > longest * 1000)
		return with_number(m, R_PARAM_HOLD_LONG, longest);
	m->opt.hold_ms = when_ms;
	return R_MAIL_OK;
}

static enum smtp_reply
take_holdfor(struct mail_args *m, const struct smtp_param *p)
{
	int64_t seconds;

	return smtp_holdfor_parse(p->value, p->value_len, &seconds) == 0
	    ? hold_until(m, now_ms(m) + seconds * 1000)
	    : R_PARAM_VALUE;
}

static enum smtp_reply
take_holduntil(struct mail_args *m, const struct smtp_param *p)
{
	int64_t when;

	return smtp_holduntil_parse(p->value, p->value_len, &when) == 0
	    ? hold_until(m, when * 1000)
	    : R_PARAM_VALUE;
}

/* How high it may be is for auth to say. */
static enum smtp_reply
take_priority(struct mail_args *m, const struct smtp_param *p)
{
	if (smtp_priority_parse(p->value, p->value_len, &m->opt.priority) == -1)
		return R_PARAM_VALUE;
	m->has_priority = true;
	return R_MAIL_OK;
}

static const struct param mail_params[] = {
	{ "SIZE", EXT_SIZE, true, take_size },
	{ "BODY", EXT_8BITMIME, true, take_body },
	{ "AUTH", EXT_AUTH, true, take_auth },
	{ "RET", EXT_DSN, true, take_ret },
	{ "ENVID", EXT_DSN, true, take_envid },
	{ "SMTPUTF8", EXT_SMTPUTF8, false, take_utf8 },
	{ "REQUIRETLS", EXT_REQUIRETLS, false, take_requiretls },
	{ "BY", EXT_DELIVERBY, true, take_by },
	{ "HOLDFOR", EXT_FUTURERELEASE, true, take_holdfor },
	{ "HOLDUNTIL", EXT_FUTURERELEASE, true, take_holduntil },
	{ "MT-PRIORITY", EXT_MT_PRIORITY, true, take_priority },
};

/* ---- RCPT ---- */

static enum smtp_reply
take_notify(struct mail_args *m, const struct smtp_param *p)
{
	return smtp_notify_parse(p->value, p->value_len, &m->rcpt.notify) == 0
	    ? R_MAIL_OK
	    : R_PARAM_VALUE;
}

/* It must go on without a change, RFC 3461 section 5.2.1 (d). */
static enum smtp_reply
take_orcpt(struct mail_args *m, const struct smtp_param *p)
{
	char decoded[ORCPT_MAX + 1];

	if (p->value_len > ORCPT_MAX ||
	    smtp_orcpt_decode(p->value, p->value_len, m->session->txn.utf8,
		decoded, sizeof(decoded)) == -1)
		return R_PARAM_VALUE;
	memcpy(m->text, p->value, p->value_len);
	m->text[p->value_len] = '\0';
	m->rcpt.orcpt = m->text;
	return R_MAIL_OK;
}

static const struct param rcpt_params[] = {
	{ "NOTIFY", EXT_DSN, true, take_notify },
	{ "ORCPT", EXT_DSN, true, take_orcpt },
};

/* ---- both ---- */

static const struct param *
find(const struct session *s, const struct param *rows, size_t n,
    const char *key)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(rows[i].key, key) == 0)
			return smtp_offers(s, rows[i].ext) ? &rows[i] : NULL;
	return NULL;
}

static enum smtp_reply
take_one(struct mail_args *m, const struct param *row)
{
	const struct smtp_param *p = &m->param;

	if (row == NULL)
		return R_PARAM_UNKNOWN;
	if (row->has_value != (p->value != NULL))
		return row->has_value ? R_PARAM_VALUE_NEEDED
				      : R_PARAM_VALUE_NONE;
	return row->take(m, p);
}

/* All that stands in len bytes at p; replies if something is wrong. */
static bool
take_all(struct mail_args *m, const struct param *rows, size_t n, const char *p,
    size_t len)
{
	enum smtp_reply reply = R_MAIL_OK;
	enum smtp_param_rc rc;
	struct smtp_params it;

	smtp_params_init(&it, p, len);
	while (reply == R_MAIL_OK &&
	    (rc = smtp_params_next(&it, &m->param)) != SMTP_PARAM_END) {
		m->arg = m->param.key;
		if (rc == SMTP_PARAM_OK)
			reply = take_one(m, find(m->session, rows, n, m->arg));
		else
			reply = rc == SMTP_PARAM_TWICE ? R_PARAM_TWICE
						       : R_PARAM_SYNTAX;
	}
	if (reply == R_MAIL_OK)
		return true;
	session_reply(m->session, reply, m->arg, m->arg2);
	session_count_error(m->session);
	return false;
}

/* RFC 4865 section 5.2.2: what may not leave in time is refused at once. */
static bool
times_agree(struct mail_args *m)
{
	if (m->opt.hold_ms == 0 || m->opt.by_mode == BY_NONE ||
	    m->opt.hold_ms <= m->opt.by_ms)
		return true;
	session_error(m->session, R_PARAM_HOLD_BY, NULL);
	return false;
}

static bool
size_fits(struct mail_args *m)
{
	uint64_t limit = m->session->conf->max_message_size;

	if (m->size <= limit)
		return true;
	with_number(m, R_TOO_BIG, (int64_t)limit);
	session_error(m->session, R_TOO_BIG, m->number);
	return false;
}

bool
smtp_mail_args(
    struct session *s, const char *p, size_t len, struct mail_args *m)
{
	*m =
	    (struct mail_args){ .session = s, .opt.priority = PRIORITY_NORMAL };
	return take_all(m, mail_params,
		   sizeof(mail_params) / sizeof(mail_params[0]), p, len) &&
	    times_agree(m) && size_fits(m);
}

bool
smtp_rcpt_args(
    struct session *s, const char *p, size_t len, struct mail_args *m)
{
	*m = (struct mail_args){ .session = s };
	return take_all(m, rcpt_params,
	    sizeof(rcpt_params) / sizeof(rcpt_params[0]), p, len);
}
