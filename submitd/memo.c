/* Answers by key, in a fixed number of places: see memo.h. */
#include "memo.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

struct memo_entry {
	char *key; /* behind the value */
	alignas(max_align_t) unsigned char value[];
};

/* FNV-1a. */
static size_t
place_of(const char *key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 0x100000001b3u;
	return (size_t)(h % MEMO_PLACES);
}

const void *
memo_get(const struct memo *m, const char *key)
{
	const struct memo_entry *e = m->place[place_of(key)];

	return e != NULL && strcmp(e->key, key) == 0 ? e->value : NULL;
}

void
memo_put(struct memo *m, const char *key, const void *value, size_t size)
{
	size_t at = place_of(key), len = strlen(key) + 1;
	struct memo_entry *e = xmalloc(sizeof(*e) + size + len);

	memcpy(e->value, value, size);
	e->key = (char *)e->value + size;
	memcpy(e->key, key, len);
	free(m->place[at]);
	m->place[at] = e;
}

void
memo_clear(struct memo *m)
{
	size_t i;

	for (i = 0; i < MEMO_PLACES; i++)
		free(m->place[i]);
	memset(m, 0, sizeof(*m));
}
