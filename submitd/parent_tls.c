/*
 * What parent says of TLS: which OCSP responses can be sent along with our
 * certificates and which can't, and that old devices are let in.  A new
 * response is given to fronts that run, no session ends for it.
 */
#include "parent_int.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "mem.h"
#include "tls.h"

/* What was said of each file. */
static struct said {
	char *file, *trouble; /* NULL: it is good */
	int64_t until;
} * said;
static size_t nsaid;

static const struct said *
find(const char *file)
{
	size_t i;

	for (i = 0; i < nsaid; i++)
		if (strcmp(said[i].file, file) == 0)
			return &said[i];
	return NULL;
}

static void
say_trouble(const struct given_staple *s)
{
	log_warn("ocsp", "file=%s must=%s error=%s", s->file,
	    s->must ? "yes" : "no", s->trouble);
}

static void
say_good(const struct given_staple *s)
{
	time_t t = (time_t)s->until;
	char when[32] = "";
	struct tm tm;

	if (gmtime_r(&t, &tm) != NULL)
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	log_info("ocsp", "file=%s until=%s", s->file, when);
}

/* Only what is news; whether it was. */
static bool
say(const struct given_staple *s)
{
	const struct said *before = find(s->file);

	if (s->trouble != NULL) {
		if (before != NULL && before->trouble != NULL &&
		    strcmp(before->trouble, s->trouble) == 0)
			return false;
		say_trouble(s);
	} else if (s->until != 0) {
		if (before != NULL && before->until == s->until &&
		    before->trouble == NULL)
			return false;
		say_good(s);
	} else if (before != NULL && before->trouble == NULL)
		return false;
	return true;
}

static void
remember(const struct given *g)
{
	size_t i;

	while (nsaid > 0) {
		free(said[--nsaid].file);
		free(said[nsaid].trouble);
	}
	said = xrealloc(said, (g->staples + 1) * sizeof(*said));
	for (i = 0; i < g->staples; i++) {
		const struct given_staple *s = &g->staple[i];

		said[nsaid++] = (struct said){ xstrdup(s->file),
			s->trouble != NULL ? xstrdup(s->trouble) : NULL,
			s->until };
	}
}

/* One alarm, about all of them. */
static void
raise_alarm(const struct given *g)
{
	char *text = NULL, *more;
	size_t i;

	for (i = 0; i < g->staples; i++) {
		const struct given_staple *s = &g->staple[i];

		if (s->trouble == NULL)
			continue;
		more = xasprintf("%s%s%s: no OCSP response is sent%s: %s",
		    text != NULL ? text : "", text != NULL ? "; " : "", s->file,
		    s->must ? ", clients may refuse the certificate" : "",
		    s->trouble);
		free(text);
		text = more;
	}
	if (text != NULL)
		parent_alarm("files", "ocsp", text);
	else
		parent_alarm_over("files", "ocsp");
	free(text);
}

void
parent_tls_tell(void)
{
	const struct given *g = P.given;
	bool news = g->staples != nsaid;
	size_t i;

	for (i = 0; i < g->staples; i++)
		news |= say(&g->staple[i]);
	if (news)
		raise_alarm(g);
	remember(g);
}

void
parent_tls_policy(void)
{
	if (P.given->conf.tls_policy == TLS_COMPATIBLE)
		log_warn("tls-policy", "side=clients note=%s",
		    "tls_policy is compatible: CBC ciphers, and sessions that "
		    "whoever gets the server's key can read later");
	if (P.given->conf.smarthost_tls_policy == TLS_COMPATIBLE)
		log_warn("tls-policy", "side=smarthost note=%s",
		    "smarthost.tls_policy is compatible: CBC ciphers, and no "
		    "forward secrecy if the smarthost has none");
}

void
parent_tls_staples(struct given *from)
{
	const struct buf *b = &P.given->pem[PEM_SERVER_OCSP];
	const struct proc *p;

	if (given_take_staples(P.given, from))
		TAILQ_FOREACH(p, &P.procs, link)
			if (p->role == ROLE_FRONT && p->set != NULL &&
			    p->set->given == P.given &&
			    p->state != PROC_DRAINING)
				parent_give_bytes(
				    p, PEM_SERVER_OCSP, buf_head(b), b->len);
	parent_tls_tell();
}
