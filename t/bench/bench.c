/*
 * bench.c: addresses and listening sockets for the programs of t/bench.
 */
#include <netdb.h>

#include "bench.h"

void
bench_address(
    const char *text, struct sockaddr_storage *address, socklen_t *len)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM };
	char *copy = strdup(text), *host = copy, *port;
	struct addrinfo *ai;

	if (host == NULL || (port = strrchr(host, ':')) == NULL)
		bench_die("%s: ADDRESS:PORT is expected", text);
	*port++ = '\0';
	if (*host == '[' && port[-2] == ']') {
		port[-2] = '\0';
		host++;
	}
	if (getaddrinfo(host, port, &hints, &ai) != 0)
		bench_die("%s: no such address", text);
	memcpy(address, ai->ai_addr, ai->ai_addrlen);
	*len = ai->ai_addrlen;
	freeaddrinfo(ai);
	free(copy);
}

int
bench_listen(const char *text)
{
	struct sockaddr_storage address;
	struct sockaddr_in6 bound = { 0 };
	socklen_t len, boundlen = sizeof(bound);
	int one = 1, fd;

	bench_address(text, &address, &len);
	fd = socket(
	    address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1 ||
	    bind(fd, (struct sockaddr *)&address, len) == -1 ||
	    listen(fd, 1024) == -1 ||
	    getsockname(fd, (struct sockaddr *)&bound, &boundlen) == -1)
		bench_die("%s: %s", text, strerror(errno));
	/* The port stands at the same place for both families. */
	printf("%u\n", ntohs(bound.sin6_port));
	fflush(stdout);
	return fd;
}
