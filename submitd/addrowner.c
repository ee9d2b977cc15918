/* Who owns an address: see addrowner.h. */
#include "addrowner.h"

#include <stdio.h>
#include <string.h>

#include "idn.h"

/* Without "+anything"; false: there is no such thing in it. */
static bool
cut_plus(const char *address, char out[STORE_ADDRESS_MAX + 1])
{
	const char *at = strrchr(address, '@'), *plus = strchr(address, '+');

	/* a quoted local part is what it is */
	if (at == NULL || plus == NULL || plus > at || plus == address ||
	    address[0] == '"')
		return false;
	return snprintf(out, STORE_ADDRESS_MAX + 1, "%.*s%s",
		   (int)(plus - address), address, at) <= STORE_ADDRESS_MAX;
}

/* With the xn-- form of its domain, if there is one. */
static bool
write_ascii(const char *address, char out[STORE_ADDRESS_MAX + 1])
{
	const char *at = strrchr(address, '@');
	char domain[IDN_DOMAIN_MAX + 1];
	int n;

	if (at == NULL || !idn_domain(at + 1, domain))
		return false;
	n = snprintf(out, STORE_ADDRESS_MAX + 1, "%.*s@%s", (int)(at - address),
	    address, domain);
	return n <= STORE_ADDRESS_MAX;
}

enum store_rc
addrowner_owns(struct store *st, int64_t user_id, const char *address,
    bool plus, bool *owns)
{
	char ascii[STORE_ADDRESS_MAX + 1], base[STORE_ADDRESS_MAX + 1];
	enum store_rc rc;

	/* what has no such form is owned by "*" alone */
	if (write_ascii(address, ascii))
		address = ascii;
	rc = store_user_owns(st, user_id, address, owns);
	if (rc == STORE_OK && !*owns && plus && cut_plus(address, base))
		rc = store_user_owns(st, user_id, base, owns);
	return rc;
}

static int
take_first(const struct store_address *row, void *arg)
{
	char *out = arg;
	bool is_pattern = row->pattern[0] == '@' || row->pattern[0] == '*';

	if (out[0] == '\0' || !is_pattern)
		memcpy(out, row->pattern, strlen(row->pattern) + 1);
	return !is_pattern; /* nothing better comes */
}

enum store_rc
addrowner_first(
    struct store *st, int64_t user_id, char out[STORE_ADDRESS_MAX + 1])
{
	out[0] = '\0';
	return store_address_list(st, user_id, take_first, out);
}
