/*
 * Files that submitctl reads and makes.
 */
#include "ctl_file.h"

#include <sys/stat.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- reading ---- */

static int
slurp(int fd, size_t max, struct buf *out)
{
	ssize_t n;

	for (;;) {
		n = read(fd, buf_room(out, 16384), 16384);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_grew(out, (size_t)n);
		if (out->len > max) {
			errno = EFBIG;
			return -1;
		}
	}
	if (n == -1)
		return -1;
	buf_add(out, "", 1);
	out->len--;
	return 0;
}

static int
cant_read(const char *path)
{
	return ctl_fail(errno == EACCES ? EX_NOPERM
		: errno == EFBIG        ? EX_DATAERR
					: EX_NOINPUT,
	    "%s: %s", path, strerror(errno));
}

static int
check_secret(const char *path, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return cant_read(path);
	if ((st.st_mode & 077) != 0)
		return ctl_fail(EX_NOPERM,
		    "%s is open to others (mode %04o): chmod 600 %s", path,
		    (unsigned)st.st_mode & 07777, path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return ctl_fail(EX_NOPERM,
		    "%s belongs to uid %u, expected root or the caller", path,
		    (unsigned)st.st_uid);
	return 0;
}

static int
read_file(const char *path, size_t max, bool secret, struct buf *out)
{
	int fd = STDIN_FILENO, status = 0;

	if (strcmp(path, "-") != 0 &&
	    (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)) == -1)
		return cant_read(path);
	if (secret && fd != STDIN_FILENO)
		status = check_secret(path, fd);
	if (status == 0 && slurp(fd, max, out) == -1)
		status = cant_read(path);
	if (fd != STDIN_FILENO)
		close(fd);
	return status;
}

int
ctl_read_file(const char *path, size_t max, struct buf *out)
{
	return read_file(path, max, false, out);
}

int
ctl_read_secret(const char *path, size_t max, struct buf *out)
{
	return read_file(path, max, true, out);
}

/* ---- writing ---- */

static int
cant_write(const char *path)
{
	return ctl_fail(
	    errno == EACCES || errno == EPERM ? EX_NOPERM : EX_CANTCREAT,
	    "%s: %s", path, strerror(errno));
}

static int
write_all(int fd, const char *p, size_t len)
{
	ssize_t n;

	for (; len > 0; p += n, len -= (size_t)n) {
		n = write(fd, p, len);
		if (n == -1 && errno == EINTR)
			n = 0;
		if (n == -1)
			return -1;
	}
	return 0;
}

static int
fill(int fd, const void *data, size_t len, mode_t mode)
{
	int rc = write_all(fd, data, len);

	if (rc == 0)
		rc = fchmod(fd, mode); /* whatever the umask is */
	if (rc == 0)
		rc = fsync(fd);
	if (close(fd) == -1)
		rc = -1;
	return rc;
}

/* The name is on disk, too. */
static int
sync_dir(const char *path)
{
	char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	free(copy);
	if (fd == -1)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

static int
write_new(const char *path, const void *data, size_t len, mode_t mode)
{
	int fd;

	fd = open(
	    path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1)
		return -1;
	if (fill(fd, data, len, mode) == 0)
		return 0;
	unlink(path);
	return -1;
}

static int
write_over(const char *path, const void *data, size_t len, mode_t mode)
{
	char *temp = xasprintf("%s.new-%d", path, (int)getpid());
	int rc = write_new(temp, data, len, mode);

	if (rc == 0 && (rc = rename(temp, path)) == -1)
		unlink(temp);
	free(temp);
	return rc;
}

int
ctl_write_file(
    const char *path, const void *data, size_t len, mode_t mode, bool replace)
{
	int rc;

	rc = replace ? write_over(path, data, len, mode)
		     : write_new(path, data, len, mode);
	if (rc == -1 && errno == EEXIST)
		return ctl_fail(
		    EX_CANTCREAT, "%s is there already; move it away", path);
	if (rc == -1 || sync_dir(path) == -1)
		return cant_write(path);
	return 0;
}

int
ctl_make_dir(const char *path)
{
	if (mkdir(path, 0755) == 0) {
		if (chmod(path, 0755) == 0)
			return 0;
	} else if (errno == EEXIST)
		return 0;
	return cant_write(path);
}

/* ---- options ---- */

int
ctl_days(const struct ctl *ctl, int64_t def, int64_t *days)
{
	const char *text = ctl_opt(ctl, "--days");
	char *end;

	*days = def;
	if (text == NULL)
		return 0;
	*days = strtol(text, &end, 10);
	if (isdigit((unsigned char)text[0]) && *end == '\0' && *days >= 1 &&
	    *days <= 36500)
		return 0;
	return ctl_usage(
	    ctl, "\"%s\" is no number of days, expected 1 to 36500", text);
}

int
ctl_span(const struct ctl *ctl, const char *name, int64_t *span)
{
	static const char units[] = "smhdw";
	static const int64_t seconds[] = { 1, 60, 3600, 86400, 7 * 86400 };
	const char *text = ctl_opt(ctl, name), *unit;
	char *end;
	long n;

	*span = 0;
	if (text == NULL)
		return 0;
	n = strtol(text, &end, 10);
	if (isdigit((unsigned char)text[0]) && n >= 1 && n <= 1000000 &&
	    *end != '\0' && end[1] == '\0' &&
	    (unit = strchr(units, *end)) != NULL) {
		*span = n * seconds[unit - units];
		if (*span <= 36500 * seconds[3])
			return 0;
	}
	return ctl_usage(ctl,
	    "%s: \"%s\" is no span of time, expected a number with s, m, h, d "
	    "or w, such as 90d",
	    name, text);
}
