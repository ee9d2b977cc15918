/*
 * bench.h: what the programs of t/bench share: clock, numbers, sockets (some of
 * it in bench.c), a growing buffer.  All of them end with a message when the
 * machine refuses something; a measurement that limps on is worth nothing.
 */
#ifndef BENCH_H
#define BENCH_H

#include <sys/resource.h>
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench_buf {
	char *data;
	size_t len; /* bytes in data */
	size_t off; /* bytes of them already used up */
	size_t cap;
};

__attribute__((format(printf, 1, 2), noreturn)) static inline void
bench_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* Nanoseconds of the monotonic clock, comparable between processes. */
static inline uint64_t
bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* User and system time of this process, in seconds. */
static inline double
bench_cpu(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
	    (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

static inline unsigned long
bench_number(const char *name, const char *text, unsigned long max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || *text == '-' ||
	    n > max)
		bench_die("%s: a number up to %lu is expected", name, max);
	return n;
}

static inline void
bench_nodelay(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1)
		bench_die("TCP_NODELAY: %s", strerror(errno));
}

/*
 * A listening socket that does not block; text is ADDRESS:PORT, an address of
 * IPv6 in brackets. Port 0 is any; the port is printed in a line of its own.
 */
int bench_listen(const char *text);
/* The address of such a text; *len is its length. */
void bench_address(
    const char *text, struct sockaddr_storage *address, socklen_t *len);

/* As many descriptors as the hard limit allows. */
static inline void
bench_raise_files(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static inline void
bench_buf_add(struct bench_buf *b, const void *data, size_t len)
{
	if (b->cap - b->len < len) {
		b->cap = (b->len + len) * 2;
		if ((b->data = realloc(b->data, b->cap)) == NULL)
			bench_die("out of memory");
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

__attribute__((format(printf, 2, 3))) static inline void
bench_buf_fmt(struct bench_buf *b, const char *fmt, ...)
{
	char line[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		bench_die("a line is too long");
	bench_buf_add(b, line, (size_t)n);
}

static inline void
bench_buf_clear(struct bench_buf *b)
{
	free(b->data);
	*b = (struct bench_buf){ 0 };
}

#endif
