/*
 * What the entries Connect, From and To say to a client.
 */
#include "mapreply.h"

#include <stdio.h>
#include <string.h>

#include "mapaddr.h"
#include "store/accessval.h"
#include "walk.h"

/* Accepted with a fate: the client sees success. */
static bool
decide_fate(
    struct policy_ctx *c, enum policy_decision decision, const char *text)
{
	c->v->decision = decision;
	c->v->why = POLICY_WHY_MAP;
	policy_set_text(c, text);
	return true;
}

static bool
decide(struct policy_ctx *c, const char *value,
    const struct accessval_reply *reply, const char *reject_esc,
    const char *reject_text)
{
	switch (reply->kind) {
	case ACCESSVAL_REJECT:
		return policy_refuse(
		    c, POLICY_WHY_MAP, 550, reject_esc, "%s", reject_text);
	case ACCESSVAL_DISCARD:
		return decide_fate(c, POLICY_DISCARD, "");
	case ACCESSVAL_QUARANTINE:
		return decide_fate(c, POLICY_QUARANTINE, reply->text);
	case ACCESSVAL_ERROR:
		return policy_refuse(c, POLICY_WHY_MAP, reply->code, reply->esc,
		    "%s", reply->text);
	default:
		/* SKIP where no walk can end: a text like any other */
		return policy_refuse(
		    c, POLICY_WHY_MAP, 553, "5.3.0", "%s", value);
	}
}

bool
mapreply_apply(struct policy_ctx *c, enum policy_rule rule,
    const struct policy_hit *hit, const char *reject_esc,
    const char *reject_text)
{
	struct accessval_reply reply;

	if (hit->found == POLICY_TEMPFAIL)
		return policy_refuse_lookup(c, rule, hit);
	if (hit->found == POLICY_ABSENT) {
		policy_step(c, rule, POLICY_MET_NONE, NULL);
		return false;
	}
	if (accessval_reply(hit->value, &reply, NULL) == -1)
		return policy_refuse_malformed(c, rule, hit);
	if (reply.kind == ACCESSVAL_OK || reply.kind == ACCESSVAL_RELAY) {
		policy_step(c, rule, POLICY_MET_PASS, hit);
		return false;
	}
	policy_step(c, rule, POLICY_MET_REFUSE, hit);
	return decide(c, hit->value, &reply, reject_esc, reject_text);
}

bool
mapreply_connect(struct policy_ctx *c)
{
	struct policy_hit hit;

	walk_host(c, "Connect", policy_str(c->f->client_name),
	    policy_str(c->f->client_addr), WALK_UNTAGGED, &hit);
	return mapreply_apply(
	    c, POLICY_RULE_CONNECT, &hit, "5.7.1", "Access denied");
}

/*
 * The null sender is never looked up, since bounces must pass (RFC 5321,
 * section 4.5.5).  *accepted: there is an entry, and it lets the sender pass.
 */
bool
mapreply_from(struct policy_ctx *c, bool *accepted)
{
	const char *sender = policy_str(c->f->sender), *tag = "From";
	struct policy_hit hit = { .found = POLICY_ABSENT };
	struct mapaddr a;
	bool decided;

	*accepted = false;
	if (sender[0] == '\0')
		return false;
	mapaddr_parse(&a, sender, c->o);
	if (a.domain[0] != '\0')
		walk_mailbox(c, tag, &a, a.domain, WALK_UNTAGGED, &hit);
	if (hit.found == POLICY_ABSENT)
		walk_mailbox(c, tag, &a, "", WALK_UNTAGGED, &hit);
	if (hit.found == POLICY_ABSENT)
		walk_name(c, tag, a.domain, WALK_UNTAGGED, &hit);
	decided =
	    mapreply_apply(c, POLICY_RULE_FROM, &hit, "5.7.1", "Access denied");
	*accepted = !decided && hit.found == POLICY_FOUND;
	return decided;
}

static bool
is_fate(const struct policy_hit *hit)
{
	struct accessval_reply reply;

	return hit->found == POLICY_FOUND &&
	    accessval_reply(hit->value, &reply, NULL) == 0 &&
	    (reply.kind == ACCESSVAL_DISCARD ||
		reply.kind == ACCESSVAL_QUARANTINE);
}

bool
mapreply_to(struct policy_ctx *c, const struct mapaddr *a)
{
	struct policy_hit hit = { .found = POLICY_ABSENT };
	const char *tag = "To";
	bool local = a->domain[0] == '\0' ||
	    mapaddr_is_listed(a->domain, c->o->local_domains);

	if (!c->o->blocklist_recipients)
		return false;
	if (a->domain[0] != '\0')
		walk_user(c, tag, a->local, a->domain, WALK_UNTAGGED, &hit);
	if (hit.found == POLICY_ABSENT && local)
		walk_user(c, tag, a->local, "", WALK_UNTAGGED, &hit);
	if (hit.found == POLICY_ABSENT)
		walk_name(c, tag, a->domain, WALK_UNTAGGED, &hit);
	if (hit.found == POLICY_FOUND && c->o->skip &&
	    accessval_is(hit.value, "SKIP"))
		hit.found = POLICY_ABSENT;
	if (!c->o->anonymous_mail && is_fate(&hit)) {
		c->fated = true;
		c->fate = hit;
		c->fate_step = c->v->nsteps;
		policy_step(c, POLICY_RULE_TO_BLOCK, POLICY_MET_PASS, &hit);
		return false;
	}
	return mapreply_apply(c, POLICY_RULE_TO_BLOCK, &hit, "5.2.1",
	    "Mailbox disabled for this recipient");
}

bool
mapreply_fate(struct policy_ctx *c)
{
	struct policy_verdict *v = c->v;
	struct accessval_reply reply;

	if (!c->fated || accessval_reply(c->fate.value, &reply, NULL) == -1)
		return false;
	if (c->fate_step < v->nsteps)
		v->steps[c->fate_step].met = POLICY_MET_REFUSE;
	snprintf(v->key, sizeof(v->key), "%s", c->fate.key);
	return decide(c, c->fate.value, &reply, "", "");
}

/* To a recipient without domain the server's own one counts. */
void
mapreply_spam(struct policy_ctx *c, struct policy_hit *hit)
{
	const char *const *here = c->o->local_domains;
	const char *tag = "Spam";
	struct mapaddr a;

	mapaddr_parse(&a, policy_str(c->f->rcpt), c->o);
	if (a.domain[0] == '\0' && here != NULL && here[0] != NULL)
		snprintf(a.domain, sizeof(a.domain), "%s", here[0]);
	hit->found = POLICY_ABSENT;
	if (a.domain[0] != '\0')
		walk_mailbox(c, tag, &a, a.domain, WALK_TAGGED, hit);
	if (hit->found == POLICY_ABSENT)
		walk_name(c, tag, a.domain, WALK_TAGGED, hit);
	if (hit->found == POLICY_ABSENT && mapaddr_is_listed(a.domain, here))
		walk_mailbox(c, tag, &a, "", WALK_TAGGED, hit);
}
