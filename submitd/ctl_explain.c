/*
 * submitctl explain: why a decision came out as it did, and what would have to
 * change.
 *
 *	explain SID|QID		of a session or message that the running
 *				server remembers
 *	explain OPTIONS		of facts given, decided here with the store
 *	explain --cert FILE	of a client certificate, and with other facts
 *				of a session that shows it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "ctl.h"
#include "ctl_advice.h"
#include "ctl_cert.h"
#include "ctl_explain.h"
#include "ctl_facts.h"
#include "facts.h"
#include "mem.h"
#include "store/device.h"

static int explain_run(struct ctl *);

static const struct ctl_opt opts[] = { { "--phase", true }, { "--cert", true },
	{ "--at", true }, { "--device", true }, CTL_FACTS_OPTS,
	{ .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_explain_verbs[] = {
	{ "explain", "", "{SID|QID | [--phase PHASE] [--cert FILE [--at DATE]] "
	  "[--device LABEL] " CTL_FACTS_ARGS "}",
	  "say why something was, or would be, accepted or refused",
	  explain_run, CTL_READ, 0, 1, opts },
	{ .noun = NULL },
};

static const struct ctl_column step_columns[] = {
	{ "rule", "RULE", CTL_TEXT, NULL },
	{ "met", "RESULT", CTL_TEXT, NULL },
	{ "key", "ENTRY", CTL_TEXT, NULL },
	{ "value", "VALUE", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column entry_columns[] = {
	{ "key", "KEY", CTL_TEXT, NULL },
	{ "value", "VALUE", CTL_TEXT, NULL },
	{ .key = NULL },
};

const struct ctl_column ctl_explain_columns[] = {
	/* of a certificate */
	{ "file", "File", CTL_TEXT, NULL },
	{ "sha256", "SHA-256", CTL_TEXT, NULL },
	{ "spki_sha256", "SHA-256 of its key", CTL_TEXT, NULL },
	{ "not_before", "Valid from", CTL_TIME, NULL },
	{ "not_after", "Valid until", CTL_TIME, NULL },

	/* of a decision, some of both */
	{ "at", "Time", CTL_TIME, NULL },
	{ "sid", "Session", CTL_TEXT, NULL },
	{ "qid", "Queue id", CTL_TEXT, NULL },
	{ "phase", "Asked at", CTL_TEXT, NULL },
	{ "user", "User", CTL_TEXT, NULL },
	{ "found_by", "Found by", CTL_TEXT, NULL },
	{ "how", "Logged in by", CTL_TEXT, NULL },
	{ "device", "Device", CTL_TEXT, NULL },
	{ "addr", "Client", CTL_TEXT, NULL },
	{ "name", "Its name", CTL_TEXT, NULL },
	{ "server", "Smarthost", CTL_TEXT, NULL },
	{ "server_addr", "Its address", CTL_TEXT, NULL },
	{ "verify", "Certificate", CTL_TEXT, NULL },
	{ "reason", "Because", CTL_TEXT, NULL },
	{ "bits", "Cipher bits", CTL_NUMBER, NULL },
	{ "cn", "Its CN", CTL_TEXT, NULL },
	{ "subject", "Its subject", CTL_TEXT, NULL },
	{ "issuer", "Its issuer", CTL_TEXT, NULL },
	{ "cn_issuer", "Its issuer's CN", CTL_TEXT, NULL },
	{ "emails", "Its addresses", CTL_WORDS, NULL },
	{ "entries", "Entries of the access map for it", CTL_TABLE, entry_columns },
	{ "from", "From", CTL_TEXT, NULL },
	{ "to", "To", CTL_TEXT, NULL },
	{ "also_to", "And as well to", CTL_WORDS, NULL },
	{ "also_more", "And so many more", CTL_NUMBER, NULL },
	{ "header_from", "From in the header", CTL_TEXT, NULL },
	{ "decision", "Decision", CTL_TEXT, NULL },
	{ "relay_as", "Relays as", CTL_TEXT, NULL },
	{ "code", "Code", CTL_NUMBER, NULL },
	{ "enhanced", "Enhanced code", CTL_TEXT, NULL },
	{ "text", "Text", CTL_TEXT, NULL },
	{ "ladder", "Rules, in order", CTL_TABLE, step_columns },
	{ "rule", "Decided by", CTL_TEXT, NULL },
	{ "advice", "That means", CTL_TEXT, NULL },
	{ .key = NULL },
};
/* clang-format on */

/* ---- what decided, and what that means ---- */

static const char *
text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

/*
 * The step that decided: of what was simply accepted the last that gave the
 * right to relay, of everything else the last that refused or failed. NULL:
 * no rule did.
 */
static const json_t *
deciding(const json_t *o)
{
	bool allowed = strcmp(text_of(o, "decision"), "allow") == 0;
	const json_t *steps = json_object_get(o, "ladder"), *step;
	const json_t *found = NULL;
	size_t i;

	json_array_foreach(steps, i, step)
	{
		const char *met = text_of(step, "met");

		if (allowed ? strcmp(met, "relay") == 0
			    : strcmp(met, "refuse") == 0 ||
			    strcmp(met, "fail") == 0)
			found = step;
	}
	return found;
}

/* The last step of this rule, with this result, or NULL. */
static const json_t *
find_step(const json_t *o, const char *rule, const char *met)
{
	const json_t *steps = json_object_get(o, "ladder"), *step;
	const json_t *found = NULL;
	size_t i;

	json_array_foreach(steps, i, step)
	{
		if (strcmp(text_of(step, "rule"), rule) == 0 &&
		    strcmp(text_of(step, "met"), met) == 0)
			found = step;
	}
	return found;
}

/*
 * The key of an entry that would have helped, for the rule that asked for it;
 * the caller frees.  From the names, as a step has its key cut.
 */
static char *
find_wanted(const json_t *o, const json_t *decided, const char **rule)
{
	const json_t *step = find_step(o, "citag", "refuse");
	const char *key = text_of(step, "key");

	if (step != NULL && key[0] != '\0') {
		*rule = "citag";
		return xasprintf("%.*s:%s", (int)strcspn(key, ":"), key,
		    text_of(o, "issuer"));
	}
	step = find_step(o, "cert_subject", "none");
	if (decided != NULL || text_of(step, "key")[0] == '\0')
		return NULL;
	*rule = "cert_subject";
	return xasprintf("CertSubject:%s", text_of(o, "subject"));
}

void
ctl_explain_add(json_t *o)
{
	const json_t *step = deciding(o);
	const char *rule = text_of(step, "rule");
	char *wanted = find_wanted(o, step, &rule);
	json_int_t bits = json_integer_value(json_object_get(o, "bits"));
	char number[24], *advice;
	const struct ctl_advice_case c = {
		.phase = text_of(o, "phase"),
		.result = text_of(o, "decision"),
		.why = text_of(o, "why"),
		.rule = rule,
		.key = text_of(step, "key")[0] != '\0' ? text_of(step, "key")
						       : text_of(o, "key"),
		.value = text_of(step, "value"),
		.text = text_of(o, "text"),
		.user = text_of(o, "user"),
		.sender = text_of(o, "from"),
		.rcpt = text_of(o, "to"),
		.addr = text_of(o, "addr"),
		.name = text_of(o, "name"),
		.verify = text_of(o, "verify"),
		.bits = number,
		.wanted = wanted,
	};

	snprintf(number, sizeof(number), "%lld", (long long)bits);
	advice = ctl_advice(&c);
	json_object_set_new(o, "rule",
	    json_string(step != NULL ? text_of(step, "rule") : "none"));
	json_object_set_new(o, "advice", json_string(advice));
	free(wanted);
	free(advice);
}

/* Empty texts, lists and zeroes say nothing. */
static void
drop_empty(json_t *o)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(o, next, key, value)
	{
		if ((json_is_string(value) &&
			json_string_value(value)[0] == '\0') ||
		    (json_is_array(value) && json_array_size(value) == 0) ||
		    (json_is_integer(value) && json_integer_value(value) == 0))
			json_object_del(o, key);
	}
}

/* For people: what is as it was in the decision before is said once. */
static void
drop_repeated(json_t *decisions)
{
	static const char *const keys[] = { "sid", "qid", "user", "how",
		"device", "addr", "name", "server", "server_addr", "verify", "bits", "cn", "subject",
		"issuer", "from", "to" };
	size_t i, k;

	for (i = json_array_size(decisions); i-- > 1;) {
		json_t *o = json_array_get(decisions, i);
		const json_t *before = json_array_get(decisions, i - 1);

		for (k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			if (json_equal(json_object_get(o, keys[k]),
				json_object_get(before, keys[k])))
				json_object_del(o, keys[k]);
	}
}

static void
rename_key(json_t *o, const char *from, const char *to)
{
	json_object_set(o, to, json_object_get(o, from));
	json_object_del(o, from);
}

/* On that side addr and name are the smarthost's. */
static void
name_server(json_t *o)
{
	static const char *const phases[] = { "try_tls", "tls_srv",
		"tls_server", "tls_rcpt" };
	size_t i;

	for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		if (strcmp(text_of(o, "phase"), phases[i]) == 0) {
			rename_key(o, "name", "server");
			rename_key(o, "addr", "server_addr");
		}
	}
}

void
ctl_explain_for_people(json_t *decisions)
{
	json_t *o;
	size_t i;

	json_array_foreach(decisions, i, o) name_server(o);
	drop_repeated(decisions);
	json_array_foreach(decisions, i, o) drop_empty(o);
}

json_t *
ctl_explain_device(const struct ctl *ctl, int64_t id)
{
	struct store_device d;

	if (id == 0)
		return json_null();
	return store_device_by_id(ctl->st, id, &d) == STORE_OK
	    ? json_string(d.label)
	    : json_sprintf("%lld", (long long)id);
}

/* ---- of the past ---- */

static int
ask(const struct ctl *ctl, const char *key, const char *id, json_t *items)
{
	return ctl_ask(ctl,
	    json_pack(
		"{s:s, s:s, s:i}", "cmd", "history.list", key, id, "n", 1000),
	    items, NULL);
}

static int
past(struct ctl *ctl, const char *id)
{
	size_t len = strlen(id), i;
	bool nobodys = strspn(id, "0") == len;
	json_t *items = json_array(), *item;
	int status = 0;

	if (len == 0 || len > 16 ||
	    strspn(id, "0123456789abcdefABCDEF") != len) {
		json_decref(items);
		return ctl_fail(EX_DATAERR,
		    "\"%s\" is neither a session nor a message: hex digits "
		    "are expected, as the log has behind sid= and qid=",
		    id);
	}
	if (len < 16 && !nobodys) /* a session's has 16 */
		status = ask(ctl, "qid", id, items);
	if (status == 0 && json_array_size(items) == 0 && !nobodys)
		status = ask(ctl, "sid", id, items);
	if (status == 0 && json_array_size(items) == 0)
		status = ctl_fail(EX_DATAERR,
		    "nothing is known of %s: nobody logged in and nothing was "
		    "refused or accepted there, or it was too long ago "
		    "(history_rows, history_age)",
		    id);
	if (status != 0) {
		json_decref(items);
		return status;
	}
	json_array_foreach(items, i, item)
	{
		/* the names that a dry run has, too */
		rename_key(item, "result", "decision");
		rename_key(item, "esc", "enhanced");
		json_object_set_new(item, "device",
		    ctl_explain_device(ctl,
			json_integer_value(json_object_get(item, "device"))));
		ctl_explain_add(item);
	}
	if (!ctl->json)
		ctl_explain_for_people(items);
	ctl_show_each(ctl, items, ctl_explain_columns);
	return 0;
}

/* ---- of given facts ---- */

static void
add_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key,
	    text != NULL && text[0] != '\0' ? json_string(text) : json_null());
}

/* A client of which nothing is said; no entry is for it. */
static const char unknown[] = "[unknown]";

/* What was decided on, beside the decision. */
static json_t *
explained(enum policy_phase phase, const struct ctl_facts *c,
    const struct policy_verdict *v)
{
	json_t *o = ctl_facts_verdict(phase, c, v);
	const struct policy_facts *f = &c->f;
	bool server = f->server_name != NULL && f->client_name == NULL;

	add_text(o, "user", f->user);
	add_text(o, "addr", server ? f->server_addr : f->client_addr);
	add_text(o, "name",
	    server                          ? f->server_name
		: f->client_name == unknown ? NULL
					    : f->client_name);
	add_text(o, "verify", f->verify);
	json_object_set_new(
	    o, "bits", json_integer(f->cipher_bits > 0 ? f->cipher_bits : 0));
	add_text(o, "cn", f->cn_subject);
	add_text(o, "subject", f->cert_subject);
	add_text(o, "issuer", f->cert_issuer);
	add_text(o, "from", f->sender);
	add_text(o, "to", f->rcpt);
	if (phase == POLICY_HEADERS)
		add_text(o, "header_from", c->header_from);
	return o;
}

/*
 * One phase as the server has it, appended to out. Before MAIL and RCPT stands
 * what Srv_Features says of logging in: a password is shown by AUTH, which it
 * may forbid, so that the session never comes so far.
 */
static int
decide(const struct ctl *ctl, enum policy_phase phase,
    const struct ctl_facts *c, struct policy_verdict *v, json_t *out)
{
	bool login = (c->f.how & POLICY_BY_PASSWORD) != 0;
	bool asks = phase == POLICY_MAIL || (login && phase == POLICY_RCPT);
	bool refused = false;
	json_t *o;
	int status;

	if (asks) {
		status = ctl_facts_decide(ctl, POLICY_SRV_FEATURES, c, v);
		if (status != 0)
			return status;
		refused = login ? facts_forbids_login(v) : facts_needs_login(v);
	}
	if (!refused && (status = ctl_facts_decide(ctl, phase, c, v)) != 0)
		return status;
	o = explained(phase, c, v);
	if (refused && login)
		json_object_set_new(o, "phase", json_string("auth"));
	ctl_explain_add(o);
	json_array_append_new(out, o);
	return 0;
}

/* The running server may have suspended who would send: it says so at DATA. */
static bool
is_suspended(const struct ctl *ctl, const struct ctl_facts *c,
    const struct policy_verdict *v, json_t *out)
{
	json_t *list = ctl_suspended(ctl), *o;
	const json_t *found = ctl_suspended_find(list, v->relay_as);
	struct facts_reply_said said;

	if (found != NULL) {
		facts_said_reply(
		    R_USER_SUSPENDED, text_of(found, "why"), "", &said);
		o = explained(POLICY_MAIL, c, v);
		json_object_update_new(o,
		    json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:n, s:[]}",
			"phase", "data", "decision",
			policy_decision_name(POLICY_REFUSE_PERM), "code",
			said.code, "enhanced", said.esc, "text", said.text,
			"why", policy_why_name(POLICY_WHY_SUSPENDED), "key",
			"ladder"));
		add_text(o, "user", v->relay_as);
		ctl_explain_add(o);
		json_array_append_new(out, o);
	}
	json_decref(list);
	return found != NULL;
}

static bool
is_refusal(const struct policy_verdict *v)
{
	return v->decision == POLICY_REFUSE_PERM ||
	    v->decision == POLICY_REFUSE_TEMP;
}

/* What a client's session is asked, in order, up to a refusal. */
static int
decide_all(const struct ctl *ctl, const struct ctl_facts *c, json_t *out)
{
	static const enum policy_phase phases[] = { POLICY_CONNECT, POLICY_TLS,
		POLICY_MAIL, POLICY_RCPT, POLICY_HEADERS };
	struct policy_verdict v;
	int status;
	size_t i;

	for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		if (phases[i] == POLICY_HEADERS &&
		    is_suspended(ctl, c, &v, out))
			break;
		if ((phases[i] == POLICY_RCPT && c->f.rcpt == NULL) ||
		    (phases[i] == POLICY_HEADERS && c->f.authors == NULL))
			continue;
		if ((status = decide(ctl, phases[i], c, &v, out)) != 0)
			return status;
		if (is_refusal(&v))
			break;
	}
	return 0;
}

/*
 * The device has one credential: where --by says nothing it is what was shown,
 * else it must be among that.
 */
static int
show_device(
    const struct ctl *ctl, struct ctl_facts *c, const struct store_device *d)
{
	bool cert = d->kind == STORE_DEVICE_CERT;
	unsigned shows = cert ? POLICY_BY_CERT : POLICY_BY_PASSWORD;

	if (cert && c->of_file && (c->f.how & POLICY_BY_CERT) != 0 &&
	    c->file_device != d->id)
		return ctl_fail(EX_DATAERR,
		    "the certificate is not that of the device \"%s\"",
		    d->label);
	if (ctl_opt(ctl, "--by") == NULL && !c->of_file) {
		if (cert && ctl_facts_under_cert(ctl, c) != 0)
			return EX_USAGE;
		c->f.how = shows;
	}
	if ((c->f.how & shows) == 0)
		return ctl_fail(EX_DATAERR,
		    "the device \"%s\" has a %s, and nothing else", d->label,
		    cert ? "certificate" : "password");
	return 0;
}

static int
find_device(const struct ctl *ctl, struct ctl_facts *c)
{
	const char *label = ctl_opt(ctl, "--device");
	struct store_device d;
	enum store_rc rc;

	if (label == NULL)
		return 0;
	if (c->user.id == 0)
		return ctl_usage(ctl, "--device is one of --user");
	rc = store_device_get(ctl->st, c->user.id, label, &d);
	if (rc == STORE_NONE)
		return ctl_fail(EX_DATAERR, "user %s has no device \"%s\"",
		    c->user.name, label);
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	if (d.revoked != 0 || (d.expires != 0 && d.expires <= time(NULL)))
		return ctl_fail(EX_DATAERR,
		    "the device \"%s\" is %s: what it shows counts as nothing, "
		    "and its login is refused with 535",
		    label, d.revoked != 0 ? "revoked" : "expired");
	return show_device(ctl, c, &d);
}

int
ctl_explain_decide(const struct ctl *ctl, struct ctl_facts *c, json_t *out)
{
	const char *word = ctl_opt(ctl, "--phase");
	struct policy_verdict v;
	enum policy_phase phase;
	int status;

	if (c->f.client_name == NULL && c->f.server_name == NULL) {
		c->f.client_name = unknown;
		c->f.client_addr = "";
	}
	if ((status = find_device(ctl, c)) != 0)
		return status;
	if (word == NULL)
		return decide_all(ctl, c, out);
	if ((status = ctl_facts_phase(ctl, word, &phase)) != 0)
		return status;
	return decide(ctl, phase, c, &v, out);
}

static int
given(struct ctl *ctl)
{
	json_t *out = json_array();
	struct ctl_facts facts;
	int status;

	if ((status = ctl_facts_take(ctl, true, &facts)) == 0)
		status = ctl_explain_decide(ctl, &facts, out);
	ctl_facts_clear(&facts);
	if (status != 0) {
		json_decref(out);
		return status;
	}
	if (!ctl->json)
		ctl_explain_for_people(out);
	ctl_show_each(ctl, out, ctl_explain_columns);
	return 0;
}

static int
explain_run(struct ctl *ctl)
{
	const char *file = ctl_opt(ctl, "--cert");

	if (ctl->words > 0 && ctl->opts > 0)
		return ctl_usage(ctl, "give either an id or facts");
	if (ctl->words > 0)
		return past(ctl, ctl->word[0]);
	if (ctl->opts == 0)
		return ctl_usage(ctl, "give an id, facts or a certificate");
	if (ctl_opt(ctl, "--at") != NULL && file == NULL)
		return ctl_usage(ctl, "--at is for --cert");
	return file != NULL ? ctl_explain_cert(ctl, file) : given(ctl);
}
