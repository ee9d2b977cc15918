/*
 * Tests of auth/pam.c on the real libpam, with services in a directory of
 * their own and a module that t/pam_test_module.c becomes here.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/pam.h"

static char dir[] = "/tmp/unit_pam.XXXXXX";

static void
put(const char *name, const char *text)
{
	char path[128];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fp = fopen(path, "w");
	assert_non_null(fp);
	fputs(text, fp);
	fclose(fp);
}

static void
make_module(void)
{
	const char *src = getenv("abs_top_srcdir");
	char cmd[1024], text[512];

	snprintf(cmd, sizeof(cmd),
	    "gcc -shared -fPIC -o %s/test.so '%s/t/pam_test_module.c' -lpam",
	    dir, src != NULL ? src : ".");
	if (system(cmd) != 0)
		fail_msg("can't build the module: %s", cmd);
	snprintf(text, sizeof(text),
	    "auth required %s/test.so\naccount required %s/test.so\n", dir,
	    dir);
	put("test", text);
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	put("permit",
	    "auth required pam_permit.so\naccount required pam_permit.so\n");
	put("deny",
	    "auth required pam_deny.so\naccount required pam_permit.so\n");
	put("expired",
	    "auth required pam_permit.so\naccount required pam_deny.so\n");
	put("missing", "auth required pam_of_nobody.so\n");
	make_module();
	return 0;
}

static int
teardown(void **state)
{
	char cmd[64];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd) == 0 ? 0 : -1;
}

/* In a process of its own, as it is meant to be: libpam leaves memory behind. */
static enum pam_rc
login(const struct pam_login *l, char detail[PAM_DETAIL_MAX])
{
	static struct {
		enum pam_rc rc;
		char detail[PAM_DETAIL_MAX];
	} * shared;
	pid_t pid;
	int status;

	if (shared == NULL)
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	if ((pid = fork()) == 0) {
		shared->rc = pam_login(l, shared->detail);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	memcpy(detail, shared->detail, sizeof(shared->detail));
	return shared->rc;
}

static void
test_verdicts(void **state)
{
	static const struct {
		const char *name, *service, *user, *password;
		unsigned otp;
		enum pam_rc rc;
		const char *detail; /* is part of it */
	} rows[] = {
		{ "permit", "permit", "ann", "x", 0, PAM_RC_OK, "" },
		{ "deny", "deny", "ann", "x", 0, PAM_RC_REFUSED,
		    "authentication" },
		{ "account refused", "expired", "ann", "x", 0, PAM_RC_REFUSED,
		    "account" },
		{ "no such service", "nothing", "ann", "x", 0, PAM_RC_TEMP,
		    "" },
		{ "no such module", "missing", "ann", "x", 0, PAM_RC_TEMP,
		    "authentication" },
		{ "empty password", "permit", "ann", "", 0, PAM_RC_REFUSED,
		    "no such password" },
		{ "right", "test", "ann", "secret", 0, PAM_RC_OK, "" },
		{ "wrong", "test", "ann", "Secret", 0, PAM_RC_REFUSED,
		    "authentication" },
		{ "expired", "test", "expired", "secret", 0, PAM_RC_REFUSED,
		    "account" },
		{ "locked", "test", "locked", "secret", 0, PAM_RC_REFUSED,
		    "account" },
		{ "password too old", "test", "stale", "secret", 0,
		    PAM_RC_REFUSED, "account" },
		{ "system trouble", "test", "system", "secret", 0, PAM_RC_TEMP,
		    "account" },
		{ "no database", "test", "broken", "secret", 0, PAM_RC_TEMP,
		    "authentication" },
		{ "another user at the end", "test", "rename", "secret", 0,
		    PAM_RC_REFUSED, "changed the user" },
		{ "code, no option", "test", "otp", "secret", 0, PAM_RC_TEMP,
		    "more than a password;" },
		{ "code", "test", "otp", "secret123456", 6, PAM_RC_OK, "" },
		{ "wrong code", "test", "otp", "secret123457", 6,
		    PAM_RC_REFUSED, "authentication" },
		{ "code too short", "test", "otp", "secret12345", 6,
		    PAM_RC_REFUSED, "no such password" },
		{ "a letter in the code", "test", "otp", "secret12345a", 6,
		    PAM_RC_REFUSED, "no such password" },
		{ "only a code", "test", "otp", "123456", 6, PAM_RC_REFUSED,
		    "no such password" },
		{ "code that nobody asks for", "test", "ann", "secret000000", 6,
		    PAM_RC_OK, "" },
	};
	char detail[PAM_DETAIL_MAX];
	struct pam_login l = { .confdir = dir, .rhost = "192.0.2.1" };
	enum pam_rc rc;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		l.service = rows[i].service;
		l.user = rows[i].user;
		l.password = rows[i].password;
		l.len = strlen(rows[i].password);
		l.otp_digits = rows[i].otp;
		rc = login(&l, detail);
		if (rc != rows[i].rc ||
		    strstr(detail, rows[i].detail) == NULL ||
		    (rc == PAM_RC_OK) != (detail[0] == '\0'))
			fail_msg("%s: rc %d, detail \"%s\"", rows[i].name,
			    (int)rc, detail);
	}
}

static void
test_not_a_text(void **state)
{
	static char longest[PAM_PASSWORD_MAX + 1];
	struct pam_login l = { .service = "permit",
		.confdir = dir,
		.user = "ann",
		.rhost = "192.0.2.1",
		.password = "sec\0ret",
		.len = 7 };
	char detail[PAM_DETAIL_MAX];

	(void)state;
	assert_int_equal(login(&l, detail), PAM_RC_REFUSED);
	memset(longest, 'x', sizeof(longest));
	l.password = longest;
	l.len = sizeof(longest);
	assert_int_equal(login(&l, detail), PAM_RC_REFUSED);
	l.len--;
	assert_int_equal(login(&l, detail), PAM_RC_OK);
}

static void
test_remote_host(void **state)
{
	struct pam_login l = { .service = "test",
		.confdir = dir,
		.user = "rhost",
		.rhost = "127.0.0.1",
		.password = "secret",
		.len = 6 };
	char detail[PAM_DETAIL_MAX];

	(void)state;
	assert_int_equal(login(&l, detail), PAM_RC_OK);
	l.rhost = "192.0.2.1";
	assert_int_equal(login(&l, detail), PAM_RC_REFUSED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_not_a_text),
		cmocka_unit_test(test_remote_host),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
