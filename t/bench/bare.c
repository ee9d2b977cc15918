/*
 * bare.c: what the machine allows to anybody, to compare a server with: its
 * work without the server.
 *
 *	bare handshakes --cert FILE --key FILE [--count N]
 *
 * TLS handshakes as with submitd's front, both ends in this process and no
 * socket between them: CPU microseconds for each end.
 *
 *	bare accept --cert FILE --key FILE [--listen ADDRESS:PORT]
 *	    [--processes N]
 *
 * An accept loop (events, one loop a process) that does the handshake and
 * closes; "load --handshakes" is its client.  The port is printed first, the
 * counters upon SIGTERM or SIGINT.
 *
 *	bare commits --store file|sqlite|spool --dir DIRECTORY
 *	    [--waiting N] [--size OCTETS] [--seconds N]
 *
 * One writer with group commit: another process plays N clients, each of which
 * hands over a record and waits until it is on the disk.  All that waits (128
 * at most) goes in one group, which is synced once; the group before it is
 * removed with it.  "file" appends to a file and calls fdatasync(); "sqlite"
 * has a table of records, with the settings of the queue; "spool" is the
 * queue's own store (store/mailq.h) with a message and its recipient for each
 * record.
 */
#include <getopt.h>

#include "bare.h"

struct bare_opt opt = {
	.listen = "127.0.0.1:0",
	.processes = 1,
	.count = 2000,
	.store = "sqlite",
	.waiting = 20,
	.size = 4096,
	.seconds = 3,
};

static const struct mode {
	const char *name;
	void (*run)(void);
	bool tls;
} modes[] = {
	{ "handshakes", bare_handshakes, true },
	{ "accept", bare_accept, true },
	{ "commits", bare_commits, false },
};

__attribute__((noreturn)) static void
usage(void)
{
	bench_die(
	    "usage: bare handshakes --cert FILE --key FILE [--count N]\n"
	    "       bare accept --cert FILE --key FILE "
	    "[--listen ADDRESS:PORT] [--processes N]\n"
	    "       bare commits --store file|sqlite|spool --dir DIRECTORY "
	    "[--waiting N]\n"
	    "            [--size OCTETS] [--seconds N]");
}

static const struct mode *
find_mode(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	usage();
}

static void
parse_options(int argc, char **argv)
{
	static const struct option table[] = { { "listen", 1, NULL, 'l' },
		{ "cert", 1, NULL, 'c' }, { "key", 1, NULL, 'k' },
		{ "processes", 1, NULL, 'p' }, { "count", 1, NULL, 'n' },
		{ "dir", 1, NULL, 'd' }, { "store", 1, NULL, 's' },
		{ "waiting", 1, NULL, 'w' }, { "size", 1, NULL, 'o' },
		{ "seconds", 1, NULL, 't' }, { NULL, 0, NULL, 0 } };
	static const struct {
		int letter;
		const char **text;
		unsigned long *number, max;
	} where[] = {
		{ 'l', &opt.listen, NULL, 0 },
		{ 'c', &opt.cert, NULL, 0 },
		{ 'k', &opt.key, NULL, 0 },
		{ 'd', &opt.dir, NULL, 0 },
		{ 's', &opt.store, NULL, 0 },
		{ 'p', NULL, &opt.processes, 64 },
		{ 'n', NULL, &opt.count, 10000000 },
		{ 'w', NULL, &opt.waiting, 10000 },
		{ 'o', NULL, &opt.size, 65536 },
		{ 't', NULL, &opt.seconds, 3600 },
	};
	size_t i;
	int o, at;

	while ((o = getopt_long(argc, argv, "", table, &at)) != -1) {
		if (o == '?')
			usage();
		for (i = 0; where[i].letter != o; i++)
			continue;
		if (where[i].text != NULL) {
			*where[i].text = optarg;
			continue;
		}
		*where[i].number =
		    bench_number(table[at].name, optarg, where[i].max);
		if (*where[i].number == 0)
			bench_die("--%s is at least 1", table[at].name);
	}
	if (optind != argc)
		usage();
}

int
main(int argc, char **argv)
{
	const struct mode *mode;

	if (argc < 2)
		usage();
	mode = find_mode(argv[1]);
	parse_options(argc - 1, argv + 1);
	if (mode->tls ? opt.cert == NULL || opt.key == NULL : opt.dir == NULL)
		usage();
	bench_raise_files();
	mode->run();
	return 0;
}
