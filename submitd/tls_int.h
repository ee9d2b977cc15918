/* The inside of tls.c, tls_server.c and tls_ocsp.c. */
#ifndef SUBMITD_TLS_INT_H
#define SUBMITD_TLS_INT_H

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls.h"
#include "tlsname.h"

struct ticket_key {
	unsigned char name[16], cipher[32], mac[32];
};
_Static_assert(sizeof(struct ticket_key) == TLS_TICKET_KEY, "as it travels");

enum { TLS_MARK = 32 };

/* A certificate, what stands behind it in its file, and its key. */
struct tls_chain {
	X509 *leaf;
	unsigned char mark[TLS_MARK]; /* of a server: SHA-256 of leaf */
	STACK_OF(X509) * more;
	EVP_PKEY *key; /* in the memory of auth/secret.h; NULL: not read */
	enum tlsname_kind kind;
	unsigned char *staple; /* OCSP response; NULL: none */
	size_t staple_len;
	int64_t staple_until; /* seconds since 1970 */
};

/* Those chains that a client may choose between, by kind of key. */
struct tls_group {
	const struct tlsname_pick *pick;
	SSL_CTX *ssl;
};

struct tls_ctx {
	SSL_CTX *ssl; /* a server's belongs to its first group */
	bool client;

	/* of a server */
	struct tls_chain *chain;
	size_t chains;
	struct tls_group *group;
	size_t groups;
	struct tlsname *names;
	struct ticket_key ticket[TLS_TICKET_KEYS]; /* the first makes them */
	size_t tickets;
};

/* What OpenSSL said last, behind the words; -1. */
int tls_fail(char *err, size_t errlen, const char *what);

/* The certificates, without a key; 0 or -1 with a sentence. */
int tls_chain_read(
    struct tls_chain *, const struct buf *pem, char *err, size_t errlen);
/* With its key, which fits it. */
int tls_chain_read_pair(struct tls_chain *, const struct buf *cert,
    const struct buf *key, char *err, size_t errlen);
void tls_chain_clear(struct tls_chain *);
/* 0 or -1 with a sentence. */
int tls_chain_use(
    SSL_CTX *, const struct tls_chain *, char *err, size_t errlen);

/* A context as both sides have it; NULL. */
SSL_CTX *tls_context(const SSL_METHOD *, const char *ciphers);

#endif
