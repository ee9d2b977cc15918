/*
 * submitd/mimewalk.c, submitd/mimetype.c.  What a walk tells is written down:
 * each entity as "NUMBER KIND ENCODING [flags]", the data of a leaf in quotes,
 * glue as "|".  Each message is fed whole and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/mem.h"
#include "submitd/mimetype.h"
#include "submitd/mimewalk.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MIXED(b) "Content-Type: multipart/mixed; boundary=" b "\r\n"

struct notes {
	char text[4096];
	struct buf all; /* every byte, in order */
	bool open;      /* inside of quotes */
};

static void
note(struct notes *n, const char *fmt, ...)
{
	size_t len = strlen(n->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(n->text + len, sizeof(n->text) - len, fmt, ap);
	va_end(ap);
}

static void
on_field(void *arg, const struct mime_entity *e, enum mime_field id,
    const void *p, size_t len)
{
	struct notes *n = arg;

	(void)e;
	buf_add(&n->all, p, len);
	if (id == MIME_FIELD_ENCODING)
		note(n, "E ");
}

static void
on_header_end(void *arg, const struct mime_entity *e)
{
	static const char *const kinds[] = { "text", "data", "fixed", "multi",
		"message" };
	static const char *const encodings[] = { "7bit", "8bit", "binary", "qp",
		"base64", "other" };

	note(arg, "%u %s %s%s ", e->number, kinds[e->kind],
	    encodings[e->encoding], e->frozen ? " frozen" : "");
}

static void
on_data(void *arg, const struct mime_entity *e, const void *p, size_t len)
{
	struct notes *n = arg;
	size_t i;

	(void)e;
	buf_add(&n->all, p, len);
	note(n, n->open ? "" : "\"");
	n->open = true;
	for (i = 0; i < len; i++)
		if (((const char *)p)[i] == '\r')
			note(n, "\\r");
		else if (((const char *)p)[i] == '\n')
			note(n, "\\n");
		else
			note(n, "%c", ((const char *)p)[i]);
}

static void
on_data_end(void *arg, const struct mime_entity *e, bool last)
{
	struct notes *n = arg;

	(void)e;
	note(n, n->open ? "\"%s " : "-%s ", last ? "!" : "");
	n->open = false;
}

static void
on_glue(void *arg, const void *p, size_t len)
{
	struct notes *n = arg;
	size_t at = strlen(n->text);

	assert_true(len > 0);
	buf_add(&n->all, p, len);
	if (at < 2 || n->text[at - 2] != '|')
		note(n, "| ");
}

static const struct mime_ops ops = { on_field, on_header_end, on_data,
	on_data_end, on_glue };

static const struct row {
	const char *name, *in, *out;
	bool doubtful;
} rows[] = {
	/* clang-format off */
	{ "nothing", "", "0 text 7bit ", false },
	{ "a header only", "A: b\r\n", "0 text 7bit ", false },
	{ "no header", "\r\nbody", "0 text 7bit | \"body\"! ", false },
	{ "plain text", "A: b\r\n\r\nx\r\ny\r\n",
	    "0 text 7bit | \"x\\r\\ny\\r\\n\"! ", false },
	{ "dashes are text", "A: b\r\n\r\n-\r\n--\r\n-- \r\n--x--\r\n",
	    "0 text 7bit | \"-\\r\\n--\\r\\n-- \\r\\n--x--\\r\\n\"! ", false },
	{ "CR and LF alone end no line", "A: b\r\n\r\nx\ry\nz\r\r\n\n\r",
	    "0 text 7bit | \"x\\ry\\nz\\r\\r\\n\\n\\r\"! ", false },
	{ "an encoding", "Content-Transfer-Encoding: Base64\r\n\r\nQQ==\r\n",
	    "E 0 text base64 | \"QQ==\\r\\n\"! ", false },
	{ "a folded encoding with a comment",
	    "content-transfer-encoding :\r\n (so (it) is)\r\n\t8BIT (yes)\r\n"
	    "\r\n", "E 0 text 8bit | -! ", false },
	{ "an unknown encoding",
	    "Content-Transfer-Encoding: x-uuencode\r\n\r\n",
	    "E 0 text other | -! ", false },
	{ "an encoding with more behind it",
	    "Content-Transfer-Encoding: 8bit base64\r\n\r\n",
	    "E 0 text other | -! ", false },
	{ "a type", "Content-Type: Image/PNG; x=y\r\n\r\nz",
	    "0 data 7bit | \"z\"! ", false },
	{ "no type at all", "Content-Type: text\r\n\r\nz",
	    "0 data 7bit | \"z\"! ", false },
	{ "another message type", "Content-Type: message/partial\r\n\r\nz",
	    "0 fixed 7bit | \"z\"! ", false },
	{ "a message type that may be encoded",
	    "Content-Type: message/global\r\n\r\nz",
	    "0 text 7bit | \"z\"! ", false },

	{ "two parts",
	    MIXED("b") "\r\npre\r\n--b\r\n\r\none\r\n--b\r\n"
	    "Content-Type: a/b\r\n\r\ntwo\r\n\r\n--b--\r\npost\r\n",
	    "0 multi 7bit | 1 text 7bit | \"one\" | 2 data 7bit | "
	    "\"two\\r\\n\" | ", false },
	{ "the boundary quoted, and blanks behind delimiters",
	    MIXED("\"=_ (b) x\"") "\r\n--=_ (b) x \t\r\n\r\none\r\n"
	    "--=_ (b) x-- \r\n",
	    "0 multi 7bit | 1 text 7bit | \"one\" | ", true },
	{ "an unquoted boundary that is no token",
	    MIXED("----=_Part_1:2") "\r\n------=_Part_1:2\r\n\r\none\r\n"
	    "------=_Part_1:2--",
	    "0 multi 7bit | 1 text 7bit | \"one\" | ", false },
	{ "other parameters and comments",
	    "Content-Type: multipart/mixed (c); a=\"x;boundary=n\";\r\n"
	    "\tBOUNDARY = \"b\" (d)\r\n\r\n--b\r\n\r\none\r\n--b--",
	    "0 multi 7bit | 1 text 7bit | \"one\" | ", false },
	{ "a part without an empty line", MIXED("b") "\r\n--b\r\nA: b\r\n--b--",
	    "0 multi 7bit | 1 text 7bit | ", false },
	{ "an empty part", MIXED("b") "\r\n--b\r\n\r\n--b--",
	    "0 multi 7bit | 1 text 7bit | - | ", false },
	{ "a part of one line end", MIXED("b") "\r\n--b\r\n\r\n\r\n--b--",
	    "0 multi 7bit | 1 text 7bit | - | ", false },
	{ "a part of two line ends", MIXED("b") "\r\n--b\r\n\r\n\r\n\r\n--b--",
	    "0 multi 7bit | 1 text 7bit | \"\\r\\n\" | ", false },
	{ "no end of the last part", MIXED("b") "\r\n--b\r\n\r\none\r\n",
	    "0 multi 7bit | 1 text 7bit | \"one\\r\\n\"! ", false },
	{ "the last delimiter without a line end",
	    MIXED("b") "\r\n--b\r\n\r\none\r\n--b",
	    "0 multi 7bit | 1 text 7bit | \"one\" | 2 text 7bit ", false },
	{ "no parts", MIXED("b") "\r\nnothing\r\n", "0 multi 7bit | ", false },
	{ "a bare LF before a delimiter",
	    MIXED("b") "\r\n--b\r\n\r\none\n--b--\r\n",
	    "0 multi 7bit | 1 text 7bit | \"one\\n--b--\\r\\n\"! ", false },
	{ "a line that begins like a delimiter",
	    MIXED("b") "\r\n--b\r\n\r\n--bc\r\n--b--",
	    "0 multi 7bit | 1 text 7bit | \"--bc\" | ", true },
	{ "a delimiter behind the last one",
	    MIXED("b") "\r\n--b--\r\n--b\r\n\r\nx",
	    "0 multi 7bit | ", true },

	{ "a multipart in a multipart",
	    MIXED("a") "\r\n--a\r\n" MIXED("c") "\r\n--c\r\n\r\none\r\n--c--\r\n"
	    "between\r\n--a\r\n\r\ntwo\r\n--a--\r\n",
	    "0 multi 7bit | 1 multi 7bit | 2 text 7bit | \"one\" | "
	    "3 text 7bit | \"two\" | ", false },
	{ "the inner one does not end",
	    MIXED("a") "\r\n--a\r\n" MIXED("c") "\r\n--c\r\n\r\none\r\n--a--",
	    "0 multi 7bit | 1 multi 7bit | 2 text 7bit | \"one\" | ", false },
	{ "the same boundary inside",
	    MIXED("a") "\r\n--a\r\n" MIXED("a") "\r\n--a\r\n\r\none\r\n--a--",
	    "0 multi 7bit | 1 multi 7bit | 2 text 7bit | \"one\" | ", true },
	{ "a boundary that begins like one outside",
	    MIXED("a") "\r\n--a\r\n" MIXED("ab") "\r\n--ab\r\n\r\none\r\n--ab--"
	    "\r\n--a--",
	    "0 multi 7bit | 1 multi 7bit | 2 text 7bit | \"one\" | ", true },

	{ "a message in a message",
	    "Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nin\r\n",
	    "0 message 7bit | 1 text 7bit | \"in\\r\\n\"! ", false },
	{ "a message with parts, in a part",
	    MIXED("a") "\r\n--a\r\nContent-Type: message/rfc822\r\n\r\n" MIXED("c")
	    "\r\n--c\r\n\r\none\r\n--c--\r\n--a--",
	    "0 multi 7bit | 1 message 7bit | 2 multi 7bit | 3 text 7bit | "
	    "\"one\" | ", false },
	{ "a digest",
	    "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n"
	    "A: b\r\n\r\nin\r\n--b--",
	    "0 multi 7bit | 1 message 7bit | 2 text 7bit | \"in\" | ", false },
	{ "an encoded message is no message",
	    "Content-Type: message/rfc822\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\nQQ==\r\n",
	    "E 0 fixed base64 | \"QQ==\\r\\n\"! ", false },
	{ "no boundary", "Content-Type: multipart/mixed\r\n\r\n--b\r\n",
	    "0 fixed 7bit | \"--b\\r\\n\"! ", false },
	{ "a boundary that ends with a blank",
	    MIXED("\"b \"") "\r\n--b \r\n", "0 fixed 7bit | \"--b \\r\\n\"! ",
	    false },

	{ "signed: all in it is frozen",
	    "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\none\r\n"
	    "--b--", "0 multi 7bit frozen | 1 text 7bit frozen | \"one\" | ",
	    false },
	{ "what stands beside it is not",
	    MIXED("a") "\r\n--a\r\nContent-Type: multipart/signed; boundary=c"
	    "\r\n\r\n--c\r\n\r\none\r\n--c--\r\n--a\r\n\r\ntwo\r\n--a--",
	    "0 multi 7bit | 1 multi 7bit frozen | 2 text 7bit frozen | "
	    "\"one\" | 3 text 7bit | \"two\" | ", false },
	{ "DKIM", "DKIM-Signature: v=1\r\n" MIXED("b")
	    "\r\n--b\r\n\r\none\r\n--b--",
	    "0 multi 7bit frozen | 1 text 7bit frozen | \"one\" | ", false },
	{ "DKIM of a message inside",
	    "Content-Type: message/rfc822\r\n\r\nDKIM-Signature: v=1\r\n\r\nin",
	    "0 message 7bit | 1 text 7bit | \"in\"! ", false },

	{ "two types", "Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n",
	    "0 data 7bit | -! ", true },
	{ "two encodings",
	    "Content-Transfer-Encoding: 7bit\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\n",
	    "E E 0 text 8bit | -! ", true },
	{ "two boundaries",
	    MIXED("a; boundary=b") "\r\n--b\r\n\r\none\r\n--b--",
	    "0 multi 7bit | 1 text 7bit | \"one\" | ", true },
	{ "a line that is no field", "A: b\r\nwhat\r\nC: d\r\n\r\nx",
	    "0 text 7bit | \"x\"! ", false },
	{ "names that only begin alike",
	    "Content-Types: multipart/mixed; boundary=b\r\n"
	    "X-Content-Type: a/b\r\nContent-Type\r\n\r\n",
	    "0 text 7bit | -! ", false },
	/* clang-format on */
};

static void
walk(const struct row *r, size_t piece)
{
	struct notes n = { .text = "" };
	struct mimewalk *w = mimewalk_new(&ops, &n);
	size_t len = strlen(r->in), i, k;
	bool doubtful;

	for (i = 0; i < len; i += k) {
		k = len - i < piece ? len - i : piece;
		mimewalk_feed(w, r->in + i, k);
	}
	mimewalk_end(w);
	doubtful = mimewalk_is_doubtful(w);
	mimewalk_free(&w);
	if (strcmp(n.text, r->out) != 0)
		fail_msg("%s, by %zu: %s", r->name, piece, n.text);
	if (n.all.len != len ||
	    (len > 0 && memcmp(buf_head(&n.all), r->in, len) != 0))
		fail_msg("%s, by %zu: bytes are missing", r->name, piece);
	if (doubtful != r->doubtful)
		fail_msg("%s: doubtful: %d", r->name, doubtful);
	buf_clear(&n.all);
}

static void
walks(void **state)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 4096 };
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(rows); i++)
		for (k = 0; k < COUNT(pieces); k++)
			walk(&rows[i], pieces[k]);
}

/* Neither depth nor length makes it grow. */
static void
too_much(void **state)
{
	struct notes n = { .text = "" };
	struct mimewalk *w = mimewalk_new(&ops, &n);
	char line[64];
	size_t i;

	(void)state;
	for (i = 0; i < 40; i++) {
		snprintf(
		    line, sizeof(line), "Content-Type: message/rfc822\r\n\r\n");
		mimewalk_feed(w, line, strlen(line));
	}
	mimewalk_end(w);
	assert_non_null(strstr(n.text, "31 message 7bit | 32 fixed 7bit | \""));
	mimewalk_free(&w);
	buf_clear(&n.all);

	/* a field that counts but is too long to be read */
	w = mimewalk_new(&ops, &n);
	mimewalk_feed(w, "Content-Type: a/b;\r\n", 20);
	for (i = 0; i < 1000; i++)
		mimewalk_feed(w, " x=0123456789012345\r\n", 21);
	mimewalk_end(w);
	assert_true(mimewalk_is_doubtful(w));
	assert_int_equal(n.all.len, 20 + 21 * 1000);
	mimewalk_free(&w);
	mimewalk_free(&w);
	buf_clear(&n.all);

	/* a line that goes on like a delimiter */
	w = mimewalk_new(&ops, &n);
	mimewalk_feed(w, MIXED("b") "\r\n--b", strlen(MIXED("b")) + 5);
	for (i = 0; i < 1000; i++)
		mimewalk_feed(w, " ", 1);
	mimewalk_end(w);
	assert_true(mimewalk_is_doubtful(w));
	mimewalk_free(&w);
	buf_clear(&n.all);
}

static void
long_boundaries(void **state)
{
	char value[600], boundary[400];
	struct mimetype m;

	(void)state;
	memset(boundary, 'b', sizeof(boundary));
	snprintf(value, sizeof(value), " multipart/x; boundary=%.*s",
	    MIME_BOUNDARY_MAX, boundary);
	mimetype_parse(value, strlen(value), &m);
	assert_int_equal(m.kind, MIME_MULTIPART);
	assert_int_equal(strlen(m.boundary), MIME_BOUNDARY_MAX);
	snprintf(value, sizeof(value), " multipart/x; boundary=%.*s",
	    MIME_BOUNDARY_MAX + 1, boundary);
	mimetype_parse(value, strlen(value), &m);
	assert_int_equal(m.kind, MIME_FIXED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks),
		cmocka_unit_test(too_much),
		cmocka_unit_test(long_boundaries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
