/*
 * Fuzz target: right-hand sides of the access map, alone.  The input is one.
 *
 * A requirement that was taken apart can be put together and means the same
 * then; its items lie within the value.  A reply has a code that refuses, an
 * enhanced code or none, and a text of printable ASCII.  The tokens of a value
 * are those of their own text.  Every check agrees with the function that the
 * decision uses, and says why it refuses.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/accesscheck.h"
#include "store/accessval.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* ---- requirements ---- */

static void
format_item(FILE *out, const struct accessval_item *item)
{
	static const char *const words[] = {
		[ACCESSVAL_CN_HOST] = "CN",
		[ACCESSVAL_CN] = "CN:",
		[ACCESSVAL_CS] = "CS:",
		[ACCESSVAL_CI] = "CI:",
		[ACCESSVAL_CITAG] = "CITag:",
	};

	fprintf(out, "%s%.*s", words[item->kind], (int)item->len,
	    item->kind == ACCESSVAL_CN_HOST ? "" : item->arg);
}

static char *
format_tls(const struct accessval_tls *t)
{
	static const char *const prefixes[] = {
		[ACCESSVAL_PLAIN] = "",
		[ACCESSVAL_PERM] = "PERM+",
		[ACCESSVAL_TEMP] = "TEMP+",
	};
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert(out != NULL);
	fprintf(
	    out, "%s%s", prefixes[t->prefix], t->verify ? "VERIFY" : "ENCR");
	if (t->has_bits)
		fprintf(out, ":%ld", t->bits);
	for (size_t i = 0; i < t->nitems; i++) {
		fputs(i == 0 ? "+" : "++", out);
		format_item(out, &t->item[i]);
	}
	assert(fclose(out) == 0);
	return text;
}

static void
check_same(const struct accessval_tls *a, const struct accessval_tls *b)
{
	assert(b->required && a->prefix == b->prefix);
	assert(a->verify == b->verify && a->has_bits == b->has_bits);
	assert(a->bits == b->bits && a->nitems == b->nitems);
	for (size_t i = 0; i < a->nitems; i++) {
		const struct accessval_item *x = &a->item[i], *y = &b->item[i];

		assert(x->kind == y->kind && x->len == y->len);
		assert(x->len == 0 || memcmp(x->arg, y->arg, x->len) == 0);
	}
}

static void
check_tls(const char *value)
{
	struct accessval_tls t, again;
	const char *why = NULL;
	int rc = accessval_tls(value, &t, &why);
	char *text;

	assert((rc == -1) == (why != NULL));
	if (rc == -1)
		return;
	if (!t.required) {
		assert(!t.verify && !t.has_bits && t.nitems == 0);
		return;
	}
	assert(t.verify || t.has_bits);
	assert(t.bits >= 0 && t.nitems <= ACCESSVAL_ITEMS_MAX);
	for (size_t i = 0; i < t.nitems; i++) {
		if (t.item[i].kind == ACCESSVAL_CN_HOST)
			continue;
		assert(t.item[i].len > 0 && t.item[i].arg >= value);
		assert(t.item[i].arg + t.item[i].len <= value + strlen(value));
	}
	text = format_tls(&t);
	assert(accessval_tls(text, &again, NULL) == 0);
	check_same(&t, &again);
	free(text);
}

/* ---- replies ---- */

static void
check_text(const char *text)
{
	for (; *text != '\0'; text++)
		assert((*text >= 0x20 && *text <= 0x7e) || *text == '\t');
}

static void
check_reply(const char *value)
{
	struct accessval_reply r;
	const char *why = NULL;
	int rc = accessval_reply(value, &r, &why);

	assert((rc == -1) == (why != NULL));
	if (rc == -1)
		return;
	assert(memchr(r.text, '\0', sizeof(r.text)) != NULL);
	assert(memchr(r.esc, '\0', sizeof(r.esc)) != NULL);
	check_text(r.text);
	if (r.kind == ACCESSVAL_ERROR) {
		assert(r.code >= 400 && r.code <= 599);
		assert(r.esc[0] == '2' || r.esc[0] == '4' || r.esc[0] == '5');
		assert(strspn(r.esc, "0123456789.") == strlen(r.esc));
	} else {
		assert(r.code == 0 && r.esc[0] == '\0');
	}
	if (r.kind == ACCESSVAL_QUARANTINE)
		assert(r.text[0] != '\0');
}

/* ---- tokens ---- */

static void
check_tokens(const char *value)
{
	char text[ACCESSVAL_TEXT_SIZE], again[ACCESSVAL_TEXT_SIZE];
	const char *why = NULL;
	bool forbids;
	int rc;

	rc = accessval_try_tls(value, &forbids, &why);
	assert((rc == -1) == (why != NULL));
	assert(rc == 0 || !forbids);
	if (accessval_join(value, text, sizeof(text)) == -1) {
		assert(rc == -1);
		return;
	}
	assert(strlen(text) <= strlen(value));
	assert(forbids == accessval_is(text, "NO"));
	assert(accessval_join(text, again, sizeof(again)) == 0);
	assert(strcmp(text, again) == 0);
}

/* ---- checks ---- */

struct told {
	size_t errors;
};

static void
on_finding(void *arg, enum accessmap_level level, const char *text)
{
	struct told *told = arg;

	assert(*text != '\0');
	for (; *text != '\0'; text++)
		assert(*text >= 0x20 && *text <= 0x7e);
	told->errors += level == ACCESSMAP_ERROR;
}

/* 0 or -1, as the check has it; -1 is always told. */
static int
check_entry(const char *key, const char *value)
{
	struct told told = { 0 };
	int rc = accesscheck_entry(key, value, on_finding, &told);

	assert((rc == -1) == (told.errors > 0));
	return rc;
}

static void
check_checks(const char *value)
{
	struct accessval_tls t;
	struct accessval_reply r;
	bool forbids;

	if (accessval_tls(value, &t, NULL) == -1) {
		assert(check_entry("TLS_Clt:a.b", value) == -1);
		assert(check_entry("TLS_Srv:", value) == -1);
		assert(check_entry("TLS_Rcpt:u@a.b", value) == -1);
		assert(check_entry("TLS_User:ann", value) == -1);
	} else if (value[0] != '\0') {
		check_entry("TLS_Clt:a.b", value);
	}
	if (accessval_reply(value, &r, NULL) == -1) {
		assert(check_entry("Connect:a.b", value) == -1);
		assert(check_entry("From:u@a.b", value) == -1);
		assert(check_entry("a.b", value) == -1);
	} else if (value[0] != '\0') {
		check_entry("To:u@", value);
	}
	if (accessval_try_tls(value, &forbids, NULL) == -1)
		assert(check_entry("Try_TLS:a", value) == -1);
	check_entry("Srv_Features:", value);
	check_entry("CertIssuer:/CN=x", value);
	check_entry("Word:/CN=x", value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *value = malloc(len + 1);

	assert(value != NULL);
	if (len > 0)
		memcpy(value, data, len);
	value[len] = '\0';
	check_tls(value);
	check_reply(value);
	check_tokens(value);
	check_checks(value);
	free(value);
	return 0;
}
