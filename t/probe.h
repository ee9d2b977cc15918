/*
 * The probe: makes a role try what it must not.  Linked with all of submitd
 * it makes t/probed; submitd itself has nothing of it but two pointers that
 * are NULL.
 */
#ifndef T_PROBE_H
#define T_PROBE_H

#include "submitd/role.h"

/* t/probe_ipc.c: "PEER HOW TYPE"; NULL, or what went wrong. */
const char *probe_ipc(struct role_setup *, const char *text);

#endif
