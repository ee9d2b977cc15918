/*
 * The log of queue.db gets its full size once, at the start.
 *
 * A commit that makes the file longer has to sync its new length too, which
 * takes a file system twice as long as the commit alone; one that writes over
 * what was there has not. And what the log has, a full disk can't take from
 * the results of deliveries. SQLite finds the end of its log by the checksum
 * of each part: zeros behind it mean nothing.
 */
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "mailq_private.h"

/* Blocks that were only reserved would cost as much as a longer file. */
static bool
fill(int fd, off_t from, off_t to)
{
	static const char zeros[65536];

	while (from < to) {
		size_t want = sizeof(zeros);
		ssize_t n;

		if (to - from < (off_t)want)
			want = (size_t)(to - from);
		if ((n = pwrite(fd, zeros, want, from)) <= 0)
			return false;
		from += n;
	}
	return fdatasync(fd) == 0;
}

enum mailq_rc
mailq_log_extend(struct mailq *mq, off_t size)
{
	bool ok = true;
	struct stat sb;
	int fd = openat(
	    mq->dirfd, "queue.db-wal", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1)
		return mailq_errno(mq, "queue.db-wal");
	/* without room for all of it, it is as it was */
	if (fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode) && sb.st_size < size &&
	    !fill(fd, sb.st_size, size))
		ok = ftruncate(fd, sb.st_size) == 0;
	close(fd);
	return ok ? MAILQ_OK : mailq_errno(mq, "queue.db-wal");
}
