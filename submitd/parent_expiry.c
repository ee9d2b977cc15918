/*
 * Certificates that end soon: looked at when they are loaded, and then at
 * least once a day.  One alarm tells of all, until they are renewed: ours and
 * the one for the smarthost, the CAs of clients, and the private CA if it has
 * signed ours.
 */
#include "parent_int.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/certfile.h"
#include "frames.h"
#include "log.h"
#include "mem.h"

enum { DAY_S = 24 * 60 * 60, FILE_MAX = 1 << 20 };

/* Something that ends soon, or has ended. */
typedef void found_fn(const char *key, const char *path,
    const struct certfile_cert *, int64_t left_s);

static struct {
	struct event *timer;
	char *text;  /* of the alarm; NULL: there is none */
	char *fresh; /* the same, being made */

	/* of one round */
	int64_t now, next_s; /* until something is news */
	found_fn *found;
	char (*seen)[65]; /* SHA-256 of what was looked at */
	size_t nseen;
} E;

static bool
was_seen(const char *sha256)
{
	size_t i;

	for (i = 0; i < E.nseen; i++)
		if (strcmp(E.seen[i], sha256) == 0)
			return true;
	E.seen = xrealloc(E.seen, (E.nseen + 1) * sizeof(*E.seen));
	memcpy(E.seen[E.nseen++], sha256, sizeof(*E.seen));
	return false;
}

static void
news_in(int64_t s)
{
	if (s > 0 && s < E.next_s)
		E.next_s = s;
}

static void
look_at(const char *key, const char *path, const struct certfile_cert *cert)
{
	int64_t left = cert->not_after - E.now;
	int64_t ahead = P.given->conf.cert_expiry_alarm / 1000;

	if (was_seen(cert->sha256))
		return;
	news_in(left - ahead);
	news_in(left);
	if (left <= ahead)
		E.found(key, path, cert, left);
}

/* The first certificate of a PEM text, or all. */
static void
look_at_pem(const char *key, const char *path, const struct buf *pem, bool all)
{
	struct certfile *file;
	char err[256];
	size_t i;

	if (pem->len == 0)
		return;
	file = certfile_read(buf_head(pem), pem->len, err, sizeof(err));
	for (i = 0; i < certfile_count(file) && (all || i == 0); i++)
		look_at(key, path, certfile_get(file, i));
	certfile_free(&file);
}

static bool
read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL)
		return false;
	while ((n = fread(buf_room(out, 8192), 1, 8192, f)) > 0 &&
	    out->len <= FILE_MAX)
		buf_grew(out, n);
	fclose(f);
	return true;
}

/* Clients were told to trust it. */
static void
look_at_private_ca(const struct buf *server)
{
	char *path = conf_cert_path(&P.given->conf, CONF_CA_CERT), err[256];
	struct buf pem = { 0 };
	struct certfile *ca = NULL, *own;

	own = certfile_read(server->data, server->len, err, sizeof(err));
	if (own != NULL && read_file(path, &pem))
		ca = certfile_read(buf_head(&pem), pem.len, err, sizeof(err));
	if (ca != NULL &&
	    strcmp(certfile_get(ca, 0)->subject,
		certfile_get(own, 0)->issuer) == 0)
		look_at("private CA", path, certfile_get(ca, 0));
	certfile_free(&ca);
	certfile_free(&own);
	buf_clear(&pem);
	free(path);
}

static void
look_at_chains(void)
{
	const struct given *g = P.given;
	struct conf_chain ch;
	struct buf pem;
	size_t at = 0, n;
	char *path;

	for (n = 0; conf_chain(&g->conf, n, &ch) &&
	     frames_next(&g->pem[PEM_SERVER_CERT], &at, &pem);
	     n++) {
		path = conf_cert_path(&g->conf, ch.file[CONF_CERT]);
		look_at_pem(conf_chain_key(n, CONF_CERT), path, &pem, false);
		free(path);
		look_at_private_ca(&pem);
	}
}

static void
look_at_client_cert(void)
{
	const struct given *g = P.given;
	char *path = conf_cert_path(&g->conf, g->conf.client_cert);

	/* without one of its own it is the server's, seen already */
	look_at_pem("client_cert", path, &g->pem[PEM_CLIENT_CERT], false);
	free(path);
}

/* What ca_cert and ca_path have is one text. */
static void
look_at_client_cas(void)
{
	const struct given *g = P.given;
	const char *one = g->conf.ca_cert, *more = g->conf.ca_path;
	char *first = conf_cert_path(&g->conf, one);
	char *second = conf_cert_path(&g->conf, more);
	char *either = xasprintf("%s or below %s", first, second);

	look_at_pem(one[0] != '\0' ? "ca_cert" : "ca_path",
	    more[0] == '\0'      ? first
		: one[0] == '\0' ? second
				 : either,
	    &g->pem[PEM_CLIENT_CA], true);
	free(first);
	free(second);
	free(either);
}

static void
look_at_all(found_fn *found)
{
	E.found = found;
	E.now = time(NULL);
	E.next_s = DAY_S;
	look_at_chains();
	look_at_client_cert();
	look_at_client_cas();
	free(E.seen);
	E.seen = NULL;
	E.nseen = 0;
}

/* ---- what is said ---- */

static const char *
date_of(int64_t when, char out[32])
{
	time_t t = (time_t)when;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		strcpy(out, "?");
	return out;
}

static void
describe(const char *key, const char *path, const struct certfile_cert *cert,
    int64_t left_s)
{
	long days = (long)(left_s / DAY_S);
	char when[32], *before = E.fresh, *in;

	if (left_s <= 0)
		in = xstrdup("has expired");
	else if (days == 0)
		in = xstrdup("expires within a day");
	else
		in = xasprintf(
		    "expires in %ld day%s", days, days == 1 ? "" : "s");
	E.fresh = xasprintf("%s%s%s: %s: \"%s\" %s (%s)",
	    before != NULL ? before : "", before != NULL ? "; " : "", key, path,
	    cert->subject, in, date_of(cert->not_after, when));
	free(before);
	free(in);
}

static void
log_it(const char *key, const char *path, const struct certfile_cert *cert,
    int64_t left_s)
{
	char when[32];

	log_warn("alarm",
	    "what=%s trouble=%s key=%s file=%s subject=%s until=%s days=%ld",
	    "files", "expiry", key, path, cert->subject,
	    date_of(cert->not_after, when),
	    left_s <= 0 ? -1L : (long)(left_s / DAY_S));
}

static bool
is_news(void)
{
	if (E.fresh == NULL || E.text == NULL)
		return E.fresh != E.text;
	return strcmp(E.fresh, E.text) != 0;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	parent_expiry_look();
}

void
parent_expiry_look(void)
{
	bool news;

	E.fresh = NULL;
	E.next_s = DAY_S;
	if (P.given->conf.cert_expiry_alarm > 0)
		look_at_all(describe);
	news = is_news();
	free(E.text);
	E.text = E.fresh;
	if (E.timer == NULL)
		E.timer = event_new(P.base, -1, EV_TIMEOUT, on_timer, NULL);
	parent_arm(E.timer, E.next_s * 1000);
	if (news && E.text != NULL) {
		look_at_all(log_it);
		parent_alarm("files", "expiry", E.text);
	} else if (news)
		parent_alarm_over("files", "expiry");
}
