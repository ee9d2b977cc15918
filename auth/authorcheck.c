/*
 * The check of the authors in the header.
 *
 * policy_options.from_header chooses: every mailbox of the fields must be
 * owned; or From may say what it wants as long as there is a Sender that is
 * owned (RFC 6409 8.1), be it added.  Whoever relays by the access map alone
 * may name anybody, as he may in the envelope.
 */
#include "authorcheck.h"

#include <stdio.h>

static void
step(struct policy_ctx *c, const struct policy_author *a, enum policy_met met)
{
	struct policy_hit hit = { .found = POLICY_FOUND };

	/* the last place is for the one that decides */
	if (met == POLICY_MET_PASS && c->v->nsteps >= POLICY_STEPS_MAX - 1) {
		c->v->steps_lost = true;
		return;
	}
	snprintf(hit.key, sizeof(hit.key), "%s", a->address);
	snprintf(hit.value, sizeof(hit.value), "%s",
	    policy_author_field_name(a->field));
	policy_step(c, POLICY_RULE_AUTHOR, met, &hit);
	c->v->key[0] = '\0'; /* no entry of the map decides here */
}

/* 1, 0, or -1 when it can't be told for now. */
static int
is_owned(struct policy_ctx *c, const char *owner, const struct policy_author *a)
{
	if (a->wrong != NULL)
		return 0;
	return c->s->owns(c->s->arg, owner, a->address);
}

static bool
refuse_lookup(struct policy_ctx *c, const struct policy_author *a)
{
	step(c, a, POLICY_MET_FAIL);
	c->v->author = (size_t)(a - c->f->authors);
	return policy_refuse_own(
	    c, POLICY_WHY_SENDER_LOOKUP, POLICY_REFUSE_TEMP);
}

static bool
require_all(struct policy_ctx *c, const char *owner)
{
	const struct policy_author *a = c->f->authors;
	const struct policy_author *end = a + c->f->nauthors;
	int owned;

	for (; a < end; a++) {
		if ((owned = is_owned(c, owner, a)) == -1)
			return refuse_lookup(c, a);
		step(c, a, owned ? POLICY_MET_PASS : POLICY_MET_REFUSE);
		if (owned)
			continue;
		c->v->author = (size_t)(a - c->f->authors);
		return policy_refuse_own(c,
		    a->wrong != NULL ? POLICY_WHY_AUTHOR_FIELD
				     : POLICY_WHY_AUTHOR,
		    POLICY_REFUSE_PERM);
	}
	return false;
}

/* Without a Sender the author is also who sends (RFC 5322 3.6.2). */
static bool
require_sender(struct policy_ctx *c, const char *owner)
{
	const struct policy_author *a = c->f->authors;
	const struct policy_author *end = a + c->f->nauthors;
	bool good[POLICY_AUTHOR_FIELDS] = { true, true, true, true };
	bool has_sender = false;
	int owned;

	for (; a < end; a++) {
		if (a->field != POLICY_AUTHOR_FROM &&
		    a->field != POLICY_AUTHOR_SENDER)
			continue;
		if ((owned = is_owned(c, owner, a)) == -1)
			return refuse_lookup(c, a);
		step(c, a, owned ? POLICY_MET_PASS : POLICY_MET_NONE);
		good[a->field] &= owned == 1;
		has_sender |= a->field == POLICY_AUTHOR_SENDER;
	}
	c->v->add_sender = has_sender ? !good[POLICY_AUTHOR_SENDER]
				      : !good[POLICY_AUTHOR_FROM];
	return false;
}

bool
authorcheck(struct policy_ctx *c)
{
	const char *owner = c->f->user;

	if (owner == NULL)
		owner = c->o->map_relay_user;
	if (owner == NULL)
		return false;
	switch (c->o->from_header) {
	case POLICY_FROM_REQUIRE:
		return require_all(c, owner);
	case POLICY_FROM_SENDER:
		return require_sender(c, owner);
	case POLICY_FROM_OFF:
		break;
	}
	return false;
}
