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
	{ "--label", true }, { "--pubkey", false }, { .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_cert_verbs[] = {
	{ "cert", "add",
	  "USER {FINGERPRINT | --file CERT.pem} [--label LABEL] [--pubkey]",
	  "let a certificate stand for a user (--pubkey: any with its key)",
	  add_run, CTL_WRITE, 1, 2, add_opts },
	{ "cert", "list", "[USER]", "list certificates and their users",
	  list_run, CTL_READ, 0, 1, NULL },
	{ "cert", "show", "ID|FINGERPRINT", "show a certificate's entry",
	  show_run, CTL_READ, 1, 1, NULL },
	{ "cert", "del", "ID|FINGERPRINT", "delete a certificate's entry",
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
	{ .key = NULL },
};

const struct ctl_column ctl_cert_columns[] = {
	{ "id", "ID", CTL_NUMBER, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "not_after", "NOT AFTER", CTL_TIME, NULL },
	{ "label", "LABEL", CTL_TEXT, NULL },
	{ "kind", "KIND", CTL_TEXT, NULL },
	{ "value", "VALUE", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column show_columns[] = {
	{ "id", "Id", CTL_NUMBER, NULL },
	{ "user", "User", CTL_TEXT, NULL },
	{ "kind", "Kind", CTL_TEXT, NULL },
	{ "value", "Value", CTL_TEXT, NULL },
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
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "id",
	    (json_int_t)cert->id, "user", cert->user, "kind",
	    store_cert_kind_text(cert->kind), "value", cert->value, "label",
	    cert->label, "state", state_text(cert), "created",
	    ctl_json_time(cert->created), "not_after",
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
	char value[65];
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

static int
from_file(const char *path, struct new_cert *new)
{
	struct cert_facts *facts = xcalloc(1, sizeof(*facts));
	int64_t now = time(NULL);
	int status;

	if ((status = ctl_cert_examine(path, NULL, now, facts)) == 0) {
		bool key = new->kind == STORE_CERT_SPKI;

		snprintf(new->value, sizeof(new->value), "%s",
		    key ? facts->spki_sha256 : facts->sha256);
		/* The key may live on in the next certificate. */
		new->not_after = key ? 0 : facts->not_after;
		judge_dates(facts, now);
		if (new->label[0] == '\0')
			label_from_cn(facts->cn_subject, new->label);
	}
	free(facts);
	return status;
}

static int
take_new(const struct ctl *ctl, struct new_cert *new)
{
	const char *path = ctl_opt(ctl, "--file");
	const char *label = ctl_opt(ctl, "--label");
	const char *why;

	if ((path != NULL) == (ctl->words > 1))
		return ctl_usage(
		    ctl, "give either a fingerprint or --file CERT.pem");
	new->kind = ctl_opt(ctl, "--pubkey") != NULL ? STORE_CERT_SPKI
						     : STORE_CERT_SHA256;
	if (label != NULL && store_label(label, &why) == -1)
		return ctl_fail(EX_DATAERR, "\"%s\": %s", label, why);
	snprintf(
	    new->label, sizeof(new->label), "%s", label != NULL ? label : "");
	if (path != NULL)
		return from_file(path, new);
	if (take_fingerprint(ctl->word[1], new->value) == -1)
		return bad_fingerprint(ctl->word[1]);
	return 0;
}

static int
add_run(struct ctl *ctl)
{
	struct new_cert new = { .not_after = 0 };
	struct store_user user;
	struct store_cert cert;
	enum store_rc rc;
	int64_t id = 0;
	int status;

	if ((status = take_new(ctl, &new)) != 0 ||
	    (status = ctl_begin(ctl)) != 0 ||
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	rc = store_cert_add(ctl->st, user.id, 0, new.kind, new.value, new.label,
	    new.not_after, &id);
	if (rc == STORE_OK)
		rc = store_cert_by_id(ctl->st, id, &cert);
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	ctl_done(ctl, ctl_cert_json(&cert),
	    "certificate %lld (%s %s) stands for user %s", (long long)id,
	    store_cert_kind_text(new.kind), new.value, user.name);
	return 0;
}

/* Finding. */

/* By id, or by either kind of fingerprint. 0 or an exit status. */
static int
find_cert(const struct ctl *ctl, const char *text, struct store_cert *cert)
{
	char value[65], *end;
	enum store_rc rc;
	long long id;

	errno = 0;
	id = strtoll(text, &end, 10);
	if (isdigit((unsigned char)*text) && *end == '\0' && errno == 0)
		rc = store_cert_by_id(ctl->st, id, cert);
	else if (take_fingerprint(text, value) == -1)
		return bad_fingerprint(text);
	else {
		rc = store_cert_find(
		    ctl->st, STORE_CERT_SHA256, value, cert, NULL);
		if (rc == STORE_NONE)
			rc = store_cert_find(
			    ctl->st, STORE_CERT_SPKI, value, cert, NULL);
	}
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
