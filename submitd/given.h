/*
 * All that parent hands to the roles: the checked configuration and the
 * contents of the files it names.  Made anew by each start and each reload;
 * a set of roles keeps the one it was started with, also for the restart of
 * one that died.
 */
#ifndef SUBMITD_GIVEN_H
#define SUBMITD_GIVEN_H

#include "conf.h"
#include "proto.h"

/*
 * Private keys and the smarthost's password stay here as long as the set runs,
 * since parent must be able to start a front or relay anew, when the files may
 * be others already.  They lie in the memory of auth/secret.h, are wiped with
 * the set, and parent cannot be traced or dumped.  It reads nothing from the
 * network.
 */
struct given {
	unsigned refs;
	struct conf conf;
	struct buf pem[PEM_KIND_COUNT];

	/* what is to be known of the OCSP response of each chain */
	struct given_staple {
		char *file;    /* of the response, or of the chain without */
		char *trouble; /* NULL: it is good, or none is wanted */
		int64_t until; /* it is good so long; 0 */
		bool must;     /* clients may insist on one */
	} *staple;
	size_t staples;

	/* of a renewal: why a pair of certificate and key is the one of
	 * before; NULL */
	char *held;
};

/*
 * Reads and checks everything that can be checked without binding: keys,
 * certificates and their dates, rights of secret files, users, directories,
 * the user store.  NULL with one line in err that names file, line and key:
 * "FILE:LINE: KEY: what was wrong, what is expected".
 */
struct given *given_load(const char *path, char *err, size_t errlen);

/*
 * The same configuration with the files read anew; the file of the
 * configuration is left alone, somebody may be at work on it.  NULL with
 * "KEY: what was wrong, what is expected".
 */
struct given *given_renew(const struct given *, char *err, size_t errlen);
/* Whether all files have the same content, OCSP responses apart. */
bool given_same(const struct given *, const struct given *);
/* The OCSP responses of another one with the same configuration, which gets
 * those of the first; whether they are others. */
bool given_take_staples(struct given *, struct given *from);
/* Calls for every file that was read, and every directory. */
typedef void given_file_fn(const char *path, bool directory);
void given_each_file(const struct given *, given_file_fn *);

/* Only the CAs and revocation lists of client certificates, into g->pem, for
 * the configuration in g, which conf_load() read last.  0 or -1. */
int given_client_ca(struct given *g, char *err, size_t errlen);

/* For submitctl: one of chroot_dir, spool, users_db, control_socket, pid_file:
 * is it there, or made at the start, and are its rights as they should be? 0,
 * or -1 as above. */
int given_place(const struct conf *, const char *key, char *err, size_t errlen);

void given_hold(struct given *);
void given_release(struct given **);

/* Whether somebody's password or token is not for us alone to judge. */
bool given_wants_pam(const struct given *);

/* Makes what a server needs and root can make: the empty directory of the
 * chroots, the spool with its owner.  0 or -1 as above. */
int given_prepare(const struct given *, char *err, size_t errlen);

#endif
