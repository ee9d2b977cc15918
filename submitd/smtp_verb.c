/* The verbs and their gates: what must hold before a handler is reached. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "smtp_int.h"

enum gate {
	V_CLEAR = 1 << 0,   /* works before TLS (RFC 3207 section 4) */
	V_REFUSED = 1 << 1, /* works where the session is refused */
	V_GREETED = 1 << 2, /* needs EHLO or HELO first */
	V_NO_ARG = 1 << 3,  /* takes no argument */
	V_ARG = 1 << 4,     /* needs one */
	V_CHUNK = 1 << 5    /* data follow: the handler asks for its gates */
};

struct verb {
	const char *name;
	void (*handler)(struct session *, const struct arg *);
	unsigned gates;
};

static void
verb_noop(struct session *s, const struct arg *a)
{
	(void)a;
	session_reply(s, R_NOOP, NULL, NULL);
}

static void
verb_rset(struct session *s, const struct arg *a)
{
	(void)a;
	smtp_txn_end(s);
	session_reply(s, R_RSET, NULL, NULL);
}

static void
verb_help(struct session *s, const struct arg *a)
{
	char out[SMTP_REPLY_MAX];
	const char *more[] = { s->conf->help_text, s->conf->see_url };
	size_t n = smtp_reply_format(out, sizeof(out), R_HELP, NULL, NULL), i;

	(void)a;
	for (i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		if (more[i][0] != '\0')
			n = smtp_reply_more(out, sizeof(out), n, more[i]);
	session_raw(s, out, n);
}

/* SMTPUTF8 may stand behind what is asked for (RFC 6531 3.7.4.2); it makes no
 * difference to a reply without address, but it takes no value. */
static void
verb_vrfy(struct session *s, const struct arg *a)
{
	static const char param[] = "SMTPUTF8=";
	const char *blank = memrchr(a->p, ' ', a->len);
	const char *end = a->p + a->len;

	if (blank != NULL && (size_t)(end - blank - 1) >= sizeof(param) - 1 &&
	    strncasecmp(blank + 1, param, sizeof(param) - 1) == 0)
		session_error(s, R_PARAM_VALUE_NONE, "SMTPUTF8");
	else
		session_reply(s, R_VRFY, NULL, NULL);
}

static void
verb_quit(struct session *s, const struct arg *a)
{
	(void)a;
	session_close(s, R_BYE);
}

static void
verb_never(struct session *s, const struct arg *a)
{
	(void)a;
	session_error(s, R_COMMAND_REFUSED, "This command");
}

/* clang-format off */
static const struct verb verbs[] = {
	{ "EHLO", smtp_ehlo, V_CLEAR | V_REFUSED },
	{ "HELO", smtp_helo, V_CLEAR | V_REFUSED },
	{ "STARTTLS", smtp_starttls, V_CLEAR | V_GREETED },
	{ "AUTH", smtp_auth, V_GREETED | V_ARG },
	{ "MAIL", smtp_mail, V_GREETED | V_ARG },
	{ "RCPT", smtp_rcpt, V_GREETED | V_ARG },
	{ "DATA", smtp_data, V_GREETED | V_NO_ARG },
	{ "BDAT", smtp_bdat, V_CHUNK },
	{ "RSET", verb_rset, V_CLEAR | V_REFUSED | V_NO_ARG },
	{ "NOOP", verb_noop, V_CLEAR | V_REFUSED },
	{ "VRFY", verb_vrfy, V_ARG },
	{ "HELP", verb_help, V_CLEAR },
	{ "QUIT", verb_quit, V_CLEAR | V_REFUSED | V_NO_ARG },
	/* RFC 6409 section 7: not for a submission server */
	{ "ETRN", verb_never, 0 },
	{ "EXPN", verb_never, 0 },
	{ "TURN", verb_never, 0 },
	{ "ATRN", verb_never, 0 },
};
/* clang-format on */

static const struct verb *
find(const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strlen(verbs[i].name) == n &&
		    strncasecmp(verbs[i].name, p, n) == 0)
			return &verbs[i];
	return NULL;
}

/* What bars the way; R_COUNT: nothing, R_POLICY: the refusal in words of the
 * access map. */
static enum smtp_reply
barrier(const struct session *s, const struct verb *v, const struct arg *a)
{
	if (!s->tls && (v->gates & V_CLEAR) == 0)
		return R_TLS_NEEDED;
	if (s->refuse_code != 0 && (v->gates & V_REFUSED) == 0)
		return R_POLICY;
	if (!s->greeted && (v->gates & V_GREETED) != 0)
		return R_ORDER_EHLO;
	if (a->len > 0 && (v->gates & V_NO_ARG) != 0)
		return R_ARG_NONE;
	if (a->len == 0 && (v->gates & V_ARG) != 0)
		return R_ARG_MISSING;
	return R_COUNT;
}

static bool
passes(struct session *s, const struct verb *v, const struct arg *a)
{
	enum smtp_reply why = barrier(s, v, a);

	if (why == R_POLICY)
		session_refuse(s);
	else if (why != R_COUNT)
		session_error(s, why, v->name);
	return why == R_COUNT;
}

bool
smtp_bdat_passes(struct session *s, bool say)
{
	static const struct verb bdat = { "BDAT", smtp_bdat, V_GREETED };
	const struct arg none = { .len = 0 };

	return say ? passes(s, &bdat, &none)
		   : barrier(s, &bdat, &none) == R_COUNT;
}

void
smtp_command(struct session *s, const char *line, size_t len, bool more)
{
	const struct verb *v;
	struct arg a = { .more = more };
	size_t n = 0;

	while (n < len && isalpha((unsigned char)line[n]))
		n++;
	v = n == len || line[n] == ' ' ? find(line, n) : NULL;
	if (v == NULL) {
		session_error(s, R_COMMAND_UNKNOWN, NULL);
		return;
	}
	if (len > LINE_LIMIT && v->handler != smtp_auth) {
		session_error(s, R_LINE_TOO_LONG, NULL);
		return;
	}
	a.p = line + n;
	a.len = len - n;
	while (a.len > 0 && a.p[0] == ' ') {
		a.p++;
		a.len--;
	}
	if (v->handler != smtp_auth) /* there a blank may stand for "empty" */
		while (a.len > 0 && a.p[a.len - 1] == ' ')
			a.len--;
	if ((v->gates & V_CHUNK) != 0 || passes(s, v, &a))
		v->handler(s, &a);
}
