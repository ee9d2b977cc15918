/*
 * The orders in which keys of the access map are asked, as sendmail asks
 * them.  Keys are folded here and nowhere else.
 */
#include "walk.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "store/accessmap.h"

const char *
policy_str(const char *s)
{
	return s != NULL ? s : "";
}

/* A key that is longer than a line of a map can be is in no map. */
static void
ask(struct policy_ctx *c, const char *tag, const char *operand,
    struct policy_hit *hit)
{
	int len = snprintf(hit->key, sizeof(hit->key), "%s%s%s", tag,
	    tag[0] != '\0' ? ":" : "", operand);

	hit->value[0] = '\0';
	hit->found = POLICY_ABSENT;
	if (len > 0 && (size_t)len < sizeof(hit->key)) {
		accessmap_fold(hit->key);
		hit->found = c->s->lookup(
		    c->s->arg, hit->key, hit->value, sizeof(hit->value));
	}
	if (hit->found == POLICY_ABSENT)
		hit->key[0] = '\0';
}

/* False when the walk may go on. */
static bool
step(struct policy_ctx *c, const char *tag, const char *operand,
    enum walk_keys keys, struct policy_hit *hit)
{
	ask(c, tag, operand, hit);
	if (hit->found == POLICY_ABSENT && keys == WALK_UNTAGGED)
		ask(c, "", operand, hit);
	return hit->found != POLICY_ABSENT;
}

void
walk_exact(struct policy_ctx *c, const char *tag, const char *operand,
    enum walk_keys keys, struct policy_hit *hit)
{
	step(c, tag, operand, keys, hit);
}

static void
apply_skip(struct policy_ctx *c, struct policy_hit *hit)
{
	if (!c->o->skip || hit->found != POLICY_FOUND ||
	    strcasecmp(hit->value, "SKIP") != 0)
		return;
	hit->found = POLICY_ABSENT;
	hit->key[0] = '\0';
}

/* Cuts the last group of an address; false when none is left to cut. */
static bool
cut_last(char *addr)
{
	char *cut = strrchr(addr, strchr(addr, ':') != NULL ? ':' : '.');

	if (cut == NULL || cut == addr)
		return false;
	if (cut[-1] == ':' && cut - 1 > addr)
		cut--;
	*cut = '\0';
	return true;
}

/* The name "[192.0.2.1]", cut from its end inside of the brackets. */
static void
walk_bracketed(struct policy_ctx *c, const char *tag, const char *name,
    enum walk_keys keys, struct policy_hit *hit)
{
	char inner[POLICY_KEY_SIZE], operand[POLICY_KEY_SIZE + 2];

	snprintf(inner, sizeof(inner), "%.*s", (int)strlen(name) - 2, name + 1);
	do {
		snprintf(operand, sizeof(operand), "[%s]", inner);
		if (step(c, tag, operand, keys, hit))
			return;
	} while (cut_last(inner));
}

/* The part of a name below its first dot, NULL at the end. */
static const char *
parent_of(const char *name)
{
	const char *dot = name[0] != '\0' ? strchr(name + 1, '.') : NULL;

	return dot != NULL && dot[1] != '\0' ? dot + 1 : NULL;
}

void
walk_name(struct policy_ctx *c, const char *tag, const char *name,
    enum walk_keys keys, struct policy_hit *hit)
{
	size_t len = strlen(name);

	hit->found = POLICY_ABSENT;
	hit->key[0] = hit->value[0] = '\0';
	if (len == 0 || len >= sizeof(hit->key))
		return;
	if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
		walk_bracketed(c, tag, name, keys, hit);
		apply_skip(c, hit);
		return;
	}
	while (name != NULL && !step(c, tag, name, keys, hit)) {
		const char *up = parent_of(name);

		if (up != NULL && c->o->lookupdotdomain &&
		    step(c, tag, up - 1, keys, hit))
			break;
		name = up;
	}
	apply_skip(c, hit);
}

void
walk_addr(struct policy_ctx *c, const char *tag, const char *addr,
    enum walk_keys keys, struct policy_hit *hit)
{
	char part[POLICY_KEY_SIZE];

	hit->found = POLICY_ABSENT;
	hit->key[0] = hit->value[0] = '\0';
	if (addr[0] == '\0' || strlen(addr) >= sizeof(part))
		return;
	snprintf(part, sizeof(part), "%s", addr);
	while (!step(c, tag, part, keys, hit) && cut_last(part))
		;
	apply_skip(c, hit);
}

void
walk_host(struct policy_ctx *c, const char *tag, const char *name,
    const char *addr, enum walk_keys keys, struct policy_hit *hit)
{
	walk_name(c, tag, name, keys, hit);
	if (hit->found == POLICY_ABSENT)
		walk_addr(c, tag, addr, keys, hit);
}

void
walk_user(struct policy_ctx *c, const char *tag, const char *local,
    const char *domain, enum walk_keys keys, struct policy_hit *hit)
{
	const char *plus = local[0] != '\0' ? strchr(local + 1, '+') : NULL;
	char operand[POLICY_KEY_SIZE];
	int base = (int)(plus != NULL ? plus - local : 0);

	snprintf(operand, sizeof(operand), "%s@%s", local, domain);
	if (strlen(local) + strlen(domain) + 1 >= sizeof(operand)) {
		hit->found = POLICY_ABSENT;
		hit->key[0] = hit->value[0] = '\0';
		return;
	}
	if (step(c, tag, operand, keys, hit) || plus == NULL)
		return;
	snprintf(operand, sizeof(operand), "%.*s+*@%s", base, local, domain);
	if (step(c, tag, operand, keys, hit))
		return;
	snprintf(operand, sizeof(operand), "%.*s@%s", base, local, domain);
	step(c, tag, operand, keys, hit);
}

void
walk_mailbox(struct policy_ctx *c, const char *tag, const struct mapaddr *a,
    const char *domain, enum walk_keys keys, struct policy_hit *hit)
{
	char operand[2 * MAPADDR_SIZE];

	if (!a->dequoted || mapaddr_is_listed(a->domain, c->o->local_domains)) {
		walk_user(c, tag, a->local, domain, keys, hit);
		return;
	}
	snprintf(operand, sizeof(operand), "%s@%s", a->local, domain);
	walk_exact(c, tag, operand, keys, hit);
}
