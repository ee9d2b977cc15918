/*
 * bare_commit.c: one writer with group commit, and a process that plays the
 * clients that wait for it.
 *
 * A record travels as one message of a SOCK_SEQPACKET socket, its client's
 * number in front; the answer to a group is one message with the numbers of
 * all its clients.  So the writer does what submitd's queue does, but without
 * grants, rules, a schedule, or anybody to deliver to.
 */
#include <sys/prctl.h>
#include <sys/wait.h>

#include <signal.h>
#include <unistd.h>

#include "bare.h"

#define GROUP_MAX 128

struct shared { /* what the clients found out, for the report */
	unsigned long records;
	double p50_ms, p99_ms, seconds;
};

/* ---- the clients ---- */

struct waits {
	uint64_t *ns;
	size_t len, cap;
};

static void
wait_add(struct waits *w, uint64_t ns)
{
	if (w->len == w->cap) {
		w->cap = w->cap == 0 ? 4096 : w->cap * 2;
		if ((w->ns = realloc(w->ns, w->cap * sizeof(*w->ns))) == NULL)
			bench_die("out of memory");
	}
	w->ns[w->len++] = ns;
}

static int
by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double
wait_ms(const struct waits *w, unsigned int percent)
{
	return w->len == 0 ? 0
			   : (double)w->ns[(w->len - 1) * percent / 100] / 1e6;
}

static void
hand_over(int fd, char *record, uint32_t client, uint64_t *since)
{
	memcpy(record, &client, sizeof(client));
	since[client] = bench_now();
	if (send(fd, record, opt.size, 0) == -1)
		bench_die("send: %s", strerror(errno));
}

/* Every client hands over a record as soon as its last one is safe. */
static void
run_clients(int fd, struct shared *result)
{
	uint64_t *since = calloc(opt.waiting, sizeof(*since)), from, until;
	char *record = malloc(opt.size);
	struct waits w = { 0 };
	uint32_t done[GROUP_MAX], i;
	ssize_t n;

	if (since == NULL || record == NULL)
		bench_die("out of memory");
	memset(record, 'x', opt.size);
	from = bench_now();
	until = from + opt.seconds * 1000000000u;
	for (i = 0; i < opt.waiting; i++)
		hand_over(fd, record, i, since);
	while (bench_now() < until) {
		if ((n = recv(fd, done, sizeof(done), 0)) <= 0)
			bench_die("the writer is gone");
		for (i = 0; i < (size_t)n / sizeof(*done); i++) {
			wait_add(&w, bench_now() - since[done[i]]);
			hand_over(fd, record, done[i], since);
		}
	}
	result->seconds = (double)(bench_now() - from) / 1e9;
	result->records = w.len;
	qsort(w.ns, w.len, sizeof(*w.ns), by_size);
	result->p50_ms = wait_ms(&w, 50);
	result->p99_ms = wait_ms(&w, 99);
}

static pid_t
start_clients(int fd, int writer, int out)
{
	struct shared result = { 0 };
	pid_t pid = fork();

	if (pid == -1)
		bench_die("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(writer);
	run_clients(fd, &result);
	if (write(out, &result, sizeof(result)) != (ssize_t)sizeof(result))
		_exit(1);
	_exit(0);
}

/* ---- the writer ---- */

/* Takes all that waits; false once the clients are gone. */
static bool
take_group(int fd, struct bare_group *g)
{
	ssize_t n;

	for (g->n = 0; g->n < GROUP_MAX; g->n++) {
		n = recv(fd, g->data + g->n * g->len, g->len,
		    g->n == 0 ? 0 : MSG_DONTWAIT);
		if (n == -1 && errno == EAGAIN)
			break;
		if (n <= 0)
			return false;
	}
	return true;
}

static void
answer_group(int fd, const struct bare_group *g)
{
	uint32_t done[GROUP_MAX];
	size_t i;

	for (i = 0; i < g->n; i++)
		memcpy(&done[i], g->data + i * g->len, sizeof(*done));
	/* Clients whose time is over don't listen any more. */
	if (send(fd, done, g->n * sizeof(*done), MSG_NOSIGNAL) == -1 &&
	    errno != EPIPE && errno != ECONNRESET)
		bench_die("send: %s", strerror(errno));
}

void
bare_commits(void)
{
	const struct bare_store *store = bare_store_find(opt.store);
	struct bare_group g = { .len = opt.size, .from = 1 };
	int sv[2], out[2], room = (int)(GROUP_MAX * (opt.size + 1024));
	struct shared result;
	unsigned long commits = 0;
	pid_t clients;

	if (store == NULL)
		bench_die("--store: file, sqlite or spool is expected");
	if (opt.size < sizeof(uint32_t))
		bench_die("--size: at least %zu", sizeof(uint32_t));
	if ((g.data = malloc(GROUP_MAX * g.len)) == NULL)
		bench_die("out of memory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv) == -1 || pipe(out) == -1)
		bench_die("socketpair: %s", strerror(errno));
	/* As root the group fits into the socket; else it comes in parts. */
	if (setsockopt(
		sv[1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == -1)
		setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	store->open(opt.dir);
	clients = start_clients(sv[1], sv[0], out[1]);
	close(sv[1]);
	close(out[1]);
	for (; take_group(sv[0], &g); g.from += g.n, commits++) {
		store->put(&g);
		answer_group(sv[0], &g);
	}
	store->close();
	if (read(out[0], &result, sizeof(result)) != (ssize_t)sizeof(result))
		bench_die("the clients have failed");
	waitpid(clients, NULL, 0);
	printf("{\"store\": \"%s\", \"waiting\": %lu, \"size\": %lu, "
	       "\"records_per_s\": %.0f, \"records_per_commit\": %.1f, "
	       "\"writer_us_per_record\": %.1f, \"wait_p50_ms\": %.3f, "
	       "\"wait_p99_ms\": %.3f}\n",
	    store->name, opt.waiting, opt.size,
	    (double)result.records / result.seconds,
	    (double)(g.from - 1) / (double)(commits > 0 ? commits : 1),
	    bench_cpu() * 1e6 / (double)(g.from > 1 ? g.from - 1 : 1),
	    result.p50_ms, result.p99_ms);
	free(g.data);
}
