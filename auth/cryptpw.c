/* Password records of crypt(3): see cryptpw.h. */
#include "cryptpw.h"

#include <crypt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * A check blocks the process, and one that takes longer than wrong passwords
 * wait for their answer would tell who is a user.  These take some 400 ms.
 */
enum { BCRYPT_COST_MAX = 13, ROUNDS_MAX = 1000000 };
#define YESCRYPT_COST_MAX 'D' /* as in $y$jDT$; the usual one is 9 */

static bool
equal(const char *a, const char *b)
{
	size_t len = strlen(a);
	unsigned char differ = 0;

	if (strlen(b) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return differ == 0;
}

enum cryptpw_rc
cryptpw_check(const char *record, const char *password, size_t len)
{
	char text[CRYPT_MAX_PASSPHRASE_SIZE];
	enum cryptpw_rc rc = CRYPTPW_FAILED;
	struct crypt_data *data;
	const char *hash;

	if (len >= sizeof(text) || memchr(password, '\0', len) != NULL)
		return CRYPTPW_WRONG;
	if ((data = calloc(1, sizeof(*data))) == NULL)
		return CRYPTPW_FAILED;
	memcpy(text, password, len);
	text[len] = '\0';
	/* what fails begins with "*", as no record does */
	hash = crypt_r(text, record, data);
	rc = hash != NULL && hash[0] != '*' && equal(hash, record)
	    ? CRYPTPW_OK
	    : CRYPTPW_WRONG;
	explicit_bzero(text, sizeof(text));
	explicit_bzero(data, sizeof(*data));
	free(data);
	return rc;
}

/* "$2b$12$", "$6$rounds=5000$" and "$y$j9T$" say what they cost. */
static bool
is_costly(const char *record)
{
	const char *rounds = strstr(record, "$rounds=");

	if (strncmp(record, "$2", 2) == 0 && strlen(record) > 4)
		return atoi(record + 4) > BCRYPT_COST_MAX;
	if (strncmp(record, "$y$j", 4) == 0)
		return record[4] > YESCRYPT_COST_MAX;
	return rounds != NULL && atoi(rounds + 8) > ROUNDS_MAX;
}

/* Lengths of what stands behind the last "$", or of all without one. */
static const struct {
	const char *prefix;
	size_t len;
} shapes[] = {
	{ "$1$", 22 },
	{ "$2", 53 }, /* salt and hash */
	{ "$5$", 43 },
	{ "$6$", 86 },
	{ "$7$", 43 },
	{ "$y$", 43 },
	{ "$gy$", 43 },
	{ "$", 0 }, /* seldom used; not looked at */
	{ "_", 20 },
	{ "", 13 },
};

/* Was nothing cut off? crypt(3) itself looks at the salt only. */
static bool
is_whole(const char *record)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
				     "abcdefghijklmnopqrstuvwxyz";
	const char *last = strrchr(record, '$');
	size_t i = 0;

	while (strncmp(record, shapes[i].prefix, strlen(shapes[i].prefix)) != 0)
		i++;
	last = last != NULL ? last + 1 : record;
	return shapes[i].len == 0 ||
	    (strlen(last) == shapes[i].len &&
		strspn(last, digits) == shapes[i].len);
}

int
cryptpw_usable(const char *record, const char **why)
{
	switch (crypt_checksalt(record)) {
	case CRYPT_SALT_OK:
	case CRYPT_SALT_METHOD_LEGACY:
	case CRYPT_SALT_TOO_CHEAP:
		break;
	case CRYPT_SALT_METHOD_DISABLED:
		*why = "this system's crypt(3) has the method switched off";
		return -1;
	default:
		*why = "this system's crypt(3) does not know it";
		return -1;
	}
	if (!is_whole(record)) {
		*why = "it is cut off, or is none";
		return -1;
	}
	if (!is_costly(record))
		return 0;
	*why = "a login would take too long (bcrypt is taken up to a cost of "
	       "13, SHA-2 up to 1000000 rounds, yescrypt up to 9)";
	return -1;
}
