/*
 * Replays a corpus through a fuzz target: each file below the directories
 * given is one input, and so is each of its prefixes at a few lengths.  One
 * TAP line a directory; a crash or a sanitizer's report fails it.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
feed(const uint8_t *data, size_t len)
{
	uint8_t *exact = malloc(len > 0 ? len : 1);

	if (exact == NULL)
		abort();
	memcpy(exact, data, len); /* so that ASan sees reads past the end */
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
}

static int
replay(const char *path)
{
	static uint8_t data[1 << 20];
	FILE *fp = fopen(path, "rb");
	size_t len, cut;

	if (fp == NULL)
		return -1;
	len = fread(data, 1, sizeof(data), fp);
	fclose(fp);
	for (cut = len; cut > 0; cut = cut * 3 / 4)
		feed(data, cut);
	feed(data, 0);
	return 0;
}

static int
replay_dir(const char *dir)
{
	char path[4096];
	struct dirent *e;
	DIR *d = opendir(dir);
	int n = 0;

	if (d == NULL)
		return -1;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (replay(path) == -1) {
			n = -1;
			break;
		}
		n++;
	}
	closedir(d);
	return n;
}

int
main(int argc, char **argv)
{
	int i, n, bad = 0;

	printf("1..%d\n", argc > 1 ? argc - 1 : 1);
	if (argc < 2) {
		printf("not ok 1 - no corpus was given\n");
		return 1;
	}
	for (i = 1; i < argc; i++) {
		n = replay_dir(argv[i]);
		bad |= n <= 0;
		printf("%sok %d - %d inputs of %s\n", n <= 0 ? "not " : "", i,
		    n, argv[i]);
	}
	return bad;
}
