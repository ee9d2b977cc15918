/* Watching files: see filewatch.h. */
#include "filewatch.h"

#include <sys/inotify.h>
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

/* Of a directory on the way: another one, or another link, takes its place. */
#define ON_THE_WAY                                                             \
	(IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
/* Of the file itself, or of all files: they count when they are complete, and
 * when they are gone.  Owner and mode count, too: they may be why a file could
 * not be taken. */
#define AT_THE_END                                                             \
	(ON_THE_WAY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE | IN_MOVED_FROM)
#define GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_Q_OVERFLOW)

enum { LINKS_MAX = 40 }; /* as the kernel's */

/* A name in a directory. */
struct place {
	int wd;
	char *path;       /* of the directory and the name */
	const char *name; /* the last part of path; "": all that is there */
};

struct filewatch {
	int fd;
	struct place *place;
	size_t places;
};

struct filewatch *
filewatch_new(void)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct filewatch *w;

	if (fd == -1)
		return NULL;
	w = xcalloc(1, sizeof(*w));
	w->fd = fd;
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
	free(w->place);
	close(w->fd);
	free(w);
}

int
filewatch_fd(const struct filewatch *w)
{
	return w->fd;
}

/* Watches for a name, "" for any, in a directory. */
static int
add_place(struct filewatch *w, const char *dir, const char *name, uint32_t mask)
{
	int wd = inotify_add_watch(w->fd, dir, mask | IN_MASK_ADD);
	struct place *p;
	size_t i;

	if (wd == -1)
		return -1;
	for (i = 0; i < w->places; i++)
		if (w->place[i].wd == wd && strcmp(w->place[i].name, name) == 0)
			return 0;
	w->place = xrealloc(w->place, (w->places + 1) * sizeof(*w->place));
	p = &w->place[w->places++];
	p->wd = wd;
	p->path = xasprintf("%s/%s", dir, name);
	p->name = p->path + strlen(dir) + 1;
	return 0;
}

/* Where a link leads; NULL if it is none. */
static char *
link_target(const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target));

	return n > 0 && n < PATH_MAX ? xstrndup(target, (size_t)n) : NULL;
}

static int follow(struct filewatch *, const char *path, int links);

/* The same path with the link name in dir replaced by what it holds. */
static int
follow_link(struct filewatch *w, const char *dir, const char *target,
    const char *rest, int links)
{
	char *next;
	int rc;

	if (target[0] == '/')
		next = xasprintf("%s%s", target, rest);
	else
		next = xasprintf("%s/%s%s", dir, target, rest);
	rc = follow(w, next, links + 1);
	free(next);
	return rc;
}

/* Watches for one part of a path: 1, or the result if the way ends here. */
static int
watch_part(struct filewatch *w, const char *dir, const char *path,
    const char *rest, int links)
{
	const char *name = strrchr(path, '/');
	char *target;
	struct stat st;
	int rc;

	name = name != NULL ? name + 1 : path;
	rc = add_place(w, dir, name, rest[0] == '\0' ? AT_THE_END : ON_THE_WAY);
	if (lstat(path, &st) == -1 || links == LINKS_MAX)
		return rc; /* it will come */
	if ((target = link_target(path)) == NULL)
		return rest[0] == '\0' ? rc : 1;
	rc = follow_link(w, dir, target, rest, links);
	free(target);
	return rc;
}

/* Watches all the way, part by part. */
static int
follow(struct filewatch *w, const char *path, int links)
{
	char *dir = xstrdup(path[0] == '/' ? "/" : "."), *part;
	const char *p = path, *rest;
	int rc = 1;

	while (rc == 1) {
		p += strspn(p, "/");
		p += strcspn(p, "/");
		part = xstrndup(path, (size_t)(p - path));
		rest = p[strspn(p, "/")] != '\0' ? p : "";
		rc = watch_part(w, dir, part, rest, links);
		free(dir);
		dir = part;
	}
	free(dir);
	return rc;
}

int
filewatch_add(struct filewatch *w, const char *path)
{
	return follow(w, path, 0);
}

int
filewatch_add_dir(struct filewatch *w, const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	char *entry, *target;
	int rc;

	rc = d != NULL ? add_place(w, path, "", AT_THE_END) : 0;
	if (filewatch_add(w, path) == -1)
		rc = -1;
	while (d != NULL && (e = readdir(d)) != NULL) {
		entry = xasprintf("%s/%s", path, e->d_name);
		if ((target = link_target(entry)) != NULL)
			filewatch_add(w, entry);
		free(target);
		free(entry);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

/* What was created counts if there is nothing to be written to it. */
static bool
is_complete(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 &&
	    (!S_ISREG(st.st_mode) || st.st_nlink > 1);
}

static bool
concerns(const struct filewatch *w, const struct inotify_event *e)
{
	const char *name = e->len > 0 ? e->name : "";
	const struct place *p;
	char *path;
	bool yes;

	if ((e->mask & GONE) != 0)
		return true;
	for (p = w->place; p < w->place + w->places; p++) {
		if (p->wd != e->wd || name[0] == '\0' ||
		    (p->name[0] != '\0' && strcmp(p->name, name) != 0))
			continue;
		if ((e->mask & IN_CREATE) == 0)
			return true;
		path = xasprintf(
		    "%.*s/%s", (int)(p->name - p->path - 1), p->path, name);
		yes = is_complete(path);
		free(path);
		if (yes)
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
