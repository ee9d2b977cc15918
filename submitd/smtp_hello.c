/* EHLO, HELO and STARTTLS, and what auth says of the session. */
#include <stdio.h>
#include <string.h>

#include "smtp_int.h"

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

static void
auth_line(const struct session *s, char *out, size_t size)
{
	size_t i, n;

	n = (size_t)snprintf(out, size, "AUTH");
	for (i = 0; i < sizeof(mech_names) / sizeof(mech_names[0]); i++)
		if ((s->mechs & mech_names[i].bit) != 0 && n < size)
			n += (size_t)snprintf(out + n, size - n, " %s",
			    mech_names[i].name);
}

/* Only what is honoured now; nothing but the way to TLS before it. */
static void
offer(struct session *s)
{
	char out[SMTP_REPLY_MAX], size[40], auth[256];
	const char *kw[8];
	size_t n = 0;

	if (s->tls && s->refuse_code == 0) {
		snprintf(size, sizeof(size), "SIZE %llu",
		    (unsigned long long)s->conf->max_message_size);
		auth_line(s, auth, sizeof(auth));
		if (!s->no_pipelining)
			kw[n++] = "PIPELINING";
		kw[n++] = size;
		kw[n++] = "8BITMIME";
		if (s->mechs != 0)
			kw[n++] = auth;
	} else if (!s->tls)
		kw[n++] = "STARTTLS";
	kw[n++] = "ENHANCEDSTATUSCODES";
	session_raw(s, out, smtp_reply_ehlo(out, sizeof(out),
	    s->conf->hostname, kw, n));
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
