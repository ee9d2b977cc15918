/* Accounts as a lookup fills them (sasl.h).  Knows no Cyrus. */
#include <stdlib.h>
#include <string.h>

#include "cryptpw.h"
#include "sasl.h"
#include "secret.h"

int
sasl_account_add(struct sasl_account *a, int64_t device, const char *record)
{
	struct sasl_cred *grown;

	if (a->ncred >= SASL_CREDS_MAX || strlen(record) >= SASL_RECORD_MAX)
		return -1;
	grown = secret_realloc(a->cred, (a->ncred + 1) * sizeof(*grown));
	if (grown == NULL)
		return -1;
	grown[a->ncred].device = device;
	strcpy(grown[a->ncred].record, record);
	a->cred = grown;
	a->ncred++;
	return 0;
}

void
sasl_account_clear(struct sasl_account *a)
{
	secret_free(a->cred);
	memset(a, 0, sizeof(*a));
}

static enum sasl_pw
check_crypt(const char *record, const char *password, size_t len)
{
	switch (cryptpw_check(record, password, len)) {
	case CRYPTPW_OK:
		return SASL_PW_OK;
	case CRYPTPW_WRONG:
		return SASL_PW_WRONG;
	case CRYPTPW_FAILED:
		break;
	}
	return SASL_PW_TEMP;
}

/* What was derived of the password last, for each of the two digests. */
struct derived {
	bool is_set;
	struct scram_record r;
};
enum { DIGESTS = 2 };

static enum sasl_pw
check_scram(
    const char *text, const char *password, size_t len, struct derived *all)
{
	enum scram_rc rc = SCRAM_OK;
	struct scram_record r;
	struct derived *d;
	enum sasl_pw pw;

	if (scram_record_parse(text, &r) != SCRAM_OK)
		return SASL_PW_WRONG;
	d = &all[strcmp(r.mech, SCRAM_SHA_1) == 0];
	if (!d->is_set || !scram_record_same_way(&d->r, &r))
		rc = scram_record_derive(&r, password, len, &d->r);
	d->is_set = rc == SCRAM_OK;
	if (rc == SCRAM_FAILED)
		pw = SASL_PW_TEMP;
	else
		pw = d->is_set && scram_record_same_key(&d->r, &r)
		    ? SASL_PW_OK
		    : SASL_PW_WRONG;
	explicit_bzero(&r, sizeof(r));
	return pw;
}

static enum sasl_pw
check_record(
    const char *record, const char *password, size_t len, struct derived *d)
{
	if (strncmp(record, "SCRAM-", 6) != 0)
		return check_crypt(record, password, len);
	return check_scram(record, password, len, d);
}

enum sasl_pw
sasl_account_match(const struct sasl_account *a, const char *password,
    size_t len, size_t *index)
{
	enum sasl_pw pw = SASL_PW_WRONG, one;
	struct derived d[DIGESTS] = { 0 };
	size_t i;

	for (i = 0; i < a->ncred && pw != SASL_PW_OK; i++) {
		one = check_record(a->cred[i].record, password, len, d);
		if (one == SASL_PW_OK)
			*index = i;
		if (one != SASL_PW_WRONG)
			pw = one;
	}
	explicit_bzero(d, sizeof(d));
	return pw;
}

enum sasl_pw
sasl_account_check(const struct sasl_account *a, const char *password,
    size_t len, int64_t *device)
{
	size_t i;
	enum sasl_pw pw = sasl_account_match(a, password, len, &i);

	if (pw == SASL_PW_OK)
		*device = a->cred[i].device;
	return pw;
}
