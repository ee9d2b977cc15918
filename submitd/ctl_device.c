/*
 * submitctl device: phones, laptops and scripts of users, each with one
 * credential of its own, which can be taken back alone.
 */
#include <sys/random.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "ctl_ca.h"
#include "ctl_cert.h"
#include "ctl_file.h"
#include "store/ca.h"
#include "store/device.h"

enum {
	DAY_S = 86400,
	CERT_DAYS = 365,
	GROUPS = 5, /* of a random password: 20 characters are 99 bits */
	GROUP_LEN = 4,
	SECRET_MAX = GROUPS * (GROUP_LEN + 1)
};

static int add_run(struct ctl *);
static int list_run(struct ctl *);
static int show_run(struct ctl *);
static int revoke_run(struct ctl *);

static const struct ctl_opt add_opts[] = { { "--password", false },
	{ "--cert", false }, { "--csr", true }, { "--expires", true },
	{ "--days", true }, { "--out", true }, { .name = NULL } };
static const struct ctl_opt list_opts[] = { { "--expiring", true },
	{ .name = NULL } };

/* clang-format off */
const struct ctl_verb ctl_device_verbs[] = {
	{ "device", "add",
	  "USER LABEL {--password [--expires SPAN] | --cert [--days N]"
	  " [--out DIR] | --csr FILE [--days N] [--out DIR]}",
	  "make a password or a certificate for one device of a user",
	  add_run, CTL_WRITE, 2, 2, add_opts },
	{ "device", "list", "[USER] [--expiring SPAN]",
	  "list devices, and when each was used last",
	  list_run, CTL_READ, 0, 1, list_opts },
	{ "device", "show", "USER LABEL", "show all about a device",
	  show_run, CTL_READ, 2, 2, NULL },
	{ "device", "revoke", "USER LABEL",
	  "take a device's credential back and end its sessions",
	  revoke_run, CTL_WRITE, 2, 2, NULL },
	{ .noun = NULL },
};

static const struct ctl_column list_columns[] = {
	{ "user", "USER", CTL_TEXT, NULL },
	{ "label", "LABEL", CTL_TEXT, NULL },
	{ "kind", "KIND", CTL_TEXT, NULL },
	{ "state", "STATE", CTL_TEXT, NULL },
	{ "expires", "EXPIRES", CTL_TIME, NULL },
	{ "last_used", "LAST USED", CTL_TIME, NULL },
	{ "last_addr", "FROM", CTL_TEXT, NULL },
	{ "last_client", "CLIENT", CTL_TEXT, NULL },
	{ .key = NULL },
};

static const struct ctl_column show_columns[] = {
	{ "user", "User", CTL_TEXT, NULL },
	{ "label", "Label", CTL_TEXT, NULL },
	{ "kind", "Kind", CTL_TEXT, NULL },
	{ "state", "State", CTL_TEXT, NULL },
	{ "created", "Created", CTL_TIME, NULL },
	{ "expires", "Expires", CTL_TIME, NULL },
	{ "revoked", "Revoked", CTL_TIME, NULL },
	{ "last_used", "Last used", CTL_TIME, NULL },
	{ "last_addr", "From", CTL_TEXT, NULL },
	{ "last_client", "Client", CTL_TEXT, NULL },
	{ "certificates", "Certificate", CTL_TABLE, ctl_cert_columns },
	{ .key = NULL },
};
/* clang-format on */

/* ---- devices as JSON ---- */

static const char *
state_text(const struct store_device *d)
{
	if (d->revoked != 0)
		return "revoked";
	if (d->expires != 0 && d->expires <= time(NULL))
		return "expired";
	return "active";
}

static json_t *
device_json(const struct store_device *d)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:n, s:n, "
			 "s:n}",
	    "id", (json_int_t)d->id, "user", d->user, "label", d->label, "kind",
	    store_device_kind_text(d->kind), "state", state_text(d), "created",
	    ctl_json_time(d->created), "expires", ctl_json_time(d->expires),
	    "revoked", ctl_json_time(d->revoked), "last_used", "last_addr",
	    "last_client");
}

/* What the running server knows of the last use; nothing if none runs. */
static void
add_last_use(const struct ctl *ctl, json_t *rows)
{
	json_t *items = json_array(), *item, *row, *value;
	size_t i, j;

	ctl_try(ctl, json_pack("{s:s}", "cmd", "device.seen"), items);
	json_array_foreach(items, i, item)
	{
		json_array_foreach(rows, j, row)
		{
			if (!json_equal(json_object_get(item, "device"),
				json_object_get(row, "id")))
				continue;
			if ((value = json_object_get(item, "time")) != NULL)
				json_object_set(row, "last_used", value);
			if ((value = json_object_get(item, "addr")) != NULL)
				json_object_set(row, "last_addr", value);
			if ((value = json_object_get(item, "client")) != NULL)
				json_object_set(row, "last_client", value);
		}
	}
	json_decref(items);
}

/* ---- device list, device show ---- */

struct listing {
	json_t *rows;
	int64_t until; /* only what expires by then; 0: all */
};

static int
list_one(const struct store_device *d, void *arg)
{
	const struct listing *l = arg;

	if (l->until == 0 ||
	    (d->revoked == 0 && d->expires != 0 && d->expires <= l->until))
		json_array_append_new(l->rows, device_json(d));
	return 0;
}

static int
list_run(struct ctl *ctl)
{
	struct store_user user = { .id = 0 };
	struct listing l = { .until = 0 };
	enum store_rc rc;
	int64_t span;
	int status;

	if ((status = ctl_span(ctl, "--expiring", &span)) != 0)
		return status;
	if (ctl->words > 0 &&
	    (status = ctl_user(ctl, ctl->word[0], &user)) != 0)
		return status;
	l.until = span != 0 ? time(NULL) + span : 0;
	l.rows = json_array();
	rc = store_device_list(ctl->st, user.id, list_one, &l);
	if (rc != STORE_OK) {
		json_decref(l.rows);
		return ctl_store_fail(ctl, rc);
	}
	add_last_use(ctl, l.rows);
	ctl_list(ctl, l.rows, list_columns);
	return 0;
}

static int
find_device(
    const struct ctl *ctl, struct store_user *user, struct store_device *d)
{
	enum store_rc rc;
	int status;

	if ((status = ctl_user(ctl, ctl->word[0], user)) != 0)
		return status;
	rc = store_device_get(ctl->st, user->id, ctl->word[1], d);
	if (rc == STORE_NONE)
		return ctl_fail(EX_DATAERR, "user %s has no device \"%s\"",
		    user->name, ctl->word[1]);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

struct certs {
	int64_t device;
	json_t *rows;
};

static int
add_cert(const struct store_cert *cert, void *arg)
{
	const struct certs *c = arg;

	if (cert->device_id == c->device)
		json_array_append_new(c->rows, ctl_cert_json(cert));
	return 0;
}

static int
show_run(struct ctl *ctl)
{
	json_t *rows, *row;
	struct store_device d;
	struct store_user user;
	struct certs certs;
	enum store_rc rc;
	int status;

	if ((status = find_device(ctl, &user, &d)) != 0)
		return status;
	certs.device = d.id;
	certs.rows = json_array();
	row = device_json(&d);
	rc = store_cert_list(ctl->st, user.id, add_cert, &certs);
	json_object_set_new(row, "certificates", certs.rows);
	if (rc != STORE_OK) {
		json_decref(row);
		return ctl_store_fail(ctl, rc);
	}
	rows = json_pack("[O]", row);
	add_last_use(ctl, rows);
	json_decref(rows);
	ctl_show(ctl, row, show_columns);
	return 0;
}

/* ---- random secrets ---- */

/*
 * Without i, l, o, 0 and 1, in groups: to be read from a screen and typed on
 * a phone.
 */
static int
random_secret(char out[SECRET_MAX])
{
	static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789";
	enum { LETTERS = sizeof(letters) - 1 };
	unsigned char byte;
	size_t n = 0;

	while (n < SECRET_MAX - 1) {
		if (n % (GROUP_LEN + 1) == GROUP_LEN) {
			out[n++] = '-';
			continue;
		}
		if (getrandom(&byte, 1, 0) != 1)
			return ctl_fail(EX_OSERR, "no random numbers");
		/* every letter as likely as any other */
		if (byte < 256 / LETTERS * LETTERS)
			out[n++] = letters[byte % LETTERS];
	}
	out[n] = '\0';
	return 0;
}

/* ---- device add: what all kinds share ---- */

struct adding {
	struct store_user user;
	const char *label;
	int64_t expires;
	int64_t id;
};

static int
check_label(const char *label)
{
	const char *why;

	if (store_label(label, &why) == -1)
		return ctl_fail(EX_DATAERR, "\"%s\": %s", label, why);
	return 0;
}

static int
add_device(struct ctl *ctl, struct adding *a, enum store_device_kind kind)
{
	enum store_rc rc;

	rc = store_device_add(
	    ctl->st, a->user.id, a->label, kind, a->expires, &a->id);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

/* A device that can't log in is made, but not silently. */
static void
judge_policy(const struct adding *a, enum store_device_kind kind)
{
	const char *name = a->user.name;

	if (kind == STORE_DEVICE_CERT && a->user.policy == STORE_AUTH_PASSWORD)
		ctl_note("note: the policy of %s is \"password\": a "
			 "certificate does not log in",
		    name);
	if (kind == STORE_DEVICE_PASSWORD && a->user.policy == STORE_AUTH_CERT)
		ctl_note("note: the policy of %s is \"cert\": a password "
			 "does not log in",
		    name);
	if (a->user.policy == STORE_AUTH_BOTH)
		ctl_note("note: the policy of %s is \"both\": a device needs "
			 "a certificate and a password",
		    name);
}

/* ---- device add --password ---- */

static int
set_password(struct ctl *ctl, const struct adding *a, const char *secret)
{
	struct ctl_records records;
	enum store_rc rc;
	int status;

	/* Nobody guesses 99 bits, and fewer iterations would do; but they
	 * would show by SCRAM whose name is a user's. */
	if ((status = ctl_make_records(
		 ctl, a->user.id, secret, strlen(secret), &records)) != 0)
		return status;
	rc = store_device_password(ctl->st, a->id, records.record, records.n);
	explicit_bzero(&records, sizeof(records));
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

static int
add_password(struct ctl *ctl, struct adding *a)
{
	char secret[SECRET_MAX];
	int64_t span;
	int status;

	if (ctl_opt(ctl, "--days") != NULL || ctl_opt(ctl, "--out") != NULL)
		return ctl_usage(ctl,
		    "--days and --out belong to certificates; a password has "
		    "--expires");
	if ((status = ctl_span(ctl, "--expires", &span)) != 0)
		return status;
	a->expires = span != 0 ? time(NULL) + span : 0;
	if ((status = random_secret(secret)) == 0 &&
	    (status = ctl_begin(ctl)) == 0 &&
	    (status = add_device(ctl, a, STORE_DEVICE_PASSWORD)) == 0 &&
	    (status = set_password(ctl, a, secret)) == 0) {
		judge_policy(a, STORE_DEVICE_PASSWORD);
		ctl_done(ctl,
		    json_pack("{s:s, s:s, s:s, s:o, s:s}", "user", a->user.name,
			"label", a->label, "kind", "password", "expires",
			ctl_json_time(a->expires), "password", secret),
		    "password of device \"%s\" of user %s, shown only now:\n"
		    "\n  %s\n\nLog in as %s with PLAIN or LOGIN.",
		    a->label, a->user.name, secret, a->user.name);
	}
	explicit_bzero(secret, sizeof(secret));
	return status;
}

/* ---- device add --cert, --csr ---- */

/* What is made, and the files it goes to. */
struct issue {
	struct ca *ca;
	struct ca_key *key;
	struct ca_cert cert;
	struct ca_octets key_pem, p12;
	char passphrase[SECRET_MAX]; /* "" without a key of ours */
	char *pem_path, *p12_path;
	bool pem_made, p12_made;
};

static void
issue_clear(struct issue *is)
{
	ca_free(&is->ca);
	ca_key_free(&is->key);
	ca_cert_free(&is->cert);
	ca_octets_free(&is->key_pem);
	ca_octets_free(&is->p12);
	explicit_bzero(is->passphrase, sizeof(is->passphrase));
	free(is->pem_path);
	free(is->p12_path);
}

/* USER-LABEL as a file name of letters, digits and . _ @ + - */
static char *
file_stem(const struct ctl *ctl, const struct adding *a)
{
	const char *dir = ctl_opt(ctl, "--out");
	char *stem = xasprintf("%s-%s", a->user.name, a->label), *path;

	for (char *p = stem; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("._@+-", *p) == NULL)
			*p = '_';
	if (stem[0] == '.')
		stem[0] = '_';
	if (dir == NULL)
		return stem;
	path = xasprintf("%s/%s", dir, stem);
	free(stem);
	return path;
}

/* Our own key, or the one of a request. */
static int
get_key(const struct ctl *ctl, struct issue *is)
{
	const char *csr = ctl_opt(ctl, "--csr");
	struct buf text = { 0 };
	char err[256];
	int status;

	if (csr == NULL) {
		if ((is->key = ca_key_new(err, sizeof(err))) == NULL ||
		    ca_key_pem(is->key, &is->key_pem, err, sizeof(err)) == -1)
			return ctl_fail(EX_SOFTWARE, "%s", err);
		return random_secret(is->passphrase);
	}
	if ((status = ctl_read_file(csr, CTL_PEM_MAX, &text)) == 0) {
		is->key =
		    ca_key_of_csr(buf_head(&text), text.len, err, sizeof(err));
		if (is->key == NULL)
			status = ctl_fail(EX_DATAERR, "%s: %s", csr, err);
	}
	buf_clear(&text);
	return status;
}

/*
 * The certificate names user and device. It has no e-mail address in it: one
 * would log in whoever owns the address, even when the certificate's own
 * entry in the store is gone.
 */
static int
sign(const struct ctl *ctl, const struct adding *a, struct issue *is)
{
	int64_t now = time(NULL), days;
	char err[256];
	int status;

	if ((status = ctl_days(ctl, CERT_DAYS, &days)) != 0)
		return status;
	const struct ca_wish wish = { .use = CA_DEVICE,
		.cn = a->user.name,
		.ou = a->label,
		.not_before = now - CTL_CA_SLACK_S,
		.not_after = now + days * DAY_S };

	if (ca_issue(is->ca, &wish, is->key, &is->cert, err, sizeof(err)) == -1)
		return ctl_fail(EX_DATAERR, "%s", err);
	if (is->cert.not_after < wish.not_after)
		ctl_note("note: the certificate ends with the CA's own");
	if (is->passphrase[0] != '\0' &&
	    ca_pkcs12(is->ca, is->key, &is->cert, a->label, is->passphrase,
		&is->p12, err, sizeof(err)) == -1)
		return ctl_fail(EX_SOFTWARE, "%s", err);
	return 0;
}

/* Both the certificate and its key stand for the device. */
static int
pin(struct ctl *ctl, struct adding *a, const struct ca_cert *cert)
{
	enum store_rc rc;
	int status;

	a->expires = cert->not_after;
	if ((status = add_device(ctl, a, STORE_DEVICE_CERT)) != 0)
		return status;
	rc = store_cert_add(ctl->st, a->user.id, a->id, STORE_CERT_SHA256,
	    cert->sha256, a->label, cert->not_after, NULL);
	if (rc == STORE_OK)
		rc = store_cert_add(ctl->st, a->user.id, a->id, STORE_CERT_SPKI,
		    cert->spki_sha256, a->label, 0, NULL);
	if (rc != STORE_OK)
		return ctl_store_fail(ctl, rc);
	return ctl_ca_issued(ctl, cert, a->user.id);
}

static int
write_pem(struct issue *is)
{
	struct buf pem = { 0 };
	int status;

	buf_add(&pem, is->cert.pem.p, is->cert.pem.len);
	if (is->key_pem.len > 0)
		buf_add(&pem, is->key_pem.p, is->key_pem.len);
	status =
	    ctl_write_file(is->pem_path, buf_head(&pem), pem.len, 0600, false);
	buf_wipe(&pem);
	is->pem_made = status == 0;
	return status;
}

static int
write_files(struct issue *is)
{
	int status = write_pem(is);

	if (status != 0 || is->p12.len == 0)
		return status;
	status =
	    ctl_write_file(is->p12_path, is->p12.p, is->p12.len, 0600, false);
	is->p12_made = status == 0;
	return status;
}

/* The files are there only if the store knows the device, and the reverse. */
static int
commit(struct ctl *ctl, struct issue *is)
{
	enum store_rc rc;
	int status;

	if ((status = write_files(is)) == 0) {
		if ((rc = store_commit(ctl->st)) == STORE_OK) {
			ctl->changing = false;
			return 0;
		}
		status = ctl_store_fail(ctl, rc);
	}
	if (is->pem_made)
		unlink(is->pem_path);
	if (is->p12_made)
		unlink(is->p12_path);
	return status;
}

static void
tell_cert(struct ctl *ctl, const struct adding *a, const struct issue *is)
{
	json_t *object = json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:s}",
	    "user", a->user.name, "label", a->label, "kind", "cert", "expires",
	    ctl_json_time(a->expires), "serial", is->cert.serial, "sha256",
	    is->cert.sha256, "subject", is->cert.subject, "pem", is->pem_path);

	if (is->p12.len == 0) {
		ctl_done(ctl, object,
		    "certificate of device \"%s\" of user %s:\n  %s", a->label,
		    a->user.name, is->pem_path);
		return;
	}
	json_object_set_new(object, "pkcs12", json_string(is->p12_path));
	json_object_set_new(object, "passphrase", json_string(is->passphrase));
	ctl_done(ctl, object,
	    "key and certificate of device \"%s\" of user %s:\n"
	    "  %s (without passphrase)\n"
	    "  %s (PKCS#12; its passphrase, shown only now:)\n\n  %s",
	    a->label, a->user.name, is->pem_path, is->p12_path, is->passphrase);
}

static int
make_cert(struct ctl *ctl, struct adding *a, struct issue *is)
{
	char *stem = file_stem(ctl, a);
	int status;

	is->pem_path = xasprintf("%s.pem", stem);
	is->p12_path = xasprintf("%s.p12", stem);
	free(stem);
	if ((status = ctl_ca_open(ctl, &is->ca)) != 0 ||
	    (status = get_key(ctl, is)) != 0 ||
	    (status = sign(ctl, a, is)) != 0 ||
	    (status = ctl_begin(ctl)) != 0 ||
	    (status = pin(ctl, a, &is->cert)) != 0)
		return status;
	return commit(ctl, is);
}

static int
add_certificate(struct ctl *ctl, struct adding *a)
{
	struct issue is = { .ca = NULL };
	int status;

	if (ctl_opt(ctl, "--expires") != NULL)
		return ctl_usage(ctl,
		    "--expires belongs to passwords; a certificate has "
		    "--days");
	if ((status = make_cert(ctl, a, &is)) == 0) {
		judge_policy(a, STORE_DEVICE_CERT);
		tell_cert(ctl, a, &is);
	}
	issue_clear(&is);
	return status;
}

static int
add_run(struct ctl *ctl)
{
	bool password = ctl_opt(ctl, "--password") != NULL;
	bool cert = ctl_opt(ctl, "--cert") != NULL;
	bool csr = ctl_opt(ctl, "--csr") != NULL;
	struct adding a = { .label = ctl->word[1] };
	int status;

	if (password + cert + csr != 1)
		return ctl_usage(
		    ctl, "give one of --password, --cert and --csr FILE");
	if ((status = check_label(a.label)) != 0 ||
	    (status = ctl_user(ctl, ctl->word[0], &a.user)) != 0)
		return status;
	return password ? add_password(ctl, &a) : add_certificate(ctl, &a);
}

/* ---- device revoke ---- */

static int
revoke_device(
    struct ctl *ctl, const struct store_device *d, int64_t now, int64_t *n)
{
	enum store_rc rc;

	rc = store_ca_revoke_device(
	    ctl->st, d->id, now, STORE_CA_UNSPECIFIED, n);
	if (rc == STORE_OK)
		rc = store_device_revoke(ctl->st, d->id, now);
	return rc == STORE_OK ? 0 : ctl_store_fail(ctl, rc);
}

static int
revoke_run(struct ctl *ctl)
{
	struct store_device d;
	struct store_user user;
	int64_t n = 0;
	int status;

	if ((status = ctl_begin(ctl)) != 0 ||
	    (status = find_device(ctl, &user, &d)) != 0)
		return status;
	if (d.revoked != 0)
		return ctl_fail(EX_DATAERR,
		    "device \"%s\" of user %s is revoked already", d.label,
		    user.name);
	if ((status = revoke_device(ctl, &d, time(NULL), &n)) != 0)
		return status;
	if (n > 0 && ctl->conf.crl_file[0] != '\0')
		ctl_note("note: \"submitctl ca crl\" writes it to the "
			 "revocation list for other servers; this one knows "
			 "it from now on");
	ctl_done(ctl,
	    json_pack("{s:s, s:s, s:b, s:I}", "user", user.name, "label",
		d.label, "revoked", 1, "certificates", (json_int_t)n),
	    "device \"%s\" of user %s is revoked; its sessions end now",
	    d.label, user.name);
	return 0;
}
