/* Keys of the access map with A-labels: see mapkey.h. */
#include "mapkey.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "idn.h"
#include "store/accessmap.h"
#include "store/utf8.h"

/* What follows the colon is, or ends with, the name of a domain or a host. */
static bool
has_domain(enum accessmap_tag tag)
{
	switch (tag) {
	case ACCESSMAP_TLS_CLT:
	case ACCESSMAP_TLS_SRV:
	case ACCESSMAP_TLS_RCPT:
	case ACCESSMAP_TRY_TLS:
	case ACCESSMAP_SRV_FEATURES:
	case ACCESSMAP_CONNECT:
	case ACCESSMAP_FROM:
	case ACCESSMAP_TO:
	case ACCESSMAP_UNTAGGED:
		return true;
	case ACCESSMAP_TLS_USER:
	case ACCESSMAP_CERT_ISSUER:
	case ACCESSMAP_CERT_SUBJECT:
	case ACCESSMAP_WORD:
	case ACCESSMAP_FOREIGN:
		break;
	}
	return false;
}

char *
mapkey(const char *key)
{
	char ascii[IDN_DOMAIN_MAX + 1];
	const char *domain, *at;

	if (utf8_is_ascii_text(key) || !has_domain(accessmap_tag(key, &domain)))
		return xstrdup(key);
	if ((at = strrchr(domain, '@')) != NULL)
		domain = at + 1;
	if (utf8_is_ascii_text(domain) || !idn_domain(domain, ascii))
		return xstrdup(key);
	return xasprintf("%.*s%s", (int)(domain - key), key, ascii);
}

/* One line, with its end if it has one. */
static void
add_line(struct buf *out, const char *line, size_t len)
{
	size_t n = 0;
	char *key, *ascii;

	while (n < len && strchr(" \t\r\n#", line[n]) == NULL)
		n++;
	if (!utf8_is_ascii(line, n) && memchr(line, '\0', n) == NULL) {
		key = xstrndup(line, n);
		ascii = mapkey(key);
		buf_add(out, ascii, strlen(ascii));
		free(ascii);
		free(key);
	} else {
		buf_add(out, line, n);
	}
	buf_add(out, line + n, len - n);
}

void
mapkey_text(struct buf *text)
{
	const char *p = (const char *)buf_head(text), *end = p + text->len, *nl;
	struct buf out = { 0 };
	size_t n;

	if (utf8_is_ascii(p, text->len))
		return;
	for (; p < end; p += n) {
		nl = memchr(p, '\n', (size_t)(end - p));
		n = (size_t)((nl != NULL ? nl + 1 : end) - p);
		add_line(&out, p, n);
	}
	buf_wipe(text); /* AuthInfo entries have passwords */
	*text = out;
}
