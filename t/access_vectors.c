/*
 * Puts recorded decisions of sendmail to the policy.
 *
 *	access_vectors FILE
 *
 * Each line of FILE is a JSON object: the lines of a map, the facts of a
 * session, the phase, and sendmail's result.  Every disagreement is printed,
 * then "agree A of N, quirk B refused".  N counts the vectors without
 * "quirk": decision, code, enhanced code and text must be equal.  With
 * "quirk" sendmail passes, or rests on, something it should not, and the
 * policy has to refuse.  Exit status 0 if all N agree.
 *
 * Malformed entries are refused when a map is loaded, so vectors without
 * quirk are decided without them; vectors with quirk are decided with them,
 * as if they had got in.  Spam entries, which the server drops, are kept for
 * the feature delay_checks that asks for them.  sendmail's record of a quarantine and of features
 * has a blank around every token; blanks do not count there.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/policy.h"
#include "store/accessmap.h"

#define LIST_MAX 32
#define MYNAME   "mx.oracle.example" /* of the sendmail that was asked */

/* The map of one vector, and the keys whose look-up fails. */
struct table {
	struct accessmap *map;
	json_t *lines; /* of which it was made */
	json_t *failing;
	bool with_malformed;
};

/* A list of options that ends with NULL, backed by text. */
struct list {
	const char *item[LIST_MAX + 1];
	size_t n;
};

struct setup {
	struct policy_options o;
	struct list local, relay, mechs;
	char text[1024]; /* words of trust_auth */
};

struct vector {
	json_t *json;
	struct policy_facts f;
	char sender[1024], rcpt[1024];
};

static const char *
text_of(json_t *o, const char *name, const char *def)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s != NULL ? s : def;
}

/* A number that may be written as text; none if null or empty. */
static int
number_of(json_t *o, const char *name, int none)
{
	json_t *v = json_object_get(o, name);

	if (json_is_integer(v))
		return (int)json_integer_value(v);
	if (json_is_string(v) && json_string_length(v) > 0)
		return atoi(json_string_value(v));
	return none;
}

static bool
is_key(const char *written, const char *folded)
{
	char key[POLICY_KEY_SIZE];

	snprintf(key, sizeof(key), "%s", written);
	accessmap_fold(key);
	return strcmp(key, folded) == 0;
}

static enum policy_found
lookup_spam(json_t *lines, const char *key, char *value, size_t size)
{
	char word[POLICY_KEY_SIZE];
	json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
	{
		const char *text = json_string_value(line);
		size_t n = strcspn(text, " \t");

		snprintf(word, sizeof(word), "%.*s", (int)n, text);
		text += n + strspn(text + n, " \t");
		if (!is_key(word, key) || *text == '\0')
			continue;
		snprintf(
		    value, size, "%.*s", (int)strcspn(text, " \t\r"), text);
		return POLICY_FOUND;
	}
	return POLICY_ABSENT;
}

static enum policy_found
lookup(void *arg, const char *key, char *value, size_t size)
{
	struct table *t = arg;
	json_t *fails;
	size_t i;

	json_array_foreach(t->failing, i, fails)
	{
		if (is_key(json_string_value(fails), key))
			return POLICY_TEMPFAIL;
	}
	if (strncmp(key, "spam:", 5) == 0)
		return lookup_spam(t->lines, key, value, size);
	for (i = 0; i < t->map->nentries; i++) {
		const struct accessmap_entry *e = &t->map->entry[i];

		if (!is_key(e->key, key))
			continue;
		if (e->malformed && !t->with_malformed)
			return POLICY_ABSENT;
		snprintf(value, size, "%s", e->value);
		return POLICY_FOUND;
	}
	return POLICY_ABSENT;
}

static int
owns(void *arg, const char *user, const char *address)
{
	(void)arg;
	(void)user;
	(void)address;
	return 0;
}

static struct accessmap *
load_map(json_t *lines)
{
	struct accessmap *map;
	char *text = NULL;
	size_t len = 0, i;
	FILE *f = open_memstream(&text, &len);
	json_t *line;

	if (f == NULL)
		abort();
	json_array_foreach(lines, i, line)
	    fprintf(f, "%s\n", json_string_value(line));
	if (fclose(f) != 0)
		abort();
	map = accessmap_parse(text, len);
	free(text);
	return map;
}

static void
add(struct list *l, const char *item)
{
	if (l->n < LIST_MAX)
		l->item[l->n++] = item;
}

static bool
set_valued(struct setup *s, const char *feature)
{
	static const char relay[] = "relay_domain=", local[] = "local_domain=";
	static const char trust[] = "trust_auth=";

	if (strncmp(feature, local, strlen(local)) == 0) {
		add(&s->local, feature + strlen(local));
		return true;
	}
	if (strncmp(feature, relay, strlen(relay)) == 0) {
		add(&s->relay, feature + strlen(relay));
		return true;
	}
	if (strcmp(feature, "trust_auth") == 0) {
		s->o.trusted_mechs = s->mechs.item;
		return true;
	}
	if (strncmp(feature, trust, strlen(trust)) == 0) {
		char *word, *rest = NULL;

		s->o.trusted_mechs = s->mechs.item;
		snprintf(
		    s->text, sizeof(s->text), "%s", feature + strlen(trust));
		for (word = strtok_r(s->text, " ", &rest); word != NULL;
		     word = strtok_r(NULL, " ", &rest))
			add(&s->mechs, word);
		return true;
	}
	return false;
}

static bool
set_delay(struct setup *s, const char *feature)
{
	static const struct {
		const char *name;
		enum policy_delay how;
	} delays[] = {
		{ "delay_checks", POLICY_DELAY },
		{ "delay_checks=friend", POLICY_DELAY_FRIEND },
		{ "delay_checks=hater", POLICY_DELAY_HATER },
	};

	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
		if (strcmp(feature, delays[i].name) == 0) {
			s->o.delay_checks = delays[i].how;
			return true;
		}
	}
	return false;
}

static bool
set_feature(struct setup *s, const char *feature)
{
	struct policy_options *o = &s->o;
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{ "blocklist_recipients", &o->blocklist_recipients },
		{ "lookupdotdomain", &o->lookupdotdomain },
		{ "relay_hosts_only", &o->relay_hosts_only },
		{ "relay_mail_from", &o->relay_mail_from },
		{ "relaytofulladdress", &o->relaytofulladdress },
		{ "skip", &o->skip },
		{ "tls_perm_err", &o->tls_perm_err },
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(feature, flags[i].name) == 0)
			return *flags[i].flag = true;
	}
	if (strcmp(feature, "relay_mail_from=domain") == 0)
		return o->relay_mail_from = o->relay_mail_from_domain = true;
	return set_delay(s, feature) || set_valued(s, feature);
}

/* What sendmail always has, and what the vector's configuration adds. */
static bool
set_options(struct setup *s, json_t *features)
{
	json_t *feature;
	size_t i;

	memset(s, 0, sizeof(*s));
	s->o.loopback_relays = true;
	s->o.unqualified_relays = true;
	s->o.anonymous_mail = true;
	s->o.verified_passes = true;
	add(&s->local, MYNAME);
	json_array_foreach(features, i, feature)
	{
		if (!set_feature(s, json_string_value(feature)))
			return false;
	}
	s->o.local_domains = s->local.item;
	s->o.relay_domains = s->relay.item;
	return true;
}

/*
 * Takes angle brackets off; as the recipient's host, localhost is MYNAME, with
 * or without a dot behind it.
 */
static void
set_address(char *out, size_t size, const char *address)
{
	static const char here[] = "@localhost";
	size_t len = strlen(address), n = strlen(here);
	bool local, dot;

	if (len >= 2 && address[0] == '<' && address[len - 1] == '>') {
		address++;
		len -= 2;
	}
	dot = len > n + 1 && address[len - 1] == '.';
	local = len > n && strncasecmp(address + len - dot - n, here, n) == 0;
	if (local)
		len -= dot;
	if (local)
		len -= n - 1;
	snprintf(out, size, "%.*s%s", (int)len, address, local ? MYNAME : "");
}

static enum policy_resolve
resolve_of(const char *word)
{
	if (strcmp(word, "FAIL") == 0)
		return POLICY_RESOLVE_FAIL;
	if (strcmp(word, "TEMP") == 0)
		return POLICY_RESOLVE_TEMP;
	if (strcmp(word, "FORGED") == 0)
		return POLICY_RESOLVE_FORGED;
	return POLICY_RESOLVE_OK;
}

static void
set_facts(struct vector *v)
{
	json_t *j = v->json;

	set_address(v->sender, sizeof(v->sender),
	    text_of(j, "sender", "<sender@origin.example>"));
	set_address(v->rcpt, sizeof(v->rcpt), text_of(j, "rcpt", ""));
	v->f = (struct policy_facts){
		.client_name = text_of(j, "client_name", ""),
		.client_addr = text_of(j, "client_addr", ""),
		.resolve = resolve_of(text_of(j, "client_resolve", "OK")),
		.server_name = text_of(j, "server_name", ""),
		.server_addr = text_of(j, "server_addr", ""),
		.verify = text_of(j, "verify", "NONE"),
		.cipher_bits = number_of(j, "cipher_bits", POLICY_NO_TLS),
		.cert_subject = text_of(j, "cert_subject", ""),
		.cert_issuer = text_of(j, "cert_issuer", ""),
		.cn_subject = text_of(j, "cn_subject", ""),
		.cn_issuer = text_of(j, "cn_issuer", ""),
		.auth_mech = text_of(j, "auth_type", NULL),
		.auth_ssf = number_of(j, "auth_ssf", 0),
		.sender = v->sender,
		.rcpt = v->rcpt,
	};
}

static int
phase_of(const char *word)
{
	static const struct {
		const char *word;
		enum policy_phase phase;
	} phases[] = {
		{ "tls_client", POLICY_TLS },
		{ "tls_server", POLICY_TLS_SERVER },
		{ "tls_rcpt", POLICY_TLS_RCPT },
		{ "relay", POLICY_RCPT },
		{ "connect", POLICY_CONNECT },
		{ "mail", POLICY_MAIL },
		{ "try_tls", POLICY_TRY_TLS },
		{ "srv_features", POLICY_SRV_FEATURES },
	};

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		if (strcmp(word, phases[i].word) == 0)
			return (int)phases[i].phase;
	}
	return -1;
}

static const char *
decision_word(enum policy_phase phase, enum policy_decision decision)
{
	switch (decision) {
	case POLICY_ALLOW:
		return phase == POLICY_RCPT ? "relay" : "ok";
	case POLICY_DISCARD:
		return "discard";
	case POLICY_QUARANTINE:
		return "quarantine";
	case POLICY_REFUSE_PERM:
		return phase == POLICY_RCPT ? "norelay" : "perm";
	case POLICY_REFUSE_TEMP:
		return phase == POLICY_RCPT ? "norelay" : "temp";
	}
	return "?";
}

/* The verdict in the form of a recorded result. */
static json_t *
result_of(enum policy_phase phase, const struct policy_verdict *v)
{
	json_t *r = json_object();
	bool replied = v->decision == POLICY_REFUSE_PERM ||
	    v->decision == POLICY_REFUSE_TEMP;

	json_object_set_new(
	    r, "decision", json_string(decision_word(phase, v->decision)));
	if (replied) {
		json_object_set_new(r, "code", json_integer(v->code));
		json_object_set_new(r, "dsn", json_string(v->esc));
	}
	if (replied || v->decision == POLICY_QUARANTINE ||
	    phase == POLICY_SRV_FEATURES)
		json_object_set_new(r, "text", json_string(v->text));
	return r;
}

static bool
same_but_blanks(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += strspn(a, " ");
		b += strspn(b, " ");
		if (*a != *b)
			return false;
		if (*a == '\0')
			return true;
	}
}

static bool
is_equal(json_t *want, json_t *got)
{
	const char *decision = text_of(want, "decision", "");
	bool loose = json_object_get(want, "code") == NULL;

	if (!loose)
		return json_equal(want, got);
	return strcmp(decision, text_of(got, "decision", "")) == 0 &&
	    same_but_blanks(
		text_of(want, "text", ""), text_of(got, "text", ""));
}

static void
print_difference(json_t *vector, json_t *got)
{
	json_t *want = json_object_get(vector, "result");
	const char *quirk = text_of(vector, "quirk", NULL);
	char *a = json_dumps(want, JSON_SORT_KEYS);
	char *b = json_dumps(got, JSON_SORT_KEYS | JSON_ENCODE_ANY);

	if (quirk != NULL)
		printf("%s: quirk %s: expected a refusal, got %s\n",
		    text_of(vector, "id", "?"), quirk, b);
	else
		printf("%s: expected %s, got %s\n", text_of(vector, "id", "?"),
		    a, b);
	free(a);
	free(b);
}

/*
 * Only the text of a refusal is odd with text-of-other-verify; a session that
 * no entry concerns passes.
 */
static bool
is_quirk_handled(json_t *json, const struct policy_verdict *v)
{
	json_t *want = json_object_get(json, "result");

	if (v->decision != POLICY_ALLOW)
		return true;
	return strcmp(text_of(json, "quirk", ""), "text-of-other-verify") ==
	    0 &&
	    strcmp(text_of(want, "decision", ""), "ok") == 0;
}

/* The verdict, or NULL if the vector cannot be understood. */
static const struct policy_verdict *
decide(json_t *json, enum policy_phase *phase)
{
	static struct policy_verdict verdict;
	struct vector v = { .json = json };
	struct setup setup;
	int found = phase_of(text_of(json, "phase", "tls_client"));
	struct table t = { .map = load_map(json_object_get(json, "map")),
		.lines = json_object_get(json, "map"),
		.failing = json_object_get(json, "tempfail"),
		.with_malformed = json_object_get(json, "quirk") != NULL };
	struct policy_store store = { lookup, owns, &t };
	bool known = found != -1 &&
	    set_options(&setup, json_object_get(json, "features"));

	if (known) {
		*phase = (enum policy_phase)found;
		set_facts(&v);
		policy_decide(*phase, &v.f, &setup.o, &store, &verdict);
	}
	accessmap_free(&t.map);
	return known ? &verdict : NULL;
}

struct counts {
	int agree, plain, refused;
};

static void
run_vector(json_t *json, struct counts *n)
{
	enum policy_phase phase = POLICY_TLS;
	const struct policy_verdict *v = decide(json, &phase);
	json_t *got = v != NULL ? result_of(phase, v)
				: json_string("unknown phase or feature");
	bool good;

	if (json_object_get(json, "quirk") != NULL) {
		good = v != NULL && is_quirk_handled(json, v);
		n->refused += good && v->decision != POLICY_ALLOW;
	} else {
		good = is_equal(json_object_get(json, "result"), got);
		n->plain++;
		n->agree += good;
	}
	if (!good)
		print_difference(json, got);
	json_decref(got);
}

static int
run_file(FILE *f, struct counts *n)
{
	char *line = NULL;
	size_t size = 0;
	int rc = 0, lineno = 0;

	while (getline(&line, &size, f) != -1) {
		json_error_t error;
		json_t *json;

		lineno++;
		if (line[strspn(line, " \t\r\n")] == '\0')
			continue;
		if ((json = json_loads(line, 0, &error)) == NULL) {
			fprintf(stderr, "line %d: %s\n", lineno, error.text);
			rc = -1;
			continue;
		}
		run_vector(json, n);
		json_decref(json);
	}
	free(line);
	return ferror(f) ? -1 : rc;
}

int
main(int argc, char **argv)
{
	struct counts n = { 0 };
	FILE *f;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "usage: access_vectors FILE\n");
		return 64;
	}
	if ((f = fopen(argv[1], "r")) == NULL) {
		perror(argv[1]);
		return 66;
	}
	rc = run_file(f, &n);
	fclose(f);
	printf(
	    "agree %d of %d, quirk %d refused\n", n.agree, n.plain, n.refused);
	return rc == 0 && n.plain + n.refused > 0 && n.agree == n.plain ? 0 : 1;
}
