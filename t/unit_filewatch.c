/* submitd/filewatch.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "submitd/filewatch.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/unit_filewatch.XXXXXX";
static FILE *half; /* a file that somebody is still writing */

static void
put(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
set_up(void)
{
	unlink("new"); /* perhaps the same file as "file" */
	put("file", "old");
	put("ca/one", "old");
	unlink("ca/link");
	assert_int_equal(symlink("../elsewhere/target", "ca/link"), 0);
	unlink("version");
	assert_int_equal(symlink("elsewhere", "version"), 0);
	rmdir("later");
	put("elsewhere/target", "old");
	unlink("link");
	assert_int_equal(symlink("elsewhere/target", "link"), 0);
}

static void
write_file(void)
{
	put("file", "new");
}

static void
rename_file(void)
{
	put("new", "new");
	assert_int_equal(rename("new", "file"), 0);
}

static void
write_other(void)
{
	put("other", "new");
	put("file.new", "new");
	put("elsewhere/file", "new");
	unlink("elsewhere/file");
}

static void
begin_to_write(void)
{
	half = fopen("fresh", "w");
	assert_non_null(half);
	fputs("half", half);
	fflush(half);
}

static void
remove_file(void)
{
	unlink("file");
}

static void
move_away(void)
{
	assert_int_equal(rename("file", "other"), 0);
}

static void
open_to_others(void)
{
	assert_int_equal(chmod("file", 0666), 0);
}

static void
close_to_others(void)
{
	assert_int_equal(chmod("elsewhere/target", 0600), 0);
}

static void
touch_others(void)
{
	put("other", "new");
	assert_int_equal(chmod("other", 0600), 0);
	unlink("other");
}

static void
write_target(void)
{
	put("elsewhere/target", "new");
}

static void
replace_link(void)
{
	unlink("link");
	assert_int_equal(symlink("file", "link"), 0);
}

static void
rename_directory(void)
{
	assert_int_equal(rename("elsewhere", "gone"), 0);
	assert_int_equal(rename("gone", "elsewhere"), 0);
}

/* As one who keeps whole directories of certificates would. */
static void
replace_version(void)
{
	assert_int_equal(symlink("ca", "version.new"), 0);
	assert_int_equal(rename("version.new", "version"), 0);
}

static void
link_file(void)
{
	put("new", "new");
	unlink("file");
	assert_int_equal(link("new", "file"), 0);
}

static void
make_directory(void)
{
	assert_int_equal(mkdir("later", 0700), 0);
}

static void
add_to_directory(void)
{
	put("ca/two", "new");
}

static void
take_from_directory(void)
{
	unlink("ca/one");
}

static void
look_around(void)
{
	FILE *f = fopen("file", "r");
	char c;

	assert_non_null(f);
	assert_int_equal(fread(&c, 1, 1, f), 1);
	fclose(f);
	assert_int_equal(access("ca/one", R_OK), 0);
}

/* clang-format off */
static const struct {
	const char *name;
	const char *watched;
	void (*act)(void);
	bool changed;
	bool all; /* of a directory */
} cases[] = {
	{ "written and closed", "file", write_file, true, false },
	{ "another one is renamed into its place", "file", rename_file, true,
	  false },
	{ "another one is linked into its place", "file", link_file, true,
	  false },
	{ "it is read", "file", look_around, false, false },
	{ "other files", "file", write_other, false, false },
	{ "created but not complete", "fresh", begin_to_write, false, false },
	{ "removed", "file", remove_file, true, false },
	{ "moved away", "file", move_away, true, false },
	{ "its mode is another", "file", open_to_others, true, false },
	{ "the mode of a link's target is another", "link", close_to_others,
	  true, false },
	{ "mode and end of others", "file", touch_others, false, false },
	{ "the target of a link is written", "link", write_target, true,
	  false },
	{ "the link leads elsewhere", "link", replace_link, true, false },
	{ "a file beside the target", "link", write_other, false, false },
	{ "the directory is renamed", "elsewhere/target", rename_directory,
	  true, false },
	{ "the directory is a link and another now", "version/target",
	  replace_version, true, false },
	{ "comes into being", "missing", write_other, false, false },
	{ "its directory comes into being", "later/file", make_directory, true,
	  false },
	{ "a directory: a file comes", "ca", add_to_directory, true, true },
	{ "a directory: a file goes", "ca", take_from_directory, true, true },
	{ "a directory: the target of a link is written", "ca", write_target,
	  true, true },
	{ "a directory: other files", "ca", write_file, false, true },
	{ "a directory: it is renamed", "elsewhere", rename_directory, true,
	  true },
	{ "a directory: it comes into being", "later", make_directory, true,
	  true },
};
/* clang-format on */

static void
changes_are_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct filewatch *w;
		char path[256];

		set_up();
		snprintf(path, sizeof(path), "%s/%s", dir, cases[i].watched);
		w = filewatch_new();
		assert_non_null(w);
		assert_int_equal(
		    (cases[i].all ? filewatch_add_dir : filewatch_add)(w, path),
		    0);
		assert_true(filewatch_fd(w) >= 0);
		assert_false(filewatch_changed(w));
		cases[i].act();
		if (filewatch_changed(w) != cases[i].changed)
			fail_msg("%s", cases[i].name);
		assert_false(filewatch_changed(w));
		filewatch_free(&w);
		assert_null(w);
		if (half != NULL)
			fclose(half);
		half = NULL;
	}
}

static void
many_files(void **state)
{
	struct filewatch *w = filewatch_new();

	(void)state;
	set_up();
	assert_non_null(w);
	assert_int_equal(filewatch_add(w, "file"), 0);
	assert_int_equal(filewatch_add(w, "link"), 0);
	assert_int_equal(filewatch_add_dir(w, "ca"), 0);
	write_other();
	assert_false(filewatch_changed(w));
	add_to_directory();
	assert_true(filewatch_changed(w));
	write_target();
	assert_true(filewatch_changed(w));
	filewatch_free(&w);
}

/* Whoever makes links can make them go round. */
static void
loops_end(void **state)
{
	struct filewatch *w = filewatch_new();

	(void)state;
	assert_non_null(w);
	assert_int_equal(symlink("round", "round"), 0);
	assert_int_equal(filewatch_add(w, "round/and/round"), 0);
	unlink("round");
	filewatch_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_are_told),
		cmocka_unit_test(many_files),
		cmocka_unit_test(loops_end),
	};
	static const char *const files[] = { "file", "file.new", "fresh",
		"link", "new", "other", "version", "ca/one", "ca/two",
		"ca/link", "elsewhere/target" };
	int failed;

	if (mkdtemp(dir) == NULL || chdir(dir) == -1 ||
	    mkdir("elsewhere", 0700) == -1 || mkdir("ca", 0700) == -1)
		return 99;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < N(files); i++)
		unlink(files[i]);
	rmdir("later"); /* only some tests make it */
	if (rmdir("elsewhere") == -1 || rmdir("ca") == -1 || chdir("/") == -1 ||
	    rmdir(dir) == -1)
		failed = 99;
	return failed;
}
