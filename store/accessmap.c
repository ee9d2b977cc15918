/*
 * Text of the access map, both ways. The format is in accessmap.h.
 */
#include "accessmap.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "accesscheck.h"
#include "accessval.h"

static const struct {
	const char *name;
	enum accessmap_tag tag;
} tags[] = {
	{ "TLS_Clt", ACCESSMAP_TLS_CLT },
	{ "TLS_Srv", ACCESSMAP_TLS_SRV },
	{ "TLS_Rcpt", ACCESSMAP_TLS_RCPT },
	{ "TLS_User", ACCESSMAP_TLS_USER },
	{ "Try_TLS", ACCESSMAP_TRY_TLS },
	{ "Srv_Features", ACCESSMAP_SRV_FEATURES },
	{ "CertIssuer", ACCESSMAP_CERT_ISSUER },
	{ "CertSubject", ACCESSMAP_CERT_SUBJECT },
	{ "Connect", ACCESSMAP_CONNECT },
	{ "From", ACCESSMAP_FROM },
	{ "To", ACCESSMAP_TO },
	{ "AuthInfo", ACCESSMAP_FOREIGN },
	{ "Spam", ACCESSMAP_FOREIGN },
	{ "ClientRate", ACCESSMAP_FOREIGN },
	{ "ClientConn", ACCESSMAP_FOREIGN },
	{ "GreetPause", ACCESSMAP_FOREIGN },
	{ "Clt_Features", ACCESSMAP_FOREIGN },
	{ "TLS_Clt_Features", ACCESSMAP_FOREIGN },
	{ "TLS_Srv_Features", ACCESSMAP_FOREIGN },
	{ "IPv6", ACCESSMAP_UNTAGGED },
};

#define NTAGS (sizeof(tags) / sizeof(tags[0]))

/* Length of the word that ends at a colon, 0 if there is none. */
static size_t
word_length(const char *key)
{
	size_t n = 0;

	while (isalnum((unsigned char)key[n]) || key[n] == '_' || key[n] == '-')
		n++;
	return key[n] == ':' ? n : 0;
}

enum accessmap_tag
accessmap_tag(const char *key, const char **operand)
{
	size_t len = word_length(key);

	*operand = key;
	if (len == 0)
		return ACCESSMAP_UNTAGGED;
	for (size_t i = 0; i < NTAGS; i++) {
		if (strlen(tags[i].name) != len ||
		    strncasecmp(key, tags[i].name, len) != 0)
			continue;
		if (tags[i].tag != ACCESSMAP_UNTAGGED)
			*operand = key + len + 1;
		return tags[i].tag;
	}
	*operand = key + len + 1;
	return ACCESSMAP_WORD;
}

const char *
accessmap_tag_name(enum accessmap_tag tag)
{
	if (tag < ACCESSMAP_UNTAGGED) {
		for (size_t i = 0; i < NTAGS; i++) {
			if (tags[i].tag == tag)
				return tags[i].name;
		}
	}
	return "";
}

static char
folded(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

void
accessmap_fold(char *key)
{
	for (; *key != '\0'; key++)
		*key = folded(*key);
}

static int
compare_folded(const char *a, const char *b)
{
	while (*a != '\0' && folded(*a) == folded(*b)) {
		a++;
		b++;
	}
	return (unsigned char)folded(*a) - (unsigned char)folded(*b);
}

/* Room for one more of count elements; doubles, starting with 16. */
static void *
grow(void *array, size_t count, size_t size)
{
	if (count >= 16 && (count & (count - 1)) != 0)
		return array;
	if (count != 0 && count < 16)
		return array;
	if ((array = reallocarray(array, count == 0 ? 16 : count * 2, size)) ==
	    NULL)
		abort();
	return array;
}

static char *
copy(const char *s, size_t len)
{
	char *p = malloc(len + 1);

	if (p == NULL)
		abort();
	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

/* The map that is being read, and the line it stands at. */
struct reader {
	struct accessmap *map;
	int line;
	bool marked; /* a byte order mark begins the text */
};

static void
note(void *arg, enum accessmap_level level, const char *text)
{
	struct reader *r = arg;
	struct accessmap *m = r->map;
	struct accessmap_note *n;

	m->note = grow(m->note, m->nnotes, sizeof(*m->note));
	n = &m->note[m->nnotes++];
	n->line = r->line;
	n->level = level;
	snprintf(n->text, sizeof(n->text), "%s", text);
	if (level == ACCESSMAP_ERROR)
		m->nerrors++;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void
add_entry(struct reader *r, const char *key, size_t klen, const char *value,
    size_t vlen)
{
	struct accessmap *m = r->map;
	struct accessmap_entry e = { .line = r->line };
	const char *operand;

	e.key = copy(key, klen);
	e.value = copy(value, vlen);
	e.tag = accessmap_tag(e.key, &operand);
	e.malformed = accesscheck_entry(e.key, e.value, note, r) == -1 ||
	    (r->marked && r->line == 1);
	if (e.tag == ACCESSMAP_FOREIGN) {
		explicit_bzero(e.value, vlen);
		free(e.key);
		free(e.value);
		return;
	}
	m->entry = grow(m->entry, m->nentries, sizeof(*m->entry));
	m->entry[m->nentries++] = e;
}

/* One line without its newline. */
static void
read_line(struct reader *r, const char *line, size_t len)
{
	size_t key = 0, value;

	while (len > 0 && is_space(line[len - 1]))
		len--;
	if (len == 0 || line[0] == '#')
		return;
	if (memchr(line, '\0', len) != NULL) {
		note(r, ACCESSMAP_ERROR, "the line has a NUL octet");
		return;
	}
	if (is_space(line[0])) {
		note(r, ACCESSMAP_ERROR,
		    "the line begins with white space: entries are not "
		    "continued on a second line as in Postfix tables");
		return;
	}
	while (key < len && !is_space(line[key]))
		key++;
	for (value = key; value < len && is_space(line[value]);)
		value++;
	if (value == len) {
		note(r, ACCESSMAP_ERROR, "the key has no value");
		return;
	}
	add_entry(r, line, key, line + value, len - value);
}

/* makemap would take it as a part of the first key, which then matches
 * nothing. */
static size_t
skip_mark(struct reader *r, const char *text, size_t len)
{
	size_t n = sizeof(ACCESSMAP_MARK) - 1;

	if (len < n || memcmp(text, ACCESSMAP_MARK, n) != 0)
		return 0;
	r->line = 1;
	note(r, ACCESSMAP_ERROR,
	    "the file begins with a byte order mark (EF BB BF): save it as "
	    "plain UTF-8, without");
	r->line = 0;
	r->marked = true;
	return n;
}

/*
 * Like makemap, which reads into a buffer of fixed size: a line that is too
 * long is dropped up to there, and its tail is a line of its own.
 */
static void
read_text(struct reader *r, const char *text, size_t len)
{
	size_t at = skip_mark(r, text, len);

	while (at < len) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = end != NULL ? (size_t)(end - text) - at : len - at;

		r->line++;
		while (n > ACCESSMAP_LINE_MAX) {
			note(r, ACCESSMAP_ERROR, "the line is too long");
			at += ACCESSMAP_LINE_MAX + 1;
			n -= ACCESSMAP_LINE_MAX + 1;
		}
		read_line(r, text + at, n);
		at += n + 1;
	}
}

static int
by_key(const void *a, const void *b)
{
	const struct accessmap_entry *x = *(struct accessmap_entry *const *)a;
	const struct accessmap_entry *y = *(struct accessmap_entry *const *)b;
	int c = compare_folded(x->key, y->key);

	if (c != 0)
		return c;
	return (x > y) - (x < y);
}

static void
free_entry(struct accessmap_entry *e)
{
	free(e->key);
	free(e->value);
	e->key = NULL;
}

static void
note_double(struct reader *r, const struct accessmap_entry *e, int first)
{
	char text[ACCESSMAP_NOTE_SIZE];

	r->line = e->line;
	snprintf(text, sizeof(text),
	    "the key stands in line %d already, which stays in force", first);
	note(r, ACCESSMAP_WARNING, text);
}

static void
drop_freed(struct accessmap *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->nentries; i++) {
		if (m->entry[i].key != NULL)
			m->entry[kept++] = m->entry[i];
	}
	m->nentries = kept;
}

static void
drop_doubles(struct reader *r)
{
	struct accessmap *m = r->map;
	struct accessmap_entry **sorted, *first = NULL;

	if ((sorted = calloc(
		 m->nentries + 1, sizeof(struct accessmap_entry *))) == NULL)
		abort();
	for (size_t i = 0; i < m->nentries; i++)
		sorted[i] = &m->entry[i];
	qsort(sorted, m->nentries, sizeof(struct accessmap_entry *), by_key);
	for (size_t i = 0; i < m->nentries; i++) {
		if (first == NULL ||
		    compare_folded(first->key, sorted[i]->key) != 0) {
			first = sorted[i];
			continue;
		}
		note_double(r, sorted[i], first->line);
		free_entry(sorted[i]);
	}
	free(sorted);
	drop_freed(m);
}

/* Is the operand of a TLS_Clt entry a name, which rests on the client's DNS? */
static bool
is_name(const char *operand)
{
	return operand[0] != '\0' && operand[0] != '[' &&
	    strncasecmp(operand, "IPv6", 4) != 0 &&
	    strspn(operand, "0123456789.") != strlen(operand);
}

static bool
demands_more(const struct accessval_tls *a, const struct accessval_tls *than)
{
	return (a->verify && !than->verify) || a->bits > than->bits ||
	    (a->nitems > 0 && than->nitems == 0);
}

static struct accessval_tls
default_requirement(const struct accessmap *m)
{
	struct accessval_tls req = { 0 };

	for (size_t i = 0; i < m->nentries; i++) {
		if (compare_folded(m->entry[i].key, "tls_clt:") == 0 &&
		    accessval_tls(m->entry[i].value, &req, NULL) == 0)
			return req;
	}
	return (struct accessval_tls){ 0 };
}

/*
 * A client can break its own reverse DNS and become "[address]", so a demand
 * on a name protects nothing unless the default demands as much.
 */
static void
note_evadable(struct reader *r)
{
	struct accessval_tls req, def = default_requirement(r->map);
	const char *operand;

	for (size_t i = 0; i < r->map->nentries; i++) {
		const struct accessmap_entry *e = &r->map->entry[i];

		if (e->tag != ACCESSMAP_TLS_CLT || e->malformed)
			continue;
		accessmap_tag(e->key, &operand);
		if (!is_name(operand) ||
		    accessval_tls(e->value, &req, NULL) == -1 ||
		    !demands_more(&req, &def))
			continue;
		r->line = e->line;
		note(r, ACCESSMAP_WARNING,
		    "demands more than the entry TLS_Clt: does; a client "
		    "evades it by breaking its reverse DNS");
	}
}

static int
by_line(const void *a, const void *b)
{
	const struct accessmap_note *x = a, *y = b;

	if (x->line != y->line)
		return (x->line > y->line) - (x->line < y->line);
	return (x->level < y->level) - (x->level > y->level);
}

struct accessmap *
accessmap_parse(const char *text, size_t len)
{
	struct reader r = { 0 };

	if ((r.map = calloc(1, sizeof(*r.map))) == NULL)
		abort();
	read_text(&r, text, len);
	drop_doubles(&r);
	note_evadable(&r);
	if (r.map->nnotes > 1)
		qsort(
		    r.map->note, r.map->nnotes, sizeof(*r.map->note), by_line);
	return r.map;
}

void
accessmap_free(struct accessmap **map)
{
	struct accessmap *m = *map;

	if (m == NULL)
		return;
	for (size_t i = 0; i < m->nentries; i++)
		free_entry(&m->entry[i]);
	free(m->entry);
	free(m->note);
	free(m);
	*map = NULL;
}

int
accessmap_format(const char *key, const char *value, char *line, size_t size)
{
	size_t klen = strlen(key), vlen = strlen(value);

	if (klen == 0 || vlen == 0 || klen + 1 + vlen > ACCESSMAP_LINE_MAX ||
	    klen + 1 + vlen >= size || key[0] == '#' || is_space(value[0]) ||
	    is_space(value[vlen - 1]) || strchr(value, '\n') != NULL)
		return -1;
	for (size_t i = 0; i < klen; i++) {
		if (is_space(key[i]))
			return -1;
	}
	memcpy(line, key, klen);
	line[klen] = '\t';
	memcpy(line + klen + 1, value, vlen + 1);
	return 0;
}
