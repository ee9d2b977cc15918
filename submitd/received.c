/* Received, Date and Message-ID. */
#include "received.h"

#include <stdio.h>
#include <string.h>

enum {
	LINE_MAX_LEN = 77,
	NAME_MAX_LEN = 255, /* of a host */
	WORD_MAX_LEN = 128, /* of the other words */
};

/* The field so far. */
struct field {
	char *buf;
	size_t size, len;
	size_t col; /* length of the last line, a tab counted as 8 */
	bool full;
};

static void
put(struct field *f, const char *s, size_t n)
{
	if (f->full || f->size - f->len <= n) {
		f->full = true;
		return;
	}
	memcpy(f->buf + f->len, s, n);
	f->len += n;
	f->buf[f->len] = '\0';
	f->col += n;
}

/* Begins a unit of n bytes that must not be folded: on a new line if need be. */
static void
begin(struct field *f, size_t n)
{
	if (f->col + 1 + n <= LINE_MAX_LEN) {
		put(f, " ", 1);
		return;
	}
	put(f, "\r\n\t", 3);
	f->col = 8;
}

/* Copies at most max bytes of s, those that could end a word as '?'. */
static size_t
clean(const char *s, size_t max, char *out)
{
	size_t n;

	for (n = 0; s[n] != '\0' && n < max; n++) {
		out[n] = s[n];
		if (s[n] <= ' ' || s[n] >= 0x7f ||
		    strchr("()<>\"\\;,", s[n]) != NULL)
			out[n] = '?';
	}
	out[n] = '\0';
	return n;
}

/* Adds "pre VALUE post" as a unit. */
static void
unit(struct field *f, const char *pre, const char *value, size_t max,
    const char *post)
{
	char word[NAME_MAX_LEN + 1];
	size_t n = clean(value, max, word);

	begin(f, strlen(pre) + n + strlen(post));
	put(f, pre, strlen(pre));
	put(f, word, n);
	put(f, post, strlen(post));
}

/* "(name [192.0.2.1])" and "(login ann)". */
static void
trace(struct field *f, const struct received *r)
{
	bool v6 = r->client_addr != NULL && strchr(r->client_addr, ':') != NULL;

	if (r->client_name != NULL)
		unit(f, "(", r->client_name, NAME_MAX_LEN,
		    r->client_addr == NULL ? ")" : "");
	if (r->client_addr != NULL && r->client_name != NULL)
		unit(
		    f, v6 ? "[IPv6:" : "[", r->client_addr, WORD_MAX_LEN, "])");
	else if (r->client_addr != NULL)
		unit(f, v6 ? "([IPv6:" : "([", r->client_addr, WORD_MAX_LEN,
		    "])");
	if (r->login != NULL)
		unit(f, "(login ", r->login, WORD_MAX_LEN, ")");
}

size_t
received_make(const struct received *r, char *buf, size_t size)
{
	struct field f = { .buf = buf, .size = size, .full = size == 0 };
	bool tls = r->tls && r->tls_cipher != NULL;
	char proto[16]; /* "UTF8SMTPSA"; RFC 3848, RFC 6531 4.3 */

	snprintf(proto, sizeof(proto), "%s%s%s",
	    !r->esmtp     ? "SMTP"
		: r->utf8 ? "UTF8SMTP"
			  : "ESMTP",
	    r->esmtp && r->tls ? "S" : "", r->esmtp && r->auth ? "A" : "");
	/* Apart from its word, so that there is one on the first line: some
	 * readers take a field for empty that begins with a fold. */
	put(&f, "Received: from", 14);
	unit(&f, "", r->trace_client ? r->ehlo : "unknown", NAME_MAX_LEN, "");
	if (r->trace_client)
		trace(&f, r);
	unit(&f, "by ", r->host, NAME_MAX_LEN, "");
	unit(&f, "with ", proto, WORD_MAX_LEN, "");
	unit(&f, "id ", r->id, WORD_MAX_LEN, tls || r->priority ? "" : ";");
	if (tls)
		unit(&f, "tls ", r->tls_cipher, WORD_MAX_LEN,
		    r->priority ? "" : ";");
	if (r->priority != NULL)
		unit(&f, "PRIORITY ", r->priority, WORD_MAX_LEN, ";");
	begin(&f, strlen(r->date));
	put(&f, r->date, strlen(r->date));
	put(&f, "\r\n", 2);
	return f.full ? 0 : f.len;
}

size_t
received_date(time_t t, int tz_min, char *buf, size_t size)
{
	static const char day[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri",
		"Sat" };
	static const char month[][4] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	int away = tz_min < 0 ? -tz_min : tz_min, n;
	struct tm tm;

	if (size > 0)
		buf[0] = '\0';
	t += (time_t)tz_min * 60;
	if (gmtime_r(&t, &tm) == NULL)
		return 0;
	n = snprintf(buf, size, "%s, %d %s %d %02d:%02d:%02d %c%02d%02d",
	    day[tm.tm_wday], tm.tm_mday, month[tm.tm_mon], tm.tm_year + 1900,
	    tm.tm_hour, tm.tm_min, tm.tm_sec, tz_min < 0 ? '-' : '+', away / 60,
	    away % 60);
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

size_t
message_id_make(
    const void *rnd, size_t len, const char *host, char *buf, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = rnd;
	char hex[2 * 32 + 1];
	size_t i;
	int n;

	if (len > 32)
		len = 32;
	for (i = 0; i < len; i++) {
		hex[2 * i] = digits[p[i] >> 4];
		hex[2 * i + 1] = digits[p[i] & 15];
	}
	hex[2 * len] = '\0';
	n = snprintf(buf, size, "<%s@%s>", hex, host);
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}
