/* OpenSSL's memory: see tlsmem.h. */
#include "tlsmem.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth/secret.h"

static bool guarded;

static void *
take(size_t n, const char *file, int line)
{
	void *p = guarded ? secret_alloc_inside(n) : NULL;

	(void)file, (void)line;
	return p != NULL ? p : malloc(n);
}

static void *
resize(void *p, size_t n, const char *file, int line)
{
	size_t old;
	void *q;

	if (p != NULL && !secret_owns(p))
		return realloc(p, n);
	old = p != NULL ? secret_size(p) : 0;
	if ((q = take(n, file, line)) == NULL)
		return NULL;
	if (p != NULL)
		memcpy(q, p, old < n ? old : n);
	secret_free(p);
	return q;
}

static void
give_back(void *p, const char *file, int line)
{
	(void)file, (void)line;
	if (secret_owns(p))
		secret_free(p);
	else
		free(p);
}

int
tlsmem_init(void)
{
	static bool done;

	if (!done)
		done = CRYPTO_set_mem_functions(take, resize, give_back) == 1;
	return done ? 0 : -1;
}

void
tlsmem_guard(bool on)
{
	guarded = on;
}
