/*
 * load_opt.c: the command line of the load program.
 */
#include <getopt.h>
#include <unistd.h>

#include "load.h"

struct load_opt opt = {
	.port = "587",
	.host = "127.0.0.1",
	.user = "bench",
	.from = "bench@example.org",
	.to_domain = "example.net",
	.concurrency = 1,
	.sessions = 1,
	.messages = 1,
	.size = 4096,
	.rcpts = 1,
	.timeout_s = 60,
};

/* First line of a file; the caller frees. */
static char *
read_password(const char *path)
{
	char *line = NULL;
	size_t cap = 0;
	FILE *f;

	if ((f = fopen(path, "r")) == NULL || getline(&line, &cap, f) == -1)
		bench_die("%s: no password can be read", path);
	line[strcspn(line, "\r\n")] = '\0';
	fclose(f);
	return line;
}

static void
usage(void)
{
	bench_die("usage: load [--host HOST] [--port PORT] [--name TLSNAME] "
		  "[--tls starttls|implicit]\n"
		  "  [--auth plain|login|external|none] [--user USER] "
		  "[--users N] [--password-file FILE]\n"
		  "  [--cert FILE [--key FILE]] [--ca FILE] [--from ADDRESS] "
		  "[--to-domain DOMAIN]\n"
		  "  [--concurrency N] [--sessions N] "
		  "[--messages-per-session N] [--size OCTETS]\n"
		  "  [--rcpts N] [--pipelining] [--resume] [--idle N] "
		  "[--handshakes]\n"
		  "  [--timeout SECONDS] [--run ID] [--ids FILE] [--json]\n"
		  "the password may also be in BENCH_PASSWORD");
}

static enum auth
parse_auth(const char *word)
{
	static const char *const words[] = { [AUTH_NONE] = "none",
		[AUTH_PLAIN] = "plain",
		[AUTH_LOGIN] = "login",
		[AUTH_EXTERNAL] = "external" };
	unsigned int i;

	for (i = 0; i <= AUTH_EXTERNAL; i++)
		if (strcmp(word, words[i]) == 0)
			return (enum auth)i;
	bench_die("--auth: plain, login, external or none is expected");
}

static bool
parse_tls(const char *word)
{
	if (strcmp(word, "implicit") == 0)
		return true;
	if (strcmp(word, "starttls") != 0)
		bench_die("--tls: starttls or implicit is expected");
	return false;
}

enum kind {
	KIND_TEXT,
	KIND_NUMBER,
	KIND_FLAG,
	KIND_TLS,
	KIND_AUTH,
	KIND_PASSWORD,
	KIND_RUN
};

static const struct {
	const char *name;
	enum kind kind;
	void *where;
} options[] = {
	{ "host", KIND_TEXT, &opt.host },
	{ "port", KIND_TEXT, &opt.port },
	{ "name", KIND_TEXT, &opt.name },
	{ "tls", KIND_TLS, NULL },
	{ "auth", KIND_AUTH, NULL },
	{ "user", KIND_TEXT, &opt.user },
	{ "users", KIND_NUMBER, &opt.users },
	{ "password-file", KIND_PASSWORD, NULL },
	{ "cert", KIND_TEXT, &opt.cert },
	{ "key", KIND_TEXT, &opt.key },
	{ "ca", KIND_TEXT, &opt.ca },
	{ "from", KIND_TEXT, &opt.from },
	{ "to-domain", KIND_TEXT, &opt.to_domain },
	{ "concurrency", KIND_NUMBER, &opt.concurrency },
	{ "sessions", KIND_NUMBER, &opt.sessions },
	{ "messages-per-session", KIND_NUMBER, &opt.messages },
	{ "size", KIND_NUMBER, &opt.size },
	{ "rcpts", KIND_NUMBER, &opt.rcpts },
	{ "pipelining", KIND_FLAG, &opt.pipelining },
	{ "resume", KIND_FLAG, &opt.resume },
	{ "handshakes", KIND_FLAG, &opt.handshakes },
	{ "idle", KIND_NUMBER, &opt.idle },
	{ "timeout", KIND_NUMBER, &opt.timeout_s },
	{ "run", KIND_RUN, NULL },
	{ "ids", KIND_TEXT, &opt.ids },
	{ "json", KIND_FLAG, &opt.json },
};
#define NOPTIONS (sizeof(options) / sizeof(options[0]))

static void
set_option(size_t i, char *value)
{
	switch (options[i].kind) {
	case KIND_TEXT:
		*(const char **)options[i].where = value;
		break;
	case KIND_NUMBER:
		*(unsigned long *)options[i].where =
		    bench_number(options[i].name, value, 1000000000);
		break;
	case KIND_FLAG:
		*(bool *)options[i].where = true;
		break;
	case KIND_TLS:
		opt.implicit = parse_tls(value);
		break;
	case KIND_AUTH:
		opt.auth = parse_auth(value);
		break;
	case KIND_PASSWORD:
		opt.password = read_password(value);
		break;
	case KIND_RUN:
		if (strlen(value) >= sizeof(opt.run))
			bench_die("--run: at most %zu characters",
			    sizeof(opt.run) - 1);
		strcpy(opt.run, value);
		break;
	}
}

void
opt_parse(int argc, char **argv)
{
	struct option table[NOPTIONS + 1] = { 0 };
	size_t i;
	int c;

	for (i = 0; i < NOPTIONS; i++) {
		table[i].name = options[i].name;
		table[i].has_arg = options[i].kind != KIND_FLAG;
		table[i].val = (int)i;
	}
	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (c == '?')
			usage();
		set_option((size_t)c, optarg);
	}
	if (optind != argc)
		usage();
	if (opt.concurrency == 0 || opt.rcpts == 0)
		bench_die("--concurrency and --rcpts are at least 1");
	if (opt.handshakes) {
		opt.implicit = true;
		opt.messages = 0;
	}
	if (opt.name == NULL)
		opt.name = opt.host;
	if (opt.password == NULL && getenv("BENCH_PASSWORD") != NULL)
		opt.password = strdup(getenv("BENCH_PASSWORD"));
	if (opt.run[0] == '\0')
		snprintf(opt.run, sizeof(opt.run), "%lx-%x", (long)time(NULL),
		    (unsigned int)getpid());
}
