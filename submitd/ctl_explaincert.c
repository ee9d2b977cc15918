/*
 * submitctl explain --cert: what the server sees in a client certificate. All
 * but the proof of its key is done as the server does it.
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "auth/certowner.h"
#include "ctl_cert.h"
#include "ctl_explain.h"
#include "given.h"
#include "mem.h"
#include "store/access.h"

struct look {
	const struct ctl *ctl;
	int64_t now;
	enum store_rc rc; /* the first failure */
	struct cert_facts cert;
	struct cert_owner owner;
	enum cert_map map;
};

/* ---- the certificate ---- */

static int
take_time(const struct ctl *ctl, int64_t *now)
{
	static const char *const formats[] = { "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ",
		"%Y-%m-%d %H:%M" };
	const char *text = ctl_opt(ctl, "--at"), *end;
	struct tm tm;
	size_t i;

	*now = time(NULL);
	if (text == NULL)
		return 0;
	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		memset(&tm, 0, sizeof(tm));
		end = strptime(text, formats[i], &tm);
		if (end != NULL && *end == '\0') {
			*now = timegm(&tm);
			return 0;
		}
	}
	return ctl_usage(ctl,
	    "--at: \"%s\", expected a date such as 2026-12-31 or "
	    "2026-12-31T12:00:00Z, in UTC",
	    text);
}

/* The CAs and revocation lists of the configuration. 0 or an exit status. */
static int
load_trust(const struct ctl *ctl, struct cert_trust **trust)
{
	struct given g = { .conf = ctl->conf };
	const struct buf *ca = &g.pem[PEM_CLIENT_CA];
	const struct buf *crl = &g.pem[PEM_CLIENT_CRL];
	char err[512];
	int status = 0;

	*trust = NULL;
	if (given_client_ca(&g, err, sizeof(err)) == -1)
		status = ctl_fail(EX_CONFIG, "%s", err);
	else if (ca->len + crl->len > 0) {
		*trust = cert_trust_new(
		    ca->len > 0 ? (const char *)buf_head(ca) : NULL, ca->len,
		    crl->len > 0 ? (const char *)buf_head(crl) : NULL, crl->len,
		    0, err, sizeof(err));
		if (*trust == NULL)
			status = ctl_fail(EX_CONFIG,
			    "%s: ca_cert, ca_path, crl_file: %s",
			    ctl->conf_file, err);
	}
	buf_clear(&g.pem[PEM_CLIENT_CA]);
	buf_clear(&g.pem[PEM_CLIENT_CRL]);
	return status;
}

static enum cert_map
lookup(void *arg, enum cert_key key, const char *value, const char *issuer,
    struct cert_owner *out)
{
	struct look *l = arg;
	enum cert_map map;
	enum store_rc rc;

	map = certowner_find(l->ctl->st, key, value, issuer, l->now, out, &rc);
	if (map == CERT_MAP_TEMP && l->rc == STORE_OK)
		l->rc = rc;
	return map;
}

static int
examine(struct look *l, const char *file)
{
	struct cert_trust *trust;
	int status;

	if ((status = load_trust(l->ctl, &trust)) == 0 &&
	    (status = ctl_cert_examine(file, trust, l->now, &l->cert)) == 0) {
		l->map = cert_map_user(&l->cert, lookup, l, &l->owner);
		if (l->map == CERT_MAP_TEMP)
			status = ctl_store_fail(l->ctl, l->rc);
	}
	cert_trust_free(&trust);
	return status;
}

/* ---- as JSON ---- */

static json_t *
text_or_null(const char *text)
{
	return text[0] != '\0' ? json_string(text) : json_null();
}

static const char *
advice(const struct look *l)
{
	switch (l->map) {
	case CERT_MAP_FOUND:
		break;
	case CERT_MAP_UNUSABLE:
		return "It, or its device, was added for a user but has "
		       "expired or was revoked, so it counts as none: add "
		       "another one with \"submitctl cert add\".";
	case CERT_MAP_AMBIGUOUS:
		return "Its e-mail addresses belong to several users, or are "
		       "more than are looked at: say with \"submitctl cert "
		       "add\" whose it is.";
	default:
		return l->cert.verify == CERT_OK
		    ? "It verifies, but stands for no user: let it with "
		      "\"submitctl cert add USER --file FILE\"."
		    : "It stands for no user: let it with \"submitctl cert add "
		      "USER --file FILE\", or name its CA in ca_cert.";
	}
	return "Whoever shows it, and has its key, is this user.";
}

static json_t *
emails(const struct cert_facts *c)
{
	json_t *a = json_array();

	for (size_t i = 0; i < c->nemail; i++)
		json_array_append_new(a, json_string(c->email[i]));
	return a;
}

static void
add_entry(
    const struct look *l, json_t *entries, const char *tag, const char *name)
{
	char value[STORE_ACCESS_VALUE_MAX + 1];
	char *key = xasprintf("%s:%s", tag, name);
	enum store_rc rc;

	if (name[0] != '\0') {
		rc = store_access_lookup(l->ctl->st, key, value, sizeof(value));
		json_array_append_new(entries,
		    json_pack("{s:s, s:o}", "key", key, "value",
			rc == STORE_OK ? json_string(value) : json_null()));
	}
	free(key);
}

/* The keys under which the access map knows it. */
static json_t *
entries(const struct look *l)
{
	json_t *a = json_array();

	add_entry(l, a, "CertIssuer", l->cert.issuer);
	add_entry(l, a, "CertSubject", l->cert.subject);
	return a;
}

static json_t *
as_json(const struct look *l, const char *file)
{
	const struct cert_facts *c = &l->cert;
	bool found = l->map == CERT_MAP_FOUND;
	json_t *o = json_object();

	json_object_set_new(o, "file", json_string(file));
	json_object_set_new(o, "sha256", json_string(c->sha256));
	json_object_set_new(o, "spki_sha256", json_string(c->spki_sha256));
	json_object_set_new(o, "not_before", ctl_json_time(c->not_before));
	json_object_set_new(o, "not_after", ctl_json_time(c->not_after));
	json_object_set_new(
	    o, "verify", json_string(cert_verify_word(c->verify)));
	json_object_set_new(o, "reason", text_or_null(c->reason));
	json_object_set_new(o, "revoked", json_boolean(c->revoked));
	json_object_set_new(
	    o, "user", found ? json_string(l->owner.user) : json_null());
	json_object_set_new(o, "device",
	    ctl_explain_device(l->ctl, found ? l->owner.device : 0));
	json_object_set_new(o, "found_by",
	    json_string(cert_map_word(l->map, &l->owner)));
	json_object_set_new(o, "cn", text_or_null(c->cn_subject));
	json_object_set_new(o, "subject", text_or_null(c->subject));
	json_object_set_new(o, "issuer", text_or_null(c->issuer));
	json_object_set_new(o, "cn_issuer", text_or_null(c->cn_issuer));
	json_object_set_new(o, "emails", emails(c));
	json_object_set_new(o, "entries", entries(l));
	json_object_set_new(o, "advice", json_string(advice(l)));
	return o;
}

/* ---- a session that shows it ---- */

/* The certificate says it, or it is about somebody else's. */
static int
check_options(const struct ctl *ctl)
{
	static const char *const said[] = { "--verify", "--cert-subject",
		"--cert-issuer", "--cn", "--cn-issuer" };
	static const char *const server[] = { "--server-name",
		"--server-addr" };
	const char *bits = ctl_opt(ctl, "--bits");
	size_t i;

	for (i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (ctl_opt(ctl, said[i]) != NULL)
			return ctl_usage(
			    ctl, "--cert says it, not %s", said[i]);
	for (i = 0; i < sizeof(server) / sizeof(server[0]); i++)
		if (ctl_opt(ctl, server[i]) != NULL)
			return ctl_usage(ctl,
			    "%s: --cert is a client's certificate", server[i]);
	if (bits != NULL && strspn(bits, "0") == strlen(bits))
		return ctl_usage(
		    ctl, "--bits: without TLS there is no certificate");
	return 0;
}

/* --user and --by: may they be said of this certificate? */
static int
put_login(const struct look *l, struct ctl_facts *f)
{
	const char *by = ctl_opt(l->ctl, "--by");
	bool found = l->map == CERT_MAP_FOUND;

	if (found && strcmp(f->user.name, l->owner.user) == 0) {
		/* without a word the certificate is the login */
		f->f.how =
		    by == NULL ? POLICY_BY_CERT : f->f.how | POLICY_BY_CERT;
		return 0;
	}
	if ((f->f.how & POLICY_BY_CERT) == 0)
		return 0;
	if (!found)
		return ctl_fail(EX_DATAERR,
		    "--by %s: the certificate stands for no user", by);
	return ctl_fail(EX_DATAERR,
	    "--by %s: the certificate is %s's, not %s's", by, l->owner.user,
	    f->user.name);
}

/* Its names, and its user if no other logged in. */
static int
put_facts(const struct look *l, struct ctl_facts *f)
{
	int status;

	f->of_file = true;
	f->file_device = l->map == CERT_MAP_FOUND ? l->owner.device : 0;
	f->f.verify = cert_verify_word(l->cert.verify);
	if (f->f.cipher_bits <= 0)
		f->f.cipher_bits = 256;
	f->f.cert_subject = l->cert.subject;
	f->f.cert_issuer = l->cert.issuer;
	f->f.cn_subject = l->cert.cn_subject;
	f->f.cn_issuer = l->cert.cn_issuer;
	if (f->user.id != 0)
		return put_login(l, f);
	if (l->map != CERT_MAP_FOUND)
		return 0;
	if ((status = ctl_user(l->ctl, l->owner.user, &f->user)) != 0)
		return status;
	ctl_facts_set_user(f, POLICY_BY_CERT);
	return 0;
}

/* Any fact but the certificate. */
static bool
wants_decision(const struct ctl *ctl)
{
	return ctl->opts > 1u + (ctl_opt(ctl, "--at") != NULL);
}

static int
decide(const struct look *l, json_t *out)
{
	struct ctl_facts facts;
	int status;

	if ((status = ctl_facts_take(l->ctl, true, &facts)) == 0 &&
	    (status = put_facts(l, &facts)) == 0)
		status = ctl_explain_decide(l->ctl, &facts, out);
	ctl_facts_clear(&facts);
	return status;
}

static void
show(struct ctl *ctl, json_t *cert, json_t *decisions)
{
	json_t *all;

	if (ctl->json) {
		json_object_set_new(cert, "decisions", decisions);
		ctl_show(ctl, cert, ctl_explain_columns);
		return;
	}
	all = json_array();
	json_array_append_new(all, cert);
	json_array_extend(all, decisions);
	json_decref(decisions);
	ctl_explain_for_people(all);
	ctl_show_each(ctl, all, ctl_explain_columns);
}

int
ctl_explain_cert(struct ctl *ctl, const char *file)
{
	struct look *l = xcalloc(1, sizeof(*l));
	json_t *decisions = json_array();
	int status;

	l->ctl = ctl;
	if ((status = check_options(ctl)) == 0 &&
	    (status = take_time(ctl, &l->now)) == 0 &&
	    (status = examine(l, file)) == 0 && wants_decision(ctl))
		status = decide(l, decisions);
	if (status == 0)
		show(ctl, as_json(l, file), decisions);
	else
		json_decref(decisions);
	free(l);
	return status;
}
