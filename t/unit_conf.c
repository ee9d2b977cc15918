/* The configuration: each kind of value, and what each mistake is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "submitd/conf.h"

static char dir[] = "/tmp/unit_conf.XXXXXX";
static char path[64];

static int
load(struct conf *c, const char *text, char *err, size_t errlen)
{
	FILE *fp = fopen(path, "w");

	assert_non_null(fp);
	fputs(text, fp);
	fclose(fp);
	return conf_load(c, path, err, errlen);
}

static void
test_mistakes(void **state)
{
	static const struct {
		const char *name, *text, *error; /* after the file's name */
	} rows[] = {
		{ "unknown key", "\nfoo = 1\n", ":2: foo: unknown key" },
		{ "unknown key in a section", "smarthost {\n\n fox = 1\n}\n",
		    ":3: fox: unknown key" },
		{ "word for a number", "fronts = many\n",
		    ":1: fronts: \"many\" is not valid, expected a number" },
		{ "negative number", "fronts = -1\n", ":1: fronts: \"-1\"" },
		{ "number above its range", "smarthost { port = 65536 }\n",
		    ":1: smarthost.port: \"65536\" is not valid, expected a "
		    "number from 0 to 65535" },
		{ "size without sense", "max_message_size = 10X\n",
		    ":1: max_message_size: \"10X\" is not valid, expected a "
		    "size" },
		{ "size that overflows", "max_message_size = 99999999999G\n",
		    ":1: max_message_size:" },
		{ "time without sense", "retry_min = soon\n",
		    ":1: retry_min: \"soon\" is not valid, expected a time" },
		{ "yes or no", "trace_client = maybe\n",
		    ":1: trace_client: \"maybe\" is not valid, expected yes "
		    "or no" },
		{ "one of a few words", "\n\nbare_newline = keep\n",
		    ":3: bare_newline: \"keep\" is not valid, expected one "
		    "of: reject normalize" },
		{ "port of an address", "listen = {\"127.0.0.1:0\"}\n",
		    ":1: listen: \"127.0.0.1:0\" is not valid" },
		{ "port beyond 65535", "listen = {\"127.0.0.1:70000\"}\n",
		    ":1: listen:" },
		{ "host name in listen", "listen = {\"localhost:587\"}\n",
		    ":1: listen:" },
		{ "IPv6 without brackets", "listen = {\"::1:587\"}\n",
		    ":1: listen:" },
		{ "set twice", "hostname = a\n\nhostname = b\n",
		    ":3: hostname: set twice, first in line 1" },
		{ "syntax", "hostname = \n", ":" },
		{ "section not closed", "\nsmarthost {\n host = a\n",
		    ":2: {: is never closed" },
		{ "certificate without key", "\ncertificate {\n cert = a\n}\n",
		    ":4: certificate.key: is not set, expected a file: each "
		    "section certificate needs both cert and key" },
		{ "certificate that is empty",
		    "certificate {\n cert = \"\"\n key = k\n}\n",
		    ":2: certificate.cert: is not set" },
		{ "certificate with two keys",
		    "certificate {\n cert = a\n key = b\n key = c\n}\n",
		    ":4: certificate.key: set twice, first in line 3" },
		{ "certificate with a strange key",
		    "certificate {\n chain = a\n}\n",
		    ":2: chain: unknown key" },
		{ "certificate's key outside", "cert = a\n",
		    ":1: cert: unknown key" },
		{ "TLS policy", "tls_policy = none\n",
		    ":1: tls_policy: \"none\" is not valid, expected one of: "
		    "modern compatible" },
		{ "line after comments", "# a\n/* b\n */ // c\n\nfox = 1\n",
		    ":5: fox: unknown key" },
	};
	struct conf c;
	char err[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (load(&c, rows[i].text, err, sizeof(err)) == 0)
			fail_msg("%s: accepted", rows[i].name);
		if (strncmp(err, path, strlen(path)) != 0 ||
		    strncmp(err + strlen(path), rows[i].error,
			strlen(rows[i].error)) != 0)
			fail_msg("%s: %s", rows[i].name, err);
		conf_clear(&c);
	}
}

static void
test_values(void **state)
{
	static const char text[] = "# comment\n"
	    "hostname = \"mail.example.org\"\n"
	    "listen = {\"127.0.0.1:587\", \"[::1]:587\", \"*:1587\"}\n"
	    "fronts = 3\nmax_message_size = 2M\nretry_min = 90s\n"
	    "retry_max = 2h\nauth_fail_delay = 250ms\ntrace_client = yes\n"
	    "bare_newline = normalize\n"
	    "smarthost {\n host = smart.example.org\n tls = implicit\n"
	    " port = 465\n}\n";
	struct conf c;
	char err[512];

	(void)state;
	if (load(&c, text, err, sizeof(err)) == -1)
		fail_msg("%s", err);
	assert_string_equal(c.hostname, "mail.example.org");
	assert_int_equal(c.listen.n, 3);
	assert_string_equal(c.listen.v[1], "[::1]:587");
	assert_int_equal(c.listen_tls.n, 0);
	assert_int_equal(c.fronts, 3);
	assert_int_equal(c.max_message_size, 2 * 1024 * 1024);
	assert_int_equal(c.retry_min, 90000);
	assert_int_equal(c.retry_max, 7200000);
	assert_int_equal(c.auth_fail_delay, 250);
	assert_true(c.trace_client);
	assert_int_equal(c.bare_newline, BARE_NEWLINE_NORMALIZE);
	assert_string_equal(c.smarthost_host, "smart.example.org");
	assert_int_equal(c.smarthost_tls, SMARTHOST_IMPLICIT);
	assert_int_equal(c.smarthost_port, 465);
	assert_int_equal(c.scram_iterations, 32768);
	assert_int_equal(conf_line("smarthost.tls"), 13);
	assert_int_equal(conf_line("command_timeout"), 0);
	conf_clear(&c);
}

static bool
knows(const struct buf *pairs, const char *name)
{
	const char *p = (const char *)buf_head(pairs);
	const char *end = p + pairs->len;

	while (p < end) {
		if (strcmp(p, name) == 0)
			return true;
		p += strlen(p) + 1;
		p += strlen(p) + 1;
	}
	return false;
}

/* What a role is given reads back as the same; what it must not know is not
 * there. */
static void
test_pairs(void **state)
{
	struct conf c, back;
	struct buf front = { 0 }, relay = { 0 };
	char err[512];

	(void)state;
	assert_int_equal(load(&c, "hostname = h.example.org\n"
	    "command_timeout = 1500ms\nbare_newline = normalize\n"
	    "smarthost { host = s.example.org user = me "
	    "password_file = /p }\n", err, sizeof(err)), 0);
	conf_pairs(&c, ROLE_FRONT, &front);
	conf_pairs(&c, ROLE_RELAY, &relay);
	assert_false(knows(&front, "smarthost.user"));
	assert_false(knows(&front, "users_db"));
	assert_false(knows(&front, "spool"));
	assert_true(knows(&relay, "smarthost.user"));
	assert_false(knows(&relay, "smarthost.password_file"));
	assert_int_equal(conf_set_pairs(&back, buf_head(&front), front.len,
	    err, sizeof(err)), 0);
	assert_string_equal(back.hostname, "h.example.org");
	assert_int_equal(back.command_timeout, 1500);
	assert_int_equal(back.bare_newline, BARE_NEWLINE_NORMALIZE);
	conf_clear(&back);
	/* cut anywhere, it is refused */
	assert_int_equal(conf_set_pairs(&back, buf_head(&front), front.len - 1,
	    err, sizeof(err)), -1);
	conf_clear(&back);
	conf_clear(&c);
	buf_clear(&front);
	buf_clear(&relay);
}

static void
test_missing_file(void **state)
{
	struct conf c;
	char err[512];

	(void)state;
	assert_int_equal(conf_load(&c, "/nonexistent/x.conf", err,
	    sizeof(err)), -1);
	assert_non_null(strstr(err, "/nonexistent/x.conf:0: cannot be read"));
	conf_clear(&c);
}

static void
test_cert_path(void **state)
{
	struct conf c;
	char err[512], *p;

	(void)state;
	assert_int_equal(load(&c, "cert_dir = /c\n", err, sizeof(err)), 0);
	p = conf_cert_path(&c, "my.pem");
	assert_string_equal(p, "/c/my.pem");
	free(p);
	p = conf_cert_path(&c, "/d/my.pem");
	assert_string_equal(p, "/d/my.pem");
	free(p);
	conf_clear(&c);
}

static void
test_certificates(void **state)
{
	static const char text[] = "server_cert = one.pem\n"
				   "certificate {\n cert = two.pem\n"
				   " key = two.key\n}\n"
				   "server_key = one.key\n"
				   "certificate { cert = three.pem\n"
				   "ocsp = three.der\nkey = three.key }\n";
	static const struct {
		const char *file[CONF_CHAIN_PARTS];
		int line[CONF_CHAIN_PARTS];
	} rows[] = {
		{ { "one.pem", "one.key", "" }, { 1, 6, 0 } },
		{ { "two.pem", "two.key", "" }, { 3, 4, 0 } },
		{ { "three.pem", "three.key", "three.der" }, { 7, 9, 8 } },
	};
	struct conf first, c;
	struct conf_chain ch;
	char err[512] = "";
	size_t i, k;

	(void)state;
	assert_int_equal(load(&first, text, err, sizeof(err)), 0);
	conf_copy(&c, &first);
	conf_clear(&first);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(conf_chain(&c, i, &ch));
		for (k = 0; k < CONF_CHAIN_PARTS; k++) {
			assert_string_equal(ch.file[k], rows[i].file[k]);
			assert_int_equal(ch.line[k], rows[i].line[k]);
		}
	}
	assert_false(conf_chain(&c, i, &ch));
	conf_clear(&c);
}

static void
test_too_many_certificates(void **state)
{
	static const char one[] = "certificate { cert = a\nkey = b }\n";
	struct buf text = { 0 };
	struct conf c;
	char err[512] = "";
	int i;

	(void)state;
	for (i = 0; i < 31; i++)
		buf_add(&text, one, strlen(one));
	buf_add(&text, "", 1);
	assert_int_equal(load(&c, (char *)text.data, err, sizeof(err)), 0);
	assert_int_equal(c.chains, 31);
	conf_clear(&c);
	text.len--;
	buf_add(&text, one, strlen(one) + 1);
	assert_int_equal(load(&c, (char *)text.data, err, sizeof(err)), -1);
	assert_non_null(strstr(err, ":64: certificate: there are too many"));
	conf_clear(&c);
	buf_clear(&text);
}

static void
test_resolver(void **state)
{
	static const struct {
		const char *text, *host;
		int port; /* -1: refused */
	} rows[] = {
		{ "192.0.2.53", "192.0.2.53", 53 },
		{ "192.0.2.53@5353", "192.0.2.53", 5353 },
		{ "2001:db8::53", "2001:db8::53", 53 },
		{ "2001:db8::53@65535", "2001:db8::53", 65535 },
		{ "fe80::1%eth0@53", "fe80::1%eth0", 53 },
		{ "fe80::1%", "", -1 },
		{ "192.0.2.53%eth0", "", -1 },
		{ "192.0.2.53:53", "", -1 },
		{ "[2001:db8::53]", "", -1 },
		{ "192.0.2.53@", "", -1 },
		{ "192.0.2.53@0", "", -1 },
		{ "192.0.2.53@65536", "", -1 },
		{ "192.0.2.53@53 ", "", -1 },
		{ "192.0.2.53 192.0.2.54", "", -1 },
		{ "localhost", "", -1 },
		{ "@53", "", -1 },
		{ "", "", -1 },
	};
	char host[CONF_RESOLVER_HOST];
	uint16_t port;
	size_t i;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rc = conf_split_resolver(
		    rows[i].text, host, sizeof(host), &port);
		if (rows[i].port == -1
			? rc != -1
			: rc == -1 || port != rows[i].port ||
			    strcmp(host, rows[i].host) != 0)
			fail_msg("\"%s\": %d", rows[i].text, rc);
	}
	assert_int_equal(conf_split_resolver("192.0.2.53", host, 4, &port), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_too_many_certificates),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_cert_path),
		cmocka_unit_test(test_resolver),
	};
	int rc;

	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/c", dir);
	rc = cmocka_run_group_tests_name("conf", tests, NULL, NULL);
	unlink(path);
	rmdir(dir);
	return rc;
}
