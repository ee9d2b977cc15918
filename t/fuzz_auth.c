/*
 * The auth role among hostile fronts, and queue, pam and relay that say
 * anything.  Beside "nothing crashes": a session is granted to ann only if her
 * password was sent in it, to bob only if pam has said yes about it; an
 * envelope comes only after that, with an address of theirs or none.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/scram.h"
#include "fuzz_rig.h"
#include "store/user.h"
#include "submitd/authd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { SESSIONS = 8, ACTIONS_MAX = 100, FRONT = 7 };

static const char right[] = "\0ann\0pencil";
static const char *const words[] = { "", "ann", "bob", "ann@example.org",
	"bo@example.net", "PLAIN", "LOGIN", "EXTERNAL", "SCRAM-SHA-256",
	"SCRAM-SHA-256-PLUS", "OAUTHBEARER", "192.0.2.7", "2001:db8::1",
	"TLSv1.3", "laptop", "smart.example.org", "OK", "\xff", NULL };
/* The last one is a chain of certificates, cut. */
static const struct blob blobs[] = {
	{ "", 0 },
	{ right, sizeof(right) - 1 },
	{ "\0ann\0wrong", 10 },
	{ "\0bob\0pencil", 11 },
	{ "ann", 3 },
	{ "pencil", 6 },
	{ "n,,n=ann,r=abcdefghij", 21 },
	{ "p=tls-exporter,,n=ann,r=abcdefghij", 34 },
	{ "c=biws,r=abcdefghij,p=AAAA", 26 },
	{ "\x10\0\0\0\x30\x82\x01\x0a\x02\x82\x01\x01\0\0\0\0\0\0\0\0", 20 },
};

static struct fuzz_rig rig;
static char dir[64], db[96];
enum { P_FRONT, P_OTHER, P_QUEUE, P_PAM, P_RELAY, PEERS };
static struct fuzz_peer peer[PEERS] = { { ROLE_FRONT, FRONT, -1 },
	{ ROLE_FRONT, FRONT + 1, -1 }, { ROLE_QUEUE, 3, -1 },
	{ ROLE_PAM, 4, -1 }, { ROLE_RELAY, 5, -1 } };

/* By session, of both fronts: what it has shown, and what it has got. */
struct model {
	bool password;  /* ann's, it was right */
	uint32_t asked; /* pam, about bob: the ticket */
	bool by_pam;    /* which has said yes */
	bool granted;
};
static struct model model[2][SESSIONS];

static const enum msg_type from_front[] = { M_SESSION, M_AUTH_START,
	M_AUTH_STEP, M_MAIL, M_RCPT, M_HEADERS, M_AUTH_CANCEL,
	M_SESSION_CLOSE };
static const enum msg_type from_queue[] = { M_THROTTLE_ANSWER };
static const enum msg_type from_pam[] = { M_PAM_RESULT };
static const enum msg_type from_relay[] = { M_SERVER_TLS, M_SERVER_RCPT };

static const struct {
	const enum msg_type *types;
	size_t n;
} says[PEERS] = {
	{ from_front, sizeof(from_front) / sizeof(from_front[0]) },
	{ from_front, sizeof(from_front) / sizeof(from_front[0]) },
	{ from_queue, 1 },
	{ from_pam, 1 },
	{ from_relay, 2 },
};

/* NULL: none of these sessions. */
static struct model *
model_of(uint64_t sid)
{
	uint32_t front = sid_instance(sid) - FRONT;
	uint64_t n = sid & (((uint64_t)1 << SID_COUNTER_BITS) - 1);

	return front < 2 && n < SESSIONS ? &model[front][n] : NULL;
}

static bool
has_right(struct blob b)
{
	return b.len >= 6 && memmem(b.p, b.len, "pencil", 6) != NULL;
}

/* The right password may come as a whole, or as LOGIN's last piece. */
static void
on_said(const struct fuzz_peer *p, enum msg_type type, uint64_t sid,
    const union msg *m)
{
	struct model *s = model_of(sid);

	if (s == NULL)
		return;
	if (p->role == ROLE_FRONT &&
	    ((type == M_AUTH_START && has_right(m->auth_start.data)) ||
		(type == M_AUTH_STEP && has_right(m->auth_step.data))))
		s->password = true;
	if (p->role == ROLE_PAM && type == M_PAM_RESULT && s->asked != 0 &&
	    m->pam_result.ticket == s->asked &&
	    m->pam_result.verdict == PAM_RIGHT)
		s->by_pam = true;
}

static void
check_grant(struct model *s, const struct m_grant *m)
{
	if (s == NULL ||
	    !((s->password && strcmp(m->user, "ann") == 0) ||
		(s->by_pam && strcmp(m->user, "bob") == 0)))
		abort(); /* nobody has shown that */
	s->granted = true;
}

static void
on_heard(const struct fuzz_peer *p, enum msg_type type, uint64_t sid,
    const union msg *m)
{
	struct model *s = model_of(sid);

	if (p->role == ROLE_PAM && type == M_PAM_CHECK && s != NULL)
		s->asked = m->pam_check.ticket;
	if (p->role != ROLE_QUEUE)
		return;
	if (type == M_GRANT)
		check_grant(s, &m->grant);
	else if (type == M_ENVELOPE &&
	    (s == NULL || !s->granted ||
		(m->envelope.from[0] != '\0' && /* reports of a program */
		    strcmp(m->envelope.from, "ann@example.org") != 0 &&
		    strcmp(m->envelope.from, "bob@example.org") != 0)))
		abort();
	else if ((type == M_ENVELOPE_RCPT || type == M_HEADERS_OK) &&
	    (s == NULL || !s->granted))
		abort();
}

static void
clean(void)
{
	unlink(db);
	rmdir(dir);
}

static int64_t
add_user(struct store *st, const char *name)
{
	char address[64];
	int64_t id;

	snprintf(address, sizeof(address), "%s@example.org", name);
	if (store_user_add(st, name, &id) != STORE_OK ||
	    store_address_add(st, id, address) != STORE_OK)
		abort();
	return id;
}

static void
make_store(void)
{
	char text[SCRAM_RECORD_MAX];
	const struct store_record r = { STORE_CRED_SCRAM_SHA_256, text };
	struct store *st;

	snprintf(dir, sizeof(dir), "/tmp/fuzz_auth.XXXXXX");
	if (mkdtemp(dir) == NULL)
		abort();
	snprintf(db, sizeof(db), "%s/users.db", dir);
	atexit(clean);
	if (store_open(db, STORE_CREATE, &st) != STORE_OK ||
	    scram_record_make("pencil", 6, SCRAM_SHA_256, SCRAM_ITER_MIN, text,
		sizeof(text)) == -1 ||
	    store_password_set(st, add_user(st, "ann"), &r, 1) != STORE_OK ||
	    store_user_set_backend(
		st, add_user(st, "bob"), STORE_BACKEND_PAM) != STORE_OK)
		abort();
	store_close(&st);
}

static void
begin(void)
{
	if (dir[0] != '\0')
		return;
	make_store();
	fuzz_rig_init(&rig, &auth_ops);
	free(rig.setup.conf.users_db);
	rig.setup.conf.users_db = xstrdup(db);
	rig.setup.conf.scram_iterations = SCRAM_ITER_MIN;
	rig.setup.conf.auth_fail_delay = 0;
	rig.words = (struct fuzz_words){ words, blobs,
		sizeof(blobs) / sizeof(blobs[0]) };
	rig.said = on_said;
	rig.heard = on_heard;
	fuzz_rig_start(&rig);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, data + len };
	unsigned n = 0, what;
	struct fuzz_peer *p;
	uint64_t sid;

	begin();
	memset(model, 0, sizeof(model));
	A.ticket = 0; /* the same input, the same numbers */
	while (in.p < in.end && n++ < ACTIONS_MAX) {
		what = fuzz_byte(&in);
		p = &peer[what % PEERS];
		if (p->fd == -1) {
			if (p->role == ROLE_FRONT)
				memset(model[p->instance - FRONT], 0,
				    sizeof(model[0]));
			fuzz_connect(&rig, p);
		}
		sid = (uint64_t)(p->role == ROLE_FRONT ? p->instance : FRONT)
			<< SID_COUNTER_BITS |
		    (what / PEERS % SESSIONS);
		if (what >= 250)
			fuzz_say_raw(p, &in);
		else if (what >= 245)
			fuzz_disconnect(p);
		else
			fuzz_say(&rig, p, &in, says[what % PEERS].types,
			    says[what % PEERS].n, sid);
		fuzz_turn(&rig, peer, PEERS);
	}
	for (n = 0; n < PEERS; n++)
		fuzz_disconnect(&peer[n]);
	fuzz_turn(&rig, peer, PEERS);
	if (A.sessions != 0)
		abort(); /* they end with their fronts */
	return 0;
}
