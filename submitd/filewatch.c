/* Watching a file: see filewatch.h. */
#include "filewatch.h"

#include <sys/inotify.h>
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

/* A new file counts when it is complete, a new link at once.  Owner and mode
 * count, too: they may be why a file could not be taken. */
#define WATCHED                                                                \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE |            \
	    IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |            \
	    IN_ONLYDIR)
#define GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_Q_OVERFLOW)

enum { PLACES = 2 }; /* where the name stands, and where it leads */

struct place {
	int wd;
	char *path;
	const char *name; /* the last part of path */
};

struct filewatch {
	int fd;
	struct place place[PLACES];
	size_t places;
};

static int
add_place(struct filewatch *w, const char *path)
{
	struct place *p = &w->place[w->places];
	const char *slash = strrchr(path, '/');
	char *dir;

	dir = slash == NULL ? xstrdup(".")
	    : slash == path ? xstrdup("/")
			    : xstrndup(path, (size_t)(slash - path));
	p->wd = inotify_add_watch(w->fd, dir, WATCHED);
	free(dir);
	if (p->wd == -1)
		return -1;
	p->path = xstrdup(path);
	p->name = slash == NULL ? p->path : p->path + (slash - path) + 1;
	w->places++;
	return 0;
}

struct filewatch *
filewatch_new(const char *path)
{
	struct filewatch *w = xcalloc(1, sizeof(*w));
	char *real;
	int saved;

	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd == -1 || add_place(w, path) == -1) {
		saved = errno;
		filewatch_free(&w);
		errno = saved;
		return NULL;
	}
	/* Where it leads can be missing now: then the link will change. */
	real = realpath(path, NULL);
	if (real != NULL && strcmp(real, path) != 0)
		add_place(w, real);
	free(real);
	return w;
}

void
filewatch_free(struct filewatch **wp)
{
	struct filewatch *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	while (w->places > 0)
		free(w->place[--w->places].path);
	if (w->fd != -1)
		close(w->fd);
	free(w);
}

int
filewatch_fd(const struct filewatch *w)
{
	return w->fd;
}

static bool
is_link(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

static bool
concerns(const struct filewatch *w, const struct inotify_event *e)
{
	if ((e->mask & GONE) != 0)
		return true;
	for (size_t i = 0; i < w->places; i++) {
		const struct place *p = &w->place[i];

		if (p->wd == e->wd && e->len > 0 &&
		    strcmp(p->name, e->name) == 0 &&
		    ((e->mask & IN_CREATE) == 0 || is_link(p->path)))
			return true;
	}
	return false;
}

bool
filewatch_changed(struct filewatch *w)
{
	_Alignas(struct inotify_event) char buf[16384];
	const struct inotify_event *e;
	bool changed = false;
	ssize_t n;

	while ((n = read(w->fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;
		     at += (ssize_t)(sizeof(*e) + e->len)) {
			e = (const void *)(buf + at);
			changed |= concerns(w, e);
		}
	}
	return changed;
}
