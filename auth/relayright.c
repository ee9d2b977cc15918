/*
 * The right to relay.  Only the value RELAY gives it; every other value of an
 * entry means no more than "not by this entry".
 */
#include "relayright.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mapaddr.h"
#include "mapreply.h"
#include "store/accessval.h"
#include "walk.h"

#define ROUTES_MAX 32 /* as in mapaddr.c */

/* Records a look-up that may give the right; *hit decides. */
static bool
gives_relay(
    struct policy_ctx *c, enum policy_rule rule, const struct policy_hit *hit)
{
	if (hit->found == POLICY_TEMPFAIL) {
		c->any_failed = true;
		policy_step(c, rule, POLICY_MET_FAIL, hit);
		return false;
	}
	if (hit->found == POLICY_ABSENT || !accessval_is(hit->value, "RELAY")) {
		policy_step(c, rule, POLICY_MET_NONE, hit);
		return false;
	}
	policy_step(c, rule, POLICY_MET_RELAY, hit);
	snprintf(c->v->key, sizeof(c->v->key), "%s", hit->key);
	snprintf(c->v->relay_as, sizeof(c->v->relay_as), "map:%s", hit->key);
	return true;
}

/* An entry for the name, of which there can be but one. */
static enum relayright
cert_name(struct policy_ctx *c, enum policy_rule rule, const char *tag,
    const char *name, const struct policy_hit *hit)
{
	if (hit->found == POLICY_ABSENT && name[0] != '\0') {
		policy_step_asked(c, rule, POLICY_MET_NONE, tag, name);
		return RELAYRIGHT_NONE;
	}
	return gives_relay(c, rule, hit) ? RELAYRIGHT_STRONG : RELAYRIGHT_NONE;
}

static enum relayright
cert_subject(struct policy_ctx *c)
{
	const char *subject = policy_str(c->f->cert_subject);
	struct policy_hit hit = { .found = POLICY_ABSENT };

	if (subject[0] != '\0')
		walk_exact(c, "CertSubject", subject, WALK_TAGGED, &hit);
	return cert_name(
	    c, POLICY_RULE_CERT_SUBJECT, "CertSubject", subject, &hit);
}

enum relayright
relayright_cert(struct policy_ctx *c)
{
	const char *verify = policy_str(c->f->verify);
	const char *issuer = policy_str(c->f->cert_issuer);
	struct policy_hit hit;

	if ((strcasecmp(verify, "OK") != 0 &&
		strcasecmp(verify, "TRUSTED") != 0) ||
	    issuer[0] == '\0')
		return RELAYRIGHT_NONE;
	walk_exact(c, "CertIssuer", issuer, WALK_TAGGED, &hit);
	if (hit.found == POLICY_FOUND && accessval_is(hit.value, "SUBJECT")) {
		policy_step(c, POLICY_RULE_CERT_ISSUER, POLICY_MET_PASS, &hit);
		return cert_subject(c);
	}
	return cert_name(
	    c, POLICY_RULE_CERT_ISSUER, "CertIssuer", issuer, &hit);
}

/* Is the address one of the list, or in one of its networks? */
static bool
addr_is_listed(const char *addr, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++) {
		size_t n = strlen(*list);

		if (n > 0 && strncasecmp(addr, *list, n) == 0 &&
		    (addr[n] == '\0' || addr[n] == '.' || addr[n] == ':'))
			return true;
	}
	return false;
}

static bool
is_loopback(const char *addr)
{
	return addr[0] == '\0' || strcmp(addr, "0") == 0 ||
	    strcmp(addr, "127.0.0.1") == 0 ||
	    strcasecmp(addr, "IPv6:0:0:0:0:0:0:0:1") == 0;
}

static enum relayright
by_option(struct policy_ctx *c, enum policy_rule rule)
{
	policy_step(c, rule, POLICY_MET_RELAY, NULL);
	return RELAYRIGHT_WEAK;
}

static enum relayright
host_addr(struct policy_ctx *c)
{
	const char *addr = policy_str(c->f->client_addr);
	struct policy_hit hit;

	if ((c->o->loopback_relays && is_loopback(addr)) ||
	    addr_is_listed(addr, c->o->relay_domains))
		return by_option(c, POLICY_RULE_CLIENT_LOCAL);
	walk_addr(c, "Connect", addr, WALK_UNTAGGED, &hit);
	if (hit.found == POLICY_TEMPFAIL) {
		policy_refuse_lookup(c, POLICY_RULE_ADDR_RELAY, &hit);
		return RELAYRIGHT_DECIDED;
	}
	return gives_relay(c, POLICY_RULE_ADDR_RELAY, &hit) ? RELAYRIGHT_WEAK
							    : RELAYRIGHT_NONE;
}

/* A name that is not confirmed gives no right, whatever it is. */
static bool
is_unresolved(struct policy_ctx *c)
{
	const char *name = policy_str(c->f->client_name);

	if (c->f->resolve == POLICY_RESOLVE_OK)
		return false;
	policy_step(c, POLICY_RULE_RESOLVE, POLICY_MET_REFUSE, NULL);
	if (c->f->resolve == POLICY_RESOLVE_TEMP)
		return policy_refuse(c, POLICY_WHY_RESOLVE, 450, "4.4.0",
		    "Relaying temporarily denied. Cannot resolve PTR record "
		    "for %s",
		    policy_str(c->f->client_addr));
	return policy_refuse(c, POLICY_WHY_RESOLVE, 550, "5.7.1",
	    "Relaying denied. IP name %s %s",
	    c->f->resolve == POLICY_RESOLVE_FORGED ? "possibly forged"
						   : "lookup failed",
	    name);
}

static enum relayright
host_name(struct policy_ctx *c)
{
	const char *name = policy_str(c->f->client_name);
	const struct policy_options *o = c->o;
	struct policy_hit hit = { .found = POLICY_ABSENT };

	if (mapaddr_is_listed(name, o->local_domains) ||
	    (o->relay_hosts_only ? mapaddr_is_listed : mapaddr_is_below)(
		name, o->relay_domains))
		return by_option(c, POLICY_RULE_CLIENT_LOCAL);
	if (!o->relay_hosts_only)
		walk_name(c, "Connect", name, WALK_UNTAGGED, &hit);
	else if (name[0] != '\0')
		walk_exact(c, "Connect", name, WALK_UNTAGGED, &hit);
	if (hit.found == POLICY_TEMPFAIL) {
		policy_refuse_lookup(c, POLICY_RULE_NAME_RELAY, &hit);
		return RELAYRIGHT_DECIDED;
	}
	return gives_relay(c, POLICY_RULE_NAME_RELAY, &hit) ? RELAYRIGHT_WEAK
							    : RELAYRIGHT_NONE;
}

/* An entry From: of the sender, tagged only. */
static enum relayright
by_sender(struct policy_ctx *c)
{
	const char *sender = policy_str(c->f->sender);
	struct policy_hit hit = { .found = POLICY_ABSENT };
	struct mapaddr a;

	if (!c->o->relay_mail_from || sender[0] == '\0')
		return RELAYRIGHT_NONE;
	mapaddr_parse(&a, sender, c->o);
	if (a.domain[0] == '\0')
		return RELAYRIGHT_NONE;
	walk_mailbox(c, "From", &a, a.domain, WALK_TAGGED, &hit);
	if (hit.found == POLICY_ABSENT && c->o->relay_mail_from_domain) {
		if (c->o->relay_hosts_only)
			walk_exact(c, "From", a.domain, WALK_TAGGED, &hit);
		else
			walk_name(c, "From", a.domain, WALK_TAGGED, &hit);
	}
	if (hit.found == POLICY_TEMPFAIL) {
		policy_refuse_lookup(c, POLICY_RULE_FROM_RELAY, &hit);
		return RELAYRIGHT_DECIDED;
	}
	return gives_relay(c, POLICY_RULE_FROM_RELAY, &hit) ? RELAYRIGHT_WEAK
							    : RELAYRIGHT_NONE;
}

enum relayright
relayright_host(struct policy_ctx *c)
{
	enum relayright right;

	if ((right = host_addr(c)) != RELAYRIGHT_NONE ||
	    (right = by_sender(c)) != RELAYRIGHT_NONE)
		return right;
	if (is_unresolved(c))
		return RELAYRIGHT_DECIDED;
	return host_name(c);
}

/* The recipient's entries when only whole host names count. */
static void
walk_to_exact(
    struct policy_ctx *c, const struct mapaddr *a, struct policy_hit *hit)
{
	char user[2 * MAPADDR_SIZE];

	hit->found = POLICY_ABSENT;
	if (c->o->relaytofulladdress) {
		snprintf(user, sizeof(user), "%s@%s", a->local, a->domain);
		walk_exact(c, "To", user, WALK_TAGGED, hit);
	}
	if (hit->found == POLICY_ABSENT)
		walk_exact(c, "To", a->domain, WALK_UNTAGGED, hit);
}

static void
walk_to(struct policy_ctx *c, const struct mapaddr *a, struct policy_hit *hit)
{
	char user[MAPADDR_SIZE + 1];

	hit->found = POLICY_ABSENT;
	if (c->o->relaytofulladdress)
		walk_user(c, "To", a->local, a->domain, WALK_UNTAGGED, hit);
	if (hit->found == POLICY_ABSENT)
		walk_name(c, "To", a->domain, WALK_UNTAGGED, hit);
	if (hit->found != POLICY_ABSENT || !c->o->relaytofulladdress)
		return;
	snprintf(user, sizeof(user), "%s@", a->local);
	walk_exact(c, "To", user, WALK_UNTAGGED, hit);
}

/* May everybody send to this domain, so that a route through it is followed? */
static bool
is_route_here(struct policy_ctx *c, const struct mapaddr *a)
{
	const struct policy_options *o = c->o;
	struct policy_hit hit;

	if ((o->relay_hosts_only ? mapaddr_is_listed : mapaddr_is_below)(
		a->domain, o->relay_domains))
		return true;
	if (o->relay_hosts_only)
		walk_exact(c, "To", a->domain, WALK_UNTAGGED, &hit);
	else
		walk_name(c, "To", a->domain, WALK_UNTAGGED, &hit);
	return hit.found == POLICY_FOUND && accessval_is(hit.value, "RELAY");
}

static void
follow_routes(struct policy_ctx *c, struct mapaddr *a)
{
	char rest[MAPADDR_SIZE];

	mapaddr_parse(a, policy_str(c->f->rcpt), c->o);
	for (int i = 0; i < ROUTES_MAX && mapaddr_is_routed(a) &&
	     a->domain[0] != '\0' && is_route_here(c, a);
	     i++) {
		snprintf(rest, sizeof(rest), "%s", a->local);
		mapaddr_parse(a, rest, c->o);
	}
}

static enum relayright
by_login(struct policy_ctx *c)
{
	const char *mech = policy_str(c->f->auth_mech);

	if (mech[0] == '\0' || !mapaddr_is_listed(mech, c->o->trusted_mechs))
		return RELAYRIGHT_NONE;
	policy_step(c, POLICY_RULE_AUTH_MECH, POLICY_MET_RELAY, NULL);
	return RELAYRIGHT_STRONG;
}

/* Class w, class R and the To entries. */
static enum relayright
by_domain(struct policy_ctx *c, const struct mapaddr *a)
{
	const struct policy_options *o = c->o;
	struct policy_hit hit;

	if (a->domain[0] == '\0') {
		/* What did not fit is no local user. */
		return o->unqualified_relays && a->whole
		    ? by_option(c, POLICY_RULE_RCPT_LOCAL)
		    : RELAYRIGHT_NONE;
	}
	/* As in sendmail nobody's mailbox is in no domain's care. */
	if (strcmp(a->local, "\"\"") == 0)
		return RELAYRIGHT_NONE;
	if (mapaddr_is_listed(a->domain, o->local_domains) ||
	    (o->relay_hosts_only ? mapaddr_is_listed : mapaddr_is_below)(
		a->domain, o->relay_domains))
		return by_option(c, POLICY_RULE_RCPT_LOCAL);
	(o->relay_hosts_only ? walk_to_exact : walk_to)(c, a, &hit);
	return gives_relay(c, POLICY_RULE_TO_RELAY, &hit) ? RELAYRIGHT_WEAK
							  : RELAYRIGHT_NONE;
}

/*
 * A user's recipient needs a domain, for nobody behind us could know which is
 * meant.  Postmaster alone is always valid (RFC 5321, section 4.5.1).
 */
static bool
lacks_domain(struct policy_ctx *c, const struct mapaddr *a)
{
	return a->domain[0] == '\0' && !c->o->unqualified_relays &&
	    strcasecmp(a->local, "postmaster") != 0;
}

static enum relayright
by_user(struct policy_ctx *c, const struct mapaddr *a)
{
	if (c->f->user == NULL)
		return RELAYRIGHT_NONE;
	if (lacks_domain(c, a)) {
		policy_step(
		    c, POLICY_RULE_RCPT_SYNTAX, POLICY_MET_REFUSE, NULL);
		policy_refuse_own(
		    c, POLICY_WHY_RCPT_NO_DOMAIN, POLICY_REFUSE_PERM);
		return RELAYRIGHT_DECIDED;
	}
	policy_step(c, POLICY_RULE_USER_RELAY, POLICY_MET_RELAY, NULL);
	snprintf(c->v->relay_as, sizeof(c->v->relay_as), "%s", c->f->user);
	return RELAYRIGHT_STRONG;
}

bool
relayright_deny(struct policy_ctx *c)
{
	return policy_refuse(c, POLICY_WHY_RELAY, 550, "5.7.1",
	    "Relaying denied%s",
	    c->o->trusted_mechs != NULL ? ". Proper authentication required."
					: "");
}

/*
 * A failed look-up of the recipient is remembered: the host may give the
 * right, and if it does not its refusal comes first.
 */
static enum relayright
by_host(struct policy_ctx *c, bool to_failed)
{
	enum relayright right = relayright_host(c);

	if (right == RELAYRIGHT_NONE && to_failed) {
		policy_refuse_lookup(c, POLICY_RULE_TO_RELAY, NULL);
		return RELAYRIGHT_DECIDED;
	}
	return right;
}

/* By the recipient or the host, where neither user nor certificate helps. */
static enum relayright
by_place(struct policy_ctx *c, const struct mapaddr *a)
{
	bool cert_failed = c->any_failed;
	enum relayright right;

	c->any_failed = false;
	if ((right = by_domain(c, a)) != RELAYRIGHT_NONE)
		return right;
	right = by_host(c, c->any_failed);
	/* Not for good, if the certificate may have had the right. */
	if (cert_failed &&
	    (right == RELAYRIGHT_NONE ||
		(right == RELAYRIGHT_DECIDED &&
		    c->v->decision == POLICY_REFUSE_PERM))) {
		policy_refuse_lookup(c, POLICY_RULE_CERT_ISSUER, NULL);
		return RELAYRIGHT_DECIDED;
	}
	return right;
}

static enum relayright
by_identity(struct policy_ctx *c, const struct mapaddr *a)
{
	enum relayright right = by_user(c, a);

	if (right == RELAYRIGHT_NONE)
		right = relayright_cert(c);
	return right != RELAYRIGHT_NONE ? right : by_login(c);
}

enum relayright
relayright_rcpt(struct policy_ctx *c)
{
	enum relayright right;
	struct mapaddr a;

	if (policy_str(c->f->rcpt)[0] == '\0') {
		policy_step(
		    c, POLICY_RULE_RCPT_SYNTAX, POLICY_MET_REFUSE, NULL);
		policy_refuse(
		    c, POLICY_WHY_RELAY, 553, "5.0.0", "User address required");
		return RELAYRIGHT_DECIDED;
	}
	follow_routes(c, &a);
	if (mapreply_to(c, &a))
		return RELAYRIGHT_DECIDED;
	right = by_identity(c, &a);
	return right != RELAYRIGHT_NONE ? right : by_place(c, &a);
}
