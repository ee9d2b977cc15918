/*
 * submitd/mailbox.c, shown.c. The input is the value of a From field. When it
 * is not refused, no address was missed that a more careless reader could find
 * in it: whatever has the looks of one, wherever it stands in the bytes, is
 * part of one that was reported.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/mailbox.h"
#include "submitd/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* All that was reported, a line each. */
static void
note(void *arg, const char *address)
{
	size_t n = strlen(address);

	if (n == 0 || n > MAILBOX_ADDRESS_MAX || strchr(address, '@') == NULL ||
	    strpbrk(address, "\r\n") != NULL)
		abort();
	buf_add(arg, address, n);
	buf_add(arg, "\n", 1);
}

/*
 * The least that could be taken for an address around the @ at p: the letter
 * before it, and two labels of letters behind it. Its length from p - 1 on, or
 * 0.
 */
static size_t
careless(const char *start, const char *p, const char *end)
{
	const char *q = p + 1;

	if (p == start || !isalnum((unsigned char)p[-1]))
		return 0;
	while (q < end && isalnum((unsigned char)*q))
		q++;
	if (q == p + 1 || q == end || *q != '.')
		return 0;
	for (p--, q++; q < end && isalpha((unsigned char)*q); q++)
		continue;
	/* one letter is none, and a digit makes it another name */
	if (q[-1] == '.' || q[-2] == '.' ||
	    (q < end && isdigit((unsigned char)*q)))
		return 0;
	return (size_t)(q - p);
}

static bool
was_reported(struct buf *all, const char *p, size_t n)
{
	char *want = strndup(p, n);
	bool found;

	if (want == NULL)
		abort();
	buf_add(all, "", 1);
	found = strcasestr((const char *)buf_head(all), want) != NULL;
	all->len--;
	free(want);
	return found;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *copy = xmalloc(len > 0 ? len : 1), *p, *end = copy + len;
	struct buf all = { 0 };
	enum mailbox_rc rc;
	size_t n;

	if (len > 0)
		memcpy(copy, data, len);
	rc = mailbox_list(copy, len, note, &all);
	if ((unsigned)rc >= MAILBOX_RCS || rc == MAILBOX_MISSING ||
	    rc == MAILBOX_TWICE)
		abort();
	if (rc == MAILBOX_OK && all.len == 0)
		abort();
	for (p = copy; rc == MAILBOX_OK && p < end; p++) {
		if (*p != '@' || (n = careless(copy, p, end)) == 0)
			continue;
		if (!was_reported(&all, p - 1, n)) {
			fprintf(stderr, "missed: %.*s\n", (int)n, p - 1);
			abort();
		}
	}
	buf_clear(&all);
	free(copy);
	return 0;
}
