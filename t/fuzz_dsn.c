/*
 * submitd/dsn.c. The first byte is flags, the rest strings that end with NUL;
 * what follows the last is the original. Whatever they hold, the report has
 * its three parts, no other, and only lines that any server takes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/dsn.h"

#define BOUNDARY "9f8e7d6c5b4a39281706"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *
take(const char **p, const char *end)
{
	const char *s = *p;

	if (s >= end)
		return NULL;
	*p += strlen(s) + 1;
	return s;
}

static const char *
or_x(const char *s)
{
	return s != NULL ? s : "x";
}

static void
check(const char *p, const char *end, bool full)
{
	const char *nl;
	unsigned parts = 0;

	for (; p < end; p = nl + 2) {
		nl = memmem(p, (size_t)(end - p), "\r\n", 2);
		if (nl == NULL)
			abort();
		if (strncmp(p, "--" BOUNDARY, 22) == 0)
			parts++;
		if (full && parts == 3)
			continue;
		/* From and To may be UTF-8, nothing else */
		if (nl - p > 998)
			abort();
		if (strncmp(p, "From:", 5) == 0 || strncmp(p, "To:", 3) == 0)
			continue;
		for (; p < nl; p++)
			if ((*p < ' ' && *p != '\t') || *p == 0x7f)
				abort();
	}
	if (parts != 4)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct dsn_rcpt r[2] = { { 0 } };
	struct dsn d = { .boundary = BOUNDARY, .rcpt = r };
	struct buf out = { 0 };
	const char *s, *end;
	char *copy;
	size_t i;

	if (len-- == 0)
		return 0;
	copy = malloc(len + 1);
	if (copy == NULL)
		abort();
	memcpy(copy, data + 1, len);
	copy[len] = '\0';
	s = copy;
	end = copy + len;
	d.nrcpt = 1 + (data[0] & 1);
	d.full = data[0] & 2;
	d.utf8 = data[0] & 4;
	d.host = or_x(take(&s, end));
	d.to = or_x(take(&s, end));
	d.date = or_x(take(&s, end));
	d.message_id = or_x(take(&s, end));
	for (i = 0; i < d.nrcpt; i++) {
		r[i].action = (enum dsn_action)((data[0] >> (3 + i)) % 5);
		r[i].final = or_x(take(&s, end));
		r[i].original = take(&s, end);
		r[i].status = take(&s, end);
		r[i].remote_mta = take(&s, end);
		r[i].diagnostic = take(&s, end);
		r[i].reason = take(&s, end);
		r[i].last_attempt = take(&s, end);
		r[i].retry_until = take(&s, end);
	}
	d.from = take(&s, end);
	d.envid = take(&s, end);
	d.arrival = take(&s, end);
	d.queue_id = take(&s, end);
	d.contact = take(&s, end);
	d.original = s < end ? s : "";
	d.original_len = s < end ? (size_t)(end - s) : 0;
	if (memmem(copy, len, "9f8e7d6c", 8) == NULL) {
		dsn_build(&d, &out);
		check((char *)buf_head(&out), (char *)buf_head(&out) + out.len,
		    d.full);
		buf_clear(&out);
	}
	free(copy);
	return 0;
}
