/*
 * What the parts of `submitctl explain` share.
 */
#ifndef SUBMITD_CTL_EXPLAIN_H
#define SUBMITD_CTL_EXPLAIN_H

#include "ctl.h"
#include "ctl_facts.h"

/* For decisions and for certificates: what one does not have is not shown. */
extern const struct ctl_column ctl_explain_columns[];

/* Adds "rule" and "advice" to a decision with its "ladder". */
void ctl_explain_add(json_t *decision);

/* Takes away what says nothing, or nothing new. */
void ctl_explain_for_people(json_t *decisions);

/* The label of a device, or its number if it is gone; null for 0. */
json_t *ctl_explain_device(const struct ctl *, int64_t id);

/* Decides what the options ask, appends it. 0 or an exit status. */
int ctl_explain_decide(const struct ctl *, struct ctl_facts *, json_t *out);

/* explain --cert FILE */
int ctl_explain_cert(struct ctl *, const char *file);

#endif
