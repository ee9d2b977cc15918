/* Any bytes as a DNS answer: what comes out is text of the right shape. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/dnsmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
each(void *arg, const char *text)
{
	int *n = arg;
	size_t len = strlen(text);

	if (len == 0 || len >= DNSMSG_NAME || ++*n > DNSMSG_RECORDS ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_.:") != len)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA, DNS_PTR };
	size_t i;
	int n;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		n = 0;
		dnsmsg_answers(data, len, types[i], each, &n);
	}
	return 0;
}
