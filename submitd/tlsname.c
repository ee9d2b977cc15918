/*
 * Names of certificates: see tlsname.h.  A sorted table, each name with what
 * it leads to, so that a question costs two searches.
 */
#include "tlsname.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

enum { NAME_MAX_LEN = 253 };

struct entry {
	char *name; /* in small letters */
	struct tlsname_pick pick;
};

struct tlsname {
	struct entry *v; /* until it is sealed in the order they came */
	size_t n;
	struct tlsname_pick first; /* for those who ask for no name of these */
	char *first_name;          /* of the first certificate; NULL */
};

static const struct tlsname_pick nothing = { { -1, -1, -1, -1, -1 } };

struct tlsname *
tlsname_new(void)
{
	struct tlsname *t = xcalloc(1, sizeof(*t));

	t->first = nothing;
	return t;
}

void
tlsname_free(struct tlsname **tp)
{
	struct tlsname *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	while (t->n > 0)
		free(t->v[--t->n].name);
	free(t->v);
	free(t->first_name);
	free(t);
}

/* As the table has it: small letters, no dot at the end; false: no name. */
static bool
normal(char out[NAME_MAX_LEN + 1], const char *name, size_t len)
{
	size_t i;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len > NAME_MAX_LEN)
		return false;
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c <= ' ' || c >= 127)
			return false;
		out[i] = (char)tolower(c);
	}
	out[len] = '\0';
	return true;
}

/* "*" stands alone in the first label, or it stands for nothing. */
static bool
is_pattern_or_name(const char *name)
{
	const char *star = strrchr(name, '*');

	return star == NULL ||
	    (star == name && star[1] == '.' && star[2] != '\0');
}

static struct entry *
entry_of(struct tlsname *t, const char *name)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		if (strcmp(t->v[i].name, name) == 0)
			return &t->v[i];
	t->v = xrealloc(t->v, (t->n + 1) * sizeof(*t->v));
	t->v[t->n] = (struct entry){ xstrdup(name), nothing };
	return &t->v[t->n++];
}

void
tlsname_add(struct tlsname *t, int cert, enum tlsname_kind kind,
    const char *name, size_t len)
{
	char text[NAME_MAX_LEN + 1];
	struct entry *e;

	if (cert == 0)
		t->first.of[kind] = 0;
	if (name == NULL || !normal(text, name, len) ||
	    !is_pattern_or_name(text))
		return;
	e = entry_of(t, text);
	if (e->pick.of[kind] == -1)
		e->pick.of[kind] = cert;
	if (cert == 0 && t->first_name == NULL)
		t->first_name = xstrdup(text);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(
	    ((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static const struct entry *
find(const struct tlsname *t, const char *name)
{
	const struct entry key = { .name = (char *)(size_t)name };

	return t->n == 0 ? NULL
			 : bsearch(&key, t->v, t->n, sizeof(*t->v), by_name);
}

/* The entry with a "*" for the first label. */
static const struct entry *
find_pattern(const struct tlsname *t, const char *name)
{
	char text[NAME_MAX_LEN + 2];
	const char *dot = strchr(name, '.');

	if (dot == NULL || dot == name)
		return NULL;
	text[0] = '*';
	memcpy(text + 1, dot, strlen(dot) + 1);
	return find(t, text);
}

/* Kinds that a name itself lacks come from the "*" that has it, too. */
static void
complete(const struct tlsname *t, struct entry *e)
{
	const struct entry *wild = find_pattern(t, e->name);
	int k;

	for (k = 0; wild != NULL && k < TLSNAME_KINDS; k++)
		if (e->pick.of[k] == -1)
			e->pick.of[k] = wild->pick.of[k];
}

void
tlsname_seal(struct tlsname *t)
{
	const struct entry *e;
	size_t i;

	if (t->n > 0)
		qsort(t->v, t->n, sizeof(*t->v), by_name);
	for (i = 0; i < t->n; i++)
		if (t->v[i].name[0] != '*')
			complete(t, &t->v[i]);
	if (t->first_name != NULL && (e = find(t, t->first_name)) != NULL)
		t->first = e->pick;
}

const struct tlsname_pick *
tlsname_find(const struct tlsname *t, const char *host)
{
	char text[NAME_MAX_LEN + 1];
	const struct entry *e;

	if (host == NULL || !normal(text, host, strlen(host)) ||
	    strchr(text, '*') != NULL)
		return &t->first;
	if ((e = find(t, text)) == NULL)
		e = find_pattern(t, text);
	return e != NULL ? &e->pick : &t->first;
}

const struct tlsname_pick *
tlsname_pick(const struct tlsname *t, size_t n)
{
	if (n == 0)
		return &t->first;
	return n <= t->n ? &t->v[n - 1].pick : NULL;
}
