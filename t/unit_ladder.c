/* submitd/ladder.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "submitd/ladder.h"

static struct policy_verdict v;
static char text[LADDER_MAX];

static void
add(enum policy_rule rule, enum policy_met met, const char *key,
    const char *value)
{
	struct policy_step *s = &v.steps[v.nsteps++];

	s->rule = rule;
	s->met = met;
	snprintf(s->key, sizeof(s->key), "%s", key);
	snprintf(s->value, sizeof(s->value), "%s", value);
}

static int
empty(void **state)
{
	(void)state;
	memset(&v, 0, sizeof(v));
	return 0;
}

static void
test_lines(void **state)
{
	struct ladder_step s;
	const char *p = text;

	(void)state;
	add(POLICY_RULE_TLS_CLT, POLICY_MET_NONE, "", "");
	add(POLICY_RULE_USER_RELAY, POLICY_MET_RELAY, "", "");
	add(POLICY_RULE_FROM, POLICY_MET_REFUSE, "from:a@b",
	    "ERROR:550 go\taway\n\x7f");
	ladder_text(&v, text);
	assert_string_equal(text,
	    "tls_clt\tnone\t\t\nuser_relay\trelay\t\t\n"
	    "from\trefuse\tfrom:a@b\tERROR:550 go?away??\n");
	assert_non_null(p = ladder_next(p, &s));
	assert_string_equal(s.rule, "tls_clt");
	assert_string_equal(s.met, "none");
	assert_string_equal(s.key, "");
	assert_non_null(p = ladder_next(p, &s));
	assert_string_equal(s.rule, "user_relay");
	assert_non_null(p = ladder_next(p, &s));
	assert_string_equal(s.key, "from:a@b");
	assert_string_equal(s.value, "ERROR:550 go?away??");
	assert_null(ladder_next(p, &s));
}

/* The end is kept, for it decides. */
static void
test_too_long(void **state)
{
	char key[POLICY_SHOWN_SIZE];
	struct ladder_step s, last = { .rule = "" };
	const char *p = text;
	unsigned n;
	int i;

	(void)state;
	memset(key, 'x', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	for (i = 0; i < POLICY_STEPS_MAX; i++)
		add(i == POLICY_STEPS_MAX - 1 ? POLICY_RULE_SENDER
					      : POLICY_RULE_FROM,
		    POLICY_MET_REFUSE, key, key);
	v.steps_lost = true;
	ladder_text(&v, text);
	assert_in_range(strlen(text), LADDER_MAX / 2, LADDER_MAX - 1);
	assert_int_equal(strncmp(text, "...\n", 4), 0);
	for (n = 0; (p = ladder_next(p, &s)) != NULL; n++)
		if (strcmp(s.rule, "...") != 0)
			last = s;
	assert_int_equal(n, 2 + 7); /* two marks, seven steps */
	assert_string_equal(last.rule, "sender");
	assert_string_equal(last.value, key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_lines, empty),
		cmocka_unit_test_setup(test_too_long, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
