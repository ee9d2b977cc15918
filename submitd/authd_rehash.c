/*
 * New records for passwords whose own are not made as they would be now: with
 * other iterations, by crypt(3), or for a mechanism that was added since. The
 * password is known only where a client sends it, by PLAIN or LOGIN: there
 * the records are made, and once the login is a success they go to parent, for
 * the store role to write. A login that is refused must change nothing, or the
 * change would show that the password was right.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/records.h"
#include "authd.h"
#include "log.h"

struct authd_rehash {
	int64_t device;
	char old[SASL_RECORD_MAX];
	struct records records;
};

void
authd_rehash_clear(struct authd_session *s)
{
	if (s->rehash != NULL)
		freezero(s->rehash, sizeof(*s->rehash));
	s->rehash = NULL;
}

void
authd_rehash_make(struct authd_session *s, const struct sasl_account *a,
    size_t index, const char *password, size_t len)
{
	const struct sasl_cred *c = &a->cred[index];
	const struct records_want want = {
		.iterations = (unsigned)A.setup->conf.scram_iterations,
		.sha1 = A.wants_sha1
	};

	authd_rehash_clear(s);
	if (!records_due(a, c->device, &want))
		return;
	s->rehash = xcalloc(1, sizeof(*s->rehash));
	s->rehash->device = c->device;
	memcpy(s->rehash->old, c->record, strlen(c->record) + 1);
	if (records_make(c->device != 0 ? a : NULL, &want, password, len,
		&s->rehash->records) == -1)
		authd_rehash_clear(s);
}

void
authd_rehash_send(struct authd_session *s)
{
	const struct authd_rehash *r = s->rehash;

	if (r == NULL || A.setup->parent == NULL)
		return;
	const struct m_rehash m = { .user = s->user,
		.device = r->device,
		.old = r->old,
		.sha256 = r->records.sha256,
		.sha1 = r->records.sha1 };

	ipc_send(A.setup->parent, M_REHASH, s->sid, &m);
	authd_rehash_clear(s);
}
