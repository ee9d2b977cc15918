/* Hashes of keys in an open table: see keyset.h. */
#include "keyset.h"

#include <stdlib.h>

#include "mem.h"

enum { SIZE_MIN = 16 };

/* FNV-1a; a stranger who finds keys of one hash wins a slower question. */
static uint64_t
hash(const char *key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 0x100000001b3u;
	return h != 0 ? h : 1;
}

/* Where h is, or the free place for it. */
static uint64_t *
find(const struct keyset *s, uint64_t h)
{
	size_t i = h & (s->size - 1);

	while (s->slot[i] != 0 && s->slot[i] != h)
		i = (i + 1) & (s->size - 1);
	return &s->slot[i];
}

static void
grow(struct keyset *s)
{
	struct keyset old = *s;
	size_t i;

	s->size = old.size > 0 ? old.size * 2 : SIZE_MIN;
	s->slot = xcalloc(s->size, sizeof(*s->slot));
	for (i = 0; i < old.size; i++)
		if (old.slot[i] != 0)
			*find(s, old.slot[i]) = old.slot[i];
	free(old.slot);
}

void
keyset_add(struct keyset *s, const char *key)
{
	uint64_t h = hash(key), *place;

	if (s->n >= s->size / 2) /* half of it free: finding is short */
		grow(s);
	place = find(s, h);
	s->n += *place == 0;
	*place = h;
}

bool
keyset_may_have(const struct keyset *s, const char *key)
{
	return s->n > 0 && *find(s, hash(key)) != 0;
}

void
keyset_clear(struct keyset *s)
{
	free(s->slot);
	*s = (struct keyset){ 0 };
}
