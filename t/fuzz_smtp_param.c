/*
 * submitd/smtp_param.c. The input is what stands behind the path of MAIL or
 * RCPT; each value goes through the parsers of all values.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/smtp_param.h"
#include "store/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
check(bool ok)
{
	if (!ok)
		abort();
}

/* What was decoded is printable, and the same when it comes encoded. */
static void
fuzz_xtext(const char *p, size_t len)
{
	char out[1100], text[3400], again[1100];

	if (smtp_xtext_decode(p, len, out, sizeof(out)) != 0)
		return;
	check(strlen(out) <= len);
	check(smtp_xtext_encode(out, strlen(out), text, sizeof(text)) == 0);
	check(smtp_xtext_decode(text, strlen(text), again, sizeof(again)) == 0);
	check(strcmp(out, again) == 0);
}

static void
fuzz_envid(const char *p, size_t len)
{
	char envid[ENVID_MAX + 1], again[ENVID_MAX + 1];

	if (smtp_envid_parse(p, len, envid) != 0)
		return;
	check(
	    strchr(envid, '=') == NULL && utf8_is_ascii(envid, strlen(envid)));
	check(smtp_envid_parse(envid, strlen(envid), again) == 0);
	check(strcmp(envid, again) == 0);
}

/* Nobody sends what could end the field it is reported in. */
static void
fuzz_orcpt(const char *p, size_t len, bool utf8)
{
	char out[1100];
	uint32_t c;
	size_t i, n;

	if (smtp_orcpt_decode(p, len, utf8, out, sizeof(out)) != 0)
		return;
	check(len <= ORCPT_MAX && strchr(out, ';') != NULL);
	for (i = 0; i<strlen(out); i += n> 0 ? n : 1) {
		n = utf8_next(out + i, strlen(out + i), &c);
		check(n == 0 || c >= ' ');
	}
}

static void
fuzz_times(const char *p, size_t len)
{
	struct smtp_by by;
	int64_t v;

	if (smtp_by_parse(p, len, &by) == 0) {
		check(by.seconds >= -999999999 && by.seconds <= 999999999);
		check(by.mode == BY_NOTIFY ||
		    (by.mode == BY_RETURN && by.seconds > 0));
		check(by.trace <= 1);
	}
	if (smtp_holdfor_parse(p, len, &v) == 0)
		check(v >= 1 && v <= 999999999);
	if (smtp_holduntil_parse(p, len, &v) == 0)
		check(v > -63000000000 && v < 254000000000);
}

static void
fuzz_words(const char *p, size_t len)
{
	uint64_t size;
	uint8_t v;
	bool last;

	if (smtp_body_parse(p, len, &v) == 0)
		check(v <= BODY_BINARYMIME);
	if (smtp_ret_parse(p, len, &v) == 0)
		check(v == RET_FULL || v == RET_HDRS);
	if (smtp_notify_parse(p, len, &v) == 0)
		check(v == NOTIFY_NEVER || (v > 1 && v < 16 && v % 2 == 0));
	if (smtp_priority_parse(p, len, &v) == 0)
		check(v <= PRIORITY_MAX);
	smtp_size_parse(p, len, &size);
	if (smtp_chunk_parse(p, len, &size, &last) != SMTP_CHUNK_OK)
		check(!last);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *arg = (const char *)data;
	struct smtp_params it;
	struct smtp_param p;
	size_t n = 0;

	fuzz_words(arg, len); /* what stands behind BDAT, with blanks */
	smtp_params_init(&it, arg, len);
	while (smtp_params_next(&it, &p) == SMTP_PARAM_OK) {
		check(++n <= SMTP_PARAMS_MAX);
		check(strlen(p.key) <= SMTP_PARAM_KEY_MAX);
		if (p.value == NULL)
			continue;
		check(p.value >= arg && p.value + p.value_len <= arg + len);
		check(p.value_len > 0 && p.value_len <= SMTP_PARAM_VALUE_MAX);
		fuzz_xtext(p.value, p.value_len);
		fuzz_envid(p.value, p.value_len);
		fuzz_orcpt(p.value, p.value_len, n % 2 == 0);
		fuzz_times(p.value, p.value_len);
		fuzz_words(p.value, p.value_len);
	}
	return 0;
}
