/*
 * The queue role dies at every step, by kill -9 and by loss of power, and is
 * started again on what is left: whatever was acknowledged is there, whole.
 *
 * The program defines the system calls that change files, in place of the C
 * library's; SQLite and the role call these. Each call that concerns the spool
 * (and each message sent to a peer) is a step. A child runs a scene, dies
 * before the step it was given, and a second child takes over its spool.
 *
 * Loss of power is played by a model of what disks promise: the bytes of a
 * file as of its last sync, the names of a directory as of its own. Nothing is
 * really synced. A disk may lose less than it may, so there are four deaths:
 *
 *	killed		what was written is there; the write that was going on is
 *			there by half
 *	power		neither unsynced bytes nor unsynced names are there
 *	power, names	the names are there, unsynced bytes are not
 *	power, bytes	the bytes are there, unsynced names are not
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue_rig.h"
#include "submitd/log.h"
#include "submitd/smtp_reply.h"

enum death { KILLED, POWER, POWER_NAMES, POWER_BYTES, DEATHS };
static const char *const death_names[DEATHS] = { "killed", "power",
	"power, names kept", "power, bytes kept" };

enum { ENTRIES = 512, STEPS_MAX = 5000 };

static struct rig rig;

/* ---- what a disk keeps ---- */

struct entry { /* a file, as long as any name may lead to it */
	ino_t ino;
	struct buf synced; /* bytes as of its last sync */
	struct buf last;   /* bytes when it lost its last name */
	bool unlinked;
};

struct name {
	char name[64];
	struct entry *entry;
};

static struct {
	bool armed;
	enum death death;
	unsigned step, die_at;
	int dirfd; /* of the spool */
	dev_t dev;
	struct entry entry[ENTRIES];
	size_t nentries;
	struct name synced[64]; /* names as of the last sync */
	size_t nsynced;
} disk = { .dirfd = -1 };

static void
bail(const char *what)
{
	printf("Bail out! crash_queue: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(99);
}

static struct entry *
entry_of(ino_t ino)
{
	size_t i;

	for (i = disk.nentries; i-- > 0;)
		if (disk.entry[i].ino == ino && !disk.entry[i].unlinked)
			return &disk.entry[i];
	if (disk.nentries == ENTRIES)
		bail("too many files");
	disk.entry[disk.nentries].ino = ino;
	return &disk.entry[disk.nentries++];
}

/* Reads all of a file, whatever the descriptor was opened for. */
static void
slurp(int fd, struct buf *out)
{
	char path[64], piece[65536];
	ssize_t n;
	int in;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if ((in = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0)) == -1)
		bail(path);
	out->len = out->off = 0;
	while ((n = read(in, piece, sizeof(piece))) > 0)
		buf_add(out, piece, (size_t)n);
	close(in);
}

/* Calls f for each file of the spool. */
static void
each_file(void (*f)(const char *name, int fd, ino_t ino))
{
	struct dirent *e;
	struct stat sb;
	DIR *d;
	int fd;

	fd = (int)syscall(
	    SYS_openat, disk.dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd == -1 || (d = fdopendir(fd)) == NULL)
		bail("spool");
	while ((e = readdir(d)) != NULL) {
		fd = (int)syscall(
		    SYS_openat, disk.dirfd, e->d_name, O_RDONLY, 0);
		if (fd == -1 || fstat(fd, &sb) == -1)
			bail(e->d_name);
		if (S_ISREG(sb.st_mode))
			f(e->d_name, fd, sb.st_ino);
		close(fd);
	}
	closedir(d);
}

static void
sync_name(const char *name, int fd, ino_t ino)
{
	struct name *n = &disk.synced[disk.nsynced++];

	(void)fd;
	if (disk.nsynced > sizeof(disk.synced) / sizeof(disk.synced[0]))
		bail("too many names");
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->entry = entry_of(ino);
}

static void
sync_bytes(const char *name, int fd, ino_t ino)
{
	(void)name;
	slurp(fd, &entry_of(ino)->synced);
}

static void
note_last(const char *name, int fd, ino_t ino)
{
	(void)name;
	slurp(fd, &entry_of(ino)->last);
}

/* Names that are there now, for deaths that keep them. */
static struct name present[64];
static size_t npresent;

static void
note_present(const char *name, int fd, ino_t ino)
{
	(void)fd;
	snprintf(present[npresent].name, sizeof(present[0].name), "%s", name);
	present[npresent++].entry = entry_of(ino);
}

static void
write_back(const struct name *n, const struct buf *bytes)
{
	int fd = (int)syscall(
	    SYS_openat, disk.dirfd, n->name, O_WRONLY | O_CREAT, 0600);

	if (fd == -1 ||
	    (bytes->len > 0 &&
		syscall(SYS_write, fd, buf_head(bytes), bytes->len) !=
		    (long)bytes->len))
		bail(n->name);
	close(fd);
}

/* The spool becomes what the disk would have kept. */
static void
lose_power(void)
{
	bool keep_bytes = disk.death == POWER_BYTES;
	const struct name *names = disk.synced;
	size_t n = disk.nsynced, i;

	each_file(note_last); /* those that still have a name */
	each_file(note_present);
	if (disk.death == POWER_NAMES) {
		names = present;
		n = npresent;
	}
	for (i = 0; i < npresent; i++)
		syscall(SYS_unlinkat, disk.dirfd, present[i].name, 0);
	for (i = 0; i < n; i++)
		write_back(&names[i],
		    keep_bytes ? &names[i].entry->last
			       : &names[i].entry->synced);
}

static void
die(void)
{
	if (disk.death != KILLED)
		lose_power();
	syscall(SYS_kill, getpid(), SIGKILL);
	_exit(98);
}

static bool
step(void)
{
	return disk.armed && ++disk.step == disk.die_at;
}

static bool
is_ours(int fd, mode_t kind, struct stat *sb)
{
	return disk.armed && fstat(fd, sb) == 0 && sb->st_dev == disk.dev &&
	    (sb->st_mode & S_IFMT) == kind;
}

/* From now on the spool is watched; what is on it is on the disk. */
static void
arm(enum death death, unsigned die_at)
{
	struct stat sb;

	disk.dirfd = (int)syscall(SYS_openat, AT_FDCWD, rig.setup.conf.spool,
	    O_RDONLY | O_DIRECTORY, 0);
	if (disk.dirfd == -1 || fstat(disk.dirfd, &sb) == -1)
		bail("spool");
	disk.dev = sb.st_dev;
	disk.death = death;
	disk.die_at = die_at;
	each_file(sync_bytes);
	each_file(sync_name);
	disk.armed = true;
}

/* ---- the system calls ---- */

static int
synced(int fd)
{
	struct stat sb;

	if (is_ours(fd, S_IFREG, &sb)) {
		if (step())
			die();
		sync_bytes("", fd, sb.st_ino);
	} else if (is_ours(fd, S_IFDIR, &sb)) {
		if (step())
			die();
		disk.nsynced = 0;
		each_file(sync_name);
	}
	return 0;
}

int
fsync(int fd)
{
	return synced(fd);
}

int
fdatasync(int fd)
{
	return synced(fd);
}

ssize_t
write(int fd, const void *p, size_t len)
{
	struct stat sb;

	if (is_ours(fd, S_IFREG, &sb) && step()) {
		syscall(SYS_write, fd, p, len / 2);
		die();
	}
	return syscall(SYS_write, fd, p, len);
}

ssize_t
pwrite(int fd, const void *p, size_t len, off_t at)
{
	struct stat sb;

	if (is_ours(fd, S_IFREG, &sb) && step()) {
		syscall(SYS_pwrite64, fd, p, len / 2, at);
		die();
	}
	return syscall(SYS_pwrite64, fd, p, len, at);
}

ssize_t
pwrite64(int fd, const void *p, size_t len, off64_t at)
{
	return pwrite(fd, p, len, at);
}

int
ftruncate(int fd, off_t len)
{
	struct stat sb;

	if (is_ours(fd, S_IFREG, &sb) && step())
		die();
	return (int)syscall(SYS_ftruncate, fd, len);
}

int
ftruncate64(int fd, off64_t len)
{
	return ftruncate(fd, len);
}

int
renameat(int fromfd, const char *from, int tofd, const char *to)
{
	if (step())
		die();
	return (int)syscall(SYS_renameat, fromfd, from, tofd, to);
}

int
unlinkat(int dirfd, const char *name, int flags)
{
	struct stat sb;
	int fd;

	if (step())
		die();
	fd = (int)syscall(SYS_openat, dirfd, name, O_RDONLY, 0);
	if (fd != -1 && is_ours(fd, S_IFREG, &sb)) {
		note_last(name, fd, sb.st_ino);
		entry_of(sb.st_ino)->unlinked = true;
	}
	if (fd != -1)
		close(fd);
	return (int)syscall(SYS_unlinkat, dirfd, name, flags);
}

int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

static void acknowledged(const struct iovec *packet);

ssize_t
sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t n;

	if (step())
		die();
	n = syscall(SYS_sendmsg, fd, m, flags);
	if (n > 0 && disk.armed)
		acknowledged(m->msg_iov);
	return n;
}

/* ---- the scene ---- */

enum { MESSAGES = 5, LARGE = 2, FAILING = 1, LATE = 4 };

/* What the world outside has seen; told through a pipe as it happens. */
struct seen {
	bool acknowledged[MESSAGES]; /* the client got 250 */
	bool delivered[MESSAGES];    /* the smarthost has it */
	bool bounced[MESSAGES];      /* the sender has a report */
	bool again[MESSAGES];        /* sent after the restart */
	bool settled;                /* the queue was empty once */
};

static struct seen before; /* the crash */
static int progress = -1;
static char body[MESSAGES][100000];
static unsigned deferred;

static void
tell(char what, unsigned k)
{
	char msg[2] = { what, (char)('0' + k) };

	if (syscall(SYS_write, progress, msg, sizeof(msg)) != sizeof(msg))
		bail("progress");
}

static void
make_bodies(void)
{
	static const size_t size[MESSAGES] = { 60, 200, 99000, 60000, 4000 };
	unsigned k;

	for (k = 0; k < MESSAGES; k++) {
		memset(body[k], 'a' + (int)k, size[k]);
		memcpy(body[k], "Subject: message ", 17);
		body[k][17] = (char)('0' + k);
		memcpy(body[k] + 18, "\r\n\r\n", 4);
	}
}

/* Which message it is; it must be whole. */
static unsigned
number_of(const struct rig_job *j)
{
	unsigned k;

	for (k = 0; k < MESSAGES; k++)
		if (j->body.len == strlen(body[k]) &&
		    memcmp(buf_head(&j->body), body[k], j->body.len) == 0)
			return k;
	bail("a body is not as it was");
	return 0;
}

/* The report names the subject. */
static unsigned
bounced_number(const struct rig_job *j)
{
	const char *p =
	    memmem(buf_head(&j->body), j->body.len, "Subject: message ", 17);

	if (p == NULL)
		bail("a report without the header of the message");
	return (unsigned)(p[17] - '0');
}

static void
on_job(struct rig *r, struct rig_job *j)
{
	unsigned k;

	if (j->from[0] == '\0') {
		tell('B', bounced_number(j));
		rig_result(r, j, RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
		return;
	}
	k = number_of(j);
	if (k == FAILING) {
		rig_result(r, j, RESULT_FAILED, TROUBLE_REPLY, 550, "no");
	} else if (k == LARGE && deferred++ == 0) {
		rig_result(r, j, RESULT_DEFERRED, TROUBLE_REPLY, 450, "no");
	} else {
		tell('D', k);
		rig_result(r, j, RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
	}
}

/* A message counts from when the queue has sent its word: front may live on
 * and pass it to the client. */
static void
acknowledged(const struct iovec *packet)
{
	enum msg_type type;
	const char *why;
	uint16_t mark;
	uint64_t sid;
	union msg m;

	memcpy(&mark, packet->iov_base, sizeof(mark));
	if (mark >= M_TYPE_COUNT)
		return; /* several: to the relay, front's come alone */
	if (proto_unpack(
		packet->iov_base, packet->iov_len, &type, &sid, &m, &why) == -1)
		bail(why);
	if (progress != -1 && type == M_SUBMITTED &&
	    m.submitted.reply == R_QUEUED)
		tell('A', (unsigned)(sid - RIG_SID(0)));
}

static void
open_message(unsigned k)
{
	unsigned n = rig.nbody_fd;

	rig_grant(&rig, RIG_SID(k), "ann");
	rig_envelope(
	    &rig, RIG_SID(k), 1, "ann@example.org", "bo@example.net", 0);
	rig_data_open(&rig, RIG_SID(k), 1);
	if (k != LARGE)
		return;
	ipc_send(
	    rig.front, M_BODY_FILE, RIG_SID(k), &(struct m_txn){ .txn = 1 });
	rig_wait(&rig, &rig.nbody_fd, n + 1);
}

static void
submit_message(unsigned k)
{
	if (k == LARGE)
		rig_submit_file(&rig, RIG_SID(k), 1, body[k], strlen(body[k]));
	else
		rig_submit(&rig, RIG_SID(k), 1, body[k], strlen(body[k]));
}

static unsigned
count_files(const char *part)
{
	struct dirent *e;
	unsigned n = 0;
	DIR *d = opendir(rig.setup.conf.spool);

	if (d == NULL)
		bail("spool");
	while ((e = readdir(d)) != NULL)
		n += strstr(e->d_name, part) != NULL;
	closedir(d);
	return n;
}

/* Until nothing is left, or what is left doesn't move. */
static bool
run_empty(void)
{
	char *text;
	bool empty = false;
	unsigned i;

	for (i = 0; i < 1000 && !empty; i++) {
		rig_settle(&rig);
		text = rig_ask(&rig, "{\"cmd\":\"queue.stats\"}");
		empty = strstr(text, "\"messages\":0,") != NULL;
		free(text);
	}
	return empty;
}

static void
scene(void)
{
	unsigned k;

	rig.on_job = on_job;
	rig.setup.conf.retry_min = rig.setup.conf.retry_max = 0;
	rig_up(&rig);
	for (k = 0; k < LATE; k++)
		open_message(k);
	for (k = 0; k < LATE; k++) /* one commit group */
		submit_message(k);
	rig_wait(&rig, &rig.naccepted, LATE);
	if (!run_empty())
		bail("the scene does not end");
	tell('S', 0);
	open_message(LATE);
	submit_message(LATE);
	rig_wait(&rig, &rig.naccepted, LATE + 1);
	run_empty();
	rig_stop(&rig);
}

/* ---- after the crash ---- */

static struct seen after;

static void
on_job_after(struct rig *r, struct rig_job *j)
{
	if (j->from[0] == '\0')
		after.bounced[bounced_number(j)] = true;
	else
		after.again[number_of(j)] = true;
	rig_result(r, j, RESULT_DELIVERED, TROUBLE_NONE, 250, "ok");
}

static const char *
judge(void)
{
	static char text[128];
	unsigned k;

	for (k = 0; k < MESSAGES; k++) {
		bool there = before.delivered[k] || after.again[k] ||
		    before.bounced[k] || after.bounced[k];

		snprintf(text, sizeof(text), "message %u", k);
		if (before.acknowledged[k] && !there)
			return strcat(text, " was acknowledged and is lost");
		if (before.settled && k != LATE &&
		    (after.again[k] || after.bounced[k]))
			return strcat(text, " was done and came back");
	}
	return NULL;
}

/* Takes over the spool; NULL if all is well. */
static const char *
take_over(void)
{
	rig.on_job = on_job_after;
	rig_up(&rig);
	if (count_files("tmp.") != 0)
		return "a temporary file is left";
	if (!run_empty())
		return "a message is stuck";
	if (count_files(".msg") != 0)
		return "a body is left";
	rig_stop(&rig);
	return judge();
}

/* ---- one death ---- */

static void
read_progress(int fd)
{
	char msg[2];

	memset(&before, 0, sizeof(before));
	while (read(fd, msg, sizeof(msg)) == sizeof(msg)) {
		unsigned k = (unsigned)(msg[1] - '0');

		if (msg[0] == 'A')
			before.acknowledged[k] = true;
		else if (msg[0] == 'D')
			before.delivered[k] = true;
		else if (msg[0] == 'B')
			before.bounced[k] = true;
		else
			before.settled = true;
	}
}

/* Runs f in a child that dies at the step; true if it lived to the end. */
static bool
run_child(enum death death, unsigned die_at, void (*f)(void))
{
	int p[2], status;
	pid_t pid;

	if (pipe(p) == -1 || (pid = fork()) == -1)
		bail("fork");
	if (pid == 0) {
		close(p[0]);
		progress = p[1];
		arm(death, die_at);
		f();
		_exit(0);
	}
	close(p[1]);
	if (f == scene)
		read_progress(p[0]);
	close(p[0]);
	if (waitpid(pid, &status, 0) == -1)
		bail("waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status)); /* it has said why */
	return WIFEXITED(status);
}

/* A take-over that dies itself: its deliveries count as well, but nobody
 * learns of them; so it delivers nothing. */
static void
only_start(void)
{
	char err[512];

	if (rig_start(&rig, err, sizeof(err)) == -1)
		bail(err);
	rig_stop(&rig);
}

/* NULL if all is well. The spool is empty again afterwards. */
static const char *
check_left(void)
{
	static char text[256];
	const char *why;
	int p[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe(p) == -1 || (pid = fork()) == -1)
		bail("fork");
	if (pid == 0) {
		why = take_over();
		if (why != NULL &&
		    syscall(SYS_write, p[1], why, strlen(why)) == -1)
			_exit(1);
		_exit(0);
	}
	close(p[1]);
	n = read(p[0], text, sizeof(text) - 1);
	close(p[0]);
	if (waitpid(pid, &status, 0) == -1)
		bail("waitpid");
	text[n > 0 ? n : 0] = '\0';
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return "the queue does not start again";
	return n > 0 ? text : NULL;
}

static void
fresh(void)
{
	rig_init(&rig);
}

/* Dies at each step in turn; with `twice` the take-over dies too, at a step
 * that wanders. */
static bool
die_everywhere(enum death death, bool twice, unsigned *steps)
{
	const char *why;
	bool lived = false;
	unsigned i;

	for (i = 1; !lived && i < STEPS_MAX; i += twice ? 7 : 1) {
		fresh();
		lived = run_child(death, i, scene);
		if (twice)
			run_child(death, 1 + i % 40, only_start);
		why = check_left();
		rig_down(&rig);
		if (why == NULL)
			continue;
		printf("# %s at step %u: %s\n", death_names[death], i, why);
		return false;
	}
	*steps = i - 1;
	return lived;
}

int
main(void)
{
	unsigned n = 0, steps;
	bool bad = false, ok;
	int d;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_CRIT);
	make_bodies();
	printf("1..%d\n", 2 * DEATHS);
	for (d = 0; d < 2 * DEATHS; d++) {
		steps = 0;
		ok = die_everywhere(
		    (enum death)(d % DEATHS), d >= DEATHS, &steps);
		bad |= !ok;
		printf("%sok %u - %s%s, %u steps\n", ok ? "" : "not ", ++n,
		    death_names[d % DEATHS], d >= DEATHS ? ", twice" : "",
		    steps);
	}
	return bad;
}
