/*
 * What the entries Connect, From and To say to a client.
 */
#ifndef AUTH_MAPREPLY_H
#define AUTH_MAPREPLY_H

#include "policy_int.h"

/*
 * Applies what a look-up has brought.  True when that decides: refused, to be
 * discarded, or to be held.  reject_esc and reject_text word the value REJECT.
 */
bool mapreply_apply(struct policy_ctx *, enum policy_rule,
    const struct policy_hit *, const char *reject_esc, const char *reject_text);

/* The rules Connect, From and (if that option is on) To. */
bool mapreply_connect(struct policy_ctx *);
bool mapreply_from(struct policy_ctx *, bool *accepted);
struct mapaddr;
bool mapreply_to(struct policy_ctx *, const struct mapaddr *rcpt);

/*
 * What becomes of mail that may be relayed: with a To entry DISCARD or
 * QUARANTINE, which mapreply_to() has met but let pass, for a session without
 * the right to relay shall not hear that its mail was taken.
 */
bool mapreply_fate(struct policy_ctx *);

/* Looks for the recipient's Spam entry, which only delay_checks knows. */
void mapreply_spam(struct policy_ctx *, struct policy_hit *);

#endif
