/* submitd/received.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/received.h"

#define DATE "Mon, 3 Nov 2025 09:05:01 +0100"
#define LONG_NAME \
	"a-name-of-63-letters-is-the-longest-that-a-label-may-be-in-dns" \
	".example"

/* clang-format off */
static const struct {
	const char *name;
	struct received r;
	const char *want;
} rows[] = {
	{ "password over TLS",
	  { .ehlo = "laptop", .host = "mail.example.org", .id = "0193ab7c00001",
	    .date = DATE, .esmtp = true, .tls = true, .auth = true,
	    .tls_cipher = "TLS_AES_256_GCM_SHA384" },
	  "Received: from unknown by mail.example.org with ESMTPSA id 0193ab7c00001\r\n"
	  "\ttls TLS_AES_256_GCM_SHA384; " DATE "\r\n" },
	{ "SMTPUTF8",
	  { .ehlo = "laptop", .host = "mail.example.org", .id = "1", .date = DATE,
	    .esmtp = true, .tls = true, .auth = true, .utf8 = true },
	  "Received: from unknown by mail.example.org with UTF8SMTPSA id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "SMTPUTF8 without login",
	  { .ehlo = "laptop", .host = "mail.example.org", .id = "1", .date = DATE,
	    .esmtp = true, .tls = true, .utf8 = true },
	  "Received: from unknown by mail.example.org with UTF8SMTPS id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "priority (RFC 6710)",
	  { .ehlo = "laptop", .host = "h.example", .id = "1", .date = DATE,
	    .esmtp = true, .tls = true, .auth = true, .priority = "-9",
	    .tls_cipher = "TLS_AES_256_GCM_SHA384" },
	  "Received: from unknown by h.example with ESMTPSA id 1\r\n"
	  "\ttls TLS_AES_256_GCM_SHA384 PRIORITY -9;\r\n"
	  "\t" DATE "\r\n" },
	{ "priority without TLS",
	  { .ehlo = "laptop", .host = "h.example", .id = "1", .date = DATE,
	    .esmtp = true, .priority = "0" },
	  "Received: from unknown by h.example with ESMTP id 1 PRIORITY 0;\r\n"
	  "\t" DATE "\r\n" },
	{ "without login",
	  { .ehlo = "laptop", .host = "mail.example.org", .id = "1", .date = DATE,
	    .esmtp = true, .tls = true },
	  "Received: from unknown by mail.example.org with ESMTPS id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "HELO knows no S and no A (RFC 3848)",
	  { .ehlo = "laptop", .host = "mail.example.org", .id = "1", .date = DATE,
	    .tls = true, .auth = true },
	  "Received: from unknown by mail.example.org with SMTP id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "client is hidden",
	  { .ehlo = "laptop", .host = "mail.example.org", .id = "1", .date = DATE,
	    .client_name = "host.example.net", .client_addr = "192.0.2.7",
	    .login = "ann", .esmtp = true },
	  "Received: from unknown by mail.example.org with ESMTP id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "an address as EHLO argument is hidden",
	  { .ehlo = "[192.168.1.5]", .host = "mail.example.org", .id = "1",
	    .date = DATE, .esmtp = true },
	  "Received: from unknown by mail.example.org with ESMTP id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "all is shown",
	  { .ehlo = "[192.168.1.5]", .host = "mail.example.org", .id = "1",
	    .date = DATE, .client_name = "host.example.net",
	    .client_addr = "192.0.2.7", .login = "ann", .trace_client = true,
	    .esmtp = true },
	  "Received: from [192.168.1.5] (host.example.net [192.0.2.7]) (login ann)\r\n"
	  "\tby mail.example.org with ESMTP id 1; " DATE "\r\n" },
	{ "IPv6 without name",
	  { .ehlo = "pc", .host = "h.example", .id = "1", .date = DATE,
	    .client_addr = "2001:db8::7", .trace_client = true, .esmtp = true },
	  "Received: from pc ([IPv6:2001:db8::7]) by h.example with ESMTP id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "name without address",
	  { .ehlo = "pc", .host = "h.example", .id = "1", .date = DATE,
	    .client_name = "c.example", .trace_client = true, .esmtp = true },
	  "Received: from pc (c.example) by h.example with ESMTP id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "the first line is never empty, however long the client's name",
	  { .ehlo = LONG_NAME, .host = "h.example", .id = "1", .date = DATE,
	    .client_addr = "192.0.2.7", .trace_client = true, .esmtp = true },
	  "Received: from\r\n"
	  "\t" LONG_NAME "\r\n"
	  "\t([192.0.2.7]) by h.example with ESMTP id 1;\r\n"
	  "\t" DATE "\r\n" },
	{ "nothing can break out",
	  { .ehlo = "a b)\r\nBcc: (x;\"<>\\,\xff\x01", .host = "h.example",
	    .id = "1;2", .date = DATE, .client_name = "x)y", .client_addr = "(",
	    .login = "a) by (b\r\n", .trace_client = true, .esmtp = true,
	    .tls = true, .tls_cipher = "X;\r\nY: Z" },
	  "Received: from a\?b\?\?\?Bcc:\?\?x\?\?\?\?\?\?\?\? (x\?y [\?]) (login a\?\?by\?\?b\?\?)\r\n"
	  "\tby h.example with ESMTPS id 1?2 tls X???Y:?Z;\r\n"
	  "\t" DATE "\r\n" },
};
/* clang-format on */

static void
table(void **state)
{
	char buf[RECEIVED_MAX];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		n = received_make(&rows[i].r, buf, sizeof(buf));
		if (n != strlen(buf) || strcmp(buf, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, buf);
	}
}

/* The longest of everything fits; no line but of one long word is long. */
static void
largest(void **state)
{
	char buf[RECEIVED_MAX], word[600], *p, *nl;
	struct received r = { .ehlo = word,
		.host = word,
		.id = word,
		.date = DATE,
		.client_name = word,
		.client_addr = word,
		.login = word,
		.priority = "-9",
		.tls_cipher = word,
		.trace_client = true,
		.esmtp = true,
		.tls = true,
		.auth = true,
		.utf8 = true };
	size_t n, len;

	(void)state;
	for (len = 1; len < sizeof(word); len++) {
		memset(word, 'w', len);
		word[len] = '\0';
		n = received_make(&r, buf, sizeof(buf));
		assert_true(n > 0 && n == strlen(buf));
		for (p = buf; *p != '\0'; p = nl + 2) {
			nl = strstr(p, "\r\n");
			assert_non_null(nl);
			assert_true(p == buf ? nl - p > 9 : *p == '\t');
			assert_true(nl - p < (len < 60 ? 78 : 300));
		}
	}
}

static void
too_small(void **state)
{
	char *buf;
	size_t size, full = strlen(rows[0].want);

	(void)state;
	for (size = 0; size <= full + 1; size++) {
		buf = malloc(size > 0 ? size : 1);
		assert_non_null(buf);
		assert_int_equal(received_make(&rows[0].r, buf, size),
		    size > full ? full : 0);
		free(buf);
	}
}

static void
date(void **state)
{
	static const struct {
		const char *name;
		time_t t;
		int tz_min;
		const char *want;
	} dates[] = {
		{ "epoch", 0, 0, "Thu, 1 Jan 1970 00:00:00 +0000" },
		{ "east", 1762157101, 60, "Mon, 3 Nov 2025 09:05:01 +0100" },
		{ "west", 1762157101, -210, "Mon, 3 Nov 2025 04:35:01 -0330" },
		{ "half an hour east", 1762157101, 330,
		    "Mon, 3 Nov 2025 13:35:01 +0530" },
		{ "over midnight", 1767225599, 1,
		    "Thu, 1 Jan 2026 00:00:59 +0001" },
		{ "leap day", 1709164800, 0,
		    "Thu, 29 Feb 2024 00:00:00 +0000" },
		{ "beyond 32 bits", 4102444800, 0,
		    "Fri, 1 Jan 2100 00:00:00 +0000" },
	};
	char buf[RECEIVED_DATE_MAX];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		n = received_date(
		    dates[i].t, dates[i].tz_min, buf, sizeof(buf));
		if (n != strlen(buf) || strcmp(buf, dates[i].want) != 0)
			fail_msg("%s: %s", dates[i].name, buf);
	}
	assert_int_equal(received_date(0, 0, buf, 30), 0);
	assert_int_equal(received_date(0, 0, buf, 31), 30);
	/* a year that no calendar holds */
	assert_int_equal(
	    received_date((time_t)INT64_MAX / 2, 0, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
}

static void
message_id(void **state)
{
	static const unsigned char rnd[64] = { 0x00, 0x1f, 0xab };
	char buf[MESSAGE_ID_MAX], host[256];

	(void)state;
	assert_int_equal(
	    message_id_make(rnd, 3, "h.example", buf, sizeof(buf)), 18);
	assert_string_equal(buf, "<001fab@h.example>");
	assert_int_equal(message_id_make(rnd, 3, "h.example", buf, 18), 0);
	memset(host, 'h', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	/* never more than 32 bytes, and the longest fits */
	assert_int_equal(message_id_make(rnd, 64, host, buf, sizeof(buf)),
	    1 + 64 + 1 + 255 + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(largest),
		cmocka_unit_test(too_small),
		cmocka_unit_test(date),
		cmocka_unit_test(message_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
