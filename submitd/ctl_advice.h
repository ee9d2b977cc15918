/*
 * What a decision means, in one plain sentence: why it came out so, and what
 * would have to change. One table of sentences by the rule that decided.
 */
#ifndef SUBMITD_CTL_ADVICE_H
#define SUBMITD_CTL_ADVICE_H

/* Words as policy.h names them; NULL or "" where there is nothing to say. */
struct ctl_advice_case {
	const char *phase;  /* "auth" is a login */
	const char *result; /* "allow", "refuse", "defer", ... */
	const char *why;
	const char *rule; /* that decided; "" none */
	const char *key, *value;
	const char *text; /* of the reply */
	const char *user, *sender, *rcpt, *addr, *name, *verify, *bits;
	const char *wanted; /* with the rules citag and cert_subject: the key
			       of the entry that would have helped */
};

/* A sentence; free it. */
char *ctl_advice(const struct ctl_advice_case *);

#endif
