/* Tests of auth/mech_scram.c: what SCRAM shows of names, of users or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CRYPT    "$6$saltstring$svn8UoSVapNtMu"

enum { NAMES = 400 };

/* The users, their only record, and their state. */
static struct person {
	const char *name, *address;
	unsigned iterations; /* 0: crypt(3), or nothing without a password */
	int64_t device;
	enum sasl_user state;
	char record[SCRAM_RECORD_MAX];
} people[] = {
	{ "ann", "smith@example.org", 8192, 0, SASL_USER_FOUND, "" },
	{ "off", "off@example.org", 8192, 0, SASL_USER_DISABLED, "" },
	{ "old", "old@example.org", 0, 0, SASL_USER_FOUND, CRYPT },
	{ "app", "app@example.org", 8192, 7, SASL_USER_FOUND, "" },
	{ "key", "key@example.org", 0, 0, SASL_USER_FOUND, "" },
};

static struct person *
find(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(people); i++)
		if (strcmp(name, people[i].name) == 0 ||
		    strcmp(name, people[i].address) == 0)
			return &people[i];
	return NULL;
}

static enum sasl_user
resolve(void *arg, const char *name, char out[SASL_USER_MAX + 1])
{
	const struct person *p = find(name);

	(void)arg;
	if (p == NULL)
		return SASL_USER_UNKNOWN;
	strcpy(out, p->name);
	return p->state;
}

static enum sasl_user
lookup(void *arg, const char *user, struct sasl_account *out)
{
	const struct person *p = find(user);

	(void)arg;
	if (p == NULL)
		return SASL_USER_UNKNOWN;
	if (p->record[0] != '\0')
		sasl_account_add(out, p->device, p->record);
	return p->state;
}

/* By what is before the "@", of their names and addresses. */
static enum sasl_user
alike(void *arg, const char *name, char out[SASL_USER_MAX + 1],
    struct sasl_account *account)
{
	size_t i, n = strcspn(name, "@");

	for (i = 0; i < COUNT(people); i++) {
		const struct person *p = &people[i];

		if ((strlen(p->name) == n && strncmp(name, p->name, n) == 0) ||
		    (strcspn(p->address, "@") == n &&
			strncmp(name, p->address, n) == 0)) {
			strcpy(out, p->name);
			return lookup(arg, p->name, account);
		}
	}
	return SASL_USER_UNKNOWN;
}

static int
setup(void **state)
{
	static const unsigned char secret[32] = "a secret that never changes";
	const struct sasl_config cfg = {
		.cb = { resolve, lookup, alike, NULL, NULL },
		.fqdn = "mail.example.org",
		.secret = secret,
		.iterations = 8192,
		.sha1 = true,
	};
	char err[256] = "";
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(people); i++)
		if (people[i].iterations != 0)
			scram_record_make("pencil", 6, SCRAM_SHA_256,
			    people[i].iterations, people[i].record,
			    SCRAM_RECORD_MAX);
	if (sasl_global_init(&cfg, err, sizeof(err)) == -1)
		fail_msg("%s", err);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	sasl_global_done();
	return 0;
}

static int
no_shapes(void **state)
{
	(void)state;
	sasl_global_shapes(NULL, 0);
	return 0;
}

/* What the server's first message shows. */
struct seen {
	enum sasl_rc rc;
	unsigned iterations;
	char salt[128];
};

static void
look(const char *mech, const char *name, uint32_t usable, struct seen *out)
{
	const struct sasl_params p = {
		.mech = mech, .usable = usable, .tls_bits = 256
	};
	struct sasl_conv *conv;
	const unsigned char *data;
	char msg[400], text[512];
	size_t len;

	memset(out, 0, sizeof(*out));
	snprintf(msg, sizeof(msg), "n,,n=%s,r=abcdefghijkl", name);
	out->rc =
	    sasl_conv_start(&conv, &p, (const unsigned char *)msg, strlen(msg));
	if (out->rc == SASL_RC_CONTINUE) {
		data = sasl_conv_challenge(conv, &len);
		assert_true(len < sizeof(text));
		memcpy(text, data, len);
		text[len] = '\0';
		assert_int_equal(sscanf(strstr(text, ",s="), ",s=%127[^,],i=%u",
				     out->salt, &out->iterations),
		    2);
	}
	sasl_conv_free(&conv);
}

static const uint32_t usual =
    SASL_MECH_SCRAM_SHA_256 | SASL_MECH_SCRAM_SHA_1 | SASL_MECH_PLAIN;

static void
see(const char *name, struct seen *out)
{
	look("SCRAM-SHA-256", name, usual, out);
}

static void
assert_same(const char *a, const char *b)
{
	struct seen x, y;

	see(a, &x);
	see(b, &y);
	if (x.rc != y.rc || x.iterations != y.iterations ||
	    strcmp(x.salt, y.salt) != 0)
		fail_msg("%s and %s: %d %u %s, %d %u %s", a, b, x.rc,
		    x.iterations, x.salt, y.rc, y.iterations, y.salt);
	assert_int_equal(x.rc, SASL_RC_CONTINUE);
}

/* Who asks for a name in several spellings sees the same for all of them. */
static void
spellings(void **state)
{
	static const struct {
		const char *name, *a, *b;
	} rows[] = {
		{ "a user's name and address", "app", "app@example.org" },
		{ "and another domain", "app", "app@else.example" },
		{ "another name, its address", "ann", "smith@example.org" },
		{ "that name without domain", "smith", "smith@example.org" },
		{ "that name with another", "smith", "smith@else.example" },
		{ "a disabled user", "off", "off@example.org" },
		{ "and another domain", "off", "off@else.example" },
		{ "a user without a password", "key", "key@example.org" },
		{ "and another domain", "key", "key@else.example" },
		{ "nobody", "nobody", "nobody@example.org" },
		{ "and another domain", "nobody", "nobody@else.example" },
		{ "nobody, in another case", "nobody", "NoBody" },
	};
	struct seen x, y;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		print_message("# %s\n", rows[i].name);
		assert_same(rows[i].a, rows[i].b);
	}
	see("ann", &x);
	see("nobody", &y);
	assert_int_equal(x.iterations, y.iterations);
	assert_int_equal(strlen(x.salt), strlen(y.salt));
	assert_string_not_equal(x.salt, y.salt);
}

/* By name: 0 to 2 for the shape it has, 3 for a transition. */
static void
look_at_all(int place[NAMES])
{
	struct seen x;
	char name[32];
	int i;

	for (i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "nobody%d", i);
		see(name, &x);
		if (x.rc == SASL_RC_TRANSITION)
			place[i] = 0;
		else if (x.iterations == 4096)
			place[i] = 1;
		else {
			assert_int_equal(x.iterations, 32768);
			place[i] = 2;
		}
		/* 12 and 16 bytes */
		if (x.rc == SASL_RC_CONTINUE)
			assert_int_equal(
			    strlen(x.salt), place[i] == 1 ? 16 : 24);
	}
}

static int
count(const int place[NAMES], int which)
{
	int i, n = 0;

	for (i = 0; i < NAMES; i++)
		n += place[i] == which;
	return n;
}

/* Names of nobody are as different as users are, each always the same. */
static void
shares(void **state)
{
	struct sasl_shape s[] = {
		{ false, 0, 0, 10 },
		{ false, 4096, 12, 30 },
		{ false, 32768, 16, 60 },
		{ true, 5000, 16, 1000 },
	};
	int before[NAMES], after[NAMES], i;

	(void)state;
	sasl_global_shapes(s, COUNT(s));
	look_at_all(before);
	print_message("# %d, %d, %d of %d\n", count(before, 0),
	    count(before, 1), count(before, 2), NAMES);
	assert_in_range(count(before, 0), 15, 70);
	assert_in_range(count(before, 1), 80, 160);
	assert_in_range(count(before, 2), 190, 290);
	look_at_all(after);
	assert_memory_equal(before, after, sizeof(before));

	print_message("# users go over to a new record one by one\n");
	while (s[0].users > 0 || s[1].users > 0) {
		s[s[0].users > 0 ? 0 : 1].users--;
		s[2].users++;
		if (s[0].users + s[1].users > 35)
			continue;
		sasl_global_shapes(s, COUNT(s));
		look_at_all(after);
		for (i = 0; i < NAMES; i++)
			if (after[i] < before[i])
				fail_msg("nobody%d went back", i);
		memcpy(before, after, sizeof(before));
	}
	assert_int_equal(count(after, 2), NAMES);
}

static void
shapes_of_sha1(void **state)
{
	const struct sasl_shape s[] = {
		{ false, 4096, 16, 5 },
		{ true, 5000, 16, 5 },
	};
	struct seen x;

	(void)state;
	sasl_global_shapes(s, COUNT(s));
	look("SCRAM-SHA-1", "nobody", usual, &x);
	assert_int_equal(x.iterations, 5000);
	look("SCRAM-SHA-256", "nobody", usual, &x);
	assert_int_equal(x.iterations, 4096);
}

/* A password, but no record to prove it by. */
static void
transitions(void **state)
{
	const struct sasl_shape all = { false, 0, 0, 1 };
	struct seen x, y;

	(void)state;
	see("old", &x);
	assert_int_equal(x.rc, SASL_RC_TRANSITION);
	see("old@else.example", &x);
	assert_int_equal(x.rc, SASL_RC_TRANSITION);
	look("SCRAM-SHA-1", "ann", usual, &x);
	assert_int_equal(x.rc, SASL_RC_TRANSITION);
	print_message("# where nothing else can be used: like nobody\n");
	look("SCRAM-SHA-256", "old", SASL_MECH_SCRAM_SHA_256, &x);
	assert_int_equal(x.rc, SASL_RC_CONTINUE);
	print_message("# all are asked for it: so are names of nobody\n");
	sasl_global_shapes(&all, 1);
	see("nobody", &x);
	assert_int_equal(x.rc, SASL_RC_TRANSITION);
	look("SCRAM-SHA-256", "nobody", SASL_MECH_SCRAM_SHA_256, &x);
	assert_int_equal(x.rc, SASL_RC_CONTINUE);
	print_message("# who has a record uses it\n");
	see("ann", &x);
	see("app", &y);
	assert_int_equal(x.rc, SASL_RC_CONTINUE);
	assert_int_equal(y.rc, SASL_RC_CONTINUE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(spellings, no_shapes),
		cmocka_unit_test_setup(shares, no_shapes),
		cmocka_unit_test_setup(shapes_of_sha1, no_shapes),
		cmocka_unit_test_setup(transitions, no_shapes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
