/*
 * Addresses as the access map sees them.
 */
#include "mapaddr.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ROUTES_MAX 32 /* hosts of a routed address that are followed */

/* Steps over a source route: "@a,@b:user@host" (RFC 5321, appendix C). */
static const char *
skip_route(const char *s)
{
	while (*s == '@') {
		const char *p = s + 1;

		if (*p == '[')
			p += strcspn(p, "]");
		p += strcspn(p, ",:");
		if (*p == '\0')
			break;
		s = p + 1; /* sendmail takes a further route behind a ":" */
	}
	return s;
}

/* The last octet c outside of quotes, or NULL. */
static const char *
find_last(const char *s, char c)
{
	const char *found = NULL;
	bool quoted = false;

	for (; *s != '\0'; s++) {
		if (*s == '"')
			quoted = !quoted;
		else if (*s == '\\' && s[1] != '\0')
			s++;
		else if (*s == c && !quoted)
			found = s;
	}
	return found;
}

static bool
set(char *to, const char *from, size_t len)
{
	if (len >= MAPADDR_SIZE)
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

/* host!user, the form of a network that is gone; a plain host was in it. */
static bool
split_uucp(struct mapaddr *a, const char *s, const char *bang)
{
	size_t len = (size_t)(bang - s);

	if (len == 0 || len + sizeof(".UUCP") > sizeof(a->domain))
		return false;
	snprintf(a->domain, sizeof(a->domain), "%.*s%s", (int)len, s,
	    memchr(s, '.', len) != NULL ? "" : ".UUCP");
	return set(a->local, bang + 1, strlen(bang + 1));
}

static bool
split(struct mapaddr *a, const char *s)
{
	const char *at = find_last(s, '@'), *bang = strchr(s, '!');
	size_t len;

	a->domain[0] = '\0';
	if (at == NULL && bang != NULL && s[0] != '"' && bang[1] != '\0')
		return split_uucp(a, s, bang);
	if (at == NULL)
		at = find_last(s, '%');
	if (at == NULL)
		return set(a->local, s, strlen(s));
	for (len = strlen(at + 1); len > 0 && at[len] == '.';)
		len--;
	return set(a->local, s, (size_t)(at - s)) &&
	    set(a->domain, at + 1, len);
}

/* "user" becomes user, unless what is in the quotes needs them. */
static void
dequote(struct mapaddr *a)
{
	char *local = a->local;
	size_t len = strlen(local);

	a->dequoted = false;
	if (len < 3 || local[0] != '"' || local[len - 1] != '"' ||
	    strpbrk(local, " \t()<>\\") != NULL ||
	    memchr(local + 1, '"', len - 2) != NULL)
		return;
	memmove(local, local + 1, len - 2);
	local[len - 2] = '\0';
	a->dequoted = true;
}

bool
mapaddr_is_routed(const struct mapaddr *a)
{
	return a->local[0] != '"' && strpbrk(a->local, "@%!") != NULL;
}

bool
mapaddr_is_listed(const char *domain, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++) {
		if (strcasecmp(domain, *list) == 0)
			return true;
	}
	return false;
}

bool
mapaddr_is_below(const char *domain, const char *const *list)
{
	size_t len = strlen(domain);

	for (; list != NULL && *list != NULL; list++) {
		size_t n = strlen(*list);

		if (n > 0 && len >= n &&
		    strcasecmp(domain + len - n, *list) == 0 &&
		    (len == n || domain[len - n - 1] == '.'))
			return true;
	}
	return false;
}

void
mapaddr_parse(
    struct mapaddr *a, const char *address, const struct policy_options *o)
{
	char rest[MAPADDR_SIZE];

	a->whole = true;
	a->dequoted = false;
	if (!split(a, skip_route(address))) {
		a->local[0] = a->domain[0] = '\0';
		a->whole = false;
		return;
	}
	dequote(a);
	for (int i = 0; i < ROUTES_MAX && mapaddr_is_routed(a) &&
	     (a->domain[0] == '\0' ||
		 mapaddr_is_listed(a->domain, o->local_domains));
	     i++) {
		set(rest, a->local, strlen(a->local));
		split(a, skip_route(rest));
		dequote(a);
	}
}
