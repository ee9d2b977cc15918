/*
 * Certificates in results of submitctl: `cert list` and `user show`.
 */
#ifndef SUBMITD_CTL_CERT_H
#define SUBMITD_CTL_CERT_H

#include "ctl.h"
#include "store/cert.h"

extern const struct ctl_column ctl_cert_columns[];

json_t *ctl_cert_json(const struct store_cert *);

#endif
