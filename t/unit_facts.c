/* submitd/facts.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/facts.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* clang-format off */
static const struct {
	const char *addr, *want;
} addrs[] = {
	{ "192.0.2.1", "192.0.2.1" },
	{ "::ffff:192.0.2.1", "192.0.2.1" },
	{ "::1", "IPv6:0:0:0:0:0:0:0:1" },
	{ "2001:DB8::0a:0", "IPv6:2001:db8:0:0:0:0:a:0" },
	{ "2001:db8:1:2:3:4:5:6", "IPv6:2001:db8:1:2:3:4:5:6" },
};

static const struct {
	const char *name, *addr, *want;
} hosts[] = {
	{ "a.b", "192.0.2.1", "a.b" },
	{ "a.b.", "192.0.2.1", "a.b" },
	{ "", "192.0.2.1", "[192.0.2.1]" },
	{ "", "IPv6:0:0:0:0:0:0:0:1", "[IPv6:0:0:0:0:0:0:0:1]" },
};

static const struct {
	const char *key, *value;
	unsigned want;
} relays[] = {
	{ "connect:a.b", "RELAY", POLICY_RELAYS_BY_NAME },
	{ "connect:192.0.2", "relay", POLICY_RELAYS_BY_NAME },
	{ "to:a.b", "RELAY", POLICY_RELAYS_BY_RCPT },
	{ "a.b", "RELAY", POLICY_RELAYS_BY_NAME | POLICY_RELAYS_BY_RCPT },
	{ "from:a.b", "RELAY", 0 },
	{ "certissuer:/cn=x", "RELAY", 0 },
	{ "connect:a.b", "OK", 0 },
	{ "connect:a.b", "RELAY x", 0 },
	{ "connect:a.b", "(unbalanced", 0 },
};

static const struct {
	enum policy_why why;
	int code;
} replies[] = {
	{ POLICY_WHY_NOBODY, 530 },
	{ POLICY_WHY_NEED_CERT, 530 },
	{ POLICY_WHY_NEED_PASSWORD, 530 },
	{ POLICY_WHY_NEED_BOTH, 530 },
	{ POLICY_WHY_SUSPENDED, 550 },
	{ POLICY_WHY_DISABLED, 550 },
	{ POLICY_WHY_SENDER, 550 },
	{ POLICY_WHY_SENDER_LOOKUP, 451 },
	{ POLICY_WHY_RCPT_NO_DOMAIN, 554 },
	{ POLICY_WHY_AUTHOR, 550 },
	{ POLICY_WHY_AUTHOR_FIELD, 550 },
};
/* clang-format on */

static void
addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(addrs); i++) {
		char *got = facts_addr(addrs[i].addr);

		if (strcmp(got, addrs[i].want) != 0)
			fail_msg("%s: %s", addrs[i].addr, got);
		free(got);
	}
}

static void
names(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(hosts); i++) {
		char *got = facts_host(hosts[i].name, hosts[i].addr);

		if (strcmp(got, hosts[i].want) != 0)
			fail_msg(
			    "\"%s\" %s: %s", hosts[i].name, hosts[i].addr, got);
		free(got);
	}
}

static void
kinds_of_relay(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(relays); i++) {
		unsigned got = facts_relays(relays[i].key, relays[i].value);

		if (got != relays[i].want)
			fail_msg(
			    "%s %s: %u", relays[i].key, relays[i].value, got);
	}
}

/* Refusals for good are not temporary, and the other way round. */
static void
replies_to_verdicts(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(replies); i++) {
		int got = smtp_reply_code(facts_reply(replies[i].why));

		if (got != replies[i].code)
			fail_msg(
			    "%s: %d", policy_why_name(replies[i].why), got);
	}
}

static void
letters_of_srv_features(void **state)
{
	static const struct {
		const char *letters;
		unsigned want;
	} cases[] = {
		{ "", 0 },
		{ "A", FACTS_NO_AUTH },
		{ "A P l",
		    FACTS_NO_AUTH | FACTS_NO_PIPELINING | FACTS_NEED_AUTH },
		{ "APl",
		    FACTS_NO_AUTH | FACTS_NO_PIPELINING | FACTS_NEED_AUTH },
		{ "a p L", 0 },
		{ "A a", 0 },
		{ "a A", FACTS_NO_AUTH },
		{ "l L l", FACTS_NEED_AUTH },
		{ "v V s S c h b d e x", 0 },
		{ "SKIP", 0 },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		unsigned got = facts_features(cases[i].letters);

		if (got != cases[i].want)
			fail_msg("\"%s\": %u", cases[i].letters, got);
	}
}

static struct policy_verdict verdict;

/* What is said of a refusal, by the map or by our own table. */
static void
what_is_said(void **state)
{
	const struct facts_reply_args none = { "", "" };
	struct facts_reply_said said;

	(void)state;
	memset(&verdict, 0, sizeof(verdict));
	verdict.decision = POLICY_REFUSE_PERM;
	verdict.why = POLICY_WHY_MAP;
	verdict.code = 554;
	strcpy(verdict.esc, "5.7.26");
	strcpy(verdict.text, "Not from here");
	facts_said(&verdict, &none, &said);
	assert_int_equal(said.code, 554);
	assert_string_equal(said.esc, "5.7.26");
	assert_string_equal(said.text, "Not from here");
}

/* clang-format off */
static const struct {
	enum policy_why why;
	const char *sender, *reason;
	struct policy_author author;
	const char *own, *a, *b;
	int code;
	const char *said; /* NULL: not looked at */
} about[] = {
	{ POLICY_WHY_SENDER, "bob@example.org", "", { 0 }, "", "bob@example.org", "", 550, "<bob@example.org>" },
	{ POLICY_WHY_SUSPENDED, "", "unpaid", { 0 }, "", "unpaid", "", 550, "suspended: unpaid;" },
	{ POLICY_WHY_SUSPENDED, "", "", { 0 }, "", "no reason was given", "", 550, NULL },
	{ POLICY_WHY_NOBODY, "x@y", "unpaid", { 0 }, "a@b", "", "", 530, NULL },
	{ POLICY_WHY_AUTHOR, "ann@x.example", "", { POLICY_AUTHOR_FROM, NULL, "boss@corp.example" }, "ann@x.example",
	  "<boss@corp.example> in the From field", "<ann@x.example>", 550,
	  "You may not write <boss@corp.example> in the From field; your account may use <ann@x.example>;" },
	{ POLICY_WHY_AUTHOR, "", "", { POLICY_AUTHOR_RESENT_SENDER, NULL, "b@c.example" }, "@x.example",
	  "<b@c.example> in the Resent-Sender field", "any address of x.example", 550, NULL },
	{ POLICY_WHY_AUTHOR, "", "", { POLICY_AUTHOR_SENDER, NULL, "b@c.example" }, "",
	  "<b@c.example> in the Sender field", "no address yet", 550, NULL },
	{ POLICY_WHY_AUTHOR_FIELD, "", "", { POLICY_AUTHOR_FROM, "has a blank in an address", "" }, "ann@x.example",
	  "From", "has a blank in an address", 550, "The From field of the message has a blank in an address;" },
};
/* clang-format on */

static void
what_replies_name(void **state)
{
	struct facts_reply_args args;
	struct facts_reply_said said;

	(void)state;
	for (size_t i = 0; i < N(about); i++) {
		const struct facts_about f = { about[i].sender,
			about[i].reason, &about[i].author, about[i].own };

		memset(&verdict, 0, sizeof(verdict));
		verdict.decision = POLICY_REFUSE_PERM;
		verdict.why = about[i].why;
		facts_reply_args(about[i].why, &f, &args);
		facts_said(&verdict, &args, &said);
		if (strcmp(args.a, about[i].a) != 0 ||
		    strcmp(args.b, about[i].b) != 0)
			fail_msg("%zu: \"%s\" \"%s\"", i, args.a, args.b);
		if (said.code != about[i].code ||
		    strpbrk(said.text, "\r\n") != NULL ||
		    strstr(said.text, "550") != NULL)
			fail_msg("%zu: %d %s", i, said.code, said.text);
		if (about[i].said != NULL &&
		    strstr(said.text, about[i].said) == NULL)
			fail_msg("%zu: %s", i, said.text);
	}
}

/* The sender of the envelope, or else an address that is one. */
static void
new_senders(void **state)
{
	static const struct {
		const char *sender, *own, *want, *text;
	} rows[] = {
		{ "ann@x.example", "zoe@x.example", "ann@x.example",
		    "Sender: ann@x.example" },
		{ "", "zoe@x.example", "zoe@x.example",
		    "Sender: zoe@x.example" },
		{ "", "@x.example", "", "" },
		{ "", "*", "", "" },
		{ "", "", "", "" },
	};
	char text[400];

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		assert_string_equal(
		    facts_new_sender(rows[i].sender, rows[i].own),
		    rows[i].want);
		facts_sender_text(
		    rows[i].sender, rows[i].own, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
}

static void
what_headers_must_say(void **state)
{
	const struct policy_options map =
	    facts_options("ann", POLICY_FROM_SENDER);
	const struct policy_options none =
	    facts_options("", POLICY_FROM_SENDER);

	(void)state;
	assert_int_equal(facts_from_header(&none, "bo"), POLICY_FROM_SENDER);
	assert_int_equal(facts_from_header(&none, NULL), POLICY_FROM_OFF);
	assert_int_equal(facts_from_header(&map, NULL), POLICY_FROM_SENDER);
}

static void
a_login_is_needed(void **state)
{
	(void)state;
	memset(&verdict, 0, sizeof(verdict));
	verdict.nsteps = 1;
	strcpy(verdict.text, "A P");
	assert_false(facts_needs_login(&verdict));
	assert_int_equal(verdict.decision, POLICY_ALLOW);
	strcpy(verdict.text, "l");
	strcpy(verdict.steps[0].key, "srv_features:");
	assert_true(facts_needs_login(&verdict));
	assert_int_equal(verdict.decision, POLICY_REFUSE_PERM);
	assert_int_equal(verdict.why, POLICY_WHY_NOBODY);
	assert_int_equal(verdict.steps[0].met, POLICY_MET_REFUSE);
	assert_string_equal(verdict.key, "srv_features:");
}

static void
a_login_is_forbidden(void **state)
{
	(void)state;
	memset(&verdict, 0, sizeof(verdict));
	verdict.nsteps = 1;
	strcpy(verdict.text, "l P");
	assert_false(facts_forbids_login(&verdict));
	assert_int_equal(verdict.decision, POLICY_ALLOW);
	strcpy(verdict.text, "l A");
	strcpy(verdict.steps[0].key, "srv_features:");
	assert_true(facts_forbids_login(&verdict));
	assert_int_equal(verdict.decision, POLICY_REFUSE_PERM);
	assert_int_equal(verdict.code, 504);
	assert_string_equal(verdict.esc, "5.5.4");
	assert_int_equal(strncmp(verdict.text, "This mechanism", 14), 0);
	assert_int_equal(verdict.steps[0].met, POLICY_MET_REFUSE);
	assert_string_equal(verdict.key, "srv_features:");
}

/* Keys of the map are in ASCII: no spelling of a domain gets past them. */
static void
addresses_for_the_map(void **state)
{
	static const struct {
		const char *given, *want;
	} rows[] = {
		{ "x@example.org", "x@example.org" },
		{ "x@b\xc3\xbc"
		  "cher.example",
		    "x@xn--bcher-kva.example" },
		{ "x@B\xc3\x9c"
		  "CHER.example",
		    "x@xn--bcher-kva.example" },
		{ "j\xc3\xb6@b\xc3\xbc"
		  "cher.example",
		    "j\xc3\xb6@xn--bcher-kva.example" },
		{ "j\xc3\xb6@example.org", "j\xc3\xb6@example.org" },
		{ "nobody", "nobody" },
		{ "", "" },
	};
	char out[FACTS_ADDRESS_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < N(rows); i++)
		assert_string_equal(
		    facts_map_address(rows[i].given, out), rows[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(addresses_for_the_map),
		cmocka_unit_test(names),
		cmocka_unit_test(kinds_of_relay),
		cmocka_unit_test(replies_to_verdicts),
		cmocka_unit_test(letters_of_srv_features),
		cmocka_unit_test(what_is_said),
		cmocka_unit_test(what_replies_name),
		cmocka_unit_test(new_senders),
		cmocka_unit_test(what_headers_must_say),
		cmocka_unit_test(a_login_is_needed),
		cmocka_unit_test(a_login_is_forbidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
