/* See hostile_rig.h. */
#include "hostile_rig.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/policy.h"
#include "auth/scram.h"
#include "store/cert.h"
#include "store/db.h"
#include "store/user.h"
#include "submitd/conf.h"
#include "submitd/mailbox.h"

enum { PATIENCE_MS = 20 * 1000, UID_AUTH = 64902, UID_QUEUE = 64903 };

struct hostile H;

static void die(const char *) __attribute__((noreturn));

static void
die(const char *what)
{
	printf("Bail out! hostile rig: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const struct ipc_rule none[] = { { 0, NULL } };

static void
on_gone(struct ipc *p, const char *why)
{
	(void)p, (void)why;
}

/* ---- the store ---- */

static void
add_cert(struct store *st, int64_t user)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *x = X509_new();
	unsigned char md[32], *der = H.cert + sizeof(uint32_t);
	X509_NAME *name = X509_get_subject_name(x);
	char hex[2 * sizeof(md) + 1];
	uint32_t len;
	size_t i;

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	    (const unsigned char *)"laptop", -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_sha256());
	len = (uint32_t)i2d_X509(x, &der);
	memcpy(H.cert, &len, sizeof(len));
	H.cert_len = len + sizeof(len);
	X509_digest(x, EVP_sha256(), md, NULL);
	for (i = 0; i < sizeof(md); i++)
		snprintf(hex + 2 * i, 3, "%02x", md[i]);
	if (store_cert_add(st, user, 0, STORE_CERT_SHA256, hex, "laptop", 0,
		NULL) != STORE_OK)
		die("certificate");
	X509_free(x);
	EVP_PKEY_free(key);
}

static void
make_store(const char *path)
{
	char text[SCRAM_RECORD_MAX];
	const struct store_record r = { STORE_CRED_SCRAM_SHA_256, text };
	struct store *st;
	int64_t id;

	if (store_open(path, STORE_CREATE, &st) != STORE_OK ||
	    store_user_add(st, "ann", &id) != STORE_OK ||
	    store_address_add(st, id, ANN) != STORE_OK ||
	    scram_record_make(ANN_PASSWORD, strlen(ANN_PASSWORD), SCRAM_SHA_256,
		SCRAM_ITER_MIN, text, sizeof(text)) == -1 ||
	    store_password_set(st, id, &r, 1) != STORE_OK)
		die("user store");
	add_cert(st, id);
	store_close(&st);
	if (geteuid() == 0 &&
	    (chown(path, 0, UID_AUTH) == -1 || chmod(path, 0640) == -1))
		die("user store");
}

/* ---- the roles ---- */

static void run(int fd, const char *role) __attribute__((noreturn));

static void
run(int fd, const char *role)
{
	const char *path = getenv("SUBMITD");
	char prog[] = "submitd", x[] = "-x", d[] = "-d", name[16];
	char *argv[] = { prog, x, name, d, NULL }, *env[] = { NULL };
	int null = open("/dev/null", O_WRONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(name, sizeof(name), "%s", role);
	if (getenv("HOSTILE_LOG") == NULL) /* for whoever looks for a reason */
		dup2(null, STDERR_FILENO);
	dup2(fd, 3);
	fcntl(3, F_SETFD, 0);
	execve(path != NULL ? path : "submitd/submitd", argv, env);
	_exit(127);
}

static void
begin(struct child *c, enum role role)
{
	int fd[2];

	if (ipc_pair(fd) == -1 || (c->pid = fork()) == -1)
		die("fork");
	if (c->pid == 0)
		run(fd[1], role_name(role));
	close(fd[1]);
	c->ipc = ipc_new(NULL, fd[0], none, on_gone, NULL);
}

static void
give_conf(const struct child *c, enum role role, const struct conf *cf)
{
	struct buf pairs = { 0 };
	struct m_conf m;

	conf_pairs(cf, role, &pairs);
	m.pairs.p = buf_head(&pairs);
	m.pairs.len = pairs.len;
	ipc_send(c->ipc, M_CONF, 0, &m);
	buf_clear(&pairs);
}

static void
give_control(const struct child *queue)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct m_listen m = { .kind = LISTEN_CONTROL, .name = "control" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control", H.dir);
	if (fd == -1 ||
	    bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1 ||
	    listen(fd, 8) == -1)
		die("control socket");
	ipc_send_fd(queue->ipc, M_LISTEN, 0, &m, fd);
	close(fd);
}

static void
give_start(const struct child *c, uint32_t instance)
{
	const struct m_start m = { .instance = instance };
	struct ipc_in in;
	const char *why = "";

	ipc_send(c->ipc, M_START, 0, &m);
	if (ipc_recv_wait(c->ipc, &in, &why) == -1 || in.type != M_READY) {
		printf("# %s\n", in.type == M_REFUSED ? in.m->text.text : why);
		die("a role did not begin");
	}
}

static void
give_peer(const struct child *c, enum role role, uint32_t instance, int fd)
{
	const struct m_peer m = { .role = (uint8_t)role, .instance = instance };

	ipc_send_fd(c->ipc, M_PEER, 0, &m, fd);
	close(fd);
}

static void
set(struct conf *cf, const char *key, const char *value)
{
	char err[256];

	if (conf_set(cf, key, value, err, sizeof(err)) == -1)
		die(err);
}

static void
configure(struct conf *cf)
{
	char path[128];

	conf_init(cf);
	set(cf, "hostname", "mail.example.org");
	set(cf, "auth_fail_delay", "0");
	set(cf, "throttle_user", "0");
	set(cf, "throttle_address", "0");
	set(cf, "user_auth", "64902:64902");
	set(cf, "user_queue", "64903:64903");
	set(cf, "max_message_size", "64K");
	snprintf(path, sizeof(path), "%s/data/users.db", H.dir);
	set(cf, "users_db", path);
	snprintf(path, sizeof(path), "%s/spool", H.dir);
	set(cf, "spool", path);
}

static void
make_places(const struct conf *cf)
{
	char path[128];
	bool root = geteuid() == 0;

	snprintf(path, sizeof(path), "%s/data", H.dir);
	if (chmod(H.dir, 0711) == -1 || mkdir(path, 0750) == -1 ||
	    (root && chown(path, 0, UID_AUTH) == -1) ||
	    mkdir(cf->spool, 0700) == -1 ||
	    (root && chown(cf->spool, UID_QUEUE, UID_QUEUE) == -1))
		die("directories");
	make_store(cf->users_db);
}

void
hostile_up(void)
{
	struct conf cf;
	int fd[2];

	signal(SIGPIPE, SIG_IGN);
	snprintf(H.dir, sizeof(H.dir), "/tmp/hostile.XXXXXX");
	if (mkdtemp(H.dir) == NULL)
		die("mkdtemp");
	configure(&cf);
	make_places(&cf);
	H.next = 100;
	begin(&H.auth, ROLE_AUTH);
	begin(&H.queue, ROLE_QUEUE);
	give_conf(&H.auth, ROLE_AUTH, &cf);
	give_conf(&H.queue, ROLE_QUEUE, &cf);
	give_control(&H.queue);
	if (ipc_pair(fd) == -1)
		die("pair");
	give_peer(&H.queue, ROLE_AUTH, 1, fd[0]);
	give_peer(&H.auth, ROLE_QUEUE, 2, fd[1]);
	give_start(&H.queue, 2);
	give_start(&H.auth, 1);
	conf_clear(&cf);
}

static void
end(struct child *c)
{
	ipc_free(&c->ipc);
	waitpid(c->pid, NULL, 0);
}

void
hostile_down(void)
{
	char command[128];

	end(&H.auth);
	end(&H.queue);
	snprintf(command, sizeof(command), "rm -rf %s", H.dir);
	if (system(command) != 0)
		die(command);
}

/* ---- fronts ---- */

static struct ipc *
connect_to(const struct child *c, uint32_t instance)
{
	int fd[2];

	if (ipc_pair(fd) == -1)
		die("pair");
	give_peer(c, ROLE_FRONT, instance, fd[0]);
	return ipc_new(NULL, fd[1], none, on_gone, NULL);
}

void
front_new(struct front *f)
{
	f->instance = H.next++;
	f->auth = connect_to(&H.auth, f->instance);
	f->queue = connect_to(&H.queue, f->instance);
}

void
front_free(struct front *f)
{
	ipc_free(&f->auth);
	ipc_free(&f->queue);
}

uint64_t
front_sid(const struct front *f, uint64_t n)
{
	return (uint64_t)f->instance << SID_COUNTER_BITS | n;
}

static bool
is_there(const struct ipc *p)
{
	struct pollfd pf = { .fd = ipc_fd(p), .events = POLLIN };

	return ipc_readable(p) || poll(&pf, 1, PATIENCE_MS) == 1;
}

const union msg *
front_wait(struct ipc **p, enum msg_type type, uint64_t sid)
{
	static struct ipc_in in;
	const char *why;

	while (*p != NULL) {
		if (!is_there(*p))
			die(proto_name(type));
		if (ipc_recv_wait(*p, &in, &why) == -1) {
			ipc_free(p);
			return NULL;
		}
		if (in.fd != -1 && in.type != type)
			close(in.fd);
		if (in.type == type && in.sid == sid)
			return in.m;
	}
	return NULL;
}

bool
front_is_dropped(struct ipc **p)
{
	return front_wait(p, M_TYPE_COUNT, 0) == NULL;
}

bool
front_arrive(struct front *f, uint64_t sid, const void *chain, size_t len)
{
	const struct m_session m = { .client_addr = "192.0.2.7",
		.client_port = 4000,
		.client_name = "",
		.resolve = RESOLVE_FAIL,
		.server_addr = "127.0.0.1",
		.helo = "laptop",
		.tls_version = "TLSv1.3",
		.tls_cipher = "TLS_AES_256_GCM_SHA384",
		.tls_bits = 256,
		.chain = { chain, len } };

	ipc_send(f->auth, M_SESSION, sid, &m);
	return front_wait(&f->auth, M_SESSION_FACTS, sid) != NULL;
}

enum smtp_reply
front_login(
    struct front *f, uint64_t sid, const char *user, const char *password)
{
	char text[600];
	int n = snprintf(text, sizeof(text), "%c%s%c%s", 0, user, 0, password);
	const struct m_auth_start m = {
		.mech = "PLAIN", .has_initial = 1, .data = { text, (size_t)n }
	};
	const union msg *a;

	ipc_send(f->auth, M_AUTH_START, sid, &m);
	a = front_wait(&f->auth, M_AUTH_RESULT, sid);
	return a != NULL ? (enum smtp_reply)a->auth_result.reply : 0;
}

static bool
verdict(struct front *f, uint64_t sid)
{
	const union msg *a = front_wait(&f->auth, M_VERDICT, sid);

	return a != NULL && a->verdict.allow;
}

bool
front_mail(struct front *f, uint64_t sid, uint32_t txn, const char *from)
{
	const struct m_mail m = { .txn = txn, .from = from, .helo = "laptop" };

	ipc_send(f->auth, M_MAIL, sid, &m);
	return verdict(f, sid);
}

bool
front_rcpt(struct front *f, uint64_t sid, uint32_t txn, const char *to)
{
	const struct m_rcpt m = { .txn = txn, .to = to };

	ipc_send(f->auth, M_RCPT, sid, &m);
	return verdict(f, sid);
}

bool
front_headers(struct front *f, uint64_t sid, uint32_t txn, const char *author)
{
	struct m_headers m = { .txn = txn };
	unsigned char list[300] = { POLICY_AUTHOR_FROM, MAILBOX_OK };
	int n = snprintf((char *)list + 2, sizeof(list) - 2, "%s", author);

	m.authors = (struct blob){ list, (size_t)n + 3 };
	ipc_send(f->auth, M_HEADERS, sid, &m);
	return verdict(f, sid);
}

enum smtp_reply
front_open(struct front *f, uint64_t sid, uint32_t txn, uint32_t rcpts)
{
	const struct m_data_open m = { .txn = txn, .rcpts = rcpts };
	const union msg *a;

	ipc_send(f->queue, M_DATA_OPEN, sid, &m);
	a = front_wait(&f->queue, M_DATA_READY, sid);
	return a != NULL ? (enum smtp_reply)a->data_ready.reply : 0;
}

enum smtp_reply
front_submit(
    struct front *f, uint64_t sid, uint32_t txn, const void *body, size_t len)
{
	const struct m_submit m = {
		.txn = txn, .size = len, .own_author = 1, .body = { body, len }
	};
	const union msg *a;

	ipc_send(f->queue, M_SUBMIT, sid, &m);
	a = front_wait(&f->queue, M_SUBMITTED, sid);
	return a != NULL ? (enum smtp_reply)a->submitted.reply : 0;
}

/* ---- what parent sees ---- */

bool
hostile_complained(struct child *c, const struct front *f)
{
	struct ipc_in in;
	const char *why;

	while (is_there(c->ipc)) {
		if (ipc_recv_wait(c->ipc, &in, &why) == -1)
			return false;
		if (in.type == M_BAD_PEER && in.m->bad_peer.rejected &&
		    in.m->bad_peer.role == ROLE_FRONT &&
		    in.m->bad_peer.instance == f->instance)
			return true;
	}
	return false;
}

bool
hostile_lives(const struct child *c)
{
	siginfo_t si = { .si_pid = 0 };

	return waitid(P_PID, (id_t)c->pid, &si, WEXITED | WNOHANG | WNOWAIT) ==
	    0 &&
	    si.si_pid == 0;
}

long
hostile_memory_kib(const struct child *c)
{
	char path[64], line[256];
	long kib = -1;
	FILE *fp;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)c->pid);
	if ((fp = fopen(path, "r")) == NULL)
		return -1;
	while (fgets(line, sizeof(line), fp) != NULL)
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(fp);
	return kib;
}

long
hostile_messages(void)
{
	static const char ask[] = "{\"cmd\":\"queue.stats\"}\n";
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[4096] = "";
	const char *at;
	ssize_t n;
	size_t len = 0;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control", H.dir);
	if (fd == -1 ||
	    connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1 ||
	    write(fd, ask, sizeof(ask) - 1) == -1)
		die("control socket");
	while (len < sizeof(text) - 1 &&
	    (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = '\0';
	at = strstr(text, "\"messages\":");
	return at != NULL ? strtol(at + 11, NULL, 10) : -1;
}
