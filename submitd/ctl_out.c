/*
 * Results of submitctl: JSON for programs, tables and lines for people. Both
 * are made from the same JSON value. Texts for people are escaped: what a
 * stranger wrote in an envelope must not command a terminal.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <wchar.h>

#include "ctl.h"
#include "mem.h"
#include "utf8.h"

json_t *
ctl_json_time(int64_t when)
{
	return when != 0 ? json_integer(when) : json_null();
}

static void
set_result(struct ctl *ctl, json_t *value, const struct ctl_column *columns)
{
	json_decref(ctl->result);
	ctl->result = value;
	ctl->columns = columns;
}

void
ctl_list(struct ctl *ctl, json_t *rows, const struct ctl_column *columns)
{
	set_result(ctl, rows, columns);
}

void
ctl_show(struct ctl *ctl, json_t *object, const struct ctl_column *columns)
{
	set_result(ctl, object, columns);
}

void
ctl_done(struct ctl *ctl, json_t *object, const char *fmt, ...)
{
	va_list ap;

	set_result(ctl, object, NULL);
	free(ctl->text);
	va_start(ap, fmt);
	if (vasprintf(&ctl->text, fmt, ap) == -1)
		abort();
	va_end(ap);
}

/* Values as texts. */

/* Controls, and the characters that turn the direction of writing. */
static bool
is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e ||
	    c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069);
}

static void
add_escaped(struct buf *out, const char *text)
{
	size_t left = strlen(text), n;
	char esc[16];
	uint32_t c = 0;

	for (; left > 0; text += n, left -= n) {
		n = utf8_next(text, left, &c);
		if (n > 0 && !is_unsafe(c)) {
			buf_add(out, text, n);
			continue;
		}
		if (n == 0) {
			n = 1;
			c = (unsigned char)*text;
		}
		snprintf(esc, sizeof(esc), "\\u{%x}", (unsigned)c);
		buf_add(out, esc, strlen(esc));
	}
}

static void add_format(struct buf *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
add_format(struct buf *out, const char *fmt, ...)
{
	char text[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_add(out, text, strlen(text));
}

static void
add_time(struct buf *out, int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;
	char text[32];

	if (when <= 0 || localtime_r(&t, &tm) == NULL) {
		buf_add(out, "-", 1);
		return;
	}
	buf_add(out, text, strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm));
}

static void
add_size(struct buf *out, int64_t bytes)
{
	static const char units[] = "BKMGT";
	double n = (double)bytes;
	size_t u = 0;

	for (; n >= 1024 && u + 1 < sizeof(units) - 1; u++)
		n /= 1024;
	if (u == 0)
		add_format(out, "%lld", (long long)bytes);
	else
		add_format(out, n < 10 ? "%.1f%c" : "%.0f%c", n, units[u]);
}

static void
add_words(struct buf *out, const json_t *array)
{
	const json_t *word;
	size_t i;

	json_array_foreach(array, i, word)
	{
		if (i > 0)
			buf_add(out, ", ", 2);
		if (json_is_string(word))
			add_escaped(out, json_string_value(word));
	}
}

static void
add_by_type(struct buf *out, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		add_escaped(out, json_string_value(value));
		break;
	case JSON_INTEGER:
		add_format(out, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		add_format(out, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		add_format(out, json_is_true(value) ? "yes" : "no");
		break;
	case JSON_ARRAY:
		add_words(out, value);
		break;
	default:
		break;
	}
}

/* The text of a value, never empty; free it. */
static char *
cell(const json_t *value, const struct ctl_column *column)
{
	struct buf out = { 0 };
	int64_t n = json_integer_value(value);

	if (value != NULL && json_is_integer(value)) {
		if (column->kind == CTL_TIME)
			add_time(&out, n);
		else if (column->kind == CTL_TIME_MS)
			add_time(&out, n / 1000);
		else if (column->kind == CTL_SIZE)
			add_size(&out, n);
		else
			add_by_type(&out, value);
	} else if (value != NULL)
		add_by_type(&out, value);
	if (out.len == 0)
		buf_add(&out, "-", 1);
	buf_add(&out, "", 1);
	return (char *)buf_head(&out);
}

/* Columns on the screen. */
static size_t
width(const char *text)
{
	size_t left = strlen(text), n, cols = 0;
	uint32_t c;
	int w;

	for (; left > 0; text += n, left -= n) {
		if ((n = utf8_next(text, left, &c)) == 0)
			return cols + left; /* can't be: it was escaped */
		w = wcwidth((wchar_t)c);
		cols += w > 0 ? (size_t)w : 0;
	}
	return cols;
}

/* Tables. */

static void
pad(size_t n)
{
	for (; n > 0; n--)
		putchar(' ');
}

static bool
is_right(enum ctl_kind kind)
{
	return kind == CTL_NUMBER || kind == CTL_SIZE;
}

static void
print_row(char *const *cells, const struct ctl_column *columns,
    const size_t *widths, size_t n, const char *indent)
{
	fputs(indent, stdout);
	for (size_t i = 0; i < n; i++) {
		size_t space = widths[i] - width(cells[i]);

		if (is_right(columns[i].kind))
			pad(space);
		fputs(cells[i], stdout);
		if (i + 1 == n)
			break;
		if (!is_right(columns[i].kind))
			pad(space);
		pad(2);
	}
	putchar('\n');
}

static void
print_table(
    const json_t *rows, const struct ctl_column *columns, const char *indent)
{
	size_t ncols, nrows = json_array_size(rows) + 1, *widths;
	char **cells;

	for (ncols = 0; columns[ncols].key != NULL; ncols++)
		continue;
	widths = xcalloc(ncols, sizeof(*widths));
	cells = xcalloc(nrows * ncols, sizeof(*cells));
	for (size_t i = 0; i < nrows * ncols; i++) {
		const struct ctl_column *column = &columns[i % ncols];
		size_t w;

		cells[i] = i < ncols
		    ? xstrdup(column->title)
		    : cell(json_object_get(json_array_get(rows, i / ncols - 1),
			       column->key),
			  column);
		w = width(cells[i]);
		if (w > widths[i % ncols])
			widths[i % ncols] = w;
	}
	for (size_t r = 0; r < nrows; r++)
		print_row(&cells[r * ncols], columns, widths, ncols, indent);
	for (size_t i = 0; i < nrows * ncols; i++)
		free(cells[i]);
	free(cells);
	free(widths);
}

static void
print_lines(const json_t *object, const struct ctl_column *columns)
{
	size_t widest = 0;

	for (const struct ctl_column *c = columns; c->key != NULL; c++)
		if (c->kind != CTL_TABLE && width(c->title) > widest)
			widest = width(c->title);
	for (const struct ctl_column *c = columns; c->key != NULL; c++) {
		const json_t *value = json_object_get(object, c->key);
		char *text;

		if (c->kind == CTL_TABLE) {
			if (json_array_size(value) == 0)
				continue;
			printf("%s:\n", c->title);
			print_table(value, c->columns, "  ");
			continue;
		}
		if (value == NULL)
			continue;
		text = cell(value, c);
		printf("%s:", c->title);
		pad(widest - width(c->title) + 1);
		puts(text);
		free(text);
	}
}

/*
 * A value whose fields are not known here: their names are shown as they are,
 * parts of parts with dots. The name tells a time.
 */
static void
print_any(const char *name, const json_t *value)
{
	size_t len = strlen(name), i;
	bool ms = len > 3 && strcmp(name + len - 3, "_ms") == 0;
	struct ctl_column column = { "", name, ms ? CTL_TIME_MS : CTL_TEXT,
		NULL };
	const char *dot = name[0] != '\0' ? "." : "", *key;
	void *it;
	char *text;

	if (json_is_object(value)) {
		/* The iteration does not change the object. */
		json_t *o = (json_t *)(uintptr_t)value;

		for (it = json_object_iter(o); it != NULL;
		     it = json_object_iter_next(o, it)) {
			key = json_object_iter_key(it);
			text = xasprintf("%s%s%s", name, dot, key);
			print_any(text, json_object_iter_value(it));
			free(text);
		}
	} else if (json_is_object(json_array_get(value, 0))) {
		for (i = 0; i < json_array_size(value); i++) {
			text = xasprintf("%s%s%zu", name, dot, i + 1);
			print_any(text, json_array_get(value, i));
			free(text);
		}
	} else {
		text = cell(value, &column);
		printf("%s: %s\n", name, text);
		free(text);
	}
}

int
ctl_print(struct ctl *ctl)
{
	if (ctl->result != NULL && ctl->json) {
		json_dumpf(
		    ctl->result, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
	} else if (ctl->columns != NULL && json_is_array(ctl->result))
		print_table(ctl->result, ctl->columns, "");
	else if (ctl->columns != NULL)
		print_lines(ctl->result, ctl->columns);
	else if (ctl->text != NULL)
		puts(ctl->text);
	else if (ctl->result != NULL)
		print_any("", ctl->result);
	if (fflush(stdout) == EOF || ferror(stdout))
		return ctl_fail(
		    EX_IOERR, "cannot write the output: %s", strerror(errno));
	return 0;
}
