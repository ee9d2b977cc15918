/*
 * Fuzz target: text of an access map.  What has been read can be written and
 * read again with the same meaning, values that passed the check can be taken
 * apart, and nothing that is told has an octet a terminal would act on.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/accesscheck.h"
#include "store/accessmap.h"
#include "store/accessval.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
check_text(const char *s)
{
	assert(*s != '\0');
	for (; *s != '\0'; s++)
		assert(*s >= 0x20 && *s <= 0x7e);
}

/* A line that is written holds one entry, and it is this one. */
static void
check_again(const struct accessmap_entry *e, bool marked)
{
	char line[ACCESSMAP_LINE_MAX + 1];
	struct accessmap *m;

	if (accessmap_format(e->key, e->value, line, sizeof(line)) == -1 ||
	    strncmp(line, ACCESSMAP_MARK, strlen(ACCESSMAP_MARK)) == 0)
		return;
	m = accessmap_parse(line, strlen(line));
	assert(m->nentries == 1);
	assert(strcmp(m->entry[0].key, e->key) == 0);
	assert(strcmp(m->entry[0].value, e->value) == 0);
	assert(m->entry[0].tag == e->tag);
	assert(
	    m->entry[0].malformed == e->malformed || (marked && e->line == 1));
	accessmap_free(&m);
}

static void
check_value(const struct accessmap_entry *e)
{
	struct accessval_tls tls;
	struct accessval_reply reply;
	const char *why = NULL;
	int rc = accessval_tls(e->value, &tls, &why);

	assert((rc == -1) == (why != NULL));
	if (e->tag <= ACCESSMAP_TLS_USER && rc == -1)
		assert(e->malformed);
	why = NULL;
	rc = accessval_reply(e->value, &reply, &why);
	assert((rc == -1) == (why != NULL));
	if (e->tag >= ACCESSMAP_CONNECT && e->tag <= ACCESSMAP_UNTAGGED &&
	    rc == -1)
		assert(e->malformed);
	if (rc == 0 && reply.kind == ACCESSVAL_ERROR)
		assert(reply.code >= 400 && reply.code <= 599);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct accessmap *m = accessmap_parse((const char *)data, len);
	bool marked = len >= 3 && memcmp(data, ACCESSMAP_MARK, 3) == 0;
	size_t errors = 0;
	int line = 0;

	for (size_t i = 0; i < m->nentries; i++) {
		assert(m->entry[i].line >= line);
		line = m->entry[i].line;
		assert(m->entry[i].tag != ACCESSMAP_FOREIGN);
		check_value(&m->entry[i]);
		check_again(&m->entry[i], marked);
	}
	for (size_t i = 0; i < m->nnotes; i++) {
		check_text(m->note[i].text);
		errors += m->note[i].level == ACCESSMAP_ERROR;
	}
	assert(errors == m->nerrors);
	accessmap_free(&m);
	return 0;
}
