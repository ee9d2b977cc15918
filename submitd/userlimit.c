/* Which limits hold for a sender. */
#include <stdio.h>
#include <string.h>

#include "userlimit.h"

bool
userlimit_is_map(const char *sender)
{
	return strncmp(sender, USERLIMIT_MAP, strlen(USERLIMIT_MAP)) == 0;
}

void
userlimit_map_sender(const char *key, char *out, size_t size)
{
	size_t n = strlen(USERLIMIT_MAP);

	snprintf(out, size, USERLIMIT_MAP "%s", key);
	for (; out[n] != '\0'; n++)
		if (out[n] >= 'A' && out[n] <= 'Z')
			out[n] = (char)(out[n] - 'A' + 'a');
}

/* What a rule says goes over what is there. */
static void
over(const struct limits *rules, enum userlimit_source from,
    struct limits *limits, enum userlimit_source *source)
{
	int i;

	for (i = 0; i < LIMITS; i++) {
		if (rules->v[i] == LIMIT_UNSET)
			continue;
		limits->v[i] = rules->v[i];
		if (source != NULL)
			source[i] = from;
	}
}

static enum store_rc
of_map(struct store *st, const char *key, struct userlimit *u)
{
	const struct limit_of of = { .map_key = key };
	struct limits rules;
	enum store_rc rc = store_limit_get(st, &of, &rules);

	if (rc == STORE_OK)
		over(&rules, LIMIT_OF_SENDER, &u->user, u->from);
	return rc;
}

static enum store_rc
of_user(struct store *st, const struct limits *conf, int64_t user_id,
    struct userlimit *u)
{
	static const struct limit_of everybody;
	const struct limit_of of = { .user_id = user_id };
	struct limits rules;
	enum store_rc rc;

	u->user = *conf;
	if ((rc = store_limit_get(st, &everybody, &rules)) != STORE_OK)
		return rc;
	over(&rules, LIMIT_OF_ALL, &u->user, u->from);
	if ((rc = store_limit_get(st, &of, &rules)) != STORE_OK)
		return rc;
	over(&rules, LIMIT_OF_SENDER, &u->user, u->from);
	return STORE_OK;
}

static enum store_rc
of_device(
    struct store *st, int64_t user_id, int64_t device_id, struct userlimit *u)
{
	const struct limit_of of = { .user_id = user_id,
		.device_id = device_id };
	struct limits rules;
	enum store_rc rc = store_limit_get(st, &of, &rules);

	if (rc == STORE_OK)
		over(&rules, LIMIT_OF_SENDER, &u->device, NULL);
	return rc;
}

enum store_rc
userlimit_get(struct store *st, const struct limits *conf, const char *sender,
    int64_t user_id, int64_t device_id, struct userlimit *u)
{
	enum store_rc rc;

	memset(u, 0, sizeof(*u));
	if (user_id == 0)
		return of_map(st, sender + strlen(USERLIMIT_MAP), u);
	rc = of_user(st, conf, user_id, u);
	if (rc == STORE_OK && device_id != 0)
		rc = of_device(st, user_id, device_id, u);
	return rc;
}
