/* What is passed on of an entry that keeps mail back: see ruled.h. */
#include "ruled.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
or_empty(const char *s)
{
	return s != NULL ? s : "";
}

void
ruled_text(const struct policy_facts *f, const struct policy_verdict *v,
    char out[RULED_MAX])
{
	int n = snprintf(out, RULED_MAX, "%.32s\t%.16s\t%d\t%.*s\t%.*s\t%.*s\n",
	    policy_why_name(v->why), or_empty(f->verify),
	    f->cipher_bits > 0 ? f->cipher_bits : 0, CERTNAME_SIZE - 1,
	    or_empty(f->cn_subject), CERTNAME_SIZE - 1,
	    or_empty(f->cert_subject), CERTNAME_SIZE - 1,
	    or_empty(f->cert_issuer));

	ladder_text(v, out + n);
}

/* A field up to a tab or the end of the line, or NULL if it does not fit. */
static const char *
take(const char *p, char *out, size_t size)
{
	size_t n;

	if (p == NULL || (n = strcspn(p, "\t\n")) >= size || p[n] == '\0')
		return NULL;
	memcpy(out, p, n);
	out[n] = '\0';
	return p + n + 1;
}

int
ruled_parse(const char *text, struct ruled *r)
{
	const char *p = text;
	struct ladder_step s;
	char bits[8];

	memset(r, 0, sizeof(*r));
	p = take(p, r->why, sizeof(r->why));
	p = take(p, r->verify, sizeof(r->verify));
	p = take(p, bits, sizeof(bits));
	p = take(p, r->cn, sizeof(r->cn));
	p = take(p, r->subject, sizeof(r->subject));
	p = take(p, r->issuer, sizeof(r->issuer));
	if (p == NULL || p[-1] != '\n')
		return -1;
	r->bits = atoi(bits);
	r->ladder = p;
	while ((p = ladder_next(p, &s)) != NULL)
		if (strcmp(s.rule, "...") != 0)
			r->last = s;
	return r->last.rule[0] != '\0' ? 0 : -1;
}
