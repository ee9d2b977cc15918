/* Sentences for decisions: see ctl_advice.h. */
#include "ctl_advice.h"

#include <stdbool.h>
#include <string.h>

#include "mem.h"
#include "userlimit.h"

/*
 * The first row that fits; NULL fits anything. In a sentence %k is the key of
 * the entry, %v its value, %u the user, %s the sender, %r the recipient, %a
 * and %n the client's address and name, %w the word of {verify}, %b the bits,
 * %t the text of the reply, %x a key that was asked for in vain, %l whose limits
 * are shown.
 */
struct row {
	char result; /* r refused or deferred, a allowed, d, q */
	const char *phase, *why, *rule;
	const char *sentence;
};

/* clang-format off */
static const struct row rows[] = {
	/* logins */
	{ 'a', "auth", NULL, NULL,
	  "The login as %u succeeded." },
	{ 'r', "auth", NULL, "srv_features",
	  "The entry \"%k %v\" keeps this client from logging in (AUTH): let "
	  "it show a certificate instead, or take the letter A out." },
	{ 'r', "auth", "bad", NULL,
	  "There is no user %u, or the password or certificate is not theirs "
	  "(%t); \"submitctl user show %u\" says what the user has." },
	{ 'r', "auth", "temp", NULL,
	  "The login could not be checked at that time (%t); the client may "
	  "try again." },
	{ 'r', "auth", "nomech", NULL,
	  "The client chose a mechanism that is not offered, or that the user "
	  "may not use (%t)." },
	{ 'r', "auth", "cancelled", NULL,
	  "The client cancelled the login." },
	{ 'r', "auth", NULL, NULL,
	  "The login of %u was refused (%t)." },

	/* limits, and who looked like a stolen account */
	{ 'r', "data", "suspended", NULL,
	  "%u looked like a stolen account (%t), so the server has suspended it: "
	  "\"submitctl user resume %u\" ends that, and \"submitctl queue list\" "
	  "shows what is held." },
	{ 'r', "data", "limit", NULL,
	  "A limit was reached (%t): \"submitctl limit show %l\" shows which "
	  "there are, and \"submitctl limit set %l\" changes them." },

	/* what has nothing to do with the rule itself */
	{ 'r', NULL, "lookup", NULL,
	  "The store could not be asked for the access map or the user at "
	  "that time; the client may try again, and the log says what was "
	  "wrong (ev=store)." },
	{ 'r', NULL, "sender_lookup", NULL,
	  "The store could not be asked whether %u owns %s; the client may "
	  "try again, and the log says what was wrong (ev=store)." },
	{ 'r', NULL, "malformed", NULL,
	  "The value \"%v\" of the entry %k makes no sense, so it refuses "
	  "for now; correct it with \"submitctl access set %k VALUE\" or in "
	  "the map's file." },

	{ 'r', NULL, "tls", "citag",
	  "The entry \"%k %v\" wants an entry \"%x OK\" for the issuer of the "
	  "certificate, which is not there or says something else: set it, or "
	  "use a certificate of another CA." },
	{ 'r', NULL, NULL, "cert_subject",
	  "The entry for the issuer of the certificate leaves it to an entry "
	  "for its subject, and there is none that says RELAY: add an entry "
	  "\"%x RELAY\", or let the client log in." },

	/* the client */
	{ 'r', NULL, NULL, "connect",
	  "The entry \"%k %v\" refuses the client %n (%a); delete it, or add "
	  "one that is nearer to the client and says OK." },
	{ 'r', NULL, NULL, "tls_clt",
	  "The entry \"%k %v\" asks for more than the session had (verify=%w, "
	  "%b bits): the client needs a certificate that verifies and says "
	  "what the entry wants, or a stronger cipher; or add an entry "
	  "TLS_Clt:%a that asks for less." },
	{ 'r', NULL, NULL, "tls_user",
	  "The entry \"%k %v\" asks for more than this session of %u had "
	  "(verify=%w, %b bits): %u needs a certificate that verifies and "
	  "says what the entry wants, or a stronger cipher; or change the "
	  "entry." },
	{ 'r', NULL, NULL, "srv_features",
	  "The entry \"%k %v\" asks this client to log in (AUTH) before MAIL; "
	  "let it log in, or take the letter l out." },

	/* the user */
	{ 'r', NULL, "suspended", NULL,
	  "The user %u is suspended; \"submitctl user resume %u\" ends that." },
	{ 'r', NULL, "disabled", NULL,
	  "The user %u is disabled; \"submitctl user set %u --state active\" "
	  "ends that." },
	{ 'r', NULL, "need_cert", NULL,
	  "The user %u must show a certificate; map one with \"submitctl cert "
	  "add %u --file CERT.pem\", or allow passwords with \"submitctl user "
	  "set %u --policy any\"." },
	{ 'r', NULL, "need_password", NULL,
	  "The user %u must log in with a password; a certificate will do "
	  "after \"submitctl user set %u --policy any\"." },
	{ 'r', NULL, "need_both", NULL,
	  "The user %u must both log in with a password and show a "
	  "certificate of their own; one will do after \"submitctl user set "
	  "%u --policy any\"." },
	{ 'r', NULL, "nobody", NULL,
	  "The client has not logged in, its certificate (verify=%w) stands "
	  "for no user, and no entry says RELAY for it: let it log in, map "
	  "its certificate with \"submitctl cert add\", or add an entry "
	  "\"Connect:%a RELAY\"." },
	{ 'r', NULL, "sender", NULL,
	  "%s is no address of %u; add it with \"submitctl address add %u "
	  "%s\", or send as one that is." },

	{ 'r', NULL, "author", NULL,
	  "%k, which the header of the mail names in %v, is no address of %u; "
	  "add it with \"submitctl address add %u %k\", or say \"from_header = "
	  "sender\" to let users name others and add a Sender." },
	{ 'r', NULL, "author_field", NULL,
	  "A field of the header can't tell whose mail it is (%t), so it could "
	  "show anybody's address; the mail program must write it as RFC 5322 "
	  "says, or \"from_header = sender\" lets it be and adds a Sender." },

	/* the mail */
	{ 'r', NULL, NULL, "from",
	  "The entry \"%k %v\" refuses mail from %s; delete it, or add one "
	  "for the whole address that says OK." },
	{ 'r', NULL, NULL, "to_block",
	  "The entry \"%k %v\" refuses mail to %r; delete it, or add one for "
	  "the whole address that says OK." },
	{ 'r', NULL, "rcpt_no_domain", NULL,
	  "The recipient %r has no domain; the client must write one." },
	{ 'r', NULL, NULL, "rcpt_syntax",
	  "The recipient is empty; the client must write an address." },
	{ 'r', NULL, NULL, "resolve",
	  "No user logged in, and the name of %a is not confirmed, so that no "
	  "entry by name can help it: let the client log in, add an entry "
	  "\"Connect:%a RELAY\", or give the address a name that leads back "
	  "to it." },
	{ 'r', NULL, "relay", NULL,
	  "Neither a user, nor a certificate, nor an entry for the client %n "
	  "(%a) or for the domain of %r gives the right to relay: let the "
	  "client log in, or add an entry \"Connect:%a RELAY\"." },

	/* the smarthost */
	{ 'r', NULL, NULL, "tls_srv",
	  "The entry \"%k %v\" asks for more than the session with the "
	  "smarthost has (verify=%w, %b bits); the smarthost must offer it, "
	  "or the entry must ask for less." },
	{ 'r', NULL, NULL, "tls_rcpt",
	  "The entry \"%k %v\" asks for more than the session with the "
	  "smarthost has (verify=%w, %b bits) for mail to %r; the smarthost "
	  "must offer it, or the entry must ask for less." },
	{ 'r', NULL, NULL, "try_tls",
	  "The entry \"%k %v\" forbids TLS with the smarthost, and without it "
	  "no mail leaves; delete the entry." },

	/* accepted */
	{ 'd', NULL, NULL, NULL,
	  "The entry \"%k %v\" lets the mail be accepted and thrown away; "
	  "delete it to let the mail go." },
	{ 'q', NULL, NULL, NULL,
	  "The entry \"%k %v\" lets the mail be accepted and held; "
	  "\"submitctl queue release\" lets it go." },
	{ 'a', NULL, NULL, "user_relay",
	  "The user %u may send, and owns the sender; \"submitctl user suspend "
	  "%u\" would stop that." },
	{ 'a', NULL, NULL, "cert_issuer",
	  "The entry \"%k %v\" lets everybody relay whose certificate has this "
	  "issuer and verifies; deleting it would stop that." },
	{ 'a', NULL, NULL, "cert_subject",
	  "The entry \"%k %v\" lets the holder of this certificate relay; "
	  "deleting it would stop that." },
	{ 'a', NULL, NULL, "to_relay",
	  "The entry \"%k %v\" lets everybody send to this domain; deleting "
	  "it would stop that." },
	{ 'a', NULL, NULL, "addr_relay",
	  "The entry \"%k %v\" lets this client relay by its address; "
	  "deleting it would stop that." },
	{ 'a', NULL, NULL, "name_relay",
	  "The entry \"%k %v\" lets this client relay by its name; deleting "
	  "it would stop that." },
	{ 'a', NULL, NULL, "from_relay",
	  "The entry \"%k %v\" lets this sender relay; deleting it would stop "
	  "that." },
	{ 'a', "headers", NULL, NULL,
	  "Mail of %u may name these authors; a text \"Sender: ADDRESS\" above "
	  "says what the server adds." },
	{ 'a', "mail", NULL, NULL,
	  "Nothing refuses it so far; the recipients decide." },
	{ 'a', NULL, NULL, NULL,
	  "Nothing refuses it." },
	{ 'r', NULL, NULL, NULL,
	  "It was refused: %t" },
};
/* clang-format on */

static char
letter(const char *result)
{
	if (strcmp(result, "refuse") == 0 || strcmp(result, "defer") == 0)
		return 'r';
	return result[0];
}

static bool
fits(const char *want, const char *have)
{
	return want == NULL || strcmp(want, have) == 0;
}

static const char *
or_empty(const char *s)
{
	return s != NULL ? s : "";
}

static const char *
value_of(const struct ctl_advice_case *c, char what)
{
	switch (what) {
	case 'k':
		return c->key;
	case 'v':
		return c->value;
	case 'u':
		return c->user;
	case 's':
		return c->sender;
	case 'r':
		return c->rcpt;
	case 'a':
		return c->addr;
	case 'n':
		return c->name;
	case 'w':
		return c->verify;
	case 'b':
		return c->bits;
	case 'x':
		return c->wanted;
	default:
		return c->text;
	}
}

/* The option of limit show. */
static void
add_whose(struct buf *out, const char *user)
{
	const char *colon = strchr(user, ':');
	const char *option = "--user ";

	if (colon != NULL && userlimit_is_map(user)) {
		option = "--map ";
		user = colon + 1;
	}
	buf_add(out, option, strlen(option));
	buf_add(out, user, strlen(user));
}

static void
add_value(struct buf *out, const struct ctl_advice_case *c, char what)
{
	const char *value = or_empty(value_of(c, what));

	if (value[0] == '\0')
		value = what == 's' ? "<>"
		    : what == 'u'   ? "USER"
		    : what == 'a'   ? "ADDRESS"
		    : what == 'n'   ? "NAME"
				    : "none";
	buf_add(out, value, strlen(value));
}

static char *
fill(const char *sentence, const struct ctl_advice_case *c)
{
	struct buf out = { 0 };

	for (; *sentence != '\0'; sentence++) {
		if (*sentence != '%')
			buf_add(&out, sentence, 1);
		else if (*++sentence == 'l')
			add_whose(&out, or_empty(c->user));
		else
			add_value(&out, c, *sentence);
	}
	buf_add(&out, "", 1);
	return (char *)buf_head(&out);
}

char *
ctl_advice(const struct ctl_advice_case *c)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].result == letter(or_empty(c->result)) &&
		    fits(rows[i].phase, or_empty(c->phase)) &&
		    fits(rows[i].why, or_empty(c->why)) &&
		    fits(rows[i].rule, or_empty(c->rule)))
			return fill(rows[i].sentence, c);
	return xstrdup("");
}
