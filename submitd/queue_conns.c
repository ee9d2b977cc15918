/*
 * The clients of all fronts, for `submitctl status`: queue reads their table
 * of connections (conntable.h), and can't write it.
 */
#include "queue.h"

#include <sys/mman.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conntable.h"
#include "log.h"
#include "mem.h"

enum { LIST_MAX = 20 };

struct queue_conns {
	struct conntable table;
};

void
queue_conns_free(struct queue *q)
{
	struct queue_conns *c = q->conns;

	q->conns = NULL;
	if (c == NULL)
		return;
	munmap(
	    (void *)(uintptr_t)c->table.all, conntable_bytes(&c->table.shape));
	free(c);
}

void
queue_conns_table(struct queue *q, const struct m_table *m, int fd)
{
	struct conntable t = { .shape = { m->regions, m->entries, m->seed } };
	void *p = MAP_FAILED;

	if (fd == -1)
		return;
	errno = EINVAL;
	if (m->part == TABLE_ALL && conntable_shape_ok(&t.shape))
		p = mmap(NULL, conntable_bytes(&t.shape), PROT_READ, MAP_SHARED,
		    fd, 0);
	if (p == MAP_FAILED)
		log_warn("table", "error=%s", strerror(errno));
	close(fd);
	if (p == MAP_FAILED)
		return;
	queue_conns_free(q);
	q->conns = xcalloc(1, sizeof(*q->conns));
	t.all = p;
	q->conns->table = t;
}

/* ---- the status ---- */

struct listing {
	const struct conf *conf;
	json_t *array;
};

static bool
at_limit(const struct conf *cf, const struct conntable_counts *n)
{
	return (cf->address_connections > 0 &&
		   n->conns >= cf->address_connections) ||
	    (cf->address_strangers > 0 &&
		n->strangers >= cf->address_strangers);
}

static int
list_one(uint64_t key, const struct conntable_counts *n, void *arg)
{
	struct listing *l = arg;
	char text[64];
	json_t *o;

	if (!at_limit(l->conf, n))
		return 0;
	conntable_key_text(key, text, sizeof(text));
	o = json_object();
	json_object_set_new(o, "addr", json_string(text));
	json_object_set_new(o, "connections", json_integer(n->conns));
	json_object_set_new(o, "strangers", json_integer(n->strangers));
	json_array_append_new(l->array, o);
	return json_array_size(l->array) == LIST_MAX;
}

json_t *
queue_conns(const struct queue *q)
{
	const struct conf *cf = &q->setup->conf;
	struct listing l = { cf, NULL };
	struct conntable_sum s;
	json_t *o;

	if (q->conns == NULL)
		return json_null();
	s = conntable_sum(&q->conns->table);
	l.array = json_array();
	conntable_each(&q->conns->table, list_one, &l);
	o = json_object();
	json_object_set_new(o, "now", json_integer(s.now.conns));
	json_object_set_new(o, "limit", json_integer(cf->max_connections));
	json_object_set_new(o, "strangers", json_integer(s.now.strangers));
	json_object_set_new(o, "strangers_limit",
	    json_integer(conntable_strangers_max(
		cf->max_strangers, cf->max_connections)));
	json_object_set_new(o, "handshakes", json_integer(s.now.handshakes));
	json_object_set_new(o, "refused", json_integer((json_int_t)s.refused));
	json_object_set_new(o, "dropped", json_integer((json_int_t)s.dropped));
	json_object_set_new(o, "addresses", l.array);
	return o;
}
