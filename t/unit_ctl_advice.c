/* submitd/ctl_advice.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "auth/policy.h"
#include "submitd/ctl_advice.c"

static const struct ctl_advice_case full = {
	.phase = "rcpt",
	.result = "refuse",
	.why = "map",
	.rule = "",
	.key = "KEY",
	.value = "VALUE",
	.text = "TEXT",
	.user = "ann",
	.sender = "ann@example.org",
	.rcpt = "bo@example.net",
	.addr = "192.0.2.7",
	.name = "laptop.example.org",
	.verify = "NO",
	.bits = "256",
	.wanted = "WANTED",
};

static void
assert_says(const struct ctl_advice_case *c, const char *want, const char *name)
{
	char *got = ctl_advice(c);

	if (strstr(got, want) == NULL || strchr(got, '%') != NULL ||
	    got[strlen(got) - 1] != '.')
		fail_msg("%s: \"%s\" lacks \"%s\"", name, got, want);
	free(got);
}

static void
test_cases(void **state)
{
	static const struct {
		const char *name;
		const char *phase, *result, *why, *rule, *want;
	} cases[] = {
		{ "Connect", "connect", "refuse", "map", "connect",
		    "\"KEY VALUE\" refuses the client laptop.example.org "
		    "(192.0.2.7)" },
		{ "a limit", "data", "defer", "limit", "",
		    "submitctl limit show --user ann" },
		{ "suspended by the server", "data", "refuse", "suspended", "",
		    "submitctl user resume ann" },
		{ "TLS requirement", "tls", "defer", "tls", "tls_clt",
		    "(verify=NO, 256 bits)" },
		{ "TLS requirement on a user", "mail", "defer", "tls",
		    "tls_user", "this session of ann" },
		{ "malformed, by whatever rule", "tls", "defer", "malformed",
		    "tls_clt", "access set KEY" },
		{ "look-up, by whatever rule", "mail", "defer", "lookup",
		    "from", "could not be asked" },
		{ "nobody", "mail", "refuse", "nobody", "",
		    "\"Connect:192.0.2.7 RELAY\"" },
		{ "Srv_Features", "mail", "refuse", "nobody", "srv_features",
		    "take the letter l out" },
		{ "Srv_Features against a login", "auth", "refuse", "nobody",
		    "srv_features", "take the letter A out" },
		{ "sender", "mail", "refuse", "sender", "sender",
		    "address add ann ann@example.org" },
		{ "suspended", "mail", "refuse", "suspended", "user_state",
		    "user resume ann" },
		{ "To", "rcpt", "refuse", "map", "to_block",
		    "mail to bo@example.net" },
		{ "a subject without an entry", "mail", "refuse", "nobody",
		    "cert_subject", "add an entry \"WANTED RELAY\"" },
		{ "the same at RCPT", "rcpt", "refuse", "relay", "cert_subject",
		    "add an entry \"WANTED RELAY\"" },
		{ "CITag", "tls", "defer", "tls", "citag",
		    "\"KEY VALUE\" wants an entry \"WANTED OK\"" },
		{ "relaying", "rcpt", "refuse", "relay", "", "Neither a user" },
		{ "discarded", "rcpt", "discard", "map", "to_block",
		    "thrown away" },
		{ "held", "connect", "quarantine", "map", "connect",
		    "queue release" },
		{ "a user", "rcpt", "allow", "ok", "user_relay",
		    "user suspend ann" },
		{ "an issuer", "rcpt", "allow", "ok", "cert_issuer",
		    "\"KEY VALUE\"" },
		{ "a wrong password", "auth", "refuse", "bad", "",
		    "(TEXT); \"submitctl user show ann\"" },
		{ "a login", "auth", "allow", "ok", "", "as ann succeeded" },
		{ "a reason nobody thought of", "mail", "refuse", "new", "new",
		    "refused: TEXT" },
	};
	struct ctl_advice_case c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		c = full;
		c.phase = cases[i].phase;
		c.result = cases[i].result;
		c.why = cases[i].why;
		c.rule = cases[i].rule;
		c.text =
		    strcmp(cases[i].name, "a reason nobody thought of") == 0
		    ? "TEXT."
		    : "TEXT";
		assert_says(&c, cases[i].want, cases[i].name);
	}
}

/* Every reason of the policy, and every rule that can refuse by the map, has
 * a sentence of its own. */
static void
test_complete(void **state)
{
	static const enum policy_rule by_map[] = { POLICY_RULE_CONNECT,
		POLICY_RULE_TLS_CLT, POLICY_RULE_TLS_USER, POLICY_RULE_TLS_SRV,
		POLICY_RULE_TLS_RCPT, POLICY_RULE_TRY_TLS, POLICY_RULE_TO_BLOCK,
		POLICY_RULE_FROM, POLICY_RULE_RESOLVE,
		POLICY_RULE_RCPT_SYNTAX };
	static const enum policy_why whys[] = { POLICY_WHY_RELAY,
		POLICY_WHY_LOOKUP, POLICY_WHY_MALFORMED, POLICY_WHY_NOBODY,
		POLICY_WHY_SUSPENDED, POLICY_WHY_DISABLED, POLICY_WHY_NEED_CERT,
		POLICY_WHY_NEED_PASSWORD, POLICY_WHY_NEED_BOTH,
		POLICY_WHY_SENDER, POLICY_WHY_SENDER_LOOKUP,
		POLICY_WHY_RCPT_NO_DOMAIN };
	static const enum policy_rule gives[] = { POLICY_RULE_USER_RELAY,
		POLICY_RULE_CERT_ISSUER, POLICY_RULE_CERT_SUBJECT,
		POLICY_RULE_TO_RELAY, POLICY_RULE_ADDR_RELAY,
		POLICY_RULE_NAME_RELAY, POLICY_RULE_FROM_RELAY };
	struct ctl_advice_case c = full;
	char *text;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(by_map) / sizeof(by_map[0]); i++) {
		c.rule = policy_rule_name(by_map[i]);
		text = ctl_advice(&c);
		if (strncmp(text, "It was refused", 14) == 0)
			fail_msg("no sentence for the rule %s", c.rule);
		free(text);
	}
	c.rule = "";
	for (i = 0; i < sizeof(whys) / sizeof(whys[0]); i++) {
		c.why = policy_why_name(whys[i]);
		text = ctl_advice(&c);
		if (strncmp(text, "It was refused", 14) == 0)
			fail_msg("no sentence for the reason %s", c.why);
		free(text);
	}
	c.why = "ok";
	c.result = "allow";
	for (i = 0; i < sizeof(gives) / sizeof(gives[0]); i++) {
		c.rule = policy_rule_name(gives[i]);
		text = ctl_advice(&c);
		if (strncmp(text, "Nothing refuses", 15) == 0)
			fail_msg("no sentence for the right by %s", c.rule);
		free(text);
	}
}

/* Where nothing is known the sentence still reads. */
static void
test_empty(void **state)
{
	const struct ctl_advice_case sender = {
		.phase = "mail", .result = "refuse", .why = "sender"
	};
	const struct ctl_advice_case relay = { .phase = "rcpt",
		.result = "refuse",
		.why = "relay",
		.rcpt = "x@y" };
	const struct ctl_advice_case tls = { .phase = "tls",
		.result = "refuse",
		.why = "tls",
		.rule = "tls_clt",
		.key = "tls_clt:" };
	const struct ctl_advice_case nothing = { .phase = NULL };
	char *text = ctl_advice(&nothing);

	(void)state;
	assert_string_equal(text, "");
	free(text);
	assert_says(&sender, "<> is no address of USER", "nothing known");
	assert_says(&relay, "\"Connect:ADDRESS RELAY\"", "no address");
	assert_says(&tls, "TLS_Clt:ADDRESS", "no address");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
