/*
 * Reading a new password: from the terminal, without echo and twice, or as
 * one line from stdin. Passwords never stand in the command line, where other
 * users of the machine can read them.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "ctl.h"
#include "utf8.h"

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
 * Reads up to a newline or, with all_input, up to the end of the input. -1 on
 * error or signal.
 */
static int
read_line(struct line *l, bool all_input)
{
	ssize_t n;

	for (l->len = 0; l->len < sizeof(l->text); l->len += (size_t)n) {
		n = read(
		    STDIN_FILENO, l->text + l->len, sizeof(l->text) - l->len);
		if (n == -1 && errno == EINTR && caught == 0) {
			n = 0;
			continue;
		}
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		if (!all_input &&
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

/* NULL, or what is wrong. */
static const char *
bad_password(const struct line *l, bool *ascii)
{
	uint32_t c;
	size_t n;

	*ascii = utf8_is_ascii(l->text, l->len);
	if (l->len == 0)
		return "the password is empty";
	if (l->len > PASSWORD_MAX)
		return "the password is longer than 512 bytes";
	if (memchr(l->text, '\n', l->len) != NULL)
		return "the input has more than one line";
	for (size_t i = 0; i < l->len; i += n) {
		if ((n = utf8_next(l->text + i, l->len - i, &c)) == 0)
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

	if ((why = bad_password(l, &ascii)) != NULL)
		return ctl_fail(EX_DATAERR, "%s", why);
	if (!ascii)
		ctl_note("note: the password has letters beyond ASCII. It is "
			 "taken byte for byte as the UTF-8 given here; a mail "
			 "program that sends another form of these letters "
			 "can't log in");
	return 0;
}

/* The terminal. */

static int
ask(const char *user, const char *prompt, struct line *l)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT,
		SIGTSTP };
	enum { N = sizeof(signals) / sizeof(signals[0]) };
	struct sigaction old[N], act = { .sa_handler = on_signal };
	struct termios before, quiet;
	int rc;

	if (tcgetattr(STDIN_FILENO, &before) == -1)
		return ctl_fail(EX_IOERR, "terminal: %s", strerror(errno));
	caught = 0;
	/* No SA_RESTART: the read ends, and the echo comes back. */
	for (size_t i = 0; i < N; i++)
		sigaction(signals[i], &act, &old[i]);
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	/* What was typed before the prompt is no answer to it. */
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	fprintf(stderr, "%s for %s: ", prompt, user);
	rc = read_line(l, false);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	for (size_t i = 0; i < N; i++)
		sigaction(signals[i], &old[i], NULL);
	if (caught != 0)
		raise(caught);
	if (rc == -1 || caught != 0)
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
	if (read_line(l, true) == -1)
		return ctl_fail(EX_IOERR, "stdin: %s", strerror(errno));
	chomp(l);
	return check_password(l);
}

static int
make_record(
    const struct ctl *ctl, const struct line *l, char out[SCRAM_RECORD_MAX])
{
	if (scram_record_make(l->text, l->len, SCRAM_SHA_256,
		(unsigned)ctl->conf.scram_iterations, out,
		SCRAM_RECORD_MAX) == -1)
		return ctl_fail(EX_SOFTWARE,
		    "the crypto library failed to make a password record");
	return 0;
}

int
ctl_password(
    const struct ctl *ctl, const char *user, char record[SCRAM_RECORD_MAX])
{
	bool from_pipe = ctl_opt(ctl, "--password-stdin") != NULL;
	struct line l;
	int status;

	record[0] = '\0';
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
		status = make_record(ctl, &l, record);
	explicit_bzero(&l, sizeof(l));
	return status;
}
