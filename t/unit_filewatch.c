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
	put("file", "old");
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

/* clang-format off */
static const struct {
	const char *name;
	const char *watched;
	void (*act)(void);
	bool changed;
} cases[] = {
	{ "written and closed", "file", write_file, true },
	{ "another one is renamed into its place", "file", rename_file, true },
	{ "other files", "file", write_other, false },
	{ "created but not complete", "fresh", begin_to_write, false },
	{ "removed", "file", remove_file, true },
	{ "moved away", "file", move_away, true },
	{ "its mode is another", "file", open_to_others, true },
	{ "the mode of a link's target is another", "link", close_to_others,
	  true },
	{ "mode and end of others", "file", touch_others, false },
	{ "the target of a link is written", "link", write_target, true },
	{ "the link leads elsewhere", "link", replace_link, true },
	{ "a file beside the target", "link", write_other, false },
	{ "the directory is renamed", "elsewhere/target", rename_directory,
	  true },
	{ "comes into being", "missing", write_other, false },
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
		w = filewatch_new(path);
		assert_non_null(w);
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
no_directory(void **state)
{
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/no/file", dir);
	assert_null(filewatch_new(path));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_are_told),
		cmocka_unit_test(no_directory),
	};
	static const char *const files[] = { "file", "file.new", "fresh",
		"link", "other", "elsewhere/target" };
	int failed;

	if (mkdtemp(dir) == NULL || chdir(dir) == -1 ||
	    mkdir("elsewhere", 0700) == -1)
		return 99;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < N(files); i++)
		unlink(files[i]);
	if (rmdir("elsewhere") == -1 || chdir("/") == -1 || rmdir(dir) == -1)
		failed = 99;
	return failed;
}
