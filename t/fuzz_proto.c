/*
 * submitd/proto.c. Any bytes are a packet or are refused with a reason. What
 * is taken stays inside the packet, ends where it says, and packs to the same
 * bytes again: there is one way to write each message.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned char again[PROTO_MAX];

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	enum msg_type type = M_TYPE_COUNT;
	const char *why = NULL;
	unsigned char *packet;
	uint64_t sid = 0;
	union msg m;

	if (len == 0 || len > PROTO_MAX || (packet = malloc(len)) == NULL)
		return 0;
	memcpy(packet, data, len);
	if (proto_unpack(packet, len, &type, &sid, &m, &why) == -1) {
		if (why == NULL)
			abort();
	} else if (proto_pack(type, sid, &m, again, sizeof(again)) != len ||
	    memcmp(again, packet, len) != 0) {
		abort();
	}
	free(packet);
	return 0;
}
