/* The GS2 header of a SCRAM exchange (gs2.h). */
#include "gs2.h"

#include <stdbool.h>
#include <string.h>

/* What is left of a message. */
struct text {
	const unsigned char *p;
	size_t len;
};

static bool
take(struct text *t, const char *token)
{
	size_t n = strlen(token);

	if (t->len < n || memcmp(t->p, token, n) != 0)
		return false;
	t->p += n;
	t->len -= n;
	return true;
}

/* The octets before the next comma or the end. */
static size_t
value(struct text *t)
{
	const unsigned char *comma =
	    t->len > 0 ? memchr(t->p, ',', t->len) : NULL;
	size_t n = comma != NULL ? (size_t)(comma - t->p) : t->len;

	t->p += n;
	t->len -= n;
	return n;
}

static bool
is_name(const unsigned char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "abcdefghijklmnopqrstuvwxyz0123456789.-",
			p[i]) == NULL)
			return false;
	return n > 0 && n < GS2_NAME_MAX;
}

static const char *
flag(struct text *t, struct gs2 *out)
{
	const unsigned char *name;
	size_t n;

	if (take(t, "n")) {
		out->flag = GS2_NONE;
	} else if (take(t, "y")) {
		out->flag = GS2_UNSEEN;
	} else if (take(t, "p=")) {
		out->flag = GS2_BOUND;
		name = t->p;
		n = value(t);
		if (!is_name(name, n))
			return "bad name of a channel binding";
		memcpy(out->binding, name, n);
	} else {
		return "no GS2 header";
	}
	return take(t, ",") ? NULL : "bad GS2 header";
}

const char *
gs2_parse(const unsigned char *msg, size_t len, struct gs2 *out)
{
	struct text t = { msg, len };
	const char *why;

	memset(out, 0, sizeof(*out));
	if (len == 0 || len > GS2_MESSAGE_MAX)
		return "empty or too long";
	if (memchr(msg, '\0', len) != NULL)
		return "NUL in the message";
	if ((why = flag(&t, out)) != NULL)
		return why;
	if (take(&t, "a=") && value(&t) == 0)
		return "empty authorization identity";
	if (!take(&t, ","))
		return "bad GS2 header";
	out->header_len = len - t.len;
	if (take(&t, "m="))
		return "unknown mandatory extension";
	if (!take(&t, "n=") || value(&t) == 0)
		return "no user name";
	if (!take(&t, ",r=") || value(&t) == 0)
		return "no nonce";
	return NULL;
}
