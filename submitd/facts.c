/* Facts for the decision, and replies: see facts.h. */
#include "facts.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "idn.h"
#include "mem.h"
#include "store/accessmap.h"
#include "store/accessval.h"
#include "store/utf8.h"

char *
facts_addr(const char *addr)
{
	struct in6_addr in6;
	const unsigned char *b = in6.s6_addr;

	if (inet_pton(AF_INET6, addr, &in6) != 1)
		return xstrdup(addr);
	if (IN6_IS_ADDR_V4MAPPED(&in6))
		return xasprintf("%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
	return xasprintf("IPv6:%x:%x:%x:%x:%x:%x:%x:%x",
	    (unsigned)(b[0] << 8 | b[1]), (unsigned)(b[2] << 8 | b[3]),
	    (unsigned)(b[4] << 8 | b[5]), (unsigned)(b[6] << 8 | b[7]),
	    (unsigned)(b[8] << 8 | b[9]), (unsigned)(b[10] << 8 | b[11]),
	    (unsigned)(b[12] << 8 | b[13]), (unsigned)(b[14] << 8 | b[15]));
}

char *
facts_host(const char *name, const char *map_addr)
{
	size_t n = strlen(name);

	if (n == 0)
		return xasprintf("[%s]", map_addr);
	if (name[n - 1] == '.')
		n--;
	return xstrndup(name, n);
}

const char *
facts_map_address(const char *address, char out[FACTS_ADDRESS_MAX])
{
	const char *at = strrchr(address, '@');
	char domain[IDN_DOMAIN_MAX + 1];
	int n;

	if (at == NULL || utf8_is_ascii_text(at) ||
	    !idn_domain(at + 1, domain))
		return address;
	n = snprintf(out, FACTS_ADDRESS_MAX, "%.*s@%s", (int)(at - address),
	    address, domain);
	return n < FACTS_ADDRESS_MAX ? out : address;
}

unsigned
facts_relays(const char *key, const char *value)
{
	struct accessval_reply reply;
	const char *operand;

	if (accessval_reply(value, &reply, NULL) == -1 ||
	    reply.kind != ACCESSVAL_RELAY)
		return 0;
	switch (accessmap_tag(key, &operand)) {
	case ACCESSMAP_CONNECT:
		return POLICY_RELAYS_BY_NAME;
	case ACCESSMAP_TO:
		return POLICY_RELAYS_BY_RCPT;
	case ACCESSMAP_UNTAGGED:
		return POLICY_RELAYS_BY_NAME | POLICY_RELAYS_BY_RCPT;
	default:
		return 0;
	}
}

enum smtp_reply
facts_reply(enum policy_why why)
{
	switch (why) {
	case POLICY_WHY_NOBODY:
	case POLICY_WHY_NEED_CERT:
	case POLICY_WHY_NEED_PASSWORD:
		return R_AUTH_NEEDED;
	case POLICY_WHY_NEED_BOTH:
		return R_AUTH_NEEDED_BOTH;
	case POLICY_WHY_SUSPENDED:
		return R_USER_SUSPENDED;
	case POLICY_WHY_DISABLED:
		return R_USER_DISABLED;
	case POLICY_WHY_SENDER:
		return R_MAIL_NOT_OWNED;
	case POLICY_WHY_SENDER_LOOKUP:
		return R_AUTH_DOWN;
	case POLICY_WHY_RCPT_NO_DOMAIN:
		return R_RCPT_UNQUALIFIED;
	case POLICY_WHY_AUTHOR:
		return R_AUTHOR_NOT_OWNED;
	case POLICY_WHY_AUTHOR_FIELD:
		return R_AUTHOR_FIELD;
	default:
		return R_TEMP;
	}
}

/* What a user may use, as he is told. */
static void
own_text(const char *own, char *out, size_t size)
{
	if (own[0] == '\0')
		snprintf(out, size, "no address yet");
	else if (own[0] == '@')
		snprintf(out, size, "any address of %s", own + 1);
	else
		snprintf(out, size, "<%s>", own);
}

/* The sentence of a reply's first line, without its codes. */
static void
reply_text(enum smtp_reply id, const char *a, const char *b, char *out,
    size_t size)
{
	char reply[SMTP_REPLY_MAX];
	size_t skip = strlen("530 ") + strlen(smtp_reply_status(id)) + 1;

	smtp_reply_format(reply, sizeof(reply), id, a, b);
	reply[strcspn(reply, "\r\n")] = '\0';
	snprintf(out, size, "%s", strlen(reply) > skip ? reply + skip : "");
}

void
facts_said_reply(enum smtp_reply id, const char *a, const char *b,
    struct facts_reply_said *said)
{
	said->code = smtp_reply_code(id);
	snprintf(said->esc, sizeof(said->esc), "%s", smtp_reply_status(id));
	reply_text(id, a, b, said->text, sizeof(said->text));
}

void
facts_reply_args(enum policy_why why, const struct facts_about *about,
    struct facts_reply_args *args)
{
	const struct policy_author *author = about->author;

	args->a[0] = args->b[0] = '\0';
	if (why == POLICY_WHY_SENDER)
		snprintf(args->a, sizeof(args->a), "%s", about->sender);
	else if (why == POLICY_WHY_SUSPENDED)
		snprintf(args->a, sizeof(args->a), "%s",
		    about->reason[0] != '\0' ? about->reason
					     : "no reason was given");
	else if (why == POLICY_WHY_AUTHOR) {
		snprintf(args->a, sizeof(args->a), "<%s> in the %s field",
		    author->address, policy_author_field_name(author->field));
		own_text(about->own, args->b, sizeof(args->b));
	} else if (why == POLICY_WHY_AUTHOR_FIELD) {
		snprintf(args->a, sizeof(args->a), "%s",
		    policy_author_field_name(author->field));
		snprintf(args->b, sizeof(args->b), "%s", author->wrong);
	}
}

const char *
facts_new_sender(const char *sender, const char *own)
{
	if (sender[0] != '\0')
		return sender;
	return own[0] != '@' && own[0] != '*' ? own : "";
}

void
facts_sender_text(const char *sender, const char *own, char *out, size_t size)
{
	const char *added = facts_new_sender(sender, own);

	snprintf(out, size, "%s%s", added[0] != '\0' ? "Sender: " : "", added);
}

void
facts_said(const struct policy_verdict *v, const struct facts_reply_args *args,
    struct facts_reply_said *said)
{
	if (v->code == 0) {
		facts_said_reply(
		    facts_reply(v->why), args->a, args->b, said);
		return;
	}
	said->code = v->code;
	snprintf(said->esc, sizeof(said->esc), "%s", v->esc);
	snprintf(said->text, sizeof(said->text), "%s", v->text);
}

struct policy_options
facts_options(const char *map_relay_user, enum policy_from_header from)
{
	/*
	 * All else is off.  Without these two a To entry that refuses would
	 * stop no user, who may send anywhere, and SKIP would be a text.
	 */
	const struct policy_options o = {
		.blocklist_recipients = true,
		.skip = true,
		.map_relay_user =
		    map_relay_user[0] != '\0' ? map_relay_user : NULL,
		.from_header = from,
	};

	return o;
}

enum policy_from_header
facts_from_header(const struct policy_options *o, const char *user)
{
	return user != NULL || o->map_relay_user != NULL ? o->from_header
							 : POLICY_FROM_OFF;
}

unsigned
facts_features(const char *letters)
{
	unsigned bits = 0;

	if (accessval_is(letters, "SKIP")) /* of the tag alone */
		return 0;
	for (; *letters != '\0'; letters++) {
		switch (*letters) {
		case 'a':
			bits &= ~FACTS_NO_AUTH;
			break;
		case 'A':
			bits |= FACTS_NO_AUTH;
			break;
		case 'l':
			bits |= FACTS_NEED_AUTH;
			break;
		case 'L':
			bits &= ~FACTS_NEED_AUTH;
			break;
		case 'p':
			bits &= ~FACTS_NO_PIPELINING;
			break;
		case 'P':
			bits |= FACTS_NO_PIPELINING;
			break;
		default: /* has no meaning here */
			break;
		}
	}
	return bits;
}

/* The tag as the manual writes it; look-ups fold it. */
static void
entry_text(const struct policy_verdict *v, char *out, size_t size)
{
	const char *operand = "", *value = "";
	enum accessmap_tag tag = accessmap_tag(v->key, &operand);

	if (v->nsteps > 0)
		value = v->steps[v->nsteps - 1].value;
	snprintf(out, size, "%s:%.200s%s%.100s", accessmap_tag_name(tag),
	    operand, value[0] != '\0' ? " " : "", value);
}

void
facts_server_text(const struct policy_verdict *v, char *out, size_t size)
{
	char entry[400];

	entry_text(v, entry, sizeof(entry));
	if (v->why == POLICY_WHY_LOOKUP)
		snprintf(out, size, "the access map can't be read now");
	else if (v->why == POLICY_WHY_MALFORMED)
		snprintf(out, size, "the access map has an error: %s", entry);
	else if (v->why == POLICY_WHY_MAP)
		snprintf(out, size,
		    "the access map forbids TLS: %s; without TLS no mail "
		    "leaves",
		    entry);
	else
		snprintf(out, size, "the access map demands %s: %.200s", entry,
		    v->text);
	for (; *out != '\0'; out++)
		if (*out < ' ' || *out > '~')
			*out = '?';
}

enum server_verdict
facts_server_verdict(const struct policy_verdict *v)
{
	if (v->decision == POLICY_ALLOW)
		return SERVER_GO;
	if (v->why == POLICY_WHY_LOOKUP)
		return SERVER_UNKNOWN;
	if (v->why == POLICY_WHY_TLS && v->decision == POLICY_REFUSE_PERM)
		return SERVER_FAIL;
	return SERVER_WAIT;
}

/* The entry of Srv_Features, and no other rule, refuses. */
static void
refuse_by_letter(struct policy_verdict *v)
{
	v->decision = POLICY_REFUSE_PERM;
	v->why = POLICY_WHY_NOBODY;
	v->text[0] = '\0';
	v->steps[0].met = POLICY_MET_REFUSE;
	snprintf(v->key, sizeof(v->key), "%s", v->steps[0].key);
}

bool
facts_needs_login(struct policy_verdict *v)
{
	if ((facts_features(v->text) & FACTS_NEED_AUTH) == 0)
		return false;
	refuse_by_letter(v);
	return true;
}

bool
facts_forbids_login(struct policy_verdict *v)
{
	if ((facts_features(v->text) & FACTS_NO_AUTH) == 0)
		return false;
	refuse_by_letter(v);
	v->code = smtp_reply_code(R_AUTH_MECHANISM);
	snprintf(
	    v->esc, sizeof(v->esc), "%s", smtp_reply_status(R_AUTH_MECHANISM));
	reply_text(R_AUTH_MECHANISM, "", "", v->text, sizeof(v->text));
	return true;
}
