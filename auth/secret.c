/*
 * Memory for secrets: see secret.h.  One arena, first fit, with a header
 * before each block and neighbours that are free joined; what does not fit
 * comes from malloc() behind a header of the same form.
 */
#include "secret.h"

#include <sys/mman.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Before each block.  In the arena they follow each other without gaps. */
struct head {
	size_t size; /* of the block behind, a multiple of ALIGN */
	size_t used; /* 0: free */
};

enum { ALIGN = 16 };
_Static_assert(sizeof(struct head) == ALIGN, "blocks are aligned");

static unsigned char *arena;
static size_t arena_size, in_use, peak;

static struct head *
head_of(void *p)
{
	return (struct head *)((unsigned char *)p - sizeof(struct head));
}

static struct head *
next_of(struct head *h)
{
	return (struct head *)((unsigned char *)(h + 1) + h->size);
}

static bool
is_end(const struct head *h)
{
	return (const unsigned char *)h == arena + arena_size;
}

bool
secret_owns(const void *p)
{
	return arena != NULL && (uintptr_t)p >= (uintptr_t)arena &&
	    (uintptr_t)p < (uintptr_t)arena + arena_size;
}

/* The piece and a page before and after it, which stay shut. */
static unsigned char *
map(size_t size, size_t page)
{
	unsigned char *p = mmap(NULL, size + 2 * page, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (mprotect(p + page, size, PROT_READ | PROT_WRITE) == 0)
		return p + page;
	munmap(p, size + 2 * page);
	return NULL;
}

/* Page by page as they are used: those that never are cost nothing.  Where
 * less may be locked it is the first part, which is used first. */
static int
protect(void *p, size_t size)
{
	size_t part = size, page = (size_t)sysconf(_SC_PAGESIZE);
	int rc = mlock2(p, part, MLOCK_ONFAULT);

	while (rc == -1 && (part = part / 2 / page * page) > 0 &&
	    mlock2(p, part, MLOCK_ONFAULT) == -1)
		continue;

	/* also if it can't be locked */
	if (madvise(p, size, MADV_DONTDUMP) == -1 ||
	    madvise(p, size, MADV_WIPEONFORK) == -1)
		rc = -1;
	return rc;
}

int
secret_init(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct head *h;

	if (arena != NULL) {
		errno = EALREADY;
		return -1;
	}
	size = (size + page - 1) / page * page;
	if ((arena = map(size, page)) == NULL)
		return -1;
	arena_size = size;
	h = (struct head *)arena;
	h->size = size - sizeof(*h);
	return protect(arena, size);
}

/* The rest of a block becomes one of its own if it can hold anything. */
static void
split(struct head *h, size_t n)
{
	struct head *rest;

	if (h->size < n + sizeof(*h) + ALIGN)
		return;
	rest = (struct head *)((unsigned char *)(h + 1) + n);
	rest->size = h->size - n - sizeof(*rest);
	rest->used = 0;
	h->size = n;
}

static struct head *
from_arena(size_t n)
{
	struct head *h;

	if (arena == NULL)
		return NULL;
	for (h = (struct head *)arena; !is_end(h); h = next_of(h)) {
		if (h->used != 0 || h->size < n)
			continue;
		split(h, n);
		in_use += h->size + sizeof(*h);
		if (in_use > peak)
			peak = in_use;
		return h;
	}
	return NULL;
}

/* 0: too much. */
static size_t
rounded(size_t n)
{
	if (n > SIZE_MAX / 2)
		return 0;
	return n > 0 ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
}

static void *
begin(struct head *h)
{
	if (h == NULL)
		return NULL;
	h->used = 1;
	return h + 1;
}

void *
secret_alloc_inside(size_t n)
{
	size_t size = rounded(n);

	return size > 0 ? begin(from_arena(size)) : NULL;
}

void *
secret_alloc(size_t n)
{
	size_t size = rounded(n);
	struct head *h;
	void *p;

	if ((p = secret_alloc_inside(n)) != NULL)
		return p;
	if (size == 0 || (h = malloc(sizeof(*h) + size)) == NULL)
		return NULL;
	h->size = size;
	return begin(h);
}

static void
join_free(void)
{
	struct head *h, *next;

	for (h = (struct head *)arena; !is_end(h); h = next_of(h)) {
		while (h->used == 0 && !is_end(next = next_of(h)) &&
		    next->used == 0)
			h->size += sizeof(*next) + next->size;
	}
}

void
secret_free(void *p)
{
	struct head *h;

	if (p == NULL)
		return;
	h = head_of(p);
	explicit_bzero(p, h->size);
	if (!secret_owns(p)) {
		free(h);
		return;
	}
	in_use -= h->size + sizeof(*h);
	h->used = 0;
	join_free();
}

void *
secret_realloc(void *p, size_t n)
{
	size_t old = p != NULL ? secret_size(p) : 0;
	void *q;

	if (p != NULL && n <= old)
		return p;
	if ((q = secret_alloc(n)) == NULL)
		return NULL;
	if (p != NULL)
		memcpy(q, p, old);
	secret_free(p);
	return q;
}

size_t
secret_size(const void *p)
{
	return ((const struct head *)p - 1)->size;
}

size_t
secret_peak(void)
{
	return peak;
}
