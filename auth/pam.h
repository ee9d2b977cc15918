/*
 * One login through PAM.  It blocks for as long as the modules take, and
 * modules may do anything to a process: so it is for a process of its own,
 * which ends after it.
 */
#ifndef AUTH_PAM_H
#define AUTH_PAM_H

#include <stddef.h>

#define PAM_PASSWORD_MAX 4096 /* octets */
#define PAM_DETAIL_MAX   200  /* octets of a detail and its NUL */

struct pam_login {
	const char *service; /* file in confdir */
	const char *confdir; /* NULL or "": the system's */
	const char *user;
	const char *rhost; /* the client's address */
	const char *password;
	size_t len;
	/*
	 * 0, or so many digits at the end of the password are a one-time
	 * code: the first prompt gets what is before them, the second gets
	 * the digits.
	 */
	unsigned otp_digits;
};

enum pam_rc {
	PAM_RC_OK,
	PAM_RC_REFUSED, /* wrong, unknown, locked or expired */
	PAM_RC_TEMP     /* PAM can't say: configuration, module, system */
};

/*
 * Authentication, then the account phase.  No session is opened.  detail
 * becomes what to log, "" if there is nothing to say.
 */
enum pam_rc pam_login(const struct pam_login *, char detail[PAM_DETAIL_MAX]);

#endif
