/*
 * Tests of submitd/smtp_client.c.  Dialogues are scripts, one line a step:
 *
 *	< LINE      the smarthost says it
 *	> LINE      the client must have said it, and nothing before it
 *	!tls        a handshake is wanted and succeeds
 *	!send N     a message to r0@x.test ... rN-1@x.test begins
 *	!eager N    the same, said while the smarthost is known to be there
 *	!follow N   a message is said behind the one that has just left
 *	!alone      none may be
 *	!big N      one that is too large is not
 *	!body       the body is wanted and given
 *	!half       the same for its first half
 *	!quit       the owner has had enough
 *	!lost TEXT  the connection breaks
 *
 * Each script is played three times: lines of the smarthost in one piece, line
 * by line, and byte by byte; nothing may differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/mem.h"
#include "submitd/smtp_client.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BODY     "Subject: t\r\n\r\n.dot\r\n"

enum play { PIECES, LINES, BYTES, PLAYS };

enum opt { IMPLICIT = 1, LOGIN = 2, EIGHTBIT = 4, BIG = 8, LONG_LOGIN = 16 };

struct player {
	const char *row;
	enum play how;
	struct smtp_client *c;
	struct buf said;    /* by the client, not yet expected by the script */
	struct buf heard;   /* lines of the smarthost not yet fed */
	char results[4096]; /* one line each */
	size_t rcpts, done;
	size_t behind; /* recipients of the message that was said so */
	bool tls;
};

static void
on_write(void *arg, const void *p, size_t len)
{
	struct player *pl = arg;

	assert_true(len > 0);
	if (!pl->tls) /* the promise of the header */
		assert_true(strncmp(p, "EHLO ", 5) == 0 ||
		    strncmp(p, "STARTTLS\r\n", 10) == 0);
	buf_add(&pl->said, p, len);
}

static const char *const kinds[] = { "delivered", "deferred", "failed" };
static const char *const troubles[] = { "none", "reply", "connect", "dns",
	"tls", "auth", "local" };

static size_t
show(char *out, size_t size, const struct smtp_client_result *r)
{
	return (size_t)snprintf(out, size, "%s %s %u %s %s%s%s%s%s\n",
	    kinds[r->kind], troubles[r->trouble], r->code, r->esc, r->text,
	    r->unsure ? " (unsure)" : "", r->rest ? " (rest)" : "",
	    (r->avoid & SMTP_AVOID_BDAT) != 0 ? " (avoid BDAT)" : "",
	    (r->avoid & SMTP_AVOID_MAIL_AUTH) != 0 ? " (avoid AUTH)" : "");
}

static void
on_result(void *arg, size_t n, const struct smtp_client_result *r)
{
	struct player *pl = arg;
	size_t len = strlen(pl->results);

	assert_true(n < pl->rcpts);
	pl->done++;
	/* esc agrees with kind */
	assert_int_equal(r->esc[0], "245"[r->kind]);
	len += (size_t)snprintf(
	    pl->results + len, sizeof(pl->results) - len, "%zu ", n);
	show(pl->results + len, sizeof(pl->results) - len, r);
}

static void
on_turn(void *arg)
{
	struct player *pl = arg;
	size_t len = strlen(pl->results);

	assert_true(pl->behind > 0 && pl->done == pl->rcpts);
	snprintf(pl->results + len, sizeof(pl->results) - len, "turn\n");
	pl->rcpts = pl->behind;
	pl->behind = pl->done = 0;
}

static void
flush_heard(struct player *pl)
{
	size_t i;

	if (pl->how == BYTES)
		for (i = 0; i < pl->heard.len; i++)
			smtp_client_input(pl->c, buf_head(&pl->heard) + i, 1);
	else if (pl->heard.len > 0)
		smtp_client_input(pl->c, buf_head(&pl->heard), pl->heard.len);
	buf_clear(&pl->heard);
}

static void
expect_said(struct player *pl, const char *line, size_t len)
{
	flush_heard(pl);
	if (pl->said.len < len + 2 ||
	    memcmp(buf_head(&pl->said), line, len) != 0 ||
	    memcmp(buf_head(&pl->said) + len, "\r\n", 2) != 0)
		fail_msg("%s: said \"%.*s\", expected \"%.*s\"", pl->row,
		    (int)pl->said.len, (char *)buf_head(&pl->said), (int)len,
		    line);
	buf_drop(&pl->said, len + 2);
}

static void
expect_want(struct player *pl, enum smtp_client_want w)
{
	flush_heard(pl);
	if (smtp_client_want(pl->c) != w)
		fail_msg("%s: wants %d, expected %d", pl->row,
		    (int)smtp_client_want(pl->c), (int)w);
}

static struct smtp_client_msg
message(size_t rcpts, unsigned opts)
{
	static const char *const to[] = { "r0@x.test", "r1@x.test", "r2@x.test",
		"r3@x.test" };

	assert_true(rcpts <= COUNT(to));
	return (struct smtp_client_msg){ .from = "s@x.test",
		.to = to,
		.rcpts = rcpts,
		.size = (opts & BIG) != 0 ? 2000000 : strlen(BODY),
		.body = (opts & EIGHTBIT) != 0 ? BODY_8BITMIME : BODY_7BIT };
}

static void
send_message(struct player *pl, size_t rcpts, unsigned opts, bool eager)
{
	struct smtp_client_msg m = message(rcpts, opts);

	m.eager = eager;
	expect_want(pl, SMTP_CLIENT_IDLE);
	pl->rcpts = rcpts;
	pl->done = 0;
	smtp_client_send(pl->c, &m);
}

static void
follow(struct player *pl, size_t rcpts, unsigned opts)
{
	struct smtp_client_msg m = message(rcpts, opts);
	bool fits = (opts & BIG) == 0;

	expect_want(pl, SMTP_CLIENT_REPLY);
	assert_true(smtp_client_may_follow(pl->c));
	pl->behind = fits ? rcpts : 0;
	assert_int_equal(smtp_client_follow(pl->c, &m), fits);
	assert_int_equal(smtp_client_may_follow(pl->c), !fits);
}

static void
body(struct player *pl, size_t len)
{
	const char *p;

	expect_want(pl, SMTP_CLIENT_BODY);
	for (p = BODY; p < BODY + len; p++)
		smtp_client_body(pl->c, p, 1);
	if (len == strlen(BODY)) {
		smtp_client_body_end(pl->c);
		return;
	}
	assert_int_equal(pl->said.len, len);
	buf_drop(&pl->said, len);
}

static void
step(struct player *pl, const char *line, size_t len, unsigned opts)
{
	char text[128];

	if (line[0] == '<') {
		buf_add(&pl->heard, line + 2, len - 2);
		buf_add(&pl->heard, "\r\n", 2);
		if (pl->how == LINES)
			flush_heard(pl);
	} else if (line[0] == '>') {
		expect_said(pl, line + 2, len - 2);
	} else if (strncmp(line, "!tls", 4) == 0) {
		expect_want(pl, SMTP_CLIENT_TLS);
		pl->tls = true;
		smtp_client_tls_up(pl->c);
	} else if (strncmp(line, "!send ", 6) == 0) {
		send_message(pl, (size_t)(line[6] - '0'), opts, false);
	} else if (strncmp(line, "!eager ", 7) == 0) {
		send_message(pl, (size_t)(line[7] - '0'), opts, true);
	} else if (strncmp(line, "!follow ", 8) == 0) {
		follow(pl, (size_t)(line[8] - '0'), opts);
	} else if (strncmp(line, "!big ", 5) == 0) {
		follow(pl, (size_t)(line[5] - '0'), opts | BIG);
	} else if (strncmp(line, "!alone", 6) == 0) {
		flush_heard(pl);
		assert_false(smtp_client_may_follow(pl->c));
	} else if (strncmp(line, "!body", 5) == 0) {
		body(pl, strlen(BODY));
	} else if (strncmp(line, "!half", 5) == 0) {
		body(pl, strlen(BODY) / 2);
	} else if (strncmp(line, "!quit", 5) == 0) {
		expect_want(pl, SMTP_CLIENT_IDLE);
		smtp_client_quit(pl->c);
	} else if (strncmp(line, "!lost ", 6) == 0) {
		flush_heard(pl);
		snprintf(text, sizeof(text), "%.*s", (int)len - 6, line + 6);
		smtp_client_lost(pl->c, TROUBLE_CONNECT, text);
	} else {
		fail_msg("%s: bad script line %.*s", pl->row, (int)len, line);
	}
}

static struct smtp_client_conf
config(unsigned opts)
{
	static char long_name[4000];
	struct smtp_client_conf conf = { .helo = "me.test",
		.implicit_tls = (opts & IMPLICIT) != 0,
		.write = on_write,
		.result = on_result,
		.turn = on_turn };

	memset(long_name, 'u', 400);
	if ((opts & LOGIN) != 0)
		conf.user = "ann";
	if ((opts & LONG_LOGIN) != 0)
		conf.user = long_name;
	conf.password = (struct blob){ .p = "secret", .len = 6 };
	return conf;
}

/* Plays script up to its end; the player is cleared by finish(). */
static void
play(struct player *pl, const char *script, unsigned opts)
{
	const char *line, *nl;

	for (line = script; *line != '\0'; line = nl + 1) {
		nl = strchr(line, '\n');
		assert_non_null(nl);
		step(pl, line, (size_t)(nl - line), opts);
	}
	flush_heard(pl);
}

static void
finish(struct player *pl)
{
	smtp_client_free(&pl->c);
	buf_clear(&pl->said);
	buf_clear(&pl->heard);
}

#define GREET      "< 220 sh.test ESMTP\n> EHLO me.test\n"
#define CLEAR_EHLO "< 250-sh.test\n< 250 STARTTLS\n> STARTTLS\n"
#define TLS        "< 220 go\n!tls\n> EHLO me.test\n"
#define START      GREET CLEAR_EHLO TLS
#define GROUPED                                                                \
	START "< 250-sh.test\n< 250-SIZE 1000000\n"                            \
	      "< 250-8bitmime\n< 250 PIPELINING\n"
#define SERIAL START "< 250 sh.test\n"
#define CHUNKING                                                               \
	START "< 250-sh.test\n< 250-SIZE\n< 250-CHUNKING\n< 250 PIPELINING\n"
#define SAID_BDAT  "> BDAT 20 LAST\n"
#define SAID_CHUNK "> Subject: t\n> \n> .dot\n"
#define LOGGED_IN                                                              \
	"< 250-sh.test\n< 250 AUTH PLAIN\n> AUTH PLAIN AGFubgBzZWNyZXQ=\n"     \
	"< 235 ok\n"
#define SAID_MAIL "> MAIL FROM:<s@x.test> SIZE=20\n"
#define SAID_2                                                                 \
	SAID_MAIL "> RCPT TO:<r0@x.test>\n> RCPT TO:<r1@x.test>\n> DATA\n"
#define SAID_1    SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
#define SAID_BODY "> Subject: t\n> \n> ..dot\n> .\n"

static const struct dialogue {
	const char *name;
	unsigned opts;
	const char *script;
	const char *results;        /* of all recipients, in order */
	enum smtp_client_want want; /* at the end */
	const char *failure;        /* "" if nothing went wrong */
} dialogues[] = {
	/* clang-format off */
	{ "one message in a group", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 250 ok\n< 251 ok\n"
	    "< 354 go\n!body\n" SAID_BODY "< 250 2.0.0 queued\n",
	    "0 delivered none 250 2.0.0 250 2.0.0 queued\n"
	    "1 delivered none 250 2.0.0 250 2.0.0 queued\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "one message step by step", 0,
	    SERIAL "!send 2\n> MAIL FROM:<s@x.test>\n< 250 ok\n"
	    "> RCPT TO:<r0@x.test>\n< 250 ok\n> RCPT TO:<r1@x.test>\n"
	    "< 250 ok\n> DATA\n< 354 go\n!body\n" SAID_BODY "< 250 fine\n"
	    "!quit\n> QUIT\n< 221 bye\n",
	    "0 delivered none 250 2.0.0 250 fine\n"
	    "1 delivered none 250 2.0.0 250 fine\n",
	    SMTP_CLIENT_CLOSE, "" },
	{ "two messages on one connection, no RSET between", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 354 go\n!body\n" SAID_BODY
	    "< 250 2.6.0 one\n!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    "> DATA\n< 250 ok\n< 250 ok\n< 354 go\n!body\n" SAID_BODY
	    "< 250 2.6.0 two\n",
	    "0 delivered none 250 2.6.0 250 2.6.0 one\n"
	    "0 delivered none 250 2.6.0 250 2.6.0 two\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "one behind another: its commands leave with the dot", 0,
	    GROUPED "!alone\n!send 1\n" SAID_1 "!alone\n< 250 ok\n< 250 ok\n"
	    "< 354 go\n!body\n!big 1\n!follow 2\n!alone\n" SAID_BODY SAID_2
	    "< 250 2.6.0 one\n< 250 ok\n< 550 5.1.1 no\n< 250 ok\n"
	    "< 354 go\n!body\n!follow 1\n" SAID_BODY SAID_1
	    "< 250 2.6.0 two\n< 250 ok\n< 250 ok\n< 354 go\n!body\n"
	    SAID_BODY "< 250 2.6.0 three\n!quit\n> QUIT\n< 221 bye\n",
	    "0 delivered none 250 2.6.0 250 2.6.0 one\nturn\n"
	    "0 failed reply 550 5.1.1 550 5.1.1 no\n"
	    "1 delivered none 250 2.6.0 250 2.6.0 two\nturn\n"
	    "0 delivered none 250 2.6.0 250 2.6.0 three\n",
	    SMTP_CLIENT_CLOSE, "" },
	{ "one behind another that is refused after the dot", 0,
	    GROUPED "!send 1\n" SAID_1 "< 250 ok\n< 250 ok\n< 354 go\n!body\n"
	    "!follow 1\n" SAID_BODY SAID_1 "< 554 5.6.0 bad\n< 250 ok\n"
	    "< 250 ok\n< 354 go\n!body\n" SAID_BODY "< 250 2.6.0 two\n",
	    "0 failed reply 554 5.6.0 554 5.6.0 bad\nturn\n"
	    "0 delivered none 250 2.6.0 250 2.6.0 two\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "the one behind is refused: RSET before the next", 0,
	    GROUPED "!send 1\n" SAID_1 "< 250 ok\n< 250 ok\n< 354 go\n!body\n"
	    "!follow 1\n" SAID_BODY SAID_1 "< 250 2.6.0 one\n< 250 ok\n"
	    "< 550 5.1.1 no\n< 554 5.5.1 none\n!alone\n!send 1\n> RSET\n"
	    SAID_1 "< 250 ok\n< 250 ok\n< 250 ok\n< 354 go\n!body\n" SAID_BODY
	    "< 250 2.6.0 three\n",
	    "0 delivered none 250 2.6.0 250 2.6.0 one\nturn\n"
	    "0 failed reply 550 5.1.1 550 5.1.1 no\n"
	    "0 delivered none 250 2.6.0 250 2.6.0 three\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "lost before its turn: the one behind was not sent", 0,
	    GROUPED "!send 1\n" SAID_1 "< 250 ok\n< 250 ok\n< 354 go\n!body\n"
	    "!follow 2\n" SAID_BODY SAID_2 "!lost connection lost\n",
	    "0 deferred connect 0 4.4.2 connection lost while waiting for the "
	    "reply to the message (unsure)\n",
	    SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.4.2 connection lost while waiting for the "
	    "reply to the message (unsure)\n" },
	{ "421 for the dot: the one behind was not sent", 0,
	    GROUPED "!send 1\n" SAID_1 "< 250 ok\n< 250 ok\n< 354 go\n!body\n"
	    "!follow 1\n" SAID_BODY SAID_1 "< 421 4.3.2 bye\n",
	    "0 deferred reply 0 4.3.2 the smarthost closes the connection: "
	    "421 4.3.2 bye\n",
	    SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.3.2 the smarthost closes the connection: "
	    "421 4.3.2 bye\n" },
	{ "421 when its turn has come", 0,
	    GROUPED "!send 1\n" SAID_1 "< 250 ok\n< 250 ok\n< 354 go\n!body\n"
	    "!follow 1\n" SAID_BODY SAID_1 "< 250 2.6.0 one\n"
	    "< 421 4.7.0 enough\n",
	    "0 delivered none 250 2.6.0 250 2.6.0 one\nturn\n"
	    "0 deferred reply 0 4.7.0 the smarthost closes the connection: "
	    "421 4.7.0 enough\n",
	    SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.7.0 the smarthost closes the connection: "
	    "421 4.7.0 enough\n" },
	{ "none behind another without PIPELINING", 0,
	    SERIAL "!send 1\n> MAIL FROM:<s@x.test>\n< 250 ok\n"
	    "> RCPT TO:<r0@x.test>\n< 250 ok\n> DATA\n< 354 go\n!body\n"
	    SAID_BODY "!alone\n< 250 2.6.0 one\n",
	    "0 delivered none 250 2.6.0 250 2.6.0 one\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "nor behind BDAT, whose failure wants RSET", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n" SAID_BDAT
	    "!body\n" SAID_CHUNK "!alone\n< 250 ok\n!alone\n< 250 ok\n"
	    "!alone\n< 250 2.6.0 one\n",
	    "0 delivered none 250 2.6.0 250 2.6.0 one\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "implicit TLS: the handshake comes first", IMPLICIT,
	    "!tls\n< 220 hi\n> EHLO me.test\n< 250 sh.test\n", "",
	    SMTP_CLIENT_IDLE, "" },
	{ "offers made in clear are forgotten", LOGIN,
	    GREET "< 250-sh.test\n< 250-PIPELINING\n< 250-AUTH PLAIN\n"
	    "< 250 STARTTLS\n> STARTTLS\n" TLS "< 250 sh.test\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred auth 0 4.7.4 the smarthost does not offer AUTH PLAIN\n" },
	{ "greeting of several lines", 0,
	    "< 220-sh.test\n< 220-welcome\n< 220\n> EHLO me.test\n"
	    "< 250-x\n< 250-\n< 250 STARTTLS\n> STARTTLS\n", "",
	    SMTP_CLIENT_REPLY, "" },

	/* the session is refused: always deferred */
	{ "greeting 554", 0, "< 554 5.7.1 go away\n", "", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.3.2 the smarthost refused the connection: "
	    "554 5.7.1 go away\n" },
	{ "greeting 421", 0, "< 421 4.3.2 busy\n", "", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.3.2 the smarthost closes the connection: "
	    "421 4.3.2 busy\n" },
	{ "EHLO refused", 0, GREET "< 502 what\n", "", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.3.2 the smarthost refused EHLO: 502 what\n"
	},
	{ "no STARTTLS", 0, GREET "< 250-sh.test\n< 250 XSTARTTLS\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred tls 0 4.7.4 the smarthost does not offer STARTTLS\n" },
	{ "STARTTLS refused", 0, GREET CLEAR_EHLO "< 454 4.7.0 not now\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred tls 0 4.7.4 the smarthost refused STARTTLS: "
	    "454 4.7.0 not now\n" },
	{ "STARTTLS refused for good", 0, GREET CLEAR_EHLO "< 554 5.1.1 no\n",
	    "", SMTP_CLIENT_CLOSE,
	    "deferred tls 0 4.7.4 the smarthost refused STARTTLS: "
	    "554 5.1.1 no\n" },
	{ "a reply behind the 220 of STARTTLS", 0,
	    GREET CLEAR_EHLO "< 220 go\n< 250-sh.test\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred tls 0 4.7.5 data came in clear behind the smarthost's "
	    "reply to STARTTLS: somebody may have injected it\n" },
	{ "lost in the greeting", 0, "< 220-hel\n!lost connection lost\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.4.2 connection lost while waiting for the "
	    "greeting\n" },

	/* AUTH */
	{ "AUTH PLAIN", LOGIN,
	    START "< 250-sh.test\n< 250 AUTH LOGIN PLAIN\n"
	    "> AUTH PLAIN AGFubgBzZWNyZXQ=\n< 235 ok\n", "",
	    SMTP_CLIENT_IDLE, "" },
	{ "AUTH=PLAIN of old servers", LOGIN,
	    START "< 250-sh.test\n< 250 AUTH=PLAIN\n"
	    "> AUTH PLAIN AGFubgBzZWNyZXQ=\n< 235 ok\n", "",
	    SMTP_CLIENT_IDLE, "" },
	{ "another mechanism only", LOGIN,
	    START "< 250-sh.test\n< 250 AUTH LOGIN PLAINX XPLAIN\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred auth 0 4.7.4 the smarthost does not offer AUTH PLAIN\n" },
	{ "wrong password", LOGIN,
	    START "< 250-sh.test\n< 250 AUTH PLAIN\n"
	    "> AUTH PLAIN AGFubgBzZWNyZXQ=\n< 535 5.7.8 no\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred auth 0 4.7.8 the smarthost refused the login: "
	    "535 5.7.8 no\n" },
	{ "mechanism too weak", LOGIN,
	    START "< 250-sh.test\n< 250 AUTH PLAIN\n"
	    "> AUTH PLAIN AGFubgBzZWNyZXQ=\n< 534 5.7.9 no\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred auth 0 4.7.8 the smarthost refused the login: "
	    "534 5.7.9 no\n" },
	{ "login for now refused", LOGIN,
	    START "< 250-sh.test\n< 250 AUTH PLAIN\n"
	    "> AUTH PLAIN AGFubgBzZWNyZXQ=\n< 454 4.7.0 later\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred auth 0 4.7.8 the smarthost refused the login: "
	    "454 4.7.0 later\n" },
	{ "a challenge after the initial response", LOGIN,
	    START "< 250-sh.test\n< 250 AUTH PLAIN\n"
	    "> AUTH PLAIN AGFubgBzZWNyZXQ=\n< 334 more\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred auth 0 4.7.8 the smarthost refused the login: "
	    "334 more\n" },
	{ "235 before the password was said", LONG_LOGIN,
	    START "< 250-sh.test\n< 250 AUTH PLAIN\n> AUTH PLAIN\n"
	    "< 235 welcome\n", "", SMTP_CLIENT_CLOSE,
	    "deferred auth 0 4.7.8 the smarthost refused the login: "
	    "235 welcome\n" },
	{ "530 to MAIL is about our login: never a bounce", 0,
	    SERIAL "!send 1\n> MAIL FROM:<s@x.test>\n< 530 5.7.0 login\n",
	    "0 deferred auth 530 4.7.0 530 5.7.0 login\n",
	    SMTP_CLIENT_IDLE, "" },

	/* this message is refused */
	{ "MAIL refused in a group, DATA refused too", 0,
	    GROUPED "!send 2\n" SAID_2 "< 550 5.7.1 no\n< 503 first\n"
	    "< 503 first\n< 503 first\n",
	    "0 failed reply 550 5.7.1 550 5.7.1 no\n"
	    "1 failed reply 550 5.7.1 550 5.7.1 no\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "MAIL refused step by step", 0,
	    SERIAL "!send 2\n> MAIL FROM:<s@x.test>\n< 452 full\n",
	    "0 deferred reply 452 4.0.0 452 full\n"
	    "1 deferred reply 452 4.0.0 452 full\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "no RSET where no transaction began", 0,
	    SERIAL "!send 1\n> MAIL FROM:<s@x.test>\n< 452 full\n"
	    "!send 1\n> MAIL FROM:<s@x.test>\n",
	    "0 deferred reply 452 4.0.0 452 full\n",
	    SMTP_CLIENT_REPLY, "" },
	{ "one recipient of two refused", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 550 5.1.1 unknown\n"
	    "< 250 ok\n< 354 go\n!body\n" SAID_BODY "< 250 ok\n",
	    "0 failed reply 550 5.1.1 550 5.1.1 unknown\n"
	    "1 delivered none 250 2.0.0 250 ok\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "one deferred, one refused, one taken", 0,
	    SERIAL "!send 3\n> MAIL FROM:<s@x.test>\n< 250 ok\n"
	    "> RCPT TO:<r0@x.test>\n< 450 4.2.0 later\n"
	    "> RCPT TO:<r1@x.test>\n< 553 bad\n> RCPT TO:<r2@x.test>\n"
	    "< 250 ok\n> DATA\n< 354 go\n!body\n" SAID_BODY "< 250 ok\n",
	    "0 deferred reply 450 4.2.0 450 4.2.0 later\n"
	    "1 failed reply 553 5.0.0 553 bad\n"
	    "2 delivered none 250 2.0.0 250 ok\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "all refused step by step: no DATA, RSET before the next", 0,
	    SERIAL "!send 1\n> MAIL FROM:<s@x.test>\n< 250 ok\n"
	    "> RCPT TO:<r0@x.test>\n< 550 no\n!send 1\n> RSET\n< 250 ok\n"
	    "> MAIL FROM:<s@x.test>\n",
	    "0 failed reply 550 5.0.0 550 no\n", SMTP_CLIENT_REPLY, "" },
	{ "all refused in a group: DATA refused, RSET in the next group", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 550 no\n< 551 no\n"
	    "< 554 no recipients\n!send 1\n> RSET\n" SAID_MAIL
	    "> RCPT TO:<r0@x.test>\n> DATA\n< 250 ok\n< 250 ok\n< 250 ok\n"
	    "< 354 go\n!body\n" SAID_BODY "< 250 ok\n",
	    "0 failed reply 550 5.0.0 550 no\n"
	    "1 failed reply 551 5.0.0 551 no\n"
	    "0 delivered none 250 2.0.0 250 ok\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "all refused in a group: a lone dot ends DATA", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 550 no\n< 551 no\n"
	    "< 354 go\n> .\n< 554 none\n",
	    "0 failed reply 550 5.0.0 550 no\n"
	    "1 failed reply 551 5.0.0 551 no\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "MAIL refused in a group, DATA goes on: a lone dot", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 451 4.7.1 later\n< 250 ok\n< 354 go\n> .\n< 250 taken\n",
	    "0 deferred reply 451 4.7.1 451 4.7.1 later\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "452 too many recipients", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 250 ok\n"
	    "< 452 4.5.3 too many\n< 354 go\n!body\n" SAID_BODY "< 250 ok\n",
	    "1 deferred reply 452 4.5.3 452 4.5.3 too many (rest)\n"
	    "0 delivered none 250 2.0.0 250 ok\n", SMTP_CLIENT_IDLE, "" },
	{ "552 too many recipients counts as 452", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 250 ok\n"
	    "< 552 too many\n< 354 go\n!body\n" SAID_BODY "< 250 ok\n",
	    "1 deferred reply 552 4.0.0 552 too many (rest)\n"
	    "0 delivered none 250 2.0.0 250 ok\n", SMTP_CLIENT_IDLE, "" },
	{ "too many, but none was taken: the next transaction helps nobody", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 452 4.5.3 too many\n"
	    "< 452 too many\n< 554 no recipients\n",
	    "0 deferred reply 452 4.5.3 452 4.5.3 too many\n"
	    "1 deferred reply 452 4.0.0 452 too many\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "452 4.3.1 is a full disk, not too many", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 250 ok\n"
	    "< 452 4.3.1 full\n< 354 go\n!body\n" SAID_BODY "< 250 ok\n",
	    "1 deferred reply 452 4.3.1 452 4.3.1 full\n"
	    "0 delivered none 250 2.0.0 250 ok\n", SMTP_CLIENT_IDLE, "" },
	{ "552 5.2.2 is a full mailbox", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 250 ok\n"
	    "< 552 5.2.2 over quota\n< 354 go\n!body\n" SAID_BODY "< 250 ok\n",
	    "1 failed reply 552 5.2.2 552 5.2.2 over quota\n"
	    "0 delivered none 250 2.0.0 250 ok\n", SMTP_CLIENT_IDLE, "" },
	{ "DATA refused", 0,
	    GROUPED "!send 2\n" SAID_2 "< 250 ok\n< 250 ok\n< 550 5.1.1 no\n"
	    "< 451 later\n",
	    "1 failed reply 550 5.1.1 550 5.1.1 no\n"
	    "0 deferred reply 451 4.0.0 451 later\n", SMTP_CLIENT_IDLE, "" },
	{ "message refused at the dot", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 354 go\n!body\n" SAID_BODY
	    "< 554-5.6.0 bad\n< 554 5.6.0 content\n",
	    "0 failed reply 554 5.6.0 554 5.6.0 bad content\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "an enhanced code of another class is not believed", 0,
	    SERIAL "!send 1\n> MAIL FROM:<s@x.test>\n< 550 4.7.1 hm\n",
	    "0 failed reply 550 5.0.0 550 4.7.1 hm\n", SMTP_CLIENT_IDLE, "" },
	{ "no enhanced code, but numbers", 0,
	    SERIAL "!send 1\n> MAIL FROM:<s@x.test>\n< 550 5.1.1234 hm\n",
	    "0 failed reply 550 5.0.0 550 5.1.1234 hm\n",
	    SMTP_CLIENT_IDLE, "" },

	/* limits known from EHLO */
	{ "larger than SIZE", BIG,
	    GROUPED "!send 2\n",
	    "0 failed reply 0 5.3.4 the message has 2000000 bytes, the "
	    "smarthost takes 1000000\n"
	    "1 failed reply 0 5.3.4 the message has 2000000 bytes, the "
	    "smarthost takes 1000000\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "SIZE without a number is no limit", BIG,
	    START "< 250-sh.test\n< 250 SIZE\n!send 1\n"
	    "> MAIL FROM:<s@x.test> SIZE=2000000\n", "",
	    SMTP_CLIENT_REPLY, "" },
	{ "SIZE 0 is no limit", BIG,
	    START "< 250-sh.test\n< 250 SIZE 0\n!send 1\n"
	    "> MAIL FROM:<s@x.test> SIZE=2000000\n", "",
	    SMTP_CLIENT_REPLY, "" },
	{ "SIZE past any number is no limit", BIG,
	    START "< 250-sh.test\n< 250 SIZE 99999999999999999999999999\n"
	    "!send 1\n> MAIL FROM:<s@x.test> SIZE=2000000\n", "",
	    SMTP_CLIENT_REPLY, "" },
	{ "8-bit where 8BITMIME is offered", EIGHTBIT,
	    START "< 250-sh.test\n< 250 8BITMIME\n!send 1\n"
	    "> MAIL FROM:<s@x.test> BODY=8BITMIME\n", "",
	    SMTP_CLIENT_REPLY, "" },
	{ "8-bit where it is not", EIGHTBIT,
	    SERIAL "!send 1\n",
	    "0 failed reply 0 5.6.3 the message holds 8-bit text, the "
	    "smarthost takes 7-bit only (it does not offer 8BITMIME)\n",
	    SMTP_CLIENT_IDLE, "" },

	/* BDAT */
	{ "BDAT, after the recipients", 0,
	    CHUNKING "!send 2\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    "> RCPT TO:<r1@x.test>\n< 250 ok\n< 550 5.1.1 no\n< 250 ok\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 250 2.0.0 queued\n",
	    "0 failed reply 550 5.1.1 550 5.1.1 no\n"
	    "1 delivered none 250 2.0.0 250 2.0.0 queued\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "BDAT, all in one group", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 250 ok\n< 250 ok\n"
	    "< 250 2.0.0 queued\n!eager 1\n" SAID_MAIL
	    "> RCPT TO:<r0@x.test>\n" SAID_BDAT "!body\n" SAID_CHUNK
	    "< 250 ok\n< 250 ok\n< 250 2.0.0 again\n",
	    "0 delivered none 250 2.0.0 250 2.0.0 queued\n"
	    "0 delivered none 250 2.0.0 250 2.0.0 again\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "BDAT without pipelining", 0,
	    START "< 250-sh.test\n< 250 CHUNKING\n!eager 1\n"
	    "> MAIL FROM:<s@x.test>\n< 250 ok\n> RCPT TO:<r0@x.test>\n"
	    "< 250 ok\n" SAID_BDAT "!body\n" SAID_CHUNK "< 250 ok\n",
	    "0 delivered none 250 2.0.0 250 ok\n", SMTP_CLIENT_IDLE, "" },
	{ "BDAT: a long message waits for the recipients", BIG,
	    CHUNKING "!eager 1\n> MAIL FROM:<s@x.test> SIZE=2000000\n"
	    "> RCPT TO:<r0@x.test>\n", "", SMTP_CLIENT_REPLY, "" },
	{ "no BDAT when all recipients are refused", 0,
	    CHUNKING "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    "< 250 ok\n< 550 5.1.1 no\n!send 1\n> RSET\n" SAID_MAIL
	    "> RCPT TO:<r0@x.test>\n",
	    "0 failed reply 550 5.1.1 550 5.1.1 no\n", SMTP_CLIENT_REPLY, "" },
	{ "BDAT in the group, all recipients refused: its reply is awaited", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 250 ok\n< 550 5.1.1 no\n"
	    "< 554 5.5.1 no recipients\n!eager 1\n> RSET\n" SAID_MAIL
	    "> RCPT TO:<r0@x.test>\n" SAID_BDAT,
	    "0 failed reply 550 5.1.1 550 5.1.1 no\n", SMTP_CLIENT_BODY, "" },
	{ "BDAT in the group, MAIL refused", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 451 4.7.1 later\n"
	    "< 503 5.5.1 first\n< 503 5.5.1 first\n",
	    "0 deferred reply 451 4.7.1 451 4.7.1 later\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "BDAT in the group, taken though no recipient was", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 250 ok\n< 550 5.1.1 no\n"
	    "< 250 thanks\n!send 1\n> RSET\n" SAID_MAIL
	    "> RCPT TO:<r0@x.test>\n",
	    "0 failed reply 550 5.1.1 550 5.1.1 no\n", SMTP_CLIENT_REPLY, "" },
	{ "the message refused at BDAT: RSET before the next", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 250 ok\n< 250 ok\n"
	    "< 554 5.6.0 content\n!send 1\n> RSET\n" SAID_MAIL
	    "> RCPT TO:<r0@x.test>\n",
	    "0 failed reply 554 5.6.0 554 5.6.0 content\n",
	    SMTP_CLIENT_REPLY, "" },
	{ "deferred at BDAT", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 250 ok\n< 250 ok\n"
	    "< 452 4.3.1 full\n",
	    "0 deferred reply 452 4.3.1 452 4.3.1 full\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "BDAT not known: without it, on another connection", 0,
	    CHUNKING "!eager 2\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    "> RCPT TO:<r1@x.test>\n" SAID_BDAT "!body\n" SAID_CHUNK
	    "< 250 ok\n< 250 ok\n< 550 5.1.1 no\n"
	    "< 500 5.5.1 what is BDAT?\n< 500 5.5.1 what is Subject:?\n",
	    "1 failed reply 550 5.1.1 550 5.1.1 no\n"
	    "0 deferred reply 500 4.5.1 500 5.5.1 what is BDAT? (avoid BDAT)\n",
	    SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 the smarthost offers CHUNKING, but "
	    "refuses BDAT: 500 5.5.1 what is BDAT?\n" },
	{ "354 to BDAT", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 250 ok\n< 250 ok\n< 354 go\n",
	    "0 deferred reply 0 4.5.0 unexpected answer as the reply to the "
	    "message: 354 go\n", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 unexpected answer as the reply to the "
	    "message: 354 go\n" },
	{ "taken before the end of BDAT: not believed", 0,
	    CHUNKING "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    "< 250 ok\n< 250 ok\n" SAID_BDAT "!half\n"
	    "< 250 thanks\n",
	    "0 deferred reply 0 4.5.0 the smarthost answered before the end "
	    "of the message: 250 thanks\n", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 the smarthost answered before the end "
	    "of the message: 250 thanks\n" },
	{ "lost after BDAT and a reply: it may arrive twice", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 250 ok\n!lost gone\n",
	    "0 deferred connect 0 4.4.2 gone while waiting for the reply to "
	    "RCPT (unsure)\n", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.4.2 gone while waiting for the reply to "
	    "RCPT (unsure)\n" },
	{ "lost after BDAT, never heard: all the same", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "!lost gone\n",
	    "0 deferred connect 0 4.4.2 gone while waiting for the reply to "
	    "MAIL (unsure)\n", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.4.2 gone while waiting for the reply to "
	    "MAIL (unsure)\n" },
	{ "421 in place of all replies: it was not taken", 0,
	    CHUNKING "!eager 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    SAID_BDAT "!body\n" SAID_CHUNK "< 421 4.3.2 bye\n",
	    "0 deferred reply 0 4.3.2 the smarthost closes the connection: "
	    "421 4.3.2 bye\n", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.3.2 the smarthost closes the connection: "
	    "421 4.3.2 bye\n" },
	{ "lost inside of BDAT", 0,
	    CHUNKING "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    "< 250 ok\n< 250 ok\n" SAID_BDAT "!half\n"
	    "!lost gone\n",
	    "0 deferred connect 0 4.4.2 gone while waiting for the reply to "
	    "the message\n", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.4.2 gone while waiting for the reply to "
	    "the message\n" },

	/* AUTH=<> */
	{ "AUTH=<> for whom we are logged in at", LOGIN,
	    START LOGGED_IN "!send 1\n> MAIL FROM:<s@x.test> AUTH=<>\n", "",
	    SMTP_CLIENT_REPLY, "" },
	{ "AUTH=<> refused: without it", LOGIN,
	    START LOGGED_IN "!send 1\n> MAIL FROM:<s@x.test> AUTH=<>\n"
	    "< 555 5.5.4 what is AUTH?\n",
	    "0 deferred reply 555 4.5.4 555 5.5.4 what is AUTH? (avoid AUTH)\n",
	    SMTP_CLIENT_IDLE, "" },
	{ "the sender refused is the sender refused", LOGIN,
	    START LOGGED_IN "!send 1\n> MAIL FROM:<s@x.test> AUTH=<>\n"
	    "< 501 5.1.7 what a name\n",
	    "0 failed reply 501 5.1.7 501 5.1.7 what a name\n",
	    SMTP_CLIENT_IDLE, "" },

	/* 421, lost connections, nonsense */
	{ "421 to one RCPT defers what is not decided", 0,
	    GROUPED "!send 3\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n"
	    "> RCPT TO:<r1@x.test>\n> RCPT TO:<r2@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 550 5.1.1 no\n< 421 4.7.0 enough\n",
	    "1 failed reply 550 5.1.1 550 5.1.1 no\n"
	    "0 deferred reply 0 4.7.0 the smarthost closes the connection: "
	    "421 4.7.0 enough\n"
	    "2 deferred reply 0 4.7.0 the smarthost closes the connection: "
	    "421 4.7.0 enough\n",
	    SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.7.0 the smarthost closes the connection: "
	    "421 4.7.0 enough\n" },
	{ "421 at the dot is an answer: not taken", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 354 go\n!body\n" SAID_BODY "< 421 bye\n",
	    "0 deferred reply 0 4.3.2 the smarthost closes the connection: "
	    "421 bye\n", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.3.2 the smarthost closes the connection: "
	    "421 bye\n" },
	{ "lost after the dot: it may arrive twice", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 354 go\n!body\n" SAID_BODY
	    "!lost no answer in time,\n",
	    "0 deferred connect 0 4.4.2 no answer in time, while waiting for "
	    "the reply to the message (unsure)\n", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.4.2 no answer in time, while waiting for "
	    "the reply to the message (unsure)\n" },
	{ "lost before the dot: it does not", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 354 go\n!lost gone\n",
	    "0 deferred connect 0 4.4.2 gone while waiting for room to send "
	    "the message\n", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.4.2 gone while waiting for room to send "
	    "the message\n" },
	{ "refused before the end of the message", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 354 go\n< 552 5.3.4 too big\n",
	    "0 failed reply 552 5.3.4 552 5.3.4 too big\n",
	    SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 the smarthost answered before the end "
	    "of the message: 552 5.3.4 too big\n" },
	{ "taken before the end of the message: not believed", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 354 go\n< 250 thanks\n",
	    "0 deferred reply 0 4.5.0 the smarthost answered before the end "
	    "of the message: 250 thanks\n", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 the smarthost answered before the end "
	    "of the message: 250 thanks\n" },
	{ "421 while idle", 0, GROUPED "< 421 4.4.2 idle\n", "",
	    SMTP_CLIENT_CLOSE, "" },
	{ "closed while idle", 0, GROUPED "!lost gone\n", "",
	    SMTP_CLIENT_CLOSE, "" },
	{ "an answer nobody asked for", 0, GROUPED "< 250 ok\n", "",
	    SMTP_CLIENT_CLOSE, "deferred reply 0 4.5.0 unexpected answer as "
	    "nothing: 250 ok\n" },
	{ "250 to DATA", 0,
	    GROUPED "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 250 ok\n",
	    "0 deferred reply 0 4.5.0 unexpected answer as the reply to "
	    "DATA: 250 ok\n", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 unexpected answer as the reply to "
	    "DATA: 250 ok\n" },
	{ "RSET refused", 0,
	    SERIAL "!send 1\n> MAIL FROM:<s@x.test>\n< 250 ok\n"
	    "> RCPT TO:<r0@x.test>\n< 550 no\n!send 1\n> RSET\n< 500 what\n",
	    "0 failed reply 550 5.0.0 550 no\n"
	    "0 deferred reply 0 4.5.0 the smarthost refused RSET: 500 what\n",
	    SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 the smarthost refused RSET: 500 what\n" },
	{ "no SMTP server", 0, "< SSH-2.0-OpenSSH\n", "", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 a line that is no SMTP reply came as the "
	    "greeting\n" },
	{ "codes of one reply differ", 0, "< 220-a\n< 250 b\n", "",
	    SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 a line that is no SMTP reply came as the "
	    "greeting\n" },
	{ "a code out of range", 0, "< 120 a\n", "", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 a line that is no SMTP reply came as the "
	    "greeting\n" },
	{ "an empty line", 0, "< \n", "", SMTP_CLIENT_CLOSE,
	    "deferred reply 0 4.5.0 a line that is no SMTP reply came as the "
	    "greeting\n" },
	{ "text that would forge a log line is made plain", 0,
	    "< 554 a\x1b[2J\x80\x09z\n", "", SMTP_CLIENT_CLOSE,
	    "deferred connect 0 4.3.2 the smarthost refused the connection: "
	    "554 a?[2J? z\n" },
	/* clang-format on */
};

static void
scripts(void **state)
{
	char failure[2048];
	size_t i;
	int how;

	(void)state;
	for (i = 0; i < COUNT(dialogues); i++) {
		const struct dialogue *d = &dialogues[i];
		struct smtp_client_conf conf = config(d->opts);

		for (how = 0; how < PLAYS; how++) {
			struct player pl = { .row = d->name,
				.how = (enum play)how };

			pl.c = smtp_client_new(&conf, &pl);
			play(&pl, d->script, d->opts);
			failure[0] = '\0';
			if (smtp_client_failure(pl.c) != NULL)
				show(failure, sizeof(failure),
				    smtp_client_failure(pl.c));
			if (strcmp(pl.results, d->results) != 0)
				fail_msg(
				    "%s: results \"%s\"", d->name, pl.results);
			if (strcmp(failure, d->failure) != 0)
				fail_msg(
				    "%s: failure \"%s\"", d->name, failure);
			expect_want(&pl, d->want);
			if (pl.said.len > 0)
				fail_msg("%s: also said \"%.*s\"", d->name,
				    (int)pl.said.len,
				    (char *)buf_head(&pl.said));
			finish(&pl);
		}
	}
}

/* Expected commands are other rows' business: they are thrown away here. */
static void
play_deaf(struct player *pl, const char *script)
{
	const char *line, *nl;

	for (line = script; *line != '\0'; line = nl + 1) {
		nl = strchr(line, '\n');
		if (line[0] != '>')
			step(pl, line, (size_t)(nl - line), 0);
		flush_heard(pl);
	}
}

/* ---- what the sender asked for, and what the smarthost offers ---- */

#define UE     "\xc3\xbc"
#define NORMAL .opt.priority = PRIORITY_NORMAL

static const char *const to_ascii[] = { "r0@x.test", "r1@x.test" };
static const char *const to_utf8[] = { UE "@x.test", "r1@x.test" };

static const struct asked {
	const char *name;
	const char *offers; /* words of EHLO; ';' ends one */
	struct smtp_client_msg msg;
	struct rcpt_options rcpt[2];
	const char *said; /* lines, "" if it is refused at once */
	const char *results;
} asked[] = {
	/* clang-format off */
	{ "nothing asked, all offered",
	    "SIZE;8BITMIME;DSN;SMTPUTF8;REQUIRETLS;DELIVERBY;CHUNKING;"
	    "BINARYMIME;LIMITS RCPTMAX=5", { NORMAL }, { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> SIZE=20\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "all asked, nothing offered", "PIPELINING",
	    { .opt = { .ret = RET_FULL, .envid = "e1", .by_mode = BY_NOTIFY,
		.priority = 3 }, .by_s = 60 },
	    { { NOTIFY_NEVER, "rfc822;a@b" },
	      { NOTIFY_SUCCESS | NOTIFY_FAILURE, NULL } },
	    "MAIL FROM:<s@x.test>\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "DSN", "DSN",
	    { .opt = { .ret = RET_HDRS, .envid = "a+2Bb" } },
	    { { NOTIFY_NEVER, "rfc822;a+2Bb@c" },
	      { NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, NULL } },
	    "MAIL FROM:<s@x.test> RET=HDRS ENVID=a+2Bb\n"
	    "RCPT TO:<r0@x.test> NOTIFY=NEVER ORCPT=rfc822;a+2Bb@c\n"
	    "RCPT TO:<r1@x.test> NOTIFY=SUCCESS,FAILURE,DELAY\n", "" },
	{ "DSN: a report asks for none", "DSN",
	    { .from = "", .opt = { .ret = RET_FULL, .envid = "e" } },
	    { { NOTIFY_NEVER, NULL }, { NOTIFY_NEVER, NULL } },
	    "MAIL FROM:<>\nRCPT TO:<r0@x.test> NOTIFY=NEVER\n"
	    "RCPT TO:<r1@x.test> NOTIFY=NEVER\n", "" },
	{ "DSN: no parameter carries a command", "DSN",
	    { .opt = { .envid = "e RET=FULL" } },
	    { { 0, "rfc822;a\r\nRSET" }, { 0, "rfc822;a\177" } },
	    "MAIL FROM:<s@x.test>\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "ORCPT with UTF-8, for a message that needs no SMTPUTF8",
	    "DSN;SMTPUTF8", { NORMAL },
	    { { 0, "utf-8;" UE "\\x{2B}\xf0\x9f\x98\x80@b" }, { 0 } },
	    "MAIL FROM:<s@x.test>\n"
	    "RCPT TO:<r0@x.test> ORCPT=utf-8;\\x{FC}\\x{2B}\\x{1F600}@b\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "ORCPT with UTF-8, for one that does", "DSN;SMTPUTF8",
	    { .utf8 = true }, { { 0, "utf-8;" UE "@b" }, { 0 } },
	    "MAIL FROM:<s@x.test> SMTPUTF8\n"
	    "RCPT TO:<r0@x.test> ORCPT=utf-8;" UE "@b\n"
	    "RCPT TO:<r1@x.test>\n", "" },

	{ "AUTH: who is known goes wherever it is offered",
	    "AUTH PLAIN;DSN", { .opt = { .auth = "a+2Bb@c", .envid = "e" } },
	    { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> ENVID=e AUTH=a+2Bb@c\n"
	    "RCPT TO:<r0@x.test>\nRCPT TO:<r1@x.test>\n", "" },
	{ "AUTH not offered", "DSN", { .opt = { .auth = "a@c" } },
	    { { 0 }, { 0 } }, "MAIL FROM:<s@x.test>\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "AUTH: not ASCII, and no SMTPUTF8", "AUTH GSSAPI",
	    { .opt = { .auth = "+C3+BC@c" } },
	    { { 0 }, { 0 } }, "MAIL FROM:<s@x.test>\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "AUTH: not ASCII, with SMTPUTF8", "AUTH GSSAPI;SMTPUTF8",
	    { .opt = { .auth = "+C3+BC@c" } }, { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> AUTH=+C3+BC@c\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "AUTH: it carries no command", "AUTH PLAIN",
	    { .opt = { .auth = "a@c\r\nRSET" } },
	    { { 0 }, { 0 } }, "MAIL FROM:<s@x.test>\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },

	{ "REQUIRETLS", "REQUIRETLS", { .opt = { .require_tls = 1 } },
	    { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> REQUIRETLS\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "REQUIRETLS not offered", "DSN", { .opt = { .require_tls = 1 } },
	    { { 0 }, { 0 } }, "",
	    "failed reply 0 5.7.30 REQUIRETLS support required: the smarthost "
	    "does not offer REQUIRETLS, which the sender asked for\n" },
	{ "REQUIRETLS not offered: a report goes", "DSN",
	    { .from = "", .opt = { .require_tls = 1 } }, { { 0 }, { 0 } },
	    "MAIL FROM:<>\nRCPT TO:<r0@x.test>\nRCPT TO:<r1@x.test>\n", "" },

	{ "DELIVERBY", "DELIVERBY",
	    { .opt = { .by_mode = BY_RETURN, .by_trace = 1 }, .by_s = 60 },
	    { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> BY=60;RT\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "DELIVERBY: just enough time", "DELIVERBY 60",
	    { .opt = { .by_mode = BY_RETURN }, .by_s = 60 }, { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> BY=60;R\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "DELIVERBY: not enough time", "DELIVERBY 61",
	    { .opt = { .by_mode = BY_RETURN }, .by_s = 60 }, { { 0 }, { 0 } },
	    "",
	    "failed reply 0 5.4.7 60 seconds are left of the time for delivery "
	    "that the sender gave, the smarthost needs 61\n" },
	{ "DELIVERBY: no time", "DELIVERBY",
	    { .opt = { .by_mode = BY_RETURN }, .by_s = 0 }, { { 0 }, { 0 } },
	    "",
	    "failed reply 0 5.4.7 the time for delivery that the sender gave "
	    "is over\n" },
	{ "DELIVERBY not offered, to be returned", "DSN",
	    { .opt = { .by_mode = BY_RETURN }, .by_s = 60 }, { { 0 }, { 0 } },
	    "",
	    "failed reply 0 5.3.3 the sender gave a time for delivery, which "
	    "the smarthost cannot keep (it does not offer DELIVERBY)\n" },
	{ "DELIVERBY: the time to notify is over, the smarthost's is no limit",
	    "DELIVERBY 1000", { .opt = { .by_mode = BY_NOTIFY }, .by_s = -7 },
	    { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> BY=-7;N\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "DELIVERBY not offered, but DSN: it reports the delay", "DSN",
	    { .opt = { .by_mode = BY_NOTIFY }, .by_s = 60 },
	    { { 0, NULL }, { NOTIFY_SUCCESS, NULL } },
	    "MAIL FROM:<s@x.test>\n"
	    "RCPT TO:<r0@x.test> NOTIFY=FAILURE,DELAY\n"
	    "RCPT TO:<r1@x.test> NOTIFY=SUCCESS,DELAY\n", "" },
	{ "the same, if the sender wants to hear of nothing", "DSN",
	    { .opt = { .by_mode = BY_NOTIFY }, .by_s = 60 },
	    { { NOTIFY_NEVER, NULL }, { NOTIFY_DELAY, NULL } },
	    "MAIL FROM:<s@x.test>\n"
	    "RCPT TO:<r0@x.test> NOTIFY=NEVER\n"
	    "RCPT TO:<r1@x.test> NOTIFY=DELAY\n", "" },
	{ "the same, if the time is over: it was reported", "DSN",
	    { .opt = { .by_mode = BY_NOTIFY }, .by_s = 0 }, { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test>\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },

	{ "MT-PRIORITY", "MT-PRIORITY MIXER",
	    { .opt = { .priority = PRIORITY_MAX } }, { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> MT-PRIORITY=9\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "MT-PRIORITY: the lowest", "MT-PRIORITY", { .opt.priority = 0 },
	    { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> MT-PRIORITY=-9\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "MT-PRIORITY: the usual one is said, too", "MT-PRIORITY",
	    { NORMAL }, { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> MT-PRIORITY=0\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },

	{ "BINARYMIME", "CHUNKING;BINARYMIME", { .body = BODY_BINARYMIME },
	    { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test> BODY=BINARYMIME\nRCPT TO:<r0@x.test>\n"
	    "RCPT TO:<r1@x.test>\n", "" },
	{ "BINARYMIME without CHUNKING", "8BITMIME;BINARYMIME",
	    { .body = BODY_BINARYMIME }, { { 0 }, { 0 } }, "",
	    "failed reply 0 5.6.1 the message holds binary data, which the "
	    "smarthost does not take (it does not offer BINARYMIME)\n" },

	{ "SMTPUTF8", "SMTPUTF8;8BITMIME",
	    { .from = UE "@x.test", .to = to_utf8, .utf8 = true,
	      .body = BODY_8BITMIME }, { { 0 }, { 0 } },
	    "MAIL FROM:<" UE "@x.test> BODY=8BITMIME SMTPUTF8\n"
	    "RCPT TO:<" UE "@x.test>\nRCPT TO:<r1@x.test>\n", "" },
	{ "a header that is not ASCII, SMTPUTF8 not offered", "8BITMIME",
	    { .utf8 = true }, { { 0 }, { 0 } }, "",
	    "failed reply 0 5.6.9 the header of the message is not ASCII, "
	    "which the smarthost does not take (it does not offer "
	    "SMTPUTF8)\n" },
	{ "a sender that is not ASCII, SMTPUTF8 not offered", "8BITMIME",
	    { .from = UE "@x.test" }, { { 0 }, { 0 } }, "",
	    "failed reply 0 5.6.7 the sender's address is not ASCII, which "
	    "the smarthost does not take (it does not offer SMTPUTF8)\n" },
	{ "one recipient that is not ASCII, SMTPUTF8 not offered", "8BITMIME",
	    { .to = to_utf8 }, { { 0 }, { 0 } },
	    "MAIL FROM:<s@x.test>\nRCPT TO:<r1@x.test>\n",
	    "failed reply 0 5.6.7 the address is not ASCII, which the "
	    "smarthost does not take (it does not offer SMTPUTF8)\n" },
	/* clang-format on */
};

static void
say_offers(struct player *pl, const char *offers)
{
	char line[128];
	size_t n;

	for (; *offers != '\0'; offers += n, offers += *offers == ';') {
		n = strcspn(offers, ";");
		snprintf(line, sizeof(line), "< 250-%.*s\n", (int)n, offers);
		play(pl, line, 0);
	}
	play(pl, "< 250 PIPELINING\n", 0);
}

/* What was said, up to DATA; and the results, which are all the same. */
static void
check_asked(const struct asked *a, const struct player *pl)
{
	char *text =
	    xstrndup((const char *)buf_head(&pl->said), pl->said.len);
	char *from, *to;
	const char *p;

	for (from = to = text; *from != '\0'; from++)
		if (*from != '\r')
			*to++ = *from;
	*to = '\0';
	if ((to = strstr(text, "DATA\n")) != NULL)
		*to = '\0';
	if (strcmp(text, a->said) != 0)
		fail_msg("%s: said %s", a->name, text);
	free(text);
	if ((a->results[0] == '\0') != (pl->results[0] == '\0'))
		fail_msg("%s: results %s", a->name, pl->results);
	for (p = pl->results; *p != '\0'; p += strcspn(p, "\n") + 1)
		if (strncmp(p + 2, a->results, strlen(a->results)) != 0)
			fail_msg("%s: results %s", a->name, pl->results);
}

static void
options(void **state)
{
	struct smtp_client_conf conf = config(0);
	struct smtp_client_msg m;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(asked); i++) {
		struct player pl = { .row = asked[i].name, .how = LINES };

		m = asked[i].msg;
		if (m.from == NULL)
			m.from = "s@x.test";
		if (m.to == NULL)
			m.to = to_ascii;
		m.rcpt = asked[i].rcpt;
		m.rcpts = pl.rcpts = 2;
		m.size = strlen(BODY);
		pl.c = smtp_client_new(&conf, &pl);
		play(&pl, START "< 250-sh.test\n", 0);
		say_offers(&pl, asked[i].offers);
		smtp_client_send(pl.c, &m);
		check_asked(&asked[i], &pl);
		if (asked[i].said[0] == '\0')
			assert_int_equal(pl.done, 2);
		finish(&pl);
	}
}

static void
limits(void **state)
{
	static const struct {
		const char *line;
		struct smtp_client_limits want;
	} rows[] = {
		{ "LIMITS RCPTMAX=20 MAILMAX=5", { .rcpts = 20, .mails = 5 } },
		{ "limits rcptdomainmax=1", { .domains = 1 } },
		{ "LIMITS RCPTMAX=0 MAILMAX=01 RCPTDOMAINMAX=1000000", { 0 } },
		{ "LIMITS RCPTMAX=2x MAILMAX= OTHER=3 MAILMAX=999999",
		    { .mails = 999999 } },
		{ "LIMITS", { 0 } },
		{ "SIZE 1000", { .size = 1000 } },
		{ "DELIVERBY 30", { .by_min_s = 30 } },
		{ "DELIVERBY 99999999999", { .by_min_s = 999999999 } },
		{ "DELIVERBY", { 0 } },
		{ "XLIMITS RCPTMAX=20", { 0 } },
	};
	struct smtp_client_conf conf = config(0);
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		struct player pl = { .row = rows[i].line, .how = LINES };

		pl.c = smtp_client_new(&conf, &pl);
		play(&pl, START "< 250-sh.test\n", 0);
		say_offers(&pl, rows[i].line);
		if (memcmp(smtp_client_limits(pl.c), &rows[i].want,
			sizeof(rows[i].want)) != 0)
			fail_msg("%s", rows[i].line);
		finish(&pl);
	}
}

/* What the configuration says not to believe, and MAIL commands counted. */
static void
ignored(void **state)
{
	struct smtp_client_conf conf = config(0);
	struct player pl = { .row = "ignored", .how = LINES };

	(void)state;
	conf.ignore = " Chunking  LIMITS";
	pl.c = smtp_client_new(&conf, &pl);
	play(&pl,
	    START "< 250-sh.test\n< 250-CHUNKING\n< 250-LIMITS MAILMAX=1\n"
		  "< 250-DSN\n< 250 PIPELINING\n",
	    0);
	assert_int_equal(
	    smtp_client_offers(pl.c), SMTP_OFFERS_DSN | SMTP_OFFERS_PIPELINING);
	assert_int_equal(smtp_client_limits(pl.c)->mails, 0);
	play(&pl,
	    "!send 1\n> MAIL FROM:<s@x.test>\n> RCPT TO:<r0@x.test>\n"
	    "> DATA\n< 550 no\n< 503 no\n< 503 no\n",
	    0);
	assert_int_equal(smtp_client_mails(pl.c), 1);
	finish(&pl);

	/* the second is heeded from the next message on */
	conf.ignore = NULL;
	pl.c = smtp_client_new(&conf, &pl);
	play(&pl, CHUNKING, 0);
	conf.avoid = SMTP_AVOID_BDAT;
	play(&pl, "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n", 0);
	finish(&pl);
}

/* A message that is shorter than announced never looks whole. */
static void
short_chunk(void **state)
{
	struct smtp_client_conf conf = config(0);
	struct player pl = { .row = "short chunk", .how = LINES };

	(void)state;
	pl.c = smtp_client_new(&conf, &pl);
	play_deaf(&pl, CHUNKING "!send 1\n< 250 a\n< 250 b\n");
	expect_want(&pl, SMTP_CLIENT_BODY);
	smtp_client_body(pl.c, "abc", 3);
	smtp_client_body_end(pl.c);
	expect_want(&pl, SMTP_CLIENT_CLOSE);
	assert_non_null(strstr(pl.results, "0 deferred local 0 4.3.0"));
	finish(&pl);
}

/*
 * Every class of reply at every stage.  What must hold is computed here from
 * the class alone: each recipient gets exactly one result; before the session
 * is ready nothing fails; a refusal of this mail keeps its class.
 */
static const struct stage_row {
	const char *name, *script;
	char good; /* class of the reply that goes on */
	bool mail; /* a reply to this mail */
} stages[] = {
	{ "greeting", "", '2', false },
	{ "EHLO in clear", GREET, '2', false },
	{ "STARTTLS", GREET CLEAR_EHLO, '2', false },
	{ "EHLO", START, '2', false },
	{ "AUTH", START "< 250-x\n< 250 AUTH PLAIN\n", '2', false },
	{ "MAIL", SERIAL "!send 2\n", '2', true },
	{ "MAIL in a group", GROUPED "!send 2\n", '2', true },
	{ "RCPT", SERIAL "!send 2\n< 250 ok\n", '2', true },
	{ "RCPT in a group", GROUPED "!send 2\n< 250 ok\n", '2', true },
	{ "DATA", SERIAL "!send 2\n< 250 ok\n< 250 ok\n< 250 ok\n", '3', true },
	{ "DATA in a group", GROUPED "!send 2\n< 250 ok\n< 250 ok\n< 250 ok\n",
	    '3', true },
	{ "BDAT in a group",
	    CHUNKING "!eager 2\n!body\n< 250 ok\n< 250 ok\n< 250 ok\n", '2',
	    true },
	{ "dot",
	    GROUPED "!send 2\n< 250 ok\n< 250 ok\n< 250 ok\n< 354 ok\n"
		    "!body\n",
	    '2', true },
	{ "RSET", SERIAL "!send 1\n< 250 ok\n< 550 no\n!send 2\n", '2', false },
};

static const char *const replies[] = {
	"250 ok",
	"220 ok",
	"235 ok",
	"354 ok",
	"334 ok",
	"299 odd",
	"421 4.0.0 bye",
	"450 4.2.0 later",
	"451 later",
	"452 4.5.3 x",
	"500 what",
	"501 x",
	"503 x",
	"530 5.7.0 x",
	"535 5.7.8 x",
	"538 x",
	"550 5.1.1 no",
	"552 x",
	"554 5.7.1 x",
	"555 x",
	"521 x",
	"199 x",
	"600 x",
	"25",
	"2500 x",
	"garbage",
	"",
};

static void
check_stage(const struct stage_row *s, const char *reply)
{
	struct smtp_client_conf conf =
	    config(strcmp(s->name, "AUTH") == 0 ? LOGIN : 0);
	struct player pl = { .row = s->name, .how = PIECES };
	const char *want;
	char line[64];
	bool is_reply = strlen(reply) > 4 && reply[3] == ' ' &&
	    reply[0] >= '2' && reply[0] <= '5';
	bool auth = strncmp(reply, "53", 2) == 0;
	bool dot = strcmp(s->name, "dot") == 0;
	bool bdat = strncmp(s->name, "BDAT", 4) == 0;
	/* 500 to 503: it is BDAT that is refused, not this mail */
	bool unknown = bdat && strncmp(reply, "50", 2) == 0;

	pl.c = smtp_client_new(&conf, &pl);
	play_deaf(&pl, s->script);
	pl.results[0] = '\0';
	snprintf(line, sizeof(line), "< %s\n", reply);
	play_deaf(&pl, line);
	if (!s->mail && strstr(pl.results, "failed") != NULL)
		fail_msg("%s: %s: failed: %s", s->name, reply, pl.results);
	smtp_client_lost(pl.c, TROUBLE_CONNECT, "gone");
	assert_int_equal(smtp_client_want(pl.c), SMTP_CLIENT_CLOSE);
	if (pl.done != pl.rcpts)
		fail_msg("%s: %s: %zu results for %zu", s->name, reply, pl.done,
		    pl.rcpts);
	if (s->mail) {
		want = is_reply && reply[0] == '5' && !auth && !unknown
		    ? "failed"
		    : is_reply && reply[0] == '2' && (dot || bdat) ? "delivered"
								   : "deferred";
		if (strstr(pl.results, want) == NULL)
			fail_msg("%s: %s: not %s: %s", s->name, reply, want,
			    pl.results);
	} else if (is_reply && reply[0] >= '4') {
		assert_non_null(smtp_client_failure(pl.c));
	}
	finish(&pl);
}

static void
every_reply_at_every_stage(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(stages); i++)
		for (k = 0; k < COUNT(replies); k++)
			check_stage(&stages[i], replies[k]);
}

/* The response does not fit a command line: it follows the challenge. */
static void
long_password_waits_for_challenge(void **state)
{
	struct smtp_client_conf conf = config(LONG_LOGIN);
	struct player pl = { .row = "long login", .how = LINES };

	(void)state;
	pl.c = smtp_client_new(&conf, &pl);
	play(&pl, START "< 250-x\n< 250 AUTH PLAIN\n> AUTH PLAIN\n< 334 \n", 0);
	assert_true(pl.said.len > 512 + 2);
	buf_drop(&pl.said, pl.said.len);
	play(&pl, "< 235 ok\n", 0);
	expect_want(&pl, SMTP_CLIENT_IDLE);
	finish(&pl);
}

static void
too_long_for_auth(void **state)
{
	static char huge[20000];
	struct smtp_client_conf conf = config(0);
	struct player pl = { .row = "huge login", .how = LINES };

	(void)state;
	memset(huge, 'p', sizeof(huge));
	conf.user = "u";
	conf.password = (struct blob){ .p = huge, .len = sizeof(huge) };
	pl.c = smtp_client_new(&conf, &pl);
	play(&pl, START "< 250-x\n< 250 AUTH PLAIN\n", 0);
	expect_want(&pl, SMTP_CLIENT_CLOSE);
	assert_int_equal(smtp_client_failure(pl.c)->trouble, TROUBLE_AUTH);
	assert_int_equal(pl.said.len, 0);
	finish(&pl);
}

static void
long_lines_and_replies(void **state)
{
	struct smtp_client_conf conf = config(0);
	struct player pl = { .row = "long line", .how = LINES };
	char line[SMTP_CLIENT_LINE + 1];
	int i;

	(void)state;
	/* the longest line that is taken */
	memset(line, 'x', sizeof(line));
	memcpy(line, "554 ", 4);
	pl.c = smtp_client_new(&conf, &pl);
	smtp_client_input(pl.c, line, SMTP_CLIENT_LINE - 1);
	expect_want(&pl, SMTP_CLIENT_REPLY);
	smtp_client_input(pl.c, "\n", 1);
	assert_int_equal(smtp_client_failure(pl.c)->code, 0);
	assert_int_equal(
	    strlen(smtp_client_failure(pl.c)->text), SMTP_CLIENT_TEXT);
	finish(&pl);

	/* one byte more, though no line end came yet */
	pl.c = smtp_client_new(&conf, &pl);
	smtp_client_input(pl.c, line, SMTP_CLIENT_LINE);
	expect_want(&pl, SMTP_CLIENT_CLOSE);
	assert_string_equal(smtp_client_failure(pl.c)->text,
	    "too long a line came as the greeting");
	finish(&pl);

	pl.c = smtp_client_new(&conf, &pl);
	for (i = 0; i < SMTP_CLIENT_LINES; i++) {
		expect_want(&pl, SMTP_CLIENT_REPLY);
		smtp_client_input(pl.c, "220-x\r\n", 7);
	}
	smtp_client_input(pl.c, "220-x\r\n", 7);
	expect_want(&pl, SMTP_CLIENT_CLOSE);
	assert_string_equal(smtp_client_failure(pl.c)->text,
	    "a reply of too many lines came as the greeting");
	finish(&pl);
}

/* A NUL inside a line is text like any other. */
static void
nul_in_reply(void **state)
{
	struct smtp_client_conf conf = config(0);
	struct player pl = { .row = "NUL", .how = LINES };

	(void)state;
	pl.c = smtp_client_new(&conf, &pl);
	smtp_client_input(pl.c, "554 a\0b\r\n", 9);
	assert_non_null(strstr(smtp_client_failure(pl.c)->text, ": 554 a?b"));
	finish(&pl);
}

static void
addresses_carry_no_command(void **state)
{
	static const char *const to[] = { "a@x.test>\r\nRCPT TO:<b@x.test",
		"c@x.test", "d\x7f@x.test" };
	struct smtp_client_conf conf = config(0);
	struct smtp_client_msg m = {
		.from = "s@x.test", .to = to, .rcpts = 3, .size = 10
	};
	struct player pl = { .row = "addresses", .how = PIECES, .rcpts = 3 };

	(void)state;
	pl.c = smtp_client_new(&conf, &pl);
	play(&pl, GROUPED, 0);
	smtp_client_send(pl.c, &m);
	play(&pl,
	    "> MAIL FROM:<s@x.test> SIZE=10\n> RCPT TO:<c@x.test>\n> DATA\n"
	    "< 250 ok\n< 250 ok\n< 354 go\n",
	    0);
	assert_string_equal(pl.results,
	    "0 failed local 0 5.1.3 the address cannot be sent\n"
	    "2 failed local 0 5.1.3 the address cannot be sent\n");
	expect_want(&pl, SMTP_CLIENT_BODY);
	smtp_client_body_end(pl.c);
	play(&pl, "> .\n< 250 ok\n", 0);
	assert_int_equal(pl.done, 3);

	m.from = "s@x.test>\r\nRSET";
	pl.done = 0;
	pl.results[0] = '\0';
	smtp_client_send(pl.c, &m);
	expect_want(&pl, SMTP_CLIENT_IDLE);
	assert_int_equal(pl.done, 3);
	assert_int_equal(pl.said.len, 0);
	assert_non_null(strstr(pl.results, "1 failed local 0 5.1.7"));
	finish(&pl);
}

/* What relay asks to choose deadlines and to try again elsewhere. */
static void
questions(void **state)
{
	struct smtp_client_conf conf = config(0);
	struct player pl = { .row = "questions", .how = LINES };
	unsigned long n;

	(void)state;
	pl.c = smtp_client_new(&conf, &pl);
	assert_false(smtp_client_was_ready(pl.c));
	play(&pl, GROUPED, 0);
	assert_true(smtp_client_was_ready(pl.c));
	assert_int_equal(smtp_client_offers(pl.c),
	    SMTP_OFFERS_PIPELINING | SMTP_OFFERS_8BITMIME | SMTP_OFFERS_SIZE);
	n = smtp_client_replies(pl.c);
	play(&pl, "!send 1\n" SAID_MAIL "> RCPT TO:<r0@x.test>\n> DATA\n", 0);
	assert_false(smtp_client_answered(pl.c));
	play(&pl, "< 250 ok\n", 0);
	assert_true(smtp_client_answered(pl.c));
	assert_int_equal(smtp_client_replies(pl.c), n + 1);
	play(&pl, "< 250 ok\n< 354 ok\n", 0);
	assert_false(smtp_client_is_final(pl.c));
	play(&pl, "!body\n", 0);
	assert_true(smtp_client_is_final(pl.c));
	finish(&pl);

	pl.c = smtp_client_new(&conf, &pl);
	pl.done = 0;
	play(&pl, SERIAL "!send 1\n> MAIL FROM:<s@x.test>\n< 421 idle\n", 0);
	assert_false(smtp_client_answered(pl.c));
	assert_int_equal(pl.done, 1);
	finish(&pl);
}

/* The body in pieces of any size is the same on the wire. */
static void
body_pieces(void **state)
{
	static const char text[] = ".\r\n..\r\na\r\n.b\r\nno end";
	static const char wire[] = "..\r\n...\r\na\r\n..b\r\nno end\r\n.\r\n";
	struct smtp_client_conf conf = config(0);
	size_t piece, i, n;

	(void)state;
	for (piece = 1; piece < sizeof(text); piece++) {
		struct player pl = { .row = "pieces", .how = LINES };

		pl.c = smtp_client_new(&conf, &pl);
		play_deaf(&pl, GROUPED "!send 1\n< 250 a\n< 250 b\n< 354 c\n");
		buf_drop(&pl.said, pl.said.len);
		for (i = 0; i < sizeof(text) - 1; i += n) {
			n = sizeof(text) - 1 - i;
			n = n > piece ? piece : n;
			smtp_client_body(pl.c, text + i, n);
		}
		smtp_client_body_end(pl.c);
		assert_int_equal(pl.said.len, sizeof(wire) - 1);
		assert_memory_equal(buf_head(&pl.said), wire, pl.said.len);
		finish(&pl);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scripts),
		cmocka_unit_test(every_reply_at_every_stage),
		cmocka_unit_test(long_password_waits_for_challenge),
		cmocka_unit_test(too_long_for_auth),
		cmocka_unit_test(long_lines_and_replies),
		cmocka_unit_test(nul_in_reply),
		cmocka_unit_test(addresses_carry_no_command),
		cmocka_unit_test(questions),
		cmocka_unit_test(body_pieces),
		cmocka_unit_test(options),
		cmocka_unit_test(limits),
		cmocka_unit_test(ignored),
		cmocka_unit_test(short_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
