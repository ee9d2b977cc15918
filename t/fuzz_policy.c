/*
 * Fuzz target: a decision.  The input is lines: the phase and options as
 * characters, then client name, client address, verify, subject, issuer, CN,
 * user, sender, recipient; the rest is the text of the map.
 *
 * Whatever they are: the verdict is whole, allowing and refusing exclude each
 * other, and without user, options and any RELAY in the map nobody relays,
 * nor has mail thrown away or held.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/policy.h"
#include "store/accessmap.h"

#define LINES 10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static enum policy_found
lookup(void *arg, const char *key, char *value, size_t size)
{
	const struct accessmap *m = arg;
	char folded[POLICY_KEY_SIZE];

	assert(strlen(key) < POLICY_KEY_SIZE);
	for (size_t i = 0; i < m->nentries; i++) {
		snprintf(folded, sizeof(folded), "%s", m->entry[i].key);
		accessmap_fold(folded);
		if (strcmp(folded, key) != 0)
			continue;
		snprintf(value, size, "%s", m->entry[i].value);
		return strcmp(value, "FAILS") == 0 ? POLICY_TEMPFAIL
						   : POLICY_FOUND;
	}
	return POLICY_ABSENT;
}

static int
owns(void *arg, const char *user, const char *address)
{
	(void)arg;
	return strncmp(user, address, strlen(user)) == 0;
}

static bool
has_relay(const struct accessmap *m)
{
	for (size_t i = 0; i < m->nentries; i++) {
		if (strcasecmp(m->entry[i].value, "RELAY") == 0)
			return true;
	}
	return false;
}

static void
check_string(const char *s, size_t size)
{
	assert(memchr(s, '\0', size) != NULL);
}

static void
check_verdict(const struct policy_verdict *v)
{
	check_string(v->esc, sizeof(v->esc));
	check_string(v->text, sizeof(v->text));
	check_string(v->key, sizeof(v->key));
	check_string(v->relay_as, sizeof(v->relay_as));
	for (const char *p = v->text; *p != '\0'; p++)
		assert(*p >= 0x20 && *p <= 0x7e);
	assert((v->decision == POLICY_ALLOW) == (v->why == POLICY_WHY_OK));
	if (v->why >= POLICY_WHY_NOBODY || v->decision == POLICY_ALLOW ||
	    v->decision >= POLICY_DISCARD)
		assert(v->code == 0);
	else
		assert(v->code >= 400 && v->code <= 599);
	if (v->decision != POLICY_ALLOW && v->decision < POLICY_DISCARD)
		assert(v->relay_as[0] == '\0');
	assert(v->nsteps <= POLICY_STEPS_MAX);
	for (size_t i = 0; i < v->nsteps; i++) {
		check_string(v->steps[i].key, POLICY_SHOWN_SIZE);
		check_string(v->steps[i].value, POLICY_SHOWN_SIZE);
		assert(policy_rule_name(v->steps[i].rule) != NULL);
		assert(policy_met_name(v->steps[i].met) != NULL);
	}
}

/* Cuts the lines off; what is left is the map. */
static char *
cut_lines(char *text, char *line[LINES])
{
	for (int i = 0; i < LINES; i++) {
		line[i] = text;
		text += strcspn(text, "\n");
		if (*text != '\0')
			*text++ = '\0';
	}
	return text;
}

static void
set_options(struct policy_options *o, const char *letters)
{
	static const char *const local[] = { "here.example", NULL };
	static const char *const relay[] = { "rel.example", "10.77", NULL };

	o->tls_perm_err = strchr(letters, 'p') != NULL;
	o->delay_checks = strchr(letters, 'F') != NULL ? POLICY_DELAY_FRIEND
	    : strchr(letters, 'H') != NULL             ? POLICY_DELAY_HATER
	    : strchr(letters, 'd') != NULL             ? POLICY_DELAY
						       : POLICY_DELAY_NONE;
	o->blocklist_recipients = strchr(letters, 'b') != NULL;
	o->relay_hosts_only = strchr(letters, 'h') != NULL;
	o->relaytofulladdress = strchr(letters, 'f') != NULL;
	o->relay_mail_from = strchr(letters, 'm') != NULL;
	o->relay_mail_from_domain = strchr(letters, 'M') != NULL;
	o->skip = strchr(letters, 's') != NULL;
	o->lookupdotdomain = strchr(letters, '.') != NULL;
	o->loopback_relays = strchr(letters, 'l') != NULL;
	o->unqualified_relays = strchr(letters, 'u') != NULL;
	o->anonymous_mail = strchr(letters, 'a') != NULL;
	o->verified_passes = strchr(letters, 'v') != NULL;
	o->from_header = strchr(letters, 'S') != NULL ? POLICY_FROM_SENDER
						      : POLICY_FROM_REQUIRE;
	if (strchr(letters, 'w') != NULL)
		o->local_domains = local;
	if (strchr(letters, 'R') != NULL)
		o->relay_domains = relay;
	if (strchr(letters, 'r') != NULL)
		o->map_relay_user = "ann";
}

/* Options that give a right to relay by themselves. */
static bool
gives_right(const struct policy_options *o)
{
	return o->loopback_relays || o->unqualified_relays ||
	    o->local_domains != NULL || o->relay_domains != NULL;
}

static void
set_facts(struct policy_facts *f, char *line[LINES])
{
	static struct policy_author author[2];

	f->client_name = f->server_name = line[1];
	f->client_addr = f->server_addr = line[2];
	f->resolve = (enum policy_resolve)(strlen(line[2]) % 4);
	f->verify = line[3];
	f->cipher_bits = (int)strlen(line[0]) * 16;
	f->cert_subject = line[4];
	f->cert_issuer = line[5];
	f->cn_subject = f->cn_issuer = line[6];
	f->user = line[7][0] != '\0' ? line[7] : NULL;
	f->how = POLICY_BY_PASSWORD;
	f->sender = line[8];
	author[0] = (struct policy_author){ POLICY_AUTHOR_FROM, NULL, line[8] };
	author[1] = (struct policy_author){ POLICY_AUTHOR_SENDER,
		line[9][0] != '\0' ? NULL : "is missing", line[9] };
	f->authors = author;
	f->nauthors = 2;
	f->rcpt = line[9];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct policy_verdict v;
	char *text = malloc(len + 1), *line[LINES], *map;
	struct policy_options o = { 0 };
	struct policy_facts f = { 0 };
	struct policy_store store = { .lookup = lookup, .owns = owns };
	struct accessmap *m;

	if (text == NULL)
		abort();
	if (len > 0)
		memcpy(text, data, len);
	text[len] = '\0';
	map = cut_lines(text, line);
	m = accessmap_parse(map, strlen(map));
	store.arg = m;
	set_options(&o, line[0]);
	set_facts(&f, line);
	for (int p = POLICY_CONNECT; p <= POLICY_SRV_FEATURES; p++) {
		policy_decide((enum policy_phase)p, &f, &o, &store, &v);
		check_verdict(&v);
		if (p == POLICY_RCPT && f.user == NULL && !gives_right(&o) &&
		    !has_relay(m))
			assert(v.decision != POLICY_ALLOW);
		/* what is accepted in any way is somebody's */
		if (p == POLICY_RCPT && !gives_right(&o) && !o.anonymous_mail &&
		    v.decision != POLICY_REFUSE_PERM &&
		    v.decision != POLICY_REFUSE_TEMP)
			assert(v.relay_as[0] != '\0');
	}
	accessmap_free(&m);
	free(text);
	return 0;
}
