/*
 * submitd/smtp_addr.c. The first byte says what is allowed, the rest is the
 * argument of a command.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/smtp_addr.h"
#include "store/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
check(bool ok)
{
	if (!ok)
		abort();
}

/* An address that was accepted is clean and stays what it is. */
static void
check_addr(const struct smtp_addr *a, unsigned allow)
{
	struct smtp_addr again;
	const char *domain;
	uint32_t c;
	size_t i, n;

	check(a->len == strlen(a->text) && a->len <= SMTP_ADDR_MAX);
	check(a->local_len <= SMTP_LOCAL_MAX && a->local_len <= a->len);
	for (i = 0; i < a->len; i += n) {
		n = utf8_next(a->text + i, a->len - i, &c);
		check(n > 0 && c >= ' ' && (c < 0x7f || c >= 0xa0));
		check(n == 1 || (allow & SMTP_ADDR_ALLOW_UTF8));
	}
	check(a->utf8 == !utf8_is_ascii(a->text, a->len));
	domain = smtp_addr_domain(a->text);
	check(a->len == a->local_len || domain == a->text + a->local_len + 1);
	smtp_addr_mailbox(a->text, a->len, allow, &again);
	check(memcmp(a, &again, sizeof(again)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char ehlo[SMTP_DOMAIN_MAX + 1];
	const char *arg = (const char *)data + 1;
	struct smtp_addr a;
	enum smtp_addr_rc rc;
	unsigned allow;
	size_t used;

	if (len-- == 0)
		return 0;
	allow = data[0] & 7;
	rc = smtp_addr_path(arg, len, allow, &a, &used);
	check(used <= len);
	if (rc == SMTP_ADDR_OK || rc == SMTP_ADDR_UNQUALIFIED) {
		check_addr(&a, allow);
	} else {
		check(a.len == 0 && a.text[0] == '\0');
		check(smtp_reply_code(smtp_addr_reply(rc, allow & 2)) >= 500);
	}
	rc = smtp_addr_mailbox(arg, len, allow, &a);
	if (rc == SMTP_ADDR_OK || rc == SMTP_ADDR_UNQUALIFIED)
		check_addr(&a, allow);
	if (smtp_ehlo_arg(arg, len, ehlo) == 0)
		check(strlen(ehlo) > 0 && strlen(ehlo) <= len);
	return 0;
}
