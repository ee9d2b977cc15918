/* resolv.conf and hosts, as people and programs write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/netfiles.h"

static char said[1024];

static void
on_server(void *arg, const char *addr)
{
	(void)arg;
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s;", addr);
}

static void
on_host(void *arg, const char *name, const char *addr)
{
	(void)arg;
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s=%s;",
	    name, addr);
}

static void
test_servers(void **state)
{
	static const struct {
		const char *name, *text, *want;
	} rows[] = {
		{ "two, with others between",
		    "search example.org\nnameserver 192.0.2.1\n"
		    "options edns0\nnameserver\t2001:db8::1\n",
		    "192.0.2.1;2001:db8::1;" },
		{ "no newline at the end", "nameserver 192.0.2.1",
		    "192.0.2.1;" },
		{ "CR before the newline", "nameserver 192.0.2.1\r\n",
		    "192.0.2.1;" },
		{ "comments",
		    "# nameserver 192.0.2.1\n;nameserver 192.0.2.2\n"
		    "nameserver 192.0.2.3 # here\n",
		    "192.0.2.3;" },
		{ "a zone", "nameserver fe80::1%eth0\n", "fe80::1%eth0;" },
		{ "no address", "nameserver here\nnameserver\n", "" },
		{ "another word", "nameservers 192.0.2.1\n", "" },
		{ "empty", "", "" },
	};
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		said[0] = '\0';
		n = netfiles_servers(
		    rows[i].text, strlen(rows[i].text), on_server, NULL);
		if (strcmp(said, rows[i].want) != 0 ||
		    (n == 0) != (said[0] == '\0'))
			fail_msg("%s: %s", rows[i].name, said);
	}
}

static void
test_hosts(void **state)
{
	static const struct {
		const char *name, *text, *want;
	} rows[] = {
		{ "names of an address",
		    "127.0.0.1\tlocalhost loop\n192.0.2.1 a.example.org a\n",
		    "localhost=127.0.0.1;loop=127.0.0.1;"
		    "a.example.org=192.0.2.1;a=192.0.2.1;" },
		{ "IPv6", "::1 localhost ip6-localhost\n",
		    "localhost=::1;ip6-localhost=::1;" },
		{ "comments and blanks",
		    "  192.0.2.1   a   # the first\n# 192.0.2.2 b\n\n",
		    "a=192.0.2.1;" },
		{ "a zone: passed over", "fe80::1%lo0 localhost\n", "" },
		{ "no address", "a 192.0.2.1\nb\n", "" },
		{ "no name", "192.0.2.1\n192.0.2.2 b\n", "b=192.0.2.2;" },
		{ "CR before the newline", "192.0.2.1 a\r\n", "a=192.0.2.1;" },
		{ "empty", "", "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		said[0] = '\0';
		netfiles_hosts(
		    rows[i].text, strlen(rows[i].text), on_host, NULL);
		if (strcmp(said, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, said);
	}
}

/* Words that fit no name, and bytes that are no text. */
static void
test_strange(void **state)
{
	char text[700];

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "192.0.2.1 ", 10);
	text[300] = ' ';
	memcpy(text + 690, " short\0x\n", 9);
	said[0] = '\0';
	netfiles_hosts(text, sizeof(text), on_host, NULL);
	assert_string_equal(said, "");
	memcpy(text + 690, " short   \n", 10);
	netfiles_hosts(text, sizeof(text), on_host, NULL);
	assert_string_equal(said, "short=192.0.2.1;");
	said[0] = '\0';
	assert_int_equal(netfiles_servers(NULL, 0, on_server, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_strange),
	};

	return cmocka_run_group_tests_name("netfiles", tests, NULL, NULL);
}
