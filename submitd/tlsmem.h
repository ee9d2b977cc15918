/*
 * Where OpenSSL keeps private keys.  OpenSSL can be given a piece of memory
 * for secrets, but then it takes it for the keys of single sessions, too, and
 * handshakes fail when it is full.  So what it allocates while a key is read
 * comes from auth/secret.h, and all else from where it always does.
 */
#ifndef SUBMITD_TLSMEM_H
#define SUBMITD_TLSMEM_H

#include <stdbool.h>

/* Once, before OpenSSL has allocated anything.  0, or -1: keys lie in common
 * memory. */
int tlsmem_init(void);

/* From here on, until it is said no, a private key is read. */
void tlsmem_guard(bool);

#endif
