/*
 * Reading a new password: from the terminal, without echo and twice, or as
 * one line from stdin. Passwords never stand in the command line, where other
 * users of the machine can read them.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "auth/sasl.h"
#include "ctl.h"
#include "store/utf8.h"

enum { PASSWORD_MAX = 512 }; /* bytes */

/* One line and what must not follow it, in a buffer that is wiped. */
struct line {
	char text[PASSWORD_MAX + 2];
	size_t len;
};

static volatile sig_atomic_t caught;

static void
on_signal(int sig)
{
	caught = sig;
}

/*
 * Waits for input; -1 if a signal came. Signals are blocked but here, so that
 * none slips in between the look at `caught` and the wait.
 */
static int
wait_for_input(const sigset_t *mask)
{
	struct pollfd pfd = { .fd = STDIN_FILENO, .events = POLLIN };

	while (caught == 0) {
		if (ppoll(&pfd, 1, NULL, mask) != -1)
			return 0;
		if (errno != EINTR)
			break;
	}
	return -1;
}

/*
 * Reads from the terminal up to a newline, with the signals in mask let
 * through; with a NULL mask up to the end of the input. -1 on error or signal.
 */
static int
read_line(struct line *l, const sigset_t *mask)
{
	ssize_t n;

	for (l->len = 0; l->len < sizeof(l->text); l->len += (size_t)n) {
		if (mask != NULL && wait_for_input(mask) == -1)
			return -1;
		n = read(
		    STDIN_FILENO, l->text + l->len, sizeof(l->text) - l->len);
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		if (mask != NULL &&
		    memchr(l->text + l->len, '\n', (size_t)n) != NULL) {
			l->len += (size_t)n;
			break;
		}
	}
	return 0;
}

/* Takes the line's end off. */
static void
chomp(struct line *l)
{
	if (l->len > 0 && l->text[l->len - 1] == '\n')
		l->len--;
	if (l->len > 0 && l->text[l->len - 1] == '\r')
		l->len--;
}

const char *
ctl_bad_password(const char *password, size_t len, bool *ascii)
{
	uint32_t c;
	size_t n;

	if (ascii != NULL)
		*ascii = utf8_is_ascii(password, len);
	if (len == 0)
		return "the password is empty";
	if (len > PASSWORD_MAX)
		return "the password is longer than 512 bytes";
	if (memchr(password, '\n', len) != NULL)
		return "the input has more than one line";
	for (size_t i = 0; i < len; i += n) {
		if ((n = utf8_next(password + i, len - i, &c)) == 0)
			return "the password is not UTF-8";
		if (c < 0x20 || (c >= 0x7f && c < 0xa0))
			return "the password has a control character in it";
	}
	return NULL;
}

static int
check_password(const struct line *l)
{
	const char *why;
	bool ascii;

	if ((why = ctl_bad_password(l->text, l->len, &ascii)) != NULL)
		return ctl_fail(EX_DATAERR, "%s", why);
	if (!ascii)
		ctl_note("note: the password has letters beyond ASCII. It is "
			 "taken byte for byte as the UTF-8 given here; a mail "
			 "program that sends another form of these letters "
			 "can't log in");
	return 0;
}

/* The terminal. */

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

/* One line without echo, which comes back whatever happens. */
static int
ask_quietly(const char *user, const char *prompt, struct line *l,
    const struct termios *before, const sigset_t *mask)
{
	struct termios quiet = *before;
	int rc;

	quiet.c_lflag &= ~(tcflag_t)ECHO;
	/* What was typed before the prompt is no answer to it. */
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	fprintf(stderr, "%s for %s: ", prompt, user);
	rc = read_line(l, mask);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, before);
	fputc('\n', stderr);
	return rc;
}

static int
ask(const char *user, const char *prompt, struct line *l)
{
	struct sigaction old[SIGNALS], act = { .sa_handler = on_signal };
	struct termios before;
	sigset_t block, mask;
	int rc;

	if (tcgetattr(STDIN_FILENO, &before) == -1)
		return ctl_fail(EX_IOERR, "terminal: %s", strerror(errno));
	caught = 0;
	sigemptyset(&block);
	for (size_t i = 0; i < SIGNALS; i++) {
		sigaddset(&block, signals[i]);
		sigaction(signals[i], &act, &old[i]);
	}
	sigprocmask(SIG_BLOCK, &block, &mask);
	rc = ask_quietly(user, prompt, l, &before, &mask);
	for (size_t i = 0; i < SIGNALS; i++)
		sigaction(signals[i], &old[i], NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (caught != 0)
		raise(caught);
	if (rc == -1)
		return ctl_fail(EX_IOERR, "no password was read");
	chomp(l);
	return 0;
}

static int
ask_twice(const char *user, struct line *l)
{
	struct line again;
	int status;

	if ((status = ask(user, "New password", l)) != 0 ||
	    (status = check_password(l)) != 0)
		return status;
	if ((status = ask(user, "The same again", &again)) == 0 &&
	    (again.len != l->len || memcmp(again.text, l->text, l->len) != 0))
		status = ctl_fail(EX_DATAERR, "the two passwords differ");
	explicit_bzero(&again, sizeof(again));
	return status;
}

static int
from_stdin(struct line *l)
{
	if (read_line(l, NULL) == -1)
		return ctl_fail(EX_IOERR, "stdin: %s", strerror(errno));
	chomp(l);
	return check_password(l);
}

struct found {
	struct sasl_account *account;
	int64_t now;
};

static int
add_cred(const struct store_cred *c, void *arg)
{
	const struct found *f = arg;

	if (c->device_id != 0 && store_cred_usable(c, f->now))
		sasl_account_add(f->account, c->device_id, c->record);
	return 0;
}

int
ctl_make_records(const struct ctl *ctl, int64_t user_id, const char *password,
    size_t len, struct ctl_records *out)
{
	const struct records_want want = {
		.iterations = (unsigned)ctl->conf.scram_iterations,
		.sha1 = sasl_mech_list_has_sha1(ctl->conf.mechanisms) ||
		    sasl_mech_list_has_sha1(ctl->conf.mechanisms_tls)
	};
	struct sasl_account devices = { 0 };
	struct found found = { &devices, time(NULL) };
	int rc;

	if (user_id != 0)
		store_cred_list(ctl->st, user_id, add_cred, &found);
	rc = records_make(&devices, &want, password, len, &out->text);
	sasl_account_clear(&devices);
	if (rc == -1)
		return ctl_fail(EX_SOFTWARE,
		    "the crypto library failed to make a password record");
	out->n = 1;
	out->record[0] =
	    (struct store_record){ STORE_CRED_SCRAM_SHA_256, out->text.sha256 };
	if (want.sha1)
		out->record[out->n++] =
		    (struct store_record){ STORE_CRED_SCRAM_SHA_1,
			    out->text.sha1 };
	return 0;
}

int
ctl_password(
    const struct ctl *ctl, const char *user, struct ctl_records *records)
{
	bool from_pipe = ctl_opt(ctl, "--password-stdin") != NULL;
	struct line l;
	int status;

	records->n = 0;
	if (ctl_opt(ctl, "--no-password") != NULL)
		return from_pipe ? ctl_usage(ctl,
				       "--password-stdin and --no-password "
				       "exclude each other")
				 : 0;
	if (!from_pipe && !isatty(STDIN_FILENO))
		return ctl_usage(ctl,
		    "no terminal to ask for the password: give it with "
		    "--password-stdin, or none with --no-password");
	status = from_pipe ? from_stdin(&l) : ask_twice(user, &l);
	if (status == 0)
		status = ctl_make_records(ctl, 0, l.text, l.len, records);
	explicit_bzero(&l, sizeof(l));
	return status;
}
