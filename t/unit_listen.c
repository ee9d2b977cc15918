/*
 * submitd/listen.c and passed.c: which socket serves which address.  Each row
 * is a process of its own, since sockets are passed from descriptor 3 on.
 */
#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "submitd/listen.h"
#include "submitd/passed.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

enum { PORTS = 3 };
static uint16_t ports[PORTS];

/* What a service manager bound; port is an index. */
struct given_socket {
	const char *name, *host;
	int port;
	bool dual;   /* IPv4, too */
	bool closed; /* does not listen */
};

static int
bound(const char *host, uint16_t port, bool dual, bool idle)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
		.sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(port) };
	bool is_v6 = inet_pton(AF_INET6, host, &v6.sin6_addr) == 1;
	int fd, on = 1, v6only = !dual;

	if (!is_v6 && inet_pton(AF_INET, host, &v4.sin_addr) != 1)
		return -1;
	fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	if (fd == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    (is_v6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only,
		    sizeof(v6only)) == -1) ||
	    bind(fd, is_v6 ? (void *)&v6 : (void *)&v4,
		is_v6 ? sizeof(v6) : sizeof(v4)) == -1 ||
	    (!idle && listen(fd, 8) == -1))
		return -1;
	return fd;
}

/* Ports that are free for a moment. */
static void
choose_ports(void)
{
	struct sockaddr_in6 sa;
	socklen_t n;
	int fd[PORTS], i;

	for (i = 0; i < PORTS; i++) {
		n = sizeof(sa);
		fd[i] = bound("::", 0, true, false);
		assert_true(fd[i] != -1);
		getsockname(fd[i], (struct sockaddr *)&sa, &n);
		ports[i] = ntohs(sa.sin6_port);
	}
	for (i = 0; i < PORTS; i++)
		close(fd[i]);
}

/* "A", "B", "C" in a text become the ports. */
static void
with_ports(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (out[0] = '\0'; *text != '\0' && n + 8 < size; text++) {
		if (*text >= 'A' && *text < 'A' + PORTS)
			n += (size_t)snprintf(out + n, size - n, "%u",
			    (unsigned)ports[*text - 'A']);
		else
			n += (size_t)snprintf(out + n, size - n, "%c", *text);
	}
}

static void
add_names(struct strlist *list, const char *names)
{
	char text[256], *word, *save = NULL;

	with_ports(names, text, sizeof(text));
	for (word = strtok_r(text, " ", &save); word != NULL;
	     word = strtok_r(NULL, " ", &save)) {
		list->v = realloc(list->v, (list->n + 1) * sizeof(*list->v));
		list->v[list->n++] = strdup(word);
	}
}

/* "s127.0.0.1:A s[::]:A t..." : kind and address of each, in its order; "+"
 * behind those that serve IPv4, too. */
static void
describe(const struct listeners *l, char *out, size_t size)
{
	struct sockaddr_storage ss;
	const struct sockaddr_in *v4 = (void *)&ss;
	const struct sockaddr_in6 *v6 = (void *)&ss;
	char host[INET6_ADDRSTRLEN];
	socklen_t len;
	size_t i, n = 0;
	int only;

	out[0] = '\0';
	for (i = 0; i < l->n; i++) {
		len = sizeof(ss);
		getsockname(l->v[i].fd, (struct sockaddr *)&ss, &len);
		n += (size_t)snprintf(out + n, size - n, "%s%c",
		    i > 0 ? " " : "", l->v[i].kind == LISTEN_TLS ? 't' : 's');
		if (ss.ss_family == AF_INET) {
			inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
			n += (size_t)snprintf(out + n, size - n, "%s:%u", host,
			    (unsigned)ntohs(v4->sin_port));
			continue;
		}
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		len = sizeof(only);
		getsockopt(l->v[i].fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len);
		n += (size_t)snprintf(out + n, size - n, "[%s]:%u%s", host,
		    (unsigned)ntohs(v6->sin6_port), only ? "" : "+");
	}
}

/* clang-format off */
static const struct {
	const char *name;
	struct given_socket passed[3];
	const char *listen, *listen_tls;
	const char *want;  /* as describe() says it, or */
	const char *error; /* a part of it */
	int shared;        /* so many of them are those that were passed */
} cases[] = {
	{ "nothing is passed", { { 0 } },
	  "127.0.0.1:A [::1]:A", "127.0.0.1:B",
	  "s127.0.0.1:A s[::1]:A t127.0.0.1:B", NULL, 0 },
	{ "every address", { { 0 } }, "*:A", "", "s[::]:A s0.0.0.0:A", NULL,
	  0 },
	{ "by address",
	  { { "submitd.socket", "127.0.0.1", 0, false, false },
	    { "submitd.socket", "::1", 1, false, false } },
	  "127.0.0.1:A", "[::1]:B", "s127.0.0.1:A t[::1]:B", NULL, 2 },
	{ "one by address, the other is bound",
	  { { "submitd.socket", "127.0.0.1", 1, false, false } },
	  "127.0.0.1:A", "127.0.0.1:B", "s127.0.0.1:A t127.0.0.1:B", NULL,
	  1 },
	{ "one socket for both families",
	  { { "submitd.socket", "::", 0, true, false } },
	  "*:A", "", "s[::]:A+", NULL, 1 },
	{ "one socket for each family",
	  { { "x", "::", 0, false, false }, { "x", "0.0.0.0", 0, false,
	    false } },
	  "*:A", "", "s[::]:A s0.0.0.0:A", NULL, 2 },
	{ "one family is passed, the other is bound",
	  { { "x", "::", 0, false, false } },
	  "*:A", "", "s[::]:A s0.0.0.0:A", NULL, 1 },
	{ "by name, wherever it is",
	  { { "submission", "127.0.0.1", 2, false, false },
	    { "submissions", "::1", 2, false, false } },
	  "127.0.0.1:A", "127.0.0.1:B", "s127.0.0.1:C t[::1]:C", NULL, 2 },
	{ "by name; another one by address",
	  { { "submission", "127.0.0.1", 2, false, false },
	    { "x", "127.0.0.1", 0, false, false } },
	  "127.0.0.1:A [::1]:A", "127.0.0.1:B",
	  "s127.0.0.1:C s127.0.0.1:A t127.0.0.1:B", NULL, 2 },
	{ "not in the configuration",
	  { { "submitd.socket", "127.0.0.1", 2, false, false } },
	  "127.0.0.1:A", "", NULL,
	  "socket 3 (submitd.socket) on 127.0.0.1:C passed by the service "
	  "manager is in neither listen nor listen_tls", 0 },
	{ "another address of the same port",
	  { { "x", "::1", 0, false, false } }, "127.0.0.1:A", "", NULL,
	  "socket 3 (x) on [::1]:A passed", 0 },
	{ "it does not listen",
	  { { "x", "127.0.0.1", 0, false, true } }, "127.0.0.1:A", "", NULL,
	  "socket 3 (x) passed by the service manager: does not listen", 0 },
};
/* clang-format on */

/* Sockets at 3 and up, and the environment that says so. */
static int
pass(const struct given_socket *s, pid_t pid)
{
	char names[128] = "", number[16];
	int fd[3], n, i;

	for (n = 0; n < 3 && s[n].name != NULL; n++) {
		int low =
		    bound(s[n].host, ports[s[n].port], s[n].dual, s[n].closed);

		fd[n] = fcntl(low, F_DUPFD, 20);
		close(low);
		if (fd[n] == -1)
			return -1;
		strcat(strcat(names, n > 0 ? ":" : ""), s[n].name);
	}
	for (i = 0; i < n; i++) {
		dup2(fd[i], 3 + i);
		close(fd[i]);
	}
	snprintf(number, sizeof(number), "%d", (int)pid);
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%d", n);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	return n;
}

static bool
differs(const char *name, const char *got, const char *want)
{
	if (strcmp(got, want) == 0)
		return false;
	fprintf(stderr, "# %s: \"%s\", not \"%s\"\n", name, got, want);
	return true;
}

static bool
has_address(const struct listeners *l, const struct listeners *other)
{
	char a[512], b[512];

	describe(l, a, sizeof(a));
	describe(other, b, sizeof(b));
	return strcmp(a, b) == 0;
}

/* The child's part; its exit status is 0 if all is as it should be. */
static int
run_row(size_t i)
{
	struct listeners l, again;
	struct conf c = { 0 };
	char err[512] = "", got[512], want[512];
	int bad = 0;

	if (pass(cases[i].passed, getpid()) == -1)
		return 77;
	add_names(&c.listen, cases[i].listen);
	add_names(&c.listen_tls, cases[i].listen_tls);
	if (passed_init(err, sizeof(err)) == 0 &&
	    listen_open(&l, &c, NULL, err, sizeof(err)) == 0)
		describe(&l, got, sizeof(got));
	else
		snprintf(got, sizeof(got), "%s", err);
	bad += getenv("LISTEN_FDS") != NULL || getenv("LISTEN_PID") != NULL ||
	    getenv("LISTEN_FDNAMES") != NULL;
	if (cases[i].error != NULL) {
		with_ports(cases[i].error, want, sizeof(want));
		if (strstr(got, want) == NULL)
			bad += differs(cases[i].name, got, want);
		return bad;
	}
	with_ports(cases[i].want, want, sizeof(want));
	bad += differs(cases[i].name, got, want);
	bad += passed_count() != (size_t)cases[i].shared;
	/* A reload finds them all again. */
	if (listen_open(&again, &c, &l, err, sizeof(err)) == -1)
		bad += differs(cases[i].name, err, "");
	else
		bad += !has_address(&l, &again);
	return bad;
}

static int
in_child(int (*fn)(size_t), size_t i)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(fn(i));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void
sockets_find_their_address(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < N(cases); i++)
		if (in_child(run_row, i) != 0)
			fail_msg("%s", cases[i].name);
}

static int
of_another(size_t i)
{
	static const struct given_socket s[3] = { { "submission", "127.0.0.1",
	    0, false, false } };
	char err[256];

	(void)i;
	if (pass(s, getppid()) != 1 || passed_init(err, sizeof(err)) == -1)
		return 1;
	return passed_count() != 0 || getenv("LISTEN_FDS") != NULL ||
	    fcntl(3, F_GETFD) == -1;
}

static void
those_of_another_process(void **state)
{
	(void)state;
	assert_int_equal(in_child(of_another, 0), 0);
}

/* The second address can't be had: the first is let go. */
static int
nothing_is_left(size_t i)
{
	struct listeners l;
	struct conf c = { 0 };
	char err[512] = "";
	int before = dup(0), after;

	(void)i;
	close(before);
	add_names(&c.listen, "127.0.0.1:A 127.0.0.1:A");
	if (listen_open(&l, &c, NULL, err, sizeof(err)) == 0)
		return 1;
	after = dup(0);
	return after != before || l.n != 0 ||
	    strstr(err, "cannot listen on 127.0.0.1") == NULL;
}

static void
a_failure_leaves_nothing(void **state)
{
	(void)state;
	assert_int_equal(in_child(nothing_is_left, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sockets_find_their_address),
		cmocka_unit_test(those_of_another_process),
		cmocka_unit_test(a_failure_leaves_nothing),
	};

	if (bound("::1", 0, false, false) == -1) {
		printf("1..0 # SKIP no IPv6 on the loopback interface\n");
		return 0;
	}
	choose_ports();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
