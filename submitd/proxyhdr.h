/*
 * The header by which a load balancer tells whose connection it passes on: the
 * PROXY protocol, versions 1 (a line of text) and 2 (binary).
 *
 * Bytes are fed as they come. What follows the header belongs to the client,
 * perhaps its TLS handshake: proxyhdr_feed() says where the header ends and
 * keeps nothing beyond it.
 *
 * Version 2: the TLVs are skipped, but must fill the header exactly, and a
 * CRC32c among them must be right.
 */
#ifndef SUBMITD_PROXYHDR_H
#define SUBMITD_PROXYHDR_H

#include <stddef.h>
#include <stdint.h>

enum {
	/* Bytes of a whole header. Those with addresses need 52 at most; TLVs
	 * may hold names, certificates' subjects and the like. */
	PROXYHDR_MAX = 4096,
	PROXYHDR_ADDR_MAX = 46, /* text of an address, as inet_ntop() has it */
};

enum proxyhdr_state {
	PROXYHDR_MORE,
	PROXYHDR_DONE,
	PROXYHDR_BAD, /* `why` says what is wrong */
};

struct proxyhdr {
	enum proxyhdr_state state;
	const char *why;
	/* Once it is DONE. Not known (LOCAL, UNKNOWN, UNSPEC, UDP, AF_UNIX):
	 * both are "": the ends of the connection itself count. A mapped
	 * IPv4 address is written as IPv4. */
	char src[PROXYHDR_ADDR_MAX], dst[PROXYHDR_ADDR_MAX];
	uint16_t src_port, dst_port;

	size_t len; /* of buf */
	unsigned char buf[PROXYHDR_MAX];
};

void proxyhdr_init(struct proxyhdr *);

/*
 * Takes bytes until the header is whole or wrong. Returns how many of the n
 * are its own, all of them while it is MORE; call it no more afterwards.
 */
size_t proxyhdr_feed(struct proxyhdr *, const void *, size_t n);

/* CRC-32C (Castagnoli) as RFC 4960 appendix B has it; for tests, too. */
uint32_t proxyhdr_crc32c(const void *, size_t n);

#endif
