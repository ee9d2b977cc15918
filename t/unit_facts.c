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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(names),
		cmocka_unit_test(kinds_of_relay),
		cmocka_unit_test(replies_to_verdicts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
