/*
 * What the files of the decision share: the context of one decision, and the
 * functions that record rules and make verdicts.  For policy.c, walk.c,
 * tlsreq.c, mapreply.c, relayright.c and authorcheck.c only.
 */
#ifndef AUTH_POLICY_INT_H
#define AUTH_POLICY_INT_H

#include "policy.h"

/* Outcome of a look-up or of a walk. */
struct policy_hit {
	enum policy_found found;
	char key[POLICY_KEY_SIZE];     /* found: the key; failed: which one */
	char value[POLICY_VALUE_SIZE]; /* found */
};

struct policy_ctx {
	const struct policy_facts *f;
	const struct policy_options *o;
	const struct policy_store *s;
	struct policy_verdict *v;
	bool any_failed; /* a look-up that did not decide has failed */

	/* A To entry that discards or holds what may be relayed. */
	bool fated;
	struct policy_hit fate;
	size_t fate_step; /* of the ladder */
};

/* "" for NULL. */
const char *policy_str(const char *);

/* Appends a rule to the ladder; hit may be NULL. */
void policy_step(struct policy_ctx *, enum policy_rule, enum policy_met,
    const struct policy_hit *);

/* The same for one key that was asked for in vain. */
void policy_step_asked(struct policy_ctx *, enum policy_rule, enum policy_met,
    const char *tag, const char *operand);

/* Sets the verdict's text; what is not printable ASCII becomes "?". */
void policy_set_text(struct policy_ctx *, const char *text);

/*
 * Verdicts.  Each returns true, which stands for "decided" throughout; the
 * ladder goes on while a rule returns false.
 */
bool policy_refuse(struct policy_ctx *, enum policy_why, int code,
    const char *esc, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
bool policy_refuse_own(
    struct policy_ctx *, enum policy_why, enum policy_decision);
bool policy_refuse_lookup(
    struct policy_ctx *, enum policy_rule, const struct policy_hit *);
bool policy_refuse_malformed(
    struct policy_ctx *, enum policy_rule, const struct policy_hit *);

#endif
