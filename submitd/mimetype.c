/* Content-Type and Content-Transfer-Encoding. */
#include "mimetype.h"

#include <string.h>
#include <strings.h>

struct text { /* what is left of a value */
	const char *p, *end;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Blanks, line ends and comments, which nest. */
static void
skip(struct text *t)
{
	unsigned depth = 0;

	for (; t->p < t->end; t->p++) {
		if (*t->p == '(')
			depth++;
		else if (depth > 0 && *t->p == '\\' && t->p + 1 < t->end)
			t->p++;
		else if (depth > 0 && *t->p == ')')
			depth--;
		else if (depth == 0 && !is_blank(*t->p))
			return;
	}
}

static bool
take(struct text *t, char c)
{
	skip(t);
	if (t->p == t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

static struct text
token(struct text *t)
{
	struct text out;

	skip(t);
	out.p = t->p;
	while (t->p<t->end && * t->p> ' ' && *t->p < 0x7f &&
	    strchr("()<>@,;:\\\"/[]?=", *t->p) == NULL)
		t->p++;
	out.end = t->p;
	return out;
}

static bool
is_word(struct text t, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(t.end - t.p) == n && strncasecmp(t.p, word, n) == 0;
}

/* The bytes of a parameter's value; a token may hold more than RFC 2045 lets
 * it, as in boundary=----=_Part_1. Returns its length, above size: too long. */
static size_t
parameter(struct text *t, char *out, size_t size)
{
	size_t n = 0;
	bool quoted = take(t, '"');

	for (; t->p < t->end; t->p++) {
		if (quoted && *t->p == '"')
			break;
		if (!quoted && (is_blank(*t->p) || *t->p == ';'))
			break;
		if (quoted && *t->p == '\\' && t->p + 1 < t->end)
			t->p++;
		if (*t->p == '\r' || *t->p == '\n')
			continue; /* a fold */
		if (n < size)
			out[n] = *t->p;
		n++;
	}
	if (quoted && t->p < t->end)
		t->p++;
	return n;
}

/* What a delimiter may hold. The blank that ends none, for instance: who cuts
 * blanks at the end of a line would read another one. */
static bool
is_boundary(const char *s, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (s[i] < ' ' || s[i] > '~')
			return false;
	return n > 0 && s[n - 1] != ' ';
}

static void
parameters(struct text *t, struct mimetype *m)
{
	char value[MIME_BOUNDARY_MAX];
	struct text name;
	size_t n;

	while (take(t, ';')) {
		name = token(t);
		if (!take(t, '='))
			continue;
		n = parameter(t, value, sizeof(value));
		if (!is_word(name, "boundary"))
			continue;
		m->doubtful |= m->boundary[0] != '\0' ||
		    memchr(value, '(', n < sizeof(value) ? n : 0) != NULL;
		if (n <= sizeof(value) && is_boundary(value, n)) {
			memcpy(m->boundary, value, n);
			m->boundary[n] = '\0';
		}
	}
}

static enum mime_kind
message_kind(struct text sub)
{
	static const char *const encodable[] = { "global", "global-headers",
		"global-delivery-status", "global-disposition-notification" };
	size_t i;

	if (is_word(sub, "rfc822"))
		return MIME_MESSAGE;
	for (i = 0; i < sizeof(encodable) / sizeof(encodable[0]); i++)
		if (is_word(sub, encodable[i])) /* RFC 6532, RFC 6533 */
			return MIME_TEXT;
	return MIME_FIXED;
}

void
mimetype_parse(const char *value, size_t len, struct mimetype *m)
{
	struct text t = { value, value + len }, type, sub;

	*m = (struct mimetype){ .kind = MIME_DATA };
	type = token(&t);
	if (type.p == type.end || !take(&t, '/'))
		return;
	sub = token(&t);
	if (is_word(type, "text")) {
		m->kind = MIME_TEXT;
	} else if (is_word(type, "message")) {
		m->kind = message_kind(sub);
	} else if (is_word(type, "multipart")) {
		parameters(&t, m);
		m->kind = m->boundary[0] != '\0' ? MIME_MULTIPART : MIME_FIXED;
		m->frozen = is_word(sub, "signed") || is_word(sub, "encrypted");
		m->digest = is_word(sub, "digest");
	}
}

enum mime_encoding
mimetype_encoding(const char *value, size_t len)
{
	static const struct {
		const char *word;
		enum mime_encoding encoding;
	} words[] = {
		{ "7bit", MIME_7BIT },
		{ "8bit", MIME_8BIT },
		{ "binary", MIME_BINARY },
		{ "quoted-printable", MIME_QP },
		{ "base64", MIME_BASE64 },
	};
	struct text t = { value, value + len }, word = token(&t);
	size_t i;

	skip(&t);
	for (i = 0; t.p == t.end && i < sizeof(words) / sizeof(words[0]); i++)
		if (is_word(word, words[i].word))
			return words[i].encoding;
	return MIME_OTHER;
}
