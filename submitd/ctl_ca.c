/*
 * submitctl ca: the private CA that signs the certificates of devices, and
 * the CAs that are trusted.
 */
#include "ctl_ca.h"

#include <sys/stat.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "auth/certfile.h"
#include "ctl_file.h"
#include "publicca.h"
#include "store/ca.h"

enum {
	DAY_S = 86400,
	CA_DAYS = 3650,
	CRL_DAYS = 30,
	/* What has expired stays on the list a while: RFC 5280 section 3.3
	 * wants it on one list at least. */
	CRL_KEEP_S = 60 * DAY_S
};

static int init_run(struct ctl *);
static int export_run(struct ctl *);
static int crl_run(struct ctl *);
static int install_run(struct ctl *);

static const struct ctl_opt init_opts[] = { { "--name", true },
	{ "--days", true }, { "--force", false }, { .name = NULL } };
static const struct ctl_opt export_opts[] = { { "--out", true },
	{ .name = NULL } };
static const struct ctl_opt crl_opts[] = { { "--out", true },
	{ "--days", true }, { .name = NULL } };
static const struct ctl_opt install_opts[] = { { "--force", false },
	{ .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_ca_verbs[] = {
	{ "ca", "init", "[--name NAME] [--days N] [--force]",
	  "make the private CA, which signs certificates of devices",
	  init_run, CTL_WRITE, 0, 0, init_opts },
	{ "ca", "export", "[--out FILE]", "print the CA's certificate",
	  export_run, CTL_CONF, 0, 0, export_opts },
	{ "ca", "crl", "[--out FILE] [--days N]",
	  "write the list of revoked certificates to crl_file",
	  crl_run, CTL_WRITE, 0, 0, crl_opts },
	{ "ca", "install", "FILE [--force]",
	  "install a bundle of CAs as ca_cert, the CAs of client certificates",
	  install_run, CTL_CONF, 1, 1, install_opts },
	{ .noun = NULL },
};
/* clang-format on */

/* ---- the CA's files ---- */

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Takes the paths. */
static int
open_files(char *cert_path, char *key_path, struct ca **ca)
{
	struct buf cert = { 0 }, key = { 0 };
	char err[256];
	int status;

	*ca = NULL;
	if ((status = ctl_read_file(cert_path, CTL_PEM_MAX, &cert)) == 0 &&
	    (status = ctl_read_secret(key_path, CTL_PEM_MAX, &key)) == 0) {
		*ca = ca_open(buf_head(&cert), cert.len, buf_head(&key),
		    key.len, err, sizeof(err));
		if (*ca == NULL)
			status = ctl_fail(
			    EX_DATAERR, "%s, %s: %s", cert_path, key_path, err);
	}
	buf_clear(&cert);
	buf_wipe(&key);
	free(cert_path);
	free(key_path);
	return status;
}

int
ctl_ca_open(const struct ctl *ctl, struct ca **ca)
{
	static struct store_ca row; /* large */
	const struct ca_cert *cert;
	enum store_rc rc;
	int status;

	*ca = NULL;
	rc = store_ca_get(ctl->st, &row);
	if (rc == STORE_NONE)
		return ctl_fail(EX_UNAVAILABLE,
		    "there is no CA; \"submitctl ca init\" makes one");
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	if ((status = open_files(conf_cert_path(&ctl->conf, CTL_CA_CERT),
		 conf_cert_path(&ctl->conf, CTL_CA_KEY), ca)) != 0)
		return status;
	cert = ca_cert_of(*ca);
	if (cert->der.len == row.certificate_len &&
	    memcmp(cert->der.p, row.certificate, row.certificate_len) == 0)
		return 0;
	ca_free(ca);
	return ctl_fail(EX_CONFIG,
	    "%s/" CTL_CA_CERT " is not the CA that the store knows (%s)",
	    ctl->conf.cert_dir, row.subject);
}

int
ctl_ca_issued(
    const struct ctl *ctl, const struct ca_cert *cert, int64_t user_id)
{
	enum store_rc rc = store_ca_issued(ctl->st, cert->serial, user_id,
	    cert->subject, cert->sha256, cert->not_after);

	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

/* ---- ca init ---- */

static int
tell_ca(struct ctl *ctl, const struct ca_cert *cert, const char *cert_path,
    const char *key_path, const char *what)
{
	ctl_done(ctl,
	    json_pack("{s:s, s:s, s:s, s:s, s:o}", "certificate", cert_path,
		"key", key_path, "subject", cert->subject, "sha256",
		cert->sha256, "not_after", ctl_json_time(cert->not_after)),
	    "the CA \"%s\" %s:\n  %s\n  %s (keep it safe: who has it can log "
	    "in as anybody it signs for)\n"
	    "Next: submitctl device add USER LABEL --cert",
	    cert->subject, what, cert_path, key_path);
	return 0;
}

static void
default_name(const struct ctl *ctl, char *out, size_t outlen)
{
	char host[256] = "";
	int room;

	if (ctl->conf.hostname[0] != '\0')
		snprintf(host, sizeof(host), "%s", ctl->conf.hostname);
	else
		gethostname(host, sizeof(host) - 1);
	/* a common name has at most 64 characters */
	room = (int)outlen - 1 - (int)strlen(" device CA");
	snprintf(out, outlen, "%.*s device CA", room, host);
}

static int
make_ca(const struct ctl *ctl, struct ca_cert *cert, struct ca_octets *key)
{
	const char *name = ctl_opt(ctl, "--name");
	char err[256], standard[65];
	int64_t now = time(NULL), days;
	struct ca_key *k;
	int status, rc;

	if ((status = ctl_days(ctl, CA_DAYS, &days)) != 0)
		return status;
	default_name(ctl, standard, sizeof(standard));
	const struct ca_wish wish = { .use = CA_AUTHORITY,
		.cn = name != NULL ? name : standard,
		.not_before = now - CTL_CA_SLACK_S,
		.not_after = now + days * DAY_S };

	if ((k = ca_key_new(err, sizeof(err))) == NULL)
		return ctl_fail(EX_SOFTWARE, "%s", err);
	rc = ca_self_sign(&wish, k, cert, err, sizeof(err));
	if (rc == 0)
		rc = ca_key_pem(k, key, err, sizeof(err));
	ca_key_free(&k);
	if (rc == 0)
		return 0;
	return ctl_fail(
	    EX_DATAERR, "%s (a name has 1 to 64 characters of UTF-8)", err);
}

static int
set_ca(struct ctl *ctl, const struct ca_cert *cert, const char *key_path)
{
	enum store_rc rc;
	int status;

	if ((status = ctl_begin(ctl)) != 0)
		return status;
	rc = store_ca_set(
	    ctl->st, cert->subject, cert->der.p, cert->der.len, key_path);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

static int
new_ca(struct ctl *ctl, const char *cert_path, const char *key_path)
{
	bool force = ctl_opt(ctl, "--force") != NULL;
	struct ca_octets key = { 0 };
	struct ca_cert cert = { 0 };
	int status;

	if ((status = make_ca(ctl, &cert, &key)) == 0 &&
	    (status = ctl_make_dir(ctl->conf.cert_dir)) == 0 &&
	    (status = set_ca(ctl, &cert, key_path)) == 0 &&
	    (status = ctl_write_file(key_path, key.p, key.len, 0600, force)) ==
		0 &&
	    (status = ctl_write_file(
		 cert_path, cert.pem.p, cert.pem.len, 0644, force)) == 0)
		tell_ca(ctl, &cert, cert_path, key_path, "is made");
	ca_octets_free(&key);
	ca_cert_free(&cert);
	return status;
}

/* Files that are there, but not in the store: of a CA made elsewhere, or of
 * one whose store was lost. */
static int
adopt_ca(struct ctl *ctl, const char *cert_path, const char *key_path)
{
	struct ca *ca;
	int status;

	status = open_files(xstrdup(cert_path), xstrdup(key_path), &ca);
	if (status != 0)
		return status;
	if ((status = set_ca(ctl, ca_cert_of(ca), key_path)) == 0)
		tell_ca(ctl, ca_cert_of(ca), cert_path, key_path,
		    "was there and is taken as it is");
	ca_free(&ca);
	return status;
}

static int
init_run(struct ctl *ctl)
{
	char *cert_path = conf_cert_path(&ctl->conf, CTL_CA_CERT);
	char *key_path = conf_cert_path(&ctl->conf, CTL_CA_KEY);
	static struct store_ca row;
	enum store_rc rc = store_ca_get(ctl->st, &row);
	int status;

	if (rc != STORE_OK && rc != STORE_NONE)
		status = ctl_store_fail(ctl, rc);
	else if (ctl_opt(ctl, "--force") != NULL ||
	    (rc == STORE_NONE && !exists(cert_path) && !exists(key_path)))
		status = new_ca(ctl, cert_path, key_path);
	else if (rc == STORE_NONE)
		status = adopt_ca(ctl, cert_path, key_path);
	else
		status = ctl_fail(EX_CANTCREAT,
		    "there is a CA already (%s); --force makes another one "
		    "in its place, and \"ca crl\" then no longer covers what "
		    "the old one signed",
		    row.subject);
	free(cert_path);
	free(key_path);
	return status;
}

/* ---- ca export ---- */

static int
give_out(struct ctl *ctl, const struct certfile_cert *cert, const char *pem)
{
	const char *out = ctl_opt(ctl, "--out");
	int status;

	if (out != NULL && strcmp(out, "-") != 0) {
		status = ctl_write_file(out, pem, strlen(pem), 0644, true);
		if (status == 0)
			ctl_done(ctl,
			    json_pack("{s:s, s:s}", "file", out, "sha256",
				cert->sha256),
			    "%s has the certificate of \"%s\"", out,
			    cert->subject);
		return status;
	}
	ctl_done(ctl,
	    json_pack("{s:s, s:s, s:s}", "subject", cert->subject, "sha256",
		cert->sha256, "pem", pem),
	    "%.*s", (int)strlen(pem) - (pem[strlen(pem) - 1] == '\n'), pem);
	return 0;
}

static int
export_run(struct ctl *ctl)
{
	char *path = conf_cert_path(&ctl->conf, CTL_CA_CERT);
	struct certfile *file = NULL;
	struct buf pem = { 0 };
	char err[256];
	int status;

	if (!exists(path))
		status = ctl_fail(EX_NOINPUT,
		    "%s: there is no CA; \"submitctl ca init\" makes one",
		    path);
	else
		status = ctl_read_file(path, CTL_PEM_MAX, &pem);
	if (status == 0) {
		file = certfile_read(buf_head(&pem), pem.len, err, sizeof(err));
		status = file != NULL
		    ? give_out(ctl, certfile_get(file, 0),
			  (const char *)buf_head(&pem))
		    : ctl_fail(EX_DATAERR, "%s: %s", path, err);
	}
	certfile_free(&file);
	buf_clear(&pem);
	free(path);
	return status;
}

/* ---- ca crl ---- */

struct list {
	struct ca_revoked *v;
	size_t n;
};

static int
add_revoked(const struct store_ca_revoked *row, void *arg)
{
	struct list *l = arg;
	struct ca_revoked *r;

	l->v = xrealloc(l->v, (l->n + 1) * sizeof(*l->v));
	r = &l->v[l->n++];
	snprintf(r->serial, sizeof(r->serial), "%s", row->serial);
	r->at = row->at;
	r->reason = row->reason;
	return 0;
}

/* Where the list goes; NULL: to stdout. 0 or an exit status. */
static int
crl_path(const struct ctl *ctl, char **path)
{
	const char *out = ctl_opt(ctl, "--out");

	*path = NULL;
	if (out == NULL && ctl->conf.crl_file[0] == '\0')
		return ctl_usage(ctl,
		    "crl_file is not set in %s: set it, or give --out FILE",
		    ctl->conf_file);
	if (out == NULL)
		*path = conf_cert_path(&ctl->conf, ctl->conf.crl_file);
	else if (strcmp(out, "-") != 0)
		*path = xstrdup(out);
	return 0;
}

static int
make_crl(struct ctl *ctl, const struct ca *ca, int64_t days,
    struct ca_octets *pem, size_t *count)
{
	int64_t now = time(NULL), number = 0;
	struct list l = { 0 };
	char err[256];
	enum store_rc rc;
	int status;

	if ((status = ctl_begin(ctl)) != 0)
		return status;
	rc = store_ca_next_crl(ctl->st, &number);
	if (rc == STORE_OK)
		rc = store_ca_revoked_list(
		    ctl->st, now - CRL_KEEP_S, add_revoked, &l);
	if (rc != STORE_OK)
		status = ctl_store_fail(ctl, rc);
	else if (ca_crl(ca, number, now - CTL_CA_SLACK_S, now + days * DAY_S,
		     l.v, l.n, pem, err, sizeof(err)) == -1)
		status = ctl_fail(EX_SOFTWARE, "%s", err);
	*count = l.n;
	free(l.v);
	return status;
}

static int
crl_out(struct ctl *ctl, const char *path, const struct ca_octets *pem,
    size_t count, int64_t days)
{
	const char *text = (const char *)pem->p;
	int status;

	if (path == NULL) {
		ctl_done(ctl,
		    json_pack("{s:I, s:s}", "revoked", (json_int_t)count, "pem",
			text),
		    "%.*s", (int)pem->len - 1, text);
		return 0;
	}
	if ((status = ctl_write_file(path, text, pem->len, 0644, true)) == 0)
		ctl_done(ctl,
		    json_pack("{s:s, s:I, s:I}", "file", path, "revoked",
			(json_int_t)count, "days", (json_int_t)days),
		    "%s lists %zu revoked certificate%s; it is good for %lld "
		    "days%s",
		    path, count, count == 1 ? "" : "s", (long long)days,
		    ctl_opt(ctl, "--out") == NULL
			? ". A running server picks it up by itself."
			: "");
	return status;
}

static int
crl_run(struct ctl *ctl)
{
	struct ca_octets pem = { 0 };
	struct ca *ca = NULL;
	char *path = NULL;
	size_t count = 0;
	int64_t days;
	int status;

	if ((status = ctl_days(ctl, CRL_DAYS, &days)) == 0 &&
	    (status = crl_path(ctl, &path)) == 0 &&
	    (status = ctl_ca_open(ctl, &ca)) == 0 &&
	    (status = make_crl(ctl, ca, days, &pem, &count)) == 0)
		status = crl_out(ctl, path, &pem, count, days);
	ca_octets_free(&pem);
	ca_free(&ca);
	free(path);
	return status;
}

/* ---- ca install ---- */

static int
check_bundle(
    const struct ctl *ctl, const char *path, const struct certfile *file)
{
	const struct certfile_cert *public;

	for (size_t i = 0; i < certfile_count(file); i++)
		if (!certfile_get(file, i)->ca)
			return ctl_fail(EX_DATAERR,
			    "%s: certificate %zu (%s) is not one of a CA", path,
			    i + 1, certfile_get(file, i)->subject);
	if ((public = publicca_find(file, NULL)) == NULL)
		return 0;
	if (!ctl->conf.accept_public_cas)
		return ctl_fail(EX_DATAERR,
		    "%s: \"%s\" is a public CA, which signs for anybody: "
		    "everybody with a certificate of it would be let in "
		    "(accept_public_cas)",
		    path, public->subject);
	ctl_note("warning: \"%s\" is a public CA, which signs for anybody",
	    public->subject);
	return 0;
}

static int
read_bundle(
    const struct ctl *ctl, const char *path, struct buf *pem, size_t *count)
{
	struct certfile *file;
	char err[256];
	int status;

	if ((status = ctl_read_file(path, CTL_PEM_MAX, pem)) != 0)
		return status;
	if (memmem(buf_head(pem), pem->len, "PRIVATE KEY-----", 16) != NULL)
		return ctl_fail(EX_DATAERR,
		    "%s: there is a private key in it; a bundle has "
		    "certificates only",
		    path);
	file = certfile_read(buf_head(pem), pem->len, err, sizeof(err));
	if (file == NULL)
		return ctl_fail(EX_DATAERR, "%s: %s", path, err);
	status = check_bundle(ctl, path, file);
	*count = certfile_count(file);
	certfile_free(&file);
	return status;
}

static int
install_run(struct ctl *ctl)
{
	bool force = ctl_opt(ctl, "--force") != NULL;
	struct buf pem = { 0 };
	size_t count = 0;
	char *path;
	int status;

	if (ctl->conf.ca_cert[0] == '\0')
		return ctl_fail(EX_CONFIG,
		    "%s: ca_cert is not set: it names the file to make",
		    ctl->conf_file);
	path = conf_cert_path(&ctl->conf, ctl->conf.ca_cert);
	if ((status = read_bundle(ctl, ctl->word[0], &pem, &count)) == 0 &&
	    (status = ctl_make_dir(ctl->conf.cert_dir)) == 0 &&
	    (status = ctl_write_file(
		 path, buf_head(&pem), pem.len, 0644, force)) == 0)
		ctl_done(ctl,
		    json_pack("{s:s, s:I}", "file", path, "certificates",
			(json_int_t)count),
		    "%s has %zu CA%s of client certificates now", path, count,
		    count == 1 ? "" : "s");
	buf_wipe(&pem);
	free(path);
	return status;
}
