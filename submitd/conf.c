/*
 * The configuration: the table of keys, the checks each type brings, and the
 * reader of the file (libconfuse).  Every value passes conf_set(), whether it
 * comes from the file, from a default or from parent.
 */
#include "conf.h"

#include <sys/stat.h>

#include <arpa/inet.h>
#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls.h"

/* T_FILE: of a section that can be there more than once. */
enum type { T_STR, T_LISTEN, T_FILE, T_INT, T_SIZE, T_TIME, T_BOOL, T_ENUM };

/* Who may know a key, as bits of enum role. */
#define FRONT    (1u << ROLE_FRONT)
#define AUTH     (1u << ROLE_AUTH)
#define PAM      (1u << ROLE_PAM)
#define QUEUE    (1u << ROLE_QUEUE)
#define RELAY    (1u << ROLE_RELAY)
#define RESOLVER (1u << ROLE_RESOLVER)
#define STORE    (1u << ROLE_STORE)
#define EVERY    (~0u)

struct key {
	const char *name;
	enum type type;
	size_t offset;
	const char *def;
	int64_t min, max;
	unsigned roles;
	/* of T_ENUM, in the order of their values; of T_STR: it is a list of
	 * some of these */
	const char *words;
};

enum { FILE_LIMIT = 1024 * 1024 }; /* bytes of a configuration */
enum { PORT_DNS = 53, PORT_IMPLICIT = 465, PORT_STARTTLS = 587 };
enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
#define DAY ((int64_t)24 * HOUR)
#define KIB ((int64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* clang-format off */
#define K(name) #name, .offset = offsetof(struct conf, name)
#define SH(name) "smarthost." #name, .offset = offsetof(struct conf, smarthost_##name)
#define LIMIT(name, id) #name, .offset = offsetof(struct conf, limit.v[LIMIT_##id])
#define CE(name, part) "certificate." #name, .type = T_FILE, .offset = part
#define TEXT(d, r) .type = T_STR, .def = d, .roles = r
#define NUM(t, d, lo, hi, r) .type = t, .def = d, .min = lo, .max = hi, .roles = r

static const struct key keys[] = {
	{ K(hostname), TEXT("", EVERY) },
	{ K(listen), .type = T_LISTEN, .roles = 0 },
	{ K(listen_tls), .type = T_LISTEN, .roles = 0 },
	{ K(fronts), NUM(T_INT, "0", 0, 64, 0) },
	{ K(auth_workers), NUM(T_INT, "0", 0, 64, 0) },

	{ K(users_db), TEXT("/var/lib/submitd/users.db", AUTH | STORE) },
	{ K(access_map), TEXT("", STORE) },
	{ K(spool), TEXT("/var/spool/submitd", QUEUE) },
	{ K(control_socket), TEXT("/run/submitd/control", 0) },
	{ K(pid_file), TEXT("", 0) },
	{ K(chroot_dir), TEXT("/run/submitd/empty", EVERY) },

	{ K(user_front), TEXT("_submitd", FRONT) },
	{ K(user_auth), TEXT("_submita", AUTH) },
	{ K(user_queue), TEXT("_submitq", QUEUE) },
	{ K(user_relay), TEXT("_submitr", RELAY) },
	{ K(user_resolver), TEXT("_submitn", RESOLVER) },

	{ K(cert_dir), TEXT("/etc/submitd/certs", 0) },
	{ K(server_cert), TEXT("mycert.pem", 0) },
	{ K(server_key), TEXT("mykey.pem", 0) },
	{ K(server_ocsp), TEXT("", 0) },
	{ CE(cert, CONF_CERT), .roles = 0 },
	{ CE(key, CONF_KEY), .roles = 0 },
	{ CE(ocsp, CONF_OCSP), .roles = 0 },
	{ K(tls_policy), NUM(T_ENUM, "modern", 0, 0, FRONT), .words = "modern compatible" },
	{ K(ca_cert), TEXT("", 0) },
	{ K(ca_path), TEXT("", 0) },
	{ K(crl_file), TEXT("", 0) },
	{ K(accept_server_certs), NUM(T_BOOL, "no", 0, 1, AUTH) },
	{ K(accept_public_cas), NUM(T_BOOL, "no", 0, 1, 0) },
	{ K(client_cert), TEXT("", 0) },
	{ K(client_key), TEXT("", 0) },
	{ K(cert_expiry_alarm), NUM(T_TIME, "14d", 0, 365 * DAY, 0) },
	{ K(ticket_lifetime), NUM(T_TIME, "1h", 0, DAY, FRONT) },

	{ K(max_message_size), NUM(T_SIZE, "25M", 64 * KIB, 2 * GIB, FRONT | QUEUE) },
	{ K(max_recipients), NUM(T_INT, "1000", 100, 10000, FRONT | AUTH) },
	{ K(max_connections), NUM(T_INT, "10000", 1, 1000000, FRONT | QUEUE) },
	{ K(max_strangers), NUM(T_INT, "1000", 1, 1000000, FRONT | QUEUE) },
	{ K(address_connections), NUM(T_INT, "200", 0, 1000000, FRONT | QUEUE) },
	{ K(address_strangers), NUM(T_INT, "20", 0, 1000000, FRONT | QUEUE) },
	{ K(address_exempt), TEXT("127.0.0.0/8 ::1", FRONT) },
	{ K(proxy_networks), TEXT("", FRONT) },
	{ K(max_errors), NUM(T_INT, "20", 1, 10000, FRONT) },
	{ K(name_timeout), NUM(T_TIME, "5s", 0, 30 * SECOND, FRONT) },
	{ K(handshake_timeout), NUM(T_TIME, "30s", SECOND, HOUR, FRONT) },
	{ K(command_timeout), NUM(T_TIME, "5m", SECOND, DAY, FRONT) },
	{ K(login_timeout), NUM(T_TIME, "2m", SECOND, DAY, FRONT) },
	{ K(data_timeout), NUM(T_TIME, "5m", SECOND, DAY, FRONT) },
	{ K(min_data_rate), NUM(T_INT, "500", 0, 1000000, FRONT) },
	{ K(error_delay), NUM(T_TIME, "1s", 0, MINUTE, FRONT) },
	{ K(session_messages), NUM(T_INT, "10000", 0, 1000000, FRONT) },
	{ K(session_time), NUM(T_TIME, "1d", SECOND, 365 * DAY, FRONT) },
	{ K(reload_grace), NUM(T_TIME, "10m", 0, DAY, 0) },
	{ K(stop_grace), NUM(T_TIME, "10s", 0, DAY, 0) },
	{ K(trace_client), NUM(T_BOOL, "no", 0, 1, FRONT) },
	{ K(bare_newline), NUM(T_ENUM, "reject", 0, 0, FRONT), .words = "reject normalize" },
	{ K(long_lines), NUM(T_ENUM, "accept", 0, 0, FRONT), .words = "accept reject" },
	{ K(max_hold), NUM(T_TIME, "30d", 0, 3650 * DAY, FRONT) },
	{ K(deliver_by_min), NUM(T_TIME, "0", 0, DAY, FRONT) },
	{ K(max_priority), NUM(T_INT, "0", 0, 9, AUTH) },
	{ K(help_text), TEXT("", FRONT) },
	{ K(help_url), TEXT("", FRONT) },

	{ K(map_relay_user), TEXT("", AUTH) },
	{ K(from_header), NUM(T_ENUM, "require", 0, 0, AUTH), .words = "require sender off" },
	{ K(plus_addressing), NUM(T_BOOL, "no", 0, 1, AUTH) },

	{ K(scram_iterations), NUM(T_INT, "32768", 4096, 65536, AUTH | STORE) },
	{ K(mechanisms), TEXT("", AUTH | STORE) },
	{ K(mechanisms_tls), TEXT("", AUTH | STORE) },
	{ K(auth_fail_delay), NUM(T_TIME, "500ms", 0, MINUTE, AUTH) },

	{ K(throttle_user), NUM(T_INT, "10", 0, 100, QUEUE) },
	{ K(throttle_address), NUM(T_INT, "30", 0, 1000, QUEUE) },
	{ K(throttle_window), NUM(T_TIME, "1h", MINUTE, DAY, QUEUE) },
	{ K(throttle_refuse), NUM(T_TIME, "15m", SECOND, DAY, QUEUE) },
	{ K(throttle_trust), NUM(T_TIME, "30d", 0, 365 * DAY, QUEUE) },
	{ K(throttle_exempt), TEXT("", QUEUE) },

	{ K(password_backend), NUM(T_ENUM, "store", 0, 0, AUTH), .words = "store pam saslauthd" },
	{ K(pam_service), TEXT("", AUTH | PAM | QUEUE) },
	{ K(pam_confdir), TEXT("", PAM) },
	{ K(pam_user), TEXT("_submitp:shadow", PAM) },
	{ K(pam_timeout), NUM(T_TIME, "20s", SECOND, 50 * SECOND, PAM) },
	{ K(pam_otp), NUM(T_BOOL, "no", 0, 1, PAM) },
	{ K(pam_otp_digits), NUM(T_INT, "6", 4, 10, PAM) },
	{ K(saslauthd_socket), TEXT("", AUTH | PAM | QUEUE) },
	{ K(oauth_key_file), TEXT("", 0) },
	{ K(oauth_issuer), TEXT("", AUTH) },
	{ K(oauth_audience), TEXT("", AUTH) },
	{ K(oauth_user_claim), TEXT("email", AUTH) },
	{ K(oauth_command), TEXT("", AUTH | PAM) },
	{ K(oauth_timeout), NUM(T_TIME, "10s", SECOND, 50 * SECOND, PAM) },

	{ K(retry_min), NUM(T_TIME, "1m", SECOND, DAY, QUEUE) },
	{ K(retry_max), NUM(T_TIME, "1h", SECOND, DAY, QUEUE) },
	{ K(bounce_after), NUM(T_TIME, "3d", MINUTE, 30 * DAY, QUEUE) },
	{ K(delay_notice), NUM(T_TIME, "4h", 0, 30 * DAY, QUEUE) },
	{ K(duplicate_window), NUM(T_TIME, "1d", 0, 7 * DAY, FRONT | QUEUE) },
	{ K(duplicate_without_id), NUM(T_TIME, "0", 0, HOUR, FRONT | QUEUE) },
	{ K(postmaster), TEXT("", QUEUE) },

	{ LIMIT(limit_messages_hour, MESSAGES_HOUR), NUM(T_INT, "300", 0, 1000000000, AUTH | QUEUE) },
	{ LIMIT(limit_messages_day, MESSAGES_DAY), NUM(T_INT, "2000", 0, 1000000000, AUTH | QUEUE) },
	{ LIMIT(limit_recipients_hour, RECIPIENTS_HOUR), NUM(T_INT, "2000", 0, 1000000000, AUTH | QUEUE) },
	{ LIMIT(limit_recipients_day, RECIPIENTS_DAY), NUM(T_INT, "5000", 0, 1000000000, AUTH | QUEUE) },
	{ LIMIT(limit_new_recipients_day, NEW_RECIPIENTS_DAY), NUM(T_INT, "500", 0, 1000000000, AUTH | QUEUE) },
	{ LIMIT(limit_message_size, MESSAGE_SIZE), NUM(T_SIZE, "0", 0, 2 * GIB, AUTH | QUEUE) },
	{ LIMIT(limit_sessions, SESSIONS), NUM(T_INT, "50", 0, 1000000000, AUTH | QUEUE) },
	{ LIMIT(limit_suspend_new_recipients, SUSPEND_NEW), NUM(T_INT, "200", 0, 1000000000, AUTH | QUEUE) },
	{ LIMIT(limit_suspend_failed_recipients, SUSPEND_FAILED), NUM(T_INT, "50", 0, 1000000000, AUTH | QUEUE) },
	{ LIMIT(limit_suspend_refused_messages, SUSPEND_REFUSED), NUM(T_INT, "100", 0, 1000000000, AUTH | QUEUE) },

	{ K(history_rows), NUM(T_INT, "100000", 1000, 10000000, QUEUE) },
	{ K(history_age), NUM(T_TIME, "30d", HOUR, 3650 * DAY, QUEUE) },

	{ SH(host), TEXT("", RELAY | QUEUE) },
	{ SH(port), NUM(T_INT, "0", 0, 65535, RELAY | QUEUE) },
	{ SH(tls), NUM(T_ENUM, "starttls", 0, 0, RELAY), .words = "starttls implicit" },
	{ SH(tls_policy), NUM(T_ENUM, "modern", 0, 0, RELAY), .words = "modern compatible" },
	{ SH(ca_file), TEXT("/etc/ssl/certs/ca-certificates.crt", 0) },
	{ SH(user), TEXT("", RELAY) },
	{ SH(password_file), TEXT("", 0) },
	{ SH(client_cert), NUM(T_BOOL, "no", 0, 1, RELAY) },
	{ SH(connections), NUM(T_INT, "20", 1, 1000, RELAY | QUEUE) },
	{ SH(timeout), NUM(T_TIME, "5m", SECOND, HOUR, RELAY) },
	{ SH(ignore), TEXT("", RELAY), .words = "PIPELINING 8BITMIME SIZE CHUNKING BINARYMIME DSN SMTPUTF8 REQUIRETLS DELIVERBY MT-PRIORITY LIMITS" },

	{ K(resolver), TEXT("", RESOLVER) },
	{ K(log_level), TEXT("info", EVERY) },
};
/* clang-format on */
enum { KEYS = sizeof(keys) / sizeof(keys[0]) };

static int lines[KEYS];
static char *loaded_path;

static const struct key *
find(const char *name)
{
	size_t i;

	for (i = 0; i < KEYS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static void *
slot(struct conf *c, const struct key *k)
{
	return (char *)c + k->offset;
}

/* A number with a unit out of a table of suffixes; 0 or -1. */
static int
number(const char *text, const char *const *units, const int64_t *factors,
    int64_t *out)
{
	unsigned long long v;
	char *end;
	size_t i;

	if (!isdigit((unsigned char)text[0]))
		return -1;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0 || v > INT64_MAX)
		return -1;
	for (i = 0; units[i] != NULL && strcasecmp(end, units[i]) != 0; i++)
		continue;
	if (units[i] == NULL)
		return -1;
	return __builtin_mul_overflow((int64_t)v, factors[i], out) ? -1 : 0;
}

static int
parse_number(enum type t, const char *text, int64_t *out)
{
	static const char *const no_units[] = { "", NULL };
	static const char *const size_units[] = { "", "k", "m", "g", NULL };
	static const char *const time_units[] = { "", "ms", "s", "m", "h", "d",
		NULL };
	static const int64_t one[] = { 1 }, sizes[] = { 1, KIB, MIB, GIB };
	static const int64_t times[] = { SECOND, 1, SECOND, MINUTE, HOUR, DAY };

	if (t == T_SIZE)
		return number(text, size_units, sizes, out);
	if (t == T_TIME)
		return number(text, time_units, times, out);
	return number(text, no_units, one, out);
}

static void
number_text(enum type t, int64_t v, char *out, size_t len)
{
	if (t == T_TIME && v % SECOND != 0)
		snprintf(out, len, "%lldms", (long long)v);
	else if (t == T_TIME)
		snprintf(out, len, "%llds", (long long)(v / SECOND));
	else
		snprintf(out, len, "%lld", (long long)v);
}

static int
set_number(int64_t *out, const struct key *k, const char *text, char *err,
    size_t errlen)
{
	static const char *const what[] = { [T_INT] = "a number",
		[T_SIZE] = "a size such as 25M (K, M, G)",
		[T_TIME] = "a time such as 90s (ms, s, m, h, d)" };
	char lo[32], hi[32];
	int64_t v;

	if (parse_number(k->type, text, &v) == 0 && v >= k->min &&
	    v <= k->max) {
		*out = v;
		return 0;
	}
	number_text(k->type, k->min, lo, sizeof(lo));
	number_text(k->type, k->max, hi, sizeof(hi));
	snprintf(err, errlen, "\"%s\" is not valid, expected %s from %s to %s",
	    text, what[k->type], lo, hi);
	return -1;
}

static int
set_bool(bool *out, const char *text, char *err, size_t errlen)
{
	static const char *const yes[] = { "yes", "true", "on" };
	static const char *const no[] = { "no", "false", "off" };
	size_t i;

	for (i = 0; i < 3; i++) {
		if (strcasecmp(text, yes[i]) == 0 ||
		    strcasecmp(text, no[i]) == 0) {
			*out = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	}
	snprintf(err, errlen, "\"%s\" is not valid, expected yes or no", text);
	return -1;
}

/* The place of a word among those of the key, -1 if it is none of them. */
static int64_t
word_place(const struct key *k, const char *text, size_t len)
{
	const char *p = k->words;
	size_t n;
	int64_t i;

	for (i = 0; *p != '\0'; i++, p += n + (p[n] == ' ')) {
		n = strcspn(p, " ");
		if (len == n && strncasecmp(p, text, n) == 0)
			return i;
	}
	return -1;
}

static int
set_enum(int64_t *out, const struct key *k, const char *text, char *err,
    size_t errlen)
{
	int64_t i = word_place(k, text, strlen(text));

	if (i >= 0) {
		*out = i;
		return 0;
	}
	snprintf(err, errlen, "\"%s\" is not valid, expected one of: %s", text,
	    k->words);
	return -1;
}

/* Words with blanks between them. */
static int
check_list(const struct key *k, const char *text, char *err, size_t errlen)
{
	const char *p = text;
	size_t n;

	for (p += strspn(p, " "); *p != '\0'; p += n, p += strspn(p, " ")) {
		n = strcspn(p, " ");
		if (word_place(k, p, n) >= 0)
			continue;
		snprintf(err, errlen,
		    "\"%.*s\" is not valid, expected some of: %s", (int)n, p,
		    k->words);
		return -1;
	}
	return 0;
}

int
conf_split_listen(const char *text, char *host, size_t hostlen, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	unsigned char addr[sizeof(struct in6_addr)];
	size_t n;
	int64_t v;
	int family;

	if (colon == NULL || parse_number(T_INT, colon + 1, &v) == -1 ||
	    v < 1 || v > 65535)
		return -1;
	*port = (uint16_t)v;
	n = (size_t)(colon - text);
	family = n > 0 && text[0] == '[' ? AF_INET6 : AF_INET;
	if (family == AF_INET6) {
		if (n < 3 || text[n - 1] != ']')
			return -1;
		text++;
		n -= 2;
	}
	if (n >= hostlen)
		return -1;
	memcpy(host, text, n);
	host[n] = '\0';
	if (strcmp(host, "*") == 0) {
		host[0] = '\0';
		return family == AF_INET ? 0 : -1;
	}
	return inet_pton(family, host, addr) == 1 ? 0 : -1;
}

int
conf_split_resolver(
    const char *text, char *host, size_t hostlen, uint16_t *port)
{
	unsigned char addr[sizeof(struct in6_addr)];
	size_t n = strcspn(text, "@");
	int64_t v = PORT_DNS;
	char *zone;

	if (text[n] == '@' && parse_number(T_INT, text + n + 1, &v) == -1)
		return -1;
	if (v < 1 || v > 65535 || n >= hostlen)
		return -1;
	*port = (uint16_t)v;
	memcpy(host, text, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, addr) == 1)
		return 0;
	if ((zone = strchr(host, '%')) != NULL && zone[1] != '\0')
		*zone = '\0';
	n = inet_pton(AF_INET6, host, addr) == 1;
	if (zone != NULL)
		*zone = '%';
	return n == 1 ? 0 : -1;
}

static int
add_listen(struct strlist *l, const char *text, char *err, size_t errlen)
{
	char host[INET6_ADDRSTRLEN];
	uint16_t port;

	if (conf_split_listen(text, host, sizeof(host), &port) == -1) {
		snprintf(err, errlen,
		    "\"%s\" is not valid, expected "
		    "\"192.0.2.1:587\", \"[2001:db8::1]:587\" or \"*:587\" "
		    "with a port from 1 to 65535",
		    text);
		return -1;
	}
	l->v = xrealloc(l->v, (l->n + 1) * sizeof(*l->v));
	l->v[l->n++] = xstrdup(text);
	return 0;
}

static int
set_key(struct conf *c, const struct key *k, const char *value, char *err,
    size_t errlen)
{
	char **text;

	switch (k->type) {
	case T_LISTEN:
		return add_listen(slot(c, k), value, err, errlen);
	case T_FILE:
		snprintf(err, errlen, "stands in a section only");
		return -1;
	case T_BOOL:
		return set_bool(slot(c, k), value, err, errlen);
	case T_ENUM:
		return set_enum(slot(c, k), k, value, err, errlen);
	case T_STR:
		if (k->words != NULL &&
		    check_list(k, value, err, errlen) == -1)
			return -1;
		text = slot(c, k);
		free(*text);
		*text = xstrdup(value);
		return 0;
	default:
		return set_number(slot(c, k), k, value, err, errlen);
	}
}

int
conf_set(struct conf *c, const char *key, const char *value, char *err,
    size_t errlen)
{
	const struct key *k = find(key);

	if (k == NULL) {
		snprintf(err, errlen, "unknown key");
		return -1;
	}
	return set_key(c, k, value, err, errlen);
}

static void
list_clear(struct strlist *l)
{
	while (l->n > 0)
		free(l->v[--l->n]);
	free(l->v);
	l->v = NULL;
}

void
conf_init(struct conf *c)
{
	char err[128];
	size_t i;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < KEYS; i++)
		if (keys[i].def != NULL &&
		    set_key(c, &keys[i], keys[i].def, err, sizeof(err)) == -1)
			abort(); /* the table contradicts itself */
}

static void
list_copy(struct strlist *l)
{
	char **from = l->v;
	size_t i;

	l->v = xcalloc(l->n + 1, sizeof(*l->v));
	for (i = 0; i < l->n; i++)
		l->v[i] = xstrdup(from[i]);
}

static void
chain_clear(struct conf_chain *c)
{
	int i;

	for (i = 0; i < CONF_CHAIN_PARTS; i++)
		free(c->file[i]);
	*c = (struct conf_chain){ .line = { 0 } };
}

static void
chains_copy(struct conf *c)
{
	struct conf_chain *from = c->chain;
	size_t i;
	int k;

	c->chain = xcalloc(c->chains + 1, sizeof(*c->chain));
	for (i = 0; i < c->chains; i++) {
		c->chain[i] = from[i];
		for (k = 0; k < CONF_CHAIN_PARTS; k++)
			c->chain[i].file[k] = xstrdup(from[i].file[k]);
	}
}

void
conf_copy(struct conf *to, const struct conf *from)
{
	char **text;
	size_t i;

	*to = *from;
	for (i = 0; i < KEYS; i++) {
		text = slot(to, &keys[i]);
		if (keys[i].type == T_STR)
			*text = xstrdup(*text);
		else if (keys[i].type == T_LISTEN)
			list_copy(slot(to, &keys[i]));
	}
	chains_copy(to);
}

void
conf_clear(struct conf *c)
{
	size_t i;

	for (i = 0; i < KEYS; i++) {
		if (keys[i].type == T_STR)
			free(*(char **)slot(c, &keys[i]));
		else if (keys[i].type == T_LISTEN)
			list_clear(slot(c, &keys[i]));
	}
	while (c->chains > 0)
		chain_clear(&c->chain[--c->chains]);
	free(c->chain);
	memset(c, 0, sizeof(*c));
}

/* ---- the file ---- */

/* libconfuse's callbacks bring no argument of the caller. */
static struct loading {
	struct conf *conf;
	const char *path;
	char *err;
	size_t errlen;
	struct conf_chain chain; /* of the section that is being read */
} * loading;

static void
complain(int line, const char *key, const char *what)
{
	if (loading->err[0] != '\0')
		return; /* the first one is the cause */
	snprintf(loading->err, loading->errlen, "%s:%d: %s%s%s", loading->path,
	    line, key, key[0] != '\0' ? ": " : "", what);
}

static void
on_confuse_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	static const char unknown[] = "no such option '";
	char text[256], *end;

	vsnprintf(text, sizeof(text), fmt, ap);
	if (strncmp(text, unknown, sizeof(unknown) - 1) == 0) {
		if ((end = strrchr(text, '\'')) != NULL)
			*end = '\0';
		complain(cfg->line, text + sizeof(unknown) - 1,
		    "unknown key, expected one of those in submitd.conf(5)");
	} else
		complain(cfg->line, "", text);
}

static int
set_twice(int line, const char *name, int first)
{
	char why[64];

	snprintf(why, sizeof(why), "set twice, first in line %d", first);
	complain(line, name, why);
	return -1;
}

/* A key of a section that can be there again. */
static int
on_file(cfg_t *cfg, cfg_opt_t *opt, const struct key *k)
{
	struct conf_chain *c = &loading->chain;
	const char *value = cfg_opt_getnstr(opt, 0);

	if (c->line[k->offset] != 0)
		return set_twice(cfg->line, k->name, c->line[k->offset]);
	c->line[k->offset] = cfg->line;
	c->file[k->offset] = xstrdup(value);
	return 0;
}

/* The section ends. */
static int
on_certificate(cfg_t *cfg, cfg_opt_t *opt)
{
	struct conf_chain *c = &loading->chain;
	struct conf *cf = loading->conf;
	int i;

	(void)opt;
	for (i = 0; i < CONF_OCSP; i++) {
		if (c->file[i] != NULL && c->file[i][0] != '\0')
			continue;
		complain(c->line[i] != 0 ? c->line[i] : cfg->line,
		    conf_chain_key(1, (enum conf_chain_part)i),
		    "is not set, expected a file: each section certificate "
		    "needs both cert and key");
		return -1;
	}
	if (c->file[CONF_OCSP] == NULL)
		c->file[CONF_OCSP] = xstrdup("");
	if (cf->chains + 1 == TLS_CHAINS_MAX) {
		complain(cfg->line, "certificate",
		    "there are too many of these sections, expected at most "
		    "31");
		return -1;
	}
	cf->chain = xrealloc(cf->chain, (cf->chains + 1) * sizeof(*cf->chain));
	cf->chain[cf->chains++] = *c;
	*c = (struct conf_chain){ .line = { 0 } };
	return 0;
}

static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *section = cfg_name(cfg);
	const struct key *k;
	char name[128], why[256];
	unsigned i;

	if (section != NULL && strcmp(section, "root") != 0)
		snprintf(name, sizeof(name), "%s.%s", section, opt->name);
	else
		snprintf(name, sizeof(name), "%s", opt->name);
	if ((k = find(name)) == NULL)
		abort(); /* the options were made from the same table */
	if (k->type == T_FILE)
		return on_file(cfg, opt, k);
	if (k->type != T_LISTEN && lines[k - keys] != 0)
		return set_twice(cfg->line, name, lines[k - keys]);
	lines[k - keys] = cfg->line;
	if (k->type == T_LISTEN)
		list_clear(slot(loading->conf, k));
	for (i = 0; i < cfg_opt_size(opt); i++) {
		if (set_key(loading->conf, k, cfg_opt_getnstr(opt, i), why,
			sizeof(why)) == -1) {
			complain(cfg->line, name, why);
			return -1;
		}
	}
	return 0;
}

/* Every key is text to libconfuse; its type is ours to check. */
static cfg_opt_t *
make_options(const char *section)
{
	cfg_opt_t *o = xcalloc(KEYS + 3, sizeof(*o)), *p = o;
	size_t skip = strlen(section), i;
	const char *name;

	for (i = 0; i < KEYS; i++) {
		name = keys[i].name;
		if (strncmp(name, section, skip) != 0 ||
		    strchr(name + skip, '.') != NULL)
			continue;
		p->name = name + skip;
		p->type = CFGT_STR;
		p->flags = (keys[i].type == T_LISTEN ? CFGF_LIST : CFGF_NONE) |
		    CFGF_NODEFAULT;
		p->validcb = on_value;
		p++;
	}
	return o;
}

static int
parse_text(const char *text)
{
	cfg_opt_t *top = make_options(""), *sub = make_options("smarthost.");
	cfg_opt_t *cert = make_options("certificate."), *p;
	cfg_t *cfg;
	int rc;

	for (p = top; p->name != NULL; p++)
		continue;
	p->name = "smarthost";
	p->type = CFGT_SEC;
	p->flags = CFGF_NONE;
	p->subopts = sub;
	p++;
	p->name = "certificate";
	p->type = CFGT_SEC;
	p->flags = CFGF_MULTI;
	p->subopts = cert;
	p->validcb = on_certificate;
	cfg = cfg_init(top, CFGF_NONE);
	cfg_set_error_function(cfg, on_confuse_error);
	rc = cfg_parse_buf(cfg, text);
	cfg_free(cfg);
	free(top);
	free(sub);
	free(cert);
	chain_clear(&loading->chain);
	return rc == CFG_SUCCESS ? 0 : -1;
}

/* Where the scanner below is. */
struct scan {
	char *p;
	int line, open_line; /* of the last { that is not closed */
};

/* Blanks what ends at the text `end`; newlines stay. */
static void
blank(struct scan *s, const char *end)
{
	size_t n = strlen(end);

	for (; *s->p != '\0' && strncmp(s->p, end, n) != 0; s->p++) {
		if (*s->p == '\n')
			s->line++;
		else
			*s->p = ' ';
	}
	if (*s->p != '\0' && *end != '\n')
		memset(s->p, ' ', n);
}

static void
skip_quoted(struct scan *s, char quote)
{
	for (s->p++; *s->p != '\0' && *s->p != quote; s->p++) {
		if (*s->p == '\\' && s->p[1] != '\0')
			s->p++;
		s->line += *s->p == '\n';
	}
	if (*s->p != '\0')
		s->p++;
}

/*
 * libconfuse 3.3 counts the lines of comments more than once and takes the end
 * of the file for the end of a section.  So comments are blanked before it
 * sees them, and braces are counted here.  The line of a { left open, or 0.
 */
static int
prepare_text(char *text)
{
	struct scan s = { .p = text, .line = 1 };
	bool token_start = true;
	int depth = 0;

	while (*s.p != '\0') {
		if (*s.p == '#')
			blank(&s, "\n");
		else if (token_start && strncmp(s.p, "//", 2) == 0)
			blank(&s, "\n");
		else if (token_start && strncmp(s.p, "/*", 2) == 0)
			blank(&s, "*/");
		else if (*s.p == '"' || *s.p == '\'')
			skip_quoted(&s, *s.p);
		else {
			if (*s.p == '{' && depth++ == 0)
				s.open_line = s.line;
			depth -= *s.p == '}';
			s.line += *s.p == '\n';
			token_start = strchr(" \t\r\n{}(),;=", *s.p) != NULL;
			s.p++;
		}
	}
	return depth > 0 ? s.open_line : 0;
}

static int
parse_file(FILE *fp)
{
	struct buf text = { 0 };
	size_t n;
	int line, rc = -1;

	while ((n = fread(buf_room(&text, 4096), 1, 4096, fp)) > 0) {
		buf_grew(&text, n);
		if (text.len > FILE_LIMIT)
			break;
	}
	buf_add(&text, "", 1);
	if (ferror(fp) || text.len > FILE_LIMIT ||
	    strlen((char *)text.data) + 1 != text.len)
		complain(0, "", "is no text file of at most 1 MiB");
	else if ((line = prepare_text((char *)text.data)) > 0)
		complain(line, "{", "is never closed, expected a }");
	else
		rc = parse_text((char *)text.data);
	buf_clear(&text);
	return rc;
}

static void
default_hostname(struct conf *c)
{
	char name[256];

	if (c->hostname[0] != '\0')
		return;
	if (gethostname(name, sizeof(name)) == -1 || name[0] == '\0')
		snprintf(name, sizeof(name), "localhost");
	name[sizeof(name) - 1] = '\0';
	free(c->hostname);
	c->hostname = xstrdup(name);
}

int
conf_load(struct conf *c, const char *path, char *err, size_t errlen)
{
	struct loading l = {
		.conf = c, .path = path, .err = err, .errlen = errlen
	};
	struct stat st;
	FILE *fp;
	int fd, rc;

	conf_init(c);
	memset(lines, 0, sizeof(lines));
	free(loaded_path);
	loaded_path = xstrdup(path);
	err[0] = '\0';
	/* not blocking: somebody may have put a FIFO there */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd != -1 && (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))) {
		close(fd);
		errno = EINVAL;
		fd = -1;
	}
	if (fd == -1 || (fp = fdopen(fd, "r")) == NULL) {
		snprintf(err, errlen,
		    "%s:0: cannot be read: %s, expected a "
		    "configuration file (-f FILE names another)",
		    path, strerror(errno));
		return -1;
	}
	loading = &l;
	rc = parse_file(fp);
	loading = NULL;
	fclose(fp);
	if (rc == -1 && err[0] == '\0')
		snprintf(err, errlen, "%s:0: cannot be understood", path);
	if (rc == 0)
		default_hostname(c);
	return rc;
}

bool
conf_is_key(const char *key)
{
	return find(key) != NULL;
}

int
conf_line(const char *key)
{
	const struct key *k = find(key);

	return k == NULL ? 0 : lines[k - keys];
}

const char *
conf_path(void)
{
	return loaded_path != NULL ? loaded_path : "";
}

/* ---- for the roles ---- */

static void
pair(struct buf *out, const char *name, const char *value)
{
	buf_add(out, name, strlen(name) + 1);
	buf_add(out, value, strlen(value) + 1);
}

static void
enum_text(const struct key *k, int64_t v, char *out, size_t len)
{
	const char *p = k->words;

	for (; v > 0; v--)
		p += strcspn(p, " ") + 1;
	snprintf(out, len, "%.*s", (int)strcspn(p, " "), p);
}

static void
pair_key(struct buf *out, const struct conf *c, const struct key *k)
{
	const void *v = (const char *)c + k->offset;
	char text[64];

	switch (k->type) {
	case T_FILE:
	case T_LISTEN:
		return; /* what they name is given, not the names */
	case T_STR:
		pair(out, k->name, *(char *const *)v);
		return;
	case T_BOOL:
		pair(out, k->name, *(const bool *)v ? "yes" : "no");
		return;
	case T_ENUM:
		enum_text(k, *(const int64_t *)v, text, sizeof(text));
		break;
	default:
		number_text(k->type, *(const int64_t *)v, text, sizeof(text));
	}
	pair(out, k->name, text);
}

void
conf_pairs(const struct conf *c, enum role role, struct buf *out)
{
	size_t i;

	for (i = 0; i < KEYS; i++)
		if ((keys[i].roles & (1u << role)) != 0)
			pair_key(out, c, &keys[i]);
}

int
conf_set_pairs(
    struct conf *c, const void *pairs, size_t len, char *err, size_t errlen)
{
	const char *p = pairs, *end = p + len, *value;

	conf_init(c);
	snprintf(err, errlen, "configuration pairs are cut");
	while (p < end) {
		if ((value = memchr(p, '\0', (size_t)(end - p))) == NULL ||
		    ++value == end ||
		    memchr(value, '\0', (size_t)(end - value)) == NULL)
			return -1;
		if (conf_set(c, p, value, err, errlen) == -1)
			return -1;
		p = value + strlen(value) + 1;
	}
	return 0;
}

uint16_t
conf_smarthost_port(const struct conf *c)
{
	if (c->smarthost_port != 0)
		return (uint16_t)c->smarthost_port;
	return c->smarthost_tls == SMARTHOST_IMPLICIT ? PORT_IMPLICIT
						      : PORT_STARTTLS;
}

uint16_t
conf_resolver_port(const struct conf *c)
{
	char host[CONF_RESOLVER_HOST];
	uint16_t port;

	return conf_split_resolver(c->resolver, host, sizeof(host), &port) == 0
	    ? port
	    : PORT_DNS;
}

const char *
conf_chain_key(size_t n, enum conf_chain_part part)
{
	static const char *const first[] = { "server_cert", "server_key",
		"server_ocsp" };
	static const char *const more[] = { "certificate.cert",
		"certificate.key", "certificate.ocsp" };

	return n == 0 ? first[part] : more[part];
}

bool
conf_chain(const struct conf *c, size_t n, struct conf_chain *out)
{
	int i;

	if (n > c->chains)
		return false;
	if (n > 0) {
		*out = c->chain[n - 1];
		return true;
	}
	out->file[CONF_CERT] = c->server_cert;
	out->file[CONF_KEY] = c->server_key;
	out->file[CONF_OCSP] = c->server_ocsp;
	for (i = 0; i < CONF_CHAIN_PARTS; i++)
		out->line[i] =
		    conf_line(conf_chain_key(0, (enum conf_chain_part)i));
	return true;
}

char *
conf_cert_path(const struct conf *c, const char *file)
{
	if (file[0] == '/')
		return xstrdup(file);
	return xasprintf("%s/%s", c->cert_dir, file);
}
