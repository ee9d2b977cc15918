/* The table of messages and the one packer and unpacker that reads it. */
#include "proto.h"

#include <string.h>

#include "auth/pace.h"
#include "authors.h"
#include "digest.h"
#include "store/limit.h"

enum kind { END, U8, U16, U32, U64, I64, STR, BLOB };

struct field {
	uint8_t kind;
	uint16_t offset; /* in the message's struct */
	uint32_t max;    /* of an integer, or bytes of a string or blob */
};

struct packet {
	uint16_t type, zero16;
	uint32_t zero32;
	uint64_t sid;
};

enum {
	ADDR_MAX = 64,      /* text of an IP address */
	NAME_MAX_LEN = 255, /* host, user, device, mechanism names */
	PATH_MAX_LEN = 320, /* a mailbox: 64 + 1 + 255 */
	TEXT_MAX = 1024,
	DECISION_RESULT_MAX = 4, /* enum policy_decision */
	HEADERS_RULE_MAX = 2,    /* enum policy_from_header */
	LADDER_LEN = 4095,       /* ladder.h */
	RULED_LEN = 6521,        /* ruled.h */
	SASL_MAX = 12288,        /* RFC 4954 section 4 */
	PASSWORD_MAX = 4096,
	RECORD_LEN = 511, /* of a password */
	CHAIN_MAX = 64 * 1024,
	NUM_MAX = -1 /* any value of the type */
};

/* clang-format off */
#define F(k, type, member, max) { k, offsetof(struct type, member), (uint32_t)(max) }
#define FIELDS(name) static const struct field name[]
/* the members of struct mail_options and of struct rcpt_options */
#define MAIL_OPTIONS(type) \
	F(U8, type, opt.body, BODY_BINARYMIME), \
	F(U8, type, opt.utf8, 1), \
	F(U8, type, opt.require_tls, 1), \
	F(U8, type, opt.ret, RET_HDRS), \
	F(U8, type, opt.by_mode, BY_RETURN), \
	F(U8, type, opt.by_trace, 1), \
	F(U8, type, opt.priority, PRIORITY_MAX), \
	F(I64, type, opt.by_ms, 0), \
	F(I64, type, opt.hold_ms, 0), \
	F(STR, type, opt.envid, ENVID_MAX), \
	F(STR, type, opt.auth, MAIL_AUTH_MAX)
#define RCPT_OPTIONS(type) \
	F(U8, type, opt.notify, 15), \
	F(STR, type, opt.orcpt, ORCPT_MAX)

FIELDS(f_empty) = { F(U8, m_empty, unused, 0), { 0 } };
FIELDS(f_text) = { F(STR, m_text, text, TEXT_MAX), { 0 } };
FIELDS(f_conf) = { F(BLOB, m_conf, pairs, 64 * 1024), { 0 } };
FIELDS(f_pem) = {
	F(U8, m_pem, kind, PEM_KIND_COUNT - 1),
	F(BLOB, m_pem, data, 64 * 1024), { 0 } };
FIELDS(f_listen) = {
	F(U8, m_listen, kind, LISTEN_CONTROL),
	F(STR, m_listen, name, TEXT_MAX), { 0 } };
FIELDS(f_table) = {
	F(U8, m_table, part, TABLE_REGION),
	F(U32, m_table, region, NUM_MAX),
	F(U32, m_table, regions, NUM_MAX),
	F(U32, m_table, entries, NUM_MAX),
	F(U64, m_table, seed, 0), { 0 } };
FIELDS(f_peer) = {
	F(U8, m_peer, role, ROLE_COUNT - 1),
	F(U32, m_peer, instance, NUM_MAX), { 0 } };
FIELDS(f_start) = { F(U32, m_start, instance, NUM_MAX), { 0 } };
FIELDS(f_drain) = {
	F(U32, m_drain, grace_ms, NUM_MAX),
	F(U8, m_drain, stop, 1), { 0 } };
FIELDS(f_role) = {
	F(U8, m_role, role, ROLE_COUNT - 1),
	F(U32, m_role, instance, NUM_MAX),
	F(U32, m_role, pid, NUM_MAX),
	F(STR, m_role, state, 32), { 0 } };
FIELDS(f_rehash) = {
	F(STR, m_rehash, user, NAME_MAX_LEN),
	F(I64, m_rehash, device, NUM_MAX),
	F(STR, m_rehash, old, RECORD_LEN),
	F(STR, m_rehash, sha256, RECORD_LEN),
	F(STR, m_rehash, sha1, RECORD_LEN), { 0 } };
FIELDS(f_bad_peer) = {
	F(U8, m_bad_peer, role, ROLE_COUNT - 1),
	F(U32, m_bad_peer, instance, NUM_MAX),
	F(U8, m_bad_peer, rejected, 1),
	F(STR, m_bad_peer, error, TEXT_MAX), { 0 } };
FIELDS(f_session) = {
	F(STR, m_session, client_addr, ADDR_MAX),
	F(U16, m_session, client_port, NUM_MAX),
	F(STR, m_session, client_name, NAME_MAX_LEN),
	F(U8, m_session, resolve, RESOLVE_PENDING),
	F(STR, m_session, server_addr, ADDR_MAX),
	F(U16, m_session, server_port, NUM_MAX),
	F(U8, m_session, listen_kind, LISTEN_TLS),
	F(STR, m_session, helo, NAME_MAX_LEN),
	F(STR, m_session, tls_version, 16),
	F(STR, m_session, tls_cipher, 64),
	F(U16, m_session, tls_bits, NUM_MAX),
	F(BLOB, m_session, chain, CHAIN_MAX),
	F(BLOB, m_session, tls_exporter, 64),
	F(BLOB, m_session, tls_unique, 64),
	F(BLOB, m_session, tls_endpoint, 64), { 0 } };
FIELDS(f_session_facts) = {
	F(STR, m_session_facts, verify, 16),
	F(STR, m_session_facts, verify_reason, TEXT_MAX),
	F(STR, m_session_facts, cert_fp, 64),
	F(STR, m_session_facts, cert_user, NAME_MAX_LEN),
	F(U32, m_session_facts, mechs, NUM_MAX),
	F(U8, m_session_facts, no_pipelining, 1),
	F(U16, m_session_facts, refuse_code, 599),
	F(STR, m_session_facts, refuse_esc, 12),
	F(STR, m_session_facts, refuse_text, TEXT_MAX), { 0 } };
FIELDS(f_auth_start) = {
	F(STR, m_auth_start, mech, 32),
	F(U8, m_auth_start, has_initial, 1),
	F(BLOB, m_auth_start, data, SASL_MAX),
	F(STR, m_auth_start, helo, NAME_MAX_LEN), { 0 } };
FIELDS(f_auth_step) = { F(BLOB, m_auth_step, data, SASL_MAX), { 0 } };
FIELDS(f_auth_challenge) = { F(BLOB, m_auth_challenge, data, SASL_MAX), { 0 } };
FIELDS(f_auth_result) = {
	F(U16, m_auth_result, reply, NUM_MAX),
	F(STR, m_auth_result, user, NAME_MAX_LEN),
	F(STR, m_auth_result, mech, 32), { 0 } };
FIELDS(f_mail) = {
	F(U32, m_mail, txn, NUM_MAX),
	F(STR, m_mail, from, PATH_MAX_LEN),
	F(U64, m_mail, size, 0),
	MAIL_OPTIONS(m_mail),
	F(STR, m_mail, helo, NAME_MAX_LEN), { 0 } };
FIELDS(f_rcpt) = {
	F(U32, m_rcpt, txn, NUM_MAX),
	F(STR, m_rcpt, to, PATH_MAX_LEN),
	RCPT_OPTIONS(m_rcpt), { 0 } };
FIELDS(f_headers) = {
	F(U32, m_headers, txn, NUM_MAX),
	F(BLOB, m_headers, authors, AUTHORS_LIST_MAX), { 0 } };
FIELDS(f_verdict) = {
	F(U32, m_verdict, txn, NUM_MAX),
	F(U8, m_verdict, on, VERDICT_HEADERS),
	F(U8, m_verdict, allow, 1),
	F(U16, m_verdict, reply, NUM_MAX),
	F(U16, m_verdict, code, 599),
	F(STR, m_verdict, esc, 12),
	F(STR, m_verdict, text, TEXT_MAX),
	F(STR, m_verdict, more, TEXT_MAX),
	F(STR, m_verdict, user, NAME_MAX_LEN),
	F(U8, m_verdict, priority, PRIORITY_MAX),
	F(U8, m_verdict, headers, HEADERS_RULE_MAX), { 0 } };
FIELDS(f_pam_check) = {
	F(U32, m_pam_check, ticket, NUM_MAX),
	F(U8, m_pam_check, how, PAM_BY_SASLAUTHD),
	F(STR, m_pam_check, user, NAME_MAX_LEN),
	F(BLOB, m_pam_check, password, PASSWORD_MAX),
	F(STR, m_pam_check, client_addr, ADDR_MAX), { 0 } };
FIELDS(f_token_check) = {
	F(U32, m_token_check, ticket, NUM_MAX),
	F(BLOB, m_token_check, token, SASL_MAX), { 0 } };
FIELDS(f_pam_result) = {
	F(U32, m_pam_result, ticket, NUM_MAX),
	F(U8, m_pam_result, verdict, PAM_TEMP),
	F(STR, m_pam_result, user, NAME_MAX_LEN),
	F(STR, m_pam_result, detail, TEXT_MAX), { 0 } };
FIELDS(f_grant) = {
	F(I64, m_grant, user_id, 0),
	F(STR, m_grant, user, NAME_MAX_LEN),
	F(STR, m_grant, how, 32),
	F(STR, m_grant, client_addr, ADDR_MAX),
	F(I64, m_grant, device, 0),
	F(BLOB, m_grant, limits, 2 * sizeof(struct limits)), { 0 } };
FIELDS(f_envelope) = {
	F(U32, m_envelope, txn, NUM_MAX),
	F(STR, m_envelope, from, PATH_MAX_LEN),
	F(U64, m_envelope, size, 0),
	MAIL_OPTIONS(m_envelope),
	F(U8, m_envelope, headers, 1), { 0 } };
FIELDS(f_envelope_rcpt) = {
	F(U32, m_envelope_rcpt, txn, NUM_MAX),
	F(STR, m_envelope_rcpt, to, PATH_MAX_LEN),
	F(U8, m_envelope_rcpt, flags, 3),
	F(STR, m_envelope_rcpt, note, TEXT_MAX),
	RCPT_OPTIONS(m_envelope_rcpt), { 0 } };
FIELDS(f_alarm) = {
	F(STR, m_alarm, what, 32),
	F(STR, m_alarm, trouble, 32),
	F(STR, m_alarm, text, TEXT_MAX), { 0 } };
FIELDS(f_throttle_ask) = {
	F(U32, m_throttle_ask, ticket, NUM_MAX),
	F(STR, m_throttle_ask, user, NAME_MAX_LEN),
	F(STR, m_throttle_ask, client_addr, ADDR_MAX), { 0 } };
FIELDS(f_auth_seen) = {
	F(U32, m_auth_seen, ticket, NUM_MAX),
	F(U8, m_auth_seen, result, SEEN_OTHER),
	F(STR, m_auth_seen, user, NAME_MAX_LEN),
	F(I64, m_auth_seen, device, 0),
	F(STR, m_auth_seen, client_addr, ADDR_MAX),
	F(STR, m_auth_seen, client, NAME_MAX_LEN),
	F(U64, m_auth_seen, wrong, 0),
	F(U8, m_auth_seen, judge, PACE_NONE),
	F(U32, m_auth_seen, took_ms, NUM_MAX), { 0 } };
FIELDS(f_throttle_answer) = {
	F(U32, m_throttle_answer, ticket, NUM_MAX),
	F(U8, m_throttle_answer, refuse, 1),
	F(U32, m_throttle_answer, delay_ms, NUM_MAX),
	F(U8, m_throttle_answer, again, 1),
	F(U32, m_throttle_answer, pace_ms, NUM_MAX), { 0 } };
FIELDS(f_decision) = {
	F(U32, m_decision, txn, NUM_MAX),
	F(U8, m_decision, phase, DECISION_HEADERS),
	F(U8, m_decision, result, DECISION_RESULT_MAX),
	F(STR, m_decision, why, 32),
	F(U16, m_decision, code, 599),
	F(STR, m_decision, esc, 12),
	F(STR, m_decision, text, TEXT_MAX),
	F(STR, m_decision, user, NAME_MAX_LEN),
	F(I64, m_decision, device, 0),
	F(STR, m_decision, how, 32),
	F(STR, m_decision, client_addr, ADDR_MAX),
	F(STR, m_decision, client_name, NAME_MAX_LEN),
	F(STR, m_decision, verify, 16),
	F(U16, m_decision, bits, NUM_MAX),
	F(STR, m_decision, cn, TEXT_MAX),
	F(STR, m_decision, subject, TEXT_MAX),
	F(STR, m_decision, issuer, TEXT_MAX),
	F(STR, m_decision, sender, PATH_MAX_LEN),
	F(STR, m_decision, rcpt, PATH_MAX_LEN),
	F(STR, m_decision, key, TEXT_MAX),
	F(STR, m_decision, ladder, LADDER_LEN), { 0 } };
FIELDS(f_data_open) = {
	F(U32, m_data_open, txn, NUM_MAX),
	F(U32, m_data_open, rcpts, NUM_MAX), { 0 } };
FIELDS(f_txn) = { F(U32, m_txn, txn, NUM_MAX), { 0 } };
FIELDS(f_data_ready) = {
	F(U32, m_data_ready, txn, NUM_MAX),
	F(U16, m_data_ready, reply, NUM_MAX),
	F(U64, m_data_ready, qid, 0),
	F(STR, m_data_ready, text, TEXT_MAX),
	F(U64, m_data_ready, max_size, 0), { 0 } };
FIELDS(f_submit) = {
	F(U32, m_submit, txn, NUM_MAX),
	F(U64, m_submit, size, 0),
	F(U8, m_submit, body_kind, BODY_BINARYMIME),
	F(U8, m_submit, in_file, 1),
	F(U8, m_submit, has_id, 1),
	F(U8, m_submit, own_author, 1),
	F(BLOB, m_submit, digest, DIGEST_LEN),
	F(BLOB, m_submit, body, BODY_INLINE_MAX), { 0 } };
FIELDS(f_submitted) = {
	F(U32, m_submitted, txn, NUM_MAX),
	F(U16, m_submitted, reply, NUM_MAX),
	F(U64, m_submitted, qid, 0), { 0 } };
FIELDS(f_job) = {
	F(U64, m_job, qid, 0),
	F(STR, m_job, from, PATH_MAX_LEN),
	F(U64, m_job, size, 0),
	F(U32, m_job, rcpts, NUM_MAX),
	MAIL_OPTIONS(m_job), { 0 } };
FIELDS(f_job_rcpt) = {
	F(U64, m_job_rcpt, qid, 0),
	F(U32, m_job_rcpt, n, NUM_MAX),
	F(STR, m_job_rcpt, to, PATH_MAX_LEN),
	RCPT_OPTIONS(m_job_rcpt), { 0 } };
FIELDS(f_job_body) = {
	F(U64, m_job_body, qid, 0),
	F(BLOB, m_job_body, body, BODY_INLINE_MAX), { 0 } };
FIELDS(f_job_result) = {
	F(U64, m_job_result, qid, 0),
	F(U32, m_job_result, n, NUM_MAX),
	F(U8, m_job_result, result, RESULT_FAILED),
	F(U8, m_job_result, trouble, TROUBLE_LOCAL),
	F(U16, m_job_result, code, 999),
	F(STR, m_job_result, esc, 12),
	F(STR, m_job_result, text, TEXT_MAX),
	F(STR, m_job_result, mta, TEXT_MAX),
	F(U8, m_job_result, alone, 1),
	F(STR, m_job_result, ruled, RULED_LEN),
	F(U8, m_job_result, handed, HANDED_ALL), { 0 } };
FIELDS(f_job_done) = { F(U64, m_job_done, qid, 0), { 0 } };
FIELDS(f_relay_state) = {
	F(U8, m_relay_state, up, 1),
	F(U8, m_relay_state, trouble, TROUBLE_LOCAL),
	F(U32, m_relay_state, connections, NUM_MAX),
	F(STR, m_relay_state, text, TEXT_MAX), { 0 } };
FIELDS(f_server_rules) = {
	F(U8, m_server_rules, kinds, SERVER_RULES),
	F(U64, m_server_rules, mark, 0), { 0 } };
FIELDS(f_server_tls) = {
	F(U64, m_server_tls, id, 0),
	F(U8, m_server_tls, ask, SERVER_ASK_RCPT),
	F(STR, m_server_tls, host, NAME_MAX_LEN),
	F(STR, m_server_tls, addr, ADDR_MAX),
	F(STR, m_server_tls, verify, 16),
	F(U16, m_server_tls, tls_bits, NUM_MAX),
	F(BLOB, m_server_tls, chain, SERVER_CHAIN_MAX), { 0 } };
FIELDS(f_server_rcpt) = {
	F(U64, m_server_rcpt, id, 0),
	F(U32, m_server_rcpt, n, NUM_MAX),
	F(STR, m_server_rcpt, to, PATH_MAX_LEN), { 0 } };
FIELDS(f_server_verdict) = {
	F(U64, m_server_verdict, id, 0),
	F(U32, m_server_verdict, n, NUM_MAX),
	F(U8, m_server_verdict, verdict, SERVER_UNKNOWN),
	F(STR, m_server_verdict, esc, 12),
	F(STR, m_server_verdict, text, TEXT_MAX),
	F(STR, m_server_verdict, ruled, RULED_LEN), { 0 } };
FIELDS(f_resolve) = {
	F(U64, m_resolve, id, 0),
	F(U8, m_resolve, kind, RESOLVE_CLIENT),
	F(STR, m_resolve, name, NAME_MAX_LEN), { 0 } };
FIELDS(f_resolved) = {
	F(U64, m_resolved, id, 0),
	F(U8, m_resolved, status, RESOLVE_FORGED),
	F(STR, m_resolved, name, NAME_MAX_LEN),
	F(STR, m_resolved, addrs, TEXT_MAX),
	F(U8, m_resolved, secure, 1),
	F(STR, m_resolved, detail, TEXT_MAX), { 0 } };

static const struct {
	const char *name;
	const struct field *fields;
	bool fd;
} types[M_TYPE_COUNT] = {
	[M_CONF] = { "CONF", f_conf, false },
	[M_PEM] = { "PEM", f_pem, true },
	[M_LISTEN] = { "LISTEN", f_listen, true },
	[M_TABLE] = { "TABLE", f_table, true },
	[M_PEER] = { "PEER", f_peer, true },
	[M_START] = { "START", f_start, false },
	[M_DRAIN] = { "DRAIN", f_drain, false },
	[M_ROLE] = { "ROLE", f_role, false },
	[M_LOG] = { "LOG", f_empty, true },
	[M_PROBE] = { "PROBE", f_text, false },
	[M_READY] = { "READY", f_empty, false },
	[M_REFUSED] = { "REFUSED", f_text, false },
	[M_REPAIR] = { "REPAIR", f_empty, false },
	[M_REHASH] = { "REHASH", f_rehash, false },
	[M_LOG_LOST] = { "LOG_LOST", f_empty, false },
	[M_BAD_PEER] = { "BAD_PEER", f_bad_peer, false },
	[M_SESSION] = { "SESSION", f_session, false },
	[M_AUTH_START] = { "AUTH_START", f_auth_start, false },
	[M_AUTH_STEP] = { "AUTH_STEP", f_auth_step, false },
	[M_AUTH_CANCEL] = { "AUTH_CANCEL", f_empty, false },
	[M_MAIL] = { "MAIL", f_mail, false },
	[M_RCPT] = { "RCPT", f_rcpt, false },
	[M_HEADERS] = { "HEADERS", f_headers, false },
	[M_SESSION_CLOSE] = { "SESSION_CLOSE", f_empty, false },
	[M_SESSION_FACTS] = { "SESSION_FACTS", f_session_facts, false },
	[M_AUTH_CHALLENGE] = { "AUTH_CHALLENGE", f_auth_challenge, false },
	[M_AUTH_RESULT] = { "AUTH_RESULT", f_auth_result, false },
	[M_VERDICT] = { "VERDICT", f_verdict, false },
	[M_SESSION_KILL] = { "SESSION_KILL", f_text, false },
	[M_PAM_CHECK] = { "PAM_CHECK", f_pam_check, false },
	[M_TOKEN_CHECK] = { "TOKEN_CHECK", f_token_check, false },
	[M_PAM_RESULT] = { "PAM_RESULT", f_pam_result, false },
	[M_GRANT] = { "GRANT", f_grant, false },
	[M_ENVELOPE] = { "ENVELOPE", f_envelope, false },
	[M_ENVELOPE_RCPT] = { "ENVELOPE_RCPT", f_envelope_rcpt, false },
	[M_HEADERS_OK] = { "HEADERS_OK", f_txn, false },
	[M_DECISION] = { "DECISION", f_decision, false },
	[M_ALARM] = { "ALARM", f_alarm, false },
	[M_THROTTLE_ASK] = { "THROTTLE_ASK", f_throttle_ask, false },
	[M_AUTH_SEEN] = { "AUTH_SEEN", f_auth_seen, false },
	[M_THROTTLE_ANSWER] = { "THROTTLE_ANSWER", f_throttle_answer, false },
	[M_DATA_OPEN] = { "DATA_OPEN", f_data_open, false },
	[M_BODY_FILE] = { "BODY_FILE", f_txn, false },
	[M_SUBMIT] = { "SUBMIT", f_submit, false },
	[M_DATA_ABORT] = { "DATA_ABORT", f_txn, false },
	[M_DATA_READY] = { "DATA_READY", f_data_ready, false },
	[M_BODY_FD] = { "BODY_FD", f_txn, true },
	[M_SUBMITTED] = { "SUBMITTED", f_submitted, false },
	[M_JOB] = { "JOB", f_job, false },
	[M_JOB_RCPT] = { "JOB_RCPT", f_job_rcpt, false },
	[M_JOB_BODY] = { "JOB_BODY", f_job_body, true },
	[M_JOB_RESULT] = { "JOB_RESULT", f_job_result, false },
	[M_JOB_DONE] = { "JOB_DONE", f_job_done, false },
	[M_RELAY_STATE] = { "RELAY_STATE", f_relay_state, false },
	[M_SERVER_TLS] = { "SERVER_TLS", f_server_tls, false },
	[M_SERVER_RCPT] = { "SERVER_RCPT", f_server_rcpt, false },
	[M_SERVER_RULES] = { "SERVER_RULES", f_server_rules, false },
	[M_SERVER_VERDICT] = { "SERVER_VERDICT", f_server_verdict, false },
	[M_RESOLVE] = { "RESOLVE", f_resolve, false },
	[M_RESOLVED] = { "RESOLVED", f_resolved, false },
};

static const char *const role_names[ROLE_COUNT] = {
	"parent", "front", "auth", "pam", "queue", "relay", "resolver", "store",
};
/* clang-format on */

const char *
role_name(enum role r)
{
	return (unsigned)r < ROLE_COUNT ? role_names[r] : "?";
}

enum role
role_by_name(const char *name)
{
	int i;

	for (i = 0; i < ROLE_COUNT; i++)
		if (strcmp(name, role_names[i]) == 0)
			break;
	return (enum role)i;
}

bool
proto_may_carry_fd(enum msg_type t)
{
	return (unsigned)t < M_TYPE_COUNT && types[t].fd;
}

const char *
proto_name(enum msg_type t)
{
	return (unsigned)t < M_TYPE_COUNT ? types[t].name : "?";
}

static size_t
width(enum kind k)
{
	switch (k) {
	case U8:
		return 1;
	case U16:
		return 2;
	case U64:
	case I64:
		return 8;
	default: /* U32, and the length of STR and BLOB */
		return 4;
	}
}

struct writer {
	unsigned char *out;
	size_t size, len;
	bool bad;
};

static void
put(struct writer *w, const void *p, size_t n)
{
	if (w->bad || w->size - w->len < n) {
		w->bad = true;
		return;
	}
	if (n > 0)
		memcpy(w->out + w->len, p, n);
	w->len += n;
}

static void
put_bytes(struct writer *w, const void *p, size_t n, uint32_t max, bool nul)
{
	uint32_t n32 = (uint32_t)n;

	if (n > max) {
		w->bad = true;
		return;
	}
	put(w, &n32, sizeof(n32));
	put(w, p, n);
	if (nul)
		put(w, "", 1);
}

static void
put_field(struct writer *w, const struct field *f, const char *msg)
{
	const char *const *str = (const void *)(msg + f->offset);
	const struct blob *blob = (const void *)(msg + f->offset);

	if (f->kind == STR)
		put_bytes(w, *str != NULL ? *str : "",
		    *str != NULL ? strlen(*str) : 0, f->max, true);
	else if (f->kind == BLOB)
		put_bytes(w, blob->p, blob->len, f->max, false);
	else
		put(w, msg + f->offset, width((enum kind)f->kind));
}

size_t
proto_pack(enum msg_type type, uint64_t sid, const void *msg,
    unsigned char *out, size_t size)
{
	struct packet h = { .type = (uint16_t)type, .sid = sid };
	struct writer w = { .out = out, .size = size };
	const struct field *f;

	put(&w, &h, sizeof(h));
	for (f = types[type].fields; f->kind != END; f++)
		put_field(&w, f, msg);
	return w.bad ? 0 : w.len;
}

struct reader {
	const unsigned char *in;
	size_t left;
};

static const void *
take(struct reader *r, size_t n)
{
	const void *p = r->in;

	if (r->left < n)
		return NULL;
	r->in += n;
	r->left -= n;
	return p;
}

static const char *
get_int(const struct field *f, const void *p, char *out)
{
	uint32_t v32 = 0;
	uint16_t v16 = 0;
	uint8_t v8 = 0;

	memcpy(out, p, width((enum kind)f->kind));
	if (f->kind == U8)
		memcpy(&v8, p, sizeof(v8));
	else if (f->kind == U16)
		memcpy(&v16, p, sizeof(v16));
	else if (f->kind == U32)
		memcpy(&v32, p, sizeof(v32));
	if (v8 > f->max || v16 > f->max || v32 > f->max)
		return "number out of range";
	return NULL;
}

static const char *
get_bytes(struct reader *r, const struct field *f, uint32_t n, char *out)
{
	size_t nul = f->kind == STR ? 1 : 0;
	const char *p;

	if (n > f->max)
		return "field too long";
	if ((p = take(r, (size_t)n + nul)) == NULL)
		return "packet too short";
	if (f->kind == BLOB) {
		struct blob b = { .p = p, .len = n };

		memcpy(out, &b, sizeof(b));
		return NULL;
	}
	if (memchr(p, '\0', (size_t)n + 1) != p + n)
		return "NUL inside a string, or none at its end";
	memcpy(out, &p, sizeof(p));
	return NULL;
}

static const char *
get_field(struct reader *r, const struct field *f, char *msg)
{
	const void *p = take(r, width((enum kind)f->kind));
	uint32_t n;

	if (p == NULL)
		return "packet too short";
	if (f->kind != STR && f->kind != BLOB)
		return get_int(f, p, msg + f->offset);
	memcpy(&n, p, sizeof(n));
	return get_bytes(r, f, n, msg + f->offset);
}

int
proto_unpack(const unsigned char *in, size_t len, enum msg_type *type,
    uint64_t *sid, union msg *msg, const char **why)
{
	struct reader r = { .in = in, .left = len };
	const struct field *f;
	const void *p;
	struct packet h;

	*why = "packet too short";
	if ((p = take(&r, sizeof(h))) == NULL)
		return -1;
	memcpy(&h, p, sizeof(h));
	*why = "unknown type";
	if (h.type >= M_TYPE_COUNT || h.zero16 != 0 || h.zero32 != 0)
		return -1;
	*type = (enum msg_type)h.type;
	*sid = h.sid;
	*why = NULL;
	memset(msg, 0, sizeof(*msg));
	for (f = types[h.type].fields; *why == NULL && f->kind != END; f++)
		*why = get_field(&r, f, (char *)msg);
	if (*why == NULL && r.left > 0)
		*why = "bytes after the last field";
	return *why == NULL ? 0 : -1;
}
