/*
 * submitd/mime7bit.c: each row is a message, what is to be done with it for
 * each kind of server, and what it becomes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/mime7bit.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MIME     "MIME-Version: 1.0\r\n"
#define TEXT     MIME "Content-Type: text/plain; charset=utf-8\r\n"
#define EIGHT    "Content-Transfer-Encoding: 8bit\r\n"
#define QP       "Content-Transfer-Encoding: quoted-printable\r\n"
#define B64      "Content-Transfer-Encoding: base64\r\n"
#define SEVEN    "Content-Transfer-Encoding: 7bit\r\n"
#define MIXED    MIME "Content-Type: multipart/mixed; boundary=b\r\n"
#define UE       "\xc3\xbc"
#define TEN      "0123456789"
#define HUNDRED  TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND                                                               \
	HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED        \
	    HUNDRED HUNDRED
#define CYRILLIC                                                               \
	"\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82\xd0\xbf\xd1\x80\xd0" \
	"\xb8\xd0\xb2\xd0\xb5\xd1\x82\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5" \
	"\xd1\x82\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82\xd0\xbf\xd1" \
	"\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"

static const struct row {
	const char *name, *in;
	enum mime7_target target;
	bool binary;
	const char *out; /* NULL: as it is; "!...": cannot, and why */
} rows[] = {
	/* clang-format off */
	{ "ASCII stays", TEXT EIGHT "\r\nplain\r\n", MIME7_7BIT, false, NULL },
	{ "long lines of ASCII stay", TEXT "\r\n" THOUSAND "\r\n", MIME7_7BIT,
	    false, NULL },
	{ "8-bit text stays where it may", TEXT EIGHT "\r\n" UE "\r\n",
	    MIME7_8BIT, false, NULL },

	{ "a text", "Subject: x\r\n" TEXT EIGHT "X: y\r\n\r\nGr" UE "n = 1 \r\n"
	    "\t\r\n.\r\n",
	    MIME7_7BIT, false,
	    "Subject: x\r\n" TEXT "X: y\r\n" QP "\r\nGr=C3=BCn =3D 1=20\r\n"
	    "=09\r\n.\r\n" },
	{ "no label, but 8-bit", TEXT "\r\n" UE " aaaaaaaaaaaaaa\r\n",
	    MIME7_7BIT, false, TEXT QP "\r\n=C3=BC aaaaaaaaaaaaaa\r\n" },
	{ "no MIME at all, UTF-8", "A: b\r\n\r\n" UE " aaaaaaaaaaaaaa\r\n",
	    MIME7_7BIT, false,
	    "A: b\r\n" TEXT QP "\r\n=C3=BC aaaaaaaaaaaaaa\r\n" },
	{ "no MIME at all, not UTF-8", "A: b\r\n\r\n\xfc aaaaaaaaaaaaaa\r\n",
	    MIME7_7BIT, false,
	    "A: b\r\n" MIME "Content-Type: text/plain; charset=unknown-8bit\r\n"
	    QP "\r\n=FC aaaaaaaaaaaaaa\r\n" },
	{ "no MIME at all, a character cut",
	    "A: b\r\n\r\naaaaaaaaaaaaaaaaaaaa\xc3", MIME7_7BIT, false,
	    "A: b\r\n" MIME "Content-Type: text/plain; charset=unknown-8bit\r\n"
	    QP "\r\naaaaaaaaaaaaaaaaaaaa=C3=\r\n" },
	{ "a type without a version",
	    "Content-Type: text/html\r\n\r\n" UE " aaaaaaaaaaaaaa\r\n",
	    MIME7_7BIT, false,
	    "Content-Type: text/html\r\n" MIME QP "\r\n"
	    "=C3=BC aaaaaaaaaaaaaa\r\n" },
	{ "no line end at the end", TEXT EIGHT "\r\naaaaaaaaaaaaaaa" UE,
	    MIME7_7BIT, false, TEXT QP "\r\naaaaaaaaaaaaaaa=C3=BC=\r\n" },
	{ "a blank at the end, and no line end",
	    TEXT EIGHT "\r\naaaaaaaaaaaaaaa" UE " ", MIME7_7BIT, false,
	    TEXT QP "\r\naaaaaaaaaaaaaaa=C3=BC=20=\r\n" },
	{ "soft breaks, none inside of a unit",
	    TEXT "\r\n" TEN TEN TEN TEN TEN TEN TEN "0123" UE TEN TEN "\r\n",
	    MIME7_7BIT, false,
	    TEXT QP "\r\n" TEN TEN TEN TEN TEN TEN TEN "0123=\r\n"
	    "=C3=BC" TEN TEN "\r\n" },
	{ "75 characters fit behind each other",
	    TEXT "\r\n" TEN TEN TEN TEN TEN TEN TEN "01" UE "\r\n", MIME7_7BIT,
	    false,
	    TEXT QP "\r\n" TEN TEN TEN TEN TEN TEN TEN "01=C3=\r\n=BC\r\n" },
	{ "mostly 8-bit text becomes base64", TEXT EIGHT "\r\n" CYRILLIC "\r\n",
	    MIME7_7BIT, false,
	    TEXT B64 "\r\n"
	    "0L/RgNC40LLQtdGC0L/RgNC40LLQtdGC0L/RgNC40LLQtdGC0L/RgNC40LLQtdGC"
	    "0L/RgNC40LLQ\r\ntdGCDQo=\r\n" },
	{ "what is no text becomes base64",
	    MIME "Content-Type: image/png\r\n" EIGHT "\r\naaaaaaaaaaaaa\xff",
	    MIME7_7BIT, false,
	    MIME "Content-Type: image/png\r\n" B64 "\r\nYWFhYWFhYWFhYWFhYf8=\r\n"
	},
	{ "the longest line of text becomes short ones",
	    TEXT EIGHT "\r\n" UE "\r\n" THOUSAND "\r\n", MIME7_7BIT, false,
	    TEXT QP "\r\n=C3=BC\r\n"
#define LINE(a, z) a TEN TEN TEN TEN TEN TEN TEN z
	    LINE("", "01234=\r\n")
	    LINE("56789", "=\r\n") LINE("", "01234=\r\n") LINE("56789", "=\r\n")
	    LINE("", "01234=\r\n") LINE("56789", "=\r\n") LINE("", "01234=\r\n")
	    LINE("56789", "=\r\n") LINE("", "01234=\r\n") LINE("56789", "=\r\n")
	    LINE("", "01234=\r\n") LINE("56789", "=\r\n") LINE("", "01234=\r\n")
	    "56789" TEN TEN "\r\n" },

	/* structure */
	{ "one part of two",
	    MIXED EIGHT "\r\npre\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type:"
	    " text/html\r\n" EIGHT "\r\n" UE " aaaaaaaaaaaa\r\n--b--\r\npost\r\n",
	    MIME7_7BIT, false,
	    MIXED SEVEN "\r\npre\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type:"
	    " text/html\r\n" QP "\r\n=C3=BC aaaaaaaaaaaa\r\n--b--\r\npost\r\n" },
	{ "a part that is 8-bit by its label only",
	    MIXED "\r\n--b\r\n" EIGHT "\r\nplain\r\n--b\r\nContent-Type: a/b\r\n"
	    "\r\n" UE "\r\n--b--\r\n", MIME7_7BIT, false,
	    MIXED "\r\n--b\r\n" SEVEN "\r\nplain\r\n--b\r\nContent-Type: a/b\r\n"
	    B64 "\r\nw7w=\r\n--b--\r\n" },
	{ "a part that is encoded stays",
	    MIXED "\r\n--b\r\n" B64 "\r\nw7w=\r\n--b\r\nContent-Type: a/b\r\n"
	    "\r\n" UE "\r\n--b--\r\n", MIME7_7BIT, false,
	    MIXED "\r\n--b\r\n" B64 "\r\nw7w=\r\n--b\r\nContent-Type: a/b\r\n"
	    B64 "\r\nw7w=\r\n--b--\r\n" },
	{ "a soft break makes no delimiter",
	    MIXED "\r\n--b\r\n\r\n" UE TEN TEN TEN TEN TEN TEN "012345678--b\r\n"
	    "--b--", MIME7_7BIT, false,
	    MIXED "\r\n--b\r\n" QP "\r\n=C3=BC" TEN TEN TEN TEN TEN TEN
	    "012345678=\r\n=2D-b\r\n--b--" },
	{ "a blank before the delimiter",
	    MIXED "\r\n--b\r\n\r\n" UE " aaaaaaaaaaaa \r\n--b--", MIME7_7BIT,
	    false,
	    MIXED "\r\n--b\r\n" QP "\r\n=C3=BC aaaaaaaaaaaa=20\r\n--b--" },
	{ "a message in a message",
	    MIME "Content-Type: message/rfc822\r\n" EIGHT "\r\nA: b\r\n" TEXT
	    EIGHT "\r\n" UE " aaaaaaaaaaaaaa\r\n", MIME7_7BIT, false,
	    MIME "Content-Type: message/rfc822\r\n" SEVEN "\r\nA: b\r\n" TEXT QP
	    "\r\n=C3=BC aaaaaaaaaaaaaa\r\n" },
	{ "headers of a UTF-8 message in a report",
	    MIXED "\r\n--b\r\nContent-Type: message/global-headers\r\n" EIGHT
	    "\r\nSubject: " UE "\r\nTo: <bo@example.net>\r\n\r\n--b--\r\n",
	    MIME7_7BIT, false,
	    MIXED "\r\n--b\r\nContent-Type: message/global-headers\r\n" QP
	    "\r\nSubject: =C3=BC\r\nTo: <bo@example.net>\r\n\r\n--b--\r\n" },

	/* binary */
	{ "binary becomes base64 for 8-bit servers",
	    MIXED "Content-Transfer-Encoding: binary\r\n\r\n--b\r\n" EIGHT "\r\n"
	    UE "\r\n--b\r\nContent-Type: a/b\r\n"
	    "Content-Transfer-Encoding: binary\r\n\r\nx\ny\r\n--b--\r\n",
	    MIME7_8BIT, true,
	    MIXED EIGHT "\r\n--b\r\n" EIGHT "\r\n" UE "\r\n--b\r\n"
	    "Content-Type: a/b\r\n" B64 "\r\neAp5\r\n--b--\r\n" },
	{ "a long line of binary",
	    MIME "Content-Type: a/b\r\n\r\n" THOUSAND, MIME7_8BIT, true,
	    MIME "Content-Type: a/b\r\n" B64 "\r\n"
	    "MDEyMzQ1Njc4OTAx" /* and so on: compared as far as this */ },
	{ "text with bare line ends",
	    MIME "Content-Type: text/plain\r\n\r\nab\ncd\rabcdefghij\r",
	    MIME7_8BIT, true,
	    MIME "Content-Type: text/plain\r\n" QP "\r\n"
	    "ab=0Acd=0Dabcdefghij=0D=\r\n" },
	{ "binary by its label only",
	    MIME "Content-Transfer-Encoding: binary\r\n\r\nplain\r\n", MIME7_8BIT,
	    true, NULL },

	/* what cannot be */
	{ "8-bit in the header", "Subject: " UE "\r\n\r\nx\r\n", MIME7_7BIT,
	    false, "!a header field holds it" },
	{ "8-bit in the header where it may be", "Subject: " UE "\r\n\r\nx\r\n",
	    MIME7_8BIT, false, NULL },
	{ "8-bit in the header of a part",
	    MIXED "\r\n--b\r\nContent-Disposition: attachment; filename=" UE
	    "\r\n\r\nx\r\n--b--", MIME7_7BIT, false,
	    "!a header field holds it" },
	{ "8-bit in the header of a message inside",
	    MIME "Content-Type: message/rfc822\r\n\r\nSubject: " UE "\r\n\r\nx",
	    MIME7_7BIT, false, "!a header field holds it" },
	{ "a long header line, and 8-bit",
	    "X: " THOUSAND "\r\n" TEXT "\r\n" UE, MIME7_7BIT, false,
	    "!a header field holds it" },
	{ "a long header line alone", "X: " THOUSAND "\r\n\r\nx", MIME7_7BIT,
	    false, NULL },
	{ "8-bit before the parts",
	    MIXED "\r\n" UE "\r\n--b\r\n\r\nx\r\n--b--", MIME7_7BIT, false,
	    "!it is outside of the parts" },
	{ "signed",
	    MIME "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n"
	    UE "\r\n--b--", MIME7_7BIT, false, "!it is signed or encrypted" },
	{ "signed, but ASCII, beside 8-bit",
	    MIXED "\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n"
	    EIGHT "\r\n--c\r\n" EIGHT "\r\nx\r\n--c--\r\n--b\r\n"
	    "Content-Type: a/b\r\n\r\n" UE "\r\n--b--", MIME7_7BIT, false,
	    MIXED "\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n"
	    EIGHT "\r\n--c\r\n" EIGHT "\r\nx\r\n--c--\r\n--b\r\n"
	    "Content-Type: a/b\r\n" B64 "\r\nw7w=\r\n--b--" },
	{ "DKIM", "DKIM-Signature: v=1\r\n" TEXT "\r\n" UE, MIME7_7BIT, false,
	    "!it is signed or encrypted" },
	{ "DKIM of ASCII", "DKIM-Signature: v=1\r\n" TEXT EIGHT "\r\nx\r\n",
	    MIME7_7BIT, false, NULL },
	{ "said to be base64", TEXT B64 "\r\n" UE "\r\n", MIME7_7BIT, false,
	    "!it is in a part that says it is encoded" },
	{ "of another encoding",
	    TEXT "Content-Transfer-Encoding: x-y\r\n\r\n" UE "\r\n", MIME7_7BIT,
	    false, "!it is in a part that says it is encoded" },
	{ "of a type that may not be encoded",
	    MIME "Content-Type: message/partial\r\n\r\n" UE "\r\n", MIME7_7BIT,
	    false, "!it is in a part of a type that may not be encoded" },
	{ "a multipart without boundary",
	    MIME "Content-Type: multipart/mixed\r\n\r\n" UE "\r\n", MIME7_7BIT,
	    false, "!it is in a part of a type that may not be encoded" },
	{ "a structure that is not clear",
	    MIXED "\r\n--b\r\n\r\n" UE "\r\n--bc\r\n--b--", MIME7_7BIT, false,
	    "!its MIME structure is not clear" },
	{ "the same, of ASCII",
	    MIXED "\r\n--b\r\n\r\nx\r\n--bc\r\n--b--", MIME7_7BIT, false, NULL },
	/* clang-format on */
};

static void
convert(struct mime7 *m, const struct row *r, size_t piece, struct buf *out)
{
	size_t len = strlen(r->in), i, k;

	mime7_begin(m, r->target);
	for (i = 0; i < len; i += k) {
		k = len - i < piece ? len - i : piece;
		mime7_convert(m, r->in + i, k, out);
	}
	mime7_convert_end(m, out);
}

static void
check_text(const struct row *r, const struct buf *out)
{
	size_t n = strlen(r->out);
	/* the one row whose text is given in part */
	bool part = n > 0 && r->out[n - 1] != '\n' && r->out[n - 1] != '-';

	if (out->len < n || memcmp(buf_head(out), r->out, n) != 0 ||
	    (!part && out->len > n))
		fail_msg("%s: %.*s", r->name, (int)out->len,
		    (const char *)buf_head(out));
}

static void
check(const struct row *r, size_t piece)
{
	struct mime7 *m = mime7_new();
	struct buf out = { 0 };
	size_t len = strlen(r->in), i, k;
	const char *why = NULL;
	enum mime7_rc rc, want;

	for (i = 0; i < len; i += k) {
		k = len - i < piece ? len - i : piece;
		mime7_scan(m, r->in + i, k);
	}
	mime7_scan_end(m);
	rc = mime7_judge(m, r->target, r->binary, &why);
	want = r->out == NULL  ? MIME7_AS_IS
	    : r->out[0] == '!' ? MIME7_CANNOT
			       : MIME7_CONVERT;
	if (rc != want)
		fail_msg("%s: %d: %s", r->name, (int)rc, why);
	if (rc == MIME7_CANNOT && strcmp(why, r->out + 1) != 0)
		fail_msg("%s: %s", r->name, why);
	if (rc == MIME7_CONVERT) {
		convert(m, r, piece, &out);
		check_text(r, &out);
		buf_drop(&out, out.len);
		convert(m, r, 4096, &out); /* a second time */
		check_text(r, &out);
	}
	buf_clear(&out);
	mime7_free(&m);
	mime7_free(&m);
}

static void
conversions(void **state)
{
	static const size_t pieces[] = { 1, 2, 5, 1 << 20 };
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(rows); i++)
		for (k = 0; k < COUNT(pieces); k++)
			check(&rows[i], pieces[k]);
}

/* A NUL, which the rows can't hold. */
static void
nul(void **state)
{
	static const char in[] = MIME "Content-Type: a/b\r\n\r\nx\0y\r\n";
	struct row r = { "NUL", in, MIME7_8BIT, true, NULL };
	struct buf out = { 0 };
	struct mime7 *m = mime7_new();
	const char *why;

	(void)state;
	mime7_scan(m, in, sizeof(in) - 1);
	mime7_scan_end(m);
	assert_int_equal(mime7_judge(m, MIME7_8BIT, true, &why), MIME7_CONVERT);
	assert_int_equal(
	    mime7_judge(m, MIME7_8BIT, false, &why), MIME7_CONVERT);
	mime7_begin(m, r.target);
	mime7_convert(m, in, sizeof(in) - 1, &out);
	mime7_convert_end(m, &out);
	buf_add(&out, "", 1);
	assert_non_null(strstr((char *)buf_head(&out), B64 "\r\neAB5DQo=\r\n"));
	buf_clear(&out);
	mime7_free(&m);
}

static void
utf8_headers(void **state)
{
	static const struct {
		const char *in;
		bool has;
	} cases[] = {
		{ "A: b\r\n\r\n" UE, false },
		{ "A: " UE "\r\n\r\n", true },
		{ MIXED "\r\n--b\r\nX: " UE "\r\n\r\n--b--", true },
		{ MIXED "\r\n--b\r\nContent-Type: message/global\r\n\r\nX: " UE
			"\r\n\r\n--b--",
		    false },
	};
	struct mime7 *m;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		m = mime7_new();
		mime7_scan(m, cases[i].in, strlen(cases[i].in));
		mime7_scan_end(m);
		assert_int_equal(mime7_has_utf8_header(m), cases[i].has);
		mime7_free(&m);
	}
}

/* More parts than are remembered. */
static void
too_many_parts(void **state)
{
	static const char part[] = "--b\r\nContent-Type: a/b\r\n\r\n" UE "\r\n";
	struct mime7 *m = mime7_new();
	const char *why;
	size_t i;

	(void)state;
	mime7_scan(m, MIXED "\r\n", strlen(MIXED) + 2);
	for (i = 0; i < 10001; i++)
		mime7_scan(m, part, sizeof(part) - 1);
	mime7_scan_end(m);
	assert_int_equal(mime7_judge(m, MIME7_7BIT, false, &why), MIME7_CANNOT);
	assert_string_equal(why, "it has too many parts");
	mime7_free(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conversions),
		cmocka_unit_test(nul),
		cmocka_unit_test(utf8_headers),
		cmocka_unit_test(too_many_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
