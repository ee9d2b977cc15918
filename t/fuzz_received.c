/*
 * submitd/received.c. The first byte is flags, the rest strings that end with
 * NUL. Whatever they hold, the result is one field.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/received.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The next string of *p, or a default at the end. */
static const char *
take(const char **p, const char *end)
{
	const char *s = *p;

	if (s >= end)
		return "x";
	*p += strlen(s) + 1;
	return s;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char buf[RECEIVED_MAX], date[RECEIVED_DATE_MAX], *copy, *p, *nl;
	struct received r = { 0 };
	const char *s;
	size_t n, size;
	time_t t = 0;

	if (len < 1 + sizeof(t))
		return 0;
	memcpy(&t, data + 1, sizeof(t));
	if (t > INT32_MAX * 4096LL || t < INT32_MIN * 4096LL)
		t %= INT32_MAX;
	if (received_date(t, (int8_t)data[0] * 15, date, sizeof(date)) == 0)
		abort();
	n = len - 1 - sizeof(t);
	copy = malloc(n + 1);
	if (copy == NULL)
		abort();
	memcpy(copy, data + 1 + sizeof(t), n);
	copy[n] = '\0';
	s = copy;
	r.ehlo = take(&s, copy + n);
	r.host = take(&s, copy + n);
	r.id = take(&s, copy + n);
	r.tls_cipher = take(&s, copy + n);
	r.client_name = take(&s, copy + n);
	r.client_addr = take(&s, copy + n);
	r.login = take(&s, copy + n);
	r.date = date;
	r.trace_client = data[0] & 1;
	r.esmtp = data[0] & 2;
	r.tls = data[0] & 4;
	r.auth = data[0] & 8;
	r.utf8 = data[0] & 16;
	r.priority = data[0] & 32 ? "-9" : NULL;
	if (received_make(&r, buf, sizeof(buf)) != strlen(buf))
		abort();
	for (p = buf; *p != '\0'; p = nl + 2) {
		nl = strstr(p, "\r\n");
		if (nl == NULL || nl - p > 998 || (p > buf && *p != '\t'))
			abort();
		for (p += p > buf; p < nl; p++)
			if (*p < ' ' || *p == 0x7f)
				abort();
	}
	size = data[1] * 2;
	if (received_make(&r, buf, size) >= (size > 0 ? size : 1))
		abort();
	free(copy);
	return 0;
}
