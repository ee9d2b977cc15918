/* submitd/ruled.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "submitd/proto.h"
#include "submitd/ruled.h"

static struct policy_verdict v;
static char text[RULED_MAX];

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
there_and_back(void **state)
{
	const struct policy_facts f = { .verify = "OK",
		.cipher_bits = 256,
		.cn_subject = "mx",
		.cert_subject = "/O=x+20y/CN=mx",
		.cert_issuer = "/CN=ca" };
	struct ruled r;

	(void)state;
	v.why = POLICY_WHY_TLS;
	add(POLICY_RULE_CITAG, POLICY_MET_REFUSE, "ours:/cn=ca", "");
	add(POLICY_RULE_TLS_RCPT, POLICY_MET_REFUSE, "tls_rcpt:b@",
	    "PERM+VERIFY+CITag:Ours");
	ruled_text(&f, &v, text);
	assert_int_equal(ruled_parse(text, &r), 0);
	assert_string_equal(r.why, "tls");
	assert_string_equal(r.verify, "OK");
	assert_int_equal(r.bits, 256);
	assert_string_equal(r.cn, "mx");
	assert_string_equal(r.subject, "/O=x+20y/CN=mx");
	assert_string_equal(r.issuer, "/CN=ca");
	assert_string_equal(r.last.rule, "tls_rcpt");
	assert_string_equal(r.last.key, "tls_rcpt:b@");
	assert_string_equal(r.ladder,
	    "citag\trefuse\tours:/cn=ca\t\n"
	    "tls_rcpt\trefuse\ttls_rcpt:b@\tPERM+VERIFY+CITag:Ours\n");
}

static void
without_tls(void **state)
{
	const struct policy_facts f = { .cipher_bits = POLICY_NO_TLS };
	struct ruled r;

	(void)state;
	v.why = POLICY_WHY_MAP;
	add(POLICY_RULE_TRY_TLS, POLICY_MET_REFUSE, "try_tls:", "NO");
	ruled_text(&f, &v, text);
	assert_int_equal(ruled_parse(text, &r), 0);
	assert_string_equal(r.verify, "");
	assert_int_equal(r.bits, 0);
	assert_string_equal(r.last.rule, "try_tls");
}

/* The largest there can be fits a message. */
static void
large(void **state)
{
	static char name[CERTNAME_SIZE], key[POLICY_SHOWN_SIZE];
	static unsigned char packet[PROTO_MAX];
	struct policy_facts f = { .verify = "DANE_FAIL",
		.cipher_bits = 99999,
		.cn_subject = name,
		.cert_subject = name,
		.cert_issuer = name };
	struct m_server_verdict m = { .esc = "", .text = "", .ruled = text };
	struct ruled r;
	int i;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	memset(key, 'k', sizeof(key) - 1);
	v.why = POLICY_WHY_RCPT_NO_DOMAIN;
	v.steps_lost = true;
	for (i = 0; i < POLICY_STEPS_MAX; i++)
		add(POLICY_RULE_TLS_SRV, POLICY_MET_REFUSE, key, key);
	ruled_text(&f, &v, text);
	assert_int_equal(ruled_parse(text, &r), 0);
	assert_string_equal(r.issuer, name);
	assert_string_equal(r.last.value, key);
	assert_true(proto_pack(M_SERVER_VERDICT, 0, &m, packet,
			sizeof(packet)) > strlen(text));
}

static void
what_is_none(void **state)
{
	static const char *const texts[] = { "", "tls", "tls\tOK\t256\n",
		"tls\tOK\t256\t\t\t\n", "tls\tOK\t256\t\t\t\n...\n",
		"tls\tOK\t256\tcn\tsubject\tissuer\tmore\ntls_srv\trefuse\t\t\n",
		"a reason that is longer than any is\tOK\t1\t\t\t\ntls_srv\t\t\t\n",
		"tls\tOK\t99999999\t\t\t\ntls_srv\trefuse\t\t\n" };
	struct ruled r;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (ruled_parse(texts[i], &r) != -1)
			fail_msg("%zu: %s", i, texts[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(there_and_back, empty),
		cmocka_unit_test_setup(without_tls, empty),
		cmocka_unit_test_setup(large, empty),
		cmocka_unit_test_setup(what_is_none, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
