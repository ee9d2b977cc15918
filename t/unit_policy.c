/* auth/policy.c and the files of its rules */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/policy.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* A map as text, "key=value;key=value;"; the value FAILS fails for now. */
struct fake {
	const char *map;
	const char *owned; /* "user address;" */
	char asked[4096];  /* keys, each with a blank behind it */
};

static enum policy_found
fake_lookup(void *arg, const char *key, char *value, size_t size)
{
	struct fake *f = arg;
	size_t len = strlen(key), n = strlen(f->asked);

	snprintf(f->asked + n, sizeof(f->asked) - n, "%s ", key);
	for (const char *p = f->map; p != NULL && *p != '\0';
	     p += strcspn(p, ";") + 1) {
		if (strncmp(p, key, len) != 0 || p[len] != '=')
			continue;
		p += len + 1;
		snprintf(value, size, "%.*s", (int)strcspn(p, ";"), p);
		return strcmp(value, "FAILS") == 0 ? POLICY_TEMPFAIL
						   : POLICY_FOUND;
	}
	return POLICY_ABSENT;
}

static int
fake_owns(void *arg, const char *user, const char *address)
{
	struct fake *f = arg;
	char pair[256];

	if (strcmp(address, "later@example.org") == 0)
		return -1;
	snprintf(pair, sizeof(pair), "%s %s;", user, address);
	return f->owned != NULL && strstr(f->owned, pair) != NULL;
}

static struct policy_verdict verdict;

static void
decide(enum policy_phase phase, const struct policy_facts *facts,
    const struct policy_options *options, struct fake *fake)
{
	struct policy_store store = { fake_lookup, fake_owns, fake };

	fake->asked[0] = '\0';
	memset(&verdict, 0x5a, sizeof(verdict));
	policy_decide(phase, facts, options, &store, &verdict);
}

/* Has the ladder this rule with this outcome? */
static bool
has_step(enum policy_rule rule, enum policy_met met)
{
	for (size_t i = 0; i < verdict.nsteps; i++) {
		if (verdict.steps[i].rule == rule &&
		    verdict.steps[i].met == met)
			return true;
	}
	return false;
}

static const char *const here[] = { "d", NULL };
static const char *const none_trusted[] = { NULL };

/* clang-format off */
static const struct {
	const char *name;
	enum policy_phase phase;
	struct policy_facts f;
	struct policy_options o;
	const char *map;
	const char *asked;
} orders[] = {
	{ .name = "TLS_Clt: name, address, tag alone", .phase = POLICY_TLS,
	  .f = { .client_name = "A.b.C", .client_addr = "192.0.2.1" },
	  .asked = "tls_clt:a.b.c tls_clt:b.c tls_clt:c tls_clt:192.0.2.1 "
	    "tls_clt:192.0.2 tls_clt:192.0 tls_clt:192 tls_clt: " },
	{ .name = "TLS_Clt: IPv6 group by group", .phase = POLICY_TLS,
	  .f = { .client_name = "c", .client_addr = "IPv6:2001:db8:0:0:0:0:0:1" },
	  .asked = "tls_clt:c tls_clt:ipv6:2001:db8:0:0:0:0:0:1 "
	    "tls_clt:ipv6:2001:db8:0:0:0:0:0 tls_clt:ipv6:2001:db8:0:0:0:0 "
	    "tls_clt:ipv6:2001:db8:0:0:0 tls_clt:ipv6:2001:db8:0:0 "
	    "tls_clt:ipv6:2001:db8:0 tls_clt:ipv6:2001:db8 "
	    "tls_clt:ipv6:2001 tls_clt:ipv6 tls_clt: " },
	{ .name = "TLS_Clt: bracketed name", .phase = POLICY_TLS,
	  .f = { .client_name = "[10.1.2.3]", .client_addr = "10.1.2.3" },
	  .asked = "tls_clt:[10.1.2.3] tls_clt:[10.1.2] tls_clt:[10.1] "
	    "tls_clt:[10] tls_clt:10.1.2.3 tls_clt:10.1.2 tls_clt:10.1 "
	    "tls_clt:10 tls_clt: " },
	{ .name = "TLS_Clt: bracketed IPv6 name", .phase = POLICY_TLS,
	  .map = "tls_clt:[ipv6]=OK;",
	  .f = { .client_name = "[IPv6:2001:db8]", .client_addr = "IPv6:1" },
	  .asked = "tls_clt:[ipv6:2001:db8] tls_clt:[ipv6:2001] tls_clt:[ipv6] " },
	{ .name = "TLS_Clt: a hit ends the walk", .phase = POLICY_TLS,
	  .f = { .client_name = "a.b.c", .client_addr = "192.0.2.1" },
	  .map = "tls_clt:b.c=OK;",
	  .asked = "tls_clt:a.b.c tls_clt:b.c " },
	{ .name = "TLS_Clt: SKIP is a value without the option",
	  .phase = POLICY_TLS, .map = "tls_clt:b.c=SKIP;",
	  .f = { .client_name = "a.b.c", .client_addr = "192.0.2.1" },
	  .asked = "tls_clt:a.b.c tls_clt:b.c " },
	{ .name = "TLS_Clt: SKIP ends the name walk only",
	  .phase = POLICY_TLS, .map = "tls_clt:b.c=skip;tls_clt:10.1=SKIP;",
	  .f = { .client_name = "a.b.c", .client_addr = "10.1.2.3" },
	  .o = { .skip = true },
	  .asked = "tls_clt:a.b.c tls_clt:b.c tls_clt:10.1.2.3 tls_clt:10.1.2 "
	    "tls_clt:10.1 tls_clt: " },
	{ .name = "TLS_Clt: with lookupdotdomain", .phase = POLICY_TLS,
	  .f = { .client_name = "a.b.c", .client_addr = "1" },
	  .o = { .lookupdotdomain = true },
	  .asked = "tls_clt:a.b.c tls_clt:.b.c tls_clt:b.c tls_clt:.c tls_clt:c "
	    "tls_clt:1 tls_clt: " },
	{ .name = "TLS_Clt: a failing look-up ends it", .phase = POLICY_TLS,
	  .map = "tls_clt:b.c=FAILS;",
	  .f = { .client_name = "a.b.c", .client_addr = "192.0.2.1" },
	  .asked = "tls_clt:a.b.c tls_clt:b.c " },
	{ .name = "Connect: each step tagged and untagged",
	  .phase = POLICY_CONNECT,
	  .f = { .client_name = "a.b", .client_addr = "10.1" },
	  .asked = "connect:a.b a.b connect:b b connect:10.1 10.1 connect:10 10 " },
	{ .name = "TLS_Srv", .phase = POLICY_TLS_SERVER,
	  .f = { .server_name = "mx.b", .server_addr = "10.1" },
	  .asked = "tls_srv:mx.b tls_srv:b tls_srv:10.1 tls_srv:10 tls_srv: " },
	{ .name = "TLS_Rcpt with detail", .phase = POLICY_TLS_RCPT,
	  .f = { .server_name = "mx", .rcpt = "U+det+x@d.e" },
	  .asked = "tls_rcpt:u+det+x@d.e tls_rcpt:u+*@d.e tls_rcpt:u@d.e "
	    "tls_rcpt:u+det+x@ tls_rcpt:u+*@ tls_rcpt:u@ "
	    "tls_rcpt:d.e tls_rcpt:e tls_rcpt: " },
	{ .name = "TLS_Rcpt without domain", .phase = POLICY_TLS_RCPT,
	  .f = { .server_name = "mx", .rcpt = "u" },
	  .asked = "tls_rcpt:u@ tls_rcpt: " },
	{ .name = "TLS_Rcpt: a quoted local part has no detail",
	  .phase = POLICY_TLS_RCPT,
	  .f = { .server_name = "mx", .rcpt = "\"u+det\"@d" },
	  .asked = "tls_rcpt:u+det@d tls_rcpt:u+det@ tls_rcpt:d tls_rcpt: " },
	{ .name = "Try_TLS", .phase = POLICY_TRY_TLS,
	  .f = { .server_name = "mx", .server_addr = "10" },
	  .asked = "try_tls:mx try_tls:10 try_tls: " },
	{ .name = "Srv_Features", .phase = POLICY_SRV_FEATURES,
	  .f = { .client_name = "c", .client_addr = "10" },
	  .asked = "srv_features:c srv_features:10 srv_features: " },
	{ .name = "From, untagged too, final dot dropped", .phase = POLICY_MAIL,
	  .f = { .client_name = "c", .client_addr = "1", .sender = "u@d." },
	  .o = { .anonymous_mail = true },
	  .asked = "tls_clt:c tls_clt:1 tls_clt: from:u@d u@d from:u@ u@ "
	    "from:d d " },
	{ .name = "From: a quoted local part has no detail",
	  .phase = POLICY_MAIL,
	  .f = { .client_name = "c", .client_addr = "1",
	    .sender = "\"u+det\"@d" },
	  .o = { .anonymous_mail = true },
	  .asked = "tls_clt:c tls_clt:1 tls_clt: from:u+det@d u+det@d "
	    "from:u+det@ u+det@ from:d d " },
	{ .name = "From: but in a local domain it has",
	  .phase = POLICY_MAIL,
	  .f = { .client_name = "c", .client_addr = "1",
	    .sender = "\"u+det\"@d" },
	  .o = { .anonymous_mail = true, .local_domains = here },
	  .map = "from:u@d=OK;",
	  .asked = "tls_clt:c tls_clt:1 tls_clt: from:u+det@d u+det@d "
	    "from:u+*@d u+*@d from:u@d " },
	{ .name = "From: nothing is asked for the null sender",
	  .phase = POLICY_MAIL,
	  .f = { .client_name = "c", .client_addr = "1", .sender = "" },
	  .o = { .anonymous_mail = true },
	  .asked = "tls_clt:c tls_clt:1 tls_clt: " },
	{ .name = "relaying: To, address, name", .phase = POLICY_RCPT,
	  .f = { .client_name = "n.c", .client_addr = "1.2", .rcpt = "u@d.e" },
	  .asked = "to:d.e d.e to:e e connect:1.2 1.2 connect:1 1 "
	    "connect:n.c n.c connect:c c " },
	{ .name = "relaying: certificate first, exactly two keys",
	  .phase = POLICY_RCPT, .map = "certissuer:/o=ca=SUBJECT;",
	  .f = { .client_name = "c", .client_addr = "1", .rcpt = "u@d",
	    .verify = "OK", .cert_issuer = "/O=CA", .cert_subject = "/CN=x" },
	  .asked = "certissuer:/o=ca certsubject:/cn=x to:d d connect:1 1 "
	    "connect:c c " },
	{ .name = "relaying: no certificate is asked about unless verified",
	  .phase = POLICY_RCPT,
	  .f = { .client_name = "c", .client_addr = "1", .rcpt = "u@d",
	    .verify = "FAIL", .cert_issuer = "/O=CA", .cert_subject = "/CN=x" },
	  .asked = "to:d d connect:1 1 connect:c c " },
	{ .name = "relaying: full address", .phase = POLICY_RCPT,
	  .f = { .client_name = "c", .client_addr = "1", .rcpt = "u+x@d" },
	  .o = { .relaytofulladdress = true },
	  .asked = "to:u+x@d u+x@d to:u+*@d u+*@d to:u@d u@d to:d d "
	    "to:u+x@ u+x@ connect:1 1 connect:c c " },
	{ .name = "relaying: hosts only", .phase = POLICY_RCPT,
	  .f = { .client_name = "n.c", .client_addr = "1", .rcpt = "u@d.e" },
	  .o = { .relay_hosts_only = true },
	  .asked = "to:d.e d.e connect:1 1 connect:n.c n.c " },
	{ .name = "relaying: From, tagged only", .phase = POLICY_RCPT,
	  .f = { .client_name = "c", .client_addr = "1", .rcpt = "u@d",
	    .sender = "s@f.g" },
	  .o = { .relay_mail_from = true, .relay_mail_from_domain = true },
	  .asked = "to:d d connect:1 1 from:s@f.g from:f.g from:g "
	    "connect:c c " },
	{ .name = "relaying: To sees the detail of a quoted local part",
	  .phase = POLICY_RCPT,
	  .f = { .client_name = "c", .client_addr = "1",
	    .rcpt = "\"u+x\"@d" },
	  .o = { .blocklist_recipients = true }, .map = "to:u@d=REJECT;",
	  .asked = "to:u+x@d u+x@d to:u+*@d u+*@d to:u@d " },
	{ .name = "delay_checks, friend: tagged only, @ for local users",
	  .phase = POLICY_RCPT,
	  .f = { .client_name = "c", .client_addr = "1", .rcpt = "u+x" },
	  .o = { .unqualified_relays = true, .local_domains = here,
	    .delay_checks = POLICY_DELAY_FRIEND },
	  .map = "spam:u@=FRIEND;",
	  .asked = "tls_clt:c tls_clt:1 tls_clt: spam:u+x@d spam:u+*@d "
	    "spam:u@d spam:d spam:u+x@ spam:u+*@ spam:u@ " },
	{ .name = "relaying: block list", .phase = POLICY_RCPT,
	  .f = { .client_name = "c", .client_addr = "1", .rcpt = "u@d" },
	  .o = { .blocklist_recipients = true },
	  .map = "to:d=REJECT;", .asked = "to:u@d u@d to:d " },
	{ .name = "a name that nobody confirmed is not looked up",
	  .phase = POLICY_RCPT,
	  .f = { .client_name = "c", .client_addr = "1", .rcpt = "u@d",
	    .resolve = POLICY_RESOLVE_FORGED },
	  .asked = "to:d d connect:1 1 " },
	{ .name = "TLS_User: the user alone", .phase = POLICY_MAIL,
	  .f = { .client_name = "c", .client_addr = "1", .user = "Ann",
	    .how = POLICY_BY_PASSWORD, .sender = "" },
	  .asked = "tls_clt:c tls_clt:1 tls_clt: tls_user:ann " },
	{ .name = "CITag: one key of its own", .phase = POLICY_TLS,
	  .f = { .client_name = "c", .client_addr = "1", .verify = "OK",
	    .cert_issuer = "/O=Ca" },
	  .map = "tls_clt:c=VERIFY+CITag:MyCA;myca:/o=ca=OK;",
	  .asked = "tls_clt:c myca:/o=ca " },
};
/* clang-format on */

static void
keys_are_asked_in_order(void **state)
{
	struct fake fake = { 0 };

	(void)state;
	for (size_t i = 0; i < N(orders); i++) {
		fake.map = orders[i].map;
		decide(orders[i].phase, &orders[i].f, &orders[i].o, &fake);
		if (strcmp(fake.asked, orders[i].asked) != 0)
			fail_msg("%s: asked %s", orders[i].name, fake.asked);
	}
}

/* clang-format off */
static const struct {
	const char *name;
	const char *value; /* NULL: no entry */
	const char *verify;
	int bits, ssf;
	const char *cn, *subject, *issuer;
	int code; /* 0: passes */
	const char *esc, *text;
} judged[] = {
	{ "no entry", NULL, "", POLICY_NO_TLS, 0, "", "", "", 0, "", "" },
	{ "OK exempts", "OK", "", POLICY_NO_TLS, 0, "", "", "", 0, "", "" },
	{ "VERIFY, verified", "VERIFY", "OK", 128, 0, "", "", "", 0, "", "" },
	{ "VERIFY, pinned", "VERIFY", "TRUSTED", 128, 0, "", "", "", 0, "", "" },
	{ "words in any case", "verify", "ok", 128, 0, "", "", "", 0, "", "" },
	{ "VERIFY without TLS", "VERIFY", "", POLICY_NO_TLS, 0, "", "", "",
	  454, "4.7.0", "authentication required" },
	{ "VERIFY, no certificate", "VERIFY", "NO", 128, 0, "", "", "",
	  454, "4.7.0", "not authenticated" },
	{ "VERIFY, not asked for one", "VERIFY", "NOT", 128, 0, "", "", "",
	  454, "4.7.0", "no authentication requested" },
	{ "VERIFY, failed", "VERIFY", "FAIL", 128, 0, "", "", "",
	  454, "4.7.0", "authentication failed" },
	{ "TEMP+", "TEMP+VERIFY", "FAIL", 128, 0, "", "", "",
	  403, "4.7.0", "authentication failed" },
	{ "PERM+", "PERM+VERIFY", "FAIL", 128, 0, "", "", "",
	  503, "5.7.0", "authentication failed" },
	{ "a word nobody knows", "VERIFY", "BOGUS", 128, 0, "", "", "",
	  454, "4.7.0", "authentication failure " },
	{ "bits enough", "ENCR:128", "NO", 128, 0, "", "", "", 0, "", "" },
	{ "bits one too few", "ENCR:129", "NO", 128, 0, "", "", "",
	  454, "4.7.0", "encryption too weak 128 less than 129" },
	{ "no TLS is no bits", "ENCR:1", "", POLICY_NO_TLS, 0, "", "", "",
	  454, "4.7.0", "encryption too weak 0 less than 1" },
	{ "zero bits want nothing", "ENCR:0", "", POLICY_NO_TLS, 0, "", "", "",
	  0, "", "" },
	{ "the larger of TLS and SASL", "ENCR:128", "", POLICY_NO_TLS, 128, "",
	  "", "", 0, "", "" },
	{ "VERIFY:bits, verified and weak", "VERIFY:128", "OK", 56, 0, "", "",
	  "", 454, "4.7.0", "encryption too weak 56 less than 128" },
	{ "VERIFY:bits, strong and unverified", "VERIFY:128", "FAIL", 256, 0,
	  "", "", "", 454, "4.7.0", "authentication failed" },
	{ "ENCR does not look at verify", "ENCR:128", "FAIL", 256, 0, "", "",
	  "", 0, "", "" },
	{ "CN of the host", "VERIFY+CN", "OK", 128, 0, "A.B", "", "", 0, "", "" },
	{ "CN of another host", "VERIFY+CN", "OK", 128, 0, "x", "", "",
	  454, "4.7.0", "CN x does not match a.b" },
	{ "CN given", "VERIFY+CN:x+20y", "OK", 128, 0, "X+20Y", "", "",
	  0, "", "" },
	{ "CN given, no match", "PERM+VERIFY+CN:x", "OK", 128, 0, "xy", "", "",
	  503, "5.7.0", "CN xy does not match x" },
	{ "no CN, as with a pin", "VERIFY+CN:x", "TRUSTED", 128, 0, "", "", "",
	  454, "4.7.0", "CN  does not match x" },
	{ "CS", "VERIFY+CS:/CN=x", "OK", 128, 0, "", "/cn=X", "", 0, "", "" },
	{ "CS, no match", "VERIFY+CS:/CN=x", "OK", 128, 0, "", "/CN=y", "",
	  454, "4.7.0", "Cert Subject /CN=y does not match /CN=x" },
	{ "CI, no match", "VERIFY+CI:/CN=x", "OK", 128, 0, "", "", "/CN=y",
	  454, "4.7.0", "Cert Issuer /CN=y does not match /CN=x" },
	{ "items from left to right", "VERIFY+CN:x++CS:/CN=s++CI:/CN=i", "OK",
	  128, 0, "x", "/CN=t", "/CN=j",
	  454, "4.7.0", "Cert Subject /CN=t does not match /CN=s" },
	{ "CITag without key", "VERIFY+CITag:None", "OK", 128, 0, "", "",
	  "/O=ca", 454, "4.7.0", "Cert Issuer /O=ca not acceptable" },
	{ "CITag, value OK", "VERIFY+CITag:good", "OK", 128, 0, "", "",
	  "/O=ca", 0, "", "" },
	{ "CITag, another value", "VERIFY+CITag:bad", "OK", 128, 0, "", "",
	  "/O=ca", 454, "4.7.0", "Cert Issuer /O=ca not acceptable" },
	{ "CITag, empty issuer", "VERIFY+CITag:empty", "TRUSTED", 128, 0, "",
	  "", "", 454, "4.7.0", "Cert Issuer  not acceptable" },
	{ "CITag, look-up fails", "VERIFY+CITag:fails", "OK", 128, 0, "", "",
	  "/O=ca", 451, "4.3.0",
	  "Temporary system failure. Please try again later." },
	{ "broken handshake, no entry", NULL, "SOFTWARE", POLICY_NO_TLS, 0, "",
	  "", "", 454, "4.7.0", "TLS handshake failed." },
	{ "broken handshake, exempted", "OK", "PROTOCOL", POLICY_NO_TLS, 0, "",
	  "", "", 454, "4.7.0", "STARTTLS failed." },
	{ "broken handshake, PERM", "PERM+ENCR:1", "CONFIG", POLICY_NO_TLS, 0,
	  "", "", "", 503, "5.7.0", "STARTTLS temporarily not possible." },
};

/* Each of them sendmail takes as no requirement, or not for what it seems. */
static const char *const malformed[] = {
	"", "VERIFY:", "ENCR", "ENCR:", "PERM", "PERM+", "PERM+OK", "TEMP+",
	"PERM+PERM+VERIFY", "PERM+TEMP+ENCR:1", "VERIFY 128", "VERIFY,ENCR:128",
	"VERIFY # x", "\"VERIFY\"", "VERIFY (x)", " VERIFY", "VERIFY ",
	"REJECT", "RELAY", "NO", "ERROR:550 no", "VERIFYX", "VERIFY:128x",
	"ENCR:0x80", "ENCR:0200", "ENCR:-1", "ENCR:+1", "ENCR:1234567890",
	"VERIFY+", "VERIFY:128+", "VERIFY+CN+", "VERIFY+CN++", "VERIFY++CN",
	"VERIFY+CN:", "VERIFY+CS:", "VERIFY+CI:", "VERIFY+CITag:",
	"VERIFY+CITag", "VERIFY+FOO", "VERIFY+CN:x+++CI:y", "VERIFY+CN:x++++CI:y",
	"VERIFY+CN:a b", "VERIFY+CN:a(b)", "VERIFY+CN:a\\b", "VERIFY+CN:\"a\"",
	"VERIFY+CITag:a.b", "VERIFY+CITag:a+b", "VERIFY+CN:\xc3\xa9",
	"ENCR:128:2", "VERIFY+CN++CN++CN++CN++CN++CN++CN++CN++CN++CN++CN++CN"
	"++CN++CN++CN++CN++CN",
};
/* clang-format on */

static void
judge(const char *value, const struct policy_facts *f)
{
	static const struct policy_options none = { 0 };
	struct fake fake = { 0 };
	char map[512];

	snprintf(map, sizeof(map),
	    "%s%s%sgood:/o=ca=ok;bad:/o=ca=REJECT;empty:=OK;"
	    "fails:/o=ca=FAILS;",
	    value != NULL ? "tls_clt:a.b=" : "", value != NULL ? value : "",
	    value != NULL ? ";" : "");
	fake.map = map;
	decide(POLICY_TLS, f, &none, &fake);
}

static void
requirements_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(judged); i++) {
		struct policy_facts f = { .client_name = "a.b",
			.client_addr = "192.0.2.1",
			.verify = judged[i].verify,
			.cipher_bits = judged[i].bits,
			.auth_ssf = judged[i].ssf,
			.cn_subject = judged[i].cn,
			.cert_subject = judged[i].subject,
			.cert_issuer = judged[i].issuer };

		judge(judged[i].value, &f);
		if (verdict.code != judged[i].code ||
		    strcmp(verdict.esc, judged[i].esc) != 0 ||
		    strcmp(verdict.text, judged[i].text) != 0 ||
		    (verdict.decision == POLICY_ALLOW) != (verdict.code == 0))
			fail_msg("%s: %d %s %s", judged[i].name, verdict.code,
			    verdict.esc, verdict.text);
	}
}

static void
malformed_requirements_fail_closed(void **state)
{
	struct policy_facts f = { .client_name = "a.b",
		.verify = "OK",
		.client_addr = "192.0.2.1",
		.cipher_bits = 256,
		.cn_subject = "x" };

	(void)state;
	for (size_t i = 0; i < N(malformed); i++) {
		judge(malformed[i], &f);
		if (verdict.decision != POLICY_REFUSE_TEMP ||
		    verdict.why != POLICY_WHY_MALFORMED ||
		    verdict.code != 451 || strcmp(verdict.esc, "4.3.5") != 0 ||
		    strcmp(verdict.key, "tls_clt:a.b") != 0)
			fail_msg("'%s': %s", malformed[i],
			    policy_why_name(verdict.why));
	}
}

#define CERT POLICY_BY_CERT
#define PASS POLICY_BY_PASSWORD

/* clang-format off */
static const struct {
	const char *name;
	enum policy_phase phase;
	struct policy_facts f;
	struct policy_options o;
	const char *map;
	enum policy_why why;
	const char *relay_as;
	const char *key;
	const char *text; /* NULL: any */
} ladders[] = {
	/* nobody */
	{ .name = "nobody, empty map: 530 at MAIL", .phase = POLICY_MAIL,
	  .why = POLICY_WHY_NOBODY },
	{ .name = "nobody from loopback has no right", .phase = POLICY_MAIL,
	  .f = { .client_addr = "127.0.0.1", .client_name = "localhost" },
	  .why = POLICY_WHY_NOBODY },
	{ .name = "nobody to an unqualified recipient", .phase = POLICY_RCPT,
	  .f = { .rcpt = "root" }, .why = POLICY_WHY_RELAY },
	{ .name = "nobody: an entry OK gives no right", .phase = POLICY_MAIL,
	  .map = "connect:192.0.2.1=OK;", .why = POLICY_WHY_NOBODY },
	{ .name = "nobody: a To entry may help later", .phase = POLICY_MAIL,
	  .f = { .map_relays = POLICY_RELAYS_BY_RCPT }, .why = POLICY_WHY_OK },
	{ .name = "nobody, name not found for now, no name entry",
	  .phase = POLICY_MAIL,
	  .f = { .resolve = POLICY_RESOLVE_TEMP }, .why = POLICY_WHY_NOBODY },
	{ .name = "nobody, name not found for now, an entry may match it",
	  .phase = POLICY_MAIL,
	  .f = { .resolve = POLICY_RESOLVE_TEMP,
	    .map_relays = POLICY_RELAYS_BY_NAME }, .why = POLICY_WHY_RESOLVE },
	{ .name = "nobody, forged name", .phase = POLICY_MAIL,
	  .f = { .resolve = POLICY_RESOLVE_FORGED,
	    .map_relays = POLICY_RELAYS_BY_NAME }, .why = POLICY_WHY_NOBODY },
	{ .name = "nobody, map fails: not for good", .phase = POLICY_MAIL,
	  .map = "connect:192.0.2.1=FAILS;", .why = POLICY_WHY_LOOKUP },
	{ .name = "nobody, certificate entry fails: not for good",
	  .phase = POLICY_MAIL, .f = { .verify = "OK", .cert_issuer = "/O=ca" },
	  .map = "certissuer:/o=ca=FAILS;", .why = POLICY_WHY_LOOKUP },
	{ .name = "the same at RCPT", .phase = POLICY_RCPT,
	  .f = { .verify = "OK", .cert_issuer = "/O=ca", .rcpt = "u@d" },
	  .map = "certissuer:/o=ca=FAILS;", .why = POLICY_WHY_LOOKUP },

	/* the map alone */
	{ .name = "address may relay", .phase = POLICY_MAIL,
	  .map = "connect:192.0.2=RELAY;", .why = POLICY_WHY_OK,
	  .relay_as = "map:connect:192.0.2", .key = "connect:192.0.2" },
	{ .name = "name may relay", .phase = POLICY_MAIL,
	  .map = "example.org=relay;", .why = POLICY_WHY_OK,
	  .relay_as = "map:example.org", .key = "example.org" },
	{ .name = "issuer may relay", .phase = POLICY_MAIL,
	  .f = { .verify = "OK", .cert_issuer = "/O=ca" },
	  .map = "certissuer:/o=ca=RELAY;", .why = POLICY_WHY_OK,
	  .relay_as = "map:certissuer:/o=ca" },
	{ .name = "issuer, then subject may relay", .phase = POLICY_RCPT,
	  .f = { .verify = "OK", .cert_issuer = "/O=ca", .cert_subject = "/CN=a",
	    .rcpt = "u@d" },
	  .map = "certissuer:/o=ca=SUBJECT;certsubject:/cn=a=RELAY;",
	  .why = POLICY_WHY_OK, .relay_as = "map:certsubject:/cn=a" },
	{ .name = "subject alone is not asked", .phase = POLICY_RCPT,
	  .f = { .verify = "OK", .cert_issuer = "/O=ca", .cert_subject = "/CN=a",
	    .rcpt = "u@d" },
	  .map = "certsubject:/cn=a=RELAY;", .why = POLICY_WHY_RELAY },
	{ .name = "a pin has no names to match", .phase = POLICY_RCPT,
	  .f = { .verify = "TRUSTED", .rcpt = "u@d" },
	  .map = "certissuer:=RELAY;", .why = POLICY_WHY_RELAY },
	{ .name = "a certificate that failed gives nothing",
	  .phase = POLICY_MAIL, .f = { .verify = "FAIL", .cert_issuer = "/O=ca" },
	  .map = "certissuer:/o=ca=RELAY;", .why = POLICY_WHY_NOBODY },
	{ .name = "recipient's domain may be relayed to", .phase = POLICY_RCPT,
	  .f = { .rcpt = "u@x.d" }, .map = "to:d=RELAY;", .why = POLICY_WHY_OK,
	  .relay_as = "map:to:d" },
	{ .name = "a route through that domain is followed",
	  .phase = POLICY_RCPT, .f = { .rcpt = "u%far.org@d" },
	  .map = "to:d=RELAY;", .why = POLICY_WHY_RELAY },
	{ .name = "but not with an empty local part", .phase = POLICY_RCPT,
	  .f = { .rcpt = "\"\"@d" }, .map = "to:d=RELAY;",
	  .why = POLICY_WHY_RELAY },
	{ .name = "a quoted route, too", .phase = POLICY_RCPT,
	  .f = { .rcpt = "\"u@far.org\"@d" }, .map = "to:d=RELAY;",
	  .why = POLICY_WHY_RELAY },
	{ .name = "a bang path, too", .phase = POLICY_RCPT,
	  .f = { .rcpt = "far.org!u@d" }, .map = "to:d=RELAY;",
	  .why = POLICY_WHY_RELAY },
	{ .name = "two source routes are dropped", .phase = POLICY_RCPT,
	  .f = { .rcpt = "@a:@b,@c:u@d" }, .map = "to:d=RELAY;",
	  .why = POLICY_WHY_OK, .relay_as = "map:to:d" },
	{ .name = "a source route is dropped", .phase = POLICY_RCPT,
	  .f = { .rcpt = "@d:u@far.org" }, .map = "to:d=RELAY;",
	  .why = POLICY_WHY_RELAY },
	{ .name = "the map relays any sender", .phase = POLICY_MAIL,
	  .f = { .sender = "x@far.org" }, .map = "connect:192.0.2.1=RELAY;",
	  .why = POLICY_WHY_OK, .relay_as = "map:connect:192.0.2.1" },
	{ .name = "unless a user must own it", .phase = POLICY_MAIL,
	  .f = { .sender = "x@far.org" }, .o = { .map_relay_user = "ann" },
	  .map = "connect:192.0.2.1=RELAY;", .why = POLICY_WHY_SENDER },
	{ .name = "who does", .phase = POLICY_MAIL,
	  .f = { .sender = "ann@example.org" },
	  .o = { .map_relay_user = "ann" }, .map = "connect:192.0.2.1=RELAY;",
	  .why = POLICY_WHY_OK, .relay_as = "map:connect:192.0.2.1" },
	{ .name = "asked at RCPT as well", .phase = POLICY_RCPT,
	  .f = { .sender = "x@far.org", .rcpt = "u@d" },
	  .o = { .map_relay_user = "ann" }, .map = "to:d=RELAY;",
	  .why = POLICY_WHY_SENDER },

	/* users */
	{ .name = "user, own sender", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS, .sender = "ann@example.org" },
	  .why = POLICY_WHY_OK, .relay_as = "ann" },
	{ .name = "user, null sender", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = CERT, .sender = "" },
	  .why = POLICY_WHY_OK, .relay_as = "ann" },
	{ .name = "user, foreign sender", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS, .sender = "bob@example.org" },
	  .why = POLICY_WHY_SENDER },
	{ .name = "user, ownership unknown for now", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS, .sender = "later@example.org" },
	  .why = POLICY_WHY_SENDER_LOOKUP },
	{ .name = "user relays anywhere", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "", .rcpt = "u@far.org" },
	  .why = POLICY_WHY_OK, .relay_as = "ann" },
	{ .name = "user, recipient without domain", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "", .rcpt = "root" },
	  .why = POLICY_WHY_RCPT_NO_DOMAIN },
	{ .name = "user, Postmaster", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "", .rcpt = "Postmaster" },
	  .why = POLICY_WHY_OK, .relay_as = "ann" },
	{ .name = "user, no recipient", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "", .rcpt = "" },
	  .why = POLICY_WHY_RELAY },
	{ .name = "suspended", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS,
	    .user_state = POLICY_USER_SUSPENDED }, .why = POLICY_WHY_SUSPENDED },
	{ .name = "suspended in mid-session", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .rcpt = "u@d",
	    .user_state = POLICY_USER_SUSPENDED }, .why = POLICY_WHY_SUSPENDED },
	{ .name = "suspended, and the map does not help", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = CERT, .verify = "OK",
	    .cert_issuer = "/O=ca", .user_state = POLICY_USER_SUSPENDED },
	  .map = "certissuer:/o=ca=RELAY;connect:192.0.2.1=RELAY;",
	  .why = POLICY_WHY_SUSPENDED },
	{ .name = "disabled", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS,
	    .user_state = POLICY_USER_DISABLED }, .why = POLICY_WHY_DISABLED },
	{ .name = "a name without proof is nobody", .phase = POLICY_MAIL,
	  .f = { .user = "ann" }, .why = POLICY_WHY_NOBODY },
	{ .name = "certificate wanted, password shown", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS, .user_auth = POLICY_AUTH_CERT },
	  .why = POLICY_WHY_NEED_CERT },
	{ .name = "certificate wanted, both shown", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS | CERT,
	    .user_auth = POLICY_AUTH_CERT }, .why = POLICY_WHY_OK,
	  .relay_as = "ann" },
	{ .name = "password wanted, certificate shown", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = CERT,
	    .user_auth = POLICY_AUTH_PASSWORD },
	  .why = POLICY_WHY_NEED_PASSWORD },
	{ .name = "both wanted, one shown", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = CERT, .user_auth = POLICY_AUTH_BOTH },
	  .why = POLICY_WHY_NEED_BOTH },
	{ .name = "both wanted, both shown", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS | CERT,
	    .user_auth = POLICY_AUTH_BOTH }, .why = POLICY_WHY_OK,
	  .relay_as = "ann" },

	/* requirements */
	{ .name = "TLS_Clt is asked before identity", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .user_state = POLICY_USER_SUSPENDED },
	  .map = "tls_clt:=VERIFY;", .why = POLICY_WHY_TLS, .key = "tls_clt:" },
	{ .name = "TLS_User", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS, .cipher_bits = 128 },
	  .map = "tls_user:ann=ENCR:256;", .why = POLICY_WHY_TLS,
	  .key = "tls_user:ann" },
	{ .name = "TLS_User, met", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS, .cipher_bits = 256 },
	  .map = "tls_user:ann=ENCR:256;", .why = POLICY_WHY_OK,
	  .relay_as = "ann" },
	{ .name = "TLS_User of somebody else", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS },
	  .map = "tls_user:bob=PERM+VERIFY;tls_user:=VERIFY;",
	  .why = POLICY_WHY_OK, .relay_as = "ann" },
	{ .name = "TLS_User, look-up fails", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS }, .map = "tls_user:ann=FAILS;",
	  .why = POLICY_WHY_LOOKUP },
	{ .name = "TLS_Clt, look-up fails, verified peer", .phase = POLICY_TLS,
	  .f = { .verify = "OK" }, .map = "tls_clt:example.org=FAILS;",
	  .why = POLICY_WHY_LOOKUP, .key = "" },
	{ .name = "the same as sendmail has it", .phase = POLICY_TLS,
	  .f = { .verify = "OK" }, .o = { .verified_passes = true },
	  .map = "tls_clt:example.org=FAILS;", .why = POLICY_WHY_OK },
	{ .name = "but not the peer nobody verified", .phase = POLICY_TLS,
	  .f = { .verify = "FAIL" }, .o = { .verified_passes = true },
	  .map = "tls_clt:example.org=FAILS;", .why = POLICY_WHY_LOOKUP },
	{ .name = "no host name and no CN are not equal",
	  .phase = POLICY_TLS_RCPT, .f = { .verify = "TRUSTED", .rcpt = "u@d" },
	  .map = "tls_rcpt:=VERIFY+CN;", .why = POLICY_WHY_TLS },
	{ .name = "empty client name", .phase = POLICY_TLS,
	  .f = { .client_name = "" }, .why = POLICY_WHY_LOOKUP },

	/* delay_checks */
#define DELAYED(how) .phase = POLICY_RCPT, \
	  .f = { .sender = "x@bad.org", .rcpt = "u@d" }, \
	  .o = { .anonymous_mail = true, .delay_checks = how }
	{ .name = "delayed: the sender is asked at RCPT",
	  .map = "to:d=RELAY;from:bad.org=REJECT;",
	  DELAYED(POLICY_DELAY), .why = POLICY_WHY_MAP },
	{ .name = "delayed: a friend takes mail of anybody",
	  .map = "to:d=RELAY;from:bad.org=REJECT;spam:u@d=friend;",
	  DELAYED(POLICY_DELAY_FRIEND), .why = POLICY_WHY_OK,
	  .relay_as = "map:to:d" },
	{ .name = "delayed: who is no friend does not",
	  .map = "to:d=RELAY;from:bad.org=REJECT;spam:u@d=HATER;",
	  DELAYED(POLICY_DELAY_FRIEND),
	  .why = POLICY_WHY_MAP },
	{ .name = "delayed: TLS_Clt counts for friends, too",
	  .map = "to:d=RELAY;tls_clt:=VERIFY;spam:u@d=FRIEND;",
	  DELAYED(POLICY_DELAY_FRIEND),
	  .why = POLICY_WHY_TLS },
	{ .name = "delayed: a hater is protected",
	  .map = "to:d=RELAY;from:bad.org=REJECT;spam:d=HATER;",
	  DELAYED(POLICY_DELAY_HATER), .why = POLICY_WHY_MAP },
	{ .name = "delayed: nobody else is",
	  .map = "to:d=RELAY;from:bad.org=REJECT;spam:e=HATER;",
	  DELAYED(POLICY_DELAY_HATER), .why = POLICY_WHY_OK,
	  .relay_as = "map:to:d" },
	{ .name = "delayed: the Spam entry is not known for now",
	  .map = "to:d=RELAY;from:bad.org=REJECT;spam:d=FAILS;",
	  DELAYED(POLICY_DELAY_HATER),
	  .why = POLICY_WHY_LOOKUP },
	{ .name = "no mechanism is trusted, least of all none",
	  .phase = POLICY_RCPT, .f = { .rcpt = "u@d", .auth_mech = "" },
	  .o = { .trusted_mechs = none_trusted }, .why = POLICY_WHY_RELAY,
	  .text = "Relaying denied. Proper authentication required." },

	/* replies of the map */
	{ .name = "user, sender rejected by the map", .phase = POLICY_MAIL,
	  .f = { .user = "ann", .how = PASS, .sender = "ann@example.org" },
	  .map = "from:example.org=REJECT;", .why = POLICY_WHY_MAP,
	  .key = "from:example.org" },
	{ .name = "quoting a local part does not evade it",
	  .phase = POLICY_MAIL,
	  .f = { .sender = "\"bad\"@example.org" },
	  .o = { .anonymous_mail = true },
	  .map = "from:bad@example.org=REJECT;", .why = POLICY_WHY_MAP },
	{ .name = "To counts as a block list with the option only",
	  .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "", .rcpt = "u@d" },
	  .map = "to:d=REJECT;", .why = POLICY_WHY_OK, .relay_as = "ann" },
	{ .name = "and then for users, too", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "", .rcpt = "u@d" },
	  .o = { .blocklist_recipients = true }, .map = "to:d=REJECT;",
	  .why = POLICY_WHY_MAP, .key = "to:d" },
	{ .name = "discarding for nobody: no right, no fate",
	  .phase = POLICY_RCPT, .f = { .rcpt = "u@d" },
	  .o = { .blocklist_recipients = true }, .map = "to:d=DISCARD;",
	  .why = POLICY_WHY_RELAY, .key = "" },
	{ .name = "holding for nobody: no right, no fate",
	  .phase = POLICY_RCPT,
	  .f = { .rcpt = "u@d", .resolve = POLICY_RESOLVE_FORGED },
	  .o = { .blocklist_recipients = true }, .map = "to:u@d=QUARANTINE:x;",
	  .why = POLICY_WHY_RESOLVE, .key = "" },
	{ .name = "discarding for a user", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "", .rcpt = "u@d" },
	  .o = { .blocklist_recipients = true }, .map = "to:d=DISCARD;",
	  .why = POLICY_WHY_MAP, .relay_as = "ann", .key = "to:d" },
	{ .name = "discarding for who relays by the map",
	  .phase = POLICY_RCPT, .f = { .rcpt = "u@d" },
	  .o = { .blocklist_recipients = true },
	  .map = "to:d=DISCARD;connect:192.0.2=RELAY;",
	  .why = POLICY_WHY_MAP, .relay_as = "map:connect:192.0.2",
	  .key = "to:d" },
	{ .name = "holding for a user", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "", .rcpt = "u@d" },
	  .o = { .blocklist_recipients = true }, .map = "to:d=QUARANTINE:x y;",
	  .why = POLICY_WHY_MAP, .relay_as = "ann", .key = "to:d",
	  .text = "x y" },
	{ .name = "a foreign sender is refused before", .phase = POLICY_RCPT,
	  .f = { .user = "ann", .how = PASS, .sender = "x@far.org",
	    .rcpt = "u@d" },
	  .o = { .blocklist_recipients = true }, .map = "to:d=DISCARD;",
	  .why = POLICY_WHY_SENDER },
	{ .name = "sendmail discards for everybody", .phase = POLICY_RCPT,
	  .f = { .rcpt = "u@d" },
	  .o = { .blocklist_recipients = true, .anonymous_mail = true },
	  .map = "to:d=DISCARD;", .why = POLICY_WHY_MAP, .key = "to:d" },
	{ .name = "Try_TLS", .phase = POLICY_TRY_TLS,
	  .f = { .server_name = "mx.d", .server_addr = "192.0.2.9" },
	  .map = "try_tls:d=NO;", .why = POLICY_WHY_MAP, .key = "try_tls:d",
	  .text = "do not try TLS with mx.d [192.0.2.9]" },
	{ .name = "Try_TLS with a comment", .phase = POLICY_TRY_TLS,
	  .f = { .server_name = "mx.d" }, .map = "try_tls:d=no (yet);",
	  .why = POLICY_WHY_MAP },
	{ .name = "Try_TLS, another value", .phase = POLICY_TRY_TLS,
	  .f = { .server_name = "mx.d" }, .map = "try_tls:d=NO way;",
	  .why = POLICY_WHY_OK },
	{ .name = "Try_TLS, malformed", .phase = POLICY_TRY_TLS,
	  .f = { .server_name = "mx.d" }, .map = "try_tls:d=\"NO\";",
	  .why = POLICY_WHY_MALFORMED },
	{ .name = "malformed Connect entry", .phase = POLICY_CONNECT,
	  .map = "connect:192.0.2.1=QUARANTINE:;", .why = POLICY_WHY_MALFORMED },
	{ .name = "Connect look-up fails", .phase = POLICY_CONNECT,
	  .map = "connect:192.0.2.1=FAILS;", .why = POLICY_WHY_LOOKUP },
	{ .name = "connecting is free", .phase = POLICY_CONNECT,
	  .why = POLICY_WHY_OK },
};
/* clang-format on */

static void
ladders_decide(void **state)
{
	struct fake fake = { .owned = "ann ann@example.org;" };

	(void)state;
	for (size_t i = 0; i < N(ladders); i++) {
		struct policy_facts f = ladders[i].f;
		const char *relay_as = ladders[i].relay_as;

		if (f.client_name == NULL)
			f.client_name = "h.example.org";
		if (f.client_addr == NULL)
			f.client_addr = "192.0.2.1";
		fake.map = ladders[i].map;
		decide(ladders[i].phase, &f, &ladders[i].o, &fake);
		if (verdict.why != ladders[i].why)
			fail_msg("%s: %s", ladders[i].name,
			    policy_why_name(verdict.why));
		if ((verdict.why == POLICY_WHY_OK) !=
		    (verdict.decision == POLICY_ALLOW))
			fail_msg("%s: %s", ladders[i].name,
			    policy_decision_name(verdict.decision));
		if (strcmp(verdict.relay_as,
			relay_as != NULL ? relay_as : "") != 0)
			fail_msg("%s: relayed as '%s'", ladders[i].name,
			    verdict.relay_as);
		if (ladders[i].key != NULL &&
		    strcmp(verdict.key, ladders[i].key) != 0)
			fail_msg("%s: key %s", ladders[i].name, verdict.key);
		if (ladders[i].text != NULL &&
		    strcmp(verdict.text, ladders[i].text) != 0)
			fail_msg("%s: %s", ladders[i].name, verdict.text);
	}
}

/* clang-format off */
static const struct {
	const char *name;
	const char *user; /* NULL: relays by the map */
	struct policy_options o;
	const char *authors; /* "field:address;", "field!" if it is no good */
	enum policy_why why;
	size_t author;
	bool add_sender;
} headers[] = {
	/* require */
	{ .name = "his own", .user = "ann", .authors = "From:ann@example.org;" },
	{ .name = "two of his own", .user = "ann",
	  .authors = "From:ann@example.org;From:a.b@example.org;" },
	{ .name = "of another", .user = "ann", .authors = "From:bo@example.org;",
	  .why = POLICY_WHY_AUTHOR },
	{ .name = "the second is of another", .user = "ann",
	  .authors = "From:ann@example.org;From:bo@example.org;",
	  .why = POLICY_WHY_AUTHOR, .author = 1 },
	{ .name = "a Sender of his own does not help", .user = "ann",
	  .authors = "Sender:ann@example.org;From:bo@example.org;",
	  .why = POLICY_WHY_AUTHOR, .author = 1 },
	{ .name = "Sender of another", .user = "ann",
	  .authors = "From:ann@example.org;Sender:bo@example.org;",
	  .why = POLICY_WHY_AUTHOR, .author = 1 },
	{ .name = "Resent-From of another", .user = "ann",
	  .authors = "From:ann@example.org;Resent-From:bo@example.org;",
	  .why = POLICY_WHY_AUTHOR, .author = 1 },
	{ .name = "Resent-Sender of another", .user = "ann",
	  .authors = "From:ann@example.org;Resent-Sender:bo@example.org;",
	  .why = POLICY_WHY_AUTHOR, .author = 1 },
	{ .name = "nothing told", .user = "ann", .authors = "From!",
	  .why = POLICY_WHY_AUTHOR_FIELD },
	{ .name = "nothing told by Sender", .user = "ann",
	  .authors = "From:ann@example.org;Sender!",
	  .why = POLICY_WHY_AUTHOR_FIELD, .author = 1 },
	{ .name = "the store fails", .user = "ann",
	  .authors = "From:ann@example.org;From:later@example.org;",
	  .why = POLICY_WHY_SENDER_LOOKUP, .author = 1 },
	{ .name = "nobody named", .user = "ann", .authors = "" },

	/* who relays by the map alone */
	{ .name = "the map: anybody", .authors = "From:bo@example.org;" },
	{ .name = "the map as a user: his own",
	  .o = { .map_relay_user = "ann" }, .authors = "From:ann@example.org;" },
	{ .name = "the map as a user: of another",
	  .o = { .map_relay_user = "ann" }, .authors = "From:bo@example.org;",
	  .why = POLICY_WHY_AUTHOR },

	/* sender */
	{ .name = "sender: his own", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:ann@example.org;" },
	{ .name = "sender: of another", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:bo@example.org;", .add_sender = true },
	{ .name = "sender: one of another", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:bo@example.org;From:ann@example.org;",
	  .add_sender = true },
	{ .name = "sender: of another, with a Sender of his own", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:bo@example.org;Sender:ann@example.org;" },
	{ .name = "sender: of another, with a Sender of another", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:bo@example.org;Sender:ed@example.org;",
	  .add_sender = true },
	{ .name = "sender: his own, with a Sender of another", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:ann@example.org;Sender:ed@example.org;",
	  .add_sender = true },
	{ .name = "sender: nothing told", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER }, .authors = "From!",
	  .add_sender = true },
	{ .name = "sender: nothing told, with a Sender of his own", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From!Sender:ann@example.org;" },
	{ .name = "sender: nothing told by Sender", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:ann@example.org;Sender!", .add_sender = true },
	{ .name = "sender: one Sender of two is no good", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:bo@example.org;Sender:ann@example.org;Sender!",
	  .add_sender = true },
	{ .name = "sender: who resends is not looked at", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:ann@example.org;Resent-From:bo@example.org;" },
	{ .name = "sender: the store fails", .user = "ann",
	  .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:later@example.org;", .why = POLICY_WHY_SENDER_LOOKUP },
	{ .name = "sender: the map", .o = { .from_header = POLICY_FROM_SENDER },
	  .authors = "From:bo@example.org;" },

	/* off */
	{ .name = "off", .user = "ann", .o = { .from_header = POLICY_FROM_OFF },
	  .authors = "From:bo@example.org;Sender!" },
};
/* clang-format on */

/* Reads such a list; its texts are cut out of a copy. */
static size_t
read_authors(char *text, struct policy_author *out)
{
	size_t n = 0, i;

	for (; *text != '\0'; n++) {
		size_t name = strcspn(text, ":!");

		for (i = 0; i < POLICY_AUTHOR_FIELDS; i++) {
			const char *field = policy_author_field_name(
			    (enum policy_author_field)i);

			if (strlen(field) == name &&
			    strncmp(field, text, name) == 0)
				break;
		}
		assert_true(i < POLICY_AUTHOR_FIELDS);
		out[n].field = (enum policy_author_field)i;
		out[n].wrong = text[name] == '!' ? "is no good" : NULL;
		out[n].address = "";
		text += name + 1;
		if (out[n].wrong != NULL)
			continue;
		out[n].address = text;
		text += strcspn(text, ";");
		*text++ = '\0';
	}
	return n;
}

static void
headers_decide(void **state)
{
	struct fake fake = { .owned = "ann ann@example.org;"
				      "ann a.b@example.org;" };
	struct policy_author authors[8];

	(void)state;
	for (size_t i = 0; i < N(headers); i++) {
		char *text = strdup(headers[i].authors);
		struct policy_facts f = { .user = headers[i].user,
			.authors = authors };

		assert_non_null(text);
		f.nauthors = read_authors(text, authors);
		decide(POLICY_HEADERS, &f, &headers[i].o, &fake);
		if (verdict.why != headers[i].why ||
		    verdict.author != headers[i].author ||
		    verdict.add_sender != headers[i].add_sender)
			fail_msg("%s: %s, %zu, %d", headers[i].name,
			    policy_why_name(verdict.why), verdict.author,
			    verdict.add_sender);
		if ((verdict.decision == POLICY_ALLOW) !=
			(verdict.why == POLICY_WHY_OK) ||
		    verdict.code != 0 || verdict.key[0] != '\0')
			fail_msg("%s: %d", headers[i].name, verdict.decision);
		free(text);
	}
}

/* The ladder names each address, and the one that decides in any case. */
static void
headers_are_told(void **state)
{
	static struct policy_author authors[100];
	static const struct policy_options none = { 0 };
	struct fake fake = { .owned = "ann ann@example.org;" };
	struct policy_facts f = { .user = "ann",
		.authors = authors,
		.nauthors = N(authors) };
	const struct policy_step *last;

	(void)state;
	for (size_t i = 0; i < N(authors); i++)
		authors[i].address = "ann@example.org";
	authors[99].address = "bo@example.org";
	authors[99].field = POLICY_AUTHOR_SENDER;
	decide(POLICY_HEADERS, &f, &none, &fake);
	assert_int_equal(verdict.author, 99);
	assert_true(verdict.steps_lost);
	assert_int_equal(verdict.nsteps, POLICY_STEPS_MAX);
	assert_string_equal(verdict.steps[0].key, "ann@example.org");
	assert_string_equal(verdict.steps[0].value, "From");
	last = &verdict.steps[verdict.nsteps - 1];
	assert_int_equal(last->rule, POLICY_RULE_AUTHOR);
	assert_int_equal(last->met, POLICY_MET_REFUSE);
	assert_string_equal(last->key, "bo@example.org");
	assert_string_equal(last->value, "Sender");
}

/* Replies that are the map's own have a code, ours have none. */
static void
codes_are_for_the_map_only(void **state)
{
	struct fake fake = { .owned = "ann ann@example.org;" };

	(void)state;
	for (size_t i = 0; i < N(ladders); i++) {
		struct policy_facts f = ladders[i].f;
		bool ours;

		fake.map = ladders[i].map;
		decide(ladders[i].phase, &f, &ladders[i].o, &fake);
		ours = verdict.why == POLICY_WHY_OK ||
		    verdict.why >= POLICY_WHY_NOBODY ||
		    verdict.decision >= POLICY_DISCARD;
		if (ours != (verdict.code == 0) ||
		    ours != (verdict.esc[0] == '\0'))
			fail_msg("%s: code %d", ladders[i].name, verdict.code);
	}
}

static void
the_ladder_is_told(void **state)
{
	static const struct policy_options none = { 0 };
	struct fake fake = { .map = "tls_clt:=ENCR:128;from:x.y=OK;",
		.owned = "ann a@x.y;" };
	struct policy_facts f = { .client_name = "c",
		.client_addr = "1",
		.cipher_bits = 256,
		.user = "ann",
		.how = PASS,
		.sender = "a@x.y" };

	(void)state;
	decide(POLICY_MAIL, &f, &none, &fake);
	assert_int_equal(verdict.decision, POLICY_ALLOW);
	assert_false(verdict.steps_lost);
	assert_int_equal(verdict.nsteps, 8);
	assert_int_equal(verdict.steps[0].rule, POLICY_RULE_TLS_CLT);
	assert_string_equal(verdict.steps[0].key, "tls_clt:");
	assert_string_equal(verdict.steps[0].value, "ENCR:128");
	assert_true(has_step(POLICY_RULE_IDENTITY, POLICY_MET_PASS));
	assert_true(has_step(POLICY_RULE_USER_STATE, POLICY_MET_PASS));
	assert_true(has_step(POLICY_RULE_USER_AUTH, POLICY_MET_PASS));
	assert_true(has_step(POLICY_RULE_TLS_USER, POLICY_MET_NONE));
	assert_true(has_step(POLICY_RULE_USER_RELAY, POLICY_MET_RELAY));
	assert_true(has_step(POLICY_RULE_SENDER, POLICY_MET_PASS));
	assert_int_equal(verdict.steps[7].rule, POLICY_RULE_FROM);
	assert_string_equal(verdict.steps[7].key, "from:x.y");
}

/* Longer than any line of a map: asked for nothing, refused, cut nowhere. */
static void
long_facts_are_harmless(void **state)
{
	static const struct policy_options sendmail = { .loopback_relays = true,
		.unqualified_relays = true,
		.anonymous_mail = true,
		.blocklist_recipients = true,
		.relaytofulladdress = true };
	struct fake fake = { .map = "tls_clt:=OK;to:=RELAY;" };
	static char name[8192], address[16400];
	struct policy_facts f = { .client_name = name,
		.client_addr = name,
		.verify = "OK",
		.cert_issuer = name,
		.cert_subject = name,
		.cn_subject = name,
		.sender = address,
		.rcpt = address };

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	snprintf(address, sizeof(address), "%s@%s", name, name);
	for (int phase = POLICY_CONNECT; phase <= POLICY_SRV_FEATURES; phase++)
		decide((enum policy_phase)phase, &f, &sendmail, &fake);
	decide(POLICY_RCPT, &f, &sendmail, &fake);
	assert_int_equal(verdict.decision, POLICY_REFUSE_PERM);
	assert_int_equal(verdict.why, POLICY_WHY_RELAY);
}

static const struct policy_step *
find_step(enum policy_rule rule)
{
	for (size_t i = 0; i < verdict.nsteps; i++)
		if (verdict.steps[i].rule == rule)
			return &verdict.steps[i];
	fail_msg("no step %s", policy_rule_name(rule));
	return NULL;
}

/* What was asked for in vain is told where there is one key only. */
static void
single_keys_are_told(void **state)
{
	static const struct policy_options o = { 0 };
	struct fake fake = { .map = "tls_clt:c=VERIFY+CITag:Ours;" };
	struct policy_facts f = { .client_name = "c",
		.client_addr = "1",
		.verify = "OK",
		.cipher_bits = 256,
		.cert_issuer = "/O=Ca",
		.cert_subject = "/CN=x",
		.sender = "",
		.rcpt = "u@d" };

	(void)state;
	decide(POLICY_TLS, &f, &o, &fake);
	assert_string_equal(find_step(POLICY_RULE_CITAG)->key, "ours:/o=ca");
	assert_string_equal(find_step(POLICY_RULE_CITAG)->value, "");
	assert_string_equal(verdict.key, "tls_clt:c");
	fake.map = "";
	decide(POLICY_RCPT, &f, &o, &fake);
	assert_string_equal(
	    find_step(POLICY_RULE_CERT_ISSUER)->key, "certissuer:/o=ca");
	assert_string_equal(verdict.key, "");
	fake.map = "certissuer:/o=ca=SUBJECT;";
	decide(POLICY_RCPT, &f, &o, &fake);
	assert_string_equal(
	    find_step(POLICY_RULE_CERT_ISSUER)->value, "SUBJECT");
	assert_string_equal(
	    find_step(POLICY_RULE_CERT_SUBJECT)->key, "certsubject:/cn=x");
	assert_string_equal(find_step(POLICY_RULE_CERT_SUBJECT)->value, "");
}

/* A fate that came to nothing decides nothing in the ladder, either. */
static void
fate_is_told_if_it_decides(void **state)
{
	static const struct policy_options o = { .blocklist_recipients = true };
	struct fake fake = { .map = "to:d=DISCARD;" };
	struct policy_facts f = { .client_name = "c",
		.client_addr = "1",
		.sender = "",
		.rcpt = "u@d" };

	(void)state;
	decide(POLICY_RCPT, &f, &o, &fake);
	assert_int_equal(verdict.decision, POLICY_REFUSE_PERM);
	assert_int_equal(verdict.code, 550);
	assert_true(has_step(POLICY_RULE_TO_BLOCK, POLICY_MET_PASS));
	f.user = "ann";
	f.how = PASS;
	decide(POLICY_RCPT, &f, &o, &fake);
	assert_int_equal(verdict.decision, POLICY_DISCARD);
	assert_int_equal(verdict.code, 0);
	assert_true(has_step(POLICY_RULE_TO_BLOCK, POLICY_MET_REFUSE));
	assert_true(has_step(POLICY_RULE_USER_RELAY, POLICY_MET_RELAY));
}

static void
every_word_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i <= POLICY_QUARANTINE; i++)
		assert_non_null(policy_decision_name((enum policy_decision)i));
	for (int i = 0; i <= POLICY_WHY_LIMIT; i++)
		assert_non_null(policy_why_name((enum policy_why)i));
	for (int i = 0; i < POLICY_RULE_MAX; i++)
		assert_non_null(policy_rule_name((enum policy_rule)i));
	for (int i = 0; i <= POLICY_MET_FAIL; i++)
		assert_non_null(policy_met_name((enum policy_met)i));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_asked_in_order),
		cmocka_unit_test(requirements_are_judged),
		cmocka_unit_test(malformed_requirements_fail_closed),
		cmocka_unit_test(ladders_decide),
		cmocka_unit_test(headers_decide),
		cmocka_unit_test(headers_are_told),
		cmocka_unit_test(codes_are_for_the_map_only),
		cmocka_unit_test(the_ladder_is_told),
		cmocka_unit_test(long_facts_are_harmless),
		cmocka_unit_test(single_keys_are_told),
		cmocka_unit_test(fate_is_told_if_it_decides),
		cmocka_unit_test(every_word_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
