/* The life of a role: see role.h. */
#include "role.h"

#include <sys/prctl.h>

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "auth/secret.h"
#include "log.h"
#include "logsock.h"
#include "sandbox.h"
#include "tlsmem.h"
#include "trim.h"

enum {
	PARENT_FD = 3,
	PEERS_AT_START = 256,
	PEM_FILE_MAX = 8 * 1024 * 1024,
	ROLE_SECRETS = 512 * 1024 /* bytes of memory for secrets */
};

struct pending_peer {
	enum role role;
	uint32_t instance;
	int fd;
};

static struct role_setup setup;
static const struct role_ops *ops;
static struct pending_peer peers[PEERS_AT_START];
static size_t npeers;
static bool leaving;

static void
refuse(const char *why)
{
	struct m_text m = { .text = why };

	log_warn("refused", "role=%s error=%s", role_name(ops->role), why);
	ipc_send(setup.parent, M_REFUSED, 0, &m);
}

static int
read_conf(struct conf *c, const struct m_conf *m, char *err, size_t errlen)
{
	return conf_set_pairs(c, m->pairs.p, m->pairs.len, err, errlen);
}

static int
read_pem(struct buf *out, const struct m_pem *m, int fd)
{
	unsigned char piece[16384];
	ssize_t n;

	out->secret = pem_is_secret(m->kind);
	buf_add(out, m->data.p, m->data.len);
	if (fd == -1)
		return 0;
	while ((n = read(fd, piece, sizeof(piece))) > 0) {
		buf_add(out, piece, (size_t)n);
		if (out->len > PEM_FILE_MAX)
			break;
	}
	explicit_bzero(piece, sizeof(piece));
	close(fd);
	return n == 0 ? 0 : -1;
}

static int
keep_listener(const struct m_listen *m, int fd)
{
	if (fd == -1 || setup.listens == ROLE_LISTEN_MAX)
		return -1;
	setup.listen[setup.listens].fd = fd;
	setup.listen[setup.listens].kind = (enum listen_kind)m->kind;
	setup.listen[setup.listens++].name = xstrdup(m->name);
	return 0;
}

/* The parts of one table come together; the newest counts. */
static int
keep_table(const struct m_table *m, int fd)
{
	if (fd == -1)
		return -1;
	if (setup.table.fd[m->part] != -1)
		close(setup.table.fd[m->part]);
	setup.table.fd[m->part] = fd;
	setup.table.shape = *m;
	return 0;
}

static int
keep_peer(const struct m_peer *m, int fd)
{
	if (fd == -1 || npeers == PEERS_AT_START)
		return -1;
	peers[npeers].role = (enum role)m->role;
	peers[npeers].instance = m->instance;
	peers[npeers++].fd = fd;
	return 0;
}

/* Takes what parent gives until M_START; 0 or -1. */
static int
take_setup(char *err, size_t errlen)
{
	const char *why = "descriptor missing, or too many of them";
	struct ipc_in in;
	int rc = 0;

	while (rc == 0 && ipc_recv_wait(setup.parent, &in, &why) == 0) {
		if (in.type == M_CONF)
			rc = read_conf(&setup.conf, &in.m->conf, err, errlen);
		else if (in.type == M_PEM)
			rc = read_pem(
			    &setup.pem[in.m->pem.kind], &in.m->pem, in.fd);
		else if (in.type == M_LISTEN)
			rc = keep_listener(&in.m->listen, in.fd);
		else if (in.type == M_TABLE)
			rc = keep_table(&in.m->table, in.fd);
		else if (in.type == M_PEER)
			rc = keep_peer(&in.m->peer, in.fd);
		else if (in.type == M_START) {
			setup.instance = in.m->start.instance;
			return 0;
		} else
			rc = -1;
	}
	snprintf(err, errlen, "start-up: %s", why);
	return -1;
}

static const char *
role_user(void)
{
	switch (ops->role) {
	case ROLE_FRONT:
		return setup.conf.user_front;
	case ROLE_AUTH:
		return setup.conf.user_auth;
	case ROLE_PAM:
		return setup.conf.pam_user;
	case ROLE_QUEUE:
		return setup.conf.user_queue;
	case ROLE_RELAY:
		return setup.conf.user_relay;
	default:
		return setup.conf.user_resolver;
	}
}

static int
lock_in(char *err, size_t errlen)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (uid == 0 && ops->role != ROLE_STORE &&
	    (ops->role == ROLE_PAM ? sandbox_user_or_root : sandbox_user)(
		role_user(), &uid, &gid, err, errlen) == -1)
		return -1;
	return sandbox_enter(ops->role, &setup.conf, uid, gid, err, errlen);
}

/* ---- peers ---- */

/* Who is at the other end of a descriptor. */
static struct known_peer {
	enum role role;
	uint32_t instance;
	unsigned count; /* of peers that came before; 0: there is none */
} *known;
static size_t nknown;

void (*role_probe)(struct role_setup *, const char *what);

static void
note_peer(int fd, enum role role, uint32_t instance)
{
	static unsigned count;
	size_t n = nknown;

	if ((size_t)fd >= n) {
		n = (size_t)fd + 16;
		known = xrealloc(known, n * sizeof(*known));
		memset(known + nknown, 0, (n - nknown) * sizeof(*known));
		nknown = n;
	}
	known[fd].role = role;
	known[fd].instance = instance;
	known[fd].count = ++count;
}

int
role_peer(enum role role, uint32_t *instance)
{
	size_t i, best = 0;

	for (i = 0; i < nknown; i++)
		if (known[i].role == role &&
		    (known[best].role != role ||
			known[i].count > known[best].count))
			best = i;
	if (nknown == 0 || known[best].role != role || known[best].count == 0)
		return -1;
	*instance = known[best].instance;
	return (int)best;
}

static void
give_peer(const struct pending_peer *p)
{
	note_peer(p->fd, p->role, p->instance);
	ops->peer(&setup, p->role, p->instance, p->fd);
}

/* Parent replaces it: one that goes on without us would serve nobody, and one
 * that sends nonsense is not ours any more. */
static void
on_peer_end(int fd, bool rejected, const char *why)
{
	struct m_bad_peer m = { .rejected = rejected, .error = why };

	if (setup.parent == NULL || fd == PARENT_FD || (size_t)fd >= nknown)
		return;
	m.role = (uint8_t)known[fd].role;
	m.instance = known[fd].instance;
	if (rejected)
		log_warn("peer-dropped", "role=%s instance=%u error=%s",
		    role_name(known[fd].role), m.instance, why);
	ipc_send(setup.parent, M_BAD_PEER, 0, &m);
	known[fd].count = 0;
}

/* ---- while it runs ---- */

static void
on_peer(struct ipc *p, const struct ipc_in *in)
{
	const struct pending_peer peer = { (enum role)in->m->peer.role,
		in->m->peer.instance, in->fd };

	(void)p;
	if (in->fd == -1) /* parent starts one that has it */
		log_fatal(
		    EX_OSERR, "error=%s", "no descriptor left for a peer");
	give_peer(&peer);
}

static void
on_drain(struct ipc *p, const struct ipc_in *in)
{
	(void)p;
	setup.grace_ms = in->m->drain.grace_ms;
	setup.stopping = in->m->drain.stop;
	ops->drain(&setup);
}

static void
on_conf(struct ipc *p, const struct ipc_in *in)
{
	struct conf next;
	char err[512];

	if (ops->reload == NULL) {
		refuse("this role is replaced, not reloaded");
		return;
	}
	if (read_conf(&next, &in->m->conf, err, sizeof(err)) == -1 ||
	    ops->reload(&setup, &next, err, sizeof(err)) == -1) {
		conf_clear(&next);
		refuse(err);
		return;
	}
	conf_clear(&setup.conf);
	setup.conf = next;
	log_set_level(log_level(setup.conf.log_level));
	ipc_send(p, M_READY, 0, NULL);
}

/* The log daemon was restarted: its socket is out of our reach. */
static void
ask_for_log(void)
{
	if (setup.parent != NULL)
		ipc_send(setup.parent, M_LOG_LOST, 0, NULL);
}

static void
on_log(struct ipc *p, const struct ipc_in *in)
{
	(void)p;
	if (in->fd != -1)
		logsock_use(in->fd);
}

/* A file whose text has changed. */
static void
on_pem(struct ipc *p, const struct ipc_in *in)
{
	struct buf *b = &setup.pem[in->m->pem.kind];
	struct ipc_in read = *in;

	(void)p;
	read.fd = -1; /* closed by then */
	buf_wipe(b);
	if (read_pem(b, &in->m->pem, in->fd) == 0 && ops->other != NULL)
		ops->other(&setup, &read);
	buf_wipe(b);
}

static void
on_probe(struct ipc *p, const struct ipc_in *in)
{
	if (role_probe == NULL)
		ipc_reject(p, "there is no probe in this program");
	else
		role_probe(&setup, in->m->text.text);
}

static void
on_other(struct ipc *p, const struct ipc_in *in)
{
	(void)p;
	if (ops->other != NULL)
		ops->other(&setup, in);
	else if (in->fd != -1)
		close(in->fd);
}

static void
on_parent_gone(struct ipc *p, const char *why)
{
	(void)p;
	log_debug("leave", "role=%s why=%s", role_name(ops->role), why);
	setup.parent = NULL;
	role_leave(&setup);
}

static const struct ipc_rule rules[] = {
	{ M_PEER, on_peer },
	{ M_DRAIN, on_drain },
	{ M_CONF, on_conf },
	{ M_ROLE, on_other },
	{ M_TABLE, on_other },
	{ M_REHASH, on_other },
	{ M_ALARM, on_other },
	{ M_PEM, on_pem },
	{ M_LOG, on_log },
	{ M_PROBE, on_probe },
	{ 0, NULL },
};

void
role_leave(struct role_setup *s)
{
	leaving = true;
	event_base_loopbreak(s->base);
}

static struct event_base *
make_base(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base;

	/* The default, but without signals' and environment's say. */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	event_config_set_flag(cfg, EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	if (base == NULL)
		log_fatal(EX_OSERR, "error=%s", "cannot make an event loop");
	return base;
}

static int
begin(char *err, size_t errlen)
{
	size_t i;

	if (take_setup(err, errlen) == -1)
		return -1;
	log_set_level(log_level(setup.conf.log_level));
	tzset(); /* the zone's file is out of reach later */
	if (ops->preload != NULL && ops->preload(&setup, err, errlen) == -1)
		return -1;
	if (lock_in(err, errlen) == -1 || ops->start(&setup, err, errlen) == -1)
		return -1;
	for (i = 0; i < PEM_KIND_COUNT; i++)
		buf_wipe(&setup.pem[i]);
	for (i = 0; i < npeers; i++)
		give_peer(&peers[i]);
	trim_start();
	return 0;
}

/* Before OpenSSL is used.  Parent has warned if it does not work. */
static void
guard_secrets(void)
{
	if (ops->role != ROLE_FRONT && ops->role != ROLE_AUTH &&
	    ops->role != ROLE_RELAY)
		return;
	if (tlsmem_init() == -1 || secret_init(ROLE_SECRETS) == -1)
		log_debug("secrets", "role=%s locked=no", role_name(ops->role));
}

int
role_main(const struct role_ops *o)
{
	char err[1024] = "", name[16];

	ops = o;
	guard_secrets();
	setup.role = o->role;
	setup.table.fd[TABLE_ALL] = setup.table.fd[TABLE_REGION] = -1;
	/* As ps(1) and pgrep(1) show it; run from a descriptor it has none. */
	snprintf(name, sizeof(name), "submitd:%s", role_name(o->role));
	prctl(PR_SET_NAME, name);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a log or spool at its limit kills none */
	signal(SIGINT, SIG_IGN); /* a terminal's ^C is for parent */
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN); /* parent says when, by M_DRAIN */
	setup.base = make_base();
	setup.parent =
	    ipc_new(setup.base, PARENT_FD, rules, on_parent_gone, NULL);
	if (begin(err, sizeof(err)) == -1) {
		refuse(err);
		ipc_flush_wait(setup.parent);
		return EX_CONFIG;
	}
	logsock_set_lost(ask_for_log);
	ipc_watch_ends(on_peer_end);
	ipc_send(setup.parent, M_READY, 0, NULL);
	/* Also wipes the buffer that keys have come in. */
	ipc_drain(setup.parent);
	if (!leaving) /* it may have said so by now */
		event_base_dispatch(setup.base);
	ipc_leave();
	return 0;
}
