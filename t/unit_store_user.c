/*
 * store/user.c: names, users, addresses, password records.
 */
#include "unit_store_fixture.h"

#include <stdbool.h>
#include <string.h>

#include "store/device.h"
#include "store/user.h"

#define LONG64                                                                 \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* clang-format off */
static const struct {
	const char *name;
	const char *in;
	const char *out; /* NULL: refused */
} names[] = {
	{ "plain", "ann", "ann" },
	{ "upper case is folded", "AnN", "ann" },
	{ "an address", "Ann.B+x@Example.ORG", "ann.b+x@example.org" },
	{ "all kinds of characters", "a0._@+-", "a0._@+-" },
	{ "64 characters", LONG64, LONG64 },
	{ "65 characters", LONG64 "a", NULL },
	{ "empty", "", NULL },
	{ "leading -", "-f", NULL },
	{ "blank", "a b", NULL },
	{ "colon (map:KEY is no user)", "map:ann", NULL },
	{ "slash", "a/b", NULL },
	{ "not ASCII", "\xc3\xa4nn", NULL },
	{ "newline", "ann\n", NULL },
	{ "quote", "o'neil", NULL },
};

static const struct {
	const char *name;
	const char *in;
	const char *out; /* NULL: refused */
} patterns[] = {
	{ "address", "ann@example.org", "ann@example.org" },
	{ "domain is folded, local part stays", "Ann@Example.ORG",
	  "Ann@example.org" },
	{ "whole domain", "@Example.org", "@example.org" },
	{ "everything", "*", "*" },
	{ "plus detail", "ann+x@example.org", "ann+x@example.org" },
	{ "atext", "!#$%&'*+-/=?^_`{|}~@x.y", "!#$%&'*+-/=?^_`{|}~@x.y" },
	{ "UTF-8 local part", "j\xc3\xb6rg@example.org",
	  "j\xc3\xb6rg@example.org" },
	{ "A-label", "ann@xn--mnchen-3ya.de", "ann@xn--mnchen-3ya.de" },
	{ "IPv4 literal", "ann@[192.0.2.1]", "ann@[192.0.2.1]" },
	{ "IPv6 literal", "ann@[IPv6:2001:DB8::1]", "ann@[ipv6:2001:db8::1]" },
	{ "single label", "ann@localhost", "ann@localhost" },
	{ "local part of 64", LONG64 "@x.y", LONG64 "@x.y" },
	{ "local part of 65", LONG64 "a@x.y", NULL },
	{ "empty", "", NULL },
	{ "no @", "ann", NULL },
	{ "only @", "@", NULL },
	{ "no domain", "ann@", NULL },
	{ "two @", "a@b@c", NULL },
	{ "wildcard before a domain", "*@example.org", NULL },
	{ "a star among others", "*ann@example.org", "*ann@example.org" },
	{ "subdomain wildcard", "@*.example.org", NULL },
	{ "angle brackets", "<ann@example.org>", NULL },
	{ "blank", "ann b@example.org", NULL },
	{ "quoted string", "\"ann b\"@example.org", NULL },
	{ "dot first", ".ann@example.org", NULL },
	{ "dot last", "ann.@example.org", NULL },
	{ "two dots", "a..b@example.org", NULL },
	{ "empty label", "ann@example..org", NULL },
	{ "final dot", "ann@example.org.", NULL },
	{ "leading -", "ann@-example.org", NULL },
	{ "trailing -", "ann@example-.org", NULL },
	{ "underscore in the domain", "ann@exam_ple.org", NULL },
	{ "label of 64", "ann@" LONG64 ".org", NULL },
	{ "U-label", "ann@m\xc3\xbcnchen.de", NULL },
	{ "broken UTF-8", "j\xf6rg@example.org", NULL },
	{ "overlong UTF-8", "j\xc0\xafrg@example.org", NULL },
	{ "surrogate", "\xed\xa0\x80@example.org", NULL },
	{ "C1 control character", "\xc2\x85@example.org", NULL },
	{ "newline", "ann@example.org\n", NULL },
	{ "open literal", "ann@[192.0.2.1", NULL },
	{ "literal and more", "ann@[192.0.2.1]x", NULL },
	{ "host name in a literal", "ann@[example]", NULL },
};
/* clang-format on */

static void
test_names(void **state)
{
	char out[STORE_NAME_MAX + 1];
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		why = NULL;
		if (store_user_name(names[i].in, out, &why) == -1) {
			if (names[i].out != NULL || why == NULL)
				fail_msg("%s: refused", names[i].name);
		} else if (names[i].out == NULL ||
		    strcmp(out, names[i].out) != 0)
			fail_msg("%s: got \"%s\"", names[i].name, out);
	}
}

static void
test_patterns(void **state)
{
	char out[STORE_ADDRESS_MAX + 1];
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		why = NULL;
		if (store_address_pattern(patterns[i].in, out, &why) == -1) {
			if (patterns[i].out != NULL || why == NULL)
				fail_msg("%s: refused", patterns[i].name);
		} else if (patterns[i].out == NULL ||
		    strcmp(out, patterns[i].out) != 0)
			fail_msg("%s: got \"%s\"", patterns[i].name, out);
	}
}

struct list {
	char text[512];
};

static void
append(struct list *list, const char *word)
{
	size_t used = strlen(list->text);

	snprintf(list->text + used, sizeof(list->text) - used, "%s%s",
	    used > 0 ? " " : "", word);
}

static int
list_user(const struct store_user *user, void *arg)
{
	append(arg, user->name);
	return 0;
}

static int
first_user(const struct store_user *user, void *arg)
{
	append(arg, user->name);
	return 1;
}

static int
list_address(const struct store_address *address, void *arg)
{
	append(arg, address->user);
	append(arg, address->pattern);
	return 0;
}

static void
test_users(void **state)
{
	struct fixture *fx = *state;
	struct list list = { "" };
	struct store_user user;
	int64_t ann, bo, cy;

	assert_rc(fx, store_user_add(fx->st, "Bo", &bo), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "ann", &ann), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "ANN", NULL), STORE_EXISTS);
	assert_string_equal(store_errtext(fx->st), "user ann exists already");
	assert_rc(fx, store_user_add(fx->st, "a b", NULL), STORE_INVALID);

	assert_rc(fx, store_user_get(fx->st, "BO", &user), STORE_OK);
	assert_int_equal(user.id, bo);
	assert_string_equal(user.name, "bo");
	assert_int_equal(user.state, STORE_USER_ACTIVE);
	assert_int_equal(user.policy, STORE_AUTH_ANY);
	assert_int_equal(user.backend, STORE_BACKEND_DEFAULT);
	assert_string_equal(user.mechanisms, "");
	assert_string_equal(user.reason, "");
	assert_true(user.created > 1700000000);
	assert_rc(fx, store_user_by_id(fx->st, ann, &user), STORE_OK);
	assert_string_equal(user.name, "ann");
	assert_rc(fx, store_user_get(fx->st, "no one", &user), STORE_NONE);
	assert_rc(fx, store_user_get(fx->st, "nobody", &user), STORE_NONE);

	assert_rc(fx, store_user_list(fx->st, list_user, &list), STORE_OK);
	assert_string_equal(list.text, "ann bo");
	assert_rc(fx, store_user_list(fx->st, first_user, &list), STORE_OK);
	assert_string_equal(list.text, "ann bo ann");

	assert_rc(fx, store_user_del(fx->st, bo), STORE_OK);
	assert_rc(fx, store_user_del(fx->st, bo), STORE_NONE);
	assert_rc(fx, store_user_by_id(fx->st, bo, &user), STORE_NONE);
	/* An id does not come back. */
	assert_rc(fx, store_user_del(fx->st, ann), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "cy", &cy), STORE_OK);
	assert_true(cy > ann && cy > bo);
}

static void
test_user_columns(void **state)
{
	struct fixture *fx = *state;
	struct store_user user;
	char reason[STORE_REASON_MAX + 2];
	int64_t id;

	assert_rc(fx, store_user_add(fx->st, "ann", &id), STORE_OK);
	assert_rc(fx,
	    store_user_set_state(
		fx->st, id, STORE_USER_SUSPENDED, "lost phone"),
	    STORE_OK);
	assert_rc(
	    fx, store_user_set_policy(fx->st, id, STORE_AUTH_BOTH), STORE_OK);
	assert_rc(fx, store_user_set_backend(fx->st, id, STORE_BACKEND_PAM),
	    STORE_OK);
	assert_rc(fx,
	    store_user_set_mechanisms(fx->st, id, " plain,SCRAM-SHA-256 "),
	    STORE_OK);
	assert_rc(fx, store_user_by_id(fx->st, id, &user), STORE_OK);
	assert_int_equal(user.state, STORE_USER_SUSPENDED);
	assert_string_equal(user.reason, "lost phone");
	assert_int_equal(user.policy, STORE_AUTH_BOTH);
	assert_int_equal(user.backend, STORE_BACKEND_PAM);
	assert_string_equal(user.mechanisms, "PLAIN SCRAM-SHA-256");
	assert_int_equal(user.max_priority, STORE_PRIORITY_CONF);

	assert_rc(fx, store_user_set_priority(fx->st, id, 0), STORE_OK);
	assert_rc(fx, store_user_by_id(fx->st, id, &user), STORE_OK);
	assert_int_equal(user.max_priority, 0);
	assert_rc(fx, store_user_set_priority(fx->st, id, 9), STORE_OK);
	assert_rc(fx, store_user_set_priority(fx->st, id, 10), STORE_INVALID);
	assert_rc(fx, store_user_set_priority(fx->st, id, -2), STORE_INVALID);
	assert_rc(fx, store_user_set_priority(fx->st, 99, 1), STORE_NONE);
	assert_rc(fx, store_user_by_id(fx->st, id, &user), STORE_OK);
	assert_int_equal(user.max_priority, 9);
	assert_rc(fx, store_user_set_priority(fx->st, id, STORE_PRIORITY_CONF),
	    STORE_OK);
	assert_rc(fx, store_user_by_id(fx->st, id, &user), STORE_OK);
	assert_int_equal(user.max_priority, STORE_PRIORITY_CONF);

	assert_rc(fx,
	    store_user_set_state(fx->st, id, STORE_USER_ACTIVE, "ignored"),
	    STORE_OK);
	assert_rc(fx, store_user_set_backend(fx->st, id, STORE_BACKEND_DEFAULT),
	    STORE_OK);
	assert_rc(fx, store_user_set_mechanisms(fx->st, id, NULL), STORE_OK);
	assert_rc(fx, store_user_by_id(fx->st, id, &user), STORE_OK);
	assert_int_equal(user.state, STORE_USER_ACTIVE);
	assert_string_equal(user.reason, "");
	assert_int_equal(user.backend, STORE_BACKEND_DEFAULT);
	assert_string_equal(user.mechanisms, "");

	memset(reason, 'r', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	assert_rc(fx,
	    store_user_set_state(fx->st, id, STORE_USER_SUSPENDED, reason),
	    STORE_INVALID);
	assert_rc(fx,
	    store_user_set_state(
		fx->st, id, STORE_USER_SUSPENDED, "two\nlines"),
	    STORE_INVALID);
	assert_rc(fx, store_user_set_mechanisms(fx->st, id, "PLAIN;LOGIN"),
	    STORE_INVALID);
	assert_rc(fx,
	    store_user_set_mechanisms(fx->st, id, "ABCDEFGHIJKLMNOPQRSTU"),
	    STORE_INVALID);
	assert_rc(
	    fx, store_user_set_policy(fx->st, 99, STORE_AUTH_ANY), STORE_NONE);
}

static void
test_words(void **state)
{
	enum store_user_state user_state;
	enum store_auth_policy policy;
	enum store_backend backend;

	(void)state;
	for (int i = STORE_USER_ACTIVE; i <= STORE_USER_DISABLED; i++) {
		assert_int_equal(store_user_state_parse(
				     store_user_state_text(i), &user_state),
		    0);
		assert_int_equal(user_state, i);
	}
	for (int i = STORE_AUTH_ANY; i <= STORE_AUTH_BOTH; i++) {
		assert_int_equal(
		    store_auth_policy_parse(store_auth_policy_text(i), &policy),
		    0);
		assert_int_equal(policy, i);
	}
	for (int i = STORE_BACKEND_DEFAULT; i <= STORE_BACKEND_SASLAUTHD; i++) {
		assert_int_equal(
		    store_backend_parse(store_backend_text(i), &backend), 0);
		assert_int_equal(backend, i);
	}
	assert_int_equal(store_auth_policy_parse("Any", &policy), -1);
	assert_int_equal(store_user_state_parse("", &user_state), -1);
	assert_int_equal(store_backend_parse("ldap", &backend), -1);
}

static void
test_addresses(void **state)
{
	struct fixture *fx = *state;
	struct list list = { "" };
	int64_t ann, bo;

	assert_rc(fx, store_user_add(fx->st, "ann", &ann), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", &bo), STORE_OK);
	assert_rc(
	    fx, store_address_add(fx->st, ann, "Ann@Example.org"), STORE_OK);
	assert_rc(fx, store_address_add(fx->st, ann, "ann@example.org"),
	    STORE_EXISTS);
	assert_rc(fx, store_address_add(fx->st, ann, "@example.com"), STORE_OK);
	/* Two may share one address. */
	assert_rc(
	    fx, store_address_add(fx->st, bo, "ann@example.org"), STORE_OK);
	assert_rc(fx, store_address_add(fx->st, bo, "bo"), STORE_INVALID);
	assert_rc(fx, store_address_add(fx->st, 99, "a@b.c"), STORE_NONE);

	assert_rc(
	    fx, store_address_list(fx->st, ann, list_address, &list), STORE_OK);
	assert_string_equal(list.text, "ann @example.com ann Ann@example.org");
	list.text[0] = '\0';
	assert_rc(
	    fx, store_address_list(fx->st, 0, list_address, &list), STORE_OK);
	assert_string_equal(list.text,
	    "ann @example.com ann Ann@example.org bo ann@example.org");

	list.text[0] = '\0';
	assert_rc(fx,
	    store_address_owners(
		fx->st, "ANN@example.ORG", list_address, &list),
	    STORE_OK);
	assert_string_equal(
	    list.text, "ann Ann@example.org bo ann@example.org");
	/* By domain is not by name. */
	list.text[0] = '\0';
	assert_rc(fx,
	    store_address_owners(fx->st, "x@example.com", list_address, &list),
	    STORE_OK);
	assert_rc(fx,
	    store_address_owners(fx->st, "@example.com", list_address, &list),
	    STORE_OK);
	assert_rc(fx, store_address_owners(fx->st, "*", list_address, &list),
	    STORE_OK);
	assert_string_equal(list.text, "");

	assert_rc(fx, store_address_del(fx->st, ann, "@EXAMPLE.com"), STORE_OK);
	assert_rc(
	    fx, store_address_del(fx->st, ann, "@example.com"), STORE_NONE);
	assert_rc(fx, store_address_del(fx->st, 99, "a@b.c"), STORE_NONE);
	list.text[0] = '\0';
	assert_rc(
	    fx, store_address_list(fx->st, ann, list_address, &list), STORE_OK);
	assert_string_equal(list.text, "ann Ann@example.org");
}

/* clang-format off */
static const struct {
	const char *name;
	const char *user;
	const char *address;
	bool owns;
} ownership[] = {
	{ "exact", "ann", "ann@example.org", true },
	{ "domain in another case", "ann", "ann@EXAMPLE.org", true },
	{ "local part in another case", "ann", "ANN@example.org", true },
	{ "UTF-8 letters are not folded", "ann", "J\xc3\x96RG@example.org",
	  false },
	{ "UTF-8 as it stands", "ann", "j\xc3\xb6rg@example.org", true },
	{ "another local part", "ann", "bo@example.org", false },
	{ "plus detail is another address", "ann", "ann+x@example.org", false },
	{ "subdomain of an address", "ann", "ann@mail.example.org", false },
	{ "in a whole domain", "ann", "any.one@example.com", true },
	{ "quoted in a whole domain", "ann", "\"any @ one\"@example.com", true },
	{ "subdomain of a whole domain", "ann", "x@mail.example.com", false },
	{ "domain that only ends alike", "ann", "x@notexample.com", false },
	{ "the pattern itself is no address", "ann", "@example.com", false },
	{ "the domain as a local part", "ann", "@example.com@example.net",
	  false },
	{ "everything", "root", "who@where.example", true },
	{ "everything but the null sender", "root", "", false },
	{ "everything but what is no address", "root", "*", false },
	{ "everything but an empty local part", "root", "@x.y", false },
	{ "everything but an empty domain", "root", "x@", false },
	{ "LIKE characters mean nothing", "ann", "%@example.org", false },
	{ "nobody's", "bo", "ann@example.org", false },
};
/* clang-format on */

static void
test_ownership(void **state)
{
	struct fixture *fx = *state;
	struct store_user user;
	int64_t id;
	bool owns;

	assert_rc(fx, store_user_add(fx->st, "ann", &id), STORE_OK);
	assert_rc(
	    fx, store_address_add(fx->st, id, "ann@example.org"), STORE_OK);
	assert_rc(fx, store_address_add(fx->st, id, "j\xc3\xb6rg@example.org"),
	    STORE_OK);
	assert_rc(fx, store_address_add(fx->st, id, "@example.com"), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "bo", NULL), STORE_OK);
	assert_rc(fx, store_user_add(fx->st, "root", &id), STORE_OK);
	assert_rc(fx, store_address_add(fx->st, id, "*"), STORE_OK);
	for (size_t i = 0; i < sizeof(ownership) / sizeof(ownership[0]); i++) {
		assert_rc(fx, store_user_get(fx->st, ownership[i].user, &user),
		    STORE_OK);
		assert_rc(fx,
		    store_user_owns(
			fx->st, user.id, ownership[i].address, &owns),
		    STORE_OK);
		if (owns != ownership[i].owns)
			fail_msg("%s: %d", ownership[i].name, owns);
	}
}

#define KEY32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY20 "AAECAwQFBgcICQoLDA0ODxAREhM="
#define GOOD  "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$" KEY32 ":" KEY32
#define OTHER "SCRAM-SHA-256$8192:c2FsdHNhbHQ=$" KEY32 ":" KEY32
#define GOOD1 "SCRAM-SHA-1$4096:c2FsdHNhbHQ=$" KEY20 ":" KEY20
#define CRYPT "$6$saltsalt$abcdefghijklmnopqrstuvwxyz./0123456789"

/* clang-format off */
static const struct {
	const char *name;
	struct store_record record;
	enum store_rc want;
} records[] = {
	{ "scram-sha-256", { STORE_CRED_SCRAM_SHA_256, GOOD }, STORE_OK },
	{ "scram-sha-1", { STORE_CRED_SCRAM_SHA_1, GOOD1 }, STORE_OK },
	{ "crypt", { STORE_CRED_CRYPT, CRYPT }, STORE_OK },
	{ "sha-1 record as sha-256",
	  { STORE_CRED_SCRAM_SHA_256, GOOD1 }, STORE_INVALID },
	{ "sha-256 record as sha-1",
	  { STORE_CRED_SCRAM_SHA_1, GOOD }, STORE_INVALID },
	{ "short key",
	  { STORE_CRED_SCRAM_SHA_256,
	    "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$" KEY20 ":" KEY32 },
	  STORE_INVALID },
	{ "no server key",
	  { STORE_CRED_SCRAM_SHA_256, "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$" KEY32 },
	  STORE_INVALID },
	{ "something behind",
	  { STORE_CRED_SCRAM_SHA_256, GOOD " " }, STORE_INVALID },
	{ "no iterations",
	  { STORE_CRED_SCRAM_SHA_256,
	    "SCRAM-SHA-256$:c2FsdHNhbHQ=$" KEY32 ":" KEY32 }, STORE_INVALID },
	{ "negative iterations",
	  { STORE_CRED_SCRAM_SHA_256,
	    "SCRAM-SHA-256$-1:c2FsdHNhbHQ=$" KEY32 ":" KEY32 }, STORE_INVALID },
	{ "endless iterations",
	  { STORE_CRED_SCRAM_SHA_256,
	    "SCRAM-SHA-256$99999999999999999999:c2FsdHNhbHQ=$" KEY32 ":" KEY32 },
	  STORE_INVALID },
	{ "salt is no base64",
	  { STORE_CRED_SCRAM_SHA_256,
	    "SCRAM-SHA-256$4096:c2*sdA==$" KEY32 ":" KEY32 }, STORE_INVALID },
	{ "empty salt",
	  { STORE_CRED_SCRAM_SHA_256, "SCRAM-SHA-256$4096:$" KEY32 ":" KEY32 },
	  STORE_INVALID },
	{ "clear text", { STORE_CRED_SCRAM_SHA_256, "secret" }, STORE_INVALID },
	{ "empty", { STORE_CRED_CRYPT, "" }, STORE_INVALID },
	{ "locked crypt", { STORE_CRED_CRYPT, "!$6$saltsalt$abcdef" },
	  STORE_INVALID },
	{ "crypt with a colon", { STORE_CRED_CRYPT, "$6$salt:salt$abcdef" },
	  STORE_INVALID },
};
/* clang-format on */

static int
list_cred(const struct store_cred *cred, void *arg)
{
	append(arg, cred->device_id != 0 ? "device" : "account");
	append(arg, store_cred_kind_text(cred->kind));
	return 0;
}

static int
last_cred(const struct store_cred *cred, void *arg)
{
	*(struct store_cred *)arg = *cred;
	return 0;
}

static void
test_records(void **state)
{
	struct fixture *fx = *state;
	struct store_cred cred;
	enum store_rc rc;
	int64_t id;

	assert_rc(fx, store_user_add(fx->st, "ann", &id), STORE_OK);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		rc = store_password_set(fx->st, id, &records[i].record, 1);
		if (rc != records[i].want)
			fail_msg("%s: %s", records[i].name, store_rc_name(rc));
		if (rc != STORE_OK)
			continue;
		assert_rc(fx, store_cred_list(fx->st, id, last_cred, &cred),
		    STORE_OK);
		assert_string_equal(cred.record, records[i].record.text);
		assert_int_equal(cred.kind, records[i].record.kind);
	}
}

static void
test_passwords(void **state)
{
	const struct store_record both[] = {
		{ STORE_CRED_SCRAM_SHA_1, GOOD1 },
		{ STORE_CRED_SCRAM_SHA_256, GOOD },
	};
	const struct store_record twice[] = {
		{ STORE_CRED_SCRAM_SHA_256, GOOD },
		{ STORE_CRED_SCRAM_SHA_256, OTHER },
	};
	struct fixture *fx = *state;
	struct list list = { "" };
	struct store_cred cred;
	int64_t id, device;

	assert_rc(fx, store_user_add(fx->st, "ann", &id), STORE_OK);
	assert_rc(fx, store_password_set(fx->st, 99, both, 2), STORE_NONE);
	assert_rc(fx, store_password_set(fx->st, id, both, 2), STORE_OK);
	assert_rc(fx,
	    store_device_add(fx->st, id, "phone", STORE_DEVICE_PASSWORD,
		2000000000, &device),
	    STORE_OK);
	assert_rc(
	    fx, store_device_password(fx->st, device, twice, 1), STORE_OK);
	assert_rc(fx, store_cred_list(fx->st, id, list_cred, &list), STORE_OK);
	assert_string_equal(list.text,
	    "account scram-sha-1 account scram-sha-256 "
	    "device scram-sha-256");

	/* Refused: nothing has changed. */
	assert_rc(fx, store_password_set(fx->st, id, twice, 2), STORE_INVALID);
	list.text[0] = '\0';
	assert_rc(fx, store_cred_list(fx->st, id, list_cred, &list), STORE_OK);
	assert_string_equal(list.text,
	    "account scram-sha-1 account scram-sha-256 "
	    "device scram-sha-256");

	/* The same within a transaction that is committed. */
	assert_rc(fx, store_begin(fx->st), STORE_OK);
	assert_rc(fx, store_password_set(fx->st, id, twice, 2), STORE_INVALID);
	assert_rc(fx, store_commit(fx->st), STORE_OK);
	list.text[0] = '\0';
	assert_rc(fx, store_cred_list(fx->st, id, list_cred, &list), STORE_OK);
	assert_string_equal(list.text,
	    "account scram-sha-1 account scram-sha-256 "
	    "device scram-sha-256");

	/* A new password replaces all kinds of the old; devices stay. */
	assert_rc(fx, store_password_set(fx->st, id, twice, 1), STORE_OK);
	list.text[0] = '\0';
	assert_rc(fx, store_cred_list(fx->st, id, list_cred, &list), STORE_OK);
	assert_string_equal(
	    list.text, "account scram-sha-256 device scram-sha-256");
	assert_rc(fx, store_password_set(fx->st, id, NULL, 0), STORE_OK);
	assert_rc(fx, store_cred_list(fx->st, id, last_cred, &cred), STORE_OK);
	assert_int_equal(cred.device_id, device);
	assert_true(store_cred_usable(&cred, 1999999999));
	assert_false(store_cred_usable(&cred, 2000000000));
	assert_rc(fx, store_device_revoke(fx->st, device, 1000), STORE_OK);
	assert_rc(fx, store_cred_list(fx->st, id, last_cred, &cred), STORE_OK);
	assert_false(store_cred_usable(&cred, 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_words),
		FIXTURE_TEST(test_users),
		FIXTURE_TEST(test_user_columns),
		FIXTURE_TEST(test_addresses),
		FIXTURE_TEST(test_ownership),
		FIXTURE_TEST(test_records),
		FIXTURE_TEST(test_passwords),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
