/* A-labels, by libidn2. */
#include "idn.h"

#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp_addr.h"
#include "store/utf8.h"

/* Letters, digits and hyphens in labels that are not empty; the library lets
 * others pass, and an underscore is common enough. */
static bool
is_name(const char *s)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t n;

	for (;;) {
		n = strspn(s, good);
		if (n == 0 || n > 63 || (s[n] != '.' && s[n] != '\0'))
			return false;
		if (s[n] == '\0')
			return true;
		s += n + 1;
	}
}

static bool
copy(const char *s, char *out, size_t size)
{
	return (size_t)snprintf(out, size, "%s", s) < size;
}

bool
idn_domain(const char *domain, char out[IDN_DOMAIN_MAX + 1])
{
	char *ascii = NULL;
	bool ok;

	if (utf8_is_ascii_text(domain))
		return copy(domain, out, IDN_DOMAIN_MAX + 1);
	if (strlen(domain) > IDN_DOMAIN_MAX ||
	    idn2_to_ascii_8z(domain, &ascii,
		IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
		return false;
	ok = is_name(ascii) && copy(ascii, out, IDN_DOMAIN_MAX + 1);
	idn2_free(ascii);
	return ok;
}

bool
idn_mailbox(const char *mailbox, char out[IDN_MAILBOX_MAX + 1])
{
	const char *domain = smtp_addr_domain(mailbox);
	size_t local = strlen(mailbox) - strlen(domain);
	char ascii[IDN_DOMAIN_MAX + 1];

	if (!utf8_is_ascii(mailbox, local))
		return false;
	if (!idn_domain(domain, ascii))
		return false;
	return (size_t)snprintf(out, IDN_MAILBOX_MAX + 1, "%.*s%s", (int)local,
		   mailbox, ascii) <= IDN_MAILBOX_MAX;
}
