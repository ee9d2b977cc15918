/*
 * The session under arbitrary client bytes: a whole dialogue, with messages by
 * DATA and BDAT. session_rig.h says what is played and checked.
 *
 * The first byte of the input chooses the size of the pieces the rest is fed
 * in, and whether TLS stands; the second how auth, queue and the configuration
 * are. Under TLS, while no time passes, the same bytes in other pieces bring
 * the same replies and messages, for otherwise content could turn into
 * commands.
 */
#include <stdlib.h>
#include <string.h>

#include "session_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct session_rig_input in;
	struct session_rig_heard a, b;

	if (len < 2)
		return 0;
	in = (struct session_rig_input){ .data = data + 2,
		.len = len - 2,
		.mode = data[1],
		.implicit = (data[0] & 0x80) != 0,
		.piece = (data[0] & 0x7f) + 1u,
		.step = 1000 };
	a = session_rig_play(&in);
	session_rig_clear(&a);
	if (!in.implicit)
		return 0;
	in.step = 0;
	a = session_rig_play(&in);
	in.piece = len;
	b = session_rig_play(&in);
	if (a.all.len != b.all.len ||
	    (a.all.len > 0 &&
		memcmp(buf_head(&a.all), buf_head(&b.all), a.all.len) != 0))
		abort();
	session_rig_clear(&a);
	session_rig_clear(&b);
	return 0;
}
