/*
 * The configuration: one table of keys (conf.c) says for each its type,
 * default, range, and which roles may know it.  The file is read by parent
 * and by submitctl only; the other roles get their part as text pairs
 * (conf_pairs, conf_set_pairs) and check it with the same table.
 *
 * Keys of a section are written section.key: "smarthost.host".
 */
#ifndef SUBMITD_CONF_H
#define SUBMITD_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"
#include "proto.h"
#include "store/limit.h"

struct strlist {
	char **v;
	size_t n;
};

enum smarthost_tls { SMARTHOST_STARTTLS, SMARTHOST_IMPLICIT };
enum password_backend { BACKEND_STORE, BACKEND_PAM, BACKEND_SASLAUTHD };
enum bare_newline { BARE_NEWLINE_REJECT, BARE_NEWLINE_NORMALIZE };
enum long_lines { LONG_LINES_ACCEPT, LONG_LINES_REJECT };

/* Files that clients are shown: a chain, its key, an OCSP response; and the
 * line of each in the file of the configuration. */
enum conf_chain_part { CONF_CERT, CONF_KEY, CONF_OCSP, CONF_CHAIN_PARTS };
struct conf_chain {
	char *file[CONF_CHAIN_PARTS]; /* below cert_dir; the last may be "" */
	int line[CONF_CHAIN_PARTS];
};

/* The private CA of submitctl, below cert_dir. */
#define CONF_CA_CERT "ca.pem"

/* What front may add to a message of max_message_size. */
enum { CONF_HEADER_SLACK = 64 * 1024 };

struct conf {
	/* who we are, where we listen */
	char *hostname;		   /* default: this machine's name */
	struct strlist listen;	   /* "addr:port", STARTTLS required */
	struct strlist listen_tls; /* "addr:port", implicit TLS */
	int64_t fronts;		   /* 0: one per core */
	int64_t auth_workers;	   /* 0: cores + 1 */

	/* files */
	char *users_db, *spool, *control_socket, *pid_file, *chroot_dir;
	char *access_map;	   /* mirrored into users_db; "" none */

	/* users of the roles when started as root: name or uid[:gid] */
	char *user_front, *user_auth, *user_queue, *user_relay, *user_resolver;

	/* certificates; relative names are below cert_dir */
	char *cert_dir, *server_cert, *server_key;
	char *server_ocsp;	   /* its OCSP response; "" none */
	struct conf_chain *chain;  /* more of them: conf_chain() */
	size_t chains;
	int64_t tls_policy;	   /* of clients: enum tls_policy (tls.h) */
	char *ca_cert, *ca_path, *crl_file; /* of client certificates; "" none */
	bool accept_server_certs; /* of clients, for serverAuth only */
	bool accept_public_cas;   /* as CAs of clients: lets anybody in */
	char *client_cert, *client_key; /* to the smarthost; "" the server's */
	int64_t cert_expiry_alarm; /* ms before one ends; 0: never */
	int64_t ticket_lifetime;	/* ms a TLS session can be resumed; 0 */

	/* sessions; times in ms, sizes in bytes */
	int64_t max_message_size, max_recipients;
	int64_t max_connections;  /* of all fronts */
	int64_t max_strangers;	  /* of these without a login */
	int64_t address_connections, address_strangers; /* 0: no limit */
	char *address_exempt;	  /* networks, blanks between; "" none */
	char *proxy_networks;	  /* load balancers; likewise */
	int64_t max_errors;	  /* in one session, then 421 */
	int64_t name_timeout;	  /* for the client's name; 0: never asked */
	int64_t handshake_timeout, command_timeout, data_timeout;
	int64_t login_timeout;	  /* from the connect */
	int64_t min_data_rate;	  /* bytes per second of DATA; 0: any */
	int64_t error_delay;	  /* the first; 0: none */
	int64_t session_messages; /* 0: no limit */
	int64_t session_time;
	int64_t reload_grace;	  /* after SIGHUP sessions may go on so long */
	int64_t stop_grace;	  /* after SIGTERM */
	bool trace_client;	  /* client address and name in Received */
	int64_t bare_newline;	  /* enum bare_newline */
	int64_t long_lines;	  /* enum long_lines: beyond 998 bytes */
	int64_t max_hold;	  /* of FUTURERELEASE; 0: not offered */
	int64_t deliver_by_min;	  /* of BY=...;R; 0: any */
	int64_t max_priority;	  /* of MT-PRIORITY, if the user has no other */
	char *help_text, *help_url; /* behind refusals; "" none */

	/* whose addresses one may send as who relays by the access map alone;
	 * "": anybody's */
	char *map_relay_user;
	int64_t from_header;	  /* enum policy_from_header (auth/policy.h) */
	bool plus_addressing;	  /* ann+x@ belongs to the owner of ann@ */

	/* logins */
	int64_t scram_iterations;
	int64_t auth_fail_delay;  /* ms */
	char *mechanisms;	  /* names, blanks between; "": the usual */
	char *mechanisms_tls;	  /* of listen_tls; "": as mechanisms */

	/* guessing (auth/throttle.h); times in ms */
	int64_t throttle_user, throttle_address;
	int64_t throttle_window, throttle_refuse, throttle_trust;
	char *throttle_exempt;	  /* networks, blanks between; "" none */

	/* who checks passwords, and tokens; times in ms */
	int64_t password_backend; /* enum password_backend */
	char *pam_service;	  /* file in pam_confdir; "": PAM is not used */
	char *pam_confdir;	  /* "": the system's, /etc/pam.d */
	char *pam_user;		  /* of the role pam, may be root */
	int64_t pam_timeout;
	bool pam_otp;		  /* digits of a code end the password */
	int64_t pam_otp_digits;
	char *saslauthd_socket;	  /* "": saslauthd is not used */
	char *oauth_key_file;	  /* below cert_dir; "": none */
	char *oauth_issuer, *oauth_audience, *oauth_user_claim;
	char *oauth_command;	  /* program and arguments; "": none */
	int64_t oauth_timeout;

	/* queue; times in ms */
	int64_t retry_min, retry_max, bounce_after, delay_notice;
	struct limits limit; /* of every user; LIMIT_NONE: none */
	int64_t duplicate_window; /* the same mail again; 0: taken as new */
	int64_t duplicate_without_id; /* of mail without Message-ID */
	char *postmaster;	  /* From of bounces; "": postmaster@hostname */

	/* decisions that are remembered: so many, so long (ms) */
	int64_t history_rows, history_age;

	/* smarthost */
	char *smarthost_host;
	int64_t smarthost_port;	  /* 0: 587 or 465 after tls */
	int64_t smarthost_tls;	  /* enum smarthost_tls */
	int64_t smarthost_tls_policy; /* enum tls_policy (tls.h) */
	char *smarthost_ca_file;
	char *smarthost_user, *smarthost_password_file; /* "": no AUTH */
	bool smarthost_client_cert;
	int64_t smarthost_connections;
	int64_t smarthost_timeout; /* ms for one reply */
	char *smarthost_ignore;	   /* keywords of its EHLO; "" none */

	/* DNS: "addr" or "addr@port" instead of the system's servers; "" */
	char *resolver;

	/* log */
	char *log_level;
};

/* All keys at their defaults. */
void conf_init(struct conf *);
void conf_copy(struct conf *to, const struct conf *from); /* to: unused */
void conf_clear(struct conf *);

/*
 * Reads a file over the defaults and checks every key by itself.  0, or -1
 * with one line in err: "FILE:LINE: KEY: what was wrong, what is expected".
 */
int conf_load(struct conf *, const char *path, char *err, size_t errlen);

/* One key from text; 0, or -1 with what was wrong and expected in err.  A list
 * key appends.  Secrets are no keys: they stand in files of their own. */
int conf_set(struct conf *, const char *key, const char *value, char *err,
    size_t errlen);

/* The keys that role may know, as name NUL value NUL ... for M_CONF. */
void conf_pairs(const struct conf *, enum role, struct buf *out);
/* The same read back over the defaults; 0 or -1. */
int conf_set_pairs(struct conf *, const void *pairs, size_t len, char *err,
    size_t errlen);

/* file below cert_dir unless it is absolute; free it. */
char *conf_cert_path(const struct conf *, const char *file);

/*
 * All chains of the server: first server_cert, then those of the sections.
 * False behind the last.  The texts stay the configuration's.
 */
bool conf_chain(const struct conf *, size_t n, struct conf_chain *out);
/* The key in which it stands: "server_cert", "certificate.cert". */
const char *conf_chain_key(size_t n, enum conf_chain_part);

/* "addr:port", "[addr]:port", "*:port"; host is then "" (every address).
 * 0 or -1. */
int conf_split_listen(const char *text, char *host, size_t hostlen,
    uint16_t *port);

/* "addr" or "addr@port" of a DNS server; of IPv6 perhaps with a %zone.  0 or
 * -1. */
enum { CONF_RESOLVER_HOST = 64 };
int conf_split_resolver(const char *text, char *host, size_t hostlen,
    uint16_t *port);

/* The TCP port of the smarthost, and of the DNS servers. */
uint16_t conf_smarthost_port(const struct conf *);
uint16_t conf_resolver_port(const struct conf *);

bool conf_is_key(const char *);

/* Line of the file that set key last; 0 if the default holds. */
int conf_line(const char *key);

/* The file's path as given to conf_load(), for messages about it. */
const char *conf_path(void);

#endif
