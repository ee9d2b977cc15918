/*
 * The dialogue with a smarthost: see smtp_client.h.
 *
 * One stage names the reply that is due.  With PIPELINING the commands of a
 * message leave in one group and the stages only walk through the replies;
 * without, entering a stage says its command.
 */
#include "smtp_client.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base64.h"
#include "dotline.h"
#include "mem.h"

enum {
	COMMAND_MAX = 510, /* RFC 5321 section 4.5.3.1.4, without CR LF */
	SASL_MAX = 12288,  /* RFC 4954 section 4.9, likewise */
	ESC_LEN = 12
};

enum stage {
	HANDSHAKE,
	GREETING,
	EHLO,
	STARTTLS,
	AUTH,
	IDLE,
	RSET,
	MAIL,
	RCPT,
	DATA,
	BODY,
	DOT,      /* the message is sent whole */
	LONE_DOT, /* 354 came though no recipient was taken */
	QUIT,
	CLOSED
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
	[LONE_DOT] = "the reply to an empty message",
	[QUIT] = "the reply to QUIT",
	[CLOSED] = "nothing",
};

struct reply {
	uint16_t code;
	char esc[ESC_LEN];               /* "" if none was given */
	char text[SMTP_CLIENT_TEXT + 1]; /* code, then the text of all lines */
	size_t len;
	size_t lines;
};

enum rcpt_state {
	RCPT_WAITING,
	RCPT_ACCEPTED,
	RCPT_DONE,  /* it has its result */
	RCPT_UNSENT /* likewise, and no RCPT is said for it */
};

struct smtp_client {
	const struct smtp_client_conf *conf;
	void *arg;

	enum stage stage;
	bool tls;
	bool auth_said; /* the response with the password has left */
	bool was_ready;
	bool dirty; /* the smarthost may still be inside a transaction */
	unsigned offers;
	uint64_t size_limit; /* 0: none declared */
	unsigned long replies;

	char line[SMTP_CLIENT_LINE];
	size_t line_len;
	struct reply reply;

	/* the message that is being sent */
	const char *from;
	const char **to;
	unsigned char *rcpt; /* enum rcpt_state of each */
	size_t rcpts, next, accepted;
	uint64_t size;
	bool eightbit, grouped, mail_ok, answered;
	struct dotline_out dots;

	struct smtp_client_result failure;
	bool failed;
	char failure_esc[ESC_LEN], failure_text[SMTP_CLIENT_TEXT + 1];
};

/* ---- results ---- */

static void
give_result(struct smtp_client *c, size_t n, const struct smtp_client_result *r)
{
	if (c->rcpt[n] == RCPT_DONE || c->rcpt[n] == RCPT_UNSENT)
		return;
	c->rcpt[n] = RCPT_DONE;
	c->conf->result(c->arg, n, r);
}

/* To every recipient that has none yet. */
static void
give_all(struct smtp_client *c, const struct smtp_client_result *r)
{
	size_t i;

	for (i = 0; i < c->rcpts; i++)
		give_result(c, i, r);
}

static void
forget_message(struct smtp_client *c)
{
	free(c->to);
	free(c->rcpt);
	c->to = NULL;
	c->rcpt = NULL;
	c->rcpts = c->next = c->accepted = 0;
}

static void
message_over(struct smtp_client *c)
{
	forget_message(c);
	c->stage = IDLE;
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
	forget_message(c);
}

/* Without a reply: if the whole message had left, nobody knows. */
static void
fail(struct smtp_client *c, enum trouble_kind trouble, const char *esc,
    const char *text)
{
	end_session(c, trouble, esc, text, c->stage == DOT);
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

/* Puts a reply as a result; esc needs ESC_LEN bytes. */
static void
judge(
    const struct reply *r, bool soft, struct smtp_client_result *out, char *esc)
{
	*out = (struct smtp_client_result){
		.code = r->code, .esc = esc, .text = r->text
	};
	snprintf(esc, ESC_LEN, "%s", r->esc[0] != '\0' ? r->esc : "5.0.0");
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
	char esc[ESC_LEN];

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

static void
add_mail(struct smtp_client *c, struct buf *b)
{
	char size[32];

	add(b, "MAIL FROM:<");
	add(b, c->from);
	add(b, ">");
	if ((c->offers & SMTP_OFFERS_SIZE) != 0) {
		snprintf(size, sizeof(size), " SIZE=%llu",
		    (unsigned long long)c->size);
		add(b, size);
	}
	if (c->eightbit)
		add(b, " BODY=8BITMIME");
	add(b, "\r\n");
}

static void
add_rcpt(struct smtp_client *c, size_t n, struct buf *b)
{
	add(b, "RCPT TO:<");
	add(b, c->to[n]);
	add(b, ">\r\n");
}

/* The next recipient from n on that gets a RCPT. */
static size_t
next_rcpt(const struct smtp_client *c, size_t n)
{
	while (n < c->rcpts && c->rcpt[n] == RCPT_UNSENT)
		n++;
	return n;
}

static void
say_group(struct smtp_client *c)
{
	struct buf b = { 0 };
	size_t i;

	if (c->dirty)
		add(&b, "RSET\r\n");
	add_mail(c, &b);
	for (i = next_rcpt(c, 0); i < c->rcpts; i = next_rcpt(c, i + 1))
		add_rcpt(c, i, &b);
	add(&b, "DATA\r\n");
	c->conf->write(c->arg, buf_head(&b), b.len);
	buf_clear(&b);
}

/* The reply to s is due next; its command is said unless it has been. */
static void
enter(struct smtp_client *c, enum stage s)
{
	struct buf b = { 0 };

	c->stage = s;
	if (c->grouped)
		return;
	if (s == RSET)
		add(&b, "RSET\r\n");
	else if (s == MAIL)
		add_mail(c, &b);
	else if (s == RCPT)
		add_rcpt(c, c->next, &b);
	else if (s == DATA)
		add(&b, "DATA\r\n");
	c->conf->write(c->arg, buf_head(&b), b.len);
	buf_clear(&b);
}

static void
say_ehlo(struct smtp_client *c)
{
	struct buf b = { 0 };

	c->offers = 0;
	c->size_limit = 0;
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

static void
on_mail(struct smtp_client *c, const struct reply *r)
{
	if (r->code >= 300 && r->code < 400) {
		fail_protocol(c, r);
		return;
	}
	/* Also after a refusal: a group's RCPT and DATA are on their way. */
	c->dirty = true;
	c->mail_ok = r->code < 300;
	c->next = next_rcpt(c, 0);
	if (!c->mail_ok && !c->grouped) {
		settle_all(c, r);
		c->dirty = false;
		message_over(c);
	} else {
		enter(c, RCPT);
		if (!c->mail_ok)
			settle_all(c, r);
	}
}

/* "Too many recipients" under any of its names defers the rest, which goes
 * in another transaction (RFC 5321 section 4.5.3.1.10). */
static bool
is_too_many(const struct smtp_client *c, const struct reply *r)
{
	return c->accepted > 0 &&
	    (strcmp(r->esc, "5.5.3") == 0 ||
		(r->code == 552 && r->esc[0] == '\0'));
}

static void
on_rcpt(struct smtp_client *c, const struct reply *r)
{
	struct smtp_client_result res;
	char esc[ESC_LEN];
	size_t n = c->next;

	if (r->code >= 300 && r->code < 400) {
		fail_protocol(c, r);
		return;
	}
	if (c->rcpt[n] == RCPT_WAITING && r->code < 300) {
		c->rcpt[n] = RCPT_ACCEPTED;
		c->accepted++;
	} else {
		judge(r, is_too_many(c, r), &res, esc);
		give_result(c, n, &res);
	}
	c->next = next_rcpt(c, n + 1);
	if (c->next < c->rcpts)
		enter(c, RCPT);
	else if (c->grouped || c->accepted > 0)
		enter(c, DATA);
	else
		message_over(c);
}

static void
on_data(struct smtp_client *c, const struct reply *r)
{
	if (r->code == 354 && c->accepted > 0) {
		c->stage = BODY;
		dotline_out_init(&c->dots);
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

static void
take_reply(struct smtp_client *c)
{
	c->replies++;
	if (c->reply.code == 421) {
		on_closing(c, &c->reply);
		return;
	}
	c->answered = true;
	on_reply[c->stage](c, &c->reply);
}

/* ---- reply lines ---- */

static bool
is_keyword(const char *line, size_t len, const char *word)
{
	size_t n = strlen(word);

	return len >= n && strncasecmp(line, word, n) == 0 &&
	    (len == n || line[n] == ' ');
}

static uint64_t
size_limit(const char *digits, size_t len)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < len && isdigit((unsigned char)digits[i]); i++) {
		if (n > UINT64_MAX / 10 - 1)
			return 0; /* more than anything */
		n = n * 10 + (uint64_t)(digits[i] - '0');
	}
	return n;
}

static bool
has_word(const char *s, size_t len, const char *word)
{
	size_t n;

	while (len > 0) {
		for (n = 0; n < len && s[n] != ' '; n++)
			continue;
		if (n == strlen(word) && strncasecmp(s, word, n) == 0)
			return true;
		n = n < len ? n + 1 : n;
		s += n;
		len -= n;
	}
	return false;
}

/* One line of the reply to EHLO, but the first. */
static void
take_keyword(struct smtp_client *c, const char *s, size_t len)
{
	static const struct {
		const char *word;
		unsigned offers;
	} plain[] = {
		{ "PIPELINING", SMTP_OFFERS_PIPELINING },
		{ "8BITMIME", SMTP_OFFERS_8BITMIME },
		{ "STARTTLS", SMTP_OFFERS_STARTTLS },
		{ "SIZE", SMTP_OFFERS_SIZE },
	};
	size_t i;

	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (is_keyword(s, len, plain[i].word))
			c->offers |= plain[i].offers;
	if (is_keyword(s, len, "SIZE") && len > 5)
		c->size_limit = size_limit(s + 5, len - 5);
	/* Old servers also write AUTH=PLAIN. */
	if (len > 5 && strncasecmp(s, "AUTH", 4) == 0 &&
	    (s[4] == ' ' || s[4] == '=') && has_word(s + 5, len - 5, "PLAIN"))
		c->offers |= SMTP_OFFERS_AUTH_PLAIN;
}

/* Bytes of an enhanced code and the blank behind it at s, 0 if there is none
 * of this class (RFC 2034 section 4). */
static size_t
esc_len(const char *s, size_t len, char class)
{
	size_t i = 1, part, digits;

	if (len < 5 || s[0] != class)
		return 0;
	for (part = 0; part < 2; part++) {
		if (i >= len || s[i++] != '.')
			return 0;
		for (digits = 0; i < len && isdigit((unsigned char)s[i]); i++)
			digits++;
		if (digits < 1 || digits > 3)
			return 0;
	}
	if (i == len)
		return i;
	return s[i] == ' ' ? i + 1 : 0;
}

static char
printable(char ch)
{
	if (ch == '\t')
		return ' ';
	return ch >= ' ' && ch <= '~' ? ch : '?';
}

/* Appends text, printable and cut. */
static void
add_text(struct reply *r, const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len && r->len < SMTP_CLIENT_TEXT; i++)
		r->text[r->len++] = printable(s[i]);
	r->text[r->len] = '\0';
}

static void
begin_reply(struct reply *r, const char *line, size_t esc, uint16_t code)
{
	*r = (struct reply){ .code = code };
	if (esc > 0)
		snprintf(r->esc, sizeof(r->esc), "%.*s",
		    (int)strcspn(line + 4, " "), line + 4);
	add_text(r, line, 3);
}

/* The line's code, 0 if it is no reply line. */
static uint16_t
line_code(const char *s, size_t len)
{
	if (len < 3 || s[0] < '2' || s[0] > '5' ||
	    !isdigit((unsigned char)s[1]) || !isdigit((unsigned char)s[2]) ||
	    (len > 3 && s[3] != ' ' && s[3] != '-'))
		return 0;
	return (
	    uint16_t)((s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0'));
}

static void
fail_garbage(struct smtp_client *c, const char *what)
{
	char text[SMTP_CLIENT_TEXT + 1];

	snprintf(text, sizeof(text), "%s as %s", what, stage_text[c->stage]);
	fail(c, TROUBLE_REPLY, "4.5.0", text);
}

/* One line without its end; line[len] is NUL. */
static void
take_line(struct smtp_client *c, const char *line, size_t len)
{
	struct reply *r = &c->reply;
	uint16_t code = line_code(line, len);
	const char *text = len > 4 ? line + 4 : "";
	size_t text_len = len > 4 ? len - 4 : 0, esc;

	if (code == 0 || (r->lines > 0 && code != r->code)) {
		fail_garbage(c, "a line that is no SMTP reply came");
		return;
	}
	esc = esc_len(text, text_len, line[0]);
	if (r->lines == 0)
		begin_reply(r, line, esc, code);
	else if (c->stage == EHLO)
		take_keyword(c, text, text_len);
	if (r->lines > 0) { /* the enhanced code is said once */
		text += esc;
		text_len -= esc;
	}
	if (text_len > 0)
		add_text(r, " ", 1);
	add_text(r, text, text_len);
	if (++r->lines > SMTP_CLIENT_LINES) {
		fail_garbage(c, "a reply of too many lines came");
	} else if (len == 3 || line[3] == ' ') {
		take_reply(c);
		r->lines = 0;
	}
}

static void
end_line(struct smtp_client *c)
{
	size_t len = c->line_len;

	c->line_len = 0;
	if (len > 0 && c->line[len - 1] == '\r')
		len--;
	c->line[len] = '\0';
	take_line(c, c->line, len);
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
			fail_garbage(c, "too long a line came");
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
	if (*cp != NULL)
		forget_message(*cp);
	free(*cp);
	*cp = NULL;
}

enum smtp_client_want
smtp_client_want(const struct smtp_client *c)
{
	switch (c->stage) {
	case HANDSHAKE:
		return SMTP_CLIENT_TLS;
	case IDLE:
		return SMTP_CLIENT_IDLE;
	case BODY:
		return SMTP_CLIENT_BODY;
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
	return c->offers;
}

/* No address may carry a command of its own. */
static bool
is_sendable(const char *addr)
{
	for (; *addr != '\0'; addr++)
		if ((unsigned char)*addr < ' ' || *addr == 0x7f)
			return false;
	return true;
}

/* Whether the smarthost's limits let the message be tried at all. */
static bool
is_possible(struct smtp_client *c)
{
	struct smtp_client_result r = { .kind = RESULT_FAILED,
		.trouble = TROUBLE_REPLY };
	char text[160];

	r.text = text;
	if (c->size_limit > 0 && c->size > c->size_limit) {
		r.esc = "5.3.4";
		snprintf(text, sizeof(text),
		    "the message has %llu bytes, the smarthost takes %llu",
		    (unsigned long long)c->size,
		    (unsigned long long)c->size_limit);
	} else if (c->eightbit && (c->offers & SMTP_OFFERS_8BITMIME) == 0) {
		r.esc = "5.6.3";
		snprintf(text, sizeof(text),
		    "the message holds 8-bit text, the smarthost takes 7-bit "
		    "only (it does not offer 8BITMIME)");
	} else if (!is_sendable(c->from)) {
		r.esc = "5.1.7";
		r.trouble = TROUBLE_LOCAL;
		snprintf(text, sizeof(text), "the sender cannot be sent");
	} else {
		return true;
	}
	give_all(c, &r);
	return false;
}

static void
drop_unsendable(struct smtp_client *c)
{
	struct smtp_client_result r = { .kind = RESULT_FAILED,
		.trouble = TROUBLE_LOCAL,
		.esc = "5.1.3",
		.text = "the address cannot be sent" };
	size_t i;

	for (i = 0; i < c->rcpts; i++)
		if (!is_sendable(c->to[i])) {
			give_result(c, i, &r);
			c->rcpt[i] = RCPT_UNSENT;
		}
}

void
smtp_client_send(struct smtp_client *c, const struct smtp_client_msg *m)
{
	assert(c->stage == IDLE);
	assert(m->rcpts > 0 && m->rcpts <= SMTP_CLIENT_RCPTS);
	c->from = m->from;
	c->to = xcalloc(m->rcpts, sizeof(*c->to));
	memcpy(c->to, m->to, m->rcpts * sizeof(*c->to));
	c->rcpt = xcalloc(m->rcpts, 1);
	c->rcpts = m->rcpts;
	c->size = m->size;
	c->eightbit = m->eightbit;
	c->mail_ok = c->answered = false;
	c->grouped = (c->offers & SMTP_OFFERS_PIPELINING) != 0;
	drop_unsendable(c);
	if (!is_possible(c) || next_rcpt(c, 0) == c->rcpts) {
		message_over(c);
		return;
	}
	if (c->grouped)
		say_group(c);
	enter(c, c->dirty ? RSET : MAIL);
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
	if (c->stage == BODY && len > 0)
		dotline_out_feed(&c->dots, data, len, body_sink, c);
}

void
smtp_client_body_end(struct smtp_client *c)
{
	if (c->stage != BODY)
		return;
	dotline_out_end(&c->dots, body_sink, c);
	c->stage = DOT;
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
	return c->stage == DOT;
}

bool
smtp_client_answered(const struct smtp_client *c)
{
	return c->answered;
}

bool
smtp_client_was_ready(const struct smtp_client *c)
{
	return c->was_ready;
}
