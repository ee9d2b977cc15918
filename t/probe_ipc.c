/*
 * The probe's messages: "PEER HOW TYPE".  PEER is a role, parent too.  HOW:
 *
 *	as-is		well-formed, empty fields
 *	foreign		the same, about a session of another front
 *	cut		the last byte is missing
 *	more		one byte too many
 *	length		the length of a field says more than there is (of the
 *			header's zeros, if there is none)
 *	header		the header alone is cut
 *	type		a number that is no type
 *	frame		a packet of several, cut
 *	descriptor	with a descriptor
 *	two		with two of them
 *	empty		a packet of no bytes
 *	close		the socket is shut
 *	complain	not to it, but of it, to parent
 */
#include "probe.h"

#include <sys/socket.h>

#include <stdlib.h>
#include <string.h>

enum { HEADER = 16, PARENT = 3 };

static const enum msg_type none = M_TYPE_COUNT;

static enum msg_type
type_by_name(const char *name)
{
	int t;

	for (t = 0; t < M_TYPE_COUNT; t++)
		if (strcmp(proto_name((enum msg_type)t), name) == 0)
			return (enum msg_type)t;
	return none;
}

static const char *
send_bytes(int to, const void *data, size_t len, int descriptors)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	const int fd[2] = { 0, 1 };
	size_t n = (size_t)descriptors * sizeof(int);

	memcpy(&iov.iov_base, &data, sizeof(data));
	if (descriptors > 0) {
		mh.msg_control = control.space;
		mh.msg_controllen = CMSG_SPACE(n);
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		control.h.cmsg_len = CMSG_LEN(n);
		memcpy(CMSG_DATA(&control.h), fd, n);
	}
	return sendmsg(to, &mh, MSG_NOSIGNAL) == -1 ? "not sent" : NULL;
}

/* A length field, if the message has one, stands right behind the header or
 * near it; what is read there as a number instead is out of range. */
static size_t
spoil_lengths(unsigned char *out, size_t len)
{
	if (len > HEADER)
		memset(out + HEADER, 0xff, len - HEADER);
	else
		out[2] = 1;
	return len;
}

static const char *
send_message(int to, enum msg_type type, const char *how, uint64_t sid)
{
	static const union msg empty;
	static unsigned char out[PROTO_MAX];
	size_t len;
	int descriptors = 0;

	if (strcmp(how, "foreign") == 0)
		sid ^= (uint64_t)1 << SID_COUNTER_BITS;
	len = proto_pack(type, sid, &empty, out, sizeof(out));
	if (strcmp(how, "cut") == 0)
		len--;
	else if (strcmp(how, "more") == 0)
		out[len++] = 0;
	else if (strcmp(how, "length") == 0)
		len = spoil_lengths(out, len);
	else if (strcmp(how, "header") == 0)
		len = HEADER - 1;
	else if (strcmp(how, "type") == 0)
		out[1] = 0x70;
	else if (strcmp(how, "frame") == 0)
		memset(out, 0xff, 2); /* IPC_SEVERAL */
	else if (strcmp(how, "descriptor") == 0)
		descriptors = 1;
	else if (strcmp(how, "two") == 0)
		descriptors = 2;
	else if (strcmp(how, "empty") == 0)
		len = 0;
	return send_bytes(to, out, len, descriptors);
}

static const char *
complain(struct role_setup *s, enum role role, uint32_t instance)
{
	const struct m_bad_peer m = { .role = (uint8_t)role,
		.instance = instance,
		.rejected = 1,
		.error = "as the probe says" };

	return ipc_send(s->parent, M_BAD_PEER, 0, &m) == -1 ? "not sent" : NULL;
}

const char *
probe_ipc(struct role_setup *s, const char *text)
{
	char *copy = strdup(text), *rest = copy;
	const char *peer = strsep(&rest, " "), *how = strsep(&rest, " ");
	enum role role = role_by_name(peer);
	enum msg_type type = rest != NULL ? type_by_name(rest) : M_DRAIN;
	uint64_t sid = (uint64_t)s->instance << SID_COUNTER_BITS | 0xffffff;
	const char *result;
	uint32_t instance = 0;
	int to = role == ROLE_PARENT ? PARENT : role_peer(role, &instance);

	if (to == -1)
		result = "no such peer";
	else if (how == NULL || type == none)
		result = "unknown";
	else if (strcmp(how, "close") == 0)
		result = shutdown(to, SHUT_RDWR) == -1 ? "not shut" : NULL;
	else if (strcmp(how, "complain") == 0)
		result = complain(s, role, instance);
	else
		result = send_message(to, type, how, sid);
	free(copy);
	return result;
}
