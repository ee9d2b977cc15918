/* Reading DNS answers: see dnsmsg.h. */
#include "dnsmsg.h"

#include <arpa/inet.h>

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
	HEADER = 12,
	LABEL_MAX = 63,
	CLASS_IN = 1,
	JUMPS_MAX = 64 /* more compression pointers are a loop */
};

struct msg {
	const unsigned char *p;
	size_t len, at;
};

static unsigned
u16(const struct msg *m, size_t at)
{
	return (unsigned)m->p[at] << 8 | m->p[at + 1];
}

/* Passes a name; 0 or -1. */
static int
skip_name(struct msg *m)
{
	unsigned n;

	while (m->at < m->len) {
		n = m->p[m->at++];
		if (n == 0)
			return 0;
		if (n > LABEL_MAX) { /* a pointer ends the name */
			m->at++;
			return n >= 0xc0 && m->at <= m->len ? 0 : -1;
		}
		m->at += n;
	}
	return -1;
}

static bool
is_host_char(unsigned char c)
{
	return isalnum(c) || c == '-' || c == '_';
}

/* Appends one label and a dot; -1 if it is no part of a host name. */
static int
add_label(const unsigned char *p, unsigned n, char *out, size_t *len)
{
	unsigned i;

	if (*len + n + 1 >= DNSMSG_NAME)
		return -1;
	for (i = 0; i < n; i++) {
		if (!is_host_char(p[i]))
			return -1;
		out[(*len)++] = (char)tolower(p[i]);
	}
	out[(*len)++] = '.';
	return 0;
}

/*
 * No name of a host ends with a number (RFC 1123 section 2.1): it would be
 * taken for an address, and match the entries of somebody else's.
 */
static bool
looks_like_address(const char *name)
{
	const char *dot = strrchr(name, '.');
	const char *last = dot != NULL ? dot + 1 : name;

	return last[strspn(last, "0123456789")] == '\0';
}

/* The name at offset at, as text in out[DNSMSG_NAME]; 0, or -1 if it is
 * malformed, empty or no host name. */
static int
host_name(const struct msg *m, size_t at, char *out)
{
	size_t len = 0;
	unsigned n, jumps = 0;

	while (at < m->len && (n = m->p[at++]) != 0) {
		if (n >= 0xc0) {
			if (at >= m->len || ++jumps > JUMPS_MAX)
				return -1;
			at = (n & 0x3f) << 8 | m->p[at];
			continue;
		}
		if (n > LABEL_MAX || n > m->len - at ||
		    add_label(m->p + at, n, out, &len) == -1)
			return -1;
		at += n;
	}
	if (at > m->len || len == 0 || m->p[at - 1] != 0)
		return -1;
	out[len - 1] = '\0';
	return looks_like_address(out) ? -1 : 0;
}

static void
tell(const struct msg *m, enum dns_type type, size_t rdlen, dnsmsg_each *each,
    void *arg)
{
	char text[DNSMSG_NAME];
	const void *rdata = m->p + m->at;

	if (type == DNS_A && rdlen == 4)
		inet_ntop(AF_INET, rdata, text, sizeof(text));
	else if (type == DNS_AAAA && rdlen == 16)
		inet_ntop(AF_INET6, rdata, text, sizeof(text));
	else if (type != DNS_PTR || host_name(m, m->at, text) == -1)
		return;
	each(arg, text);
}

int
dnsmsg_answers(const void *msg, size_t len, enum dns_type type,
    dnsmsg_each *each, void *arg)
{
	struct msg m = { .p = msg, .len = len, .at = HEADER };
	unsigned i, rtype, class, questions, answers;
	size_t rdlen;

	if (len < HEADER)
		return -1;
	questions = u16(&m, 4);
	answers = u16(&m, 6);
	for (i = 0; i < questions; i++) {
		if (skip_name(&m) == -1 || m.len - m.at < 4)
			return -1;
		m.at += 4;
	}
	for (i = 0; i < answers && i < DNSMSG_RECORDS; i++) {
		if (skip_name(&m) == -1 || m.len - m.at < 10)
			return -1;
		rtype = u16(&m, m.at);
		class = u16(&m, m.at + 2);
		rdlen = u16(&m, m.at + 8);
		m.at += 10;
		if (rdlen > m.len - m.at)
			return -1;
		if (rtype == (unsigned)type && class == CLASS_IN)
			tell(&m, type, rdlen, each, arg);
		m.at += rdlen;
	}
	return m.p[3] & 0x0f;
}

static void
reverse6(const unsigned char *a, char *out)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;
	int i;

	for (i = 15; i >= 0; i--) {
		out[n++] = hex[a[i] & 0x0f];
		out[n++] = '.';
		out[n++] = hex[a[i] >> 4];
		out[n++] = '.';
	}
	memcpy(out + n, "ip6.arpa", sizeof("ip6.arpa"));
}

int
dnsmsg_reverse(const char *addr, char *out, size_t size)
{
	unsigned char a[16];

	if (size < DNSMSG_REVERSE)
		return -1;
	if (inet_pton(AF_INET, addr, a) == 1) {
		snprintf(out, size, "%u.%u.%u.%u.in-addr.arpa", a[3], a[2],
		    a[1], a[0]);
		return 0;
	}
	if (inet_pton(AF_INET6, addr, a) != 1)
		return -1;
	reverse6(a, out);
	return 0;
}
