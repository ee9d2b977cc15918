/* Password records of crypt(3): see cryptpw.h. */
#include "cryptpw.h"

#include <crypt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

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

/*
 * A check blocks the process, and one that takes longer than wrong passwords
 * wait for their answer would tell who is a user.  Those at these limits take
 * some 400 ms.  Whatever is not known to be cheap is refused: a method can
 * have its own way to say what it costs.
 */
enum { BCRYPT_COST_MAX = 13, ROUNDS_MAX = 1000000 };
#define YESCRYPT_COST_MAX 'D' /* as in $y$jDT$; the usual one is 9 */

static bool
always(const char *p)
{
	(void)p;
	return true;
}

/* "12$" */
static bool
bcrypt_cost(const char *p)
{
	return strspn(p, "0123456789") == 2 && p[2] == '$' &&
	    atoi(p) <= BCRYPT_COST_MAX;
}

/* "rounds=5000$", or nothing for that number */
static bool
sha2_cost(const char *p)
{
	size_t digits;

	if (strncmp(p, "rounds=", 7) != 0)
		return true;
	digits = strspn(p + 7, "0123456789");
	return digits > 0 && digits <= 7 && p[7 + digits] == '$' &&
	    atoi(p + 7) <= ROUNDS_MAX;
}

/* "j9T$": flavour, cost, and block size, which is one of two. */
static bool
yescrypt_cost(const char *p)
{
	return p[0] == 'j' && p[1] >= '7' && p[1] <= YESCRYPT_COST_MAX &&
	    (p[2] == '5' || p[2] == 'T') && p[3] == '$';
}

/* "J9..": the number of rounds, the least digit first */
static bool
des_cost(const char *p)
{
	return strlen(p) > 4 && p[3] == '.';
}

/* The methods that are taken, and the length of what stands behind the last
 * "$", or of all without one. */
static const struct method {
	const char *prefix;
	bool (*cheap)(const char *behind_prefix);
	size_t len;
} methods[] = {
	/* clang-format off */
	{ "$1$",	always,		22 },
	{ "$2a$",	bcrypt_cost,	53 }, /* salt and hash */
	{ "$2b$",	bcrypt_cost,	53 },
	{ "$2x$",	bcrypt_cost,	53 },
	{ "$2y$",	bcrypt_cost,	53 },
	{ "$5$",	sha2_cost,	43 },
	{ "$6$",	sha2_cost,	86 },
	{ "$y$",	yescrypt_cost,	43 },
	{ "$gy$",	yescrypt_cost,	43 },
	{ "_",		des_cost,	20 },
	/* clang-format on */
};
static const struct method traditional = { "", always, 13 };

static const struct method *
method_of(const char *record)
{
	size_t i;

	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strncmp(record, methods[i].prefix,
			strlen(methods[i].prefix)) == 0)
			return &methods[i];
	return record[0] != '$' ? &traditional : NULL;
}

/* Was nothing cut off? crypt(3) itself looks at the salt only. */
static bool
is_whole(const char *record, const struct method *m)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
				     "abcdefghijklmnopqrstuvwxyz";
	const char *last = strrchr(record, '$');

	last = last != NULL ? last + 1 : record;
	return strlen(last) == m->len && strspn(last, digits) == m->len;
}

int
cryptpw_usable(const char *record, const char **why)
{
	const struct method *m = method_of(record);

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
	if (m == NULL) {
		*why = "it is of a method that is not taken (those of DES, "
		       "MD5, bcrypt, SHA-2 and yescrypt are)";
		return -1;
	}
	if (!is_whole(record, m)) {
		*why = "it is cut off, or is none";
		return -1;
	}
	if (m->cheap(record + strlen(m->prefix)))
		return 0;
	*why = "a login would take too long (bcrypt is taken up to a cost of "
	       "13, SHA-2 up to 1000000 rounds, yescrypt up to 9)";
	return -1;
}
