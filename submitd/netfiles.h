/*
 * What resolv.conf(5) and hosts(5) say, from their text in memory: the
 * resolver can't open them.  Pure.
 */
#ifndef SUBMITD_NETFILES_H
#define SUBMITD_NETFILES_H

#include <stddef.h>

enum { NETFILES_NAME = 256 }; /* bytes of a name or address, with NUL */

/* Calls fn for the address of each DNS server, in their order; how many there
 * were. */
size_t netfiles_servers(const void *text, size_t len,
    void (*fn)(void *arg, const char *addr), void *arg);

/* Calls fn for each name of each address.  Lines with an address that is none
 * are passed over, and so are names that are too long. */
void netfiles_hosts(const void *text, size_t len,
    void (*fn)(void *arg, const char *name, const char *addr), void *arg);

#endif
