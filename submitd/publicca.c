/*
 * Public CAs: see publicca.h.  They are known by their keys, since a CA can
 * have several certificates.
 */
#include "publicca.h"

#include <sys/stat.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

enum { FILE_LIMIT = 8 << 20 };

static const char *const bundles[] = { "/etc/ssl/certs/ca-certificates.crt",
	"/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt", NULL };
static const struct publicca_paths system_paths = { bundles,
	"/usr/local/share/ca-certificates" };

/* NULL: not there, or no certificates. */
static struct certfile *
read_certs(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct certfile *file = NULL;
	struct buf pem = { 0 };
	char err[256];
	ssize_t n;

	if (fd == -1)
		return NULL;
	while ((n = read(fd, buf_room(&pem, 65536), 65536)) > 0) {
		buf_grew(&pem, (size_t)n);
		if (pem.len > FILE_LIMIT)
			break;
	}
	close(fd);
	if (n == 0)
		file = certfile_read(buf_head(&pem), pem.len, err, sizeof(err));
	buf_wipe(&pem);
	return file;
}

static bool
has_key(const struct certfile *file, const struct certfile_cert *cert)
{
	size_t i;

	for (i = 0; i < certfile_count(file); i++)
		if (strcmp(certfile_get(file, i)->spki_sha256,
			cert->spki_sha256) == 0)
			return true;
	return false;
}

/* Did the administrator add it to the system's? */
static bool
is_local(const char *dir, const struct certfile_cert *cert, int depth)
{
	struct certfile *file;
	bool found = false;
	struct dirent *e;
	struct stat st;
	char *path;
	DIR *d;

	if (depth == 0 || (d = opendir(dir)) == NULL)
		return false;
	while (!found && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		path = xasprintf("%s/%s", dir, e->d_name);
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			found = is_local(path, cert, depth - 1);
		else if ((file = read_certs(path)) != NULL) {
			found = has_key(file, cert);
			certfile_free(&file);
		}
		free(path);
	}
	closedir(d);
	return found;
}

const struct certfile_cert *
publicca_find(const struct certfile *file, const struct publicca_paths *p)
{
	const struct certfile_cert *found = NULL;
	struct certfile *all = NULL;
	size_t i;

	if (p == NULL)
		p = &system_paths;
	for (i = 0; all == NULL && p->bundles[i] != NULL; i++)
		all = read_certs(p->bundles[i]);
	for (i = 0; all != NULL && found == NULL && i < certfile_count(file);
	     i++)
		if (has_key(all, certfile_get(file, i)) &&
		    !is_local(p->local, certfile_get(file, i), 3))
			found = certfile_get(file, i);
	certfile_free(&all);
	return found;
}

bool
publicca_find_pem(const void *pem, size_t len, char *name, size_t size)
{
	char err[256];
	struct certfile *file = certfile_read(pem, len, err, sizeof(err));
	const struct certfile_cert *found;

	if (file == NULL)
		return false;
	if ((found = publicca_find(file, NULL)) != NULL)
		snprintf(name, size, "%s", found->subject);
	certfile_free(&file);
	return found != NULL;
}
