/*
 * smtpd_fix.c: makes Debian 12's OpenSMTPD 6.8 usable with its own OpenSSL 3,
 * to measure it; the run compiles it and preloads it into that server.
 *
 * OpenSMTPD keeps the private key in another process, and marks the public key
 * that it gives to OpenSSL. In OpenSSL 3 EVP_PKEY_get1_*() returns a copy, the
 * mark is lost, and every TLS handshake fails ("missing private key", OpenSMTPD
 * issue 1171). What was got is therefore set again; from then on it is the one.
 *
 * It also listens with a backlog of 5 connections. With more clients at a time
 * the kernel drops some for good (it has answered with a SYN cookie), so the
 * backlog becomes that of everybody else.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#define _GNU_SOURCE
#include <sys/socket.h>

#include <dlfcn.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

/* dlsym() returns a pointer to data; C knows no cast from it to a function. */
union real {
	void *found;
	RSA *(*get_rsa)(EVP_PKEY *);
	EC_KEY *(*get_ec)(EVP_PKEY *);
	int (*listen)(int, int);
};

RSA *
EVP_PKEY_get1_RSA(EVP_PKEY *pkey)
{
	union real real = { dlsym(RTLD_NEXT, "EVP_PKEY_get1_RSA") };
	RSA *rsa = real.get_rsa(pkey);

	if (rsa != NULL)
		EVP_PKEY_set1_RSA(pkey, rsa);
	return rsa;
}

EC_KEY *
EVP_PKEY_get1_EC_KEY(EVP_PKEY *pkey)
{
	union real real = { dlsym(RTLD_NEXT, "EVP_PKEY_get1_EC_KEY") };
	EC_KEY *key = real.get_ec(pkey);

	if (key != NULL)
		EVP_PKEY_set1_EC_KEY(pkey, key);
	return key;
}

int
listen(int fd, int backlog)
{
	union real real = { dlsym(RTLD_NEXT, "listen") };

	(void)backlog;
	return real.listen(fd, SOMAXCONN);
}
