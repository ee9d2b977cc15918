/*
 * Names of certificates in the form the access map knows.  The two steps are
 * described in certname.h.
 */
#include "certname.h"

#include <stdio.h>
#include <string.h>

static const char hex[] = "0123456789ABCDEF";

/* Second step: escapes len octets into out, which has room for three each. */
static void
escape(const unsigned char *s, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = s[i];

		if (c > 0x20 && c < 0x7f && strchr("+\\()<>\"", c) == NULL) {
			*out++ = (char)c;
			continue;
		}
		*out++ = '+';
		*out++ = hex[c >> 4];
		*out++ = hex[c & 15];
	}
	*out = '\0';
}

struct line {
	unsigned char text[CERTNAME_LINE_MAX];
	size_t len;
};

static int
put(struct line *l, unsigned char c)
{
	if (l->len == sizeof(l->text))
		return -1;
	l->text[l->len++] = c;
	return 0;
}

static int
put_octet(struct line *l, unsigned char c)
{
	if (c == '/' || c == '+')
		return put(l, '\\') == -1 ? -1 : put(l, c);
	if (c >= 0x20 && c <= 0x7e)
		return put(l, c);
	if (put(l, '\\') == -1 || put(l, 'x') == -1)
		return -1;
	return put(l, (unsigned char)hex[c >> 4]) == -1
	    ? -1
	    : put(l, (unsigned char)hex[c & 15]);
}

/* First step for one attribute; -1 if it does not fit whole. */
static int
put_attr(struct line *l, const struct certname_attr *a, unsigned char before)
{
	if (put(l, before) == -1)
		return -1;
	for (const char *p = a->type; *p != '\0'; p++) {
		if (put(l, (unsigned char)*p) == -1)
			return -1;
	}
	if (put(l, '=') == -1)
		return -1;
	for (size_t i = 0; i < a->len; i++) {
		if (put_octet(l, a->value[i]) == -1)
			return -1;
	}
	return 0;
}

static unsigned int
doubts(const struct certname_attr *a)
{
	unsigned int bits = 0;

	if (a->len == 0)
		return 0;
	if (memchr(a->value, '\0', a->len) != NULL)
		bits |= CERTNAME_NUL;
	if (a->value[a->len - 1] == '\\')
		bits |= CERTNAME_BACKSLASH;
	return bits;
}

unsigned int
certname_dn(const struct certname_attr *attr, size_t n, char *out)
{
	struct line l = { .len = 0 };
	unsigned int bits = 0;

	for (size_t i = 0; i < n; i++)
		bits |= doubts(&attr[i]);
	for (size_t i = 0; i < n; i++) {
		size_t whole = l.len;
		unsigned char before =
		    i > 0 && attr[i].rdn == attr[i - 1].rdn ? '+' : '/';

		if (put_attr(&l, &attr[i], before) == -1) {
			l.len = whole;
			bits |= CERTNAME_CUT;
			break;
		}
	}
	escape(l.text, l.len, out);
	return bits;
}

void
certname_cn(const struct certname_attr *attr, size_t n, char *out)
{
	const char *bad = "BadCertificateUnknown";

	for (size_t i = 0; i < n; i++) {
		if (strcmp(attr[i].type, "CN") != 0)
			continue;
		if (attr[i].len >= CERTNAME_LINE_MAX)
			bad = "BadCertificateTooLong";
		else if ((doubts(&attr[i]) & CERTNAME_NUL) != 0)
			bad = "BadCertificateContainsNUL";
		else {
			escape(attr[i].value, attr[i].len, out);
			return;
		}
		break;
	}
	snprintf(out, CERTNAME_SIZE, "%s", bad);
}
