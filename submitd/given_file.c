/*
 * The files whose content parent hands to the roles: certificates, keys,
 * revocation lists, secrets.  What reads one and what names it stand here
 * together: all that is read is watched.
 */
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/cert.h"
#include "auth/jwt.h"
#include "given_int.h"
#include "log.h"
#include "publicca.h"
#include "tls.h"

enum { FILE_LIMIT = 8 * 1024 * 1024 };

int
given_wrong(const struct check *c, const char *key, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (c->renewal)
		n = snprintf(c->err, c->errlen, "%s: ", key);
	else
		n = snprintf(c->err, c->errlen, "%s:%d: %s: ", conf_path(),
		    c->line != 0 ? c->line : conf_line(key), key);
	if (n < 0 || (size_t)n >= c->errlen)
		return -1;
	va_start(ap, fmt);
	vsnprintf(c->err + n, c->errlen - (size_t)n, fmt, ap);
	va_end(ap);
	return -1;
}

/* Memory for secrets is scarce: as much as the file has, and an end. */
static int
slurp(int fd, struct buf *out)
{
	size_t piece = 16384;
	struct stat st;
	void *room;
	ssize_t n;

	if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size < FILE_LIMIT)
		piece = (size_t)st.st_size + 1;
	for (;;) {
		room = buf_room(out, piece);
		if ((n = read(fd, room, piece)) <= 0)
			return n == 0 ? 0 : -1;
		buf_grew(out, (size_t)n);
		piece = piece > (size_t)n ? piece - (size_t)n : 16384;
		if (out->len > FILE_LIMIT) {
			errno = EFBIG;
			return -1;
		}
	}
}

/* Others who can read a key are the holders of that key, too. */
static int
check_secret(const struct check *c, const char *key, const char *path, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return given_wrong(c, key, "%s: %s", path, strerror(errno));
	if ((st.st_mode & 077) != 0)
		return given_wrong(c, key,
		    "%s is open to others (mode %04o), "
		    "expected a file for its owner only: chmod 600 %s",
		    path, (unsigned)st.st_mode & 07777, path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return given_wrong(c, key,
		    "%s belongs to uid %u, expected root or "
		    "the user who starts submitd: chown it",
		    path, (unsigned)st.st_uid);
	return 0;
}

/* The name of a file below cert_dir; that directory is none. */
int
given_check_name(const struct check *c, const char *key, const char *file)
{
	return file[0] != '\0'
	    ? 0
	    : given_wrong(c, key, "is empty, expected a file");
}

int
given_read_file(const struct check *c, const char *key, const char *path,
    bool secret, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc = 0;

	if (fd == -1)
		return given_wrong(c, key,
		    "%s cannot be read: %s, expected a "
		    "readable file",
		    path, strerror(errno));
	if (secret)
		rc = check_secret(c, key, path, fd);
	if (rc == 0 && slurp(fd, out) == -1)
		rc = given_wrong(
		    c, key, "%s cannot be read: %s", path, strerror(errno));
	close(fd);
	return rc;
}

static int
read_pem(const struct check *c, const char *key, const char *file, bool secret,
    enum pem_kind kind)
{
	char *path = conf_cert_path(&c->g->conf, file);
	struct buf *out = &c->g->pem[kind];
	int rc;

	out->secret = pem_is_secret(kind);
	if ((rc = given_check_name(c, key, file)) == 0)
		rc = given_read_file(c, key, path, secret, out);
	free(path);
	return rc;
}

/* A chain and its key: readable, fitting, within their dates. */
static int
load_pair(const struct check *c, const char *cert_key, const char *cert,
    const char *key_key, const char *key, enum pem_kind kind)
{
	char why[256];

	if (read_pem(c, cert_key, cert, false, kind) == -1 ||
	    read_pem(c, key_key, key, true, kind + 1) == -1)
		return -1;
	if (tls_check_pair(
		&c->g->pem[kind], &c->g->pem[kind + 1], why, sizeof(why)) == -1)
		return given_wrong(c,
		    strstr(why, "private key") != NULL ? key_key : cert_key,
		    "%s", why);
	return 0;
}

/* The public CAs sign for anybody: as CAs of clients they let anybody in. */
static int
refuse_system_store(const struct check *c, const char *key, const char *path)
{
	static const char *const stores[] = { "/etc/ssl/certs",
		"/etc/ssl/cert.pem", "/usr/share/ca-certificates",
		"/etc/pki/tls/certs", "/usr/lib/ssl/certs" };
	char *real = realpath(path, NULL);
	size_t i;
	int rc = 0;

	for (i = 0; !c->g->conf.accept_public_cas && real != NULL &&
	     i < sizeof(stores) / sizeof(*stores);
	     i++)
		if (strncmp(real, stores[i], strlen(stores[i])) == 0)
			rc = given_wrong(c, key,
			    "%s is the system's store of public "
			    "CAs, expected the CA of your own client "
			    "certificates",
			    path);
	free(real);
	return rc;
}

static bool
has_certificate(const struct buf *b)
{
	static const char mark[] = "-----BEGIN CERTIFICATE-----";

	return b->len > 0 &&
	    memmem(buf_head(b), b->len, mark, sizeof(mark) - 1) != NULL;
}

static int
add_ca_dir(const struct check *c, const char *dir)
{
	struct buf *out = &c->g->pem[PEM_CLIENT_CA], one;
	struct dirent *e;
	struct stat st;
	char *path;
	DIR *d = opendir(dir);
	int rc = 0;

	if (d == NULL)
		return given_wrong(c, "ca_path",
		    "%s cannot be read: %s, expected a "
		    "directory of CA certificates",
		    dir, strerror(errno));
	while (rc == 0 && (e = readdir(d)) != NULL) {
		path = xasprintf("%s/%s", dir, e->d_name);
		one = (struct buf){ .secret = true };
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			rc = given_read_file(c, "ca_path", path, false, &one);
			if (rc == 0 && has_certificate(&one)) {
				buf_add(out, buf_head(&one), one.len);
				buf_add(out, "\n", 1);
			}
		}
		buf_wipe(&one); /* it may have been a key */
		free(path);
	}
	closedir(d);
	return rc;
}

/* Another name makes no other CA of it. */
static int
refuse_public(const struct check *c)
{
	const struct buf *ca = &c->g->pem[PEM_CLIENT_CA];
	const struct conf *cf = &c->g->conf;
	char name[256];

	if (ca->len == 0 ||
	    !publicca_find_pem(buf_head(ca), ca->len, name, sizeof(name)))
		return 0;
	if (cf->accept_public_cas) {
		log_warn("ca", "error=%s name=%s",
		    "a public CA vouches for clients: anybody can have a "
		    "certificate of it",
		    name);
		return 0;
	}
	return given_wrong(c, cf->ca_cert[0] != '\0' ? "ca_cert" : "ca_path",
	    "\"%s\" is a public CA, which signs for anybody, expected the CA "
	    "of your own client certificates (see accept_public_cas)",
	    name);
}

/* As auth will use them, so that it has nothing to refuse. */
static int
check_trust(const struct check *c)
{
	const struct buf *ca = &c->g->pem[PEM_CLIENT_CA];
	const struct buf *crl = &c->g->pem[PEM_CLIENT_CRL];
	struct cert_trust *trust;
	char why[256] = "";

	trust = cert_trust_new((const char *)buf_head(ca), ca->len,
	    (const char *)buf_head(crl), crl->len, 0, why, sizeof(why));
	if (trust == NULL)
		return given_wrong(
		    c, crl->len > 0 ? "crl_file" : "ca_cert", "%s", why);
	cert_trust_free(&trust);
	return 0;
}

static int
load_client_ca(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	char *path, why[256];
	int rc = 0;

	if (cf->ca_cert[0] != '\0') {
		path = conf_cert_path(cf, cf->ca_cert);
		rc = refuse_system_store(c, "ca_cert", path);
		free(path);
		if (rc == 0)
			rc = read_pem(
			    c, "ca_cert", cf->ca_cert, false, PEM_CLIENT_CA);
	}
	if (rc == 0 && cf->ca_path[0] != '\0') {
		path = conf_cert_path(cf, cf->ca_path);
		rc = refuse_system_store(c, "ca_path", path);
		if (rc == 0)
			rc = add_ca_dir(c, path);
		free(path);
	}
	if (rc == 0 && c->g->pem[PEM_CLIENT_CA].len > 0 &&
	    tls_check_bundle(&c->g->pem[PEM_CLIENT_CA], why, sizeof(why)) == -1)
		rc = given_wrong(c,
		    cf->ca_cert[0] != '\0' ? "ca_cert" : "ca_path", "%s", why);
	if (rc == 0)
		rc = refuse_public(c);
	if (rc == 0 && cf->crl_file[0] != '\0')
		rc = read_pem(
		    c, "crl_file", cf->crl_file, false, PEM_CLIENT_CRL);
	return rc == 0 ? check_trust(c) : -1;
}

int
given_client_ca(struct given *g, char *err, size_t errlen)
{
	const struct check c = { .g = g, .err = err, .errlen = errlen };

	return load_client_ca(&c);
}

static void
strip_newline(struct buf *b)
{
	while (b->len > 0 &&
	    (buf_head(b)[b->len - 1] == '\n' ||
		buf_head(b)[b->len - 1] == '\r'))
		b->len--;
}

static int
load_smarthost(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	char *cert, *key, why[256];
	int rc;

	if (cf->smarthost_host[0] == '\0')
		return given_wrong(c, "smarthost.host",
		    "is not set, expected the "
		    "name of the server that takes your mail");
	if (read_pem(c, "smarthost.ca_file", cf->smarthost_ca_file, false,
		PEM_SMARTHOST_CA) == -1)
		return -1;
	if (tls_check_bundle(&c->g->pem[PEM_SMARTHOST_CA], why, sizeof(why)) ==
	    -1)
		return given_wrong(c, "smarthost.ca_file", "%s", why);
	if ((cf->smarthost_user[0] != '\0') !=
	    (cf->smarthost_password_file[0] != '\0'))
		return given_wrong(c, "smarthost.user",
		    "expected user and "
		    "password_file together or neither");
	if (cf->smarthost_password_file[0] != '\0') {
		if (read_pem(c, "smarthost.password_file",
			cf->smarthost_password_file, true,
			PEM_SMARTHOST_PASSWORD) == -1)
			return -1;
		strip_newline(&c->g->pem[PEM_SMARTHOST_PASSWORD]);
	}
	if (!cf->smarthost_client_cert)
		return 0;
	/* As in starttls(8): without its own, the server's. */
	cert = cf->client_cert[0] != '\0' ? cf->client_cert : cf->server_cert;
	key = cf->client_key[0] != '\0' ? cf->client_key : cf->server_key;
	rc = load_pair(
	    c, "client_cert", cert, "client_key", key, PEM_CLIENT_CERT);
	return rc;
}

static int
load_oauth_key(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	const struct buf *b = &c->g->pem[PEM_OAUTH_KEY];
	struct jwt_keys *keys;
	char why[256];

	if (cf->oauth_key_file[0] == '\0')
		return 0;
	if (cf->oauth_issuer[0] == '\0')
		return given_wrong(c, "oauth_issuer",
		    "is not set, expected what the tokens have in \"iss\"");
	if (cf->oauth_audience[0] == '\0')
		return given_wrong(c, "oauth_audience",
		    "is not set, expected what the tokens have in \"aud\"");
	if (cf->oauth_user_claim[0] == '\0')
		return given_wrong(c, "oauth_user_claim",
		    "is empty, expected the claim that names the user");
	if (read_pem(c, "oauth_key_file", cf->oauth_key_file, false,
		PEM_OAUTH_KEY) == -1)
		return -1;
	keys =
	    jwt_keys_new((const char *)buf_head(b), b->len, why, sizeof(why));
	if (keys == NULL)
		return given_wrong(
		    c, "oauth_key_file", "%s %s", cf->oauth_key_file, why);
	jwt_keys_free(&keys);
	return 0;
}

int
given_read_files(const struct check *c)
{
	if (given_load_chains(c) == -1 || load_client_ca(c) == -1 ||
	    load_smarthost(c) == -1)
		return -1;
	return load_oauth_key(c);
}

/* ---- what is watched ---- */

bool
given_same(const struct given *a, const struct given *b)
{
	size_t i;

	for (i = 0; i < PEM_KIND_COUNT; i++)
		if (i != PEM_SERVER_OCSP &&
		    (a->pem[i].len != b->pem[i].len ||
			(a->pem[i].len > 0 &&
			    memcmp(buf_head(&a->pem[i]), buf_head(&b->pem[i]),
				a->pem[i].len) != 0)))
			return false;
	return true;
}

static void
name_file(
    const struct conf *cf, const char *file, bool directory, given_file_fn *fn)
{
	char *path;

	if (file[0] == '\0')
		return;
	path = conf_cert_path(cf, file);
	fn(path, directory);
	free(path);
}

void
given_each_file(const struct given *g, given_file_fn *fn)
{
	const struct conf *cf = &g->conf;
	struct conf_chain ch;
	size_t n;
	int k;

	for (n = 0; conf_chain(cf, n, &ch); n++)
		for (k = 0; k < CONF_CHAIN_PARTS; k++)
			name_file(cf, ch.file[k], false, fn);
	name_file(cf, cf->ca_cert, false, fn);
	name_file(cf, cf->ca_path, true, fn);
	name_file(cf, cf->crl_file, false, fn);
	name_file(cf, cf->smarthost_ca_file, false, fn);
	name_file(cf, cf->smarthost_password_file, false, fn);
	name_file(cf, cf->oauth_key_file, false, fn);
	if (cf->smarthost_client_cert) {
		name_file(cf, cf->client_cert, false, fn);
		name_file(cf, cf->client_key, false, fn);
	}
}
