/* EHLO, HELO and STARTTLS, and what auth says of the session. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "smtp_int.h"

enum { OFFER_MAX = 200 }; /* bytes of a line of EHLO, without its code */

/* In the order in which they are offered: the best first. */
static const struct {
	uint32_t bit;
	const char *name;
} mech_names[] = {
	{ MECH_SCRAM_SHA_256_PLUS, "SCRAM-SHA-256-PLUS" },
	{ MECH_SCRAM_SHA_256, "SCRAM-SHA-256" },
	{ MECH_SCRAM_SHA_1_PLUS, "SCRAM-SHA-1-PLUS" },
	{ MECH_SCRAM_SHA_1, "SCRAM-SHA-1" },
	{ MECH_EXTERNAL, "EXTERNAL" },
	{ MECH_PLAIN, "PLAIN" },
	{ MECH_LOGIN, "LOGIN" },
	{ MECH_OAUTHBEARER, "OAUTHBEARER" },
	{ MECH_XOAUTH2, "XOAUTH2" },
};

/* ---- what EHLO offers ---- */

static void
auth_param(const struct session *s, char *out, size_t size)
{
	size_t i, n = 0;

	for (i = 0; i < sizeof(mech_names) / sizeof(mech_names[0]); i++)
		if ((s->mechs & mech_names[i].bit) != 0 && n < size)
			n += (size_t)snprintf(
			    out + n, size - n, " %s", mech_names[i].name);
}

static void
size_param(const struct session *s, char *out, size_t size)
{
	snprintf(
	    out, size, " %llu", (unsigned long long)s->conf->max_message_size);
}

static void
by_param(const struct session *s, char *out, size_t size)
{
	if (s->conf->deliver_by_min > 0)
		snprintf(out, size, " %lld",
		    (long long)(s->conf->deliver_by_min / 1000));
}

/* The longest time, and the latest date (RFC 4865 section 3). */
static void
hold_param(const struct session *s, char *out, size_t size)
{
	int64_t longest = s->conf->max_hold / 1000;
	time_t latest;
	struct tm tm;
	char date[40];
	int tz;

	latest = (time_t)(s->ops->now_ms(s->arg, &tz) / 1000 + longest);
	if (gmtime_r(&latest, &tm) != NULL &&
	    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		snprintf(out, size, " %lld %s", (long long)longest, date);
}

/* The levels are those of RFC 6710 appendix B, and all between them. */
static void
priority_param(const struct session *s, char *out, size_t size)
{
	(void)s;
	snprintf(out, size, " MIXER");
}

static void
limits_param(const struct session *s, char *out, size_t size)
{
	uint32_t mails = s->conf->session_messages;
	size_t n;

	n = (size_t)snprintf(out, size, " RCPTMAX=%u", s->conf->max_recipients);
	if (mails > 0) /* six digits at most: RFC 9422 section 4.1 */
		snprintf(out + n, size - n, " MAILMAX=%u",
		    mails < 999999 ? mails : 999999);
}

static bool
may_pipeline(const struct session *s)
{
	return !s->no_pipelining;
}

static bool
may_login(const struct session *s)
{
	return s->mechs != 0;
}

static bool
may_hold(const struct session *s)
{
	return s->conf->max_hold >= 1000;
}

/*
 * The extensions, in the order in which they are offered. What is not
 * honoured end to end, by queue and relay too, is neither offered nor are its
 * parameters taken. All need TLS.
 */
static const struct {
	const char *keyword;
	bool honoured;
	bool (*is_on)(const struct session *); /* NULL: always */
	void (*param)(const struct session *, char *out, size_t size);
} extensions[] = {
	[EXT_PIPELINING] = { "PIPELINING", true, may_pipeline, NULL },
	[EXT_SIZE] = { "SIZE", true, NULL, size_param },
	[EXT_8BITMIME] = { "8BITMIME", true, NULL, NULL },
	[EXT_AUTH] = { "AUTH", true, may_login, auth_param },
	[EXT_DSN] = { "DSN", true, NULL, NULL },
	[EXT_CHUNKING] = { "CHUNKING", true, NULL, NULL },
	[EXT_BINARYMIME] = { "BINARYMIME", true, NULL, NULL },
	[EXT_SMTPUTF8] = { "SMTPUTF8", true, NULL, NULL },
	[EXT_DELIVERBY] = { "DELIVERBY", true, NULL, by_param },
	[EXT_FUTURERELEASE] = { "FUTURERELEASE", true, may_hold, hold_param },
	[EXT_MT_PRIORITY] = { "MT-PRIORITY", true, NULL, priority_param },
	[EXT_REQUIRETLS] = { "REQUIRETLS", true, NULL, NULL },
	[EXT_LIMITS] = { "LIMITS", true, NULL, limits_param },
	[EXT_STATUSCODES] = { "ENHANCEDSTATUSCODES", true, NULL, NULL },
};
enum { EXTENSIONS = sizeof(extensions) / sizeof(extensions[0]) };

bool
smtp_offers(const struct session *s, enum ext e)
{
	return extensions[e].honoured &&
	    (extensions[e].is_on == NULL || extensions[e].is_on(s));
}

/* Only what is honoured now; nothing but the way to TLS before it. */
static void
offer(struct session *s)
{
	char out[SMTP_REPLY_MAX], line[EXTENSIONS][OFFER_MAX], param[OFFER_MAX];
	const char *kw[EXTENSIONS];
	size_t n = 0;
	unsigned e;

	if (!s->tls)
		kw[n++] = "STARTTLS";
	for (e = 0; e < EXTENSIONS; e++) {
		if (e != EXT_STATUSCODES && (!s->tls || s->refuse_code != 0))
			continue;
		if (!smtp_offers(s, (enum ext)e))
			continue;
		param[0] = '\0';
		if (extensions[e].param != NULL)
			extensions[e].param(s, param, sizeof(param));
		snprintf(line[n], sizeof(line[n]), "%s%s",
		    extensions[e].keyword, param);
		kw[n] = line[n];
		n++;
	}
	session_raw(s, out,
	    smtp_reply_ehlo(out, sizeof(out), s->conf->hostname, kw, n));
}

void
smtp_ehlo_answer(struct session *s)
{
	if (s->esmtp)
		offer(s);
	else
		session_reply(s, R_HELO, s->conf->hostname, NULL);
	session_enter(s, ST_COMMAND);
}

static void
hello(struct session *s, const struct arg *a, bool esmtp)
{
	char helo[SMTP_DOMAIN_MAX + 1];

	if (smtp_ehlo_arg(a->p, a->len, helo) == -1) {
		session_error(s, R_EHLO_ARG, NULL);
		return;
	}
	smtp_txn_end(s); /* RFC 5321 4.1.4: like RSET */
	str_set(&s->helo, helo);
	s->greeted = true;
	s->esmtp = esmtp;
	session_reach(s, s->tls ? PROGRESS_TLS_HELLO : PROGRESS_HELLO);
	if (s->tls && !s->has_facts)
		session_enter(s, ST_FACTS);
	else
		smtp_ehlo_answer(s);
}

void
smtp_ehlo(struct session *s, const struct arg *a)
{
	hello(s, a, true);
}

void
smtp_helo(struct session *s, const struct arg *a)
{
	hello(s, a, false);
}

void
smtp_facts(struct session *s, const struct m_session_facts *m)
{
	s->has_facts = true;
	s->mechs = m->mechs;
	s->no_pipelining = m->no_pipelining;
	s->cert_known = m->cert_user[0] != '\0';
	s->refuse_code = m->refuse_code;
	str_set(&s->refuse_esc, m->refuse_esc);
	str_set(&s->refuse_text, m->refuse_text);
	if (s->refuse_code == 421) /* closes at once */
		session_refuse(s);
	else if (s->state == ST_FACTS)
		smtp_ehlo_answer(s);
}

void
smtp_starttls(struct session *s, const struct arg *a)
{
	if (s->tls)
		session_error(s, R_TLS_ACTIVE, NULL);
	else if (a->len > 0)
		session_error(s, R_ARG_NONE, "STARTTLS");
	else if (a->more) /* bytes behind STARTTLS: an injection */
		session_close(s, R_TLS_PIPELINED);
	else {
		smtp_txn_end(s);
		s->greeted = s->esmtp = false;
		str_set(&s->helo, "");
		session_reply(s, R_TLS_GO, NULL, NULL);
		session_reach(s, PROGRESS_TLS_BEGUN);
		session_enter(s, ST_TLS);
		s->ops->starttls(s->arg);
	}
}
