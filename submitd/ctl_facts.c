/*
 * Dry runs of the decision: see ctl_facts.h. What the server takes from a
 * session comes from options here; everything else is the server's own code.
 */
#include "ctl_facts.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "addrowner.h"
#include "facts.h"
#include "mem.h"
#include "smtp_addr.h"
#include "store/access.h"

enum { BITS_DEFAULT = 256 }; /* of a session with TLS */

/* ---- phases ---- */

enum side { SIDE_CLIENT, SIDE_SERVER };

static const struct {
	const char *word;
	enum policy_phase phase;
	enum side side;
	bool rcpt; /* needed */
} phases[] = {
	{ "connect", POLICY_CONNECT, SIDE_CLIENT, false },
	{ "tls_client", POLICY_TLS, SIDE_CLIENT, false },
	{ "mail", POLICY_MAIL, SIDE_CLIENT, false },
	{ "rcpt", POLICY_RCPT, SIDE_CLIENT, true },
	{ "headers", POLICY_HEADERS, SIDE_CLIENT, false },
	{ "tls_server", POLICY_TLS_SERVER, SIDE_SERVER, false },
	{ "tls_rcpt", POLICY_TLS_RCPT, SIDE_SERVER, true },
	{ "try_tls", POLICY_TRY_TLS, SIDE_SERVER, false },
	{ "srv_features", POLICY_SRV_FEATURES, SIDE_CLIENT, false },
};
#define PHASES (sizeof(phases) / sizeof(phases[0]))

int
ctl_facts_phase(
    const struct ctl *ctl, const char *word, enum policy_phase *phase)
{
	for (size_t i = 0; i < PHASES; i++) {
		if (strcasecmp(word, phases[i].word) == 0) {
			*phase = phases[i].phase;
			return 0;
		}
	}
	return ctl_usage(ctl,
	    "\"%s\" is no phase, expected connect, tls_client, mail, rcpt, "
	    "headers, tls_server, tls_rcpt, try_tls or srv_features",
	    word);
}

static size_t
index_of(enum policy_phase phase)
{
	size_t i;

	for (i = 0; phases[i].phase != phase; i++)
		continue;
	return i;
}

const char *
ctl_facts_phase_name(enum policy_phase phase)
{
	return phases[index_of(phase)].word;
}

/* ---- facts from options ---- */

/* The index of a word in a list, or -1. */
static int
word_index(const char *word, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(word, words[i]) == 0)
			return (int)i;
	return -1;
}
#define WORD_INDEX(word, words)                                                \
	word_index(word, words, sizeof(words) / sizeof((words)[0]))

static int
take_addr(const struct ctl *ctl, const char *opt, char **out)
{
	const char *addr = ctl_opt(ctl, opt);
	unsigned char b[sizeof(struct in6_addr)];

	if (addr == NULL)
		return 0;
	if (strncasecmp(addr, "IPv6:", 5) == 0)
		addr += 5;
	if (inet_pton(AF_INET, addr, b) != 1 &&
	    inet_pton(AF_INET6, addr, b) != 1)
		return ctl_usage(
		    ctl, "%s: \"%s\" is no address", opt, ctl_opt(ctl, opt));
	*out = facts_addr(addr);
	return 0;
}

/* A host without a usable name is "[address]". */
static char *
host(const char *name, const char *addr)
{
	if (name == NULL && addr == NULL)
		return NULL;
	return facts_host(name != NULL ? name : "", addr != NULL ? addr : "");
}

static int
take_client(const struct ctl *ctl, struct ctl_facts *c)
{
	static const char *const words[] = {
		[POLICY_RESOLVE_OK] = "ok",
		[POLICY_RESOLVE_FAIL] = "fail",
		[POLICY_RESOLVE_TEMP] = "temp",
		[POLICY_RESOLVE_FORGED] = "forged",
	};
	const char *name = ctl_opt(ctl, "--client-name");
	const char *word = ctl_opt(ctl, "--resolve");
	int resolve, status;

	if (word == NULL)
		word = name != NULL ? "ok" : "fail";
	if ((resolve = WORD_INDEX(word, words)) == -1)
		return ctl_usage(ctl,
		    "--resolve: \"%s\", expected ok, fail, temp or forged",
		    word);
	if (ctl_opt(ctl, "--resolve") != NULL && name == NULL &&
	    resolve == POLICY_RESOLVE_OK)
		return ctl_usage(ctl, "--resolve ok needs --client-name");
	if (name != NULL &&
	    (resolve == POLICY_RESOLVE_FAIL || resolve == POLICY_RESOLVE_TEMP))
		return ctl_usage(ctl,
		    "--client-name with --resolve %s: then there is no name",
		    word);
	if ((status = take_addr(ctl, "--client-addr", &c->client_addr)) != 0)
		return status;
	c->f.resolve = (enum policy_resolve)resolve;
	c->client_name =
	    host(resolve == POLICY_RESOLVE_OK ? name : NULL, c->client_addr);
	c->f.client_name = c->client_name;
	c->f.client_addr = c->client_addr;
	return 0;
}

static int
take_server(const struct ctl *ctl, struct ctl_facts *c)
{
	int status = take_addr(ctl, "--server-addr", &c->server_addr);

	c->server_name = host(ctl_opt(ctl, "--server-name"), c->server_addr);
	c->f.server_name = c->server_name;
	c->f.server_addr = c->server_addr;
	return status;
}

static int
take_bits(const struct ctl *ctl, int *bits)
{
	const char *text = ctl_opt(ctl, "--bits");

	if (text == NULL)
		return 0;
	if (strlen(text) > 5 || strspn(text, "0123456789") != strlen(text) ||
	    text[0] == '\0')
		return ctl_usage(
		    ctl, "--bits: \"%s\" is no number of bits", text);
	*bits = atoi(text) > 0 ? atoi(text) : POLICY_NO_TLS;
	return 0;
}

static bool
is_good_cert(const char *word)
{
	return strcasecmp(word, "OK") == 0 || strcasecmp(word, "TRUSTED") == 0;
}

static bool
is_by_cert(const struct ctl *ctl)
{
	const char *by = ctl_opt(ctl, "--by");

	return by != NULL &&
	    (strcasecmp(by, "cert") == 0 || strcasecmp(by, "both") == 0);
}

/* Names count of a certificate only, and of one that was not pinned. */
static int
check_names(const struct ctl *ctl, const char *word)
{
	static const char *const names[] = { "--cert-subject", "--cert-issuer",
		"--cn", "--cn-issuer" };

	if (strcasecmp(word, "OK") == 0 || strcasecmp(word, "FAIL") == 0)
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (ctl_opt(ctl, names[i]) != NULL)
			return ctl_usage(ctl,
			    "%s: with --verify %s there is no certificate "
			    "whose names count; expected OK or FAIL",
			    names[i], word);
	return 0;
}

/* Facts about TLS that can't be true together. */
static int
check_tls(const struct ctl *ctl, const char *word, bool under_tls)
{
	const char *bits = ctl_opt(ctl, "--bits");

	if (bits != NULL && under_tls != (atoi(bits) > 0))
		return ctl_usage(ctl, "--bits: with --verify %s there are %s",
		    word, under_tls ? "some" : "none");
	if (is_by_cert(ctl) && !is_good_cert(word))
		return ctl_usage(ctl, "--by %s needs --verify OK or TRUSTED",
		    ctl_opt(ctl, "--by"));
	return check_names(ctl, word);
}

/*
 * TLS as the options say it: --bits, a word for a session under TLS or a login
 * by certificate; none without. The word is made fit for the side when the
 * policy is asked.
 */
static int
take_tls(const struct ctl *ctl, struct ctl_facts *c)
{
	static const char *const under_tls[] = { "OK", "TRUSTED", "NO", "NOT",
		"FAIL" };
	static const char *const others[] = { "NONE", "CLEAR", "TEMP",
		"FAILURE", "SOFTWARE", "PROTOCOL", "CONFIG", "DANE_FAIL" };
	const char *word = ctl_opt(ctl, "--verify");
	int status, bits = 0;

	if ((status = take_bits(ctl, &bits)) != 0)
		return status;
	if (word == NULL || word[0] == '\0')
		word = is_by_cert(ctl)         ? "OK"
		    : bits > 0 || c->under_tls ? "NO"
					       : "NONE";
	if (WORD_INDEX(word, under_tls) == -1 && WORD_INDEX(word, others) == -1)
		return ctl_usage(ctl,
		    "--verify: \"%s\", expected OK, TRUSTED, NO, NOT, FAIL, "
		    "NONE, CLEAR, TEMP, FAILURE, SOFTWARE, PROTOCOL, CONFIG "
		    "or DANE_FAIL",
		    word);
	status = ctl_opt(ctl, "--cert") != NULL
	    ? 0
	    : check_tls(ctl, word, WORD_INDEX(word, under_tls) != -1);
	if (status != 0)
		return status;
	if (bits == 0)
		bits = WORD_INDEX(word, under_tls) != -1 ? BITS_DEFAULT
							 : POLICY_NO_TLS;
	c->verify = xstrdup(word);
	for (char *p = c->verify; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	c->f.verify = c->verify;
	c->f.cipher_bits = bits;
	c->f.cert_subject = ctl_opt(ctl, "--cert-subject");
	c->f.cert_issuer = ctl_opt(ctl, "--cert-issuer");
	c->f.cn_subject = ctl_opt(ctl, "--cn");
	c->f.cn_issuer = ctl_opt(ctl, "--cn-issuer");
	return 0;
}

int
ctl_facts_under_cert(const struct ctl *ctl, struct ctl_facts *c)
{
	const char *word = ctl_opt(ctl, "--verify");

	if (word != NULL && !is_good_cert(word))
		return ctl_usage(
		    ctl, "a login by certificate needs --verify OK or TRUSTED");
	if (word == NULL)
		c->f.verify = "OK";
	if (c->f.cipher_bits <= 0)
		c->f.cipher_bits = BITS_DEFAULT;
	return 0;
}

void
ctl_facts_set_user(struct ctl_facts *c, unsigned how)
{
	static const enum policy_user_state states[] = {
		[STORE_USER_ACTIVE] = POLICY_USER_ACTIVE,
		[STORE_USER_SUSPENDED] = POLICY_USER_SUSPENDED,
		[STORE_USER_DISABLED] = POLICY_USER_DISABLED,
	};
	static const enum policy_user_auth auths[] = {
		[STORE_AUTH_ANY] = POLICY_AUTH_ANY,
		[STORE_AUTH_CERT] = POLICY_AUTH_CERT,
		[STORE_AUTH_PASSWORD] = POLICY_AUTH_PASSWORD,
		[STORE_AUTH_BOTH] = POLICY_AUTH_BOTH,
	};

	c->f.user = c->user.name;
	c->f.user_state = states[c->user.state];
	c->f.user_auth = auths[c->user.policy];
	c->f.how = how;
}

static int
take_user(const struct ctl *ctl, struct ctl_facts *c)
{
	static const char *const words[] = {
		[POLICY_BY_CERT] = "cert",
		[POLICY_BY_PASSWORD] = "password",
		[POLICY_BY_CERT | POLICY_BY_PASSWORD] = "both",
		[0] = "-",
	};
	const char *name = ctl_opt(ctl, "--user"), *by = ctl_opt(ctl, "--by");
	int how, status;

	if (name == NULL && by != NULL)
		return ctl_usage(ctl, "--by says how --user has logged in");
	if (name == NULL)
		return 0;
	how = by == NULL ? (int)POLICY_BY_PASSWORD : WORD_INDEX(by, words);
	if (how <= 0)
		return ctl_usage(
		    ctl, "--by: \"%s\", expected cert, password or both", by);
	if ((status = ctl_user(ctl, name, &c->user)) != 0)
		return status;
	ctl_facts_set_user(c, (unsigned)how);
	return 0;
}

/* What belongs to the user, or to the one of the map. */
static int
take_own(const struct ctl *ctl, struct ctl_facts *c)
{
	const char *name = c->user.id != 0 ? c->user.name
					   : ctl->conf.map_relay_user;
	struct store_user u;
	enum store_rc rc = store_user_get(ctl->st, name, &u);

	if (rc == STORE_OK)
		rc = addrowner_first(ctl->st, u.id, c->own);
	return rc == STORE_OK || rc == STORE_NONE ? 0 : ctl_store_fail(ctl, rc);
}

/* With or without its angle brackets, as MAIL and RCPT take it; which of those
 * without domain the server takes is the policy's. */
static int
take_address(const struct ctl *ctl, const char *opt, bool rcpt, char **out)
{
	const char *text = ctl_opt(ctl, opt);
	struct facts_reply_said said;
	struct smtp_addr address;
	enum smtp_addr_rc rc;
	size_t n;

	if (text == NULL)
		return 0;
	n = strlen(text);
	if (n >= 2 && text[0] == '<' && text[n - 1] == '>') {
		text++;
		n -= 2;
	}
	if (n == 0) { /* <> */
		*out = xstrdup("");
		return 0;
	}
	rc = smtp_addr_mailbox(text, n,
	    SMTP_ADDR_ALLOW_UTF8 | (rcpt ? SMTP_ADDR_ALLOW_POSTMASTER : 0),
	    &address);
	if (rc != SMTP_ADDR_OK && rc != SMTP_ADDR_UNQUALIFIED) {
		facts_said_reply(smtp_addr_reply(rc, rcpt), "", "", &said);
		return ctl_fail(EX_DATAERR, "%s \"%s\": %s", opt,
		    ctl_opt(ctl, opt), said.text);
	}
	*out = xstrdup(address.text);
	return 0;
}

/* The value of a From field; without the option there is none to be asked. */
static void
take_authors(const struct ctl *ctl, struct ctl_facts *c)
{
	const char *value = ctl_opt(ctl, "--header-from");
	const struct header_field field = { .id = HEADER_FROM,
		.value = value,
		.value_len = value != NULL ? strlen(value) : 0 };
	int n;

	c->header_from = value;
	if (value == NULL)
		return;
	authors_add(&c->authors, &field);
	authors_end(&c->authors);
	c->author = xcalloc(c->authors.n, sizeof(*c->author));
	n = authors_read(buf_head(&c->authors.list), c->authors.list.len,
	    c->author, c->authors.n);
	c->f.authors = c->author;
	c->f.nauthors = n > 0 ? (size_t)n : 0;
}

static int
note_relay(const struct store_access *row, void *arg)
{
	unsigned *kinds = arg;

	*kinds |= facts_relays(row->key, row->value);
	return 0;
}

int
ctl_facts_take(const struct ctl *ctl, bool under_tls, struct ctl_facts *c)
{
	/* c points into these */
	static char from[FACTS_ADDRESS_MAX], rcpt[FACTS_ADDRESS_MAX];
	enum store_rc rc;
	int status;

	memset(c, 0, sizeof(*c));
	c->under_tls = under_tls;
	if ((status = take_client(ctl, c)) != 0 ||
	    (status = take_server(ctl, c)) != 0 ||
	    (status = take_tls(ctl, c)) != 0 ||
	    (status = take_user(ctl, c)) != 0 ||
	    (status = take_own(ctl, c)) != 0 ||
	    (status = take_address(ctl, "--from", false, &c->sender)) != 0 ||
	    (status = take_address(ctl, "--rcpt", true, &c->rcpt)) != 0)
		return status;
	if (c->sender != NULL)
		c->f.sender = facts_map_address(c->sender, from);
	if (c->rcpt != NULL)
		c->f.rcpt = facts_map_address(c->rcpt, rcpt);
	take_authors(ctl, c);
	rc = store_access_list(ctl->st, NULL, note_relay, &c->f.map_relays);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

void
ctl_facts_clear(struct ctl_facts *c)
{
	free(c->client_name);
	free(c->client_addr);
	free(c->server_name);
	free(c->server_addr);
	free(c->sender);
	free(c->rcpt);
	free(c->verify);
	authors_clear(&c->authors);
	free(c->author);
	memset(c, 0, sizeof(*c));
}

/* ---- the policy ---- */

struct asked {
	struct store *st;
	bool plus;
	enum store_rc rc; /* the first failure */
};

static enum policy_found
failed(struct asked *a, enum store_rc rc)
{
	if (a->rc == STORE_OK)
		a->rc = rc;
	return POLICY_TEMPFAIL;
}

static enum policy_found
lookup(void *arg, const char *key, char *value, size_t size)
{
	struct asked *a = arg;
	enum store_rc rc = store_access_lookup(a->st, key, value, size);

	if (rc == STORE_OK)
		return POLICY_FOUND;
	return rc == STORE_NONE ? POLICY_ABSENT : failed(a, rc);
}

static int
owns(void *arg, const char *user, const char *address)
{
	struct asked *a = arg;
	struct store_user u;
	bool yes = false;
	enum store_rc rc;

	if ((rc = store_user_get(a->st, user, &u)) == STORE_OK)
		rc = addrowner_owns(a->st, u.id, address, a->plus, &yes);
	if (rc == STORE_OK || rc == STORE_NONE)
		return yes;
	failed(a, rc);
	return -1;
}

static int
check_facts(
    const struct ctl *ctl, enum policy_phase phase, const struct ctl_facts *c)
{
	size_t i = index_of(phase);

	if (phases[i].side == SIDE_CLIENT && c->f.client_name == NULL)
		return ctl_usage(ctl,
		    "phase %s needs --client-name or --client-addr",
		    phases[i].word);
	if (phases[i].side == SIDE_SERVER && c->f.server_name == NULL)
		return ctl_usage(ctl,
		    "phase %s needs --server-name or --server-addr",
		    phases[i].word);
	if (phases[i].rcpt && c->f.rcpt == NULL)
		return ctl_usage(ctl, "phase %s needs --rcpt", phases[i].word);
	if (phase == POLICY_HEADERS && c->f.authors == NULL)
		return ctl_usage(ctl, "phase headers needs --header-from");
	return 0;
}

int
ctl_facts_decide(const struct ctl *ctl, enum policy_phase phase,
    const struct ctl_facts *c, struct policy_verdict *v)
{
	const struct policy_options options =
	    facts_options(ctl->conf.map_relay_user,
		(enum policy_from_header)ctl->conf.from_header);
	struct asked asked = { ctl->st, ctl->conf.plus_addressing, STORE_OK };
	const struct policy_store store = { lookup, owns, &asked };
	struct policy_facts f = c->f;
	int status;

	if ((status = check_facts(ctl, phase, c)) != 0)
		return status;
	/* To our server a client without TLS has no word at all. */
	if (phases[index_of(phase)].side == SIDE_CLIENT &&
	    strcmp(f.verify, "NONE") == 0)
		f.verify = "";
	policy_decide(phase, &f, &options, &store, v);
	return asked.rc == STORE_OK ? 0 : ctl_store_fail(ctl, asked.rc);
}

/* ---- the verdict ---- */

static const struct ctl_column step_columns[] = {
	{ "rule", "RULE", CTL_TEXT, NULL },
	{ "met", "RESULT", CTL_TEXT, NULL },
	{ "key", "KEY", CTL_TEXT, NULL },
	{ "value", "VALUE", CTL_TEXT, NULL },
	{ .key = NULL },
};

const struct ctl_column ctl_facts_columns[] = {
	{ "phase", "Phase", CTL_TEXT, NULL },
	{ "decision", "Decision", CTL_TEXT, NULL },
	{ "code", "Code", CTL_TEXT, NULL },
	{ "enhanced", "Enhanced code", CTL_TEXT, NULL },
	{ "text", "Text", CTL_TEXT, NULL },
	{ "why", "Reason", CTL_TEXT, NULL },
	{ "key", "Entry", CTL_TEXT, NULL },
	{ "relay_as", "Relays as", CTL_TEXT, NULL },
	{ "ladder", "Rules", CTL_TABLE, step_columns },
	{ .key = NULL },
};

static json_t *
text_or_null(const char *text)
{
	return text != NULL && text[0] != '\0' ? json_string(text)
					       : json_null();
}

static json_t *
ladder(const struct policy_verdict *v)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < v->nsteps; i++) {
		const struct policy_step *s = &v->steps[i];

		json_array_append_new(steps,
		    json_pack("{s:s, s:s, s:o, s:o}", "rule",
			policy_rule_name(s->rule), "met",
			policy_met_name(s->met), "key", text_or_null(s->key),
			"value", text_or_null(s->value)));
	}
	return steps;
}

json_t *
ctl_facts_verdict(enum policy_phase phase, const struct ctl_facts *c,
    const struct policy_verdict *v)
{
	bool refused = v->decision == POLICY_REFUSE_PERM ||
	    v->decision == POLICY_REFUSE_TEMP;
	const char *sender = c->sender != NULL ? c->sender : "";
	const struct facts_about about = { .sender = sender,
		.reason = c->user.reason,
		.author = phase == POLICY_HEADERS ? &c->author[v->author] : NULL,
		.own = c->own };
	struct facts_reply_args args;
	struct facts_reply_said said = { 0 };

	if (refused) {
		facts_reply_args(v->why, &about, &args);
		facts_said(v, &args, &said);
	} else if (v->add_sender) {
		facts_sender_text(sender, c->own, said.text, sizeof(said.text));
	} else {
		snprintf(said.text, sizeof(said.text), "%s", v->text);
	}
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o}",
	    "phase", ctl_facts_phase_name(phase), "decision",
	    policy_decision_name(v->decision), "code",
	    refused ? json_integer(said.code) : json_null(), "enhanced",
	    text_or_null(said.esc), "text",
	    text_or_null(said.text), "why",
	    policy_why_name(v->why), "key", text_or_null(v->key), "relay_as",
	    text_or_null(v->relay_as), "ladder", ladder(v));
}
