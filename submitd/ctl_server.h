/*
 * The server's certificate in `submitctl init`.
 */
#ifndef SUBMITD_CTL_SERVER_H
#define SUBMITD_CTL_SERVER_H

#include "ctl.h"

#define CTL_SERVER_OPTS                                                        \
	{ "--self-signed", false }, { "--from-ca", false },                    \
	    { "--host", true }, { "--key", true }, { "--days", true },         \
	{                                                                      \
		"--force", false                                               \
	}
#define CTL_SERVER_ARGS                                                        \
	"[{--self-signed | --from-ca} [--host NAME]... [--key FILE] "          \
	"[--days N] [--force]]"

/* Is a certificate asked for? */
bool ctl_server_wanted(const struct ctl *);

/*
 * What would hinder ctl_server_make(), asked before anything is made. 0 or an
 * exit status.
 */
int ctl_server_check(const struct ctl *);

/*
 * Makes the certificate and its key as the options say, with the store open
 * for writing; adds to the result of the command. 0 or an exit status.
 */
int ctl_server_make(struct ctl *);

#endif
