/*
 * submitctl access: its verbs that read and write map files, in
 * ctl_accessfile.c.
 */
#ifndef SUBMITD_CTL_ACCESS_H
#define SUBMITD_CTL_ACCESS_H

#include "ctl.h"

int ctl_access_import(struct ctl *);
int ctl_access_export(struct ctl *);
int ctl_access_diff(struct ctl *);

#endif
