/* The pid file: see pidfile.h. */
#include "pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

static char *written; /* NULL: none */

/* Nobody sees half of it, and no link that lies there is followed. */
static int
write_file(const char *path)
{
	char *temp = xasprintf("%s.new", path), text[16];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	int fd, rc = -1;

	unlink(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd != -1 && write(fd, text, (size_t)n) == n)
		rc = 0;
	if (fd != -1 && close(fd) == -1)
		rc = -1;
	if (rc == 0)
		rc = rename(temp, path);
	if (rc == -1 && fd != -1)
		unlink(temp);
	free(temp);
	return rc;
}

/* Another server may have taken the name since. */
static void
remove_file(const char *path)
{
	FILE *fp = fopen(path, "re");
	long pid = 0;

	if (fp == NULL)
		return;
	if (fscanf(fp, "%ld", &pid) == 1 && pid == (long)getpid())
		unlink(path);
	fclose(fp);
}

void
pidfile_move(const char *path)
{
	char *old = written;

	if (old != NULL && strcmp(old, path) == 0)
		return;
	written = NULL;
	if (path[0] != '\0' && write_file(path) == 0)
		written = xstrdup(path);
	else if (path[0] != '\0')
		log_warn("pid_file", "file=%s error=%s", path, strerror(errno));
	if (old != NULL)
		remove_file(old);
	free(old);
}
