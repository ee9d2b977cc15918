/*
 * Landlock by its system calls: see landlock.h.  Debian 12's headers end with
 * version 3 of the interface, so the later rights are spelled here.
 *
 *	1	files		4	TCP ports
 *	2	+ refer		5	+ ioctl of devices
 *	3	+ truncate	6	signals and abstract sockets
 */
#include "landlock.h"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <linux/landlock.h>
#include <unistd.h>

#define FS_TRUNCATE  (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_BIND     (1ULL << 0)
#define NET_CONNECT  (1ULL << 1)
#define SCOPE_ALL    (1ULL << 0 | 1ULL << 1) /* abstract sockets, signals */
enum { RULE_NET_PORT = 2 };

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct net_attr {
	uint64_t allowed, port;
};

/* All there were in version 1. */
#define FS_FIRST                                                               \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |          \
	    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |       \
	    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |   \
	    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |       \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |       \
	    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |     \
	    LANDLOCK_ACCESS_FS_MAKE_SYM)
#define FS_CHANGE                                                              \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |        \
	    LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |     \
	    LANDLOCK_ACCESS_FS_MAKE_REG | FS_TRUNCATE)
#define FS_OF_FILES                                                            \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |        \
	    FS_TRUNCATE)

int
landlock_abi(void)
{
	long n = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	return n > 0 ? (int)n : 0;
}

static uint64_t
known_fs(int abi)
{
	uint64_t fs = FS_FIRST;

	if (abi >= 2)
		fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		fs |= FS_TRUNCATE;
	if (abi >= 5)
		fs |= FS_IOCTL_DEV;
	return fs;
}

static int
make_ruleset(const struct landlock *l, int abi, struct ruleset_attr *a)
{
	/* older kernels know a shorter struct */
	size_t size = abi >= 6 ? sizeof(*a)
	    : abi >= 4         ? 2 * sizeof(uint64_t)
			       : sizeof(uint64_t);

	*a = (struct ruleset_attr){ 0 };
	if (!l->any_file)
		a->fs = known_fs(abi);
	if (abi >= 4 && !l->any_port)
		a->net = NET_BIND | NET_CONNECT;
	if (abi >= 6)
		a->scoped = SCOPE_ALL;
	return (int)syscall(SYS_landlock_create_ruleset, a, size, 0);
}

static int
add_tree(int set, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr a = { .allowed_access = rights };
	struct stat st;
	int rc = -1;

	if ((a.parent_fd = open(path, O_PATH | O_CLOEXEC)) == -1)
		return -1;
	if (fstat(a.parent_fd, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			a.allowed_access &= FS_OF_FILES;
		rc = (int)syscall(SYS_landlock_add_rule, set,
		    LANDLOCK_RULE_PATH_BENEATH, &a, 0);
	}
	close(a.parent_fd);
	return rc;
}

static int
add_port(int set, uint16_t port)
{
	const struct net_attr a = { NET_CONNECT, port };

	return (int)syscall(SYS_landlock_add_rule, set, RULE_NET_PORT, &a, 0);
}

static uint64_t
rights_of(enum landlock_rights rights)
{
	switch (rights) {
	case LANDLOCK_READ:
		return LANDLOCK_ACCESS_FS_READ_FILE;
	case LANDLOCK_LIST:
		return LANDLOCK_ACCESS_FS_READ_FILE |
		    LANDLOCK_ACCESS_FS_READ_DIR;
	default:
		return FS_CHANGE;
	}
}

static int
add_rules(int set, const struct landlock *l, const struct ruleset_attr *a,
    const char **what)
{
	uint64_t rights;
	size_t i;

	for (i = 0; a->fs != 0 && i < l->trees; i++) {
		rights = rights_of(l->tree[i].rights);
		*what = l->tree[i].path;
		if (add_tree(set, l->tree[i].path, rights & a->fs) == -1)
			return -1;
	}
	*what = "a port";
	for (i = 0; a->net != 0 && i < l->ports; i++)
		if (add_port(set, l->connect[i]) == -1)
			return -1;
	return 0;
}

int
landlock_enter(const struct landlock *l, const char **what)
{
	int abi = landlock_abi(), set, rc = -1;
	struct ruleset_attr a;

	*what = "the rules";
	if (abi == 0 || (l->any_file && l->any_port && abi < 6))
		return 0;
	if ((set = make_ruleset(l, abi, &a)) == -1)
		return -1;
	if (add_rules(set, l, &a, what) == 0) {
		*what = "the process";
		rc = (int)syscall(SYS_landlock_restrict_self, set, 0);
	}
	close(set);
	return rc;
}
