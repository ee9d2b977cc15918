/* submitd/proto.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/proto.h"

enum { HEADER = 16 };
#define SID UINT64_C(0x0000070000000009)

/* Any bytes with the alignment that proto_unpack() asks for. */
static _Alignas(max_align_t) unsigned char packet[PROTO_MAX];
static union msg out;

static int
unpack(size_t len, const char **why)
{
	enum msg_type type;
	uint64_t sid;

	return proto_unpack(packet, len, &type, &sid, &out, why);
}

/* Packs a message, unpacks it, and packs that again: the bytes are the same. */
static size_t
round_trip(enum msg_type type, const void *msg)
{
	static unsigned char again[PROTO_MAX];
	const char *why = NULL;
	enum msg_type t = M_TYPE_COUNT;
	uint64_t sid = 0;
	size_t len = proto_pack(type, SID, msg, packet, sizeof(packet));

	if (len == 0)
		fail_msg("%s: cannot be packed", proto_name(type));
	if (proto_unpack(packet, len, &t, &sid, &out, &why) == -1)
		fail_msg("%s: %s", proto_name(type), why);
	assert_int_equal(t, type);
	assert_true(sid == SID);
	assert_int_equal(
	    proto_pack(type, SID, &out, again, sizeof(again)), len);
	assert_memory_equal(again, packet, len);
	return len;
}

/* Zeroes are a message of every type: empty strings and blobs. */
static void
test_every_type(void **state)
{
	union msg zero;
	int t;

	(void)state;
	memset(&zero, 0, sizeof(zero));
	for (t = 0; t < M_TYPE_COUNT; t++)
		round_trip((enum msg_type)t, &zero);
}

static void
test_values(void **state)
{
	struct m_session s = { .client_addr = "2001:db8::1",
		.client_port = 65535,
		.client_name = "laptop.example.org",
		.resolve = RESOLVE_FORGED,
		.helo = "\xc3\xa4",
		.tls_bits = 256,
		.chain = { "\0\1\2\xff", 4 },
		.tls_exporter = { "0123456789abcdef", 16 } };
	struct m_grant g = { .user_id = INT64_MIN, .user = "ann", .how = "" };
	struct m_submit m = { .txn = UINT32_MAX,
		.size = UINT64_MAX,
		.body_kind = BODY_8BITMIME,
		.body = { "a\0b", 3 } };

	(void)state;
	round_trip(M_SESSION, &s);
	assert_string_equal(out.session.client_addr, "2001:db8::1");
	assert_int_equal(out.session.client_port, 65535);
	assert_string_equal(out.session.client_name, "laptop.example.org");
	assert_int_equal(out.session.resolve, RESOLVE_FORGED);
	assert_string_equal(out.session.helo, "\xc3\xa4");
	assert_string_equal(out.session.tls_cipher, ""); /* NULL was given */
	assert_int_equal(out.session.chain.len, 4);
	assert_memory_equal(out.session.chain.p, "\0\1\2\xff", 4);
	assert_int_equal(out.session.tls_exporter.len, 16);
	assert_int_equal(out.session.tls_endpoint.len, 0);

	round_trip(M_GRANT, &g);
	assert_true(out.grant.user_id == INT64_MIN);
	assert_string_equal(out.grant.user, "ann");

	round_trip(M_SUBMIT, &m);
	assert_true(out.submit.txn == UINT32_MAX);
	assert_true(out.submit.size == UINT64_MAX);
	assert_int_equal(out.submit.in_file, 0);
	assert_memory_equal(out.submit.body.p, "a\0b", 3);
}

/* The longest value of a field passes, one byte more does not. */
static void
test_bounds(void **state)
{
	static char text[BODY_INLINE_MAX + 2];
	static const struct {
		const char *name;
		enum msg_type type;
		size_t max;
	} rows[] = {
		{ "address of a sender", M_MAIL, 320 },
		{ "sentence of a kill", M_SESSION_KILL, 1024 },
		{ "inline body", M_SUBMIT, BODY_INLINE_MAX },
		{ "inline body of a job", M_JOB_BODY, BODY_INLINE_MAX },
		{ "SASL response", M_AUTH_STEP, 12288 },
	};
	union msg m;
	size_t i, n, len;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (n = rows[i].max; n <= rows[i].max + 1; n++) {
			struct blob b = { text, n };
			char *cut = strndup(text, n);

			memset(&m, 0, sizeof(m));
			if (rows[i].type == M_MAIL)
				m.mail.from = cut;
			else if (rows[i].type == M_SESSION_KILL)
				m.text.text = cut;
			else if (rows[i].type == M_SUBMIT)
				m.submit.body = b;
			else if (rows[i].type == M_JOB_BODY)
				m.job_body.body = b;
			else
				m.auth_step.data = b;
			len = proto_pack(
			    rows[i].type, 0, &m, packet, sizeof(packet));
			free(cut);
			if ((len != 0) != (n == rows[i].max))
				fail_msg("%s: %zu bytes, packed %zu",
				    rows[i].name, n, len);
		}
	}
}

static void
test_buffer_too_small(void **state)
{
	struct m_rcpt m = { .txn = 1, .to = "bo@example.net" };
	size_t len = proto_pack(M_RCPT, SID, &m, packet, sizeof(packet)), n;

	(void)state;
	assert_int_equal(len, HEADER + 4 + 4 + 14 + 1 + 1 + 4 + 1);
	for (n = 0; n < len; n++)
		assert_int_equal(proto_pack(M_RCPT, SID, &m, packet, n), 0);
	assert_int_equal(proto_pack(M_RCPT, SID, &m, packet, len), len);
}

/* No prefix of a message is a message, and nothing may follow it. */
static void
test_length(void **state)
{
	struct m_submit m = { .txn = 1, .size = 5, .body = { "hello", 5 } };
	size_t len = round_trip(M_SUBMIT, &m), n;
	const char *why = NULL;

	(void)state;
	for (n = 0; n < len; n++) {
		assert_int_equal(unpack(n, &why), -1);
		assert_string_equal(why, "packet too short");
	}
	packet[len] = 0;
	assert_int_equal(unpack(len + 1, &why), -1);
	assert_string_equal(why, "bytes after the last field");
}

static void
put32(size_t at, uint32_t v)
{
	memcpy(packet + at, &v, sizeof(v));
}

/* M_RCPT: txn at 16, length of `to` at 20, its bytes from 24 on. */
static void
test_broken_packets(void **state)
{
	static const struct {
		const char *name;
		size_t at;
		uint32_t v; /* put there */
		const char *why;
	} rows[] = {
		{ "unknown type", 0, M_TYPE_COUNT, "unknown type" },
		{ "type 65535", 0, 0xffff, "unknown type" },
		{ "reserved bits beside the type", 0, 1u << 16 | M_RCPT,
		    "unknown type" },
		{ "reserved word", 4, 1, "unknown type" },
		{ "string longer than its bound", 20, 321, "field too long" },
		{ "string of 4 GB", 20, UINT32_MAX, "field too long" },
		{ "string longer than the packet", 20, 200,
		    "packet too short" },
		{ "string shorter than it is", 20, 13,
		    "NUL inside a string, or none at its end" },
		{ "NUL inside", 24, 0,
		    "NUL inside a string, or none at its end" },
	};
	struct m_rcpt m = { .txn = 1, .to = "bo@example.net" };
	const char *why;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = proto_pack(M_RCPT, SID, &m, packet, sizeof(packet));
		put32(rows[i].at, rows[i].v);
		why = NULL;
		if (unpack(len, &why) != -1 || why == NULL ||
		    strcmp(why, rows[i].why) != 0)
			fail_msg("%s: %s", rows[i].name,
			    why != NULL ? why : "taken");
	}
	/* no NUL at the end */
	len = proto_pack(M_RCPT, SID, &m, packet, sizeof(packet));
	packet[len - 1] = 'x';
	assert_int_equal(unpack(len, &why), -1);
}

/* Numbers above what their enum or flag has. */
static void
test_numbers_out_of_range(void **state)
{
	static const struct {
		const char *name;
		enum msg_type type;
		union msg m;
	} rows[] = {
		{ "kind of a PEM", M_PEM, { .pem.kind = PEM_KIND_COUNT } },
		{ "kind of a listener", M_LISTEN,
		    { .listen.kind = LISTEN_CONTROL + 1 } },
		{ "part of a table", M_TABLE,
		    { .table.part = TABLE_REGION + 1 } },
		{ "role of a peer", M_PEER, { .peer.role = ROLE_COUNT } },
		{ "body kind", M_MAIL, { .mail.opt.body = BODY_BINARYMIME + 1 } },
		{ "flag that is no flag", M_SUBMIT, { .submit.in_file = 2 } },
		{ "flags of a recipient", M_ENVELOPE_RCPT,
		    { .envelope_rcpt.flags = 4 } },
		{ "result of a job", M_JOB_RESULT,
		    { .job_result.result = RESULT_FAILED + 1 } },
		{ "trouble", M_RELAY_STATE,
		    { .relay_state.trouble = TROUBLE_LOCAL + 1 } },
		{ "reply code", M_VERDICT, { .verdict.code = 600 } },
		{ "not empty", M_READY, { .empty.unused = 1 } },
	};
	const char *why;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		why = NULL;
		len = proto_pack(
		    rows[i].type, 0, &rows[i].m, packet, sizeof(packet));
		if (unpack(len, &why) != -1 || why == NULL ||
		    strcmp(why, "number out of range") != 0)
			fail_msg("%s: %s", rows[i].name,
			    why != NULL ? why : "taken");
	}
}

static void
test_names(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < M_TYPE_COUNT; i++)
		assert_string_not_equal(proto_name((enum msg_type)i), "?");
	assert_string_equal(proto_name(M_TYPE_COUNT), "?");
	for (i = 0; i < ROLE_COUNT; i++)
		assert_int_equal(role_by_name(role_name((enum role)i)), i);
	assert_int_equal(role_by_name("root"), ROLE_COUNT);
	assert_string_equal(role_name(ROLE_COUNT), "?");
}

/* Descriptors: only these, all of which a more trusted role sends. */
static void
test_descriptors(void **state)
{
	static const enum msg_type with[] = { M_PEM, M_LISTEN, M_TABLE,
		M_PEER, M_LOG, M_BODY_FD, M_JOB_BODY };
	unsigned n = 0;
	size_t i;
	int t;

	(void)state;
	for (t = 0; t < M_TYPE_COUNT; t++)
		n += proto_may_carry_fd((enum msg_type)t);
	assert_int_equal(n, sizeof(with) / sizeof(with[0]));
	for (i = 0; i < sizeof(with) / sizeof(with[0]); i++)
		assert_true(proto_may_carry_fd(with[i]));
	assert_false(proto_may_carry_fd(M_TYPE_COUNT));
}

static void
test_instance(void **state)
{
	(void)state;
	assert_int_equal(sid_instance(SID), 7);
	assert_int_equal(sid_instance(UINT64_MAX), 0xffffff);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_buffer_too_small),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_broken_packets),
		cmocka_unit_test(test_numbers_out_of_range),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_instance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
