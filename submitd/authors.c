/* The authors of a message: see authors.h. */
#include "authors.h"

#include <string.h>
#include <strings.h>

/* A field whose value is being read. */
struct reading {
	struct authors *a;
	enum policy_author_field field;
};

static bool
has_entry(const struct authors *a, const void *entry, size_t len)
{
	const char *list = (const char *)buf_head(&a->list);
	size_t at, n;

	/* offsets, for the list of none is NULL */
	for (at = 0; at < a->list.len; at += n) {
		n = 2 + strlen(list + at + 2) + 1;
		if (n == len && memcmp(list + at, entry, n) == 0)
			return true;
	}
	return false;
}

static void
add(struct authors *a, enum policy_author_field field, enum mailbox_rc wrong,
    const char *address)
{
	char entry[2 + MAILBOX_ADDRESS_MAX + 1];
	size_t n = strlen(address);

	entry[0] = (char)field;
	entry[1] = (char)wrong;
	memcpy(entry + 2, address, n + 1);
	n += 3;
	if (a->n > AUTHORS_MAX || has_entry(a, entry, n))
		return;
	if (++a->n > AUTHORS_MAX) { /* in the place of the last one */
		entry[1] = MAILBOX_LONG;
		entry[2] = '\0';
		n = 3;
	}
	buf_add(&a->list, entry, n);
}

static void
on_mailbox(void *arg, const char *address)
{
	const struct reading *r = arg;

	add(r->a, r->field, MAILBOX_OK, address);
}

static bool
field_of(enum header_id id, enum policy_author_field *field)
{
	switch (id) {
	case HEADER_FROM:
		*field = POLICY_AUTHOR_FROM;
		return true;
	case HEADER_SENDER:
		*field = POLICY_AUTHOR_SENDER;
		return true;
	case HEADER_RESENT_FROM:
		*field = POLICY_AUTHOR_RESENT_FROM;
		return true;
	case HEADER_RESENT_SENDER:
		*field = POLICY_AUTHOR_RESENT_SENDER;
		return true;
	default:
		return false;
	}
}

void
authors_add(struct authors *a, const struct header_field *f)
{
	struct reading r = { .a = a };
	enum mailbox_rc rc;

	if (!field_of(f->id, &r.field))
		return;
	/* a message can be resent several times, but has one author field */
	if (a->seen[r.field] &&
	    (r.field == POLICY_AUTHOR_FROM || r.field == POLICY_AUTHOR_SENDER))
		add(a, r.field, MAILBOX_TWICE, "");
	a->seen[r.field] = true;
	rc = mailbox_list(f->value, f->value_len, on_mailbox, &r);
	if (rc != MAILBOX_OK)
		add(a, r.field, rc, "");
}

void
authors_end(struct authors *a)
{
	if (!a->seen[POLICY_AUTHOR_FROM])
		add(a, POLICY_AUTHOR_FROM, MAILBOX_MISSING, "");
}

bool
authors_are(const struct authors *a, const char *address)
{
	const char *p = (const char *)buf_head(&a->list), *end;

	if (address[0] == '\0' || a->list.len == 0)
		return false;
	for (end = p + a->list.len; p < end; p += 2 + strlen(p + 2) + 1)
		if (p[1] != MAILBOX_OK || strcasecmp(p + 2, address) != 0)
			return false;
	return true;
}

void
authors_clear(struct authors *a)
{
	buf_clear(&a->list);
	memset(a, 0, sizeof(*a));
}

/* One entry; its length, or 0 if it is none. */
static size_t
read_entry(const unsigned char *p, size_t len, struct policy_author *out)
{
	const unsigned char *nul;

	if (len < 3 || p[0] >= POLICY_AUTHOR_FIELDS || p[1] >= MAILBOX_RCS ||
	    (nul = memchr(p + 2, '\0', len - 2)) == NULL)
		return 0;
	/* an address, or a reason why there is none */
	if ((p[1] == MAILBOX_OK) != (p[2] != '\0') ||
	    nul - (p + 2) > MAILBOX_ADDRESS_MAX)
		return 0;
	*out = (struct policy_author){
		.field = (enum policy_author_field)p[0],
		.wrong = p[1] != MAILBOX_OK
		    ? mailbox_text((enum mailbox_rc)p[1])
		    : NULL,
		.address = (const char *)p + 2,
	};
	return (size_t)(nul - p) + 1;
}

int
authors_read(
    const void *list, size_t len, struct policy_author *out, size_t max)
{
	const unsigned char *p = list, *end = p + len;
	size_t n, used;

	for (n = 0; p < end; n++, p += used)
		if (n == max ||
		    (used = read_entry(p, (size_t)(end - p), &out[n])) == 0)
			return -1;
	return (int)n;
}
