/*
 * Certificates in results of submitctl: `cert list` and `user show`.
 */
#ifndef SUBMITD_CTL_CERT_H
#define SUBMITD_CTL_CERT_H

#include "auth/cert.h"
#include "ctl.h"
#include "store/cert.h"

extern const struct ctl_column ctl_cert_columns[];

json_t *ctl_cert_json(const struct store_cert *);

/*
 * Examines the certificates of a PEM file as what a client shows: its own
 * first. trust may be NULL. 0 or an exit status.
 */
int ctl_cert_examine(const char *path, const struct cert_trust *trust,
    int64_t now, struct cert_facts *facts);

#endif
