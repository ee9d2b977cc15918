/*
 * The server's certificate in `submitctl init`: self-signed or by the private
 * CA, with a new key or one that exists.
 */
#include "ctl_server.h"

#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "ctl_ca.h"
#include "ctl_file.h"

enum {
	DAY_S = 86400,
	SERVER_DAYS = 730, /* phones refuse more than 825 */
	HOSTS_MAX = 64
};

struct plan {
	char *cert_path, *key_path;
	const char *host[HOSTS_MAX];
	size_t nhost;
	char own_name[256]; /* of this machine, if that is all we have */
	int64_t days;
	bool key_in_place; /* --key names the very file of server_key */
};

bool
ctl_server_wanted(const struct ctl *ctl)
{
	return ctl_opt(ctl, "--self-signed") != NULL ||
	    ctl_opt(ctl, "--from-ca") != NULL;
}

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static bool
is_same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return stat(a, &sa) == 0 && stat(b, &sb) == 0 &&
	    sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static void
plan_clear(struct plan *p)
{
	free(p->cert_path);
	free(p->key_path);
}

static int
take_hosts(const struct ctl *ctl, struct plan *p)
{
	for (size_t i = 0; i < ctl->opts; i++) {
		if (strcmp(ctl->opt[i].name, "--host") != 0)
			continue;
		if (p->nhost == HOSTS_MAX)
			return ctl_usage(ctl, "too many hosts");
		p->host[p->nhost++] = ctl->opt[i].value;
	}
	if (p->nhost == 0 && ctl->conf.hostname[0] != '\0')
		p->host[p->nhost++] = ctl->conf.hostname;
	if (p->nhost == 0 &&
	    gethostname(p->own_name, sizeof(p->own_name) - 1) == 0)
		p->host[p->nhost++] = p->own_name;
	for (size_t i = 0; i < p->nhost; i++)
		if (!ca_is_host(p->host[i]))
			return ctl_fail(EX_DATAERR,
			    "\"%s\" is neither a host name nor an address",
			    p->host[i]);
	return 0;
}

static int
in_the_way(const char *path, const char *key_path)
{
	return ctl_fail(EX_CANTCREAT,
	    "%s is there already: --force replaces it%s%s", path,
	    path == key_path ? ", --key makes a certificate for it: --key "
			     : "",
	    path == key_path ? path : "");
}

static int
check_files(const struct ctl *ctl, struct plan *p)
{
	const char *key = ctl_opt(ctl, "--key");

	p->key_in_place = key != NULL && is_same_file(key, p->key_path);
	if (ctl_opt(ctl, "--force") != NULL)
		return 0;
	if (!p->key_in_place && exists(p->key_path))
		return in_the_way(p->key_path, p->key_path);
	if (exists(p->cert_path))
		return in_the_way(p->cert_path, p->key_path);
	return 0;
}

/* Clear it in any case. */
static int
make_plan(const struct ctl *ctl, struct plan *p)
{
	int status;

	memset(p, 0, sizeof(*p));
	if (ctl_opt(ctl, "--self-signed") != NULL &&
	    ctl_opt(ctl, "--from-ca") != NULL)
		return ctl_usage(
		    ctl, "--self-signed and --from-ca exclude each other");
	p->cert_path = conf_cert_path(&ctl->conf, ctl->conf.server_cert);
	p->key_path = conf_cert_path(&ctl->conf, ctl->conf.server_key);
	if ((status = ctl_days(ctl, SERVER_DAYS, &p->days)) != 0 ||
	    (status = take_hosts(ctl, p)) != 0)
		return status;
	return check_files(ctl, p);
}

/* A new key, or that of --key; *pem is what goes to the file. */
static int
get_key(const struct ctl *ctl, struct ca_key **key, struct ca_octets *pem)
{
	const char *path = ctl_opt(ctl, "--key");
	struct buf text = { 0 };
	char err[256];
	int status = 0;

	if (path == NULL)
		*key = ca_key_new(err, sizeof(err));
	else if ((status = ctl_read_secret(path, CTL_PEM_MAX, &text)) == 0)
		*key = ca_key_read(buf_head(&text), text.len, err, sizeof(err));
	buf_wipe(&text);
	if (status != 0)
		return status;
	if (*key == NULL)
		return path != NULL ? ctl_fail(EX_DATAERR, "%s: %s", path, err)
				    : ctl_fail(EX_SOFTWARE, "%s", err);
	if (ca_key_pem(*key, pem, err, sizeof(err)) == -1)
		return ctl_fail(EX_SOFTWARE, "%s", err);
	return 0;
}

int
ctl_server_check(const struct ctl *ctl)
{
	struct ca_octets pem = { 0 };
	struct ca_key *key = NULL;
	struct plan p;
	int status;

	if ((status = make_plan(ctl, &p)) == 0)
		status = get_key(ctl, &key, &pem);
	ca_key_free(&key);
	ca_octets_free(&pem);
	plan_clear(&p);
	return status;
}

static int
sign(const struct ctl *ctl, const struct plan *p, const struct ca_key *key,
    struct ca_cert *cert)
{
	int64_t now = time(NULL);
	const struct ca_wish wish = { .use = CA_SERVER,
		.cn = strlen(p->host[0]) <= 64 ? p->host[0] : "submitd",
		.host = p->host,
		.nhost = p->nhost,
		.not_before = now - CTL_CA_SLACK_S,
		.not_after = now + p->days * DAY_S };
	char err[256];
	struct ca *ca = NULL;
	int status, rc;

	if (ctl_opt(ctl, "--from-ca") == NULL)
		rc = ca_self_sign(&wish, key, cert, err, sizeof(err));
	else {
		if ((status = ctl_ca_open(ctl, &ca)) != 0)
			return status;
		rc = ca_issue(ca, &wish, key, cert, err, sizeof(err));
	}
	ca_free(&ca);
	if (rc == -1)
		return ctl_fail(EX_DATAERR, "%s", err);
	if (cert->not_after < wish.not_after)
		ctl_note("note: the certificate ends with the CA's own");
	return 0;
}

static int
write_pair(const struct ctl *ctl, const struct plan *p,
    const struct ca_octets *key, const struct ca_cert *cert)
{
	bool force = ctl_opt(ctl, "--force") != NULL;
	int status;

	if ((status = ctl_make_dir(ctl->conf.cert_dir)) != 0)
		return status;
	if (!p->key_in_place &&
	    (status = ctl_write_file(
		 p->key_path, key->p, key->len, 0600, force)) != 0)
		return status;
	return ctl_write_file(
	    p->cert_path, cert->pem.p, cert->pem.len, 0644, force);
}

/* Behind what init has said of the store. */
static void
tell(struct ctl *ctl, const struct plan *p, const struct ca_cert *cert)
{
	char *before = ctl->text, *hosts = xstrdup("");
	json_t *object = json_incref(ctl->result), *names = json_array();

	for (size_t i = 0; i < p->nhost; i++) {
		char *longer =
		    xasprintf("%s%s%s", hosts, i > 0 ? ", " : "", p->host[i]);

		json_array_append_new(names, json_string(p->host[i]));
		free(hosts);
		hosts = longer;
	}
	json_object_set_new(object, "server",
	    json_pack("{s:s, s:s, s:o, s:s, s:o}", "certificate", p->cert_path,
		"key", p->key_path, "hosts", names, "sha256", cert->sha256,
		"not_after", ctl_json_time(cert->not_after)));
	ctl->text = NULL;
	ctl_done(ctl, object,
	    "%s\nThe server's certificate for %s is %s:\n  %s\n  %s", before,
	    hosts,
	    ctl_opt(ctl, "--from-ca") != NULL ? "signed by the CA"
					      : "self-signed",
	    p->cert_path, p->key_path);
	free(before);
	free(hosts);
}

static int
make_server(struct ctl *ctl, const struct plan *p, struct ca_octets *pem,
    struct ca_cert *cert)
{
	struct ca_key *key = NULL;
	int status;

	if ((status = get_key(ctl, &key, pem)) == 0)
		status = sign(ctl, p, key, cert);
	ca_key_free(&key);
	if (status == 0 && ctl_opt(ctl, "--from-ca") != NULL &&
	    (status = ctl_begin(ctl)) == 0)
		status = ctl_ca_issued(ctl, cert, 0);
	return status == 0 ? write_pair(ctl, p, pem, cert) : status;
}

int
ctl_server_make(struct ctl *ctl)
{
	struct ca_octets pem = { 0 };
	struct ca_cert cert = { 0 };
	struct plan p;
	int status;

	if ((status = make_plan(ctl, &p)) == 0 &&
	    (status = make_server(ctl, &p, &pem, &cert)) == 0)
		tell(ctl, &p, &cert);
	ca_octets_free(&pem);
	ca_cert_free(&cert);
	plan_clear(&p);
	return status;
}
