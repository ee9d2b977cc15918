/*
 * What a role's user may do with a file, asked of the kernel: the rights of
 * all directories on the way, ACLs and mounts count.
 */
#ifndef SUBMITD_ASUSER_H
#define SUBMITD_ASUSER_H

#include <sys/types.h>

/*
 * mode is that of access(2).  As root a child becomes this user, in no group
 * but gid; anybody else asks for himself.  0, also if it can't be found out,
 * or an errno.
 */
int asuser_access(uid_t uid, gid_t gid, const char *path, int mode);

#endif
