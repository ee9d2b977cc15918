/*
 * submitd/smtp_reply.c. The first two bytes choose row and code, the rest is
 * text from a peer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/smtp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Every line begins with the code, ends with CR LF and is short. */
static void
check(const char *buf, size_t len, int code)
{
	const char *p, *nl;

	if (len == 0 || strlen(buf) != len)
		abort();
	for (p = buf; *p != '\0'; p = nl + 2) {
		nl = strstr(p, "\r\n");
		if (nl == NULL || nl + 2 - p > SMTP_REPLY_LINE ||
		    atoi(p) != code || p[3] != (nl[2] != '\0' ? '-' : ' '))
			abort();
		for (; p < nl; p++)
			if (*p < ' ' || *p == 0x7f)
				abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char buf[SMTP_REPLY_MAX], *text;
	enum smtp_reply id;
	size_t n;
	int code;

	if (len < 2)
		return 0;
	text = malloc(len - 1);
	if (text == NULL)
		abort();
	memcpy(text, data + 2, len - 2);
	text[len - 2] = '\0';
	id = (enum smtp_reply)(data[0] % R_COUNT);
	n = smtp_reply_format(buf, sizeof(buf), id, text, text);
	check(buf, n, smtp_reply_code(id));
	n = smtp_reply_help(buf, sizeof(buf), n, "See https://help.example/");
	check(buf, n, smtp_reply_code(id));
	code = 200 + data[1];
	n = smtp_reply_custom(buf, sizeof(buf), code, text, text);
	n = smtp_reply_help(buf, sizeof(buf), n, "See https://help.example/");
	if (code / 100 != 3)
		check(buf, n, code);
	else if (n != 0)
		abort();
	smtp_reply_format(buf, data[1], id, text, NULL);
	smtp_reply_custom(buf, data[1], 550, NULL, text);
	free(text);
	return 0;
}
