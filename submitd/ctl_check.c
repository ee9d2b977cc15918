/*
 * submitctl check: what is wrong with the files of this server, before it or
 * its clients find out.
 */
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "auth/certfile.h"
#include "ctl_ca.h"
#include "ctl_file.h"
#include "given.h"
#include "publicca.h"
#include "store/ca.h"
#include "tls.h"

enum {
	DAY_S = 86400,
	SOON_S = 30 * DAY_S,    /* a certificate ends */
	CRL_SOON_S = 3 * DAY_S, /* a revocation list does */
	FILE_MAX = 8 << 20
};

static int check_run(struct ctl *);

/* clang-format off */
const struct ctl_verb ctl_check_verbs[] = {
	{ "check", "", "",
	  "say what is wrong with configuration, certificates and files",
	  check_run, CTL_CONF, 0, 0, NULL },
	{ .noun = NULL },
};

static const struct ctl_column columns[] = {
	{ "result", "RESULT", CTL_TEXT, NULL },
	{ "what", "WHAT", CTL_TEXT, NULL },
	{ "text", "", CTL_TEXT, NULL },
	{ .key = NULL },
};
/* clang-format on */

enum result { OK, WARNING, ERROR };

struct check {
	struct ctl *ctl;
	const struct conf *conf;
	json_t *rows;
	size_t warnings, errors;
	int64_t now;
	struct certfile *server; /* NULL: can't be read */
};

static void say(struct check *, enum result, const char *what, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));

static void
say(struct check *c, enum result result, const char *what, const char *fmt, ...)
{
	static const char *const words[] = { "ok", "warning", "error" };
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) == -1)
		abort();
	va_end(ap);
	json_array_append_new(c->rows,
	    json_pack("{s:s, s:s, s:s}", "result", words[result], "what", what,
		"text", text));
	free(text);
	c->warnings += result == WARNING;
	c->errors += result == ERROR;
}

/* A date as people read it. */
static const char *
day(int64_t when, char out[32])
{
	time_t t = (time_t)when;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL ||
	    strftime(out, 32, "%Y-%m-%d", &tm) == 0)
		strcpy(out, "?");
	return out;
}

/* ---- files and directories ---- */

/* Others may not write; nobody but the owner may read a secret. */
static bool
check_mode(struct check *c, const char *what, const char *path, bool secret)
{
	struct stat st;

	if (stat(path, &st) == -1) {
		say(c, ERROR, what, "%s: %s", path, strerror(errno));
		return false;
	}
	if (secret && (st.st_mode & 077) != 0) {
		say(c, ERROR, what,
		    "%s is open to others (mode %04o): chmod 600 %s", path,
		    (unsigned)st.st_mode & 07777, path);
		return false;
	}
	if ((st.st_mode & 022) != 0) {
		say(c, ERROR, what,
		    "%s can be changed by others (mode %04o): chmod go-w %s",
		    path, (unsigned)st.st_mode & 07777, path);
		return false;
	}
	if (secret && st.st_uid != 0 && st.st_uid != geteuid()) {
		say(c, ERROR, what,
		    "%s belongs to uid %u, expected root or the user who "
		    "starts submitd",
		    path, (unsigned)st.st_uid);
		return false;
	}
	return true;
}

/* What is in a file; NULL was said. Free it with buf_wipe(). */
static bool
load(struct check *c, const char *what, const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL) {
		say(c, ERROR, what, "%s: %s", path, strerror(errno));
		return false;
	}
	do {
		n = fread(buf_room(out, 65536), 1, 65536, f);
		buf_grew(out, n);
	} while (n > 0 && out->len < FILE_MAX);
	fclose(f);
	return true;
}

static struct certfile *
load_certs(struct check *c, const char *what, const char *path)
{
	struct buf pem = { 0 };
	struct certfile *file = NULL;
	char err[256];

	if (load(c, what, path, &pem)) {
		file = certfile_read(buf_head(&pem), pem.len, err, sizeof(err));
		if (file == NULL)
			say(c, ERROR, what, "%s: %s", path, err);
	}
	buf_wipe(&pem);
	return file;
}

static void
check_dir(struct check *c, const char *what, const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		say(c, ERROR, what, "%s: %s", path, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		say(c, ERROR, what, "%s is no directory", path);
	else if (check_mode(c, what, path, false))
		say(c, OK, what, "%s", path);
}

/* As submitd itself looks at it. */
static bool
check_place(struct check *c, const char *key, const char *path)
{
	char err[1024];

	if (given_place(c->conf, key, err, sizeof(err)) == -1) {
		say(c, ERROR, key, "%s", err);
		return false;
	}
	say(c, OK, key, "%s%s", path,
	    access(path, F_OK) == -1 ? " will be made" : "");
	return true;
}

/* ---- certificates ---- */

static void
check_dates(struct check *c, const char *what, const char *path,
    const struct certfile_cert *cert)
{
	char when[32];

	if (cert->not_after < c->now)
		say(c, ERROR, what, "%s: \"%s\" has expired on %s", path,
		    cert->subject, day(cert->not_after, when));
	else if (cert->not_before > c->now)
		say(c, ERROR, what, "%s: \"%s\" is not valid before %s", path,
		    cert->subject, day(cert->not_before, when));
	else if (cert->not_after < c->now + SOON_S)
		say(c, WARNING, what, "%s: \"%s\" expires on %s", path,
		    cert->subject, day(cert->not_after, when));
	else
		say(c, OK, what, "%s: \"%s\" is good until %s", path,
		    cert->subject, day(cert->not_after, when));
}

static void
check_key(struct check *c, const char *what, const char *path,
    const struct certfile *cert)
{
	struct buf pem = { 0 };
	char err[256];

	if (check_mode(c, what, path, true) && load(c, what, path, &pem)) {
		if (cert == NULL)
			say(c, OK, what, "%s", path);
		else if (certfile_fits(cert, buf_head(&pem), pem.len, err,
			     sizeof(err)) == -1)
			say(c, ERROR, what, "%s: %s", path, err);
		else
			say(c, OK, what, "%s fits the certificate", path);
	}
	buf_wipe(&pem);
}

/* A pair of the configuration; the certificate is the caller's. */
static struct certfile *
check_pair(struct check *c, const char *cert_key, const char *cert,
    const char *key_key, const char *key)
{
	char *cert_path = conf_cert_path(c->conf, cert);
	char *key_path = conf_cert_path(c->conf, key);
	struct certfile *file = load_certs(c, cert_key, cert_path);

	if (file != NULL && check_mode(c, cert_key, cert_path, false))
		check_dates(c, cert_key, cert_path, certfile_get(file, 0));
	check_key(c, key_key, key_path, file);
	free(cert_path);
	free(key_path);
	return file;
}

static void
check_hostname(struct check *c)
{
	const char *name = c->conf->hostname;
	char own[256] = "", hosts[512];

	if (name[0] == '\0' && gethostname(own, sizeof(own) - 1) == 0)
		name = own;
	if (strchr(name, '.') == NULL)
		say(c, WARNING, "hostname",
		    "\"%s\" is no full name, such as mail.example.org", name);
	if (c->server == NULL)
		return;
	certfile_hosts(c->server, hosts, sizeof(hosts));
	if (certfile_names(c->server, name))
		say(c, OK, "hostname", "%s is in the server's certificate",
		    name);
	else
		say(c, ERROR, "hostname",
		    "%s is not in the server's certificate, which is for: %s",
		    name, hosts[0] != '\0' ? hosts : "nothing");
}

/* Under these CAs? NULL: no such file, which is no error here. */
static bool
verifies_under(struct check *c, const char *what, const struct certfile *file,
    const char *path, char *err, size_t errlen)
{
	struct buf pem = { 0 };
	struct certfile *roots = NULL;
	bool ok = false;
	char why[256];

	if (access(path, R_OK) == 0 && load(c, what, path, &pem))
		roots =
		    certfile_read(buf_head(&pem), pem.len, why, sizeof(why));
	buf_wipe(&pem);
	if (roots != NULL)
		ok = certfile_verify(file, roots, c->now, err, errlen) == 0;
	certfile_free(&roots);
	return ok;
}

/* Whom clients have to trust. */
static void
check_chain(struct check *c, const char *what, const struct certfile *file)
{
	static const char system[] = "/etc/ssl/certs/ca-certificates.crt";
	const struct certfile_cert *leaf = certfile_get(file, 0);
	char err[256] = "there are no CAs to compare with";
	char *own = conf_cert_path(c->conf, CTL_CA_CERT);

	if (leaf->not_after < c->now || leaf->not_before > c->now)
		; /* said already, and nothing verifies */
	else if (leaf->self_issued)
		say(c, WARNING, what,
		    "it is self-signed: each client has to be told to trust "
		    "it (SHA-256 %s)",
		    leaf->sha256);
	else if (verifies_under(c, what, file, own, err, sizeof(err)))
		say(c, OK, what,
		    "signed by the private CA, which clients have to know "
		    "(submitctl ca export)");
	else if (verifies_under(c, what, file, system, err, sizeof(err)))
		say(c, OK, what, "the chain leads to a public CA");
	else
		say(c, ERROR, what,
		    "the chain leads neither to a public CA nor to the "
		    "private one: %s (the file must have the certificates of "
		    "its issuers behind it)",
		    err);
	free(own);
}

/* Clients are shown it if they ask for one of these. */
static void
check_hosts(struct check *c, const char *what, const struct certfile *file)
{
	char hosts[512];

	certfile_hosts(file, hosts, sizeof(hosts));
	if (hosts[0] != '\0')
		say(c, OK, what, "for clients of %s", hosts);
	else
		say(c, WARNING, what,
		    "it is for no host (subjectAltName): nobody is shown it");
}

static void
judge_ocsp(
    struct check *c, const char *what, const struct buf *cert, const char *path)
{
	struct buf der = { 0 };
	char err[256], when[32];
	int64_t until;

	if (!load(c, what, path, &der))
		return;
	if (tls_check_staple(cert, &der, c->now, &until, err, sizeof(err)) == 0)
		say(c, OK, what, "%s: good until %s", path, day(until, when));
	else
		say(c, WARNING, what, "%s is not sent: %s%s", path, err,
		    tls_must_staple(cert)
			? "; the certificate demands one, so clients may "
			  "refuse it"
			: "");
	buf_clear(&der);
}

static void
check_ocsp(struct check *c, size_t n, const struct conf_chain *ch)
{
	const char *what = conf_chain_key(n, CONF_OCSP);
	char *path = conf_cert_path(c->conf, ch->file[CONF_OCSP]);
	char *cert_path = conf_cert_path(c->conf, ch->file[CONF_CERT]);
	struct buf cert = { 0 };

	if (!load(c, what, cert_path, &cert))
		; /* said */
	else if (ch->file[CONF_OCSP][0] != '\0') {
		if (check_mode(c, what, path, false))
			judge_ocsp(c, what, &cert, path);
	} else if (tls_must_staple(&cert))
		say(c, WARNING, what,
		    "is not set, but %s demands an OCSP response "
		    "(must-staple): clients may refuse it",
		    cert_path);
	buf_clear(&cert);
	free(cert_path);
	free(path);
}

/* All that clients can be shown. */
static void
check_chains(struct check *c)
{
	struct certfile *file;
	struct conf_chain ch;
	const char *what;
	size_t n;

	for (n = 0; conf_chain(c->conf, n, &ch); n++) {
		what = conf_chain_key(n, CONF_CERT);
		file = check_pair(c, what, ch.file[CONF_CERT],
		    conf_chain_key(n, CONF_KEY), ch.file[CONF_KEY]);
		if (file != NULL) {
			check_chain(c, what, file);
			if (n > 0)
				check_hosts(c, what, file);
			check_ocsp(c, n, &ch);
		}
		if (n == 0)
			c->server = file;
		else
			certfile_free(&file);
	}
}

static void
check_policy(struct check *c, const char *what, int64_t policy)
{
	if (policy == TLS_COMPATIBLE)
		say(c, WARNING, what,
		    "is compatible: old ciphers are taken, and sessions "
		    "without forward secrecy");
}

/* ---- CAs of clients ---- */

static void
check_cas(struct check *c, const char *what, const char *path,
    const struct certfile *file)
{
	for (size_t i = 0; i < certfile_count(file); i++) {
		const struct certfile_cert *cert = certfile_get(file, i);

		if (!cert->ca)
			say(c, ERROR, what, "%s: \"%s\" is not one of a CA",
			    path, cert->subject);
		else
			check_dates(c, what, path, cert);
	}
}

/* A public CA in other clothes. */
static void
check_public(struct check *c, const char *what, const char *path,
    const struct certfile *file)
{
	const struct certfile_cert *found = publicca_find(file, NULL);

	if (found != NULL)
		say(c, c->conf->accept_public_cas ? WARNING : ERROR, what,
		    "%s: \"%s\" is a public CA, which signs for anybody", path,
		    found->subject);
}

static void
check_crl_of(struct check *c, const char *path,
    const struct certfile_crls *crls, const struct certfile *file, size_t i)
{
	const char *subject = certfile_get(file, i)->subject;
	int64_t next = 0;
	char when[32];

	switch (certfile_crls_of(crls, file, i, &next)) {
	case CERTFILE_CRL_NONE:
		say(c, ERROR, "crl_file",
		    "%s has no list of \"%s\": its certificates do not verify",
		    path, subject);
		return;
	case CERTFILE_CRL_FORGED:
		say(c, ERROR, "crl_file",
		    "%s: the list of \"%s\" is not signed by it", path,
		    subject);
		return;
	case CERTFILE_CRL_OK:
		break;
	}
	if (next != 0 && next < c->now)
		say(c, ERROR, "crl_file",
		    "%s: the list of \"%s\" is out of date since %s", path,
		    subject, day(next, when));
	else if (next != 0 && next < c->now + CRL_SOON_S)
		say(c, WARNING, "crl_file",
		    "%s: the list of \"%s\" is good until %s only", path,
		    subject, day(next, when));
	else
		say(c, OK, "crl_file",
		    "%s: the list of \"%s\" is good until %s", path, subject,
		    next != 0 ? day(next, when) : "further notice");
}

static void
check_crl(struct check *c, const struct certfile *file)
{
	struct certfile_crls *crls = NULL;
	struct buf pem = { 0 };
	char err[256], *path;

	if (c->conf->crl_file[0] == '\0')
		return;
	path = conf_cert_path(c->conf, c->conf->crl_file);
	if (load(c, "crl_file", path, &pem)) {
		crls = certfile_crls_read(
		    buf_head(&pem), pem.len, err, sizeof(err));
		if (crls == NULL)
			say(c, ERROR, "crl_file", "%s: %s", path, err);
	}
	for (size_t i = 0;
	     crls != NULL && file != NULL && i < certfile_count(file); i++)
		check_crl_of(c, path, crls, file, i);
	certfile_crls_free(&crls);
	buf_clear(&pem);
	free(path);
}

/* All files of ca_path with certificates in them. */
static void
check_ca_path(struct check *c, const char *dir)
{
	struct certfile *file;
	struct dirent *e;
	struct stat st;
	char *path;
	DIR *d = opendir(dir);

	if (d == NULL) {
		say(c, ERROR, "ca_path", "%s: %s", dir, strerror(errno));
		return;
	}
	while ((e = readdir(d)) != NULL) {
		struct buf pem = { 0 };
		char err[256];

		path = xasprintf("%s/%s", dir, e->d_name);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
		    load(c, "ca_path", path, &pem) &&
		    memmem(buf_head(&pem), pem.len, "BEGIN CERTIFICATE", 17) !=
			NULL) {
			file = certfile_read(
			    buf_head(&pem), pem.len, err, sizeof(err));
			if (file == NULL)
				say(c, ERROR, "ca_path", "%s: %s", path, err);
			else {
				check_cas(c, "ca_path", path, file);
				check_public(c, "ca_path", path, file);
				check_crl(c, file);
			}
			certfile_free(&file);
		}
		buf_wipe(&pem); /* it may have been a key */
		free(path);
	}
	closedir(d);
}

static void
check_client_ca(struct check *c)
{
	struct certfile *file;
	char *path;

	if (c->conf->ca_cert[0] != '\0') {
		path = conf_cert_path(c->conf, c->conf->ca_cert);
		file = load_certs(c, "ca_cert", path);
		if (file != NULL && check_mode(c, "ca_cert", path, false))
			check_cas(c, "ca_cert", path, file);
		if (file != NULL)
			check_public(c, "ca_cert", path, file);
		if (file != NULL)
			check_crl(c, file);
		certfile_free(&file);
		free(path);
	}
	if (c->conf->ca_path[0] != '\0') {
		path = conf_cert_path(c->conf, c->conf->ca_path);
		check_ca_path(c, path);
		free(path);
	}
}

/* ---- the smarthost ---- */

static void
check_smarthost(struct check *c)
{
	const struct conf *cf = c->conf;
	struct certfile *file;
	char *path;

	if (cf->smarthost_host[0] == '\0')
		say(c, ERROR, "smarthost.host", "is not set");
	path = conf_cert_path(cf, cf->smarthost_ca_file);
	if ((file = load_certs(c, "smarthost.ca_file", path)) != NULL &&
	    check_mode(c, "smarthost.ca_file", path, false))
		say(c, OK, "smarthost.ca_file", "%s has %zu CAs", path,
		    certfile_count(file));
	certfile_free(&file);
	free(path);
	if (cf->smarthost_password_file[0] != '\0') {
		path = conf_cert_path(cf, cf->smarthost_password_file);
		if (check_mode(c, "smarthost.password_file", path, true))
			say(c, OK, "smarthost.password_file", "%s", path);
		free(path);
	}
	if (cf->smarthost_client_cert && cf->client_cert[0] != '\0') {
		file =
		    check_pair(c, "client_cert", cf->client_cert, "client_key",
			cf->client_key[0] != '\0' ? cf->client_key
						  : cf->server_key);
		certfile_free(&file);
	}
}

/* ---- the user store ---- */

static void
check_private_ca(struct check *c, struct store *st)
{
	static struct store_ca row; /* large */
	struct certfile *file;
	char *path;

	if (store_ca_get(st, &row) != STORE_OK)
		return;
	path = conf_cert_path(c->conf, CTL_CA_CERT);
	if ((file = load_certs(c, "private CA", path)) != NULL)
		check_cas(c, "private CA", path, file);
	free(path);
	path = conf_cert_path(c->conf, CTL_CA_KEY);
	check_key(c, "private CA", path, file);
	free(path);
	certfile_free(&file);
}

static void
check_store(struct check *c)
{
	struct store *st = NULL;

	if (check_place(c, "users_db", c->conf->users_db) &&
	    store_open(c->conf->users_db, STORE_RO, &st) == STORE_OK)
		check_private_ca(c, st);
	store_close(&st);
}

/* ---- all of it ---- */

/* What submitd itself would say, which may be more than was found here. */
static void
check_start(struct check *c)
{
	char err[1024];
	struct given *g = given_load(c->ctl->conf_file, err, sizeof(err));

	if (g == NULL)
		say(c, ERROR, "submitd", "would not start: %s", err);
	else
		say(c, OK, "submitd", "takes this configuration");
	given_release(&g);
}

static int
check_run(struct ctl *ctl)
{
	const struct conf *cf = &ctl->conf;
	struct check c = {
		.ctl = ctl, .conf = cf, .rows = json_array(), .now = time(NULL)
	};

	if (check_mode(&c, "configuration", ctl->conf_file, false))
		say(&c, OK, "configuration", "%s", ctl->conf_file);
	check_dir(&c, "cert_dir", cf->cert_dir);
	check_chains(&c);
	check_policy(&c, "tls_policy", cf->tls_policy);
	check_hostname(&c);
	check_client_ca(&c);
	check_smarthost(&c);
	check_policy(&c, "smarthost.tls_policy", cf->smarthost_tls_policy);
	check_store(&c);
	check_place(&c, "spool", cf->spool);
	if (geteuid() == 0)
		check_place(&c, "chroot_dir", cf->chroot_dir);
	check_place(&c, "control_socket", cf->control_socket);
	check_start(&c);
	certfile_free(&c.server);
	ctl_list(ctl, c.rows, columns);
	if (c.errors == 0)
		return 0;
	return ctl_fail(EX_CONFIG, "%zu error%s, %zu warning%s", c.errors,
	    c.errors == 1 ? "" : "s", c.warnings, c.warnings == 1 ? "" : "s");
}
