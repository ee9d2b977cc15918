/*
 * The pam role: judges passwords and tokens by means that block, for auth,
 * which must not.  Each question gets a process of its own, which runs one
 * PAM login, asks saslauthd, or becomes the token command; it is killed at a
 * deadline and with everything it left behind.  The answer is what the
 * process wrote to its pipe and how it ended:
 *
 *	a login		a digit, enum pam_verdict, and the detail for the log
 *	a token		the user's name and a line end; status 0 is a yes,
 *			1 a no, all else is trouble
 *
 * What is written is read when the process has ended: a pipe holds more than
 * an answer may have.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/wait.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/pam.h"
#include "auth/sasl.h"
#include "auth/saslauthd.h"
#include "log.h"
#include "role.h"

enum {
	JOBS_MAX = 128,  /* processes at one time */
	OUT_FD = 3,      /* of a process: where its answer goes */
	ANSWER_MAX = 512 /* octets of an answer */
};

/* An auth and its socket. */
struct asker {
	LIST_ENTRY(asker) link;
	struct ipc *ipc;
	uint32_t instance;
};

struct job {
	LIST_ENTRY(job) link;
	uint64_t sid;
	uint32_t ticket;
	struct asker *asker; /* NULL: it is gone */
	bool token;
	pid_t pid;
	int out;
	struct event *deadline;
	bool late; /* was killed at the deadline */
};

static struct pamd {
	struct role_setup *setup;
	LIST_HEAD(, asker) askers;
	LIST_HEAD(, job) jobs;
	unsigned njobs;
	struct event *child;
	bool draining;
} B;

static void
answer(struct asker *to, uint64_t sid, uint32_t ticket, enum pam_verdict v,
    const char *user, const char *detail)
{
	const struct m_pam_result m = { .ticket = ticket,
		.verdict = (uint8_t)v,
		.user = user,
		.detail = detail };

	if (to != NULL)
		ipc_send(to->ipc, M_PAM_RESULT, sid, &m);
}

static void
job_free(struct job *j)
{
	LIST_REMOVE(j, link);
	B.njobs--;
	if (j->deadline != NULL)
		event_free(j->deadline);
	close(j->out);
	free(j);
	if (B.draining && B.njobs == 0)
		role_leave(B.setup);
}

/* ---- the process of one job ---- */

static void child_leave(enum pam_verdict, const char *)
    __attribute__((noreturn));
static void child_login(const struct m_pam_check *) __attribute__((noreturn));
static void child_command(void) __attribute__((noreturn));

/*
 * Nothing of the role stays but memory: no socket, signal or log.  in is the
 * standard input, or -1 for none.
 */
static void
child_begin(int in, int out)
{
	const struct sigaction dfl = { .sa_handler = SIG_DFL };
	int sig, null = open("/dev/null", O_RDWR);
	sigset_t none;

	setpgid(0, 0);
	for (sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	in = fcntl(in != -1 ? in : null, F_DUPFD, OUT_FD + 1);
	out = fcntl(out, F_DUPFD, OUT_FD + 1);
	if (dup2(in, STDIN_FILENO) == -1 || dup2(null, STDOUT_FILENO) == -1 ||
	    dup2(out, OUT_FD) == -1)
		_exit(EXIT_FAILURE);
	close_range(OUT_FD + 1, ~0U, 0);
}

static void
child_leave(enum pam_verdict v, const char *detail)
{
	char text[1 + PAM_DETAIL_MAX];
	size_t n;

	snprintf(text, sizeof(text), "%u%s", (unsigned)v, detail);
	n = strlen(text);
	_exit(write(OUT_FD, text, n) == (ssize_t)n ? 0 : EXIT_FAILURE);
}

static enum pam_verdict
by_pam(const struct m_pam_check *m, char detail[PAM_DETAIL_MAX])
{
	const struct conf *cf = &B.setup->conf;
	const struct pam_login l = {
		.service = cf->pam_service,
		.confdir = cf->pam_confdir,
		.user = m->user,
		.rhost = m->client_addr,
		.password = m->password.p,
		.len = m->password.len,
		.otp_digits = cf->pam_otp ? (unsigned)cf->pam_otp_digits : 0,
	};

	switch (pam_login(&l, detail)) {
	case PAM_RC_OK:
		return PAM_RIGHT;
	case PAM_RC_REFUSED:
		return PAM_WRONG;
	default:
		return PAM_TEMP;
	}
}

static enum pam_verdict
by_saslauthd(const struct m_pam_check *m, char detail[PAM_DETAIL_MAX])
{
	switch (saslauthd_check(B.setup->conf.saslauthd_socket, m->user,
	    m->password.p, m->password.len, detail, PAM_DETAIL_MAX)) {
	case SASL_PW_OK:
		return PAM_RIGHT;
	case SASL_PW_WRONG:
		return PAM_WRONG;
	default:
		return PAM_TEMP;
	}
}

static void
child_login(const struct m_pam_check *m)
{
	char detail[PAM_DETAIL_MAX] = "";
	enum pam_verdict v;

	v = m->how == PAM_BY_PAM ? by_pam(m, detail) : by_saslauthd(m, detail);
	child_leave(v, detail);
}

/* The token is its standard input, the answer its standard output. */
static void
child_command(void)
{
	static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
	char *const env[] = { path, NULL };
	char *argv[32], *words = B.setup->conf.oauth_command;
	size_t n = 0;

	while (n < sizeof(argv) / sizeof(argv[0]) - 1 &&
	    (argv[n] = strsep(&words, " ")) != NULL)
		if (argv[n][0] != '\0')
			n++;
	argv[n] = NULL;
	if (n > 0 && dup2(OUT_FD, STDOUT_FILENO) != -1 && close(OUT_FD) == 0)
		execve(argv[0], argv, env);
	_exit(127);
}

/* ---- jobs ---- */

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;

	(void)fd, (void)what;
	j->late = true;
	kill(-j->pid, SIGKILL);
	kill(j->pid, SIGKILL); /* if its group is not made yet */
}

static void
job_watch(struct job *j, int64_t ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	j->deadline = evtimer_new(B.setup->base, on_deadline, j);
	if (j->deadline == NULL || event_add(j->deadline, &tv) == -1)
		log_fatal(1, "error=%s", "cannot set a timer");
}

/*
 * A job and its process: NULL with the trouble answered, else *child says
 * which of the two this is.
 */
static struct job *
job_begin(struct asker *a, uint64_t sid, uint32_t ticket, int *out, bool *child)
{
	pid_t self = getpid();
	struct job *j;
	int fd[2];

	*child = false;
	if (B.njobs >= JOBS_MAX || B.draining) {
		log_warn("pam", "error=%s", "too many logins at one time");
		answer(a, sid, ticket, PAM_TEMP, "", "too many at one time");
		return NULL;
	}
	if (pipe2(fd, O_CLOEXEC) == -1) {
		answer(a, sid, ticket, PAM_TEMP, "", strerror(errno));
		return NULL;
	}
	j = xcalloc(1, sizeof(*j));
	j->sid = sid;
	j->ticket = ticket;
	j->asker = a;
	j->out = fd[0];
	if ((j->pid = fork()) == -1) {
		answer(a, sid, ticket, PAM_TEMP, "", strerror(errno));
		close(fd[0]);
		close(fd[1]);
		free(j);
		return NULL;
	}
	*child = j->pid == 0;
	*out = fd[1];
	if (*child) { /* with the role it ends, too */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1 ||
		    getppid() != self)
			_exit(EXIT_FAILURE);
		return NULL;
	}
	close(fd[1]);
	setpgid(j->pid, j->pid);
	LIST_INSERT_HEAD(&B.jobs, j, link);
	B.njobs++;
	return j;
}

static void
on_check(struct ipc *p, const struct ipc_in *in)
{
	const struct m_pam_check *m = &in->m->pam_check;
	const struct conf *cf = &B.setup->conf;
	struct job *j;
	bool child;
	int out;

	if ((m->how == PAM_BY_PAM ? cf->pam_service
				  : cf->saslauthd_socket)[0] == '\0') {
		answer(ipc_arg(p), in->sid, m->ticket, PAM_TEMP, "",
		    m->how == PAM_BY_PAM ? "pam_service is not set"
					 : "saslauthd_socket is not set");
		return;
	}
	j = job_begin(ipc_arg(p), in->sid, m->ticket, &out, &child);
	if (child) {
		child_begin(-1, out);
		child_login(m);
	}
	if (j != NULL)
		job_watch(j, cf->pam_timeout);
}

/* A file in memory: the command may read as slowly as it likes. */
static int
token_file(const struct blob *token)
{
	int fd = memfd_create("token", MFD_CLOEXEC);

	if (fd != -1 &&
	    (write(fd, token->p, token->len) != (ssize_t)token->len ||
		lseek(fd, 0, SEEK_SET) == -1)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void
on_token(struct ipc *p, const struct ipc_in *in)
{
	const struct m_token_check *m = &in->m->token_check;
	const struct conf *cf = &B.setup->conf;
	struct job *j;
	bool child;
	int out, fd = -1;

	if (cf->oauth_command[0] == '\0' ||
	    (fd = token_file(&m->token)) == -1) {
		answer(ipc_arg(p), in->sid, m->ticket, PAM_TEMP, "",
		    fd == -1 ? "no oauth_command" : strerror(errno));
		return;
	}
	j = job_begin(ipc_arg(p), in->sid, m->ticket, &out, &child);
	if (child) {
		child_begin(fd, out);
		child_command();
	}
	close(fd);
	if (j == NULL)
		return;
	j->token = true;
	job_watch(j, cf->oauth_timeout);
}

/* ---- answers ---- */

/* What the process wrote, as a text. */
static void
read_answer(const struct job *j, char out[ANSWER_MAX + 1])
{
	ssize_t n;

	do
		n = read(j->out, out, ANSWER_MAX);
	while (n == -1 && errno == EINTR);
	out[n > 0 ? n : 0] = '\0';
}

static void
conclude_login(const struct job *j, int status, const char *text)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || text[0] < '0' ||
	    text[0] > '0' + PAM_TEMP) {
		answer(j->asker, j->sid, j->ticket, PAM_TEMP, "",
		    "the process of the login died");
		return;
	}
	answer(j->asker, j->sid, j->ticket, (enum pam_verdict)(text[0] - '0'),
	    "", text + 1);
}

static void
conclude_token(const struct job *j, int status, char *text)
{
	char detail[64] = "";
	size_t n = strcspn(text, "\r\n");

	text[n] = '\0';
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && n > 0 &&
	    n <= SASL_USER_MAX) {
		answer(j->asker, j->sid, j->ticket, PAM_RIGHT, text, "");
		return;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
		answer(j->asker, j->sid, j->ticket, PAM_WRONG, "",
		    "oauth_command refused the token");
		return;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		snprintf(detail, sizeof(detail), "oauth_command names nobody");
	else if (WIFEXITED(status))
		snprintf(detail, sizeof(detail), "oauth_command: exit %d",
		    WEXITSTATUS(status));
	else
		snprintf(detail, sizeof(detail), "oauth_command: signal %d",
		    WTERMSIG(status));
	answer(j->asker, j->sid, j->ticket, PAM_TEMP, "", detail);
}

static void
conclude(struct job *j, int status)
{
	char text[ANSWER_MAX + 1];

	read_answer(j, text);
	if (j->late)
		answer(j->asker, j->sid, j->ticket, PAM_TEMP, "",
		    j->token ? "oauth_command took too long"
			     : "the check of the password took too long");
	else if (j->token)
		conclude_token(j, status, text);
	else
		conclude_login(j, status, text);
	explicit_bzero(text, sizeof(text));
	job_free(j);
}

/*
 * What a process leaves behind is killed before it is reaped: as long as it
 * is not, nobody else can have its number, nor its group's.
 */
static void
on_child(evutil_socket_t fd, short what, void *arg)
{
	siginfo_t si = { .si_pid = 0 };
	struct job *j;
	int status;

	(void)fd, (void)what, (void)arg;
	while (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    si.si_pid != 0) {
		kill(-si.si_pid, SIGKILL);
		if (waitpid(si.si_pid, &status, 0) != si.si_pid)
			return;
		LIST_FOREACH(j, &B.jobs, link)
		if (j->pid == si.si_pid)
			break;
		if (j != NULL)
			conclude(j, status);
		si.si_pid = 0;
	}
}

/* ---- the role ---- */

static const struct ipc_rule rules[] = {
	{ M_PAM_CHECK, on_check },
	{ M_TOKEN_CHECK, on_token },
	{ 0, NULL },
};

static void
on_asker_gone(struct ipc *p, const char *why)
{
	struct asker *a = ipc_arg(p);
	struct job *j;

	log_debug("peer", "role=auth instance=%u why=%s", a->instance, why);
	LIST_FOREACH(j, &B.jobs, link)
	if (j->asker == a)
		j->asker = NULL;
	LIST_REMOVE(a, link);
	free(a);
}

static void
pam_peer(struct role_setup *s, enum role role, uint32_t instance, int fd)
{
	struct asker *a;

	if (role != ROLE_AUTH) {
		close(fd);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->instance = instance;
	a->ipc = ipc_new(s->base, fd, rules, on_asker_gone, a);
	LIST_INSERT_HEAD(&B.askers, a, link);
}

static int
pam_start_role(struct role_setup *s, char *err, size_t errlen)
{
	B.setup = s;
	B.child = evsignal_new(s->base, SIGCHLD, on_child, NULL);
	if (B.child != NULL && event_add(B.child, NULL) == 0)
		return 0;
	snprintf(err, errlen, "cannot watch processes");
	return -1;
}

/* Its auths are gone by then; what still runs has nobody to tell. */
static void
pam_drain(struct role_setup *s)
{
	B.draining = true;
	if (B.njobs == 0)
		role_leave(s);
}

const struct role_ops pam_ops = {
	.role = ROLE_PAM,
	.start = pam_start_role,
	.peer = pam_peer,
	.drain = pam_drain,
};
