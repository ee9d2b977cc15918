/* SHA-256, by OpenSSL: see digest.h. */
#include "digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "mem.h"

struct digest {
	EVP_MD_CTX *ctx;
};

/* It fails for lack of memory only. */
static void
must(int ok)
{
	if (ok != 1)
		abort();
}

void
digest_preload(void)
{
	struct digest *d;

	/* 60 KiB for texts of errors that nobody would see */
	must(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG |
		OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS,
	    NULL));
	d = digest_new();
	digest_free(&d);
}

struct digest *
digest_new(void)
{
	struct digest *d = xcalloc(1, sizeof(*d));

	d->ctx = EVP_MD_CTX_new();
	must(d->ctx != NULL);
	must(EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL));
	return d;
}

void
digest_add(struct digest *d, const void *p, size_t n)
{
	must(EVP_DigestUpdate(d->ctx, p, n));
}

void
digest_end(struct digest **dp, unsigned char out[DIGEST_LEN])
{
	must(EVP_DigestFinal_ex((*dp)->ctx, out, NULL));
	digest_free(dp);
}

void
digest_free(struct digest **dp)
{
	if (*dp != NULL)
		EVP_MD_CTX_free((*dp)->ctx);
	free(*dp);
	*dp = NULL;
}
