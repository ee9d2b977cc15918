/* store/accessmap.c, store/accesscheck.c, store/accessval.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/accesscheck.h"
#include "store/accessmap.h"
#include "store/accessval.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* clang-format off */
static const struct {
	const char *key;
	enum accessmap_tag tag;
	const char *operand;
} tagged[] = {
	{ "TLS_Clt:a.b", ACCESSMAP_TLS_CLT, "a.b" },
	{ "tls_CLT:", ACCESSMAP_TLS_CLT, "" },
	{ "TLS_Srv:a", ACCESSMAP_TLS_SRV, "a" },
	{ "TLS_Rcpt:u@d", ACCESSMAP_TLS_RCPT, "u@d" },
	{ "TLS_User:ann", ACCESSMAP_TLS_USER, "ann" },
	{ "Try_TLS:a", ACCESSMAP_TRY_TLS, "a" },
	{ "Srv_Features:", ACCESSMAP_SRV_FEATURES, "" },
	{ "CERTISSUER:/O=x", ACCESSMAP_CERT_ISSUER, "/O=x" },
	{ "CertSubject:/O=x", ACCESSMAP_CERT_SUBJECT, "/O=x" },
	{ "Connect:IPv6:2001:db8", ACCESSMAP_CONNECT, "IPv6:2001:db8" },
	{ "From:u@", ACCESSMAP_FROM, "u@" },
	{ "To:d", ACCESSMAP_TO, "d" },
	{ "example.org", ACCESSMAP_UNTAGGED, "example.org" },
	{ "IPv6:2001:db8", ACCESSMAP_UNTAGGED, "IPv6:2001:db8" },
	{ "ipv6:2001", ACCESSMAP_UNTAGGED, "ipv6:2001" },
	{ "[IPv6:2001:db8]", ACCESSMAP_UNTAGGED, "[IPv6:2001:db8]" },
	{ "u@example.org", ACCESSMAP_UNTAGGED, "u@example.org" },
	{ "\"TLS_Clt:a\"", ACCESSMAP_UNTAGGED, "\"TLS_Clt:a\"" },
	{ "MyCA:/O=x", ACCESSMAP_WORD, "/O=x" },
	{ "TLS_Client:a", ACCESSMAP_WORD, "a" },
	{ "AuthInfo:mx", ACCESSMAP_FOREIGN, "mx" },
	{ "clientrate:", ACCESSMAP_FOREIGN, "" },
};

/* Whole maps: entries as "line key=value;", notes as "line level;". */
static const struct {
	const char *name;
	const char *text;
	const char *entries;
	const char *notes;
} maps[] = {
	{ "empty", "", "", "" },
	{ "one line", "a.b\tOK\n", "1 a.b=OK;", "" },
	{ "no newline at the end", "a.b\tOK", "1 a.b=OK;", "" },
	{ "blanks and tabs between", "a.b \t \tOK\n", "1 a.b=OK;", "" },
	{ "blanks and CR at the end", "a.b OK  \r\n", "1 a.b=OK;", "" },
	{ "the value is the rest", "a.b 550 go away\n", "1 a.b=550 go away;",
	  "" },
	{ "comment and empty lines", "# x OK\n\n#\na OK\n", "4 a=OK;", "" },
	{ "# further right is value", "a OK # x\n", "1 a=OK # x;", "1 warning;" },
	{ "case of the key is kept", "A.B OK\n", "1 A.B=OK;", "" },
	{ "leading white space", " a OK\nb OK\n", "2 b=OK;", "1 error;" },
	{ "continuation as in Postfix", "a 550\n\tgo away\n", "1 a=550;",
	  "1 warning;2 error;" },
	{ "white space alone", " \t\nb OK\n", "2 b=OK;", "" },
	{ "key without value", "a\nb \nc OK\n", "3 c=OK;", "1 error;2 error;" },
	{ "doubled key: the first stays", "a OK\nB RELAY\nA REJECT\n",
	  "1 a=OK;2 B=RELAY;", "3 warning;" },
	{ "doubled three times", "a OK\nA RELAY\na REJECT\n", "1 a=OK;",
	  "2 warning;3 warning;" },
	{ "blank in the key: the default is meant",
	  "TLS_Clt: a.b VERIFY\n", "1 TLS_Clt:=a.b VERIFY;", "1 error;" },
	{ "a byte order mark is told, and spoils nothing else",
	  "\xef\xbb\xbfTLS_Clt:\tVERIFY\nb OK\n",
	  "1 TLS_Clt:=VERIFY;2 b=OK;", "1 error;" },
	{ "foreign tags are dropped", "AuthInfo:mx \"U:x\" \"P:secret\"\na OK\n",
	  "2 a=OK;", "1 notice;" },
	{ "notes come in order of lines",
	  "TLS_Clt:\tENCR:1\nTLS_Clt:x.y\tVERIFY\nTLS_Clt:x\tFOO\n",
	  "1 TLS_Clt:=ENCR:1;2 TLS_Clt:x.y=VERIFY;3 TLS_Clt:x=FOO;",
	  "2 warning;3 error;" },
	{ "a name demands more than the default",
	  "TLS_Clt:x.y\tVERIFY\nTLS_Clt:192.0.2\tVERIFY\n"
	  "TLS_Clt:[192.0.2.1]\tVERIFY\nTLS_Clt:IPv6:2001\tVERIFY\n",
	  "1 TLS_Clt:x.y=VERIFY;2 TLS_Clt:192.0.2=VERIFY;"
	  "3 TLS_Clt:[192.0.2.1]=VERIFY;4 TLS_Clt:IPv6:2001=VERIFY;",
	  "1 warning;" },
	{ "a name demands less than the default",
	  "TLS_Clt:x.y\tOK\nTLS_Clt:z\tVERIFY:56\nTLS_Clt:\tVERIFY:128\n",
	  "1 TLS_Clt:x.y=OK;2 TLS_Clt:z=VERIFY:56;3 TLS_Clt:=VERIFY:128;", "" },
	{ "a name demands more bits", "TLS_Clt:z\tENCR:256\nTLS_Clt:\tENCR:128\n",
	  "1 TLS_Clt:z=ENCR:256;2 TLS_Clt:=ENCR:128;", "1 warning;" },
};

/* One entry: worst level told, or NULL. */
static const struct {
	const char *key, *value;
	const char *level;
} checked[] = {
	{ "TLS_Clt:a.b", "VERIFY", NULL },
	{ "TLS_Clt:a.b", "PERM+VERIFY:128+CN:x+20y++CI:/O=z++CITag:Ca", NULL },
	{ "TLS_Clt:", "ENCR:128", NULL },
	{ "TLS_Clt:a.b", "SKIP", NULL },
	{ "TLS_Clt:a.b", "VERIFY 128", "error" },
	{ "TLS_Clt:a.b", "REJECT", "error" },
	{ "TLS_Clt:a.b", "ENCR:128+CN", "warning" },
	{ "TLS_Clt:a.b", "VERIFY+CN:joe+arth", "warning" },
	{ "TLS_Clt:*.a.b", "VERIFY", "warning" },
	{ "TLS_Clt:.a.b", "VERIFY", "warning" },
	{ "TLS_Clt:a.b.", "VERIFY", "warning" },
	{ "TLS_Clt:10.1.2.0/24", "VERIFY", "warning" },
	{ "TLS_Clt:10.1.2.", "VERIFY", "warning" },
	{ "TLS_Clt:10.1.2", "VERIFY", NULL },
	{ "TLS_Clt:2001:db8:1:2", "VERIFY", "warning" },
	{ "TLS_Clt:IPv6:2001:db8::1", "VERIFY", "warning" },
	{ "TLS_Clt:IPv6:2001:0db8", "VERIFY", "warning" },
	{ "TLS_Clt:IPv6:2001:db8:0:0", "VERIFY", NULL },
	{ "TLS_Clt:[IPv6:2001:db8:0]", "VERIFY", NULL },
	{ "TLS_Srv:a.b", "TEMP+VERIFY", NULL },
	{ "TLS_Srv:a.b", "YES", "error" },
	{ "TLS_Rcpt:u+*@d", "VERIFY", NULL },
	{ "TLS_Rcpt:u@", "VERIFY", NULL },
	{ "TLS_Rcpt:u@*.d", "VERIFY", "warning" },
	{ "TLS_User:ann", "VERIFY", NULL },
	{ "TLS_User:ann", "RELAY", "error" },
	{ "TLS_User:", "VERIFY", "error" },
	{ "Try_TLS:a", "NO", NULL },
	{ "Try_TLS:a", "YES", NULL },
	{ "Try_TLS:a", "SKIP", NULL },
	{ "Try_TLS:a", "no (not yet)", NULL },
	{ "Try_TLS:a", "NEVER", "warning" },
	{ "Try_TLS:a", "NO now", "warning" },
	{ "Try_TLS:a", "\"NO\"", "error" },
	{ "Try_TLS:a", "NO (", "error" },
	{ "Srv_Features:", "a L P", NULL },
	{ "Srv_Features:", "l v S", "notice" },
	{ "Srv_Features:a", "SKIP", NULL },
	{ "Srv_Features:", "VERIFY", "error" },
	{ "CertIssuer:/O=x", "RELAY", NULL },
	{ "CertIssuer:/O=x", "subject", NULL },
	{ "CertIssuer:/O=x", "OK", "warning" },
	{ "CertIssuer:/O=x", "RELAY (ours)", "error" },
	{ "CertIssuer:/O=x", "\"RELAY\"", "error" },
	{ "CertIssuer:", "RELAY", "warning" },
	{ "CertIssuer:/O=a+b", "RELAY", "warning" },
	{ "CertIssuer:/O=a+2Bb", "RELAY", NULL },
	{ "CertSubject:/O=x", "RELAY", NULL },
	{ "CertSubject:/O=x", "SUBJECT", "error" },
	{ "Connect:a.b", "REJECT", NULL },
	{ "Connect:a.b", "SKIP", NULL },
	{ "Connect:a.b", "ERROR:5.7.1:550 go away", NULL },
	{ "Connect:a.b", "550 go away", NULL },
	{ "Connect:a.b", "ERROR:4.7.1:550 go away", "warning" },
	{ "Connect:a.b", "REJCT", "warning" },
	{ "Connect:a.b", "ERROR:", "error" },
	{ "Connect:a.b", "ERROR:250 welcome", "error" },
	{ "Connect:a.b", "550 (unbalanced", "error" },
	{ "Connect:a.b", "550 caf\xc3\xa9", "error" },
	{ "Connect:a.b", "OK (ours)", "error" },
	{ "From:u@d", "SKIP", "warning" },
	{ "a.b", "RELAY", NULL },
	{ "MyCA:/O=x", "OK", NULL },
	{ "MyCA:/O=x", "REJECT", "warning" },
	{ "TLS_Client:a.b", "VERIFY", "warning" },
	{ "Spam:a.b", "FRIEND", "notice" },
	{ "", "OK", "error" },
	{ "#a", "OK", "error" },
	{ "\xef\xbb\xbf" "a", "OK", "error" },
	{ "a b", "OK", "error" },
	{ "a\tb", "OK", "error" },
	{ "a\nb", "OK", "error" },
	{ "a", "", "error" },
	{ "TLS_User:andr\xc3\xa9", "VERIFY", NULL },
	{ "TLS_User:andr\xe9", "VERIFY", "error" },
	{ "MyCA:/O=x", "OK \xe9", "error" },
};

static const struct {
	const char *name;
	const char *value;
	int kind; /* -1: malformed */
	int code;
	const char *esc, *text;
} replies[] = {
	{ "OK", "ok", ACCESSVAL_OK, 0, "", "" },
	{ "RELAY", "Relay", ACCESSVAL_RELAY, 0, "", "" },
	{ "REJECT", "REJECT", ACCESSVAL_REJECT, 0, "", "" },
	{ "REJECT with comment", "REJECT (spam)", ACCESSVAL_REJECT, 0, "", "" },
	{ "DISCARD", "discard", ACCESSVAL_DISCARD, 0, "", "" },
	{ "SKIP", "SKIP", ACCESSVAL_SKIP, 0, "", "" },
	{ "QUARANTINE", "QUARANTINE:look at  it", ACCESSVAL_QUARANTINE, 0, "",
	  "look at it" },
	{ "QUARANTINE without text", "QUARANTINE:", -1, 0, "", "" },
	{ "QUARANTINE without colon", "QUARANTINE", ACCESSVAL_ERROR, 553,
	  "5.3.0", "QUARANTINE" },
	{ "ERROR, enhanced code, code", "ERROR:5.7.1:550 no", ACCESSVAL_ERROR,
	  550, "5.7.1", "no" },
	{ "ERROR in lower case", "error:5.7.1:550 no", ACCESSVAL_ERROR, 550,
	  "5.7.1", "no" },
	{ "ERROR, code", "ERROR:450 later", ACCESSVAL_ERROR, 450, "4.0.0",
	  "later" },
	{ "code alone", "551 hm", ACCESSVAL_ERROR, 551, "5.0.0", "hm" },
	{ "quoted", "\"551 hm,  hm\"", ACCESSVAL_ERROR, 551, "5.0.0", "hm,  hm" },
	{ "enhanced code in the text wins", "ERROR:5.7.1:\"550 5.1.2 x\"",
	  ACCESSVAL_ERROR, 550, "5.1.2", "x" },
	{ "the same without quotes", "ERROR:5.7.1:550 5.1.2 x",
	  ACCESSVAL_ERROR, 550, "5.1.2", "x" },
	{ "enhanced code without text is text", "550 5.7.1", ACCESSVAL_ERROR,
	  550, "5.0.0", "5.7.1" },
	{ "bad enhanced code", "ERROR:5.7.1234:550 x", ACCESSVAL_ERROR, 550,
	  "5.0.0", "x" },
	{ "three words for an enhanced code", "ERROR:D.S.N:550 x",
	  ACCESSVAL_ERROR, 550, "5.0.0", "x" },
	{ "enhanced code, no code", "ERROR:5.7.1:no", ACCESSVAL_ERROR, 553,
	  "5.3.0", "no" },
	{ "ERROR, no code", "ERROR:no way", ACCESSVAL_ERROR, 553, "5.3.0",
	  "no way" },
	{ "code without text", "550", ACCESSVAL_ERROR, 553, "5.3.0", "550" },
	{ "no code at all", "FOO", ACCESSVAL_ERROR, 553, "5.3.0", "FOO" },
	{ "keyword and more", "REJECT now", ACCESSVAL_ERROR, 553, "5.3.0",
	  "REJECT now" },
	{ "blanks stay between words only", "550 go  away, now (x) then",
	  ACCESSVAL_ERROR, 550, "5.0.0", "go away,now then" },
	{ "no blank beside quotes", "550 a \"b c\" d", ACCESSVAL_ERROR, 550,
	  "5.0.0", "ab cd" },
	{ "quote right behind the code", "ERROR:550 \"x\"", ACCESSVAL_ERROR,
	  553, "5.3.0", "550x" },
	{ "backslashes go", "550 a\\b \"c\\\"d\"", ACCESSVAL_ERROR, 550,
	  "5.0.0", "abc\"d" },
	{ "address", "550 see u @ d [x]", ACCESSVAL_ERROR, 550, "5.0.0",
	  "see u@d[x]" },
	{ "ERROR without text", "ERROR:", -1, 0, "", "" },
	{ "success code", "ERROR:250 fine", -1, 0, "", "" },
	{ "code out of range", "650 x", -1, 0, "", "" },
	{ "unbalanced quote", "550 \"x", -1, 0, "", "" },
	{ "unbalanced comment", "550 (x", -1, 0, "", "" },
	{ "comment not opened", "550 x)", -1, 0, "", "" },
	{ "unbalanced angle", "550 <x", -1, 0, "", "" },
	{ "angle not opened", "550 x>", -1, 0, "", "" },
	{ "backslash at the end", "550 x\\", -1, 0, "", "" },
	{ "a comment alone", "(x)", -1, 0, "", "" },
	{ "empty", "", -1, 0, "", "" },
	{ "odd RELAY", "RELAY (us)", -1, 0, "", "" },
	{ "odd DISCARD", "(x) DISCARD", -1, 0, "", "" },
	{ "control character", "550 x\ny", -1, 0, "", "" },
	{ "8 bit", "550 \xff", -1, 0, "", "" },
};
/* clang-format on */

static const char *const levels[] = { "notice", "warning", "error" };

static void
tags_and_operands(void **state)
{
	const char *operand;

	(void)state;
	for (size_t i = 0; i < N(tagged); i++) {
		enum accessmap_tag tag = accessmap_tag(tagged[i].key, &operand);

		if (tag != tagged[i].tag ||
		    strcmp(operand, tagged[i].operand) != 0)
			fail_msg(
			    "%s: %d '%s'", tagged[i].key, (int)tag, operand);
	}
}

static void
tag_names_lead_back(void **state)
{
	const char *operand;
	char key[64];

	(void)state;
	for (int i = 0; i < ACCESSMAP_UNTAGGED; i++) {
		enum accessmap_tag tag = (enum accessmap_tag)i;

		snprintf(key, sizeof(key), "%s:x", accessmap_tag_name(tag));
		assert_int_equal(accessmap_tag(key, &operand), tag);
	}
	assert_string_equal(accessmap_tag_name(ACCESSMAP_UNTAGGED), "");
	assert_string_equal(accessmap_tag_name(ACCESSMAP_FOREIGN), "");
}

static void
maps_are_read(void **state)
{
	char got[2048];

	(void)state;
	for (size_t i = 0; i < N(maps); i++) {
		struct accessmap *m =
		    accessmap_parse(maps[i].text, strlen(maps[i].text));
		size_t n = 0;

		got[0] = '\0';
		for (size_t j = 0; j < m->nentries; j++)
			n += (size_t)snprintf(got + n, sizeof(got) - n,
			    "%d %s=%s;", m->entry[j].line, m->entry[j].key,
			    m->entry[j].value);
		if (strcmp(got, maps[i].entries) != 0)
			fail_msg("%s: entries %s", maps[i].name, got);
		got[0] = '\0';
		n = 0;
		for (size_t j = 0; j < m->nnotes; j++)
			n +=
			    (size_t)snprintf(got + n, sizeof(got) - n, "%d %s;",
				m->note[j].line, levels[m->note[j].level]);
		if (strcmp(got, maps[i].notes) != 0)
			fail_msg("%s: notes %s", maps[i].name, got);
		accessmap_free(&m);
		assert_null(m);
	}
}

static void
secrets_are_not_told(void **state)
{
	static const char text[] = "AuthInfo:mx \"P:secret\"\n";
	struct accessmap *m = accessmap_parse(text, strlen(text));

	(void)state;
	assert_int_equal(m->nnotes, 1);
	assert_null(strstr(m->note[0].text, "secret"));
	assert_non_null(strstr(m->note[0].text, "AuthInfo"));
	accessmap_free(&m);
}

/* As makemap: the line is dropped, its tail is a line of its own. */
static void
long_lines_are_cut(void **state)
{
	char text[4096];
	struct accessmap *m;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text + 1023, "tail OK\nb OK\n", 13);
	m = accessmap_parse(text, 1023 + 13);
	assert_int_equal(m->nerrors, 1);
	assert_int_equal(m->nentries, 2);
	assert_string_equal(m->entry[0].key, "tail");
	assert_int_equal(m->entry[1].line, 2);
	accessmap_free(&m);

	memset(text, 'x', sizeof(text));
	memcpy(text + 1022 - 3, " OK\n", 4);
	m = accessmap_parse(text, 1023);
	assert_int_equal(m->nerrors, 0);
	assert_int_equal(m->nentries, 1);
	accessmap_free(&m);
}

static void
nul_octets_are_refused(void **state)
{
	struct accessmap *m = accessmap_parse("a\0b OK\nc OK\n", 12);

	(void)state;
	assert_int_equal(m->nerrors, 1);
	assert_int_equal(m->nentries, 1);
	assert_string_equal(m->entry[0].key, "c");
	accessmap_free(&m);
}

static void
worst(void *arg, enum accessmap_level level, const char *text)
{
	const char **told = arg;

	assert_true(text[0] != '\0');
	if (*told == NULL || level >= ACCESSMAP_ERROR ||
	    (level == ACCESSMAP_WARNING && strcmp(*told, "error") != 0))
		*told = levels[level];
}

static void
entries_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(checked); i++) {
		const char *told = NULL;
		int rc = accesscheck_entry(
		    checked[i].key, checked[i].value, worst, &told);
		const char *want = checked[i].level;

		if ((told == NULL) != (want == NULL) ||
		    (told != NULL && strcmp(told, want) != 0))
			fail_msg("%s %s: %s", checked[i].key, checked[i].value,
			    told != NULL ? told : "nothing");
		if ((rc == -1) != (want != NULL && strcmp(want, "error") == 0))
			fail_msg(
			    "%s %s: %d", checked[i].key, checked[i].value, rc);
	}
}

static void
replies_are_taken_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(replies); i++) {
		struct accessval_reply r;
		const char *why = NULL;
		int rc = accessval_reply(replies[i].value, &r, &why);

		if ((rc == -1) != (replies[i].kind == -1))
			fail_msg("%s: %s", replies[i].name,
			    why != NULL ? why : "accepted");
		if (rc == -1) {
			assert_non_null(why);
			continue;
		}
		if ((int)r.kind != replies[i].kind ||
		    r.code != replies[i].code ||
		    strcmp(r.esc, replies[i].esc) != 0 ||
		    strcmp(r.text, replies[i].text) != 0)
			fail_msg("%s: kind %d, %d %s '%s'", replies[i].name,
			    (int)r.kind, r.code, r.esc, r.text);
	}
}

static void
requirement_parts(void **state)
{
	struct accessval_tls t;

	(void)state;
	assert_int_equal(accessval_tls("temp+verify:112+CN++cn:A+20b++"
				       "CITag:Ca++CS:/x++CI:/y",
			     &t, NULL),
	    0);
	assert_true(t.required && t.verify && t.has_bits);
	assert_int_equal(t.prefix, ACCESSVAL_TEMP);
	assert_int_equal(t.bits, 112);
	assert_int_equal(t.nitems, 5);
	assert_int_equal(t.item[0].kind, ACCESSVAL_CN_HOST);
	assert_int_equal(t.item[1].kind, ACCESSVAL_CN);
	assert_int_equal(t.item[1].len, 5);
	assert_memory_equal(t.item[1].arg, "A+20b", 5);
	assert_int_equal(t.item[2].kind, ACCESSVAL_CITAG);
	assert_int_equal(t.item[3].kind, ACCESSVAL_CS);
	assert_int_equal(t.item[4].kind, ACCESSVAL_CI);
	assert_int_equal(accessval_tls("ENCR:0", &t, NULL), 0);
	assert_true(t.required && !t.verify && t.has_bits && t.bits == 0);
	assert_int_equal(accessval_tls("ok", &t, NULL), 0);
	assert_false(t.required);
}

/* What is written can be read again, and means the same. */
static void
export_then_import(void **state)
{
	char line[ACCESSMAP_LINE_MAX + 1], small[6];

	(void)state;
	for (size_t i = 0; i < N(maps); i++) {
		struct accessmap *a =
		    accessmap_parse(maps[i].text, strlen(maps[i].text));

		for (size_t j = 0; j < a->nentries; j++) {
			struct accessmap *b;

			assert_int_equal(
			    accessmap_format(a->entry[j].key, a->entry[j].value,
				line, sizeof(line)),
			    0);
			b = accessmap_parse(line, strlen(line));
			assert_int_equal(b->nentries, 1);
			assert_string_equal(b->entry[0].key, a->entry[j].key);
			assert_string_equal(
			    b->entry[0].value, a->entry[j].value);
			accessmap_free(&b);
		}
		accessmap_free(&a);
	}
	assert_int_equal(accessmap_format("a b", "OK", line, sizeof(line)), -1);
	assert_int_equal(accessmap_format("#a", "OK", line, sizeof(line)), -1);
	assert_int_equal(accessmap_format("", "OK", line, sizeof(line)), -1);
	assert_int_equal(accessmap_format("a", "", line, sizeof(line)), -1);
	assert_int_equal(accessmap_format("a", " OK", line, sizeof(line)), -1);
	assert_int_equal(accessmap_format("a", "OK\n", line, sizeof(line)), -1);
	assert_int_equal(accessmap_format("abc", "OK", small, 6), -1);
	assert_int_equal(accessmap_format("ab", "OK", small, 6), 0);
	assert_string_equal(small, "ab\tOK");
}

static void
keys_are_folded(void **state)
{
	char key[] = "TLS_Clt:[IPv6:DB8]\xc3\x89@Z";

	(void)state;
	accessmap_fold(key);
	assert_string_equal(key, "tls_clt:[ipv6:db8]\xc3\x89@z");
}

static void
many_entries(void **state)
{
	static char text[200000];
	struct accessmap *m;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 3000; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "h%d.example.org OK\n", i % 2000);
	m = accessmap_parse(text, n);
	assert_int_equal(m->nentries, 2000);
	assert_int_equal(m->nnotes, 1000);
	assert_int_equal(m->note[999].line, 3000);
	accessmap_free(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_and_operands),
		cmocka_unit_test(tag_names_lead_back),
		cmocka_unit_test(maps_are_read),
		cmocka_unit_test(secrets_are_not_told),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(nul_octets_are_refused),
		cmocka_unit_test(entries_are_checked),
		cmocka_unit_test(replies_are_taken_apart),
		cmocka_unit_test(requirement_parts),
		cmocka_unit_test(export_then_import),
		cmocka_unit_test(keys_are_folded),
		cmocka_unit_test(many_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
