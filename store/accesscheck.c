/*
 * Checks one entry of the access map. What counts as an error fails closed
 * when it is met all the same; a warning is an entry that does what sendmail
 * does with it, which is hardly what was meant.
 */
#include "accesscheck.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "accessval.h"
#include "text.h"

struct check {
	accesscheck_cb *cb;
	void *arg;
	int rc;
};

static void __attribute__((format(printf, 3, 4)))
say(struct check *c, enum accessmap_level level, const char *fmt, ...)
{
	char text[ACCESSMAP_NOTE_SIZE];
	va_list ap;

	if (level == ACCESSMAP_ERROR)
		c->rc = -1;
	if (c->cb == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
			*p = '?';
	}
	c->cb(c->arg, level, text);
}

/* An IPv6 operand: prefix of "IPv6:" and eight groups without zeros. */
static void
check_ipv6(struct check *c, const char *groups)
{
	if (strstr(groups, "::") != NULL)
		say(c, ACCESSMAP_WARNING,
		    "never matches: zeros are written out (0:0:1), not as ::");
	for (const char *p = groups; p != NULL; p = strchr(p, ':')) {
		p += *p == ':';
		if (*p == '0' && isxdigit((unsigned char)p[1])) {
			say(c, ACCESSMAP_WARNING,
			    "never matches: no leading zeros in a group");
			return;
		}
	}
}

/* A name or an address, or the part of a mail address behind its @. */
static void
check_host(struct check *c, const char *host)
{
	size_t len = strlen(host);

	if (len == 0)
		return;
	if (strncasecmp(host, "IPv6:", 5) == 0)
		check_ipv6(c, host + 5);
	else if (strncasecmp(host, "[IPv6:", 6) == 0)
		check_ipv6(c, host + 6);
	else if (host[0] == '.')
		say(c, ACCESSMAP_WARNING,
		    "never matches: a name also stands for the names below "
		    "it, write it without the leading dot");
	else if (host[len - 1] == '.')
		say(c, ACCESSMAP_WARNING,
		    "never matches: write it without the dot at its end");
	else if (strpbrk(host, "*\"'") != NULL)
		say(c, ACCESSMAP_WARNING,
		    "never matches: there are no wildcards and no quotes");
	else if (strchr(host, '/') != NULL)
		say(c, ACCESSMAP_WARNING,
		    "never matches: networks are written as the leading "
		    "parts of the address (192.0.2), not with /");
	else if (strchr(host, ':') != NULL)
		say(c, ACCESSMAP_WARNING,
		    "never matches: IPv6 addresses begin with IPv6:");
}

static void
check_operand(struct check *c, const char *operand)
{
	const char *at = strrchr(operand, '@');

	check_host(c, at != NULL ? at + 1 : operand);
}

static bool
is_escaped_plus(const char *p)
{
	return isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2]);
}

/* A name from a certificate, as operand or in a requirement. */
static void
check_dn(struct check *c, const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '+' &&
		    (len - i < 3 || !is_escaped_plus(name + i))) {
			say(c, ACCESSMAP_WARNING,
			    "never matches: in the name of a certificate + "
			    "stands before two hex digits (+20 is a blank)");
			return;
		}
	}
}

static void
check_dn_key(struct check *c, const char *operand)
{
	if (operand[0] != '/')
		say(c, ACCESSMAP_WARNING,
		    "never matches: the name of a certificate begins with /");
	else
		check_dn(c, operand, strlen(operand));
}

static void
check_tls(struct check *c, const char *value)
{
	struct accessval_tls req;
	const char *why;

	if (accessval_tls(value, &req, &why) == -1) {
		say(c, ACCESSMAP_ERROR, "'%.60s' is not a requirement: %s",
		    value, why);
		return;
	}
	for (size_t i = 0; i < req.nitems; i++)
		check_dn(c, req.item[i].arg, req.item[i].len);
	if (req.nitems > 0 && !req.verify)
		say(c, ACCESSMAP_WARNING,
		    "without VERIFY a name proves nothing: any certificate "
		    "can carry it");
}

static void
check_reply(struct check *c, const char *operand, const char *value)
{
	struct accessval_reply reply;
	const char *why;

	if (accessval_reply(value, &reply, &why) == -1) {
		say(c, ACCESSMAP_ERROR, "'%.60s': %s", value, why);
		return;
	}
	if (reply.plain)
		say(c, ACCESSMAP_WARNING,
		    "'%.60s' is no keyword, it would be sent as the text of "
		    "a refusal (553 5.3.0)",
		    value);
	if (reply.kind == ACCESSVAL_ERROR &&
	    reply.esc[0] != '0' + reply.code / 100)
		say(c, ACCESSMAP_WARNING,
		    "reply code %d and enhanced code %s do not agree",
		    reply.code, reply.esc);
	if (reply.kind == ACCESSVAL_SKIP && strchr(operand, '@') != NULL)
		say(c, ACCESSMAP_WARNING,
		    "SKIP has a meaning for names and addresses of hosts "
		    "only");
}

/* One of the words that mean something, or of those that mean nothing. */
static void
check_relay(struct check *c, enum accessmap_tag tag, const char *value)
{
	static const char *const idle[] = { "OK", "REJECT", "DISCARD", "SKIP" };

	if (accessval_is(value, "RELAY") ||
	    (tag == ACCESSMAP_CERT_ISSUER && accessval_is(value, "SUBJECT")))
		return;
	for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
		if (accessval_is(value, idle[i])) {
			say(c, ACCESSMAP_WARNING, "%s has no effect here",
			    idle[i]);
			return;
		}
	}
	say(c, ACCESSMAP_ERROR, "'%.60s': expected %s", value,
	    tag == ACCESSMAP_CERT_ISSUER ? "RELAY or SUBJECT" : "RELAY");
}

static void
check_try_tls(struct check *c, const char *value)
{
	const char *why;
	bool forbids;

	if (accessval_try_tls(value, &forbids, &why) == -1)
		say(c, ACCESSMAP_ERROR, "'%.60s': %s", value, why);
	else if (!forbids && !accessval_is(value, "YES") &&
	    !accessval_is(value, "OK") && !accessval_is(value, "SKIP"))
		say(c, ACCESSMAP_WARNING,
		    "'%.60s' has no effect: only NO has one", value);
}

/* Those that sendmail knows and that have no meaning here, once each. */
static void
note_idle_letters(struct check *c, const char *value)
{
	char idle[2 * 26 + 1] = "";
	size_t n = 0;

	for (; *value != '\0'; value++) {
		if (isalpha((unsigned char)*value) &&
		    strchr("aAlLpP", *value) == NULL &&
		    strchr(idle, *value) == NULL)
			idle[n++] = *value;
		idle[n] = '\0';
	}
	if (n > 0)
		say(c, ACCESSMAP_NOTICE,
		    "of the letters '%s' none has a meaning here, only a, l "
		    "and p, large or small, have one",
		    idle);
}

static void
check_features(struct check *c, const char *value)
{
	if (accessval_is(value, "SKIP"))
		return;
	for (const char *p = value; *p != '\0'; p++) {
		bool blank = *p == ' ' || *p == '\t';

		if (blank)
			continue;
		if (isalpha((unsigned char)*p) &&
		    (p[1] == '\0' || p[1] == ' ' || p[1] == '\t'))
			continue;
		say(c, ACCESSMAP_ERROR,
		    "'%.60s': expected single letters with blanks between",
		    value);
		return;
	}
	note_idle_letters(c, value);
}

/* Another word before the colon: a tag for CITag, or a slip of the pen. */
static void
check_word(
    struct check *c, const char *key, const char *operand, const char *value)
{
	if (operand[0] != '/') {
		say(c, ACCESSMAP_WARNING, "never matches: unknown tag %.*s",
		    (int)(operand - key), key);
		return;
	}
	check_dn(c, operand, strlen(operand));
	if (!accessval_is(value, "OK"))
		say(c, ACCESSMAP_WARNING,
		    "only OK makes an issuer acceptable to CITag");
}

static void
check_user(struct check *c, const char *operand, const char *value)
{
	if (operand[0] == '\0')
		say(c, ACCESSMAP_ERROR, "TLS_User: needs the name of a user");
	check_tls(c, value);
}

static void
check_by_tag(struct check *c, const char *key, const char *value)
{
	const char *operand;
	enum accessmap_tag tag = accessmap_tag(key, &operand);

	switch (tag) {
	case ACCESSMAP_TLS_CLT:
	case ACCESSMAP_TLS_SRV:
	case ACCESSMAP_TLS_RCPT:
		check_operand(c, operand);
		check_tls(c, value);
		break;
	case ACCESSMAP_TLS_USER:
		check_user(c, operand, value);
		break;
	case ACCESSMAP_TRY_TLS:
		check_operand(c, operand);
		check_try_tls(c, value);
		break;
	case ACCESSMAP_SRV_FEATURES:
		check_operand(c, operand);
		check_features(c, value);
		break;
	case ACCESSMAP_CERT_ISSUER:
	case ACCESSMAP_CERT_SUBJECT:
		check_dn_key(c, operand);
		check_relay(c, tag, value);
		break;
	case ACCESSMAP_CONNECT:
	case ACCESSMAP_FROM:
	case ACCESSMAP_TO:
	case ACCESSMAP_UNTAGGED:
		check_operand(c, operand);
		check_reply(c, operand, value);
		break;
	case ACCESSMAP_WORD:
		check_word(c, key, operand, value);
		break;
	case ACCESSMAP_FOREIGN:
		say(c, ACCESSMAP_NOTICE, "%.*s has no meaning here",
		    (int)(operand - key), key);
		break;
	}
}

static bool
is_sound_key(const char *key)
{
	size_t len = strlen(key);

	if (len == 0 || len > ACCESSMAP_LINE_MAX || key[0] == '#' ||
	    strncmp(key, ACCESSMAP_MARK, sizeof(ACCESSMAP_MARK) - 1) == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)key[i] <= 0x20 || key[i] == 0x7f)
			return false;
	}
	return true;
}

/* What the store would not take; what is dropped may be anything. */
static bool
is_storable(const char *key, const char *value)
{
	char text[ACCESSMAP_LINE_MAX + 1];
	const char *operand;

	if (accessmap_tag(key, &operand) == ACCESSMAP_FOREIGN)
		return true;
	snprintf(text, sizeof(text), "%s", value);
	for (char *p = text; *p != '\0'; p++) {
		if (*p == '\t') /* stored as a blank */
			*p = ' ';
	}
	return text_is_clean(key) && text_is_clean(text);
}

int
accesscheck_entry(
    const char *key, const char *value, accesscheck_cb *cb, void *arg)
{
	struct check c = { .cb = cb, .arg = arg };
	size_t len = strlen(value);

	if (!is_sound_key(key)) {
		say(&c, ACCESSMAP_ERROR,
		    "a key has no blanks or control characters, begins "
		    "neither with # nor with a byte order mark, and has at "
		    "most %d octets",
		    ACCESSMAP_LINE_MAX);
		return -1;
	}
	if (len == 0 || len + strlen(key) + 1 > ACCESSMAP_LINE_MAX) {
		say(&c, ACCESSMAP_ERROR, "the value is %s",
		    len == 0 ? "missing" : "too long");
		return -1;
	}
	check_by_tag(&c, key, value);
	if (c.rc == 0 && !is_storable(key, value))
		say(&c, ACCESSMAP_ERROR,
		    "the entry is not UTF-8, or has a control character in it");
	return c.rc;
}
