/*
 * submitctl cert: which certificates stand for a user.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <time.h>

#include "auth/cert.h"
#include "base64.h"
#include "ctl_cert.h"
#include "mem.h"

static int add_run(struct ctl *);
static int list_run(struct ctl *);
static int show_run(struct ctl *);
static int del_run(struct ctl *);

static const struct ctl_opt add_opts[] = { { "--file", true },
	{ "--subject", true }, { "--issuer", true }, { "--email", true },
	{ "--label", true }, { "--pubkey", false }, { "--by-name", false },
	{ .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_cert_verbs[] = {
	{ "cert", "add",
	  "USER {FINGERPRINT [--pubkey] | --file CERT.pem [--pubkey | --by-name]"
	  " | --subject DN --issuer DN | --email ADDRESS} [--label LABEL]",
	  "let a certificate stand for a user (--pubkey: any with its key; by"
	  " its names: any such one of a CA in ca_cert)",
	  add_run, CTL_WRITE, 1, 2, add_opts },
	{ "cert", "list", "[USER]", "list certificates and their users",
	  list_run, CTL_READ, 0, 1, NULL },
	{ "cert", "show", "ID|FINGERPRINT|SUBJECT|ADDRESS",
	  "show a certificate's entry",
	  show_run, CTL_READ, 1, 1, NULL },
	{ "cert", "del", "ID|FINGERPRINT|SUBJECT|ADDRESS",
	  "delete a certificate's entry",
	  del_run, CTL_WRITE, 1, 1, NULL },
	{ .noun = NULL },
};

static const struct ctl_column list_columns[] = {
	{ "id", "ID", CTL_NUMBER, NULL },
	{ "user", "USER", CTL_TEXT, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "not_after", "NOT AFTER", CTL_TIME, NULL },
	{ "label", "LABEL", CTL_TEXT, NULL },
	{ "kind", "KIND", CTL_TEXT, NULL },
	{ "value", "VALUE", CTL_TEXT, NULL },
	{ "issuer", "ISSUER", CTL_TEXT, NULL },
	{ .key = NULL },
};

const struct ctl_column ctl_cert_columns[] = {
	{ "id", "ID", CTL_NUMBER, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "not_after", "NOT AFTER", CTL_TIME, NULL },
	{ "label", "LABEL", CTL_TEXT, NULL },
	{ "kind", "KIND", CTL_TEXT, NULL },
	{ "value", "VALUE", CTL_TEXT, NULL },
	{ "issuer", "ISSUER", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column show_columns[] = {
	{ "id", "Id", CTL_NUMBER, NULL },
	{ "user", "User", CTL_TEXT, NULL },
	{ "kind", "Kind", CTL_TEXT, NULL },
	{ "value", "Value", CTL_TEXT, NULL },
	{ "issuer", "Issuer", CTL_TEXT, NULL },
	{ "label", "Label", CTL_TEXT, NULL },
	{ "state", "State", CTL_TEXT, NULL },
	{ "created", "Created", CTL_TIME, NULL },
	{ "not_after", "Not after", CTL_TIME, NULL },
	{ "revoked", "Revoked", CTL_TIME, NULL },
	{ .key = NULL },
};
/* clang-format on */

static const char *
state_text(const struct store_cert *cert)
{
	static const char *const words[] = {
		[STORE_CERT_USABLE] = "usable",
		[STORE_CERT_EXPIRED] = "expired",
		[STORE_CERT_REVOKED] = "revoked",
	};

	return words[store_cert_state(cert, time(NULL))];
}

json_t *
ctl_cert_json(const struct store_cert *cert)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o}",
	    "id", (json_int_t)cert->id, "user", cert->user, "kind",
	    store_cert_kind_text(cert->kind), "value", cert->value, "issuer",
	    cert->issuer, "label", cert->label, "state", state_text(cert),
	    "created", ctl_json_time(cert->created), "not_after",
	    ctl_json_time(cert->not_after), "revoked",
	    ctl_json_time(cert->revoked));
}

/* Fingerprints. */

/*
 * Takes 64 hex digits, with or without colons between the pairs, in any case,
 * behind "SHA256:" or what `openssl x509 -fingerprint -sha256` puts there.
 */
static int
take_fingerprint(const char *in, char out[65])
{
	static const char *const heads[] = {
		"SHA256 Fingerprint=", "SHA256:", "SHA256="
	};
	bool colons;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		if (strncasecmp(in, heads[i], strlen(heads[i])) == 0) {
			in += strlen(heads[i]);
			break;
		}
	}
	colons = strlen(in) > 2 && in[2] == ':';
	for (; *in != '\0' && n < 64; in++) {
		if (!isxdigit((unsigned char)*in))
			return -1;
		out[n++] = (char)tolower((unsigned char)*in);
		if (colons && n % 2 == 0 && n < 64 && *++in != ':')
			return -1;
	}
	out[n] = '\0';
	return n == 64 && *in == '\0' ? 0 : -1;
}

static int
bad_fingerprint(const char *text)
{
	return ctl_fail(EX_DATAERR,
	    "\"%s\" is no SHA-256 fingerprint: 64 hex digits are expected, "
	    "with or without colons (openssl x509 -in CERT.pem -noout "
	    "-fingerprint -sha256)",
	    text);
}

/* Files. */

enum { PEM_FILE_MAX = 256 * 1024 };

static int
read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	size_t n;
	int failed;

	if (f == NULL)
		return ctl_fail(errno == EACCES ? EX_NOPERM : EX_NOINPUT,
		    "%s: %s", path, strerror(errno));
	n = fread(buf_room(out, PEM_FILE_MAX), 1, PEM_FILE_MAX, f);
	buf_grew(out, n);
	failed = ferror(f);
	fclose(f);
	if (failed)
		return ctl_fail(EX_IOERR, "%s: cannot be read", path);
	if (n == PEM_FILE_MAX)
		return ctl_fail(EX_DATAERR, "%s: too large", path);
	buf_add(out, "", 1);
	return 0;
}

static int
add_der(struct buf *chain, const struct buf *base64)
{
	struct buf der = { 0 };
	size_t len = 0;
	uint32_t n;
	int rc = -1;

	if (base64->len > 0 &&
	    base64_decode((const char *)buf_head(base64), base64->len,
		buf_room(&der, base64->len), base64->len, &len) == 0) {
		n = (uint32_t)len;
		buf_add(chain, &n, sizeof(n));
		buf_add(chain, buf_head(&der), len);
		rc = 0;
	}
	buf_clear(&der);
	return rc;
}

/*
 * The certificates of a PEM text (RFC 7468) as a chain for cert_examine(): of
 * each its length, then its DER. -1 if there is none, or if the base64 of one
 * is broken.
 */
static int
read_chain(const char *text, struct buf *chain)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	static const char end[] = "-----END CERTIFICATE-----";
	struct buf base64 = { 0 };
	const char *from = text, *to;
	int rc = 0;

	while (rc == 0 && (from = strstr(from, begin)) != NULL) {
		buf_clear(&base64);
		if ((to = strstr(from, end)) == NULL) {
			rc = -1;
			break;
		}
		for (from += strlen(begin); from < to; from++)
			if (strchr(" \t\r\n", *from) == NULL)
				buf_add(&base64, from, 1);
		rc = add_der(chain, &base64);
	}
	buf_clear(&base64);
	return rc == -1 || chain->len == 0 ? -1 : 0;
}

static int
no_certificate(const char *path, const char *text)
{
	return ctl_fail(EX_DATAERR, "%s: no certificate in PEM form%s", path,
	    strstr(text, "PRIVATE KEY-----") != NULL
		? ", but a private key: give the certificate's file"
		: " (openssl x509 -inform DER -in FILE converts)");
}

int
ctl_cert_examine(const char *path, const struct cert_trust *trust, int64_t now,
    struct cert_facts *facts)
{
	struct buf text = { 0 }, chain = { 0 };
	int status;

	if ((status = read_file(path, &text)) == 0) {
		const char *pem = (const char *)buf_head(&text);

		if (read_chain(pem, &chain) == -1)
			status = no_certificate(path, pem);
		else if (cert_examine(trust, buf_head(&chain), chain.len, now,
			     facts) != CERT_RC_OK)
			status = ctl_fail(EX_DATAERR,
			    "%s: the certificate is malformed", path);
	}
	/* A file may hold the key as well. */
	buf_wipe(&text);
	buf_clear(&chain);
	return status;
}

/* Adding. */

struct new_cert {
	enum store_cert_kind kind;
	char value[STORE_CERT_VALUE_MAX + 1];
	char issuer[STORE_CERT_VALUE_MAX + 1]; /* of a subject */
	char label[STORE_LABEL_MAX + 1];
	int64_t not_after;
};

static void
judge_dates(const struct cert_facts *facts, int64_t now)
{
	if (facts->not_after < now)
		ctl_note("warning: the certificate has expired; nobody can "
			 "log in with it");
	else if (facts->not_before > now)
		ctl_note("warning: the certificate is not valid yet");
}

/*
 * The common name as a label: the escapes of the access map (+20) become the
 * bytes they stand for. No label if that is no text.
 */
static void
label_from_cn(const char *cn, char out[STORE_LABEL_MAX + 1])
{
	unsigned char byte;
	const char *why;
	size_t n = 0;

	for (; *cn != '\0' && n < STORE_LABEL_MAX; cn++) {
		if (*cn == '+' && sscanf(cn + 1, "%2hhx", &byte) == 1) {
			out[n++] = (char)byte;
			cn += 2;
		} else
			out[n++] = *cn;
	}
	out[n] = '\0';
	if (*cn != '\0' || store_label(out, &why) == -1 ||
	    strncmp(out, "BadCertificate", 14) == 0)
		out[0] = '\0';
}

/* What of a certificate stands for the user. */
static int
take_facts(
    const char *path, const struct cert_facts *facts, struct new_cert *new)
{
	if (new->kind == STORE_CERT_SUBJECT) {
		if (facts->vague)
			return ctl_fail(EX_DATAERR,
			    "%s: its names are too long or have signs in them "
			    "that do not tell subjects apart: use its "
			    "fingerprint",
			    path);
		strcpy(new->value, facts->subject);
		strcpy(new->issuer, facts->issuer);
	} else if (new->kind == STORE_CERT_SPKI)
		strcpy(new->value, facts->spki_sha256);
	else {
		strcpy(new->value, facts->sha256);
		/* key and names may live on in the next certificate */
		new->not_after = facts->not_after;
	}
	return 0;
}

static int
from_file(const char *path, struct new_cert *new)
{
	struct cert_facts *facts = xcalloc(1, sizeof(*facts));
	int64_t now = time(NULL);
	int status;

	_Static_assert(CERTNAME_SIZE <= STORE_CERT_VALUE_MAX + 1, "it fits");
	if ((status = ctl_cert_examine(path, NULL, now, facts)) == 0 &&
	    (status = take_facts(path, facts, new)) == 0) {
		judge_dates(facts, now);
		if (new->label[0] == '\0')
			label_from_cn(facts->cn_subject, new->label);
	}
	free(facts);
	return status;
}

/* Which options go together; 0 or a status. */
static int
check_options(const struct ctl *ctl)
{
	bool file = ctl_opt(ctl, "--file") != NULL;
	bool subject = ctl_opt(ctl, "--subject") != NULL;
	bool email = ctl_opt(ctl, "--email") != NULL;
	bool key = ctl_opt(ctl, "--pubkey") != NULL;
	bool name = ctl_opt(ctl, "--by-name") != NULL;

	if (subject != (ctl_opt(ctl, "--issuer") != NULL))
		return ctl_usage(ctl,
		    "give both --subject and --issuer: another CA may give "
		    "the same subject to somebody else");
	if ((ctl->words > 1) + file + subject + email != 1)
		return ctl_usage(ctl,
		    "give one of a fingerprint, --file CERT.pem, --subject "
		    "and --issuer, or --email");
	if (key && name)
		return ctl_usage(
		    ctl, "--pubkey and --by-name exclude each other");
	if (name && !file)
		return ctl_usage(ctl, "--by-name belongs to --file");
	if (key && (subject || email))
		return ctl_usage(
		    ctl, "--pubkey belongs to --file or a fingerprint");
	return 0;
}

static int
take_text(struct new_cert *new, enum store_cert_kind kind, const char *value,
    const char *issuer)
{
	if (strlen(value) >= sizeof(new->value) ||
	    strlen(issuer) >= sizeof(new->issuer))
		return ctl_fail(EX_DATAERR, "a name is longer than %d bytes",
		    STORE_CERT_VALUE_MAX);
	new->kind = kind;
	strcpy(new->value, value);
	strcpy(new->issuer, issuer);
	return 0;
}

static int
take_new(const struct ctl *ctl, struct new_cert *new)
{
	const char *path = ctl_opt(ctl, "--file");
	const char *subject = ctl_opt(ctl, "--subject");
	const char *email = ctl_opt(ctl, "--email");
	const char *label = ctl_opt(ctl, "--label");
	const char *why;
	int status;

	if ((status = check_options(ctl)) != 0)
		return status;
	if (label != NULL && store_label(label, &why) == -1)
		return ctl_fail(EX_DATAERR, "\"%s\": %s", label, why);
	snprintf(
	    new->label, sizeof(new->label), "%s", label != NULL ? label : "");
	new->kind = ctl_opt(ctl, "--pubkey") != NULL ? STORE_CERT_SPKI
	    : ctl_opt(ctl, "--by-name") != NULL      ? STORE_CERT_SUBJECT
						     : STORE_CERT_SHA256;
	if (path != NULL)
		return from_file(path, new);
	if (subject != NULL)
		return take_text(
		    new, STORE_CERT_SUBJECT, subject, ctl_opt(ctl, "--issuer"));
	if (email != NULL)
		return take_text(new, STORE_CERT_SAN, email, "");
	if (take_fingerprint(ctl->word[1], new->value) == -1)
		return bad_fingerprint(ctl->word[1]);
	return 0;
}

/* Names say something only below a CA. */
static void
judge_ca(const struct ctl *ctl, const struct new_cert *new)
{
	if ((new->kind == STORE_CERT_SUBJECT || new->kind == STORE_CERT_SAN) &&
	    ctl->conf.ca_cert[0] == '\0' && ctl->conf.ca_path[0] == '\0')
		ctl_note("note: neither ca_cert nor ca_path is set: no "
			 "certificate verifies, so none is found by its names");
}

static enum store_rc
add_row(const struct ctl *ctl, int64_t user_id, const struct new_cert *new,
    struct store_cert *cert)
{
	enum store_rc rc;
	int64_t id = 0;

	if (new->kind == STORE_CERT_SUBJECT)
		rc = store_cert_add_subject(
		    ctl->st, user_id, new->value, new->issuer, new->label, &id);
	else
		rc = store_cert_add(ctl->st, user_id, 0, new->kind, new->value,
		    new->label, new->not_after, &id);
	return rc == STORE_OK ? store_cert_by_id(ctl->st, id, cert) : rc;
}

static int
add_run(struct ctl *ctl)
{
	struct new_cert new = { .not_after = 0 };
	struct store_user user;
	struct store_cert cert;
	enum store_rc rc;
	int status;

	if ((status = take_new(ctl, &new)) != 0 ||
	    (status = ctl_begin(ctl)) != 0 ||
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	if ((rc = add_row(ctl, user.id, &new, &cert)) != STORE_OK)
		return ctl_store_fail(ctl, rc);
	judge_ca(ctl, &new);
	ctl_done(ctl, ctl_cert_json(&cert),
	    "certificate %lld (%s %s%s%s) stands for user %s",
	    (long long)cert.id, store_cert_kind_text(cert.kind), cert.value,
	    cert.issuer[0] != '\0' ? " of " : "", cert.issuer, user.name);
	return 0;
}

/* Finding. */

struct match {
	char value[STORE_CERT_VALUE_MAX + 1];
	struct store_cert *cert;
	size_t n;
};

static int
match_one(const struct store_cert *cert, void *arg)
{
	struct match *m = arg;

	/* values are folded */
	if (strcasecmp(cert->value, m->value) == 0 && m->n++ == 0)
		*m->cert = *cert;
	return 0;
}

static int
find_by_value(const struct ctl *ctl, const char *text, struct store_cert *cert)
{
	struct match m = { .cert = cert };
	enum store_rc rc;

	if (text[0] == '/' || strchr(text, '@') != NULL)
		snprintf(m.value, sizeof(m.value), "%s", text);
	else if (take_fingerprint(text, m.value) == -1)
		return bad_fingerprint(text);
	rc = store_cert_list(ctl->st, 0, match_one, &m);
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	if (m.n > 1)
		return ctl_fail(EX_DATAERR,
		    "there are %zu entries for %s: give the id that \"cert "
		    "list\" shows",
		    m.n, text);
	return m.n == 1 ? 0 : ctl_fail(EX_DATAERR, "no certificate %s", text);
}

/* By id, or by what it is found by. 0 or an exit status. */
static int
find_cert(const struct ctl *ctl, const char *text, struct store_cert *cert)
{
	enum store_rc rc;
	long long id;
	char *end;

	errno = 0;
	id = strtoll(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0)
		return find_by_value(ctl, text, cert);
	rc = store_cert_by_id(ctl->st, id, cert);
	if (rc == STORE_NONE)
		return ctl_fail(EX_DATAERR, "no certificate %s", text);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

static int
list_one(const struct store_cert *cert, void *arg)
{
	json_array_append_new(arg, ctl_cert_json(cert));
	return 0;
}

static int
list_run(struct ctl *ctl)
{
	struct store_user user = { .id = 0 };
	json_t *rows;
	enum store_rc rc;
	int status;

	if (ctl->words > 0 &&
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	rows = json_array();
	rc = store_cert_list(ctl->st, user.id, list_one, rows);
	if (rc != STORE_OK) {
		json_decref(rows);
		return ctl_store_fail(ctl, rc);
	}
	ctl_list(ctl, rows, list_columns);
	return 0;
}

static int
show_run(struct ctl *ctl)
{
	struct store_cert cert;
	int status;

	if ((status = find_cert(ctl, ctl->word[0], &cert)) != 0)
		return status;
	ctl_show(ctl, ctl_cert_json(&cert), show_columns);
	return 0;
}

static int
del_run(struct ctl *ctl)
{
	struct store_cert cert;
	enum store_rc rc;
	int status;

	if ((status = ctl_begin(ctl)) != 0 ||
	    (status = find_cert(ctl, ctl->word[0], &cert)) != 0)
		return status;
	if ((rc = store_cert_del(ctl->st, cert.id)) != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl_done(ctl, ctl_cert_json(&cert),
	    "certificate %lld of user %s is deleted", (long long)cert.id,
	    cert.user);
	return 0;
}
