/*
 * What clients are shown: chains, their keys, and the OCSP responses that go
 * with them.  A pair that is no good refuses the configuration.  When files
 * are renewed it keeps the one before it, so that one who forgot to renew the
 * certificate of one name does not keep the others from being renewed.  A
 * response that is no good is left out, in any case: there is a new one soon.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frames.h"
#include "given_int.h"
#include "tls.h"

enum { WHY_MAX = 1024 };

/* As of c, but about a file of a chain. */
static struct check
about(const struct check *c, const struct conf_chain *ch,
    enum conf_chain_part part)
{
	struct check at = *c;

	at.line = ch->line[part];
	return at;
}

static int
read_part(const struct check *c, size_t n, const struct conf_chain *ch,
    enum conf_chain_part part, struct buf *out)
{
	struct check at = about(c, ch, part);
	char *path = conf_cert_path(&c->g->conf, ch->file[part]);
	int rc;

	out->secret = part == CONF_KEY;
	if ((rc = given_check_name(
		 &at, conf_chain_key(n, part), ch->file[part])) == 0)
		rc = given_read_file(
		    &at, conf_chain_key(n, part), path, out->secret, out);
	free(path);
	return rc;
}

/* Where there is but one pair the key says enough. */
static int
check_parts(const struct check *c, size_t n, const struct conf_chain *ch,
    const struct buf part[])
{
	enum conf_chain_part bad = CONF_CERT;
	struct check at;
	char why[256];

	if (tls_check_pair(
		&part[CONF_CERT], &part[CONF_KEY], why, sizeof(why)) == 0)
		return 0;
	if (strstr(why, "private key") != NULL)
		bad = CONF_KEY;
	at = about(c, ch, bad);
	return n == 0 ? given_wrong(&at, conf_chain_key(n, bad), "%s", why)
		      : given_wrong(&at, conf_chain_key(n, bad), "%s: %s",
			    ch->file[bad], why);
}

static bool
nth(const struct buf *frames, size_t n, struct buf *out)
{
	size_t at = 0, i;

	for (i = 0; i <= n; i++)
		if (!frames_next(frames, &at, out))
			return false;
	return true;
}

/* The pair of before takes the place of one that is no good. */
static int
keep_old(const struct check *c, size_t n, struct buf part[])
{
	const struct given *old = c->old;
	struct buf cert, key;

	if (old == NULL || !nth(&old->pem[PEM_SERVER_CERT], n, &cert) ||
	    !nth(&old->pem[PEM_SERVER_KEY], n, &key))
		return -1;
	if (c->g->held == NULL) /* the first one is told */
		c->g->held = xstrdup(c->err);
	buf_wipe(&part[CONF_CERT]);
	buf_wipe(&part[CONF_KEY]);
	part[CONF_KEY].secret = true;
	buf_add(&part[CONF_CERT], cert.data, cert.len);
	buf_add(&part[CONF_KEY], key.data, key.len);
	return 0;
}

static int
load_pair(const struct check *c, size_t n, const struct conf_chain *ch,
    struct buf part[])
{
	if (read_part(c, n, ch, CONF_CERT, &part[CONF_CERT]) == 0 &&
	    read_part(c, n, ch, CONF_KEY, &part[CONF_KEY]) == 0 &&
	    check_parts(c, n, ch, part) == 0)
		return 0;
	return keep_old(c, n, part);
}

/* ---- OCSP responses ---- */

static void
judge_staple(const struct check *c, size_t n, const struct conf_chain *ch,
    struct buf part[], struct given_staple *s)
{
	char why[WHY_MAX] = "";
	struct check quiet = *c;

	quiet.err = why;
	quiet.errlen = sizeof(why);
	quiet.renewal = true; /* without file and line */
	if (read_part(&quiet, n, ch, CONF_OCSP, &part[CONF_OCSP]) == 0 &&
	    tls_check_staple(&part[CONF_CERT], &part[CONF_OCSP], time(NULL),
		&s->until, why, sizeof(why)) == 0)
		return;
	s->trouble = xstrdup(why);
	buf_clear(&part[CONF_OCSP]);
}

static void
load_staple(const struct check *c, size_t n, const struct conf_chain *ch,
    struct buf part[])
{
	bool wanted = ch->file[CONF_OCSP][0] != '\0';
	struct given_staple *s = &c->g->staple[n];
	struct buf frame = { 0 };

	s->file = conf_cert_path(
	    &c->g->conf, ch->file[wanted ? CONF_OCSP : CONF_CERT]);
	s->must = tls_must_staple(&part[CONF_CERT]);
	if (wanted)
		judge_staple(c, n, ch, part, s);
	else if (s->must)
		s->trouble = xasprintf(
		    "there is none (%s)", conf_chain_key(n, CONF_OCSP));
	if (part[CONF_OCSP].len > 0) {
		buf_add(&frame, &s->until, sizeof(s->until));
		buf_add(
		    &frame, buf_head(&part[CONF_OCSP]), part[CONF_OCSP].len);
	}
	frames_add(&c->g->pem[PEM_SERVER_OCSP], buf_head(&frame), frame.len);
	buf_clear(&frame);
}

static int
load_chain(const struct check *c, size_t n, const struct conf_chain *ch)
{
	struct buf part[CONF_CHAIN_PARTS] = { { 0 }, { 0 }, { 0 } };
	struct given *g = c->g;
	int rc;

	if ((rc = load_pair(c, n, ch, part)) == 0) {
		frames_add(&g->pem[PEM_SERVER_CERT], buf_head(&part[CONF_CERT]),
		    part[CONF_CERT].len);
		frames_add(&g->pem[PEM_SERVER_KEY], buf_head(&part[CONF_KEY]),
		    part[CONF_KEY].len);
		load_staple(c, n, ch, part);
	}
	buf_clear(&part[CONF_CERT]);
	buf_wipe(&part[CONF_KEY]);
	buf_clear(&part[CONF_OCSP]);
	return rc;
}

int
given_load_chains(const struct check *c)
{
	struct conf_chain ch;
	struct given *g = c->g;
	size_t n;

	g->pem[PEM_SERVER_KEY].secret = true;
	g->staple = xcalloc(g->conf.chains + 1, sizeof(*g->staple));
	for (n = 0; conf_chain(&g->conf, n, &ch); n++) {
		g->staples = n + 1;
		if (load_chain(c, n, &ch) == -1)
			return -1;
	}
	return 0;
}

void
given_free_chains(struct given *g)
{
	while (g->staples > 0) {
		free(g->staple[--g->staples].file);
		free(g->staple[g->staples].trouble);
	}
	free(g->staple);
	free(g->held);
}

bool
given_take_staples(struct given *g, struct given *from)
{
	struct buf *mine = &g->pem[PEM_SERVER_OCSP];
	struct buf *theirs = &from->pem[PEM_SERVER_OCSP], swap = *mine;
	struct given_staple *staple = g->staple;
	bool other;

	if (g->staples != from->staples)
		return false;
	other = mine->len != theirs->len ||
	    memcmp(buf_head(mine), buf_head(theirs), mine->len) != 0;
	*mine = *theirs;
	*theirs = swap;
	g->staple = from->staple;
	from->staple = staple;
	return other;
}
