/* submitd/header.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/header.h"

#define HOST "mail.example.org"

/* What the filter told: names and ids of fields, in order. */
struct told {
	char fields[1024];
	const char *add; /* appended at the end; NULL: nothing */
	enum header_id drop; /* left out; HEADER_OTHER: nothing */
	unsigned ends;
};

static bool
on_field(void *arg, const struct header_field *f)
{
	struct told *t = arg;
	size_t n = strlen(t->fields);

	/* name, colon and value make up the whole */
	assert_ptr_equal(f->name, f->raw);
	assert_ptr_equal(f->value + f->value_len, f->raw + f->raw_len);
	assert_int_equal(f->value[-1], ':');
	assert_int_equal(f->raw[f->raw_len - 1], '\n');
	if (n < sizeof(t->fields) - 100)
		snprintf(t->fields + n, sizeof(t->fields) - n, "%.*s %d|",
		    (int)(f->name_len < 60 ? f->name_len : 60), f->name, f->id);
	return t->drop == HEADER_OTHER || t->drop != f->id;
}

static void
on_end(void *arg, struct buf *out)
{
	struct told *t = arg;

	t->ends++;
	if (t->add != NULL)
		buf_add(out, t->add, strlen(t->add));
}

static const struct header_ops ops = { on_field, on_end };

enum {
	HEADLESS = 1,
	BROKEN = 2,
	TOO_BIG = 4,
};

/* clang-format off */
static const struct {
	const char *name;
	const char *in;
	const char *out; /* NULL: as in */
	const char *fields; /* NULL: not looked at */
	int flags;
} rows[] = {
	{ "plain", "From: a@b\r\nTo: c@d\r\n\r\nbody\r\n", NULL, "From 4|To 0|", 0 },
	{ "each name that matters",
	  "Authentication-Results: x\r\nDate: x\r\nFrom: x\r\nMessage-ID: x\r\n"
	  "Received: x\r\nResent-From: x\r\nResent-Sender: x\r\nSender: x\r\n\r\n",
	  NULL, "Authentication-Results 1|Date 3|From 4|Message-ID 5|Received 6|"
	  "Resent-From 8|Resent-Sender 9|Sender 10|", 0 },
	{ "any case", "FROM: x\r\nmessage-id: x\r\n\r\n", NULL,
	  "FROM 4|message-id 5|", 0 },
	{ "prefixes are others", "Fro: x\r\nFroms: x\r\nX-From: x\r\n\r\n", NULL,
	  "Fro 0|Froms 0|X-From 0|", 0 },
	{ "folded", "Subject: a\r\n b\r\n\tc\r\nTo: d\r\n\r\n", NULL,
	  "Subject 0|To 0|", 0 },
	{ "folded, first line empty", "Subject:\r\n a\r\n\r\n", NULL, "Subject 0|",
	  0 },
	{ "fold of blanks only", "Subject: a\r\n \r\nTo: d\r\n\r\n", NULL,
	  "Subject 0|To 0|", 0 },
	{ "empty value", "Subject:\r\n\r\nx", NULL, "Subject 0|", 0 },
	{ "blank before the colon", "Subject : x\r\nFrom\t : y\r\n\r\n", NULL,
	  "Subject 0|From 4|", 0 },
	{ "colon in the value", "Subject: a: b\r\n\r\n", NULL, "Subject 0|", 0 },
	{ "8-bit value", "Subject: \xff\xe4\r\n\r\n\xff", NULL, "Subject 0|", 0 },
	{ "odd name", "!#$%&'*+-./0;<=>?@[\\]^_`{|}~: x\r\n\r\n", NULL,
	  "!#$%&'*+-./0;<=>?@[\\]^_`{|}~ 0|", 0 },
	{ "LF only", "From: x\nBcc: y\n\nBcc: z\n", "From: x\n\nBcc: z\n",
	  "From 4|", 0 },

	/* Bcc */
	{ "Bcc", "To: x\r\nBcc: y\r\nFrom: z\r\n\r\n",
	  "To: x\r\nFrom: z\r\n\r\n", "To 0|From 4|", 0 },
	{ "Bcc first, last and folded",
	  "BCC: y,\r\n z,\r\n\tw\r\nTo: x\r\nbcc:\r\n y\r\n\r\nb",
	  "To: x\r\n\r\nb", "To 0|", 0 },
	{ "Bcc only", "Bcc: y\r\n\r\nb", "\r\nb", "", 0 },
	{ "blank before the colon of Bcc", "To: x\r\nBcc : y\r\nBcc\t: z\r\n\r\n",
	  "To: x\r\n\r\n", "To 0|", 0 },
	{ "Resent-Bcc", "To: x\r\nResent-Bcc: y\r\n\r\n", "To: x\r\n\r\n", "To 0|",
	  0 },
	{ "Bcc in the body", "To: x\r\n\r\nBcc: y\r\n", NULL, "To 0|", 0 },
	{ "Bcc in a fold is a value", "To: x\r\n Bcc: y\r\n\r\n", NULL, "To 0|",
	  0 },
	{ "others like Bcc", "Bccc: x\r\nX-Bcc: y\r\nBc: z\r\n\r\n", NULL, NULL,
	  0 },
	{ "empty Bcc", "To: x\r\nBcc:\r\n\r\n", "To: x\r\n\r\n", "To 0|", 0 },
	{ "unfinished Bcc", "To: x\r\nBcc: y", "To: x\r\n", "To 0|", 0 },

	/* Authentication-Results */
	{ "results of ours",
	  "Authentication-Results: mail.example.org; auth=pass\r\nTo: x\r\n\r\n",
	  "To: x\r\n\r\n", "To 0|", 0 },
	{ "ours in any case, folded, with version",
	  "authentication-results:\r\n MAIL.Example.org 1; none\r\nTo: x\r\n\r\n",
	  "To: x\r\n\r\n", "To 0|", 0 },
	{ "ours behind comments",
	  "Authentication-Results: (a(b)\\)) mail.example.org(c); none\r\n\r\n",
	  "\r\n", "", 0 },
	{ "ours in quotes",
	  "Authentication-Results: \"mail.example.org\"; none\r\n\r\n", "\r\n", "",
	  0 },
	{ "ours with a final dot",
	  "Authentication-Results: mail.example.org.; none\r\n\r\n", "\r\n", "", 0 },
	{ "ours in quotes, with backslashes",
	  "Authentication-Results: \"mail\\.example\\.or\\g\"; none\r\n\r\n", "\r\n",
	  "", 0 },
	{ "another in quotes, with a backslash first",
	  "Authentication-Results: \"\\xmail.example.org\"; none\r\n\r\n", NULL,
	  "Authentication-Results 1|", 0 },
	{ "quote not closed",
	  "Authentication-Results: \"mail.example.org\r\n\r\n", "\r\n", "", 0 },
	{ "a backslash without quotes",
	  "Authentication-Results: mail\\.example.org; none\r\n\r\n", NULL,
	  "Authentication-Results 1|", 0 },
	{ "ours with an old version",
	  "Authentication-Results: mail.example.org/1; none\r\n\r\n", "\r\n", "",
	  0 },
	{ "ours on lines of its own, behind a comment",
	  "Authentication-Results:\r\n (a\r\n b)\r\n mail.example.org\r\n ; none\r\n"
	  "\r\n", "\r\n", "", 0 },
	{ "ours alone", "Authentication-Results: mail.example.org\r\n\r\n", "\r\n",
	  "", 0 },
	{ "blank before the colon",
	  "Authentication-Results : mail.example.org; none\r\n\r\n", "\r\n", "", 0 },
	{ "of another", "Authentication-Results: mx.example.net; spf=pass\r\n\r\n",
	  NULL, "Authentication-Results 1|", 0 },
	{ "ours is only its beginning",
	  "Authentication-Results: mail.example.org.evil.example; none\r\n\r\n",
	  NULL, "Authentication-Results 1|", 0 },
	{ "ours is only its end",
	  "Authentication-Results: x-mail.example.org; none\r\n\r\n", NULL,
	  "Authentication-Results 1|", 0 },
	{ "ours later on",
	  "Authentication-Results: x.example; auth=pass (mail.example.org)\r\n\r\n",
	  NULL, "Authentication-Results 1|", 0 },
	{ "comment not closed",
	  "Authentication-Results: (mail.example.org; none\r\n\r\n", NULL,
	  "Authentication-Results 1|", 0 },
	{ "nothing", "Authentication-Results:\r\n\r\n", NULL,
	  "Authentication-Results 1|", 0 },

	/* where the header ends */
	{ "no body", "From: x\r\n\r\n", NULL, "From 4|", 0 },
	{ "no body, no empty line", "From: x\r\n", NULL, "From 4|", 0 },
	{ "last line not ended", "From: x", "From: x\r\n", "From 4|", 0 },
	{ "last fold not ended", "From: x\r\n y", "From: x\r\n y\r\n", "From 4|",
	  0 },
	{ "empty message", "", NULL, "", 0 },
	{ "empty line first", "\r\nFrom: x\r\n", NULL, "", 0 },
	{ "no header", "Hello\r\nFrom: x\r\n", "\r\nHello\r\nFrom: x\r\n", "",
	  HEADLESS },
	{ "no header, not ended", "Hello", "\r\nHello", "", HEADLESS },
	{ "fold first", " x\r\nFrom: x\r\n", "\r\n x\r\nFrom: x\r\n", "", HEADLESS },
	{ "colon first", ": x\r\n", "\r\n: x\r\n", "", HEADLESS },
	{ "blank in the name", "Dear Ann: x\r\n", "\r\nDear Ann: x\r\n", "",
	  HEADLESS },
	{ "8-bit in the name", "\xc3\xa4: x\r\n", "\r\n\xc3\xa4: x\r\n", "",
	  HEADLESS },
	{ "DEL in the name", "A\x7f: x\r\n", "\r\nA\x7f: x\r\n", "", HEADLESS },

	/* the mark of a mailbox file */
	{ "mbox line", "From ann Mon Nov  3 09:05:01 2025\r\nTo: x\r\n\r\n",
	  "To: x\r\n\r\n", "To 0|", 0 },
	{ "mbox line, quoted",
	  ">>From a@b Mon Nov  3 09:05:01 2025\r\nTo: x\r\n\r\n", "To: x\r\n\r\n",
	  "To 0|", 0 },
	{ "mbox line before a Bcc only", "From a 9:05\r\nBcc: x\r\n\r\ny", "\r\ny",
	  "", 0 },
	{ "mbox line before a field without end", "From a 9:05\r\nTo: x",
	  "To: x\r\n", "To 0|", 0 },
	{ "without a time it is text", "From ann\r\nTo: x\r\n\r\n",
	  "\r\nFrom ann\r\nTo: x\r\n\r\n", "", HEADLESS },
	{ "mbox line before text", "From 9:05 on\r\nwe meet\r\nTo: x\r\n",
	  "\r\nFrom 9:05 on\r\nwe meet\r\nTo: x\r\n", "", HEADLESS },
	{ "mbox line and an empty one", "From 9:05 on\r\n\r\nTo: x\r\n",
	  "\r\nFrom 9:05 on\r\n\r\nTo: x\r\n", "", HEADLESS },
	{ "mbox line and a fold", "From a 9:05\r\n x\r\nTo: y\r\n",
	  "\r\nFrom a 9:05\r\n x\r\nTo: y\r\n", "", HEADLESS },
	{ "two mbox lines", "From a 9:05\r\nFrom a 9:05\r\nTo: x\r\n",
	  "\r\nFrom a 9:05\r\nFrom a 9:05\r\nTo: x\r\n", "", HEADLESS },
	{ "nothing else", "From a 9:05\r\n", "\r\nFrom a 9:05\r\n", "", HEADLESS },
	{ "nothing else, not ended", "From a 9:05", "\r\nFrom a 9:05", "",
	  HEADLESS },
	{ "mbox line behind a field", "To: x\r\nFrom a 9:05\r\n",
	  "To: x\r\n\r\nFrom a 9:05\r\n", "To 0|", BROKEN },
	{ "From with a blank is a field", "From : a 9:05\r\n\r\n", NULL, "From 4|",
	  0 },
	{ "text behind fields", "To: x\r\nHello\r\nBcc: y\r\n",
	  "To: x\r\n\r\nHello\r\nBcc: y\r\n", "To 0|", BROKEN },
	{ "text behind Bcc", "Bcc: x\r\nHello\r\n", "\r\nHello\r\n", "", BROKEN },
	{ "text behind fields, not ended", "To: x\r\nHello", "To: x\r\n\r\nHello",
	  "To 0|", BROKEN },
	{ "lone CR is no empty line", "To: x\r\n\rBcc: y\r\n",
	  "To: x\r\n\r\n\rBcc: y\r\n", "To 0|", BROKEN },
};
/* clang-format on */

/* Runs all of in through the filter in pieces of step bytes. */
static void
run(struct header *h, struct told *t, const char *in, size_t len, size_t step,
    size_t limit, struct buf *out)
{
	size_t used = 0, n, got;
	char *piece;

	header_init(h, &ops, t, HOST, limit);
	while (used < len) {
		n = step < len - used ? step : len - used;
		piece = malloc(n);
		assert_non_null(piece);
		memcpy(piece, in + used, n);
		got = header_feed(h, piece, n, out);
		assert_true(got == n || h->done);
		buf_add(out, piece + got, n - got);
		free(piece);
		used += n;
	}
	header_finish(h, out);
	assert_true(h->done);
	header_clear(h);
}

static int
flags_of(const struct header *h)
{
	return (h->headless ? HEADLESS : 0) | (h->broken ? BROKEN : 0) |
	    (h->too_big ? TOO_BIG : 0);
}

static void
table(void **state)
{
	const char *want;
	struct header h;
	size_t i, step;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		want = rows[i].out != NULL ? rows[i].out : rows[i].in;
		for (step = 1; step <= strlen(rows[i].in) + 1; step++) {
			struct buf out = { 0 };
			struct told t = { .ends = 0 };

			run(&h, &t, rows[i].in, strlen(rows[i].in), step, 0,
			    &out);
			buf_add(&out, "", 1);
			if (strcmp((char *)buf_head(&out), want) != 0)
				fail_msg("%s, step %zu: %s", rows[i].name, step,
				    (char *)buf_head(&out));
			if (rows[i].fields != NULL &&
			    strcmp(t.fields, rows[i].fields) != 0)
				fail_msg("%s, step %zu: told %s", rows[i].name,
				    step, t.fields);
			if (flags_of(&h) != rows[i].flags || t.ends != 1)
				fail_msg("%s, step %zu: flags %d", rows[i].name,
				    step, flags_of(&h));
			buf_clear(&out);
		}
	}
}

/* clang-format off */
static const struct {
	const char *name;
	const char *in, *out;
} added[] = {
	{ "behind the last field", "To: x\r\n\r\nbody\r\n",
	  "To: x\r\nDate: now\r\n\r\nbody\r\n" },
	{ "header only", "To: x\r\n", "To: x\r\nDate: now\r\n" },
	{ "header only, not ended", "To: x", "To: x\r\nDate: now\r\n" },
	{ "empty message", "", "Date: now\r\n" },
	{ "no fields", "\r\nbody\r\n", "Date: now\r\n\r\nbody\r\n" },
	{ "no header", "Hello\r\nyou\r\n", "Date: now\r\n\r\nHello\r\nyou\r\n" },
	{ "no header, not ended", "Hello", "Date: now\r\n\r\nHello" },
	{ "text behind fields", "To: x\r\nHello\r\n",
	  "To: x\r\nDate: now\r\n\r\nHello\r\n" },
	{ "all fields left out", "Bcc: x\r\n\r\nbody",
	  "Date: now\r\n\r\nbody" },
};
/* clang-format on */

static void
added_fields_stand_in_the_header(void **state)
{
	struct header h;
	size_t i, step;

	(void)state;
	for (i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
		for (step = 1; step <= strlen(added[i].in) + 1; step++) {
			struct buf out = { 0 };
			struct told t = { .add = "Date: now\r\n" };

			run(&h, &t, added[i].in, strlen(added[i].in), step, 0,
			    &out);
			buf_add(&out, "", 1);
			if (strcmp((char *)buf_head(&out), added[i].out) != 0)
				fail_msg("%s, step %zu: %s", added[i].name,
				    step, (char *)buf_head(&out));
			buf_clear(&out);
		}
	}
}

static void
the_caller_leaves_out_what_it_wants(void **state)
{
	static const char in[] = "To: x\r\nSender: a\r\n b\r\nsender : c\r\n"
				 "Subject: y\r\n\r\nSender: d\r\n";
	struct told t = { .drop = HEADER_SENDER };
	struct buf out = { 0 };
	struct header h;

	(void)state;
	run(&h, &t, in, sizeof(in) - 1, 5, 0, &out);
	buf_add(&out, "", 1);
	assert_string_equal((char *)buf_head(&out),
	    "To: x\r\nSubject: y\r\n\r\nSender: d\r\n");
	assert_int_equal(h.count[HEADER_SENDER], 2);
	buf_clear(&out);
}

static void
counts(void **state)
{
	static const char in[] = "From: a\r\nFrom: b\r\nBcc: c\r\nDate: d\r\n"
				 "Received: e\r\nX: f\r\n\r\nFrom: g\r\n";
	struct told t = { .ends = 0 };
	struct buf out = { 0 };
	struct header h;

	(void)state;
	run(&h, &t, in, sizeof(in) - 1, 7, 0, &out);
	assert_int_equal(h.count[HEADER_FROM], 2);
	assert_int_equal(h.count[HEADER_BCC], 1);
	assert_int_equal(h.count[HEADER_DATE], 1);
	assert_int_equal(h.count[HEADER_RECEIVED], 1);
	assert_int_equal(h.count[HEADER_OTHER], 1);
	assert_int_equal(h.count[HEADER_MESSAGE_ID], 0);
	buf_clear(&out);
}

/* What is bigger than the limit goes through unchanged and is flagged. */
static void
limit(void **state)
{
	/* clang-format off */
	static const struct {
		const char *name;
		const char *begin;
		char fill;
		size_t n; /* of fill, which a line end and body follow */
		int flags;
		bool ends; /* fields may be added */
	} big[] = {
		{ "one field", "X: ", 'a', 5000, TOO_BIG, false },
		{ "a field to be left out", "Bcc: ", 'a', 5000, TOO_BIG, false },
		{ "behind other fields", "To: x\r\nX: ", 'a', 5000, TOO_BIG, false },
		{ "a fold", "X: \r\n ", 'a', 5000, TOO_BIG, false },
		{ "a name behind fields", "To: x\r\n", 'a', 5000, TOO_BIG, false },
		{ "a long text is no header", "Hello ", 'a', 5000, HEADLESS, true },
		{ "a text in one word", "", 'a', 5000, HEADLESS, true },
		{ "like a mailbox file", "From 9:05 ", 'a', 5000, HEADLESS, true },
		{ "behind such a line", "From 9:05\r\n", 'a', 5000, HEADLESS, true },
		{ "just below", "X: ", 'a', 1000 - 3 - 4, 0, true },
		{ "one byte above", "X: ", 'a', 1000 - 3 - 3, TOO_BIG, false },
	};
	/* clang-format on */
	char in[8192], want[8300];
	struct header h;
	size_t i, step, len;

	(void)state;
	for (i = 0; i < sizeof(big) / sizeof(big[0]); i++) {
		len = strlen(big[i].begin);
		memcpy(in, big[i].begin, len);
		memset(in + len, big[i].fill, big[i].n);
		strcpy(in + len + big[i].n, "\r\n\r\nBcc: y\r\n");
		len = strlen(in);
		snprintf(want, sizeof(want), "%s%s",
		    big[i].flags & HEADLESS ? "\r\n" : "", in);
		for (step = 1; step < 6000; step = step * 3 + 1) {
			struct buf out = { 0 };
			struct told t = { .ends = 0 };

			run(&h, &t, in, len, step, 1000, &out);
			buf_add(&out, "", 1);
			if (strcmp((char *)buf_head(&out), want) != 0)
				fail_msg("%s, step %zu: other bytes",
				    big[i].name, step);
			if (flags_of(&h) != big[i].flags ||
			    t.ends != big[i].ends)
				fail_msg("%s, step %zu: flags %d", big[i].name,
				    step, flags_of(&h));
			buf_clear(&out);
		}
	}
}

static void
a_megabyte_is_bounded(void **state)
{
	static char line[1024];
	struct told t = { .ends = 0 };
	struct buf out = { 0 };
	struct header h;
	size_t i, total = 0;

	(void)state;
	memset(line, 'a', sizeof(line));
	memcpy(line, "X: ", 3);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	header_init(&h, &ops, &t, HOST, 0);
	for (i = 0; i < 1024; i++) {
		total += header_feed(&h, line, sizeof(line), &out);
		assert_true(h.pend.size <= 2 * HEADER_LIMIT);
	}
	assert_true(h.too_big && h.done);
	assert_int_equal(total, HEADER_LIMIT);
	/* without line ends, too */
	header_clear(&h);
	buf_clear(&out);
	memset(line, 'a', sizeof(line));
	header_init(&h, &ops, &t, HOST, 0);
	header_feed(&h, "X: ", 3, &out);
	for (i = 0; i < 1024; i++) {
		header_feed(&h, line, sizeof(line), &out);
		assert_true(h.pend.size <= 2 * HEADER_LIMIT);
	}
	assert_true(h.too_big);
	header_clear(&h);
	buf_clear(&out);
}

static void
no_callbacks(void **state)
{
	static const struct header_ops none = { NULL, NULL };
	struct buf out = { 0 };
	struct header h;

	(void)state;
	header_init(&h, &none, NULL, HOST, 0);
	assert_int_equal(header_feed(&h, "A: b\r\n\r\nc", 9, &out), 8);
	assert_true(h.done);
	assert_int_equal(header_feed(&h, "c", 1, &out), 0);
	header_finish(&h, &out);
	assert_int_equal(out.len, 8);
	header_clear(&h);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(added_fields_stand_in_the_header),
		cmocka_unit_test(the_caller_leaves_out_what_it_wants),
		cmocka_unit_test(counts),
		cmocka_unit_test(limit),
		cmocka_unit_test(a_megabyte_is_bounded),
		cmocka_unit_test(no_callbacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
