/* submitd/publicca.c, with a system of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/ca.h"
#include "submitd/publicca.h"

static char dir[] = "/tmp/unit_publicca.XXXXXX";
static struct ca_cert public, renewed, private, local;

/* Another certificate of the same key, if there is one. */
static void
make(const char *cn, struct ca_key **key, struct ca_cert *out)
{
	const struct ca_wish wish = { .use = CA_AUTHORITY,
		.cn = cn,
		.not_before = time(NULL) - 60,
		.not_after = time(NULL) + 3600 };
	char err[256];

	if (*key == NULL)
		*key = ca_key_new(err, sizeof(err));
	if (ca_self_sign(&wish, *key, out, err, sizeof(err)) == -1)
		fail_msg("%s", err);
}

static void
put(const char *name, const struct ca_cert *a, const struct ca_cert *b)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	fprintf(f, "# a comment\n%.*s", (int)a->pem.len, (char *)a->pem.p);
	if (b != NULL)
		fprintf(f, "%.*s", (int)b->pem.len, (char *)b->pem.p);
	assert_int_equal(fclose(f), 0);
}

static int
setup(void **state)
{
	struct ca_key *one = NULL, *two = NULL, *three = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	make("Public CA", &one, &public);
	make("Public CA G2", &one, &renewed);
	make("Private CA", &two, &private);
	make("Company CA", &three, &local);
	put("bundle", &public, &local);
	assert_int_equal(mkdir("local", 0755), 0);
	assert_int_equal(mkdir("local/company", 0755), 0);
	put("local/company/ca.crt", &local, NULL);
	put("local/other.crt", &private, NULL);
	ca_key_free(&one);
	ca_key_free(&two);
	ca_key_free(&three);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	ca_cert_free(&public);
	ca_cert_free(&renewed);
	ca_cert_free(&private);
	ca_cert_free(&local);
	return system("rm -rf bundle local") | rmdir(dir);
}

/* The name of what is found among two CAs; "" if nothing is. */
static void
assert_found(const struct ca_cert *a, const struct ca_cert *b,
    const char *const *bundles, const char *want)
{
	const struct publicca_paths paths = { bundles, "local" };
	const struct certfile_cert *found;
	char pem[4096], err[256];
	struct certfile *file;
	int n;

	n = snprintf(pem, sizeof(pem), "%.*s%.*s", (int)a->pem.len,
	    (char *)a->pem.p, (int)b->pem.len, (char *)b->pem.p);
	file = certfile_read(pem, (size_t)n, err, sizeof(err));
	assert_non_null(file);
	found = publicca_find(file, &paths);
	assert_string_equal(found != NULL ? found->subject : "", want);
	certfile_free(&file);
}

static void
finds(void **state)
{
	static const char *const bundles[] = { "nothing", "bundle", NULL };
	static const char *const none[] = { "nothing", NULL };

	(void)state;
	assert_found(&private, &private, bundles, "");
	assert_found(&private, &public, bundles, "CN = Public CA");
	print_message("# another certificate of the same key\n");
	assert_found(&private, &renewed, bundles, "CN = Public CA G2");
	print_message("# one that the administrator added to the system's\n");
	assert_found(&private, &local, bundles, "");
	assert_found(&local, &public, bundles, "CN = Public CA");
	print_message("# a system without any\n");
	assert_found(&private, &public, none, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
