/*
 * The private CA in commands of submitctl: `ca`, `device add --cert` and
 * `init --from-ca`. Its files are ca.pem and ca.key below cert_dir.
 */
#ifndef SUBMITD_CTL_CA_H
#define SUBMITD_CTL_CA_H

#include "auth/ca.h"
#include "ctl.h"

#define CTL_CA_CERT CONF_CA_CERT
#define CTL_CA_KEY  "ca.key"

/* A clock of a device that is slow must not find it in the future. */
enum { CTL_CA_SLACK_S = 300 };

enum { CTL_PEM_MAX = 1 << 20 }; /* bytes of a file of PEM */

/*
 * Opens the CA that the store knows, with its key. *ca is NULL or open. 0 or
 * an exit status.
 */
int ctl_ca_open(const struct ctl *, struct ca **ca);

/* Notes in the store what the CA has issued, for a user or (0) for none. */
int ctl_ca_issued(const struct ctl *, const struct ca_cert *, int64_t user_id);

#endif
