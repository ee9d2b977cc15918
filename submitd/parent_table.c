/*
 * The memory of the fronts' table of connections (conntable.h): made here,
 * given to each front and to queue, and a region emptied when its front is
 * dead.  Parent itself never looks inside.
 *
 * A front gets the memory twice: to read all of it, and to write its own
 * region.  A reload that needs a larger table gets a new one; the old fronts
 * keep theirs, and their connections are then counted apart.
 */
#include "parent_int.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

/* Sets at the same time: active, starting, three that drain. */
enum { SETS = 5 };

struct table {
	int fd, read_fd;
	struct conntable_shape shape;
	unsigned refs; /* regions in use, and P.table */
	bool used[CONNTABLE_REGIONS_MAX];
};

static void
release(struct table **tp)
{
	struct table *t = *tp;

	*tp = NULL;
	if (t == NULL || --t->refs > 0)
		return;
	if (t->fd != -1)
		close(t->fd);
	if (t->read_fd != -1)
		close(t->read_fd);
	free(t);
}

static size_t
fronts_of(const struct set *s)
{
	const struct proc *p;
	size_t n = 0;

	TAILQ_FOREACH(p, &P.procs, link)
		n += p->set == s && p->role == ROLE_FRONT;
	return n;
}

/* Nobody may take pages away under those who map them. */
static int
open_memory(struct table *t)
{
	off_t size = (off_t)conntable_bytes(&t->shape);
	char again[64];

	t->fd = memfd_create("connections", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (t->fd == -1 || ftruncate(t->fd, size) == -1 ||
	    fcntl(t->fd, F_ADD_SEALS,
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)
		return -1;
	/* a descriptor that nobody can write through */
	snprintf(again, sizeof(again), "/proc/self/fd/%d", t->fd);
	t->read_fd = open(again, O_RDONLY | O_CLOEXEC);
	return t->read_fd == -1 ? -1 : 0;
}

static struct table *
new_table(size_t regions, size_t connections)
{
	struct table *t = xcalloc(1, sizeof(*t));
	uint64_t seed;

	t->fd = t->read_fd = -1;
	t->refs = 1;
	if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed) &&
	    conntable_shape_for(&t->shape, regions, connections, seed) == 0 &&
	    open_memory(t) == 0)
		return t;
	log_warn("table", "error=%s", strerror(errno));
	release(&t);
	return NULL;
}

static void
give(const struct proc *p, const struct table *t, enum table_part part)
{
	const struct m_table m = { .part = (uint8_t)part,
		.region = p->region,
		.regions = t->shape.regions,
		.entries = t->shape.entries,
		.seed = t->shape.seed };

	ipc_send_fd(
	    p->ipc, M_TABLE, 0, &m, part == TABLE_ALL ? t->read_fd : t->fd);
}

/* A region for p, in a table that is large enough. */
static void
take_region(struct proc *p)
{
	size_t regions = fronts_of(p->set) * SETS, i;
	size_t connections = (size_t)p->set->given->conf.max_connections;
	const struct proc *queue = parent_find_role(ROLE_QUEUE);

	if (P.table == NULL ||
	    !conntable_fits(&P.table->shape, regions, connections)) {
		release(&P.table);
		P.table = new_table(regions, connections);
		if (P.table != NULL && queue != NULL && queue->ipc != NULL)
			give(queue, P.table, TABLE_ALL);
	}
	for (i = 0; P.table != NULL && i < P.table->shape.regions; i++) {
		if (P.table->used[i])
			continue;
		P.table->used[i] = true;
		P.table->refs++;
		p->table = P.table;
		p->region = (uint32_t)i;
		return;
	}
}

void
parent_table_give(struct proc *p)
{
	if (p->role == ROLE_QUEUE && P.table != NULL)
		give(p, P.table, TABLE_ALL);
	if (p->role != ROLE_FRONT)
		return;
	take_region(p);
	if (p->table == NULL)
		return; /* it will refuse, and the start or reload fails */
	give(p, p->table, TABLE_ALL);
	give(p, p->table, TABLE_REGION);
}

void
parent_table_back(struct proc *p)
{
	struct table *t = p->table;

	if (t == NULL)
		return;
	if (fallocate(t->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)conntable_region_at(&t->shape, p->region),
		(off_t)conntable_region_bytes(&t->shape)) == -1)
		log_warn("table", "error=%s", strerror(errno));
	else
		t->used[p->region] = false; /* else it is never used again */
	release(&p->table);
}
