/*
 * The password cache (passcache.h): a hash table with chains, and all entries
 * in one list by the time of their last use.
 */
#include "passcache.h"

#include <stdlib.h>
#include <string.h>

#include "scram.h"
#include "secret.h"

#define TAG_LEN  32   /* octets of an HMAC */
#define TEXT_MAX 9600 /* octets of user, NUL and password */

struct entry {
	unsigned char tag[TAG_LEN];
	struct entry *chain;         /* in the hash table */
	struct entry *older, *newer; /* by last use */
	int64_t until_s;
	int64_t device;
	bool right;
};

struct passcache {
	unsigned char *key; /* of PASSCACHE_KEY_LEN bytes */
	size_t max, count, buckets; /* buckets: a power of two */
	struct entry **table;
	struct entry *oldest, *newest;
};

struct passcache *
passcache_new(const unsigned char key[PASSCACHE_KEY_LEN], size_t max)
{
	struct passcache *pc = calloc(1, sizeof(*pc));

	if (pc == NULL || (pc->key = secret_alloc(PASSCACHE_KEY_LEN)) == NULL) {
		free(pc);
		return NULL;
	}
	memcpy(pc->key, key, PASSCACHE_KEY_LEN);
	pc->max = max;
	for (pc->buckets = 16; pc->buckets < max; pc->buckets *= 2)
		;
	if ((pc->table = calloc(pc->buckets, sizeof(struct entry *))) == NULL)
		passcache_free(&pc);
	return pc;
}

void
passcache_free(struct passcache **pcp)
{
	struct passcache *pc = *pcp;

	if (pc == NULL)
		return;
	passcache_wipe(pc);
	free(pc->table);
	secret_free(pc->key);
	free(pc);
	*pcp = NULL;
}

/* HMAC(key, user NUL password).  A user name holds no NUL. */
static int
make_tag(const struct passcache *pc, const char *user, const char *password,
    size_t len, unsigned char tag[TAG_LEN])
{
	unsigned char text[TEXT_MAX];
	size_t n = strlen(user) + 1;
	int rc;

	if (n > TEXT_MAX || len > TEXT_MAX - n)
		return -1;
	memcpy(text, user, n);
	if (len > 0)
		memcpy(text + n, password, len);
	rc = scram_hmac256(pc->key, sizeof(pc->key), text, n + len, tag);
	explicit_bzero(text, n + len);
	return rc;
}

static struct entry **
bucket(const struct passcache *pc, const unsigned char tag[TAG_LEN])
{
	size_t n;

	memcpy(&n, tag, sizeof(n));
	return &pc->table[n & (pc->buckets - 1)];
}

static void
unlink_use(struct passcache *pc, struct entry *e)
{
	if (e->older != NULL)
		e->older->newer = e->newer;
	else
		pc->oldest = e->newer;
	if (e->newer != NULL)
		e->newer->older = e->older;
	else
		pc->newest = e->older;
}

static void
link_newest(struct passcache *pc, struct entry *e)
{
	e->older = pc->newest;
	e->newer = NULL;
	if (pc->newest != NULL)
		pc->newest->newer = e;
	else
		pc->oldest = e;
	pc->newest = e;
}

static void
drop(struct passcache *pc, struct entry *e)
{
	struct entry **p = bucket(pc, e->tag);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
	unlink_use(pc, e);
	pc->count--;
	explicit_bzero(e, sizeof(*e));
	free(e);
}

/* The tag is an HMAC under a key nobody knows: memcmp() tells nothing. */
static struct entry *
find(const struct passcache *pc, const unsigned char tag[TAG_LEN])
{
	struct entry *e;

	for (e = *bucket(pc, tag); e != NULL; e = e->chain)
		if (memcmp(e->tag, tag, TAG_LEN) == 0)
			return e;
	return NULL;
}

enum passcache_rc
passcache_get(struct passcache *pc, const char *user, const char *password,
    size_t len, int64_t now_s, int64_t *device)
{
	unsigned char tag[TAG_LEN];
	struct entry *e;

	if (make_tag(pc, user, password, len, tag) == -1 ||
	    (e = find(pc, tag)) == NULL)
		return PASSCACHE_MISS;
	if (now_s >= e->until_s) {
		drop(pc, e);
		return PASSCACHE_MISS;
	}
	unlink_use(pc, e);
	link_newest(pc, e);
	if (!e->right)
		return PASSCACHE_WRONG;
	*device = e->device;
	return PASSCACHE_RIGHT;
}

void
passcache_put(struct passcache *pc, const char *user, const char *password,
    size_t len, bool right, int64_t device, int64_t now_s)
{
	unsigned char tag[TAG_LEN];
	struct entry *e, **p;

	if (make_tag(pc, user, password, len, tag) == -1)
		return;
	if ((e = find(pc, tag)) != NULL)
		drop(pc, e);
	while (pc->count >= pc->max)
		drop(pc, pc->oldest);
	if ((e = calloc(1, sizeof(*e))) == NULL)
		return;
	memcpy(e->tag, tag, TAG_LEN);
	e->until_s = now_s + (right ? PASSCACHE_RIGHT_S : PASSCACHE_WRONG_S);
	e->device = device;
	e->right = right;
	p = bucket(pc, tag);
	e->chain = *p;
	*p = e;
	link_newest(pc, e);
	pc->count++;
}

void
passcache_wipe(struct passcache *pc)
{
	while (pc->oldest != NULL)
		drop(pc, pc->oldest);
}

size_t
passcache_count(const struct passcache *pc)
{
	return pc->count;
}
