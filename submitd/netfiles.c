/* resolv.conf and hosts: see netfiles.h. */
#include "netfiles.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

struct text {
	const char *p, *end;
};

/* The next line, without what is behind a mark of a comment. */
static bool
next_line(struct text *t, struct text *line)
{
	const char *nl, *p;

	if (t->p == t->end)
		return false;
	nl = memchr(t->p, '\n', (size_t)(t->end - t->p));
	line->p = t->p;
	line->end = nl != NULL ? nl : t->end;
	t->p = nl != NULL ? nl + 1 : t->end;
	for (p = line->p; p < line->end; p++)
		if (*p == '#' || *p == ';')
			line->end = p;
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* The next word; false at the end.  One that does not fit becomes "". */
static bool
next_word(struct text *line, char out[NETFILES_NAME])
{
	const char *begin;
	size_t n;

	while (line->p < line->end && is_blank(*line->p))
		line->p++;
	if (line->p == line->end)
		return false;
	begin = line->p;
	while (line->p < line->end && !is_blank(*line->p))
		line->p++;
	n = (size_t)(line->p - begin);
	if (n >= NETFILES_NAME || memchr(begin, '\0', n) != NULL)
		n = 0;
	memcpy(out, begin, n);
	out[n] = '\0';
	return true;
}

static bool
is_address(const char *text)
{
	unsigned char a[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, a) == 1 ||
	    inet_pton(AF_INET6, text, a) == 1;
}

/* An address may have a zone, as in "fe80::1%eth0". */
static bool
is_server(const char *text)
{
	char addr[NETFILES_NAME];
	size_t n = strcspn(text, "%");

	memcpy(addr, text, n);
	addr[n] = '\0';
	return is_address(addr);
}

size_t
netfiles_servers(const void *text, size_t len,
    void (*fn)(void *arg, const char *addr), void *arg)
{
	struct text t = { text, (const char *)text + len }, line;
	char word[NETFILES_NAME];
	size_t n = 0;

	while (next_line(&t, &line)) {
		if (!next_word(&line, word) ||
		    strcmp(word, "nameserver") != 0 ||
		    !next_word(&line, word) || !is_server(word))
			continue;
		fn(arg, word);
		n++;
	}
	return n;
}

void
netfiles_hosts(const void *text, size_t len,
    void (*fn)(void *arg, const char *name, const char *addr), void *arg)
{
	struct text t = { text, (const char *)text + len }, line;
	char addr[NETFILES_NAME], name[NETFILES_NAME];

	while (next_line(&t, &line)) {
		if (!next_word(&line, addr) || !is_address(addr))
			continue;
		while (next_word(&line, name))
			if (name[0] != '\0')
				fn(arg, name, addr);
	}
}
