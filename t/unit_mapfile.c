/*
 * submitd/mapfile.c: reading, differences, rows of the store. And the
 * property that a map that goes through the store and is written as text
 * again means the same.
 */
#include "unit_store_fixture.h"

#include <string.h>
#include <sys/stat.h>

#include "store/access.h"
#include "submitd/mapfile.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* ---- reading ---- */

static const char *
put(const struct fixture *fx, const char *text)
{
	static char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/map", fx->dir);
	assert_non_null(f = fopen(path, "w"));
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0600), 0);
	return path;
}

static struct accessmap *
read_text(const struct fixture *fx, const char *text)
{
	const char *path = put(fx, text);
	struct accessmap *map;
	char err[256];

	map = mapfile_read(path, true, err, sizeof(err));
	unlink(path);
	assert_non_null(map);
	return map;
}

static void
tabs_become_blanks(void **state)
{
	struct accessmap *map =
	    read_text(*state, "To:a.b\t\t550\tgo\taway\t\n");

	assert_int_equal(map->nentries, 1);
	assert_string_equal(map->entry[0].value, "550 go away");
	accessmap_free(&map);
}

static void
only_owners_write(void **state)
{
	static const mode_t good[] = { 0600, 0640, 0444 };
	static const mode_t bad[] = { 0620, 0602, 0666 };
	struct fixture *fx = *state;
	const char *path = put(fx, "a.b OK\n");
	struct accessmap *map;
	char err[256];

	for (size_t i = 0; i < N(good); i++) {
		chmod(path, good[i]);
		map = mapfile_read(path, true, err, sizeof(err));
		if (map == NULL)
			fail_msg("%04o: %s", (unsigned)good[i], err);
		accessmap_free(&map);
	}
	for (size_t i = 0; i < N(bad); i++) {
		chmod(path, bad[i]);
		if (mapfile_read(path, true, err, sizeof(err)) != NULL)
			fail_msg("%04o is taken", (unsigned)bad[i]);
		assert_non_null(strstr(err, "chmod go-w"));
		map = mapfile_read(path, false, err, sizeof(err));
		assert_non_null(map); /* somebody looks on */
		accessmap_free(&map);
	}
	unlink(path);
}

static void
no_file(void **state)
{
	struct fixture *fx = *state;
	char path[96], err[256];

	snprintf(path, sizeof(path), "%s/none", fx->dir);
	assert_null(mapfile_read(path, true, err, sizeof(err)));
	assert_non_null(strstr(err, "No such file"));
	assert_null(mapfile_read(fx->dir, true, err, sizeof(err)));
	assert_non_null(strstr(err, "no regular file"));
	assert_int_equal(mkfifo(path, 0600), 0); /* without a writer */
	assert_null(mapfile_read(path, true, err, sizeof(err)));
	assert_non_null(strstr(err, "no regular file"));
	unlink(path);
}

static void
first_error(void **state)
{
	struct accessmap *map =
	    read_text(*state, "a.b OK\na.b OK\nTLS_Clt: VERYFY\n x OK\n");
	char text[256];

	assert_true(mapfile_first_error(map, "/m", text, sizeof(text)));
	assert_int_equal(strncmp(text, "/m:3: ", 6), 0);
	accessmap_free(&map);
	map = read_text(*state, "a.b OK\na.b OK\n");
	assert_false(mapfile_first_error(map, "/m", text, sizeof(text)));
	accessmap_free(&map);
}

/* ---- differences ---- */

/* clang-format off */
static const struct {
	const char *name;
	const char *cli; /* a key */
	const char *before, *after;
	const char *diff; /* "op key old new line hidden;" */
} diffs[] = {
	{ "nothing and nothing", NULL, "", "", "" },
	{ "first import", NULL, "", "b OK\nA RELAY\n",
	  "added A - RELAY 2;added b - OK 1;" },
	{ "all removed", NULL, "b OK\nA RELAY\n", "# no\n",
	  "removed A RELAY - 2;removed b OK - 1;" },
	{ "the same in another order and case", NULL, "b OK\nA RELAY\n",
	  "a RELAY\n\nB OK\n", "" },
	{ "a value changes", NULL, "a OK\nb OK\n", "a OK\nB RELAY\n",
	  "changed B OK RELAY 2;" },
	{ "the case of a value", NULL, "a OK\n", "a ok\n",
	  "changed a OK ok 1;" },
	{ "one of each", NULL, "a OK\nb OK\nc OK\n", "b RELAY\nc OK\nd OK\n",
	  "removed a OK - 1;changed b OK RELAY 1;added d - OK 3;" },
	{ "the first of two lines counts", NULL, "a OK\n", "a OK\nA RELAY\n",
	  "" },
	{ "a domain in letters is its A-label, to be said once", NULL,
	  "To:xn--bcher-kva.example OK\n",
	  "To:b\xc3\xbc" "cher.example OK\nTo:xn--bcher-kva.example RELAY\n",
	  "" },
	{ "added behind a cli row", "a", "", "a OK\n", "added a - OK 1 hidden;" },
	{ "changed behind a cli row", "B", "b OK\nc OK\n", "b RELAY\nc RELAY\n",
	  "changed b OK RELAY 1 hidden;changed c OK RELAY 2;" },
	{ "removed behind a cli row", "b", "b OK\n", "c OK\n",
	  "removed b OK - 1 hidden;added c - OK 1;" },
	{ "a cli row of its own", "b", "a OK\nc OK\n", "a OK\nc OK\n", "" },
};
/* clang-format on */

static void
diff_text(const struct mapfile_diff *d, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < d->n; i++) {
		const struct mapfile_change *c = &d->change[i];

		n += (size_t)snprintf(out + n, size - n, "%s %s %s %s %d%s;",
		    mapfile_op_name(c->op), c->key, c->old ? c->old : "-",
		    c->value ? c->value : "-", c->line,
		    c->hidden ? " hidden" : "");
	}
}

/* The differences that are told are those that are made. */
static void
differences(void **state)
{
	struct mapfile_diff diff;
	struct accessmap *map;
	char got[1024];

	for (size_t i = 0; i < N(diffs); i++) {
		struct fixture *fx;

		fixture_up(state);
		fx = *state;
		if (diffs[i].cli != NULL)
			assert_rc(fx,
			    store_access_set(fx->st, diffs[i].cli, "REJECT"),
			    STORE_OK);
		map = read_text(fx, diffs[i].before);
		assert_rc(fx, mapfile_store(fx->st, map, NULL), STORE_OK);
		accessmap_free(&map);
		map = read_text(fx, diffs[i].after);
		assert_rc(fx, mapfile_diff(fx->st, map, &diff), STORE_OK);
		diff_text(&diff, got, sizeof(got));
		if (strcmp(got, diffs[i].diff) != 0)
			fail_msg("%s: %s", diffs[i].name, got);
		assert_int_equal(diff.count[MAPFILE_ADDED] +
			diff.count[MAPFILE_CHANGED] +
			diff.count[MAPFILE_REMOVED],
		    diff.n);
		mapfile_diff_clear(&diff);
		assert_rc(fx, mapfile_store(fx->st, map, NULL), STORE_OK);
		assert_rc(fx, mapfile_diff(fx->st, map, &diff), STORE_OK);
		if (diff.n != 0)
			fail_msg("%s: not all was changed", diffs[i].name);
		mapfile_diff_clear(&diff);
		accessmap_free(&map);
		fixture_down(state);
	}
}

/* ---- the store ---- */

static void
which_file_it_was(void **state)
{
	struct fixture *fx = *state;
	struct accessmap *map = read_text(fx, "a OK\n");
	uint64_t before = 0, after = 0;

	assert_false(mapfile_is_imported(fx->st, "/m"));
	assert_rc(fx, mapfile_store(fx->st, map, NULL), STORE_OK);
	assert_false(mapfile_is_imported(fx->st, "/m"));
	assert_rc(fx, mapfile_store(fx->st, map, "/m"), STORE_OK);
	assert_true(mapfile_is_imported(fx->st, "/m"));
	assert_false(mapfile_is_imported(fx->st, "/n"));
	assert_rc(fx, store_version(fx->st, &before), STORE_OK);
	assert_rc(fx, mapfile_store(fx->st, map, "/m"), STORE_OK);
	assert_rc(fx, store_version(fx->st, &after), STORE_OK);
	assert_true(before == after); /* the same again: nothing is written */
	assert_rc(fx, mapfile_store(fx->st, map, "/n"), STORE_OK);
	assert_false(mapfile_is_imported(fx->st, "/m"));
	accessmap_free(&map);
}

/* The check of the map refuses it before. */
static void
what_the_store_refuses(void **state)
{
	struct fixture *fx = *state;
	struct accessmap *map = read_text(fx, "a OK\nj\xf6rg@b OK\n");
	char text[256];

	assert_int_equal(map->nerrors, 1);
	assert_true(mapfile_first_error(map, "/m", text, sizeof(text)));
	assert_int_equal(strncmp(text, "/m:2: the entry is not UTF-8", 28), 0);
	assert_rc(fx, mapfile_store(fx->st, map, "/m"), STORE_INVALID);
	mapfile_store_error(fx->st, "/m", text, sizeof(text));
	assert_int_equal(strncmp(text, "/m:2: the key is not UTF-8", 26), 0);
	assert_false(mapfile_is_imported(fx->st, "/m"));
	accessmap_free(&map);
}

/* ---- import, then export ---- */

static uint64_t dice = 8174;

static unsigned
roll(unsigned n)
{
	dice = dice * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(dice >> 33) % n;
}

static const char *
pick(const char *const *words, size_t n)
{
	return words[roll((unsigned)n)];
}
#define PICK(words) pick(words, N(words))

static void
random_line(FILE *out)
{
	static const char *const tags[] = { "TLS_Clt:", "tls_srv:", "TLS_Rcpt:",
		"TLS_User:", "Try_TLS:", "Connect:", "FROM:", "to:", "",
		"CertIssuer:", "Ours:", "AuthInfo:" };
	static const char *const operands[] = { "a.b", "A.B", "b", "192.0.2",
		"u@a.b", "U+d@", "IPv6:2001:db8", "[192.0.2.1]",
		"/O=x+20y/CN=z", "\"q\"", "#", "j\xc3\xb6rg@a.b", "" };
	static const char *const blanks[] = { " ", "\t", " \t  " };
	static const char *const values[] = { "OK", "ok", "RELAY", "REJECT",
		"VERIFY", "VERIFY:128+CN++CI:/O=x", "PERM+ENCR:1", "SUBJECT",
		"550 \"a  b\"\tc", "ERROR:5.7.1:550 (x) y", "NO", "# x",
		"SKIP" };
	static const char *const ends[] = { "\n", " \n", "\t\r\n",
		"\n\n# x\n" };

	fprintf(out, "%s%s%s%s%s", PICK(tags), PICK(operands), PICK(blanks),
	    PICK(values), PICK(ends));
}

static int
export_row(const struct store_access *row, void *arg)
{
	char line[ACCESSMAP_LINE_MAX + 1];

	assert_int_equal(
	    accessmap_format(row->shown, row->value, line, sizeof(line)), 0);
	fprintf(arg, "%s\n", line);
	return 0;
}

/* Random maps, without the lines that are refused. */
static struct accessmap *
random_map(void)
{
	struct accessmap *map;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	for (unsigned n = roll(30); n > 0; n--) {
		char *line = NULL;
		size_t linelen = 0;
		FILE *one = open_memstream(&line, &linelen);

		random_line(one);
		fclose(one);
		map = accessmap_parse(line, linelen);
		if (map->nerrors == 0)
			fputs(line, out);
		accessmap_free(&map);
		free(line);
	}
	fclose(out);
	map = accessmap_parse(text, len);
	assert_int_equal(map->nerrors, 0);
	free(text);
	return map;
}

static void
there_and_back(void **state)
{
	struct fixture *fx = *state;
	size_t entries = 0;

	for (int round = 0; round < 200; round++) {
		struct accessmap *map = random_map(), *again;
		struct mapfile_diff diff;
		char *text = NULL;
		size_t len = 0;
		FILE *out = open_memstream(&text, &len);

		for (size_t i = 0; i < map->nentries; i++)
			for (char *p = map->entry[i].value; *p != '\0'; p++)
				*p = *p == '\t' ? ' ' : *p;
		entries += map->nentries;
		assert_rc(fx, mapfile_store(fx->st, map, NULL), STORE_OK);
		assert_rc(fx, store_access_list(fx->st, NULL, export_row, out),
		    STORE_OK);
		fclose(out);
		again = accessmap_parse(text, len);
		assert_int_equal(again->nerrors, 0);
		assert_int_equal(again->nentries, map->nentries);
		assert_rc(fx, mapfile_diff(fx->st, again, &diff), STORE_OK);
		if (diff.n != 0)
			fail_msg("round %d: %s %s", round,
			    mapfile_op_name(diff.change[0].op),
			    diff.change[0].key);
		mapfile_diff_clear(&diff);
		accessmap_free(&again);
		accessmap_free(&map);
		free(text);
	}
	assert_true(entries > 500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(tabs_become_blanks),
		FIXTURE_TEST(only_owners_write),
		FIXTURE_TEST(no_file),
		FIXTURE_TEST(first_error),
		cmocka_unit_test(differences),
		FIXTURE_TEST(which_file_it_was),
		FIXTURE_TEST(what_the_store_refuses),
		FIXTURE_TEST(there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
