/*
 * store/limit.c and submitd/userlimit.c: rules, and which of them hold.
 */
#include "unit_store_fixture.h"

#include <string.h>

#include "store/device.h"
#include "store/limit.h"
#include "store/user.h"
#include "submitd/userlimit.h"

struct people {
	int64_t ann, bo, phone;
};

static struct people
make(struct fixture *fx)
{
	struct people p;

	assert_rc(fx, store_user_add(fx->st, "ann", &p.ann), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", &p.bo), STORE_OK);
	assert_rc(fx,
	    store_device_add(fx->st, p.ann, "phone", STORE_DEVICE_PASSWORD, 0,
		&p.phone),
	    STORE_OK);
	return p;
}

static void
test_names(void **state)
{
	enum limit l;
	int i;

	(void)state;
	for (i = 0; i < LIMITS; i++) {
		assert_int_equal(limit_parse(limit_name((enum limit)i), &l), 0);
		assert_int_equal(l, i);
	}
	assert_int_equal(limit_parse("messages", &l), -1);
	assert_int_equal(limit_parse("", &l), -1);
}

static void
test_set(void **state)
{
	struct fixture *fx = *state;
	struct people p = make(fx);
	const struct limit_of ann = { .user_id = p.ann };
	struct limits l;

#define SET(of, value)                                                         \
	store_limit_set(fx->st, of, LIMIT_MESSAGES_HOUR, value)
	assert_rc(fx, SET(&ann, 5), STORE_OK);
	assert_rc(fx, SET(&ann, 6), STORE_OK);
	assert_rc(fx, store_limit_get(fx->st, &ann, &l), STORE_OK);
	assert_int_equal(l.v[LIMIT_MESSAGES_HOUR], 6);
	assert_int_equal(l.v[LIMIT_MESSAGES_DAY], LIMIT_UNSET);
	assert_rc(fx, store_limit_unset(fx->st, &ann, LIMIT_MESSAGES_HOUR),
	    STORE_OK);
	assert_rc(fx, store_limit_unset(fx->st, &ann, LIMIT_MESSAGES_HOUR),
	    STORE_NONE);
	assert_rc(fx, store_limit_get(fx->st, &ann, &l), STORE_OK);
	assert_int_equal(l.v[LIMIT_MESSAGES_HOUR], LIMIT_UNSET);
#undef SET
}

static void
test_refused(void **state)
{
	struct fixture *fx = *state;
	struct people p = make(fx);
	char longkey[2000];
	const struct {
		const char *name;
		struct limit_of of;
		int64_t value;
		enum store_rc rc;
	} rows[] = {
		{ "negative", { .user_id = p.ann }, -1, STORE_INVALID },
		{ "no such user", { .user_id = 99 }, 1, STORE_NONE },
		{ "device of another", { p.bo, p.phone, NULL }, 1,
		    STORE_NONE },
		{ "empty key", { .map_key = "" }, 1, STORE_INVALID },
		{ "key of two lines", { .map_key = "a\nb" }, 1,
		    STORE_INVALID },
		{ "key too long", { .map_key = longkey }, 1, STORE_INVALID },
		{ "user and key at once", { .user_id = p.ann, .map_key = "x" },
		    1, STORE_INVALID },
	};
	struct limits l;

	memset(longkey, 'a', sizeof(longkey) - 1);
	longkey[sizeof(longkey) - 1] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum store_rc rc = store_limit_set(
		    fx->st, &rows[i].of, LIMIT_SESSIONS, rows[i].value);

		if (rc != rows[i].rc)
			fail_msg("%s: %s", rows[i].name, store_rc_name(rc));
	}
	assert_rc(fx,
	    store_limit_get(
		fx->st, &(struct limit_of){ .user_id = p.ann }, &l),
	    STORE_OK);
	assert_int_equal(l.v[LIMIT_SESSIONS], LIMIT_UNSET);
}

/* Who goes takes the rules along. */
static void
test_gone(void **state)
{
	struct fixture *fx = *state;
	struct people p = make(fx);
	const struct limit_of phone = { p.ann, p.phone, NULL };
	struct limits l;

	assert_rc(fx, store_limit_set(fx->st, &phone, LIMIT_SESSIONS, 3),
	    STORE_OK);
	assert_rc(fx, store_user_del(fx->st, p.ann), STORE_OK);
	assert_rc(fx, store_limit_get(fx->st, &phone, &l), STORE_OK);
	assert_int_equal(l.v[LIMIT_SESSIONS], LIMIT_UNSET);
}

/* What holds for ann's messages an hour and for her phone's, with rules about
 * all, about her, about the phone; -1 is no rule. */
/* clang-format off */
static const struct {
	const char *name;
	int64_t conf, all, own, phone, user, device;
	enum userlimit_source from;
} rows[] = {
	{ "configuration", 10, -1, -1, -1, 10, 0, LIMIT_OF_CONF },
	{ "all users", 10, 20, -1, -1, 20, 0, LIMIT_OF_ALL },
	{ "own rule", 10, 20, 30, -1, 30, 0, LIMIT_OF_SENDER },
	{ "own rule, none", 10, 20, 0, -1, 0, 0, LIMIT_OF_SENDER },
	{ "all users, none", 10, 0, -1, -1, 0, 0, LIMIT_OF_ALL },
	{ "a device on top", 10, -1, -1, 5, 10, 5, LIMIT_OF_CONF },
	{ "a device with more", 10, -1, -1, 50, 10, 50, LIMIT_OF_CONF },
};
/* clang-format on */

static void
test_which(void **state)
{
	struct fixture *fx = *state;
	struct people p = make(fx);
	const struct limit_of of[] = { { 0 }, { .user_id = p.ann },
		{ p.ann, p.phone, NULL } };
	struct limits conf = { { 0 } };
	struct userlimit u;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const int64_t rule[] = { rows[i].all, rows[i].own,
			rows[i].phone };

		conf.v[LIMIT_MESSAGES_HOUR] = rows[i].conf;
		for (size_t k = 0; k < 3; k++) {
			if (rule[k] == -1)
				store_limit_unset(
				    fx->st, &of[k], LIMIT_MESSAGES_HOUR);
			else
				assert_rc(fx,
				    store_limit_set(fx->st, &of[k],
					LIMIT_MESSAGES_HOUR, rule[k]),
				    STORE_OK);
		}
		assert_rc(fx,
		    userlimit_get(
			fx->st, &conf, "ann", p.ann, p.phone, &u),
		    STORE_OK);
		if (u.user.v[LIMIT_MESSAGES_HOUR] != rows[i].user ||
		    u.device.v[LIMIT_MESSAGES_HOUR] != rows[i].device ||
		    u.from[LIMIT_MESSAGES_HOUR] != rows[i].from)
			fail_msg("%s: %d %d", rows[i].name,
			    (int)u.user.v[LIMIT_MESSAGES_HOUR],
			    (int)u.device.v[LIMIT_MESSAGES_HOUR]);
	}
}

/* By a key of the map alone: only a rule about the key. */
static void
test_map(void **state)
{
	static const struct limit_of all, key = { .map_key =
		"CertIssuer:/CN=CA" };
	static const struct limits conf = { { [LIMIT_MESSAGES_HOUR] = 10 } };
	static const char sender[] = USERLIMIT_MAP "certissuer:/cn=ca";
	struct fixture *fx = *state;
	struct userlimit u;

	assert_true(userlimit_is_map(sender));
	assert_false(userlimit_is_map("mapper"));
	assert_rc(fx,
	    store_limit_set(fx->st, &all, LIMIT_MESSAGES_HOUR, 20), STORE_OK);
	assert_rc(
	    fx, userlimit_get(fx->st, &conf, sender, 0, 0, &u), STORE_OK);
	assert_int_equal(u.user.v[LIMIT_MESSAGES_HOUR], LIMIT_NONE);
	assert_rc(fx,
	    store_limit_set(fx->st, &key, LIMIT_MESSAGES_HOUR, 7), STORE_OK);
	assert_rc(
	    fx, userlimit_get(fx->st, &conf, sender, 0, 0, &u), STORE_OK);
	assert_int_equal(u.user.v[LIMIT_MESSAGES_HOUR], 7);
	assert_int_equal(u.from[LIMIT_MESSAGES_HOUR], LIMIT_OF_SENDER);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		FIXTURE_TEST(test_set),
		FIXTURE_TEST(test_refused),
		FIXTURE_TEST(test_gone),
		FIXTURE_TEST(test_which),
		FIXTURE_TEST(test_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
