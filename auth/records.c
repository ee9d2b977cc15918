/* Records of passwords: see records.h. */
#include "records.h"

#include <string.h>

static bool
is_current(const struct scram_record *r, const char *mech, unsigned iterations)
{
	return strcmp(r->mech, mech) == 0 && r->iterations == iterations &&
	    r->salt_len == SCRAM_SALT_LEN;
}

bool
records_is_current(const char *record, const char *mech, unsigned iterations)
{
	struct scram_record r;
	bool is = scram_record_parse(record, &r) == SCRAM_OK &&
	    is_current(&r, mech, iterations);

	explicit_bzero(&r, sizeof(r));
	return is;
}

static bool
has(const struct sasl_account *a, int64_t device, const char *mech,
    unsigned iterations)
{
	size_t i;

	for (i = 0; i < a->ncred; i++)
		if (a->cred[i].device == device &&
		    records_is_current(a->cred[i].record, mech, iterations))
			return true;
	return false;
}

bool
records_due(const struct sasl_account *a, int64_t device,
    const struct records_want *want)
{
	return !has(a, device, SCRAM_SHA_256, want->iterations) ||
	    (want->sha1 && !has(a, device, SCRAM_SHA_1, want->iterations));
}

/* Only from a device: passwords that people choose get a salt of their own,
 * which also tells the next password from the last. */
static bool
find_like(const struct sasl_account *a, const char *mech, unsigned iterations,
    struct scram_record *r)
{
	size_t i;

	for (i = 0; a != NULL && i < a->ncred; i++)
		if (a->cred[i].device != 0 &&
		    scram_record_parse(a->cred[i].record, r) == SCRAM_OK &&
		    is_current(r, mech, iterations))
			return true;
	return false;
}

static int
make(const struct sasl_account *like, const char *mech, unsigned iterations,
    const char *password, size_t len, char out[SCRAM_RECORD_MAX])
{
	struct scram_record r;
	int rc;

	if (find_like(like, mech, iterations, &r))
		rc = scram_record_make_salt(password, len, mech, iterations,
		    r.salt, r.salt_len, out, SCRAM_RECORD_MAX);
	else
		rc = scram_record_make(
		    password, len, mech, iterations, out, SCRAM_RECORD_MAX);
	explicit_bzero(&r, sizeof(r));
	return rc;
}

int
records_make(const struct sasl_account *like, const struct records_want *want,
    const char *password, size_t len, struct records *out)
{
	out->sha1[0] = '\0';
	if (make(like, SCRAM_SHA_256, want->iterations, password, len,
		out->sha256) == -1)
		return -1;
	return want->sha1 ? make(like, SCRAM_SHA_1, want->iterations, password,
				len, out->sha1)
			  : 0;
}
