/*
 * Dry runs of the decision: facts from options of the command line, the
 * policy asked about them with the rows of the store, the verdict as a
 * result. For `access test` and `explain`.
 */
#ifndef SUBMITD_CTL_FACTS_H
#define SUBMITD_CTL_FACTS_H

#include "auth/policy.h"
#include "authors.h"
#include "ctl.h"

/* Options that ctl_facts_take() knows, for the table of a verb. */
#define CTL_FACTS_OPTS                                                         \
	{ "--client-name", true }, { "--client-addr", true },                  \
	    { "--resolve", true }, { "--server-name", true },                  \
	    { "--server-addr", true }, { "--verify", true },                   \
	    { "--bits", true }, { "--cert-subject", true },                    \
	    { "--cert-issuer", true }, { "--cn", true },                       \
	    { "--cn-issuer", true }, { "--user", true }, { "--by", true },     \
	    { "--from", true }, { "--header-from", true },                     \
	{                                                                      \
		"--rcpt", true                                                 \
	}
#define CTL_FACTS_ARGS                                                         \
	"[--client-name NAME] [--client-addr ADDR]"                            \
	" [--resolve ok|fail|temp|forged]"                                     \
	" [--server-name NAME] [--server-addr ADDR]"                           \
	" [--verify WORD] [--bits N] [--cert-subject DN] [--cert-issuer DN]"   \
	" [--cn CN] [--cn-issuer CN] [--user NAME [--by cert|password|both]]"  \
	" [--from ADDRESS] [--rcpt ADDRESS] [--header-from VALUE]"

/* The members of f point into the command line and to what is below. */
struct ctl_facts {
	struct policy_facts f;
	struct store_user user; /* id 0: nobody */
	char *client_name, *client_addr, *server_name, *server_addr;
	char *sender, *rcpt, *verify;
	bool under_tls; /* without a word about TLS */

	/* With --cert: a file was examined, and whose device it is (or 0). */
	bool of_file;
	int64_t file_device;
	struct authors authors; /* of --header-from; f.authors point into it */
	struct policy_author *author;
	const char *header_from; /* --header-from, NULL without */
	/* an address or pattern of who would send, "" if there is none */
	char own[STORE_ADDRESS_MAX + 1];
};

/* A phase by its word: "connect", "tls_client", ... 0 or EX_USAGE. */
int ctl_facts_phase(const struct ctl *, const char *word, enum policy_phase *);
const char *ctl_facts_phase_name(enum policy_phase);

/*
 * Facts from the options, with the state of a user from the store. Facts that
 * can't be true together are an error. under_tls: a session of which no option
 * says more has TLS, without a certificate. 0 or an exit status; clear them in
 * either case.
 */
int ctl_facts_take(const struct ctl *, bool under_tls, struct ctl_facts *);
void ctl_facts_clear(struct ctl_facts *);
/* The session shows a certificate that verifies; an error if --verify says
 * something else. */
int ctl_facts_under_cert(const struct ctl *, struct ctl_facts *);
/* c->user has logged in so (POLICY_BY_*). */
void ctl_facts_set_user(struct ctl_facts *c, unsigned how);

/*
 * Asks the policy, with the store's rows. Facts that the phase needs must be
 * there. 0, or an exit status if facts are missing or the store fails.
 */
int ctl_facts_decide(const struct ctl *, enum policy_phase,
    const struct ctl_facts *, struct policy_verdict *);

/* A verdict as an object, with the reply that the server would give. */
json_t *ctl_facts_verdict(
    enum policy_phase, const struct ctl_facts *, const struct policy_verdict *);
extern const struct ctl_column ctl_facts_columns[];

#endif
