/* Loading and checking what the roles will be given: see given.h. */
#include "given_int.h"

#include <sys/stat.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/sasl.h"
#include "auth/throttle.h"
#include "log.h"
#include "mapfile.h"
#include "sandbox.h"
#include "smtp_addr.h"
#include "store/db.h"

enum {
	ADDRESSES_MAX = 24, /* of listen and listen_tls */
	HELP_MAX = 400      /* bytes of help_text and help_url */
};

/* An address to listen on. */
struct spot {
	const char *key, *text;
	int family; /* AF_UNSPEC: both */
	bool any;   /* every address of it */
	unsigned char addr[sizeof(struct in6_addr)];
	uint16_t port;
};

/* conf.c has found the text good. */
static void
read_spot(struct spot *s, const char *key, const char *text)
{
	static const unsigned char zeroes[sizeof(s->addr)];
	char host[INET6_ADDRSTRLEN];

	*s = (struct spot){ .key = key, .text = text };
	conf_split_listen(text, host, sizeof(host), &s->port);
	if (host[0] != '\0')
		s->family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET;
	if (s->family != AF_UNSPEC)
		inet_pton(s->family, host, s->addr);
	s->any = memcmp(s->addr, zeroes, sizeof(zeroes)) == 0;
}

/* Only the first of them could be bound, or both would be the same socket. */
static int
check_clash(
    const struct check *c, const struct spot *old, const struct spot *new)
{
	if (old->port != new->port ||
	    (old->family != new->family && old->family != AF_UNSPEC &&
		new->family != AF_UNSPEC))
		return 0;
	if (old->family == new->family &&
	    memcmp(old->addr, new->addr, sizeof(old->addr)) == 0)
		return given_wrong(c, new->key,
		    "%s is in %s already, expected each address once",
		    new->text, old->key);
	if (old->any)
		return given_wrong(c, new->key,
		    "%s is within %s of %s, expected each address once",
		    new->text, old->text, old->key);
	if (new->any)
		return given_wrong(c, new->key,
		    "%s of %s is within %s, expected each address once",
		    old->text, old->key, new->text);
	return 0;
}

static int
check_clashes(const struct check *c, const struct spot *spots, size_t n)
{
	size_t i, k;

	for (i = 1; i < n; i++)
		for (k = 0; k < i; k++)
			if (check_clash(c, &spots[k], &spots[i]) == -1)
				return -1;
	return 0;
}

static int
check_listen(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	struct spot spots[ADDRESSES_MAX];
	size_t i, n = 0;

	if (cf->listen.n + cf->listen_tls.n == 0)
		return given_wrong(c, "listen",
		    "nothing to listen on, expected an "
		    "address such as {\"*:587\"} here or in listen_tls");
	if (cf->listen.n + cf->listen_tls.n > ADDRESSES_MAX)
		return given_wrong(c, "listen",
		    "too many addresses, expected at "
		    "most %d in listen and listen_tls",
		    ADDRESSES_MAX);
	for (i = 0; i < cf->listen.n; i++)
		read_spot(&spots[n++], "listen", cf->listen.v[i]);
	for (i = 0; i < cf->listen_tls.n; i++)
		read_spot(&spots[n++], "listen_tls", cf->listen_tls.v[i]);
	return check_clashes(c, spots, n);
}

static int
check_resolver(const struct check *c)
{
	const char *text = c->g->conf.resolver;
	char host[CONF_RESOLVER_HOST];
	uint16_t port;

	if (text[0] == '\0' ||
	    conf_split_resolver(text, host, sizeof(host), &port) == 0)
		return 0;
	return given_wrong(c, "resolver",
	    "\"%s\" is not valid, expected an IP address, perhaps with a port, "
	    "such as 127.0.0.1, 127.0.0.1@5353 or 2001:db8::53, with a port "
	    "from 1 to 65535",
	    text);
}

/* It stands in a header. */
static int
check_postmaster(const struct check *c)
{
	const char *text = c->g->conf.postmaster;
	struct smtp_addr addr;

	if (text[0] == '\0')
		return 0;
	if (text[strcspn(text, "\r\n")] != '\0')
		return given_wrong(c, "postmaster",
		    "has a line end in it, expected an address such as "
		    "postmaster@example.org");
	switch (smtp_addr_mailbox(text, strlen(text), 0, &addr)) {
	case SMTP_ADDR_OK:
		return 0;
	case SMTP_ADDR_UNQUALIFIED: /* as postmaster@localhost */
		if (smtp_addr_domain(addr.text)[0] != '\0')
			return 0;
		break;
	default:
		break;
	}
	return given_wrong(c, "postmaster",
	    "\"%s\" is not valid, expected an address such as "
	    "postmaster@example.org, in ASCII and without a name",
	    text);
}

static int
check_users(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	const struct {
		const char *key, *value;
	} users[] = { { "user_front", cf->user_front },
		{ "user_auth", cf->user_auth },
		{ "user_queue", cf->user_queue },
		{ "user_relay", cf->user_relay },
		{ "user_resolver", cf->user_resolver } };
	uid_t uid[sizeof(users) / sizeof(*users)];
	char why[256];
	gid_t gid;
	size_t i, j;

	if (geteuid() != 0)
		return 0; /* every role stays with this uid */
	for (i = 0; i < sizeof(users) / sizeof(*users); i++) {
		if (sandbox_user(
			users[i].value, &uid[i], &gid, why, sizeof(why)) == -1)
			return given_wrong(c, users[i].key, "%s", why);
		for (j = 0; j < i; j++) /* the wall between two roles */
			if (uid[j] == uid[i])
				return given_wrong(c, users[i].key,
				    "is the same user as %s, expected one of "
				    "its own",
				    users[j].key);
	}
	return 0;
}

/* It is said in replies, in the relay's EHLO and in Received. */
static int
check_hostname(const struct check *c)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	const char *h = c->g->conf.hostname;
	size_t n = strlen(h);

	if (n > 0 && n <= 255 && strspn(h, allowed) == n && h[0] != '.' &&
	    h[0] != '-' && h[n - 1] != '.' && strstr(h, "..") == NULL)
		return 0;
	return given_wrong(c, "hostname",
	    "is no domain name, expected letters, digits, dots and hyphens "
	    "such as mail.example.org (an international name in its xn-- "
	    "form)");
}

/* ---- PAM, saslauthd, tokens ---- */

bool
given_wants_pam(const struct given *g)
{
	const struct conf *cf = &g->conf;

	return cf->pam_service[0] != '\0' || cf->saslauthd_socket[0] != '\0' ||
	    cf->oauth_command[0] != '\0';
}

static int
check_pam_service(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	const char *dir =
	    cf->pam_confdir[0] != '\0' ? cf->pam_confdir : "/etc/pam.d";
	char *path;
	int rc = 0;

	if (strchr(cf->pam_service, '/') != NULL)
		return given_wrong(c, "pam_service",
		    "\"%s\" is a path, expected the name of a file in %s",
		    cf->pam_service, dir);
	path = xasprintf("%s/%s", dir, cf->pam_service);
	if (access(path, R_OK) == -1)
		rc = given_wrong(c, "pam_service",
		    "%s: %s, expected a PAM service", path, strerror(errno));
	free(path);
	return rc;
}

/* Its first word must be a program. */
static int
check_oauth_command(const struct check *c)
{
	const char *text = c->g->conf.oauth_command;
	char *path = xstrndup(text, strcspn(text, " "));
	struct stat st;
	int rc = 0;

	if (path[0] != '/' || stat(path, &st) == -1 || !S_ISREG(st.st_mode) ||
	    access(path, X_OK) == -1)
		rc = given_wrong(c, "oauth_command",
		    "\"%s\" cannot be run, expected the absolute path of a "
		    "program, perhaps with arguments",
		    path);
	else if ((st.st_mode & 022) != 0)
		rc = given_wrong(c, "oauth_command",
		    "%s is writable by others (mode %04o): chmod go-w %s", path,
		    (unsigned)st.st_mode & 07777, path);
	free(path);
	return rc;
}

static int
check_pam(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	char why[256];
	uid_t uid;
	gid_t gid;

	if (cf->password_backend == BACKEND_PAM && cf->pam_service[0] == '\0')
		return given_wrong(c, "password_backend",
		    "is pam, but pam_service is not set");
	if (cf->password_backend == BACKEND_SASLAUTHD &&
	    cf->saslauthd_socket[0] == '\0')
		return given_wrong(c, "password_backend",
		    "is saslauthd, but saslauthd_socket is not set");
	if (cf->pam_service[0] != '\0' && check_pam_service(c) == -1)
		return -1;
	if (cf->saslauthd_socket[0] != '\0' && cf->saslauthd_socket[0] != '/')
		return given_wrong(c, "saslauthd_socket",
		    "\"%s\" is no absolute path", cf->saslauthd_socket);
	if (cf->oauth_command[0] != '\0' && check_oauth_command(c) == -1)
		return -1;
	if (geteuid() == 0 && given_wants_pam(c->g) &&
	    sandbox_user_or_root(cf->pam_user, &uid, &gid, why, sizeof(why)) ==
		-1)
		return given_wrong(c, "pam_user", "%s", why);
	return 0;
}

/* Whether rows of this map are in the store; also if that can't be said now:
 * the store role, which mends the store, looks again. */
static bool
may_be_imported(const struct conf *cf)
{
	struct store *st = NULL;
	enum store_rc rc = store_open(cf->users_db, STORE_RO, &st);
	bool yes = rc != STORE_OK || mapfile_is_imported(st, cf->access_map);

	store_close(&st);
	return yes;
}

/* A map that is broken now is no reason not to serve by its last good rows;
 * one that never was read would leave the server without its rules. */
static int
check_access_map(const struct check *c)
{
	const struct conf *cf = &c->g->conf;
	const char *path = cf->access_map;
	struct accessmap *map;
	char why[768], text[512];
	bool bad;

	if (path[0] == '\0')
		return 0;
	if (path[0] != '/')
		return given_wrong(c, "access_map",
		    "\"%s\" is no absolute path, expected one such as "
		    "/etc/mail/access",
		    path);
	map = mapfile_read(path, true, text, sizeof(text));
	bad = map == NULL || mapfile_first_error(map, path, why, sizeof(why));
	if (map == NULL)
		snprintf(why, sizeof(why), "%s %s", path, text);
	accessmap_free(&map);
	if (!bad || may_be_imported(cf))
		return 0;
	return given_wrong(c, "access_map",
	    "%s; nothing of it is in force yet, so the server would run "
	    "without its rules",
	    why);
}

/* A mechanism that was asked for and can never work is a mistake. */
static int
check_mechanisms(const struct check *c, const char *key, const char *text)
{
	const struct conf *cf = &c->g->conf;
	const char *bad;
	uint32_t mask;
	size_t len;

	if (sasl_mech_list(text, &mask, &bad, &len) == -1)
		return given_wrong(c, key,
		    "\"%.*s\" is not valid, expected names such as "
		    "SCRAM-SHA-256 or PLAIN, with blanks between",
		    (int)len, bad);
	if ((mask & SASL_MECH_TOKENS) != 0 && cf->oauth_key_file[0] == '\0' &&
	    cf->oauth_command[0] == '\0')
		return given_wrong(c, key,
		    "OAUTHBEARER and XOAUTH2 need oauth_key_file or "
		    "oauth_command");
	if ((mask & SASL_MECH_PROOFS) != 0 &&
	    cf->password_backend != BACKEND_STORE)
		return given_wrong(c, key,
		    "SCRAM needs the passwords of the user store, but "
		    "password_backend is another");
	return 0;
}

static int
check_networks(const struct check *c, const char *key, const char *text)
{
	const char *bad;
	size_t len;

	if (throttle_in_networks(text, NULL, &bad, &len) != -1)
		return 0;
	return given_wrong(c, key,
	    "\"%.*s\" is not valid, expected addresses and networks such as "
	    "192.0.2.1 or 2001:db8::/32, with blanks between",
	    (int)len, bad);
}

/* It stands in replies: one line, in ASCII, with room for a code before it. */
static int
check_help(const struct check *c, const char *key, const char *text)
{
	const char *p;

	for (p = text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			return given_wrong(c, key,
			    "byte %d is no printable ASCII, expected one line "
			    "of it: mail programs need not understand more",
			    (int)(p - text) + 1);
	if (p - text > HELP_MAX)
		return given_wrong(c, key, "is longer than %d bytes", HELP_MAX);
	return 0;
}

static int
check_all(const struct check *c)
{
	const struct conf *cf = &c->g->conf;

	if (log_level(cf->log_level) == -1)
		return given_wrong(c, "log_level",
		    "\"%s\" is not valid, expected "
		    "warning, info or debug",
		    cf->log_level);
	if (cf->retry_max < cf->retry_min)
		return given_wrong(c, "retry_max", "is less than retry_min");
	if (check_mechanisms(c, "mechanisms", cf->mechanisms) == -1 ||
	    check_mechanisms(c, "mechanisms_tls", cf->mechanisms_tls) == -1 ||
	    check_networks(c, "throttle_exempt", cf->throttle_exempt) == -1 ||
	    check_networks(c, "address_exempt", cf->address_exempt) == -1 ||
	    check_networks(c, "proxy_networks", cf->proxy_networks) == -1 ||
	    check_help(c, "help_text", cf->help_text) == -1 ||
	    check_help(c, "help_url", cf->help_url) == -1)
		return -1;
	if (check_hostname(c) == -1 || check_listen(c) == -1 ||
	    check_resolver(c) == -1 || check_postmaster(c) == -1 ||
	    check_users(c) == -1 || given_check_paths(c) == -1 ||
	    check_pam(c) == -1)
		return -1;
	if (given_read_files(c) == -1 || given_check_places(c) == -1)
		return -1;
	return check_access_map(c);
}

struct given *
given_load(const char *path, char *err, size_t errlen)
{
	struct given *g = xcalloc(1, sizeof(*g));
	const struct check c = { .g = g, .err = err, .errlen = errlen };

	g->refs = 1;
	if (conf_load(&g->conf, path, err, errlen) == -1 || check_all(&c) == -1)
		given_release(&g);
	return g;
}

struct given *
given_renew(const struct given *old, char *err, size_t errlen)
{
	struct given *g = xcalloc(1, sizeof(*g));
	const struct check c = {
		.g = g, .err = err, .errlen = errlen, .old = old,
		.renewal = true
	};

	g->refs = 1;
	conf_copy(&g->conf, &old->conf);
	if (given_read_files(&c) == -1)
		given_release(&g);
	return g;
}

void
given_hold(struct given *g)
{
	g->refs++;
}

void
given_release(struct given **gp)
{
	struct given *g = *gp;
	int i;

	*gp = NULL;
	if (g == NULL || --g->refs > 0)
		return;
	for (i = 0; i < PEM_KIND_COUNT; i++)
		buf_wipe(&g->pem[i]);
	given_free_chains(g);
	conf_clear(&g->conf);
	free(g);
}

/* ---- directories ---- */

static int
make_path(const char *path, mode_t mode)
{
	char *copy = xstrdup(path), *p;
	int rc = 0;

	for (p = copy + 1; rc == 0 && (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		rc = mkdir(copy, 0755) == -1 && errno != EEXIST ? -1 : 0;
		*p = '/';
	}
	if (rc == 0 && mkdir(copy, mode) == -1 && errno != EEXIST)
		rc = -1;
	free(copy);
	return rc;
}

int
given_prepare(const struct given *g, char *err, size_t errlen)
{
	const struct conf *cf = &g->conf;
	const struct check c = { .err = err, .errlen = errlen };
	struct stat st;
	uid_t uid;
	gid_t gid;

	if (geteuid() != 0)
		return 0;
	if (make_path(cf->chroot_dir, 0755) == -1 ||
	    stat(cf->chroot_dir, &st) == -1)
		return given_wrong(&c, "chroot_dir", "%s cannot be made: %s",
		    cf->chroot_dir, strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0)
		return given_wrong(&c, "chroot_dir",
		    "%s must be an empty directory "
		    "of root that nobody else can write",
		    cf->chroot_dir);
	if (sandbox_user(cf->user_queue, &uid, &gid, err, errlen) == -1)
		return -1;
	if (make_path(cf->spool, 0700) == -1 ||
	    chown(cf->spool, uid, gid) == -1 || chmod(cf->spool, 0700) == -1)
		return given_wrong(&c, "spool",
		    "%s cannot be made for the queue: %s", cf->spool,
		    strerror(errno));
	return 0;
}
