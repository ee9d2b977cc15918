/*
 * Records of passwords made anew by auth, on their way to the store role, which
 * may write them. They wait until one runs; many that come together are one
 * run. What is lost here comes again with the next login.
 */
#include "parent_int.h"

#include <stdlib.h>

enum { WAITING_MAX = 256 };

struct rehash {
	STAILQ_ENTRY(rehash) link;
	char *user, *old, *sha256, *sha1;
	int64_t device;
};

static void
drop_first(void)
{
	struct rehash *r = STAILQ_FIRST(&P.rehash);

	STAILQ_REMOVE_HEAD(&P.rehash, link);
	P.rehashes--;
	free(r->user);
	freezero_str(r->old);
	freezero_str(r->sha256);
	freezero_str(r->sha1);
	free(r);
}

void
parent_rehash_take(struct ipc *i, const struct ipc_in *in)
{
	const struct proc *p = ipc_arg(i);
	const struct m_rehash *m = &in->m->rehash;
	struct rehash *r;

	if (p->role != ROLE_AUTH) {
		ipc_reject(i, "no business of this role");
		return;
	}
	if (P.stage != RUNNING || P.rehashes == WAITING_MAX)
		return;
	r = xcalloc(1, sizeof(*r));
	r->user = xstrdup(m->user);
	r->device = m->device;
	r->old = xstrdup(m->old);
	r->sha256 = xstrdup(m->sha256);
	r->sha1 = xstrdup(m->sha1);
	STAILQ_INSERT_TAIL(&P.rehash, r, link);
	P.rehashes++;
	parent_run_store();
}

void
parent_rehash_give(const struct proc *store)
{
	const struct rehash *r;

	while ((r = STAILQ_FIRST(&P.rehash)) != NULL) {
		const struct m_rehash m = { r->user, r->device, r->old,
			r->sha256, r->sha1 };

		ipc_send(store->ipc, M_REHASH, 0, &m);
		drop_first();
	}
}

void
parent_rehash_after(bool well)
{
	/* it could not write: neither could the next one */
	while (!well && P.rehashes > 0)
		drop_first();
	if (P.rehashes > 0)
		parent_run_store();
}
