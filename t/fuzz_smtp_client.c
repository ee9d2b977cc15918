/*
 * Feeds a smarthost's bytes to the client dialogue and does whatever it wants
 * next.  The first byte chooses options, the second how many bytes arrive at
 * a time (0: all).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(x)                                                               \
	do {                                                                   \
		if (!(x))                                                      \
			abort();                                               \
	} while (0)

enum { RCPTS = 3, MESSAGES = 3 };

struct run {
	struct smtp_client *c;
	int tls, messages, behind; /* behind: of them, one waits its turn */
	int done[RCPTS];
	size_t rcpts, results; /* of the present one */
};

static void
on_write(void *arg, const void *p, size_t len)
{
	const struct run *r = arg;

	CHECK(len > 0);
	if (!r->tls)
		CHECK((len > 5 && memcmp(p, "EHLO ", 5) == 0) ||
		    (len == 10 && memcmp(p, "STARTTLS\r\n", 10) == 0));
}

static void
on_result(void *arg, size_t n, const struct smtp_client_result *res)
{
	struct run *r = arg;
	const char *p;

	CHECK(n < r->rcpts && r->done[n] == 0);
	r->done[n] = 1;
	r->results++;
	CHECK(res->esc[0] == "245"[res->kind]);
	CHECK(strlen(res->text) <= SMTP_CLIENT_TEXT);
	for (p = res->text; *p != '\0'; p++)
		CHECK(*p >= ' ' && *p <= '~');
	CHECK((res->kind == RESULT_DELIVERED) == (res->trouble == 0));
}

/* With a recipient that can be said to nobody, or without. */
static struct smtp_client_msg
message(unsigned opts, size_t rcpts)
{
	static const char *const to[RCPTS] = { "a@x", "d@x", "b\r\nc@x" };
	static const struct rcpt_options rcpt[RCPTS] = {
		{ .notify = NOTIFY_NEVER },
		{ .notify = NOTIFY_SUCCESS | NOTIFY_DELAY,
		    .orcpt = "rfc822;d+2B=\xc3\xa9@x" },
	};
	struct smtp_client_msg m = { .from = "",
		.to = to,
		.rcpts = rcpts,
		.size = 100000,
		.body = (opts & 4) != 0 ? BODY_8BITMIME : BODY_7BIT };

	if ((opts & 16) != 0) { /* all that a sender can ask for */
		m.rcpt = rcpt;
		m.opt = (struct mail_options){ .envid = "id",
			.ret = RET_HDRS,
			.by_mode = (opts & 32) != 0 ? BY_RETURN : BY_NOTIFY,
			.priority = PRIORITY_NORMAL + 1 };
		m.by_s = 90;
		m.opt.require_tls = (opts & 64) != 0;
		m.utf8 = (opts & 128) != 0;
	}
	return m;
}

static void
begin(struct run *r, size_t rcpts)
{
	CHECK(r->results == r->rcpts);
	memset(r->done, 0, sizeof(r->done));
	r->rcpts = rcpts;
	r->results = 0;
}

static void
on_turn(void *arg)
{
	struct run *r = arg;

	CHECK(r->behind == 1);
	begin(r, RCPTS - 1);
	r->behind = 0;
}

static void
send_message(struct run *r, unsigned opts)
{
	struct smtp_client_msg m = message(opts, RCPTS);

	begin(r, RCPTS);
	r->messages++;
	smtp_client_send(r->c, &m);
}

static void
follow(struct run *r, unsigned opts)
{
	struct smtp_client_msg m = message(opts, RCPTS - 1);

	if ((opts & 8) == 0 || r->messages == MESSAGES ||
	    !smtp_client_may_follow(r->c))
		return;
	CHECK(r->behind == 0);
	r->behind = smtp_client_follow(r->c, &m);
	r->messages += r->behind;
}

static void
serve(struct run *r, unsigned opts)
{
	int turns = 0;

	for (;;) {
		CHECK(turns++ < 4 * MESSAGES + 8);
		switch (smtp_client_want(r->c)) {
		case SMTP_CLIENT_TLS:
			r->tls = 1;
			smtp_client_tls_up(r->c);
			break;
		case SMTP_CLIENT_IDLE:
			if (r->messages < MESSAGES)
				send_message(r, opts);
			else
				smtp_client_quit(r->c);
			break;
		case SMTP_CLIENT_BODY:
			smtp_client_body(r->c, "x\r\n.\r\n", 6);
			smtp_client_body_end(r->c);
			follow(r, opts);
			break;
		default:
			return;
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct smtp_client_conf conf = { .helo = "me",
		.password = { .p = "pw", .len = 2 },
		.write = on_write,
		.result = on_result,
		.turn = on_turn };
	struct run r = { 0 };
	unsigned opts;
	size_t piece, n;

	if (len < 2)
		return 0;
	opts = data[0];
	piece = data[1];
	data += 2;
	len -= 2;
	conf.implicit_tls = (opts & 1) != 0;
	conf.user = (opts & 2) != 0 ? "user" : NULL;
	r.c = smtp_client_new(&conf, &r);
	serve(&r, opts);
	while (len > 0) {
		n = piece > 0 && piece < len ? piece : len;
		smtp_client_input(r.c, data, n);
		data += n;
		len -= n;
		serve(&r, opts);
	}
	smtp_client_lost(r.c, TROUBLE_CONNECT, "gone");
	CHECK(smtp_client_want(r.c) == SMTP_CLIENT_CLOSE);
	CHECK(r.results == r.rcpts);
	smtp_client_free(&r.c);
	return 0;
}
