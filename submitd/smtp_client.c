/*
 * The dialogue with a smarthost: see smtp_client.h.
 *
 * One stage names the reply that is due.  With PIPELINING the commands of a
 * message leave in one group and the stages only walk through the replies;
 * without, entering a stage says its command.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "smtp_client_int.h"

enum {
	COMMAND_MAX = 510, /* RFC 5321 section 4.5.3.1.4, without CR LF */
	SASL_MAX = 12288,  /* RFC 4954 section 4.9, likewise */
	/* What may be thrown away if the recipients are refused: a longer
	 * message waits for them, which costs it little. */
	EAGER_MAX = BODY_INLINE_MAX
};

static const char *const stage_text[] = {
	[HANDSHAKE] = "the TLS handshake",
	[GREETING] = "the greeting",
	[EHLO] = "the reply to EHLO",
	[STARTTLS] = "the reply to STARTTLS",
	[AUTH] = "the reply to AUTH",
	[IDLE] = "nothing",
	[RSET] = "the reply to RSET",
	[MAIL] = "the reply to MAIL",
	[RCPT] = "the reply to RCPT",
	[DATA] = "the reply to DATA",
	[BODY] = "room to send the message",
	[DOT] = "the reply to the message",
	[BDAT] = "the reply to the message",
	[LONE_DOT] = "the reply to an empty message",
	[QUIT] = "the reply to QUIT",
	[CLOSED] = "nothing",
};

/* ---- results ---- */

static void
give_result(struct smtp_client *c, size_t n, const struct smtp_client_result *r)
{
	if (c->now.rcpt[n] == RCPT_DONE || c->now.rcpt[n] == RCPT_UNSENT)
		return;
	c->now.rcpt[n] = RCPT_DONE;
	c->conf->result(c->arg, n, r);
}

/* To every recipient that has none yet. */
static void
give_all(struct smtp_client *c, const struct smtp_client_result *r)
{
	size_t i;

	for (i = 0; i < c->now.msg.rcpts; i++)
		give_result(c, i, r);
}

static void
forget_message(struct message *m)
{
	free(m->to);
	free(m->options);
	free(m->rcpt);
	*m = (struct message){ 0 };
}

/* The next one has its turn, if it is said already. */
static void
message_over(struct smtp_client *c)
{
	forget_message(&c->now);
	c->stage = IDLE;
	if (!c->has_behind)
		return;
	c->now = c->behind;
	c->behind = (struct message){ 0 };
	c->has_behind = false;
	c->stage = MAIL;
	c->conf->turn(c->arg);
}

/* The session ends: what is not decided is deferred. */
static void
end_session(struct smtp_client *c, enum trouble_kind trouble, const char *esc,
    const char *text, bool unsure)
{
	if (c->stage == CLOSED)
		return;
	snprintf(c->failure_esc, sizeof(c->failure_esc), "%s", esc);
	snprintf(c->failure_text, sizeof(c->failure_text), "%s", text);
	c->failure = (struct smtp_client_result){ .kind = RESULT_DEFERRED,
		.trouble = trouble,
		.esc = c->failure_esc,
		.text = c->failure_text,
		.unsure = unsure };
	c->failed = true;
	c->stage = CLOSED;
	give_all(c, &c->failure);
	forget_message(&c->now);
	forget_message(&c->behind); /* not a byte of it has left */
	c->has_behind = false;
}

/* Without a reply: if the whole message had left, nobody knows. With BDAT that
 * may be so before a reply to MAIL: replies to a group come at its end. */
static void
fail(struct smtp_client *c, enum trouble_kind trouble, const char *esc,
    const char *text)
{
	end_session(c, trouble, esc, text, c->now.whole);
}

/* Over a reply: what it refused, then the reply itself. */
static void
fail_reply(struct smtp_client *c, enum trouble_kind trouble, const char *esc,
    const char *what, const struct reply *r)
{
	char text[SMTP_CLIENT_TEXT + 1];
	size_t n = strlen(what) + strlen(": ");

	snprintf(text, sizeof(text), "%s: %.*s", what,
	    (int)(sizeof(text) - n - 1), r->text);
	end_session(c, trouble, esc, text, false);
}

static void
fail_protocol(struct smtp_client *c, const struct reply *r)
{
	char what[80];

	snprintf(what, sizeof(what), "unexpected answer as %s",
	    stage_text[c->stage]);
	fail_reply(c, TROUBLE_REPLY, "4.5.0", what, r);
}

/* Codes that mean our login, not this mail (RFC 4954 section 6). */
static bool
is_about_auth(uint16_t code)
{
	return code == 530 || code == 534 || code == 535 || code == 538;
}

/* Puts a reply as a result; esc needs SMTP_ESC_LEN bytes. */
static void
judge(
    const struct reply *r, bool soft, struct smtp_client_result *out, char *esc)
{
	*out = (struct smtp_client_result){
		.code = r->code, .esc = esc, .text = r->text
	};
	snprintf(esc, SMTP_ESC_LEN, "%s", r->esc[0] != '\0' ? r->esc : "5.0.0");
	if (r->code < 300) {
		out->kind = RESULT_DELIVERED;
		esc[0] = '2';
		return;
	}
	out->trouble = is_about_auth(r->code) ? TROUBLE_AUTH : TROUBLE_REPLY;
	out->kind = RESULT_FAILED;
	if (soft || r->code < 500 || out->trouble == TROUBLE_AUTH) {
		out->kind = RESULT_DEFERRED;
		esc[0] = '4';
	}
}

static void
settle_all(struct smtp_client *c, const struct reply *r)
{
	struct smtp_client_result res;
	char esc[SMTP_ESC_LEN];

	judge(r, false, &res, esc);
	give_all(c, &res);
}

/* ---- commands ---- */

static void
say(struct smtp_client *c, const char *text)
{
	c->conf->write(c->arg, text, strlen(text));
}

static void
add(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

/* The next recipient from n on that gets a RCPT. */
static size_t
next_rcpt(const struct smtp_client *c, size_t n)
{
	while (n < c->now.msg.rcpts && c->now.rcpt[n] == RCPT_UNSENT)
		n++;
	return n;
}

static void
add_bdat(struct smtp_client *c, struct buf *b)
{
	char text[64];

	snprintf(text, sizeof(text), "BDAT %llu LAST\r\n",
	    (unsigned long long)c->now.msg.size);
	add(b, text);
	c->now.bdat_said = c->now.sending = true;
}

/* All that need not wait for a reply. */
static void
say_group(struct smtp_client *c)
{
	struct buf b = { 0 };
	size_t i;

	if (c->dirty)
		add(&b, "RSET\r\n");
	smtp_client_add_mail(c, &b);
	for (i = next_rcpt(c, 0); i < c->now.msg.rcpts; i = next_rcpt(c, i + 1))
		smtp_client_add_rcpt(c, i, &b);
	if (!c->now.by_bdat)
		add(&b, "DATA\r\n");
	else if (c->now.msg.eager && c->now.msg.size <= EAGER_MAX)
		add_bdat(c, &b);
	c->conf->write(c->arg, buf_head(&b), b.len);
	buf_clear(&b);
}

/* The reply to s is due next; its command is said unless it has been. */
static void
enter(struct smtp_client *c, enum stage s)
{
	struct buf b = { 0 };

	c->stage = s;
	if (c->now.grouped && (s != BDAT || c->now.bdat_said))
		return;
	if (s == RSET)
		add(&b, "RSET\r\n");
	else if (s == MAIL)
		smtp_client_add_mail(c, &b);
	else if (s == RCPT)
		smtp_client_add_rcpt(c, c->now.next, &b);
	else if (s == DATA)
		add(&b, "DATA\r\n");
	else if (s == BDAT)
		add_bdat(c, &b);
	c->conf->write(c->arg, buf_head(&b), b.len);
	buf_clear(&b);
}

static void
say_ehlo(struct smtp_client *c)
{
	struct buf b = { 0 };

	smtp_client_forget_offers(c);
	c->stage = EHLO;
	add(&b, "EHLO ");
	add(&b, c->conf->helo);
	add(&b, "\r\n");
	c->conf->write(c->arg, buf_head(&b), b.len);
	buf_clear(&b);
}

static void
become_idle(struct smtp_client *c)
{
	c->was_ready = true;
	c->stage = IDLE;
}

/* ---- AUTH PLAIN (RFC 4616) ---- */

/* The response, encoded; NULL if it is too long for any server. */
static char *
plain_response(const struct smtp_client_conf *conf)
{
	size_t ulen = strlen(conf->user);
	size_t len = 1 + ulen + 1 + conf->password.len;
	unsigned char *raw;
	char *out;

	if (ulen > SASL_MAX || BASE64_LEN(len) > SASL_MAX)
		return NULL;
	raw = xcalloc(1, len);
	memcpy(raw + 1, conf->user, ulen);
	if (conf->password.len > 0)
		memcpy(
		    raw + 1 + ulen + 1, conf->password.p, conf->password.len);
	out = xcalloc(1, BASE64_LEN(len) + 1);
	if (base64_encode(raw, len, out, BASE64_LEN(len) + 1) == -1)
		abort(); /* the size is right by construction */
	freezero(raw, len);
	return out;
}

static void
say_plain(struct smtp_client *c, bool initial)
{
	static const char verb[] = "AUTH PLAIN ";
	struct buf b = { 0 };
	char *resp = plain_response(c->conf);

	assert(c->tls);
	if (resp == NULL) {
		fail(c, TROUBLE_AUTH, "4.7.8",
		    "user name and password are too long for AUTH PLAIN");
		return;
	}
	if (initial && strlen(verb) + strlen(resp) > COMMAND_MAX) {
		say(c, "AUTH PLAIN\r\n");
	} else {
		buf_room(&b, strlen(verb) + strlen(resp) + 2);
		add(&b, initial ? verb : "");
		add(&b, resp);
		add(&b, "\r\n");
		c->auth_said = true;
		c->conf->write(c->arg, buf_head(&b), b.len);
		buf_wipe(&b);
	}
	freezero_str(resp);
}

static void
begin_auth(struct smtp_client *c)
{
	c->stage = AUTH;
	if ((c->offers & SMTP_OFFERS_AUTH_PLAIN) == 0)
		fail(c, TROUBLE_AUTH, "4.7.4",
		    "the smarthost does not offer AUTH PLAIN");
	else
		say_plain(c, true);
}

/* ---- replies, by stage ---- */

static void
on_greeting(struct smtp_client *c, const struct reply *r)
{
	if (r->code == 220)
		say_ehlo(c);
	else
		fail_reply(c, TROUBLE_CONNECT, "4.3.2",
		    "the smarthost refused the connection", r);
}

static void
on_ehlo(struct smtp_client *c, const struct reply *r)
{
	const char *user = c->conf->user;

	if (r->code != 250) {
		fail_reply(c, TROUBLE_CONNECT, "4.3.2",
		    "the smarthost refused EHLO", r);
	} else if (c->tls) {
		if (user != NULL && user[0] != '\0')
			begin_auth(c);
		else
			become_idle(c);
	} else if ((c->offers & SMTP_OFFERS_STARTTLS) == 0) {
		fail(c, TROUBLE_TLS, "4.7.4",
		    "the smarthost does not offer STARTTLS");
	} else {
		c->stage = STARTTLS;
		say(c, "STARTTLS\r\n");
	}
}

static void
on_starttls(struct smtp_client *c, const struct reply *r)
{
	if (r->code == 220)
		c->stage = HANDSHAKE;
	else
		fail_reply(c, TROUBLE_TLS, "4.7.4",
		    "the smarthost refused STARTTLS", r);
}

static void
on_auth(struct smtp_client *c, const struct reply *r)
{
	if (r->code == 235 && c->auth_said)
		become_idle(c);
	else if (r->code == 334 && !c->auth_said)
		say_plain(c, false);
	else
		fail_reply(c, TROUBLE_AUTH, "4.7.8",
		    "the smarthost refused the login", r);
}

static void
on_rset(struct smtp_client *c, const struct reply *r)
{
	if (r->code != 250) {
		fail_reply(
		    c, TROUBLE_REPLY, "4.5.0", "the smarthost refused RSET", r);
		return;
	}
	c->dirty = false;
	enter(c, MAIL);
}

/* The smarthost refuses what it offers: to be sent again without it. */
static void
give_avoid(struct smtp_client *c, const struct reply *r, unsigned what)
{
	struct smtp_client_result res;
	char esc[SMTP_ESC_LEN];

	judge(r, true, &res, esc);
	res.avoid = what;
	give_all(c, &res);
}

/* Codes for a parameter that is not known (RFC 5321 section 4.1.1.11) where
 * the reply is not about the address. */
static bool
refuses_parameter(const struct smtp_client *c, const struct reply *r)
{
	if (smtp_client_mail_auth(c) == NULL)
		return false;
	return r->code == 555 ||
	    ((r->code == 501 || r->code == 504) &&
		(r->esc[0] == '\0' || strcmp(r->esc, "5.5.4") == 0));
}

static void
mail_refused(struct smtp_client *c, const struct reply *r)
{
	if (refuses_parameter(c, r))
		give_avoid(c, r, SMTP_AVOID_MAIL_AUTH);
	else
		settle_all(c, r);
}

static void
on_mail(struct smtp_client *c, const struct reply *r)
{
	if (r->code >= 300 && r->code < 400) {
		fail_protocol(c, r);
		return;
	}
	/* Also after a refusal: a group's RCPT and DATA are on their way. */
	c->dirty = true;
	c->now.mail_ok = r->code < 300;
	c->now.next = next_rcpt(c, 0);
	if (!c->now.mail_ok && !c->now.grouped) {
		mail_refused(c, r);
		c->dirty = false;
		message_over(c);
	} else {
		enter(c, RCPT);
		if (!c->now.mail_ok)
			mail_refused(c, r);
	}
}

/* "Too many recipients" under any of its names defers the rest, which goes
 * in another transaction (RFC 5321 section 4.5.3.1.10). */
static bool
is_too_many(const struct smtp_client *c, const struct reply *r)
{
	return c->now.accepted > 0 &&
	    (strcmp(r->esc, "5.5.3") == 0 || strcmp(r->esc, "4.5.3") == 0 ||
		((r->code == 552 || r->code == 452) && r->esc[0] == '\0'));
}

/* Every recipient has its reply. */
static void
rcpts_over(struct smtp_client *c)
{
	if (c->now.by_bdat && (c->now.bdat_said || c->now.accepted > 0))
		enter(c, BDAT);
	else if (!c->now.by_bdat && (c->now.grouped || c->now.accepted > 0))
		enter(c, DATA);
	else
		message_over(c);
}

static void
on_rcpt(struct smtp_client *c, const struct reply *r)
{
	struct smtp_client_result res;
	char esc[SMTP_ESC_LEN];
	size_t n = c->now.next;

	if (r->code >= 300 && r->code < 400) {
		fail_protocol(c, r);
		return;
	}
	if (c->now.rcpt[n] == RCPT_WAITING && r->code < 300) {
		c->now.rcpt[n] = RCPT_ACCEPTED;
		c->now.accepted++;
	} else {
		judge(r, is_too_many(c, r), &res, esc);
		res.rest = res.kind == RESULT_DEFERRED && is_too_many(c, r);
		give_result(c, n, &res);
	}
	c->now.next = next_rcpt(c, n + 1);
	if (c->now.next < c->now.msg.rcpts)
		enter(c, RCPT);
	else
		rcpts_over(c);
}

static void
on_data(struct smtp_client *c, const struct reply *r)
{
	if (r->code == 354 && c->now.accepted > 0) {
		c->stage = BODY;
		c->now.sending = true;
		dotline_out_init(&c->now.dots);
	} else if (r->code == 354) {
		c->stage = LONE_DOT; /* RFC 2920 section 3.1 */
		say(c, ".\r\n");
	} else if (r->code < 400) {
		fail_protocol(c, r);
	} else {
		settle_all(c, r);
		message_over(c);
	}
}

/* A reply before the dot: the smarthost will not hear the rest. */
static void
on_body(struct smtp_client *c, const struct reply *r)
{
	if (r->code >= 400)
		settle_all(c, r);
	fail_reply(c, TROUBLE_REPLY, "4.5.0",
	    "the smarthost answered before the end of the message", r);
}

static void
on_dot(struct smtp_client *c, const struct reply *r)
{
	if (r->code >= 300 && r->code < 400) {
		fail_protocol(c, r);
		return;
	}
	c->dirty = false;
	settle_all(c, r);
	message_over(c);
}

/* 500 to 504 say that BDAT itself is not known, or not now. */
static bool
refuses_bdat(const struct smtp_client *c, const struct reply *r)
{
	return c->now.accepted > 0 && r->code >= 500 && r->code <= 504;
}

static void
on_bdat(struct smtp_client *c, const struct reply *r)
{
	char what[] = "the smarthost offers CHUNKING, but refuses BDAT";

	if (c->now.sending) {
		on_body(c, r);
	} else if (refuses_bdat(c, r)) {
		/* It may have read the message as commands. */
		give_avoid(c, r, SMTP_AVOID_BDAT);
		fail_reply(c, TROUBLE_REPLY, "4.5.0", what, r);
	} else if (r->code >= 300 && r->code < 400) {
		fail_protocol(c, r);
	} else {
		/* After a failure RSET has to follow (RFC 3030 section 2). */
		c->dirty = c->now.accepted == 0 || r->code >= 400;
		settle_all(c, r);
		message_over(c);
	}
}

static void
on_lone_dot(struct smtp_client *c, const struct reply *r)
{
	(void)r;
	message_over(c);
}

/* Nobody asked. */
static void
on_idle(struct smtp_client *c, const struct reply *r)
{
	fail_protocol(c, r);
}

static void
on_quit(struct smtp_client *c, const struct reply *r)
{
	(void)r;
	c->stage = CLOSED;
}

static void (*const on_reply[])(struct smtp_client *, const struct reply *) = {
	[GREETING] = on_greeting,
	[EHLO] = on_ehlo,
	[STARTTLS] = on_starttls,
	[AUTH] = on_auth,
	[IDLE] = on_idle,
	[RSET] = on_rset,
	[MAIL] = on_mail,
	[RCPT] = on_rcpt,
	[DATA] = on_data,
	[BODY] = on_body,
	[DOT] = on_dot,
	[BDAT] = on_bdat,
	[LONE_DOT] = on_lone_dot,
	[QUIT] = on_quit,
};

/* 421 ends the session, whatever it answers. */
static void
on_closing(struct smtp_client *c, const struct reply *r)
{
	if (c->stage == IDLE || c->stage == QUIT)
		c->stage = CLOSED;
	else
		fail_reply(c, c->was_ready ? TROUBLE_REPLY : TROUBLE_CONNECT,
		    r->esc[0] != '\0' ? r->esc : "4.3.2",
		    "the smarthost closes the connection", r);
}

void
smtp_client_take_reply(struct smtp_client *c)
{
	c->replies++;
	if (c->reply.code == 421) {
		on_closing(c, &c->reply);
		return;
	}
	c->now.answered = true;
	on_reply[c->stage](c, &c->reply);
}

/* ---- input ---- */

void
smtp_client_fail_garbage(struct smtp_client *c, const char *what)
{
	char text[SMTP_CLIENT_TEXT + 1];

	snprintf(text, sizeof(text), "%s as %s", what, stage_text[c->stage]);
	fail(c, TROUBLE_REPLY, "4.5.0", text);
}

static void
end_line(struct smtp_client *c)
{
	size_t len = c->line_len;

	c->line_len = 0;
	if (len > 0 && c->line[len - 1] == '\r')
		len--;
	c->line[len] = '\0';
	smtp_client_take_line(c, c->line, len);
}

void
smtp_client_input(struct smtp_client *c, const void *data, size_t len)
{
	const char *p = data, *end = p + len, *nl;
	size_t n;

	while (p < end && c->stage != CLOSED) {
		if (c->stage == HANDSHAKE) {
			fail(c, TROUBLE_TLS, "4.7.5",
			    "data came in clear behind the smarthost's reply "
			    "to STARTTLS: somebody may have injected it");
			return;
		}
		nl = memchr(p, '\n', (size_t)(end - p));
		n = (size_t)((nl != NULL ? nl : end) - p);
		if (n >= sizeof(c->line) - c->line_len) {
			smtp_client_fail_garbage(c, "too long a line came");
			return;
		}
		memcpy(c->line + c->line_len, p, n);
		c->line_len += n;
		p += n;
		if (nl != NULL) {
			p++;
			end_line(c);
		}
	}
}

/* ---- the owner's calls ---- */

struct smtp_client *
smtp_client_new(const struct smtp_client_conf *conf, void *arg)
{
	struct smtp_client *c = xcalloc(1, sizeof(*c));

	c->conf = conf;
	c->arg = arg;
	c->stage = conf->implicit_tls ? HANDSHAKE : GREETING;
	return c;
}

void
smtp_client_free(struct smtp_client **cp)
{
	if (*cp != NULL) {
		forget_message(&(*cp)->now);
		forget_message(&(*cp)->behind);
	}
	free(*cp);
	*cp = NULL;
}

enum smtp_client_want
smtp_client_want(const struct smtp_client *c)
{
	if (c->now.sending)
		return SMTP_CLIENT_BODY;
	switch (c->stage) {
	case HANDSHAKE:
		return SMTP_CLIENT_TLS;
	case IDLE:
		return SMTP_CLIENT_IDLE;
	case CLOSED:
		return SMTP_CLIENT_CLOSE;
	default:
		return SMTP_CLIENT_REPLY;
	}
}

void
smtp_client_tls_up(struct smtp_client *c)
{
	if (c->stage != HANDSHAKE)
		return;
	/* RFC 3207 section 4.2: nothing learned in clear is kept. */
	c->tls = true;
	c->line_len = 0;
	c->reply.lines = 0;
	if (c->conf->implicit_tls)
		c->stage = GREETING;
	else
		say_ehlo(c);
}

void
smtp_client_lost(
    struct smtp_client *c, enum trouble_kind trouble, const char *text)
{
	char all[SMTP_CLIENT_TEXT + 1];

	if (c->stage == IDLE || c->stage == QUIT) {
		c->stage = CLOSED;
		return;
	}
	if (trouble == TROUBLE_CONNECT) {
		snprintf(all, sizeof(all), "%.900s while waiting for %s", text,
		    stage_text[c->stage]);
		text = all;
	}
	fail(c, trouble,
	    trouble == TROUBLE_TLS         ? "4.7.5"
		: trouble == TROUBLE_LOCAL ? "4.3.0"
					   : "4.4.2",
	    text);
}

unsigned
smtp_client_offers(const struct smtp_client *c)
{
	unsigned avoid = (c->conf->avoid & SMTP_AVOID_BDAT) != 0
	    ? SMTP_OFFERS_CHUNKING | SMTP_OFFERS_BINARYMIME
	    : 0;

	return c->offers & ~avoid;
}

const struct smtp_client_limits *
smtp_client_limits(const struct smtp_client *c)
{
	return &c->limits;
}

uint32_t
smtp_client_mails(const struct smtp_client *c)
{
	return c->mails;
}

static void
copy_message(struct smtp_client *c, const struct smtp_client_msg *m)
{
	c->now.msg = *m;
	c->now.to = xcalloc(m->rcpts, sizeof(*c->now.to));
	memcpy(c->now.to, m->to, m->rcpts * sizeof(*c->now.to));
	c->now.msg.to = c->now.to;
	if (m->rcpt != NULL) {
		c->now.options = xcalloc(m->rcpts, sizeof(*c->now.options));
		memcpy(c->now.options, m->rcpt,
		    m->rcpts * sizeof(*c->now.options));
		c->now.msg.rcpt = c->now.options;
	}
	c->now.rcpt = xcalloc(m->rcpts, 1);
	c->now.given = 0;
	c->now.mail_ok = c->now.answered = c->now.bdat_said = false;
	c->now.grouped = (c->offers & SMTP_OFFERS_PIPELINING) != 0;
	c->now.by_bdat = (smtp_client_offers(c) & SMTP_OFFERS_CHUNKING) != 0;
}

/* Gives the results that need no smarthost; false if none is left to ask. */
static bool
sort_out(struct smtp_client *c)
{
	struct smtp_client_result r;
	char text[200];
	size_t i;

	if (smtp_client_refuses(c, text, sizeof(text), &r)) {
		give_all(c, &r);
		return false;
	}
	for (i = 0; i < c->now.msg.rcpts; i++) {
		if (!smtp_client_refuses_rcpt(c, i, &r))
			continue;
		give_result(c, i, &r);
		c->now.rcpt[i] = RCPT_UNSENT;
	}
	return next_rcpt(c, 0) < c->now.msg.rcpts;
}

void
smtp_client_send(struct smtp_client *c, const struct smtp_client_msg *m)
{
	assert(c->stage == IDLE);
	assert(m->rcpts > 0 && m->rcpts <= SMTP_CLIENT_RCPTS);
	copy_message(c, m);
	if (!sort_out(c)) {
		message_over(c);
		return;
	}
	c->mails++;
	if (c->now.grouped)
		say_group(c);
	enter(c, c->dirty ? RSET : MAIL);
}

bool
smtp_client_may_follow(const struct smtp_client *c)
{
	return c->stage == DOT && c->now.grouped && !c->has_behind;
}

/* Nothing is to be said to its owner before its turn. */
static bool
is_plain(const struct smtp_client *c)
{
	struct smtp_client_result r;
	char text[200];
	size_t i;

	if (smtp_client_refuses(c, text, sizeof(text), &r))
		return false;
	for (i = 0; i < c->now.msg.rcpts; i++)
		if (smtp_client_refuses_rcpt(c, i, &r))
			return false;
	return true;
}

bool
smtp_client_follow(struct smtp_client *c, const struct smtp_client_msg *m)
{
	struct message before = c->now;

	assert(smtp_client_may_follow(c));
	c->now = (struct message){ 0 };
	copy_message(c, m);
	c->has_behind = is_plain(c);
	if (c->has_behind) {
		c->mails++;
		c->dirty = false; /* whatever the reply to the dot says */
		say_group(c);
		c->behind = c->now;
	} else {
		forget_message(&c->now);
	}
	c->now = before;
	return c->has_behind;
}

static void
body_sink(void *arg, const void *data, size_t len)
{
	struct smtp_client *c = arg;

	c->conf->write(c->arg, data, len);
}

void
smtp_client_body(struct smtp_client *c, const void *data, size_t len)
{
	if (!c->now.sending || len == 0)
		return;
	if (!c->now.by_bdat) {
		dotline_out_feed(&c->now.dots, data, len, body_sink, c);
		return;
	}
	if (len >
	    c->now.msg.size - c->now.given) { /* somebody changed the file */
		c->now.whole = false;
		fail(c, TROUBLE_LOCAL, "4.3.0",
		    "the message is longer than it was said to be");
		return;
	}
	c->now.given += len;
	c->conf->write(c->arg, data, len);
}

void
smtp_client_body_end(struct smtp_client *c)
{
	if (!c->now.sending)
		return;
	c->now.sending = false;
	c->now.whole = true;
	if (!c->now.by_bdat) {
		dotline_out_end(&c->now.dots, body_sink, c);
		c->stage = DOT;
	} else if (c->now.given != c->now.msg.size) {
		c->now.whole = false; /* it waits for the rest, in vain */
		fail(c, TROUBLE_LOCAL, "4.3.0",
		    "the message is shorter than it was said to be");
	}
}

void
smtp_client_quit(struct smtp_client *c)
{
	assert(c->stage == IDLE);
	c->stage = QUIT;
	say(c, "QUIT\r\n");
}

const struct smtp_client_result *
smtp_client_failure(const struct smtp_client *c)
{
	return c->failed ? &c->failure : NULL;
}

unsigned long
smtp_client_replies(const struct smtp_client *c)
{
	return c->replies;
}

bool
smtp_client_is_final(const struct smtp_client *c)
{
	return c->now.whole;
}

bool
smtp_client_answered(const struct smtp_client *c)
{
	return c->now.answered;
}

bool
smtp_client_was_ready(const struct smtp_client *c)
{
	return c->was_ready;
}
