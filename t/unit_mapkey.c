/* submitd/mapkey.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submitd/mapkey.h"
#include "submitd/mem.h"

#define N(a)  (sizeof(a) / sizeof((a)[0]))
#define UE    "\xc3\xbc"
#define BIGUE "\xc3\x9c"
#define CHER  "cher.example"
#define XN    "xn--bcher-kva.example"

/* clang-format off */
static const struct {
	const char *name, *given, *want;
} keys[] = {
	{ "ASCII stays, also in its case", "From:X@Example.ORG",
	  "From:X@Example.ORG" },
	{ "a domain", "To:b" UE CHER, "To:" XN },
	{ "in capitals", "To:B" BIGUE "CHER.Example", "To:" XN },
	{ "of a mailbox", "From:x@b" UE CHER, "From:x@" XN },
	{ "whose local part is no ASCII either", "From:" UE "@b" UE CHER,
	  "From:" UE "@" XN },
	{ "a local part alone", "From:" UE "@", "From:" UE "@" },
	{ "without a tag", "b" UE CHER, XN },
	{ "of a client", "Connect:b" UE CHER, "Connect:" XN },
	{ "of TLS", "TLS_Clt:b" UE CHER, "TLS_Clt:" XN },
	{ "of the smarthost", "try_tls:b" UE CHER, "try_tls:" XN },
	{ "of recipients", "TLS_Rcpt:x@b" UE CHER, "TLS_Rcpt:x@" XN },
	{ "a part of a name", "To:b" UE "cher", "To:xn--bcher-kva" },
	{ "a user is no domain", "TLS_User:b" UE CHER, "TLS_User:b" UE CHER },
	{ "nor is a certificate", "CertSubject:/CN=b" UE CHER,
	  "CertSubject:/CN=b" UE CHER },
	{ "nor what is no name", "To:\xe2\x98\x83.example",
	  "To:\xe2\x98\x83.example" },
	{ "nor bytes that are no UTF-8", "To:\xff.example", "To:\xff.example" },
	{ "nothing", "", "" },
};

static const struct {
	const char *name, *given, *want;
} maps[] = {
	{ "nothing", "", "" },
	{ "ASCII", "From:a OK\n# x\n", "From:a OK\n# x\n" },
	{ "keys, not values", "To:b" UE CHER "\t550 b" UE CHER "\nTo:a OK\n",
	  "To:" XN "\t550 b" UE CHER "\nTo:a OK\n" },
	{ "no comments, no second lines",
	  "#To:b" UE CHER " OK\n To:b" UE CHER " OK\n",
	  "#To:b" UE CHER " OK\n To:b" UE CHER " OK\n" },
	{ "the last line without its end", "a OK\nTo:b" UE CHER " OK",
	  "a OK\nTo:" XN " OK" },
	{ "a key without a value", "To:b" UE CHER "\n", "To:" XN "\n" },
	{ "empty lines", "\n\nb" UE CHER " OK\n\n", "\n\n" XN " OK\n\n" },
};
/* clang-format on */

static void
one_key(void **state)
{
	size_t i;
	char *got;

	(void)state;
	for (i = 0; i < N(keys); i++) {
		got = mapkey(keys[i].given);
		if (strcmp(got, keys[i].want) != 0)
			fail_msg("%s: %s", keys[i].name, got);
		free(got);
	}
}

static void
whole_maps(void **state)
{
	struct buf b = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < N(maps); i++) {
		buf_add(&b, maps[i].given, strlen(maps[i].given));
		mapkey_text(&b);
		if (b.len != strlen(maps[i].want) ||
		    (b.len > 0 &&
			memcmp(buf_head(&b), maps[i].want, b.len) != 0))
			fail_msg("%s: %.*s", maps[i].name, (int)b.len,
			    (const char *)buf_head(&b));
		buf_clear(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_key),
		cmocka_unit_test(whole_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
