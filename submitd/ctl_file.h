/*
 * Files that submitctl reads and makes: certificates, keys, imports.
 */
#ifndef SUBMITD_CTL_FILE_H
#define SUBMITD_CTL_FILE_H

#include <sys/types.h>

#include "ctl.h"
#include "mem.h"

/*
 * Reads a file of at most max bytes, "-" is stdin. A NUL stands behind the
 * content and is not counted. Wipe it if it may hold a secret. 0 or an exit
 * status.
 */
int ctl_read_file(const char *path, size_t max, struct buf *out);

/*
 * The same for a file with a private key: nobody but its owner may be able to
 * read it, and that is root or the caller.
 */
int ctl_read_secret(const char *path, size_t max, struct buf *out);

/*
 * Makes a file as a whole, on disk when this returns. One that exists is
 * replaced at once if `replace` says so; if not, it is an error. 0 or an exit
 * status.
 */
int ctl_write_file(
    const char *path, const void *data, size_t len, mode_t mode, bool replace);

/* Makes a directory that is missing, for all to enter. 0 or an exit status. */
int ctl_make_dir(const char *path);

/*
 * The option --days: a number from 1 to 36500, `def` without it. 0 or an exit
 * status.
 */
int ctl_days(const struct ctl *, int64_t def, int64_t *days);

/*
 * An option such as --expires: a number with s, m, h, d or w behind it, in
 * seconds; *span is 0 without the option. 0 or an exit status.
 */
int ctl_span(const struct ctl *, const char *name, int64_t *span);

#endif
