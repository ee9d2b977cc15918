/* The log: formatting with forced escaping, and where lines go. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "logsock.h"

enum { LINE_MAX_LEN = 2000 };

static const char *log_role = "-";
static int log_max = LOG_INFO;
static int log_stderr = 1;
static pid_t log_pid;
static char signal_head[64]; /* of lines that signal handlers write */

struct line {
	char *out;
	size_t size, len;
};

void
log_open(const char *role, int to_stderr, int max_level)
{
	log_role = role;
	log_stderr = to_stderr;
	log_max = max_level;
	log_pid = getpid();
	snprintf(signal_head, sizeof(signal_head), "%s[%d]: warning: ", role,
	    (int)log_pid);
	if (!to_stderr) /* now: a later chroot has no /dev/log */
		logsock_use(logsock_connect());
}

void
log_set_level(int max_level)
{
	log_max = max_level;
}

bool
log_wants(int level)
{
	return level <= log_max;
}

int
log_level(const char *name)
{
	if (strcmp(name, "warning") == 0)
		return LOG_WARNING;
	if (strcmp(name, "info") == 0)
		return LOG_INFO;
	if (strcmp(name, "debug") == 0)
		return LOG_DEBUG;
	return -1;
}

static void
put(struct line *l, char c)
{
	if (l->len + 1 < l->size)
		l->out[l->len++] = c;
}

static void
put_str(struct line *l, const char *s)
{
	while (*s != '\0')
		put(l, *s++);
}

static bool
is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

static void
put_escaped(struct line *l, const char *s)
{
	const unsigned char *p;
	char hex[8];

	if (s == NULL) {
		put(l, '-');
		return;
	}
	for (p = (const unsigned char *)s; is_plain(*p); p++)
		continue;
	if (*p == '\0' && *s != '\0') {
		put_str(l, s);
		return;
	}
	put(l, '"');
	for (p = (const unsigned char *)s; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			put(l, '\\');
		if (*p >= ' ' && *p < 0x7f) {
			put(l, (char)*p);
			continue;
		}
		snprintf(hex, sizeof(hex), "\\x%02x", *p);
		put_str(l, hex);
	}
	put(l, '"');
}

/* Handles one conversion after '%'; returns the character after it. */
static const char *
put_conversion(struct line *l, const char *f, va_list *ap)
{
	char num[32];
	int longs = 0;
	bool size = false;

	for (; *f == 'l' || *f == 'z'; f++) {
		longs += *f == 'l';
		size |= *f == 'z';
	}
	num[0] = '\0';
	if (*f == 's')
		put_escaped(l, va_arg(*ap, const char *));
	else if (*f == 'c')
		put(l, (char)va_arg(*ap, int));
	else if (*f == '%')
		put(l, '%');
	else if (*f == 'd' && (longs > 0 || size))
		snprintf(num, sizeof(num), "%ld", va_arg(*ap, long));
	else if (*f == 'd')
		snprintf(num, sizeof(num), "%d", va_arg(*ap, int));
	else if (*f == 'u' && (longs > 0 || size))
		snprintf(num, sizeof(num), "%lu", va_arg(*ap, unsigned long));
	else if (*f == 'u')
		snprintf(num, sizeof(num), "%u", va_arg(*ap, unsigned));
	else if (*f == 'x' && (longs > 0 || size))
		snprintf(num, sizeof(num), "%lx", va_arg(*ap, unsigned long));
	else if (*f == 'x')
		snprintf(num, sizeof(num), "%x", va_arg(*ap, unsigned));
	else
		abort(); /* a conversion the header does not allow: our bug */
	put_str(l, num);
	return f + 1;
}

static size_t
vformat(char *out, size_t size, uint64_t sid, uint64_t qid, const char *ev,
    const char *fmt, va_list *ap)
{
	struct line l = { .out = out, .size = size };
	char id[64];

	_Static_assert(sizeof(long) == 8, "l and ll are read alike");
	if (qid != 0) {
		snprintf(id, sizeof(id), "qid=%013lx ", (unsigned long)qid);
		put_str(&l, id);
	}
	if (sid != 0) {
		snprintf(id, sizeof(id), "sid=%016lx ", (unsigned long)sid);
		put_str(&l, id);
	}
	put_str(&l, "ev=");
	put_str(&l, ev);
	put(&l, ' ');
	while (*fmt != '\0') {
		if (*fmt == '%')
			fmt = put_conversion(&l, fmt + 1, ap);
		else
			put(&l, *fmt++);
	}
	while (l.len > 0 && out[l.len - 1] == ' ')
		l.len--;
	out[l.len] = '\0';
	return l.len;
}

size_t
log_format(char *out, size_t size, uint64_t sid, uint64_t qid, const char *ev,
    const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = vformat(out, size, sid, qid, ev, fmt, &ap);
	va_end(ap);
	return n;
}

static void
emit(int level, char *line, size_t len)
{
	char all[LINE_MAX_LEN + 64];
	int n;

	if (!log_stderr) {
		logsock_send(level, line);
		return;
	}
	n = snprintf(all, sizeof(all), "%s[%d]: %s%.*s\n", log_role,
	    (int)log_pid, level <= LOG_WARNING ? "warning: " : "", (int)len,
	    line);
	if (write(STDERR_FILENO, all, (size_t)n) == -1)
		return; /* nowhere to say so */
}

void
log_event(
    int level, uint64_t sid, uint64_t qid, const char *ev, const char *fmt, ...)
{
	char line[LINE_MAX_LEN];
	va_list ap;
	size_t n;

	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	n = vformat(line, sizeof(line), sid, qid, ev, fmt, &ap);
	va_end(ap);
	emit(level, line, n);
}

void
log_signal(const char *line, size_t len)
{
	char all[sizeof(signal_head) + 512];
	size_t n = strlen(signal_head);

	if (!log_stderr) {
		logsock_send_raw(line, len);
		return;
	}
	if (len > sizeof(all) - n - 1)
		len = sizeof(all) - n - 1;
	memcpy(all, signal_head, n);
	memcpy(all + n, line, len);
	all[n + len] = '\n';
	if (write(STDERR_FILENO, all, n + len + 1) == -1)
		return;
}

void
log_fatal(int code, const char *fmt, ...)
{
	char line[LINE_MAX_LEN];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = vformat(line, sizeof(line), 0, 0, "fatal", fmt, &ap);
	va_end(ap);
	emit(LOG_ERR, line, n);
	exit(code);
}
