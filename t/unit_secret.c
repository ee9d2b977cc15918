/* Memory for secrets: blocks do not meet, nothing stays behind, and the
 * kernel was told all it should. */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/secret.h"

enum { SIZE = 64 * 1024, BLOCKS = 64 };

static bool
is_all(const void *p, int c, size_t n)
{
	const unsigned char *b = p;
	size_t i;

	for (i = 0; i < n; i++)
		if (b[i] != (unsigned char)c)
			return false;
	return true;
}

/* Before the arena is there, and when it is full, it works all the same. */
static void
test_outside(void **state)
{
	char *p = secret_alloc(100);

	(void)state;
	assert_non_null(p);
	assert_false(secret_owns(p));
	memset(p, 'x', 100);
	p = secret_realloc(p, 1000);
	assert_true(is_all(p, 'x', 100));
	secret_free(p);
	secret_free(NULL);
}

static void
test_init(void **state)
{
	(void)state;
	assert_int_equal(secret_init(SIZE), 0);
	assert_int_equal(secret_init(SIZE), -1);
	assert_int_equal(errno, EALREADY);
	assert_int_equal(secret_peak(), 0);
}

static void
test_wiped(void **state)
{
	unsigned char *p = secret_alloc(100), *q;

	(void)state;
	assert_true(secret_owns(p));
	memset(p, 'x', 100);
	q = secret_realloc(p, 5000); /* elsewhere */
	assert_ptr_not_equal(p, q);
	assert_true(is_all(q, 'x', 100));
	assert_true(is_all(p, 0, 100));
	memset(q, 'y', 5000);
	assert_ptr_equal(secret_realloc(q, 10), q); /* it fits */
	secret_free(q);
	/* behind what the lists need */
	assert_true(is_all(q + 32, 0, 5000 - 32));
}

/* Many blocks that come and go: each keeps what was put into it. */
static void
test_many(void **state)
{
	struct {
		unsigned char *p;
		size_t n;
	} block[BLOCKS] = { { NULL, 0 } };
	unsigned seed = 1;
	size_t i, round;

	(void)state;
	for (round = 0; round < 20000; round++) {
		seed = seed * 1103515245 + 12345;
		i = (seed >> 16) % BLOCKS;
		if (block[i].p != NULL) {
			assert_true(
			    is_all(block[i].p, (int)(i + 1), block[i].n));
			secret_free(block[i].p);
			block[i].p = NULL;
			continue;
		}
		block[i].n = (seed >> 8) % 2500;
		block[i].p = secret_alloc(block[i].n);
		assert_non_null(block[i].p);
		assert_int_equal((uintptr_t)block[i].p % 16, 0);
		memset(block[i].p, (int)(i + 1), block[i].n);
	}
	for (i = 0; i < BLOCKS; i++)
		secret_free(block[i].p);
	/* all is one piece again */
	block[0].p = secret_alloc(SIZE - 16);
	assert_true(secret_owns(block[0].p));
	block[1].p = secret_alloc(1);
	assert_non_null(block[1].p);
	assert_false(secret_owns(block[1].p));
	assert_int_equal(secret_peak(), SIZE);
	secret_free(block[0].p);
	secret_free(block[1].p);
	assert_null(secret_alloc(SIZE_MAX));
}

/* What a child does, as its exit status or minus its signal. */
static int
in_child(int (*fn)(unsigned char *), unsigned char *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		_exit(fn(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int
read_one(unsigned char *p)
{
	return *(volatile unsigned char *)p == 0 ? 0 : 1;
}

static void
test_walls(void **state)
{
	unsigned char *p = secret_alloc(SIZE - 16);

	(void)state;
	p[0] = p[SIZE - 17] = 'x';
	/* a child sees zeros, and can't leave the piece */
	assert_int_equal(in_child(read_one, p), 0);
	assert_int_equal(p[0], 'x');
#ifndef __SANITIZE_ADDRESS__ /* which ends it otherwise */
	assert_int_equal(in_child(read_one, p + SIZE - 16), -SIGSEGV);
	assert_int_equal(in_child(read_one, p - 17), -SIGSEGV);
#endif
	secret_free(p);
}

/* Locked, not dumped, wiped on fork: as the kernel sees it. */
static void
test_flags(void **state)
{
	unsigned char *p = secret_alloc(1);
	unsigned long from, to;
	char line[512], flags[256] = "";
	bool here = false;
	FILE *fp = fopen("/proc/self/smaps", "r");

	(void)state;
	assert_non_null(fp);
	while (fgets(line, sizeof(line), fp) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (uintptr_t)p && (uintptr_t)p < to;
		if (here && sscanf(line, "VmFlags: %255[^\n]", flags) == 1)
			break;
	}
	fclose(fp);
	assert_non_null(strstr(flags, "lo "));
	assert_non_null(strstr(flags, "dd "));
	assert_non_null(strstr(flags, "wf "));
	secret_free(p);
}

static int
init_unlocked(unsigned char *arg)
{
	const struct rlimit none = { 0, 0 };
	void *p;

	(void)arg;
	if (setrlimit(RLIMIT_MEMLOCK, &none) == -1 ||
	    (geteuid() == 0 && setuid(65534) == -1))
		return 2;
	if (secret_init(SIZE) != -1 || (errno != EPERM && errno != ENOMEM))
		return 3;
	p = secret_alloc(10);
	return p != NULL && secret_owns(p) ? 0 : 4;
}

/* RLIMIT_MEMLOCK forbids it: said, but no reason not to go on. */
static void
test_not_locked(void **state)
{
	(void)state;
	assert_int_equal(in_child(init_unlocked, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_locked), /* before ours is made */
		cmocka_unit_test(test_outside),
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_walls),
		cmocka_unit_test(test_flags),
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
