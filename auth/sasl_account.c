/* Accounts as a lookup fills them (sasl.h).  Knows no Cyrus. */
#include <stdlib.h>
#include <string.h>

#include "cryptpw.h"
#include "sasl.h"

int
sasl_account_add(struct sasl_account *a, int64_t device, const char *record)
{
	struct sasl_cred *grown;

	if (a->ncred >= SASL_CREDS_MAX || strlen(record) >= SASL_RECORD_MAX)
		return -1;
	/* not realloc(): it would leave an unwiped copy behind */
	if ((grown = calloc(a->ncred + 1, sizeof(*grown))) == NULL)
		return -1;
	if (a->ncred > 0)
		memcpy(grown, a->cred, a->ncred * sizeof(*grown));
	grown[a->ncred].device = device;
	strcpy(grown[a->ncred].record, record);
	if (a->ncred > 0)
		explicit_bzero(a->cred, a->ncred * sizeof(*grown));
	free(a->cred);
	a->cred = grown;
	a->ncred++;
	return 0;
}

void
sasl_account_clear(struct sasl_account *a)
{
	if (a->ncred > 0)
		explicit_bzero(a->cred, a->ncred * sizeof(*a->cred));
	free(a->cred);
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

static enum sasl_pw
check_record(const char *record, const char *password, size_t len)
{
	if (strncmp(record, "SCRAM-", 6) != 0)
		return check_crypt(record, password, len);
	switch (scram_record_check(record, password, len)) {
	case SCRAM_OK:
		return SASL_PW_OK;
	case SCRAM_WRONG:
	case SCRAM_BAD_RECORD:
		return SASL_PW_WRONG;
	case SCRAM_FAILED:
		break;
	}
	return SASL_PW_TEMP;
}

enum sasl_pw
sasl_account_check(const struct sasl_account *a, const char *password,
    size_t len, int64_t *device)
{
	enum sasl_pw pw = SASL_PW_WRONG, one;
	size_t i;

	for (i = 0; i < a->ncred; i++) {
		one = check_record(a->cred[i].record, password, len);
		if (one == SASL_PW_OK) {
			*device = a->cred[i].device;
			return SASL_PW_OK;
		}
		if (one == SASL_PW_TEMP)
			pw = SASL_PW_TEMP;
	}
	return pw;
}
