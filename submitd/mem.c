/* Allocation that ends the role when memory is exhausted, and a byte buffer. */
#include "mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "auth/secret.h"

static void *
checked(void *p)
{
	static const char msg[] = "submitd: out of memory\n";

	if (p == NULL) {
		if (write(STDERR_FILENO, msg, sizeof(msg) - 1) == -1)
			_exit(EX_OSERR);
		_exit(EX_OSERR);
	}
	return p;
}

void *
xmalloc(size_t n)
{
	return checked(malloc(n > 0 ? n : 1));
}

void *
xcalloc(size_t n, size_t size)
{
	return checked(calloc(n > 0 ? n : 1, size > 0 ? size : 1));
}

void *
xrealloc(void *p, size_t n)
{
	return checked(realloc(p, n > 0 ? n : 1));
}

char *
xstrdup(const char *s)
{
	return checked(strdup(s));
}

char *
xstrndup(const char *s, size_t max)
{
	return checked(strndup(s, max));
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return checked(n >= 0 ? s : NULL);
}

void
str_set(char **s, const char *text)
{
	free(*s);
	*s = text != NULL && *text != '\0' ? xstrdup(text) : NULL;
}

const char *
str_of(const char *s)
{
	return s != NULL ? s : "";
}

void
freezero(void *p, size_t len)
{
	if (p != NULL)
		explicit_bzero(p, len);
	free(p);
}

void
freezero_str(char *s)
{
	freezero(s, s != NULL ? strlen(s) : 0);
}

void *
buf_room(struct buf *b, size_t n)
{
	size_t want;

	if (b->size - b->off - b->len >= n)
		return b->data + b->off + b->len;
	if (b->off > 0) {
		memmove(b->data, b->data + b->off, b->len);
		b->off = 0;
	}
	if (b->size - b->len < n) {
		want = b->size > 0 ? b->size : 256;
		while (want - b->len < n)
			want *= 2;
		b->data = b->secret ? checked(secret_realloc(b->data, want))
				    : xrealloc(b->data, want);
		b->size = want;
	}
	return b->data + b->len;
}

void
buf_grew(struct buf *b, size_t n)
{
	b->len += n;
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	memcpy(buf_room(b, n), p, n);
	b->len += n;
}

void
buf_drop(struct buf *b, size_t n)
{
	b->len -= n;
	b->off = b->len > 0 ? b->off + n : 0;
}

unsigned char *
buf_head(const struct buf *b)
{
	return b->data == NULL ? NULL : b->data + b->off;
}

void
buf_clear(struct buf *b)
{
	if (b->secret)
		secret_free(b->data);
	else
		free(b->data);
	*b = (struct buf){ 0 };
}

void
buf_wipe(struct buf *b)
{
	if (b->secret)
		secret_free(b->data);
	else
		freezero(b->data, b->size);
	*b = (struct buf){ 0 };
}
