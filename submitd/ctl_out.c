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
#include "store/utf8.h"

#define ISO_8601 "%Y-%m-%dT%H:%M:%SZ"

json_t *
ctl_json_time(int64_t when)
{
	time_t t = (time_t)when;
	char text[32];
	struct tm tm;

	if (when == 0 || gmtime_r(&t, &tm) == NULL)
		return json_null();
	strftime(text, sizeof(text), ISO_8601, &tm);
	return json_string(text);
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
ctl_show_each(
    struct ctl *ctl, json_t *objects, const struct ctl_column *columns)
{
	set_result(ctl, objects, columns);
	ctl->each = true;
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

/* In the local time zone; the text itself if it is no time. */
static void
add_time(struct buf *out, const char *iso)
{
	struct tm utc = { 0 }, tm;
	char text[32];
	time_t t;

	if (strptime(iso, ISO_8601, &utc) == NULL) {
		add_escaped(out, iso);
		return;
	}
	t = timegm(&utc);
	if (localtime_r(&t, &tm) != NULL)
		buf_add(out, text,
		    strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm));
}

static void
add_span(struct buf *out, int64_t s)
{
	if (s >= 24 * 3600)
		add_format(out, "%lld d ", (long long)(s / (24 * 3600)));
	add_format(out, "%02d:%02d:%02d", (int)(s / 3600 % 24),
	    (int)(s / 60 % 60), (int)(s % 60));
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

/* A field by its name, or a field of a field: "queue.messages". */
static const json_t *
lookup(const json_t *object, const char *key)
{
	const char *dot = strchr(key, '.');
	char *first;

	if (dot == NULL)
		return json_object_get(object, key);
	first = xstrndup(key, (size_t)(dot - key));
	object = json_object_get(object, first);
	free(first);
	return lookup(object, dot + 1);
}

/* The text of a value, never empty; free it. */
static char *
cell(const json_t *value, enum ctl_kind kind)
{
	struct buf out = { 0 };
	int64_t n = json_integer_value(value);

	if (json_is_integer(value) && kind == CTL_SIZE)
		add_size(&out, n);
	else if (json_is_integer(value) && kind == CTL_SPAN)
		add_span(&out, n);
	else if (json_is_string(value) && kind == CTL_TIME)
		add_time(&out, json_string_value(value));
	else if (value != NULL)
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
		    : cell(lookup(json_array_get(rows, i / ncols - 1),
			       column->key),
			  column->kind);
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
		const json_t *value = lookup(object, c->key);
		char *text;

		if (c->kind == CTL_TABLE) {
			if (json_array_size(value) == 0)
				continue;
			printf("%s:\n", c->title);
			print_table(value, c->columns, "  ");
			continue;
		}
		if (value == NULL || json_is_null(value))
			continue;
		text = cell(value, c->kind);
		printf("%s:", c->title);
		pad(widest - width(c->title) + 1);
		puts(text);
		free(text);
	}
}

static void
print_each(const json_t *objects, const struct ctl_column *columns)
{
	const json_t *object;
	size_t i;

	json_array_foreach(objects, i, object)
	{
		if (i > 0)
			putchar('\n');
		print_lines(object, columns);
	}
}

int
ctl_print(struct ctl *ctl)
{
	if (ctl->result != NULL && ctl->json) {
		json_dumpf(
		    ctl->result, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
	} else if (ctl->each)
		print_each(ctl->result, ctl->columns);
	else if (ctl->columns != NULL && json_is_array(ctl->result))
		print_table(ctl->result, ctl->columns, "");
	else if (ctl->columns != NULL)
		print_lines(ctl->result, ctl->columns);
	else if (ctl->text != NULL)
		puts(ctl->text);
	if (fflush(stdout) == EOF || ferror(stdout))
		return ctl_fail(
		    EX_IOERR, "cannot write the output: %s", strerror(errno));
	return 0;
}
